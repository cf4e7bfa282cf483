//! Where log lines go: files, standard error and syslog, in jabberd 1.4's form.
//!
//! The rest of the house writes with the `log` crate. The target is the host that a line is about, or `-internal`; a line
//! of record.log has the target `record:` and the account. Levels are 1.4's types: error is `alert`, warn `warn`, info
//! `notice`. A line that others can bring about carries a mark, and so many of its kind are written in a minute ([`ration`]).

mod ration;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::kv::Key;
use log::{Level, LevelFilter, Metadata, Record};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use self::ration::{Bounds, LeftOut, Rations};
use super::StartError;
use crate::admin::LogLevels;
use crate::config::logs::sinks_for;
use crate::config::{LogSink, LogTarget};
use crate::server::Word;
use crate::xmpp::{Jid, datetime};

/// Bytes of one line's text; what a peer sends may be in it. jabberd 1.4 cut at 512.
const TEXT_BYTES: usize = 2048;
/// Who logs nothing but to its own files must still be kept out of others' way.
const FILE_MODE: u32 = 0o640;
/// Our crates' names, library and program, to tell our lines from those of others.
const CRATES: [&str; 2] = ["jabber", "jabberd"];
/// Lines of the start that wait for the files to be known.
const EARLY_LINES: usize = 200;

/// One line, before it has a form.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    seconds: u64,
    kind: &'a str,
    /// What `%h` shows: a host, or an account in record.log.
    about: &'a str,
    text: &'a str,
}

impl Line<'_> {
    /// The host that decides which section takes the line.
    fn host(&self) -> &str {
        self.about.rsplit_once('@').map_or(self.about, |(_, host)| host)
    }
}

/// Fills in a `<format>`. As in jabberd 1.4, unknown directives vanish; what follows the last one stays, which 1.4 lost.
fn render(format: &str, line: &Line<'_>) -> String {
    let mut text = String::with_capacity(line.text.len().saturating_add(64));
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match rest.next() {
            Some('d') => text.push_str(&datetime::legacy_stamp(line.seconds.saturating_mul(1000))),
            Some('t') => text.push_str(line.kind),
            Some('h') => escape(&mut text, line.about),
            Some('s') => escape(&mut text, line.text),
            _ => {}
        }
    }
    text
}

/// Writes text so that it stays one line and tells a terminal nothing: a peer may have chosen it.
fn escape(out: &mut String, text: &str) {
    let bound = out.len().saturating_add(TEXT_BYTES);
    for c in text.chars() {
        if out.len() >= bound {
            out.push_str("...");
            return;
        }
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Controls, line and paragraph separators, and marks that turn the direction of what follows.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

/// A log file that survives rotation and full disks.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    /// When we last looked whether the path still leads to the file.
    looked: u64,
    /// Lines that could not be written, and why.
    lost: Option<(u64, String)>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)?;
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(LogFile { path: path.to_owned(), file, identity, looked: 0, lost: None })
    }

    /// Follows a rotation that came without a signal.
    fn follow(&mut self, seconds: u64) {
        if seconds == self.looked {
            return;
        }
        self.looked = seconds;
        let moved = match std::fs::metadata(&self.path) {
            Ok(metadata) => (metadata.dev(), metadata.ino()) != self.identity,
            Err(_) => true,
        };
        if moved {
            self.reopen();
        }
    }

    /// Opens the path anew. If that fails, the old file goes on.
    fn reopen(&mut self) {
        if let Ok(opened) = LogFile::open(&self.path) {
            *self = LogFile { looked: self.looked, lost: self.lost.take(), ..opened };
        }
    }

    fn write(&mut self, format: &str, line: &Line<'_>) {
        self.follow(line.seconds);
        let mut text = String::new();
        if let Some((count, why)) = &self.lost {
            let about = format!("{count} lines could not be written here: {why}");
            let note = Line { kind: "warn", about: LogSink::INTERNAL, text: &about, ..*line };
            text.push_str(&render(format, &note));
            text.push('\n');
        }
        text.push_str(&render(format, line));
        text.push('\n');
        match self.file.write_all(text.as_bytes()) {
            Ok(()) => self.lost = None,
            Err(error) => {
                let before = self.lost.take().map_or(0, |(count, _)| count);
                self.lost = Some((before.saturating_add(1), error.to_string()));
            }
        }
    }
}

