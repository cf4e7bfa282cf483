//! The way out of the store: in order, and no faster than the client takes it.
//!
//! What waits for one account may be more than may wait for one connection (`output-bytes-max`): sent at once, it would
//! end the connection and be lost with it. So after a good piece the client is asked for a sign of life (XEP-0199), and
//! its answer, which comes after it read the piece, calls for the next one.
//!
//! Compat: clients from before XEP-0199 say nothing to such a question. After some seconds without an answer the next
//! piece leaves when all that was sent before has left: a peer that is gone takes no more than the network has room for.
//! Only then, too, a piece is gone from the store: `leaving.rs`.

use std::time::Duration;

use super::behind::Behind;
use super::leaving::Piece;
use super::{Offline, expire};
use crate::router::privacy::takes;
use crate::router::{Context, Pending, SessionId};
use crate::store::offline::{self, Stored};
use crate::xml::{self, Element};
use crate::xmpp::{BareJid, Condition, IqType, Kind, MessageType, Stanza, StanzaError, delay, jid, ns};

/// How many messages are read at a time.
const PAGE: usize = 100;
/// Which part of what may wait for a connection is sent before the client is asked.
const PIECES: usize = 4;

/// How many bytes are sent before the client is asked; as many may wait in memory behind them.
pub(super) fn piece_bytes(context: &Context<'_>) -> usize {
    context.config.limits.output_bytes_max / PIECES
}

/// How long a client has to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Messages on their way to a session.
pub(super) struct Sending {
    /// The number of the last one that left.
    after: u64,
    /// XEP-0013 §2.6: the request to answer when all have left. They stay in the store.
    request: Option<Pending>,
    /// The id of the question that the client has not answered yet.
    question: String,
    /// The number of the present wait, and whether it is no longer for the answer, but for what was sent to leave.
    wait: u64,
    leaves: bool,
    /// What enters the session now was sent by us: the last of it is the question.
    pushes: bool,
    /// The messages before the question, where they go from the store.
    pub(super) piece: Piece,
    /// What comes meanwhile.
    pub(super) behind: Behind,
}

impl Sending {
    /// XEP-0160 §3: all that waits, and then it is gone from the store.
    pub(super) fn all() -> Sending {
        let (question, piece, behind) = (String::new(), Piece::default(), Behind::default());
        Sending { after: 0, request: None, question, wait: 0, leaves: false, pushes: false, piece, behind }
    }

    /// XEP-0013 §2.6: all that waits, and it stays.
    pub(super) fn fetch(request: Pending) -> Sending {
        Sending { request: Some(request), ..Sending::all() }
    }

    /// Did the client become available, and nothing else, for them to come?
    pub(super) fn is_unasked(&self) -> bool {
        self.request.is_none()
    }

    /// The number of the last message that left.
    pub(super) fn sent(&self) -> u64 {
        self.after
    }

    /// May this enter the session, whatever waits? What we send ourselves may, what the client asked for by its number
    /// (XEP-0013 §2.4), and all while it has asked for what waits: that stays where it is.
    pub(super) fn passes(&mut self, stanza: &Stanza) -> bool {
        let passes = self.pushes || !self.is_unasked() || stanza.child("offline", ns::OFFLINE).is_some();
        self.pushes &= !(matches!(stanza.kind(), Kind::Iq(IqType::Get)) && stanza.id() == Some(self.question.as_str()));
        passes
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
        self.send_after(context, session, Ok(()))
    }

    /// A session is a receiver no longer, but still there: what was sent to it is on its way.
    pub(super) fn paused(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        let Some(sending) = self.under_way.remove(&session) else { return Ok(()) };
        sending.behind.give_up(context);
        self.leave(context, session, sending.piece);
        match context.sessions.by_id(session).map(|session| session.account().clone()) {
            Some(account) => self.hand_over(context, &account, session),
            None => Ok(()),
        }
    }

    /// A session is over: what has not left it is still in the store, for the next one.
    pub(super) fn ended(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        let did_not_leave = self.leaving.remove(&session).is_some();
        let over = self.under_way.remove(&session);
        let was_unasked = did_not_leave || over.as_ref().is_some_and(Sending::is_unasked);
        if let Some(sending) = over {
            sending.behind.give_up(context);
        }
        match context.sessions.by_id(session).map(|session| session.account().clone()) {
            Some(account) if was_unasked => self.hand_over(context, &account, session),
            _ => Ok(()),
        }
    }

    /// A session gets no more of what waits: another one that is here does, for newer messages may wait behind the old.
    pub(super) fn hand_over(
        &mut self,
        context: &mut Context<'_>,
        account: &BareJid,
        from: SessionId,
    ) -> Result<(), StanzaError> {
        if context.sessions.of(account).any(|(_, session)| session.reads_offline) {
            return Ok(());
        }
        let others = context.sessions.available(account).filter(|(id, other)| *id != from && other.priority >= 0);
        let next = others.max_by_key(|(_, other)| other.priority).map(|(id, _)| id);
        next.map_or(Ok(()), |next| self.start(context, next, Sending::all()))
    }

    /// Nothing more is sent at a host; what is in the store stays there.
    pub(super) fn forget_host(&mut self, context: &mut Context<'_>) {
        let is_there = |id: &SessionId| {
            let session = context.sessions.by_id(*id);
            session.is_none_or(|session| session.account().domain().as_str() == context.host.name)
        };
        self.leaving.retain(|id, _| !is_there(id));
        let mut over: Vec<SessionId> = self.under_way.keys().copied().filter(is_there).collect();
        over.sort_unstable();
        for sending in over.into_iter().filter_map(|id| self.under_way.remove(&id)) {
            sending.behind.give_up(context);
        }
    }

