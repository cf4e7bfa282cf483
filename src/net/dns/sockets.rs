//! The resolver with its sockets, as the loop uses it: one new socket per exchange, connected to the server asked, so that
//! the kernel chooses a random port and lets nobody else's datagrams in.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::event::Event;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::Bounds;
use super::files::Files;
use super::find::Resolver;
use super::found::{Candidate, FindError};
use super::lookups::{Action, Transport};
use crate::xmpp::{Now, Random};

/// How many tokens the resolver takes, from the first one given to it: its sockets at once.
pub const TOKENS: usize = 64;
/// More than we allow a server to send in a datagram; longer ones are cut, and then unreadable.
const DATAGRAM_MAX: usize = 4096;
/// The longest message over TCP that is taken; answers of use are far shorter.
const MESSAGE_MAX: usize = 16 << 10;

/// The resolver of the loop.
///
/// The loop calls [`Dns::find`] for each domain, [`Dns::handle_event`] for each event with one of its tokens,
/// [`Dns::poll_timeouts`] once per tick, and then hands on what [`Dns::take_found`] has. It sleeps no longer than until
/// [`Dns::next_deadline`].
#[derive(Debug)]
pub struct Dns {
    resolver: Resolver,
    files: Files,
    bounds: Bounds,
    first_token: usize,
    sockets: Slab<Socket>,
    places: HashMap<u64, usize>,
}

#[derive(Debug)]
struct Socket {
    exchange: u64,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    Udp(UdpSocket),
    Tcp { stream: TcpStream, unsent: Vec<u8>, got: Vec<u8> },
}

/// What a ready socket brought.
enum Ready {
    Message(Vec<u8>),
    Nothing,
    Broken(String),
}

impl Dns {
    /// A resolver whose sockets have the [`TOKENS`] tokens from `first_token` on; reads the files.
    pub fn new(first_token: usize, cache_seconds: u64, mut files: Files) -> Dns {
        let bounds = Bounds::new(cache_seconds);
        let resolver = Resolver::new(files.read(), bounds);
        Dns { resolver, files, bounds, first_token, sockets: Slab::new(), places: HashMap::new() }
    }

    /// The configuration was read again: the files are, too, and what was kept is forgotten.
    pub fn reload(&mut self, cache_seconds: u64) {
        self.bounds = Bounds::new(cache_seconds);
        let settings = self.files.read();
        self.resolver.reload(settings, self.bounds);
    }

    /// Looks for a domain's server; see [`Resolver::find`]. The result may be there at once.
    pub fn find(
        &mut self,
        registry: &Registry,
        now: Now,
        random: &mut dyn Random,
        ticket: u64,
        domain: &str,
        services: &[String],
    ) {
        if let Some(settings) = self.files.changed(now) {
            self.resolver.reload(settings, self.bounds);
        }
        self.resolver.find(now, random, ticket, domain, services);
        self.act(registry, now, random);
    }

    /// Is this token one of the resolver's?
    pub fn owns(&self, token: Token) -> bool {
        (self.first_token..self.first_token + TOKENS).contains(&token.0)
    }

    /// Takes what came on a socket. Events of other tokens are none of its business, late ones of closed sockets do no harm.
    pub fn handle_event(&mut self, registry: &Registry, now: Now, random: &mut dyn Random, event: &Event) {
        let Some(place) = event.token().0.checked_sub(self.first_token) else { return };
        // A datagram that is not the answer leaves the socket open, and the next may wait behind it; the resolver closes
        // after a few of them.
        while let Some(socket) = self.sockets.get_mut(place) {
            let exchange = socket.exchange;
            match socket.ready() {
                Ready::Message(bytes) => self.resolver.received(now, random, exchange, &bytes),
                Ready::Broken(why) => self.resolver.failed(now, random, exchange, &why),
                Ready::Nothing => break,
            }
            self.act(registry, now, random);
            // Its place may be another's by now, who has had no event yet: asking once more is harmless.
        }
    }

    /// Gives up what took too long, and asks elsewhere.
    pub fn poll_timeouts(&mut self, registry: &Registry, now: Now, random: &mut dyn Random) {
        self.resolver.timeout(now, random);
        self.act(registry, now, random);
    }

