use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use super::automatic::alone;
use super::*;
use crate::store::account::{self, Credentials};
use crate::store::tests::{Scratch, jid};
use crate::store::{Store, meta};

fn on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn with_accounts(path: &Path, names: &[&str]) -> Store {
    let mut store = Store::open(path).unwrap();
    for name in names {
        assert!(account::create(&mut store, &jid(name), &Credentials::default(), 1).unwrap());
    }
    store.commit().unwrap();
    store
}

fn names(path: &Path) -> Vec<String> {
    let store = Store::open_to_read(path).unwrap();
    let hosts = account::hosts(&store).unwrap();
    let pages = hosts.iter().map(|host| account::list(&store, host, "", 1_000).unwrap());
    pages.flatten().map(|account| account.jid.to_string()).collect()
}

#[test]
fn a_copy_is_whole_and_checked_and_overwrites_nothing() {
    let scratch = Scratch::new("backup");
    let store = with_accounts(&scratch.database(), &["a@h", "b@h"]);
    let file = scratch.0.join("copy.db");
    let facts = make(&scratch.database(), &file, false, &mut on).unwrap();
    assert_eq!((facts.format, facts.accounts, facts.bytes), (1, 2, file.metadata().unwrap().len()));
    assert_eq!(verify(&file).unwrap(), facts);
    // As an export: the group of the server's user could read the keys in it.
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(&file), ["a@h", "b@h"]);
    // One file, which needs no log.
    assert!(!wal_path(&file).exists());

    let refused = make(&scratch.database(), &file, false, &mut on).unwrap_err().to_string();
    assert!(refused.contains("there already"), "{refused}");
    drop(store);
    let store = with_accounts(&scratch.database(), &["c@h"]);
    assert_eq!(names(&file).len(), 2);
    assert_eq!(make(&scratch.database(), &file, true, &mut on).unwrap().accounts, 3);
    drop(store);
}

#[test]
fn a_slip_of_the_pen_put_a_copy_in_the_place_of_a_key_or_where_sqlite_removes_it() {
    let scratch = Scratch::new("backup-slip");
    drop(with_accounts(&scratch.database(), &["a@h"]));
    let told = |name: &str, overwrite| {
        make(&scratch.database(), &scratch.0.join(name), overwrite, &mut on).map_err(|error| error.to_string())
    };
    for name in ["jabber.db-wal", "jabber.db-shm", "jabber.db-journal", "copy.db-wal"] {
        let refused = told(name, false).unwrap_err();
        assert!(refused.contains("a part of a database"), "{refused}");
        assert!(!scratch.0.join(name).exists());
    }
    fs::write(scratch.0.join("key.pem"), "-----BEGIN PRIVATE KEY-----").unwrap();
    let refused = told("key.pem", true).unwrap_err();
    assert!(refused.contains("is not replaced") && refused.contains("nothing was changed"), "{refused}");
    assert_eq!(fs::read(scratch.0.join("key.pem")).unwrap(), b"-----BEGIN PRIVATE KEY-----");
    // Another program's, and that of another server of ours, be it stopped.
    let foreign = rusqlite::Connection::open(scratch.0.join("mail.db")).unwrap();
    foreign.execute_batch("PRAGMA application_id = 7; CREATE TABLE mail (x)").unwrap();
    drop(foreign);
    drop(with_accounts(&scratch.0.join("other.db"), &["b@h"]));
    for name in ["mail.db", "other.db"] {
        let before = fs::read(scratch.0.join(name)).unwrap();
        let refused = told(name, true).unwrap_err();
        assert!(refused.contains("no backup of jabberd's"), "{name}: {refused}");
        assert!(fs::read(scratch.0.join(name)).unwrap() == before, "{name}");
    }
    // What mktemp made, and an older copy, hold nothing that anybody wants.
    fs::write(scratch.0.join("copy.db"), "").unwrap();
    for _ in 0..2 {
        assert_eq!(told("copy.db", true).unwrap().accounts, 1);
    }
}

#[test]
fn an_empty_file_was_taken_for_another_program_s_database() {
    let scratch = Scratch::new("backup-empty");
    fs::write(scratch.database(), "").unwrap();
    let refused = make(&scratch.database(), &scratch.0.join("copy.db"), false, &mut on).unwrap_err().to_string();
    assert!(refused.contains("the file is empty") && refused.contains("restore a backup"), "{refused}");
    assert!(is_empty(&scratch.database()) && !has_copies(&scratch.database()));
    fs::create_dir(scratch.0.join(DIRECTORY)).unwrap();
    fs::write(scratch.0.join(DIRECTORY).join("jabber-x.db"), "").unwrap();
    assert!(has_copies(&scratch.database()));
    drop(with_accounts(&scratch.database(), &["a@h"]));
    assert!(!is_empty(&scratch.database()));
}

