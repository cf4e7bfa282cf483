//! Letters: bytes into elements and elements into text.
//!
//! [`Element`] is the one tree type of the house. [`reader`] turns the bytes of one stream into stream events in two
//! steps: a framer that finds, byte by byte, where a top-level stanza ends and refuses what RFC 6120 §11.1 forbids or what
//! is over a bound, and a parser that turns one whole frame into an element. [`writer`] is the only place that writes XML.
//!
//! Serves every other room. Invariant: what [`writer`] writes, [`reader`] reads back as the same tree.

pub mod element;
pub mod reader;
pub mod writer;

pub use element::{Attribute, Element, Node, Text};

/// Is this a character that XML has (XML 1.0 §2.2)? No reference stands for the others either.
pub fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

/// Reads one element from text of our own, such as the store's; `None` if it is not one whole element.
pub fn parse(text: &str) -> Option<Element> {
    let limits = reader::Limits {
        frame_bytes: usize::MAX,
        depth: 4_096,
        elements: usize::MAX,
        attributes: 4_096,
        name_bytes: 65_536,
    };
    let mut reader = reader::Reader::new(limits);
    // The root has a name that no element has, for none may have that of the root.
    reader.push(b"<stream:_ xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
    reader.push(text.as_bytes());
    reader.next().ok()??;
    match (reader.next().ok()??, reader.next()) {
        (reader::Event::Element(element), Ok(None | Some(reader::Event::Whitespace))) => Some(element),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_has_no_control_characters() {
        for c in ['\t', '\n', '\r', ' ', '\u{7F}', '\u{85}', '\u{D7FF}', '\u{E000}', '\u{FFFD}', '\u{10000}'] {
            assert!(is_char(c) && parse(&format!("<a>{c}</a>")).is_some(), "{c:?}");
        }
        for c in ['\0', '\u{8}', '\u{B}', '\u{C}', '\u{1B}', '\u{1F}', '\u{FFFE}', '\u{FFFF}'] {
            assert!(!is_char(c) && parse(&format!("<a>{c}</a>")).is_none(), "{c:?}");
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let text = "<message xmlns='jabber:client' to='a@b'><body>1 &lt; 2</body><x xmlns='y'/></message>";
        assert_eq!(parse(text).unwrap().to_string(), text);
        let header = "<stream:stream xmlns='jabber:client'/>";
        assert!(parse(header).is_some_and(|element| element.is("stream", "http://etherx.jabber.org/streams")));
        assert_eq!(parse("<a/><b/>"), None);
        assert_eq!(parse("<a>"), None);
        assert_eq!(parse("text"), None);
    }
}
