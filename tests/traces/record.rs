//! The files: traces as they were recorded, and the lists of differences.

use std::collections::BTreeMap;

/// A line of a trace. A party is the letter after `C` and `S`, empty where there is only one.
pub enum Line {
    /// The party says it.
    Says(String, String),
    /// The original's answer to the party.
    Hears(String, String),
    /// The original closed the party's connection.
    Closed(String),
    /// The TLS handshake took place.
    Secured,
    /// The next connection begins with TLS.
    DirectTls,
}

/// Reads a trace.
pub fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(note) = line.strip_prefix('#') {
            let note = note.trim();
            if let Some(party) = note.strip_prefix("server closed the connection") {
                lines.push(Line::Closed(party.trim().to_string()));
            } else if note.starts_with("TLS established") {
                lines.push(Line::Secured);
            } else if note == "TLS from the start" {
                lines.push(Line::DirectTls);
            }
            continue;
        }
        let (who, text) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
        let text = text.replace("\\n", "\n").replace("\\r", "\r").replace("\\0", "\0");
        match who.split_at(1) {
            ("C", party) => lines.push(Line::Says(party.to_string(), text)),
            ("S", party) => lines.push(Line::Hears(party.to_string(), text)),
            _ => panic!("neither said nor heard: {line}"),
        }
    }
    lines
}

/// Differences with one reason.
pub struct Block {
    pub reason: String,
    pub lines: Vec<String>,
}

/// Reads a list of differences.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("Deviation: "), blocks.last_mut()) {
            (Some(reason), _) => blocks.push(Block { reason: reason.to_string(), lines: Vec::new() }),
            (None, Some(block)) => block.lines.push(line.to_string()),
            (None, None) => panic!("a difference needs a reason above it: {line}"),
        }
    }
    blocks
}

/// The list as it should be, with the reasons that are known.
pub fn written(known: &[Block], found: &[String]) -> String {
    let mut reasons: BTreeMap<&str, &str> = BTreeMap::new();
    for block in known {
        for line in &block.lines {
            reasons.insert(line, &block.reason);
        }
    }
    let mut text = String::new();
    let mut under = None;
    for line in found {
        let reason = *reasons.get(line.as_str()).unwrap_or(&"?");
        if under != Some(reason) {
            let space = if under.is_some() { "\n" } else { "" };
            text.push_str(&format!("{space}Deviation: {reason}\n"));
            under = Some(reason);
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}
