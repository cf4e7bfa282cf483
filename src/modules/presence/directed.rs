//! Directed presence (RFC 6121 §4.6): for one receiver, who may be no subscriber and yet must hear of the end.

use crate::router::{Context, SessionId};
use crate::xmpp::{BareJid, Condition, Jid, PresenceType, StanzaError};

/// A client sends presence to somebody. Subscribers and siblings are remembered, too: the broadcast of the end leaves
/// them out of the directed ones (RFC 6121 §4.6.3), and so nothing needs to be looked up here.
pub(super) fn note(context: &mut Context<'_>, id: SessionId, to: &Jid, kind: PresenceType) -> Result<(), StanzaError> {
    let most = context.config.limits.directed_presence_max;
    let Some(session) = context.sessions.by_id_mut(id) else { return Ok(()) };
    session.directed_lost.remove(to);
    if kind == PresenceType::Unavailable {
        session.directed.remove(to);
        return Ok(());
    }
    if session.directed.len().saturating_add(session.directed_lost.len()) >= most && !session.directed.contains(to) {
        return Err(StanzaError::new(Condition::ResourceConstraint, "Presence was sent to too many."));
    }
    session.directed.insert(to.clone());
    Ok(())
}

/// An error came back: whoever it was did not get the presence and needs no end of it.
pub(super) fn forget(context: &mut Context<'_>, account: &BareJid, from: &Jid, to: &Jid) {
    let session = context.sessions.by_full(account, to);
    if let Some(session) = session.and_then(|id| context.sessions.by_id_mut(id)) {
        session.directed.remove(from);
        session.directed_lost.remove(from);
    }
}
