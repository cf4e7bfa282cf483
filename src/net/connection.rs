//! One socket, from its first byte to its clean end.
//!
//! What leaves goes through two queues: `held` waits for the disk (design rule 2), `ready` for the socket. Each holds
//! bytes and marks (`StartTls`, `Close`), which take effect when all before them is written.
//!
//! | phase | reads | next |
//! |---|---|---|
//! | `Open` | handed on | `ExpectSwitch` when `StartTls` is queued, `Closing` when `Close` is |
//! | `ExpectSwitch` | thrown away | `Handshaking` when the mark is reached |
//! | `Handshaking` | taken by TLS | `Open` when done |
//! | `Closing` | left in the kernel | `Lingering` when the mark is reached |
//! | `Lingering` | thrown away | gone, at the peer's end or the deadline |

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use super::engine::{ClientTls, ConnectionId, Gone, Tick, TlsInfo};
use super::karma::Purse;
use super::socket::{Socket, Unacknowledged};
use super::tls::{Opened, Session, Settings, Start};
use crate::config::ListenerKind;

/// Pieces handed to the kernel in one call.
const PIECES: usize = 32;
/// Bytes sealed at once: what fits one TLS record.
const RECORD_BYTES: usize = 16 << 10;
/// Bytes thrown away while a closed peer still talks.
const LINGER_BYTES: usize = 256 << 10;

/// What a read brought.
pub(super) enum Event<'a> {
    /// The handshake is done.
    Secured(TlsInfo),
    /// Plain text.
    Bytes(&'a [u8]),
    /// It says nothing more, and still listens.
    Silent,
    /// It is over, from the other side.
    Gone(Gone),
}

/// A thing to send, or to do when all before it is sent.
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// As the client with these names; without, as the server, for a stream of this host.
    StartTls {
        host: Box<str>,
        client: Option<Box<ClientTls>>,
    },
    Close,
}

/// Where a connection stands after it was written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Nothing to write, or the socket is full and will tell.
    Rests,
    /// The budget is used up.
    Again,
    /// It is over: drop it.
    Finished,
    /// It broke.
    Broken(Gone),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    ExpectSwitch,
    Handshaking { received: usize },
    Closing,
    Lingering { discarded: usize },
}

/// The two working buffers, shared by all connections: a connection at rest owns none.
pub(super) struct Buffers {
    wire: Box<[u8]>,
    plain: Box<[u8]>,
}

impl Buffers {
    /// `read_bytes` is what one connection may bring in one tick; who sent more is read again in the next.
    pub(super) fn new(read_bytes: usize) -> Self {
        let buffer = || vec![0; read_bytes.max(1)].into_boxed_slice();
        Buffers { wire: buffer(), plain: buffer() }
    }
}

