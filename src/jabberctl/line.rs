//! The command line: words of the command, its arguments, and the options that all commands share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use jabber::admin::{self, Argument, COMMANDS, Command, Form, Kind, OPTIONS, SharedOption};
use serde_json::{Map, Value};

use super::Failure;

/// The longest patience that can be asked for: a day.
const TIMEOUT_SECONDS_MAX: u64 = 86_400;

/// Where all options stand.
const HELP: &str = "jabberctl help lists all options";

/// A command line.
#[derive(Default)]
pub(super) struct Line {
    pub(super) wish: Wish,
    /// `--json`.
    pub(super) json: bool,
    /// `--yes`: no question before something is destroyed.
    pub(super) yes: bool,
    /// `--socket`.
    pub(super) socket: Option<PathBuf>,
    /// `-c`.
    pub(super) config: Option<PathBuf>,
    /// `--database`.
    pub(super) database: Option<PathBuf>,
    /// `--timeout`.
    pub(super) timeout: Option<Duration>,
}

/// What is wanted.
pub(super) enum Wish {
    Help(Option<String>),
    Version,
    Command { command: &'static Command, arguments: Arguments },
}

impl Default for Wish {
    fn default() -> Wish {
        Wish::Help(None)
    }
}

/// Arguments by their names.
#[derive(Debug, Default)]
pub(super) struct Arguments(pub(super) Map<String, Value>);

impl Arguments {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

/// Reads the arguments, without the program's own name.
pub(super) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Line, Failure> {
    let mut line = Line::default();
    let (mut help, mut version) = (false, false);
    let mut words: Vec<String> = Vec::new();
    // What belongs to the command: words with the place where options end.
    let mut rest: Vec<String> = Vec::new();
    let mut options_end = None;
    // The command itself may stand behind that place.
    let mut is_whole = false;
    let text = |raw: OsString| {
        raw.into_string().map_err(|raw| {
            Failure::usage(format!("the argument {} is not UTF-8", raw.to_string_lossy()))
                .remedy("type it in a UTF-8 locale")
        })
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let argument = text(argument)?;
        if options_end.is_some() || !argument.starts_with('-') || argument == "-" {
            let wants_word = !is_whole
                && rest.is_empty()
                && (words.is_empty() || (words.len() == 1 && has_second(words.first().map_or("", String::as_str))));
            if wants_word {
                words.push(argument)
            } else {
                rest.push(argument)
            }
            continue;
        }
        if argument == "--" {
            options_end = Some(rest.len());
            is_whole = !words.is_empty();
            continue;
        }
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let Some(shared) = OPTIONS.iter().find(|shared| shared.names.contains(&name)) else {
            rest.push(argument);
            continue;
        };
        let value = match (shared.value, inline) {
            (Some(_), Some(value)) => value,
            (Some(_), None) => {
                let wanted = || Failure::usage(format!("{name} needs a value")).remedy(HELP);
                text(arguments.next().ok_or_else(wanted)?)?
            }
            (None, Some(_)) => return Err(Failure::usage(format!("{name} takes no value")).remedy(HELP)),
            (None, None) => String::new(),
        };
        match shared.names.first().copied().unwrap_or_default() {
            "--json" => line.json = true,
            "--yes" => line.yes = true,
            "--config" => line.config = Some(PathBuf::from(value)),
            "--database" => line.database = Some(std::path::absolute(&value).unwrap_or_else(|_| value.into())),
            "--socket" => line.socket = Some(PathBuf::from(value)),
            "--timeout" => {
                let seconds = value.parse().ok().filter(|seconds| (1..=TIMEOUT_SECONDS_MAX).contains(seconds));
                let wrong = || {
                    Failure::usage(format!("--timeout is a number of seconds from 1 to {TIMEOUT_SECONDS_MAX}"))
                        .remedy(HELP)
                };
                line.timeout = Some(Duration::from_secs(seconds.ok_or_else(wrong)?));
            }
            "--help" => help = true,
            _ => version = true,
        }
    }
    let name = words.join(" ");
    line.wish = match () {
        () if help => Wish::Help(Some(name).filter(|name| !name.is_empty())),
        () if version => Wish::Version,
        () if name.is_empty() && rest.is_empty() => Wish::Help(None),
        () if name.is_empty() && rest.first().is_some_and(|word| word.starts_with('-')) => {
            let option = rest.first().map_or("", String::as_str);
            return Err(Failure::usage(format!("there is no option {option}")).remedy("jabberctl help lists them"));
        }
        () => {
            let command = admin::find(&name).ok_or_else(|| unknown(&name))?;
            let arguments = fill(command, &rest, options_end.unwrap_or(rest.len()))?;
            takes_database(&line, command)?;
            Wish::Command { command, arguments }
        }
    };
    Ok(line)
}

/// Those that need to know nothing but where it is. The others read jabber.xml, or ask the server, who has one of its own.
const TAKE_DATABASE: [&str; 6] = ["backup", "restore", "export", "check", "help", "version"];

fn takes_database(line: &Line, command: &Command) -> Result<(), Failure> {
    match line.database.is_none() || TAKE_DATABASE.contains(&command.name) {
        true => Ok(()),
        false => {
            Err(Failure::usage(format!("{} takes no --database: its database is that of jabber.xml", command.name))
                .remedy("leave it out, or name the configuration: -c FILE"))
        }
    }
}

/// The first word of the command, whatever is wrong with the rest.
pub(super) fn command(arguments: &[OsString]) -> Option<&OsString> {
    let mut arguments = arguments.iter();
    loop {
        let argument = arguments.next()?;
        let takes_value = |shared: &SharedOption| shared.value.is_some() && shared.names.iter().any(|n| argument == *n);
        match () {
            () if OPTIONS.iter().any(takes_value) => drop(arguments.next()),
            () if argument.as_encoded_bytes().starts_with(b"-") => {}
            () => return Some(argument),
        }
    }
}

/// Are there commands whose first word is this one, and that have a second?
fn has_second(word: &str) -> bool {
    COMMANDS.iter().any(|command| command.name.split_once(' ').is_some_and(|(first, _)| first == word))
}

fn unknown(name: &str) -> Failure {
    let first = name.split(' ').next().unwrap_or_default();
    let near: Vec<&str> =
        COMMANDS.iter().map(|command| command.name).filter(|other| other.split(' ').next() == Some(first)).collect();
    match (name.is_empty(), near.is_empty()) {
        (true, _) => Failure::usage("what shall it do?").remedy("jabberctl help lists the commands"),
        (_, true) => Failure::usage(format!("there is no command \"{name}\"")).remedy("jabberctl help lists them"),
        _ => {
            Failure::usage(format!("\"{name}\" is no whole command")).remedy(format!("there are: {}", near.join(", ")))
        }
    }
}

/// Gives each word its argument.
fn fill(command: &'static Command, rest: &[String], options_end: usize) -> Result<Arguments, Failure> {
    let usage = |text: String| Failure::usage(text).remedy(format!("usage: jabberctl {}", command.usage()));
    let mut values = Map::new();
    let mut places = command.arguments.iter().filter(|a| matches!(a.form, Form::Needed | Form::Optional)).peekable();
    let mut last: Option<&Argument> = None;
    let mut words = rest.iter().enumerate();
    while let Some((at, word)) = words.next() {
        if at < options_end && word.starts_with('-') && word != "-" {
            let (name, inline) =
                word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            let option = name.strip_prefix("--").and_then(|name| command.argument(name));
            let option = option.filter(|option| matches!(option.form, Form::Option | Form::Flag));
            let option = option.ok_or_else(|| usage(format!("{} has no option {name}", command.name)))?;
            let value = match (option.form, inline) {
                (Form::Flag, None) => Value::Bool(true),
                (Form::Flag, Some(_)) => return Err(usage(format!("{name} takes no value"))),
                (_, Some(inline)) => value(option, inline).map_err(usage)?,
                (_, None) => {
                    let (_, word) = words.next().ok_or_else(|| usage(format!("{name} needs a value")))?;
                    value(option, word).map_err(usage)?
                }
            };
            values.insert(option.name.to_owned(), value);
            continue;
        }
        match places.next() {
            Some(argument) => {
                values.insert(argument.name.to_owned(), value(argument, word).map_err(usage)?);
                last = Some(argument);
            }
            // A text need not be quoted.
            None => match last.filter(|argument| argument.kind == Kind::Text) {
                Some(argument) => {
                    let text = values.get(argument.name).and_then(Value::as_str).unwrap_or_default();
                    values.insert(argument.name.to_owned(), Value::String(format!("{text} {word}")));
                }
                None => return Err(usage(format!("\"{word}\" is one argument too many"))),
            },
        }
    }
    if let Some(missing) = places.next().filter(|argument| argument.form == Form::Needed) {
        return Err(usage(format!("{} is missing: {}", missing.placeholder(), missing.help)));
    }
    Ok(Arguments(values))
}

fn value(argument: &Argument, word: &str) -> Result<Value, String> {
    match argument.kind {
        Kind::Number => match word.parse::<u64>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => Err(format!("{} is a whole number, not \"{word}\"", argument.placeholder())),
        },
        Kind::Word(words) if !words.contains(&word) => Err(format!("\"{word}\" is none of {}", words.join(", "))),
        _ => Ok(Value::String(word.to_owned())),
    }
}
