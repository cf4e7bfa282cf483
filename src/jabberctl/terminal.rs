//! What people are asked: passwords, which nobody sees, and whether they mean it. Who is no terminal gives a password as
//! the first line of standard input, and says `--yes`.
//!
//! Invariant: the terminal is as it was before, whichever way the question ends but by SIGKILL.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::iter;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Command as Process, Stdio};

use jabber::admin::Command;
use jabber::net::uninterrupted;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::interrupt::{Held, News};
use super::line::{Arguments, Line};
use super::{Failure, has_reader, show};

/// The longest line that is read: a terminal's own, which drops what is over it.
const LINE_BYTES_MAX: usize = 4_096;

/// termios(3): the key that does nothing.
const NO_KEY: u8 = 0;

/// Asks for a secret, twice on a terminal.
pub(super) fn secret(what: &str) -> Result<Zeroizing<String>, Failure> {
    let unread = |error: io::Error| {
        Failure::failed(format!("cannot read the {what}: {error}"))
            .remedy("give it as the first line of standard input")
    };
    if !io::stdin().is_terminal() {
        let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
        io::stdin().lock().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).map_err(unread)?;
        return checked(&line, what);
    }
    let mut asking = Asking::new().map_err(unread)?;
    let first = asking.ask(&format!("New {what}: ")).map_err(unread)?;
    let first = checked(&first, what)?;
    let again = asking.ask(&format!("The same {what} again: ")).map_err(unread)?;
    if again.strip_suffix(b"\n").unwrap_or(&again) != first.as_bytes() {
        return Err(Failure::failed(format!("the two are not the same {what}: nothing was done")).remedy("try again"));
    }
    Ok(first)
}

/// A line as a secret, without its end.
fn checked(line: &[u8], what: &str) -> Result<Zeroizing<String>, Failure> {
    // One that was cut off would be another one, and nobody would know which.
    if line.strip_suffix(b"\n").unwrap_or(line).len() >= LINE_BYTES_MAX - 1 {
        let text = format!("the {what} is longer than {} bytes", LINE_BYTES_MAX - 2);
        return Err(Failure::usage(text).remedy("choose a shorter one"));
    }
    let text = std::str::from_utf8(line)
        .map_err(|_| Failure::usage(format!("the {what} is not UTF-8")).remedy("type it in a UTF-8 locale"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Failure::usage(format!("the {what} is empty"))
            .remedy("type it at the prompt, or give it as the first line of standard input"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// A terminal that does not show what is typed, and does again when this goes.
struct Asking {
    terminal: File,
    before: Termios,
    // Behind the terminal, which is set back before a signal is obeyed.
    signals: Held,
}

impl Asking {
    fn new() -> io::Result<Asking> {
        let signals = Held::new()?;
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
        // A terminal need not be this process's own.
        let terminal =
            terminal.or_else(|_| Ok::<_, io::Error>(File::from(io::stdin().as_fd().try_clone_to_owned()?)))?;
        let before = tcgetattr(&terminal)?;
        let asking = Asking { terminal, before, signals };
        asking.hush()?;
        Ok(asking)
    }

    /// Lines are edited and ^C is heard as usual, but nothing is shown, and ^Z does not leave the shell with such a
    /// terminal. What was typed before the question is no answer to it.
    fn hush(&self) -> io::Result<()> {
        let mut quiet = self.before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        quiet.local_flags.insert(LocalFlags::ICANON | LocalFlags::ISIG);
        quiet.input_flags.insert(InputFlags::ICRNL | InputFlags::IUTF8);
        if let Some(key) = quiet.control_chars.get_mut(SpecialCharacterIndices::VSUSP as usize) {
            *key = NO_KEY;
        }
        Ok(tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &quiet)?)
    }

    /// A line, with its end unless ^D was typed instead.
    fn ask(&mut self, prompt: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        self.terminal.write_all(prompt.as_bytes())?;
        // Room for all: what moves leaves a copy behind.
        let mut typed = Zeroizing::new(Vec::with_capacity(2 * LINE_BYTES_MAX));
        let mut part = Zeroizing::new([0; LINE_BYTES_MAX]);
        while typed.len() < LINE_BYTES_MAX && !typed.ends_with(b"\n") {
            match self.signals.next(&self.terminal)? {
                News::Input => {
                    let count = uninterrupted(|| self.terminal.read(&mut *part))?;
                    if count == 0 {
                        break;
                    }
                    typed.extend_from_slice(part.get(..count).unwrap_or_default());
                }
                // Whoever had the terminal in between has set it as they like it.
                News::Resumed => {
                    self.hush()?;
                    typed.clear();
                    write!(self.terminal, "\r\n{prompt}")?;
                }
                News::End => {
                    self.terminal.write_all(b"\n")?;
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
        self.terminal.write_all(b"\n")?;
        Ok(typed)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

/// Asks whether it is meant, if the command destroys something. Everything but a clear yes is a no.
pub(super) fn confirm(line: &Line, command: &Command, arguments: &Arguments) -> Result<(), Failure> {
    let Some(cost) = command.destroys.filter(|_| !line.yes) else { return Ok(()) };
    let given = command.arguments.iter().filter_map(|argument| arguments.text(argument.name));
    let what = show::plain(&iter::once(command.name).chain(given).collect::<Vec<_>>().join(" "));
    if !has_reader() || !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{what}: {cost}")).remedy("say --yes if it is meant"));
    }
    let unread = |error: io::Error| {
        Failure::failed(format!("cannot ask whether it is meant: {error}")).remedy("say --yes if it is")
    };
    write!(io::stderr(), "{what}: {cost}. Go on? [y/N] ").map_err(unread)?;
    let mut answer = Vec::new();
    let read = io::stdin().lock().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut answer);
    if !answer.ends_with(b"\n") {
        // ^D leaves us behind the question.
        writeln!(io::stderr()).map_err(unread)?;
    }
    read.map_err(unread)?;
    match answer.trim_ascii().to_ascii_lowercase().as_slice() {
        b"y" | b"yes" if answer.ends_with(b"\n") => Ok(()),
        _ => Err(Failure::failed("nothing was done").remedy("answer y to go on, or say --yes")),
    }
}

/// How many characters a line of a terminal holds, as it says itself (stty(1) knows how to ask), or the environment.
pub(super) fn columns(terminal: BorrowedFd<'_>) -> Option<usize> {
    let mut stty = Process::new("stty");
    let asked = terminal.try_clone_to_owned().ok().and_then(|terminal| {
        let output = stty.arg("size").stdin(Stdio::from(terminal)).stderr(Stdio::null()).output().ok()?;
        // The rows come first.
        String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
    });
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    asked.filter(|&columns| columns > 0).or_else(told).filter(|&columns| columns > 0)
}

/// Does the terminal take orders, such as to wipe a line (terminfo(5))?
pub(super) fn is_able() -> bool {
    std::env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb")
}

/// Does the terminal show more than ASCII? The first of these that is set counts (locale(7)).
pub(super) fn is_utf8() -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let set = names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    set.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
