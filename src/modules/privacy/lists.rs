//! Privacy lists as a client reads and changes them (XEP-0016 §2.3 to §2.8).

use std::collections::HashSet;
use std::sync::Arc;

use super::changes::{self, Audience, Before, BlockNews};
use crate::router::privacy::read as parse;
use crate::router::{Context, Reply, SessionId};
use crate::store::private::Kept;
use crate::store::{Bounds, privacy, roster};
use crate::xml::Element;
use crate::xmpp::privacy::{List, Subject, name_of};
use crate::xmpp::{BareJid, Condition, Iq, StanzaError, ns};

/// XEP-0016 §2.3: the names of all lists, or one list.
pub(super) fn read(
    context: &mut Context<'_>,
    account: &BareJid,
    id: SessionId,
    query: &Element,
) -> Result<Reply, StanzaError> {
    knows(context, id);
    let mut children = query.children();
    let reply = Element::new("query", ns::PRIVACY);
    match (children.next(), children.next()) {
        (None, _) => {
            let named =
                |element: &'static str, name: String| Element::new(element, ns::PRIVACY).with_attribute("name", name);
            let active = context.sessions.by_id(id).and_then(|session| session.active.clone());
            let active = active.map(|list| named("active", list.name().to_owned()));
            let names = privacy::names(context.store, account)?;
            let default = names.iter().find(|(_, is_default)| *is_default);
            let default = default.map(|(name, _)| named("default", name.clone()));
            let lists = names.into_iter().map(|(name, _)| named("list", name));
            Ok(reply.with_children(active.into_iter().chain(default)).with_children(lists).into())
        }
        (Some(wanted), None) if wanted.is("list", ns::PRIVACY) => {
            let list = kept(context, account, name_of(wanted)?)?;
            Ok(reply.with_child(list.write()).into())
        }
        _ => Err(StanzaError::new(Condition::BadRequest, "One list is asked for at a time.")),
    }
}

/// XEP-0016 §2.4 to §2.8: one thing at a time.
pub(super) fn change(
    context: &mut Context<'_>,
    account: &BareJid,
    id: SessionId,
    iq: &Iq<'_>,
) -> Result<Reply, StanzaError> {
    knows(context, id);
    let mut children = iq.payload().children();
    let (Some(wish), None) = (children.next(), children.next()) else {
        return Err(StanzaError::new(Condition::BadRequest, "One thing is changed at a time."));
    };
    let before = Before::of(context, account);
    let mut changed = None;
    match wish.name() {
        _ if wish.ns() != ns::PRIVACY => return Err(Condition::BadRequest.into()),
        "active" => set_active(context, account, id, wish)?,
        "default" => set_default(context, account, id, wish)?,
        "list" => changed = Some(set_list(context, account, id, wish)?),
        _ => return Err(Condition::BadRequest.into()),
    }
    // Compat: jabberd 1.6 pushes before it answers, as for rosters.
    before.push(context, changed.as_deref().map(|name| (name, Audience::All)), BlockNews::Difference);
    let pending = context.keep(iq);
    context.answer_later(&pending, Ok(None));
    before.show(context)?;
    Ok(Reply::Later)
}

/// This session uses privacy lists.
fn knows(context: &mut Context<'_>, id: SessionId) {
    if let Some(session) = context.sessions.by_id_mut(id) {
        session.knows_lists = true;
    }
}

/// A list that is there.
fn kept(context: &mut Context<'_>, account: &BareJid, name: &str) -> Result<List, StanzaError> {
    let text = privacy::list(context.store, account, name)?.ok_or(Condition::ItemNotFound)?;
    let list = parse(&text, account).ok_or(Condition::InternalServerError)?;
    context.spend(list.items().len());
    Ok(list)
}

/// The list that a wish names; `None` if it names none at all.
fn named(context: &mut Context<'_>, account: &BareJid, wish: &Element) -> Result<Option<Arc<List>>, StanzaError> {
    if wish.children().next().is_some() {
        return Err(StanzaError::new(Condition::BadRequest, "There is nothing in it but a name."));
    }
    match wish.attribute("name") {
        None => Ok(None),
        Some(_) => Ok(Some(Arc::new(kept(context, account, name_of(wish)?)?))),
    }
}

/// XEP-0016 §2.4: for this session, as long as it lives.
fn set_active(context: &mut Context<'_>, account: &BareJid, id: SessionId, wish: &Element) -> Result<(), StanzaError> {
    let list = named(context, account, wish)?;
    if let Some(session) = context.sessions.by_id_mut(id) {
        session.active = list;
    }
    Ok(())
}

