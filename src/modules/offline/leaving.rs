//! What was sent to a session stays in the store until its client has shown that it has it; till then no other session is
//! given the same. If the connection breaks first, the messages are the next session's: one may then come twice, with
//! the stamp of its first time, which is better than not at all.
//!
//! What the socket took is no sign: without acknowledgements (XEP-0198) it may wait for ever for a peer that is gone. The
//! client shows it by what it says later, or by being there later ([`Context::wake_when_taken`]); and where there is so
//! much that it leaves in pieces, by its answer to the question (XEP-0199) behind each piece but the last. Compat: behind
//! the last there is none: no other server asks there, and some clients end at a ping.

use std::ops::RangeInclusive;

use super::Offline;
use crate::router::{Context, SessionId};
use crate::store::offline;
use crate::xml::Element;
use crate::xmpp::{BareJid, IqType, Kind, Stanza, StanzaError, jid, ns};

/// How the id of a question begins; its number follows.
const QUESTION: &str = "offline-";

/// The id of the question with this number.
pub(super) fn question_id(number: u64) -> String {
    format!("{QUESTION}{number}")
}

/// The number of the question that a client answers here, if it is one of ours.
fn answered(stanza: &Stanza) -> Option<u64> {
    let is_ours = stanza.to().is_some_and(|to| to.node().is_none());
    let is_answer = matches!(stanza.kind(), Kind::Iq(IqType::Result | IqType::Error));
    stanza.id().filter(|_| is_answer && is_ours)?.strip_prefix(QUESTION)?.parse().ok()
}

/// The numbers of messages that were sent together. Between two ranges lie some that went to another session.
#[derive(Default)]
pub(super) struct Piece(Vec<RangeInclusive<u64>>);

impl Piece {
    /// One more message; `joins` if none that is not of this piece lies between it and the one before.
    pub(super) fn push(&mut self, id: u64, joins: bool) {
        match self.0.last_mut().filter(|_| joins) {
            Some(last) => *last = *last.start()..=id,
            None => self.0.push(id..=id),
        }
    }
}

/// What was sent to a session, and its client has not shown yet to have.
#[derive(Default)]
pub(super) struct Leaving {
    /// Each with the number of the question behind it, which grows.
    pieces: Vec<(u64, Piece)>,
    /// The number of the wait for another sign than an answer.
    wait: u64,
}

impl Offline {
    /// The numbers of the account's messages that are on their way to a session.
    pub(super) fn on_their_way(&self, context: &Context<'_>, account: &BareJid) -> Vec<RangeInclusive<u64>> {
        let leaving = context.sessions.of(account).filter_map(|(id, _)| self.leaving.get(&id));
        leaving.flat_map(|leaving| &leaving.pieces).flat_map(|(_, piece)| piece.0.iter().cloned()).collect()
    }

    /// The number of the newest message of an account that is on its way to nobody; 0 if there is none.
    pub(super) fn newest_waiting(&self, context: &Context<'_>, account: &BareJid) -> Result<u64, StanzaError> {
        let elsewhere = self.on_their_way(context, account);
        let mut before = u64::MAX;
        while let Some(newest) = offline::newest(context.store, account, before)? {
            match elsewhere.iter().find(|ids| ids.contains(&newest)) {
                Some(ids) => before = *ids.start(),
                None => return Ok(newest),
            }
        }
        Ok(0)
    }

    /// Asks a session's client whether it has all that was sent to it. Returns the number of the question.
    pub(super) fn ask(&mut self, context: &mut Context<'_>, session: SessionId) -> u64 {
        self.last_wait += 1;
        let to = context.sessions.by_id(session).map(|session| session.jid().clone());
        if let (Some(host), Some(to)) = (jid::of_host(&context.host.name), to) {
            let ping = Element::new("ping", ns::PING);
            let question = Stanza::iq(IqType::Get, question_id(self.last_wait), Some(ping));
            context.deliver(session, question.with_from(host).with_to(to));
        }
        self.last_wait
    }

    /// This piece was sent, and the question with this number behind it, if it is not the last.
    pub(super) fn leave(&mut self, context: &mut Context<'_>, session: SessionId, question: Option<u64>, piece: Piece) {
        let question = question.unwrap_or(self.last_wait + 1);
        self.last_wait += 2;
        let leaving = self.leaving.entry(session).or_default();
        leaving.pieces.push((question, piece));
        leaving.wait = self.last_wait;
        context.wake_when_taken(session, leaving.wait);
    }

    /// Nothing of this piece had to be sent.
    pub(super) fn drop_piece(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        piece: Piece,
    ) -> Result<(), StanzaError> {
        delete(context, session, [piece])
    }

    /// The number of the question that this stanza answers, if its client was asked it.
    pub(super) fn question_answered(&self, session: SessionId, stanza: &Stanza) -> Option<u64> {
        let number = answered(stanza)?;
        let leaving = self.leaving.get(&session).into_iter().flat_map(|leaving| &leaving.pieces);
        let is_known = self.under_way.get(&session).is_some_and(|sending| sending.question() == number)
            || leaving.into_iter().any(|(question, _)| *question == number);
        is_known.then_some(number)
    }

    /// A client has what was sent to it before this question.
    pub(super) fn has_before(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        question: u64,
    ) -> Result<(), StanzaError> {
        let Some(leaving) = self.leaving.get_mut(&session) else { return Ok(()) };
        let count = leaving.pieces.partition_point(|(number, _)| *number <= question);
        let pieces: Vec<Piece> = leaving.pieces.drain(..count).map(|(_, piece)| piece).collect();
        if leaving.pieces.is_empty() {
            self.leaving.remove(&session);
        }
        delete(context, session, pieces)
    }

    /// Whose wait for another sign is this?
    pub(super) fn who_shows(&self, wait: u64) -> Option<SessionId> {
        self.leaving.iter().find(|(_, leaving)| leaving.wait == wait).map(|(session, _)| *session)
    }

    /// The module is on again: what sessions showed meanwhile nobody saw, so they are waited for anew.
    pub(super) fn await_unheard(&mut self, context: &mut Context<'_>, session: SessionId) {
        let Some(at) = self.unheard.iter().position(|unheard| *unheard == session) else { return };
        self.unheard.swap_remove(at);
        let Some(leaving) = self.leaving.remove(&session) else { return };
        let all = leaving.pieces.into_iter().flat_map(|(_, piece)| piece.0).collect();
        self.leave(context, session, None, Piece(all));
    }
}

fn delete(
    context: &mut Context<'_>,
    session: SessionId,
    pieces: impl IntoIterator<Item = Piece>,
) -> Result<(), StanzaError> {
    let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else {
        return Ok(());
    };
    for ids in pieces.into_iter().flat_map(|piece| piece.0) {
        offline::delete_range(context.store, &account, &ids)?;
    }
    Ok(())
}
