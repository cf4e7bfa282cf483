//! Those who speak to the talks' server in memory as the trace has it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use jabber::config::{Config, ListenerKind, Source};
use jabber::store::Store;
use jabber::xml::Element;
use jabber::xml::reader::{Event, Limits, Reader};

use super::compare;
use super::record::Line;
use crate::runner::memory::Memory;
use crate::runner::wire::{Got, Link, Wire as _};

/// Accounts that were made before the first trace, as all are: from a client.
const ACCOUNTS: &[(&str, &str)] = &[
    ("romeo", "m0ntague"),
    ("nurse", "angelica"),
    ("admin", "adminpw"),
    ("support", "supportpw"),
    ("benvolio", "b3nv"),
    ("robot", "robotpw"),
    ("doomed", "gone"),
];
/// The secrets of the components.
const SECRETS: &[&str] = &["icq-secret", "aim-secret", "jabber-rocks", "jud-secret"];
/// What ends our stream and did not end the original's: forged senders (RFC 6120 §8.1.2.1) and elements that are no stanzas
/// (RFC 6120 §4.9.3.24), both in tests/talks/stanza.talk. What comes behind them in the trace is worth more.
const ENDS_OURS: &[&str] = &["id='m8'><body>forged", "id='m9'><body>other resource in from", "<foo to="];
/// How long an answer may take, in seconds: a component that is not there has ten.
const PATIENCE: u32 = 60;
const DIALBACK: &str = "jabber:server:dialback";
/// The other server, which is not there but in trace 22.
const REMOTE: &str = "127.0.0.77";

/// One connection from its beginning to its end.
pub struct Conversation {
    pub party: String,
    /// What the original said, in comparable form.
    pub theirs: Vec<String>,
    /// What we say.
    pub ours: Vec<String>,
    /// Ids of streams and keys of dialback, in their order, as recorded and as they are here.
    marks: (Vec<String>, Vec<String>),
    /// The full JID that logged in.
    jid: String,
    link: Link,
    is_closed: bool,
}

pub struct World {
    memory: Memory,
    /// What the trace says, and what it is here: ids and keys.
    known: BTreeMap<String, String>,
}

/// The trace under way.
struct Scene<'a> {
    name: &'a str,
    conversations: Vec<Conversation>,
    readers: BTreeMap<usize, Reader>,
    direct_tls: bool,
    /// The ids of streams as recorded, for handshakes.
    ids: BTreeMap<String, String>,
}

impl World {
    pub fn new(configuration: &str) -> World {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
        let file = folder.join(configuration);
        let text = std::fs::read_to_string(&file).unwrap();
        let source = Source { file, home: folder, ..Source::default() };
        let config = Config::from_xml(&adapted(&text), &source).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = Memory::on(config, Store::in_memory().unwrap());
        memory.hangs_up_in_due_form = true;
        let mut world = World { memory, known: BTreeMap::new() };
        ACCOUNTS.iter().for_each(|(name, password)| world.register(name, password));
        if configuration.contains("1.6") {
            // The form that the trace of 1.6 has for him is refused there, as it was.
            world.register("tybalt", "prince0fcats");
        }
        world
    }

