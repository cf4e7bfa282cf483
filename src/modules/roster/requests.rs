//! The stanzas that subscriptions are made of, as they go out and come in (RFC 6121 §3).

use crate::router::{Context, Flow, SessionId};
use crate::store::roster::{self, RosterItem};
use crate::xml::Element;
use crate::xmpp::{BareJid, Condition, Jid, MessageType, PresenceType, Stanza, StanzaError, jid, ns};

use super::subscription::{self, Half, Inbound, Request, State};
use super::{preauth, push};

/// A client of ours subscribes, approves, or takes either back (RFC 6121 §3.1.2, §3.1.5, §3.2.2, §3.3.2).
pub(super) fn outbound(
    context: &mut Context<'_>,
    session: SessionId,
    stanza: &Stanza,
    request: Request,
) -> Result<Flow, StanzaError> {
    let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else {
        return Ok(Flow::Handled);
    };
    let to = stanza.to().ok_or(Condition::BadRequest)?;
    let contact = jid::contact(to);
    // Everybody sees one's own presence anyway (RFC 6121 §4.2.2).
    if *account == contact {
        return Ok(Flow::Handled);
    }
    let old = roster::item(context.store, &account, &contact)?;
    let before = State::of(old.as_ref());
    let (after, routed) = subscription::outbound(before, request);
    // RFC 6121 §3.2.2: who is cut off hears of the end first, while it still may.
    if before.from == Half::Yes && after.from != Half::Yes {
        send_unavailable(context, &account, &contact);
    }
    change(context, &account, &contact, old, after, None)?;
    if !routed {
        return Ok(Flow::Handled);
    }
    // RFC 6121 §3.1.2: from bare JID to bare JID.
    let outgoing = stanza.clone().with_from(account.clone()).with_to(contact.clone());
    if request == Request::Subscribe {
        // It goes on as the client's own stanza, so that the client hears when there is no way to the contact.
        return Ok(Flow::Changed(Box::new(outgoing)));
    }
    // The others are the user's last word: an unreachable contact does not bring the old state back. The lists let it out
    // when it was sent; by the new state they might not.
    context.route_anyway(outgoing);
    if before.from != Half::Yes && after.from == Half::Yes {
        send_presence(context, &account, &contact);
    }
    Ok(Flow::Handled)
}

/// A contact subscribes, approves, or takes either back (RFC 6121 §3.1.3, §3.1.6, §3.2.3, §3.3.3).
pub(super) fn inbound(
    context: &mut Context<'_>,
    account: &BareJid,
    stanza: &Stanza,
    request: Request,
) -> Result<Flow, StanzaError> {
    let Some(contact) = stanza.from().map(jid::contact) else { return Ok(Flow::Handled) };
    if *account == contact {
        return Ok(Flow::Handled);
    }
    let old = roster::item(context.store, account, &contact)?;
    let before = State::of(old.as_ref());
    let (after, act) = subscription::inbound(before, request);
    let stanza = stanza.clone().with_from(contact.clone()).with_to(account.clone());
    // XEP-0379 §3.5: an invitation counts wherever they stand, unless they see one another already or there is no room: a
    // request that waits is granted by it, and who was let in before is asked in turn.
    let may_be_invited = request == Request::Subscribe
        && (before.to, before.from) != (Half::Yes, Half::Yes)
        && (old.is_some() || has_room(context, account)?);
    if may_be_invited && preauth::admits(context, account, &contact, &stanza)? {
        befriend(context, account, &contact, old)?;
        return Ok(Flow::Handled);
    }
    match (act, request) {
        (Inbound::Drop, _) => {}
        (Inbound::Approve, _) => {
            let reply = Stanza::presence(PresenceType::Subscribed);
            context.route(reply.with_from(account.clone()).with_to(contact.clone()));
            change(context, account, &contact, old, after, None)?;
            send_presence(context, account, &contact);
        }
        (Inbound::Deliver, Request::Subscribe) => {
            let Some(kept) = to_keep(context, account, old.is_some(), &stanza)? else { return Ok(Flow::Handled) };
            change(context, account, &contact, old, after, Some(kept))?;
            deliver(context, account, &stanza, |is_available, _| is_available);
        }
        (Inbound::Deliver, _) => {
            if before.from == Half::Yes && after.from != Half::Yes {
                send_unavailable(context, account, &contact);
            }
            // RFC 6121 §3.1.6: the stanza comes before the push that it explains.
            deliver(context, account, &stanza, |_, is_interested| is_interested);
            change(context, account, &contact, old, after, None)?;
        }
    }
    Ok(Flow::Handled)
}

