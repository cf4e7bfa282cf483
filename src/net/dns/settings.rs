//! `/etc/resolv.conf` and `/etc/hosts`: which servers are asked, and what needs no asking.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::message::{Kind, Outcome, Question};
use super::name::Name;

const DNS_PORT: u16 = 53;
/// Servers that are asked; the C library takes three.
const SERVERS_MAX: usize = 8;
/// Addresses of one name in the hosts file.
const ADDRESSES_MAX: usize = 8;

/// What the two files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whom to ask, in this order; at least one.
    pub servers: Vec<SocketAddr>,
    /// How long the first question to a server waits, in seconds (1 to 10).
    pub timeout_seconds: u64,
    /// How often each server is asked (1 to 5).
    pub attempts: u32,
    hosts: HashMap<Name, Vec<IpAddr>>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            // resolv.conf(5): without a nameserver line it is the one on this machine.
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT))],
            timeout_seconds: 2,
            attempts: 3,
            hosts: HashMap::new(),
        }
    }
}

impl Settings {
    /// Reads the two files' texts. What cannot be understood is passed over, as the C library does.
    /// `interface` gives the number of an interface, for the scope of a link-local server.
    pub fn read(resolv_conf: &str, hosts: &str, interface: &dyn Fn(&str) -> Option<u32>) -> Settings {
        let mut settings = Settings { hosts: read_hosts(hosts), ..Settings::default() };
        let mut servers: Vec<SocketAddr> = Vec::new();
        for line in resolv_conf.lines() {
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| server(word, interface));
                    servers.extend(server.filter(|server| !servers.contains(server)));
                }
                Some("options") => words.for_each(|word| settings.option(word)),
                // Comments, and the search list: our names are all absolute.
                _ => {}
            }
        }
        servers.truncate(SERVERS_MAX);
        if !servers.is_empty() {
            settings.servers = servers;
        }
        settings
    }

    fn option(&mut self, word: &str) {
        let Some((name, value)) = word.split_once(':') else { return };
        match (name, value.parse::<u32>()) {
            ("timeout", Ok(seconds)) => self.timeout_seconds = u64::from(seconds.clamp(1, 10)),
            ("attempts", Ok(attempts)) => self.attempts = attempts.clamp(1, 5),
            _ => {}
        }
    }

    /// The answer to what must not or need not be asked: special names and those of the hosts file.
    pub fn known(&self, question: &Question) -> Option<Outcome> {
        let addresses = |addresses: &[IpAddr]| {
            let of_kind = |address: &&IpAddr| match question.kind {
                Kind::A => address.is_ipv4(),
                Kind::Aaaa => address.is_ipv6(),
                Kind::Srv => false,
            };
            let kept: Vec<IpAddr> = addresses.iter().filter(of_kind).copied().collect();
            if kept.is_empty() { Outcome::NoData } else { Outcome::Addresses(kept) }
        };
        // RFC 6761 §6.3: never asked, always this machine.
        if question.name.is_in("localhost") {
            return Some(addresses(&[Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]));
        }
        // RFC 6761 §6.4 and RFC 7686 §2: they exist in no DNS, and asking would tell others of them.
        if question.name.is_in("invalid") || question.name.is_in("onion") {
            return Some(Outcome::NoDomain);
        }
        if question.kind == Kind::Srv {
            return None;
        }
        self.hosts.get(&question.name).map(|known| addresses(known))
    }
}

/// `192.0.2.1`, `2001:db8::1`, `fe80::1%eth0`, and with a port as OpenBSD has it: `[192.0.2.1]:5353`.
fn server(word: &str, interface: &dyn Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let (word, port) = match word.strip_prefix('[').and_then(|word| word.split_once("]:")) {
        Some((address, port)) => (address, port.parse().ok()?),
        None => (word, DNS_PORT),
    };
    let Some((address, scope)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse().ok()?, port));
    };
    let scope = scope.parse().ok().or_else(|| interface(scope))?;
    Some(SocketAddrV6::new(address.parse().ok()?, port, 0, scope).into())
}

