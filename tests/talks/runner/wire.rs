//! What carries a talk: a server in memory, or one behind sockets.

use std::net::IpAddr;

use super::talk::Setup;

/// The number of a connection.
pub type Link = usize;

/// Which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// STARTTLS.
    StartTls,
    /// TLS from the first byte.
    Direct,
    /// Logins without TLS are allowed.
    Plain,
    /// Another one, of jabber.xml.
    Other(u16),
}

/// What a connection gave.
pub enum Got {
    /// Bytes, decrypted.
    Bytes(Vec<u8>),
    /// Nothing so far, and nothing to wait for.
    Nothing,
    /// The server closed it, and all bytes were given.
    Closed,
}

/// Why a talk ends early.
#[derive(Debug)]
pub enum Stop {
    /// Something went wrong.
    Fault(String),
    /// This wire cannot carry the talk, and why.
    #[allow(dead_code, reason = "in memory everything can be done")]
    Cannot(&'static str),
}

impl From<String> for Stop {
    fn from(fault: String) -> Stop {
        Stop::Fault(fault)
    }
}

/// A server, started for one talk, and connections to it.
pub trait Wire {
    /// Opens a connection.
    fn connect(&mut self, port: Port, peer: Option<IpAddr>) -> Result<Link, Stop>;
    /// Sends bytes.
    fn send(&mut self, link: Link, bytes: &[u8]);
    /// The next bytes. `wait` tells whether something is expected: sockets then have patience.
    fn hear(&mut self, link: Link, wait: bool) -> Got;
    /// Is all that the server has to say to what was sent there at once?
    fn is_prompt(&self) -> bool {
        true
    }
    /// Does the TLS handshake, in memory of the version asked for.
    fn secure(&mut self, link: Link, with_exporter: bool) -> Result<(), Stop>;
    /// The connection dies without a word.
    fn hang_up(&mut self, link: Link);
    /// Moves the clock.
    fn wait(&mut self, seconds: u64) -> Result<(), Stop>;
    /// Stops the server as the system would.
    fn stop(&mut self) -> Result<(), Stop>;
    /// Starts it again on the same data, stopping it before if need be.
    fn restart(&mut self) -> Result<(), Stop>;
    /// What the next bytes do is not committed, for the server dies before.
    fn lose_next_tick(&mut self);
    /// The server dies and is started again.
    fn crash(&mut self) -> Result<(), Stop>;
    /// The channel binding of a connection, by its registered name.
    fn binding(&mut self, link: Link, kind: &str) -> Option<Vec<u8>>;
}

/// jabber.xml for a talk. `ports` are those of [`Port`], in its order.
pub fn jabber_xml(setup: &Setup, ports: [u16; 3], address: &str, spool: &str) -> String {
    const OWN: &str = "xmlns='urn:jabber:config:3'";
    let hosts: String = setup.hosts.iter().map(|host| format!("<host>{host}</host>")).collect();
    let open = ["<register><instructions>Choose a name and a password.</instructions></register>".to_string()];
    let jsm = if setup.jsm.is_empty() { open.concat() } else { setup.jsm.concat() };
    let [start_tls, direct, plain] = ports;
    let (limits, c2s, jabber) = (setup.limits.concat(), setup.c2s.concat(), setup.jabber.concat());
    format!(
        "<jabber><service id='sessions'><host>localhost</host>{hosts}<jsm xmlns='jabber:config:jsm'>{jsm}</jsm></service>\
         <service id='c2s'><pthcsock xmlns='jabber:config:pth-csock'><ip port='{start_tls}'>{address}</ip>\
         <tls port='{direct}'>{address}</tls><ip port='{plain}'>{address}</ip>\
         <plain-login {OWN} port='{plain}'/>{c2s}</pthcsock></service>\
         <xdb id='xdb'><host/><xdb_file xmlns='jabber:config:xdb_file'><spool>{spool}</spool></xdb_file></xdb>\
         <log id='log'><host/><logtype/><format>%d: [%t] (%h): %s</format><stderr/></log>\
         <limits {OWN}>{limits}</limits>{jabber}</jabber>"
    )
}
