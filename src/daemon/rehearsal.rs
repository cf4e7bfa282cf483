//! `jabberd --test`: what a start would stumble over between jabber.xml and the first client, found without a start: nothing is
//! made, and the server that runs is left alone.
//!
//! The order is that of the start in `main.rs`. What whoever asks may not see is told as unseen, never as a fault.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use super::accounts::DATABASE;
use super::holders::holders;
use super::privileges::{Identity, is_root};
use super::{Refusal, StartError, authorities, certificates, control, pidfile};
use crate::config::{Config, Listener, LogTarget};
use crate::net::listener;

/// What a rehearsal has found.
#[derive(Debug, Default)]
pub struct Findings {
    /// No server could start so.
    pub problems: Vec<Refusal>,
    /// What could not be looked at.
    pub unseen: Vec<String>,
}

impl Findings {
    fn problem(&mut self, error: &StartError) {
        let StartError(text) = error;
        let (text, remedy) =
            text.rsplit_once("; ").or_else(|| text.rsplit_once(": ")).unwrap_or((text, "correct jabber.xml"));
        self.problems.push(Refusal::new(text, remedy));
    }
}

/// Looks at all that a start needs, but for what is in the database.
pub fn rehearse(config: &Config) -> Findings {
    let mut findings = Findings::default();
    let identity = match config.user.as_deref().map(Identity::of).transpose() {
        Ok(identity) => identity,
        Err(error) => {
            findings.problem(&error);
            None
        }
    };
    let who = Who { identity: identity.as_ref() };
    if who.is_stranger() {
        let name = identity.as_ref().map_or("", Identity::name);
        findings
            .unseen
            .push(format!("what the user '{name}' may read and write, which only root and that user can tell"));
    }
    files(config, &who, &mut findings);
    if let Some(path) = config.pidfile.as_ref().filter(|_| !who.is_stranger()) {
        pidfile::could_create(path).unwrap_or_else(|error| findings.problem(&error));
    }
    control::could_open(config, who.identity).iter().for_each(|error| findings.problem(error));
    ports(config, &mut findings);
    certificates(config, &who, &mut findings);
    if let Err(error) = authorities::load(config) {
        who.tell(&error, &mut findings);
    }
    findings
}

/// Whose rights count.
struct Who<'a> {
    identity: Option<&'a Identity>,
}

impl Who<'_> {
    /// Are we neither root nor the server's user?
    fn is_stranger(&self) -> bool {
        !is_root() && self.identity.is_some_and(|identity| !identity.is_own())
    }

    /// May the server's user do this? `None` where we cannot know.
    fn may(&self, path: &Path, wanted: AccessFlags) -> Option<Result<(), Errno>> {
        let ask = || faccessat(AT_FDCWD, path, wanted, AtFlags::AT_EACCESS);
        match self.identity {
            None => Some(ask()),
            Some(_) if self.is_stranger() => None,
            Some(identity) => identity.lend(ask).ok(),
        }
    }

    /// A file that a stranger may not see is no fault.
    fn tell(&self, error: &StartError, findings: &mut Findings) {
        match self.is_stranger() && error.0.contains("Permission denied") {
            true => findings.unseen.push(error.0.clone()),
            false => findings.problem(error),
        }
    }
}

/// The logs, and the data.
fn files(config: &Config, who: &Who<'_>, findings: &mut Findings) {
    if let Err(error) = config.check_files() {
        for problem in error.problems {
            match problem.is_denied() && who.is_stranger() {
                true => findings.unseen.push(problem.what),
                false => findings.problems.push(Refusal::new(problem.to_string(), problem.remedy.clone())),
            }
        }
        return;
    }
    let make = AccessFlags::W_OK | AccessFlags::X_OK;
    for target in config.logs.iter().flat_map(|sink| &sink.targets) {
        let LogTarget::File { path, .. } = target else { continue };
        let (place, wanted) = match path.exists() {
            true => (path.as_path(), AccessFlags::W_OK),
            false => (path.parent().unwrap_or(Path::new("/")), make),
        };
        writable(who, ("the log", path), place, wanted, findings);
    }
    match config.spool.is_dir() {
        true => {
            let database = config.spool.join(DATABASE);
            writable(who, ("the data directory", &config.spool), &config.spool, make | AccessFlags::R_OK, findings);
            if database.exists() {
                let wanted = AccessFlags::R_OK | AccessFlags::W_OK;
                writable(who, ("the database", &database), &database, wanted, findings);
            }
        }
        // Whoever starts the server makes it.
        false => makes(("the data directory", &config.spool), &config.spool, who, findings),
    }
}