#[test]
fn a_restore_that_failed_left_the_database_under_two_names() {
    let scratch = Scratch::new("restore-undone");
    drop(with_accounts(&scratch.database(), &["a@h"]));
    // The last step cannot be done: there is no copy to put in place.
    let refused = swap(&scratch.0.join("none.partial"), &scratch.database(), "now", true).unwrap_err().to_string();
    assert!(refused.contains("give the file its name"), "{refused}");
    assert!(!aside_path(&scratch.database(), "now").exists());
    assert_eq!(scratch.database().metadata().unwrap().nlink(), 1);
    assert_eq!(names(&scratch.database()), ["a@h"]);
}

#[test]
fn the_database_is_not_replaced_by_its_own_copy() {
    let scratch = Scratch::new("backup-itself");
    let mut store = with_accounts(&scratch.database(), &["a@h"]);
    let other_name = scratch.0.join("link.db");
    std::os::unix::fs::symlink(scratch.database(), &other_name).unwrap();
    for file in [scratch.database(), other_name] {
        let refused = make(&scratch.database(), &file, true, &mut on).unwrap_err().to_string();
        assert!(refused.contains("the database itself"), "{refused}");
    }
    assert!(account::create(&mut store, &jid("b@h"), &Credentials::default(), 1).unwrap());
    store.commit().unwrap();
    assert_eq!(names(&scratch.database()), ["a@h", "b@h"]);
}

#[test]
fn a_link_in_the_place_of_the_new_database_gives_nothing_away() {
    let scratch = Scratch::new("backup-give");
    let (file, link, second) = (scratch.0.join("file"), scratch.0.join("link"), scratch.0.join("second"));
    fs::write(&file, "root's").unwrap();
    let found = file.metadata().unwrap();
    give(&file, found.uid(), found.gid()).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(give(&link, found.uid(), found.gid()).is_err());
    fs::hard_link(&file, &second).unwrap();
    assert!(give(&second, found.uid(), found.gid()).is_err());
}

#[test]
fn a_copy_is_of_one_moment_while_the_server_writes() {
    let scratch = Scratch::new("backup-busy");
    let mut store = with_accounts(&scratch.database(), &["a@h"]);
    // More than one step.
    meta::set(&mut store, "large", &vec![7; 4 << 20]).unwrap();
    store.commit().unwrap();
    let file = scratch.0.join("copy.db");
    let mut steps = 0;
    let mut write = |progress: Progress| {
        // Between all steps the server goes on: pages that are copied and pages that are not change.
        steps += 1;
        let name = format!("n{steps}@h");
        assert!(account::create(&mut store, &jid(&name), &Credentials::default(), 1).unwrap());
        meta::set(&mut store, "large", &vec![steps as u8; 4 << 20]).unwrap();
        store.commit().unwrap();
        assert!(progress.done <= progress.all);
        ControlFlow::Continue(())
    };
    assert_eq!(make(&scratch.database(), &file, false, &mut write).unwrap().accounts, 1);
    assert!(steps > 3, "{steps}");
    assert_eq!(names(&file), ["a@h"]);
    assert_eq!(names(&scratch.database()).len(), 1 + steps);
    let copied = Store::open_to_read(&file).unwrap();
    assert_eq!(meta::value(&copied, "large").unwrap().unwrap(), vec![7; 4 << 20]);
}

