//! What can only be said by looking at the disk: directories of logs, named certificates, the data directory.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::Config;
use super::document::line_of;
use super::error::{DENIED, Error, Place, Problem};
use super::logs::LogTarget;

impl Config {
    /// Looks whether the files and directories that jabber.xml names can be there: for `--test`, and at start before
    /// anything is opened. Permissions are only seen as far as the caller's own reach.
    ///
    /// # Errors
    /// Everything that is missing, with the line that names it.
    pub fn check_files(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        for target in self.logs.iter().flat_map(|sink| &sink.targets) {
            if let LogTarget::File { path, place } = target {
                problems.extend(log_file(path, place));
            }
        }
        for source in &self.certificates {
            let place = source.place.clone().unwrap_or_else(|| Place::whole(self.file.as_path()));
            problems.extend(readable(&source.certificate, &place, "certificate"));
            if source.key != source.certificate {
                problems.extend(readable(&source.key, &place, "key"));
            }
        }
        for file in &self.authorities {
            problems.extend(readable(&file.path, &file.place, "certificates of authorities"));
        }
        problems.extend(self.data_directory());
        if problems.is_empty() { Ok(()) } else { Err(Error { problems }) }
    }

    /// A data directory that is not there yet is made.
    fn data_directory(&self) -> Option<Problem> {
        if self.spool.is_dir() || !self.spool.exists() {
            return None;
        }
        let spool = self.spool.display();
        Some(Problem {
            place: Place::whole(self.file.as_path()),
            excerpt: None,
            what: format!("{spool} is no data directory"),
            found: "a file".to_owned(),
            expected: "a directory that the server may write to".to_owned(),
            remedy: "move the file away, or name a directory in <spool>".to_owned(),
        })
    }
}

/// A file that is not there yet is made; its directory is not.
fn log_file(path: &Path, place: &Place) -> Option<Problem> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if directory.is_dir() && !path.is_dir() {
        return None;
    }
    let shown = directory.display();
    let (found, remedy) = match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            (DENIED.to_owned(), format!("let the server enter {shown}, or name another file"))
        }
        _ if path.is_dir() => (format!("{} is a directory", path.display()), "name a file".to_owned()),
        _ => (format!("no directory {shown}"), format!("mkdir {shown}; chown jabber {shown}; or name another file")),
    };
    Some(problem(place, format!("cannot open the log {}", path.display()), found, "a file that can be written", remedy))
}

fn readable(path: &Path, place: &Place, what: &str) -> Option<Problem> {
    let error = File::open(path).err()?;
    let text = error.to_string();
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => DENIED.to_owned(),
        _ => text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words).to_owned(),
    };
    let remedy = format!("see ls -l {}; correct the name, or let the server read it", path.display());
    Some(problem(place, format!("cannot read the {what} {}", path.display()), why, "a PEM file", remedy))
}

fn problem(place: &Place, what: String, found: String, expected: &str, remedy: String) -> Problem {
    let text = std::fs::read_to_string(&place.file).unwrap_or_default();
    Problem {
        place: place.clone(),
        excerpt: line_of(&text, place.line),
        what,
        found,
        expected: expected.to_owned(),
        remedy,
    }
}
