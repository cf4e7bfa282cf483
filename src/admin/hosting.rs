//! The server itself: its configuration, log, certificates, and who may register.

use serde_json::{Value, json};

use super::command::{Argument, Column, Command, Does, Kind, Shows, Unit};
use super::job::{Event, Job, LogLevels, Next, Told};
use super::request::{Refusal, Request};
use super::view::{Ask, Outside, View};
use crate::config::{Config, LogSink, RegistrationMode};
use crate::store::setting;

const HOST: Argument = Argument::optional("host", Kind::Host, "only at this host; without, at all");

/// `register`.
pub const REGISTER: Command = Command {
    name: "register",
    arguments: &[
        Argument::optional(
            "state",
            Kind::Word(&["open", "invite", "closed", "default"]),
            "open, by invitation or closed from now on, or as jabber.xml says; without, it is shown",
        ),
        HOST,
    ],
    summary: "open or close registration from clients",
    details: "It holds at once and after a restart, whatever <register> in jabber.xml says, until it is set to default. \
              Who is registered stays so. With invite, who has an invitation of a user makes an account; with closed, only \
              who has one of an admin.",
    examples: &[
        ("jabberctl register", "how it is"),
        ("jabberctl register closed", "nobody makes an account from a client any more"),
        ("jabberctl register invite", "only who was invited does"),
        ("jabberctl register default", "as jabber.xml says"),
    ],
    shows: Shows::Table(&[
        Column::text("host", "Host"),
        Column::text("registration", "Registration"),
        Column::text("set_by", "Set by"),
    ]),
    changes: true,
    does: Does::Server(register),
    ..Command::NONE
};

/// `reload`.
pub const RELOAD: Command = Command {
    name: "reload",
    summary: "read jabber.xml again, and open the logs anew",
    details: "The same as SIGHUP, but with an answer: if jabber.xml has a mistake, it is shown, and the old configuration \
              stays in force. Ports, user and data directory change only by a restart: that, and a certificate that cannot \
              be used, is told in notes.",
    examples: &[("jabberctl reload", "after an edit")],
    changes: true,
    does: Does::Server(reload),
    ..Command::NONE
};

/// `log level`.
pub const LOG_LEVEL: Command = Command {
    name: "log level",
    arguments: &[
        Argument::optional(
            "level",
            Kind::Word(&["error", "warn", "info", "debug", "default"]),
            "what is logged from now on; default: as jabber.xml says; without, it is shown",
        ),
        Argument::optional(
            "target",
            Kind::Name,
            "only lines about this: a host, a component, s2s, or -internal for the server itself; default takes back all",
        ),
    ],
    summary: "show what is logged, or log more, or less, until the next restart",
    details: "What a line is about stands in its round brackets. Of lines that others can bring about so many are \
              written in a minute, and then how many were left out: see LOGS in jabber.xml(5). For debug there is no \
              such bound, so take it back.",
    examples: &[
        ("jabberctl log level", "how it is"),
        ("jabberctl log level debug s2s", "why does that other server not answer?"),
        ("jabberctl log level default", "back to normal"),
    ],
    shows: Shows::Table(&[
        Column::text("target", "Lines about"),
        Column::text("level", "Level"),
        Column::text("set_by", "Set by"),
    ]),
    changes: true,
    does: Does::Server(log_level),
    ..Command::NONE
};

/// `cert`.
pub const CERT: Command = Command {
    name: "cert",
    summary: "list the certificates that are shown",
    details: "With --json each has its fingerprint, too (sha256), and why clients refuse it, or warn of it (flaw).",
    examples: &[("jabberctl cert", "for whom, until when, from which file")],
    shows: Shows::Table(&[
        Column::text("host", "Host"),
        Column::text("names", "Names"),
        Column::text("issuer", "Issuer"),
        Column::number("days_left", "Days left"),
        Column::of("until", "Until", Unit::Moment),
        Column::text("file", "File"),
    ]),
    does: Does::Server(cert),
    ..Command::NONE
};

fn register(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let only = if request.has("host") { Some(request.domain("host")?) } else { None };
    let hosts = view.config.hosts.iter().map(|host| host.name.clone());
    let hosts: Vec<String> = hosts.filter(|host| only.as_ref().is_none_or(|only| only == host)).collect();
    if !request.has("state") {
        return show_registration(view, &hosts);
    }
    let mode = RegistrationMode::of(request.text("state"));
    for host in &hosts {
        match mode {
            Some(mode) => setting::set(view.store, host, setting::REGISTRATION, mode.name())?,
            None => drop(setting::remove(view.store, host, setting::REGISTRATION)?),
        }
    }
    show_registration(view, &hosts)
}

fn show_registration(view: &mut View<'_>, hosts: &[String]) -> Result<Next, Refusal> {
    for name in hosts {
        let Some(host) = view.config.host(name) else { continue };
        let set = setting::of(view.store, name, setting::REGISTRATION)?;
        let mode = setting::registration(view.store, host)?;
        view.answer.row(json!({
            "host": name,
            "registration": mode.name(),
            "set_by": if set.is_some() { "command" } else { "jabber.xml" },
        }));
    }
    Ok(Next::Done)
}