/// XEP-0379 §3.5: a contact that showed an invitation is let in, and asked in turn.
fn befriend(
    context: &mut Context<'_>,
    account: &BareJid,
    contact: &Jid,
    old: Option<RosterItem>,
) -> Result<(), StanzaError> {
    let before = State::of(old.as_ref());
    let to = if before.to == Half::Yes { Half::Yes } else { Half::Asked };
    change(context, account, contact, old, State { to, from: Half::Yes, ..before }, None)?;
    let reply = |kind| Stanza::presence(kind).with_from(account.clone()).with_to(contact.clone());
    context.route(reply(PresenceType::Subscribed));
    send_presence(context, account, contact);
    if before.to != Half::Yes {
        context.route(reply(PresenceType::Subscribe));
    }
    Ok(())
}

/// XEP-0401 §5.5: a new account and who invited it see one another from the first moment. Both are of this host.
pub(super) fn acquaint(context: &mut Context<'_>, account: &BareJid, inviter: &BareJid) -> Result<(), StanzaError> {
    if account == inviter || !crate::store::account::exists(context.store, inviter)? {
        return Ok(());
    }
    // Neither is in one list only. XEP-0379 §5.2: what an invitation does not do is left to people, who must know of it.
    for (user, contact) in [(inviter, account), (account, inviter)] {
        let is_known = roster::item(context.store, user, &Jid::from(contact.clone()))?.is_some();
        if !is_known && !has_room(context, user)? {
            return tell_both(context, account, inviter);
        }
    }
    for (user, contact) in [(inviter, account), (account, inviter)] {
        let contact = Jid::from(contact.clone());
        let old = roster::item(context.store, user, &contact)?;
        let state = State { to: Half::Yes, from: Half::Yes, ..State::of(old.as_ref()) };
        change(context, user, &contact, old, state, None)?;
    }
    Ok(())
}

/// They are no contacts though an invitation said so: there is no room in the inviter's list.
fn tell_both(context: &mut Context<'_>, account: &BareJid, inviter: &BareJid) -> Result<(), StanzaError> {
    let host = jid::of_host(&context.host.name).ok_or(Condition::InternalServerError)?;
    log::info!(target: &context.host.name, users = "inviters with a full roster", by:% = inviter;
        "{account} and {inviter} are no contacts: the roster is full");
    let to_inviter = format!(
        "{account} made an account by your invitation, but your list of contacts is full: remove somebody from it, then \
         add {account}."
    );
    let to_account = format!(
        "{inviter} invited you, but has no room for more contacts: ask {inviter} to make room, then add {inviter} to \
         yours."
    );
    for (to, body) in [(inviter, to_inviter), (account, to_account)] {
        let message = Stanza::message(MessageType::Normal)
            .with_child(Element::new("subject", ns::CLIENT).with_text("You are not contacts yet"))
            .with_child(Element::new("body", ns::CLIENT).with_text(body));
        context.route(message.with_from(host.clone()).with_to(to.clone()));
    }
    Ok(())
}

/// The text of a subscription request that can be kept. `None` when the account keeps as many as it may: strangers do
/// not get to fill its roster.
fn to_keep(
    context: &Context<'_>,
    account: &BareJid,
    is_known: bool,
    stanza: &Stanza,
) -> Result<Option<String>, StanzaError> {
    let limits = &context.config.limits;
    let waiting = roster::pending_in(context.store, account)?.len();
    if waiting >= limits.pending_subscriptions_max || !(is_known || has_room(context, account)?) {
        log::debug!(target: &context.host.name, "subscription request dropped: too many account={account}");
        return Ok(None);
    }
    let text = stanza.to_text();
    if text.len() <= limits.pending_subscription_bytes_max {
        return Ok(Some(text));
    }
    Ok(Some(stanza.clone().map_element(|element| element.with_nodes(Vec::new())).to_text()))
}

fn has_room(context: &Context<'_>, account: &BareJid) -> Result<bool, StanzaError> {
    let most = u64::try_from(context.config.limits.roster_items_max).unwrap_or(u64::MAX);
    Ok(roster::count(context.store, account)? < most)
}

/// Fails when the roster has as many items as it may.
pub(super) fn room_for_one(context: &Context<'_>, account: &BareJid) -> Result<(), StanzaError> {
    match has_room(context, account)? {
        true => Ok(()),
        false => Err(StanzaError::new(Condition::ResourceConstraint, "The roster is full.")),
    }
}

