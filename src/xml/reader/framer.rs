//! Where does a top-level stanza end? One pass over the bytes, with a few words of state between pushes.
//!
//! The framer knows tags, attribute values, references and CDATA sections well enough never to be led astray by a `>` in
//! a value, and refuses by itself, with the first byte that shows it: what RFC 6120 §11.1 forbids, references to
//! characters that XML does not have, names that begin wrongly, end tags of another name than the start tag's, `]]>` in
//! text, attributes without quotes, a second stream header, and what is over a bound. Characters of an unfinished frame
//! are judged when a push leaves it unfinished, so that nobody is kept waiting for the end of what is lost already; those
//! of a frame that came whole are the parser's to judge. Whether prefixes are declared and no attribute comes twice is
//! left to the parser, which sees the frame whole.
//!
//! | state | awaits |
//! |---|---|
//! | `Between` | `<` at the level of the stream; white space there never reaches the framer |
//! | `Mark`, `Declaration*` | the rest of a byte order mark, of `<?xml …?>` |
//! | `Opened`, `Bang`, `CdataOpen` | what a `<`, `<!`, `<![` begins |
//! | `NameStart`, `Name`, `LocalStart` | the bytes of a qualified name |
//! | `EndName` | the bytes of the name that the innermost open element has |
//! | `InTag`, `AfterAttribute`, `BeforeValue`, `AfterValue`, `Slash`, `EndTag` | the rest of a tag |
//! | `Value`, `Text`, `Brackets`, `Cdata` | the end of character data |
//! | `Reference` | what [`Reference`] awaits |

use memchr::{memchr, memchr3};

use super::bounds::{Bound, Limits};
use super::characters;
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
    Name(Owner),
    LocalStart(Owner),
    EndName,
    InTag,
    AfterAttribute,
    BeforeValue,
    Value(u8),
    AfterValue,
    Slash,
    EndTag,
    Text,
    Brackets(u8),
    Cdata(u8),
    Reference,
}

/// Where in the frame the name of an open element stands.
#[derive(Clone, Copy, Debug)]
struct Name {
    at: usize,
    bytes: usize,
}

impl Name {
    fn of(self, frame: &[u8]) -> &[u8] {
        frame.get(self.at..).and_then(|rest| rest.get(..self.bytes)).unwrap_or_default()
    }
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
    /// Bytes of the present frame that are scanned.
    at: usize,
    /// Bytes of the present frame whose characters are judged.
    judged: usize,
    /// The elements open in the present frame, `Limits::depth` of them at most.
    open: Vec<Name>,
    /// Elements opened in the present frame.
    elements: usize,
    /// Attributes of the present tag.
    attributes: usize,
    /// Bytes of the present name.
    run: usize,
    /// The present reference.
    reference: Reference,
}

/// What a step is given to see.
struct Stream<'a> {
    /// The present frame from its first byte on, as far as it has come, and what may follow it.
    frame: &'a [u8],
    /// The name of the stream's start tag; before it there is none.
    root: Option<&'a [u8]>,
    limits: &'a Limits,
}

type Step = Result<Option<Found>, ReadError>;

