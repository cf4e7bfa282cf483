//! Can ticks be committed? Counted, told to the log and to who asks, and tried again when nobody writes: who watches
//! sends nobody here while it fails, and then nobody would ever find out that it works again.

use super::{Server, Timer};
use crate::config::LogSink;
use crate::store::{self, Tick, meta};
use crate::xmpp::{Now, datetime};

/// How often a server that cannot commit tries it by itself.
const TRIAL_MILLIS: u64 = 10_000;
/// How often the log is told that it still fails.
const REMINDER_MILLIS: u64 = 10 * 60_000;
/// How often it is looked whether the database is in its place.
const PLACE_MILLIS: u64 = 60_000;
/// What a trial writes: more than the rest of room that a larger commit has left in the log when it failed.
const TRIAL: (&str, &[u8]) = ("commit trial", &[0; 32_768]);

/// How commits went.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Those that failed, since the start.
    failures: u64,
    failing: Option<Failing>,
    /// Is there a timer for the next trial?
    is_planned: bool,
    /// Was the log told that the database is not in its place?
    pub(super) is_displaced: bool,
    /// When to look next.
    place_millis: u64,
}

/// No commit has worked since.
#[derive(Debug)]
pub(super) struct Failing {
    /// What the last one said.
    pub(super) why: String,
    pub(super) since_unix_millis: u64,
    since_millis: u64,
    /// Commits that failed since.
    count: u64,
    told_millis: u64,
    tried_millis: u64,
}

impl Commits {
    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }

    /// `what` became of those who wanted something kept, for the log.
    fn failed(&mut self, now: Now, what: &str, why: String) {
        self.failures = self.failures.saturating_add(1);
        let now_millis = now.monotonic_millis;
        let Some(failing) = &mut self.failing else {
            log::error!(target: LogSink::INTERNAL, "the database refused to commit, {what}: {why}");
            self.failing = Some(Failing {
                why,
                since_unix_millis: now.unix_millis,
                since_millis: now_millis,
                count: 1,
                told_millis: now_millis,
                tried_millis: now_millis,
            });
            return;
        };
        failing.count = failing.count.saturating_add(1);
        failing.tried_millis = now_millis;
        failing.why = why;
        if now_millis >= failing.told_millis.saturating_add(REMINDER_MILLIS) {
            failing.told_millis = now_millis;
            log::error!(
                target: LogSink::INTERNAL,
                "the database still refuses to commit: since {}, failures={}: {}",
                datetime::stamp(failing.since_unix_millis), failing.count, failing.why
            );
        }
    }

    fn worked(&mut self, now: Now) {
        if let Some(Failing { since_millis, count, .. }) = self.failing.take() {
            let seconds = now.monotonic_millis.saturating_sub(since_millis) / 1000;
            log::warn!(target: LogSink::INTERNAL, "the database commits again: seconds={seconds} failures={count}");
        }
    }

    fn is_trial_due(&self, now: Now) -> bool {
        self.failing
            .as_ref()
            .is_some_and(|failing| now.monotonic_millis >= failing.tried_millis.saturating_add(TRIAL_MILLIS))
    }
}

impl Server {
    /// Ends the tick. `None` if it wrote nothing; then its outputs may leave at once.
    ///
    /// # Errors
    /// When the commit failed: the outputs of this tick must be dropped and their streams closed.
    pub fn commit(&mut self) -> Result<Option<Tick>, store::Error> {
        self.ticks += 1;
        self.look_at_place();
        if let Some(why) = self.store.take_unbegun() {
            self.commits.failed(self.now, "who asked for it was refused", why);
        }
        let committed = match self.store.commit() {
            // Nobody of this tick wrote, so nobody of it loses anything if the trial fails.
            Ok(None) if self.commits.is_trial_due(self.now) => Ok(self.try_commit()),
            Ok(None) => Ok(None),
            committed => {
                self.note_commit(&committed);
                committed
            }
        };
        match &committed {
            Ok(None) => {}
            Ok(Some(_)) => self.router.blocks_are_kept(),
            Err(_) => self.router.blocks_are_lost(&self.store),
        }
        if let Some(failing) = self.commits.failing.as_ref().filter(|_| !self.commits.is_planned) {
            self.timers.set(failing.tried_millis.saturating_add(TRIAL_MILLIS), Timer::Trial);
            self.commits.is_planned = true;
        }
        committed
    }

    /// The timer of the next trial has gone off; the tick that it is in makes the trial.
    pub(super) fn trial_is_due(&mut self) {
        self.commits.is_planned = false;
    }

    /// Commits work on a file that was moved away, and nobody finds again what they kept: the log is told, once.
    fn look_at_place(&mut self) {
        let now_millis = self.now.monotonic_millis;
        if now_millis < self.commits.place_millis {
            return;
        }
        self.commits.place_millis = now_millis.saturating_add(PLACE_MILLIS);
        let displaced = self.store.displaced();
        match (&displaced, self.commits.is_displaced) {
            (Some(error), false) => log::error!(target: LogSink::INTERNAL, "{error}"),
            (None, true) => log::warn!(target: LogSink::INTERNAL, "the database is in its place again"),
            _ => {}
        }
        self.commits.is_displaced = displaced.is_some();
    }

    fn try_commit(&mut self) -> Option<Tick> {
        let (key, value) = TRIAL;
        let committed = meta::set(&mut self.store, key, value).and_then(|()| self.store.commit());
        if committed.is_err() {
            self.store.rollback();
        }
        self.note_commit(&committed);
        committed.ok().flatten()
    }

    fn note_commit(&mut self, committed: &Result<Option<Tick>, store::Error>) {
        match committed {
            Ok(_) => self.commits.worked(self.now),
            Err(error) => self.commits.failed(self.now, "streams that asked for it are closed", error.to_string()),
        }
    }
}
