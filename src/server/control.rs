//! Clients of the control socket: what they send goes to their talk, and its jobs go on from here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::commits::Commits;
use super::connections::{Connection, Talk};
use super::{Asker, ConnectionId, Output, Server, Timer, UNHEARD};
use crate::admin::{self, Ask, Client, ClientFacts, Event, Facts, Lent, Peer, Refusal};
use crate::config::LogSink;
use crate::router::{IdMap, Sender};
use crate::stream::sasl::HashResult;
use crate::xmpp::{BareJid, Now, Stanza};

/// A client.
pub(super) struct Control {
    client: Client,
    /// When it last said or read something, or its job did.
    last_millis: u64,
    /// Some of what it was told has not left: it does not read.
    is_behind: bool,
    /// The id of the question to another server whose answer it waits for.
    question: Option<String>,
    /// The password work that its job waits for.
    hashing: Option<u64>,
    /// When its job wants to be woken.
    wake_millis: Option<u64>,
}

impl Server {
    pub(super) fn is_control(&self, id: ConnectionId) -> bool {
        !self.controls.is_empty() && self.controls.contains_key(&id)
    }

    pub(super) fn control_came(&mut self, now: Now, id: ConnectionId, peer: Peer) {
        let mut client = Client::new(peer);
        let most = self.config.limits.control_clients_max;
        if self.is_stopping {
            client.fail(
                &Refusal::busy("the server is stopping").remedy("ask again when it is up: /etc/init.d/jabber start"),
            );
        } else if self.controls.len() >= most {
            let refusal = Refusal::busy(format!("{most} clients are connected already"));
            client.fail(&refusal.remedy("wait for them, or see who they are: ss -xp | grep jabber"));
        }
        self.timers.set(now.after(self.control_patience()), Timer::Control(id));
        let last_millis = now.monotonic_millis;
        let control =
            Control { client, last_millis, is_behind: false, question: None, hashing: None, wake_millis: None };
        self.keep_control(now, id, control);
    }

