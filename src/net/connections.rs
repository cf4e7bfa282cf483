//! Every open socket, and who is read and written next.
//!
//! mio is edge-triggered: an event is told once. So who could be read or written and was not, because its budget was used
//! up, stands on a list (`unread`, `unwritten`), and the loop does not sleep while anybody stands there.

use std::collections::{HashMap, VecDeque};
use std::io;

use mio::event::Event as Ready;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::Bounds;
use super::connection::{Buffers, Connection, Event, Flushed, Piece};
use super::engine::{ClientTls, ConnectionId, Gone, Input, Tick};
use super::karma::Purse;
use super::socket::Unacknowledged;
use super::tls::{Session, Settings, Start};
use crate::admin::Refusal;
use crate::config::{Listener, ListenerKind};
use crate::server::federation::FIRST_OUTGOING;
use crate::xml::writer;
use crate::xmpp::stream_error::{StreamCondition, StreamError};
use crate::xmpp::{Now, ns};

/// Low bits of an id: the place in the slab. High bits: a serial number, so that no id comes twice.
const PLACE_BITS: u32 = 24;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// Once, for both directions: see [`Connection::wants_write`].
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A moment by which a connection must have left a state.
struct Deadline {
    at_millis: u64,
    id: ConnectionId,
}

/// Every open socket.
pub(super) struct Connections {
    bounds: Bounds,
    unacknowledged: Unacknowledged,
    now: Now,
    slots: Slab<Connection>,
    /// The places of connections that we opened: their numbers come from the server.
    outgoing: HashMap<ConnectionId, usize>,
    serial: u64,
    first_token: usize,
    buffers: Buffers,
    unread: Vec<ConnectionId>,
    unwritten: Vec<ConnectionId>,
    /// Who sent something in this tick.
    spoke: Vec<ConnectionId>,
    /// Who has output that waits for the disk.
    holding: Vec<ConnectionId>,
    /// The ends that the server must hear of in the next tick.
    gone: Vec<(ConnectionId, Gone)>,
    /// The ends that the server heard of in this tick.
    parting: Vec<(ConnectionId, Gone)>,
    /// All waits for one thing are equally long, so these stay in order by themselves.
    handshakes: VecDeque<Deadline>,
    closings: VecDeque<Deadline>,
    /// Who has got all that was said to them, of those of whom the server wants to hear it: clients of the control socket,
    /// and others once.
    drained: Vec<ConnectionId>,
    /// Of whom the server wants to hear whether they have taken all.
    asked_taken: Vec<ConnectionId>,
    /// For whom so little waits that the server may answer again, of those of whom it wants to hear it.
    roomy: Vec<ConnectionId>,
    /// Who hears nothing any more, and is heard still.
    unhearing: Vec<ConnectionId>,
    /// Who must not be read until `<karma>` lets it.
    resting: VecDeque<Deadline>,
}

