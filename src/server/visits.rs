//! When accounts were last used, for admins. mod_last keeps what contacts may know, the end of availability; here every
//! session counts, whatever it showed of itself.
//!
//! The end of a session is written at once, if anything can be. A login is not, as its answer would wait for the disk: who
//! is still here after a while is written down then, some at a time, so that a crash does not make them strangers.

use std::collections::BTreeMap;

use super::{Server, Timer};
use crate::config::LogSink;
use crate::router::Session;
use crate::store::last::{self, Visit};
use crate::xmpp::{BareJid, Now};

/// How long after a login it is written down.
const WAIT_MILLIS: u64 = 60_000;
/// How many are written in one tick, and how long until the next ones.
const PAGE: usize = 200;
const PAGE_MILLIS: u64 = 20;

/// Who logged in and is not written down yet.
#[derive(Default)]
pub(super) struct Newcomers {
    /// One of each account.
    waiting: BTreeMap<BareJid, Visit>,
    /// Is there a timer? Who comes and goes all the time sets no second one.
    is_planned: bool,
}

impl Server {
    /// A session begins.
    pub(super) fn came(&mut self, now: Now, account: BareJid) {
        self.keep_later(now, account, Visit { came: now.unix_millis, seen: now.unix_millis });
    }

    fn keep_later(&mut self, now: Now, account: BareJid, visit: Visit) {
        if !std::mem::replace(&mut self.newcomers.is_planned, true) {
            self.timers.set(now.monotonic_millis.saturating_add(WAIT_MILLIS), Timer::Newcomers);
        }
        let newest = self.newcomers.waiting.get(&account).map_or(visit.came, |known| visit.came.max(known.came));
        self.newcomers.waiting.insert(account, Visit { came: newest, ..visit });
    }

    /// A session has ended. While the database refuses, the moment waits in memory: a tick that is lost costs all who spoke
    /// in it. At the end of the server all are written in one go.
    pub(super) fn left(&mut self, now: Now, session: &Session) {
        let account = session.account();
        let millis = now.monotonic_millis.saturating_sub(session.opened_millis());
        let visit = Visit { came: now.unix_millis.saturating_sub(millis), seen: now.unix_millis };
        if self.is_stopping || self.store.refuses() {
            return self.keep_later(now, account.clone(), visit);
        }
        let newer = self.newcomers.waiting.remove(account).map_or(visit.came, |newcomer| newcomer.came.max(visit.came));
        self.keep_visit(account, Visit { came: newer, ..visit });
    }

    /// Writes some of the newcomers down. While the database refuses, they wait: a tick that is lost costs others, too.
    pub(super) fn keep_newcomers(&mut self, now: Now) {
        self.newcomers.is_planned = false;
        let fails = self.store.refuses();
        for _ in 0..if fails { 0 } else { PAGE } {
            let Some((account, visit)) = self.newcomers.waiting.pop_first() else { return };
            self.keep_visit(&account, visit);
        }
        if !self.newcomers.waiting.is_empty() {
            self.newcomers.is_planned = true;
            let wait = if fails { WAIT_MILLIS } else { PAGE_MILLIS };
            self.timers.set(now.monotonic_millis.saturating_add(wait), Timer::Newcomers);
        }
    }

    /// The server ends.
    pub(super) fn keep_all_newcomers(&mut self) {
        let all = std::mem::take(&mut self.newcomers.waiting);
        if self.store.refuses() {
            return;
        }
        let kept =
            self.store.savepoint(|store| all.iter().try_for_each(|(who, visit)| last::set_visit(store, who, *visit)));
        if let Err(error) = kept {
            log::error!(target: LogSink::INTERNAL, "the last visits of who is here are not kept: {error}");
        }
    }

    fn keep_visit(&mut self, account: &BareJid, visit: Visit) {
        let kept = self.store.savepoint(|store| last::set_visit(store, account, visit));
        if let Err(error) = kept {
            log::error!(target: LogSink::INTERNAL, strangers = "visits that are not kept";
                "the last visit of {account} is not kept: {error}");
        }
    }
}
