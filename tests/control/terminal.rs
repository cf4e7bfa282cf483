//! jabberctl at a terminal: what it asks, what it draws, and what it keeps from the terminal.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::thread;

use jabber::admin::{COMMANDS, Command, Does, Form, Kind, Shows, Unit};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::pty::Terminal;
use crate::site::{Client, Site};

const FIRST: &str = "New password: ";
const AGAIN: &str = "The same password again: ";

fn add(site: &Site) -> Terminal {
    Terminal::lent(site.ctl(&["user", "add", "romeo@localhost"]), 80, &[])
}

/// Control characters that are no ends of lines.
fn obeyed(shown: &str) -> Vec<char> {
    let shown = shown.replace("\r\n", "");
    shown.chars().filter(|c| c.is_control() || ('\u{2028}'..='\u{202E}').contains(c)).collect()
}

/// What is to be seen of this on a terminal.
fn screen(shown: &str) -> String {
    let mut lines = vec![String::new()];
    let mut at = 0;
    let mut rest = shown.chars();
    while let Some(c) = rest.next() {
        let line = lines.last_mut().unwrap();
        match c {
            '\r' => at = 0,
            '\n' => lines.push(String::new()),
            '\u{1b}' => {
                assert_eq!(rest.by_ref().take(2).collect::<String>(), "[K", "{shown:?}");
                *line = line.chars().take(at).collect();
            }
            c => {
                assert!(!c.is_control(), "{shown:?}");
                let behind: String = line.chars().skip(at + 1).collect();
                *line = line.chars().take(at).chain([c]).collect::<String>() + &behind;
                at += 1;
            }
        }
    }
    lines.join("\n")
}

#[test]
fn a_password_is_asked_for_twice_and_never_shown() {
    let site = Site::new("prompt");
    let mut terminal = add(&site);
    terminal.until(FIRST);
    assert!(!terminal.echoes());
    // Mistyped, and taken back: the whole line, a character of two bytes.
    terminal.types("wrong\u{15}m0né\u{7f}tague\n");
    terminal.until(AGAIN);
    assert!(!terminal.echoes());
    terminal.types("m0ntague\n");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown}");
    assert_eq!(shown, format!("{FIRST}\r\n{AGAIN}\r\nromeo@localhost can log in, once the server runs\r\n"));
    // Pasted at once, at a terminal that controls nobody, beside a server that runs.
    let _running = site.start();
    Client::login(&site, "romeo", "m0ntague");
    let mut terminal = Terminal::strange(site.ctl(&["user", "passwd", "romeo@localhost"]), 80);
    terminal.until(FIRST);
    terminal.types("pass wörd\npass wörd\n");
    let (code, shown) = terminal.end();
    assert_eq!((code, shown.contains("romeo@localhost has a new password")), (0, true), "{shown}");
    Client::login(&site, "romeo", "pass wörd");
}

#[test]
fn a_password_that_is_none_changes_nothing() {
    let site = Site::new("no-password");
    let long = format!("{}\n", "x".repeat(4_200));
    for (first, again, code, says) in [
        ("m0ntague\n", "montague\n", 1, "the two are not the same password: nothing was done"),
        ("m0ntague\n", "\n", 1, "the two are not the same password"),
        ("m0ntague\n", "m0ntague\u{3}", 130, ""),
        ("\n", "", 2, "the password is empty"),
        ("\u{4}", "", 2, "the password is empty"),
        ("m0ntague\u{3}", "", 130, ""),
        (&long, "", 2, "the password is longer than 4094 bytes"),
        ("a\u{1a}b\n", "a\u{1a}b\n", 1, "the password cannot be used"),
    ] {
        let mut terminal = add(&site);
        terminal.until(FIRST);
        terminal.types(first);
        if !again.is_empty() {
            terminal.until(AGAIN);
            terminal.types(again);
        }
        let (ended, shown) = terminal.end();
        assert_eq!((ended, shown.contains(says)), (code, true), "{first:?}: {shown}");
        assert!(!shown.contains("ntague") && obeyed(&shown).is_empty(), "{first:?}: {shown}");
        // What is said begins a line, and so does the shell's prompt.
        assert!(
            shown.ends_with("\r\n") && (says.is_empty() || shown.contains(&format!("\njabberctl: {says}"))),
            "{shown}"
        );
    }
    // A cut password is another one, from a pipe as well.
    for (length, code) in [(4_096, 2), (5_000, 2), (4_095, 2), (4_094, 1)] {
        let told =
            site.ctl(&["user", "add", "romeo@localhost"]).input(&format!("{}\n", "x".repeat(length))).fails(code);
        assert!(told.contains(if code == 2 { "longer than 4094 bytes" } else { "cannot be used" }), "{told}");
    }
    let _running = site.start();
    assert_eq!(site.ctl(&["--json", "user", "list"]).json(), json!([]));
}

