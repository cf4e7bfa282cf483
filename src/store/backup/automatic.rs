//! Copies that the server makes of its own accord: where they are, and which of them stay.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{NAMES_MAX, Pace, Progress, Reading, copy_to, discard};
use crate::store::error::{Cause, Error};

/// Copies that the server made of its own accord and keeps, of either reason; see [`automatic`].
pub const KEPT: usize = 5;
/// Where those are, beside the database.
pub const DIRECTORY: &str = "backup";
/// How much of the name of a copy before an import is the day: `2026-11-28`.
const DAY: usize = 10;
/// Between two looks whether somebody else is done with a copy.
const WAIT: Duration = Duration::from_millis(100);

/// Copies the database into the directory for copies that nobody asked for. `why` becomes a part of the name.
///
/// Then older ones go, by a rule of which one day's many imports cannot take what was there before the first of them: of
/// those before imports (`DAY…-before-import`) the last stays, and the first of each of the last [`KEPT`] days that have
/// any; of those before changes of the format the last [`KEPT`] stay.
///
/// # Errors
/// When the copy cannot be made. Whatever it was to protect from should not be done then.
pub fn automatic(database: &Path, why: &str, pace: Pace<'_>) -> Result<PathBuf, Error> {
    let directory = database.parent().unwrap_or(Path::new(".")).join(DIRECTORY);
    let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(&directory);
    made.map_err(|error| Error::new(&directory, Cause::Io("make the directory for backups", error)))?;
    let held = alone(&directory, pace)?;
    if held.is_some() {
        sweep(&directory);
    }
    let named = |number: usize| match number {
        1 => directory.join(format!("jabber-{why}.db")),
        more => directory.join(format!("jabber-{why}-{more}.db")),
    };
    for number in 1..=NAMES_MAX {
        let file = named(number);
        if number < NAMES_MAX && file.symlink_metadata().is_ok() {
            continue;
        }
        match copy_to(database, &file, false, Reading::Beside, pace) {
            // Somebody else put one there.
            Err(error) if number < NAMES_MAX && error.is_there() => {}
            made => {
                made?;
                prune(&directory, &file);
                return Ok(file);
            }
        }
    }
    Err(Error::new(&directory, Cause::Exists))
}

/// Are there copies beside this database, or the place where it was?
pub fn has_copies(database: &Path) -> bool {
    let entries = fs::read_dir(database.with_file_name(DIRECTORY)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|end| end == "db"))
}

/// Waits until nobody else makes a copy in this directory, and holds it as long as the value lives: two that begin within a
/// second would take each other's half.
pub(super) fn alone(directory: &Path, pace: Pace<'_>) -> Result<Option<Flock<File>>, Error> {
    let error = |io| Error::new(directory, Cause::Io("lock the directory for backups", io));
    let mut opened = File::open(directory).map_err(error)?;
    loop {
        match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(Some(held)),
            Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) => opened = again,
            // A file system without locks: a copy is worth more.
            Err(_) => return Ok(None),
        }
        if pace(Progress { done: 0, all: 1 }).is_break() {
            return Err(Error::new(directory, Cause::Stopped));
        }
        thread::sleep(WAIT);
    }
}

/// Removes halves of copies, whose makers are gone: whoever is at work holds the directory.
fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(".jabber-") && name.contains("-before-") && name.ends_with(".partial") {
            discard(&path);
        }
    }
}

/// Removes what [`automatic`] does not keep, and never `newest`. One that cannot be removed stays: it is no reason to fail.
fn prune(directory: &Path, newest: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let found = entries.flatten().map(|entry| entry.path()).filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_prefix("jabber-")?.strip_suffix(".db")?.to_owned();
        Some((path.symlink_metadata().ok()?.modified().ok()?, path, name))
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    let (mut days, mut imports, mut formats) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (_, path, name) in found {
        match name.split_once("-before-") {
            Some((when, what)) if what.starts_with("import") => {
                let day: String = when.chars().take(DAY).collect();
                imports.push((days.insert(day.clone()), day, path));
            }
            Some(_) => formats.push(path),
            None => {}
        }
    }
    let days: Vec<String> = days.into_iter().rev().take(KEPT).collect();
    // The last of all stays in any case.
    imports.pop();
    let imports = imports.into_iter().filter(|(is_first, day, _)| !(*is_first && days.contains(day)));
    let superfluous = formats.len().saturating_sub(KEPT);
    let old = imports.map(|(.., path)| path).chain(formats.into_iter().take(superfluous));
    for path in old.filter(|path| path != newest) {
        let _ = fs::remove_file(path);
    }
}
