//! Whose the sockets are: those of a server that was never root, and what root does for it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::site::{Running, Site};

/// A user of no importance, and a group that it is not in.
const NOBODY: u32 = 65_534;

/// A server that runs as nobody, with this more in its configuration; as jabber.service starts it.
fn as_nobody(site: &Site, extra: &str) -> Running {
    site.write("jabber.xml", &site.xml(extra));
    chown(&site.directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new(site.program(env!("CARGO_BIN_EXE_jabberd")));
    command.uid(NOBODY).gid(NOBODY);
    site.start_by(command)
}

/// Root's step, and what it says.
fn give(site: &Site) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jabberd"));
    let output = command.arg("-c").arg(site.path("jabber.xml")).arg("--give-sockets").output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn group(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().gid()
}

#[test]
fn root_gives_the_sockets_of_a_server_that_was_never_root() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: only root can start a server as somebody else");
        return;
    }
    let adm = nix::unistd::Group::from_name("adm").unwrap().unwrap().gid.as_raw();
    let site = Site::new("give");
    let metrics = site.path("metrics");
    let elements = format!(
        "<control xmlns='urn:jabber:config:3' group='adm'/><metrics xmlns='urn:jabber:config:3' group='adm'>{}</metrics>",
        metrics.display()
    );
    let running = as_nobody(&site, &elements);
    let control = site.path("spool/control");
    // It serves all the same, and says how it is done.
    assert_eq!((group(&control), group(&metrics)), (NOBODY, NOBODY));
    site.ctl(&["status"]).success();
    let log = site.log();
    assert!(log.contains("is not yet of the group 'adm'") && log.contains("as root: jabberd --give-sockets"), "{log}");
    let found = site.ctl(&["--json", "check", "files"]).output().stdout;
    let found = String::from_utf8(found).unwrap();
    assert!(found.contains("is not of the group 'adm'") && found.contains("jabberd --give-sockets"), "{found}");
    assert_eq!(give(&site), (Some(0), String::new()));
    assert_eq!((group(&control), group(&metrics)), (adm, adm));
    assert_eq!(fs::metadata(&control).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(!String::from_utf8(site.ctl(&["check", "files"]).output().stdout).unwrap().contains("is not of the group"));
    // A member of the group comes in: it passes the file's mode, and the server knows the group.
    let program = site.program(env!("CARGO_BIN_EXE_jabberctl"));
    fs::set_permissions(site.path("spool"), fs::Permissions::from_mode(0o755)).unwrap();
    let as_user = |group: u32| {
        let mut command = Command::new(&program);
        command.args(["--socket", control.to_str().unwrap(), "status"]);
        command.uid(NOBODY - 1).gid(group).output().unwrap().status.code()
    };
    assert_eq!((as_user(adm), as_user(NOBODY)), (Some(0), Some(3)));
    // Twice is as good as once, and a reload keeps it.
    assert_eq!(give(&site).0, Some(0));
    site.ctl(&["reload"]).success();
    assert_eq!(group(&control), adm);
    running.stop();
}

#[test]
fn a_server_that_was_root_gives_its_sockets_itself() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: only root can become somebody else");
        return;
    }
    let adm = nix::unistd::Group::from_name("adm").unwrap().unwrap().gid.as_raw();
    let site = Site::new("root-gives");
    // A directory that is not there yet, as /run/jabber after the machine came up.
    let control = site.path("run/jabber/control");
    let element = format!("<control xmlns='urn:jabber:config:3' group='adm'>{}</control>", control.display());
    site.write("jabber.xml", &site.xml(&format!("<user>nobody</user>{element}")));
    chown(&site.directory, Some(NOBODY), Some(NOBODY)).unwrap();
    let running = site.start();
    let found = fs::symlink_metadata(&control).unwrap();
    assert_eq!((found.uid(), found.gid(), found.permissions().mode() & 0o777), (NOBODY, adm, 0o660));
    let directory = fs::metadata(control.parent().unwrap()).unwrap();
    assert_eq!((directory.uid(), directory.permissions().mode() & 0o777), (NOBODY, 0o755));
    let spool = fs::metadata(site.path("spool")).unwrap();
    assert_eq!((spool.uid(), spool.gid(), spool.permissions().mode() & 0o777), (NOBODY, NOBODY, 0o750));
    assert!(!site.log().contains("--give-sockets"), "{}", site.log());
    site.ctl(&["status"]).success();
    running.stop();
    assert!(!control.exists());
}

#[test]
fn nothing_else_is_given_away() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: only root can give anything away");
        return;
    }
    let site = Site::new("give-nothing");
    site.write("jabber.xml", &site.xml("<control xmlns='urn:jabber:config:3' group='adm'/>"));
    let (spool, control) = (site.path("spool"), site.path("spool/control"));
    fs::create_dir(&spool).unwrap();
    chown(&spool, Some(NOBODY), Some(NOBODY)).unwrap();
    let refused = |what: &str, victim: &Path| {
        let before = group(victim);
        let (code, told) = give(&site);
        assert_eq!(code, Some(1), "{what}: {told}");
        assert!(told.contains("cannot give") && told.contains("<control group=>"), "{what}: {told}");
        assert_eq!(group(victim), before, "{what}");
        fs::remove_file(&control).unwrap();
    };
    // A link, a file, root's socket by another name, root's socket.
    let victim = site.path("victim");
    fs::write(&victim, "").unwrap();
    symlink(&victim, &control).unwrap();
    refused("a link", &victim);
    fs::write(&control, "").unwrap();
    refused("a file", &control.clone());
    let other = site.path("other");
    let _listener = UnixListener::bind(&other).unwrap();
    chown(&other, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::hard_link(&other, &control).unwrap();
    refused("a second name", &other);
    let _listener = UnixListener::bind(&control).unwrap();
    refused("root's socket", &control.clone());
    assert!(give(&site).1.contains("No such file"));
    site.write("jabber.xml", &site.xml("<control xmlns='urn:jabber:config:3' group='no-such-group-here'/>"));
    let (code, told) = give(&site);
    assert_eq!(code, Some(1));
    assert!(told.contains("addgroup --system no-such-group-here"), "{told}");
}
