//! The whole server as one plain value: inputs go in, a tick is committed, outputs come out.
//!
//! No sockets, no clock, no dice of its own: [`Server::handle`] is handed bytes and the moment, so a test runs the same
//! code in memory with a clock moved by hand. It owns the store, the router and the streams, and connects the two:
//! actions of a stream go to the router, what leaves the router goes to a stream.
//!
//! Serves `net/`. Invariant: an output belongs to the tick that made it; `net/` lets it leave only when that tick is
//! durable (rule 2 of the design).

/// What an entry into the router is handed, borrowed from parts of the server.
macro_rules! router_env {
    ($server:ident, $now:expr) => {
        crate::router::Env { now: $now, random: $server.random.as_mut(), store: &mut $server.store }
    };
}

/// What a step of a stream is handed, borrowed from parts of the server.
macro_rules! stream_env {
    ($server:ident, $now:expr, $suspect:expr) => {
        crate::stream::Env {
            now: $now,
            random: $server.random.as_mut(),
            store: &mut $server.store,
            config: &$server.config,
            address_is_suspect: $suspect,
            plain_is_due: false,
            decoy: &$server.decoy,
            blocks: $server.router.blocks_in_force(),
            dialback: &$server.dialback,
            trust: $server.trust.as_ref(),
        }
    };
}

pub mod addresses;
mod browsers;
mod bytestreams;
mod commits;
pub mod components;
pub mod connections;
mod control;
pub mod federation;
mod handshakes;
pub mod metrics;
mod taken;
pub mod timers;
mod visits;
pub mod words;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use self::addresses::Addresses;
use self::commits::Commits;
use self::components::Calls;
use self::connections::{Connection, Talk};
use self::control::Control;
use self::federation::Federation;
pub use self::metrics::Measure;
use self::metrics::{Metrics, Watchers};
use self::timers::{Timer, Timers};
use self::visits::Newcomers;
pub use self::words::Word;
use crate::admin::{self, Outside, Told};
use crate::config::{Block, Config, Listener, LogSink};
pub use crate::router::ConnectionId;
use crate::router::{HashTicket, IdMap, ModuleTimer, Reread, Router};
use crate::store::{self, Store, account, meta, plain_password};
pub use crate::stream::TlsInfo;
use crate::stream::certificate::{Trust, TrustNobody};
use crate::stream::dialback::DialbackSecret;
use crate::stream::sasl::{DecoySecret, HashJob, HashResult, Outcome};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Now, Random, StreamError};

/// Hosts that are served no longer are named at most so many.
const UNSERVED_MAX: usize = 20;

/// The reason of [`Input::Gone`] where what the peer was about to be told could not be kept.
pub const DISK_FAILED: &str = "the disk failed";
/// The reason of [`Input::Gone`] where a client of the control socket left before what it sent was read.
pub const UNHEARD: &str = "it left before what it asked was read";

/// How the reason of [`Input::Gone`] begins where TLS is why.
pub const TLS_FAILED: &str = "TLS failed: ";

