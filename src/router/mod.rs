//! A stanza's way: by its address to the host itself, to a local account, to a service of ours, to a component, or to
//! the rest of the world.
//!
//! The router owns the sessions and the modules, and works off the effects that modules push until none is left. What
//! must leave the server comes out as [`Out`] values, in order; the router knows neither sockets nor streams.
//!
//! Serves `server/`. Invariants: a stanza is handled in a savepoint of its own, so a handler that fails leaves no
//! half-done writes and no effects; no module is entered while another one runs.

pub mod accounts;
pub mod blocks;
mod bouncing;
pub mod bytestreams;
pub mod command;
pub mod components;
pub mod context;
pub mod delivery;
pub mod hosts;
pub mod ids;
pub mod kept;
pub mod module;
pub mod privacy;
pub mod remote;
mod seen;
mod services;
pub mod sessions;
pub mod shares;
pub mod sight;
pub mod vanished;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

pub use blocks::Origin;
pub use context::{Context, Effect, Pending, Requester};
pub use hosts::Hosts;
use hosts::{HostPlace, ServicePlace};
pub use ids::{ConnectionId, IdMap, SessionId};
use module::Point;
pub use module::{About, AccountEvent, Answers, Flow, Module, Reply, Reread, Scope, ServiceAbout, SessionEvent, Wake};
pub use remote::{LinkState, Remotes};
pub use sessions::{Session, Sessions, Visibility};
pub use shares::Sender;

use crate::config::Config;
use crate::store::{Store, account};
use crate::stream::dialback::Pair;
use crate::stream::sasl::{HashJob, HashResult};
use crate::stream::sm::Mark;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{
    BareJid, Condition, FullJid, Iq, IqType, Jid, Kind, Now, PresenceType, Random, Stanza, StanzaError, StreamError, ns,
};

/// What leaves the router.
#[derive(Debug)]
#[expect(missing_docs, reason = "fields say by their types what they are")]
pub enum Out {
    /// A stanza for the stream of a connection.
    Stanza(ConnectionId, Stanza),
    /// The same, of a stanza that waited: [`Router::forget`] wants its row when it is there.
    Marked(ConnectionId, Stanza, Mark),
    /// The end of a connection's stream, with the session that it was.
    Close(ConnectionId, Box<Session>, StreamError),
    /// The end of the streams that are logged in to an account and have no session yet.
    CloseUnbound(BareJid, StreamError),
    /// Password work; the result comes back by [`Router::hashed`] with this ticket. Who is on that connection waits for it.
    Hash(HashTicket, Option<ConnectionId>, HashJob),
    /// A link between two domains is wanted; [`Router::link_ready`] or [`Router::link_failed`] answers.
    Dial(Pair, Sender),
    /// The same, at that time, if stanzas wait then.
    DialTimer { at_millis: u64, pair: Pair, sender: Sender },
    /// When to call [`Router::expire_queue`].
    QueueTimer { at_millis: u64, pair: Pair },
    /// When to call [`Router::expire_component`].
    ComponentTimer { at_millis: u64, id: String },
    /// Two ends of a file transfer are one from now on.
    Join { one: ConnectionId, other: ConnectionId, bytes_per_second: Option<u64> },
    /// When to call [`Router::walk_on`].
    WalkTimer { at_millis: u64 },
    /// The server is to end then.
    Stop { at_millis: u64 },
    /// jabber.xml is to be read again; [`Router::reread`] wants to know what came of it.
    Reload(ModuleTimer),
    /// The answer to a question of [`Router::ask`], by its id.
    Answered(String, Stanza),
    /// [`Router::woke`] wants this back when all that was sent on that connection has left.
    WhenDrained(ConnectionId, ModuleTimer),
    /// [`Router::woke`] wants this back when the client there has shown that it took all that was sent to it.
    WhenTaken(ConnectionId, ModuleTimer),
    /// A timer; [`Router::woke`] wants it back when it is due.
    Timer { at_millis: u64, timer: ModuleTimer },
}