/// The system's log, which may come and go.
struct SystemLog {
    socket: &'static str,
    facility: Facility,
    logger: Option<Logger<LoggerBackend, Formatter3164>>,
    /// When we last tried to connect.
    tried: u64,
}

impl SystemLog {
    fn new(facility: Facility) -> Self {
        SystemLog { socket: "/dev/log", facility, logger: None, tried: 0 }
    }

    fn connect(&mut self, seconds: u64) {
        if self.logger.is_some() || self.tried == seconds {
            return;
        }
        self.tried = seconds;
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(self.socket)?;
            // A system log that hangs must not hang us.
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let formatter = Formatter3164 {
            facility: self.facility,
            hostname: None,
            process: "jabberd".to_owned(),
            pid: std::process::id(),
        };
        self.logger = connected.ok().map(|socket| Logger::new(LoggerBackend::Unix(socket), formatter));
    }

    fn write(&mut self, format: &str, line: &Line<'_>) {
        self.connect(line.seconds);
        let Some(logger) = &mut self.logger else { return };
        let text = render(format, line);
        // As in jabberd 1.4: alert and warn keep their names, notice and record are notices, all else is info.
        let sent = match line.kind {
            "alert" => logger.alert(text),
            "warn" => logger.warning(text),
            "notice" | "record" => logger.notice(text),
            "debug" => logger.debug(text),
            _ => logger.info(text),
        };
        if sent.is_err() {
            self.logger = None;
        }
    }
}

enum Target {
    File(LogFile),
    Stderr,
    Syslog(SystemLog),
    To(Letterbox),
}

/// Lines that one address gets in a minute; the others are counted. What the server logs about the sending is among them.
const LETTERS_PER_MINUTE: u64 = 20;
/// Lines that wait for the server to send them; the oldest goes.
const LETTERS_WAITING: usize = 200;

/// An address that gets lines as messages (`<to>`).
struct Letterbox {
    to: Jid,
    minute: u64,
    sent: u64,
    left_out: u64,
}

impl Letterbox {
    fn new(to: Jid) -> Letterbox {
        Letterbox { to, minute: 0, sent: 0, left_out: 0 }
    }

    /// The message for a line, if there may be one.
    fn letter(&mut self, format: &str, line: &Line<'_>) -> Option<Word> {
        let minute = line.seconds / 60;
        if minute != self.minute {
            (self.minute, self.sent) = (minute, 0);
        }
        if self.sent >= LETTERS_PER_MINUTE {
            self.left_out += 1;
            return None;
        }
        self.sent += 1;
        let mut text = render(format, line);
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            let _ =
                write!(text, "\n({left_out} lines before it were left out: {LETTERS_PER_MINUTE} in a minute are sent)");
        }
        Some(Word::LogLine { to: self.to.clone(), about: line.host().to_owned(), text })
    }
}

struct State {
    sinks: Vec<LogSink>,
    /// For each section its targets.
    targets: Vec<Vec<Target>>,
    /// Standard error is still somebody's terminal.
    stderr: bool,
    /// What was said before the files were known; `None` since they are.
    early: Option<Vec<EarlyLine>>,
    /// Lines for people, until the server takes them.
    letters: VecDeque<Word>,
}

struct EarlyLine {
    seconds: u64,
    kind: String,
    about: String,
    text: String,
}

/// The log of this process.
pub struct Log {
    state: Mutex<State>,
    levels: RwLock<Levels>,
    rations: Mutex<Rations>,
    started: Instant,
}

/// Which lines are written.
struct Levels {
    /// By jabber.xml and the command line.
    configured: LevelFilter,
    /// What was said since for all lines.
    said: Option<LevelFilter>,
    /// What was said since for lines about these.
    targets: Vec<(String, LevelFilter)>,
}

