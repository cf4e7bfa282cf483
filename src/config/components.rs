//! Services that are not ours: components in other processes, and addresses that go nowhere.

use std::net::IpAddr;
use std::path::PathBuf;

use super::error::Place;

/// A `<service>` that is neither sessions, client port, server port nor resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its id, which is also an address.
    pub id: String,
    /// All its addresses: the id and its `<host>`s.
    pub hosts: Vec<String>,
    /// What stands behind the addresses.
    pub link: Link,
    /// Where it is configured.
    pub place: Place,
}

/// What stands behind the addresses of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It connects to us (`<accept>`, XEP-0114).
    Accept(Accept),
    /// We connect to it (`<connect>`).
    Connect(Connect),
    /// Swallows everything without a word (`<null/>`).
    Null,
    /// Bounces messages with this text and dissolves subscriptions (`<unsubscribe>`).
    Unsubscribe(String),
    /// Reads and deletes `*.stanza` files of this directory (1.6's `<dir>`).
    Directory(PathBuf),
    /// Everything to it comes back as an error, for this reason: the thing itself cannot exist here.
    Bounce(String),
}

/// `<accept>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Accept {
    /// Where we listen; `None` is every address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// What both sides know.
    pub secret: String,
    /// How long stanzas wait for a component that is away.
    pub timeout_seconds: u64,
    /// It may speak only for its own addresses.
    pub restrict: bool,
    /// Messages to it are stored while it is away.
    pub offline: bool,
}

/// `<connect>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Where it listens.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// What both sides know.
    pub secret: String,
    /// Seconds for an attempt.
    pub timeout_seconds: u64,
    /// How many attempts; `None` is without end.
    pub tries: Option<u32>,
}

// Secrets must not reach a log by way of {:?}.
impl std::fmt::Debug for Accept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Accept({:?}:{})", self.address, self.port)
    }
}
impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connect({}:{})", self.address, self.port)
    }
}
