//! The sockets of file transfers (XEP-0065 §4): from the first byte of their SOCKS5 talk, over the wait for each other,
//! to the last byte that goes from one to the other.
//!
//! | phase | reads | next |
//! |---|---|---|
//! | `Talking` | handed to the server | `Parked` when the server says so |
//! | `Parked` | left in the kernel; only the peer's end is looked for | `Joined` |
//! | `Joined` | by the pump, for the other end | gone, both at once |
//! | `Closing` | thrown away | gone, at the peer's end or the deadline |
//!
//! Nothing that is said here depends on what is on the disk, so nothing waits for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Event as Ready;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::Bounds;
use super::engine::{ConnectionId, Gone, Input};
use super::pump::{End, Wire};
use crate::xmpp::Now;

/// Tokens from here on; those of connections are below.
pub(super) const FIRST_TOKEN: usize = 1 << 25;
/// Numbers from here on, below those of connections that we open.
const FIRST_ID: u64 = 1 << 62;
/// Low bits of an id: the place in the slab. High bits: a serial number, so that no id comes twice.
const PLACE_BITS: u32 = 24;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
/// A whole SOCKS5 talk is shorter.
const TALK_BYTES: usize = 1_024;
/// How long a transfer whose bytes for now are used up rests.
const REST_MILLIS: u64 = 100;

impl Wire for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }
    fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Talking,
    Parked,
    Joined(usize),
    Closing,
}

/// One socket.
struct Relay {
    id: ConnectionId,
    end: End<TcpStream>,
    phase: Phase,
    /// What the server said and the kernel did not take.
    unsent: Vec<u8>,
    is_listed: bool,
}

/// Two sockets that are one.
struct Pair {
    places: [usize; 2],
    /// So that a place that is used again is not taken for the one before.
    serial: u64,
    moved: u64,
    last_moved_millis: u64,
    /// Bytes that may move now, and when they were counted last.
    allowance: Option<Allowance>,
    is_listed: bool,
    /// A timer tells when bytes may move again.
    is_resting: bool,
}

/// `<bytes-per-second>`.
struct Allowance {
    per_second: u64,
    left: u64,
    counted_millis: u64,
}

impl Allowance {
    /// What may move now: what was left, and what has come since; never more than a second's worth.
    fn count(&mut self, now_millis: u64) -> usize {
        let passed = now_millis.saturating_sub(self.counted_millis);
        let more = self.per_second.saturating_mul(passed) / 1000;
        // What is not a whole byte yet is counted the next time.
        if more > 0 {
            self.left = self.left.saturating_add(more).min(self.per_second);
            self.counted_millis = now_millis;
        }
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }
}

/// What is due for a pair or a socket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// It closes, and had its time.
    Closing(ConnectionId),
    /// It may have been idle for too long.
    Idle(usize, u64),
    /// Bytes may move again.
    Rested(usize, u64),
}

/// All sockets of file transfers.
pub(super) struct Relays {
    bounds: Bounds,
    now: Now,
    slots: Slab<Relay>,
    pairs: Slab<Pair>,
    serial: u64,
    buffer: Box<[u8]>,
    /// Who may have something to read or to write, while it is not joined.
    listed: Vec<usize>,
    /// Pairs in which something may move.
    moving: Vec<usize>,
    /// The ends that the server must hear of.
    gone: Vec<(ConnectionId, String)>,
    due: BinaryHeap<Reverse<(u64, Due)>>,
}

impl Relays {
    pub(super) fn new(bounds: Bounds) -> Self {
        Relays {
            bounds,
            now: Now { unix_millis: 0, monotonic_millis: 0 },
            slots: Slab::new(),
            pairs: Slab::new(),
            serial: 0,
            buffer: vec![0; bounds.read_bytes.max(TALK_BYTES)].into_boxed_slice(),
            listed: Vec::new(),
            moving: Vec::new(),
            gone: Vec::new(),
            due: BinaryHeap::new(),
        }
    }

    /// A tick begins.
    pub(super) fn begin(&mut self, now: Now) {
        self.now = now;
    }

    /// Other bounds, from now on.
    pub(super) fn rebound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// How many sockets are open.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Must the next tick come at once?
    pub(super) fn has_work(&self) -> bool {
        !self.listed.is_empty() || !self.moving.is_empty() || !self.gone.is_empty()
    }

