//! Reading the checkout: files by path, Rust taken apart into code, comments and strings, and what imports name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::rc::Rc;

/// Repository path to text.
pub type Tree = BTreeMap<String, String>;

/// A source text taken apart; lines count from 1, `code` keeps every line and column.
pub struct Parts {
    pub code: String,
    pub comments: Vec<(usize, String)>,
    pub strings: Vec<(usize, String)>,
}

thread_local! {
    /// What was split already: each rule asks for each file anew.
    static SPLIT: RefCell<HashMap<String, Rc<Parts>>> = RefCell::default();
}

/// Splits Rust into code, comments and string literals: enough of a lexer not to be fooled by words in strings.
pub fn split(source: &str) -> Rc<Parts> {
    if let Some(parts) = SPLIT.with_borrow(|split| split.get(source).cloned()) {
        return parts;
    }
    let parts = Rc::new(split_anew(source));
    SPLIT.with_borrow_mut(|split| split.insert(source.to_string(), Rc::clone(&parts)));
    parts
}

fn split_anew(source: &str) -> Parts {
    let mut parts = Parts { code: String::with_capacity(source.len()), comments: Vec::new(), strings: Vec::new() };
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        // Nothing else starts a token that is looked at.
        let plain = rest.find(['/', '"', '\'', '#', 'b', 'c', 'r']).unwrap_or(rest.len());
        if plain > 0 {
            parts.code.push_str(&rest[..plain]);
            line += rest[..plain].matches('\n').count();
            rest = &rest[plain..];
            continue;
        }
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
pub fn crate_imports(code: &str) -> Vec<(usize, String)> {
    paths_after(code, "crate::")
}

/// First names after `prefix`, each with its line; `prefix{a::b, c}` gives a and c.
pub fn paths_after(code: &str, prefix: &str) -> Vec<(usize, String)> {
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
pub fn super_paths(code: &str) -> Vec<(usize, usize, String)> {
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
pub fn tests_start(text: &str) -> usize {
    let mut lines = numbered(text);
    lines.find(|(_, line)| line.starts_with("#[cfg(test)]")).map_or(usize::MAX, |(line, _)| line)
}

pub fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Files under src/.
pub fn sources(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    let files = tree.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    files.filter(|(path, _)| path.starts_with("src/") && path.ends_with(".rs"))
}

/// `xml` of `src/xml/reader.rs`, `main` of `src/main.rs`.
pub fn room(path: &str) -> &str {
    let inner = path.trim_start_matches("src/");
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

/// How many names the path of a file's module has: `xml::reader` has 2.
pub fn module_depth(path: &str) -> usize {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.trim_end_matches("/mod").split('/').count()
}

/// `muc` of `src/modules/muc/subject.rs`; none for the table itself.
pub fn module_of(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/modules/")?.split('/').next()?.trim_end_matches(".rs");
    (name != "mod" && name != "tests").then_some(name)
}

pub fn module_names(tree: &Tree) -> BTreeSet<&str> {
    sources(tree).filter_map(|(path, _)| module_of(path)).collect()
}

pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

pub fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `text` with no letter, digit or underscore beside it.
pub fn has_word(text: &str, word: &str) -> bool {
    let free = |at: usize| !text[..at].ends_with(is_ident) && !text[at + word.len()..].starts_with(is_ident);
    text.match_indices(word).any(|(at, _)| free(at))
}

pub fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect()
}

/// Everything the rules look at, read from the checkout.
pub fn read_tree(root: &Path) -> Tree {
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
        } else if [".rs", ".talk", ".py", "defects.txt", "elements.txt"]
            .iter()
            .any(|end| name.to_string_lossy().ends_with(end))
        {
            let inside = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            tree.insert(inside, fs::read_to_string(&path).unwrap());
        }
    }
}
