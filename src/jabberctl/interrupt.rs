//! ^C and its kin in long work: it ends between two steps, and tidies up.

use std::fs;
use std::io;
use std::os::raw::c_int;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of who cannot wait: 128 and the number of SIGINT, as shells have it.
const AT_ONCE: c_int = 130;

/// A flag that is set when the terminal, or another process, wants this one to end. A second ^C gets its way at once; the
/// other signals come in pairs (timeout(1), a terminal that closes) without any such meaning.
///
/// # Errors
/// The system refuses.
pub(super) fn listen() -> io::Result<Arc<AtomicBool>> {
    let (wish, is_second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let ignored = ignored();
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0) {
        flag::register(signal, Arc::clone(&wish))?;
        if signal == SIGINT {
            // In this order: the first one finds the flag unset.
            flag::register_conditional_shutdown(signal, AT_ONCE, Arc::clone(&is_second))?;
            flag::register(signal, Arc::clone(&is_second))?;
        }
    }
    Ok(wish)
}

/// The signals that who started us wants ignored (nohup, a script's `&`), as proc(5) shows them: a bit each.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
