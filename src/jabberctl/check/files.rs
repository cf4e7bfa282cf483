//! Files, their owners and modes, and the room on their disks.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jabber::config::{Config, LogTarget};
use jabber::daemon::accounts::DATABASE;
use nix::sys::statvfs::statvfs;

use super::{Findings, Subject};

const AREA: &str = "files";

/// Below so much room things go wrong soon, and now.
const ROOM: (u64, u64) = (500 << 20, 50 << 20);

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    user(subject, findings);
    data(subject, findings);
    if let Err(error) = subject.config.check_files() {
        for problem in error.problems {
            findings.problem(AREA, &problem);
        }
    }
    let mut directories: Vec<(PathBuf, &str)> = vec![(subject.config.spool.clone(), "the data directory")];
    for target in subject.config.logs.iter().flat_map(|sink| &sink.targets) {
        if let LogTarget::File { path, .. } = target {
            directories.extend(path.parent().map(|parent| (parent.to_owned(), "the log directory")));
            log_file(subject, path, findings);
        }
    }
    for place in [subject.config.pidfile.clone(), Some(subject.config.control_socket())].into_iter().flatten() {
        let parent = place.parent().unwrap_or(Path::new("/"));
        if !parent.is_dir() && subject.server.is_some() {
            findings.warning(
                AREA,
                format!("{} is not there", parent.display()),
                "restart the server: its start script makes it",
            );
        }
    }
    sockets(subject, findings);
    directories.dedup();
    for (directory, what) in &directories {
        writable(subject, directory, what, findings);
        room(directory, what, findings);
    }
    secrets(subject, findings);
}

/// The sockets of a server that runs, and the groups that jabber.xml names for them.
fn sockets(subject: &Subject, findings: &mut Findings) {
    let Config { control, metrics_socket, .. } = &subject.config;
    let metrics = metrics_socket.as_ref().map(|socket| ("metrics", socket.path.clone(), &socket.group));
    for (element, path, group) in
        [("control", subject.config.control_socket(), &control.group)].into_iter().chain(metrics)
    {
        let Some(name) = group else { continue };
        let shown = path.display();
        match (nix::unistd::Group::from_name(name), fs::symlink_metadata(&path)) {
            (Ok(None), _) => findings.critical(
                AREA,
                format!("there is no group '{name}' (<{element} group=>)"),
                format!("addgroup --system {name}, or name another one in jabber.xml"),
            ),
            (Ok(Some(group)), Ok(found)) if subject.server.is_some() && found.gid() != group.gid.as_raw() => findings
                .warning(
                    AREA,
                    format!("the socket {shown} is not of the group '{name}': its members cannot use it"),
                    "as root: jabberd --give-sockets; jabber.service does it after each start",
                ),
            _ => {}
        }
    }
}

fn user(subject: &Subject, findings: &mut Findings) {
    match (&subject.config.user, &subject.identity) {
        (_, Some(identity)) => findings.fine(AREA, format!("the user '{}' is there", identity.name())),
        (Some(_), None) => {}
        (None, _) if nix::unistd::geteuid().is_root() => findings.warning(
            AREA,
            "jabber.xml names no user: started as root, the server stays root",
            "write <user>jabber</user> into jabber.xml, or start it with -U jabber",
        ),
        (None, _) => {}
    }
}

/// The database, which has everybody's messages and keys.
fn data(subject: &Subject, findings: &mut Findings) {
    let path = subject.config.spool.join(DATABASE);
    let shown = path.display();
    let Ok(found) = fs::metadata(&path) else {
        if subject.config.spool.is_dir() {
            findings.fine(AREA, format!("{shown} is not there yet: the first start makes it"));
        }
        return;
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        findings.critical(
            AREA,
            format!("{shown} has mode {mode:o}: others may read or change it"),
            format!("chmod 640 {shown}"),
        );
    }
    if let Some(identity) = &subject.identity {
        let (uid, gid) = identity.ids();
        if found.uid() != uid {
            findings.critical(
                AREA,
                format!("{shown} belongs to user number {}, not to {}", found.uid(), identity.name()),
                format!("chown {uid}:{gid} {shown}"),
            );
        }
    }
}

