//! The walls of the house, held by a program: which room may import which, where SQL, sockets, clocks and dice may stand,
//! how specs are cited, and that README, sample and man pages keep step with the tables. Plain text work, no crates: a rule
//! that needs a parser is too clever. Each rule carries a snippet it must refuse and one it must let pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail loudly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The floors: a file imports its own room and rooms to its left.
const FLOORS: &[&str] = &[
    "xml", "xmpp", "config", "store", "import", "stream", "http", "router", "modules", "admin", "server", "net",
    "daemon", "main",
];

/// Rooms and roots that may touch sockets, the clock and dice.
const OUTSIDE_WORLD: &[&str] = &["net", "daemon", "main", "jabberctl"];

/// Where one of the outside world's words may stand all the same: the disk helper has a thread of its own to wait on.
const WAITS: &[(&str, &str)] = &[("src/store/disk.rs", "thread::sleep")];

/// Repository path to text.
type Tree = BTreeMap<String, String>;

/// One rule: what it is called, the check, a tree it must refuse, a tree it must let pass.
struct Rule {
    name: &'static str,
    check: fn(&Tree) -> Vec<String>,
    refuses: &'static [&'static [(&'static str, &'static str)]],
    allows: &'static [(&'static str, &'static str)],
}

const RULES: &[Rule] = &[
    Rule {
        name: "floors",
        check: floors,
        refuses: &[
            &[("src/xml/reader.rs", "use crate::xmpp::Jid;\n")],
            &[("src/store/mod.rs", "use crate::{\n    config::Limits,\n    router::{Context, Reply},\n};\n")],
            &[("src/stream/sasl/plain.rs", "fn f() { crate::server::tick(); }\n")],
            &[("src/store/roster.rs", "use super::super::router::Context;\n")],
            &[("src/attic/mod.rs", "")],
        ],
        allows: &[
            ("src/net/tls.rs", "use crate::{config::Config, server::Input};\n// crate::main is above us\n"),
            ("src/store/roster.rs", "use super::Store;\n#[cfg(test)]\nmod tests {\n    use super::super::Store;\n}\n"),
            ("src/main.rs", "use jabber::net;\n"),
        ],
    },
    Rule {
        name: "siblings",
        check: siblings,
        refuses: &[
            &[("src/modules/mam.rs", "use crate::modules::carbons;\n"), ("src/modules/carbons.rs", "")],
            &[("src/modules/mam.rs", "use super::carbons::Copy;\n"), ("src/modules/carbons.rs", "")],
            &[("src/modules/muc/subject.rs", "use super::super::ping;\n"), ("src/modules/ping.rs", "")],
            &[("src/modules/muc/subject.rs", "use crate::modules::{muc, ping};\n"), ("src/modules/ping.rs", "")],
        ],
        allows: &[
            ("src/modules/muc/subject.rs", "use super::Room;\nuse crate::modules::muc::Occupant;\n"),
            ("src/modules/muc/mod.rs", "mod subject;\n"),
            ("src/modules/mod.rs", "pub mod muc;\nuse self::muc::new;\n"),
        ],
    },
    Rule {
        name: "sql",
        check: sql,
        refuses: &[
            &[("src/modules/last.rs", "const Q: &str = \"SELECT at FROM last WHERE jid = ?\";\n")],
            &[("src/router/mod.rs", "use rusqlite::Connection;\n")],
            &[("src/admin/data.rs", "let q = r#\"\n  DELETE FROM offline\"#;\n")],
        ],
        allows: &[
            ("src/store/last.rs", "const Q: &str = \"SELECT at FROM last\";\n"),
            ("src/modules/last.rs", "// SELECT is the store's word\nlet a = \"Select a name\";\n"),
        ],
    },
    Rule {
        name: "outside world",
        check: outside_world,
        refuses: &[
            &[("src/server/timers.rs", "fn f() { let now = Instant::now(); }\n")],
            &[("src/modules/time.rs", "use std::time::SystemTime;\n")],
            &[("src/stream/s2s_out.rs", "use std::net::TcpStream;\n")],
            &[("src/stream/sasl/scram.rs", "let r = ring::rand::SystemRandom::new();\n")],
        ],
        allows: &[
            ("src/net/event_loop.rs", "let now = Instant::now();\nuse mio::net::TcpListener;\n"),
            (
                "src/server/mod.rs",
                "use std::net::SocketAddr;\n#[cfg(test)]\nmod tests {\n    use std::time::Instant; fn f() { Instant::now(); }\n}\n",
            ),
        ],
    },
    Rule {
        name: "unsafe",
        check: unsafe_code,
        refuses: &[&[("src/net/tls.rs", "fn f() { unsafe { g() } }\n")]],
        allows: &[
            ("src/daemon/signals.rs", "unsafe { g() }\n"),
            ("src/lib.rs", "#![deny(unsafe_code)]\n//! unsafe is a word here\n"),
        ],
    },
    Rule {
        name: "citations",
        check: citations,
        refuses: &[
            &[("src/xml/reader.rs", "// see rfc6120\n")],
            &[("src/xml/reader.rs", "// RFC6120 §4\n")],
            &[("src/xml/reader.rs", "/// XEP 0198 says so\n")],
            &[("src/xml/reader.rs", "/// xep-0198 says so\n")],
            &[("src/xml/reader.rs", "/// XEP-198 §5\n")],
            &[("src/xml/reader.rs", "// RFC 6120, Section 4.3\n")],
            &[("src/xml/reader.rs", "// RFC 6120 section 4.3\n")],
            &[("src/xml/reader.rs", "// RFC 6120 § 4.3\n")],
            &[("tests/talks/ping.talk", "## XEP-0199, section 4.2: a ping\n")],
        ],
        allows: &[
            (
                "src/xml/reader.rs",
                "// RFC 6120 §4.3.2 and XEP-0198 §5, RFC 6121 §8.5.2.1.1; XEP-0077; this section is short\n",
            ),
            ("src/xmpp/ns.rs", "const A: &str = \"urn:ietf:rfc6120\"; // RFC 6120 §4\n"),
        ],
    },
    Rule {
        name: "words",
        check: words,
        refuses: &[
            &[("src/net/utils.rs", "")],
            &[("src/router/session_manager.rs", "")],
            &[("src/router/mod.rs", "mod helpers;\n")],
            &[("src/router/mod.rs", "// TODO: later\n")],
            &[("src/router/mod.rs", "/// FIXME\n")],
            &[("src/router/mod.rs", "fn get_session() {}\n")],
        ],
        allows: &[("src/router/sessions.rs", "/// A common case; ask the manager.\nfn forget_session() {}\n")],
    },
    Rule {
        name: "orphans",
        check: orphans,
        refuses: &[
            &[("src/lib.rs", "pub mod xml;\n"), ("src/xml/mod.rs", "mod reader;\n"), ("src/xml/writer.rs", "")],
            &[("src/lib.rs", "// mod xml;\n"), ("src/xml/mod.rs", "")],
        ],
        allows: &[
            ("src/lib.rs", "pub mod xml;\n"),
            ("src/main.rs", ""),
            ("src/xml/mod.rs", "pub(crate) mod reader;\n"),
            ("src/xml/reader.rs", "#[cfg(test)]\nmod tests;\n"),
            ("src/xml/reader/tests.rs", ""),
        ],
    },
    Rule {
        name: "talks",
        check: talks,
        refuses: &[&[("src/modules/ping.rs", ""), ("tests/talks/time.talk", "")]],
        allows: &[("src/modules/muc/mod.rs", ""), ("src/modules/mod.rs", ""), ("tests/talks/muc.talk", "")],
    },
    Rule {
        name: "tables",
        check: tables,
        refuses: &[
            &[
                ("src/modules/mod.rs", "const T: &[Row] = &[(\"mod_ping\", ping::new)];\n"),
                ("README.md", "| a | b |\n"),
            ],
            &[("src/modules/mod.rs", "(\"mod_ping\", ping::new)\n"), ("etc/jabber.xml", "<mod_pong/>\n")],
            &[("src/modules/mod.rs", "(\"mod_ping\", ping::new)\n"), ("man/jabber.xml.5", "mod_pingu\n")],
            &[("src/modules/ping.rs", "specs: &[\"XEP-0199 2.0.1\"],\n"), ("README.md", "nothing\n")],
            &[("src/modules/ping.rs", ""), ("README.md", "| XEP-0199 | Ping |\n")],
        ],
        allows: &[
            ("src/modules/mod.rs", "(\"mod_ping\", ping::new)\n"),
            ("src/modules/ping.rs", "specs: &[\"XEP-0199 2.0.1\"],\n"),
            ("README.md", "| XEP-0199 | Ping | mod_ping |\n"),
            ("etc/jabber.xml", "<mod_ping/>\n"),
            ("man/jabber.xml.5", ".B mod_ping\n"),
        ],
    },
    Rule {
        name: "licences",
        check: licences,
        refuses: &[
            &[("Cargo.lock", "name = \"mio\"\nsource = \"registry\"\n"), ("debian/copyright", "Files: *\n")],
            &[
                ("Cargo.lock", "name = \"mio\"\nsource = \"registry\"\n"),
                ("debian/copyright", "Files: vendor/mio/*\nFiles: vendor/old/*\n"),
            ],
        ],
        allows: &[
            (
                "Cargo.lock",
                "[[package]]\nname = \"jabber\"\nversion = \"3\"\n\n[[package]]\nname = \"mio\"\nsource = \"registry\"\n",
            ),
            (
                "debian/copyright",
                "Comment: under vendor/ or so\nFiles: *\n\nFiles: vendor/mio/*\n vendor/mio-0.8.11/*\n",
            ),
        ],
    },
    Rule {
        name: "versions",
        check: versions,
        refuses: &[&[
            ("Cargo.toml", "version = \"3.0.0\"\n"),
            ("debian/changelog", "jabber (3.0.1) unstable; urgency=medium\n"),
        ]],
        allows: &[
            ("Cargo.toml", "version = \"3.0.0\"\n"),
            ("debian/changelog", "jabber (3.0.0-1) unstable; urgency=medium\n"),
        ],
    },
];

