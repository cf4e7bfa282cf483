//! The way to other servers: a link for each pair of our host and a remote domain, and the stanzas that wait for it.
//!
//! | link | a stanza comes | |
//! |---|---|---|
//! | none | a link is asked for, the stanza waits | |
//! | `Awaited` | it waits, bounded in number, bytes and time | over a bound: `<resource-constraint/>` |
//! | `Open` | it leaves at once | |
//! | `Failed` | it comes back at once, until the time for another try | `<remote-server-not-found/>` or `-timeout` |
//!
//! What waits keeps its order, and what lasts of it is written down ([`super::kept`]). What cannot leave comes back to its
//! sender with the reason (RFC 6120 §10.4). What waited when the server was started anew is not given up before its time:
//! its sender may not be back yet to hear of it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::kept::Kept;
use super::shares::{Sender, Shares};
use super::{ConnectionId, Effect, Env, Out, Parcel, Router};
use crate::stream::dialback::Pair;
use crate::stream::sm::{Mark, Unsent};
use crate::xmpp::{Condition, IqType, Kind, Now, PresenceType, Stanza, StanzaError, jid};

/// The first wait after a failure; doubled with each further one.
const RETRY_MILLIS: u64 = 5_000;
/// The longest wait after a failure.
const RETRY_MILLIS_MAX: u64 = 300_000;

/// How often a stream may end under a stanza before that one comes back: something in it may be why.
const LOSSES_MAX: u8 = 4;

enum Link {
    Awaited(Box<Queue>),
    Open(ConnectionId),
    Failed { until_millis: u64, failures: Failures, condition: Condition, why: String },
}

/// How often a link was tried in vain without a success in between, and since when.
#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    since_millis: u64,
}

impl Failures {
    fn one_more(self, now: Now) -> Failures {
        let since_millis = if self.count == 0 { now.monotonic_millis } else { self.since_millis };
        Failures { count: self.count.saturating_add(1), since_millis }
    }
}

/// What waits for one link.
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    failures: Failures,
    /// Who wanted the link first: it counts among that one's.
    sender: Sender,
}

struct Waiting {
    stanza: Stanza,
    bytes: usize,
    until_millis: u64,
    sender: Sender,
    mark: Mark,
    /// It waited when the server was started.
    is_restored: bool,
}

/// All links.
#[derive(Default)]
pub struct Remotes {
    links: HashMap<Pair, Link>,
    shares: Shares,
    pub(super) kept: Kept,
}

/// A link as an admin sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Stanzas wait for it: so many.
    Awaited(usize),
    /// Stanzas leave by it.
    Open,
    /// It could not be had.
    Failed {
        /// Why not.
        why: String,
        /// Since when, on the monotonic clock.
        since_millis: u64,
        /// When it may be tried again.
        until_millis: u64,
    },
}

impl Remotes {
    /// Every pair with its state.
    pub fn states(&self) -> impl Iterator<Item = (&Pair, LinkState)> {
        self.links.iter().map(|(pair, link)| {
            let state = match link {
                Link::Awaited(queue) => LinkState::Awaited(queue.waiting.len()),
                Link::Open(_) => LinkState::Open,
                Link::Failed { why, failures, until_millis, .. } => LinkState::Failed {
                    why: why.clone(),
                    since_millis: failures.since_millis,
                    until_millis: *until_millis,
                },
            };
            (pair, state)
        })
    }

    /// Takes a link out that is awaited, with its queue.
    fn take_queue(&mut self, pair: &Pair) -> Option<Box<Queue>> {
        if !matches!(self.links.get(pair), Some(Link::Awaited(_))) {
            return None;
        }
        let Some(Link::Awaited(queue)) = self.links.remove(pair) else { return None };
        self.shares.take_link(&queue.sender);
        queue.waiting.iter().for_each(|waiting| self.shares.take(&waiting.sender, waiting.bytes));
        Some(queue)
    }

