//! A request as a line of JSON, read once into checked values; and why one is refused.

use std::fmt;
use std::net::Ipv6Addr;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::command::{Argument, Command, Form, Kind};
use crate::config::{Config, hosts};
use crate::stream::sasl::Password;
use crate::xml;
use crate::xmpp::{BareJid, Jid, jid};

/// What the client is told at the end in place of `done`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of failure it is: jabberctl's exit code comes from it.
    pub kind: RefusalKind,
    /// What is wrong.
    pub text: String,
    /// What to do about it; `None`: use the command as it is meant to be.
    remedy: Option<String>,
    /// The log has it already.
    is_logged: bool,
}

/// What is wrong. Only with a remedy does it become a [`Refusal`]: nobody is left alone with a cause.
#[must_use]
#[derive(Debug)]
pub struct Fault {
    kind: RefusalKind,
    text: String,
}

impl Fault {
    /// What to do about it.
    pub fn remedy(self, remedy: impl Into<String>) -> Refusal {
        let Fault { kind, text } = self;
        Refusal { kind, text, remedy: None, is_logged: false }.remedy(remedy)
    }
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request cannot be understood.
    Usage,
    /// What it is about is not there.
    NotFound,
    /// What it wants to make is there.
    Conflict,
    /// It can be understood, and will not be done.
    Refused,
    /// Not now.
    Busy,
    /// It was tried, and did not work.
    Failed,
}

impl RefusalKind {
    /// The word in the answer.
    pub fn word(self) -> &'static str {
        match self {
            RefusalKind::Usage => "usage",
            RefusalKind::NotFound => "not-found",
            RefusalKind::Conflict => "conflict",
            RefusalKind::Refused => "refused",
            RefusalKind::Busy => "busy",
            RefusalKind::Failed => "failed",
        }
    }
}

impl Refusal {
    /// The request cannot be understood. Without another remedy it is answered with how the command is used.
    pub fn usage(text: impl Into<String>) -> Refusal {
        Refusal { kind: RefusalKind::Usage, text: text.into(), remedy: None, is_logged: false }
    }

    /// The log has it already, and need not have it twice.
    pub(super) fn logged(self) -> Refusal {
        Refusal { is_logged: true, ..self }
    }

    /// For the log: why it was not done.
    pub(super) fn cause(&self) -> String {
        if self.is_logged { "see the alert before this line".to_owned() } else { self.to_string() }
    }

    /// What it is about is not there.
    pub fn not_found(text: impl Into<String>) -> Fault {
        Fault { kind: RefusalKind::NotFound, text: text.into() }
    }

    /// What it wants to make is there.
    pub fn conflict(text: impl Into<String>) -> Fault {
        Fault { kind: RefusalKind::Conflict, text: text.into() }
    }

    /// It will not be done.
    pub fn refused(text: impl Into<String>) -> Fault {
        Fault { kind: RefusalKind::Refused, text: text.into() }
    }

    /// Not now.
    pub fn busy(text: impl Into<String>) -> Fault {
        Fault { kind: RefusalKind::Busy, text: text.into() }
    }

    /// It did not work.
    pub fn failed(text: impl Into<String>) -> Fault {
        Fault { kind: RefusalKind::Failed, text: text.into() }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> Refusal {
        let remedy = remedy.into();
        debug_assert!(!remedy.is_empty(), "{}", self.text);
        Refusal { remedy: Some(remedy), ..self }
    }

    /// It is this command that was used wrongly, if nothing else is to be done about it.
    #[must_use]
    pub(super) fn of(self, command: &Command) -> Refusal {
        let usage = || format!("usage: jabberctl {}", command.usage());
        Refusal { remedy: Some(self.remedy.unwrap_or_else(usage)), ..self }
    }

    /// What is to be done about it.
    pub fn advice(&self) -> &str {
        self.remedy.as_deref().unwrap_or("jabberctl help lists the commands")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.advice())
    }
}

impl std::error::Error for Refusal {}

impl From<crate::store::Error> for Refusal {
    fn from(error: crate::store::Error) -> Refusal {
        Refusal::failed(error.told()).remedy(error.hint())
    }
}

/// A request whose arguments are what its command wants them to be.
#[derive(Debug)]
pub struct Request {
    values: Map<String, Value>,
    secret: Option<Zeroizing<String>>,
}

