//! One XML element: what a stanza is made of.
//!
//! An element is read through accessors and changed by making a new one that shares what did not change. Attributes and
//! children are behind one `Arc`, and so is the text that children are written as: a clone costs next to nothing, and a
//! fan-out to a thousand receivers writes them once. An element with one owner is changed in place.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::writer;

/// A short piece of text that is cheap to clone: names, namespaces, attribute values.
#[derive(Clone)]
pub enum Text {
    /// Text that the program knows: most names and namespaces.
    Static(&'static str),
    /// Text that came from outside.
    Shared(Arc<str>),
}

impl Text {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        match self {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl std::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == other.as_str()
    }
}
impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Text {
        Text::Static(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text::Shared(text.into())
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Text {
        Text::Shared(text)
    }
}

/// An attribute. `ns` is empty for the plain ones; `xml:lang` is stored under the plain name `xml:lang`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    ns: Text,
    name: Text,
    value: Text,
}

impl Attribute {
    /// An attribute with a namespace of its own; an empty namespace is none.
    pub fn new(ns: Text, name: Text, value: Text) -> Attribute {
        Attribute { ns, name, value }
    }
    /// The namespace, empty for most.
    pub fn ns(&self) -> &str {
        &self.ns
    }
    /// The name without prefix.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The value, unescaped.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// What an element holds, in document order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A child element.
    Element(Element),
    /// Character data, unescaped.
    Text(Text),
}

/// Attributes, children and, once somebody wrote the children, their serialised form for elements in one namespace.
struct Body {
    attributes: Vec<Attribute>,
    nodes: Vec<Node>,
    /// Boxed, for most elements never have it.
    written: OnceLock<Box<(Text, Box<str>)>>,
}

/// For a change of the copy: nobody has written that yet.
impl Clone for Body {
    fn clone(&self) -> Body {
        Body { attributes: self.attributes.clone(), nodes: self.nodes.clone(), written: OnceLock::new() }
    }
}

/// An XML element with namespace, name, attributes and children.
#[derive(Clone)]
pub struct Element {
    ns: Text,
    name: Text,
    body: Arc<Body>,
}

impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        self.ns == other.ns
            && self.name == other.name
            && self.body.attributes == other.body.attributes
            && self.body.nodes == other.body.nodes
    }
}
impl Eq for Element {}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The element as XML text, for logs of our own making, storage and tests.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        writer::element(&mut out, self, "");
        f.write_str(&out)
    }
}

impl Element {
    /// An empty element.
    pub fn new(name: impl Into<Text>, ns: impl Into<Text>) -> Element {
        Element::from_parts(ns.into(), name.into(), Vec::new(), Vec::new())
    }

    /// An element made of its parts, as the parser does.
    pub fn from_parts(ns: Text, name: Text, attributes: Vec<Attribute>, nodes: Vec<Node>) -> Element {
        Element { ns, name, body: Arc::new(Body { attributes, nodes, written: OnceLock::new() }) }
    }

    /// The local name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace.
    pub fn ns(&self) -> &str {
        &self.ns
    }

    /// The namespace as cheap text, to make a sibling in the same one.
    pub fn ns_text(&self) -> &Text {
        &self.ns
    }

