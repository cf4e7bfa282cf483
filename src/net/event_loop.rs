//! The loop: one thread, one poll, one tick after another (design rules 1 and 2).

use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::Bounds;
use super::clock::{Clock, Dice};
use super::connection::Piece;
use super::connections::Connections;
use super::control::{self, LocalSocket};
use super::dialing::{self, Dialed, Dialer};
use super::disk::{Awaited, DiskHelper, Durable, Report};
use super::dns::Dns;
use super::dns::files::Files;
use super::doors::Doors;
use super::engine::{Candidate, ConnectionId, Engine, Gone, Input, Measure, Output, Tick, Trust};
use super::hashing::HashingHelper;
use super::listener::Opened;
use super::relays::{self, Relays};
use super::socket::{Unacknowledged, has_hung_up};
use super::tls::Settings;
use crate::admin::{Outside, Peer, Refusal, Told};
use crate::config::{Config, ListenerKind};
use crate::http::Response;
use crate::router::ModuleTimer;
use crate::server::{UNHEARD, Unfound, Word};
use crate::xmpp::Now;

const WAKER: Token = Token(0);
const SIGNALS: Token = Token(1);
const CONTROL: Token = Token(2);
const METRICS: Token = Token(3);
const FIRST_LISTENER: usize = 4;
/// The resolver's sockets are far above those of connections, and of attempts to have one.
const FIRST_LOOKUP: usize = dialing::FIRST_TOKEN << 1;
/// How many events one poll brings at most; the others come with the next.
const EVENTS: usize = 1024;
/// How often the world around is looked at (certificates).
const LOOK_AROUND_MILLIS: u64 = 60_000;
/// How long the end of the process waits for peers that were told all, and have not closed their side.
const GOODBYES: Duration = Duration::from_millis(200);
/// How long the end of the process waits for the disk. What is not durable then was told to nobody.
const LAST_SYNC: Duration = Duration::from_millis(400);

/// Signals, as the loop sees them: flags, and a socket that becomes readable when one is set.
#[derive(Debug)]
pub struct Signals {
    /// Stop.
    pub terminate: Arc<AtomicBool>,
    /// Read the configuration again.
    pub reload: Arc<AtomicBool>,
    /// Readable after a flag was set.
    pub wake: UnixStream,
}

/// A configuration that was read again.
#[derive(Debug)]
pub struct Reloaded {
    /// The configuration.
    pub config: Arc<Config>,
    /// What of it is not in force, and why; the log knows.
    pub not_in_force: Vec<String>,
}

/// What the daemon does for the loop outside of the protocol.
pub trait Surroundings {
    /// SIGHUP: the new configuration.
    ///
    /// # Errors
    /// What is wrong with it; the old one is kept.
    fn reload(&mut self) -> Result<Reloaded, String>;
    /// After a reload, and every minute: new TLS settings if a certificate changed.
    fn renewed_tls(&mut self) -> Option<Arc<Settings>>;
    /// After a reload: other authorities to trust, if they could be read.
    fn renewed_trust(&mut self) -> Option<Box<dyn Trust>>;
    /// Before a reload: a control socket in the place of one that was lost, or could not be had at the start.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn control_again(&mut self) -> Result<control::Opened, String>;
    /// Before a reload: a socket of `<metrics>` in the place of one that was lost.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn metrics_again(&mut self) -> Result<control::Opened, String>;
    /// After a reload: who may use the control socket, and that of `<metrics>`.
    fn renewed_sockets(&mut self) -> Option<(control::Allowed, Option<control::Allowed>)>;
    /// What a client of the control socket wants of the process, but for [`Outside::Reload`].
    fn outside(&mut self, what: Outside) -> Told;
    /// At the start, and every minute: the hosts, and when their certificates end, in Unix seconds.
    fn certificates(&self) -> Vec<(String, i64)> {
        Vec::new()
    }
    /// At the start, and every minute: the loop turns.
    fn alive(&mut self) {}
    /// What there is for the server: log lines for people, stanzas in files.
    fn words(&mut self, _now: Now) -> Vec<Word> {
        Vec::new()
    }
    /// What came by the last [`Surroundings::words`] is committed, with this tick if anything was written.
    fn words_kept(&mut self, _tick: Option<Tick>) {}
    /// What came by the last [`Surroundings::words`] could not be committed.
    fn words_lost(&mut self) {}
    /// All ticks up to this one are on the disk.
    fn words_durable(&mut self, _tick: Tick) {}
    /// When there will be more, on the monotonic clock.
    fn next_words_millis(&self) -> Option<u64> {
        None
    }
    /// The server stops.
    fn stopping(&mut self);
}

