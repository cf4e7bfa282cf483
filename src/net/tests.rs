//! The loop over real loopback sockets, with a small engine in the server's place that obeys one command per line.
//!
//! Nothing here waits for time to pass. Where a test must know that the loop has seen a thing, it asks for an echo on
//! another connection: its answer comes from a tick that began after the thing was in the kernel.

mod outgoing;
mod relays;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

use super::clock::{Clock, Dice};
use super::disk::Durable;
use super::dns::files::Files;
use super::engine::{Candidate, ClientTls, ConnectionId, Engine, Gone, HashJob, Input, Output, Tick, TlsInfo, Trust};
use super::event_loop::{Parts, Reloaded};
use super::listener::open_loopback;
use super::tls::{Certificate, Certificates, Settings};
use super::{Bounds, EventLoop, Signals, Surroundings, uninterrupted};
use crate::config::{Config, Karma, ListenerKind};
use crate::server::Unfound;
use crate::server::federation::FIRST_OUTGOING;
use crate::stream::sasl::Password;
use crate::xmpp::Now;

/// Only a broken loop makes a test wait this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the engine heard.
#[derive(Debug, PartialEq)]
enum Heard {
    Accepted(ConnectionId),
    Found(Result<Vec<Candidate>, Unfound>),
    Connected(SocketAddr),
    Secured(Secured),
    Line(String),
    Gone(String),
}

fn gone(reason: Gone) -> Heard {
    Heard::Gone(reason.to_string())
}

#[derive(Debug)]
struct Secured(TlsInfo);

/// Two handshakes are never the same.
impl PartialEq for Secured {
    fn eq(&self, _: &Secured) -> bool {
        false
    }
}

/// Obeys: `say X` echoes, `write X` echoes from a tick that wrote, `keep X` writes without a word, `fail` makes the
/// commit fail, `starttls`, `write-starttls`, `close`, `hash`, `many N` (bytes), `all N` (bytes, to every connection),
/// `drained` (says so when all has left), `taken` (is told before each word whether all was taken), `room` (says so when little waits), `owe` (works off, and writes, what all said
/// long before), `owe-fail` (the same, and the commit fails), `deaf` (it is not read any more), `hear` (all are read again),
/// `park` (an end of a file transfer), `join` and `join BYTES` (the last two that were parked), `find DOMAIN`,
/// `connect ADDRESS...`, `connect-tls ADDRESS...`, `tell LINE` and `hang-up` (on the last connection of its own);
/// anything else is echoed. On a connection of its own it obeys `proceed` only.
struct Puppet {
    heard: Sender<(ConnectionId, Heard)>,
    lines: HashMap<ConnectionId, Vec<u8>>,
    dialed: u64,
    parked: Vec<ConnectionId>,
    outputs: Vec<Output>,
    wrote: bool,
    fails: bool,
    tick: u64,
}

impl Puppet {
    fn new(heard: Sender<(ConnectionId, Heard)>) -> Puppet {
        let (lines, parked, outputs) = (HashMap::new(), Vec::new(), Vec::new());
        Puppet { heard, lines, dialed: 0, parked, outputs, wrote: false, fails: false, tick: 0 }
    }

    fn say(&mut self, id: ConnectionId, text: &str) {
        self.outputs.push(Output::Bytes { id, bytes: format!("{text}\n").into_bytes() });
    }

    fn obey(&mut self, id: ConnectionId, line: &str) {
        let _ = self.heard.send((id, Heard::Line(line.to_owned())));
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let own = ConnectionId(FIRST_OUTGOING + self.dialed);
        let names = ClientTls { remote: "localhost".to_owned(), local: "localhost".to_owned() };
        if id.0 >= FIRST_OUTGOING {
            if line == "proceed" {
                self.outputs.push(Output::StartTls { id, host: String::new(), client: Some(names) });
            }
            return;
        }
        match command {
            "connect" | "connect-tls" => {
                self.dialed += 1;
                let id = ConnectionId(FIRST_OUTGOING + self.dialed);
                self.lines.insert(id, Vec::new());
                let addresses = rest.split_whitespace().map(|address| address.parse().unwrap()).collect();
                let tls = (command == "connect-tls").then_some(names);
                self.outputs.push(Output::Connect { id, addresses, tls });
            }
            "find" => {
                let find = Output::Find { ticket: id.0, domain: rest.to_owned(), services: vec![String::new()] };
                self.outputs.push(find);
            }
            "deaf" => {
                self.outputs.push(Output::Hear { id, hears: false });
                self.say(id, "deaf");
            }
            "hear" => self.outputs.extend(self.lines.keys().map(|id| Output::Hear { id: *id, hears: true })),
            "park" => {
                self.say(id, "parked");
                self.outputs.push(Output::Park { id });
                self.parked.push(id);
            }
            "join" => {
                let (other, one) = (self.parked.pop().unwrap(), self.parked.pop().unwrap());
                self.outputs.push(Output::Join { one, other, bytes_per_second: rest.parse().ok() });
                self.say(id, "joined");
            }
            "tell" => self.say(own, rest),
            "hang-up" => self.outputs.push(Output::Close { id: own }),
            "say" => self.say(id, rest),
            "write" => {
                self.wrote = true;
                self.say(id, rest);
            }
            "keep" => self.wrote = true,
            "fail" => {
                self.fails = true;
                self.say(id, "never");
            }
            "starttls" | "write-starttls" => {
                self.wrote |= command == "write-starttls";
                self.say(id, "proceed");
                self.outputs.push(Output::StartTls { id, host: "localhost".to_owned(), client: None });
            }
            "close" => {
                self.say(id, "bye");
                self.outputs.push(Output::Close { id });
            }
            "hash" => {
                let password = Password::new("pencil").unwrap();
                self.outputs.push(Output::Hash(HashJob::derive(id.0, password, &mut Dice::new())));
            }
            "drained" => self.outputs.push(Output::TellDrained { id }),
            "taken" => self.outputs.push(Output::TellTaken { id, tells: true }),
            "room" => self.outputs.push(Output::TellRoom { id }),
            "owe" | "owe-fail" => {
                self.outputs.extend(self.lines.keys().map(|id| Output::Spoke { id: *id }));
                (self.wrote, self.fails) = (true, command == "owe-fail");
            }
            "many" | "all" => {
                let bytes = vec![b'x'; rest.parse().unwrap()];
                let ids: Vec<_> = if command == "all" { self.lines.keys().copied().collect() } else { vec![id] };
                for id in ids {
                    self.outputs.push(Output::Bytes { id, bytes: bytes.clone() });
                }
            }
            _ => self.say(id, line),
        }
    }
}

