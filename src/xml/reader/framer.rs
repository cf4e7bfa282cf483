//! Where does a top-level stanza end? One pass over the bytes, with a few words of state between pushes.
//!
//! The framer knows tags, attribute values, references and CDATA sections well enough never to be led astray by a `>` in
//! a value, and refuses by itself: what RFC 6120 §11.1 forbids, references to characters that XML does not have, names
//! that begin wrongly, attributes without quotes, and what is over a bound. Whether tags match, prefixes are declared and
//! characters are allowed is left to the parser, which sees the frame whole.
//!
//! | state | awaits |
//! |---|---|
//! | `Between` | `<` at the level of the stream; white space there never reaches the framer |
//! | `Mark`, `Declaration*` | the rest of a byte order mark, of `<?xml …?>` |
//! | `Opened`, `Bang`, `CdataOpen` | what a `<`, `<!`, `<![` begins |
//! | `NameStart`, `Name`, `LocalStart` | the bytes of a qualified name |
//! | `InTag`, `AfterAttribute`, `BeforeValue`, `AfterValue`, `Slash`, `EndTag` | the rest of a tag |
//! | `Value`, `Text`, `Cdata` | the end of character data |
//! | `Entity`, `Number`, `Decimal`, `Hexadecimal` | the rest of a reference |

use memchr::{memchr, memchr2, memchr3};

use super::error::{Bound, ReadError};

/// Bounds of one stream. What is equal to a bound passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a stream header or of a top-level element with all that is in it. RFC 6120 §13.12 asks for 10 000 at
    /// least once the peer is known.
    pub frame_bytes: usize,
    /// Nested elements; the top-level element counts as one.
    pub depth: usize,
    /// Elements in one top-level element, itself counted.
    pub elements: usize,
    /// Attributes in one tag, namespace declarations counted.
    pub attributes: usize,
    /// Bytes of an element's or attribute's name with its prefix.
    pub name_bytes: usize,
}

/// A piece of the stream that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// U+FEFF as the very first thing.
    ByteOrderMark,
    /// `<?xml …?>`.
    Declaration,
    /// The start tag of the stream; `empty` if it is its end, too.
    Header { empty: bool },
    /// A top-level element.
    Element,
    /// An end tag at the level of the stream.
    Closing,
}

/// Whose name is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    StartTag,
    Attribute,
    EndTag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Mark(u8),
    DeclarationName(u8),
    Declaration,
    DeclarationEnd,
    Opened,
    Bang,
    CdataOpen(u8),
    NameStart(Owner),
    Name(Owner),
    LocalStart(Owner),
    InTag,
    AfterAttribute,
    BeforeValue,
    Value(u8),
    AfterValue,
    Slash,
    EndTag,
    Text,
    Cdata(u8),
    Entity,
    Number,
    Decimal,
    Hexadecimal,
}

/// The framer's memory between two pushes.
#[derive(Clone, Debug)]
pub(super) struct Framer {
    state: State,
    /// What a reference is in: `Text` or `Value`.
    outer: State,
    /// Neither an XML declaration nor a header was seen since the start of the stream.
    pristine: bool,
    /// A byte order mark was seen.
    marked: bool,
    /// The name being read has its colon.
    prefixed: bool,
    /// Bytes of the present frame before the ones being scanned.
    frame: usize,
    /// Elements open in the present frame.
    depth: usize,
    /// Elements opened in the present frame.
    elements: usize,
    /// Attributes of the present tag.
    attributes: usize,
    /// Bytes of the present name, or digits of a character reference.
    run: usize,
    /// The letters of an entity's name or the number of a character reference.
    reference: u32,
}

type Step = Result<Option<Found>, ReadError>;

const NOT_WELL_FORMED: Step = Err(ReadError::NotWellFormed);
const RESTRICTED: Step = Err(ReadError::RestrictedXml);

impl Framer {
    /// A framer at the start of a stream.
    pub(super) fn new() -> Framer {
        Framer {
            state: State::Between,
            outer: State::Text,
            pristine: true,
            marked: false,
            prefixed: false,
            frame: 0,
            depth: 0,
            elements: 0,
            attributes: 0,
            run: 0,
            reference: 0,
        }
    }

