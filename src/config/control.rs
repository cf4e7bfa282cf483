//! Sockets in the file system: where jabberctl and who watches find the server, and who may use them.

use std::path::{Path, PathBuf};

use super::DEFAULT_SPOOL;

/// `<metrics xmlns='urn:jabber:config:3'>` with a path in place of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSocket {
    /// The socket.
    pub path: PathBuf,
    /// The group whose members may use it besides root; without, that of the server's user.
    pub group: Option<String>,
}

/// `<control xmlns='urn:jabber:config:3'>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The socket, if jabber.xml names one; else see [`Control::path`].
    pub socket: Option<PathBuf>,
    /// The group whose members may use it besides root; without, that of the server's user.
    pub group: Option<String>,
}

impl Control {
    /// Where it is when nobody says otherwise.
    pub const DEFAULT: &str = "/run/jabber/control";
    /// Bytes of a path that the system takes for a socket (unix(7)).
    pub const PATH_BYTES_MAX: usize = 107;

    /// Where the socket is. A server with a data directory of its own has it there, so that two servers on one machine
    /// do not take it from each other.
    pub fn path(&self, spool: &Path) -> PathBuf {
        match &self.socket {
            Some(path) => path.clone(),
            None if spool == Path::new(DEFAULT_SPOOL) => PathBuf::from(Control::DEFAULT),
            None => spool.join("control"),
        }
    }
}
