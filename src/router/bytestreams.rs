//! The ends of file transfers that are connected to us (XEP-0065 §4): who waits for whom, and which are joined.
//!
//! An end is a connection that named a hash. Two ends of one hash wait for the requester's word; it is the only one that
//! can say whose hash it is, for its own verified JID is a part of it. A third end is nobody.

use std::collections::HashMap;

use super::ids::{ConnectionId, IdMap};
use crate::config::Limits;
use crate::stream::socks5::{Destination, Refusal};
use crate::xmpp::BareJid;

/// Those who wait under one hash.
struct Waiting {
    first: ConnectionId,
    second: Option<ConnectionId>,
}

/// A transfer that is under way.
struct Joined {
    other: ConnectionId,
    requester: BareJid,
}

/// Why a transfer does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBegun {
    /// No end of this hash is connected.
    Nobody,
    /// One end is, the other is not.
    Alone,
    /// There are as many transfers as there may be, of this account or of all.
    Full,
}

/// All ends.
#[derive(Default)]
pub struct Bytestreams {
    waiting: HashMap<Destination, Waiting>,
    /// The hash of each who waits.
    wanted: IdMap<ConnectionId, Destination>,
    /// Both ends of each transfer.
    joined: IdMap<ConnectionId, Joined>,
}

impl Bytestreams {
    /// A connection names its hash.
    ///
    /// # Errors
    /// What it is told if it cannot take part.
    pub fn connect(&mut self, id: ConnectionId, wanted: Destination, limits: &Limits) -> Result<(), Refusal> {
        if self.wanted.len() >= limits.bytestreams_waiting_max {
            return Err(Refusal::Failure);
        }
        match self.waiting.get_mut(&wanted) {
            None => {
                self.waiting.insert(wanted.clone(), Waiting { first: id, second: None });
            }
            Some(waiting) if waiting.second.is_none() => waiting.second = Some(id),
            Some(_) => return Err(Refusal::NotAllowed),
        }
        self.wanted.insert(id, wanted);
        Ok(())
    }

    /// Is there anybody with this hash?
    pub fn knows(&self, wanted: &Destination) -> bool {
        self.waiting.contains_key(wanted)
    }

