//! jabberctl and the control socket, by the real binaries.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what must be"
)]

#[path = "control/check.rs"]
mod check;
#[path = "control/completion.rs"]
mod completion;
#[path = "control/configurations.rs"]
mod configurations;
#[path = "control/data.rs"]
mod data;
#[path = "control/leaving.rs"]
mod leaving;
#[path = "control/lines.rs"]
mod lines;
#[path = "control/metrics.rs"]
mod metrics;
#[path = "control/pty.rs"]
mod pty;
#[path = "control/site.rs"]
mod site;
#[path = "control/sockets.rs"]
mod sockets;
#[path = "control/status.rs"]
mod status;
#[path = "control/terminal.rs"]
mod terminal;
#[path = "control/verbs.rs"]
mod verbs;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use site::{Client, Site};

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
    let counts = |of: &[&str]| -> Vec<u64> {
        let status = site.ctl(&["--json", "status"]).json();
        of.iter().map(|name| status[*name].as_u64().unwrap()).collect()
    };
    let all = ["sessions", "clients", "blocks", "accounts"];
    assert_eq!(counts(&all), [0, 0, 0, 0]);
    site.ctl(&["user", "add", "romeo@localhost"]).input("m0ntague\n").success();
    let _romeo = Client::login(&site, "romeo", "m0ntague");
    let _stranger = Client::connect(&site);
    site.ctl(&["block", "spam.example"]).success();
    assert_eq!(counts(&all), [1, 2, 1, 1]);
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
        (&["--frobnicate"], "", 2, "there is no option --frobnicate"),
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
        assert!(!answer.contains("\"remedy\":\"\""), "{answer}");
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
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < 4_096 {
        println!("left out: a process may have {hard} files open here");
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(4_096), hard).unwrap();
    let mut clients: Vec<_> = (0..1000).map(|_| site.connect()).collect();
    let refused = clients.iter_mut().skip(900).map(site::line).filter(|line| line.contains("\"busy\"")).count();
    assert_eq!(refused, 100);
    let mut rest = String::new();
    clients.last_mut().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    drop(clients);
    site::until("there is room for another client", || site.ctl(&["status"]).output().status.success().then_some(()));
}

/// A server with these accounts, each with its name as the password.
fn with_accounts(name: &str, accounts: &[&str]) -> (Site, site::Running) {
    let site = Site::with(name, "");
    let running = site.start();
    for account in accounts {
        site.ctl(&["user", "add", &format!("{account}@localhost")]).input(&format!("{account}\n")).success();
    }
    (site, running)
}

#[test]
fn accounts_are_listed_and_looked_at() {
    let (site, _running) = with_accounts("user-list", &["romeo", "juliet"]);
    let text = site.ctl(&["user", "list"]).success();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].starts_with("ACCOUNT           CREATED") && lines[1].starts_with("juliet@localhost  20"),
        "{text}"
    );
    assert!(lines[2].ends_with("  0  no"), "{text}");
    let mut romeo = Client::login(&site, "romeo", "romeo");
    romeo.send("<message to='juliet@localhost'><body>Art thou there?</body></message><iq type='get' id='p'><x xmlns='x'/></iq>");
    romeo.until("id='p'");
    let list = site.ctl(&["--json", "user", "list", "localhost"]).json();
    assert_eq!((&list[1]["account"], &list[1]["sessions"]), (&"romeo@localhost".into(), &1.into()), "{list}");
    let info = site.ctl(&["--json", "user", "info", "romeo@localhost"]).json();
    assert_eq!(info["resources"], serde_json::json!(["orchard"]));
    assert!(info["online"] == true && info["last_seen"].as_u64() >= info["created"].as_u64(), "{info}");
    let text = site.ctl(&["user", "list"]).success();
    let row = text.lines().find(|line| line.starts_with("romeo@")).unwrap();
    assert!(row.split_whitespace().any(|word| word == "now"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("juliet@") && line.contains("  never  ")), "{text}");
    let info = site.ctl(&["--json", "user", "info", "juliet@localhost"]).json();
    assert_eq!((&info["offline_messages"], &info["disabled"]), (&1.into(), &false.into()), "{info}");
    for (arguments, code, says) in [
        (&["user", "info", "paris@localhost"][..], 1, "there is no account paris@localhost"),
        (&["user", "list", "elsewhere"], 1, "elsewhere is not served here"),
        (&["user", "passwd", "paris@localhost"], 1, "there is no account"),
        (&["--yes", "user", "delete", "paris@localhost"], 1, "there is no account"),
        (&["user", "delete", "romeo@localhost"], 2, "say --yes if it is meant"),
        (&["user", "disable", "paris@localhost"], 1, "there is no account"),
        (&["user", "enable", "paris@localhost"], 1, "there is no account"),
    ] {
        let told = site.ctl(arguments).input("secret\n").fails(code);
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
}