/// One socket.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) stream: Socket,
    /// The kind of the port it came to. One of our own counts as a server's.
    kind: ListenerKind,
    tls: Option<Box<Session>>,
    held: VecDeque<(Tick, Piece)>,
    ready: VecDeque<Piece>,
    /// May its peer be read?
    pub(super) hears: bool,
    /// How much it may still send, where the port has `<karma>`.
    pub(super) karma: Option<Box<Purse>>,
    /// How much of the first ready piece is written.
    written: usize,
    queued_bytes: usize,
    phase: Phase,
    /// Bytes may wait in the kernel.
    pub(super) readable: bool,
    /// The kernel may take bytes.
    pub(super) writable: bool,
    /// The kernel said that the peer's side is closed: a short read is not the last one.
    pub(super) hung_up: bool,
    /// TLS's goodbye was seen, and the server is still to hear of it.
    said_goodbye: bool,
    /// Writing failed for this reason: nothing is said any more, and what the peer said before is heard out.
    mute: Option<Gone>,
    /// The peer's end was seen: nothing is left to read, and no need to linger.
    ended: bool,
    /// The peer closed its side for writing, and the server knows.
    silent: bool,
    /// Something was written: the peer has at least a beginning of what we say.
    pub(super) spoken: bool,
    /// The server knows that it is over.
    pub(super) told: bool,
    /// The server wants to hear when all is written.
    pub(super) tells_drained: bool,
    /// The server wants to hear before each word of the peer whether it has taken all.
    pub(super) tells_taken: bool,
    /// The server wants to hear when little waits.
    pub(super) tells_room: bool,
    pub(super) listed_unread: bool,
    pub(super) listed_unwritten: bool,
    pub(super) listed_held: bool,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, stream: impl Into<Socket>, kind: ListenerKind, tls: Option<Session>) -> Self {
        let phase = if tls.is_some() { Phase::Handshaking { received: 0 } } else { Phase::Open };
        Connection {
            id,
            stream: stream.into(),
            kind,
            tls: tls.map(Box::new),
            held: VecDeque::new(),
            ready: VecDeque::new(),
            karma: None,
            hears: true,
            written: 0,
            queued_bytes: 0,
            phase,
            // The poll tells of what waits already.
            readable: false,
            writable: true,
            hung_up: false,
            said_goodbye: false,
            mute: None,
            ended: false,
            silent: false,
            spoken: false,
            told: false,
            tells_drained: false,
            tells_taken: false,
            tells_room: false,
            listed_unread: false,
            listed_unwritten: false,
            listed_held: false,
        }
    }

    /// Has the server said its last word, or heard it?
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing | Phase::Lingering { .. })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshaking { .. })
    }

    /// Is TLS wanted, and not there yet?
    pub(super) fn is_switching(&self) -> bool {
        matches!(self.phase, Phase::ExpectSwitch | Phase::Handshaking { .. })
    }

    /// Is it a client of the control socket?
    pub(super) fn is_control(&self) -> bool {
        matches!(self.stream, Socket::Unix(_)) && !self.is_watcher()
    }

    /// Does it ask for metrics?
    pub(super) fn is_watcher(&self) -> bool {
        self.kind == ListenerKind::Metrics
    }

    /// Has the peer left altogether?
    pub(super) fn has_left(&self) -> bool {
        self.stream.has_hung_up()
    }

    /// Bytes that wait, for the disk or for the socket.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Have all bytes left, those that TLS has taken, too?
    pub(super) fn is_drained(&self) -> bool {
        self.queued_bytes == 0 && !self.is_sealed()
    }

    /// If the server wants to hear it: has the peer's system all that was sent?
    pub(super) fn has_taken_all(&self, unacknowledged: Unacknowledged) -> bool {
        self.tells_taken && self.is_drained() && self.stream.has_taken_all(unacknowledged)
    }

    /// Has TLS something for the socket?
    fn is_sealed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Should it be read, with so much queued for it at most?
    pub(super) fn wants_read(&self, queued_bytes_max: usize) -> bool {
        let is_heard = self.hears && self.queued_bytes < queued_bytes_max;
        self.readable && self.phase != Phase::Closing && (is_heard || self.is_closing())
    }

    /// The one place that says whether anything waits for the socket. Sockets are registered once for both directions:
    /// edge-triggered, that costs no wake-up, and there is no interest to forget.
    pub(super) fn wants_write(&self) -> bool {
        self.writable && !self.is_mute() && (self.is_sealed() || (!self.ready.is_empty() && !self.is_handshaking()))
    }

    /// Queues a piece. `tick` is the one that made it, if that tick wrote. Returns whether the piece is held.
    pub(super) fn queue(&mut self, tick: Option<Tick>, piece: Piece) -> bool {
        match &piece {
            Piece::Bytes(bytes) => {
                if bytes.is_empty() {
                    return false;
                }
                self.queued_bytes = self.queued_bytes.saturating_add(bytes.len());
            }
            // Asked for twice it would throw away a secured stream.
            Piece::StartTls { .. } if self.phase != Phase::Open || self.tls.is_some() => return false,
            Piece::StartTls { .. } => self.phase = Phase::ExpectSwitch,
            Piece::Close => self.phase = Phase::Closing,
        }
        match tick {
            None if self.held.is_empty() => {
                self.ready.push_back(piece);
                false
            }
            // Made by a quiet tick, but older output waits: it leaves with that.
            None => {
                self.held.push_back((Tick(0), piece));
                true
            }
            Some(tick) => {
                self.held.push_back((tick, piece));
                true
            }
        }
    }

    /// Whatever is queued from now on waits for this tick.
    pub(super) fn wait_for(&mut self, tick: Tick) {
        if self.held.back().is_none_or(|(last, _)| *last < tick) {
            self.held.push_back((tick, Piece::Bytes(Vec::new())));
        }
    }

    /// Lets go what waited for a tick up to this one. Returns whether anything is still held.
    pub(super) fn release(&mut self, durable: Tick) -> bool {
        while let Some((tick, piece)) = self.held.pop_front() {
            if tick > durable {
                self.held.push_front((tick, piece));
                return true;
            }
            // Nothing to write: it only stood for its tick.
            if !matches!(&piece, Piece::Bytes(bytes) if bytes.is_empty()) {
                self.ready.push_back(piece);
            }
        }
        self.held = VecDeque::new();
        false
    }

    /// Drops what waits for a tick that will never be durable.
    pub(super) fn drop_held(&mut self) {
        for (_, piece) in self.held.drain(..) {
            if let Piece::Bytes(bytes) = piece {
                self.queued_bytes = self.queued_bytes.saturating_sub(bytes.len());
            }
        }
    }

    /// Throws away what a plain peer sent after it asked for TLS: taken as part of the secured stream it would be a way
    /// to slip commands into it (RFC 6120 §5.3.1 allows nothing there). Nothing honest can be there yet: where we are the
    /// server `<proceed/>` has not left, and where we are the client our hello has not.
    pub(super) fn discard_before_switch(&mut self, buffers: &mut Buffers) {
        while matches!((&self.stream).read(&mut buffers.wire), Ok(count) if count == buffers.wire.len()) {}
    }

    /// Reads once and hands on what came. `handshake_bytes` bounds what may come before TLS is agreed on. Nothing is read
    /// while `<karma>` forbids it.
    pub(super) fn read(
        &mut self,
        buffers: &mut Buffers,
        handshake_bytes: usize,
        now_millis: u64,
        deliver: &mut dyn FnMut(Event<'_>),
    ) {
        if self.said_goodbye && !self.is_closing() {
            self.readable = false;
            return deliver(Event::Gone(self.mute.take().unwrap_or(Gone::Eof)));
        }
        let bound = self.karma.as_mut().map_or(usize::MAX, |karma| karma.allowance(now_millis)).min(buffers.wire.len());
        let room = buffers.wire.get_mut(..bound).unwrap_or_default();
        if room.is_empty() {
            return;
        }
        let count = match (&self.stream).read(room) {
            // Whoever pipes a request into a socket ends it so, and waits for the answer.
            Ok(0) if self.is_control() && !self.is_closing() && !self.stream.has_hung_up() => {
                self.readable = false;
                if !std::mem::replace(&mut self.silent, true) {
                    deliver(Event::Silent);
                }
                return;
            }
            Ok(0) => {
                self.readable = false;
                self.ended = true;
                if !self.is_closing() {
                    deliver(Event::Gone(self.mute.take().unwrap_or(Gone::Eof)));
                }
                return;
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                if let Some(why) = self.mute.take() {
                    deliver(Event::Gone(why));
                }
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => {
                self.readable = false;
                self.ended = true;
                if !self.is_closing() {
                    deliver(Event::Gone(Gone::Reset(error.to_string())));
                }
                return;
            }
        };
        // epoll(7): a short read from a stream socket means that it is empty, and new bytes make a new edge.
        self.readable = count == bound || self.hung_up || self.is_mute();
        if self.karma.as_mut().is_some_and(|karma| karma.spend(count)) {
            self.out_of_karma();
        }
        match &mut self.phase {
            Phase::ExpectSwitch | Phase::Closing => return,
            Phase::Lingering { discarded } => {
                *discarded = discarded.saturating_add(count);
                self.ended |= *discarded > LINGER_BYTES;
                return;
            }
            Phase::Handshaking { received } => {
                *received = received.saturating_add(count);
                if *received > handshake_bytes {
                    deliver(Event::Gone(Gone::Tls("handshake over its bound of bytes".to_owned())));
                    return;
                }
            }
            Phase::Open => {}
        }
        // What nobody waits for any more is not begun: its sender has said that it failed. Asked only now that it is read, so
        // that who left without having been read can be sure.
        if self.is_control() && self.stream.has_hung_up() {
            (self.readable, self.ended) = (false, true);
            return deliver(Event::Gone(Gone::Unheard));
        }
        let wire = buffers.wire.get(..count).unwrap_or_default();
        let Some(tls) = self.tls.as_mut() else { return deliver(Event::Bytes(wire)) };
        let mut ended = false;
        let opened = tls.open(wire, &mut buffers.plain, &mut |opened| match opened {
            Opened::Secured(info) => deliver(Event::Secured(info)),
            Opened::Bytes(bytes) => deliver(Event::Bytes(bytes)),
            Opened::Ended => ended = true,
        });
        if !tls.is_handshaking() && self.phase != Phase::Closing {
            self.phase = Phase::Open;
        }
        match opened {
            Err(why) => deliver(Event::Gone(Gone::Tls(why))),
            // In a turn of its own, as the end of a plain connection: the server may not have looked at all of this yet.
            Ok(()) if ended => (self.said_goodbye, self.readable) = (true, true),
            Ok(()) => {}
        }
    }

    /// Compat: jabberd 1.4's words, which people look for.
    fn out_of_karma(&self) {
        let peer = self.stream.peer_ip().map_or_else(|| "somewhere".to_owned(), |ip| ip.to_string());
        log::info!(target: "-internal", strangers = "sockets that are out of karma", by = &peer;
            "socket from {peer} is out of karma: traffic exceeds karma limits defined in jabberd configuration");
    }

    /// When it may be read again, if `<karma>` forbids that now.
    pub(super) fn forbidden_until_millis(&mut self, now_millis: u64) -> Option<u64> {
        let karma = self.karma.as_mut().filter(|_| self.phase != Phase::Closing)?;
        (karma.allowance(now_millis) == 0).then(|| karma.next_beat_millis())
    }

    /// After a failure of TLS: drops what is queued; the alert still leaves, then the connection closes.
    pub(super) fn give_up(&mut self) {
        self.held = VecDeque::new();
        self.ready = VecDeque::from([Piece::Close]);
        self.written = 0;
        self.queued_bytes = 0;
        self.phase = Phase::Closing;
    }

    /// Writing failed: the peer hears nothing more. What it said before it left may wait in the kernel, which has it first
    /// (RFC 6120 §10.1); it is read to its end, which comes soon, for nothing is added. False where nothing is to be heard.
    ///
    /// Under `<karma>` that would take too long: who is written to would be taken for present.
    pub(super) fn hear_out(&mut self, why: Gone) -> bool {
        let is_stream = matches!(self.stream, Socket::Tcp(_)) && !self.is_watcher();
        if !is_stream || self.phase != Phase::Open || self.ended || self.karma.is_some() {
            return false;
        }
        self.held = VecDeque::new();
        self.ready = VecDeque::new();
        self.written = 0;
        self.queued_bytes = 0;
        self.tells_drained = false;
        self.mute = Some(why);
        self.readable = true;
        true
    }

    /// Is there nobody any more who would hear us?
    pub(super) fn is_mute(&self) -> bool {
        self.mute.is_some()
    }

    /// Writes what is ready, up to a budget of bytes.
    pub(super) fn flush(&mut self, settings: Option<&Settings>, mut budget: usize) -> Flushed {
        loop {
            if budget == 0 {
                return Flushed::Again;
            }
            if !self.writable {
                return Flushed::Rests;
            }
            let handshaking = self.is_handshaking();
            let step = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_to(&mut &self.stream),
                _ if handshaking => return Flushed::Rests,
                _ => match self.ready.front() {
                    None => return Flushed::Rests,
                    Some(Piece::Bytes(_)) => self.write_bytes(budget),
                    Some(Piece::StartTls { .. }) => match self.switch(settings) {
                        Ok(()) => continue,
                        Err(why) => return Flushed::Broken(Gone::Tls(why)),
                    },
                    Some(Piece::Close) => {
                        if let Some(tls) = &mut self.tls {
                            tls.close();
                            if tls.wants_write() {
                                continue;
                            }
                        }
                        return self.close();
                    }
                },
            };
            match step {
                Ok(count) => {
                    self.spoken = true;
                    budget = budget.saturating_sub(count.max(1));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Flushed::Broken(Gone::Reset(error.to_string())),
            }
        }
    }

    /// Hands leading bytes to TLS or to the kernel, and drops what was taken from the queue.
    fn write_bytes(&mut self, budget: usize) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut total = 0;
        let mut used = 0;
        let bound = if self.tls.is_some() { RECORD_BYTES } else { budget };
        for (slice, piece) in slices.iter_mut().zip(&self.ready) {
            let Piece::Bytes(bytes) = piece else { break };
            let skip = if used == 0 { self.written } else { 0 };
            let rest = bytes.get(skip..).unwrap_or_default();
            let rest = rest.get(..bound.saturating_sub(total)).unwrap_or(rest);
            if rest.is_empty() {
                break;
            }
            *slice = IoSlice::new(rest);
            total = total.saturating_add(rest.len());
            used += 1;
        }
        let slices = slices.get(..used).unwrap_or_default();
        let count = match &mut self.tls {
            Some(tls) => tls.seal(slices)?,
            None => (&self.stream).write_vectored(slices)?,
        };
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.taken(count);
        Ok(count)
    }

    fn taken(&mut self, mut count: usize) {
        self.queued_bytes = self.queued_bytes.saturating_sub(count);
        while let Some(Piece::Bytes(bytes)) = self.ready.front() {
            let rest = bytes.len().saturating_sub(self.written);
            if count < rest {
                self.written = self.written.saturating_add(count);
                return;
            }
            count = count.saturating_sub(rest);
            self.written = 0;
            self.ready.pop_front();
        }
        if self.ready.is_empty() {
            // A session at rest keeps no queue.
            self.ready = VecDeque::new();
        }
    }

    /// All before the mark is written: from here on the peer speaks TLS.
    fn switch(&mut self, settings: Option<&Settings>) -> Result<(), String> {
        let Some(Piece::StartTls { host, client }) = self.ready.pop_front() else { return Ok(()) };
        let settings = settings.ok_or("no certificate is loaded")?;
        let session = match client {
            Some(names) => Session::client(settings, &names, Start::StartTls),
            None => Session::server_for(settings, self.kind, &host),
        };
        self.tls = Some(Box::new(session.map_err(|error| error.to_string())?));
        // The server may have closed the connection meanwhile.
        if self.phase == Phase::ExpectSwitch {
            self.phase = Phase::Handshaking { received: 0 };
        }
        Ok(())
    }

    /// All before the mark is written: say goodbye, and wait for the peer to do so, because a socket that is closed with
    /// unread bytes in it cuts off what was sent last (TCP answers such bytes with a reset).
    fn close(&mut self) -> Flushed {
        self.ready = VecDeque::new();
        if self.ended || self.stream.shutdown(Shutdown::Write).is_err() {
            return Flushed::Finished;
        }
        self.phase = Phase::Lingering { discarded: 0 };
        self.readable = true;
        Flushed::Rests
    }

    /// Is only the peer's end missing?
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. })
    }

    /// Is a lingering connection done with?
    pub(super) fn is_finished(&self) -> bool {
        self.ended && self.is_lingering()
    }
}
