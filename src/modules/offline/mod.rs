//! XEP-0160: messages for who is away wait in the store, and come in order, once, with the time they were sent.
//!
//! | file | what |
//! |---|---|
//! | `keep.rs` | what is kept, and in which form |
//! | `expire.rs` | XEP-0023: messages that are worth nothing after a time |
//! | `event.rs` | XEP-0022: the sender is told that the message waits |
//! | `behind.rs` | what must not overtake those on their way, and is not stored |
//! | `sending.rs` | the way out of the store, as fast as the client takes it |
//! | `leaving.rs` | what was sent stays in the store until the client has shown that it has it |
//! | `retrieval.rs` | XEP-0013: the client looks through the messages itself |

mod behind;
mod event;
mod expire;
mod keep;
mod leaving;
mod retrieval;
mod sending;

use std::collections::HashMap;

use crate::router::{About, Answers, Context, Flow, Module, Reply, Scope, Session, SessionEvent, SessionId, Wake};
use crate::xmpp::{BareJid, Iq, IqType, Stanza, StanzaError, ns};
use leaving::Leaving;
use sending::Sending;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::<Offline>::default()
}

#[derive(Default)]
struct Offline {
    /// What is on its way to sessions, in more than one step; at most one for each.
    under_way: HashMap<SessionId, Sending>,
    /// What was sent to sessions whose clients have not shown yet that they have it.
    leaving: HashMap<SessionId, Leaving>,
    /// Those of them that were not heard while the module was off.
    unheard: Vec<SessionId>,
    /// The number of the last wait or question.
    last_wait: u64,
}

impl Module for Offline {
    fn about(&self) -> &'static About {
        const ACCOUNT: &[Scope] = &[Scope::Account, Scope::Nobody];
        &About {
            specs: &["XEP-0013 1.3", "XEP-0022 1.4", "XEP-0023 1.3", "XEP-0091 1.4", "XEP-0160 1.0.1", "XEP-0203 2.0"],
            disco: &[ns::MSGOFFLINE, ns::OFFLINE],
            answers: &[
                Answers { scope: ACCOUNT, kind: IqType::Get, ns: ns::OFFLINE, name: "offline" },
                Answers { scope: ACCOUNT, kind: IqType::Set, ns: ns::OFFLINE, name: "offline" },
            ],
            nodes: &[ns::OFFLINE],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        self.retrieval(context, iq)
    }

    /// RFC 6120 §10.1: what comes while older messages are on their way does not overtake them.
    fn arriving(&mut self, context: &mut Context<'_>, account: &BareJid, stanza: &Stanza) -> Result<Flow, StanzaError> {
        match self.would_overtake(context, account, stanza)? {
            true => keep::queue(context, account, stanza),
            false => Ok(Flow::Pass),
        }
    }

    /// RFC 6120 §10.1: nor does what enters a session without having been stored.
    fn delivering(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        stanza: &Stanza,
    ) -> Result<Flow, StanzaError> {
        match self.waits_behind(context, session, stanza)? {
            true => Ok(Flow::Handled),
            false => Ok(Flow::Pass),
        }
    }

    /// RFC 6121 §8.5.2.2.1: keep the message, or let the sender know.
    fn undelivered(
        &mut self,
        context: &mut Context<'_>,
        account: &BareJid,
        stanza: &Stanza,
    ) -> Result<Flow, StanzaError> {
        keep::keep(context, account, stanza)
    }

    /// A client that was asked whether it has all answers: the next messages can leave.
    fn sent(&mut self, context: &mut Context<'_>, session: SessionId, stanza: &Stanza) -> Result<Flow, StanzaError> {
        if !self.unheard.is_empty() {
            self.await_unheard(context, session);
        }
        match self.question_answered(session, stanza) {
            Some(question) => self.answered(context, session, question).map(|()| Flow::Handled),
            None => Ok(Flow::Pass),
        }
    }

    /// XEP-0160 §3: who becomes available with a priority that is not negative gets what waits.
    fn session(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        event: &SessionEvent,
    ) -> Result<(), StanzaError> {
        match event {
            SessionEvent::Available => {
                let Some(receiver) = context.sessions.by_id(session).filter(|receiver| receiver.priority >= 0) else {
                    return Ok(());
                };
                // XEP-0013 §2.2: nobody gets them unasked while a session of the account looks through them.
                if context.sessions.of(receiver.account()).any(|(_, session)| session.reads_offline) {
                    return Ok(());
                }
                self.start(context, session, Sending::all())
            }
            // It is over until the client is available again; what it asked for itself (XEP-0013) it gets.
            SessionEvent::Unavailable { .. } => {
                let is_here = context.sessions.by_id(session).is_some_and(Session::is_available);
                if !is_here && self.under_way.get(&session).is_some_and(Sending::is_unasked) {
                    return self.paused(context, session);
                }
                Ok(())
            }
            SessionEvent::Ended => self.ended(context, session),
            _ => Ok(()),
        }
    }

    fn switched_off(&mut self, context: &mut Context<'_>) -> Result<(), StanzaError> {
        self.forget_host(context);
        Ok(())
    }

    fn woke(&mut self, context: &mut Context<'_>, wake: Wake) -> Result<(), StanzaError> {
        match wake {
            Wake::Timer(token) => self.waited(context, token),
            Wake::Hashed(_) | Wake::Reread(..) => Ok(()),
        }
    }
}
