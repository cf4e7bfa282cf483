//! Letters: bytes into elements and elements into text.
//!
//! [`Element`] is the one tree type of the house. [`reader`] turns the bytes of one stream into stream events in two
//! steps: a framer that finds, byte by byte, where a top-level stanza ends and refuses what RFC 6120 §11.1 forbids or what
//! is over a bound, and a parser that turns one whole frame into an element. [`writer`] is the only place that writes XML.
//!
//! Serves every other room. Invariant: what [`writer`] writes, [`reader`] reads back as the same tree.

pub mod element;
pub mod reader;
pub mod writer;

pub use element::{Attribute, Element, Node, Text};
