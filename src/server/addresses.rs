//! What we remember of addresses: how many connections each has, and how often logins from it failed.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::{Limits, ListenerKind, customer};

/// What somebody connects for. Those who have not logged in yet have their room for each: a hundred clients that come back
/// at once leave a component, or another server, on the same machine its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To log in.
    Client,
    /// To speak for another domain.
    Server,
    /// To speak for a domain of ours.
    Component,
    /// To send or to take a file.
    Transfer,
}

impl Purpose {
    /// Of those who come in here. Who reads our figures has bounds of its own.
    pub fn of(kind: ListenerKind) -> Option<Purpose> {
        Some(match kind {
            ListenerKind::C2s | ListenerKind::C2sTls => Purpose::Client,
            ListenerKind::S2s | ListenerKind::S2sTls => Purpose::Server,
            ListenerKind::Component => Purpose::Component,
            ListenerKind::Bytestreams => Purpose::Transfer,
            ListenerKind::Metrics => return None,
        })
    }
}

/// Connections that have not logged in.
#[derive(Default)]
struct Strangers {
    clients: usize,
    servers: usize,
    components: usize,
    transfers: usize,
}

impl Strangers {
    fn of(&mut self, purpose: Purpose) -> &mut usize {
        match purpose {
            Purpose::Client => &mut self.clients,
            Purpose::Server => &mut self.servers,
            Purpose::Component => &mut self.components,
            Purpose::Transfer => &mut self.transfers,
        }
    }

    fn take(&mut self, purpose: Purpose) {
        let strangers = self.of(purpose);
        *strangers = strangers.saturating_sub(1);
    }
}

#[derive(Default)]
struct Entry {
    connections: usize,
    strangers: Strangers,
    failed_logins: usize,
    /// Streams that shall be offered nothing but PLAIN, until this moment on the monotonic clock.
    plain_streams: u8,
    plain_until_millis: u64,
    /// Start of the window in which failed logins are counted, on the monotonic clock.
    window_millis: u64,
}

impl Entry {
    fn is_idle(&self, now_millis: u64, window_millis: u64) -> bool {
        self.connections == 0
            && (self.plain_streams == 0 || self.plain_until_millis <= now_millis)
            && (self.failed_logins == 0 || self.window_millis + window_millis <= now_millis)
    }
}

/// How many streams of an address are offered PLAIN alone after a login failed for want of it: the next one, and some to
/// spare, for other clients behind the same address may come first.
const PLAIN_STREAMS: u8 = 3;
/// And for how long: the person may have to type the password again.
const PLAIN_MILLIS: u64 = 600_000;

/// The table of addresses.
#[derive(Default)]
pub struct Addresses {
    table: HashMap<IpAddr, Entry>,
}

impl Addresses {
    /// A new connection; `false` if the address has too many already.
    pub fn connected(&mut self, address: IpAddr, purpose: Purpose, limits: &Limits, now_millis: u64) -> bool {
        let key = customer(address);
        if self.table.len() >= limits.addresses_remembered_max && !self.table.contains_key(&key) {
            self.make_room(limits, now_millis);
        }
        let entry = self.table.entry(key).or_default();
        // TLS wrappers bring all clients from the machine itself, from one address.
        let is_wrapped =
            address.to_canonical().is_loopback() && matches!(purpose, Purpose::Client | Purpose::Component);
        let strangers = *entry.strangers.of(purpose);
        let full = if entry.connections >= limits.connections_per_address_max {
            Some((entry.connections, "connections", "connections-per-address-max"))
        } else if strangers >= limits.unauthenticated_per_address_max {
            Some((strangers, "connections that have not logged in", "unauthenticated-per-address-max"))
        } else {
            None
        };
        if let Some((count, what, limit)) = full.filter(|_| !is_wrapped) {
            log::warn!(target: "-internal", scanners = "addresses with too many connections", by:% = address;
                "{address} has {count} {what}: further ones are closed; if that is one network of many people, raise \
                 <{limit}> of <limits> in jabber.xml"
            );
            return false;
        }
        entry.connections += 1;
        *entry.strangers.of(purpose) += 1;
        true
    }

    /// Forgets what is over; and if the table is full still, who failed longest ago of those who are not connected.
    fn make_room(&mut self, limits: &Limits, now_millis: u64) {
        let window = limits.failed_logins_seconds.saturating_mul(1000);
        self.table.retain(|_, entry| !entry.is_idle(now_millis, window));
        if self.table.len() < limits.addresses_remembered_max {
            return;
        }
        let gone = self.table.iter().filter(|(_, entry)| entry.connections == 0);
        if let Some(oldest) = gone.min_by_key(|(_, entry)| entry.window_millis).map(|(address, _)| *address) {
            self.table.remove(&oldest);
        }
    }

    /// A connection of this address logged in, or was proved to be another server's.
    pub fn logged_in(&mut self, address: IpAddr, purpose: Purpose) {
        let Some(entry) = self.table.get_mut(&customer(address)) else { return };
        entry.strangers.take(purpose);
        if matches!(purpose, Purpose::Client | Purpose::Component) {
            entry.failed_logins = 0;
            entry.plain_streams = 0;
        }
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, address: IpAddr, purpose: Purpose, was_logged_in: bool) {
        let address = customer(address);
        let Some(entry) = self.table.get_mut(&address) else { return };
        entry.connections = entry.connections.saturating_sub(1);
        if !was_logged_in {
            entry.strangers.take(purpose);
        }
        if entry.connections == 0 && entry.failed_logins == 0 && entry.plain_streams == 0 {
            self.table.remove(&address);
        }
    }

