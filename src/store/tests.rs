use super::*;
use crate::store::account::Credentials;
use crate::xmpp::{Condition, StanzaError};

pub(super) fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

/// A store in memory with these accounts, made at second 1000.
pub(super) fn store_with(accounts: &[&str]) -> Store {
    let mut store = Store::in_memory().unwrap();
    for name in accounts {
        assert!(account::create(&mut store, &jid(name), &Credentials::default(), 1_000_000).unwrap());
    }
    store.commit().unwrap();
    store
}

fn value(store: &Store, key: &str) -> Option<Vec<u8>> {
    meta::value(store, key).unwrap()
}

/// A directory of the test's own, gone afterwards. The umask is not the business of whoever runs the test.
pub(crate) struct Scratch(pub PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("jabber-store-{}-{name}", std::process::id()));
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("jabber.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_long_log_is_shortened_by_who_is_alone() {
    let scratch = Scratch::new("shorten");
    let mut store = Store::open(&scratch.database()).unwrap();
    let long = vec![7; 1 << 20];
    let fill = |store: &mut Store| {
        for n in 0..20 {
            meta::set(store, &format!("{n}"), &long).unwrap();
            store.commit().unwrap();
        }
    };
    fill(&mut store);
    let log = store.size().log_bytes;
    assert!(log > disk::WalBounds::default().soft);
    // Not in the middle of a tick.
    meta::set(&mut store, "late", b"1").unwrap();
    store.shorten_log().unwrap();
    assert_eq!(store.commit().unwrap(), Some(Tick(21)));
    // Nor while somebody else has it open, who then still has it whole.
    let other = Store::open(&scratch.database()).unwrap();
    store.shorten_log().unwrap();
    assert!(store.size().log_bytes >= log);
    assert_eq!(value(&other, "late").as_deref(), Some(b"1".as_slice()));
    drop(other);
    store.shorten_log().unwrap();
    assert!(store.size().log_bytes < 1 << 20, "{}", store.size().log_bytes);
    assert_eq!(value(&store, "late").as_deref(), Some(b"1".as_slice()));
    meta::set(&mut store, "later", b"2").unwrap();
    assert_eq!(store.commit().unwrap(), Some(Tick(22)));
}

#[test]
fn only_ticks_that_write_are_numbered() {
    let mut store = Store::in_memory().unwrap();
    assert_eq!(store.commit().unwrap(), None);
    meta::set(&mut store, "a", b"1").unwrap();
    assert_eq!(store.commit().unwrap(), Some(Tick(1)));
    assert_eq!(value(&store, "a").unwrap(), b"1");
    assert_eq!(store.commit().unwrap(), None);
    meta::set(&mut store, "a", b"2").unwrap();
    store.rollback();
    assert_eq!(store.commit().unwrap(), None);
    assert_eq!(value(&store, "a").unwrap(), b"1");
    meta::set(&mut store, "a", b"3").unwrap();
    assert_eq!(store.commit().unwrap(), Some(Tick(2)));
}

#[test]
fn a_savepoint_that_only_reads_is_unknown_to_sqlite() {
    let mut store = Store::in_memory().unwrap();
    let done: Result<(), Error> = store.savepoint(|store| {
        store.savepoint(|store| meta::value(store, "a"))?;
        assert!(store.connection.is_autocommit());
        Ok(())
    });
    done.unwrap();
    assert!(store.connection.is_autocommit());
    assert_eq!(store.commit().unwrap(), None);
}

#[test]
fn a_savepoint_that_fails_undoes_its_own_writes_only() {
    let mut store = Store::in_memory().unwrap();
    meta::set(&mut store, "before", b"").unwrap();
    let outer: Result<(), Error> = store.savepoint(|store| {
        meta::set(store, "outer", b"")?;
        let inner: Result<(), StanzaError> = store.savepoint(|store| {
            store.savepoint(|store| meta::set(store, "innermost", b""))?;
            assert!(value(store, "innermost").is_some());
            Err(StanzaError::from(Condition::Forbidden))
        });
        assert_eq!(inner.unwrap_err().condition(), Condition::Forbidden);
        assert!(value(store, "innermost").is_none());
        meta::set(store, "after", b"")
    });
    outer.unwrap();
    store.commit().unwrap();
    for (key, kept) in [("before", true), ("outer", true), ("innermost", false), ("after", true)] {
        assert_eq!(value(&store, key).is_some(), kept, "{key}");
    }
}