/// hosts(5): an address and its names.
fn read_hosts(text: &str) -> HashMap<Name, Vec<IpAddr>> {
    let mut hosts: HashMap<Name, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let line = line.split_once('#').map_or(line, |(line, _)| line);
        let mut words = line.split_ascii_whitespace();
        // A scope cannot be kept in an address; such a line is of no use to us.
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        for name in words.filter_map(Name::new) {
            let addresses = hosts.entry(name).or_default();
            if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(resolv_conf: &str, hosts: &str) -> Settings {
        Settings::read(resolv_conf, hosts, &|name| (name == "eth0").then_some(7))
    }

    #[test]
    fn servers_and_options() {
        let rows: &[(&str, &[&str], u64, u32)] = &[
            ("", &["127.0.0.1:53"], 2, 3),
            ("nameserver 192.0.2.1\n", &["192.0.2.1:53"], 2, 3),
            (
                "# nameserver 192.0.2.9\n;nameserver 192.0.2.8\nnameserver\t192.0.2.1 # ours\nnameserver 2001:db8::1\r\n",
                &["192.0.2.1:53", "[2001:db8::1]:53"],
                2,
                3,
            ),
            (
                "nameserver fe80::1%eth0\nnameserver fe80::2%3\nnameserver fe80::3%eth9",
                &["[fe80::1%7]:53", "[fe80::2%3]:53"],
                2,
                3,
            ),
            (
                "nameserver [127.0.0.1]:5353\nnameserver [::1]:5354\nnameserver [::1]:x",
                &["127.0.0.1:5353", "[::1]:5354"],
                2,
                3,
            ),
            (
                "nameserver dns.example\nsearch example.org\noptions ndots:2 timeout:4 attempts:1 rotate",
                &["127.0.0.1:53"],
                4,
                1,
            ),
            ("options timeout:0 attempts:99\noptions timeout:x", &["127.0.0.1:53"], 1, 5),
            ("options timeout:600 attempts:0", &["127.0.0.1:53"], 10, 1),
        ];
        for (text, servers, timeout, attempts) in rows {
            let settings = settings(text, "");
            let found: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
            assert_eq!(
                (found, settings.timeout_seconds, settings.attempts),
                (servers.iter().map(ToString::to_string).collect(), *timeout, *attempts),
                "{text}"
            );
        }
        assert_eq!(settings(&"nameserver 192.0.2.1\n".repeat(100), "").servers.len(), 1);
        let many: String = (0..100).map(|last| format!("nameserver 192.0.2.{last}\n")).collect();
        assert_eq!(settings(&many, "").servers.len(), SERVERS_MAX);
    }

    #[test]
    fn what_is_known_without_asking() {
        let hosts = "127.0.0.1 localhost\n192.0.2.7\tChat.Example chat # ours\n2001:db8::7 chat.example\nx y\n192.0.2.8 chat.example\n";
        let settings = settings("", hosts);
        let one = |text: &str| Some(Outcome::Addresses(vec![text.parse().unwrap()]));
        for (name, kind, expected) in [
            ("chat.example", Kind::Aaaa, one("2001:db8::7")),
            ("chat", Kind::A, one("192.0.2.7")),
            ("chat", Kind::Aaaa, Some(Outcome::NoData)),
            ("chat.example", Kind::Srv, None),
            ("ours", Kind::A, None),
            ("LOCALHOST", Kind::A, one("127.0.0.1")),
            ("romeo.localhost", Kind::Aaaa, one("::1")),
            ("_xmpp-server._tcp.localhost", Kind::Srv, Some(Outcome::NoData)),
            ("montague.invalid", Kind::A, Some(Outcome::NoDomain)),
            ("montague.onion", Kind::Srv, Some(Outcome::NoDomain)),
            ("montague.net", Kind::A, None),
        ] {
            assert_eq!(settings.known(&Question { name: Name::new(name).unwrap(), kind }), expected, "{name} {kind:?}");
        }
        let question = Question { name: Name::new("chat.example").unwrap(), kind: Kind::A };
        let Some(Outcome::Addresses(both)) = settings.known(&question) else { panic!() };
        assert_eq!(both.len(), 2);
    }
}