impl Levels {
    fn of(&self, about: &str) -> LevelFilter {
        let own = self.targets.iter().find(|(target, _)| target == about).map(|(_, level)| *level);
        own.or(self.said).unwrap_or(self.configured)
    }

    fn highest(&self) -> LevelFilter {
        let targets = self.targets.iter().map(|(_, level)| *level);
        // Records are written at info, and are no matter of levels.
        targets.chain([self.said.unwrap_or(self.configured), LevelFilter::Info]).max().unwrap_or(LevelFilter::Info)
    }
}

struct Handle(Arc<Log>);

impl Log {
    /// A log that goes to standard error, until jabber.xml says more.
    pub fn new() -> Arc<Log> {
        let sink = LogSink {
            id: String::new(),
            hosts: Vec::new(),
            types: Vec::new(),
            // The init script shows the warnings of a start, and finds them by this.
            format: "[%t] %s".to_owned(),
            targets: vec![LogTarget::Stderr],
        };
        let state = State {
            sinks: vec![sink],
            targets: vec![vec![Target::Stderr]],
            stderr: true,
            early: Some(Vec::new()),
            letters: VecDeque::new(),
        };
        let levels = Levels { configured: LevelFilter::Info, said: None, targets: Vec::new() };
        let rations = Mutex::new(Rations::default());
        Arc::new(Log { state: Mutex::new(state), levels: RwLock::new(levels), rations, started: Instant::now() })
    }

    /// Makes this the log of the process. Once.
    pub fn install(log: &Arc<Log>, debug: bool) {
        if log::set_boxed_logger(Box::new(Handle(Arc::clone(log)))).is_ok() {
            log.set_debug(debug);
        }
    }

    /// Lets debug lines through, or not, where nothing else was said since the start.
    pub fn set_debug(&self, debug: bool) {
        let mut levels = self.levels.write().unwrap_or_else(PoisonError::into_inner);
        levels.configured = if debug { LevelFilter::Debug } else { LevelFilter::Info };
        log::set_max_level(levels.highest());
    }

    /// Lets lines of this level through: those about `target`, or all. Without a level, as jabber.xml says; without both
    /// all that was said since is forgotten.
    pub fn set_level(&self, target: Option<String>, level: Option<LevelFilter>) {
        /// So many targets at most: who wants more wants all.
        const TARGETS_MAX: usize = 100;
        let mut levels = self.levels.write().unwrap_or_else(PoisonError::into_inner);
        match (target, level) {
            (None, None) => {
                levels.said = None;
                levels.targets.clear();
            }
            (None, level) => levels.said = level,
            (Some(target), level) => {
                levels.targets.retain(|(other, _)| *other != target);
                if levels.targets.len() < TARGETS_MAX {
                    levels.targets.extend(level.map(|level| (target, level)));
                }
            }
        }
        log::set_max_level(levels.highest());
    }

    /// The levels in force.
    pub fn levels(&self) -> LogLevels {
        let levels = self.levels.read().unwrap_or_else(PoisonError::into_inner);
        LogLevels {
            level: levels.said.unwrap_or(levels.configured),
            is_said: levels.said.is_some(),
            targets: levels.targets.clone(),
        }
    }

    /// Writes how many lines were left out in the minutes that are over; at the end of the process, in all. Returns when
    /// there will be more to tell.
    pub fn tell_left_out(&self, all: bool) -> Option<Duration> {
        let millis = self.millis();
        let (told, due) = {
            let mut rations = self.rations();
            (rations.settle(millis, all), rations.due_in_millis(millis))
        };
        self.write_left_out(&told);
        due.map(Duration::from_millis)
    }

    fn write_left_out(&self, told: &[LeftOut]) {
        for LeftOut { kind, text } in told {
            self.write(&Line { seconds: unix_seconds(), kind, about: LogSink::INTERNAL, text });
        }
    }

