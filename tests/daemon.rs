//! The program from outside: how it starts, why it does not, what signals do to it. It tells when it is ready by the
//! socket that systemd would give it, so nothing here waits for time to pass.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what must be"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use jabber::net::uninterrupted;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt::ReuseAddr,
};

/// Only a broken program makes a test wait this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port of 127.0.0.1 that nobody else is given as long as this process lives. It is bound here and not listened at, so
/// that the kernel passes it over, and a server that asks for it by its number gets it, again and again.
fn free_port() -> u16 {
    let held = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&held, ReuseAddr, &true).unwrap();
    bind(held.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let port = getsockname::<SockaddrIn>(held.as_raw_fd()).unwrap().port();
    std::mem::forget(held);
    port
}

/// A directory with a configuration, for one test.
struct Site {
    directory: PathBuf,
    port: u16,
}

impl Site {
    fn new(name: &str) -> Site {
        let directory = std::env::temp_dir().join(format!("jabberd-site-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let site = Site { directory, port: free_port() };
        site.write("jabber.xml", &site.xml(""));
        site
    }

    fn xml(&self, extra: &str) -> String {
        let (directory, port) = (self.directory.display(), self.port);
        format!(
            "<jabber>
               <service id='sessions'><host>localhost</host><jsm xmlns='jabber:config:jsm'/></service>
               <xdb id='xdb'><xdb_file xmlns='jabber:config:xdb_file'><spool>{directory}/spool</spool></xdb_file></xdb>
               <service id='c2s'><pthcsock xmlns='jabber:config:pth-csock'><ip port='{port}'>127.0.0.1</ip></pthcsock></service>
               <log id='elogger'><host/><logtype/><format>%d: [%t] (%h): %s</format><file>{directory}/error.log</file></log>
               <pidfile>{directory}/jabber.pid</pidfile>{extra}
             </jabber>"
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("error.log")).unwrap_or_default()
    }

    fn jabberd(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jabberd"));
        command.arg("-c").arg(self.path("jabber.xml")).args(arguments).stdin(Stdio::null());
        command
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jabberctl"));
        command.arg("-c").arg(self.path("jabber.xml")).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.jabberd(arguments).output().unwrap()
    }

    /// Starts it in the foreground and waits until it serves.
    fn start(&self) -> Running {
        let running = self.spawn();
        running.is_ready();
        running
    }

    fn spawn(&self) -> Running {
        let socket = self.path("notify");
        let _ = fs::remove_file(&socket);
        let news = UnixDatagram::bind(&socket).unwrap();
        news.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = self.jabberd(&[]).env("NOTIFY_SOCKET", &socket).stderr(Stdio::piped()).spawn().unwrap();
        Running { child, news }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

struct Running {
    child: Child,
    news: UnixDatagram,
}

impl Running {
    fn expect_news(&self, expected: &str) {
        assert_eq!(self.news(), expected);
    }

    /// What it tells until it is ready: one that has news and news is not waited for either.
    fn is_ready(&self) {
        const NEWS_MAX: usize = 10_000;
        let all: Vec<String> = (0..NEWS_MAX).map(|_| self.news()).take_while(|news| news != "READY=1").collect();
        assert!(all.len() < NEWS_MAX, "{:?}", all.last());
    }

    /// What it tells next, but that it is alive: it says so now and then. It reloads since a time, as sd_notify(3) asks.
    fn news(&self) -> String {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let mut buffer = [0; 256];
            let count = uninterrupted(|| self.news.recv(&mut buffer)).expect("news");
            let news = std::str::from_utf8(&buffer[..count]).unwrap();
            if let Some(since) = news.strip_prefix("RELOADING=1\nMONOTONIC_USEC=") {
                assert!(since.parse::<u64>().unwrap() > 0);
                return "RELOADING=1".to_owned();
            }
            if news != "WATCHDOG=1" {
                return news.to_owned();
            }
        }
        panic!("no news in {} seconds", PATIENCE.as_secs());
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.child.wait().unwrap(), errors)
    }
}

/// Waits for the end of a process that is no child of ours. One that does not end in time is killed, and the test fails.
fn ends(number: i32) {
    let begun = Instant::now();
    while Path::new(&format!("/proc/{number}/exe")).read_link().is_ok() {
        if begun.elapsed() > PATIENCE {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), nix::sys::signal::SIGKILL);
            panic!("process {number} did not end in {} seconds", PATIENCE.as_secs());
        }
        std::thread::yield_now();
    }
}