/// What happens outside.
pub enum Input<'a> {
    /// A connection was accepted.
    Accepted {
        /// Its number, never used before.
        id: ConnectionId,
        /// The port it came to.
        listener: &'a Arc<Listener>,
        /// The other end.
        peer: SocketAddr,
    },
    /// A TLS handshake is done.
    Secured {
        /// On this connection.
        id: ConnectionId,
        /// What was agreed on.
        tls: TlsInfo,
    },
    /// Plain text came.
    Bytes {
        /// On this connection.
        id: ConnectionId,
        /// The text.
        bytes: &'a [u8],
    },
    /// A connection is gone, for the peer's or for our reason.
    Gone {
        /// This connection.
        id: ConnectionId,
        /// Why, for the log.
        reason: &'a str,
    },
    /// A connection that we asked for is open; TLS from the first byte is told by [`Input::Secured`].
    Connected {
        /// Our number for it.
        id: ConnectionId,
        /// The other end.
        peer: SocketAddr,
    },
    /// What was found out about a domain.
    Found {
        /// The number of the question.
        ticket: u64,
        /// Where its server may be, in the order to try; or why nothing was found.
        result: Result<Vec<Candidate>, Unfound>,
    },
    /// A client of the control socket was accepted.
    Control {
        /// The number of its connection.
        id: ConnectionId,
        /// Who it is.
        peer: admin::Peer,
    },
    /// A client of the control socket asks nothing more, and hears still.
    Silent {
        /// The number of its connection.
        id: ConnectionId,
    },
    /// Who watches came by the socket of `<metrics>`.
    Watcher {
        /// The number of the connection.
        id: ConnectionId,
    },
    /// Before somebody who watches asks: how much output of all connections waits, for the disk or for peers to read.
    OutputQueued {
        /// So many bytes.
        bytes: u64,
    },
    /// All that was sent has left: to a client of the control socket, or where [`Output::TellDrained`] asked for it.
    Drained {
        /// Its connection.
        id: ConnectionId,
    },
    /// The peer's system has acknowledged all that was sent, and the next input of this connection was said after that:
    /// [`Output::TellTaken`] asked for it, or [`Output::AskTaken`].
    Taken {
        /// Its connection.
        id: ConnectionId,
    },
    /// So little waits for the peer that it may be answered again: [`Output::TellRoom`] asked for it.
    Room {
        /// Its connection.
        id: ConnectionId,
    },
    /// A peer hears nothing any more; what it said before comes still.
    Unhearing {
        /// Its connection.
        id: ConnectionId,
    },
    /// What a client of the control socket wanted of the world outside is done.
    Told {
        /// Its connection.
        id: ConnectionId,
        /// What came of it.
        told: Told,
    },
    /// Password work is done.
    Hashed(HashResult),
    /// The process around the server has something for it.
    Word(Word),
    /// Time has passed.
    Timeout,
    /// The process was asked to stop.
    Terminate,
    /// The configuration changed.
    Reload(Arc<Config>),
    /// What came of [`Output::Reload`].
    Reread {
        /// Whose wish it was.
        wish: ModuleTimer,
        /// What of the configuration is not in force, or why the old one is kept.
        what: Reread,
    },
}

/// What shall happen outside, in order for each connection.
#[derive(Debug)]
pub enum Output {
    /// Send bytes.
    Bytes {
        /// On this connection.
        id: ConnectionId,
        /// Plain text, or what TLS makes of it.
        bytes: Vec<u8>,
    },
    /// Begin TLS after the bytes before it left in plain text.
    StartTls {
        /// On this connection.
        id: ConnectionId,
        /// Our host that the stream is for, or empty: its certificate is shown to who names none.
        host: String,
        /// As the client, for this domain; without, as the server.
        client: Option<ClientTls>,
    },
    /// Find the servers of a domain.
    Find {
        /// The number of the question.
        ticket: u64,
        /// The domain.
        domain: String,
        /// The names of SRV records to ask for, in this order; none stands for the usual ones.
        services: Vec<String>,
    },
    /// Open a connection to the first of these addresses that answers.
    Connect {
        /// Its number, from [`federation::FIRST_OUTGOING`] up.
        id: ConnectionId,
        /// The addresses.
        addresses: Vec<SocketAddr>,
        /// TLS from the first byte.
        tls: Option<ClientTls>,
    },
    /// Say [`Input::Drained`] once, when all that was sent has left; at once if it has.
    TellDrained {
        /// On this connection.
        id: ConnectionId,
    },
    /// Say [`Input::Taken`] before what the peer says, and before the orderly end of its side, whenever it is so; or do so
    /// no longer.
    TellTaken {
        /// On this connection.
        id: ConnectionId,
        /// Whether to say it.
        tells: bool,
    },
    /// Say [`Input::Taken`] now, if it is so.
    AskTaken {
        /// On this connection.
        id: ConnectionId,
    },
    /// Say [`Input::Room`] once, when the peer has taken so much of what was sent that it may be answered again.
    TellRoom {
        /// On this connection.
        id: ConnectionId,
    },
    /// What the peer said, perhaps long before, was worked off in this tick: no later word to it leaves before the tick is
    /// durable, and if the tick is lost the connection ends.
    Spoke {
        /// On this connection.
        id: ConnectionId,
    },
    /// Let what was sent leave, then close.
    Close {
        /// This connection.
        id: ConnectionId,
    },
    /// Read nothing more from a connection, or read on.
    Hear {
        /// This connection.
        id: ConnectionId,
        /// Whether it is read.
        hears: bool,
    },
    /// Read nothing more from an end of a file transfer until it is joined to another.
    Park {
        /// This connection.
        id: ConnectionId,
    },
    /// Pass on what either of two ends sends to the other, until both are done.
    Join {
        /// One end.
        one: ConnectionId,
        /// The other.
        other: ConnectionId,
        /// At most so fast, both directions together.
        bytes_per_second: Option<u64>,
    },
    /// Do password work beside the loop.
    Hash(HashJob),
    /// Read the configuration again, as after SIGHUP; [`Input::Reread`] comes back.
    Reload(ModuleTimer),
    /// End, as after SIGTERM: [`Input::Terminate`] comes back.
    Stop,
    /// Do what a client of the control socket wants of the world outside.
    Outside {
        /// Its connection.
        id: ConnectionId,
        /// What it wants.
        what: Outside,
    },
}

