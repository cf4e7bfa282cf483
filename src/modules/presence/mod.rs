//! RFC 6121 §4: who sees that a session is there, what it says of itself, and that it went.
//!
//! [`broadcast`] sends a session's own presence to those who may see it, [`directed`] remembers who else got presence,
//! [`probe`] asks for the presence of others and answers who asks. Subscriptions are the roster's matter.
//!
//! Serves the sessions of local accounts. Invariant: whoever was told that a session is available is told when it is
//! no longer, once.

mod broadcast;
mod directed;
mod probe;

use crate::router::{About, Context, Flow, Module, SessionEvent, SessionId};
use crate::xmpp::{BareJid, Jid, Kind, PresenceType, Stanza, StanzaError, jid};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Presence)
}

struct Presence;

impl Module for Presence {
    fn about(&self) -> &'static About {
        &About { specs: &["RFC 6121"], ..About::NONE }
    }

    fn sent(&mut self, context: &mut Context<'_>, session: SessionId, stanza: &Stanza) -> Result<Flow, StanzaError> {
        let Kind::Presence(kind) = stanza.kind() else { return Ok(Flow::Pass) };
        match (kind, stanza.to()) {
            (PresenceType::Available, None) => broadcast::available(context, session, stanza)?,
            (PresenceType::Unavailable, None) => broadcast::unavailable(context, session, stanza)?,
            (PresenceType::Available | PresenceType::Unavailable, Some(to)) => {
                directed::note(context, session, to, kind)?;
                return Ok(Flow::Pass);
            }
            // A probe or an error to nobody says nothing. Compat: jabberd 1.4 lets clients probe others; so do we,
            // since who asks only gets what the subscription allows.
            (PresenceType::Probe | PresenceType::Error, None) => {}
            _ => return Ok(Flow::Pass),
        }
        Ok(Flow::Handled)
    }

    fn arriving(&mut self, context: &mut Context<'_>, account: &BareJid, stanza: &Stanza) -> Result<Flow, StanzaError> {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return Ok(Flow::Pass) };
        match stanza.kind() {
            Kind::Presence(PresenceType::Probe) => {
                probe::answer(context, account, from, to)?;
                Ok(Flow::Handled)
            }
            Kind::Presence(PresenceType::Error) => {
                directed::forget(context, account, from, to);
                Ok(Flow::Pass)
            }
            _ => Ok(Flow::Pass),
        }
    }

    fn session(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        event: &SessionEvent,
    ) -> Result<(), StanzaError> {
        match event {
            SessionEvent::Ended => broadcast::ended(context, session),
            _ => Ok(()),
        }
    }
}

/// Is presence for this contact worth sending? Most contacts are away at most times; for one of our own accounts the
/// sessions say so, and neither the store nor the other modules need to be asked.
fn may_be_there(context: &Context<'_>, contact: &Jid) -> bool {
    let is_ours = || contact.node().is_some() && context.config.host(jid::domain(contact)).is_some();
    context.sessions.available(contact).next().is_some() || !is_ours()
}
