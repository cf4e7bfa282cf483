//! What a stream header says, and what of it is in scope for the stanzas that follow.

use super::known;
use super::parser::Root;
use crate::xml::element::Text;

/// The content namespace that all streams of stanzas are read as.
const CLIENT: &str = "jabber:client";
/// Content namespaces that hold the same stanzas (RFC 6120 §4.8.3, XEP-0114 §3).
const STANZAS: [&str; 3] = [CLIENT, "jabber:server", "jabber:component:accept"];
/// XEP-0220 §2.1: declared by servers that can dial back.
const DIALBACK: &str = "jabber:server:dialback";

/// A stream header (RFC 6120 §4.7), as it was sent: nothing is judged here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamHeader {
    /// The local name, `stream` in all that is right.
    pub name: String,
    /// The prefix of the name, empty for none. RFC 6120 §4.8.5: some accept only `stream`.
    pub prefix: String,
    /// The namespace of the name, empty for none.
    pub ns: String,
    /// The default namespace it declares, empty for none (RFC 6120 §4.8.2).
    pub content_ns: String,
    /// The attribute `to`.
    pub to: Option<String>,
    /// The attribute `from`.
    pub from: Option<String>,
    /// The attribute `id`.
    pub id: Option<String>,
    /// The attribute `version`; clients older than RFC 3920 send none.
    pub version: Option<String>,
    /// The attribute `xml:lang`.
    pub lang: Option<String>,
    /// Some prefix stands for `jabber:server:dialback` (XEP-0220 §2.1).
    pub declares_dialback: bool,
}

/// The namespaces in scope between a stream header and its end.
#[derive(Clone, Debug)]
pub(super) struct Context {
    declared: Box<[(Text, Text)]>,
    root: Option<Text>,
    /// The stanza namespace that is read as [`CLIENT`]; `None` reads all of [`STANZAS`] so.
    content: Option<Text>,
}

/// Nothing in scope, every namespace read as itself.
impl Default for Context {
    fn default() -> Context {
        Context { declared: Box::default(), root: None, content: Some(Text::Static(CLIENT)) }
    }
}

impl Context {
    /// Prefixes and what they stand for, as [`Context::read_as`] has it; the empty prefix is the default namespace.
    pub(super) fn declared(&self) -> &[(Text, Text)] {
        &self.declared
    }

    /// The default namespace, empty for none.
    pub(super) fn default_ns(&self) -> &Text {
        // Declarations are sorted by prefix, so the empty one comes first.
        match self.declared.first() {
            Some((prefix, ns)) if prefix.is_empty() => ns,
            _ => &Text::Static(""),
        }
    }

    /// Bytes of the longest namespace in scope.
    pub(super) fn longest_ns(&self) -> usize {
        self.declared.iter().map(|(_, ns)| ns.len()).max().unwrap_or(0)
    }

    /// The name that the stream's closing tag must have.
    pub(super) fn root(&self) -> &str {
        self.root.as_deref().unwrap_or_default()
    }

    /// The namespace that a stanza's namespace is read as: one set of rules serves clients, servers and components.
    pub(super) fn read_as(&self, ns: Text) -> Text {
        match &self.content {
            Some(content) if *content == ns => Text::Static(CLIENT),
            // No content namespace in the header: each stanza declares its own (RFC 6120 §4.8.2).
            None if STANZAS.contains(&ns.as_str()) => Text::Static(CLIENT),
            _ => ns,
        }
    }
}

/// Takes a parsed header apart into what stays in scope and what is told.
pub(super) fn open(root: Root) -> (Context, StreamHeader) {
    let Root { qualified, ns, attributes, declared } = root;
    let attribute = |name: &str| {
        let found = attributes.iter().find(|item| item.ns().is_empty() && item.name() == name);
        found.map(|item| item.value().to_owned())
    };
    let content_ns = declared.iter().find(|(prefix, _)| prefix.is_empty()).map(|(_, ns)| ns);
    let (prefix, name) = qualified.split_once(':').unwrap_or(("", &qualified));
    let header = StreamHeader {
        name: name.to_owned(),
        prefix: prefix.to_owned(),
        ns: ns.to_string(),
        content_ns: content_ns.map(Text::to_string).unwrap_or_default(),
        to: attribute("to"),
        from: attribute("from"),
        id: attribute("id"),
        version: attribute("version"),
        lang: attribute("xml:lang"),
        declares_dialback: declared.iter().any(|(prefix, ns)| !prefix.is_empty() && ns.as_str() == DIALBACK),
    };
    let content = STANZAS.iter().find(|ns| **ns == header.content_ns).map(|ns| Text::Static(ns));
    let mut context = Context { declared: Box::default(), root: Some(known::text(&qualified)), content };
    context.declared = declared.into_iter().map(|(prefix, ns)| (prefix, context.read_as(ns))).collect();
    (context, header)
}
