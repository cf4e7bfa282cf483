//! Certificates: is there one for each host, is it trusted, for how long, and can the server read it?

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jabber::config::certificates::{LETSENCRYPT, how_to_get};
use jabber::config::{CertificateSource, Config};
use jabber::daemon::{authorities, certificates};
use jabber::net::tls::Certificate;
use jabber::stream::certificate::{NOT_TRUSTED, Trust as _, reaches_root};
use jabber::xmpp::Now;
use nix::unistd::AccessFlags;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::access::{self, Answer, MAKE};
use super::files::is_read_only;
use super::{Findings, Level, Subject};

const AREA: &str = "certificates";
const DAY: i64 = 86_400;
/// Days before the end at which it is bad, and very bad.
const DAYS: (i64, i64) = (21, 3);

/// What to do about one that ends.
pub(super) const RENEW: &str = "renew it: certbot renew; the server takes the new one by itself";

/// certbot closes its directories, and opens them to nobody for long.
const DEPLOY_HOOK: &str = "let certbot's deploy hook give it to the server: README.Debian, \
     /usr/share/doc/jabber/examples/certbot/deploy-hook";

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    for host in &subject.config.hosts {
        of_host(subject, &host.name, &subject.config.certificates_of(&host.name), findings);
    }
}

/// The first that is there, as the server looks for it; the last place is that of what it makes itself.
fn of_host(subject: &Subject, host: &str, sources: &[CertificateSource], findings: &mut Findings) {
    let Some((own, _)) = sources.split_last() else { return };
    let mut passed_over = Vec::new();
    for source in sources {
        let is_must = source.place.is_some() || source == own;
        match fs::metadata(&source.certificate) {
            Err(error) if error.kind() == ErrorKind::NotFound && source.place.is_none() => continue,
            Err(error) if error.kind() == ErrorKind::PermissionDenied && !access::sees_all(subject) => {
                let shown = source.certificate.display();
                let text = format!("{host}: whether there is a certificate {shown} cannot be seen by you");
                return findings.unknown(AREA, text, access::remedy(subject));
            }
            _ => {}
        }
        if !is_must && !subject.starts_as_root && !is_readable(subject, source) {
            passed_over.push(source);
            continue;
        }
        // Who has a good one needs none of those.
        if !one(subject, host, source, source == own, findings) {
            passed_over.iter().for_each(|source| unreadable(subject, host, source, false, findings));
        }
        return;
    }
    passed_over.iter().for_each(|source| unreadable(subject, host, source, false, findings));
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

/// May the server's user read chain and key?
fn is_readable(subject: &Subject, source: &CertificateSource) -> bool {
    let is_refused = |path| matches!(access::may(subject, path, AccessFlags::R_OK), Answer::No(_));
    !is_refused(&source.certificate) && !is_refused(&source.key)
}

/// Tells of one certificate. Is it somebody else's than the server's own?
fn one(subject: &Subject, host: &str, source: &CertificateSource, is_own_place: bool, findings: &mut Findings) -> bool {
    let read = |path: &Path, findings: &mut Findings| match certificates::read_bounded(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let text = format!("{host}: {} cannot be read by you, so it was not looked at", path.display());
            findings.unknown(AREA, text, access::remedy(subject));
            None
        }
        Err(error) => {
            let text = format!("{host}: {} cannot be read: {error}", path.display());
            findings.critical(AREA, text, "name another file in jabber.xml, or make this one");
            None
        }
    };
    let Some(chain) = read(&source.certificate, findings) else { return false };
    let Some(key) = read(&source.key, findings) else { return false };
    key_is_secret(&source.key, host, findings);
    unreadable(subject, host, source, is_own_place || source.place.is_some(), findings);
    let shown = source.certificate.display();
    let certificate = match Certificate::from_pem(&chain, &key) {
        Ok(certificate) => certificate,
        Err(fault) => {
            let path = if fault.is_about_key() { &source.key } else { &source.certificate };
            findings.split(AREA, &format!("{host}: {} {fault}", path.display()));
            return false;
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let days = certificate.expires_unix_seconds().saturating_sub(seconds).div_euclid(DAY);
    let renew = match is_own_place && certificates::is_own_make(&certificate) {
        true => "restart the server: it makes a new one",
        false => RENEW,
    };
    lasts(&format!("{host}: {shown}"), days, renew, findings);
    let is_early = certificate.starts_unix_seconds() > seconds;
    if is_early {
        findings.critical(
            AREA,
            format!("{host}: {shown} is not valid yet: clients refuse it"),
            "is the clock right? see date; else wait, or get another one",
        );
    }
    let is_covered = certificate.covers(host.trim_matches(['[', ']']));
    if !is_covered {
        let names = certificate.names_told();
        findings.critical(
            AREA,
            format!("{host}: {shown} is for {names}, not for {host}: clients refuse it"),
            format!("get one for {host}: {}", how_to_get(host)),
        );
    }
    if certificate.is_self_signed() {
        findings.warning(
            AREA,
            format!("{host}: {shown} is self-made: clients warn of it, and other servers do not trust it"),
            how_to_get(host),
        );
        return false;
    }
    if days >= 0 && !is_early && is_covered {
        is_trusted(subject, (host, &source.certificate), &chain, now, findings);
    }
    true
}

/// For how long it is good yet.
pub(super) fn lasts(what: &str, days: i64, renew: &str, findings: &mut Findings) {
    match days {
        days if days < 0 => findings.critical(AREA, format!("{what} has expired: clients refuse it"), renew),
        days if days < DAYS.1 => findings.critical(AREA, format!("{what} expires in {days} days"), renew),
        days if days < DAYS.0 => findings.warning(AREA, format!("{what} expires in {days} days"), renew),
        days => findings.fine(AREA, format!("{what} is valid for {days} days")),
    }
}

/// Does somebody stand for it whom this machine knows?
fn is_trusted(subject: &Subject, (host, file): (&str, &Path), chain: &[u8], now: Duration, findings: &mut Findings) {
    let shown = file.display();
    let chain: Vec<Vec<u8>> =
        CertificateDer::pem_slice_iter(chain).filter_map(|der| der.ok().map(|der| der.to_vec())).collect();
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
        Ok(trust) => {
            if let Err(why) = trust.check(&chain, host.trim_matches(['[', ']']), now) {
                findings.warning(
                    AREA,
                    format!("{host}: other servers and clients may not trust {shown}: {why}"),
                    way_to_trust(host, &chain, &why),
                );
            }
        }
        Err(error) => findings.critical(AREA, error.to_string(), "the server does not start so"),
    }
}

/// What to do about one that nobody is known to stand for: something is missing in the file, or nothing is.
fn way_to_trust(host: &str, chain: &[Vec<u8>], why: &str) -> String {
    const WHOLE: &str = "the file must hold the whole chain: own certificate first, then each authority's (fullchain.pem), up to one \
         that others know";
    let another = how_to_get(host);
    match () {
        () if !why.starts_with(NOT_TRUSTED) => format!("get another one: {another}"),
        () if reaches_root(chain) => format!(
            "the chain is whole, and its authority is not known here: get one of an authority that everybody knows \
             ({another}); if all who come know yours, name it in <cacertfile> in jabber.xml"
        ),
        () if chain.len() > 1 => format!("{WHOLE}; if it does, get one of such an authority: {another}"),
        () => WHOLE.to_owned(),
    }
}

/// Root reads it for a server that starts as root; a renewed one is the server's user's to read.
fn unreadable(subject: &Subject, host: &str, source: &CertificateSource, is_must: bool, findings: &mut Findings) {
    let (level, then) = match (subject.starts_as_root, is_must) {
        (true, _) => (Level::Warning, "a renewed one needs a restart"),
        (false, true) => (Level::Critical, "the server does not start"),
        (false, false) => (Level::Warning, "the server passes it over"),
    };
    for path in [&source.certificate, &source.key] {
        if let Answer::No(_) = access::may(subject, path, AccessFlags::R_OK) {
            let (shown, name) = (path.display(), access::who(subject));
            let text = format!("{host}: {shown} cannot be read by the server's user {name}: {then}");
            findings.add(level, AREA, text, how_to_open(subject, path));
        }
    }
}

fn how_to_open(subject: &Subject, path: &Path) -> String {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let certbot = Path::new(LETSENCRYPT).parent().unwrap_or(Path::new(LETSENCRYPT));
    if [path, &target].iter().any(|path| path.starts_with(certbot)) {
        return DEPLOY_HOOK.to_owned();
    }
    let (shown, group) = (path.display(), access::group(subject));
    match access::closed(subject, path).as_ref().map(|closed| closed.display()) {
        Some(closed) => format!("chgrp {group} {closed} {shown} && chmod g+x {closed} && chmod g+r {shown}"),
        None => format!("chgrp {group} {shown} && chmod g+r {shown}"),
    }
}

fn key_is_secret(path: &Path, host: &str, findings: &mut Findings) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map_or(0, |found| found.permissions().mode());
    let (can, right) = match (mode & 0o004 != 0, mode & 0o002 != 0) {
        (false, false) => return,
        (true, false) => ("read", "o-r"),
        (false, true) => ("changed", "o-w"),
        (true, true) => ("read and changed", "o-rw"),
    };
    let shown = path.display();
    findings.critical(
        AREA,
        format!("{host}: the key {shown} can be {can} by everybody"),
        format!("chmod {right} {shown}"),
    );
}
