//! The server as a plain value: no sockets, no threads, a clock that is moved by hand, dice that repeat.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jabber::config::{Config, Listener, ListenerKind, Source};
use jabber::server::{Candidate, ConnectionId, Input, Output, Server, TlsInfo, Unfound};
use jabber::store::{Store, account, plain_password};
use jabber::xmpp::{BareJid, Now};

use super::dice::Dice;
use super::login;
use super::talk::Setup;
use super::wire::{Got, Link, Port, Stop, Wire, jabber_xml};

/// 2026-01-02T03:04:05Z, the moment at which each talk begins.
const BEGINNING_UNIX_MILLIS: u64 = 1_767_323_045_000;
/// The address of clients for whom the talk names none.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The channel bindings of every connection.
const EXPORTER: [u8; 32] = [0xE5; 32];
const END_POINT: [u8; 32] = [0xEF; 32];

/// The client's end of a connection.
#[derive(Default)]
struct End {
    received: Vec<u8>,
    is_closed: bool,
    wants_tls: bool,
    has_exporter: bool,
    /// The server wants to hear that it has taken all.
    tells_taken: bool,
    /// The server reads nothing from it for now; what it said, and that it is gone.
    is_unheard: bool,
    unheard: Vec<u8>,
    has_left: bool,
}

/// A server in memory with its connections.
pub struct Memory {
    config: Arc<Config>,
    server: Server,
    now: Now,
    ends: BTreeMap<Link, End>,
    next: Link,
    /// Who answers when the server connects to an address; in talks there is nobody else in the world.
    pub answers: fn(SocketAddr) -> bool,
    /// Who hangs up has read all that was sent; in talks nobody has.
    pub hangs_up_in_due_form: bool,
    /// Connections that the server made and that nobody has taken yet.
    pub dialled: VecDeque<Link>,
    /// The tick under way will not be committed.
    is_dying: bool,
    restarts: u64,
}

impl Memory {
    /// A server with the accounts of a talk.
    pub fn new(setup: &Setup) -> Result<Memory, String> {
        let text = jabber_xml(setup, [5222, 5223, 5224], "", "/nowhere");
        let config = Config::from_xml(&text, &Source::new("jabber.xml")).map_err(|error| format!("{error}"))?;
        if let Some(notice) = config.notices.iter().find(|notice| notice.severity != jabber::config::Severity::Notice) {
            return Err(format!("the configuration: {notice}"));
        }
        let mut store = Store::in_memory().unwrap();
        for (name, password) in &setup.accounts {
            let jid = BareJid::new(name).map_err(|error| format!("{name}: {error}"))?;
            account::create(&mut store, &jid, &login::credentials(password), BEGINNING_UNIX_MILLIS).unwrap();
            if let Some(password) = password.strip_prefix("kept/") {
                plain_password::keep(&mut store, &jid, password, BEGINNING_UNIX_MILLIS).unwrap();
            }
        }
        store.commit().unwrap();
        Ok(Memory::on(config, store))
    }

    /// A server with this configuration and this store.
    pub fn on(config: Config, store: Store) -> Memory {
        let config = Arc::new(config);
        let now = Now { unix_millis: BEGINNING_UNIX_MILLIS, monotonic_millis: 1_000_000 };
        let server = Server::new(config.clone(), store, Box::new(Dice::new(7)), now).unwrap();
        let mut memory = Memory {
            config,
            server,
            now,
            ends: BTreeMap::new(),
            next: 0,
            answers: |_| false,
            hangs_up_in_due_form: false,
            dialled: VecDeque::new(),
            is_dying: false,
            restarts: 0,
        };
        memory.turn();
        memory
    }

    /// Somebody connects to a port.
    pub fn accept(&mut self, listener: &Arc<Listener>, peer: IpAddr) -> Link {
        self.next += 1;
        let link = self.next;
        let is_direct = listener.kind == ListenerKind::C2sTls;
        self.ends.insert(link, End { wants_tls: is_direct, ..End::default() });
        let peer = SocketAddr::new(peer, 40_000 + u16::try_from(link % 20_000).unwrap());
        self.handle(Input::Accepted { id: id(link), listener, peer });
        if is_direct {
            self.secure(link, true).unwrap();
        }
        link
    }

    fn handle(&mut self, input: Input<'_>) {
        self.server.handle(self.now, input);
        self.turn();
    }

