//! Bytes of one stream into stream events, in two steps.
//!
//! [`framer`] walks over the bytes once, with a few words of state, and finds where a top-level stanza ends. It refuses
//! what RFC 6120 §11.1 forbids, what is over a bound, and tags that do not match, before anything is parsed. A [`parser::Parser`] then turns one
//! whole frame into an element, in the namespace context of the stream header. Two parsers exist: the house's own
//! ([`own`]), and the one on xml-rs ([`oracle`]) that the first must agree with; tests compare them.
//!
//! Serves `stream/` and whoever reads XML that peers send. Invariants: any split of the same bytes gives the same events
//! and the same error (only [`Event::Whitespace`] may repeat); no byte is looked at twice by the framer; nothing is kept
//! of white space; an idle reader owns no buffer. Where one faulty element must not end the stream, a [`skipper`] finds its
//! end.

mod bounds;
mod characters;
mod chars;
mod context;
mod declaration;
mod error;
mod framer;
mod known;
mod oracle;
mod own;
mod parser;
mod reference;
mod skipper;
#[cfg(test)]
mod tests;

use super::element::Element;
use context::Context;
use framer::{Found, Framer};
use skipper::Skipper;

pub use bounds::{Bound, Limits};
pub use context::StreamHeader;
pub use error::ReadError;
pub use parser::Engine;

/// What a stream says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream header, as it stands: a higher room judges its names and addresses.
    Opened(Box<StreamHeader>),
    /// A whole top-level element.
    Element(Element),
    /// White space between top-level elements: a keepalive (RFC 6120 §4.6). A run is told once per push at most.
    Whitespace,
    /// The closing tag of the stream (RFC 6120 §4.4); what follows is dropped.
    Closed,
}

/// What the reader awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The stream header, and before it an XML declaration if there was none yet.
    ExpectHeader,
    /// Top-level elements, white space or the closing tag.
    ExpectElement,
    /// The stream header was an empty element: the stream is closed with the next event.
    ExpectClosed,
    /// Nothing any more.
    Closed,
    /// Nothing any more: the same error again and again.
    Failed(ReadError),
}

/// Reads one element that the house itself wrote as text, from the store for instance; there are no bounds.
///
/// # Errors
/// When it is not exactly one well-formed element.
pub fn element(text: &str) -> Result<Element, ReadError> {
    // The root has a name that no element has, for none may have that of the root; and no default namespace, for the
    // writer counts on none.
    const HEADER: &str = "<stream:_ xmlns:stream='http://etherx.jabber.org/streams'>";
    const MAX: usize = usize::MAX / 4;
    let limits = Limits { frame_bytes: MAX, depth: MAX, elements: MAX, attributes: MAX, name_bytes: MAX };
    let mut reader = Reader::new(limits);
    reader.push(HEADER.as_bytes());
    reader.next()?;
    reader.push(text.as_bytes());
    match (reader.next()?, reader.next()?) {
        (Some(Event::Element(element)), None) if reader.buffer.is_empty() => Ok(element),
        _ => Err(ReadError::NotWellFormed),
    }
}

/// The reader of one stream.
pub struct Reader {
    limits: Limits,
    engine: Engine,
    phase: Phase,
    framer: Framer,
    context: Context,
    /// Bytes not yet consumed; empty and unallocated when idle.
    buffer: Vec<u8>,
    /// Where in `buffer` the present frame starts.
    start: usize,
    /// White space was seen between elements and not told yet.
    whitespace: bool,
    /// Does a fault that [`Reader::skip`] forgives leave the stream alive?
    is_lenient: bool,
    /// What is passed over.
    skipper: Option<Skipper>,
}

/// Bytes of a start tag that is told of an element that is passed over: it goes into a log, and into an answer.
const HEAD_BYTES_MAX: usize = 4_096;

/// A top-level element that is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// It without what is in it, if its start tag could be read.
    pub head: Option<Element>,
}

impl Reader {
    /// A reader that expects a stream header.
    pub fn new(limits: Limits) -> Reader {
        Reader::with_engine(limits, Engine::default())
    }

    /// A reader with a parser of one's choice, for tests and benchmarks.
    pub fn with_engine(limits: Limits, engine: Engine) -> Reader {
        Reader {
            limits,
            engine,
            phase: Phase::ExpectHeader,
            framer: Framer::new(),
            context: Context::default(),
            buffer: Vec::new(),
            start: 0,
            whitespace: false,
            is_lenient: false,
            skipper: None,
        }
    }

