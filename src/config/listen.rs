//! Where we listen, and what a connection there must do: `<pthcsock>` and the ports of `<dialback>`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::access::{Karma, Network, Rate};
use super::error::Place;

/// Who is expected to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerKind {
    /// Clients; TLS by STARTTLS.
    C2s,
    /// Clients; TLS from the first byte (XEP-0368, and 1.4's SSL port).
    C2sTls,
    /// Other servers; TLS by STARTTLS.
    S2s,
    /// Other servers; TLS from the first byte (XEP-0368).
    S2sTls,
    /// A component (XEP-0114).
    Component,
    /// Who watches the server, by HTTP.
    Metrics,
    /// The two ends of a file transfer (XEP-0065).
    Bytestreams,
}

impl ListenerKind {
    /// Does TLS begin with the first byte?
    pub fn is_direct_tls(self) -> bool {
        matches!(self, ListenerKind::C2sTls | ListenerKind::S2sTls)
    }

    /// Are clients expected, not servers?
    pub fn is_client(self) -> bool {
        matches!(self, ListenerKind::C2s | ListenerKind::C2sTls)
    }
}

/// What a listener tells a peer about STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// Offered, and nobody logs in without it.
    Required,
    /// Offered, and may be left.
    Optional,
    /// Not offered, because old clients take the offer and then fail at it.
    Hidden,
}

/// `<plain-login xmlns='urn:jabber:config:3'>`: who may log in without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainLogin {
    /// From where; empty means from everywhere.
    pub networks: Vec<Network>,
    /// What these peers are told: [`StartTls::Hidden`] or [`StartTls::Optional`].
    pub start_tls: StartTls,
}

/// One port to listen on.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Who is expected.
    pub kind: ListenerKind,
    /// Where; `None` is every address of the machine, IPv4 and IPv6.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The line that asked for it; line 0 if it is a default.
    pub place: Place,
    /// Seconds to log in, then the stream ends.
    pub auth_seconds: u64,
    /// Seconds between bytes of white space on idle streams; `None`, the default, sends none: it wakes telephones up.
    pub heartbeat_seconds: Option<u64>,
    /// Exceptions from the rule that nobody logs in without TLS; the first that fits counts.
    pub plain_logins: Vec<PlainLogin>,
    /// Bounds the connections from one address.
    pub rate: Option<Rate>,
    /// Bounds what one connection sends.
    pub karma: Option<Karma>,
    /// The registration feature is not advertised (1.6's `<noregister/>`).
    pub hide_registration: bool,
    /// The id of the component that is expected; empty where none is.
    pub component: String,
    /// The server starts without it if the port cannot be had.
    pub is_optional: bool,
}

impl Listener {
    /// A listener on all addresses with nothing special about it.
    pub fn new(kind: ListenerKind, port: u16, place: Place) -> Listener {
        Listener {
            kind,
            address: None,
            port,
            place,
            auth_seconds: super::limits::Limits::default().auth_seconds,
            heartbeat_seconds: None,
            plain_logins: Vec::new(),
            rate: None,
            karma: None,
            hide_registration: false,
            component: String::new(),
            is_optional: false,
        }
    }

    /// The socket addresses to bind, the first of which must succeed. All addresses: `[::]` without `IPV6_V6ONLY`, and
    /// where the machine has no IPv6, `0.0.0.0`.
    pub fn bind_addresses(&self) -> Vec<SocketAddr> {
        match self.address {
            Some(address) => vec![SocketAddr::new(address, self.port)],
            None => vec![
                SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), self.port),
                SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), self.port),
            ],
        }
    }

    /// What a peer at this address is told about STARTTLS here.
    pub fn start_tls_for(&self, peer: IpAddr) -> StartTls {
        let fits =
            |rule: &&PlainLogin| rule.networks.is_empty() || rule.networks.iter().any(|network| network.contains(peer));
        self.plain_logins.iter().find(fits).map_or(StartTls::Required, |rule| rule.start_tls)
    }
}

/// The port of `<metrics/>`.
pub const METRICS_PORT: u16 = 9_105;

/// `<alias to="real">name</alias>`: a stream to one name is taken as one to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// What the client says; `None` fits everything that is not a host, and streams that say nothing.
    pub name: Option<String>,
    /// The host that is meant.
    pub host: String,
}
