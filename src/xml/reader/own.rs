//! The house's own parser: one frame, one pass, no copy but for what the element keeps.
//!
//! It takes the subset of XML 1.0 that RFC 6120 §11 leaves, with Namespaces in XML 1.0. It does not lean on the framer
//! for its own safety: whatever text it is given, it answers with an element or an error.

use std::borrow::Cow;
use std::collections::HashSet;

use memchr::memchr;

use super::chars::{NAME, PLAIN, SECTION, START, TEXT, VALUE, class, is_name, is_name_start, is_xml, stops};
use super::context::Context;
use super::known;
use super::parser::{Parser, Root, XML_NS, XMLNS_NS};
use super::{Bound, ReadError};
use crate::xml::element::{Attribute, Element, Node, Text};

/// Prefixes that the open elements of a frame may have declared, all together.
const PREFIXES_MAX: usize = 256;

/// The engine; it keeps nothing between frames.
pub(super) struct Own;

impl Parser for Own {
    fn header(&self, tag: &str, empty: bool) -> Result<Root, ReadError> {
        let context = Context::default();
        let mut frame = Frame::new(tag, &context);
        let start = frame.start_tag()?;
        if start.empty != empty || frame.at < tag.len() {
            return Err(ReadError::NotWellFormed);
        }
        let mut declared: Vec<_> = frame
            .scopes
            .iter()
            .filter(|(prefix, _)| *prefix != "xml")
            .map(|(prefix, ns)| (known::text(prefix), ns.clone()))
            .collect();
        if !frame.default.is_empty() {
            declared.push((Text::Static(""), frame.default));
        }
        declared.sort_by(|(one, _), (two, _)| one.as_str().cmp(two));
        Ok(Root { qualified: known::text(start.qualified), ns: start.ns, attributes: start.attributes, declared })
    }

    fn element(&self, frame: &str, context: &Context) -> Result<Element, ReadError> {
        let mut frame = Frame::new(frame, context);
        let mut open: Vec<(Start<'_>, Vec<Node>)> = Vec::new();
        loop {
            // Here stands a tag: at the beginning, and wherever character data has ended.
            let done = if frame.rest().starts_with(b"</") {
                let (start, nodes) = open.pop().ok_or(ReadError::NotWellFormed)?;
                frame.end_tag(start.qualified)?;
                frame.leave(start, nodes)
            } else {
                let start = frame.start_tag()?;
                let nodes = match start.empty {
                    true => Vec::new(),
                    false => frame.text()?.map(|text| vec![text]).unwrap_or_default(),
                };
                if !start.empty {
                    // Most elements hold text at most: they need not go to the stack.
                    if !frame.rest().starts_with(b"</") {
                        open.push((start, nodes));
                        continue;
                    }
                    frame.end_tag(start.qualified)?;
                }
                frame.leave(start, nodes)
            };
            match open.last_mut() {
                Some((_, nodes)) => {
                    nodes.push(Node::Element(done));
                    if let Some(text) = frame.text()? {
                        nodes.push(text);
                    }
                }
                None if frame.at == frame.text.len() => return Ok(done),
                None => return Err(ReadError::NotWellFormed),
            }
        }
    }
}

/// A start tag.
struct Start<'a> {
    qualified: &'a str,
    ns: Text,
    name: Text,
    attributes: Vec<Attribute>,
    /// Ends with `/>`.
    empty: bool,
    /// How many prefixes were in scope before it.
    outer: usize,
    /// The default namespace before it, if it declares another.
    outer_default: Option<Text>,
}

/// What a start tag has said so far.
#[derive(Default)]
struct Tag<'a> {
    attributes: Vec<Attribute>,
    prefixed: Vec<Prefixed<'a>>,
    outer: usize,
    outer_default: Option<Text>,
}

/// An attribute whose prefix may be declared further right in the tag, and the place it goes to.
struct Prefixed<'a> {
    at: usize,
    prefix: &'a str,
    local: &'a str,
    value: Text,
}

/// A frame and how far it is read.
struct Frame<'a> {
    text: &'a str,
    at: usize,
    context: &'a Context,
    /// The default namespace here.
    default: Text,
    /// The prefixes that the open elements declared, innermost last.
    scopes: Vec<(&'a str, Text)>,
}

