//! The way to components: which instance has which addresses, and the stanzas that wait for one that is away.
//!
//! | the instance | a stanza comes |
//! |---|---|
//! | is here | it leaves at once |
//! | is away | it waits, bounded in number, bytes and time, and comes back when the time is over |
//! | is away, `<offline/>` | a message or a subscription waits until it is here; all else as before |
//! | cannot be here | it comes back at once |
//!
//! What waits keeps its order, and what lasts of it is written down ([`super::kept`]): when the server was started anew it
//! waits again, and its time begins then. An instance that is away for longer than its stanzas wait is gone to those who see its
//! users' presence; when it is here again they are asked for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::kept::lasts;
use super::remote::unless_broadcast;
use super::{ConnectionId, Effect, Env, Out, Parcel, Router};
use crate::config::{self, Config, Link};
use crate::stream::dialback::Pair;
use crate::stream::sm::Mark;
use crate::xmpp::stanza_error::ErrorType;
use crate::xmpp::{Condition, Stanza, StanzaError};

/// An instance that is away.
#[derive(Default)]
struct Away {
    /// What comes back when its time is over.
    timed: Queue,
    /// What waits until the instance is here (`<offline/>`).
    lasting: Queue,
    /// The number that the next stanza gets.
    next: u64,
    /// Since when, if it was here before.
    since_millis: Option<u64>,
    /// The log was told that stanzas come back.
    is_told: bool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

struct Waiting {
    stanza: Stanza,
    bytes: usize,
    until_millis: u64,
    /// Its place among all that wait for the instance.
    number: u64,
    /// Its number among those that are written down.
    row: Option<u64>,
}

impl Away {
    /// All that waits, in the order in which it came.
    fn into_order(self) -> Vec<Waiting> {
        let mut all: Vec<Waiting> = self.timed.waiting.into_iter().chain(self.lasting.waiting).collect();
        all.sort_by_key(|waiting| waiting.number);
        all
    }
}

enum State {
    Here(ConnectionId),
    Away(Away),
}

/// All instances.
pub(super) struct Components {
    config: Arc<Config>,
    owners: HashMap<String, String>,
    /// Who gets what nobody else takes.
    rest: Option<String>,
    states: BTreeMap<String, State>,
}

impl Components {
    pub(super) fn new(config: &Arc<Config>) -> Components {
        let (owners, states) = (HashMap::new(), BTreeMap::new());
        let mut components = Components { config: config.clone(), owners, rest: None, states };
        components.reload(config);
        components
    }

    /// Takes over a changed configuration. Returns the stanzas that wait for an instance that is gone from it, and what
    /// they are written down under.
    pub(super) fn reload(&mut self, config: &Arc<Config>) -> Vec<(Stanza, Option<u64>)> {
        self.config = config.clone();
        self.owners.clear();
        for component in &config.components {
            for host in component.hosts.iter().filter(|host| config.component_of(host) == Some(component)) {
                self.owners.insert(host.clone(), component.id.clone());
            }
        }
        let rest = config.components.iter().find(|component| component.takes_rest);
        self.rest = rest.filter(|_| config.federation.is_none()).map(|component| component.id.clone());
        let is_gone = |id: &String| !config.component(id).is_some_and(config::Component::is_process);
        let gone: Vec<String> = self.states.keys().filter(|id| is_gone(id)).cloned().collect();
        let states = gone.iter().filter_map(|id| self.states.remove(id));
        let queues = states.filter_map(|state| match state {
            State::Away(away) => Some(away.into_order()),
            State::Here(_) => None,
        });
        queues.flatten().map(|waiting| (waiting.stanza, waiting.row)).collect()
    }

    /// The instance that gets what is for this domain.
    pub(super) fn owner(&self, domain: &str) -> Option<String> {
        self.owners.get(domain).or(self.rest.as_ref()).cloned()
    }

    fn here(&self, id: &str) -> Option<ConnectionId> {
        match self.states.get(id) {
            Some(State::Here(connection)) => Some(*connection),
            _ => None,
        }
    }
}

/// jabberd 1.4.4's words and code.
fn not_connected(id: &str) -> StanzaError {
    let text = format!("Component '{id}' is not connected to server");
    StanzaError::new(Condition::ServiceUnavailable, text).typed(ErrorType::Wait).coded(502)
}

impl Router {
    /// Is this instance connected?
    pub fn component_is_here(&self, id: &str) -> bool {
        self.components.here(id).is_some()
    }

