//! `<io>`: who may connect, certificates, and what holds for all sockets.

use super::access::{Access, Karma, Network, Rate};
use super::certificates::{AuthorityFile, CertificateSource};
use super::hosts::host_name;
use super::pthcsock;
use super::reading::{Reading, Refusal};
use super::tree::Tree;

const KNOWN: &[&str] = &["allow", "announce", "bind", "bounce", "deny", "karma", "rate", "ssl", "tls"];

/// What `<io>` says.
#[derive(Default)]
pub(super) struct Io {
    pub(super) access: Access,
    pub(super) certificates: Vec<CertificateSource>,
    pub(super) authorities: Vec<AuthorityFile>,
    pub(super) rate: Option<Rate>,
    pub(super) karma: Option<Karma>,
    pub(super) bind: Vec<std::net::IpAddr>,
    pub(super) bounce: Option<String>,
}

/// Reads one `<io>`; several add up.
pub(super) fn read(reading: &mut Reading, tree: &Tree, io: &mut Io) {
    reading.stray_text(tree);
    for child in tree.children() {
        match child.name.as_str() {
            _ if child.is_own() => reading.unknown(child, "<io>", &[]),
            "allow" => io.access.allow.extend(access_network(reading, child)),
            "deny" => io.access.deny.extend(access_network(reading, child)),
            "karma" => io.karma = pthcsock::karma(reading, child),
            "rate" => io.rate = pthcsock::rate(reading, child),
            "ssl" => ssl(reading, child, io),
            "tls" => tls(reading, child, io),
            "bind" => io.bind.extend(reading.address(&child.place, &child.text())),
            "bounce" => io.bounce = bounce(reading, child),
            "announce" => {}
            _ => reading.unknown(child, "<io>", KNOWN),
        }
    }
}

/// The page of `<bounce>`: it stands in a header of HTTP.
fn bounce(reading: &mut Reading, tree: &Tree) -> Option<String> {
    let url = tree.text();
    let is_header = |c: char| c.is_ascii_graphic();
    if url.is_empty() || !url.chars().all(is_header) || !(url.starts_with("http://") || url.starts_with("https://")) {
        reading.warn(&tree.place, format!("\"{url}\" in <bounce> is no address of a web page: ignored"));
        return None;
    }
    Some(url)
}

/// `<ip>` and `<mask>`. A rule that cannot be understood refuses the start: leaving it out would let people in or out.
fn access_network(reading: &mut Reading, tree: &Tree) -> Option<Network> {
    let ip = tree.child_text("ip").unwrap_or_else(|| tree.text());
    let mask = tree.child_text("mask").filter(|mask| !mask.is_empty());
    let network = match (&mask, Network::parse(&ip)) {
        (None, network) => network,
        (Some(mask), _) => {
            let address = ip.trim().trim_start_matches('[').trim_end_matches(']').parse();
            address.ok().and_then(|address| Network::masked(address, mask))
        }
    };
    if network.is_none() {
        let found = match &mask {
            Some(mask) => format!("<ip>{ip}</ip> with <mask>{mask}</mask>"),
            None => format!("<ip>{ip}</ip>"),
        };
        reading.refuse(
            &tree.place,
            Refusal {
                what: &format!("<{}> names no address", tree.name),
                found: &found,
                expected: "<ip>192.0.2.0</ip><mask>255.255.255.0</mask>, or <ip>192.0.2.7</ip>",
                remedy: "correct the address; left out, the rule would change who may connect",
            },
        );
    }
    network
}

/// 1.4's `<ssl>`: PEM files with certificate and key in one.
fn ssl(reading: &mut Reading, tree: &Tree, io: &mut Io) {
    reading.stray_text(tree);
    for child in tree.children() {
        if child.name != "key" {
            reading.unknown(child, "<ssl>", &["key"]);
            continue;
        }
        let file = child.text();
        if file.is_empty() {
            refuse_nameless(reading, child, "<key id=\"chat.example.org\">/etc/jabber/server.pem</key>");
            continue;
        }
        let path = reading.path(&file);
        let mut source = CertificateSource {
            domains: Vec::new(),
            addresses: Vec::new(),
            is_default: false,
            certificate: path.clone(),
            key: path,
            place: Some(child.place.clone()),
        };
        if let Some(ip) = child.attribute("ip") {
            // In 1.4.3 this was the only way to name a certificate, so it serves everybody whom no other fits.
            source.is_default = true;
            source.addresses.extend(reading.address(&child.place, ip));
        }
        match child.attribute("id").map(str::trim) {
            Some("*") => source.is_default = true,
            Some(id) => name_or_address(reading, child, id, &mut source),
            None if child.attribute("ip").is_none() => source.is_default = true,
            None => {}
        }
        let old = ["no-ssl-v2", "no-ssl-v3", "no-tls-v1", "enable-workarounds", "ciphers"];
        if let Some(name) = old.iter().find(|name| child.attribute(name).is_some()) {
            reading.notice(&child.place, format!("{name}= has no effect: TLS 1.2 and 1.3 with safe ciphers only"));
        }
        io.certificates.push(source);
    }
}

