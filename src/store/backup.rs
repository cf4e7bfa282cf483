//! Copies of the database: made while the server runs, checked, kept for a while, and put back.
//!
//! A copy is made by SQLite's online backup on a connection of its own, some pages at a time, inside one read
//! transaction: it is the database as it was at one moment, however much is written meanwhile, and it never has to begin
//! again. All that the server notices is that its log cannot start again before the copy is done. What paces the copy and
//! tells how far it is, is the caller's: it is asked after each [`STEP_PAGES`].
//!
//! A copy has its name only when it is whole: it is made under another name, checked, synced, then renamed. One that was
//! interrupted leaves a file `.NAME.partial`, which the next one replaces; who is at work on one holds a lock on it, so of two
//! copies to one file at once the second is refused.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{Cause, Error};
use super::{beside, migrate, unsigned, wal_path};

mod automatic;

pub use automatic::{DIRECTORY, KEPT, automatic, has_copies};

/// Pages copied at a time: a megabyte, some milliseconds of reading and writing.
pub const STEP_PAGES: i32 = 256;
/// What a file is counted in where its pages are not known: a page as SQLite makes it.
const PAGE_BYTES: u64 = 4096;
/// A copy is for whoever made it, as an export is: it has what passwords can be guessed with.
const MODE: u32 = 0o600;
/// The database itself is for the server's group, too.
const DATABASE_MODE: u32 = 0o640;
/// How a copy is opened: the directory may be somebody else's, who must not make root write elsewhere.
const AS_IT_IS: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX).union(OpenFlags::SQLITE_OPEN_NOFOLLOW);
/// How many copies for the same reason may be told apart by a number.
const NAMES_MAX: usize = 1_000;

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pages that are copied.
    pub done: u64,
    /// Pages in all.
    pub all: u64,
}

/// Asked after each step; it may wait, and it may end the work.
pub type Pace<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// What a sound copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The format of its tables.
    pub format: i64,
    /// Its accounts, over all hosts.
    pub accounts: u64,
    /// The length of the file.
    pub bytes: u64,
}

/// What [`restore`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is in place now.
    pub facts: Facts,
    /// Where the database is that was in place before, if there was one.
    pub aside: Option<PathBuf>,
}

/// Copies the database of a server, running or not, into a file. A file that is there is replaced only if `overwrite`.
///
/// For tools: of a server that is down, a disk that nothing can be written to is read all the same.
///
/// # Errors
/// The file is there, cannot be written, or the copy is not sound; then there is no new file. Also when `pace` ended it.
pub fn make(database: &Path, file: &Path, overwrite: bool, pace: Pace<'_>) -> Result<Facts, Error> {
    copy_to(database, file, overwrite, Reading::Whatever, pace)
}

/// How the database is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// By SQLite alone, which may have it open elsewhere in this process: to open the file and close it again would drop
    /// the locks of all.
    Beside,
    /// As bytes, too, where SQLite cannot.
    Whatever,
    /// A copy, which is one file without a log.
    Copy,
}

fn copy_to(database: &Path, file: &Path, overwrite: bool, how: Reading, pace: Pace<'_>) -> Result<Facts, Error> {
    // To rename a copy over it would take the database from under the server.
    let id = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    if id(file).is_some_and(|found| [id(database), id(&wal_path(database))].contains(&Some(found))) {
        return Err(Error::new(file, Cause::Itself));
    }
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    if ["-wal", "-shm", "-journal"].iter().any(|end| name.ends_with(end.as_bytes())) {
        return Err(Error::new(file, Cause::PartOfDatabase));
    }
    if let Ok(found) = file.symlink_metadata() {
        // A file in the place of a link is not what was asked for, and nobody makes a device again.
        let why = match no_file(&found) {
            _ if found.is_symlink() => Some(Cause::Link(file.read_link().unwrap_or_default())),
            Some(what) => Some(Cause::NotAFile(what)),
            None if !overwrite => Some(Cause::Exists),
            // A slip of the pen takes nobody's keys or logs.
            None => (found.len() > 0 && !is_copy(file)).then_some(Cause::NoCopyThere),
        };
        if let Some(why) = why {
            return Err(Error::new(file, why));
        }
    }
    let partial = partial_path(file).map_err(|io| Error::new(file, Cause::Write("find the directory", io)))?;
    let _held = begin(&partial, file)?;
    let made = copy(database, &partial, how, pace)
        .and_then(|()| finish(&partial))
        .and_then(|facts| put(&partial, file, overwrite).map(|()| facts));
    if made.is_err() {
        discard(&partial);
    }
    made
}

