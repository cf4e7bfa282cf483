//! The talks, spoken to the real server over TCP and TLS: `make live`, or `make live T=ping` for one file. What needs a
//! clock moved by hand, a crash or an address of its own is left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    dead_code,
    reason = "a test may fail loudly, and uses a part of the runner"
)]

#[path = "talks/runner/mod.rs"]
mod runner;
#[path = "talks/live.rs"]
mod socket;

use std::collections::VecDeque;
use std::sync::Mutex;

use runner::speaking;
use runner::talk::Talk;
use socket::Live;

/// Talks that are spoken at a time: they mostly wait.
const AT_A_TIME: usize = 6;

/// What came of them all.
#[derive(Default)]
struct Report {
    passed: usize,
    left_out: Vec<String>,
    faults: Vec<String>,
}

#[test]
fn talks_over_sockets() {
    let all = runner::talks().into_values().flat_map(|talks| talks.unwrap());
    let waiting: Mutex<VecDeque<Talk>> = Mutex::new(all.filter(|talk| talk.pending.is_none()).collect());
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(talk) = waiting.lock().unwrap().pop_front() else { return };
                    speak(&talk, &report);
                }
            });
        }
    });
    let report = report.into_inner().unwrap();
    report.left_out.iter().for_each(|line| println!("left out: {line}"));
    println!("{} talks passed, {} left out, {} failed", report.passed, report.left_out.len(), report.faults.len());
    assert!(report.faults.is_empty(), "\n\n{}\n", report.faults.join("\n\n"));
}

fn speak(talk: &Talk, report: &Mutex<Report>) {
    if let Some(why) = &talk.setup.in_memory {
        return report.lock().unwrap().left_out.push(format!("{}: {why}", talk.place));
    }
    let is_shown = std::env::var("TALK").is_ok_and(|name| !name.is_empty());
    let outcome = Live::new(&talk.setup).map(|mut live| speaking::speak(talk, &mut live));
    let mut report = report.lock().unwrap();
    match outcome {
        Err(fault) => report.faults.push(format!("{}: {}\n{fault}", talk.place, talk.title)),
        Ok(Err(cannot)) => report.left_out.push(format!("{}: needs {cannot}", talk.place)),
        Ok(Ok(outcome)) => {
            if is_shown {
                println!("{}", outcome.transcript);
            }
            match outcome.fault {
                None => report.passed += 1,
                Some(fault) => report.faults.push(format!("{}    ✗ {fault}", outcome.transcript)),
            }
        }
    }
}
