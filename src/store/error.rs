//! What can go wrong with the database, told to the admin: which file, what happened, what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use rusqlite::ErrorCode;

use crate::xmpp::{BareJid, Condition, StanzaError};

/// A failure of the database. `Display` is one line with the path, the cause and a hint.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    cause: Cause,
}

/// Why, without the path.
#[derive(Debug)]
pub(super) enum Cause {
    /// SQLite says no.
    Sql(rusqlite::Error),
    /// The operating system says no; the text says to what.
    Io(&'static str, io::Error),
    /// Written by a later release: its version and the newest one known here.
    Newer { found: i64, known: i64 },
    /// Written by an earlier release, and only to be read here.
    Older { found: i64, known: i64 },
    /// A database, but of another program.
    Foreign,
    /// No write-ahead log on this file system; the text is the journal mode SQLite fell back to.
    NoWal(String),
    /// SQLite gave up the tick's transaction: what the tick wrote before is gone as well.
    TickLost,
    /// An earlier sync failed, so nobody knows what is on disk (see `Disk::sync`).
    SyncFailedBefore,
    /// The write-ahead log was deleted or replaced while the server ran.
    WalRemoved,
    /// The file that is open has another name or none, and perhaps another file has its.
    Displaced,
    /// A file without a byte in it.
    Empty,
    /// A file that is there is none of those that may be overwritten: it is no copy of a database.
    NoCopyThere,
    /// A name that SQLite gives to a part of a database.
    PartOfDatabase,
    /// Data for an account that does not exist.
    NoAccount(BareJid),
    /// The system does not let somebody who runs a tool write a copy; the text says what.
    Write(&'static str, io::Error),
    /// Nor read one.
    Read(io::Error),
    /// A file that is not to be overwritten.
    Exists,
    /// A link to this file, in the place of a copy.
    Link(PathBuf),
    /// Something else than a file, in the place of a copy.
    NotAFile(&'static str),
    /// What is to be restored is no database of ours.
    NoBackup,
    /// A copy of the database was to replace the database.
    Itself,
    /// Somebody else is at work on a copy that is to have this name.
    Begun,
    /// What SQLite's own check found wrong with a file.
    Unsound(String),
    /// The same of the database itself.
    Damaged(String),
    /// Somebody, of this number if it is known, has the database open.
    InUse(Option<i32>),
    /// No copy could be made before something that may go wrong.
    NoCopy(Box<Error>),
    /// Whoever wanted it done wanted it to end.
    Stopped,
}

/// What to do with a database that is not whole.
const DAMAGED: &str = "restore a backup, or see sqlite3's .recover";
/// Nobody's rights are to blame.
const READ_ONLY: &str = "its disk is mounted read-only, or jabber.service closes it to the server: jabberctl check files tells which, and what to do; jabberctl backup works all the same";

fn is_on_read_only_disk(path: &Path) -> bool {
    let directory = path.parent().unwrap_or(path);
    statvfs(directory).is_ok_and(|disk| disk.flags().contains(FsFlags::ST_RDONLY))
}

impl Error {
    pub(super) fn new(path: &Path, cause: Cause) -> Error {
        Error(Box::new(Inner { path: path.to_owned(), cause }))
    }

    /// Was it data for an account that does not exist (removed a moment ago, say)?
    pub fn is_no_account(&self) -> bool {
        matches!(self.0.cause, Cause::NoAccount(_))
    }

    /// Has somebody the database open?
    pub fn is_in_use(&self) -> bool {
        matches!(self.0.cause, Cause::InUse(_))
    }

    /// Is there a file of this name already?
    pub fn is_there(&self) -> bool {
        matches!(self.0.cause, Cause::Exists)
    }

    /// Did whoever wanted it done want it to end?
    pub fn is_stopped(&self) -> bool {
        match &self.0.cause {
            Cause::NoCopy(error) => error.is_stopped(),
            cause => matches!(cause, Cause::Stopped),
        }
    }

    /// The same, of a file that was to be restored: it is not the server's, and there is nothing to be mended in it.
    pub(super) fn of_backup(self) -> Error {
        let Inner { path, cause } = *self.0;
        let cause = match cause {
            Cause::Foreign | Cause::Empty => Cause::NoBackup,
            Cause::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => Cause::NoBackup,
                Some(ErrorCode::DatabaseCorrupt) => Cause::Unsound(error.to_string()),
                _ => Cause::Sql(error),
            },
            cause => cause,
        };
        Error::new(&path, cause)
    }

    /// Is it that whoever runs this may not do it, and root might?
    pub fn is_denied(&self) -> bool {
        match &self.0.cause {
            Cause::Io(_, error) | Cause::Write(_, error) | Cause::Read(error) => {
                error.kind() == io::ErrorKind::PermissionDenied
            }
            Cause::Sql(error) => {
                let codes = [ErrorCode::CannotOpen, ErrorCode::ReadOnly, ErrorCode::PermissionDenied];
                error.sqlite_error_code().is_some_and(|code| codes.contains(&code))
                    && !is_on_read_only_disk(&self.0.path)
            }
            _ => false,
        }
    }

    /// What happened, without the hint.
    pub fn told(&self) -> String {
        let mut text = String::new();
        // A string takes all.
        let _ = self.tell(&mut text);
        text
    }

    /// What the admin can do about it.
    pub fn hint(&self) -> &'static str {
        match &self.0.cause {
            Cause::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => "free some space on its disk",
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if is_on_read_only_disk(&self.0.path) => READ_ONLY,
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    "the server's user must be able to write the file and its directory"
                }
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    "is another server or tool holding this database?"
                }
                Some(ErrorCode::NotADatabase) => "move the file away or restore a backup",
                Some(ErrorCode::DatabaseCorrupt) => DAMAGED,
                Some(ErrorCode::SystemIoFailure) => "look for disk errors in the kernel's log",
                _ => "please report this",
            },
            Cause::Io(_, error) => match error.kind() {
                io::ErrorKind::NotFound => "make the directory, owned by the server's user",
                io::ErrorKind::PermissionDenied => "the server's user must be able to write the file and its directory",
                io::ErrorKind::ReadOnlyFilesystem => READ_ONLY,
                io::ErrorKind::StorageFull => "free some space on its disk",
                _ => "look for disk errors in the kernel's log",
            },
            Cause::Newer { .. } => "install the newer release again, or restore the backup made before it",
            Cause::Older { .. } => "start the server once: it brings the database up to date, and keeps a backup",
            Cause::Foreign => "point the server at a directory of its own",
            Cause::NoWal(_) => "the data directory must be on a local file system",
            Cause::TickLost => "see the error before this one",
            Cause::SyncFailedBefore => "look for disk errors in the kernel's log, then restart the server",
            Cause::WalRemoved => "stop the server before touching its files; restart it now",
            Cause::Displaced => "move it back to its place; jabberctl check files tells where it is, or how to save it",
            Cause::Empty => "restore a backup; without one remove the file: the next start makes it anew",
            Cause::NoCopyThere => "name another file, or move this one away: nothing was changed",
            Cause::PartOfDatabase => "name another file",
            Cause::NoAccount(_) => "the account was removed meanwhile",
            Cause::Write(_, error) => match error.kind() {
                io::ErrorKind::NotFound => "make the directory, or name another",
                io::ErrorKind::PermissionDenied => "name a directory that whoever runs this may write to",
                io::ErrorKind::ReadOnlyFilesystem => "name a file on a disk that can be written to",
                io::ErrorKind::StorageFull => "free some space on its disk, or name a file on another",
                _ => "name another file; the kernel's log tells of errors of the disk",
            },
            Cause::Read(error) => match error.kind() {
                io::ErrorKind::NotFound => "name a file that jabberctl backup made",
                io::ErrorKind::PermissionDenied => "whoever runs this must be able to read it and its directories",
                _ => "look for disk errors in the kernel's log",
            },
            Cause::Exists => "name another file, or replace this one with --overwrite",
            Cause::Link(_) => "name that file itself, or another one",
            Cause::NotAFile(_) => "name a regular file",
            Cause::NoBackup => "name a file that jabberctl backup made",
            Cause::Itself => "name another file: nothing was changed",
            Cause::Begun => "wait until that is done, or name another file: nothing was changed",
            Cause::Damaged(_) => DAMAGED,
            Cause::Unsound(_) => "take another backup; sqlite3's .recover may save a part of this one",
            Cause::InUse(_) => "stop the server first: /etc/init.d/jabber stop",
            Cause::NoCopy(_) => "nothing was changed; see to it and start again",
            Cause::Stopped => "nothing was changed",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f)?;
        write!(f, " ({})", self.hint())
    }
}

