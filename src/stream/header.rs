//! Stream headers (RFC 6120 §4.7): what the peer's says, checked, and ours.

use crate::xml::{reader::StreamHeader, writer};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{StreamError, ns};

/// Which protocol the peer speaks (RFC 6120 §4.7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// No version, or one below 1.0: a client of jabberd 1.4's time. It must get no stream features.
    Legacy,
    /// 1.0 or above.
    Xmpp,
}

/// Checks the root element and its namespaces (RFC 6120 §4.8), and reads the version.
pub fn check(header: &StreamHeader, content_ns: &str) -> Result<Version, StreamError> {
    if header.ns != ns::STREAMS {
        let text = format!("the stream's namespace must be {}", ns::STREAMS);
        return Err(StreamError::new(StreamCondition::InvalidNamespace, text));
    }
    if header.name != "stream" {
        return Err(StreamError::new(StreamCondition::BadFormat, "the first element must be <stream:stream>"));
    }
    if header.content_ns != content_ns {
        let text = format!("the default namespace must be {content_ns}");
        return Err(StreamError::new(StreamCondition::InvalidNamespace, text));
    }
    version(header.version.as_deref())
}

/// RFC 6120 §4.7.5: major and minor number, compared as numbers.
fn version(text: Option<&str>) -> Result<Version, StreamError> {
    let Some(text) = text else { return Ok(Version::Legacy) };
    let major = text.split_once('.').filter(|(_, minor)| is_number(minor)).map_or(text, |(major, _)| major);
    if !is_number(major) {
        return Err(StreamError::new(StreamCondition::UnsupportedVersion, "a version looks like 1.0"));
    }
    let is_zero = major.bytes().all(|digit| digit == b'0');
    Ok(if is_zero { Version::Legacy } else { Version::Xmpp })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What our own header says.
pub struct Ours<'a> {
    /// The content namespace.
    pub content_ns: &'a str,
    /// The host that answers; a component that we come to is told only whom we want.
    pub from: Option<&'a str>,
    /// The peer, where it said who it is.
    pub to: Option<&'a str>,
    /// RFC 6120 §4.7.3: unique and not to be guessed; only who answers gives one.
    pub id: Option<&'a str>,
    /// Legacy peers get no version, so that they expect no features.
    pub version: Version,
    /// The language of texts we send.
    pub lang: Option<&'a str>,
}

/// Writes our header.
pub fn write(out: &mut String, ours: &Ours<'_>) {
    out.push_str("<?xml version='1.0'?><stream:stream");
    writer::attribute(out, "xmlns", ours.content_ns);
    writer::attribute(out, "xmlns:stream", ns::STREAMS);
    if ours.content_ns == ns::SERVER {
        // XEP-0220 §2: this declares that dialback is known.
        writer::attribute(out, "xmlns:db", ns::DIALBACK);
    }
    if let Some(from) = ours.from {
        writer::attribute(out, "from", from);
    }
    if let Some(to) = ours.to {
        writer::attribute(out, "to", to);
    }
    if let Some(id) = ours.id {
        writer::attribute(out, "id", id);
    }
    if ours.version == Version::Xmpp {
        writer::attribute(out, "version", "1.0");
    }
    if let Some(lang) = ours.lang {
        writer::attribute(out, "xml:lang", lang);
    }
    out.push('>');
}

/// The end of a stream.
pub const CLOSE: &str = "</stream:stream>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let rows = [
            (None, Ok(Version::Legacy)),
            (Some("1.0"), Ok(Version::Xmpp)),
            (Some("1.10"), Ok(Version::Xmpp)),
            (Some("01.0"), Ok(Version::Xmpp)),
            (Some("2.0"), Ok(Version::Xmpp)),
            (Some("1"), Ok(Version::Xmpp)),
            (Some("0.9"), Ok(Version::Legacy)),
            (Some("one"), Err(())),
            (Some(""), Err(())),
            (Some("1.x"), Err(())),
            (Some("-1.0"), Err(())),
        ];
        for (text, expected) in rows {
            assert_eq!(version(text).map_err(|_| ()), expected, "{text:?}");
        }
    }
}