    fn control_patience(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.config.limits.control_seconds)
    }

    pub(super) fn control_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) {
        self.with_control(now, id, |client, lent| client.push(lent, bytes));
    }

    /// It asks nothing more. What it asked is answered, then the connection ends.
    pub(super) fn control_silent(&mut self, now: Now, id: ConnectionId) {
        self.with_control(now, id, |client, _| client.end_input());
    }

    /// What a job waits for has happened.
    pub(super) fn control_event(&mut self, now: Now, id: ConnectionId, event: Event) {
        self.with_control(now, id, |client, lent| client.hear(lent, event));
    }

    /// Password work is done. That of a command that is over is nothing to the one after it.
    pub(super) fn control_hashed(&mut self, now: Now, id: ConnectionId, result: HashResult) {
        let Some(control) = self.controls.get_mut(&id) else { return };
        if control.hashing == Some(result.token) {
            control.hashing = None;
            self.control_event(now, id, Event::Hashed(result.outcome));
        }
    }

    pub(super) fn control_drained(&mut self, now: Now, id: ConnectionId) {
        let Some(control) = self.controls.get_mut(&id) else { return };
        control.last_millis = now.monotonic_millis;
        control.is_behind = false;
        if control.client.is_resting() {
            self.control_event(now, id, Event::GoOn);
        }
    }

    fn wake_control(&mut self, at_millis: u64, id: ConnectionId) {
        if let Some(control) = self.controls.get_mut(&id) {
            control.wake_millis = Some(at_millis);
            self.timers.set(at_millis, Timer::Waker(id));
        }
    }

    /// A job's wait is over.
    pub(super) fn control_woken(&mut self, now: Now, id: ConnectionId) {
        let Some(control) = self.controls.get_mut(&id) else { return };
        if control.client.is_resting() {
            return self.control_event(now, id, Event::GoOn);
        }
        // A timer of a command that is over wakes nobody.
        if control.wake_millis.is_some_and(|at| at <= now.monotonic_millis) {
            control.wake_millis = None;
            self.control_event(now, id, Event::Woken);
        }
    }

    pub(super) fn control_gone(&mut self, id: ConnectionId, reason: &str) {
        let Some(control) = self.controls.remove(&id) else { return };
        control.client.leave((reason == UNHEARD).then_some(reason));
        self.forget_question(id, control.question);
    }

    /// Nobody waits any more for what this client wanted of other servers.
    fn forget_question(&mut self, id: ConnectionId, question: Option<String>) {
        self.federation.leave_ways(id);
        if let Some(question) = question {
            self.router.forget_question(&question);
        }
    }

    /// A question to another server is answered.
    pub(super) fn control_answered(&mut self, now: Now, question: &str, answer: Stanza) {
        let asker = self.controls.iter_mut().find(|(_, control)| control.question.as_deref() == Some(question));
        let Some((id, control)) = asker else { return };
        control.question = None;
        let id = *id;
        self.control_event(now, id, Event::Answered(answer));
    }

    /// Tells who watches a way what happened on it.
    pub(super) fn tell_traces(&mut self, now: Now) {
        for (id, step) in self.federation.take_traced() {
            self.control_event(now, id, Event::Traced(step));
        }
    }

    /// A client that neither speaks nor reads is not waited for. One that reads slowly is, and long: somebody looks at a
    /// page of a list. It costs what it has not read of one page, and clients are few.
    pub(super) fn control_timed_out(&mut self, now: Now, id: ConnectionId) {
        let patience = self.control_patience();
        let Some(control) = self.controls.get(&id) else { return };
        let limits = &self.config.limits;
        let seconds = if control.is_behind { limits.control_reading_seconds } else { limits.control_seconds };
        let until = control.last_millis.saturating_add(seconds.saturating_mul(1000));
        if until > now.monotonic_millis {
            // It may have read all before, and then has the shorter time.
            return self.timers.set(until.min(now.after(patience)), Timer::Control(id));
        }
        let refusal = if control.is_behind {
            Refusal::failed(format!("you did not read for {seconds} seconds")).remedy(
                "read faster, or put the answer into a file; <control-reading-seconds> is the time, jabber.xml(5)",
            )
        } else if control.client.is_awaited() {
            Refusal::failed(format!("you asked for nothing for {seconds} seconds"))
                .remedy("connect again when there is something to ask; <control-seconds> is the time, jabber.xml(5)")
        } else {
            return self.timers.set(now.after(patience), Timer::Control(id));
        };
        self.with_control(now, id, |client, _| client.fail(&refusal));
    }

    /// All clients are told that the server stops.
    pub(super) fn end_controls(&mut self) {
        let ids: Vec<ConnectionId> = self.controls.keys().copied().collect();
        for id in ids {
            let now = self.now;
            self.with_control(now, id, |client, _| {
                client.fail(
                    &Refusal::failed("the server stops").remedy("ask again when it is up: /etc/init.d/jabber start"),
                )
            });
        }
    }

    /// A client whose handling met a bug.
    pub(super) fn end_control(&mut self, id: ConnectionId) {
        if self.controls.remove(&id).is_some() {
            self.outputs.push(Output::Close { id });
        }
    }

    /// Does something with a client's talk, then all that it asks for.
    fn with_control(&mut self, now: Now, id: ConnectionId, change: impl FnOnce(&mut Client, &mut Lent<'_>)) {
        let Some(mut control) = self.controls.remove(&id) else { return };
        let (question, wake_millis) = (control.question.take(), control.wake_millis);
        let (connections, commits) = (&self.connections, &self.commits);
        let facts = Known { connections, commits, started_millis: self.started_millis, now };
        let mut lent = Lent {
            now,
            random: self.random.as_mut(),
            store: &mut self.store,
            router: &mut self.router,
            config: &self.config,
            facts: &facts,
        };
        let client = &mut control.client;
        if catch_unwind(AssertUnwindSafe(|| change(client, &mut lent))).is_err() {
            self.router.abandon();
            log::error!(target: LogSink::INTERNAL, "a command was dropped because of a bug in the server; please report the panic above");
            control.client.fail(&Refusal::failed("a bug in the server").remedy("please report the panic in its log"));
        }
        self.flush_router(now);
        self.keep_control(now, id, Control { question, wake_millis, ..control });
    }

    /// Sends what the client is to be told, and does what it asks for.
    fn keep_control(&mut self, now: Now, id: ConnectionId, mut control: Control) {
        let client = &mut control.client;
        let bytes = client.take_output();
        let said = !bytes.is_empty();
        control.is_behind |= said;
        if said {
            self.outputs.push(Output::Bytes { id, bytes });
        } else if client.is_resting() && !control.is_behind {
            // Nothing was said that has to leave, so nothing will tell that it did.
            self.timers.set(now.monotonic_millis, Timer::Waker(id));
        }
        if client.is_ended() {
            self.outputs.push(Output::Close { id });
            return self.forget_question(id, control.question);
        }
        if client.is_idle() {
            (control.wake_millis, control.hashing) = (None, None);
            self.forget_question(id, control.question.take());
        }
        let asks = control.client.take_asks();
        control.last_millis = now.monotonic_millis;
        self.controls.insert(id, control);
        for ask in asks {
            match ask {
                Ask::Hash(job) => {
                    if let Some(control) = self.controls.get_mut(&id) {
                        // It may be answered at once.
                        control.hashing = Some(self.next_token + 1);
                    }
                    self.hash(now, Asker::Control(id), job);
                }
                Ask::WakeAfter(wait) => self.wake_control(now.after(wait), id),
                Ask::Reach(pair) => {
                    self.federation.watch_way(&pair, id);
                    if let Ok(host) = BareJid::new(&pair.from) {
                        self.dial(now, &pair, &Sender::Local(host));
                    }
                }
                Ask::Question(stanza) => {
                    if let (Some(name), Some(control)) = (stanza.element().attribute("id"), self.controls.get_mut(&id))
                    {
                        control.question = Some(name.to_owned());
                    }
                    let mut env = router_env!(self, now);
                    self.router.ask(&mut env, stanza);
                    self.flush_router(now);
                }
                Ask::Outside(what) => self.outputs.push(Output::Outside { id, what }),
            }
        }
    }
}

