//! Who may reach whom: privacy lists (XEP-0016), the blocking command over the same rules (XEP-0191), and jabberd 1.4's
//! rules for messages.
//!
//! [`lists`] and [`blocking`] are the two protocols by which users see and change one and the same thing: the block list
//! is what the default list blocks altogether (XEP-0191 §5). [`changes`] puts a change into force and tells whoever must
//! hear of it. [`filter`] is for clients of 1.4's time. The decision itself is `router/privacy.rs`'s.
//!
//! Serves local accounts. Invariant: what is in memory is what is in the store; who was shown presence and may not have it
//! any more is told that it is over, once.

mod blocking;
mod changes;
mod filter;
mod lists;

use crate::router::privacy::{Standing, is_exempt, stops, takes};
use crate::router::{About, Answers, Context, Flow, Module, Reply, Scope, SessionEvent, SessionId};
use crate::xmpp::filter::Action;
use crate::xmpp::privacy::Traffic;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{
    BareJid, Condition, ErrorType, Iq, IqType, Jid, Kind, MessageType, PresenceType, Stanza, StanzaError, StreamError,
    jid, ns,
};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Privacy::default())
}

#[derive(Default)]
struct Privacy {
    reports: blocking::Reports,
}

impl Module for Privacy {
    fn about(&self) -> &'static About {
        const OWN: &[Scope] = &[Scope::Account];
        &About {
            specs: &["XEP-0016 1.7", "XEP-0191 1.3", "XEP-0377 0.4.1"],
            disco: &[ns::PRIVACY, ns::BLOCKING, ns::REPORTING],
            answers: &[
                Answers { scope: OWN, kind: IqType::Get, ns: ns::PRIVACY, name: "query" },
                Answers { scope: OWN, kind: IqType::Set, ns: ns::PRIVACY, name: "query" },
                Answers { scope: OWN, kind: IqType::Get, ns: ns::BLOCKING, name: "blocklist" },
                Answers { scope: OWN, kind: IqType::Set, ns: ns::BLOCKING, name: "block" },
                Answers { scope: OWN, kind: IqType::Set, ns: ns::BLOCKING, name: "unblock" },
                Answers { scope: OWN, kind: IqType::Get, ns: ns::FILTER, name: "query" },
                Answers { scope: OWN, kind: IqType::Set, ns: ns::FILTER, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        // Nobody sees or changes what others have.
        let (session, account) = match (context.requesting_session(), iq.from(), iq.to()) {
            (Some(session), Some(from), Some(to)) if jid::same_bare(from, to) => (session, to.to_bare()),
            _ => return Err(Condition::Forbidden.into()),
        };
        match (iq.payload().ns(), iq.payload().name(), iq.kind()) {
            (ns::PRIVACY, _, IqType::Get) => lists::read(context, &account, session, iq.payload()),
            (ns::PRIVACY, _, _) => lists::change(context, &account, session, iq),
            (ns::BLOCKING, "blocklist", _) => blocking::list(context, session),
            (ns::BLOCKING, "block", _) => blocking::block(context, &account, iq, &mut self.reports),
            (ns::BLOCKING, _, _) => blocking::unblock(context, &account, iq),
            _ if !context.host.modules.is_on("mod_filter") => Err(Condition::ServiceUnavailable.into()),
            (_, _, IqType::Get) => filter::read(context, &account),
            (_, _, _) => filter::change(context, &account, iq.payload()),
        }
    }

    /// XEP-0016 §2.14: what may not go out goes back. Before any other module: a subscription that nobody hears of must
    /// not change a roster (XEP-0016 §2.2).
    fn sent(&mut self, context: &mut Context<'_>, session: SessionId, stanza: &Stanza) -> Result<Flow, StanzaError> {
        let Some(session) = context.sessions.by_id(session) else { return Ok(Flow::Pass) };
        let (Some(list), Some(to)) = (session.list(), stanza.to()) else { return Ok(Flow::Pass) };
        let item = stops(context.store, list, session.account(), to, Traffic::outbound(stanza.kind()))?;
        let Some(item) = item else { return Ok(Flow::Pass) };
        let error = StanzaError::from(Condition::NotAcceptable).typed(ErrorType::Cancel);
        // XEP-0191 §3.3: of a contact on the block list.
        let is_on_block_list = session.active.is_none() && item.blocked().is_some();
        Err(if is_on_block_list { error.with_specific(blocking::error()) } else { error })
    }

    /// By the list of the session that it is for. What is for the bare JID is for all sessions, so that it passes if one of
    /// them takes it; if there is none, the default list decides (XEP-0016 §2.2).
    fn arriving(&mut self, context: &mut Context<'_>, account: &BareJid, stanza: &Stanza) -> Result<Flow, StanzaError> {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return Ok(Flow::Pass) };
        let session = if to.is_full() { context.sessions.by_full(account, to) } else { None };
        let standing = context.sessions.standing(context.store, account)?;
        let passes = match session.and_then(|id| context.sessions.by_id(id)) {
            Some(session) => takes(context.store, session, stanza)?,
            None if is_for_sessions(context, account, stanza.kind()) => true,
            None => somebody_takes(context, account, standing.as_deref(), stanza)?,
        };
        if !passes {
            return refuse(stanza);
        }
        let Some(standing) = standing else { return Ok(Flow::Pass) };
        let is_filtered = matches!(stanza.kind(), Kind::Message(kind) if kind != MessageType::Error)
            && context.host.modules.is_on("mod_filter");
        match standing.filter.decide(from).filter(|_| is_filtered && !is_exempt(account, from)) {
            None => Ok(Flow::Pass),
            Some(Action::Offline) => Ok(Flow::Undelivered),
            Some(Action::Error(text)) if text.is_empty() => Err(Condition::ServiceUnavailable.into()),
            Some(Action::Error(text)) => Err(StanzaError::new(Condition::ServiceUnavailable, text.clone())),
        }
    }

    /// What comes to a session in another way than by its address: what waited for it, what was asked of its user. An
    /// answer of this server to what the session just sent is not from whoever its address names; nor is the word that a
    /// contact is gone, which is said when a list takes it from sight (XEP-0016 §2.10).
    fn delivering(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        stanza: &Stanza,
    ) -> Result<Flow, StanzaError> {
        let Some(receiver) = context.sessions.by_id(session) else { return Ok(Flow::Pass) };
        let is_news = receiver.list().is_some()
            && context.requesting_session() != Some(session)
            && stanza.kind() != Kind::Presence(PresenceType::Unavailable);
        if is_news && !takes(context.store, receiver, stanza)? { Ok(Flow::Handled) } else { Ok(Flow::Pass) }
    }

    fn session(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        event: &SessionEvent,
    ) -> Result<(), StanzaError> {
        if *event == SessionEvent::Bound && context.sessions.give_standing(context.store, session).is_err() {
            // Rather no session than one that nobody guards.
            let error = StreamError::new(StreamCondition::InternalServerError, "The privacy lists cannot be read.");
            context.close(session, error);
        }
        Ok(())
    }
}

/// Does one of the sessions take a stanza? If there is none, does the account?
fn somebody_takes(
    context: &Context<'_>,
    account: &BareJid,
    standing: Option<&Standing>,
    stanza: &Stanza,
) -> Result<bool, StanzaError> {
    let mut is_anybody_here = false;
    for (_, session) in context.sessions.of(account) {
        is_anybody_here = true;
        if takes(context.store, session, stanza)? {
            return Ok(true);
        }
    }
    let (false, Some(from)) = (is_anybody_here, stanza.from()) else { return Ok(!is_anybody_here) };
    let Some(list) = standing.and_then(|standing| standing.default.as_deref()) else { return Ok(true) };
    Ok(stops(context.store, list, account, from, Traffic::inbound(stanza.kind()))?.is_none())
}

/// Is a stanza for the bare JID, or for a resource that is not there, one that goes to sessions of the account? Then it is
/// for each of them to take it or not.
fn is_for_sessions(context: &Context<'_>, account: &Jid, kind: Kind) -> bool {
    let mut available = context.sessions.available(account);
    match kind {
        Kind::Message(MessageType::Chat | MessageType::Normal | MessageType::Headline) => {
            available.any(|(_, session)| session.priority >= 0)
        }
        Kind::Presence(PresenceType::Available | PresenceType::Unavailable | PresenceType::Error) => true,
        Kind::Message(_) | Kind::Presence(_) | Kind::Iq(_) => false,
    }
}

/// XEP-0016 §2.14: nobody hears why, so that the user looks as if away.
fn refuse(stanza: &Stanza) -> Result<Flow, StanzaError> {
    match stanza.kind() {
        Kind::Presence(_) => Ok(Flow::Handled),
        Kind::Message(_) | Kind::Iq(_) if stanza.is_final() => Ok(Flow::Handled),
        Kind::Message(_) | Kind::Iq(_) => Err(Condition::ServiceUnavailable.into()),
    }
}