impl Engine for Puppet {
    fn handle(&mut self, _: Now, input: Input<'_>) {
        match input {
            Input::Accepted { id, .. } => {
                self.lines.insert(id, Vec::new());
                let _ = self.heard.send((id, Heard::Accepted(id)));
            }
            Input::Secured { id, tls } => {
                let _ = self.heard.send((id, Heard::Secured(Secured(tls))));
            }
            Input::Bytes { id, bytes } => {
                // In the tick in which it closed a connection a server may still hear of it.
                let Some(mut pending) = self.lines.remove(&id) else { return };
                pending.extend_from_slice(bytes);
                let rest = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                self.lines.insert(id, pending.split_off(rest));
                for line in String::from_utf8(pending).unwrap().lines() {
                    self.obey(id, line);
                }
            }
            Input::Gone { id, reason } => {
                if self.lines.remove(&id).is_some() {
                    let _ = self.heard.send((id, Heard::Gone(reason.to_owned())));
                }
            }
            Input::Word(_) => {}
            Input::Hashed(result) => {
                let id = ConnectionId(result.token);
                let _ = self.heard.send((id, Heard::Line("hashed".to_owned())));
                self.say(id, "hashed");
            }
            Input::Terminate => {
                self.outputs.extend(self.lines.keys().map(|id| Output::Close { id: *id }));
                self.lines.clear();
            }
            Input::Connected { id, peer } => {
                let _ = self.heard.send((id, Heard::Connected(peer)));
            }
            Input::Found { ticket, result } => {
                let _ = self.heard.send((ConnectionId(ticket), Heard::Found(result)));
            }
            Input::Drained { id } => self.say(id, "drained"),
            Input::Taken { id } => {
                let _ = self.heard.send((id, Heard::Line("taken".to_owned())));
            }
            Input::Room { id } => {
                let _ = self.heard.send((id, Heard::Line("there is room".to_owned())));
                self.say(id, "there is room");
            }
            Input::Timeout | Input::Reload(_) | Input::Control { .. } | Input::Told { .. } | Input::Reread { .. } => {}
            Input::Silent { .. } | Input::Watcher { .. } | Input::OutputQueued { .. } | Input::Unhearing { .. } => {}
        }
    }

    fn commit(&mut self) -> Result<Option<Tick>, String> {
        if std::mem::take(&mut self.fails) {
            return Err("as it was told".to_owned());
        }
        if !std::mem::take(&mut self.wrote) {
            return Ok(None);
        }
        self.tick += 1;
        Ok(Some(Tick(self.tick)))
    }

    fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    fn next_timeout(&self, _: Now) -> Option<Duration> {
        None
    }

    fn set_trust(&mut self, _: Box<dyn Trust>) {}
}

struct Nothing;

impl Surroundings for Nothing {
    fn reload(&mut self) -> Result<Reloaded, String> {
        Err("there is none".to_owned())
    }
    fn renewed_tls(&mut self) -> Option<Arc<Settings>> {
        None
    }
    fn renewed_trust(&mut self) -> Option<Box<dyn Trust>> {
        None
    }
    fn control_again(&mut self) -> Result<super::control::Opened, String> {
        Err("none here".to_owned())
    }

    fn metrics_again(&mut self) -> Result<super::control::Opened, String> {
        Err("none here".to_owned())
    }

    fn renewed_sockets(&mut self) -> Option<(super::control::Allowed, Option<super::control::Allowed>)> {
        None
    }
    fn outside(&mut self, _: crate::admin::Outside) -> crate::admin::Told {
        crate::admin::Told::Done
    }
    fn stopping(&mut self) {}
}

