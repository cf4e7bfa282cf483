//! What systemd wants to hear (sd_notify(3)): one small datagram per change of state.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};

/// The server serves, or serves again after a reload.
pub const READY: &str = "READY=1";
/// The server is at work. Who hears nothing for `WatchdogSec=` starts it anew.
pub const ALIVE: &str = "WATCHDOG=1";
/// The server stops.
pub const STOPPING: &str = "STOPPING=1";

/// Tells the service manager, if there is one that listens. What goes wrong here concerns nobody else.
pub fn tell(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}

/// The configuration is being read again. Since when is asked for by units of Type=notify-reload.
pub fn tell_reloading() {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    let since = now.map_or_else(|_| String::new(), |now| format!("\nMONOTONIC_USEC={}", now.num_microseconds()));
    tell(&format!("RELOADING=1{since}"));
}