    /// The requester gives the word.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn activate(
        &mut self,
        wanted: &Destination,
        requester: &BareJid,
        limits: &Limits,
    ) -> Result<(ConnectionId, ConnectionId), NotBegun> {
        let waiting = self.waiting.get(wanted).ok_or(NotBegun::Nobody)?;
        let (one, other) = (waiting.first, waiting.second.ok_or(NotBegun::Alone)?);
        let own = self.joined.values().filter(|joined| joined.requester == *requester).count() / 2;
        if self.joined.len() / 2 >= limits.bytestreams_max || own >= limits.bytestreams_per_account_max {
            return Err(NotBegun::Full);
        }
        self.waiting.remove(wanted);
        for (id, other) in [(one, other), (other, one)] {
            self.wanted.remove(&id);
            self.joined.insert(id, Joined { other, requester: requester.clone() });
        }
        Ok((one, other))
    }

    /// Has the word been given for this connection?
    pub fn is_joined(&self, id: ConnectionId) -> bool {
        self.joined.contains_key(&id)
    }

    /// A connection is gone. Who began the transfer that it was an end of, if its other end is gone, too.
    pub fn gone(&mut self, id: ConnectionId) -> Option<BareJid> {
        if let Some(wanted) = self.wanted.remove(&id) {
            self.leave(id, &wanted);
        }
        let joined = self.joined.remove(&id)?;
        (!self.joined.contains_key(&joined.other)).then_some(joined.requester)
    }

    /// Who waits for the same goes on waiting.
    fn leave(&mut self, id: ConnectionId, wanted: &Destination) {
        let Some(waiting) = self.waiting.get_mut(wanted) else { return };
        match waiting.second.take() {
            Some(second) if waiting.first == id => waiting.first = second,
            // It was the second.
            Some(_) => {}
            None => {
                self.waiting.remove(wanted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(sid: &str) -> Destination {
        Destination::of(sid, "a@h/x", "b@h/y")
    }

    fn account(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    #[test]
    fn two_ends_wait_for_the_word_and_a_third_is_nobody() {
        let limits = Limits::default();
        let mut ends = Bytestreams::default();
        let (a, b) = (ConnectionId(1), ConnectionId(2));
        let who = account("a@h");
        assert_eq!(ends.activate(&hash("1"), &who, &limits), Err(NotBegun::Nobody));
        ends.connect(a, hash("1"), &limits).unwrap();
        assert_eq!(ends.activate(&hash("1"), &who, &limits), Err(NotBegun::Alone));
        ends.connect(b, hash("1"), &limits).unwrap();
        assert_eq!(ends.connect(ConnectionId(3), hash("1"), &limits), Err(Refusal::NotAllowed));
        assert_eq!(ends.activate(&hash("2"), &who, &limits), Err(NotBegun::Nobody));
        assert_eq!(ends.activate(&hash("1"), &who, &limits), Ok((a, b)));
        assert_eq!(ends.activate(&hash("1"), &who, &limits), Err(NotBegun::Nobody));
        assert!(ends.is_joined(a) && ends.is_joined(b));
        assert_eq!(ends.gone(b), None);
        assert_eq!(ends.gone(a), Some(who));
        assert!(ends.waiting.is_empty() && ends.wanted.is_empty() && ends.joined.is_empty());
    }

    #[test]
    fn who_leaves_makes_room_for_another() {
        let limits = Limits::default();
        let id = ConnectionId;
        for leaving in [1, 2] {
            let mut ends = Bytestreams::default();
            ends.connect(id(1), hash("1"), &limits).unwrap();
            ends.connect(id(2), hash("1"), &limits).unwrap();
            assert_eq!(ends.gone(id(leaving)), None);
            assert_eq!(ends.activate(&hash("1"), &account("a@h"), &limits), Err(NotBegun::Alone));
            ends.connect(id(3), hash("1"), &limits).unwrap();
            assert_eq!(ends.activate(&hash("1"), &account("a@h"), &limits), Ok((id(3 - leaving), id(3))));
        }
        let mut ends = Bytestreams::default();
        ends.connect(id(1), hash("1"), &limits).unwrap();
        ends.gone(id(1));
        ends.gone(id(1));
        assert!(ends.waiting.is_empty() && !ends.knows(&hash("1")));
    }

    #[test]
    fn all_is_bounded() {
        let limits = Limits {
            bytestreams_max: 2,
            bytestreams_per_account_max: 1,
            bytestreams_waiting_max: 4,
            ..Limits::default()
        };
        let mut ends = Bytestreams::default();
        let mut next = 0;
        let mut begin = |ends: &mut Bytestreams, who: &str| {
            next += 1;
            let sid = next.to_string();
            for end in 0..2 {
                ends.connect(ConnectionId(next * 2 + end), hash(&sid), &limits).unwrap();
            }
            let begun = ends.activate(&hash(&sid), &account(who), &limits).map(drop);
            (0..2).for_each(|end| drop(begun.is_err().then(|| ends.gone(ConnectionId(next * 2 + end)))));
            begun
        };
        assert_eq!(begin(&mut ends, "a@h"), Ok(()));
        assert_eq!(begin(&mut ends, "a@h"), Err(NotBegun::Full));
        assert_eq!(begin(&mut ends, "b@h"), Ok(()));
        assert_eq!(begin(&mut ends, "c@h"), Err(NotBegun::Full));
        for number in 0..4 {
            ends.connect(ConnectionId(100 + number), hash(&format!("w{number}")), &limits).unwrap();
        }
        assert_eq!(ends.connect(ConnectionId(104), hash("w0"), &limits), Err(Refusal::Failure));
    }
}