#[test]
fn the_house_is_tidy() {
    let tree = read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.contains_key("src/lib.rs"), "the tree was not found");
    let mut findings = Vec::new();
    for rule in RULES {
        findings.extend((rule.check)(&tree).into_iter().map(|finding| format!("{}: {finding}", rule.name)));
    }
    for line in sizes(&tree) {
        println!("{line}");
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_rule_bites() {
    for rule in RULES {
        for files in rule.refuses {
            assert!(!(rule.check)(&tree(files)).is_empty(), "{} lets pass {files:?}", rule.name);
        }
        assert_eq!((rule.check)(&tree(rule.allows)), Vec::<String>::new(), "{} refuses what is fine", rule.name);
    }
}

#[test]
fn sources_are_split_into_code_comments_and_strings() {
    let rows = [
        ("let a = \"x // y\"; // z\n", "let a =         ;     \n", " z", "x // y"),
        ("a /* b /* c */ d */ e\n", "a                   e\n", " b /* c */ d ", ""),
        ("r#\"a \"b\" c\"# + b\"d\"\n", "             +     \n", "", "a \"b\" c|d"),
        ("'\"' 'a' '\\'' <'a> b\n", "             <'a> b\n", "", ""),
        ("\"a\\\"b\" c\n", "       c\n", "", "a\\\"b"),
    ];
    for (source, code, comments, strings) in rows {
        let parts = split(source);
        let texts = |list: &[(usize, String)]| list.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("|");
        assert_eq!(
            (parts.code.as_str(), texts(&parts.comments).as_str(), texts(&parts.strings).as_str()),
            (code, comments, strings)
        );
    }
}

#[test]
fn long_files_are_listed_without_their_tests() {
    let long = "let a = 1;\n".repeat(700);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "let a = 1;\n".repeat(500), "x();\n".repeat(400));
    let tree = Tree::from([("src/net/a.rs".to_string(), long), ("src/net/b.rs".to_string(), tested)]);
    assert_eq!(sizes(&tree), vec!["src/net/a.rs: 700 lines without tests: is there a seam?"]);
}

