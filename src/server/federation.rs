//! Getting to other servers: found, dialled, looked for again. What their streams ask for then is in `streams`.
//!
//! A dial is the work of getting one pair of domains connected: a look-up, then the candidates in order until one
//! stream is proved. What went wrong at each is kept, and told in one line when none is left. Who wants many other
//! servers at once waits for its turn in a [`mod@line`].

mod line;
mod queues;
mod streams;
mod tracing;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use super::connections::{Connection, Talk};
use super::{Candidate, ClientTls, ConnectionId, Output, Server, Timer, Unfound};
use crate::admin::Step;
use crate::router::Sender;
use crate::stream::dialback::{Pair, Verdict};
use crate::xmpp::{BareJid, Condition, Now};

/// The numbers of connections that we open start here; those of accepted ones stay below.
pub const FIRST_OUTGOING: u64 = 1 << 63;

/// Seconds until a connection must have proved its pair.
const DIAL_SECONDS: u64 = 30;
/// Candidates that are tried for one pair.
const CANDIDATES_MAX: usize = 8;
/// Keys that wait for a word at a time.
const ASKED_MAX: usize = 10_000;
/// The shortest wait before a server whose stream broke is looked for; the longest is twice that.
const DOUBT_MILLIS: u64 = 10_000;

/// Somebody who waits for an authoritative server's word on a key (XEP-0220 §2.1.2).
struct Asked {
    /// The stream to us on which the key came.
    asker: ConnectionId,
    /// Who opened it: what stands for all addresses of that customer.
    address: IpAddr,
    key: String,
    /// Did a stream end under the question once?
    is_repeated: bool,
}

/// The work of getting one pair connected.
struct Dial {
    sender: Sender,
    /// Or does it stand in line?
    is_under_way: bool,
    candidates: VecDeque<Candidate>,
    /// The candidate that is being tried.
    current: Option<Candidate>,
    /// What went wrong so far.
    reasons: Vec<String>,
    /// Are there stanzas to send, or only questions about keys?
    proves: bool,
    /// The candidate ended its stream when it had refused our certificate: it is asked once more, for dialback alone.
    skips_external: bool,
}

/// All that is known of other servers.
#[derive(Default)]
pub struct Federation {
    dials: HashMap<Pair, Dial>,
    line: line::Line,
    tickets: HashMap<u64, Pair>,
    next_ticket: u64,
    next_id: u64,
    /// Our streams by the pair they were opened for.
    outgoing: HashMap<Pair, ConnectionId>,
    /// Keys that wait for an authoritative server's word: by the pair that was claimed, and the id of the stream to us.
    /// In order, so that those of one domain are found without a look at those of all others.
    asked: BTreeMap<(Pair, String), Asked>,
    /// How many of them each customer's addresses wait for.
    asked_of: HashMap<IpAddr, usize>,
    /// What was last said in the log about a pair that failed.
    told: HashMap<Pair, String>,
    /// What left by streams without acknowledgements.
    left: VecDeque<queues::Left>,
    /// Who watches the way of a pair, and what is to be told of it.
    watchers: Vec<(Pair, ConnectionId)>,
    traced: Vec<(ConnectionId, Step)>,
}

impl Federation {
    fn ask(&mut self, about: (Pair, String), asked: Asked) {
        let own = self.asked_of.entry(asked.address).or_default();
        *own = own.saturating_add(1);
        if let Some(old) = self.asked.insert(about, asked) {
            self.one_less(old.address);
        }
    }

    fn asked_no_more(&mut self, about: &(Pair, String)) -> Option<Asked> {
        let asked = self.asked.remove(about)?;
        self.one_less(asked.address);
        Some(asked)
    }

    /// The keys of this domain, to whichever host of ours.
    fn asked_about(&self, remote: &str) -> impl Iterator<Item = &(Pair, String)> {
        let first = (Pair { from: remote.to_owned(), to: String::new() }, String::new());
        self.asked.range(first..).map(|(about, _)| about).take_while(move |(claimed, _)| claimed.from == remote)
    }

    /// The stream with these keys is gone.
    fn stop_asking(&mut self, asker: ConnectionId) {
        let gone: Vec<IpAddr> =
            self.asked.values().filter(|asked| asked.asker == asker).map(|asked| asked.address).collect();
        self.asked.retain(|_, asked| asked.asker != asker);
        gone.into_iter().for_each(|address| self.one_less(address));
    }

    fn one_less(&mut self, address: IpAddr) {
        let Some(own) = self.asked_of.get_mut(&address) else { return };
        *own = own.saturating_sub(1);
        if *own == 0 {
            self.asked_of.remove(&address);
        }
    }
}

impl Server {
    /// A pair is wanted.
    pub(super) fn dial(&mut self, now: Now, pair: &Pair, sender: &Sender) {
        self.reach(now, pair, sender, None);
    }

