//! Delayed delivery: the stamp a stored stanza carries, for clients of both ages.

use super::{BareJid, Jid, Stanza, datetime, jid, ns};
use crate::xml::Element;

/// XEP-0203 §3 and, beside it, XEP-0091 §2: clients before 2009 read only the latter.
pub fn stamped(stanza: Stanza, by: &str, unix_millis: u64, reason: &'static str) -> Stanza {
    let today = Element::new("delay", ns::DELAY)
        .with_attribute("from", by.to_string())
        .with_attribute("stamp", datetime::stamp(unix_millis))
        .with_text(reason);
    stanza.map_element(|element| element.with_children([today, legacy(by, unix_millis, reason)]))
}

/// XEP-0091 §2: the older one alone.
pub fn legacy(by: &str, unix_millis: u64, reason: &'static str) -> Element {
    Element::new("x", ns::LEGACY_DELAY)
        .with_attribute("from", by.to_string())
        .with_attribute("stamp", datetime::legacy_stamp(unix_millis))
        .with_text(reason)
}

/// Without the stamps that only our server could have put on a stanza for this account: those that claim to be from the
/// host, or, as jabberd 1.4 wrote them, from the account. In a stanza from outside they are forgeries (XEP-0203 §5).
pub fn without_stamps_for(stanza: Stanza, account: &BareJid) -> Stanza {
    let is_ours = |from: &str| {
        Jid::new(from).is_ok_and(|from| {
            from.domain() == account.domain() && (from.node().is_none() || jid::same_bare(&from, account))
        })
    };
    stanza.map_element(|element| {
        element.keeping_children(|child| {
            let is_stamp = child.is("delay", ns::DELAY) || child.is("x", ns::LEGACY_DELAY);
            !(is_stamp && child.attribute("from").is_some_and(is_ours))
        })
    })
}
