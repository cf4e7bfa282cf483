//! The way to the server: where its socket is, and why nobody answers there.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jabber::config::{Config, Control};
use jabber::net::uninterrupted;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::{Gid, Group, Pid};

use super::line::Line;
use super::{Code, Failure, Fault, offline, settings};

/// The kind of failure that no server runs.
pub(super) const NO_SERVER: &str = "no-server";

/// The remedy where the server knows more than it says.
pub(super) const LOG: &str = "/var/log/jabber/error.log may say why";

/// How often it is looked whether a server has made its socket again, and how long it sleeps between.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Where the server is to be asked.
pub(super) struct Way {
    pub(super) path: PathBuf,
    /// Why the path is a guess.
    pub(super) guess: Option<String>,
    /// The configuration, if the path is what it says.
    config: Option<Box<Config>>,
}

/// A server that could not be reached.
pub(super) struct Unreached {
    pub(super) failure: Failure,
    /// The process that runs without its socket, and can make it again.
    pub(super) process: Option<i32>,
}

impl Unreached {
    /// Nothing that a signal mends.
    fn of(failure: Failure) -> Unreached {
        Unreached { failure, process: None }
    }
}

impl Way {
    /// As the command line says, or jabber.xml; or where it is by default, and why that is a guess. Who names a
    /// configuration means no other server than that one.
    pub(super) fn of(line: &Line) -> Result<Way, Failure> {
        if let Some(socket) = &line.socket {
            return Ok(Way { path: socket.clone(), guess: None, config: None });
        }
        match configuration(line) {
            Ok(config) => Ok(Way { path: config.control_socket(), guess: None, config: Some(config) }),
            Err(why) if line.config.is_some() => {
                Err(Failure::unreachable(format!("it is not known where the server is: {why}"))
                    .remedy("repair the file, or name the server's socket: --socket FILE"))
            }
            // It may be unreadable for us, or wrong since the server started.
            Err(why) => Ok(Way { path: PathBuf::from(Control::DEFAULT), guess: Some(why), config: None }),
        }
    }

    /// A connection to the server that is meant.
    pub(super) fn connect(&self, line: &Line, patience: Duration) -> Result<UnixStream, Unreached> {
        let stream = dial(&self.path, patience).map_err(|error| self.unreached(line, patience, &error))?;
        let own = self.config.as_deref().and_then(offline::running);
        let peer = getsockopt(&stream, sockopt::PeerCredentials).map_or(0, |found| found.pid());
        match own {
            // A process that we cannot see has the number 0.
            Some(own) if peer != 0 && peer != own => {
                let shown = self.path.display();
                let text =
                    format!("{shown} is served by process {peer}, and the server that is meant is process {own}");
                Err(Unreached::of(Failure::unreachable(text).remedy(format!(
                    "end process {peer}, remove {shown}, and have it made again: kill -HUP {own}; or name the one you \
                     mean: --socket FILE"
                ))))
            }
            _ => Ok(stream),
        }
    }

    /// The process of the server that is meant, by its pid file.
    fn process(&self, line: &Line) -> Option<i32> {
        if let Some(config) = &self.config {
            return offline::running(config);
        }
        let config = configuration(line).ok().filter(|config| config.control_socket() == self.path);
        config.as_deref().and_then(offline::running)
    }