impl Error {
    fn tell(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        write!(f, "{}: ", self.0.path.display())?;
        match &self.0.cause {
            Cause::Sql(error) => write!(f, "{error}"),
            Cause::Io(what, error) => write!(f, "cannot {what}: {error}"),
            Cause::Newer { found, known } => {
                write!(f, "written by a newer release (format {found}, this one knows up to {known})")
            }
            Cause::Older { found, known } => {
                write!(f, "written by an earlier release (format {found}, this is {known})")
            }
            Cause::Foreign => f.write_str("the database of another program"),
            Cause::NoWal(mode) => write!(f, "no write-ahead log here (journal mode {mode})"),
            Cause::TickLost => f.write_str("the running transaction was given up"),
            Cause::SyncFailedBefore => f.write_str("an earlier sync failed, nothing more can be promised"),
            Cause::WalRemoved => f.write_str("the write-ahead log (-wal) was deleted or replaced"),
            Cause::Displaced => {
                f.write_str("the server holds a file that has this name no more: it was moved, removed or replaced")
            }
            Cause::Empty => f.write_str("the file is empty"),
            Cause::NoCopyThere => f.write_str("what is there is no backup of jabberd's, and is not replaced by one"),
            Cause::PartOfDatabase => f.write_str("SQLite takes a file of this name for a part of a database"),
            Cause::NoAccount(account) => write!(f, "no account {account}"),
            Cause::Write(what, error) => write!(f, "cannot {what}: {error}"),
            Cause::Read(error) => write!(f, "cannot read it: {error}"),
            Cause::Link(target) => write!(f, "this is a link to {}", target.display()),
            Cause::NotAFile(what) => write!(f, "this is {what}, no regular file"),
            Cause::NoBackup => f.write_str("this is no database of jabberd"),
            Cause::Exists => f.write_str("the file is there already"),
            Cause::Itself => f.write_str("this is the database itself"),
            Cause::Begun => f.write_str("another backup or restore to this file is under way"),
            Cause::Unsound(found) | Cause::Damaged(found) => write!(f, "damaged: {found}"),
            Cause::InUse(Some(process)) => write!(f, "process {process} has the database open"),
            Cause::InUse(None) => f.write_str("somebody has the database open"),
            Cause::NoCopy(error) => write!(f, "its format must change, and no backup can be made first: {error}"),
            Cause::Stopped => f.write_str("stopped before its end"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.cause {
            Cause::Sql(error) => Some(error),
            Cause::Io(_, error) | Cause::Write(_, error) | Cause::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// A stanza whose data could not be kept goes back to its sender; the admin reads why, once.
impl From<Error> for StanzaError {
    fn from(error: Error) -> StanzaError {
        if error.is_no_account() {
            return StanzaError::from(Condition::ItemNotFound);
        }
        log::error!(target: "-internal", strangers = "failures of the database"; "database failed: {error}");
        StanzaError::from(Condition::InternalServerError)
    }
}