#[test]
fn a_copy_that_ends_early_leaves_nothing_under_its_name() {
    let scratch = Scratch::new("backup-stop");
    let mut store = with_accounts(&scratch.database(), &["a@h"]);
    meta::set(&mut store, "large", &vec![7; 4 << 20]).unwrap();
    store.commit().unwrap();
    let file = scratch.0.join("copy.db");
    make(&scratch.database(), &file, false, &mut |_| ControlFlow::Break(())).unwrap_err();
    let partial = partial_path(&file).unwrap();
    assert!(!file.exists() && !partial.exists());
    // What a process that died leaves behind is in nobody's way.
    fs::write(&partial, "half a page").unwrap();
    assert!(make(&scratch.database(), &file, false, &mut on).is_ok());
    assert!(!partial.exists());
    // Who owns the directory may put a link in the place of what we write.
    std::os::unix::fs::symlink(&file, &partial).unwrap();
    assert!(finish(&file).is_ok() && finish(&partial).is_err());
    fs::remove_file(&partial).unwrap();
    // A link in the place of the file is not followed.
    let linked = scratch.0.join("linked.db");
    std::os::unix::fs::symlink(scratch.0.join("elsewhere"), &linked).unwrap();
    assert!(make(&scratch.database(), &linked, false, &mut on).is_err());
    let nowhere = make(&scratch.database(), &scratch.0.join("no/copy.db"), false, &mut on).unwrap_err().to_string();
    assert!(nowhere.contains("make the directory"), "{nowhere}");
}

#[test]
fn two_copies_to_one_file_at_once_took_each_others_half() {
    let scratch = Scratch::new("backup-one-file");
    let mut store = with_accounts(&scratch.database(), &["a@h"]);
    meta::set(&mut store, "large", &vec![7; 4 << 20]).unwrap();
    store.commit().unwrap();
    let (file, partial) = (scratch.0.join("copy.db"), scratch.0.join(".copy.db.partial"));
    // What a process that died left behind holds nobody up.
    fs::write(&partial, "half a page").unwrap();
    fs::write(beside(&partial, "-wal"), "half a log").unwrap();
    for overwrite in [false, true] {
        let mut refused = 0;
        let mut second = |_| {
            let error = make(&scratch.database(), &file, overwrite, &mut on).unwrap_err();
            assert!(error.told().contains("under way") && error.hint().contains("name another file"), "{error}");
            refused += 1;
            ControlFlow::Continue(())
        };
        assert_eq!(make(&scratch.database(), &file, overwrite, &mut second).unwrap().accounts, 1);
        assert!(refused > 3, "{refused}");
        assert!(file.exists() && !partial.exists() && !beside(&partial, "-wal").exists());
    }
    // Beside each other, to two files.
    let other = scratch.0.join("other.db");
    let mut third = |_| {
        make(&scratch.database(), &other, true, &mut on).unwrap();
        ControlFlow::Continue(())
    };
    make(&scratch.database(), &file, true, &mut third).unwrap();
    drop(store);
    // Nor does a second restore take the half of the first.
    let mut again = |_| {
        let error = restore(&other, &scratch.database(), "2", &mut on).unwrap_err();
        assert!(error.told().contains("under way"), "{error}");
        ControlFlow::Continue(())
    };
    assert_eq!(restore(&file, &scratch.database(), "1", &mut again).unwrap().facts.accounts, 1);
    assert_eq!(names(&scratch.database()), ["a@h"]);
}

#[test]
fn of_many_that_begin_at_once_one_makes_the_copy() {
    const MAKERS: usize = 8;
    let scratch = Scratch::new("backup-race");
    drop(with_accounts(&scratch.database(), &["a@h"]));
    let (file, begin) = (scratch.0.join("copy.db"), std::sync::Barrier::new(MAKERS));
    let make = || {
        begin.wait();
        make(&scratch.database(), &file, false, &mut on).map(drop)
    };
    let done: Vec<_> = thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(make)).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    for error in done.iter().filter_map(|done| done.as_ref().err()) {
        assert!(error.told().contains("under way") || error.is_there(), "{error}");
    }
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
    assert_eq!(names(&file), ["a@h"]);
}

#[test]
fn copies_of_its_own_accord_are_few_and_many_imports_push_out_nothing_but_each_other() {
    let scratch = Scratch::new("backup-prune");
    let _store = with_accounts(&scratch.database(), &["a@h"]);
    let directory = scratch.0.join(DIRECTORY);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("jabber-monday.db"), "mine, too").unwrap();
    fs::write(directory.join("jabber-notes.txt"), "mine").unwrap();
    let make = |why: &str| automatic(&scratch.database(), why, &mut on).unwrap();
    let format = make("format-1-before-format-2");
    let import = |day: usize, second: usize| format!("2026-11-{day:02}T00000{second}Z-before-import");
    let mut made = vec![make(&import(1, 0)), make(&import(1, 0))];
    assert_eq!(made[1], directory.join("jabber-2026-11-01T000000Z-before-import-2.db"));
    made.extend((0..KEPT + 3).map(|second| make(&import(1, second))));
    // The first of the day, and the last; nothing else has to do with it.
    let is_left: Vec<usize> = (0..made.len()).filter(|&at| made[at].exists()).collect();
    assert_eq!(is_left, [0, made.len() - 1]);
    assert!(format.exists());
    let mut firsts = vec![made.swap_remove(0)];
    for day in 2..KEPT + 4 {
        firsts.push(make(&import(day, 0)));
        make(&import(day, 1));
    }
    let last = make(&import(KEPT + 3, 2));
    let is_left: Vec<usize> = (0..firsts.len()).filter(|&at| firsts[at].exists()).collect();
    assert_eq!(is_left, (firsts.len() - KEPT..firsts.len()).collect::<Vec<_>>());
    let formats: Vec<PathBuf> = (0..KEPT + 1).map(|_| make("format-1-before-format-2")).collect();
    assert!(formats[KEPT].exists() && last.exists());
    // With what is no copy of the server's making.
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2 * KEPT + 1 + 2);
}