fn name_or_address(reading: &mut Reading, tree: &Tree, id: &str, source: &mut CertificateSource) {
    match host_name(id) {
        Ok(name) => {
            source.addresses.extend(super::hosts::host_address(&name));
            source.domains.push(name);
        }
        Err(why) => reading.warn(&tree.place, format!("\"{id}\" is not a host name ({why}): ignored")),
    }
}

fn refuse_nameless(reading: &mut Reading, tree: &Tree, expected: &str) {
    reading.refuse(
        &tree.place,
        Refusal {
            what: &format!("<{}> names no file", tree.name),
            found: &format!("<{}/> without a file name", tree.name),
            expected,
            remedy: "name the PEM file, or delete the element: jabberd then makes a certificate by itself",
        },
    );
}

/// 1.6's `<tls>`.
fn tls(reading: &mut Reading, tree: &Tree, io: &mut Io) {
    reading.stray_text(tree);
    for child in tree.children() {
        match child.name.as_str() {
            "credentials" => credentials(reading, child, io),
            "cacertfile" => io.authorities.extend(authorities(reading, child)),
            "dhparams" | "crlfile" => reading.without_effect(child, "rustls has no use for it"),
            "key" => {
                let ns = super::OWN_NS;
                reading.warn(&child.place, format!("<key> belongs into <ssl>; see also <certificate xmlns=\"{ns}\">"));
            }
            _ => reading.unknown(child, "<tls>", &["credentials", "cacertfile", "dhparams", "crlfile"]),
        }
    }
}

/// `<cacertfile>`, `<ca>`: certificates to trust.
fn authorities(reading: &mut Reading, tree: &Tree) -> Option<AuthorityFile> {
    if tree.text().is_empty() {
        let name = &tree.name;
        reading
            .warn(&tree.place, format!("<{name}> names no file: ignored; write <{name}>/etc/jabber/ca.pem</{name}>"));
        return None;
    }
    Some(AuthorityFile { path: reading.path(&tree.text()), place: tree.place.clone() })
}

fn credentials(reading: &mut Reading, tree: &Tree, io: &mut Io) {
    reading.stray_text(tree);
    let mut domains = CertificateSource {
        domains: Vec::new(),
        addresses: Vec::new(),
        is_default: false,
        certificate: std::path::PathBuf::new(),
        key: std::path::PathBuf::new(),
        place: Some(tree.place.clone()),
    };
    let mut files = Vec::new();
    for child in tree.children() {
        match child.name.as_str() {
            "default" => domains.is_default = true,
            "domain" => name_or_address(reading, child, &child.text(), &mut domains),
            "pem" if child.text().is_empty() => {
                refuse_nameless(reading, child, "<pem private-key=\"/etc/jabber/key.pem\">/etc/jabber/cert.pem</pem>");
            }
            "pem" => {
                let certificate = reading.path(&child.text());
                let key = child.attribute("private-key").map(|key| reading.path(key));
                files.push((certificate.clone(), key.unwrap_or(certificate), child.place.clone()));
            }
            "ca" => io.authorities.extend(authorities(reading, child)),
            "der" | "openpgp" | "keyring" | "trustdb" => {
                reading.warn(&child.place, format!("<{}> cannot be read: convert it to PEM, <pem>", child.name));
            }
            "protocols" | "kx" | "ciphers" | "compression" | "mac" | "certtypes" => {
                reading.without_effect(child, "TLS 1.2 and 1.3 with safe ciphers only");
            }
            _ => {
                let known = &["default", "domain", "pem", "ca", "der", "ciphers", "protocols"];
                reading.unknown(child, "<credentials>", known);
            }
        }
    }
    if domains.domains.is_empty() {
        domains.is_default = true;
    }
    for (certificate, key, place) in files {
        io.certificates.push(CertificateSource { certificate, key, place: Some(place), ..domains.clone() });
    }
}
