//! Who may dial next: of all dials so many are under way, and of each sender's so many. The others stand in line, each
//! sender in its own, and the senders take turns.

use std::collections::{HashMap, VecDeque};

use crate::config::Limits;
use crate::router::Sender;
use crate::stream::dialback::Pair;

/// The line.
#[derive(Default)]
pub(super) struct Line {
    under_way: HashMap<Sender, usize>,
    count: usize,
    waiting: HashMap<Sender, VecDeque<Pair>>,
    /// Those who have somebody waiting, in the order of their turns.
    turns: VecDeque<Sender>,
    /// Was a place freed, since nobody could begin?
    is_worth_a_look: bool,
}

impl Line {
    /// May another dial of this sender begin? One that has none under way is let in even when all places are taken.
    pub(super) fn has_place(&self, limits: &Limits, sender: &Sender) -> bool {
        let own = self.under_way.get(sender).copied().unwrap_or(0);
        let most = limits.dials_max;
        match own {
            0 => self.count < most.saturating_mul(2),
            _ => own < limits.dials_per_sender_max && self.count < most,
        }
    }

    /// A dial of this sender begins.
    pub(super) fn begin(&mut self, sender: &Sender) {
        let own = self.under_way.entry(sender.clone()).or_default();
        *own = own.saturating_add(1);
        self.count = self.count.saturating_add(1);
    }

    /// It is over.
    pub(super) fn end(&mut self, sender: &Sender) {
        let Some(own) = self.under_way.get_mut(sender) else { return };
        *own = own.saturating_sub(1);
        if *own == 0 {
            self.under_way.remove(sender);
        }
        self.count = self.count.saturating_sub(1);
        self.is_worth_a_look = true;
    }

    /// A dial of this sender has to wait for its turn.
    pub(super) fn wait(&mut self, sender: &Sender, pair: Pair) {
        let own = self.waiting.entry(sender.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back(sender.clone());
        }
        own.push_back(pair);
    }

    /// Whose turn it is, if anybody may dial.
    pub(super) fn next(&mut self, limits: &Limits) -> Option<(Sender, Pair)> {
        let turns = if self.is_worth_a_look { self.turns.len() } else { 0 };
        for _ in 0..turns {
            let sender = self.turns.pop_front()?;
            if !self.has_place(limits, &sender) {
                self.turns.push_back(sender);
                continue;
            }
            let own = self.waiting.get_mut(&sender)?;
            let pair = own.pop_front();
            match own.is_empty() {
                true => drop(self.waiting.remove(&sender)),
                false => self.turns.push_back(sender.clone()),
            }
            if let Some(pair) = pair {
                return Some((sender, pair));
            }
        }
        self.is_worth_a_look = false;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xmpp::BareJid;

    #[test]
    fn senders_take_turns_and_nobody_takes_all_places() {
        let limits = Limits { dials_max: 3, dials_per_sender_max: 2, ..Limits::default() };
        let of = |name: &str| Sender::Local(BareJid::new(&format!("{name}@h")).unwrap());
        let pair = |to: &str| Pair { from: "h".to_owned(), to: to.to_owned() };
        let mut line = Line::default();
        // Sender, does the dial begin at once?
        for (who, to, begins) in [
            ("a", "1", true),
            ("a", "2", true),
            ("a", "3", false),
            ("a", "4", false),
            ("b", "5", true),
            ("b", "6", false),
            // All places are taken, but not by them.
            ("c", "7", true),
            ("d", "8", true),
            ("e", "9", true),
            ("f", "10", false),
        ] {
            assert_eq!(line.has_place(&limits, &of(who)), begins, "{who} {to}");
            match begins {
                true => line.begin(&of(who)),
                false => line.wait(&of(who), pair(to)),
            }
        }
        assert_eq!(line.next(&limits), None);
        for who in ["c", "d", "e"] {
            line.end(&of(who));
        }
        let mut turns = Vec::new();
        line.end(&of("a"));
        while let Some((who, pair)) = line.next(&limits) {
            line.begin(&who);
            turns.push(pair.to);
            if turns.len() < 4 {
                line.end(&of("a"));
            }
        }
        assert_eq!(turns, ["3", "6", "10", "4"]);
    }
}
