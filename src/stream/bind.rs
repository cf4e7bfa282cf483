//! Resource binding (RFC 6120 §7), and the session of clients of RFC 3921.

use crate::xml::Element;
use crate::xmpp::{BareJid, Condition, FullJid, Iq, IqType, Random, Stanza, StanzaError, ns};

/// Is this a request to bind a resource?
pub fn is_bind(iq: &Iq<'_>) -> bool {
    iq.kind() == IqType::Set && iq.payload().is("bind", ns::BIND)
}

/// Is this RFC 3921's request for a session?
pub fn is_session(iq: &Iq<'_>) -> bool {
    iq.kind() == IqType::Set && iq.payload().is("session", ns::SESSION)
}

/// The full JID that a request asks for (RFC 6120 §7.7), or one with a resource of ours (RFC 6120 §7.6).
pub fn requested(iq: &Iq<'_>, account: &BareJid, random: &mut dyn Random) -> Result<FullJid, StanzaError> {
    let wish = iq.payload().child("resource", ns::BIND).map(|resource| resource.text().into_owned());
    match wish {
        Some(wish) if !wish.is_empty() => with_resource(account, &wish),
        _ => with_resource(account, &random.token()),
    }
}

/// RFC 6120 §7.7.2.1: what resourceprep refuses is a bad request.
pub fn with_resource(account: &BareJid, resource: &str) -> Result<FullJid, StanzaError> {
    account.with_resource_str(resource).map_err(|_| {
        StanzaError::new(Condition::BadRequest, "The resource has characters that are not allowed, or is too long.")
    })
}

/// RFC 6120 §7.6.1: the result tells the full JID.
pub fn result(request: &Stanza, jid: &FullJid) -> Stanza {
    let jid = Element::new("jid", ns::BIND).with_text(jid.to_string());
    request.result(Some(Element::new("bind", ns::BIND).with_child(jid))).without_addresses()
}
