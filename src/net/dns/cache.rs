//! What DNS said, for as long as it holds.

use std::collections::{BTreeMap, HashMap};

use super::lookups::Verdict;
use super::message::Question;

/// Verdicts by question; a bounded number of them.
#[derive(Debug)]
pub struct Cache {
    entries_max: usize,
    entries: HashMap<Question, Entry>,
    /// The same in the order in which they end; the serial number keeps apart those that end together.
    ends: BTreeMap<(u64, u64), Question>,
    serial: u64,
}

#[derive(Debug)]
struct Entry {
    end: (u64, u64),
    verdict: Verdict,
}

impl Cache {
    /// An empty one.
    pub fn new(entries_max: usize) -> Cache {
        Cache { entries_max, entries: HashMap::new(), ends: BTreeMap::new(), serial: 0 }
    }

    /// What is known; times are monotonic milliseconds.
    pub fn find(&self, question: &Question, now_millis: u64) -> Option<&Verdict> {
        self.entries.get(question).filter(|entry| entry.end.0 > now_millis).map(|entry| &entry.verdict)
    }

    /// Keeps a verdict until a moment. When it is full, what ends first goes.
    pub fn keep(&mut self, question: Question, verdict: Verdict, until_millis: u64, now_millis: u64) {
        self.serial += 1;
        let end = (until_millis, self.serial);
        if let Some(old) = self.entries.insert(question.clone(), Entry { end, verdict }) {
            self.ends.remove(&old.end);
        }
        self.ends.insert(end, question);
        while let Some(first) = self.ends.first_entry() {
            if first.key().0 > now_millis && self.entries.len() <= self.entries_max {
                break;
            }
            self.entries.remove(&first.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Kind, Outcome};
    use super::super::name::Name;
    use super::*;

    fn question(number: usize) -> Question {
        Question { name: Name::new(&format!("{number}.example")).unwrap(), kind: Kind::A }
    }

    #[test]
    fn what_ends_first_goes_first() {
        let mut cache = Cache::new(3);
        for (number, until) in [(1, 400), (2, 200), (3, 300), (4, 500)] {
            cache.keep(question(number), Ok(Outcome::NoData), until, 0);
        }
        let known: Vec<usize> = (1..=4).filter(|number| cache.find(&question(*number), 0).is_some()).collect();
        assert_eq!(known, [1, 3, 4]);
        // Replaced, not doubled.
        cache.keep(question(1), Ok(Outcome::NoDomain), 900, 0);
        assert_eq!((cache.entries.len(), cache.ends.len()), (3, 3));
        assert_eq!(cache.find(&question(1), 899), Some(&Ok(Outcome::NoDomain)));
        assert_eq!(cache.find(&question(1), 900), None);
        cache.keep(question(5), Ok(Outcome::NoData), 2000, 1000);
        assert_eq!((cache.entries.len(), cache.ends.len()), (1, 1));
    }
}
