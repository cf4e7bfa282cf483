//! Is a database whole, and one that this release can work on? For the admin's tool, beside a server or without.
//!
//! Invariant: whoever looks changes nothing. A damaged database and its log are what an admin mends it from.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{Cause, Error};
use super::{BUSY, backup, beside, migrate, unsigned, wal_path};

/// How often SQLite is told to stop: it forgets it between two statements.
const AGAIN: Duration = Duration::from_millis(100);

/// What was looked at, and is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All of it.
    Whole,
    /// So many of its tables; for the others there was no time.
    Tables(usize, usize),
    /// Nothing: a log that no process has open, without its index, cannot be read by who writes nothing; and what a server
    /// that starts or stops changes meanwhile tells nothing.
    Nothing,
}

/// Looks through a database for this long, table by table. The one to begin with is the caller's choice, so that each has
/// its turn where time is always too short.
///
/// # Errors
/// It cannot be opened, is not ours, of a newer release, or damaged.
pub fn look_through(path: &Path, patience: Duration, first: usize) -> Result<Seen, Error> {
    let Some(way) = way_in(path)? else { return Ok(Seen::Nothing) };
    let seen = look(path, way, patience, first).map_err(|cause| Error::new(path, cause));
    match seen {
        Err(_) if way_in(path)? != Some(way) => Ok(Seen::Nothing),
        seen => seen,
    }
}

/// The hosts whose accounts are in it, and how many each has; none where [`look_through`] could see nothing.
///
/// # Errors
/// Those of [`look_through`].
pub fn hosts(path: &Path) -> Result<Vec<(String, u64)>, Error> {
    let Some(way) = way_in(path)? else { return Ok(Vec::new()) };
    let count = || {
        let connection = connected(path, way)?;
        let sql = "SELECT host, count(*) FROM account GROUP BY host ORDER BY host";
        let mut found = connection.prepare(sql).map_err(Cause::Sql)?;
        let rows = found.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?)))).map_err(Cause::Sql)?;
        rows.collect::<Result<_, _>>().map_err(Cause::Sql)
    };
    match count() {
        Err(_) if way_in(path)? != Some(way) => Ok(Vec::new()),
        counted => counted.map_err(|cause| Error::new(path, cause)),
    }
}

/// <https://www.sqlite.org/uri.html>: nobody changes it, so nobody is locked out.
const STILL: &str = "immutable=1";

/// How to open it without a change to its files.
fn way_in(path: &Path) -> Result<Option<&'static str>, Error> {
    match backup::refuse_if_open(path) {
        Err(error) if error.is_in_use() => return Ok(Some("mode=ro")),
        asked => asked?,
    }
    let length = |end: &str| beside(path, end).metadata().map(|found| found.len()).ok();
    let log = length("-wal").unwrap_or(0);
    if log > 0 && !is_log(&wal_path(path)).map_err(|io| Error::new(path, Cause::Io("read the log", io)))? {
        return Err(Error::new(
            path,
            Cause::Damaged("the log beside it (-wal) is none: its header is broken".to_owned()),
        ));
    }
    Ok(match (log, length("-shm"), length("-journal").unwrap_or(0)) {
        (_, _, 1..) => None,
        (0, _, _) => Some(STILL),
        // Its index is made anew in memory.
        (_, Some(_), _) => Some("mode=ro&readonly_shm=1"),
        (_, None, _) => None,
    })
}

/// <https://www.sqlite.org/fileformat2.html#walformat>: is its header right? SQLite takes ten seconds to give up such a log where
/// it may not write, and throws it away where it may.
fn is_log(path: &Path) -> io::Result<bool> {
    let mut header = [0; 32];
    match File::open(path)?.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    let words: Vec<[u8; 4]> = header.chunks_exact(4).filter_map(|word| word.try_into().ok()).collect();
    let big = |word: &[u8; 4]| u32::from_be_bytes(*word);
    let [magic, .., first, second] = words.as_slice() else { return Ok(false) };
    let read = match big(magic) {
        0x377f_0682 => |word: &[u8; 4]| u32::from_le_bytes(*word),
        0x377f_0683 => |word: &[u8; 4]| u32::from_be_bytes(*word),
        _ => return Ok(false),
    };
    let mut sums = (0_u32, 0_u32);
    for pair in words.chunks_exact(2).take(3) {
        let [one, other] = pair else { continue };
        sums.0 = sums.0.wrapping_add(read(one)).wrapping_add(sums.1);
        sums.1 = sums.1.wrapping_add(read(other)).wrapping_add(sums.0);
    }
    Ok(sums == (big(first), big(second)))
}

fn connected(path: &Path, way: &str) -> Result<Connection, Cause> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, way), flags).map_err(Cause::Sql)?;
    connection.busy_timeout(BUSY).map_err(Cause::Sql)?;
    // A server that ends meanwhile leaves us the last: its log is the next start's.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(Cause::Sql)?;
    migrate::suits(&connection)?;
    Ok(connection)
}

fn look(path: &Path, way: &str, patience: Duration, first: usize) -> Result<Seen, Cause> {
    let connection = connected(path, way)?;
    let tables = names(&connection).map_err(Cause::Sql)?;
    let interrupt = connection.get_interrupt_handle();
    let (done, ended) = mpsc::channel::<()>();
    let is_late = Arc::new(AtomicBool::new(patience.is_zero()));
    let late = Arc::clone(&is_late);
    let watch = std::thread::spawn(move || {
        let mut wait = patience;
        while ended.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
            late.store(true, Ordering::Relaxed);
            interrupt.interrupt();
            wait = AGAIN;
        }
    });
    let seen = look_at(&connection, tables, &is_late, first);
    drop(done);
    // It does nothing that could fail.
    let _ = watch.join();
    seen
}

