//! Stanzas (RFC 6120 §8): message, presence and iq, with their addresses and types parsed once.

use std::sync::Arc;

use super::{Jid, StanzaError, jid, ns};
use crate::xml::{Element, Text};

/// RFC 6121 §5.2.2: the types of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum MessageType {
    Chat,
    Error,
    Groupchat,
    Headline,
    Normal,
}

/// RFC 6121 §4.7.1: the types of a presence, with the absent one named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum PresenceType {
    Available,
    Unavailable,
    /// XEP-0018 §3: from a client to its own server, and no further.
    Invisible,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Probe,
    Error,
}

/// RFC 6120 §8.2.3: the types of an iq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the RFC's")]
pub enum IqType {
    Get,
    Set,
    Result,
    Error,
}

/// Which stanza, of which type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6121 §5.
    Message(MessageType),
    /// RFC 6121 §4.
    Presence(PresenceType),
    /// RFC 6120 §8.2.3.
    Iq(IqType),
}

/// Why an element is no stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAStanza {
    /// Neither message nor presence nor iq: a stream error (RFC 6120 §4.9.3.24).
    UnknownName,
    /// An iq or presence type that is not defined, or an iq without an id or with not one payload (RFC 6120 §8.2.3).
    BadRequest,
    /// An address that is no JID (RFC 6120 §8.3.3.8).
    MalformedTo,
    /// A `from` that is no JID.
    MalformedFrom,
}

/// A stanza: the element it came as, and what its start tag says, parsed.
///
/// The addresses here are the true ones; those in the element's attributes are overwritten when it is written. A clone
/// shares all of it.
#[derive(Clone, Debug)]
pub struct Stanza {
    kind: Kind,
    from: Option<Arc<Jid>>,
    to: Option<Arc<Jid>>,
    element: Element,
}

impl Stanza {
    /// Reads a first-level element as a stanza.
    pub fn parse(element: Element) -> Result<Stanza, NotAStanza> {
        if element.ns() != ns::CLIENT {
            return Err(NotAStanza::UnknownName);
        }
        let kind = kind_of(&element)?;
        let jid = |name, error| match element.attribute(name) {
            None => Ok(None),
            Some(text) => jid::stable(text).map(|jid| Some(Arc::new(jid))).ok_or(error),
        };
        let to = jid("to", NotAStanza::MalformedTo)?;
        let from = jid("from", NotAStanza::MalformedFrom)?;
        Ok(Stanza { kind, from, to, element })
    }

    /// A new stanza of ours.
    pub fn new(kind: Kind) -> Stanza {
        let element = Element::new(kind.element_name(), ns::CLIENT);
        let element = match kind.type_name() {
            Some(name) => element.with_attribute("type", name),
            None => element,
        };
        Stanza { kind, from: None, to: None, element }
    }

    /// A presence of ours without content.
    pub fn presence(kind: PresenceType) -> Stanza {
        Stanza::new(Kind::Presence(kind))
    }

    /// A message of ours without content.
    pub fn message(kind: MessageType) -> Stanza {
        Stanza::new(Kind::Message(kind))
    }

    /// An iq of ours with its id and payload.
    pub fn iq(kind: IqType, id: impl Into<Text>, payload: Option<Element>) -> Stanza {
        Stanza::new(Kind::Iq(kind))
            .map_element(|element| element.with_attribute("id", id.into()).with_children(payload))
    }

