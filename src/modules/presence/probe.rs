//! Probes: what is the presence of a contact now (RFC 6121 §4.3)?

use crate::router::{Context, SessionId};
use crate::store::roster;
use crate::xmpp::{BareJid, FullJid, Jid, Kind, PresenceType, Stanza, StanzaError, jid};

/// Asks for a contact's presence on behalf of a session that just became available (RFC 6121 §4.3.1).
pub(super) fn send(context: &mut Context<'_>, id: SessionId, own: &FullJid, contact: Jid) {
    let is_here = context.config.host(jid::domain(&contact)).is_some();
    // Deviation: a contact here that is not available, or does not show itself to this user, is not asked, where RFC 6121
    // §4.3.2 would have it answer "unavailable": the new session has not heard otherwise.
    if is_here && contact.node().is_some() && !is_seen(context, &contact, own) {
        return;
    }
    let probe = Stanza::presence(PresenceType::Probe);
    // RFC 6121 §4.3: between servers from the bare JID. Within this one from the full JID, so that the answer does not
    // go to all the sessions of the account.
    let probe = if is_here { probe.with_from(own.clone()) } else { probe.with_from(own.to_bare()) };
    context.route_from(id, probe.with_to(contact));
}

/// Is a session of this account there for somebody?
fn is_seen(context: &Context<'_>, contact: &Jid, by: &FullJid) -> bool {
    context.sessions.available(contact).any(|(_, session)| context.shows(session, by))
}

/// Answers who asks for the presence of an account (RFC 6121 §4.3.2), as far as the subscription goes. Of a session that
/// does not show itself nothing is told; if there is no other, the account looks as if nobody were there (XEP-0016 §2.11,
/// XEP-0186 §3.1.1).
pub(super) fn answer(context: &mut Context<'_>, account: &BareJid, from: &Jid, to: &Jid) -> Result<(), StanzaError> {
    let contact = jid::contact(from);
    let is_own = *account == contact;
    let may_see =
        is_own || roster::item(context.store, account, &contact)?.is_some_and(|item| item.subscription.from());
    let mut answers: Vec<Stanza> = context
        .sessions
        .of(account)
        // A probe of one resource is answered for that one only.
        .filter(|(_, session)| to.is_bare() || *session.jid() == *to)
        .filter_map(|(_, session)| {
            if may_see && context.shows(session, from) {
                return session.stamped_presence();
            }
            // RFC 6121 §4.6.5: who got directed presence may ask whether the session is there still, and no more.
            let got_directed = session.directed.iter().any(|to| jid::same_bare(to, from));
            got_directed.then(|| Stanza::presence(PresenceType::Available).with_from(session.jid().clone()))
        })
        .collect();
    if answers.is_empty() {
        answers.push(match may_see {
            true => Stanza::presence(PresenceType::Unavailable).with_from(to.clone()),
            false => Stanza::presence(PresenceType::Unsubscribed).with_from(account.clone()),
        });
    }
    for answer in answers {
        let is_refusal = answer.kind() == Kind::Presence(PresenceType::Unsubscribed);
        // What a list keeps back is not among them.
        context.route_anyway(answer.with_to(if is_refusal { contact.clone() } else { from.clone() }));
    }
    Ok(())
}
