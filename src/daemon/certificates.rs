//! Certificate files: found, made where there are none, watched, and taken over when they change.
//!
//! For each host the places that [`Config::certificates_of`] lists are looked at, and one chosen ([`places`]). What jabber.xml
//! names must be usable at the start; what we look for unasked is passed over if it is not. Later nothing is fatal, and a
//! certificate that clients can trust gives way only to another such one: whatever becomes of its file, it stays as long as it
//! is valid. A service with a name of its own has its host's certificate, unless one is there for that name.
//!
//! | what a look finds, while a good one is shown | what is shown then |
//! |---|---|
//! | a good one in the same place or a better one | the new one |
//! | a good one in a worse place | the new one, if it lasts longer (the deploy hook gave it) |
//! | the file gone, closed, half written, with another's key | the old one |
//! | one that has expired, is not valid yet, is for another host, or self-made | the old one |

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::StartError;
use crate::config::certificates::how_to_open;
use crate::config::hosts::host_address;
use crate::config::{CertificateSource, Config, Service};
use crate::net::tls::{Certificate, Certificates, Settings};

mod made;
mod places;
#[cfg(test)]
mod tests;

pub use made::is_own_make;
pub use places::{Choice, LoadError, choose, is_good, read_bounded};
use places::{flaw, open};

const DAY: i64 = 86_400;
/// Days before its end at which a certificate is spoken of, once each.
const WARNINGS: [i64; 3] = [21, 7, 1];

/// What to do about a certificate that is not valid yet.
const EARLY: &str = "is the clock right? see date; else wait, or get another one";

/// What tells that a file is another one than before.
type Stamp = Option<(i64, i64, u64, u64)>;

#[derive(Clone)]
struct Loaded {
    host: String,
    file: PathBuf,
    certificate: Arc<Certificate>,
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
    /// What the last look had to say, so that it is logged once.
    remarks: Vec<Remark>,
    /// When a certificate ends or begins, so that another may be the one to show, in Unix seconds.
    look_at: Option<i64>,
}

/// A file that is not what it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remark {
    host: String,
    text: String,
}

/// A host or a service, and where its certificate may be.
#[derive(Clone)]
struct Wanted {
    name: String,
    sources: Vec<CertificateSource>,
    /// How to get one that clients trust.
    how: String,
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

impl Wanted {
    fn loaded(&self, (at, certificate): (usize, Certificate)) -> Loaded {
        let (host, file, certificate) = (self.name.clone(), self.file(at), Arc::new(certificate));
        Loaded { host, file, certificate, told_early: false, warned: 0 }
    }

    fn file(&self, at: usize) -> PathBuf {
        self.sources.get(at).map(|source| source.certificate.clone()).unwrap_or_default()
    }

    fn source_of(&self, file: &Path) -> Option<&CertificateSource> {
        self.sources.iter().find(|source| source.certificate == file)
    }

    /// Is it one for a service, which has its host's as well?
    fn is_given(&self, at: usize, certificate: &Certificate, now: i64) -> bool {
        self.sources.get(at).is_some_and(|source| source.place.is_some()) || is_good(certificate, &self.name, now)
    }
}

impl Plan {
    fn new(config: &Config, owner: Option<(u32, u32)>) -> Self {
        let hosts = config.hosts.iter().map(|host| Wanted {
            name: host.name.clone(),
            sources: config.certificates_of(&host.name),
            how: config.how_to_get(&host.name),
            kind: WantedKind::Host(config.services_in_certificate(&host.name)),
        });
        let has_it = |service: &&Service| config.service(&service.name) == Some(*service);
        let services = config.services.iter().filter(has_it).map(|service| Wanted {
            name: service.name.clone(),
            sources: config.certificates_of_service(&service.name),
            how: config.how_to_get(&service.name),
            kind: WantedKind::Service(service.host.clone()),
        });
        Plan { wanted: hosts.chain(services).collect(), is_federated: config.federation.is_some(), owner }
    }

