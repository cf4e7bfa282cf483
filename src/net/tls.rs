//! TLS: bytes of the wire to plain text and back, without sockets (rustls is sans-IO).

use std::io::{self, IoSlice, Read as _, Write as _};
use std::sync::Arc;

use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::NoServerSessionStorage;
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};

pub use super::certificate::{Certificate, Certificates, Fault};
use super::engine::TlsInfo;

/// XEP-0368 §3: the protocol name of client streams.
const ALPN_CLIENT: &[u8] = b"xmpp-client";
/// RFC 9266 §2: the label of the `tls-exporter` channel binding.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// What rustls may hold of plain text or records for one connection. We hand it one record at a time, so it needs little.
const BUFFER_BYTES: usize = 32 << 10;

/// Everything a new TLS connection needs; replaced as a whole when a certificate changes.
#[derive(Debug)]
pub struct Settings {
    starttls: Arc<ServerConfig>,
    direct: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl Settings {
    /// Settings for these certificates. Tickets of earlier settings are void: a session that is taken up again would
    /// otherwise be bound to a certificate that the client never saw (RFC 5929 §4).
    pub fn new(certificates: Certificates) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(certificates);
        let resolver = Arc::clone(&certificates);
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
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
        Ok(Settings { starttls: Arc::new(config), direct: Arc::new(direct), certificates })
    }
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
    // Either side of TLS: outgoing server streams will be the other variant.
    inner: rustls::Connection,
    certificates: Arc<Certificates>,
    secured: bool,
}

impl Session {
    /// A session that awaits a ClientHello.
    pub(super) fn server(settings: &Settings, start: Start) -> Result<Self, rustls::Error> {
        let config = match start {
            Start::StartTls => &settings.starttls,
            Start::Direct => &settings.direct,
        };
        let mut inner = ServerConnection::new(Arc::clone(config))?;
        inner.set_buffer_limit(Some(BUFFER_BYTES));
        let certificates = Arc::clone(&settings.certificates);
        Ok(Session { inner: inner.into(), certificates, secured: false })
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
        let sni = match &self.inner {
            rustls::Connection::Server(server) => server.server_name().map(str::to_owned),
            rustls::Connection::Client(_) => None,
        };
        let end_point = self.certificates.choose(sni.as_deref()).end_point().map(<[u8]>::to_vec);
        let alpn = self.inner.alpn_protocol().map(<[u8]>::to_vec);
        let peer = self.inner.peer_certificates().unwrap_or_default().iter().map(|der| der.to_vec()).collect();
        TlsInfo { protocol, cipher: cipher.unwrap_or_default(), exporter, end_point, sni, alpn, peer }
    }
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