// ---- the rules ----

/// Style: a file may import its own room and rooms to its left.
fn floors(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in sources(tree) {
        let room = room(path);
        if ["lib", "main", "jabberctl"].contains(&room) {
            continue;
        }
        let Some(floor) = FLOORS.iter().position(|name| *name == room) else {
            findings.push(format!("{path}: {room} is no room of the house"));
            continue;
        };
        let parts = split(text);
        for (line, target) in crate_imports(&parts.code) {
            let above = FLOORS.iter().position(|name| *name == target).is_some_and(|other| other > floor);
            if above {
                findings.push(format!("{path}:{line}: {room} imports {target}, a floor above"));
            }
        }
        for (line, supers, _) in super_paths(&parts.code) {
            let depth = module_depth(path) + usize::from(line > tests_start(text));
            if supers >= depth {
                findings.push(format!("{path}:{line}: super leaves the room; write crate::"));
            }
        }
    }
    findings
}

/// Modules never import each other; what two share moves down a floor.
fn siblings(tree: &Tree) -> Vec<String> {
    let modules = module_names(tree);
    let mut findings = Vec::new();
    for (path, text) in sources(tree) {
        let Some(own) = module_of(path) else { continue };
        let code = split(text).code;
        let mut targets = paths_after(&code, "crate::modules::");
        for (line, supers, name) in super_paths(&code) {
            let depth = module_depth(path) + usize::from(line > tests_start(text));
            if depth.checked_sub(supers) == Some(1) {
                targets.push((line, name));
            }
        }
        for (line, target) in targets {
            if target != own && modules.contains(target.as_str()) {
                findings.push(format!("{path}:{line}: module {own} imports module {target}"));
            }
        }
    }
    findings
}

