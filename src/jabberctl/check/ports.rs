//! Ports: does the server hold them, or who does?

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use jabber::config::{Listener, ListenerKind};

use super::{Findings, Level, Subject};

const AREA: &str = "ports";
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    for listener in &subject.config.listeners {
        let what = kind(listener);
        match subject.server {
            Some(server) => served(server, listener, what, findings),
            None => free(listener, what, findings),
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
fn served(server: i32, listener: &Listener, what: &str, findings: &mut Findings) {
    let port = listener.port;
    let holder = holder(port);
    if let Some((pid, name)) = holder.as_ref().filter(|(pid, _)| *pid != server) {
        return findings.add(
            level(listener),
            AREA,
            format!("port {port} ({what}) is held by {name}, process {pid}, not by the server"),
            format!("stop {name}, or give one of them another port; then restart jabber"),
        );
    }
    let mut refused = None;
    for address in listener.bind_addresses() {
        let to = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        match TcpStream::connect_timeout(&SocketAddr::new(to, port), PATIENCE) {
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

/// The server does not run: could it have the port?
fn free(listener: &Listener, what: &str, findings: &mut Findings) {
    let port = listener.port;
    for address in listener.bind_addresses() {
        let Err(error) = TcpListener::bind(address) else { continue };
        let (text, remedy) = match error.kind() {
            std::io::ErrorKind::AddrInUse => match holder(port) {
                Some((pid, name)) => (
                    format!("port {port} ({what}) is held by {name}, process {pid}"),
                    format!("stop {name}: systemctl disable --now {name}; or give one of them another port"),
                ),
                None => (
                    format!("port {port} ({what}) is held by another program"),
                    format!("see which, as root: ss -ltnp 'sport = {port}'"),
                ),
            },
            std::io::ErrorKind::AddrNotAvailable if address.is_ipv6() && address.ip().is_unspecified() => continue,
            std::io::ErrorKind::AddrNotAvailable => (
                format!("this machine has no address {}, where port {port} ({what}) shall be", address.ip()),
                "see ip address, and correct <ip> in jabber.xml".to_owned(),
            ),
            std::io::ErrorKind::PermissionDenied => {
                findings.unknown(AREA, format!("port {port} ({what}) cannot be tried by you"), "run it as root");
                return;
            }
            _ => (
                format!("port {port} ({what}) cannot be had: {error}"),
                format!("see what is there: ss -ltn 'sport = {port}'"),
            ),
        };
        return findings.add(level(listener), AREA, text, remedy);
    }
    findings.fine(AREA, format!("port {port} ({what}) is free"));
}

/// Who listens at a port, by proc(5): process and name. Only root sees the processes of others.
fn holder(port: u16) -> Option<(i32, String)> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
                continue;
            };
            let number = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            // 0A: listening.
            if number == Some(port) && *state == "0A" {
                inodes.push(format!("socket:[{inode}]"));
            }
        }
    }
    if inodes.is_empty() {
        return None;
    }
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |file: fs::DirEntry| {
            fs::read_link(file.path()).is_ok_and(|to| inodes.iter().any(|inode| to.as_os_str() == inode.as_str()))
        };
        if open.flatten().any(holds) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, name.trim().to_owned()));
        }
    }
    None
}
