//! The disk helper: the one thread that waits for `fsync`, so that the loop never does (design rule 2).

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::Waker;

use super::engine::Tick;
use crate::store::disk::Disk;

/// What the helper can do, on its own threads.
pub trait Durable: Send + Sync + 'static {
    /// Makes everything that is committed so far survive a power failure.
    ///
    /// # Errors
    /// A text for the log; nothing committed since the last success may be taken as kept, now or later.
    fn sync(&self) -> Result<(), String>;

    /// Tidies up behind commits; may take long, and holds up no `sync`.
    ///
    /// # Errors
    /// A text for the log; nothing is lost.
    fn checkpoint(&self) -> Result<(), String>;
}

impl Durable for Disk {
    fn sync(&self) -> Result<(), String> {
        Disk::sync(self).map_err(|error| error.to_string())
    }

    fn checkpoint(&self) -> Result<(), String> {
        Disk::checkpoint(self).map(|_| ()).map_err(|error| error.to_string())
    }
}

/// What became of ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// All ticks up to this one are durable.
    Durable(Tick),
    /// The ticks up to this one that are not durable yet never will be known to be.
    Lost(Tick, String),
}

/// Ticks that are not durable yet, and since when: how long the disk takes.
#[derive(Debug, Default)]
pub(super) struct Awaited(VecDeque<(Tick, Instant)>);

impl Awaited {
    /// More than this many ticks without a word of the disk are no measure any more.
    const MOST: usize = 1_000;

    pub(super) fn note(&mut self, tick: Tick, now: Instant) {
        if self.0.len() < Awaited::MOST {
            self.0.push_back((tick, now));
        }
    }

    /// How long each tick took, up to this one.
    pub(super) fn arrived(&mut self, tick: Tick) -> Vec<Duration> {
        let count = self.0.iter().take_while(|(other, _)| *other <= tick).count();
        if count == 0 {
            return Vec::new();
        }
        let now = Instant::now();
        self.0.drain(..count).map(|(_, since)| now.duration_since(since)).collect()
    }
}

/// The loop's end of the helper.
pub struct DiskHelper {
    requests: Option<Sender<Tick>>,
    reports: Arc<Mutex<Vec<Report>>>,
    /// Ends when both threads have.
    ended: Option<Receiver<()>>,
}

impl DiskHelper {
    /// Starts the helper. With `None` there is no disk (tests, memory): every tick is durable at once.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(disk: Option<Arc<dyn Durable>>, waker: Arc<Waker>) -> std::io::Result<Self> {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let Some(disk) = disk else { return Ok(DiskHelper { requests: None, reports, ended: None }) };
        let (requests, queue) = channel();
        let (nudge, nudges) = sync_channel(1);
        let shared = Arc::clone(&reports);
        let (running, ended) = channel();
        let (copied, copying) = (Arc::clone(&disk), running.clone());
        std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            checkpoint(&*copied, &nudges, UNASKED);
            drop((copied, copying));
        })?;
        std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
            serve(&*disk, &queue, &shared, &waker, &nudge);
            drop((disk, running));
        })?;
        Ok(DiskHelper { requests: Some(requests), reports, ended: Some(ended) })
    }

    /// A tick was committed and wants to be durable.
    pub(super) fn request(&self, tick: Tick) {
        let report = match &self.requests {
            None => Report::Durable(tick),
            Some(requests) => match requests.send(tick) {
                Ok(()) => return,
                Err(_) => Report::Lost(tick, "the disk helper is gone".to_owned()),
            },
        };
        push(&self.reports, report);
    }

    /// What became known since the last call.
    pub(super) fn reports(&self) -> Vec<Report> {
        let mut reports = self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *reports)
    }

    /// Ends the helper when all requests are done; waits for it, but not for ever.
    pub(super) fn finish(&mut self, patience: Duration) {
        self.requests = None;
        if let Some(ended) = self.ended.take() {
            // Nothing is ever sent: this returns when the last thread is gone.
            let _ = ended.recv_timeout(patience);
        }
    }
}

fn push(reports: &Mutex<Vec<Report>>, report: Report) {
    reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(report);
}

fn serve(
    disk: &dyn Durable,
    queue: &Receiver<Tick>,
    reports: &Mutex<Vec<Report>>,
    waker: &Waker,
    nudge: &SyncSender<()>,
) {
    while let Ok(first) = queue.recv() {
        // One call for all that was committed while the last one ran.
        let tick = queue.try_iter().last().unwrap_or(first);
        let report = match disk.sync() {
            Ok(()) => Report::Durable(tick),
            Err(why) => Report::Lost(tick, why),
        };
        push(reports, report);
        // The loop is gone only when the process ends.
        let _ = waker.wake();
        // Full means that one is due already.
        let _ = nudge.try_send(());
    }
}

/// How often the log is looked at when this server writes nothing: `jabberctl import` may, beside it.
const UNASKED: Duration = Duration::from_secs(10);

/// Beside `serve`, because copying a long log must not hold up who waits for a sync.
fn checkpoint(disk: &dyn Durable, nudges: &Receiver<()>, unasked: Duration) {
    let mut failing = false;
    while !matches!(nudges.recv_timeout(unasked), Err(RecvTimeoutError::Disconnected)) {
        let done = disk.checkpoint();
        if let (Err(why), false) = (&done, failing) {
            log::error!(target: "-internal", "the database's log cannot be shortened, and grows: {why}");
        }
        failing = done.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(Sender<()>);

    impl Durable for Counting {
        fn sync(&self) -> Result<(), String> {
            Ok(())
        }
        fn checkpoint(&self) -> Result<(), String> {
            self.0.send(()).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn the_log_is_looked_at_unasked_until_the_server_ends() {
        let (tell, told) = channel();
        let (nudge, nudges) = sync_channel(1);
        let thread = std::thread::spawn(move || checkpoint(&Counting(tell), &nudges, Duration::from_millis(1)));
        for _ in 0..3 {
            told.recv().unwrap();
        }
        drop(nudge);
        thread.join().unwrap();
    }
}
