//! Questions on their way: who is asked, how often, and when it is given up.
//!
//! | an exchange with a server ends with | then |
//! |---|---|
//! | an answer | the look-up is done |
//! | an answer that did not fit, or one whose letters are spelled otherwise than ours | the same server over TCP |
//! | too many datagrams that are no answer | the same server over TCP: somebody is guessing |
//! | "I do not know EDNS" | the same server without |
//! | a failure, an error of the network, nothing in time | the next server, or the next round |

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;

use super::Bounds;
use super::cache::Cache;
use super::message::{Outcome, Question, Reading, Sent};
use super::settings::Settings;
use crate::xmpp::{Now, Random};

/// What became of a question.
pub type Verdict = Result<Outcome, Failure>;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram from a new connected socket, whose port was chosen at random.
    Udp,
    /// A connection of its own; the message behind its length (RFC 7766 §8).
    Tcp,
}

/// What the sockets are to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a socket to this server and send.
    Ask {
        /// The number by which the answer is handed in.
        exchange: u64,
        /// Whom.
        server: SocketAddr,
        /// How.
        transport: Transport,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Close that socket: nothing that comes there is of interest any more.
    Drop {
        /// Its number.
        exchange: u64,
    },
}

/// Why there is no verdict of DNS: the last thing each server did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Failure {
    /// The servers in their order.
    pub servers: Vec<(SocketAddr, Trouble)>,
}

/// What went wrong with one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing came in time.
    Silent,
    /// What it said, or what the network said.
    Told(String),
}

/// A server without its port, unless that is an unusual one.
struct Server(SocketAddr);

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == 53 { self.0.ip().fmt(f) } else { self.0.fmt(f) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers =
            |silent: bool| self.servers.iter().filter(move |(_, trouble)| (*trouble == Trouble::Silent) == silent);
        let silent: Vec<String> = servers(true).map(|(server, _)| Server(*server).to_string()).collect();
        let mut parts: Vec<String> = servers(false)
            .filter_map(|(server, trouble)| match trouble {
                Trouble::Told(told) => Some(format!("the DNS server {} {told}", Server(*server))),
                Trouble::Silent => None,
            })
            .collect();
        if !silent.is_empty() {
            let plural = if silent.len() > 1 { "s" } else { "" };
            parts.push(format!("the DNS server{plural} {} did not answer", silent.join(", ")));
        }
        if parts.is_empty() {
            return f.write_str("too many DNS look-ups wait already");
        }
        f.write_str(&parts.join(", "))
    }
}

/// All questions on their way, and what is known already.
#[derive(Debug)]
pub struct Lookups {
    bounds: Bounds,
    settings: Settings,
    cache: Cache,
    lookups: HashMap<u64, Lookup>,
    by_question: HashMap<Question, u64>,
    exchanges: HashMap<u64, Exchange>,
    /// Look-ups that wait until an exchange is over.
    queue: VecDeque<u64>,
    timers: BTreeSet<(u64, Timer)>,
    /// Another server than the first is asked first until then, since the first did not answer.
    detour: Option<(usize, u64)>,
    serial: u64,
    actions: Vec<Action>,
    done: Vec<(Question, Verdict)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Exchange(u64),
    Lookup(u64),
}

#[derive(Debug)]
struct Lookup {
    question: Question,
    deadline_millis: u64,
    /// Servers in the order in which this one asks them.
    servers: Vec<SocketAddr>,
    place: usize,
    round: u32,
    edns: bool,
    /// Capital letters are strewn in.
    spelled: bool,
    troubles: HashMap<SocketAddr, Trouble>,
    /// Asking this round's servers again may help.
    again: bool,
    exchange: Option<u64>,
}

#[derive(Debug)]
struct Exchange {
    lookup: u64,
    server: SocketAddr,
    transport: Transport,
    sent: Sent,
    at_millis: u64,
    wrong: u32,
}

impl Lookups {
    /// Nothing on its way.
    pub fn new(settings: Settings, bounds: Bounds) -> Lookups {
        Lookups {
            bounds,
            settings,
            cache: Cache::new(bounds.cache_entries),
            lookups: HashMap::new(),
            by_question: HashMap::new(),
            exchanges: HashMap::new(),
            queue: VecDeque::new(),
            timers: BTreeSet::new(),
            detour: None,
            serial: 0,
            actions: Vec::new(),
            done: Vec::new(),
        }
    }

    /// From now on, these servers and hosts; what was kept is forgotten. Look-ups on their way go on as they began.
    pub fn reload(&mut self, settings: Settings, bounds: Bounds) {
        self.cache = Cache::new(bounds.cache_entries);
        self.settings = settings;
        self.bounds = bounds;
        self.detour = None;
    }

