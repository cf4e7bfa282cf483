//! DNS: can the world find each host, and does what it finds lead here?

use std::net::IpAddr;

use jabber::config::ListenerKind;
use jabber::net::dns::message::{Kind, Outcome, Service};
use jabber::net::dns::name::Name;
use nix::ifaddrs::getifaddrs;

use super::super::{Code, Failure};
use super::dns::Asker;
use super::{Findings, Subject};

const AREA: &str = "dns";

/// A service as SRV records name it, the kind of port behind it, and the port without a record.
const SERVICES: [(&str, ListenerKind, &str); 4] = [
    ("_xmpp-client._tcp", ListenerKind::C2s, "clients"),
    ("_xmpps-client._tcp", ListenerKind::C2sTls, "clients with TLS from the first byte"),
    ("_xmpp-server._tcp", ListenerKind::S2s, "servers"),
    ("_xmpps-server._tcp", ListenerKind::S2sTls, "servers with TLS from the first byte"),
];

pub(super) fn check(subject: &Subject, server: Option<&str>, findings: &mut Findings) -> Result<(), Failure> {
    let asker = Asker::new(server).map_err(|why| Failure {
        code: Code::Unreachable,
        ..Failure::usage(why).remedy("name it by its address: --dns 192.0.2.53")
    })?;
    let own = local_addresses();
    for host in &subject.config.hosts {
        let name = host.name.trim_matches(['[', ']']);
        match name.parse::<IpAddr>() {
            Ok(address) if is_here(address, &own) => {
                findings.fine(AREA, format!("{name} is an address of this machine"));
            }
            Ok(_) => not_here(name, name, findings),
            Err(_) => domain(subject, &asker, name, &own, findings),
        }
    }
    // An island is looked for by nobody.
    if subject.config.federation.is_some() {
        let domains = subject.config.components.iter().flat_map(|component| &component.hosts);
        domains.filter_map(|domain| Name::new(domain)).for_each(|name| component(&asker, &name, &own, findings));
    }
    Ok(())
}

/// Others come to a component by its own name. Many are for our own people alone, and stand in no DNS.
fn component(asker: &Asker, name: &Name, own: &[IpAddr], findings: &mut Findings) {
    let records = ["_xmpp-server._tcp", "_xmpps-server._tcp"].into_iter().filter_map(|service| name.below(service));
    let mut places = Vec::new();
    for question in records {
        match asker.ask(&question, Kind::Srv) {
            Err(why) => return findings.unknown(AREA, format!("{name} was not looked up: {why}"), UNANSWERED),
            Ok(Outcome::Services(records)) => places.extend(records.into_iter().filter_map(|record| record.target)),
            Ok(_) => {}
        }
    }
    if places.is_empty() {
        places.push(name.clone());
    }
    let mut found = Vec::new();
    for place in &places {
        match asker.addresses(place) {
            Err(why) => return findings.unknown(AREA, format!("{name} was not looked up: {why}"), UNANSWERED),
            Ok(addresses) => found.extend(addresses),
        }
    }
    let all: Vec<String> = found.iter().map(IpAddr::to_string).collect();
    match found.iter().any(|ip| is_here(*ip, own)) {
        true => findings.fine(AREA, format!("{name} (a component) leads here")),
        false if all.is_empty() => {
            findings
                .fine(AREA, format!("{name} (a component) is not in DNS: the people of this server alone reach it"));
        }
        false => not_here(&format!("{name} (a component)"), &all.join(", "), findings),
    }
}

/// What this machine calls its own.
fn local_addresses() -> Vec<IpAddr> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    })
    .collect()
}

fn is_here(address: IpAddr, own: &[IpAddr]) -> bool {
    address.is_loopback() || own.contains(&address)
}

fn not_here(what: &str, address: &str, findings: &mut Findings) {
    findings.warning(
        AREA,
        format!("{what} leads to {address}, which is no address of this machine"),
        "fine behind a router that forwards the ports here; else correct the record at whoever runs your DNS",
    );
}

/// What to do when nobody answers.
const UNANSWERED: &str = "see /etc/resolv.conf; or ask another one: jabberctl check --dns ADDRESS";

