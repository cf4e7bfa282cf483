//! XEP-0160: messages for who is away wait in the store, and come in order, once, with the time they were sent.

use crate::router::{About, Context, Flow, Module, SessionEvent, SessionId};
use crate::store::{Bounds, offline};
use crate::xml;
use crate::xmpp::{BareJid, Condition, Kind, MessageType, Stanza, StanzaError, delay, ns, stanza_error::ErrorType};

/// How many messages are fetched at a time.
const PAGE: usize = 100;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Offline)
}

struct Offline;

impl Module for Offline {
    fn about(&self) -> &'static About {
        &About { specs: &["XEP-0160 1.0.1", "XEP-0203 2.0", "XEP-0091 1.4"], disco: &[ns::MSGOFFLINE], ..About::NONE }
    }

    /// RFC 6121 §8.5.2.2.1: keep the message, or let the sender know.
    fn undelivered(
        &mut self,
        context: &mut Context<'_>,
        account: &BareJid,
        stanza: &Stanza,
    ) -> Result<Flow, StanzaError> {
        let types = &context.host.offline;
        let is_kept = match stanza.kind() {
            Kind::Message(MessageType::Normal) => types.normal,
            Kind::Message(MessageType::Chat) => types.chat,
            Kind::Message(MessageType::Headline) => types.headline,
            Kind::Message(MessageType::Groupchat) => types.groupchat,
            Kind::Message(MessageType::Error) => types.error,
            _ => false,
        };
        if !is_kept {
            return Ok(Flow::Pass);
        }
        if !is_worth_keeping(stanza) {
            return Ok(Flow::Handled);
        }
        let limits = &context.config.limits;
        let bounds = Bounds { count: limits.offline_messages_max as u64, bytes: limits.offline_bytes_max as u64 };
        let text = delay::without_stamps_by(stanza.clone(), &context.host.name).to_text();
        match offline::append(context.store, account, &text, context.now.unix_millis, bounds)? {
            offline::Appended::Stored(_) => Ok(Flow::Handled),
            offline::Appended::NoAccount => Ok(Flow::Pass),
            // RFC 6121 §8.5.2.2.1: the queue is full, so the sender must know.
            offline::Appended::Full => {
                let text = "The mailbox of the recipient is full.";
                Err(StanzaError::new(Condition::ServiceUnavailable, text).typed(ErrorType::Wait))
            }
        }
    }

    /// XEP-0160 §3: who becomes available with a priority that is not negative gets what waits.
    fn session(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        event: &SessionEvent,
    ) -> Result<(), StanzaError> {
        if *event != SessionEvent::Available {
            return Ok(());
        }
        let Some(receiver) = context.sessions.by_id(session).filter(|receiver| receiver.priority >= 0) else {
            return Ok(());
        };
        let account = receiver.account().clone();
        let host = context.host.name.clone();
        let mut last = 0;
        loop {
            let page = offline::fetch(context.store, &account, last, PAGE)?;
            let Some(newest) = page.last() else { break };
            last = newest.id;
            for stored in &page {
                let stanza = xml::parse(&stored.stanza).and_then(|element| Stanza::parse(element).ok());
                let Some(stanza) = stanza else {
                    log::error!(target: &host, "message {} for {account} in the store cannot be read", stored.id);
                    continue;
                };
                let reason = "Offline Storage";
                context.deliver(session, delay::stamped(stanza, &host, stored.received_unix_millis, reason));
            }
        }
        if last > 0 {
            offline::delete_through(context.store, &account, last)?;
        }
        Ok(())
    }
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
