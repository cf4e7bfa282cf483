//! The root's children: instances with their ids, hosts and handlers, and jabberd 1.4's rules for them.

use std::collections::BTreeMap;

use super::error::Place;
use super::hosts::{host_address, host_name};
use super::modules;
use super::reading::{self, Reading, Refusal};
use super::tree::{CORE_NS, Tree};

/// `<service>`, `<xdb>` or `<log>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    Service,
    Xdb,
    Log,
}

/// One instance, checked.
pub(super) struct Section<'t> {
    pub(super) kind: SectionKind,
    pub(super) id: String,
    /// The names in `<host>`, prepared, each with its place.
    pub(super) hosts: Vec<(String, Place)>,
    /// An empty `<host/>`: everything that nobody else has.
    pub(super) takes_rest: bool,
    pub(super) tree: &'t Tree,
}

/// Handlers that stand without a namespace in an instance.
const HANDLERS: &[&str] = &[
    "accept",
    "connect",
    "dir",
    "dynamic",
    "exec",
    "file",
    "format",
    "host",
    "importspool",
    "load",
    "logtype",
    "ns",
    "null",
    "stderr",
    "stdout",
    "syslog",
    "to",
    "unsubscribe",
    "uplink",
];

/// Blocks of module configuration that somebody here reads, with the namespace that 1.4 gives them.
const BLOCKS: &[(&str, &str)] = &[
    ("jsm", "jabber:config:jsm"),
    ("pthcsock", "jabber:config:pth-csock"),
    ("dialback", "jabber:config:dialback"),
    ("dnsrv", "jabber:config:dnsrv"),
    ("jud", "jabber:config:jud"),
    ("xdb_file", "jabber:config:xdb_file"),
    ("xdb_sql", "jabber:config:xdb_sql"),
];

impl Section<'_> {
    /// The functions in `<load>`, with their places.
    pub(super) fn loads(&self) -> impl Iterator<Item = &Tree> {
        let loads = self.tree.children().filter(|child| child.is_core() && child.name == "load");
        loads.flat_map(|load| load.children())
    }

    /// Is this function loaded?
    pub(super) fn loads_function(&self, name: &str) -> bool {
        self.loads().any(|function| function.name == name)
    }

    /// The block of configuration of a module.
    pub(super) fn block(&self, name: &str) -> Option<&Tree> {
        self.tree.children().find(|child| is_block(child, name))
    }

    /// A handler in the core namespace.
    pub(super) fn handler(&self, name: &str) -> Option<&Tree> {
        self.tree.children().find(|child| child.is_core() && child.name == name)
    }

    pub(super) fn handlers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tree> {
        self.tree.children().filter(move |child| child.is_core() && child.name == name)
    }

    /// Keeps users: `jsm` configured or loaded, or the id that everybody gives it.
    pub(super) fn is_sessions(&self) -> bool {
        self.kind == SectionKind::Service
            && (self.block("jsm").is_some() || self.loads_function("jsm") || self.id == "sessions")
    }
}

fn is_block(tree: &Tree, name: &str) -> bool {
    let namespace = BLOCKS.iter().find(|(block, _)| *block == name).map(|(_, ns)| *ns);
    !tree.is_core() && !tree.is_own() && (tree.name == name || namespace == Some(tree.ns.as_str()))
}

/// Checks all instances by jabberd 1.4's rules; what breaks one is a problem of the reading, and leaves the instance out.
pub(super) fn all<'t>(reading: &mut Reading, root: &'t Tree) -> Vec<Section<'t>> {
    let mut ids: BTreeMap<String, Place> = BTreeMap::new();
    let mut sections = Vec::new();
    for tree in root.children().filter(|tree| tree.is_core()) {
        let kind = match tree.name.as_str() {
            "service" => SectionKind::Service,
            "xdb" => SectionKind::Xdb,
            "log" => SectionKind::Log,
            _ => continue,
        };
        let Some(id) = checked_id(reading, tree) else { continue };
        if let Some(first) = ids.get(&id) {
            let found = format!("a second section with the id \"{id}\"; the first is at {first}");
            reading.refuse(
                &tree.place,
                Refusal {
                    what: &format!("Multiple Instances with same id: {id}"),
                    found: &found,
                    expected: "each id only once",
                    remedy: "give one of the two another id, or delete it",
                },
            );
            continue;
        }
        ids.insert(id.clone(), tree.place.clone());
        if let Some(section) = section(reading, kind, id, tree) {
            sections.push(section);
        }
    }
    all_or_none(reading, &sections, SectionKind::Log, "logtype", "log");
    all_or_none(reading, &sections, SectionKind::Xdb, "ns", "xdb");
    sections
}

