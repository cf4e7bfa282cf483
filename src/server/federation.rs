//! Streams to and from other servers: found, opened, proved, used, ended.
//!
//! A dial is the work of getting one pair of domains connected: a look-up, then the candidates in order until one
//! stream is proved. What went wrong at each is kept, and told in one line when none is left.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::connections::{Connection, Talk};
use super::{Candidate, ClientTls, ConnectionId, Output, Server, Timer, Unfound};
use crate::stream::dialback::{Pair, Verdict};
use crate::stream::s2s_in::{self, S2sIn};
use crate::stream::s2s_out::{self, S2sOut};
use crate::stream::{Env, TlsInfo};
use crate::xmpp::{Condition, Now, Stanza};

/// The numbers of connections that we open start here; those of accepted ones stay below.
pub const FIRST_OUTGOING: u64 = 1 << 63;

/// Seconds until a connection must have proved its pair.
const DIAL_SECONDS: u64 = 30;
/// Candidates that are tried for one pair.
const CANDIDATES_MAX: usize = 8;
/// Pairs that are being connected at a time: a client that writes to the whole world must not take all sockets.
const DIALS_MAX: usize = 1_000;
/// Keys that wait for a word at a time.
const ASKED_MAX: usize = 10_000;
/// The shortest wait before a server whose stream broke is looked for; the longest is twice that.
const DOUBT_MILLIS: u64 = 10_000;

/// Somebody who waits for an authoritative server's word on a key (XEP-0220 §2.1.2).
struct Asked {
    /// The stream to us on which the key came.
    asker: ConnectionId,
    key: String,
}

/// The work of getting one pair connected.
struct Dial {
    candidates: VecDeque<Candidate>,
    /// The candidate that is being tried.
    current: Option<Candidate>,
    /// What went wrong so far.
    reasons: Vec<String>,
    /// Are there stanzas to send, or only questions about keys?
    proves: bool,
}

/// All that is known of other servers.
#[derive(Default)]
pub struct Federation {
    dials: HashMap<Pair, Dial>,
    tickets: HashMap<u64, Pair>,
    next_ticket: u64,
    next_id: u64,
    /// Our streams by the pair they were opened for.
    outgoing: HashMap<Pair, ConnectionId>,
    /// Keys that wait for an authoritative server's word: by the pair that was claimed, and the id of the stream to us.
    asked: HashMap<(Pair, String), Asked>,
    /// What was last said in the log about a pair that failed.
    told: HashMap<Pair, String>,
}

impl Server {
    /// A pair is wanted.
    pub(super) fn dial(&mut self, now: Now, pair: &Pair) {
        self.reach(now, pair, None);
    }

    /// Gets a stream to `pair.to`: to send, or to ask about the key of the stream to us with this id. One that is open
    /// will do, if its other end can do that; else a new one is opened.
    fn reach(&mut self, now: Now, pair: &Pair, question: Option<&str>) {
        if let Some(dial) = self.federation.dials.get_mut(pair) {
            dial.proves |= question.is_none();
            // A stream that is on its way takes the wish along; before there is one, `open_stream` does.
            let on_its_way = self.federation.outgoing.get(pair).copied();
            return on_its_way.into_iter().for_each(|id| self.wish(now, id, pair, question));
        }
        let usable = |id: &&ConnectionId| match self.connections.get(id).map(|connection| &connection.talk) {
            Some(Talk::Outgoing(stream)) if question.is_some() => stream.takes_verifications(),
            Some(Talk::Outgoing(stream)) => stream.takes_pairs(),
            _ => false,
        };
        let mut towards = self.federation.outgoing.iter().filter(|(other, _)| other.to == pair.to).map(|(_, id)| id);
        if let Some(id) = towards.find(usable).copied() {
            return self.wish(now, id, pair, question);
        }
        if self.federation.dials.len() >= DIALS_MAX {
            let why = "too many other servers are being connected to";
            self.nobody_to_ask(now, pair);
            return self.link_failed(now, pair, Condition::ResourceConstraint, why);
        }
        let proves = question.is_none();
        let dial = Dial { candidates: VecDeque::new(), current: None, reasons: Vec::new(), proves };
        self.federation.dials.insert(pair.clone(), dial);
        self.find(now, pair);
    }

