//! Presence without `to`: for all who are subscribed to it (RFC 6121 §4.2, §4.4, §4.5).

use std::collections::BTreeSet;

use crate::router::module::DISCONNECTED;
use crate::router::{Context, SessionEvent, SessionId, Visibility};
use crate::store::roster;
use crate::xml::Element;
use crate::xmpp::{BareJid, Condition, Jid, PresenceType, Stanza, StanzaError, jid, ns};

use super::{may_be_there, probe};

/// RFC 6121 §4.7.2.3: the priority, 0 without one.
///
/// Compat: clients of jabberd 1.4's time know no upper bound; a number out of range counts as the nearest in it.
pub(super) fn priority(presence: &Stanza) -> Result<i8, StanzaError> {
    let Some(element) = presence.child("priority", ns::CLIENT) else { return Ok(0) };
    let text = element.text();
    let (digits, limit) = match text.trim() {
        "" => return Ok(0),
        text => match text.strip_prefix('-') {
            Some(digits) => (digits, i8::MIN),
            None => (text.strip_prefix('+').unwrap_or(text), i8::MAX),
        },
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(StanzaError::new(Condition::BadRequest, "The priority is no number."));
    }
    Ok(text.trim().parse().unwrap_or(limit))
}

/// A session is available: initial presence (RFC 6121 §4.2.2) or a later one (RFC 6121 §4.4.2).
pub(super) fn available(context: &mut Context<'_>, id: SessionId, stanza: &Stanza) -> Result<(), StanzaError> {
    let priority = priority(stanza)?;
    let order = context.sessions.next_available_order();
    let Some(session) = context.sessions.by_id_mut(id) else { return Ok(()) };
    let account = session.account().clone();
    let is_initial = !session.is_available();
    let can_chat_again = is_initial || (session.priority < 0 && priority >= 0);
    session.presence = Some(stanza.clone());
    session.presence_unix_millis = context.now.unix_millis;
    session.priority = priority;
    if can_chat_again {
        session.available_order = order;
    }
    // Compat: jabberd 1.4's invisibility ends with presence for all; that of XEP-0186 §3.1.1 goes on.
    if session.visibility == Visibility::Invisible {
        session.visibility = Visibility::Visible;
    }
    let is_visible = session.visibility == Visibility::Visible;
    if is_visible {
        to_subscribers(context, id, &account, stanza)?;
    }
    if is_initial {
        greet(context, id, &account, is_visible)?;
    }
    if can_chat_again {
        context.tell_session(id, SessionEvent::Available);
    }
    Ok(())
}

/// What a newly available session must learn: its siblings, its contacts if they are to be asked, and who waits for its
/// answer.
pub(super) fn greet(
    context: &mut Context<'_>,
    id: SessionId,
    account: &BareJid,
    probes: bool,
) -> Result<(), StanzaError> {
    let Some(own) = context.sessions.by_id(id).map(|session| session.jid().clone()) else { return Ok(()) };
    let siblings = context.sessions.available(account).filter(|(other, _)| *other != id);
    let siblings: Vec<Stanza> = siblings.filter_map(|(_, session)| session.stamped_presence()).collect();
    for presence in siblings {
        context.deliver(id, presence.with_to(own.clone()));
    }
    let contacts = if probes { roster::subscriptions(context.store, account)? } else { Vec::new() };
    for contact in contacts {
        probe::send(context, id, &own, contact);
    }
    // RFC 6121 §3.1.3: a request is shown again at each login until it is answered.
    for (_, request) in roster::pending_in(context.store, account)? {
        if let Some(request) = Stanza::from_text(&request) {
            context.deliver(id, request);
        }
    }
    Ok(())
}

