//! Certificate files: found, made where there are none, watched, and taken over when they change.
//!
//! For each host the places that [`Config::certificates_of`] lists are tried in their order. What jabber.xml names must be usable at the
//! start; what we look for unasked is passed over if it is not. Later nothing is fatal: the old certificate stays. A
//! service with a name of its own has its host's certificate, unless one is there for that name.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, KeyPair, OtherNameValue, SanType};
use time::{Duration, OffsetDateTime};

use super::{StartError, directories};
use crate::config::certificates::how_to_get;
use crate::config::hosts::host_address;
use crate::config::{CertificateSource, Config, Service};
use crate::net::tls::{Certificate, Certificates, Settings};

/// Nobody's chain and key are longer.
const FILE_BYTES_MAX: u64 = 1 << 20;
const DAY: i64 = 86_400;
/// Days before its end at which a certificate is spoken of, once each.
const WARNINGS: [i64; 3] = [21, 7, 1];
/// How long a self-made certificate lasts: nobody checks it by its date, so it should not be what breaks.
const SELF_MADE_DAYS: i64 = 3650;
/// Clocks differ: so long before now it begins.
const EARLY_DAYS: i64 = 1;
/// RFC 6120 §13.7.1.4: `id-on-xmppAddr`.
const XMPP_ADDR: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];

/// What to do about a certificate that is not valid yet.
const EARLY: &str = "is the clock right? see date; else wait, or get another one";

/// What tells that a file is another one than before.
type Stamp = Option<(i64, i64, u64, u64)>;

#[derive(Clone)]
struct Loaded {
    host: String,
    file: PathBuf,
    certificate: Arc<Certificate>,
    /// We made it, and nobody trusts it anyhow.
    is_self_made: bool,
    /// Was it told that it is not valid yet?
    told_early: bool,
    /// The next step of `WARNINGS` that is worth a line; after the last one, the end itself.
    warned: usize,
}

/// The certificates of all hosts, and their files.
pub struct Keeper {
    plan: Plan,
    loaded: Vec<Loaded>,
    stamps: Vec<Stamp>,
    /// What the last attempt to reload failed with, so that it is logged once.
    complaint: String,
}

/// A host or a service, and where its certificate may be.
#[derive(Clone)]
struct Wanted {
    name: String,
    sources: Vec<CertificateSource>,
    kind: WantedKind,
}

#[derive(Clone)]
enum WantedKind {
    /// The last source is what we make ourselves; the names of its services go into it.
    Host(Vec<String>),
    /// It can do with the certificate of its host.
    Service(String),
}

/// Where to look, by host and service.
#[derive(Clone)]
struct Plan {
    wanted: Vec<Wanted>,
    /// Other servers will look at the names in certificates.
    is_federated: bool,
    /// Who shall own what we make.
    owner: Option<(u32, u32)>,
}

impl Plan {
    fn new(config: &Config, owner: Option<(u32, u32)>) -> Self {
        // A domain that hosts share is in the certificate of one.
        let has_it = |service: &&Service| config.service(&service.name) == Some(*service);
        let names = |host: &str| config.services_of(host).filter(has_it).map(|service| service.name.clone()).collect();
        let hosts = config.hosts.iter().map(|host| Wanted {
            name: host.name.clone(),
            sources: config.certificates_of(&host.name),
            kind: WantedKind::Host(names(&host.name)),
        });
        let services = config.services.iter().filter(has_it).map(|service| Wanted {
            name: service.name.clone(),
            sources: config.certificates_of_service(&service.name),
            kind: WantedKind::Service(service.host.clone()),
        });
        Plan { wanted: hosts.chain(services).collect(), is_federated: config.federation.is_some(), owner }
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let sources = self.wanted.iter().flat_map(|wanted| &wanted.sources);
        sources.flat_map(|source| [source.certificate.as_path(), source.key.as_path()])
    }

    fn stamps(&self) -> Vec<Stamp> {
        let stamp =
            |metadata: std::fs::Metadata| (metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino());
        self.files().map(|path| std::fs::metadata(path).ok().map(stamp)).collect()
    }
}

