//! The world around the servers: wires on which bytes are under way, a clock, disks that are slow, processes that die.
//!
//! It does what `net/` does: several inputs make a tick, what a tick says waits until what it wrote is durable, and
//! nobody knows what comes first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use jabber::config::{Config, Listener, ListenerKind, Place as Line, PlainLogin, Source, StartTls};
use jabber::server::{Candidate, ConnectionId, Input, Output, Server, TlsInfo, Unfound};
use jabber::stream::sasl::HashJob;
use jabber::xml::reader::{Event, Limits, Reader};
use jabber::xmpp::Now;

use crate::dice::Dice;
use crate::disk::{Crash, Storage};
use crate::trust::NamesAreCertificates;

/// Bounds that no honest server comes near.
pub const WIDE: Limits =
    Limits { frame_bytes: 1 << 26, depth: 1_000, elements: 1 << 20, attributes: 1_000, name_bytes: 10_000 };

/// An end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A connection of a client, or of a test that plays a server.
    Client(usize),
    /// A connection as a server numbers it.
    Node(usize, ConnectionId),
}

/// What is under way on a wire.
pub enum Piece {
    Accepted(SocketAddr, bool),
    Bytes(Vec<u8>),
    Secured(Box<TlsInfo>),
    End,
}

/// What a server said that has not left yet.
enum Held {
    Bytes(Vec<u8>),
    StartTls(Option<(String, String)>),
    Close,
}

struct Wire {
    ends: [Place; 2],
    attached: [bool; 2],
    /// What is under way to each end.
    lanes: [VecDeque<Piece>; 2],
    /// What servers say to each other is read along.
    readers: Option<[Reader; 2]>,
}

/// One server.
pub struct Node {
    pub hosts: Vec<String>,
    pub config: Arc<Config>,
    /// None while it is down.
    pub server: Option<Server>,
    pub certificates: bool,
    storage: Storage,
    listeners: [Arc<Listener>; 2],
    kept: Option<jabber::store::Store>,
    lives: u64,
    /// What waits for the disk. All of it leaves with the next sync.
    held: BTreeMap<ConnectionId, VecDeque<Held>>,
    hashing: VecDeque<HashJob>,
    finding: VecDeque<(u64, String)>,
    dialing: VecDeque<(ConnectionId, SocketAddr)>,
    gone: VecDeque<ConnectionId>,
    /// What comes from these is not read for now.
    unheard: BTreeSet<ConnectionId>,
}

/// What happened that those who play must know.
#[derive(Debug)]
pub enum News {
    /// Bytes reached a client.
    Heard(usize, Vec<u8>),
    /// TLS begins on a connection that a server opened to the test.
    Secured(usize),
    /// A client's connection ended.
    Ended(usize),
    /// A server knows of no connection of this client any more: what it did not handle it never will.
    Forgotten(usize),
    /// A client's connection broke in the tick in which it had said something, perhaps that it is available: what
    /// waited for it was given to it then.
    Broke(usize),
    /// Bytes that never arrive: to a client, or between servers.
    Lost { to_client: bool, bytes: Vec<u8> },
}

pub struct World {
    pub now: Now,
    pub dice: Dice,
    pub nodes: Vec<Node>,
    pub news: VecDeque<News>,
    pub fault: Option<String>,
    /// Counts everything that happens.
    pub clock: u64,
    wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    next_id: u64,
    names: BTreeMap<String, usize>,
    /// A domain that nobody serves but the test, and the connections to it that servers opened, by the number that
    /// the next one gets.
    pub outside: Option<(String, usize)>,
    trace: bool,
    /// What the server at hand heard in this tick, and whether a connection broke in it.
    said: Vec<u8>,
    lost_one: bool,
}

/// Where input for a server can come from.
enum Origin {
    Lane(u64, usize),
    Hash,
    Find,
    Dial,
    Gone,
}