    /// Which stanza, of which type.
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// The sender.
    pub fn from(&self) -> Option<&Jid> {
        self.from.as_deref()
    }
    /// The receiver.
    pub fn to(&self) -> Option<&Jid> {
        self.to.as_deref()
    }
    /// The receiver, to keep while the stanza changes.
    pub fn to_shared(&self) -> Option<Arc<Jid>> {
        self.to.clone()
    }
    /// The id, which the sender chose.
    pub fn id(&self) -> Option<&str> {
        self.element.attribute("id")
    }
    /// The element; its `from` and `to` attributes may be older than [`Stanza::from`] and [`Stanza::to`].
    pub fn element(&self) -> &Element {
        &self.element
    }
    /// The first child element with this name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<&Element> {
        self.element.child(name, ns)
    }
    /// Is this an error stanza?
    pub fn is_error(&self) -> bool {
        matches!(
            self.kind,
            Kind::Message(MessageType::Error) | Kind::Presence(PresenceType::Error) | Kind::Iq(IqType::Error)
        )
    }
    /// May nothing be sent in answer? RFC 6120 §8.3.1: never an error for an error; and a result asks for nothing.
    pub fn is_final(&self) -> bool {
        self.is_error() || self.kind == Kind::Iq(IqType::Result)
    }

    /// The same stanza from somebody.
    #[must_use]
    pub fn with_from(self, from: impl Into<Jid>) -> Stanza {
        Stanza { from: Some(Arc::new(from.into())), ..self }
    }
    /// The same stanza to somebody.
    #[must_use]
    pub fn with_to(self, to: impl Into<Jid>) -> Stanza {
        Stanza { to: Some(Arc::new(to.into())), ..self }
    }
    /// The same stanza without addresses.
    #[must_use]
    pub fn without_addresses(self) -> Stanza {
        let element = self.element.without_attribute("from").without_attribute("to");
        Stanza { from: None, to: None, element, ..self }
    }
    /// The same stanza with another child.
    #[must_use]
    pub fn with_child(self, child: Element) -> Stanza {
        self.map_element(|element| element.with_child(child))
    }
    /// The same stanza around a changed element (its name and type must stay).
    #[must_use]
    pub fn map_element(self, change: impl FnOnce(Element) -> Element) -> Stanza {
        Stanza { element: change(self.element), ..self }
    }

    /// The iq's own view, if this is a request with exactly one payload.
    pub fn as_request(&self) -> Option<Iq<'_>> {
        match self.kind {
            Kind::Iq(kind @ (IqType::Get | IqType::Set)) => {
                Some(Iq { stanza: self, kind, payload: self.element.first_child()? })
            }
            _ => None,
        }
    }

    /// The error that answers this stanza (RFC 6120 §8.3.1): addresses swapped, id kept, content returned so that old
    /// clients can show what failed. `None` if nothing may be answered.
    pub fn error(&self, error: &StanzaError) -> Option<Stanza> {
        if self.is_final() {
            return None;
        }
        let kind = match self.kind {
            Kind::Message(_) => Kind::Message(MessageType::Error),
            Kind::Presence(_) => Kind::Presence(PresenceType::Error),
            Kind::Iq(_) => Kind::Iq(IqType::Error),
        };
        let element = self
            .element
            .clone()
            .without_attribute("from")
            .without_attribute("to")
            .with_attribute("type", "error")
            .keeping_children(|child| !holds_password(child))
            .with_child(error.to_element());
        Some(Stanza { kind, from: self.to.clone(), to: self.from.clone(), element })
    }

    /// The result that answers this request, to its sender from whom it was sent to.
    pub fn result(&self, payload: Option<Element>) -> Stanza {
        let mut element = Element::new("iq", ns::CLIENT).with_attribute("type", "result");
        if let Some(id) = self.element.attribute_text("id") {
            element = element.with_attribute("id", id.clone());
        }
        Stanza {
            kind: Kind::Iq(IqType::Result),
            from: self.to.clone(),
            to: self.from.clone(),
            element: element.with_children(payload),
        }
    }

    /// Writes the stanza for a stream whose default namespace is `default_ns`.
    pub fn write(&self, out: &mut String, default_ns: &str) {
        let from = self.from().map(Jid::as_str);
        let to = self.to().map(Jid::as_str);
        // Inside the server stanzas are in jabber:client; on the wire they are in the stream's own namespace.
        let default_ns = if is_content_ns(default_ns) { ns::CLIENT } else { default_ns };
        crate::xml::writer::stanza(out, &self.element, default_ns, from, to);
    }

    /// The stanza as text that [`Stanza::parse`] can read again, for storage.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, "");
        out
    }

    /// What [`Stanza::to_text`] wrote. `None` if it is not that, which only a hand in the database can bring about.
    pub fn from_text(text: &str) -> Option<Stanza> {
        let element = crate::xml::reader::element(text).ok()?;
        Stanza::parse(element).ok()
    }
}

