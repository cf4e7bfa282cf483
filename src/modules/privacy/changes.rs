//! A change of the rules comes into force, and whoever must hear of it does: the user's clients by pushes, contacts that
//! are out of sight or in it again, and clients whose contacts are.

use std::collections::HashMap;
use std::sync::Arc;

use crate::router::privacy::{Standing, is_exempt, relation_of};
use crate::router::{Context, Session, SessionId};
use crate::store::roster::{self, RosterItem};
use crate::xml::Element;
use crate::xmpp::privacy::{List, Relation, Traffic};
use crate::xmpp::{BareJid, IqType, Jid, PresenceType, Stanza, StanzaError, jid, ns};

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
        let blocked = |list: Option<&Arc<List>>| -> Vec<Jid> {
            list.map(|list| list.blocked().cloned().collect()).unwrap_or_default()
        };
        let (before, after) = (blocked(self.default.as_ref()), blocked(default(context, &self.account).as_ref()));
        let mut news = Vec::new();
        for (name, these, those) in [("block", &after, &before), ("unblock", &before, &after)] {
            let items: Vec<Element> = these.iter().filter(|jid| !those.contains(jid)).map(block_item).collect();
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
            let Some(session) = context.sessions.by_id(*id).filter(|session| session.is_available()) else { continue };
            let after = session.list().cloned();
            if before.as_deref() != after.as_deref() {
                changed.push((*id, before.clone(), after));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let contacts = Contacts::of(context, &self.account)?;
        // Sessions mostly have the same list before and after: then they have the same contacts to tell.
        let mut done = Vec::new();
        for (id, before, after) in changed {
            let same = |one: &Option<Arc<List>>, other: &Option<Arc<List>>| match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            };
            let known = done.iter().position(|(b, a, _): &(_, _, Seen)| same(b, &before) && same(a, &after));
            let place = known.unwrap_or(done.len());
            if known.is_none() {
                let seen = contacts.seen(before.as_deref(), after.as_deref());
                done.push((before.clone(), after.clone(), seen));
            }
            let Some((_, _, seen)) = done.get(place) else { continue };
            outbound(context, &contacts, id, &seen.outbound, before.as_deref(), after.as_deref());
            inbound(context, &contacts, id, &seen.inbound);
        }
        Ok(())
    }
}

/// Contacts for whom a change of lists makes a difference, and whether they may pass now.
struct Seen {
    /// Subscribers, who see the user.
    outbound: Vec<(Jid, bool)>,
    /// Those whom the user sees.
    inbound: Vec<(Jid, bool)>,
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

/// An account and its contacts.
struct Contacts {
    account: BareJid,
    items: HashMap<Jid, RosterItem>,
}

impl Contacts {
    fn of(context: &Context<'_>, account: &BareJid) -> Result<Contacts, StanzaError> {
        let items = roster::items(context.store, account)?.into_iter();
        Ok(Contacts { account: account.clone(), items: items.map(|item| (item.jid.clone(), item)).collect() })
    }

    fn passes(&self, list: Option<&List>, who: &Jid, traffic: Traffic) -> bool {
        let Some(list) = list.filter(|_| !is_exempt(&self.account, who)) else { return true };
        let item = || self.items.get(&jid::contact(who)).or_else(|| self.items.get(who));
        let decided = list.decide(who, traffic, || Ok::<Relation, ()>(relation_of(item())));
        decided.is_ok_and(|item| item.is_none_or(|item| item.allows))
    }

    /// Whom a change of lists concerns.
    fn seen(&self, before: Option<&List>, after: Option<&List>) -> Seen {
        let others = || self.items.values().filter(|item| self.account != item.jid);
        let subscribers = others().filter(|item| item.subscription.from()).map(|item| &item.jid);
        let watched = others().filter(|item| item.subscription.to()).map(|item| &item.jid);
        let mut seen = Seen {
            outbound: self.changed(before, after, Traffic::PresenceOut, subscribers),
            inbound: self.changed(before, after, Traffic::PresenceIn, watched),
        };
        seen.outbound.sort();
        seen.inbound.sort();
        seen
    }

    /// Those for whom the answer changes, with the new one.
    fn changed<'a>(
        &'a self,
        before: Option<&'a List>,
        after: Option<&'a List>,
        traffic: Traffic,
        who: impl Iterator<Item = &'a Jid> + 'a,
    ) -> Vec<(Jid, bool)> {
        who.filter_map(|who| {
            let passes = self.passes(after, who, traffic);
            (self.passes(before, who, traffic) != passes).then(|| (who.clone(), passes))
        })
        .collect()
    }
}

/// XEP-0016 §2.11, XEP-0191 §3.3, §3.4: who may not see the session any more sees it go; who may again, sees it come.
fn outbound(
    context: &mut Context<'_>,
    contacts: &Contacts,
    id: SessionId,
    changed: &[(Jid, bool)],
    before: Option<&List>,
    after: Option<&List>,
) {
    let Some(session) = context.sessions.by_id(id) else { return };
    let changed = if session.is_seen() { changed } else { &[] };
    // Whoever got presence to himself alone, subscribed or not, must hear of the end as well.
    let directed = contacts.changed(before, after, Traffic::PresenceOut, session.directed.iter());
    let directed: Vec<Jid> = directed.into_iter().filter(|(_, passes)| !passes).map(|(jid, _)| jid).collect();
    let presence = session.stamped_presence();
    let gone = Stanza::presence(PresenceType::Unavailable).with_from(session.jid().clone());
    for (contact, passes) in changed {
        let stanza = if *passes { presence.clone() } else { Some(gone.clone()) };
        if let Some(stanza) = stanza {
            context.route_anyway(stanza.with_to(contact.clone()));
        }
    }
    for who in directed {
        if !changed.iter().any(|(contact, _)| *contact == who || jid::same_bare(contact, &who)) {
            context.route_anyway(gone.clone().with_to(who.clone()));
        }
        if let Some(session) = context.sessions.by_id_mut(id) {
            session.directed.remove(&who);
        }
    }
}

/// XEP-0016 §2.10: contacts whose presence the session may not see any more are gone for it; those whose it may are asked.
fn inbound(context: &mut Context<'_>, contacts: &Contacts, id: SessionId, changed: &[(Jid, bool)]) {
    let Some(own) = context.sessions.by_id(id).map(|session| session.jid().clone()) else { return };
    for (contact, passes) in changed {
        let is_here = context.config.host(jid::domain(contact)).is_some() && contact.node().is_some();
        // Of contacts elsewhere nothing is known; all their resources go with the bare JID.
        let mut sources = vec![contact.clone()];
        if is_here {
            let here = context.sessions.available(contact).filter(|(_, session)| context.shows(session, &own));
            sources = here.map(|(_, session)| session.jid().clone().into()).collect();
        }
        if sources.is_empty() {
            continue;
        }
        if *passes {
            let from = if is_here { Jid::from(own.clone()) } else { Jid::from(contacts.account.clone()) };
            context.route_from(id, Stanza::presence(PresenceType::Probe).with_from(from).with_to(contact.clone()));
            continue;
        }
        for source in sources {
            let gone = Stanza::presence(PresenceType::Unavailable).with_from(source);
            context.deliver(id, gone.with_to(own.clone()));
        }
    }
}
