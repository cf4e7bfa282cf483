//! What comes for a session while older messages are on their way to it, and is not stored behind them: what is for it
//! alone (in the store it would be anybody's), what its sender or the admin does not want kept, and copies that other
//! sessions get at once. It waits in memory, no longer than the session lives.

use std::collections::VecDeque;

use super::Offline;
use super::sending::piece_bytes;
use crate::router::{Context, SessionId};
use crate::xmpp::{Condition, Kind, Stanza, StanzaError, delay};

/// A stanza that waits.
struct Waiting {
    stanza: Stanza,
    /// The number of the last message in the store that it must not overtake.
    after: u64,
    came_unix_millis: u64,
    bytes: usize,
}

/// What waits, in the order it came.
#[derive(Default)]
pub(super) struct Behind {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Behind {
    /// Gives the session what does not wait for a message from this number on. Returns its bytes.
    pub(super) fn let_go(&mut self, context: &mut Context<'_>, session: SessionId, next: u64) -> usize {
        let mut gone = 0;
        while self.waiting.front().is_some_and(|first| first.after < next) {
            let Some(first) = self.waiting.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(first.bytes);
            gone += first.bytes;
            let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else { break };
            let clean = delay::without_stamps_for(first.stanza, &account);
            let late = delay::stamped(clean, &context.host.name, first.came_unix_millis, "");
            context.deliver(session, late);
        }
        gone
    }

    /// The session gets no more of what waits before these: what is for it alone goes its way anew, as if it just came.
    pub(super) fn give_up(self, context: &mut Context<'_>) {
        let is_for_it_alone = |waiting: &Waiting| waiting.stanza.to().is_some_and(|to| to.is_full());
        for waiting in self.waiting.into_iter().filter(is_for_it_alone) {
            context.route_anyway(waiting.stanza);
        }
    }
}

impl Offline {
    /// RFC 6120 §10.1: takes a message that is about to enter a session and would overtake older ones. False if there are
    /// none, or if it is one of them.
    pub(super) fn waits_behind(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        stanza: &Stanza,
    ) -> Result<bool, StanzaError> {
        let Some(sending) = self.under_way.get_mut(&session) else { return Ok(false) };
        if sending.passes(stanza) || !matches!(stanza.kind(), Kind::Message(_)) {
            return Ok(false);
        }
        let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else {
            return Ok(false);
        };
        let newest = self.newest_waiting(context, &account)?;
        let Some(sending) = self.under_way.get_mut(&session) else { return Ok(false) };
        let last = sending.behind.waiting.back().map_or(0, |last| last.after);
        let after = newest.max(last);
        if after <= sending.sent() && sending.behind.waiting.is_empty() {
            return Ok(false);
        }
        let bytes = stanza.to_text().len();
        if sending.behind.bytes.saturating_add(bytes) > piece_bytes(context) {
            if stanza.to().is_none_or(|to| to.is_bare()) {
                // Others may have it already. Its place in the order is given up rather than the message.
                return Ok(false);
            }
            let text = "The recipient is busy with older messages.";
            let error = StanzaError::new(Condition::ResourceConstraint, text);
            if let Some(refusal) = stanza.error(&error) {
                context.route_anyway(refusal);
            }
            return Ok(true);
        }
        sending.behind.bytes = sending.behind.bytes.saturating_add(bytes);
        let came_unix_millis = context.now.unix_millis;
        sending.behind.waiting.push_back(Waiting { stanza: stanza.clone(), after, came_unix_millis, bytes });
        Ok(true)
    }
}