impl Keeper {
    /// Loads a certificate for each host, and makes one where there is none. `owner` shall be able to read what is made.
    ///
    /// # Errors
    /// One that jabber.xml names cannot be used, or none can be made.
    pub fn load(config: &Config, owner: Option<(u32, u32)>) -> Result<(Keeper, Arc<Settings>), StartError> {
        let plan = Plan::new(config, owner);
        let mut loaded = Vec::new();
        for wanted in &plan.wanted {
            loaded.extend(first_usable(wanted, plan.owner, true)?);
        }
        let stamps = plan.stamps();
        let mut keeper = Keeper { plan, loaded, stamps, complaint: String::new() };
        let settings = keeper.settings()?;
        keeper.warn_of_names();
        keeper.warn_of_ends(unix_seconds());
        Ok((keeper, settings))
    }

    /// To be called once we are not root any more: tells of files that could be read until now, and takes the state that
    /// this user sees as the one to compare with.
    pub fn look_again_as_user(&mut self) {
        for (path, stamp) in self.plan.files().zip(&self.stamps) {
            if stamp.is_some() && open(path).is_err() {
                let path = path.display();
                log::warn!(target: "-internal",
                    "{path} was read as root, but the server's user cannot read it: a renewed certificate needs a restart; \
                     let a deploy hook restart the server, or give the user's group the right to read it"
                );
            }
        }
        self.stamps = self.plan.stamps();
    }

    /// Looks at files and dates; new settings if a certificate changed.
    pub fn check(&mut self) -> Option<Arc<Settings>> {
        let now = unix_seconds();
        let stamps = self.plan.stamps();
        let changed = stamps != self.stamps;
        let settings = if changed { self.reload() } else { None };
        // A chain and its key are replaced one after the other: a pair that does not fit yet is tried again.
        if self.complaint.is_empty() {
            self.stamps = stamps;
        }
        self.warn_of_ends(now);
        settings
    }

    /// Takes over the hosts and files of another configuration.
    pub fn reconfigure(&mut self, config: &Config) -> Option<Arc<Settings>> {
        self.plan = Plan::new(config, self.plan.owner);
        let settings = self.reload();
        self.stamps = self.plan.stamps();
        settings
    }

    /// What is shown for each host and service.
    pub fn shown(&self) -> Vec<crate::admin::Certificate> {
        let shown = |loaded: &Loaded| crate::admin::Certificate {
            host: loaded.host.clone(),
            names: loaded.certificate.names().to_vec(),
            issuer: loaded.certificate.issuer().to_owned(),
            until_unix_seconds: loaded.certificate.expires_unix_seconds(),
            file: loaded.file.display().to_string(),
        };
        self.loaded.iter().map(shown).collect()
    }

    /// What is wrong with what is shown, and with files that should be: the log is told each once, who asks each time.
    pub fn problems(&self) -> Vec<String> {
        let old = self.complaint.lines().map(|line| format!("{line}; the certificate loaded before stays in use"));
        let now = unix_seconds();
        let shown = self.loaded.iter().filter_map(|Loaded { host, file, certificate, .. }| {
            let file = file.display();
            if certificate.expires_unix_seconds() <= now {
                return Some(format!("the certificate {file} of {host} has expired: clients refuse it; renew it now"));
            }
            if certificate.starts_unix_seconds() > now {
                return Some(format!("the certificate {file} of {host} is not valid yet: clients refuse it; {EARLY}"));
            }
            let is_covered = certificate.covers(host.trim_matches(['[', ']']));
            (!is_covered).then(|| {
                format!("the certificate {file} is not for {host}: clients will complain; {}", how_to_get(host))
            })
        });
        old.chain(shown).collect()
    }

