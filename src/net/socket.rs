//! A socket, whichever family it is of.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd as _, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How many bytes that were written to a socket the other end's system has not acknowledged, where ours tells.
pub type Unacknowledged = fn(BorrowedFd<'_>) -> Option<usize>;

/// A connected stream.
pub(super) enum Socket {
    /// A peer on the network.
    Tcp(TcpStream),
    /// A client of the control socket.
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Socket {
        Socket::Tcp(stream)
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Socket {
        Socket::Unix(stream)
    }
}

impl Socket {
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(how),
            Socket::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Has the other end of a local socket left altogether?
    pub(super) fn has_hung_up(&self) -> bool {
        matches!(self, Socket::Unix(stream) if has_hung_up(stream))
    }

    /// Has the other end's system acknowledged all that was written, as far as ours tells?
    pub(super) fn has_taken_all(&self, unacknowledged: Unacknowledged) -> bool {
        match self {
            Socket::Tcp(stream) => unacknowledged(stream.as_fd()).is_none_or(|bytes| bytes == 0),
            Socket::Unix(_) => true,
        }
    }

    /// At the end of what the other end says: was the connection cut behind it? A system does that where a program has
    /// closed its end and left something unread.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Socket::Tcp(stream) => !matches!(stream.take_error(), Ok(None)),
            Socket::Unix(_) => false,
        }
    }

    /// The other end's address, if it has one.
    pub(super) fn peer_ip(&self) -> Option<IpAddr> {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().ok().map(|peer| peer.ip()),
            Socket::Unix(_) => None,
        }
    }
}

/// Has the other end left altogether, so that nobody is there to hear us? Who only closed its side for writing has not: the
/// kernel tells the two apart (poll(2), `POLLHUP`).
pub(super) fn has_hung_up(stream: &UnixStream) -> bool {
    let mut ends = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let asked = poll(&mut ends, PollTimeout::ZERO);
    let told = ends.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    asked.is_ok() && told.contains(PollFlags::POLLHUP)
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).read(buffer),
            Socket::Unix(stream) => (&mut &*stream).read(buffer),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write(bytes),
            Socket::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => (&mut &*stream).write_vectored(slices),
            Socket::Unix(stream) => (&mut &*stream).write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.register(registry, token, interests),
            Socket::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.reregister(registry, token, interests),
            Socket::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.deregister(registry),
            Socket::Unix(stream) => stream.deregister(registry),
        }
    }
}
