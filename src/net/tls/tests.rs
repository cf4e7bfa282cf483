//! Both ends of TLS in one memory.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::*;

fn certificate(name: &str) -> (Arc<Certificate>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let certificate = Certificate::from_pem(made.cert.pem().as_bytes(), key.as_bytes()).unwrap();
    (Arc::new(certificate), made.cert.der().to_vec())
}

/// Settings for two hosts, and the certificates' DER.
fn settings(one: &str, other: &str) -> (Settings, [Vec<u8>; 2]) {
    let (first, first_der) = certificate(one);
    let (second, second_der) = certificate(other);
    let mut certificates = Certificates::new(first);
    certificates.add(other, second);
    (Settings::new(certificates).unwrap(), [first_der, second_der])
}

fn names(remote: &str, local: &str) -> ClientTls {
    ClientTls { remote: remote.to_owned(), local: local.to_owned() }
}

/// What a session has to say, told to another; returns what came out there.
fn pass(from: &mut Session, to: &mut Session) -> Result<(Option<TlsInfo>, bool), String> {
    let (mut wire, mut info) = (Vec::new(), None);
    while from.wants_write() {
        from.write_to(&mut wire).unwrap();
    }
    to.open(&wire, &mut [0; 4096], &mut |opened| {
        if let Opened::Secured(secured) = opened {
            info = Some(secured);
        }
    })?;
    Ok((info, !wire.is_empty()))
}

/// A whole handshake: what client and server learn.
fn shake(client: &mut Session, server: &mut Session) -> Result<(TlsInfo, TlsInfo), String> {
    let (mut heard_by_client, mut heard_by_server) = (None, None);
    loop {
        let (info, said) = pass(client, server)?;
        heard_by_server = heard_by_server.or(info);
        let (info, answered) = pass(server, client)?;
        heard_by_client = heard_by_client.or(info);
        if !said && !answered {
            let both = heard_by_client.zip(heard_by_server);
            return both.ok_or_else(|| "no end".to_owned());
        }
    }
}

#[test]
fn servers_see_each_others_chains() {
    let (ours, [capulet, verona]) = settings("capulet.com", "verona.it");
    let (theirs, [montague, mantua]) = settings("montague.net", "mantua.it");
    for (start, alpn) in [(Start::StartTls, None), (Start::Direct, Some(&b"xmpp-server"[..]))] {
        let kind = if start == Start::Direct { ListenerKind::S2sTls } else { ListenerKind::S2s };
        for (remote, local, expected_theirs, expected_ours) in [
            ("montague.net", "capulet.com", &montague, &capulet),
            ("montague.net", "verona.it", &montague, &verona),
            ("mantua.it", "capulet.com", &mantua, &capulet),
            // Not one of the peer's hosts: it shows what it shows to strangers, and the stream judges it.
            ("paris.example", "capulet.com", &montague, &capulet),
        ] {
            let mut client = Session::client(&ours, &names(remote, local), start).unwrap();
            let mut server = Session::server(&theirs, kind, start).unwrap();
            let (client, server) = shake(&mut client, &mut server).unwrap();
            assert_eq!(client.peer, std::slice::from_ref(expected_theirs), "{remote} {local}");
            assert_eq!(server.peer, std::slice::from_ref(expected_ours), "{remote} {local}");
            assert_eq!(server.sni.as_deref(), Some(remote));
            assert_eq!((client.alpn.as_deref(), server.alpn.as_deref()), (alpn, alpn));
            assert_eq!((client.protocol, server.protocol), ("TLSv1.3", "TLSv1.3"));
        }
    }
}

#[test]
fn clients_are_asked_for_no_certificate() {
    let (ours, _) = settings("capulet.com", "verona.it");
    let mut client = Session::client(&ours, &names("capulet.com", "verona.it"), Start::StartTls).unwrap();
    let mut server = Session::server(&ours, ListenerKind::C2s, Start::StartTls).unwrap();
    let (client, server) = shake(&mut client, &mut server).unwrap();
    assert!(server.peer.is_empty() && client.peer.len() == 1);
    // The ports of clients and servers have protocols of their own.
    let mut client = Session::client(&ours, &names("capulet.com", "verona.it"), Start::Direct).unwrap();
    let mut server = Session::server(&ours, ListenerKind::C2sTls, Start::Direct).unwrap();
    let refused = shake(&mut client, &mut server).unwrap_err();
    assert_eq!(refused, "peer doesn't support any known protocol");
}

