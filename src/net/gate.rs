//! Who may come in at all, before a byte is read: `<allow>`, `<deny>` and `<rate>` of jabber.xml.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::{Access, Config, Rate, customer};
use crate::xmpp::Now;

/// Connections of one address to one port, counted from the first.
struct Count {
    since_millis: u64,
    connections: u32,
}

/// The rules, and what is remembered for them.
pub(super) struct Gate {
    access: Access,
    counts: HashMap<(u16, IpAddr), Count>,
    addresses_max: usize,
}

impl Gate {
    pub(super) fn new(config: &Config) -> Self {
        Gate {
            access: config.access.clone(),
            counts: HashMap::new(),
            addresses_max: config.limits.addresses_remembered_max,
        }
    }

    /// Other rules, with the same memory.
    pub(super) fn reload(&mut self, config: &Config) {
        self.access = config.access.clone();
        self.addresses_max = config.limits.addresses_remembered_max;
    }

    /// May this address connect to this port now?
    pub(super) fn admits(&mut self, peer: IpAddr, port: u16, rate: Option<Rate>, now: Now) -> bool {
        let millis = now.monotonic_millis;
        // jabberd 1.4's words and types, which people grep for.
        if !self.access.admits(peer) {
            log::warn!(target: "mio", scanners = "addresses that were denied access", by:% = peer;
                "{peer} was denied access, due to the allow list of IPs");
            return false;
        }
        // TLS wrappers and scripts of the admin's come from the machine itself, all from one address.
        let bounded = rate.filter(|_| !peer.to_canonical().is_loopback());
        let within = bounded.is_none_or(|rate| self.count(customer(peer), port, rate, millis));
        if !within {
            log::warn!(target: "io_select", scanners = "addresses that connect too often", by:% = peer;
                "{peer} is being connection rate limited - see <rate>");
        }
        within
    }

    fn count(&mut self, customer: IpAddr, port: u16, rate: Rate, millis: u64) -> bool {
        let window = u64::from(rate.seconds).saturating_mul(1000);
        let is_over = |count: &Count| count.since_millis.saturating_add(window) <= millis;
        if self.counts.len() >= self.addresses_max && !self.counts.contains_key(&(port, customer)) {
            self.counts.retain(|_, count| !is_over(count));
            let oldest = self.counts.iter().min_by_key(|(_, count)| count.since_millis).map(|(key, _)| *key);
            if let Some(oldest) = oldest.filter(|_| self.counts.len() >= self.addresses_max) {
                self.counts.remove(&oldest);
            }
        }
        let count = self.counts.entry((port, customer)).or_insert(Count { since_millis: millis, connections: 0 });
        if is_over(count) {
            *count = Count { since_millis: millis, connections: 0 };
        }
        count.connections = count.connections.saturating_add(1);
        count.connections <= rate.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;

    fn at(seconds: u64) -> Now {
        Now { unix_millis: 0, monotonic_millis: seconds * 1000 }
    }

    #[test]
    fn connections_of_one_address_are_counted() {
        let mut config = Config::for_host("localhost");
        config.limits.addresses_remembered_max = 3;
        let mut gate = Gate::new(&config);
        let rate = Some(Rate { points: 2, seconds: 10 });
        for (seconds, peer, port, admitted) in [
            (0, "192.0.2.1", 5222, true),
            (1, "192.0.2.1", 5222, true),
            (2, "192.0.2.1", 5222, false),
            (2, "192.0.2.1", 5223, true),
            (3, "192.0.2.2", 5222, true),
            (9, "192.0.2.1", 5222, false),
            (10, "192.0.2.1", 5222, true),
            // One customer, two addresses.
            (20, "2001:db8::1", 5222, true),
            (20, "2001:db8::2", 5222, true),
            (20, "2001:db8::3", 5222, false),
            (20, "2001:db8:0:1::1", 5222, true),
        ] {
            assert_eq!(gate.admits(peer.parse().unwrap(), port, rate, at(seconds)), admitted, "{peer} at {seconds}");
        }
        assert!(gate.counts.len() <= 3);
        assert!((0..100).all(|_| gate.admits("192.0.2.9".parse().unwrap(), 5222, None, at(30))));
        assert!((0..100).all(|_| gate.admits("127.0.0.1".parse().unwrap(), 5222, rate, at(30))));
    }

    #[test]
    fn denied_addresses_stay_outside() {
        let mut config = Config::for_host("localhost");
        let mut gate = Gate::new(&config);
        let peer = "192.0.2.1".parse().unwrap();
        assert!(gate.admits(peer, 5222, None, at(0)));
        config.access.deny.push(Network::exactly(peer));
        gate.reload(&config);
        assert!(!gate.admits(peer, 5222, None, at(0)));
    }
}
