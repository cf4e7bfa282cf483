//! What the log says, and how much of it others can have written.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::site::{self, PATIENCE, Site};

const CLIENT: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost'>";
const SERVER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                      xmlns:db='jabber:server:dialback' to='localhost' from='example.org'>";

/// Says all of this on a connection of its own, and hears what the server says until it ends it.
fn said(port: u16, words: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may end it before it has read all.
    let _ = stream.write_all(words.as_bytes());
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

/// How many lines of the log have this text, and how many of these were left out.
fn lines(log: &str, text: &str, kind: &str) -> (usize, usize) {
    let told = format!(" more lines of this minute are left out: {kind}");
    let left_out = log.lines().filter(|line| line.contains(&told)).map(|line| {
        let number = line.split("(-internal): ").nth(1).unwrap().split(' ').next().unwrap();
        number.parse::<usize>().unwrap()
    });
    (log.matches(text).count(), left_out.sum())
}

#[test]
fn domains_that_were_refused_on_the_server_port_filled_the_disk() {
    let site = Site::new("lines-s2s");
    let port = site.port();
    site.write("jabber.xml", &site.xml(&site::federation(port, &[])));
    let running = site.start();
    for connection in 0..20 {
        let words: String = (0..50)
            .map(|number| format!("<db:result from='e{number}.c{connection}.example' to='localhost'>k</db:result>"))
            .collect();
        let heard = said(port, &format!("{SERVER}{words}"));
        assert!(heard.contains("<policy-violation") && heard.ends_with("</stream:stream>"), "{heard}");
        // It does not go on for as long as somebody likes.
        assert_eq!(heard.matches("<db:result").count(), 10, "{heard}");
    }
    running.stop();
    let (told, left_out) = lines(&site.log(), "was refused: TLS is required", "refusals of other servers, ");
    assert_eq!(told + left_out, 200, "{}", site.log());
    assert!(told < 100, "{told}");
}

#[test]
fn registrations_of_a_name_that_is_taken_filled_record_log() {
    let site = Site::new("lines-register");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("m0ntague\n").success();
    let register = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>romeo</username>\
                    <password>r0m30</password></query></iq>";
    for _ in 0..20 {
        let heard = said(site.port, &format!("{CLIENT}{}", register.repeat(50)));
        assert!(heard.contains("<policy-violation") && heard.ends_with("</stream:stream>"), "{heard}");
        assert_eq!(heard.matches("code='409'").count(), 10, "{heard}");
    }
    running.stop();
    let log = site.log();
    let kind = "failed logins and registrations in record.log, ";
    let (told, left_out) = lines(&log, "(romeo@localhost): login fail 127.0.0.1 409 (null)", kind);
    assert_eq!(told + left_out, 200, "{log}");
    // fail2ban acts on 10.
    assert!((10..190).contains(&told), "{told}");
}

#[test]
fn a_component_with_a_wrong_secret_filled_the_disk() {
    let site = Site::new("lines-component");
    let port = site.port();
    let section = format!(
        "<service id='icq.localhost'><accept><ip>127.0.0.1</ip><port>{port}</port><secret>s3cret</secret></accept></service>"
    );
    site.write("jabber.xml", &site.xml(&section));
    let running = site.start();
    for _ in 0..30 {
        let heard = said(
            port,
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
             to='icq.localhost'><handshake>00</handshake>",
        );
        assert!(heard.contains("Invalid handshake"), "{heard}");
    }
    running.stop();
    let log = site.log();
    let (told, left_out) = lines(&log, "Invalid handshake from 127.0.0.1", "components with a wrong secret, ");
    assert_eq!(told + left_out, 30, "{log}");
    // Each try was told twice.
    assert!(left_out > 0 && !log.contains("component's stream ends"), "{log}");
}

#[test]
fn who_asks_for_a_host_that_is_not_served_left_no_line() {
    let site = Site::new("lines-host");
    let running = site.start();
    let heard = said(site.port, &CLIENT.replace("to='localhost'", "to='jabber.example'"));
    assert!(heard.contains("<host-unknown"), "{heard}");
    running.stop();
    let line = "[notice] (localhost): a client at 127.0.0.1 was refused: jabber.example is not served here: <host> in \
                jabber.xml names localhost";
    assert!(site.log().contains(line), "{}", site.log());
}

#[test]
fn the_log_said_nothing_of_the_way_to_another_server() {
    let site = Site::new("lines-debug");
    // Nobody listens there.
    let sections = site::federation(site.port(), &[("nobody.test", site.port())]);
    site.write("jabber.xml", &site.xml(&sections));
    let running = site.start();
    site.ctl(&["log", "level", "debug", "s2s"]).success();
    site.ctl(&["ping", "nobody.test"]).fails(1);
    running.stop();
    let log = site.log();
    for step in [
        "[debug] (s2s): localhost to nobody.test: jabber.xml has its address",
        "[debug] (s2s): localhost to nobody.test: dns: nobody.test is at nobody.test:",
        "[debug] (s2s): localhost to nobody.test: connecting to nobody.test at 127.0.0.1:",
        "[debug] (s2s): connecting to 127.0.0.1:",
        "[debug] (s2s): no connection: refused by 127.0.0.1:",
        "[debug] (s2s): localhost to nobody.test: connect failed: nobody.test:",
    ] {
        assert!(log.contains(step), "{step}: {log}");
    }
    // The failure has its remedy.
    let line = log.lines().find(|line| line.contains("failed to establish connection to nobody.test: ")).unwrap();
    assert!(line.contains("[warn] (localhost)") && line.contains("nobody listens there"), "{line}");
}

#[test]
fn the_level_of_the_log_could_not_be_seen() {
    let site = Site::new("lines-level");
    let _running = site.start();
    let levels = |expected: serde_json::Value| assert_eq!(site.ctl(&["--json", "log", "level"]).json(), expected);
    let all = |level: &str, set_by: &str| serde_json::json!({ "target": null, "level": level, "set_by": set_by });
    levels(serde_json::json!([all("info", "jabber.xml")]));
    site.ctl(&["log", "level", "debug", "s2s"]).success();
    let s2s = serde_json::json!({ "target": "s2s", "level": "debug", "set_by": "command" });
    levels(serde_json::json!([all("info", "jabber.xml"), s2s]));
    site.ctl(&["log", "level", "warn"]).success();
    levels(serde_json::json!([all("warn", "command"), s2s]));
    site.ctl(&["log", "level", "default"]).success();
    levels(serde_json::json!([all("info", "jabber.xml")]));
}

#[test]
fn a_failed_reload_was_told_again_line_by_line() {
    let site = Site::new("lines-reload");
    let running = site.start();
    site.write("jabber.xml", "<jabber><a></jabber>");
    let socket = site.path("spool/control");
    let told = site.ctl(&["--socket", socket.to_str().unwrap(), "reload"]).fails(1);
    assert!(told.contains("mismatched tag at line 1") && !told.contains("\\n"), "{told}");
    running.stop();
    let log = site.log();
    assert_eq!(log.matches("mismatched tag").count(), 1, "{log}");
    assert_eq!(log.matches("[alert]").count(), 1, "{log}");
    assert!(log.contains("control: reload: not done: see the alert before this line"), "{log}");
}
