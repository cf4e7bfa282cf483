//! TLS: bytes of the wire to plain text and back, without sockets (rustls is sans-IO).

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, ServerConfig, ServerConnection};

use super::any_peer::{AnyPeer, Shown};
use super::certificate::WithDefault;
pub use super::certificate::{Certificate, Certificates, Fault};
use super::engine::{ClientTls, TlsInfo};
use crate::config::ListenerKind;

/// XEP-0368 §3: the protocol name of client streams.
const ALPN_CLIENT: &[u8] = b"xmpp-client";
/// XEP-0368 §3: the protocol name of streams between servers.
const ALPN_SERVER: &[u8] = b"xmpp-server";
/// RFC 9266 §2: the label of the `tls-exporter` channel binding.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// What rustls may hold of plain text or records for one connection. We hand it one record at a time, so it needs little.
const BUFFER_BYTES: usize = 32 << 10;
const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// Everything a new TLS connection needs; replaced as a whole when a certificate changes.
#[derive(Debug)]
pub struct Settings {
    clients: Pair<ServerConfig>,
    servers: Pair<ServerConfig>,
    /// For connections of our own, without our certificate: that depends on the host.
    outgoing: Pair<ClientConfig>,
    certificates: Arc<Certificates>,
}

/// The same for both ways to begin.
#[derive(Debug)]
struct Pair<C> {
    starttls: Arc<C>,
    direct: Arc<C>,
}

impl<C> Pair<C> {
    fn choose(&self, start: Start) -> &Arc<C> {
        match start {
            Start::StartTls => &self.starttls,
            Start::Direct => &self.direct,
        }
    }
}

impl Settings {
    /// Settings for these certificates. Tickets of earlier settings are void: a session that is taken up again would
    /// otherwise be bound to a certificate that the client never saw (RFC 5929 §4).
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(certificates: Certificates) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(certificates);
        Ok(Settings {
            clients: for_clients(&certificates)?,
            servers: for_servers(&certificates)?,
            outgoing: outgoing()?,
            certificates,
        })
    }
}

/// What clients that connect to us meet: they are asked for no certificate.
fn for_clients(certificates: &Arc<Certificates>) -> Result<Pair<ServerConfig>, rustls::Error> {
    let resolver = Arc::clone(certificates);
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    // The client keeps the session, sealed in a ticket: nothing grows here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    let mut direct = config.clone();
    // Who names protocols on the direct port must name ours (RFC 7301 §3.2): a browser led here by an attacker does
    // not. After STARTTLS the protocol is known already, and what a client names is not looked at.
    direct.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    Ok(Pair { starttls: Arc::new(config), direct: Arc::new(direct) })
}

/// What servers that connect to us meet: they are asked for a certificate, and may have none.
fn for_servers(certificates: &Arc<Certificates>) -> Result<Pair<ServerConfig>, rustls::Error> {
    let provider = Arc::new(default_provider());
    let resolver = Arc::clone(certificates);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&VERSIONS)?
        .with_client_cert_verifier(Arc::new(AnyPeer(provider)))
        .with_cert_resolver(resolver);
    // Sessions are not taken up again: a ticket would hold the peer's chain, and servers seldom come back soon.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(VoidTickets);
    config.send_tls13_tickets = 1;
    let mut direct = config.clone();
    direct.alpn_protocols = vec![ALPN_SERVER.to_vec()];
    Ok(Pair { starttls: Arc::new(config), direct: Arc::new(direct) })
}

/// A ticket that opens nothing, and that nobody keeps.
///
/// Compat: jabberd2 with OpenSSL 3 leaves an error behind when it has looked at our certificate, and takes it for one of
/// the next record that comes in pieces, on whatever stream: what was in it is lost. Reading a ticket clears it away.
#[derive(Debug)]
struct VoidTickets;

impl ProducesTickets for VoidTickets {
    fn enabled(&self) -> bool {
        true
    }

    /// RFC 8446 §4.6.1: to be discarded at once.
    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(vec![0])
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// How we connect to other servers.
fn outgoing() -> Result<Pair<ClientConfig>, rustls::Error> {
    let provider = Arc::new(default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyPeer(provider)))
        .with_no_client_auth();
    // A session of one of our hosts must not be taken up for another.
    config.resumption = Resumption::disabled();
    let mut direct = config.clone();
    direct.alpn_protocols = vec![ALPN_SERVER.to_vec()];
    Ok(Pair { starttls: Arc::new(config), direct: Arc::new(direct) })
}

/// How a TLS connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After `<proceed/>` (RFC 6120 §5).
    StartTls,
    /// From the first byte (XEP-0368).
    Direct,
}

/// What came out of a record.
pub(super) enum Opened<'a> {
    /// The handshake is done.
    Secured(TlsInfo),
    /// Plain text.
    Bytes(&'a [u8]),
    /// The peer said that it sends nothing more.
    Ended,
}

/// One connection's TLS.
#[derive(Debug)]
pub(super) struct Session {
    inner: rustls::Connection,
    certificates: Arc<Certificates>,
    /// Of ours, for who names no host.
    default: Arc<Certificate>,
    secured: bool,
}

impl Session {
    /// A session that awaits a ClientHello on a port of this kind.
    pub(super) fn server(settings: &Settings, kind: ListenerKind, start: Start) -> Result<Self, rustls::Error> {
        let configs = if kind.is_client() { &settings.clients } else { &settings.servers };
        let inner = ServerConnection::new(Arc::clone(configs.choose(start)))?;
        Ok(Session::new(inner.into(), settings.certificates.default_one(), settings))
    }

