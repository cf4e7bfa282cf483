//! Noise against single rooms and the whole server. `cargo test` plays each target for a moment; `make fuzz F=server`
//! plays one for `FUZZ_SECONDS` (60), from `FUZZ_SEED` if that is given. What is found becomes a row of a table, or a
//! talk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    dead_code,
    reason = "a test may fail loudly, and uses a part of the simulation"
)]

mod control;
#[path = "../sim/dice.rs"]
mod dice;
#[path = "../sim/disk.rs"]
mod disk;
#[path = "../talks/runner/login.rs"]
mod login;
mod noise;
#[path = "../sim/panics.rs"]
mod panics;
#[path = "../sim/trust.rs"]
mod trust;
mod whole;
mod words;
#[path = "../sim/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use dice::Dice;

/// One input after the other: each is noted before anything is done with it.
type Target = Box<dyn FnMut(&mut Dice, &mut Vec<u8>)>;

const TARGETS: &[&str] = &["reader", "jid", "stanza", "sasl", "config", "dns", "control", "server", "s2s"];

fn target(name: &str, dice: &mut Dice) -> Target {
    match name {
        "reader" => Box::new(words::reader(dice)),
        "jid" => Box::new(words::names(dice)),
        "stanza" => Box::new(words::stanza(dice)),
        "sasl" => Box::new(words::login(dice)),
        "config" => Box::new(words::config(dice)),
        "dns" => Box::new(words::dns(dice)),
        "control" => Box::new(control::control(dice)),
        "server" => Box::new(whole::server(dice)),
        "s2s" => Box::new(whole::s2s(dice)),
        name => panic!("there is no target {name}; there are {TARGETS:?}"),
    }
}

/// A run of this many inputs can be repeated from its seed.
const RUN: u64 = 300;

/// Plays a target for so many runs, or until the time is over; how many inputs, or what went wrong with which.
fn play(name: &str, first_seed: u64, runs: u64, time: Option<Duration>) -> Result<u64, String> {
    panics::listen();
    let end = time.map(|time| Instant::now() + time);
    let mut count = 0;
    for seed in (first_seed..).take(usize::try_from(runs).unwrap_or(usize::MAX)) {
        let mut dice = Dice::new(seed);
        let mut target = target(name, &mut dice);
        let mut input = Vec::new();
        for _ in 0..RUN {
            if end.is_some_and(|end| Instant::now() > end) {
                return Ok(count);
            }
            count += 1;
            if catch_unwind(AssertUnwindSafe(|| target(&mut dice, &mut input))).is_err() {
                let why = panics::taken().unwrap_or_default();
                let input = input.escape_ascii();
                return Err(format!("FUZZ_SEED={seed} make fuzz F={name}\n{why}\nthe last input was \"{input}\""));
            }
        }
    }
    Ok(count)
}

/// How many runs of each target there are when nobody wishes more.
const RUNS: u64 = 4;

/// All targets for a moment, the same on every machine; with `FUZZ=reader`, one for `FUZZ_SECONDS`.
#[test]
fn noise() {
    let of = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
    let outcomes: Vec<(String, Result<u64, String>)> = match of("FUZZ") {
        None => TARGETS.iter().map(|name| ((*name).to_string(), play(name, 1, RUNS, None))).collect(),
        Some(name) => {
            let seconds = of("FUZZ_SECONDS").and_then(|text| text.parse().ok()).unwrap_or(60);
            let seed = of("FUZZ_SEED").and_then(|text| text.parse().ok()).unwrap_or(1);
            let outcome = play(&name, seed, u64::MAX, Some(Duration::from_secs(seconds)));
            vec![(name, outcome)]
        }
    };
    drop(std::panic::take_hook());
    let mut faults = Vec::new();
    for (name, outcome) in outcomes {
        match outcome {
            Ok(count) => println!("{name}: {count} inputs"),
            Err(fault) => faults.push(fault),
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