    /// From now on [`Reader::skip`] may be called after an error.
    pub fn be_lenient(&mut self) {
        self.is_lenient = true;
    }

    /// Other bounds from the next byte on: more after a login, for one.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Hands over bytes as they came. They are copied; take the events out with [`Reader::next`] before pushing more,
    /// then the reader never holds more than one unfinished frame and the bytes of one push.
    pub fn push(&mut self, bytes: &[u8]) {
        if matches!(self.phase, Phase::Closed | Phase::Failed(_)) {
            return;
        }
        let mut bytes = bytes;
        if self.buffer.is_empty() && self.framer.is_between() && self.skipper.is_none() {
            let kept = bytes.trim_ascii_start_xml();
            self.whitespace |= kept.len() < bytes.len();
            bytes = kept;
        }
        if bytes.is_empty() {
            return;
        }
        let needed = self.buffer.len().saturating_add(bytes.len());
        if needed > self.buffer.capacity() {
            // Doubling, but not beyond what a frame may have: an unfinished frame costs its bound, not twice that.
            let doubled = self.buffer.capacity().saturating_mul(2).min(self.limits.frame_bytes);
            self.buffer.reserve_exact(doubled.max(needed).saturating_sub(self.buffer.len()));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event, `None` when more bytes are needed.
    ///
    /// # Errors
    /// The first fault of the stream, and the same one ever after.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end; a reader goes on after None")]
    pub fn next(&mut self) -> Result<Option<Event>, ReadError> {
        let result = self.step();
        if let Err(error) = result {
            let may_skip = self.is_lenient && self.phase == Phase::ExpectElement && self.is_forgivable(error);
            self.phase = Phase::Failed(error);
            if !may_skip {
                self.is_lenient = false;
                self.drop_buffer();
            }
        }
        result
    }

    /// After an error of [`Reader::next`]: passes over the element that has the fault, and goes on behind it. `None` if
    /// the fault is the stream's: what is not well-formed has no end that could be found.
    pub fn skip(&mut self) -> Option<Skipped> {
        if !self.is_lenient || !matches!(self.phase, Phase::Failed(_)) {
            return None;
        }
        let frame = self.buffer.get(self.start..).unwrap_or_default();
        // What came behind the fault is not looked at, so that it is the same however the bytes were split.
        let seen = frame.get(..self.framer.at()).filter(|seen| !seen.is_empty()).unwrap_or(frame);
        let tag = skipper::start_tag(seen).filter(|tag| tag.len() <= HEAD_BYTES_MAX);
        let tag = tag.and_then(|tag| std::str::from_utf8(tag).ok());
        let head = tag.and_then(|tag| self.engine.parser().element(&format!("{tag}/>"), &self.context).ok());
        self.framer = Framer::new();
        self.skipper = Some(Skipper::new());
        self.phase = Phase::ExpectElement;
        Some(Skipped { head })
    }

    /// Is this a fault of one element, whose end can be found nevertheless?
    fn is_forgivable(&self, error: ReadError) -> bool {
        match error {
            ReadError::PolicyViolation(_) | ReadError::BadNamespacePrefix => true,
            // A comment or an instruction; not a document type, which has brackets.
            ReadError::RestrictedXml => {
                let at = self.start.saturating_add(self.framer.at());
                self.buffer.get(at).is_some_and(|byte| matches!(byte, b'-' | b'?'))
            }
            ReadError::BadFormat | ReadError::NotWellFormed | ReadError::UnsupportedEncoding => false,
        }
    }

    /// Expects a new stream header in the bytes that follow the last event (RFC 6120 §4.3.3). After STARTTLS make a new
    /// reader instead: bytes that came in the clear must not be read as if they had been protected.
    pub fn restart(&mut self) {
        self.phase = Phase::ExpectHeader;
        self.framer = Framer::new();
        self.context = Context::default();
        self.whitespace = false;
    }

    fn step(&mut self) -> Result<Option<Event>, ReadError> {
        match self.phase {
            Phase::Failed(error) => return Err(error),
            Phase::Closed => {
                self.drop_buffer();
                return Ok(None);
            }
            Phase::ExpectClosed => {
                self.phase = Phase::Closed;
                return Ok(Some(Event::Closed));
            }
            Phase::ExpectHeader | Phase::ExpectElement => {}
        }
        loop {
            if let Some(skipper) = &mut self.skipper {
                let Some(bytes) = skipper.pass(self.buffer.get(self.start..).unwrap_or_default()) else {
                    self.drop_buffer();
                    return Ok(None);
                };
                self.start = self.start.saturating_add(bytes);
                self.skipper = None;
            }
            if self.framer.is_between() {
                self.skip_whitespace();
                if std::mem::take(&mut self.whitespace) && self.phase == Phase::ExpectElement {
                    return Ok(Some(Event::Whitespace));
                }
            }
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let root = (self.phase == Phase::ExpectElement).then(|| self.context.root());
            let Some((bytes, found)) = self.framer.scan(rest, root, &self.limits)? else {
                self.keep_rest();
                return Ok(None);
            };
            let event = self.take_frame(bytes, found).map_err(|error| self.first_fault(bytes, error))?;
            self.start = self.start.saturating_add(bytes);
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn take_frame(&mut self, bytes: usize, found: Found) -> Result<Option<Event>, ReadError> {
        let frame = self.buffer.get(self.start..).and_then(|rest| rest.get(..bytes)).unwrap_or_default();
        // RFC 6120 §4.9.3.22: bytes that are not UTF-8 are a fault of encoding.
        let frame = std::str::from_utf8(frame).map_err(|_| ReadError::UnsupportedEncoding)?;
        match found {
            // RFC 6120 §11.6 wants U+FEFF read as a character. Compat: an editor's byte order mark before the header.
            Found::ByteOrderMark => Ok(None),
            Found::Declaration => declaration::check(frame).map(|()| None),
            Found::Header { empty } => {
                let root = self.engine.parser().header(frame, empty)?;
                let (context, header) = context::open(root);
                self.context = context;
                self.phase = if empty { Phase::ExpectClosed } else { Phase::ExpectElement };
                Ok(Some(Event::Opened(Box::new(header))))
            }
            Found::Element => {
                let item = self.engine.parser().element(frame, &self.context)?;
                // The shortest element has four bytes. In most frames there is no room for what would be too much.
                let longest = self.context.longest_ns().max(bytes);
                let most = self.limits.frame_bytes;
                if longest.saturating_mul(bytes / 4) > most && namespace_bytes(&item, "") > most {
                    return Err(ReadError::PolicyViolation(Bound::Namespaces));
                }
                Ok(Some(Event::Element(item)))
            }
            Found::Closing => {
                self.phase = Phase::Closed;
                Ok(Some(Event::Closed))
            }
        }
    }

    /// Of two faults in one frame the character's counts: had the frame come in pieces, it would have been told before.
    fn first_fault(&self, bytes: usize, error: ReadError) -> ReadError {
        let frame = self.buffer.get(self.start..).and_then(|rest| rest.get(..bytes)).unwrap_or_default();
        characters::check(frame).err().unwrap_or(error)
    }

    fn skip_whitespace(&mut self) {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let skipped = rest.len().saturating_sub(rest.trim_ascii_start_xml().len());
        self.whitespace |= skipped > 0;
        self.start = self.start.saturating_add(skipped);
    }

    /// Keeps only the bytes of an unfinished frame; each is moved once at most, for after that `start` is 0.
    fn keep_rest(&mut self) {
        if self.start >= self.buffer.len() {
            self.drop_buffer();
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
    }

    fn drop_buffer(&mut self) {
        self.buffer = Vec::new();
        self.framer.release();
        self.start = 0;
    }
}

/// Bytes of the namespaces that are declared where this is written. The writer knows no prefixes: a namespace that was
/// declared once and is that of thousands of elements is written thousands of times, and goes so to each receiver.
fn namespace_bytes(item: &Element, outer: &str) -> usize {
    let own = if item.ns() == outer { 0 } else { item.ns().len() };
    let of_attributes = item.attributes().iter().map(|attribute| attribute.ns().len());
    let of_children = item.children().map(|child| namespace_bytes(child, item.ns()));
    of_attributes.chain(of_children).fold(own, usize::saturating_add)
}

/// White space of XML 1.0 §2.3.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// `trim_ascii_start` would take a form feed for white space; XML 1.0 §2.3 does not.
trait TrimSpace {
    fn trim_ascii_start_xml(&self) -> &[u8];
}

impl TrimSpace for [u8] {
    fn trim_ascii_start_xml(&self) -> &[u8] {
        let at = self.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        at.and_then(|at| self.get(at..)).unwrap_or_default()
    }
}
