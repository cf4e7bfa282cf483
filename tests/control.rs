//! jabberctl and the control socket, by the real binaries.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what must be"
)]

#[path = "control/site.rs"]
mod site;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use site::Site;

#[test]
fn a_server_tells_how_it_is() {
    let site = Site::new("status");
    let _running = site.start();
    let text = site.ctl(&["status"]).success();
    assert!(text.contains("Hosts                 localhost\n") && text.contains("Accounts              0\n"), "{text}");
    let status = site.ctl(&["--json", "status"]).json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["hosts"], serde_json::json!(["localhost"]));
    assert!(status["memory_bytes"].as_u64().unwrap() > 1 << 20, "{status}");
    assert!(status["database_bytes"].as_u64().unwrap() >= 4096, "{status}");
}

#[test]
fn accounts_are_made_and_can_log_in() {
    let site = Site::new("user-add");
    let running = site.start();
    let made = site.ctl(&["user", "add", "romeo@localhost"]).input("m0ntague\n").success();
    assert_eq!(made, "romeo@localhost can log in\n");
    let again = site.ctl(&["user", "add", "romeo@localhost"]).input("other\n").fails(1);
    assert!(again.contains("romeo@localhost is there already") && again.contains("user passwd"), "{again}");
    assert_eq!(site.ctl(&["--json", "status"]).json()["accounts"], 1);
    for (arguments, input, code, says) in [
        (&["user", "add", "romeo@elsewhere"][..], "x\n", 1, "elsewhere is not served here"),
        (&["user", "add", "romeo"], "x\n", 2, "an account looks like name@host"),
        (&["user", "add", "a b@localhost"], "x\n", 2, "is no address"),
        (&["user", "add"], "x\n", 2, "ACCOUNT is missing"),
        (&["user", "add", "a@localhost", "b"], "x\n", 2, "one argument too many"),
        (&["user", "add", "--force", "a@localhost"], "x\n", 2, "no option --force"),
        (&["user", "add", "a@localhost"], "", 2, "the password is empty"),
        (&["user", "add", "a@localhost"], "\u{0}\n", 1, "the password cannot be used"),
        (&["user"], "", 2, "\"user\" is no whole command"),
        (&["user", "ad"], "", 2, "there are: user add"),
        (&["frobnicate"], "", 2, "there is no command \"frobnicate\""),
        (&["--frobnicate"], "", 2, "what shall it do?"),
    ] {
        let told = site.ctl(arguments).input(input).fails(code);
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
    assert!(!site.log().contains("m0ntague"));
    assert!(site.log().contains("user add romeo@localhost"), "{}", site.log());
    running.stop();
}

#[test]
fn who_cannot_reach_the_server_is_told_why() {
    let site = Site::new("unreachable");
    let told = site.ctl(&["status"]).fails(3);
    assert!(told.contains("the server is not running") && told.contains("/etc/init.d/jabber start"), "{told}");
    let running = site.start();
    let mode = std::fs::metadata(site.path("spool/control")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    running.kill();
    // What a killed server leaves behind is in nobody's way.
    let told = site.ctl(&["status"]).fails(3);
    assert!(told.contains("nobody listens at"), "{told}");
    let running = site.start();
    site.ctl(&["status"]).success();
    running.stop();
    assert!(!site.path("spool/control").exists());
}

#[test]
fn strange_bytes_harm_nobody() {
    let site = Site::new("hostile");
    let _running = site.start();
    let long = vec![b'x'; 600_000];
    let deep = format!("{}\n", "[".repeat(100_000)).into_bytes();
    for (bytes, says) in [
        (&b"\n"[..], "no JSON object on one line"),
        (b"{}\n", "\\\"command\\\" is missing"),
        (b"[]\n", "the request is no JSON object"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"{\"command\":\"status\",\"x\":1}\n", "a request has no"),
        (b"{\"command\":\"status\",\"arguments\":{\"x\":1}}\n", "takes no argument"),
        (b"{\"command\":\"status\",\"secret\":\"x\"}\n", "takes no \\\"secret\\\""),
        (b"{\"command\":\"user add\",\"arguments\":{\"account\":\"a@localhost\"}}\n", "needs a \\\"secret\\\""),
        (b"{\"command\":\"user add\",\"arguments\":{\"account\":7},\"secret\":\"x\"}\n", "is not a string"),
        (b"{\"command\":\"help\"}\n", "is done by jabberctl itself"),
        (&long, "bytes in one line"),
        (&deep, "no JSON object on one line"),
    ] {
        let mut client = site.connect();
        // It may be cut off while it still writes.
        let _ = client.write_all(bytes);
        let answer = site::line(&mut client);
        assert!(answer.starts_with("{\"error\":") && answer.contains(says), "{answer}");
    }
    // Half a line, then the end; a line in pieces; two requests at once.
    site.connect().write_all(b"{\"command\":").unwrap();
    let mut client = site.connect();
    for piece in ["{\"comm", "and\":\"sta", "tus\"}", "\n{\"command\":\"status\"}\n"] {
        client.write_all(piece.as_bytes()).unwrap();
    }
    for _ in 0..2 {
        assert!(site::line(&mut client).starts_with("{\"row\":"));
        assert_eq!(site::line(&mut client), "{\"done\":\"\"}");
    }
    drop(client);
    // More clients than there may be: the others are told, and the next one finds room again.
    let mut clients: Vec<_> = (0..1000).map(|_| site.connect()).collect();
    let refused = clients.iter_mut().skip(900).map(site::line).filter(|line| line.contains("\"busy\"")).count();
    assert_eq!(refused, 100);
    let mut rest = String::new();
    clients.last_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    drop(clients);
    while !site.ctl(&["status"]).output().status.success() {}
}
