//! Delivery to a local account (RFC 6121 §8.5): which session gets a stanza, and what if none does.
//!
//! | to | kind | sessions that get it | none there |
//! |---|---|---|---|
//! | bare | message chat, normal | all of the highest non-negative priority | offline, else `<service-unavailable/>` |
//! | bare | message headline | all of non-negative priority | offline where the admin wants it, else dropped |
//! | bare | message groupchat | none | offline where the admin wants it, else `<service-unavailable/>` |
//! | bare | message error | none | offline where the admin wants it, else dropped |
//! | bare | presence | all available | dropped |
//! | bare | iq get, set | none: the server answers for the account | |
//! | full | any | that session | message chat: as to the bare JID; normal, iq: `<service-unavailable/>` |

use super::hosts::HostPlace;
use super::ids::SessionId;
use super::module::{Flow, Point, Scope};
use super::privacy::{KeptBack, takes};
use super::{Addressee, Call, Effect, Env, Out, Parcel, Requester, Router, Session};
use crate::xmpp::stanza_error::ErrorType;
use crate::xmpp::{BareJid, Condition, IqType, Jid, Kind, MessageType, PresenceType, Stanza, StanzaError, jid, ns};

/// Nobody can read what an account gets that the admin disabled: who writes hears so. All else of it stays.
fn for_disabled(kind: MessageType) -> Result<(), StanzaError> {
    match kind {
        MessageType::Error | MessageType::Headline => Ok(()),
        _ => Err(Condition::ServiceUnavailable.into()),
    }
}

/// What an account's server alone has to say to its clients. RFC 6121 §2.1.6 and XEP-0191 §3.3 leave it to them to look at
/// the sender; not all do.
fn is_forged_push(stanza: &Stanza, account: &BareJid) -> bool {
    stanza.kind() == Kind::Iq(IqType::Set)
        && stanza.as_request().is_some_and(|iq| [ns::ROSTER, ns::BLOCKING, ns::PRIVACY].contains(&iq.payload().ns()))
        && stanza.from().is_some_and(|from| from.to_bare() != *account)
}

/// Does the sender keep a stanza from this session, though not from its account?
fn is_kept_back(env: &Env<'_>, kept_back: Option<&KeptBack>, session: &Session) -> Result<bool, StanzaError> {
    kept_back.map_or(Ok(false), |kept_back| Ok(kept_back.is_from(env.store, session.jid())?))
}

impl Router {
    /// A stanza for a local account: the modules see it, then the sessions are chosen.
    pub(super) fn for_account(
        &mut self,
        env: &mut Env<'_>,
        host: HostPlace,
        to: &Jid,
        mut parcel: Parcel,
    ) -> Result<(), StanzaError> {
        let account = jid::bare(to);
        if to.is_full() && is_forged_push(&parcel.stanza, &account) {
            return Err(Condition::ServiceUnavailable.into());
        }
        // Who has a session has an account; only for the others is the store asked.
        if self.sessions.count(&account) == 0 {
            match crate::store::account::account(env.store, &account)? {
                None => return self.for_nobody(env, host, account, &parcel),
                Some(found) if found.disabled => {
                    if let Kind::Message(kind) = parcel.stanza.kind() {
                        return for_disabled(kind);
                    }
                }
                Some(_) => {}
            }
        }
        let Parcel { requester, depth, .. } = parcel;
        let call = Call { point: Point::Arriving, host, service: None, depth, requester };
        for index in 0..self.modules_len() {
            let flow =
                self.enter(env, call, index, |module, context| module.arriving(context, &account, &parcel.stanza));
            match flow.transpose()? {
                None | Some(Flow::Pass) => {}
                Some(Flow::Changed(changed)) => parcel.stanza = *changed,
                Some(Flow::Handled) => return Ok(()),
                Some(Flow::Undelivered) => return self.undelivered(env, host, &account, parcel),
            }
        }
        let session = if to.is_full() { self.sessions.by_full(&account, to) } else { None };
        match session {
            Some(session) => {
                self.deliver(env, parcel.depth, session, parcel.stanza);
                Ok(())
            }
            None if to.is_full() => self.for_absent_resource(env, host, &account, parcel),
            None => self.for_bare(env, host, &account, parcel),
        }
    }

