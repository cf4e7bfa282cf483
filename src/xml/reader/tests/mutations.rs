//! Both engines on the same broken bytes: they must agree on every tree and on every refusal.

use super::*;

/// A small seeded generator (xorshift): the same broken bytes on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Pieces that break things in interesting places.
const PIECES: &[&[u8]] = &[
    b"<",
    b">",
    b"/",
    b"'",
    b"\"",
    b"&",
    b";",
    b"=",
    b":",
    b"]]>",
    b"<![CDATA[",
    b"]",
    b" ",
    b"\r\n",
    b"\r",
    b"\t",
    b"&amp;",
    b"&#x41;",
    b"&#10;",
    b"&lt",
    b"xmlns='u'",
    b" xmlns:p='u'",
    b" p:a='1'",
    b"p:",
    b"xml:lang='x'",
    b" a=''",
    b"<a>",
    b"</a>",
    b"<p:a/>",
    b"xmlns",
    b"xml",
    b"<a",
    b"\xEF\xBF\xBE",
    b"\xEF\xBB\xBF",
    b"\xC3\xA9",
    b"\xC2\xB7",
    b"\x00",
    b"\x1F",
    b"\x80",
    b"-",
    b"1",
    b"jabber:server",
    b"--",
    b"/>",
];

/// xml-rs refuses default namespaces of these names, which are ordinary ones to Namespaces in XML 1.0 §3.
const JUDGE_ERRS: &[&str] = &["'xml'", "'xmlns'", "\"xml\"", "\"xmlns\""];

/// What a stanza would begin with that looks like one more header.
const SECOND: &str = "><stream:stream";

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = dice.below(bytes.len() + 1);
    let to = (at + dice.below(12)).min(bytes.len());
    match dice.below(5) {
        0 => drop(bytes.drain(at..to)),
        1 => {
            let copy = bytes[at..to].to_vec();
            let place = dice.below(bytes.len() + 1);
            bytes.splice(place..place, copy);
        }
        2 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
        _ => {
            let piece = PIECES[dice.below(PIECES.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
    }
}

fn rounds() -> usize {
    std::env::var("READER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4000)
}

#[test]
fn both_engines_agree_on_broken_streams() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut refused = 0;
    for round in 0..rounds() {
        let mut bytes = GOOD[dice.below(GOOD.len())].as_bytes().to_vec();
        for _ in 0..=dice.below(4) {
            mutate(&mut dice, &mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        if JUDGE_ERRS.iter().any(|value| text.contains(value)) {
            continue;
        }
        let own = read(Engine::Own, [bytes.as_slice()]);
        let judge = read(Engine::XmlRs, [bytes.as_slice()]);
        assert_eq!(own.0, judge.0, "round {round}: {text}");
        // Of two faults in one stanza either may be found first.
        assert_eq!(own.1.is_some(), judge.1.is_some(), "round {round}: {own:?} {judge:?} {text}");
        refused += usize::from(own.1.is_some());
        if round % 16 == 0 {
            let cut = dice.below(bytes.len() + 1);
            let (left, right) = bytes.split_at(cut);
            assert_eq!(read(Engine::Own, [left, right]), own, "round {round} cut at {cut}: {text}");
        }
        for event in &own.0 {
            let Event::Element(element) = event else { continue };
            let mut written = HEADER.to_owned();
            writer::element(&mut written, element, "jabber:client");
            let relaxed = Limits { frame_bytes: usize::MAX, ..LIMITS };
            let mut reader = Reader::new(Limits { attributes: 100, name_bytes: 1000, ..relaxed });
            reader.push(written.replace("<db:", "<").as_bytes());
            let mut again = Vec::new();
            let error = collect(&mut reader, &mut again);
            // No stanza may have the name of the stream's own start tag.
            if element.ns() != "jabber:server:dialback" && !written.contains("<db:") && !written.contains(SECOND) {
                assert_eq!((error, again.last()), (None, Some(event)), "round {round}: {written}");
            }
        }
    }
    assert!(refused > rounds() / 4 && refused < rounds(), "the mutations are neither harmless nor all deadly");
}

#[test]
fn the_own_parser_stays_upright_without_the_framer() {
    // Frames that the framer would refuse are parsed, too: the parser does not lean on the framer to stay upright.
    let mut dice = Dice(42);
    let context = Context::default();
    for _ in 0..rounds() {
        let mut bytes = b"<a b='c'><d xmlns='u' e='&amp;'>x&lt;</d><![CDATA[y]]></a>".to_vec();
        for _ in 0..=dice.below(5) {
            mutate(&mut dice, &mut bytes);
        }
        let Ok(frame) = String::from_utf8(bytes) else { continue };
        let _ = Engine::Own.parser().element(&frame, &context);
        let _ = Engine::Own.parser().header(&frame, dice.below(2) == 0);
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut dice = Dice(7);
    for _ in 0..rounds() {
        let mut bytes = HEADER.as_bytes().to_vec();
        bytes.truncate(if dice.below(2) == 0 { 0 } else { bytes.len() });
        for _ in 0..dice.below(60) {
            match dice.below(3) {
                0 => bytes.push(dice.below(256) as u8),
                _ => bytes.extend_from_slice(PIECES[dice.below(PIECES.len())]),
            }
        }
        let whole = read(Engine::Own, [bytes.as_slice()]);
        assert_eq!(read(Engine::Own, bytes.chunks(1)), whole, "{:?}", String::from_utf8_lossy(&bytes));
    }
}