impl Request {
    /// Reads a line: the name of a command that `find` knows, and its arguments.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(
        line: &[u8],
        config: &Config,
        find: impl Fn(&str) -> Option<&'static Command>,
    ) -> Result<(&'static Command, Request), Refusal> {
        let text = std::str::from_utf8(line).map_err(|_| Refusal::usage("the request is not UTF-8"))?;
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Refusal::usage(format!("the request is no JSON object on one line: {error}")))?;
        let Value::Object(mut object) = value else {
            return Err(Refusal::usage("the request is no JSON object"));
        };
        // Out of the tree first: what is refused below must not keep it.
        let secret = match object.remove("secret") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(Zeroizing::new(text)),
            Some(_) => return Err(Refusal::usage("\"secret\" is no string")),
        };
        let name = match object.remove("command") {
            Some(Value::String(name)) => name,
            _ => return Err(Refusal::usage("\"command\" is missing, or no string")),
        };
        let command = find(&name).ok_or_else(|| {
            Refusal::usage(format!("there is no command \"{}\"", shown(&name)))
                .remedy("jabberctl and jabberd may be of different releases: restart jabberd")
        })?;
        let request = Request::of(command, object, secret, config).map_err(|refusal| refusal.of(command))?;
        Ok((command, request))
    }

    /// The rest of the line: what this command is given.
    fn of(
        command: &Command,
        mut object: Map<String, Value>,
        secret: Option<Zeroizing<String>>,
        config: &Config,
    ) -> Result<Request, Refusal> {
        let mut values = match object.remove("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(values)) => values,
            Some(_) => return Err(Refusal::usage("\"arguments\" is no object")),
        };
        if let Some(other) = object.keys().next() {
            return Err(Refusal::usage(format!("a request has no \"{}\"", shown(other))));
        }
        if let Some(name) = values.keys().find(|name| command.argument(name).is_none()) {
            return Err(Refusal::usage(format!("{} takes no argument \"{}\"", command.name, shown(name))));
        }
        values.retain(|_, value| !value.is_null());
        for argument in command.arguments {
            check(argument, values.get(argument.name), config)?;
        }
        if command.secret.is_some() != secret.is_some() {
            let what = if secret.is_some() { "takes no" } else { "needs a" };
            return Err(Refusal::usage(format!("{} {what} \"secret\"", command.name)));
        }
        Ok(Request { values, secret })
    }

    /// An argument's text; empty if it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Is the argument there?
    pub fn has(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| *value != Value::Bool(false))
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name).and_then(Value::as_u64)
    }

    /// The account that a [`Kind::Account`] names.
    ///
    /// # Errors
    /// It was checked: none, when it must be there.
    pub fn account(&self, name: &str) -> Result<BareJid, Refusal> {
        account(self.text(name))
    }

    /// The JID that a [`Kind::Jid`] names.
    ///
    /// # Errors
    /// It was checked: none, when it must be there.
    pub fn jid(&self, name: &str) -> Result<Jid, Refusal> {
        address(self.text(name))
    }

    /// A host or domain, prepared.
    ///
    /// # Errors
    /// It was checked: none, when it must be there.
    pub fn domain(&self, name: &str) -> Result<String, Refusal> {
        domain(self.text(name))
    }

    /// The password that came as the secret.
    ///
    /// # Errors
    /// It cannot be used as one.
    pub fn password(&self) -> Result<Password, Refusal> {
        let text = self.secret.as_ref().map(|text| text.as_str()).unwrap_or_default();
        Password::new(text).map_err(|error| {
            Refusal::refused(format!("the password cannot be used: {error}")).remedy("choose another password")
        })
    }

    /// The arguments as the log shows them: without texts.
    pub(super) fn for_log(&self, command: &Command) -> String {
        let mut line = command.name.to_owned();
        for argument in command.arguments.iter().filter(|argument| self.has(argument.name)) {
            let value = match (argument.kind, self.values.get(argument.name)) {
                (Kind::Text, _) => "...".to_owned(),
                (_, Some(Value::String(text))) => text.clone(),
                (_, value) => value.map(Value::to_string).unwrap_or_default(),
            };
            match argument.form {
                Form::Flag => line.push_str(&format!(" --{}", argument.name)),
                Form::Option => line.push_str(&format!(" --{} {value}", argument.name)),
                Form::Needed | Form::Optional => line.push_str(&format!(" {value}")),
            }
        }
        line
    }
}