    /// The queue of a link, made where there is none; whether it was made.
    fn queue(&mut self, pair: &Pair, sender: &Sender, failures: Failures) -> Option<(&mut Queue, &mut Shares, bool)> {
        let is_new = !matches!(self.links.get(pair), Some(Link::Awaited(_)));
        if is_new {
            self.shares.add_link(sender);
            let queue = Queue { waiting: VecDeque::new(), bytes: 0, failures, sender: sender.clone() };
            self.links.insert(pair.clone(), Link::Awaited(Box::new(queue)));
        }
        match self.links.get_mut(pair) {
            Some(Link::Awaited(queue)) => Some((queue, &mut self.shares, is_new)),
            _ => None,
        }
    }
}

impl Queue {
    fn push(&mut self, shares: &mut Shares, waiting: Waiting) {
        shares.add(&waiting.sender, waiting.bytes);
        self.bytes = self.bytes.saturating_add(waiting.bytes);
        self.waiting.push_back(waiting);
    }

    /// Takes what has waited for too long.
    fn take_late(&mut self, shares: &mut Shares, now: Now) -> Vec<Waiting> {
        let mut late = Vec::new();
        while self.waiting.front().is_some_and(|waiting| waiting.until_millis <= now.monotonic_millis) {
            late.extend(self.waiting.pop_front());
        }
        self.took(shares, &late);
        late
    }

    /// Takes from the end what is over the bounds, the first of it first.
    fn take_excess(&mut self, shares: &mut Shares, count_max: usize, bytes_max: usize) -> Vec<Waiting> {
        let (mut excess, mut bytes) = (Vec::new(), self.bytes);
        while self.waiting.len() > count_max || bytes > bytes_max {
            let Some(waiting) = self.waiting.pop_back() else { break };
            bytes = bytes.saturating_sub(waiting.bytes);
            excess.push(waiting);
        }
        excess.reverse();
        self.took(shares, &excess);
        excess
    }

    fn took(&mut self, shares: &mut Shares, taken: &[Waiting]) {
        for waiting in taken {
            self.bytes = self.bytes.saturating_sub(waiting.bytes);
            shares.take(&waiting.sender, waiting.bytes);
        }
    }
}

impl Router {
    /// The links, to look at.
    pub fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// Do stanzas of this pair wait?
    pub fn link_is_awaited(&self, pair: &Pair) -> bool {
        matches!(self.remotes.links.get(pair), Some(Link::Awaited(_)))
    }

    /// May stanzas of this pair leave at once?
    pub fn link_is_open(&self, pair: &Pair) -> bool {
        matches!(self.remotes.links.get(pair), Some(Link::Open(_)))
    }

    /// Was a link for this pair tried of late, and not had?
    pub fn link_has_failed(&self, pair: &Pair) -> bool {
        matches!(self.remotes.links.get(pair), Some(Link::Failed { .. }))
    }

    /// When a stanza that begins to wait now has waited for too long.
    fn wait_until(&self, now: Now) -> u64 {
        let seconds = self.hosts.config().federation.as_ref().map_or(30, |federation| federation.queue_seconds);
        now.after(Duration::from_secs(seconds))
    }

    /// RFC 6120 §10.4: a domain that is not ours.
    pub(super) fn for_remote(&mut self, env: &mut Env<'_>, parcel: Parcel) -> Result<(), StanzaError> {
        let (Some(from), Some(to)) = (parcel.stanza.from(), parcel.stanza.to()) else { return Ok(()) };
        if self.blocked(to.domain().as_str()).is_some() {
            return self.stop_outgoing(&parcel);
        }
        let pair = Pair { from: from.domain().to_string(), to: to.domain().to_string() };
        if self.hosts.config().federation.is_none() {
            let text = "This server does not exchange messages with other servers.";
            return unless_broadcast(&parcel.stanza, StanzaError::new(Condition::RemoteServerNotFound, text));
        }
        let now = env.now.monotonic_millis;
        let failures = match self.remotes.links.get(&pair) {
            Some(Link::Open(connection)) => {
                let connection = *connection;
                self.out.push(Out::Stanza(connection, parcel.stanza));
                return Ok(());
            }
            Some(Link::Failed { until_millis, condition, why, .. }) if *until_millis > now => {
                let error = StanzaError::new(*condition, why.clone());
                return unless_broadcast(&parcel.stanza, error);
            }
            Some(Link::Failed { failures, .. }) => *failures,
            Some(Link::Awaited(_)) | None => Failures::default(),
        };
        self.wait(env, parcel.stanza, pair, failures)
    }

