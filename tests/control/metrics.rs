//! What the server tells who watches it, over HTTP.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use jabber::net::uninterrupted;

use crate::site::{Client, PATIENCE, Running, Site, until};

/// A server with metrics, and their port.
fn watched(name: &str) -> (Site, Running, u16) {
    let site = Site::new(name);
    let port = site.port();
    site.write("jabber.xml", &site.xml(&format!("<metrics xmlns='urn:jabber:config:3' port='{port}'/>")));
    let running = site.start();
    (site, running, port)
}

/// What is said to these bytes, until the server closes.
fn said(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn asked(port: u16, path: &str) -> String {
    said(port, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
}

/// The samples by their names with labels.
fn samples(port: u16) -> BTreeMap<String, f64> {
    read_samples(&asked(port, "/metrics"))
}

fn read_samples(answer: &str) -> BTreeMap<String, f64> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    assert!(body.ends_with("# EOF\n"));
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[test]
fn who_watches_is_told_what_happens() {
    let (site, running, port) = watched("metrics");
    let before = samples(port);
    assert_eq!(before["jabber_sessions{host=\"localhost\"}"], 0.0);
    assert_eq!(before[&format!("jabber_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))], 1.0);
    site.ctl(&["user", "add", "romeo@localhost"]).input("pencil\n").success();
    let mut romeo = Client::connect(&site);
    let mut say = |text: &str, until: &str| {
        romeo.send(text);
        romeo.until(until);
    };
    let login = |password: &str| {
        format!(
            "<iq type='set' id='a'><query xmlns='jabber:iq:auth'><username>romeo</username><password>{password}</password><resource>r</resource></query></iq>"
        )
    };
    say(&login("wrong"), "<error");
    say(&login("pencil"), "type='result'");
    say(
        "<presence/><iq type='get' id='p' to='nobody@localhost'><ping xmlns='urn:xmpp:ping'/></iq><message to='romeo@localhost/r'><body>me</body></message>",
        "<body>me</body>",
    );
    let now = samples(port);
    for (name, expected) in [
        ("jabber_sessions{host=\"localhost\"}", 1.0),
        ("jabber_streams{side=\"client\"}", 1.0),
        ("jabber_streams_opened_total{side=\"client\"}", 1.0),
        ("jabber_logins_total{result=\"ok\"}", 1.0),
        ("jabber_logins_total{result=\"failed\"}", 1.0),
        ("jabber_stanzas_total{side=\"client\",direction=\"in\",kind=\"message\"}", 1.0),
        ("jabber_stanzas_total{side=\"client\",direction=\"out\",kind=\"message\"}", 1.0),
        ("jabber_stanzas_total{side=\"client\",direction=\"in\",kind=\"iq\"}", 1.0),
        ("jabber_stanza_errors_total{condition=\"service-unavailable\"}", 1.0),
        ("jabber_output_queue_bytes", 0.0),
    ] {
        assert_eq!(now.get(name), Some(&expected), "{name}: {now:#?}");
    }
    assert!(now["jabber_tick_seconds_count"] > before["jabber_tick_seconds_count"]);
    assert!(now["jabber_commit_seconds_count"] >= 1.0 && now["jabber_durable_seconds_count"] >= 1.0);
    assert_eq!(now["jabber_tick_seconds_bucket{le=\"+Inf\"}"], now["jabber_tick_seconds_count"]);
    assert!(now["jabber_database_bytes"] >= 4096.0 && now["process_resident_memory_bytes"] > 1e6, "{now:#?}");
    assert!(now["process_open_fds"] > 5.0 && now["process_max_fds"] >= now["process_open_fds"]);
    assert!(now["jabber_certificate_days{host=\"localhost\"}"] > 1.0);
    say("</stream:stream>", "</stream:stream>");
    running.stop();
}

#[test]
fn what_nobody_reads_is_seen() {
    let (site, running, port) = watched("queue");
    for account in ["romeo", "juliet"] {
        site.ctl(&["user", "add", &format!("{account}@localhost")]).input(&format!("{account}\n")).success();
    }
    let juliet = Client::login(&site, "juliet", "juliet");
    let mut romeo = Client::login(&site, "romeo", "romeo");
    // More than both kernels' buffers hold, in pieces, until some of it waits in the server.
    let much = "x".repeat(60_000);
    until("something waits for who does not read", || {
        romeo.send(&format!(
            "<message to='juliet@localhost/orchard'><body>{much}</body></message><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"
        ));
        romeo.until("id='p'");
        (samples(port)["jabber_output_queue_bytes"] >= 50_000.0).then_some(())
    });
    drop(juliet);
    until("who left has no session", || (samples(port)["jabber_sessions{host=\"localhost\"}"] == 1.0).then_some(()));
    assert_eq!(samples(port)["jabber_output_queue_bytes"], 0.0);
    running.stop();
}

#[test]
fn who_watches_may_come_by_a_socket() {
    let site = Site::new("watch-socket");
    let path = site.path("metrics");
    let element = format!("<metrics xmlns='urn:jabber:config:3'>{}</metrics>", path.display());
    site.write("jabber.xml", &site.xml(&element));
    let running = site.start();
    let found = std::fs::metadata(&path).unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    let ask = |path_asked: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(format!("GET {path_asked} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(ask("/health").ends_with("\r\n\r\nok\n"));
    let told = read_samples(&ask("/metrics"));
    assert_eq!(told["jabber_sessions{host=\"localhost\"}"], 0.0);
    // The loop measures itself, for whoever watches.
    assert!(told["jabber_tick_seconds_count"] > 0.0);
    // Many come and go, and one stays and says nothing.
    let _silent = UnixStream::connect(&path).unwrap();
    for _ in 0..100 {
        drop(UnixStream::connect(&path).unwrap());
        assert!(ask("/health").ends_with("ok\n"));
    }
    // jabberctl's own words are no HTTP.
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"{\"command\":\"status\"}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    site.ctl(&["reload"]).success();
    assert!(ask("/health").ends_with("ok\n"));
    running.stop();
    assert!(!path.exists());
    // What lies in its way is told, and is a reason not to start.
    site.write("metrics", "mine");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_jabberd"))
        .arg("-c")
        .arg(site.path("jabber.xml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &site.log();
    assert!(told.contains("is there, and no socket") && told.contains("(<metrics>)"), "{told}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn every_panel_shows_what_there_is() {
    let (_site, running, port) = watched("grafana");
    let names: Vec<String> = samples(port).into_keys().map(|name| name.split('{').next().unwrap().to_owned()).collect();
    // Families whose samples come with what they count.
    let later = ["jabber_streams_closed_total", "jabber_stanza_errors_total"];
    let dashboard = include_str!("../../etc/grafana/jabber.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut shown = Vec::new();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        let expression = target["expr"].as_str().unwrap();
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let used: Vec<&str> =
            words.filter(|word| word.starts_with("jabber_") || word.starts_with("process_")).collect();
        assert!(!used.is_empty(), "{expression}");
        shown.extend(used.iter().map(|name| (*name).to_owned()));
        for name in used {
            assert!(names.iter().any(|known| known == name) || later.contains(&name), "{name} in {expression}");
        }
    }
    // And nothing is told that no panel shows.
    for name in names {
        let family = name.trim_end_matches("_count").trim_end_matches("_sum").trim_end_matches("_bucket");
        assert!(shown.iter().any(|shown| shown.starts_with(family)), "{name} is on no panel");
    }
    running.stop();
}

#[test]
fn a_full_disk_looked_like_health() {
    let site = Site::new("full");
    let port = site.port();
    site.write("jabber.xml", &site.xml(&format!("<metrics xmlns='urn:jabber:config:3' port='{port}'/>")));
    // A file that may not grow is as good as a disk that is full, if the signal that tells so is not obeyed.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_jabberd")]);
    let running = site.start_by(command);
    site.ctl(&["user", "add", "romeo@localhost"]).input("pencil\n").success();
    let mut romeo = Client::login(&site, "romeo", "pencil");
    if !running.bound_files(Some(8_192)) {
        println!("left out: there is no prlimit(1)");
        return running.stop();
    }
    let refused = site.ctl(&["--json", "user", "add", "juliet@localhost"]).input("balcony\n").output();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), refused.stdout), (Some(1), Vec::new()), "{told}");
    assert!(told.contains("\"kind\":\"failed\"") && told.contains("could not keep what this command did"), "{told}");
    // To somebody who is away, so it would be kept.
    romeo.send("<message to='romeo@localhost/away' type='chat'><body>kept?</body></message><iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='juliet@localhost'/></query></iq>");
    let told = romeo.until("</stream:stream>");
    assert!(told.contains("<internal-server-error"), "{told}");
    let answer = asked(port, "/health");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("refuses to commit: "), "{answer}");
    let now = samples(port);
    assert!(now["jabber_commit_failures_total"] >= 2.0, "{now:#?}");
    assert_eq!(now["jabber_streams_closed_total{side=\"client\",reason=\"internal-server-error\"}"], 1.0, "{now:#?}");
    let status = site.ctl(&["status"]).success();
    assert!(status.contains("\nCommits fail          since "), "{status}");
    assert!(site.log().contains("refused to commit"), "{}", site.log());
    // Room was made.
    assert!(running.bound_files(None));
    site.ctl(&["user", "add", "juliet@localhost"]).input("balcony\n").success();
    assert!(asked(port, "/health").ends_with("\r\n\r\nok\n"));
    assert!(site.ctl(&["status"]).success().contains("\nCommits fail          -\n"));
    assert!(site.log().contains("the database commits again: "), "{}", site.log());
    running.stop();
}

#[test]
fn health_and_what_else_is_asked() {
    let (site, running, port) = watched("health");
    for (bytes, status, body) in [
        ("GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200, "ok\n"),
        ("HEAD /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200, ""),
        ("GET /health HTTP/1.0\r\n\r\n", 200, "ok\n"),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404, "Not Found\n"),
        ("GET /metrics/../../etc/passwd HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 404, "Not Found\n"),
        ("DELETE /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 405, "Method Not Allowed\n"),
        ("POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 413, "Content Too Large\n"),
        ("<stream:stream xmlns='jabber:client'>\r\n\r\n", 400, "Bad Request\n"),
        ("\u{16}\u{3}\u{1}\r\n\r\n", 400, "Bad Request\n"),
    ] {
        let answer = said(port, bytes.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}: {answer}");
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body, "{bytes}");
    }
    // Two at once on one connection, one of which says nothing, and one that is endless.
    let _silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(said(port, format!("GET /{} HTTP/1.1\r\n", "x".repeat(9_000)).as_bytes()).starts_with("HTTP/1.1 431 "));
    let two = "GET /health HTTP/1.1\r\nHost: h\r\n\r\nGET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(said(port, two.as_bytes()).matches("\r\n\r\nok\n").count(), 2);
    site.ctl(&["status"]).success();
    running.stop();
    // Off unless it is asked for.
    let site = Site::new("unwatched");
    let running = site.start();
    assert!(!site.log().contains("9105"));
    running.stop();
}

#[test]
fn idle_connections_shut_the_watchers_out() {
    let (site, running, port) = watched("idle");
    let mut idle: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    for _ in 0..3 {
        assert!(asked(port, "/health").ends_with("\r\n\r\nok\n"));
    }
    // Who came first had to go, and the log says what to do.
    idle[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(uninterrupted(|| idle[0].read(&mut [0; 1])).unwrap(), 0);
    assert!(site.log().contains("raise <metrics-clients-max> of <limits>"), "{}", site.log());
    assert!(!site.log().contains("unauthenticated-per-address-max"), "{}", site.log());
    // Who asks now and then stays, whoever else comes.
    let mut prometheus = TcpStream::connect(("127.0.0.1", port)).unwrap();
    prometheus.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..20 {
        prometheus.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 512];
        while !answer.ends_with(b"\r\n\r\nok\n") {
            let count = uninterrupted(|| prometheus.read(&mut buffer)).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..count]);
        }
        idle.extend((0..10).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()));
    }
    // Other servers and clients have their own room.
    site.ctl(&["user", "add", "romeo@localhost"]).input("pencil\n").success();
    Client::login(&site, "romeo", "pencil");
    running.stop();
}
