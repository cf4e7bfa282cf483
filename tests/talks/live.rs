//! The real server behind sockets: `target/debug/jabberd` with a configuration of its own, on loopback.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jabber::net::any_peer::AnyPeer;
use jabber::net::uninterrupted;
use jabber::store::{Store, account};
use jabber::xmpp::BareJid;
use nix::sys::socket::{setsockopt, sockopt::Linger};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::runner::login;
use crate::runner::talk::Setup;
use crate::runner::wire::{Got, Link, Port, Stop, Wire, jabber_xml};

/// How long an answer may take on a machine that has much else to do; failed logins are answered after seconds anyway.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long silence must last to be believed.
const SILENCE: Duration = Duration::from_millis(60);
/// A step of a talk is handled before the next one is sent, by whomever.
const BREATH: Duration = Duration::from_millis(5);
/// Waits up to this are covered by [`PATIENCE`].
const SHORT_SECONDS: u64 = 10;

/// Sites are numbered, for several talks are spoken at a time.
static SITES: AtomicUsize = AtomicUsize::new(0);

enum Socket {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Gone,
}

/// A server of its own for one talk.
pub struct Live {
    directory: PathBuf,
    ports: [u16; 3],
    child: Child,
    news: UnixDatagram,
    sockets: Vec<Socket>,
}

