//! What we remember of addresses: how many connections each has, and how often logins from it failed.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::Limits;

#[derive(Default)]
struct Entry {
    connections: usize,
    unauthenticated: usize,
    failed_logins: usize,
    /// Start of the window in which failed logins are counted, on the monotonic clock.
    window_millis: u64,
}

impl Entry {
    fn is_idle(&self, now_millis: u64, window_millis: u64) -> bool {
        self.connections == 0 && (self.failed_logins == 0 || self.window_millis + window_millis <= now_millis)
    }
}

/// The table of addresses.
#[derive(Default)]
pub struct Addresses {
    table: HashMap<IpAddr, Entry>,
}

impl Addresses {
    /// A new connection; `false` if the address has too many already.
    pub fn connected(&mut self, address: IpAddr, limits: &Limits, now_millis: u64) -> bool {
        if self.table.len() >= limits.addresses_remembered_max {
            let window = limits.failed_logins_seconds.saturating_mul(1000);
            self.table.retain(|_, entry| !entry.is_idle(now_millis, window));
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

    /// A connection of this address logged in.
    pub fn logged_in(&mut self, address: IpAddr) {
        if let Some(entry) = self.table.get_mut(&address) {
            entry.unauthenticated = entry.unauthenticated.saturating_sub(1);
            entry.failed_logins = 0;
        }
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, address: IpAddr, was_logged_in: bool) {
        let Some(entry) = self.table.get_mut(&address) else { return };
        entry.connections = entry.connections.saturating_sub(1);
        if !was_logged_in {
            entry.unauthenticated = entry.unauthenticated.saturating_sub(1);
        }
        if entry.connections == 0 && entry.failed_logins == 0 {
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
        table.logged_in(address);
        table.disconnected(address, true);
        table.disconnected(address, false);
        assert!(table.table.is_empty());
    }
}
