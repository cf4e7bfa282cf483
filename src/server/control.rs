//! Clients of the control socket: what they send goes to their talk, and its jobs go on from here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::connections::{Connection, Talk};
use super::{Asker, ConnectionId, Output, Server, Timer};
use crate::admin::{self, Ask, Client, ClientFacts, Event, Facts, Lent, Peer, Refusal};
use crate::config::LogSink;
use crate::router::IdMap;
use crate::xmpp::Now;

/// A client.
pub(super) struct Control {
    client: Client,
    /// When it last said or read something, or its job did.
    last_millis: u64,
}

impl Server {
    pub(super) fn is_control(&self, id: ConnectionId) -> bool {
        !self.controls.is_empty() && self.controls.contains_key(&id)
    }

    pub(super) fn control_came(&mut self, now: Now, id: ConnectionId, peer: Peer) {
        let mut client = Client::new(peer);
        let most = self.config.limits.control_clients_max;
        if self.is_stopping {
            client.fail(&Refusal::busy("the server is stopping"));
        } else if self.controls.len() >= most {
            let refusal = Refusal::busy(format!("{most} clients are connected already"));
            client.fail(&refusal.remedy("wait for them, or see who they are: ss -xp | grep jabber"));
        }
        self.timers.set(now.after(self.control_patience()), Timer::Control(id));
        self.keep_control(now, id, client);
    }

    fn control_patience(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.config.limits.control_seconds)
    }

    pub(super) fn control_bytes(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) {
        self.with_control(now, id, |client, lent| client.push(lent, bytes));
    }

    /// What a job waits for has happened.
    pub(super) fn control_event(&mut self, now: Now, id: ConnectionId, event: Event) {
        self.with_control(now, id, |client, lent| client.hear(lent, event));
    }

    pub(super) fn control_drained(&mut self, now: Now, id: ConnectionId) {
        let Some(control) = self.controls.get_mut(&id) else { return };
        control.last_millis = now.monotonic_millis;
        if control.client.is_resting() {
            self.control_event(now, id, Event::GoOn);
        }
    }

    /// A job's wait is over.
    pub(super) fn control_woken(&mut self, now: Now, id: ConnectionId) {
        let is_resting = self.controls.get(&id).is_some_and(|control| control.client.is_resting());
        self.control_event(now, id, if is_resting { Event::GoOn } else { Event::Woken });
    }

    pub(super) fn control_gone(&mut self, id: ConnectionId) {
        self.controls.remove(&id);
    }

    /// A client that neither speaks nor reads is not waited for.
    pub(super) fn control_timed_out(&mut self, now: Now, id: ConnectionId) {
        let patience = self.control_patience();
        let Some(control) = self.controls.get(&id) else { return };
        let until = control.last_millis.saturating_add(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
        if until > now.monotonic_millis {
            return self.timers.set(until, Timer::Control(id));
        }
        if control.client.is_awaited() {
            let seconds = patience.as_secs();
            let refusal = Refusal::failed(format!("nothing was heard for {seconds} seconds (<control-seconds>)"));
            return self.with_control(now, id, |client, _| client.fail(&refusal));
        }
        self.timers.set(now.after(patience), Timer::Control(id));
    }

    /// All clients are told that the server stops.
    pub(super) fn end_controls(&mut self) {
        let ids: Vec<ConnectionId> = self.controls.keys().copied().collect();
        for id in ids {
            let now = self.now;
            self.with_control(now, id, |client, _| client.fail(&Refusal::failed("the server stops")));
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
        let facts = Known { connections: &self.connections, started_millis: self.started_millis, now };
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
        self.keep_control(now, id, control.client);
    }

    fn keep_control(&mut self, now: Now, id: ConnectionId, mut client: Client) {
        let bytes = client.take_output();
        let said = !bytes.is_empty();
        if said {
            self.outputs.push(Output::Bytes { id, bytes });
        } else if client.is_resting() {
            // Nothing was said that could leave, so nothing will tell that it did.
            self.timers.set(now.monotonic_millis, Timer::Waker(id));
        }
        if client.is_ended() {
            self.outputs.push(Output::Close { id });
            return;
        }
        let asks = client.take_asks();
        self.controls.insert(id, Control { client, last_millis: now.monotonic_millis });
        for ask in asks {
            match ask {
                Ask::Hash(job) => self.hash(now, Asker::Control(id), job),
                Ask::WakeAfter(wait) => self.timers.set(now.after(wait), Timer::Waker(id)),
                Ask::Outside(what) => self.outputs.push(Output::Outside { id, what }),
            }
        }
    }
}

/// What the server knows, lent to a command.
struct Known<'a> {
    connections: &'a IdMap<ConnectionId, Connection>,
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

    /// proc(5): the resident set, in kilobytes.
    fn memory_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1024)
    }
}
