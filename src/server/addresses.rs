//! What we remember of addresses: how many connections each has, and how often logins from it failed.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::Limits;

#[derive(Default)]
struct Entry {
    connections: usize,
    unauthenticated: usize,
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
    pub fn connected(&mut self, address: IpAddr, limits: &Limits, now_millis: u64) -> bool {
        if self.table.len() >= limits.addresses_remembered_max && !self.table.contains_key(&address) {
            self.make_room(limits, now_millis);
        }
        let entry = self.table.entry(address).or_default();
        if entry.connections >= limits.connections_per_address_max
            || entry.unauthenticated >= limits.unauthenticated_per_address_max
        {
            return false;
        }
        entry.connections += 1;
        entry.unauthenticated += 1;
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

    /// A connection of this address logged in.
    pub fn logged_in(&mut self, address: IpAddr) {
        if let Some(entry) = self.table.get_mut(&address) {
            entry.unauthenticated = entry.unauthenticated.saturating_sub(1);
            entry.failed_logins = 0;
            entry.plain_streams = 0;
        }
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, address: IpAddr, was_logged_in: bool) {
        let Some(entry) = self.table.get_mut(&address) else { return };
        entry.connections = entry.connections.saturating_sub(1);
        if !was_logged_in {
            entry.unauthenticated = entry.unauthenticated.saturating_sub(1);
        }
        if entry.connections == 0 && entry.failed_logins == 0 && entry.plain_streams == 0 {
            self.table.remove(&address);
        }
    }

    /// A login from this address failed.
    pub fn login_failed(&mut self, address: IpAddr, limits: &Limits, now_millis: u64) {
        let Some(entry) = self.table.get_mut(&address) else { return };
        let window = limits.failed_logins_seconds.saturating_mul(1000);
        if entry.failed_logins == 0 || entry.window_millis + window <= now_millis {
            entry.window_millis = now_millis;
            entry.failed_logins = 0;
        }
        entry.failed_logins += 1;
    }

    /// A login `failed` that would have had to be by PLAIN; or else, PLAIN alone was offered to one stream.
    pub fn plain(&mut self, address: IpAddr, failed: bool, now_millis: u64) {
        let Some(entry) = self.table.get_mut(&address) else { return };
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
        self.table.get(&address).is_some_and(due)
    }

    /// Did too many logins from this address fail of late?
    pub fn is_suspect(&self, address: IpAddr, limits: &Limits, now_millis: u64) -> bool {
        let window = limits.failed_logins_seconds.saturating_mul(1000);
        self.table.get(&address).is_some_and(|entry| {
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
        let address = IpAddr::from([127, 0, 0, 1]);
        let mut table = Addresses::default();
        assert!(table.connected(address, &limits, 0) && table.connected(address, &limits, 0));
        assert!(!table.connected(address, &limits, 0));
        for _ in 0..2 {
            table.login_failed(address, &limits, 1_000);
        }
        assert!(table.is_suspect(address, &limits, 10_999));
        assert!(!table.is_suspect(address, &limits, 11_000));
        table.disconnected(address, false);
        assert!(table.connected(address, &limits, 0));
        table.plain(address, true, 5_000);
        for _ in 0..PLAIN_STREAMS {
            assert!(table.is_plain_due(address, 5_000) && !table.is_plain_due(address, 5_000 + PLAIN_MILLIS));
            table.plain(address, false, 5_000);
        }
        assert!(!table.is_plain_due(address, 5_000));
        table.plain(address, true, 5_000);
        table.logged_in(address);
        table.disconnected(address, true);
        table.disconnected(address, false);
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
        assert!(table.connected(address(0), &limits, 0));
        for number in 1..100 {
            let now = u64::from(number) * 1_000;
            assert!(table.connected(address(number), &limits, now));
            table.login_failed(address(number), &limits, now);
            table.disconnected(address(number), false);
            assert!(table.table.len() <= 3);
        }
        let suspects: Vec<u8> = (0..100).filter(|number| table.is_suspect(address(*number), &limits, 99_001)).collect();
        assert_eq!(suspects, [98, 99]);
        assert!(table.table.contains_key(&address(0)));
    }
}
