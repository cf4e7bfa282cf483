//! A client: what it said, what it heard, what it believes.

use std::collections::{BTreeMap, BTreeSet};

use jabber::xml::Element;
use jabber::xml::reader::{Event, Reader};

use crate::world::WIDE;

/// How far a client's login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Header,
    Registering,
    LegacyAuth,
    Features,
    Sasl,
    FeaturesAgain,
    Binding,
    Ready,
    Over,
}

/// What an iq was for.
#[derive(Clone, Debug)]
pub enum Ask {
    Login,
    Register(String),
    Ping,
    Roster,
    RosterSet(usize, String),
    RosterRemove(usize),
    VcardSet(String),
    VcardGet(usize, u64),
    PrivateSet(String),
    PrivateGet(u64),
    Password(String),
    Remove,
    Other,
}

pub struct Client {
    pub account: usize,
    pub node: usize,
    pub resource: String,
    pub password: String,
    pub phase: Phase,
    pub legacy: bool,
    pub registers: bool,
    pub jid: String,
    pub reader: Reader,
    pub asked: BTreeMap<String, (Ask, usize)>,
    pub next_iq: usize,
    /// Messages it wrote, in order.
    pub wrote: Vec<usize>,
    /// The roster as it was told of, by contact, with its version.
    pub roster: Option<BTreeMap<String, String>>,
    pub roster_asked: bool,
    pub version: String,
    /// Who was seen available, by full JID.
    pub seen: BTreeSet<String>,
    /// The last presence that it sent: a priority, or none.
    pub priority: Option<i8>,
    /// Every available presence was preceded by nothing of another life: its view can be judged.
    pub heard_own: bool,
    /// By sender's connection: the number of the last message from there, at once or from the store: one for this
    /// resource overtakes those that wait until it is available.
    pub last_of: BTreeMap<(usize, bool), usize>,
    pub hung_up: bool,
    /// When its present try to log in began.
    pub begun: u64,
}

impl Client {
    pub fn new(account: usize, node: usize, resource: &str, password: &str, legacy: bool, registers: bool) -> Client {
        Client {
            account,
            node,
            resource: resource.to_string(),
            password: password.to_string(),
            phase: Phase::Header,
            legacy,
            registers,
            jid: String::new(),
            reader: Reader::new(WIDE),
            asked: BTreeMap::new(),
            next_iq: 0,
            wrote: Vec::new(),
            roster: None,
            roster_asked: false,
            version: String::new(),
            seen: BTreeSet::new(),
            priority: None,
            heard_own: false,
            last_of: BTreeMap::new(),
            hung_up: false,
            begun: 0,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready && !self.hung_up
    }

    pub fn is_alive(&self) -> bool {
        self.phase != Phase::Over && !self.hung_up
    }

    /// An iq of its own; what was written before is acknowledged by its answer.
    pub fn ask(&mut self, ask: Ask, kind: &str, to: &str, payload: &str) -> String {
        self.next_iq += 1;
        let id = format!("q{}", self.next_iq);
        self.asked.insert(id.clone(), (ask, self.wrote.len()));
        let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
        format!("<iq type='{kind}' id='{id}'{to}>{payload}</iq>")
    }

    /// What came, as XML; what is no XML is a fault.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Vec<Event>, String> {
        self.reader.push(bytes);
        let mut events = Vec::new();
        loop {
            match self.reader.next() {
                Ok(None) => return Ok(events),
                Ok(Some(event)) => {
                    let restarts = matches!(&event, Event::Element(element) if is_success(element));
                    events.push(event);
                    if restarts {
                        self.reader.restart();
                    }
                }
                Err(error) => {
                    let text = String::from_utf8_lossy(bytes);
                    return Err(format!("a server says what is not XML ({error:?}): {text}"));
                }
            }
        }
    }

    /// Takes in what a roster says, whole or as a push.
    pub fn roster(&mut self, query: &Element, is_push: bool) {
        if let Some(version) = query.attribute("ver") {
            self.version = version.to_string();
        }
        if !is_push {
            self.roster = Some(BTreeMap::new());
        }
        let roster = self.roster.get_or_insert_default();
        for item in query.children() {
            let jid = item.attribute("jid").unwrap_or_default().to_string();
            if item.attribute("subscription") == Some("remove") {
                roster.remove(&jid);
            } else {
                roster.insert(jid, item_text(item));
            }
        }
    }
}

fn is_success(element: &Element) -> bool {
    element.is("success", "urn:ietf:params:xml:ns:xmpp-sasl")
}

/// A roster item in one line.
fn item_text(item: &Element) -> String {
    let of = |name| item.attribute(name).unwrap_or_default();
    let groups: Vec<String> = item.children().map(|group| group.text().into_owned()).collect();
    let (name, subscription, ask) = (of("name"), of("subscription"), of("ask"));
    format!("{name}|{subscription}|{ask}|{}|{}", of("approved"), groups.join(","))
}