    /// A stanza waits for its link, if there is room for it.
    fn wait(&mut self, env: &mut Env<'_>, stanza: Stanza, pair: Pair, failures: Failures) -> Result<(), StanzaError> {
        let Some(sender) = self.sender_of(&stanza) else { return Ok(()) };
        let bytes = stanza.to_text().len();
        if !self.has_room(env.now, &pair, &sender, bytes) {
            return unless_broadcast(&stanza, Condition::ResourceConstraint.into());
        }
        let mark = Mark { row: self.keep(env, &stanza), losses: 0 };
        let until_millis = self.wait_until(env.now);
        let Some((queue, shares, is_new)) = self.remotes.queue(&pair, &sender, failures) else { return Ok(()) };
        // Who wants a link that was wanted by somebody else before need not stand behind all that one wants.
        let is_wanted = is_new || queue.sender != sender;
        queue.push(shares, Waiting { stanza, bytes, until_millis, sender: sender.clone(), mark, is_restored: false });
        if is_new {
            self.out.push(Out::QueueTimer { at_millis: until_millis, pair: pair.clone() });
        }
        if is_wanted {
            self.out.push(Out::Dial(pair, sender));
        }
        Ok(())
    }

    fn has_room(&mut self, now: Now, pair: &Pair, sender: &Sender, bytes: usize) -> bool {
        let limits = &self.hosts.config().limits;
        let links = &mut self.remotes.links;
        let is_new = match links.get(pair) {
            Some(Link::Awaited(queue)) => {
                let is_full = queue.waiting.len() >= limits.remote_queue_stanzas_max
                    || queue.bytes.saturating_add(bytes) > limits.remote_queue_bytes_max;
                if is_full {
                    return false;
                }
                false
            }
            Some(_) => true,
            None => {
                if links.len() >= limits.remote_links_max {
                    let now = now.monotonic_millis;
                    links.retain(|_, link| !matches!(link, Link::Failed { until_millis, .. } if *until_millis <= now));
                }
                if links.len() >= limits.remote_links_max {
                    return false;
                }
                true
            }
        };
        self.remotes.shares.admit(limits, sender, bytes, is_new)
    }

    /// The server was started, and a stanza waits that waited before.
    pub(super) fn wait_again(&mut self, env: &mut Env<'_>, stanza: Stanza, id: u64) {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return self.forget(env, [id]) };
        if self.blocked(to.domain().as_str()).is_some() {
            self.forget(env, [id]);
            return self.stop_late(stanza);
        }
        let pair = Pair { from: from.domain().to_string(), to: to.domain().to_string() };
        let Some(sender) = self.sender_of(&stanza) else { return self.forget(env, [id]) };
        let (bytes, until_millis) = (stanza.to_text().len(), self.wait_until(env.now));
        let Some((queue, shares, is_new)) = self.remotes.queue(&pair, &sender, Failures::default()) else { return };
        let mark = Mark { row: Some(id), losses: 0 };
        queue.push(shares, Waiting { stanza, bytes, until_millis, sender: sender.clone(), mark, is_restored: true });
        if is_new {
            self.out.push(Out::QueueTimer { at_millis: until_millis, pair: pair.clone() });
            self.out.push(Out::Dial(pair, sender));
        }
    }

    /// A pair may be used: what waited leaves, in order.
    pub fn link_ready(&mut self, env: &Env<'_>, pair: &Pair, connection: ConnectionId) {
        self.server_reached(env, pair);
        let queue = self.remotes.take_queue(pair);
        self.remotes.links.insert(pair.clone(), Link::Open(connection));
        let waiting = queue.into_iter().flat_map(|queue| queue.waiting);
        self.out.extend(waiting.map(|waiting| leaving(connection, waiting)));
    }