/// Is the value what the argument wants?
fn check(argument: &Argument, value: Option<&Value>, config: &Config) -> Result<(), Refusal> {
    let name = argument.name;
    let Some(value) = value else {
        return match argument.form {
            Form::Needed => Err(Refusal::usage(format!("{} is missing", argument.placeholder()))),
            _ => Ok(()),
        };
    };
    let wrong = |what: &str| Refusal::usage(format!("{name} is not {what}"));
    if argument.form == Form::Flag {
        return if value.is_boolean() { Ok(()) } else { Err(wrong("true or false")) };
    }
    if argument.kind == Kind::Number {
        return if value.is_u64() { Ok(()) } else { Err(wrong("a whole number")) };
    }
    let text = value.as_str().ok_or_else(|| wrong("a string"))?;
    if let Some(c) = text.chars().find(|c| !xml::is_char(*c)) {
        let code = u32::from(c);
        let text = format!("{} has a character that XML cannot carry: U+{code:04X}", argument.placeholder());
        return Err(Refusal::usage(text).remedy("leave out colours and other control characters"));
    }
    match argument.kind {
        Kind::Account => {
            let account = account(text)?;
            served(account.domain().as_str(), config)
        }
        Kind::Jid => address(text).map(drop),
        Kind::Host => served(&domain(text)?, config),
        Kind::Domain => domain(text).map(drop),
        Kind::Word(words) if !words.contains(&text) => {
            Err(Refusal::usage(format!("\"{}\" is none of {}", shown(text), words.join(", "))))
        }
        _ if text.is_empty() => Err(Refusal::usage(format!("{} is empty", argument.placeholder()))),
        _ => Ok(()),
    }
}

/// Is this host ours?
pub(super) fn served(host: &str, config: &Config) -> Result<(), Refusal> {
    if config.host(host).is_some() {
        return Ok(());
    }
    let hosts: Vec<&str> = config.hosts.iter().map(|host| host.name.as_str()).collect();
    Err(Refusal::not_found(format!("{host} is not served here")).remedy(format!("<host> names {}", hosts.join(", "))))
}

/// An address as the admin typed it: an address of IPv6 may lack its brackets, and A-labels are U-labels.
fn address(text: &str) -> Result<Jid, Refusal> {
    let domain = text.rsplit('@').next().unwrap_or_default();
    let bracketed = domain
        .parse::<Ipv6Addr>()
        .is_ok()
        .then(|| format!("{}[{domain}]", text.strip_suffix(domain).unwrap_or_default()));
    jid::stable(bracketed.as_deref().unwrap_or(text)).map(jid::with_one_name).ok_or_else(|| {
        Refusal::usage(format!("\"{}\" is no address", shown(text))).remedy("an address looks like romeo@example.org")
    })
}

/// Reads an account's name.
pub(crate) fn account(text: &str) -> Result<BareJid, Refusal> {
    let jid = address(text)?;
    if jid.node().is_none() || !jid.is_bare() {
        return Err(Refusal::usage(format!("an account looks like name@host, not {}", shown(text))));
    }
    Ok(jid.into_bare())
}

fn domain(text: &str) -> Result<String, Refusal> {
    match hosts::host_name(text.trim_end_matches('.')) {
        Ok(domain) => Ok(domain),
        Err(_) => Err(Refusal::usage(format!("\"{}\" is no domain", shown(text)))),
    }
}

/// What came from outside, short enough and without control characters.
fn shown(text: &str) -> String {
    const CHARACTERS: usize = 80;
    text.chars().take(CHARACTERS).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_written_another_way_was_not_served() {
        let accounts = [
            ("a@xn--bcher-kva.example", "a@bücher.example"),
            ("a@2001:DB8:0::1", "a@[2001:db8::1]"),
            ("a@[2001:db8:0::1]", "a@[2001:db8::1]"),
        ];
        for (typed, meant) in accounts {
            assert_eq!(account(typed).unwrap().as_str(), meant);
            let [typed, meant] = [typed, meant].map(|text| text.trim_start_matches("a@"));
            assert_eq!(domain(typed).unwrap(), meant);
        }
    }
}
