//! Other servers' data into the store, and back out.
//!
//! [`jabberd14`] reads the spool of jabberd 1.4 and 1.6, and writes one; [`portable`] reads and writes the format that
//! servers have in common (XEP-0227). What they read becomes a [`person`], which the store keeps, or a line of the
//! [`report`]. Files are read and never written: a site that wants its old server back finds all as it was.
//!
//! Serves `daemon`, before the server serves or beside it. What it needs of the rooms to its right (keys from a password,
//! the moment, a place for the report) is handed in. Invariants: nothing is imported twice, no account that is here is
//! changed, and whatever is left behind stands in the report with its file and the reason.

pub mod jabberd14;
pub mod person;
pub mod portable;
pub mod report;
mod rules;
mod written;

use std::ops::ControlFlow;
use std::path::PathBuf;

use self::report::Report;
use crate::store::disk::Disk;
use crate::store::{Error, Store, account, backup};
use crate::xmpp::datetime;

pub use self::person::Passwords;
pub use self::report::Counts;
pub use self::written::{ExportError, Told};

/// What is to be imported.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is read: spools, or documents. Where an account is in several, the first that has a kind of data counts.
    pub from: Vec<PathBuf>,
    /// The hosts that are served, nameprepped.
    pub hosts: Vec<String>,
    /// Addresses of components.
    pub components: Vec<String>,
    /// Under which names jabberd 1.4's user directories kept their lists.
    pub directories: Vec<String>,
    /// The moment.
    pub now_unix_millis: u64,
    /// Worker threads.
    pub threads: usize,
    /// Accounts in one transaction.
    pub accounts_per_commit: usize,
    /// Passwords that are told as text are kept so besides.
    pub keeps_plain_passwords: bool,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// What was kept, and what was not.
    pub counts: Counts,
    /// Nothing was new.
    pub nothing_new: bool,
    /// It was stopped before its end.
    pub stopped: bool,
    /// What the admin should see to, a line each.
    pub remedies: Vec<String>,
}

/// More accounts than this are given the quicker keys only: those of all would take minutes more.
const MANY_ACCOUNTS: usize = 10_000;

/// What an import is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It finds out which accounts there are, and which of them are here already.
    Looking,
    /// It keeps the files of components.
    Components,
    /// It keeps accounts.
    Accounts,
    /// It keeps the people of an old user directory.
    Directory,
}

impl Step {
    /// What it goes through.
    pub fn things(self) -> &'static str {
        match self {
            Step::Looking | Step::Accounts => "accounts",
            Step::Components => "files of components",
            Step::Directory => "people of the user directory",
        }
    }
}

/// How far an import is with one of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which step.
    pub step: Step,
    /// Accounts, files or people that are done.
    pub done: usize,
    /// How many there are, or were found so far.
    pub all: usize,
}

/// Hears how far an import is, and can stop it.
type GoOn<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Where there is something to lose, there is a copy of it before strangers' data come in.
fn copy_before(store: &Store, now_unix_millis: u64) -> Result<(), Error> {
    if store.is_in_memory() || account::hosts(store)?.is_empty() {
        return Ok(());
    }
    let why = format!("{}-before-import", datetime::stamp(now_unix_millis).replace(':', ""));
    let file = backup::automatic(store.path(), &why, &mut |_| ControlFlow::Continue(()))?;
    log::info!(target: "-internal", "a copy of the database as it was before the import is {}", file.display());
    Ok(())
}

/// How many commits come between two looks at the database's log, where no helper of a server cares for it.
const COMMITS_BETWEEN: u64 = 1_000;

/// To the disk as well: the log of the database would grow as long as the import.
fn commit(store: &mut Store, disk: Option<&Disk>, report: &mut Report<'_>) -> Result<(), Error> {
    match (store.commit()?, disk) {
        (None, _) => {}
        (Some(_), Some(disk)) => {
            disk.sync()?;
            disk.checkpoint()?;
        }
        (Some(tick), None) if tick.0 % COMMITS_BETWEEN == 0 => store.shorten_log()?,
        (Some(_), None) => {}
    }
    report.flush();
    Ok(())
}
