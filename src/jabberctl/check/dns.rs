//! Questions to DNS, one at a time, with the messages that the server itself uses.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use jabber::net::clock::Dice;
use jabber::net::dns::files::Files;
use jabber::net::dns::message::{Kind, Outcome, Question, Reading, Sent};
use jabber::net::dns::name::Name;
use jabber::net::dns::settings::Settings;
use jabber::net::uninterrupted;
use jabber::xmpp::Random as _;

/// How long one server is waited for, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 2;

/// Whom to ask.
pub(super) struct Asker {
    settings: Settings,
    /// A server that the command line names: it knows nothing of /etc/hosts.
    given: Option<SocketAddr>,
}

impl Asker {
    /// Asks this server; without, those of resolv.conf, after /etc/hosts.
    pub(super) fn new(given: Option<&str>) -> Result<Asker, String> {
        let given = match given {
            None => None,
            Some(text) => {
                let address = text.parse::<SocketAddr>().ok();
                let address = address.or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)));
                Some(address.ok_or_else(|| format!("{text} is no address of a DNS server"))?)
            }
        };
        Ok(Asker { settings: Files::default().read(), given })
    }

    /// Asks; an error is that nobody answered.
    pub(super) fn ask(&self, name: &Name, kind: Kind) -> Result<Outcome, String> {
        let question = Question { name: name.clone(), kind };
        if let Some(outcome) = self.settings.known(&question).filter(|_| self.given.is_none()) {
            return Ok(outcome);
        }
        let servers = self.given.map_or_else(|| self.settings.servers.clone(), |given| vec![given]);
        let mut why = "no DNS server is known".to_owned();
        for server in servers.iter().cycle().take(servers.len().saturating_mul(ATTEMPTS as usize)) {
            match exchange(*server, &question) {
                Ok(Reading::Answer(outcome, _)) => return Ok(outcome),
                Ok(_) => why = format!("the DNS server {server} gave no answer that can be used"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    why = format!("the DNS server {server} is silent");
                }
                Err(error) => why = format!("the DNS server {server} cannot be asked: {error}"),
            }
        }
        Err(why)
    }

    /// The addresses of a name.
    pub(super) fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, String> {
        let mut all = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            if let Outcome::Addresses(found) = self.ask(name, kind)? {
                all.extend(found);
            }
        }
        Ok(all)
    }
}

fn exchange(server: SocketAddr, question: &Question) -> io::Result<Reading> {
    let mut dice = [0; 2];
    Dice::new().fill(&mut dice);
    let sent = Sent::new(question.clone(), u16::from_le_bytes(dice), None, true)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"))?;
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&sent.bytes)?;
    let mut buffer = [0; 4096];
    loop {
        let count = uninterrupted(|| socket.recv(&mut buffer))?;
        match sent.read(buffer.get(..count).unwrap_or_default()) {
            Reading::NotOurs => {}
            reading => return Ok(reading),
        }
    }
}