/// The loop and all that it looks after.
pub struct EventLoop<E> {
    poll: Poll,
    clock: Clock,
    engine: E,
    bounds: Bounds,
    surroundings: Box<dyn Surroundings>,
    signals: Signals,
    settings: Option<Arc<Settings>>,
    doors: Doors,
    control: Option<LocalSocket>,
    metrics: Option<LocalSocket>,
    files: u64,
    connections: Connections,
    relays: Relays,
    dialer: Dialer,
    disk: DiskHelper,
    hashing: HashingHelper,
    look_around_at: u64,
    /// When the process ends at the latest, once it was asked to.
    stop_at: Option<u64>,
    /// Since it was asked to, all connections have got all.
    all_said: bool,
    failure: Option<String>,
    dns: Dns,
    dice: Dice,
    awaited: Awaited,
    /// Somebody watches: then how long things take is measured, which costs some looks at the clock in each turn.
    measures: bool,
    /// What was found out about domains, for the next tick.
    found: Vec<(u64, Result<Vec<Candidate>, Unfound>)>,
    /// What clients of the control socket want of the world around, for the next tick.
    outside: Vec<(ConnectionId, Outside)>,
    /// Who wishes that the configuration is read again.
    rereaders: Vec<ModuleTimer>,
}

/// All that a loop is made from.
pub struct Parts<E> {
    /// The server.
    pub engine: E,
    /// The clock that the server was made with.
    pub clock: Clock,
    /// What peers can make us keep or do.
    pub bounds: Bounds,
    /// What the admin said of who may come in.
    pub config: Arc<Config>,
    /// How many files may be open.
    pub files: u64,
    /// What the system knows of a socket.
    pub unacknowledged: Unacknowledged,
    /// The daemon.
    pub surroundings: Box<dyn Surroundings>,
    /// The process's signals.
    pub signals: Signals,
    /// The certificates; without them STARTTLS and direct TLS fail.
    pub settings: Option<Arc<Settings>>,
    /// The open ports.
    pub ports: Vec<Opened>,
    /// The control socket.
    pub control: Option<control::Opened>,
    /// The socket of `<metrics>`.
    pub metrics: Option<control::Opened>,
    /// The files that say whom to ask for other servers.
    pub resolver: Files,
    /// The disk, if ticks are to wait for one.
    pub disk: Option<Arc<dyn Durable>>,
}

/// What is said to who may not watch.
fn forbidden(peer: Peer, socket: &str) -> Vec<u8> {
    let uid = peer.uid;
    Response::forbidden(format!(
        "uid {uid} is neither root nor in the group of {socket}; who was added to it must log in again, or: sg GROUP curl ...\n"
    ))
}

/// How long answers of DNS are kept at most.
fn cache_seconds(config: &Config) -> u64 {
    config.federation.as_ref().map_or(0, |federation| federation.cache_seconds)
}