/// Where the outside domain is.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99));

fn address(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(node + 1).unwrap()))
}

impl World {
    pub fn new(seed: u64) -> World {
        World {
            now: Now { unix_millis: 1_767_323_045_000, monotonic_millis: 1_000_000 },
            dice: Dice::new(seed),
            nodes: Vec::new(),
            news: VecDeque::new(),
            fault: None,
            clock: 0,
            wires: BTreeMap::new(),
            next_wire: 0,
            next_id: 1,
            names: BTreeMap::new(),
            outside: None,
            trace: std::env::var_os("SIM_TRACE").is_some(),
            said: Vec::new(),
            lost_one: false,
        }
    }

    /// Adds a server; `limits` are children of jabber.xml's `<limits>`.
    pub fn add_node(&mut self, hosts: &[&str], limits: &str, certificates: bool, files: Option<&str>) {
        let domains: String = hosts.iter().map(|host| format!("<host>{host}</host>")).collect();
        let text = format!(
            "<jabber><service id='sessions'>{domains}<jsm xmlns='jabber:config:jsm'><register/></jsm></service>\
             <service id='s2s'><load><dialback/></load><dialback xmlns='jabber:config:dialback'/></service>\
             <service id='dnsrv'><host/><load><dnsrv/></load><dnsrv xmlns='jabber:config:dnsrv'/></service>\
             <limits xmlns='urn:jabber:config:3'>{limits}</limits></jabber>"
        );
        let config = Config::from_xml(&text, &Source::new("sim.xml")).unwrap_or_else(|error| panic!("{error}"));
        let place = || Line::whole(PathBuf::from("sim.xml"));
        let mut clients = Listener::new(ListenerKind::C2s, 5222, place());
        clients.plain_logins.push(PlainLogin { networks: Vec::new(), start_tls: StartTls::Hidden });
        let servers = Listener::new(ListenerKind::S2s, 5269, place());
        let (storage, store) = match files {
            None => Storage::in_memory(),
            Some(name) => Storage::on_files(name),
        };
        for host in hosts {
            self.names.insert(host.to_string(), self.nodes.len());
        }
        self.nodes.push(Node {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            config: Arc::new(config),
            server: None,
            certificates,
            storage,
            listeners: [Arc::new(clients), Arc::new(servers)],
            kept: Some(store),
            lives: 0,
            held: BTreeMap::new(),
            hashing: VecDeque::new(),
            finding: VecDeque::new(),
            dialing: VecDeque::new(),
            gone: VecDeque::new(),
            unheard: BTreeSet::new(),
        });
        self.start(self.nodes.len() - 1);
    }

    /// Starts a server that is down, on what the last one left.
    pub fn start(&mut self, node: usize) {
        let now = self.now_of(node);
        let own = &mut self.nodes[node];
        let Some(store) = own.kept.take() else { return };
        own.lives += 1;
        let dice = Box::new(Dice::new(self.dice.next()));
        let mut server = Server::new(own.config.clone(), store, dice, now).unwrap();
        server.set_trust(Box::new(NamesAreCertificates(own.certificates)));
        own.server = Some(server);
        self.log(|| format!("node {node} starts"));
    }

    /// Each process has a monotonic clock of its own.
    pub fn now_of(&self, node: usize) -> Now {
        let life = self.nodes[node].lives;
        Now {
            unix_millis: self.now.unix_millis,
            monotonic_millis: self.now.monotonic_millis + 7_000 * life + node as u64,
        }
    }

    pub fn node_of(&self, host: &str) -> Option<usize> {
        self.names.get(host).copied()
    }

