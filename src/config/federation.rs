//! Talk with other servers: the typed form of `<dialback>` and `<dnsrv>`.

use std::fmt;
use std::net::IpAddr;

use super::hosts::is_below;
use crate::xmpp::jid::one_name;

/// Everything about other servers but the ports, which are among the listeners.
#[derive(Clone, PartialEq, Eq)]
pub struct Federation {
    /// The dialback secret that several machines share.
    pub secret: Option<String>,
    /// Idle streams are closed after this.
    pub idle_seconds: u64,
    /// What cannot be delivered comes back after this.
    pub queue_seconds: u64,
    /// What is asked of a remote domain, the default for all others included.
    pub policies: Vec<RemotePolicy>,
    /// SRV names to look up, in this order; an empty one stands for plain addresses.
    pub services: Vec<String>,
    /// How long a look-up is remembered.
    pub cache_seconds: u64,
    /// `<dnsrv>` is there: without it the server is an island, and no look-up is made.
    pub resolves: bool,
}

impl Default for Federation {
    fn default() -> Federation {
        Federation {
            secret: None,
            idle_seconds: 900,
            queue_seconds: 30,
            policies: Vec::new(),
            services: Vec::new(),
            cache_seconds: 3600,
            resolves: false,
        }
    }
}

// The secret must not reach a log by way of {:?}.
impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, queue) = (self.idle_seconds, self.queue_seconds);
        write!(f, "Federation(idle {idle}, queue {queue}, {:?}, {:?})", self.policies, self.services)
    }
}

impl Federation {
    /// The policy for a remote domain: its own, that of the nearest domain above it, or the default.
    pub fn policy(&self, domain: &str) -> RemotePolicy {
        let domain = &*one_name(domain);
        let fits = |policy: &&RemotePolicy| match policy.domain.as_deref() {
            Some(own) => domain == own || is_below(domain, own),
            None => true,
        };
        let length = |policy: &&RemotePolicy| policy.domain.as_deref().map_or(0, str::len);
        self.policies.iter().filter(fits).max_by_key(length).cloned().unwrap_or_default()
    }
}

/// `<host name= xmpp= tls= auth= ip= port=/>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePolicy {
    /// The domain and all below it; `None` is everybody else.
    pub domain: Option<String>,
    /// Streams have `version='1.0'`.
    pub xmpp: bool,
    /// TLS.
    pub tls: RemoteTls,
    /// Which proof of identity counts.
    pub auth: RemoteAuth,
    /// Its server is here, whatever DNS says (`ip=`).
    pub address: Option<IpAddr>,
    /// Its port there (`port=`); 5269 if nothing is said.
    pub port: Option<u16>,
}

impl Default for RemotePolicy {
    fn default() -> RemotePolicy {
        RemotePolicy {
            domain: None,
            xmpp: true,
            tls: RemoteTls::Required,
            auth: RemoteAuth::Any,
            address: None,
            port: None,
        }
    }
}

/// TLS with a remote domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteTls {
    /// `no`.
    Never,
    /// `yes`.
    Allowed,
    /// `force`, or a number of bits; the default where nothing is said.
    Required,
}

/// The proof of identity that a remote domain must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteAuth {
    /// `any`.
    Any,
    /// `db`.
    Dialback,
    /// `sasl`: a valid certificate.
    Certificate,
}
