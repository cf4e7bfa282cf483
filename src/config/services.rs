//! A `<service>` that keeps no users: components, and addresses that go nowhere.

use std::net::{IpAddr, Ipv4Addr};

use super::components::{Accept, Component, Connect, Link, Senders};
use super::hosts::host_name;
use super::limits::Limits;
use super::listen::{Listener, ListenerKind};
use super::reading::{Reading, Refusal};
use super::sections::Section;
use super::tree::Tree;

/// Components of 1.4 that ran inside it, and what people use in their place.
const IN_PROCESS: &[(&str, &str)] = &[
    ("conference", "a service for rooms as a component of its own (<accept>), such as mu-conference"),
    ("jud", "switch mod_search on, and the user directory of this server answers there; jabber.xml(5), SERVICES"),
    ("aimtrans", "a transport as a component of its own (<accept>)"),
    ("icqtrans", "a transport as a component of its own (<accept>)"),
    ("msntrans", "a transport as a component of its own (<accept>)"),
    ("yahootrans", "a transport as a component of its own (<accept>)"),
];

/// Reads a component. A service with nothing that we know of still keeps its address, and answers with errors.
pub(super) fn read(reading: &mut Reading, section: &Section<'_>) -> Option<Component> {
    let hosts = addresses(section);
    if let Some(block) = section.block("jud") {
        reading.without_effect(block, "it is for a directory that is loaded");
    }
    let link = link(reading, section)?;
    let senders = ["accept", "connect"].into_iter().filter_map(|name| section.handler(name)).next();
    let senders = senders.map(|tree| senders_of(reading, tree)).unwrap_or_default();
    let takes_rest = (section.takes_rest || section.handler("uplink").is_some())
        && matches!(link, Link::Accept(_) | Link::Connect(_));
    let place = section.tree.place.clone();
    Some(Component { id: section.id.clone(), hosts, link, senders, takes_rest, place })
}

/// The id, which is an address, too, and those of `<host>`; each once.
fn addresses(section: &Section<'_>) -> Vec<String> {
    let mut all = vec![section.id.clone()];
    for (host, _) in &section.hosts {
        if !all.contains(host) {
            all.push(host.clone());
        }
    }
    all
}

/// The port that a component comes to, if it is one that comes to us.
pub(super) fn listener(component: &Component, limits: &Limits) -> Option<Listener> {
    let Link::Accept(accept) = &component.link else { return None };
    Some(Listener {
        address: accept.address,
        auth_seconds: limits.auth_seconds,
        component: component.id.clone(),
        ..Listener::new(ListenerKind::Component, accept.port, accept.place.clone())
    })
}

/// `<sender xmlns='urn:jabber:config:3'>domain</sender>`; empty, it lets everybody be spoken for.
fn senders_of(reading: &mut Reading, handler: &Tree) -> Senders {
    let mut senders = Senders::default();
    for tree in handler.children().filter(|child| is_sender(child)) {
        let text = tree.text();
        if text.is_empty() {
            senders.anybody = true;
            continue;
        }
        match host_name(&text) {
            Ok(domain) => senders.domains.push(domain),
            Err(why) => reading.warn(&tree.place, format!("<sender>{text}</sender> is not a domain ({why}): ignored")),
        }
    }
    senders
}

fn is_sender(tree: &Tree) -> bool {
    tree.is_own() && tree.name == "sender"
}

fn link(reading: &mut Reading, section: &Section<'_>) -> Option<Link> {
    for child in section.tree.children().filter(|child| child.is_core()) {
        match child.name.as_str() {
            "accept" => return accept(reading, child).map(Link::Accept),
            "connect" => return connect(reading, child).map(Link::Connect),
            "null" => return Some(Link::Null),
            "unsubscribe" => return Some(Link::Unsubscribe(child.text())),
            "dir" => return Some(directory(reading, child)),
            "exec" | "stdout" | "dynamic" => {
                let text = format!("programs are not run by <{}>: stanzas to {} come back", child.name, section.id);
                reading.warn(&child.place, format!("{text} as errors; make it a component (<accept>)"));
                return Some(Link::Bounce(format!("<{}> is not supported", child.name)));
            }
            "load" => return Some(loaded(reading, section, child)),
            "file" | "to" | "syslog" | "stderr" => {
                reading.without_effect(child, "only a <log> section writes to it");
                return Some(Link::Null);
            }
            _ => {}
        }
    }
    let id = &section.id;
    reading.warn(&section.tree.place, format!("service \"{id}\" has nothing that handles stanzas: they come back"));
    Some(Link::Bounce("nothing handles stanzas here".to_owned()))
}