    /// Asks. `None`: the verdict comes with [`Lookups::take_done`], in bounded time.
    pub fn ask(&mut self, now: Now, random: &mut dyn Random, question: &Question) -> Option<Verdict> {
        if let Some(outcome) = self.settings.known(question) {
            return Some(Ok(outcome));
        }
        if let Some(verdict) = self.cache.find(question, now.monotonic_millis) {
            return Some(verdict.clone());
        }
        if self.by_question.contains_key(question) {
            return None;
        }
        if self.lookups.len() >= self.bounds.lookups {
            return Some(Err(Failure::default()));
        }
        self.serial += 1;
        let id = self.serial;
        let mut servers = self.settings.servers.clone();
        if let Some((first, _)) = self.detour.filter(|(_, until)| *until > now.monotonic_millis) {
            let first = first.min(servers.len());
            servers.rotate_left(first);
        }
        let deadline_millis = now.monotonic_millis.saturating_add(self.bounds.lookup_millis);
        self.lookups.insert(
            id,
            Lookup {
                question: question.clone(),
                deadline_millis,
                servers,
                place: 0,
                round: 0,
                edns: true,
                spelled: true,
                troubles: HashMap::new(),
                again: false,
                exchange: None,
            },
        );
        self.by_question.insert(question.clone(), id);
        self.timers.insert((deadline_millis, Timer::Lookup(id)));
        self.queue.push_back(id);
        self.start_waiting(now, random);
        None
    }

    /// A datagram or a message came for an exchange.
    pub fn received(&mut self, now: Now, random: &mut dyn Random, exchange: u64, bytes: &[u8]) {
        let Some(open) = self.exchanges.get_mut(&exchange) else { return };
        let (transport, id) = (open.transport, open.lookup);
        let reading = open.sent.read(bytes);
        if transport == Transport::Udp && reading == Reading::NotOurs {
            open.wrong += 1;
            if open.wrong < self.bounds.wrong_datagrams {
                return;
            }
        }
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        match reading {
            Reading::Answer(outcome, ttl) => {
                let millis = self.bounds.keep_millis(&outcome, ttl);
                self.remember_server(now, id);
                self.finish(now, random, id, Ok(outcome), millis);
            }
            Reading::NoEdns if lookup.edns => {
                lookup.edns = false;
                self.retry(now, random, id, transport);
            }
            Reading::OtherCase => {
                // Over TCP nobody forges. A server that folds letters will do so again, and may not speak TCP.
                (lookup.spelled, lookup.again) = (false, true);
                self.retry(now, random, id, Transport::Tcp);
            }
            Reading::NotOurs | Reading::Truncated if transport == Transport::Udp => {
                // Should TCP fail, the next round is another chance.
                lookup.again = true;
                self.retry(now, random, id, Transport::Tcp);
            }
            Reading::NoEdns => self.next_server(now, random, id, Trouble::Told("says FORMERR".to_owned())),
            Reading::Failed(why) => self.next_server(now, random, id, Trouble::Told(why)),
            Reading::NotOurs | Reading::Truncated => {
                self.next_server(now, random, id, Trouble::Told("sent a broken answer".to_owned()));
            }
        }
    }

    /// The network says that an exchange will not succeed; `why` completes "the DNS server x …".
    pub fn failed(&mut self, now: Now, random: &mut dyn Random, exchange: u64, why: &str) {
        let Some(open) = self.exchanges.get(&exchange) else { return };
        let id = open.lookup;
        self.next_server(now, random, id, Trouble::Told(why.to_owned()));
    }

