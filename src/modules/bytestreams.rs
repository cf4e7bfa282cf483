//! XEP-0065: SOCKS5 Bytestreams: the proxy through which two clients pass files that cannot reach each other.
//!
//! Here are the questions: where to connect, and the word to begin. The two connections are `server/`'s and `net/`'s.
//! The requester must be one of the host's people, or somebody that jabber.xml allows, when it asks for the address and
//! again when it gives the word: the address is no secret. Its partner may be anybody.

use crate::config::ServiceKind;
use crate::config::hosts::host_address;
use crate::router::bytestreams::NotBegun;
use crate::router::{About, Answers, Context, Module, Reply, Scope, ServiceAbout};
use crate::stream::socks5::Destination;
use crate::xml::Element;
use crate::xmpp::{Condition, Iq, IqType, Jid, StanzaError, jid, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Bytestreams)
}

struct Bytestreams;

impl Module for Bytestreams {
    fn about(&self) -> &'static About {
        const HERE: &[Scope] = &[Scope::Service];
        &About {
            specs: &["XEP-0065 1.8.2"],
            service: Some(ServiceAbout {
                kind: ServiceKind::Proxy65,
                category: "proxy",
                identity: "bytestreams",
                name: "File transfers",
                disco: &[ns::BYTESTREAMS],
            }),
            answers: &[
                Answers { scope: HERE, kind: IqType::Get, ns: ns::BYTESTREAMS, name: "query" },
                Answers { scope: HERE, kind: IqType::Set, ns: ns::BYTESTREAMS, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(from) = iq.from() else { return Err(Condition::BadRequest.into()) };
        if !context.host.services.admit(ServiceKind::Proxy65, &context.host.name, from) {
            let text = format!("This proxy is for the people of {}.", context.host.name);
            return Err(StanzaError::new(Condition::Forbidden, text));
        }
        match iq.kind() {
            IqType::Get => address(context),
            _ => activate(context, from, iq.payload()),
        }
    }
}

/// XEP-0065 §3.3: where to connect.
fn address(context: &Context<'_>) -> Result<Reply, StanzaError> {
    let Some((service, _)) = context.service() else { return Err(Condition::NotAllowed.into()) };
    let proxy = &context.host.services.proxy65;
    let host = &context.host.name;
    // An IPv6 address stands here without brackets.
    let own = || host_address(host).map_or_else(|| host.clone(), |address| address.to_string());
    let streamhost = Element::new("streamhost", ns::BYTESTREAMS)
        .with_attribute("host", proxy.address.clone().unwrap_or_else(own))
        .with_attribute("jid", service.name.clone())
        .with_attribute("port", proxy.port.to_string());
    Ok(Element::new("query", ns::BYTESTREAMS).with_child(streamhost).into())
}

/// XEP-0065 §4.9: the word to begin.
fn activate(context: &mut Context<'_>, from: &Jid, query: &Element) -> Result<Reply, StanzaError> {
    let sid = query.attribute("sid").filter(|sid| !sid.is_empty()).ok_or(Condition::BadRequest)?;
    let target = query.child("activate", ns::BYTESTREAMS).ok_or(Condition::BadRequest)?;
    let target = Jid::new(target.text().trim()).map_err(|_| Condition::JidMalformed)?;
    // XEP-0065 §4.3: the parties may have talked with their bare JIDs.
    let requesters = [from.as_str(), jid::bare_str(from)];
    let destinations = requesters.map(|requester| Destination::of(sid, requester, target.as_str()));
    let wanted = destinations.iter().find(|wanted| context.bytestreams.knows(wanted));
    let wanted = wanted.ok_or_else(|| told(NotBegun::Nobody))?;
    let requester = from.to_bare();
    let ends = context.bytestreams.activate(wanted, &requester, &context.config.limits).map_err(told)?;
    context.join(ends, context.host.services.proxy65.bytes_per_second);
    log::info!(target: &context.host.name, users = "file transfers", by:% = requester;
        "file transfer of {requester} begins");
    Ok(Reply::empty())
}

/// XEP-0065 §4.9: who gives a word that is not the requester's gets the answer of who names a transfer that is not there.
fn told(why: NotBegun) -> StanzaError {
    match why {
        NotBegun::Nobody => StanzaError::new(Condition::ItemNotFound, "Nobody is connected for this transfer."),
        NotBegun::Alone => StanzaError::new(Condition::NotAllowed, "Only one party is connected for this transfer."),
        NotBegun::Full => {
            StanzaError::new(Condition::ResourceConstraint, "There are too many transfers at the moment.")
        }
    }
}
