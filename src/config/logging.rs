//! `<log>` sections into [`LogSink`]s.

use std::path::PathBuf;

use super::error::Place;
use super::logs::{LogSink, LogTarget};
use super::reading::{Reading, Refusal};
use super::sections::{Section, SectionKind};
use super::tree::Tree;
use crate::xmpp::Jid;

/// Facilities of syslog.
const FACILITIES: &[&str] = &[
    "auth", "authpriv", "cron", "daemon", "ftp", "kern", "local0", "local1", "local2", "local3", "local4", "local5",
    "local6", "local7", "lpr", "mail", "news", "syslog", "user", "uucp",
];

/// Reads all `<log>` sections; without any, the two files that everybody knows.
pub(super) fn read(reading: &mut Reading, all: &[Section<'_>]) -> Vec<LogSink> {
    let sections = || all.iter().filter(|section| section.kind == SectionKind::Log);
    let sinks: Vec<LogSink> = sections().filter_map(|section| sink(reading, section)).collect();
    if sinks.is_empty() && sections().next().is_none() {
        defaults(&Place::whole(reading.source.file.as_path()))
    } else {
        sinks
    }
}

/// `/var/log/jabber/error.log` and `record.log`, in jabberd 1.4's formats.
pub(super) fn defaults(place: &Place) -> Vec<LogSink> {
    let file = |name: &str| LogTarget::File { path: PathBuf::from("/var/log/jabber").join(name), place: place.clone() };
    let sink = |id: &str, types: &[&str], format: &str, targets: Vec<LogTarget>| LogSink {
        id: id.to_owned(),
        hosts: Vec::new(),
        types: types.iter().map(|&kind| kind.to_owned()).collect(),
        format: format.to_owned(),
        targets,
    };
    vec![
        sink("elogger", &[], LogSink::ERROR_FORMAT, vec![file("error.log"), LogTarget::Stderr]),
        sink("rlogger", &["record"], LogSink::RECORD_FORMAT, vec![file("record.log")]),
    ]
}

fn sink(reading: &mut Reading, section: &Section<'_>) -> Option<LogSink> {
    let mut sink = LogSink {
        id: section.id.clone(),
        hosts: section.hosts.iter().map(|(host, _)| host.clone()).collect(),
        types: Vec::new(),
        format: LogSink::ERROR_FORMAT.to_owned(),
        targets: Vec::new(),
    };
    if section.takes_rest {
        sink.hosts.clear();
    }
    let (mut takes_all_types, mut is_null) = (false, false);
    for child in section.tree.children().filter(|child| child.is_core()) {
        match child.name.as_str() {
            "logtype" if child.text().is_empty() => takes_all_types = true,
            "logtype" => sink.types.push(child.text()),
            "format" => sink.format = child.raw_text(),
            "file" => sink.targets.extend(file(reading, child)),
            "stderr" => sink.targets.push(LogTarget::Stderr),
            "syslog" => sink.targets.push(syslog(reading, child)),
            "to" => sink.targets.extend(to(reading, child)),
            "null" => is_null = true,
            "host" => {}
            _ => reading.without_effect(child, "nothing in a <log> section reads it"),
        }
    }
    if takes_all_types {
        sink.types.clear();
    }
    if is_null {
        // It takes its lines from the others, and drops them.
        sink.targets.clear();
    } else if sink.targets.is_empty() {
        let text = format!("log \"{}\" goes nowhere: it has no <file>, <syslog>, <stderr/> or <to>", section.id);
        reading.warn(&section.tree.place, text);
        return None;
    }
    Some(sink)
}

fn file(reading: &mut Reading, tree: &Tree) -> Option<LogTarget> {
    let text = tree.text();
    if text.is_empty() {
        reading.refuse(
            &tree.place,
            Refusal {
                what: "'file' tag must contain a filename to write to",
                found: "<file/> without a name",
                expected: "<file>/var/log/jabber/error.log</file>",
                remedy: "name the file, or delete <file> and write <stderr/> or <syslog>daemon</syslog>",
            },
        );
        return None;
    }
    Some(LogTarget::File { path: reading.path(&text), place: tree.place.clone() })
}

fn syslog(reading: &mut Reading, tree: &Tree) -> LogTarget {
    let facility = tree.text().to_lowercase();
    let facility = facility.strip_prefix("log_").unwrap_or(&facility);
    if FACILITIES.contains(&facility) {
        return LogTarget::Syslog(facility.to_owned());
    }
    if !facility.is_empty() {
        reading.warn(&tree.place, format!("syslog has no facility \"{facility}\": daemon is used"));
    }
    LogTarget::Syslog("daemon".to_owned())
}

fn to(reading: &mut Reading, tree: &Tree) -> Option<LogTarget> {
    match Jid::new(&tree.text()) {
        Ok(jid) => Some(LogTarget::To(jid)),
        Err(error) => {
            reading.warn(&tree.place, format!("\"{}\" is not a JID ({error}): ignored", tree.text()));
            None
        }
    }
}