    /// Time moved.
    pub fn timeout(&mut self, now: Now, random: &mut dyn Random) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now.monotonic_millis) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Exchange(exchange) => {
                    let Some(id) = self.exchanges.get(&exchange).map(|open| open.lookup) else { continue };
                    if let Some(lookup) = self.lookups.get_mut(&id) {
                        lookup.again = true;
                    }
                    self.next_server(now, random, id, Trouble::Silent);
                }
                Timer::Lookup(id) => self.give_up(now, random, id),
            }
        }
    }

    /// When [`Lookups::timeout`] must be called, in monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What the sockets are to do, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// What came out since the last call.
    pub fn take_done(&mut self) -> Vec<(Question, Verdict)> {
        std::mem::take(&mut self.done)
    }

    /// Begins exchanges for those who wait, as many as may be open.
    fn start_waiting(&mut self, now: Now, random: &mut dyn Random) {
        while self.exchanges.len() < self.bounds.exchanges {
            let Some(id) = self.queue.pop_front() else { break };
            self.open(now, random, id, Transport::Udp);
        }
    }

    /// Sends a look-up's question to the server whose turn it is.
    fn open(&mut self, now: Now, random: &mut dyn Random, id: u64, transport: Transport) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        let Some(server) = lookup.servers.get(lookup.place).copied() else { return };
        let mut number = [0; 2];
        random.fill(&mut number);
        let mut dice = [0; 32];
        let spelled = lookup.spelled && transport == Transport::Udp;
        if spelled {
            random.fill(&mut dice);
        }
        let (id16, dice) = (u16::from_le_bytes(number), spelled.then_some(dice.as_slice()));
        let Some(sent) = Sent::new(lookup.question.clone(), id16, dice, lookup.edns) else { return };
        self.serial += 1;
        let exchange = self.serial;
        let wait = (self.settings.timeout_seconds * 1000) << lookup.round.min(3);
        let at_millis = now.monotonic_millis.saturating_add(wait);
        lookup.exchange = Some(exchange);
        lookup.troubles.insert(server, Trouble::Silent);
        self.timers.insert((at_millis, Timer::Exchange(exchange)));
        self.actions.push(Action::Ask { exchange, server, transport, bytes: sent.bytes.clone() });
        self.exchanges.insert(exchange, Exchange { lookup: id, server, transport, sent, at_millis, wrong: 0 });
    }

    /// Ends the exchange of a look-up.
    fn close(&mut self, id: u64) -> Option<SocketAddr> {
        let exchange = self.lookups.get_mut(&id)?.exchange.take()?;
        let open = self.exchanges.remove(&exchange)?;
        self.timers.remove(&(open.at_millis, Timer::Exchange(exchange)));
        self.actions.push(Action::Drop { exchange });
        Some(open.server)
    }

    /// Asks the same server in another way.
    fn retry(&mut self, now: Now, random: &mut dyn Random, id: u64, transport: Transport) {
        self.close(id);
        self.open(now, random, id, transport);
    }

    fn next_server(&mut self, now: Now, random: &mut dyn Random, id: u64, trouble: Trouble) {
        let server = self.close(id);
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        if let Some(server) = server {
            lookup.troubles.insert(server, trouble);
        }
        lookup.place += 1;
        if lookup.place >= lookup.servers.len() {
            // Who said no will say so again; who said nothing may have lost a datagram.
            if !lookup.again || lookup.round + 1 >= self.settings.attempts {
                return self.give_up(now, random, id);
            }
            (lookup.place, lookup.again) = (0, false);
            lookup.round += 1;
        }
        self.open(now, random, id, Transport::Udp);
    }

    fn give_up(&mut self, now: Now, random: &mut dyn Random, id: u64) {
        self.close(id);
        let Some(lookup) = self.lookups.get(&id) else { return };
        let trouble = |server: &SocketAddr| lookup.troubles.get(server).map(|trouble| (*server, trouble.clone()));
        let failure = Failure { servers: lookup.servers.iter().filter_map(trouble).collect() };
        // Whose turn never came knows nothing about the servers.
        let millis = if failure.servers.is_empty() { 0 } else { self.bounds.failure_millis() };
        self.finish(now, random, id, Err(failure), millis);
    }

    fn finish(&mut self, now: Now, random: &mut dyn Random, id: u64, verdict: Verdict, keep_millis: u64) {
        self.close(id);
        let Some(lookup) = self.lookups.remove(&id) else { return };
        self.timers.remove(&(lookup.deadline_millis, Timer::Lookup(id)));
        self.queue.retain(|waiting| *waiting != id);
        self.by_question.remove(&lookup.question);
        if keep_millis > 0 {
            let until = now.monotonic_millis.saturating_add(keep_millis);
            self.cache.keep(lookup.question.clone(), verdict.clone(), until, now.monotonic_millis);
        }
        self.done.push((lookup.question, verdict));
        self.start_waiting(now, random);
    }

    /// A server that answers where those before it were silent is asked first for a while.
    fn remember_server(&mut self, now: Now, id: u64) {
        let Some(lookup) = self.lookups.get(&id) else { return };
        let Some(server) = lookup.servers.get(lookup.place) else { return };
        let before = lookup.servers.iter().take(lookup.place);
        if before.clone().any(|server| lookup.troubles.get(server) == Some(&Trouble::Silent)) {
            let place = self.settings.servers.iter().position(|known| known == server);
            let until = now.monotonic_millis.saturating_add(self.bounds.detour_millis);
            self.detour = place.filter(|place| *place > 0).map(|place| (place, until));
        }
    }
}
