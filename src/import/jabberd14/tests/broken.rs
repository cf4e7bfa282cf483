//! Interrupted, repeated, and on files that mean no good.

use std::collections::BTreeSet;

use super::*;
use crate::import::{Counts, Fault};
use crate::store::{imported as files, offline, plain_password, roster};

const AUTH: &str = "<password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'>secret</password>";

fn file(pieces: &str) -> String {
    format!("<xdb>{AUTH}{pieces}</xdb>")
}

fn names(store: &Store) -> BTreeSet<String> {
    account::list(store, "example.org", "", 10_000).unwrap().into_iter().map(|a| a.jid.to_string()).collect()
}

#[test]
fn a_second_import_changes_nothing() {
    for spool in ["1.4.3-flat", "1.4.4-hashed", "1.6-flat", "hand-written"] {
        let mut store = Store::in_memory().unwrap();
        import_all(&mut store, &plan(&fixture(spool)));
        let juliet = jid("juliet@xmpp.test");
        let _ = offline::delete_through(&mut store, &juliet, u64::MAX).unwrap();
        store.commit().unwrap();
        let (again, report) = import_all(&mut store, &plan(&fixture(spool)));
        assert!(again.nothing_new, "{report}");
        assert_eq!((again.counts, report.as_str()), (Counts::default(), ""));
        assert_eq!(offline::total(&store, &juliet).unwrap().messages, 0);
        assert_eq!(store.commit().unwrap(), None);
    }
}

#[test]
fn an_account_that_is_here_stays_as_it_is() {
    let scratch = Scratch::new("here");
    scratch.write("example.org/a.xml", file("<query xdbns='jabber:iq:roster'><item jid='x@y'/></query>"));
    scratch.write("example.org/b.xml", file(""));
    scratch.write("example.org/c.xml", file(""));
    let mut store = Store::in_memory().unwrap();
    let mine = Shown.derive("mine", false).unwrap();
    account::create(&mut store, &jid("a@example.org"), &mine, 1).unwrap();
    // b was removed after the file was written, c before.
    for (name, removed) in [("b@example.org", NOW * 2), ("c@example.org", 5)] {
        account::create(&mut store, &jid(name), &mine, 1).unwrap();
        account::remove(&mut store, &jid(name), removed).unwrap();
    }
    let plan = Plan { now_unix_millis: NOW * 2, ..plan(&scratch.0) };
    let (imported, report) = import_all(&mut store, &plan);
    assert_eq!(password(&store, "a@example.org").unwrap(), "mine");
    assert_eq!(roster::count(&store, &jid("a@example.org")).unwrap(), 0);
    assert_eq!(password(&store, "b@example.org"), None);
    assert_eq!(password(&store, "c@example.org").unwrap(), "secret");
    assert_eq!((imported.counts.accounts, imported.counts.already_here), (1, 2), "{report}");
    // A touched file is looked at, and changes nothing.
    scratch.write("example.org/c.xml", file("<query xdbns='jabber:iq:roster'><item jid='x@y'/></query>"));
    let (imported, _) = import_all(&mut store, &plan);
    assert_eq!((imported.counts.accounts, imported.counts.already_here), (0, 1));
    assert_eq!(roster::count(&store, &jid("c@example.org")).unwrap(), 0);
}

#[test]
fn an_interrupted_import_goes_on() {
    let scratch = Scratch::new("interrupted");
    const ALL: usize = 50;
    for n in 0..ALL {
        let message = format!("<message from='a@b' to='u{n}@example.org'><body>{n}</body></message>");
        scratch
            .write(&format!("example.org/u{n}.xml"), file(&format!("<foo xdbns='jabber:x:offline'>{message}</foo>")));
    }
    for crash in [false, true] {
        let mut store = Store::in_memory().unwrap();
        let (mut rounds, mut sum) = (0, 0);
        loop {
            rounds += 1;
            let mut stop = |progress: Progress| match progress.done {
                7.. if !crash => ControlFlow::Break(()),
                7.. => panic!("the power is gone"),
                _ => ControlFlow::Continue(()),
            };
            let mut report = Vec::new();
            let plan = plan(&scratch.0);
            let run =
                AssertUnwindSafe(|| import(Format::Jabberd14, &mut store, None, &plan, &Shown, &mut report, &mut stop));
            match catch_unwind(run) {
                Ok(imported) => {
                    let imported = imported.unwrap();
                    sum += imported.counts.accounts;
                    if !imported.stopped {
                        break;
                    }
                }
                Err(_) => store.crash(),
            }
            assert!(rounds < 20);
        }
        assert_eq!(names(&store).len(), ALL, "{crash}");
        assert!(crash || sum == ALL as u64);
        assert!(rounds > 5, "{rounds}");
        for n in 0..ALL {
            assert_eq!(offline::total(&store, &jid(&format!("u{n}@example.org"))).unwrap().messages, 1);
        }
    }
}