    /// A stanza for one of an instance's addresses.
    pub(super) fn for_component(&mut self, env: &mut Env<'_>, id: &str, parcel: Parcel) -> Result<(), StanzaError> {
        let (Some(_), Some(to)) = (parcel.stanza.from(), parcel.stanza.to()) else { return Ok(()) };
        if self.blocked(to.domain().as_str()).is_some() {
            return self.stop_outgoing(&parcel);
        }
        if let Some(connection) = self.components.here(id) {
            self.out.push(Out::Stanza(connection, parcel.stanza));
            return Ok(());
        }
        let config = self.components.config.clone();
        let Some(component) = config.component(id) else { return Ok(()) };
        match &component.link {
            Link::Accept(_) | Link::Connect(_) => self.wait_for(env, component, parcel.stanza, None),
            Link::Bounce(why) => {
                let error = StanzaError::new(Condition::ServiceUnavailable, why.clone()).coded(502);
                unless_broadcast(&parcel.stanza, error)
            }
            Link::Directory(_) | Link::Null | Link::Unsubscribe(_) => {
                unless_broadcast(&parcel.stanza, Condition::ServiceUnavailable.into())
            }
        }
    }

    /// A stanza waits, if there is room for it. `row` is what it is written down under already.
    fn wait_for(
        &mut self,
        env: &mut Env<'_>,
        component: &config::Component,
        stanza: Stanza,
        row: Option<u64>,
    ) -> Result<(), StanzaError> {
        let limits = &self.hosts.config().limits;
        // All of it leaves at once when the component is here, and then must fit into what may wait for one connection:
        // both queues.
        let bytes_max = limits.component_queue_bytes_max.min(limits.output_bytes_max / 2);
        let stanzas_max = limits.component_queue_stanzas_max;
        let bytes = stanza.to_text().len();
        let is_lasting = component.keeps_offline() && lasts(&stanza);
        let state = self.components.states.entry(component.id.clone());
        let State::Away(away) = state.or_insert_with(|| State::Away(Away::default())) else { return Ok(()) };
        let queue = if is_lasting { &away.lasting } else { &away.timed };
        if queue.waiting.len() >= stanzas_max || queue.bytes.saturating_add(bytes) > bytes_max {
            return unless_broadcast(&stanza, Condition::ResourceConstraint.into());
        }
        let row = row.or_else(|| self.keep(env, &stanza));
        let Some(State::Away(away)) = self.components.states.get_mut(&component.id) else { return Ok(()) };
        let until_millis = env.now.after(Duration::from_secs(component.wait_seconds()));
        if !is_lasting && away.timed.waiting.is_empty() {
            self.out.push(Out::ComponentTimer { at_millis: until_millis, id: component.id.clone() });
        }
        let number = away.next;
        away.next = number.saturating_add(1);
        let queue = if is_lasting { &mut away.lasting } else { &mut away.timed };
        queue.bytes = queue.bytes.saturating_add(bytes);
        queue.waiting.push_back(Waiting { stanza, bytes, until_millis, number, row });
        Ok(())
    }

    /// The server was started, and a stanza for an instance waits that waited before. `is_old`: nobody counts on it any
    /// more.
    pub(super) fn wait_for_again(&mut self, env: &mut Env<'_>, id: &str, stanza: Stanza, row: u64, is_old: bool) {
        let config = self.components.config.clone();
        let component = config.component(id).filter(|component| component.is_process());
        let is_blocked = stanza.to().is_some_and(|to| self.blocked(to.domain().as_str()).is_some());
        let (Some(component), false) = (component, is_blocked) else {
            // Another jabber.xml: as if it had come now.
            self.forget(env, [row]);
            return self.queue.push_back((0, Effect::Route(stanza)));
        };
        let outcome = match is_old && !component.keeps_offline() {
            true => Err(not_connected(id)),
            false => self.wait_for(env, component, stanza.clone(), Some(row)),
        };
        if let Err(error) = outcome {
            self.forget(env, [row]);
            if let Err(error) = unless_broadcast(&stanza, error.clone()) {
                self.bounce_late(&stanza, &error);
            }
        }
    }

