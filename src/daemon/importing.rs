//! An old spool into the store, before the server serves; and all accounts back into files.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access};

use super::privileges::{self, Identity};
use super::{Refusal, StartError, accounts, directories, notify};
use crate::config::{CommandLine, Config, LogSink};
use crate::import::report::counted;
use crate::import::{self, ExportError, Fault, Format, Imported, Passwords, Plan, Progress, Step, jabberd14};
use crate::net::clock::Dice;
use crate::store::account::{self, Credentials};
use crate::store::disk::Disk;
use crate::store::{Store, backup};
use crate::stream::sasl::{HashJob, LegacyHash, Outcome, Password};
use crate::xmpp::datetime;

/// Accounts in one transaction: seconds of work that a crash costs.
const ACCOUNTS_PER_COMMIT: usize = 250;
/// After each account, when a server may run beside the import: then it finds the database free.
const BREATH: Duration = Duration::from_micros(500);
/// How often a terminal and systemd hear of the progress, and how often the log does.
const TOLD: Duration = Duration::from_secs(1);
const LOGGED: Duration = Duration::from_secs(10);
/// How much longer systemd waits after each word. Without it, it would stop a long import as a start that hangs. Between two
/// words a large database may be copied, or a slow disk catch up.
const PATIENCE: &str = "EXTEND_TIMEOUT_USEC=300000000";