/// May the server's user do this (4 read, 2 write, 1 enter) to it?
fn may(subject: &Subject, found: &Metadata, bits: u32) -> bool {
    let (uid, gid) = match &subject.identity {
        Some(identity) => identity.ids(),
        None => (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
    };
    let mode = found.permissions().mode();
    if uid == 0 {
        return true;
    }
    let granted = match (found.uid() == uid, in_group(subject, gid, found.gid())) {
        (true, _) => mode >> 6,
        (false, true) => mode >> 3,
        (false, false) => mode,
    };
    granted & bits == bits
}

/// Is the server's user in this group?
fn in_group(subject: &Subject, own: u32, group: u32) -> bool {
    if own == group {
        return true;
    }
    let Some(identity) = &subject.identity else { return false };
    let group = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(group)).ok().flatten();
    group.is_some_and(|group| group.mem.iter().any(|member| member == identity.name()))
}

fn who(subject: &Subject) -> String {
    subject.identity.as_ref().map_or_else(|| "the server's user".to_owned(), |identity| identity.name().to_owned())
}

fn writable(subject: &Subject, directory: &Path, what: &str, findings: &mut Findings) {
    let shown = directory.display();
    let Ok(found) = fs::metadata(directory) else { return };
    let name = who(subject);
    if may(subject, &found, 3) {
        findings.fine(AREA, format!("{what} {shown} can be written by {name}"));
    } else {
        let owner = subject.identity.as_ref().map_or_else(
            || name.clone(),
            |identity| {
                let (uid, gid) = identity.ids();
                format!("{uid}:{gid}")
            },
        );
        findings.critical(
            AREA,
            format!("{what} {shown} cannot be written by {name}"),
            format!("chown {owner} {shown} && chmod u+rwx {shown}"),
        );
    }
}

fn log_file(subject: &Subject, path: &Path, findings: &mut Findings) {
    let Ok(found) = fs::metadata(path) else { return };
    if !may(subject, &found, 2) {
        let (shown, name) = (path.display(), who(subject));
        findings.critical(
            AREA,
            format!("the log {shown} cannot be written by {name}"),
            format!("chown {name} {shown}"),
        );
    }
}

fn room(directory: &Path, what: &str, findings: &mut Findings) {
    if let Ok(found) = statvfs(directory) {
        left(directory, what, found.blocks_available().saturating_mul(found.fragment_size()), findings);
    }
}

/// So many bytes are left on a directory's disk.
fn left(directory: &Path, what: &str, free: u64, findings: &mut Findings) {
    let shown = directory.display();
    let mib = free >> 20;
    let remedy = "make room: old logs, old backups, or a bigger disk; df -h shows the disks";
    match free {
        free if free < ROOM.1 => {
            findings.critical(
                AREA,
                format!("{mib} MiB are left for {what} {shown}: messages are lost when it is full"),
                remedy,
            );
        }
        free if free < ROOM.0 => findings.warning(AREA, format!("only {mib} MiB are left for {what} {shown}"), remedy),
        _ => findings.fine(AREA, format!("{} MiB are left for {what} {shown}", mib)),
    }
}

/// jabber.xml may hold passwords of components.
fn secrets(subject: &Subject, findings: &mut Findings) {
    let path = &subject.config.file;
    let shown = path.display();
    let Ok(found) = fs::metadata(path) else { return };
    if !may(subject, &found, 4) {
        let name = who(subject);
        findings.warning(
            AREA,
            format!("{shown} cannot be read by {name}: a reload will fail"),
            format!("chgrp {name} {shown} && chmod g+r {shown}"),
        );
    }
    if found.permissions().mode() & 0o002 != 0 {
        findings.critical(AREA, format!("{shown} can be changed by everybody"), format!("chmod o-w {shown}"));
    }
    let has_secret = fs::read_to_string(path).is_ok_and(|text| text.contains("<secret>"));
    if has_secret && found.permissions().mode() & 0o004 != 0 {
        findings.warning(
            AREA,
            format!("{shown} has a <secret>, and can be read by everybody"),
            format!("chgrp jabber {shown} && chmod 640 {shown}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_disk_is_told_in_time() {
        for (mib, level, says) in [
            (0, Level::Critical, "0 MiB are left for the data directory /srv: messages are lost"),
            (49, Level::Critical, "49 MiB are left"),
            (50, Level::Warning, "only 50 MiB are left for the data directory /srv"),
            (499, Level::Warning, "only 499 MiB"),
            (500, Level::Fine, "500 MiB are left"),
        ] {
            let mut findings = Findings::default();
            left(Path::new("/srv"), "the data directory", mib << 20, &mut findings);
            let [found] = findings.0.as_slice() else { panic!("{findings:?}") };
            assert!(found.level == level && found.text.contains(says), "{found:?}");
            assert_eq!(found.remedy.contains("make room"), level != Level::Fine, "{found:?}");
        }
    }
}
