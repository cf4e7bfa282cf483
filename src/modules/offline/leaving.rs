//! What is on its way to a session stays in the store until it has left: until the client answered the question behind it,
//! or all that was sent to it is in the hands of the network. Till then no other session is given the same. If the
//! connection dies first, the messages are the next session's: one may then come twice, with the stamp of its first time,
//! which is better than not at all.

use std::ops::RangeInclusive;

use super::Offline;
use crate::router::{Context, SessionId};
use crate::store::offline;
use crate::xmpp::{BareJid, StanzaError};

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

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The messages that leave a session last, for now.
#[derive(Default)]
pub(super) struct Leaving {
    piece: Piece,
    /// The number of the wait for them to leave.
    wait: u64,
}

impl Offline {
    /// The numbers of the account's messages that are on their way to a session.
    pub(super) fn on_their_way(&self, context: &Context<'_>, account: &BareJid) -> Vec<RangeInclusive<u64>> {
        let mut all = Vec::new();
        for (id, _) in context.sessions.of(account) {
            let under_way = self.under_way.get(&id).map(|sending| &sending.piece);
            let leaving = self.leaving.get(&id).map(|leaving| &leaving.piece);
            all.extend(under_way.into_iter().chain(leaving).flat_map(|piece| piece.0.iter().cloned()));
        }
        all
    }

    /// Nothing follows this piece: it is deleted when it has left.
    pub(super) fn leave(&mut self, context: &mut Context<'_>, session: SessionId, piece: Piece) {
        if piece.is_empty() {
            return;
        }
        self.last_wait += 1;
        let leaving = self.leaving.entry(session).or_default();
        leaving.wait = self.last_wait;
        leaving.piece.0.extend(piece.0);
        context.wake_when_drained(session, leaving.wait);
    }

    /// Has this wait ended for what leaves a session last?
    pub(super) fn session_left(&self, wait: u64) -> Option<SessionId> {
        self.leaving.iter().find(|(_, leaving)| leaving.wait == wait).map(|(session, _)| *session)
    }

    /// The last piece of a session has left.
    pub(super) fn last_left(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        match self.leaving.remove(&session) {
            Some(leaving) => delete(context, session, leaving.piece),
            None => Ok(()),
        }
    }

    /// All that was sent to a session so far has left, or was read.
    pub(super) fn all_left(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        self.last_left(context, session)?;
        match self.under_way.get_mut(&session) {
            Some(sending) => delete(context, session, std::mem::take(&mut sending.piece)),
            None => Ok(()),
        }
    }
}

fn delete(context: &mut Context<'_>, session: SessionId, piece: Piece) -> Result<(), StanzaError> {
    let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else {
        return Ok(());
    };
    for ids in piece.0 {
        offline::delete_range(context.store, &account, &ids)?;
    }
    Ok(())
}