fn checked_id(reading: &mut Reading, tree: &Tree) -> Option<String> {
    let Some(id) = tree.attribute("id") else {
        reading.refuse(
            &tree.place,
            Refusal {
                what: "Section needs an 'id' attribute",
                found: &format!("<{}> without id=", tree.name),
                expected: &format!("<{} id=\"name\">", tree.name),
                remedy: "give it a name of its own: sessions, c2s, or the address of a component",
            },
        );
        return None;
    };
    if tree.children().next().is_none() {
        reading.refuse(
            &tree.place,
            Refusal {
                what: "Section Has no data in it",
                found: &format!("<{} id=\"{id}\"> without anything inside", tree.name),
                expected: "at least one element that says what it does",
                remedy: "fill it or delete it; is its content commented out?",
            },
        );
        return None;
    }
    match host_name(id) {
        Ok(name) => Some(name),
        Err(why) => {
            reading.refuse(
                &tree.place,
                Refusal {
                    what: &format!("The id \"{id}\" is not a host name"),
                    found: &format!("id=\"{id}\": {why}"),
                    expected: "letters, digits, dots and hyphens",
                    remedy: "take blanks and other characters out of the id",
                },
            );
            None
        }
    }
}

fn section<'t>(reading: &mut Reading, kind: SectionKind, id: String, tree: &'t Tree) -> Option<Section<'t>> {
    let problems = reading.problems.len();
    let mut section = Section { kind, id, hosts: Vec::new(), takes_rest: false, tree };
    reading.stray_text(tree);
    for child in tree.children() {
        if child.is_own() {
            reading.unknown(child, &tree.tag(), &[]);
        } else if !child.is_core() {
            foreign_block(reading, child);
        } else if child.name == "host" {
            host(reading, child, &mut section);
        } else if !HANDLERS.contains(&child.name.as_str()) {
            unknown_handler(reading, child, tree);
        }
    }
    (reading.problems.len() == problems).then_some(section)
}

fn host(reading: &mut Reading, tree: &Tree, section: &mut Section<'_>) {
    let text = tree.raw_text();
    if text.trim().is_empty() {
        section.takes_rest = true;
        return;
    }
    let refusal = if text.contains(char::is_whitespace) {
        Some((
            "The host tag contains illegal whitespace.".to_owned(),
            "one name without blanks or line breaks".to_owned(),
        ))
    } else {
        match host_name(&text).and_then(servable) {
            Ok(name) => {
                section.hosts.push((name, tree.place.clone()));
                None
            }
            Err(why) => {
                Some((format!("The host name \"{text}\" is not legal"), format!("a name or an address; {why}")))
            }
        }
    };
    if let Some((what, expected)) = refusal {
        reading.refuse(
            &tree.place,
            Refusal {
                what: &what,
                found: &format!("<host>{text}</host>"),
                expected: &expected,
                remedy: &format!("write <host>{}</host>; for several hosts, one <host> each", meant_host(&text)),
            },
        );
    }
}

/// A name is not served that nobody can find: the sign for any name, or what others take for an address (RFC 3696 §2).
fn servable(name: String) -> Result<String, String> {
    if name.contains('*') {
        return Err("'*' stands for no name; <host/> takes what no other section names".to_owned());
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if host_address(&name).is_none() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it ends as an address does, and is none".to_owned());
    }
    Ok(name)
}

/// The name in what people write into `<host>`: in a link, with a port, in somebody's address.
fn meant_host(text: &str) -> String {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split('/').next().unwrap_or_default();
    let text = text.rsplit('@').next().unwrap_or_default();
    let text = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(text, |(name, _)| name);
    let is_plain = text.contains('.') || text == "localhost";
    let text = text.trim_start_matches("*.");
    host_name(text).and_then(servable).ok().filter(|_| is_plain).unwrap_or_else(|| "chat.example.org".to_owned())
}

/// A child with a namespace of its own is a module's configuration, and no error even if no module wants it.
fn foreign_block(reading: &mut Reading, tree: &Tree) {
    if !BLOCKS.iter().any(|(name, _)| is_block(tree, name)) {
        reading.without_effect(tree, &format!("no module reads configuration in {}", tree.ns));
    }
}

fn unknown_handler(reading: &mut Reading, tree: &Tree, parent: &Tree) {
    let name = &tree.name;
    let block = BLOCKS.iter().find(|(block, _)| block == name);
    let (expected, remedy) = match block {
        Some((_, ns)) => {
            (format!("<{name} xmlns=\"{ns}\">"), format!("add xmlns=\"{ns}\" to the tag: without it, it is not seen"))
        }
        None => (
            "host, load, accept, connect, null, file, ... or an element with xmlns=".to_owned(),
            format!("correct the name or delete it; jabber.xml(5) lists what <{}> may contain", parent.name),
        ),
    };
    reading.refuse(
        &tree.place,
        Refusal {
            what: &format!("Unknown Base Tag: {name}"),
            found: &format!("<{name}> in {}", parent.tag()),
            expected: &expected,
            remedy: &remedy,
        },
    );
}

