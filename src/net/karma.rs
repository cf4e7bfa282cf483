//! jabberd 1.4's `<karma>`: how much one connection may send.
//!
//! A connection has points; each lets a hundred bytes in for two seconds. Who sends more loses points, and who has none
//! left is not read until enough came back: what it sends meanwhile waits in TCP.

use crate::config::Karma;

/// The beat at which points come back, whatever jabber.xml says: jabberd 1.4 knew no other.
const BEAT_MILLIS: u64 = 2_000;
const BYTES_PER_POINT: u64 = 100;
/// jabberd 1.4 read no more at once, however many points there were.
const READ_BYTES_MAX: u64 = 8_191;
/// After so many quiet beats nothing changes any more: enough for any sane rules, and a bound for the others.
const BEATS_MAX: u64 = 1_000;

/// The points of one connection.
#[derive(Debug)]
pub(super) struct Purse {
    rules: Karma,
    points: i32,
    /// Bytes that were read and are not forgiven yet.
    meter: u64,
    /// The last beat.
    beat_millis: u64,
    /// Does the connection stand in the queue of those that wait for points?
    pub(super) waits: bool,
}

impl Purse {
    pub(super) fn new(rules: Karma, now_millis: u64) -> Purse {
        Purse { rules, points: rules.init.max(1), meter: 0, beat_millis: now_millis, waits: false }
    }

    /// How many bytes may be read now; none while the connection is punished.
    pub(super) fn allowance(&mut self, now_millis: u64) -> usize {
        let beats = now_millis.saturating_sub(self.beat_millis) / BEAT_MILLIS;
        self.beat_millis = self.beat_millis.saturating_add(beats.saturating_mul(BEAT_MILLIS));
        for _ in 0..beats.min(BEATS_MAX) {
            self.beat();
        }
        usize::try_from(self.budget().min(READ_BYTES_MAX)).unwrap_or(usize::MAX)
    }

    /// Bytes were read. True: they were too many, and the punishment begins.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        self.meter = self.meter.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.meter > self.budget() {
            self.points = self.points.saturating_sub(self.rules.dec);
            if self.points <= 0 {
                // At least one beat long, whatever the rules say.
                self.points = self.rules.penalty.min(-1);
                return true;
            }
        }
        false
    }

    /// When the next points come.
    pub(super) fn next_beat_millis(&self) -> u64 {
        self.beat_millis.saturating_add(BEAT_MILLIS)
    }

    fn budget(&self) -> u64 {
        u64::try_from(self.points).unwrap_or(0).saturating_mul(BYTES_PER_POINT)
    }

    fn beat(&mut self) {
        // Without any increase a punishment would have no end.
        let inc = self.rules.inc.max(1);
        let was_punished = self.points < 0;
        self.points = self.points.saturating_add(inc).min(self.rules.max.max(1));
        if was_punished && self.points >= 0 {
            self.points = self.rules.restore.max(1);
            if self.rules.reset_meter {
                self.meter = 0;
            }
        }
        self.meter = self.meter.saturating_sub(self.budget());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Karma = Karma { init: 10, max: 10, inc: 1, dec: 1, penalty: -6, restore: 10, reset_meter: true };

    #[test]
    fn who_keeps_to_the_budget_is_never_stopped() {
        let mut purse = Purse::new(RULES, 0);
        for second in 0..600 {
            assert!(purse.allowance(second * 1000) > 0, "{second}");
            assert!(!purse.spend(400), "{second}");
        }
    }

    #[test]
    fn a_flood_is_stopped_and_let_in_again() {
        let mut purse = Purse::new(RULES, 0);
        let mut read = 0;
        while purse.allowance(0) > 0 {
            let bytes = purse.allowance(0);
            read += bytes;
            purse.spend(bytes);
        }
        // 1000 bytes for ten points, then a point less with each read: 1000 + 1000 + 900 + … + 100.
        assert_eq!(read, 6_500);
        // From -6 by one point each two seconds.
        assert_eq!(purse.next_beat_millis(), 2_000);
        assert_eq!(purse.allowance(11_999), 0);
        assert_eq!(purse.allowance(12_000), 1_000);
    }

    #[test]
    fn strange_rules_stop_nobody_for_good() {
        for penalty in [-5, 0, 5] {
            let rules = Karma { init: 0, max: 0, inc: 0, dec: 5, penalty, restore: 0, reset_meter: false };
            let mut purse = Purse::new(rules, 0);
            assert_eq!(purse.allowance(0), 100);
            assert!(purse.spend(200));
            assert_eq!(purse.allowance(0), 0);
            assert_eq!(purse.allowance(u64::MAX), 100);
        }
    }
}