    /// The moment of the next deadline.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Is this one of these sockets?
    pub(super) fn owns(&self, id: ConnectionId) -> bool {
        (FIRST_ID..FIRST_ID << 1).contains(&id.0)
    }

    fn place(&self, id: ConnectionId) -> Option<usize> {
        let place = usize::try_from(id.0 & PLACE_MASK).ok()?;
        self.slots.get(place).filter(|relay| relay.id == id).map(|_| place)
    }

    /// Takes an accepted socket in.
    pub(super) fn add(&mut self, registry: &Registry, mut stream: TcpStream) -> io::Result<ConnectionId> {
        let place = self.slots.vacant_key();
        self.serial += 1;
        let id = ConnectionId(FIRST_ID | self.serial << PLACE_BITS | (place as u64 & PLACE_MASK));
        let interest = Interest::READABLE.add(Interest::WRITABLE);
        registry.register(&mut stream, Token(FIRST_TOKEN + place), interest)?;
        let mut end = End::new(stream);
        // The poll tells of what waits already.
        end.readable = false;
        self.slots.insert(Relay { id, end, phase: Phase::Talking, unsent: Vec::new(), is_listed: false });
        Ok(id)
    }

    /// Takes note of what the kernel told about a socket.
    pub(super) fn note(&mut self, ready: &Ready) {
        let Some(place) = ready.token().0.checked_sub(FIRST_TOKEN) else { return };
        let Some(relay) = self.slots.get_mut(place) else { return };
        relay.end.readable |= ready.is_readable() || ready.is_read_closed() || ready.is_error();
        relay.end.writable |= ready.is_writable() || ready.is_write_closed() || ready.is_error();
        match relay.phase {
            Phase::Joined(pair) => self.list_pair(pair),
            _ => self.list(place),
        }
    }

    fn list(&mut self, place: usize) {
        if let Some(relay) = self.slots.get_mut(place).filter(|relay| !relay.is_listed) {
            relay.is_listed = true;
            self.listed.push(place);
        }
    }

    fn list_pair(&mut self, place: usize) {
        if let Some(pair) = self.pairs.get_mut(place).filter(|pair| !pair.is_listed) {
            pair.is_listed = true;
            self.moving.push(place);
        }
    }

