//! `jabberctl status` of a server that does a bit of everything: each number is what there is, for people and for scripts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use jabber::net::uninterrupted;
use sha1::{Digest as _, Sha1};

use crate::site::{self, Client, PATIENCE, Site, until};

/// What a stream says up to this.
fn heard(stream: &mut TcpStream, end: &str) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 1024]);
    while !text.contains(end) {
        let count = uninterrupted(|| stream.read(&mut buffer)).unwrap();
        assert!(count > 0, "closed before {end}: {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

/// Opens a stream with this namespace; what the server says to it.
fn opened(port: u16, namespace: &str, to: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let header =
        format!("<stream:stream xmlns='{namespace}' xmlns:stream='http://etherx.jabber.org/streams' to='{to}'>");
    stream.write_all(header.as_bytes()).unwrap();
    let said = heard(&mut stream, "<stream:stream");
    let said = if said.ends_with('>') { said } else { said + &heard(&mut stream, ">") };
    (stream, said)
}

/// XEP-0114 §3: a component that has shown that it knows the secret.
fn component(port: u16, name: &str, secret: &str) -> TcpStream {
    let (mut stream, said) = opened(port, "jabber:component:accept", name);
    let id = said.split("id='").nth(1).unwrap().split('\'').next().unwrap();
    let digest: String =
        Sha1::digest(format!("{id}{secret}").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    stream.write_all(format!("<handshake>{digest}</handshake>").as_bytes()).unwrap();
    heard(&mut stream, "<handshake/>");
    stream
}

#[test]
fn each_number_is_what_there_is() {
    let site = Site::new("numbers");
    let (s2s, rooms) = (site.port(), site.port());
    // A server that takes connections and says nothing, another one of the same kind, and one where nobody listens.
    let silent = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let place = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let others = [("silent.test", place(&silent[0])), ("mute.test", place(&silent[1])), ("nobody.test", site.port())];
    let more = format!(
        "{}<service id='echo.localhost'><accept><ip>127.0.0.1</ip><port>{rooms}</port><secret>s</secret></accept></service>
         <limits xmlns='urn:jabber:config:3'><handshake-seconds>3600</handshake-seconds></limits>",
        site::federation(s2s, &others)
    );
    let hosts = "<host>localhost</host><host>second.test</host>";
    site.write("jabber.xml", &site.xml(&more).replace("<host>localhost</host>", hosts));
    let begun = Instant::now();
    let running = site.start();
    let serves = Instant::now();
    for account in ["romeo@localhost", "juliet@localhost", "nurse@second.test"] {
        site.ctl(&["user", "add", account]).input("pencil\n").success();
    }
    site.ctl(&["register", "closed", "second.test"]).success();
    site.ctl(&["block", "spam.example"]).success();
    let _sessions = [Client::login(&site, "romeo", "pencil"), Client::login(&site, "juliet", "pencil")];
    let _stranger = Client::connect(&site);
    let _component = component(rooms, "echo.localhost", "s");
    let _server = opened(s2s, "jabber:server", "localhost");
    // Three stanzas wait for the one from one host, one from the other host; two wait for the other server.
    for (from, to, count) in [
        ("localhost", "a@silent.test", 3),
        ("second.test", "b@silent.test", 1),
        ("localhost", "c@mute.test", 2),
        ("localhost", "d@nobody.test", 1),
    ] {
        for _ in 0..count {
            site.ctl(&["message", "--from", from, to, "hello"]).success();
        }
    }
    let mut dialled: Vec<TcpStream> =
        [&silent[0], &silent[0], &silent[1]].map(|listener| listener.accept().unwrap().0).into();
    dialled.iter_mut().for_each(|stream| drop(heard(stream, "<stream:stream")));
    let status = || site.ctl(&["--json", "status"]).json();
    until("the server where nobody listens is given up", || (status()["links_failing"] == 1).then_some(()));

    let sizes = || ["spool/jabber.db", "spool/jabber.db-wal"].map(|name| fs::metadata(site.path(name)).unwrap().len());
    let (before, least) = (sizes(), serves.elapsed().as_secs());
    let told = status();
    let (after, most) = (sizes(), begun.elapsed().as_secs());
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name}: {told}"));
    for (name, expected) in [
        ("accounts", 3),
        ("sessions", 2),
        ("clients", 3),
        ("servers_in", 1),
        ("servers_out", 3),
        ("components", 1),
        ("bytestreams", 0),
        ("links_waiting", 3),
        ("stanzas_waiting", 6),
        ("links_failing", 1),
        ("blocks", 1),
        ("commit_failures", 0),
    ] {
        assert_eq!(number(name), expected, "{name}: {told}");
    }
    assert_eq!(told["hosts"], serde_json::json!(["localhost", "second.test"]));
    assert_eq!(told["registration"], "open at localhost, closed at second.test");
    assert_eq!(
        (&told["version"], &told["commits_fail"], &told["database_displaced"]),
        (&env!("CARGO_PKG_VERSION").into(), &serde_json::Value::Null, &serde_json::Value::Null)
    );
    assert!((least..=most).contains(&number("up_seconds")), "{least} to {most}: {told}");
    // The files only grow, and the disk's helper is at work on them.
    for (name, file) in [("database_bytes", 0), ("log_bytes", 1)] {
        assert!((before[file]..=after[file]).contains(&number(name)), "{before:?} to {after:?}: {told}");
    }
    let kib = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let kib = kib.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
    let resident = kib.trim().parse::<u64>().unwrap() * 1024;
    assert!((resident / 2..=resident * 2).contains(&number("memory_bytes")), "{resident}: {told}");

    // People read the same.
    let table = site.ctl(&["status"]).success();
    for line in [
        "Hosts                 localhost, second.test",
        "Registration          open at localhost, closed at second.test",
        "Accounts              3",
        "Sessions              2",
        "Client connections    3",
        "Streams from servers  1",
        "Streams to servers    3",
        "Components            1",
        "Domains waited for    3",
        "Stanzas waiting       6",
        "Domains failing       1",
        "Blocked domains       1",
        "Failed commits        0",
        "Commits fail          -",
    ] {
        assert!(table.lines().any(|found| found == line), "{line}: {table}");
    }
    // One of them goes, and with it what waited for it.
    drop((dialled, silent));
    until("nobody is waited for", || (status()["stanzas_waiting"] == 0).then_some(()));
    running.stop();
}