/// A test that fails leaves no process behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_tells_its_version_and_reads_its_configuration() {
    let site = Site::new("report");
    let version = site.run(&["-v"]);
    assert!(version.status.success() && version.stdout.starts_with(b"jabberd 3."));
    let report = site.run(&["--test"]);
    assert!(report.status.success());
    let report = String::from_utf8(report.stdout).unwrap();
    assert!(report.contains("Host localhost") && report.contains(&format!("{} on 127.0.0.1", site.port)), "{report}");
    assert!(!site.path("spool").exists(), "nothing is made by looking");
}

#[test]
fn a_start_that_fails_says_why() {
    let site = Site::new("failures");
    let mut taken = TcpListener::bind(("127.0.0.1", site.port)).ok();
    assert!(taken.is_some());
    let directory = site.directory.display();
    let spool = format!("{directory}/spool");
    let good = site.xml("");
    // A configuration, the arguments, and what standard error must say.
    let rows: Vec<(String, &[&str], String)> = vec![
        (
            good.clone(),
            &[],
            format!("io_select unable to listen on {} [127.0.0.1]: jabberd already running", site.port),
        ),
        (good.clone(), &["-B"], "see who has it".to_owned()),
        ("<jabber><a></jabber>".to_owned(), &[], "mismatched tag at line 1 and column".to_owned()),
        ("<jabber><a></jabber>".to_owned(), &["--test"], "mismatched tag".to_owned()),
        ("<jabber><a></jabber>".to_owned(), &["-B"], "mismatched tag".to_owned()),
        // What a start would stumble over, the look before it finds.
        (good.replace("error.log", "nowhere/error.log"), &["--test"], "cannot open the log".to_owned()),
        (good.clone(), &["-U", "no-such-user-here"], "there is no user 'no-such-user-here'".to_owned()),
        (good.clone(), &["-c"], "-c".to_owned()),
        (good.clone(), &["--no-such-option"], "--no-such-option".to_owned()),
        (
            good.replace(&format!("{directory}/error.log"), "/nonexistent/error.log"),
            &[],
            "cannot open the log file /nonexistent/error.log".to_owned(),
        ),
        (good.replace(&spool, "/proc/nonexistent"), &[], "cannot make the data directory /proc/nonexistent".to_owned()),
        (
            good.replace(&format!("{directory}/jabber.pid"), "/nonexistent/jabber.pid"),
            &[],
            "cannot write the pid file /nonexistent/jabber.pid".to_owned(),
        ),
    ];
    for (number, (xml, arguments, expected)) in rows.iter().enumerate() {
        site.write("jabber.xml", xml);
        // The first two fail because of the port.
        if number == 2 {
            taken = None;
        }
        let output = site.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "row {number}: {errors}");
        assert!(errors.contains(expected), "row {number}: {errors}");
    }
    assert!(site.log().contains("[alert] (-internal): io_select unable to listen on"), "{}", site.log());
    assert!(!site.path("jabber.pid").exists());
    assert!(taken.is_none());
}

