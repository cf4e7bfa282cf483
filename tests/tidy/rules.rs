//! The rules: each looks at the whole tree and says what is wrong with it, a line per finding.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{
    Tree, crate_imports, has_word, is_ident, is_test_file, module_depth, module_names, module_of, numbered,
    paths_after, room, sources, split, super_paths, tests_start,
};

/// The floors: a file imports its own room and rooms to its left.
const FLOORS: &[&str] = &[
    "xml", "xmpp", "config", "store", "import", "stream", "http", "router", "modules", "admin", "server", "net",
    "daemon", "main",
];

/// Rooms and roots that may touch sockets, the clock and dice.
const OUTSIDE_WORLD: &[&str] = &["net", "daemon", "main", "jabberctl"];

/// Where one of the outside world's words may stand all the same: the disk helper has a thread of its own to wait on,
/// and nobody is served yet, or by this process, while a copy is made.
const WAITS: &[(&str, &str)] =
    &[("src/store/disk.rs", "thread::sleep"), ("src/store/backup/automatic.rs", "thread::sleep")];

/// Style: a file may import its own room and rooms to its left.
pub fn floors(tree: &Tree) -> Vec<String> {
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
pub fn siblings(tree: &Tree) -> Vec<String> {
    let modules = module_names(tree);
    let mut findings = Vec::new();
    for (path, text) in sources(tree) {
        let Some(own) = module_of(path) else { continue };
        let parts = split(text);
        let code = &parts.code;
        let mut targets = paths_after(code, "crate::modules::");
        for (line, supers, name) in super_paths(code) {
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
pub fn sql(tree: &Tree) -> Vec<String> {
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
pub fn outside_world(tree: &Tree) -> Vec<String> {
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

/// What a peer makes a stream write to the log has a mark, by which so much of it is written in a minute. A component's own
/// `<log>` packets have none: the admin wants them.
pub fn rations(tree: &Tree) -> Vec<String> {
    const MARKS: [&str; 4] = ["strangers =", "scanners =", "servers =", "users ="];
    const OWN_LINES: &str = "src/stream/component/packets.rs";
    let mut findings = Vec::new();
    for (path, text) in sources(tree).filter(|(path, _)| room(path) == "stream" && *path != OWN_LINES) {
        let code = &split(text).code;
        for call in ["log::info!", "log::warn!", "log::error!"] {
            for (at, _) in code.match_indices(call) {
                let keys = code[at..].split(';').next().unwrap_or_default();
                if !MARKS.iter().any(|mark| keys.contains(mark)) {
                    let line = code[..at].matches('\n').count() + 1;
                    findings
                        .push(format!("{path}:{line}: a line that peers can bring about has no mark, so no ration"));
                }
            }
        }
    }
    findings
}

pub fn unsafe_code(tree: &Tree) -> Vec<String> {
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
pub fn citations(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree {
        let comments = if path.ends_with(".rs") && !path.starts_with("tests/tidy") {
            split(text).comments.clone()
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

/// What jabberd 1.4 did wrong has a test each that shows it is not done here: `tests/defects.txt` says where, a line each of
/// number, file and a phrase of it, then what it was.
pub fn defects(tree: &Tree) -> Vec<String> {
    const LIST: &str = "tests/defects.txt";
    let Some(list) = tree.get(LIST) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut numbers = BTreeSet::new();
    for (number, line) in numbered(list).filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let mut parts = line.splitn(4, " | ");
        let (Some(defect), Some(file), Some(phrase), Some(_)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            findings.push(format!("{LIST}:{number}: not NUMBER | FILE | PHRASE | DEFECT"));
            continue;
        };
        numbers.insert(defect.trim());
        if !tree.get(file.trim()).is_some_and(|text| text.contains(phrase.trim())) {
            findings.push(format!("{LIST}:{number}: {file} has no \"{phrase}\""));
        }
    }
    let all = (1..=33).map(|number: u32| number.to_string()).chain(["31a".to_string()]);
    findings.extend(
        all.filter(|number| !numbers.contains(number.as_str())).map(|number| format!("{LIST}: where is {number}?")),
    );
    findings
}

/// What the readers of jabber.xml know, and jabber.xml(5) explains, has a line in tests/elements.txt; what does something
/// has a test of its effect there, not one of its reading.
pub fn elements(tree: &Tree) -> Vec<String> {
    const LIST: &str = "tests/elements.txt";
    let Some(list) = tree.get(LIST) else { return Vec::new() };
    let page = tree.get("man/jabber.xml.5").map(String::as_str).unwrap_or_default();
    let mut findings = Vec::new();
    let mut listed = BTreeSet::new();
    for (number, line) in numbered(list).filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let mut parts = line.splitn(4, " | ");
        let (Some(path), Some(code), Some(file), Some(phrase)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            findings.push(format!("{LIST}:{number}: not PATH | CODE | FILE | PHRASE"));
            continue;
        };
        let name = path.split(' ').next().unwrap_or_default().rsplit(['/', '@', '=', ':']).next().unwrap_or_default();
        listed.insert(name);
        if !tree.get(file).is_some_and(|text| text.contains(phrase)) {
            findings.push(format!("{LIST}:{number}: {file} has no \"{phrase}\""));
        }
        if !["H", "+", "N", "B", "S", "X"].contains(&code) {
            findings.push(format!("{LIST}:{number}: {code} is no code"));
        } else if ["H", "+"].contains(&code) && file.starts_with("src/config/") {
            findings.push(format!("{LIST}:{number}: {path} has a test of its reading, not of its effect"));
        }
        if !has_word(page, name) {
            findings.push(format!("{LIST}:{number}: man/jabber.xml.5 does not speak of {name}"));
        }
    }
    let mut known: Vec<(String, String)> = Vec::new();
    for (path, text) in sources(tree).filter(|(path, _)| path.starts_with("src/config/") && !is_test_file(path)) {
        // Not about elements.
        if ["cmdline.rs", "document.rs", "slips.rs"].iter().any(|other| path.ends_with(other)) {
            continue;
        }
        for (number, line) in numbered(text).take_while(|(number, _)| *number < tests_start(text)) {
            known.extend(element_names(line).map(|name| (format!("{path}:{number}"), name.to_string())));
        }
    }
    for (number, line) in numbered(page) {
        let names = line.strip_prefix(".It Ic ").unwrap_or_default().split(" Pq ").next().unwrap_or_default();
        let is_element = |name: &&str| name.starts_with(|c: char| c.is_lowercase()) && !name.contains(' ');
        let names =
            names.split(" , ").map(|name| name.trim_start_matches("Ic ").rsplit(':').next().unwrap_or_default());
        known.extend(names.filter(is_element).map(|name| (format!("man/jabber.xml.5:{number}"), name.to_string())));
    }
    let missing = known.into_iter().filter(|(_, name)| !listed.contains(name.as_str()));
    findings.extend(missing.map(|(place, name)| format!("{place}: {name} has no line in {LIST}")));
    findings
}

/// The names of elements and attributes that a line of a reader looks for: `"name" =>`, `"one" | "other" =>`, `"name",` in a
/// list, `child("name")` and the like, and the bounds of the table of limits.
fn element_names(line: &str) -> impl Iterator<Item = &str> {
    const CALLS: &[&str] = &[
        "attribute(",
        "child(",
        "child_text(",
        "handler(",
        "handlers(",
        "block(",
        "function(",
        "tree, ",
        "ACL_NS, ",
        "name == ",
    ];
    let is_name = |name: &&str| {
        name.len() > 1 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) && !name.starts_with('-')
    };
    let trimmed = line.trim();
    let arm = trimmed.split_once("=>").map(|(arm, _)| arm.split(" if ").next().unwrap_or_default().trim());
    let is_arm = arm.is_some_and(|arm| arm.starts_with('"') && arm.ends_with('"'));
    let is_row = trimmed.starts_with('"') && trimmed.ends_with("\",") && trimmed.matches('"').count() == 2;
    let is_bound = trimmed.contains(": usize = ") || trimmed.contains(": u64 = ");
    let is_list = trimmed.contains("&[\"mod_");
    let quoted = line.split('"').collect::<Vec<_>>();
    let taken = if is_arm { line.split("=>").next().map_or(0, |arm| arm.matches('"').count()) } else { usize::MAX };
    let found: Vec<&str> = quoted
        .windows(2)
        .enumerate()
        .filter(|(at, _)| at % 2 == 0)
        .filter(|(at, pair)| {
            let is_called = CALLS.iter().any(|call| pair[0].ends_with(call));
            (is_arm && *at < taken) || is_row || is_bound || is_list || is_called
        })
        .map(|(_, pair)| pair[1])
        .filter(is_name)
        .collect();
    found.into_iter()
}

/// No names that say nothing, no promises.
pub fn words(tree: &Tree) -> Vec<String> {
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
pub fn orphans(tree: &Tree) -> Vec<String> {
    let codes: BTreeMap<_, _> = sources(tree).map(|(path, text)| (path, split(text).code.clone())).collect();
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
        let reached = parents.iter().filter_map(|parent| codes.get(parent.as_str())).any(|code| {
            code.match_indices(&format!("mod {name}")).any(|(at, found)| {
                !code[..at].ends_with(is_ident) && code[at + found.len()..].trim_start().starts_with(';')
            })
        });
        if !reached {
            findings.push(format!("{path}: no mod {name}; leads here"));
        }
    }
    findings
}

/// Each module has a talk of its name.
pub fn talks(tree: &Tree) -> Vec<String> {
    if !tree.keys().any(|path| path.starts_with("tests/talks/")) {
        return Vec::new();
    }
    let missing = module_names(tree).into_iter().map(|name| format!("tests/talks/{name}.talk"));
    missing.filter(|talk| !tree.contains_key(talk)).map(|talk| format!("{talk}: the module has no talk")).collect()
}

/// README, sample and man page name every row of the modules' table, and README's protocols are those the modules claim.
pub fn tables(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    let table = tree.get("src/modules/mod.rs").map(|text| split(text).strings.clone()).unwrap_or_default();
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
pub fn licences(tree: &Tree) -> Vec<String> {
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
    // A folder within a crate that came from elsewhere has a stanza of its own.
    let folders = folders.filter(|folder| !folder.contains('/'));
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
pub fn versions(tree: &Tree) -> Vec<String> {
    let (Some(cargo), Some(changelog)) = (tree.get("Cargo.toml"), tree.get("debian/changelog")) else {
        return Vec::new();
    };
    let ours =
        cargo.lines().find_map(|line| line.strip_prefix("version = \"")).unwrap_or_default().trim_end_matches('"');
    let package = changelog.split(['(', ')', '-', '+', '~']).nth(1).unwrap_or_default();
    if ours == package { Vec::new() } else { vec![format!("Cargo.toml says {ours}, debian/changelog {package}")] }
}

/// Files to look at, not a failure.
pub fn sizes(tree: &Tree) -> Vec<String> {
    let lines = sources(tree).filter(|(path, _)| !is_test_file(path));
    let lines = lines.map(|(path, text)| (path, text.lines().count().min(tests_start(text).saturating_sub(1))));
    lines
        .filter(|(_, count)| *count > 600)
        .map(|(path, n)| format!("{path}: {n} lines without tests: is there a seam?"))
        .collect()
}
