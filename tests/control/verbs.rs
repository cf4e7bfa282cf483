//! Every command of jabberctl's table does its work on a real server, and refuses what it cannot do.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use jabber::admin::{Argument, COMMANDS, Does, Form, Kind};

use crate::site::{Client, Site};

/// One run: the command, what stands behind it, what is typed, the exit code, and what is said.
struct Run(&'static str, &'static [&'static str], &'static str, i32, &'static str);

/// Beside a server that runs, one after the other. `DIR` is a directory of the test's own.
const RUNNING: &[Run] = &[
    Run("status", &[], "", 0, "Version"),
    Run("status", &["now"], "", 2, "one argument too many"),
    Run("user add", &["romeo@localhost"], "pencil\n", 0, "can log in"),
    Run("user add", &["juliet@localhost"], "pencil\n", 0, "can log in"),
    Run("user add", &["romeo@localhost"], "pencil\n", 1, "is there already"),
    Run("user passwd", &["romeo@localhost"], "m0ntague\n", 0, "has a new password"),
    Run("user passwd", &["romeo@localhost"], "\n", 2, "the password is empty"),
    Run("user list", &[], "", 0, "romeo@localhost"),
    Run("user list", &["a b"], "", 2, "is no domain"),
    Run("user info", &["romeo@localhost"], "", 0, "romeo@localhost"),
    Run("user info", &["localhost"], "", 2, "looks like name@host"),
    Run("user disable", &["romeo@localhost"], "", 0, "is disabled"),
    Run("user disable", &[], "", 2, "ACCOUNT is missing"),
    Run("user enable", &["romeo@localhost"], "", 0, "romeo@localhost"),
    Run("user enable", &["paris@localhost"], "", 1, "there is no account"),
    Run("roster add", &["--both", "romeo@localhost", "juliet@localhost"], "", 0, "see each other"),
    Run("roster add", &["romeo@localhost"], "", 2, "CONTACT is missing"),
    Run("roster show", &["romeo@localhost"], "", 0, "juliet@localhost"),
    Run("roster show", &["@"], "", 2, "is no address"),
    Run("roster remove", &["romeo@localhost", "juliet@localhost"], "", 0, "taken out"),
    Run("roster remove", &["romeo@localhost", "juliet@localhost", "paris@localhost"], "", 2, "one argument too many"),
    Run("sessions", &[], "", 0, ""),
    Run("sessions", &["romeo@localhost"], "", 0, ""),
    Run("sessions", &["elsewhere"], "", 1, "elsewhere is not served here"),
    Run("sessions", &["paris@localhost"], "", 1, "there is no account paris@localhost"),
    Run("kick", &["romeo@localhost"], "", 0, "0 sessions ended"),
    Run("kick", &["romeo@localhost/nowhere"], "", 1, "is not connected"),
    Run("message", &["romeo@localhost", "hello"], "", 0, "sent to romeo@localhost"),
    Run("message", &["romeo@localhost"], "", 2, "TEXT is missing"),
    Run("announce", &["hello"], "", 0, "sent: localhost"),
    Run("announce", &["a\u{1b}[31mred"], "", 2, "a character that XML cannot carry: U+001B"),
    Run("announce", &["--motd", "--delete"], "", 2, "exclude each other"),
    Run("s2s", &[], "", 0, ""),
    Run("s2s", &["a b"], "", 2, "is no domain"),
    // What succeeds needs two servers: `two_servers_reach_each_other`.
    Run("ping", &["localhost"], "", 1, "is served here"),
    Run("block", &["spam.example"], "", 0, "spam.example"),
    Run("block", &["--bounce"], "", 2, "DOMAIN is missing"),
    Run("blocks", &[], "", 0, "spam.example"),
    Run("blocks", &["spam.example"], "", 2, "one argument too many"),
    Run("unblock", &["spam.example"], "", 0, "is taken back"),
    Run("unblock", &["spam.example"], "", 1, "is not blocked"),
    Run("block", &["*"], "", 2, "--subdomains"),
    Run("block", &["xn--bcher-kva.example"], "", 0, "bücher.example is blocked"),
    Run("unblock", &["bücher.example"], "", 0, "is taken back"),
    Run("block", &["[2001:DB8:0::1]"], "", 0, "[2001:db8::1] is blocked"),
    Run("unblock", &["[2001:db8::1]"], "", 0, "is taken back"),
    Run("register", &["closed"], "", 0, "closed"),
    Run("register", &["ajar"], "", 2, "is none of"),
    Run("invite", &["--uses", "2"], "", 0, "xmpp:localhost?register;preauth="),
    Run("invite create", &[], "", 0, "xmpp:localhost?register;preauth="),
    Run("invite create", &["--days", "many"], "", 2, "many"),
    Run("invite list", &[], "", 0, "localhost"),
    Run("invite list", &["elsewhere"], "", 1, "is not served here"),
    Run("invite revoke", &["ID"], "", 0, "is revoked"),
    Run("invite revoke", &["ID"], "", 1, "there is no invitation"),
    Run("cert", &[], "", 0, "localhost"),
    Run("cert", &["localhost"], "", 2, "one argument too many"),
    Run("reload", &[], "", 0, "was read again"),
    Run("reload", &["now"], "", 2, "one argument too many"),
    Run("log level", &["debug", "localhost"], "", 0, "the log level of lines about localhost is debug"),
    Run("log level", &["debug", "nobody.test"], "", 1, "no line of the log is about \"nobody.test\""),
    Run("log level", &["debug", "local\nhost"], "", 1, "there are: -internal, s2s, mio, io_select, localhost"),
    Run("log level", &["info"], "", 0, ""),
    Run("log level", &[], "", 0, "-            info   command"),
    Run("log level", &["loud"], "", 2, "is none of"),
    Run("backup", &["DIR/copy.db"], "", 0, "sound"),
    Run("backup", &["DIR/copy.db"], "", 1, "there already"),
    Run("export", &["DIR/all.xml"], "", 0, "2 accounts"),
    Run("export", &["DIR/all.xml"], "", 1, "there already"),
    Run("import", &["xep0227", "DIR/all.xml"], "", 0, "already_here=2"),
    Run("import", &["ejabberd", "DIR/all.xml"], "", 2, "is none of"),
    Run("restore", &["--yes", "DIR/copy.db"], "", 1, "stop the server first"),
    Run("user delete", &["--yes", "juliet@localhost"], "", 0, "is gone"),
    Run("user delete", &["--yes", "juliet@localhost"], "", 1, "there is no account"),
    Run("check", &["config"], "", 0, "all is well"),
    Run("check", &["everything"], "", 3, "is none of"),
    Run("help", &["kick"], "", 0, "usage: jabberctl kick"),
    Run("help", &["frobnicate"], "", 2, "there is no command"),
    Run("version", &[], "", 0, env!("CARGO_PKG_VERSION")),
    Run("version", &["now"], "", 2, "one argument too many"),
];

/// After it was stopped.
const STOPPED: &[Run] = &[
    Run("restore", &["--yes", "DIR/copy.db"], "", 0, "restored: 2 accounts"),
    Run("status", &[], "", 3, "the server is not running"),
];

fn run(site: &Site, Run(command, arguments, input, code, says): &Run, invitation: &mut Option<String>) {
    let directory = site.directory.to_str().unwrap();
    let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    let id = invitation.clone().unwrap_or_default();
    words.extend(arguments.iter().map(|word| if *word == "ID" { id.clone() } else { word.replace("DIR", directory) }));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = site.ctl(&words).input(input).output();
    let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(*code), "{words:?}: {told}");
    assert!(told.contains(says), "{words:?}: {told}");
    if *code == 2 {
        assert!(told.starts_with("jabberctl: "), "{words:?}: {told}");
    }
    if *code != 0 {
        // What failed changed nothing, so it fails again: for a script, with what to do about it.
        let output = site.ctl(&[&["--json"], words.as_slice()].concat()).input(input).output();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{words:?}: {told}");
        let last = told.lines().last().unwrap_or_default();
        let error: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{words:?}: {told}"));
        let part = |name: &str| error["error"][name].as_str().unwrap_or_default();
        let is_whole = ["kind", "text", "remedy"].iter().all(|name| !part(name).is_empty());
        assert!(is_whole && !part("text").contains(part("remedy")), "{words:?}: {told}");
    }
    if *command == "invite create" && *code == 0 {
        let list = site.ctl(&["--json", "invite", "list"]).json();
        *invitation = list[0]["id"].as_str().map(str::to_owned);
    }
}

#[test]
fn every_command_works_and_refuses() {
    for command in COMMANDS {
        let runs = || RUNNING.iter().chain(STOPPED).filter(|run| run.0 == command.name);
        assert!(command.name == "ping" || runs().any(|run| run.3 == 0), "{} is not tried", command.name);
        assert!(runs().any(|run| run.3 != 0), "{} is not tried with what it cannot do", command.name);
    }
    let site = Site::new("verbs");
    let running = site.start();
    let mut invitation = None;
    RUNNING.iter().for_each(|one| run(&site, one, &mut invitation));
    running.stop();
    STOPPED.iter().for_each(|one| run(&site, one, &mut invitation));
    assert!(!site.log().contains("m0ntague") && fs::metadata(site.path("all.xml")).is_ok());
}

#[test]
fn the_command_may_stand_behind_the_end_of_options() {
    let site = Site::new("end-of-options");
    for (words, code, says) in [
        (&["--", "status"][..], 3, "the server is not running"),
        (&["--", "user", "add", "--json"], 1, "jabberctl: --json"),
        (&["--", "user", "info", "-x"], 3, "the server is not running"),
        (&["--", "-x"], 2, "there is no command \"-x\""),
        (&["user", "--", "add"], 2, "\"user\" is no whole command"),
    ] {
        let told = site.ctl(words).input("pencil\n").fails(code);
        assert!(told.contains(says), "{words:?}: {told}");
    }
    let mut ctl = site.ctl(&["status", "--socket"]).command();
    ctl.arg(std::ffi::OsStr::from_bytes(b"a\xff\x1b"));
    let told = String::from_utf8(ctl.output().unwrap().stderr).unwrap();
    assert!(told.starts_with("jabberctl: the argument a\u{FFFD}\\u{1b} is not UTF-8"), "{told}");
}

#[test]
fn a_server_that_hangs_is_not_waited_for() {
    let site = Site::new("hangs");
    let path = site.path("hangs");
    // The kernel connects who nobody accepts.
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap();
    let told = site.ctl(&["--socket", socket, "--timeout", "1", "status"]).fails(3);
    assert!(told.contains("says nothing for 1 s: it hangs") && told.contains("restart"), "{told}");
    let told = site.ctl(&["--json", "--socket", socket, "--timeout=1", "sessions"]).fails(3);
    let error: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(error["error"]["kind"], "unreachable");
    for wrong in ["0", "1.5", "-1", "soon", "86401", ""] {
        let told = site.ctl(&["--timeout", wrong, "--socket", socket, "status"]).fails(2);
        assert!(told.contains("from 1 to 86400"), "{wrong}: {told}");
    }
    drop(listener);
}

#[test]
fn what_xml_cannot_carry_reaches_no_client() {
    let site = Site::new("characters");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("pencil\n").success();
    let mut tried = 0;
    for command in COMMANDS.iter().filter(|command| matches!(command.does, Does::Server(_))) {
        for wrong in command.arguments.iter().filter(|argument| argument.form != Form::Flag) {
            let value = |argument: &Argument| match argument.kind {
                _ if argument.name == wrong.name => "a\u{c}b",
                Kind::Account | Kind::Jid => "romeo@localhost",
                Kind::Host | Kind::Domain => "localhost",
                Kind::Word(words) => words[0],
                Kind::Number => "1",
                Kind::File | Kind::Text | Kind::Name => "some",
            };
            let mut words: Vec<String> =
                ["--yes"].iter().chain(&command.name.split(' ').collect::<Vec<_>>()).map(ToString::to_string).collect();
            for argument in command.arguments {
                match argument.form {
                    Form::Needed | Form::Optional => words.push(value(argument).to_owned()),
                    Form::Option if argument.name == wrong.name => {
                        words.extend([format!("--{}", argument.name), value(argument).to_owned()])
                    }
                    _ => {}
                }
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            site.ctl(&words).input("pencil\n").fails(2);
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
    running.stop();
}

#[test]
fn an_announcement_reaches_the_users_of_all_hosts() {
    let site = Site::new("all-hosts");
    site.write(
        "jabber.xml",
        &site.xml("").replace("<host>localhost</host>", "<host>localhost</host><host>other.test</host>"),
    );
    let running = site.start();
    site.ctl(&["user", "add", "bee@other.test"]).input("pencil\n").success();
    let (directory, ports) = (site.directory.join("none"), Default::default());
    let other = Site { host: "other.test", directory, port: site.port, address: site.address, ports };
    let mut bee = Client::login(&other, "bee", "pencil");
    let told = site.ctl(&["announce", "to all"]).success();
    assert!(told.contains("localhost, other.test"), "{told}");
    bee.until("to all");
    site.ctl(&["announce", "--from", "localhost", "to some"]).success();
    site.ctl(&["announce", "--from", "other.test", "to these"]).success();
    assert!(!bee.until("to these").contains("to some"));
    running.stop();
}

#[test]
fn a_mistyped_configuration_is_no_other_server() {
    let site = Site::new("mistyped");
    let running = site.start();
    let told = site.ctl(&["-c", "/does/not/exist.xml", "--yes", "user", "delete", "romeo@localhost"]).fails(3);
    assert!(told.contains("/does/not/exist.xml") && told.contains("--socket"), "{told}");
    running.stop();
}
