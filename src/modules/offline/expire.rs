//! XEP-0023: messages that are worth nothing after a time. The store knows when they came.

use crate::xmpp::{Stanza, ns};

/// For how many seconds the sender wants the message to live.
pub(super) fn seconds(stanza: &Stanza) -> Option<u64> {
    stanza.child("x", ns::EXPIRE)?.attribute("seconds")?.trim().parse().ok()
}

/// The message as it is stored: the time of storing is the server's own note, and nobody else writes it.
pub(super) fn without_note(stanza: Stanza) -> Stanza {
    let Some(wish) = stanza.child("x", ns::EXPIRE).filter(|x| x.attribute("stored").is_some()).cloned() else {
        return stanza;
    };
    let clean = wish.clone().without_attribute("stored");
    stanza.map_element(|element| element.keeping_children(|child| *child != wish).with_child(clean))
}

/// XEP-0023 §3: the message after it waited so long, with what is left of its time; `None` if nothing is.
pub(super) fn after(stanza: Stanza, waited_seconds: u64) -> Option<Stanza> {
    let Some(all) = seconds(&stanza) else { return Some(stanza) };
    let left = all.checked_sub(waited_seconds).filter(|left| *left > 0)?;
    let wish = stanza.child("x", ns::EXPIRE)?.clone();
    let told = wish.clone().without_attribute("stored").with_attribute("seconds", left.to_string());
    Some(stanza.map_element(|element| element.keeping_children(|child| *child != wish).with_child(told)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Element;
    use crate::xmpp::MessageType;

    #[test]
    fn time_runs_out() {
        let rows = [
            (Some("60"), 0, Some(Some("60"))),
            (Some("60"), 59, Some(Some("1"))),
            (Some("60"), 60, None),
            (Some("60"), u64::MAX, None),
            (Some("0"), 0, None),
            // What cannot be understood binds nobody.
            (Some("soon"), 60, Some(Some("soon"))),
            (Some("-1"), 60, Some(Some("-1"))),
            (None, 60, Some(None)),
        ];
        for (seconds, waited, left) in rows {
            let x = Element::new("x", ns::EXPIRE).with_attribute("stored", "1");
            let x = seconds.map_or(x.clone(), |seconds| x.with_attribute("seconds", seconds));
            let stanza = without_note(Stanza::message(MessageType::Chat).with_child(x));
            assert_eq!(stanza.child("x", ns::EXPIRE).unwrap().attribute("stored"), None);
            let found = after(stanza, waited);
            let found = found.map(|found| found.child("x", ns::EXPIRE).unwrap().attribute("seconds").map(String::from));
            assert_eq!(found, left.map(|left| left.map(String::from)), "{seconds:?} after {waited}");
        }
    }
}
