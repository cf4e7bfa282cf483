//! RFC 6121 §4: who sees that a session is there, what it says of itself, and that it went.
//!
//! [`broadcast`] sends a session's own presence to those who may see it, [`directed`] remembers who else got presence,
//! [`probe`] asks for the presence of others and answers who asks, [`invisible`] is for who is here and is not seen.
//! Subscriptions are the roster's matter.
//!
//! Serves the sessions of local accounts. Invariant: whoever was told that a session is available is told when it is
//! no longer, once.

mod broadcast;
mod directed;
mod invisible;
mod probe;

use crate::router::{About, Answers, Context, Flow, Module, Reply, Scope, SessionEvent, SessionId};
use crate::xmpp::{BareJid, Iq, IqType, Jid, Kind, PresenceType, Stanza, StanzaError, jid, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Presence)
}

struct Presence;

impl Module for Presence {
    fn about(&self) -> &'static About {
        const OWN: &[Scope] = &[Scope::Account];
        &About {
            specs: &["RFC 6121", "XEP-0018 0.2", "XEP-0186 0.14.0"],
            disco: &[ns::INVISIBLE],
            answers: &[
                Answers { scope: OWN, kind: IqType::Set, ns: ns::INVISIBLE, name: "invisible" },
                Answers { scope: OWN, kind: IqType::Set, ns: ns::INVISIBLE, name: "visible" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        invisible::command(context, iq)
    }

    fn sent(&mut self, context: &mut Context<'_>, session: SessionId, stanza: &Stanza) -> Result<Flow, StanzaError> {
        let Kind::Presence(kind) = stanza.kind() else { return Ok(Flow::Pass) };
        match (kind, stanza.to()) {
            (PresenceType::Available, None) => broadcast::available(context, session, stanza)?,
            (PresenceType::Unavailable, None) => broadcast::unavailable(context, session, stanza)?,
            (PresenceType::Invisible, None) => invisible::by_presence(context, session, stanza)?,
            (PresenceType::Invisible, Some(to)) => return invisible::to_one(context, session, stanza, to),
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
