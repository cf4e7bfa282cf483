//! `jabberctl check`: is everything as it must be, with the server up or down? Each finding with its remedy.
//!
//! [`files`] looks at files, users and disks, [`database`] at everybody's data, [`certificates`] at certificates, [`ports`] at
//! who listens, [`names`] at DNS, by its own questions ([`dns`]), [`machine`] at the clock and the limits. What the server's
//! user may do is asked as that user ([`access`]). Where jabber.xml cannot be read, [`blind`] looks at the rest. The exit code is what monitoring expects: 0 all is well, 1 warnings,
//! 2 something is broken, 3 it could not be found out.
//!
//! Invariant: what we are not allowed to see is unknown, never absent.

mod access;
mod blind;
mod certificates;
mod database;
mod dns;
mod files;
mod machine;
mod names;
mod ports;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jabber::config::{Config, Problem, Severity};
use jabber::daemon::accounts::DATABASE;
use jabber::daemon::privileges::{Identity, is_root};
use jabber::daemon::rehearsal;
use serde_json::{Value, json};

use super::line::{Arguments, Line};
use super::{Code, Failure, reach, settings, show, talk};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Fine,
    Unknown,
    Warning,
    Critical,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Fine => "ok",
            Level::Unknown => "unknown",
            Level::Warning => "warning",
            Level::Critical => "critical",
        }
    }

    fn code(self) -> Code {
        match self {
            Level::Fine => Code::Done,
            Level::Warning => Code::Failed,
            Level::Critical => Code::Usage,
            Level::Unknown => Code::Unreachable,
        }
    }
}

/// What was found out.
#[derive(Debug)]
struct Finding {
    level: Level,
    area: &'static str,
    text: String,
    remedy: String,
}

/// All that was found out.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    /// Nothing is said twice.
    fn add(&mut self, level: Level, area: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        let new = Finding { level, area, text: text.into(), remedy: remedy.into() };
        if !self.0.iter().any(|found| (found.area, &found.text) == (new.area, &new.text)) {
            self.0.push(new);
        }
    }

    fn fine(&mut self, area: &'static str, text: impl Into<String>) {
        self.add(Level::Fine, area, text, "");
    }

    fn unknown(&mut self, area: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Unknown, area, text, remedy);
    }

    fn warning(&mut self, area: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Warning, area, text, remedy);
    }

    fn critical(&mut self, area: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Critical, area, text, remedy);
    }

    /// What is wrong in jabber.xml, in one line.
    fn problem(&mut self, area: &'static str, problem: &Problem) {
        let whole = problem.to_string();
        let what = whole.lines().next().unwrap_or_default();
        let parts = [("found", &problem.found), ("expected", &problem.expected)];
        let parts = parts.iter().filter(|(_, text)| !text.is_empty()).map(|(label, text)| format!("; {label}: {text}"));
        self.critical(area, format!("{what}{}", parts.collect::<String>()), problem.remedy.as_str());
    }

    /// A fault whose text ends in its remedy.
    fn split(&mut self, area: &'static str, fault: &str) {
        let (text, remedy) = fault.rsplit_once(": ").unwrap_or((fault, "see /var/log/jabber/error.log"));
        self.critical(area, text, remedy);
    }
}

/// What the checks look at.
struct Subject {
    config: Config,
    /// Where its data are.
    database: PathBuf,
    /// Or are these data that the admin named, of whatever server?
    is_another: bool,
    /// The user that the server becomes, if one is named.
    identity: Option<Identity>,
    /// Are we, or can we be, that user?
    can_lend: bool,
    /// Is it root until it becomes that user? systemd starts it as the user.
    starts_as_root: bool,
    by_systemd: bool,
    server: Running,
    /// How long whoever is asked may say nothing; `None`: as usual.
    timeout: Option<Duration>,
}

impl Subject {
    /// The number of the running server's process.
    fn process(&self) -> Option<i32> {
        match self.server {
            Running::Process(pid) => Some(pid),
            Running::No | Running::Unknown => None,
        }
    }

    /// The same, if it is this database that it serves.
    fn holder(&self) -> Option<i32> {
        self.process().filter(|_| !self.is_another)
    }
}

/// Does a server run?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    No,
    /// With this process number.
    Process(i32),
    /// We are not allowed to know.
    Unknown,
}

