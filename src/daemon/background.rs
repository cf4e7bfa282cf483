//! `-B`: to the background, without hiding a start that fails.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;

use daemonize::{Daemonize, Mask, Outcome, Stdio};

use super::StartError;

/// Which of the two processes we are.
#[derive(Debug)]
pub enum Side {
    /// The one that was started: the exit code to end with.
    Parent(i32),
    /// The one that serves.
    Child(Waiting),
}

/// The parent, waiting to hear that the start is done. Dropped without a word it exits with 1.
#[derive(Debug)]
pub struct Waiting(UnixStream);

impl Waiting {
    /// The start is done: the parent exits with 0, and nobody reads our standard output and error any more.
    pub fn done(mut self) {
        // A parent that was killed meanwhile needs no answer.
        let _ = self.0.write_all(b"R");
        if let Ok(null) = File::options().write(true).open("/dev/null") {
            let _ = nix::unistd::dup2_stdout(&null);
            let _ = nix::unistd::dup2_stderr(&null);
        }
    }
}

/// Closes what the caller had open beside its three streams. Somebody may wait for the end of those: debconf reads from the
/// scripts of packages until nobody can write there any more, and would wait for as long as we serve.
///
/// Only what is ours from here on may be open later: to be called before anything else is opened.
fn close_inherited() {
    let Ok(listing) = fs::read_dir("/proc/self/fd") else { return };
    // The listing itself is one of them, so it is read to its end and closed first.
    let open: Vec<RawFd> = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        let _ = nix::unistd::close(descriptor);
    }
}

/// Splits the process. To be called before there are threads, sockets and open files; the directory stays, and so do
/// standard output and error until the start is done.
///
/// # Errors
/// The system does not let us.
pub fn split() -> Result<Side, StartError> {
    close_inherited();
    let refused = |error: &dyn std::fmt::Display| StartError(format!("cannot go to the background: {error}"));
    let (mut parents, childs) = UnixStream::pair().map_err(|error| refused(&error))?;
    let directory = std::env::current_dir().map_err(|error| refused(&error))?;
    let daemon = Daemonize::new()
        .working_directory(directory)
        .umask(Mask::from(0o027))
        .stdout(Stdio::keep())
        .stderr(Stdio::keep());
    match daemon.execute() {
        Outcome::Parent(Ok(_)) => {
            drop(childs);
            let mut word = Vec::new();
            // Until the child says that it serves, or its end of the pair closes because it has ended.
            let _ = parents.read_to_end(&mut word);
            Ok(Side::Parent(if word == b"R" { 0 } else { 1 }))
        }
        Outcome::Parent(Err(error)) | Outcome::Child(Err(error)) => Err(refused(&error)),
        Outcome::Child(Ok(_)) => {
            drop(parents);
            Ok(Side::Child(Waiting(childs)))
        }
    }
}
