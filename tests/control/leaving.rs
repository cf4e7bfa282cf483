//! Clients of the control socket that leave: before they are read, between two requests, or with one ear left.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use nix::sys::signal::Signal;

use crate::site::{self, Client, Site, until};

/// What is said until the server closes.
fn rest(mut client: &UnixStream) -> String {
    let mut said = Vec::new();
    while let Err(error) = client.read_to_end(&mut said) {
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
    }
    String::from_utf8(said).unwrap()
}

#[test]
fn what_was_given_up_on_was_done_all_the_same() {
    const LEFT: &str = "it left before what it asked was read, so it is not done";
    let site = Site::new("given-up");
    let running = site.start();
    for name in ["romeo", "juliet"] {
        site.ctl(&["user", "add", &format!("{name}@localhost")]).input("pencil\n").success();
    }
    let mut romeo = Client::login(&site, "romeo", "pencil");
    running.signal(Signal::SIGSTOP);
    let verbs = [
        &["user", "delete", "juliet@localhost"][..],
        &["user", "add", "paris@localhost"],
        &["user", "passwd", "romeo@localhost"],
        &["user", "disable", "romeo@localhost"],
        &["kick", "romeo@localhost"],
        &["announce", "--yes", "too late"],
        &["block", "spam.example"],
        &["register", "closed"],
    ];
    // All at once: each waits for its second.
    let runs: Vec<_> = verbs
        .iter()
        .map(|verb| {
            let words = [&["--timeout", "1", "--yes", "--json"][..], verb].concat();
            let ctl = site.ctl(&words).input("other\n");
            thread::spawn(move || ctl.fails(3))
        })
        .collect();
    for (run, verb) in runs.into_iter().zip(verbs) {
        let told = run.join().unwrap();
        let says = "says nothing for 1 s: it hangs; it has not read the request, and will not obey it";
        assert!(told.contains(says) && told.contains("\"kind\":\"unreachable\""), "{verb:?}: {told}");
    }
    running.signal(Signal::SIGCONT);
    until("the log tells of each", || (site.log().matches(LEFT).count() == verbs.len()).then_some(()));
    let accounts = site.ctl(&["--json", "user", "list"]).json();
    let names: Vec<&str> = accounts.as_array().unwrap().iter().map(|row| row["account"].as_str().unwrap()).collect();
    assert_eq!(names, ["juliet@localhost", "romeo@localhost"]);
    assert_eq!(accounts[1]["disabled"], false);
    assert_eq!(site.ctl(&["--json", "blocks"]).json(), serde_json::json!([]));
    assert!(site.ctl(&["register"]).success().contains("open"));
    // He is here still, and was told nothing.
    romeo.send("<iq type='get' id='here'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(!romeo.until("id='here'").contains("too late"));
    Client::login(&site, "romeo", "pencil");
    running.stop();
}

#[test]
fn who_gave_up_took_the_place_of_who_waits() {
    // More than there may be clients.
    const LEFT: usize = 50;
    let site = Site::new("queue");
    let running = site.start();
    running.signal(Signal::SIGSTOP);
    for n in 0..LEFT {
        let mut client = site.connect();
        client
            .write_all(format!("{{\"command\":\"block\",\"arguments\":{{\"domain\":\"d{n}.example\"}}}}\n").as_bytes())
            .unwrap();
    }
    let mut client = site.connect();
    client.write_all(b"{\"command\":\"blocks\"}\n").unwrap();
    running.signal(Signal::SIGCONT);
    assert_eq!(site::line(&mut client), "{\"done\":\"\"}");
    assert_eq!(site.log().matches("so it is not done").count(), LEFT);
    running.stop();
}

#[test]
fn who_waits_no_more_was_not_told_what_may_happen() {
    let site = Site::new("unanswered");
    let path = site.path("other.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // One that reads and says nothing, one that reads and ends, and one that ends before it reads.
    let server = thread::spawn(move || {
        let mut silent = Vec::new();
        for number in 0..4 {
            let (mut client, _) = listener.accept().unwrap();
            if number < 3 {
                site::line(&mut client);
            }
            if number < 2 {
                silent.push(client);
            }
        }
    });
    let run = |words: &[&str]| {
        let socket = path.to_str().unwrap();
        site.ctl(&[&["--json", "--yes", "--timeout", "1", "--socket", socket][..], words].concat()).fails(3)
    };
    let told = run(&["user", "delete", "romeo@localhost"]);
    assert!(told.contains("it has read the request, and may obey it still"), "{told}");
    assert!(told.contains("see what is done before you say user delete again"), "{told}");
    assert!(told.contains("\"kind\":\"unanswered\""), "{told}");
    // What only looks does no harm.
    let told = run(&["user", "list"]);
    assert!(told.contains("it hangs\"") && told.contains("\"kind\":\"unreachable\""), "{told}");
    let told = run(&["kick", "romeo@localhost"]);
    assert!(told.contains("closed the connection; it has read the request") && told.contains("unanswered"), "{told}");
    let told = run(&["kick", "romeo@localhost"]);
    assert!(told.contains("it has not read the request") && told.contains("\"kind\":\"unreachable\""), "{told}");
    server.join().unwrap();
}

#[test]
fn who_closed_its_side_for_writing_lost_its_answer() {
    const ACCOUNTS: usize = 1_000;
    let site = Site::new("half-closed");
    let running = site.start();
    let add = |name: &str| {
        format!(
            "{{\"command\":\"user add\",\"arguments\":{{\"account\":\"{name}@localhost\"}},\"secret\":\"pencil\"}}\n"
        )
    };
    let ask = |request: &str| {
        let mut client = site.connect();
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        rest(&client)
    };
    // One whose answer takes time, three in a row, one that reads long, and one that is not whole.
    assert_eq!(ask(&add("romeo")), "{\"done\":\"romeo@localhost can log in\"}\n");
    let many: String = (0..ACCOUNTS)
        .map(|n| format!("{{\"command\":\"block\",\"arguments\":{{\"domain\":\"d{n}.example\"}}}}\n"))
        .collect();
    assert_eq!(ask(&many).matches("{\"done\":").count(), ACCOUNTS);
    let three = ask(&format!("{}{}{{\"command\":\"user list\"}}\n", add("juliet"), add("romeo")));
    let lines: Vec<&str> = three.lines().collect();
    assert_eq!(lines.len(), 5, "{three}");
    assert!(lines[1].contains("conflict") && lines[2].contains("juliet@") && lines[3].contains("romeo@"), "{three}");
    assert_eq!(ask("{\"command\":\"blocks\"}\n").matches("{\"row\":").count(), ACCOUNTS);
    let told = ask("{\"command\":\"status\"}");
    assert!(told.starts_with("{\"error\":") && told.contains("the last line has no end"), "{told}");
    assert_eq!(ask(""), "");
    // Nobody is left behind.
    until("all are gone", || {
        let status = site.ctl(&["--json", "status"]).json();
        (status["clients"] == 0).then_some(())
    });
    running.stop();
}

#[test]
fn a_client_dies_in_each_phase() {
    let site = Site::new("dies");
    let running = site.start();
    let request = "{\"command\":\"user add\",\"arguments\":{\"account\":\"romeo@localhost\"},\"secret\":\"pencil\"}\n";
    for end in 0..=request.len() {
        let mut client = site.connect();
        client.write_all(&request.as_bytes()[..end]).unwrap();
        match end % 3 {
            0 => {}
            1 => client.shutdown(Shutdown::Read).unwrap(),
            _ => client.shutdown(Shutdown::Write).unwrap(),
        }
    }
    // More lists than there may be clients, of which nobody reads a line.
    let mut deaf: Vec<UnixStream> = (0..100).map(|_| site.connect()).collect();
    for client in &mut deaf {
        // It may be one too many.
        let _ = client.write_all(b"{\"command\":\"blocks\"}\n{\"command\":\"user list\"}\n");
    }
    drop(deaf);
    until("there is room again", || {
        let output = site.ctl(&["--json", "status"]).output();
        (output.status.code() == Some(0)).then_some(())
    });
    running.stop();
}
