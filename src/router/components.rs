//! The way to components: which instance has which addresses, and the stanzas that wait for one that is away.
//!
//! | the instance | a stanza comes |
//! |---|---|
//! | is here | it leaves at once |
//! | is away | it waits, bounded in number, bytes and time, and comes back when the time is over |
//! | is away, `<offline/>` | a message or a subscription is stored until it is here; all else as before |
//! | cannot be here | it comes back at once |
//!
//! What waits keeps its order. An instance that is away for longer than its stanzas wait is gone to those who see its
//! users' presence; when it is here again they are asked for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::remote::unless_broadcast;
use super::{ConnectionId, Effect, Env, Out, Parcel, Router};
use crate::config::{self, Config, Link};
use crate::store::{Bounds, component_offline};
use crate::stream::dialback::Pair;
use crate::xmpp::stanza_error::ErrorType;
use crate::xmpp::{Condition, Kind, MessageType, PresenceType, Stanza, StanzaError};

/// An instance that is away.
#[derive(Default)]
struct Away {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// Since when, if it was here before.
    since_millis: Option<u64>,
    /// The log was told that stanzas come back.
    is_told: bool,
}

struct Waiting {
    stanza: Stanza,
    bytes: usize,
    until_millis: u64,
    /// The stored stanza that came just before it.
    behind: u64,
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

    /// Takes over a changed configuration. Returns the stanzas that wait for an instance that is gone from it.
    pub(super) fn reload(&mut self, config: &Arc<Config>) -> Vec<Stanza> {
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
            State::Away(away) => Some(away.queue),
            State::Here(_) => None,
        });
        queues.flatten().map(|waiting| waiting.stanza).collect()
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

/// What `<offline/>` keeps: messages of people, and subscriptions.
fn is_kept(stanza: &Stanza) -> bool {
    use PresenceType::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
    match stanza.kind() {
        Kind::Message(kind) => kind != MessageType::Error,
        Kind::Presence(kind) => matches!(kind, Subscribe | Subscribed | Unsubscribe | Unsubscribed),
        Kind::Iq(_) => false,
    }
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
            return self.stop_outgoing(env, &parcel);
        }
        if let Some(connection) = self.components.here(id) {
            self.out.push(Out::Stanza(connection, parcel.stanza));
            return Ok(());
        }
        let config = self.components.config.clone();
        let Some(component) = config.component(id) else { return Ok(()) };
        match &component.link {
            Link::Accept(_) | Link::Connect(_) => self.wait_for(env, component, parcel.stanza),
            Link::Bounce(why) => {
                let error = StanzaError::new(Condition::ServiceUnavailable, why.clone()).coded(502);
                unless_broadcast(&parcel.stanza, error)
            }
            Link::Directory(_) | Link::Null | Link::Unsubscribe(_) => {
                unless_broadcast(&parcel.stanza, Condition::ServiceUnavailable.into())
            }
        }
    }

    fn wait_for(
        &mut self,
        env: &mut Env<'_>,
        component: &config::Component,
        stanza: Stanza,
    ) -> Result<(), StanzaError> {
        let limits = &self.hosts.config().limits;
        // All of it leaves at once when the component is here, and then must fit into what may wait for one connection:
        // what is stored and what is not.
        let bytes_max = limits.component_queue_bytes_max.min(limits.output_bytes_max / 2);
        let stanzas_max = limits.component_queue_stanzas_max;
        if component.keeps_offline() && is_kept(&stanza) {
            let bounds = Bounds { count: stanzas_max as u64, bytes: bytes_max as u64 };
            return match component_offline::append(env.store, &component.id, &stanza.to_text(), bounds)? {
                true => Ok(()),
                false => Err(Condition::ResourceConstraint.into()),
            };
        }
        let behind = match component.keeps_offline() {
            true => component_offline::last(env.store, &component.id)?,
            false => 0,
        };
        let state = self.components.states.entry(component.id.clone());
        let State::Away(away) = state.or_insert_with(|| State::Away(Away::default())) else { return Ok(()) };
        let bytes = stanza.to_text().len();
        if away.queue.len() >= stanzas_max || away.bytes.saturating_add(bytes) > bytes_max {
            return unless_broadcast(&stanza, Condition::ResourceConstraint.into());
        }
        let until_millis = env.now.after(Duration::from_secs(component.wait_seconds()));
        if away.queue.is_empty() {
            self.out.push(Out::ComponentTimer { at_millis: until_millis, id: component.id.clone() });
        }
        away.bytes = away.bytes.saturating_add(bytes);
        away.queue.push_back(Waiting { stanza, bytes, until_millis, behind });
        Ok(())
    }

    /// An instance is here: what waited leaves, in order. Returns the connection whose place it takes.
    pub fn component_ready(&mut self, env: &mut Env<'_>, id: &str, connection: ConnectionId) -> Option<ConnectionId> {
        let old = self.components.states.insert(id.to_string(), State::Here(connection));
        let mut queue: VecDeque<Waiting> = match old {
            Some(State::Here(replaced)) => return Some(replaced).filter(|old| *old != connection),
            Some(State::Away(away)) => away.queue,
            None => VecDeque::new(),
        };
        for (number, text) in self.take_kept(env, id) {
            while queue.front().is_some_and(|waiting| waiting.behind < number) {
                self.out.extend(queue.pop_front().map(|waiting| Out::Stanza(connection, waiting.stanza)));
            }
            if let Some(stanza) = Stanza::from_text(&text) {
                self.out.push(Out::Stanza(connection, stanza));
            }
        }
        self.out.extend(queue.into_iter().map(|waiting| Out::Stanza(connection, waiting.stanza)));
        for pair in self.pairs_of(id) {
            self.server_reached(env, &pair);
        }
        self.work(env);
        None
    }

    /// What was stored for an instance; it is delivered now.
    fn take_kept(&mut self, env: &mut Env<'_>, id: &str) -> Vec<(u64, String)> {
        let taken = env.store.savepoint(|store| {
            let kept = component_offline::all(store, id)?;
            component_offline::clear(store, id).map(|()| kept)
        });
        taken.unwrap_or_else(|error: crate::store::Error| {
            log::error!(target: id, "what was kept for this component stays: {error}");
            Vec::new()
        })
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
        let mut late = Vec::new();
        while away.queue.front().is_some_and(|waiting| waiting.until_millis <= now) {
            if let Some(waiting) = away.queue.pop_front() {
                away.bytes = away.bytes.saturating_sub(waiting.bytes);
                late.push(waiting.stanza);
            }
        }
        if let Some(next) = away.queue.front() {
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
        for stanza in late {
            self.bounce_late(id, &stanza, &error);
        }
        for pair in self.pairs_of(id).into_iter().filter(|_| is_gone) {
            self.server_vanished(env, &pair);
        }
        self.work(env);
    }

    fn bounce_late(&mut self, id: &str, stanza: &Stanza, error: &StanzaError) {
        if unless_broadcast(stanza, error.clone()).is_ok() {
            return;
        }
        let Some(reply) = stanza.error(error) else { return };
        if let (Some(from), Some(to)) = (stanza.from(), stanza.to()) {
            // 1.4's words, which people grep for.
            log::info!(target: id, "bouncing a packet to {to} from {from}: Component '{id}' is not connected to server");
        }
        self.queue.push_back((0, Effect::Route(reply)));
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
