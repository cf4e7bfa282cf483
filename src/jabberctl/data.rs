//! Backup, restore, export, import: done here, on the database, with the server up or down.

use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jabber::admin::Command;
use jabber::config::Config;
use jabber::config::hosts::host_name;
use jabber::daemon::{Refusal, importing, privileges};
use jabber::import::{ExportError, Format, portable};
use jabber::store::backup::{self, Facts, Progress};
use jabber::store::{Error, Store, account};
use jabber::xmpp::datetime;

use super::line::{Arguments, Line};
use super::place::{self, Place};
use super::show::Show;
use super::{Code, Failure, interrupt, terminal};

/// How often the terminal hears of the progress.
const TOLD: Duration = Duration::from_millis(200);

/// For whoever may not use the server's files.
const AS_ROOT: &str = "run it as root (sudo jabberctl)";

/// The command by its name; the table has no others that are done here.
pub(super) fn obey(line: &Line, command: &'static Command, arguments: &Arguments) -> Result<Code, Failure> {
    terminal::confirm(line, command, arguments)?;
    let place = place::of(line, command)?;
    let file = PathBuf::from(arguments.text("file").unwrap_or_default());
    if file.as_os_str() == "-" || file.file_name().is_none() {
        return Err(
            Failure::usage("a name of a file is wanted").remedy(format!("usage: jabberctl {}", command.usage()))
        );
    }
    if matches!(command.name, "backup" | "export") {
        place.holds(line)?;
        place.refuse_own(&file)?;
    }
    let mut telling = Telling { show: Show::new(command, line.json), told: None, wish: interrupt::listen()? };
    if let Some(note) = &place.note {
        telling.show.note(note)?;
    }
    let said = match command.name {
        "backup" => back_up(&place.database, &file, arguments.0.contains_key("overwrite"), &mut telling),
        "restore" => restore(&place.database, &file, &mut telling),
        "export" if arguments.text("format") == Some("jabberd14") => {
            export_spool(line, place, &file, arguments, &mut telling)
        }
        "export" => export(&place, &file, arguments, &mut telling),
        _ => import(&place.config?, &file, arguments, &mut telling),
    };
    if said.is_err() {
        telling.show.break_off()?;
    }
    telling.show.done(&said?)?;
    Ok(Code::Done)
}

/// Who waits hears how far it is.
struct Telling {
    show: Show,
    told: Option<Instant>,
    /// Set when somebody wants it to end.
    wish: Arc<AtomicBool>,
}

impl Telling {
    fn tell(&mut self, done: u64, all: u64, things: &str) -> ControlFlow<()> {
        if self.wish.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        let now = Instant::now();
        if done >= all || self.told.is_none_or(|told| now.duration_since(told) >= TOLD) {
            self.told = Some(now);
            // A closed standard error leaves nobody to tell.
            let _ = self.show.progress(done, all, things);
        }
        ControlFlow::Continue(())
    }

    /// Copies pages, and leaves the disk to the server half of the time.
    fn pace<'a>(&'a mut self, what: &'a str) -> impl FnMut(Progress) -> ControlFlow<()> + 'a {
        let mut begun = Instant::now();
        move |progress| {
            thread::sleep(begun.elapsed().min(Duration::from_millis(50)));
            let next = self.tell(progress.done, progress.all, what);
            begun = Instant::now();
            next
        }
    }
}

/// What the store says is of files of the server's; who may not use them needs to be somebody else.
pub(super) fn failed(error: Error) -> Failure {
    let remedy = match error.is_denied() && !privileges::is_root() {
        true => AS_ROOT,
        false => error.hint(),
    };
    Failure::failed(error.told()).remedy(remedy)
}

/// What is to be done about a file that cannot be written.
fn unwritten(file: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "make the directory, or name another",
        io::ErrorKind::PermissionDenied if !privileges::is_root() => "name a directory that you may write to",
        io::ErrorKind::StorageFull => "free some space on its disk, or name a file on another",
        _ => "name another file",
    };
    Failure::failed(format!("cannot write {}: {error}", file.display())).remedy(remedy)
}

fn told(facts: Facts) -> String {
    let kib = facts.bytes.div_ceil(1024);
    format!("{} accounts, {kib} KiB, sound", facts.accounts)
}

fn there(database: &Path) -> Result<(), Failure> {
    match database.metadata() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Failure::failed(format!("you may not read {}", database.display())).remedy(AS_ROOT))
        }
        Err(error) => Err(Failure::failed(format!("there is no database {}: {error}", database.display()))
            .remedy("jabber.xml says where it is; another one is named with -c FILE, or --database FILE")),
    }
}

fn back_up(database: &Path, file: &Path, overwrite: bool, telling: &mut Telling) -> Result<String, Failure> {
    there(database)?;
    let facts = backup::make(database, file, overwrite, &mut telling.pace("pages")).map_err(failed)?;
    Ok(format!("{}: {}", file.display(), told(facts)))
}

