//! Which item of a list decides, found without trying one after the other: lists are long, and every stanza asks.
//!
//! XEP-0016 §2.2: the first item by order that is about somebody and about a kind of traffic. Of the items about one and
//! the same subject only the first about each kind of traffic ever gets its turn, so that the others are not kept here; an
//! answer costs a few searches by name, however a list is made.
//!
//! Serves [`super::List`]. Invariant: the answer is that of a plain walk through the items, and the roster is asked
//! exactly where a walk would ask it.

use super::{Item, Relation, SUBSCRIPTIONS, Subject, Traffic};
use crate::xmpp::{Jid, jid};

/// The place of the first item about each kind of traffic; [`NOWHERE`] without one.
type Firsts = [u32; Traffic::ALL.len()];

/// Behind all items.
const NOWHERE: u32 = u32::MAX;

/// The way to the items of one list.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// Places of items about JIDs, by their JIDs; those about the same one in their order.
    jids: Box<[u32]>,
    /// Places of items about groups, by their names; those about the same one in their order.
    groups: Box<[u32]>,
    /// By subscription, as in [`SUBSCRIPTIONS`].
    subscriptions: [Firsts; SUBSCRIPTIONS.len()],
    anybody: Firsts,
    /// Of all items that need the roster.
    roster: Firsts,
    names_resources: bool,
}

impl Index {
    /// Of items that stand in their order.
    pub(super) fn of(items: &[Item]) -> Index {
        let nothing = [NOWHERE; Traffic::ALL.len()];
        let (mut jids, mut groups) = (Vec::new(), Vec::new());
        let mut names_resources = false;
        let (mut subscriptions, mut anybody, mut roster) = ([nothing; SUBSCRIPTIONS.len()], nothing, nothing);
        for (item, place) in items.iter().zip(0..NOWHERE) {
            match &item.subject {
                Subject::Jid(jid) => {
                    names_resources |= jid.node().is_some() && jid.is_full();
                    jids.push(place);
                }
                Subject::Group(_) => groups.push(place),
                Subject::Subscription(name) => {
                    let same = SUBSCRIPTIONS.iter().zip(&mut subscriptions).find(|(other, _)| *other == name);
                    same.into_iter().for_each(|(_, firsts)| note(firsts, item, place));
                }
                Subject::Anybody => note(&mut anybody, item, place),
            }
            if item.needs_roster() {
                note(&mut roster, item, place);
            }
        }
        let (jids, groups) = (by_name(items, jids), by_name(items, groups));
        Index { jids, groups, subscriptions, anybody, roster, names_resources }
    }

    /// Does the roster matter?
    pub(super) fn reads_roster(&self) -> bool {
        self.roster.iter().any(|place| *place != NOWHERE)
    }

    /// Is there an item about one resource of an account?
    pub(super) fn names_resources(&self) -> bool {
        self.names_resources
    }

    /// The places of items about the resources of an account, one for each at least.
    pub(super) fn below<'a>(&'a self, items: &'a [Item], account: &Jid) -> impl Iterator<Item = usize> + use<'a> {
        let (mut prefix, mut from) = (String::new(), self.jids.len());
        if self.names_resources {
            prefix = format!("{account}/");
            from = self.jids.partition_point(|place| name(items, *place) < prefix.as_str());
        }
        let below = self.jids.iter().skip(from).take_while(move |place| name(items, **place).starts_with(&prefix));
        below.map(|place| *place as usize)
    }

    /// The place of the item that decides.
    pub(super) fn first<E>(
        &self,
        items: &[Item],
        who: &Jid,
        traffic: Traffic,
        relation: impl FnOnce() -> Result<Relation, E>,
    ) -> Result<Option<usize>, E> {
        // What `covers` accepts: the JID itself, its account, everything at its domain.
        let names = [who.as_str(), jid::bare_str(who), jid::domain(who)];
        let mut first = names.iter().map(|name| named(items, &self.jids, name, traffic)).fold(NOWHERE, u32::min);
        first = first.min(of(&self.anybody, traffic));
        if of(&self.roster, traffic) < first {
            let relation = relation()?;
            let groups = relation.groups.iter().map(|group| named(items, &self.groups, group, traffic));
            let same =
                SUBSCRIPTIONS.iter().zip(&self.subscriptions).filter(|(name, _)| **name == relation.subscription);
            first = groups.chain(same.map(|(_, firsts)| of(firsts, traffic))).fold(first, u32::min);
        }
        Ok((first != NOWHERE).then_some(first as usize))
    }
}

fn of(firsts: &Firsts, traffic: Traffic) -> u32 {
    let place = Traffic::ALL.iter().zip(firsts).find(|(other, _)| **other == traffic);
    place.map_or(NOWHERE, |(_, place)| *place)
}

fn note(firsts: &mut Firsts, item: &Item, place: u32) {
    for (traffic, first) in Traffic::ALL.into_iter().zip(firsts) {
        if item.is_about(traffic) {
            *first = place.min(*first);
        }
    }
}

/// What an item about a JID or a group is found by.
fn name(items: &[Item], place: u32) -> &str {
    match items.get(place as usize).map(|item| &item.subject) {
        Some(Subject::Jid(jid)) => jid.as_str(),
        Some(Subject::Group(group)) => group,
        _ => "",
    }
}

