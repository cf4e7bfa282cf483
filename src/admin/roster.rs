//! Rosters: shown, and changed in place of their owners.

use serde_json::{Value, json};

use super::command::{Argument, Column, Command, Does, Kind, Shows, Unit};
use super::job::Next;
use super::pages;
use super::request::{Refusal, Request};
use super::users::{ACCOUNT, known, unknown};
use super::view::View;
use crate::modules::roster::push_item;
use crate::router::Effect;
use crate::store::account;
use crate::store::roster::{self, RosterItem, Subscription};
use crate::xml::Element;
use crate::xmpp::{BareJid, IqType, Jid, PresenceType, Stanza, jid, ns};

const CONTACT: Argument = Argument::needed("contact", Kind::Jid, "the contact");

/// `roster`.
pub const SHOW: Command = Command {
    name: "roster show",
    arguments: &[ACCOUNT],
    summary: "show the contacts of an account",
    examples: &[("jabberctl roster show romeo@example.org", "who is in it, and who sees whose presence")],
    shows: Shows::Table(&[
        Column::text("contact", "Contact"),
        Column::text("name", "Name"),
        Column::text("subscription", "Subscription"),
        Column::text("pending", "Pending"),
        Column::text("groups", "Groups"),
        Column::of("visible", "Shown", Unit::YesNo),
    ]),
    does: Does::Server(show),
    ..Command::NONE
};

/// `roster add`.
pub const ADD: Command = Command {
    name: "roster add",
    arguments: &[
        ACCOUNT,
        CONTACT,
        Argument::option("name", Kind::Text, "the contact's name in the list"),
        Argument::option("group", Kind::Text, "the group it stands in"),
        Argument::flag("both", "each sees the other's presence, and has the other in the list"),
    ],
    summary: "put a contact into an account's roster",
    details: "Clients that are connected see it at once. With --both a contact that has an account here gets the account \
              into its roster as well, and nobody is asked; a contact elsewhere is asked, and may say no.",
    examples: &[
        ("jabberctl roster add --both romeo@example.org juliet@example.org", "the two see each other"),
        ("jabberctl roster add --group Help --name Support romeo@example.org support@example.org", "only in his list"),
    ],
    changes: true,
    does: Does::Server(add),
    ..Command::NONE
};

/// `roster remove`.
pub const REMOVE: Command = Command {
    name: "roster remove",
    arguments: &[
        ACCOUNT,
        CONTACT,
        Argument::flag("both", "and the account from the contact's roster, if that is here"),
    ],
    summary: "take a contact out of an account's roster",
    details: "As when people do it themselves: neither sees the other's presence any more.",
    examples: &[("jabberctl roster remove --both romeo@example.org tybalt@example.org", "out of both lists")],
    changes: true,
    does: Does::Server(remove),
    ..Command::NONE
};

fn show(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let account = known(view, request)?.jid;
    let mut items = roster::items(view.store, &account)?;
    items.sort_by(|one, other| one.jid.cmp(&other.jid));
    pages::told(view, items, |_, item| {
        let pending: Vec<&str> =
            [(item.ask, "out"), (item.pending_in.is_some(), "in")].iter().filter(|p| p.0).map(|p| p.1).collect();
        let row: Value = json!({
            "contact": item.jid.as_str(),
            "name": Some(&item.name).filter(|name| !name.is_empty()),
            "subscription": item.subscription.name(),
            "pending": Some(pending).filter(|pending| !pending.is_empty()),
            "groups": Some(&item.groups).filter(|groups| !groups.is_empty()),
            "visible": item.visible,
        });
        Ok(Some(row))
    })
}

fn add(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let account = known(view, request)?.jid;
    let contact = jid::contact(&request.jid("contact")?);
    if account == contact {
        return Err(Refusal::refused("nobody is a contact of oneself").remedy("name two accounts"));
    }
    let is_ours = view.config.host(contact.domain().as_str()).is_some() && contact.node().is_some();
    if is_ours && !account::exists(view.store, &contact.to_bare())? {
        return Err(unknown(&contact.to_bare()));
    }
    let both = request.has("both");
    keep(view, &account, &contact, |item| {
        if request.has("name") {
            item.name = request.text("name").to_owned();
        }
        if request.has("group") && !item.groups.iter().any(|group| group == request.text("group")) {
            item.groups.push(request.text("group").to_owned());
        }
        mutual(item, both, is_ours);
    })?;
    if both && is_ours {
        let other = contact.to_bare();
        keep(view, &other, &account, |item| mutual(item, true, true))?;
        // Each hears how the other is.
        for (from, to) in [(&account, &other), (&other, &account)] {
            let probe = Stanza::presence(PresenceType::Probe).with_from(from.clone()).with_to(to.clone());
            view.carry_out(Effect::Route(probe));
        }
        view.say(format!("{account} and {contact} see each other"));
    } else if both {
        let question = Stanza::presence(PresenceType::Subscribe).with_from(account.clone()).with_to(contact.clone());
        view.carry_out(Effect::Route(question));
        view.say(format!("{contact} stands in the roster of {account}, and was asked"));
    } else {
        view.say(format!("{contact} stands in the roster of {account}"));
    }
    Ok(Next::Done)
}

