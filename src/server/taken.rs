//! Has a client what was sent to it? Without acknowledgements (XEP-0198) it shows that after its system has taken all: by
//! the end of its stream or of its side of the connection; by a stanza some seconds later, for a program that hangs says
//! nothing; or because it is still there half a minute later: of one that died the system has told by then (RFC 9293 §3.6:
//! a reset, for what nobody has read). White space is no sign: it may come from a program that reads no more.

use super::{ConnectionId, Output, Server, Timer};
use crate::router::ModuleTimer;
use crate::xmpp::Now;

/// How long after all has left a stanza shows that its sender lives on.
const LATER_MILLIS: u64 = 5_000;

/// How long after all has left who is still there has it, whether or not it says anything.
const THERE_MILLIS: u64 = 30_000;

/// A module waits for such a sign.
pub(super) struct Awaited {
    /// In which turn that was asked for: what was sent in it is to be taken, too.
    turn: u64,
    /// Whom to wake.
    timer: ModuleTimer,
    /// When all had left us.
    left_millis: Option<u64>,
}

impl Awaited {
    /// All had left so long ago.
    fn was_left_before(&self, now: Now, millis: u64) -> bool {
        self.left_millis.is_some_and(|left| now.monotonic_millis >= left.saturating_add(millis))
    }
}

/// What a client says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// A stanza.
    Stanza,
    /// That it will say no more.
    End,
}

impl Server {
    /// A module wants to know when a client has shown that it took all that was sent to it.
    pub(super) fn await_taken(&mut self, id: ConnectionId, timer: ModuleTimer) {
        self.take_stream_output(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.awaited = Some(Box::new(Awaited { turn: self.turn, timer, left_millis: None }));
            self.outputs.extend([Output::TellDrained { id }, Output::TellTaken { id, tells: true }]);
        }
    }

    /// All that was sent so far has left.
    pub(super) fn all_left(&mut self, now: Now, id: ConnectionId) {
        let awaited = self.connections.get_mut(&id).and_then(|connection| connection.awaited.as_mut());
        if let Some(awaited) = awaited.filter(|awaited| awaited.turn < self.turn && awaited.left_millis.is_none()) {
            awaited.left_millis = Some(now.monotonic_millis);
            self.timers.set(now.monotonic_millis.saturating_add(THERE_MILLIS), Timer::Taken(id));
        }
    }

    /// A client may have been there for long enough after all had left. A later wish has a timer of its own.
    pub(super) fn ask_taken(&mut self, now: Now, id: ConnectionId) {
        let awaited = self.connections.get(&id).and_then(|connection| connection.awaited.as_ref());
        if awaited.is_some_and(|awaited| awaited.was_left_before(now, THERE_MILLIS)) {
            self.outputs.push(Output::AskTaken { id });
            self.timers.set(now.monotonic_millis.saturating_add(THERE_MILLIS), Timer::Taken(id));
        }
    }

    /// The system at the other end has taken all, and the next input was said after that.
    pub(super) fn taken(&mut self, now: Now, id: ConnectionId) {
        let awaited = self.connections.get(&id).and_then(|connection| connection.awaited.as_ref());
        let Some(awaited) = awaited.filter(|awaited| awaited.turn < self.turn) else { return };
        self.taken = Some(id);
        if awaited.was_left_before(now, THERE_MILLIS) {
            self.shown(now, id);
        }
    }

    /// A client says something: does that show it?
    pub(super) fn shows(&mut self, now: Now, id: ConnectionId, sign: Sign) {
        if self.taken != Some(id) {
            return;
        }
        let awaited = self.connections.get(&id).and_then(|connection| connection.awaited.as_ref());
        if awaited.is_some_and(|awaited| sign == Sign::End || awaited.was_left_before(now, LATER_MILLIS)) {
            self.shown(now, id);
        }
    }

    /// The client has it: whoever waits for that is told.
    fn shown(&mut self, now: Now, id: ConnectionId) {
        self.taken = None;
        let connection = self.connections.get_mut(&id);
        let Some(awaited) = connection.and_then(|connection| connection.awaited.take()) else { return };
        self.outputs.push(Output::TellTaken { id, tells: false });
        let mut env = router_env!(self, now);
        self.router.woke(&mut env, &awaited.timer);
        self.flush_router(now);
    }
}
