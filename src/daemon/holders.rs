//! Who listens where on this machine, by proc(5).

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

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
pub fn of_process(pid: i32) -> Vec<SocketAddr> {
    let files = files(pid);
    let has = |socket: &String| files.iter().any(|file| file.as_os_str() == socket.as_str());
    listening().into_iter().filter(|(_, socket)| has(socket)).map(|(place, _)| place).collect()
}

/// Who listens where a server at this address would be in the way: processes and names. Only root sees the processes of
/// others.
pub fn holders(wanted: SocketAddr) -> Vec<(i32, String)> {
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
