//! Roster pushes (RFC 6121 §2.1.6): a change as all clients that fetched the roster hear of it.

use crate::router::{Context, SessionId};
use crate::store::roster::Change;
use crate::xml::Element;
use crate::xmpp::{BareJid, IqType, Stanza, ns};

use super::item;

/// The element around roster items, with the roster's version (RFC 6121 §2.1.1.1).
pub(super) fn query(version: Option<u64>) -> Element {
    let query = Element::new("query", ns::ROSTER);
    match version {
        Some(version) => query.with_attribute("ver", version.to_string()),
        None => query,
    }
}

/// Pushes one item to all interested sessions of an account.
pub(super) fn to_all(context: &mut Context<'_>, account: &BareJid, item: Element, version: u64) {
    let interested: Vec<SessionId> =
        context.sessions.of(account).filter(|(_, session)| session.interested).map(|(id, _)| id).collect();
    // One version is pushed once to each client, so it makes the id.
    let push = Stanza::iq(IqType::Set, format!("push-{version}"), Some(query(Some(version)).with_child(item)));
    for session in interested {
        to_one(context, session, push.clone());
    }
}

/// RFC 6121 §2.6.3: what a client missed. Only the last push has the version: a client that is cut off in between must
/// not believe that it has all.
pub(super) fn missed(context: &mut Context<'_>, session: SessionId, changes: &[Change], version: u64) {
    for (index, change) in changes.iter().enumerate() {
        let last = index.saturating_add(1) == changes.len();
        let item = match change {
            Change::Set(item) => item::write(item),
            Change::Removed(jid) => item::write_removed(jid),
        };
        let payload = query(last.then_some(version)).with_child(item);
        to_one(context, session, Stanza::iq(IqType::Set, format!("push-{version}-{index}"), Some(payload)));
    }
}

fn to_one(context: &mut Context<'_>, session: SessionId, push: Stanza) {
    if let Some(jid) = context.sessions.by_id(session).map(|session| session.jid().clone()) {
        context.deliver(session, push.with_to(jid));
    }
}
