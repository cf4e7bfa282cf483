//! A client reads (RFC 6121 §2.2) or changes (§2.3 to §2.5) its roster.

use crate::router::{Context, Reply};
use crate::store::roster::{self, RosterItem};
use crate::xmpp::{BareJid, Condition, Iq, Jid, Stanza, StanzaError, jid};

use super::item::{self, Wish};
use super::{push, requests};

/// The account whose roster is asked for: one's own, nobody else's (RFC 6121 §2.1.3, §2.1.5).
fn owner(iq: &Iq<'_>) -> Result<BareJid, StanzaError> {
    match (iq.from(), iq.to()) {
        (Some(from), Some(to)) if jid::same_bare(from, to) => Ok(to.to_bare()),
        _ => Err(Condition::Forbidden.into()),
    }
}

/// The whole roster, or with the version that the client has, what is new since.
pub(super) fn all(context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    let account = owner(iq)?;
    let requester = context.requesting_session();
    if let Some(session) = requester.and_then(|id| context.sessions.by_id_mut(id)) {
        session.interested = true;
    }
    let known = iq.payload().attribute("ver").and_then(|known| known.parse().ok());
    if let (Some(known), Some(session)) = (known, requester) {
        if let Some(changes) = roster::since(context.store, &account, known)? {
            push::missed(context, session, &changes);
            return Ok(Reply::empty());
        }
    }
    let version = roster::version(context.store, &account)?;
    let items = roster::items(context.store, &account)?;
    context.spend(items.len());
    let items = items.iter().filter(|item| item.visible).map(RosterItem::to_element);
    Ok(push::query(version).with_children(items).into())
}

/// One item is added, changed or removed.
pub(super) fn set(context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    let account = owner(iq)?;
    let parting = match Wish::parse(iq.payload(), &context.config.limits)? {
        Wish::Keep { jid, name, groups } => {
            let jid = context.config.with_own_name(jid);
            keep(context, &account, jid, name, groups)?;
            Vec::new()
        }
        // An item may stand there from elsewhere, under another name.
        Wish::Remove { jid } if roster::item(context.store, &account, &jid)?.is_some() => {
            remove(context, &account, &jid)?
        }
        Wish::Remove { jid } => remove(context, &account, &context.config.with_own_name(jid))?,
    };
    // Compat: jabberd 1.4 pushes before it answers, and clients of its time count on the order.
    let pending = context.keep(iq);
    context.answer_later(&pending, Ok(None));
    // RFC 6121 §2.5.2: with the item go the subscriptions.
    for word in parting {
        context.route_anyway(word);
    }
    Ok(Reply::Later)
}

fn keep(
    context: &mut Context<'_>,
    account: &BareJid,
    jid: Jid,
    name: String,
    groups: Vec<String>,
) -> Result<(), StanzaError> {
    if *account == jid {
        return Err(StanzaError::new(Condition::NotAllowed, "Nobody is a contact of oneself."));
    }
    let old = roster::item(context.store, account, &jid)?;
    let item = RosterItem { name, groups, visible: true, ..old.clone().unwrap_or_else(|| RosterItem::new(jid)) };
    if old.is_none() {
        requests::room_for_one(context, account)?;
    }
    if let Some(version) = roster::upsert(context.store, account, &item)? {
        push::to_all(context, account, item.to_element(), version);
    }
    context.contact_changed(account, old.as_ref(), Some(&item));
    Ok(())
}

/// Returns what the contact must be told.
fn remove(context: &mut Context<'_>, account: &BareJid, jid: &Jid) -> Result<Vec<Stanza>, StanzaError> {
    let old = roster::item(context.store, account, jid)?.filter(|item| item.visible);
    let old = old.ok_or(Condition::ItemNotFound)?;
    let parting = requests::parting(context, account, &old);
    if let Some(version) = roster::remove(context.store, account, jid)? {
        push::to_all(context, account, item::write_removed(jid), version);
    }
    Ok(parting)
}