    /// RFC 6121 §8.5.1: no such account. What can look as with an account that shows itself to nobody, does.
    fn for_nobody(
        &mut self,
        env: &mut Env<'_>,
        host: HostPlace,
        account: BareJid,
        parcel: &Parcel,
    ) -> Result<(), StanzaError> {
        match parcel.stanza.kind() {
            Kind::Presence(PresenceType::Probe) => {
                let Some(from) = parcel.stanza.from() else { return Ok(()) };
                let to = jid::contact(from);
                let refusal = Stanza::presence(PresenceType::Unsubscribed).with_from(account).with_to(to);
                self.queue.push_back((parcel.depth + 1, Effect::Route(refusal)));
                Ok(())
            }
            Kind::Presence(_) => Ok(()),
            Kind::Iq(IqType::Get | IqType::Set) if parcel.stanza.to().is_some_and(Jid::is_bare) => {
                let iq = parcel.stanza.as_request().ok_or(Condition::BadRequest)?;
                let answer = self.call_answer(env, Addressee::at(host, Scope::Nobody), parcel.requester, &iq);
                self.answer(env, parcel, answer)
            }
            _ => Err(Condition::ServiceUnavailable.into()),
        }
    }

    /// RFC 6121 §8.5.3.2: a full JID that nobody has now.
    fn for_absent_resource(
        &mut self,
        env: &mut Env<'_>,
        host: HostPlace,
        account: &BareJid,
        parcel: Parcel,
    ) -> Result<(), StanzaError> {
        match parcel.stanza.kind() {
            Kind::Message(MessageType::Chat) => self.for_bare(env, host, account, parcel),
            // RFC 6121 §8.5.3.2.1: who wrote to one resource, and not in a chat, must hear that it is gone.
            Kind::Message(MessageType::Normal | MessageType::Groupchat) | Kind::Iq(IqType::Get | IqType::Set) => {
                Err(Condition::ServiceUnavailable.into())
            }
            Kind::Message(MessageType::Headline | MessageType::Error) | Kind::Presence(_) | Kind::Iq(_) => Ok(()),
        }
    }

    /// RFC 6121 §8.5.2: the bare JID.
    fn for_bare(
        &mut self,
        env: &mut Env<'_>,
        host: HostPlace,
        account: &BareJid,
        parcel: Parcel,
    ) -> Result<(), StanzaError> {
        match parcel.stanza.kind() {
            Kind::Message(MessageType::Groupchat) => self.undelivered(env, host, account, parcel),
            Kind::Message(MessageType::Error) => self.stored_or_dropped(env, host, account, parcel),
            Kind::Iq(IqType::Result | IqType::Error) => Ok(()),
            Kind::Message(MessageType::Headline) => {
                if self.deliver_to_all(env, account, &parcel, |priority| priority >= 0)? > 0 {
                    return Ok(());
                }
                self.stored_or_dropped(env, host, account, parcel)
            }
            Kind::Message(MessageType::Chat | MessageType::Normal) => {
                let kept_back = self.sessions.kept_back(env.store, self.hosts.config(), &parcel.stanza)?;
                let (mut is_anybody_here, mut is_one_kept_back, mut top) = (false, false, None);
                for (_, session) in self.sessions.available(account).filter(|(_, session)| session.priority >= 0) {
                    is_anybody_here = true;
                    if Some(session.priority) > top && takes(env.store, session, &parcel.stanza)? {
                        match is_kept_back(env, kept_back.as_ref(), session)? {
                            true => is_one_kept_back = true,
                            false => top = Some(session.priority),
                        }
                    }
                }
                match top {
                    Some(top) => self.deliver_to_all(env, account, &parcel, |priority| priority == top).map(drop),
                    // XEP-0016 §2.14: the sender sends nothing to those who are here.
                    None if is_one_kept_back => {
                        Err(StanzaError::from(Condition::NotAcceptable).typed(ErrorType::Cancel))
                    }
                    // XEP-0016 §2.14: nobody here wants it, so it does not wait for somebody who does.
                    None if is_anybody_here => Err(Condition::ServiceUnavailable.into()),
                    None => self.undelivered(env, host, account, parcel),
                }
            }
            Kind::Presence(PresenceType::Available | PresenceType::Unavailable | PresenceType::Error) => {
                self.deliver_to_all(env, account, &parcel, |_| true).map(drop)
            }
            // Subscriptions and probes were for the roster and presence modules.
            Kind::Presence(_) => Ok(()),
            Kind::Iq(IqType::Get | IqType::Set) => match parcel.stanza.as_request() {
                None => Err(Condition::BadRequest.into()),
                Some(iq) => {
                    let answer = self.call_answer(env, Addressee::at(host, Scope::Account), parcel.requester, &iq);
                    self.answer(env, &parcel, answer)
                }
            },
        }
    }

