//! One file's text into a [`Tree`]: encodings, prefixes that nobody declared, places.
//!
//! Files of 1.4 use the prefix `jabberd:` without declaring it, because 1.4's parser knew no namespaces. roxmltree does,
//! so the missing declarations are put into the root's start tag, and every position is counted back to the text as
//! the admin sees it.

use std::path::Path;
use std::sync::Arc;

use super::error::{Place, Problem};
use super::slips;
use super::tree::{ACL_NS, Node, REPLACE_NS, Tree};

/// Elements inside elements; real files have eight.
pub(super) const DEPTH_MAX: usize = 50;
/// Nodes of one file; real files have a thousand.
const NODES_MAX: u32 = 200_000;
/// Prefixes that may be undeclared in one file; real files have one.
const PREFIXES_MAX: usize = 32;

/// The bytes of a file as text, by its byte order mark or its XML declaration.
///
/// # Errors
/// What was found, what was expected, what to do, and the line.
pub(super) fn decode(bytes: &[u8], file: &Arc<Path>) -> Result<String, Box<Problem>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(problem(file, 0, "unknown encoding", "a file in UTF-16", "UTF-8", "save the file as UTF-8"));
    }
    match declared_encoding(bytes).to_ascii_lowercase().as_str() {
        "iso-8859-1" | "iso8859-1" | "latin1" | "latin-1" | "windows-1252" => {
            return Ok(bytes.iter().map(|&byte| char::from(byte)).collect());
        }
        "" | "utf-8" | "utf8" | "us-ascii" | "ascii" => {}
        other => {
            let found = format!("encoding=\"{other}\"");
            let remedy = "save the file as UTF-8, and write encoding=\"UTF-8\" or nothing";
            return Err(problem(file, 1, "unknown encoding", &found, "UTF-8 or ISO-8859-1", remedy));
        }
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let bad = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            let found = format!("the byte 0x{bad:02X}, which is not UTF-8");
            let remedy = "save the file as UTF-8, or begin it with <?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>";
            let what = "not well-formed (invalid token)";
            // As an editor would show it that takes each byte for a character.
            let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
            let lines = Lines::new(&text);
            let offset = text.char_indices().nth(error.valid_up_to()).map_or(0, |(at, _)| at);
            let (line, column) = lines.position(offset);
            let place = Place { file: Arc::clone(file), line, column };
            let problem = problem(file, line, what, &found, "text in UTF-8", remedy);
            Err(Box::new(Problem { place, excerpt: line_of(&text, line), ..*problem }))
        }
    }
}

fn problem(file: &Arc<Path>, line: u32, what: &str, found: &str, expected: &str, remedy: &str) -> Box<Problem> {
    Box::new(Problem {
        place: Place { file: Arc::clone(file), line, column: u32::from(line > 0) },
        excerpt: None,
        what: what.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
        remedy: remedy.to_owned(),
    })
}

/// The encoding that the XML declaration names, else nothing.
fn declared_encoding(bytes: &[u8]) -> String {
    let end = bytes.iter().take(200).position(|&byte| byte == b'>').unwrap_or(0);
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    let Some(value) = head.strip_prefix("<?xml").and_then(|head| head.split_once("encoding")).map(|(_, rest)| rest)
    else {
        return String::new();
    };
    value.split(['"', '\'']).nth(1).unwrap_or_default().to_owned()
}

/// Where lines begin, to tell people a place.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Lines<'t> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { text, starts }
    }

    /// Line and column of a byte offset, both from 1.
    pub(super) fn position(&self, offset: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// The byte offset of a line and column, both from 1.
    pub(super) fn offset(&self, line: u32, column: u32) -> usize {
        let number = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(&start) = self.starts.get(number) else { return self.text.len() };
        let rest = self.text.get(start..).unwrap_or_default();
        let skipped = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
        rest.char_indices().nth(skipped).map_or(self.text.len(), |(at, _)| start + at)
    }
}

/// One line of a text, as an excerpt for a message.
pub(super) fn line_of(text: &str, line: u32) -> Option<String> {
    let number = usize::try_from(line.checked_sub(1)?).ok()?;
    text.split('\n').nth(number).map(|line| line.trim_end_matches('\r').to_owned())
}

/// The text with declarations put into its root's start tag.
struct Patched {
    text: String,
    at: usize,
    added: usize,
}

impl Patched {
    fn new(text: &str, prefixes: &[String]) -> Patched {
        let at = if prefixes.is_empty() { None } else { root_name_end(text) };
        let (Some(at), Some((before, after))) = (at, at.and_then(|at| text.split_at_checked(at))) else {
            return Patched { text: text.to_owned(), at: 0, added: 0 };
        };
        let mut added = String::new();
        for prefix in prefixes {
            let ns = match prefix.as_str() {
                "jabberd" => REPLACE_NS,
                "acl" => ACL_NS,
                "stream" => crate::xmpp::ns::STREAMS,
                _ => "",
            };
            let own = format!("undeclared:{prefix}");
            let ns = if ns.is_empty() { own.as_str() } else { ns };
            added.push_str(&format!(" xmlns:{prefix}='{ns}'"));
        }
        Patched { text: format!("{before}{added}{after}"), at, added: added.len() }
    }