    fn is_service(&self, name: &str) -> bool {
        self.host_of(name).is_some()
    }

    /// The host of a service.
    fn host_of(&self, name: &str) -> Option<&str> {
        self.wanted.iter().find(|wanted| wanted.name == name).and_then(|wanted| match &wanted.kind {
            WantedKind::Service(host) => Some(host.as_str()),
            WantedKind::Host(_) => None,
        })
    }

    fn files(&self) -> impl Iterator<Item = &Path> {
        let sources = self.wanted.iter().flat_map(|wanted| &wanted.sources);
        sources.flat_map(|source| [source.certificate.as_path(), source.key.as_path()])
    }

    fn stamps(&self) -> Vec<Stamp> {
        // Who may read a file changes this time, too.
        let stamp =
            |metadata: std::fs::Metadata| (metadata.ctime(), metadata.ctime_nsec(), metadata.size(), metadata.ino());
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
        // Before the files are read: what changes meanwhile is seen as a change.
        let stamps = plan.stamps();
        let now = unix_seconds();
        let (mut loaded, mut remarks) = (Vec::new(), Vec::new());
        for wanted in &plan.wanted {
            let choice = choose(&wanted.name, &wanted.sources, now).map_err(|error| error.start_error())?;
            loaded.extend(first(wanted, choice, plan.owner, &mut remarks)?);
        }
        let mut keeper = Keeper { plan, loaded: Vec::new(), stamps, remarks: Vec::new(), look_at: None };
        keeper.settle(loaded, remarks);
        let settings = keeper.settings()?;
        keeper.warn_of_ends(now);
        Ok((keeper, settings))
    }

    /// To be called once we are not root any more: tells of files that could be read until now, and takes the state that
    /// this user sees as the one to compare with.
    pub fn look_again_as_user(&mut self) {
        for (now, before) in self.plan.stamps().into_iter().zip(&mut self.stamps) {
            if now.is_none() {
                *before = None;
            }
        }
        let mut remarks = self.remarks.clone();
        for loaded in &mut self.loaded {
            let Some(wanted) = self.plan.wanted.iter().find(|wanted| wanted.name == loaded.host) else { continue };
            let Some(source) = wanted.source_of(&loaded.file) else { continue };
            let closed = [&source.certificate, &source.key].into_iter().find(|path| open(path).is_err());
            let Some(closed) = closed else { continue };
            // What the deploy hook gave is the same one, and so will be the next.
            let given = choose(&wanted.name, &wanted.sources, unix_seconds()).ok().and_then(|choice| choice.found);
            match given {
                Some((at, given)) if given.is_same(&loaded.certificate) => loaded.file = wanted.file(at),
                _ => remarks.push(Remark {
                    host: loaded.host.clone(),
                    text: format!(
                        "{} was read as root, and the server's user cannot read it: a renewed one is not seen before the \
                         next restart; {}",
                        closed.display(),
                        how_to_open(closed)
                    ),
                }),
            }
        }
        self.tell(remarks);
    }

    /// Looks at files and dates; new settings if a certificate changed.
    pub fn check(&mut self) -> Option<Arc<Settings>> {
        let now = unix_seconds();
        let stamps = self.plan.stamps();
        let is_due = stamps != self.stamps || self.look_at.is_some_and(|at| at <= now);
        self.stamps = stamps;
        let settings = if is_due { self.reload(now) } else { None };
        self.warn_of_ends(now);
        settings
    }

    /// Takes over the hosts and files of another configuration.
    pub fn reconfigure(&mut self, config: &Config) -> Option<Arc<Settings>> {
        let before = self.shown_now();
        self.plan = Plan::new(config, self.plan.owner);
        self.stamps = self.plan.stamps();
        let renewed = self.reload(unix_seconds());
        // A service may be new, and show its host's.
        renewed.or_else(|| self.settings_if_other(&before))
    }

