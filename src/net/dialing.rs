//! Connections of our own, until they are open: happy eyeballs (RFC 8305, as XEP-0495 asks of XMPP).
//!
//! A race is one wish of the server, with all addresses that may fulfil it. Attempts start one after the other, the next
//! one as soon as the last has failed or had its head start; the first that is open wins, the others are dropped.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream as StdStream};
use std::os::fd::AsRawFd;

use mio::event::Event as Ready;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, setsockopt, sockopt,
};
use slab::Slab;

use super::engine::{ClientTls, ConnectionId};
use super::listener::prepare;
use crate::xmpp::Now;

/// Attempts are registered with tokens from here on.
pub(super) const FIRST_TOKEN: usize = 1 << 26;
/// RFC 8305 §5: the head start of an attempt before the next one.
const STAGGER_MILLIS: u64 = 250;
/// How long the last attempt is waited for; the kernel has asked four times by then. A server that answers later than
/// that is not worth the other places where the domain's server may be, which are tried next.
const PATIENCE_MILLIS: u64 = 10_000;
/// How long a race takes at most.
const RACE_MILLIS: u64 = 30_000;
/// Addresses that are tried; a domain with more names itself badly, or wants us to knock at many doors.
const ADDRESSES_MAX: usize = 16;

/// How a race ended.
#[derive(Debug)]
pub(super) enum Dialed {
    /// A connection is open.
    Open { id: ConnectionId, stream: TcpStream, peer: SocketAddr, tls: Option<ClientTls> },
    /// None could be had; in one line, why.
    Failed { id: ConnectionId, why: String },
}

struct Race {
    tls: Option<ClientTls>,
    waiting: VecDeque<SocketAddr>,
    /// Places of attempts.
    running: Vec<usize>,
    failures: Vec<String>,
    /// When the next attempt starts, if there is another address.
    next_millis: u64,
    /// When nothing is waited for any more.
    end_millis: u64,
    /// When it ends whatever happens.
    last_millis: u64,
}

impl Race {
    fn failed(&mut self, why: String) {
        log::debug!(target: "s2s", "no connection: {why}");
        self.failures.push(why);
    }

    fn due(&self) -> u64 {
        if self.waiting.is_empty() { self.end_millis } else { self.next_millis.min(self.end_millis) }
    }
}

struct Attempt {
    id: ConnectionId,
    address: SocketAddr,
    stream: TcpStream,
}

/// All races.
pub(super) struct Dialer {
    races: HashMap<ConnectionId, Race>,
    attempts: Slab<Attempt>,
    /// Places that the kernel told about.
    ready: Vec<usize>,
    /// Source addresses, at most one for each family is used.
    bind: Vec<IpAddr>,
    due_millis: Option<u64>,
}

impl Dialer {
    /// No race yet; connections come from one of these addresses, where there is one of the right family.
    pub(super) fn new(bind: &[IpAddr]) -> Dialer {
        Dialer {
            races: HashMap::new(),
            attempts: Slab::new(),
            ready: Vec::new(),
            bind: bind.to_vec(),
            due_millis: None,
        }
    }

    /// Other source addresses, from the next attempt on.
    pub(super) fn rebind(&mut self, bind: &[IpAddr]) {
        self.bind = bind.to_vec();
    }

    /// A connection is wanted to one of these addresses. It is begun by the next [`Dialer::advance`], which is due.
    pub(super) fn start(&mut self, now: Now, id: ConnectionId, addresses: &[SocketAddr], tls: Option<ClientTls>) {
        let at = now.monotonic_millis;
        let race = Race {
            tls,
            waiting: interleave(addresses),
            running: Vec::new(),
            failures: Vec::new(),
            next_millis: at,
            end_millis: at.saturating_add(RACE_MILLIS),
            last_millis: at.saturating_add(RACE_MILLIS),
        };
        self.races.insert(id, race);
        self.due_millis = Some(at);
    }

    /// A connection is wanted no longer. Returns whether it was on its way.
    pub(super) fn abandon(&mut self, id: ConnectionId) -> bool {
        let Some(race) = self.races.remove(&id) else { return false };
        self.drop_attempts(&race);
        true
    }

