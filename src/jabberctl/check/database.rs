//! The data directory and the database in it, which has everybody's messages and keys.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jabber::daemon::privileges::Identity;
use jabber::store::soundness::{self, Seen};
use jabber::store::{backup, beside};
use nix::unistd::AccessFlags;

use super::access::{self, MAKE, READ_WRITE};
use super::files::{AREA, is_read_only};
use super::{Findings, Subject};
use crate::jabberctl::displaced;

const DIRECTORY: &str = "the data directory ";

/// So many hosts that are not served are told.
const UNSERVED_MAX: usize = 20;

/// How long a database is looked through, whatever `--timeout` says: monitoring waits, disks have other work, and meanwhile
/// nobody can restore, nor the log begin anew.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    let path = subject.database.clone();
    let spool = path.parent().unwrap_or(Path::new("/"));
    match access::is_there(subject, AREA, spool, findings) {
        Some(true) if spool.is_dir() => {}
        Some(false) => return unmade(subject, spool, findings),
        _ => return,
    }
    let all = MAKE.union(AccessFlags::R_OK);
    let mut is_usable = access::needs(subject, AREA, (spool, DIRECTORY, "written"), all, findings);
    if is_usable {
        let text = format!("{DIRECTORY}{} can be written by {}", spool.display(), access::who(subject));
        findings.fine(AREA, text);
    }
    let Some(is_there) = access::is_there(subject, AREA, &path, findings) else { return };
    if let Some((text, remedy)) = subject.holder().and_then(|process| displaced::look(process, &path)) {
        return findings.critical(AREA, text, remedy);
    }
    let found = match fs::metadata(&path) {
        Ok(found) if is_there => found,
        _ if subject.holder().is_some() => {
            let text =
                format!("{} is not there, though the server runs: what it keeps will not be found", path.display());
            return findings.critical(AREA, text, "run jabberctl check files as root: it tells where the file is");
        }
        _ => return findings.fine(AREA, format!("{} is not there yet: the first start makes it", path.display())),
    };
    is_usable &= is_own(subject, &path, &found, findings);
    for end in ["", "-wal", "-shm"] {
        let file = beside(&path, end);
        if is_usable && file.exists() {
            is_usable &= access::needs(subject, AREA, (&file, "", "read and written"), READ_WRITE, findings);
        }
    }
    if backup::is_empty(&path) {
        return empty(&path, findings);
    }
    if is_usable && look_through(subject, &path, findings) {
        unserved(subject, &path, findings);
    }
}

/// Does something as the database's owner, for beside a server SQLite takes part in its locks.
fn as_owner<T>(subject: &Subject, work: impl FnOnce() -> T) -> Option<T> {
    match (&subject.identity, Identity::of_server(&subject.config)) {
        (None, Ok(Some(owner))) => owner.lend(work).ok(),
        _ => access::as_server(subject, work),
    }
}

/// Accounts stay with the name of their host. Whoever gave the host another name is told where they are.
fn unserved(subject: &Subject, path: &Path, findings: &mut Findings) {
    let Some(Ok(hosts)) = as_owner(subject, || soundness::hosts(path)) else { return };
    let is_served = |host: &str| subject.config.hosts.is_empty() || subject.config.host(host).is_some();
    for (host, count) in hosts.into_iter().filter(|(host, _)| !is_served(host)).take(UNSERVED_MAX) {
        findings.warning(
            AREA,
            format!("accounts of {host} cannot log in ({count}): no <host> in jabber.xml names it"),
            format!(
                "write <host>{host}</host> there, too, and reload; or jabberctl export --host {host}, if they moved"
            ),
        );
    }
}

/// A start would take it for new.
fn empty(path: &Path, findings: &mut Findings) {
    let text = format!("{} is empty: the next start makes a new database of it, without an account", path.display());
    match backup::has_copies(path) {
        true => {
            let copies = path.with_file_name(backup::DIRECTORY);
            findings.critical(AREA, text, format!("jabberctl restore one of the copies in {}", copies.display()));
        }
        false => findings.warning(AREA, text, "if there were accounts, jabberctl restore a backup; else remove it"),
    }
}

/// The first start makes the data directory, if it can.
fn unmade(subject: &Subject, spool: &Path, findings: &mut Findings) {
    let shown = spool.display();
    let around = spool.ancestors().skip(1).find(|around| around.is_dir()).unwrap_or(Path::new("/"));
    if let Some(closed) = access::closed(subject, spool) {
        let (name, closed) = (access::who(subject), closed.display());
        findings.critical(
            AREA,
            format!("{DIRECTORY}{shown} cannot be used by {name}: the way there is closed by {closed}"),
            format!("chmod o+x {closed}; or name another place in jabber.xml"),
        );
    } else if is_read_only(around) {
        access::read_only(AREA, DIRECTORY, around, findings);
    } else if subject.starts_as_root
        || access::needs(subject, AREA, (around, "the place of the data directory ", "written"), MAKE, findings)
    {
        findings.fine(AREA, format!("{DIRECTORY}{shown} is not there yet: the first start makes it"));
    }
}

/// Does the database belong to the server's user, and is it nobody else's to read? The first is what is told.
fn is_own(subject: &Subject, path: &Path, found: &Metadata, findings: &mut Findings) -> bool {
    let shown = path.display();
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        findings.critical(
            AREA,
            format!("{shown} has mode {mode:o}: others may read or change it"),
            format!("chmod 640 {shown}"),
        );
    }
    let Some((uid, gid)) = subject.identity.as_ref().map(Identity::ids).filter(|(uid, _)| found.uid() != *uid) else {
        return true;
    };
    findings.critical(
        AREA,
        format!("{shown} belongs to user number {}, not to {}", found.uid(), access::who(subject)),
        format!("chown {uid}:{gid} {shown}*"),
    );
    false
}

/// Is it whole, as far as it could be seen?
fn look_through(subject: &Subject, path: &Path, findings: &mut Findings) -> bool {
    let shown = path.display();
    // Another table comes first each minute.
    let minutes = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60;
    let look = || soundness::look_through(path, PATIENCE, usize::try_from(minutes).unwrap_or(0));
    let found = as_owner(subject, look);
    let is_whole = matches!(found, Some(Ok(Seen::Whole | Seen::Tables(..))));
    match found {
        None => {}
        Some(Ok(Seen::Whole)) => findings.fine(AREA, format!("{shown} is whole")),
        Some(Ok(Seen::Tables(seen, all))) => {
            let seconds = PATIENCE.as_secs();
            let text = format!("{shown}: {seen} of {all} tables were looked through in {seconds} s, and are whole");
            findings.fine(AREA, text);
        }
        Some(Ok(Seen::Nothing)) => findings.unknown(
            AREA,
            format!("{shown} was not looked through: that would change it, or a server starts or stops"),
            "start the server, which takes over what the last one left; then check again",
        ),
        Some(Err(error)) => {
            let (whole, hint) = (error.to_string(), error.hint());
            let text = whole.strip_suffix(&format!(" ({hint})")).unwrap_or(&whole);
            findings.critical(AREA, text, hint);
        }
    }
    is_whole
}
