//! What an import tells the admin: a file with a line for each piece that was left behind, and counts at its end.

use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::xmpp::datetime;

/// What was kept, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accounts that were made.
    pub accounts: u64,
    /// Of these, those whose old hash waits for the first login with a plain password.
    pub old_hashes: u64,
    /// Of these, those with keys for some mechanisms of SCRAM only.
    pub some_keys: u64,
    /// Of these, those that need a new password.
    pub without_password: u64,
    /// Of these, those whose password is kept as text for a while.
    pub plain_passwords: u64,
    /// Contacts that their users see.
    pub contacts: u64,
    /// Requests for a subscription that wait for an answer.
    pub requests: u64,
    /// Messages that wait.
    pub messages: u64,
    /// vCards.
    pub vcards: u64,
    /// Elements of private XML.
    pub private: u64,
    /// Forms that were filled in at registration.
    pub registrations: u64,
    /// Times of last activity.
    pub last: u64,
    /// Privacy lists, and filters of jabberd 1.4.
    pub rules: u64,
    /// Rules in such filters that are kept and not run.
    pub idle_rules: u64,
    /// Pieces that nothing here reads yet.
    pub kept: u64,
    /// Files in which components kept data of their users.
    pub component_files: u64,
    /// People of an old user directory who are in ours.
    pub directory_entries: u64,
    /// Files without an account of ours in them, and directories.
    pub files_left: u64,
    /// Accounts that were here already.
    pub already_here: u64,
    /// Pieces of imported accounts that have no place here, and users of hosts that are not served.
    pub pieces_left: u64,
    /// Of the pieces, users of hosts that are not served.
    pub users_elsewhere: u64,
    /// Accounts, files and documents that could not be read, or not to their end.
    pub unread: u64,
}

impl Counts {
    /// Adds what one account had.
    pub(super) fn add(&mut self, more: &Counts) {
        for (own, more) in [
            (&mut self.accounts, more.accounts),
            (&mut self.old_hashes, more.old_hashes),
            (&mut self.some_keys, more.some_keys),
            (&mut self.without_password, more.without_password),
            (&mut self.plain_passwords, more.plain_passwords),
            (&mut self.contacts, more.contacts),
            (&mut self.requests, more.requests),
            (&mut self.messages, more.messages),
            (&mut self.vcards, more.vcards),
            (&mut self.private, more.private),
            (&mut self.registrations, more.registrations),
            (&mut self.last, more.last),
            (&mut self.rules, more.rules),
            (&mut self.idle_rules, more.idle_rules),
            (&mut self.kept, more.kept),
        ] {
            *own += more;
        }
    }

    fn rows(&self) -> [(u64, &'static str); 22] {
        [
            (self.accounts, "accounts"),
            (self.old_hashes, "of these with an old hash, until their first login with PLAIN"),
            (
                self.some_keys,
                "of these with keys for some mechanisms only: their hosts offer no others until each has logged in with \
                 PLAIN once, or has a new password",
            ),
            (self.without_password, "of these that need a new password"),
            (self.plain_passwords, "of these with the password as text, as <keep-plain-passwords> asks for"),
            (self.contacts, "contacts"),
            (self.requests, "requests for a subscription that wait"),
            (self.messages, "messages that wait"),
            (self.vcards, "vCards"),
            (self.private, "elements of private data"),
            (self.registrations, "registration forms, without the password"),
            (self.last, "times of last activity"),
            (self.rules, "privacy lists and filters"),
            (self.idle_rules, "rules of filters that are kept and not run: only <from> with <error> or <offline> is"),
            (self.kept, "pieces kept as they are, without effect yet"),
            (self.component_files, "files of components, which find what they kept by <xdb> as before"),
            (self.directory_entries, "people of an old user directory, who are in the one of their host"),
            (self.already_here, "accounts that were here already, or removed here, and stay so"),
            (self.files_left, "files and directories left alone"),
            (self.pieces_left, "pieces of accounts left behind, and users of hosts that are not served"),
            (self.users_elsewhere, "of these are such users"),
            (self.unread, "accounts and files that could not be read, or not to their end"),
        ]
    }
}

/// One line, for the log.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accounts={} contacts={} requests={} messages={} vcards={} private={} component_files={} directory_entries={} left_files={} left_pieces={} unread={} already_here={}",
            self.accounts,
            self.contacts,
            self.requests,
            self.messages,
            self.vcards,
            self.private,
            self.component_files,
            self.directory_entries,
            self.files_left,
            self.pieces_left,
            self.unread,
            self.already_here
        )
    }
}