/// The client says that it is unavailable (RFC 6121 §4.5.2).
pub(super) fn unavailable(context: &mut Context<'_>, id: SessionId, stanza: &Stanza) -> Result<(), StanzaError> {
    let Some(session) = context.sessions.by_id_mut(id) else { return Ok(()) };
    let account = session.account().clone();
    let was_seen = session.is_seen();
    let was_available = session.presence.take().is_some();
    let mut directed = std::mem::take(&mut session.directed);
    directed.append(&mut session.directed_lost);
    session.priority = 0;
    if session.visibility == Visibility::Invisible {
        session.visibility = Visibility::Visible;
    }
    if was_available {
        // The broadcast below reaches only who is available still.
        context.deliver(id, stanza.clone().with_to(account.clone()));
    }
    if was_seen {
        let status = stanza.child("status", ns::CLIENT).map(|status| status.text().into_owned());
        context.tell_session(id, SessionEvent::Unavailable { status });
    }
    tell_of_end(context, id, &account, was_seen, directed, stanza)
}

/// The stream is gone: the server says it for the client. The session itself stays as it was for whoever else looks at
/// it on its way out.
pub(super) fn ended(context: &mut Context<'_>, id: SessionId) -> Result<(), StanzaError> {
    let Some(session) = context.sessions.by_id(id) else { return Ok(()) };
    let was_seen = session.is_seen();
    let directed: BTreeSet<Jid> = session.directed.union(&session.directed_lost).cloned().collect();
    if !was_seen && directed.is_empty() {
        return Ok(());
    }
    let account = session.account().clone();
    let status = Element::new("status", ns::CLIENT).with_text(DISCONNECTED);
    let stanza = Stanza::presence(PresenceType::Unavailable).with_child(status).with_from(session.jid().clone());
    tell_of_end(context, id, &account, was_seen, directed, &stanza)
}

/// Says that a session is gone, or as good as gone, to all who saw it.
pub(super) fn tell_of_end(
    context: &mut Context<'_>,
    id: SessionId,
    account: &BareJid,
    was_seen: bool,
    mut directed: BTreeSet<Jid>,
    stanza: &Stanza,
) -> Result<(), StanzaError> {
    if was_seen {
        let subscribers = to_subscribers(context, id, account, stanza)?;
        if !directed.is_empty() {
            let own = Jid::from(account.clone());
            let told: BTreeSet<&str> = subscribers.iter().chain([&own]).map(Jid::as_str).collect();
            directed.retain(|to| !told.contains(to.as_str()) && !told.contains(jid::bare_str(to)));
        }
    }
    for to in directed {
        context.route_from(id, stanza.clone().with_to(to));
    }
    Ok(())
}

/// Sends presence to the account's own sessions, to all subscribers, and to the admin's list (1.4's `<bcc>`). Returns
/// the subscribers.
fn to_subscribers(
    context: &mut Context<'_>,
    id: SessionId,
    account: &BareJid,
    stanza: &Stanza,
) -> Result<Vec<Jid>, StanzaError> {
    let mut subscribers = roster::subscribers(context.store, account)?;
    subscribers.retain(|contact| *account != *contact);
    context.spend(subscribers.len());
    context.route_anyway(stanza.clone().with_to(account.clone()));
    let host = context.host;
    for contact in subscribers.iter().chain(&host.presence_bcc) {
        if may_be_there(context, contact) {
            context.route_from(id, stanza.clone().with_to(contact.clone()));
        }
    }
    Ok(subscribers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read() {
        let of = |text: &'static str| {
            let element = Element::new("priority", ns::CLIENT).with_text(text);
            priority(&Stanza::presence(PresenceType::Available).with_child(element)).ok()
        };
        assert_eq!(priority(&Stanza::presence(PresenceType::Available)).ok(), Some(0));
        let rows = [
            ("", Some(0)),
            ("5", Some(5)),
            (" -7\n", Some(-7)),
            ("+1", Some(1)),
            ("127", Some(127)),
            ("-128", Some(-128)),
            ("128", Some(127)),
            ("-99999999999999999999", Some(-128)),
            ("high", None),
            ("1.5", None),
            ("-", None),
            ("--1", None),
            ("٣", None),
        ];
        for (text, number) in rows {
            assert_eq!(of(text), number, "{text:?}");
        }
    }
}
