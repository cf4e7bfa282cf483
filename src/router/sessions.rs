//! Who is here: the bound resources of local accounts.
//!
//! Modules read and write the parts that belong to the protocol (presence, priority, directed presence); only the
//! router adds and removes sessions.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::ids::{ConnectionId, IdMap, SessionId};
use super::privacy::{Absent, Standing};
use crate::xmpp::privacy::List;
use crate::xmpp::{BareJid, FullJid, Jid, Stanza, delay};

/// Whom a session shows itself to while it is available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Those who are subscribed.
    #[default]
    Visible,
    /// Only those to whom it sends presence, until it sends presence to all.
    Invisible,
    /// XEP-0186 §3.1: only those to whom it sends presence, until it says that this is over.
    Hidden,
}

/// A session: what the server remembers of a bound resource.
#[derive(Debug)]
pub struct Session {
    jid: FullJid,
    bare: BareJid,
    connection: ConnectionId,
    opened_millis: u64,
    /// The last available presence that was broadcast; `None` before the first and after the last.
    pub presence: Option<Stanza>,
    /// When that presence came, in Unix milliseconds.
    pub presence_unix_millis: u64,
    /// RFC 6121 §4.7.2.3, from the presence above; only meaningful with one.
    pub priority: i8,
    /// RFC 6121 §2.2: it asked for the roster, so it gets roster pushes.
    pub interested: bool,
    /// XEP-0013 §2.2: it looks through the messages that wait, so they are not sent to it unasked.
    pub reads_offline: bool,
    /// While it is available.
    pub visibility: Visibility,
    /// XEP-0016 §2.4: the list that it chose for itself.
    pub active: Option<Arc<List>>,
    /// What counts for its account; the same in all sessions of it.
    pub standing: Option<Arc<Standing>>,
    /// It uses privacy lists, so it hears of every change of one.
    pub knows_lists: bool,
    /// XEP-0191 §3.3: it asked for the block list, so it gets its pushes.
    pub knows_blocks: bool,
    /// RFC 6121 §4.6.3: who got directed presence and must hear of the end.
    pub directed: BTreeSet<Jid>,
    /// Of those the ones whose server was lost since: they are told of the end when it is back.
    pub directed_lost: BTreeSet<Jid>,
    /// When this session last became available, in the order of all such events: the newest wins among equals.
    pub available_order: u64,
    /// Stanzas that the server delivered to the client.
    pub received: u64,
    /// Stanzas that the client sent.
    pub sent: u64,
    /// When it sent the last, or was bound, on the monotonic clock, in milliseconds.
    pub last_sent_millis: u64,
    /// The other end of its connection, if it has one.
    pub peer: Option<IpAddr>,
}

impl Session {
    /// The full JID.
    pub fn jid(&self) -> &FullJid {
        &self.jid
    }
    /// The account.
    pub fn account(&self) -> &BareJid {
        &self.bare
    }
    /// The socket that serves it.
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }
    /// When it was bound, on the monotonic clock, in milliseconds.
    pub fn opened_millis(&self) -> u64 {
        self.opened_millis
    }
    /// The last available presence as who asks late gets it: with the time it came (XEP-0203 §4). `None` for a session
    /// that does not show itself.
    pub fn stamped_presence(&self) -> Option<Stanza> {
        let presence = self.presence.clone().filter(|_| self.visibility == Visibility::Visible)?;
        Some(delay::stamped(presence, self.jid.as_str(), self.presence_unix_millis, ""))
    }
    /// RFC 6121 §4.2: it sent initial presence and not yet unavailable. It may be invisible all the same.
    pub fn is_available(&self) -> bool {
        self.presence.is_some()
    }
    /// It is available, and its subscribers see that.
    pub fn is_seen(&self) -> bool {
        self.is_available() && self.visibility == Visibility::Visible
    }
}

/// All sessions, by number and by account.
#[derive(Default)]
pub struct Sessions {
    next_id: u64,
    by_id: IdMap<SessionId, Session>,
    by_account: HashMap<BareJid, Vec<SessionId>>,
    /// The privacy rules of accounts that are away.
    pub(super) absent: Absent,
    next_order: u64,
}

impl Sessions {
    /// Adds a session that was just bound.
    pub(super) fn add(&mut self, jid: FullJid, connection: ConnectionId, now_millis: u64) -> SessionId {
        self.next_id += 1;
        let id = SessionId(self.next_id);
        let bare = jid.to_bare();
        self.absent.forget(&bare);
        self.by_account.entry(bare.clone()).or_default().push(id);
        let session = Session {
            jid,
            bare,
            connection,
            opened_millis: now_millis,
            presence: None,
            presence_unix_millis: 0,
            priority: 0,
            interested: false,
            reads_offline: false,
            visibility: Visibility::Visible,
            active: None,
            standing: None,
            knows_lists: false,
            knows_blocks: false,
            directed: BTreeSet::new(),
            directed_lost: BTreeSet::new(),
            available_order: 0,
            received: 0,
            sent: 0,
            last_sent_millis: now_millis,
            peer: None,
        };
        self.by_id.insert(id, session);
        id
    }

    /// Forgets a session.
    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        if let Some(ids) = self.by_account.get_mut(&session.bare) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_account.remove(&session.bare);
            }
        }
        Some(session)
    }

    /// One session.
    pub fn by_id(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// One session, to change it.
    pub fn by_id_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    /// The sessions of an account, oldest first.
    pub fn of(&self, account: &Jid) -> impl Iterator<Item = (SessionId, &Session)> {
        let ids = self.by_account.get(account).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| Some((*id, self.by_id.get(id)?)))
    }

    /// The session with exactly this full JID.
    pub fn by_full(&self, bare: &Jid, full: &Jid) -> Option<SessionId> {
        self.of(bare).find(|(_, session)| *session.jid == *full).map(|(id, _)| id)
    }

    /// The sessions that sent available presence.
    pub fn available(&self, account: &Jid) -> impl Iterator<Item = (SessionId, &Session)> {
        self.of(account).filter(|(_, session)| session.is_available())
    }

    /// How many sessions an account has.
    pub fn count(&self, account: &Jid) -> usize {
        self.by_account.get(account).map_or(0, Vec::len)
    }

    /// All sessions, in no order.
    pub fn all(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.by_id.iter().map(|(id, session)| (*id, session))
    }

    /// The sessions of a host's accounts, oldest first: at most so many, and how many there are.
    pub fn at_host(&self, host: &str, most: usize) -> (Vec<(SessionId, &Session)>, usize) {
        let is_here = |(_, session): &(SessionId, &Session)| session.bare.domain().as_str() == host;
        let mut all: Vec<(SessionId, &Session)> = self.all().filter(is_here).collect();
        let count = all.len();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.truncate(most);
        (all, count)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Is nobody here?
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The next place in the order of becoming available.
    pub fn next_available_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }
}