    /// RFC 6121 §8.5.2.2.1: nobody took it; storage may.
    fn undelivered(
        &mut self,
        env: &mut Env<'_>,
        host: HostPlace,
        account: &BareJid,
        parcel: Parcel,
    ) -> Result<(), StanzaError> {
        let Parcel { requester, depth, .. } = parcel;
        let call = Call { point: Point::Undelivered, host, service: None, depth, requester };
        for index in 0..self.modules_len() {
            let flow =
                self.enter(env, call, index, |module, context| module.undelivered(context, account, &parcel.stanza));
            if let Some(Flow::Handled) = flow.transpose()? {
                return Ok(());
            }
        }
        Err(Condition::ServiceUnavailable.into())
    }

    /// RFC 6121 §8.5.2.2.1: nobody hears that a headline or an error found no reader.
    fn stored_or_dropped(
        &mut self,
        env: &mut Env<'_>,
        host: HostPlace,
        account: &BareJid,
        parcel: Parcel,
    ) -> Result<(), StanzaError> {
        let told = self.undelivered(env, host, account, parcel);
        told.or_else(|error| match error.condition() {
            Condition::ServiceUnavailable => Ok(()),
            _ => Err(error),
        })
    }

    /// A copy for each of these sessions that takes it (XEP-0016 §2.2); how many there were, those that do not included.
    fn deliver_to_all(
        &mut self,
        env: &mut Env<'_>,
        account: &BareJid,
        parcel: &Parcel,
        wanted: impl Fn(i8) -> bool,
    ) -> Result<usize, StanzaError> {
        let kept_back = self.sessions.kept_back(env.store, self.hosts.config(), &parcel.stanza)?;
        let (mut sessions, mut count): (Vec<SessionId>, usize) = (Vec::new(), 0);
        for (id, session) in self.sessions.available(account).filter(|(_, session)| wanted(session.priority)) {
            count += 1;
            if takes(env.store, session, &parcel.stanza)? && !is_kept_back(env, kept_back.as_ref(), session)? {
                sessions.push(id);
            }
        }
        for session in sessions {
            self.deliver(env, parcel.depth, session, parcel.stanza.clone());
        }
        Ok(count)
    }

    /// Gives a copy to one session, after the modules saw it.
    pub(super) fn deliver(&mut self, env: &mut Env<'_>, depth: u32, session: SessionId, stanza: Stanza) {
        self.hand_over(env, depth, session, stanza, Requester::Elsewhere);
    }

    /// Gives a session the answer to what it just sent itself.
    pub(super) fn answer_session(&mut self, env: &mut Env<'_>, depth: u32, session: SessionId, answer: Stanza) {
        self.hand_over(env, depth, session, answer, Requester::Session(session));
    }

    fn hand_over(
        &mut self,
        env: &mut Env<'_>,
        depth: u32,
        session: SessionId,
        mut stanza: Stanza,
        requester: Requester,
    ) {
        let Some(receiver) = self.sessions.by_id(session) else { return };
        let host = self.hosts.place(receiver.account().domain().as_str()).unwrap_or(HostPlace::NOWHERE);
        let call = Call { point: Point::Delivering, host, service: None, depth, requester };
        for index in 0..self.modules_len() {
            let flow = self.enter(env, call, index, |module, context| module.delivering(context, session, &stanza));
            match flow {
                None | Some(Ok(Flow::Pass)) => {}
                Some(Ok(Flow::Changed(changed))) => stanza = *changed,
                Some(Ok(Flow::Handled | Flow::Undelivered) | Err(_)) => return,
            }
        }
        if let Some(receiver) = self.sessions.by_id_mut(session) {
            receiver.received += 1;
            self.out.push(Out::Stanza(receiver.connection(), stanza));
        }
    }
}
