//! All timers in one heap: what is due when, on the monotonic clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::router::{ConnectionId, ModuleTimer, Sender};
use crate::stream::dialback::Pair;

/// What a timer is for. A timer whose connection is gone, or has moved on, does nothing. Each session has two: the rare
/// kinds are boxed to keep them small.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A connection must be logged in by now.
    Login(ConnectionId),
    /// The wait after a failed login is over.
    Penalty(ConnectionId),
    /// A peer that has had its share of a tick may go on.
    Rest(ConnectionId),
    /// A logged-in connection may have been idle for a while.
    Heartbeat(ConnectionId),
    /// A stream between servers may have been idle for too long.
    Idle(ConnectionId),
    /// A peer has had its time to end its stream after ours.
    Goodbye(ConnectionId),
    /// A client may have what was sent to it.
    Taken(ConnectionId),
    /// Stanzas that wait for this link may have waited long enough.
    Queue(Box<Pair>),
    /// Stanzas that wait for this component may have waited long enough.
    Component(Box<str>),
    /// This link is to be tried again.
    Dial(Box<(Pair, Sender)>),
    /// What a stream's peer has not acknowledged for a while is to be written down.
    Unacknowledged(ConnectionId),
    /// Stanzas left by streams without acknowledgements: they are there by now.
    Left,
    /// This component is to be connected to.
    Call(Box<str>),
    /// A link broke: is its other end there still?
    Doubt(Pair),
    /// The next step of a walk through rosters.
    Walk,
    /// A client of the control socket must have said or read something by now.
    Control(ConnectionId),
    /// A job of a client of the control socket waits no longer.
    Waker(ConnectionId),
    /// Passwords that are kept as text may have had their time.
    PlainPasswords,
    /// Who logged in a while ago is to be written down.
    Newcomers,
    /// Commits failed: does one work now?
    Trial,
    /// The server ends.
    Stop,
    /// A module asked for it.
    Module(Box<ModuleTimer>),
}

impl Timer {
    /// The connection that it is about.
    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self {
            Timer::Login(id)
            | Timer::Penalty(id)
            | Timer::Rest(id)
            | Timer::Heartbeat(id)
            | Timer::Idle(id)
            | Timer::Goodbye(id)
            | Timer::Taken(id)
            | Timer::Unacknowledged(id)
            | Timer::Control(id)
            | Timer::Waker(id) => Some(*id),
            _ => None,
        }
    }
}

/// The heap.
#[derive(Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, Timer)>>,
}

impl Timers {
    /// Sets a timer.
    pub fn set(&mut self, at_millis: u64, timer: Timer) {
        self.heap.push(Reverse((at_millis, timer)));
    }

    /// The moment of the next timer.
    pub fn next_millis(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one timer that is due.
    pub fn due(&mut self, now_millis: u64) -> Option<Timer> {
        if self.next_millis()? > now_millis {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_the_order_of_time() {
        let mut timers = Timers::default();
        let (a, b) = (Timer::Login(ConnectionId(1)), Timer::Login(ConnectionId(2)));
        timers.set(20, a.clone());
        timers.set(10, b.clone());
        assert_eq!(timers.next_millis(), Some(10));
        assert_eq!(timers.due(9), None);
        assert_eq!(timers.due(30), Some(b));
        assert_eq!(timers.due(19), None);
        assert_eq!(timers.due(20), Some(a));
        assert_eq!(timers.next_millis(), None);
    }
}
