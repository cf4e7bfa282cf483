//! The slow half of the store, for helper threads: it makes commits durable and keeps the write-ahead log (WAL) short.
//!
//! **A commit is durable once a [`Disk::sync`] that began after it has returned.** Why:
//! 1. SQLite's COMMIT in WAL mode hands every changed page to the kernel with `write` on the `-wal` file, the one that
//!    marks the commit last, before it returns. It keeps no buffer of its own. (So a commit survives `kill -9` at once.)
//! 2. `fdatasync` on any descriptor of that file writes all of the file's data the kernel holds at that moment, by
//!    whomever it was written, and what is needed to read it back. So it covers every commit that returned before it
//!    began. After a crash SQLite replays the log up to the last commit that is whole.
//! 3. Between commit and sync the log may have begun again from its start, over the commit's pages. SQLite does that only
//!    when a checkpoint has copied all of the log into the database *and synced the database* (with
//!    `synchronous=NORMAL`, on the connection that checkpoints: this one). Then the commit is durable in the database.
//! 4. When the log begins again, SQLite syncs its new header before any page follows, or else old pages behind the old
//!    header could come back to life over a newer database. This is the one sync that SQLite makes in a commit; see
//!    [`Disk::checkpoint`] for how it is kept out of the loop.
//! 5. The files' names are durable: [`Disk::open`] syncs the directory, and the log is not deleted while this connection
//!    is open.
//!
//! Both calls take `&self`, so two threads may share a `Disk`: a long checkpoint then holds up no sync.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{Cause, Error};
use super::{Store, migrate, wal_path};

/// How long the WAL may become, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct WalBounds {
    /// At this length, and at each multiple of it, [`Disk::checkpoint`] copies the log into the database, without
    /// getting into the loop's way.
    pub soft: u64,
    /// From here on the loop is held at the start of its next transaction until the log starts again: it writes so much
    /// that no pause was ever long enough.
    pub hard: u64,
}

/// Small enough to be replayed in a fraction of a second at start; large enough that busy pages are copied once for
/// hundreds of ticks.
impl Default for WalBounds {
    fn default() -> WalBounds {
        WalBounds { soft: 16 << 20, hard: 128 << 20 }
    }
}

/// What a call of [`Disk::checkpoint`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing: the log is short.
    NotNeeded,
    /// Somebody wrote or read meanwhile, so the log goes on; what could be copied is in the database.
    Partial,
    /// All is in the database, and the log starts again from its beginning.
    Restarted,
}

/// Held by [`Disk`] while a [`Store`] is to begin no transaction. SQLite's own locks are polled for, and a loop that
/// begins one transaction right after the other would win every time. Nor does a loop wait long at those: here it does, for
/// a write of [`Disk`]'s that the disk takes its time for.
pub(super) type Gate = Arc<Mutex<()>>;

/// The disk's side of an open database. Drop it before the [`Store`].
pub struct Disk {
    path: PathBuf,
    wal: File,
    failed: AtomicBool,
    checkpoints: Mutex<Checkpoints>,
}

struct Checkpoints {
    connection: Connection,
    gate: Gate,
    bounds: WalBounds,
    /// All of the log is in the database; it can start again as soon as this connection gets to write.
    complete: bool,
    /// The length at which to copy next: the soft bound, and one more for each time the log could not start again.
    next_bytes: u64,
    /// The length at which the gate is closed next: the hard bound, and one more for each time that did not help (a
    /// backup that reads for minutes), so that the loop is not held again and again.
    force_bytes: u64,
}

/// How long one call waits for a transaction of the loop or of a tool to end.
const BUSY: Duration = Duration::from_millis(20);
/// How often it looks.
const BUSY_STEP: Duration = Duration::from_micros(100);
/// How many times one call copies what the loop has appended meanwhile.
const ROUNDS: usize = 3;

