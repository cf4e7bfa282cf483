//! Certificates: is there one for each host, is it trusted, for how long, and can the server read it?

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jabber::config::certificates::{DEPLOY_HOOK, is_certbots};
use jabber::config::hosts::host_address;
use jabber::config::{CertificateSource, Config};
use jabber::daemon::authorities;
use jabber::daemon::certificates::{self, Choice, LoadError, choose, is_good, names_missing, unix_seconds};
use jabber::net::tls::Certificate;
use jabber::stream::certificate::{NOT_TRUSTED, Trust as _, reaches_root};
use jabber::xmpp::Now;
use nix::unistd::AccessFlags;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use super::access::{self, Answer, MAKE};
use super::files::is_read_only;
use super::{Findings, Level, Line, Subject, talk};

const AREA: &str = "certificates";
const DAY: i64 = 86_400;
/// Days before the end at which it is bad, and very bad.
const DAYS: (i64, i64) = (21, 3);

/// What to do about one that ends.
const RENEW: &str = "renew it: certbot renew, whose deploy hook gives it to the server (README.Debian)";

/// How to put another one in the place of what is shown, at once.
const RESTART: &str = "/etc/init.d/jabber restart";

pub(super) fn check(subject: &Subject, line: &Line, findings: &mut Findings) {
    let rows = subject.process().and_then(|_| talk::rows(line, "cert")).unwrap_or_default();
    let name = |row: &Value| row.get("host").and_then(Value::as_str).unwrap_or_default().to_owned();
    for host in &subject.config.hosts {
        let shown = rows.iter().find(|row| name(row) == host.name);
        of_host(subject, &host.name, shown, findings);
    }
    // A service with one of its own.
    for row in rows.iter().filter(|row| subject.config.host(&name(row)).is_none()) {
        shown(row, &subject.config.how_to_get(&name(row)), findings);
    }
}

/// What the server shows, as it says itself. `remedy` is for one that is no good.
pub(super) fn shown(row: &Value, remedy: &str, findings: &mut Findings) {
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
    let what = format!("{}: the server shows {}", text("host"), text("file"));
    let flaw = text("flaw");
    if flaw.contains("self-made") {
        let text = format!("{what}, which {flaw}: clients warn of it, and other servers do not trust it");
        findings.warning(AREA, text, remedy);
    } else if !flaw.is_empty() && !flaw.contains("expired") {
        findings.critical(AREA, format!("{what}, which {flaw}: clients refuse it"), remedy);
    }
    lasts(&format!("{what}: it"), row.get("days_left").and_then(Value::as_i64).unwrap_or(0), RENEW, findings);
}

/// What is shown, then what a start shows, chosen as the server chooses; the last place is that of what it makes itself.
fn of_host(subject: &Subject, host: &str, row: Option<&Value>, findings: &mut Findings) {
    let sources = subject.config.certificates_of(host);
    let Some((own, _)) = sources.split_last() else { return };
    let how = subject.config.how_to_get(host);
    for source in sources.iter() {
        let denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
        if fs::metadata(&source.certificate).is_err_and(denied) && !access::sees_all(subject) {
            let text = format!(
                "{host}: whether there is a certificate {} cannot be seen by you",
                source.certificate.display()
            );
            row.into_iter().for_each(|row| shown(row, &how, findings));
            return findings.unknown(AREA, text, access::remedy(subject));
        }
    }
    let pick = || choose(host, &sources, unix_seconds());
    let as_user = access::as_server(subject, pick);
    let is_renewed = renewal(host, &sources, as_user.as_ref(), findings);
    let choice = as_user.filter(|_| !subject.starts_as_root).unwrap_or_else(pick);
    // What stands in jabber.xml and cannot be used; what is to be had; the server's own place.
    let chosen = match &choice {
        Err(error) => sources.iter().find(|source| error.is_about(source)),
        Ok(Choice { found: Some((at, _)), .. }) => sources.get(*at),
        Ok(choice) => choice.passed_over.iter().any(|error| error.is_about(own)).then_some(own),
    };
    let found = choice.as_ref().ok().and_then(|choice| choice.found.as_ref());
    let is_another = |row: &&Value| {
        found.is_none_or(|(_, new)| row.get("sha256").and_then(Value::as_str) != Some(new.fingerprint().as_str()))
    };
    let other = row.filter(is_another);
    if let Some(row) = other {
        let is_way = found.is_some_and(|(_, new)| is_good(new, host, unix_seconds()));
        let remedy = if is_way { format!("a restart shows the next one: {RESTART}") } else { how.clone() };
        shown(row, &remedy, findings);
    }
    let Some(source) = chosen else {
        passed_over(subject, host, &sources, choice.as_ref().ok(), findings);
        return none(subject, host, own, findings);
    };
    let label = if other.is_some() { format!("{host}: what a restart shows, ") } else { format!("{host}: ") };
    // Who has a good one needs none of those.
    if !one(subject, (host, &label), source, (source == own, is_renewed), findings) && source.place.is_none() {
        passed_over(subject, host, &sources, choice.as_ref().ok(), findings);
    }
}