#[test]
fn a_generated_spool_of_two_thousand() {
    let scratch = Scratch::new("generated");
    for n in 0..2_000 {
        let items: String = (0..20).map(|m| format!("<item jid='u{m}@example.org' subscription='both'/>")).collect();
        let name = if n % 2 == 0 { format!("u{n}.xml") } else { format!("{:02X}/{:02x}/u{n}.xml", n % 256, n % 7) };
        let text = file(&format!("<query xmlns='jabber:iq:roster' xdbns='jabber:iq:roster'>{items}</query>"));
        scratch.write(&format!("example.org/{name}"), text);
    }
    let (store, imported, _) = imported(&scratch.0);
    assert_eq!((imported.counts.accounts, imported.counts.contacts), (2_000, 40_000));
    assert_eq!(files::files(&store, true).unwrap().len(), 2_000);
    assert_eq!(account::count(&store, "example.org").unwrap(), 2_000);
}

#[test]
fn broken_files_cost_themselves() {
    let deep = format!("{}{}", "<a xmlns='d'>".repeat(5_000), "</a>".repeat(5_000));
    // Pieces after the password, an account?, a line of the report.
    let rows = [
        ("<unclosed>".to_owned(), false, "damaged"),
        ("</xdb><xdb>".to_owned(), false, "damaged"),
        ("\u{1}".to_owned(), false, "damaged"),
        ("&nbsp;".to_owned(), false, "damaged"),
        ("<a b='1' b='2'/>".to_owned(), false, "damaged"),
        (format!("<x xmlns='d' j_private_flag='1' xdbns='d'>{deep}</x>"), false, "deep"),
        ("<a xdbns='jabber:x:offline'><presence/></a>".to_owned(), true, "1 stanza that waited"),
        ("<a xdbns='jabber:x:offline'><message from='@@'/></a>".to_owned(), true, "one of its addresses"),
        ("<a xdbns='jabber:iq:last' last='-5'/>".to_owned(), true, "jabber:iq:last: no time"),
        ("<a xdbns='vcard-temp'/>".to_owned(), true, ""),
        ("<x:a xmlns:x='y' xdbns='vcard-temp'><b/></x:a>".to_owned(), true, "no <vCard>"),
        ("<q xdbns='jabber:iq:roster'><item jid='@'/><item jid='A@b'/><item jid='a@B'/></q>".to_owned(), true, "\"@\""),
        ("<q xdbns='jabber:iq:roster'><item jid='A@b'/><item jid='a@B'/></q>".to_owned(), true, "same as one before"),
        ("<q xdbns='jabber:iq:roster'><item jid='a@b' hidden=''/></q>".to_owned(), true, "nothing waits"),
        ("<q xdbns='jabber:iq:roster'><x/></q>".to_owned(), true, "only items"),
        ("<q xdbns='http://jabberd.org/ns/storedsubscriptionrequest'><iq/></q>".to_owned(), true, "no request"),
        ("<q xdbns='jabber:iq:auth:crypt'>$1$salt$hash</q>".to_owned(), true, ""),
        ("<q xdbns='urn:xmpp:pie:0#scram'><scram-credentials/></q>".to_owned(), true, "cannot be read"),
        ("<stream:error/><w:x xdbns='a'/>".to_owned(), true, "<error>: without xdbns="),
    ];
    let scratch = Scratch::new("broken");
    for (n, (pieces, ..)) in rows.iter().enumerate() {
        scratch.write(&format!("example.org/u{n}.xml"), file(pieces));
    }
    scratch.write("example.org/empty.xml", "<xdb><password xdbns='jabber:iq:auth'/></xdb>");
    scratch.write(
        "example.org/odd.xml",
        "<xdb><password xdbns='jabber:iq:auth'/><c xdbns='jabber:iq:auth:crypt'>$1$</c></xdb>",
    );
    scratch.write("example.org/utf8.xml", [b"<xdb>".as_slice(), AUTH.as_bytes(), b"\xe4</xdb>"].concat());
    scratch.write("example.org/a b.xml", file(""));
    scratch.write("example.org/.xml", file(""));
    scratch.write("example.org/AB/lost.xml", file(""));
    let (store, _, report) = imported(&scratch.0);
    for (n, (_, is_account, line)) in rows.iter().enumerate() {
        let is_here = password(&store, &format!("u{n}@example.org")).is_some();
        assert_eq!(is_here, *is_account, "{n} {line}\n{report}");
        let name = format!("example.org/u{n}.xml: ");
        assert!(
            line.is_empty() || report.lines().any(|found| found.starts_with(&name) && found.contains(line)),
            "{n} {line}\n{report}"
        );
    }
    for line in [
        "empty.xml: the password: it is empty; the account is there",
        "odd.xml: the password: it is in a form that cannot be checked",
        "utf8.xml: byte",
        "a b.xml: \"a b\" can be no name",
        ".xml: \"\" can be no name",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert_eq!(password(&store, "empty@example.org").unwrap(), "");
}

#[test]
fn what_was_left_is_no_success_however_often_it_is_asked_for() {
    let scratch = Scratch::new("fault");
    let with = |names: &[&str], spool: &str| {
        let spool = scratch.0.join(spool);
        fs::create_dir_all(&spool).unwrap();
        for name in names {
            let text = if name.contains("cut") { "<xdb><a" } else { &file("") };
            let path = spool.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Plan { tells_again: true, ..plan(&spool) }
    };
    let rows: [(&[&str], _, _); 7] = [
        (&["example.org/a.xml"], None, None),
        (&["example.org/a.xml", "example.org/b.xml~", "example.org/global.xdb"], None, None),
        (&["example.org/a.xml", "example.org/cut.xml"], Some(Fault::Unread), Some(Fault::Unread)),
        (&["other.example/a.xml", "other.example/b.xml"], Some(Fault::NotServed), Some(Fault::NotServed)),
        (&["example.org/a.xml", "other.example/b.xml"], None, Some(Fault::NotServed)),
        (&["example.org/b.xml~"], Some(Fault::AllLeft), Some(Fault::Empty)),
        (&[], Some(Fault::Empty), Some(Fault::Empty)),
    ];
    for (n, (names, first, second)) in rows.into_iter().enumerate() {
        let plan = with(names, &n.to_string());
        let mut store = Store::in_memory().unwrap();
        let (imported, report) = import_all(&mut store, &plan);
        assert_eq!(imported.fault(), first, "{names:?}\n{report}");
        let elsewhere = names.iter().filter(|name| name.starts_with("other")).count() as u64;
        assert_eq!(imported.counts.pieces_left, elsewhere, "{report}");
        assert_eq!(import_all(&mut store, &plan).0.fault(), second, "{names:?}");
        // A server that starts has told it once.
        assert!(import_all(&mut store, &Plan { tells_again: false, ..plan }).0.nothing_new);
    }
    assert_eq!(
        import_all(&mut Store::in_memory().unwrap(), &plan(&scratch.0.join("none"))).0.fault(),
        Some(Fault::Unread)
    );
}

#[test]
fn passwords_stay_as_text_only_where_they_are_wanted() {
    let scratch = Scratch::new("plain");
    scratch.write("example.org/a.xml", file(""));
    scratch.write("example.org/b.xml", "<xdb><password xdbns='jabber:iq:auth'>a\u{1}</password></xdb>");
    let hash =
        "<password xdbns='jabber:iq:auth'/><c xdbns='jabber:iq:auth:crypt'>{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=</c>";
    scratch.write("example.org/c.xml", format!("<xdb>{hash}</xdb>"));
    for keeps_plain_passwords in [false, true] {
        let plan = Plan { keeps_plain_passwords, ..plan(&scratch.0) };
        let mut store = Store::in_memory().unwrap();
        let (imported, report) = import_all(&mut store, &plan);
        let kept = |name: &str| plain_password::of(&store, &jid(name)).unwrap();
        assert_eq!(kept("a@example.org").is_some(), keeps_plain_passwords);
        assert!(kept("a@example.org").is_none_or(|kept| *kept.password == "secret" && kept.since_unix_millis == NOW));
        assert!(kept("b@example.org").is_none() && kept("c@example.org").is_none());
        assert_eq!(imported.counts.plain_passwords, u64::from(keeps_plain_passwords));
        assert!(!report.contains("secret"), "{report}");
        assert_eq!(password(&store, "a@example.org").unwrap(), "secret");
    }
}

#[test]
fn links_that_lead_out_are_not_followed() {
    let scratch = Scratch::new("links");
    scratch.write("elsewhere/secret.xml", file("").replace("secret", "stolen"));
    scratch.write("elsewhere/plain.txt", "root:stolen:1:2");
    scratch.write("moved/b.xml", file(""));
    scratch.write("spool/example.org/a.xml", file(""));
    fs::create_dir_all(scratch.0.join("spool/second.test")).unwrap();
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, scratch.0.join("spool").join(at)).unwrap();
    link("../../elsewhere/secret.xml", "example.org/out.xml");
    link("../../elsewhere/plain.txt", "example.org/text.xml");
    link("a.xml", "example.org/in.xml");
    link("nowhere.xml", "example.org/broken.xml");
    link("loop.xml", "example.org/loop.xml");
    link("../elsewhere", "example.org/dir.xml");
    // An admin's way to move a host to another disk, and a way round in circles.
    link("../moved", "xmpp.test");
    link("..", "second.test/AB");
    link("../spool", "circle");
    let mut store = Store::in_memory().unwrap();
    let plan = plan(&scratch.0.join("spool"));
    let (imported, report) = import_all(&mut store, &plan);
    for name in ["a@example.org", "in@example.org", "b@xmpp.test"] {
        assert_eq!(password(&store, name).as_deref(), Some("secret"), "{name} {report}");
    }
    assert_eq!(imported.counts.accounts, 3, "{report}");
    for name in ["out.xml", "text.xml"] {
        assert!(report.contains(&format!("{name}: a symbolic link that leads out of the spool")), "{name} {report}");
    }
    assert!(!report.contains("stolen"), "{report}");
    // Told each time, since they may be put right.
    assert!(import_all(&mut store, &plan).1.contains("out.xml: a symbolic link"));
}

#[test]
fn memory_is_bounded_whatever_the_files_are() {
    let scratch = Scratch::new("large");
    scratch.write("example.org/sparse.xml", file(""));
    let sparse = fs::OpenOptions::new().write(true).open(scratch.0.join("example.org/sparse.xml")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    // A file that means no good: two million elements of four bytes.
    scratch.write("example.org/many.xml", file(&"<a/>".repeat(2_000_001)));
    let text = "x".repeat(LARGE_FILE_BYTES as usize);
    for n in 0..6 {
        let message = format!("<message from='a@b'><body>{text}</body></message>");
        scratch
            .write(&format!("example.org/l{n}.xml"), file(&format!("<foo xdbns='jabber:x:offline'>{message}</foo>")));
    }
    std::os::unix::net::UnixListener::bind(scratch.0.join("example.org/socket.xml")).unwrap();
    let mut store = Store::in_memory().unwrap();
    let plan = Plan { threads: 3, ..plan(&scratch.0) };
    // Stopped among the large ones, and gone on.
    let mut stop =
        |progress: Progress| if progress.done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let first = import(Format::Jabberd14, &mut store, None, &plan, &Shown, &mut io::sink(), &mut stop).unwrap();
    assert!(first.stopped);
    let (second, report) = import_all(&mut store, &plan);
    assert_eq!(first.counts.accounts + second.counts.accounts, 6, "{report}");
    assert_eq!(first.counts.messages + second.counts.messages, 6, "{report}");
    let names = names(&store);
    assert!((0..6).all(|n| names.contains(&format!("l{n}@example.org"))), "{names:?}");
    assert!(report.contains("sparse.xml: longer than 64 MB"), "{report}");
    assert!(report.contains("many.xml: more than 2000000 elements"), "{report}");
    assert!(report.contains("socket.xml: it cannot be read: not a file"), "{report}");
}

#[test]
fn it_can_be_stopped_while_it_looks() {
    let scratch = Scratch::new("looking");
    for n in 0..walk::TOLD_EACH {
        scratch.write(&format!("example.org/u{n}.xml"), file(""));
    }
    let mut store = Store::in_memory().unwrap();
    let mut heard = Vec::new();
    let mut stop = |progress: Progress| {
        heard.push(progress);
        ControlFlow::Break(())
    };
    let imported =
        import(Format::Jabberd14, &mut store, None, &plan(&scratch.0), &Shown, &mut io::sink(), &mut stop).unwrap();
    assert!(imported.stopped);
    assert_eq!(heard, [Progress { step: Step::Looking, done: 0, all: walk::TOLD_EACH }]);
    assert_eq!(store.commit().unwrap(), None);
}

#[test]
fn names_that_became_one() {
    let scratch = Scratch::new("collision");
    scratch.write("example.org/JÖRG.xml", file("").replace("secret", "upper"));
    scratch.write("example.org/jörg.xml", file("").replace("secret", "lower"));
    scratch.write("EXAMPLE.org/ab/CD/zoe.xml", file(""));
    let (store, imported, report) = imported(&scratch.0);
    assert_eq!(password(&store, "jörg@example.org").unwrap(), "lower");
    assert_eq!(password(&store, "zoe@example.org").unwrap(), "secret");
    assert!(report.contains("JÖRG.xml: example.org/jörg.xml is the same name today"), "{report}");
    assert_eq!((imported.counts.accounts, imported.counts.files_left), (2, 1));
}

#[test]
fn a_file_that_was_mended_is_imported() {
    let scratch = Scratch::new("mended");
    scratch.write("example.org/a.xml", "<xdb>");
    let mut store = Store::in_memory().unwrap();
    assert_eq!(import_all(&mut store, &plan(&scratch.0)).0.counts.accounts, 0);
    scratch.write("example.org/a.xml", file(""));
    assert_eq!(import_all(&mut store, &plan(&scratch.0)).0.counts.accounts, 1);
}

#[test]
fn spools_of_several_sections_belong_together() {
    let scratch = Scratch::new("several");
    let message =
        |n: u32| format!("<foo xdbns='jabber:x:offline'><message from='a@b'><body>{n}</body></message></foo>");
    scratch.write("main/example.org/a.xml", file(&message(1)));
    // A spool inside a spool, and one beside it.
    let stale = AUTH.replace("secret", "stale");
    scratch.write("main/a-spool/example.org/a.xml", format!("<xdb>{stale}{}</xdb>", message(2)));
    let roster = "<q xdbns='jabber:iq:roster'><item jid='x@y'/></q>";
    scratch.write("beside/example.org/a.xml", format!("<xdb>{roster}{}</xdb>", AUTH.replace("secret", "other")));
    let mut plan = plan(&scratch.0.join("main"));
    plan.from.push(scratch.0.join("main/a-spool"));
    plan.from.push(scratch.0.join("beside"));
    plan.from.push(scratch.0.join("missing"));
    let mut store = Store::in_memory().unwrap();
    let (imported, report) = import_all(&mut store, &plan);
    assert_eq!((imported.counts.accounts, imported.counts.messages, imported.counts.contacts), (1, 2, 1), "{report}");
    assert_eq!(password(&store, "a@example.org").unwrap(), "secret");
    assert!(imported.remedies.iter().any(|remedy| remedy.contains("missing")), "{:?}", imported.remedies);
    assert!(import_all(&mut store, &plan).0.nothing_new);
}

#[test]
fn a_store_that_fails_ends_the_import() {
    let scratch = Scratch::new("failing");
    scratch.write("example.org/a.xml", file(""));
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // A report that cannot be written does not end it.
    let mut store = Store::in_memory().unwrap();
    let plan = plan(&scratch.0);
    let imported =
        import(Format::Jabberd14, &mut store, None, &plan, &Shown, &mut Full, &mut |_| ControlFlow::Continue(()))
            .unwrap();
    assert_eq!(imported.counts.accounts, 1);
    assert!(imported.remedies[0].contains("report could not be written"), "{:?}", imported.remedies);
}

/// Bytes changed, cut out and doubled, the same at each run: no file makes the reader stumble.
#[test]
fn noise_is_read_or_refused() {
    let mut dice = 1_u64;
    let mut roll = |below: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % below.max(1)
    };
    let corner = fs::read(fixture("hand-written/example.org/corner.xml")).unwrap();
    let sixteen = fs::read(fixture("hand-written/example.org/sixteen.xml")).unwrap();
    let account = jid("a@example.org");
    for (original, rounds) in [(corner, 1_500), (sixteen, 1_500)] {
        for _ in 0..rounds {
            let mut bytes = original.clone();
            for _ in 0..1 + roll(3) {
                let (at, length) = (roll(bytes.len()), roll(40));
                let end = (at + length).min(bytes.len());
                match roll(4) {
                    0 => bytes[at] = b"<>&'\"/= \xff!?"[roll(11)],
                    1 => drop(bytes.drain(at..end)),
                    2 => bytes.extend_from_within(at..end),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let mut reader = Reader::new(&account, NOW);
            let read = document::decode(bytes).and_then(|text| document::with_tree(text, |tree| reader.read(tree)));
            let (person, notes) = reader.finish();
            assert!(read.is_ok() || person.password.is_none());
            assert!(notes.iter().all(|note| !note.why.is_empty()));
        }
    }
}