/// A disk whose syncs end when the test says so, and how it says.
struct GatedDisk(Mutex<Receiver<Result<(), String>>>);

impl Durable for GatedDisk {
    fn sync(&self) -> Result<(), String> {
        self.0.lock().unwrap().recv().unwrap_or(Ok(()))
    }
    fn checkpoint(&self) -> Result<(), String> {
        Ok(())
    }
}

fn gated_disk() -> (Arc<dyn Durable>, Sender<Result<(), String>>) {
    let (open, gate) = channel();
    (Arc::new(GatedDisk(Mutex::new(gate))), open)
}

/// A certificate for `localhost`, and its DER.
fn certificate() -> (Arc<Certificate>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let certificate = Certificate::from_pem(made.cert.pem().as_bytes(), key.as_bytes()).unwrap();
    (Arc::new(certificate), made.cert.der().to_vec())
}

/// A hundred bytes, and after more than that a rest of a beat.
const KARMA: Karma = Karma { init: 1, max: 1, inc: 1, dec: 1, penalty: -1, restore: 1, reset_meter: true };

struct Server {
    plain: SocketAddr,
    direct: SocketAddr,
    servers: SocketAddr,
    servers_direct: SocketAddr,
    slow: SocketAddr,
    proxy: SocketAddr,
    watch: SocketAddr,
    heard: Receiver<(ConnectionId, Heard)>,
    der: Vec<u8>,
    terminate: Arc<AtomicBool>,
    wake: UnixStream,
    thread: JoinHandle<io::Result<()>>,
}

impl Server {
    fn start(bounds: Bounds, disk: Option<Arc<dyn Durable>>) -> Server {
        let (tell, heard) = channel();
        let (certificate, der) = certificate();
        let kinds = [ListenerKind::C2s, ListenerKind::C2sTls, ListenerKind::S2s, ListenerKind::S2sTls];
        let mut ports: Vec<_> = kinds.into_iter().map(open_loopback).collect();
        ports.push(open_loopback(ListenerKind::C2s));
        Arc::get_mut(&mut ports[4].wanted).unwrap().karma = Some(KARMA);
        ports.push(open_loopback(ListenerKind::Bytestreams));
        ports.push(open_loopback(ListenerKind::Metrics));
        let [plain, direct, servers, servers_direct, slow, proxy, watch] =
            [0, 1, 2, 3, 4, 5, 6].map(|place: usize| ports[place].address);
        let (wake, woken) = UnixStream::pair().unwrap();
        woken.set_nonblocking(true).unwrap();
        let terminate = Arc::new(AtomicBool::new(false));
        let signals = Signals {
            terminate: Arc::clone(&terminate),
            reload: Arc::default(),
            wake: mio::net::UnixStream::from_std(woken),
        };
        let thread = std::thread::spawn(move || {
            let engine = Puppet::new(tell);
            let settings = Some(Arc::new(Settings::new(Certificates::new(certificate)).unwrap()));
            let surroundings = Box::new(Nothing);
            let clock = Clock::new();
            let config = Arc::new(Config::for_host("localhost"));
            EventLoop::new(Parts {
                engine,
                clock,
                bounds,
                config,
                files: 0,
                unacknowledged: |_| None,
                surroundings,
                signals,
                settings,
                ports,
                control: None,
                metrics: None,
                resolver: Files::new("/nonexistent", "/nonexistent"),
                disk,
            })?
            .run()
        });
        Server { plain, direct, servers, servers_direct, slow, proxy, watch, heard, der, terminate, wake, thread }
    }

    fn connect(&self) -> Client<TcpStream> {
        Client { stream: connect(self.plain), buffer: Vec::new() }
    }

    fn hear(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("the engine hears something").1
    }

    /// What the engine hears next that is not a line or a new connection.
    fn hear_news(&self) -> Heard {
        loop {
            match self.hear() {
                Heard::Line(_) | Heard::Accepted(_) => {}
                news => return news,
            }
        }
    }

    fn stop(mut self) -> io::Result<()> {
        self.terminate.store(true, Ordering::Release);
        self.wake.write_all(b"X").unwrap();
        self.thread.join().expect("the loop does not panic")
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

struct Client<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: Read + Write> Client<S> {
    fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            let mut part = [0; 4096];
            let count = uninterrupted(|| self.stream.read(&mut part)).unwrap();
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.buffer));
            self.buffer.extend_from_slice(&part[..count]);
        }
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    /// Everything up to the peer's clean end.
    fn rest(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.buffer);
        self.stream.read_to_end(&mut rest).unwrap();
        String::from_utf8(rest).unwrap()
    }
}

impl Client<TcpStream> {
    fn has_nothing_to_read(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let nothing = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).unwrap();
        nothing
    }

    fn secure(self, server: &Server, version: &'static rustls::SupportedProtocolVersion, alpn: &[&str]) -> TlsClient {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(server.der.clone().into()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        assert!(self.buffer.is_empty());
        Client { stream: rustls::StreamOwned::new(session, self.stream), buffer: Vec::new() }
    }
}

type TlsClient = Client<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>;

