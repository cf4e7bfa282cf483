//! Signals, for the loop: a flag each, and one socket that wakes it.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::{flag, low_level::pipe};

use crate::net::Signals;

/// Lets SIGHUP wait until [`listen`]: a reload that somebody asks for while we start (logrotate, at boot) must not be our
/// end. To be called first of all. SIGTERM and SIGINT may end who has begun nothing yet.
pub fn hold_back() {
    // Where it cannot be done, what is lost is a moment's safety.
    let _ = SigSet::from(Signal::SIGHUP).thread_block();
}

/// Takes over the signals of the process, the same that jabberd 1.4 knew. SIGPIPE is ignored by Rust's own start.
///
/// # Errors
/// The system lacks descriptors.
pub fn listen() -> io::Result<Signals> {
    let (wake, woken) = UnixStream::pair()?;
    woken.set_nonblocking(true)?;
    let terminate = Arc::new(AtomicBool::new(false));
    let reload = Arc::new(AtomicBool::new(false));
    for (signal, flag) in [(SIGTERM, &terminate), (SIGINT, &terminate), (SIGHUP, &reload)] {
        // In this order: who is woken finds the flag set.
        flag::register(signal, Arc::clone(flag))?;
        pipe::register(signal, wake.try_clone()?)?;
    }
    for ignored in [SIGUSR1, SIGUSR2] {
        flag::register(ignored, Arc::default())?;
    }
    // Before there are threads, which would inherit the mask.
    SigSet::from(Signal::SIGHUP).thread_unblock()?;
    Ok(Signals { terminate, reload, wake: mio::net::UnixStream::from_std(woken) })
}
