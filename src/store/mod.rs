//! The only room that knows SQL: one SQLite file with all that must outlive the process.
//!
//! [`Store`] is the tick. Its transaction opens at the first write, so a tick that only reads costs no statement more;
//! [`Store::commit`] ends it without waiting for the disk and numbers it; [`disk::Disk`], on a helper thread, says which
//! numbers are durable. Each stanza runs in a [`Store::savepoint`], which exists in SQLite only once something is
//! written in it. Tests run the same code on [`Store::in_memory`].
//!
//! Around it a file per kind of data, with free functions: `roster::item(&store, &account, &contact)`. They take bare
//! JIDs of accounts and give out plain values; stanzas and other XML go in and come out as text.
//!
//! Serves every room below. Invariant: nobody else sees SQL, a connection or a row number that means anything outside.

pub mod account;
pub mod backup;
pub mod blocks;
pub mod component_data;
pub mod directory;
pub mod disk;
mod error;
pub mod imported;
pub mod invite;
pub mod last;
pub mod meta;
mod migrate;
pub mod motd;
pub mod offline;
pub mod plain_password;
pub mod privacy;
pub mod private;
pub mod registration;
pub mod remote_queue;
pub mod roster;
pub mod setting;
pub mod soundness;
pub mod vcard;

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row};

use crate::xmpp::BareJid;

use error::Cause;
pub use error::Error;

/// How long a tool, or a server that starts, waits for somebody else's write lock.
const BUSY: Duration = Duration::from_secs(5);

/// Kibibytes of database pages kept in memory.
const CACHE_KIB: i64 = 32 * 1024;

/// Prepared statements kept: more than the store has, so that none is prepared twice.
const STATEMENTS: usize = 256;

/// The number of a tick that wrote: grows by one with each such commit, from 1 at each start of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

/// How much of one kind of data an account may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries (messages, elements).
    pub count: u64,
    /// Bytes of XML text, all entries together.
    pub bytes: u64,
}

/// How much room the database takes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The database itself.
    pub database_bytes: u64,
    /// The log beside it, which holds the latest commits.
    pub log_bytes: u64,
}

/// The database, and the tick that is running on it.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// Which file had that name when it was opened, by device and inode.
    file: Option<(u64, u64)>,
    /// The last commit that wrote.
    tick: Tick,
    /// Has this tick's transaction begun?
    open: bool,
    /// Did SQLite give the transaction up? Then nothing of this tick may be committed.
    lost: bool,
    /// Savepoints the code is in, and how many of them SQLite knows: those in which something was written.
    savepoints: usize,
    savepoints_made: usize,
    /// Has no tick been kept since the last one was lost?
    refuses: bool,
    /// Why this tick's transaction could not begin, mostly for somebody else's lock: it is not tried again in this tick.
    unbegun: Option<String>,
    /// Closed by [`disk::Disk`] while it writes, and for a moment when the log must start again.
    gate: disk::Gate,
}

impl Store {
    /// Opens the database, makes it where none is (mode 0640), or brings it up to date.
    ///
    /// # Errors
    /// When the file cannot be written, is not ours, is from a newer release or is damaged.
    pub fn open(path: &Path) -> Result<Store, Error> {
        Store::open_in_steps(path, &mut |_| ControlFlow::Continue(()))
    }