#[test]
fn a_copy_in_the_place_of_a_device_a_link_or_a_directory_is_refused() {
    let scratch = Scratch::new("backup-special");
    drop(with_accounts(&scratch.database(), &["a@h"]));
    let at = |name: &str| scratch.0.join(name);
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("target"), "whole").unwrap();
    std::os::unix::fs::symlink(at("target"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("gone"), at("dangling")).unwrap();
    for (name, says) in [
        ("pipe", "a pipe, no regular file (name a regular file)"),
        ("socket", "a socket"),
        ("directory", "a directory"),
        ("link", "a link to /"),
        ("dangling", "/gone (name that file itself"),
    ] {
        let before = at(name).symlink_metadata().unwrap();
        for overwrite in [false, true] {
            let why = make(&scratch.database(), &at(name), overwrite, &mut on).unwrap_err().to_string();
            assert!(why.contains(says), "{name}: {why}");
        }
        let after = at(name).symlink_metadata().unwrap();
        assert_eq!((before.ino(), before.file_type()), (after.ino(), after.file_type()), "{name}");
    }
    assert_eq!(fs::read_to_string(at("target")).unwrap(), "whole");
    assert!(!at("gone").exists());
    let why = restore(&at("directory"), &scratch.database(), "1", &mut on).unwrap_err().to_string();
    assert!(why.contains("this is a directory"), "{why}");
    let why = restore(&at("pipe"), &scratch.database(), "1", &mut on).unwrap_err().to_string();
    assert!(why.contains("this is a pipe"), "{why}");
}

#[test]
fn files_of_a_server_that_is_down_make_a_copy_with_all_that_is_in_the_log() {
    let scratch = Scratch::new("backup-files");
    let (database, partial) = (scratch.database(), scratch.0.join(".copy.partial"));
    // Killed: the last commits are in the log alone. SQLite's index of it is not there any more.
    let store = with_accounts(&database, &["a@h", "b@h"]);
    let killed = Scratch::new("backup-files-killed");
    for (from, to) in [(database.clone(), killed.database()), (wal_path(&database), wal_path(&killed.database()))] {
        fs::copy(from, to).unwrap();
    }
    drop(store);
    for (from, accounts) in [(killed.database(), 2), (database.clone(), 2)] {
        let mut told = Vec::new();
        let mut tell = |progress: Progress| {
            told.push(progress);
            ControlFlow::Continue(())
        };
        let _held = begin(&partial, &from).unwrap();
        copy_files(&from, &partial, &mut tell).unwrap();
        assert!(told.iter().all(|progress| progress.done <= progress.all) && !told.is_empty());
        assert_eq!(finish(&partial).unwrap().accounts, accounts);
        discard(&partial);
    }
    let names = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.map(|name| name.to_string_lossy().into_owned()).any(|name| name.starts_with('.')));
    // Somebody has it open, or writes meanwhile.
    let held = OpenOptions::new().read(true).write(true).open(&database).unwrap();
    fcntl(&held, FcntlArg::F_OFD_SETLK(&range(libc::F_RDLCK))).unwrap();
    let why = copy_files(&database, &partial, &mut on).unwrap_err().to_string();
    assert!(why.contains("has the database open"), "{why}");
    drop(held);
    let _held = begin(&partial, &database).unwrap();
    let mut once = true;
    let changed = copy_files(&database, &partial, &mut |_| {
        if std::mem::take(&mut once) {
            drop(with_accounts(&database, &["c@h"]));
        }
        ControlFlow::Continue(())
    });
    assert!(changed.unwrap_err().is_in_use());
}