/// SQL stands only in store/.
fn sql(tree: &Tree) -> Vec<String> {
    const VERBS: &[&str] = &[
        "SELECT ",
        "INSERT INTO ",
        "INSERT OR ",
        "REPLACE INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "CREATE INDEX ",
        "CREATE UNIQUE ",
        "ALTER TABLE ",
        "DROP TABLE ",
        "PRAGMA ",
        "SAVEPOINT ",
        "WITH RECURSIVE ",
    ];
    let mut findings = Vec::new();
    for (path, text) in sources(tree).filter(|(path, _)| room(path) != "store") {
        let parts = split(text);
        for (line, literal) in &parts.strings {
            let start = literal.trim_start();
            if VERBS.iter().any(|verb| start.starts_with(verb)) {
                findings.push(format!("{path}:{line}: SQL outside store/"));
            }
        }
        for (line, code) in numbered(&parts.code) {
            if has_word(code, "rusqlite") {
                findings.push(format!("{path}:{line}: rusqlite outside store/"));
            }
        }
    }
    findings
}

/// Protocol code is handed bytes, time and random numbers. Its tests may make some themselves.
fn outside_world(tree: &Tree) -> Vec<String> {
    const WORDS: &[&str] = &[
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "UnixStream",
        "UnixListener",
        "UnixDatagram",
        "ToSocketAddrs",
        "mio",
        "Instant::now",
        "SystemTime",
        "OffsetDateTime::now_utc",
        "SystemRandom",
        "getrandom",
        "thread_rng",
        "thread::sleep",
    ];
    let mut findings = Vec::new();
    for (path, text) in sources(tree).filter(|(path, _)| !OUTSIDE_WORLD.contains(&room(path)) && !is_test_file(path)) {
        for (line, code) in numbered(&split(text).code).take_while(|(line, _)| *line < tests_start(text)) {
            for word in WORDS.iter().filter(|word| has_word(code, word) && !WAITS.contains(&(path, word))) {
                findings.push(format!("{path}:{line}: {word} outside net/, daemon/ and the binaries"));
            }
        }
    }
    findings
}

fn unsafe_code(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in sources(tree).filter(|(path, _)| room(path) != "daemon") {
        for (line, code) in numbered(&split(text).code) {
            if has_word(code, "unsafe") {
                findings.push(format!("{path}:{line}: unsafe outside daemon/"));
            }
        }
    }
    findings
}