/// XEP-0016 §2.5: for the account, unless that takes a list from another session.
fn set_default(context: &mut Context<'_>, account: &BareJid, id: SessionId, wish: &Element) -> Result<(), StanzaError> {
    let list = named(context, account, wish)?;
    let old = changes::default(context, account);
    let (new_name, old_name) = (list.as_ref().map(|list| list.name()), old.as_ref().map(|list| list.name()));
    if new_name == old_name {
        return Ok(());
    }
    if let Some(name) = old_name {
        free(context, account, id, name)?;
    }
    privacy::set_default(context.store, account, new_name)?;
    changes::set_default(context, account, list);
    Ok(())
}

/// Fails when a list applies to another session than this one (XEP-0016 §2.2).
fn free(context: &Context<'_>, account: &BareJid, id: SessionId, name: &str) -> Result<(), StanzaError> {
    let uses = |list: Option<&Arc<List>>| list.is_some_and(|list| list.name() == name);
    match context.sessions.of(account).any(|(other, session)| other != id && uses(session.list())) {
        true => Err(StanzaError::new(Condition::Conflict, "The list is in use by another resource.")),
        false => Ok(()),
    }
}

/// XEP-0016 §2.6 to §2.8: a list is made, changed as a whole, or removed. Returns its name.
fn set_list(
    context: &mut Context<'_>,
    account: &BareJid,
    id: SessionId,
    wish: &Element,
) -> Result<String, StanzaError> {
    let name = name_of(wish)?.to_owned();
    let list = if wish.children().next().is_none() {
        free(context, account, id, &name)?;
        if !privacy::remove(context.store, account, &name)? {
            return Err(Condition::ItemNotFound.into());
        }
        None
    } else {
        let most = context.config.limits.privacy_items_max;
        if wish.children().count() > most {
            return Err(too_many_items(most));
        }
        let list = List::parse(wish)?.with_names(|jid| context.config.with_own_name(jid));
        context.spend(list.items().len());
        groups_are_known(context, account, &list)?;
        keep(context, account, &list)?;
        Some(Arc::new(list))
    };
    apply(context, account, &name, list);
    Ok(name)
}

/// XEP-0016 §2.1: groups are those of the roster.
fn groups_are_known(context: &mut Context<'_>, account: &BareJid, list: &List) -> Result<(), StanzaError> {
    let mut groups = list.items().iter().filter_map(|item| match &item.subject {
        Subject::Group(group) => Some(group),
        _ => None,
    });
    let Some(first) = groups.next() else { return Ok(()) };
    let roster = roster::items(context.store, account)?;
    context.spend(roster.len());
    let known: HashSet<&String> = roster.iter().filter(|item| item.visible).flat_map(|item| &item.groups).collect();
    match std::iter::once(first).chain(groups).find(|group| !known.contains(group)) {
        Some(group) => {
            let text = format!("There is no group {group:?} in the roster.");
            Err(StanzaError::new(Condition::ItemNotFound, text))
        }
        None => Ok(()),
    }
}

pub(super) fn too_many_items(most: usize) -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint, format!("A list may have {most} items at most."))
}

/// Puts a list into the store.
pub(super) fn keep(context: &mut Context<'_>, account: &BareJid, list: &List) -> Result<(), StanzaError> {
    let limits = &context.config.limits;
    let (count, bytes) = (limits.privacy_lists_max, limits.privacy_bytes_max);
    let bounds = Bounds { count: count as u64, bytes: bytes as u64 };
    match privacy::set(context.store, account, list.name(), &list.write().to_string(), bounds)? {
        Kept::Kept => Ok(()),
        Kept::Full => {
            let text = format!("An account may have {count} lists and {bytes} bytes of them at most.");
            Err(StanzaError::new(Condition::ResourceConstraint, text))
        }
    }
}

/// XEP-0016 §2.2: a list that changed applies in its new form wherever it applies.
pub(super) fn apply(context: &mut Context<'_>, account: &BareJid, name: &str, list: Option<Arc<List>>) {
    let ids: Vec<SessionId> = context.sessions.of(account).map(|(id, _)| id).collect();
    for id in ids {
        if let Some(session) = context.sessions.by_id_mut(id) {
            if session.active.as_ref().is_some_and(|active| active.name() == name) {
                session.active = list.clone();
            }
        }
    }
    if changes::default(context, account).is_some_and(|default| default.name() == name) {
        changes::set_default(context, account, list);
    }
}
