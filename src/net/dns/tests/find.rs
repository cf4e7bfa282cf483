//! Domains, and what a scripted DNS says about them.

use std::collections::HashMap;

use super::super::Bounds;
use super::super::find::Resolver;
use super::super::found::{Candidate, FindError};
use super::super::lookups::Action;
use super::super::message::Kind;
use super::super::settings::Settings;
use super::{Answer, Dice, NXDOMAIN, Rr, asked, at};

/// What the scripted DNS does with a name.
#[derive(Clone)]
pub enum Says {
    Records(Vec<Rr>),
    Rcode(u16),
    Nothing,
}

/// A DNS that knows these names; of all others it says that they do not exist.
#[derive(Default)]
pub struct Zone(HashMap<(String, Kind), Says>);

impl Zone {
    fn says(mut self, name: &str, kind: Kind, says: Says) -> Zone {
        self.0.insert((name.to_owned(), kind), says);
        self
    }

    fn address(self, name: &str, address: &str) -> Zone {
        let (kind, other) = if address.contains(':') { (Kind::Aaaa, Kind::A) } else { (Kind::A, Kind::Aaaa) };
        let mut zone = self.says(name, kind, Says::Records(vec![Rr::a(name, 60, address)]));
        zone.0.entry((name.to_owned(), other)).or_insert(Says::Rcode(0));
        zone
    }

    fn srv(mut self, service: &str, domain: &str, priority: u16, port: u16, target: &str) -> Zone {
        let name = format!("{service}._tcp.{domain}");
        let record = Rr::srv(&name, 60, priority, 0, port, target);
        match self.0.entry((name, Kind::Srv)).or_insert(Says::Records(Vec::new())) {
            Says::Records(records) => records.push(record),
            _ => panic!("no records there"),
        }
        self
    }

    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let question = asked(query);
        match self.0.get(&(question.name.to_string(), question.kind)) {
            Some(Says::Records(records)) => Some(Answer::to(query).with(records).bytes()),
            Some(Says::Rcode(rcode)) => Some(Answer::to(query).nothing(*rcode, &[]).bytes()),
            Some(Says::Nothing) => None,
            None => Some(Answer::to(query).nothing(NXDOMAIN, &[]).bytes()),
        }
    }
}

/// Looks for a domain; also says how many questions that took, and how long.
fn find(zone: &Zone, domain: &str, services: &[&str]) -> (Result<Vec<Candidate>, FindError>, Vec<String>, u64) {
    let settings = Settings::read("nameserver 192.0.2.53", "192.0.2.77 pinned.example", &|_| None);
    let mut resolver = Resolver::new(settings, Bounds::new(3600));
    let services: Vec<String> = services.iter().map(ToString::to_string).collect();
    let (mut dice, mut millis, mut questions) = (Dice::new(5), 0, Vec::new());
    resolver.find(at(millis), &mut dice, 42, domain, &services);
    loop {
        loop {
            let actions = resolver.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                let Action::Ask { exchange, bytes, .. } = action else { continue };
                questions.push(asked(&bytes).name.to_string());
                if let Some(answer) = zone.answer(&bytes) {
                    resolver.received(at(millis), &mut dice, exchange, &answer);
                }
            }
        }
        let mut found = resolver.take_found();
        if let Some((ticket, result)) = found.pop() {
            assert!(ticket == 42 && found.is_empty());
            return (result, questions, millis);
        }
        // The scripted DNS answers at once: what it was not asked now waits for time to pass.
        millis = resolver.next_deadline().expect("nothing to wait for").max(millis);
        resolver.timeout(at(millis), &mut dice);
    }
}

