//! What things cost: `cargo bench`, or `cargo bench -- parse` for one section.
//!
//! Figures are CPU time of this thread, user and system, medians of many short runs, and what is compared is run in
//! turns, for the machine may be busy. Quote the ratio within one run, not figures of two.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a benchmark may fail loudly"
)]

#[path = "../sim/dice.rs"]
mod dice;
mod import;
mod login;
mod memory;
mod parse;
mod presence;
mod privacy;
mod requests;
mod route;
#[path = "../talks/runner/login.rs"]
#[allow(dead_code, reason = "talks need more of it")]
mod scram;
mod store;
mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// A section: its name, and what prints its lines.
const SECTIONS: &[(&str, fn())] = &[
    ("import", import::run),
    ("parse", parse::run),
    ("store", store::run),
    ("route", route::run),
    ("presence", presence::run),
    ("privacy", privacy::run),
    ("requests", requests::run),
    ("login", login::run),
    ("memory", memory::run),
];

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn main() {
    // Cargo itself adds --bench.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (name, section) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|item| item == name) {
            println!("{name}");
            section();
        }
    }
}

/// Nanoseconds per call of each of these, medians of 31 runs that take turns; `calls` is what one run's call stands for.
fn compare<'a>(calls: u32, contestants: &mut [(&'a str, &'a mut dyn FnMut())]) -> Vec<f64> {
    let each = contestants.iter_mut().map(|(name, call)| {
        let call: &mut dyn FnMut() = call;
        (*name, calls, call)
    });
    compare_each(&mut each.collect::<Vec<_>>())
}

/// The same, where one call of each stands for a number of its own.
fn compare_each(contestants: &mut [(&str, u32, &mut dyn FnMut())]) -> Vec<f64> {
    const RUNS: usize = 31;
    const RUN: Duration = Duration::from_millis(8);
    let mut runs = vec![Vec::with_capacity(RUNS); contestants.len()];
    for _ in 0..RUNS {
        for ((_, calls, contestant), figures) in contestants.iter_mut().zip(&mut runs) {
            // To ask for CPU time is dear: once before and once after.
            let (until, begin) = (Instant::now() + RUN, cpu_time());
            let mut rounds = 0_u32;
            while Instant::now() < until {
                contestant();
                rounds += 1;
            }
            figures.push((cpu_time() - begin).as_nanos() as f64 / f64::from(rounds) / f64::from(*calls));
        }
    }
    let medians: Vec<f64> = runs.iter_mut().map(|figures| median(figures)).collect();
    for ((name, ..), figure) in contestants.iter().zip(&medians) {
        println!("  {name:<44} {figure:>9.0} ns  {:>6.2}", figure / medians.first().unwrap_or(figure));
    }
    medians
}

/// What this thread has worked so far.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Work with a directory that is gone afterwards.
fn scratch(work: impl FnOnce(&Path)) {
    let directory = std::env::temp_dir().join(format!("jabber-bench-{}", std::process::id()));
    if let Err(error) = std::fs::create_dir(&directory) {
        return println!("  {}: {error}", directory.display());
    }
    work(&directory);
    // If it stays, so be it.
    let _ = std::fs::remove_dir_all(&directory);
}
