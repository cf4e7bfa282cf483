//! What streams between servers ask for, and what becomes of them: proofs, questions about keys, stanzas, their end.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::super::connections::{Connection, Talk};
use super::super::handshakes;
use super::super::metrics::{Side, how_lost};
use super::super::{ClientTls, ConnectionId, Output, Server, Timer};
use super::{ASKED_MAX, Asked};
use crate::config::customer;
use crate::router::Sender;
use crate::stream::dialback::{Pair, Verdict};
use crate::stream::s2s_in::{self, S2sIn};
use crate::stream::s2s_out::{self, S2sOut};
use crate::stream::sm::Unsent;
use crate::stream::{Env, Over, TlsInfo};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{BareJid, Condition, Now};

/// How long other servers have to end their streams when this one stops: nobody shall wait long for a restart.
const GOODBYE_MILLIS: u64 = 1_000;

/// What lines of record.log are about that tell of streams between servers.
const INCOMING: &str = "streams of other servers in record.log";
const OUTGOING: &str = "streams to other servers in record.log";

impl Server {
    /// A connection is open.
    pub(in crate::server) fn connected(&mut self, now: Now, id: ConnectionId, peer: SocketAddr) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Talk::Dialing(pair) = &connection.talk {
            self.federation.trace(pair, "connect", true, || format!("connected to {peer}"));
        }
        connection.peer = peer;
        if matches!(connection.talk, Talk::Calling(_)) {
            return self.called(now, id, peer);
        }
        let Talk::Dialing(pair) = &connection.talk else { return };
        let direct = self.federation.dials.get(pair).and_then(|dial| dial.current.as_ref()).map(|c| c.direct_tls);
        if direct == Some(false) {
            self.open_stream(now, id, None);
        }
    }

    /// The connection is ready for a stream.
    pub(in crate::server) fn open_stream(&mut self, now: Now, id: ConnectionId, tls: Option<TlsInfo>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Talk::Dialing(pair) = &connection.talk else { return };
        let pair = pair.clone();
        let policy = self.policy_of(&pair);
        let proves = self.federation.dials.get(&pair).is_some_and(|dial| dial.proves);
        let questions = self.questions(&pair);
        let mut env = stream_env!(self, now, false);
        let mut stream = S2sOut::new(&mut env, &pair, policy, tls, proves);
        if self.federation.dials.get(&pair).is_some_and(|dial| dial.skips_external) {
            stream.skip_external();
        }
        for (stream_id, key) in &questions {
            stream.want_verify(&mut env, &pair.from, stream_id, key);
        }
        self.metrics.opened(Side::ServerOut);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.talk = Talk::Outgoing(Box::new(stream));
        }
        self.with_outgoing(now, id, |_, _| {});
    }

    /// Does something to one of our streams, then all that it asks for.
    pub(in crate::server) fn with_outgoing(
        &mut self,
        now: Now,
        id: ConnectionId,
        change: impl FnOnce(&mut S2sOut, &mut Env<'_>),
    ) {
        let mut change = Some(change);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.touch(id, &mut self.touched);
            let Talk::Outgoing(stream) = &mut connection.talk else { return };
            let mut env = stream_env!(self, now, false);
            if let Some(change) = change.take() {
                change(stream, &mut env);
            }
            let Some(action) = stream.poll(&mut env) else { return self.settle_hearing(id) };
            self.act_outgoing(now, id, action);
        }
    }

    fn act_outgoing(&mut self, now: Now, id: ConnectionId, action: s2s_out::Action) {
        use s2s_out::Action;
        match action {
            Action::StartTls(remote) => {
                let local = self.pair_of(id).map(|pair| pair.from).unwrap_or_default();
                self.take_stream_output(id);
                self.outputs.push(Output::StartTls {
                    id,
                    host: local.clone(),
                    client: Some(ClientTls { remote, local }),
                });
            }
            Action::Ready { pair, how } => {
                self.end_dial(&pair);
                self.federation.told.remove(&pair);
                let peer = self.connections.get(&id).map(|connection| connection.peer.ip());
                let (address, secure) = (peer.map(|ip| ip.to_string()).unwrap_or_default(), self.tls_words(id));
                log::info!(target: &pair.from, servers = "streams to other servers", by = &pair.to;
                    "stream to {} at {address} is open: proved by {how}, {secure}", pair.to);
                self.watch(now, id);
                self.federation.trace_last(&pair, "proof", true, || {
                    format!("{} takes us for {}, by {how}, {secure}", pair.to, pair.from)
                });
                let env = router_env!(self, now);
                self.metrics.link(true);
                self.router.link_ready(&env, &pair, id);
                self.flush_router(now);
            }
            Action::Refused { pair, why } => {
                let sender = self.end_dial(&pair).map(|dial| dial.sender);
                self.federation.trace_last(&pair, "proof", false, || why.clone());
                let condition = Condition::RemoteServerTimeout;
                self.link_failed(now, &pair, (condition, "proof"), &why, sender.as_ref());
                self.end_unused(now, id);
            }
            Action::Verified { pair, stream_id, verdict } => {
                let towards = Pair { from: pair.to.clone(), to: pair.from.clone() };
                if self.federation.dials.get(&towards).is_some_and(|dial| !dial.proves) {
                    // It was opened to ask, and that is done; it stays for the next question, until it is idle.
                    self.end_dial(&towards);
                }
                self.watch(now, id);
                self.answered(now, pair, stream_id, &verdict);
            }
            Action::Stanza(stanza) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.stanzas = connection.stanzas.saturating_add(1);
                    if let Some(side) = Side::of(&connection.talk) {
                        self.metrics.stanza(side, false, &stanza);
                    }
                }
                // What others brought about is not this peer's.
                self.router.take_spent();
                let mut env = router_env!(self, now);
                self.router.from_remote(&mut env, stanza);
                self.flush_router(now);
                self.charge(now, id);
            }
            Action::Acknowledged(rows) => self.router.forget(&mut router_env!(self, now), rows),
            Action::Ended(why) => {
                self.hear_out(now, id);
                self.outgoing_over(now, id, &why, VecDeque::new(), false);
            }
            Action::Close(over) => {
                self.peer_ended(now, id, &over);
                self.end_connection(id);
                let Some(Talk::Outgoing(stream)) = self.connections.get_mut(&id).map(|connection| &mut connection.talk)
                else {
                    return;
                };
                let (lost, may_call_again) = (stream.take_unacknowledged(), stream.external_failed());
                let (remote, hosts) = (stream.remote().to_owned(), stream.take_unproved());
                self.outgoing_over(now, id, &over.to_string(), lost, may_call_again);
                self.prove_elsewhere(now, &remote, hosts);
            }
        }
    }

    pub(super) fn tls_words(&self, id: ConnectionId) -> &'static str {
        match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Outgoing(stream)) if stream.is_secure() => "TLS",
            Some(Talk::Incoming(stream)) if stream.is_secure() => "TLS",
            _ => "no TLS",
        }
    }

    /// The pair that one of our connections was opened for.
    pub(super) fn pair_of(&self, id: ConnectionId) -> Option<Pair> {
        self.federation.outgoing.iter().find(|(_, other)| **other == id).map(|(pair, _)| pair.clone())
    }

    /// One of our streams is over: its pair is tried elsewhere, or what used it waits for the next.
    pub(super) fn outgoing_over(
        &mut self,
        now: Now,
        id: ConnectionId,
        why: &str,
        lost: VecDeque<Unsent>,
        may_call_again: bool,
    ) {
        self.router.links_gone(id);
        if let Some(pair) = self.pair_of(id) {
            self.federation.outgoing.remove(&pair);
            let is_called = may_call_again && self.call_again(now, &pair);
            if !is_called && self.federation.dials.contains_key(&pair) {
                self.candidate_failed(now, &pair, why);
            }
            self.ask_again(now, &pair.to);
        }
        self.send_again(now, lost);
    }

    /// One of our streams is over. Hosts that were to be proved on it beside the one that it was opened for need another.
    fn prove_elsewhere(&mut self, now: Now, remote: &str, hosts: Vec<String>) {
        for from in hosts {
            let pair = Pair { from, to: remote.to_owned() };
            if let (true, Ok(host)) = (self.router.link_is_awaited(&pair), BareJid::new(&pair.from)) {
                self.dial(now, &pair, &Sender::Local(host));
            }
        }
    }

    /// What a lost connection may have lost goes again, by another one.
    pub(super) fn send_again(&mut self, now: Now, lost: VecDeque<Unsent>) {
        if !lost.is_empty() {
            let mut env = router_env!(self, now);
            self.router.send_again(&mut env, lost);
        }
        self.flush_router(now);
    }

    /// A stream is proved: from now on it is looked at now and then.
    pub(super) fn watch(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !std::mem::replace(&mut connection.is_watched, true) {
            self.timers.set(now.monotonic_millis.saturating_add(self.idle_millis()), Timer::Idle(id));
        }
    }

    fn idle_millis(&self) -> u64 {
        self.config.federation.as_ref().map_or(900, |federation| federation.idle_seconds).saturating_mul(1000).max(1000)
    }

    /// A stream on which nothing was said for `<idletimeout>` ends; the next stanza opens a new one.
    pub(in crate::server) fn idle(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let quiet_since = connection.last_output_millis.max(connection.last_input_millis);
        let until = quiet_since.saturating_add(self.idle_millis());
        if until > now.monotonic_millis {
            return self.timers.set(until, Timer::Idle(id));
        }
        match &connection.talk {
            Talk::Incoming(_) => self.with_incoming(now, id, |stream, _| stream.end("idle")),
            Talk::Outgoing(_) => self.with_outgoing(now, id, |stream, _| stream.end("idle")),
            Talk::Client(_)
            | Talk::Dialing(_)
            | Talk::Component(_)
            | Talk::Calling(_)
            | Talk::Bytestream(_)
            | Talk::Http(_) => {}
        }
    }

    /// A stream between servers ends, perhaps by its peer. One that says that it read all has what left; one that fails
    /// may be gone for good.
    fn peer_ended(&mut self, now: Now, id: ConnectionId, over: &Over) {
        match over {
            Over::Ours(_) => return,
            Over::Peer => return self.forget_left_on(now, id),
            // Compat: ejabberd ends an idle stream with an error.
            Over::PeerFailed(name, _) if name == StreamCondition::ConnectionTimeout.name() => return,
            Over::PeerFailed(..) => {}
        }
        let pairs: Vec<Pair> = match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Incoming(stream)) => {
                stream.proved().map(|(pair, _)| Pair { from: pair.to.clone(), to: pair.from.clone() }).collect()
            }
            Some(Talk::Outgoing(stream)) => {
                let to = stream.remote();
                stream.proved().map(|(local, _)| Pair { from: local.to_owned(), to: to.to_owned() }).collect()
            }
            _ => Vec::new(),
        };
        pairs.into_iter().for_each(|pair| self.doubt(now, pair));
    }

    /// Our end of the stream is said; the peer has a while to say its own.
    fn hear_out(&mut self, now: Now, id: ConnectionId) {
        let wait = match self.is_stopping {
            true => GOODBYE_MILLIS,
            false => self.config.limits.closing_seconds.saturating_mul(1000),
        };
        self.timers.set(now.monotonic_millis.saturating_add(wait), Timer::Goodbye(id));
    }

    /// That while is over.
    pub(in crate::server) fn goodbye(&mut self, now: Now, id: ConnectionId) {
        let why = "the other server did not end the stream";
        match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Incoming(_)) => self.with_incoming(now, id, |stream, _| stream.hang_up(why)),
            Some(Talk::Outgoing(_)) => self.with_outgoing(now, id, |stream, _| stream.hang_up(why)),
            _ => {}
        }
    }

    /// The server stops. What other servers have on its way to us is heard still.
    pub(in crate::server) fn shut_down_stream(&mut self, now: Now, id: ConnectionId) {
        match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Incoming(_)) => self.with_incoming(now, id, |stream, env| stream.shut_down(env)),
            Some(Talk::Outgoing(_)) => self.with_outgoing(now, id, |stream, _| stream.shut_down()),
            _ => self.close(now, id, StreamCondition::SystemShutdown.into()),
        }
    }

    /// A server's connection is gone.
    pub(in crate::server) fn server_gone(
        &mut self,
        now: Now,
        id: ConnectionId,
        mut connection: Connection,
        reason: &str,
    ) {
        match &mut connection.talk {
            Talk::Incoming(stream) => {
                let lost = stream.take_unacknowledged();
                self.federation.stop_asking(id);
                self.router.links_gone(id);
                for (pair, how) in stream.proved() {
                    let (ip, stanzas) = (connection.peer.ip(), connection.stanzas);
                    log::info!(target: &format!("record:{}", pair.to), servers = INCOMING, by:% = ip;
                        "in {how} {stanzas} {ip} {}", pair.from);
                }
                let is_clean = stream.is_closed();
                if !is_clean && !stream.is_proved() {
                    handshakes::note("a server", connection.peer.ip(), "s2s", reason);
                }
                self.metrics.closed(Side::ServerIn, if is_clean { "ended" } else { how_lost(reason) });
                for (pair, _) in stream.proved() {
                    let back = Pair { from: pair.to.clone(), to: pair.from.clone() };
                    if !is_clean || self.router.link_has_failed(&back) {
                        self.doubt(now, back);
                    }
                }
                self.send_again(now, lost);
            }
            Talk::Outgoing(stream) => {
                let (lost, hosts) = (stream.take_unacknowledged(), stream.take_unproved());
                let is_clean = stream.is_closed();
                self.metrics.closed(Side::ServerOut, if is_clean { "ended" } else { how_lost(reason) });
                for (local, how) in stream.proved() {
                    let (ip, stanzas) = (connection.peer.ip(), connection.stanzas);
                    log::info!(target: &format!("record:{}", stream.remote()), servers = OUTGOING, by:% = ip;
                        "out {how} {stanzas} {ip} {local}");
                }
                if let Some(pair) = self.pair_of(id).filter(|_| !is_clean) {
                    self.doubt(now, pair);
                }
                self.outgoing_over(now, id, reason, lost, stream.external_failed());
                self.prove_elsewhere(now, stream.remote(), hosts);
            }
            Talk::Dialing(_) => self.outgoing_over(now, id, reason, VecDeque::new(), false),
            Talk::Client(_) | Talk::Component(_) | Talk::Calling(_) | Talk::Bytestream(_) | Talk::Http(_) => {}
        }
    }

    /// Does something to another server's stream, then all that it asks for.
    pub(in crate::server) fn with_incoming(
        &mut self,
        now: Now,
        id: ConnectionId,
        change: impl FnOnce(&mut S2sIn, &mut Env<'_>),
    ) {
        let mut change = Some(change);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.touch(id, &mut self.touched);
            let Talk::Incoming(stream) = &mut connection.talk else { return };
            let mut env = stream_env!(self, now, false);
            if let Some(change) = change.take() {
                change(stream, &mut env);
            }
            let Some(action) = stream.poll(&mut env) else { return self.settle_hearing(id) };
            self.act_incoming(now, id, action);
        }
    }

    fn act_incoming(&mut self, now: Now, id: ConnectionId, action: s2s_in::Action) {
        use s2s_in::Action;
        match action {
            Action::StartTls(host) => {
                self.take_stream_output(id);
                self.outputs.push(Output::StartTls { id, host, client: None });
            }
            Action::Verify { pair, stream_id, key } => {
                let Some(address) = self.connections.get(&id).map(|connection| customer(connection.peer.ip())) else {
                    return;
                };
                let own = self.federation.asked_of.get(&address).copied().unwrap_or(0);
                if self.federation.asked.len() >= ASKED_MAX || own >= self.config.limits.proofs_per_address_max {
                    let verdict = Verdict::Failed(Condition::ResourceConstraint, "try again later".to_string());
                    return self
                        .with_incoming(now, id, |stream, env| stream.verified(env, &pair, &stream_id, &verdict));
                }
                // The question goes from our host to the domain that is to be proved.
                let towards = Pair { from: pair.to.clone(), to: pair.from.clone() };
                self.federation.ask((pair, stream_id.clone()), Asked { asker: id, address, key, is_repeated: false });
                self.reach(now, &towards, &Sender::Peer(address), Some(&stream_id));
            }
            Action::Proved { pair, how } => {
                self.watch(now, id);
                self.known(id);
                let secure = self.tls_words(id);
                if let Some(connection) = self.connections.get(&id) {
                    let ip = connection.peer.ip();
                    log::info!(target: &pair.to, servers = "streams from other servers", by:% = ip;
                        "stream from {} at {ip}: proved by {how}, {secure}", pair.from);
                }
                let env = router_env!(self, now);
                self.router.server_heard(&env, &Pair { from: pair.to, to: pair.from });
                self.flush_router(now);
            }
            Action::Bidirectional(pair) => {
                let back = Pair { from: pair.to, to: pair.from };
                self.end_dial(&back);
                self.federation
                    .trace_last(&back, "proof", true, || format!("{} opened a stream for both directions", back.to));
                let env = router_env!(self, now);
                self.metrics.link(true);
                self.router.link_ready(&env, &back, id);
                self.flush_router(now);
            }
            Action::Stanza(stanza) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.stanzas = connection.stanzas.saturating_add(1);
                    if let Some(side) = Side::of(&connection.talk) {
                        self.metrics.stanza(side, false, &stanza);
                    }
                }
                // What others brought about is not this peer's.
                self.router.take_spent();
                let mut env = router_env!(self, now);
                self.router.from_remote(&mut env, stanza);
                self.flush_router(now);
                self.charge(now, id);
            }
            Action::Blocked(stanza) => self.router.stop_unproved(&stanza),
            Action::Acknowledged(rows) => self.router.forget(&mut router_env!(self, now), rows),
            Action::Ended(why) => {
                log::debug!(target: "s2s", "incoming stream is ended: {why}");
                self.hear_out(now, id);
                self.router.links_gone(id);
            }
            Action::Close(over) => {
                log::debug!(target: "s2s", "incoming stream ends: {over}");
                self.peer_ended(now, id, &over);
                self.end_connection(id);
                self.router.links_gone(id);
                let lost = match self.connections.get_mut(&id).map(|connection| &mut connection.talk) {
                    Some(Talk::Incoming(stream)) => stream.take_unacknowledged(),
                    _ => VecDeque::new(),
                };
                self.send_again(now, lost);
            }
        }
    }

    /// The authoritative server's word: `pair` is the domain that was to be proved, and our host.
    pub(super) fn answered(&mut self, now: Now, pair: Pair, stream_id: String, verdict: &Verdict) {
        let Some(asked) = self.federation.asked_no_more(&(pair.clone(), stream_id.clone())) else { return };
        self.with_incoming(now, asked.asker, |stream, env| stream.verified(env, &pair, &stream_id, verdict));
    }
}