    /// Tells a stream of ours what it is wanted for.
    fn wish(&mut self, now: Now, id: ConnectionId, pair: &Pair, question: Option<&str>) {
        let Some(stream_id) = question else {
            return self.with_outgoing(now, id, |stream, env| stream.want_pair(env, &pair.from));
        };
        let claimed = Pair { from: pair.to.clone(), to: pair.from.clone() };
        let Some(asked) = self.federation.asked.get(&(claimed, stream_id.to_string())) else { return };
        let key = asked.key.clone();
        self.with_outgoing(now, id, |stream, env| stream.want_verify(env, &pair.from, stream_id, &key));
    }

    /// The ids and keys that `pair.to` is to be asked about on behalf of `pair.from`.
    fn questions(&self, pair: &Pair) -> Vec<(String, String)> {
        let asked = self.federation.asked.iter();
        asked
            .filter(|((claimed, _), _)| claimed.from == pair.to && claimed.to == pair.from)
            .map(|((_, stream_id), asked)| (stream_id.clone(), asked.key.clone()))
            .collect()
    }

    /// The authoritative server cannot be asked: whoever waits for its word is told so.
    fn nobody_to_ask(&mut self, now: Now, pair: &Pair) {
        for (stream_id, _) in self.questions(pair) {
            let verdict = Verdict::Failed(Condition::RemoteServerNotFound, "your server was not reached".to_string());
            let claimed = Pair { from: pair.to.clone(), to: pair.from.clone() };
            self.answered(now, claimed, stream_id, &verdict);
        }
    }

    /// Where is the other server? jabber.xml may say; else DNS does.
    fn find(&mut self, now: Now, pair: &Pair) {
        let Some(federation) = &self.config.federation else {
            return self.dial_failed(now, pair, Condition::RemoteServerNotFound, "federation is switched off");
        };
        let policy = federation.policy(&pair.to);
        if let Some(address) = policy.address {
            let candidate = Candidate {
                direct_tls: false,
                target: pair.to.clone(),
                port: policy.port.unwrap_or(5269),
                addresses: vec![address],
            };
            return self.found_candidates(now, pair, vec![candidate]);
        }
        if let Ok(address) = pair.to.trim_matches(['[', ']']).parse::<IpAddr>() {
            let candidate =
                Candidate { direct_tls: false, target: pair.to.clone(), port: 5269, addresses: vec![address] };
            return self.found_candidates(now, pair, vec![candidate]);
        }
        if !federation.resolves {
            return self.dial_failed(
                now,
                pair,
                Condition::RemoteServerNotFound,
                "jabber.xml has no <dnsrv>, so other servers are not looked up",
            );
        }
        let services = federation.services.clone();
        self.federation.next_ticket += 1;
        let ticket = self.federation.next_ticket;
        self.federation.tickets.insert(ticket, pair.clone());
        self.outputs.push(Output::Find { ticket, domain: pair.to.clone(), services });
    }

    /// DNS has answered.
    pub(super) fn found(&mut self, now: Now, ticket: u64, result: Result<Vec<Candidate>, Unfound>) {
        let Some(pair) = self.federation.tickets.remove(&ticket) else { return };
        match result {
            Ok(candidates) => self.found_candidates(now, &pair, candidates),
            Err(unfound) => {
                let condition = match unfound.is_temporary {
                    true => Condition::RemoteServerTimeout,
                    false => Condition::RemoteServerNotFound,
                };
                self.dial_failed(now, &pair, condition, &unfound.why);
            }
        }
    }

    fn found_candidates(&mut self, now: Now, pair: &Pair, candidates: Vec<Candidate>) {
        if let Some(dial) = self.federation.dials.get_mut(pair) {
            dial.candidates = candidates.into_iter().take(CANDIDATES_MAX).collect();
        }
        self.next_candidate(now, pair);
    }