    fn register(&mut self, name: &str, password: &str) {
        let link = self.accept(ListenerKind::C2s, |_| true);
        let text = format!(
            "<stream:stream to='xmpp.test' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>\
             <iq type='set' id='new'><query xmlns='jabber:iq:register'><username>{name}</username>\
             <password>{password}</password><name>{name}</name><email>{name}@example.org</email></query></iq>"
        );
        self.memory.send(link, text.as_bytes());
        let Got::Bytes(answer) = self.memory.hear(link, true) else { panic!("{name} hears nothing") };
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("id='new' type='result'") || answer.contains("type='result' id='new'"), "{answer}");
        self.memory.hang_up(link);
        // Registrations from one address have their rate.
        self.wait(3_600);
    }

    /// Plays one trace, and gives the conversations in it.
    pub fn play(&mut self, name: &str, lines: &[Line]) -> Vec<Conversation> {
        let mut scene = Scene {
            name,
            conversations: Vec::new(),
            readers: BTreeMap::new(),
            direct_tls: false,
            ids: BTreeMap::new(),
        };
        self.memory.answers = match name.get(..2) {
            Some("21") => |peer| peer.port() == 5349,
            Some("22") => |peer| peer.ip().to_string() == REMOTE,
            _ => |_| false,
        };
        for line in lines {
            match line {
                Line::Says(party, text) => self.says(&mut scene, party, text),
                Line::Hears(party, text) => self.hears(&mut scene, party, text),
                Line::Closed(party) => {
                    if let Some(place) = scene.present(party) {
                        scene.conversations[place].theirs.push("(closed)".to_string());
                        self.wait_for(&mut scene, place);
                    }
                }
                Line::Secured => {
                    if let Some(place) = scene.present("") {
                        let link = scene.conversations[place].link;
                        self.listen(&mut scene, place);
                        if self.memory.secure(link, true).is_ok() {
                            scene.readers.insert(place, reader());
                        }
                    }
                }
                Line::DirectTls => scene.direct_tls = true,
            }
        }
        for place in 0..scene.conversations.len() {
            self.listen(&mut scene, place);
        }
        // Nobody stays for the next trace.
        for place in 0..scene.conversations.len() {
            self.memory.hang_up(scene.conversations[place].link);
        }
        for place in 0..scene.conversations.len() {
            let conversation = &mut scene.conversations[place];
            conversation.is_closed = true;
        }
        self.wait(30);
        self.memory.dialled.clear();
        scene.conversations
    }

    fn says(&mut self, scene: &mut Scene<'_>, party: &str, text: &str) {
        let starts = text.contains("<stream:stream") || text.contains("<flash:stream") || text.starts_with("GET ");
        let present = scene.present(party);
        let is_answer = scene.is_dialled(party);
        let goes_on = present.is_some_and(|place| {
            scene.conversations[place].ours.last().is_some_and(|said| said.starts_with("<proceed"))
        });
        if starts && !is_answer && !goes_on {
            if let Some(place) = present {
                self.listen(scene, place);
                self.memory.hang_up(scene.conversations[place].link);
                scene.conversations[place].is_closed = true;
            }
            let link = self.connect(scene, party);
            scene.begin(party, link);
        }
        if is_answer && scene.present(party).is_none() {
            self.take_dialled(scene, party);
        }
        let Some(place) = scene.present(party) else { return };
        let mut text = self.translated(text);
        if let Some(hash) = text.strip_prefix("<handshake>").and_then(|text| text.strip_suffix("</handshake>")) {
            text = format!("<handshake>{}</handshake>", self.handshake(scene, party, hash));
        }
        if let (Some(name), Some(resource)) = (between(&text, "username"), between(&text, "resource")) {
            scene.conversations[place].jid = format!("{}@xmpp.test/{resource}", name.to_lowercase());
        }
        let link = scene.conversations[place].link;
        if ENDS_OURS.iter().any(|ours| text.contains(ours)) {
            return;
        }
        for text in one_item_each(&text) {
            self.memory.send(link, text.as_bytes());
        }
        self.listen_all(scene);
    }

    /// The hash for our stream's id, if the recorded one was right for the recorded id.
    fn handshake(&self, scene: &Scene<'_>, party: &str, recorded: &str) -> String {
        let Some(id) = scene.ids.get(party) else { return recorded.to_string() };
        let ours = self.known.get(id).unwrap_or(id);
        let secret = SECRETS.iter().find(|secret| sha1_hex(&format!("{id}{secret}")) == recorded);
        secret.map_or(recorded.to_string(), |secret| sha1_hex(&format!("{ours}{secret}")))
    }

    fn hears(&mut self, scene: &mut Scene<'_>, party: &str, text: &str) {
        if scene.is_dialled(party) && scene.present(party).is_none() {
            for _ in 0..PATIENCE {
                if !self.memory.dialled.is_empty() {
                    break;
                }
                self.wait(1);
            }
            self.take_dialled(scene, party);
        }
        let Some(place) = scene.present(party) else { return };
        let here = self.translated(text);
        let is_dialled = scene.is_dialled(party);
        for (recorded, said) in spoken(text).into_iter().zip(spoken(&here)) {
            let conversation = &mut scene.conversations[place];
            conversation.theirs.push(said.form);
            // An id of who opens the stream means nothing; 1.4.3 gave one all the same.
            let mark = recorded.mark.filter(|_| !is_dialled || !recorded.form.starts_with("<stream:stream"));
            conversation.marks.0.extend(mark.clone());
            if let Some(id) = mark {
                scene.ids.insert(party.to_string(), id);
            }
            self.wait_for(scene, place);
        }
        let (theirs, ours) = &scene.conversations[place].marks;
        self.known.extend(theirs.iter().cloned().zip(ours.iter().cloned()));
    }

    /// The text with our ids and keys in place of the recorded ones.
    fn translated(&self, text: &str) -> String {
        self.known.iter().fold(text.to_string(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    /// Time passes until we have said as much as the original has.
    fn wait_for(&mut self, scene: &mut Scene<'_>, place: usize) {
        let mut patience = 0;
        self.listen_all(scene);
        while scene.conversations[place].ours.len() < scene.conversations[place].theirs.len() && patience < PATIENCE {
            if self.memory.is_closed(scene.conversations[place].link) {
                break;
            }
            self.wait(1);
            patience += 1;
            self.listen_all(scene);
        }
    }

    fn take_dialled(&mut self, scene: &mut Scene<'_>, party: &str) {
        if let Some(link) = self.memory.dialled.pop_front() {
            scene.begin(party, link);
        }
    }

    fn connect(&mut self, scene: &mut Scene<'_>, party: &str) -> Link {
        let kind = match (scene.name.get(..2), party) {
            (Some("20"), "C" | "D") => ListenerKind::Component,
            (Some("22"), "I" | "V") => ListenerKind::S2s,
            _ if std::mem::take(&mut scene.direct_tls) => ListenerKind::C2sTls,
            _ => ListenerKind::C2s,
        };
        let component =
            if self.memory.config().listeners.iter().any(|listener| listener.port == 5347) { 5347 } else { 7009 };
        self.accept(kind, |port| kind != ListenerKind::Component || port == component)
    }

    fn accept(&mut self, kind: ListenerKind, port: impl Fn(u16) -> bool) -> Link {
        let mut listeners = self.memory.config().listeners.iter();
        let listener = listeners.find(|listener| listener.kind == kind && port(listener.port));
        let listener = Arc::new(listener.unwrap_or_else(|| panic!("no {kind:?}")).clone());
        self.memory.accept(&listener, IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    fn listen_all(&mut self, scene: &mut Scene<'_>) {
        for place in 0..scene.conversations.len() {
            if !scene.conversations[place].is_closed {
                self.listen(scene, place);
            }
        }
    }

    /// Reads what a connection got.
    fn listen(&mut self, scene: &mut Scene<'_>, place: usize) {
        let link = scene.conversations[place].link;
        let (mut bytes, mut is_closed) = (Vec::new(), false);
        loop {
            match self.memory.hear(link, false) {
                Got::Bytes(more) => bytes.extend(more),
                Got::Closed => {
                    is_closed = true;
                    break;
                }
                Got::Nothing => break,
            }
        }
        if !bytes.is_empty() {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let reader = scene.readers.entry(place).or_insert_with(reader);
            if text.starts_with("HTTP/") {
                scene.conversations[place].ours.push(web(&text));
            } else {
                reader.push(&bytes);
                let said = events(reader);
                let own = format!(
                    "<presence from='{}' to='{}'",
                    scene.conversations[place].jid,
                    bare(&scene.conversations[place].jid)
                );
                for said in said.into_iter().filter(|said| !said.form.starts_with(&own)) {
                    scene.conversations[place].ours.push(said.form);
                    scene.conversations[place].marks.1.extend(said.mark);
                }
            }
        }
        if is_closed && !scene.conversations[place].is_closed {
            scene.conversations[place].is_closed = true;
            scene.conversations[place].ours.push("(closed)".to_string());
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.memory.wait(seconds).unwrap();
    }
}

impl Scene<'_> {
    fn begin(&mut self, party: &str, link: Link) {
        let conversation = Conversation {
            party: party.to_string(),
            theirs: Vec::new(),
            ours: Vec::new(),
            marks: (Vec::new(), Vec::new()),
            jid: String::new(),
            link,
            is_closed: false,
        };
        self.conversations.push(conversation);
    }

    /// The newest connection of a party.
    fn present(&self, party: &str) -> Option<usize> {
        self.conversations.iter().rposition(|conversation| conversation.party == party)
    }

    /// Does the server connect to this party?
    fn is_dialled(&self, party: &str) -> bool {
        matches!((self.name.get(..2), party), (Some("21"), "") | (Some("22"), "F"))
    }
}

/// Something that was said: its form, and the id or the key in it.
struct Said {
    form: String,
    mark: Option<String>,
}

fn events(reader: &mut Reader) -> Vec<Said> {
    let mut all = Vec::new();
    while let Ok(Some(event)) = reader.next() {
        match event {
            Event::Opened(header) => {
                let from = header.from.unwrap_or_default();
                let version = header.version.map_or(String::new(), |version| format!(" version='{version}'"));
                all.push(Said { form: format!("<stream:stream from='{from}'{version}>"), mark: header.id });
            }
            Event::Element(element) => {
                let is_key = element.is("result", DIALBACK) && element.attribute("type").is_none();
                let mark = is_key.then(|| element.text().into_owned());
                all.push(Said { form: formed(&element), mark });
            }
            Event::Whitespace | Event::Closed => {}
        }
    }
    all
}

fn formed(element: &Element) -> String {
    if element.is("error", "http://etherx.jabber.org/streams") {
        compare::stream_error(element)
    } else {
        compare::form(element)
    }
}

/// What the original said in one line of the trace.
fn spoken(text: &str) -> Vec<Said> {
    if text.starts_with("HTTP/") {
        return vec![Said { form: web(text), mark: None }];
    }
    let mut reader = reader();
    if !text.contains("<stream:stream") {
        reader.push(
            b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
              xmlns:db='jabber:server:dialback'>",
        );
        let _ = reader.next();
    }
    reader.push(text.as_bytes());
    events(&mut reader)
}

/// A roster set of several items would be refused (RFC 6121 §2.3.3: tests/talks/roster.talk): one for each is said, so that
/// the rosters are the same from there on.
fn one_item_each(text: &str) -> Vec<String> {
    let Some((start, items)) =
        text.split_once("<query xmlns='jabber:iq:roster'><item").filter(|(iq, _)| iq.contains("'set'"))
    else {
        return vec![text.to_string()];
    };
    let items = items.trim_end_matches("</query></iq>").split("<item");
    items.map(|item| format!("{start}<query xmlns='jabber:iq:roster'><item{item}</query></iq>")).collect()
}

/// The text of a child of a login.
fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(value, _)| value)
}

fn bare(jid: &str) -> &str {
    jid.split('/').next().unwrap_or_default()
}

fn web(text: &str) -> String {
    text.lines().filter(|line| line.starts_with("HTTP/") || line.starts_with("Location")).collect::<Vec<_>>().join(" ")
}

fn reader() -> Reader {
    Reader::new(Limits { frame_bytes: 1 << 24, depth: 100, elements: 100_000, attributes: 100, name_bytes: 1_000 })
}

fn sha1_hex(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The configuration as it was, and what our defaults ask for besides: logins without TLS, and another server without it.
fn adapted(text: &str) -> String {
    let clients = "<plain-login xmlns='urn:jabber:config:3' port='5222' starttls='offer'/>";
    let servers = format!("<host name='{REMOTE}' tls='no'/><host name='127.0.0.78' tls='no'/>");
    let mut text = text.replace("/etc/jabber/transports.inc.xml", "transports.inc.xml");
    if !text.contains("transports.inc.xml") && !text.contains("aim.xmpp.test") {
        text = text.replace("</jabber>", "<jabberd:include>transports.inc.xml</jabberd:include></jabber>");
    }
    if !text.contains("5223") {
        text = text.replace("</pthcsock>", "<ssl port='5223'/></pthcsock>");
    }
    for (namespace, inside) in [("jabber:config:pth-csock", clients), ("jabber:config:dialback", &servers)] {
        let at = text.find(namespace).unwrap();
        let end = at + text[at..].find('>').unwrap() + 1;
        text.insert_str(end, inside);
    }
    text
}
