//! Connections and their streams: what a stream asks for is done here, what the router has for it is written here.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::addresses::Purpose;
use super::metrics::{Side, how_lost};
use super::taken::{Awaited, Sign};
use super::{Asker, ConnectionId, DISK_FAILED, Output, Server, Timer, browsers, handshakes};
use crate::config::{Config, Listener, ListenerKind};
use crate::http;
use crate::router::{self, ModuleTimer, Out, SessionId};
use crate::store::account;
use crate::stream::c2s::{Action, C2s, ENDED};
use crate::stream::component::Component;
use crate::stream::dialback::Pair;
use crate::stream::s2s_in::S2sIn;
use crate::stream::s2s_out::S2sOut;
use crate::stream::sm::Mark;
use crate::stream::socks5::Socks5;
use crate::stream::wire::{Handed, Wire};
use crate::stream::{Env, TlsInfo};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Condition, FullJid, Now, Stanza, StanzaError, StreamError};

/// What is spoken on a connection.
pub(super) enum Talk {
    /// A client's stream.
    Client(Box<C2s>),
    /// Another server's stream to us.
    Incoming(Box<S2sIn>),
    /// Our stream to another server.
    Outgoing(Box<S2sOut>),
    /// A connection to another server that is not open yet.
    Dialing(Pair),
    /// A component's stream, whoever opened the connection.
    Component(Box<Component>),
    /// A connection to the component with this id that is not open yet.
    Calling(String),
    /// HTTP of who watches the server.
    Http(Box<http::Talk>),
    /// An end of a file transfer.
    Bytestream(Box<Socks5>),
}

impl Talk {
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        match self {
            Talk::Client(stream) => stream.take_output().into_bytes(),
            Talk::Incoming(stream) => stream.take_output().into_bytes(),
            Talk::Outgoing(stream) => stream.take_output().into_bytes(),
            Talk::Component(stream) => stream.take_output().into_bytes(),
            Talk::Http(talk) => talk.take_output(),
            Talk::Bytestream(talk) => talk.take_output(),
            Talk::Dialing(_) | Talk::Calling(_) => Vec::new(),
        }
    }

    /// The host of a client's stream that is past its header.
    pub(super) fn client_host(&self) -> Option<&str> {
        match self {
            Talk::Client(stream) => Some(stream.host()).filter(|host| !host.is_empty()),
            _ => None,
        }
    }

    pub(super) fn send(&mut self, stanza: &Stanza, mark: Mark) -> Handed {
        match self {
            Talk::Client(stream) => stream.send(stanza),
            Talk::Incoming(stream) => return stream.send(stanza, mark),
            Talk::Outgoing(stream) => return stream.send(stanza, mark),
            Talk::Component(stream) => stream.send(stanza),
            Talk::Dialing(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_) => {}
        }
        Handed::Over
    }

    /// Does the peer acknowledge what is sent?
    pub(super) fn is_acknowledged(&self) -> bool {
        match self {
            Talk::Incoming(stream) => stream.is_acknowledged(),
            Talk::Outgoing(stream) => stream.is_acknowledged(),
            _ => false,
        }
    }

    fn wire(&self) -> Option<&Wire> {
        match self {
            Talk::Client(stream) => Some(stream.wire()),
            Talk::Incoming(stream) => Some(stream.wire()),
            Talk::Outgoing(stream) => Some(stream.wire()),
            Talk::Component(stream) => Some(stream.wire()),
            Talk::Dialing(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_) => None,
        }
    }

    /// Leaves what the peer said, and will say, as it is; or goes on with it.
    fn rest(&mut self, rests: bool) {
        match self {
            Talk::Client(stream) => stream.rest(rests),
            Talk::Incoming(stream) => stream.rest(rests),
            Talk::Outgoing(stream) => stream.rest(rests),
            Talk::Component(stream) => stream.rest(rests),
            Talk::Dialing(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_) => {}
        }
    }

    /// Is what the peer said left as it is, as its share of a tick is used up?
    fn is_resting(&self) -> bool {
        self.wire().is_some_and(Wire::rests)
    }

    /// Is the peer read?
    fn hears(&self) -> bool {
        match self {
            Talk::Client(stream) => stream.hears(),
            _ => !self.is_resting(),
        }
    }

    /// Bytes that were written and wait to be taken.
    fn output_bytes(&self) -> usize {
        self.wire().map_or(0, Wire::output_bytes)
    }

    fn heartbeat(&mut self) {
        match self {
            Talk::Client(stream) => stream.heartbeat(),
            Talk::Incoming(stream) => stream.heartbeat(),
            Talk::Outgoing(stream) => stream.heartbeat(),
            Talk::Component(_) | Talk::Dialing(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_) => {}
        }
    }
}