    /// The same after STARTTLS on a stream for one of our hosts: its certificate is shown to who names no host in TLS,
    /// as nobody does whose host is an IP address (RFC 6066 §3), or one we do not know.
    pub(super) fn server_for(settings: &Settings, kind: ListenerKind, host: &str) -> Result<Self, rustls::Error> {
        let configs = if kind.is_client() { &settings.clients } else { &settings.servers };
        let config = configs.choose(Start::StartTls);
        let default = settings.certificates.choose(Some(host));
        if Arc::ptr_eq(default, settings.certificates.default_one()) {
            return Session::server(settings, kind, Start::StartTls);
        }
        let mut config = ServerConfig::clone(config);
        config.cert_resolver =
            Arc::new(WithDefault { certificates: Arc::clone(&settings.certificates), default: Arc::clone(default) });
        let inner = ServerConnection::new(Arc::new(config))?;
        Ok(Session::new(inner.into(), default, settings))
    }

    /// A session that sends a ClientHello to a domain, and shows the certificate of one of our hosts if it is asked to.
    pub(super) fn client(settings: &Settings, names: &ClientTls, start: Start) -> Result<Self, rustls::Error> {
        let mut config = ClientConfig::clone(settings.outgoing.choose(start));
        let own = settings.certificates.choose(Some(&names.local));
        config.client_auth_cert_resolver = Arc::new(Shown(own.key()));
        let inner = ClientConnection::new(Arc::new(config), sni(&names.remote))?;
        Ok(Session::new(inner.into(), own, settings))
    }

    fn new(mut inner: rustls::Connection, default: &Arc<Certificate>, settings: &Settings) -> Self {
        inner.set_buffer_limit(Some(BUFFER_BYTES));
        let certificates = Arc::clone(&settings.certificates);
        Session { inner, certificates, default: Arc::clone(default), secured: false }
    }

    /// Is the handshake still going on?
    pub(super) fn is_handshaking(&self) -> bool {
        !self.secured
    }

    /// Takes bytes of the wire and hands on what they open to. An error ends the connection; an alert for the peer may
    /// wait to be written.
    pub(super) fn open(
        &mut self,
        mut wire: &[u8],
        buffer: &mut [u8],
        deliver: &mut dyn FnMut(Opened<'_>),
    ) -> Result<(), String> {
        while !wire.is_empty() {
            // rustls takes a part at a time; zero would mean that its buffer is full of what we did not take out.
            if self.inner.read_tls(&mut wire).map_err(|error| error.to_string())? == 0 {
                return Err("record buffer is full".to_owned());
            }
            let state = self.inner.process_new_packets().map_err(|error| explain(&error))?;
            if !self.secured && !self.inner.is_handshaking() {
                self.secured = true;
                deliver(Opened::Secured(self.info()));
            }
            let mut waiting = state.plaintext_bytes_to_read();
            while waiting > 0 {
                let count = self.inner.reader().read(buffer).map_err(|error| error.to_string())?;
                if count == 0 {
                    break;
                }
                waiting = waiting.saturating_sub(count);
                deliver(Opened::Bytes(buffer.get(..count).unwrap_or_default()));
            }
            if state.peer_has_closed() {
                deliver(Opened::Ended);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Encrypts plain text; returns how much of it was taken.
    pub(super) fn seal(&mut self, plain: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.writer().write_vectored(plain)
    }

    /// Does anything wait to be written to the wire?
    pub(super) fn wants_write(&self) -> bool {
        self.inner.wants_write()
    }

    /// Writes records to the wire, once.
    pub(super) fn write_to(&mut self, wire: &mut dyn io::Write) -> io::Result<usize> {
        self.inner.write_tls(wire)
    }

    /// Queues the alert that says that we send nothing more.
    pub(super) fn close(&mut self) {
        self.inner.send_close_notify();
    }

    fn info(&self) -> TlsInfo {
        let is_13 = self.inner.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let protocol = if is_13 { "TLSv1.3" } else { "TLSv1.2" };
        let cipher = self.inner.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        // RFC 9266 §4.2: with TLS 1.2 only where the extended master secret was agreed on, which rustls does not tell.
        let exported = || self.inner.export_keying_material([0; 32], EXPORTER_LABEL, Some(b"")).ok();
        let exporter = if is_13 { exported() } else { None };
        let (sni, end_point) = match &self.inner {
            rustls::Connection::Server(server) => {
                let named = self.certificates.named(server.server_name());
                let certificate = named.unwrap_or(&self.default);
                (server.server_name().map(str::to_owned), certificate.end_point().map(<[u8]>::to_vec))
            }
            rustls::Connection::Client(_) => (None, None),
        };
        let alpn = self.inner.alpn_protocol().map(<[u8]>::to_vec);
        let peer = self.inner.peer_certificates().unwrap_or_default().iter().map(|der| der.to_vec()).collect();
        TlsInfo { protocol, cipher: cipher.unwrap_or_default(), exporter, end_point, sni, alpn, peer }
    }
}

/// The name for SNI: A-labels, in lower case (RFC 6066 §3). For an address, or a domain that DNS cannot have, none is sent.
fn sni(domain: &str) -> ServerName<'static> {
    let ascii = idna::domain_to_ascii(domain).unwrap_or_default();
    let address = || domain.trim_matches(['[', ']']).parse::<IpAddr>().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    ServerName::try_from(ascii).unwrap_or_else(|_| ServerName::IpAddress(address().into()))
}

/// What an admin makes of rustls's errors.
fn explain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "the peer does not speak TLS here".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("the peer gave up: {alert:?}"),
        rustls::Error::PeerIncompatible(why) => format!("nothing in common with the peer: {why:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