/// What a TLS client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The domain it wants to reach, for SNI.
    pub remote: String,
    /// Our host, whose certificate it shows when asked.
    pub local: String,
}

/// A place where a domain's server may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// TLS from the first byte (XEP-0368).
    pub direct_tls: bool,
    /// The SRV record's target, or the domain itself, for the log.
    pub target: String,
    /// The port.
    pub port: u16,
    /// The addresses, at least one, best first.
    pub addresses: Vec<std::net::IpAddr>,
}

/// Why a domain's server was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfound {
    /// In words for the admin; they name the domain.
    pub why: String,
    /// May it be otherwise in a while?
    pub is_temporary: bool,
}

/// Who waits for a piece of password work.
enum Asker {
    Stream(ConnectionId),
    /// A module, and the client who is held until it has answered.
    Module {
        ticket: HashTicket,
        token: u64,
        holds: Option<ConnectionId>,
    },
    Control(ConnectionId),
}

/// The server.
pub struct Server {
    /// The configuration in force: what jabber.xml says, and on top what was said since (registration).
    config: Arc<Config>,
    store: Store,
    random: Box<dyn Random>,
    decoy: DecoySecret,
    dialback: DialbackSecret,
    trust: Box<dyn Trust>,
    federation: Federation,
    calls: Calls,
    router: Router,
    connections: IdMap<ConnectionId, Connection>,
    controls: IdMap<ConnectionId, Control>,
    started_millis: u64,
    addresses: Addresses,
    timers: Timers,
    metrics: Metrics,
    watchers: Watchers,
    commits: Commits,
    newcomers: Newcomers,
    /// Whose system has taken all that was sent, as far as the input at hand goes.
    taken: Option<ConnectionId>,
    /// How many files may be open.
    open_files_max: u64,
    askers: HashMap<u64, Asker>,
    next_token: u64,
    outputs: Vec<Output>,
    /// How often outputs were taken.
    turn: u64,
    /// Connections whose streams may have written since their output was last taken.
    touched: Vec<ConnectionId>,
    is_stopping: bool,
    /// When to look next for passwords that are kept as text.
    passwords_at_millis: u64,
    /// Ticks that ended.
    ticks: u64,
    /// The moment of the last input.
    now: Now,
}

