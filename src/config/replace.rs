//! What stands in for something else: `<jabberd:cmdline>`, `<jabberd:include>`, the files of `-i` and of conf.d.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document;
use super::error::{Place, Problem};
use super::reading::Reading;
use super::tree::{Node, Tree};

/// Includes inside includes, as in jabberd 1.4.
const NESTING_MAX: usize = 20;
/// Files in all, so that files which include each other twice come to an end.
const FILES_MAX: usize = 1000;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a file did not become a tree.
enum Failure {
    /// It cannot be read.
    Unreadable(String),
    /// It is not well-formed.
    Broken(Box<Problem>),
}

/// Reads the main file.
pub(super) fn main_file(reading: &mut Reading, path: &Path) -> Result<Tree, Box<Problem>> {
    let file: Arc<Path> = Arc::from(path);
    match file_tree(reading, &file) {
        Ok(tree) => Ok(tree),
        Err(Failure::Broken(problem)) => Err(problem),
        Err(Failure::Unreadable(why)) => {
            let remedy = if why.starts_with("No such file") {
                "start from the example in /usr/share/jabber/jabber.xml, or name the file with -c".to_owned()
            } else {
                format!("see what it is and who may read it: ls -l {}", path.display())
            };
            let place = Place::whole(file);
            let expected = "the configuration file; -c names another".to_owned();
            Err(Box::new(Problem { place, excerpt: None, what: why, found: String::new(), expected, remedy }))
        }
    }
}

/// A text that is already in memory.
pub(super) fn text_tree(reading: &mut Reading, text: &str, file: &Arc<Path>) -> Result<Tree, Box<Problem>> {
    reading.texts.push((Arc::clone(file), text.to_owned()));
    document::read(text, file)
}

fn file_tree(reading: &mut Reading, file: &Arc<Path>) -> Result<Tree, Failure> {
    let unreadable = |error: std::io::Error| Failure::Unreadable(plain(&error));
    let mut bytes = Vec::new();
    let open = std::fs::File::open(file).map_err(unreadable)?;
    open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(Failure::Unreadable(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = document::decode(&bytes, file).map_err(Failure::Broken)?;
    text_tree(reading, &text, file).map_err(Failure::Broken)
}

/// The operating system's words without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// Puts command-line values and included files in their places, everywhere below `tree`.
pub(super) fn resolve(reading: &mut Reading, tree: Tree) -> Tree {
    let open = vec![Arc::clone(&tree.place.file)];
    Resolver { reading, open }.tree(tree)
}

/// Adds the roots of further files to the root: those of `-i`, then those of conf.d beside the main file.
pub(super) fn add_files(reading: &mut Reading, root: &mut Tree, main: &Path) {
    for path in reading.source.command_line.include.clone() {
        let path = reading.path(&path.to_string_lossy());
        add_file(reading, root, &path);
    }
    // In the order of their names.
    let directory = main.parent().unwrap_or(Path::new("")).join("conf.d");
    match std::fs::read_dir(&directory) {
        Ok(_) => xml_files(&directory).iter().for_each(|path| add_file(reading, root, path)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        // What stands in it counts: better no server than one without it.
        Err(error) => reading.problems.push(unreadable(&Arc::from(directory), plain(&error))),
    }
}

fn xml_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let visible = |path: &PathBuf| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let is_xml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "xml");
    let mut files: Vec<PathBuf> = paths.filter(|path| is_xml(path) && visible(path)).collect();
    files.sort();
    files
}

fn add_file(reading: &mut Reading, root: &mut Tree, path: &Path) {
    let file: Arc<Path> = Arc::from(path);
    match file_tree(reading, &file) {
        Ok(tree) => {
            let tree = resolve(reading, tree);
            root.nodes.extend(inserted(tree, &root.name));
        }
        Err(Failure::Broken(problem)) => reading.problems.push(*problem),
        Err(Failure::Unreadable(why)) => reading.problems.push(unreadable(&file, why)),
    }
}

fn unreadable(file: &Arc<Path>, why: String) -> Problem {
    Problem {
        place: Place::whole(Arc::clone(file)),
        excerpt: None,
        what: why,
        found: String::new(),
        expected: "a file of configuration that can be read".to_owned(),
        remedy: "see whether the file is there, and who may read it; or take it away".to_owned(),
    }
}

/// The main file is named as the command line does it, others by their whole path.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    one == other || real(one).is_some_and(|one| real(other).is_some_and(|other| one == other))
}