    /// An instance is here: what waited leaves, in order. Returns the connection whose place it takes.
    pub fn component_ready(&mut self, env: &mut Env<'_>, id: &str, connection: ConnectionId) -> Option<ConnectionId> {
        let old = self.components.states.insert(id.to_string(), State::Here(connection));
        let waiting = match old {
            Some(State::Here(replaced)) => return Some(replaced).filter(|old| *old != connection),
            Some(State::Away(away)) => away.into_order(),
            None => Vec::new(),
        };
        self.out.extend(waiting.into_iter().map(|Waiting { stanza, row, .. }| match row {
            Some(_) => Out::Marked(connection, stanza, Mark { row, losses: 0 }),
            None => Out::Stanza(connection, stanza),
        }));
        for pair in self.pairs_of(id) {
            self.server_reached(env, &pair);
        }
        self.work(env);
        None
    }

    /// A connection is gone; if it was an instance's, that one is away from now on.
    pub fn component_gone(&mut self, env: &Env<'_>, id: &str, connection: ConnectionId) {
        if self.components.here(id) != Some(connection) {
            return;
        }
        let now = env.now.monotonic_millis;
        let away = Away { since_millis: Some(now), ..Away::default() };
        self.components.states.insert(id.to_string(), State::Away(away));
        let at_millis = now.saturating_add(self.wait_millis(id));
        self.out.push(Out::ComponentTimer { at_millis, id: id.to_string() });
    }

    fn wait_millis(&self, id: &str) -> u64 {
        let component = self.components.config.component(id);
        component.map_or(0, config::Component::wait_seconds).saturating_mul(1000)
    }

    /// The time of stanzas that wait for an instance may be over, and the instance be gone for those who see its users.
    pub fn expire_component(&mut self, env: &mut Env<'_>, id: &str) {
        let (now, wait) = (env.now.monotonic_millis, self.wait_millis(id));
        let Some(State::Away(away)) = self.components.states.get_mut(id) else { return };
        let (mut late, queue) = (Vec::new(), &mut away.timed);
        while queue.waiting.front().is_some_and(|waiting| waiting.until_millis <= now) {
            if let Some(waiting) = queue.waiting.pop_front() {
                queue.bytes = queue.bytes.saturating_sub(waiting.bytes);
                late.push(waiting);
            }
        }
        if let Some(next) = queue.waiting.front() {
            self.out.push(Out::ComponentTimer { at_millis: next.until_millis, id: id.to_string() });
        }
        let is_gone = away.since_millis.is_some_and(|since| since.saturating_add(wait) <= now);
        if is_gone {
            away.since_millis = None;
        }
        if !late.is_empty() && !std::mem::replace(&mut away.is_told, true) {
            log::warn!(target: id, "Component '{id}' is not connected to server: stanzas to it come back");
        }
        let error = not_connected(id);
        for Waiting { stanza, row, .. } in late {
            self.forget(env, row);
            if let Err(error) = unless_broadcast(&stanza, error.clone()) {
                self.bounce_late(&stanza, &error);
            }
        }
        for pair in self.pairs_of(id).into_iter().filter(|_| is_gone) {
            self.server_vanished(env, &pair);
        }
        self.work(env);
    }

    /// Our hosts, each with each address of an instance.
    fn pairs_of(&self, id: &str) -> Vec<Pair> {
        let config = &self.components.config;
        let hosts = config.component(id).map(|component| component.hosts.as_slice()).unwrap_or_default();
        let pair = |from: &str, to: &str| Pair { from: from.to_string(), to: to.to_string() };
        config.hosts.iter().flat_map(|host| hosts.iter().map(move |to| pair(&host.name, to))).collect()
    }

    /// A stanza from a component, which may speak for its sender.
    pub fn from_component(&mut self, env: &mut Env<'_>, stanza: Stanza) {
        self.from_remote(env, stanza);
    }
}