    fn reload(&mut self) -> Option<Arc<Settings>> {
        let mut loaded = Vec::new();
        let mut complaint = String::new();
        let mut changed = Vec::new();
        for wanted in &self.plan.wanted {
            let old = self.loaded.iter().find(|loaded| loaded.host == wanted.name);
            match (first_usable(wanted, self.plan.owner, old.is_none()), old) {
                (Ok(Some(new)), Some(old)) if new.certificate.is_same(&old.certificate) => loaded.push(old.clone()),
                (Ok(Some(new)), _) => {
                    changed.push(wanted.name.clone());
                    loaded.push(new);
                }
                (Ok(None), _) => {}
                (Err(error), old) => {
                    let _ = writeln!(complaint, "{error}");
                    loaded.extend(old.cloned());
                }
            }
        }
        if complaint != self.complaint {
            for line in complaint.lines() {
                log::error!(target: "-internal", "{line}; the certificate loaded before stays in use");
            }
        }
        self.complaint = complaint;
        let hosts_changed = loaded.len() != self.loaded.len();
        self.loaded = loaded;
        if changed.is_empty() && !hosts_changed {
            return None;
        }
        self.warn_of_names();
        for host in changed {
            log::info!(target: &host, "certificate loaded");
        }
        self.settings().map_err(|error| log::error!(target: "-internal", "{error}")).ok()
    }

    fn settings(&self) -> Result<Arc<Settings>, StartError> {
        let mut all = self.loaded.iter();
        let first = all.next().ok_or_else(|| StartError("there is no host".to_owned()))?;
        let mut set = Certificates::new(Arc::clone(&first.certificate));
        for loaded in &self.loaded {
            set.add(&loaded.host, Arc::clone(&loaded.certificate));
        }
        for (service, host) in self.sharing() {
            set.add(service, Arc::clone(&host.certificate));
        }
        let settings = Settings::new(set).map_err(|error| StartError(format!("TLS cannot be set up: {error}")))?;
        Ok(Arc::new(settings))
    }

    /// The services that have their host's certificate.
    fn sharing(&self) -> impl Iterator<Item = (&str, &Loaded)> {
        let loaded = |name: &str| self.loaded.iter().find(|loaded| loaded.host == name);
        self.plan.wanted.iter().filter_map(move |wanted| match &wanted.kind {
            WantedKind::Service(host) if loaded(&wanted.name).is_none() => Some((wanted.name.as_str(), loaded(host)?)),
            WantedKind::Service(_) | WantedKind::Host(_) => None,
        })
    }

    /// Other servers look for a service's name in the certificate that it shows.
    fn warn_of_names(&self) {
        if !self.plan.is_federated {
            return;
        }
        for host in self.loaded.iter().filter(|host| !host.is_self_made && host_address(&host.host).is_none()) {
            let is_missing = |name: &&str| !host.certificate.covers(name);
            let shares = self.sharing().filter(|(_, loaded)| loaded.host == host.host).map(|(service, _)| service);
            let missing: Vec<&str> = shares.filter(is_missing).collect();
            if !missing.is_empty() {
                log::warn!(target: &host.host,
                    "the certificate does not cover {}: servers that insist on certificates will not talk to what is there; \
                     renew it with these names, too (certbot: -d {}), or switch the services off (jabber.xml(5), SERVICES)",
                    missing.join(", "),
                    missing.join(" -d ")
                );
            }
        }
    }

    /// The hosts, and when their certificates end, in Unix seconds.
    pub fn ends(&self) -> Vec<(String, i64)> {
        let ends = |loaded: &Loaded| (loaded.host.clone(), loaded.certificate.expires_unix_seconds());
        self.loaded.iter().map(ends).collect()
    }

    fn warn_of_ends(&mut self, now: i64) {
        for loaded in &mut self.loaded {
            let is_early = loaded.certificate.starts_unix_seconds() > now;
            if is_early && !loaded.told_early {
                log::error!(target: &loaded.host, "the certificate is not valid yet: clients refuse it; {EARLY}");
            }
            loaded.told_early = is_early;
            let left = loaded.certificate.expires_unix_seconds().saturating_sub(now);
            let stage = WARNINGS.iter().filter(|days| left < **days * DAY).count() + usize::from(left <= 0);
            if stage <= loaded.warned {
                continue;
            }
            loaded.warned = stage;
            if left <= 0 {
                log::error!(target: &loaded.host, "the certificate has expired: clients refuse it; renew it now");
            } else {
                let days = left / DAY;
                log::warn!(target: &loaded.host, "the certificate expires in {days} days; renew it");
            }
        }
    }
}