    /// When [`Dns::poll_timeouts`] must be called, in monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.resolver.next_deadline()
    }

    /// What was found since the last call, by ticket.
    pub fn take_found(&mut self) -> Vec<(u64, Result<Vec<Candidate>, FindError>)> {
        self.resolver.take_found()
    }

    /// Does what the resolver wants done. Each failure makes it want something else, a bounded number of times.
    fn act(&mut self, registry: &Registry, now: Now, random: &mut dyn Random) {
        loop {
            let actions = self.resolver.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                match action {
                    Action::Drop { exchange } => self.close(registry, exchange),
                    Action::Ask { exchange, server, transport, bytes } => {
                        if let Err(error) = self.open(registry, exchange, server, transport, &bytes) {
                            self.resolver.failed(now, random, exchange, &trouble(&error));
                        }
                    }
                }
            }
        }
    }

    fn open(
        &mut self,
        registry: &Registry,
        exchange: u64,
        server: SocketAddr,
        transport: Transport,
        bytes: &[u8],
    ) -> io::Result<()> {
        let entry = self.sockets.vacant_entry();
        if entry.key() >= TOKENS {
            return Err(io::Error::other("was not asked: too many sockets"));
        }
        let token = Token(self.first_token + entry.key());
        let wire = match transport {
            Transport::Udp => {
                let any = match server {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let mut socket = UdpSocket::bind(any)?;
                socket.connect(server)?;
                registry.register(&mut socket, token, Interest::READABLE)?;
                match socket.send(bytes) {
                    // A datagram that found no room is a lost one, and lost ones are sent again.
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    _ => Wire::Udp(socket),
                }
            }
            Transport::Tcp => {
                let mut stream = TcpStream::connect(server)?;
                registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                // RFC 1035 §4.2.2: two octets of length go before the message.
                let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
                let mut unsent = length.to_be_bytes().to_vec();
                unsent.extend_from_slice(bytes);
                Wire::Tcp { stream, unsent, got: Vec::new() }
            }
        };
        self.places.insert(exchange, entry.key());
        entry.insert(Socket { exchange, wire });
        Ok(())
    }

    fn close(&mut self, registry: &Registry, exchange: u64) {
        let Some(place) = self.places.remove(&exchange) else { return };
        let Some(mut socket) = self.sockets.try_remove(place) else { return };
        // Closing takes it out of the poll as well; mio wants to be told.
        let _ = match &mut socket.wire {
            Wire::Udp(socket) => registry.deregister(socket),
            Wire::Tcp { stream, .. } => registry.deregister(stream),
        };
    }
}

impl Socket {
    fn ready(&mut self) -> Ready {
        match &mut self.wire {
            Wire::Udp(socket) => {
                let mut buffer = vec![0; DATAGRAM_MAX];
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        buffer.truncate(length);
                        Ready::Message(buffer)
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                        Ready::Nothing
                    }
                    Err(error) => Ready::Broken(trouble(&error)),
                }
            }
            Wire::Tcp { stream, unsent, got } => match talk(stream, unsent, got) {
                Ok(Some(message)) => Ready::Message(message),
                Ok(None) => Ready::Nothing,
                Err(error) => Ready::Broken(format!("failed over TCP: {error}")),
            },
        }
    }
}

/// Sends and reads what can be sent and read; a whole message is handed out.
fn talk(stream: &mut TcpStream, unsent: &mut Vec<u8>, got: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    while !unsent.is_empty() {
        match stream.write(unsent) {
            Ok(count) => drop(unsent.drain(..count.min(unsent.len()))),
            // Not connected yet.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                return stream.take_error()?.map_or(Ok(None), Err);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut buffer = [0; 2048];
    loop {
        if let Some((head, rest)) = got.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*head));
            if length > MESSAGE_MAX {
                return Err(io::Error::other(format!("its answer has {length} bytes")));
            }
            if let Some(message) = rest.get(..length) {
                return Ok(Some(message.to_vec()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("it closed the connection")),
            Ok(count) => got.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Completes "the DNS server x …".
fn trouble(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refuses questions".to_owned(),
        ErrorKind::Other => error.to_string(),
        _ => format!("cannot be asked: {error}"),
    }
}