    /// What is shown for each host and service.
    pub fn shown(&self) -> Vec<crate::admin::Certificate> {
        let now = unix_seconds();
        let shown = |loaded: &Loaded| crate::admin::Certificate {
            host: loaded.host.clone(),
            names: loaded.certificate.names().to_vec(),
            issuer: loaded.certificate.issuer().to_owned(),
            until_unix_seconds: loaded.certificate.expires_unix_seconds(),
            file: loaded.file.display().to_string(),
            sha256: loaded.certificate.fingerprint(),
            flaw: flaw(&loaded.certificate, &loaded.host, now),
        };
        self.loaded.iter().map(shown).collect()
    }

    /// What is wrong with what is shown, and with files that should be: the log is told each once, who asks each time.
    pub fn problems(&self) -> Vec<String> {
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
            (!is_covered).then(|| format!("the certificate {file} {}", self.for_others(host, certificate)))
        });
        self.remarks.iter().map(|remark| remark.text.clone()).chain(shown).collect()
    }

    fn for_others(&self, host: &str, certificate: &Certificate) -> String {
        let how = self.plan.wanted.iter().find(|wanted| wanted.name == host).map_or("", |wanted| &wanted.how);
        format!("is not for {host} but for {}: clients will complain; {how}", certificate.names_told())
    }

    fn reload(&mut self, now: i64) -> Option<Arc<Settings>> {
        let (mut loaded, mut remarks): (Vec<Loaded>, _) = (Vec::new(), Vec::new());
        for wanted in &self.plan.wanted {
            let choice = choose(&wanted.name, &wanted.sources, now);
            let old = self.loaded.iter().find(|loaded| loaded.host == wanted.name);
            let found = match (choice, old) {
                (Ok(choice), Some(old)) => next(wanted, choice, (old, &loaded), now, &mut remarks),
                (Err(error), Some(old)) => {
                    remarks.push(kept(old, &error.to_string()));
                    Some(old.clone())
                }
                (Ok(choice), None) => first(wanted, choice, self.plan.owner, &mut remarks).unwrap_or_else(|error| {
                    remarks.push(without(wanted, &error.0));
                    None
                }),
                (Err(error), None) => {
                    remarks.push(without(wanted, &error.to_string()));
                    None
                }
            };
            loaded.extend(found);
        }
        let before = self.shown_now();
        self.settle(loaded, remarks);
        self.settings_if_other(&before)
    }

    fn settings_if_other(&self, before: &[(String, Arc<Certificate>)]) -> Option<Arc<Settings>> {
        let now = self.shown_now();
        let mut pairs = before.iter().zip(&now);
        if before.len() == now.len() && pairs.all(|(one, new)| one.0 == new.0 && Arc::ptr_eq(&one.1, &new.1)) {
            return None;
        }
        self.settings().map_err(|error| log::error!(target: "-internal", "{error}")).ok()
    }

    /// Who shows what.
    fn shown_now(&self) -> Vec<(String, Arc<Certificate>)> {
        let own = self.loaded.iter().map(|loaded| (loaded.host.as_str(), loaded));
        own.chain(self.sharing()).map(|(name, loaded)| (name.to_owned(), Arc::clone(&loaded.certificate))).collect()
    }

    /// From now on these are shown.
    fn settle(&mut self, mut loaded: Vec<Loaded>, remarks: Vec<Remark>) {
        // What is the same as the host's needs no place of its own.
        let hosts: Vec<Loaded> = loaded.iter().filter(|loaded| !self.plan.is_service(&loaded.host)).cloned().collect();
        let is_hosts = |one: &Loaded| {
            let host = self.plan.host_of(&one.host);
            hosts.iter().any(|other| Some(other.host.as_str()) == host && other.certificate.is_same(&one.certificate))
        };
        loaded.retain(|one| !is_hosts(one));
        let before = std::mem::replace(&mut self.loaded, loaded);
        let is_new = |one: &&Loaded| !before.iter().any(|old| Arc::ptr_eq(&old.certificate, &one.certificate));
        for new in self.loaded.iter().filter(is_new) {
            // The start loads all, and says what it serves.
            if !before.is_empty() {
                log::info!(target: &new.host, "certificate loaded from {}", new.file.display());
            }
            if !new.certificate.covers(new.host.trim_matches(['[', ']'])) {
                let file = new.file.display();
                log::warn!(target: &new.host, "the certificate {file} {}", self.for_others(&new.host, &new.certificate));
            }
            self.tell_of_names(new);
        }
        let now = unix_seconds();
        let dates = |one: &Loaded| [one.certificate.starts_unix_seconds(), one.certificate.expires_unix_seconds()];
        self.look_at = self.loaded.iter().flat_map(dates).filter(|date| *date > now).min();
        self.tell(remarks);
    }

    /// Logs what was not logged by the last look.
    fn tell(&mut self, remarks: Vec<Remark>) {
        for remark in remarks.iter().filter(|remark| !self.remarks.contains(remark)) {
            log::warn!(target: &remark.host, "{}", remark.text);
        }
        self.remarks = remarks;
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

    /// Other servers look for a service's name in the certificate that it shows. Nobody else does: the host's own people reach
    /// its services by the stream to the host, and many other servers are content with dialback. So this is no warning.
    fn tell_of_names(&self, host: &Loaded) {
        if !self.plan.is_federated || is_own_make(&host.certificate) || host_address(&host.host).is_some() {
            return;
        }
        let shares = self.sharing().filter(|(_, loaded)| loaded.host == host.host).map(|(service, _)| service);
        let missing: Vec<&str> = shares.filter(|name| !host.certificate.covers(name)).collect();
        let how = self.plan.wanted.iter().find(|wanted| wanted.name == host.host).map_or("", |wanted| &wanted.how);
        if !missing.is_empty() {
            log::info!(target: &host.host, "{}; {how}", names_missing(&missing));
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

/// What it means that a host's certificate does not name these services of its. RFC 6120 §13.7.2: who opens a stream to a domain
/// looks for that domain.
pub fn names_missing(services: &[&str]) -> String {
    let names = services.join(", ");
    format!(
        "its certificate does not name {names}: that matters only to other servers that insist on certificates and whose people \
         use what is there"
    )
}

/// What is shown at first: what was found, or for a host without one what we make.
fn first(
    wanted: &Wanted,
    Choice { found, passed_over }: Choice,
    owner: Option<(u32, u32)>,
    remarks: &mut Vec<Remark>,
) -> Result<Option<Loaded>, StartError> {
    let now = unix_seconds();
    let services = match &wanted.kind {
        WantedKind::Host(services) => services,
        // It can do with its host's.
        WantedKind::Service(_) => {
            return Ok(found
                .filter(|(at, certificate)| wanted.is_given(*at, certificate, now))
                .map(|found| wanted.loaded(found)));
        }
    };
    let own = wanted.sources.last().ok_or_else(|| StartError(format!("no certificate for {}", wanted.name)))?;
    let is_spent = |certificate: &Certificate| is_own_make(certificate) && certificate.expires_unix_seconds() <= now;
    let found = match found {
        Some((at, certificate)) if !is_spent(&certificate) => wanted.loaded((at, certificate)),
        _ => {
            if let Some(broken) = passed_over.iter().find(|error| error.path == own.certificate) {
                return Err(broken.start_error());
            }
            made::make((&wanted.name, &wanted.how), services, &own.certificate, owner)?;
            let made = choose(&wanted.name, std::slice::from_ref(own), now).map_err(|error| error.start_error())?;
            let (_, made) = made.found.ok_or_else(|| StartError(format!("{} is gone", own.certificate.display())))?;
            wanted.loaded((wanted.sources.len().saturating_sub(1), made))
        }
    };
    // Let's Encrypt's directory is closed to the server wherever certbot is: who has a good one from elsewhere is not told.
    if !is_good(&found.certificate, &wanted.name, now) {
        remarks.extend(passed_over.iter().map(|error| not_taken(&found, &error.to_string())));
    }
    Ok(Some(found))
}

/// What is shown after another look, in place of `old`. `others` are those that were looked at before it, hosts first.
fn next(
    wanted: &Wanted,
    Choice { found, passed_over }: Choice,
    (old, others): (&Loaded, &[Loaded]),
    now: i64,
    remarks: &mut Vec<Remark>,
) -> Option<Loaded> {
    let is_old_good = is_good(&old.certificate, &wanted.name, now);
    let found = match &wanted.kind {
        WantedKind::Host(_) => found,
        WantedKind::Service(_) => found.filter(|(at, certificate)| wanted.is_given(*at, certificate, now)),
    };
    if let Some((at, new)) = &found {
        let was = wanted.sources.iter().position(|source| source.certificate == old.file);
        // Not even one that has ended gives way to our own make, while its file is there: that it cannot be read or used may pass.
        let is_hidden =
            || wanted.source_of(&old.file).is_some_and(|source| passed_over.iter().any(|error| error.is_about(source)));
        let is_better = match (is_old_good, is_good(new, &wanted.name, now)) {
            (false, _) => is_own_make(&old.certificate) || !is_own_make(new) || !is_hidden(),
            (true, false) => false,
            (true, true) => {
                was.is_none_or(|was| *at <= was) || new.expires_unix_seconds() >= old.certificate.expires_unix_seconds()
            }
        };
        if new.is_same(&old.certificate) || is_better {
            let new = match new.is_same(&old.certificate) {
                true => Loaded { file: wanted.file(*at), ..old.clone() },
                false => found.map(|found| wanted.loaded(found))?,
            };
            if !is_good(&new.certificate, &wanted.name, now) {
                remarks.extend(passed_over.iter().map(|error| not_taken(&new, &error.to_string())));
            }
            return Some(new);
        }
    } else if let WantedKind::Service(host) = &wanted.kind {
        let hosts = others.iter().find(|other| other.host == *host);
        if !is_old_good || hosts.is_some_and(|hosts| is_good(&hosts.certificate, &wanted.name, now)) {
            return None;
        }
    }
    remarks.push(kept(old, &why_kept(wanted, old, found.as_ref(), &passed_over, now)));
    Some(old.clone())
}

/// Why nothing takes the place of the certificate that is shown.
fn why_kept(
    wanted: &Wanted,
    old: &Loaded,
    found: Option<&(usize, Certificate)>,
    passed_over: &[LoadError],
    now: i64,
) -> String {
    let file = old.file.display();
    let found = found.map(|(at, new)| (wanted.file(*at), new));
    let flaw = found.and_then(|(new, certificate)| {
        let text = format!("the certificate {} {}", new.display(), flaw(certificate, &wanted.name, now)?);
        Some((new, text))
    });
    let gone = || format!("the certificate file {file} is not there any more");
    let Some(source) = wanted.source_of(&old.file) else {
        let instead = flaw.map_or_else(|| "there is no other".to_owned(), |(_, text)| text);
        return format!("nothing leads to {file} any more, and {instead}");
    };
    match (passed_over.iter().find(|error| error.is_about(source)), flaw) {
        (Some(error), _) => error.to_string(),
        (None, Some((new, text))) if new == old.file || open(&old.file).is_ok() => text,
        (None, _) => gone(),
    }
}

/// A file that could not take the place of the certificate that is shown.
fn kept(old: &Loaded, why: &str) -> Remark {
    Remark { host: old.host.clone(), text: format!("{why}; the certificate loaded before stays in use") }
}

/// A file that could not be taken, where another was found.
fn not_taken(found: &Loaded, why: &str) -> Remark {
    let text = format!("{why}; {} is shown", found.file.display());
    Remark { host: found.host.clone(), text }
}

/// A host of a new configuration without one.
fn without(wanted: &Wanted, why: &str) -> Remark {
    let text = format!("{why}; until then {} shows the certificate of another host", wanted.name);
    Remark { host: wanted.name.clone(), text }
}

/// The time, as certificates count it.
pub fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