/// Checks all, or one area.
pub(super) fn run(line: &Line, arguments: &Arguments) -> Result<Code, Failure> {
    let wanted = |area: &str| arguments.text("area").is_none_or(|only| only == area);
    let mut findings = Findings::default();
    match subject(line, &mut findings) {
        // The other areas find it as well, and say more.
        Some(subject) if arguments.text("area") == Some("config") => start(&subject, &mut findings),
        Some(subject) => look(&subject, line, &wanted, arguments.text("dns"), &mut findings)?,
        None => blind::check(line, &wanted, &mut findings),
    }
    findings.0.retain(|finding| finding.area == "config" && finding.level != Level::Fine || wanted(finding.area));
    if arguments.has("problems") {
        findings.0.retain(|finding| finding.level != Level::Fine);
    }
    // Whoever got nothing must not take the code for a judgement.
    let cut_off = |error: io::Error| {
        Failure::unreachable(format!("cannot write the answer: {error}")).remedy("see what standard output is")
    };
    show(&findings, line.json).map_err(cut_off)?;
    let worst = findings.0.iter().map(|finding| finding.level).max().unwrap_or(Level::Fine);
    Ok(worst.code())
}

fn look(
    subject: &Subject,
    line: &Line,
    wanted: &dyn Fn(&str) -> bool,
    dns: Option<&str>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    if wanted("files") {
        files::check(subject, findings);
        database::check(subject, findings);
    }
    if wanted("certificates") {
        certificates::check(subject, line, findings);
    }
    if wanted("ports") {
        ports::check(subject, findings);
    }
    if wanted("dns") {
        names::check(subject, dns, findings)?;
    }
    if wanted("machine") {
        machine::check(subject, findings);
    }
    Ok(())
}

/// Could a server start with this configuration?
fn start(subject: &Subject, findings: &mut Findings) {
    const AREA: &str = "config";
    let found = rehearsal::rehearse(&subject.config);
    for problem in found.problems {
        let text = problem.text.lines().next().unwrap_or_default().to_owned();
        findings.critical(AREA, format!("no server starts with it: {text}"), problem.remedy);
    }
    for what in found.unseen {
        findings.unknown(AREA, format!("not looked at: {what}"), access::remedy(subject));
    }
}

/// The configuration, and what runs by it.
fn subject(line: &Line, findings: &mut Findings) -> Option<Subject> {
    const AREA: &str = "config";
    let given = match settings::server(line) {
        Ok(given) => given,
        Err(failure) => {
            findings.unknown(AREA, failure.to_string(), "mend that file first");
            return None;
        }
    };
    let file = given.config_file();
    let config = match Config::load(&file, &given) {
        Ok(config) => config,
        Err(error) => {
            for problem in &error.problems {
                match problem.is_denied() && !is_root() {
                    true => {
                        let text = format!("{}: not allowed for you", problem.place.file.display());
                        findings.unknown(AREA, text, access::AS_ROOT);
                    }
                    false => findings.problem(AREA, problem),
                }
            }
            return None;
        }
    };
    let hosts: Vec<&str> = config.hosts.iter().map(|host| host.name.as_str()).collect();
    findings.fine(AREA, format!("{} is in order; it serves {}", file.display(), hosts.join(", ")));
    for notice in config.notices.iter().filter(|notice| notice.severity == Severity::Warning) {
        match notice.is_denied() && !is_root() {
            true => findings.unknown(AREA, notice.to_string(), access::AS_ROOT),
            false => {
                findings.warning(
                    AREA,
                    notice.to_string(),
                    "correct it, or take it out: jabber.xml(5) has every element",
                );
            }
        }
    }
    // Nobody else's files tell who that is: they may be what is wrong.
    let identity = match config.user.as_deref().map(Identity::of).transpose() {
        Ok(identity) => identity,
        Err(error) => {
            findings.split("files", &error.to_string());
            None
        }
    };
    // Asked once: all that follows is asked as that user.
    let lent =
        identity.as_ref().filter(|_| is_root()).and_then(|identity| Some((identity, identity.lend(|| ()).err()?)));
    if let Some((identity, error)) = &lent {
        findings.unknown("files", error.to_string(), access::as_user(identity));
    }
    let can_lend = lent.is_none();
    let by_systemd = line.config.is_none() && Path::new("/run/systemd/system").is_dir();
    let by_us = identity.as_ref().is_none_or(Identity::is_own);
    let starts_as_root = !by_systemd && (is_root() || !by_us);
    let (server, _) = server(line, identity.as_ref(), findings);
    let own = config.spool.join(DATABASE);
    let database = line.database.clone().unwrap_or_else(|| own.clone());
    let is_another = database != own;
    Some(Subject {
        config,
        database,
        is_another,
        identity,
        can_lend,
        starts_as_root,
        by_systemd,
        server,
        timeout: line.timeout,
    })
}

