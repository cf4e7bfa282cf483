//! Connections of our own: our client against our server.

use super::*;

impl Server {
    /// What it hears next that is not a command.
    fn hear_of_other(&self) -> Heard {
        loop {
            match self.hear() {
                Heard::Line(line) if ["connect", "tell", "find"].iter().any(|word| line.starts_with(word)) => {}
                heard => return heard,
            }
        }
    }

    fn secured(&self) -> TlsInfo {
        let heard = self.hear_of_other();
        let Heard::Secured(Secured(info)) = heard else { panic!("not secured but {heard:?}") };
        info
    }
}

/// A server, and a client's connection by which it is told what to do.
fn commanded() -> (Server, Client<TcpStream>) {
    let server = Server::start(Bounds::default(), None);
    let client = server.connect();
    assert!(matches!(server.hear(), Heard::Accepted(_)));
    (server, client)
}

#[test]
fn starttls_from_here_to_there() {
    let ((here, mut command), there) = (commanded(), Server::start(Bounds::default(), None));
    command.send(&format!("connect {}", there.servers));
    assert_eq!(here.hear_of_other(), Heard::Connected(there.servers));
    assert!(matches!(there.hear(), Heard::Accepted(_)));
    command.send("tell in plain text");
    assert_eq!(there.hear(), Heard::Line("in plain text".to_owned()));
    assert_eq!(here.hear_of_other(), Heard::Line("in plain text".to_owned()));
    command.send("tell starttls");
    assert_eq!(there.hear(), Heard::Line("starttls".to_owned()));
    assert_eq!(here.hear_of_other(), Heard::Line("proceed".to_owned()));
    let (own, other) = (here.secured(), there.secured());
    assert_eq!((own.peer, other.peer), (vec![there.der.clone()], vec![here.der.clone()]));
    assert_eq!(other.sni.as_deref(), Some("localhost"));
    command.send(&format!("tell say {}", "x".repeat(100_000)));
    assert!(matches!(there.hear(), Heard::Line(line) if line.len() == 100_004));
    assert!(matches!(here.hear_of_other(), Heard::Line(line) if line.len() == 100_000));
    command.send("hang-up");
    assert_eq!(there.hear(), gone(Gone::Eof));
    assert_eq!(here.hear_news(), gone(Gone::Closed));
    here.stop().unwrap();
    there.stop().unwrap();
}

#[test]
fn tls_from_the_first_byte() {
    let ((here, mut command), there) = (commanded(), Server::start(Bounds::default(), None));
    command.send(&format!("connect-tls {}", there.servers_direct));
    assert_eq!(here.hear_of_other(), Heard::Connected(there.servers_direct));
    assert!(matches!(there.hear(), Heard::Accepted(_)));
    let (own, other) = (here.secured(), there.secured());
    assert_eq!((own.peer, other.peer), (vec![there.der.clone()], vec![here.der.clone()]));
    assert_eq!(other.alpn.as_deref(), Some(&b"xmpp-server"[..]));
    command.send("tell close");
    assert_eq!(there.hear(), Heard::Line("close".to_owned()));
    assert_eq!(here.hear_of_other(), Heard::Line("bye".to_owned()));
    assert_eq!(here.hear_of_other(), gone(Gone::Eof));
    assert_eq!(there.hear(), gone(Gone::Closed));
    here.stop().unwrap();
    there.stop().unwrap();
}

#[test]
fn what_cannot_be_reached_is_told() {
    let ((here, mut command), there) = (commanded(), Server::start(Bounds::default(), None));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    command.send(&format!("connect {closed}"));
    assert_eq!(here.hear_of_other(), Heard::Gone(format!("refused by {closed}")));
    // Nobody listens on IPv6 there, or the machine has none.
    command.send(&format!("connect [::1]:{} {}", there.servers.port(), there.servers));
    assert_eq!(here.hear_of_other(), Heard::Connected(there.servers));
    // A port that does not speak TLS.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    command.send(&format!("connect-tls {address}"));
    assert_eq!(here.hear_of_other(), Heard::Connected(address));
    plain.accept().unwrap().0.write_all(b"220 mail.montague.net ESMTP").unwrap();
    assert_eq!(here.hear_of_other(), gone(Gone::Tls("the peer does not speak TLS here".to_owned())));
    here.stop().unwrap();
    there.stop().unwrap();
}

#[test]
fn domains_are_found_without_waiting() {
    let (here, mut command) = commanded();
    command.send("find localhost");
    let Heard::Found(Ok(found)) = here.hear_of_other() else { panic!("not found") };
    assert!(found.iter().all(|place| place.port == 5269 && place.addresses.iter().all(|ip| ip.is_loopback())));
    command.send("find no..domain");
    assert!(matches!(here.hear_of_other(), Heard::Found(Err(why)) if why.why.contains("not a name")));
    here.stop().unwrap();
}
