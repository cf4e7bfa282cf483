//! The runner of talks: reads them ([`talk`]), speaks them ([`speaking`]) over a [`wire`], compares what is heard
//! ([`pattern`]). `tests/talks/README.md` has the grammar.

#[path = "../../sim/dice.rs"]
pub mod dice;
pub mod login;
pub mod memory;
pub mod pattern;
pub mod speaking;
pub mod talk;
pub mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;

use talk::Talk;

/// All talks, or those of the one file that the environment names in `TALK`, by file.
pub fn talks() -> BTreeMap<String, Result<Vec<Talk>, String>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/talks");
    let wanted = std::env::var("TALK").ok().filter(|name| !name.is_empty());
    let mut talks = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|end| end == "talk") && wanted.as_ref().is_none_or(|wanted| *wanted == name) {
            let text = std::fs::read_to_string(&path).unwrap();
            talks.insert(name.clone(), talk::parse(&format!("tests/talks/{name}.talk"), &text));
        }
    }
    assert!(!talks.is_empty(), "there is no talk {wanted:?}");
    talks
}

/// What came of a talk.
pub struct Outcome {
    /// The talk as it was spoken.
    pub transcript: String,
    /// What went wrong.
    pub fault: Option<String>,
}
