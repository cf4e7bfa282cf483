//! Sockets in the file system: jabberctl's, and the one of `<metrics>`. Opened at start; who connects is who the kernel says.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{UnixListener, UnixStream};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, fchownat, geteuid};

use crate::admin::Peer;
use crate::xmpp::Now;

/// How long nobody is taken after descriptors ran out.
const PAUSE: Duration = Duration::from_secs(1);

/// Who may use a socket besides root and the server's own user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The server's own user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Its members, when the group was looked up.
    pub members: Vec<u32>,
}

impl Allowed {
    /// Who came into the group since then has it among the groups of the process. Nobody is asked here who might wait for
    /// a directory in the network: it is the kernel that knows them.
    fn admits(&self, peer: Peer, groups: impl FnOnce() -> Vec<u32>) -> bool {
        let Allowed { uid, gid, members } = self;
        peer.uid == 0 || peer.uid == *uid || peer.gid == *gid || members.contains(&peer.uid) || groups().contains(gid)
    }
}

/// The groups of the process that connected, besides its first one; none where the system does not tell.
pub type GroupsOf = fn(BorrowedFd<'_>) -> Vec<u32>;

/// A socket, open and not yet served.
#[derive(Debug)]
pub struct Opened {
    name: Name,
    listener: StdListener,
    allowed: Allowed,
    groups_of: GroupsOf,
    /// Why the file could not be given to the group; root and the server's own user reach it all the same.
    pub ungiven: Option<String>,
}

/// Its name in the file system, which goes with it: be it at the end of the server, or of a start that failed.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    /// Device and inode, so that what somebody else put there is not removed.
    file: (u64, u64),
}

impl Name {
    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.is_in_place() {
            // Left behind, the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens the socket that an element of jabber.xml names, as whoever we are (root, at start), for root and this group only.
///
/// # Errors
/// Cause and remedy: another server has it, the directory is not there, or is not ours.
pub fn open(path: &Path, allowed: Allowed, groups_of: GroupsOf, element: &str) -> Result<Opened, String> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(_) => {}
        Ok(found) if !found.file_type().is_socket() => {
            return Err(format!("{shown} is there, and no socket: remove it, or name another path (<{element}>)"));
        }
        // One that was left behind takes no connection.
        Ok(_) if is_served(path) => {
            return Err(format!("{shown} is served by another process: end that, or name another path (<{element}>)"));
        }
        Ok(_) => fs::remove_file(path).map_err(|error| format!("cannot remove the old socket {shown}: {error}"))?,
    }
    let failed = |what: &str, error: io::Error| format!("cannot {what} {shown}: {error}");
    // It is made with its mode: a second step by its name might meet what somebody else put there, a link say.
    let mask = umask(Mode::from_bits_truncate(0o117));
    let bound = StdListener::bind(path);
    umask(mask);
    let listener = bound.map_err(|error| failed("make", error))?;
    let own = geteuid().as_raw();
    let ungiven = match give(path, |uid| uid == own, Some(allowed.uid), allowed.gid) {
        Err(error) if Uid::from_raw(own).is_root() => return Err(failed("change the owner of", error)),
        given => given.err().map(|error| error.to_string()),
    };
    listener.set_nonblocking(true).map_err(|error| failed("prepare", error))?;
    let found = fs::symlink_metadata(path).map_err(|error| failed("look at", error))?;
    let name = Name { path: path.to_owned(), file: (found.dev(), found.ino()) };
    Ok(Opened { name, listener, allowed, groups_of, ungiven })
}

/// Does anybody listen there? A server that hangs does, with a queue that may be full: it is not waited for.
fn is_served(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let connected = UnixAddr::new(path).and_then(|address| {
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &address)
    });
    matches!(connected, Ok(()) | Err(Errno::EAGAIN))
}

