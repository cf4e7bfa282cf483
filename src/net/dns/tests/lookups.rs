//! Questions, servers that answer, lie, stay silent, and a clock moved by hand.

use std::net::SocketAddr;

use super::super::Bounds;
use super::super::lookups::{Action, Lookups, Transport, Trouble, Verdict};
use super::super::message::{Kind, Outcome, Question};
use super::super::settings::Settings;
use super::{Answer, Dice, NXDOMAIN, Rr, TC, asked, at, question};

/// Look-ups with servers that the test plays.
struct Play {
    lookups: Lookups,
    dice: Dice,
    millis: u64,
    bounds: Bounds,
}

/// A question as a server got it.
#[derive(Debug)]
struct Got {
    exchange: u64,
    server: SocketAddr,
    transport: Transport,
    bytes: Vec<u8>,
}

impl Play {
    fn new(resolv_conf: &str) -> Play {
        Play::bounded(resolv_conf, Bounds::new(3600))
    }

    fn bounded(resolv_conf: &str, bounds: Bounds) -> Play {
        let settings = Settings::read(resolv_conf, "192.0.2.77 pinned.example", &|_| None);
        Play { lookups: Lookups::new(settings, bounds), dice: Dice::new(1), millis: 1000, bounds }
    }

    fn ask(&mut self, name: &str) -> Option<Verdict> {
        self.lookups.ask(at(self.millis), &mut self.dice, &question(name, Kind::A))
    }