#[test]
fn a_panic_undoes_its_savepoint_and_goes_on() {
    let mut store = Store::in_memory().unwrap();
    meta::set(&mut store, "before", b"").unwrap();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        store.savepoint(|store| -> Result<(), Error> {
            meta::set(store, "inside", b"")?;
            panic!("a bug in one stanza's handling")
        })
    }));
    assert!(caught.is_err());
    meta::set(&mut store, "after", b"").unwrap();
    assert_eq!(store.commit().unwrap(), Some(Tick(1)));
    assert!(value(&store, "before").is_some() && value(&store, "after").is_some());
    assert!(value(&store, "inside").is_none());
}

#[test]
fn a_crash_loses_the_running_tick_only() {
    let mut store = Store::in_memory().unwrap();
    meta::set(&mut store, "committed", b"").unwrap();
    store.commit().unwrap();
    meta::set(&mut store, "running", b"").unwrap();
    store.crash();
    assert!(value(&store, "committed").is_some());
    assert!(value(&store, "running").is_none());
    assert_eq!(store.commit().unwrap(), None);
}

#[test]
fn a_transaction_that_sqlite_gave_up_is_never_committed_in_part() {
    let mut store = Store::in_memory().unwrap();
    meta::set(&mut store, "first half", b"").unwrap();
    // As a full disk does.
    store.connection.execute_batch("ROLLBACK").unwrap();
    assert!(meta::set(&mut store, "second half", b"").is_err());
    let error = store.commit().unwrap_err();
    assert!(error.to_string().contains("given up"), "{error}");
    assert!(value(&store, "second half").is_none());
    meta::set(&mut store, "next tick", b"").unwrap();
    assert_eq!(store.commit().unwrap(), Some(Tick(1)));
}

/// Lets the database grow by so many pages, as a disk that is nearly full does.
pub(crate) fn leave_room(store: &Store, pages: i64) {
    let used: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.connection.pragma_update(None, "max_page_count", used + pages).unwrap();
}

/// Another process that holds the database.
pub(crate) struct Lock(Connection);

impl Lock {
    pub(crate) fn take(database: &Path) -> Lock {
        let connection = Connection::open(database).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Lock(connection)
    }
}

#[test]
fn somebody_elses_lock_held_the_loop_at_each_write() {
    let scratch = Scratch::new("locked");
    let mut store = Store::open(&scratch.database()).unwrap();
    store.wait_briefly().unwrap();
    let looks = (0..).take_while(|tries| disk::wait_for_loop(*tries)).count();
    assert_eq!(u128::try_from(looks).unwrap(), disk::LOOP_BUSY.as_micros() / disk::LOOP_BUSY_STEP.as_micros());
    let lock = Lock::take(&scratch.database());
    let error = meta::set(&mut store, "name", b"1").unwrap_err();
    assert!(error.to_string().contains("database is locked"), "{error}");
    // It is over for this tick, even if the lock is gone meanwhile.
    lock.0.execute_batch("ROLLBACK").unwrap();
    let error = meta::set(&mut store, "name", b"2").unwrap_err();
    assert!(error.to_string().contains("given up"), "{error}");
    let why = store.take_unbegun().unwrap();
    assert!(why.contains("database is locked"), "{why}");
    assert!(store.refuses() && store.commit().unwrap().is_none());
    meta::set(&mut store, "name", b"3").unwrap();
    assert!(store.take_unbegun().is_none() && store.commit().unwrap().is_some() && !store.refuses());
    assert_eq!(meta::value(&store, "name").unwrap().unwrap(), b"3");
}

#[test]
fn a_database_that_was_moved_away_was_never_missed() {
    let scratch = Scratch::new("moved");
    let (here, elsewhere) = (scratch.database(), scratch.0.join("elsewhere.db"));
    let store = Store::open(&here).unwrap();
    assert!(store.displaced().is_none());
    std::fs::rename(&here, &elsewhere).unwrap();
    let told = store.displaced().unwrap().to_string();
    assert!(told.contains("moved, removed or replaced") && told.contains("back to its place"), "{told}");
    std::fs::write(&here, "another").unwrap();
    assert!(store.displaced().is_some());
    std::fs::rename(&elsewhere, &here).unwrap();
    assert!(store.displaced().is_none());
    assert!(Store::in_memory().unwrap().displaced().is_none());
}

/// A table that is not there, as in a file that is damaged.
pub(crate) fn lose_table(store: &Store, name: &str) {
    store.connection.execute_batch(&format!("DROP TABLE {name}")).unwrap();
}