    /// The same; `pace` hears of the copy that is made of a database before it is brought up to date, and can end that.
    ///
    /// # Errors
    /// Those of [`Store::open`], and when it was ended.
    pub fn open_in_steps(path: &Path, pace: backup::Pace<'_>) -> Result<Store, Error> {
        make_file(path).map_err(|cause| Error::new(path, cause))?;
        // Not SQLITE_OPEN_URI: a path is a path, whatever characters are in it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        let connection = connection.map_err(|error| Error::new(path, Cause::Sql(error)))?;
        let mode: Result<String, _> = connection
            .busy_timeout(BUSY)
            .and_then(|()| connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)));
        match mode.map_err(|error| Error::new(path, Cause::Sql(error)))? {
            mode if mode == "wal" => Store::prepared(connection, path, migrate::TODAY, pace),
            mode => Err(Error::new(path, Cause::NoWal(mode))),
        }
    }

    /// A database in memory, for tests.
    ///
    /// # Errors
    /// Out of memory, at most.
    pub fn in_memory() -> Result<Store, Error> {
        let path = Path::new(":memory:");
        let connection = Connection::open_in_memory().map_err(|error| Error::new(path, Cause::Sql(error)))?;
        Store::prepared(connection, path, migrate::TODAY, &mut |_| ControlFlow::Continue(()))
    }

    /// A database to read, as it is at this moment however long that takes. Nothing is written, not even a newer format.
    ///
    /// # Errors
    /// When the file cannot be read, is not ours, or of another release's format.
    pub fn open_to_read(path: &Path) -> Result<Store, Error> {
        let error = |cause| Error::new(path, cause);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|sql| error(Cause::Sql(sql)))?;
        let begun = connection.busy_timeout(BUSY).and_then(|()| {
            connection.execute_batch(
                "PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0; BEGIN; SELECT 1 FROM sqlite_schema;",
            )
        });
        begun.map_err(|sql| error(Cause::Sql(sql)))?;
        match migrate::format(&connection).map_err(error)? {
            migrate::VERSION => Ok(Store::new(connection, path)),
            found => Err(error(Cause::Older { found, known: migrate::VERSION })),
        }
    }

    fn prepared(
        mut connection: Connection,
        path: &Path,
        release: migrate::Release,
        pace: backup::Pace<'_>,
    ) -> Result<Store, Error> {
        // Nothing in the loop waits for the disk: no sync at commit, no checkpoint; both are disk.rs's.
        // Savepoints keep their journal in memory, never in a file. What is deleted is wiped (Debian's SQLite does so anyway).
        connection
            .execute_batch(&format!(
                "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = ON;
                 PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA secure_delete = ON;"
            ))
            .map_err(Cause::Sql)
            .and_then(|()| {
                // A database in memory is never of an older release.
                migrate::migrate(&mut connection, release, &mut |found, wanted| copy_before(path, found, wanted, pace))
            })
            .map_err(|cause| Error::new(path, cause))?;
        Ok(Store::new(connection, path))
    }

    fn new(connection: Connection, path: &Path) -> Store {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Store {
            connection,
            path: path.to_owned(),
            file: id(path),
            tick: Tick(0),
            open: false,
            lost: false,
            savepoints: 0,
            savepoints_made: 0,
            refuses: false,
            unbegun: None,
            gate: disk::Gate::default(),
        }
    }

    /// Where the database is; `:memory:` for one in memory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much room it takes on the disk; nothing for one in memory.
    pub fn size(&self) -> Size {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        Size { database_bytes: bytes(&self.path), log_bytes: bytes(&wal_path(&self.path)) }
    }

    /// Has the open file lost its name? It was moved, removed or replaced: what is kept in it the next start does not find.
    pub fn displaced(&self) -> Option<Error> {
        (id(&self.path) != self.file).then(|| self.error(Cause::Displaced))
    }

    /// From now on nobody else's lock is waited for long: the loop of a server begins.
    ///
    /// # Errors
    /// None that SQLite is known to have.
    pub fn wait_briefly(&self) -> Result<(), Error> {
        self.connection.busy_handler(Some(disk::wait_for_loop)).map_err(|error| self.error(Cause::Sql(error)))
    }

    /// Is there no file, and nothing to be kept?
    pub fn is_in_memory(&self) -> bool {
        self.path == Path::new(":memory:")
    }

    /// Ends the tick: what it wrote becomes one commit with the next number; `None` when it wrote nothing.
    /// The commit is with the operating system then (it survives the process), not yet on disk: see [`disk::Disk::sync`].
    ///
    /// # Errors
    /// Nothing of the tick is kept then, and nothing it promised may leave the server.
    pub fn commit(&mut self) -> Result<Option<Tick>, Error> {
        debug_assert_eq!(self.savepoints, 0, "a tick ends outside of savepoints");
        if !self.open {
            return Ok(None);
        }
        self.refuses = true;
        if self.lost || self.connection.is_autocommit() {
            self.rollback();
            return Err(self.error(Cause::TickLost));
        }
        if let Err(error) = self.run("COMMIT") {
            self.rollback();
            return Err(error);
        }
        self.refuses = false;
        self.end();
        self.tick = Tick(self.tick.0.saturating_add(1));
        Ok(Some(self.tick))
    }

    /// Why nothing could be written in this tick, if somebody tried: another process holds the database, say. Who tried was
    /// told so, and nothing is lost with the tick; before its commit it is asked for once.
    pub fn take_unbegun(&mut self) -> Option<String> {
        self.unbegun.take()
    }

    /// Was the last tick that wrote lost, as on a full disk? Who can wait with what it writes does, for what others say in
    /// the same tick would be lost with it.
    pub fn refuses(&self) -> bool {
        self.refuses
    }

    /// Makes all that is committed durable. Takes as long as the disk does: for tools; the server has [`disk::Disk`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), Error> {
        match std::fs::File::open(wal_path(&self.path)).and_then(|log| log.sync_data()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.error(Cause::Io("sync the write-ahead log", error)))
            }
            _ => Ok(()),
        }
    }

    /// Lets the log start again, if nobody else has the database open: whoever closes it last copies the log into it, and
    /// that one is alone. Else nothing happens; a server that runs cares for the log. For tools that write much.
    ///
    /// # Errors
    /// When the disk fails. Then this store is of no more use.
    pub fn shorten_log(&mut self) -> Result<(), Error> {
        if self.open || self.is_in_memory() || self.size().log_bytes < disk::WalBounds::default().soft {
            return Ok(());
        }
        let (path, tick) = (self.path.clone(), self.tick);
        drop(std::mem::replace(self, Store::in_memory()?));
        *self = Store { tick, ..Store::open(&path)? };
        Ok(())
    }

    /// Ends the tick and forgets what it wrote.
    pub fn rollback(&mut self) {
        if self.open && !self.connection.is_autocommit() {
            // It fails only when SQLite has rolled back already, which is what is wanted.
            let _ = self.run("ROLLBACK");
        }
        self.end();
    }

    /// The process dies here: what was not committed is gone. For tests that then build a new server on this store.
    pub fn crash(&mut self) {
        self.rollback();
        self.savepoints = 0;
    }

    fn end(&mut self) {
        self.open = false;
        self.lost = false;
        self.unbegun = None;
        self.savepoints_made = 0;
    }

    /// Runs `work`; when it fails or panics, what it wrote is undone, and only that. May be nested.
    /// As long as `work` only reads, SQLite hears nothing of it.
    ///
    /// # Errors
    /// Those of `work`, and of the database when it cannot keep what `work` wrote.
    pub fn savepoint<T, E: From<Error>>(&mut self, work: impl FnOnce(&mut Store) -> Result<T, E>) -> Result<T, E> {
        let outer = self.savepoints;
        self.savepoints = outer.saturating_add(1);
        // Unwind-safe: whatever `work` left half-done in the database is rolled back here.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self)));
        self.savepoints = outer;
        let closed = if self.savepoints_made > outer {
            self.savepoints_made = outer;
            let kept = matches!(outcome, Ok(Ok(_)));
            self.close_savepoint(kept)
        } else {
            Ok(())
        };
        match outcome {
            Ok(Ok(value)) => closed.map(|()| value).map_err(E::from),
            Ok(Err(error)) => Err(error),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// A savepoint that cannot be closed as it should takes the whole tick with it: half of a stanza is not kept.
    fn close_savepoint(&mut self, kept: bool) -> Result<(), Error> {
        let closed = match kept {
            true => self.run("RELEASE stanza"),
            false => self.run("ROLLBACK TO stanza").and_then(|()| self.run("RELEASE stanza")),
        };
        self.lost |= closed.is_err();
        closed
    }

    /// Before each write: the tick's transaction, and the savepoints the code is in, made now if they are not yet.
    fn begin(&mut self) -> Result<(), Error> {
        if self.unbegun.is_some() {
            // Each further write would wait as long as the first one did.
            return Err(self.error(Cause::TickLost));
        }
        if !self.open {
            drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
            if let Err(error) = self.run("BEGIN IMMEDIATE") {
                (self.refuses, self.unbegun) = (true, Some(error.to_string()));
                return Err(error);
            }
            self.open = true;
        } else if self.connection.is_autocommit() {
            // After some failures (a full disk) SQLite rolls back on its own. Going on would commit each statement
            // for itself, without the first half of the tick.
            self.lost = true;
        }
        if self.lost {
            return Err(self.error(Cause::TickLost));
        }
        while self.savepoints_made < self.savepoints {
            self.run("SAVEPOINT stanza")?;
            self.savepoints_made = self.savepoints_made.saturating_add(1);
        }
        Ok(())
    }

    fn run(&self, sql: &'static str) -> Result<(), Error> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        done.map(drop).map_err(|error| self.error(Cause::Sql(error)))
    }

    /// Writes; returns how many rows changed.
    fn write(&mut self, sql: &'static str, params: impl Params) -> Result<usize, Error> {
        self.begin()?;
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params));
        done.map_err(|error| self.error(Cause::Sql(error)))
    }

    /// Writes, and reads the one row that `RETURNING` gives, if any.
    fn write_returning<T>(
        &mut self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        self.begin()?;
        self.one(sql, params, read)
    }

    /// Writes a row that hangs on an account, whose number the statement looks up: no row means no account.
    fn write_for(&mut self, account: &BareJid, sql: &'static str, params: impl Params) -> Result<(), Error> {
        match self.write(sql, params)? {
            0 => Err(self.error(Cause::NoAccount(account.clone()))),
            _ => Ok(()),
        }
    }

    /// Reads at most one row.
    fn one<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        let row = self.connection.prepare_cached(sql).and_then(|mut statement| statement.query_row(params, read));
        row.optional().map_err(|error| self.error(Cause::Sql(error)))
    }

    /// Reads all rows.
    fn all<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let rows = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, read)?.collect::<rusqlite::Result<Vec<T>>>());
        rows.map_err(|error| self.error(Cause::Sql(error)))
    }

    fn error(&self, cause: Cause) -> Error {
        Error::new(&self.path, cause)
    }
}