/// Passwords that are forgotten in one turn of the loop, and the pause before the next ones.
const PLAIN_PASSWORDS_PAGE: usize = 500;
const PLAIN_PASSWORDS_PAUSE_MILLIS: u64 = 50;
const DAY_MILLIS: u64 = 86_400_000;
/// The name of the decoy secret in the store.
const DECOY_KEY: &str = "scram-decoy-secret";
/// The name of the dialback secret in the store, where jabber.xml gives none.
const DIALBACK_KEY: &str = "dialback-secret";

/// A secret that is made once and kept.
fn kept_secret(store: &mut Store, random: &mut dyn Random, key: &str) -> Result<[u8; 32], store::Error> {
    if let Some(kept) = meta::value(store, key)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        return Ok(kept);
    }
    let mut secret = [0; 32];
    random.fill(&mut secret);
    meta::set(store, key, &secret)?;
    Ok(secret)
}

impl Server {
    /// A server on a store. The secret that hides unknown names is made at the first start and kept.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new(
        config: Arc<Config>,
        mut store: Store,
        mut random: Box<dyn Random>,
        now: Now,
    ) -> Result<Server, store::Error> {
        let decoy = kept_secret(&mut store, random.as_mut(), DECOY_KEY)?;
        let own = config.federation.as_ref().and_then(|federation| federation.secret.clone());
        let dialback = match own {
            Some(words) => DialbackSecret::new(words.as_bytes()),
            None => DialbackSecret::new(&kept_secret(&mut store, random.as_mut(), DIALBACK_KEY)?),
        };
        let mut router = Router::new(config.clone(), crate::modules::table(), now);
        router.load_blocks(&store)?;
        let mut server = Server {
            router,
            config,
            store,
            random,
            decoy: DecoySecret::new(&decoy),
            dialback,
            trust: Box::new(TrustNobody),
            federation: Federation::default(),
            calls: Calls::default(),
            connections: IdMap::default(),
            controls: IdMap::default(),
            started_millis: now.monotonic_millis,
            addresses: Addresses::default(),
            timers: Timers::default(),
            metrics: Metrics::default(),
            watchers: Watchers::default(),
            commits: Commits::default(),
            newcomers: Newcomers::default(),
            taken: None,
            open_files_max: 0,
            askers: HashMap::new(),
            next_token: 0,
            outputs: Vec::new(),
            turn: 0,
            touched: Vec::new(),
            is_stopping: false,
            passwords_at_millis: now.monotonic_millis,
            ticks: 0,
            now,
        };
        server.forget_plain_passwords(now);
        server.restore_queues(now)?;
        server.store.wait_briefly()?;
        server.call_components(now);
        server.tell_unserved();
        Ok(server)
    }

    /// Accounts stay with the name of their host. Whoever gives the host another hears where they are.
    fn tell_unserved(&self) {
        let count = |host: &String| account::count(&self.store, host).map(|count| (host.clone(), count));
        let unserved = account::hosts(&self.store).and_then(|hosts| {
            hosts
                .iter()
                .filter(|host| self.config.host(host).is_none())
                .take(UNSERVED_MAX)
                .map(count)
                .collect::<Result<Vec<_>, _>>()
        });
        match unserved {
            Ok(unserved) => unserved.iter().for_each(|(host, count)| {
                log::warn!(target: LogSink::INTERNAL,
                    "accounts of {host} cannot log in ({count}): no <host> in jabber.xml names it; write <host>{host}</host> there, too");
            }),
            Err(error) => log::error!(target: LogSink::INTERNAL, "the hosts of the accounts could not be read: {error}"),
        }
    }

    /// Takes one input and does all that follows from it.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.now = now;
        let concerned = match &input {
            Input::Secured { id, .. }
            | Input::Bytes { id, .. }
            | Input::Connected { id, .. }
            | Input::Drained { id }
            | Input::Silent { id }
            | Input::Taken { id }
            | Input::Room { id }
            | Input::Told { id, .. } => Some(*id),
            Input::Hashed(result) => self.waits_for(result.token),
            _ => None,
        };
        let is_word = matches!(input, Input::Bytes { .. } | Input::Gone { .. });
        self.guarded(concerned, |server| server.take(now, input));
        if is_word {
            self.taken = None;
        }
        while let Some(timer) = self.timers.due(now.monotonic_millis) {
            self.guarded(timer.connection(), |server| server.ring(now, timer));
        }
        self.guarded(None, |server| {
            server.dial_next(now);
            server.tell_traces(now);
        });
    }

    /// Does something for a connection, or for none. A bug in it ends that connection, never the server.
    fn guarded(&mut self, concerned: Option<ConnectionId>, act: impl FnOnce(&mut Server)) {
        if catch_unwind(AssertUnwindSafe(|| act(self))).is_err() {
            self.survive(concerned);
        }
    }

    fn take(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Accepted { id, listener, peer } => self.accepted(now, id, listener, peer),
            Input::Secured { id, tls } => self.secured(now, id, tls),
            Input::Bytes { id, bytes } if self.is_control(id) => self.control_bytes(now, id, bytes),
            Input::Bytes { id, bytes } => self.bytes(now, id, bytes),
            Input::Connected { id, peer } => self.connected(now, id, peer),
            Input::Found { ticket, result } => self.found(now, ticket, result),
            Input::Control { id, peer } => self.control_came(now, id, peer),
            Input::Silent { id } => self.control_silent(now, id),
            // Whoever may use the socket is on this machine.
            Input::Watcher { id } => self.watcher_came(now, id, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            Input::OutputQueued { bytes } => self.set_output_queued(bytes),
            Input::Drained { id } if self.is_control(id) => self.control_drained(now, id),
            Input::Drained { id } => self.drained(now, id),
            Input::Taken { id } => self.taken(now, id),
            Input::Room { id } => self.rested(now, id),
            Input::Unhearing { id } => self.component_hears_nothing(now, id),
            Input::Told { id, told } => self.control_event(now, id, admin::Event::Told(told)),
            Input::Gone { id, reason } if self.is_control(id) => self.control_gone(id, reason),
            Input::Gone { id, reason } => self.gone(now, id, reason),
            Input::Hashed(result) => self.hashed(now, result),
            Input::Word(word) => self.word(now, word),
            Input::Timeout => {}
            Input::Terminate => self.terminate(now),
            Input::Reload(config) => self.reload(now, config),
            Input::Reread { wish, what } => {
                self.router.reread(&mut router_env!(self, now), &wish, what);
                self.flush_router(now);
            }
        }
    }

    /// A bug ended the handling of an input. The store has undone what was half-done; the connection whose input it was
    /// ends, since nobody knows what state its stream is in (rule 4 of the design: never the server).
    fn survive(&mut self, concerned: Option<ConnectionId>) {
        log::error!(target: "-internal", strangers = "connections dropped because of a bug";
            "a connection was dropped because of a bug in the server; please report the panic above");
        self.router.abandon();
        if let Some(id) = concerned {
            self.end_control(id);
            self.end_connection(id);
        }
    }

    /// What shall happen outside since the last call.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        self.turn += 1;
        for id in self.touched.drain(..) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.is_touched = false;
                let written = connection.talk.take_output();
                if !written.is_empty() {
                    connection.last_output_millis = self.now.monotonic_millis;
                    self.outputs.push(Output::Bytes { id, bytes: written });
                }
                if connection.is_closing && !connection.close_sent {
                    connection.close_sent = true;
                    self.outputs.push(Output::Close { id });
                }
            }
        }
        std::mem::take(&mut self.outputs)
    }

    /// How long until something is due.
    pub fn next_timeout(&self, now: Now) -> Option<Duration> {
        let at = self.timers.next_millis()?;
        Some(Duration::from_millis(at.saturating_sub(now.monotonic_millis)))
    }

    /// How many files may be open, for who asks.
    pub fn set_open_files_max(&mut self, files: u64) {
        self.open_files_max = files;
    }

    /// Judges certificates of other servers from now on.
    pub fn set_trust(&mut self, trust: Box<dyn Trust>) {
        self.trust = trust;
    }

    /// Blocks a domain, at once and after the next start, too.
    ///
    /// # Errors
    /// When the store fails; then nothing has changed.
    pub fn block(&mut self, now: Now, block: Block) -> Result<(), store::Error> {
        let mut env = router_env!(self, now);
        let done = self.router.block(&mut env, block);
        self.flush_router(now);
        done
    }

    /// Takes back a block that [`Server::block`] made; false if there was none of exactly this domain.
    ///
    /// # Errors
    /// When the store fails; then nothing has changed.
    pub fn unblock(&mut self, now: Now, domain: &str) -> Result<bool, store::Error> {
        let mut env = router_env!(self, now);
        let done = self.router.unblock(&mut env, domain);
        self.flush_router(now);
        done
    }

    /// The store, for tools that work while nobody is connected.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The router, to look at.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Is everything said, after [`Input::Terminate`]?
    pub fn is_stopped(&self) -> bool {
        self.is_stopping && self.connections.is_empty() && self.controls.is_empty()
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    fn terminate(&mut self, now: Now) {
        self.is_stopping = true;
        // What the end of a session says goes by the streams that end after it.
        let rank = |talk: &Talk| match talk {
            Talk::Client(_) => 0,
            Talk::Component(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_) => 1,
            Talk::Incoming(_) | Talk::Outgoing(_) | Talk::Dialing(_) => 2,
        };
        let mut ids: Vec<(u8, ConnectionId)> =
            self.connections.iter().map(|(id, connection)| (rank(&connection.talk), *id)).collect();
        ids.sort_unstable();
        for (_, id) in &ids {
            self.hear_out_rest(now, *id);
        }
        for (_, id) in ids {
            self.shut_down_stream(now, id);
        }
        self.keep_all_newcomers();
        self.end_controls();
    }

    /// Takes over a configuration. Sessions of hosts that are gone end (RFC 6120 §4.9.3.5).
    fn reload(&mut self, now: Now, config: Arc<Config>) {
        self.config = config.clone();
        let mut env = router_env!(self, now);
        self.router.reload(&mut env, config);
        self.flush_router(now);
        let orphans: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, c)| c.talk.client_host().is_some_and(|host| self.config.host(host).is_none()))
            .map(|(id, _)| *id)
            .collect();
        for id in orphans {
            self.close(now, id, StreamError::new(StreamCondition::HostGone, "this host is served no longer"));
        }
        self.drop_foreign_dials(now);
        self.reload_components(now);
        self.tell_unserved();
        self.passwords_at_millis = now.monotonic_millis;
        self.forget_plain_passwords(now);
    }

    /// Forgets passwords that were kept as text for long enough, or that jabber.xml no longer wants: a page at a time, so
    /// that the loop is not held, and from then on once a day.
    fn forget_plain_passwords(&mut self, now: Now) {
        if now.monotonic_millis < self.passwords_at_millis {
            // A reload came between, and has set a timer of its own.
            return;
        }
        let end = match self.config.keep_plain_passwords {
            Some(kept) => kept.end_unix_millis(now.unix_millis),
            None => u64::MAX,
        };
        let forgotten = plain_password::forget_before(&mut self.store, end, PLAIN_PASSWORDS_PAGE);
        let next = match forgotten {
            Ok(PLAIN_PASSWORDS_PAGE) => PLAIN_PASSWORDS_PAUSE_MILLIS,
            Ok(_) => DAY_MILLIS,
            Err(error) => {
                log::error!(target: LogSink::INTERNAL, "passwords that were kept as text could not be forgotten: {error}");
                DAY_MILLIS
            }
        };
        self.passwords_at_millis = now.monotonic_millis.saturating_add(next);
        self.timers.set(self.passwords_at_millis, Timer::PlainPasswords);
    }

    /// A timer is due.
    fn ring(&mut self, now: Now, timer: Timer) {
        match timer {
            Timer::Login(id) => self.login_timed_out(now, id),
            // Nobody is here any more to get it back.
            Timer::Queue(_) if self.is_stopping => {}
            Timer::Queue(pair) => {
                let mut env = router_env!(self, now);
                self.router.expire_queue(&mut env, &pair);
                self.flush_router(now);
            }
            Timer::Dial(wish) => {
                let (pair, sender) = *wish;
                if self.router.link_is_awaited(&pair) {
                    self.dial(now, &pair, &sender);
                }
            }
            Timer::Unacknowledged(id) => self.keep_unacknowledged(now, id),
            Timer::Left => self.forget_left(now),
            Timer::Component(id) => {
                let mut env = router_env!(self, now);
                self.router.expire_component(&mut env, &id);
                self.flush_router(now);
            }
            Timer::Call(id) => self.call(now, &id),
            Timer::Doubt(pair) => self.look_for(now, &pair),
            Timer::PlainPasswords => self.forget_plain_passwords(now),
            Timer::Newcomers => self.keep_newcomers(now),
            Timer::Trial => self.trial_is_due(),
            Timer::Stop => self.outputs.push(Output::Stop),
            Timer::Walk => {
                let mut env = router_env!(self, now);
                self.router.walk_on(&mut env);
                self.flush_router(now);
            }
            Timer::Control(id) => self.control_timed_out(now, id),
            Timer::Waker(id) => self.control_woken(now, id),
            // It goes on in a turn of its own, and not before the socket has taken its last answers.
            Timer::Rest(id) => self.outputs.push(Output::TellRoom { id }),
            Timer::Penalty(id) => self.with_client(now, id, |stream, env| stream.woke(env, now)),
            Timer::Heartbeat(id) => self.heartbeat(now, id),
            Timer::Idle(id) => self.idle(now, id),
            Timer::Goodbye(id) => self.goodbye(now, id),
            Timer::Taken(id) => self.ask_taken(now, id),
            Timer::Module(timer) => {
                let mut env = router_env!(self, now);
                self.router.woke(&mut env, &timer);
                self.flush_router(now);
            }
        }
    }

    fn hashed(&mut self, now: Now, mut result: HashResult) {
        match self.askers.remove(&result.token) {
            None => {}
            Some(Asker::Control(id)) => self.control_hashed(now, id, result),
            Some(Asker::Stream(id)) => self.with_client(now, id, |stream, env| stream.hashed(env, result)),
            Some(Asker::Module { ticket, token, holds }) => {
                result.token = token;
                let mut env = router_env!(self, now);
                self.router.hashed(&mut env, &ticket, result);
                self.flush_router(now);
                if let Some(id) = holds {
                    self.go_on(now, id);
                }
            }
        }
    }

    /// Hands a job to the helper thread, unless too many wait there: whoever asks then is told to come back.
    fn hash(&mut self, now: Now, mut asker: Asker, job: HashJob) {
        self.next_token += 1;
        let token = self.next_token;
        let is_full = self.askers.len() >= self.config.limits.password_jobs_max;
        if let Asker::Module { holds, .. } = &mut asker {
            // Who is told at once waits for nothing.
            *holds = holds.filter(|_| !is_full);
            if let Some(id) = *holds {
                self.hold(id);
            }
        }
        self.askers.insert(token, asker);
        if is_full {
            return self.hashed(now, HashResult { token, outcome: Outcome::Busy });
        }
        self.outputs.push(Output::Hash(job.with_token(token)));
    }

    /// The connection that waits for a piece of password work.
    fn waits_for(&self, token: u64) -> Option<ConnectionId> {
        match self.askers.get(&token)? {
            Asker::Stream(id) | Asker::Control(id) => Some(*id),
            Asker::Module { holds, .. } => *holds,
        }
    }
}

#[cfg(test)]
mod tests;