/// What there is in the place of a file, if it is none.
fn no_file(found: &fs::Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    Some(match () {
        () if kind.is_file() => return None,
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    })
}

/// Half a copy is of no use to anybody.
fn discard(partial: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(partial, end));
    }
}

/// Is this file a sound database of ours, that this release can read?
///
/// # Errors
/// It is not; the error says why.
pub fn verify(file: &Path) -> Result<Facts, Error> {
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let connection = connection.map_err(|error| Error::new(file, Cause::Sql(error)))?;
    let format = migrate::format(&connection).map_err(|cause| Error::new(file, cause))?;
    let sql = |error| Error::new(file, Cause::Sql(error));
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sql)?;
    if found != "ok" {
        return Err(Error::new(file, Cause::Unsound(found)));
    }
    let count = connection.query_row("SELECT count(*) FROM account", [], |row| row.get(0)).map_err(sql)?;
    let bytes = file.metadata().map_err(|error| Error::new(file, Cause::Io("look at the file", error)))?.len();
    Ok(Facts { format, accounts: unsigned(count), bytes })
}

/// Puts a copy in the place of the database of a server that is stopped. The database that was there is kept under
/// another name, with `label` in it; at every moment one of the two is in place, whole.
///
/// # Errors
/// The copy is not sound or of a newer release, somebody has the database open, or the files cannot be written. Then the
/// database is as it was.
pub fn restore(file: &Path, database: &Path, label: &str, pace: Pace<'_>) -> Result<Restored, Error> {
    // A pipe is not waited for.
    let found = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file);
    let found = found.and_then(|opened| opened.metadata()).map_err(|io| Error::new(file, Cause::Read(io)))?;
    if let Some(what) = no_file(&found) {
        return Err(Error::new(file, Cause::NotAFile(what)));
    }
    verify(file).map_err(|error| error.of_backup())?;
    let there = database.symlink_metadata().is_ok();
    if there {
        refuse_if_open(database)?;
    }
    let partial = partial_path(database).map_err(|io| Error::new(database, Cause::Write("find the directory", io)))?;
    let held = begin(&partial, database)?;
    let open = || held.set_permissions(Permissions::from_mode(DATABASE_MODE));
    let facts = copy(file, &partial, Reading::Copy, pace)
        .and_then(|()| finish(&partial))
        .and_then(|facts| open().map(|()| facts).map_err(|io| Error::new(&partial, Cause::Write("open the file", io))))
        .and_then(|facts| own(&partial, database).map(|()| facts))
        .inspect_err(|_| discard(&partial))?;
    // The last moment to think better of it.
    let all = facts.bytes;
    if pace(Progress { done: all, all }).is_break() {
        discard(&partial);
        return Err(Error::new(database, Cause::Stopped));
    }
    let swapped = swap(&partial, database, label, there);
    if swapped.is_err() {
        discard(&partial);
    }
    Ok(Restored { facts, aside: swapped? })
}

fn swap(partial: &Path, database: &Path, label: &str, there: bool) -> Result<Option<PathBuf>, Error> {
    let label = &free_label(database, label);
    if !there {
        set_log_aside(database, label)?;
        put(partial, database, false)?;
        return Ok(None);
    }
    fold_log(database)?;
    let aside = aside_path(database, label);
    let old = OpenOptions::new().read(true).write(true).open(database);
    let old = old.map_err(|error| Error::new(database, Cause::Io("open the file", error)))?;
    // From here on nobody can begin to use it.
    lock(&old, database)?;
    set_log_aside(database, label)?;
    // A second name first: there is no moment without a database.
    let linked = fs::hard_link(database, &aside);
    let linked = linked.map_err(|error| Error::new(&aside, Cause::Io("keep the old database under this name", error)));
    if let Err(error) = linked.and_then(|()| put(partial, database, true)) {
        // What is under the second name would be the database itself, and whoever restored it would change both.
        if is_named(&old, database) {
            let _ = fs::remove_file(&aside);
            let _ = fs::rename(wal_path(&aside), wal_path(database));
        }
        return Err(error);
    }
    drop(old);
    Ok(Some(aside))
}

fn aside_path(database: &Path, label: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(format!(".before-restore-{label}"));
    PathBuf::from(path)
}