    /// May this line be written, if others can bring it about?
    fn admits(&self, record: &Record<'_>, kind: &str) -> bool {
        let keys = record.key_values();
        let mut marks = Bounds::MARKS.iter();
        let Some((of, bounds)) = marks.find_map(|(mark, bounds)| Some((keys.get(Key::from(*mark))?, *bounds))) else {
            return true;
        };
        let by = keys.get(Key::from("by")).map(|by| by.to_string());
        let bounds = Bounds::of(bounds, kind == "record");
        let millis = self.millis();
        let (told, is_admitted) = {
            let mut rations = self.rations();
            let told = rations.settle(millis, false);
            (told, rations.admits(&of.to_string(), by.as_deref(), self::kind(record.level()), bounds, millis))
        };
        self.write_left_out(&told);
        is_admitted
    }

    fn rations(&self) -> MutexGuard<'_, Rations> {
        self.rations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the sections of jabber.xml, whose files are opened as the user that we are now.
    ///
    /// # Errors
    /// A file cannot be opened; then everything stays as it was.
    pub fn configure(&self, sinks: &[LogSink]) -> Result<(), StartError> {
        let mut targets = Vec::new();
        for sink in sinks {
            targets.push(open_targets(sink)?);
        }
        let early = {
            let mut state = self.state();
            state.sinks = sinks.to_vec();
            state.targets = targets;
            state.early.take()
        };
        for EarlyLine { seconds, kind, about, text } in early.into_iter().flatten() {
            // Standard error has had them.
            self.write_to(&Line { seconds, kind: &kind, about: &about, text: &text }, false);
        }
        Ok(())
    }

    /// The lines that are to be sent to people, since the last call.
    pub fn take_letters(&self) -> Vec<Word> {
        self.state().letters.drain(..).collect()
    }

    /// Are there any?
    pub fn has_letters(&self) -> bool {
        !self.state().letters.is_empty()
    }

    /// Opens all files anew: the old ones were moved away.
    pub fn reopen(&self) {
        for target in self.state().targets.iter_mut().flatten() {
            if let Target::File(file) = target {
                file.reopen();
            }
        }
    }

    /// Nobody reads standard error any more.
    pub fn leave_stderr(&self) {
        self.state().stderr = false;
    }

    /// Does a line about the server itself reach standard error by itself?
    pub fn shows_alerts_on_stderr(&self) -> bool {
        let state = self.state();
        state.stderr
            && sinks_for(&state.sinks, "alert", LogSink::INTERNAL)
                .iter()
                .any(|sink| sink.targets.contains(&LogTarget::Stderr))
    }

    fn write(&self, line: &Line<'_>) {
        self.write_to(line, true);
    }

    fn write_to(&self, line: &Line<'_>, to_stderr: bool) {
        let mut state = self.state();
        let State { sinks, targets, stderr, early, letters } = &mut *state;
        if let Some(early) = early.as_mut().filter(|early| early.len() < EARLY_LINES) {
            let (kind, about, text) = (line.kind.to_owned(), line.about.to_owned(), line.text.to_owned());
            early.push(EarlyLine { seconds: line.seconds, kind, about, text });
        }
        for sink in sinks_for(sinks, line.kind, line.host()) {
            let place = sinks.iter().position(|other| std::ptr::eq(other, sink));
            let Some(targets) = place.and_then(|place| targets.get_mut(place)) else { continue };
            for target in targets {
                match target {
                    Target::File(file) => file.write(&sink.format, line),
                    Target::Syslog(log) => log.write(&sink.format, line),
                    Target::To(letterbox) => {
                        letters.extend(letterbox.letter(&sink.format, line));
                        if letters.len() > LETTERS_WAITING {
                            letters.pop_front();
                        }
                    }
                    Target::Stderr if *stderr && to_stderr => {
                        // A terminal that is gone is no reason to stop.
                        let _ = writeln!(io::stderr(), "{}", render(&sink.format, line));
                    }
                    Target::Stderr => {}
                }
            }
        }
    }
}