#[test]
fn a_full_disk_fails_the_tick_but_not_the_store() {
    let mut store = Store::in_memory().unwrap();
    leave_room(&store, 4);
    for _ in 0..3 {
        let done: Result<(), Error> = store.savepoint(|store| {
            meta::set(store, "small", b"1")?;
            meta::set(store, "large", &[0; 100_000])
        });
        let error = done.unwrap_err();
        assert!(error.to_string().contains("free some space"), "{error}");
        // The rest of the tick fails as well, and says so.
        assert!(meta::set(&mut store, "small", b"1").is_err());
        assert!(store.commit().is_err());
    }
    assert!(value(&store, "small").is_none());
    meta::set(&mut store, "small", b"2").unwrap();
    assert!(store.commit().unwrap().is_some());
}

#[test]
fn a_file_is_made_private_and_found_again() {
    let scratch = Scratch::new("open");
    let path = scratch.database();
    let mut store = Store::open(&path).unwrap();
    meta::set(&mut store, "kept", b"1").unwrap();
    store.commit().unwrap();
    meta::set(&mut store, "dropped", b"1").unwrap();
    for name in ["jabber.db", "jabber.db-wal", "jabber.db-shm"] {
        let mode = scratch.0.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o640, 0, "{name}: {mode:o}");
    }
    drop(store);
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(value(&store, "kept").unwrap(), b"1");
    assert_eq!(value(&store, "dropped"), None);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

/// The files as `kill -9` leaves them: copied while the store is open, then opened elsewhere.
#[test]
fn a_killed_server_finds_all_its_commits() {
    let scratch = Scratch::new("killed");
    let after = Scratch::new("killed-after");
    let mut store = Store::open(&scratch.database()).unwrap();
    for n in 0..50u8 {
        meta::set(&mut store, &format!("commit {n}"), &[n; 900]).unwrap();
        store.commit().unwrap();
    }
    meta::set(&mut store, "uncommitted", &[0; 90_000]).unwrap();
    for name in ["jabber.db", "jabber.db-wal"] {
        // `cp` in a process of its own: to open and close the database in this one would drop SQLite's locks.
        let status = std::process::Command::new("cp").arg(scratch.0.join(name)).arg(&after.0).status().unwrap();
        assert!(status.success());
    }
    let found = Store::open(&after.database()).unwrap();
    for n in 0..50u8 {
        assert_eq!(value(&found, &format!("commit {n}")).unwrap(), [n; 900]);
    }
    assert_eq!(value(&found, "uncommitted"), None);
    let whole: String = found.connection.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
}

#[test]
fn what_cannot_be_opened_says_why() {
    let scratch = Scratch::new("errors");
    let garbage = scratch.0.join("garbage.db");
    std::fs::write(&garbage, [b'x'; 8192]).unwrap();
    let foreign = scratch.0.join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let newer = scratch.0.join("newer.db");
    drop(Store::open(&newer).unwrap());
    Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let rows = [
        (scratch.0.join("missing/jabber.db"), "make the directory"),
        (garbage, "restore a backup"),
        (foreign, "another program"),
        (newer, "newer release (format 99"),
    ];
    for (path, expected) in rows {
        let error = Store::open(&path).err().unwrap().to_string();
        assert!(error.starts_with(path.to_str().unwrap()) && error.contains(expected), "{error}");
    }
}

/// All that is kept of accounts, a line for each row, without what depends on the order of changes: two stores that hold the
/// same give the same.
pub(crate) fn contents(store: &Store) -> Vec<String> {
    let tables = "SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c
                  WHERE m.type = 'table' AND c.name = 'account'";
    let tables: Vec<String> = store.all(tables, [], |row| row.get(0)).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for table in tables.into_iter().filter(|table| table != "roster_removed" && table != "roster") {
        let sql = format!("SELECT a.localpart || '@' || a.host, t.* FROM {table} t JOIN account a ON a.id = t.account");
        let mut statement = store.connection.prepare(&sql).unwrap();
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let mut line = format!("{table} {}", row.get::<_, String>(0).unwrap());
            for (at, name) in names.iter().enumerate().skip(1) {
                if !matches!(name.as_str(), "account" | "id" | "version") {
                    let value = row.get_ref(at).unwrap();
                    let text = value.as_str().map_or_else(|_| format!("{value:?}"), str::to_owned);
                    line.push_str(&format!(" {name}={text}"));
                }
            }
            lines.push(line);
        }
    }
    let mut statement =
        store.connection.prepare("SELECT host, localpart, created, disabled, hashes FROM account").unwrap();
    let accounts = statement.query_map([], |row| {
        let (host, name): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(format!("account {name}@{host} {:?} {:?} {:?}", row.get_ref(2)?, row.get_ref(3)?, row.get_ref(4)?))
    });
    lines.extend(accounts.unwrap().map(Result::unwrap));
    lines.sort();
    lines
}
