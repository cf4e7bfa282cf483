//! Names as DNS has them: labels of ASCII letters, digits, `-` and `_`, in small letters, without the dot at the end.

use std::fmt;

/// RFC 1035 §2.3.4: octets of a label.
const LABEL_MAX: usize = 63;
/// RFC 1035 §2.3.4 allows 255 octets on the wire, which is this much text.
const NAME_MAX: usize = 253;

/// An absolute name other than the root.
///
/// Other bytes than those of host names and services are refused: nothing that XMPP needs has any, and names go into logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name of a domain; what is not ASCII is turned into A-labels (RFC 5891 §5.5).
    pub fn new(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_ascii() {
            return Name::from_labels(text.split('.').map(str::as_bytes));
        }
        // No name has more letters than its A-labels, and the conversion's work grows with its input.
        if text.chars().count() > NAME_MAX {
            return None;
        }
        let ascii = idna::domain_to_ascii(text).ok()?;
        Name::from_labels(ascii.split('.').map(str::as_bytes))
    }

    /// The name of these labels, the root's empty one left out.
    pub fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Name> {
        let mut text = String::new();
        for label in labels {
            if label.is_empty() || label.len() > LABEL_MAX || text.len() + label.len() > NAME_MAX {
                return None;
            }
            if !text.is_empty() {
                text.push('.');
            }
            for byte in label {
                if !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_') {
                    return None;
                }
                text.push(char::from(byte.to_ascii_lowercase()));
            }
        }
        (!text.is_empty() && text.len() <= NAME_MAX).then_some(Name(text))
    }

    /// A name below this one, like that of a service: `_xmpp-server._tcp`.
    pub fn below(&self, prefix: &str) -> Option<Name> {
        Name::from_labels(prefix.split('.').chain(self.0.split('.')).map(str::as_bytes))
    }

    /// Is this the other name, or one below it?
    pub fn is_in(&self, other: &str) -> bool {
        self.0.strip_suffix(other).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The labels, from left to right.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split('.').map(str::as_bytes)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        for (text, expected) in [
            ("Montague.NET", Some("montague.net")),
            ("montague.net.", Some("montague.net")),
            ("localhost", Some("localhost")),
            ("münchen.example", Some("xn--mnchen-3ya.example")),
            (longest.as_str(), Some(longest.as_str())),
            ("", None),
            (".", None),
            ("a..b", None),
            (".a", None),
            ("a b.example", None),
            ("a\\b.example", None),
            ("a\n.example", None),
            (&format!("{longest}a"), None),
            (&format!("{label}a.example"), None),
            (&"ü".repeat(5000), None),
        ] {
            assert_eq!(Name::new(text).as_ref().map(Name::as_str), expected, "{text}");
        }
    }

    #[test]
    fn below_and_in() {
        let name = Name::new("montague.net").unwrap();
        let service = name.below("_xmpp-server._tcp").unwrap();
        assert_eq!(service.as_str(), "_xmpp-server._tcp.montague.net");
        assert!(service.is_in("montague.net") && service.is_in("net") && name.is_in("montague.net"));
        assert!(!service.is_in("tague.net") && !name.is_in("a.montague.net"));
        assert_eq!(name.below("_xmpp server"), None);
        assert_eq!(name.below(""), None);
    }
}