/// A root of the parent's name gives its children, another comes whole.
fn inserted(tree: Tree, parent: &str) -> Vec<Node> {
    if tree.name == parent { tree.nodes } else { vec![Node::Tree(tree)] }
}

struct Resolver<'r> {
    reading: &'r mut Reading,
    /// The files being read, one inside the other.
    open: Vec<Arc<Path>>,
}

impl Resolver<'_> {
    fn tree(&mut self, mut tree: Tree) -> Tree {
        let nodes = std::mem::take(&mut tree.nodes);
        for node in nodes {
            match node {
                Node::Tree(child) if child.is_replacement() => {
                    let replaced = self.replacement(child, &tree.name);
                    tree.nodes.extend(replaced);
                }
                Node::Tree(child) => {
                    let child = self.tree(child);
                    tree.nodes.push(Node::Tree(child));
                }
                text @ Node::Text(..) => tree.nodes.push(text),
            }
        }
        tree
    }

    fn replacement(&mut self, tree: Tree, parent: &str) -> Vec<Node> {
        match tree.name.as_str() {
            "cmdline" => vec![self.command_line(&tree)],
            "include" => self.include(&tree, parent),
            _ => {
                let known = &["cmdline", "include"];
                self.reading.unknown(&tree, "the namespace of jabberd:cmdline and jabberd:include", known);
                Vec::new()
            }
        }
    }

    fn command_line(&mut self, tree: &Tree) -> Node {
        let Some(flag) = tree.attribute("flag") else {
            self.reading.warn(&tree.place, "<jabberd:cmdline> without flag=: its own text counts");
            return Node::Text(tree.raw_text(), tree.place.clone());
        };
        self.reading.flags_used.insert(flag.to_owned());
        let given = self.reading.source.command_line.flags.get(flag).cloned();
        Node::Text(given.unwrap_or_else(|| tree.raw_text()), tree.place.clone())
    }

    fn include(&mut self, tree: &Tree, parent: &str) -> Vec<Node> {
        let name = tree.text();
        let path = self.reading.path(&name);
        if name.is_empty() {
            self.reading.warn(&tree.place, "<jabberd:include> without a file name: ignored");
            return Vec::new();
        }
        if !path.is_dir() {
            return self.include_file(tree, &path, parent);
        }
        xml_files(&path).iter().flat_map(|path| self.include_file(tree, path, parent)).collect()
    }

    fn include_file(&mut self, tree: &Tree, path: &Path, parent: &str) -> Vec<Node> {
        let file: Arc<Path> = Arc::from(path);
        let shown = path.display();
        if self.open.iter().any(|open| is_same_file(open, path)) {
            self.reading.warn(&tree.place, format!("{shown} includes itself: ignored"));
            return Vec::new();
        }
        if self.open.len() > NESTING_MAX {
            self.reading.warn(&tree.place, format!("includes nest more than {NESTING_MAX} times: {shown} is left out"));
            return Vec::new();
        }
        if self.reading.texts.len() > FILES_MAX {
            self.reading.warn(&tree.place, format!("more than {FILES_MAX} files are included: {shown} is left out"));
            return Vec::new();
        }
        match file_tree(self.reading, &file) {
            Ok(included) => {
                self.open.push(file);
                let included = self.tree(included);
                self.open.pop();
                inserted(included, parent)
            }
            Err(Failure::Unreadable(why)) => {
                self.reading.warn(&tree.place, format!("cannot read the included file {shown} ({why}): left out"));
                Vec::new()
            }
            Err(Failure::Broken(problem)) => {
                let Problem { place, what, found, remedy, .. } = *problem;
                let text = format!("the included file {shown} is broken and left out: {what}, found {found}; {remedy}");
                self.reading.warn(&place, text);
                Vec::new()
            }
        }
    }
}
