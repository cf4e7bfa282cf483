//! Login from before SASL: `jabber:iq:auth` (XEP-0078), with a plain password only.
//!
//! Deviation: the `digest` method is not offered, since it needs the password itself and we keep only keys made of it.
//! Deviation: the fields are the same for names without an account, so that nobody can find out which names exist.

use crate::xml::Element;
use crate::xmpp::{Condition, IqType, Stanza, StanzaError, ns};

/// A request of XEP-0078.
pub enum Request {
    /// XEP-0078 §3.1: which fields are needed?
    Fields(Element),
    /// XEP-0078 §3.1: the login itself.
    Login {
        /// As typed.
        username: String,
        /// As typed.
        password: String,
        /// As typed.
        resource: String,
    },
}

/// Is this iq meant for us?
pub fn is_auth(stanza: &Stanza) -> bool {
    stanza.as_request().is_some_and(|iq| iq.payload().is("query", ns::IQ_AUTH))
}

/// Reads a request.
pub fn parse(stanza: &Stanza) -> Result<Request, StanzaError> {
    let Some(iq) = stanza.as_request() else { return Err(Condition::BadRequest.into()) };
    let field = |name| iq.payload().child(name, ns::IQ_AUTH).map(|field| field.text().into_owned());
    let username = field("username").filter(|name| !name.trim().is_empty());
    if iq.kind() == IqType::Get {
        return Ok(Request::Fields(fields(username.unwrap_or_default())));
    }
    // XEP-0078 §3.1: what is missing is not acceptable.
    let missing = |name| StanzaError::new(Condition::NotAcceptable, format!("The {name} is missing."));
    let username = username.ok_or_else(|| missing("username"))?;
    let resource = field("resource").filter(|resource| !resource.is_empty()).ok_or_else(|| missing("resource"))?;
    let password = field("password").ok_or_else(|| missing("password"))?;
    Ok(Request::Login { username, password, resource })
}

fn fields(username: String) -> Element {
    let empty = |name: &'static str| Element::new(name, ns::IQ_AUTH);
    Element::new("query", ns::IQ_AUTH).with_children([
        empty("username").with_text(username),
        empty("password"),
        empty("resource"),
    ])
}

/// The refusal (XEP-0078 §3.1): without the query, which had the password in it.
pub fn refusal(request: &Stanza, error: &StanzaError) -> Option<Stanza> {
    let bare = request.clone().map_element(|element| element.keeping_children(|_| false));
    bare.error(error).map(Stanza::without_addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: &'static str, fields: &[(&'static str, &'static str)]) -> Stanza {
        let query = Element::new("query", ns::IQ_AUTH);
        let query =
            query.with_children(fields.iter().map(|(name, text)| Element::new(*name, ns::IQ_AUTH).with_text(*text)));
        let iq = Element::new("iq", ns::CLIENT).with_attribute("type", kind).with_attribute("id", "a");
        Stanza::parse(iq.with_child(query)).unwrap()
    }

    #[test]
    fn what_is_missing_is_named() {
        let full = [("username", "bill"), ("password", "Calli0pe"), ("resource", "globe")];
        assert!(matches!(parse(&request("set", &full)), Ok(Request::Login { .. })));
        for left_out in 0..3 {
            let fields: Vec<_> = full.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, f)| *f).collect();
            let error = parse(&request("set", &fields)).map(|_| ()).unwrap_err();
            assert_eq!(error.condition(), Condition::NotAcceptable);
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_the_password() {
        let request = request("set", &[("username", "bill"), ("password", "secret")]);
        let text = refusal(&request, &Condition::NotAuthorized.into()).unwrap().to_text();
        assert!(!text.contains("secret"), "{text}");
    }
}
