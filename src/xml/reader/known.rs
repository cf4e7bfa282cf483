//! Words that nearly every stanza holds, so that names, namespaces and short values cost no memory.
//!
//! A word that is missing here costs an allocation, nothing else.

use std::sync::Arc;

use crate::xml::element::Text;

/// The words; at most 254, in any order.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    // Streams and stanzas (RFC 6120, RFC 6121).
    "stream", "stream:stream", "db", "xml:lang", "message", "presence", "iq", "body", "subject", "thread", "show",
    "status", "priority", "query", "item", "group", "error", "text", "code", "features", "bind", "resource", "jid",
    "session", "starttls", "proceed", "auth", "response", "challenge", "success", "abort", "failure", "mechanism",
    "mechanisms", "handshake", "name", "subscription", "ask", "ver", "to", "from", "id", "type", "version", "by",
    // Their values.
    "get", "set", "result", "chat", "normal", "headline", "groupchat", "subscribe", "subscribed", "unsubscribe",
    "unsubscribed", "unavailable", "available", "invisible", "probe", "none", "both", "remove", "cancel", "modify",
    "wait", "continue", "away", "xa", "dnd", "en", "1.0", "0", "1", "true", "false", "client", "pc",
    // Extensions.
    "x", "c", "r", "a", "h", "node", "ext", "hash", "sha-1", "active", "inactive", "composing", "paused", "gone",
    "received", "request", "sent", "enable", "enabled", "resume", "resumed", "previd", "max", "delay", "stamp",
    "reason", "nick", "photo", "data", "event", "items", "ping", "time", "identity", "feature", "category", "var",
    "forwarded", "private", "store", "origin-id", "stanza-id", "markable", "displayed", "username", "password",
    "digest", "register", "instructions", "email", "user", "password_hash", "vCard", "storage", "conference",
    "pubsub", "publish", "retract", "affiliation", "role", "history", "maxstanzas", "actor", "field", "value",
    "option", "label", "form", "submit", "first", "last", "count", "index", "before", "after", "html", "p", "span",
    "encrypted", "header", "key", "iv", "payload", "rid", "sid", "prekey", "url", "desc", "os", "seconds",
    // Namespaces.
    "http://etherx.jabber.org/streams", "jabber:client", "jabber:server", "jabber:component:accept",
    "jabber:server:dialback", "jabber:iq:roster", "jabber:iq:auth", "jabber:iq:register", "jabber:iq:private",
    "jabber:iq:version", "jabber:iq:last", "jabber:iq:time", "jabber:iq:privacy", "jabber:x:delay",
    "jabber:x:event", "jabber:x:oob", "jabber:x:data", "jabber:x:conference", "vcard-temp", "vcard-temp:x:update",
    "urn:ietf:params:xml:ns:xmpp-sasl", "urn:ietf:params:xml:ns:xmpp-bind", "urn:ietf:params:xml:ns:xmpp-session",
    "urn:ietf:params:xml:ns:xmpp-stanzas", "urn:ietf:params:xml:ns:xmpp-streams", "urn:ietf:params:xml:ns:xmpp-tls",
    "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
    "http://jabber.org/protocol/chatstates", "http://jabber.org/protocol/caps", "http://jabber.org/protocol/muc",
    "http://jabber.org/protocol/muc#user", "http://jabber.org/protocol/pubsub",
    "http://jabber.org/protocol/pubsub#event", "http://jabber.org/protocol/xhtml-im",
    "http://www.w3.org/1999/xhtml", "http://jabber.org/protocol/nick", "urn:xmpp:ping", "urn:xmpp:time",
    "urn:xmpp:delay", "urn:xmpp:receipts", "urn:xmpp:chat-markers:0", "urn:xmpp:carbons:2", "urn:xmpp:sm:3",
    "urn:xmpp:mam:2", "urn:xmpp:sid:0", "urn:xmpp:hints", "urn:xmpp:forward:0", "urn:xmpp:csi:0",
    "eu.siacs.conversations.axolotl",
];

/// Longer text is not looked up.
const LENGTH_MAX: usize = 40;
const SLOTS: usize = 1024;
/// For each slot the number of a word plus one, 0 for none; a taken slot sends a word to the next.
const TABLE: [u8; SLOTS] = table();

const fn mix(length: usize, first: u8, middle: u8, last: u8) -> usize {
    let sum = (length as u32).wrapping_mul(0x9E37) ^ (first as u32) << 7 ^ (middle as u32) << 13 ^ (last as u32);
    (sum.wrapping_mul(0x9E37_79B1) >> 16) as usize % SLOTS
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn table() -> [u8; SLOTS] {
    let mut table = [0; SLOTS];
    let mut number = 0;
    assert!(WORDS.len() < 255, "a word's number fits a byte");
    while number < WORDS.len() {
        let word = WORDS[number].as_bytes();
        assert!(!word.is_empty() && word.len() <= LENGTH_MAX, "words are looked up by their letters");
        let mut slot = mix(word.len(), word[0], word[word.len() / 2], word[word.len() - 1]);
        while table[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = number as u8 + 1;
        number += 1;
    }
    table
}

/// The word as the program's own text, if it is known.
pub(super) fn find(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    if bytes.len() > LENGTH_MAX {
        return None;
    }
    let middle = *bytes.get(bytes.len() / 2)?;
    let mut slot = mix(bytes.len(), *bytes.first()?, middle, *bytes.last()?);
    loop {
        let number = usize::from(*TABLE.get(slot)?).checked_sub(1)?;
        let word = *WORDS.get(number)?;
        if word == text {
            return Some(word);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Text that costs nothing if the word is known.
pub(super) fn text(text: &str) -> Text {
    match find(text) {
        Some(word) => Text::Static(word),
        None if text.is_empty() => Text::Static(""),
        None => Text::Shared(Arc::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_are_found_and_no_others() {
        for word in WORDS {
            assert_eq!(find(word), Some(*word));
        }
        for other in ["", "messagf", "aaaa", "jabber:clienu", "é", "urn:ietf:params:xml:ns:xmpp-sasl-and-much-more"] {
            assert_eq!(find(other), None);
            assert_eq!(text(other).as_str(), other);
        }
    }
}