/// Candidates as text: `target:port addresses`, direct TLS with a `!` before it.
fn shown(result: &Result<Vec<Candidate>, FindError>) -> String {
    match result {
        Err(error) => error.to_string(),
        Ok(candidates) => {
            let one = |candidate: &Candidate| {
                let addresses: Vec<String> = candidate.addresses.iter().map(ToString::to_string).collect();
                let mark = if candidate.direct_tls { "!" } else { "" };
                format!("{mark}{}:{} {}", candidate.target, candidate.port, addresses.join(","))
            };
            candidates.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    }
}

#[test]
fn domains() {
    let zone = || Zone::default().address("montague.net", "192.0.2.1");
    let hosts =
        || zone().address("a.host", "192.0.2.11").address("b.host", "192.0.2.12").address("b.host6", "2001:db8::1");
    let aliased = Rr::cname("b.alias", 60, "b.host");
    let rows: Vec<(Zone, &str)> = vec![
        (zone(), "montague.net:5269 192.0.2.1"),
        (
            zone().address("montague.net", "2001:db8::1").address("montague.net", "192.0.2.1"),
            "montague.net:5269 2001:db8::1,192.0.2.1",
        ),
        (hosts().srv("_xmpp-server", "montague.net", 5, 5270, "a.host"), "a.host:5270 192.0.2.11"),
        (
            hosts()
                .srv("_xmpp-server", "montague.net", 30, 5269, "a.host")
                .srv("_xmpp-server", "montague.net", 10, 5269, "b.host")
                .srv("_xmpps-server", "montague.net", 20, 5270, "a.host"),
            "b.host:5269 192.0.2.12; !a.host:5270 192.0.2.11; a.host:5269 192.0.2.11",
        ),
        // Direct TLS is said not to be there: STARTTLS is.
        (
            hosts().srv("_xmpps-server", "montague.net", 0, 0, "").srv(
                "_xmpp-server",
                "montague.net",
                1,
                5269,
                "a.host",
            ),
            "a.host:5269 192.0.2.11",
        ),
        // And where it stands alone, the domain's own addresses are not tried.
        (zone().srv("_xmpps-server", "montague.net", 0, 0, ""), "montague.net says that it has no XMPP server"),
        (zone().srv("_xmpp-server", "montague.net", 0, 0, ""), "montague.net says that it has no XMPP server"),
        (hosts().srv("_jabber", "montague.net", 0, 5269, "a.host"), "a.host:5269 192.0.2.11"),
        // RFC 6120 §3.2.1: services that exist but lead nowhere are no reason to try the domain's own addresses.
        (
            zone().srv("_xmpp-server", "montague.net", 0, 5269, "no.host"),
            "the SRV records of montague.net name no.host: no address for that",
        ),
        (
            hosts().srv("_xmpp-server", "montague.net", 0, 5269, "no.host").srv(
                "_xmpp-server",
                "montague.net",
                1,
                1,
                "a.host",
            ),
            "a.host:1 192.0.2.11",
        ),
        // A target may have an alias, in spite of RFC 2782.
        (
            hosts().srv("_xmpp-server", "montague.net", 0, 5269, "b.alias").says(
                "b.alias",
                Kind::A,
                Says::Records(vec![aliased, Rr::a("b.host", 60, "192.0.2.12")]),
            ),
            "b.alias:5269 192.0.2.12",
        ),
        // An address of a target that comes with the SRV record is not believed.
        (
            zone().says(
                "_xmpp-server._tcp.montague.net",
                Kind::Srv,
                Says::Records(vec![
                    Rr::srv("_xmpp-server._tcp.montague.net", 60, 0, 0, 5269, "c.host"),
                    Rr::a("c.host", 60, "192.0.2.66"),
                ]),
            ),
            "the SRV records of montague.net name c.host: no address for that",
        ),
        (Zone::default(), "montague.net does not exist"),
        (
            Zone::default().says("montague.net", Kind::A, Says::Rcode(0)).says(
                "montague.net",
                Kind::Aaaa,
                Says::Rcode(0),
            ),
            "no SRV and no address for montague.net",
        ),
        (zone().says("_xmpp-server._tcp.montague.net", Kind::Srv, Says::Rcode(2)), "montague.net:5269 192.0.2.1"),
        (
            Zone::default().says("_xmpp-server._tcp.montague.net", Kind::Srv, Says::Rcode(2)),
            "montague.net was not found: the DNS server 192.0.2.53 says SERVFAIL",
        ),
        (
            hosts().srv("_xmpps-server", "montague.net", 1, 5270, "a.host").says(
                "_xmpp-server._tcp.montague.net",
                Kind::Srv,
                Says::Rcode(5),
            ),
            "!a.host:5270 192.0.2.11",
        ),
        (zone().says("montague.net", Kind::Aaaa, Says::Rcode(2)), "montague.net:5269 192.0.2.1"),
        (zone().srv("_xmpp-server", "montague.net", 1, 0, "a.host"), "montague.net says that it has no XMPP server"),
        // Addresses that are nobody's.
        (Zone::default().address("montague.net", "0.0.0.0"), "no SRV and no address for montague.net"),
        (Zone::default().address("montague.net", "224.0.0.1"), "no SRV and no address for montague.net"),
        (Zone::default().address("montague.net", "::ffff:0.0.0.0"), "no SRV and no address for montague.net"),
        (Zone::default().address("montague.net", "::ffff:192.0.2.1"), "montague.net:5269 192.0.2.1"),
    ];
    for (row, (zone, expected)) in rows.iter().enumerate() {
        let (result, _, millis) = find(zone, "Montague.net", &[]);
        assert_eq!((shown(&result).as_str(), millis), (*expected, 0), "row {row}");
    }
}

#[test]
fn configured_services() {
    let zone = Zone::default().address("montague.net", "192.0.2.1").address("a.host", "192.0.2.11").srv(
        "_jabber",
        "montague.net",
        1,
        5269,
        "a.host",
    );
    for (services, expected, questions) in [
        (&["_xmpp-server._tcp"][..], "no SRV and no address for montague.net", 1),
        (&["_xmpp-server._tcp", "_jabber._tcp", ""], "a.host:5269 192.0.2.11", 4),
        (&[""], "montague.net:5269 192.0.2.1", 2),
        (&["_no such._tcp", ""], "montague.net:5269 192.0.2.1", 2),
        (
            &["_a", "_b", "_c", "_d", "_e", "_f", "_g", "_h", "_jabber._tcp"],
            "no SRV and no address for montague.net",
            8,
        ),
    ] {
        let (result, asked, _) = find(&zone, "montague.net", services);
        assert_eq!((shown(&result).as_str(), asked.len()), (expected, questions), "{services:?}");
    }
}

#[test]
fn what_needs_no_dns() {
    for (domain, expected, questions) in [
        ("192.0.2.9", "192.0.2.9:5269 192.0.2.9", 0),
        ("[2001:db8::9]", "[2001:db8::9]:5269 2001:db8::9", 0),
        ("2001:db8::9", "2001:db8::9:5269 2001:db8::9", 0),
        ("localhost", "localhost:5269 ::1,127.0.0.1", 0),
        ("a..b", "\"a..b\" is not a name that DNS can have", 0),
        ("evil\n.example", "\"evil\\n.example\" is not a name that DNS can have", 0),
        ("montague.onion", "montague.onion does not exist", 0),
        ("montague.invalid", "montague.invalid does not exist", 0),
        ("pinned.example", "pinned.example:5269 192.0.2.77", 3),
        ("münchen.example", "xn--mnchen-3ya.example does not exist", 5),
    ] {
        let (result, asked, _) = find(&Zone::default(), domain, &[]);
        assert_eq!((shown(&result).as_str(), asked.len()), (expected, questions), "{domain}");
    }
}

#[test]
fn silence_is_bounded() {
    let silent = |zone: Zone, names: &[(&str, Kind)]| {
        names.iter().fold(zone, |zone, (name, kind)| zone.says(name, *kind, Says::Nothing))
    };
    let services = [("_xmpp-server._tcp.montague.net", Kind::Srv), ("_xmpps-server._tcp.montague.net", Kind::Srv)];
    let all = [&services[..], &[("montague.net", Kind::A), ("montague.net", Kind::Aaaa)]].concat();
    let host = Zone::default().address("montague.net", "192.0.2.1").address("a.host", "192.0.2.11");
    let direct = host.srv("_xmpps-server", "montague.net", 1, 5270, "a.host");
    let plain = || Zone::default().address("montague.net", "192.0.2.1");
    for (zone, expected, takes) in [
        (silent(Zone::default(), &all), "montague.net was not found: the DNS server 192.0.2.53 did not answer", 20_000),
        // Some filters drop questions for SRV.
        (silent(plain(), &services), "montague.net:5269 192.0.2.1", 10_000),
        // Who has a way waits only a little for more.
        (silent(direct, &services[..1]), "!a.host:5270 192.0.2.11", 3000),
        (silent(plain(), &[("montague.net", Kind::Aaaa)]), "montague.net:5269 192.0.2.1", 3000),
    ] {
        let (result, _, millis) = find(&zone, "montague.net", &[]);
        assert_eq!((shown(&result).as_str(), millis), (expected, takes));
    }
}

#[test]
fn crowds_are_cut() {
    let mut zone = Zone::default();
    let mut addresses = Vec::new();
    for number in 0..30 {
        zone = zone.srv("_xmpp-server", "montague.net", number, 5269, &format!("{number}.host"));
        addresses.push(Rr::a("0.host", 60, &format!("192.0.2.{number}")));
        zone = zone.address(&format!("{number}.host"), "192.0.2.1");
    }
    zone = zone.says("0.host", Kind::A, Says::Records(addresses));
    let (result, asked, _) = find(&zone, "montague.net", &[]);
    let candidates = result.unwrap();
    assert_eq!((candidates.len(), candidates[0].addresses.len(), asked.len()), (16, 8, 2 + 32));
    assert_eq!((candidates[0].addresses[0], candidates[0].port), ("192.0.2.0".parse().unwrap(), 5269));
}

#[test]
fn many_at_once_are_refused_in_time() {
    let bounds = Bounds { finds: 3, ..Bounds::new(3600) };
    let mut resolver = Resolver::new(Settings::default(), bounds);
    let mut dice = Dice::new(2);
    for ticket in 0..5 {
        resolver.find(at(0), &mut dice, ticket, "montague.net", &[]);
    }
    let found = resolver.take_found();
    assert_eq!(found.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [3, 4]);
    let text = found[0].1.as_ref().unwrap_err().to_string();
    assert_eq!(text, "montague.net was not found: too many DNS look-ups wait already");
    while let Some(deadline) = resolver.next_deadline() {
        resolver.timeout(at(deadline), &mut dice);
    }
    assert_eq!(resolver.take_found().len(), 3);
    resolver.find(at(20_000), &mut dice, 9, "montague.net", &[]);
    assert_eq!(resolver.take_found().len(), 1, "the failure is still known");
}