    /// Tries the next place, or gives up.
    fn next_candidate(&mut self, now: Now, pair: &Pair) {
        if self.router.blocked(&pair.to).is_some() {
            return self.dial_failed(now, pair, Condition::RemoteServerNotFound, "it is blocked here");
        }
        let never_tls = self.policy_of(pair).tls == crate::config::federation::RemoteTls::Never;
        let Some(dial) = self.federation.dials.get_mut(pair) else { return };
        if never_tls {
            dial.candidates.retain(|candidate| !candidate.direct_tls);
        }
        let Some(candidate) = dial.candidates.pop_front() else {
            // RFC 6120 §10.4.2: it was found, but no stream to it can be had.
            return self.dial_failed(now, pair, Condition::RemoteServerTimeout, "");
        };
        dial.current = Some(candidate.clone());
        let id = self.next_outgoing();
        let addresses: Vec<SocketAddr> =
            candidate.addresses.iter().map(|address| SocketAddr::new(*address, candidate.port)).collect();
        let Some(first) = addresses.first().copied() else {
            return self.candidate_failed(now, pair, "it has no address");
        };
        let tls = candidate.direct_tls.then(|| ClientTls { remote: pair.to.clone(), local: pair.from.clone() });
        self.federation.outgoing.insert(pair.clone(), id);
        let connection = Connection::new(Talk::Dialing(pair.clone()), first, now.monotonic_millis);
        self.connections.insert(id, connection);
        self.timers.set(now.monotonic_millis.saturating_add(DIAL_SECONDS * 1000), Timer::Login(id));
        self.outputs.push(Output::Connect { id, addresses, tls });
    }

    /// The number of another connection of ours.
    pub(super) fn next_outgoing(&mut self) -> ConnectionId {
        let id = ConnectionId(FIRST_OUTGOING + self.federation.next_id);
        self.federation.next_id += 1;
        id
    }

    fn policy_of(&self, pair: &Pair) -> crate::config::federation::RemotePolicy {
        self.config.federation.as_ref().map(|federation| federation.policy(&pair.to)).unwrap_or_default()
    }

    /// A connection is open.
    pub(super) fn connected(&mut self, now: Now, id: ConnectionId, peer: SocketAddr) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
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
    pub(super) fn open_stream(&mut self, now: Now, id: ConnectionId, tls: Option<TlsInfo>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Talk::Dialing(pair) = &connection.talk else { return };
        let pair = pair.clone();
        let policy = self.policy_of(&pair);
        let proves = self.federation.dials.get(&pair).is_some_and(|dial| dial.proves);
        let questions = self.questions(&pair);
        let mut env = stream_env!(self, now, false);
        let mut stream = S2sOut::new(&mut env, &pair, policy, tls, proves);
        for (stream_id, key) in &questions {
            stream.want_verify(&mut env, &pair.from, stream_id, key);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.talk = Talk::Outgoing(Box::new(stream));
        }
        self.with_outgoing(now, id, |_, _| {});
    }

