//! The parser on the xml-rs crate.
//!
//! xml-rs knows no parser that starts in the middle of a document, so a frame is put into a start tag that declares what
//! the stream header declared. What xml-rs lets pass and Namespaces in XML 1.0 does not, `Strict` finds.

use xml::attribute::OwnedAttribute;
use xml::name::OwnedName;
use xml::namespace::Namespace;
use xml::reader::{ErrorKind, EventReader, ParserConfig, XmlEvent};

use super::ReadError;
use super::chars::is_name_start;
use super::context::Context;
use super::known;
use super::parser::{Parser, Root, XML_NS, XMLNS_NS};
use crate::xml::element::{Attribute, Element, Node, Text};
use crate::xml::writer;

/// The engine; it keeps nothing between frames.
pub(super) struct XmlRs;

impl Parser for XmlRs {
    fn header(&self, tag: &str, empty: bool) -> Result<Root, ReadError> {
        let name = tag.trim_start_matches('<').split(|c: char| super::is_space(c) || matches!(c, '>' | '/')).next();
        let qualified = name.ok_or(ReadError::NotWellFormed)?;
        let document = if empty { tag.to_owned() } else { format!("{tag}</{qualified}>") };
        strict(tag)?;
        let context = Context::default();
        let mut events = reader(&document);
        let mut root = None;
        loop {
            match events.next().map_err(|error| fault(&error))? {
                XmlEvent::StartElement { name, attributes, namespace } => {
                    check_namespaces(&namespace)?;
                    let declared = namespace.iter().filter(|(prefix, ns)| match *prefix {
                        "xml" | "xmlns" => false,
                        "" => !ns.is_empty(),
                        _ => true,
                    });
                    root = Some(Root {
                        qualified: known::text(qualified),
                        ns: known::text(name.namespace.as_deref().unwrap_or_default()),
                        attributes: attributes
                            .into_iter()
                            .map(|item| attribute(item, &context))
                            .collect::<Result<_, _>>()?,
                        declared: declared.map(|(prefix, ns)| (known::text(prefix), known::text(ns))).collect(),
                    });
                }
                XmlEvent::EndDocument => return root.ok_or(ReadError::NotWellFormed),
                XmlEvent::StartDocument { .. } | XmlEvent::EndElement { .. } => {}
                _ => return Err(ReadError::NotWellFormed),
            }
        }
    }

    fn element(&self, frame: &str, context: &Context) -> Result<Element, ReadError> {
        strict(frame)?;
        let mut document = String::from("<stream");
        for (prefix, ns) in context.declared() {
            let name = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") };
            writer::attribute(&mut document, &name, ns);
        }
        document.push('>');
        document.push_str(frame);
        document.push_str("</stream>");
        Tree { context, open: Vec::new(), done: None }.read(&document)
    }
}

/// A start tag whose end has not come yet.
struct Open {
    ns: Text,
    name: Text,
    attributes: Vec<Attribute>,
    nodes: Vec<Node>,
}

struct Tree<'a> {
    context: &'a Context,
    open: Vec<Open>,
    done: Option<Element>,
}

impl Tree<'_> {
    fn read(mut self, document: &str) -> Result<Element, ReadError> {
        let mut started = false;
        for event in reader(document) {
            match event.map_err(|error| fault(&error))? {
                XmlEvent::StartElement { .. } if !started => started = true,
                XmlEvent::StartElement { name, attributes, namespace } => self.start(name, attributes, &namespace)?,
                XmlEvent::EndElement { .. } => self.end(),
                XmlEvent::Characters(text) => match self.open.last_mut() {
                    Some(open) => open.nodes.push(Node::Text(Text::from(text))),
                    None => return Err(ReadError::NotWellFormed),
                },
                XmlEvent::StartDocument { .. } | XmlEvent::EndDocument => {}
                _ => return Err(ReadError::NotWellFormed),
            }
        }
        self.done.ok_or(ReadError::NotWellFormed)
    }

    fn start(&mut self, name: OwnedName, attributes: Vec<OwnedAttribute>, spaces: &Namespace) -> Result<(), ReadError> {
        if self.done.is_some() {
            return Err(ReadError::NotWellFormed);
        }
        check_namespaces(spaces)?;
        self.open.push(Open {
            ns: self.context.read_as(known::text(name.namespace.as_deref().unwrap_or_default())),
            name: known::text(&name.local_name),
            attributes: attributes.into_iter().map(|item| attribute(item, self.context)).collect::<Result<_, _>>()?,
            nodes: Vec::new(),
        });
        Ok(())
    }

    fn end(&mut self) {
        let Some(Open { ns, name, attributes, nodes }) = self.open.pop() else { return };
        let element = Element::from_parts(ns, name, attributes, nodes);
        match self.open.last_mut() {
            Some(open) => open.nodes.push(Node::Element(element)),
            None => self.done = Some(element),
        }
    }
}

