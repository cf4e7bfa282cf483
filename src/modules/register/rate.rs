//! How often an address may do something in a time: register an account, show a wrong invitation.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::customer;
use crate::xmpp::Now;

/// What becomes of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    /// The first in its window that is over the bound: worth a line in the log.
    FirstRefused,
    Refused,
}

/// A table of addresses, bounded by `addresses-remembered-max`.
#[derive(Default)]
pub(super) struct Rate {
    /// How many in the present window, and when it began on the monotonic clock.
    table: HashMap<IpAddr, (u32, u64)>,
}

impl Rate {
    /// May there be one more of this address now, of so many in so many seconds? Counts it.
    pub(super) fn admits(
        &mut self,
        address: IpAddr,
        (most, seconds): (u32, u64),
        remembered_max: usize,
        now: Now,
    ) -> Admission {
        let window = seconds.saturating_mul(1000);
        let now = now.monotonic_millis;
        if self.table.len() >= remembered_max {
            self.table.retain(|_, (_, began)| began.saturating_add(window) > now);
            // All of them in one window: whoever came first is forgotten.
            if self.table.len() >= remembered_max {
                let oldest = self.table.iter().min_by_key(|(_, (_, began))| *began).map(|(address, _)| *address);
                oldest.map(|address| self.table.remove(&address));
            }
        }
        let (count, began) = self.table.entry(customer(address)).or_insert((0, now));
        if began.saturating_add(window) <= now {
            (*count, *began) = (0, now);
        }
        match (*count).cmp(&most) {
            Ordering::Less => *count += 1,
            // The one that is over the bound is counted, and no more.
            Ordering::Equal => {
                *count = most.saturating_add(1);
                return Admission::FirstRefused;
            }
            Ordering::Greater => return Admission::Refused,
        }
        Admission::Admitted
    }

    /// Would one more be too many? Counts nothing.
    pub(super) fn is_over(&self, address: IpAddr, (most, seconds): (u32, u64), now: Now) -> bool {
        self.table.get(&customer(address)).is_some_and(|(count, began)| {
            began.saturating_add(seconds.saturating_mul(1000)) > now.monotonic_millis && *count >= most
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_do_so_much_in_a_window() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let at = |seconds: u64| Now { unix_millis: 0, monotonic_millis: seconds * 1000 };
        let mut rate = Rate::default();
        let answers = [0, 1, 2, 9, 10, 11, 12].map(|s| rate.admits(address, (2, 10), 100, at(s)));
        let (yes, first, no) = (Admission::Admitted, Admission::FirstRefused, Admission::Refused);
        assert_eq!(answers, [yes, yes, first, no, yes, yes, first]);
        assert!(rate.is_over(address, (2, 10), at(19)) && !rate.is_over(address, (2, 10), at(20)));
        assert_eq!(rate.admits(IpAddr::from([127, 0, 0, 1]), (2, 10), 100, at(12)), yes);
    }
}
