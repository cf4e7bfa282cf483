//! Single rooms: the reader, JIDs, stanzas, SASL messages, jabber.xml, answers of DNS.

use jabber::config::{Config, Source};
use jabber::net::dns::message::{Kind, Outcome, Question, Reading, Sent};
use jabber::net::dns::name::Name;
use jabber::stream::sasl::{self, Exchange, Mechanism, Offer, Step};
use jabber::xml::Element;
use jabber::xml::reader::{Engine, Event, Limits, Reader};
use jabber::xmpp::stanza::Stanza;
use jabber::xmpp::{Condition, Jid, StanzaError, jid};

use crate::dice::Dice;
use crate::noise::{configurations, near, spoil, spoken};

const LIMITS: Limits = Limits { frame_bytes: 4_000, depth: 12, elements: 60, attributes: 16, name_bytes: 100 };

fn read<'a>(engine: Engine, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, bool) {
    let mut reader = Reader::with_engine(LIMITS, engine);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(Event::Whitespace)) => {}
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, true),
            }
        }
    }
    (events, false)
}

/// Any split of the same bytes gives the same events.
pub fn reader(dice: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    let corpus = spoken();
    let _ = dice;
    move |dice, input| {
        input.clear();
        input.extend_from_slice(
            b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
              xmlns:stream='http://etherx.jabber.org/streams'>",
        );
        for _ in 0..=dice.below(3) {
            input.extend(near(dice, &corpus));
        }
        if dice.chance(20) {
            spoil(dice, input);
        }
        let whole = read(Engine::Own, [input.as_slice()]);
        assert_eq!(read(Engine::Own, input.chunks(1)), whole, "byte by byte");
        let cut = dice.below(input.len() + 1);
        let (left, right) = input.split_at(cut);
        assert_eq!(read(Engine::Own, [left, right]), whole, "cut at {cut}");
    }
}

/// A JID that was read is read again as it is written.
pub fn names(_: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    let corpus: Vec<String> = [
        "romeo@montague.net/orchard",
        "juliet@xn--bcher-kva.example",
        "icq.example.com/registered",
        "a@[::1]/b",
        "\u{DF}@\u{DF}.de/\u{DF}",
        "\u{0130}stanbul@example.com",
        "a@b/c@d/e",
        "\u{1F600}@example.com",
        "a\u{AD}b@example.com",
        "example.com.",
        "@",
        "/",
        "a@/",
    ]
    .map(str::to_string)
    .to_vec();
    move |dice, input| {
        *input = near(dice, &corpus);
        let text = String::from_utf8_lossy(input).into_owned();
        let _ = jabber::config::hosts::host_name(&text);
        let _ = jid::of_host(&text);
        let Some(read) = jid::stable(&text) else { return };
        assert_eq!(Jid::new(read.as_str()).as_ref(), Ok(&read), "not idempotent");
        assert_eq!(jid::bare_str(&read), read.to_bare().as_str());
        assert!(jid::same_bare(&read, &Jid::from(read.to_bare())));
    }
}

/// A stanza is written as it was read, and so are its answers.
pub fn stanza(_: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    let corpus = spoken();
    move |dice, input| {
        *input = near(dice, &corpus);
        let Ok(element) = jabber::xml::reader::element(&String::from_utf8_lossy(input)) else { return };
        let again = |element: &Element| jabber::xml::reader::element(&element.to_string());
        // Without a namespace it is written for a place without one.
        if !element.ns().is_empty() {
            assert_eq!(again(&element).as_ref(), Ok(&element), "written otherwise");
        }
        let Ok(stanza) = Stanza::parse(element) else { return };
        let text = stanza.to_text();
        let second = Stanza::from_text(&text).unwrap_or_else(|| panic!("cannot be read again: {text}"));
        assert_eq!((stanza.kind(), stanza.from(), stanza.to()), (second.kind(), second.from(), second.to()));
        let error = StanzaError::new(Condition::NotAllowed, "<&>");
        for answer in [Some(stanza.result(None)), stanza.error(&error)].into_iter().flatten() {
            assert!(Stanza::from_text(&answer.to_text()).is_some(), "{}", answer.to_text());
        }
    }
}

