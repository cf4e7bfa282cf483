//! `<pthcsock xmlns='jabber:config:pth-csock'>` into listeners and aliases.

use super::access::{Karma, Network, Rate};
use super::error::Place;
use super::hosts::host_name;
use super::limits::Limits;
use super::listen::{Alias, Listener, ListenerKind, PlainLogin, StartTls};
use super::reading::{Reading, Refusal};
use super::tree::Tree;

const KNOWN: &[&str] = &["ip", "ssl", "tls", "alias", "authtime", "heartbeat", "rate", "karma", "noregister"];

/// What all listeners of a section share.
struct Shared {
    auth_seconds: u64,
    heartbeat_seconds: Option<u64>,
    rate: Option<Rate>,
    karma: Option<Karma>,
    hide_registration: bool,
    /// Each with the port that it is for, if it is not for all.
    plain_logins: Vec<(Option<u16>, PlainLogin)>,
}

/// Reads a client section; `limits` has the bounds of the time to log in.
pub(super) fn read(reading: &mut Reading, block: &Tree, limits: &Limits) -> (Vec<Listener>, Vec<Alias>) {
    let mut listeners = Vec::new();
    let mut aliases = Vec::new();
    let mut shared = Shared {
        auth_seconds: limits.auth_seconds,
        heartbeat_seconds: None,
        rate: None,
        karma: None,
        hide_registration: false,
        plain_logins: Vec::new(),
    };
    reading.stray_text(block);
    for child in block.children() {
        match child.name.as_str() {
            "plain-login" if child.is_own() => shared.plain_logins.extend(plain_login(reading, child)),
            _ if child.is_own() => reading.unknown(child, "<pthcsock>", &["plain-login"]),
            "ip" => listeners.extend(listener(reading, child, ListenerKind::C2s, 5222)),
            "ssl" | "tls" => listeners.extend(listener(reading, child, ListenerKind::C2sTls, 5223)),
            "alias" => aliases.extend(alias(reading, child)),
            "authtime" => shared.auth_seconds = auth_seconds(reading, child, limits),
            "heartbeat" => shared.heartbeat_seconds = reading.number(child).filter(|&seconds| seconds > 0),
            "rate" => shared.rate = rate(reading, child),
            "karma" => shared.karma = karma(reading, child),
            "noregister" => shared.hide_registration = true,
            "plain-login" => {
                let wanted = format!("write <plain-login xmlns='{}'>", super::OWN_NS);
                reading.warn(&child.place, format!("<plain-login> without its namespace is ignored: {wanted}"));
            }
            "port" => {
                let text = format!("<port> in <pthcsock> is ignored: write <ip port=\"{}\"/>", child.text());
                reading.warn(&child.place, text);
            }
            _ => reading.unknown(child, "<pthcsock>", KNOWN),
        }
    }
    if listeners.is_empty() {
        listeners = defaults(&block.place);
    }
    for listener in &mut listeners {
        apply(listener, &shared);
    }
    (listeners, aliases)
}

/// What is opened when nobody says what to open.
pub(super) fn defaults(place: &Place) -> Vec<Listener> {
    vec![
        Listener::new(ListenerKind::C2s, 5222, Place::whole(place.file.clone())),
        Listener::new(ListenerKind::C2sTls, 5223, Place::whole(place.file.clone())),
    ]
}

fn apply(listener: &mut Listener, shared: &Shared) {
    listener.auth_seconds = shared.auth_seconds;
    listener.heartbeat_seconds = shared.heartbeat_seconds;
    listener.rate = shared.rate;
    listener.karma = shared.karma;
    listener.hide_registration = shared.hide_registration;
    if listener.kind == ListenerKind::C2s {
        let mine = shared.plain_logins.iter().filter(|(port, _)| port.is_none_or(|port| port == listener.port));
        listener.plain_logins = mine.map(|(_, rule)| rule.clone()).collect();
    }
}

/// `<ip port="5222">address</ip>`.
pub(super) fn listener(reading: &mut Reading, tree: &Tree, kind: ListenerKind, default_port: u16) -> Option<Listener> {
    let port = match tree.attribute("port") {
        None => default_port,
        Some(text) => match text.trim().parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => {
                refuse_port(reading, tree, text);
                return None;
            }
        },
    };
    let mut listener = Listener::new(kind, port, tree.place.clone());
    let text = tree.text();
    if !text.is_empty() {
        match reading.address(&tree.place, &text) {
            Ok(address) if address.is_unspecified() && address.is_ipv6() => {}
            Ok(address) => listener.address = Some(address),
            Err(()) => {
                reading.notices.pop();
                refuse_address(reading, tree, &text);
                return None;
            }
        }
    }
    Some(listener)
}

fn refuse_port(reading: &mut Reading, tree: &Tree, text: &str) {
    reading.refuse(
        &tree.place,
        Refusal {
            what: &format!("\"{text}\" is not a port"),
            found: &format!("<{} port=\"{text}\">", tree.name),
            expected: "a number from 1 to 65535",
            remedy: "clients expect 5222, TLS clients 5223, other servers 5269",
        },
    );
}

