//! `jabberctl check` against setups that are broken on purpose: each is found, with its remedy and the right exit code.

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen, socket};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use time::OffsetDateTime;

use crate::site::{Dns, Site};

/// A user of no importance.
const NOBODY: u32 = 65_534;

/// All findings of a run, and its exit code.
struct Found {
    code: Option<i32>,
    all: Vec<Value>,
}

impl Found {
    fn of(output: &Output) -> Found {
        let all: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let all = all.as_array().unwrap().clone();
        let word = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        for finding in &all {
            // Who is told of something is told what to do.
            assert_eq!(word(finding, "level") == "ok", word(finding, "remedy").is_empty(), "{finding}");
            assert!(!word(finding, "text").contains('\n'), "{finding}");
        }
        let code = output.status.code();
        assert_eq!(code, worst(all.iter()), "{all:#?}");
        Found { code, all }
    }

    /// There is this finding, with this remedy.
    fn has(&self, level: &str, says: &str, remedy: &str) -> &Found {
        let part = |finding: &Value, name: &str, what: &str| finding[name].as_str().unwrap().contains(what);
        let is_it = |finding: &&Value| {
            finding["level"] == level && part(finding, "text", says) && part(finding, "remedy", remedy)
        };
        assert!(self.all.iter().any(|finding| is_it(&finding)), "{level}: {says} -> {remedy} in {:#?}", self.all);
        self
    }

    /// The database was looked through; whether to its end, is a matter of the machine's speed.
    fn is_whole(&self) -> &Found {
        let is_it =
            |text: &str| text.contains("jabber.db") && (text.ends_with(" is whole") || text.ends_with("are whole"));
        assert!(self.all.iter().any(|finding| is_it(finding["text"].as_str().unwrap())), "{:#?}", self.all);
        self
    }

    /// No finding speaks of this.
    fn lacks(&self, says: &str) -> &Found {
        assert!(!self.all.iter().any(|finding| finding["text"].as_str().unwrap().contains(says)), "{:#?}", self.all);
        self
    }

    /// The exit code. How full the disk of whoever runs the tests is, counts only where a test is about it.
    fn ends(&self, code: i32) {
        let is_room = |finding: &&Value| finding["text"].as_str().unwrap().contains("MiB are left for");
        let worst = worst(self.all.iter().filter(|finding| !is_room(finding)));
        assert_eq!(worst, Some(code), "{:#?}", self.all);
    }
}

/// The exit code for findings.
fn worst<'a>(findings: impl Iterator<Item = &'a Value>) -> Option<i32> {
    let levels: Vec<&Value> = findings.map(|finding| &finding["level"]).collect();
    let worst = [("critical", 2), ("warning", 1), ("unknown", 3)]
        .into_iter()
        .find(|(name, _)| levels.contains(&&Value::from(*name)));
    Some(worst.map_or(0, |(_, code)| code))
}

fn check(site: &Site, arguments: &[&str]) -> Found {
    Found::of(&site.ctl(&[&["--json", "check"], arguments].concat()).output())
}

/// The same by a shell that prepares something first.
fn check_after(site: &Site, before: &str, arguments: &str) -> Found {
    let script = format!(
        "{before} && exec {} -c {} --json check {arguments}",
        env!("CARGO_BIN_EXE_jabberctl"),
        site.path("jabber.xml").display()
    );
    Found::of(&Command::new("sh").args(["-c", &script]).output().unwrap())
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Can we be somebody else, who comes as far as the directories of these tests?
fn can_be_nobody() -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", "cd \"$0\""]).arg(std::env::temp_dir()).uid(NOBODY).gid(NOBODY).stderr(Stdio::null());
    let can = is_root() && command.status().is_ok_and(|status| status.success());
    if !can {
        println!("left out: only root can be nobody, and only where everybody may enter the directory of the tests");
    }
    can
}

/// A check by somebody who is not root: see [`can_be_nobody`].
fn check_as_nobody(site: &Site, arguments: &[&str]) -> Found {
    let mut command = Command::new(site.program(env!("CARGO_BIN_EXE_jabberctl")));
    command.arg("-c").arg(site.path("jabber.xml")).args(["--json", "check"]).args(arguments);
    Found::of(&command.uid(NOBODY).gid(NOBODY).output().unwrap())
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A DNS server that refuses whoever asks, as long as this lives: it takes words from itself alone.
fn deaf() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(address).unwrap();
    (socket, address.to_string())
}

#[test]
fn a_whole_run_tells_of_all_areas() {
    let site = Site::new("check");
    // Down: that is the first finding.
    let (_deaf, address) = deaf();
    let deaf = ["--dns", &address];
    check(&site, &deaf).has("critical", "the server is not running", "/etc/init.d/jabber start").ends(2);
    let running = site.start();
    let all = check(&site, &deaf);
    all.has("unknown", "localhost was not looked up", "resolv.conf");
    all.has("ok", "it serves localhost", "").has("ok", "runs, process", "").has("ok", "is open", "");
    all.has("ok", "can be written by", "").has("ok", "the data directory", "");
    all.has("warning", "is self-made", "certbot makes none for localhost").is_whole();
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    all.has(if hard < 4_096 { "warning" } else { "ok" }, "files open", "");
    running.stop();
    let text = site.ctl(&["check", "config"]).success();
    assert!(text.contains("ok        config") && text.ends_with("all is well\n"), "{text}");
    assert!(site.ctl(&["check", "--problems", "config"]).success().starts_with("all is well\n"));
}

