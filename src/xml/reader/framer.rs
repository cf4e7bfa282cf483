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
//! | `Reference` | what [`Reference`] awaits |

use memchr::{memchr, memchr2, memchr3};

use super::bounds::{Bound, Limits};
use super::chars::{NAME, SPACE, START, class};
use super::error::ReadError;
use super::reference::Reference;

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
    Reference,
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
    /// Bytes of the present name.
    run: usize,
    /// The present reference.
    reference: Reference,
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
            reference: Reference::new(),
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
        while at < window.len() {
            at = at.saturating_add(self.skip(window.get(at..).unwrap_or_default(), limits)?);
            let Some(&byte) = window.get(at) else { break };
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
                    b'&' => self.open_reference(),
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
                    self.open_reference();
                } else {
                    self.state = State::Opened;
                }
                Ok(None)
            }
            State::Reference => {
                if self.reference.take(byte)? {
                    self.state = self.outer;
                }
                Ok(None)
            }
        }
    }

    fn open_reference(&mut self) {
        self.outer = self.state;
        self.state = State::Reference;
        self.reference = Reference::new();
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
}
