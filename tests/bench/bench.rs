//! What things cost: `cargo bench`, or `cargo bench -- parse` for one section.
//!
//! Figures are medians of many short runs, and what is compared is run in turns, for the machine may be busy. Quote the
//! ratio within one run, not figures of two.

mod parse;
mod store;

use std::time::{Duration, Instant};

/// A section: its name, and what prints its lines.
const SECTIONS: &[(&str, fn())] = &[("parse", parse::run), ("store", store::run)];

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
fn compare(calls: u32, contestants: &mut [(&str, &mut dyn FnMut())]) -> Vec<f64> {
    const RUNS: usize = 31;
    const RUN: Duration = Duration::from_millis(8);
    let mut runs = vec![Vec::with_capacity(RUNS); contestants.len()];
    for _ in 0..RUNS {
        for ((_, contestant), figures) in contestants.iter_mut().zip(&mut runs) {
            let begin = Instant::now();
            let mut rounds = 0_u32;
            while begin.elapsed() < RUN {
                contestant();
                rounds += 1;
            }
            figures.push(begin.elapsed().as_nanos() as f64 / f64::from(rounds) / f64::from(calls));
        }
    }
    let medians: Vec<f64> = runs.iter_mut().map(|figures| median(figures)).collect();
    for ((name, _), figure) in contestants.iter().zip(&medians) {
        println!("  {name:<44} {figure:>9.0} ns  {:>6.2}", figure / medians.first().unwrap_or(figure));
    }
    medians
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