/// Who waits for a piece of password work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashTicket {
    module: usize,
    host: String,
}

/// Whose timer or wish it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleTimer {
    module: usize,
    host: String,
    token: u64,
}

/// The moment and the dice that every entry into the router brings along.
pub struct Env<'a> {
    /// The moment of this tick.
    pub now: Now,
    /// Dice.
    pub random: &'a mut dyn Random,
    /// The data of accounts.
    pub store: &'a mut Store,
}

/// How far effects may breed effects before the chain is cut: a loop between modules must not hold the server.
const EFFECT_DEPTH_MAX: u32 = 16;

/// A stanza on its way, and who sent it.
pub(crate) struct Parcel {
    stanza: Stanza,
    requester: Requester,
    depth: u32,
}

/// Whom a request is for.
#[derive(Clone, Copy)]
pub(crate) struct Addressee {
    host: HostPlace,
    scope: Scope,
    /// Which service of the host, if it is for one.
    service: Option<ServicePlace>,
}

impl Addressee {
    fn at(host: HostPlace, scope: Scope) -> Addressee {
        Addressee { host, scope, service: None }
    }
}

/// A call that modules get one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    point: Point,
    host: HostPlace,
    service: Option<ServicePlace>,
    depth: u32,
    requester: Requester,
}

/// A module, and what the router has learnt about it.
struct Row {
    module: Box<dyn Module>,
    /// A bit for each [`Point`] at which the module was found to do nothing.
    idle: u16,
}

/// The router.
pub struct Router {
    pub(crate) hosts: Hosts,
    pub(crate) sessions: Sessions,
    modules: Vec<Row>,
    remotes: Remotes,
    components: components::Components,
    blocks: blocks::Table,
    bytestreams: bytestreams::Bytestreams,
    vanished: vanished::Vanished,
    queue: VecDeque<(u32, Effect)>,
    out: Vec<Out>,
    /// What was done since it was last asked: effects, stanzas that left, and what modules count themselves.
    spent: usize,
    /// Questions of ours that wait for an answer: id, and who is asked.
    asked: Vec<(String, Jid)>,
    started_millis: u64,
}