    /// Is it at the level of the stream, with no frame begun?
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Between
    }

    /// Scans bytes that follow those scanned before. Tells how many it used, and what they completed.
    pub(super) fn scan(
        &mut self,
        bytes: &[u8],
        prolog: bool,
        limits: &Limits,
    ) -> Result<(usize, Option<Found>), ReadError> {
        // Only what the bound allows is looked at, so that the error is the same however the bytes were split.
        let allowed = limits.frame_bytes.saturating_sub(self.frame);
        let window = bytes.get(..allowed).unwrap_or(bytes);
        let mut at = 0;
        while let Some(&byte) = window.get(at) {
            let rest = window.get(at..).unwrap_or_default();
            let skipped = self.skip(rest, limits)?;
            if skipped > 0 {
                at = at.saturating_add(skipped);
                continue;
            }
            at = at.saturating_add(1);
            if let Some(found) = self.take(byte, prolog, limits)? {
                self.state = State::Between;
                self.pristine &= found == Found::ByteOrderMark;
                self.frame = 0;
                self.depth = 0;
                self.elements = 0;
                return Ok((at, Some(found)));
            }
        }
        if window.len() < bytes.len() {
            return Err(ReadError::PolicyViolation(Bound::FrameBytes));
        }
        self.frame = self.frame.saturating_add(at);
        Ok((at, None))
    }

    /// How many of these bytes leave the state as it is.
    fn skip(&mut self, rest: &[u8], limits: &Limits) -> Result<usize, ReadError> {
        let end = match self.state {
            State::Text => memchr2(b'<', b'&', rest),
            State::Value(quote) => memchr3(quote, b'<', b'&', rest),
            State::Cdata(0) => memchr(b']', rest),
            State::Declaration => memchr(b'?', rest),
            State::Name(_) => {
                let end = rest.iter().position(|&byte| class(byte) & NAME == 0 || byte == b':');
                self.run = self.run.saturating_add(end.unwrap_or(rest.len()));
                if self.run > limits.name_bytes {
                    return Err(ReadError::PolicyViolation(Bound::NameBytes));
                }
                end
            }
            _ => return Ok(0),
        };
        Ok(end.unwrap_or(rest.len()))
    }

    /// One byte that may change the state.
    fn take(&mut self, byte: u8, prolog: bool, limits: &Limits) -> Step {
        match self.state {
            State::Between => self.between(byte, prolog),
            State::Mark(_) | State::DeclarationName(_) | State::Declaration | State::DeclarationEnd => {
                self.in_prolog(byte)
            }
            State::Opened => self.opened(byte, prolog, limits),
            State::Bang | State::CdataOpen(_) | State::Cdata(_) => self.in_bang(byte, prolog),
            State::NameStart(owner) | State::LocalStart(owner) => self.name_start(byte, owner, limits),
            State::Name(owner) => self.after_name(byte, owner, prolog, limits),
            State::InTag | State::AfterValue | State::Slash => self.in_tag(byte, prolog, limits),
            State::AfterAttribute | State::BeforeValue => self.before_value(byte),
            State::EndTag => self.end_tag(byte),
            State::Value(quote) => {
                match byte {
                    b'&' => self.reference(),
                    b'<' => return NOT_WELL_FORMED,
                    _ => {
                        debug_assert_eq!(byte, quote);
                        self.state = State::AfterValue;
                    }
                }
                Ok(None)
            }
            State::Text => {
                if byte == b'&' {
                    self.reference();
                } else {
                    self.state = State::Opened;
                }
                Ok(None)
            }
            State::Entity | State::Number | State::Decimal | State::Hexadecimal => self.in_reference(byte),
        }
    }

    fn between(&mut self, byte: u8, prolog: bool) -> Step {
        match byte {
            b'<' => self.state = State::Opened,
            // A byte order mark, or half a UTF-16 character (XML 1.0 appendix F.1).
            0xEF if prolog && self.pristine && !self.marked => {
                self.marked = true;
                self.state = State::Mark(1);
            }
            0x00 | 0xFE | 0xFF if prolog && self.pristine => return Err(ReadError::UnsupportedEncoding),
            _ if prolog || byte < b' ' => return NOT_WELL_FORMED,
            // Text between stanzas is well-formed, but nothing that a stream may hold (RFC 6120 §4.9.3.1).
            _ => return Err(ReadError::BadFormat),
        }
        Ok(None)
    }

    fn in_prolog(&mut self, byte: u8) -> Step {
        self.state = match (self.state, byte) {
            (State::Mark(1), 0xBB) => State::Mark(2),
            (State::Mark(2), 0xBF) => return Ok(Some(Found::ByteOrderMark)),
            (State::Mark(_), _) => return NOT_WELL_FORMED,
            (State::DeclarationName(0), b'x') => State::DeclarationName(1),
            (State::DeclarationName(1), b'm') => State::DeclarationName(2),
            (State::DeclarationName(2), b'l') => State::DeclarationName(3),
            (State::DeclarationName(3), _) if class(byte) & SPACE != 0 => State::Declaration,
            (State::DeclarationName(_), _) => return RESTRICTED,
            (State::DeclarationEnd, b'>') => return Ok(Some(Found::Declaration)),
            (State::Declaration, b'?') => State::DeclarationEnd,
            _ => return NOT_WELL_FORMED,
        };
        Ok(None)
    }

    /// After `<`.
    fn opened(&mut self, byte: u8, prolog: bool, limits: &Limits) -> Step {
        match byte {
            b'/' if prolog => NOT_WELL_FORMED,
            b'/' => {
                self.state = State::NameStart(Owner::EndTag);
                Ok(None)
            }
            b'!' => {
                self.state = State::Bang;
                Ok(None)
            }
            // RFC 6120 §11.5 has the declaration first, and RFC 6120 §11.1 no other instruction anywhere.
            b'?' if prolog && self.pristine => {
                self.state = State::DeclarationName(0);
                Ok(None)
            }
            b'?' => RESTRICTED,
            0x00 if prolog => Err(ReadError::UnsupportedEncoding),
            _ => {
                if !prolog {
                    self.depth = self.depth.saturating_add(1);
                    self.elements = self.elements.saturating_add(1);
                }
                if self.depth > limits.depth {
                    return Err(ReadError::PolicyViolation(Bound::Depth));
                }
                if self.elements > limits.elements {
                    return Err(ReadError::PolicyViolation(Bound::Elements));
                }
                self.attributes = 0;
                self.name_start(byte, Owner::StartTag, limits)
            }
        }
    }

    /// After `<!`, and inside CDATA sections.
    fn in_bang(&mut self, byte: u8, prolog: bool) -> Step {
        self.state = match (self.state, byte) {
            (State::Bang, b'[') if prolog => return NOT_WELL_FORMED,
            (State::Bang, b'[') if self.depth == 0 => return Err(ReadError::BadFormat),
            (State::Bang, b'[') => State::CdataOpen(0),
            // A comment, a document type, or the declarations of one (RFC 6120 §11.1).
            (State::Bang, b'-' | b'A'..=b'Z') => return RESTRICTED,
            (State::CdataOpen(0), b'C') => State::CdataOpen(1),
            (State::CdataOpen(1), b'D') => State::CdataOpen(2),
            (State::CdataOpen(2), b'A') => State::CdataOpen(3),
            (State::CdataOpen(3), b'T') => State::CdataOpen(4),
            (State::CdataOpen(4), b'A') => State::CdataOpen(5),
            (State::CdataOpen(5), b'[') => State::Cdata(0),
            (State::Cdata(0), b']') => State::Cdata(1),
            (State::Cdata(_), b']') => State::Cdata(2),
            (State::Cdata(2), b'>') => State::Text,
            (State::Cdata(_), _) => State::Cdata(0),
            _ => return NOT_WELL_FORMED,
        };
        Ok(None)
    }

    /// The first byte of a name, or of its part after the colon.
    fn name_start(&mut self, byte: u8, owner: Owner, limits: &Limits) -> Step {
        if class(byte) & START == 0 {
            return NOT_WELL_FORMED;
        }
        if !matches!(self.state, State::LocalStart(_)) {
            self.prefixed = false;
            self.run = 0;
        }
        self.state = State::Name(owner);
        self.run = self.run.saturating_add(1);
        if self.run > limits.name_bytes {
            return Err(ReadError::PolicyViolation(Bound::NameBytes));
        }
        Ok(None)
    }

    /// The byte that ends a name or its prefix.
    fn after_name(&mut self, byte: u8, owner: Owner, prolog: bool, limits: &Limits) -> Step {
        if byte == b':' {
            // Namespaces in XML 1.0 §4: a name has one colon at most.
            if self.prefixed {
                return NOT_WELL_FORMED;
            }
            self.prefixed = true;
            self.run = self.run.saturating_add(1);
            self.state = State::LocalStart(owner);
            return Ok(None);
        }
        match owner {
            Owner::StartTag => {
                self.state = State::AfterValue;
                self.in_tag(byte, prolog, limits)
            }
            Owner::Attribute => {
                self.state = State::AfterAttribute;
                self.before_value(byte)
            }
            Owner::EndTag => {
                self.state = State::EndTag;
                self.end_tag(byte)
            }
        }
    }

    /// In a start tag, where an attribute or the end may follow.
    fn in_tag(&mut self, byte: u8, prolog: bool, limits: &Limits) -> Step {
        let empty = self.state == State::Slash;
        match byte {
            b'>' if prolog => return Ok(Some(Found::Header { empty })),
            b'>' if empty => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Ok(Some(Found::Element));
                }
                self.state = State::Text;
            }
            b'>' => self.state = State::Text,
            _ if empty => return NOT_WELL_FORMED,
            b'/' => self.state = State::Slash,
            b' ' | b'\t' | b'\r' | b'\n' => self.state = State::InTag,
            _ if self.state == State::InTag => {
                self.attributes = self.attributes.saturating_add(1);
                if self.attributes > limits.attributes {
                    return Err(ReadError::PolicyViolation(Bound::Attributes));
                }
                return self.name_start(byte, Owner::Attribute, limits);
            }
            // XML 1.0 §3.1: white space between attributes.
            _ => return NOT_WELL_FORMED,
        }
        Ok(None)
    }

    /// Between an attribute's name and its value.
    fn before_value(&mut self, byte: u8) -> Step {
        self.state = match (self.state, byte) {
            (state, b' ' | b'\t' | b'\r' | b'\n') => state,
            (State::AfterAttribute, b'=') => State::BeforeValue,
            (State::BeforeValue, b'\'' | b'"') => State::Value(byte),
            _ => return NOT_WELL_FORMED,
        };
        Ok(None)
    }

    /// Between an end tag's name and its end.
    fn end_tag(&mut self, byte: u8) -> Step {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return Ok(None),
            b'>' => {}
            _ => return NOT_WELL_FORMED,
        }
        if self.depth == 0 {
            return Ok(Some(Found::Closing));
        }
        self.depth = self.depth.saturating_sub(1);
        if self.depth == 0 {
            return Ok(Some(Found::Element));
        }
        self.state = State::Text;
        Ok(None)
    }

    fn reference(&mut self) {
        self.outer = self.state;
        self.state = State::Entity;
        self.run = 0;
        self.reference = 0;
    }

    fn in_reference(&mut self, byte: u8) -> Step {
        match (self.state, byte) {
            (State::Entity, b'#') if self.run == 0 => self.state = State::Number,
            (State::Entity, b';') => return self.entity_end(),
            (State::Entity, _) => {
                let allowed = if self.run == 0 { START } else { NAME };
                if class(byte) & allowed == 0 {
                    return NOT_WELL_FORMED;
                }
                self.run = self.run.saturating_add(1);
                self.reference = self.reference << 8 | u32::from(byte);
                if self.run > 4 {
                    return RESTRICTED;
                }
            }
            (State::Number, b'x') => self.state = State::Hexadecimal,
            (State::Number, _) => {
                self.state = State::Decimal;
                return self.digit(byte, 10);
            }
            (State::Decimal, _) => return self.digit(byte, 10),
            _ => return self.digit(byte, 16),
        }
        Ok(None)
    }

    /// RFC 6120 §11.1: no entity but the predefined ones.
    fn entity_end(&mut self) -> Step {
        match &self.reference.to_be_bytes() {
            b"\0\0lt" | b"\0\0gt" | b"\0amp" | b"apos" | b"quot" => {
                self.state = self.outer;
                Ok(None)
            }
            _ if self.run == 0 => NOT_WELL_FORMED,
            _ => RESTRICTED,
        }
    }

    /// A digit of a character reference, or its end: it must be a character of XML (XML 1.0 §4.1).
    fn digit(&mut self, byte: u8, base: u32) -> Step {
        if byte == b';' && self.run > 0 {
            self.state = self.outer;
            return if char::from_u32(self.reference).is_some_and(is_xml) { Ok(None) } else { NOT_WELL_FORMED };
        }
        let Some(digit) = char::from(byte).to_digit(base) else { return NOT_WELL_FORMED };
        self.run = 1;
        self.reference = self.reference.saturating_mul(base).saturating_add(digit);
        Ok(None)
    }
}

/// A character that XML 1.0 §2.2 allows.
pub(super) fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// May stand in a name. Bytes of longer characters all may: the parser looks closer.
pub(super) const NAME: u8 = 1;
/// May begin a name or its local part.
pub(super) const START: u8 = 2;
/// White space of XML 1.0 §2.3.
pub(super) const SPACE: u8 = 4;

const CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, bounded by the loop")]
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => NAME | START,
            b'0'..=b'9' | b'-' | b'.' => NAME,
            b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    classes
}

/// What a byte may do in names.
#[expect(clippy::indexing_slicing, reason = "a byte is always below 256")]
#[inline]
pub(super) fn class(byte: u8) -> u8 {
    CLASSES[byte as usize]
}
