//! Which files a spool has, and whose they are.
//!
//! `SPOOL/HOST/USER.xml`, or `SPOOL/HOST/XX/YY/USER.xml` with two hexadecimal digits each (1.4.4's hashed layout; the
//! hash need not be known to read it). A directory that is no host but has hosts in it is the spool of a second `<xdb>`
//! section, which 1.4 allowed for some kinds of data.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::import::report::counted;
use crate::import::{GoOn, Plan, Progress, Step};
use crate::store::imported::Seen;
use crate::xmpp::BareJid;
use crate::xmpp::jid::{self, DomainPart};

/// A file of one account.
#[derive(Clone, Debug)]
pub(super) struct SpoolFile {
    pub(super) path: PathBuf,
    /// The path below the spool, for the report.
    pub(super) name: String,
    /// The path as the store remembers it.
    pub(super) key: String,
    pub(super) seen: Seen,
}

/// All files of one account: one, or one in each spool.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) account: BareJid,
    pub(super) files: Vec<SpoolFile>,
}

/// A file in which a component kept data of one of its users, or its own.
#[derive(Debug)]
pub(super) struct ComponentFile {
    pub(super) host: String,
    /// Empty for the component itself.
    pub(super) localpart: String,
    pub(super) file: SpoolFile,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of their names.
    pub(super) jobs: Vec<Job>,
    /// In the order of their names, too.
    pub(super) components: Vec<ComponentFile>,
    /// Files and directories that are left alone, and why. Those with a [`SpoolFile`] need not be looked at again.
    pub(super) left: Vec<Left>,
    /// Files of accounts that were there at an earlier import, and have not changed.
    pub(super) known: u64,
    /// Somebody stopped it; the rest was not looked at.
    pub(super) stopped: bool,
}

/// Accounts between two words of the progress.
pub(super) const TOLD_EACH: usize = 1_000;

/// A file or directory that is left alone.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) name: String,
    pub(super) why: String,
    /// `None` when it is to be told again the next time.
    pub(super) done: Option<SpoolFile>,
    pub(super) kind: Kind,
}

/// What is left behind with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing that was an account.
    NoAccount,
    /// Whatever is in it.
    Unread,
    /// So many files of users, of a host that is not served.
    Elsewhere(u64),
}

/// The spool that is being walked.
#[derive(Clone, Copy)]
struct Spool<'a> {
    directory: &'a Path,
    number: usize,
}