    /// A pair cannot be had: what waited comes back.
    pub fn link_failed(&mut self, env: &mut Env<'_>, pair: &Pair, condition: Condition, why: &str) {
        let (waiting, failures) = match self.remotes.take_queue(pair) {
            Some(queue) => (queue.waiting, queue.failures.one_more(env.now)),
            None => match self.remotes.links.get(pair) {
                None | Some(Link::Open(_)) => return,
                Some(Link::Failed { failures, .. }) => (VecDeque::new(), *failures),
                Some(Link::Awaited(_)) => return,
            },
        };
        let until_millis = env.now.monotonic_millis.saturating_add(retry_wait(failures.count));
        let failed = Link::Failed { until_millis, failures, condition, why: why.to_string() };
        self.remotes.links.insert(pair.clone(), failed);
        match waiting.front().is_some_and(|first| first.is_restored && first.until_millis > env.now.monotonic_millis) {
            true => self.try_again(pair, waiting, failures, until_millis),
            false => self.come_back(env, waiting, &StanzaError::new(condition, why)),
        }
        self.work(env);
    }

    /// What waited when the server was started waits on, for another try, and what came since stands behind it.
    fn try_again(&mut self, pair: &Pair, patient: VecDeque<Waiting>, failures: Failures, at_millis: u64) {
        let Some(first) = patient.front() else { return };
        let (sender, until_millis) = (first.sender.clone(), first.until_millis);
        let Some((queue, shares, _)) = self.remotes.queue(pair, &sender, failures) else { return };
        patient.into_iter().for_each(|waiting| queue.push(shares, waiting));
        self.out.push(Out::QueueTimer { at_millis: until_millis, pair: pair.clone() });
        self.out.push(Out::DialTimer { at_millis, pair: pair.clone(), sender });
    }

    /// Stanzas that a lost connection may have lost: they go again, before all others, by new links.
    pub fn send_again(&mut self, env: &mut Env<'_>, stanzas: VecDeque<Unsent>) {
        let until_millis = self.wait_until(env.now);
        let mut queues: BTreeMap<Pair, VecDeque<Waiting>> = BTreeMap::new();
        let mut given_up = Vec::new();
        for Unsent { stanza, mark } in stanzas {
            let Some(sender) = self.sender_of(&stanza) else { continue };
            let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { continue };
            if self.blocked(to.domain().as_str()).is_some() {
                self.forget(env, mark.row);
                self.stop_late(stanza);
                continue;
            }
            let pair = Pair { from: from.domain().to_string(), to: to.domain().to_string() };
            let bytes = stanza.to_text().len();
            let mark = Mark { losses: mark.losses.saturating_add(1), ..mark };
            let waiting = Waiting { stanza, bytes, until_millis, sender, mark, is_restored: false };
            if mark.losses > LOSSES_MAX {
                given_up.push(waiting);
                continue;
            }
            queues.entry(pair).or_default().push_back(waiting);
        }
        let mut back = VecDeque::new();
        for (pair, mut earlier) in queues {
            if let Some(Link::Open(connection)) = self.remotes.links.get(&pair) {
                let connection = *connection;
                self.out.extend(earlier.into_iter().map(|waiting| leaving(connection, waiting)));
                continue;
            }
            let losses = earlier.iter().map(|waiting| waiting.mark.losses).max().unwrap_or(0);
            let later = self.remotes.take_queue(&pair);
            let (failures, retry_at_millis) = match (&later, self.remotes.links.get(&pair)) {
                (Some(queue), _) => (queue.failures, 0),
                (None, Some(Link::Failed { failures, until_millis, .. })) => (*failures, *until_millis),
                (None, _) => (Failures::default(), 0),
            };
            let is_new = later.is_none();
            earlier.extend(later.into_iter().flat_map(|queue| queue.waiting));
            let Some(sender) = earlier.front().map(|waiting| waiting.sender.clone()) else { continue };
            self.keep_in_order(env, &mut earlier);
            let limits = &self.hosts.config().limits;
            let (count_max, bytes_max) = (limits.remote_queue_stanzas_max, limits.remote_queue_bytes_max);
            let Some((queue, shares, _)) = self.remotes.queue(&pair, &sender, failures) else { continue };
            earlier.into_iter().for_each(|waiting| queue.push(shares, waiting));
            back.extend(queue.take_excess(shares, count_max, bytes_max));
            if is_new {
                self.out.push(Out::QueueTimer { at_millis: until_millis, pair: pair.clone() });
                // A line may break. Who takes streams and ends them again and again is not called without a pause.
                let pause = if losses > 1 { RETRY_MILLIS } else { 0 };
                match env.now.monotonic_millis.saturating_add(pause).max(retry_at_millis) {
                    at_millis if at_millis > env.now.monotonic_millis => {
                        self.out.push(Out::DialTimer { at_millis, pair, sender });
                    }
                    _ => self.out.push(Out::Dial(pair, sender)),
                }
            }
        }
        let why = "the other server ends each stream before it acknowledges what is sent";
        self.come_back(env, given_up, &StanzaError::new(Condition::RemoteServerTimeout, why));
        self.come_back(env, back, &Condition::ResourceConstraint.into());
        self.work(env);
    }