fn reader(document: &str) -> EventReader<&[u8]> {
    let config = ParserConfig::new().whitespace_to_characters(true).cdata_to_characters(true);
    EventReader::new_with_config(document.as_bytes(), config)
}

/// `xml:lang` and its like keep their prefix as part of a plain name, for that prefix needs no declaration.
fn attribute(item: OwnedAttribute, context: &Context) -> Result<Attribute, ReadError> {
    let OwnedAttribute { name, value } = item;
    let ns = name.namespace.as_deref().unwrap_or_default();
    if name.prefix.as_deref() == Some("xmlns") {
        return Err(ReadError::NotWellFormed);
    }
    Ok(match ns {
        XML_NS => {
            Attribute::new(Text::Static(""), known::text(&format!("xml:{}", name.local_name)), known::text(&value))
        }
        _ => Attribute::new(context.read_as(known::text(ns)), known::text(&name.local_name), known::text(&value)),
    })
}

/// Namespaces in XML 1.0 §3: the two reserved namespaces have one prefix each, and are never the default.
fn check_namespaces(spaces: &Namespace) -> Result<(), ReadError> {
    let wrong = spaces.iter().any(|(prefix, ns)| match ns {
        XML_NS => prefix != "xml",
        XMLNS_NS => prefix != "xmlns",
        _ => false,
    });
    if wrong { Err(ReadError::NotWellFormed) } else { Ok(()) }
}

/// xml-rs tells what is wrong in words only.
fn fault(error: &xml::reader::Error) -> ReadError {
    match error.kind() {
        ErrorKind::Syntax(text) if text.ends_with(" prefix is unbound") => ReadError::BadNamespacePrefix,
        ErrorKind::Syntax(text) if text.ends_with(" cannot be an element name prefix") => ReadError::BadNamespacePrefix,
        ErrorKind::Utf8(_) => ReadError::UnsupportedEncoding,
        _ => ReadError::NotWellFormed,
    }
}

/// Finds in the start tags of a framed text what xml-rs does not look for: a prefix declared twice in one tag, and a
/// local part that begins like no name. Relies on what the framer has seen to: no `<` in values, all values quoted.
fn strict(frame: &str) -> Result<(), ReadError> {
    let mut rest = frame;
    while let Some((_, tag)) = rest.split_once('<') {
        if let Some(section) = tag.strip_prefix("![CDATA[") {
            rest = section.split_once("]]>").ok_or(ReadError::NotWellFormed)?.1;
            continue;
        }
        let mut names = Vec::new();
        let mut tag = tag;
        loop {
            let end = tag.find(['=', '>']).ok_or(ReadError::NotWellFormed)?;
            let (names_before, after) = tag.split_at(end);
            let words = names_before.split(|c| super::is_space(c) || c == '/').filter(|word| !word.is_empty());
            names.extend(words);
            let Some(value) = after.strip_prefix('=') else {
                rest = after;
                break;
            };
            let value = value.trim_start_matches(super::is_space);
            let quote = value.chars().next().ok_or(ReadError::NotWellFormed)?;
            tag = value.get(1..).and_then(|value| value.split_once(quote)).ok_or(ReadError::NotWellFormed)?.1;
        }
        for (at, name) in names.iter().enumerate() {
            let local = name.split_once(':').map_or(*name, |(_, local)| local);
            let declares = *name == "xmlns" || name.starts_with("xmlns:");
            let repeated = at > 0 && names.iter().skip(1).filter(|other| *other == name).nth(1).is_some();
            if declares && repeated || !local.chars().next().is_some_and(is_name_start) {
                return Err(ReadError::NotWellFormed);
            }
        }
    }
    Ok(())
}
