//! Messages that wait for who is away.

use roxmltree::Node;

use super::document::{self, XDB};
use super::person::{OFFLINE, Reader};
use crate::import::person::Message;
use crate::import::report::counted;
use crate::xml::Element;
use crate::xmpp::{Stanza, datetime, jid, ns};

/// Reads the list of messages, in its order.
pub(super) fn read(reader: &mut Reader<'_>, piece: Node<'_, '_>) {
    let (mut expired, mut others) = (0_u64, 0_u64);
    for node in piece.children().filter(Node::is_element) {
        if node.tag_name().name() != "message" {
            others += 1;
            continue;
        }
        let Some(element) = document::convert(node, &["", XDB, OFFLINE, ns::SERVER], ns::CLIENT) else {
            reader.note("a message", "too deep");
            continue;
        };
        match message(reader, element) {
            Ok(Some(message)) => reader.person.offline.push(message),
            Ok(None) => expired += 1,
            Err(why) => reader.note("a message", why),
        }
    }
    if expired > 0 {
        reader.note(counted(expired, "message"), "to be worth nothing after a time that is over (jabber:x:expire)");
    }
    if others > 0 {
        reader.note(format!("{} that waited", counted(others, "stanza")), "only messages wait for who is away");
    }
}

/// One message; `None` if its time is over.
fn message(reader: &Reader<'_>, element: Element) -> Result<Option<Message>, &'static str> {
    // A message that was stored a second time has two; it came when it was stored first.
    let own_stamps = element.children().filter(|child| is_own_stamp(reader, child));
    let stamped = own_stamps.filter_map(|x| datetime::parse_legacy_stamp(x.attribute("stamp")?)).min();
    let expire = element.child("x", ns::EXPIRE).cloned();
    let seconds = |name| expire.as_ref().and_then(|x| x.attribute(name)).and_then(|text| text.parse::<u64>().ok());
    let stored = seconds("stored").map(|stored| stored.saturating_mul(1000));
    if let (Some(seconds), Some(stored)) = (seconds("seconds"), stored) {
        if stored.saturating_add(seconds.saturating_mul(1000)) <= reader.now_unix_millis {
            return Ok(None);
        }
    }
    // The stamp is the time when it came, which the store keeps and the server tells on delivery.
    let mut element = element.keeping_children(|child| !is_own_stamp(reader, child)).without_attribute("node");
    if let Some(expire) = expire {
        // When it was stored is the server's own note, and the store's.
        let told = expire.clone().without_attribute("stored");
        element = element.keeping_children(|child| *child != expire).with_child(told);
    }
    let stanza = Stanza::parse(element).map_err(|_| "one of its addresses cannot be")?;
    let received = stamped.or(stored).unwrap_or(reader.modified_unix_millis).min(reader.now_unix_millis);
    Ok(Some(Message { stanza: stanza.to_text(), received_unix_millis: received }))
}

/// Is it the stamp that the old server gave the message when it stored it?
fn is_own_stamp(reader: &Reader<'_>, child: &Element) -> bool {
    let is_owner = |from: &str| jid::Jid::new(from).is_ok_and(|from| *reader.account == from.to_bare());
    child.is("x", ns::LEGACY_DELAY) && child.attribute("from").is_some_and(is_owner)
}