    /// Writes down what is not yet. The numbers must follow the order in which it waits.
    fn keep_in_order(&mut self, env: &mut Env<'_>, waiting: &mut VecDeque<Waiting>) {
        let mut last = 0;
        let mut is_behind = false;
        for one in waiting {
            is_behind |= one.mark.row.is_none() && super::kept::lasts(&one.stanza);
            is_behind |= one.mark.row.is_some_and(|id| id < last);
            if is_behind {
                self.forget(env, one.mark.row.take());
                one.mark.row = self.keep(env, &one.stanza);
            }
            last = one.mark.row.unwrap_or(last);
        }
    }

    /// A stanza is longer than another server takes: who sent it is told, or who waits for it.
    pub fn was_too_long(&mut self, env: &mut Env<'_>, stanza: &Stanza, mark: Mark) {
        self.forget(env, mark.row);
        let error = StanzaError::new(Condition::PolicyViolation, "too big for another server");
        if stanza.kind() == Kind::Iq(IqType::Result) {
            let head = stanza.element().clone().with_nodes(Vec::new()).with_attribute("type", "error");
            let answer = Stanza::parse(head.with_child(error.to_element())).ok();
            if let (Some(answer), Some(from), Some(to)) = (answer, stanza.from(), stanza.to()) {
                let answer = answer.with_from(from.clone()).with_to(to.clone());
                self.queue.push_back((0, Effect::Route(answer)));
            }
        } else if !is_broadcast(stanza) {
            self.bounce_late(stanza, &error);
        }
        self.work(env);
    }

    /// A connection is gone: the links on it are asked for again when somebody has something to send.
    pub fn links_gone(&mut self, connection: ConnectionId) {
        self.remotes.links.retain(|_, link| !matches!(link, Link::Open(open) if *open == connection));
    }

    /// The time of the oldest waiting stanzas may be over.
    pub fn expire_queue(&mut self, env: &mut Env<'_>, pair: &Pair) {
        let Remotes { links, shares, .. } = &mut self.remotes;
        let Some(Link::Awaited(queue)) = links.get_mut(pair) else { return };
        let late = queue.take_late(shares, env.now);
        if let Some(next) = queue.waiting.front() {
            self.out.push(Out::QueueTimer { at_millis: next.until_millis, pair: pair.clone() });
        } else {
            self.remotes.take_queue(pair);
        }
        let text = format!("{}: the other server did not answer in time", pair.to);
        self.come_back(env, late, &StanzaError::new(Condition::RemoteServerTimeout, text));
        self.work(env);
    }

    /// What waited goes back to who sent it.
    fn come_back(&mut self, env: &mut Env<'_>, back: impl IntoIterator<Item = Waiting>, error: &StanzaError) {
        for Waiting { stanza, mark, .. } in back {
            self.forget(env, mark.row);
            if !is_broadcast(&stanza) {
                self.bounce_late(&stanza, error);
            }
        }
    }