/// Two restores may come within a second, which is all that a label tells.
fn free_label(database: &Path, label: &str) -> String {
    let is_free = |label: &String| {
        let aside = aside_path(database, label);
        aside.symlink_metadata().is_err() && wal_path(&aside).symlink_metadata().is_err()
    };
    let labels = (2..NAMES_MAX).map(|number| format!("{label}-{number}"));
    std::iter::once(label.to_owned()).chain(labels).find(is_free).unwrap_or_else(|| label.to_owned())
}

/// `.NAME.partial` beside the file; no part of the path is a link, for none is followed.
fn partial_path(file: &Path) -> io::Result<PathBuf> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".partial");
    Ok(directory.canonicalize()?.join(name))
}

/// Makes the file that a copy is written to, empty, in the place of one that was left behind. What is returned holds it, and
/// must live as long as its name is used. `file` is the name that the copy gets in the end.
///
/// Nobody removes a file that another holds: who removes one has its lock, and saw after that that the name is still its.
fn begin(partial: &Path, file: &Path) -> Result<File, Error> {
    let written = |io| Error::new(partial, Cause::Write("write the file", io));
    let begun = || Error::new(file, Cause::Begun);
    let is_free = |found: &File| hold(found) && is_named(found, partial);
    let mut options = OpenOptions::new();
    // Nobody's pipe is waited for, and nobody's link followed.
    options.read(true).write(true).mode(MODE).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let left = options.open(partial);
    match &left {
        Ok(left) if !is_free(left) => return Err(begun()),
        Err(io) if io.kind() == io::ErrorKind::NotFound => {}
        Err(io) if io.kind() == io::ErrorKind::PermissionDenied => return Err(written(io.kind().into())),
        _ => fs::remove_file(partial).map_err(written)?,
    }
    let made = options.create_new(true).open(partial).map_err(|io| match io.kind() {
        io::ErrorKind::AlreadyExists => begun(),
        _ => written(io),
    })?;
    if !is_free(&made) {
        return Err(begun());
    }
    // A log that was left behind is none of this one's.
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(beside(partial, end));
    }
    Ok(made)
}

/// Locks a byte that SQLite, which locks others, leaves alone (its file format, §1.3.1 "lock-byte page"). Has nobody else it?
/// On a file system without locks everybody may have it.
fn hold(file: &File) -> bool {
    let wanted = lock_of(libc::F_WRLCK, SHARED_FIRST + SHARED_SIZE, 1);
    !matches!(fcntl(file, FcntlArg::F_OFD_SETLK(&wanted)), Err(Errno::EAGAIN | Errno::EACCES))
}

/// Has this file that name still?
fn is_named(file: &File, path: &Path) -> bool {
    let id = |found: io::Result<fs::Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    id(file.metadata()).is_some_and(|own| id(path.symlink_metadata()) == Some(own))
}

/// The pages of one database into a new file, which [`begin`] made.
fn copy(database: &Path, partial: &Path, how: Reading, pace: Pace<'_>) -> Result<(), Error> {
    let source = match opened(database, how) {
        Ok(source) => source,
        Err(Cause::Sql(sql)) if how == Reading::Whatever && wants_to_write(&sql) => {
            return copy_files(database, partial, pace);
        }
        Err(cause) => return Err(Error::new(database, cause)),
    };
    migrate::format(&source).map_err(|cause| Error::new(database, cause))?;
    let written = |cause| Error::new(partial, cause);
    let mut target = Connection::open_with_flags(partial, AS_IT_IS).map_err(|sql| written(Cause::Sql(sql)))?;
    // It is synced as a whole, and thrown away if anything goes wrong.
    let quick = target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;");
    quick.map_err(|sql| written(Cause::Sql(sql)))?;
    let backup = Backup::new(&source, &mut target).map_err(|sql| written(Cause::Sql(sql)))?;
    loop {
        let step = backup.step(STEP_PAGES).map_err(|sql| written(Cause::Sql(sql)))?;
        let now = backup.progress();
        let (all, left) = (unsigned(now.pagecount.into()), unsigned(now.remaining.into()));
        let is_broken = pace(Progress { done: all.saturating_sub(left), all }).is_break();
        if is_broken {
            return Err(written(Cause::Stopped));
        }
        if step == StepResult::Done {
            return Ok(());
        }
    }
}