impl<E: Engine> EventLoop<E> {
    /// A loop that is ready to run; starts the helper threads.
    ///
    /// # Errors
    /// The system lacks descriptors or threads.
    pub fn new(parts: Parts<E>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut signals = parts.signals;
        poll.registry().register(&mut signals.wake, SIGNALS, Interest::READABLE)?;
        let doors = Doors::new(parts.ports, &parts.config, poll.registry(), FIRST_LISTENER)?;
        let mut control = parts.control.map(|opened| LocalSocket::new(opened, Refusal::stranger));
        let mut metrics = parts.metrics.map(|opened| LocalSocket::new(opened, forbidden));
        for (socket, token) in [(&mut control, CONTROL), (&mut metrics, METRICS)] {
            if let Some(socket) = socket {
                poll.registry().register(&mut socket.listener, token, Interest::READABLE)?;
            }
        }
        let has_port = parts.config.listeners.iter().any(|listener| listener.kind == ListenerKind::Metrics);
        let measures = has_port || metrics.is_some();
        let bounds = parts.bounds;
        let connections = Connections::new(bounds, parts.unacknowledged, FIRST_LISTENER + doors.len());
        Ok(EventLoop {
            poll,
            clock: parts.clock,
            engine: parts.engine,
            bounds,
            surroundings: parts.surroundings,
            signals,
            settings: parts.settings,
            doors,
            control,
            metrics,
            files: parts.files,
            connections,
            relays: Relays::new(bounds),
            dialer: Dialer::new(&parts.config.bind),
            disk: DiskHelper::start(parts.disk, Arc::clone(&waker))?,
            hashing: HashingHelper::start(waker)?,
            look_around_at: LOOK_AROUND_MILLIS,
            stop_at: None,
            all_said: false,
            failure: None,
            dns: Dns::new(FIRST_LOOKUP, cache_seconds(&parts.config), parts.resolver),
            dice: Dice::new(),
            awaited: Awaited::default(),
            measures,
            found: Vec::new(),
            outside: Vec::new(),
            rereaders: Vec::new(),
        })
    }

