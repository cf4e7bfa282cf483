//! Passwords: from the terminal without echo, or the first line of standard input.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Failure;

/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 4_096;

/// Asks for a secret, twice on a terminal.
pub(super) fn secret(what: &str) -> Result<Zeroizing<String>, Failure> {
    let unread = |error: io::Error| {
        Failure::failed(format!("cannot read the {what}: {error}"))
            .remedy("give it as the first line of standard input")
    };
    let read = if io::stdin().is_terminal() {
        let first = prompt(&format!("New {what}: ")).map_err(unread)?;
        let again = prompt(&format!("The same {what} again: ")).map_err(unread)?;
        if first != again {
            return Err(
                Failure::failed(format!("the two are not the same {what}: nothing was done")).remedy("try again")
            );
        }
        first
    } else {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().take(LINE_BYTES_MAX).read_line(&mut line).map_err(unread)?;
        Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())
    };
    if read.is_empty() {
        return Err(Failure::usage(format!("the {what} is empty"))
            .remedy("type it at the prompt, or give it as the first line of standard input"));
    }
    Ok(read)
}

/// The terminal, set back when it goes.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new() -> io::Result<Quiet> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        // No signals from keys: one would leave the terminal without echo.
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

fn prompt(text: &str) -> io::Result<Zeroizing<String>> {
    let mut quiet = Quiet::new()?;
    quiet.terminal.write_all(text.as_bytes())?;
    let mut typed = Zeroizing::new(Vec::new());
    let read = loop {
        let mut byte = [0];
        quiet.terminal.read_exact(&mut byte)?;
        match byte[0] {
            b'\r' | b'\n' => break Ok(()),
            // ^C, and ^D with nothing typed.
            3 => break Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            4 if typed.is_empty() => break Err(io::ErrorKind::UnexpectedEof.into()),
            // ^U
            21 => typed.clear(),
            // Backspace takes a whole character.
            8 | 127 => while typed.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {},
            byte if (typed.len() as u64) < LINE_BYTES_MAX => typed.push(byte),
            _ => {}
        }
    };
    quiet.terminal.write_all(b"\n")?;
    read?;
    let text =
        std::str::from_utf8(&typed).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}