/// `<load>` of a function that is not ours.
fn loaded(reading: &mut Reading, section: &Section<'_>, load: &Tree) -> Link {
    let name = load.children().next().map_or("nothing", |function| function.name.as_str());
    let instead = IN_PROCESS.iter().find(|(own, _)| *own == name).map_or("run it as a component", |(_, text)| text);
    let names = addresses(section).join(", ");
    let text = format!("<{name}> cannot be loaded from a file: stanzas to {names} come back as errors");
    reading.warn(&load.place, format!("{text}; instead: {instead}"));
    Link::Bounce(format!("{name} is not loaded"))
}

fn accept(reading: &mut Reading, tree: &Tree) -> Option<Accept> {
    known_children(reading, tree, &["ip", "port", "secret", "timeout", "restrict", "offline"]);
    let (port, secret) = port_and_secret(reading, tree)?;
    let address = match tree.child_text("ip").filter(|text| !text.is_empty()) {
        Some(text) => Some(reading.address(&tree.place, &text).ok()?),
        None => None,
    };
    if address.is_none() {
        let text = format!("port {port} for a component is open on all addresses, and its streams are not encrypted");
        reading.notice(&tree.place, format!("{text}: write <ip>127.0.0.1</ip> if the component is on this machine"));
    }
    Some(Accept {
        place: tree.place.clone(),
        address,
        port,
        secret,
        timeout_seconds: tree.child("timeout").and_then(|child| reading.number(child)).unwrap_or(10),
        restrict: tree.child("restrict").is_some(),
        offline: tree.child("offline").is_some(),
    })
}

fn connect(reading: &mut Reading, tree: &Tree) -> Option<Connect> {
    known_children(reading, tree, &["ip", "port", "secret", "timeout", "tries"]);
    let (port, secret) = port_and_secret(reading, tree)?;
    let address = match tree.child_text("ip").filter(|text| !text.is_empty()) {
        Some(text) => reading.address(&tree.place, &text).ok()?,
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let tries = tree.child("tries").and_then(|child| reading.number::<i64>(child));
    Some(Connect {
        address,
        port,
        secret,
        timeout_seconds: tree.child("timeout").and_then(|child| reading.number(child)).unwrap_or(5),
        tries: tries.and_then(|tries| u32::try_from(tries).ok()),
    })
}

fn known_children(reading: &mut Reading, tree: &Tree, known: &[&str]) {
    reading.stray_text(tree);
    for child in tree.children().filter(|child| !is_sender(child) && !known.contains(&child.name.as_str())) {
        reading.unknown(child, &tree.tag(), known);
    }
}

/// Both are required, as in 1.4. The secret keeps its blanks.
fn port_and_secret(reading: &mut Reading, tree: &Tree) -> Option<(u16, String)> {
    let port = tree.child_text("port").and_then(|text| text.parse::<u16>().ok()).filter(|&port| port > 0);
    let secret = tree.child("secret").map(Tree::raw_text).filter(|secret| !secret.is_empty());
    if let (Some(port), Some(secret)) = (port, secret.clone()) {
        return Some((port, secret));
    }
    let missing = match (port, secret) {
        (None, None) => "neither a <port> that is a number nor a <secret>",
        (None, _) => "no <port> that is a number from 1 to 65535",
        _ => "no <secret>",
    };
    reading.refuse(
        &tree.place,
        Refusal {
            what: &format!("<{}> requires the following subtags: <port>, and <secret>", tree.name),
            found: missing,
            expected: "<port>5347</port> and <secret>the same word as in the component</secret>",
            remedy: "copy both from the configuration of the component",
        },
    );
    None
}

fn directory(reading: &mut Reading, tree: &Tree) -> Link {
    known_children(reading, tree, &["in", "out"]);
    if let Some(out) = tree.child("out") {
        reading.without_effect(out, "stanzas to this service come back as errors; only <in> is read");
    }
    match tree.child_text("in").filter(|path| !path.is_empty()) {
        Some(path) => Link::Directory(reading.path(&path)),
        None => Link::Null,
    }
}