/// Gives a socket to a user and a group, if this is its owner. By its handle: in a directory of the server's user the name
/// may lead to anything by now.
///
/// # Errors
/// It is no socket of that owner, or the system refuses: only root gives to anybody, others to groups they are in.
pub fn give(path: &Path, is_owner: impl Fn(u32) -> bool, uid: Option<u32>, gid: u32) -> io::Result<()> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let found = file.metadata()?;
    if !found.file_type().is_socket() || found.nlink() != 1 || !is_owner(found.uid()) {
        return Err(io::Error::other("somebody else put another file there"));
    }
    let uid = uid.filter(|uid| *uid != found.uid()).map(Uid::from_raw);
    let gid = Some(gid).filter(|gid| *gid != found.gid()).map(Gid::from_raw);
    match (uid, gid) {
        (None, None) => Ok(()),
        _ => Ok(fchownat(&file, "", uid, gid, AtFlags::AT_EMPTY_PATH)?),
    }
}

/// What is said to a client that may not use the socket with this path.
pub(super) type Refuses = fn(Peer, &str) -> Vec<u8>;

/// A socket, served.
pub(super) struct LocalSocket {
    name: Name,
    pub(super) listener: UnixListener,
    allowed: Allowed,
    groups_of: GroupsOf,
    /// What is said to who may not come in.
    refusal: Refuses,
    /// Somebody may wait.
    pub(super) ready: bool,
    /// When somebody is taken again, after descriptors ran out.
    pause_end: Option<u64>,
}

impl LocalSocket {
    pub(super) fn new(opened: Opened, refusal: Refuses) -> LocalSocket {
        let Opened { name, listener, allowed, groups_of, .. } = opened;
        let listener = UnixListener::from_std(listener);
        LocalSocket { name, listener, allowed, groups_of, refusal, ready: true, pause_end: None }
    }

    /// May somebody be taken now?
    pub(super) fn has_work(&self, now_millis: u64) -> bool {
        self.ready && self.pause_end.is_none_or(|end| end <= now_millis)
    }

    /// When the pause ends, if there is one.
    pub(super) fn pause_end(&self, now_millis: u64) -> Option<u64> {
        self.pause_end.filter(|end| self.ready && *end > now_millis)
    }

    /// The next client that may come in.
    pub(super) fn accept(&mut self, now: Now) -> Option<(UnixStream, Peer)> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => match error.kind() {
                    // One left before it was taken; others may wait.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    io::ErrorKind::WouldBlock => {
                        self.ready = false;
                        return None;
                    }
                    _ => {
                        // Without descriptors it stays ready: the kernel does not tell again of who waits already.
                        self.pause_end = Some(now.after(PAUSE));
                        log::error!(target: "-internal", "a client of {} was not taken: {error}", self.path().display());
                        return None;
                    }
                },
            };
            let Ok(found) = getsockopt(&stream, sockopt::PeerCredentials) else { continue };
            let peer = Peer { uid: found.uid(), gid: found.gid(), pid: found.pid() };
            if self.allowed.admits(peer, || (self.groups_of)(stream.as_fd())) {
                return Some((stream, peer));
            }
            log::warn!(target: "-internal", strangers = "refused clients of our sockets", by:% = peer.uid;
                       "{}: uid={} gid={} pid={} was refused: neither root nor in the group {}; who was added to it \
                       must log in again", self.path().display(), peer.uid, peer.gid, peer.pid, self.allowed.gid);
            // One line fits into a socket that is new, and who is gone already needs none.
            let _ = stream.write(&(self.refusal)(peer, &self.path().to_string_lossy()));
        }
    }

    /// Its name.
    pub(super) fn path(&self) -> &Path {
        &self.name.path
    }

    /// Is it there by its name? Programs that tidy up take sockets for files that nobody uses.
    pub(super) fn is_in_place(&self) -> bool {
        self.name.is_in_place()
    }

    /// Who may use it from now on.
    pub(super) fn allow(&mut self, allowed: Allowed) {
        self.allowed = allowed;
    }
}