    /// Has this name in this namespace?
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name() == name && self.ns() == ns
    }

    /// The value of a plain attribute (`xml:lang` counts as plain).
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.body.attributes.iter().find(|a| a.ns.is_empty() && a.name() == name).map(Attribute::value)
    }

    /// The value of a plain attribute as cheap text.
    pub fn attribute_text(&self, name: &str) -> Option<&Text> {
        self.body.attributes.iter().find(|a| a.ns.is_empty() && a.name() == name).map(|a| &a.value)
    }

    /// All attributes in their order.
    pub fn attributes(&self) -> &[Attribute] {
        &self.body.attributes
    }

    /// All nodes in their order.
    pub fn nodes(&self) -> &[Node] {
        &self.body.nodes
    }

    /// The child elements in their order.
    pub fn children(&self) -> impl DoubleEndedIterator<Item = &Element> {
        self.body.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first child element.
    pub fn first_child(&self) -> Option<&Element> {
        self.children().next()
    }

    /// The first child element with this name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<&Element> {
        self.children().find(|child| child.is(name, ns))
    }

    /// The element's own character data (not that of its children).
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.body.nodes.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        match (texts.next(), texts.next()) {
            (None, _) => Cow::Borrowed(""),
            (Some(only), None) => Cow::Borrowed(only),
            (Some(first), Some(second)) => {
                let mut all = String::from(first);
                all.push_str(second);
                texts.for_each(|text| all.push_str(text));
                Cow::Owned(all)
            }
        }
    }

    /// The same element by another name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Text>) -> Element {
        self.name = name.into();
        self
    }

    /// The same element with an attribute set; `xml:lang` may be given as such.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<Text>, value: impl Into<Text>) -> Element {
        let (name, value) = (name.into(), value.into());
        let attributes = &mut Arc::make_mut(&mut self.body).attributes;
        match attributes.iter_mut().find(|a| a.ns.is_empty() && a.name == name) {
            Some(attribute) => attribute.value = value,
            None => attributes.push(Attribute { ns: Text::Static(""), name, value }),
        }
        self
    }

    /// The same element without an attribute.
    #[must_use]
    pub fn without_attribute(mut self, name: &str) -> Element {
        if self.attribute(name).is_some() {
            Arc::make_mut(&mut self.body).attributes.retain(|a| !(a.ns.is_empty() && a.name() == name));
        }
        self
    }

    /// The same element with one more child.
    #[must_use]
    pub fn with_child(self, child: Element) -> Element {
        self.with_node(Node::Element(child))
    }

    /// The same element with more children.
    #[must_use]
    pub fn with_children(self, children: impl IntoIterator<Item = Element>) -> Element {
        self.with_more(children.into_iter().map(Node::Element))
    }

    /// The same element with text added at its end; empty text adds nothing.
    #[must_use]
    pub fn with_text(self, text: impl Into<Text>) -> Element {
        let text = text.into();
        if text.is_empty() { self } else { self.with_node(Node::Text(text)) }
    }

    /// The same element keeping only the child elements that `keep` accepts; text stays.
    #[must_use]
    pub fn keeping_children(self, mut keep: impl FnMut(&Element) -> bool) -> Element {
        let unchanged = self.children().all(&mut keep);
        if unchanged {
            return self;
        }
        let nodes = self.body.nodes.iter().filter(|node| match node {
            Node::Element(element) => keep(element),
            Node::Text(_) => true,
        });
        let nodes = nodes.cloned().collect();
        self.with_nodes(nodes)
    }

    /// The same name, namespace and attributes around other nodes.
    #[must_use]
    pub fn with_nodes(mut self, nodes: Vec<Node>) -> Element {
        match Arc::get_mut(&mut self.body) {
            Some(body) => {
                body.nodes = nodes;
                body.written = OnceLock::new();
            }
            None => {
                let attributes = self.body.attributes.clone();
                self.body = Arc::new(Body { attributes, nodes, written: OnceLock::new() });
            }
        }
        self
    }

    fn with_node(self, node: Node) -> Element {
        self.with_more(std::iter::once(node))
    }

    fn with_more(mut self, nodes: impl Iterator<Item = Node>) -> Element {
        let body = Arc::make_mut(&mut self.body);
        body.nodes.extend(nodes);
        body.written = OnceLock::new();
        self
    }

    /// The children as XML text, written once and shared by all elements that share the children. `None` when there is
    /// nobody to share them with.
    pub(super) fn written_children(&self) -> Option<&str> {
        if Arc::strong_count(&self.body) == 1 && self.body.written.get().is_none() {
            return None;
        }
        let (ns, text) = &**self.body.written.get_or_init(|| {
            let mut out = String::new();
            writer::nodes(&mut out, &self.body.nodes, &self.ns);
            Box::new((self.ns.clone(), out.into_boxed_str()))
        });
        (*ns == self.ns).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_element_leaves_its_source_alone() {
        let one =
            Element::new("message", "jabber:client").with_child(Element::new("body", "jabber:client").with_text("hi"));
        let two = one.clone().with_attribute("to", "a@b").with_child(Element::new("x", "y"));
        assert_eq!(one.to_string(), "<message xmlns='jabber:client'><body>hi</body></message>");
        assert_eq!(two.to_string(), "<message xmlns='jabber:client' to='a@b'><body>hi</body><x xmlns='y'/></message>");
    }

    #[test]
    fn text_is_joined_and_children_are_found() {
        let element = Element::new("a", "n").with_text("1").with_child(Element::new("b", "n")).with_text("2");
        assert_eq!(element.text(), "12");
        assert!(element.child("b", "n").is_some());
        assert!(element.child("b", "m").is_none());
        assert_eq!(element.keeping_children(|_| false).to_string(), "<a xmlns='n'>12</a>");
    }
}
