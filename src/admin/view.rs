//! What a command sees of the server, and what it may ask of the floors above.
//!
//! The server stands above this room, so it lends its parts: the store, the router and the configuration as they are,
//! all else through the trait [`Facts`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use crate::config::Config;
use crate::router::{Effect, Env, Router};
use crate::store::Store;
use crate::stream::dialback::Pair;
use crate::stream::sasl::HashJob;
use crate::xmpp::{Now, Random, Stanza, StanzaError};

/// What a command is handed with every step.
pub struct View<'a> {
    /// The moment of this tick.
    pub now: Now,
    /// Dice.
    pub random: &'a mut dyn Random,
    /// All that is kept.
    pub store: &'a mut Store,
    /// The sessions, the blocks, the links to other servers.
    pub router: &'a mut Router,
    /// The configuration in force.
    pub config: &'a Arc<Config>,
    /// What only the server itself knows.
    pub facts: &'a dyn Facts,
    /// What the client is told.
    pub answer: &'a mut Answer,
    /// The text of the last line, if all goes well.
    pub(super) said: &'a mut String,
    pub(super) asks: &'a mut Vec<Ask>,
}

impl View<'_> {
    /// What the last line says for people, when the command is done.
    pub fn say(&mut self, text: impl Into<String>) {
        *self.said = text.into();
    }

    /// Asks for something to be done; a job that waits gets an [`super::Event`] when it is.
    pub fn ask(&mut self, ask: Ask) {
        self.asks.push(ask);
    }

    /// Has an effect carried out by the router, now: a stanza sent on its way, a session closed, an account deleted.
    pub fn carry_out(&mut self, effect: Effect) {
        let mut env = Env { now: self.now, random: self.random, store: self.store };
        self.router.carry_out(&mut env, effect);
    }

    /// Sends a stanza of a host of ours on its way, now.
    ///
    /// # Errors
    /// Whom it is for does not get it, and why.
    pub fn send(&mut self, stanza: Stanza) -> Result<(), StanzaError> {
        let mut env = Env { now: self.now, random: self.random, store: self.store };
        self.router.send(&mut env, stanza)
    }

    /// The environment of an entry into the router, and the router.
    pub fn router(&mut self) -> (&mut Router, Env<'_>) {
        (self.router, Env { now: self.now, random: self.random, store: self.store })
    }
}

/// What a command asks of the floors above.
#[derive(Debug)]
pub enum Ask {
    /// Hash a password: [`super::Event::Hashed`].
    Hash(HashJob),
    /// Wake the job after a while: [`super::Event::Woken`].
    WakeAfter(Duration),
    /// Get a stream to another server, and tell of each step: [`super::Event::Traced`].
    Reach(Pair),
    /// Send a request of a host of ours, and wait for the answer: [`super::Event::Answered`].
    Question(Stanza),
    /// Something outside of the server: [`super::Event::Told`].
    Outside(Outside),
}

/// What is done outside of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Read jabber.xml again, as SIGHUP does.
    Reload,
    /// Log more, or less: which lines, all without a target, and how much, without a level as jabber.xml says. In any case
    /// tell how it is then.
    LogLevel(Option<(Option<String>, Option<log::LevelFilter>)>),
    /// Which certificates are shown?
    Certificates,
}

/// A certificate that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The host it is shown for.
    pub host: String,
    /// The names and addresses it is for.
    pub names: Vec<String>,
    /// Who says so.
    pub issuer: String,
    /// Its end, in Unix seconds.
    pub until_unix_seconds: i64,
    /// Its file.
    pub file: String,
    /// The SHA-256 of it, in hexadecimal digits.
    pub sha256: String,
    /// Why clients refuse it, or warn of it, as the end of a sentence about it.
    pub flaw: Option<String>,
}

/// What only the server knows: counted when it is asked for.
pub trait Facts {
    /// How many connections of each kind there are.
    fn connections(&self) -> Connections;
    /// A client's connection, by the number that its session has.
    fn client(&self, connection: crate::router::ConnectionId) -> Option<Client>;
    /// The streams with other servers, one for each pair of domains; those that are being opened, too.
    fn streams(&self) -> Vec<Stream>;
    /// Milliseconds since the server started.
    fn up_millis(&self) -> u64;
    /// How many commits failed since the start; and since when none works, in Unix milliseconds, and why.
    fn commit_failures(&self) -> (u64, Option<(u64, String)>);
    /// Bytes of memory that the process holds, if the system tells.
    fn memory_bytes(&self) -> Option<u64>;
}

/// Connections by what is spoken on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Clients', logged in or not.
    pub clients: usize,
    /// Streams of other servers to us.
    pub servers_in: usize,
    /// Our streams to other servers, open or about to be.
    pub servers_out: usize,
    /// Components'.
    pub components: usize,
    /// Ends of file transfers.
    pub bytestreams: usize,
}

/// A stream with another server, as far as one pair of domains uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Our host.
    pub local: String,
    /// The other domain.
    pub remote: String,
    /// Who opened it: `in` or `out`; `both` if both directions go over it (XEP-0288).
    pub direction: &'static str,
    /// The other end.
    pub address: IpAddr,
    /// How the pair was proved; not yet, if there is none.
    pub proof: Option<&'static str>,
    /// The version of TLS; none is plain text.
    pub tls: Option<&'static str>,
    /// Milliseconds since it was opened.
    pub millis: u64,
    /// Stanzas in either direction.
    pub stanzas: u64,
}

/// A client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The other end.
    pub address: IpAddr,
    /// Is it encrypted?
    pub is_secure: bool,
    /// Milliseconds since something came from it.
    pub idle_millis: u64,
}
