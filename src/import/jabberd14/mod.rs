//! The spool of jabberd 1.4 and 1.6 (`xdb_file`): a file of XML for each account.
//!
//! [`import`] goes four steps: [`walk`] finds the files, worker threads read them ([`document`], [`person`]) and derive the
//! keys of their passwords, and the caller's thread keeps what they found ([`keep`]), many accounts to a transaction. A
//! file is noted in the same transaction as its account, so an import that is stopped at any moment goes on where it
//! was, and one that is complete finds nothing to do. [`export()`] writes the same layout.
//!
//! Serves `daemon`. Invariants: the spool is only read; an account that is here is not touched; no password reaches the
//! report, nor the store unless the plan wants it.

mod component;
mod contacts;
mod directory;
mod document;
mod export;
mod keep;
mod messages;
mod person;
mod walk;

use std::any::Any;
use std::io::{self, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use self::person::Reader;
use self::walk::{ComponentFile, Job, Kind, SpoolFile, Walk};
use crate::import::person::{Note, Passwords, Person};
use crate::import::{Imported, MANY_ACCOUNTS, Plan, Step, Work};
use crate::store::account::Credentials;
use crate::store::{Error, imported};

pub use self::export::{Exported, export};

/// The longest file that is read: 1.4 set no bound. In memory it takes a multiple of that.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file that is longer is read alone, and kept before the next such is read: so the memory for all of them is bounded.
const LARGE_FILE_BYTES: u64 = 1024 * 1024;

/// Files that are only noted, in one transaction: a server beside waits no longer than that takes.
const LEFT_PER_COMMIT: usize = 100;

/// Accounts that wait between the workers and the store: enough that neither waits for the other.
const WAITING: usize = 64;

/// Imports what is new in the spools.
pub(super) fn import(mut work: Work<'_>) -> Result<Imported, Error> {
    let plan = work.plan;
    let known = imported::files(work.store, plan.tells_again)?;
    let mut walk = Walk::new(plan, &known, work.go_on);
    for spool in &plan.from {
        if let Err(error) = walk.spool(spool) {
            work.report.unread(format!("{}: the spool cannot be read: {error}", spool.display()));
        }
    }
    let found = walk.finish();
    if found.stopped {
        return Ok(Imported { stopped: true, ..Imported::default() });
    }
    if found.jobs.is_empty() && found.left.is_empty() && found.components.is_empty() {
        work.known = found.known;
        return Ok(work.end_without_news());
    }
    let from = plan.from.iter().map(|spool| format!("{}, which is left as it is", spool.display()));
    work.report.begin("a spool of jabberd 1.4", plan.now_unix_millis, from);
    work.known = found.known;
    for (index, left) in found.left.iter().enumerate() {
        work.report.left(&left.name, &left.why);
        match left.kind {
            Kind::NoAccount => {}
            Kind::Unread => work.report.counts.unread += 1,
            Kind::Elsewhere(users) => work.report.elsewhere(users),
        }
        match &left.done {
            None => {}
            Some(file) if left.kind == Kind::NoAccount => imported::set_file(work.store, &file.key, file.seen)?,
            Some(file) => imported::set_left(work.store, &file.key, file.seen)?,
        }
        if (index + 1) % LEFT_PER_COMMIT == 0 {
            work.commit()?;
        }
    }
    work.commit()?;
    let of_directory = |file: &ComponentFile| plan.directories.contains(&file.host);
    let (directories, components): (Vec<_>, Vec<_>) = found.components.into_iter().partition(of_directory);
    let mut stopped = component::keep(&mut work, &components)?;
    let all = found.jobs.len();
    let mut jobs = Vec::with_capacity(all);
    for (index, job) in found.jobs.into_iter().enumerate() {
        if stopped {
            break;
        }
        match keep::why_not(work.store, &job)? {
            // Before the costly part: a spool that was copied or touched is read through in seconds.
            Some(why) => keep::leave(work.store, &mut work.report, &job, &why)?,
            None => jobs.push(job),
        }
        // A server beside waits for what is not committed, and whoever asks may take his time.
        if (index + 1) % LEFT_PER_COMMIT == 0 {
            work.commit()?;
            stopped = (index + 1) % walk::TOLD_EACH == 0 && work.is_stopped(Step::Looking, index + 1, all);
        }
    }
    work.commit()?;
    let stopped = stopped || run(&mut work, &jobs)?;
    work.commit()?;
    let stopped = stopped || directory::keep(&mut work, &directories)?;
    work.end(stopped)
}

/// The workers read, this thread keeps. Returns whether it was stopped.
fn run(work: &mut Work<'_>, jobs: &[Job]) -> Result<bool, Error> {
    let (plan, passwords) = (work.plan, work.passwords);
    let next = AtomicUsize::new(0);
    let next = &next;
    thread::scope(|scope| {
        let (sender, results) = mpsc::sync_channel(WAITING);
        // Whose place in it is taken has a large file under way.
        let (large, large_done) = mpsc::sync_channel(1);
        for _ in 0..plan.threads.max(1) {
            let (sender, large) = (sender.clone(), large.clone());
            scope.spawn(move || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody takes it: the import was stopped.
                    if is_large(job) && large.send(()).is_err() {
                        break;
                    }
                    if sender.send((job, read(job, plan, passwords, jobs.len() > MANY_ACCOUNTS))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (done, (job, read)) in results.iter().enumerate() {
            if read.why_not.is_none() && work.is_stopped_at_copy()? {
                return Ok(true);
            }
            keep::account(work.store, &mut work.report, plan, job, read)?;
            if is_large(job) {
                // It is there: the worker put it there before it read the file.
                let _ = large_done.try_recv();
            }
            let done = done + 1;
            if done % plan.accounts_per_commit.max(1) == 0 {
                work.commit()?;
            }
            if work.is_stopped(Step::Accounts, done, jobs.len()) && done < jobs.len() {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

fn is_large(job: &Job) -> bool {
    job.files.iter().map(|file| file.seen.bytes).sum::<u64>() > LARGE_FILE_BYTES
}

/// What a worker makes of one account's files.
struct Read {
    person: Person,
    credentials: Credentials,
    notes: Vec<(String, Note)>,
    /// It is no account, or cannot be read.
    why_not: Option<String>,
    /// It may be readable the next time, without the file having changed.
    again: bool,
    /// There may be an account in it that nobody could read: jabberd 1.4 gave its name away.
    is_damaged: bool,
}

impl Read {
    fn none(why: String, notes: Vec<(String, Note)>) -> Read {
        let (person, credentials) = (Person::default(), Credentials::default());
        Read { person, credentials, notes, why_not: Some(why), again: false, is_damaged: false }
    }

    fn damaged(why: String, notes: Vec<(String, Note)>, again: bool) -> Read {
        Read { again, is_damaged: true, ..Read::none(why, notes) }
    }
}

/// Why a file cannot be read.
struct Failure {
    why: String,
    /// The system says so, not the file.
    again: bool,
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure { why, again: false }
    }
}

/// A bug in reading one file costs that file.
fn read(job: &Job, plan: &Plan, passwords: &dyn Passwords, of_many: bool) -> Read {
    catch_unwind(AssertUnwindSafe(|| read_account(job, plan, passwords, of_many))).unwrap_or_else(
        |payload: Box<dyn Any + Send>| {
            let text = payload.downcast_ref::<&str>().copied().unwrap_or("no text");
            Read::damaged(format!("a bug in this server, please report it: {text}"), Vec::new(), false)
        },
    )
}

fn read_account(job: &Job, plan: &Plan, passwords: &dyn Passwords, of_many: bool) -> Read {
    let mut reader = Reader::new(&job.account, plan.now_unix_millis);
    let mut notes = Vec::new();
    let mut failure = None;
    for file in &job.files {
        reader.modified_unix_millis = file.seen.modified_unix_millis;
        let outcome = file_text(file).and_then(|text| Ok(document::with_tree(text, |document| reader.read(document))?));
        notes.extend(std::mem::take(&mut reader.notes).into_iter().map(|note| (file.name.clone(), note)));
        match outcome {
            Ok(()) => {}
            // Half an account is not kept while the other half may be readable tomorrow.
            Err(found) if found.again || job.files.len() == 1 => failure = Some(found),
            Err(Failure { why, .. }) => notes.push((file.name.clone(), Note { what: "the file".to_owned(), why })),
        }
    }
    if let Some(Failure { why, again }) = failure {
        return Read::damaged(why, notes, again);
    }
    let (mut person, last_notes) = reader.finish();
    let first = job.files.first().map(|file| file.name.clone()).unwrap_or_default();
    notes.extend(last_notes.into_iter().map(|note| (first.clone(), note)));
    if person.password.is_none() && person.scram.is_empty() {
        let why = "no password: the file of an account that was removed, or of no account at all";
        return Read::none(why.to_owned(), notes);
    }
    let (credentials, note) = person.take_credentials(plan, passwords, of_many);
    notes.extend(note.map(|note| (first.clone(), note)));
    Read { person, credentials, notes, why_not: None, again: false, is_damaged: false }
}

fn file_text(file: &SpoolFile) -> Result<String, Failure> {
    if file.seen.bytes > FILE_BYTES_MAX {
        let megabytes = FILE_BYTES_MAX / 1024 / 1024;
        return Err(format!("longer than {megabytes} MB: make it shorter, mostly by messages that wait").into());
    }
    let bytes = bytes_of(&file.path).map_err(|error| Failure { why: walk::unreadable(&error), again: true })?;
    Ok(document::decode(bytes)?)
}

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    // Not a pipe, which would never end.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
