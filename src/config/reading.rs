//! What all readers of this room share: the source, the texts for excerpts, and the list of what was noticed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::Source;
use super::document::line_of;
use super::error::{Error, Notice, Place, Problem, Severity};
use super::tree::{Node, Tree};

/// A reading in progress.
pub(super) struct Reading {
    pub(super) source: Source,
    /// Files seen so far, for excerpts.
    pub(super) texts: Vec<(Arc<Path>, String)>,
    pub(super) notices: Vec<Notice>,
    pub(super) problems: Vec<Problem>,
    /// Flags that some `<jabberd:cmdline>` asked for.
    pub(super) flags_used: BTreeSet<String>,
    /// The file is in 1.6's form.
    pub(super) is_namespaced: bool,
}

/// Why the start is refused; all but `what` may be empty.
pub(super) struct Refusal<'a> {
    pub(super) what: &'a str,
    pub(super) found: &'a str,
    pub(super) expected: &'a str,
    pub(super) remedy: &'a str,
}

impl Reading {
    pub(super) fn new(source: Source) -> Reading {
        Reading {
            source,
            texts: Vec::new(),
            notices: Vec::new(),
            problems: Vec::new(),
            flags_used: BTreeSet::new(),
            is_namespaced: false,
        }
    }

    pub(super) fn notice(&mut self, place: &Place, text: impl Into<String>) {
        self.notices.push(Notice { severity: Severity::Notice, place: place.clone(), text: text.into() });
    }

    pub(super) fn warn(&mut self, place: &Place, text: impl Into<String>) {
        self.notices.push(Notice { severity: Severity::Warning, place: place.clone(), text: text.into() });
    }

    /// One line for an element that has no meaning here.
    pub(super) fn without_effect(&mut self, tree: &Tree, why: &str) {
        self.notice(&tree.place, format!("<{}> has no effect: {why}", tree.name));
    }

    pub(super) fn refuse(&mut self, place: &Place, refusal: Refusal<'_>) {
        let text = self.texts.iter().find(|(file, _)| *file == place.file);
        let excerpt = text.and_then(|(_, text)| line_of(text, place.line));
        self.problems.push(Problem {
            place: place.clone(),
            excerpt,
            what: refusal.what.to_owned(),
            found: refusal.found.to_owned(),
            expected: refusal.expected.to_owned(),
            remedy: refusal.remedy.to_owned(),
        });
    }

    /// Puts what was noticed into the order of the files and their lines, so that it can be read beside them.
    pub(super) fn in_file_order(&mut self) {
        let files: Vec<Arc<Path>> = self.texts.iter().map(|(file, _)| Arc::clone(file)).collect();
        let key = |place: &Place| {
            let file = files.iter().position(|file| *file == place.file);
            (file, place.line, place.column)
        };
        self.notices.sort_by_key(|notice| key(&notice.place));
        self.problems.sort_by_key(|problem| key(&problem.place));
    }

    /// All problems so far as the error that they are, if there are any.
    pub(super) fn verdict(&mut self) -> Result<(), Error> {
        if self.problems.is_empty() { Ok(()) } else { Err(Error { problems: std::mem::take(&mut self.problems) }) }
    }

    /// One line for an element that nobody knows, with the name that was perhaps meant.
    pub(super) fn unknown(&mut self, tree: &Tree, parent: &str, known: &[&str]) {
        let hint = meant(&tree.name, known);
        self.warn(&tree.place, format!("unknown element <{}> in {parent}: ignored{hint}", tree.name));
    }

    /// One line for each text where only elements have a meaning. jabberd 1.4 passed over such text without a word.
    pub(super) fn stray_text(&mut self, tree: &Tree) {
        for node in &tree.nodes {
            let Node::Text(text, place) = node else { continue };
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let start: String = text.chars().take(30).take_while(|&c| c != '\n').collect();
            let hint = if text.contains("-->") { " (the end of a comment that was already over?)" } else { "" };
            let inside = tree.tag();
            self.warn(place, format!("text \"{start}\" in {inside} belongs to no element: ignored{hint}"));
        }
    }

    /// The element's text as a number, as a C program would read it; what is not one is warned of.
    pub(super) fn number<T: FromStr>(&mut self, tree: &Tree) -> Option<T> {
        let text = tree.text();
        self.number_in(&tree.place, &tree.tag(), &text)
    }

    /// A number in an attribute.
    pub(super) fn number_attribute<T: FromStr>(&mut self, tree: &Tree, name: &str) -> Option<T> {
        let text = tree.attribute(name)?.trim().to_owned();
        self.number_in(&tree.place, &format!("{name}= of {}", tree.tag()), &text)
    }

    fn number_in<T: FromStr>(&mut self, place: &Place, name: &str, text: &str) -> Option<T> {
        let number = text.parse().ok();
        if number.is_none() {
            self.warn(place, format!("{name} should be a number, found \"{text}\": the default is used"));
        }
        number
    }

    /// An IP address with or without brackets, or `localhost`; `Err` after a warning.
    pub(super) fn address(&mut self, place: &Place, text: &str) -> Result<IpAddr, ()> {
        let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
        if bare == "localhost" {
            return Ok(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        }
        bare.parse().map_err(|_| self.warn(place, format!("\"{text}\" is not an IP address: ignored")))
    }

    /// A path as it counts from the home directory.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        let text = text.trim();
        if Path::new(text).is_absolute() {
            return PathBuf::from(text);
        }
        let home = &self.source.home;
        let home = if home.is_absolute() {
            home.clone()
        } else {
            std::env::current_dir().map(|current| current.join(home)).unwrap_or_else(|_| home.clone())
        };
        home.join(text.strip_prefix("./").unwrap_or(text))
    }
}

/// A question after a name that nobody knows, if there is one like it.
pub(super) fn meant(found: &str, known: &[&str]) -> String {
    let near = known.iter().find(|name| is_near(name, found));
    near.map(|name| format!("; did you mean <{name}>?")).unwrap_or_default()
}

/// Names that differ by a letter, a swap or their case are near.
fn is_near(known: &str, found: &str) -> bool {
    if known.eq_ignore_ascii_case(found) {
        return true;
    }
    let (a, b): (Vec<char>, Vec<char>) = (known.chars().collect(), found.chars().collect());
    let prefix = a.iter().zip(&b).take_while(|(x, y)| x.eq_ignore_ascii_case(y)).count();
    let (a, b) = (a.get(prefix..).unwrap_or_default(), b.get(prefix..).unwrap_or_default());
    let suffix = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x.eq_ignore_ascii_case(y)).count();
    let (left_a, left_b) = (a.len() - suffix, b.len() - suffix);
    known.len() > 2 && (left_a.max(left_b) <= 1 || (left_a == 2 && left_b == 2))
}