    /// Does something to one of our streams, then all that it asks for.
    pub(super) fn with_outgoing(&mut self, now: Now, id: ConnectionId, change: impl FnOnce(&mut S2sOut, &mut Env<'_>)) {
        let mut change = Some(change);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.touch(id, &mut self.touched);
            let Talk::Outgoing(stream) = &mut connection.talk else { return };
            let mut env = stream_env!(self, now, false);
            if let Some(change) = change.take() {
                change(stream, &mut env);
            }
            let Some(action) = stream.poll(&mut env) else { return };
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
                self.federation.dials.remove(&pair);
                self.federation.told.remove(&pair);
                let peer = self.connections.get(&id).map(|connection| connection.peer.ip());
                let (address, secure) = (peer.map(|ip| ip.to_string()).unwrap_or_default(), self.tls_words(id));
                log::info!(target: &pair.from, "stream to {} at {address} is open: proved by {how}, {secure}", pair.to);
                self.watch(now, id);
                let env = router_env!(self, now);
                self.router.link_ready(&env, &pair, id);
                self.flush_router(now);
            }
            Action::Refused { pair, why } => {
                self.federation.dials.remove(&pair);
                self.link_failed(now, &pair, Condition::RemoteServerTimeout, &why);
            }
            Action::Verified { pair, stream_id, verdict } => {
                let towards = Pair { from: pair.to.clone(), to: pair.from.clone() };
                if self.federation.dials.get(&towards).is_some_and(|dial| !dial.proves) {
                    // It was opened to ask, and that is done; it stays for the next question, until it is idle.
                    self.federation.dials.remove(&towards);
                }
                self.watch(now, id);
                self.answered(now, pair, stream_id, &verdict);
            }
            Action::Stanza(stanza) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.stanzas = connection.stanzas.saturating_add(1);
                }
                let mut env = router_env!(self, now);
                self.router.from_remote(&mut env, stanza);
                self.flush_router(now);
            }
            Action::Close(why) => {
                self.end_connection(id);
                let lost = match self.connections.get_mut(&id).map(|connection| &mut connection.talk) {
                    Some(Talk::Outgoing(stream)) => stream.take_unacknowledged(),
                    _ => VecDeque::new(),
                };
                self.outgoing_over(now, id, &why, lost);
            }
        }
    }

    fn tls_words(&self, id: ConnectionId) -> &'static str {
        match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Outgoing(stream)) if stream.is_secure() => "TLS",
            Some(Talk::Incoming(stream)) if stream.is_secure() => "TLS",
            _ => "no TLS",
        }
    }

    /// The pair that one of our connections was opened for.
    fn pair_of(&self, id: ConnectionId) -> Option<Pair> {
        self.federation.outgoing.iter().find(|(_, other)| **other == id).map(|(pair, _)| pair.clone())
    }

    /// One of our streams is over: its pair is tried elsewhere, or what used it waits for the next.
    fn outgoing_over(&mut self, now: Now, id: ConnectionId, why: &str, lost: VecDeque<Stanza>) {
        self.router.links_gone(id);
        if let Some(pair) = self.pair_of(id) {
            self.federation.outgoing.remove(&pair);
            if self.federation.dials.contains_key(&pair) {
                self.candidate_failed(now, &pair, why);
            } else {
                self.nobody_to_ask(now, &pair);
            }
        }
        self.send_again(now, lost);
    }

    /// What a lost connection may have lost goes again, by another one.
    fn send_again(&mut self, now: Now, lost: VecDeque<Stanza>) {
        if !lost.is_empty() {
            let mut env = router_env!(self, now);
            self.router.send_again(&mut env, lost);
        }
        self.flush_router(now);
    }

    fn candidate_failed(&mut self, now: Now, pair: &Pair, why: &str) {
        if let Some(dial) = self.federation.dials.get_mut(pair) {
            let place = dial.current.take().map(|c| format!("{}:{}", c.target, c.port)).unwrap_or_default();
            dial.reasons.push(format!("{place}: {why}"));
        }
        self.next_candidate(now, pair);
    }

    /// No place is left. One line in the log for each new reason; what waited comes back.
    fn dial_failed(&mut self, now: Now, pair: &Pair, condition: Condition, why: &str) {
        let Some(dial) = self.federation.dials.remove(pair) else { return };
        let mut reasons = dial.reasons;
        if !why.is_empty() || reasons.is_empty() {
            reasons.push(if why.is_empty() { "no server was found".to_string() } else { why.to_string() });
        }
        let why = reasons.join("; ");
        self.nobody_to_ask(now, pair);
        self.link_failed(now, pair, condition, &why);
    }

    fn link_failed(&mut self, now: Now, pair: &Pair, condition: Condition, why: &str) {
        if self.federation.told.get(pair).is_none_or(|told| told != why) {
            log::warn!(target: &pair.from, "failed to establish connection to {}: {why}", pair.to);
            if self.federation.told.len() >= self.config.limits.remote_links_max {
                self.federation.told.clear();
            }
            self.federation.told.insert(pair.clone(), why.to_string());
        }
        let mut env = router_env!(self, now);
        self.router.link_failed(&mut env, pair, condition, why);
        if self.router.server_was_reached(pair) && !self.hears(pair) {
            let env = router_env!(self, now);
            self.router.server_vanished(&env, pair);
        }
        self.flush_router(now);
    }

    /// Does the domain `pair.to` speak to our host `pair.from` on a stream of its own?
    fn hears(&self, pair: &Pair) -> bool {
        self.connections.values().any(|connection| match &connection.talk {
            Talk::Incoming(stream) => !connection.is_closing && stream.speaks_for(&pair.to, &pair.from),
            _ => false,
        })
    }

    /// A stream broke that this pair was in use on: the other server may be gone, and is looked for after a while. Not
    /// at once: it may be about to start again, and when a line is broken, many servers are looked for.
    fn doubt(&mut self, now: Now, pair: Pair) {
        if self.is_stopping || !self.router.server_was_reached(&pair) {
            return;
        }
        let mut dice = [0; 2];
        self.random.fill(&mut dice);
        let spread = u64::from(u16::from_le_bytes(dice)) % DOUBT_MILLIS;
        self.timers.set(now.monotonic_millis.saturating_add(DOUBT_MILLIS).saturating_add(spread), Timer::Doubt(pair));
    }

    /// Is that server there still?
    pub(super) fn look_for(&mut self, now: Now, pair: &Pair) {
        let is_wanted = self.router.server_was_reached(pair) && !self.router.link_is_open(pair) && !self.is_stopping;
        if is_wanted && self.config.federation.is_some() && self.config.is_own(&pair.from) {
            self.dial(now, pair);
        }
    }

    /// A stream is proved: from now on it is looked at now and then.
    fn watch(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !std::mem::replace(&mut connection.is_watched, true) {
            self.timers.set(now.monotonic_millis.saturating_add(self.idle_millis()), Timer::Idle(id));
        }
    }

    fn idle_millis(&self) -> u64 {
        self.config.federation.as_ref().map_or(900, |federation| federation.idle_seconds).saturating_mul(1000).max(1000)
    }

    /// A stream on which nothing was said for `<idletimeout>` ends; the next stanza opens a new one.
    pub(super) fn idle(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let quiet_since = connection.last_output_millis.max(connection.last_input_millis);
        let until = quiet_since.saturating_add(self.idle_millis());
        if until > now.monotonic_millis {
            return self.timers.set(until, Timer::Idle(id));
        }
        match &connection.talk {
            Talk::Incoming(_) => self.with_incoming(now, id, |stream, _| stream.end("idle")),
            Talk::Outgoing(_) => self.with_outgoing(now, id, |stream, _| stream.end("idle")),
            Talk::Client(_) | Talk::Dialing(_) | Talk::Component(_) | Talk::Calling(_) => {}
        }
    }

    /// A connection that we opened took too long.
    pub(super) fn dial_timed_out(&mut self, now: Now, id: ConnectionId) {
        let is_used = match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Outgoing(stream)) => stream.takes_verifications(),
            _ => false,
        };
        let is_waiting = self.pair_of(id).is_some_and(|pair| self.federation.dials.contains_key(&pair));
        if !is_used || is_waiting {
            self.with_outgoing(now, id, |stream, _| stream.end("it took too long (time limit 30 s)"));
            if matches!(self.connections.get(&id).map(|c| &c.talk), Some(Talk::Dialing(_))) {
                self.end_connection(id);
                self.outgoing_over(now, id, "no answer in time", VecDeque::new());
            }
        }
    }

    /// A server's connection is gone.
    pub(super) fn server_gone(&mut self, now: Now, id: ConnectionId, mut connection: Connection, reason: &str) {
        match &mut connection.talk {
            Talk::Incoming(stream) => {
                let lost = stream.take_unacknowledged();
                self.federation.asked.retain(|_, asked| asked.asker != id);
                self.router.links_gone(id);
                for (pair, how) in stream.proved() {
                    let (ip, stanzas) = (connection.peer.ip(), connection.stanzas);
                    log::info!(target: &format!("record:{}", pair.to), "in {how} {stanzas} {ip} {}", pair.from);
                }
                let is_clean = stream.is_closed();
                for (pair, _) in stream.proved() {
                    let back = Pair { from: pair.to.clone(), to: pair.from.clone() };
                    if !is_clean || self.router.link_has_failed(&back) {
                        self.doubt(now, back);
                    }
                }
                self.send_again(now, lost);
            }
            Talk::Outgoing(stream) => {
                let lost = stream.take_unacknowledged();
                let is_clean = stream.is_closed();
                for (local, how) in stream.proved() {
                    let (ip, stanzas) = (connection.peer.ip(), connection.stanzas);
                    log::info!(target: &format!("record:{}", stream.remote()), "out {how} {stanzas} {ip} {local}");
                }
                if let Some(pair) = self.pair_of(id).filter(|_| !is_clean) {
                    self.doubt(now, pair);
                }
                self.outgoing_over(now, id, reason, lost);
            }
            Talk::Dialing(_) => self.outgoing_over(now, id, reason, VecDeque::new()),
            Talk::Client(_) | Talk::Component(_) | Talk::Calling(_) => {}
        }
    }

    /// Does something to another server's stream, then all that it asks for.
    pub(super) fn with_incoming(&mut self, now: Now, id: ConnectionId, change: impl FnOnce(&mut S2sIn, &mut Env<'_>)) {
        let mut change = Some(change);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            connection.touch(id, &mut self.touched);
            let Talk::Incoming(stream) = &mut connection.talk else { return };
            let mut env = stream_env!(self, now, false);
            if let Some(change) = change.take() {
                change(stream, &mut env);
            }
            let Some(action) = stream.poll(&mut env) else { return };
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
                if self.federation.asked.len() >= ASKED_MAX {
                    let verdict = Verdict::Failed(Condition::ResourceConstraint, "try again later".to_string());
                    return self
                        .with_incoming(now, id, |stream, env| stream.verified(env, &pair, &stream_id, &verdict));
                }
                // The question goes from our host to the domain that is to be proved.
                let towards = Pair { from: pair.to.clone(), to: pair.from.clone() };
                self.federation.asked.insert((pair, stream_id.clone()), Asked { asker: id, key });
                self.reach(now, &towards, Some(&stream_id));
            }
            Action::Proved { pair, how } => {
                self.watch(now, id);
                let secure = self.tls_words(id);
                if let Some(connection) = self.connections.get(&id) {
                    let ip = connection.peer.ip();
                    log::info!(target: &pair.to, "stream from {} at {ip}: proved by {how}, {secure}", pair.from);
                }
                let env = router_env!(self, now);
                self.router.server_heard(&env, &Pair { from: pair.to, to: pair.from });
                self.flush_router(now);
            }
            Action::Bidirectional(pair) => {
                let back = Pair { from: pair.to, to: pair.from };
                self.federation.dials.remove(&back);
                let env = router_env!(self, now);
                self.router.link_ready(&env, &back, id);
                self.flush_router(now);
            }
            Action::Stanza(stanza) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.stanzas = connection.stanzas.saturating_add(1);
                }
                let mut env = router_env!(self, now);
                self.router.from_remote(&mut env, stanza);
                self.flush_router(now);
            }
            Action::Blocked(stanza) => self.router.stop_unproved(now, &stanza),
            Action::Close(why) => {
                log::debug!(target: "s2s", "incoming stream ends: {why}");
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
    fn answered(&mut self, now: Now, pair: Pair, stream_id: String, verdict: &Verdict) {
        let Some(asked) = self.federation.asked.remove(&(pair.clone(), stream_id.clone())) else { return };
        self.with_incoming(now, asked.asker, |stream, env| stream.verified(env, &pair, &stream_id, verdict));
    }
}
