//! What the server's user may do with files: the system is asked as that user, and where we cannot be it, nothing is claimed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jabber::daemon::privileges::{Identity, is_root};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Gid, Group, User, faccessat, getegid, geteuid};

use super::{Findings, Subject};

/// Everybody else's remedy.
pub(super) const AS_ROOT: &str = "run it as root: sudo jabberctl check";

/// The remedy for what cannot be found out. Root whom the system does not let be another is told of that one.
pub(super) fn remedy(subject: &Subject) -> String {
    match &subject.identity {
        Some(identity) if is_root() && !subject.can_lend => as_user(identity),
        _ => AS_ROOT.to_owned(),
    }
}

/// How to ask as the server's user.
pub(super) fn as_user(identity: &Identity) -> String {
    format!("run it as that user: runuser -u {} -- jabberctl check; or where root is not confined", identity.name())
}

/// Read and write.
pub(super) const READ_WRITE: AccessFlags = AccessFlags::R_OK.union(AccessFlags::W_OK);
/// Enter, and make files.
pub(super) const MAKE: AccessFlags = AccessFlags::W_OK.union(AccessFlags::X_OK);

/// May it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No(Errno),
    /// Only root could find out.
    Unknown,
}

/// Does something as the server's user would; `None` where we cannot.
pub(super) fn as_server<T>(subject: &Subject, work: impl FnOnce() -> T) -> Option<T> {
    match &subject.identity {
        None => Some(work()),
        Some(identity) if identity.is_own() || is_root() => identity.lend(work).ok(),
        Some(_) => None,
    }
}

/// May the server's user do this to it?
pub(super) fn may(subject: &Subject, path: &Path, wanted: AccessFlags) -> Answer {
    match as_server(subject, || access(path, wanted)) {
        None => Answer::Unknown,
        Some(Ok(())) => Answer::Yes,
        Some(Err(Errno::EACCES | Errno::EPERM)) if !sees_all(subject) => Answer::Unknown,
        Some(Err(error)) => Answer::No(error),
    }
}

fn access(path: &Path, wanted: AccessFlags) -> nix::Result<()> {
    faccessat(AT_FDCWD, path, wanted, AtFlags::AT_EACCESS)
}

/// Is what we are refused refused to the server as well, or are we root?
pub(super) fn sees_all(subject: &Subject) -> bool {
    is_root() && subject.can_lend || subject.identity.as_ref().is_some_and(Identity::is_own)
}

/// Is it there? `None`: it cannot be found out, which is told then.
pub(super) fn is_there(subject: &Subject, area: &'static str, path: &Path, findings: &mut Findings) -> Option<bool> {
    match fs::metadata(path) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => Some(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !sees_all(subject) => {
            findings.unknown(area, format!("{} cannot be looked at by you", path.display()), remedy(subject));
            None
        }
        Err(error) => {
            let shown = path.display();
            findings.critical(area, format!("{shown} cannot be looked at: {error}"), format!("see ls -ld {shown}"));
            None
        }
    }
}

/// The server's user, for a sentence.
pub(super) fn who(subject: &Subject) -> String {
    let own = || User::from_uid(geteuid()).ok().flatten().map_or_else(|| geteuid().to_string(), |user| user.name);
    subject.identity.as_ref().map_or_else(own, |identity| identity.name().to_owned())
}

/// The server's user and group, for chown.
pub(super) fn owner(subject: &Subject) -> String {
    subject.identity.as_ref().map_or_else(
        || who(subject),
        |identity| {
            let (uid, gid) = identity.ids();
            format!("{uid}:{gid}")
        },
    )
}

/// The group of the server's user, for chgrp.
pub(super) fn group(subject: &Subject) -> String {
    let gid = subject.identity.as_ref().map_or_else(getegid, |identity| Gid::from_raw(identity.ids().1));
    Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

/// Tells of something that the server's user must be able to do and cannot: by the way there, by the disk, or by itself. Tells
/// nothing, and says so, if the user can.
pub(super) fn needs(
    subject: &Subject,
    area: &'static str,
    (path, what, verb): (&Path, &str, &str),
    wanted: AccessFlags,
    findings: &mut Findings,
) -> bool {
    let (shown, name) = (path.display(), who(subject));
    match may(subject, path, wanted) {
        Answer::Yes => return true,
        Answer::Unknown => {
            findings.unknown(
                area,
                format!("whether {what}{shown} can be {verb} by the server was not found out"),
                remedy(subject),
            );
        }
        Answer::No(Errno::EROFS) => read_only(area, what, path, findings),
        Answer::No(error) => match closed(subject, path) {
            Some(closed) => findings.critical(
                area,
                format!("{what}{shown} cannot be {verb} by {name}: the way there is closed by {}", closed.display()),
                format!("chmod o+x {}; or name another place in jabber.xml", closed.display()),
            ),
            None if error == Errno::EACCES => {
                let mode = if wanted.contains(AccessFlags::X_OK) { "u+rwx" } else { "u+rw" };
                findings.critical(
                    area,
                    format!("{what}{shown} cannot be {verb} by {name}"),
                    format!("chown {} {shown} && chmod {mode} {shown}", owner(subject)),
                );
            }
            None => findings.critical(
                area,
                format!("{what}{shown} cannot be {verb} by {name}: {}", error.desc()),
                format!("see ls -ld {shown}; lsattr -d {shown}"),
            ),
        },
    }
    false
}

/// A disk that nobody can write to.
pub(super) fn read_only(area: &'static str, what: &str, path: &Path, findings: &mut Findings) {
    let shown = path.display();
    findings.critical(
        area,
        format!("{what}{shown} is on a disk that is mounted read-only"),
        format!("see why (dmesg; findmnt -T {shown}), then: mount -o remount,rw and the disk"),
    );
}

/// The first directory on the way to a path that the server's user cannot enter; or on the way to where its links lead.
pub(super) fn closed(subject: &Subject, path: &Path) -> Option<PathBuf> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    [path, &target].into_iter().find_map(|path| {
        let mut way: Vec<&Path> = path.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty()).collect();
        way.reverse();
        let closed = way.into_iter().find(|part| may(subject, part, AccessFlags::X_OK) == Answer::No(Errno::EACCES));
        closed.map(Path::to_owned)
    })
}
