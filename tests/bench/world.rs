//! A server with its clients in memory: no sockets, a clock that stands, dice that repeat.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jabber::config::{Config, Listener, Source};
use jabber::server::{ConnectionId, Input, Output, Server, TlsInfo};
use jabber::store::{Store, account};
use jabber::xmpp::{BareJid, Now};

use crate::cpu_time;
use crate::dice::Dice;
use crate::scram::{self, Scram};

/// The name and password of everybody is made of a number.
const HOST: &str = "montague.net";
const NOW: Now = Now { unix_millis: 1_767_323_045_000, monotonic_millis: 1_000_000 };
const PLAIN: u16 = 5224;
const START_TLS: u16 = 5222;

/// The server, and what it costs.
pub(crate) struct World {
    server: Server,
    listeners: [Arc<Listener>; 2],
    next: u64,
    /// The time that the server took in logins, without that of its clients.
    pub(crate) spent: Duration,
}

/// How a client comes in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Plain,
    StartTls,
}

/// `user17@montague.net`.
pub(crate) fn bare(number: usize) -> String {
    format!("user{number}@{HOST}")
}

/// `user17@montague.net/bench`.
pub(crate) fn full(number: usize) -> String {
    format!("user{number}@{HOST}/bench")
}

/// Makes accounts 0 to `count`.
pub(crate) fn accounts(store: &mut Store, count: usize) {
    let credentials = scram::credentials("secret");
    for number in 0..count {
        account::create(store, &BareJid::new(&bare(number)).unwrap(), &credentials, NOW.unix_millis).unwrap();
    }
    store.commit().unwrap();
}

impl World {
    /// A server on a store.
    pub(crate) fn new(store: Store) -> World {
        World::with_modules(store, &[])
    }

    /// A server on a store, with these modules off.
    pub(crate) fn with_modules(store: Store, off: &[&str]) -> World {
        let off: String = off.iter().map(|name| format!("<off>{name}</off>")).collect();
        const OWN: &str = "xmlns='urn:jabber:config:3'";
        let text = format!(
            "<jabber><service id='sessions'><host>{HOST}</host><jsm xmlns='jabber:config:jsm'>\
             <modules {OWN}>{off}</modules></jsm></service><service id='c2s'><pthcsock xmlns='jabber:config:pth-csock'><ip port='{START_TLS}'/><ip port='{PLAIN}'/>\
             <plain-login {OWN} port='{PLAIN}'/></pthcsock></service>\
             <xdb id='xdb'><host/><xdb_file xmlns='jabber:config:xdb_file'><spool>/nowhere</spool></xdb_file></xdb>\
             <log id='log'><host/><logtype/><format>%d: [%t] (%h): %s</format><stderr/></log>\
             <limits {OWN}><offline-messages-max>100000000</offline-messages-max>\
             <offline-bytes-max>100000000000</offline-bytes-max></limits></jabber>"
        );
        let config = Arc::new(Config::from_xml(&text, &Source::new("jabber.xml")).unwrap());
        let listener = |port| Arc::new(config.listeners.iter().find(|listener| listener.port == port).unwrap().clone());
        let listeners = [listener(PLAIN), listener(START_TLS)];
        let server = Server::new(config, store, Box::new(Dice::new(7)), NOW).unwrap();
        World { server, listeners, next: 0, spent: Duration::ZERO }
    }

    /// What several clients send within one tick; gives all bytes that leave, by connection.
    pub(crate) fn tick(&mut self, inputs: &[(ConnectionId, &[u8])]) -> Vec<(ConnectionId, Vec<u8>)> {
        for (id, bytes) in inputs {
            self.server.handle(NOW, Input::Bytes { id: *id, bytes });
        }
        self.end()
    }

    /// The end of a tick, as in the loop.
    fn end(&mut self) -> Vec<(ConnectionId, Vec<u8>)> {
        self.server.handle(NOW, Input::Timeout);
        self.server.commit().unwrap();
        let outputs = self.server.take_outputs();
        let bytes = outputs.into_iter().filter_map(|output| match output {
            Output::Bytes { id, bytes } => Some((id, bytes)),
            _ => None,
        });
        bytes.collect()
    }

    /// What one client sends in a tick of its own; answers are dropped.
    pub(crate) fn send(&mut self, id: ConnectionId, bytes: &str) {
        self.ask(id, bytes);
    }

    fn ask(&mut self, id: ConnectionId, bytes: &str) -> String {
        let begin = cpu_time();
        let outputs = self.tick(&[(id, bytes.as_bytes())]);
        self.spent += cpu_time() - begin;
        let answers: HashMap<_, _> = outputs.into_iter().collect();
        answers.get(&id).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    /// Opens a connection from an address of its own.
    fn accept(&mut self, door: Door) -> ConnectionId {
        self.next += 1;
        let id = ConnectionId(self.next);
        let address = Ipv4Addr::from(0x0A00_0000 + u32::try_from(self.next % 0x00FF_FFFF).unwrap());
        let peer = SocketAddr::new(IpAddr::V4(address), 40_000);
        let [plain, start_tls] = &self.listeners;
        let listener = if door == Door::Plain { plain } else { start_tls };
        let begin = cpu_time();
        self.server.handle(NOW, Input::Accepted { id, listener, peer });
        self.spent += cpu_time() - begin;
        id
    }

    /// A client logs in by SCRAM-SHA-256 and binds the resource `bench`: header to bound.
    pub(crate) fn login(&mut self, number: usize, door: Door) -> ConnectionId {
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{HOST}' version='1.0' xml:lang='en' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        );
        let id = self.accept(door);
        self.send(id, &header);
        if door == Door::StartTls {
            self.send(id, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
            let begin = cpu_time();
            self.server.handle(NOW, Input::Secured { id, tls: tls() });
            self.end();
            self.spent += cpu_time() - begin;
            self.send(id, &header);
        }
        let (mut scram, first) = Scram::first(&["SHA-256", "n,,", &format!("user{number}")], number).unwrap();
        let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{first}</auth>");
        let challenge = self.ask(id, &auth);
        scram.challenged(text(&challenge)).unwrap();
        let proof = scram.last("secret", false, &[]).unwrap();
        let answer = self.ask(id, &format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{proof}</response>"));
        scram.verify(text(&answer)).unwrap();
        self.send(id, &header);
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource>\
                    </bind></iq>";
        let bound = self.ask(id, bind);
        assert!(bound.contains(&full(number)), "{bound}");
        id
    }

    /// The same, and the client is available.
    pub(crate) fn available(&mut self, number: usize, door: Door) -> ConnectionId {
        let id = self.login(number, door);
        self.send(id, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
        self.send(id, "<presence/>");
        id
    }

    /// The connection is lost.
    pub(crate) fn hang_up(&mut self, id: ConnectionId) {
        self.server.handle(NOW, Input::Gone { id, reason: "reset" });
        self.end();
    }
}

/// What TLS 1.3 tells.
fn tls() -> TlsInfo {
    TlsInfo {
        protocol: "TLSv1.3",
        cipher: "TLS13_AES_256_GCM_SHA384".to_string(),
        exporter: Some([5; 32]),
        end_point: Some(vec![6; 32]),
        sni: Some(HOST.to_string()),
        alpn: None,
        peer: Vec::new(),
    }
}

/// The text of the one element in these bytes.
fn text(element: &str) -> &str {
    let (_, rest) = element.split_once('>').unwrap();
    rest.split_once('<').unwrap().0
}