#[test]
fn a_signal_at_the_prompt_left_the_terminal_without_echo() {
    let site = Site::new("signals");
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGALRM] {
        for prompt in [FIRST, AGAIN] {
            let mut terminal = add(&site);
            terminal.until(FIRST);
            if prompt == AGAIN {
                terminal.types("m0ntague\n");
                terminal.until(AGAIN);
            }
            assert!(!terminal.echoes());
            terminal.signal(signal);
            let (code, shown) = terminal.end();
            assert_eq!(code, 128 + signal as i32, "{shown}");
            // Of what was typed only an answered line is sure to have arrived before the echo came back.
            assert!(!shown.contains("m0ntague") && shown.contains(&format!("{prompt}\r\n")), "{shown}");
        }
    }
    // One that is not to be heeded is not.
    let ctl = site.ctl(&["user", "add", "romeo@localhost"]);
    let mut terminal = Terminal::lent(ctl, 80, &["sh", "-c", "trap '' TERM; exec \"$@\"", "sh"]);
    terminal.until(FIRST);
    terminal.signal(Signal::SIGTERM);
    terminal.types("m0ntague\nm0ntague\n");
    let (code, shown) = terminal.end();
    assert_eq!((code, shown.contains("can log in")), (0, true), "{shown}");
    // After the questions signals do what they always do.
    let path = site.path("hangs");
    let listener = UnixListener::bind(&path).unwrap();
    let ctl = site.ctl(&["--socket", path.to_str().unwrap(), "user", "passwd", "romeo@localhost"]);
    let mut terminal = Terminal::lent(ctl, 80, &[]);
    terminal.until(FIRST);
    terminal.types("m0ntague\nm0ntague\n");
    let asked = listener.accept().unwrap().0;
    let mut line = String::new();
    BufReader::new(&asked).read_line(&mut line).unwrap();
    assert!(line.contains("m0ntague"));
    terminal.types("\u{3}");
    assert_eq!(terminal.end().0, 130);
}

#[test]
fn whoever_goes_on_asks_again() {
    let site = Site::new("stopped");
    let mut terminal = add(&site);
    terminal.until(FIRST);
    terminal.types("half a pass");
    terminal.signal(Signal::SIGSTOP);
    terminal.set_echo();
    // When this is shown all before it has arrived.
    terminal.types("word");
    terminal.until("word");
    terminal.signal(Signal::SIGCONT);
    terminal.until(FIRST);
    assert!(!terminal.echoes());
    terminal.types("m0ntague\n");
    terminal.until(AGAIN);
    terminal.types("m0ntague\n");
    let (code, shown) = terminal.end();
    assert_eq!((code, shown.contains("can log in")), (0, true), "{shown}");
}

