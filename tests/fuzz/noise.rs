//! Bytes that are nearly right: what the talks say and what stands in fixtures, spoiled at random.

use std::path::Path;

use crate::dice::Dice;

/// Pieces that break things in interesting places.
const PIECES: &[&str] = &[
    "<",
    ">",
    "/>",
    "</",
    "'",
    "\"",
    "&",
    ";",
    "=",
    ":",
    "]]>",
    "<![CDATA[",
    " ",
    "\r\n",
    "\t",
    "\0",
    "\u{FFFE}",
    "\u{FEFF}",
    "&amp;",
    "&#x41;",
    "&#0;",
    "&#xD800;",
    "xmlns=''",
    " xmlns='u'",
    " xmlns:p='u'",
    " p:a='1'",
    "<p:a/>",
    "xml:lang='x'",
    "<a>",
    "</a>",
    "<!--",
    "<?x?>",
    "<!DOCTYPE x>",
    "\u{e9}",
    "\u{1F600}",
    "\u{202E}",
    "\u{0130}",
    "\u{DF}",
    "-1",
    "0",
    "4294967295",
    "18446744073709551616",
    "jabber:server",
    "jabber:client",
    "urn:xmpp:sm:3",
    "@",
    "/",
    "@/",
    "a@b/c",
    "..",
    "romeo@localhost",
    "juliet@localhost/home",
    "localhost",
    "evil.example",
    "@localhost",
    "localhost/x",
    "[::1]",
    "xn--a",
    "</stream:stream>",
    "<stream:stream>",
    "<presence/>",
    "<body>",
    "type='error'",
    "type='result'",
    "type='subscribe'",
    "type='probe'",
    "type='unavailable'",
    "type='groupchat'",
    "type='set'",
    "type='get'",
    "id=''",
    "to=''",
    "from=''",
];

/// Values that attributes and texts are replaced with.
const VALUES: &[&str] = &[
    "",
    " ",
    "a",
    "romeo@localhost",
    "romeo@localhost/home",
    "juliet@localhost",
    "juliet@localhost/home",
    "localhost",
    "localhost/x",
    "@",
    "a@",
    "@a",
    "a@b@c",
    "nobody@localhost",
    "x@evil.example",
    "evil.example",
    "get",
    "set",
    "result",
    "error",
    "subscribe",
    "subscribed",
    "unsubscribe",
    "unsubscribed",
    "probe",
    "unavailable",
    "remove",
    "both",
    "-129",
    "99999999999999999999",
    "\u{e9}\u{308}",
    "\u{1F600}",
    "&lt;",
    "urn:xmpp:ping",
    "jabber:iq:roster",
    "jabber:iq:register",
    "vcard-temp",
    "http://jabber.org/protocol/disco#info",
    "jabber:iq:private",
    "jabber:iq:last",
    "jabber:iq:auth",
];

/// Spoils bytes once.
pub fn spoil(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = dice.below(bytes.len() + 1);
    let to = (at + dice.below(24)).min(bytes.len());
    match dice.below(8) {
        0 => drop(bytes.drain(at..to)),
        1 => {
            let copy = bytes[at..to].to_vec();
            let place = dice.below(bytes.len() + 1);
            bytes.splice(place..place, copy);
        }
        2 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
        3 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        4 => bytes.truncate(at),
        5 | 6 => replace_value(dice, bytes),
        _ => {
            let piece = dice.pick(PIECES).as_bytes();
            bytes.splice(at..at, piece.iter().copied());
        }
    }
}

/// Puts another value between two quotes: the result is mostly XML still.
fn replace_value(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let quotes: Vec<usize> =
        bytes.windows(2).enumerate().filter(|(_, two)| *two == b"='").map(|(at, _)| at + 2).collect();
    if quotes.is_empty() {
        return;
    }
    let start = *dice.pick(&quotes);
    let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\'') else { return };
    let value: Vec<u8> = match dice.below(10) {
        0 => vec![b'x'; 1 + dice.below(2_000)],
        _ => dice.pick(VALUES).as_bytes().to_vec(),
    };
    bytes.splice(start..start + length, value);
}

/// One of these texts, spoiled a little or not at all.
pub fn near(dice: &mut Dice, corpus: &[String]) -> Vec<u8> {
    let mut bytes = dice.pick(corpus).clone().into_bytes();
    if dice.chance(75) {
        for _ in 0..=dice.below(3) {
            spoil(dice, &mut bytes);
        }
    }
    bytes
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut paths: Vec<_> =
        std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// What clients say in the talks, without what only a talk understands.
pub fn spoken() -> Vec<String> {
    let header = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
                  xmlns:stream='http://etherx.jabber.org/streams'>";
    let mut lines = Vec::new();
    for talk in files("tests/talks", ".talk") {
        for line in talk.lines() {
            let Some((_, text)) = line.split_once(" C: ") else { continue };
            let text = text.replace("{header}", header).replace("{romeo}", "romeo@localhost/home");
            let text = text.replace("{juliet}", "juliet@localhost/home");
            lines.push(text.replace(['{', '}'], ""));
        }
    }
    assert!(lines.len() > 300, "the talks say more than that");
    lines
}

/// Files that admins wrote.
pub fn configurations() -> Vec<String> {
    let mut all = files("tests/fixtures/config", ".xml");
    all.extend(files("etc", ".xml"));
    all
}
