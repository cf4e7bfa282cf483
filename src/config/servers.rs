//! `<dialback xmlns='jabber:config:dialback'>` and `<dnsrv xmlns="jabber:config:dnsrv">`: talk with other servers.

use std::collections::BTreeSet;

use super::federation::{Federation, RemoteAuth, RemotePolicy, RemoteTls};
use super::hosts::host_name;
use super::limits::Limits;
use super::listen::{Listener, ListenerKind};
use super::pthcsock;
use super::reading::Reading;
use super::tree::Tree;

const KNOWN: &[&str] =
    &["ip", "legacy", "secret", "maxhosts", "idletimeout", "queuetimeout", "host", "karma", "rate", "tls", "ssl"];

/// Reads a server section.
pub(super) fn dialback(
    reading: &mut Reading,
    block: &Tree,
    federation: &mut Federation,
    limits: &Limits,
) -> Vec<Listener> {
    reading.stray_text(block);
    reading.not_yet(block);
    let mut listeners: Vec<Listener> = Vec::new();
    let (mut rate, mut karma) = (None, None);
    for child in block.children() {
        match child.name.as_str() {
            _ if child.is_own() => reading.unknown(child, "<dialback>", &[]),
            "ip" => listeners.extend(pthcsock::listener(reading, child, ListenerKind::S2s, 5269)),
            "tls" | "ssl" => listeners.extend(pthcsock::listener(reading, child, ListenerKind::S2sTls, 5270)),
            "legacy" => {
                reading.without_effect(child, "a server that does not prove who it is could speak for any domain");
            }
            "secret" => federation.secret = Some(child.raw_text()).filter(|secret| !secret.is_empty()),
            "maxhosts" => {}
            "idletimeout" => federation.idle_seconds = reading.number(child).unwrap_or(federation.idle_seconds),
            "queuetimeout" => federation.queue_seconds = reading.number(child).unwrap_or(federation.queue_seconds),
            "host" => federation.policies.extend(policy(reading, child)),
            "rate" => rate = pthcsock::rate(reading, child),
            "karma" => karma = Some(pthcsock::karma(reading, child)),
            _ => reading.unknown(child, "<dialback>", KNOWN),
        }
    }
    if listeners.is_empty() {
        listeners.push(Listener::new(ListenerKind::S2s, 5269, block.place.clone()));
    }
    for listener in &mut listeners {
        (listener.rate, listener.karma) = (rate, karma);
        listener.auth_seconds = limits.auth_seconds;
    }
    listeners
}

/// `<host name= xmpp= tls= auth=/>`; what is not said is as for everybody.
fn policy(reading: &mut Reading, tree: &Tree) -> Option<RemotePolicy> {
    let mut policy = RemotePolicy::default();
    if let Some(name) = tree.attribute("name") {
        match host_name(name.trim()) {
            Ok(name) => policy.domain = Some(name),
            Err(why) => {
                reading.warn(&tree.place, format!("name=\"{name}\" is not a domain ({why}): ignored"));
                return None;
            }
        }
    }
    policy.xmpp = tree.attribute("xmpp") != Some("no");
    policy.tls = match tree.attribute("tls") {
        // Without a version there are no features, and so no STARTTLS.
        None if !policy.xmpp => RemoteTls::Never,
        None => policy.tls,
        Some("no") => RemoteTls::Never,
        Some("yes") => RemoteTls::Allowed,
        Some("force") => RemoteTls::Required,
        Some(bits) if bits.parse::<u32>().is_ok() => RemoteTls::Required,
        Some(other) => {
            let text = format!("tls=\"{other}\" is not no, yes, force or a number of bits: TLS is required");
            reading.warn(&tree.place, text);
            RemoteTls::Required
        }
    };
    policy.auth = match tree.attribute("auth") {
        None | Some("any") => RemoteAuth::Any,
        Some("db") => RemoteAuth::Dialback,
        Some("sasl") => RemoteAuth::Certificate,
        Some(other) => {
            reading.warn(&tree.place, format!("auth=\"{other}\" is not any, db or sasl: a certificate is required"));
            RemoteAuth::Certificate
        }
    };
    Some(policy)
}

/// Reads the resolver's section; `ids` are those of all services.
pub(super) fn dnsrv(reading: &mut Reading, block: &Tree, federation: &mut Federation, ids: &BTreeSet<String>) {
    reading.stray_text(block);
    reading.not_yet(block);
    federation.resolves = true;
    let cache = reading.number_attribute(block, "cachetimeout");
    federation.cache_seconds = cache.unwrap_or(federation.cache_seconds);
    for child in block.children() {
        if child.name != "resend" {
            reading.unknown(child, "<dnsrv>", &["resend"]);
            continue;
        }
        federation.services.push(child.attribute("service").unwrap_or_default().trim().to_owned());
        let parts: Vec<&Tree> = child.children().filter(|part| part.name == "partial").collect();
        if let Some(first) = parts.first() {
            reading.without_effect(first, "one process talks to all servers");
        }
        let targets = if parts.is_empty() { vec![child] } else { parts };
        for target in targets {
            let id = target.text();
            if !ids.contains(&id.to_lowercase()) {
                reading.warn(&target.place, format!("<resend> names the service \"{id}\", which does not exist"));
            }
        }
    }
}
