//! A terminal of a test's own (pty(7)), and a program at it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jabber::net::uninterrupted;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::Pid;

use crate::site::Ctl;

/// Only a broken program makes a test wait this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A shell that has the terminal, as people's shells do: it lends it to the program, and outlives whatever ends that.
const SHELL: &str = r#"
trap : INT HUP TERM ALRM
sh -c 'echo "<begins $$>"; exec "$@"' sh "$@"
echo "<ended $?>"
read end
"#;

/// A terminal, and who has it.
pub struct Terminal {
    child: Child,
    master: File,
    seen: Vec<u8>,
    all: Vec<u8>,
    /// The program behind the shell.
    program: Option<Pid>,
}

impl Terminal {
    /// A program at a terminal of this width, which is not the one that it is controlled by.
    pub fn start(mut command: Command, columns: u16) -> Terminal {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        // A program that had our end of its own terminal would never see that we are gone, and stay.
        for end in [&pair.master, &pair.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let end = File::from(pair.slave);
        let twin = || Stdio::from(end.try_clone().unwrap());
        let child = command.stdin(twin()).stdout(twin()).stderr(twin()).spawn().unwrap();
        Terminal { child, master: File::from(pair.master), seen: Vec::new(), all: Vec::new(), program: None }
    }

    /// jabberctl, started by a shell of this terminal. What comes before its arguments starts it.
    pub fn lent(ctl: Ctl, columns: u16, by: &[&str]) -> Terminal {
        Terminal::behind(ctl, columns, by, &["--ctty"])
    }

    /// The same at a terminal that controls nobody.
    pub fn strange(ctl: Ctl, columns: u16) -> Terminal {
        Terminal::behind(ctl, columns, &[], &[])
    }

    fn behind(ctl: Ctl, columns: u16, by: &[&str], setsid: &[&str]) -> Terminal {
        let run = ctl.command();
        let mut command = Command::new("setsid");
        // Whoever runs the tests may have some signals ignored.
        command
            .args(setsid)
            .args(["env", "--default-signal", "sh", "-c", SHELL, "sh"])
            .args(by)
            .arg(run.get_program())
            .args(run.get_args());
        command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env_remove("COLUMNS");
        let changed = run.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.envs(changed);
        let mut terminal = Terminal::start(command, columns);
        terminal.until("<begins ");
        let number = terminal.until(">");
        terminal.program = Some(Pid::from_raw(number.trim_end_matches('>').parse().unwrap()));
        terminal.until("\n");
        terminal.all = terminal.seen.clone();
        terminal
    }

    /// Reads on until it sees this, and takes all up to its end.
    pub fn until(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut places = self.seen.windows(wanted.len());
            if let Some(at) = places.position(|window| window == wanted.as_bytes()) {
                let rest = self.seen.split_off(at + wanted.len());
                let taken = std::mem::replace(&mut self.seen, rest);
                return String::from_utf8_lossy(&taken).into_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let seen = || String::from_utf8_lossy(&self.seen).into_owned();
            assert!(!left.is_zero(), "no {wanted} in {PATIENCE:?}: {}", seen());
            let mut ends = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap();
            if uninterrupted(|| Ok(poll(&mut ends, timeout)?)).unwrap() == 0 {
                continue;
            }
            let mut buffer = [0; 4096];
            // Who has gone leaves an error.
            let count = uninterrupted(|| self.master.read(&mut buffer)).unwrap_or_default();
            assert!(count > 0, "it ended before {wanted}: {}", seen());
            self.seen.extend_from_slice(&buffer[..count]);
            self.all.extend_from_slice(&buffer[..count]);
        }
    }

    pub fn types(&mut self, keys: &str) {
        self.types_bytes(keys.as_bytes());
    }

    pub fn types_bytes(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    /// Does the terminal show what is typed?
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.master).unwrap().local_flags.contains(LocalFlags::ECHO)
    }

    /// As a shell does that gets the terminal back.
    pub fn set_echo(&self) {
        let mut settings = tcgetattr(&self.master).unwrap();
        settings.local_flags.insert(LocalFlags::ECHO);
        tcsetattr(&self.master, SetArg::TCSANOW, &settings).unwrap();
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.program.unwrap(), signal).unwrap();
    }

    /// Waits for the program's end: its code as the shell has it, and all that was on the terminal. The terminal is given
    /// back with echo.
    pub fn end(mut self) -> (i32, String) {
        self.until("<ended ");
        let code = self.until(">").trim_end_matches('>').parse().unwrap();
        assert!(self.echoes());
        let all = String::from_utf8_lossy(&self.all);
        (code, all.split_once("<ended ").unwrap().0.to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