/// A number of things, in words.
pub fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// How many lines the admin is to read outside of the report; there may be as many as there are files.
const REMEDIES_MAX: usize = 100;

/// Writes the report as the import goes on.
pub(super) struct Report<'a> {
    out: &'a mut dyn Write,
    failed: bool,
    pub(super) counts: Counts,
    remedies: Vec<String>,
    /// Those that are in the report alone.
    remedies_more: u64,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Report<'a> {
        Report { out, failed: false, counts: Counts::default(), remedies: Vec::new(), remedies_more: 0 }
    }

    pub(super) fn begin(&mut self, what: &str, now_unix_millis: u64, from: impl Iterator<Item = String>) {
        self.line(&format!("Import of {what}, {}", datetime::stamp(now_unix_millis)));
        for place in from {
            self.line(&format!("from {place}"));
        }
        self.line("");
    }

    /// A file or directory that is left alone.
    pub(super) fn left(&mut self, name: &str, why: &str) {
        self.counts.files_left += 1;
        self.line(&format!("{name}: {why}"));
        if name.ends_with('/') {
            self.note(format!("{name}: {why}"));
        }
    }

    /// An account that is here already.
    pub(super) fn already_here(&mut self, name: &str, why: &str) {
        self.counts.already_here += 1;
        self.line(&format!("{name}: {why}"));
    }

    /// A piece of an account that is left behind.
    pub(super) fn piece(&mut self, name: &str, what: &str, why: &str) {
        self.counts.pieces_left += 1;
        self.line(&format!("{name}: {what}: {why}"));
    }

    /// A document or a directory that could not be read, or not to its end.
    pub(super) fn unread(&mut self, text: String) {
        self.counts.unread += 1;
        self.remedy(text);
    }

    /// Users of a host that is not served.
    pub(super) fn elsewhere(&mut self, users: u64) {
        self.counts.pieces_left += users;
        self.counts.users_elsewhere += users;
    }

    /// Where the database is as it was before.
    pub(super) fn copied(&mut self, file: &Path) {
        self.line(&format!("The database as it was before is {}", file.display()));
    }

    /// Something that the admin is to read in the log as well.
    pub(super) fn remedy(&mut self, text: String) {
        self.line(&text);
        self.note(text);
    }

    fn note(&mut self, text: String) {
        match self.remedies.len() < REMEDIES_MAX {
            true => self.remedies.push(text),
            false => self.remedies_more += 1,
        }
    }

    pub(super) fn end(&mut self, stopped: bool) {
        self.line("");
        for (count, what) in self.counts.rows() {
            self.line(&format!("{count:>9} {what}"));
        }
        if stopped {
            self.line("Stopped before its end; the next import goes on.");
        }
        self.line("");
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        let flushed = self.out.flush();
        self.check(flushed);
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn remedies(mut self) -> Vec<String> {
        if self.remedies_more > 0 {
            self.remedies.push(format!("{} more: see the report", self.remedies_more));
        }
        self.remedies
    }

    /// Names of files can hold anything; a line stays a line.
    fn line(&mut self, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let written = writeln!(self.out, "{text}");
        self.check(written);
    }

    /// The accounts are worth more than the report: the import goes on without it.
    fn check(&mut self, outcome: std::io::Result<()>) {
        if let Err(error) = outcome {
            if !self.failed {
                self.remedies.push(format!("the report could not be written: {error}"));
            }
            self.failed = true;
        }
    }
}