    /// The one question that is under way.
    fn got(&mut self) -> Got {
        let mut all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn all(&mut self) -> Vec<Got> {
        let asks = self.lookups.take_actions().into_iter().filter_map(|action| match action {
            Action::Ask { exchange, server, transport, bytes } => Some(Got { exchange, server, transport, bytes }),
            Action::Drop { .. } => None,
        });
        asks.collect()
    }

    fn answer(&mut self, got: &Got, answer: &Answer) {
        self.lookups.received(at(self.millis), &mut self.dice, got.exchange, &answer.bytes());
    }

    /// Lets time pass, deadline by deadline.
    fn wait(&mut self, millis: u64) {
        let end = self.millis + millis;
        while let Some(deadline) = self.lookups.next_deadline().filter(|deadline| *deadline <= end) {
            self.millis = self.millis.max(deadline);
            self.lookups.timeout(at(self.millis), &mut self.dice);
        }
        self.millis = end;
    }

    fn done(&mut self) -> Verdict {
        let mut done = self.lookups.take_done();
        assert_eq!(done.len(), 1);
        done.remove(0).1
    }

    fn failure(&mut self) -> String {
        self.done().unwrap_err().to_string()
    }
}

fn good(got: &Got) -> Answer {
    Answer::to(&got.bytes).with(&[Rr::a(asked(&got.bytes).name.as_str(), 300, "192.0.2.1")])
}

fn one() -> Verdict {
    Ok(Outcome::Addresses(vec!["192.0.2.1".parse().unwrap()]))
}

#[test]
fn an_answer_is_kept_for_its_time() {
    let mut play = Play::new("nameserver 192.0.2.53");
    assert_eq!(play.ask("montague.net"), None);
    let got = play.got();
    assert_eq!((got.server.to_string().as_str(), got.transport), ("192.0.2.53:53", Transport::Udp));
    play.answer(&got, &good(&got));
    assert_eq!(play.done(), one());
    assert_eq!(play.lookups.take_actions(), [Action::Drop { exchange: got.exchange }]);
    assert_eq!(play.lookups.next_deadline(), None);
    play.wait(299_999);
    assert_eq!(play.ask("Montague.NET"), Some(one()));
    play.wait(1);
    assert_eq!(play.ask("montague.net"), None);
    let again = play.got();
    assert_ne!(again.bytes[..2], got.bytes[..2], "ids are drawn anew");
    assert_ne!(again.bytes[12..], got.bytes[12..], "and so is the spelling");
}

#[test]
fn times_are_bounded() {
    let nothing =
        |rcode: u16, ttl: u32| move |got: &Got| Answer::to(&got.bytes).nothing(rcode, &[Rr::soa("net", ttl, ttl)]);
    let there = |ttl: u32| move |got: &Got| Answer::to(&got.bytes).with(&[Rr::a("montague.net", ttl, "192.0.2.1")]);
    type Row = (Box<dyn Fn(&Got) -> Answer>, u64, u64);
    let rows: Vec<Row> = vec![
        (Box::new(there(0)), 3600, 5000),
        (Box::new(there(60)), 3600, 60_000),
        (Box::new(there(0x7fff_ffff)), 3600, 3_600_000),
        (Box::new(there(0x7fff_ffff)), u64::MAX, 604_800_000),
        (Box::new(there(60)), 2, 2000),
        (Box::new(nothing(NXDOMAIN, 100_000)), 3600, 300_000),
        (Box::new(nothing(0, 60)), 3600, 60_000),
        (Box::new(|got: &Got| Answer::to(&got.bytes).nothing(2, &[])), 3600, 30_000),
    ];
    for (answer, cache_seconds, kept) in rows {
        let mut play = Play::bounded("nameserver 192.0.2.53", Bounds::new(cache_seconds));
        play.ask("montague.net");
        let got = play.got();
        play.answer(&got, &answer(&got));
        let verdict = play.done();
        play.wait(kept - 1);
        assert_eq!(play.ask("montague.net"), Some(verdict));
        play.wait(1);
        assert_eq!(play.ask("montague.net"), None, "{cache_seconds} {kept}");
    }
    let mut play = Play::bounded("nameserver 192.0.2.53", Bounds::new(0));
    play.ask("montague.net");
    let got = play.got();
    play.answer(&got, &good(&got));
    assert_eq!(play.ask("montague.net"), None, "with cachetimeout='0' nothing is kept");
}

#[test]
fn equal_questions_are_one() {
    let mut play = Play::new("nameserver 192.0.2.53");
    for _ in 0..100 {
        assert_eq!(play.ask("montague.net"), None);
    }
    let got = play.got();
    play.answer(&got, &good(&got));
    assert_eq!(play.done(), one());
    assert_eq!(play.ask("pinned.example").unwrap().unwrap(), Outcome::Addresses(vec!["192.0.2.77".parse().unwrap()]));
}

#[test]
fn forged_datagrams_are_passed_over_and_many_lead_to_tcp() {
    let mut play = Play::new("nameserver 192.0.2.53");
    play.ask("montague.net");
    let got = play.got();
    let mut forged = Answer::to(&got.bytes).with(&[Rr::a("montague.net", 300, "192.0.2.66")]);
    forged.id ^= 0x0100;
    for _ in 1..play.bounds.wrong_datagrams {
        play.answer(&got, &forged);
        assert!(play.lookups.take_actions().is_empty() && play.lookups.take_done().is_empty());
    }
    play.answer(&got, &forged);
    let tcp = play.got();
    assert_eq!((tcp.server, tcp.transport), (got.server, Transport::Tcp));
    play.answer(&got, &good(&got));
    assert!(play.lookups.take_done().is_empty(), "the first exchange is over");
    play.answer(&tcp, &good(&tcp));
    assert_eq!(play.done(), one());
}

#[test]
fn what_does_not_fit_is_asked_for_over_tcp() {
    let mut play = Play::new("nameserver 192.0.2.53\nnameserver 192.0.2.54");
    play.ask("montague.net");
    let got = play.got();
    let mut cut = good(&got);
    cut.flags |= TC;
    play.answer(&got, &cut);
    let tcp = play.got();
    assert_eq!((tcp.server, tcp.transport), (got.server, Transport::Tcp));
    // TCP is refused: the other server.
    play.lookups.failed(at(play.millis), &mut play.dice, tcp.exchange, "refuses questions");
    let other = play.got();
    assert_eq!((other.server.to_string().as_str(), other.transport), ("192.0.2.54:53", Transport::Udp));
    // Truncated over TCP makes no sense.
    let mut cut = good(&other);
    cut.flags |= TC;
    play.answer(&other, &cut);
    let tcp = play.got();
    let mut cut = good(&tcp);
    cut.flags |= TC;
    play.answer(&tcp, &cut);
    assert_eq!(play.got().server, got.server, "the next round");
}

#[test]
fn servers_that_fold_letters_or_know_no_edns() {
    let mut play = Play::new("nameserver 192.0.2.53");
    play.ask("montague.net");
    let got = play.got();
    let mut folded = good(&got);
    folded.question.make_ascii_lowercase();
    play.answer(&got, &folded);
    let tcp = play.got();
    assert_eq!(tcp.transport, Transport::Tcp);
    play.lookups.failed(at(play.millis), &mut play.dice, tcp.exchange, "refuses questions");
    let plain = play.got();
    assert_eq!(plain.transport, Transport::Udp);
    assert!(plain.bytes.windows(12).any(|bytes| bytes == b"\x08montague\x03ne"));
    let mut formerr = Answer::to(&plain.bytes);
    formerr.flags |= 1;
    play.answer(&plain, &formerr);
    let bare = play.got();
    assert_eq!(bare.bytes[10..12], [0, 0], "no OPT record");
    play.answer(&bare, &good(&bare));
    assert_eq!(play.done(), one());
}

#[test]
fn silence_and_refusals_lead_to_the_next_server() {
    let mut play = Play::new("nameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver [192.0.2.55]:5353");
    play.ask("montague.net");
    let first = play.got();
    play.wait(2000);
    let second = play.got();
    assert_eq!(second.server.to_string(), "[2001:db8::53]:53");
    // Too late, and from a socket that is closed.
    play.answer(&first, &good(&first));
    assert!(play.lookups.take_done().is_empty());
    let mut servfail = Answer::to(&second.bytes);
    servfail.flags |= 2;
    play.answer(&second, &servfail);
    let third = play.got();
    assert_eq!(third.server.to_string(), "192.0.2.55:5353");
    play.lookups.failed(at(play.millis), &mut play.dice, third.exchange, "refuses questions");
    let fourth = play.got();
    assert_eq!(fourth.server, first.server, "the second round");
    play.lookups.failed(at(play.millis), &mut play.dice, fourth.exchange, "refuses questions");
    for _ in 0..2 {
        let got = play.got();
        play.lookups.failed(at(play.millis), &mut play.dice, got.exchange, "cannot be asked: no route");
    }
    assert_eq!(
        play.failure(),
        "the DNS server 192.0.2.53 refuses questions, the DNS server 2001:db8::53 cannot be asked: no route, \
         the DNS server 192.0.2.55:5353 cannot be asked: no route"
    );
    assert!(play.lookups.next_deadline().is_none());
}

#[test]
fn nobody_answers() {
    for (resolv_conf, text, takes) in [
        ("nameserver 127.0.0.53", "the DNS server 127.0.0.53 did not answer", 10_000),
        ("nameserver 127.0.0.53\noptions timeout:1 attempts:1", "the DNS server 127.0.0.53 did not answer", 1000),
        (
            "nameserver 192.0.2.1\nnameserver ::1\noptions timeout:1 attempts:2",
            "the DNS servers 192.0.2.1, ::1 did not answer",
            6000,
        ),
        ("nameserver 192.0.2.1\noptions timeout:10 attempts:5", "the DNS server 192.0.2.1 did not answer", 10_000),
    ] {
        let mut play = Play::new(resolv_conf);
        play.ask("montague.net");
        play.wait(takes - 1);
        assert!(play.lookups.take_done().is_empty(), "{resolv_conf}");
        play.wait(1);
        assert_eq!(play.failure(), text);
        assert!(play.ask("montague.net").unwrap().is_err(), "kept for a while");
    }
}

#[test]
fn who_says_no_is_not_asked_again() {
    let mut play = Play::new("nameserver 192.0.2.53\nnameserver 192.0.2.54");
    play.ask("montague.net");
    for _ in 0..2 {
        let got = play.got();
        let mut refused = Answer::to(&got.bytes);
        refused.flags |= 5;
        play.answer(&got, &refused);
    }
    assert_eq!(play.failure(), "the DNS server 192.0.2.53 says REFUSED, the DNS server 192.0.2.54 says REFUSED");
    assert!(play.all().is_empty());
}

#[test]
fn a_silent_server_is_passed_over_for_a_while() {
    let mut play = Play::new("nameserver 192.0.2.53\nnameserver 192.0.2.54");
    play.ask("a.example");
    play.all();
    play.wait(2000);
    let got = play.got();
    play.answer(&got, &good(&got));
    assert_eq!(play.done(), one());
    play.ask("b.example");
    let got = play.got();
    assert_eq!(got.server.to_string(), "192.0.2.54:53");
    play.wait(2000);
    assert_eq!(play.got().server.to_string(), "192.0.2.53:53");
    play.wait(60_000);
    let failure = play.done().unwrap_err();
    assert!(failure.servers.iter().all(|(_, trouble)| *trouble == Trouble::Silent) && failure.servers.len() == 2);
    play.all();
    play.ask("c.example");
    assert_eq!(play.got().server.to_string(), "192.0.2.53:53");
}

#[test]
fn bounds_hold() {
    let bounds = Bounds { lookups: 5, exchanges: 2, ..Bounds::new(3600) };
    let mut play = Play::bounded("nameserver 192.0.2.53", bounds);
    let names: Vec<String> = (0..6).map(|number| format!("{number}.example")).collect();
    for name in &names[..5] {
        assert_eq!(play.ask(name), None);
    }
    let refusal = play.ask(&names[5]).unwrap().unwrap_err();
    assert_eq!(refusal.to_string(), "too many DNS look-ups wait already");
    let open = play.all();
    assert_eq!(open.len(), 2);
    play.answer(&open[0], &good(&open[0]));
    let third = play.got();
    assert_eq!(asked(&third.bytes), question("2.example", Kind::A));
    // All end in bounded time, those whose turn came late as well.
    play.wait(10_000);
    let done: Vec<Question> = play.lookups.take_done().into_iter().map(|(question, _)| question).collect();
    assert_eq!(done.len(), 5);
    assert!(play.lookups.next_deadline().is_none());
    assert_eq!(play.ask(&names[5]), None);
}
