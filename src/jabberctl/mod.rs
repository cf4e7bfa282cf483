//! The sysadmin's tool: reads a command line by the table of commands, asks the server, shows what it answers.
//!
//! [`line`] reads the command line, [`reach`] finds the server, [`talk`] asks it, [`show`] prints rows as tables or JSON, [`terminal`] asks
//! for passwords and whether it is meant, [`qr`] draws links, [`help`] is the help, [`check`] looks at all that a server
//! needs, [`data`] does what is long, on the database that [`place`] finds. [`interrupt`] hears ^C.
//!
//! Invariants: a password is never an argument; what fails says why and what to do; a closed standard output ends it
//! quietly.

mod check;
mod data;
mod displaced;
mod help;
mod interrupt;
mod line;
mod offline;
mod place;
mod qr;
mod reach;
mod settings;
mod show;
mod talk;
mod terminal;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use jabber::admin::{Command, Does, RefusalKind};
use line::{Line, Wish};

/// How it ended, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
}

/// Why it failed, and what to do about it.
#[derive(Debug)]
struct Failure {
    code: Code,
    kind: &'static str,
    text: String,
    remedy: String,
}

/// What is wrong. Only with a remedy does it become a [`Failure`]: nobody is left alone with a cause.
#[must_use]
struct Fault {
    code: Code,
    kind: &'static str,
    text: String,
}

impl Fault {
    fn new(code: Code, kind: &'static str, text: impl Into<String>) -> Fault {
        Fault { code, kind, text: text.into() }
    }

    fn remedy(self, remedy: impl Into<String>) -> Failure {
        let Fault { code, kind, text } = self;
        let remedy = remedy.into();
        debug_assert!(!remedy.is_empty(), "{text}");
        Failure { code, kind, text, remedy }
    }
}

impl Failure {
    fn usage(text: impl Into<String>) -> Fault {
        Fault::new(Code::Usage, RefusalKind::Usage.word(), text)
    }

    fn failed(text: impl Into<String>) -> Fault {
        Fault::new(Code::Failed, RefusalKind::Failed.word(), text)
    }

    fn unreachable(text: impl Into<String>) -> Fault {
        Fault::new(Code::Unreachable, "unreachable", text)
    }

    /// Who closed our output has seen enough: it is told nothing, and nothing is wrong.
    fn enough() -> Failure {
        Failure { code: Code::Done, kind: "", text: String::new(), remedy: String::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jabberctl: {}\n  {}", self.text, self.remedy)
    }
}

/// What a broken pipe becomes: who closed it has seen enough.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::enough(),
            _ => Failure::failed(format!("cannot write the answer: {error}"))
                .remedy("see what standard output is: a file on a full disk, say"),
        }
    }
}

/// Does what a command line wants.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    // A script that asked for JSON gets it for its own mistakes, too.
    let json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    // Monitoring takes 1 and 2 for what was found.
    let is_check = line::command(&arguments).is_some_and(|word| word == "check");
    let line = match line::parse(arguments.into_iter()) {
        Ok(line) => line,
        Err(failure) if is_check => return end(&Failure { code: Code::Unreachable, ..failure }, json),
        Err(failure) => return end(&failure, json),
    };
    let done = match &line.wish {
        Wish::Help(topic) => help::print(topic.as_deref(), line.json),
        Wish::Version => version(line.json),
        Wish::Command { command, arguments } => obey(&line, command, arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code as u8),
        Err(failure) => end(&failure, line.json),
    }
}

fn obey(line: &Line, command: &'static Command, arguments: &line::Arguments) -> Result<Code, Failure> {
    match command.does {
        Does::Server(_) => talk::ask(line, command, arguments),
        Does::Client => match command.name {
            "check" => check::run(line, arguments),
            "help" => match arguments.text("as") {
                Some(format) => help::print_as(format, line.json),
                None => help::print(arguments.text("command"), line.json),
            },
            "version" => version(line.json),
            _ => data::obey(line, command, arguments),
        },
    }
}

fn version(json: bool) -> Result<Code, Failure> {
    match json {
        true => say(concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}\n")),
        false => say(concat!("jabberctl ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn say(text: &str) -> Result<Code, Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Code::Done)
}

fn end(failure: &Failure, json: bool) -> ExitCode {
    if failure.code != Code::Done {
        let text = if json {
            let error = serde_json::json!({ "kind": failure.kind, "text": failure.text, "remedy": failure.remedy });
            show::json(&serde_json::json!({ "error": error }))
        } else {
            show::plain(&failure.to_string())
        };
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(io::stderr(), "{text}");
    }
    ExitCode::from(failure.code as u8)
}

/// A new file for us only, in the place of one that was left behind: neither a link nor its mode is taken over.
fn made_new(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new().write(true).create_new(true).mode(0o600).open(path),
    }
}

/// May it write for eyes: progress, and questions?
fn has_reader() -> bool {
    io::stderr().is_terminal()
}
