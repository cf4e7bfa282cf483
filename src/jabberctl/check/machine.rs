//! The clock, and the limits of the process.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use nix::sys::resource::{Resource, getrlimit};

use super::{Findings, Subject};

const AREA: &str = "machine";
/// Fewer open files than this are soon used up: one for each client.
const FILES: u64 = 4_096;

/// Programs that keep a clock right, as proc(5) shows them.
const KEEPERS: [&str; 5] = ["chronyd", "ntpd", "openntpd", "ntp-daemon", "systemd-timesyn"];

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    clock(findings);
    past(subject, findings);
    limits(subject, findings);
}

/// systemd knows whether the kernel's clock is kept right, by whatever program. Without it there are only the programs.
fn clock(findings: &mut Findings) {
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    match asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).as_deref() {
        Ok("yes") => return findings.fine(AREA, "the clock is kept right"),
        Ok("no") => {
            return findings.warning(
                AREA,
                "nothing keeps the clock right: certificates are judged by it, and messages are stamped with it",
                "apt install systemd-timesyncd, or chrony",
            );
        }
        _ => {}
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|process| fs::read_to_string(process.path().join("comm")).ok());
    match names.into_iter().find(|name| KEEPERS.contains(&name.trim())) {
        Some(name) => findings.fine(AREA, format!("{} runs, which keeps the clock right", name.trim())),
        None => findings.unknown(
            AREA,
            "whether anything keeps the clock right was not found out: none of the known programs runs here",
            "apt install chrony; in a container: see to the clock of the machine around it; date -u shows the time",
        ),
    }
}

/// A database that was written in the future: the clock was right then, or is now.
fn past(subject: &Subject, findings: &mut Findings) {
    let path = &subject.database;
    let Ok(modified) = fs::metadata(path).and_then(|found| found.modified()) else { return };
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
    let running = subject.process().and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
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
