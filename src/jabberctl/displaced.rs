//! A database that lost its name under a server that runs: which file the server holds, and how that is saved.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How each SQLite database begins (its file format, §1.3.1).
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// What is wrong and what to do, if the server of this process has another file open than the one of this name. None as well
/// if we are not allowed to know.
pub(super) fn look(process: i32, database: &Path) -> Option<(String, String)> {
    let id = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    let open: Vec<PathBuf> = fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten().map(|fd| fd.path()).collect();
    let held: Vec<&PathBuf> = open.iter().filter(|descriptor| is_database(descriptor)).collect();
    if held.iter().any(|descriptor| id(descriptor) == id(database)) {
        return None;
    }
    let held = held.first()?;
    let place = fs::read_link(held).ok()?;
    let (shown, place) = (database.display(), place.display());
    let text = format!("{shown} is not the file that the server (process {process}) holds: that is {place}");
    if held.metadata().ok()?.nlink() > 0 {
        return Some((text, format!("stop the server, then: mv {place} {shown}")));
    }
    let log = open.iter().find(|descriptor| {
        fs::read_link(descriptor)
            .is_ok_and(|place| place.to_string_lossy().trim_end_matches(" (deleted)").ends_with("-wal"))
    });
    let log = log.map_or_else(String::new, |log| format!("cp {} rescued.db-wal; ", log.display()));
    let copy = format!("cp {} rescued.db; {log}", held.display());
    // Nothing is written between the two copies.
    Some((
        text,
        format!(
            "kill -STOP {process}; {copy}kill -CONT {process}; then stop the server, and: jabberctl restore rescued.db"
        ),
    ))
}

fn is_database(descriptor: &Path) -> bool {
    // Pipes are not waited for.
    let is_file = descriptor.metadata().is_ok_and(|found| found.is_file());
    let mut begin = [0; HEADER.len()];
    is_file && File::open(descriptor).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && &begin == HEADER
}
