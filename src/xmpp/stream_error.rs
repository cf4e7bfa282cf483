//! Stream errors (RFC 6120 §4.9): each ends the stream it is sent on.

use super::ns;
use crate::xml::Element;

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The conditions of RFC 6120 §4.9.3, by their defined names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum StreamCondition { $($(#[$doc])* $name,)* }

        impl StreamCondition {
            /// The element's name.
            pub fn name(self) -> &'static str {
                match self { $(StreamCondition::$name => $text,)* }
            }
        }
    };
}

conditions! {
    /// RFC 6120 §4.9.3.1: well-formed, but not what can be processed.
    BadFormat = "bad-format",
    /// RFC 6120 §4.9.3.2: a prefix that is not declared.
    BadNamespacePrefix = "bad-namespace-prefix",
    /// RFC 6120 §4.9.3.3: another session took this resource's place.
    Conflict = "conflict",
    /// RFC 6120 §4.9.3.4: the peer was silent, or slow, for too long.
    ConnectionTimeout = "connection-timeout",
    /// RFC 6120 §4.9.3.5: the host is served no longer.
    HostGone = "host-gone",
    /// RFC 6120 §4.9.3.6: the host is not served here.
    HostUnknown = "host-unknown",
    /// RFC 6120 §4.9.3.7: an address is missing between servers.
    ImproperAddressing = "improper-addressing",
    /// RFC 6120 §4.9.3.8: our own failure.
    InternalServerError = "internal-server-error",
    /// RFC 6120 §4.9.3.9: a `from` that was not proved.
    InvalidFrom = "invalid-from",
    /// RFC 6120 §4.9.3.10: a stream or content namespace that is not supported.
    InvalidNamespace = "invalid-namespace",
    /// RFC 6120 §4.9.3.11: valid XML, but against a schema.
    InvalidXml = "invalid-xml",
    /// RFC 6120 §4.9.3.12: a stanza before login.
    NotAuthorized = "not-authorized",
    /// RFC 6120 §4.9.3.13: not XML.
    NotWellFormed = "not-well-formed",
    /// RFC 6120 §4.9.3.14: against local policy, a bound for instance.
    PolicyViolation = "policy-violation",
    /// RFC 6120 §4.9.3.15: another server cannot be reached.
    RemoteConnectionFailed = "remote-connection-failed",
    /// RFC 6120 §4.9.3.16: the session is over, for instance by a new password.
    Reset = "reset",
    /// RFC 6120 §4.9.3.17: no resources left.
    ResourceConstraint = "resource-constraint",
    /// RFC 6120 §4.9.3.18: comments, processing instructions, DTDs, entities.
    RestrictedXml = "restricted-xml",
    /// RFC 6120 §4.9.3.20: the server stops.
    SystemShutdown = "system-shutdown",
    /// RFC 6120 §4.9.3.21: none of the others.
    UndefinedCondition = "undefined-condition",
    /// RFC 6120 §4.9.3.22: not UTF-8.
    UnsupportedEncoding = "unsupported-encoding",
    /// RFC 6120 §4.9.3.24: a first-level element that is not a stanza.
    UnsupportedStanzaType = "unsupported-stanza-type",
    /// RFC 6120 §4.9.3.25: a stream version that is not supported.
    UnsupportedVersion = "unsupported-version",
}

/// A stream error: condition and, where it helps the person at the other end, a text and a closer condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    condition: StreamCondition,
    text: Option<String>,
    /// Name and namespace.
    closer: Option<(&'static str, &'static str)>,
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> StreamError {
        StreamError { condition, text: None, closer: None }
    }
}

impl StreamError {
    /// An error with an explanation in English.
    pub fn new(condition: StreamCondition, text: impl Into<String>) -> StreamError {
        StreamError { condition, text: Some(text.into()), closer: None }
    }

    /// The same with an application-specific condition (RFC 6120 §4.9.4).
    pub fn with_closer(self, name: &'static str, ns: &'static str) -> StreamError {
        StreamError { closer: Some((name, ns)), ..self }
    }

    /// The condition.
    pub fn condition(&self) -> StreamCondition {
        self.condition
    }

    /// What goes on the wire (RFC 6120 §4.9.2).
    pub fn to_element(&self) -> Element {
        let error = Element::new("error", ns::STREAMS);
        let error = error.with_child(Element::new(self.condition.name(), ns::STREAM_ERRORS));
        let text = self.text.as_ref().map(|text| {
            Element::new("text", ns::STREAM_ERRORS).with_attribute("xml:lang", "en").with_text(text.clone())
        });
        let closer = self.closer.map(|(name, ns)| Element::new(name, ns));
        text.into_iter().chain(closer).fold(error, Element::with_child)
    }
}

/// For the log: the condition and the text.
impl std::fmt::Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.condition.name())?;
        match &self.text {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}
