//! Scripted tests: every `tests/talks/*.talk`, spoken to a server in memory. `make talk T=ping` speaks one of them and
//! prints it. The grammar is in `tests/talks/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    reason = "a test may fail loudly"
)]

#[path = "talks/runner/mod.rs"]
mod runner;

use runner::memory::Memory;
use runner::talk::Talk;
use runner::{Outcome, speaking};

#[test]
fn talks() {
    let is_shown = std::env::var("TALK").is_ok_and(|name| !name.is_empty());
    let (mut faults, mut pending, mut passed) = (Vec::new(), Vec::new(), 0);
    for (name, talks) in runner::talks() {
        let talks = match talks {
            Ok(talks) => talks,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        if talks.is_empty() {
            faults.push(format!("tests/talks/{name}.talk: no talk in it"));
        }
        for talk in talks {
            let outcome = spoken(&talk);
            if is_shown {
                println!("{}", outcome.transcript);
            }
            match (outcome.fault, talk.pending) {
                (None, None) => passed += 1,
                (Some(_), Some(why)) => pending.push(format!("{}: {}: {why}", talk.place, talk.title)),
                (None, Some(why)) => {
                    faults.push(format!("{}: {}\n    passes: delete `pending: {why}`", talk.place, talk.title));
                }
                (Some(fault), None) => faults.push(format!("{}    ✗ {fault}", outcome.transcript)),
            }
        }
    }
    pending.iter().for_each(|line| println!("pending: {line}"));
    println!("{passed} talks passed, {} are pending, {} failed", pending.len(), faults.len());
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n\n"));
}

/// A talk in memory.
fn spoken(talk: &Talk) -> Outcome {
    let mut memory = match Memory::new(&talk.setup) {
        Ok(memory) => memory,
        Err(fault) => return Outcome { transcript: format!("{}: {}\n", talk.place, talk.title), fault: Some(fault) },
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| speaking::speak(talk, &mut memory)));
    match outcome {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(cannot)) => Outcome { transcript: talk.place.clone(), fault: Some(cannot.to_string()) },
        Err(_) => Outcome { transcript: format!("{}: {}\n", talk.place, talk.title), fault: Some("a panic".into()) },
    }
}