/// With a contact of ours both ways are open at once; another's server is asked, and may ask back.
fn mutual(item: &mut RosterItem, both: bool, is_ours: bool) {
    match (both, is_ours) {
        (true, true) => {
            item.subscription = Subscription::Both;
            item.ask = false;
            item.pending_in = None;
        }
        (true, false) if !item.subscription.to() => {
            item.ask = true;
            item.approved = !item.subscription.from();
        }
        _ => {}
    }
}

/// Changes an item, or makes it. The clients that are connected hear of it, and by privacy lists that go by groups and
/// subscriptions people come into sight or leave it, as when the client changes it.
fn keep(
    view: &mut View<'_>,
    account: &BareJid,
    contact: &Jid,
    change: impl FnOnce(&mut RosterItem),
) -> Result<(), Refusal> {
    let old = roster::item(view.store, account, contact)?;
    let limits = &view.config.limits;
    if old.is_none() && roster::count(view.store, account)? >= limits.roster_items_max as u64 {
        return Err(Refusal::refused(format!("the roster of {account} is full (<roster-items-max>)"))
            .remedy("take contacts out, or raise that limit, see jabber.xml(5), and reload"));
    }
    let mut item = RosterItem { visible: true, ..old.clone().unwrap_or_else(|| RosterItem::new(contact.clone())) };
    change(&mut item);
    if item.name.len() > limits.roster_name_bytes_max
        || item.groups.iter().any(|g| g.len() > limits.roster_name_bytes_max)
    {
        return Err(Refusal::refused("the name is too long (<roster-name-bytes-max>)").remedy("choose a shorter one"));
    }
    if item.groups.len() > limits.roster_groups_max {
        return Err(
            Refusal::refused("the contact is in too many groups (<roster-groups-max>)").remedy("leave some out")
        );
    }
    if let Some(version) = roster::upsert(view.store, account, &item)? {
        for effect in push_item(view.router.sessions(), account, &item, version) {
            view.carry_out(effect);
        }
    }
    let (router, mut env) = view.router();
    router.contact_changed(&mut env, account, old.as_ref(), Some(&item));
    Ok(())
}

fn remove(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let account = known(view, request)?.jid;
    let contact = jid::contact(&request.jid("contact")?);
    let other = contact.to_bare();
    let is_in = |view: &View<'_>, account: &BareJid, contact: &Jid| -> Result<bool, Refusal> {
        Ok(roster::item(view.store, account, contact)?.is_some_and(|item| item.visible))
    };
    let mut ways = vec![(account.clone(), contact.clone())];
    if request.has("both") && account::exists(view.store, &other)? {
        ways.push((other, Jid::from(account.clone())));
    }
    let mut removed = Vec::new();
    for (owner, contact) in ways {
        if !is_in(view, &owner, &contact)? {
            continue;
        }
        // As the owner's own client would say it, so that all that follows does.
        let item = Element::new("item", ns::ROSTER)
            .with_attribute("jid", contact.to_string())
            .with_attribute("subscription", "remove");
        let query = Element::new("query", ns::ROSTER).with_child(item);
        let wish = Stanza::iq(IqType::Set, "control", Some(query)).with_from(owner.clone()).with_to(owner.clone());
        view.carry_out(Effect::Route(wish));
        if is_in(view, &owner, &contact)? {
            return Err(Refusal::failed(format!("{contact} could not be taken out of the roster of {owner}"))
                .remedy("the log says why"));
        }
        removed.push(owner.to_string());
    }
    if removed.is_empty() {
        return Err(Refusal::not_found(format!("{contact} is not in the roster of {account}"))
            .remedy(format!("see jabberctl roster show {account}")));
    }
    view.say(format!("taken out of the roster of {}", removed.join(" and of ")));
    Ok(Next::Done)
}