    /// A login from this address failed.
    pub fn login_failed(&mut self, address: IpAddr, limits: &Limits, now_millis: u64) {
        let Some(entry) = self.table.get_mut(&customer(address)) else { return };
        let window = limits.failed_logins_seconds.saturating_mul(1000);
        if entry.failed_logins == 0 || entry.window_millis + window <= now_millis {
            entry.window_millis = now_millis;
            entry.failed_logins = 0;
        }
        entry.failed_logins += 1;
    }

    /// A login `failed` that would have had to be by PLAIN; or else, PLAIN alone was offered to one stream.
    pub fn plain(&mut self, address: IpAddr, failed: bool, now_millis: u64) {
        let Some(entry) = self.table.get_mut(&customer(address)) else { return };
        if failed {
            entry.plain_streams = PLAIN_STREAMS;
            entry.plain_until_millis = now_millis.saturating_add(PLAIN_MILLIS);
        } else {
            entry.plain_streams = entry.plain_streams.saturating_sub(1);
        }
    }

    /// Shall the next stream of this address be offered PLAIN alone?
    pub fn is_plain_due(&self, address: IpAddr, now_millis: u64) -> bool {
        let due = |entry: &Entry| entry.plain_streams > 0 && now_millis < entry.plain_until_millis;
        self.table.get(&customer(address)).is_some_and(due)
    }

    /// Did too many logins from this address fail of late?
    pub fn is_suspect(&self, address: IpAddr, limits: &Limits, now_millis: u64) -> bool {
        let window = limits.failed_logins_seconds.saturating_mul(1000);
        self.table.get(&customer(address)).is_some_and(|entry| {
            entry.failed_logins >= limits.failed_logins_per_address_max && entry.window_millis + window > now_millis
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_bounded_and_forgotten() {
        let limits = Limits {
            connections_per_address_max: 2,
            failed_logins_per_address_max: 2,
            failed_logins_seconds: 10,
            ..Limits::default()
        };
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut table = Addresses::default();
        assert!(
            table.connected(address, Purpose::Client, &limits, 0)
                && table.connected(address, Purpose::Client, &limits, 0)
        );
        assert!(!table.connected(address, Purpose::Client, &limits, 0));
        for _ in 0..2 {
            table.login_failed(address, &limits, 1_000);
        }
        assert!(table.is_suspect(address, &limits, 10_999));
        assert!(!table.is_suspect(address, &limits, 11_000));
        table.disconnected(address, Purpose::Client, false);
        assert!(table.connected(address, Purpose::Client, &limits, 0));
        table.plain(address, true, 5_000);
        for _ in 0..PLAIN_STREAMS {
            assert!(table.is_plain_due(address, 5_000) && !table.is_plain_due(address, 5_000 + PLAIN_MILLIS));
            table.plain(address, false, 5_000);
        }
        assert!(!table.is_plain_due(address, 5_000));
        table.plain(address, true, 5_000);
        table.logged_in(address, Purpose::Client);
        table.disconnected(address, Purpose::Client, true);
        table.disconnected(address, Purpose::Client, false);
        assert!(table.table.is_empty());
    }

    #[test]
    fn addresses_that_failed_longest_ago_are_forgotten() {
        let limits = Limits {
            addresses_remembered_max: 3,
            failed_logins_per_address_max: 1,
            failed_logins_seconds: 600,
            ..Limits::default()
        };
        let address = |number: u8| IpAddr::from([192, 0, 2, number]);
        let mut table = Addresses::default();
        // The first one stays connected all the time.
        assert!(table.connected(address(0), Purpose::Client, &limits, 0));
        for number in 1..100 {
            let now = u64::from(number) * 1_000;
            assert!(table.connected(address(number), Purpose::Client, &limits, now));
            table.login_failed(address(number), &limits, now);
            table.disconnected(address(number), Purpose::Client, false);
            assert!(table.table.len() <= 3);
        }
        let suspects: Vec<u8> = (0..100).filter(|number| table.is_suspect(address(*number), &limits, 99_001)).collect();
        assert_eq!(suspects, [98, 99]);
        assert!(table.table.contains_key(&address(0)));
    }

    #[test]
    fn strangers_of_one_purpose_leave_room_for_the_others() {
        let limits = Limits { unauthenticated_per_address_max: 2, ..Limits::default() };
        let mut table = Addresses::default();
        let mut connected = |address: &str, purpose| table.connected(address.parse().unwrap(), purpose, &limits, 0);
        for (address, purpose, expected) in [
            ("192.0.2.1", Purpose::Client, [true, true, false]),
            ("192.0.2.1", Purpose::Component, [true, true, false]),
            ("192.0.2.1", Purpose::Server, [true, true, false]),
            ("::ffff:192.0.2.1", Purpose::Client, [false; 3]),
            // A TLS wrapper on this machine brings everybody.
            ("127.0.0.1", Purpose::Client, [true; 3]),
            ("127.0.0.1", Purpose::Server, [true, true, false]),
            // One customer, many addresses.
            ("2001:db8::1", Purpose::Client, [true, true, false]),
            ("2001:db8::2", Purpose::Client, [false; 3]),
            ("2001:db8:0:1::1", Purpose::Client, [true, true, false]),
        ] {
            assert_eq!([0; 3].map(|_| connected(address, purpose)), expected, "{address} {purpose:?}");
        }
        let address = "192.0.2.1".parse().unwrap();
        table.logged_in(address, Purpose::Server);
        assert!(!table.connected(address, Purpose::Client, &limits, 0));
        assert!(table.connected(address, Purpose::Server, &limits, 0));
    }
}
