//! XEP-0227: the format that servers have in common, in and out.
//!
//! [`import`] goes three steps: one thread cuts the document into users ([`split`]), and the files that it includes
//! (XEP-0227 §5); workers read them ([`user`]) and derive the keys of passwords that are told in clear; the caller's
//! thread keeps what they found, many accounts to a transaction. At any time only a few users are in memory. An import
//! that is stopped is begun again from the start of the file: accounts that are here are passed over before the costly
//! part. [`export()`] writes the whole store, or one host of it, as it is at one moment.
//!
//! Beyond the XEP there is one element of ours, `<account xmlns='urn:jabber:account:3'/>`: when the account was made,
//! whether it is disabled, an old hash of its password, contacts that its user does not see, and what it said to the user
//! directory. Other servers pass over it.

mod export;
mod split;
mod user;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::UNIX_EPOCH;

use self::split::{Failure, Piece, Splitter};
use super::person::{self, Note, Person};
use super::report::{Report, counted};
use super::{Imported, MANY_ACCOUNTS, Passwords, Plan, Step, Work, written};
use crate::store::account::{self, Credentials};
use crate::store::{Error, Store};
use crate::xml::{self, Element};
use crate::xmpp::BareJid;
use crate::xmpp::jid::{self, DomainPart};

pub use self::export::{Exported, export};

/// XEP-0227 §4: the document.
const PIE: &str = "urn:xmpp:pie:0";
/// XEP-0227 §5: parts in other files.
const XINCLUDE: &str = "http://www.w3.org/2001/XInclude";
/// What we know and XEP-0227 has no place for.
const ACCOUNT: &str = "urn:jabber:account:3";
/// XEP-0227 §4.11.2.
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// XEP-0227 §4.11.1.
const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// XEP-0227 §4.12.
const ARCHIVE: &str = "urn:xmpp:pie:0#mam";

/// Users that wait between the threads: enough that none waits for another, and few enough to bound the memory.
const WAITING: usize = 32;
/// Directories in directories, where documents are looked for.
const DIRECTORIES_MAX: usize = 3;

/// Imports documents.
pub(super) fn import(mut import: Work<'_>) -> Result<Imported, Error> {
    let (plan, passwords) = (import.plan, import.passwords);
    let from = plan.from.iter().map(|file| file.display().to_string());
    import.report.begin("a document of XEP-0227", plan.now_unix_millis, from);
    let known = known(import.store)?;
    let all = plan.from.iter().map(|file| users_in(file).unwrap_or(0)).sum::<usize>();
    let (found, users) = mpsc::sync_channel(WAITING);
    let users = Mutex::new(users);
    let (users, known) = (&users, &known);
    let modified = plan.from.iter().filter_map(|file| modified(file)).max().unwrap_or(plan.now_unix_millis);
    let stopped = thread::scope(|scope| {
        let (sender, results) = mpsc::sync_channel(WAITING);
        scope.spawn(move || Walk { plan, out: found, includes: 0, documents: 0 }.documents());
        for _ in 0..plan.threads.max(1) {
            let sender = sender.clone();
            scope.spawn(move || {
                loop {
                    // Only one waits for the next user, with the lock held; the others wait for the lock.
                    let next = users.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(next) = next else { break };
                    if sender.send(work(next, plan, passwords, known, all > MANY_ACCOUNTS)).is_err() {
                        // The import was stopped; nobody reads any further.
                        drain(users);
                        break;
                    }
                }
            });
        }
        drop(sender);
        let (mut done, mut uncommitted) = (0, 0);
        for result in results {
            if comes_in(import.store, &result, modified)? && import.is_stopped_at_copy()? {
                return Ok(true);
            }
            done += usize::from(keep(import.store, &mut import.report, plan, result, modified)?);
            // Users that are broken count, too: a server may wait for the database.
            uncommitted += 1;
            if uncommitted >= plan.accounts_per_commit.max(1) {
                uncommitted = 0;
                import.commit()?;
            }
            if import.is_stopped(Step::Accounts, done, all.max(done)) {
                return Ok::<_, Error>(true);
            }
        }
        Ok(false)
    })?;
    import.end(stopped)
}

/// Lets the thread that cuts come to its end: it stops when nobody takes what it finds.
fn drain(users: &Mutex<mpsc::Receiver<Found>>) {
    while users.lock().unwrap_or_else(PoisonError::into_inner).recv().is_ok() {}
}

