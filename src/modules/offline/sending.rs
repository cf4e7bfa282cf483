//! The way out of the store: in order, and no faster than the client takes it.
//!
//! What waits for one account may be more than may wait for one connection (`output-bytes-max`): sent at once, it would
//! end the connection and be lost with it. So after a good piece the client is asked for a sign of life (XEP-0199), and
//! its answer, which comes after it read the piece, calls for the next one.

use std::time::Duration;

use super::{Offline, expire};
use crate::router::{Context, Pending, SessionId};
use crate::store::offline::{self, Stored};
use crate::xml::{self, Element};
use crate::xmpp::{BareJid, Condition, IqType, Kind, Stanza, StanzaError, delay, jid, ns};

/// How many messages are read at a time.
const PAGE: usize = 100;
/// Which part of what may wait for a connection is sent before the client is asked.
const PIECE: usize = 4;

/// Messages on their way to a session.
pub(super) struct Sending {
    /// The number of the last one that left.
    after: u64,
    /// XEP-0013 §2.6: the request to answer when all have left. They stay in the store.
    request: Option<Pending>,
    /// The id of the question that the client has not answered yet.
    question: String,
}

impl Sending {
    /// XEP-0160 §3: all that waits, and then it is gone from the store.
    pub(super) fn all() -> Sending {
        Sending { after: 0, request: None, question: String::new() }
    }

    /// XEP-0013 §2.6: all that waits, and it stays.
    pub(super) fn fetch(request: Pending) -> Sending {
        Sending { request: Some(request), ..Sending::all() }
    }
}

impl Offline {
    /// Begins to send, unless it is being done.
    pub(super) fn start(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        sending: Sending,
    ) -> Result<(), StanzaError> {
        if self.under_way.contains_key(&session) {
            return match sending.request {
                Some(_) => Err(StanzaError::new(Condition::ResourceConstraint, "Your messages are on their way.")),
                None => Ok(()),
            };
        }
        self.under_way.insert(session, sending);
        self.go_on(context, session)
    }

    /// Is this what the session's client was asked for?
    pub(super) fn is_answer(&self, session: SessionId, stanza: &Stanza) -> bool {
        matches!(stanza.kind(), Kind::Iq(IqType::Result | IqType::Error))
            && self.under_way.get(&session).is_some_and(|sending| stanza.id() == Some(sending.question.as_str()))
            && stanza.to().is_some_and(|to| to.node().is_none())
    }

    /// Sends the next piece.
    pub(super) fn go_on(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        let Some(mut sending) = self.under_way.remove(&session) else { return Ok(()) };
        let Some(receiver) = context.sessions.by_id(session) else { return Ok(()) };
        let (account, to) = (receiver.account().clone(), receiver.jid().clone());
        let stays = sending.request.is_some();
        let before = sending.after;
        let mut room = context.config.limits.output_bytes_max / PIECE;
        let is_done = loop {
            let page = offline::fetch(context.store, &account, sending.after, PAGE)?;
            let is_last = page.len() < PAGE;
            for stored in page {
                sending.after = stored.id;
                room = room.saturating_sub(stored.bytes as usize);
                if let Some(stanza) = message(context, &account, &stored) {
                    let stanza = if stays { super::retrieval::marked(stanza, stored.id) } else { stanza };
                    context.deliver(session, stanza);
                }
                if room == 0 {
                    break;
                }
            }
            if is_last || room == 0 {
                break is_last && room > 0;
            }
        };
        if !stays && sending.after > before {
            offline::delete_through(context.store, &account, sending.after)?;
        }
        if is_done {
            if let Some(request) = &sending.request {
                context.answer_later(request, Ok(None));
            }
            return Ok(());
        }
        let Some(host) = jid::of_host(&context.host.name) else { return Ok(()) };
        sending.question = format!("offline-{}", sending.after);
        let ping = Stanza::iq(IqType::Get, sending.question.clone(), Some(Element::new("ping", ns::PING)));
        context.deliver(session, ping.with_from(host).with_to(to));
        self.under_way.insert(session, sending);
        Ok(())
    }
}

/// A stored message as it is delivered; `None` if its time is over.
pub(super) fn message(context: &Context<'_>, account: &BareJid, stored: &Stored) -> Option<Stanza> {
    let host = &context.host.name;
    let stanza = xml::parse(&stored.stanza).and_then(|element| Stanza::parse(element).ok());
    if stanza.is_none() {
        log::error!(target: host, "message {} for {account} in the store cannot be read", stored.id);
    }
    let waited = Duration::from_millis(context.now.unix_millis.saturating_sub(stored.received_unix_millis));
    let stanza = expire::after(stanza?, waited.as_secs())?;
    Some(delay::stamped(stanza, host, stored.received_unix_millis, "Offline Storage"))
}