    fn unreached(&self, line: &Line, patience: Duration, error: &io::Error) -> Unreached {
        let shown = self.path.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => self.nobody(line, error.kind()),
            io::ErrorKind::WouldBlock => {
                let seconds = patience.as_secs();
                let text = format!("the server takes no connection at {shown} for {seconds} s: it hangs");
                Unreached::of(
                    Failure::unreachable(text)
                        .remedy("/var/log/jabber/error.log may say why; end it with: /etc/init.d/jabber restart"),
                )
            }
            io::ErrorKind::PermissionDenied => {
                let gid = fs::symlink_metadata(&self.path).map(|found| Gid::from_raw(found.gid()));
                let group = gid.ok().and_then(|gid| Group::from_gid(gid).ok().flatten());
                let group = group.map_or_else(|| "jabber".to_owned(), |group| group.name);
                let text = format!("you may not use {shown}: only root and its group may");
                Unreached::of(Failure::unreachable(text).remedy(format!(
                    "run it as root (sudo jabberctl), or add yourself to the group: adduser NAME {group}; then log in again"
                )))
            }
            _ => Unreached::of(
                Failure::unreachable(format!("cannot connect to {shown}: {error}"))
                    .remedy("name the server's socket: --socket FILE, or <control> in jabber.xml"),
            ),
        }
    }

    /// Nobody listens. Whoever removed the socket of a server that runs has not ended the server.
    fn nobody(&self, line: &Line, kind: io::ErrorKind) -> Unreached {
        let shown = self.path.display();
        let instead = match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Some("a directory"),
            Ok(found) if !found.file_type().is_socket() => Some("another file"),
            _ => None,
        };
        let place = instead.map_or_else(String::new, |what| format!(", where {what} is"));
        let first = if instead.is_some() { format!("remove {shown}, then ") } else { String::new() };
        if let Some(process) = self.process(line) {
            let failure = Failure::unreachable(format!("jabberd runs (process {process}) without its socket {shown}{place}"))
                .remedy(format!(
                    "{first}have it made again: /etc/init.d/jabber reload, or kill -HUP {process}; its log says if that fails"
                ));
            return Unreached { failure, process: Some(process).filter(|_| instead.is_none()) };
        }
        let (text, remedy) = match (instead, kind) {
            (Some(what), _) => (
                format!("the server is not running, or without its socket: {shown} is {what}"),
                "remove it, then: /etc/init.d/jabber restart".to_owned(),
            ),
            (None, io::ErrorKind::NotFound) => (
                format!("the server is not running: its control socket {shown} is not there"),
                "start it: /etc/init.d/jabber start; one with another jabber.xml is named with -c FILE".to_owned(),
            ),
            (None, _) => (
                format!("the server is not running: nobody listens at {shown}"),
                "start it: /etc/init.d/jabber start; /var/log/jabber/error.log says why it ended".to_owned(),
            ),
        };
        Unreached::of(Fault::new(Code::Unreachable, NO_SERVER, text).remedy(remedy))
    }

    /// Has a server that lost its socket make it again, by a signal: whoever wants it to read its configuration again wants
    /// nothing else. Whatever else went wrong stays as it is.
    pub(super) fn revive(
        &self,
        line: &Line,
        patience: Duration,
        unreached: Unreached,
    ) -> Result<UnixStream, Unreached> {
        let Some(process) = unreached.process else { return Err(unreached) };
        if kill(Pid::from_raw(process), Signal::SIGHUP).is_err() {
            return Err(unreached);
        }
        for _ in 0..LOOKS {
            thread::sleep(BETWEEN_LOOKS);
            match self.connect(line, patience) {
                Err(Unreached { process: Some(_), .. }) => {}
                done => return done,
            }
        }
        Err(unreached)
    }
}

fn configuration(line: &Line) -> Result<Box<Config>, String> {
    let given = settings::server(line).map_err(|failure| failure.text)?;
    let first = |why: String| why.lines().next().unwrap_or_default().to_owned();
    Config::load(&given.config_file(), &given).map(Box::new).map_err(|error| first(error.to_string()))
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

/// The number of the server's process, if one listens at the socket that is meant.
pub(super) fn peer(line: &Line, patience: Duration) -> Result<i32, Unreached> {
    let stream = Way::of(line).map_err(Unreached::of)?.connect(line, patience)?;
    let found = getsockopt(&stream, sockopt::PeerCredentials);
    found.map(|found| found.pid()).map_err(|error| Unreached::of(Failure::unreachable(error.to_string()).remedy(LOG)))
}