fn reload(view: &mut View<'_>, _: &Request) -> Result<Next, Refusal> {
    view.ask(Ask::Outside(Outside::Reload));
    Ok(Next::Wait(Box::new(Reload)))
}

struct Reload;

impl Job for Reload {
    fn step(self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal> {
        let not_in_force = match told(event).map_err(Refusal::logged)? {
            Told::Reloaded(what) => what,
            _ => Vec::new(),
        };
        for notice in &view.config.notices {
            view.answer.note(notice.to_string());
        }
        for what in &not_in_force {
            view.answer.note(what.as_str());
        }
        view.say(match not_in_force.len() {
            0 => "the configuration was read again".to_owned(),
            count => format!("the configuration was read again, but for what the notes say ({count})"),
        });
        Ok(Next::Done)
    }
}

/// What was done outside, or why not.
fn told(event: Event) -> Result<Told, Refusal> {
    match event {
        Event::Told(Told::Failed(why)) => {
            Err(Refusal::failed(why).remedy("nothing was changed: see to it, and ask again"))
        }
        Event::Told(told) => Ok(told),
        _ => Err(Refusal::failed("it was not done").remedy("the log may say why; ask again")),
    }
}

/// What the log is about besides hosts, services and components.
const SUBJECTS: [&str; 4] = [LogSink::INTERNAL, "s2s", "mio", "io_select"];

/// A refusal names so many hosts at most.
const NAMED_MAX: usize = 20;

/// What a line of the log can be about has a level of its own; a mistyped name would be silence.
fn check_target(config: &Config, target: &str) -> Result<(), Refusal> {
    let components = config.components.iter().map(|component| component.id.as_str());
    let mut known = config.hosts.iter().map(|host| host.name.as_str()).chain(components);
    let is_known = SUBJECTS.contains(&target) || config.is_own(target) || known.clone().any(|name| name == target);
    if is_known {
        return Ok(());
    }
    let mut there: Vec<&str> = SUBJECTS.into_iter().chain(known.by_ref().take(NAMED_MAX)).collect();
    if known.next().is_some() {
        there.push("...");
    }
    let there = there.join(", ");
    Err(Refusal::not_found(format!(
        "no line of the log is about {target:?}: it is no host and no component of this server"
    ))
    .remedy(format!("there are: {there}; put -- before one that begins with a hyphen")))
}

fn log_level(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    if !request.has("level") {
        view.ask(Ask::Outside(Outside::LogLevel(None)));
        return Ok(Next::Wait(Box::new(LogLevel { level: String::new(), target: None })));
    }
    if request.has("target") {
        check_target(view.config, request.text("target"))?;
    }
    let level = match request.text("level") {
        "error" => Some(log::LevelFilter::Error),
        "warn" => Some(log::LevelFilter::Warn),
        "info" => Some(log::LevelFilter::Info),
        "debug" => Some(log::LevelFilter::Debug),
        _ => None,
    };
    let target = request.has("target").then(|| request.text("target").to_owned());
    view.ask(Ask::Outside(Outside::LogLevel(Some((target.clone(), level)))));
    Ok(Next::Wait(Box::new(LogLevel { level: request.text("level").to_owned(), target })))
}

struct LogLevel {
    level: String,
    target: Option<String>,
}

impl Job for LogLevel {
    fn step(self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal> {
        if let Told::LogLevels(levels) = told(event)? {
            show_levels(view, &levels);
        }
        view.say(match (self.level.as_str(), &self.target) {
            ("", _) => return Ok(Next::Done),
            ("default", None) => "the log is as jabber.xml says".to_owned(),
            ("default", Some(target)) => format!("lines about {target} are logged as all others"),
            (level, None) => format!("the log level is {level}, until the next restart"),
            (level, Some(target)) => {
                format!("the log level of lines about {target} is {level}, until the next restart")
            }
        });
        Ok(Next::Done)
    }
}

fn show_levels(view: &mut View<'_>, levels: &LogLevels) {
    let name = |level: log::LevelFilter| level.as_str().to_lowercase();
    let set_by = if levels.is_said { "command" } else { "jabber.xml" };
    view.answer.row(json!({ "target": null, "level": name(levels.level), "set_by": set_by }));
    for (target, level) in &levels.targets {
        view.answer.row(json!({ "target": target, "level": name(*level), "set_by": "command" }));
    }
}

fn cert(view: &mut View<'_>, _: &Request) -> Result<Next, Refusal> {
    view.ask(Ask::Outside(Outside::Certificates));
    Ok(Next::Wait(Box::new(Certificates)))
}

struct Certificates;

impl Job for Certificates {
    fn step(self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal> {
        let Told::Certificates(all) = told(event)? else { return Ok(Next::Done) };
        let now = i64::try_from(view.now.unix_millis / 1000).unwrap_or(i64::MAX);
        for certificate in all {
            let left = certificate.until_unix_seconds.saturating_sub(now);
            let row: Value = json!({
                "host": certificate.host,
                "names": certificate.names,
                "issuer": certificate.issuer,
                "days_left": left.div_euclid(86_400),
                "until": certificate.until_unix_seconds,
                "file": certificate.file,
                "sha256": certificate.sha256,
                "flaw": certificate.flaw,
            });
            view.answer.row(row);
        }
        Ok(Next::Done)
    }
}