fn refuse_address(reading: &mut Reading, tree: &Tree, text: &str) {
    reading.refuse(
        &tree.place,
        Refusal {
            what: &format!("\"{text}\" is not an IP address"),
            found: &format!("<{0} ...>{text}</{0}>", tree.name),
            expected: "an address of this machine like 192.0.2.1 or 2001:db8::1, or nothing for all",
            remedy: &format!("write <{} port=\"...\"/> to listen on all addresses", tree.name),
        },
    );
}

/// `<authtime>`: empty or 0 asks for no limit, and gets the longest.
fn auth_seconds(reading: &mut Reading, tree: &Tree, limits: &Limits) -> u64 {
    let most = limits.auth_seconds_max;
    if tree.text().is_empty() {
        return most;
    }
    match reading.number(tree) {
        Some(0) => most,
        Some(seconds) if seconds > most => {
            reading.notice(&tree.place, format!("<authtime> is bounded by auth-seconds-max: {most} s"));
            most
        }
        Some(seconds) => seconds,
        None => limits.auth_seconds,
    }
}

fn alias(reading: &mut Reading, tree: &Tree) -> Option<Alias> {
    let mut prepared = |text: &str| {
        let name = host_name(text);
        if let Err(why) = &name {
            reading.warn(&tree.place, format!("\"{text}\" in <alias> is not a host name ({why}): ignored"));
        }
        name.ok()
    };
    let host = prepared(tree.attribute("to").unwrap_or_default().trim())?;
    let text = tree.text();
    let name = if text.is_empty() { None } else { Some(prepared(&text)?) };
    Some(Alias { name, host })
}

/// `<rate points= time=/>`, in `<io>` and for single listeners.
pub(super) fn rate(reading: &mut Reading, tree: &Tree) -> Option<Rate> {
    let points = reading.number_attribute(tree, "points");
    let seconds = reading.number_attribute(tree, "time");
    let (Some(points), Some(seconds)) = (points, seconds) else {
        reading.warn(&tree.place, "<rate> needs points= and time=: ignored");
        return None;
    };
    Some(Rate { points, seconds })
}

/// `<karma>`, in `<io>` and for single listeners.
///
/// The values of the files that jabberd 1.4 came with are nobody's wish: they were for modems, and stop a client of today
/// while it logs in.
pub(super) fn karma(reading: &mut Reading, tree: &Tree) -> Option<Karma> {
    let mut karma = Karma::default();
    for child in tree.children() {
        let number = |reading: &mut Reading, old: i32| reading.number(child).unwrap_or(old);
        match child.name.as_str() {
            "init" => karma.init = number(reading, karma.init),
            "max" => karma.max = number(reading, karma.max),
            "inc" => karma.inc = number(reading, karma.inc),
            "dec" => karma.dec = number(reading, karma.dec),
            "penalty" => karma.penalty = number(reading, karma.penalty),
            "restore" => karma.restore = number(reading, karma.restore),
            "resetmeter" => karma.reset_meter = child.text() != "0",
            "heartbeat" => {}
            _ => reading.unknown(child, "<karma>", &["init", "max", "inc", "dec", "penalty", "restore", "resetmeter"]),
        }
    }
    let is_stock = Karma::STOCK.contains(&Karma { reset_meter: false, ..karma });
    if is_stock {
        let text = "<karma> as jabberd 1.4 was shipped with is not applied: <limits> bound the input; give other values to have it";
        reading.notice(&tree.place, text);
    }
    Some(karma).filter(|karma| !is_stock && karma.dec > 0)
}

/// `<plain-login network= port= starttls=/>`. A rule that cannot be understood is left out: it would open a door.
fn plain_login(reading: &mut Reading, tree: &Tree) -> Option<(Option<u16>, PlainLogin)> {
    let start_tls = match tree.attribute("starttls").unwrap_or("hide") {
        "hide" => StartTls::Hidden,
        "offer" => StartTls::Optional,
        other => {
            reading.warn(&tree.place, format!("starttls=\"{other}\" is neither hide nor offer: <plain-login> ignored"));
            return None;
        }
    };
    let port = match tree.attribute("port") {
        None => None,
        Some(_) => Some(reading.number_attribute(tree, "port")?),
    };
    let networks = match tree.attribute("network") {
        None => Vec::new(),
        Some(text) => networks(reading, tree, text)?,
    };
    Some((port, PlainLogin { networks, start_tls }))
}

/// Networks with blanks or commas between them; `loopback` is the machine itself.
pub(super) fn networks(reading: &mut Reading, tree: &Tree, text: &str) -> Option<Vec<Network>> {
    let mut networks = Vec::new();
    for word in text.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()) {
        match Network::parse(word) {
            Some(network) => networks.push(network),
            None if word == "loopback" => networks.extend(Network::loopback()),
            None => {
                let like = "like 192.168.0.0/16 or 2001:db8::/32";
                reading.warn(&tree.place, format!("\"{word}\" is not a network {like}: {} ignored", tree.tag()));
                return None;
            }
        }
    }
    Some(networks)
}
