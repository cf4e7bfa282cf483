//! The way out of the store: in order, and no faster than the client takes it.
//!
//! What waits for one account may be more than may wait for one connection (`output-bytes-max`): sent at once, it would
//! end the connection and be lost with it. So after a good piece the client is asked for a sign of life (XEP-0199), and
//! its answer, which comes after it read the piece, calls for the next one.
//!
//! Compat: clients from before XEP-0199 say nothing to such a question. After some seconds without an answer the next
//! piece leaves when all that was sent before has left: a peer that is gone takes no more than the network has room for.

use std::time::Duration;

use super::behind::Behind;
use super::leaving::{Piece, question_id};
use super::{Offline, expire};
use crate::router::privacy::takes;
use crate::router::{Context, Pending, SessionId};
use crate::store::offline::{self, Stored};
use crate::xml;
use crate::xmpp::{BareJid, Condition, IqType, Kind, MessageType, Stanza, StanzaError, delay, ns};

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
    /// The number of the last one that was sent.
    after: u64,
    /// XEP-0013 §2.6: the request to answer when all have left. They stay in the store.
    request: Option<Pending>,
    /// The number of the question that the client has not answered yet.
    question: u64,
    /// The number of the present wait, and whether it is no longer for the answer, but for what was sent to leave.
    wait: u64,
    leaves: bool,
    /// What enters the session now was sent by us: the last of it is the question.
    pushes: bool,
    /// What comes meanwhile.
    pub(super) behind: Behind,
}

impl Sending {
    /// XEP-0160 §3: all that waits, and then it is gone from the store.
    pub(super) fn all() -> Sending {
        let behind = Behind::default();
        Sending { after: 0, request: None, question: 0, wait: 0, leaves: false, pushes: false, behind }
    }

    /// XEP-0013 §2.6: all that waits, and it stays.
    pub(super) fn fetch(request: Pending) -> Sending {
        Sending { request: Some(request), ..Sending::all() }
    }

    /// Did the client become available, and nothing else, for them to come?
    pub(super) fn is_unasked(&self) -> bool {
        self.request.is_none()
    }

    /// The number of the last question, if there was one.
    pub(super) fn question(&self) -> u64 {
        self.question
    }

    /// The number of the last message that was sent.
    pub(super) fn sent(&self) -> u64 {
        self.after
    }

    /// May this enter the session, whatever waits? What we send ourselves may, what the client asked for by its number
    /// (XEP-0013 §2.4), and all while it has asked for what waits: that stays where it is.
    pub(super) fn passes(&mut self, stanza: &Stanza) -> bool {
        let passes = self.pushes || !self.is_unasked() || stanza.child("offline", ns::OFFLINE).is_some();
        let is_question = self.pushes && stanza.kind() == Kind::Iq(IqType::Get);
        self.pushes &= !(is_question && stanza.id() == Some(question_id(self.question).as_str()));
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
        self.send_after(context, session)
    }

    /// A session is a receiver no longer, but still there: what was sent to it is on its way.
    pub(super) fn paused(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        let Some(sending) = self.under_way.remove(&session) else { return Ok(()) };
        sending.behind.give_up(context);
        match context.sessions.by_id(session).map(|session| session.account().clone()) {
            Some(account) => self.hand_over(context, &account, session),
            None => Ok(()),
        }
    }

    /// A session is over: what its client has not shown to have is still in the store, for the next one.
    pub(super) fn ended(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        self.unheard.retain(|unheard| *unheard != session);
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

    /// Nothing more is sent at a host; what is in the store stays there. What was sent is still on its way.
    pub(super) fn forget_host(&mut self, context: &mut Context<'_>) {
        let is_of_host = |id: &SessionId| {
            let session = context.sessions.by_id(*id);
            session.is_none_or(|session| session.account().domain().as_str() == context.host.name)
        };
        // Of those who went while the module was off nobody told it.
        self.leaving.retain(|id, _| context.sessions.by_id(*id).is_some());
        self.unheard = self.leaving.keys().copied().collect();
        let mut over: Vec<SessionId> = self.under_way.keys().copied().filter(is_of_host).collect();
        over.sort_unstable();
        for sending in over.into_iter().filter_map(|id| self.under_way.remove(&id)) {
            sending.behind.give_up(context);
        }
    }

    /// The client answered a question: it has all that was sent before, and the next messages can leave.
    pub(super) fn answered(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        question: u64,
    ) -> Result<(), StanzaError> {
        let is_last = self.under_way.get(&session).is_some_and(|sending| sending.question == question);
        let had = self.has_before(context, session, question);
        match (had, is_last) {
            (Ok(()), true) => self.send_after(context, session),
            (Ok(()), false) => Ok(()),
            // The log has it.
            (Err(_), _) => {
                if let Some(sending) = self.under_way.remove(&session) {
                    sending.behind.give_up(context);
                }
                Ok(())
            }
        }
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

    /// A wait is over.
    pub(super) fn waited(&mut self, context: &mut Context<'_>, wait: u64) -> Result<(), StanzaError> {
        if let Some(session) = self.who_shows(wait) {
            return self.has_before(context, session, u64::MAX);
        }
        let found = self.under_way.iter_mut().find(|(_, sending)| sending.wait == wait);
        let Some((&session, sending)) = found else { return Ok(()) };
        if sending.leaves {
            return self.send_after(context, session);
        }
        self.last_wait += 1;
        (sending.wait, sending.leaves) = (self.last_wait, true);
        context.wake_when_drained(session, self.last_wait);
        Ok(())
    }

    /// Sends the next piece. If the store fails nothing more is sent; what waits behind goes its way, and what is in the
    /// store comes when the session is a receiver again.
    fn send_after(&mut self, context: &mut Context<'_>, session: SessionId) -> Result<(), StanzaError> {
        let Some(mut sending) = self.under_way.remove(&session) else { return Ok(()) };
        match self.send_piece(context, session, &mut sending) {
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
        let account = receiver.account().clone();
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
        let (mut joins, mut is_empty) = (false, true);
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
                    is_empty = false;
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
            if let Some(request) = &sending.request {
                context.answer_later(request, Ok(None));
            }
            if is_empty || stays {
                return self.drop_piece(context, session, piece).map(|()| false);
            }
        }
        let question = (!is_done).then(|| self.ask(context, session));
        if !stays {
            self.leave(context, session, question, piece);
        }
        let Some(question) = question else { return Ok(false) };
        self.last_wait += 1;
        (sending.question, sending.pushes) = (question, true);
        (sending.wait, sending.leaves) = (self.last_wait, false);
        context.wake_after(ANSWER_WAIT, self.last_wait);
        Ok(true)
    }
}

/// A stored message as it is delivered; `None` if its time is over.
pub(super) fn message(context: &Context<'_>, account: &BareJid, stored: &Stored) -> Option<Stanza> {
    let host = &context.host.name;
    let stanza = xml::parse(&stored.stanza).and_then(|element| Stanza::parse(element).ok());
    if stanza.is_none() {
        log::error!(target: host, users = "stored messages that cannot be read", by:% = account;
            "message {} for {account} in the store cannot be read", stored.id);
    }
    let waited = Duration::from_millis(context.now.unix_millis.saturating_sub(stored.received_unix_millis));
    let stanza = expire::after(stanza?, waited.as_secs())?;
    Some(delay::stamped(stanza, host, stored.received_unix_millis, "Offline Storage"))
}
