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

impl Federation {
    /// A stanza leaves by a stream without acknowledgements; it is written down under this number.
    pub(in crate::server) fn left(&mut self, now: Now, timers: &mut Timers, row: u64) {
        let due = now.monotonic_millis.saturating_add(LEAVING_MILLIS);
        if self.left.back().is_none_or(|(_, last)| *last != due) {
            timers.set(due, Timer::Left);
        }
        self.left.push_back((row, due));
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
        let is_due = |(_, due): &(u64, u64)| *due <= now.monotonic_millis;
        let count = self.federation.left.iter().take_while(|left| is_due(left)).count();
        let rows: Vec<u64> = self.federation.left.drain(..count).map(|(row, _)| row).collect();
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
