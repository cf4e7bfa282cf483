//! XEP-0379: Pre-Authenticated Roster Subscription: who shows an invitation of the user is let in without being asked for.

use crate::router::Context;
use crate::store::invite;
use crate::xmpp::{BareJid, Jid, Stanza, StanzaError, ns};

/// The longest token that is looked up; ours are shorter.
const TOKEN_BYTES_MAX: usize = 256;

/// Does this subscription request show a good invitation of the account? Then that is used by it.
///
/// XEP-0379 §4.1: a token that is not ours may be a client's own; the request goes its usual way then, with the token.
pub(super) fn admits(
    context: &mut Context<'_>,
    account: &BareJid,
    contact: &Jid,
    stanza: &Stanza,
) -> Result<bool, StanzaError> {
    let shown = stanza.child("preauth", ns::PREAUTH).and_then(|shown| shown.attribute("token"));
    let Some(token) = shown.filter(|token| token.len() <= TOKEN_BYTES_MAX) else { return Ok(false) };
    if !context.host.modules.is_on("mod_invite") {
        return Ok(false);
    }
    let Some(invite) = invite::by_token(context.store, token)? else { return Ok(false) };
    let is_good = invite.befriends_contact(&contact.to_bare())
        && invite.inviter.as_ref() == Some(account)
        && invite.expires > context.now.unix_millis;
    if !is_good || !invite::take(context.store, &invite.id)? {
        return Ok(false);
    }
    log::info!(target: &context.host.name, "{account} is subscribed to by invitation={}", invite.id);
    Ok(true)
}
