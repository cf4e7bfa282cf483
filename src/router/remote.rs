//! The way to other servers: a link for each pair of our host and a remote domain, and the stanzas that wait for it.
//!
//! | link | a stanza comes | |
//! |---|---|---|
//! | none | a link is asked for, the stanza waits | |
//! | `Awaited` | it waits, bounded in number, bytes and time | over a bound: `<resource-constraint/>` |
//! | `Open` | it leaves at once | |
//! | `Failed` | it comes back at once, until the time for another try | `<remote-server-not-found/>` or `-timeout` |
//!
//! What waits keeps its order. What cannot leave comes back to its sender with the reason (RFC 6120 §10.4).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::{ConnectionId, Effect, Env, Out, Parcel, Router};
use crate::stream::dialback::Pair;
use crate::xmpp::{Condition, Kind, PresenceType, Stanza, StanzaError, jid};

/// The first wait after a failure; doubled with each further one.
const RETRY_MILLIS: u64 = 5_000;
/// The longest wait after a failure.
const RETRY_MILLIS_MAX: u64 = 300_000;

enum Link {
    Awaited { queue: VecDeque<Waiting>, bytes: usize, failures: u32 },
    Open(ConnectionId),
    Failed { until_millis: u64, failures: u32, condition: Condition, why: String },
}

struct Waiting {
    stanza: Stanza,
    bytes: usize,
    until_millis: u64,
}

/// All links.
#[derive(Default)]
pub struct Remotes {
    links: HashMap<Pair, Link>,
}

/// A link as an admin sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Stanzas wait for it: so many.
    Awaited(usize),
    /// Stanzas leave by it.
    Open,
    /// It could not be had: why.
    Failed(String),
}

impl Remotes {
    /// Every pair with its state.
    pub fn states(&self) -> impl Iterator<Item = (&Pair, LinkState)> {
        self.links.iter().map(|(pair, link)| {
            let state = match link {
                Link::Awaited { queue, .. } => LinkState::Awaited(queue.len()),
                Link::Open(_) => LinkState::Open,
                Link::Failed { why, .. } => LinkState::Failed(why.clone()),
            };
            (pair, state)
        })
    }
}

impl Router {
    /// The links, to look at.
    pub fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// The pairs with this domain for which stanzas wait.
    pub fn links_awaited(&self, remote: &str) -> Vec<Pair> {
        let config = self.hosts.config();
        let components = config.components.iter().flat_map(|component| &component.hosts);
        let ours = config.hosts.iter().map(|host| &host.name).chain(components);
        let pairs = ours.map(|from| Pair { from: from.clone(), to: remote.to_owned() });
        pairs.filter(|pair| matches!(self.remotes.links.get(pair), Some(Link::Awaited { .. }))).collect()
    }

    /// May stanzas of this pair leave at once?
    pub fn link_is_open(&self, pair: &Pair) -> bool {
        matches!(self.remotes.links.get(pair), Some(Link::Open(_)))
    }

    /// Was a link for this pair tried of late, and not had?
    pub fn link_has_failed(&self, pair: &Pair) -> bool {
        matches!(self.remotes.links.get(pair), Some(Link::Failed { .. }))
    }

    /// RFC 6120 §10.4: a domain that is not ours.
    pub(super) fn for_remote(&mut self, env: &mut Env<'_>, parcel: Parcel) -> Result<(), StanzaError> {
        let (Some(from), Some(to)) = (parcel.stanza.from(), parcel.stanza.to()) else { return Ok(()) };
        if self.blocked(to.domain().as_str()).is_some() {
            return self.stop_outgoing(env, &parcel);
        }
        let pair = Pair { from: from.domain().to_string(), to: to.domain().to_string() };
        if self.hosts.config().federation.is_none() {
            let text = "This server does not exchange messages with other servers.";
            return unless_broadcast(&parcel.stanza, StanzaError::new(Condition::RemoteServerNotFound, text));
        }
        let now = env.now.monotonic_millis;
        let limits = &self.hosts.config().limits;
        let wait = self.hosts.config().federation.as_ref().map_or(30, |federation| federation.queue_seconds);
        if !self.remotes.links.contains_key(&pair) && self.remotes.links.len() >= limits.remote_links_max {
            self.remotes
                .links
                .retain(|_, link| !matches!(link, Link::Failed { until_millis, .. } if *until_millis <= now));
            if self.remotes.links.len() >= limits.remote_links_max {
                return unless_broadcast(&parcel.stanza, Condition::ResourceConstraint.into());
            }
        }
        match self.remotes.links.get_mut(&pair) {
            Some(Link::Open(connection)) => {
                let connection = *connection;
                self.out.push(Out::Stanza(connection, parcel.stanza));
                Ok(())
            }
            Some(Link::Failed { until_millis, condition, why, .. }) if *until_millis > now => {
                let error = StanzaError::new(*condition, why.clone());
                unless_broadcast(&parcel.stanza, error)
            }
            Some(Link::Awaited { queue, bytes, .. }) => {
                let size = parcel.stanza.to_text().len();
                if queue.len() >= limits.remote_queue_stanzas_max
                    || bytes.saturating_add(size) > limits.remote_queue_bytes_max
                {
                    return unless_broadcast(&parcel.stanza, Condition::ResourceConstraint.into());
                }
                *bytes = bytes.saturating_add(size);
                let until_millis = env.now.after(Duration::from_secs(wait));
                queue.push_back(Waiting { stanza: parcel.stanza, bytes: size, until_millis });
                Ok(())
            }
            other => {
                let failures = match other {
                    Some(Link::Failed { failures, .. }) => *failures,
                    _ => 0,
                };
                let bytes = parcel.stanza.to_text().len();
                let until_millis = env.now.after(Duration::from_secs(wait));
                let queue = VecDeque::from([Waiting { stanza: parcel.stanza, bytes, until_millis }]);
                self.remotes.links.insert(pair.clone(), Link::Awaited { queue, bytes, failures });
                self.out.push(Out::QueueTimer { at_millis: until_millis, pair: pair.clone() });
                self.out.push(Out::Dial(pair));
                Ok(())
            }
        }
    }