/// How long a peer rests that has had its share of a tick.
const REST_MILLIS: u64 = 10;

/// One connection.
pub(super) struct Connection {
    pub(super) talk: Talk,
    pub(super) peer: SocketAddr,
    session: Option<SessionId>,
    pub(super) heartbeat_millis: Option<u64>,
    pub(super) counted_as_logged_in: bool,
    /// What the peer connected to us for: its address is counted.
    purpose: Option<Purpose>,
    /// Is there a timer that ends it when it is idle?
    pub(super) is_watched: bool,
    /// When it was opened.
    pub(super) opened_millis: u64,
    /// Is there a timer that looks for what is not acknowledged?
    pub(super) is_looked_after: bool,
    /// Whom to wake when all that was sent has left, and in which turn that was asked for.
    when_drained: Option<Box<(u64, ModuleTimer)>>,
    /// Whom to wake when the client has shown that it took all that was sent.
    pub(super) awaited: Option<Box<Awaited>>,
    /// Stanzas in either direction, for record.log.
    pub(super) stanzas: u64,
    pub(super) last_input_millis: u64,
    pub(super) last_output_millis: u64,
    /// Something came from the peer.
    has_spoken: bool,
    pub(super) is_closing: bool,
    pub(super) close_sent: bool,
    /// Is it among those whose output will be taken?
    pub(super) is_touched: bool,
    /// What its stanzas brought about, and in which tick.
    worked: (u64, usize),
    /// Is it read?
    hears: bool,
}

impl Connection {
    pub(super) fn new(talk: Talk, peer: SocketAddr, now_millis: u64) -> Connection {
        Connection {
            talk,
            peer,
            session: None,
            heartbeat_millis: None,
            counted_as_logged_in: false,
            purpose: None,
            is_watched: false,
            opened_millis: now_millis,
            is_looked_after: false,
            when_drained: None,
            awaited: None,
            stanzas: 0,
            last_input_millis: now_millis,
            last_output_millis: now_millis,
            has_spoken: false,
            is_closing: false,
            close_sent: false,
            is_touched: false,
            worked: (u64::MAX, 0),
            hears: true,
        }
    }

    /// Its stream may have written: its output will be taken at the end of the tick.
    pub(super) fn touch(&mut self, id: ConnectionId, touched: &mut Vec<ConnectionId>) {
        if !std::mem::replace(&mut self.is_touched, true) {
            touched.push(id);
        }
    }
}

impl Server {
    pub(super) fn accepted(&mut self, now: Now, id: ConnectionId, listener: &Arc<Listener>, peer: SocketAddr) {
        let now_millis = now.monotonic_millis;
        let limits = &self.config.limits;
        let Some(purpose) = Purpose::of(listener.kind) else { return self.watcher_came(now, id, peer) };
        if self.is_stopping || !self.addresses.connected(peer.ip(), purpose, limits, now_millis) {
            self.outputs.push(Output::Close { id });
            return;
        }
        let talk = match listener.kind {
            ListenerKind::C2s | ListenerKind::C2sTls => Talk::Client(Box::new(C2s::new(listener, peer.ip(), limits))),
            ListenerKind::S2s | ListenerKind::S2sTls => {
                Talk::Incoming(Box::new(S2sIn::new(&stream_env!(self, now, false), peer.ip())))
            }
            ListenerKind::Bytestreams => Talk::Bytestream(Box::default()),
            ListenerKind::Component => {
                let env = stream_env!(self, now, false);
                Talk::Component(Box::new(Component::accepted(&env, &listener.component, peer.ip())))
            }
            ListenerKind::Metrics => return,
        };
        if let Some(side) = Side::of(&talk) {
            self.metrics.opened(side);
        }
        let mut connection = Connection::new(talk, peer, now_millis);
        connection.purpose = Some(purpose);
        connection.heartbeat_millis = listener.heartbeat_seconds.map(|seconds| seconds.saturating_mul(1000));
        self.connections.insert(id, connection);
        let login_by = now_millis.saturating_add(listener.auth_seconds.saturating_mul(1000));
        self.timers.set(login_by, Timer::Login(id));
    }

