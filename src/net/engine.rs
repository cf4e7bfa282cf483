//! What the loop needs of the server behind it: inputs in, outputs out, time handed over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, ListenerKind};
pub use crate::store::Tick;
use crate::xmpp::Now;

/// The number of a connection: given by `net`, never used twice in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happened outside.
pub enum Input<'a> {
    /// A peer connected.
    Accepted {
        /// Its number from now on.
        id: ConnectionId,
        /// The kind of the port it came to.
        listener: ListenerKind,
        /// Its address.
        peer: SocketAddr,
        /// Our address that it connected to.
        local: SocketAddr,
    },
    /// A TLS handshake is finished; all later bytes came through it.
    Secured {
        /// The connection.
        id: ConnectionId,
        /// What was agreed.
        tls: TlsInfo,
    },
    /// Plain text arrived.
    Bytes {
        /// The connection.
        id: ConnectionId,
        /// At least one byte.
        bytes: &'a [u8],
    },
    /// The connection is over; nothing more is heard of it and nothing more can be sent.
    Gone {
        /// The connection.
        id: ConnectionId,
        /// Why.
        reason: Gone,
    },
    /// A password hash is ready.
    Hashed(HashResult),
    /// Time moved; comes once in each tick.
    Timeout,
    /// The process was asked to stop: close all streams.
    Terminate,
    /// The configuration was read again.
    Reload(Box<Config>),
}

/// Why a connection ended without our asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// The peer closed its side.
    Eof,
    /// The network or the peer's system cut it.
    Reset(String),
    /// TLS failed; the text says how.
    Tls(String),
    /// The peer did not read what we sent, and its queue is full.
    Overflow,
    /// What it was about to be told could not be made durable.
    NotDurable,
}

/// What TLS agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// The version.
    pub protocol: TlsProtocol,
    /// The cipher suite's name.
    pub cipher: String,
    /// The `tls-exporter` channel binding (RFC 9266), where it is safe to use.
    pub exporter: Option<[u8; 32]>,
    /// The `tls-server-end-point` channel binding of our certificate (RFC 5929 §4).
    pub end_point: Option<Vec<u8>>,
    /// The host name the client asked for.
    pub sni: Option<String>,
    /// The application protocol agreed on.
    pub alpn: Option<Vec<u8>>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsProtocol {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Bytes to send: one receiver's own, or shared by many.
#[derive(Debug, Clone)]
pub enum Octets {
    /// Made for one receiver.
    Own(Vec<u8>),
    /// Made once for a fan-out.
    Shared(Arc<[u8]>),
}

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        match self {
            Octets::Own(bytes) => bytes,
            Octets::Shared(bytes) => bytes,
        }
    }
}

/// What the server wants done outside.
pub enum Output {
    /// Send these.
    Bytes {
        /// To whom.
        id: ConnectionId,
        /// What.
        bytes: Octets,
    },
    /// After the bytes before this one left plain, the connection speaks TLS.
    StartTls {
        /// The connection.
        id: ConnectionId,
    },
    /// Send what is queued, then close. Nothing more is heard of this connection.
    Close {
        /// The connection.
        id: ConnectionId,
    },
    /// Work for the password helper.
    Hash(HashJob),
}

/// A password to be hashed.
pub struct HashJob(pub Box<dyn FnOnce() -> HashResult + Send>);

impl HashJob {
    /// Does the work; takes milliseconds.
    pub fn run(self) -> HashResult {
        (self.0)()
    }
}

/// The outcome of a `HashJob`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashResult(pub u64);

/// The server, as the loop sees it.
pub trait Engine {
    /// Takes one input.
    fn handle(&mut self, now: Now, input: Input<'_>);
    /// Ends the tick: commits what it wrote. `None`: it wrote nothing. An error says why nothing was kept.
    fn commit(&mut self) -> Result<Option<Tick>, String>;
    /// What the tick wants sent.
    fn take_outputs(&mut self) -> Vec<Output>;
    /// How long the loop may sleep; `None`: until something happens.
    fn next_timeout(&mut self, now: Now) -> Option<Duration>;
}