fn writable(who: &Who<'_>, (what, path): (&str, &Path), place: &Path, wanted: AccessFlags, findings: &mut Findings) {
    if let Some(Err(error)) = who.may(place, wanted) {
        refused((what, path), place, error, findings);
    }
}

/// Could whoever starts the server make this?
fn makes(what: (&str, &Path), path: &Path, who: &Who<'_>, findings: &mut Findings) {
    let around = path.ancestors().skip(1).find(|around| around.exists()).unwrap_or(Path::new("/"));
    let may = faccessat(AT_FDCWD, around, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS);
    if let Some(error) = may.err().filter(|_| !who.is_stranger()) {
        refused(what, around, error, findings);
    }
}

fn refused((what, path): (&str, &Path), place: &Path, error: Errno, findings: &mut Findings) {
    let error = io::Error::from(error);
    let text = format!("{what} {} cannot be written: {error}", path.display());
    findings
        .problems
        .push(Refusal::new(text, format!("see ls -ld {}; jabberctl check files tells more", place.display())));
}

/// A port that the server has which a restart ends is as good as free.
fn ports(config: &Config, findings: &mut Findings) {
    let server = config.pidfile.as_deref().and_then(pidfile::running).or_else(|| control::server(config));
    for wanted in config.listeners.iter().filter(|wanted| !wanted.is_optional) {
        if let Err(refused) = listener::could_open(wanted) {
            port(wanted, &refused, server, findings);
        }
    }
}

fn port(wanted: &Listener, refused: &listener::Refused, server: Option<i32>, findings: &mut Findings) {
    let (port, ip) = (wanted.port, refused.address.ip());
    match refused.error.kind() {
        io::ErrorKind::AddrInUse => {
            let holders = holders(refused.address);
            match (server, holders.first()) {
                (Some(server), Some(_)) if holders.iter().any(|(pid, _)| *pid == server) => {}
                (Some(_), None) => {
                    findings
                        .unseen
                        .push(format!("whether it is the running server that has port {port}: root is told"));
                }
                (_, Some((pid, name))) => {
                    let text = format!("port {port} [{ip}] is held by {name}, process {pid}");
                    findings
                        .problems
                        .push(Refusal::new(text, format!("stop {name}, or give one of them another port")));
                }
                (None, None) => findings.problem(&StartError(refused.to_string())),
            }
        }
        io::ErrorKind::PermissionDenied if !is_root() => {
            findings.unseen.push(format!("whether port {port} can be had: those below 1024 are root's"));
        }
        _ => findings.problem(&StartError(refused.to_string())),
    }
}

/// Each host has one that can be used, or one can be made for it.
fn certificates(config: &Config, who: &Who<'_>, findings: &mut Findings) {
    let now = certificates::unix_seconds();
    for host in &config.hosts {
        let sources = config.certificates_of(&host.name);
        let Some(own) = sources.last() else { continue };
        match certificates::choose(&host.name, &sources, now) {
            Err(error) => who.tell(&StartError(error.to_string()), findings),
            Ok(choice) if choice.found.is_some() => {}
            Ok(choice) => match choice.passed_over.iter().find(|error| error.is_about(own)) {
                Some(error) => who.tell(&StartError(error.to_string()), findings),
                None => makes(("the certificate", &own.certificate), &own.certificate, who, findings),
            },
        }
    }
    for service in &config.services {
        let sources = config.certificates_of_service(&service.name);
        if let Err(error) = certificates::choose(&service.name, &sources, now) {
            who.tell(&StartError(error.to_string()), findings);
        }
    }
}