fn open_targets(sink: &LogSink) -> Result<Vec<Target>, StartError> {
    let mut targets = Vec::new();
    for target in &sink.targets {
        match target {
            LogTarget::File { path, place } => targets.push(Target::File(LogFile::open(path).map_err(|error| {
                let (path, more) = (path.display(), super::who_knows_more(&error));
                StartError(format!(
                    "cannot open the log file {path} ({place}): {error}; its directory must exist, and the user \
                     jabberd runs as must be able to write there{more}"
                ))
            })?)),
            LogTarget::Stderr => targets.push(Target::Stderr),
            LogTarget::Syslog(name) => targets.push(Target::Syslog(SystemLog::new(facility(name)))),
            LogTarget::To(to) => targets.push(Target::To(Letterbox::new(to.clone()))),
        }
    }
    Ok(targets)
}

/// syslog's facilities by name; config has refused unknown ones.
fn facility(name: &str) -> Facility {
    match name.to_ascii_lowercase().as_str() {
        "kern" => Facility::LOG_KERN,
        "user" => Facility::LOG_USER,
        "mail" => Facility::LOG_MAIL,
        "auth" | "security" => Facility::LOG_AUTH,
        "syslog" => Facility::LOG_SYSLOG,
        "lpr" => Facility::LOG_LPR,
        "news" => Facility::LOG_NEWS,
        "uucp" => Facility::LOG_UUCP,
        "cron" => Facility::LOG_CRON,
        "authpriv" => Facility::LOG_AUTHPRIV,
        "ftp" => Facility::LOG_FTP,
        "local0" => Facility::LOG_LOCAL0,
        "local1" => Facility::LOG_LOCAL1,
        "local2" => Facility::LOG_LOCAL2,
        "local3" => Facility::LOG_LOCAL3,
        "local4" => Facility::LOG_LOCAL4,
        "local5" => Facility::LOG_LOCAL5,
        "local6" => Facility::LOG_LOCAL6,
        "local7" => Facility::LOG_LOCAL7,
        _ => Facility::LOG_DAEMON,
    }
}

impl log::Log for Handle {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let own = |path: &str| CRATES.iter().any(|own| path.split("::").next() == Some(*own));
        let ours = record.module_path().is_none_or(own);
        let levels = self.0.levels.read().unwrap_or_else(PoisonError::into_inner);
        if !ours && levels.of(LogSink::INTERNAL) < LevelFilter::Debug {
            return;
        }
        let (kind, about) = kind_and_subject(record);
        let about = if ours { about } else { LogSink::INTERNAL };
        if record.level() > levels.of(about) && kind != "record" {
            return;
        }
        drop(levels);
        if record.level() <= Level::Info && !self.0.admits(record, kind) {
            return;
        }
        self.0.write(&Line { seconds: unix_seconds(), kind, about, text: &record.args().to_string() });
    }

    fn flush(&self) {}
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The type of a line, and what it is about. Components have types of their own.
fn kind_and_subject<'r>(record: &Record<'r>) -> (&'r str, &'r str) {
    let target = record.target();
    // A line without a target of its own has the path of its module.
    if record.module_path() == Some(target) {
        return (kind(record.level()), LogSink::INTERNAL);
    }
    if let Some(about) = target.strip_prefix("record:") {
        return ("record", about);
    }
    let named = target.strip_prefix("type:").and_then(|rest| rest.split_once(':'));
    named.unwrap_or((kind(record.level()), target))
}