/// Accounts that are here, so that no work is done for them.
fn known(store: &Store) -> Result<HashSet<BareJid>, Error> {
    let mut known = HashSet::new();
    for host in account::hosts(store)? {
        written::each_account(store, &host, &mut |account| {
            known.insert(account.jid);
            Ok::<_, Error>(())
        })?;
    }
    Ok(known)
}

/// About how many users a document has: for the progress, and for the choice of keys.
fn users_in(file: &Path) -> io::Result<usize> {
    let mut input = BufReader::with_capacity(1 << 20, opened(file)?);
    let mut count = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(count);
        }
        count += memchr::memmem::find_iter(buffer, b"</user>").count();
        count += memchr::memmem::find_iter(buffer, b":include ").count();
        let taken = buffer.len();
        input.consume(taken);
    }
}

/// Not a pipe, which would never end, nor begin.
fn opened(file: &Path) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => File::open(file),
        false => Err(io::Error::other("not a file")),
    }
}

fn modified(file: &Path) -> Option<u64> {
    let modified = file.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(modified.as_millis()).ok()
}

/// What the cutting finds.
enum Found {
    User {
        account: BareJid,
        user: Box<Element>,
        place: String,
    },
    /// Something that is left alone, and the name that nobody may register meanwhile.
    Left {
        place: String,
        why: String,
        reserved: Option<BareJid>,
        /// It could not be read, so there may be an account in it.
        is_unread: bool,
    },
    Piece {
        place: String,
        note: Note,
    },
    /// A document that could not be read, or not to its end.
    Unread(String),
    /// Users of a host that is not served, and what to do about it.
    Elsewhere {
        users: u64,
        remedy: String,
    },
}

/// What the workers make of it.
enum Done {
    Account { account: BareJid, place: String, person: Box<Person>, credentials: Credentials, notes: Vec<Note> },
    Known { account: BareJid, place: String },
    Other(Found),
}

fn work(found: Found, plan: &Plan, passwords: &dyn Passwords, known: &HashSet<BareJid>, of_many: bool) -> Done {
    let Found::User { account, user, place } = found else { return Done::Other(found) };
    if known.contains(&account) {
        return Done::Known { account, place };
    }
    // A bug in reading one user costs that user.
    let read = catch_unwind(AssertUnwindSafe(|| {
        let user::Read { mut person, mut notes } = user::read(&account, &user, plan.now_unix_millis);
        let (credentials, note) = person.take_credentials(plan, passwords, of_many);
        notes.extend(note);
        (person, credentials, notes)
    }));
    match read {
        Ok((person, credentials, notes)) => {
            Done::Account { account, place, person: Box::new(person), credentials, notes }
        }
        Err(_) => {
            let why = "a bug in this server, please report it".to_owned();
            Done::Other(Found::Left { place, why, reserved: Some(account), is_unread: true })
        }
    }
}

/// Will an account be made of it?
fn comes_in(store: &Store, done: &Done, modified: u64) -> Result<bool, Error> {
    let Done::Account { account, .. } = done else { return Ok(false) };
    Ok(!account::exists(store, account)?
        && account::removed_at(store, account)?.is_none_or(|removed| removed < modified))
}

/// Keeps what was found. Was it a user?
fn keep(store: &mut Store, report: &mut Report<'_>, plan: &Plan, done: Done, modified: u64) -> Result<bool, Error> {
    let (account, place, person, credentials, notes) = match done {
        Done::Account { account, place, person, credentials, notes } => (account, place, person, credentials, notes),
        Done::Known { account, place } => {
            report.already_here(&place, &format!("{account} is here already, and stays as it is"));
            return Ok(true);
        }
        Done::Other(Found::Left { place, why, reserved, is_unread }) => {
            report.left(&place, &why);
            report.counts.unread += u64::from(is_unread);
            if let Some(name) = reserved.filter(|name| name.node().is_some()) {
                // Whoever registered the name would be taken for its owner by all contacts.
                account::reserve(store, &name)?;
            }
            return Ok(false);
        }
        Done::Other(Found::Piece { place, note }) => {
            // A file that is included.
            report.piece(&place, &note.what, &note.why);
            report.counts.unread += 1;
            return Ok(false);
        }
        Done::Other(Found::Unread(text)) => {
            report.unread(text);
            return Ok(false);
        }
        Done::Other(Found::Elsewhere { users, remedy }) => {
            report.elsewhere(users);
            report.remedy(remedy);
            return Ok(false);
        }
        Done::Other(Found::User { .. }) => return Ok(false),
    };
    // One that its user removed here does not come back from an older file.
    if account::removed_at(store, &account)?.is_some_and(|removed| removed >= modified) {
        report.already_here(&place, &format!("{account} was here and has been removed"));
        return Ok(true);
    }
    let now = plan.now_unix_millis;
    let counts = store.savepoint(|store| person::keep(store, &account, &person, &credentials, now, now))?;
    match counts {
        Some(counts) => {
            notes.iter().for_each(|note| report.piece(&place, &note.what, &note.why));
            report.counts.add(&counts);
        }
        None => report.already_here(&place, &format!("{account} was there before in this document, which counts")),
    }
    Ok(true)
}

