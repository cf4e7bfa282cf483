//! What was read of an account, into the store.

use super::person::Person;
use super::report::{Counts, Report};
use super::walk::Job;
use super::{Plan, Read};
use crate::store::{Bounds, Error, Store, account, imported, last, offline, private, registration, roster, vcard};

/// All that a user had is kept; the bounds of the server count for what comes later.
const UNBOUNDED: Bounds = Bounds { count: u64::MAX, bytes: u64::MAX };

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
        // What could not be read may be readable the next time, without the file having changed.
        return if read.again { Ok(()) } else { done(store, job) };
    }
    let counts = store.savepoint(|store| {
        let counts = person(store, plan, job, &read)?;
        done(store, job)?;
        Ok::<_, Error>(counts)
    })?;
    match counts {
        Some(counts) => report.counts.add(&counts),
        None => report.already_here(&job.account.to_string(), "is here already, and stays as it is"),
    }
    Ok(())
}

/// `None` if the account is here.
fn person(store: &mut Store, plan: &Plan, job: &Job, read: &Read) -> Result<Option<Counts>, Error> {
    let (account, person) = (&job.account, &read.person);
    // Versions of the roster begin at this time. A name that was used here before must not begin where it was.
    let is_new = account::removed_at(store, account)?.is_none();
    let modified = job.files.first().map_or(plan.now_unix_millis, |file| file.seen.modified_unix_millis);
    let created = person.registered_unix_millis.unwrap_or(modified).min(plan.now_unix_millis);
    let created = if is_new { created } else { plan.now_unix_millis };
    if !account::create(store, account, &read.credentials, created)? {
        return Ok(None);
    }
    let mut counts = Counts {
        accounts: 1,
        old_hashes: u64::from(read.credentials.legacy.is_some()),
        without_password: u64::from(read.credentials.legacy.is_none() && read.credentials.scram.is_empty()),
        ..Counts::default()
    };
    contents(store, account, person, &mut counts)?;
    Ok(Some(counts))
}

fn contents(
    store: &mut Store,
    account: &crate::xmpp::BareJid,
    person: &Person,
    counts: &mut Counts,
) -> Result<(), Error> {
    for item in &person.roster {
        roster::upsert(store, account, item)?;
        counts.contacts += u64::from(item.visible);
        counts.requests += u64::from(item.pending_in.is_some());
    }
    for message in &person.offline {
        let _ = offline::append(store, account, &message.stanza, message.received_unix_millis, UNBOUNDED)?;
        counts.messages += 1;
    }
    for element in &person.private {
        let _ = private::set(store, account, &element.name, &element.ns, &element.xml, UNBOUNDED)?;
        counts.private += 1;
    }
    for (ns, xml) in &person.kept {
        imported::set(store, account, ns, xml)?;
        counts.rules += 1;
    }
    if let Some(card) = &person.vcard {
        vcard::set(store, account, card)?;
        counts.vcards += 1;
    }
    if let Some(form) = &person.registration {
        registration::set(store, account, &form.to_string())?;
        counts.registrations += 1;
    }
    if let Some(last) = &person.last {
        last::set(store, account, last)?;
        counts.last += 1;
    }
    Ok(())
}
