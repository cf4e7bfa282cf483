//! Ports: opening them, accepting from them, and what to do when descriptors run out.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, setsockopt, sockopt,
};

use crate::config::Listener as Wanted;

/// How many connections may wait in the kernel for us.
const BACKLOG: i32 = 1024;
/// How long nobody is accepted after descriptors ran out.
const PAUSE: Duration = Duration::from_secs(1);
/// Milliseconds between two lines of the log about this.
const QUIET_MILLIS: u64 = 60_000;
/// A silent peer is asked for a sign of life after this many seconds, this often, and given up after so many questions.
const KEEPALIVE: (u32, u32, u32) = (300, 60, 5);
/// Milliseconds after which sent bytes that nobody confirmed end the connection.
const UNCONFIRMED_MILLIS: u32 = 300_000;

/// A port that is open, and not yet served.
#[derive(Debug)]
pub struct Opened {
    /// Who is expected, and what for.
    pub wanted: Arc<Wanted>,
    /// The address it is bound to, with the true port where 0 was asked for.
    pub address: SocketAddr,
    socket: StdListener,
}

/// A port that could not be opened.
#[derive(Debug)]
pub struct Refused {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

impl std::fmt::Display for Refused {
    /// jabberd 1.4's words, which people grep for, then the cause and the remedy.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ip, port) = (self.address.ip(), self.address.port());
        write!(
            f,
            "io_select unable to listen on {port} [{ip}]: jabberd already running or invalid interface? ({})",
            self.error
        )?;
        match self.error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => write!(f, "; see who has it: ss -ltnp 'sport = {port}'"),
            Some(Errno::EADDRNOTAVAIL) => write!(f, "; this machine has no address {ip}: see ip address"),
            Some(Errno::EACCES) => write!(f, "; ports below 1024 need root: start as root, jabberd drops it by itself"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

/// Opens the port of a listener on all its addresses, as whoever we are now (root, at start).
///
/// # Errors
/// One of its addresses cannot be had. That a machine has no IPv6 is no error where IPv4 was asked for, too.
pub fn open(wanted: &Arc<Wanted>) -> Result<Vec<Opened>, Refused> {
    let on_each = on_each(wanted, bind)?;
    let opened = |(address, socket): (SocketAddr, StdListener)| {
        let address = socket.local_addr().unwrap_or(address);
        Opened { wanted: Arc::clone(wanted), address, socket }
    };
    Ok(on_each.into_iter().map(opened).collect())
}

/// Could the port be opened? Nobody is taken in meanwhile, and a server that starts at this moment gets it all the same.
///
/// # Errors
/// As for [`open`].
pub fn could_open(wanted: &Wanted) -> Result<(), Refused> {
    on_each(wanted, bound).map(drop)
}

fn on_each<T>(wanted: &Wanted, work: impl Fn(SocketAddr) -> io::Result<T>) -> Result<Vec<(SocketAddr, T)>, Refused> {
    let mut done = Vec::new();
    let mut refused = None;
    let addresses = wanted.bind_addresses();
    for address in &addresses {
        match work(*address) {
            Ok(one) => done.push((*address, one)),
            Err(error) => {
                let no_ipv6 = address.is_ipv6()
                    && matches!(
                        error.raw_os_error().map(Errno::from_raw),
                        Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
                    );
                if !(no_ipv6 && addresses.len() > 1) {
                    return Err(Refused { address: *address, error });
                }
                refused = Some(Refused { address: *address, error });
            }
        }
    }
    match refused {
        Some(refused) if done.is_empty() => Err(refused),
        _ => Ok(done),
    }
}

fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = bound(address)?;
    socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(StdListener::from(socket))
}

fn bound(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(family, SockType::Stream, flags, None)?;
    // A restart must not wait for connections of the last run to be forgotten.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let name: Box<dyn SockaddrLike> = match address {
        SocketAddr::V4(address) => Box::new(SockaddrIn::from(address)),
        SocketAddr::V6(address) => {
            // Otherwise [::] takes the port from 0.0.0.0, and peers show as ::ffff:192.0.2.1 in the logs.
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            Box::new(SockaddrIn6::from(address))
        }
    };
    socket::bind(socket.as_raw_fd(), name.as_ref())?;
    Ok(socket)
}

/// What one call of [`Listener::accept`] brought.
pub(super) enum Accepted {
    /// A peer.
    Peer(TcpStream, SocketAddr),
    /// Nobody waits.
    Nobody,
    /// One went away again before we looked.
    Lost,
    /// No descriptors: nobody is accepted for a while.
    Full(io::Error),
}

/// A port that is served.
pub(super) struct Listener {
    pub(super) wanted: Arc<Wanted>,
    pub(super) socket: TcpListener,
    /// Somebody may wait.
    pub(super) ready: bool,
}

impl Listener {
    pub(super) fn new(opened: Opened) -> Self {
        let socket = TcpListener::from_std(opened.socket);
        Listener { wanted: opened.wanted, socket, ready: true }
    }