    /// TLS is on.
    pub(super) fn secured(&mut self, now: Now, id: ConnectionId, tls: TlsInfo) {
        self.trace_tls(now, id, &tls);
        match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Client(_)) => self.with_client(now, id, |stream, env| stream.secured(env, tls)),
            Some(Talk::Incoming(_)) => self.with_incoming(now, id, |stream, env| stream.secured(env, tls)),
            Some(Talk::Outgoing(_)) => self.with_outgoing(now, id, |stream, env| stream.secured(env, tls)),
            Some(Talk::Dialing(_)) => self.open_stream(now, id, Some(tls)),
            Some(Talk::Component(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_)) | None => {}
        }
    }

    /// Plain text came.
    pub(super) fn bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.last_input_millis = now.monotonic_millis;
        let is_first = !std::mem::replace(&mut connection.has_spoken, true);
        if is_first
            && connection.purpose.is_some()
            && !matches!(connection.talk, Talk::Http(_))
            && browsers::is_request(bytes)
        {
            return self.browser(id);
        }
        match &mut connection.talk {
            Talk::Http(talk) => {
                talk.push(bytes);
                self.watchers.heard(id);
                self.answer_http(now, id);
            }
            Talk::Client(_) => self.with_client(now, id, |stream, env| stream.push(env, bytes)),
            Talk::Incoming(_) => self.with_incoming(now, id, |stream, env| stream.push(env, bytes)),
            Talk::Outgoing(_) => self.with_outgoing(now, id, |stream, _| stream.push(bytes)),
            Talk::Component(_) => self.with_component(now, id, |stream, env| stream.push(env, bytes)),
            Talk::Bytestream(_) => self.with_bytestream(id, |talk| talk.push(bytes)),
            Talk::Dialing(_) | Talk::Calling(_) => {}
        }
    }

    /// A web browser came, and no stream will.
    fn browser(&mut self, id: ConnectionId) {
        let answer = browsers::answer(self.config.bounce.as_deref());
        self.outputs.push(Output::Bytes { id, bytes: answer });
        self.end_connection(id);
    }

    /// The time to log in, or to prove a domain, is over.
    pub(super) fn login_timed_out(&mut self, now: Now, id: ConnectionId) {
        match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Client(_)) => self.with_client(now, id, |stream, env| stream.login_timed_out(env)),
            Some(Talk::Incoming(_)) => self.with_incoming(now, id, |stream, env| stream.timed_out(env)),
            Some(Talk::Outgoing(_) | Talk::Dialing(_)) => self.dial_timed_out(now, id),
            Some(Talk::Component(_)) => self.with_component(now, id, |stream, env| stream.timed_out(env)),
            Some(Talk::Calling(_)) => self.end_connection(id),
            Some(Talk::Http(_)) => self.http_timed_out(now, id),
            Some(Talk::Bytestream(_)) => self.bytestream_timed_out(id),
            None => {}
        }
    }

    /// A connection's peer is no stranger any more.
    pub(super) fn known(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(purpose) = connection.purpose else { return };
        if !std::mem::replace(&mut connection.counted_as_logged_in, true) {
            self.addresses.logged_in(connection.peer.ip(), purpose);
        }
    }

    /// A connection is gone: its session ends.
    pub(super) fn gone(&mut self, now: Now, id: ConnectionId, reason: &str) {
        // What waits for the disk that failed was not said to us: its peer is told so, or will find out.
        if reason != DISK_FAILED {
            self.hear_out_rest(now, id);
        }
        self.shows(now, id, Sign::End);
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Some(purpose) = connection.purpose {
            self.addresses.disconnected(connection.peer.ip(), purpose, connection.counted_as_logged_in);
        }
        if matches!(connection.talk, Talk::Component(_) | Talk::Calling(_)) {
            return self.component_gone(now, id, &connection, reason);
        }
        if matches!(connection.talk, Talk::Http(_)) {
            return self.watchers.leave(id);
        }
        if matches!(connection.talk, Talk::Bytestream(_)) {
            return self.bytestream_gone(now, id, &connection, reason);
        }
        if !matches!(connection.talk, Talk::Client(_)) {
            return self.server_gone(now, id, connection, reason);
        }
        if let Talk::Client(stream) = &connection.talk {
            if !stream.is_logged_in() && !connection.is_closing {
                handshakes::note("a client", connection.peer.ip(), stream.host(), reason);
            }
        }
        if !connection.is_closing {
            self.metrics.closed(Side::Client, how_lost(reason));
        }
        if let Some(session) = connection.session {
            self.end_session(now, session, connection.peer, reason);
        }
    }

    /// The session's end, for the modules and record.log.
    fn end_session(&mut self, now: Now, session: SessionId, peer: SocketAddr, reason: &str) {
        let mut env = router_env!(self, now);
        if let Some(session) = self.router.unbind(&mut env, session) {
            record_end(&self.config, now, &session, peer, reason);
            self.left(now, &session);
        }
        self.flush_router(now);
    }

    /// Ends a connection's stream with an error.
    pub(super) fn close(&mut self, now: Now, id: ConnectionId, error: StreamError) {
        let reason = error.condition().name();
        match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Client(_)) => self.with_client(now, id, |stream, env| stream.fail(env, error)),
            Some(Talk::Incoming(_)) => self.with_incoming(now, id, |stream, env| stream.fail(env, &error)),
            Some(Talk::Outgoing(_)) => self.with_outgoing(now, id, |stream, _| stream.fail(&error)),
            Some(Talk::Component(_)) => self.with_component(now, id, |stream, env| stream.fail(env, &error)),
            Some(Talk::Dialing(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_)) => self.end_connection(id),
            None => {}
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(session) = connection.session.take() {
            let peer = connection.peer;
            self.end_session(now, session, peer, reason);
        }
    }

    /// Does something to a client's stream, then all that the stream asks for.
    pub(super) fn with_client(&mut self, now: Now, id: ConnectionId, change: impl FnOnce(&mut C2s, &mut Env<'_>)) {
        let mut change = Some(change);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.touch(id, &mut self.touched);
            let Talk::Client(stream) = &mut connection.talk else { return };
            // Only of a failed login is it asked.
            let (address, is_stranger) = (connection.peer.ip(), !stream.is_logged_in());
            let suspect = is_stranger && self.addresses.is_suspect(address, &self.config.limits, now.monotonic_millis);
            let plain_is_due = is_stranger && self.addresses.is_plain_due(address, now.monotonic_millis);
            let mut env = stream_env!(self, now, suspect);
            env.plain_is_due = plain_is_due;
            if let Some(change) = change.take() {
                change(stream, &mut env);
            }
            let Some(action) = stream.poll(&mut env) else { return self.settle_hearing(id) };
            self.act(now, id, action);
        }
    }

    /// The one place that says whether a connection is read: not while what came on it is left as it is. So the peer's end
    /// is not seen either before all that it said first is heard (RFC 6120 §4.4, §10.1).
    pub(super) fn settle_hearing(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let hears = connection.talk.hears();
        if std::mem::replace(&mut connection.hears, hears) != hears {
            self.outputs.push(Output::Hear { id, hears });
        }
    }

    /// RFC 6120 §10.1: what a client says from now on waits for the answer to what it said last.
    pub(super) fn hold(&mut self, id: ConnectionId) {
        if let Some(Talk::Client(stream)) = self.connections.get_mut(&id).map(|connection| &mut connection.talk) {
            stream.hold();
        }
        self.settle_hearing(id);
    }

    /// An answer is there: what waited for it is heard.
    pub(super) fn go_on(&mut self, now: Now, id: ConnectionId) {
        let goes_on = match self.connections.get_mut(&id).map(|connection| &mut connection.talk) {
            Some(Talk::Client(stream)) => stream.go_on(),
            _ => false,
        };
        if goes_on {
            self.with_client(now, id, |_, _| {});
        }
    }

    /// A module wants to know when all that was sent to a client has left.
    fn tell_drained(&mut self, id: ConnectionId, timer: ModuleTimer) {
        self.take_stream_output(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.when_drained = Some(Box::new((self.turn, timer)));
            self.outputs.push(Output::TellDrained { id });
        }
    }

    /// It has left.
    pub(super) fn drained(&mut self, now: Now, id: ConnectionId) {
        self.all_left(now, id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        // What is sent in this turn has not left yet: this tells of what was asked for before.
        let Some(asked) = connection.when_drained.take_if(|asked| asked.0 < self.turn) else { return };
        let mut env = router_env!(self, now);
        self.router.woke(&mut env, &asked.1);
        self.flush_router(now);
    }

    /// Closes a connection on which nothing more is to be said.
    pub(super) fn end_connection(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_closing = true;
            connection.touch(id, &mut self.touched);
        }
    }

    fn act(&mut self, now: Now, id: ConnectionId, action: Action) {
        match action {
            Action::StartTls => {
                self.take_stream_output(id);
                let host = self.connections.get(&id).and_then(|connection| connection.talk.client_host());
                self.outputs.push(Output::StartTls { id, host: host.unwrap_or_default().to_owned(), client: None });
            }
            Action::Hash(job) => self.hash(now, Asker::Stream(id), job),
            Action::WakeAt(at_millis) => self.timers.set(at_millis, Timer::Penalty(id)),
            Action::LoginFailed => {
                self.metrics.login(false);
                if let Some(connection) = self.connections.get(&id) {
                    let address = connection.peer.ip();
                    self.addresses.login_failed(address, &self.config.limits, now.monotonic_millis);
                }
            }
            Action::FailedInVain | Action::OfferedPlain => {
                if let Some(connection) = self.connections.get(&id) {
                    let failed = matches!(action, Action::FailedInVain);
                    self.addresses.plain(connection.peer.ip(), failed, now.monotonic_millis);
                }
            }
            Action::Request(stanza) => {
                let Some(connection) = self.connections.get(&id) else { return };
                let host = connection.talk.client_host().unwrap_or_default().to_string();
                let peer = connection.peer.ip();
                let mut env = router_env!(self, now);
                self.router.before_login(&mut env, &host, id, peer, stanza);
                self.flush_router(now);
            }
            Action::Bind(jid) => self.bind(now, id, jid),
            Action::Stanza(stanza) => {
                self.metrics.stanza(Side::Client, false, &stanza);
                self.shows(now, id, Sign::Stanza);
                self.stanza(now, id, stanza);
            }
            Action::Close(reason) => {
                self.metrics.closed(Side::Client, reason);
                if reason == ENDED {
                    self.shows(now, id, Sign::End);
                }
                let Some(connection) = self.connections.get_mut(&id) else { return };
                connection.is_closing = true;
                let (session, peer) = (connection.session.take(), connection.peer);
                if let Some(session) = session {
                    self.end_session(now, session, peer, reason);
                }
            }
        }
    }

    /// RFC 6120 §7.6.2.1: an account has so many resources at most.
    fn bind(&mut self, now: Now, id: ConnectionId, jid: FullJid) {
        let bare = jid.to_bare();
        // Between the proof and this request the account may have gone; nobody else looks whether it is there.
        if !account::exists(&self.store, &bare).unwrap_or(false) {
            let error = StreamError::new(StreamCondition::NotAuthorized, "the account was removed");
            return self.close(now, id, error);
        }
        let sessions = self.router.sessions();
        let is_new = sessions.by_full(&bare, &jid).is_none();
        if is_new && sessions.count(&bare) >= self.config.limits.resources_per_account_max {
            let error = StanzaError::new(Condition::ResourceConstraint, "This account is connected too often.");
            return self.with_client(now, id, |stream, _| stream.not_bound(&error));
        }
        let mut env = router_env!(self, now);
        let session = self.router.bind(&mut env, jid.clone(), id);
        let heartbeat = self.connections.get_mut(&id).and_then(|connection| {
            connection.session = Some(session);
            connection.heartbeat_millis
        });
        if let Some(connection) = self.connections.get(&id) {
            self.router.set_peer(session, connection.peer.ip());
            self.metrics.login(true);
        }
        self.came(now, bare);
        self.known(id);
        if let Some(heartbeat) = heartbeat {
            self.timers.set(now.monotonic_millis.saturating_add(heartbeat), Timer::Heartbeat(id));
        }
        // The answer to the request comes before anything that modules send to the new session.
        if let Some(Talk::Client(stream)) = self.connections.get_mut(&id).map(|connection| &mut connection.talk) {
            stream.bound(&mut stream_env!(self, now, false), jid);
        }
        self.flush_router(now);
    }

    /// A stanza of a client, on its way. A bug in its handling costs this stanza, never the server (rule 4 of the
    /// design): the store undoes what it wrote, the sender is told.
    fn stanza(&mut self, now: Now, id: ConnectionId, stanza: Stanza) {
        let Some(session) = self.connections.get(&id).and_then(|connection| connection.session) else { return };
        let copy = stanza.clone();
        // What others brought about is not this client's.
        self.router.take_spent();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut env = router_env!(self, now);
            self.router.from_session(&mut env, session, stanza);
        }));
        if outcome.is_err() {
            self.router.abandon();
            log::error!(target: "-internal", strangers = "stanzas dropped because of a bug";
                "a stanza was dropped because of a bug in the server; please report the panic above");
            let reply = copy.error(&Condition::InternalServerError.into());
            if let (Some(reply), Some(connection)) = (reply, self.connections.get_mut(&id)) {
                connection.talk.send(&reply, Mark::default());
            }
        }
        // The stanza on its way out has one owner again.
        drop(copy);
        self.flush_router(now);
        self.charge(now, id);
    }

    /// Counts what a peer's stanza brought about. Who has had its share of this tick goes on in another one, and nothing
    /// more is read from it until then: others have their turn.
    pub(super) fn charge(&mut self, now: Now, id: ConnectionId) {
        let work = self.router.take_spent();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let is_first = connection.worked.0 != self.ticks;
        if is_first {
            // What is worked off now may have come, and been read, long before.
            self.outputs.push(Output::Spoke { id });
        }
        let before = if is_first { 0 } else { connection.worked.1 };
        connection.worked = (self.ticks, before.saturating_add(work));
        // Answers cost memory as well: the socket takes some of them before there are more.
        let limits = &self.config.limits;
        let has_share = connection.worked.1 >= limits.work_per_tick
            || connection.talk.output_bytes() >= limits.output_bytes_max / 2;
        if has_share && !connection.talk.is_resting() {
            connection.talk.rest(true);
            self.timers.set(now.monotonic_millis.saturating_add(REST_MILLIS), Timer::Rest(id));
        }
    }

    /// A peer that has rested goes on: there is room for answers.
    pub(super) fn rested(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.talk.is_resting() {
            return;
        }
        connection.talk.rest(false);
        match &connection.talk {
            Talk::Client(_) => self.with_client(now, id, |_, _| {}),
            Talk::Incoming(_) => self.with_incoming(now, id, |_, _| {}),
            Talk::Outgoing(_) => self.with_outgoing(now, id, |_, _| {}),
            Talk::Component(_) => self.with_component(now, id, |_, _| {}),
            Talk::Dialing(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_) => {}
        }
    }

    /// What the peer said and nobody looked at yet is heard before its connection ends: no more than was read at once.
    pub(super) fn hear_out_rest(&mut self, now: Now, id: ConnectionId) {
        self.guarded(Some(id), |server| {
            while server.connections.get(&id).is_some_and(|connection| connection.talk.is_resting()) {
                server.take_stream_output(id);
                server.rested(now, id);
            }
        });
    }

    /// Gives what left the router to the streams.
    pub(super) fn flush_router(&mut self, now: Now) {
        loop {
            let out = self.router.take_out();
            if out.is_empty() {
                return;
            }
            let mut over = Vec::new();
            for item in out {
                match item {
                    Out::Stanza(id, stanza) => over.extend(self.write(now, id, &stanza, Mark::default())),
                    Out::Marked(id, stanza, mark) => over.extend(self.write(now, id, &stanza, mark)),
                    Out::Close(id, session, error) => {
                        let reason = error.condition().name();
                        if let Some(connection) = self.connections.get_mut(&id) {
                            // The router ended the session already.
                            connection.session = None;
                            record_end(&self.config, now, &session, connection.peer, reason);
                        }
                        self.left(now, &session);
                        self.close(now, id, error);
                    }
                    Out::CloseUnbound(account, error) => {
                        let is_meant = |talk: &Talk| match talk {
                            Talk::Client(stream) => stream.unbound_account() == Some(&account),
                            _ => false,
                        };
                        let meant = self.connections.iter().filter(|(_, connection)| is_meant(&connection.talk));
                        let ids: Vec<ConnectionId> = meant.map(|(id, _)| *id).collect();
                        ids.into_iter().for_each(|id| self.close(now, id, error.clone()));
                    }
                    Out::Hash(ticket, holds, job) => {
                        let token = job.token();
                        self.hash(now, Asker::Module { ticket, token, holds }, job);
                    }
                    Out::Answered(id, stanza) => self.control_answered(now, &id, stanza),
                    Out::Dial(pair, sender) => self.dial(now, &pair, &sender),
                    Out::DialTimer { at_millis, pair, sender } => {
                        self.timers.set(at_millis, Timer::Dial(Box::new((pair, sender))));
                    }
                    Out::QueueTimer { at_millis, pair } => self.timers.set(at_millis, Timer::Queue(Box::new(pair))),
                    Out::ComponentTimer { at_millis, id } => self.timers.set(at_millis, Timer::Component(id.into())),
                    Out::Join { one, other, bytes_per_second } => self.join(one, other, bytes_per_second),
                    Out::WalkTimer { at_millis } => self.timers.set(at_millis, Timer::Walk),
                    Out::Stop { at_millis } => self.timers.set(at_millis, Timer::Stop),
                    Out::Reload(wish) => self.outputs.push(Output::Reload(wish)),
                    Out::WhenDrained(id, timer) => self.tell_drained(id, timer),
                    Out::WhenTaken(id, timer) => self.await_taken(id, timer),
                    Out::Timer { at_millis, timer } => self.timers.set(at_millis, Timer::Module(Box::new(timer))),
                }
            }
            // What the streams themselves ask for: their end.
            for id in over {
                self.with_outgoing(now, id, |_, _| {});
                self.with_incoming(now, id, |_, _| {});
            }
        }
    }

    /// Writes a stanza to a stream. Returns the connection if that was too much for it.
    fn write(&mut self, now: Now, id: ConnectionId, stanza: &Stanza, mut mark: Mark) -> Option<ConnectionId> {
        let connection = self.connections.get_mut(&id)?;
        if connection.talk.is_acknowledged() {
            let millis = self.config.limits.acknowledge_millis;
            if millis == 0 && mark.row.is_none() {
                mark.row = self.router.keep(&mut router_env!(self, now), stanza);
            } else if !std::mem::replace(&mut connection.is_looked_after, true) {
                self.timers.set(now.monotonic_millis.saturating_add(millis.max(1)), Timer::Unacknowledged(id));
            }
        } else if let Some(row) = mark.row {
            self.federation.left(now, &mut self.timers, id, row);
        }
        if connection.talk.send(stanza, mark) == Handed::TooLong {
            self.router.was_too_long(&mut router_env!(self, now), stanza, mark);
            return None;
        }
        if let Some(side) = Side::of(&connection.talk) {
            self.metrics.stanza(side, true, stanza);
        }
        connection.stanzas = connection.stanzas.saturating_add(1);
        connection.touch(id, &mut self.touched);
        match &connection.talk {
            Talk::Incoming(stream) => stream.is_closed().then_some(id),
            Talk::Outgoing(stream) => stream.is_closed().then_some(id),
            _ => None,
        }
    }

    pub(super) fn take_stream_output(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let written = connection.talk.take_output();
            if !written.is_empty() {
                self.outputs.push(Output::Bytes { id, bytes: written });
            }
        }
    }

    /// White space for a connection that was idle for a while; without an answer TCP finds out that the peer is gone.
    pub(super) fn heartbeat(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(every) = connection.heartbeat_millis else { return };
        let quiet_since = connection.last_output_millis.max(connection.last_input_millis);
        if now.monotonic_millis >= quiet_since.saturating_add(every) {
            connection.talk.heartbeat();
            connection.last_output_millis = now.monotonic_millis;
            connection.touch(id, &mut self.touched);
        }
        let next = connection.last_output_millis.max(connection.last_input_millis).saturating_add(every);
        self.timers.set(next.max(now.monotonic_millis.saturating_add(1)), Timer::Heartbeat(id));
    }
}

/// record.log's line: `session end SECONDS RECEIVED SENT RESOURCE`, as jabberd 1.4 wrote it; the address and the reason
/// go to the other log.
fn record_end(config: &Config, now: Now, session: &router::Session, peer: SocketAddr, reason: &str) {
    let seconds = now.monotonic_millis.saturating_sub(session.opened_millis()) / 1000;
    let (jid, bare) = (session.jid(), session.account());
    let (received, sent, resource) = (session.received, session.sent, jid.resource());
    // What jabberd 1.4's mod_log wrote; logins are recorded without it.
    if config.host(bare.domain().as_str()).is_none_or(|host| host.modules.is_on("mod_log")) {
        log::info!(target: &format!("record:{bare}"), users = "ends of sessions in record.log", by:% = bare;
            "session end {seconds} {received} {sent} {resource}");
    }
    log::info!(target: bare.domain().as_str(), users = "ends of sessions", by:% = bare;
        "session of {jid} from {} ended: {reason}", peer.ip());
}
