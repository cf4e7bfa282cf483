//! Certificates: is there one for each host, is it trusted, for how long, and can the server read it?

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jabber::config::certificates::how_to_get;
use jabber::config::{CertificateSource, Config};
use jabber::daemon::authorities;
use jabber::net::tls::Certificate;
use jabber::stream::certificate::Trust as _;
use jabber::xmpp::Now;
use nix::unistd::AccessFlags;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::access::{self, AS_ROOT, Answer, MAKE};
use super::files::is_read_only;
use super::{Findings, Level, Subject};

const AREA: &str = "certificates";
const DAY: i64 = 86_400;
/// Days before the end at which it is bad, and very bad.
const DAYS: (i64, i64) = (21, 3);

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    for host in &subject.config.hosts {
        of_host(subject, &host.name, findings);
    }
}

/// The first that is there, as the server looks for it.
fn of_host(subject: &Subject, host: &str, findings: &mut Findings) {
    let own = subject.config.self_made_certificate(host);
    for source in &subject.config.certificates_of(host) {
        match fs::metadata(&source.certificate) {
            Err(error) if error.kind() == ErrorKind::NotFound && source.place.is_none() => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let shown = source.certificate.display();
                let text = format!("{host}: whether there is a certificate {shown} cannot be seen by you");
                return findings.unknown(AREA, text, AS_ROOT);
            }
            _ => return one(subject, host, source, source.certificate == own.certificate, findings),
        }
    }
    let place = own.certificate.parent().unwrap_or(Path::new("/"));
    let around = place.ancestors().find(|around| around.is_dir()).unwrap_or(Path::new("/"));
    let what = "the place for self-made certificates ";
    if is_read_only(around) {
        access::read_only(AREA, what, around, findings);
    } else if subject.starts_as_root || access::needs(subject, AREA, (around, what, "written"), MAKE, findings) {
        findings.warning(
            AREA,
            format!("{host} has no certificate: the server makes one, which no client trusts"),
            how_to_get(host),
        );
    }
}

fn one(subject: &Subject, host: &str, source: &CertificateSource, is_self_made: bool, findings: &mut Findings) {
    let read = |path: &Path, findings: &mut Findings| match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let text = format!("{host}: {} cannot be read by you, so it was not looked at", path.display());
            findings.unknown(AREA, text, AS_ROOT);
            None
        }
        Err(error) => {
            let text = format!("{host}: {} cannot be read: {error}", path.display());
            findings.critical(AREA, text, "name another file in jabber.xml, or make this one");
            None
        }
    };
    let Some(chain) = read(&source.certificate, findings) else { return };
    let Some(key) = read(&source.key, findings) else { return };
    key_is_secret(&source.key, host, findings);
    for path in [&source.certificate, &source.key] {
        let is_must = is_self_made || source.place.is_some();
        server_reads(subject, host, is_must, path, findings);
    }
    let shown = source.certificate.display();
    let certificate = match Certificate::from_pem(&chain, &key) {
        Ok(certificate) => certificate,
        Err(fault) => {
            let path = if fault.is_about_key() { &source.key } else { &source.certificate };
            return findings.split(AREA, &format!("{host}: {} {fault}", path.display()));
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let days = certificate.expires_unix_seconds().saturating_sub(seconds).div_euclid(DAY);
    let renew = match is_self_made {
        true => "restart the server: it makes a new one",
        false => "renew it: certbot renew; the server takes the new one by itself",
    };
    match days {
        days if days < 0 => findings.critical(AREA, format!("{host}: {shown} has expired: clients refuse it"), renew),
        days if days < DAYS.1 => findings.critical(AREA, format!("{host}: {shown} expires in {days} days"), renew),
        days if days < DAYS.0 => findings.warning(AREA, format!("{host}: {shown} expires in {days} days"), renew),
        days => findings.fine(AREA, format!("{host}: {shown} is valid for {days} days")),
    }
    let is_early = certificate.starts_unix_seconds() > seconds;
    if is_early {
        findings.critical(
            AREA,
            format!("{host}: {shown} is not valid yet: clients refuse it"),
            "is the clock right? see date; else wait, or get another one",
        );
    }
    if !certificate.covers(host.trim_matches(['[', ']'])) {
        let names = certificate.names().join(", ");
        findings.critical(
            AREA,
            format!("{host}: {shown} is for {names}, not for {host}: clients refuse it"),
            format!("get one for {host}: {}", how_to_get(host)),
        );
    }
    if is_self_made {
        return findings.warning(
            AREA,
            format!("{host}: {shown} is self-made: clients warn of it, and other servers do not trust it"),
            how_to_get(host),
        );
    }
    let chain: Vec<Vec<u8>> =
        CertificateDer::pem_slice_iter(&chain).filter_map(|der| der.ok().map(|der| der.to_vec())).collect();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let now = Now { unix_millis: millis, monotonic_millis: 0 };
    // A server that is an island knows no authorities; its clients do.
    let federation = Some(subject.config.federation.clone().unwrap_or_default());
    match authorities::load(&Config { federation, ..subject.config.clone() }) {
        Ok(trust) if trust.is_empty() => findings.warning(
            AREA,
            "this machine knows no certificate authorities: no other server can be proved by its certificate",
            "apt install ca-certificates",
        ),
        Ok(trust) if days >= 0 && !is_early => {
            if let Err(why) = trust.check(&chain, host.trim_matches(['[', ']']), now) {
                findings.warning(
                    AREA,
                    format!("{host}: other servers and clients may not trust {shown}: {why}"),
                    "the file must hold the whole chain: own certificate first, then each authority's (fullchain.pem)",
                );
            }
        }
        Ok(_) => {}
        Err(error) => findings.critical(AREA, error.to_string(), "the server does not start so"),
    }
}

/// Root reads it for a server that starts as root; a renewed one is the server's user's to read.
fn server_reads(subject: &Subject, host: &str, is_must: bool, path: &Path, findings: &mut Findings) {
    let Answer::No(_) = access::may(subject, path, AccessFlags::R_OK) else { return };
    let (shown, name) = (path.display(), access::who(subject));
    let (level, then) = match (subject.starts_as_root, is_must) {
        (true, _) => (Level::Warning, "a renewed one needs a restart"),
        (false, true) => (Level::Critical, "the server does not start"),
        (false, false) => (Level::Warning, "the server passes it over"),
    };
    let remedy = match access::closed(subject, path) {
        Some(closed) => format!("chgrp {name} {closed} {shown} && chmod g+x {closed} && chmod g+r {shown}"),
        None => format!("chgrp {name} {shown} && chmod g+r {shown}"),
    };
    findings.add(level, AREA, format!("{host}: {shown} cannot be read by the server's user {name}: {then}"), remedy);
}

fn key_is_secret(path: &Path, host: &str, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt as _;
    if fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0) {
        let shown = path.display();
        findings.critical(
            AREA,
            format!("{host}: the key {shown} can be read by everybody"),
            format!("chmod o-r {shown}"),
        );
    }
}
