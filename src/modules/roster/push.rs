//! Roster pushes (RFC 6121 §2.1.6): a change as all clients that fetched the roster hear of it.

use crate::router::{Context, SessionId, Sessions};
use crate::store::roster::Change;
use crate::xml::Element;
use crate::xmpp::{BareJid, IqType, Stanza, ns};

use super::item;

/// The element around roster items, with the roster's version (RFC 6121 §2.1.1.1).
pub(super) fn query(version: u64) -> Element {
    Element::new("query", ns::ROSTER).with_attribute("ver", version.to_string())
}

/// Pushes one item to all interested sessions of an account.
pub(super) fn to_all(context: &mut Context<'_>, account: &BareJid, item: Element, version: u64) {
    for (session, push) in pushes(context.sessions, account, item, version) {
        context.deliver(session, push);
    }
}

/// A push for each interested session of an account.
pub(super) fn pushes(sessions: &Sessions, account: &BareJid, item: Element, version: u64) -> Vec<(SessionId, Stanza)> {
    // One version is pushed once to each client, so it makes the id.
    let push = Stanza::iq(IqType::Set, format!("push-{version}"), Some(query(version).with_child(item)));
    let interested = sessions.of(account).filter(|(_, session)| session.interested);
    interested.map(|(id, session)| (id, push.clone().with_to(session.jid().clone()))).collect()
}

/// RFC 6121 §2.6.3: what a client missed, in the order of the changes. Each push has the version that its change made:
/// a client that is cut off in between goes on from there.
pub(super) fn missed(context: &mut Context<'_>, session: SessionId, changes: &[(u64, Change)]) {
    for (version, change) in changes {
        let item = match change {
            Change::Set(item) => item.to_element(),
            Change::Removed(jid) => item::write_removed(jid),
        };
        let payload = query(*version).with_child(item);
        to_one(context, session, Stanza::iq(IqType::Set, format!("push-{version}"), Some(payload)));
    }
}

fn to_one(context: &mut Context<'_>, session: SessionId, push: Stanza) {
    if let Some(jid) = context.sessions.by_id(session).map(|session| session.jid().clone()) {
        context.deliver(session, push.with_to(jid));
    }
}