impl<'a> Frame<'a> {
    fn new(text: &'a str, context: &'a Context) -> Frame<'a> {
        Frame { text, at: 0, context, default: context.default_ns().clone(), scopes: Vec::new() }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn advance(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    /// Takes this byte or fails.
    fn expect(&mut self, byte: u8) -> Result<(), ReadError> {
        if self.peek() != Some(byte) {
            return Err(ReadError::NotWellFormed);
        }
        self.advance(1);
        Ok(())
    }

    /// Skips white space; tells whether there was any.
    fn space(&mut self) -> bool {
        let before = self.at;
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.advance(1);
        }
        self.at > before
    }

    /// The text from `from` to here.
    fn since(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    /// A qualified name (Namespaces in XML 1.0 §4): its whole, its prefix, its local part.
    fn name(&mut self) -> Result<(&'a str, Option<&'a str>, &'a str), ReadError> {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| class(byte) & PLAIN == 0).unwrap_or(rest.len());
        if matches!(rest.get(length), Some(b':' | 0x80..)) {
            return self.long_name();
        }
        if rest.first().is_none_or(|&byte| class(byte) & START == 0) {
            return Err(ReadError::NotWellFormed);
        }
        let begin = self.at;
        self.advance(length);
        let whole = self.since(begin);
        Ok((whole, None, whole))
    }

    /// A name with a prefix, or with letters beyond ASCII.
    fn long_name(&mut self) -> Result<(&'a str, Option<&'a str>, &'a str), ReadError> {
        let begin = self.at;
        let mut colon = None;
        let mut length = 0;
        for (at, &byte) in self.rest().iter().enumerate() {
            if byte == b':' && colon.is_none() {
                colon = Some(at);
            } else if class(byte) & NAME == 0 {
                break;
            }
            length = at.saturating_add(1);
        }
        self.advance(length);
        let whole = self.since(begin);
        let (prefix, local) = match colon.and_then(|colon| whole.split_at_checked(colon)) {
            Some((prefix, local)) => (Some(prefix), local.trim_start_matches(':')),
            None => (None, whole),
        };
        let valid = |part: &str| part.chars().next().is_some_and(is_name_start) && part.chars().all(is_name);
        if valid(local) && prefix.is_none_or(valid) {
            Ok((whole, prefix, local))
        } else {
            Err(ReadError::NotWellFormed)
        }
    }

    /// A start tag or an empty element; its declarations stay in scope until [`Frame::leave`].
    fn start_tag(&mut self) -> Result<Start<'a>, ReadError> {
        self.expect(b'<')?;
        if let Some(b'!' | b'?') = self.peek() {
            return Err(ReadError::RestrictedXml);
        }
        let (qualified, prefix, local) = self.name()?;
        let mut tag = Tag { outer: self.scopes.len(), ..Tag::default() };
        let empty = loop {
            let spaced = self.space();
            match self.peek() {
                Some(b'>') => break false,
                Some(b'/') => {
                    self.advance(1);
                    break true;
                }
                Some(_) if spaced => self.attribute(&mut tag)?,
                _ => return Err(ReadError::NotWellFormed),
            }
        };
        self.expect(b'>')?;
        let ns = match prefix {
            Some("xml" | "xmlns") => return Err(ReadError::BadNamespacePrefix),
            Some(prefix) => self.resolve(prefix).ok_or(ReadError::BadNamespacePrefix)?,
            None => self.default.clone(),
        };
        let Tag { mut attributes, prefixed, outer, outer_default } = tag;
        for Prefixed { at, prefix, local, value } in prefixed {
            let ns = self.resolve(prefix).ok_or(ReadError::BadNamespacePrefix)?;
            attributes.insert(at, Attribute::new(ns, known::text(local), value));
        }
        if has_duplicates(&attributes) {
            return Err(ReadError::NotWellFormed);
        }
        Ok(Start { qualified, ns, name: known::text(local), attributes, empty, outer, outer_default })
    }

    /// One attribute, or one declaration.
    fn attribute(&mut self, tag: &mut Tag<'a>) -> Result<(), ReadError> {
        let (whole, prefix, local) = self.name()?;
        self.space();
        self.expect(b'=')?;
        self.space();
        let value = known::text(&self.value()?);
        match prefix {
            None if local == "xmlns" => self.declare_default(tag, value)?,
            None => tag.attributes.push(Attribute::new(Text::Static(""), known::text(local), value)),
            Some("xmlns") => self.declare(tag, local, value)?,
            // Its prefix needs no declaration, so it can stay part of a plain name.
            Some("xml") => tag.attributes.push(Attribute::new(Text::Static(""), known::text(whole), value)),
            Some(prefix) => {
                let at = tag.attributes.len().saturating_add(tag.prefixed.len());
                tag.prefixed.push(Prefixed { at, prefix, local, value });
            }
        }
        Ok(())
    }