#[test]
fn nothing_is_destroyed_without_a_clear_yes() {
    let site = Site::new("go-on");
    let running = site.start();
    let is_there = || site.ctl(&["--json", "user", "list"]).json() != json!([]);
    let question =
        "user delete romeo@localhost: all that is kept for the account goes, and this cannot be undone. Go on? [y/N] ";
    let add = || site.ctl(&["user", "add", "romeo@localhost"]).input("m0ntague\n").success();
    add();
    let delete = |options: &[&str]| {
        let words = [options, &["user", "delete", "romeo@localhost"]].concat();
        Terminal::lent(site.ctl(&words), 200, &[])
    };
    for keys in [&b"n\n"[..], b"\n", b"\x04", b"y\x04\x04", b"yesterday\n", b"no yes\n", b"\xff\n", b"y\x15\n"] {
        let mut terminal = delete(&[]);
        terminal.until(question);
        assert!(terminal.echoes());
        terminal.types_bytes(keys);
        terminal.until("\njabberctl: nothing was done\r\n");
        assert_eq!((terminal.end().0, is_there()), (1, true), "{keys:?}");
    }
    let mut terminal = delete(&[]);
    terminal.until(question);
    terminal.types("y\u{3}");
    assert_eq!((terminal.end().0, is_there()), (130, true));
    // A program that reads the answer changes nothing: it is asked, too.
    for (options, keys) in [(&[][..], "y\n"), (&[], "Y\n"), (&["--json"], " yes \n")] {
        let mut terminal = delete(options);
        terminal.until(question);
        terminal.types(keys);
        terminal.until("romeo@localhost is gone");
        assert_eq!((terminal.end().0, is_there()), (0, false), "{keys:?}");
        add();
    }
    for option in ["--yes", "-y"] {
        let (code, shown) = delete(&[option]).end();
        assert_eq!((code, shown.as_str()), (0, "romeo@localhost is gone\r\n"));
        add();
    }
    // Who cannot read the question is not asked.
    let deletes = site.ctl(&["user", "delete", "romeo@localhost"]);
    let (code, shown) = Terminal::lent(deletes, 80, &["sh", "-c", "\"$@\" 2>&1 | cat; exit 7", "sh"]).end();
    assert!(code == 7 && shown.contains("say --yes if it is meant") && is_there(), "{shown}");
    running.stop();
    let mut terminal = Terminal::lent(site.ctl(&["restore", "/nowhere\u{9b}2J"]), 200, &[]);
    let asked = terminal.until("Go on? [y/N] ");
    assert!(asked.contains("restore /nowhere\\u{9b}2J: what happened since that backup is not in it"), "{asked}");
    terminal.types("n\n");
    assert_eq!(terminal.end().0, 1);
}

/// Black on white, and as before.
const COLOURS: (&str, &str) = ("\u{1b}[40;37;1m", "\u{1b}[0m");

/// The light modules of a drawn code, and what stands before it.
fn modules(shown: &str) -> (String, Vec<Vec<bool>>) {
    let (text, drawn) = shown.split_once("\r\n\r\n").unwrap_or((shown, ""));
    let mut rows = Vec::new();
    for line in drawn.lines() {
        let line = line.strip_prefix(COLOURS.0).and_then(|line| line.strip_suffix(COLOURS.1)).unwrap();
        for upper in [true, false] {
            let is_light = |c| match c {
                '█' => true,
                '▀' => upper,
                '▄' => !upper,
                ' ' => false,
                c => panic!("{c:?} in {line}"),
            };
            rows.push(line.chars().map(is_light).collect());
        }
    }
    (text.to_owned(), rows)
}

