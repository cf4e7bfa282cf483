//! How much of a stream is taken at once. The figures are the caller's; no more than these bytes are ever kept.

use std::fmt;

/// Bounds of one stream. What is equal to a bound passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a stream header or of a top-level element with all that is in it. RFC 6120 §13.12 asks for 10 000 at
    /// least once the peer is known. As many again for the namespaces that are declared anew when it is written.
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

/// The bound of [`Limits`] that was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// A frame longer than `frame_bytes`: what RFC 6120 §4.9.3.14 calls `stanza-too-big` in its example.
    FrameBytes,
    /// A frame whose elements stand in namespaces so long that it is far longer when it is written.
    Namespaces,
    /// Elements nested deeper than `depth`.
    Depth,
    /// More elements in one frame than `elements`.
    Elements,
    /// More attributes in one tag than `attributes`.
    Attributes,
    /// More prefixes in scope at a time than anybody has use for: each name with a prefix is looked for among them.
    Prefixes,
    /// A name longer than `name_bytes`.
    NameBytes,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::FrameBytes => "stanza too big",
            Bound::Namespaces => "stanza too big with a namespace declared for each element",
            Bound::Depth => "elements nested too deeply",
            Bound::Elements => "too many elements in one stanza",
            Bound::Attributes => "too many attributes in one element",
            Bound::Prefixes => "too many namespace prefixes in scope",
            Bound::NameBytes => "name too long",
        })
    }
}