const VERSIONS: [(&rustls::SupportedProtocolVersion, &str); 2] =
    [(&rustls::version::TLS12, "TLSv1.2"), (&rustls::version::TLS13, "TLSv1.3")];

/// jabberd 1.4 watched its sockets with select, which knows no descriptor above 1023.
#[test]
fn more_connections_are_served_than_select_could_watch() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const CONNECTIONS: usize = 1_100;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < 3 * CONNECTIONS as u64 {
        println!("left out: a process may have {hard} files open here");
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let server = Server::start(Bounds::default(), None);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&format!("say {number}"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line(), number.to_string());
    }
    server.stop().unwrap();
    for mut client in clients {
        assert_eq!(client.rest(), "");
    }
}

#[test]
fn starttls_secures_a_live_connection() {
    for (version, protocol) in VERSIONS {
        let server = Server::start(Bounds::default(), None);
        let mut client = server.connect();
        assert_eq!(client.ask("starttls"), "proceed");
        let mut client = client.secure(&server, version, &["anything"]);
        assert_eq!(client.ask("say hidden"), "hidden");
        let Heard::Secured(Secured(info)) = server.hear_news() else { panic!("not secured") };
        assert_eq!(info.protocol, protocol);
        assert_eq!(info.sni.as_deref(), Some("localhost"));
        assert_eq!(info.alpn, None);
        assert!(!info.cipher.is_empty());
        // rcgen signs with ECDSA and SHA-256, so that is the hash of RFC 5929 §4.1.
        let hash = ring::digest::digest(&ring::digest::SHA256, &server.der);
        assert_eq!(info.end_point.as_deref(), Some(hash.as_ref()));
        let exported = client.stream.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        let expected = (protocol == "TLSv1.3").then(|| exported.unwrap());
        assert_eq!(info.exporter, expected);
        // read_to_end of rustls fails where the close_notify is missing.
        client.send("close");
        assert_eq!(client.rest(), "bye\n");
        server.stop().unwrap();
    }
}

#[test]
fn what_is_sent_between_starttls_and_proceed_is_never_heard() {
    let (disk, gate) = gated_disk();
    let server = Server::start(Bounds::default(), Some(disk));
    let (mut client, mut other) = (server.connect(), server.connect());
    // The answer waits for the disk, so that there is time for an attacker.
    client.send("write-starttls");
    while server.hear() != Heard::Line("write-starttls".to_owned()) {}
    client.send("say injected");
    assert_eq!(other.ask("say fence"), "fence");
    gate.send(Ok(())).unwrap();
    assert_eq!(client.line(), "proceed");
    let mut client = client.secure(&server, &rustls::version::TLS13, &[]);
    assert_eq!(client.ask("say secured"), "secured");
    assert_eq!(server.hear(), Heard::Line("say fence".to_owned()));
    assert!(matches!(server.hear(), Heard::Secured(_)));
    assert_eq!(server.hear(), Heard::Line("say secured".to_owned()));
    drop(gate);
    server.stop().unwrap();
}

#[test]
fn direct_tls_takes_clients_with_our_protocol_or_none() {
    let server = Server::start(Bounds::default(), None);
    for (offered, agreed) in [(&["xmpp-client"][..], Some(&b"xmpp-client"[..])), (&[], None)] {
        for (version, _) in VERSIONS {
            let client = Client { stream: connect(server.direct), buffer: Vec::new() };
            let mut client = client.secure(&server, version, offered);
            assert_eq!(client.ask("say hello"), "hello");
            let Heard::Secured(Secured(info)) = server.hear_news() else { panic!("not secured") };
            assert_eq!(info.alpn.as_deref(), agreed);
            drop(client);
            assert_eq!(server.hear_news(), gone(Gone::Eof));
        }
    }
    let client = Client { stream: connect(server.direct), buffer: Vec::new() };
    let mut client = client.secure(&server, &rustls::version::TLS13, &["http/1.1"]);
    let refused = client.stream.write_all(b"say hello\n").and_then(|()| client.stream.read(&mut [0]).map(|_| ()));
    assert!(refused.is_err());
    assert!(matches!(server.hear_news(), Heard::Gone(why) if why.starts_with("TLS failed")));
    server.stop().unwrap();
}

#[test]
fn what_is_not_tls_on_a_tls_port_is_refused() {
    let server = Server::start(Bounds::default(), None);
    let mut client = Client { stream: connect(server.direct), buffer: Vec::new() };
    client.send("<stream:stream to='localhost'>");
    assert_eq!(server.hear_news(), gone(Gone::Tls("the peer does not speak TLS here".to_owned())));
    let mut alert = Vec::new();
    client.stream.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&21), "a fatal alert (RFC 8446 §5.1)");
    server.stop().unwrap();
}

#[test]
fn a_handshake_has_its_time() {
    let server = Server::start(Bounds { handshake: Duration::from_millis(1), ..Bounds::default() }, None);
    let mut client = Client { stream: connect(server.direct), buffer: Vec::new() };
    assert_eq!(server.hear_news(), gone(Gone::Tls("no handshake in time".to_owned())));
    assert_eq!(client.rest(), "");
    server.stop().unwrap();
}