/// The first certificate among the places that can be used. `make` allows to make one in a host's last place; a service
/// may have none.
fn first_usable(wanted: &Wanted, owner: Option<(u32, u32)>, make: bool) -> Result<Option<Loaded>, StartError> {
    let mut passed_over = Vec::new();
    let found = look_for(wanted, owner, make, &mut passed_over)?;
    for why in passed_over.iter().filter(|_| wants_better(wanted, found.as_ref(), unix_seconds())) {
        log::warn!(target: &wanted.name, "{why}; looking elsewhere");
    }
    Ok(found)
}

/// Would another certificate be of use? Let's Encrypt's directory is closed to the server wherever certbot is, so who has a
/// good one from elsewhere (its deploy hook gives it) is not told of that; nor is a service, which shows its host's.
fn wants_better(wanted: &Wanted, found: Option<&Loaded>, now: i64) -> bool {
    let is_good = |found: &Loaded| {
        let certificate = &found.certificate;
        let covers = certificate.covers(wanted.name.trim_matches(['[', ']']));
        !found.is_self_made && covers && certificate.expires_unix_seconds() > now
    };
    matches!(wanted.kind, WantedKind::Host(_)) && !found.is_some_and(is_good)
}

/// See [`first_usable`]; `passed_over` has what is there and could not be used.
fn look_for(
    wanted: &Wanted,
    owner: Option<(u32, u32)>,
    make: bool,
    passed_over: &mut Vec<StartError>,
) -> Result<Option<Loaded>, StartError> {
    let host = &wanted.name;
    let loaded = |certificate: Certificate, file: &Path, is_self_made| {
        let (host, file, certificate) = (host.clone(), file.to_owned(), Arc::new(certificate));
        Some(Loaded { host, file, certificate, is_self_made, told_early: false, warned: 0 })
    };
    let WantedKind::Host(services) = &wanted.kind else {
        return Ok(
            first_given(host, &wanted.sources, passed_over)?.and_then(|(given, file)| loaded(given, file, false))
        );
    };
    let (own, others) = wanted.sources.split_last().ok_or_else(|| StartError(format!("no certificate for {host}")))?;
    if let Some((certificate, file)) = first_given(host, others, passed_over)? {
        return Ok(loaded(certificate, file, false));
    }
    match load(own) {
        // What somebody else put there stays, and is shown, even when it has expired: the log and `check` say so.
        Ok(certificate)
            if !make || !is_own_make(&certificate) || certificate.expires_unix_seconds() > unix_seconds() =>
        {
            let is_self_made = is_own_make(&certificate);
            Ok(loaded(certificate, &own.certificate, is_self_made))
        }
        Err(error) if !error.missing || !make => Err(error.start_error()),
        _ => {
            make_self_signed(host, services, &own.certificate, owner)?;
            load(own)
                .map(|certificate| loaded(certificate, &own.certificate, true))
                .map_err(|error| error.start_error())
        }
    }
}

/// The first certificate that somebody put into one of these places, and its file.
fn first_given<'a>(
    host: &str,
    sources: &'a [CertificateSource],
    passed_over: &mut Vec<StartError>,
) -> Result<Option<(Certificate, &'a Path)>, StartError> {
    for source in sources {
        match load(source) {
            Ok(certificate) => {
                if !certificate.covers(host.trim_matches(['[', ']'])) {
                    log::warn!(target: host,
                        "the certificate {} is not for {host} but for {}: clients will complain; {}",
                        source.certificate.display(),
                        certificate.names_told(),
                        how_to_get(host)
                    );
                }
                return Ok(Some((certificate, &source.certificate)));
            }
            Err(error) if source.place.is_some() => return Err(error.start_error()),
            Err(LoadError { missing: true, .. }) => {}
            // Let's Encrypt's directory, found and not readable.
            Err(error) => passed_over.push(error.start_error()),
        }
    }
    Ok(None)
}

struct LoadError {
    missing: bool,
    path: PathBuf,
    why: String,
    place: String,
}

impl LoadError {
    fn start_error(&self) -> StartError {
        StartError(format!("the certificate file {}{} {}", self.path.display(), self.place, self.why))
    }
}