    /// A stanza from another server, whose sender was proved.
    pub fn from_remote(&mut self, env: &mut Env<'_>, stanza: Stanza) {
        // Only the server itself speaks as one of its hosts: modules take such a stanza's word.
        if stanza.from().is_some_and(|from| from.node().is_none() && self.hosts.place(jid::domain(from)).is_some()) {
            log::warn!(target: "-internal", strangers = "stanzas in the name of our hosts";
                "a stanza in the name of one of our hosts came from outside: dropped");
            return;
        }
        if stanza.from().is_some_and(|from| self.blocked(from.domain().as_str()).is_some()) {
            let error = self.stop_incoming(&stanza);
            if let Some(reply) = error.and_then(|error| stanza.error(&error)) {
                self.answer_blocked(reply);
            }
            return;
        }
        self.note_sight(&stanza);
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

    /// Other hosts are ours than before: what waits in the name of one that is not is dropped. Its sender is gone, too.
    pub(super) fn stop_foreign(&mut self, env: &mut Env<'_>) {
        let config = self.hosts.config();
        let is_foreign = |pair: &&Pair, link: &Link| !matches!(link, Link::Open(_)) && !config.is_own(&pair.from);
        let links = self.remotes.links.iter().filter(|(pair, link)| is_foreign(pair, link));
        let foreign: Vec<Pair> = links.map(|(pair, _)| pair.clone()).collect();
        for pair in foreign {
            if let Some(queue) = self.remotes.take_queue(&pair) {
                self.forget(env, queue.waiting.iter().filter_map(|waiting| waiting.mark.row));
            }
            self.remotes.links.remove(&pair);
        }
    }

    /// Takes out the stanzas that wait for links to blocked domains, and forgets those links.
    pub(super) fn stop_waiting(&mut self, env: &mut Env<'_>) -> Vec<Stanza> {
        let blocked: Vec<Pair> = self
            .remotes
            .links
            .iter()
            .filter(|(pair, link)| !matches!(link, Link::Open(_)) && self.blocked(&pair.to).is_some())
            .map(|(pair, _)| pair.clone())
            .collect();
        let mut stanzas = Vec::new();
        for pair in blocked {
            if let Some(queue) = self.remotes.take_queue(&pair) {
                self.forget(env, queue.waiting.iter().filter_map(|waiting| waiting.mark.row));
                stanzas.extend(queue.waiting.into_iter().map(|waiting| waiting.stanza));
            }
            self.remotes.links.remove(&pair);
        }
        stanzas
    }
}

/// The wait after so many failures.
fn retry_wait(failures: u32) -> u64 {
    RETRY_MILLIS.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(RETRY_MILLIS_MAX)
}

fn leaving(connection: ConnectionId, waiting: Waiting) -> Out {
    match waiting.mark == Mark::default() {
        true => Out::Stanza(connection, waiting.stanza),
        false => Out::Marked(connection, waiting.stanza, waiting.mark),
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Config, Federation};
    use crate::store::Store;
    use crate::xmpp::random::NoDice;

    #[test]
    fn the_wait_after_failures_doubles_up_to_a_bound() {
        let waits: Vec<u64> = (1..=9).map(retry_wait).collect();
        assert_eq!(waits, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
        assert_eq!(retry_wait(u32::MAX), RETRY_MILLIS_MAX);
    }

    #[test]
    fn what_a_lost_stream_gives_back_does_not_undo_the_wait_after_failures() {
        let mut config = Config::for_host("h.test");
        config.federation = Some(Federation::default());
        let mut now = Now { unix_millis: 1_000_000, monotonic_millis: 5_000 };
        let mut router = Router::new(Arc::new(config), Vec::new(), now);
        let mut store = Store::in_memory().unwrap();
        let pair = Pair { from: "h.test".to_owned(), to: "far.test".to_owned() };
        let text =
            "<message xmlns='jabber:client' from='a@h.test/x' to='b@far.test' type='chat'><body>?</body></message>";
        let mut wait = RETRY_MILLIS;
        for round in 0..9 {
            let mut env = Env { now, random: &mut NoDice, store: &mut store };
            let lost = Unsent { stanza: Stanza::from_text(text).unwrap(), mark: Mark::default() };
            router.send_again(&mut env, VecDeque::from([lost]));
            let out = router.take_out();
            let due = out.iter().find_map(|out| match out {
                Out::Dial(..) => Some(now.monotonic_millis),
                Out::DialTimer { at_millis, .. } => Some(*at_millis),
                _ => None,
            });
            // It is not called before its time.
            let due = due.unwrap();
            assert_eq!(due, if round == 0 { 5_000 } else { now.monotonic_millis + wait }, "{round}");
            if round > 0 {
                wait = wait.saturating_mul(2).min(RETRY_MILLIS_MAX);
            }
            now.monotonic_millis = due;
            let mut env = Env { now, random: &mut NoDice, store: &mut store };
            router.link_failed(&mut env, &pair, Condition::RemoteServerTimeout, "it is not there");
            router.take_out();
        }
    }
}
