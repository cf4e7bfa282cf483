//! What the reading of jabber.xml tells the admin: notices, and errors that refuse the start.
//!
//! An [`Error`] keeps everything that was wrong, so that one look at stderr is enough to repair a file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named: on the command line, by an include, or in conf.d.
    pub file: Arc<Path>,
    /// The line, from 1; 0 means the file as a whole.
    pub line: u32,
    /// The column in characters, from 1; 0 means the file as a whole.
    pub column: u32,
}

impl Place {
    /// A file as a whole.
    pub fn whole(file: impl Into<Arc<Path>>) -> Place {
        Place { file: file.into(), line: 0, column: 0 }
    }
}

/// `FILE:LINE:COLUMN`, as compilers and editors write it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.file.as_os_str().is_empty()) {
            (0, true) => write!(f, "command line"),
            (0, false) => write!(f, "{}", self.file.display()),
            (line, _) => write!(f, "{}:{line}:{}", self.file.display(), self.column),
        }
    }
}

/// How much a [`Notice`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Understood, and without effect here.
    Notice,
    /// Probably not what the admin meant.
    Warning,
}

/// One line about something in the configuration that does not stop the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub place: Place,
    /// One sentence, without a full stop.
    pub text: String,
}

impl Notice {
    /// Is it only that whoever looks may not see a file?
    pub fn is_denied(&self) -> bool {
        self.text.contains(DENIED)
    }
}

/// `FILE:LINE:COLUMN: text`, for the log and for `--test`.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// One thing that refuses the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was found.
    pub place: Place,
    /// The line of the file, as it stands there.
    pub excerpt: Option<String>,
    /// The short phrase of the first line: jabberd 1.4's where it had one.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What was expected there.
    pub expected: String,
    /// What to do about it.
    pub remedy: String,
}

/// What was found where the system does not let us look.
pub(super) const DENIED: &str = "Permission denied";

impl Problem {
    /// Is it only that whoever looks may not see it?
    pub fn is_denied(&self) -> bool {
        [&self.found, &self.what].into_iter().any(|said| said == DENIED)
    }
}

impl Problem {
    /// What it is, and where; in jabberd 1.4's shape, because scripts and habits know it.
    fn head(&self) -> String {
        let (file, line, column) = (self.place.file.display(), self.place.line, self.place.column);
        let mut head = match self.place.file.as_os_str().is_empty() {
            true => format!("Command line: {}", self.what),
            false => format!("Configuration parsing using {file} failed: {}", self.what),
        };
        if line > 0 {
            head.push_str(&format!(" at line {line} and column {column}"));
        }
        head
    }

    fn details(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let all = [("found", &self.found), ("expected", &self.expected), ("remedy", &self.remedy)];
        all.into_iter().filter(|(_, text)| !text.is_empty())
    }
}

/// Five lines at most. The first has jabberd 1.4's shape, because scripts and habits know it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n  {:>5} | {}", self.place.line, shortened(excerpt))?;
        }
        for (label, text) in self.details() {
            write!(f, "\n  {:<9} {text}", format!("{label}:"))?;
        }
        Ok(())
    }
}

/// A line of a file, cut to what a terminal shows.
fn shortened(line: &str) -> String {
    const SHOWN: usize = 160;
    let line = line.trim_end();
    if line.chars().count() <= SHOWN {
        return line.replace(char::is_control, " ");
    }
    let mut short: String = line.chars().take(SHOWN).collect();
    short.push_str(" ...");
    short.replace(char::is_control, " ")
}

/// The configuration cannot be used; every reason found is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The reasons in the order of the file, at least one.
    pub problems: Vec<Problem>,
}

impl Error {
    /// All of it in one line, for the log.
    pub fn in_one_line(&self) -> String {
        let mut told = Vec::new();
        for problem in &self.problems {
            told.push(problem.head());
            told.extend(problem.details().map(|(label, text)| format!("{label}: {text}")));
        }
        told.join("; ")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let separator = if number > 0 { "\n" } else { "" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<Box<Problem>> for Error {
    fn from(problem: Box<Problem>) -> Error {
        Error { problems: vec![*problem] }
    }
}