/// Opens the database, which may be of an earlier release: then it is copied first, and systemd and the log hear how far that
/// is. `None` when `terminate` was set meanwhile: nothing was changed, and the next start begins anew.
///
/// # Errors
/// When the database cannot be used.
pub fn open(path: &Path, terminate: &AtomicBool) -> Result<Option<Store>, StartError> {
    tell_of_loss(path);
    let mut telling = Telling::new();
    let opened = Store::open_in_steps(path, &mut |backup::Progress { done, all }| {
        let pages = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        telling.tell(Progress { step: Step::Copying, done: pages(done), all: pages(all) });
        if terminate.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    telling.finish();
    match opened {
        Ok(store) => Ok(Some(store)),
        Err(error) if error.is_stopped() => {
            log::info!(target: LogSink::INTERNAL, "stopped before the format of the database was changed");
            Ok(None)
        }
        Err(error) => Err(StartError(error.to_string())),
    }
}

/// A start makes a new database where none is. Where one was, the admin wants to know before people register anew.
fn tell_of_loss(path: &Path) {
    let (shown, copies) = (path.display(), path.with_file_name(backup::DIRECTORY));
    let copies = match backup::has_copies(path) {
        true => {
            format!("copies of the old one are in {}: stop the server, and jabberctl restore one", copies.display())
        }
        false => "if there were accounts, stop the server, and jabberctl restore a backup".to_owned(),
    };
    if backup::is_empty(path) {
        log::warn!(target: LogSink::INTERNAL, "{shown} is empty: a new database begins, without an account; {copies}");
    } else if backup::has_copies(path) && path.symlink_metadata().is_err() {
        log::warn!(target: LogSink::INTERNAL, "{shown} is not there: a new database begins, without an account; {copies}");
    }
}

/// Imports what is new in the directory that `-I` names, then what is new in the spools of jabber.xml. `false` when
/// `terminate` was set meanwhile: the next start goes on.
///
/// # Errors
/// When `-I` names no directory, or the store fails.
pub fn at_start(
    config: &Config,
    line: &CommandLine,
    store: &mut Store,
    disk: &Disk,
    terminate: &AtomicBool,
) -> Result<bool, StartError> {
    if let Some(directory) = &line.import {
        if let Err(error) = fs::read_dir(directory) {
            return Err(StartError(format!("cannot import {} (-I): {error}", directory.display())));
        }
        log::info!(target: LogSink::INTERNAL, "importing {} (-I)", directory.display());
        if !import(config, vec![whole(directory)], store, disk, terminate)? {
            return Ok(false);
        }
    }
    // One account's data may be in several of these, so they are imported together; a copy of a spool is not.
    let spools = std::iter::once(&config.spool).chain(&config.other_spools);
    let spools: Vec<PathBuf> = spools.filter(|spool| spool.is_dir()).map(|spool| whole(spool)).collect();
    import(config, spools, store, disk, terminate)
}

/// Files are known by their paths, so a spool should have one name only.
fn whole(directory: &Path) -> PathBuf {
    directory.canonicalize().unwrap_or_else(|_| directory.to_owned())
}

fn import(
    config: &Config,
    spools: Vec<PathBuf>,
    store: &mut Store,
    disk: &Disk,
    terminate: &AtomicBool,
) -> Result<bool, StartError> {
    let plan = plan(config, spools);
    let mut report = ReportFile::new(&config.spool, plan.now_unix_millis);
    let mut telling = Telling::new();
    let mut go_on = |progress: Progress| {
        telling.tell(progress);
        if terminate.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let imported = import::import(Format::Jabberd14, store, Some(disk), &plan, &Keys, &mut report, &mut go_on);
    telling.finish();
    let imported = imported
        .map_err(|error| StartError(format!("the import of the old spool stopped: {error}; start again to go on")))?;
    for remedy in &imported.remedies {
        log::warn!(target: LogSink::INTERNAL, "import: {remedy}");
    }
    if imported.counts.unread > 0 {
        let pieces = counted(imported.counts.unread, "piece");
        let report = report.path.display();
        log::warn!(target: LogSink::INTERNAL, "import: {pieces} could not be read, or not to the end: see {report}");
    }
    if !imported.nothing_new {
        log::info!(target: LogSink::INTERNAL, "imported {}; report={}", imported.counts, report.path.display());
    }
    if imported.stopped {
        log::info!(target: LogSink::INTERNAL, "stopped during the import; the next start goes on with it");
    }
    Ok(!imported.stopped)
}

/// What became of an import that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// In words.
    pub text: String,
    /// What the admin should see to, a line each.
    pub remedies: Vec<String>,
}

/// Whom the work is done as.
pub(super) fn as_server(config: &Config) -> Result<Option<Identity>, Refusal> {
    Identity::of_server(config)
        .map_err(|error| Refusal::new(error.0, "make that user, or name another one in jabber.xml: <user>"))
}

/// The database belongs to the server's user, and files beside it that root makes would be in its way.
pub(super) fn assume(identity: Option<&Identity>) -> Result<(), Refusal> {
    let assumed = identity.map_or(Ok(()), Identity::assume);
    assumed.map_err(|error| Refusal::new(error.0, "run it as root where root is not confined, or as that user"))
}

/// Imports what somebody names, whether the server runs or not: this process writes to the database beside it, one
/// account at a time, and leaves it some time between them. `told` hears how far it is, and can stop it.
///
/// # Errors
/// When the files or the database cannot be used, or it was stopped. Also when it came to its end, and whoever relies on it
/// would be wrong: not all could be read, or nothing was taken over; what was, stays.
pub fn by_hand(
    config: &Config,
    format: Format,
    path: &Path,
    told: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Told, Refusal> {
    let identity = as_server(config)?;
    accounts::make_data_directory(&config.spool, identity.as_ref())?;
    let path = whole(path);
    assume(identity.as_ref())?;
    readable(format, &path, identity.as_ref().map(Identity::name))?;
    let _alone = alone(&config.spool)?;
    let mut store = Store::open(&config.spool.join(accounts::DATABASE))?;
    let plan = Plan { accounts_per_commit: 1, tells_again: true, ..plan(config, vec![path.clone()]) };
    let mut report = ReportFile::new(&config.spool, plan.now_unix_millis);
    let go_on = &mut |progress: Progress| {
        thread::sleep(BREATH);
        told(progress)
    };
    // No helper for the disk: a server that runs has one, and two would be in each other's way (store/disk.rs).
    let done = import::import(format, &mut store, None, &plan, &Keys, &mut report, go_on);
    let done = done.and_then(|done| store.sync().map(|()| done)).map_err(|error| {
        let Refusal { text, remedy, notes } = Refusal::from(error);
        Refusal {
            text: format!("the import stopped: {text}"),
            remedy: format!("{remedy}; begin it again to go on"),
            notes,
        }
    })?;
    let counts = done.counts;
    if done.stopped {
        return Err(Refusal::new(format!("the import was stopped: imported {counts}"), "begin it again to go on"));
    }
    if let Some(fault) = done.fault() {
        return Err(refused(&done, fault, &path, &report.path));
    }
    let text = match done.nothing_new {
        true => "nothing new: all that is there was imported before".to_owned(),
        false => format!("imported {counts}; report={}", report.path.display()),
    };
    Ok(Told { text, remedies: done.remedies })
}

/// Nobody else imports by hand as long as the value lives: two would do the same work.
fn alone(directory: &Path) -> Result<Option<Flock<File>>, Refusal> {
    let Ok(opened) = File::open(directory) else { return Ok(None) };
    match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(Some(held)),
        Err((_, Errno::EWOULDBLOCK)) => {
            Err(Refusal::new("another import is under way", "wait until it is done: this one imported nothing"))
        }
        // A file system without locks.
        Err(_) => Ok(None),
    }
}

/// What is wrong with an import, with the first of its reasons: whoever reads nothing else knows.
fn refused(done: &Imported, fault: Fault, path: &Path, report: &Path) -> Refusal {
    let (counts, path) = (&done.counts, path.display());
    let (what, remedy) = match fault {
        Fault::Empty => {
            let remedy =
                "name the spool directory: it has a directory for each host, and in it a file for each account";
            return Refusal::new(format!("there is no account of ours in {path}, and nothing was imported"), remedy);
        }
        Fault::Unread => (
            format!("{} could not be read, or not to the end", counted(counts.unread, "piece")),
            "mend what the report names, and import again: what was imported stays, and does not come twice",
        ),
        Fault::NotServed => (
            format!("{} left, of hosts that are not served", counted(counts.users_elsewhere, "user")),
            "add their <host> to jabber.xml, and import again",
        ),
        Fault::AllLeft => {
            (format!("{} left alone", counted(counts.files_left, "piece")), "see the report: each has its reason there")
        }
    };
    let reason = done.remedies.first().map_or_else(String::new, |reason| format!(" ({reason})"));
    let text = format!("not all of {path} is here: {what}{reason}; imported {counts}; report={}", report.display());
    Refusal { notes: done.remedies.clone(), ..Refusal::new(text, remedy) }
}

/// Not a device, which would never end.
fn readable(format: Format, path: &Path, user: Option<&str>) -> Result<(), Refusal> {
    let refused =
        |why: String, remedy: String| Refusal::new(format!("cannot import {}: {why}", path.display()), remedy);
    let read = path.metadata().and_then(|found| match format {
        Format::Jabberd14 => fs::read_dir(path).map(|_| true),
        Format::Portable if found.is_file() => File::open(path).map(|_| true),
        Format::Portable => Ok(found.is_dir()),
    });
    let remedy = |error: &io::Error| match (error.kind(), user) {
        (io::ErrorKind::PermissionDenied, Some(user)) => {
            format!("the server's user, {user}, must be able to read it and its directories")
        }
        (io::ErrorKind::PermissionDenied, None) => "run it as root (sudo jabberctl)".to_owned(),
        (io::ErrorKind::NotADirectory, _) => "name the spool directory, or say import xep0227".to_owned(),
        (io::ErrorKind::NotFound, _) => "name a file, or for jabberd14 a directory, that is there".to_owned(),
        _ => "the kernel's log tells of errors of the disk; or name another".to_owned(),
    };
    match read {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused("not a file".to_owned(), "name a file, or a directory of them".to_owned())),
        Err(error) => Err(refused(error.to_string(), remedy(&error))),
    }
}

fn plan(config: &Config, from: Vec<PathBuf>) -> Plan {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let directories = config.old_directories.iter();
    Plan {
        from,
        hosts: config.hosts.iter().map(|host| host.name.clone()).collect(),
        components: config.components.iter().flat_map(|component| component.hosts.clone()).collect(),
        directories: directories.flat_map(|old| old.addresses.iter().chain([&old.id])).cloned().collect(),
        now_unix_millis: u64::try_from(now).unwrap_or(u64::MAX),
        threads: thread::available_parallelism().map_or(1, usize::from),
        accounts_per_commit: ACCOUNTS_PER_COMMIT,
        keeps_plain_passwords: config.keep_plain_passwords.is_some(),
        tells_again: false,
    }
}

/// Writes all accounts as files of jabberd 1.4's layout below a directory. `told` hears how many of how many are done,
/// and can stop it.
///
/// # Errors
/// When there is no database, it cannot be read, a file could not be written, or it was stopped.
pub fn export(
    config: &Config,
    directory: &Path,
    told: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<String, Refusal> {
    let database = config.spool.join(accounts::DATABASE);
    if !database.is_file() {
        let text = format!("no accounts to export: {} is not there", database.display());
        return Err(Refusal::new(text, "jabber.xml says where it is; another one is named with -c FILE"));
    }
    let identity = as_server(config)?;
    let shown = directory.display();
    let user = identity.as_ref().map(Identity::name);
    let owner = identity.as_ref().filter(|_| privileges::is_root()).map(Identity::ids).unzip();
    directories::make(directory, 0o750, owner).map_err(|error| unwritable(directory, &error, user))?;
    assume(identity.as_ref())?;
    // Rather now than once for each account.
    let access = access(directory, AccessFlags::W_OK | AccessFlags::X_OK);
    access.map_err(|errno| unwritable(directory, &errno.into(), user))?;
    let store = Store::open_to_read(&database)?;
    let all = account::hosts(&store)?.iter().map(|host| account::count(&store, host)).sum::<Result<u64, _>>()?;
    let users = config.old_directories.first().map(|old| old.id.as_str());
    let exported =
        jabberd14::export(&store, directory, users, &mut |done| told(done, all)).map_err(|error| match error {
            ExportError::Store(error) => error.into(),
            ExportError::Io(error) => unwritable(directory, &error, user),
            ExportError::Stopped => {
                Refusal::new(format!("the export to {shown} ended: {error}"), "the files that are there are whole")
            }
        })?;
    let mut text = format!(
        "exported {} accounts to {shown}\n{} of them need a new password in jabberd 1.4: what is kept of passwords here \
         cannot be turned back into them. A jabberd of this release takes them as they are.",
        exported.accounts, exported.without_password,
    );
    if exported.component_files > 0 {
        let files = exported.component_files;
        text.push_str(&format!("\n{files} files of components were written as well: what they keep here by <xdb>"));
    }
    if let (Some(users), people @ 1..) = (users, exported.directory_entries) {
        text.push_str(&format!("\n{people} people of the user directory were written to {users}/global.xdb"));
    }
    if exported.failures == 0 {
        return Ok(text);
    }
    for (path, why) in &exported.failed {
        text.push_str(&format!("\nnot written: {}: {why}", path.display()));
    }
    let untold = exported.failures - u64::try_from(exported.failed.len()).unwrap_or(exported.failures);
    if untold > 0 {
        text.push_str(&format!("\nnot written either: {}", counted(untold, "more file")));
    }
    Err(Refusal::new(text, "a file that is there is not replaced: name a directory where none is"))
}

/// The directory is the server's user's to write to, whoever asks: root is led by nobody's links.
fn unwritable(directory: &Path, error: &io::Error, user: Option<&str>) -> Refusal {
    let remedy = match (error.kind(), user) {
        (io::ErrorKind::PermissionDenied, Some(user)) => format!(
            "the server's user, {user}, writes the files: name a directory of that user's, or one that is not there in a \
             place that it can reach"
        ),
        (io::ErrorKind::PermissionDenied, None) => "name a directory that you may write to".to_owned(),
        (io::ErrorKind::StorageFull, _) => "free some space on its disk, or name a directory on another".to_owned(),
        _ => "name another directory".to_owned(),
    };
    Refusal::new(format!("cannot export to {}: {error}", directory.display()), remedy)
}

/// Passwords become the keys that a new account gets.
pub struct Keys;

impl Passwords for Keys {
    fn derive(&self, password: &str, of_many: bool) -> Result<Credentials, String> {
        let password = Password::new(password).map_err(|error| error.to_string())?;
        let derive = if of_many { HashJob::derive_quickly } else { HashJob::derive };
        match derive(0, password, &mut Dice::new()).run().outcome {
            Outcome::Derived(credentials) => Ok(credentials),
            _ => Err("it could not be hashed".to_owned()),
        }
    }

    fn can_check(&self, hash: &str) -> bool {
        LegacyHash::from_text(hash).is_some()
    }
}

/// The report, made when there is something to report.
struct ReportFile {
    path: PathBuf,
    file: Option<io::BufWriter<File>>,
}

impl ReportFile {
    fn new(directory: &Path, now_unix_millis: u64) -> ReportFile {
        let stamp = datetime::stamp(now_unix_millis);
        let date = stamp.split_once('T').map_or(stamp.as_str(), |(date, _)| date);
        ReportFile { path: directory.join(format!("import-report-{date}.txt")), file: None }
    }

    fn file(&mut self) -> io::Result<&mut io::BufWriter<File>> {
        let file = match self.file.take() {
            Some(file) => file,
            // Imports of one day stand below each other.
            None => {
                let mut options = fs::OpenOptions::new();
                let options = options.create(true).append(true).mode(0o640).custom_flags(nix::libc::O_NOFOLLOW);
                io::BufWriter::new(options.open(&self.path)?)
            }
        };
        Ok(self.file.insert(file))
    }
}

impl Write for ReportFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), io::BufWriter::flush)
    }
}