    /// Namespaces in XML 1.0 §3: neither twice in a tag nor to one of the reserved namespaces.
    fn declare_default(&mut self, tag: &mut Tag<'a>, ns: Text) -> Result<(), ReadError> {
        if tag.outer_default.is_some() || matches!(ns.as_str(), XML_NS | XMLNS_NS) {
            return Err(ReadError::NotWellFormed);
        }
        tag.outer_default = Some(std::mem::replace(&mut self.default, self.context.read_as(ns)));
        Ok(())
    }

    /// Namespaces in XML 1.0 §3 and §5: no prefix twice in a tag, none undeclared, the reserved ones left alone.
    fn declare(&mut self, tag: &Tag<'a>, prefix: &'a str, ns: Text) -> Result<(), ReadError> {
        let here = self.scopes.get(tag.outer..).unwrap_or_default();
        let wrong = match ns.as_str() {
            XML_NS => prefix != "xml",
            XMLNS_NS | "" => true,
            _ => matches!(prefix, "xml" | "xmlns"),
        };
        if wrong || here.iter().any(|(other, _)| *other == prefix) {
            return Err(ReadError::NotWellFormed);
        }
        if self.scopes.len() >= PREFIXES_MAX {
            return Err(ReadError::PolicyViolation(Bound::Prefixes));
        }
        self.scopes.push((prefix, self.context.read_as(ns)));
        Ok(())
    }

    fn resolve(&self, prefix: &str) -> Option<Text> {
        let inner = self.scopes.iter().rev().find(|(other, _)| *other == prefix).map(|(_, ns)| ns);
        let outer = || self.context.declared().iter().find(|(other, _)| other.as_str() == prefix).map(|(_, ns)| ns);
        inner.or_else(outer).cloned()
    }

    fn end_tag(&mut self, qualified: &str) -> Result<(), ReadError> {
        self.advance(2);
        if !self.rest().starts_with(qualified.as_bytes()) {
            return Err(ReadError::NotWellFormed);
        }
        self.advance(qualified.len());
        self.space();
        self.expect(b'>')
    }

    /// Ends an element: what it declared goes out of scope.
    fn leave(&mut self, start: Start<'a>, nodes: Vec<Node>) -> Element {
        self.scopes.truncate(start.outer);
        if let Some(outer) = start.outer_default {
            self.default = outer;
        }
        Element::from_parts(start.ns, start.name, start.attributes, nodes)
    }

    /// An attribute's value with its quotes.
    fn value(&mut self) -> Result<Cow<'a, str>, ReadError> {
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"')).ok_or(ReadError::NotWellFormed)?;
        self.advance(1);
        let mut data = Data::new(self.at);
        loop {
            self.skip(VALUE);
            match self.peek() {
                Some(byte) if byte == quote => break,
                Some(b'\'' | b'"') => self.advance(1),
                Some(b'&') => data.reference(self)?,
                // XML 1.0 §3.3.3: white space becomes a space, unless it came as a reference.
                Some(b'\t' | b'\n' | b'\r') => data.line_end(self, ' '),
                other => self.high(other)?,
            }
        }
        let value = data.finish(self);
        self.advance(1);
        Ok(value)
    }

    /// Character data with CDATA sections up to the next tag: one node, or none if there is none.
    fn text(&mut self) -> Result<Option<Node>, ReadError> {
        let mut data = Data::new(self.at);
        loop {
            self.skip(TEXT);
            match self.peek() {
                Some(b'<') if self.rest().starts_with(b"<![CDATA[") => {
                    data.flush(self);
                    self.advance(9);
                    data.begin = self.at;
                    self.section(&mut data)?;
                }
                Some(b'<') => break,
                Some(b'&') => data.reference(self)?,
                Some(b'\r') => data.line_end(self, '\n'),
                // XML 1.0 §2.4: not even as an oversight.
                Some(b']') if self.rest().starts_with(b"]]>") => return Err(ReadError::NotWellFormed),
                Some(b']') => self.advance(1),
                other => self.high(other)?,
            }
        }
        Ok(match data.finish(self) {
            Cow::Borrowed("") => None,
            Cow::Owned(text) if text.is_empty() => None,
            Cow::Borrowed(text) => Some(Node::Text(Text::Shared(text.into()))),
            Cow::Owned(text) => Some(Node::Text(Text::from(text))),
        })
    }

    /// The inside of a CDATA section and its end.
    fn section(&mut self, data: &mut Data) -> Result<(), ReadError> {
        loop {
            self.skip(SECTION);
            match self.peek() {
                Some(b']') if self.rest().starts_with(b"]]>") => {
                    data.flush(self);
                    self.advance(3);
                    data.begin = self.at;
                    return Ok(());
                }
                Some(b']') => self.advance(1),
                Some(b'\r') => data.line_end(self, '\n'),
                other => self.high(other)?,
            }
        }
    }

    /// Skips bytes that mean themselves.
    fn skip(&mut self, stop: u8) {
        let rest = self.rest();
        let end = rest.iter().position(|&byte| stops(byte) & stop != 0);
        self.advance(end.unwrap_or(rest.len()));
    }

    /// The first byte of U+F000 to U+FFFF is let pass if the character is one of XML (XML 1.0 §2.2), no other stop is.
    fn high(&mut self, byte: Option<u8>) -> Result<(), ReadError> {
        match self.rest().get(1..3) {
            Some([0xBF, 0xBE | 0xBF]) => Err(ReadError::NotWellFormed),
            _ if byte != Some(0xEF) => Err(ReadError::NotWellFormed),
            _ => {
                self.advance(1);
                Ok(())
            }
        }
    }
}