    /// When it must be advanced at the latest.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.due_millis
    }

    /// Takes note of what the kernel told about an attempt.
    pub(super) fn note(&mut self, ready: &Ready) {
        self.ready.extend(ready.token().0.checked_sub(FIRST_TOKEN));
    }

    /// Goes on with all races; tells which ended.
    pub(super) fn advance(&mut self, registry: &Registry, now: Now) -> Vec<Dialed> {
        let at = now.monotonic_millis;
        if self.ready.is_empty() && self.due_millis.is_none_or(|due| at < due) {
            return Vec::new();
        }
        let mut ended = Vec::new();
        for place in std::mem::take(&mut self.ready) {
            ended.extend(self.look(place, at));
        }
        let due: Vec<ConnectionId> = self
            .races
            .iter()
            .filter(|(_, race)| race.due() <= at || race.running.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if let Some(why) = self.step(registry, id, at) {
                self.abandon(id);
                ended.push(Dialed::Failed { id, why });
            }
        }
        self.due_millis = self.races.values().map(Race::due).min();
        ended
    }

    /// How does an attempt stand that the kernel told about?
    fn look(&mut self, place: usize, at: u64) -> Option<Dialed> {
        let attempt = self.attempts.get(place)?;
        let (id, address) = (attempt.id, attempt.address);
        let outcome = match attempt.stream.take_error() {
            Ok(None) => attempt.stream.peer_addr(),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match outcome {
            Ok(peer) => {
                let mut race = self.races.remove(&id)?;
                race.running.retain(|other| *other != place);
                let stream = self.attempts.remove(place).stream;
                self.drop_attempts(&race);
                prepare(&stream);
                Some(Dialed::Open { id, stream, peer, tls: race.tls })
            }
            // A wake-up for nothing.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => {
                self.attempts.remove(place);
                let race = self.races.get_mut(&id)?;
                race.running.retain(|other| *other != place);
                race.failed(explain(&error, address));
                // RFC 8305 §5: a failure ends the head start.
                race.next_millis = at;
                None
            }
        }
    }

    /// Starts what is to be started; an answer says that the race is lost, and why.
    fn step(&mut self, registry: &Registry, id: ConnectionId, at: u64) -> Option<String> {
        let Dialer { races, attempts, bind, .. } = self;
        let race = races.get_mut(&id)?;
        while at < race.end_millis && (race.running.is_empty() || race.next_millis <= at) {
            let Some(address) = race.waiting.pop_front() else { break };
            let source = bind.iter().find(|source| source.is_ipv4() == address.is_ipv4());
            let entry = attempts.vacant_entry();
            let place = entry.key();
            log::debug!(target: "s2s", "connecting to {address}");
            let begun = connect(address, source.copied()).and_then(|mut stream| {
                // Errors come as readiness, too.
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.register(&mut stream, Token(FIRST_TOKEN + place), interest).map(|()| stream)
            });
            match begun {
                Ok(stream) => {
                    entry.insert(Attempt { id, address, stream });
                    race.running.push(place);
                    race.next_millis = at.saturating_add(STAGGER_MILLIS);
                    race.end_millis = at.saturating_add(PATIENCE_MILLIS).min(race.last_millis);
                }
                Err(error) => race.failed(explain(&error, address)),
            }
        }
        if at >= race.end_millis {
            let slow = race.running.iter().filter_map(|place| attempts.get(*place));
            race.failures.extend(slow.map(|attempt| format!("timeout at {}", attempt.address)));
        } else if !race.running.is_empty() {
            return None;
        }
        Some(if race.failures.is_empty() { "there is no address".to_owned() } else { race.failures.join(", ") })
    }

    fn drop_attempts(&mut self, race: &Race) {
        for place in &race.running {
            // Closing the descriptor takes it out of the poll, too.
            self.attempts.try_remove(*place);
        }
    }
}

/// RFC 8305 §4: the order of the resolver, but with the families by turns.
fn interleave(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let is_first_family = |address: &&SocketAddr| addresses.first().is_some_and(|a| a.is_ipv4() == address.is_ipv4());
    let mut first = addresses.iter().filter(is_first_family);
    let mut second = addresses.iter().filter(|address| !is_first_family(address));
    let mut all = VecDeque::new();
    while all.len() < ADDRESSES_MAX {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            break;
        }
        all.extend(one.into_iter().chain(other).copied());
    }
    all.truncate(ADDRESSES_MAX);
    all
}