impl Disk {
    /// The helper's side of this database.
    ///
    /// # Errors
    /// When the files cannot be opened or their directory not synced; so for a store in memory.
    pub fn open(store: &Store, bounds: WalBounds) -> Result<Disk, Error> {
        let path = store.path();
        let error = |cause| Error::new(path, cause);
        // Its own descriptor on the log is harmless: SQLite's locks are on the two other files, which must never be
        // opened here (closing them would drop the locks of the whole process).
        let connection = connect(path).map_err(|sql| error(Cause::Sql(sql)))?;
        let wal = File::open(wal_path(path)).map_err(|io| error(Cause::Io("open the write-ahead log", io)))?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|io| error(Cause::Io("sync the directory", io)))?;
        let gate = Arc::clone(&store.gate);
        let checkpoints = Checkpoints {
            connection,
            gate,
            bounds,
            complete: false,
            next_bytes: bounds.soft,
            force_bytes: bounds.hard,
        };
        Ok(Disk { path: path.to_owned(), wal, failed: AtomicBool::new(false), checkpoints: Mutex::new(checkpoints) })
    }

    /// Makes all commits durable that returned before this call. Takes as long as the disk does.
    ///
    /// # Errors
    /// When the disk fails. Then nobody knows what is on it: the kernel forgets pages it could not write, so a later
    /// success would mean nothing, and each later call fails too. The server has to start anew, from what is there.
    pub fn sync(&self) -> Result<(), Error> {
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::new(&self.path, Cause::SyncFailedBefore));
        }
        let synced = match self.wal.metadata() {
            Ok(metadata) if metadata.nlink() == 0 => Err(Cause::WalRemoved),
            _ => self.wal.sync_data().map_err(|error| Cause::Io("sync the write-ahead log", error)),
        };
        synced.map_err(|cause| {
            self.failed.store(true, Ordering::Release);
            Error::new(&self.path, cause)
        })
    }

    /// Copies the log into the database when it is long, and starts it again when all of it is copied. To be called
    /// after syncs; mostly it finds nothing to do, in two small reads.
    ///
    /// The log can start again only when it is copied to its end and nobody has appended since. Whoever writes next then
    /// syncs the new header (4 above): this connection hurries to be it, with a write of one page that changes
    /// nothing, so that the loop does not wait for the disk. A loop that never pauses for the length of a
    /// checkpoint would let the log grow for ever; beyond the hard bound it is held once while the little is copied that
    /// the checkpoint before has left.
    ///
    /// That write has another reason. SQLite before 3.51.3 can damage the database when a checkpoint with nothing left to
    /// copy meets a writer who starts the log again ("WAL-reset bug"). So no checkpoint begins here after a complete one
    /// before this connection has written: then there is something to copy, and the log cannot start again.
    ///
    /// # Errors
    /// When the disk fails, or is full. Nothing is lost then; the log grows until a later call succeeds.
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        let done = self.checkpoints().run(&self.wal);
        done.map_err(|error| Error::new(&self.path, Cause::Sql(error)))
    }

    fn checkpoints(&self) -> MutexGuard<'_, Checkpoints> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkpoints {
    fn run(&mut self, wal: &File) -> rusqlite::Result<Checkpoint> {
        if !self.complete && !reaches(wal, self.next_bytes) {
            return Ok(Checkpoint::NotNeeded);
        }
        // What the loop appends during one round is less than what the round copies, so the next one is shorter and
        // likelier to find a pause.
        for _ in 0..ROUNDS {
            if !self.complete {
                self.copy("PRAGMA wal_checkpoint(PASSIVE)")?;
            }
            let gate = Arc::clone(&self.gate);
            let _closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
            if self.restart(wal)? {
                return Ok(Checkpoint::Restarted);
            }
        }
        self.next_bytes = self.next_bytes.saturating_add(self.bounds.soft);
        if !reaches(wal, self.force_bytes) {
            return Ok(Checkpoint::Partial);
        }
        let gate = Arc::clone(&self.gate);
        let _closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.complete {
            self.copy("PRAGMA wal_checkpoint(RESTART)")?;
        }
        if self.restart(wal)? {
            return Ok(Checkpoint::Restarted);
        }
        self.force_bytes = self.force_bytes.saturating_add(self.bounds.hard);
        Ok(Checkpoint::Partial)
    }

    fn copy(&mut self, sql: &str) -> rusqlite::Result<()> {
        let frames = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (in_log, copied) = self.connection.query_row(sql, [], frames)?;
        self.complete = in_log > 0 && copied == in_log;
        Ok(())
    }

    /// With the gate closed, when all is copied: the write of one page. Did it find the log as it was, and so start it again? If somebody
    /// had appended, it is appended too, and the next checkpoint has something to copy.
    fn restart(&mut self, wal: &File) -> rusqlite::Result<bool> {
        if !self.complete {
            return Ok(false);
        }
        match self.connection.pragma_update(None, "user_version", migrate::VERSION) {
            Ok(()) => self.complete = false,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return Ok(false),
            Err(error) => return Err(error),
        }
        let restarted = !reaches(wal, self.bounds.soft);
        if restarted {
            self.next_bytes = self.bounds.soft;
            self.force_bytes = self.bounds.hard;
        }
        Ok(restarted)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait))?;
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 16;")?;
    // SQLite opens the log at the first read.
    connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    Ok(connection)
}

/// How long the loop waits for somebody else's write lock, in each tick that writes: meanwhile every user stands still. A
/// tool of ours holds it for one account at a time, and [`Disk`] behind the gate.
pub(super) const LOOP_BUSY: Duration = Duration::from_millis(50);
/// How often the loop looks: a tool that writes one account after the other leaves it moments.
pub(super) const LOOP_BUSY_STEP: Duration = Duration::from_micros(200);

/// The loop's busy handler: SQLite's own looks ever more seldom.
pub(super) fn wait_for_loop(tries: i32) -> bool {
    thread::sleep(LOOP_BUSY_STEP);
    u32::try_from(tries).is_ok_and(|tries| LOOP_BUSY_STEP.saturating_mul(tries) < LOOP_BUSY)
}

/// SQLite's own busy handler sleeps for milliseconds, with the loop held meanwhile.
fn wait(tries: i32) -> bool {
    thread::sleep(BUSY_STEP);
    u32::try_from(tries).is_ok_and(|tries| BUSY_STEP.saturating_mul(tries) < BUSY)
}

/// Is the log at least this long since it last started? The size of the file does not tell: it is kept when the log starts
/// again, since to write over old blocks is quicker than to add new ones. But the header and every frame carry the
/// salt of their round (the WAL file format, §4.1 of SQLite's fileformat2), so it is enough to look at one frame.
fn reaches(wal: &File, bytes: u64) -> bool {
    const HEADER: u64 = 32;
    const FRAME_HEADER: u64 = 24;
    let mut header = [0; HEADER as usize];
    if wal.read_exact_at(&mut header, 0).is_err() {
        return false;
    }
    let [_, _, _, _, _, _, _, _, p1, p2, p3, p4, _, _, _, _, salt @ .., _, _, _, _, _, _, _, _] = header;
    let frame_bytes = u64::from(u32::from_be_bytes([p1, p2, p3, p4])).saturating_add(FRAME_HEADER);
    let frame = (bytes / frame_bytes).max(1).saturating_sub(1);
    let mut frame_salt = [0; 8];
    let at = frame.saturating_mul(frame_bytes).saturating_add(HEADER + 8);
    wal.read_exact_at(&mut frame_salt, at).is_ok() && frame_salt == salt
}

#[cfg(test)]
mod tests;