    /// Is this what the session's client was asked for?
    pub(super) fn is_answer(&self, session: SessionId, stanza: &Stanza) -> bool {
        matches!(stanza.kind(), Kind::Iq(IqType::Result | IqType::Error))
            && self.under_way.get(&session).is_some_and(|sending| stanza.id() == Some(sending.question.as_str()))
            && stanza.to().is_some_and(|to| to.node().is_none())
    }

    /// Would this message for an account overtake older ones that are on their way to all who are to get it?
    pub(super) fn would_overtake(
        &self,
        context: &mut Context<'_>,
        account: &BareJid,
        stanza: &Stanza,
    ) -> Result<bool, StanzaError> {
        let is_chat = matches!(stanza.kind(), Kind::Message(MessageType::Chat | MessageType::Normal));
        if self.under_way.is_empty() || !is_chat {
            return Ok(false);
        }
        let is_under_way = |id: &SessionId| self.under_way.get(id).is_some_and(Sending::is_unasked);
        // In the store it would be anybody's: `behind.rs`.
        if stanza.to().is_some_and(|to| to.is_full() && context.sessions.by_full(account, to).is_some()) {
            return Ok(false);
        }
        // RFC 6121 §8.5.2.1.1: all of the highest priority.
        let kept_back = context.sessions.kept_back(context.store, context.config, stanza)?;
        let is_kept_back =
            |who| kept_back.as_ref().map_or(Ok(false), |kept_back| kept_back.is_from(context.store, who));
        let mut top = None;
        let mut do_all_wait = false;
        for (id, session) in context.sessions.available(account).filter(|(_, session)| session.priority >= 0) {
            let is_choice = takes(context.store, session, stanza)? && !is_kept_back(session.jid())?;
            if Some(session.priority) < top || !is_choice {
                continue;
            }
            let is_first = Some(session.priority) > top;
            do_all_wait = is_under_way(&id) && (is_first || do_all_wait);
            top = Some(session.priority);
        }
        Ok(do_all_wait)
    }

    /// A wait is over: the client did not answer in time, or what was sent to it has left.
    pub(super) fn waited(&mut self, context: &mut Context<'_>, wait: u64) -> Result<(), StanzaError> {
        if let Some(session) = self.session_left(wait) {
            return self.last_left(context, session);
        }
        let found = self.under_way.iter_mut().find(|(_, sending)| sending.wait == wait);
        let Some((&session, sending)) = found else { return Ok(()) };
        if sending.leaves {
            return self.go_on(context, session);
        }
        self.last_wait += 1;
        (sending.wait, sending.leaves) = (self.last_wait, true);
        context.wake_when_drained(session, sending.wait);
        Ok(())
    }

    /// All that was sent so far has left: the next piece can.
    pub(super) fn go_on(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        let left = self.all_left(context, session);
        self.send_after(context, session, left)
    }

    /// Sends the next piece. If the store fails nothing more is sent; what waits behind goes its way, and what is in the
    /// store comes when the session is a receiver again.
    fn send_after(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        left: Result<(), StanzaError>,
    ) -> Result<(), StanzaError> {
        let Some(mut sending) = self.under_way.remove(&session) else { return Ok(()) };
        let sent = left.and_then(|()| self.send_piece(context, session, &mut sending));
        match sent {
            Ok(true) => {
                self.under_way.insert(session, sending);
                Ok(())
            }
            Ok(false) => Ok(()),
            // The log has it.
            Err(_) => {
                sending.behind.give_up(context);
                Ok(())
            }
        }
    }

    /// Sends a piece. Returns whether there is more.
    fn send_piece(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        sending: &mut Sending,
    ) -> Result<bool, StanzaError> {
        let Some(receiver) = context.sessions.by_id(session) else { return Ok(false) };
        let (account, to) = (receiver.account().clone(), receiver.jid().clone());
        let stays = sending.request.is_some();
        if !(stays || receiver.is_available() && receiver.priority >= 0) {
            // It is no receiver any more, and gets the rest when it is one again.
            std::mem::take(&mut sending.behind).give_up(context);
            return self.hand_over(context, &account, session).map(|()| false);
        }
        let elsewhere = self.on_their_way(context, &account);
        let mut piece = Piece::default();
        // What another session got and lost with its connection is older.
        let mut read = if stays { sending.after } else { 0 };
        let mut joins = false;
        let mut room = piece_bytes(context);
        let is_done = loop {
            let page = offline::fetch(context.store, &account, read, PAGE)?;
            let mut is_last = page.len() < PAGE;
            for stored in page {
                if let Some(other) = elsewhere.iter().find(|other| other.contains(&stored.id)) {
                    (read, joins, is_last) = (*other.end(), false, false);
                    break;
                }
                room = room.saturating_sub(sending.behind.let_go(context, session, stored.id));
                if room == 0 {
                    break;
                }
                (read, sending.after) = (stored.id, stored.id);
                if !stays {
                    piece.push(stored.id, joins);
                    joins = true;
                }
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
        if is_done {
            sending.behind.let_go(context, session, u64::MAX);
            self.leave(context, session, piece);
            if let Some(request) = &sending.request {
                context.answer_later(request, Ok(None));
            }
            return Ok(false);
        }
        let Some(host) = jid::of_host(&context.host.name) else { return Ok(false) };
        sending.piece = piece;
        sending.question = format!("offline-{}", sending.after);
        let ping = Stanza::iq(IqType::Get, sending.question.clone(), Some(Element::new("ping", ns::PING)));
        context.deliver(session, ping.with_from(host).with_to(to));
        self.last_wait += 1;
        (sending.wait, sending.leaves, sending.pushes) = (self.last_wait, false, true);
        context.wake_after(ANSWER_WAIT, sending.wait);
        Ok(true)
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