    fn log(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("[{}] {}", self.clock, line());
        }
    }

    pub fn note(&self, line: impl FnOnce() -> String) {
        self.log(line);
    }

    fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    fn wire(&mut self, ends: [Place; 2]) -> u64 {
        self.next_wire += 1;
        let reads_along = ends.iter().all(|end| matches!(end, Place::Node(..)));
        let readers = reads_along.then(|| [Reader::new(WIDE), Reader::new(WIDE)]);
        let lanes = [VecDeque::new(), VecDeque::new()];
        self.wires.insert(self.next_wire, Wire { ends, attached: [true; 2], lanes, readers });
        self.next_wire
    }

    /// Somebody outside connects to a server; false while it is down.
    pub fn connect(&mut self, client: usize, node: usize, as_server: bool) -> bool {
        if self.nodes[node].server.is_none() {
            return false;
        }
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let wire = self.wire([Place::Client(client), Place::Node(node, id)]);
        let ip = Ipv4Addr::new(10, self.dice.below(256) as u8, self.dice.below(256) as u8, 1);
        let piece = Piece::Accepted(SocketAddr::new(IpAddr::V4(ip), 40_000), as_server);
        self.wires.get_mut(&wire).unwrap().lanes[1].push_back(piece);
        true
    }

    fn end_of(&self, place: Place) -> Option<(u64, usize)> {
        self.wires.iter().find_map(|(number, wire)| {
            (0..2).find(|side| wire.ends[*side] == place && wire.attached[*side]).map(|side| (*number, side))
        })
    }

    /// Somebody outside sends bytes; they arrive in pieces.
    pub fn say(&mut self, client: usize, bytes: &[u8]) {
        let Some((wire, side)) = self.end_of(Place::Client(client)) else { return };
        self.log(|| format!("client {client}: {}", String::from_utf8_lossy(bytes)));
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = if self.dice.chance(85) { rest.len() } else { 1 + self.dice.below(rest.len()) };
            let (piece, more) = rest.split_at(length);
            self.put(wire, 1 - side, Piece::Bytes(piece.to_vec()));
            rest = more;
        }
    }

    /// Somebody outside hangs up; a rude one takes back what has not arrived.
    pub fn hang_up(&mut self, client: usize, rudely: bool) {
        if let Some((wire, side)) = self.end_of(Place::Client(client)) {
            self.log(|| format!("client {client} hangs up"));
            self.detach(wire, side, rudely);
        }
    }

    /// TLS begins on a connection of somebody outside, in whose pieces it stands.
    pub fn secure(&mut self, client: usize, name: &str) {
        if let Some((wire, side)) = self.end_of(Place::Client(client)) {
            self.put(wire, 1 - side, Piece::Secured(tls(name)));
        }
    }

    fn put(&mut self, wire: u64, side: usize, piece: Piece) {
        let Some(own) = self.wires.get_mut(&wire) else { return };
        if !own.attached[side] {
            if let Piece::Bytes(bytes) = piece {
                let to_client = matches!(own.ends[side], Place::Client(_));
                self.news.push_back(News::Lost { to_client, bytes });
            }
            return;
        }
        if let (Some(readers), Piece::Bytes(bytes)) = (&mut own.readers, &piece) {
            if let Err(fault) = read_along(readers, side, bytes) {
                let text = String::from_utf8_lossy(bytes).into_owned();
                self.fault.get_or_insert(format!("between servers: {fault}: {text}"));
            }
        }
        if let (Some(readers), Piece::Secured(_)) = (&mut own.readers, &piece) {
            readers[side] = Reader::new(WIDE);
        }
        own.lanes[side].push_back(piece);
    }

    /// An end lets go of a wire: what was under way to it is lost, the other end hears of it after what is under way
    /// to that one.
    fn detach(&mut self, wire: u64, side: usize, rudely: bool) {
        let Some(own) = self.wires.get_mut(&wire) else { return };
        if !std::mem::replace(&mut own.attached[side], false) {
            return;
        }
        let mut lost: Vec<(usize, Piece)> = own.lanes[side].drain(..).map(|piece| (side, piece)).collect();
        let other = 1 - side;
        if rudely {
            let rude = own.lanes[other].drain(..);
            let (first, rest): (Vec<_>, Vec<_>) = rude.partition(|piece| matches!(piece, Piece::Accepted(..)));
            lost.extend(rest.into_iter().map(|piece| (other, piece)));
            own.lanes[other].extend(first);
        }
        let places = own.ends;
        if own.attached[other] {
            own.lanes[other].push_back(Piece::End);
        }
        for (side, piece) in lost {
            if let Piece::Bytes(bytes) = piece {
                let to_client = matches!(places[side], Place::Client(_));
                self.news.push_back(News::Lost { to_client, bytes });
            }
        }
        if let (Place::Node(..), Place::Client(client)) = (places[side], places[other]) {
            self.news.push_back(News::Forgotten(client));
        }
        if self.wires[&wire].attached == [false; 2] {
            self.wires.remove(&wire);
        }
    }

    /// A random thing that is under way arrives somewhere. False if nothing is.
    pub fn step(&mut self) -> bool {
        self.clock += 1;
        let to_clients = |place: &Place| matches!(place, Place::Client(_));
        let mut lanes: Vec<(u64, usize)> = Vec::new();
        let mut nodes: Vec<usize> = Vec::new();
        for (number, wire) in &self.wires {
            for side in 0..2 {
                if wire.lanes[side].is_empty() {
                    continue;
                }
                match wire.ends[side] {
                    place if to_clients(&place) => lanes.push((*number, side)),
                    Place::Node(node, id) if !self.nodes[node].unheard.contains(&id) => nodes.push(node),
                    Place::Node(..) | Place::Client(_) => {}
                }
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let waits = !node.hashing.is_empty() || !node.finding.is_empty() || !node.dialing.is_empty();
            if waits || !node.gone.is_empty() {
                nodes.push(index);
            }
        }
        let unsynced: Vec<usize> = (0..self.nodes.len()).filter(|node| !self.nodes[*node].held.is_empty()).collect();
        let total = lanes.len() + nodes.len();
        if total == 0 && unsynced.is_empty() {
            return false;
        }
        if total == 0 || (!unsynced.is_empty() && self.dice.chance(25)) {
            let node = *self.dice.pick(&unsynced);
            self.sync(node);
            return true;
        }
        match self.dice.below(total) {
            place if place < lanes.len() => self.arrive(lanes[place]),
            place => self.tick(nodes[place - lanes.len()]),
        }
        true
    }

    fn arrive(&mut self, (number, side): (u64, usize)) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let Place::Client(client) = wire.ends[side] else { return };
        match wire.lanes[side].pop_front() {
            Some(Piece::Bytes(bytes)) => {
                self.log(|| format!("to client {client}: {}", String::from_utf8_lossy(&bytes)));
                self.news.push_back(News::Heard(client, bytes));
            }
            Some(Piece::End) => {
                self.detach(number, side, false);
                self.news.push_back(News::Ended(client));
            }
            Some(Piece::Secured(_)) => self.news.push_back(News::Secured(client)),
            _ => {}
        }
    }

    fn sources(&self, node: usize) -> Vec<Origin> {
        let own = &self.nodes[node];
        let mut all = Vec::new();
        for (number, wire) in &self.wires {
            for side in 0..2 {
                let is_heard = |id| !own.unheard.contains(&id);
                let is_own = matches!(wire.ends[side], Place::Node(at, id) if at == node && is_heard(id));
                if is_own && !wire.lanes[side].is_empty() {
                    all.push(Origin::Lane(*number, side));
                }
            }
        }
        all.extend((!own.hashing.is_empty()).then_some(Origin::Hash));
        all.extend((!own.finding.is_empty()).then_some(Origin::Find));
        all.extend((!own.dialing.is_empty()).then_some(Origin::Dial));
        all.extend((!own.gone.is_empty()).then_some(Origin::Gone));
        all
    }

    /// A turn of a server's loop: one to three inputs, a commit.
    fn tick(&mut self, node: usize) {
        if self.nodes[node].server.is_none() {
            return;
        }
        let mut spoke = Vec::new();
        self.said.clear();
        self.lost_one = false;
        for _ in 0..=self.dice.below(3) {
            let mut sources = self.sources(node);
            if sources.is_empty() {
                break;
            }
            let source = sources.swap_remove(self.dice.below(sources.len()));
            self.input_from(node, &source, &mut spoke);
        }
        if self.lost_one {
            // What was written to a client in the tick in which its connection broke never left the server.
            let bytes = std::mem::take(&mut self.said);
            self.news.push_back(News::Lost { to_client: true, bytes });
        }
        self.end_tick(node, spoke);
    }

    fn input_from(&mut self, node: usize, source: &Origin, spoke: &mut Vec<ConnectionId>) {
        match source {
            Origin::Lane(wire, side) => {
                let Some(own) = self.wires.get_mut(wire) else { return };
                let Place::Node(_, id) = own.ends[*side] else { return };
                let peer = own.ends[1 - *side];
                let Some(piece) = own.lanes[*side].pop_front() else { return };
                match piece {
                    Piece::Accepted(peer, as_server) => {
                        let listener = self.nodes[node].listeners[usize::from(as_server)].clone();
                        self.handle(node, Input::Accepted { id, listener: &listener, peer });
                    }
                    Piece::Bytes(bytes) => {
                        spoke.push(id);
                        self.said.extend_from_slice(&bytes);
                        self.log(|| format!("node {node} #{:x} hears: {}", id.0, String::from_utf8_lossy(&bytes)));
                        self.handle(node, Input::Bytes { id, bytes: &bytes });
                    }
                    Piece::Secured(tls) => self.handle(node, Input::Secured { id, tls: *tls }),
                    Piece::End => {
                        self.lost_one = true;
                        self.log(|| format!("node {node} #{:x} hears the end", id.0));
                        if let (true, Place::Client(client)) = (spoke.contains(&id), peer) {
                            self.news.push_back(News::Broke(client));
                        }
                        self.handle(node, Input::Gone { id, reason: "end of stream" });
                        self.drop_held(node, id);
                        self.detach(*wire, *side, false);
                    }
                }
            }
            Origin::Hash => {
                let result = self.nodes[node].hashing.pop_front().unwrap().run();
                self.handle(node, Input::Hashed(result));
            }
            Origin::Find => {
                let (ticket, domain) = self.nodes[node].finding.pop_front().unwrap();
                let is_outside = self.outside.as_ref().is_some_and(|(outside, _)| *outside == domain);
                let found = self.names.get(&domain).map(|node| address(*node)).or(is_outside.then_some(OUTSIDE));
                let result = match found {
                    Some(found) => {
                        let addresses = vec![found];
                        Ok(vec![Candidate { direct_tls: false, target: domain, port: 5269, addresses }])
                    }
                    None => Err(Unfound { why: format!("{domain} does not exist"), is_temporary: false }),
                };
                self.handle(node, Input::Found { ticket, result });
            }
            Origin::Dial => self.dial(node),
            Origin::Gone => {
                let id = self.nodes[node].gone.pop_front().unwrap();
                self.handle(node, Input::Gone { id, reason: "closed by us" });
            }
        }
    }

    fn dial(&mut self, from: usize) {
        let (id, to) = self.nodes[from].dialing.pop_front().unwrap();
        if let (OUTSIDE, Some((_, client))) = (to.ip(), &mut self.outside) {
            let end = Place::Client(*client);
            *client += 1;
            self.wire([Place::Node(from, id), end]);
            return self.handle(from, Input::Connected { id, peer: to });
        }
        let found = (0..self.nodes.len()).find(|node| address(*node) == to.ip() && self.nodes[*node].server.is_some());
        let Some(node) = found else {
            return self.handle(from, Input::Gone { id, reason: "refused" });
        };
        let other = ConnectionId(self.next_id);
        self.next_id += 1;
        let wire = self.wire([Place::Node(from, id), Place::Node(node, other)]);
        self.put(wire, 1, Piece::Accepted(SocketAddr::new(address(from), 50_000), true));
        self.handle(from, Input::Connected { id, peer: to });
    }

    fn handle(&mut self, node: usize, input: Input<'_>) {
        let now = self.now_of(node);
        if let Some(server) = &mut self.nodes[node].server {
            server.handle(now, input);
        }
    }

    /// Lets a server look at its clock, and ends the tick.
    fn end_tick(&mut self, node: usize, spoke: Vec<ConnectionId>) {
        self.handle(node, Input::Timeout);
        let own = &mut self.nodes[node];
        let Some(server) = &mut own.server else { return };
        let wrote = server.commit().unwrap().is_some();
        let outputs = server.take_outputs();
        for output in outputs {
            self.output(node, wrote, output);
        }
        // What a peer said may be among what was written: no later word to it leaves before.
        if wrote {
            for id in spoke {
                if self.end_of(Place::Node(node, id)).is_some() {
                    self.nodes[node].held.entry(id).or_default().push_back(Held::Bytes(Vec::new()));
                }
            }
        }
    }

    fn output(&mut self, node: usize, wrote: bool, output: Output) {
        let own = &mut self.nodes[node];
        let (id, held) = match output {
            Output::Bytes { id, bytes } => (id, Held::Bytes(bytes)),
            Output::StartTls { id, client, .. } => {
                (id, Held::StartTls(client.map(|client| (client.local, client.remote))))
            }
            Output::Close { id } => (id, Held::Close),
            // Wires take all that they are given.
            Output::TellDrained { id } => return self.handle(node, Input::Drained { id }),
            Output::TellRoom { id } => return self.handle(node, Input::Room { id }),
            Output::Spoke { .. } if !wrote => return,
            // What it said may be among what was written: no later word to it leaves before.
            Output::Spoke { id } => (id, Held::Bytes(Vec::new())),
            Output::Find { ticket, domain, .. } => return own.finding.push_back((ticket, domain)),
            Output::Connect { id, addresses, .. } => return own.dialing.push_back((id, addresses[0])),
            // There is no control socket here, and nobody administers.
            Output::Outside { .. } | Output::Reload(_) | Output::Stop => return,
            // Who is there long enough has it, and that is sign enough here.
            Output::TellTaken { .. } => return,
            Output::AskTaken { id } => return self.handle(node, Input::Taken { id }),
            // Nobody moves files here.
            Output::Park { .. } | Output::Join { .. } => return,
            Output::Hear { id, hears: true } => {
                own.unheard.remove(&id);
                return;
            }
            Output::Hear { id, hears: false } => {
                own.unheard.insert(id);
                return;
            }
            Output::Hash(job) => return own.hashing.push_back(job),
        };
        // Older output waits: this leaves with it.
        if wrote || own.held.contains_key(&id) {
            own.held.entry(id).or_default().push_back(held);
        } else {
            self.release(node, id, held);
        }
    }

    fn release(&mut self, node: usize, id: ConnectionId, held: Held) {
        let Some((wire, side)) = self.end_of(Place::Node(node, id)) else {
            match held {
                // Nobody knows to whom it was; clients have the low numbers.
                Held::Bytes(bytes) if !bytes.is_empty() => {
                    self.news.push_back(News::Lost { to_client: true, bytes });
                }
                // A connection that was never open: it is told that it ended.
                Held::Close => {
                    self.nodes[node].dialing.retain(|(other, _)| *other != id);
                    self.nodes[node].gone.push_back(id);
                }
                _ => {}
            }
            return;
        };
        match held {
            Held::Bytes(bytes) if bytes.is_empty() => {}
            Held::Bytes(bytes) => {
                self.log(|| format!("node {node} #{:x} says: {}", id.0, String::from_utf8_lossy(&bytes)));
                self.put(wire, 1 - side, Piece::Bytes(bytes));
            }
            // What a server says from now on is said inside of TLS.
            Held::StartTls(None) => {
                if let Some(readers) = self.wires.get_mut(&wire).and_then(|wire| wire.readers.as_mut()) {
                    readers[1 - side] = Reader::new(WIDE);
                }
            }
            Held::StartTls(Some((local, remote))) => {
                self.put(wire, 1 - side, Piece::Secured(tls(&local)));
                self.put(wire, side, Piece::Secured(tls(&remote)));
            }
            Held::Close => {
                self.nodes[node].gone.push_back(id);
                self.detach(wire, side, false);
            }
        }
    }

    fn drop_held(&mut self, node: usize, id: ConnectionId) {
        let client = self.end_of(Place::Node(node, id)).map(|(wire, side)| self.wires[&wire].ends[1 - side]);
        let to_client = matches!(client, Some(Place::Client(_)) | None);
        for held in self.nodes[node].held.remove(&id).unwrap_or_default() {
            if let Held::Bytes(bytes) = held {
                self.news.push_back(News::Lost { to_client, bytes });
            }
        }
    }

    /// The disk of a server has done its work.
    pub fn sync(&mut self, node: usize) {
        let checkpoint = self.dice.chance(30);
        let own = &mut self.nodes[node];
        if own.server.is_none() {
            return;
        }
        own.storage.sync(checkpoint);
        for (id, queue) in std::mem::take(&mut own.held) {
            for held in queue {
                self.release(node, id, held);
            }
        }
    }

    /// Time passes, here or while nothing arrives; all servers look at the clock.
    pub fn wait(&mut self, millis: u64) {
        self.now.unix_millis += millis;
        self.now.monotonic_millis += millis;
        for node in 0..self.nodes.len() {
            if self.nodes[node].server.is_some() {
                self.end_tick(node, Vec::new());
            }
        }
    }

    /// A server dies; it is down until it is started.
    pub fn crash(&mut self, node: usize, crash: Crash) {
        let Some(mut server) = self.nodes[node].server.take() else { return };
        self.log(|| format!("node {node}: {crash:?}"));
        let store = std::mem::replace(server.store_mut(), jabber::store::Store::in_memory().unwrap());
        let torn = self.dice.below(101);
        let own = &mut self.nodes[node];
        own.kept = Some(own.storage.crash(store, crash, torn));
        own.hashing.clear();
        own.finding.clear();
        own.dialing.clear();
        own.gone.clear();
        own.unheard.clear();
        for id in self.nodes[node].held.keys().copied().collect::<Vec<_>>() {
            self.drop_held(node, id);
        }
        let ends: Vec<(u64, usize)> = self
            .wires
            .iter()
            .flat_map(|(number, wire)| {
                let is_here = |side: &usize| matches!(wire.ends[*side], Place::Node(at, _) if at == node);
                (0..2).filter(is_here).map(|side| (*number, side)).collect::<Vec<_>>()
            })
            .collect();
        for (wire, side) in ends {
            self.detach(wire, side, false);
        }
    }

    /// A server is asked to stop, says so to all, and is gone.
    pub fn stop(&mut self, node: usize) {
        self.log(|| format!("node {node} stops"));
        self.handle(node, Input::Terminate);
        self.end_tick(node, Vec::new());
        self.sync(node);
        self.crash(node, Crash::Kill);
    }

    /// A server reads the same configuration again.
    pub fn reload(&mut self, node: usize) {
        let config = self.nodes[node].config.clone();
        self.handle(node, Input::Reload(config));
        self.end_tick(node, Vec::new());
    }

    /// Is a power cut something else than a kill for this server?
    pub fn has_disk(&self, node: usize) -> bool {
        self.nodes[node].storage.is_on_files()
    }

    /// A wire between servers breaks; both hear of it, each in its time.
    pub fn cut_servers(&mut self) -> bool {
        let is_between = |wire: &Wire| wire.ends.iter().all(|end| matches!(end, Place::Node(..)));
        let between: Vec<u64> =
            self.wires.iter().filter(|(_, wire)| is_between(wire)).map(|(number, _)| *number).collect();
        if between.is_empty() {
            return false;
        }
        let number = *self.dice.pick(&between);
        self.log(|| "a wire between servers breaks".to_string());
        let Some(wire) = self.wires.get_mut(&number) else { return false };
        for side in 0..2 {
            let lane = std::mem::take(&mut wire.lanes[side]);
            for piece in lane {
                match piece {
                    Piece::Bytes(bytes) => self.news.push_back(News::Lost { to_client: false, bytes }),
                    Piece::Accepted(..) => wire.lanes[side].push_back(piece),
                    _ => {}
                }
            }
            if wire.attached[side] {
                wire.lanes[side].push_back(Piece::End);
            }
        }
        true
    }

    /// Until nothing is under way any more.
    pub fn settle(&mut self, mut each: impl FnMut(&mut World)) {
        for round in 0.. {
            if !self.step() {
                break;
            }
            each(self);
            if self.fault.is_some() {
                return;
            }
            if round > 200_000 {
                return self.fail("the servers never come to rest".to_string());
            }
        }
    }

    /// What must always be: the server's connections are those that the world knows, its sessions stand on them.
    pub fn check_connections(&mut self, node: usize) {
        let Some(server) = &self.nodes[node].server else { return };
        let mut fault = None;
        let sessions = server.router().sessions();
        let mut names = std::collections::BTreeSet::new();
        for (_, session) in sessions.all() {
            if !names.insert(session.jid().to_string()) {
                fault = Some(format!("two sessions are {}", session.jid()));
            }
            let id = session.connection();
            if self.end_of(Place::Node(node, id)).is_none() && !self.nodes[node].gone.contains(&id) {
                fault = Some(format!("the session {} stands on a connection that is gone", session.jid()));
            }
        }
        let here = |wire: &&Wire| {
            (0..2).any(|side| {
                let accepted = !matches!(wire.lanes[side].front(), Some(Piece::Accepted(..)));
                wire.attached[side] && accepted && matches!(wire.ends[side], Place::Node(at, _) if at == node)
            })
        };
        let known = self.wires.values().filter(here).count();
        let own = &self.nodes[node];
        if server.connection_count() != known + own.gone.len() + own.dialing.len() {
            let count = server.connection_count();
            fault = Some(format!("the server counts {count} connections, there are {known}"));
        }
        if let Some(fault) = fault {
            self.fail(fault);
        }
    }
}

fn tls(name: &str) -> Box<TlsInfo> {
    Box::new(TlsInfo {
        protocol: "TLSv1.3",
        cipher: "TEST".to_string(),
        exporter: None,
        end_point: None,
        sni: None,
        alpn: None,
        peer: if name.is_empty() { Vec::new() } else { vec![name.as_bytes().to_vec()] },
    })
}

fn read_along(readers: &mut [Reader; 2], side: usize, bytes: &[u8]) -> Result<(), String> {
    // Who was told of success begins anew when it has heard of it.
    if bytes.starts_with(b"<?xml") {
        readers[side].restart();
    }
    readers[side].push(bytes);
    loop {
        match readers[side].next() {
            Ok(None) => return Ok(()),
            Ok(Some(Event::Element(element))) if element.is("success", "urn:ietf:params:xml:ns:xmpp-sasl") => {
                readers[side].restart();
            }
            Ok(Some(_)) => {}
            Err(error) => return Err(format!("{error:?}")),
        }
    }
}
