//! A piece of configuration with the place of everything in it: what is left when includes and command-line values have
//! been put in, and what all the readers of this room read.

use super::error::Place;
use crate::xml::{Attribute, Element, Node as XmlNode, Text};

/// The namespace of 1.6's core elements; 1.4's have none.
pub(super) const CORE_NS: &str = "http://jabberd.org/ns/configfile";
/// The namespace of `<jabberd:cmdline>` and `<jabberd:include>`.
pub(super) const REPLACE_NS: &str = "http://jabberd.org/ns/configfile/replace";
/// The namespace of 1.6's access lists.
pub(super) const ACL_NS: &str = "http://jabberd.org/ns/acl";

/// An element of a configuration file.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) name: String,
    pub(super) ns: String,
    /// Namespace, name, value.
    pub(super) attributes: Vec<(String, String, String)>,
    pub(super) nodes: Vec<Node>,
    pub(super) place: Place,
}

/// What is in an element.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Tree(Tree),
    Text(String, Place),
}

impl Tree {
    /// A plain attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute_ns("", name)
    }

    /// An attribute with a namespace.
    pub(super) fn attribute_ns(&self, ns: &str, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own_ns, own, _)| own_ns == ns && own == name).map(|(_, _, value)| value.as_str())
    }

    /// `xml:lang`.
    pub(super) fn lang(&self) -> Option<&str> {
        self.attribute_ns(crate::xmpp::ns::XML, "lang")
    }

    /// In 1.4's no namespace or 1.6's core namespace: an element that jabberd itself must know.
    pub(super) fn is_core(&self) -> bool {
        self.ns.is_empty() || self.ns == CORE_NS
    }

    /// In our own namespace?
    pub(super) fn is_own(&self) -> bool {
        self.ns == super::OWN_NS
    }

    /// `<jabberd:cmdline>`, `<jabberd:include>`.
    pub(super) fn is_replacement(&self) -> bool {
        self.ns == REPLACE_NS
    }

    pub(super) fn children(&self) -> impl Iterator<Item = &Tree> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Tree(tree) => Some(tree),
            Node::Text(..) => None,
        })
    }

    /// The first child with this name; only our own elements are not meant.
    pub(super) fn child(&self, name: &str) -> Option<&Tree> {
        self.children().find(|child| child.name == name && !child.is_own())
    }

    /// The text as it stands there.
    pub(super) fn raw_text(&self) -> String {
        let texts = self.nodes.iter().filter_map(|node| match node {
            Node::Text(text, _) => Some(text.as_str()),
            Node::Tree(_) => None,
        });
        texts.collect()
    }

    /// The text without white space around it.
    pub(super) fn text(&self) -> String {
        self.raw_text().trim().to_owned()
    }

    /// The text of the first child with this name.
    pub(super) fn child_text(&self, name: &str) -> Option<String> {
        self.child(name).map(Tree::text)
    }

    /// How the start tag is written, for messages.
    pub(super) fn tag(&self) -> String {
        match self.attribute("id").or_else(|| self.attribute("name")) {
            Some(id) if matches!(self.name.as_str(), "service" | "xdb" | "log" | "host") => {
                format!("<{} id=\"{id}\">", self.name)
            }
            _ => format!("<{}>", self.name),
        }
    }

    /// As an element for clients: `ns` in place of the configuration's namespaces, without indentation, without what is
    /// only for us.
    pub(super) fn to_element(&self, ns: &str) -> Element {
        let configuration = |own: &str| own.is_empty() || own == CORE_NS || own.starts_with("jabber:config:");
        let own_ns = if configuration(&self.ns) || self.ns == ns { ns } else { &self.ns };
        let kept = self.attributes.iter().filter(|(ns, _, _)| ns.is_empty() || ns == crate::xmpp::ns::XML);
        let attributes = kept.map(|(attribute_ns, name, value)| {
            let name = if attribute_ns.is_empty() { name.clone() } else { format!("xml:{name}") };
            Attribute::new(Text::Static(""), Text::from(name), Text::from(value.clone()))
        });
        let has_children = self.children().next().is_some();
        let nodes = self.nodes.iter().filter_map(|node| match node {
            Node::Tree(tree) => Some(XmlNode::Element(tree.to_element(own_ns))),
            Node::Text(text, _) if has_children && text.trim().is_empty() => None,
            Node::Text(text, _) if has_children => Some(XmlNode::Text(Text::from(text.clone()))),
            Node::Text(text, _) => {
                let text = text.trim();
                (!text.is_empty()).then(|| XmlNode::Text(Text::from(text.to_owned())))
            }
        });
        Element::from_parts(
            Text::from(own_ns.to_owned()),
            Text::from(self.name.clone()),
            attributes.collect(),
            nodes.collect(),
        )
    }
}