#[test]
fn a_long_list_comes_whole() {
    let (site, _running) = with_accounts("long-list", &[]);
    // Straight to the socket, one after the other on one connection: 210 accounts make two pages.
    let mut client = site.connect();
    for number in 0..210 {
        let request = format!(
            "{{\"command\":\"user add\",\"arguments\":{{\"account\":\"u{number:03}@localhost\"}},\"secret\":\"s\"}}\n"
        );
        client.write_all(request.as_bytes()).unwrap();
        let answer = site::line(&mut client);
        assert!(answer.starts_with("{\"done\":"), "{answer}");
    }
    let list = site.ctl(&["--json", "user", "list"]).json();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 210);
    assert!(list.windows(2).all(|two| two[0]["account"].as_str() < two[1]["account"].as_str()));
    // Who goes away in the middle is nobody's trouble.
    client.write_all(b"{\"command\":\"user list\"}\n").unwrap();
    site::line(&mut client);
    drop(client);
    assert_eq!(site.ctl(&["user", "list"]).success().lines().count(), 211);
}

#[test]
fn a_new_password_ends_the_sessions_of_the_old_one() {
    let (site, _running) = with_accounts("passwd", &["romeo"]);
    let romeo = Client::login(&site, "romeo", "romeo");
    assert_eq!(
        site.ctl(&["user", "passwd", "romeo@localhost"]).input("new\n").success(),
        "romeo@localhost has a new password\n"
    );
    let end = romeo.last_words();
    assert!(end.contains("<reset") && end.contains("the password was changed"), "{end}");
    let (_, answer) = Client::try_login(&site, "romeo", "romeo");
    assert!(answer.contains("type='error'"), "{answer}");
    Client::login(&site, "romeo", "new");
}

#[test]
fn each_new_password_is_for_the_account_it_was_asked_for() {
    let (site, running) = with_accounts("pipelined", &["romeo", "juliet", "mercutio"]);
    let request = |account: &str, secret: &str| {
        format!(
            "{{\"command\":\"user passwd\",\"arguments\":{{\"account\":\"{account}@localhost\"}},\"secret\":\"{secret}\"}}\n"
        )
    };
    // All at once on one connection: password work of one must not become the answer of another.
    let mut client = site.connect();
    let mut all = String::new();
    for round in 0..2 {
        for account in ["romeo", "juliet"] {
            all += &request(account, &format!("{account}{round}"));
        }
        all += &request("paris", "nobody");
        all += "{\"command\":\"user passwd\",\"arguments\":{\"account\":\"romeo@localhost\"}}\n";
        all += "nonsense\n{\"command\":\"blocks\"}\n";
    }
    // Another one beside it, and one that does not wait for what comes of it.
    let mut other = site.connect();
    other.write_all(request("mercutio", "rapier").as_bytes()).unwrap();
    client.write_all(all.as_bytes()).unwrap();
    site.connect().write_all(request("mercutio", "queen mab").as_bytes()).unwrap();
    for _ in 0..2 {
        for account in ["romeo", "juliet"] {
            assert_eq!(site::line(&mut client), format!("{{\"done\":\"{account}@localhost has a new password\"}}"));
        }
        for says in ["there is no account paris@localhost", "needs a \\\"secret\\\"", "no JSON object on one line"] {
            let answer = site::line(&mut client);
            assert!(answer.starts_with("{\"error\":") && answer.contains(says), "{answer}");
        }
        assert_eq!(site::line(&mut client), "{\"done\":\"\"}");
    }
    assert!(site::line(&mut other).contains("mercutio@localhost has a new password"));
    for account in ["romeo", "juliet"] {
        Client::login(&site, account, &format!("{account}1"));
        for old in [account.to_owned(), format!("{account}0"), "nobody".to_owned(), "rapier".to_owned()] {
            assert!(Client::try_login(&site, account, &old).1.contains("type='error'"), "{account} {old}");
        }
    }
    // Whichever was the last, it is one of his own.
    let his = ["rapier", "queen mab"].iter();
    let his = his.filter(|one| Client::try_login(&site, "mercutio", one).1.contains("type='result'"));
    assert_eq!(his.count(), 1);
    running.stop();
}

#[test]
fn a_deleted_account_leaves_its_contacts() {
    let (site, _running) = with_accounts("delete", &["romeo", "juliet"]);
    site.ctl(&["roster", "add", "--both", "romeo@localhost", "juliet@localhost"]).success();
    let romeo = Client::login(&site, "romeo", "romeo");
    let mut juliet = Client::login(&site, "juliet", "juliet");
    assert_eq!(site.ctl(&["-y", "user", "delete", "romeo@localhost"]).success(), "romeo@localhost is gone\n");
    assert!(romeo.last_words().contains("the account was removed"));
    juliet.until("type='unsubscribed'");
    let roster = site.ctl(&["--json", "roster", "show", "juliet@localhost"]).json();
    assert_eq!(roster[0]["subscription"], "none");
    let list = site.ctl(&["--json", "user", "list"]).json();
    assert_eq!(list.as_array().unwrap().len(), 1);
}

