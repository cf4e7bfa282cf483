//! A simulation: clients, clocks, disks and wires at random from a seed, against servers in memory or on files.
//!
//! `SIM_SEEDS=1000 SIM_STEPS=500 cargo test --test sim` plays more; `SIM_FIRST=17 SIM_SEEDS=1 SIM_TRACE=1` plays one
//! game again and tells all that is said. A failure names its seed; the bug it shows becomes a talk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    dead_code,
    reason = "a test may fail loudly, and uses a part of the talks' runner"
)]

#[path = "sim/check.rs"]
mod check;
#[path = "sim/client.rs"]
mod client;
#[path = "sim/dice.rs"]
mod dice;
#[path = "sim/disk.rs"]
mod disk;
#[path = "sim/game.rs"]
mod game;
#[path = "sim/hearing.rs"]
mod hearing;
#[path = "sim/judge.rs"]
mod judge;
#[path = "talks/runner/login.rs"]
mod login;
#[path = "sim/panics.rs"]
mod panics;
#[path = "sim/play.rs"]
mod play;
#[path = "sim/trust.rs"]
mod trust;
#[path = "sim/world.rs"]
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use game::Game;

/// The games of a run without wishes: the same on every machine, some ten seconds on a slow one.
const SEEDS: u64 = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Plays one game; how many messages came, or what went wrong.
fn play(seed: u64, steps: u64) -> Result<usize, String> {
    let mut game = Game::new(seed);
    for step in 0..steps {
        game.step();
        if let Some(fault) = game.fault.take() {
            return Err(format!("step {step}: {fault}"));
        }
    }
    game.settle();
    game.fault.take().map_or(Ok(game.deliveries), Err)
}

#[test]
fn games_from_seeds() {
    panics::listen();
    if std::env::var_os("SIM_TRACE").is_some() {
        panics::tell_logs();
    }
    let first = number("SIM_FIRST").unwrap_or(1);
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let steps = number("SIM_STEPS").unwrap_or(300);
    let (next, played, deliveries) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || faults.lock().unwrap().len() >= 20 {
                        return;
                    }
                    let outcome = std::panic::catch_unwind(|| play(seed, steps));
                    played.fetch_add(1, Ordering::Relaxed);
                    match outcome {
                        Ok(Ok(count)) => drop(deliveries.fetch_add(count as u64, Ordering::Relaxed)),
                        Ok(Err(fault)) => faults.lock().unwrap().push(format!("seed {seed}: {fault}")),
                        Err(_) => faults.lock().unwrap().push(format!("seed {seed}: {:?}", panics::taken())),
                    }
                }
            });
        }
    });
    let (played, deliveries) = (played.into_inner(), deliveries.into_inner());
    println!("{played} games, {deliveries} messages delivered");
    let faults = faults.into_inner().unwrap();
    drop(std::panic::take_hook());
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert!(deliveries > played, "games in which nobody hears anything prove nothing");
}