/// `<logtype>` and `<ns>`: used in all sections of their kind or in none.
fn all_or_none(reading: &mut Reading, sections: &[Section<'_>], kind: SectionKind, name: &str, section_name: &str) {
    let of_kind = || sections.iter().filter(|section| section.kind == kind);
    let with = of_kind().filter(|section| section.handler(name).is_some()).count();
    let Some(without) = of_kind().find(|section| section.handler(name).is_none()) else { return };
    if with == 0 {
        return;
    }
    let place = without.tree.place.clone();
    let tag = without.tree.tag();
    reading.refuse(
        &place,
        Refusal {
            what: &format!(
                "Configuration Error!  If <{name}> is used in any {section_name} section, it must be used in all sections."
            ),
            found: &format!("{tag} without <{name}>, while another {section_name} section has one"),
            expected: &format!("<{name}/> for everything else, or <{name}>...</{name}>"),
            remedy: &format!("add <{name}/> to {tag}"),
        },
    );
}

/// The root's children that nobody knows: jabberd 1.4 did not start with them.
pub(super) fn refuse_unknown(reading: &mut Reading, root: &Tree, known: &[&str], own: &[&str]) {
    reading.stray_text(root);
    if !root.is_core() {
        let (tag, ns) = (&root.name, &root.ns);
        return reading.refuse(
            &root.place,
            Refusal {
                what: &format!("the namespace of <{tag}> is unknown"),
                found: &format!("<{tag} xmlns=\"{ns}\">"),
                expected: &format!("<{tag}>, or jabberd 1.6's <{tag} xmlns=\"{CORE_NS}\">"),
                remedy: &format!("delete xmlns=\"{ns}\" from the tag"),
            },
        );
    }
    for tree in root.children() {
        let name = tree.name.as_str();
        if tree.is_own() || (tree.is_core() && known.contains(&name)) {
            continue;
        }
        let block = BLOCKS.iter().find(|(block, _)| *block == name);
        let remedy = match block {
            _ if own.contains(&name) => {
                format!("write <{name} xmlns=\"{}\">", super::OWN_NS)
            }
            Some(_) => format!("put <{name}> inside a <service id=\"...\">"),
            None if HANDLERS.contains(&name) => format!("put <{name}> inside a <service>, <xdb> or <log>"),
            None => "correct the name or delete it; is a start or an end tag above it missing?".to_owned(),
        };
        let found = if tree.ns.is_empty() || tree.ns == CORE_NS {
            format!("<{name}> as a child of <{}>", root.name)
        } else {
            format!("<{name} xmlns=\"{}\"> as a child of <{}>", tree.ns, root.name)
        };
        reading.refuse(
            &tree.place,
            Refusal {
                what: &format!("Invalid Tag type: {name}"),
                found: &found,
                expected: "service, xdb, log, io, pidfile, debug, global",
                remedy: &remedy,
            },
        );
    }
}

/// The modules that `<load>` of a sessions section names.
pub(super) fn session_modules(reading: &mut Reading, section: &Section<'_>) -> modules::Modules {
    if !section.tree.children().any(|child| child.is_core() && child.name == "load") {
        return modules::Modules::default();
    }
    let mut named = std::collections::BTreeSet::new();
    for function in section.loads() {
        let name = function.name.as_str();
        let is_known = [modules::CLASSIC, modules::LATER, modules::ON_REQUEST].iter().any(|list| list.contains(&name));
        if name == "jsm" {
            continue;
        }
        if modules::RETIRED.contains(&name) {
            reading.without_effect(function, "this module has nothing to do here");
        } else if !is_known && name.starts_with("mod_auth") {
            foreign_accounts(reading, function, "a module that checks passwords elsewhere");
        } else if !is_known {
            let all = [modules::CLASSIC, modules::LATER, modules::ON_REQUEST].concat();
            let hint = reading::meant(name, &all);
            let why = format!("no module has this name, and none is loaded from a file{hint}");
            reading.without_effect(function, &why);
        }
        named.insert(name.to_owned());
    }
    modules::Modules { named: Some(named), ..modules::Modules::default() }
}

/// Accounts that live elsewhere: starting without them would look like losing them.
pub(super) fn foreign_accounts(reading: &mut Reading, tree: &Tree, what: &str) {
    let name = &tree.name;
    reading.refuse(
        &tree.place,
        Refusal {
            what: &format!("Executing {name}() failed: {what} cannot be used"),
            found: &format!("<{name}>"),
            expected: "accounts in jabberd's own store (xdb_file, mod_auth_plain, mod_auth_digest)",
            remedy: "export the accounts to a file spool, name it in <xdb_file><spool>, and delete this element; \
                     jabberd(8) has the steps",
        },
    );
}