#[test]
fn the_bounds_are_those_of_jabber_xml() {
    let text = "<jabber><service id='sessions'><host>localhost</host></service><limits xmlns='urn:jabber:config:3'>\
                <connections-max>11</connections-max><accepts-per-tick>12</accepts-per-tick>\
                <read-bytes-per-tick>4097</read-bytes-per-tick><write-bytes-per-tick>4098</write-bytes-per-tick>\
                <output-bytes-max>70000</output-bytes-max><handshake-seconds>13</handshake-seconds>\
                <closing-seconds>14</closing-seconds><bytestream-idle-seconds>15</bytestream-idle-seconds></limits></jabber>";
    let config = Config::from_xml(text, &crate::config::Source::new("test.xml")).unwrap();
    let bounds = Bounds::new(&config.limits, u64::MAX);
    assert_eq!((bounds.connections, bounds.accepts), (11, 12));
    assert_eq!((bounds.read_bytes, bounds.write_bytes, bounds.output_bytes), (4_097, 4_098, 70_000));
    let seconds = [bounds.handshake, bounds.closing, bounds.relay_idle].map(|time| time.as_secs());
    assert_eq!(seconds, [13, 14, 15]);
    // Of few files, some are left for the rest of the server.
    assert_eq!(Bounds::new(&crate::config::Limits::default(), 1_024).connections, 960);
}

#[test]
fn all_who_come_at_once_come_in_though_a_few_at_a_time() {
    let server = Server::start(Bounds { accepts: 1, ..Bounds::default() }, None);
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("say {number}")), number.to_string());
    }
    server.stop().unwrap();
}

#[test]
fn who_does_not_close_its_side_is_waited_for_a_while() {
    let server = Server::start(Bounds { closing: Duration::from_millis(1), ..Bounds::default() }, None);
    let mut client = server.connect();
    client.send("close");
    assert_eq!(client.rest(), "bye\n");
    // Its own side is open still.
    assert_eq!(server.hear_news(), gone(Gone::Closed));
    server.stop().unwrap();
}

#[test]
fn output_is_held_until_its_tick_is_durable() {
    let (disk, gate) = gated_disk();
    let server = Server::start(Bounds::default(), Some(disk));
    let (mut writer, mut other) = (server.connect(), server.connect());
    writer.send("write first");
    while server.hear() != Heard::Line("write first".to_owned()) {}
    // A quiet tick's output of the same connection waits behind; that of others does not.
    writer.send("say second");
    assert_eq!(other.ask("say quiet"), "quiet");
    assert_eq!(other.ask("say fence"), "fence");
    assert!(writer.has_nothing_to_read());
    gate.send(Ok(())).unwrap();
    assert_eq!(writer.line(), "first");
    assert_eq!(writer.line(), "second");
    drop(gate);
    assert_eq!(writer.ask("write third"), "third");
    server.stop().unwrap();
}

#[test]
fn a_word_after_a_silent_write_waits_for_it() {
    let (disk, gate) = gated_disk();
    let server = Server::start(Bounds::default(), Some(disk));
    let (mut writer, mut other) = (server.connect(), server.connect());
    // As a message for somebody who is away, and then a ping: the pong tells that the message is kept.
    writer.send("keep message");
    while server.hear() != Heard::Line("keep message".to_owned()) {}
    assert_eq!(other.ask("say fence"), "fence");
    writer.send("say pong");
    while server.hear() != Heard::Line("say pong".to_owned()) {}
    assert_eq!(other.ask("say fence"), "fence");
    assert!(writer.has_nothing_to_read());
    gate.send(Ok(())).unwrap();
    assert_eq!(writer.line(), "pong");
    drop(gate);
    server.stop().unwrap();
}

/// What a peer said was worked off after a rest, and its ack left before the disk had it; if the disk refused it, the peer
/// was not told.
#[test]
fn a_word_after_what_was_written_late_did_not_wait_for_it() {
    let (disk, gate) = gated_disk();
    let server = Server::start(Bounds::default(), Some(disk));
    let (mut writer, mut other) = (server.connect(), server.connect());
    assert_eq!(writer.ask("say header"), "header");
    other.send("owe");
    while server.hear() != Heard::Line("owe".to_owned()) {}
    let mut fence = server.connect();
    writer.send("say pong");
    while server.hear() != Heard::Line("say pong".to_owned()) {}
    assert_eq!(fence.ask("say fence"), "fence");
    assert!(writer.has_nothing_to_read());
    gate.send(Ok(())).unwrap();
    assert_eq!(writer.line(), "pong");
    drop(gate);
    other.send("owe-fail");
    assert!(writer.rest().contains("<internal-server-error"));
    server.stop().unwrap();
}

