//! What clients, components and servers of old said to the originals, said to us: every wire trace of jabberd 1.4.3, 1.4.4
//! and 1.6 in `tests/fixtures/traces`, all traces of one version in a row, on one server in memory that runs that
//! version's configuration.
//!
//! Our answers are compared with the recorded ones, connection by connection. What always differs, and why, is
//! `traces/compare.rs`; every other difference stands in `tests/traces/VERSION/NAME.txt` with its reason, after
//! `Deviation:`. A difference that is not there fails the test, and so does one that is there and is none.
//! `TRACES=write cargo test --test traces` writes these files anew; a difference without a reason gets `Deviation: ?`,
//! which fails until somebody has thought about it.
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

#[path = "traces/compare.rs"]
mod compare;
#[path = "traces/record.rs"]
mod record;
#[path = "traces/replay.rs"]
mod replay;
#[path = "talks/runner/mod.rs"]
mod runner;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn replayed(version: &str, configuration: &str) {
    let folder = root().join("tests/fixtures/traces").join(version);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut world = replay::World::new(configuration);
    let mut faults = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let lines = record::lines(&std::fs::read_to_string(&file).unwrap());
        let conversations = world.play(&name, &lines);
        let differences = conversations.iter().flat_map(compare::differences).collect();
        if let Err(fault) = judged(&root().join("tests/traces").join(version).join(format!("{name}.txt")), differences)
        {
            faults.push(fault);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// Holds what was found against what is known.
fn judged(known: &Path, found: Vec<String>) -> Result<(), String> {
    let text = std::fs::read_to_string(known).unwrap_or_default();
    let blocks = record::blocks(&text);
    if std::env::var("TRACES").is_ok_and(|word| word == "write") {
        std::fs::create_dir_all(known.parent().unwrap()).unwrap();
        std::fs::write(known, record::written(&blocks, &found)).unwrap();
        return Ok(());
    }
    let place = known.display();
    let listed: Vec<&String> = blocks.iter().flat_map(|block| &block.lines).collect();
    if let Some(block) = blocks.iter().find(|block| block.reason.len() < 10) {
        return Err(format!("{place}: a difference without a reason:\n{}", block.lines.join("\n")));
    }
    match compare::first_difference(&listed, &found.iter().collect::<Vec<_>>()) {
        None => Ok(()),
        Some((Some(listed), None)) => Err(format!("{place}: listed, but it is so no more:\n{listed}")),
        Some((None, Some(found))) => Err(format!("{place}: found, and not listed:\n{found}")),
        Some((listed, found)) => Err(format!(
            "{place}: listed is\n{}\nfound is\n{}",
            listed.map_or("nothing", String::as_str),
            found.map_or("nothing", String::as_str)
        )),
    }
}

#[test]
fn as_to_jabberd_1_4_3() {
    replayed("1.4.3", "jabber-1.4.2-minimal.xml");
}

#[test]
fn as_to_jabberd_1_4_4() {
    replayed("1.4.4", "jabber-1.4.4-full.xml");
}

#[test]
fn as_to_jabberd_1_6() {
    replayed("1.6", "jabber-1.6-tls.xml");
}
