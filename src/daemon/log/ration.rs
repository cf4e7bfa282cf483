//! How many lines others can have written in a minute, and what is said of those that are left out.
//!
//! A line that somebody outside can bring about carries a mark, a key of the `log` crate: `strangers = "kind of line"`, and
//! with it `by:%`, the address or account that is behind it. The mark tells who can bring it about, and so how many lines of
//! that kind a minute may have; the bounds are in [`Bounds::of`].
//!
//! Invariant: whoever does what at whatever speed fills no disk. What was left out is told once when the minute is over, as
//! a number and with whoever had most of it. Debug lines have no ration: who asks for them wants all, for a while.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::customer;

const MINUTE_MILLIS: u64 = 60_000;
/// Addresses and accounts that are told apart for one kind of line; those beyond have no share of their own.
const SHARES_MAX: usize = 10_000;
/// Bytes by which they are told apart.
const NAME_BYTES: usize = 200;

/// Lines of one kind in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// All of them.
    lines: u32,
    /// Those of one address or account.
    each: u32,
}

impl Bounds {
    /// The marks of lines, and what they allow.
    pub(super) const MARKS: [(&'static str, Bounds); 4] = [
        // Whoever connects, and what a user may do as often as he likes.
        ("strangers", Bounds { lines: 60, each: 20 }),
        // What port scanners bring about all day, and what is worth a line when a person does it.
        ("scanners", Bounds { lines: 20, each: 5 }),
        // Other servers that proved who they are: many come at once after a restart.
        ("servers", Bounds { lines: 600, each: 20 }),
        // Who is logged in: as many as there are accounts.
        ("users", Bounds { lines: u32::MAX, each: 60 }),
    ];

    /// Of record.log, by which others act (fail2ban): an attack from many addresses shows each of them.
    const RECORDS: Bounds = Bounds { lines: 600, each: 60 };

    /// The bounds of a mark, in record.log or elsewhere.
    pub(super) fn of(marked: Bounds, is_record: bool) -> Bounds {
        match is_record {
            true => Bounds { lines: marked.lines.max(Self::RECORDS.lines), each: marked.each.max(Self::RECORDS.each) },
            false => marked,
        }
    }
}

/// What one address or account had of a minute.
#[derive(Clone, Copy, Default)]
struct Share {
    lines: u32,
    left_out: u64,
}

/// The present minute of one kind of line.
struct Minute {
    until_millis: u64,
    bounds: Bounds,
    lines: u32,
    left_out: u64,
    shares: HashMap<String, Share>,
    /// The type of the lines, for the one that counts them.
    kind: &'static str,
}

/// The number of lines that a minute had too many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// The type of the lines: the number is told as one.
    pub kind: &'static str,
    /// What to write.
    pub text: String,
}

/// All kinds of lines with a ration.
#[derive(Default)]
pub(super) struct Rations {
    minutes: HashMap<String, Minute>,
}

impl Rations {
    /// May one more line of this kind be written?
    pub(super) fn admits(
        &mut self,
        of: &str,
        by: Option<&str>,
        kind: &'static str,
        bounds: Bounds,
        millis: u64,
    ) -> bool {
        if !self.minutes.contains_key(of) {
            let until_millis = millis.saturating_add(MINUTE_MILLIS);
            let minute = Minute { until_millis, bounds, lines: 0, left_out: 0, shares: HashMap::new(), kind };
            self.minutes.insert(of.to_owned(), minute);
        }
        self.minutes.get_mut(of).is_none_or(|minute| minute.admits(by.map(name).as_deref()))
    }

    /// Ends the minutes that are over, or all; says what they had too many.
    pub(super) fn settle(&mut self, millis: u64, all: bool) -> Vec<LeftOut> {
        let mut told = Vec::new();
        self.minutes.retain(|of, minute| {
            let is_over = all || minute.until_millis <= millis;
            if is_over && minute.left_out > 0 {
                told.push(LeftOut { kind: minute.kind, text: minute.count(of) });
            }
            !is_over
        });
        told.sort_by(|one, other| one.text.cmp(&other.text));
        told
    }

    /// How long until there is something to tell.
    pub(super) fn due_in_millis(&self, millis: u64) -> Option<u64> {
        let due = self.minutes.values().filter(|minute| minute.left_out > 0).map(|minute| minute.until_millis).min();
        due.map(|due| due.saturating_sub(millis))
    }
}

impl Minute {
    fn admits(&mut self, by: Option<&str>) -> bool {
        let mut nobody = Share::default();
        let share = match by {
            Some(by) if self.shares.len() < SHARES_MAX || self.shares.contains_key(by) => {
                self.shares.entry(by.to_owned()).or_default()
            }
            _ => &mut nobody,
        };
        if self.lines < self.bounds.lines && share.lines < self.bounds.each {
            self.lines = self.lines.saturating_add(1);
            share.lines = share.lines.saturating_add(1);
            return true;
        }
        self.left_out = self.left_out.saturating_add(1);
        share.left_out = share.left_out.saturating_add(1);
        false
    }