#[test]
fn room_is_told_when_the_socket_has_taken_enough() {
    let server = Server::start(Bounds { output_bytes: 40_000_000, ..Bounds::default() }, None);
    let (mut client, mut other) = (server.connect(), server.connect());
    assert_eq!(client.ask("room"), "there is room");
    while server.hear() != Heard::Line("there is room".to_owned()) {}
    // More than the kernel holds.
    client.send("many 20000000\nroom");
    while server.hear() != Heard::Line("room".to_owned()) {}
    assert_eq!(other.ask("say fence"), "fence");
    assert_eq!(other.ask("say fence"), "fence");
    assert!(!server.heard.try_iter().any(|(_, heard)| heard == Heard::Line("there is room".to_owned())));
    let mut all = vec![0; 20_000_000];
    client.stream.read_exact(&mut all).unwrap();
    assert_eq!(client.line(), "there is room");
    server.stop().unwrap();
}

#[test]
fn what_the_disk_lost_was_told_to_nobody() {
    let (disk, gate) = gated_disk();
    let server = Server::start(Bounds::default(), Some(disk));
    let (mut writer, mut other) = (server.connect(), server.connect());
    assert_eq!(writer.ask("say header"), "header");
    writer.send("write lost");
    while server.hear() != Heard::Line("write lost".to_owned()) {}
    assert_eq!(other.ask("say fence"), "fence");
    gate.send(Err("no disk".to_owned())).unwrap();
    let last = writer.rest();
    assert!(last.starts_with("<stream:error><internal-server-error"), "{last}");
    assert!(last.ends_with("</stream:error></stream:stream>"), "{last}");
    assert_eq!(server.hear_news(), gone(Gone::NotDurable));
    assert_eq!(other.rest(), "");
    assert_eq!(server.thread.join().unwrap().unwrap_err().to_string(), "no disk");
}

#[test]
fn a_refused_commit_closes_who_asked_for_it() {
    let server = Server::start(Bounds::default(), None);
    let (mut client, mut other) = (server.connect(), server.connect());
    assert_eq!(client.ask("say header"), "header");
    client.send("fail");
    let last = client.rest();
    assert!(last.starts_with("<stream:error><internal-server-error") && !last.contains("never"), "{last}");
    assert_eq!(server.hear_news(), gone(Gone::NotDurable));
    assert_eq!(other.ask("say on"), "on");
    server.stop().unwrap();
}

#[test]
fn password_work_of_a_lost_tick_was_waited_for_ever() {
    let server = Server::start(Bounds::default(), None);
    let (mut client, mut other) = (server.connect(), server.connect());
    assert_eq!(other.ask("say on"), "on");
    client.send("hash\nfail");
    while server.hear() != Heard::Line("hashed".to_owned()) {}
    assert_eq!(client.rest(), "");
    assert_eq!(other.ask("say on"), "on");
    server.stop().unwrap();
}

#[test]
fn who_watches_was_closed_by_the_full_disk_that_it_asked_about() {
    let server = Server::start(Bounds::default(), None);
    let mut watcher = Client { stream: connect(server.watch), buffer: Vec::new() };
    // Asked in the tick that is lost.
    assert_eq!(watcher.ask("fail"), "never");
    assert_eq!(watcher.ask("say on"), "on");
    server.stop().unwrap();
}

#[test]
fn who_does_not_read_is_cut() {
    let bounds = Bounds { output_bytes: 100_000, ..Bounds::default() };
    let server = Server::start(bounds, None);
    let _deaf = server.connect();
    let mut talker = server.connect();
    // The kernel's buffers take some megabytes first; the talker reads all of its own.
    for _ in 0..1000 {
        talker.send("all 90000");
        let mut all = vec![0; 90_000];
        talker.stream.read_exact(&mut all).unwrap();
        if let Ok((_, Heard::Gone(reason))) = server.heard.try_recv() {
            assert_eq!(reason, Gone::Overflow.to_string());
            assert_eq!(talker.ask("say on"), "on");
            return server.stop().unwrap();
        }
    }
    panic!("never cut");
}

#[test]
fn the_server_hears_when_all_has_left_and_not_before() {
    // Little is written at a time, so that some of it waits.
    let bounds = Bounds { output_bytes: 20_000_000, write_bytes: 1000, ..Bounds::default() };
    let server = Server::start(bounds, None);
    let mut client = server.connect();
    // At once where nothing waits; and asked for once it is told once.
    assert_eq!(client.ask("drained"), "drained");
    assert_eq!(client.ask("say on"), "on");
    client.send("many 16000000\ndrained\nsay behind it");
    let mut all = vec![0; 16_000_000];
    client.stream.read_exact(&mut all).unwrap();
    assert_eq!(client.line(), "behind it");
    assert_eq!(client.line(), "drained");
    // The bytes of a tick that wrote wait for the disk first.
    client.send("write on disk\ndrained");
    assert_eq!((client.line(), client.line()), ("on disk".to_owned(), "drained".to_owned()));
    assert_eq!(client.ask("say on"), "on");
    server.stop().unwrap();
}

#[test]
fn who_asks_for_more_than_it_reads_is_not_read() {
    let bounds =
        Bounds { output_bytes: 200_000, output_bytes_before_pause: 20_000, read_bytes: 64, ..Bounds::default() };
    let server = Server::start(bounds, None);
    let mut client = server.connect();
    for _ in 0..1000 {
        client.send("many 20000");
    }
    let mut all = vec![0; 20_000_000];
    client.stream.read_exact(&mut all).unwrap();
    assert_eq!(client.ask("say still here"), "still here");
    server.stop().unwrap();
}