/// Specs are cited as `RFC 6120 §4.3.2` and `XEP-0198 §5`, so that `make specs` finds them.
fn citations(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree {
        let comments = if path.ends_with(".rs") && path != "tests/tidy.rs" {
            split(text).comments
        } else if path.ends_with(".talk") {
            numbered(text).filter(|(_, line)| line.starts_with('#')).map(|(n, line)| (n, line.to_string())).collect()
        } else {
            continue;
        };
        for (line, comment) in comments {
            if let Some(fault) = citation_fault(&comment) {
                findings.push(format!("{path}:{line}: {fault}"));
            }
        }
    }
    findings
}

/// What is wrong with the citations of a comment.
fn citation_fault(comment: &str) -> Option<String> {
    let lower = comment.to_ascii_lowercase();
    for (at, _) in lower.match_indices("rfc") {
        let rest = lower[at + 3..].trim_start_matches(['-', ' ']);
        let own_word = !lower[..at].ends_with(|c: char| c.is_alphanumeric() || c == ':' || c == '_');
        if own_word && rest.starts_with(|c: char| c.is_ascii_digit()) {
            let written = &comment[at..];
            if !(written.starts_with("RFC ") && written[4..].starts_with(|c: char| c.is_ascii_digit())) {
                return Some("write RFC 6120 §4.3.2".to_string());
            }
        }
    }
    for (at, _) in lower.match_indices("xep") {
        let rest = lower[at + 3..].trim_start_matches(['-', ' ']);
        let own_word = !lower[..at].ends_with(|c: char| c.is_alphanumeric() || c == ':' || c == '_');
        if own_word && rest.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if !(comment[at..].starts_with("XEP-") && digits == 4) {
                return Some("write XEP-0198 §5".to_string());
            }
        }
    }
    for word in ["section ", "sec. ", "chapter "] {
        for (at, _) in lower.match_indices(word) {
            if lower[at + word.len()..].starts_with(|c: char| c.is_ascii_digit()) {
                return Some(format!("write § in place of {}", word.trim_end()));
            }
        }
    }
    comment.contains("§ ").then(|| "no space after §".to_string())
}

/// No names that say nothing, no promises.
fn words(tree: &Tree) -> Vec<String> {
    const NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "misc"];
    let banned = |name: &str| name.split('_').any(|part| NAMES.contains(&part));
    let mut findings = Vec::new();
    for (path, text) in sources(tree) {
        if path.trim_end_matches(".rs").split('/').any(banned) {
            findings.push(format!("{path}: the name says nothing"));
        }
        let parts = split(text);
        for (line, code) in numbered(&parts.code) {
            for (at, _) in code.match_indices("mod ") {
                let name: String = code[at + 4..].chars().take_while(|c| is_ident(*c)).collect();
                if !code[..at].ends_with(is_ident) && banned(&name) {
                    findings.push(format!("{path}:{line}: the name {name} says nothing"));
                }
            }
            if code.contains("fn get_") {
                findings.push(format!("{path}:{line}: no get_: name the thing"));
            }
        }
        for (line, comment) in &parts.comments {
            for word in ["TODO", "FIXME", "XXX"].into_iter().filter(|word| has_word(comment, word)) {
                findings.push(format!("{path}:{line}: {word}: do it, or file it"));
            }
        }
    }
    findings
}

/// Each file is reached by a `mod` of its parent.
fn orphans(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, _) in sources(tree) {
        let inner = path.trim_start_matches("src/");
        let (folder, file) = inner.rsplit_once('/').unwrap_or(("", inner));
        let (parent_folder, name) = match (folder, file.trim_end_matches(".rs")) {
            ("", "lib" | "main" | "jabberctl") => continue,
            (folder, "mod") => folder.rsplit_once('/').unwrap_or(("", folder)),
            (folder, name) => (folder, name),
        };
        let parents = match parent_folder {
            "" => vec!["src/lib.rs".to_string(), "src/main.rs".to_string(), "src/jabberctl.rs".to_string()],
            folder => vec![format!("src/{folder}/mod.rs"), format!("src/{folder}.rs")],
        };
        let reached = parents.iter().filter_map(|parent| tree.get(parent)).any(|text| {
            split(text).code.match_indices(&format!("mod {name}")).any(|(at, found)| {
                let code = &split(text).code;
                let after = code[at + found.len()..].trim_start();
                !code[..at].ends_with(is_ident) && after.starts_with(';')
            })
        });
        if !reached {
            findings.push(format!("{path}: no mod {name}; leads here"));
        }
    }
    findings
}

