//! A section that loads jabberd 1.4's user directory (`<load><jud>./jud.so</jud></load>`): this server's own answers at its
//! addresses, under its name.
//!
//! 1.4's was one for all hosts. Ours keeps the people of each host apart, so hosts may share such an address, and each finds
//! its own people there. A directory that is another process is a component like any other.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Config;
use super::error::Place;
use super::hosts::{Host, is_below};
use super::own_services::ServiceKind;
use super::reading::Reading;
use super::sections::Section;

/// A section of jabberd 1.4's user directory, in whose place ours is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldDirectory {
    /// The section's id, under which it kept its data in the spool.
    pub id: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its name, from its vCard.
    pub title: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// What makes a service something else, whatever else is in its section.
const ELSEWHERE: &[&str] = &["accept", "connect", "dir", "dynamic", "exec", "null", "stdout", "unsubscribe"];

/// Reads such a section; `None` if it is none, or if no host has a directory that could answer.
pub(super) fn read(reading: &mut Reading, section: &Section<'_>, hosts: &[Host]) -> Option<OldDirectory> {
    let block = section.block("jud");
    let is_elsewhere = ELSEWHERE.iter().any(|name| section.handler(name).is_some());
    if is_elsewhere || (block.is_none() && !section.loads_function("jud")) || !hosts.iter().any(has_directory) {
        return None;
    }
    if let Some(block) = block {
        reading.stray_text(block);
        for child in block.children().filter(|child| child.name != "vCard") {
            reading.unknown(child, "<jud>", &["vCard"]);
        }
    }
    let title = block.and_then(|block| block.child("vCard")?.child_text("FN")).filter(|title| !title.is_empty());
    let mut addresses: Vec<String> = section.hosts.iter().map(|(host, _)| host.clone()).collect();
    // The id is an address, too. `jud` is nobody's domain, but `users.example.org` is meant.
    if !addresses.contains(&section.id) && (addresses.is_empty() || section.id.contains('.')) {
        addresses.push(section.id.clone());
    }
    Some(OldDirectory { id: section.id.clone(), addresses, title, place: section.tree.place.clone() })
}

fn has_directory(host: &Host) -> bool {
    host.modules.is_on(ServiceKind::Search.module())
}

/// Takes the addresses out that somebody else has, and says where our directory answers.
pub(super) fn settle(reading: &mut Reading, config: &mut Config) {
    let mut directories = std::mem::take(&mut config.old_directories);
    let mut taken: HashMap<String, Place> = HashMap::new();
    for directory in &mut directories {
        directory.addresses.retain(|address| {
            match taken.entry(address.clone()) {
                Entry::Vacant(entry) => drop(entry.insert(directory.place.clone())),
                Entry::Occupied(other) => {
                    if *other.get() != directory.place {
                        let text = format!("{address} is an address of the user directory at {}, too", other.get());
                        reading.warn(&directory.place, text);
                    }
                    return false;
                }
            }
            let why = match config.components.iter().find(|component| component.has_host(address)) {
                _ if config.host(address).is_some() => format!("{address} is a host with users"),
                Some(component) => format!("{address} is an address of the service at {}", component.place),
                None => return true,
            };
            reading.warn(&directory.place, format!("the user directory does not answer at {address}: {why}"));
            false
        });
        if !directory.addresses.is_empty() {
            let text =
                format!("mod_search, the user directory of this server, answers at {}", directory.addresses.join(", "));
            reading.notice(&directory.place, format!("{text}: jud.so is not needed"));
        }
    }
    config.old_directories = directories;
}

impl Config {
    /// The addresses of old directories that a host's own answers at: those below its name, and if there are none, all.
    pub(super) fn old_addresses<'a>(&'a self, host: &Host) -> Vec<(&'a OldDirectory, &'a str)> {
        let all = self.old_directories.iter().filter(|_| has_directory(host));
        let mut all: Vec<_> =
            all.flat_map(|old| old.addresses.iter().map(move |address| (old, address.as_str()))).collect();
        if all.iter().any(|(_, address)| is_below(address, &host.name)) {
            all.retain(|(_, address)| is_below(address, &host.name));
        }
        all
    }
}