#[test]
fn more_than_a_budget_is_read_and_written_to_its_end() {
    // Edge-triggered: nothing tells again of what was left.
    let bounds = Bounds { read_bytes: 100, write_bytes: 1000, ..Bounds::default() };
    let server = Server::start(bounds, None);
    let mut greedy = server.connect();
    let word = "x".repeat(50_000);
    assert_eq!(greedy.ask(&format!("say {word}")), word);
    greedy.send(&"say a\n".repeat(1000));
    let mut other = server.connect();
    assert_eq!(other.ask("say b"), "b");
    for _ in 0..1000 {
        assert_eq!(greedy.line(), "a");
    }
    assert_eq!(greedy.line(), "");
    let mut secured = server.connect();
    assert_eq!(secured.ask("starttls"), "proceed");
    let mut secured = secured.secure(&server, &rustls::version::TLS13, &[]);
    assert_eq!(secured.ask(&format!("say {word}")), word);
    server.stop().unwrap();
}

#[test]
fn both_sides_may_close_first() {
    let server = Server::start(Bounds::default(), None);
    let mut closed = server.connect();
    closed.send("close\nsay too late");
    assert_eq!(closed.line(), "bye");
    assert_eq!(closed.rest(), "", "the end is clean though bytes came after it");
    drop(closed);
    assert_eq!(server.hear_news(), gone(Gone::Closed));

    let mut half = server.connect();
    half.send("say last words");
    half.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.rest(), "last words\n");
    assert_eq!(server.hear_news(), gone(Gone::Eof));

    let reset = server.connect();
    nix::sys::socket::setsockopt(
        &reset.stream,
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
    )
    .unwrap();
    drop(reset);
    assert!(matches!(server.hear_news(), Heard::Gone(_)));
    server.stop().unwrap();
}

#[test]
fn passwords_are_hashed_beside_the_loop() {
    let server = Server::start(Bounds::default(), None);
    assert_eq!(server.connect().ask("hash"), "hashed");
    server.stop().unwrap();
}

#[test]
fn who_is_out_of_karma_is_read_after_a_rest() {
    let server = Server::start(Bounds::default(), None);
    let mut stream = connect(server.slow);
    let begun = Instant::now();
    let line = format!("keep {}\n", "x".repeat(94));
    stream.write_all(line.repeat(3).as_bytes()).unwrap();
    let mut lines = 0;
    while lines < 3 {
        lines += usize::from(matches!(server.hear(), Heard::Line(_)));
    }
    assert!(begun.elapsed() > Duration::from_millis(1_500), "{:?}", begun.elapsed());
    server.stop().unwrap();
}

#[test]
fn who_is_not_heard_loses_nothing() {
    let server = Server::start(Bounds::default(), None);
    let (mut greedy, mut other) = (server.connect(), server.connect());
    assert_eq!(greedy.ask("deaf"), "deaf");
    greedy.send("one");
    greedy.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(other.ask("say x"), "x");
    assert_eq!(other.ask("say y"), "y");
    other.send("hear");
    assert_eq!(greedy.rest(), "one\n");
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line| line != "one") {
        if let Heard::Line(line) = server.hear() {
            heard.push(line);
        }
    }
    assert_eq!(heard, ["deaf", "say x", "say y", "hear", "one"]);
    assert_eq!(server.hear_news(), gone(Gone::Eof));
    server.stop().unwrap();
}

/// The peer's system answers what comes from now on with a reset.
fn vanish(stream: TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
}

/// The last words of another server that was not read for a while, and was written to when it had gone.
#[test]
fn what_a_server_said_before_it_left_was_lost() {
    let server = Server::start(Bounds::default(), None);
    let mut leaving = Client { stream: connect(server.servers), buffer: Vec::new() };
    let mut other = server.connect();
    assert_eq!(leaving.ask("deaf"), "deaf");
    leaving.send("keep last words");
    vanish(leaving.stream);
    assert_eq!(other.ask("say x"), "x");
    other.send("all 1\nsay y");
    assert_eq!(other.line(), "xy");
    assert_eq!(other.ask("say z"), "z");
    other.send("hear");
    loop {
        match server.hear() {
            Heard::Gone(reason) => panic!("{reason}, before it was heard"),
            Heard::Line(line) if line == "keep last words" => break,
            _ => {}
        }
    }
    assert!(matches!(server.hear_news(), Heard::Gone(why) if why.starts_with("connection lost")));
    server.stop().unwrap();
}