    /// Serves until it is told to stop, and then until all connections are closed, or have had their time.
    ///
    /// # Errors
    /// The poll broke, or the disk did: nothing can be promised to anybody any more.
    pub fn run(&mut self) -> io::Result<()> {
        self.engine.set_certificates(self.surroundings.certificates());
        self.surroundings.alive();
        let mut events = Events::with_capacity(EVENTS);
        let mut now = self.clock.now();
        loop {
            let timeout = self.timeout(now);
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
                // Nothing was told. What came before the signal is read before the signal is obeyed.
                now = self.clock.now();
                continue;
            }
            now = self.clock.now();
            self.connections.begin(now);
            self.relays.begin(now);
            for event in &events {
                match event.token() {
                    WAKER => {}
                    SIGNALS => self.drain_signals(),
                    CONTROL => self.control.iter_mut().for_each(|control| control.ready = true),
                    METRICS => self.metrics.iter_mut().for_each(|metrics| metrics.ready = true),
                    token if self.dns.owns(token) => {
                        self.dns.handle_event(self.poll.registry(), now, &mut self.dice, event);
                    }
                    Token(number) if number >= dialing::FIRST_TOKEN => self.dialer.note(event),
                    Token(number) if number >= relays::FIRST_TOKEN => self.relays.note(event),
                    token if self.doors.note(token) => {}
                    _ => self.connections.note(event),
                }
            }
            self.tick(now);
            if self.is_done(now) {
                return self.finish();
            }
        }
    }

    /// One turn: all inputs, one commit, then what may leave leaves.
    fn tick(&mut self, now: Now) {
        let begun = self.measures.then(Instant::now);
        self.look_around(now);
        self.accept(now);
        self.accept_control(now);
        self.accept_watchers(now);
        let EventLoop { connections, relays, engine, .. } = self;
        connections.read(|input| engine.handle(now, input));
        relays.read(|input| engine.handle(now, input));
        self.dial(now);
        self.answer_finds(now);
        while let Some(result) = self.hashing.result() {
            self.engine.handle(now, Input::Hashed(result));
        }
        for word in self.surroundings.words(now) {
            self.engine.handle(now, Input::Word(word));
        }
        // After what arrived: who learns of the end must not miss what came before it.
        self.obey_signals(now);
        self.engine.handle(now, Input::Timeout);
        let committing = self.measures.then(Instant::now);
        let committed = self.engine.commit(); // no waiting; nothing has left the process so far
        if let (Some(since), Ok(Some(tick))) = (committing, &committed) {
            let now = Instant::now();
            self.engine.measured(Measure::Commit, now.duration_since(since));
            self.awaited.note(*tick, now);
        }
        let outputs = self.engine.take_outputs();
        match committed {
            Ok(tick) => {
                self.surroundings.words_kept(tick);
                self.hold(now, tick, outputs);
            }
            Err(why) => {
                self.surroundings.words_lost();
                self.lose(&why, outputs);
            }
        }
        self.collect_finds();
        self.connections.part();
        self.hear_of_disk();
        self.connections.expire();
        self.relays.expire();
        self.connections.write(self.settings.as_deref()); // what may leave, leaves
        if let Some(begun) = begun {
            self.engine.measured(Measure::Tick, begun.elapsed());
        }
    }

    /// Queues the outputs of a tick. If it wrote, they wait until it is durable.
    fn hold(&mut self, now: Now, tick: Option<Tick>, outputs: Vec<Output>) {
        if let Some(tick) = tick {
            self.disk.request(tick);
        }
        for output in outputs {
            match output {
                Output::Bytes { id, bytes } if self.relays.owns(id) => self.relays.say(id, &bytes),
                Output::Bytes { id, bytes } => self.connections.take(tick, id, Piece::Bytes(bytes)),
                Output::StartTls { id, host, client } => {
                    let piece = Piece::StartTls { host: host.into(), client: client.map(Box::new) };
                    self.connections.take(tick, id, piece);
                }
                Output::Close { id } if self.dialer.abandon(id) => self.connections.refuse(id, Gone::Closed),
                Output::Close { id } if self.relays.owns(id) => self.relays.close(id),
                Output::Close { id } => self.connections.take(tick, id, Piece::Close),
                Output::Hear { id, hears } => self.connections.hear(id, hears),
                Output::Park { id } => self.relays.park(id),
                Output::Join { one, other, bytes_per_second } => self.relays.join(one, other, bytes_per_second),
                Output::TellDrained { id } => self.connections.tell_drained(id),
                Output::TellTaken { id, tells } => self.connections.tell_taken(id, tells),
                Output::AskTaken { id } => self.connections.ask_taken(id),
                Output::TellRoom { id } => self.connections.tell_room(id),
                Output::Spoke { id } => self.connections.spoke(id),
                Output::Hash(job) => self.hashing.request(job),
                Output::Reload(wish) => self.rereaders.push(wish),
                Output::Stop => self.signals.terminate.store(true, Ordering::Release),
                Output::Outside { id, what } => self.outside.push((id, what)),
                Output::Find { ticket, domain, services } => {
                    self.dns.find(self.poll.registry(), now, &mut self.dice, ticket, &domain, &services);
                }
                // Nothing of what the tick wrote is told by a connection alone.
                Output::Connect { id, addresses, tls } => self.dialer.start(now, id, &addresses, tls),
            }
        }
        self.connections.end_tick(tick);
    }

    /// A tick could not be committed: nobody is told what it said. The server has told the log why.
    fn lose(&mut self, why: &str, outputs: Vec<Output>) {
        let why = Refusal::not_kept(why);
        for output in outputs {
            match output {
                // Who watches is told what was counted, and must hear of a full disk.
                Output::Bytes { id, bytes } if self.connections.is_watcher(id) => {
                    self.connections.take(None, id, Piece::Bytes(bytes));
                }
                Output::Close { id } if self.connections.is_watcher(id) => {
                    self.connections.take(None, id, Piece::Close);
                }
                Output::Close { id } if self.dialer.abandon(id) => {
                    self.connections.refuse(id, Gone::NotDurable);
                }
                Output::Bytes { id, .. } | Output::Close { id } | Output::Park { id } if self.relays.owns(id) => {
                    self.relays.close(id);
                }
                Output::Join { one, other, .. } => [one, other].into_iter().for_each(|id| self.relays.close(id)),
                Output::Bytes { id, .. } | Output::StartTls { id, .. } | Output::Close { id } | Output::Park { id } => {
                    self.connections.fail_one(id, &why);
                }
                Output::Connect { id, .. } => self.connections.refuse(id, Gone::NotDurable),
                Output::Find { ticket, .. } => {
                    let why = Gone::NotDurable.to_string();
                    self.found.push((ticket, Err(Unfound { why, is_temporary: true })));
                }
                Output::TellDrained { id } => self.connections.tell_drained(id),
                Output::TellTaken { id, tells } => self.connections.tell_taken(id, tells),
                Output::AskTaken { id } => self.connections.ask_taken(id),
                Output::TellRoom { id } => self.connections.tell_room(id),
                Output::Spoke { id } => self.connections.spoke(id),
                // Who stops the server is not asked to wait for a disk that is full.
                Output::Stop => self.signals.terminate.store(true, Ordering::Release),
                // Nothing is told by it.
                Output::Hear { id, hears } => self.connections.hear(id, hears),
                // The server counts who waits for it, and forgets nobody before the result is there.
                Output::Hash(job) => self.hashing.request(job),
                Output::Outside { .. } | Output::Reload(_) => {}
            }
        }
        self.connections.lose_tick(&why);
    }

    fn hear_of_disk(&mut self) {
        for report in self.disk.reports() {
            match report {
                Report::Durable(tick) => {
                    self.connections.release(tick);
                    self.surroundings.words_durable(tick);
                    for took in self.awaited.arrived(tick) {
                        self.engine.measured(Measure::Durable, took);
                    }
                }
                Report::Lost(_, why) => {
                    self.connections.fail(&Refusal::not_kept(&why));
                    if self.failure.is_none() {
                        // The kernel forgets what it could not write: only a new start knows what is on the disk.
                        log::error!(target: "-internal", "the disk failed, stopping: {why}");
                        self.failure = Some(why);
                        self.signals.terminate.store(true, Ordering::Release);
                    }
                }
            }
        }
    }

    fn accept(&mut self, now: Now) {
        if self.stop_at.is_some() {
            return;
        }
        let open = self.connections.len().saturating_add(self.relays.len());
        let EventLoop { doors, connections, relays, engine, poll, settings, bounds, .. } = self;
        doors.accept(now, open, bounds, |stream, wanted, peer| {
            let taken = match wanted.kind {
                ListenerKind::Bytestreams => relays.add(poll.registry(), stream),
                _ => connections.add(poll.registry(), stream, wanted, settings.as_deref()),
            };
            let is_taken = taken.is_ok();
            match taken {
                Ok(id) => engine.handle(now, Input::Accepted { id, listener: wanted, peer }),
                Err(error) => log::debug!(target: "-internal", "connection refused peer={peer}: {error}"),
            }
            is_taken
        });
    }

    /// Clients of the control socket come in even when no more connections are taken: then they are needed most.
    fn accept_control(&mut self, now: Now) {
        let Some(control) = self.control.as_mut().filter(|control| control.has_work(now.monotonic_millis)) else {
            return;
        };
        for _ in 0..self.bounds.accepts {
            let Some((mut stream, peer)) = control.accept(now) else { return };
            // Who gave up in the kernel's queue takes nobody's place.
            if has_hung_up(&stream) {
                if matches!(stream.read(&mut [0]), Ok(1)) {
                    log::info!(target: "-internal", "control: uid={} pid={}: {UNHEARD}, so it is not done", peer.uid, peer.pid);
                }
                continue;
            }
            // It never asks for TLS, so the kind of its port means nothing.
            match self.connections.add_local(self.poll.registry(), stream, ListenerKind::Component) {
                Ok(id) => self.engine.handle(now, Input::Control { id, peer }),
                Err(error) => log::error!(target: "-internal", "a client of the control socket was not taken: {error}"),
            }
        }
    }

    /// Who watches by the socket counts as who comes by a port.
    fn accept_watchers(&mut self, now: Now) {
        let room = self.has_room();
        let Some(metrics) = self.metrics.as_mut().filter(|metrics| room && metrics.has_work(now.monotonic_millis))
        else {
            return;
        };
        let Some((stream, _)) = metrics.accept(now) else { return };
        match self.connections.add_local(self.poll.registry(), stream, ListenerKind::Metrics) {
            Ok(id) => self.engine.handle(now, Input::Watcher { id }),
            Err(error) => log::error!(target: "-internal", "who watches was not taken: {error}"),
        }
    }

    /// May there be one more connection?
    fn has_room(&self) -> bool {
        self.connections.len().saturating_add(self.relays.len()) < self.bounds.connections
    }

    /// Goes on with connections of our own that are not open yet.
    fn dial(&mut self, now: Now) {
        for dialed in self.dialer.advance(self.poll.registry(), now) {
            match dialed {
                Dialed::Open { id, stream, peer, tls } => {
                    let settings = self.settings.as_deref();
                    match self.connections.adopt(self.poll.registry(), id, stream, tls.as_ref(), settings) {
                        Ok(()) => self.engine.handle(now, Input::Connected { id, peer }),
                        Err(error) => self.engine.handle(now, Input::Gone { id, reason: &error.to_string() }),
                    }
                }
                Dialed::Failed { id, why } => self.engine.handle(now, Input::Gone { id, reason: &why }),
            }
        }
    }

    /// What was found out about domains: some things are known at once, some come from the network.
    fn collect_finds(&mut self) {
        let found = self.dns.take_found().into_iter();
        self.found.extend(found.map(|(ticket, result)| {
            (ticket, result.map_err(|error| Unfound { why: error.to_string(), is_temporary: error.is_temporary() }))
        }));
    }

    fn answer_finds(&mut self, now: Now) {
        if self.dns.next_deadline().is_some_and(|due| due <= now.monotonic_millis) {
            self.dns.poll_timeouts(self.poll.registry(), now, &mut self.dice);
        }
        self.collect_finds();
        for (ticket, result) in std::mem::take(&mut self.found) {
            self.engine.handle(now, Input::Found { ticket, result });
        }
    }

    fn drain_signals(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.signals.wake.read(&mut bytes), Ok(count) if count > 0) {}
    }

    fn obey_signals(&mut self, now: Now) {
        if self.signals.reload.swap(false, Ordering::AcqRel) {
            // What is wrong with the new configuration was logged.
            let _ = self.reload(now);
        }
        let rereaders = std::mem::take(&mut self.rereaders);
        if !rereaders.is_empty() {
            let what = self.reload(now);
            for wish in rereaders {
                self.engine.handle(now, Input::Reread { wish, what: what.clone() });
            }
        }
        for (id, what) in std::mem::take(&mut self.outside) {
            let told = match what {
                Outside::Reload => self.reload(now).map_or_else(Told::Failed, Told::Reloaded),
                other => self.surroundings.outside(other),
            };
            self.engine.handle(now, Input::Told { id, told });
        }
        if self.signals.terminate.swap(false, Ordering::AcqRel) && self.stop_at.is_none() {
            self.surroundings.stopping();
            self.stop_at = Some(now.after(self.bounds.stopping));
            // Who connects from now on shall be refused, not kept waiting.
            self.doors.close();
            self.control = None;
            self.metrics = None;
            self.engine.handle(now, Input::Terminate);
        }
    }

    /// Makes the sockets again that somebody removed: with them goes the only way to ask a server that runs. Returns why one
    /// cannot be had.
    fn find_sockets(&mut self) -> Vec<String> {
        let is_lost = |socket: &Option<LocalSocket>| socket.as_ref().is_some_and(|socket| !socket.is_in_place());
        let control = (self.stop_at.is_none() && (self.control.is_none() || is_lost(&self.control)))
            .then(|| self.surroundings.control_again());
        let metrics = (self.stop_at.is_none() && is_lost(&self.metrics)).then(|| self.surroundings.metrics_again());
        let EventLoop { control: of_control, metrics: of_metrics, poll, .. } = self;
        let mut failed = Vec::new();
        for (place, again, token, refuses) in [
            (of_control, control, CONTROL, Refusal::stranger as control::Refuses),
            (of_metrics, metrics, METRICS, forbidden),
        ] {
            let Some(again) = again else { continue };
            let registered = again.and_then(|opened| {
                let mut socket = LocalSocket::new(opened, refuses);
                let registered = poll.registry().register(&mut socket.listener, token, Interest::READABLE);
                registered.map(|()| socket).map_err(|error| format!("a socket cannot be served: {error}"))
            });
            match registered {
                Ok(socket) => {
                    log::warn!(target: "-internal", "the socket {} was gone, and was made again", socket.path().display());
                    *place = Some(socket);
                }
                Err(why) => {
                    log::error!(target: "-internal", "a socket is gone, and cannot be made again: {why}");
                    failed.push(why);
                }
            }
        }
        failed
    }

    /// Takes over what the configuration says now. Returns what of it is not in force.
    fn reload(&mut self, now: Now) -> Result<Vec<String>, String> {
        self.look_around_at = now.monotonic_millis;
        // Whatever is wrong with the configuration, somebody must be able to ask.
        let lost = self.find_sockets();
        let Reloaded { config, mut not_in_force } = self.surroundings.reload()?;
        not_in_force.extend(lost);
        self.doors.reload(&config);
        self.bounds = Bounds::new(&config.limits, self.files);
        self.connections.rebound(self.bounds);
        self.relays.rebound(self.bounds);
        self.dialer.rebind(&config.bind);
        self.dns.reload(cache_seconds(&config));
        if let Some(trust) = self.surroundings.renewed_trust() {
            self.engine.set_trust(trust);
        }
        if let Some((of_control, of_metrics)) = self.surroundings.renewed_sockets() {
            for (socket, allowed) in [(&mut self.control, Some(of_control)), (&mut self.metrics, of_metrics)] {
                if let (Some(socket), Some(allowed)) = (socket, allowed) {
                    socket.allow(allowed);
                }
            }
        }
        self.engine.handle(now, Input::Reload(config));
        Ok(not_in_force)
    }

    fn look_around(&mut self, now: Now) {
        if now.monotonic_millis < self.look_around_at {
            return;
        }
        self.look_around_at = now.monotonic_millis.saturating_add(LOOK_AROUND_MILLIS);
        if let Some(settings) = self.surroundings.renewed_tls() {
            self.settings = Some(settings);
        }
        self.engine.set_certificates(self.surroundings.certificates());
        self.surroundings.alive();
    }

    /// How long the poll may sleep.
    fn timeout(&mut self, now: Now) -> Option<Duration> {
        let room = self.has_room();
        let waits =
            |socket: &Option<LocalSocket>| socket.as_ref().is_some_and(|socket| socket.has_work(now.monotonic_millis));
        let told = self.signals.terminate.load(Ordering::Acquire) || self.signals.reload.load(Ordering::Acquire);
        if told
            || !self.found.is_empty()
            || !self.outside.is_empty()
            || !self.rereaders.is_empty()
            || self.connections.has_work()
            || self.relays.has_work()
            || waits(&self.control)
            || (room && (waits(&self.metrics) || self.doors.has_work(now.monotonic_millis)))
        {
            return Some(Duration::ZERO);
        }
        let own = [
            Some(self.look_around_at),
            self.surroundings.next_words_millis(),
            self.stop_at,
            self.connections.next_deadline(),
            self.relays.next_deadline(),
            self.dialer.next_deadline(),
            self.dns.next_deadline(),
            self.doors.pause_end(now.monotonic_millis),
            self.control.as_ref().and_then(|control| control.pause_end(now.monotonic_millis)),
            self.metrics.as_ref().and_then(|metrics| metrics.pause_end(now.monotonic_millis)),
        ];
        let own = own.into_iter().flatten().min();
        let own = own.map(|at| Duration::from_millis(at.saturating_sub(now.monotonic_millis)));
        own.into_iter().chain(self.engine.next_timeout(now)).min()
    }

    fn is_done(&mut self, now: Now) -> bool {
        if let Some(at) = self.stop_at {
            if !self.all_said && self.connections.all_said() {
                self.all_said = true;
                // Only the peers' own goodbyes are missing.
                self.stop_at = Some(at.min(now.after(GOODBYES)));
            }
        }
        let all_gone = self.connections.len() == 0
            && !self.connections.has_work()
            && self.relays.len() == 0
            && !self.relays.has_work();
        self.stop_at.is_some_and(|at| all_gone || at <= now.monotonic_millis)
    }

    /// The last things: what is committed is made durable, the rest of the sockets is dropped with the loop.
    fn finish(&mut self) -> io::Result<()> {
        self.disk.finish(LAST_SYNC);
        self.hear_of_disk();
        self.connections.write(self.settings.as_deref());
        match self.failure.take() {
            Some(why) => Err(io::Error::other(why)),
            None => Ok(()),
        }
    }
}
