//! The roof: sockets, TLS, the clock and dice, and the one loop that turns them into inputs of the server.
//!
//! [`event_loop`] is the loop; [`listener`] opens ports and accepts; [`connections`] holds every open socket and decides
//! who is read and written next; [`connection`] is one of them, from its first byte to its clean end; [`dialing`] opens
//! our own; [`tls`] makes bytes plain and back; [`gate`] says who may come in; [`dns`] finds other servers; [`disk`] and
//! [`hashing`] are the two helper threads, which hand their results back through a waker.
//!
//! Serves the server (`server/`), which it hands inputs and asks for outputs. Invariants: nothing in the loop waits; no
//! byte made in a tick that wrote leaves before that tick is durable; what a peer can make us keep or do is bounded by
//! [`Bounds`].

pub mod any_peer;
mod certificate;
pub mod clock;
mod connection;
mod connections;
pub mod control;
mod dialing;
pub mod disk;
pub mod dns;
mod doors;
pub mod engine;
pub mod event_loop;
mod gate;
pub mod hashing;
mod karma;
pub mod listener;
mod pump;
mod relays;
mod socket;
pub mod tls;

use std::io;
use std::time::Duration;

pub use event_loop::{EventLoop, Signals, Surroundings};

use crate::config::Limits;

/// Asks again what a signal interrupted. The system repeats most calls by itself, but none that has a time limit: a process
/// that was only held for a moment (a stopped job, a frozen machine) finds those interrupted.
///
/// # Errors
/// What the call fails with otherwise.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// What one peer, or all together, can make the loop keep or do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections open at once; further ones wait in the kernel.
    pub connections: usize,
    /// Connections accepted by one listener in one tick.
    pub accepts: usize,
    /// Of those who ask for metrics: half of the places, so that whoever came in one tick is heard in the next one before
    /// further ones can take its place.
    pub watcher_accepts: usize,
    /// Bytes read from one connection in one tick.
    pub read_bytes: usize,
    /// Bytes written to one connection in one tick.
    pub write_bytes: usize,
    /// Bytes queued for one connection; over it the connection is cut (a client that stopped reading).
    pub output_bytes: usize,
    /// Bytes queued for one connection from which on it is not read until it reads: answers to it pile up no further.
    pub output_bytes_before_pause: usize,
    /// Bytes a peer may send until its TLS handshake is done.
    pub handshake_bytes: usize,
    /// Time until a TLS handshake must be done.
    pub handshake: Duration,
    /// Time a closing connection has to take what is queued and to close its side.
    pub closing: Duration,
    /// Time all connections together have for that when the process ends.
    pub stopping: Duration,
    /// Time in which something must move in a file transfer.
    pub relay_idle: Duration,
}

impl Bounds {
    /// A hello with all its extensions takes a few kilobytes; a chain of client certificates ten times that.
    const HANDSHAKE_BYTES: usize = 64 << 10;
    /// An init script waits for five seconds at most, and two are promised.
    const STOPPING: Duration = Duration::from_millis(1500);
}

impl Bounds {
    /// Descriptors that connections leave for all else: database, logs, certificates, other servers.
    const OTHER_FILES: usize = 64;

    /// The bounds of a server that may have so many files open.
    pub fn new(limits: &Limits, files: u64) -> Self {
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        Bounds {
            connections: limits.connections_max.min(files.saturating_sub(Bounds::OTHER_FILES.min(files / 4)).max(1)),
            accepts: limits.accepts_per_tick,
            watcher_accepts: (limits.metrics_clients_max / 2).min(limits.accepts_per_tick).max(1),
            read_bytes: limits.read_bytes_per_tick,
            write_bytes: limits.write_bytes_per_tick,
            output_bytes: limits.output_bytes_max,
            output_bytes_before_pause: limits.output_bytes_max / 8,
            handshake_bytes: Bounds::HANDSHAKE_BYTES,
            handshake: Duration::from_secs(limits.handshake_seconds),
            closing: Duration::from_secs(limits.closing_seconds),
            stopping: Bounds::STOPPING,
            relay_idle: Duration::from_secs(limits.bytestream_idle_seconds),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds::new(&Limits::default(), u64::MAX)
    }
}

#[cfg(test)]
mod tests;
