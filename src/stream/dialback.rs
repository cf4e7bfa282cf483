//! Server dialback (XEP-0220): proof by calling back, with keys that need no memory (XEP-0185).

use std::fmt::Write as _;

use ring::{digest, hmac};

use crate::xml::Element;
use crate::xmpp::{Condition, StanzaError, ns};

/// What the keys are made from: one for all machines that answer for a domain.
pub struct DialbackSecret(hmac::Key);

impl std::fmt::Debug for DialbackSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DialbackSecret")
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl DialbackSecret {
    /// From the words of jabber.xml, or random ones made at first start.
    pub fn new(words: &[u8]) -> DialbackSecret {
        let key = hex(digest::digest(&digest::SHA256, words).as_ref());
        DialbackSecret(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
    }

    /// XEP-0185 §3: the key by which `originating` proves itself to `receiving` on the stream with this id.
    pub fn key(&self, receiving: &str, originating: &str, stream_id: &str) -> String {
        let message = [receiving, originating, stream_id].join(" ");
        hex(hmac::sign(&self.0, message.as_bytes()).as_ref())
    }

    /// Is this that key? Compared in constant time.
    pub fn verifies(&self, receiving: &str, originating: &str, stream_id: &str, key: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.key(receiving, originating, stream_id).as_bytes().ct_eq(key.trim().as_bytes()).into()
    }
}

/// A sending and a receiving domain: what a stream between servers is verified for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The domain that sends.
    pub from: String,
    /// The domain that receives.
    pub to: String,
}

/// The outcome of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `type='valid'`.
    Valid,
    /// `type='invalid'`.
    Invalid,
    /// `type='error'` (XEP-0220 §2.4): it could not be found out.
    Failed(Condition, String),
}

/// `<db:result/>` or `<db:verify/>` with its addresses.
fn element(name: &'static str, from: &str, to: &str) -> Element {
    Element::new(name, ns::DIALBACK).with_attribute("from", from.to_string()).with_attribute("to", to.to_string())
}

/// XEP-0220 §2.1.1: asking to be verified.
pub fn request(pair: &Pair, key: String) -> Element {
    element("result", &pair.from, &pair.to).with_text(key)
}

/// XEP-0220 §2.1.2: asking the authoritative server.
pub fn verify(from: &str, to: &str, stream_id: &str, key: String) -> Element {
    element("verify", from, to).with_attribute("id", stream_id.to_string()).with_text(key)
}

/// XEP-0220 §2.2.2: the authoritative server's answer.
pub fn verified(from: &str, to: &str, stream_id: &str, verdict: &Verdict) -> Element {
    with_verdict(element("verify", from, to).with_attribute("id", stream_id.to_string()), verdict)
}

/// XEP-0220 §2.2.1: the receiving server's answer.
pub fn result(from: &str, to: &str, verdict: &Verdict) -> Element {
    with_verdict(element("result", from, to), verdict)
}

fn with_verdict(element: Element, verdict: &Verdict) -> Element {
    match verdict {
        Verdict::Valid => element.with_attribute("type", "valid"),
        Verdict::Invalid => element.with_attribute("type", "invalid"),
        Verdict::Failed(condition, text) => {
            let error = StanzaError::new(*condition, text.clone()).to_element();
            element.with_attribute("type", "error").with_child(error)
        }
    }
}

/// Reads a verdict; `None` if this is a request.
pub fn verdict(element: &Element) -> Option<Verdict> {
    Some(match element.attribute("type")? {
        "valid" => Verdict::Valid,
        "invalid" => Verdict::Invalid,
        _ => {
            let error = element.children().find(|child| child.name() == "error");
            let condition = error.and_then(|error| error.children().find(|child| child.ns() == ns::STANZA_ERRORS));
            let name = condition.map_or("an error", Element::name);
            Verdict::Failed(Condition::RemoteServerNotFound, format!("the other server said {name}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of XEP-0220 §2.1.1.
    #[test]
    fn the_key_of_the_specification() {
        let secret = DialbackSecret::new(b"s3cr3tf0rd14lb4ck");
        let key = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3";
        assert_eq!(secret.key("montague.example", "capulet.example", "D60000229F"), key);
        assert!(secret.verifies("montague.example", "capulet.example", "D60000229F", key));
        assert!(!secret.verifies("montague.example", "capulet.example", "D60000229E", key));
        assert!(!secret.verifies("montague.example", "capulet.example", "D60000229F", ""));
    }
}
