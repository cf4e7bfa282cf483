//! Files, their owners and modes, and the room on their disks.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use jabber::config::{Config, Link, LogTarget};
use jabber::daemon::pidfile::MADE_AT_START;
use jabber::daemon::privileges::is_root;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::AccessFlags;

use super::access::{self, Answer, MAKE};
use super::{Findings, Level, Subject};

pub(super) const AREA: &str = "files";

/// Below so much room things go wrong soon, and now.
const ROOM: (u64, u64) = (500 << 20, 50 << 20);

/// Fewer new files than this are soon used up: the database's, logs, copies.
const FILES_LEFT: u64 = 32;

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    user(subject, findings);
    if let Err(error) = subject.config.check_files() {
        for problem in error.problems {
            match problem.is_denied() && !access::sees_all(subject) {
                true => {
                    findings.unknown(AREA, format!("{}: not allowed for you", problem.what), access::remedy(subject))
                }
                false => findings.problem(AREA, &problem),
            }
        }
    }
    let mut directories: Vec<(PathBuf, &str)> = vec![(subject.config.spool.clone(), "the data directory")];
    for target in subject.config.logs.iter().flat_map(|sink| &sink.targets) {
        if let LogTarget::File { path, .. } = target {
            directories.extend(path.parent().map(|parent| (parent.to_owned(), "the log directory")));
            log(subject, path, findings);
        }
    }
    if let Some(path) = &subject.config.pidfile {
        pidfile(subject, path, findings);
    }
    let control = subject.config.control_socket();
    let directory = control.parent().unwrap_or(Path::new("/"));
    if subject.process().is_some() && access::is_there(subject, AREA, directory, findings) == Some(false) {
        let text = format!("{} is not there, where jabberctl's socket shall be", directory.display());
        findings.warning(AREA, text, "restart the server: it makes it");
    }
    sockets(subject, findings);
    if subject.by_systemd {
        behind_walls(&subject.config, &unit(), findings);
    }
    directories.dedup();
    for (directory, what) in &directories {
        room(directory, what, findings);
    }
    configuration(subject, findings);
    secrets(subject, findings);
}

/// What the server writes and reads, where its unit does not let it.
fn behind_walls(config: &Config, unit: &str, findings: &mut Findings) {
    let directory_of = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    let logs = config.logs.iter().flat_map(|sink| &sink.targets).filter_map(|target| match target {
        LogTarget::File { path, .. } => Some(directory_of(path)),
        _ => None,
    });
    let needed = [config.spool.clone()].into_iter().chain(logs).chain(config.pidfile.as_deref().map(directory_of));
    // Whose stanzas are taken from files that are deleted then.
    let stanzas = config.components.iter().filter_map(|component| match &component.link {
        Link::Directory(path) => Some(path.clone()),
        _ => None,
    });
    let others = [directory_of(&config.control_socket())].into_iter().chain(stanzas);
    let all = needed.map(|path| (path, Level::Critical)).chain(others.map(|path| (path, Level::Warning)));
    walls(unit, all, findings);
    let certificates = config.certificates.iter().flat_map(|source| [&source.certificate, &source.key]);
    let trusted = config.authorities.iter().map(|authority| &authority.path);
    hidden(unit, certificates.chain(trusted).map(PathBuf::as_path), findings);
}

/// What systemd says of the unit's walls; nothing where there is no such unit.
fn unit() -> String {
    let properties = ["ProtectSystem", "ProtectHome", "ReadWritePaths", "RuntimeDirectory"];
    let properties = properties.map(|name| format!("--property={name}"));
    let asked = Command::new("systemctl").args(["show", "jabber"]).args(properties).output();
    asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn property<'a>(unit: &'a str, name: &str) -> &'a str {
    unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
}

/// A path as it is written, and where its links lead.
fn names(path: &Path) -> [PathBuf; 2] {
    [path.to_owned(), path.canonicalize().unwrap_or_else(|_| path.to_owned())]
}

