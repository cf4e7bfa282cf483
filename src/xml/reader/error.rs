//! What can be wrong with the bytes of a stream, and how RFC 6120 §4.9.3 calls it.

use std::fmt;

use super::bounds::Bound;

/// A fault that ends the stream. The name of each is that of the stream error to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadError {
    /// `bad-format` (RFC 6120 §4.9.3.1): well-formed XML that no stream may hold, such as text between stanzas.
    BadFormat,
    /// `bad-namespace-prefix` (RFC 6120 §4.9.3.2): a prefix that nobody declared, or `xml` on an element.
    BadNamespacePrefix,
    /// `not-well-formed` (RFC 6120 §4.9.3.13): against the rules of XML 1.0 or of Namespaces in XML.
    NotWellFormed,
    /// `policy-violation` (RFC 6120 §4.9.3.14): more than we take; the bound says of what.
    PolicyViolation(Bound),
    /// `restricted-xml` (RFC 6120 §4.9.3.18): a comment, processing instruction, DTD or entity (RFC 6120 §11.1).
    RestrictedXml,
    /// `unsupported-encoding` (RFC 6120 §4.9.3.22): declared as something else than UTF-8, or not UTF-8.
    UnsupportedEncoding,
}

impl ReadError {
    /// The element name of the stream error's defined condition.
    pub fn condition(self) -> &'static str {
        match self {
            ReadError::BadFormat => "bad-format",
            ReadError::BadNamespacePrefix => "bad-namespace-prefix",
            ReadError::NotWellFormed => "not-well-formed",
            ReadError::PolicyViolation(_) => "policy-violation",
            ReadError::RestrictedXml => "restricted-xml",
            ReadError::UnsupportedEncoding => "unsupported-encoding",
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::PolicyViolation(bound) => write!(f, "policy-violation: {bound}"),
            other => f.write_str(other.condition()),
        }
    }
}

impl std::error::Error for ReadError {}
