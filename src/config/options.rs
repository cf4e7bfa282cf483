//! Elements that are only ours: children of the root in `urn:jabber:config:3`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::certificates::CertificateSource;
use super::control::{Control, MetricsSocket};
use super::hosts::host_name;
use super::limits::Limits;
use super::listen::{Listener, ListenerKind, METRICS_PORT};
use super::pthcsock::{self, networks};
use super::reading::{Reading, Refusal};
use super::tree::Tree;
use super::{Config, PlainPasswords, RegistrationRate, blocks};

/// Their names.
pub(super) const NAMES: &[&str] =
    &["block", "certificate", "control", "keep-plain-passwords", "limits", "metrics", "registration-rate", "user"];

/// Reads one of them into the configuration.
pub(super) fn read(reading: &mut Reading, tree: &Tree, config: &mut Config) {
    match tree.name.as_str() {
        "block" => block(reading, tree, config),
        "certificate" => config.certificates.extend(certificate(reading, tree)),
        "control" => config.control = control(reading, tree),
        "keep-plain-passwords" => config.keep_plain_passwords = Some(keep_plain_passwords(reading, tree)),
        "limits" => limits(reading, tree, &mut config.limits),
        "metrics" if tree.text().contains('/') => config.metrics_socket = metrics_socket(reading, tree),
        "metrics" => config.listeners.extend(metrics(reading, tree)),
        "registration-rate" => config.registration_rate = registration_rate(reading, tree),
        "user" => config.user = Some(tree.text()).filter(|name| !name.is_empty()),
        _ => reading.unknown(tree, "the root element", NAMES),
    }
}

fn block(reading: &mut Reading, tree: &Tree, config: &mut Config) {
    let Some(block) = blocks::read(reading, tree) else { return };
    if config.blocks.exactly(&block.domain).is_some() {
        reading.warn(&tree.place, format!("<block> names {} twice: the last one counts", block.domain));
    }
    config.blocks.insert(block);
}

/// `<control group="adm">/run/jabber/control</control>`: the socket of jabberctl.
fn control(reading: &mut Reading, tree: &Tree) -> Control {
    if tree.text().is_empty() {
        return Control { socket: None, group: group(tree) };
    }
    match socket_path(reading, tree, "name a shorter one, or delete the element: /run/jabber/control is used then") {
        Some(path) => Control { socket: Some(path), group: group(tree) },
        None => Control::default(),
    }
}

/// Whose members may use a socket.
fn group(tree: &Tree) -> Option<String> {
    tree.attribute("group").filter(|group| !group.is_empty()).map(str::to_owned)
}

/// The path of a socket, which the system bounds.
fn socket_path(reading: &mut Reading, tree: &Tree, remedy: &str) -> Option<PathBuf> {
    let path = reading.path(&tree.text());
    let (most, is) = (Control::PATH_BYTES_MAX, path.as_os_str().len());
    if is <= most {
        return Some(path);
    }
    reading.refuse(
        &tree.place,
        Refusal {
            what: &format!("<{}> names a path that no socket can have", tree.name),
            found: &format!("a path of {is} bytes"),
            expected: &format!("one of {most} bytes at most"),
            remedy,
        },
    );
    None
}

/// `<metrics group="prometheus">/run/jabber/metrics</metrics>`: as `<control>`, for who watches.
fn metrics_socket(reading: &mut Reading, tree: &Tree) -> Option<MetricsSocket> {
    if tree.attribute("port").is_some() {
        reading.warn(&tree.place, "<metrics> names a socket, which has no port: port= is ignored");
    }
    let path = socket_path(reading, tree, "name a shorter one: /run/jabber/metrics")?;
    Some(MetricsSocket { path, group: group(tree) })
}

