//! `<dialback xmlns='jabber:config:dialback'>` and `<dnsrv xmlns="jabber:config:dnsrv">`: talk with other servers.

use std::collections::BTreeSet;

use super::error::Place;
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
    let mut listeners: Vec<Listener> = Vec::new();
    let mut remotes = Vec::new();
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
            "host" => remotes.extend(remote(reading, child).map(|domain| (domain, child))),
            "rate" => rate = pthcsock::rate(reading, child),
            "karma" => karma = pthcsock::karma(reading, child),
            _ => reading.unknown(child, "<dialback>", KNOWN),
        }
    }
    if listeners.is_empty() {
        listeners.push(default_port(&block.place, limits));
    }
    for listener in &mut listeners {
        (listener.rate, listener.karma) = (rate, karma);
        listener.auth_seconds = limits.auth_seconds;
    }
    // The general before the special, which takes over what it does not say itself.
    remotes.sort_by_key(|(domain, _)| domain.as_ref().map_or(0, String::len));
    for (domain, child) in remotes {
        let general = federation.policy(domain.as_deref().unwrap_or_default());
        let policy = policy(reading, child, RemotePolicy { domain, ..general });
        federation.policies.push(policy);
    }
    listeners
}

/// What is opened when nobody says what to open.
pub(super) fn default_port(place: &Place, limits: &Limits) -> Listener {
    Listener { auth_seconds: limits.auth_seconds, ..Listener::new(ListenerKind::S2s, 5269, place.clone()) }
}

/// The domain that a `<host>` is about, `Some(None)` for everybody else; nothing after a warning.
fn remote(reading: &mut Reading, tree: &Tree) -> Option<Option<String>> {
    let Some(name) = tree.attribute("name") else { return Some(None) };
    match host_name(name.trim()) {
        Ok(name) => Some(Some(name)),
        Err(why) => {
            reading.warn(&tree.place, format!("name=\"{name}\" is not a domain ({why}): ignored"));
            None
        }
    }
}

/// `<host name= xmpp= tls= auth= ip= port=/>`; what is not said is as in `general`.
fn policy(reading: &mut Reading, tree: &Tree, general: RemotePolicy) -> RemotePolicy {
    let mut policy = general;
    match tree.attribute("xmpp") {
        None => {}
        Some("no") => policy.xmpp = false,
        Some("yes") => policy.xmpp = true,
        Some(other) => reading.warn(&tree.place, format!("xmpp=\"{other}\" is not yes or no: ignored")),
    }
    policy.tls = match tree.attribute("tls") {
        // Without a version there are no features, and so no STARTTLS.
        None if tree.attribute("xmpp") == Some("no") => RemoteTls::Never,
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
        None => policy.auth,
        Some("any") => RemoteAuth::Any,
        Some("db") => RemoteAuth::Dialback,
        Some("sasl") => RemoteAuth::Certificate,
        Some(other) => {
            reading.warn(&tree.place, format!("auth=\"{other}\" is not any, db or sasl: a certificate is required"));
            RemoteAuth::Certificate
        }
    };
    place(reading, tree, &mut policy);
    policy
}

/// `ip=` and `port=`: where the server of a domain is, whatever DNS says.
fn place(reading: &mut Reading, tree: &Tree, policy: &mut RemotePolicy) {
    let (ip, port) = (tree.attribute("ip"), tree.attribute("port"));
    if policy.domain.is_none() {
        if ip.is_some() || port.is_some() {
            let text = "ip= and port= without name= are ignored: they would send everybody's messages to one server";
            reading.warn(&tree.place, text);
        }
        return;
    }
    if let Some(ip) = ip {
        match reading.address(&tree.place, ip) {
            Ok(address) => policy.address = Some(address),
            Err(()) => {
                reading.notices.pop();
                let text = format!(
                    "ip=\"{ip}\" is not an address like 192.0.2.1 or 2001:db8::1 (a port goes into port=): ignored"
                );
                reading.warn(&tree.place, text);
            }
        }
    }
    let Some(port) = port else { return };
    match port.trim().parse::<u16>() {
        Ok(number) if number > 0 => policy.port = Some(number),
        _ => reading.warn(&tree.place, format!("port=\"{port}\" is not a number from 1 to 65535: ignored")),
    }
    if policy.address.is_none() {
        reading.warn(&tree.place, "port= has an effect only together with ip=: DNS tells the port with the address");
    }
}

/// Reads the resolver's section; `ids` are those of all services.
pub(super) fn dnsrv(reading: &mut Reading, block: &Tree, federation: &mut Federation, ids: &BTreeSet<String>) {
    reading.stray_text(block);
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
