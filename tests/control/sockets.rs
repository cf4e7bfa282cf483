//! Whose the sockets are: those of a server that was never root, and what root does for it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;

use crate::site::{Running, Site, until};

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

#[test]
fn a_server_without_its_socket_looked_like_none() {
    let site = Site::new("lost");
    let running = site.start();
    let (pid, control) = (running.pid(), site.path("spool/control"));
    let lost = format!("jabberd runs (process {pid}) without its socket {}", control.display());
    let remedy = format!("/etc/init.d/jabber reload, or kill -HUP {pid}");
    let reloads = || site.log().matches("reloading configuration").count();
    let reload = || {
        let before = reloads();
        running.signal(Signal::SIGHUP);
        until("it reloads", || (reloads() > before).then_some(()));
    };
    fs::remove_file(&control).unwrap();
    for words in [
        &["status"][..],
        &["user", "list"],
        &["user", "add", "romeo@localhost"],
        &["--yes", "user", "delete", "romeo@localhost"],
        &["announce", "hello"],
        &["log", "level", "debug"],
    ] {
        let told = site.ctl(words).input("pencil\n").fails(3);
        assert!(told.contains(&lost) && told.contains(&remedy), "{words:?}: {told}");
    }
    let found = String::from_utf8(site.ctl(&["check", "server"]).output().stdout).unwrap();
    assert!(found.contains(&lost) && found.contains(&remedy), "{found}");
    reload();
    site.ctl(&["status"]).success();
    assert_eq!(fs::metadata(&control).unwrap().permissions().mode() & 0o777, 0o660);
    let again = format!("the socket {} was gone, and was made again", control.display());
    assert!(site.log().contains(&again), "{}", site.log());

    // Who wants a reload gets it, and the socket with it; the signal is not sent for something else.
    fs::remove_file(&control).unwrap();
    assert!(site.ctl(&["reload"]).success().starts_with("the configuration was read again"));
    site.ctl(&["status"]).success();
    // Whatever is wrong with jabber.xml, the server can be asked again.
    fs::remove_file(&control).unwrap();
    let whole = fs::read_to_string(site.path("jabber.xml")).unwrap();
    site.write("jabber.xml", "<jabber");
    running.signal(Signal::SIGHUP);
    until("it is there", || control.exists().then_some(()));
    site.write("jabber.xml", &whole);
    site.ctl(&["reload"]).success();

    // A directory in its place, a file, and the socket of somebody else.
    fs::remove_file(&control).unwrap();
    fs::create_dir(&control).unwrap();
    let told = site.ctl(&["status"]).fails(3);
    assert!(told.contains(&format!("{lost}, where a directory is")) && told.contains("remove"), "{told}");
    reload();
    assert!(site.log().contains("a socket is gone, and cannot be made again"), "{}", site.log());
    assert!(site.ctl(&["reload"]).fails(3).contains("where a directory is"));
    fs::remove_dir(&control).unwrap();
    fs::write(&control, "mine").unwrap();
    assert!(site.ctl(&["status"]).fails(3).contains("where another file is"));
    reload();
    assert_eq!(fs::read_to_string(&control).unwrap(), "mine");
    fs::remove_file(&control).unwrap();
    let other = UnixListener::bind(&control).unwrap();
    let own = std::process::id();
    let told = site.ctl(&["--yes", "user", "delete", "romeo@localhost"]).fails(3);
    let says = format!("is served by process {own}, and the server that is meant is process {pid}");
    assert!(told.contains(&says) && told.contains("--socket FILE"), "{told}");
    reload();
    assert!(site.log().contains("is served by another process"), "{}", site.log());
    // What it leaves behind is in nobody's way.
    drop(other);
    // A process that another test is about to start has it for a moment, too.
    until("nobody listens there", || UnixStream::connect(&control).is_err().then_some(()));
    assert!(site.ctl(&["status"]).fails(3).contains(&lost));
    site.ctl(&["reload"]).success();
    site.ctl(&["status"]).success();
    running.stop();
    assert!(!control.exists());
    assert!(site.ctl(&["status"]).fails(3).contains("the server is not running"));
}

#[test]
fn a_removed_socket_of_metrics_stayed_away() {
    let site = Site::new("lost-metrics");
    let metrics = site.path("metrics");
    let element = format!("<metrics xmlns='urn:jabber:config:3'>{}</metrics>", metrics.display());
    site.write("jabber.xml", &site.xml(&element));
    let running = site.start();
    fs::remove_file(&metrics).unwrap();
    site.ctl(&["reload"]).success();
    let inode = fs::metadata(&metrics).unwrap().ino();
    UnixStream::connect(&metrics).unwrap();
    // One that is there stays.
    site.ctl(&["reload"]).success();
    assert_eq!(fs::metadata(&metrics).unwrap().ino(), inode);
    // One that cannot be made is told.
    fs::remove_file(&metrics).unwrap();
    fs::create_dir(&metrics).unwrap();
    let output = site.ctl(&["reload"]).output();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("is there, and no socket") && told.contains("(<metrics>)"), "{told}");
    running.stop();
    assert!(metrics.is_dir());
}

#[test]
fn the_control_socket_is_open_before_the_ports() {
    let site = Site::new("order");
    let spool = site.path("spool");
    fs::create_dir(&spool).unwrap();
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
    watch.add_watch(&spool, AddWatchFlags::IN_CREATE).unwrap();
    // A port that somebody else has ends the start there: what was done before was done first.
    let taken = TcpListener::bind((site.address, 0)).unwrap();
    let xml = site
        .xml("")
        .replace(&format!("port='{}'", site.port), &format!("port='{}'", taken.local_addr().unwrap().port()));
    site.write("jabber.xml", &xml);
    let mut command = Command::new(env!("CARGO_BIN_EXE_jabberd"));
    let output = command.arg("-c").arg(site.path("jabber.xml")).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap() + &site.log();
    assert!(output.status.code() == Some(1) && told.contains("unable to listen on"), "{told}");
    let made = watch.read_events().unwrap_or_default();
    assert!(made.iter().any(|event| event.name.as_deref() == Some("control".as_ref())), "{made:?}");
    assert!(!spool.join("control").exists());
}
