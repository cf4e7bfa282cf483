//! The certificate that the server makes for a host that has none.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair, OtherNameValue, SanType};
use time::{Duration, OffsetDateTime};

use super::super::{StartError, directories};
use super::{DAY, unix_seconds};
use crate::config::hosts::host_address;
use crate::net::tls::Certificate;

/// How long it lasts: nobody checks it by its date, so it should not be what breaks.
const DAYS: i64 = 3650;
/// Clocks differ: so long before now it begins.
const EARLY_DAYS: i64 = 1;
/// RFC 6120 §13.7.1.4: `id-on-xmppAddr`.
const XMPP_ADDR: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];

/// Did we make it? Nobody else's lasts exactly so long.
pub fn is_own_make(certificate: &Certificate) -> bool {
    let lasts = certificate.expires_unix_seconds().saturating_sub(certificate.starts_unix_seconds());
    certificate.is_self_signed() && lasts == (DAYS + EARLY_DAYS) * DAY
}

/// Makes a certificate for a host or address and its services, with its key in the same file, mode 0640. `how` tells how to
/// get a real one.
///
/// # Errors
/// The file cannot be written.
pub(super) fn make(
    (host, how): (&str, &str),
    services: &[String],
    path: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), StartError> {
    let place = path.display();
    let pem = self_signed_pem(host, services).map_err(|error| {
        StartError(format!("no certificate can be made for {host} ({error}); name one in jabber.xml"))
    })?;
    write_secret(path, &pem, owner).map_err(|error| {
        StartError(format!(
            "cannot write a certificate for {host} to {place}: {error}; make its directory writable, or name a \
             certificate in jabber.xml"
        ))
    })?;
    log::warn!(target: host,
        "made the certificate {place}, which no client trusts by itself; for a real one: {how}; see jabber.xml(5)"
    );
    Ok(())
}

pub(super) fn self_signed_pem(host: &str, services: &[String]) -> Result<String, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    let mut names = Vec::new();
    match host_address(host) {
        Some(address) => names.push(SanType::IpAddress(address)),
        None => {
            for domain in std::iter::once(host).chain(services.iter().map(String::as_str)) {
                // A DNS name has A-labels (RFC 5280 §7.2), the other one the name as it is.
                if let Ok(name) = idna::domain_to_ascii(domain).unwrap_or_default().try_into() {
                    names.push(SanType::DnsName(name));
                }
                names.push(SanType::OtherName((XMPP_ADDR.to_vec(), OtherNameValue::Utf8String(domain.to_owned()))));
            }
        }
    }
    parameters.subject_alt_names = names;
    parameters.distinguished_name.remove(DnType::CommonName);
    parameters.distinguished_name.push(DnType::CommonName, host);
    let now = OffsetDateTime::from_unix_timestamp(unix_seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    parameters.not_before = now.saturating_sub(Duration::days(EARLY_DAYS));
    parameters.not_after = now.saturating_add(Duration::days(DAYS));
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

/// Writes a whole file or none.
fn write_secret(path: &Path, content: &str, owner: Option<(u32, u32)>) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    if !directory.exists() {
        // Root's own: the server's user reads there, and writes nothing.
        directories::make(directory, 0o750, (None, owner.map(|(_, group)| group)))?;
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new)?;
    file.write_all(content.as_bytes())?;
    if let Some((_, group)) = owner {
        std::os::unix::fs::fchown(&file, None, Some(group))?;
    }
    file.sync_all()?;
    std::fs::rename(&new, path)
}