/// Begins to connect. mio's own way knows no source address.
fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(family, SockType::Stream, flags, None)?;
    if let Some(source) = source {
        // The port is chosen when the peer is known: otherwise each of them is good for one connection only.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        socket::bind(socket.as_raw_fd(), name(SocketAddr::new(source, 0)).as_ref())?;
    }
    match socket::connect(socket.as_raw_fd(), name(address).as_ref()) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from_std(StdStream::from(socket))),
        Err(error) => Err(error.into()),
    }
}

fn name(address: SocketAddr) -> Box<dyn SockaddrLike> {
    match address {
        SocketAddr::V4(address) => Box::new(SockaddrIn::from(address)),
        SocketAddr::V6(address) => Box::new(SockaddrIn6::from(address)),
    }
}

fn explain(error: &io::Error, address: SocketAddr) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => format!("refused by {address}"),
        Some(Errno::ETIMEDOUT) => format!("timeout at {address}"),
        Some(Errno::EHOSTUNREACH | Errno::ENETUNREACH) => format!("no route to {address}"),
        Some(Errno::EADDRNOTAVAIL) => format!("no address of ours to reach {address} from (see <bind>)"),
        Some(errno) => format!("{address}: {}", errno.desc()),
        None => format!("{address}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    const ID: ConnectionId = ConnectionId(1 << 63);

    /// A dialer with a poll of its own and a clock that the test moves.
    struct World {
        poll: mio::Poll,
        dialer: Dialer,
        millis: u64,
    }

    impl World {
        fn new(bind: &[IpAddr]) -> World {
            World { poll: mio::Poll::new().unwrap(), dialer: Dialer::new(bind), millis: 1_000_000 }
        }

        fn now(&self) -> Now {
            Now { unix_millis: 0, monotonic_millis: self.millis }
        }

        fn start(&mut self, addresses: &[SocketAddr]) {
            self.dialer.start(self.now(), ID, addresses, None);
        }

        /// Goes on without waiting, at this moment of the clock.
        fn advance(&mut self) -> Option<Dialed> {
            self.dialer.advance(self.poll.registry(), self.now()).pop()
        }

        /// Goes on until the race is over, with the clock standing still.
        fn race(&mut self) -> Dialed {
            let mut events = mio::Events::with_capacity(8);
            loop {
                if let Some(dialed) = self.advance() {
                    assert!(self.dialer.races.is_empty() && self.dialer.attempts.is_empty());
                    assert_eq!(self.dialer.next_deadline(), None);
                    return dialed;
                }
                if self.dialer.next_deadline().is_some_and(|due| due <= self.millis) {
                    continue;
                }
                self.poll.poll(&mut events, Some(std::time::Duration::from_secs(20))).unwrap();
                assert!(!events.is_empty(), "nothing happens");
                events.iter().for_each(|event| self.dialer.note(event));
            }
        }
    }

    fn peer_of(dialed: &Dialed) -> SocketAddr {
        let Dialed::Open { peer, .. } = dialed else { panic!("{dialed:?}") };
        *peer
    }

    fn failure(dialed: &Dialed) -> &str {
        let Dialed::Failed { why, .. } = dialed else { panic!("{dialed:?}") };
        why
    }

    fn listen(address: &str) -> (std::net::TcpListener, SocketAddr) {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address where nobody listens, nor will: the kernel gives it to nobody as long as it is held here.
    fn closed(address: [u8; 4]) -> SocketAddr {
        let [a, b, c, d] = address;
        let held = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        socket::bind(held.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
        let own: SockaddrIn = socket::getsockname(held.as_raw_fd()).unwrap();
        std::mem::forget(held);
        SocketAddr::from((own.ip(), own.port()))
    }

    /// A port whose queue is full: it does not answer.
    fn silent() -> (std::os::fd::OwnedFd, Vec<TcpStream>, SocketAddr) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
        socket::bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        socket::listen(&socket, socket::Backlog::new(0).unwrap()).unwrap();
        let own: SockaddrIn = socket::getsockname(socket.as_raw_fd()).unwrap();
        let address = SocketAddr::from((own.ip(), own.port()));
        let waiting = (0..4).map(|_| connect(address, None).unwrap()).collect();
        (socket, waiting, address)
    }

    #[test]
    fn the_first_that_is_open_wins() {
        let (_listener, open) = listen("127.0.0.1:0");
        let refused = closed([127, 0, 0, 1]);
        let no_ipv6 = SocketAddr::new("::1".parse().unwrap(), open.port());
        for addresses in [vec![open], vec![refused, open], vec![no_ipv6, open], vec![refused, no_ipv6, refused, open]] {
            let mut world = World::new(&[]);
            world.start(&addresses);
            assert_eq!(peer_of(&world.race()), open);
        }
    }

    #[test]
    fn failures_are_told_in_one_line() {
        let (one, other) = (closed([127, 0, 0, 1]), closed([127, 0, 0, 2]));
        let mut world = World::new(&[]);
        world.start(&[one, other]);
        assert_eq!(failure(&world.race()), format!("refused by {one}, refused by {other}"));
        world.start(&[]);
        assert_eq!(failure(&world.race()), "there is no address");
        let mut world = World::new(&["192.0.2.99".parse().unwrap()]);
        world.start(&[one]);
        assert_eq!(failure(&world.race()), format!("no address of ours to reach {one} from (see <bind>)"));
    }

    #[test]
    fn a_silent_address_has_a_head_start_and_no_more() {
        let (_socket, _waiting, silent) = silent();
        let (_listener, open) = listen("127.0.0.1:0");
        let mut world = World::new(&[]);
        world.start(&[silent, open]);
        assert!(world.advance().is_none());
        assert_eq!(world.dialer.attempts.len(), 1);
        assert_eq!(world.dialer.next_deadline(), Some(world.millis + STAGGER_MILLIS));
        world.millis += STAGGER_MILLIS;
        assert_eq!(peer_of(&world.race()), open);
        // Alone it is waited for, and refusals before it are told as well.
        let refused = closed([127, 0, 0, 1]);
        world.start(&[silent, refused]);
        assert!(world.advance().is_none());
        world.millis += STAGGER_MILLIS;
        assert!(world.advance().is_none());
        world.millis += PATIENCE_MILLIS;
        let why = world.advance().unwrap();
        assert!(failure(&why).contains(&format!("timeout at {silent}")), "{why:?}");
        assert!(world.dialer.attempts.is_empty());
        // However many there are, the end is bounded.
        world.start(&[silent; 40]);
        let begin = world.millis;
        let why = loop {
            if let Some(why) = world.advance() {
                break why;
            }
            world.millis = world.dialer.next_deadline().unwrap();
        };
        assert_eq!(failure(&why).matches("timeout").count(), ADDRESSES_MAX);
        assert!(world.millis - begin <= RACE_MILLIS);
    }

    #[test]
    fn it_comes_from_the_address_that_was_named() {
        let (listener, open) = listen("127.0.0.1:0");
        let mut world = World::new(&["::1".parse().unwrap(), "127.0.0.3".parse().unwrap()]);
        world.start(&[open]);
        let dialed = world.race();
        assert_eq!(peer_of(&dialed), open);
        assert_eq!(listener.accept().unwrap().1.ip().to_string(), "127.0.0.3");
    }

    #[test]
    fn who_is_wanted_no_longer_is_forgotten() {
        let (_socket, _waiting, silent) = silent();
        let mut world = World::new(&[]);
        world.start(&[silent]);
        assert!(world.advance().is_none());
        assert!(world.dialer.abandon(ID) && !world.dialer.abandon(ID));
        assert!(world.dialer.attempts.is_empty());
    }

    #[test]
    fn families_take_turns() {
        for (given, expected) in [
            ("", ""),
            ("1.1.1.1:1", "1.1.1.1:1"),
            ("[::1]:1 [::2]:1 1.1.1.1:1 1.1.1.2:1", "[::1]:1 1.1.1.1:1 [::2]:1 1.1.1.2:1"),
            ("1.1.1.1:1 1.1.1.2:1 1.1.1.3:1 [::1]:1", "1.1.1.1:1 [::1]:1 1.1.1.2:1 1.1.1.3:1"),
        ] {
            assert_eq!(interleave(&all(given)), all(expected));
        }
        assert_eq!(interleave(&[SocketAddr::from(([1, 1, 1, 1], 1)); 40]).len(), ADDRESSES_MAX);
    }
}