    /// A pair may be used: what waited leaves, in order.
    pub fn link_ready(&mut self, env: &Env<'_>, pair: &Pair, connection: ConnectionId) {
        self.server_reached(env, pair);
        let old = self.remotes.links.insert(pair.clone(), Link::Open(connection));
        if let Some(Link::Awaited { queue, .. }) = old {
            self.out.extend(queue.into_iter().map(|waiting| Out::Stanza(connection, waiting.stanza)));
        }
    }

    /// A pair cannot be had: what waited comes back.
    pub fn link_failed(&mut self, env: &mut Env<'_>, pair: &Pair, condition: Condition, why: &str) {
        let Some(link) = self.remotes.links.remove(pair) else { return };
        let (queue, failures) = match link {
            Link::Awaited { queue, failures, .. } => (queue, failures.saturating_add(1)),
            Link::Open(connection) => {
                self.remotes.links.insert(pair.clone(), Link::Open(connection));
                return;
            }
            Link::Failed { failures, .. } => (VecDeque::new(), failures),
        };
        let wait = RETRY_MILLIS.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_MILLIS_MAX);
        let until_millis = env.now.monotonic_millis.saturating_add(wait);
        let failed = Link::Failed { until_millis, failures, condition, why: why.to_string() };
        self.remotes.links.insert(pair.clone(), failed);
        let error = StanzaError::new(condition, why);
        for waiting in queue {
            self.come_back(&waiting.stanza, &error);
        }
        self.work(env);
    }

    /// Stanzas that a lost connection may have lost: they go again, before all others, by new links.
    pub fn send_again(&mut self, env: &mut Env<'_>, stanzas: VecDeque<Stanza>) {
        let wait = self.hosts.config().federation.as_ref().map_or(30, |federation| federation.queue_seconds);
        let until_millis = env.now.after(Duration::from_secs(wait));
        let mut queues: BTreeMap<Pair, VecDeque<Waiting>> = BTreeMap::new();
        for stanza in stanzas {
            let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { continue };
            if self.blocked(to.domain().as_str()).is_some() {
                self.stop_late(env, stanza);
                continue;
            }
            let pair = Pair { from: from.domain().to_string(), to: to.domain().to_string() };
            let bytes = stanza.to_text().len();
            queues.entry(pair).or_default().push_back(Waiting { stanza, bytes, until_millis });
        }
        let limits = &self.hosts.config().limits;
        let most = (limits.remote_queue_stanzas_max, limits.remote_queue_bytes_max);
        let mut excess = Vec::new();
        for (pair, mut queue) in queues {
            let mut more: usize = queue.iter().map(|waiting| waiting.bytes).sum();
            match self.remotes.links.get_mut(&pair) {
                Some(Link::Awaited { queue: later, bytes, .. }) => {
                    *bytes = bytes.saturating_add(more);
                    queue.append(later);
                    excess.extend(cut_to(most, &mut queue, bytes));
                    *later = queue;
                }
                Some(Link::Open(connection)) => {
                    let connection = *connection;
                    self.out.extend(queue.into_iter().map(|waiting| Out::Stanza(connection, waiting.stanza)));
                }
                Some(Link::Failed { .. }) | None => {
                    excess.extend(cut_to(most, &mut queue, &mut more));
                    self.out.push(Out::QueueTimer { at_millis: until_millis, pair: pair.clone() });
                    self.out.push(Out::Dial(pair.clone()));
                    self.remotes.links.insert(pair, Link::Awaited { queue, bytes: more, failures: 0 });
                }
            }
        }
        for stanza in excess {
            self.come_back(&stanza, &Condition::ResourceConstraint.into());
        }
        self.work(env);
    }

    /// A connection is gone: the links on it are asked for again when somebody has something to send.
    pub fn links_gone(&mut self, connection: ConnectionId) {
        self.remotes.links.retain(|_, link| !matches!(link, Link::Open(open) if *open == connection));
    }

    /// The time of the oldest waiting stanzas may be over.
    pub fn expire_queue(&mut self, env: &mut Env<'_>, pair: &Pair) {
        let Some(Link::Awaited { queue, bytes, .. }) = self.remotes.links.get_mut(pair) else { return };
        let mut late = Vec::new();
        while queue.front().is_some_and(|waiting| waiting.until_millis <= env.now.monotonic_millis) {
            if let Some(waiting) = queue.pop_front() {
                *bytes = bytes.saturating_sub(waiting.bytes);
                late.push(waiting.stanza);
            }
        }
        if let Some(next) = queue.front() {
            self.out.push(Out::QueueTimer { at_millis: next.until_millis, pair: pair.clone() });
        } else {
            self.remotes.links.remove(pair);
        }
        let text = format!("{}: the other server did not answer in time", pair.to);
        let error = StanzaError::new(Condition::RemoteServerTimeout, text);
        for stanza in late {
            self.come_back(&stanza, &error);
        }
        self.work(env);
    }

    fn come_back(&mut self, stanza: &Stanza, error: &StanzaError) {
        if is_broadcast(stanza) {
            return;
        }
        if let Some(reply) = stanza.error(error) {
            self.queue.push_back((0, Effect::Route(reply)));
        }
    }

    /// A stanza from another server, whose sender was proved.
    pub fn from_remote(&mut self, env: &mut Env<'_>, stanza: Stanza) {
        // Only the server itself speaks as one of its hosts: modules take such a stanza's word.
        if stanza.from().is_some_and(|from| from.node().is_none() && self.hosts.place(jid::domain(from)).is_some()) {
            log::warn!(target: "-internal", "a stanza in the name of one of our hosts came from outside: dropped");
            return;
        }
        if stanza.from().is_some_and(|from| self.blocked(from.domain().as_str()).is_some()) {
            let error = self.stop_incoming(env.now, &stanza);
            if let Some(reply) = error.and_then(|error| stanza.error(&error)) {
                self.answer_blocked(reply);
            }
            return;
        }
        self.queue.push_back((0, Effect::Route(stanza)));
        self.work(env);
    }

    /// An answer to a blocked domain goes by the link that is there; none is made for it.
    fn answer_blocked(&mut self, reply: Stanza) {
        let (Some(from), Some(to)) = (reply.from(), reply.to()) else { return };
        let pair = Pair { from: from.domain().to_string(), to: to.domain().to_string() };
        if let Some(Link::Open(connection)) = self.remotes.links.get(&pair) {
            self.out.push(Out::Stanza(*connection, reply));
        }
    }

    /// Takes out the stanzas that wait for links to blocked domains, and forgets those links.
    pub(super) fn stop_waiting(&mut self) -> Vec<Stanza> {
        let blocked: Vec<Pair> = self
            .remotes
            .links
            .iter()
            .filter(|(pair, link)| !matches!(link, Link::Open(_)) && self.blocked(&pair.to).is_some())
            .map(|(pair, _)| pair.clone())
            .collect();
        let mut stanzas = Vec::new();
        for pair in blocked {
            if let Some(Link::Awaited { queue, .. }) = self.remotes.links.remove(&pair) {
                stanzas.extend(queue.into_iter().map(|waiting| waiting.stanza));
            }
        }
        stanzas
    }
}

/// Takes from the end of a queue what is over its bounds, the first of it first.
fn cut_to(most: (usize, usize), queue: &mut VecDeque<Waiting>, bytes: &mut usize) -> Vec<Stanza> {
    let mut excess = Vec::new();
    while queue.len() > most.0 || *bytes > most.1 {
        let Some(waiting) = queue.pop_back() else { break };
        *bytes = bytes.saturating_sub(waiting.bytes);
        excess.push(waiting.stanza);
    }
    excess.reverse();
    excess
}

/// Presence that a client did not write to anybody in particular: a broadcast or a probe. Its failure is not told.
fn is_broadcast(stanza: &Stanza) -> bool {
    let to_bare = stanza.to().is_none_or(|to| to.is_bare());
    match stanza.kind() {
        Kind::Presence(PresenceType::Available | PresenceType::Unavailable) => to_bare,
        Kind::Presence(PresenceType::Probe) => true,
        _ => false,
    }
}

/// An error for the sender of a stanza, if it is told of errors.
pub(super) fn unless_broadcast(stanza: &Stanza, error: StanzaError) -> Result<(), StanzaError> {
    if is_broadcast(stanza) { Ok(()) } else { Err(error) }
}
