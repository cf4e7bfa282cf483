//! How many accounts an address may register in a time.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::Config;
use crate::xmpp::Now;

/// The table of addresses, bounded by `addresses-remembered-max`.
#[derive(Default)]
pub(super) struct Rate {
    /// How many in the present window, and when it began on the monotonic clock.
    table: HashMap<IpAddr, (u32, u64)>,
}

impl Rate {
    /// May this address register one more now? Counts it if so.
    pub(super) fn admits(&mut self, address: IpAddr, config: &Config, now: Now) -> bool {
        let Some(most) = config.registration_rate.bound_for(address) else { return true };
        let window = config.registration_rate.seconds.saturating_mul(1000);
        let now = now.monotonic_millis;
        if self.table.len() >= config.limits.addresses_remembered_max {
            self.table.retain(|_, (_, began)| began.saturating_add(window) > now);
            // All of them in one window: whoever came first is forgotten.
            if self.table.len() >= config.limits.addresses_remembered_max {
                let oldest = self.table.iter().min_by_key(|(_, (_, began))| *began).map(|(address, _)| *address);
                oldest.map(|address| self.table.remove(&address));
            }
        }
        let (count, began) = self.table.entry(address).or_insert((0, now));
        if began.saturating_add(window) <= now {
            (*count, *began) = (0, now);
        }
        if *count >= most {
            return false;
        }
        *count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_register_so_many_in_a_window() {
        let mut config = Config::for_host("localhost");
        config.registration_rate.accounts = Some(2);
        config.registration_rate.seconds = 10;
        let address = IpAddr::from([192, 0, 2, 1]);
        let at = |seconds: u64| Now { unix_millis: 0, monotonic_millis: seconds * 1000 };
        let mut rate = Rate::default();
        let answers: Vec<bool> = [0, 1, 2, 9, 10, 11, 12].map(|s| rate.admits(address, &config, at(s))).to_vec();
        assert_eq!(answers, [true, true, false, false, true, true, false]);
        assert!(rate.admits(IpAddr::from([127, 0, 0, 1]), &config, at(12)));
    }
}