/// Brings the roster item to a state, with `asked` as the request that waits in it, and pushes what clients see of it.
fn change(
    context: &mut Context<'_>,
    account: &BareJid,
    contact: &Jid,
    old: Option<RosterItem>,
    state: State,
    asked: Option<String>,
) -> Result<(), StanzaError> {
    if State::of(old.as_ref()) == state {
        return Ok(());
    }
    let before = old.clone();
    if old.is_none() && asked.is_none() {
        room_for_one(context, account)?;
    }
    let was_visible = old.as_ref().is_some_and(|item| item.visible);
    let visible = was_visible || state.shows();
    if !visible && state == State::NONE {
        roster::remove(context.store, account, contact)?;
        context.contact_changed(account, before.as_ref(), None);
        return Ok(());
    }
    let seen = |item: &RosterItem| item.visible.then(|| item.to_element());
    let seen_before = old.as_ref().and_then(seen);
    let old = old.unwrap_or_else(|| RosterItem::new(contact.clone()));
    let item = RosterItem {
        subscription: state.subscription(),
        ask: state.to == Half::Asked,
        pending_in: if state.from == Half::Asked { asked.or(old.pending_in) } else { None },
        approved: state.approved,
        visible,
        ..old
    };
    let version = roster::upsert(context.store, account, &item)?;
    context.contact_changed(account, before.as_ref(), Some(&item));
    let seen_now = seen(&item);
    if let (Some(version), Some(now), true) = (version, &seen_now, seen_now != seen_before) {
        push::to_all(context, account, now.clone(), version);
    }
    Ok(())
}

/// Gives a stanza to the sessions of an account that are wanted by (available, interested).
fn deliver(context: &mut Context<'_>, account: &BareJid, stanza: &Stanza, wanted: impl Fn(bool, bool) -> bool) {
    let wanted = |session: &crate::router::Session| wanted(session.is_available(), session.interested);
    let ids: Vec<SessionId> =
        context.sessions.of(account).filter(|(_, session)| wanted(session)).map(|(id, _)| id).collect();
    for id in ids {
        context.deliver(id, stanza.clone());
    }
}

/// Asks the contacts on other servers again who have not answered, when an account gets its first session.
pub(super) fn ask_again(context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
    let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else {
        return Ok(());
    };
    if context.sessions.count(&account) > 1 {
        return Ok(());
    }
    for contact in roster::pending_out(context.store, &account)? {
        if context.config.host(jid::domain(&contact)).is_none() {
            let request = Stanza::presence(PresenceType::Subscribe);
            context.route(request.with_from(account.clone()).with_to(contact));
        }
    }
    Ok(())
}

/// RFC 6121 §3.1.5: a new subscriber sees the presence of all available sessions.
fn send_presence(context: &mut Context<'_>, account: &BareJid, contact: &Jid) {
    let presences: Vec<Stanza> =
        context.sessions.available(account).filter_map(|(_, session)| session.stamped_presence()).collect();
    for presence in presences {
        context.route(presence.with_to(contact.clone()));
    }
}

/// RFC 6121 §3.2.2, §3.3.3: who is no subscriber any more sees all sessions go.
fn send_unavailable(context: &mut Context<'_>, account: &BareJid, contact: &Jid) {
    for presence in unavailable(context, account, contact) {
        context.route(presence);
    }
}

fn unavailable(context: &Context<'_>, account: &BareJid, contact: &Jid) -> Vec<Stanza> {
    let seen = context.sessions.available(account).filter(|(_, session)| session.is_seen());
    let presence = |jid| Stanza::presence(PresenceType::Unavailable).with_from(jid).with_to(contact.clone());
    seen.map(|(_, session)| presence(session.jid().clone())).collect()
}

/// RFC 6121 §2.5.2: what a contact that is to be removed must be told. The lists decide while it is still in the roster.
pub(super) fn parting(context: &mut Context<'_>, account: &BareJid, item: &RosterItem) -> Vec<Stanza> {
    let state = State::of(Some(item));
    let word = |kind| Stanza::presence(kind).with_from(account.clone()).with_to(item.jid.clone());
    let mut words = Vec::new();
    if state.from == Half::Yes {
        words.extend(unavailable(context, account, &item.jid));
    }
    if state.to != Half::No {
        words.push(word(PresenceType::Unsubscribe));
    }
    if state.from != Half::No {
        words.push(word(PresenceType::Unsubscribed));
    }
    words.retain(|word| context.lets_out(word));
    words
}

/// An account goes: whoever knows it is told, so that no dead contact stays anywhere.
pub(super) fn part_from_all(context: &mut Context<'_>, account: &BareJid) -> Result<(), StanzaError> {
    for item in roster::items(context.store, account)? {
        for word in parting(context, account, &item) {
            context.route_anyway(word);
        }
    }
    Ok(())
}