fn load(source: &CertificateSource) -> Result<Certificate, LoadError> {
    let place = source.place.as_ref().map_or_else(String::new, |place| format!(" ({place})"));
    let failed = |path: &Path, missing, why| LoadError { missing, path: path.to_owned(), why, place: place.clone() };
    let read = |path: &Path| {
        read_bounded(path).map_err(|error| {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => "check the path",
                io::ErrorKind::PermissionDenied => "let the server's user, or root before it starts, read it",
                _ => "it must be a PEM file",
            };
            failed(path, missing, format!("cannot be read: {error}; {remedy}"))
        })
    };
    let chain = read(&source.certificate)?;
    let key = if source.key == source.certificate { chain.clone() } else { read(&source.key)? };
    Certificate::from_pem(&chain, &key).map_err(|fault| {
        let path = if fault.is_about_key() { &source.key } else { &source.certificate };
        failed(path, false, fault.to_string())
    })
}

/// Reads a file of PEM text, which may be another user's: a pipe does not hold us up, and no device fills the memory.
///
/// # Errors
/// It cannot be read, is no regular file, or longer than any chain.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    match u64::try_from(content.len()) {
        Ok(length) if length <= FILE_BYTES_MAX => Ok(content),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES_MAX} bytes"))),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Did [`Keeper::load`] make it? Nobody else's lasts exactly so long.
pub fn is_own_make(certificate: &Certificate) -> bool {
    let lasts = certificate.expires_unix_seconds().saturating_sub(certificate.starts_unix_seconds());
    certificate.is_self_signed() && lasts == (SELF_MADE_DAYS + EARLY_DAYS) * DAY
}

/// Makes a certificate for a host or address and its services, with its key in the same file, mode 0640.
fn make_self_signed(host: &str, services: &[String], path: &Path, owner: Option<(u32, u32)>) -> Result<(), StartError> {
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
        "made the certificate {place}, which no client trusts by itself; for a real one: {}; see jabber.xml(5)",
        how_to_get(host)
    );
    Ok(())
}