#[test]
fn a_file_that_no_server_starts_with_was_in_order() {
    let site = Site::new("rehearsal");
    let (good, directory) = (site.xml(""), site.directory.display());
    let metrics = |more: &str| format!("<metrics xmlns='urn:jabber:config:3' {more}>{directory}/metrics</metrics>");
    let holder = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (taken, own) = (holder.local_addr().unwrap().port(), site.port);
    fs::write(site.path("half.pem"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let rows = [
        (site.xml(&metrics("group='no-such-group-here'")), "there is no group 'no-such-group-here' (<metrics"),
        (
            site.xml("<control xmlns='urn:jabber:config:3' group='no-such-group-here'/>"),
            "addgroup --system no-such-group",
        ),
        (
            good.replace(&format!("{directory}/jabber.pid"), "/nonexistent/jabber.pid"),
            "cannot write the pid file /nonexistent",
        ),
        (good.replace("127.0.0.1", "192.0.2.1"), "this machine has no address 192.0.2.1"),
        (good.replace(&format!("'{own}'"), &format!("'{taken}'")), "is held by "),
        (
            site.xml(&format!(
                "<certificate xmlns='urn:jabber:config:3' host='localhost'>{directory}/half.pem</certificate>"
            )),
            "half.pem (",
        ),
    ];
    for (xml, says) in &rows {
        site.write("jabber.xml", xml);
        let found = site.run(&["--test"]);
        let errors = String::from_utf8(found.stderr).unwrap();
        assert!(found.status.code() == Some(1) && errors.contains(says), "{says}: {errors}");
    }
    fs::write(site.path("metrics"), "no socket").unwrap();
    fs::write(site.path("garbage.pid"), "jabberd").unwrap();
    let garbage = good.replace("/jabber.pid", "/garbage.pid");
    for (xml, says) in
        [(site.xml(&metrics("")), "is there, and no socket"), (garbage, "does not hold a process number")]
    {
        site.write("jabber.xml", &xml);
        let found = site.run(&["--test"]);
        let errors = String::from_utf8(found.stderr).unwrap();
        assert!(found.status.code() == Some(1) && errors.contains(says), "{says}: {errors}");
    }
    // What our own server has is no hindrance, and it is left alone.
    site.write("jabber.xml", &good);
    assert_eq!(site.run(&["--test"]).status.code(), Some(0));
    let running = site.start();
    let pid = fs::read(site.path("jabber.pid")).unwrap();
    let found = site.run(&["--test"]);
    assert_eq!((found.status.code(), String::from_utf8(found.stderr).unwrap().as_str()), (Some(0), ""));
    assert_eq!(fs::read(site.path("jabber.pid")).unwrap(), pid);
    drop(std::net::TcpStream::connect(("127.0.0.1", own)).unwrap());
    drop(running);
    drop(holder);
}

#[test]
fn a_database_that_cannot_be_used_is_told() {
    let site = Site::new("database");
    fs::create_dir_all(site.path("spool")).unwrap();
    site.write("spool/jabber.db", "this is not a database, but long enough to be looked at by SQLite.");
    let output = site.run(&[]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("jabber.db"), "{errors}");
    assert!(site.log().contains("jabber.db"));
}

#[test]
fn signals_stop_and_reload_it() {
    let site = Site::new("signals");
    let running = site.start();
    assert_eq!(fs::read_to_string(site.path("jabber.pid")).unwrap(), format!("{}\n", running.child.id()));
    let mut client = std::net::TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
        .write_all(
            b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost'>",
        )
        .unwrap();
    let mut header = [0; 4096];
    let count = uninterrupted(|| client.read(&mut header)).unwrap();
    assert!(String::from_utf8_lossy(&header[..count]).contains("<stream:stream"));

    // A broken configuration changes nothing; the logs are opened anew.
    fs::rename(site.path("error.log"), site.path("error.log.1")).unwrap();
    site.write("jabber.xml", "<jabber><a></jabber>");
    running.signal(nix::sys::signal::SIGHUP);
    running.expect_news("RELOADING=1");
    running.expect_news("READY=1");
    let log = site.log();
    assert!(log.contains("[notice] (-internal): reloading configuration"), "{log}");
    // It was told in seven lines, of which one was not true.
    let alerts: Vec<&str> = log.lines().filter(|line| line.contains("[alert]")).collect();
    let says = |text: &str| alerts.len() == 1 && alerts[0].contains(text);
    assert!(says("(-internal): Failed to reload config! The one read before stays in force. Configuration"), "{log}");
    assert!(says("mismatched tag at line 1 and column") && says("; remedy: ") && !says("\\n"), "{log}");
    site.write("jabber.xml", &site.xml("<debug><mask>1</mask></debug>").replace("jabber.pid", "other.pid"));
    running.signal(nix::sys::signal::SIGHUP);
    running.expect_news("RELOADING=1");
    running.expect_news("READY=1");

    assert!(site.log().contains("[warn] (-internal): the pid file cannot change while the server runs"));
    // Signals that mean nothing here.
    for signal in [nix::sys::signal::SIGUSR1, nix::sys::signal::SIGUSR2, nix::sys::signal::SIGPIPE] {
        running.signal(signal);
    }
    running.signal(nix::sys::signal::SIGTERM);
    running.expect_news("STOPPING=1");
    let mut last = String::new();
    client.read_to_string(&mut last).unwrap();
    assert!(last.contains("<system-shutdown") && last.ends_with("</stream:stream>"), "{last}");
    drop(client);
    let (status, errors) = running.end();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(site.log().contains("[notice] (-internal): shutting down server\n"), "{}", site.log());
    assert!(!site.path("jabber.pid").exists());
}

/// Its configuration comes by a pipe, so that it waits where the test wants it to.
fn with_a_pipe(name: &str) -> (Site, Running, fs::File) {
    let site = Site::new(name);
    let path = site.path("jabber.xml");
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let running = site.spawn();
    // Opens once there is a reader.
    let pipe = fs::File::options().write(true).open(&path).unwrap();
    (site, running, pipe)
}

#[test]
fn a_reload_asked_for_while_it_starts_follows_the_start() {
    let (site, running, mut pipe) = with_a_pipe("early-reload");
    running.signal(nix::sys::signal::SIGHUP);
    pipe.write_all(site.xml("").as_bytes()).unwrap();
    drop(pipe);
    running.expect_news("READY=1");
    running.expect_news("RELOADING=1");
    site.write("jabber.xml", &site.xml(""));
    running.expect_news("READY=1");
    running.signal(nix::sys::signal::SIGTERM);
    running.expect_news("STOPPING=1");
    let (status, errors) = running.end();
    assert_eq!(status.code(), Some(0), "{errors}");
}

#[test]
fn a_stop_while_it_starts_is_one_at_once() {
    let (site, running, pipe) = with_a_pipe("early-stop");
    running.signal(nix::sys::signal::SIGTERM);
    let (status, errors) = running.end();
    assert_eq!((status.signal(), errors.as_str()), (Some(nix::libc::SIGTERM), ""));
    drop(pipe);
    assert!(!site.path("jabber.pid").exists() && !site.path("spool").exists());
}

#[test]
fn in_the_background_it_is_ready_when_the_parent_ends() {
    let site = Site::new("background");
    // Standard error goes to a file: a pipe would stay open as long as the server.
    let errors = fs::File::create(site.path("stderr")).unwrap();
    // With -D as well: an init script that stays in front would hold up the boot.
    let status = site.jabberd(&["-DB"]).stderr(errors).status().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(site.path("stderr")).unwrap());
    let number: i32 = fs::read_to_string(site.path("jabber.pid")).unwrap().trim().parse().unwrap();
    assert_ne!(number, i32::try_from(std::process::id()).unwrap());
    let mut client = std::net::TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    // The end of a stream that is none is a line of debugging, written before the client is told.
    client.write_all(b"<stream><").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut said = Vec::new();
    while let Err(error) = client.read_to_end(&mut said) {
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
    }
    assert!(site.log().contains("[debug] (localhost): stream of "), "{}", site.log());
    // A second one finds the first.
    let second = site.run(&[]);
    assert_eq!(second.status.code(), Some(1));
    let errors = String::from_utf8(second.stderr).unwrap();
    assert!(errors.contains("A pidfile already exists at the specified location"), "{errors}");
    assert_eq!(fs::read_to_string(site.path("jabber.pid")).unwrap().trim(), number.to_string());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), nix::sys::signal::SIGTERM).unwrap();
    ends(number);
    assert!(!site.path("jabber.pid").exists());
}

