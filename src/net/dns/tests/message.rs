//! One question, and all that may come back.

use super::super::message::{Kind, Outcome, Reading, Sent};
use super::{Answer, NXDOMAIN, Rr, TC, asked, name, question, wire_name};

fn sent(name: &str, kind: Kind) -> Sent {
    Sent::new(question(name, kind), 0x1234, Some(&[0b1010_0110; 32]), true).unwrap()
}

fn addresses(texts: &[&str]) -> Outcome {
    Outcome::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
}

#[test]
fn a_query_on_the_wire() {
    let query = sent("a.example", Kind::Srv).bytes;
    // Header with RD and one additional record; the name with capital letters by the dice; SRV IN; OPT with 1232 octets.
    let mut expected = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    expected.extend([1, b'a', 7, b'E', b'X', b'a', b'm', b'P', b'l', b'E', 0, 0, 33, 0, 1]);
    expected.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(query, expected);
    let plain = Sent::new(question("a.example", Kind::A), 1, None, false).unwrap().bytes;
    assert_eq!(plain, [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 7, 101, 120, 97, 109, 112, 108, 101, 0, 0, 1, 0, 1]);
    assert_eq!(asked(&query), question("a.example", Kind::Srv));
}

#[test]
fn what_is_not_our_answer() {
    let sent = sent("montague.net", Kind::A);
    let good = Answer::to(&sent.bytes).with(&[Rr::a("montague.net", 300, "192.0.2.1")]);
    assert_eq!(sent.read(&good.bytes()), Reading::Answer(addresses(&["192.0.2.1"]), 300));
    type Row = (&'static str, Reading, Box<dyn Fn(&mut Answer)>);
    let rows: Vec<Row> = vec![
        ("wrong id", Reading::NotOurs, Box::new(|answer| answer.id ^= 1)),
        ("a query", Reading::NotOurs, Box::new(|answer| answer.flags &= 0x7fff)),
        ("another opcode", Reading::NotOurs, Box::new(|answer| answer.flags |= 0x0800)),
        ("another name", Reading::NotOurs, Box::new(|answer| answer.question[1] = b'x')),
        ("another type", Reading::NotOurs, Box::new(|answer| *answer.question.iter_mut().rev().nth(2).unwrap() = 28)),
        ("another class", Reading::NotOurs, Box::new(|answer| *answer.question.last_mut().unwrap() = 3)),
        ("no question", Reading::NotOurs, Box::new(|answer| (answer.question, answer.questions) = (Vec::new(), 0))),
        ("two questions", Reading::NotOurs, Box::new(|answer| answer.questions = 2)),
        ("small letters", Reading::OtherCase, Box::new(|answer| answer.question.make_ascii_lowercase())),
        ("truncated", Reading::Truncated, Box::new(|answer| answer.flags |= TC)),
        ("FORMERR", Reading::NoEdns, Box::new(|answer| answer.flags |= 1)),
        ("SERVFAIL", Reading::Failed("says SERVFAIL".to_owned()), Box::new(|answer| answer.flags |= 2)),
        ("REFUSED", Reading::Failed("says REFUSED".to_owned()), Box::new(|answer| answer.flags |= 5)),
        (
            "mute FORMERR",
            Reading::NoEdns,
            Box::new(|answer| (answer.question, answer.questions, answer.flags) = (Vec::new(), 0, 0x8181)),
        ),
    ];
    for (what, expected, spoil) in rows {
        let mut answer = good.clone();
        spoil(&mut answer);
        if answer.questions == 0 {
            answer.answers.clear();
        }
        assert_eq!(sent.read(&answer.bytes()), expected, "{what}");
    }
    assert_eq!(sent.read(b""), Reading::NotOurs);
    assert_eq!(sent.read(&good.bytes()[..11]), Reading::NotOurs);
    // A question without strewn capitals may come back in any spelling.
    let plain = Sent::new(question("montague.net", Kind::A), 9, None, true).unwrap();
    let mut shouting = Answer::to(&plain.bytes).with(&[Rr::a("MONTAGUE.net", 300, "192.0.2.1")]);
    shouting.question = [wire_name("MONTAGUE.NET"), vec![0, 1, 0, 1]].concat();
    assert_eq!(plain.read(&shouting.bytes()), Reading::Answer(addresses(&["192.0.2.1"]), 300));
}

#[test]
fn every_cut_is_refused() {
    let sent = sent("montague.net", Kind::A);
    let records = [Rr::cname("montague.net", 60, "a.montague.net"), Rr::a("a.montague.net", 60, "192.0.2.1")];
    let bytes = Answer::to(&sent.bytes).with(&records).bytes();
    for cut in 0..bytes.len() {
        let reading = sent.read(&bytes[..cut]);
        assert!(matches!(reading, Reading::NotOurs | Reading::Failed(_)), "{cut}: {reading:?}");
    }
}

#[test]
fn only_records_of_the_question_are_believed() {
    let sent = sent("montague.net", Kind::A);
    let chain = |length: usize| -> Vec<Rr> {
        let alias = |n: usize| if n == 0 { "montague.net".to_owned() } else { format!("n{n}.example") };
        let mut records: Vec<Rr> = (0..length).map(|n| Rr::cname(&alias(n), 100 - n as u32, &alias(n + 1))).collect();
        records.push(Rr::a(&alias(length), 300, "192.0.2.1"));
        records
    };
    let broken = || Reading::Failed("sent a broken answer".to_owned());
    let one = |ttl| Reading::Answer(addresses(&["192.0.2.1"]), ttl);
    let mut chaos = Rr::a("montague.net", 60, "192.0.2.1");
    chaos.data.push(0);
    let rows: Vec<(&str, Vec<Rr>, Reading)> = vec![
        ("of another name", vec![Rr::a("capulet.com", 60, "192.0.2.66")], Reading::Answer(Outcome::NoData, 0)),
        (
            "beside one of another name",
            vec![Rr::a("capulet.com", 60, "192.0.2.66"), Rr::a("Montague.Net", 60, "192.0.2.1")],
            one(60),
        ),
        ("of another type", vec![Rr::a("montague.net", 60, "2001:db8::1")], Reading::Answer(Outcome::NoData, 0)),
        (
            "the shortest time holds",
            vec![Rr::a("montague.net", 60, "192.0.2.1"), Rr::a("montague.net", 7, "192.0.2.2")],
            Reading::Answer(addresses(&["192.0.2.1", "192.0.2.2"]), 7),
        ),
        ("a time of 68 years", vec![Rr::a("montague.net", 0x7fff_ffff, "192.0.2.1")], one(0x7fff_ffff)),
        ("a negative time", vec![Rr::a("montague.net", 0x8000_0000, "192.0.2.1")], one(0)),
        ("an alias", chain(1), one(100)),
        ("the longest chain", chain(8), one(93)),
        ("a longer chain", chain(9), broken()),
        ("aliases in any order", chain(3).into_iter().rev().collect(), one(98)),
        ("an alias of itself", vec![Rr::cname("montague.net", 60, "montague.net")], broken()),
        (
            "a circle",
            vec![Rr::cname("montague.net", 60, "a.example"), Rr::cname("a.example", 60, "montague.net")],
            broken(),
        ),
        ("an alias to nowhere", vec![Rr::cname("montague.net", 60, "a.example")], Reading::Answer(Outcome::NoData, 0)),
        ("too long an address", vec![chaos], broken()),
        ("too many records", vec![Rr::a("montague.net", 60, "192.0.2.1"); 257], broken()),
    ];
    for (what, records, expected) in rows {
        assert_eq!(sent.read(&Answer::to(&sent.bytes).with(&records).bytes()), expected, "{what}");
    }
    let mut additional = Answer::to(&sent.bytes);
    additional.additional = vec![Rr::a("montague.net", 60, "192.0.2.66")];
    additional.authority = additional.additional.clone();
    assert_eq!(sent.read(&additional.bytes()), Reading::Answer(Outcome::NoData, 0));
    let many: Vec<Rr> = (0..200).map(|last| Rr::a("montague.net", 60, &format!("192.0.2.{last}"))).collect();
    let Reading::Answer(Outcome::Addresses(kept), 60) = sent.read(&Answer::to(&sent.bytes).with(&many).bytes()) else {
        panic!()
    };
    assert_eq!(kept.len(), 32);
}

#[test]
fn that_there_is_nothing_holds_as_the_zone_says() {
    let sent = sent("a.montague.net", Kind::A);
    let rows: Vec<(u16, Vec<Rr>, Reading)> = vec![
        (0, vec![Rr::soa("montague.net", 900, 60)], Reading::Answer(Outcome::NoData, 60)),
        (NXDOMAIN, vec![Rr::soa("montague.net", 30, 60)], Reading::Answer(Outcome::NoDomain, 30)),
        (NXDOMAIN, vec![Rr::soa("", 900, 86400)], Reading::Answer(Outcome::NoDomain, 900)),
        (NXDOMAIN, vec![Rr::soa("capulet.com", 900, 86400)], Reading::Answer(Outcome::NoDomain, 0)),
        (NXDOMAIN, vec![], Reading::Answer(Outcome::NoDomain, 0)),
    ];
    for (rcode, soa, expected) in rows {
        assert_eq!(sent.read(&Answer::to(&sent.bytes).nothing(rcode, &soa).bytes()), expected);
    }
    // RFC 6604 §3: the end of the chain does not exist.
    let chain = Answer::to(&sent.bytes).with(&[Rr::cname("a.montague.net", 20, "b.montague.net")]);
    let chain = chain.nothing(NXDOMAIN, &[Rr::soa("montague.net", 900, 60)]);
    assert_eq!(sent.read(&chain.bytes()), Reading::Answer(Outcome::NoDomain, 20));
    // Neither an authority nor a resolver: a referral.
    let mut lame = Answer::to(&sent.bytes);
    lame.flags = 0x8100;
    assert_eq!(sent.read(&lame.bytes()), Reading::Failed("is not a resolver".to_owned()));
}

#[test]
fn services() {
    let sent = sent("_xmpp-server._tcp.montague.net", Kind::Srv);
    let own = "_xmpp-server._tcp.montague.net";
    let records = [
        Rr::srv(own, 60, 1, 2, 5269, "Xmpp.Montague.Net"),
        Rr::srv(own, 60, 0, 0, 0, ""),
        Rr::srv(own, 60, 3, 4, 5269, "a b\n.example"),
    ];
    let Reading::Answer(Outcome::Services(services), 60) = sent.read(&Answer::to(&sent.bytes).with(&records).bytes())
    else {
        panic!()
    };
    let read: Vec<_> = services.iter().map(|s| (s.priority, s.weight, s.port, s.target.clone())).collect();
    assert_eq!(read, [(0, 0, 0, None), (1, 2, 5269, Some(name("xmpp.montague.net")))]);
}

#[test]
fn of_many_services_the_foremost_are_kept() {
    let own = "_xmpp-server._tcp.montague.net";
    let sent = sent(own, Kind::Srv);
    let records: Vec<Rr> = (0..100).rev().map(|priority| Rr::srv(own, 60, priority, 0, 5269, "a.example")).collect();
    let Reading::Answer(Outcome::Services(kept), 60) = sent.read(&Answer::to(&sent.bytes).with(&records).bytes())
    else {
        panic!()
    };
    assert!(kept.iter().map(|service| service.priority).eq(0..32));
}

#[test]
fn compressed_names() {
    let sent = sent("montague.net", Kind::A);
    let first = (12 + sent.bytes[12..].iter().position(|byte| *byte == 0).unwrap() + 5) as u8;
    let owner = |owner: &[u8]| Rr { owner: owner.to_vec(), ..Rr::a("x", 60, "192.0.2.1") };
    let alias = |data: &[u8]| Rr { data: data.to_vec(), ..Rr::cname("montague.net", 60, "x") };
    let one = Reading::Answer(addresses(&["192.0.2.1"]), 60);
    let broken = Reading::Failed("sent a broken answer".to_owned());
    for (what, records, expected) in [
        ("back to the question", vec![owner(&[0xc0, 12])], one.clone()),
        ("a label, then back", vec![owner(&[1, b'a', 0xc0, 12])], Reading::Answer(Outcome::NoData, 0)),
        ("to itself", vec![owner(&[0xc0, first])], broken.clone()),
        ("forward", vec![owner(&[0xc0, first + 2])], broken.clone()),
        ("into the header", vec![owner(&[0xc0, 0])], broken.clone()),
        ("beyond the end", vec![owner(&[0xff, 0xff])], broken.clone()),
        ("labels in a circle", vec![owner(&[1, b'a', 0xc0, first])], broken.clone()),
        ("of a kind that is not", vec![owner(&[0x80, 12])], broken.clone()),
        // 14 octets before: owner, type, class, ttl, length; the alias leads into its own data.
        ("in the data, to itself", vec![alias(&[0xc0, first + 24])], broken.clone()),
        ("in the data, back", vec![alias(&[0xc0, 12])], broken),
    ] {
        assert_eq!(sent.read(&Answer::to(&sent.bytes).with(&records).bytes()), expected, "{what}");
    }
}