/// Each module has a talk of its name.
fn talks(tree: &Tree) -> Vec<String> {
    if !tree.keys().any(|path| path.starts_with("tests/talks/")) {
        return Vec::new();
    }
    let missing = module_names(tree).into_iter().map(|name| format!("tests/talks/{name}.talk"));
    missing.filter(|talk| !tree.contains_key(talk)).map(|talk| format!("{talk}: the module has no talk")).collect()
}

/// README, sample and man page name every row of the modules' table, and README's protocols are those the modules claim.
fn tables(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    let table = tree.get("src/modules/mod.rs").map(|text| split(text).strings).unwrap_or_default();
    let rows: BTreeSet<_> = table.iter().map(|(_, name)| name).filter(|name| name.starts_with("mod_")).collect();
    for page in ["README.md", "etc/jabber.xml", "man/jabber.xml.5"] {
        let Some(text) = tree.get(page) else { continue };
        let plain = text.replace("\\-", "-").replace("\\_", "_");
        // A sample without a list of modules has them all.
        if page == "etc/jabber.xml" && !plain.contains("mod_") {
            continue;
        }
        for row in rows.iter().filter(|row| !has_word(&plain, row)) {
            findings.push(format!("{page}: {row} of src/modules/mod.rs is not mentioned"));
        }
    }
    let Some(readme) = tree.get("README.md") else { return findings };
    let mut claimed = BTreeSet::new();
    let mut mentioned = BTreeSet::new();
    for (path, text) in sources(tree) {
        let parts = split(text);
        if module_of(path).is_some() {
            claimed.extend(parts.strings.iter().filter_map(|(_, text)| xep(text)));
        }
        mentioned.extend(parts.strings.iter().chain(&parts.comments).flat_map(|(_, text)| all_xeps(text)));
    }
    let listed: BTreeSet<_> = readme.lines().filter(|line| line.starts_with('|')).flat_map(all_xeps).collect();
    findings.extend(
        claimed.difference(&listed).map(|spec| format!("README.md: {spec} is missing from the table of protocols")),
    );
    findings.extend(
        listed.difference(&mentioned).map(|spec| format!("README.md: {spec} is listed, but nothing in src/ cites it")),
    );
    findings
}

/// `XEP-0199` of a literal like `XEP-0199 2.0.1`, the form in which modules name their specs.
fn xep(literal: &str) -> Option<String> {
    let (name, version) = literal.split_once(' ')?;
    let whole = name.len() == 8 && version.starts_with(|c: char| c.is_ascii_digit());
    all_xeps(name).pop().filter(|_| whole)
}

fn all_xeps(text: &str) -> Vec<String> {
    let digits = |at: usize| text.get(at + 4..at + 8).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    text.match_indices("XEP-").filter_map(|(at, _)| digits(at)).map(|number| format!("XEP-{number}")).collect()
}

/// debian/copyright has a stanza for each crate of Cargo.lock and for no other. `make copyright` renews it.
fn licences(tree: &Tree) -> Vec<String> {
    let (Some(lock), Some(copyright)) = (tree.get("Cargo.lock"), tree.get("debian/copyright")) else {
        return Vec::new();
    };
    let mut needed = BTreeSet::new();
    for package in lock.split("[[package]]").filter(|package| package.contains("\nsource = ")) {
        let name = package.lines().find_map(|line| line.strip_prefix("name = \"")).unwrap_or_default();
        needed.insert(name.trim_end_matches('"').to_string());
    }
    // A crate that is used in two versions has a folder with the version behind its name.
    let crate_of = |folder: &'_ str| match folder.rsplit_once('-') {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name.to_string(),
        _ => folder.to_string(),
    };
    let folders = copyright.split_whitespace().filter_map(|word| word.strip_prefix("vendor/")?.strip_suffix("/*"));
    let written: BTreeSet<_> = folders.map(crate_of).collect();
    let missing =
        needed.difference(&written).map(|name| format!("debian/copyright: no stanza for {name}; run make copyright"));
    missing
        .chain(
            written.difference(&needed).map(|name| format!("debian/copyright: {name} is not used; run make copyright")),
        )
        .collect()
}