    fn count(&self, of: &str) -> String {
        let Minute { left_out, bounds: Bounds { lines, each }, .. } = self;
        let most = self.shares.iter().filter(|(_, share)| share.left_out > 0);
        let most = most.max_by(|(one, a), (other, b)| a.left_out.cmp(&b.left_out).then(other.cmp(one)));
        let mut text = format!("{left_out} more lines of this minute are left out: {of}");
        if let Some((by, share)) = most {
            text.push_str(&format!(", {} of them from {by}", share.left_out));
        }
        text.push_str(&match *lines {
            u32::MAX => format!("; {each} lines a minute are told of one"),
            lines if self.shares.is_empty() => format!("; {lines} lines a minute are told"),
            lines => format!("; {lines} lines a minute are told, {each} of one"),
        });
        text
    }
}

/// Under which name somebody is counted: who has one address of a network may have them all.
fn name(by: &str) -> String {
    match by.parse::<IpAddr>() {
        Ok(address) => customer(address).to_string(),
        Err(_) => by.char_indices().take_while(|(at, c)| at + c.len_utf8() <= NAME_BYTES).map(|(_, c)| c).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { lines: 5, each: 2 };

    fn admitted(rations: &mut Rations, by: &str, millis: u64, tries: usize) -> usize {
        (0..tries).filter(|_| rations.admits("failed logins", Some(by), "notice", BOUNDS, millis)).count()
    }

    #[test]
    fn strangers_filled_the_disk_with_lines_at_full_speed() {
        let mut rations = Rations::default();
        assert_eq!(admitted(&mut rations, "192.0.2.1", 1_000, 80_000), 2);
        // One who floods does not hide the others, but many may not write more than all may.
        assert_eq!(admitted(&mut rations, "192.0.2.2", 2_000, 9), 2);
        assert_eq!(admitted(&mut rations, "192.0.2.3", 3_000, 9), 1);
        assert!(rations.settle(60_999, false).is_empty());
        assert_eq!(rations.due_in_millis(60_999), Some(1));
        let text = "80013 more lines of this minute are left out: failed logins, 79998 of them from 192.0.2.1; \
                    5 lines a minute are told, 2 of one";
        assert_eq!(rations.settle(61_000, false), [LeftOut { kind: "notice", text: text.to_owned() }]);
        // It is told once, and the next minute is another.
        assert_eq!((rations.settle(61_000, true), rations.due_in_millis(61_000)), (vec![], None));
        assert_eq!(admitted(&mut rations, "192.0.2.1", 61_000, 1), 1);
    }

    #[test]
    fn who_has_a_network_is_one() {
        let mut rations = Rations::default();
        assert_eq!(admitted(&mut rations, "2001:db8::1", 0, 2), 2);
        assert_eq!(admitted(&mut rations, "2001:db8::2", 0, 2), 0);
        assert_eq!(admitted(&mut rations, "2001:db8:0:1::1", 0, 2), 2);
        assert_eq!(admitted(&mut rations, "::ffff:192.0.2.1", 0, 1), 1);
    }

    #[test]
    fn other_kinds_of_lines_have_their_own_minute() {
        let mut rations = Rations::default();
        assert_eq!(admitted(&mut rations, "192.0.2.1", 0, 9), 2);
        assert!(rations.admits("bounces", None, "notice", BOUNDS, 30_000));
        assert_eq!(rations.settle(60_000, false).len(), 1);
        assert_eq!((0..9).filter(|_| rations.admits("bounces", None, "warn", BOUNDS, 60_000)).count(), 4);
        let told = rations.settle(90_000, false);
        assert_eq!(told[0].text, "5 more lines of this minute are left out: bounces; 5 lines a minute are told");
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        let mut rations = Rations::default();
        let users = Bounds { lines: u32::MAX, each: 1 };
        for number in 0..SHARES_MAX + 10 {
            assert!(rations.admits("sessions", Some(&format!("u{number}@h.test")), "notice", users, 0));
        }
        assert_eq!(rations.minutes["sessions"].shares.len(), SHARES_MAX);
        let long = "é".repeat(NAME_BYTES);
        assert!(name(&long).len() <= NAME_BYTES && name(&format!("x{long}")).len() <= NAME_BYTES);
    }

    #[test]
    fn record_log_has_more_of_them() {
        for (mark, bounds) in Bounds::MARKS {
            let record = Bounds::of(bounds, true);
            assert!(record.lines >= 600 && record.each >= 60, "{mark}");
            assert_eq!(Bounds::of(bounds, false), bounds);
        }
    }
}