#[test]
fn an_invitation_is_a_code_that_a_camera_reads() {
    const QUIET: usize = 4;
    let site = Site::new("qr");
    let _running = site.start();
    let (code, shown) = Terminal::lent(site.ctl(&["invite"]), 80, &[]).end();
    assert_eq!(code, 0, "{shown}");
    let (text, mut rows) = modules(&shown);
    let line = text.lines().find_map(|line| line.strip_prefix("Invitation")).unwrap();
    let expected = qrcode::QrCode::with_error_correction_level(line.trim(), qrcode::EcLevel::L).unwrap();
    let (width, whole) = (expected.width(), expected.width() + 2 * QUIET);
    // The last line of the terminal has room for one row more.
    rows.truncate(whole);
    assert!(rows.len() == whole && rows.iter().all(|row| row.len() == whole), "{shown}");
    let is_inside = |at: usize| (QUIET..QUIET + width).contains(&at);
    for (y, row) in rows.iter().enumerate() {
        for (x, &is_light) in row.iter().enumerate() {
            let is_dark = is_inside(x) && is_inside(y) && expected[(x - QUIET, y - QUIET)] == qrcode::Color::Dark;
            assert_eq!(is_light, !is_dark, "{x} {y}");
        }
    }
    // And by a reader that has never seen how we draw.
    const DOT: usize = 4;
    let is_dark = |x: usize, y: usize| !rows[y / DOT][x / DOT];
    let mut picture = rqrr::PreparedImage::prepare_from_bitmap(whole * DOT, whole * DOT, is_dark);
    let codes = picture.detect_grids();
    assert_eq!(codes.len(), 1);
    assert_eq!(codes[0].decode().unwrap().1, line.trim());
    // As wide as it must be, and not.
    let columns = u16::try_from(whole).unwrap();
    let (code, shown) = Terminal::lent(site.ctl(&["invite"]), columns, &[]).end();
    assert_eq!((code, modules(&shown).1.len() >= whole), (0, true), "{shown}");
    let note = format!("note: no QR code, for it needs {whole} columns, and the terminal has {}\r\n", whole - 1);
    let (code, shown) = Terminal::lent(site.ctl(&["invite"]), columns - 1, &[]).end();
    assert!(code == 0 && shown.ends_with(&note) && obeyed(&shown).is_empty(), "{shown}");
    assert!(shown.contains("xmpp:localhost?register;preauth="), "{shown}");
    // Where the terminal does not know, the environment does, or it is tried.
    let of = |name: &str, value: &str, columns| {
        let mut by = vec!["env"];
        let set = format!("{name}={value}");
        by.push(&set);
        Terminal::lent(site.ctl(&["invite"]), columns, &by).end().1
    };
    assert!(of("COLUMNS", "20", 0).contains("the terminal has 20"));
    assert!(modules(&of("COLUMNS", "", 0)).1.len() >= whole);
    assert!(of("LC_ALL", "C", 80).contains("note: no QR code, for the locale is not UTF-8"));
    let plain = of("TERM", "dumb", 80);
    assert!(plain.contains('█') && obeyed(&plain).is_empty(), "{plain}");
    // A script gets the link only.
    let piped = Terminal::lent(site.ctl(&["invite"]), 80, &["sh", "-c", "\"$@\" | cat", "sh"]).end().1;
    let json = Terminal::lent(site.ctl(&["--json", "invite"]), 80, &[]).end().1;
    assert!(!piped.contains('█') && !json.contains('█') && piped.contains("Invitation"), "{piped} {json}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["uri"].as_str().unwrap().starts_with("xmpp:"), "{json}");
}

#[test]
fn long_work_draws_a_bar_and_wipes_it() {
    let site = Site::new("bar");
    for name in ["romeo", "juliet"] {
        site.ctl(&["user", "add", &format!("{name}@localhost")]).input("pencil\n").success();
    }
    let out = |name: &str| site.path(name).display().to_string();
    let export = |options: &[&str], name: &str, columns, by: &[&str]| {
        let file = out(name);
        let words = [options, &["export", &file]].concat();
        let (code, shown) = Terminal::lent(site.ctl(&words), columns, by).end();
        assert_eq!(code, 0, "{shown}");
        shown
    };
    let shown = export(&[], "wide", 200, &[]);
    assert!(shown.contains("[##############################] 100 %  2 of 2 accounts"), "{shown:?}");
    assert_eq!(screen(&shown), format!("{}: 2 accounts\n", out("wide")));
    // On a narrow one it is one line all the same.
    let shown = export(&[], "narrow", 30, &[]);
    let bars: Vec<&str> = shown.split("\r\u{1b}[K").filter(|part| part.contains(" of ")).collect();
    assert!(!bars.is_empty() && bars.iter().all(|bar| bar.len() < 30), "{shown:?}");
    // Not for programs, nor where a line cannot be wiped.
    let json = export(&["--json"], "json", 200, &[]);
    assert_eq!(json, format!("{}\r\n", json!({ "done": format!("{}: 2 accounts", out("json")) })));
    for (name, by) in [("dumb", &["env", "TERM=dumb"][..]), ("piped", &["sh", "-c", "\"$@\" 2>&1 | cat", "sh"])] {
        assert_eq!(export(&[], name, 200, by), format!("{}: 2 accounts\r\n", out(name)));
    }
    let shown = export(&[], "apart", 200, &["sh", "-c", "\"$@\" >/dev/null", "sh"]);
    assert!(shown.contains("100 %") && screen(&shown).trim().is_empty(), "{shown:?}");
    // What goes wrong begins a line.
    let (code, shown) = Terminal::lent(site.ctl(&["backup", &out("no/where")]), 200, &[]).end();
    assert_eq!(code, 1);
    assert!(screen(&shown).starts_with("jabberctl: "), "{shown:?}");
}

#[test]
fn long_work_at_a_terminal_ends_by_a_key() {
    let site = Site::new("key");
    site.ctl(&["user", "add", "romeo@localhost"]).input("pencil\n").success();
    let file = site.path("in.xml").display().to_string();
    let users: String = (0..20).map(|n| format!("<user name='u{n}' password='pencil'/>")).collect();
    site.write(
        "in.xml",
        &format!("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>{users}</host></server-data>"),
    );
    // It waits for whoever writes to the database, after it has made a copy of it.
    let holder = rusqlite::Connection::open(site.path("spool/jabber.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut terminal = Terminal::lent(site.ctl(&["import", "xep0227", &file]), 200, &[]);
    terminal.until(" pages of the database, copied before");
    terminal.types("\u{3}");
    terminal.until("^C");
    holder.execute_batch("ROLLBACK").unwrap();
    let (code, shown) = terminal.end();
    assert_eq!(code, 1, "{shown:?}");
    assert!(screen(&shown).starts_with("jabberctl: the import was stopped"), "{shown:?}");
    let _running = site.start();
    assert!(site.ctl(&["--json", "status"]).json()["accounts"].as_u64().unwrap() < 21);
}

#[test]
fn who_waits_for_the_rest_of_a_table_saw_nothing() {
    let site = Site::new("waits");
    let path = site.path("slow");
    let listener = UnixListener::bind(&path).unwrap();
    let row = |text: &str| json!({ "row": { "step": "dns", "result": "ok", "millis": 7, "text": text, "remedy": "" } });
    for (option, columns, passing) in [
        ("-y", 200, "\r\u{1b}[Kdns  ok  7 ms  one after the other  "),
        ("-y", 30, "\r\u{1b}[Kdns  ok  7 ms  one after the "),
        // A program waits for all.
        ("--json", 200, ""),
    ] {
        let ctl = site.ctl(&[option, "--socket", path.to_str().unwrap(), "ping", "slow.example"]);
        let mut terminal = Terminal::lent(ctl, columns, &[]);
        let mut client = listener.accept().unwrap().0;
        writeln!(client, "{}", row("one after the other")).unwrap();
        if !passing.is_empty() {
            terminal.until(passing);
        }
        writeln!(client, "{}\n{}", row("two"), json!({ "done": "" })).unwrap();
        let (code, shown) = terminal.end();
        assert_eq!(code, 0, "{shown}");
        match option {
            "--json" => assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()[1]["text"], "two", "{shown}"),
            _ => assert_eq!(
                screen(&shown),
                "STEP  RESULT  AFTER  WHAT                 REMEDY\ndns   ok       7 ms  one after the other\n\
                 dns   ok       7 ms  two\n"
            ),
        }
    }
}

/// What strangers would like a terminal to obey.
const HOSTILE: &str = "\u{1b}[2J\u{9b}31m\r\n\u{7}\u{202E}x\u{7f}\u{200B}";

/// Every command's answer with that in each field, its notes and its last word.
fn hostile(command: &Command, fails: bool) -> String {
    let columns = command.shows.columns().iter();
    let row: BTreeMap<&str, Value> = columns
        .map(|column| match column.unit {
            Unit::Text if column.key.ends_with('s') => (column.key, json!([HOSTILE, HOSTILE])),
            _ => (column.key, json!(HOSTILE)),
        })
        .collect();
    let last = match fails {
        true => json!({ "error": { "kind": HOSTILE, "text": HOSTILE, "remedy": HOSTILE } }),
        false => json!({ "done": HOSTILE }),
    };
    let rows = if matches!(command.shows, Shows::Nothing) { "" } else { &format!("{}\n", json!({ "row": row })) };
    format!("{rows}{}\n{last}\n", json!({ "note": HOSTILE }))
}

#[test]
fn strangers_tell_the_terminal_nothing() {
    let site = Site::new("hostile-terminal");
    let path = site.path("fake");
    let listener = UnixListener::bind(&path).unwrap();
    let asked =
        || COMMANDS.iter().filter(|command| matches!(command.does, Does::Server(_)) && command.secret.is_none());
    let runs: Vec<(&Command, bool, bool)> = asked()
        .flat_map(|&command| [(command, false, false), (command, true, false), (command, false, true)])
        .collect();
    let answers: Vec<String> = runs.iter().map(|(command, fails, _)| hostile(command, *fails)).collect();
    let server = thread::spawn(move || {
        for answer in answers {
            let mut client = listener.accept().unwrap().0;
            BufReader::new(&client).read_line(&mut String::new()).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
        }
    });
    for (command, fails, as_json) in runs {
        let mut words = vec!["--yes", "--socket", path.to_str().unwrap()];
        words.extend(as_json.then_some("--json"));
        words.extend(command.name.split(' '));
        words.extend(command.arguments.iter().filter(|argument| argument.form == Form::Needed).map(|argument| {
            match argument.kind {
                Kind::Account | Kind::Jid => "romeo@localhost",
                Kind::Word(words) => words[0],
                Kind::Number => "1",
                _ => "localhost",
            }
        }));
        let (code, shown) = Terminal::lent(site.ctl(&words), 300, &[]).end();
        assert_eq!(code, i32::from(fails), "{words:?}: {shown}");
        let uncoloured = shown.replace(COLOURS.0, "").replace(COLOURS.1, "");
        assert!(obeyed(&uncoloured).is_empty(), "{words:?}: {shown:?}");
        // Nothing is hidden, either.
        let (fields, escaped) = (command.shows.columns().len(), if as_json { "\\u009b31m" } else { "\\u{9b}31m" });
        assert!(shown.matches(escaped).count() >= fields, "{words:?}: {shown}");
    }
    server.join().unwrap();
}

#[test]
fn a_roster_is_shown_as_it_is() {
    let site = Site::new("hostile-roster");
    let _running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("pencil\n").success();
    let mut romeo = Client::login(&site, "romeo", "pencil");
    romeo.send(
        "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='paris@localhost' name='&#x9b;2J&#13;&#x202e;x'>\
         <group>&#x9b;31m&#10;</group></item></query></iq>",
    );
    romeo.until("id='r'");
    romeo.send("<iq type='get' id='then'><query xmlns='jabber:iq:roster'/></iq>");
    romeo.until("id='then'");
    let (code, shown) = Terminal::lent(site.ctl(&["roster", "show", "romeo@localhost"]), 300, &[]).end();
    assert!(code == 0 && obeyed(&shown).is_empty(), "{shown:?}");
    assert!(shown.contains("paris@localhost  \\u{9b}2J"), "{shown}");
}

#[test]
fn a_long_name_does_not_move_the_others_out_of_sight() {
    let site = Site::new("wide-table");
    let _running = site.start();
    let long = "r".repeat(200);
    for name in ["romeo", &long] {
        site.ctl(&["user", "add", &format!("{name}@localhost")]).input("pencil\n").success();
    }
    let (_, shown) = Terminal::lent(site.ctl(&["user", "list"]), 80, &[]).end();
    let widest = shown.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest < 120 && shown.contains(&format!("{}...  ", "r".repeat(47))), "{shown}");
    // Whole behind a pipe.
    let piped = site.ctl(&["user", "list"]).success();
    assert!(piped.contains(&format!("{long}@localhost  ")), "{piped}");
}

#[test]
fn names_of_two_columns_a_letter_moved_the_rest_of_their_lines() {
    // Names, and how many columns a terminal gives them.
    const NAMES: [(&str, usize); 6] = [
        ("Romeo", 5),
        ("\u{30ed}\u{30df}\u{30aa}", 6),
        ("\u{674e}\u{96f7}", 4),
        ("R\u{30d}o\u{323}", 2),
        ("\u{1f339}", 2),
        ("\u{ff71}", 1),
    ];
    let site = Site::new("columns");
    let _running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("pencil\n").success();
    let mut romeo = Client::login(&site, "romeo", "pencil");
    for (number, (name, _)) in NAMES.iter().enumerate() {
        romeo.send(&format!(
            "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='c{number}@localhost' name='{name}'/></query></iq>"
        ));
        romeo.until("id='r'");
    }
    let (code, shown) = Terminal::lent(site.ctl(&["roster", "show", "romeo@localhost"]), 120, &[]).end();
    assert_eq!(code, 0, "{shown}");
    let mut places = Vec::new();
    for (number, (name, columns)) in NAMES.iter().enumerate() {
        let line = shown.lines().find(|line| line.starts_with(&format!("c{number}@"))).unwrap();
        let (before, after) = line.split_once(name).unwrap();
        let blanks = after.chars().take_while(|c| *c == ' ').count();
        places.push(before.len() + columns + blanks);
    }
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}: {shown}");
    assert_eq!(shown.lines().find(|line| line.starts_with("CONTACT")).unwrap().find("SUBSCRIPTION"), Some(places[0]));
}

#[test]
fn one_name_made_all_lines_behind_a_pipe_long() {
    let site = Site::new("blanks");
    let _running = site.start();
    let long = "r".repeat(1_000);
    for name in ["romeo", &long] {
        site.ctl(&["user", "add", &format!("{name}@localhost")]).input("pencil\n").success();
    }
    let piped = site.ctl(&["user", "list"]).success();
    let line = |name: &str| piped.lines().find(|line| line.starts_with(&format!("{name}@"))).unwrap().to_owned();
    assert!(line("romeo").len() < 150 && line(&long).contains("@localhost  "), "{piped}");
    assert!(piped.lines().next().unwrap().len() < 150, "{piped}");
}