/// No word of a stranger's opens a door, or breaks it.
pub fn login(_: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    let corpus: Vec<String> = [
        "n,,n=romeo,r=fyko+d2lbbFgONRv9qkxdawL",
        "y,,n=romeo,r=abc",
        "p=tls-exporter,,n=romeo,r=abc",
        "n,a=juliet,n=romeo,r=abc",
        "n,,n=ro=2Cm=3Deo,r=abc,x=1",
        "n,,m=1,n=romeo,r=abc",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "\0romeo\0secret",
        "juliet@localhost\0romeo\0secret",
        "\0\0",
        "c=,r=,p=",
        "n,,",
    ]
    .map(str::to_string)
    .to_vec();
    let credentials = crate::login::credentials("secret");
    move |dice, input| {
        *input = near(dice, &corpus);
        let _ = sasl::decode(&String::from_utf8_lossy(input));
        let mechanisms = &Mechanism::ALL;
        let mechanism = *dice.pick(mechanisms);
        let offer = Offer::new(None, true);
        let initial = dice.chance(80).then(|| input.clone());
        let mut step = Exchange::start(mechanism, initial.as_deref(), &offer, dice);
        for _ in 0..3 {
            step = match step {
                Step::Challenge(challenge, exchange) => {
                    let mut answer = near(dice, &corpus);
                    // The nonce must be ours for the rest to be looked at.
                    let challenge = String::from_utf8_lossy(&challenge).into_owned();
                    if let Some((nonce, _)) = challenge.split_once(',') {
                        answer = format!("c=biws,{nonce},p=").into_bytes();
                        answer.extend(near(dice, &corpus));
                    }
                    input.extend_from_slice(&answer);
                    exchange.respond(&answer)
                }
                Step::NeedKeys(needed) => {
                    let keys = credentials.keys(needed.hash()).unwrap().clone();
                    needed.known(keys)
                }
                Step::Success(_) => panic!("that was no proof"),
                Step::NeedVerdict(_) | Step::Failure(_) => return,
            };
        }
    }
}

/// A file gives a configuration or an error that says where.
pub fn config(_: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    let corpus = configurations();
    move |dice, input| {
        *input = near(dice, &corpus);
        let text = String::from_utf8_lossy(input).into_owned();
        let source = Source { file: "f.xml".into(), home: "/nonexistent".into(), ..Source::default() };
        match Config::from_xml(&text, &source) {
            Ok(config) => assert!(!config.hosts.is_empty() && !config.report().is_empty()),
            Err(error) => {
                let lines = u32::try_from(text.split('\n').count()).unwrap();
                assert!(!error.problems.is_empty());
                assert!(error.problems.iter().all(|problem| problem.place.line <= lines), "{error}");
            }
        }
    }
}

/// Whatever comes in place of an answer, nothing is believed that was not asked.
pub fn dns(_: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    move |dice, input| {
        let kind = *dice.pick(&[Kind::A, Kind::Aaaa, Kind::Srv]);
        let question = Question { name: Name::new("_xmpp-server._tcp.montague.net").unwrap(), kind };
        let sent = Sent::new(question, dice.next() as u16, None, dice.chance(50)).unwrap();
        *input = answer(dice, &sent.bytes);
        for _ in 0..dice.below(4) {
            let at = dice.below(input.len());
            match dice.below(5) {
                0 => input[at] = dice.next() as u8,
                1 => input[at] = 0xC0,
                2 => input.truncate(at.max(1)),
                3 => input.insert(at, dice.next() as u8),
                _ => drop(input.drain(at..(at + dice.below(9)).min(input.len()))),
            }
            if input.is_empty() {
                return;
            }
        }
        match sent.read(input) {
            Reading::Answer(Outcome::Addresses(all), _) => {
                assert!(all.len() <= 32 && all.iter().all(|address| address.is_ipv4() == (kind == Kind::A)));
            }
            Reading::Answer(Outcome::Services(all), _) => assert!(all.len() <= 32 && kind == Kind::Srv),
            _ => {}
        }
    }
}

/// The question with records behind it, whose names point to it.
fn answer(dice: &mut Dice, question: &[u8]) -> Vec<u8> {
    let mut bytes = question.to_vec();
    bytes[2] |= 0x80;
    bytes[3] = (dice.below(4) as u8) | 0x80;
    // Whatever additional record the question had stands before; its count goes.
    let count = dice.below(5);
    let end = question[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 12 + 5;
    bytes.truncate(end);
    bytes[10..12].copy_from_slice(&[0, 0]);
    bytes[6..8].copy_from_slice(&(count as u16).to_be_bytes());
    for _ in 0..count {
        bytes.extend_from_slice(&[0xC0, 12]);
        let data: (u16, Vec<u8>) = match dice.below(5) {
            0 => (1, vec![192, 0, 2, 1]),
            1 => (28, vec![0x20; 16]),
            2 => (33, [&[0, 1, 0, 2, 0x14, 0x95][..], &[0xC0, 12]].concat()),
            3 => (5, vec![0xC0, 12]),
            _ => (dice.next() as u16, (0..dice.below(20)).map(|_| dice.next() as u8).collect()),
        };
        bytes.extend_from_slice(&data.0.to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        bytes.extend_from_slice(&(data.1.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&data.1);
    }
    bytes
}