impl Router {
    /// A router for the hosts of a configuration, with the rows of the table of modules.
    pub fn new(config: Arc<Config>, modules: Vec<(&'static str, Box<dyn Module>)>, now: Now) -> Router {
        let abouts = modules.iter().map(|(name, module)| (*name, module.about())).collect();
        let components = components::Components::new(&config);
        Router {
            blocks: blocks::Table::new(&config.blocks),
            hosts: Hosts::new(config, abouts),
            sessions: Sessions::default(),
            modules: modules.into_iter().map(|(_, module)| Row { module, idle: 0 }).collect(),
            remotes: Remotes::default(),
            bytestreams: bytestreams::Bytestreams::default(),
            components,
            vanished: vanished::Vanished::default(),
            queue: VecDeque::new(),
            out: Vec::new(),
            spent: 0,
            asked: Vec::new(),
            started_millis: now.monotonic_millis,
        }
    }

    /// Takes over a changed configuration.
    pub fn reload(&mut self, env: &mut Env<'_>, config: Arc<Config>) {
        for (host, index) in self.hosts.switched_off(&config) {
            let requester = Requester::Elsewhere;
            let call = Call { point: Point::SwitchedOff, host, service: None, depth: 0, requester };
            self.enter(env, call, index, |module, context| module.switched_off(context));
        }
        self.work(env);
        let orphans = self.components.reload(&config);
        let guarded = |config: &Config, host: &str| config.host(host).map(|host| host.modules.is_on("mod_privacy"));
        let before = self.hosts.config().clone();
        self.hosts.reload(config.clone());
        for host in &config.hosts {
            let (was_on, is_on) = (guarded(&before, &host.name), host.modules.is_on("mod_privacy"));
            if was_on.is_some_and(|was_on| was_on != is_on) {
                for id in self.sessions.renew_standings(env.store, &host.name, is_on) {
                    let text = "The privacy lists cannot be read.";
                    self.close_session(env, id, StreamError::new(StreamCondition::InternalServerError, text));
                }
            }
        }
        let error = StanzaError::from(Condition::ServiceUnavailable);
        for (stanza, row) in orphans {
            self.forget(env, row);
            self.bounce_late(&stanza, &error);
        }
        self.stop_foreign(env);
        self.blocks_changed(env);
    }

    /// The sessions.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The hosts.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The ends of file transfers that are connected to us.
    pub fn bytestreams_mut(&mut self) -> &mut bytestreams::Bytestreams {
        &mut self.bytestreams
    }

    /// What has to leave, in order.
    pub fn take_out(&mut self) -> Vec<Out> {
        self.spent = self.spent.saturating_add(self.out.len());
        std::mem::take(&mut self.out)
    }

    /// How much was done since the last call, for whoever is to pay for it.
    pub fn take_spent(&mut self) -> usize {
        std::mem::take(&mut self.spent)
    }

    /// Binds a resource. An older session with the same full JID is ended with `<conflict/>` (RFC 6120 §7.7.2.2).
    pub fn bind(&mut self, env: &mut Env<'_>, jid: FullJid, connection: ConnectionId) -> SessionId {
        let old = self.sessions.by_full(&jid.to_bare(), &jid);
        if let Some(old) = old {
            let text = "Replaced by new connection";
            self.close_session(env, old, StreamError::new(StreamCondition::Conflict, text));
            self.work(env);
        }
        let id = self.sessions.add(jid, connection, env.now.monotonic_millis);
        self.queue.push_back((0, Effect::Session(id, SessionEvent::Bound)));
        self.work(env);
        id
    }

    /// Notes where a session's client is.
    pub fn set_peer(&mut self, session: SessionId, peer: IpAddr) {
        if let Some(session) = self.sessions.by_id_mut(session) {
            session.peer = Some(peer);
        }
    }

    /// A session's stream is gone, whatever the reason.
    pub fn unbind(&mut self, env: &mut Env<'_>, session: SessionId) -> Option<Session> {
        self.tell_end(env, session);
        let gone = self.sessions.remove(session);
        gone.iter().for_each(|session| self.sees_no_more(session));
        self.work(env);
        gone
    }

    /// A local client sent a stanza.
    pub fn from_session(&mut self, env: &mut Env<'_>, session: SessionId, stanza: Stanza) {
        let Some(sender) = self.sessions.by_id_mut(session) else { return };
        sender.sent += 1;
        sender.last_sent_millis = env.now.monotonic_millis;
        let mut stanza = stanza.with_from(sender.jid().clone());
        // RFC 6120 §10.3.1, §10.3.3: without `to` it is for the sender's own account, from which errors come as well.
        if stanza.to().is_none() && !matches!(stanza.kind(), Kind::Presence(_)) {
            stanza = stanza.with_to(sender.account().clone());
        }
        let requester = Requester::Session(session);
        self.attempt(env, stanza.clone(), requester, 0, |router, env| router.sent(env, session, stanza));
        self.work(env);
    }

    /// A request on a stream of `host` that is not logged in.
    pub fn before_login(&mut self, env: &mut Env<'_>, host: &str, from: ConnectionId, peer: IpAddr, stanza: Stanza) {
        let requester = Requester::Connection(from, peer);
        let answer = match stanza.as_request() {
            None => Err(Condition::NotAuthorized.into()),
            Some(iq) => match self.hosts.place(host) {
                Some(host) => self.call_answer(env, Addressee::at(host, Scope::BeforeLogin), requester, &iq),
                None => Err(Condition::ServiceUnavailable.into()),
            },
        };
        if let Some(reply) = answer_stanza(&stanza, answer) {
            self.out.push(Out::Stanza(from, reply));
        }
        self.work(env);
    }

    /// A stanza of the server itself, for instance from a timer, or from another server.
    pub fn route(&mut self, env: &mut Env<'_>, stanza: Stanza) {
        self.queue.push_back((0, Effect::Route(stanza)));
        self.work(env);
    }

    /// Sends a request of a host of ours; [`Out::Answered`] brings the answer, unless it is forgotten before.
    pub fn ask(&mut self, env: &mut Env<'_>, question: Stanza) {
        if let (Some(id), Some(to)) = (question.element().attribute("id"), question.to()) {
            self.asked.push((id.to_owned(), to.clone()));
        }
        self.carry_out(env, Effect::Route(question));
    }

    /// Nobody waits for the answer to this question any more.
    pub fn forget_question(&mut self, id: &str) {
        self.asked.retain(|(other, _)| other != id);
    }

    /// Hands the answer to a question of ours on, if it is one, by who was asked.
    fn take_answer(&mut self, stanza: &Stanza) {
        let (Some(id), Some(from)) = (stanza.element().attribute("id"), stanza.from()) else { return };
        let Some(at) = self.asked.iter().position(|(other, to)| other == id && to == from) else { return };
        let (id, _) = self.asked.swap_remove(at);
        self.out.push(Out::Answered(id, stanza.clone()));
    }

    /// Something that the admin wants: an effect as a module's.
    pub fn carry_out(&mut self, env: &mut Env<'_>, effect: Effect) {
        self.queue.push_back((0, effect));
        self.work(env);
    }

    /// A message of the server's own, from the admin. The error is what its sender would hear: nobody has got it, and
    /// nothing of it is kept.
    ///
    /// # Errors
    /// Those of the way that it goes. One to another server may fail later.
    pub fn send(&mut self, env: &mut Env<'_>, stanza: Stanza) -> Result<(), StanzaError> {
        let parcel = Parcel { stanza, requester: Requester::Elsewhere, depth: 0 };
        self.undone_if_refused(env, |router, env| router.dispatch(env, parcel))?;
        self.work(env);
        Ok(())
    }

    /// Password work is done.
    pub fn hashed(&mut self, env: &mut Env<'_>, ticket: &HashTicket, result: HashResult) {
        self.wake(env, ticket.module, &ticket.host, Wake::Hashed(result));
        self.work(env);
    }

    /// A module's timer is due.
    pub fn woke(&mut self, env: &mut Env<'_>, timer: &ModuleTimer) {
        self.wake(env, timer.module, &timer.host, Wake::Timer(timer.token));
        self.work(env);
    }

    /// jabber.xml was read again, as a module wished.
    pub fn reread(&mut self, env: &mut Env<'_>, wish: &ModuleTimer, what: Reread) {
        self.wake(env, wish.module, &wish.host, Wake::Reread(wish.token, what));
        self.work(env);
    }

    fn wake(&mut self, env: &mut Env<'_>, module: usize, host: &str, wake: Wake) {
        let Some(host) = self.hosts.place(host) else { return };
        let point = if matches!(wake, Wake::Reread(..)) { Point::Reread } else { Point::Woke };
        let call = Call { point, host, service: None, depth: 0, requester: Requester::Elsewhere };
        let result = self.enter(env, call, module, |module, context| module.woke(context, wake));
        if let Some(Err(error)) = result {
            log::warn!(target: "-internal", strangers = "wake-ups that failed"; "a wake-up failed: {}", error.condition().name());
        }
    }

    pub(crate) fn modules_len(&self) -> usize {
        self.modules.len()
    }

    /// Works off effects until none is left: what an effect brings about comes before the effects behind it, so that
    /// no stanza overtakes one that was sent before it (RFC 6120 §10.1).
    fn work(&mut self, env: &mut Env<'_>) {
        while let Some((depth, effect)) = self.queue.pop_front() {
            if depth > EFFECT_DEPTH_MAX {
                log::warn!(target: "-internal", strangers = "chains of reactions that were cut";
                    "a chain of {EFFECT_DEPTH_MAX} reactions was cut: {effect:?}");
                continue;
            }
            self.spent = self.spent.saturating_add(1);
            let mut behind = std::mem::take(&mut self.queue);
            self.effect(env, depth, effect);
            for reaction in std::mem::take(&mut self.queue).into_iter().rev() {
                behind.push_front(reaction);
            }
            self.queue = behind;
        }
    }

    fn effect(&mut self, env: &mut Env<'_>, depth: u32, effect: Effect) {
        match effect {
            Effect::Route(stanza) => {
                let requester = Requester::Elsewhere;
                let parcel = Parcel { stanza: stanza.clone(), requester, depth };
                self.attempt(env, stanza, requester, depth, |router, env| router.dispatch(env, parcel));
            }
            Effect::Deliver(session, stanza) => self.deliver(env, depth, session, stanza),
            Effect::Undirect(session, who) => {
                if let Some(session) = self.sessions.by_id_mut(session) {
                    session.directed.remove(&who);
                }
            }
            Effect::Write(connection, stanza) => self.out.push(Out::Stanza(connection, stanza)),
            Effect::Session(session, event) => self.tell_session(env, depth, session, &event),
            Effect::Close(session, error) => self.close_session(env, session, error),
            Effect::CloseAccount { account, except, error } => {
                let ids: Vec<SessionId> = self.sessions.of(&account).map(|(id, _)| id).collect();
                for id in ids.into_iter().filter(|id| Some(*id) != except) {
                    self.close_session(env, id, error.clone());
                }
                self.out.push(Out::CloseUnbound(account, error));
            }
            Effect::Hash { module, host, requester, job } => {
                let connection = match requester {
                    Requester::Connection(connection, _) => Some(connection),
                    Requester::Session(session) => self.sessions.by_id(session).map(Session::connection),
                    Requester::Elsewhere => None,
                };
                self.out.push(Out::Hash(HashTicket { module, host }, connection, job));
            }
            Effect::Wake { module, host, at_millis, token } => {
                self.out.push(Out::Timer { at_millis, timer: ModuleTimer { module, host, token } });
            }
            Effect::WakeDrained { module, host, session, token } => {
                if let Some(session) = self.sessions.by_id(session) {
                    self.out.push(Out::WhenDrained(session.connection(), ModuleTimer { module, host, token }));
                }
            }
            Effect::WakeTaken { module, host, session, token } => {
                if let Some(session) = self.sessions.by_id(session) {
                    self.out.push(Out::WhenTaken(session.connection(), ModuleTimer { module, host, token }));
                }
            }
            Effect::Blocks { added, removed } => {
                if let Err(error) = self.change_blocks(env, added, &removed) {
                    log::error!(target: "s2s", "the blocks of domains could not be changed: {error}");
                }
            }
            Effect::Stop { at_millis } => self.out.push(Out::Stop { at_millis }),
            Effect::Reload { module, host, token } => self.out.push(Out::Reload(ModuleTimer { module, host, token })),
            Effect::Join { one, other, bytes_per_second } => self.out.push(Out::Join { one, other, bytes_per_second }),
            Effect::AccountCreated(account) => self.tell_account(env, depth, &account, AccountEvent::Created),
            Effect::DeleteAccount(account) => {
                self.tell_account(env, depth, &account, AccountEvent::Deleted);
                if let Err(error) = account::remove(env.store, &account, env.now.unix_millis) {
                    log::error!(target: account.domain().as_str(), users = "accounts that could not be deleted";
                        "account {account} could not be deleted: {error}");
                }
                self.sessions.forget_standing(&account);
            }
        }
    }

    /// Ends a session now: the modules hear of it, the stream gets its error, the session is forgotten.
    fn close_session(&mut self, env: &mut Env<'_>, id: SessionId, error: StreamError) {
        let Some(session) = self.sessions.by_id(id) else { return };
        let connection = session.connection();
        self.tell_end(env, id);
        if let Some(session) = self.sessions.remove(id) {
            self.sees_no_more(&session);
            self.out.push(Out::Close(connection, Box::new(session), error));
        }
    }

    /// Runs one stanza's handling in a savepoint. If it fails, its writes and effects are undone and the sender is told.
    fn attempt(
        &mut self,
        env: &mut Env<'_>,
        stanza: Stanza,
        requester: Requester,
        depth: u32,
        handle: impl FnOnce(&mut Router, &mut Env<'_>) -> Result<(), StanzaError>,
    ) {
        if let Err(error) = self.undone_if_refused(env, handle) {
            self.bounce(env, &stanza, requester, depth, &error);
        }
    }

    fn undone_if_refused(
        &mut self,
        env: &mut Env<'_>,
        handle: impl FnOnce(&mut Router, &mut Env<'_>) -> Result<(), StanzaError>,
    ) -> Result<(), StanzaError> {
        let (queued, written) = (self.queue.len(), self.out.len());
        let Env { now, random, store } = env;
        let outcome = store.savepoint(|store| handle(self, &mut Env { now: *now, random: &mut **random, store }));
        if outcome.is_err() {
            self.queue.truncate(queued);
            self.out.truncate(written);
        }
        outcome
    }

    /// Forgets what was under way when a bug ended it; the store has undone its writes.
    pub fn abandon(&mut self) {
        self.queue.clear();
        self.out.clear();
    }

    /// Sends a stanza's error to its sender, if it may have one.
    fn bounce(&mut self, env: &mut Env<'_>, stanza: &Stanza, requester: Requester, depth: u32, error: &StanzaError) {
        let Some(reply) = stanza.error(error) else { return };
        self.note_bounce(stanza, error);
        match requester {
            Requester::Session(session) => self.answer_session(env, depth, session, reply),
            Requester::Connection(connection, _) => self.out.push(Out::Stanza(connection, reply)),
            Requester::Elsewhere => self.queue.push_back((depth + 1, Effect::Route(reply))),
        }
    }

    /// A client's stanza before routing: the modules see it, then it goes where its address says (RFC 6120 §10.3).
    fn sent(&mut self, env: &mut Env<'_>, session: SessionId, mut stanza: Stanza) -> Result<(), StanzaError> {
        let Some(sender) = self.sessions.by_id(session) else { return Ok(()) };
        let account = sender.account().clone();
        let requester = Requester::Session(session);
        let host = self.hosts.place(account.domain().as_str()).unwrap_or(HostPlace::NOWHERE);
        let call = Call { point: Point::Sent, host, service: None, depth: 0, requester };
        for index in 0..self.modules.len() {
            let flow = self.enter(env, call, index, |module, context| module.sent(context, session, &stanza));
            match flow.transpose()? {
                None | Some(Flow::Pass) => {}
                Some(Flow::Changed(changed)) => stanza = *changed,
                Some(Flow::Handled | Flow::Undelivered) => return Ok(()),
            }
        }
        // RFC 6120 §10.3.2: presence without `to` was for the presence module; it is not dispatched.
        self.dispatch(env, Parcel { stanza, requester, depth: 0 })
    }

    /// By domain: ours, a component's, or the rest of the world (RFC 6120 §10.4, §10.5).
    fn dispatch(&mut self, env: &mut Env<'_>, parcel: Parcel) -> Result<(), StanzaError> {
        let Some(to) = parcel.stanza.to_shared() else { return Ok(()) };
        // XEP-0018 §4: nobody else gets to see this word.
        if parcel.stanza.kind() == Kind::Presence(PresenceType::Invisible) {
            return Ok(());
        }
        let domain = to.domain().as_str();
        let Some(host) = self.hosts.place(domain) else {
            if let Some(service) = self.hosts.service(domain, parcel.stanza.from()) {
                return self.for_service(env, service, &to, parcel);
            }
            return match self.components.owner(domain) {
                Some(id) => self.for_component(env, &id, parcel),
                None => self.for_remote(env, parcel),
            };
        };
        match to.node() {
            None => self.for_host(env, host, parcel),
            Some(_) => self.for_account(env, host, &to, parcel),
        }
    }

    /// RFC 6120 §10.5.1: for the host itself, or a resource of it.
    fn for_host(&mut self, env: &mut Env<'_>, host: HostPlace, mut parcel: Parcel) -> Result<(), StanzaError> {
        if let Kind::Iq(kind) = parcel.stanza.kind() {
            return match (kind, parcel.stanza.as_request()) {
                (IqType::Result | IqType::Error, _) => {
                    self.take_answer(&parcel.stanza);
                    Ok(())
                }
                (_, None) => Err(Condition::BadRequest.into()),
                (_, Some(iq)) => {
                    let is_bare = parcel.stanza.to().is_some_and(|to| to.is_bare());
                    let scope = if is_bare { Scope::Server } else { Scope::Resource };
                    let answer = self.call_answer(env, Addressee::at(host, scope), parcel.requester, &iq);
                    self.answer(env, &parcel, answer)
                }
            };
        }
        let Parcel { requester, depth, .. } = parcel;
        let call = Call { point: Point::Visited, host, service: None, depth, requester };
        for index in 0..self.modules.len() {
            let flow = self.enter(env, call, index, |module, context| module.visited(context, &parcel.stanza));
            match flow.transpose()? {
                None | Some(Flow::Pass) => {}
                Some(Flow::Changed(changed)) => parcel.stanza = *changed,
                Some(Flow::Handled | Flow::Undelivered) => return Ok(()),
            }
        }
        match parcel.stanza.kind() {
            Kind::Message(_) => Err(Condition::ServiceUnavailable.into()),
            _ => Ok(()),
        }
    }

    /// Sends the answer to a request on its way.
    fn answer(
        &mut self,
        env: &mut Env<'_>,
        parcel: &Parcel,
        answer: Result<Reply, StanzaError>,
    ) -> Result<(), StanzaError> {
        // An error goes back through `attempt`, so that the failed request's writes are undone.
        let Some(reply) = answer_stanza(&parcel.stanza, Ok(answer?)) else { return Ok(()) };
        match parcel.requester {
            Requester::Session(session) => self.answer_session(env, parcel.depth, session, reply),
            _ => self.queue.push_back((parcel.depth + 1, Effect::Route(reply))),
        }
        Ok(())
    }

    /// Finds the module that answers a request, and asks it.
    fn call_answer(
        &mut self,
        env: &mut Env<'_>,
        whom: Addressee,
        requester: Requester,
        iq: &Iq<'_>,
    ) -> Result<Reply, StanzaError> {
        let of_node = node_of(iq).and_then(|node| self.hosts.answering_node(whom, node));
        let of_kind = || self.hosts.answering(whom, iq.kind(), iq.payload().ns(), iq.payload().name());
        match of_node.or_else(of_kind) {
            Some(index) => {
                let Addressee { host, service, .. } = whom;
                let call = Call { point: Point::Answer, host, service, depth: 0, requester };
                self.enter(env, call, index, |module, context| module.answer(context, iq))
                    .unwrap_or_else(|| Err(Condition::ServiceUnavailable.into()))
            }
            // Compat: what jabberd 1.4 knew and was asked in the wrong way it answered with 405. For all else that is no
            // service (RFC 6121 §8.5.2.1.3).
            None if is_of_old(iq.payload().ns()) && self.hosts.knows(whom, iq.payload().ns(), iq.payload().name()) => {
                Err(Condition::NotAllowed.into())
            }
            None => Err(Condition::ServiceUnavailable.into()),
        }
    }

    /// Calls one module if it is on at this host, and collects its effects. Who had jabber.xml read again hears what came of
    /// it, even if that switched the module off (XEP-0050 §3.3: each request has an answer). A module that was found to do nothing at this
    /// point is left out from then on: of many modules few have something to say to one stanza.
    fn enter<T>(
        &mut self,
        env: &mut Env<'_>,
        call: Call,
        index: usize,
        run: impl FnOnce(&mut dyn Module, &mut Context<'_>) -> Result<T, StanzaError>,
    ) -> Option<Result<T, StanzaError>> {
        let row = self.modules.get_mut(index).filter(|row| row.idle & call.point.bit() == 0)?;
        let host = match call.point {
            Point::Reread => self.hosts.view(call.host)?,
            _ => self.hosts.with_module(call.host, index)?,
        };
        let mut effects = Vec::new();
        let mut context = Context {
            store: env.store,
            sessions: &mut self.sessions,
            bytestreams: &mut self.bytestreams,
            config: self.hosts.config(),
            host: host.config,
            now: env.now,
            random: env.random,
            requester: call.requester,
            started_millis: self.started_millis,
            abouts: host.abouts,
            service: call.service.and_then(|service| self.hosts.service_view(service)),
            module: index,
            idle: false,
            spent: &mut self.spent,
            effects: &mut effects,
        };
        let result = run(row.module.as_mut(), &mut context);
        if context.idle {
            row.idle |= call.point.bit();
        }
        if result.is_ok() && !effects.is_empty() {
            self.queue.extend(effects.into_iter().map(|effect| (call.depth + 1, effect)));
        }
        Some(result)
    }

    /// A session that is about to be forgotten: what an effect would tell of it later, nobody would get.
    fn tell_end(&mut self, env: &mut Env<'_>, session: SessionId) {
        if self.sessions.by_id(session).is_some_and(Session::is_seen) {
            let status = Some(module::DISCONNECTED.to_string());
            self.tell_session(env, 0, session, &SessionEvent::Unavailable { status });
        }
        self.tell_session(env, 0, session, &SessionEvent::Ended);
    }

    fn tell_session(&mut self, env: &mut Env<'_>, depth: u32, session: SessionId, event: &SessionEvent) {
        let Some(account) = self.sessions.by_id(session).map(|session| session.account().clone()) else { return };
        let Some(host) = self.hosts.place(account.domain().as_str()) else { return };
        let call = Call { point: Point::Session, host, service: None, depth, requester: Requester::Session(session) };
        for index in 0..self.modules.len() {
            let result = self.enter(env, call, index, |module, context| module.session(context, session, event));
            if let Some(Err(error)) = result {
                let host = account.domain().as_str();
                log::warn!(target: host, users = "events of accounts that were not handled", by:% = account;
                    "{account}: {event:?} was not handled: {}", error.condition().name());
            }
        }
    }

    fn tell_account(&mut self, env: &mut Env<'_>, depth: u32, account: &BareJid, event: AccountEvent) {
        let Some(host) = self.hosts.place(account.domain().as_str()) else { return };
        let call = Call { point: Point::Account, host, service: None, depth, requester: Requester::Elsewhere };
        for index in 0..self.modules.len() {
            let result = self.enter(env, call, index, |module, context| module.account(context, account, event));
            if let Some(Err(error)) = result {
                let host = account.domain().as_str();
                log::warn!(target: host, users = "events of accounts that were not handled", by:% = account;
                    "{account}: {event:?} was not handled: {}", error.condition().name());
            }
        }
    }
}

/// The node that a request of XEP-0030 is about.
fn node_of<'a>(iq: &Iq<'a>) -> Option<&'a str> {
    let is_disco = matches!(iq.payload().ns(), ns::DISCO_INFO | ns::DISCO_ITEMS) && iq.payload().name() == "query";
    iq.payload().attribute("node").filter(|_| is_disco && iq.kind() == IqType::Get)
}

/// A namespace from before XMPP.
fn is_of_old(ns: &str) -> bool {
    ns.starts_with("jabber:") || ns == ns::VCARD
}

/// A reply as a stanza; `None` for later, or if nothing may be answered.
fn answer_stanza(request: &Stanza, answer: Result<Reply, StanzaError>) -> Option<Stanza> {
    match answer {
        Ok(Reply::Empty) => Some(request.result(None)),
        Ok(Reply::Payload(payload)) => Some(request.result(Some(payload))),
        Ok(Reply::Later) => None,
        Err(error) => request.error(&error),
    }
}
