//! Finding other servers: a stub resolver of our own, since the system's would make the loop wait.
//!
//! [`find`] turns a domain into places where its XMPP server may be reached (RFC 6120 §3.2, XEP-0368), [`found`] is what comes of it; [`lookups`] keeps
//! the questions on their way and decides who is asked next; [`message`] writes questions and reads answers; [`settings`]
//! is what `/etc/resolv.conf` and `/etc/hosts` say, [`files`] reads them; [`sockets`] is all of it with sockets, as the
//! loop uses it. All but the last two are handed bytes, time and dice.
//!
//! Serves the loop. Invariants: nothing waits; whatever servers send or do not send, a verdict comes in bounded time; only
//! records that answer the question asked, from the server asked, are believed and kept; all tables have a bound in
//! [`Bounds`].

mod cache;
pub mod files;
pub mod find;
pub mod found;
pub mod lookups;
pub mod message;
pub mod name;
mod order;
pub mod settings;
pub mod sockets;

pub use found::{Candidate, FindError};
pub use sockets::Dns;

use self::message::Outcome;

/// What look-ups may keep and take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Domains being looked for at once; each is a few kilobytes.
    pub finds: usize,
    /// Questions on their way or waiting at once. One domain causes up to 36.
    pub lookups: usize,
    /// Sockets open at once.
    pub exchanges: usize,
    /// Time until a question is given up.
    pub lookup_millis: u64,
    /// Datagrams that are not the answer, until the question goes over TCP: each is a forger's guess.
    pub wrong_datagrams: u32,
    /// How long a silent server is passed over.
    pub detour_millis: u64,
    /// Answers kept.
    pub cache_entries: usize,
    /// The longest time an answer is kept (`cachetimeout` of `<dnsrv>`).
    pub cache_seconds: u64,
    /// The longest time that it is kept that there is nothing; failures are kept a tenth of it.
    pub nothing_seconds: u64,
    /// Once one way to a server is known, the others have this much more time to be found.
    pub grace_millis: u64,
}

/// Answers are kept that long, even where a zone says less: one message often leads to a second.
const KEPT_SECONDS_MIN: u64 = 5;

impl Bounds {
    /// The bounds of a server whose admin wants answers kept for at most so long.
    pub fn new(cache_seconds: u64) -> Bounds {
        Bounds {
            finds: 1024,
            lookups: 4096,
            exchanges: sockets::TOKENS,
            lookup_millis: 10_000,
            wrong_datagrams: 8,
            detour_millis: 60_000,
            cache_entries: 8192,
            cache_seconds,
            nothing_seconds: cache_seconds.min(300),
            grace_millis: 3000,
        }
    }

    fn keep_millis(&self, outcome: &Outcome, ttl_seconds: u32) -> u64 {
        let most = match outcome {
            Outcome::Addresses(_) | Outcome::Services(_) => self.cache_seconds,
            Outcome::NoData | Outcome::NoDomain => self.nothing_seconds,
        };
        // RFC 8767 §4 advises against trusting any time to live of more than a week.
        let most = most.min(7 * 24 * 3600);
        u64::from(ttl_seconds).clamp(KEPT_SECONDS_MIN.min(most), most) * 1000
    }

    /// RFC 9520 §3.2: failures are kept, but not for longer than five minutes.
    fn failure_millis(&self) -> u64 {
        self.nothing_seconds.min(300) * 100
    }
}

#[cfg(test)]
mod tests;
