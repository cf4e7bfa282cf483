//! The talk with the server: the request, then lines of the answer until one ends it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use jabber::admin::Command;
use jabber::daemon::socket::unacknowledged;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::line::{Arguments, Line};
use super::reach::{LOG, NO_SERVER, Way};
use super::show::{Show, plain};
use super::{Code, Failure, Fault, terminal};

/// How long the server may say nothing: the slowest step of any command, a dial to another server, ends before.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same for a look whether it answers.
pub(super) const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// The kind of failure that what was asked may be done all the same.
const UNANSWERED: &str = "unanswered";

/// Asks the server, and shows the answer.
pub(super) fn ask(line: &Line, command: &'static Command, arguments: &Arguments) -> Result<Code, Failure> {
    terminal::confirm(line, command, arguments)?;
    let secret = match command.secret {
        Some(what) => Some(terminal::secret(what)?),
        None => None,
    };
    let way = Way::of(line)?;
    let patience = line.timeout.unwrap_or(PATIENCE);
    let mut connected = way.connect(line, patience);
    if command.name == "reload" {
        connected = connected.or_else(|unreached| way.revive(line, patience, unreached));
    }
    let connected = connected.map_err(|unreached| match &way.guess {
        Some(why) => {
            let text = format!("no server can be asked at {}, which is a guess: {why}", way.path.display());
            Failure { text, ..unreached.failure }
        }
        None => unreached.failure,
    });
    if let (Ok(_), Some(why)) = (&connected, &way.guess) {
        let text = format!("the server at {} is asked, as a guess: {why}", way.path.display());
        Show::new(command, line.json).note(&text)?;
    }
    let stream = match (connected, &secret) {
        (Err(failure), Some(secret)) if command.name == "user add" && failure.kind == NO_SERVER => {
            return super::offline::add(line, arguments, secret);
        }
        (connected, _) => connected?,
    };
    let mut request = json!({ "command": command.name, "arguments": arguments.0 });
    if let (Some(secret), Some(object)) = (&secret, request.as_object_mut()) {
        object.insert("secret".to_owned(), Value::String(secret.to_string()));
    }
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let text = Zeroizing::new(format!("{request}\n"));
    let mut asked = Asked { command, stream, patience, is_sent: true };
    if let Err(error) = (&asked.stream).write_all(text.as_bytes()) {
        asked.is_sent = false;
        // It has closed already, and may have said why.
        if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            return Err(asked.unfinished(&error));
        }
    }
    drop((request, secret));
    asked.hear(Show::new(command, line.json))
}

/// A request on its way.
struct Asked {
    command: &'static Command,
    stream: UnixStream,
    patience: Duration,
    /// All of it was written.
    is_sent: bool,
}

impl Asked {
    /// Lines until the last one.
    fn hear(&self, mut show: Show) -> Result<Code, Failure> {
        let mut input = BufReader::new(&self.stream);
        let mut line = String::new();
        loop {
            line.clear();
            if input.buffer().is_empty() {
                // A closed standard error leaves nobody to tell.
                let _ = show.wait();
            }
            let count = match input.read_line(&mut line) {
                Ok(count) => count,
                Err(error) => {
                    show.break_off()?;
                    return Err(self.unfinished(&error));
                }
            };
            if count == 0 || !line.ends_with('\n') {
                show.break_off()?;
                return Err(self.unfinished(&io::Error::other("it closed the connection")));
            }
            let value: Value =
                serde_json::from_str(&line).map_err(|_| self.unfinished(&io::Error::other("its answer is no JSON")))?;
            let Some((key, value)) = value.as_object().and_then(|object| object.iter().next()) else { continue };
            match key.as_str() {
                "row" => show.row(value)?,
                "note" => show.note(value.as_str().unwrap_or_default())?,
                "done" => {
                    show.done(value.as_str().unwrap_or_default())?;
                    return Ok(Code::Done);
                }
                "error" => {
                    show.refused()?;
                    return Err(refused(value));
                }
                // A newer server may say more than we know.
                _ => {}
            }
        }
    }

    /// Gives up, and says what becomes of the request. One that the server has not read is not done: it finds nobody there
    /// any more, and looks for that before it begins (`net/connection.rs`). Closed first and asked then, the kernel tells no
    /// less than the truth.
    fn unfinished(&self, error: &io::Error) -> Failure {
        // Who has gone already is not told.
        let _ = self.stream.shutdown(Shutdown::Both);
        let is_read = match error.kind() {
            // unix(7): it closed with some of the request unread.
            io::ErrorKind::ConnectionReset => false,
            _ if !self.is_sent => false,
            _ => unacknowledged(self.stream.as_fd()).is_none_or(|bytes| bytes == 0),
        };
        let seconds = self.patience.as_secs();
        let (text, remedy) = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => (
                format!("the server says nothing for {seconds} s: it hangs"),
                "/var/log/jabber/error.log may say why; end it with: /etc/init.d/jabber restart",
            ),
            _ => (format!("the server did not finish its answer: {error}"), LOG),
        };
        let name = self.command.name;
        match (self.command.changes, is_read) {
            (false, _) => Failure::unreachable(text).remedy(remedy),
            (true, false) => Failure::unreachable(format!("{text}; it has not read the request, and will not obey it"))
                .remedy(remedy),
            (true, true) => Fault::new(
                Code::Unreachable,
                UNANSWERED,
                format!("{text}; it has read the request, and may obey it still"),
            )
            .remedy(format!("see what is done before you say {name} again; {remedy}")),
        }
    }
}

/// The server's refusal, as our failure.
fn refused(error: &Value) -> Failure {
    let text = |key: &str| plain(error.get(key).and_then(Value::as_str).unwrap_or_default());
    let kinds = ["usage", "not-found", "conflict", "refused", "busy", "failed", "unreachable"];
    let kind = kinds.into_iter().find(|kind| text("kind") == *kind).unwrap_or("failed");
    let code = match kind {
        "usage" => Code::Usage,
        "unreachable" => Code::Unreachable,
        _ => Code::Failed,
    };
    let remedy = Some(text("remedy")).filter(|remedy| !remedy.is_empty());
    Fault::new(code, kind, text("text")).remedy(remedy.unwrap_or_else(|| LOG.to_owned()))
}

/// The rows that a command without arguments has; `None` if the server does not answer to the end.
pub(super) fn rows(line: &Line, command: &str) -> Option<Vec<Value>> {
    let patience = line.timeout.unwrap_or(LOOK_PATIENCE);
    let stream = Way::of(line).ok()?.connect(line, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.set_write_timeout(Some(patience)).ok()?;
    (&stream).write_all(format!("{}\n", json!({ "command": command })).as_bytes()).ok()?;
    let mut rows = Vec::new();
    for answer in BufReader::new(&stream).lines() {
        let mut answer: Value = serde_json::from_str(&answer.ok()?).ok()?;
        if answer.get("done").is_some() {
            return Some(rows);
        }
        if answer.get("error").is_some() {
            return None;
        }
        rows.extend(answer.get_mut("row").map(Value::take));
    }
    None
}

/// What the server says of itself, by the columns of `status`.
pub(super) fn status(line: &Line) -> Option<Value> {
    rows(line, "status")?.into_iter().next()
}