/// The database, read as it is at this moment.
fn opened(database: &Path, how: Reading) -> Result<Connection, Cause> {
    let mode = match how {
        Reading::Copy => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Reading::Beside | Reading::Whatever => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let source = Connection::open_with_flags(database, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(Cause::Sql)?;
    // The server's helper shortens the log; nobody else may (see disk.rs).
    let begun = source.busy_timeout(super::BUSY).and_then(|()| {
        source
            .execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 64; BEGIN; SELECT 1 FROM sqlite_schema;")
    });
    begun.map_err(Cause::Sql)?;
    Ok(source)
}

/// SQLite reads a database that has a log only where it can make the index of the log.
fn wants_to_write(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// The database of a server that is down, on a disk that went read-only, or that we may only read: its file and its log
/// as they are, which SQLite then puts together where it can write. They belong together as long as nobody writes to
/// them, so whether anybody has or does is looked at before and after.
fn copy_files(database: &Path, partial: &Path, pace: Pace<'_>) -> Result<(), Error> {
    let error = |io| Error::new(database, Cause::Read(io));
    let file = File::open(database).map_err(error)?;
    let log = match File::open(wal_path(database)) {
        Err(io) if io.kind() == io::ErrorKind::NotFound => None,
        log => Some(log.map_err(error)?),
    };
    let state = || -> io::Result<_> {
        let of =
            |path: &Path| path.metadata().map(|found| (found.ino(), found.len(), found.mtime(), found.mtime_nsec()));
        Ok((of(database)?, of(&wal_path(database)).ok()))
    };
    refuse_if_held(&file, database)?;
    let before = state().map_err(error)?;
    let length = |file: &File| file.metadata().map_or(0, |found| found.len());
    let all = length(&file).saturating_add(log.as_ref().map_or(0, length)) / PAGE_BYTES;
    let mut done = 0_u64;
    for (from, to) in [(Some(file.try_clone().map_err(error)?), partial.to_owned()), (log, wal_path(partial))] {
        let Some(mut from) = from else { continue };
        let written = |io| Error::new(&to, Cause::Write("write the file", io));
        if to != partial {
            make_empty(&to).map_err(written)?;
        }
        let mut out = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&to).map_err(written)?;
        loop {
            let step = unsigned(STEP_PAGES.into()).saturating_mul(PAGE_BYTES);
            let copied = io::copy(&mut io::Read::take(&mut from, step), &mut out).map_err(written)?;
            done = done.saturating_add(copied / PAGE_BYTES);
            if copied == 0 {
                break;
            }
            if pace(Progress { done, all: all.max(done) }).is_break() {
                return Err(Error::new(&to, Cause::Stopped));
            }
        }
    }
    refuse_if_held(&file, database)?;
    match state().map_err(error)? == before {
        true => Ok(()),
        false => Err(Error::new(database, Cause::InUse(None))),
    }
}

fn make_empty(partial: &Path) -> io::Result<()> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(partial).map(drop)
}

/// The copy becomes one file that needs no log, is checked, and is on the disk.
fn finish(partial: &Path) -> Result<Facts, Error> {
    let error = |cause| Error::new(partial, cause);
    let alone = Connection::open_with_flags(partial, AS_IT_IS).and_then(|connection| {
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
    });
    alone.map_err(|sql| error(Cause::Sql(sql)))?;
    let facts = verify(partial)?;
    let synced = File::open(partial).and_then(|file| file.sync_all());
    synced.map_err(|io| error(Cause::Io("sync the file", io)))?;
    Ok(facts)
}

/// Gives the whole file its name.
fn put(partial: &Path, file: &Path, overwrite: bool) -> Result<(), Error> {
    let error = |io| Error::new(file, Cause::Write("give the file its name", io));
    if overwrite {
        fs::rename(partial, file).map_err(error)?;
    } else {
        match fs::hard_link(partial, file) {
            Ok(()) => drop(fs::remove_file(partial)),
            Err(io) if io.kind() == io::ErrorKind::AlreadyExists => return Err(Error::new(file, Cause::Exists)),
            // File systems without second names: a memory stick.
            Err(_) if file.symlink_metadata().is_err() => fs::rename(partial, file).map_err(error)?,
            Err(io) => return Err(error(io)),
        }
    }
    sync_directory(file).map_err(error)
}

fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// The new database belongs to whom the old one belongs to, or the directory.
fn own(partial: &Path, database: &Path) -> Result<(), Error> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let directory = database.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let model = database.metadata().or_else(|_| directory.metadata());
    let given = model.and_then(|model| give(partial, model.uid(), model.gid()));
    given.map_err(|io| Error::new(partial, Cause::Io("give the file to the server's user", io)))
}

