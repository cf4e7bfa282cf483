//! The resolver over loopback, with a small DNS server in a thread of the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mio::{Events, Poll};

use super::super::files::Files;
use super::super::found::{Candidate, FindError};
use super::super::message::Kind;
use super::super::sockets::Dns;
use super::{Answer, NXDOMAIN, Rr, TC, asked};
use crate::net::clock::{Clock, Dice};

const FIRST: usize = 7;

/// Answers over UDP and TCP on one port; tells the source ports of the datagrams it got.
fn serve(truncates: bool) -> (SocketAddr, Receiver<SocketAddr>) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).unwrap();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let mut answer = answer(&buffer[..length]);
            let mut forged = answer.clone();
            forged.id ^= 0x4000;
            udp.send_to(&forged.bytes(), from).unwrap();
            // From another socket: the kernel does not let it in.
            UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&answer.bytes(), from).unwrap();
            if truncates {
                answer.answers.clear();
                answer.flags |= TC;
            }
            // Before the answer: whoever has it looks here.
            let _ = tell.send(from);
            udp.send_to(&answer.bytes(), from).unwrap();
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let bytes = answer(&query).bytes();
            let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
            // In pieces.
            for piece in framed.chunks(11) {
                stream.write_all(piece).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    (address, told)
}

fn answer(query: &[u8]) -> Answer {
    let question = asked(query);
    let name = question.name.as_str();
    match (name, question.kind) {
        ("_xmpp-server._tcp.montague.net", Kind::Srv) => {
            Answer::to(query).with(&[Rr::srv(name, 60, 1, 1, 5270, "xmpp.montague.net")])
        }
        ("xmpp.montague.net", Kind::A) => Answer::to(query).with(&[Rr::a(name, 60, "192.0.2.1")]),
        ("xmpp.montague.net", Kind::Aaaa) => Answer::to(query).with(&[Rr::a(name, 60, "2001:db8::1")]),
        _ => Answer::to(query).nothing(NXDOMAIN, &[]),
    }
}

/// A resolver, and the file that names its servers, for as long as it is in use.
struct Scratch(Dns, std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_file(&self.1).unwrap();
    }
}

/// A resolver that asks these servers.
fn dns(servers: &[SocketAddr], options: &str) -> Scratch {
    static SERIAL: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("jabber-dns-{}-{serial}", std::process::id()));
    let lines = servers.iter().map(|server| format!("nameserver [{}]:{}\n", server.ip(), server.port()));
    std::fs::write(&file, lines.collect::<String>() + options).unwrap();
    Scratch(Dns::new(FIRST, 3600, Files::new(&file, "/nonexistent")), file)
}

/// Looks for a domain, as the loop would.
fn find(Scratch(dns, _): &mut Scratch, domain: &str) -> Result<Vec<Candidate>, FindError> {
    let mut poll = Poll::new().unwrap();
    let (clock, mut dice, mut events) = (Clock::new(), Dice::new(), Events::with_capacity(64));
    dns.find(poll.registry(), clock.now(), &mut dice, 1, domain, &[]);
    loop {
        if let Some((ticket, result)) = dns.take_found().pop() {
            assert_eq!(ticket, 1);
            return result;
        }
        let now = clock.now().monotonic_millis;
        let timeout = dns.next_deadline().map(|at| Duration::from_millis(at.saturating_sub(now)));
        poll.poll(&mut events, timeout.or(Some(Duration::from_secs(20)))).unwrap();
        for event in &events {
            assert!(dns.owns(event.token()));
            dns.handle_event(poll.registry(), clock.now(), &mut dice, event);
        }
        dns.poll_timeouts(poll.registry(), clock.now(), &mut dice);
    }
}

fn montague() -> Candidate {
    let addresses = vec!["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
    Candidate { direct_tls: false, target: "xmpp.montague.net".to_owned(), port: 5270, addresses }
}

#[test]
fn over_udp_from_a_new_port_each_time() {
    let (server, told) = serve(false);
    // A slow machine must not make it ask twice.
    let mut dns = dns(&[server], "options timeout:30");
    assert_eq!(find(&mut dns, "montague.net"), Ok(vec![montague()]));
    let mut ports: Vec<u16> = told.try_iter().map(|from| from.port()).collect();
    // Four questions; the system may give a port a second time by chance.
    assert_eq!(ports.len(), 4, "{ports:?}");
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() >= 3, "{ports:?}");
    assert_eq!(find(&mut dns, "montague.net"), Ok(vec![montague()]));
    assert_eq!(told.try_iter().count(), 0, "all was known");
    assert_eq!(find(&mut dns, "capulet.com"), Err(FindError::NoDomain("capulet.com".to_owned())));
    assert_eq!(dns.0.next_deadline(), None);
}

#[test]
fn over_tcp_when_it_does_not_fit() {
    let (server, _told) = serve(true);
    assert_eq!(find(&mut dns(&[server], ""), "montague.net"), Ok(vec![montague()]));
}

#[test]
fn a_dead_server_first() {
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (server, _told) = serve(false);
    assert_eq!(find(&mut dns(&[dead, server], ""), "montague.net"), Ok(vec![montague()]));
    let error = find(&mut dns(&[dead], ""), "montague.net").unwrap_err();
    assert_eq!(error.to_string(), format!("montague.net was not found: the DNS server {dead} refuses questions"));
    assert!(error.is_temporary());
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mute_address = mute.local_addr().unwrap();
    let error = find(&mut dns(&[mute_address], "options timeout:1 attempts:1"), "montague.net").unwrap_err();
    assert_eq!(error.to_string(), format!("montague.net was not found: the DNS server {mute_address} did not answer"));
}