/// Who waits hears how far it is: systemd at once, the terminal and the log when it takes longer.
struct Telling {
    began: Instant,
    /// What it is doing, since when.
    at_work: Option<(Step, Instant)>,
    told: Option<Instant>,
    logged: Option<Instant>,
    /// Standard error, or standard output where that one is caught (init/jabber).
    terminal: Option<Box<dyn Write>>,
    bar_is_open: bool,
}

impl Telling {
    fn new() -> Telling {
        let terminal: Option<Box<dyn Write>> = match (io::stderr().is_terminal(), io::stdout().is_terminal()) {
            (true, _) => Some(Box::new(io::stderr())),
            (false, true) => Some(Box::new(io::stdout())),
            (false, false) => None,
        };
        Telling { began: Instant::now(), at_work: None, told: None, logged: None, terminal, bar_is_open: false }
    }

    fn tell(&mut self, progress: Progress) {
        let now = Instant::now();
        let is_end = progress.done == progress.all;
        // What came before says nothing about the pace.
        let since = match self.at_work {
            Some((step, since)) if step == progress.step => since,
            _ => self.at_work.insert((progress.step, now)).1,
        };
        if self.told.is_some_and(|told| now.duration_since(told) < TOLD) && !is_end {
            return;
        }
        self.told = Some(now);
        let elapsed = now.duration_since(self.began);
        let text = in_words(progress, now.duration_since(since));
        notify::tell(&format!("STATUS={text}\n{PATIENCE}"));
        if elapsed < TOLD {
            return;
        }
        if let Some(terminal) = &mut self.terminal {
            let begin = if self.bar_is_open { "\r\x1b[K" } else { "\n" };
            // Nobody may read it.
            let _ = write!(terminal, "{begin}{}{text}", bar(progress)).and_then(|()| terminal.flush());
            self.bar_is_open = true;
        }
        if self.logged.is_none_or(|logged| now.duration_since(logged) >= LOGGED) || is_end {
            self.close_bar();
            log::info!(target: LogSink::INTERNAL, "{text}");
            self.logged = Some(now);
        }
    }

