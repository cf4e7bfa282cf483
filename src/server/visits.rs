//! When accounts were last used, for admins. mod_last keeps what contacts may know, the end of availability; here every
//! session counts, whatever it showed of itself.
//!
//! The end of a session is written at once, if anything can be. A login is not, as its answer would wait for the disk: who
//! is still here after a while is written down then, some at a time, so that a crash does not make them strangers.

use std::collections::BTreeMap;

use super::{Server, Timer};
use crate::config::LogSink;
use crate::store::last;
use crate::xmpp::{BareJid, Now};

/// How long after a login it is written down.
const WAIT_MILLIS: u64 = 60_000;
/// How many are written in one tick, and how long until the next ones.
const PAGE: usize = 200;
const PAGE_MILLIS: u64 = 20;

/// Who logged in and is not written down yet, with the moment, in Unix milliseconds: one of each account.
pub(super) type Newcomers = BTreeMap<BareJid, u64>;

impl Server {
    /// A session begins.
    pub(super) fn came(&mut self, now: Now, account: BareJid) {
        if self.newcomers.is_empty() {
            self.timers.set(now.monotonic_millis.saturating_add(WAIT_MILLIS), Timer::Newcomers);
        }
        self.newcomers.insert(account, now.unix_millis);
    }

    /// A session has ended. While the database refuses, the moment waits in memory: a tick that is lost costs all who spoke
    /// in it. At the end of the server all are written in one go.
    pub(super) fn left(&mut self, now: Now, account: &BareJid) {
        if self.is_stopping || self.store.refuses() {
            return self.came(now, account.clone());
        }
        self.newcomers.remove(account);
        self.keep_visit(account, now.unix_millis);
    }

    /// Writes some of the newcomers down. While the database refuses, they wait: a tick that is lost costs others, too.
    pub(super) fn keep_newcomers(&mut self, now: Now) {
        let fails = self.store.refuses();
        for _ in 0..if fails { 0 } else { PAGE } {
            let Some((account, unix_millis)) = self.newcomers.pop_first() else { return };
            self.keep_visit(&account, unix_millis);
        }
        if !self.newcomers.is_empty() {
            let wait = if fails { WAIT_MILLIS } else { PAGE_MILLIS };
            self.timers.set(now.monotonic_millis.saturating_add(wait), Timer::Newcomers);
        }
    }

    /// The server ends.
    pub(super) fn keep_all_newcomers(&mut self) {
        let all = std::mem::take(&mut self.newcomers);
        if self.store.refuses() {
            return;
        }
        let kept = self.store.savepoint(|store| all.iter().try_for_each(|(who, at)| last::set_visit(store, who, *at)));
        if let Err(error) = kept {
            log::error!(target: LogSink::INTERNAL, "the last visits of who is here are not kept: {error}");
        }
    }

    fn keep_visit(&mut self, account: &BareJid, unix_millis: u64) {
        let kept = self.store.savepoint(|store| last::set_visit(store, account, unix_millis));
        if let Err(error) = kept {
            log::error!(target: LogSink::INTERNAL, "the last visit of {account} is not kept: {error}");
        }
    }
}