    /// Reads what those say who are not joined yet, tells the server of ends, and moves a budget of bytes in each pair.
    pub(super) fn read(&mut self, mut handle: impl FnMut(Input<'_>)) {
        for place in std::mem::take(&mut self.listed) {
            if let Some(relay) = self.slots.get_mut(place) {
                relay.is_listed = false;
                self.hear(place, &mut handle);
            }
        }
        for place in std::mem::take(&mut self.moving) {
            self.pump(place);
        }
        for (id, reason) in std::mem::take(&mut self.gone) {
            handle(Input::Gone { id, reason: &reason });
        }
    }

    fn hear(&mut self, place: usize, handle: &mut impl FnMut(Input<'_>)) {
        self.send(place);
        let Some(relay) = self.slots.get_mut(place).filter(|relay| relay.end.readable) else { return };
        let id = relay.id;
        let room = self.buffer.get_mut(..TALK_BYTES).unwrap_or_default();
        let read = match relay.phase {
            Phase::Joined(_) => return,
            // What it sends before its transfer begins is for the other end: it stays in the kernel, which keeps little.
            Phase::Parked => {
                relay.end.readable = false;
                relay.end.wire.peek(room)
            }
            Phase::Talking | Phase::Closing => Read::read(&mut relay.end.wire, room),
        };
        match read {
            Ok(0) => self.remove(place, Gone::Eof.to_string()),
            Ok(count) => {
                let is_talking = relay.phase == Phase::Talking;
                if relay.phase != Phase::Parked {
                    self.list(place);
                }
                if is_talking {
                    let bytes = self.buffer.get(..count).unwrap_or_default();
                    handle(Input::Bytes { id, bytes });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => relay.end.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.list(place),
            Err(error) => self.remove(place, Gone::Reset(error.to_string()).to_string()),
        }
    }

    /// Says what the server wants said.
    pub(super) fn say(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(place) = self.place(id) else { return };
        if let Some(relay) = self.slots.get_mut(place) {
            relay.unsent.extend_from_slice(bytes);
        }
        self.send(place);
    }

    fn send(&mut self, place: usize) {
        let Some(relay) = self.slots.get_mut(place).filter(|relay| !relay.unsent.is_empty()) else { return };
        if !relay.end.writable {
            return;
        }
        match Write::write(&mut relay.end.wire, &relay.unsent) {
            Ok(count) => drop(relay.unsent.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => relay.end.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return self.remove(place, Gone::Reset(error.to_string()).to_string()),
        }
        match relay.unsent.is_empty() {
            false if relay.end.writable => self.list(place),
            // Nothing but the peer's goodbye is waited for.
            true if relay.phase == Phase::Closing => drop(relay.end.wire.shutdown(Shutdown::Write)),
            _ => {}
        }
    }

    /// Nothing more is read until this one is joined to another.
    pub(super) fn park(&mut self, id: ConnectionId) {
        let Some(place) = self.place(id) else { return };
        if let Some(relay) = self.slots.get_mut(place) {
            relay.phase = Phase::Parked;
        }
        // It may be gone already.
        self.list(place);
    }

    /// Makes one of two that are parked.
    pub(super) fn join(&mut self, one: ConnectionId, other: ConnectionId, bytes_per_second: Option<u64>) {
        let now = self.now.monotonic_millis;
        let is_parked = |place: &usize| self.slots.get(*place).is_some_and(|relay| relay.phase == Phase::Parked);
        let places = [one, other].map(|id| self.place(id).filter(is_parked));
        let [Some(first), Some(second)] = places else {
            // One left in this very moment; the other need not wait for it.
            return places.into_iter().flatten().for_each(|place| self.remove(place, Gone::Eof.to_string()));
        };
        self.serial += 1;
        let allowance =
            bytes_per_second.map(|per_second| Allowance { per_second, left: per_second, counted_millis: now });
        let (serial, places) = (self.serial, [first, second]);
        let pair =
            Pair { places, serial, moved: 0, last_moved_millis: now, allowance, is_listed: false, is_resting: false };
        let place = self.pairs.insert(pair);
        for relay in places {
            if let Some(relay) = self.slots.get_mut(relay) {
                relay.phase = Phase::Joined(place);
                relay.end.readable = true;
            }
        }
        self.set(self.bounds.relay_idle, Due::Idle(place, serial));
        self.list_pair(place);
    }

    fn set(&mut self, wait: Duration, due: Due) {
        self.due.push(Reverse((self.now.after(wait), due)));
    }

    fn pump(&mut self, place: usize) {
        let Relays { slots, pairs, buffer, bounds, now, .. } = self;
        let Some(pair) = pairs.get_mut(place) else { return };
        pair.is_listed = false;
        let now_millis = now.monotonic_millis;
        let allowed = pair.allowance.as_mut().map_or(usize::MAX, |allowance| allowance.count(now_millis));
        let [first, second] = pair.places;
        let Some((one, other)) = slots.get2_mut(first, second) else { return };
        // The reply to its request is on its way still: nothing may come before it.
        if !one.unsent.is_empty() || !other.unsent.is_empty() {
            return self.say_first(place);
        }
        let (one, other) = (&mut one.end, &mut other.end);
        let budget = bounds.read_bytes.min(allowed);
        let outcome = one.pump(other, buffer, budget).and_then(|there| {
            let back = other.pump(one, buffer, bounds.read_bytes.min(allowed.saturating_sub(there)))?;
            Ok(there.saturating_add(back))
        });
        let moved = match outcome {
            Ok(moved) => moved as u64,
            Err(error) => return self.part(place, &Gone::Reset(error.to_string())),
        };
        if moved > 0 {
            pair.moved = pair.moved.saturating_add(moved);
            pair.last_moved_millis = now_millis;
        }
        if one.is_done(other) && other.is_done(one) {
            return self.part(place, &Gone::Eof);
        }
        let wants_more = one.wants_pump(other) || other.wants_pump(one);
        let serial = pair.serial;
        let is_spent = pair.allowance.as_mut().is_some_and(|allowance| {
            allowance.left = allowance.left.saturating_sub(moved);
            allowance.left == 0
        });
        match wants_more {
            // Whatever the kernel tells meanwhile, one timer is enough.
            true if is_spent && std::mem::replace(&mut pair.is_resting, true) => {}
            true if is_spent => self.set(Duration::from_millis(REST_MILLIS), Due::Rested(place, serial)),
            true => self.list_pair(place),
            false => {}
        }
    }

    /// What is left of the replies to the requests of a pair.
    fn say_first(&mut self, place: usize) {
        let Some(places) = self.pairs.get(place).map(|pair| pair.places) else { return };
        places.into_iter().for_each(|place| self.send(place));
        let is_said = |place: &usize| self.slots.get(*place).is_some_and(|relay| relay.unsent.is_empty());
        // Else the kernel tells when there is room.
        if places.iter().all(is_said) {
            self.list_pair(place);
        }
    }

    /// A transfer is over: both its ends go.
    fn part(&mut self, place: usize, why: &Gone) {
        let Some(pair) = self.pairs.try_remove(place) else { return };
        let reason = format!("{} bytes, {why}", pair.moved);
        pair.places.into_iter().for_each(|place| self.remove(place, reason.clone()));
    }

    /// The server has nothing more to say to this one.
    pub(super) fn close(&mut self, id: ConnectionId) {
        let Some(place) = self.place(id) else { return };
        let Some(relay) = self.slots.get_mut(place) else { return };
        match relay.phase {
            Phase::Joined(pair) => self.part(pair, &Gone::Closed),
            Phase::Parked => self.remove(place, Gone::Closed.to_string()),
            Phase::Closing => {}
            Phase::Talking => {
                relay.phase = Phase::Closing;
                if relay.unsent.is_empty() {
                    let _ = relay.end.wire.shutdown(Shutdown::Write);
                }
                self.set(self.bounds.closing, Due::Closing(id));
                self.list(place);
            }
        }
    }

    /// Ends what took too long, and goes on with what has rested.
    pub(super) fn expire(&mut self) {
        let now = self.now.monotonic_millis;
        while self.due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, due))) = self.due.pop() else { break };
            match due {
                Due::Closing(id) => {
                    if let Some(place) = self.place(id) {
                        self.remove(place, Gone::Closed.to_string());
                    }
                }
                Due::Rested(place, serial) => {
                    if let Some(pair) = self.pairs.get_mut(place).filter(|pair| pair.serial == serial) {
                        pair.is_resting = false;
                        self.list_pair(place);
                    }
                }
                Due::Idle(place, serial) => self.look_at_idle(place, serial),
            }
        }
    }

    fn look_at_idle(&mut self, place: usize, serial: u64) {
        let Some(pair) = self.pairs.get(place).filter(|pair| pair.serial == serial) else { return };
        let idle = Duration::from_millis(self.now.monotonic_millis.saturating_sub(pair.last_moved_millis));
        match self.bounds.relay_idle.checked_sub(idle).filter(|left| !left.is_zero()) {
            Some(left) => self.set(left, Due::Idle(place, serial)),
            None => self.part(place, &Gone::Idle),
        }
    }

    /// Forgets a socket. The server hears of it.
    fn remove(&mut self, place: usize, reason: String) {
        if let Some(relay) = self.slots.try_remove(place) {
            // Closing the descriptor takes it out of the poll, too.
            self.gone.push((relay.id, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_a_seconds_worth_at_most() {
        let mut allowance = Allowance { per_second: 1_000, left: 1_000, counted_millis: 0 };
        assert_eq!(allowance.count(0), 1_000);
        allowance.left = 0;
        for (at, left) in [(0, 0), (1, 1), (100, 100), (1_100, 1_000), (60_000, 1_000)] {
            assert_eq!(allowance.count(at), left, "{at}");
        }
        // A slow one comes to its bytes however often it is asked.
        let mut slow = Allowance { per_second: 10, left: 0, counted_millis: 0 };
        let counts: Vec<usize> = (1..=1_000).map(|at| slow.count(at)).collect();
        assert_eq!((counts.first(), counts.last()), (Some(&0), Some(&10)));
    }
}