    /// The end of a turn of the loop: commit, then what is to happen outside happens.
    fn turn(&mut self) {
        if self.is_dying {
            return;
        }
        loop {
            self.server.commit().unwrap();
            let outputs = self.server.take_outputs();
            if outputs.is_empty() && !self.hear_out() {
                return;
            }
            for output in outputs {
                self.output(output);
            }
        }
    }

    /// Somebody whom the server reads again was not read to the end: the next of it. False if there is nobody.
    fn hear_out(&mut self) -> bool {
        let waits = |end: &End| !end.is_unheard && (end.has_left || !end.unheard.is_empty());
        let Some((link, end)) = self.ends.iter_mut().find(|(_, end)| waits(end)) else { return false };
        let id = id(*link);
        match std::mem::take(&mut end.unheard) {
            bytes if bytes.is_empty() => {
                end.has_left = false;
                self.server.handle(self.now, Input::Gone { id, reason: "reset" });
            }
            bytes => self.server.handle(self.now, Input::Bytes { id, bytes: &bytes }),
        }
        true
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Bytes { id, bytes } => {
                if let Some(end) = self.ends.get_mut(&link(id)).filter(|end| !end.is_closed) {
                    end.received.extend_from_slice(&bytes);
                }
            }
            Output::StartTls { id, .. } => {
                if let Some(end) = self.ends.get_mut(&link(id)) {
                    end.wants_tls = true;
                }
            }
            Output::Close { id } => {
                if let Some(end) = self.ends.get_mut(&link(id)).filter(|end| !end.is_closed) {
                    end.is_closed = true;
                    self.server.handle(self.now, Input::Gone { id, reason: "closed" });
                }
            }
            // A name leads nowhere, an address to itself.
            Output::Find { ticket, domain, .. } => {
                let why = "there is no such domain".to_string();
                let address = domain.parse().map_err(|_| Unfound { why, is_temporary: false });
                let result = address.map(|address| {
                    vec![Candidate { direct_tls: false, target: domain, port: 5269, addresses: vec![address] }]
                });
                self.server.handle(self.now, Input::Found { ticket, result });
            }
            Output::Connect { id, addresses, .. } => match addresses.first().filter(|peer| (self.answers)(**peer)) {
                Some(&peer) => {
                    self.ends.insert(link(id), End::default());
                    self.dialled.push_back(link(id));
                    self.server.handle(self.now, Input::Connected { id, peer });
                }
                None => self.server.handle(self.now, Input::Gone { id, reason: "refused" }),
            },
            // There is no control socket here.
            Output::Outside { .. } => {}
            // jabber.xml is as it was.
            Output::Reload(wish) => self.server.handle(self.now, Input::Reread { wish, what: Ok(Vec::new()) }),
            Output::Stop => self.server.handle(self.now, Input::Terminate),
            Output::TellDrained { id } => self.server.handle(self.now, Input::Drained { id }),
            Output::TellTaken { id, tells } => {
                if let Some(end) = self.ends.get_mut(&link(id)) {
                    end.tells_taken = tells;
                }
            }
            Output::AskTaken { id } => {
                let end = self.ends.get(&link(id));
                if end.is_some_and(|end| end.tells_taken && !end.is_closed) {
                    self.server.handle(self.now, Input::Taken { id });
                }
            }
            Output::TellRoom { id } => self.server.handle(self.now, Input::Room { id }),
            Output::Spoke { .. } => {}
            // No talk moves a file.
            Output::Park { .. } | Output::Join { .. } => {}
            Output::Hear { id, hears } => {
                if let Some(end) = self.ends.get_mut(&link(id)) {
                    end.is_unheard = !hears;
                }
            }
            Output::Hash(job) => self.server.handle(self.now, Input::Hashed(job.run())),
        }
    }

    fn listener(&self, port: Port) -> Arc<Listener> {
        let number = match port {
            Port::StartTls => 5222,
            Port::Direct => 5223,
            Port::Plain => 5224,
            Port::Other(number) => number,
        };
        let found = self.config.listeners.iter().find(|listener| listener.port == number);
        Arc::new(found.unwrap().clone())
    }

    /// A new server on the data of the old one; all connections are dead.
    fn start_again(&mut self, mut store: Store) {
        self.ends.values_mut().for_each(|end| {
            *end = End { is_closed: true, received: std::mem::take(&mut end.received), ..End::default() }
        });
        self.restarts += 1;
        self.is_dying = false;
        store.crash();
        // Another process has another monotonic clock and other dice.
        self.now.monotonic_millis = 5_000_000 * (self.restarts + 1);
        let dice = Box::new(Dice::new(7 + self.restarts));
        self.server = Server::new(self.config.clone(), store, dice, self.now).unwrap();
        self.turn();
    }
}