#[test]
fn what_is_restored_is_there_and_what_was_there_is_kept() {
    let scratch = Scratch::new("restore");
    let database = scratch.database();
    let file = scratch.0.join("copy.db");
    let store = with_accounts(&database, &["a@h"]);
    make(&database, &file, false, &mut on).unwrap();
    // SQLite's locks are those of a process, so the one who has it open is played by a lock.
    drop(store);
    drop(with_accounts(&database, &["b@h"]));
    let opened = OpenOptions::new().read(true).write(true).open(&database).unwrap();
    fcntl(&opened, FcntlArg::F_OFD_SETLK(&range(libc::F_RDLCK))).unwrap();
    let refused = restore(&file, &database, "1", &mut on).unwrap_err().to_string();
    assert!(refused.contains("stop the server"), "{refused}");
    drop(opened);
    assert_eq!(names(&database), ["a@h", "b@h"]);

    fs::write(aside_path(&database, "1"), "of an earlier one").unwrap();
    let done = restore(&file, &database, "1", &mut on).unwrap();
    assert_eq!(done.facts.accounts, 1);
    assert_eq!(names(&database), ["a@h"]);
    assert_eq!(names(&done.aside.unwrap()), ["a@h", "b@h"]);
    assert_eq!(database.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    // And the server starts on it.
    drop(with_accounts(&database, &["c@h"]));

    // Where nothing was.
    let new = scratch.0.join("new.db");
    fs::write(wal_path(&new), "of a database that is gone").unwrap();
    assert_eq!(restore(&file, &new, "2", &mut on).unwrap().aside, None);
    assert_eq!(names(&new), ["a@h"]);
}

#[test]
fn a_damaged_database_is_replaced_with_its_log_kept_beside_it() {
    let scratch = Scratch::new("restore-damaged");
    let database = scratch.database();
    let file = scratch.0.join("copy.db");
    drop(with_accounts(&database, &["a@h"]));
    make(&database, &file, false, &mut on).unwrap();
    fs::write(&database, vec![0x55; 20_000]).unwrap();
    fs::write(wal_path(&database), "a log").unwrap();
    let done = restore(&file, &database, "1", &mut on).unwrap();
    let aside = done.aside.unwrap();
    assert_eq!(fs::read(&aside).unwrap(), vec![0x55; 20_000]);
    assert_eq!(fs::read(wal_path(&aside)).unwrap(), b"a log");
    assert!(!wal_path(&database).exists());
    assert_eq!(names(&database), ["a@h"]);
}

#[test]
fn what_is_no_sound_copy_changes_nothing() {
    let scratch = Scratch::new("restore-bad");
    let database = scratch.database();
    let mut store = with_accounts(&database, &["a@h"]);
    meta::set(&mut store, "large", &vec![7; 1 << 20]).unwrap();
    store.commit().unwrap();
    drop(store);
    let whole = scratch.0.join("whole.db");
    make(&database, &whole, false, &mut on).unwrap();
    let bytes = fs::read(&whole).unwrap();
    let cut = bytes[..bytes.len() / 2].to_vec();
    let mut flipped = bytes.clone();
    // The root page of some tree.
    flipped[4096 * 3..4096 * 3 + 200].fill(0xAA);
    for (name, content) in [("cut", cut), ("flipped", flipped), ("text", b"no database".to_vec()), ("empty", vec![])] {
        let file = scratch.0.join(name);
        fs::write(&file, content).unwrap();
        assert!(restore(&file, &database, "1", &mut on).is_err(), "{name}");
    }
    for (pragma, words) in [("user_version = 99", "newer release"), ("application_id = 5", "no database of jabberd")] {
        let file = scratch.0.join("changed.db");
        fs::copy(&whole, &file).unwrap();
        Connection::open(&file).unwrap().execute_batch(&format!("PRAGMA {pragma}")).unwrap();
        let why = restore(&file, &database, "1", &mut on).unwrap_err().to_string();
        assert!(why.contains(words), "{why}");
    }
    assert!(restore(&scratch.0.join("missing"), &database, "1", &mut on).is_err());
    restore(&whole, &database, "1", &mut |_| ControlFlow::Break(())).unwrap_err();
    // Up to the last moment: all is copied, and looked through.
    let mut whole_times = 0;
    let mut late = |now: Progress| {
        whole_times += usize::from(now.done == now.all);
        if whole_times == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    restore(&whole, &database, "1", &mut late).unwrap_err();
    assert_eq!(whole_times, 2);
    assert_eq!(names(&database), ["a@h"]);
    let names: Vec<_> = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("before-restore")), "{names:?}");
}

