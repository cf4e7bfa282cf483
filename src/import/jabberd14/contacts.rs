//! Rosters, with the requests that wait for an answer: 1.4 kept those inside the roster, 1.6 beside it.

use std::collections::HashSet;

use roxmltree::Node;

use super::document::{self, XDB};
use super::person::{Reader, STORED_REQUESTS, text};
use crate::import::person::REQUEST_BYTES_MAX;
use crate::store::roster::{RosterItem, Subscription};
use crate::xml::Element;
use crate::xmpp::{Jid, Kind, PresenceType, Stanza, jid, ns};

/// Reads a roster.
pub(super) fn roster(reader: &mut Reader<'_>, piece: Node<'_, '_>) {
    let mut known = HashSet::new();
    for item in piece.children().filter(Node::is_element) {
        if item.tag_name().name() != "item" {
            let name = item.tag_name().name();
            reader.note(format!("<{name}> in the roster"), "only items can be in a roster");
            continue;
        }
        let Some(text) = item.attribute("jid") else {
            reader.note("a roster item", "it has no jid");
            continue;
        };
        let Ok(jid) = Jid::new(text) else {
            reader.note(format!("the contact {text:?}"), "no address of today can be like that");
            continue;
        };
        if !known.insert(jid.clone()) {
            reader.note(format!("the contact {text:?}"), "it is the same as one before");
            continue;
        }
        match contact(reader, jid, item) {
            Some(contact) => reader.person.roster.push(contact),
            None => reader.note(format!("the contact {text:?}"), "hidden, and nothing waits for an answer"),
        }
    }
}

/// `None` for an item that was there for a request alone, and has none.
fn contact(reader: &Reader<'_>, jid: Jid, item: Node<'_, '_>) -> Option<RosterItem> {
    let (mut to, from) = match item.attribute("subscription") {
        Some("both") => (true, true),
        Some("to") => (true, false),
        Some("from") => (false, true),
        _ => (false, false),
    };
    // RFC 6121 §3.3.2: who unsubscribes is unsubscribed at once. 1.4 waited for the contact's answer.
    to &= item.attribute("ask") != Some("unsubscribe");
    let request = item.attribute("subscribe").filter(|_| !from);
    let visible = item.attribute("hidden").is_none();
    if !visible && request.is_none() && !to && !from {
        return None;
    }
    let mut groups: Vec<String> = Vec::new();
    for group in item.children().filter(|child| child.is_element() && child.tag_name().name() == "group") {
        let group = text(group);
        if !group.is_empty() && !groups.contains(&group) {
            groups.push(group);
        }
    }
    Some(RosterItem {
        name: item.attribute("name").unwrap_or_default().to_owned(),
        subscription: Subscription::of(to, from),
        ask: item.attribute("ask") == Some("subscribe") && !to,
        pending_in: request.map(|status| request_of(reader, &jid, status)),
        approved: item.attribute("approved") == Some("true"),
        visible,
        groups,
        jid,
    })
}

/// The stanza that asked; all that 1.4 kept of it is its status.
fn request_of(reader: &Reader<'_>, contact: &Jid, status: &str) -> String {
    let mut request = Stanza::presence(PresenceType::Subscribe);
    if !status.is_empty() && status.len() <= REQUEST_BYTES_MAX {
        request = request.with_child(Element::new("status", ns::CLIENT).with_text(status.to_owned()));
    }
    request.with_from(contact.clone()).with_to(reader.account.clone()).to_text()
}

/// Reads 1.6's list of requests. They say more than the roster's attributes, so they come after it in [`finish`].
pub(super) fn requests(reader: &mut Reader<'_>, piece: Node<'_, '_>) {
    for presence in piece.children().filter(Node::is_element) {
        let element = document::convert(presence, &["", XDB, ns::SERVER, STORED_REQUESTS], ns::CLIENT);
        let stanza = element.and_then(|element| Stanza::parse(element).ok());
        let asks = |stanza: &Stanza| stanza.kind() == Kind::Presence(PresenceType::Subscribe);
        let Some(stanza) = stanza.filter(|stanza| asks(stanza) && stanza.from().is_some()) else {
            reader.note(STORED_REQUESTS, "no request for a subscription");
            continue;
        };
        reader.requests.push(stanza);
    }
}

/// Puts the requests into the roster that is read by now.
pub(super) fn finish(reader: &mut Reader<'_>) {
    for stanza in std::mem::take(&mut reader.requests) {
        let Some(contact) = stanza.from().map(jid::contact) else { continue };
        let stanza = stanza.with_from(contact.clone()).with_to(reader.account.clone());
        let mut text = stanza.to_text();
        if text.len() > REQUEST_BYTES_MAX {
            text = stanza.map_element(|element| element.with_nodes(Vec::new())).to_text();
        }
        match reader.person.roster.iter_mut().find(|item| item.jid == contact) {
            Some(item) if item.subscription.from() => {}
            Some(item) => item.pending_in = Some(text),
            None => {
                let hidden = RosterItem { visible: false, pending_in: Some(text), ..RosterItem::new(contact) };
                reader.person.roster.push(hidden);
            }
        }
    }
}
