//! Ports: does the server hold them, or who does?

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jabber::config::{Listener, ListenerKind};
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

/// All that listens on this machine, by proc(5): where, and the name of its socket among a process's files.
fn listening() -> Vec<(SocketAddr, String)> {
    let mut all = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
                continue;
            };
            // 0A: listening.
            if let Some(place) = address(local).filter(|_| *state == "0A") {
                all.push((place, format!("socket:[{inode}]")));
            }
        }
    }
    all
}

/// The files that a process has open, as proc(5) names them; nothing if they are not ours to see.
fn files(pid: i32) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|file| fs::read_link(file.path()).ok()).collect()
}

/// Where a process listens, if that can be seen.
pub(super) fn of_process(pid: i32) -> Vec<SocketAddr> {
    let files = files(pid);
    let has = |socket: &String| files.iter().any(|file| file.as_os_str() == socket.as_str());
    listening().into_iter().filter(|(_, socket)| has(socket)).map(|(place, _)| place).collect()
}

/// Who listens where a server at this address would be in the way: processes and names. Only root sees the processes of
/// others.
fn holders(wanted: SocketAddr) -> Vec<(i32, String)> {
    let held: Vec<String> =
        listening().into_iter().filter(|(place, _)| meet(*place, wanted)).map(|(_, socket)| socket).collect();
    if held.is_empty() {
        return Vec::new();
    }
    let holds =
        |pid: &i32| files(*pid).iter().any(|file| held.iter().any(|socket| file.as_os_str() == socket.as_str()));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    processes.filter(holds).map(|pid| (pid, name(pid))).collect()
}

/// An address as proc(5) writes it: words of 32 bits, each a number of this machine's, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at.checked_add(8)?)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

/// Is one in the other's way? One at `::` may have IPv4, too.
fn meet(held: SocketAddr, wanted: SocketAddr) -> bool {
    let is_any = |ip: IpAddr| ip.is_unspecified();
    held.port() == wanted.port()
        && match (held.ip(), wanted.ip()) {
            (held, wanted) if held == wanted => true,
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => is_any(held.ip()) || is_any(wanted.ip()),
            (IpAddr::V6(held), IpAddr::V4(_)) => held.is_unspecified(),
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proc() {
        let mut words = [0x7f00_0001_u32.to_be(), 0, 0, 1_u32.to_be()].map(|word| format!("{word:08X}"));
        assert_eq!(address(&format!("{}:1466", words[0])), "127.0.0.1:5222".parse().ok());
        words[0] = format!("{:08X}", 0);
        assert_eq!(address(&format!("{}:1466", words.concat())), "[::1]:5222".parse().ok());
        let mapped = [0, 0, 0xffff_u32.to_be(), 0x7f00_0001_u32.to_be()].map(|word| format!("{word:08X}"));
        assert_eq!(address(&format!("{}:0001", mapped.concat())), "127.0.0.1:1".parse().ok());
        for nonsense in ["", ":", "7F:1", "0100007F:10000", "0100007é:1"] {
            assert_eq!(address(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn two_servers_on_two_addresses_are_not_in_each_other_s_way() {
        for (held, wanted, are) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.2:1", "127.0.0.1:1", false),
            ("127.0.0.1:2", "127.0.0.1:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::1]:1", "127.0.0.1:1", false),
            ("127.0.0.1:1", "[::]:1", false),
            ("[::1]:1", "[::]:1", true),
            ("[::]:1", "[::1]:1", true),
            ("[::2]:1", "[::1]:1", false),
        ] {
            assert_eq!(meet(held.parse().unwrap(), wanted.parse().unwrap()), are, "{held} {wanted}");
        }
    }
}