/// Sorts places by name, and leaves those out whose items never get their turn.
fn by_name(items: &[Item], mut places: Vec<u32>) -> Box<[u32]> {
    places.sort_by(|one, other| name(items, *one).cmp(name(items, *other)));
    let mut seen = ("", [NOWHERE; Traffic::ALL.len()]);
    places.retain(|place| {
        let Some(item) = items.get(*place as usize) else { return false };
        if seen.0 != name(items, *place) {
            seen = (name(items, *place), [NOWHERE; Traffic::ALL.len()]);
        }
        let before = seen.1;
        note(&mut seen.1, item, *place);
        seen.1 != before
    });
    places.into()
}

/// The place of the first item of this name.
fn named(items: &[Item], places: &[u32], wanted: &str, traffic: Traffic) -> u32 {
    let from = places.partition_point(|place| name(items, *place) < wanted);
    let same = places.iter().skip(from).take_while(|place| name(items, **place) == wanted);
    let mut about = same.filter(|place| items.get(**place as usize).is_some_and(|item| item.is_about(traffic)));
    about.next().copied().unwrap_or(NOWHERE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{List, covers};
    use super::*;

    /// The rule as XEP-0016 §2.2 says it, with whether the roster was asked.
    fn walk<'a>(items: &'a [Item], who: &Jid, traffic: Traffic, relation: &Relation) -> (Option<&'a Item>, bool) {
        let mut asks = false;
        let found = items.iter().filter(|item| item.is_about(traffic)).find(|item| match &item.subject {
            Subject::Anybody => true,
            Subject::Jid(jid) => covers(jid, who),
            Subject::Group(group) => {
                asks = true;
                relation.groups.contains(group)
            }
            Subject::Subscription(name) => {
                asks = true;
                relation.subscription == *name
            }
        });
        (found, asks)
    }

    /// Numbers that look like chance and are the same in each run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }

        fn of<'a>(&mut self, names: &[&'a str]) -> &'a str {
            names[usize::try_from(self.below(names.len() as u64)).unwrap()]
        }
    }

    const JIDS: [&str; 14] = [
        "a@b/c", "a@b/d", "a@b", "a@b.c", "ab", "b", "b/c", "b/d", "b.c", "c@b", "c@b/c", "a@sub.b", "sub.b", "a@b/c/d",
    ];
    const GROUPS: [&str; 5] = ["a@b", "b", "Friends", "Foes", ""];

    fn item(dice: &mut Dice, order: u32) -> Item {
        let subject = match dice.below(8) {
            0 => Subject::Anybody,
            1 | 2 => Subject::Group(dice.of(&GROUPS).to_owned()),
            3 => Subject::Subscription(dice.of(&SUBSCRIPTIONS)),
            _ => Subject::Jid(Jid::new(dice.of(&JIDS)).unwrap()),
        };
        let stanzas = if dice.below(3) == 0 { 0 } else { u8::try_from(dice.below(16)).unwrap() };
        Item { order, subject, allows: dice.below(2) == 0, stanzas }
    }

    #[test]
    fn the_index_answers_as_a_walk_through_the_items_does() {
        let mut dice = Dice(1);
        for round in 0..3_000 {
            // Short lists, in which much is not named at all, and long ones, in which most comes again.
            let length = u32::try_from(dice.below(if round % 2 == 0 { 6 } else { 60 })).unwrap();
            let mut items: Vec<Item> = (0..length).map(|place| item(&mut dice, place * 3)).collect();
            if dice.below(2) == 0 {
                items.reverse();
            }
            let list = List::new("l", items).unwrap();
            assert_eq!(list.reads_roster(), list.items().iter().any(|item| item.needs_roster()));
            let is_below = |jid: &Jid| jid.is_full() && jid.node().is_some() && jid::bare_str(jid) == "a@b";
            let subjects = list.items().iter().filter_map(|item| match &item.subject {
                Subject::Jid(jid) if is_below(jid) => Some(jid),
                _ => None,
            });
            let (below, account) = (subjects.collect::<BTreeSet<&Jid>>(), Jid::new("a@b").unwrap());
            assert_eq!(list.resources_of(&account).collect::<BTreeSet<&Jid>>(), below);
            assert!(list.names_resources() || below.is_empty());
            for name in JIDS {
                let who = Jid::new(name).unwrap();
                let groups = GROUPS.iter().filter(|_| dice.below(3) == 0).map(|group| (*group).to_owned()).collect();
                let relation = Relation { subscription: dice.of(&SUBSCRIPTIONS), groups };
                for traffic in Traffic::ALL {
                    let mut asked = false;
                    let decided = list.decide(&who, traffic, || {
                        asked = true;
                        Ok::<_, ()>(relation.clone())
                    });
                    let expected = walk(list.items(), &who, traffic, &relation);
                    assert_eq!((decided.unwrap(), asked), expected, "{who} {traffic:?} {relation:?} in {list:?}");
                }
            }
        }
    }

    #[test]
    fn an_answer_is_found_in_few_steps_however_a_list_is_made() {
        // All about one JID and one kind of traffic: none but the first is kept.
        let same = |order| Item { stanzas: Traffic::Iq.bit(), ..Item::block(order, Jid::new("a@b").unwrap()) };
        let list = List::new("l", (0..1_000).map(same).collect()).unwrap();
        assert_eq!(list.index.jids.len(), 1);
        let groups = |order| Item { subject: Subject::Group("g".into()), ..same(order) };
        let list = List::new("l", (0..1_000).map(groups).collect()).unwrap();
        assert_eq!(list.index.groups.len(), 1);
        // An item about everything first: nothing behind it counts.
        let all = |order| Item { stanzas: u8::try_from(order % 16).unwrap(), ..same(order) };
        let list = List::new("l", (0..1_000).map(all).collect()).unwrap();
        assert_eq!(list.index.jids.as_ref(), [0]);
    }
}