#[test]
fn a_format_changes_only_after_a_copy() {
    let scratch = Scratch::new("backup-format");
    let database = scratch.database();
    drop(with_accounts(&database, &["a@h"]));
    let reopened = |release| {
        let connection = Connection::open(&database).unwrap();
        Store::prepared(connection, &database, release, &mut on)
    };
    let copy = scratch.0.join(DIRECTORY).join("jabber-format-1-before-format-3.db");
    // No room for a copy: a file where the directory should be.
    fs::write(scratch.0.join(DIRECTORY), "").unwrap();
    let why = reopened(migrate::tests::LATER).map(drop).unwrap_err().to_string();
    assert!(why.contains("no backup can be made"), "{why}");
    assert_eq!(verify(&database).unwrap().format, 1);
    fs::remove_file(scratch.0.join(DIRECTORY)).unwrap();
    // A change that fails leaves all as it was.
    assert!(reopened(migrate::tests::BROKEN).is_err());
    assert_eq!(verify(&database).unwrap().format, 1);
    assert!(copy.exists());
    drop(reopened(migrate::tests::LATER).unwrap());
    let second = scratch.0.join(DIRECTORY).join("jabber-format-1-before-format-3-2.db");
    assert!(verify(&database).is_err(), "today's release does not know it");
    assert!(Store::open(&database).is_err() && Store::open_to_read(&database).is_err());
    // The way back that the error speaks of.
    for copy in [copy, second] {
        assert_eq!(verify(&copy).unwrap().format, 1);
        restore(&copy, &database, &copy.file_name().unwrap().to_string_lossy(), &mut on).unwrap();
        drop(Store::open(&database).unwrap());
        assert_eq!(names(&database), ["a@h"]);
    }
}

#[test]
fn who_waits_for_a_start_hears_of_the_copy_before_the_format_changes_and_can_end_it() {
    let scratch = Scratch::new("backup-told");
    let database = scratch.database();
    let mut store = with_accounts(&database, &["a@h"]);
    meta::set(&mut store, "large", &vec![7; 4 << 20]).unwrap();
    store.commit().unwrap();
    drop(store);
    let opened =
        |pace: Pace<'_>| Store::prepared(Connection::open(&database).unwrap(), &database, migrate::tests::LATER, pace);
    let ended = opened(&mut |_| ControlFlow::Break(())).map(drop).unwrap_err();
    assert!(ended.is_stopped(), "{ended}");
    assert_eq!(verify(&database).unwrap().format, 1);
    let mut told = Vec::new();
    let changed = opened(&mut |progress| {
        told.push(progress);
        ControlFlow::Continue(())
    });
    drop(changed.unwrap());
    assert!(told.len() > 3 && told.last().is_some_and(|last| last.done == last.all), "{told:?}");
}

#[test]
fn copies_that_are_made_at_once_do_not_take_each_others_half() {
    const COPIES: usize = 4;
    let scratch = Scratch::new("backup-at-once");
    let mut store = with_accounts(&scratch.database(), &["a@h"]);
    meta::set(&mut store, "large", &vec![7; 4 << 20]).unwrap();
    store.commit().unwrap();
    let directory = scratch.0.join(DIRECTORY);
    fs::create_dir(&directory).unwrap();
    // What was killed leaves no more than this, and nobody else would remove it.
    for end in ["", "-wal"] {
        fs::write(directory.join(format!(".jabber-x-before-import.db.partial{end}")), "half a page").unwrap();
    }
    let begin = std::sync::Barrier::new(COPIES);
    let make = || {
        begin.wait();
        automatic(&scratch.database(), "format-1-before-format-2", &mut on).map(drop)
    };
    thread::scope(|scope| {
        let makers: Vec<_> = (0..COPIES).map(|_| scope.spawn(make)).collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap().unwrap());
    });
    let found: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(found.len() == COPIES && found.iter().all(|path| verify(path).is_ok()), "{found:?}");
    // Who waits may give up.
    let held = alone(&directory, &mut on).unwrap();
    let ended = automatic(&scratch.database(), "before-import", &mut |_| ControlFlow::Break(())).unwrap_err();
    assert!(ended.is_stopped(), "{ended}");
    drop(held);
}