/// There is none yet.
fn none(subject: &Subject, host: &str, own: &CertificateSource, findings: &mut Findings) {
    let place = own.certificate.parent().unwrap_or(Path::new("/"));
    let around = place.ancestors().find(|around| around.is_dir()).unwrap_or(Path::new("/"));
    let what = "the place for self-made certificates ";
    if is_read_only(around) {
        access::read_only(AREA, what, around, findings);
    } else if subject.starts_as_root || access::needs(subject, AREA, (around, what, "written"), MAKE, findings) {
        findings.warning(
            AREA,
            format!("{host} has no certificate: the server makes one, which no client trusts"),
            subject.config.how_to_get(host),
        );
    }
}

/// Files that are there and that a start passes over.
fn passed_over(
    subject: &Subject,
    host: &str,
    sources: &[CertificateSource],
    choice: Option<&Choice>,
    findings: &mut Findings,
) {
    for error in choice.into_iter().flat_map(|choice| &choice.passed_over) {
        let Some(source) = sources.iter().find(|source| error.is_about(source)) else { continue };
        let is_refused = |path| matches!(access::may(subject, path, AccessFlags::R_OK), Answer::No(_));
        match is_refused(&source.certificate) || is_refused(&source.key) {
            true => unreadable(subject, host, source, false, findings),
            false => {
                let text = error.to_string();
                let (text, remedy) = text.rsplit_once(": ").unwrap_or((&text, "make it anew"));
                findings.warning(AREA, format!("{host}: {text}: the server passes it over"), remedy);
            }
        }
    }
}

/// Root reads what it starts with; what comes later is the server's user's to read. Does that user find a good one? Tells of
/// one that it was given, and that is not the newest.
fn renewal(
    host: &str,
    sources: &[CertificateSource],
    as_user: Option<&Result<Choice, LoadError>>,
    findings: &mut Findings,
) -> bool {
    let now = unix_seconds();
    let Some(Ok(Choice { found: Some((at, given)), .. })) = as_user else { return false };
    if !is_good(given, host, now) {
        return false;
    }
    let newer = choose(host, sources, now).ok().and_then(|choice| choice.found);
    let newer = newer.filter(|(_, newer)| newer.expires_unix_seconds() > given.expires_unix_seconds());
    if let (Some(newer), Some(given)) = (newer.and_then(|(newer, _)| sources.get(newer)), sources.get(*at)) {
        let (newer, given) = (newer.certificate.display(), given.certificate.display());
        findings.warning(
            AREA,
            format!("{host}: {newer} lasts longer than {given}, which the server reads"),
            DEPLOY_HOOK,
        );
    }
    true
}

/// Tells of one certificate. Is it somebody else's than the server's own? `is_renewed`: another one will be seen in its time.
fn one(
    subject: &Subject,
    (host, label): (&str, &str),
    source: &CertificateSource,
    (is_own_place, is_renewed): (bool, bool),
    findings: &mut Findings,
) -> bool {
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
    if !is_renewed {
        unreadable(subject, host, source, is_own_place || source.place.is_some(), findings);
    }
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
    lasts(&format!("{label}{shown}"), days, renew, findings);
    let is_early = certificate.starts_unix_seconds() > seconds;
    if is_early {
        findings.critical(
            AREA,
            format!("{label}{shown} is not valid yet: clients refuse it"),
            "is the clock right? see date; else wait, or get another one",
        );
    }
    let is_covered = certificate.covers(host.trim_matches(['[', ']']));
    if !is_covered {
        let names = certificate.names_told();
        findings.critical(
            AREA,
            format!("{label}{shown} is for {names}, not for {host}: clients refuse it"),
            format!("get one for {host}: {}", subject.config.how_to_get(host)),
        );
    }
    names(subject, (host, label), &certificate, findings);
    if certificate.is_self_signed() {
        findings.warning(
            AREA,
            format!("{label}{shown} is self-made: clients warn of it, and other servers do not trust it"),
            subject.config.how_to_get(host),
        );
        return false;
    }
    if days >= 0 && !is_early && is_covered {
        is_trusted(subject, (host, &source.certificate), &chain, now, findings);
    }
    true
}

/// Other servers may look for the names of services.
fn names(subject: &Subject, (host, label): (&str, &str), certificate: &Certificate, findings: &mut Findings) {
    let config = &subject.config;
    let has_own = |name: &str| {
        let found =
            choose(name, &config.certificates_of_service(name), unix_seconds()).ok().and_then(|found| found.found);
        found.is_some_and(|(_, own)| is_good(&own, name, unix_seconds()))
    };
    let all = config.services_in_certificate(host);
    let missing: Vec<&str> =
        all.iter().map(String::as_str).filter(|name| !certificate.covers(name) && !has_own(name)).collect();
    if config.federation.is_some() && host_address(host).is_none() && !missing.is_empty() {
        let how = config.how_to_get(host);
        findings.fine(AREA, format!("{label}{}; {how}", names_missing(&missing)));
    }
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
                    way_to_trust(&subject.config.how_to_get(host), &chain, &why),
                );
            }
        }
        Err(error) => findings.critical(AREA, error.to_string(), "the server does not start so"),
    }
}

/// What to do about one that nobody is known to stand for: something is missing in the file, or nothing is.
fn way_to_trust(another: &str, chain: &[Vec<u8>], why: &str) -> String {
    const WHOLE: &str = "the file must hold the whole chain: own certificate first, then each authority's (fullchain.pem), up to one \
         that others know";
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
            if is_certbots(path) {
                // Both by one remedy.
                break;
            }
        }
    }
}

fn how_to_open(subject: &Subject, path: &Path) -> String {
    if is_certbots(path) {
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
