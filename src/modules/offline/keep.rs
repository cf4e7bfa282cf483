//! What is kept for who is away, and in which form.

use super::{event, expire};
use crate::router::{Context, Flow};
use crate::store::{Bounds, offline};
use crate::xmpp::{BareJid, Condition, Kind, MessageType, Stanza, StanzaError, delay, ns, stanza_error::ErrorType};

/// RFC 6121 §8.5.2.2.1: keeps a message, or lets its sender know.
pub(super) fn keep(context: &mut Context<'_>, account: &BareJid, stanza: &Stanza) -> Result<Flow, StanzaError> {
    if !is_kept(context, stanza) {
        return Ok(Flow::Pass);
    }
    if !is_worth_keeping(stanza) {
        return Ok(Flow::Handled);
    }
    if expire::seconds(stanza) == Some(0) {
        // Compat: jabberd 1.4 let the sender know that nobody is there to read it now.
        return Ok(Flow::Pass);
    }
    match append(context, account, event::without_request(stanza.clone()))? {
        offline::Appended::Stored(_) => {
            if let Some(notice) = event::notice(stanza) {
                context.route(notice);
            }
            Ok(Flow::Handled)
        }
        offline::Appended::NoAccount => Ok(Flow::Pass),
        // RFC 6121 §8.5.2.2.1: the queue is full, so the sender must know.
        offline::Appended::Full => {
            let text = "The mailbox of the recipient is full.";
            Err(StanzaError::new(Condition::ServiceUnavailable, text).typed(ErrorType::Wait))
        }
    }
}

/// Puts a message for who is here behind those that are on their way there. Where there is no room, or it is not one to be
/// kept, it goes its own way.
pub(super) fn queue(context: &mut Context<'_>, account: &BareJid, stanza: &Stanza) -> Result<Flow, StanzaError> {
    if !is_kept(context, stanza) || !is_worth_keeping(stanza) || expire::seconds(stanza) == Some(0) {
        return Ok(Flow::Pass);
    }
    Ok(match append(context, account, stanza.clone())? {
        offline::Appended::Stored(_) => Flow::Handled,
        offline::Appended::NoAccount | offline::Appended::Full => Flow::Pass,
    })
}

/// Does the admin want messages of this type kept?
fn is_kept(context: &Context<'_>, stanza: &Stanza) -> bool {
    let types = &context.host.offline;
    match stanza.kind() {
        Kind::Message(MessageType::Normal) => types.normal,
        Kind::Message(MessageType::Chat) => types.chat,
        Kind::Message(MessageType::Headline) => types.headline,
        Kind::Message(MessageType::Groupchat) => types.groupchat,
        Kind::Message(MessageType::Error) => types.error,
        _ => false,
    }
}

/// Stores a message, without what only the server may say of it.
fn append(
    context: &mut Context<'_>,
    account: &BareJid,
    stanza: Stanza,
) -> Result<offline::Appended, crate::store::Error> {
    let limits = &context.config.limits;
    let bounds = Bounds { count: limits.offline_messages_max as u64, bytes: limits.offline_bytes_max as u64 };
    let clean = delay::without_stamps_for(stanza, account);
    let text = expire::without_note(clean).to_text();
    offline::append(context.store, account, &text, context.now.unix_millis, bounds)
}

/// XEP-0160 §3 and XEP-0334 §4.2: notices about typing, and what its sender does not want kept, are dropped.
fn is_worth_keeping(stanza: &Stanza) -> bool {
    if stanza.child("no-store", ns::HINTS).is_some() {
        return false;
    }
    if stanza.child("body", ns::CLIENT).is_some() {
        return true;
    }
    let is_notice = |ns: &str| matches!(ns, ns::CHAT_STATES | ns::EVENT | ns::HINTS);
    !stanza.element().children().all(|child| is_notice(child.ns()) || child.is("thread", ns::CLIENT))
}