fn self_signed_pem(host: &str, services: &[String]) -> Result<String, rcgen::Error> {
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
    parameters.not_after = now.saturating_add(Duration::days(SELF_MADE_DAYS));
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

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Place;

    fn config(host: &str, spool: &Path) -> Config {
        Config { spool: spool.to_owned(), ..Config::for_host(host) }
    }

    fn named(certificate: &Path, key: &Path) -> CertificateSource {
        CertificateSource {
            domains: Vec::new(),
            addresses: Vec::new(),
            is_default: true,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            place: Some(Place::whole(Path::new("jabber.xml"))),
        }
    }

    /// Certificate and key of a pair made for a host.
    fn pair(host: &str) -> (String, String) {
        let pem = self_signed_pem(host, &[]).unwrap();
        let (chain, key) = pem.split_at(pem.find("-----BEGIN PRIVATE").unwrap());
        (chain.to_owned(), key.to_owned())
    }

    #[test]
    fn one_is_made_where_there_is_none() {
        let directory = crate::daemon::scratch("certificate-made");
        let rows = [
            ("chat.test", "chat.test"),
            ("bücher.test", "bücher.test"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]", "2001:db8::1"),
        ];
        for (host, name) in rows {
            let config = config(host, &directory);
            let (keeper, _) = Keeper::load(&config, None).unwrap();
            let certificate = &keeper.loaded[0].certificate;
            assert!(certificate.covers(name));
            // A domain has its services below it; nobody finds any below an address.
            let services = config.services.iter().filter(|service| certificate.covers(&service.name)).count();
            assert_eq!(services, if host_address(host).is_none() { config.services.len() } else { 0 });
            assert!(certificate.expires_unix_seconds() > unix_seconds() + 3600 * DAY);
            let path = directory.join("ssl").join(format!("{name}.pem"));
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
            // The second start finds it.
            let before = std::fs::read(&path).unwrap();
            Keeper::load(&config, None).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
        assert!(self_signed_pem("bücher.test", &["users.bücher.test".to_owned()]).is_ok());
        std::fs::remove_dir_all(directory).unwrap();
    }

    /// A chain of an authority nobody knows, for so many days more, with its key.
    fn of_an_authority(host: &str, days: i64) -> String {
        let authority = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = rcgen::Issuer::new(parameters, authority);
        let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let now = OffsetDateTime::now_utc();
        (parameters.not_before, parameters.not_after) = (now - Duration::days(90), now + Duration::days(days));
        let key = KeyPair::generate().unwrap();
        parameters.signed_by(&key, &issuer).unwrap().pem() + &key.serialize_pem()
    }

    #[test]
    fn an_expired_certificate_of_an_authority_was_replaced_by_a_self_made_one() {
        let directory = crate::daemon::scratch("certificate-expired");
        let config = config("chat.test", &directory);
        Keeper::load(&config, None).unwrap();
        let path = directory.join("ssl/chat.test.pem");
        let before = of_an_authority("chat.test", -1);
        std::fs::write(&path, &before).unwrap();
        let (keeper, _) = Keeper::load(&config, None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        assert!(keeper.problems()[0].contains("has expired"), "{:?}", keeper.problems());
        assert!(!keeper.loaded[0].is_self_made);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn of_a_certificate_that_is_not_valid_yet_nobody_was_told() {
        let directory = crate::daemon::scratch("certificate-early");
        let config = config("chat.test", &directory);
        Keeper::load(&config, None).unwrap();
        let mut parameters = CertificateParams::new(vec!["chat.test".to_owned()]).unwrap();
        let now = OffsetDateTime::now_utc();
        (parameters.not_before, parameters.not_after) = (now + Duration::days(2), now + Duration::days(90));
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        std::fs::write(directory.join("ssl/chat.test.pem"), pem).unwrap();
        let (mut keeper, _) = Keeper::load(&config, None).unwrap();
        let [problem] = keeper.problems().try_into().unwrap();
        assert!(
            problem.contains("chat.test.pem of chat.test is not valid yet") && problem.contains("see date"),
            "{problem}"
        );
        assert!(keeper.loaded[0].told_early);
        // Its time comes.
        keeper.warn_of_ends(unix_seconds() + 3 * DAY);
        assert!(!keeper.loaded[0].told_early);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn who_has_a_good_certificate_was_told_of_a_closed_directory() {
        let directory = crate::daemon::scratch("certificate-closed");
        let at = |name: &str| CertificateSource { place: None, ..named(&directory.join(name), &directory.join(name)) };
        // What cannot be read, whoever looks: as certbot's directory for the server's user.
        std::fs::create_dir(directory.join("closed")).unwrap();
        let wanted = |kind| Wanted { name: "chat.test".to_owned(), sources: vec![at("closed"), at("own.pem")], kind };
        let host = wanted(WantedKind::Host(Vec::new()));
        let found = |wanted: &Wanted| {
            let mut passed_over = Vec::new();
            let found = look_for(wanted, None, true, &mut passed_over).unwrap();
            assert_eq!(passed_over.len(), 1);
            wants_better(wanted, found.as_ref(), unix_seconds())
        };
        // Its own make, that of an authority, the same when it has expired, and one for somebody else.
        assert!(found(&host));
        std::fs::write(directory.join("own.pem"), of_an_authority("chat.test", 30)).unwrap();
        assert!(!found(&host));
        for (name, days) in [("chat.test", -1), ("other.test", 30)] {
            std::fs::write(directory.join("own.pem"), of_an_authority(name, days)).unwrap();
            assert!(found(&host), "{name} {days}");
        }
        assert!(!found(&wanted(WantedKind::Service("chat.test".to_owned()))));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_pipe_or_a_device_held_the_server_up() {
        let directory = crate::daemon::scratch("certificate-pipe");
        let pipe = directory.join("pipe.pem");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let device = directory.join("device.pem");
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        let long = directory.join("long.pem");
        File::create(&long).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        for (path, says) in [(pipe, "no regular file"), (device, "no regular file"), (long, "larger than 1048576")] {
            let error = read_bounded(&path).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn bad_files_are_told_with_their_remedy() {
        let directory = crate::daemon::scratch("certificate-bad");
        let (chain, key) = pair("chat.test");
        let other_key = pair("chat.test").1;
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        let (certificate, key_file) = (directory.join("chain.pem"), directory.join("key.pem"));
        for (chain, key, expected) in [
            (chain.as_str(), other_key.as_str(), "key.pem (jabber.xml) has a key that does not belong to its first"),
            (chain.as_str(), locked, "key.pem (jabber.xml) has a key locked by a passphrase"),
            (chain.as_str(), "", "key.pem (jabber.xml) has no PRIVATE KEY block"),
            (key.as_str(), key.as_str(), "chain.pem (jabber.xml) has no CERTIFICATE block"),
            (broken, key.as_str(), "chain.pem (jabber.xml) is broken"),
        ] {
            std::fs::write(&certificate, chain).unwrap();
            std::fs::write(&key_file, key).unwrap();
            let mut config = config("chat.test", &directory);
            config.certificates.push(named(&certificate, &key_file));
            let error = Keeper::load(&config, None).err().unwrap();
            assert!(error.0.contains(expected), "{error}");
        }
        let mut config = config("chat.test", &directory);
        config.certificates.push(named(&directory.join("missing.pem"), &key_file));
        let error = Keeper::load(&config, None).err().unwrap();
        assert!(error.0.contains("missing.pem (jabber.xml) cannot be read: No such file"), "{error}");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_changed_file_is_taken_over_and_a_broken_one_is_not() {
        let directory = crate::daemon::scratch("certificate-changed");
        let both = directory.join("both.pem");
        let (chain, key) = pair("chat.test");
        // jabberd 1.4 had the key and the chain in one file, in any order.
        std::fs::write(&both, format!("{key}{chain}")).unwrap();
        let mut config = config("chat.test", &directory);
        config.certificates.push(named(&both, &both));
        let (mut keeper, _) = Keeper::load(&config, None).unwrap();
        let first = Arc::clone(&keeper.loaded[0].certificate);
        assert!(keeper.check().is_none(), "nothing changed");
        std::fs::write(&both, &chain).unwrap();
        assert!(keeper.check().is_none(), "no key");
        assert!(keeper.complaint.contains("has no PRIVATE KEY block"));
        assert!(Arc::ptr_eq(&first, &keeper.loaded[0].certificate));
        let (chain, key) = pair("chat.test");
        std::fs::write(&both, format!("{chain}{key}")).unwrap();
        assert!(keeper.check().is_some());
        assert!(!keeper.loaded[0].certificate.is_same(&first));
        assert!(keeper.check().is_none());
        std::fs::remove_dir_all(directory).unwrap();
    }
    #[test]
    fn a_service_shows_its_hosts_certificate_or_its_own() {
        let directory = crate::daemon::scratch("certificate-services");
        let files = |name: &str| (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        for name in ["chat.test", "users.chat.test"] {
            let ((chain_file, key_file), (chain, key)) = (files(name), pair(name));
            std::fs::write(chain_file, chain).unwrap();
            std::fs::write(key_file, key).unwrap();
        }
        let mut config = config("chat.test", &directory);
        config.federation = Some(crate::config::Federation::default());
        let (chain, key) = files("chat.test");
        config.certificates.push(named(&chain, &key));
        let (keeper, _) = Keeper::load(&config, None).unwrap();
        let shared: Vec<(&str, &str)> =
            keeper.sharing().map(|(service, loaded)| (service, loaded.host.as_str())).collect();
        assert!(shared.contains(&("users.chat.test", "chat.test")), "{shared:?}");
        let (chain, key) = files("users.chat.test");
        let domains = vec!["users.chat.test".to_owned()];
        config.certificates.push(CertificateSource { domains, is_default: false, ..named(&chain, &key) });
        let (keeper, _) = Keeper::load(&config, None).unwrap();
        assert!(keeper.sharing().all(|(service, _)| service != "users.chat.test"));
        let own = keeper.loaded.iter().find(|loaded| loaded.host == "users.chat.test").unwrap();
        assert_eq!(own.certificate.names(), ["users.chat.test"]);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
