//! What those who play know for sure: who was told what, and what must therefore be so.

use std::collections::{BTreeMap, BTreeSet};

/// A value that somebody set, or may have set.
struct Write {
    value: String,
    begun: u64,
    /// When it was acknowledged, or from when on it cannot be done any more.
    ended: Option<u64>,
    acknowledged: bool,
    connection: usize,
}

/// Something that is kept for an account: what may stand there?
#[derive(Default)]
pub struct Register {
    writes: Vec<Write>,
}

impl Register {
    pub fn begin(&mut self, connection: usize, value: &str, clock: u64) {
        let value = value.to_string();
        self.writes.push(Write { value, begun: clock, ended: None, acknowledged: false, connection });
    }

    pub fn set(&mut self, value: &str, clock: u64) {
        self.begin(usize::MAX, value, clock);
        self.acknowledge(usize::MAX, value, clock);
    }

    pub fn acknowledge(&mut self, connection: usize, value: &str, clock: u64) {
        if let Some(at) = self.oldest(connection, value) {
            self.writes[at].ended.get_or_insert(clock);
            self.writes[at].acknowledged = true;
        }
    }

    /// The server said that it will not do it.
    pub fn refuse(&mut self, connection: usize, value: &str) {
        if let Some(at) = self.oldest(connection, value) {
            self.writes.remove(at);
        }
    }

    /// Answers come in the order of the requests.
    fn oldest(&self, connection: usize, value: &str) -> Option<usize> {
        let is_it = |write: &Write| write.connection == connection && write.value == value && !write.acknowledged;
        self.writes.iter().position(is_it)
    }

    /// A connection is gone: what is not done now never will be.
    pub fn forget(&mut self, connection: usize, clock: u64) {
        for write in self.writes.iter_mut().filter(|write| write.connection == connection) {
            write.ended.get_or_insert(clock);
        }
    }

    /// What may have stood there at some time since `since`.
    pub fn possible(&self, since: u64) -> BTreeSet<&str> {
        let latest = self.writes.iter().filter(|write| write.acknowledged && write.ended.is_some_and(|at| at <= since));
        let floor = latest.map(|write| write.begun).max().unwrap_or(0);
        let late = |write: &&Write| write.ended.is_none_or(|ended| ended >= floor);
        self.writes.iter().filter(late).map(|write| write.value.as_str()).collect()
    }

    /// The one value that may stand there now.
    pub fn certain(&self, clock: u64) -> Option<&str> {
        let possible = self.possible(clock);
        if possible.len() == 1 { possible.first().copied() } else { None }
    }
}

/// A message that somebody wrote.
pub struct Message {
    pub sender: usize,
    pub from: String,
    pub to: String,
    pub to_account: usize,
    /// Must somebody get it, or the sender an error?
    pub matters: bool,
    pub acknowledged: bool,
    /// Between two servers; then a broken wire may double it.
    pub is_remote: bool,
    /// By connection: how often, and whether from the store.
    pub received: BTreeMap<usize, (u32, u32)>,
    pub bounced: bool,
    pub lost_to_client: bool,
    /// A crash, a removed account, an unknown receiver: the message may be gone with its sender.
    pub excused: bool,
    /// It may have come back as an error to a session that was over: a wire broke, or its receiver's server was down.
    pub may_bounce: bool,
    /// Its receiver went, or the receiver's server died: what came from the store may come once more, or wait, if the
    /// server did not come to note that it had left.
    pub may_return: bool,
    /// Sent after so many disturbances between servers.
    pub epoch: u64,
}

impl Message {
    /// What is wrong with it, once everything has come to rest.
    pub fn verdict(&self, is_stored: bool, may_double: bool) -> Option<&'static str> {
        let live: u32 = self.received.values().map(|(live, _)| *live).sum();
        let stored: u32 = self.received.values().map(|(_, stored)| *stored).sum();
        let twice = self.received.values().any(|(live, stored)| live + stored > 1);
        let returns = self.may_return && stored > 0 && live == 0;
        if !may_double && !returns {
            if twice {
                return Some("came twice to the same client");
            }
            if stored > 1 || (stored > 0 && live > 0) {
                return Some("came again after it had been delivered");
            }
            if is_stored && live + stored > 0 {
                return Some("was delivered and is still stored");
            }
        }
        if !may_double && self.bounced && (is_stored || live + stored > 0) {
            return Some("came back as an error and was delivered, too");
        }
        let arrived = live + stored > 0 || is_stored || self.bounced;
        if self.matters && self.acknowledged && !arrived && !self.lost_to_client && !self.excused {
            return Some("was accepted and is gone");
        }
        None
    }
}

/// The numbers of messages whose text is in these bytes.
pub fn marks(bytes: &[u8]) -> Vec<usize> {
    let text = String::from_utf8_lossy(bytes);
    text.split("[m").skip(1).filter_map(|rest| rest.split_once(']')?.0.parse().ok()).collect()
}

/// Text that holds a message's number, and now and then what must be escaped.
pub fn marked(number: usize) -> String {
    match number % 4 {
        0 => format!("[m{number}] &lt;&amp;&gt;"),
        1 => format!("[m{number}] \u{e4}\u{1F600}"),
        _ => format!("[m{number}]"),
    }
}