/// systemd.exec(5), `ProtectHome=`: these are not there for the server, nor what is opened in them.
fn is_home(unit: &str, path: &Path) -> bool {
    matches!(property(unit, "ProtectHome"), "yes" | "tmpfs")
        && ["/home", "/root", "/run/user"].iter().any(|home| names(path).iter().any(|path| path.starts_with(home)))
}

/// systemd.exec(5), `ProtectSystem=strict`: outside of these directories the server writes nothing, whatever their modes say.
/// Each directory comes with how bad that is; one that serves for several things is told once, by the first of them.
fn walls(unit: &str, directories: impl Iterator<Item = (PathBuf, Level)>, findings: &mut Findings) {
    if property(unit, "ProtectSystem") != "strict" {
        return;
    }
    let mut open: Vec<PathBuf> = property(unit, "ReadWritePaths")
        .split_whitespace()
        .map(|path| path.trim_start_matches(['-', '+']).into())
        .collect();
    open.extend(property(unit, "RuntimeDirectory").split_whitespace().map(|name| Path::new("/run").join(name)));
    // PrivateTmp has these of its own.
    open.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
    let mut told = Vec::new();
    for (directory, level) in directories {
        let is_home = is_home(unit, &directory);
        if told.contains(&directory) {
            continue;
        }
        if !is_home && open.iter().any(|open| names(&directory).iter().any(|path| path.starts_with(open))) {
            continue;
        }
        let shown = directory.display();
        let then = if level == Level::Critical { ": the server does not start" } else { "" };
        let home = if is_home { "ProtectHome=no, below it " } else { "" };
        findings.add(
            level,
            AREA,
            format!("jabber.service does not let the server write to {shown}{then}"),
            format!(
                "systemctl edit jabber, and write [Service], below it {home}ReadWritePaths={shown}; \
                 then restart the server"
            ),
        );
        told.push(directory);
    }
}

/// Files that the server only reads.
fn hidden<'a>(unit: &str, files: impl Iterator<Item = &'a Path>, findings: &mut Findings) {
    for file in files.filter(|file| is_home(unit, file)) {
        let shown = file.display();
        findings.critical(
            AREA,
            format!("jabber.service hides {shown} from the server"),
            "copy it to /etc/jabber/ssl, and name that place in jabber.xml",
        );
    }
}

/// The pid file's directory, which nobody makes but the start scripts theirs.
fn pidfile(subject: &Subject, path: &Path, findings: &mut Findings) {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let shown = directory.display();
    let is_made_at_start = MADE_AT_START.iter().any(|made| directory == Path::new(made));
    match access::is_there(subject, AREA, directory, findings) {
        Some(false) if is_made_at_start && subject.process().is_some() => {
            findings.warning(AREA, format!("{shown} is not there"), "restart the server: its start script makes it");
        }
        Some(false) if !is_made_at_start => findings.critical(
            AREA,
            format!("{shown} is not there, where the pid file shall be: the server does not start"),
            format!("mkdir {shown}; or name another file in jabber.xml: <pidfile>/run/jabber/jabber.pid</pidfile>"),
        ),
        Some(true) if subject.starts_as_root && is_read_only(directory) => {
            access::read_only(AREA, "the directory of the pid file ", directory, findings);
        }
        Some(true) if !subject.starts_as_root && !is_made_at_start => {
            access::needs(subject, AREA, (directory, "the directory of the pid file ", "written"), MAKE, findings);
        }
        _ => {}
    }
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
            (Ok(Some(group)), Ok(found)) if subject.process().is_some() && found.gid() != group.gid.as_raw() => {
                findings.warning(
                    AREA,
                    format!("the socket {shown} is not of the group '{name}': its members cannot use it"),
                    "as root: jabberd --give-sockets; jabber.service does it after each start",
                )
            }
            _ => {}
        }
    }
}

fn user(subject: &Subject, findings: &mut Findings) {
    match (&subject.config.user, &subject.identity) {
        (_, Some(identity)) => findings.fine(AREA, format!("the user '{}' is there", identity.name())),
        (Some(_), None) => {}
        (None, _) if is_root() => findings.warning(
            AREA,
            "jabber.xml names no user: started as root, the server stays root",
            "write <user>jabber</user> into jabber.xml, or start it with -U jabber",
        ),
        (None, _) => {}
    }
}

