//! What was read of an account, into the store.

use super::Read;
use super::walk::Job;
use crate::import::report::Report;
use crate::import::{Plan, person};
use crate::store::{Error, Store, account, imported};

/// Why a job is not to be done at all.
pub(super) fn why_not(store: &Store, job: &Job) -> Result<Option<String>, Error> {
    if account::exists(store, &job.account)? {
        return Ok(Some(format!("{} is here already, and stays as it is", job.account)));
    }
    // An account that its user removed here does not come back because an old file was touched; one that an admin puts
    // there anew does.
    let newest = job.files.iter().map(|file| file.seen.modified_unix_millis).max().unwrap_or_default();
    let removed = account::removed_at(store, &job.account)?.filter(|&removed| removed >= newest);
    Ok(removed.map(|_| format!("{} was here and has been removed", job.account)))
}

/// Remembers the files of a job that is not done.
pub(super) fn leave(store: &mut Store, report: &mut Report<'_>, job: &Job, why: &str) -> Result<(), Error> {
    for file in &job.files {
        report.already_here(&file.name, why);
    }
    done(store, job)
}

fn done(store: &mut Store, job: &Job) -> Result<(), Error> {
    job.files.iter().try_for_each(|file| imported::set_file(store, &file.key, file.seen))
}

/// Keeps one account and notes its files, both or neither.
pub(super) fn account(
    store: &mut Store,
    report: &mut Report<'_>,
    plan: &Plan,
    job: &Job,
    read: Read,
) -> Result<(), Error> {
    for (name, note) in &read.notes {
        report.piece(name, &note.what, &note.why);
    }
    if let Some(why) = &read.why_not {
        let kept = if read.is_damaged { "; nobody can register the name until the file is mended" } else { "" };
        for file in &job.files {
            report.left(&file.name, &format!("{why}{kept}"));
        }
        if read.is_damaged {
            // Whoever registered the name would be taken for its owner by all contacts.
            account::reserve(store, &job.account)?;
        }
        report.counts.unread += u64::from(read.is_damaged);
        return match read.is_damaged {
            // What could not be read may be readable the next time, without the file having changed.
            _ if read.again => Ok(()),
            true => job.files.iter().try_for_each(|file| imported::set_left(store, &file.key, file.seen)),
            false => done(store, job),
        };
    }
    let counts = store.savepoint(|store| {
        let modified = job.files.first().map_or(plan.now_unix_millis, |file| file.seen.modified_unix_millis);
        let now = plan.now_unix_millis;
        let counts = person::keep(store, &job.account, &read.person, &read.credentials, modified, now)?;
        done(store, job)?;
        Ok::<_, Error>(counts)
    })?;
    match counts {
        Some(counts) => report.counts.add(&counts),
        None => report.already_here(&job.account.to_string(), "is here already, and stays as it is"),
    }
    Ok(())
}
