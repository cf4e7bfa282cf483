//! What must not be lost on its way to other servers is written down for as long as it may be: see
//! [`crate::router::kept`].

use super::super::connections::Talk;
use super::super::timers::Timers;
use super::super::{ConnectionId, Server, Timer};
use super::Federation;
use crate::store;
use crate::xmpp::Now;

/// How long a stanza that left by a stream without acknowledgements stays written down: until it is surely out of the
/// process. A server that dies meanwhile sends it again.
const LEAVING_MILLIS: u64 = 1_000;

/// A stanza that left by a stream without acknowledgements.
pub(super) struct Left {
    /// The number under which it is written down.
    row: u64,
    /// When it is surely out of the process.
    due_millis: u64,
    by: ConnectionId,
}

impl Federation {
    /// A stanza leaves by a stream without acknowledgements; it is written down under this number.
    pub(in crate::server) fn left(&mut self, now: Now, timers: &mut Timers, by: ConnectionId, row: u64) {
        let due_millis = now.monotonic_millis.saturating_add(LEAVING_MILLIS);
        if self.left.back().is_none_or(|last| last.due_millis != due_millis) {
            timers.set(due_millis, Timer::Left);
        }
        self.left.push_back(Left { row, due_millis, by });
    }
}

impl Server {
    /// What waited when the server ended waits again.
    pub(in crate::server) fn restore_queues(&mut self, now: Now) -> Result<(), store::Error> {
        self.router.restore_queues(&mut router_env!(self, now))?;
        self.flush_router(now);
        Ok(())
    }

    /// What left a while ago is out of our hands.
    pub(in crate::server) fn forget_left(&mut self, now: Now) {
        let count = self.federation.left.iter().take_while(|left| left.due_millis <= now.monotonic_millis).count();
        let rows: Vec<u64> = self.federation.left.drain(..count).map(|left| left.row).collect();
        self.router.forget(&mut router_env!(self, now), rows);
    }

    /// The peer ended this stream after all that was said on it: nothing of that need be sent again.
    pub(super) fn forget_left_on(&mut self, now: Now, id: ConnectionId) {
        let rows: Vec<u64> = self.federation.left.iter().filter(|left| left.by == id).map(|left| left.row).collect();
        self.federation.left.retain(|left| left.by != id);
        self.router.forget(&mut router_env!(self, now), rows);
    }

    /// What a peer has not acknowledged for a while is written down.
    pub(in crate::server) fn keep_unacknowledged(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut env = router_env!(self, now);
        let mut keep = |stanza: &_| self.router.keep(&mut env, stanza);
        connection.is_looked_after = match &mut connection.talk {
            Talk::Incoming(stream) => stream.mark_old(&mut keep),
            Talk::Outgoing(stream) => stream.mark_old(&mut keep),
            _ => false,
        };
        if connection.is_looked_after {
            let wait = self.config.limits.acknowledge_millis.max(1);
            self.timers.set(now.monotonic_millis.saturating_add(wait), Timer::Unacknowledged(id));
        }
    }
}