impl Connections {
    /// An empty set whose sockets are registered with tokens from `first_token` on.
    pub(super) fn new(bounds: Bounds, unacknowledged: Unacknowledged, first_token: usize) -> Self {
        Connections {
            bounds,
            unacknowledged,
            now: Now { unix_millis: 0, monotonic_millis: 0 },
            slots: Slab::new(),
            outgoing: HashMap::new(),
            serial: 0,
            first_token,
            buffers: Buffers::new(bounds.read_bytes),
            unread: Vec::new(),
            unwritten: Vec::new(),
            spoke: Vec::new(),
            holding: Vec::new(),
            gone: Vec::new(),
            parting: Vec::new(),
            handshakes: VecDeque::new(),
            closings: VecDeque::new(),
            resting: VecDeque::new(),
            drained: Vec::new(),
            asked_taken: Vec::new(),
            roomy: Vec::new(),
            unhearing: Vec::new(),
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

    /// Have all got all that was queued for them, and our goodbye?
    pub(super) fn all_said(&self) -> bool {
        self.slots.iter().all(|(_, connection)| connection.is_lingering())
    }

    /// Does it watch the server?
    pub(super) fn is_watcher(&mut self, id: ConnectionId) -> bool {
        self.slot(id).is_some_and(|connection| connection.is_watcher())
    }

    /// Must the next tick come at once?
    pub(super) fn has_work(&self) -> bool {
        let lists = [&self.unread, &self.unwritten, &self.drained, &self.asked_taken, &self.roomy, &self.unhearing];
        !self.gone.is_empty() || lists.iter().any(|list| !list.is_empty())
    }

    /// The moment of the next deadline.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let first = |queue: &VecDeque<Deadline>| queue.front().map(|deadline| deadline.at_millis);
        let queues = [&self.handshakes, &self.closings, &self.resting];
        queues.into_iter().filter_map(first).min()
    }

    fn place(&self, id: ConnectionId) -> Option<usize> {
        if id.0 >= FIRST_OUTGOING {
            return self.outgoing.get(&id).copied();
        }
        usize::try_from(id.0 & PLACE_MASK).ok()
    }

    fn slot(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = self.place(id)?;
        self.slots.get_mut(place).filter(|connection| connection.id == id)
    }

    /// Takes an accepted socket in. An error means that it could not be served and is closed.
    pub(super) fn add(
        &mut self,
        registry: &Registry,
        stream: TcpStream,
        listener: &Listener,
        settings: Option<&Settings>,
    ) -> io::Result<ConnectionId> {
        let kind = listener.kind;
        let tls = match settings {
            Some(settings) if kind.is_direct_tls() => {
                Some(Session::server(settings, kind, Start::Direct).map_err(io::Error::other)?)
            }
            None if kind.is_direct_tls() => return Err(io::Error::other("no certificate is loaded")),
            _ => None,
        };
        let (place, id) = self.next_place();
        let mut connection = Connection::new(id, stream, kind, tls);
        connection.karma = listener.karma.map(|rules| Box::new(Purse::new(rules, self.now.monotonic_millis)));
        registry.register(&mut connection.stream, Token(self.first_token + place), INTEREST)?;
        self.insert(connection);
        Ok(id)
    }

    /// Takes a client of a socket in the file system in.
    pub(super) fn add_local(
        &mut self,
        registry: &Registry,
        stream: UnixStream,
        kind: ListenerKind,
    ) -> io::Result<ConnectionId> {
        let (place, id) = self.next_place();
        let mut connection = Connection::new(id, stream, kind, None);
        registry.register(&mut connection.stream, Token(self.first_token + place), INTEREST)?;
        self.insert(connection);
        Ok(id)
    }

    fn next_place(&mut self) -> (usize, ConnectionId) {
        let place = self.slots.vacant_key();
        self.serial += 1;
        (place, ConnectionId(self.serial << PLACE_BITS | (place as u64 & PLACE_MASK)))
    }

    /// Takes a connection in that we opened, by the number that the server gave it. With names it speaks TLS from its
    /// first byte.
    pub(super) fn adopt(
        &mut self,
        registry: &Registry,
        id: ConnectionId,
        stream: TcpStream,
        tls: Option<&ClientTls>,
        settings: Option<&Settings>,
    ) -> io::Result<()> {
        let session = match tls {
            Some(names) => {
                let settings = settings.ok_or_else(|| io::Error::other("no certificate is loaded"))?;
                Some(Session::client(settings, names, Start::Direct).map_err(io::Error::other)?)
            }
            None => None,
        };
        let place = self.slots.vacant_key();
        let mut connection = Connection::new(id, stream, ListenerKind::S2s, session);
        // It was registered while it was on its way.
        registry.reregister(&mut connection.stream, Token(self.first_token + place), INTEREST)?;
        self.outgoing.insert(id, place);
        self.insert(connection);
        Ok(())
    }

    fn insert(&mut self, connection: Connection) {
        let id = connection.id;
        if connection.is_handshaking() {
            self.handshakes.push_back(Deadline { at_millis: self.now.after(self.bounds.handshake), id });
        }
        self.slots.insert(connection);
        self.list(id);
    }

    /// Takes note of what the kernel told about a socket.
    pub(super) fn note(&mut self, ready: &Ready) {
        let Some(place) = ready.token().0.checked_sub(self.first_token) else { return };
        let Some(connection) = self.slots.get_mut(place) else { return };
        connection.readable |= ready.is_readable() || ready.is_read_closed() || ready.is_error();
        connection.writable |= ready.is_writable() || ready.is_write_closed() || ready.is_error();
        connection.hung_up |= ready.is_read_closed() || ready.is_error();
        let id = connection.id;
        self.list(id);
    }

    /// Puts a connection on the lists of those that can be read or written.
    fn list(&mut self, id: ConnectionId) {
        let pause = self.bounds.output_bytes_before_pause;
        let Some(connection) = self.slot(id) else { return };
        let read = !connection.listed_unread && connection.wants_read(pause);
        let write = !connection.listed_unwritten && connection.wants_write();
        connection.listed_unread |= read;
        connection.listed_unwritten |= write;
        if read {
            self.unread.push(id);
        }
        if write {
            self.unwritten.push(id);
        }
    }

    /// Reads a budget from each connection that has something, and hands it on.
    pub(super) fn read(&mut self, mut handle: impl FnMut(Input<'_>)) {
        for (id, reason) in std::mem::take(&mut self.gone) {
            handle(Input::Gone { id, reason: &reason.to_string() });
        }
        for id in std::mem::take(&mut self.unhearing) {
            handle(Input::Unhearing { id });
        }
        for id in std::mem::take(&mut self.asked_taken) {
            let unacknowledged = self.unacknowledged;
            if self.slot(id).is_some_and(|connection| connection.has_taken_all(unacknowledged)) {
                handle(Input::Taken { id });
            }
        }
        for id in std::mem::take(&mut self.drained) {
            // What it asked next is not begun for one who has left.
            if let Some(connection) =
                self.slot(id).filter(|connection| connection.is_control() && connection.has_left())
            {
                connection.told = true;
                self.remove(id);
                handle(Input::Gone { id, reason: &Gone::Eof.to_string() });
                continue;
            }
            handle(Input::Drained { id });
        }
        for id in std::mem::take(&mut self.roomy) {
            handle(Input::Room { id });
        }
        let now_millis = self.now.monotonic_millis;
        for id in std::mem::take(&mut self.unread) {
            let (pause, handshake_bytes) = (self.bounds.output_bytes_before_pause, self.bounds.handshake_bytes);
            if self.is_watcher(id) {
                let bytes = self.slots.iter().map(|(_, connection)| connection.queued_bytes() as u64).sum();
                handle(Input::OutputQueued { bytes });
            }
            let place = self.place(id).and_then(|place| self.slots.get_mut(place));
            let Some(connection) = place.filter(|connection| connection.id == id) else { continue };
            connection.listed_unread = false;
            if !connection.wants_read(pause) {
                continue;
            }
            if let Some(at_millis) = connection.forbidden_until_millis(now_millis) {
                let waits = connection.karma.as_mut().map(|karma| std::mem::replace(&mut karma.waits, true));
                if waits == Some(false) {
                    self.resting.push_back(Deadline { at_millis, id });
                }
                continue;
            }
            // As it was before the peer said the next.
            let was_taken = connection.has_taken_all(self.unacknowledged);
            let mut over = None;
            let mut heard = false;
            connection.read(&mut self.buffers, handshake_bytes, now_millis, &mut |event| match event {
                Event::Secured(tls) => handle(Input::Secured { id, tls }),
                Event::Bytes(bytes) => {
                    heard = true;
                    if was_taken {
                        handle(Input::Taken { id });
                    }
                    handle(Input::Bytes { id, bytes });
                }
                Event::Silent => handle(Input::Silent { id }),
                Event::Gone(reason) => over = Some(reason),
            });
            if heard {
                self.spoke.push(id);
            }
            match over {
                None if connection.is_finished() => self.remove(id),
                None => self.list(id),
                Some(reason) => {
                    connection.told = true;
                    if was_taken && reason == Gone::Eof && !connection.stream.is_cut() {
                        handle(Input::Taken { id });
                    }
                    handle(Input::Gone { id, reason: &reason.to_string() });
                    self.parting.push((id, reason));
                }
            }
        }
    }

    /// Reads nothing more from a connection, or reads on.
    pub(super) fn hear(&mut self, id: ConnectionId, hears: bool) {
        let Some(connection) = self.slot(id) else { return };
        connection.hears = hears;
        self.list(id);
    }

    /// Does what is left to do for sockets whose end was just told to the server, once its last outputs are queued.
    pub(super) fn part(&mut self) {
        for (id, reason) in std::mem::take(&mut self.parting) {
            self.part_one(id, &reason);
        }
    }

    fn part_one(&mut self, id: ConnectionId, reason: &Gone) {
        let Some(connection) = self.slot(id) else { return };
        if connection.is_mute() {
            return self.remove(id);
        }
        match reason {
            // The peer may still read: what the server said before leaves first.
            Gone::Eof => {
                if connection.queue(None, Piece::Close) {
                    self.hold(id);
                }
            }
            Gone::Tls(_) => connection.give_up(),
            Gone::Closed | Gone::Reset(_) | Gone::Overflow | Gone::NotDurable | Gone::Idle | Gone::Unheard => {
                return self.remove(id);
            }
        }
        self.closing(id);
    }

    /// From now on a connection has a bounded time to end.
    fn closing(&mut self, id: ConnectionId) {
        self.closings.push_back(Deadline { at_millis: self.now.after(self.bounds.closing), id });
        self.list(id);
    }

    fn hold(&mut self, id: ConnectionId) {
        let Some(connection) = self.slot(id) else { return };
        if !connection.listed_held {
            connection.listed_held = true;
            self.holding.push(id);
        }
    }

    /// The tick is over; `wrote` is its number, if it wrote. What a peer sent in it may be among what was written, even
    /// if nothing was said to that peer: no later word to it, such as an ack or a pong, may leave before.
    pub(super) fn end_tick(&mut self, wrote: Option<Tick>) {
        let spoke = std::mem::take(&mut self.spoke);
        let Some(tick) = wrote else { return };
        for id in spoke {
            let Some(connection) = self.slot(id) else { continue };
            connection.wait_for(tick);
            self.hold(id);
        }
    }

    /// The tick was lost: what peers sent in it may be, too.
    pub(super) fn lose_tick(&mut self, why: &Refusal) {
        for id in std::mem::take(&mut self.spoke) {
            if !self.is_watcher(id) {
                self.fail_one(id, why);
            }
        }
    }

    /// Takes an output of a tick; `tick` is its number, if it wrote.
    pub(super) fn take(&mut self, tick: Option<Tick>, id: ConnectionId, piece: Piece) {
        let bound = self.bounds.output_bytes;
        let Some(connection) = self.slot(id).filter(|connection| !connection.is_closing()) else { return };
        let closes = matches!(piece, Piece::Close);
        let switches = matches!(piece, Piece::StartTls { .. });
        if connection.is_mute() {
            if closes {
                self.remove(id);
            }
            return;
        }
        let held = connection.queue(tick, piece);
        if connection.queued_bytes() > bound {
            return self.cut(id, Gone::Overflow);
        }
        if held {
            self.hold(id);
        }
        if switches {
            self.expect_switch(id);
        }
        if closes {
            self.closing(id);
        } else {
            self.list(id);
        }
    }

    fn expect_switch(&mut self, id: ConnectionId) {
        if let Some(connection) = self.place(id).and_then(|place| self.slots.get_mut(place)) {
            connection.discard_before_switch(&mut self.buffers);
        }
        self.handshakes.push_back(Deadline { at_millis: self.now.after(self.bounds.handshake), id });
    }

    /// The server hears when all that it said on a connection so far is written.
    pub(super) fn tell_drained(&mut self, id: ConnectionId) {
        let Some(connection) = self.slot(id).filter(|connection| !connection.is_mute()) else { return };
        connection.tells_drained = !connection.is_drained();
        if !connection.tells_drained {
            self.drained.push(id);
        }
    }

    /// The server hears before each word of the peer that it has taken all, if it has; or no longer.
    pub(super) fn tell_taken(&mut self, id: ConnectionId, tells: bool) {
        if let Some(connection) = self.slot(id) {
            connection.tells_taken = tells;
        }
    }

    /// The server hears whether the peer has taken all, if it has.
    pub(super) fn ask_taken(&mut self, id: ConnectionId) {
        self.asked_taken.push(id);
    }

    /// The server hears when so little waits for the peer that it is read; of one that hears nothing any more, too.
    pub(super) fn tell_room(&mut self, id: ConnectionId) {
        if let Some(connection) = self.slot(id) {
            connection.tells_room = true;
            self.see_room(id);
        }
    }

    fn see_room(&mut self, id: ConnectionId) {
        let pause = self.bounds.output_bytes_before_pause;
        let Some(connection) = self.slot(id) else { return };
        if connection.tells_room && (connection.is_mute() || connection.queued_bytes() < pause) {
            connection.tells_room = false;
            self.roomy.push(id);
        }
    }

    /// What a peer said was worked off in this tick.
    pub(super) fn spoke(&mut self, id: ConnectionId) {
        self.spoke.push(id);
    }

    /// Drops a connection that the server still believes in; it hears of it in the next tick.
    pub(super) fn cut(&mut self, id: ConnectionId, reason: Gone) {
        let Some(connection) = self.slot(id) else { return };
        if !std::mem::replace(&mut connection.told, true) {
            self.gone.push((id, reason));
        }
        self.remove(id);
    }

    /// Tells the server in the next tick that a connection it asked for is not to be had.
    pub(super) fn refuse(&mut self, id: ConnectionId, reason: Gone) {
        self.gone.push((id, reason));
    }

    /// Lets go what waited for ticks up to this one.
    pub(super) fn release(&mut self, durable: Tick) {
        for id in std::mem::take(&mut self.holding) {
            let Some(connection) = self.slot(id) else { continue };
            connection.listed_held = false;
            if connection.release(durable) {
                self.hold(id);
            }
            self.list(id);
        }
    }

    /// What waited for the disk will never be on it: nobody is told, and the streams close.
    pub(super) fn fail(&mut self, why: &Refusal) {
        for id in std::mem::take(&mut self.holding) {
            self.fail_one(id, why);
        }
    }

    /// Closes one connection whose tick was lost. A client of the control socket is told `why`, whatever it asked for: its
    /// answer was dropped.
    pub(super) fn fail_one(&mut self, id: ConnectionId, why: &Refusal) {
        let Some(connection) = self.slot(id) else { return };
        if connection.is_mute() {
            return self.cut(id, Gone::NotDurable);
        }
        connection.listed_held = false;
        connection.drop_held();
        if connection.is_closing() {
            // Its Close was among what was dropped.
            connection.queue(None, Piece::Close);
            return self.list(id);
        }
        // RFC 6120 §4.9.1.1: an error is sent inside a stream; a peer that got no header yet gets none.
        if connection.is_control() {
            connection.queue(None, Piece::Bytes(why.to_line()));
        } else if connection.spoken && !connection.is_handshaking() {
            connection.queue(None, Piece::Bytes(last_words()));
        }
        connection.queue(None, Piece::Close);
        if !std::mem::replace(&mut connection.told, true) {
            self.gone.push((id, Gone::NotDurable));
        }
        self.closing(id);
    }

    /// Writes a budget to each connection that has something ready.
    pub(super) fn write(&mut self, settings: Option<&Settings>) {
        let budget = self.bounds.write_bytes;
        for id in std::mem::take(&mut self.unwritten) {
            let Some(connection) = self.slot(id) else { continue };
            connection.listed_unwritten = false;
            let flushed = connection.flush(settings, budget);
            let flushed = match flushed {
                Flushed::Broken(reason) if connection.hear_out(reason.clone()) => Flushed::Rests,
                flushed => flushed,
            };
            let is_unhearing = connection.is_mute();
            let tells = connection.is_control() || connection.tells_drained;
            if tells && connection.is_drained() {
                connection.tells_drained = false;
                self.drained.push(id);
            }
            self.see_room(id);
            if is_unhearing {
                self.unhearing.push(id);
            }
            match flushed {
                Flushed::Rests | Flushed::Again => self.list(id),
                Flushed::Finished => self.remove(id),
                Flushed::Broken(reason) => self.cut(id, reason),
            }
        }
    }

    /// Ends what took too long.
    pub(super) fn expire(&mut self) {
        let now = self.now.monotonic_millis;
        while self.handshakes.front().is_some_and(|deadline| deadline.at_millis <= now) {
            let Some(Deadline { id, .. }) = self.handshakes.pop_front() else { break };
            if self.slot(id).is_some_and(|connection| connection.is_switching()) {
                self.cut(id, Gone::Tls("no handshake in time".to_owned()));
            }
        }
        while self.closings.front().is_some_and(|deadline| deadline.at_millis <= now) {
            let Some(Deadline { id, .. }) = self.closings.pop_front() else { break };
            self.remove(id);
        }
        // Their beats differ, so they are not quite in order: one that is late by less than a beat does no harm.
        while self.resting.front().is_some_and(|deadline| deadline.at_millis <= now) {
            let Some(Deadline { id, .. }) = self.resting.pop_front() else { break };
            if let Some(karma) = self.slot(id).and_then(|connection| connection.karma.as_mut()) {
                karma.waits = false;
            }
            self.list(id);
        }
    }

    /// Forgets a socket. The server hears of it in the next tick, if it has not yet.
    fn remove(&mut self, id: ConnectionId) {
        let Some(place) = self.place(id) else { return };
        if let Some(connection) = self.slot(id) {
            if !connection.told {
                self.gone.push((id, Gone::Closed));
            }
            // Closing the descriptor takes it out of the poll, too.
            self.slots.remove(place);
            self.outgoing.remove(&id);
        }
    }
}

/// The end of a stream whose last answers were lost.
fn last_words() -> Vec<u8> {
    let mut text = String::new();
    writer::element(&mut text, &StreamError::from(StreamCondition::InternalServerError).to_element(), ns::CLIENT);
    text.push_str("</stream:stream>");
    text.into_bytes()
}