#[test]
fn monitoring_took_a_slip_for_something_broken() {
    let site = Site::new("check-codes");
    for (arguments, says) in [
        (&["check", "nonsense"][..], "is none of config"),
        (&["check", "config", "more"], "one argument too many"),
        (&["check", "--dns", "nowhere"], "is no address of a DNS server"),
        (&["--json", "--timeout", "7", "check", "--bogus"], "check has no option --bogus"),
        (&["--timeout", "never", "check"], "--timeout is a number of seconds"),
    ] {
        assert!(site.ctl(arguments).fails(3).contains(says), "{arguments:?}");
    }
    // Another command's code stays.
    site.ctl(&["user", "info", "check", "more"]).fails(2);
    // What is found cannot be told: that is no judgement either.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let told = |output: std::process::Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jabberctl"));
        command.arg("-c").arg(site.path("jabber.xml")).args(["check", "config"]);
        command.stdout(output).stderr(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(told(full.into()), Some(3));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(told(writer.into()), Some(3));
}

#[test]
fn what_is_wrong_in_the_configuration() {
    let site = Site::new("check-config");
    site.write("jabber.xml", "<jabber><a></jabber>");
    check(&site, &[]).has("critical", "mismatched tag at line 1", "").ends(2);
    site.write("jabber.xml", &site.xml("<limits xmlns='urn:jabber:config:3'><nonsense>1</nonsense></limits>"));
    check(&site, &["config"]).has("warning", "nonsense", "jabber.xml(5)").ends(1);
    fs::remove_file(site.path("jabber.xml")).unwrap();
    check(&site, &["config"]).ends(2);
    if can_be_nobody() {
        site.write("jabber.xml", &site.xml(""));
        mode(&site.path("jabber.xml"), 0o600);
        check_as_nobody(&site, &["config"]).has("unknown", "jabber.xml", "run it as root").ends(3);
        // What stands in conf.d counts, and is not known.
        mode(&site.path("jabber.xml"), 0o644);
        fs::create_dir(site.path("conf.d")).unwrap();
        mode(&site.path("conf.d"), 0o700);
        check_as_nobody(&site, &["config"]).has("unknown", "conf.d: not allowed for you", "run it as root").ends(3);
        mode(&site.path("conf.d"), 0o755);
        site.write("conf.d/a.xml", "<jabber/>");
        mode(&site.path("conf.d/a.xml"), 0o600);
        check_as_nobody(&site, &["config"]).has("unknown", "a.xml: not allowed for you", "run it as root").ends(3);
    }
}

#[test]
fn a_broken_configuration_hid_all_the_rest() {
    let site = Site::new("check-blind");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("one\n").success();
    site.write("jabber.xml", "<jabber><a></jabber>");
    let (socket, database) = (site.path("spool/control"), site.path("spool/jabber.db"));
    let named = |option: &str, path: &Path, arguments: &[&str]| {
        Found::of(&site.ctl(&[&["--json", option, path.to_str().unwrap(), "check"], arguments].concat()).output())
    };
    let broken = |found: &Found| found.has("critical", "mismatched tag at line 1", "").ends(2);
    // Nothing tells where the server is: what is left out is named, with the way to it.
    let found = check(&site, &[]);
    found.has("unknown", "whether it runs was not found out", "--socket FILE check");
    found.has("unknown", "left out: the database", "--database FILE check");
    for area in ["user, logs, pid file", "for which hosts", "tells which there shall be", "which names lead here"] {
        found.has("unknown", area, "once jabber.xml can be read");
    }
    assert!(
        found.all.iter().any(|finding| finding["text"].as_str().unwrap().contains("files open")),
        "{:#?}",
        found.all
    );
    broken(&found);
    // The server that runs is asked.
    let found = named("--socket", &socket, &[]);
    found.has("ok", "runs, process ", "");
    found.has("warning", "it serves localhost by what it has read before", "jabberctl reload");
    // With others, as that for files between clients.
    let listens = found.all.iter().find_map(|finding| finding["text"].as_str()?.strip_prefix("the server listens at "));
    assert!(listens.unwrap().split(", ").any(|place| place == format!("127.0.0.1:{}", site.port)), "{listens:?}");
    found.is_whole();
    found.has("ok", "localhost: ", "").has("ok", "is valid for", "").has(
        "ok",
        "MiB are left for the data directory",
        "",
    );
    found.has("unknown", "left out: whether others trust them", "once jabber.xml can be read");
    found.lacks("cannot log in").lacks("left out: the database");
    broken(&found);
    // One area, and the reason.
    let found = named("--socket", &socket, &["certificates"]);
    found.has("ok", "is valid for", "").lacks("listens at").lacks("files open");
    broken(&found);
    running.stop();
    let found = named("--database", &database, &["files"]);
    found.is_whole().has("unknown", "left out: user", "");
    broken(&found);
    let found = named("--socket", &socket, &["server"]);
    found.has("critical", "the server is not running", "jabber start");
    broken(&found);
    // One that the admin names beside a server with another.
    let (another, alone) = (Site::new("check-another"), Site::new("check-alone"));
    let running = another.start();
    alone.start().stop();
    for xml in [another.xml(""), "<jabber>".to_owned()] {
        another.write("jabber.xml", &xml);
        let socket = another.path("spool/control");
        let arguments = ["--json", "--socket", socket.to_str().unwrap(), "--database"];
        let database = alone.path("spool/jabber.db");
        let found = another.ctl(&[&arguments[..], &[database.to_str().unwrap(), "check", "files"]].concat()).output();
        Found::of(&found).is_whole().lacks("is not the file that the server");
    }
    running.stop();
}

#[test]
fn accounts_of_a_host_that_is_not_served_were_all_well() {
    let site = Site::new("check-unserved");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("one\n").success();
    check(&site, &["files"]).is_whole().lacks("cannot log in");
    site.write("jabber.xml", &site.xml("").replace("<host>localhost</host>", "<host>verona.example</host>"));
    let told = || {
        let found = check(&site, &["files"]);
        found.is_whole().has(
            "warning",
            "accounts of localhost cannot log in (1): no <host> in jabber.xml names it",
            "write <host>localhost</host> there, too",
        );
    };
    told();
    running.stop();
    told();
}

/// A server that is none: it answers what it is told, until it was asked so often.
fn impostor(site: &Site, answer: &'static str) -> std::thread::JoinHandle<()> {
    let _ = fs::create_dir(site.path("spool"));
    let socket = site.path("spool/control");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        // The first only wants to know whose process it is.
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
        assert!(request.contains("\"status\""), "{request}");
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

/// A connection, unless the queue of those that nobody accepts is full.
fn dialled(path: &Path) -> Option<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let dialling = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    connect(dialling.as_raw_fd(), &UnixAddr::new(path).unwrap()).ok().map(|()| dialling)
}

#[test]
fn what_runs_is_not_what_is_installed() {
    let site = Site::new("check-server");
    for (answer, level, says, remedy) in [
        (
            "{\"row\":{\"version\":\"2.9.9\"}}\n{\"done\":\"\"}\n",
            "warning",
            "jabberd 2.9.9 runs, and 3",
            "jabber restart",
        ),
        ("nonsense\n", "critical", "and does not answer", "error.log"),
        ("", "critical", "and does not answer", "error.log"),
    ] {
        let thread = impostor(&site, answer);
        check(&site, &["server"]).has(level, says, remedy);
        thread.join().unwrap();
    }
    fs::remove_dir_all(site.path("spool")).unwrap();
    // One that hangs: connected to by the kernel, and never heard.
    fs::create_dir(site.path("spool")).unwrap();
    let hangs = UnixListener::bind(site.path("spool/control")).unwrap();
    let found = Found::of(&site.ctl(&["--json", "--timeout", "1", "check", "server"]).output());
    found.has("critical", "and does not answer", "error.log").ends(2);
    // It hangs for so long that all its places for connections are taken.
    listen(&hangs, Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    while let Some(socket) = dialled(&site.path("spool/control")) {
        waiting.push(socket);
        assert!(waiting.len() < 10_000, "the queue of those that nobody accepts has no end");
    }
    let found = Found::of(&site.ctl(&["--json", "--timeout", "1", "check", "server"]).output());
    found.has("critical", "takes no connection at ", "error.log").ends(2);
    assert!(site.ctl(&["--timeout", "1", "status"]).fails(3).contains("it hangs"));
    if is_root() {
        // Root sees who has the port, and needs not be told to be root.
        let taken = TcpListener::bind(("127.0.0.1", site.port)).unwrap();
        let found = Found::of(&site.ctl(&["--json", "--timeout", "1", "check", "ports"]).output());
        found.has("critical", &format!("port {} (clients) is held by control-", site.port), "").lacks("not found out");
        drop(taken);
    }
    drop((hangs, waiting));
    fs::remove_dir_all(site.path("spool")).unwrap();
    let running = site.start();
    check(&site, &["server"]).has("ok", "runs, process", "").ends(0);
    if can_be_nobody() {
        mode(&site.path("spool"), 0o755);
        let found = check_as_nobody(&site, &["server"]);
        found.has("unknown", "you may not use", "sudo jabberctl").ends(3);
    }
    running.stop();
}

#[test]
fn who_holds_the_ports() {
    let site = Site::new("check-ports");
    // The port for files is one for the whole machine, and may be another test's: a warning, whatever it is.
    check(&site, &["ports"]).has("ok", &format!("port {} (clients) is free", site.port), "");
    let held = Site::new("check-ports-held");
    let _taken = TcpListener::bind(("127.0.0.1", held.port)).unwrap();
    let found = check(&held, &["ports"]);
    found.has("critical", &format!("port {} (clients) is held by control-", held.port), "stop ").ends(2);
    site.write("jabber.xml", &site.xml("").replace("127.0.0.1</ip>", "192.0.2.1</ip>"));
    check(&site, &["ports"]).has("critical", "this machine has no address 192.0.2.1", "correct <ip>").ends(2);
    site.write("jabber.xml", &site.xml(""));
    let running = site.start();
    check(&site, &["ports"]).has("ok", "is open", "");
    // A port that came into jabber.xml since; then one that somebody else has.
    let since = site.port();
    site.write("jabber.xml", &site.xml("").replace(&format!("port='{}'", site.port), &format!("port='{since}'")));
    let nobody = format!("nobody takes connections at port {since} ");
    check(&site, &["ports"]).has("critical", &nobody, "restart it").ends(2);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    site.write("jabber.xml", &site.xml("").replace(&format!("port='{}'", site.port), &format!("port='{port}'")));
    let found = check(&site, &["ports"]);
    found
        .has("critical", &format!("port {port} (clients) is held by control-"), "give one of them another port")
        .ends(2);
    found.has("critical", &format!("process {}, not by the server", std::process::id()), "");
    running.stop();
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if can_be_nobody() && first.trim().parse::<u16>().unwrap() > 1 {
        site.write(
            "jabber.xml",
            &site
                .xml("")
                .replace(&format!("port='{port}'"), "port='1'")
                .replace(&format!("port='{}'", site.port), "port='1'"),
        );
        check_as_nobody(&site, &["ports"]).has("unknown", "port 1 (clients) cannot be tried by you", "run it as root");
    }
}

/// Somebody who listens at this port of another address, where nobody else is.
fn elsewhere(port: u16) -> (TcpListener, String) {
    let [.., own] = std::process::id().to_be_bytes();
    let addresses = (1..=254).map(|low| Ipv4Addr::new(127, 45, own, low));
    let mut open =
        addresses.filter_map(|address| Some((TcpListener::bind((address, port)).ok()?, address.to_string())));
    open.next().unwrap()
}

#[test]
fn a_server_on_another_address_was_said_to_hold_the_port() {
    let site = Site::new("check-address");
    let running = site.start();
    let port = site.port;
    // Somebody else has the same port of another address, and was there first for whoever looks at ports only.
    let (other, address) = elsewhere(port);
    let open = format!("port {port} (clients) is open");
    check(&site, &["ports"]).has("ok", &open, "").lacks("(clients) is held by");
    site.write("jabber.xml", &site.xml("").replace("127.0.0.1</ip>", &format!("{address}</ip>")));
    check(&site, &["ports"]).has("critical", &format!("port {port} (clients) is held by control-"), "").ends(2);
    running.stop();
    drop(other);
    site.write("jabber.xml", &site.xml(""));
    let _other = elsewhere(port);
    check(&site, &["ports"]).has("ok", &format!("port {port} (clients) is free"), "");
    // An address of all stands in the way of each.
    site.write("jabber.xml", &site.xml("").replace("127.0.0.1</ip>", "0.0.0.0</ip>"));
    check(&site, &["ports"]).has("critical", &format!("port {port} (clients) is held by control-"), "").ends(2);
}

/// A certificate and its key, valid from and until so many days from now.
fn certificate(from: i64, until: i64) -> (String, String) {
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now + time::Duration::hours(24 * from);
    parameters.not_after = now + time::Duration::hours(24 * until + 12);
    let key = KeyPair::generate().unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The same by an authority that nobody knows.
fn certificate_of_an_authority(until: i64) -> (String, String, String) {
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let known = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_before = OffsetDateTime::now_utc() - time::Duration::days(90);
    parameters.not_after = OffsetDateTime::now_utc() + time::Duration::hours(24 * until + 12);
    let key = KeyPair::generate().unwrap();
    (parameters.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem(), known)
}

#[test]
fn the_certificate_of_certbot_s_hook_was_taken_for_self_made() {
    let site = Site::new("check-hook");
    fs::create_dir_all(site.path("spool/ssl")).unwrap();
    let place = site.path("spool/ssl/localhost.pem");
    let put = |until: i64| {
        let (chain, key, _) = certificate_of_an_authority(until);
        fs::write(&place, chain + &key).unwrap();
        mode(&place, 0o640);
    };
    put(60);
    let found = check(&site, &["certificates"]);
    found.has("warning", "may not trust", "fullchain.pem").lacks("self-made").ends(1);
    put(10);
    check(&site, &["certificates"]).has("warning", "expires in 10 days", "certbot renew");
    put(-2);
    check(&site, &["certificates"]).has("critical", "has expired", "certbot renew").ends(2);
    // The server shows it, and makes none in its place.
    let before = fs::read(&place).unwrap();
    site.start().stop();
    assert!(fs::read(&place).unwrap() == before);
    assert!(site.log().contains("the certificate has expired"), "{}", site.log());
}

#[test]
fn a_reload_was_silent_about_a_certificate_that_is_not_valid_yet() {
    let site = Site::new("check-early");
    let running = site.start();
    for (from, until, says) in [(2, 60, Some("is not valid yet")), (-60, -2, Some("has expired")), (-1, 60, None)] {
        let (chain, key) = certificate(from, until);
        site.write("spool/ssl/localhost.pem", &(chain + &key));
        let output = site.ctl(&["reload"]).output();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{told}");
        match says {
            Some(says) => {
                assert!(told.contains(&format!("localhost.pem of localhost {says}: clients refuse it")), "{told}")
            }
            None => assert!(!told.contains("localhost.pem"), "{told}"),
        }
    }
    let log = site.log();
    assert_eq!(
        log.matches("the certificate is not valid yet: clients refuse it; is the clock right?").count(),
        1,
        "{log}"
    );
    running.stop();
}

#[test]
fn a_pipe_in_the_place_of_a_certificate_made_it_hang() {
    let site = Site::new("check-pipe");
    fs::create_dir_all(site.path("spool/ssl")).unwrap();
    let place = site.path("spool/ssl/localhost.pem");
    nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
    check(&site, &["certificates"]).has("critical", "no regular file", "make this one").ends(2);
    fs::remove_file(&place).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &place).unwrap();
    check(&site, &["certificates"]).has("critical", "no regular file", "make this one").ends(2);
}

#[test]
fn certificates_that_are_no_good() {
    let site = Site::new("check-certificates");
    let element = format!(
        "<certificate xmlns='urn:jabber:config:3' host='localhost' key='{}'>{}</certificate>",
        site.path("key.pem").display(),
        site.path("chain.pem").display()
    );
    site.write("jabber.xml", &site.xml(&element));
    let found = |chain: &str, key: &str| {
        site.write("chain.pem", chain);
        site.write("key.pem", key);
        mode(&site.path("key.pem"), 0o600);
        check(&site, &["certificates"])
    };
    let renew = "certbot renew";
    for (from, until, level, says, remedy) in [
        (-30, -2, "critical", "has expired", renew),
        (-30, 2, "critical", "expires in 2 days", renew),
        (-30, 10, "warning", "expires in 10 days", renew),
        (-30, 60, "ok", "is valid for 60 days", ""),
        (2, 60, "critical", "is not valid yet", "is the clock right?"),
    ] {
        let (chain, key) = certificate(from, until);
        found(&chain, &key).has(level, says, remedy).ends(if level == "critical" { 2 } else { 1 });
    }
    let (chain, key) = certificate(-1, 60);
    // Nobody knows who signed it, or nobody did.
    found(&chain, &key).has("warning", "is self-made", "certbot makes none").ends(1);
    let (signed, signed_key, known) = certificate_of_an_authority(60);
    found(&signed, &signed_key).has("warning", "may not trust", "fullchain.pem").lacks("self-made").ends(1);
    // Nothing is missing in it, so nothing can be added.
    found(&(signed.clone() + &known), &signed_key)
        .has("warning", "may not trust", "the chain is whole, and its authority is not known here")
        .ends(1);
    // The common name alone counts nowhere (RFC 6125 §6.4.4).
    let nameless = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec![]).unwrap();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    found(&parameters.self_signed(&nameless).unwrap().pem(), &nameless.serialize_pem())
        .has("critical", "is for no name at all (the common name does not count), not for localhost", "get one for")
        .ends(2);
    // The machine knows him now.
    site.write("known.pem", &known);
    let knows = format!("{element}<io><tls><cacertfile>{}</cacertfile></tls></io>", site.path("known.pem").display());
    site.write("jabber.xml", &site.xml(&knows));
    found(&signed, &signed_key).has("ok", "is valid for 60 days", "").lacks("may not trust").ends(0);
    site.write("jabber.xml", &site.xml(&element));
    found(&chain, &certificate(-1, 60).1)
        .has("critical", "does not belong to its first certificate", "own certificate first")
        .ends(2);
    found(&chain, "").has("critical", "key.pem has no PRIVATE KEY block", "add the key").ends(2);
    found("nothing", &key).has("critical", "chain.pem has no CERTIFICATE block", "give a PEM file").ends(2);
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    found(&chain, locked).has("critical", "locked by a passphrase", "openssl pkey").ends(2);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    found(broken, &key).has("critical", "chain.pem is broken", "it must be PEM text").ends(2);
    // Everybody may read the key; nobody can, for it is not there; another host.
    found(&chain, &key);
    for (open, can, right, then) in
        [(0o644, "read", "o-r", 0o640), (0o662, "changed", "o-w", 0o660), (0o666, "read and changed", "o-rw", 0o660)]
    {
        mode(&site.path("key.pem"), open);
        let remedy = format!("chmod {right} {}", site.path("key.pem").display());
        check(&site, &["certificates"]).has("critical", &format!("key.pem can be {can} by everybody"), &remedy).ends(2);
        assert!(Command::new("sh").args(["-c", &remedy]).status().unwrap().success());
        assert_eq!(fs::metadata(site.path("key.pem")).unwrap().permissions().mode() & 0o777, then);
        check(&site, &["certificates"]).lacks("by everybody");
    }
    if can_be_nobody() {
        mode(&site.path("key.pem"), 0o600);
        let found = check_as_nobody(&site, &["certificates"]);
        found.has("unknown", "cannot be read by you", "sudo jabberctl check").ends(3);
    }
    fs::remove_file(site.path("key.pem")).unwrap();
    check(&site, &["certificates"]).has("critical", "key.pem cannot be read", "name another file").ends(2);
    found(&chain, &key);
    let other = site.xml(&element).replace("localhost", "other.test");
    site.write("jabber.xml", &other);
    let wrong = check(&site, &["certificates"]);
    wrong.has("critical", "is for localhost, not for other.test", "certbot certonly -d other.test").ends(2);
    site.write("jabber.xml", &site.xml("").replace("<host>localhost</host>", "<host>127.45.0.9</host>"));
    let none = check(&site, &["certificates"]);
    none.has("warning", "127.45.0.9 has no certificate", "certbot makes none for 127.45.0.9").ends(1);
    let running = site.start();
    check(&site, &["certificates"]).has("warning", "is self-made", "certbot makes none for").ends(1);
    running.stop();
    site.write("jabber.xml", &site.xml("").replace("<host>localhost</host>", "<host>bücher.example</host>"));
    check(&site, &["certificates"])
        .has("warning", "bücher.example has no", "certonly -d xn--bcher-kva.example,")
        .ends(1);
    // Authorities that jabber.xml names, and that are not there.
    found(&signed, &signed_key);
    let authorities =
        format!("{element}<io><tls><cacertfile>{}</cacertfile></tls></io>", site.path("gone.pem").display());
    site.write("jabber.xml", &site.xml(&authorities));
    let gone = check(&site, &["certificates"]);
    gone.has("critical", "gone.pem, which jabber.xml names for certificates of authorities", "does not start").ends(2);
    check(&site, &["files"]).has("critical", "cannot read the certificates of authorities", "correct the name").ends(2);
}

#[test]
fn files_and_whose_they_are() {
    let site = Site::new("check-files");
    let running = site.start();
    running.stop();
    let database = site.path("spool/jabber.db");
    let healthy = |extra: &str| site.write("jabber.xml", &site.xml(extra));
    mode(&database, 0o644);
    check(&site, &["files"]).has("critical", "others may read or change it", "chmod 640").ends(2);
    mode(&database, 0o640);
    check(&site, &["files"]).lacks("others may read");
    if can_be_nobody() {
        check(&site, &["files"]).has("warning", "jabber.xml names no user", "<user>jabber</user>").ends(1);
        // All was made by root, and the server is to be somebody else.
        healthy("<user>nobody</user>");
        mode(&site.directory, 0o700);
        mode(&site.path("spool"), 0o700);
        mode(&site.path("jabber.xml"), 0o600);
        let found = check(&site, &["files"]);
        found.has("ok", "the user 'nobody' is there", "");
        found.has("critical", "jabber.db belongs to user number 0, not to nobody", "chown 65534:");
        found.has("critical", "the way there is closed by ", "chmod o+x ");
        mode(&site.directory, 0o755);
        let found = check(&site, &["files"]);
        found.has("critical", "cannot be written by nobody", "chown 65534:");
        found.has("critical", "the log ", "chown 65534:");
        found.has("warning", "jabber.xml cannot be read by nobody: a reload will fail", "chgrp ").ends(2);
        mode(&site.path("jabber.xml"), 0o644);
    }
    healthy("<user>no-such-user-here</user>");
    check(&site, &["files"]).has("critical", "there is no user 'no-such-user-here'", "adduser --system").ends(2);
    site.write("jabber.xml", &site.xml("").replace("error.log", "nowhere/error.log"));
    check(&site, &["files"]).has("critical", "nowhere/error.log", "mkdir ").ends(2);
    healthy("<control xmlns='urn:jabber:config:3' group='no-such-group-here'/>");
    check(&site, &["files"]).has("critical", "there is no group 'no-such-group-here'", "addgroup --system").ends(2);
    healthy("");
    mode(&site.path("jabber.xml"), 0o666);
    check(&site, &["files"]).has("critical", "can be changed by everybody", "chmod o-w").ends(2);
    healthy("<!-- <secret>icq</secret> -->");
    mode(&site.path("jabber.xml"), 0o644);
    check(&site, &["files"]).has("warning", "has a <secret>, and can be read by everybody", "chmod 640");
    mode(&site.path("jabber.xml"), 0o640);
    check(&site, &["files"]).lacks("<secret>");
    // The directory of a pid file, whether the server runs or not: nobody makes it.
    healthy("");
    let running = site.start();
    site.write("jabber.xml", &site.xml("").replace("jabber.pid", "nowhere/jabber.pid"));
    check(&site, &["files"]).has("critical", "nowhere is not there", "mkdir ").ends(2);
    running.stop();
    check(&site, &["files"]).has("critical", "nowhere is not there", "mkdir ").ends(2);
    // That of the package is not there while no server runs.
    site.write(
        "jabber.xml",
        &site.xml("").replace(&site.path("jabber.pid").display().to_string(), "/run/jabber/jabber.pid"),
    );
    check(&site, &["files"]).lacks("/run/jabber");
    // A file where the data shall be, and nothing at all.
    fs::remove_dir_all(site.path("spool")).unwrap();
    healthy("");
    fs::create_dir(site.path("spool")).unwrap();
    check(&site, &["files"]).has("ok", "the first start makes it", "");
    fs::remove_dir(site.path("spool")).unwrap();
    fs::write(site.path("spool"), "").unwrap();
    check(&site, &["files"]).has("critical", "is no data directory", "move the file away").ends(2);
}

/// A site whose server ran once, and whose files are this user's; only root can make one.
fn site_of(name: &str, user: &str) -> Option<Site> {
    if !can_be_nobody() {
        return None;
    }
    let site = Site::new(name);
    site.start().stop();
    give(&site.directory, user);
    site.write("jabber.xml", &site.xml("<user>nobody</user>"));
    mode(&site.path("jabber.xml"), 0o644);
    Some(site)
}

fn give(path: &Path, user: &str) {
    assert!(Command::new("chown").args(["-R", user]).arg(path).status().unwrap().success());
}

#[test]
fn whoever_had_the_files_was_taken_for_the_server_s_user() {
    let Some(site) = site_of("check-third", "daemon") else { return };
    mode(&site.directory, 0o755);
    let found = check(&site, &["files"]);
    found.has("ok", "the user 'nobody' is there", "").lacks("'daemon'");
    found.has("critical", "not to nobody", "chown 65534:").lacks("daemon");
    found.has("critical", "the data directory", "chown 65534:").ends(2);
    site.write("jabber.xml", &site.xml("<user>no-such-user-here</user>"));
    check(&site, &["files"]).has("critical", "there is no user 'no-such-user-here'", "adduser --system").ends(2);
    give(&site.directory, "nobody");
    site.write("jabber.xml", &site.xml("<user>nobody</user>"));
    let found = check(&site, &["files"]);
    found.has("ok", "can be written by nobody", "").is_whole().lacks("belongs to").ends(0);
}

#[test]
fn a_damaged_database_was_all_well() {
    let site = Site::new("check-damaged");
    site.start().stop();
    check(&site, &["files"]).is_whole();
    let path = site.path("spool/jabber.db");
    let mut bytes = fs::read(&path).unwrap();
    for (at, byte) in bytes.iter_mut().enumerate().skip(4_096) {
        *byte = u8::try_from(at % 251).unwrap();
    }
    fs::write(&path, &bytes).unwrap();
    check(&site, &["files"]).has("critical", "jabber.db: ", "restore a backup").ends(2);
    fs::write(&path, "this is none").unwrap();
    check(&site, &["files"]).has("critical", "jabber.db: ", "restore a backup").ends(2);
    // A start would take it for new, as one of a first start that was cut short.
    fs::write(&path, "").unwrap();
    check(&site, &["files"]).has("warning", "jabber.db is empty", "restore a backup");
    fs::create_dir(site.path("spool/backup")).unwrap();
    site.write("spool/backup/jabber-x.db", "");
    check(&site, &["files"]).has("critical", "jabber.db is empty", "one of the copies in").ends(2);
    site.start().stop();
    assert!(site.log().contains("jabber.db is empty: a new database begins"), "{}", site.log());
}

#[test]
fn a_look_at_what_a_killed_server_left_behind_changed_it() {
    let site = Site::new("check-killed");
    site.start().kill();
    let names = ["jabber.db", "jabber.db-wal", "jabber.db-shm"];
    let bytes = || names.map(|name| fs::read(site.path("spool").join(name)).ok());
    let before = bytes();
    check(&site, &["files"]).is_whole();
    assert!(bytes() == before);
    // Damaged: that is what it is mended from.
    let path = site.path("spool/jabber.db-wal");
    let log = fs::read(&path).unwrap();
    fs::write(&path, log.iter().map(|byte| byte ^ 7).collect::<Vec<u8>>()).unwrap();
    let damaged = bytes();
    check(&site, &["files"]).has("critical", "its header is broken", "restore a backup").ends(2);
    assert!(bytes() == damaged);
    fs::write(&path, log).unwrap();
    fs::remove_file(site.path("spool/jabber.db-shm")).unwrap();
    let before = bytes();
    check(&site, &["files"]).has("unknown", "jabber.db was not looked through", "start the server");
    assert!(bytes() == before);
}

#[test]
fn a_part_of_the_configuration_that_only_root_may_read_was_all_well() {
    let Some(site) = site_of("check-parts", "nobody") else { return };
    fs::create_dir(site.path("conf.d")).unwrap();
    site.write("conf.d/a.xml", "<jabber/>");
    site.write("part.xml", "<!-- --><limits xmlns='urn:jabber:config:3'/>");
    let include = format!("<user>nobody</user><jabberd:include>{}</jabberd:include>", site.path("part.xml").display());
    site.write("jabber.xml", &site.xml(&include));
    for (name, open, shut) in [("conf.d", 0o755, 0o700), ("conf.d/a.xml", 0o644, 0o600), ("part.xml", 0o644, 0o600)] {
        check(&site, &["files"]).lacks(name);
        mode(&site.path(name), shut);
        let says = format!("{name} cannot be read by nobody: a reload will fail");
        check(&site, &["files"]).has("warning", &says, &format!("chgrp {}", group_of_nobody())).ends(1);
        mode(&site.path(name), open);
    }
}

/// Its name is another one on each system.
fn group_of_nobody() -> String {
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    nix::unistd::Group::from_gid(user.gid).unwrap().unwrap().name
}

#[test]
fn a_mistake_was_hidden_by_a_file_that_may_not_be_read() {
    let site = Site::new("check-both");
    if !can_be_nobody() {
        return;
    }
    fs::create_dir(site.path("conf.d")).unwrap();
    site.write("conf.d/a.xml", "<jabber/>");
    site.write("conf.d/b.xml", "<jabber><a></jabber>");
    mode(&site.path("conf.d/a.xml"), 0o600);
    for open in ["", "jabber.xml", "conf.d", "conf.d/b.xml"] {
        mode(&site.path(open), 0o755);
    }
    let found = check_as_nobody(&site, &["config"]);
    found.has("unknown", "a.xml: not allowed for you", "run it as root");
    found.has("critical", "b.xml failed: mismatched tag", "").ends(2);
}

#[test]
fn root_who_cannot_be_another_was_told_to_be_root() {
    let Some(site) = site_of("check-confined", "nobody") else { return };
    // Without the right to become others.
    let script = "exec setpriv --bounding-set=-setuid,-setgid --inh-caps=-setuid,-setgid \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_jabberctl"), "-c"]).arg(site.path("jabber.xml"));
    let output = command.args(["--json", "check", "files"]).output().unwrap();
    if output.stdout.is_empty() {
        println!("left out: setpriv cannot do it here: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let found = Found::of(&output);
    found.has("unknown", "cannot do it as the user 'nobody'", "runuser -u nobody -- jabberctl check");
    assert!(
        found.all.iter().all(|finding| !finding["remedy"].as_str().unwrap().contains("as root")),
        "{:#?}",
        found.all
    );
    found.ends(3);
}

#[test]
fn what_root_left_beside_the_database_was_all_well() {
    let Some(site) = site_of("check-left", "nobody") else { return };
    let wal = site.path("spool/jabber.db-wal");
    fs::write(&wal, "").unwrap();
    mode(&wal, 0o640);
    check(&site, &["files"]).has("critical", "jabber.db-wal cannot be read and written", "chown 65534:").ends(2);
    fs::remove_file(&wal).unwrap();
    check(&site, &["files"]).ends(0);
    // The check itself leaves nothing.
    assert!(!wal.exists() && !site.path("spool/jabber.db-shm").exists());
}

#[test]
fn a_closed_way_to_the_data_was_all_well() {
    let Some(site) = site_of("check-way", "nobody") else { return };
    give(&site.directory, "root");
    give(&site.path("spool"), "nobody");
    mode(&site.directory, 0o700);
    let closed = format!("the way there is closed by {}", site.directory.display());
    let found = check(&site, &["files"]);
    found.has("critical", &closed, "chmod o+x ").lacks("is whole").ends(2);
    fs::remove_dir_all(site.path("spool")).unwrap();
    check(&site, &["files"]).has("critical", &closed, "chmod o+x ").ends(2);
    // Open again: the data directory can be made, and the log not.
    mode(&site.directory, 0o755);
    let found = check(&site, &["files"]);
    found
        .has("ok", "is not there yet: the first start makes it", "")
        .has("critical", "the log ", "chown 65534:")
        .ends(2);
}

#[test]
fn a_key_that_the_server_cannot_read_was_all_well() {
    let Some(site) = site_of("check-key", "nobody") else { return };
    let (chain, key) = certificate(-1, 60);
    site.write("chain.pem", &chain);
    site.write("key.pem", &key);
    let element = format!(
        "<user>nobody</user><certificate xmlns='urn:jabber:config:3' host='localhost' key='{}'>{}</certificate>",
        site.path("key.pem").display(),
        site.path("chain.pem").display()
    );
    site.write("jabber.xml", &site.xml(&element));
    mode(&site.path("chain.pem"), 0o644);
    mode(&site.path("key.pem"), 0o600);
    let says = "key.pem cannot be read by the server's user nobody: a renewed one needs a restart";
    check(&site, &["certificates"]).has("warning", says, &format!("chgrp {} ", group_of_nobody()));
    give(&site.path("key.pem"), "nobody");
    check(&site, &["certificates"]).lacks("cannot be read");
}

#[test]
fn the_remedy_for_a_key_behind_a_link_led_nowhere() {
    let Some(site) = site_of("check-link", "nobody") else { return };
    let (chain, key) = certificate(-1, 60);
    let archive = site.path("archive");
    fs::create_dir(&archive).unwrap();
    fs::write(archive.join("key.pem"), key).unwrap();
    mode(&archive.join("key.pem"), 0o600);
    mode(&archive, 0o700);
    site.write("chain.pem", &chain);
    std::os::unix::fs::symlink(archive.join("key.pem"), site.path("key.pem")).unwrap();
    let element = format!(
        "<user>nobody</user><certificate xmlns='urn:jabber:config:3' host='localhost' key='{}'>{}</certificate>",
        site.path("key.pem").display(),
        site.path("chain.pem").display()
    );
    site.write("jabber.xml", &site.xml(&element));
    let remedy = format!("chgrp {} {}", group_of_nobody(), archive.display());
    let found = check(&site, &["certificates"]);
    found.has("warning", "key.pem cannot be read by the server's user nobody", &remedy);
    // It can be followed.
    let finding =
        found.all.iter().find(|finding| finding["text"].as_str().unwrap().contains("cannot be read")).unwrap();
    let script = finding["remedy"].as_str().unwrap();
    assert!(Command::new("sh").args(["-c", script]).status().unwrap().success());
    check(&site, &["certificates"]).lacks("cannot be read");
}

#[test]
fn a_certificate_that_only_root_sees_was_judged_in_place_of_what_is_shown() {
    let Some(site) = site_of("check-certbot", "nobody") else { return };
    // A directory of certbot's that nobody else sees, and the server's user cannot enter.
    let disk = site.path("disk");
    fs::create_dir(&disk).unwrap();
    let mount = format!(
        "cd {} && mount -t tmpfs tmpfs . && cd . && mkdir {0}/up {0}/work && \
         mount -t overlay overlay -o lowerdir=/etc,upperdir={0}/up,workdir={0}/work /etc && \
         mkdir -p /etc/letsencrypt/live/localhost && cd /etc/letsencrypt/live && \
         echo nonsense >localhost/fullchain.pem && echo nonsense >localhost/privkey.pem && chmod 700 .",
        disk.display()
    );
    if !can_mount(&mount) {
        return;
    }
    let program = site.program(env!("CARGO_BIN_EXE_jabberctl"));
    let by_server = |(chain, key): (String, String)| {
        site.write("spool/ssl/localhost.pem", &(chain + &key));
        let (program, xml) = (program.display(), site.path("jabber.xml"));
        let script = format!(
            "{mount} && exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {program} -c {} --json check \
             certificates",
            xml.display()
        );
        Found::of(&Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap())
    };
    let (chain, key, _) = certificate_of_an_authority(60);
    let good = by_server((chain, key));
    good.has("ok", "localhost.pem is valid for 60 days", "").lacks("letsencrypt").lacks("self-made");
    let made = by_server(certificate(-1, 60));
    made.has("warning", "is self-made", "");
    made.has(
        "warning",
        "fullchain.pem cannot be read by the server's user nobody: the server passes it over",
        "deploy-hook",
    );
}

/// The file that the server shows a certificate from, and its fingerprint.
fn shown(site: &Site) -> (String, String) {
    let all = site.ctl(&["--json", "cert"]).json();
    let text = |name: &str| all[0][name].as_str().unwrap().to_owned();
    (text("file"), text("sha256"))
}

#[test]
fn a_reload_put_the_self_made_certificate_in_the_place_of_certbot_s() {
    let Some(site) = site_of("check-sysvinit", "nobody") else { return };
    let disk = site.path("disk");
    fs::create_dir(&disk).unwrap();
    let (chain, key, _) = certificate_of_an_authority(60);
    site.write("chain.pem", &chain);
    site.write("key.pem", &key);
    // As certbot leaves it: closed to all but root.
    let mount = format!(
        "cd {0} && mount -t tmpfs tmpfs . && cd . && mkdir {0}/up {0}/work && \
         mount -t overlay overlay -o lowerdir=/etc,upperdir={0}/up,workdir={0}/work /etc && \
         mkdir -p /etc/letsencrypt/live/localhost && cd /etc/letsencrypt/live/localhost && \
         cp {1}/chain.pem fullchain.pem && cp {1}/key.pem privkey.pem && chmod 600 privkey.pem && chmod 700 .. && cd {1}",
        disk.display(),
        site.directory.display()
    );
    if !can_mount(&mount) {
        return;
    }
    let mut command = Command::new("unshare");
    let script = format!("{mount} && exec {} -U nobody \"$@\"", env!("CARGO_BIN_EXE_jabberd"));
    command.args(["--mount", "sh", "-c", &script, "sh"]);
    let running = site.start_by(command);
    let certbots = shown(&site);
    assert!(certbots.0.ends_with("letsencrypt/live/localhost/fullchain.pem"), "{certbots:?}");
    let check_there = || {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &running.pid().to_string(), env!("CARGO_BIN_EXE_jabberctl"), "-c"]);
        Found::of(&command.arg(site.path("jabber.xml")).args(["--json", "check", "certificates"]).output().unwrap())
    };
    let hook = "/usr/share/doc/jabber/examples/certbot/deploy-hook";
    let closed = "fullchain.pem cannot be read by the server's user nobody: a renewed one needs a restart";
    check_there().has("warning", closed, hook).lacks("self-made").ends(1);
    for _ in 0..2 {
        let reloaded = site.ctl(&["reload"]).output();
        let notes = String::from_utf8(reloaded.stderr).unwrap();
        assert!(notes.contains("fullchain.pem cannot be read: Permission denied"), "{notes}");
        assert!(notes.contains(hook) && notes.contains("the certificate loaded before stays in use"), "{notes}");
        assert_eq!(shown(&site), certbots);
    }
    let log = site.log();
    assert_eq!(log.matches("the certificate loaded before stays in use").count(), 1, "{log}");
    assert_eq!(log.matches("fullchain.pem was read as root, and the server's user cannot read it").count(), 1, "{log}");
    // The hook gives the same, and then a renewed one.
    let is_silent = || {
        let notes = String::from_utf8(site.ctl(&["reload"]).output().stderr).unwrap();
        assert!(!notes.contains("certificate"), "{notes}");
    };
    site.write("spool/ssl/localhost.pem", &(chain + &key));
    is_silent();
    check_there().lacks("cannot be read").lacks("restart").lacks("self-made").has("ok", "is valid for 60 days", "");
    let (chain, key, _) = certificate_of_an_authority(90);
    site.write("spool/ssl/localhost.pem", &(chain + &key));
    is_silent();
    let renewed = shown(&site);
    assert!(renewed.0.ends_with("ssl/localhost.pem") && renewed.1 != certbots.1, "{renewed:?}");
    running.stop();
}