const NOT_WELL_FORMED: Step = Err(ReadError::NotWellFormed);
const NAME_TOO_LONG: ReadError = ReadError::PolicyViolation(Bound::NameBytes);
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
            at: 0,
            judged: 0,
            open: Vec::new(),
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

    /// Where in the present frame the next byte stands; after an error the one that shows it.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Scans on in a frame that begins with the first of these bytes; those scanned before are at their places still.
    /// Tells what they completed, and how many of them belong to it. `root` is the name of the stream's start tag, `None`
    /// where that is awaited.
    pub(super) fn scan(
        &mut self,
        frame: &[u8],
        root: Option<&str>,
        limits: &Limits,
    ) -> Result<Option<(usize, Found)>, ReadError> {
        let stream = Stream { frame, root: root.map(str::as_bytes), limits };
        match self.walk(&stream) {
            Ok(Some(found)) => {
                let bytes = std::mem::take(&mut self.at);
                self.state = State::Between;
                self.pristine &= found == Found::ByteOrderMark;
                self.judged = 0;
                self.open.clear();
                self.elements = 0;
                Ok(Some((bytes, found)))
            }
            Ok(None) => self.judge(frame).map(|()| None),
            // A character before that place is the first fault.
            Err(error) => self.judge(frame).and(Err(error)),
        }
    }

    /// Nothing is kept while nothing is open.
    pub(super) fn release(&mut self) {
        self.open = Vec::new();
    }

    /// For how many names there is room.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.open.capacity()
    }

    /// Are the characters up to here such as XML has?
    fn judge(&mut self, frame: &[u8]) -> Result<(), ReadError> {
        let unjudged = frame.get(self.judged..self.at).unwrap_or_default();
        self.judged = self.judged.saturating_add(characters::check(unjudged)?);
        Ok(())
    }

    /// Goes on until something is complete, wrong, or needs more bytes. After an error `at` is where the byte stands that
    /// shows it.
    fn walk(&mut self, stream: &Stream<'_>) -> Step {
        // Only what the bound allows is looked at, so that the error is the same however the bytes were split.
        let window = stream.frame.get(..stream.limits.frame_bytes).unwrap_or(stream.frame);
        loop {
            self.skip(window, stream)?;
            let Some(&byte) = window.get(self.at) else { break };
            let found = self.take(byte, stream)?;
            self.at = self.at.saturating_add(1);
            if found.is_some() {
                return Ok(found);
            }
        }
        if window.len() < stream.frame.len() {
            return Err(ReadError::PolicyViolation(Bound::FrameBytes));
        }
        Ok(None)
    }

    /// Passes bytes that leave the state as it is.
    fn skip(&mut self, window: &[u8], stream: &Stream<'_>) -> Result<(), ReadError> {
        let rest = window.get(self.at..).unwrap_or_default();
        let end = match self.state {
            State::Text => memchr3(b'<', b'&', b']', rest),
            State::Value(quote) => memchr3(quote, b'<', b'&', rest),
            State::Cdata(0) => memchr(b']', rest),
            State::Declaration => memchr(b'?', rest),
            State::Name(_) => {
                let end = rest.iter().position(|&byte| class(byte) & NAME == 0 || byte == b':');
                let bytes = end.unwrap_or(rest.len());
                let allowed = stream.limits.name_bytes.saturating_sub(self.run);
                self.at = self.at.saturating_add(bytes.min(allowed));
                self.run = self.run.saturating_add(bytes);
                return if bytes > allowed { Err(NAME_TOO_LONG) } else { Ok(()) };
            }
            State::EndName => return self.end_name(rest, stream),
            _ => return Ok(()),
        };
        self.at = self.at.saturating_add(end.unwrap_or(rest.len()));
        Ok(())
    }

    /// XML 1.0 §3: an end tag has the name of the start tag. What differs is refused at once.
    fn end_name(&mut self, rest: &[u8], stream: &Stream<'_>) -> Result<(), ReadError> {
        let name = match self.open.last() {
            Some(name) => name.of(stream.frame),
            None => stream.root.unwrap_or_default(),
        };
        let awaited = name.get(self.run..).unwrap_or_default();
        let here = rest.get(..awaited.len()).unwrap_or(rest);
        let same = if awaited.starts_with(here) {
            here.len()
        } else {
            here.iter().zip(awaited).take_while(|(one, other)| one == other).count()
        };
        self.at = self.at.saturating_add(same);
        self.run = self.run.saturating_add(same);
        if same < here.len() {
            return Err(ReadError::NotWellFormed);
        }
        if self.run == name.len() {
            self.state = State::EndTag;
        }
        Ok(())
    }

    /// One byte that may change the state.
    fn take(&mut self, byte: u8, stream: &Stream<'_>) -> Step {
        let prolog = stream.root.is_none();
        match self.state {
            State::Between => self.between(byte, prolog),
            State::Mark(_) | State::DeclarationName(_) | State::Declaration | State::DeclarationEnd => {
                self.in_prolog(byte)
            }
            State::Opened => self.opened(byte, stream),
            State::Bang | State::CdataOpen(_) | State::Cdata(_) => self.in_bang(byte, prolog),
            State::LocalStart(owner) => self.name_start(byte, owner, stream.limits),
            State::Name(owner) => self.after_name(byte, owner, stream),
            State::InTag | State::AfterValue | State::Slash => self.in_tag(byte, stream),
            State::AfterAttribute | State::BeforeValue => self.before_value(byte),
            State::EndTag => self.end_tag(byte),
            State::Text | State::Brackets(_) => self.text(byte),
            // Unless all of its bytes are there, the name is not passed.
            State::EndName => NOT_WELL_FORMED,
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
            State::Reference => {
                if self.reference.take(byte)? {
                    self.state = self.outer;
                }
                Ok(None)
            }
        }
    }

    /// In character data.
    fn text(&mut self, byte: u8) -> Step {
        match (self.state, byte) {
            (_, b'&') => {
                self.state = State::Text;
                self.open_reference();
            }
            (_, b'<') => self.state = State::Opened,
            (State::Text, b']') => self.state = State::Brackets(1),
            (_, b']') => self.state = State::Brackets(2),
            // XML 1.0 §2.4: not even as an oversight.
            (State::Brackets(2), b'>') => return NOT_WELL_FORMED,
            _ => self.state = State::Text,
        }
        Ok(None)
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
    fn opened(&mut self, byte: u8, stream: &Stream<'_>) -> Step {
        let Stream { limits, .. } = *stream;
        let prolog = stream.root.is_none();
        match byte {
            b'/' if prolog => NOT_WELL_FORMED,
            b'/' => {
                self.run = 0;
                self.state = State::EndName;
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
                self.elements = self.elements.saturating_add(usize::from(!prolog));
                if !prolog && self.open.len() >= limits.depth {
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
            (State::Bang, b'[') if self.open.is_empty() => return Err(ReadError::BadFormat),
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
            return Err(NAME_TOO_LONG);
        }
        Ok(None)
    }

    /// The byte that ends a name or its prefix.
    fn after_name(&mut self, byte: u8, owner: Owner, stream: &Stream<'_>) -> Step {
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
                if stream.root.is_some() {
                    self.open.push(Name { at: self.at.saturating_sub(self.run), bytes: self.run });
                }
                self.state = State::AfterValue;
                self.in_tag(byte, stream)
            }
            Owner::Attribute => {
                self.state = State::AfterAttribute;
                self.before_value(byte)
            }
        }
    }

    /// In a start tag, where an attribute or the end may follow.
    #[inline]
    fn in_tag(&mut self, byte: u8, stream: &Stream<'_>) -> Step {
        let empty = self.state == State::Slash;
        match byte {
            b'>' if stream.root.is_none() => return Ok(Some(Found::Header { empty })),
            b'>' if self.elements == 1 && self.is_header(stream) => return Err(ReadError::BadFormat),
            b'>' if empty => return self.leave(),
            b'>' => self.state = State::Text,
            _ if empty => return NOT_WELL_FORMED,
            b'/' => self.state = State::Slash,
            b' ' | b'\t' | b'\r' | b'\n' => self.state = State::InTag,
            _ if self.state == State::InTag => {
                self.attributes = self.attributes.saturating_add(1);
                if self.attributes > stream.limits.attributes {
                    return Err(ReadError::PolicyViolation(Bound::Attributes));
                }
                return self.name_start(byte, Owner::Attribute, stream.limits);
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
        if self.open.is_empty() {
            return Ok(Some(Found::Closing));
        }
        self.leave()
    }

    /// Is the start tag of the stanza one more of the stream (RFC 6120 §4.9.3.1)? Its end would be long in coming.
    fn is_header(&self, stream: &Stream<'_>) -> bool {
        self.open.first().is_some_and(|name| Some(name.of(stream.frame)) == stream.root)
    }

    /// After the end of an element.
    fn leave(&mut self) -> Step {
        self.open.pop();
        if self.open.is_empty() {
            return Ok(Some(Found::Element));
        }
        self.state = State::Text;
        Ok(None)
    }
}