/// Character data being gathered: borrowed as long as the frame says it in one piece.
struct Data {
    begin: usize,
    owned: Option<String>,
}

impl Data {
    fn new(begin: usize) -> Data {
        Data { begin, owned: None }
    }

    /// Takes what stands between `begin` and the frame's place.
    fn flush(&mut self, frame: &Frame<'_>) {
        let piece = frame.since(self.begin);
        // Room for some more: where one reference is, others follow.
        self.owned.get_or_insert_with(|| String::with_capacity(piece.len().saturating_add(48))).push_str(piece);
        self.begin = frame.at;
    }

    fn push(&mut self, c: char) {
        self.owned.get_or_insert_default().push(c);
    }

    /// XML 1.0 §2.11: a carriage return, alone or with its line feed, is one line end.
    fn line_end(&mut self, frame: &mut Frame<'_>, becomes: char) {
        self.flush(frame);
        self.push(becomes);
        let pair = frame.rest().starts_with(b"\r\n");
        frame.advance(if pair { 2 } else { 1 });
        self.begin = frame.at;
    }

    /// A reference, from its `&` on.
    fn reference(&mut self, frame: &mut Frame<'_>) -> Result<(), ReadError> {
        self.flush(frame);
        let rest = frame.text.get(frame.at.saturating_add(1)..).unwrap_or_default();
        let end = memchr(b';', rest.as_bytes()).ok_or(ReadError::NotWellFormed)?;
        let name = rest.get(..end).unwrap_or_default();
        let c = match (name, name.strip_prefix('#')) {
            ("lt", _) => '<',
            ("gt", _) => '>',
            ("amp", _) => '&',
            ("apos", _) => '\'',
            ("quot", _) => '"',
            (_, Some(number)) => character(number).ok_or(ReadError::NotWellFormed)?,
            _ => return Err(ReadError::RestrictedXml),
        };
        self.push(c);
        frame.advance(name.len().saturating_add(2));
        self.begin = frame.at;
        Ok(())
    }

    fn finish<'a>(mut self, frame: &Frame<'a>) -> Cow<'a, str> {
        if self.owned.is_none() {
            return Cow::Borrowed(frame.since(self.begin));
        }
        self.flush(frame);
        Cow::Owned(self.owned.unwrap_or_default())
    }
}

/// The character that `&#…;` stands for (XML 1.0 §4.1).
fn character(number: &str) -> Option<char> {
    let (digits, base) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // A sign would pass from_str_radix.
    let valid = digits.chars().all(|c| c.is_digit(base));
    u32::from_str_radix(digits, base).ok().filter(|_| valid).and_then(char::from_u32).filter(|c| is_xml(*c))
}

/// XML 1.0 §3.1, Namespaces in XML 1.0 §6.3: no attribute twice.
fn has_duplicates(attributes: &[Attribute]) -> bool {
    // Pairs are cheaper to compare than to hash, until there are many of them.
    if attributes.len() > 12 {
        let mut seen = HashSet::with_capacity(attributes.len());
        return !attributes.iter().all(|item| seen.insert((item.ns(), item.name())));
    }
    attributes.iter().enumerate().any(|(at, item)| {
        attributes.iter().take(at).any(|other| other.name() == item.name() && other.ns() == item.ns())
    })
}