/// The crate and the package carry one version.
fn versions(tree: &Tree) -> Vec<String> {
    let (Some(cargo), Some(changelog)) = (tree.get("Cargo.toml"), tree.get("debian/changelog")) else {
        return Vec::new();
    };
    let ours =
        cargo.lines().find_map(|line| line.strip_prefix("version = \"")).unwrap_or_default().trim_end_matches('"');
    let package = changelog.split(['(', ')', '-', '+', '~']).nth(1).unwrap_or_default();
    if ours == package { Vec::new() } else { vec![format!("Cargo.toml says {ours}, debian/changelog {package}")] }
}

/// Files to look at, not a failure.
fn sizes(tree: &Tree) -> Vec<String> {
    let lines = sources(tree).filter(|(path, _)| !is_test_file(path));
    let lines = lines.map(|(path, text)| (path, text.lines().count().min(tests_start(text).saturating_sub(1))));
    lines
        .filter(|(_, count)| *count > 600)
        .map(|(path, n)| format!("{path}: {n} lines without tests: is there a seam?"))
        .collect()
}

// ---- reading sources ----

/// A source text taken apart; lines count from 1, `code` keeps every line and column.
struct Parts {
    code: String,
    comments: Vec<(usize, String)>,
    strings: Vec<(usize, String)>,
}

/// Splits Rust into code, comments and string literals: enough of a lexer not to be fooled by words in strings.
fn split(source: &str) -> Parts {
    let mut parts = Parts { code: String::with_capacity(source.len()), comments: Vec::new(), strings: Vec::new() };
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let after_ident = parts.code.ends_with(is_ident);
        let (length, kind) = token(rest, first, after_ident);
        let text = &rest[..length];
        match kind {
            Kind::Code => parts.code.push_str(text),
            Kind::Comment(from, to) => parts.comments.extend(by_line(line, &text[from..to])),
            Kind::Text(from, to) => parts.strings.push((line, text[from..to].to_string())),
            Kind::Letter => {}
        }
        if !matches!(kind, Kind::Code) {
            parts.code.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        line += text.matches('\n').count();
        rest = &rest[length..];
    }
    parts
}

fn by_line(first: usize, text: &str) -> Vec<(usize, String)> {
    text.lines().enumerate().map(|(offset, line)| (first + offset, line.to_string())).collect()
}

/// What a token is; the numbers are where its content starts and ends.
enum Kind {
    Code,
    Comment(usize, usize),
    Text(usize, usize),
    Letter,
}

/// The token at the start of `rest`: its length in bytes and its kind.
fn token(rest: &str, first: char, after_ident: bool) -> (usize, Kind) {
    if rest.starts_with("//") {
        let end = rest.find('\n').unwrap_or(rest.len());
        return (end, Kind::Comment(2, end));
    }
    if rest.starts_with("/*") {
        let end = block_end(rest);
        return (end, Kind::Comment(2, end.saturating_sub(2).max(2)));
    }
    if !after_ident {
        let prefix = rest.len() - rest.trim_start_matches(['b', 'c', 'r']).len();
        let hashes = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
        let raw = rest[..prefix].ends_with('r');
        if prefix <= 2 && rest[prefix + hashes..].starts_with('"') && (raw || hashes == 0) {
            let start = prefix + hashes + 1;
            let end =
                if raw { rest[start..].find(&format!("\"{}", "#".repeat(hashes))) } else { quote_end(&rest[start..]) };
            let end = start + end.unwrap_or(rest.len() - start);
            return ((end + 1 + hashes).min(rest.len()), Kind::Text(start, end));
        }
    }
    if first == '\'' {
        let mut inner = rest[1..].char_indices();
        match (inner.next(), inner.next()) {
            (Some((_, '\\')), Some((at, _))) => {
                let close = rest[1 + at + 1..].find('\'').map_or(rest.len(), |more| at + more + 3);
                return (close.min(rest.len()), Kind::Letter);
            }
            (Some(_), Some((at, '\''))) => return (at + 2, Kind::Letter),
            _ => {}
        }
    }
    (first.len_utf8(), Kind::Code)
}

