//! `<pidfile>`: jabberd 1.6's rules, so that init scripts of any age find the process.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::signal::kill;
use nix::unistd::{AccessFlags, Pid, faccessat};

use super::StartError;

/// The directory that the package's start scripts make, and systemd takes away when the server stops.
pub const MADE_AT_START: [&str; 2] = ["/run/jabber", "/var/run/jabber"];

/// A process number in a file, for as long as the process lives.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Writes our number. A file left by a process that is gone is replaced.
    ///
    /// # Errors
    /// A server is running already, the file is none of ours, or it cannot be written.
    pub fn create(path: &Path) -> Result<Self, StartError> {
        let place = path.display();
        match std::fs::read(path) {
            Ok(content) => {
                if let Some(why) = occupied(&content) {
                    return Err(StartError(format!(
                        "A pidfile already exists at the specified location: {place} {why}"
                    )));
                }
                log::info!(target: "-internal", "replacing the pid file {place}, its process is gone");
                std::fs::remove_file(path).map_err(|error| unwritable(path, &error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unwritable(path, &error)),
        }
        // create_new also refuses a link that somebody put there meanwhile.
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| unwritable(path, &error))?;
        // Whatever the umask: anybody may see what `ps` shows as well.
        file.set_permissions(Permissions::from_mode(0o644)).map_err(|error| unwritable(path, &error))?;
        writeln!(file, "{}", std::process::id()).map_err(|error| unwritable(path, &error))?;
        Ok(PidFile { path: path.to_owned(), file })
    }
}

/// The number of the server that wrote this file, if it runs.
pub fn running(path: &Path) -> Option<i32> {
    let number = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{number}/comm")).ok()?;
    (name.trim() == "jabberd").then_some(number)
}

/// Could the file be written, once a server that has it now has ended?
///
/// # Errors
/// The file is none of ours, or its directory not there.
pub fn could_create(path: &Path) -> Result<(), StartError> {
    match std::fs::read(path) {
        Ok(content) if running(path).is_none() => match occupied(&content) {
            Some(why) => Err(StartError(format!("the pid file {} is there {why}", path.display()))),
            None => Ok(()),
        },
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(path, &error)),
        _ => Ok(()),
    }?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    if MADE_AT_START.contains(&directory.to_str().unwrap_or_default()) && !directory.exists() {
        return Ok(());
    }
    let may = faccessat(AT_FDCWD, directory, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS);
    may.map_err(|error| unwritable(path, &error.into()))
}

fn unwritable(path: &Path, error: &io::Error) -> StartError {
    let (place, more) = (path.display(), super::who_knows_more(error));
    StartError(format!(
        "cannot write the pid file {place}: {error}; its directory must exist and be writable, or <pidfile> name another\
         {more}"
    ))
}

/// Why a pid file's content keeps us from starting; `None` if its process is gone.
fn occupied(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let Some(number) = text.parse::<i32>().ok().filter(|number| *number > 0) else {
        return Some("and does not hold a process number; remove it if it is not needed".to_owned());
    };
    if kill(Pid::from_raw(number), None) == Err(Errno::ESRCH) || number.unsigned_abs() == std::process::id() {
        return None;
    }
    // After a power failure the number may belong to anybody.
    match std::fs::read_to_string(format!("/proc/{number}/comm")) {
        Ok(name) if name.trim() != "jabberd" => None,
        _ => {
            Some(format!("and process {number} is running; stop it first, or remove the file if it is another program"))
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if std::fs::remove_file(&self.path).is_err() {
            // The directory belongs to root, and we are nobody now. An empty file is replaced at the next start.
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_written_and_removed() {
        let directory = crate::daemon::scratch("pidfile");
        let path = directory.join("jabber.pid");
        // Left empty, and left by a process that is gone (numbers end far below this one).
        for left in [None, Some(""), Some("2147483600")] {
            if let Some(left) = left {
                std::fs::write(&path, left).unwrap();
            }
            let file = PidFile::create(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
            drop(file);
            assert!(!path.exists());
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn whose_number_it_is_decides() {
        let own = std::process::id().to_string();
        for (content, free) in [
            ("", true),
            (" \n", true),
            ("2147483600\n", true),
            (own.as_str(), true),
            // Process 1 runs everywhere, and is not jabberd.
            ("1", true),
            ("0", false),
            ("-1", false),
            ("jabberd", false),
            ("99999999999999999999", false),
        ] {
            assert_eq!(occupied(content.as_bytes()).is_none(), free, "{content:?}");
        }
    }

    #[test]
    fn a_directory_that_is_missing_is_told() {
        let error = PidFile::create(Path::new("/nonexistent/jabber.pid")).unwrap_err();
        assert!(error.0.starts_with("cannot write the pid file /nonexistent/jabber.pid: No such file"), "{error}");
    }
}