    /// Gets a stream to `pair.to`: to send, or to ask about the key of the stream to us with this id. One that is open
    /// will do, if its other end can do that; else a new one is opened.
    fn reach(&mut self, now: Now, pair: &Pair, sender: &Sender, question: Option<&str>) {
        if self.is_stopping {
            return;
        }
        if let Some(dial) = self.federation.dials.get_mut(pair) {
            dial.proves |= question.is_none();
            if !dial.is_under_way {
                // Somebody else stands in line for it; who wants it now may have a place.
                return self.begin_dial(now, pair, sender);
            }
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
        if question.is_none() && self.use_ready(now, pair) {
            return;
        }
        let dial = Dial {
            sender: sender.clone(),
            is_under_way: false,
            candidates: VecDeque::new(),
            current: None,
            reasons: Vec::new(),
            proves: question.is_none(),
            skips_external: false,
        };
        self.federation.dials.insert(pair.clone(), dial);
        if !self.federation.line.has_place(&self.config.limits, sender) {
            return self.federation.line.wait(sender, pair.clone());
        }
        self.begin_dial(now, pair, sender);
    }

    /// Is there a stream on which this pair is proved already? It need not know dialback.
    fn use_ready(&mut self, now: Now, pair: &Pair) -> bool {
        let is_ready = |id: &&ConnectionId| match self.connections.get(id).map(|connection| &connection.talk) {
            Some(Talk::Outgoing(stream)) => {
                stream.takes_verifications() && stream.remote() == pair.to && stream.is_ready(&pair.from)
            }
            _ => false,
        };
        let Some(id) = self.federation.outgoing.values().find(is_ready).copied() else { return false };
        self.router.link_ready(&router_env!(self, now), pair, id);
        self.flush_router(now);
        true
    }

    /// Begins a dial for this sender, if there is a place.
    fn begin_dial(&mut self, now: Now, pair: &Pair, sender: &Sender) {
        if !self.federation.line.has_place(&self.config.limits, sender) {
            return;
        }
        let Some(dial) = self.federation.dials.get_mut(pair).filter(|dial| !dial.is_under_way) else { return };
        dial.is_under_way = true;
        dial.sender = sender.clone();
        self.federation.line.begin(sender);
        self.find(now, pair);
    }

    /// Begins the dials whose turn it is. What nobody waits for any more is left out.
    pub(super) fn dial_next(&mut self, now: Now) {
        while let Some((sender, pair)) = self.federation.line.next(&self.config.limits) {
            let is_waiting = self.federation.dials.get(&pair).is_some_and(|dial| !dial.is_under_way);
            if !is_waiting {
                continue;
            }
            if self.router.link_is_awaited(&pair) || !self.questions(&pair).is_empty() {
                self.begin_dial(now, &pair, &sender);
            } else {
                self.federation.dials.remove(&pair);
            }
        }
    }

    /// A dial is over: its place is free.
    fn end_dial(&mut self, pair: &Pair) -> Option<Dial> {
        let dial = self.federation.dials.remove(pair)?;
        if dial.is_under_way {
            self.federation.line.end(&dial.sender);
        }
        Some(dial)
    }

    /// Other hosts are ours than before: nothing is dialled in the name of one that is not.
    pub(super) fn drop_foreign_dials(&mut self, now: Now) {
        let foreign: Vec<Pair> =
            self.federation.dials.keys().filter(|pair| !self.config.is_own(&pair.from)).cloned().collect();
        for pair in foreign {
            self.end_dial(&pair);
            if let Some(id) = self.federation.outgoing.remove(&pair) {
                self.drop_outgoing(now, id, "this host is served no longer");
            }
        }
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
        let claimed = Pair { from: pair.to.clone(), to: pair.from.clone() };
        let asked = self.federation.asked.range((claimed.clone(), String::new())..);
        asked
            .take_while(|((other, _), _)| *other == claimed)
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

    /// A stream of ours to this domain is over. What it was asked, and could not say any more, the next one is asked: once.
    fn ask_again(&mut self, now: Now, remote: &str) {
        let open: Vec<(Pair, String)> = self.federation.asked_about(remote).cloned().collect();
        for (claimed, stream_id) in open {
            let towards = Pair { from: claimed.to.clone(), to: claimed.from.clone() };
            if self.federation.dials.contains_key(&towards) {
                continue;
            }
            let Some(asked) = self.federation.asked.get_mut(&(claimed, stream_id.clone())) else { continue };
            match std::mem::replace(&mut asked.is_repeated, true) {
                false => {
                    let sender = Sender::Peer(asked.address);
                    self.reach(now, &towards, &sender, Some(&stream_id));
                }
                true => self.nobody_to_ask(now, &towards),
            }
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
            log::debug!(target: "s2s", "{} to {}: jabber.xml has its address", pair.from, pair.to);
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
        log::debug!(target: "s2s",
            "{} to {}: asking DNS for {} and its address", pair.from, pair.to, services.join(", "));
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
        self.federation.trace(pair, "dns", true, || tracing::places(&pair.to, &candidates));
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
        if dial.current.as_ref() != Some(&candidate) {
            dial.skips_external = false;
        }
        dial.current = Some(candidate.clone());
        let id = self.next_outgoing();
        let addresses: Vec<SocketAddr> =
            candidate.addresses.iter().map(|address| SocketAddr::new(*address, candidate.port)).collect();
        let Some(first) = addresses.first().copied() else {
            return self.candidate_failed(now, pair, "it has no address");
        };
        let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        log::debug!(target: "s2s",
            "{} to {}: connecting to {} at {}", pair.from, pair.to, candidate.target, all.join(", "));
        let tls = candidate.direct_tls.then(|| ClientTls { remote: pair.to.clone(), local: pair.from.clone() });
        let replaced = self.federation.outgoing.insert(pair.clone(), id);
        let connection = Connection::new(Talk::Dialing(pair.clone()), first, now.monotonic_millis);
        self.connections.insert(id, connection);
        self.timers.set(now.monotonic_millis.saturating_add(DIAL_SECONDS * 1000), Timer::Login(id));
        self.outputs.push(Output::Connect { id, addresses, tls });
        if let Some(old) = replaced {
            // It was of no use for this pair; nobody would find it any more.
            self.drop_outgoing(now, old, "another stream takes its place");
        }
    }

    /// Ends a connection of ours that is wanted no longer, however far it is.
    fn drop_outgoing(&mut self, now: Now, id: ConnectionId, why: &str) {
        match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Outgoing(_)) => self.with_outgoing(now, id, |stream, _| stream.end(why)),
            Some(Talk::Dialing(_)) => self.end_connection(id),
            _ => {}
        }
    }

    /// A pair was refused on this stream. Where it has no other use it ends: a server that refuses each of its many names
    /// would hold as many of our connections.
    fn end_unused(&mut self, now: Now, id: ConnectionId) {
        let Some(Talk::Outgoing(stream)) = self.connections.get(&id).map(|connection| &connection.talk) else { return };
        let is_asked = self.federation.asked_about(stream.remote()).next().is_some();
        if stream.proved().next().is_some() || is_asked {
            return self.watch(now, id);
        }
        self.with_outgoing(now, id, |stream, _| stream.end("nothing is proved on it"));
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

    /// The stream of a dial is over. Compat: ejabberd ends a stream on which SASL failed, where dialback might follow.
    fn call_again(&mut self, now: Now, pair: &Pair) -> bool {
        let Some(dial) = self.federation.dials.get_mut(pair).filter(|dial| !dial.skips_external) else { return false };
        let Some(candidate) = dial.current.clone() else { return false };
        dial.skips_external = true;
        dial.candidates.push_front(candidate);
        self.next_candidate(now, pair);
        true
    }

    fn candidate_failed(&mut self, now: Now, pair: &Pair, why: &str) {
        if let Some(dial) = self.federation.dials.get_mut(pair) {
            let place = dial.current.take().map(|c| format!("{}:{}", c.target, c.port)).unwrap_or_default();
            dial.reasons.push(format!("{place}: {why}"));
            self.federation.trace(pair, "connect", false, || format!("{place}: {why}"));
        }
        self.next_candidate(now, pair);
    }

    /// No place is left. One line in the log for each new reason; what waited comes back.
    fn dial_failed(&mut self, now: Now, pair: &Pair, condition: Condition, why: &str) {
        let Some(dial) = self.end_dial(pair) else { return };
        let mut reasons = dial.reasons;
        let was_tried = !reasons.is_empty();
        if !why.is_empty() || reasons.is_empty() {
            reasons.push(if why.is_empty() { "no server was found".to_string() } else { why.to_string() });
        }
        let why = reasons.join("; ");
        let step = if was_tried { "connect" } else { "dns" };
        let told = if was_tried { "no other place is left".to_string() } else { why.clone() };
        self.federation.trace_last(pair, step, false, || told);
        self.nobody_to_ask(now, pair);
        self.link_failed(now, pair, (condition, step), &why, Some(&dial.sender));
    }

    /// A pair cannot be had, for what went wrong at this step; `sender` is who wanted it.
    fn link_failed(
        &mut self,
        now: Now,
        pair: &Pair,
        (condition, step): (Condition, &str),
        why: &str,
        sender: Option<&Sender>,
    ) {
        if self.is_stopping {
            // Nobody is here to get it back; what lasts is written down.
            return;
        }
        if self.federation.told.get(pair).is_none_or(|told| told != why) {
            let by = match sender {
                Some(Sender::Local(account)) => account.to_string(),
                Some(Sender::Peer(address)) => address.to_string(),
                Some(Sender::Answers) | None => pair.to.clone(),
            };
            let remedy = crate::admin::remedy(step, why, pair);
            log::warn!(target: &pair.from, strangers = "servers that could not be reached", by = &by;
                "failed to establish connection to {}: {why} ({remedy})", pair.to);
            if self.federation.told.len() >= self.config.limits.remote_links_max {
                self.federation.told.clear();
            }
            self.federation.told.insert(pair.clone(), why.to_string());
        }
        let mut env = router_env!(self, now);
        self.metrics.link(false);
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
            let Ok(host) = BareJid::new(&pair.from) else { return };
            self.dial(now, pair, &Sender::Local(host));
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
                self.outgoing_over(now, id, "no answer in time", VecDeque::new(), false);
            }
        } else {
            self.watch(now, id);
        }
    }
}
