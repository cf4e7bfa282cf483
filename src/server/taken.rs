//! Has a client what was sent to it? Without acknowledgements (XEP-0198) it shows that by what it says after its system
//! has taken all: the end of its stream or of its side of the connection, or a stanza a while later, for a program that
//! hangs says nothing. White space is no sign: it may come from a program that reads no more.

use super::{ConnectionId, Output, Server};
use crate::router::ModuleTimer;
use crate::xmpp::Now;

/// How long after all has left a stanza shows that its sender lives on.
const LATER_MILLIS: u64 = 5_000;

/// A module waits for such a sign.
pub(super) struct Awaited {
    /// In which turn that was asked for: what was sent in it is to be taken, too.
    turn: u64,
    /// Whom to wake.
    timer: ModuleTimer,
    /// When all had left us.
    left_millis: Option<u64>,
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
        if let Some(awaited) = awaited.filter(|awaited| awaited.turn < self.turn) {
            awaited.left_millis.get_or_insert(now.monotonic_millis);
        }
    }

    /// The system at the other end has taken all, and the next input was said after that.
    pub(super) fn taken(&mut self, id: ConnectionId) {
        let awaited = self.connections.get(&id).and_then(|connection| connection.awaited.as_ref());
        self.taken = awaited.filter(|awaited| awaited.turn < self.turn).map(|_| id);
    }

    /// A client says something: does that show it?
    pub(super) fn shows(&mut self, now: Now, id: ConnectionId, sign: Sign) {
        if self.taken != Some(id) {
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let is_later = |left: u64| now.monotonic_millis >= left.saturating_add(LATER_MILLIS);
        let shows = |awaited: &mut Box<Awaited>| sign == Sign::End || awaited.left_millis.is_some_and(is_later);
        let Some(awaited) = connection.awaited.take_if(shows) else { return };
        if sign != Sign::End {
            self.outputs.push(Output::TellTaken { id, tells: false });
        }
        let mut env = router_env!(self, now);
        self.router.woke(&mut env, &awaited.timer);
        self.flush_router(now);
    }
}
