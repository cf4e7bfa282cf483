//! ^C and its kin. Long work ends between two steps, and tidies up; a question ends at once, and leaves the terminal as it
//! was.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::raw::c_int;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::SigId;
use signal_hook::consts::{SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};

/// The exit code of who cannot wait: 128 and the number of SIGINT, as shells have it.
const AT_ONCE: c_int = 130;

/// A flag that is set when the terminal, or another process, wants this one to end. A second ^C gets its way at once; the
/// other signals come in pairs (timeout(1), a terminal that closes) without any such meaning.
///
/// # Errors
/// The system refuses.
pub(super) fn listen() -> io::Result<Arc<AtomicBool>> {
    let (wish, is_second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for signal in heeded(&[SIGINT, SIGTERM, SIGHUP]) {
        flag::register(signal, Arc::clone(&wish))?;
        if signal == SIGINT {
            // In this order: the first one finds the flag unset.
            flag::register_conditional_shutdown(signal, AT_ONCE, Arc::clone(&is_second))?;
            flag::register(signal, Arc::clone(&is_second))?;
        }
    }
    Ok(wish)
}

/// What whoever waits for input hears.
pub(super) enum News {
    /// There is some.
    Input,
    /// The process was stopped, and goes on.
    Resumed,
    /// A signal wants it to end. It does when the signals are held no longer.
    End,
}

/// The signals that end a program, held back while a terminal must be set back first. When this goes, they do as always,
/// and so does the one that came meanwhile.
pub(super) struct Held {
    /// With the flag that says it came.
    ends: Vec<(c_int, Arc<AtomicBool>)>,
    resumed: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    wakes: UnixStream,
    heard: Vec<SigId>,
}

impl Held {
    /// # Errors
    /// The system refuses.
    pub(super) fn new() -> io::Result<Held> {
        let (wakes, waker) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        let (resumed, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut held = Held { ends: Vec::new(), resumed, is_over, wakes, heard: Vec::new() };
        // As readpassphrase(3) has them.
        for signal in heeded(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM]) {
            let came = Arc::new(AtomicBool::new(false));
            flag::register_conditional_default(signal, Arc::clone(&held.is_over))?;
            held.hear(signal, &came, &waker)?;
            held.ends.push((signal, came));
        }
        let resumed = Arc::clone(&held.resumed);
        held.hear(SIGCONT, &resumed, &waker)?;
        Ok(held)
    }

    /// The flag is set before whoever waits is woken.
    fn hear(&mut self, signal: c_int, came: &Arc<AtomicBool>, waker: &UnixStream) -> io::Result<()> {
        self.heard.push(flag::register(signal, Arc::clone(came))?);
        self.heard.push(low_level::pipe::register(signal, waker.try_clone()?)?);
        Ok(())
    }

    /// Waits for input, or a signal.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn next(&mut self, input: &File) -> io::Result<News> {
        let mut is_there = false;
        loop {
            if self.ends.iter().any(|(_, came)| came.load(Ordering::Acquire)) {
                return Ok(News::End);
            }
            if self.resumed.swap(false, Ordering::AcqRel) {
                return Ok(News::Resumed);
            }
            if is_there {
                return Ok(News::Input);
            }
            let mut both = [input.as_fd(), self.wakes.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut both, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            is_there = both.first().and_then(PollFd::any).unwrap_or(false);
            // The flags say what it was.
            let _ = self.wakes.read(&mut [0; 64]);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        for id in self.heard.drain(..) {
            low_level::unregister(id);
        }
        if let Some((signal, _)) = self.ends.iter().find(|(_, came)| came.load(Ordering::Acquire)) {
            // It ends here.
            let _ = low_level::emulate_default_handler(*signal);
        }
    }
}

/// Those of these signals that who started us does not want ignored (nohup, a script's `&`). proc(5): a bit each.
fn heeded(signals: &[c_int]) -> impl Iterator<Item = c_int> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    signals.iter().copied().filter(move |signal| ignored >> (signal - 1) & 1 == 0)
}
