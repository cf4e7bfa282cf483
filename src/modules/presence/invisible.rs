//! Sessions that are here and are not seen: what jabberd 1.4 did with `type='invisible'` (XEP-0018 §3), and XEP-0186 by the
//! same means.
//!
//! | | by presence | by command |
//! |---|---|---|
//! | who saw the session | is told that it is unavailable | the same |
//! | messages and presence for it | come | come |
//! | its contacts | are asked for their presence | only with `probe='true'` |
//! | presence that it sends to one contact | is an exception | the same |
//! | it ends by | presence for all | `<visible/>` |
//!
//! What others may ask of the account (probes, last activity, its resources) leaves such a session out.

use crate::router::{Context, Flow, Reply, SessionEvent, SessionId, Visibility};
use crate::xmpp::{Condition, Iq, Jid, Kind, PresenceType, Stanza, StanzaError, jid};

use super::{broadcast, directed};

/// `<presence type='invisible'/>`.
pub(super) fn by_presence(context: &mut Context<'_>, id: SessionId, stanza: &Stanza) -> Result<(), StanzaError> {
    let priority = broadcast::priority(stanza)?;
    let Some(session) = context.sessions.by_id(id) else { return Ok(()) };
    let nodes = stanza.element().nodes().to_vec();
    let presence = Stanza::new(Kind::Presence(PresenceType::Available))
        .map_element(|element| element.with_nodes(nodes))
        .with_from(session.jid().clone());
    begin(context, id, Visibility::Invisible, Some((presence, priority)), true)
}

/// XEP-0018 §3.3: to one contact the session is unavailable.
pub(super) fn to_one(context: &mut Context<'_>, id: SessionId, stanza: &Stanza, to: &Jid) -> Result<Flow, StanzaError> {
    directed::note(context, id, to, PresenceType::Unavailable)?;
    let Some(from) = stanza.from() else { return Ok(Flow::Handled) };
    let gone = Stanza::presence(PresenceType::Unavailable).with_from(from.clone()).with_to(to.clone());
    Ok(Flow::Changed(Box::new(gone)))
}

/// XEP-0186 §3.
pub(super) fn command(context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    let session = match (context.requesting_session(), iq.from(), iq.to()) {
        (Some(session), Some(from), Some(to)) if jid::same_bare(from, to) => session,
        _ => return Err(Condition::Forbidden.into()),
    };
    if iq.payload().name() == "visible" {
        visible(context, session);
        return Ok(Reply::empty());
    }
    let probe = match iq.payload().attribute("probe").map(str::trim) {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(StanzaError::new(Condition::BadRequest, "probe is true or false.")),
    };
    begin(context, session, Visibility::Hidden, None, probe)?;
    Ok(Reply::empty())
}

/// XEP-0186 §3.2: as before its first presence. Who got presence in the meantime hears of the end.
fn visible(context: &mut Context<'_>, id: SessionId) {
    let Some(session) = context.sessions.by_id_mut(id) else { return };
    if session.visibility != Visibility::Visible {
        session.visibility = Visibility::Visible;
        session.presence = None;
        session.priority = 0;
    }
}

fn begin(
    context: &mut Context<'_>,
    id: SessionId,
    visibility: Visibility,
    presence: Option<(Stanza, i8)>,
    probes: bool,
) -> Result<(), StanzaError> {
    let order = context.sessions.next_available_order();
    let unix_millis = context.now.unix_millis;
    let Some(session) = context.sessions.by_id_mut(id) else { return Ok(()) };
    let (account, own) = (session.account().clone(), session.jid().clone());
    let (was_seen, was_available) = (session.is_seen(), session.is_available());
    let old_priority = session.priority;
    // Presence that was sent to one contact before is over with all the rest; an exception is made afterwards.
    let told = if was_seen || session.visibility == Visibility::Visible {
        std::mem::take(&mut session.directed)
    } else {
        Default::default()
    };
    // What a command began only a command ends.
    if session.visibility != Visibility::Hidden {
        session.visibility = visibility;
    }
    match presence {
        Some((presence, priority)) => {
            session.presence = Some(presence);
            session.priority = priority;
        }
        None if session.presence.is_none() => {
            session.presence = Some(Stanza::presence(PresenceType::Available).with_from(own.clone()));
            session.priority = 0;
        }
        None => {}
    }
    session.presence_unix_millis = unix_millis;
    let can_chat_again = !was_available || (old_priority < 0 && session.priority >= 0);
    if can_chat_again {
        session.available_order = order;
    }
    let gone = Stanza::presence(PresenceType::Unavailable).with_from(own);
    broadcast::tell_of_end(context, id, &account, was_seen, told, &gone)?;
    if was_seen {
        // XEP-0186 §3.1.1: the last activity is now.
        context.tell_session(id, SessionEvent::Unavailable { status: None });
    }
    if !was_available {
        broadcast::greet(context, id, &account, probes)?;
    }
    if can_chat_again {
        context.tell_session(id, SessionEvent::Available);
    }
    Ok(())
}
