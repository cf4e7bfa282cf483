//! The names in a certificate (RFC 6120 §13.7.1.2): DNS-ID, SRV-ID, xmppAddr, and addresses for domains that are one.
//!
//! The subject's common name is not looked at (RFC 9525 §2): it is free text.

use std::net::IpAddr;

use x509_parser::asn1_rs::{Any, Class, Tag};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// RFC 4985 §2: id-on-dnsSRV.
const SRV_NAME: &str = "1.3.6.1.5.5.7.8.7";
/// RFC 6120 §13.7.1.4: id-on-xmppAddr.
const XMPP_ADDR: &str = "1.3.6.1.5.5.7.8.5";
/// RFC 4985 §2: the start of a name for the service of a server.
const SERVICE: &str = "_xmpp-server.";
/// Characters of a certificate's own words that go into a log line.
const PRINTED_MAX: usize = 160;

/// A name that a certificate is for.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// DNS-ID, or what an SRV-ID says behind the service: the whole first label may be `*`.
    Host(String),
    /// xmppAddr: a bare domainpart, as the user sees it.
    Domain(String),
    Address(IpAddr),
    /// An SRV-ID of another service, kept for the log.
    Other(String),
}

/// Is one of the certificate's names the domain?
pub(super) fn check(certificate: &X509Certificate<'_>, domain: &str) -> Result<(), String> {
    let names = names(certificate)?;
    let address = domain.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let ascii = ascii(domain);
    let fits = |name: &Name| match name {
        Name::Host(name) => address.is_none() && covers(name, &ascii),
        Name::Domain(name) => self::ascii(name) == ascii,
        Name::Address(name) => Some(*name) == address,
        Name::Other(_) => false,
    };
    if names.iter().any(fits) {
        return Ok(());
    }
    if names.is_empty() {
        return Err(format!("certificate names no domain, so it is not for {domain} (a common name does not count)"));
    }
    let mut said: Vec<String> = Vec::new();
    for name in &names {
        let text = match name {
            Name::Host(name) | Name::Domain(name) | Name::Other(name) => name.clone(),
            Name::Address(address) => address.to_string(),
        };
        if !said.contains(&text) {
            said.push(text);
        }
    }
    Err(format!("certificate is for {}, not {domain}", printable(&said.join(", "))))
}

/// RFC 6120 §13.7.1.2.1 with RFC 9525 §6.3: letters of either case, and `*` only as the whole first label, for exactly
/// one label, and above something that is not a top-level domain.
fn covers(name: &str, domain: &str) -> bool {
    let Some(parent) = name.strip_prefix("*.") else { return name.eq_ignore_ascii_case(domain) };
    let Some((label, rest)) = domain.split_once('.') else { return false };
    !label.is_empty() && parent.contains('.') && parent.eq_ignore_ascii_case(rest)
}

/// A domain as DNS and certificates write it: A-labels, in lower case (RFC 9525 §6.3).
fn ascii(domain: &str) -> String {
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase())
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<Name>, String> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|error| format!("certificate's names cannot be read: {error}"))?;
    let Some(extension) = extension else { return Ok(Vec::new()) };
    Ok(extension.value.general_names.iter().filter_map(name).collect())
}

fn name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(name) => Some(Name::Host((*name).to_owned())),
        GeneralName::IPAddress(octets) => <[u8; 4]>::try_from(*octets)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*octets).map(IpAddr::from))
            .ok()
            .map(Name::Address),
        GeneralName::OtherName(kind, value) => match kind.to_id_string().as_str() {
            SRV_NAME => text(value).map(|name| match strip_service(&name) {
                Some(host) => Name::Host(host.to_owned()),
                None => Name::Other(name),
            }),
            XMPP_ADDR => text(value).map(Name::Domain),
            _ => None,
        },
        _ => None,
    }
}

fn strip_service(name: &str) -> Option<&str> {
    let (service, host) = name.split_at_checked(SERVICE.len())?;
    service.eq_ignore_ascii_case(SERVICE).then_some(host)
}

/// The string in an otherName, under its explicit tag: IA5String in an SRV-ID, UTF8String in an xmppAddr.
/// Compat: some tools write either as the other.
fn text(value: &[u8]) -> Option<String> {
    let (_, tagged) = Any::from_der(value).ok()?;
    if tagged.class() != Class::ContextSpecific || tagged.tag() != Tag(0) {
        return None;
    }
    let (_, string) = Any::from_der(tagged.data).ok()?;
    if !matches!(string.tag(), Tag::Ia5String | Tag::Utf8String) {
        return None;
    }
    std::str::from_utf8(string.data).ok().map(str::to_owned)
}

/// A stranger's words, made fit for one line of a log.
pub(super) fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let mut short: String = text.chars().take(PRINTED_MAX).map(clean).collect();
    if text.chars().nth(PRINTED_MAX).is_some() {
        short.push('…');
    }
    short
}