#[allow(dead_code, reason = "not every test looks")]
impl Memory {
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Connections that the server has.
    pub fn open_connections(&self) -> usize {
        self.server.connection_count()
    }

    pub fn is_closed(&self, link: Link) -> bool {
        self.ends[&link].is_closed
    }
}

fn link(id: ConnectionId) -> Link {
    usize::try_from(id.0).unwrap()
}

fn id(link: Link) -> ConnectionId {
    ConnectionId(link as u64)
}

impl Wire for Memory {
    fn connect(&mut self, port: Port, peer: Option<IpAddr>) -> Result<Link, Stop> {
        Ok(self.accept(&self.listener(port), peer.unwrap_or(PEER)))
    }

    fn send(&mut self, link: Link, bytes: &[u8]) {
        let end = self.ends.get_mut(&link).unwrap();
        match (end.is_closed, end.is_unheard) {
            (true, _) => {}
            (false, true) => end.unheard.extend_from_slice(bytes),
            (false, false) => {
                if end.tells_taken {
                    self.server.handle(self.now, Input::Taken { id: id(link) });
                }
                self.handle(Input::Bytes { id: id(link), bytes });
            }
        }
    }

    fn hear(&mut self, link: Link, _: bool) -> Got {
        let end = self.ends.get_mut(&link).unwrap();
        match (end.received.is_empty(), end.is_closed) {
            (false, _) => Got::Bytes(std::mem::take(&mut end.received)),
            (true, true) => Got::Closed,
            (true, false) => Got::Nothing,
        }
    }

    fn secure(&mut self, link: Link, with_exporter: bool) -> Result<(), Stop> {
        let end = self.ends.get_mut(&link).unwrap();
        if !std::mem::take(&mut end.wants_tls) {
            return Err(Stop::Fault("        but the server has not asked for TLS".to_string()));
        }
        end.has_exporter = with_exporter;
        let tls = TlsInfo {
            protocol: if with_exporter { "TLSv1.3" } else { "TLSv1.2" },
            cipher: "TLS_AES_128_GCM_SHA256".to_string(),
            exporter: with_exporter.then_some(EXPORTER),
            end_point: Some(END_POINT.to_vec()),
            sni: None,
            alpn: None,
            peer: Vec::new(),
        };
        self.handle(Input::Secured { id: id(link), tls });
        Ok(())
    }

    fn hang_up(&mut self, link: Link) {
        let end = self.ends.get_mut(&link).unwrap();
        if !end.is_closed {
            (end.is_closed, end.has_left) = (true, end.is_unheard);
            end.received.clear();
            if !end.is_unheard {
                if end.tells_taken && self.hangs_up_in_due_form {
                    self.server.handle(self.now, Input::Taken { id: id(link) });
                }
                self.handle(Input::Gone { id: id(link), reason: "reset" });
            }
        }
    }

    fn wait(&mut self, seconds: u64) -> Result<(), Stop> {
        let mut left = seconds * 1000;
        loop {
            let next = self.server.next_timeout(self.now).map(|time| u64::try_from(time.as_millis()).unwrap());
            let step = next.unwrap_or(left).min(left);
            self.now.unix_millis += step;
            self.now.monotonic_millis += step;
            left -= step;
            self.handle(Input::Timeout);
            if left == 0 && self.server.next_timeout(self.now).is_none_or(|time| !time.is_zero()) {
                return Ok(());
            }
        }
    }

    fn stop(&mut self) -> Result<(), Stop> {
        self.handle(Input::Terminate);
        if self.server.is_stopped() { Ok(()) } else { Err("        but the server has not stopped".to_string().into()) }
    }

    fn restart(&mut self) -> Result<(), Stop> {
        self.stop()?;
        let store = std::mem::replace(self.server.store_mut(), Store::in_memory().unwrap());
        self.start_again(store);
        Ok(())
    }

    fn lose_next_tick(&mut self) {
        self.is_dying = true;
    }

    fn crash(&mut self) -> Result<(), Stop> {
        let store = std::mem::replace(self.server.store_mut(), Store::in_memory().unwrap());
        self.start_again(store);
        Ok(())
    }

    fn binding(&mut self, link: Link, kind: &str) -> Option<Vec<u8>> {
        match kind {
            "tls-exporter" => self.ends[&link].has_exporter.then(|| EXPORTER.to_vec()),
            "tls-server-end-point" => Some(END_POINT.to_vec()),
            _ => None,
        }
    }
}
