//! With the real keys: who could log in to the old server can log in here.

use super::*;
use crate::config::Source;
use crate::daemon::scratch;
use crate::store::account;
use crate::stream::sasl::quickest;
use crate::xmpp::BareJid;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() { copy(&path, &to.join(name)) } else { fs::copy(&path, to.join(name)).map(drop).unwrap() }
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool").join(name)
}

fn run(config: &Config, line: &CommandLine) -> Store {
    let mut store = Store::open(&config.spool.join(accounts::DATABASE)).unwrap();
    let disk = Disk::open(&store, Default::default()).unwrap();
    assert!(at_start(config, line, &mut store, &disk, &AtomicBool::new(false)).unwrap());
    store
}

/// Would a login with this password succeed?
fn logs_in(store: &Store, account: &str, password: &str) -> bool {
    let Some(found) = account::credentials(store, &BareJid::new(account).unwrap()).unwrap() else { return false };
    let password = Password::new(password).unwrap();
    let job = match (quickest(&found), &found.legacy) {
        (Some(keys), _) => HashJob::verify(0, password, keys.clone()),
        (None, Some(hash)) => {
            HashJob::upgrade(0, password, LegacyHash::from_text(&hash.value).unwrap(), &mut Dice::new())
        }
        (None, None) => return false,
    };
    matches!(job.run().outcome, Outcome::Verified(true) | Outcome::Upgraded(Some(_)))
}

#[test]
fn old_passwords_log_in() {
    type Users<'a> = &'a [(&'a str, &'a str)];
    // A spool, its host, and some of its accounts with their passwords.
    let rows: &[(&str, &str, Users<'_>)] = &[
        ("1.4.3-flat", "xmpp.test", &[("juliet", "r0m30"), ("paris", "c0unt&<>'\""), ("jörg", "pässwörd")]),
        ("1.4.4-hashed", "xmpp.test", &[("o-k_1.x+y=z", "odd"), ("tybalt", "prince0fcats"), ("jörg", "pässwörd")]),
        ("1.6-flat", "xmpp.test", &[("romeo", "m0ntague"), ("admin", "adminpw")]),
        (
            "hand-written",
            "example.org",
            &[
                ("byscript", "made-up-1"),
                ("crypted", "made-up-2"),
                ("shauser", "made-up-3"),
                ("zerok", "made-up-4"),
                ("corner", "pa&ss <w>ord'\""),
                ("twice", "made-up-8-first"),
                ("latin", "grüße"),
                ("sixteen", "made-up-10"),
            ],
        ),
    ];
    for (spool, host, users) in rows {
        let directory = scratch(&format!("import-{spool}"));
        copy(&fixture(spool), &directory);
        let config = Config { spool: directory.clone(), ..Config::for_host(host) };
        let store = run(&config, &CommandLine::default());
        for (name, password) in *users {
            let account = format!("{name}@{host}");
            assert!(logs_in(&store, &account, password), "{spool} {account}");
            assert!(!logs_in(&store, &account, "second"), "{spool} {account}");
        }
        assert!(!logs_in(&store, &format!("doomed@{host}"), "secret"));
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn the_directory_that_jabber_xml_names_comes_with_the_accounts() {
    let directory = scratch("import-directory");
    let text = "<jabber><service id='sessions'><host>example.org</host></service><service id='jud'>\
                <host>users.example.org</host><load><jud>./jud.so</jud></load></service></jabber>";
    let config = Config::from_xml(text, &Source::new("jabber.xml")).unwrap();
    let config = Config { spool: directory.clone(), ..config };
    for (name, text) in [
        (
            "example.org/juliet.xml",
            "<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'>secret</password></xdb>",
        ),
        (
            "jud/global.xdb",
            "<xdb><foo xmlns='jabber:jud:users' xdbns='jabber:jud:users'>\
             <item jid='juliet@example.org'><first>Juliet</first></item></foo></xdb>",
        ),
    ] {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let store = run(&config, &CommandLine::default());
    let kept = crate::store::directory::of(&store, &BareJid::new("juliet@example.org").unwrap()).unwrap();
    assert_eq!(kept.map(|(_, entry)| entry.first).as_deref(), Some("Juliet"));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn progress_in_words() {
    let words = |step, done, all, seconds| {
        let progress = Progress { step, done, all };
        format!("{}{}", bar(progress), in_words(progress, Duration::from_secs(seconds)))
    };
    for (step, done, all, seconds, expected) in [
        (Step::Looking, 0, 3_000, 2, "looking for accounts to import: 3000 so far"),
        (Step::Looking, 1_000, 3_000, 2, "looking which accounts are here: 1000 of 3000"),
        (
            Step::Accounts,
            250,
            1_000,
            10,
            "[#####...............] importing accounts: 250 of 1000, about 30 seconds left",
        ),
        (Step::Accounts, 7, 7, 1, "[####################] importing accounts: 7 of 7, about 0 seconds left"),
        (
            Step::Components,
            100,
            200,
            10,
            "[##########..........] importing files of components: 100 of 200, about 10 seconds left",
        ),
        (
            Step::Copying,
            256,
            1_024,
            3,
            "[#####...............] copying the database before it changes: 256 of 1024 pages, about 9 seconds left",
        ),
        (
            Step::Directory,
            3,
            4,
            3,
            "[###############.....] importing people of the user directory: 3 of 4, about 1 seconds left",
        ),
    ] {
        assert_eq!(words(step, done, all, seconds), expected);
    }
}

#[test]
fn an_import_beside_another_did_all_the_work_again() {
    let directory = scratch("import-twice");
    let config = Config { spool: directory.clone(), ..Config::for_host("xmpp.test") };
    let import = || by_hand(&config, Format::Jabberd14, &fixture("1.4.3-flat"), &mut |_| ControlFlow::Continue(()));
    let held = alone(&directory).unwrap();
    let refusal = import().unwrap_err();
    assert!(refusal.text.contains("another import is under way"), "{refusal:?}");
    drop(held);
    let said = import().map_or_else(|refusal| refusal.text, |told| told.text);
    assert!(said.contains("accounts=12"), "{said}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn another_directory_is_imported_by_name() {
    let directory = scratch("import-by-name");
    let config = Config { spool: directory.clone(), ..Config::for_host("xmpp.test") };
    let line = CommandLine { import: Some(fixture("1.4.3-flat")), ..CommandLine::default() };
    // Twice: the second time finds nothing new.
    for _ in 0..2 {
        let store = run(&config, &line);
        assert_eq!(account::count(&store, "xmpp.test").unwrap(), 12);
    }
    let reports = fs::read_dir(&directory).unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let reports: Vec<String> = reports.filter(|name| name.starts_with("import-report-20")).collect();
    assert_eq!(reports.len(), 1);
    let report = fs::read_to_string(directory.join(&reports[0])).unwrap();
    assert_eq!(report.matches("Import of a spool").count(), 1, "{report}");
    assert!(report.contains("       12 accounts\n"), "{report}");
    let missing = CommandLine { import: Some(PathBuf::from("/nonexistent")), ..CommandLine::default() };
    let mut store = Store::open(&directory.join("jabber.db")).unwrap();
    let disk = Disk::open(&store, Default::default()).unwrap();
    let error = at_start(&config, &missing, &mut store, &disk, &AtomicBool::new(false)).unwrap_err();
    assert!(error.0.contains("/nonexistent (-I)"), "{error}");
    drop((disk, store));
    fs::remove_dir_all(directory).unwrap();
}
