//! Login from before SASL: `jabber:iq:auth` (XEP-0078), with a plain password or its digest.
//!
//! Deviation: the digest needs the password itself, and we keep keys made of it. So it is offered only where the admin lets
//! passwords of imported accounts be kept for a while (`<keep-plain-passwords>`), to those accounts.
//! Deviation: a name without an account is told the fields of some account of the host, always the same, so that nobody can
//! find out which names exist.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use subtle::ConstantTimeEq as _;

use crate::config::{Config, Host};
use crate::xml::Element;
use crate::xmpp::{Condition, IqType, Stanza, StanzaError, ns};

/// Which ways in there are on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// With the password.
    pub plain: bool,
    /// With its digest, for accounts whose password is kept.
    pub digest: bool,
}

impl Ways {
    /// Those of this host.
    pub fn of(config: &Config, host: &Host) -> Ways {
        Ways {
            plain: host.modules.is_legacy_login_on(),
            digest: config.keep_plain_passwords.is_some() && host.modules.is_on("mod_auth_digest"),
        }
    }

    /// Is there any?
    pub fn any(self) -> bool {
        self.plain || self.digest
    }
}

/// A request of XEP-0078.
pub enum Request {
    /// XEP-0078 §3.1: which fields does this name need?
    Fields(String),
    /// XEP-0078 §3.1: the login itself.
    Login {
        /// As typed.
        username: String,
        /// What shows who it is.
        secret: Secret,
        /// As typed.
        resource: String,
    },
}

/// What a client sends to show who it is.
pub enum Secret {
    /// The password, as typed.
    Password(String),
    /// SHA-1 of the stream's id and the password, in hexadecimal.
    Digest(String),
}

/// Is this iq meant for us?
pub fn is_auth(stanza: &Stanza) -> bool {
    stanza.as_request().is_some_and(|iq| iq.payload().is("query", ns::IQ_AUTH))
}

/// Reads a request. What no way in asks for is not seen.
pub fn parse(stanza: &Stanza, ways: Ways) -> Result<Request, StanzaError> {
    let Some(iq) = stanza.as_request() else { return Err(Condition::BadRequest.into()) };
    let field = |name| iq.payload().child(name, ns::IQ_AUTH).map(|field| field.text().into_owned());
    let username = field("username").filter(|name| !name.trim().is_empty());
    if iq.kind() == IqType::Get {
        return Ok(Request::Fields(username.unwrap_or_default()));
    }
    // XEP-0078 §3.1: what is missing is not acceptable.
    let missing = |name| StanzaError::new(Condition::NotAcceptable, format!("The {name} is missing."));
    let username = username.ok_or_else(|| missing("username"))?;
    let resource = field("resource").filter(|resource| !resource.is_empty()).ok_or_else(|| missing("resource"))?;
    let password = field("password").filter(|_| ways.plain).map(Secret::Password);
    let secret = password.or_else(|| field("digest").filter(|_| ways.digest).map(Secret::Digest));
    let secret = secret.ok_or_else(|| missing("password"))?;
    Ok(Request::Login { username, secret, resource })
}

/// XEP-0078 §3.1: the fields that a login needs.
pub fn fields(username: String, ways: Ways) -> Element {
    let empty = |name: &'static str| Element::new(name, ns::IQ_AUTH);
    Element::new("query", ns::IQ_AUTH)
        .with_child(empty("username").with_text(username))
        .with_children(ways.plain.then(|| empty("password")))
        .with_children(ways.digest.then(|| empty("digest")))
        .with_child(empty("resource"))
}

/// XEP-0078 §3.1: is this the digest of the password, on the stream with this id?
pub fn is_digest(told: &str, stream_id: &str, password: &str) -> bool {
    let hashed = digest(&SHA1_FOR_LEGACY_USE_ONLY, [stream_id, password].concat().as_bytes());
    let text: String = hashed.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    text.as_bytes().ct_eq(told.as_bytes()).into()
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
        let ways = Ways { plain: true, digest: false };
        assert!(matches!(parse(&request("set", &full), ways), Ok(Request::Login { .. })));
        for left_out in 0..3 {
            let fields: Vec<_> = full.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, f)| *f).collect();
            let error = parse(&request("set", &fields), ways).map(|_| ()).unwrap_err();
            assert_eq!(error.condition(), Condition::NotAcceptable);
        }
    }

    #[test]
    fn the_digest_of_the_specification() {
        let digest = "48fc78be9ec8f86d8ce1c39c320c97c21d62334d";
        assert!(is_digest(digest, "3EE948B0", "Calli0pe"));
        for (told, id, password) in
            [(digest, "3EE948B1", "Calli0pe"), (digest, "3EE948B0", "calli0pe"), ("", "3EE948B0", "Calli0pe")]
        {
            assert!(!is_digest(told, id, password));
        }
        assert!(!is_digest(&digest.to_uppercase(), "3EE948B0", "Calli0pe"));
    }

    #[test]
    fn a_way_that_is_closed_is_not_seen() {
        let both = [("username", "bill"), ("password", "x"), ("digest", "y"), ("resource", "globe")];
        let read = |plain, digest| parse(&request("set", &both), Ways { plain, digest });
        for plain in [false, true] {
            let secret = |found| matches!(found, Ok(Request::Login { secret: Secret::Password(_), .. })) == plain;
            assert!(secret(read(plain, true)));
        }
        assert!(matches!(read(false, true), Ok(Request::Login { secret: Secret::Digest(_), .. })));
        assert!(read(false, false).is_err());
    }

    #[test]
    fn a_refusal_does_not_repeat_the_password() {
        let request = request("set", &[("username", "bill"), ("password", "secret")]);
        let text = refusal(&request, &Condition::NotAuthorized.into()).unwrap().to_text();
        assert!(!text.contains("secret"), "{text}");
    }
}
