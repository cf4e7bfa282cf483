//! The talk with the server: the request, then lines of the answer until one ends it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jabber::admin::Command;
use jabber::config::{Config, Control};
use jabber::net::uninterrupted;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::{Gid, Group};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::line::{Arguments, Line};
use super::show::{Show, plain};
use super::{Code, Failure, Fault, settings, terminal};

/// How long the server may say nothing: the slowest step of any command, a dial to another server, ends before.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same for a look whether it answers.
pub(super) const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// The remedy where the server knows more than it says.
const LOG: &str = "/var/log/jabber/error.log may say why";

/// The kind of failure that no server runs.
pub(super) const NO_SERVER: &str = "no-server";

/// Asks the server, and shows the answer.
pub(super) fn ask(line: &Line, command: &'static Command, arguments: &Arguments) -> Result<Code, Failure> {
    terminal::confirm(line, command, arguments)?;
    let secret = match command.secret {
        Some(what) => Some(terminal::secret(what)?),
        None => None,
    };
    let (path, guess) = socket_of(line)?;
    let patience = line.timeout.unwrap_or(PATIENCE);
    let connected = connect(&path, patience).map_err(|failure| match &guess {
        Some(why) => {
            let text = format!("no server can be asked at {}, which is a guess: {why}", path.display());
            Failure { text, ..failure }
        }
        None => failure,
    });
    if let (Ok(_), Some(why)) = (&connected, &guess) {
        Show::new(command, line.json).note(&format!("the server at {} is asked, as a guess: {why}", path.display()))?;
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
    match (&stream).write_all(text.as_bytes()) {
        // It has closed already, and may have said why.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
        written => written.map_err(|error| cut_off(&error, patience))?,
    }
    drop((request, secret));
    hear(&stream, patience, Show::new(command, line.json))
}

/// Lines until the last one.
fn hear(stream: &UnixStream, patience: Duration, mut show: Show) -> Result<Code, Failure> {
    let mut input = BufReader::new(stream);
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
                return Err(cut_off(&error, patience));
            }
        };
        if count == 0 || !line.ends_with('\n') {
            show.break_off()?;
            return Err(broken("it closed the connection"));
        }
        let value: Value = serde_json::from_str(&line).map_err(|_| broken("its answer is no JSON"))?;
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

/// The socket: as the command line says, or jabber.xml; or where it is by default, and why that is a guess. Who names a
/// configuration means no other server than that one.
pub(super) fn socket_of(line: &Line) -> Result<(PathBuf, Option<String>), Failure> {
    if let Some(socket) = &line.socket {
        return Ok((socket.clone(), None));
    }
    let given = settings::server(line).map_err(|failure| failure.text);
    let config = given.and_then(|given| {
        let file = given.config_file();
        let first = |why: String| why.lines().next().unwrap_or_default().to_owned();
        Config::load(&file, &given).map_err(|error| first(error.to_string()))
    });
    match config {
        Ok(config) => Ok((config.control_socket(), None)),
        Err(why) if line.config.is_some() => {
            Err(Failure::unreachable(format!("it is not known where the server is: {why}"))
                .remedy("repair the file, or name the server's socket: --socket FILE"))
        }
        // It may be unreadable for us, or wrong since the server started.
        Err(why) => Ok((PathBuf::from(Control::DEFAULT), Some(why))),
    }
}

fn connect(path: &Path, patience: Duration) -> Result<UnixStream, Failure> {
    dial(path, patience).map_err(|error| {
        let shown = path.display();
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                let seconds = patience.as_secs();
                Failure::unreachable(format!("the server takes no connection at {shown} for {seconds} s: it hangs"))
                    .remedy("/var/log/jabber/error.log may say why; end it with: /etc/init.d/jabber restart")
            }
            io::ErrorKind::NotFound => Fault::new(
                Code::Unreachable,
                NO_SERVER,
                format!("the server is not running: its control socket {shown} is not there"),
            )
            .remedy("start it: /etc/init.d/jabber start; one with another jabber.xml is named with -c FILE"),
            io::ErrorKind::ConnectionRefused => Fault::new(
                Code::Unreachable,
                NO_SERVER,
                format!("the server is not running: nobody listens at {shown}"),
            )
            .remedy("start it: /etc/init.d/jabber start; /var/log/jabber/error.log says why it ended"),
            io::ErrorKind::PermissionDenied => {
                let gid = std::fs::symlink_metadata(path).map(|found| Gid::from_raw(found.gid()));
                let group = gid.ok().and_then(|gid| Group::from_gid(gid).ok().flatten());
                let group = group.map_or_else(|| "jabber".to_owned(), |group| group.name);
                Failure::unreachable(format!("you may not use {shown}: only root and its group may")).remedy(format!(
                    "run it as root (sudo jabberctl), or add yourself to the group: adduser NAME {group}; then log in again"
                ))
            }
            _ => Failure::unreachable(format!("cannot connect to {shown}: {error}"))
                .remedy("name the server's socket: --socket FILE, or <control> in jabber.xml"),
        }
    })
}

/// unix(7): whoever comes to a server that hangs stands in a queue, and when it is full waits for a place in it.
fn dial(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let seconds = patience.as_secs().try_into().unwrap_or(i32::MAX);
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(seconds.into()))?;
    let address = UnixAddr::new(path)?;
    uninterrupted(|| Ok(socket::connect(socket.as_raw_fd(), &address)?))?;
    Ok(UnixStream::from(socket))
}

/// The number of the server's process, if one listens.
pub(super) fn peer(path: &Path, patience: Duration) -> Result<i32, Failure> {
    let stream = connect(path, patience)?;
    let found = getsockopt(&stream, sockopt::PeerCredentials);
    found.map(|found| found.pid()).map_err(|error| Failure::unreachable(error.to_string()).remedy(LOG))
}

/// The rows that a command without arguments has; `None` if the server does not answer to the end.
pub(super) fn rows(line: &Line, command: &str) -> Option<Vec<Value>> {
    let patience = line.timeout.unwrap_or(LOOK_PATIENCE);
    let stream = connect(&socket_of(line).ok()?.0, patience).ok()?;
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

fn cut_off(error: &io::Error, patience: Duration) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Failure::unreachable(format!("the server says nothing for {} s: it hangs", patience.as_secs()))
                .remedy("/var/log/jabber/error.log may say why; end it with: /etc/init.d/jabber restart")
        }
        _ => broken(&error.to_string()),
    }
}

fn broken(why: &str) -> Failure {
    Failure::unreachable(format!("the server did not finish its answer: {why}")).remedy(LOG)
}
