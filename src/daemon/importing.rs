//! An old spool into the store, before the server serves; and all accounts back into files.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::privileges::Identity;
use super::{StartError, accounts, notify};
use crate::config::{CommandLine, Config, LogSink};
use crate::import::{self, Format, Imported, Passwords, Plan, Progress, Step, jabberd14};
use crate::net::clock::Dice;
use crate::store::Store;
use crate::store::account::{self, Credentials};
use crate::store::disk::Disk;
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

/// Imports what somebody names, whether the server runs or not: this process writes to the database beside it, one
/// account at a time, and leaves it some time between them. `told` hears how far it is, and can stop it.
///
/// # Errors
/// When the files or the database cannot be used, or it was stopped.
pub fn by_hand(
    config: &Config,
    format: Format,
    path: &Path,
    told: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Told, StartError> {
    let identity = Identity::of_server(config)?;
    accounts::make_data_directory(&config.spool, identity.as_ref())?;
    let path = whole(path);
    // The database belongs to the server's user, and files beside it that root makes would be in its way.
    identity.as_ref().map_or(Ok(()), Identity::assume)?;
    readable(format, &path, identity.as_ref().map(Identity::name))?;
    let mut store =
        Store::open(&config.spool.join(accounts::DATABASE)).map_err(|error| StartError(error.to_string()))?;
    let plan = Plan { accounts_per_commit: 1, ..plan(config, vec![path.clone()]) };
    let mut report = ReportFile::new(&config.spool, plan.now_unix_millis);
    let go_on = &mut |progress: Progress| {
        thread::sleep(BREATH);
        told(progress)
    };
    // No helper for the disk: a server that runs has one, and two would be in each other's way (store/disk.rs).
    let done = import::import(format, &mut store, None, &plan, &Keys, &mut report, go_on);
    let Imported { counts, remedies, nothing_new, stopped } = done
        .and_then(|done| store.sync().map(|()| done))
        .map_err(|error| StartError(format!("the import stopped: {error}; begin it again to go on")))?;
    if stopped {
        return Err(StartError(format!("the import was stopped: imported {counts}; begin it again to go on")));
    }
    let text = match nothing_new {
        true => "nothing new: all that is there was imported before".to_owned(),
        false => format!("imported {counts}; report={}", report.path.display()),
    };
    Ok(Told { text, remedies })
}

fn readable(format: Format, path: &Path, user: Option<&str>) -> Result<(), StartError> {
    let read = match format {
        Format::Jabberd14 => fs::read_dir(path).map(drop),
        Format::Portable => File::open(path).map(drop),
    };
    read.map_err(|error| {
        let remedy = match (error.kind(), user) {
            (io::ErrorKind::PermissionDenied, Some(user)) => {
                format!("; the server's user, {user}, must be able to read it and its directories")
            }
            _ => String::new(),
        };
        StartError(format!("cannot import {}: {error}{remedy}", path.display()))
    })
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
) -> Result<String, StartError> {
    let database = config.spool.join(accounts::DATABASE);
    if !database.is_file() {
        return Err(StartError(format!("no accounts to export: {} is not there", database.display())));
    }
    let identity = Identity::of_server(config)?;
    accounts::make_data_directory(directory, identity.as_ref())?;
    // The database belongs to the server's user, and files beside it that root makes would be in its way.
    identity.as_ref().map_or(Ok(()), Identity::assume)?;
    let store = Store::open_to_read(&database).map_err(|error| StartError(error.to_string()))?;
    let count = || account::hosts(&store)?.iter().map(|host| account::count(&store, host)).sum::<Result<u64, _>>();
    let all = count().map_err(|error| StartError(error.to_string()))?;
    let users = config.old_directories.first().map(|old| old.id.as_str());
    let exported = jabberd14::export(&store, directory, users, &mut |done| told(done, all))
        .map_err(|error| StartError(format!("the export to {} ended: {error}", directory.display())))?;
    let mut text = format!(
        "exported {} accounts to {}\n{} of them need a new password in jabberd 1.4: what is kept of passwords here \
         cannot be turned back into them. A jabberd of this release takes them as they are.\n",
        exported.accounts,
        directory.display(),
        exported.without_password,
    );
    if exported.component_files > 0 {
        let files = exported.component_files;
        text.push_str(&format!("{files} files of components were written as well: what they keep here by <xdb>\n"));
    }
    if let (Some(users), people @ 1..) = (users, exported.directory_entries) {
        text.push_str(&format!("{people} people of the user directory were written to {users}/global.xdb\n"));
    }
    for (path, why) in &exported.failed {
        text.push_str(&format!("not written: {}: {why}\n", path.display()));
    }
    if exported.failed.is_empty() { Ok(text) } else { Err(StartError(text)) }
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