fn kind(level: Level) -> &'static str {
    match level {
        Level::Error => "alert",
        Level::Warn => "warn",
        Level::Info => "notice",
        Level::Debug | Level::Trace => "debug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(kind: &'a str, about: &'a str, text: &'a str) -> Line<'a> {
        Line { seconds: 1_795_332_781, kind, about, text }
    }

    #[test]
    fn targets_tell_type_and_subject() {
        for (target, expected) in [
            ("xmpp.test", ("notice", "xmpp.test")),
            ("record:juliet@xmpp.test", ("record", "juliet@xmpp.test")),
            ("type:stat:icq.xmpp.test", ("stat", "icq.xmpp.test")),
            ("type:stat:u@[2001:db8::1]", ("stat", "u@[2001:db8::1]")),
            // It was taken for the path of a module.
            ("record:u@[2001:db8::1]", ("record", "u@[2001:db8::1]")),
            ("jabber::server", ("notice", LogSink::INTERNAL)),
        ] {
            let record = Record::builder().target(target).module_path(Some("jabber::server")).build();
            assert_eq!(kind_and_subject(&record), expected, "{target}");
        }
    }

    #[test]
    fn formats_are_jabberd_14s() {
        let notice = line("notice", "-internal", "initializing server");
        let record = line("record", "juliet@xmpp.test", "login ok 127.0.0.1 balcony");
        for (format, line, expected) in [
            (LogSink::ERROR_FORMAT, notice, "20261122T07:33:01: [notice] (-internal): initializing server"),
            (LogSink::RECORD_FORMAT, record, "20261122T07:33:01 juliet@xmpp.test login ok 127.0.0.1 balcony"),
            ("[%t] (%h): %s", notice, "[notice] (-internal): initializing server"),
            // Unknown directives vanish.
            ("%t: %s -- end", notice, "notice: initializing server -- end"),
            ("%x%q%t", notice, "notice"),
            ("100%% %t", notice, "100 notice"),
            ("no directive", notice, "no directive"),
            ("%s%", notice, "initializing server"),
            ("", notice, ""),
        ] {
            assert_eq!(render(format, &line), expected, "{format}");
        }
    }

    #[test]
    fn no_line_can_be_forged() {
        for (text, expected) in [
            ("a\n20261122T07:33:01: [alert]", "a\\n20261122T07:33:01: [alert]"),
            ("a\r\tb", "a\\r\\tb"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\0\u{7f}\u{85}", "\\u{0}\\u{7f}\\u{85}"),
            ("\u{2028}\u{202e}", "\\u{2028}\\u{202e}"),
            ("Jörg ☃", "Jörg ☃"),
        ] {
            assert_eq!(render("%s", &line("warn", "h", text)), expected);
            assert_eq!(render("%h", &line("warn", text, "")), expected);
        }
        let long = "é".repeat(TEXT_BYTES);
        assert_eq!(render("%s", &line("warn", "h", &long)).len(), TEXT_BYTES + 3);
    }

    fn sink(types: &[&str], hosts: &[&str], format: &str, path: &Path) -> LogSink {
        let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
        let place = crate::config::Place::whole(Path::new("jabber.xml"));
        LogSink {
            id: "log".to_owned(),
            hosts: owned(hosts),
            types: owned(types),
            format: format.to_owned(),
            targets: vec![LogTarget::File { path: path.to_owned(), place }],
        }
    }

    #[test]
    fn lines_find_their_file_by_type_and_host() {
        let directory = crate::daemon::scratch("log-routes");
        let path = |name: &str| directory.join(name);
        let log = Log::new();
        log.configure(&[
            sink(&[], &[], "%t %s", &path("error")),
            sink(&["record"], &[], "%h %s", &path("record")),
            sink(&["record"], &["two.test"], "%s", &path("two")),
            // In jabberd 1.4 two sections for one thing started well and then lost the lines.
            sink(&["record"], &[], "again %s", &path("again")),
        ])
        .unwrap();
        for (kind, about, text) in [
            ("notice", "-internal", "start"),
            ("record", "romeo@one.test", "login"),
            ("record", "nurse@two.test", "logout"),
            ("warn", "two.test", "careful"),
        ] {
            log.write(&line(kind, about, text));
        }
        let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        assert_eq!(read("error"), "notice start\nwarn careful\n");
        assert_eq!(read("record"), "romeo@one.test login\nnurse@two.test logout\n");
        assert_eq!(read("two"), "logout\n");
        assert_eq!(read("again"), "again login\nagain logout\n");
        assert_eq!(std::fs::metadata(path("error")).unwrap().mode() & 0o7137, 0);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn people_get_lines_as_messages_and_not_too_many() {
        let to = Jid::new("admin@h.test").unwrap();
        let sink = LogSink { targets: vec![LogTarget::To(to.clone())], ..sink(&[], &[], "[%t] %s", Path::new("x")) };
        let log = Log::new();
        log.configure(&[sink]).unwrap();
        let text = |word: &Word| match word {
            Word::LogLine { to: address, about, text } if *address == to && about == "h.test" => text.clone(),
            other => panic!("{other:?}"),
        };
        for _ in 0..LETTERS_PER_MINUTE + 7 {
            log.write(&Line { seconds: 60, ..line("warn", "u@h.test", "careful") });
        }
        assert!(log.has_letters());
        let letters = log.take_letters();
        assert_eq!((letters.len() as u64, text(&letters[0]).as_str()), (LETTERS_PER_MINUTE, "[warn] careful"));
        assert!(!log.has_letters());
        log.write(&Line { seconds: 120, ..line("warn", "h.test", "again") });
        let told = "[warn] again\n(7 lines before it were left out: 20 in a minute are sent)";
        assert_eq!(text(&log.take_letters()[0]), told);
        // Nobody takes them: the oldest go.
        for minute in 3..30 {
            for _ in 0..LETTERS_PER_MINUTE {
                log.write(&Line { seconds: 60 * minute, ..line("warn", "h.test", "x") });
            }
        }
        assert_eq!(log.take_letters().len(), LETTERS_WAITING);
    }

    #[test]
    fn lines_go_to_the_system_s_log_with_their_priority() {
        let directory = crate::daemon::scratch("log-system");
        let path = directory.join("log");
        let system = UnixDatagram::bind(&path).unwrap();
        system.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let mut log = SystemLog::new(facility("local3"));
        log.socket = Box::leak(path.to_string_lossy().into_owned().into_boxed_str());
        // local3 is 19: 19 * 8, and the severity.
        for (kind, priority) in
            [("alert", 153), ("warn", 156), ("notice", 157), ("record", 157), ("debug", 159), ("stat", 158)]
        {
            log.write("[%t] %s", &line(kind, "h.test", "careful"));
            let mut buffer = [0; 512];
            let count = crate::net::uninterrupted(|| system.recv(&mut buffer)).unwrap();
            let told = String::from_utf8_lossy(&buffer[..count]).into_owned();
            assert!(told.starts_with(&format!("<{priority}>")), "{told}");
            assert!(told.trim_end().ends_with(&format!(": [{kind}] careful")) && told.contains("jabberd["), "{told}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn files_are_followed_when_they_are_rotated() {
        let directory = crate::daemon::scratch("log-rotates");
        let path = directory.join("error.log");
        let log = Log::new();
        log.configure(&[sink(&[], &[], "%s", &path)]).unwrap();
        let mut seconds = 0;
        let mut write = |text: &str| {
            seconds += 1;
            log.write(&Line { seconds, ..line("notice", "-internal", text) });
        };
        write("one");
        std::fs::rename(&path, directory.join("error.log.1")).unwrap();
        write("two");
        std::fs::remove_file(&path).unwrap();
        log.reopen();
        write("three");
        assert_eq!(std::fs::read_to_string(directory.join("error.log.1")).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_so_later() {
        let mut file = LogFile::open(Path::new("/dev/full")).unwrap();
        file.write("%s", &line("notice", "-internal", "one"));
        file.write("%s", &line("notice", "-internal", "two"));
        let (count, why) = file.lost.clone().unwrap();
        assert_eq!(count, 2);
        let directory = crate::daemon::scratch("log-full");
        let path = directory.join("log");
        let roomy = LogFile::open(&path).unwrap();
        let mut file = LogFile { lost: file.lost, looked: 1_795_332_781, ..roomy };
        file.write("%s", &line("notice", "-internal", "three"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("2 lines could not be written here: {why}\nthree\n"));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let path = Path::new("/nonexistent/error.log");
        let error = Log::new().configure(&[sink(&[], &[], "%s", path)]).unwrap_err();
        assert!(error.0.contains("/nonexistent/error.log (jabber.xml): No such file"), "{error}");
    }
}