/// A connection whose goodbye was read when nothing could be written any more kept its place for `<closing-seconds>`.
#[test]
fn who_said_goodbye_and_hears_nothing_kept_a_place() {
    let bounds = Bounds { connections: 2, closing: Duration::from_secs(3_600), ..Bounds::default() };
    let server = Server::start(bounds, None);
    let (mut leaving, mut other) = (server.connect(), server.connect());
    assert_eq!(leaving.ask("starttls"), "proceed");
    let mut leaving = leaving.secure(&server, &rustls::version::TLS13, &[]);
    assert_eq!(leaving.ask("say on"), "on");
    assert!(matches!(server.hear_news(), Heard::Secured(_)));
    let rustls::StreamOwned { conn, sock } = &mut leaving.stream;
    conn.writer().write_all(b"deaf\n").unwrap();
    conn.send_close_notify();
    let mut wire = Vec::new();
    while conn.wants_write() {
        conn.write_tls(&mut wire).unwrap();
    }
    sock.write_all(&wire).unwrap();
    while server.hear() != Heard::Line("deaf".to_owned()) {}
    vanish(leaving.stream.sock);
    assert_eq!(other.ask("say x"), "x");
    other.send("all 1\nsay y");
    assert_eq!(other.line(), "xy");
    assert_eq!(other.ask("say z"), "z");
    other.send("hear");
    assert!(matches!(server.hear_news(), Heard::Gone(why) if why.starts_with("connection lost")));
    assert_eq!(server.connect().ask("say there is a place"), "there is a place");
    server.stop().unwrap();
}

#[test]
fn the_goodbye_of_tls_does_not_overtake_what_was_said_before_it() {
    for (version, _) in VERSIONS {
        let server = Server::start(Bounds::default(), None);
        let mut greedy = server.connect();
        assert_eq!(greedy.ask("starttls"), "proceed");
        let (mut greedy, mut other) = (greedy.secure(&server, version, &[]), server.connect());
        assert_eq!(greedy.ask("say on"), "on");
        // Both are read at once.
        let rustls::StreamOwned { conn, sock } = &mut greedy.stream;
        conn.writer().write_all(b"deaf\n").unwrap();
        conn.send_close_notify();
        let mut wire = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut wire).unwrap();
        }
        sock.write_all(&wire).unwrap();
        assert_eq!(other.ask("say x"), "x");
        assert_eq!(other.ask("say y"), "y");
        other.send("hear");
        loop {
            match server.hear() {
                Heard::Gone(reason) => panic!("{reason}, before it was heard"),
                Heard::Line(line) if line == "hear" => break,
                _ => {}
            }
        }
        assert_eq!(server.hear_news(), gone(Gone::Eof));
        server.stop().unwrap();
    }
}

#[test]
fn what_was_said_before_the_line_broke_is_heard_although_nothing_can_be_answered() {
    let server = Server::start(Bounds::default(), None);
    let (mut gone, mut other) = (server.connect(), server.connect());
    assert_eq!(gone.ask("deaf"), "deaf");
    gone.send("one");
    drop(gone);
    // What is sent to who is gone is answered by a reset, and then there is nothing to write to.
    for _ in 0..5 {
        other.send("all 1");
        other.stream.read_exact(&mut [0]).unwrap();
    }
    other.send("hear");
    let mut lines = Vec::new();
    loop {
        match server.hear() {
            Heard::Line(line) => lines.push(line),
            Heard::Gone(_) => break,
            _ => {}
        }
    }
    assert_eq!(lines[lines.len() - 2..], ["hear", "one"], "{lines:?}");
    server.stop().unwrap();
}

#[test]
fn the_server_hears_before_a_word_that_all_before_was_taken() {
    let taken = || Heard::Line("taken".to_owned());
    let line = |text: &str| Heard::Line(text.to_owned());
    let server = Server::start(Bounds::default(), None);
    let news = |count: usize| (0..count).map(|_| server.hear()).collect::<Vec<_>>();
    let mut client = server.connect();
    assert_eq!(client.ask("say before it is asked for"), "before it is asked for");
    assert_eq!(client.ask("taken\nsay on"), "on");
    client.send("word");
    assert_eq!(client.line(), "word");
    // The end of its side is a word, too.
    drop(client);
    assert!(matches!(server.hear(), Heard::Accepted(_)));
    assert_eq!(news(3), [line("say before it is asked for"), line("taken"), line("say on")]);
    assert_eq!(news(4), [taken(), line("word"), taken(), Heard::Gone(Gone::Eof.to_string())]);
    // Who did not read all took nothing.
    let mut client = server.connect();
    client.send("taken\nsay unread");
    uninterrupted(|| client.stream.peek(&mut [0])).unwrap();
    drop(client);
    assert!(matches!(server.hear(), Heard::Accepted(_)));
    assert_eq!(news(2), [line("taken"), line("say unread")]);
    let Heard::Gone(reason) = server.hear() else { panic!("taken") };
    assert_ne!(reason, Gone::Eof.to_string());
    server.stop().unwrap();
}

/// What the system tells of the socket decides; where it tells nothing, what it took.
#[test]
fn what_the_other_end_has_not_acknowledged_is_not_taken() {
    use super::socket::Socket;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = mio::net::TcpStream::from_std(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let _other = listener.accept().unwrap();
    let socket = Socket::from(one);
    let rows: [(super::socket::Unacknowledged, bool); 3] =
        [(|_| None, true), (|_| Some(0), true), (|_| Some(1), false)];
    for (unacknowledged, taken) in rows {
        assert_eq!(socket.has_taken_all(unacknowledged), taken);
    }
}
