//! The clock, and the limits of the process.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use jabber::daemon::accounts::DATABASE;
use nix::sys::resource::{Resource, getrlimit};

use super::{Findings, Subject};

const AREA: &str = "machine";
/// Fewer open files than this are soon used up: one for each client.
const FILES: u64 = 4_096;

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    clock(findings);
    past(subject, findings);
    limits(subject, findings);
}

/// systemd knows whether the kernel's clock is kept right, by whatever program.
fn clock(findings: &mut Findings) {
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    let Ok(output) = asked else { return };
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => findings.fine(AREA, "the clock is kept right"),
        "no" => findings.warning(
            AREA,
            "nothing keeps the clock right: certificates are judged by it, and messages are stamped with it",
            "apt install systemd-timesyncd, or chrony",
        ),
        _ => {}
    }
}

/// A database that was written in the future: the clock was right then, or is now.
fn past(subject: &Subject, findings: &mut Findings) {
    let path = subject.config.spool.join(DATABASE);
    let Ok(modified) = fs::metadata(&path).and_then(|found| found.modified()) else { return };
    if modified.duration_since(SystemTime::now()).is_ok_and(|ahead| ahead.as_secs() > 60) {
        findings.critical(
            AREA,
            format!("the clock is behind: {} was written in what is the future now", path.display()),
            "set the clock: timedatectl set-ntp true",
        );
    }
}

/// proc(5): the limits of the server that runs; else those that one started from here would have.
fn limits(subject: &Subject, findings: &mut Findings) {
    let running = subject.server.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
    let files = running.as_deref().and_then(|limits| {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    let (files, whose) = match files {
        Some(files) => (files, "the server"),
        None => (getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard), "a server started from here"),
    };
    match files {
        0 => {}
        files if files < FILES => findings.warning(
            AREA,
            format!("{whose} may have {files} files open, and each client needs one"),
            "raise LimitNOFILE in the unit (systemctl edit jabber), or ulimit -n in /etc/default/jabber",
        ),
        files => findings.fine(AREA, format!("{whose} may have {files} files open")),
    }
}