/// A copy of the data in their old form.
fn copy_before(path: &Path, found: i64, wanted: i64, pace: backup::Pace<'_>) -> Result<(), Cause> {
    log::info!(target: "-internal", "the database changes from format {found} to {wanted}; it is copied first");
    let why = format!("format-{found}-before-format-{wanted}");
    let file = backup::automatic(path, &why, pace).map_err(|error| Cause::NoCopy(Box::new(error)))?;
    log::info!(target: "-internal", "a copy of the database as it was in format {found} is {}", file.display());
    Ok(())
}

/// The number of the account with host `?1` and localpart `?2`, as a term inside a statement.
macro_rules! account_id {
    () => {
        "(SELECT id FROM account WHERE host = ?1 AND localpart = ?2)"
    };
}
use account_id;

/// Host and localpart, the key of an account. A host's own JID has no localpart and is nobody's account.
fn key(account: &BareJid) -> (&str, &str) {
    (account.domain().as_str(), account.node().map_or("", |node| node.as_str()))
}

/// SQLite's integers are signed; times, counts and sizes never get that far.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Which file has this name, if any.
fn id(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}

/// The file whose name has this at its end: SQLite's own beside a database are `-wal`, `-shm` and `-journal`.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The write-ahead log of a database.
fn wal_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// Makes an empty file with the right mode before SQLite makes one with a wider one, and narrows an old one. The log
/// and the index beside it get the same mode from SQLite.
fn make_file(path: &Path) -> Result<(), Cause> {
    const MODE: u32 = 0o640;
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // By path: to open and close the file would drop the locks that SQLite holds on it in this process.
            let mode = path.metadata().map_err(|error| Cause::Io("read the file's mode", error))?.permissions().mode();
            if mode & 0o777 & !MODE != 0 {
                std::fs::set_permissions(path, Permissions::from_mode(mode & MODE))
                    .map_err(|error| Cause::Io("set the file's mode", error))?;
            }
            Ok(())
        }
        Err(error) => Err(Cause::Io("make the file", error)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
