//! Other servers' data into the store, and back out.
//!
//! [`import()`] is the way in. [`jabberd14`] reads the spool of jabberd 1.4 and 1.6, and writes one; [`portable`] reads and writes the format that
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

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use self::report::Report;
use crate::store::disk::Disk;
use crate::store::{Error, Store, account, backup};
use crate::xmpp::datetime;

pub use self::person::Passwords;
pub use self::report::Counts;
pub use self::written::{ExportError, Told};

/// In what form it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The spool of jabberd 1.4.
    Jabberd14,
    /// XEP-0227.
    Portable,
}

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

/// Imports what is new. `go_on` hears of each account, and can stop the import; what was kept stays.
///
/// # Errors
/// When the store fails. What was committed before stays, and the next import goes on from there.
pub fn import(
    format: Format,
    store: &mut Store,
    disk: Option<&Disk>,
    plan: &Plan,
    passwords: &dyn Passwords,
    report: &mut dyn Write,
    go_on: &mut GoOn<'_>,
) -> Result<Imported, Error> {
    let work = Work { store, disk, plan, passwords, report: Report::new(report), go_on };
    match format {
        Format::Jabberd14 => jabberd14::import(work),
        Format::Portable => portable::import(work),
    }
}

/// An import at work.
struct Work<'a> {
    store: &'a mut Store,
    /// `None` where a server beside cares for the disk.
    disk: Option<&'a Disk>,
    plan: &'a Plan,
    passwords: &'a dyn Passwords,
    report: Report<'a>,
    go_on: &'a mut GoOn<'a>,
}

impl Work<'_> {
    fn begin(&mut self, what: &str, from: impl Iterator<Item = String>) -> Result<(), Error> {
        self.report.begin(what, self.plan.now_unix_millis, from);
        copy_before(self.store, self.plan.now_unix_millis)
    }

    /// To the disk as well: the log of the database would grow as long as the import.
    fn commit(&mut self) -> Result<(), Error> {
        match (self.store.commit()?, self.disk) {
            (None, _) => {}
            (Some(_), Some(disk)) => {
                disk.sync()?;
                disk.checkpoint()?;
            }
            (Some(tick), None) if tick.0 % COMMITS_BETWEEN == 0 => self.store.shorten_log()?,
            (Some(_), None) => {}
        }
        self.report.flush();
        Ok(())
    }

    /// Tells how far it is. Is it to stop?
    fn is_stopped(&mut self, step: Step, done: usize, all: usize) -> bool {
        (self.go_on)(Progress { step, done, all }).is_break()
    }

    fn end(mut self, stopped: bool) -> Result<Imported, Error> {
        self.commit()?;
        self.report.end(stopped);
        Ok(Imported { counts: self.report.counts(), nothing_new: false, stopped, remedies: self.report.remedies() })
    }
}

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
