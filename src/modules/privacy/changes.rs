//! A change of the rules comes into force, and whoever must hear of it does: the user's clients by pushes, contacts that
//! are out of sight or in it again, and clients whose contacts are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::router::privacy::Standing;
use crate::router::sight::{Rules, Sights};
use crate::router::{Context, Session, SessionId};
use crate::store::roster::{self, RosterItem};
use crate::xml::Element;
use crate::xmpp::privacy::List;
use crate::xmpp::{BareJid, IqType, Jid, Stanza, StanzaError, jid, ns};

/// How it was before a change.
pub(super) struct Before {
    account: BareJid,
    lists: Vec<(SessionId, Option<Arc<List>>)>,
    default: Option<Arc<List>>,
}

/// What the user's clients hear of a change of the block list.
pub(super) enum BlockNews {
    /// By what the default list blocks now and did not before, and the other way round.
    Difference,
    /// As it was commanded.
    Command(Element),
}

impl Before {
    /// How it is now.
    pub(super) fn of(context: &Context<'_>, account: &BareJid) -> Before {
        let sessions = context.sessions.of(account);
        let lists = sessions.map(|(id, session)| (id, session.list().cloned())).collect();
        Before { account: account.clone(), lists, default: default(context, account) }
    }

    /// Tells the clients: of a list that changed, and of the block list.
    pub(super) fn push(&self, context: &mut Context<'_>, changed: Option<(&str, Audience)>, blocks: BlockNews) {
        if let Some((name, audience)) = changed {
            let list = Element::new("list", ns::PRIVACY).with_attribute("name", name.to_owned());
            let query = Element::new("query", ns::PRIVACY).with_child(list);
            let all = audience == Audience::All;
            push(context, &self.account, &query, |session| all || session.knows_lists);
        }
        let news = match blocks {
            BlockNews::Command(element) => vec![element],
            BlockNews::Difference => self.block_difference(context),
        };
        for element in news {
            push(context, &self.account, &element, |session| session.knows_blocks);
        }
    }

    /// XEP-0191 §5: what one client does to the default list shows in the block list.
    fn block_difference(&self, context: &Context<'_>) -> Vec<Element> {
        let is_heard = context.sessions.of(&self.account).any(|(_, session)| session.knows_blocks);
        let default = default(context, &self.account);
        if !is_heard || same(self.default.as_ref(), default.as_ref()) {
            return Vec::new();
        }
        let (before, after) = (self.default.as_deref(), default.as_deref());
        let mut news = Vec::new();
        for (name, these, those) in [("block", after, before), ("unblock", before, after)] {
            let known: HashSet<&Jid> = those.iter().flat_map(|list| list.blocked()).collect();
            let blocked = these.iter().flat_map(|list| list.blocked());
            let items: Vec<Element> = blocked.filter(|jid| !known.contains(jid)).map(block_item).collect();
            if !items.is_empty() {
                news.push(Element::new(name, ns::BLOCKING).with_children(items));
            }
        }
        news
    }

    /// Tells contacts and clients what they may not see any more, or may see again.
    pub(super) fn show(&self, context: &mut Context<'_>) -> Result<(), StanzaError> {
        let mut changed = Vec::new();
        for (id, before) in &self.lists {
            let Some(session) = context.sessions.by_id(*id) else { continue };
            let after = session.list().cloned();
            if before.as_deref() != after.as_deref() {
                changed.push((*id, before.clone(), after));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let contacts = roster::items(context.store, &self.account)?;
        let contacts: HashMap<Jid, RosterItem> = contacts.into_iter().map(|item| (item.jid.clone(), item)).collect();
        // Sessions mostly have the same list before and after: then they have the same contacts to tell.
        let mut done: Vec<(Rule, Rule, Sights)> = Vec::new();
        for (id, before, after) in changed {
            let known =
                done.iter().position(|(b, a, _)| same(b.as_ref(), before.as_ref()) && same(a.as_ref(), after.as_ref()));
            let place = known.unwrap_or(done.len());
            if known.is_none() {
                context.spend(contacts.len());
                let sights = sights(context, &self.account, &contacts, before.as_deref(), after.as_deref());
                done.push((before.clone(), after.clone(), sights));
            }
            let Some((_, _, sights)) = done.get(place) else { continue };
            context.show(id, sights, |who| {
                let item = contacts.get(&jid::contact(who)).or_else(|| contacts.get(who));
                (Rules { list: before.as_deref(), item }, Rules { list: after.as_deref(), item })
            });
        }
        Ok(())
    }
}

/// The list of a session.
type Rule = Option<Arc<List>>;

fn same(one: Option<&Arc<List>>, other: Option<&Arc<List>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Contacts for whom a change of lists makes a difference.
fn sights(
    context: &Context<'_>,
    account: &BareJid,
    contacts: &HashMap<Jid, RosterItem>,
    before: Option<&List>,
    after: Option<&List>,
) -> Sights {
    let (sight, mut sights) = (context.sight(), Sights::default());
    for item in contacts.values() {
        let [before, after] = [before, after].map(|list| Rules { list, item: Some(item) });
        sight.note(account, &item.jid, (before, after), &mut sights);
    }
    sights.outbound.sort();
    sights.inbound.sort();
    sights
}

/// Which clients hear that a list changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// XEP-0016 §2.2: all of them.
    All,
    /// Those that use privacy lists.
    ///
    /// Deviation: a change by the blocking command is no news in this protocol to clients that never spoke it.
    Users,
}

/// An address of the block list.
pub(super) fn block_item(jid: &Jid) -> Element {
    Element::new("item", ns::BLOCKING).with_attribute("jid", jid.as_str().to_owned())
}

fn push(context: &mut Context<'_>, account: &BareJid, payload: &Element, wanted: impl Fn(&Session) -> bool) {
    let sessions = context.sessions.of(account).filter(|(_, session)| wanted(session));
    let receivers: Vec<_> = sessions.map(|(id, session)| (id, session.jid().clone())).collect();
    for (id, jid) in receivers {
        let push = Stanza::iq(IqType::Set, format!("push-{}", context.random.token()), Some(payload.clone()));
        context.deliver(id, push.with_to(jid));
    }
}

/// The default list of an account that is here.
pub(super) fn default(context: &Context<'_>, account: &BareJid) -> Option<Arc<List>> {
    let (_, session) = context.sessions.of(account).next()?;
    session.standing.as_ref()?.default.clone()
}

/// Puts a default list, or none, into force for all sessions of an account.
pub(super) fn set_default(context: &mut Context<'_>, account: &BareJid, default: Option<Arc<List>>) {
    let standing = context.sessions.of(account).next().and_then(|(_, session)| session.standing.clone());
    let filter = standing.map(|standing| standing.filter.clone()).unwrap_or_default();
    set_standing(context, account, Standing::of(default, filter));
}

/// Puts what counts for an account into force for all its sessions.
pub(super) fn set_standing(context: &mut Context<'_>, account: &BareJid, standing: Option<Arc<Standing>>) {
    let ids: Vec<SessionId> = context.sessions.of(account).map(|(id, _)| id).collect();
    for id in ids {
        if let Some(session) = context.sessions.by_id_mut(id) {
            session.standing = standing.clone();
        }
    }
}
