//! What is told of the way to another server while it is tried: to who watches it, and to the log at debug.

use super::super::connections::Talk;
use super::super::{Candidate, ConnectionId, Server};
use super::Federation;
use crate::admin::Step;
use crate::stream::TlsInfo;
use crate::stream::dialback::Pair;
use crate::xmpp::Now;

impl Federation {
    /// A client of the control socket watches a way from now on.
    pub(in crate::server) fn watch_way(&mut self, pair: &Pair, watcher: ConnectionId) {
        self.watchers.push((pair.clone(), watcher));
    }

    /// It watches none any more.
    pub(in crate::server) fn leave_ways(&mut self, watcher: ConnectionId) {
        self.watchers.retain(|(_, other)| *other != watcher);
    }

    /// What is to be told, and to whom.
    pub(in crate::server) fn take_traced(&mut self) -> Vec<(ConnectionId, Step)> {
        std::mem::take(&mut self.traced)
    }

    /// A step on the way.
    pub(super) fn trace(&mut self, pair: &Pair, name: &'static str, is_fine: bool, text: impl FnOnce() -> String) {
        self.note(pair, name, is_fine, false, text);
    }

    /// The last step on the way.
    pub(super) fn trace_last(&mut self, pair: &Pair, name: &'static str, is_fine: bool, text: impl FnOnce() -> String) {
        self.note(pair, name, is_fine, true, text);
        self.watchers.retain(|(other, _)| other != pair);
    }

    fn note(&mut self, pair: &Pair, name: &'static str, is_fine: bool, is_last: bool, text: impl FnOnce() -> String) {
        let is_watched = self.watchers.iter().any(|(other, _)| other == pair);
        if !is_watched && !log::log_enabled!(target: "s2s", log::Level::Debug) {
            return;
        }
        let step = Step { name, text: text(), is_fine, is_last };
        let how = if is_fine { "" } else { " failed" };
        log::debug!(target: "s2s", "{} to {}: {name}{how}: {}", pair.from, pair.to, step.text);
        let watchers = self.watchers.iter().filter(|(other, _)| other == pair);
        self.traced.extend(watchers.map(|(_, watcher)| (*watcher, step.clone())));
    }
}

impl Server {
    /// TLS with another server is on: what it is worth.
    pub(in crate::server) fn trace_tls(&mut self, now: Now, id: ConnectionId, tls: &TlsInfo) {
        if self.federation.watchers.is_empty() && !log::log_enabled!(target: "s2s", log::Level::Debug) {
            return;
        }
        let pair = match self.connections.get(&id).map(|connection| &connection.talk) {
            Some(Talk::Dialing(pair)) => Some(pair.clone()),
            Some(Talk::Outgoing(_)) => self.pair_of(id),
            _ => None,
        };
        let Some(pair) = pair else { return };
        let (protocol, cipher) = (tls.protocol, &tls.cipher);
        let judged = self.trust.check(&tls.peer, &pair.to, now);
        self.federation.trace(&pair, "tls", judged.is_ok(), || match &judged {
            Ok(()) => format!("{protocol}, {cipher}; its certificate is valid for {}", pair.to),
            Err(why) => format!("{protocol}, {cipher}; its certificate proves nothing: {why}"),
        });
    }
}

/// The places where a server may be, as DNS or jabber.xml says.
pub(super) fn places(domain: &str, candidates: &[Candidate]) -> String {
    let place = |candidate: &Candidate| {
        let addresses: Vec<String> = candidate.addresses.iter().map(ToString::to_string).collect();
        let tls = if candidate.direct_tls { ", TLS from the first byte" } else { "" };
        format!("{}:{} ({}{tls})", candidate.target, candidate.port, addresses.join(", "))
    };
    let places: Vec<String> = candidates.iter().map(place).collect();
    format!("{domain} is at {}", places.join(", "))
}
