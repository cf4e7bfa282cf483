//! The password helper: the one thread that runs PBKDF2, which takes milliseconds by design.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};

use mio::Waker;

use super::engine::{HashJob, HashResult};

/// The loop's end of the helper.
pub struct HashingHelper {
    jobs: SyncSender<HashJob>,
    results: Receiver<HashResult>,
}

impl HashingHelper {
    /// Starts the helper, for whom at most `jobs_max` jobs wait.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(jobs_max: usize, waker: Arc<Waker>) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<HashJob>(jobs_max);
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

    /// Takes a job. Gives it back if too many wait already.
    pub(super) fn request(&self, job: HashJob) -> Result<(), HashJob> {
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => Err(job),
        }
    }

    /// The next result.
    pub(super) fn result(&self) -> Option<HashResult> {
        self.results.try_recv().ok()
    }
}
