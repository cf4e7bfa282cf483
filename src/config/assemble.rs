//! The whole file: sections in the order that they need each other, then what holds between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Place};
use super::federation::Federation;
use super::hosts::{Host, host_address};
use super::listen::{Listener, ListenerKind};
use super::reading::{Reading, Refusal};
use super::sections::{self, Section, SectionKind};
use super::tree::{CORE_NS, Tree};
use super::{
    Config, Source, blocks, io, jsm, logging, old_directory, options, own_services, pthcsock, replace, servers,
    services, storage,
};

const CORE: &[&str] = &["service", "xdb", "log", "io", "pidfile", "debug", "global", "base", "user"];

/// A text and nothing beside it but what it includes.
pub(super) fn from_text(text: &str, source: &Source) -> Result<Config, Error> {
    let mut reading = Reading::new(source.clone());
    let file: Arc<Path> = Arc::from(source.file.as_path());
    let root = replace::text_tree(&mut reading, text, &file)?;
    finish(reading, root)
}

/// The main file, the files of `-i`, and conf.d.
pub(super) fn from_files(path: &Path, source: Source) -> Result<Config, Error> {
    let mut reading = Reading::new(source);
    let root = replace::main_file(&mut reading, path)?;
    let mut root = replace::resolve(&mut reading, root);
    replace::add_files(&mut reading, &mut root, path);
    config(reading, &root)
}

fn finish(mut reading: Reading, root: Tree) -> Result<Config, Error> {
    let root = replace::resolve(&mut reading, root);
    config(reading, &root)
}

fn config(mut reading: Reading, root: &Tree) -> Result<Config, Error> {
    let reading = &mut reading;
    reading.is_namespaced = root.ns == CORE_NS;
    let mut config = Config::for_host("");
    config.hosts.clear();
    config.services.clear();
    config.file = reading.source.file.clone();
    config.files = reading.texts.iter().map(|(file, _)| file.to_path_buf()).collect();
    for warning in reading.source.command_line.warnings.clone() {
        reading.warn(&Place::whole(Path::new("")), warning);
    }
    sections::refuse_unknown(reading, root, CORE, options::NAMES);
    let sections = sections::all(reading, root);
    let mut io = io::Io::default();
    let mut grants = super::Grants::default();
    // Own elements first: listeners need the bounds.
    for child in root.children().filter(|child| child.is_own()) {
        options::read(reading, child, &mut config);
    }
    for child in root.children().filter(|child| child.is_core()) {
        match child.name.as_str() {
            "io" => io::read(reading, child, &mut io),
            "pidfile" => config.pidfile = Some(child.text()).filter(|text| !text.is_empty()).map(|t| reading.path(&t)),
            "debug" => config.debug |= debug(reading, child),
            "user" => config.user = Some(child.text()).filter(|name| !name.is_empty()),
            "global" => global(reading, child, &mut grants),
            _ => {}
        }
    }
    hosts(reading, &sections, &grants, &mut config);
    doors(reading, &sections, &mut config);
    own_services::settle(reading, &mut config);
    rates(&io, &mut config);
    let storage = storage::read(reading, &sections, &config.limits);
    config.spool = storage.spool;
    config.other_spools = storage.others;
    config.hashed_spool = storage.hashed;
    if let Some(bytes) = storage.offline_bytes {
        config.limits.offline_bytes_max = bytes;
    }
    config.logs = logging::read(reading, &sections);
    config.certificates.extend(io.certificates);
    config.authorities = io.authorities;
    (config.access, config.bind, config.bounce) = (io.access, io.bind, io.bounce);
    command_line(reading, &mut config);
    between(reading, &mut config, root);
    reading.in_file_order();
    reading.verdict()?;
    config.notices = std::mem::take(&mut reading.notices);
    Ok(config)
}

/// `<debug><mask>`: numbers OR-ed, any bit means on.
fn debug(reading: &mut Reading, tree: &Tree) -> bool {
    let mut is_on = false;
    for child in tree.children() {
        match child.name.as_str() {
            "mask" => is_on |= reading.number::<i64>(child).unwrap_or(0) != 0,
            "facility" => {}
            _ => reading.unknown(child, "<debug>", &["mask", "facility"]),
        }
    }
    is_on
}

fn global(reading: &mut Reading, tree: &Tree, grants: &mut super::Grants) {
    for child in tree.children() {
        match child.name.as_str() {
            "locales" => {}
            "acl" => {
                let read = jsm::acl(reading, child);
                grants.0.extend(read.0);
            }
            _ => reading.unknown(child, "<global>", &["locales", "acl"]),
        }
    }
}