#[test]
fn in_the_background_it_holds_nothing_of_its_callers() {
    let site = Site::new("inherited");
    // As debconf's scripts have descriptor 3 open when they start a server.
    let held = site.path("held");
    let status = Command::new("sh")
        .args(["-c", "exec \"$0\" -B -c \"$1\" 3>\"$2\" 9>&3 2>/dev/null", env!("CARGO_BIN_EXE_jabberd")])
        .args([site.path("jabber.xml"), held.clone()])
        .status()
        .unwrap();
    assert!(status.success());
    let number: i32 = fs::read_to_string(site.path("jabber.pid")).unwrap().trim().parse().unwrap();
    let open: Vec<_> = fs::read_dir(format!("/proc/{number}/fd"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().path().read_link().ok())
        .collect();
    let pid = nix::unistd::Pid::from_raw(number);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
    assert!(!open.contains(&held.canonicalize().unwrap()), "{open:?}");
    // It serves: the log and the listening socket are its own.
    assert!(open.iter().any(|path| path.to_string_lossy().starts_with("socket:")), "{open:?}");
    ends(number);
}

#[test]
fn a_pid_file_left_by_a_killed_server_is_replaced() {
    let site = Site::new("killed");
    let running = site.start();
    running.signal(nix::sys::signal::SIGKILL);
    running.end();
    assert!(site.path("jabber.pid").exists());
    let running = site.start();
    assert!(site.log().contains("replacing the pid file"));
    running.signal(nix::sys::signal::SIGINT);
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn an_old_spool_is_imported_at_the_first_start() {
    let site = Site::new("import");
    let file = "<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'>m0ntague</password></xdb>";
    fs::create_dir_all(site.path("spool/localhost")).unwrap();
    fs::create_dir_all(site.path("spool/old.example")).unwrap();
    for name in ["localhost/romeo.xml", "old.example/juliet.xml"] {
        site.write(&format!("spool/{name}"), file);
    }
    let missing = site.run(&["-I", "/nonexistent"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot import /nonexistent (-I)"));
    for start in 0..2 {
        let running = site.start();
        let log = site.log();
        assert_eq!(log.matches("imported accounts=1 ").count(), 1, "{start} {log}");
        assert_eq!(log.matches("add <host>old.example</host> to jabber.xml").count(), 1, "{start} {log}");
        running.signal(nix::sys::signal::SIGTERM);
        assert_eq!(running.end().0.code(), Some(0));
    }
    let spool: Vec<_> = fs::read_dir(site.path("spool")).unwrap().map(|e| e.unwrap().file_name()).collect();
    let report = spool.iter().find_map(|name| name.to_str().filter(|name| name.starts_with("import-report-"))).unwrap();
    let report = fs::read_to_string(site.path("spool").join(report)).unwrap();
    assert!(report.contains("        1 accounts\n") && !report.contains("m0ntague"), "{report}");
    assert_eq!(fs::read_to_string(site.path("spool/localhost/romeo.xml")).unwrap(), file);

    // Out again; and from there into another server, with the password.
    let export = site.path("export");
    let output = site.ctl(&["export", "--format", "jabberd14", export.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(site.path("export/localhost/romeo.xml")).unwrap();
    assert!(text.contains("mechanism='SCRAM-SHA-256'") && !text.contains("m0ntague"), "{text}");
    let again = site.ctl(&["export", "--format", "jabberd14", export.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("romeo.xml: it is there"), "{again:?}");
}

#[test]
fn an_import_that_is_stopped_goes_on_at_the_next_start() {
    const ACCOUNTS: usize = 150;
    let site = Site::new("stopped-import");
    fs::create_dir_all(site.path("spool/localhost")).unwrap();
    for n in 0..ACCOUNTS {
        let file = format!("<xdb><password xdbns='jabber:iq:auth'>secret{n}</password></xdb>");
        site.write(&format!("spool/localhost/u{n}.xml"), &file);
    }
    let running = site.spawn();
    let news = running.news();
    assert!(news.starts_with("STATUS=importing accounts: 1 of 150") && news.contains("EXTEND_TIMEOUT_USEC="), "{news}");
    running.signal(nix::sys::signal::SIGTERM);
    let (status, errors) = running.end();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(site.log().contains("stopped during the import"), "{}", site.log());
    let running = site.start();
    running.signal(nix::sys::signal::SIGTERM);
    running.end();
    let output = site.ctl(&["export", "--format", "jabberd14", site.path("export").to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.starts_with(&format!("exported {ACCOUNTS} accounts")), "{told}");
}

#[test]
fn systemd_waits_while_the_database_is_copied_before_an_import() {
    let site = Site::new("copied-import");
    fs::create_dir_all(site.path("spool/localhost")).unwrap();
    let file = "<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'>m0ntague</password></xdb>";
    let mut news = Vec::new();
    for name in ["romeo", "juliet"] {
        site.write(&format!("spool/localhost/{name}.xml"), file);
        let running = site.spawn();
        loop {
            let next = running.news();
            if next == "READY=1" {
                break;
            }
            news.push(format!("{name}: {next}"));
        }
        running.signal(nix::sys::signal::SIGTERM);
        running.end();
    }
    let copying: Vec<_> = news.iter().filter(|news| news.contains("STATUS=copying the database")).collect();
    // Before the first there was nothing to lose.
    assert!(!copying.is_empty() && copying.iter().all(|news| news.starts_with("juliet: ")), "{news:?}");
    assert!(copying.iter().all(|news| news.contains("EXTEND_TIMEOUT_USEC=")), "{news:?}");
    assert!(site.log().contains("a copy of the database as it was before the import is"), "{}", site.log());
}

/// What a web browser hears on the port for clients.
fn browse(site: &Site, request: &[u8]) -> String {
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request).unwrap();
    let mut answer = String::new();
    // The server closes when all is said.
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn web_browsers_are_sent_to_the_page_of_bounce() {
    let site = Site::new("bounce");
    site.write("jabber.xml", &site.xml("<io><bounce>https://chat.example.org/</bounce></io>"));
    let running = site.start();
    let answer = browse(&site, b"GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 301 Moved Permanently\r\nLocation: https://chat.example.org/\r\n"),
        "{answer}"
    );
    // Without it, they hear what this port is for; a reload is enough.
    site.write("jabber.xml", &site.xml(""));
    running.signal(nix::sys::signal::Signal::SIGHUP);
    running.is_ready();
    let answer = browse(&site, b"HEAD / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("XMPP"), "{answer}");
}

#[test]
fn who_is_let_in_is_a_matter_of_allow_and_deny() {
    let site = Site::new("access");
    let rules = "<io><allow><ip>127.0.0.0</ip><mask>255.255.0.0</mask></allow><deny><ip>127.0.7.0</ip><mask>255.255.255.0</mask></deny>\
                 <deny><ip>127.0.0.9</ip></deny></io>";
    site.write("jabber.xml", &site.xml(rules));
    let running = site.start();
    let answer = |from: &str| {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
        let address = |ip: &str, port: u16| SockaddrIn::from(std::net::SocketAddrV4::new(ip.parse().unwrap(), port));
        bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &address(from, 0)).unwrap();
        connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address("127.0.0.1", site.port)).unwrap();
        let mut client = std::net::TcpStream::from(fd);
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // Who is not let in may be cut off while it writes, or while it reads.
        let _ = client.write_all(b"GET / HTTP/1.0\r\n\r\n");
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        answer.starts_with(b"HTTP/1.1 400")
    };
    for (from, is_let_in) in
        [("127.0.0.1", true), ("127.0.3.3", true), ("127.1.0.1", false), ("127.0.7.7", false), ("127.0.0.9", false)]
    {
        assert_eq!(answer(from), is_let_in, "{from}");
    }
    assert!(
        site.log().contains("[warn] (mio): 127.1.0.1 was denied access, due to the allow list of IPs"),
        "{}",
        site.log()
    );
    running.signal(nix::sys::signal::SIGTERM);
    assert_eq!(running.end().0.code(), Some(0));
}

#[test]
fn who_was_refused_for_want_of_tls_left_no_line() {
    let site = Site::new("refusals");
    let running = site.start();
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' \
                  version='1.0'>";
    for (said, heard) in [
        (
            "<iq type='set' id='a'><query xmlns='jabber:iq:auth'><username>romeo</username><password>x</password>\
             <resource>r</resource></query></iq></stream:stream>",
            "policy-violation",
        ),
        (
            "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>romeo</username><password>x</password>\
             </query></iq></stream:stream>",
            "policy-violation",
        ),
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHg=</auth></stream:stream>",
            "encryption-required",
        ),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed"),
    ] {
        let mut client = std::net::TcpStream::connect(("127.0.0.1", site.port)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(format!("{header}{said}").as_bytes()).unwrap();
        let mut answer = String::new();
        if heard == "<proceed" {
            while !answer.contains(heard) {
                let mut buffer = [0; 4096];
                let count = uninterrupted(|| client.read(&mut buffer)).unwrap();
                assert!(count > 0, "{answer}");
                answer.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            client.write_all(b"<stream:stream to='localhost'>").unwrap();
            // What it says of TLS is not text.
            let _ = client.read_to_end(&mut Vec::new());
        } else {
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.contains(heard), "{answer}");
        }
    }
    running.signal(nix::sys::signal::SIGTERM);
    running.end();
    let log = site.log();
    for line in [
        "[notice] (localhost): a login (jabber:iq:auth) from 127.0.0.1 was refused: without TLS (STARTTLS) it is not taken",
        "[notice] (localhost): a registration from 127.0.0.1 was refused: without TLS",
        "[notice] (localhost): a login (SASL) from 127.0.0.1 was refused: without TLS",
        "<plain-login> in jabber.xml",
        "[notice] (localhost): TLS with a client at 127.0.0.1 failed: the peer does not speak TLS here: this port wants",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[test]
fn lines_go_to_stderr_where_the_file_says_so() {
    let site = Site::new("stderr");
    let more = "<log id='e'><host/><logtype>notice</logtype><format>to stderr: %s</format><stderr/></log>\
                <log id='n'><host/><logtype>warn</logtype><file>/nonexistent/never</file><null/></log>";
    site.write("jabber.xml", &site.xml(more));
    let running = site.start();
    // A broken file is an alert; that it runs as root, or that its certificate is its own, is a warning.
    site.write("jabber.xml", "<jabber>");
    running.signal(nix::sys::signal::SIGHUP);
    running.expect_news("RELOADING=1");
    running.expect_news("READY=1");
    running.signal(nix::sys::signal::SIGTERM);
    let (status, errors) = running.end();
    assert_eq!(status.code(), Some(0), "{errors}");
    assert!(
        errors.contains("to stderr: initializing server\n") && errors.contains("to stderr: shutting down server\n"),
        "{errors}"
    );
    // Other types are not its business; notices are not the business of the section for all else.
    assert!(!site.log().contains("initializing server"), "{}", site.log());
    // A section with <null/> takes its lines from the others, and drops them.
    assert!(!site.log().contains("[warn]") && site.log().contains("[alert]"), "{}", site.log());
}
