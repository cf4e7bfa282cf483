//! What a stream offers at each step (RFC 6120 §4.3.2).

use crate::config::{Host, RegistrationMode};
use crate::xml::Element;
use crate::xmpp::ns;

use super::legacy_auth::Ways;
use super::sasl::Offer;

fn features() -> Element {
    Element::new("features", ns::STREAMS)
}

/// RFC 6120 §5.4.1: the offer of TLS; when it is required, nothing else is offered (RFC 6120 §5.3.1).
fn starttls(required: bool) -> Element {
    let starttls = Element::new("starttls", ns::TLS);
    if required { starttls.with_child(Element::new("required", ns::TLS)) } else { starttls }
}

/// Before TLS, where TLS must come first.
pub fn tls_only() -> Element {
    features().with_child(starttls(true))
}

/// Before login: mechanisms, registration if it may be shown, login of old clients; TLS too where it may come.
///
/// `registration` is what [`crate::store::invite::registration`] says.
pub fn login(
    host: &Host,
    offer: &Offer,
    ways: Ways,
    may_start_tls: bool,
    registration: Option<RegistrationMode>,
) -> Element {
    let mut all = features();
    if may_start_tls {
        all = all.with_child(starttls(false));
    }
    if !offer.mechanisms().is_empty() {
        let names = offer.mechanisms().iter().map(|m| Element::new("mechanism", ns::SASL).with_text(m.name()));
        all = all.with_child(Element::new("mechanisms", ns::SASL).with_children(names));
    }
    // XEP-0440 §2: which bindings the -PLUS mechanisms may use.
    let bindings = offer.channel_bindings();
    if !bindings.is_empty() {
        let types = bindings
            .into_iter()
            .map(|kind| Element::new("channel-binding", ns::SASL_CHANNEL_BINDING).with_attribute("type", kind));
        all = all.with_child(Element::new("sasl-channel-binding", ns::SASL_CHANNEL_BINDING).with_children(types));
    }
    if ways.any() {
        // Compat: Pandion and others look for this before they try jabber:iq:auth.
        all = all.with_child(Element::new("auth", ns::IQ_AUTH_FEATURE));
    }
    if let Some(mode) = registration.filter(|_| host.modules.is_on("mod_register")) {
        // XEP-0445 §3: who is invited may come where others may not.
        if host.modules.is_on("mod_invite") {
            all = all.with_child(Element::new("register", ns::REGISTER_TOKEN));
            // Compat: Conversations and Snikket look for this before they show an invitation.
            all = all.with_child(Element::new("register", ns::REGISTER_INVITED));
        }
        // XEP-0077 §8. Where it is by invitation, too: XEP-0445 §3 has both, and clients go on by this one.
        if mode != RegistrationMode::Closed {
            all = all.with_child(Element::new("register", ns::REGISTER_FEATURE));
        }
    }
    all
}

/// After login: binding a resource (RFC 6120 §7.4), and what the session will be able to do.
pub fn bind(host: &Host) -> Element {
    let mut all = features()
        .with_child(Element::new("bind", ns::BIND))
        // RFC 6121 §1.4: sessions are a no-operation, offered as optional for clients of RFC 3921.
        .with_child(Element::new("session", ns::SESSION).with_child(Element::new("optional", ns::SESSION)));
    if host.modules.is_on("mod_roster") {
        all = all
            .with_child(Element::new("ver", ns::ROSTER_VERSIONING))
            .with_child(Element::new("sub", ns::PRE_APPROVAL));
    }
    all
}
