//! RFC 6121 §2 and §3: the roster, and the presence subscriptions that stand in it.
//!
//! [`subscription`] has the rules as pure functions, [`requests`] applies them to the stanzas that go out and come in,
//! [`preauth`] lets in who was invited,
//! [`query`] answers clients that read or change their roster, [`item`] knows the grammar, [`push`] tells the clients.
//!
//! Serves the clients of local accounts. Invariants: what a client may see changes only together with a new version and
//! a push; only the rules of [`subscription`] change who sees whose presence.

mod item;
mod preauth;
mod push;
mod query;
mod requests;
mod subscription;

use crate::router::{
    About, AccountEvent, Answers, Context, Effect, Flow, Module, Reply, Scope, SessionEvent, SessionId, Sessions,
};
use crate::store::invite;
use crate::store::roster::RosterItem;
use crate::xmpp::{BareJid, Iq, IqType, Kind, Stanza, StanzaError, ns};

use subscription::Request;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Roster)
}

struct Roster;

impl Module for Roster {
    fn about(&self) -> &'static About {
        &About {
            specs: &["RFC 6121", "XEP-0237 1.3", "XEP-0379 0.3.3"],
            answers: &[
                Answers { scope: &[Scope::Account], kind: IqType::Get, ns: ns::ROSTER, name: "query" },
                Answers { scope: &[Scope::Account], kind: IqType::Set, ns: ns::ROSTER, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        match iq.kind() {
            IqType::Set => query::set(context, iq),
            _ => query::all(context, iq),
        }
    }

    fn sent(&mut self, context: &mut Context<'_>, session: SessionId, stanza: &Stanza) -> Result<Flow, StanzaError> {
        match request_of(stanza) {
            Some(request) => requests::outbound(context, session, stanza, request),
            None => Ok(Flow::Pass),
        }
    }

    fn arriving(&mut self, context: &mut Context<'_>, account: &BareJid, stanza: &Stanza) -> Result<Flow, StanzaError> {
        match request_of(stanza) {
            Some(request) => requests::inbound(context, account, stanza, request),
            None => Ok(Flow::Pass),
        }
    }

    /// RFC 6121 §3.1.2: who has not answered is asked again, once at each login; the server that should have kept the
    /// question may have lost it. Our own lose none.
    fn session(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        event: &SessionEvent,
    ) -> Result<(), StanzaError> {
        match event {
            SessionEvent::Bound => requests::ask_again(context, session),
            _ => Ok(()),
        }
    }

    fn account(
        &mut self,
        context: &mut Context<'_>,
        account: &BareJid,
        event: AccountEvent,
    ) -> Result<(), StanzaError> {
        match event {
            AccountEvent::Created => match invite::inviter_of(context.store, account)? {
                Some(inviter) => requests::acquaint(context, account, &inviter),
                None => Ok(()),
            },
            AccountEvent::Deleted => requests::part_from_all(context, account),
        }
    }
}

/// The pushes of an item that was changed in the store by somebody above this room.
pub fn push_item(sessions: &Sessions, account: &BareJid, item: &RosterItem, version: u64) -> Vec<Effect> {
    let pushes = push::pushes(sessions, account, item.to_element(), version);
    pushes.into_iter().map(|(session, push)| Effect::Deliver(session, push)).collect()
}

fn request_of(stanza: &Stanza) -> Option<Request> {
    match stanza.kind() {
        Kind::Presence(kind) => Request::of(kind),
        _ => None,
    }
}