/// Is there a server, and is it of our release? With what it says of itself.
fn server(line: &Line, identity: Option<&Identity>, findings: &mut Findings) -> (Running, Option<Value>) {
    const AREA: &str = "server";
    match reach::peer(line, line.timeout.unwrap_or(talk::LOOK_PATIENCE)) {
        Ok(pid) => {
            let own = env!("CARGO_PKG_VERSION");
            let status = talk::status(line);
            let told = |name: &str| status.as_ref()?.get(name)?.as_str();
            if let Some(why) = told("commits_fail") {
                findings.critical(
                    AREA,
                    format!("nothing can be kept, {why}"),
                    "see to that; the server tries it again by itself",
                );
            }
            if let Some(why) = told("database_displaced") {
                findings.critical(AREA, why, "jabberctl check files, as root, tells where it is, or how to save it");
            }
            match told("version") {
                Some(version) if version == own => {
                    findings.fine(AREA, format!("jabberd {version} runs, process {pid}"));
                }
                Some(version) => findings.warning(
                    AREA,
                    format!("jabberd {version} runs, and {own} is installed"),
                    "restart it: /etc/init.d/jabber restart",
                ),
                None => findings.critical(
                    AREA,
                    format!("jabberd runs (process {pid}), and does not answer"),
                    "see /var/log/jabber/error.log",
                ),
            }
            if let (Some(uid), Some(identity)) = (user_of(pid), identity) {
                if uid != identity.ids().0 {
                    findings.warning(
                        AREA,
                        format!("it runs as user number {uid}, and is to be {}", identity.name()),
                        "restart it, or correct <user> in jabber.xml, before anything is given to another user",
                    );
                }
            }
            (Running::Process(pid), status)
        }
        Err(reach::Unreached { failure, process }) => {
            let is_denied = failure.text.contains("you may not");
            let level = if is_denied { Level::Unknown } else { Level::Critical };
            let running = match process {
                Some(pid) => Running::Process(pid),
                None if failure.kind == reach::NO_SERVER => Running::No,
                None => Running::Unknown,
            };
            findings.add(level, AREA, failure.text, failure.remedy);
            (running, None)
        }
    }
}

/// proc(5): whom a process has become.
fn user_of(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    // The real user, then the one whose rights it has.
    line.split_whitespace().nth(1)?.parse().ok()
}

fn show(findings: &Findings, json: bool) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        let all: Vec<Value> = findings
            .0
            .iter()
            .map(|f| json!({ "level": f.level.word(), "area": f.area, "text": f.text, "remedy": f.remedy }))
            .collect();
        writeln!(out, "{}", show::json(&Value::Array(all)))?;
        return out.flush();
    }
    for finding in &findings.0 {
        // A line each.
        let line = |text: &str| show::plain(text).replace('\n', " ");
        writeln!(out, "{:8}  {:12}  {}", finding.level.word(), finding.area, line(&finding.text))?;
        if !finding.remedy.is_empty() {
            writeln!(out, "{:8}  {:12}    -> {}", "", "", line(&finding.remedy))?;
        }
    }
    let count = |level: Level| findings.0.iter().filter(|finding| finding.level == level).count();
    let (critical, warning, unknown) = (count(Level::Critical), count(Level::Warning), count(Level::Unknown));
    match (critical, warning, unknown) {
        (0, 0, 0) => writeln!(out, "all is well")?,
        (_, _, 0) => writeln!(out, "critical: {critical}, warnings: {warning}")?,
        _ => writeln!(out, "critical: {critical}, warnings: {warning}, not found out: {unknown}")?,
    }
    out.flush()
}