/// Walks spools.
pub(super) struct Walk<'a> {
    /// Hosts that are served, nameprepped.
    pub(super) hosts: &'a [String],
    /// Addresses of components.
    pub(super) components: &'a [String],
    /// Names of 1.4's user directories.
    pub(super) directories: &'a [String],
    /// What earlier imports were done with.
    pub(super) known: &'a HashMap<String, Seen>,
    found: Found,
    /// Where the job of an account is in `found.jobs`, and the spool in which its last file was.
    jobs: HashMap<BareJid, (usize, usize)>,
    /// Spools that were walked: one inside another may also be named by itself.
    walked: HashSet<PathBuf>,
    go_on: &'a mut GoOn<'a>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(plan: &'a Plan, known: &'a HashMap<String, Seen>, go_on: &'a mut GoOn<'a>) -> Walk<'a> {
        let Plan { hosts, components, directories, .. } = plan;
        let (found, jobs, walked) = (Found::default(), HashMap::new(), HashSet::new());
        Walk { hosts, components, directories, known, found, jobs, walked, go_on }
    }

    pub(super) fn finish(self) -> Found {
        self.found
    }

    /// Looks through one spool, and through those inside it.
    ///
    /// # Errors
    /// When the directory itself cannot be read.
    pub(super) fn spool(&mut self, directory: &Path) -> io::Result<()> {
        if !self.walked.insert(directory.canonicalize()?) {
            return Ok(());
        }
        let spool = Spool { directory, number: self.walked.len() };
        let mut others = Vec::new();
        for entry in sorted(directory)? {
            // Not the database, the logs or the flag .hashspool, but directories.
            if !is_directory(&entry) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            match self.host_of(&name) {
                Some(host) => self.host(spool, &entry.path(), &host),
                None => others.push((entry.path(), name)),
            }
        }
        // After the hosts: what this spool says counts before what one inside it says.
        for (path, name) in others {
            self.no_host(spool, &path, &name);
        }
        Ok(())
    }

    /// The host that a directory is for, if it is served.
    fn host_of(&self, name: &str) -> Option<String> {
        let jid = jid::of_host(name)?;
        self.hosts.iter().find(|host| **host == jid.domain().as_str()).cloned()
    }

    /// A directory that is for no host of ours.
    fn no_host(&mut self, spool: Spool<'_>, directory: &Path, name: &str) {
        let entries = match sorted(directory) {
            Ok(entries) => entries,
            Err(error) => return self.leave_directory(spool, directory, unreadable(&error), Kind::Unread),
        };
        let is_spool =
            |entry: &DirEntry| is_directory(entry) && self.host_of(&entry.file_name().to_string_lossy()).is_some();
        if entries.iter().any(is_spool) {
            if let Err(error) = self.spool(directory) {
                self.leave_directory(spool, directory, unreadable(&error), Kind::Unread);
            }
            return;
        }
        let component = jid::of_host(name).map(|jid| jid.domain().to_string());
        if let Some(component) =
            component.filter(|name| [self.components, self.directories].iter().any(|names| names.contains(name)))
        {
            return self.component(spool, directory, &component);
        }
        let mut files = 0_u64;
        each_file(directory, &mut |path| files += u64::from(is_account_file(path)));
        if files == 0 {
            return;
        }
        let (kind, files) = (Kind::Elsewhere(files), counted(files, "file"));
        let lower = name.to_lowercase();
        let why = format!(
            "{files} of {lower}, which is not served: add <host>{lower}</host> to jabber.xml, or its <service> if it is a \
             component that is still used, and import again (a start does, for what is in the data directory)"
        );
        self.leave_directory(spool, directory, why, kind);
    }

    /// A directory with what a component kept here.
    fn component(&mut self, spool: Spool<'_>, directory: &Path, host: &str) {
        let Ok(domain) = DomainPart::new(host) else { return };
        let mut paths = Vec::new();
        if let Some(error) = each_file(directory, &mut |path| paths.push(path.to_owned())) {
            self.leave_directory(spool, directory, unreadable(&error), Kind::Unread);
        }
        for path in paths {
            let Some(file) = self.file(spool, &path) else { continue };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let localpart = match name.strip_suffix(".xml") {
                Some(stem) => {
                    domain.with_node_str(stem).map(|jid| jid.node().map(ToString::to_string).unwrap_or_default())
                }
                None if name == "global.xdb" => Ok(String::new()),
                None => {
                    let why = why_no_account(&path).to_owned();
                    self.found.left.push(Left {
                        name: file.name.clone(),
                        why,
                        done: Some(file),
                        kind: Kind::NoAccount,
                    });
                    continue;
                }
            };
            match localpart {
                Ok(localpart) => self.found.components.push(ComponentFile { host: host.to_owned(), localpart, file }),
                Err(error) => {
                    let why = format!("{name:?} can be no name of a user today: {error}");
                    self.found.left.push(Left {
                        name: file.name.clone(),
                        why,
                        done: Some(file),
                        kind: Kind::NoAccount,
                    });
                }
            }
        }
    }

    fn host(&mut self, spool: Spool<'_>, directory: &Path, host: &str) {
        let Ok(domain) = DomainPart::new(host) else { return };
        let domain = domain.into_owned();
        let mut paths = Vec::new();
        if let Some(error) = each_file(directory, &mut |path| paths.push(path.to_owned())) {
            self.leave_directory(spool, directory, unreadable(&error), Kind::Unread);
        }
        for path in paths {
            if self.found.stopped {
                return;
            }
            let Some(file) = self.file(spool, &path) else { continue };
            let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".xml"));
            let Some(stem) = stem else {
                let why = why_no_account(&path);
                self.found.left.push(Left {
                    name: file.name.clone(),
                    why: why.to_owned(),
                    done: Some(file),
                    kind: Kind::NoAccount,
                });
                continue;
            };
            match domain.with_node_str(stem) {
                Ok(account) => self.account(spool, account, stem, file),
                Err(error) => {
                    let why = format!("{stem:?} can be no name of an account today: {error}");
                    self.found.left.push(Left {
                        name: file.name.clone(),
                        why,
                        done: Some(file),
                        kind: Kind::NoAccount,
                    });
                }
            }
        }
    }

    /// `None` for a file that was imported before and has not changed.
    fn file(&mut self, spool: Spool<'_>, path: &Path) -> Option<SpoolFile> {
        let name = path.strip_prefix(spool.directory).unwrap_or(path).to_string_lossy().into_owned();
        let key = path.to_string_lossy().into_owned();
        let seen = match fs::metadata(path) {
            Ok(metadata) => seen(&metadata),
            Err(error) => {
                self.found.left.push(Left { name, why: unreadable(&error), done: None, kind: Kind::Unread });
                return None;
            }
        };
        if leads_out(spool, path) {
            let why = "a symbolic link that leads out of the spool: put the file itself there".to_owned();
            self.found.left.push(Left { name, why, done: None, kind: Kind::Unread });
            return None;
        }
        if self.known.get(&key) == Some(&seen) {
            let is_data = path.extension().is_some_and(|extension| extension == "xml" || extension == "xdb");
            self.found.known += u64::from(is_data);
            return None;
        }
        Some(SpoolFile { path: path.to_owned(), name, key, seen })
    }

    /// Nodeprep makes one name of several that 1.4.3 told apart (`JÖRG` and `jörg`). The one that is spelled as the name
    /// of the account is the one that its user could log in to last.
    fn account(&mut self, spool: Spool<'_>, account: BareJid, stem: &str, file: SpoolFile) {
        let is_exact = account.node().is_some_and(|node| node.as_str() == stem);
        let Some((index, last)) = self.jobs.get_mut(&account) else {
            self.jobs.insert(account.clone(), (self.found.jobs.len(), spool.number));
            self.found.jobs.push(Job { account, files: vec![file] });
            let found = self.found.jobs.len();
            if found % TOLD_EACH == 0 {
                self.found.stopped |= (self.go_on)(Progress { step: Step::Looking, done: 0, all: found }).is_break();
            }
            return;
        };
        let Some(job) = self.found.jobs.get_mut(*index) else { return };
        if *last != spool.number {
            *last = spool.number;
            return job.files.push(file);
        }
        let Some(other) = job.files.last_mut() else { return };
        let loser = if is_exact { std::mem::replace(other, file) } else { file };
        let why = format!("{} is the same name today, and was imported in its place", other.name);
        self.found.left.push(Left { name: loser.name.clone(), why, done: Some(loser), kind: Kind::NoAccount });
    }

    /// Tells of a directory once, and again when something in it changes.
    fn leave_directory(&mut self, spool: Spool<'_>, directory: &Path, why: String, kind: Kind) {
        if let Some(file) = self.file(spool, directory) {
            self.found.left.push(Left { name: format!("{}/", file.name), why, done: Some(file), kind });
        }
    }
}