fn look_at(
    connection: &Connection,
    mut tables: Vec<String>,
    is_late: &AtomicBool,
    first: usize,
) -> Result<Seen, Cause> {
    let count = tables.len();
    tables.rotate_left(first.checked_rem(count).unwrap_or(0));
    for (seen, table) in tables.iter().enumerate() {
        if is_late.load(Ordering::Relaxed) || !is_sound(connection, &format!("\"{}\"", table.replace('"', "\"\"")))? {
            return Ok(Seen::Tables(seen, count));
        }
    }
    // What lies between the tables is seen by a look at all of it.
    match !is_late.load(Ordering::Relaxed) && is_sound(connection, "1")? {
        true => Ok(Seen::Whole),
        false => Ok(Seen::Tables(count, count)),
    }
}

fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")?;
    found.query_map([], |row| row.get(0))?.collect()
}

/// `false`: it was told to stop.
fn is_sound(connection: &Connection, what: &str) -> Result<bool, Cause> {
    match connection.query_row(&format!("PRAGMA quick_check({what})"), [], |row| row.get::<_, String>(0)) {
        Ok(found) if found == "ok" => Ok(true),
        Ok(found) => Err(Cause::Damaged(found)),
        Err(sql) if sql.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(false),
        Err(sql) => Err(Cause::Sql(sql)),
    }
}

fn uri(path: &Path, way: &str) -> String {
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "file:" });
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri + "?" + way
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::store::tests::Scratch;
    use crate::store::{Store, meta};

    const LONG: Duration = Duration::from_secs(60);

    /// From here on it is none of ours.
    fn damage(path: &Path, from: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        for (at, byte) in bytes.iter_mut().enumerate().skip(from) {
            *byte = (at % 251) as u8;
        }
        std::fs::write(path, &bytes).unwrap();
    }

    /// What a killed server left behind, in a directory whose name means something in a URI.
    fn left_behind(scratch: &Scratch) -> PathBuf {
        let mut store = Store::open(&scratch.database()).unwrap();
        meta::set(&mut store, "key", &[7; 100_000]).unwrap();
        store.commit().unwrap();
        let directory = scratch.0.join("what? 50%#é");
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("jabber.db");
        for end in ["", "-wal", "-shm"] {
            std::fs::copy(beside(&scratch.database(), end), beside(&path, end)).unwrap();
        }
        path
    }

    fn bytes(path: &Path) -> Vec<Option<Vec<u8>>> {
        ["", "-wal", "-shm", "-journal"].iter().map(|end| std::fs::read(beside(path, end)).ok()).collect()
    }

    #[test]
    fn a_database_is_looked_through() {
        let scratch = Scratch::new("soundness");
        let path = scratch.database();
        drop(Store::open(&path).unwrap());
        assert_eq!(look_through(&path, LONG, 7).unwrap(), Seen::Whole);
        // Its header is as it was, and what comes after is not.
        damage(&path, 4096);
        let error = look_through(&path, LONG, 0).unwrap_err();
        assert!(error.hint().contains("restore a backup"), "{error}");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(look_through(&path, LONG, 0).is_err());
    }

    #[test]
    fn a_look_at_a_stopped_database_changed_it() {
        let scratch = Scratch::new("soundness-stopped");
        let path = left_behind(&scratch);
        let before = bytes(&path);
        assert!(before[1].as_ref().is_some_and(|log| log.len() > 100_000));
        assert_eq!(look_through(&path, LONG, 0).unwrap(), Seen::Whole);
        assert!(bytes(&path) == before);
        // What counts is in the log, and is damaged there.
        let (log, header) = (beside(&path, "-wal"), 32);
        let sound = std::fs::read(&log).unwrap();
        damage(&path, 0);
        damage(&log, header);
        let before = bytes(&path);
        assert!(look_through(&path, LONG, 0).is_err());
        assert!(bytes(&path) == before);
        damage(&log, 8);
        let broken = look_through(&path, LONG, 0).unwrap_err();
        assert!(broken.to_string().contains("header is broken"), "{broken}");
        damage(&log, 0);
        assert!(look_through(&path, LONG, 0).is_err());
        std::fs::write(&log, sound).unwrap();
        // Without the index it could only be read by who writes one.
        std::fs::remove_file(beside(&path, "-shm")).unwrap();
        let before = bytes(&path);
        assert_eq!(look_through(&path, LONG, 0).unwrap(), Seen::Nothing);
        assert!(bytes(&path) == before);
        // One that was closed.
        let closed = scratch.0.join("closed.db");
        drop(Store::open(&closed).unwrap());
        let before = bytes(&closed);
        assert_eq!(look_through(&closed, LONG, 0).unwrap(), Seen::Whole);
        assert!(bytes(&closed) == before);
    }

    #[test]
    fn what_there_was_no_time_for_was_called_whole() {
        let scratch = Scratch::new("soundness-time");
        let path = scratch.database();
        drop(Store::open(&path).unwrap());
        let seen = look_through(&path, Duration::ZERO, 3).unwrap();
        assert!(matches!(seen, Seen::Tables(0, 10..)), "{seen:?}");
    }
}