/// The directory is the server's user's, who may have put a link there: never is a file of somebody else given away.
fn give(partial: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(partial)?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(io::Error::other("somebody else put another file there"));
    }
    fchown(&file, Some(uid), Some(gid))
}

/// What waits in the log goes into the database it belongs to. A database that is damaged keeps its log beside it: SQLite
/// would throw it away.
fn fold_log(database: &Path) -> Result<(), Error> {
    let readable =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    if !has_header(database) || !readable.is_ok_and(|connection| migrate::format(&connection).is_ok()) {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let folded = Connection::open_with_flags(database, flags).and_then(|connection| {
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
    });
    match folded {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
            Err(Error::new(database, Cause::InUse(None)))
        }
        _ => Ok(()),
    }
}

/// Is this a file without a byte in it, nor one in a log beside it?
pub fn is_empty(database: &Path) -> bool {
    let is_nothing = |found: io::Result<fs::Metadata>| found.is_ok_and(|found| found.len() == 0);
    is_nothing(database.metadata()) && wal_path(database).metadata().map_or(true, |log| log.len() == 0)
}

/// Does the file begin as all of SQLite's do?
fn has_header(database: &Path) -> bool {
    header(database).is_some()
}

/// Is it a copy that was made here? Other programs have databases of their own (SQLite's file format, §1.3.15
/// "Application ID"), and one that a server works on has a log, be the server stopped (§1.3.3 "File format version numbers").
fn is_copy(file: &Path) -> bool {
    let mark = i32::try_from(migrate::APPLICATION).map(i32::to_be_bytes);
    header(file)
        .zip(mark.ok())
        .is_some_and(|(header, mark)| header.get(68..72) == Some(&mark) && header.get(18..20) == Some(&[1, 1]))
}

fn header(database: &Path) -> Option<[u8; 100]> {
    let mut header = [0; 100];
    File::open(database).and_then(|mut file| io::Read::read_exact(&mut file, &mut header)).ok()?;
    header.starts_with(b"SQLite format 3\0").then_some(header)
}

/// A log that is left must never meet another database than its own.
fn set_log_aside(database: &Path, label: &str) -> Result<(), Error> {
    let log = wal_path(database);
    let moved = match fs::rename(&log, wal_path(&aside_path(database, label))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    moved.map_err(|error| Error::new(&log, Cause::Io("set the old log aside", error)))?;
    // It is made anew from the log.
    let _ = fs::remove_file(beside(database, "-shm"));
    Ok(())
}

/// The bytes that SQLite locks for as long as a database in use is open (its file format, §1.3.1 "lock-byte page").
const SHARED_FIRST: i64 = 0x4000_0002;
const SHARED_SIZE: i64 = 510;

fn range(kind: i32) -> libc::flock {
    lock_of(kind, SHARED_FIRST, SHARED_SIZE)
}

fn lock_of(kind: i32, first: i64, size: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: first,
        l_len: size,
        l_pid: 0,
    }
}

/// Does nobody have the database open? What a server has in mind, a change behind its back contradicts.
///
/// # Errors
/// Somebody has, or the file cannot be opened.
pub fn refuse_if_open(database: &Path) -> Result<(), Error> {
    let file = OpenOptions::new().read(true).write(true).open(database);
    refuse_if_held(&file.map_err(|io| Error::new(database, Cause::Io("open the file", io)))?, database)
}

fn refuse_if_held(file: &File, database: &Path) -> Result<(), Error> {
    let mut found = range(libc::F_WRLCK);
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut found));
    asked.map_err(|errno| Error::new(database, Cause::Io("ask for its locks", errno.into())))?;
    if i32::from(found.l_type) == libc::F_UNLCK {
        return Ok(());
    }
    Err(Error::new(database, Cause::InUse(Some(found.l_pid).filter(|pid| *pid > 0))))
}

fn lock(file: &File, database: &Path) -> Result<(), Error> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK))) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(Error::new(database, Cause::InUse(None))),
        Err(errno) => Err(Error::new(database, Cause::Io("lock the file", errno.into()))),
    }
}

#[cfg(test)]
mod tests;
