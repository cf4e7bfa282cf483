//! The password helper: the one thread that runs PBKDF2, which takes milliseconds by design.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;

use super::engine::{HashJob, HashResult};

/// The loop's end of the helper. Its queue is as long as the server lets it grow: a stream waits for one job at a time.
pub struct HashingHelper {
    jobs: Sender<HashJob>,
    results: Receiver<HashResult>,
}

impl HashingHelper {
    /// Starts the helper.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(waker: Arc<Waker>) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<HashJob>();
        let (done, results) = channel();
        std::thread::Builder::new().name("hashing".to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                if done.send(job.run()).is_err() {
                    return;
                }
                // The loop is gone only when the process ends.
                let _ = waker.wake();
            }
        })?;
        Ok(HashingHelper { jobs, results })
    }

    /// Takes a job.
    pub(super) fn request(&self, job: HashJob) {
        if self.jobs.send(job).is_err() {
            log::error!(target: "-internal", "the password helper is gone: nobody can log in until a restart");
        }
    }

    /// The next result.
    pub(super) fn result(&self) -> Option<HashResult> {
        self.results.try_recv().ok()
    }
}