#[test]
fn another_certificate_was_judged_than_the_one_that_is_shown() {
    let site = Site::new("check-shown");
    let element = |name: &str| {
        let file = site.path(name);
        format!("<certificate xmlns='urn:jabber:config:3' host='localhost'>{}</certificate>", file.display())
    };
    let put = |name: &str, (chain, key): (String, String)| {
        site.write(name, &(chain + &key));
        mode(&site.path(name), 0o600);
    };
    let own = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["other.test".to_owned()]).unwrap();
    parameters.not_after = OffsetDateTime::now_utc() + time::Duration::hours(24 * 9 + 12);
    put("other.pem", (parameters.self_signed(&own).unwrap().pem(), own.serialize_pem()));
    put("good.pem", certificate(-1, 60));
    site.write("jabber.xml", &site.xml(&element("other.pem")));
    let running = site.start();
    check(&site, &["certificates"])
        .has("critical", "other.pem is for other.test, not for localhost", "get one")
        .ends(2);
    // A restart would mend it, and only then is all well.
    site.write("jabber.xml", &site.xml(&element("good.pem")));
    let found = check(&site, &["certificates"]);
    found.has("critical", "the server shows", "/etc/init.d/jabber restart");
    found.has("critical", "other.pem, which is for other.test, not for localhost: clients refuse it", "restart");
    found.has("warning", "other.pem: it expires in 9 days", "certbot renew");
    found.has("ok", "what a restart shows, ", "").ends(2);
    site.ctl(&["reload"]).success();
    check(&site, &["certificates"]).has("ok", "good.pem is valid for 60 days", "").lacks("other.pem");
    // A restart would spoil it.
    put("good.pem", certificate(-9, -1));
    let notes = String::from_utf8(site.ctl(&["reload"]).output().stderr).unwrap();
    assert!(notes.contains("good.pem has expired; the certificate loaded before stays in use"), "{notes}");
    let found = check(&site, &["certificates"]);
    found.has("ok", "good.pem: it is valid for 60 days", "");
    found.has("critical", "what a restart shows, ", "certbot renew").ends(2);
    running.stop();
}

