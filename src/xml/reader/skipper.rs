//! Where does a top-level element end of which nothing is kept? Counts tags, and knows what may hide a `>`.
//!
//! For the frames that cost themselves alone ([`super::Reader::skip`]): too big, with a comment in it, and the like. It is
//! not asked whether they are well-formed.

/// Inside of what the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    Opened,
    StartTag,
    Value(u8),
    Slash,
    EndTag,
    Bang,
    Dash,
    Comment(u8),
    Cdata(u8),
    Instruction(bool),
    Declaration,
}

/// A skipper's memory between two pushes.
#[derive(Clone, Debug)]
pub(super) struct Skipper {
    state: State,
    depth: usize,
}

impl Skipper {
    /// At the first byte of a frame.
    pub(super) fn new() -> Skipper {
        Skipper { state: State::Text, depth: 0 }
    }

    /// Passes over bytes. How many of these belong to the frame, if its end is among them.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = bytes.iter().position(|byte| self.ends_with(*byte))?;
        Some(end.saturating_add(1))
    }

    /// Takes one byte; is it the last of the frame?
    fn ends_with(&mut self, byte: u8) -> bool {
        self.state = match (self.state, byte) {
            (State::Text, b'<') => State::Opened,
            (State::Text, _) => State::Text,
            (State::Opened, b'/') => State::EndTag,
            (State::Opened, b'!') => State::Bang,
            (State::Opened, b'?') => State::Instruction(false),
            (State::Bang, b'-') => State::Dash,
            (State::Bang, b'[') => State::Cdata(0),
            (State::Dash, b'-') => State::Comment(0),
            (State::Bang | State::Dash | State::Declaration, b'>') => return self.is_over(),
            (State::Bang | State::Dash | State::Declaration, _) => State::Declaration,
            (State::Comment(2), b'>') | (State::Instruction(true), b'>') => return self.is_over(),
            (State::Comment(dashes), b'-') => State::Comment(dashes.saturating_add(1).min(2)),
            (State::Comment(_), _) => State::Comment(0),
            (State::Instruction(_), _) => State::Instruction(byte == b'?'),
            (State::Cdata(2), b'>') => State::Text,
            (State::Cdata(brackets), b']') => State::Cdata(brackets.saturating_add(1).min(2)),
            (State::Cdata(_), _) => State::Cdata(0),
            (State::Value(quote), _) if byte == quote => State::StartTag,
            (State::Value(quote), _) => State::Value(quote),
            (State::StartTag, b'\'' | b'"') => State::Value(byte),
            (State::Slash, b'>') => return self.is_over(),
            (State::StartTag, b'>') => {
                self.depth = self.depth.saturating_add(1);
                State::Text
            }
            (State::StartTag | State::Slash, b'/') => State::Slash,
            (State::Opened | State::StartTag | State::Slash, _) => State::StartTag,
            (State::EndTag, b'>') => {
                self.depth = self.depth.saturating_sub(1);
                return self.is_over();
            }
            (State::EndTag, _) => State::EndTag,
        };
        false
    }

    /// Something has ended: the frame, too?
    fn is_over(&mut self) -> bool {
        self.state = State::Text;
        self.depth == 0
    }
}

/// The start tag that a frame begins with, without its end; `None` if it has none, or not here.
pub(super) fn start_tag(frame: &[u8]) -> Option<&[u8]> {
    let mut quote = None;
    let end = frame.iter().position(|byte| match (quote, *byte) {
        (None, b'>') => true,
        (None, b'\'' | b'"') => {
            quote = Some(*byte);
            false
        }
        (Some(open), byte) if open == byte => {
            quote = None;
            false
        }
        _ => false,
    })?;
    let tag = frame.get(..end)?;
    Some(tag.strip_suffix(b"/").unwrap_or(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_frame_is_found_however_it_is_split() {
        let rows = [
            "<a/>",
            "<a b='>' c=\"/>'\"/>",
            "<a><b/><c>x</c></a >",
            "<a><!-- </a> -- > --></a>",
            "<a><?x </a> ?></a>",
            "<a><![CDATA[</a>]] >]]]></a>",
            "<a b='x/'>/</a>",
            "<a/ ></a>",
            "<!-- x -->",
            "<?x y?>",
            "<a><!ELEMENT x></a>",
        ];
        for row in rows {
            let text = format!("{row}<next/>");
            for at in 0..row.len() {
                let mut skipper = Skipper::new();
                let (one, two) = text.as_bytes().split_at(at);
                assert_eq!(skipper.pass(one), None, "{row} {at}");
                assert_eq!(skipper.pass(two), Some(row.len() - at), "{row} {at}");
            }
        }
    }

    #[test]
    fn a_start_tag_is_found() {
        let rows: [(&str, Option<&str>); 5] = [
            ("<a/>", Some("<a")),
            ("<a b='>'>x", Some("<a b='>'")),
            ("<a b=\"'>\"/>", Some("<a b=\"'>\"")),
            ("<a b='>", None),
            ("<a", None),
        ];
        for (frame, tag) in rows {
            assert_eq!(start_tag(frame.as_bytes()), tag.map(str::as_bytes), "{frame}");
        }
    }
}