/// What the server knows, lent to a command.
struct Known<'a> {
    connections: &'a IdMap<ConnectionId, Connection>,
    commits: &'a Commits,
    started_millis: u64,
    now: Now,
}

impl Facts for Known<'_> {
    fn connections(&self) -> admin::Connections {
        let mut counted = admin::Connections::default();
        for connection in self.connections.values() {
            let count = match connection.talk {
                Talk::Client(_) => &mut counted.clients,
                Talk::Incoming(_) => &mut counted.servers_in,
                Talk::Outgoing(_) | Talk::Dialing(_) => &mut counted.servers_out,
                Talk::Component(_) | Talk::Calling(_) => &mut counted.components,
                Talk::Http(_) => continue,
                Talk::Bytestream(_) => &mut counted.bytestreams,
            };
            *count = count.saturating_add(1);
        }
        counted
    }

    fn client(&self, connection: ConnectionId) -> Option<ClientFacts> {
        let connection = self.connections.get(&connection)?;
        let Talk::Client(stream) = &connection.talk else { return None };
        Some(ClientFacts {
            address: connection.peer.ip(),
            is_secure: stream.is_secure(),
            idle_millis: self.now.monotonic_millis.saturating_sub(connection.last_input_millis),
        })
    }

    fn streams(&self) -> Vec<admin::Stream> {
        let mut streams = Vec::new();
        for connection in self.connections.values().filter(|connection| !connection.is_closing) {
            let mut add = |local: &str, remote: &str, direction, proof, tls| {
                streams.push(admin::Stream {
                    local: local.to_owned(),
                    remote: remote.to_owned(),
                    direction,
                    address: connection.peer.ip(),
                    proof,
                    tls,
                    millis: self.now.monotonic_millis.saturating_sub(connection.opened_millis),
                    stanzas: connection.stanzas,
                });
            };
            match &connection.talk {
                Talk::Incoming(stream) => {
                    let direction = if stream.is_bidirectional() { "both" } else { "in" };
                    stream
                        .proved()
                        .for_each(|(pair, how)| add(&pair.to, &pair.from, direction, Some(how), stream.tls()));
                }
                Talk::Outgoing(stream) => {
                    let direction = if stream.is_bidirectional() { "both" } else { "out" };
                    stream
                        .proved()
                        .for_each(|(local, how)| add(local, stream.remote(), direction, Some(how), stream.tls()));
                }
                Talk::Dialing(pair) => add(&pair.from, &pair.to, "out", None, None),
                Talk::Client(_) | Talk::Component(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_) => {}
            }
        }
        streams
    }

    fn up_millis(&self) -> u64 {
        self.now.monotonic_millis.saturating_sub(self.started_millis)
    }

    fn commit_failures(&self) -> (u64, Option<(u64, String)>) {
        let failing = self.commits.failing().map(|failing| (failing.since_unix_millis, failing.why.clone()));
        (self.commits.failures(), failing)
    }

    /// proc(5): the resident set, in kilobytes.
    fn memory_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    }
}