/// The hosts of all sessions sections.
fn hosts(reading: &mut Reading, all: &[Section<'_>], grants: &super::Grants, config: &mut Config) {
    let sessions: Vec<&Section<'_>> = all.iter().filter(|section| section.is_sessions()).collect();
    for section in &sessions {
        let modules = sections::session_modules(reading, section);
        let mut template = jsm::read(reading, section.block("jsm"), modules);
        template.admins.extend(jsm::admins_of(grants));
        template.grants.0.extend(grants.0.iter().cloned());
        let mut names = section.hosts.clone();
        // 1.4: the id is an address, too. `sessions` is nobody's domain, but `chat.example.org` may be meant.
        if names.is_empty() && (section.id.contains('.') || host_address(&section.id).is_some()) {
            names.push((section.id.clone(), section.tree.place.clone()));
        }
        if names.is_empty() {
            refuse_hostless(reading, section);
        }
        for (name, place) in names {
            if config.host(&name).is_some() {
                reading.warn(&place, format!("the host {name} is named twice: only the first counts"));
                continue;
            }
            config.hosts.push(Host { name, ..template.clone() });
        }
    }
    if sessions.is_empty() {
        refuse_without_sessions(reading);
    }
}

fn refuse_hostless(reading: &mut Reading, section: &Section<'_>) {
    let tag = section.tree.tag();
    reading.refuse(
        &section.tree.place,
        Refusal {
            what: "no <host> for the sessions",
            found: &format!("{tag} without the name of a host"),
            expected: "<host>chat.example.org</host>",
            remedy: "write the domain or address that people's addresses end in",
        },
    );
}

fn refuse_without_sessions(reading: &mut Reading) {
    // An instance that is already refused may be the one that is missing.
    if !reading.problems.is_empty() {
        return;
    }
    let place = Place::whole(reading.source.file.as_path());
    reading.refuse(
        &place,
        Refusal {
            what: "no sessions section",
            found: "no <service> with <jsm xmlns=\"jabber:config:jsm\">",
            expected: "<service id=\"sessions\"><host>chat.example.org</host> ... </service>",
            remedy: "start from the example in /usr/share/jabber/jabber.xml",
        },
    );
}

/// Listeners, aliases, other servers, components.
fn doors(reading: &mut Reading, all: &[Section<'_>], config: &mut Config) {
    let services = || all.iter().filter(|section| section.kind == SectionKind::Service && !section.is_sessions());
    let ids: BTreeSet<String> = services().map(|section| section.id.clone()).collect();
    let mut has_clients = false;
    for section in services() {
        if let Some(block) = section.block("pthcsock") {
            let (listeners, aliases) = pthcsock::read(reading, block, &config.limits);
            config.listeners.extend(listeners);
            config.aliases.extend(aliases);
            has_clients = true;
        } else if section.loads_function("pthsock_client") {
            // Loaded and not configured: the default ports.
        } else if let Some(block) = section.block("dialback") {
            let federation = config.federation.get_or_insert_with(Federation::default);
            let listeners = servers::dialback(reading, block, federation, &config.limits);
            config.listeners.extend(listeners);
        } else if let Some(block) = section.block("dnsrv") {
            let mut federation = config.federation.take();
            servers::dnsrv(reading, block, federation.get_or_insert_with(Federation::default), &ids);
            config.federation = federation;
        } else if section.loads_function("dialback") {
            config.federation.get_or_insert_with(Federation::default);
            config.listeners.push(servers::default_port(&section.tree.place, &config.limits));
        } else if section.loads_function("dnsrv") {
            config.federation.get_or_insert_with(Federation::default).resolves = true;
        } else if let Some(directory) = old_directory::read(reading, section, &config.hosts) {
            config.old_directories.push(directory);
        } else {
            let component = services::read(reading, section);
            for block in component.iter().flat_map(blocks::of_component) {
                // <block> says more, and counts.
                if config.blocks.exactly(&block.domain).is_none() {
                    config.blocks.insert(block);
                }
            }
            for listener in component.iter().filter_map(|component| services::listener(component, &config.limits)) {
                config.listeners.push(listener);
            }
            config.components.extend(component);
        }
    }
    if !has_clients {
        let place = Place::whole(reading.source.file.as_path());
        let mut defaults = pthcsock::defaults(&place);
        for listener in &mut defaults {
            listener.auth_seconds = config.limits.auth_seconds;
        }
        config.listeners.extend(defaults);
    }
}

/// What `<io>` says of all ports.
fn rates(io: &io::Io, config: &mut Config) {
    for listener in &mut config.listeners {
        listener.rate = listener.rate.or(io.rate);
        if !matches!(listener.kind, ListenerKind::Component | ListenerKind::Bytestreams) {
            listener.karma = listener.karma.or(io.karma);
        }
    }
}

/// Addresses that two want.
fn between_components(reading: &mut Reading, config: &Config) {
    let mut owners: BTreeMap<&str, &Place> = BTreeMap::new();
    for component in &config.components {
        for host in &component.hosts {
            if config.host(host).is_some() {
                let text = format!("{host} is a host with users and a component at once: the users win");
                reading.warn(&component.place, text);
            } else if let Some(first) = owners.get(host.as_str()) {
                let text = format!("{host} is an address of the service at {first}, too: that one gets everything");
                reading.warn(&component.place, text);
            } else {
                owners.insert(host, &component.place);
            }
        }
    }
    for component in config.components.iter().filter(|component| component.takes_rest && config.federation.is_some()) {
        let text = "this service wants what nobody else takes, but other servers get that (<dialback>, <dnsrv>)";
        reading.warn(&component.place, text);
    }
}

/// What the command line adds or takes.
fn command_line(reading: &mut Reading, config: &mut Config) {
    let line = reading.source.command_line.clone();
    config.debug |= line.debug;
    if line.user.is_some() {
        config.user = line.user;
    }
    let nowhere = Place::whole(Path::new(""));
    for (flag, what) in [("h", "the host"), ("s", "the spool")] {
        let Some(value) = line.flags.get(flag).filter(|_| !reading.flags_used.contains(flag)) else { continue };
        let is_there = match flag {
            "h" => config.host(value).is_some(),
            _ => config.spool == reading.path(value),
        };
        if !is_there {
            let file = reading.source.file.display().to_string();
            let text = format!(
                "-{flag} {value} has no effect: {file} names {what} itself, without <jabberd:cmdline flag=\"{flag}\">"
            );
            reading.notice(&nowhere, text);
        }
    }
}

/// A port is opened once at each address; who listens on all addresses has it everywhere.
fn ports(reading: &mut Reading, config: &Config) {
    let overlap = |one: &Listener, other: &Listener| match (one.address, other.address) {
        _ if one.port != other.port => false,
        (Some(one), Some(other)) => {
            one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
        }
        _ => true,
    };
    for (number, listener) in config.listeners.iter().enumerate() {
        let Some(first) = config.listeners.iter().take(number).find(|first| overlap(first, listener)) else { continue };
        let address = |listener: &Listener| {
            listener.address.map_or("all addresses".to_owned(), |address| format!("the address {address}"))
        };
        let found = if first.address == listener.address {
            format!("two elements that listen on port {}", listener.port)
        } else {
            format!("port {} on {}, while that one has it on {}", listener.port, address(listener), address(first))
        };
        let text = format!("port {} is already taken by {}", listener.port, first.place);
        reading.refuse(
            &listener.place,
            Refusal {
                what: &text,
                found: &found,
                expected: "each port once",
                remedy: "delete one of them, or give it another port",
            },
        );
    }
}

/// What only shows when everything is read.
fn between(reading: &mut Reading, config: &mut Config, root: &Tree) {
    for alias in &config.aliases {
        if config.host(&alias.host).is_none() {
            let text = format!("<alias to=\"{}\"> names a host that is not served here", alias.host);
            reading.warn(&root.place, text);
        }
    }
    ports(reading, config);
    between_components(reading, config);
    for host in config.hosts.iter().filter(|host| config.blocks.exactly(&host.name).is_some()) {
        // A component of this name was told of above.
        if !config.components.iter().any(|component| component.hosts.contains(&host.name)) {
            let text =
                format!("<block> names {}, which is served here: its users chat with each other still", host.name);
            reading.warn(&root.place, text);
        }
    }
    let servers = config.federation.as_ref().is_some_and(|federation| !federation.resolves);
    if servers && config.listeners.iter().any(|listener| listener.kind == ListenerKind::S2s) {
        reading.notice(&root.place, "there is no <dnsrv>: other servers can reach us, but are not looked up");
    }
}
