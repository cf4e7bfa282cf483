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
    /// For whom it may speak besides its own addresses.
    pub senders: Senders,
    /// It gets what nobody else takes (an empty `<host/>`, or `<uplink/>`).
    pub takes_rest: bool,
    /// Where it is configured.
    pub place: Place,
}

impl Component {
    /// Is there a process that speaks for itself behind the addresses, or will there be one?
    pub fn is_process(&self) -> bool {
        matches!(self.link, Link::Accept(_) | Link::Connect(_))
    }

    /// Do its addresses exist? Those that `<null/>` and `<unsubscribe>` name are blocked domains instead.
    pub fn is_served(&self) -> bool {
        !matches!(self.link, Link::Null | Link::Unsubscribe(_))
    }

    /// Is this domain one of its addresses?
    pub fn has_host(&self, domain: &str) -> bool {
        self.hosts.iter().any(|host| host == domain)
    }

    /// What both sides know.
    pub fn secret(&self) -> Option<&str> {
        match &self.link {
            Link::Accept(accept) => Some(&accept.secret),
            Link::Connect(connect) => Some(&connect.secret),
            _ => None,
        }
    }

    /// Is the sender told when it may not speak for somebody (`<restrict/>`)?
    pub fn tells_restrictions(&self) -> bool {
        matches!(&self.link, Link::Accept(accept) if accept.restrict)
    }

    /// Are messages and subscriptions kept while it is away (`<offline/>`)?
    pub fn keeps_offline(&self) -> bool {
        matches!(&self.link, Link::Accept(accept) if accept.offline)
    }

    /// How many seconds stanzas wait for it while it is away.
    pub fn wait_seconds(&self) -> u64 {
        match &self.link {
            Link::Accept(accept) => accept.timeout_seconds,
            // One more attempt is made in that time.
            Link::Connect(connect) => connect.retry_seconds().saturating_add(connect.timeout_seconds),
            _ => 0,
        }
    }
}

/// `<sender xmlns='urn:jabber:config:3'>`: for whom a component may speak besides its own addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// For everybody, our own users, too, as in 1.4.
    pub anybody: bool,
    /// For everybody at these domains.
    pub domains: Vec<String>,
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
    /// Where it is configured.
    pub place: Place,
    /// Where we listen; `None` is every address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// What both sides know.
    pub secret: String,
    /// How long stanzas wait for a component that is away.
    pub timeout_seconds: u64,
    /// When it speaks for others than it may, it gets an error.
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

impl Connect {
    /// 1.4 waits two seconds before each attempt.
    pub fn retry_seconds(&self) -> u64 {
        self.timeout_seconds.saturating_add(2)
    }
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
