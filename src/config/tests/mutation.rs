//! Files that nobody would write: reading them gives a configuration or an error, and never anything else.

use super::*;

/// Numbers that repeat (an LCG with Knuth's constants).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

const PIECES: &[&str] = &[
    "<",
    ">",
    "</",
    "/>",
    "&",
    "'",
    "\"",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?",
    "?>",
    "<!DOCTYPE x [",
    "&amp;",
    "xmlns=''",
    " xmlns:a='b'",
    "<jabberd:include>.</jabberd:include>",
    "<x:y/>",
    "\u{e4}",
    "\u{10FFFF}",
    "\0",
    "\n",
    "<host>",
    "</service>",
    "<jabber>",
    "99999999999999999999",
    "-1",
    "%d",
    "../",
    "@",
    "[::1]",
];

fn mutated(text: &str, dice: &mut Dice) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=dice.below(4) {
        let at = dice.below(characters.len());
        let length = dice.below(40).min(characters.len() - at);
        match dice.below(4) {
            0 => drop(characters.drain(at..at + length)),
            1 => {
                let copy: Vec<char> = characters[at..at + length].to_vec();
                let to = dice.below(characters.len());
                characters.splice(to..to, copy);
            }
            2 => {
                let piece = PIECES[dice.below(PIECES.len())];
                characters.splice(at..at, piece.chars());
            }
            _ => characters[at] = char::from(u8::try_from(dice.below(128)).unwrap()),
        }
    }
    characters.into_iter().collect()
}

#[test]
fn mutated_files_never_panic() {
    let names = ["jabber-1.4.2-minimal.xml", "jabber-1.4.4-full.xml", "jabber-1.6-tls.xml"];
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1_402);
    let mut dice = Dice(seed);
    for name in names {
        let text = std::fs::read_to_string(fixture(name)).unwrap();
        for _ in 0..300 {
            let text = mutated(&text, &mut dice);
            let source = Source { file: "m.xml".into(), home: "/nonexistent".into(), ..Source::default() };
            match Config::from_xml(&text, &source) {
                Ok(config) => {
                    assert!(!config.hosts.is_empty() && !config.report().is_empty());
                    assert!(config.spool.is_absolute());
                }
                Err(error) => {
                    let lines = u32::try_from(text.split('\n').count()).unwrap();
                    assert!(error.problems.iter().all(|problem| problem.place.line <= lines), "{error}");
                    assert!(!error.problems.is_empty());
                }
            }
        }
    }
}
