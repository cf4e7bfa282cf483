//! What the loop needs of the server behind it. The tests of this room put a small engine of their own in its place.

use std::fmt;
use std::time::Duration;

pub use crate::server::{Candidate, ClientTls, ConnectionId, Input, Measure, Output, TlsInfo};
use crate::server::{DISK_FAILED, Server, TLS_FAILED, UNHEARD};
pub use crate::store::Tick;
pub use crate::stream::certificate::Trust;
pub use crate::stream::sasl::{HashJob, HashResult};
use crate::xmpp::Now;

/// The server, as the loop sees it. It hears of the end of every connection exactly once, by `Input::Gone`, whoever
/// ended it.
pub trait Engine {
    /// Takes one input.
    fn handle(&mut self, now: Now, input: Input<'_>);

    /// Ends the tick: commits what it wrote. `None`: it wrote nothing.
    ///
    /// # Errors
    /// Why nothing was kept.
    fn commit(&mut self) -> Result<Option<Tick>, String>;

    /// What the tick wants done outside.
    fn take_outputs(&mut self) -> Vec<Output>;

    /// How long the loop may sleep; `None`: until something happens.
    fn next_timeout(&self, now: Now) -> Option<Duration>;

    /// Whom to trust from now on.
    fn set_trust(&mut self, trust: Box<dyn Trust>);

    /// The loop measured something.
    fn measured(&mut self, _: Measure, _: Duration) {}

    /// When the hosts' certificates end, in Unix seconds.
    fn set_certificates(&mut self, _: Vec<(String, i64)>) {}
}

impl Engine for Server {
    fn handle(&mut self, now: Now, input: Input<'_>) {
        Server::handle(self, now, input);
    }

    fn commit(&mut self) -> Result<Option<Tick>, String> {
        Server::commit(self).map_err(|error| error.to_string())
    }

    fn take_outputs(&mut self) -> Vec<Output> {
        Server::take_outputs(self)
    }

    fn next_timeout(&self, now: Now) -> Option<Duration> {
        Server::next_timeout(self, now)
    }

    fn set_trust(&mut self, trust: Box<dyn Trust>) {
        Server::set_trust(self, trust);
    }

    fn measured(&mut self, what: Measure, took: Duration) {
        Server::measured(self, what, took);
    }

    fn set_certificates(&mut self, certificates: Vec<(String, i64)>) {
        Server::set_certificates(self, certificates);
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gone {
    /// We closed it, and the peer had its time.
    Closed,
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
    /// Nothing moved in a file transfer.
    Idle,
    /// A client of the control socket left before what it sent was read.
    Unheard,
}

/// For the log.
impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gone::Closed => f.write_str("closed"),
            Gone::Eof => f.write_str("closed by the peer"),
            Gone::Reset(why) => write!(f, "connection lost: {why}"),
            Gone::Tls(why) => write!(f, "{TLS_FAILED}{why}"),
            Gone::Overflow => f.write_str("does not read what it is sent"),
            Gone::NotDurable => f.write_str(DISK_FAILED),
            Gone::Idle => f.write_str("nothing moved for too long"),
            Gone::Unheard => f.write_str(UNHEARD),
        }
    }
}
