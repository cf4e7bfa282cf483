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
    /// What an earlier import could not read, or left because its host is not served, is told again.
    pub tells_again: bool,
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// What was kept, and what was not.
    pub counts: Counts,
    /// Nothing was new.
    pub nothing_new: bool,
    /// Files of accounts that an earlier import was done with.
    pub known: u64,
    /// It was stopped before its end.
    pub stopped: bool,
    /// What the admin should see to, a line each.
    pub remedies: Vec<String>,
}

/// What is wrong with an import as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Something could not be read, or not to its end.
    Unread,
    /// Nothing was taken over, for the users are those of hosts that are not served.
    NotServed,
    /// Nothing was taken over, now or before, and something was left.
    AllLeft,
    /// There is no account in it.
    Empty,
}

impl Imported {
    /// May whoever asked for it go on as if all were here? One where all was here already has no fault.
    pub fn fault(&self) -> Option<Fault> {
        let counts = &self.counts;
        let came = counts.accounts + counts.component_files + counts.directory_entries;
        let was_here = counts.already_here + self.known;
        match () {
            () if counts.unread > 0 => Some(Fault::Unread),
            () if came == 0 && counts.users_elsewhere > 0 => Some(Fault::NotServed),
            () if came + was_here == 0 && counts.files_left > 0 => Some(Fault::AllLeft),
            () if self.nothing_new && was_here == 0 => Some(Fault::Empty),
            () => None,
        }
    }
}

/// More accounts than this are given the quicker keys only: those of all would take minutes more.
const MANY_ACCOUNTS: usize = 10_000;

/// What an import is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It finds out which accounts there are, and which of them are here already.
    Looking,
    /// It copies the database, before it writes to it for the first time.
    Copying,
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
            Step::Copying => "pages of the database, copied before",
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
    let work = Work { store, disk, plan, passwords, report: Report::new(report), go_on, has_copy: false, known: 0 };
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
    /// A copy of the database as it was before is made, or not needed.
    has_copy: bool,
    /// Files of accounts that an earlier import was done with.
    known: u64,
}

impl Work<'_> {
    /// Where there is something to lose, there is a copy of it before the first of strangers' data come in; an import that
    /// brings nothing makes none. Was it stopped meanwhile?
    fn is_stopped_at_copy(&mut self) -> Result<bool, Error> {
        if self.has_copy || self.store.is_in_memory() || account::hosts(self.store)?.is_empty() {
            self.has_copy = true;
            return Ok(false);
        }
        // A server beside does not wait for what takes long.
        self.commit()?;
        let why = format!("{}-before-import", datetime::stamp(self.plan.now_unix_millis).replace(':', ""));
        let path = self.store.path().to_owned();
        let mut pace = |backup::Progress { done, all }: backup::Progress| {
            let pages = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
            (self.go_on)(Progress { step: Step::Copying, done: pages(done), all: pages(all) })
        };
        let file = match backup::automatic(&path, &why, &mut pace) {
            Err(error) if error.is_stopped() => return Ok(true),
            made => made?,
        };
        log::info!(target: "-internal", "a copy of the database as it was before the import is {}", file.display());
        self.report.copied(&file);
        self.has_copy = true;
        Ok(false)
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
        Ok(Imported { stopped, ..self.told() })
    }

    fn end_without_news(self) -> Imported {
        Imported { nothing_new: true, ..self.told() }
    }

    fn told(self) -> Imported {
        let (counts, remedies) = (self.report.counts(), self.report.remedies());
        Imported { counts, remedies, known: self.known, ..Imported::default() }
    }
}

/// How many commits come between two looks at the database's log, where no helper of a server cares for it.
const COMMITS_BETWEEN: u64 = 1_000;