impl Live {
    /// Writes the configuration and the accounts, and starts the server.
    pub fn new(setup: &Setup) -> Result<Live, String> {
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("jabberd-talk-{}-{number}", std::process::id()));
        let spool = directory.join("spool");
        fs::create_dir_all(&spool).map_err(|error| error.to_string())?;
        let ports = free_ports();
        let mut setup = setup.clone();
        setup.c2s.iter_mut().for_each(|line| *line = line.replace("'5222'", &format!("'{}'", ports[0])));
        setup.jabber.push(certificate(&directory, &setup.hosts));
        let text = jabber_xml(&setup, ports, "127.0.0.1", &spool.to_string_lossy());
        fs::write(directory.join("jabber.xml"), text).map_err(|error| error.to_string())?;
        let mut store = Store::open(&spool.join("jabber.db")).map_err(|error| error.to_string())?;
        for (name, password) in &setup.accounts {
            let jid = BareJid::new(name).map_err(|error| format!("{name}: {error}"))?;
            account::create(&mut store, &jid, &login::credentials(password), 0).map_err(|error| error.to_string())?;
        }
        store.commit().map_err(|error| error.to_string())?;
        drop(store);
        let news = UnixDatagram::bind(directory.join("notify")).map_err(|error| error.to_string())?;
        news.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = spawn(&directory, &news)?;
        Ok(Live { directory, ports, child, news, sockets: Vec::new() })
    }

    fn socket(&mut self, link: Link) -> &mut Socket {
        &mut self.sockets[link]
    }

    fn encrypt(&mut self, link: Link, with_exporter: bool) -> Result<(), Stop> {
        let Socket::Plain(tcp) = std::mem::replace(self.socket(link), Socket::Gone) else {
            return Err(Stop::Fault("        but the connection is not plain".to_string()));
        };
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(tls(with_exporter), name).map_err(|error| error.to_string())?;
        let mut tcp = tcp;
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp).map_err(|error| format!("        the TLS handshake failed: {error}"))?;
        }
        *self.socket(link) = Socket::Tls(Box::new(StreamOwned::new(connection, tcp)));
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(directory: &Path, news: &UnixDatagram) -> Result<Child, String> {
    let log = fs::File::create(directory.join("stderr")).map_err(|error| error.to_string())?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_jabberd"))
        .arg("-c")
        .arg(directory.join("jabber.xml"))
        .env("NOTIFY_SOCKET", directory.join("notify"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("jabberd does not start: {error}"))?;
    let mut buffer = [0; 4_096];
    loop {
        match uninterrupted(|| news.recv(&mut buffer)) {
            Ok(length) if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") => return Ok(child),
            Ok(_) => {}
            Err(_) => {
                let _ = child.kill();
                let said = fs::read_to_string(directory.join("stderr")).unwrap_or_default();
                return Err(format!("jabberd does not start:\n{said}"));
            }
        }
    }
}

/// Ports that nobody has: below those that the kernel gives to outgoing connections, and none twice.
fn free_ports() -> [u16; 3] {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const FIRST: usize = 12_000;
    const COUNT: usize = 18_000;
    let start = std::process::id() as usize * 997;
    [(); 3].map(|()| {
        let candidates = std::iter::repeat_with(|| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT);
        let ports = candidates.take(COUNT).map(|port| u16::try_from(port).unwrap());
        ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
    })
}

/// A certificate for all hosts, and the element that names it.
fn certificate(directory: &Path, hosts: &[String]) -> String {
    let names: Vec<String> = std::iter::once("localhost".to_string()).chain(hosts.iter().cloned()).collect();
    // Certificates write A-labels (RFC 5280 §7.2).
    let ascii: Vec<String> = names.iter().map(|name| idna::domain_to_ascii(name).unwrap_or(name.clone())).collect();
    let made = rcgen::generate_simple_self_signed(ascii).unwrap();
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    fs::write(&chain, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    format!(
        "<certificate xmlns='urn:jabber:config:3' host='{}' key='{}'>{}</certificate>",
        names.join(" "),
        key.display(),
        chain.display()
    )
}

impl Wire for Live {
    fn connect(&mut self, port: Port, peer: Option<IpAddr>) -> Result<Link, Stop> {
        if peer.is_some() {
            return Err(Stop::Cannot("an address of its own"));
        }
        let number = match port {
            Port::StartTls => self.ports[0],
            Port::Direct => self.ports[1],
            Port::Plain => self.ports[2],
            Port::Other(_) => return Err(Stop::Cannot("a port of its own")),
        };
        let tcp = TcpStream::connect(("127.0.0.1", number)).map_err(|error| error.to_string())?;
        tcp.set_nodelay(true).unwrap();
        self.sockets.push(Socket::Plain(tcp));
        let link = self.sockets.len() - 1;
        if port == Port::Direct {
            self.encrypt(link, true)?;
        }
        Ok(link)
    }

    fn send(&mut self, link: Link, bytes: &[u8]) {
        // What the server has closed takes nothing; the talk hears that it is closed.
        match self.socket(link) {
            Socket::Plain(tcp) => drop(tcp.write_all(bytes)),
            Socket::Tls(tls) => drop(tls.write_all(bytes).and_then(|()| tls.flush())),
            Socket::Gone => {}
        }
        std::thread::sleep(BREATH);
    }

    fn hear(&mut self, link: Link, wait: bool) -> Got {
        let patience = Some(if wait { PATIENCE } else { SILENCE });
        let mut buffer = vec![0; 65_536];
        let read = uninterrupted(|| match self.socket(link) {
            Socket::Plain(tcp) => {
                tcp.set_read_timeout(patience).unwrap();
                tcp.read(&mut buffer)
            }
            Socket::Tls(tls) => {
                tls.sock.set_read_timeout(patience).unwrap();
                tls.read(&mut buffer)
            }
            Socket::Gone => Ok(0),
        });
        match read {
            Ok(0) => Got::Closed,
            Ok(length) => Got::Bytes(buffer[..length].to_vec()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Got::Nothing,
            Err(_) => Got::Closed,
        }
    }

    fn is_prompt(&self) -> bool {
        false
    }

    fn secure(&mut self, link: Link, with_exporter: bool) -> Result<(), Stop> {
        self.encrypt(link, with_exporter)
    }

    fn hang_up(&mut self, link: Link) {
        let socket = std::mem::replace(self.socket(link), Socket::Gone);
        // The connection dies: a reset, and no orderly end.
        let reset = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        match &socket {
            Socket::Plain(tcp) => setsockopt(tcp, Linger, &reset).unwrap(),
            Socket::Tls(tls) => setsockopt(&tls.sock, Linger, &reset).unwrap(),
            Socket::Gone => {}
        }
        drop(socket);
        std::thread::sleep(SILENCE);
    }

    fn wait(&mut self, seconds: u64) -> Result<(), Stop> {
        if seconds > SHORT_SECONDS { Err(Stop::Cannot("a clock that is moved by hand")) } else { Ok(()) }
    }

    /// SIGTERM, as init sends it.
    fn stop(&mut self) -> Result<(), Stop> {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let told = Command::new("kill").arg(self.child.id().to_string()).status();
            told.map_err(|error| format!("        kill does not run: {error}"))?;
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Stop> {
        self.stop()?;
        self.child.wait().map_err(|error| error.to_string())?;
        self.sockets.iter_mut().for_each(|socket| *socket = Socket::Gone);
        self.child = spawn(&self.directory, &self.news)?;
        Ok(())
    }

    fn lose_next_tick(&mut self) {}

    fn crash(&mut self) -> Result<(), Stop> {
        Err(Stop::Cannot("a crash at a given moment"))
    }

    fn binding(&mut self, link: Link, kind: &str) -> Option<Vec<u8>> {
        let Socket::Tls(tls) = self.socket(link) else { return None };
        match kind {
            // RFC 9266 §2.
            "tls-exporter" => {
                let label = b"EXPORTER-Channel-Binding";
                tls.conn.export_keying_material([0; 32], label, Some(b"")).ok().map(|bytes: [u8; 32]| bytes.to_vec())
            }
            // RFC 5929 §4.1: the certificate is signed with SHA-256.
            "tls-server-end-point" => {
                let certificate = tls.conn.peer_certificates()?.first()?;
                Some(ring::digest::digest(&ring::digest::SHA256, certificate).as_ref().to_vec())
            }
            _ => None,
        }
    }
}

fn tls(with_exporter: bool) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] =
        if with_exporter { &[&rustls::version::TLS13] } else { &[&rustls::version::TLS12] };
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    // The certificate is one that we made ourselves.
    let verifier = Arc::new(AnyPeer(provider));
    Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}
