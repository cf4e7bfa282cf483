//! The world outside of the servers: wires, names, TLS that always succeeds, a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use jabber::config::{Config, Listener, ListenerKind, Place, PlainLogin, Source, StartTls};
use jabber::server::{Candidate, ConnectionId, Input, Output, Server, TlsInfo, Unfound};
use jabber::store::{Store, account};
use jabber::stream::sasl::{HashJob, Outcome, Password};
use jabber::xmpp::{BareJid, Jid, Now};

use crate::dice::Dice;
use crate::trust::NamesAreCertificates;

/// One server to be.
pub struct Setup {
    pub hosts: Vec<String>,
    pub certificates: bool,
    /// Further children of the root of jabber.xml.
    pub root: String,
    /// What stands in `<jsm>`.
    pub jsm: String,
    dialback: String,
}

impl Setup {
    pub fn new(host: &str) -> Setup {
        let (root, jsm, dialback) = (String::new(), String::new(), String::new());
        Setup { hosts: vec![host.to_string()], certificates: false, root, jsm, dialback }
    }

    /// The same, with further children of the root.
    pub fn with(host: &str, certificates: bool, root: &str) -> Setup {
        Setup { certificates, root: root.to_owned(), ..Setup::new(host) }
    }

    /// What stands in `<dialback>`.
    pub fn jabber_xml(&mut self, text: &str) {
        self.dialback = text.to_string();
    }

    fn config(&self) -> Config {
        let hosts: String = self.hosts.iter().map(|host| format!("<host>{host}</host>")).collect();
        let text = format!(
            "<jabber><service id='sessions'>{hosts}<jsm xmlns='jabber:config:jsm'>{}</jsm></service>\
             <service id='s2s'><load><dialback/></load>\
             <dialback xmlns='jabber:config:dialback'>{}</dialback></service>\
             <service id='dnsrv'><host/><load><dnsrv/></load><dnsrv xmlns='jabber:config:dnsrv'/></service>{}</jabber>",
            self.jsm, self.dialback, self.root
        );
        Config::from_xml(&text, &Source::new("test.xml")).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// What a server says first to another.
pub fn server_header(domain: &str, to: &str) -> String {
    format!(
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         xmlns:db='jabber:server:dialback' from='{domain}' to='{to}' version='1.0'>"
    )
}

/// One end of a wire: a server's connection, or the test itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Server(usize, u64),
    Test(usize),
}

struct Wire {
    ends: (End, End),
    cut: bool,
}

/// The place of the server that the test plays.
const PLAYED: usize = 200;

/// A server and its connection, and what it said there.
type Held = (usize, u64, Option<Vec<u8>>);

/// Everything.
pub struct World {
    servers: Vec<Server>,
    listeners: Vec<(Arc<Listener>, Arc<Listener>)>,
    names: BTreeMap<String, usize>,
    wires: Vec<Wire>,
    heard: BTreeMap<usize, String>,
    muted: BTreeSet<usize>,
    down: BTreeSet<usize>,
    next_id: u64,
    next_test: usize,
    now: Now,
    dials: usize,
    transcript: String,
    /// What servers said to each other since [`World::hold`]: bytes, or the end for `None`.
    held: Option<Vec<Held>>,
    /// Ticks that wrote to a disk.
    writes: usize,
    /// Connections to the server that the test plays.
    pub called: VecDeque<usize>,
    /// After so many bytes between servers the wire that carries them is cut, once.
    cut_after: Option<usize>,
    carried: usize,
    /// Where the test's own connections come from.
    pub test_address: IpAddr,
    /// The certificate of the test's own connections; empty for none.
    pub test_name: String,
    /// The ends of file transfers that are one, and how fast they may be.
    pub joined: Vec<(u64, u64, Option<u64>)>,
}

fn address(server: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(server + 1).unwrap()))
}