/// XEP-0077 §3.3 and XEP-0078 §3.1: what was asked is not repeated in an error where a password or a token may be in it.
fn holds_password(payload: &Element) -> bool {
    matches!(payload.ns(), ns::REGISTER | ns::IQ_AUTH | ns::COMMANDS | ns::PREAUTH)
}

fn is_content_ns(ns: &str) -> bool {
    matches!(ns, ns::CLIENT | ns::SERVER | ns::COMPONENT_ACCEPT)
}

/// A request: an iq of type get or set with its payload.
#[derive(Clone, Copy, Debug)]
pub struct Iq<'a> {
    stanza: &'a Stanza,
    kind: IqType,
    payload: &'a Element,
}

impl<'a> Iq<'a> {
    /// The whole stanza.
    pub fn stanza(&self) -> &'a Stanza {
        self.stanza
    }
    /// Get or set.
    pub fn kind(&self) -> IqType {
        self.kind
    }
    /// Its one child (RFC 6120 §8.2.3).
    pub fn payload(&self) -> &'a Element {
        self.payload
    }
    /// The sender.
    pub fn from(&self) -> Option<&'a Jid> {
        self.stanza.from()
    }
    /// The receiver.
    pub fn to(&self) -> Option<&'a Jid> {
        self.stanza.to()
    }
}

impl Kind {
    /// The element's name.
    pub fn element_name(self) -> &'static str {
        match self {
            Kind::Message(_) => "message",
            Kind::Presence(_) => "presence",
            Kind::Iq(_) => "iq",
        }
    }

    /// The value of the `type` attribute, if there must be one.
    pub fn type_name(self) -> Option<&'static str> {
        Some(match self {
            Kind::Message(MessageType::Normal) | Kind::Presence(PresenceType::Available) => return None,
            Kind::Message(MessageType::Chat) => "chat",
            Kind::Message(MessageType::Groupchat) => "groupchat",
            Kind::Message(MessageType::Headline) => "headline",
            Kind::Presence(PresenceType::Unavailable) => "unavailable",
            Kind::Presence(PresenceType::Invisible) => "invisible",
            Kind::Presence(PresenceType::Subscribe) => "subscribe",
            Kind::Presence(PresenceType::Subscribed) => "subscribed",
            Kind::Presence(PresenceType::Unsubscribe) => "unsubscribe",
            Kind::Presence(PresenceType::Unsubscribed) => "unsubscribed",
            Kind::Presence(PresenceType::Probe) => "probe",
            Kind::Iq(IqType::Get) => "get",
            Kind::Iq(IqType::Set) => "set",
            Kind::Iq(IqType::Result) => "result",
            Kind::Message(MessageType::Error) | Kind::Presence(PresenceType::Error) | Kind::Iq(IqType::Error) => {
                "error"
            }
        })
    }
}

fn kind_of(element: &Element) -> Result<Kind, NotAStanza> {
    let kind = element.attribute("type");
    Ok(match element.name() {
        "message" => Kind::Message(match kind {
            Some("chat") => MessageType::Chat,
            Some("error") => MessageType::Error,
            Some("groupchat") => MessageType::Groupchat,
            Some("headline") => MessageType::Headline,
            // RFC 6121 §5.2.2: an unknown type is treated as normal.
            _ => MessageType::Normal,
        }),
        "presence" => Kind::Presence(match kind {
            None => PresenceType::Available,
            Some("unavailable") => PresenceType::Unavailable,
            Some("invisible") => PresenceType::Invisible,
            Some("subscribe") => PresenceType::Subscribe,
            Some("subscribed") => PresenceType::Subscribed,
            Some("unsubscribe") => PresenceType::Unsubscribe,
            Some("unsubscribed") => PresenceType::Unsubscribed,
            Some("probe") => PresenceType::Probe,
            Some("error") => PresenceType::Error,
            // Compat: some clients write the type that the RFC leaves out.
            Some("available") => PresenceType::Available,
            Some(_) => return Err(NotAStanza::BadRequest),
        }),
        "iq" => Kind::Iq(iq_type(element, kind)?),
        _ => return Err(NotAStanza::UnknownName),
    })
}

