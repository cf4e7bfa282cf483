//! `<xdb>`: where the data is. There is one store; what 1.4 split over several sections goes into it alike.

use std::path::PathBuf;

use super::limits::Limits;
use super::reading::Reading;
use super::sections::{self, Section, SectionKind};
use super::tree::Tree;

/// What the `<xdb>` sections say.
pub(super) struct Storage {
    pub(super) spool: PathBuf,
    pub(super) others: Vec<PathBuf>,
    pub(super) hashed: bool,
    pub(super) offline_bytes: Option<usize>,
}

/// Reads all `<xdb>` sections: the one for everything else gives the place.
pub(super) fn read(reading: &mut Reading, all: &[Section<'_>], limits: &Limits) -> Storage {
    let given = reading.source.command_line.flags.get("s").cloned();
    let default = given.clone().unwrap_or_else(|| super::DEFAULT_SPOOL.to_owned());
    let mut storage = Storage { spool: reading.path(&default), others: Vec::new(), hashed: false, offline_bytes: None };
    let sections: Vec<&Section<'_>> = all.iter().filter(|section| section.kind == SectionKind::Xdb).collect();
    for section in &sections {
        check_functions(reading, section);
    }
    let is_general = |section: &&&Section<'_>| section.handlers("ns").all(|ns| ns.text().is_empty());
    let with_block = || sections.iter().filter(|section| section.block("xdb_file").is_some());
    let Some(main) = with_block().find(is_general).or_else(|| with_block().next()) else {
        return storage;
    };
    if let Some(block) = main.block("xdb_file") {
        xdb_file(reading, block, &mut storage, limits, given.is_some());
    }
    for other in with_block().filter(|section| section.id != main.id) {
        let text = format!("there is one store: what <xdb id=\"{}\"> kept is in {}, too", other.id, main.id);
        reading.notice(&other.tree.place, text);
        let spool = other.block("xdb_file").and_then(|block| block.child("spool")).map(Tree::text);
        if let Some(spool) = spool.filter(|spool| !spool.is_empty()) {
            let spool = reading.path(&spool);
            if spool != storage.spool && !storage.others.contains(&spool) {
                storage.others.push(spool);
            }
        }
    }
    storage
}

fn xdb_file(reading: &mut Reading, block: &Tree, storage: &mut Storage, limits: &Limits, is_given: bool) {
    reading.stray_text(block);
    for child in block.children() {
        match child.name.as_str() {
            "spool" if child.text().is_empty() => {
                let text = format!("<spool> is empty: the data is in {}", storage.spool.display());
                reading.warn(&child.place, text);
            }
            "spool" => storage.spool = reading.path(&child.text()),
            "timeout" | "maxfiles" => {}
            "sizelimit" => {
                if !child.text().is_empty() {
                    storage.offline_bytes = reading.number(child);
                }
            }
            "use_hierarchical_spool" => storage.hashed = true,
            _ => {
                let known = &["spool", "timeout", "maxfiles", "sizelimit", "use_hierarchical_spool"];
                reading.unknown(child, "<xdb_file>", known);
            }
        }
    }
    if block.child("spool").is_none() && !is_given {
        let text = format!("<xdb_file> has no <spool>: the data is in {}", storage.spool.display());
        reading.warn(&block.place, text);
    }
    if storage.offline_bytes.is_some_and(|bytes| bytes > limits.offline_bytes_max) {
        storage.offline_bytes = None;
    }
}

/// Anything but `xdb_file` has the accounts in another place, and starting without them would look like a loss.
fn check_functions(reading: &mut Reading, section: &Section<'_>) {
    for function in section.loads().filter(|function| function.name != "xdb_file") {
        sections::foreign_accounts(reading, function, "storage that is not xdb_file");
    }
    if section.loads().next().is_none() {
        if let Some(block) = section.block("xdb_sql") {
            sections::foreign_accounts(reading, block, "storage that is not xdb_file");
        }
    }
}