impl World {
    pub fn new(setups: Vec<Setup>) -> World {
        let now = Now { unix_millis: 1_767_323_045_000, monotonic_millis: 1_000_000 };
        let mut world = World {
            servers: Vec::new(),
            listeners: Vec::new(),
            names: BTreeMap::new(),
            wires: Vec::new(),
            heard: BTreeMap::new(),
            muted: BTreeSet::new(),
            down: BTreeSet::new(),
            next_id: 1,
            next_test: 0,
            now,
            dials: 0,
            transcript: String::new(),
            held: None,
            writes: 0,
            called: VecDeque::new(),
            cut_after: None,
            carried: 0,
            test_address: IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9)),
            test_name: String::new(),
            joined: Vec::new(),
        };
        for (index, setup) in setups.into_iter().enumerate() {
            let config = Arc::new(setup.config());
            let store = Store::in_memory().unwrap();
            let mut server = Server::new(config, store, Box::new(Dice::new(index as u64 + 1)), now).unwrap();
            server.set_trust(Box::new(NamesAreCertificates(setup.certificates)));
            world.servers.push(server);
            for host in &setup.hosts {
                world.names.insert(host.clone(), index);
            }
            let place = || Place::whole(PathBuf::from("test.xml"));
            let mut clients = Listener::new(ListenerKind::C2s, 5222, place());
            clients.plain_logins.push(PlainLogin { networks: Vec::new(), start_tls: StartTls::Hidden });
            let servers = Listener::new(ListenerKind::S2s, 5269, place());
            world.listeners.push((Arc::new(clients), Arc::new(servers)));
        }
        world
    }

    pub fn dials(&self) -> usize {
        self.dials
    }

    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    fn server_of(&self, domain: &str) -> usize {
        *self.names.get(domain).unwrap_or_else(|| panic!("no server for {domain}"))
    }

    /// Makes an account with the password `secret`.
    pub fn account(&mut self, jid: &str) -> BareJid {
        let account = Jid::new(jid).unwrap().to_bare();
        let job = HashJob::derive(0, Password::new("secret").unwrap(), &mut Dice::new(7));
        let Outcome::Derived(credentials) = job.run().outcome else { panic!("not derived") };
        let server = self.server_of(account.domain().as_str());
        account::create(self.servers[server].store_mut(), &account, &credentials, self.now.unix_millis).unwrap();
        account
    }

    /// Logs a client in by jabber:iq:auth; the account is made if it is not there.
    pub fn login(&mut self, jid: &str) -> usize {
        let account = Jid::new(jid).unwrap().to_bare();
        let server = self.server_of(account.domain().as_str());
        if !account::exists(self.servers[server].store_mut(), &account).unwrap() {
            self.account(jid);
        }
        let client = self.open(server, false);
        let (host, name) = (account.domain().to_string(), account.node().unwrap().to_string());
        let resource = Jid::new(jid).unwrap().resource().unwrap().to_string();
        self.say(
            client,
            &format!(
                "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{host}'>\
                 <iq type='set' id='auth'><query xmlns='jabber:iq:auth'><username>{name}</username>\
                 <password>secret</password><resource>{resource}</resource></query></iq>"
            ),
        );
        let heard = self.heard(client);
        assert!(heard.contains("type='result'"), "{heard}");
        client
    }

    /// The same, available; what it hears so far is forgotten.
    pub fn online(&mut self, jid: &str) -> usize {
        let client = self.login(jid);
        self.say(client, "<presence/>");
        self.heard(client);
        client
    }

    /// A connection of the test's own to a server's port for servers.
    pub fn connect_as_server(&mut self, domain: &str) -> usize {
        self.open(self.server_of(domain), true)
    }

    /// A connection of the test's own to a server's port for its component, which is in with this secret.
    pub fn connect_component(&mut self, domain: &str, secret: &str) -> usize {
        let server = self.server_of(domain);
        let listeners = &self.servers[server].config().listeners;
        let listener = listeners.iter().find(|listener| listener.kind == ListenerKind::Component).unwrap().clone();
        let test = self.open_at(server, &Arc::new(listener));
        self.say(
            test,
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='x'>",
        );
        let heard = self.heard(test);
        let (_, rest) = heard.split_once(" id='").unwrap();
        let (id, _) = rest.split_once('\'').unwrap();
        let text = [id, secret].concat();
        let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let proof: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.say(test, &format!("<handshake>{proof}</handshake>"));
        assert_eq!(self.heard(test), "<handshake/>");
        test
    }

    /// A connection of the test's own to a server's port for file transfers.
    pub fn connect_to_proxy(&mut self, domain: &str) -> usize {
        let server = self.server_of(domain);
        let listeners = &self.servers[server].config().listeners;
        let listener = listeners.iter().find(|listener| listener.kind == ListenerKind::Bytestreams).unwrap().clone();
        self.open_at(server, &Arc::new(listener))
    }

    /// Stanzas to this domain find the server of that one.
    pub fn name(&mut self, domain: &str, server: &str) {
        let server = self.server_of(server);
        self.names.insert(domain.to_string(), server);
    }

    /// The name service does not know this domain any more.
    pub fn forget_name(&mut self, domain: &str) {
        self.names.remove(domain);
    }

    fn open(&mut self, server: usize, as_server: bool) -> usize {
        let (clients, servers) = self.listeners[server].clone();
        self.open_at(server, if as_server { &servers } else { &clients })
    }

    fn open_at(&mut self, server: usize, listener: &Arc<Listener>) -> usize {
        let test = self.next_test;
        self.next_test += 1;
        let id = self.next_id;
        self.next_id += 1;
        self.wires.push(Wire { ends: (End::Test(test), End::Server(server, id)), cut: false });
        let peer = SocketAddr::new(self.test_address, 40_000);
        self.input(server, Input::Accepted { id: ConnectionId(id), listener, peer });
        test
    }

    pub fn say(&mut self, client: usize, text: &str) {
        let Some(End::Server(server, id)) = self.other_end(End::Test(client)) else { panic!("hung up") };
        self.input(server, Input::Bytes { id: ConnectionId(id), bytes: text.as_bytes() });
    }

    /// The test begins TLS on its own connection.
    pub fn start_tls(&mut self, client: usize) {
        self.say(client, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        assert!(self.heard(client).contains("<proceed"), "{}", self.transcript);
    }

    /// What came since the last call.
    pub fn heard(&mut self, client: usize) -> String {
        self.heard.remove(&client).unwrap_or_default()
    }

    pub fn hang_up(&mut self, client: usize) {
        let Some(End::Server(server, id)) = self.other_end(End::Test(client)) else { return };
        self.cut(End::Test(client));
        self.input(server, Input::Gone { id: ConnectionId(id), reason: "hung up" });
    }

    /// From now on this server gets connections but says nothing.
    pub fn mute(&mut self, domain: &str) {
        let server = self.server_of(domain);
        self.muted.insert(server);
    }

    /// It speaks again.
    pub fn unmute(&mut self, domain: &str) {
        let server = self.server_of(domain);
        self.muted.remove(&server);
    }

    /// Nobody connects to this server from now on, nor does it to others.
    pub fn take_down(&mut self, domain: &str) {
        let server = self.server_of(domain);
        self.down.insert(server);
    }

    pub fn bring_up(&mut self, domain: &str) {
        let server = self.server_of(domain);
        self.down.remove(&server);
    }

    /// The admin of a server does something.
    pub fn admin<T>(&mut self, domain: &str, act: impl FnOnce(&mut Server, Now) -> T) -> T {
        let server = self.server_of(domain);
        let outcome = act(&mut self.servers[server], self.now);
        self.input(server, Input::Timeout);
        outcome
    }

    /// Another jabber.xml.
    pub fn reload(&mut self, domain: &str, setup: &Setup) {
        let server = self.server_of(domain);
        self.input(server, Input::Reload(Arc::new(setup.config())));
    }

    /// The process of a server is killed, and started again with this.
    pub fn crash(&mut self, domain: &str, setup: &Setup) {
        let server = self.server_of(domain);
        let mut store = std::mem::replace(self.servers[server].store_mut(), Store::in_memory().unwrap());
        store.crash();
        let is_its = |end: &End| matches!(end, End::Server(number, _) if *number == server);
        let lost: Vec<(End, End)> = self.wires.iter().filter(|wire| !wire.cut).map(|wire| wire.ends).collect();
        for (one, other) in lost.into_iter().filter(|(one, other)| is_its(one) || is_its(other)) {
            self.cut(one);
            for end in [one, other] {
                match end {
                    End::Server(number, id) if number != server => {
                        self.input(number, Input::Gone { id: ConnectionId(id), reason: "reset" });
                    }
                    _ => {}
                }
            }
        }
        let config = Arc::new(setup.config());
        self.servers[server] = Server::new(config, store, Box::new(Dice::new(99)), self.now).unwrap();
        self.servers[server].set_trust(Box::new(NamesAreCertificates(setup.certificates)));
        self.input(server, Input::Timeout);
    }

    /// How many ticks wrote so far.
    pub fn writes(&self) -> usize {
        self.writes
    }

    /// What a server has written down for others.
    pub fn written_down(&mut self, domain: &str) -> Vec<String> {
        let server = self.server_of(domain);
        let rows = jabber::store::remote_queue::all(self.servers[server].store_mut()).unwrap();
        rows.into_iter().map(|row| row.stanza).collect()
    }

    /// The test plays the server of this domain.
    pub fn play(&mut self, domain: &str) {
        self.test_name = domain.to_string();
        self.names.insert(domain.to_string(), PLAYED);
    }

    /// A connection to the server that the test plays.
    pub fn called(&mut self) -> Option<usize> {
        self.called.pop_front()
    }

    /// The same, as far as it takes until stanzas come, which are acknowledged.
    pub fn answer(&mut self, domain: &str) -> usize {
        self.answer_with(domain, "")
    }

    /// The same, with this among the features inside of TLS.
    pub fn answer_with(&mut self, domain: &str, offer: &str) -> usize {
        let peer = self.called().unwrap_or_else(|| panic!("nobody called:\n{}", self.transcript));
        let header = format!(
            "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback' from='{domain}' id='x' version='1.0'>"
        );
        let features = |inner: &str| format!("{header}<stream:features>{inner}</stream:features>");
        self.say(peer, &features("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"));
        self.say(peer, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
        self.say(peer, &features(&format!("<mechanisms {sasl}><mechanism>EXTERNAL</mechanism></mechanisms>{offer}")));
        self.say(peer, &format!("<success {sasl}/>"));
        self.heard(peer);
        self.say(peer, &features("<sm xmlns='urn:xmpp:sm:3'/>"));
        self.say(peer, "<enabled xmlns='urn:xmpp:sm:3'/>");
        peer
    }

    /// The wire between servers that carries this byte, counted from now, breaks there.
    pub fn cut_after(&mut self, bytes: usize) {
        (self.cut_after, self.carried) = (Some(bytes), 0);
    }

    /// How many bytes servers said to each other since [`World::cut_after`], or ever.
    pub fn carried(&self) -> usize {
        self.carried
    }

    /// How many connections a server has.
    pub fn connections(&self, domain: &str) -> usize {
        self.servers[self.server_of(domain)].connection_count()
    }

    /// What servers say to each other stays on its way from now on.
    pub fn hold(&mut self) {
        self.held = Some(Vec::new());
    }

    /// It arrives.
    pub fn let_go(&mut self) {
        for (server, id, bytes) in self.held.take().unwrap_or_default() {
            match bytes {
                Some(bytes) => self.carry(server, id, &bytes),
                None => self.close(server, ConnectionId(id)),
            }
        }
    }

    /// The process of a server is asked to stop.
    pub fn terminate(&mut self, domain: &str) {
        let server = self.server_of(domain);
        self.input(server, Input::Terminate);
    }

    /// Has a server nothing more to say, after [`World::terminate`]?
    pub fn is_stopped(&self, domain: &str) -> bool {
        self.servers[self.server_of(domain)].is_stopped()
    }

    /// The test opens a stream in the name of `domain`, which its certificate proves.
    pub fn peer(&mut self, domain: &str, to: &str) -> usize {
        if !self.test_name.ends_with(domain) {
            self.test_name = domain.to_string();
        }
        let peer = self.stranger(domain, to);
        self.say(peer, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
        assert!(self.heard(peer).contains("<success"), "{}", self.transcript);
        self.say(peer, &server_header(domain, to));
        self.heard(peer);
        peer
    }

    /// The same, without a proof.
    pub fn stranger(&mut self, domain: &str, to: &str) -> usize {
        let stranger = self.connect_as_server(to);
        let header = server_header(domain, to);
        self.say(stranger, &header);
        self.start_tls(stranger);
        self.say(stranger, &header);
        self.heard(stranger);
        stranger
    }

    /// Has the server closed this connection of the test's own?
    pub fn is_hung_up(&self, client: usize) -> bool {
        self.other_end(End::Test(client)).is_none()
    }

    /// All wires between servers break.
    pub fn cut_servers(&mut self) {
        self.cut_wires(|_| true);
    }

    /// The wires to other servers break that this server opened.
    pub fn cut_wires_of(&mut self, domain: &str) {
        let server = self.server_of(domain);
        self.cut_wires(|opener| opener == server);
    }

    fn cut_wires(&mut self, is_cut: impl Fn(usize) -> bool) {
        let ends: Vec<(End, End)> = self.wires.iter().filter(|wire| !wire.cut).map(|wire| wire.ends).collect();
        for (one, other) in ends {
            if let (End::Server(a, a_id), End::Server(b, b_id)) = (one, other)
                && is_cut(a)
            {
                self.cut(one);
                self.input(a, Input::Gone { id: ConnectionId(a_id), reason: "reset" });
                self.input(b, Input::Gone { id: ConnectionId(b_id), reason: "reset" });
            }
        }
    }

    pub fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now.unix_millis += 1000;
            self.now.monotonic_millis += 1000;
            for server in 0..self.servers.len() {
                self.input(server, Input::Timeout);
            }
        }
    }

    fn other_end(&self, end: End) -> Option<End> {
        self.wires.iter().filter(|wire| !wire.cut).find_map(|wire| match wire.ends {
            (one, other) if one == end => Some(other),
            (one, other) if other == end => Some(one),
            _ => None,
        })
    }

    fn cut(&mut self, end: End) {
        for wire in &mut self.wires {
            wire.cut |= wire.ends.0 == end || wire.ends.1 == end;
        }
    }

    /// One input, its tick, and all that follows at the other servers.
    fn input(&mut self, server: usize, input: Input<'_>) {
        self.servers[server].handle(self.now, input);
        self.writes += usize::from(self.servers[server].commit().unwrap().is_some());
        for output in self.servers[server].take_outputs() {
            self.output(server, output);
        }
    }

    fn output(&mut self, server: usize, output: Output) {
        match output {
            Output::Bytes { id, bytes } => self.carry(server, id.0, &bytes),
            Output::Close { id } => self.close(server, id),
            Output::Park { .. } | Output::Hear { .. } | Output::Spoke { .. } => {}
            Output::Join { one, other, bytes_per_second } => self.joined.push((one.0, other.0, bytes_per_second)),
            // There is no control socket here.
            Output::Outside { .. } | Output::Reload(_) | Output::Stop => {}
            Output::TellDrained { id } => self.input(server, Input::Drained { id }),
            Output::TellTaken { .. } | Output::AskTaken { .. } => {}
            Output::TellRoom { id } => self.input(server, Input::Room { id }),
            Output::Hash(job) => {
                let result = job.run();
                self.input(server, Input::Hashed(result));
            }
            Output::Find { ticket, domain, .. } => {
                let result = match self.names.get(&domain) {
                    Some(found) => Ok(vec![Candidate {
                        direct_tls: false,
                        target: domain,
                        port: 5269,
                        addresses: vec![address(*found)],
                    }]),
                    None => Err(Unfound { why: format!("{domain} does not exist"), is_temporary: false }),
                };
                self.input(server, Input::Found { ticket, result });
            }
            Output::Connect { id, addresses, .. } => self.connect(server, id, addresses[0]),
            Output::StartTls { id, client, .. } => {
                self.tls(server, id.0, client.map(|client| (client.local, client.remote)))
            }
        }
    }

    fn close(&mut self, server: usize, id: ConnectionId) {
        let end = End::Server(server, id.0);
        let other = self.other_end(end);
        if let (Some(held), Some(End::Server(..))) = (&mut self.held, other) {
            return held.push((server, id.0, None));
        }
        self.cut(end);
        self.input(server, Input::Gone { id, reason: "closed by us" });
        if let Some(End::Server(other, other_id)) = other {
            self.input(other, Input::Gone { id: ConnectionId(other_id), reason: "closed by the peer" });
        }
    }

    fn carry(&mut self, server: usize, id: u64, bytes: &[u8]) {
        let other = self.other_end(End::Server(server, id));
        if let (Some(held), Some(End::Server(..))) = (&mut self.held, other) {
            return held.push((server, id, Some(bytes.to_vec())));
        }
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.transcript.push_str(&format!("{server}#{id:x}: {text}\n"));
        match other {
            Some(End::Test(test)) => self.heard.entry(test).or_default().push_str(&text),
            Some(End::Server(other, other_id)) if !self.muted.contains(&other) => {
                let bytes = match self.cut_after {
                    Some(most) if self.carried + bytes.len() > most => {
                        let (beginning, _) = bytes.split_at(most - self.carried);
                        (self.cut_after, self.carried) = (None, most);
                        self.input(other, Input::Bytes { id: ConnectionId(other_id), bytes: beginning });
                        self.cut(End::Server(server, id));
                        self.input(other, Input::Gone { id: ConnectionId(other_id), reason: "reset" });
                        return self.input(server, Input::Gone { id: ConnectionId(id), reason: "reset" });
                    }
                    _ => bytes,
                };
                self.carried += bytes.len();
                self.input(other, Input::Bytes { id: ConnectionId(other_id), bytes });
            }
            _ => {}
        }
    }

    fn connect(&mut self, from: usize, id: ConnectionId, to: SocketAddr) {
        self.dials += 1;
        if to.ip() == address(PLAYED) && !self.down.contains(&PLAYED) {
            self.called.push_back(self.next_test);
            self.wires.push(Wire { ends: (End::Test(self.next_test), End::Server(from, id.0)), cut: false });
            self.next_test += 1;
            return self.input(from, Input::Connected { id, peer: to });
        }
        let is_up =
            |server: &usize| address(*server) == to.ip() && !self.down.contains(server) && !self.down.contains(&from);
        let Some(server) = (0..self.servers.len()).find(is_up) else {
            return self.input(from, Input::Gone { id, reason: "refused" });
        };
        let other_id = self.next_id;
        self.next_id += 1;
        self.wires.push(Wire { ends: (End::Server(from, id.0), End::Server(server, other_id)), cut: false });
        let listener = self.listeners[server].1.clone();
        let peer = SocketAddr::new(address(from), 50_000);
        self.input(server, Input::Accepted { id: ConnectionId(other_id), listener: &listener, peer });
        self.input(from, Input::Connected { id, peer: to });
    }

    /// TLS always succeeds; once both ends are at it, each sees the other's name as its certificate.
    fn tls(&mut self, server: usize, id: u64, client: Option<(String, String)>) {
        let end = End::Server(server, id);
        let Some(other) = self.other_end(end) else { return };
        let info = |name: &str| TlsInfo {
            protocol: "TLSv1.3",
            cipher: "TEST".to_string(),
            exporter: None,
            end_point: None,
            sni: None,
            alpn: None,
            peer: if name.is_empty() { Vec::new() } else { vec![name.as_bytes().to_vec()] },
        };
        match (client, other) {
            // The server's half comes first and waits for the client's.
            (None, End::Server(..)) => {}
            (None, End::Test(_)) => {
                let tls = info(&self.test_name.clone());
                self.input(server, Input::Secured { id: ConnectionId(id), tls });
            }
            (Some((local, remote)), End::Server(peer, peer_id)) => {
                self.input(peer, Input::Secured { id: ConnectionId(peer_id), tls: info(&local) });
                self.input(server, Input::Secured { id: ConnectionId(id), tls: info(&remote) });
            }
            (Some(_), End::Test(_)) => {
                let tls = info(&self.test_name.clone());
                self.input(server, Input::Secured { id: ConnectionId(id), tls });
            }
        }
    }
}
