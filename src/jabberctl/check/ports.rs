//! Ports: does the server hold them, or who does?

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use jabber::config::{Listener, ListenerKind};
use jabber::daemon::holders::holders;
use jabber::daemon::privileges::is_root;
use jabber::net::listener;

use super::access::AS_ROOT;
use super::{Findings, Level, Running, Subject};

const AREA: &str = "ports";
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    for listener in &subject.config.listeners {
        let what = kind(listener);
        match subject.server {
            Running::Process(server) => served(subject, server, listener, what, findings),
            Running::No | Running::Unknown => free(subject, listener, what, findings),
        }
    }
}

fn kind(listener: &Listener) -> &'static str {
    match listener.kind {
        ListenerKind::C2s => "clients",
        ListenerKind::C2sTls => "clients, TLS from the first byte",
        ListenerKind::S2s => "servers",
        ListenerKind::S2sTls => "servers, TLS from the first byte",
        ListenerKind::Component => "a component",
        ListenerKind::Metrics => "metrics",
        ListenerKind::Bytestreams => "files between clients",
    }
}

/// How bad is it without this port? The server starts without the one for files, and people chat all the same.
fn level(listener: &Listener) -> Level {
    match listener.kind {
        ListenerKind::Bytestreams => Level::Warning,
        _ => Level::Critical,
    }
}

/// The server runs: does it take connections there?
fn served(subject: &Subject, server: i32, listener: &Listener, what: &str, findings: &mut Findings) {
    let port = listener.port;
    let addresses = listener.bind_addresses();
    for address in &addresses {
        let holders = holders(*address);
        let is_ours = holders.iter().any(|(pid, _)| *pid == server);
        if let Some((pid, name)) = holders.first().filter(|_| !is_ours && is_taken(listener, *address)) {
            return findings.add(
                level(listener),
                AREA,
                format!("port {port} ({what}) is held by {name}, process {pid}, not by the server"),
                format!("stop {name}, or give one of them another port; then restart jabber"),
            );
        }
    }
    let mut refused = None;
    for address in addresses {
        let to = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        match TcpStream::connect_timeout(&SocketAddr::new(to, port), subject.timeout.unwrap_or(PATIENCE)) {
            Ok(_) => return findings.fine(AREA, format!("port {port} ({what}) is open")),
            Err(error) => refused = Some(error),
        }
    }
    let why = refused.map(|error| error.to_string()).unwrap_or_default();
    findings.add(
        level(listener),
        AREA,
        format!("nobody takes connections at port {port} ({what}): {why}"),
        "jabber.xml was changed since the server started? restart it; a firewall on this machine? see nft list ruleset",
    );
}

/// Is something there that would be in the server's way? proc(5) does not say whether one at `::` has IPv4 as well.
fn is_taken(listener: &Listener, address: SocketAddr) -> bool {
    let there = Listener { address: Some(address.ip()), ..listener.clone() };
    listener::open(&Arc::new(there)).is_err_and(|refused| refused.error.kind() == ErrorKind::AddrInUse)
}

/// The server does not run, or not to our knowledge: could it have the port? Tried as its start would.
fn free(subject: &Subject, listener: &Listener, what: &str, findings: &mut Findings) {
    let port = listener.port;
    let Err(refused) = listener::open(&Arc::new(listener.clone())) else {
        return findings.fine(AREA, format!("port {port} ({what}) is free"));
    };
    let (text, remedy) = match refused.error.kind() {
        ErrorKind::AddrInUse if subject.server == Running::Unknown && !is_root() => {
            let text = format!("port {port} ({what}) is in use: whether by the server was not found out");
            return findings.unknown(AREA, text, AS_ROOT);
        }
        ErrorKind::AddrInUse => match holders(refused.address).into_iter().next() {
            // It takes no connection at its control socket, which is told already.
            Some((pid, name)) if subject.server == Running::Unknown && name == "jabberd" => {
                return findings.fine(AREA, format!("port {port} ({what}) is held by {name}, process {pid}"));
            }
            Some((pid, name)) => (
                format!("port {port} ({what}) is held by {name}, process {pid}"),
                format!("stop {name}: systemctl disable --now {name}; or give one of them another port"),
            ),
            None => (
                format!("port {port} ({what}) is held by another program"),
                format!("see which, as root: ss -ltnp 'sport = {port}'"),
            ),
        },
        ErrorKind::AddrNotAvailable => (
            format!("this machine has no address {}, where port {port} ({what}) shall be", refused.address.ip()),
            "see ip address, and correct <ip> in jabber.xml".to_owned(),
        ),
        ErrorKind::PermissionDenied => {
            return findings.unknown(AREA, format!("port {port} ({what}) cannot be tried by you"), AS_ROOT);
        }
        _ => (
            format!("port {port} ({what}) cannot be had: {}", refused.error),
            format!("see what is there: ss -ltn 'sport = {port}'"),
        ),
    };
    findings.add(level(listener), AREA, text, remedy);
}