fn log(subject: &Subject, path: &Path, findings: &mut Findings) {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match access::is_there(subject, AREA, path, findings) {
        Some(true) if access::needs(subject, AREA, (path, "the log ", "written"), AccessFlags::W_OK, findings) => {
            if let Answer::No(_) = access::may(subject, directory, MAKE) {
                let (shown, name) = (directory.display(), access::who(subject));
                findings.warning(
                    AREA,
                    format!(
                        "the log directory {shown} cannot be written by {name}: no log is made after one is moved away"
                    ),
                    format!("chown {} {shown} && chmod u+rwx {shown}", access::owner(subject)),
                );
            }
        }
        Some(false) if directory.is_dir() => {
            access::needs(subject, AREA, (directory, "the log directory ", "written"), MAKE, findings);
        }
        _ => {}
    }
}

/// Can nobody write there?
pub(super) fn is_read_only(directory: &Path) -> bool {
    statvfs(directory).is_ok_and(|disk| disk.flags().contains(FsFlags::ST_RDONLY))
}

pub(super) fn room(directory: &Path, what: &str, findings: &mut Findings) {
    if let Ok(found) = statvfs(directory) {
        left(directory, what, found.blocks_available().saturating_mul(found.fragment_size()), findings);
        // Some file systems do not count them.
        if found.files() > 0 && found.files_available() < FILES_LEFT {
            let (shown, count) = (directory.display(), found.files_available());
            findings.critical(
                AREA,
                format!("{count} more files can be made on the disk of {what} {shown}"),
                "remove files nobody needs; df -i shows how many each disk has",
            );
        }
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

/// jabber.xml, conf.d and what they include: the server's user reads all of it, at a reload at the latest.
fn configuration(subject: &Subject, findings: &mut Findings) {
    let directory = subject.config.file.parent().unwrap_or(Path::new("")).join("conf.d");
    let is_listed =
        !directory.is_dir() || is_readable(subject, &directory, AccessFlags::R_OK | AccessFlags::X_OK, findings);
    for file in &subject.config.files {
        if is_listed || !file.starts_with(&directory) {
            is_readable(subject, file, AccessFlags::R_OK, findings);
        }
    }
}

fn is_readable(subject: &Subject, path: &Path, wanted: AccessFlags, findings: &mut Findings) -> bool {
    let Answer::No(_) = access::may(subject, path, wanted) else { return true };
    let (shown, name, group) = (path.display(), access::who(subject), access::group(subject));
    let (level, then) = match subject.starts_as_root {
        true => (Level::Warning, "a reload will fail"),
        false => (Level::Critical, "the server does not start"),
    };
    let right = if wanted.contains(AccessFlags::X_OK) { "g+rx" } else { "g+r" };
    let remedy = format!("chgrp {group} {shown} && chmod {right} {shown}; its directories, too");
    findings.add(level, AREA, format!("{shown} cannot be read by {name}: {then}"), remedy);
    false
}

/// jabber.xml may hold passwords of components.
fn secrets(subject: &Subject, findings: &mut Findings) {
    let path = &subject.config.file;
    let shown = path.display();
    let Ok(found) = fs::metadata(path) else { return };
    if found.permissions().mode() & 0o002 != 0 {
        findings.critical(AREA, format!("{shown} can be changed by everybody"), format!("chmod o-w {shown}"));
    }
    let has_secret = fs::read_to_string(path).is_ok_and(|text| text.contains("<secret>"));
    if has_secret && found.permissions().mode() & 0o004 != 0 {
        findings.warning(
            AREA,
            format!("{shown} has a <secret>, and can be read by everybody"),
            format!("chgrp {} {shown} && chmod 640 {shown}", access::group(subject)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn what_the_unit_keeps_the_server_from_was_all_well() {
        let unit = "ProtectSystem=strict\nProtectHome=yes\nReadWritePaths=-/var/lib/jabber -/srv/chat /home/chat\n\
                    RuntimeDirectory=jabber\n";
        let told = |unit: &str, level: Level, paths: &[&str]| {
            let mut findings = Findings::default();
            walls(unit, paths.iter().map(|path| (PathBuf::from(path), level)), &mut findings);
            findings.0
        };
        let all = ["/var/lib/jabber", "/srv/chat/log", "/run/jabber", "/srv/chatter", "/srv/chatter"];
        let found = told(unit, Level::Critical, &all);
        let [found] = found.as_slice() else { panic!("{found:?}") };
        assert!(
            found.level == Level::Critical && found.text.contains("write to /srv/chatter: the server"),
            "{found:?}"
        );
        assert!(found.remedy.contains("below it ReadWritePaths=/srv/chatter;"), "{found:?}");
        let found = told(unit, Level::Warning, &["/srv/chatter"]);
        assert!(found[0].level == Level::Warning && found[0].text.ends_with("/srv/chatter"), "{found:?}");
        // What is opened within a home that is hidden stays hidden.
        let found = told(unit, Level::Critical, &["/home/chat"]);
        assert!(found[0].remedy.contains("below it ProtectHome=no, below it ReadWritePaths=/home/chat;"), "{found:?}");
        assert!(told(&unit.replace("Home=yes", "Home=no"), Level::Critical, &["/home/chat"]).is_empty());
        // Another unit, or none.
        assert!(told(&unit.replace("strict", "full"), Level::Critical, &all).is_empty());
        assert!(told("", Level::Critical, &all).is_empty());

        let mut findings = Findings::default();
        let files = ["/etc/jabber/ssl/a.pem", "/root/.acme.sh/a.pem"];
        hidden(unit, files.into_iter().map(Path::new), &mut findings);
        let [found] = findings.0.as_slice() else { panic!("{findings:?}") };
        assert!(found.text.contains("hides /root/.acme.sh/a.pem"), "{found:?}");
    }

    #[test]
    fn a_data_directory_behind_the_walls_was_told_twice() {
        let xml = "<jabber>
            <service id='sessions'><host>chat.test</host><jsm xmlns='jabber:config:jsm'/></service>
            <service id='files.chat.test'><dir><in>/srv/stanzas</in></dir></service>
            <xdb id='xdb'><xdb_file xmlns='jabber:config:xdb_file'><spool>/srv/chat</spool></xdb_file></xdb>
            <log id='elogger'><file>/srv/log/error.log</file></log>
            <pidfile>/srv/chat/jabber.pid</pidfile>
            <certificate xmlns='urn:jabber:config:3' host='chat.test' key='/root/key.pem'>/etc/jabber/chain.pem</certificate>
            <io><tls><cacertfile>/home/admin/ca.pem</cacertfile></tls></io>
          </jabber>";
        let config = Config::from_xml(xml, &Default::default()).unwrap();
        let told = |unit: &str| -> Vec<(Level, String)> {
            let mut findings = Findings::default();
            behind_walls(&config, unit, &mut findings);
            findings.0.into_iter().map(|found| (found.level, found.text)).collect()
        };
        let cannot = |path: &str, then: &str| format!("jabber.service does not let the server write to {path}{then}");
        let (critical, fatal) = (Level::Critical, ": the server does not start");
        let hides = |path: &str| (critical, format!("jabber.service hides {path} from the server"));
        let strict = "ProtectSystem=strict\nProtectHome=yes\nReadWritePaths=/var/lib/jabber\nRuntimeDirectory=jabber\n";
        let expected = [
            (critical, cannot("/srv/chat", fatal)),
            (critical, cannot("/srv/log", fatal)),
            (Level::Warning, cannot("/srv/stanzas", "")),
            hides("/root/key.pem"),
            hides("/home/admin/ca.pem"),
        ];
        assert_eq!(told(strict), expected);
        let open = strict.replace("/var/lib/jabber", "/var/lib/jabber -/srv");
        assert_eq!(told(&open), expected[3..]);
        assert_eq!(told(&open.replace("Home=yes", "Home=read-only")), []);
        assert_eq!(told(""), []);
    }

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