/// Finds the users of a document and of the files that it includes.
struct Walk<'a> {
    plan: &'a Plan,
    out: SyncSender<Found>,
    includes: u64,
    /// Documents that were found.
    documents: u64,
}

type Around = Vec<(String, String)>;

/// Nobody takes what is found any more.
struct Stopped;

impl Walk<'_> {
    fn documents(&mut self) {
        for file in self.plan.from.clone() {
            let read = if file.is_dir() { self.directory(&file, 0) } else { self.data(&file) };
            let read = read.and_then(|()| match self.documents {
                0 => self.tell(Found::Unread(format!("{}: there is no document (NAME.xml) in it", file.display()))),
                _ => Ok(()),
            });
            if read.is_err() {
                // Whoever stopped it knows.
                return;
            }
        }
    }

    /// Compat: Prosody can store by this format, a whole document for each user, as `HOST/USER.xml`.
    fn directory(&mut self, directory: &Path, depth: usize) -> Result<(), Stopped> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => return self.unread(name_of(directory), error.to_string(), None),
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                if depth < DIRECTORIES_MAX {
                    self.directory(&path, depth.saturating_add(1))?;
                }
            } else if path.extension().is_some_and(|extension| extension == "xml") {
                self.data(&path)?;
            }
        }
        Ok(())
    }

    fn tell(&self, found: Found) -> Result<(), Stopped> {
        self.out.send(found).map_err(|_| Stopped)
    }

    fn left(&self, place: impl Into<String>, why: impl Into<String>) -> Result<(), Stopped> {
        self.tell(Found::Left { place: place.into(), why: why.into(), reserved: None, is_unread: false })
    }

    fn unread(&self, place: String, why: impl Into<String>, reserved: Option<BareJid>) -> Result<(), Stopped> {
        self.tell(Found::Left { place, why: why.into(), reserved, is_unread: true })
    }

    fn open(&self, file: &Path) -> Result<Result<Splitter<BufReader<File>>, Failure>, Stopped> {
        Ok(opened(file).map(|file| Splitter::new(BufReader::with_capacity(1 << 16, file))).map_err(Failure::Io))
    }

    /// XEP-0227 §4: the main file.
    fn data(&mut self, file: &Path) -> Result<(), Stopped> {
        self.documents = self.documents.saturating_add(1);
        let name = name_of(file);
        let opened = self.open(file)?.and_then(|mut splitter| Ok((splitter.open()?, splitter)));
        let (tag, mut splitter) = match opened {
            Ok(opened) => opened,
            Err(why) => return self.tell(Found::Unread(format!("{name}: {why}"))),
        };
        let Some(tag) = tag else { return self.tell(Found::Unread(format!("{name}: there is nothing in it"))) };
        let around = split::declared(&tag);
        if !tag_element(&tag, &[]).is_some_and(|root| root.is("server-data", PIE)) {
            let why = format!("{name}: no <server-data xmlns='{PIE}'>, so it is no document of XEP-0227");
            return self.tell(Found::Unread(why));
        }
        loop {
            let is_host = |tag: &str| tag_element(tag, &around).is_some_and(|element| element.is("host", PIE));
            let piece = splitter.next(is_host);
            let place = format!("{name}:{}", splitter.line());
            match piece {
                Ok(Piece::Whole { text, .. }) if is_host(&text) => {
                    if !text.ends_with("/>") && self.host(&mut splitter, &name, file, &text, &around)? {
                        return Ok(());
                    }
                }
                Ok(Piece::Whole { text, line }) => {
                    let element = xml::parse(&split::alone(&text, &around));
                    match element.as_ref().map(|element| self.included(file, element)) {
                        Some(Some(Ok(path))) => self.host_file(&path)?,
                        Some(Some(Err(why))) => self.unread(format!("{name}:{line}"), why, None)?,
                        Some(None) => self.left(format!("{name}:{line}"), "neither a host nor an include")?,
                        None => self.unread(format!("{name}:{line}"), "not well-formed", None)?,
                    }
                }
                Ok(Piece::Broken { why, line, .. }) => self.unread(format!("{name}:{line}"), why, None)?,
                Ok(Piece::End) => return Ok(()),
                Ok(Piece::Cut) => {
                    return self.tell(Found::Unread(format!("{place}: the file ends here, in the middle")));
                }
                Err(why) => return self.tell(Found::Unread(format!("{place}: {why}"))),
            }
        }
    }

    /// XEP-0227 §5.1: a file with one host.
    fn host_file(&mut self, file: &Path) -> Result<(), Stopped> {
        let name = name_of(file);
        let opened = self.open(file)?.and_then(|mut splitter| Ok((splitter.open()?, splitter)));
        match opened {
            Ok((Some(tag), mut splitter)) if tag_element(&tag, &[]).is_some_and(|root| root.is("host", PIE)) => {
                self.host(&mut splitter, &name, file, &tag, &[]).map(drop)
            }
            Ok(_) => self.unread(name, format!("no <host xmlns='{PIE}'> with users in it"), None),
            Err(why) => self.unread(name, why.to_string(), None),
        }
    }

    /// The users of a host whose start tag was read. Returns whether nothing can come after it, which is told.
    fn host(
        &mut self,
        splitter: &mut Splitter<BufReader<File>>,
        name: &str,
        file: &Path,
        tag: &str,
        outer: &[(String, String)],
    ) -> Result<bool, Stopped> {
        let mut around: Around = split::declared(tag);
        around.extend(
            outer.iter().filter(|(prefix, _)| !split::declared(tag).iter().any(|(own, _)| own == prefix)).cloned(),
        );
        let element = tag_element(tag, outer);
        let host = element.as_ref().and_then(|element| element.attribute("jid")).unwrap_or_default().to_owned();
        let wanted = jid::of_host(&host).map(|jid| jid.domain().as_str().to_owned());
        let wanted = wanted.filter(|wanted| self.plan.hosts.contains(wanted));
        let mut passed_over = 0_u64;
        let end = loop {
            let place = |line: u64| format!("{name}:{line}");
            match (splitter.next(|_| false), &wanted) {
                (Ok(Piece::End), _) => break None,
                (Ok(Piece::Cut), _) => {
                    break Some(format!("{}: the file ends here, in the middle of {host}", place(splitter.line())));
                }
                (Err(why), _) => break Some(format!("{}: {why}", place(splitter.line()))),
                (Ok(_), None) => passed_over += 1,
                (Ok(Piece::Broken { tag, line, why }), Some(host)) => {
                    let user = tag_element(&tag, &around).and_then(|user| user.attribute("name").map(str::to_owned));
                    let reserved = user.as_deref().and_then(|name| account_of(host, name));
                    let user = user.map_or_else(String::new, |user| format!("{user:?}: "));
                    let kept =
                        if reserved.is_some() { "; nobody can register the name before it is mended" } else { "" };
                    self.unread(place(line), format!("{user}{why}{kept}"), reserved)?;
                }
                (Ok(Piece::Whole { text, line }), Some(host)) => {
                    let place = place(line);
                    match xml::parse(&split::alone(&text, &around)) {
                        None => {
                            let tag = text.split_inclusive('>').next().unwrap_or_default();
                            let user =
                                tag_element(tag, &around).and_then(|user| user.attribute("name").map(str::to_owned));
                            let reserved = user.and_then(|name| account_of(host, &name));
                            self.unread(place, "not well-formed", reserved)?;
                        }
                        Some(user) if user.is("user", PIE) => self.user(file, host, user, place)?,
                        Some(other) => match self.included(file, &other) {
                            Some(Ok(path)) => self.user_file(&path, host)?,
                            Some(Err(why)) => self.unread(place, why, None)?,
                            None => self.left(place, format!("<{}> is neither a user nor an include", other.name()))?,
                        },
                    }
                }
            }
        };
        if wanted.is_none() {
            // XEP-0227 §4.1: the operator is told.
            let remedy = format!(
                "{name}: {} of {host:?}, which is not served (or not asked for): add <host>{host}</host> to jabber.xml \
                 and import again",
                counted(passed_over, "user")
            );
            self.tell(Found::Elsewhere { users: passed_over, remedy })?;
        }
        let is_end = end.is_some();
        end.map_or(Ok(()), |why| self.tell(Found::Unread(why))).map(|()| is_end)
    }

    /// XEP-0227 §5.1: a file with one user.
    fn user_file(&mut self, file: &Path, host: &str) -> Result<(), Stopped> {
        let name = name_of(file);
        match self.whole_file(file)? {
            Ok(user) if user.is("user", PIE) => self.user(file, host, user, name),
            Ok(_) => self.unread(name, format!("no <user xmlns='{PIE}'>"), None),
            Err(why) => {
                // As the XEP names the files.
                let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                self.unread(name, why, account_of(host, stem))
            }
        }
    }

    fn whole_file(&self, file: &Path) -> Result<Result<Element, String>, Stopped> {
        let piece = self.open(file)?.and_then(|mut splitter| splitter.next(|_| false));
        Ok(match piece {
            Ok(Piece::Whole { text, .. }) => xml::parse(&text).ok_or_else(|| "not well-formed".to_owned()),
            Ok(Piece::Broken { why, .. }) => Err(why.to_owned()),
            Ok(Piece::End | Piece::Cut) => Err("there is nothing in it".to_owned()),
            Err(why) => Err(why.to_string()),
        })
    }

    fn user(&mut self, file: &Path, host: &str, user: Element, place: String) -> Result<(), Stopped> {
        let name = user.attribute("name").unwrap_or_default().to_owned();
        let Some(account) = account_of(host, &name) else {
            return self.left(place, format!("{name:?} can be no name of an account"));
        };
        let place = format!("{place} {account}");
        let user = self.with_includes(file, user, &place)?;
        self.tell(Found::User { account, user: Box::new(user), place })
    }

    /// XEP-0227 §5: only children of the user may be in other files; deeper ones are the user's own data.
    fn with_includes(&mut self, file: &Path, user: Element, place: &str) -> Result<Element, Stopped> {
        if !user.children().any(|child| child.ns() == XINCLUDE) {
            return Ok(user);
        }
        let mut nodes = Vec::new();
        for child in user.children() {
            let read = match self.included(file, child) {
                None => Ok(child.clone()),
                Some(Ok(path)) => self.whole_file(&path)?.map_err(|why| format!("{}: {why}", name_of(&path))),
                Some(Err(why)) => Err(why),
            };
            match read {
                Ok(element) => nodes.push(xml::Node::Element(element)),
                Err(why) => {
                    let note = Note { what: "an included file".to_owned(), why };
                    self.tell(Found::Piece { place: place.to_owned(), note })?;
                }
            }
        }
        Ok(user.with_nodes(nodes))
    }

    /// The file that an `<include/>` names; `None` if it is none.
    fn included(&mut self, from: &Path, element: &Element) -> Option<Result<PathBuf, String>> {
        if !element.is("include", XINCLUDE) {
            return None;
        }
        self.includes += 1;
        if element.attribute("parse").is_some() || element.attribute("xpointer").is_some() {
            return Some(Err("an include with parse= or xpointer=, which is not read".to_owned()));
        }
        let href = element.attribute("href").unwrap_or_default();
        let path = percent_decoded(href).map(PathBuf::from);
        let path = path.filter(|path| {
            // Below the directory of the file, and nowhere else: what a document can name, whoever made it can read.
            let mut parts = path.components();
            !href.is_empty()
                && !href.contains(['#', '?', ':'])
                && parts.all(|part| matches!(part, Component::Normal(_)))
        });
        let Some(path) = path else {
            return Some(Err(format!(
                "an include of {href:?}: only files below the including one's directory are read"
            )));
        };
        Some(Ok(from.parent().unwrap_or(Path::new(".")).join(path)))
    }
}

fn account_of(host: &str, name: &str) -> Option<BareJid> {
    DomainPart::new(host).ok()?.into_owned().with_node_str(name).ok()
}

/// A start tag as an element without content.
fn tag_element(tag: &str, around: &[(String, String)]) -> Option<Element> {
    let open = tag.strip_suffix('>')?;
    let open = open.strip_suffix('/').unwrap_or(open);
    xml::parse(&split::alone(&format!("{open}/>"), around))
}

fn name_of(file: &Path) -> String {
    file.display().to_string()
}

/// The bytes of a relative reference (RFC 3986 §2.1), if they are text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
