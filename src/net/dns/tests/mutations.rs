//! Answers spoiled at random, from a seed: no panic, and nothing believed that is not in bounds.

use super::super::Bounds;
use super::super::find::Resolver;
use super::super::lookups::Action;
use super::super::message::{Kind, Outcome, Reading, Sent};
use super::super::settings::Settings;
use super::{Answer, Dice, NXDOMAIN, Rr, TC, asked, at, question};

fn answer(query: &[u8], dice: &mut Dice) -> Vec<u8> {
    let question = asked(query);
    let name = question.name.as_str();
    let mut answer = Answer::to(query);
    match dice.below(8) {
        0 => answer = answer.nothing(NXDOMAIN, &[Rr::soa("montague.net", 60, 60)]),
        1 => answer = answer.nothing(0, &[Rr::soa("net", 60, 60)]),
        2 => answer = answer.nothing(dice.below(16) as u16, &[]),
        3 => answer.flags |= TC,
        _ if question.kind == Kind::Srv => {
            for port in 0..dice.below(20) as u16 {
                let target = ["a.montague.net", "b.montague.net", "", "montague.net"][dice.below(4)];
                answer = answer.with(&[Rr::srv(name, 60, dice.below(3) as u16, port, port, target)]);
            }
        }
        4 => answer = answer.with(&[Rr::cname(name, 60, "c.montague.net"), Rr::a("c.montague.net", 60, "192.0.2.3")]),
        _ => {
            answer = answer.with(&[Rr::a(name, 60, if question.kind == Kind::A { "192.0.2.1" } else { "2001:db8::1" })])
        }
    }
    // Names of records that point back to the question, as real servers send them.
    if dice.below(2) == 0 {
        for rr in &mut answer.answers {
            rr.owner = vec![0xc0, 12];
        }
    }
    let mut bytes = answer.bytes();
    for _ in 0..dice.below(4) {
        let place = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes[place] = dice.next() as u8,
            1 => bytes[place] ^= 1 << dice.below(8),
            2 => bytes.truncate(place.max(1)),
            3 => bytes[place] = 0xc0,
            _ => bytes.insert(place, dice.next() as u8),
        }
    }
    bytes
}

#[test]
fn spoiled_answers() {
    let mut dice = Dice::new(20_270_301);
    let mut read = 0;
    for round in 0..20_000u32 {
        let kind = [Kind::A, Kind::Aaaa, Kind::Srv][dice.below(3)];
        let sent =
            Sent::new(question("montague.net", kind), round as u16, Some(&dice.next().to_le_bytes()), true).unwrap();
        match sent.read(&answer(&sent.bytes, &mut dice)) {
            Reading::Answer(Outcome::Addresses(all), _) => {
                assert!(all.len() <= 32 && all.iter().all(|address| address.is_ipv4() == (kind == Kind::A)));
                read += 1;
            }
            Reading::Answer(Outcome::Services(all), _) => assert!(all.len() <= 32 && kind == Kind::Srv),
            _ => {}
        }
    }
    assert!(read > 500, "the test spoils too much: {read}");
}

/// The whole resolver with such servers, lost datagrams and time passing: each search ends, once, in bounded time, and
/// nothing is left behind.
#[test]
fn a_hostile_dns() {
    for seed in 0..100 {
        let mut dice = Dice::new(seed);
        let settings = Settings::read("nameserver 192.0.2.53\nnameserver 192.0.2.54", "", &|_| None);
        let bounds = Bounds { exchanges: 4, lookups: 40, cache_entries: 10, ..Bounds::new(60) };
        let mut resolver = Resolver::new(settings, bounds);
        let (mut millis, mut open, mut found) = (0, Vec::new(), Vec::new());
        for ticket in 0..20 {
            let domain = format!("{}montague.net", ["", "a.", "b.", "other.", "x."][dice.below(5)]);
            resolver.find(at(millis), &mut dice, ticket, &domain, &[]);
        }
        loop {
            for action in resolver.take_actions() {
                match action {
                    Action::Ask { exchange, bytes, .. } => open.push((exchange, bytes)),
                    Action::Drop { exchange } => open.retain(|(other, _)| *other != exchange),
                }
            }
            assert!(open.len() <= bounds.exchanges, "seed {seed}");
            found.extend(resolver.take_found().into_iter().map(|(ticket, _)| ticket));
            let Some(deadline) = resolver.next_deadline() else { break };
            let now = at(millis);
            match dice.below(10) {
                _ if open.is_empty() => millis = deadline.max(millis),
                0 => millis = deadline.max(millis),
                1 => resolver.failed(now, &mut dice, open[0].0, "refuses questions"),
                _ => {
                    let (exchange, query) = open[dice.below(open.len())].clone();
                    let bytes = answer(&query, &mut dice);
                    resolver.received(now, &mut dice, exchange, &bytes);
                }
            }
            resolver.timeout(at(millis), &mut dice);
        }
        found.sort_unstable();
        assert_eq!(found, (0..20).collect::<Vec<_>>(), "seed {seed}");
        assert!(open.is_empty() && millis < 60_000, "seed {seed}: {millis}");
    }
}