/// RFC 6120 §8.2.3: an iq has a known type; a request has exactly one child.
///
/// Compat: an iq without id is served, since clients of jabberd 1.4's time left it out.
fn iq_type(element: &Element, kind: Option<&str>) -> Result<IqType, NotAStanza> {
    let kind = match kind {
        Some("get") => IqType::Get,
        Some("set") => IqType::Set,
        Some("result") => return Ok(IqType::Result),
        Some("error") => return Ok(IqType::Error),
        _ => return Err(NotAStanza::BadRequest),
    };
    let mut children = element.children();
    match (children.next(), children.next()) {
        (Some(_), None) => Ok(kind),
        _ => Err(NotAStanza::BadRequest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::Condition;

    fn message() -> Element {
        Element::new("message", ns::CLIENT).with_attribute("to", "romeo@montague.net/orchard").with_attribute("id", "1")
    }

    #[test]
    fn a_stanza_is_parsed_once() {
        let stanza = Stanza::parse(message()).unwrap();
        assert_eq!(stanza.kind(), Kind::Message(MessageType::Normal));
        assert_eq!(stanza.to().unwrap().as_str(), "romeo@montague.net/orchard");
        assert_eq!(stanza.id(), Some("1"));
    }

    #[test]
    fn what_is_no_stanza_is_refused() {
        let element = |name: &'static str| Element::new(name, ns::CLIENT);
        let payload = || Element::new("query", "urn:x");
        let rows = [
            (element("foo"), NotAStanza::UnknownName),
            (Element::new("message", "urn:other"), NotAStanza::UnknownName),
            (element("presence").with_attribute("type", "gone"), NotAStanza::BadRequest),
            (element("iq"), NotAStanza::BadRequest),
            (element("iq").with_attribute("type", "get"), NotAStanza::BadRequest),
            (element("iq").with_attribute("type", "set").with_children([payload(), payload()]), NotAStanza::BadRequest),
            (element("message").with_attribute("to", "@"), NotAStanza::MalformedTo),
            (element("message").with_attribute("from", "a@b@c"), NotAStanza::MalformedFrom),
        ];
        for (element, error) in rows {
            assert_eq!(Stanza::parse(element.clone()).unwrap_err(), error, "{element}");
        }
    }

    #[test]
    fn errors_swap_addresses_and_are_never_answered() {
        let stanza = Stanza::parse(message().with_attribute("from", "juliet@capulet.com/b")).unwrap();
        let error = stanza.error(&Condition::ServiceUnavailable.into()).unwrap();
        assert_eq!(error.to().unwrap().as_str(), "juliet@capulet.com/b");
        assert_eq!(error.from().unwrap().as_str(), "romeo@montague.net/orchard");
        assert_eq!(
            error.to_text(),
            "<message xmlns='jabber:client' id='1' type='error' from='romeo@montague.net/orchard' \
             to='juliet@capulet.com/b'><error code='503' type='cancel'><service-unavailable \
             xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        );
        assert!(error.error(&Condition::BadRequest.into()).is_none());
    }

    #[test]
    fn what_is_stored_comes_back() {
        let body = Element::new("body", ns::CLIENT).with_text("<&'> und Grüße");
        let stanza =
            Stanza::parse(message().with_child(body)).unwrap().with_from(Jid::new("juliet@capulet.com").unwrap());
        let back = Stanza::from_text(&stanza.to_text()).unwrap();
        assert_eq!(back.from(), stanza.from());
        assert_eq!(back.to_text(), stanza.to_text());
        for text in ["", "text", "<message xmlns='jabber:client'>", "<a/>", "<message/><message/>", "</stream:stream>"]
        {
            assert!(Stanza::from_text(text).is_none(), "{text}");
        }
    }
}