fn block_end(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Where an ordinary string literal ends.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end.then_some(at)
    })
}

/// Rooms named after `crate::`, each with its line; groups in braces are looked into.
fn crate_imports(code: &str) -> Vec<(usize, String)> {
    paths_after(code, "crate::")
}

/// First names after `prefix`, each with its line; `prefix{a::b, c}` gives a and c.
fn paths_after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix).filter(|(at, _)| !code[..*at].ends_with(is_ident)) {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + prefix.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group_heads(group),
            None => vec![rest.chars().take_while(|c| is_ident(*c)).collect()],
        };
        found.extend(names.into_iter().map(|name| (line, name)));
    }
    found
}

/// First names of the items of a `use` group whose opening brace has been read.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut head, mut done) = (0, Vec::new(), String::new(), false);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(std::mem::take(&mut head));
                done = false;
            }
            c if depth == 0 && is_ident(c) && !done => head.push(c),
            _ if depth == 0 && !head.is_empty() => done = true,
            _ => {}
        }
    }
    heads.push(head);
    heads.retain(|head| !head.is_empty());
    heads
}

/// Paths that climb: line, how many `super`, the name after them.
fn super_paths(code: &str) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("super::").filter(|(at, _)| !code[..*at].ends_with([':', '_'])) {
        let line = code[..at].matches('\n').count() + 1;
        let tail = code[at..].trim_start_matches("super::");
        let supers = (code.len() - at - tail.len()) / "super::".len();
        let names = match tail.strip_prefix('{') {
            Some(group) => group_heads(group),
            None => vec![tail.chars().take_while(|c| is_ident(*c)).collect()],
        };
        found.extend(names.into_iter().map(|name| (line, supers, name)));
    }
    found
}

/// The line on which the tests of a file start; past its end if it has none.
fn tests_start(text: &str) -> usize {
    let mut lines = numbered(text);
    lines.find(|(_, line)| line.starts_with("#[cfg(test)]")).map_or(usize::MAX, |(line, _)| line)
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Files under src/.
fn sources(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    let files = tree.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    files.filter(|(path, _)| path.starts_with("src/") && path.ends_with(".rs"))
}

/// `xml` of `src/xml/reader.rs`, `main` of `src/main.rs`.
fn room(path: &str) -> &str {
    let inner = path.trim_start_matches("src/");
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

/// How many names the path of a file's module has: `xml::reader` has 2.
fn module_depth(path: &str) -> usize {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.trim_end_matches("/mod").split('/').count()
}

/// `muc` of `src/modules/muc/subject.rs`; none for the table itself.
fn module_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/modules/")?.split('/').next()?.trim_end_matches(".rs");
    (name != "mod" && name != "tests").then_some(name)
}

fn module_names(tree: &Tree) -> BTreeSet<&str> {
    sources(tree).filter_map(|(path, _)| module_of(path)).collect()
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `text` with no letter, digit or underscore beside it.
fn has_word(text: &str, word: &str) -> bool {
    let free = |at: usize| !text[..at].ends_with(is_ident) && !text[at + word.len()..].starts_with(is_ident);
    text.match_indices(word).any(|(at, _)| free(at))
}

fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect()
}

/// Everything the rules look at, read from the checkout.
fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    for folder in ["src", "tests"] {
        read_folder(root, &root.join(folder), &mut tree);
    }
    for file in [
        "README.md",
        "etc/jabber.xml",
        "man/jabber.xml.5",
        "Cargo.toml",
        "Cargo.lock",
        "debian/copyright",
        "debian/changelog",
    ] {
        if let Ok(text) = fs::read_to_string(root.join(file)) {
            tree.insert(file.to_string(), text);
        }
    }
    tree
}

fn read_folder(root: &Path, folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).into_iter().flatten().map_while(Result::ok) {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            read_folder(root, &path, tree);
        } else if [".rs", ".talk"].iter().any(|end| name.to_string_lossy().ends_with(end)) {
            let inside = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            tree.insert(inside, fs::read_to_string(&path).unwrap());
        }
    }
}