#[test]
fn a_server_without_a_certificate_is_let_in() {
    let (ours, _) = settings("capulet.com", "verona.it");
    let config = ClientConfig::clone(&ours.outgoing.starttls);
    let inner = ClientConnection::new(Arc::new(config), sni("capulet.com")).unwrap();
    let mut client = Session::new(inner.into(), ours.certificates.default_one(), &ours);
    let mut server = Session::server(&ours, ListenerKind::S2s, Start::StartTls).unwrap();
    assert!(shake(&mut client, &mut server).unwrap().1.peer.is_empty());
}

/// A certificate of which it does not have the key.
#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesServerCert for Stolen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[test]
fn whoever_shows_a_certificate_has_its_key() {
    let (ours, _) = settings("capulet.com", "verona.it");
    let (honest, _) = certificate("montague.net");
    let (thief, _) = certificate("montague.net");
    let stolen = Arc::new(CertifiedKey::new(honest.key().cert.clone(), Arc::clone(&thief.key().key)));
    for version in VERSIONS {
        let mut server_config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Stolen(Arc::clone(&stolen))));
        server_config.send_tls13_tickets = 0;
        let server = ServerConnection::new(Arc::new(server_config)).unwrap();
        let mut server = Session::new(server.into(), ours.certificates.default_one(), &ours);
        let mut client = Session::client(&ours, &names("montague.net", "capulet.com"), Start::StartTls).unwrap();
        let refused = shake(&mut client, &mut server).unwrap_err();
        assert!(refused.contains("BadSignature"), "{refused}");

        let mut client_config = ClientConfig::clone(&ours.outgoing.starttls);
        client_config.client_auth_cert_resolver = Arc::new(Shown(Arc::clone(&stolen)));
        let client = ClientConnection::new(Arc::new(client_config), sni("capulet.com")).unwrap();
        let mut client = Session::new(client.into(), ours.certificates.default_one(), &ours);
        let mut server = Session::server(&ours, ListenerKind::S2s, Start::StartTls).unwrap();
        let refused = shake(&mut client, &mut server).unwrap_err();
        assert!(refused.contains("BadSignature"), "{refused}");
    }
}

#[test]
fn names_for_sni() {
    for (domain, expected) in [
        ("Montague.NET", Some("montague.net")),
        ("bücher.example", Some("xn--bcher-kva.example")),
        ("192.0.2.1", None),
        ("[2001:db8::1]", None),
        ("not a domain", None),
        ("", None),
    ] {
        let name = match sni(domain) {
            ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
            _ => None,
        };
        assert_eq!(name.as_deref(), expected, "{domain}");
    }
}

/// A client that names no host, as all do whose host is an address, and one that names one we do not serve.
#[test]
fn a_stream_s_host_chooses_for_who_names_none() {
    let (ours, ders) = settings("capulet.com", "192.0.2.1");
    let (theirs, _) = settings("montague.net", "mantua.it");
    let rows = [
        ("192.0.2.1", "192.0.2.1", 1),
        ("192.0.2.1", "capulet.com", 0),
        ("192.0.2.1", "", 0),
        ("elsewhere.example", "192.0.2.1", 1),
        ("capulet.com", "192.0.2.1", 0),
    ];
    for (sni, host, shown) in rows {
        for kind in [ListenerKind::C2s, ListenerKind::S2s] {
            let mut client = Session::client(&theirs, &names(sni, "montague.net"), Start::StartTls).unwrap();
            let mut server = Session::server_for(&ours, kind, host).unwrap();
            let (heard_by_client, heard_by_server) = shake(&mut client, &mut server).unwrap();
            assert_eq!(heard_by_client.peer, [ders[shown].clone()], "{sni} {host}");
            let bound = ring::digest::digest(&ring::digest::SHA256, &ders[shown]);
            assert_eq!(heard_by_server.end_point.as_deref(), Some(bound.as_ref()), "{sni} {host}");
        }
    }
}