    /// What comes next on the terminal has a line of its own.
    fn close_bar(&mut self) {
        if let (true, Some(terminal)) = (std::mem::take(&mut self.bar_is_open), &mut self.terminal) {
            let _ = writeln!(terminal);
        }
    }

    fn finish(mut self) {
        self.close_bar();
        if self.told.is_some() {
            notify::tell("STATUS=");
        }
    }
}

fn in_words(Progress { step, done, all }: Progress, elapsed: Duration) -> String {
    if step == Step::Looking {
        return match done {
            0 => format!("looking for accounts to import: {all} so far"),
            _ => format!("looking which accounts are here: {done} of {all}"),
        };
    }
    let left = elapsed.as_secs_f64() / done.max(1) as f64 * all.saturating_sub(done) as f64;
    if step == Step::Copying {
        return format!("copying the database before it changes: {done} of {all} pages, about {left:.0} seconds left");
    }
    format!("importing {}: {done} of {all}, about {left:.0} seconds left", step.things())
}

/// How much is done, to be seen from afar.
fn bar(Progress { step, done, all }: Progress) -> String {
    const WIDTH: usize = 20;
    let full = (done * WIDTH).checked_div(all).unwrap_or(0).min(WIDTH);
    if step == Step::Looking { String::new() } else { format!("[{}{}] ", "#".repeat(full), ".".repeat(WIDTH - full)) }
}

#[cfg(test)]
mod tests;