fn restore(database: &Path, file: &Path, telling: &mut Telling) -> Result<String, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let label = datetime::stamp(u64::try_from(now).unwrap_or(u64::MAX)).replace(':', "");
    let done = backup::restore(file, database, &label, &mut telling.pace("pages")).map_err(failed)?;
    let aside = match done.aside {
        Some(path) => format!("; the database that was there is {} now", path.display()),
        None => String::new(),
    };
    Ok(format!("restored: {}{aside}. Start the server: /etc/init.d/jabber start", told(done.facts)))
}

/// The files of jabberd 1.4 have names that jabber.xml gives, and belong to the server's user.
fn export_spool(
    line: &Line,
    place: Place,
    directory: &Path,
    arguments: &Arguments,
    telling: &mut Telling,
) -> Result<String, Failure> {
    let given = [("--host", arguments.has("host")), ("--database", line.database.is_some())];
    if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::usage(format!("{option} goes with the format xep0227 only"))
            .remedy("leave out the one or the other"));
    }
    let config = place.config?;
    there(&place.database)?;
    let mut tell = |done, all| telling.tell(done, all, "accounts");
    importing::export(&config, directory, &mut tell).map_err(|refusal| refused(refusal, telling))
}

fn export(place: &Place, file: &Path, arguments: &Arguments, telling: &mut Telling) -> Result<String, Failure> {
    let database = place.database.as_path();
    there(database)?;
    let store = Store::open_to_read(database).map_err(failed)?;
    let mut hosts = account::hosts(&store).map_err(failed)?;
    let wanted = arguments.text("host").map(|name| host(place.config.as_ref().ok(), &hosts, name)).transpose()?;
    hosts.retain(|host| wanted.as_ref().is_none_or(|wanted| wanted == host));
    if file.symlink_metadata().is_ok() {
        let text = format!("{} is there already", file.display());
        return Err(Failure::failed(text).remedy("name another file, or remove it"));
    }
    // Whole or not at all: the name stands for a document that is complete. It has what passwords can be guessed with.
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let opened = super::made_new(&part).map_err(|error| unwritten(file, &error))?;
    let mut out = BufWriter::with_capacity(1 << 16, opened);
    let all: u64 = hosts.iter().filter_map(|host| account::count(&store, host).ok()).sum();
    let exported =
        portable::export(&store, wanted.as_deref(), &mut out, &mut |done| telling.tell(done, all, "accounts"));
    let exported = exported.and_then(|exported| {
        out.flush()?;
        out.get_ref().sync_all()?;
        std::fs::rename(&part, file)?;
        Ok(exported)
    });
    let exported = exported.map_err(|error| {
        let _ = std::fs::remove_file(&part);
        match error {
            ExportError::Store(error) => failed(error),
            ExportError::Io(error) => unwritten(file, &error),
            ExportError::Stopped => Failure::failed(format!("the export to {} {error}", file.display()))
                .remedy("nothing was written; begin it again"),
        }
    })?;
    let old = match exported.old_hashes {
        0 => String::new(),
        count => format!("; {count} of them have an old hash only, which other servers cannot check"),
    };
    Ok(format!("{}: {} accounts{old}", file.display(), exported.accounts))
}

/// A host by the name that somebody gave, as the database writes it.
fn host(config: Option<&Config>, hosts: &[String], name: &str) -> Result<String, Failure> {
    let found = host_name(name.trim_end_matches('.'))
        .map_err(|_| Failure::usage(format!("{name:?} is no domain")).remedy("a host looks like example.org"))?;
    if hosts.contains(&found) || config.is_some_and(|config| config.host(&found).is_some()) {
        return Ok(found);
    }
    Err(Failure::failed(format!("there is no host {found}")).remedy(format!("there are: {}", hosts.join(", "))))
}

/// What the daemon's room says of work that it did not do, or not all of.
fn refused(refusal: Refusal, telling: &mut Telling) -> Failure {
    for note in &refusal.notes {
        // A closed standard error leaves nobody to tell.
        let _ = telling.show.note(note);
    }
    Failure::failed(refusal.text).remedy(refusal.remedy)
}

fn import(config: &Config, file: &Path, arguments: &Arguments, telling: &mut Telling) -> Result<String, Failure> {
    let format = match arguments.text("format") {
        Some("jabberd14") => Format::Jabberd14,
        _ => Format::Portable,
    };
    let mut tell = |progress: jabber::import::Progress| {
        telling.tell(progress.done as u64, progress.all as u64, progress.step.things())
    };
    let done = importing::by_hand(config, format, file, &mut tell).map_err(|refusal| refused(refusal, telling))?;
    for remedy in &done.remedies {
        telling.show.note(remedy)?;
    }
    Ok(done.text)
}