/// What a link out of the spool leads to is not what the old server kept there, and may be what whoever made the link could
/// not read himself. Directories may be elsewhere: that is how an admin moves a host to another disk.
fn leads_out(spool: Spool<'_>, path: &Path) -> bool {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let is_inside = || -> io::Result<bool> {
        let target = path.canonicalize()?;
        Ok(target.is_dir() || target.starts_with(spool.directory.canonicalize()?))
    };
    is_link && !is_inside().unwrap_or(false)
}

fn seen(metadata: &fs::Metadata) -> Seen {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let millis = modified.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    // The length of a directory means nothing.
    Seen { modified_unix_millis: millis, bytes: if metadata.is_dir() { 0 } else { metadata.len() } }
}

pub(super) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "the server's user may not read it: chown it to that user".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}

fn sorted(directory: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// All files right in a host's directory, and those of the hashed layout. Returns the first failure to read a directory.
fn each_file(directory: &Path, take: &mut dyn FnMut(&Path)) -> Option<io::Error> {
    each_at(directory, 0, take)
}

fn each_at(directory: &Path, level: usize, take: &mut dyn FnMut(&Path)) -> Option<io::Error> {
    let entries = match sorted(directory) {
        Ok(entries) => entries,
        Err(error) => return Some(error),
    };
    let mut failure = None;
    for entry in entries {
        let path = entry.path();
        // In a hashed spool, what lies between the levels is no account; the report is to tell of it all the same.
        if is_directory(&entry) {
            let name = entry.file_name();
            let is_level = name.len() == 2 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
            if is_level && level < 2 {
                failure = failure.or(each_at(&path, level + 1, take));
            }
        } else if level != 1 {
            take(&path);
        }
    }
    failure
}

/// Mostly the directory itself says so, which saves a system call for each of a hundred thousand files.
fn is_directory(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if !kind.is_symlink() => kind.is_dir(),
        _ => entry.path().is_dir(),
    }
}

fn is_account_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "xml")
}

fn why_no_account(path: &Path) -> &'static str {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if name == "global.xdb" {
        "data of the host itself: it keeps none now"
    } else if name.ends_with(".t.m.p") {
        "half of a file, left by a crash of the old server"
    } else if name.ends_with(".xml") {
        "its name is not UTF-8"
    } else {
        "it does not end in .xml; the old server did not read it either"
    }
}