#[test]
fn a_disabled_account_takes_nothing_and_keeps_all() {
    let (site, running) = with_accounts("disable", &["romeo", "juliet"]);
    site.ctl(&["roster", "add", "--both", "romeo@localhost", "juliet@localhost"]).success();
    let romeo = Client::login(&site, "romeo", "romeo");
    assert_eq!(site.ctl(&["user", "disable", "romeo@localhost"]).success(), "romeo@localhost is disabled\n");
    assert!(romeo.last_words().contains("the account is disabled"));
    let (_, answer) = Client::try_login(&site, "romeo", "romeo");
    assert!(answer.contains("type='error'"), "{answer}");
    let mut juliet = Client::login(&site, "juliet", "juliet");
    juliet.send("<message to='romeo@localhost' id='m'><body>Wherefore?</body></message>");
    let error = juliet.until("<service-unavailable");
    assert!(error.contains("id='m'"), "{error}");
    let info = site.ctl(&["--json", "user", "info", "romeo@localhost"]).json();
    assert_eq!((&info["disabled"], &info["offline_messages"], &info["contacts"]), (&true.into(), &0.into(), &1.into()));
    // It survives a restart.
    running.stop();
    let _running = site.start();
    let (_, answer) = Client::try_login(&site, "romeo", "romeo");
    assert!(answer.contains("type='error'"), "{answer}");
    site.ctl(&["user", "enable", "romeo@localhost"]).success();
    Client::login(&site, "romeo", "romeo");
}