/// `<metrics port="9105">127.0.0.1</metrics>`: where who watches the server asks, by HTTP. Whoever reaches the port may ask,
/// so it is on this machine unless another address is given.
fn metrics(reading: &mut Reading, tree: &Tree) -> Option<Listener> {
    let mut listener = pthcsock::listener(reading, tree, ListenerKind::Metrics, METRICS_PORT)?;
    let address = *listener.address.get_or_insert(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if !address.is_loopback() {
        let text = format!(
            "<metrics> is open to the network: whoever reaches {address} port {} can see how the server is used",
            listener.port
        );
        reading.warn(&tree.place, text);
    }
    Some(listener)
}

/// `<keep-plain-passwords days="30"/>`: of imported accounts, for the digest of XEP-0078.
fn keep_plain_passwords(reading: &mut Reading, tree: &Tree) -> PlainPasswords {
    let mut kept = PlainPasswords::default();
    match reading.number_attribute::<u32>(tree, "days") {
        None if tree.attribute("days").is_none() => {}
        Some(days) if (1..=PlainPasswords::DAYS_MAX).contains(&days) => kept.days = days,
        _ => {
            let most = PlainPasswords::DAYS_MAX;
            reading.warn(&tree.place, format!("days= is not a number from 1 to {most}: {} is used", kept.days));
        }
    }
    let text = format!(
        "<keep-plain-passwords>: the passwords of accounts that are imported stay in the database as text for up to {} days",
        kept.days
    );
    reading.notice(&tree.place, text);
    kept
}

/// `<limits>`: a bound each.
fn limits(reading: &mut Reading, tree: &Tree, limits: &mut Limits) {
    reading.stray_text(tree);
    let known: Vec<&str> = Limits::ALL.iter().map(|bound| bound.name).collect();
    for child in tree.children() {
        let Some(bound) = Limits::bound(&child.name) else {
            reading.unknown(child, "<limits>", &known);
            continue;
        };
        let Some(value) = reading.number::<u64>(child) else { continue };
        if value < bound.least {
            let least = bound.least;
            reading.warn(&child.place, format!("<{}> must be at least {least}: {least} is used", bound.name));
        }
        if limits.set(bound.name, value.max(bound.least)).is_none() {
            reading.warn(&child.place, format!("{value} is too much for <{}>: ignored", bound.name));
        }
    }
}

/// `<certificate host="a b" key="file">file</certificate>`.
fn certificate(reading: &mut Reading, tree: &Tree) -> Option<CertificateSource> {
    let file = tree.text();
    if file.is_empty() {
        reading.refuse(
            &tree.place,
            Refusal {
                what: "<certificate> names no file",
                found: "<certificate> without a file name",
                expected: "<certificate host=\"chat.example.org\" key=\"/etc/.../privkey.pem\">/etc/.../fullchain.pem</certificate>",
                remedy: "name the file, or delete the element: jabberd then looks for one by itself",
            },
        );
        return None;
    }
    let mut domains = Vec::new();
    for name in tree.attribute("host").unwrap_or_default().split_whitespace() {
        match host_name(name) {
            Ok(name) => domains.push(name),
            Err(why) => reading.warn(&tree.place, format!("host=\"{name}\" is not a host name ({why}): ignored")),
        }
    }
    let certificate = reading.path(&file);
    Some(CertificateSource {
        is_default: domains.is_empty(),
        addresses: domains.iter().filter_map(|name| super::hosts::host_address(name)).collect(),
        domains,
        key: tree.attribute("key").map_or_else(|| certificate.clone(), |key| reading.path(key)),
        certificate,
        place: Some(tree.place.clone()),
    })
}

/// `<registration-rate accounts= seconds= exempt=/>`; `accounts="unlimited"` lifts it.
fn registration_rate(reading: &mut Reading, tree: &Tree) -> RegistrationRate {
    let mut rate = RegistrationRate::default();
    match tree.attribute("accounts") {
        Some("unlimited") => rate.accounts = None,
        Some(_) => rate.accounts = reading.number_attribute(tree, "accounts").or(rate.accounts),
        None => {}
    }
    rate.seconds = reading.number_attribute(tree, "seconds").unwrap_or(rate.seconds).max(1);
    if let Some(exempt) = tree.attribute("exempt") {
        rate.exempt = networks(reading, tree, exempt).unwrap_or(rate.exempt);
    }
    rate
}