    /// Where an offset of the patched text is in the text of the file.
    fn original(&self, offset: usize) -> usize {
        if offset <= self.at { offset } else { offset.saturating_sub(self.added).max(self.at) }
    }
}

/// The byte offset after the name in the root's start tag.
fn root_name_end(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text.get(at..)?.find('<')?;
        let rest = text.get(at..)?;
        if rest.starts_with("<!--") {
            at += rest.find("-->")?;
        } else if rest.starts_with("<?") {
            at += rest.find("?>")?;
        } else if rest.starts_with("<!") {
            return None;
        } else {
            let name = rest.find(|c: char| c.is_whitespace() || c == '/' || c == '>')?;
            return Some(at + name);
        }
    }
}

/// Reads a text.
///
/// # Errors
/// The first thing that is not well-formed, said for a person.
pub(super) fn read(text: &str, file: &Arc<Path>) -> Result<Tree, Box<Problem>> {
    // Before roxmltree sees it, because its parser goes one call deeper with each element.
    let outline = slips::Outline::of(text, text.len());
    if let Some(at) = outline.too_deep {
        return Err(too_deep(text, file, at));
    }
    let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX };
    let mut prefixes: Vec<String> = Vec::new();
    loop {
        let patched = Patched::new(text, &prefixes);
        let error = match roxmltree::Document::parse_with_options(&patched.text, options) {
            Ok(document) => {
                let conversion = Conversion { lines: Lines::new(text), patched: &patched, file };
                return Ok(conversion.tree(document.root_element()));
            }
            Err(error) => error,
        };
        match &error {
            roxmltree::Error::UnknownNamespace(prefix, _)
                if !prefixes.contains(prefix) && prefixes.len() < PREFIXES_MAX =>
            {
                prefixes.push(prefix.clone());
            }
            _ => {
                let position = error.pos();
                let offset = patched.original(Lines::new(&patched.text).offset(position.row, position.col));
                return Err(Box::new(slips::explain(text, file, &error, offset)));
            }
        }
    }
}

fn too_deep(text: &str, file: &Arc<Path>, at: usize) -> Box<Problem> {
    let (line, column) = Lines::new(text).position(at);
    Box::new(Problem {
        place: Place { file: Arc::clone(file), line, column },
        excerpt: line_of(text, line),
        what: "nested too deeply".to_owned(),
        found: format!("an element inside {DEPTH_MAX} others"),
        expected: format!("at most {DEPTH_MAX}"),
        remedy: "look for start tags without their end tags above this line".to_owned(),
    })
}

struct Conversion<'a> {
    lines: Lines<'a>,
    patched: &'a Patched,
    file: &'a Arc<Path>,
}

impl Conversion<'_> {
    fn place(&self, offset: usize) -> Place {
        let (line, column) = self.lines.position(self.patched.original(offset));
        Place { file: Arc::clone(self.file), line, column }
    }

    fn tree(&self, node: roxmltree::Node<'_, '_>) -> Tree {
        let place = self.place(node.range().start);
        let name = node.tag_name().name().to_owned();
        let attributes = node.attributes().map(|attribute| {
            let ns = attribute.namespace().unwrap_or_default().to_owned();
            (ns, attribute.name().to_owned(), attribute.value().to_owned())
        });
        let attributes = attributes.collect();
        let mut nodes = Vec::new();
        for child in node.children() {
            if child.is_element() {
                nodes.push(Node::Tree(self.tree(child)));
            } else if let Some(text) = child.text().filter(|_| child.is_text()) {
                nodes.push(Node::Text(text.to_owned(), self.text_place(text, child.range().start)));
            }
        }
        Tree { name, ns: self.namespace(node), attributes, nodes, place }
    }

    /// The place of the first character that is not white space.
    fn text_place(&self, text: &str, start: usize) -> Place {
        let blank = text.len() - text.trim_start().len();
        let raw = self.patched.text.get(start..).unwrap_or_default();
        let blank_raw = raw.len() - raw.trim_start().len();
        self.place(start + blank.max(blank_raw).min(raw.len()))
    }

    /// The namespace; a prefix `jabberd:` means replacement whatever it was bound to, as in 1.4.
    fn namespace(&self, node: roxmltree::Node<'_, '_>) -> String {
        let ns = node.tag_name().namespace().unwrap_or_default();
        let start = self.patched.text.get(node.range().start..).unwrap_or_default();
        if start.starts_with("<jabberd:") { REPLACE_NS.to_owned() } else { ns.to_owned() }
    }
}