#[test]
fn the_names_of_services_were_missed_in_the_log_alone() {
    let site = Site::new("check-names");
    let extra = crate::site::federation(site.port(), &[]);
    let xml = site.xml(&format!(
        "{extra}<certificate xmlns='urn:jabber:config:3' host='chat.test'>{}</certificate>",
        site.path("chat.pem").display()
    ));
    site.write("jabber.xml", &xml.replace("<host>localhost</host>", "<host>chat.test</host>"));
    let key = KeyPair::generate().unwrap();
    let names = |all: &[&str]| {
        let parameters = CertificateParams::new(all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        site.write("chat.pem", &(parameters.self_signed(&key).unwrap().pem() + &key.serialize_pem()));
        mode(&site.path("chat.pem"), 0o600);
    };
    names(&["chat.test"]);
    let line = "certbot certonly -d chat.test -d users.chat.test -d proxy.chat.test";
    let found = check(&site, &["certificates"]);
    let told = found.all.iter().filter_map(|finding| finding["text"].as_str());
    let told: Vec<&str> =
        told.filter(|text| text.contains("does not name users.chat.test, proxy.chat.test: ")).collect();
    assert!(told.len() == 1 && told[0].contains(line), "{:#?}", found.all);
    found.has("warning", "is self-made", line);
    let running = site.start();
    assert!(
        site.log().contains("[notice] (chat.test): its certificate does not name users.chat.test"),
        "{}",
        site.log()
    );
    site.ctl(&["reload"]).success();
    assert_eq!(site.log().matches("does not name").count(), 1, "{}", site.log());
    running.stop();
    names(&["*.chat.test", "chat.test"]);
    check(&site, &["certificates"]).lacks("does not name");
}

#[test]
fn a_configuration_that_no_server_starts_with_was_in_order() {
    let site = Site::new("check-start");
    check(&site, &["config"]).lacks("no server starts");
    let group = "<control xmlns='urn:jabber:config:3' group='no-such-group-here'/>";
    let there = site.path("jabber.pid").display().to_string();
    for (xml, says, remedy) in [
        (site.xml(group), "there is no group 'no-such-group-here'", "addgroup --system no-such-group-here"),
        (site.xml("").replace(&there, "/nonexistent/jabber.pid"), "the pid file /nonexistent/jabber.pid", "<pidfile>"),
        (site.xml("").replace("127.0.0.1", "192.0.2.1"), "unable to listen on", "see ip address"),
    ] {
        site.write("jabber.xml", &xml);
        check(&site, &["config"]).has("critical", "no server starts with it: ", remedy).has("critical", says, "");
    }
    if let Some(site) = site_of("check-start-stranger", "daemon") {
        site.write("jabber.xml", &site.xml("<user>daemon</user>"));
        check_as_nobody(&site, &["config"])
            .has("unknown", "what the user 'daemon' may read and write", "as root")
            .lacks("no server starts");
    }
}

#[test]
fn what_the_server_s_own_user_may_not_do_is_no_secret() {
    let Some(site) = site_of("check-own", "nobody") else { return };
    let found = check_as_nobody(&site, &["files"]);
    found.has("ok", "can be written by nobody", "").is_whole().ends(0);
    mode(&site.path("spool"), 0o500);
    check_as_nobody(&site, &["files"]).has("critical", "the data directory", "chmod u+rwx").ends(2);
    mode(&site.path("spool"), 0o700);
    // It starts the server without root, so the pid file is its own to write.
    give(&site.directory, "root");
    give(&site.path("spool"), "nobody");
    give(&site.path("error.log"), "nobody");
    let found = check_as_nobody(&site, &["files"]);
    found.has("critical", "the directory of the pid file ", "chown 65534:").ends(2);
    found.has("warning", "no log is made after one is moved away", "chown 65534:");
    check(&site, &["files"]).lacks("the pid file");
    // A link that leads nowhere is no directory that is yet to be made.
    fs::remove_dir_all(site.path("spool")).unwrap();
    std::os::unix::fs::symlink("nowhere", site.path("spool")).unwrap();
    check(&site, &["files"]).has("critical", "spool cannot be looked at", "ls -ld").ends(2);
}

#[test]
fn what_may_not_be_seen_was_told_as_if_it_were_not_there() {
    let Some(site) = site_of("check-hidden", "daemon") else { return };
    let running = site.start_with(&["-U", "daemon"]);
    let (chain, key) = certificate(-1, 60);
    fs::create_dir(site.path("keys")).unwrap();
    site.write("keys/chain.pem", &chain);
    site.write("keys/key.pem", &key);
    let element = format!(
        "<user>daemon</user><certificate xmlns='urn:jabber:config:3' host='localhost' key='{0}/key.pem'>{0}/chain.pem\
         </certificate>",
        site.path("keys").display()
    );
    site.write("jabber.xml", &site.xml(&element));
    mode(&site.path("jabber.xml"), 0o644);
    mode(&site.path("keys"), 0o700);
    mode(&site.path("spool"), 0o700);
    mode(&site.directory, 0o755);
    // Root is told of what has changed since the start, before it gives files away.
    let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap().uid;
    site.write("jabber.xml", &site.xml("<user>nobody</user>"));
    check(&site, &["server"])
        .has("warning", &format!("it runs as user number {daemon}, and is to be nobody"), "restart it")
        .ends(1);
    site.write("jabber.xml", &site.xml(&element));
    let (_deaf, address) = deaf();
    let found = check_as_nobody(&site, &["--dns", &address]);
    found.has("unknown", "you may not use", "sudo jabberctl");
    found.has("unknown", "the data directory", "run it as root").lacks("is not there");
    found.has("unknown", "chain.pem cannot be seen by you", "run it as root").lacks("has no certificate");
    let taken = format!("port {} (clients) is in use: whether by the server was not found out", site.port);
    found.has("unknown", &taken, "run it as root").lacks("held by");
    assert!(found.all.iter().all(|finding| finding["level"] != "critical"), "{:#?}", found.all);
    running.stop();
}

/// Is there a way to mount a disk that nobody else sees?
fn can_mount(script: &str) -> bool {
    let possible = Command::new("unshare").args(["--mount", "sh", "-c", script]).output();
    let is_possible = possible.is_ok_and(|output| output.status.success());
    if !is_possible {
        println!("left out: no disk can be mounted here");
    }
    is_possible
}

#[test]
fn a_disk_mounted_read_only_was_all_well() {
    let site = Site::new("check-read-only");
    site.start().stop();
    let spool = site.path("spool").display().to_string();
    let mount = format!("mount --bind {spool} {spool} && mount -o remount,bind,ro {spool}");
    if !can_mount(&mount) {
        return;
    }
    let run = |program: &str, arguments: &str| {
        let script = format!("{mount} && exec {program} -c {} {arguments}", site.path("jabber.xml").display());
        Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap()
    };
    let found = Found::of(&run(env!("CARGO_BIN_EXE_jabberctl"), "--json check files"));
    found.has("critical", "is on a disk that is mounted read-only", "mount -o remount,rw").ends(2);
    found.lacks("cannot be written");
    // The start says the same.
    let started = run(env!("CARGO_BIN_EXE_jabberd"), "");
    assert_eq!(started.status.code(), Some(1));
    let told = || site.log().matches("its disk is mounted read-only").count();
    assert_eq!(told(), 1, "{}", site.log());
    fs::remove_file(site.path("spool/jabber.db")).unwrap();
    assert_eq!(run(env!("CARGO_BIN_EXE_jabberd"), "").status.code(), Some(1));
    assert_eq!(told(), 2, "{}", site.log());
}

#[test]
fn a_disk_that_is_nearly_full() {
    let site = Site::new("check-disk");
    let spool = site.path("spool");
    fs::create_dir(&spool).unwrap();
    // A small disk of its own, which nobody else sees. Where none can be made, the unit test of `check::files` remains.
    let mounted = |size: &str| format!("mount -t tmpfs -o size={size} tmpfs {}", spool.display());
    if !can_mount(&mounted("1m")) {
        return;
    }
    let on_disk = |size: &str| {
        let script = format!(
            "{} && exec {} -c {} --json check files",
            mounted(size),
            env!("CARGO_BIN_EXE_jabberctl"),
            site.path("jabber.xml").display()
        );
        Found::of(&Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap())
    };
    let full = on_disk("20m");
    full.has("critical", "20 MiB are left for the data directory", "make room");
    full.has("critical", "messages are lost when it is full", "df -h");
    assert_eq!(full.code, Some(2));
    on_disk("200m").has("warning", "only 200 MiB are left for the data directory", "make room");
    on_disk("600m").has("ok", "600 MiB are left for the data directory", "");
    on_disk("600m,nr_inodes=9")
        .has("critical", " more files can be made on the disk of the data directory", "df -i")
        .ends(2);
}

#[test]
fn clocks_and_limits() {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    if hard < 5_000 {
        println!("left out: not even 5000 files may be open here");
        return;
    }
    let site = Site::new("check-machine");
    // systemd's word for it, by a program of our own.
    let with = |word: &str, files: u32| {
        // The shell writes it: what another process has open for writing cannot be run.
        let (directory, name) = (site.directory.display(), "timedatectl");
        let program =
            format!("printf '#!/bin/sh\\necho {word}\\n' >{directory}/{name} && chmod 755 {directory}/{name}");
        check_after(&site, &format!("{program} && export PATH={directory}:$PATH && ulimit -n {files}"), "machine")
    };
    with("yes", 5_000).has("ok", "the clock is kept right", "").has("ok", "may have 5000 files open", "").ends(0);
    with("no", 5_000).has("warning", "nothing keeps the clock right", "systemd-timesyncd").ends(1);
    // Without its word: that of the programs that are made for it, ours or the machine's own.
    let spoken = with("nonsense", 5_000);
    assert!(spoken.all.iter().any(|finding| finding["text"].as_str().unwrap().contains("the clock right")));
    let script = "printf chronyd >/proc/$$/comm && echo there && read end";
    let mut keeper = Command::new("sh");
    let mut keeper = keeper.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    with("nonsense", 5_000).has("ok", " runs, which keeps the clock right", "").ends(0);
    drop(keeper.stdin.take());
    keeper.wait().unwrap();
    let few = with("yes", 1_000);
    few.has("warning", "a server started from here may have 1000 files open", "LimitNOFILE").ends(1);
    // One that runs has its own.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 1500; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_jabberd")]);
    let running = site.start_by(command);
    with("yes", 5_000).has("warning", "the server may have 1500 files open", "systemctl edit jabber").ends(1);
    // Its database comes from the future.
    let database = File::options().write(true).open(site.path("spool/jabber.db")).unwrap();
    database.set_modified(SystemTime::now() + Duration::from_secs(3_600)).unwrap();
    with("yes", 5_000).has("critical", "the clock is behind", "timedatectl set-ntp true").ends(2);
    running.stop();
}

#[test]
fn what_dns_says() {
    let dns = Dns::new(&[
        ("here.example", 1, &[127, 0, 0, 1]),
        ("away.example", 1, &[192, 0, 2, 7]),
        // Priority, weight, port, target.
        ("_xmpp-client._tcp.srv.example", 33, b"\0\0\0\x05\x14\x66\x04here\x07example\0"),
        ("_xmpp-client._tcp.port.example", 33, b"\0\0\0\x05\0\x07\x04here\x07example\0"),
        ("_xmpp-client._tcp.lost.example", 33, b"\0\0\0\x05\x14\x66\x04gone\x07example\0"),
        ("_xmpp-client._tcp.none.example", 33, b"\0\0\0\0\0\0\0"),
        ("_xmpp-client._tcp.led.example", 33, b"\0\0\0\x05\x14\x66\x04away\x07example\0"),
        ("_xmpp-client._tcp.away.example", 33, b"\0\0\0\x05\x14\x66\x04here\x07example\0"),
        ("_xmpp-server._tcp.here.example", 33, b"\0\0\0\x05\x14\x95\x04here\x07example\0"),
        ("plain.example", 1, &[127, 0, 0, 1]),
        ("both.example", 1, &[127, 0, 0, 1]),
        ("both.example", 28, b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"),
        ("_xmpp-client._tcp.two.example", 33, b"\0\0\0\x05\x14\x66\x04both\x07example\0"),
        ("far.example", 1, &[192, 0, 2, 7]),
    ]);
    let site = Site::new("check-dns");
    let server = dns.address.to_string();
    let no_address = "no address of this machine";
    for (host, level, says, remedy, code) in [
        ("here.example", "ok", "here.example leads here: 127.0.0.1", "", Some(1)),
        ("here.example", "warning", "this server has no port for servers", "take the record away", Some(1)),
        ("far.example", "warning", "far.example leads to 192.0.2.7, which is ", "behind a router", Some(1)),
        ("away.example", "ok", "has another machine's address, but SRV records", "", Some(0)),
        ("srv.example", "ok", "here.example, port 5222, leads here", "", Some(0)),
        ("srv.example", "ok", "srv.example has no address of its own, but SRV records", "", Some(0)),
        ("port.example", "warning", "this server has no port 7 for clients", "correct the record", Some(1)),
        ("lost.example", "critical", "gone.example has no address", "add one: gone.example. A", Some(2)),
        ("none.example", "warning", "says that there is no service for clients", "name this machine", Some(1)),
        ("led.example", "warning", "away.example, port 5222 leads to 192.0.2.7", "behind a router", Some(1)),
        ("nowhere.example", "critical", "nowhere.example is not in DNS", "nowhere.example. A", Some(2)),
        ("bücher.example", "critical", "bücher.example is not in DNS", ": xn--bcher-kva.example. A", Some(2)),
        ("127.0.0.1", "ok", "127.0.0.1 is an address of this machine", "", Some(0)),
        ("192.0.2.9", "warning", no_address, "behind a router", Some(1)),
        ("plain.example", "ok", "plain.example leads here: 127.0.0.1", "", Some(0)),
        ("both.example", "ok", "both.example leads here: 127.0.0.1", "", Some(1)),
        ("both.example", "warning", "both.example leads to 2001:db8::7, too", "take that record away", Some(1)),
        ("two.example", "warning", "both.example, port 5222 leads to 2001:db8::7, too", "second server", Some(1)),
    ] {
        let xml = site.xml("").replace("<host>localhost</host>", &format!("<host>{host}</host>"));
        site.write("jabber.xml", &xml.replace(&format!("port='{}'", site.port), "port='5222'"));
        let found = check(&site, &["dns", "--dns", &server]);
        found.has(level, says, remedy);
        assert_eq!(found.code, code, "{host}: {:#?}", found.all);
    }
    // Components have names of their own, where others may come.
    let components = ["srv.example", "away.example", "far.example", "none.test"].map(|name| {
        format!(
            "<service id='{name}'><accept><ip>127.0.0.1</ip><port>{}</port><secret>s</secret></accept></service>",
            site.port()
        )
    });
    let sections = components.concat() + &crate::site::federation(site.port(), &[]);
    site.write("jabber.xml", &site.xml(&sections).replace("<host>localhost</host>", "<host>127.0.0.1</host>"));
    let found = check(&site, &["dns", "--dns", &server]);
    found.has("ok", "none.test (a component) is not in DNS: the people of this server alone reach it", "");
    found.has("ok", "srv.example (a component) is not in DNS", "");
    for name in ["away.example", "far.example"] {
        found.has(
            "warning",
            &format!("{name} (a component) leads to 192.0.2.7, which is no address"),
            "behind a router",
        );
    }
    found.ends(1);
    // Without a record everybody comes to the usual port, which this server has not.
    site.write("jabber.xml", &site.xml("").replace("<host>localhost</host>", "<host>plain.example</host>"));
    let found = check(&site, &["dns", "--dns", &server]);
    let says = format!("clients come to port 5222 of plain.example, but this server has {} for them", site.port);
    found
        .has("warning", &says, &format!("_xmpp-client._tcp.plain.example. SRV 0 5 {} plain.example.", site.port))
        .ends(1);
    drop(dns);
    site.write("jabber.xml", &site.xml("").replace("<host>localhost</host>", "<host>here.example</host>"));
    let (_deaf, address) = deaf();
    let found = check(&site, &["dns", "--dns", &address]);
    found.has("unknown", "cannot be asked", "/etc/resolv.conf").ends(3);
}