    /// Takes over what a new configuration says of this port.
    pub(super) fn renew(&mut self, all: &[Wanted]) {
        let place = |wanted: &Wanted| (wanted.kind, wanted.address, wanted.port);
        if let Some(wanted) = all.iter().find(|wanted| place(wanted) == place(&self.wanted)) {
            self.wanted = Arc::new(wanted.clone());
        }
    }

    pub(super) fn accept(&mut self) -> Accepted {
        match self.socket.accept() {
            Ok((stream, peer)) => {
                prepare(&stream);
                Accepted::Peer(stream, peer)
            }
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => {
                    self.ready = false;
                    Accepted::Nobody
                }
                Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => Accepted::Full(error),
                // accept(2): errors of the connection itself show up here, too, and are to be tried over.
                _ => Accepted::Lost,
            },
        }
    }
}

/// Sets what every connection needs. A kernel that refuses one of them still carries the connection.
pub(super) fn prepare(stream: &TcpStream) {
    let (idle, interval, count) = KEEPALIVE;
    // Stanzas are small and wait for nobody.
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &idle);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &interval);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &count);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &UNCONFIRMED_MILLIS);
}

/// A descriptor kept in reserve. When all are used up it is given back for a moment, so that who waits in the kernel can
/// be taken and closed, instead of waking the loop for ever.
pub(super) struct Reserve {
    spare: Option<File>,
    until_millis: Option<u64>,
    quiet_until: u64,
}

impl Reserve {
    pub(super) fn new() -> Self {
        Reserve { spare: File::open("/dev/null").ok(), until_millis: None, quiet_until: 0 }
    }

    /// Closes one waiting connection, and begins a pause.
    pub(super) fn shed(&mut self, now_millis: u64, listener: &TcpListener, error: &io::Error) {
        self.spare = None;
        drop(listener.accept());
        self.spare = File::open("/dev/null").ok();
        self.complain(now_millis, format_args!("{error}; raise the limit of open files (LimitNOFILE, ulimit -n)"));
        self.until_millis = Some(now_millis.saturating_add(u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX)));
    }

    /// Is accepting paused now?
    pub(super) fn is_pausing(&self, now_millis: u64) -> bool {
        self.until_millis.is_some_and(|until| now_millis < until)
    }

    /// When the pause ends, if there is one ahead.
    pub(super) fn pause_end(&self, now_millis: u64) -> Option<u64> {
        self.until_millis.filter(|until| now_millis < *until)
    }

    /// Logs that somebody cannot come in, once a minute.
    pub(super) fn complain(&mut self, now_millis: u64, why: std::fmt::Arguments<'_>) {
        if now_millis >= self.quiet_until {
            self.quiet_until = now_millis.saturating_add(QUIET_MILLIS);
            log::error!(target: "-internal", "no more connections can be accepted: {why}");
        }
    }
}

/// The loopback address with a port of the kernel's choice, for tests.
#[cfg(test)]
pub(super) fn open_loopback(kind: crate::config::ListenerKind) -> Opened {
    let place = crate::config::Place::whole(std::path::Path::new(""));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = bind(address).unwrap();
    Opened { wanted: Arc::new(Wanted::new(kind, 0, place)), address: socket.local_addr().unwrap(), socket }
}