fn domain(subject: &Subject, asker: &Asker, host: &str, own: &[IpAddr], findings: &mut Findings) {
    let Some(name) = Name::new(host) else {
        return findings.critical(AREA, format!("{host} is not a name that DNS can have"), "choose another <host>");
    };
    let mut has_records = false;
    for (service, kind, whom) in SERVICES {
        let listens = subject.config.listeners.iter().any(|listener| listener.kind == kind);
        let is_s2s = matches!(kind, ListenerKind::S2s | ListenerKind::S2sTls);
        let Some(question) = name.below(service) else { continue };
        match asker.ask(&question, Kind::Srv) {
            Err(why) => {
                return findings.unknown(AREA, format!("{host} was not looked up: {why}"), UNANSWERED);
            }
            Ok(Outcome::Services(records)) => {
                has_records |= !is_s2s;
                if !listens {
                    findings.warning(
                        AREA,
                        format!("{question} is there, but this server has no port for {whom}"),
                        "take the record away, or add the port to jabber.xml",
                    );
                }
                for record in records {
                    target(subject, asker, &question, &record, (kind, whom), own, findings);
                }
            }
            Ok(_) => {}
        }
    }
    match asker.addresses(&name) {
        Err(why) => findings.unknown(AREA, format!("{host} was not looked up: {why}"), UNANSWERED),
        Ok(found) if found.is_empty() && has_records => {
            findings.fine(AREA, format!("{host} has no address of its own, but SRV records"));
        }
        Ok(found) if found.is_empty() => findings.critical(
            AREA,
            format!("{host} is not in DNS: nobody out there finds this server"),
            format!("add a record at whoever runs your DNS: {name}. A (this machine's address)"),
        ),
        Ok(found) => {
            let here: Vec<String> = found.iter().filter(|ip| is_here(**ip, own)).map(IpAddr::to_string).collect();
            match here.is_empty() {
                false => {
                    findings.fine(AREA, format!("{host} leads here: {}", here.join(", ")));
                    if !has_records {
                        elsewhere(host, &found, own, findings);
                    }
                }
                true if has_records => {
                    findings.fine(AREA, format!("{host} has another machine's address, but SRV records"));
                }
                true => {
                    let all: Vec<String> = found.iter().map(IpAddr::to_string).collect();
                    not_here(host, &all.join(", "), findings);
                }
            }
            if !has_records {
                default_ports(subject, host, &name, findings);
            }
        }
    }
}

/// Without records everybody comes to the usual ports.
fn default_ports(subject: &Subject, host: &str, name: &Name, findings: &mut Findings) {
    for (kind, port, whom, service) in [
        (ListenerKind::C2s, 5222, "clients", "_xmpp-client._tcp"),
        (ListenerKind::S2s, 5269, "servers", "_xmpp-server._tcp"),
    ] {
        let ports: Vec<u16> =
            subject.config.listeners.iter().filter(|listener| listener.kind == kind).map(|l| l.port).collect();
        if let Some(other) = ports.first().filter(|_| !ports.contains(&port)) {
            findings.warning(
                AREA,
                format!("{whom} come to port {port} of {host}, but this server has {other} for them"),
                format!("add an SRV record: {service}.{name}. SRV 0 5 {other} {name}."),
            );
        }
    }
}

fn target(
    subject: &Subject,
    asker: &Asker,
    question: &Name,
    record: &Service,
    (kind, whom): (ListenerKind, &str),
    own: &[IpAddr],
    findings: &mut Findings,
) {
    let Some(name) = &record.target else {
        return findings.warning(
            AREA,
            format!("{question} says that there is no service for {whom}"),
            "if there shall be one, name this machine in the record",
        );
    };
    let (port, shown) = (record.port, format!("{question}: {name}, port {}", record.port));
    match asker.addresses(name) {
        Err(why) => findings.unknown(AREA, format!("{shown} was not looked up: {why}"), UNANSWERED),
        Ok(found) if found.is_empty() => {
            findings.critical(AREA, format!("{shown}: {name} has no address"), format!("add one: {name}. A (address)"));
        }
        Ok(found) if !found.iter().any(|ip| is_here(*ip, own)) => {
            let all: Vec<String> = found.iter().map(IpAddr::to_string).collect();
            not_here(&shown, &all.join(", "), findings);
        }
        Ok(_) if !subject.config.listeners.iter().any(|l| l.kind == kind && l.port == port) => findings.warning(
            AREA,
            format!("{shown}: this server has no port {port} for {whom}"),
            "correct the record, or the port in jabber.xml",
        ),
        Ok(found) => {
            findings.fine(AREA, format!("{shown}, leads here"));
            elsewhere(&shown, &found, own, findings);
        }
    }
}

/// Some addresses are ours and some are not: who tries those first waits, or is lost.
fn elsewhere(what: &str, found: &[IpAddr], own: &[IpAddr], findings: &mut Findings) {
    let others: Vec<String> = found.iter().filter(|ip| !is_here(**ip, own)).map(IpAddr::to_string).collect();
    if !others.is_empty() {
        findings.warning(
            AREA,
            format!("{what} leads to {}, too, which is no address of this machine", others.join(", ")),
            "fine if a router or a second server is there; else take that record away",
        );
    }
}