#[test]
fn rosters_are_shown_and_changed() {
    let (site, _running) = with_accounts("roster", &["romeo", "juliet"]);
    let mut romeo = Client::login(&site, "romeo", "romeo");
    let mut juliet = Client::login(&site, "juliet", "juliet");
    site.ctl(&["roster", "add", "romeo@localhost", "help@localhost"]).fails(1);
    let told = site
        .ctl(&[
            "roster",
            "add",
            "--both",
            "--name",
            "My love",
            "--group",
            "Capulets",
            "romeo@localhost",
            "juliet@localhost",
        ])
        .success();
    assert_eq!(told, "romeo@localhost and juliet@localhost see each other\n");
    let push = romeo.until("</iq>");
    assert!(
        push.contains("subscription='both'") && push.contains("name='My love'") && push.contains("Capulets"),
        "{push}"
    );
    romeo.until("<presence from='juliet@localhost/orchard'");
    juliet.until("<presence from='romeo@localhost/orchard'");
    let roster = site.ctl(&["--json", "roster", "show", "romeo@localhost"]).json();
    assert_eq!(
        roster,
        serde_json::json!([{
            "contact": "juliet@localhost", "name": "My love", "subscription": "both", "pending": null,
            "groups": ["Capulets"], "visible": true,
        }])
    );
    // Elsewhere somebody must be asked.
    site.ctl(&["roster", "add", "--both", "romeo@localhost", "rosaline@elsewhere.example"]).success();
    let roster = site.ctl(&["roster", "show", "romeo@localhost"]).success();
    assert!(roster.contains("rosaline@elsewhere.example") && roster.contains("out"), "{roster}");
    let told = site.ctl(&["roster", "remove", "--both", "romeo@localhost", "juliet@localhost"]).success();
    assert_eq!(told, "taken out of the roster of romeo@localhost and of juliet@localhost\n");
    juliet.until("subscription='remove'");
    for (arguments, says) in [
        (&["roster", "remove", "romeo@localhost", "juliet@localhost"][..], "is not in the roster"),
        (&["roster", "add", "romeo@localhost", "romeo@localhost"], "nobody is a contact of oneself"),
        (&["roster", "show", "paris@localhost"], "there is no account"),
        (&["roster", "remove", "paris@localhost", "romeo@localhost"], "there is no account"),
    ] {
        let told = site.ctl(arguments).fails(1);
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn privacy_lists_hold_where_the_admin_changes_what_they_go_by() {
    let (site, _running) = with_accounts("groups", &["romeo", "juliet"]);
    site.ctl(&["roster", "add", "--both", "romeo@localhost", "juliet@localhost"]).success();
    site.ctl(&["roster", "add", "--group", "Foes", "romeo@localhost", "tybalt@elsewhere.example"]).success();
    let mut romeo = Client::login(&site, "romeo", "romeo");
    let mut juliet = Client::login(&site, "juliet", "juliet");
    romeo.until("<presence from='juliet@localhost/orchard'");
    juliet.until("<presence from='romeo@localhost/orchard'");
    let item = "<item type='group' value='Foes' action='deny' order='1'/>";
    for wish in [format!("<list name='foes'>{item}</list>"), "<active name='foes'/>".to_owned()] {
        romeo.send(&format!("<iq type='set' id='set'><query xmlns='jabber:iq:privacy'>{wish}</query></iq>"));
        romeo.until("id='set'");
    }
    site.ctl(&["roster", "add", "--group", "Foes", "romeo@localhost", "juliet@localhost"]).success();
    let gone = juliet.until("type='unavailable'");
    assert!(gone.contains("from='romeo@localhost/orchard'"), "{gone}");
    let gone = romeo.until("type='unavailable'");
    assert!(gone.contains("from='juliet@localhost/orchard'"), "{gone}");
}

#[test]
fn sessions_are_listed_and_ended() {
    let (site, _running) = with_accounts("sessions", &["romeo", "juliet"]);
    assert_eq!(site.ctl(&["--json", "sessions"]).json(), serde_json::json!([]));
    let romeo = Client::login(&site, "romeo", "romeo");
    let juliet = Client::login(&site, "juliet", "juliet");
    let all = site.ctl(&["--json", "sessions", "localhost"]).json();
    assert_eq!(all[0]["jid"], "juliet@localhost/orchard");
    assert_eq!(
        (&all[1]["address"], &all[1]["tls"], &all[1]["priority"]),
        (&"127.0.0.1".into(), &false.into(), &0.into())
    );
    assert_eq!(site.ctl(&["sessions", "romeo@localhost"]).success().lines().count(), 2);
    let told = site.ctl(&["kick", "--reason", "Too noisy", "romeo@localhost/orchard"]).success();
    assert_eq!(told, "romeo@localhost/orchard was disconnected\n");
    let end = romeo.last_words();
    assert!(end.contains("<policy-violation") && end.contains("Too noisy"), "{end}");
    assert_eq!(site.ctl(&["kick", "juliet@localhost"]).success(), "juliet@localhost: 1 session ended\n");
    assert!(juliet.last_words().contains("ended by the administrator"));
    for (arguments, code, says) in [
        (&["kick", "romeo@localhost/orchard"][..], 1, "is not connected"),
        (&["kick", "paris@localhost"], 1, "there is no account"),
        (&["kick", "localhost"], 2, "is a host, not an account"),
        (&["kick"], 2, "WHO is missing"),
        (&["sessions", "@"], 2, "is no address"),
    ] {
        let told = site.ctl(arguments).fails(code);
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn the_server_speaks_to_people() {
    let (site, _running) = with_accounts("message", &["romeo"]);
    let mut romeo = Client::login(&site, "romeo", "romeo");
    site.ctl(&["message", "--subject", "Disk", "romeo@localhost", "Your", "mailbox <is> full"]).success();
    let message = romeo.until("</message>");
    assert!(message.contains("from='localhost'") && message.contains("<subject>Disk</subject>"), "{message}");
    assert!(message.contains("<body>Your mailbox &lt;is&gt; full</body>"), "{message}");
    assert!(!site.log().contains("mailbox"), "texts are nobody's business");
    for (arguments, code, says) in [
        (&["message", "paris@localhost", "x"][..], 1, "there is no account"),
        (&["message", "romeo@localhost"], 2, "TEXT is missing"),
        (&["message", "--from", "elsewhere", "romeo@localhost", "x"], 1, "elsewhere is not served here"),
        (&["announce"], 2, "what shall be announced?"),
        (&["announce", "--delete", "x"], 2, "--delete takes no text"),
        (&["announce", "--motd", "--update", "x"], 2, "exclude each other"),
    ] {
        let told = site.ctl(arguments).fails(code);
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
}

/// What a client has heard by now.
fn heard(client: &mut Client) -> String {
    client.send("<iq type='get' id='heard'><ping xmlns='urn:xmpp:ping'/></iq>");
    client.until("id='heard'")
}

#[test]
fn words_reach_who_is_here_and_who_comes_later() {
    let (site, _running) = with_accounts("announce", &["romeo", "juliet", "mercutio", "paris"]);
    let mut romeo = Client::login(&site, "romeo", "romeo");
    // Who is away finds a message at the next login, with the time at which it was sent.
    let told = site.ctl(&["message", "juliet@localhost", "Your", "mailbox", "is", "full"]).success();
    assert_eq!(told, "sent to juliet@localhost\n");
    // An announcement is for who is here.
    assert_eq!(site.ctl(&["announce", "--subject", "Soon", "Restart in <5> minutes"]).success(), "sent: localhost\n");
    let announced = romeo.until("</message>");
    assert!(announced.contains("from='localhost'") && announced.contains("<subject>Soon</subject>"), "{announced}");
    assert!(announced.contains("<body>Restart in &lt;5&gt; minutes</body>"), "{announced}");
    let mut juliet = Client::login(&site, "juliet", "juliet");
    let waited = heard(&mut juliet);
    assert!(waited.contains("<body>Your mailbox is full</body>") && waited.contains("<delay"), "{waited}");
    assert!(!waited.contains("Restart"), "{waited}");
    // The message of the day is for both.
    let told = site.ctl(&["announce", "--motd", "--from", "localhost", "We have moved"]).success();
    assert_eq!(told, "sent, and kept as the message of the day: localhost\n");
    for client in [&mut romeo, &mut juliet] {
        assert!(heard(client).contains("<body>We have moved</body>"));
    }
    let mut mercutio = Client::login(&site, "mercutio", "mercutio");
    assert!(heard(&mut mercutio).contains("<body>We have moved</body>"));
    // Changed, nobody hears of it now; taken back, nobody any more.
    site.ctl(&["announce", "--update", "We have moved again"]).success();
    assert!(!heard(&mut romeo).contains("again"));
    let mut paris = Client::login(&site, "paris", "paris");
    assert!(heard(&mut paris).contains("<body>We have moved again</body>"));
    assert_eq!(site.ctl(&["announce", "--delete"]).success(), "there is no message of the day any more: localhost\n");
    let mut last = Client::login(&site, "paris", "paris");
    assert!(!heard(&mut last).contains("<body>"));
    assert!(!site.log().contains("moved") && !site.log().contains("mailbox"), "texts are nobody's business");
}

#[test]
fn domains_are_blocked_and_let_in_again() {
    let (site, running) = with_accounts("block", &[]);
    site.ctl(&["block", "--subdomains", "--bounce", "Spam.Example"]).success();
    site.ctl(&["block", "other.example"]).success();
    running.stop();
    let _running = site.start();
    let blocks = site.ctl(&["--json", "blocks"]).json();
    assert_eq!(
        blocks,
        serde_json::json!([
            {"domain": "other.example", "subdomains": false, "action": "drop", "origin": "command"},
            {"domain": "spam.example", "subdomains": true, "action": "bounce", "origin": "command"},
        ])
    );
    assert_eq!(site.ctl(&["unblock", "spam.example"]).success(), "the block of spam.example is taken back\n");
    for (arguments, code, says) in [
        (&["unblock", "spam.example"][..], 1, "spam.example is not blocked"),
        (&["block", "localhost"], 1, "localhost is served here"),
        (&["block", "a b"], 2, "is no domain"),
        (&["message", "x@other.example", "hello"], 1, "other.example is blocked"),
    ] {
        let told = site.ctl(arguments).fails(code);
        assert!(told.contains(says), "{told}");
    }
    site.write("jabber.xml", &site.xml("<block xmlns='urn:jabber:config:3'>file.example</block>"));
    assert!(site.ctl(&["reload"]).success().contains("the configuration was read again"));
    let told = site.ctl(&["unblock", "file.example"]).fails(1);
    assert!(told.contains("jabber.xml blocks it"), "{told}");
}

#[test]
fn failing_domains_have_their_reasons() {
    let site = Site::new("s2s");
    // Nobody listens there.
    let sections = site::federation(site.port(), &[("nobody.test", site.port())]);
    site.write("jabber.xml", &site.xml(&sections));
    let _running = site.start();
    site.ctl(&["message", "x@nobody.test", "hello"]).success();
    let row = site::until("the domain fails", || {
        let rows = site.ctl(&["--json", "s2s", "--failing"]).json();
        (rows[0]["state"] == "failing").then(|| rows[0].clone())
    });
    assert_eq!((&row["local"], &row["remote"]), (&"localhost".into(), &"nobody.test".into()), "{row}");
    assert!(row["reason"].as_str().unwrap().contains("refused"), "{row}");
    // Since when, and when it is tried again, was promised and not told.
    assert!(row["seconds"].is_u64() && row["retry_seconds"].as_u64().unwrap() <= 5, "{row}");
    assert_eq!(site.ctl(&["--json", "s2s", "other.example"]).json(), serde_json::json!([]));
}

#[test]
fn who_is_invited_makes_an_account_and_has_a_contact() {
    let (site, _running) = with_accounts("invite", &["romeo"]);
    site.ctl(&["register", "closed"]).success();
    let made = site
        .ctl(&["--json", "invite", "create", "--name", "juliet", "--inviter", "romeo@localhost", "--days", "2"])
        .json();
    let uri = made["uri"].as_str().unwrap();
    let token = uri.strip_prefix("xmpp:juliet@localhost?register;preauth=").unwrap();
    assert_eq!(token.len(), 32, "{uri}");
    let list = site.ctl(&["--json", "invite", "list"]).json();
    assert_eq!((&list[0]["id"], &list[0]["inviter"]), (&made["id"], &"romeo@localhost".into()), "{list}");
    assert!(!list.to_string().contains(token));
    let mut juliet = Client::connect(&site);
    juliet.send(&format!("<iq type='set' id='a'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>"));
    assert!(juliet.until("id='a'").contains("type='result'"));
    let query = "<query xmlns='jabber:iq:register'><username>juliet</username><password>juliet</password></query>";
    juliet.send(&format!("<iq type='set' id='b'>{query}</iq>"));
    assert!(juliet.until("id='b'").contains("type='result'"));
    let roster = site.ctl(&["--json", "roster", "show", "romeo@localhost"]).json();
    assert!(roster.to_string().contains("juliet@localhost") && roster.to_string().contains("both"), "{roster}");
    assert_eq!(site.ctl(&["--json", "invite", "list"]).json(), serde_json::json!([]));
    let again = site.ctl(&["--json", "invite", "create"]).json();
    let id = again["id"].as_str().unwrap();
    assert!(site.ctl(&["invite", "revoke", id]).success().contains("is revoked"));
    for (arguments, code, says) in [
        (&["invite", "revoke", id][..], 1, "there is no invitation"),
        (&["invite", "create", "elsewhere"], 1, "is not served here"),
        (&["invite", "create", "--name", "romeo"], 1, "is there already"),
        (&["invite", "create", "--name", "a@b"], 2, "cannot be a name"),
        (&["invite", "create", "--inviter", "paris@localhost"], 1, "there is no account"),
        (&["invite", "create", "--uses", "0"], 2, "from 1 to"),
        (&["invite", "create", "--name", "x", "--uses", "2"], 2, "do not go together"),
    ] {
        assert!(site.ctl(arguments).fails(code).contains(says), "{arguments:?}");
    }
}

#[test]
fn registration_is_closed_and_opened_while_it_runs() {
    let (site, running) = with_accounts("register", &[]);
    let fields = |site: &Site| {
        let mut client = Client::connect(site);
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>");
        client.until("</iq>")
    };
    assert!(fields(&site).contains("<username"));
    let told = site.ctl(&["--json", "register", "closed"]).json();
    assert_eq!(told, serde_json::json!([{"host": "localhost", "registration": "closed", "set_by": "command"}]));
    assert!(fields(&site).contains("<service-unavailable"));
    running.stop();
    let _running = site.start();
    assert!(fields(&site).contains("<service-unavailable"));
    site.ctl(&["reload"]).success();
    assert_eq!(site.ctl(&["--json", "status"]).json()["registration"], "closed");
    site.ctl(&["register", "open", "localhost"]).success();
    assert!(fields(&site).contains("<username"));
    let told = site.ctl(&["--json", "register", "default"]).json();
    assert_eq!(told, serde_json::json!([{"host": "localhost", "registration": "open", "set_by": "jabber.xml"}]));
    assert_eq!(site.ctl(&["--json", "register"]).json(), told);
    assert!(site.ctl(&["register", "ajar"]).fails(2).contains("\"ajar\" is none of open, invite, closed, default"));
    assert!(site.ctl(&["register", "open", "elsewhere"]).fails(1).contains("is not served here"));
}

#[test]
fn a_reload_tells_what_is_wrong() {
    let (site, _running) = with_accounts("reload", &[]);
    assert!(site.ctl(&["reload"]).success().contains("the configuration was read again"));
    site.write("jabber.xml", "<jabber><a></jabber>");
    let told = site.ctl(&["--socket", site.path("spool/control").to_str().unwrap(), "reload"]).fails(1);
    assert!(told.contains("mismatched tag at line 1"), "{told}");
    site.write("jabber.xml", &site.xml(""));
    assert_eq!(site.ctl(&["--json", "status"]).json()["hosts"], serde_json::json!(["localhost"]));
}

#[test]
fn a_reload_hid_what_is_not_in_force() {
    let (site, _running) = with_accounts("reload-notes", &[]);
    let socket = site.path("spool/control").display().to_string();
    let pem = site.path("missing.pem");
    let extra = format!(
        "<certificate xmlns='urn:jabber:config:3' host='localhost'>{}</certificate>\
         <control xmlns='urn:jabber:config:3' group='no-such-group-here'/>",
        pem.display()
    );
    site.write("jabber.xml", &site.xml(&extra).replace("127.0.0.1", "127.0.0.2"));
    // Each time, though the log is told once of a certificate.
    for _ in 0..2 {
        let output = site.ctl(&["--socket", &socket, "reload"]).output();
        let (said, notes) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(0), "{notes}");
        assert!(said.starts_with("the configuration was read again, but for what the notes say ("), "{said} {notes}");
        assert!(notes.contains("note: the ports cannot change while the server runs: restart it\n"), "{notes}");
        assert!(notes.contains("note: there is no group 'no-such-group-here'"), "{notes}");
        let certificate = format!("note: the certificate file {}", pem.display());
        assert!(notes.contains(&certificate) && notes.contains("loaded before stays in use\n"), "{notes}");
    }
    site.write("jabber.xml", &site.xml(""));
    // Another server of these tests may have the port for file transfers.
    let notes = String::from_utf8(site.ctl(&["--socket", &socket, "reload"]).output().stderr).unwrap();
    assert!(["the ports", "no-such-group", "certificate"].iter().all(|what| !notes.contains(what)), "{notes}");
}

#[test]
fn the_log_says_more_when_asked() {
    let (site, _running) = with_accounts("log", &[]);
    let debug_lines = |site: &Site| {
        site.ctl(&["status"]).success();
        site.log().matches("[debug] (-internal): control: ").count()
    };
    assert_eq!(debug_lines(&site), 0);
    site.ctl(&["log", "level", "debug", "s2s"]).success();
    assert_eq!(debug_lines(&site), 0);
    let told = site.ctl(&["log", "level", "debug", "-internal"]);
    assert!(told.fails(2).contains("no option -internal"));
    site.ctl(&["log", "level", "debug", "--", "-internal"]).success();
    assert_eq!(debug_lines(&site), 1);
    site.ctl(&["log", "level", "error"]).success();
    site.ctl(&["log", "level", "default"]).success();
    let before = debug_lines(&site);
    assert_eq!(debug_lines(&site), before);
    assert!(site.ctl(&["log", "level", "loud"]).fails(2).contains("\"loud\" is none of"));
}

#[test]
fn certificates_are_listed() {
    let (site, _running) = with_accounts("cert", &[]);
    let certificates = site.ctl(&["--json", "cert"]).json();
    let one = &certificates[0];
    assert_eq!((&one["host"], &one["names"][0]), (&"localhost".into(), &"localhost".into()), "{one}");
    assert!(one["days_left"].as_i64().unwrap() > 3000 && one["file"].as_str().unwrap().ends_with("ssl/localhost.pem"));
    assert!(one["issuer"].as_str().unwrap().contains("localhost"), "{one}");
}

#[test]
fn an_account_is_made_while_no_server_runs() {
    let site = Site::new("offline");
    let told = site.ctl(&["user", "add", "romeo@localhost"]).input("m0ntague\n").success();
    assert_eq!(told, "romeo@localhost can log in, once the server runs\n");
    assert!(site.ctl(&["user", "add", "romeo@localhost"]).input("x\n").fails(1).contains("is there already"));
    assert!(site.ctl(&["user", "add", "romeo@elsewhere"]).input("x\n").fails(1).contains("is not served here"));
    assert!(site.ctl(&["user", "list"]).fails(3).contains("the server is not running"));
    let running = site.start();
    Client::login(&site, "romeo", "m0ntague");
    // One that runs without its socket is left alone.
    std::fs::remove_file(site.path("spool/control")).unwrap();
    let told = site.ctl(&["user", "add", "juliet@localhost"]).input("x\n").fails(3);
    assert!(told.contains("jabberd runs (process"), "{told}");
    running.stop();
}

#[test]
fn the_way_to_another_server_is_tried_step_by_step() {
    let island = Site::new("island");
    let _running = island.start();
    let told = island.ctl(&["ping", "other.example"]).fails(1);
    assert!(told.contains("this server is an island"), "{told}");
    let site = Site::new("ping");
    // Nobody listens there.
    let sections = site::federation(site.port(), &[("nobody.test", site.port())]);
    site.write("jabber.xml", &site.xml(&sections));
    let _running = site.start();
    let steps = |domain: &str| {
        let output = site.ctl(&["--json", "ping", domain]).output();
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = rows.as_array().unwrap().iter();
        let rows: Vec<(String, String)> =
            rows.map(|row| (row["step"].as_str().unwrap().into(), row["result"].as_str().unwrap().into())).collect();
        (output.status.code(), rows, String::from_utf8(output.stderr).unwrap())
    };
    let row = |step: &str, result: &str| (step.to_owned(), result.to_owned());
    let (code, rows, why) = steps("nobody.test");
    assert_eq!(code, Some(1));
    assert_eq!(rows, [row("block", "ok"), row("dns", "ok"), row("connect", "failed"), row("connect", "failed")]);
    assert!(why.contains("nobody.test cannot be reached: nobody.test:") && why.contains("refused"), "{why}");
    assert!(why.contains("nobody listens there"), "{why}");
    // Straight after, without waiting for the time of the next try.
    assert_eq!(steps("nobody.test").1.len(), 4);
    site.ctl(&["block", "nobody.test"]).success();
    let (code, rows, why) = steps("nobody.test");
    assert_eq!((code, rows), (Some(1), vec![row("block", "failed")]));
    assert!(why.contains("is blocked"), "{why}");
    for (arguments, code, says) in [
        (&["ping", "localhost"][..], 1, "is served here"),
        (&["ping", "--from", "elsewhere", "other.example"], 1, "elsewhere is not served here"),
        (&["ping"], 2, "DOMAIN is missing"),
    ] {
        let told = site.ctl(arguments).fails(code);
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn two_servers_reach_each_other() {
    // Each knows where the other is by jabber.xml.
    let (one, other) = ("one.test", "other.test");
    let sites = [one, other].map(|own| Site::new(&format!("reach-{own}")));
    let ports = [sites[0].port(), sites[1].port()];
    for (at, (own, far)) in [(one, other), (other, one)].into_iter().enumerate() {
        let xml = sites[at].xml(&site::federation(ports[at], &[(far, ports[1 - at])]));
        sites[at].write("jabber.xml", &xml.replace("<host>localhost</host>", &format!("<host>{own}</host>")));
    }
    let _running: Vec<_> = sites.iter().map(Site::start).collect();
    let output = sites[0].ctl(&["--json", "ping", other]).output();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text} {}", String::from_utf8_lossy(&output.stderr));
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    let steps: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["block", "dns", "connect", "tls", "proof", "ping"], "{text}");
    let last = rows.as_array().unwrap().last().unwrap();
    assert!(last["text"].as_str().unwrap().contains(" answered in ") && last["result"] == "ok", "{last}");
    // The second time the stream is there.
    let rows = sites[0].ctl(&["--json", "ping", other]).json();
    assert_eq!(rows[1]["step"], "stream", "{rows}");
    let streams = sites[0].ctl(&["--json", "s2s", other]).json();
    assert!(streams.as_array().unwrap().iter().any(|s| s["state"] == "open" && s["tls"] == "TLSv1.3"), "{streams}");
}

#[test]
fn a_server_that_does_not_serve_the_domain_was_said_to_be_down() {
    // The name leads to a machine that serves another one.
    let (site, elsewhere) = (Site::new("ping-wrong"), Site::new("ping-elsewhere"));
    let (own, other) = (site.port(), elsewhere.port());
    site.write("jabber.xml", &site.xml(&site::federation(own, &[("wrong.test", other)])));
    let xml = elsewhere.xml(&site::federation(other, &[]));
    elsewhere.write("jabber.xml", &xml.replace("<host>localhost</host>", "<host>elsewhere.test</host>"));
    let _running = [site.start(), elsewhere.start()];
    let output = site.ctl(&["--json", "ping", "wrong.test"]).output();
    assert_eq!(output.status.code(), Some(1));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let last = rows.as_array().unwrap().last().unwrap();
    let part = |name: &str| last[name].as_str().unwrap_or_default().to_owned();
    assert!(part("result") == "failed" && part("text") == "no other place is left", "{rows}");
    let remedy =
        "that server does not serve wrong.test: see where its name leads: host -t SRV _xmpp-server._tcp.wrong.test";
    assert_eq!(part("remedy"), remedy, "{rows}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(remedy) && errors.contains("host-unknown (wrong.test is not served here)"), "{errors}");
}

#[test]
fn help_tells_of_every_command() {
    let site = Site::new("help");
    let help = site.ctl(&["help"]).success();
    assert_eq!(help, site.ctl(&["--help"]).success());
    assert!(help.contains("  user add "), "{help}");
    for command in jabber::admin::COMMANDS {
        let mut words: Vec<&str> = command.name.split(' ').collect();
        words.push("--help");
        let text = site.ctl(&words).success();
        assert!(
            text.contains(&format!("usage: jabberctl {}", command.usage())) && text.contains("examples:"),
            "{text}"
        );
    }
    assert!(site.ctl(&["help", "user"]).success().contains("user enable: "));
    // Though its first word alone invites.
    assert!(site.ctl(&["help", "invite"]).success().contains("invite revoke"));
    assert!(site.ctl(&["help", "nonsense"]).fails(2).contains("there is no command"));
    assert_eq!(site.ctl(&["version"]).success(), site.ctl(&["--version"]).success());
    for (format, file) in
        [("man", "man/jabberctl.8"), ("bash", "init/completion/jabberctl"), ("zsh", "init/completion/_jabberctl")]
    {
        assert_eq!(site.ctl(&["help", "--as", format]).success(), std::fs::read_to_string(file).unwrap());
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let (site, _running) = with_accounts("pipe", &["romeo"]);
    let program = env!("CARGO_BIN_EXE_jabberctl");
    let config = site.path("jabber.xml");
    let script =
        format!("set -o pipefail; {program} -c {} help | true; {program} -c {0} user list | true", config.display());
    let output = std::process::Command::new("bash").args(["-c", &script]).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn who_may_not_use_the_socket_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: only root can become somebody else");
        return;
    }
    let (site, _running) = with_accounts("permission", &[]);
    // The way to the socket is open to all, as that to /run/jabber is; the socket itself is not.
    for directory in [&site.directory, &site.path("spool")] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = site.program(env!("CARGO_BIN_EXE_jabberctl"));
    let as_nobody = |group: &str, more: &str| {
        let output = std::process::Command::new("setpriv")
            .args(["--reuid=65534", group, more, "--"])
            .arg(&program)
            .args(["--socket", site.path("spool/control").to_str().unwrap(), "status"])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = as_nobody("--regid=65534", "--clear-groups");
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("you may not use") && told.contains("sudo jabberctl"), "{told}");
    // The group is root's here.
    assert_eq!(as_nobody("--regid=0", "--clear-groups").0, Some(0));
    // Among others: somebody who came into it while the server runs.
    assert_eq!(as_nobody("--regid=65534", "--groups=65533,0").0, Some(0));
    // A mode that was opened by hand lets nobody in whom the kernel knows for a stranger.
    std::fs::set_permissions(site.path("spool/control"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let (code, told) = as_nobody("--regid=65534", "--clear-groups");
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("the server knows you (uid 65534) neither as root nor in the group of"), "{told}");
    assert!(told.contains("adduser NAME GROUP; who was added to the group must log in again"), "{told}");
    assert!(site.log().contains("control: uid=65534 gid=65534"), "{}", site.log());
}

#[test]
fn a_script_that_asked_for_json_gets_it_for_its_mistakes() {
    let site = Site::new("json-mistakes");
    for arguments in [&["--json", "nosuch"] as &[&str], &["version", "--json", "foo"]] {
        let said: serde_json::Value = serde_json::from_str(&site.ctl(arguments).fails(2)).unwrap();
        assert_eq!(said["error"]["kind"], "usage", "{said}");
    }
}

#[test]
fn json_was_plain_text_where_no_server_was_asked() {
    let site = Site::new("json-plain");
    let version = serde_json::json!({ "version": env!("CARGO_PKG_VERSION") });
    assert_eq!(site.ctl(&["--json", "version"]).json(), version);
    assert_eq!(site.ctl(&["--json", "--version"]).json(), version);
    let all = site.ctl(&["--json", "help"]).json();
    assert_eq!(all.as_array().unwrap().len(), jabber::admin::COMMANDS.len());
    let one = site.ctl(&["--json", "help", "user add"]).json();
    assert_eq!(one[0]["usage"], "jabberctl user add ACCOUNT", "{one}");
    assert_eq!(site.ctl(&["--json", "user", "add", "--help"]).json(), one);
    assert!(site.ctl(&["--json", "help", "--as", "man"]).json()["text"].as_str().unwrap().contains(".TH JABBERCTL 8"));
    let made = site.ctl(&["--json", "user", "add", "romeo@localhost"]).input("pencil\n").json();
    assert_eq!(made, serde_json::json!({ "done": "romeo@localhost can log in, once the server runs" }));
}

#[test]
fn a_list_that_is_cut_off_is_no_whole_json() {
    let site = Site::new("cut-off");
    let (socket, path) = (site.path("half.sock"), site.path("half.sock").display().to_string());
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let half = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        site::line(&mut client);
        std::io::Write::write_all(&mut client, b"{\"row\":{\"account\":\"a@localhost\"}}\n").unwrap();
    });
    let output = site.ctl(&["--json", "--socket", &path, "user", "list"]).output();
    half.join().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    assert!(listed.starts_with('[') && serde_json::from_str::<serde_json::Value>(&listed).is_err(), "{listed}");
    assert_eq!(output.status.code(), Some(3));
}
