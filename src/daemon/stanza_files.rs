//! jabberd 1.6's `<dir>`: programs leave stanzas as files `*.stanza` in a directory, from where they are read and deleted.
//!
//! A program writes a file under another name and renames it when it is whole. A file goes when what it said is on the disk;
//! one that cannot be understood is renamed, so that it is looked at once and not lost.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, Link};
use crate::server::Word;
use crate::store::Tick;
use crate::xml::{self, Element, Node};
use crate::xmpp::{Stanza, ns};

/// Milliseconds between two looks at the directories.
const LOOK_MILLIS: u64 = 2_000;
/// Files that one look takes from one directory; the others wait for the next.
const FILES_PER_LOOK: usize = 100;
/// Names that one look reads from one directory: somebody filled it with other things.
const NAMES_PER_LOOK: usize = 10_000;
/// How old a file must be to be called broken: before, it may be one that is being written.
const WRITTEN_AFTER: Duration = Duration::from_secs(10);

/// The directories of all such components.
#[derive(Debug, Default)]
pub struct StanzaFiles {
    directories: Vec<(String, PathBuf)>,
    bytes_max: u64,
    next_millis: u64,
    /// Files whose stanzas were handed over in this turn.
    read: Vec<PathBuf>,
    /// Files whose stanzas are committed with this tick, and may not be on the disk yet.
    pending: Vec<(Tick, PathBuf)>,
    /// What was complained of once: others come first.
    told: BTreeSet<PathBuf>,
}

impl StanzaFiles {
    /// The directories that a configuration names.
    pub fn new(config: &Config) -> StanzaFiles {
        let mut files = StanzaFiles::default();
        files.reload(config);
        files
    }

    /// Takes over what the configuration says now; what was read is not forgotten.
    pub fn reload(&mut self, config: &Config) {
        let directory = |component: &crate::config::Component| match &component.link {
            Link::Directory(path) => Some((component.id.clone(), path.clone())),
            _ => None,
        };
        self.directories = config.components.iter().filter_map(directory).collect();
        self.bytes_max = config.limits.stanza_bytes_max as u64;
        self.next_millis = 0;
    }

    /// When to look again, on the monotonic clock; never, if there is nothing to look at.
    pub fn next_millis(&self) -> Option<u64> {
        (!self.directories.is_empty()).then_some(self.next_millis)
    }

    /// The stanzas that lie there, if it is time to look.
    pub fn look(&mut self, now_millis: u64) -> Vec<Word> {
        if self.next_millis().is_none_or(|next| now_millis < next) {
            return Vec::new();
        }
        self.next_millis = now_millis.saturating_add(LOOK_MILLIS);
        let mut words = Vec::new();
        for (component, directory) in self.directories.clone() {
            match self.names(&directory) {
                Ok(names) => {
                    for path in names {
                        self.file(&component, path, &mut words);
                    }
                }
                Err(error) => self.complain(&directory, &component, &format!("cannot be read: {error}")),
            }
        }
        words
    }

    /// What was handed over is committed, with this tick if anything was written.
    pub fn kept(&mut self, tick: Option<Tick>) {
        let read = std::mem::take(&mut self.read);
        match tick {
            Some(tick) => self.pending.extend(read.into_iter().map(|path| (tick, path))),
            None => self.delete(read),
        }
    }

    /// What was handed over could not be committed: it comes again.
    pub fn lost(&mut self) {
        self.read.clear();
    }

    /// All up to this tick is on the disk.
    pub fn durable(&mut self, tick: Tick) {
        let (gone, pending) = std::mem::take(&mut self.pending).into_iter().partition(|(of, _)| *of <= tick);
        self.pending = pending;
        let gone: Vec<(Tick, PathBuf)> = gone;
        self.delete(gone.into_iter().map(|(_, path)| path).collect());
    }

    fn delete(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            if let Err(error) = fs::remove_file(&path) {
                // It would be said again and again.
                log::error!(target: "-internal", "{} cannot be deleted, its directory is looked at no more: {error}", path.display());
                self.directories.retain(|(_, directory)| !path.starts_with(directory));
            }
        }
    }

    fn file(&mut self, component: &str, path: PathBuf, words: &mut Vec<Word>) {
        match read(&path, self.bytes_max).map(|text| stanzas(&text)) {
            Ok(Some(stanzas)) => {
                let word = |stanza| Word::Stanza { component: component.to_owned(), stanza: Box::new(stanza) };
                words.extend(stanzas.into_iter().map(word));
                self.read.push(path);
            }
            Ok(None) if is_young(&path) => {}
            Ok(None) => {
                let _ = fs::rename(&path, path.with_extension("stanza.bad"));
                self.complain(&path, component, "holds no stanza; it is renamed to *.bad");
            }
            Err(why) => self.complain(&path, component, &why),
        }
    }

    fn complain(&mut self, path: &Path, component: &str, why: &str) {
        if self.told.len() >= NAMES_PER_LOOK {
            self.told.clear();
        }
        if self.told.insert(path.to_owned()) {
            log::warn!(target: component, "{} {why}", path.display());
        }
    }

    /// The first files of a directory, by name; those that were of no use before are the last.
    fn names(&self, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(directory)?.take(NAMES_PER_LOOK);
        let is_stanza = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "stanza");
        let taken: BTreeSet<&Path> =
            self.read.iter().chain(self.pending.iter().map(|(_, path)| path)).map(PathBuf::as_path).collect();
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| is_stanza(path) && !taken.contains(path.as_path()))
            .collect();
        paths.sort_by_cached_key(|path| (self.told.contains(path), path.clone()));
        paths.truncate(FILES_PER_LOOK);
        Ok(paths)
    }
}

/// A plain file's text. Links, devices and pipes are not followed, opened, or waited for.
fn read(path: &Path, bytes_max: u64) -> Result<String, String> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err("is no plain file".to_owned());
    }
    let flags = (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| format!("cannot be opened: {error}"))?;
    let mut text = String::new();
    let read = file.take(bytes_max.saturating_add(1)).read_to_string(&mut text);
    match read {
        Ok(bytes) if bytes as u64 > bytes_max => Err(format!("has more than {bytes_max} bytes (stanza-bytes-max)")),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn is_young(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < WRITTEN_AFTER)
}

/// The stanza of a file; `None` if there is none.
fn stanzas(text: &str) -> Option<Vec<Stanza>> {
    let text = text.trim();
    let text = match text.starts_with("<?xml") {
        true => text.split_once("?>")?.1.trim(),
        false => text,
    };
    Some(vec![Stanza::parse(as_of_client(&xml::parse(text)?)).ok()?])
}

/// 1.6 keeps stanzas in `jabber:server`; here they are all in `jabber:client`.
fn as_of_client(element: &Element) -> Element {
    let ns = if element.ns() == ns::SERVER { ns::CLIENT.into() } else { element.ns_text().clone() };
    let nodes = element.nodes().iter().map(|node| match node {
        Node::Element(child) => Node::Element(as_of_client(child)),
        Node::Text(text) => Node::Text(text.clone()),
    });
    let name = element.name().to_owned().into();
    Element::from_parts(ns, name, element.attributes().to_vec(), nodes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> (StanzaFiles, PathBuf) {
        let directory = crate::daemon::scratch(name);
        let files = StanzaFiles {
            directories: vec![("drop.test".to_owned(), directory.clone())],
            bytes_max: 1_000,
            ..StanzaFiles::default()
        };
        (files, directory)
    }

    fn to(words: &[Word]) -> Vec<String> {
        let to = |word: &Word| match word {
            Word::Stanza { stanza, .. } => stanza.to().map(|to| to.to_string()).unwrap_or_default(),
            Word::LogLine { .. } => String::new(),
        };
        words.iter().map(to).collect()
    }

    #[test]
    fn stanzas_are_read_in_order_and_deleted_when_they_are_kept() {
        let (mut files, directory) = files("stanza-files");
        fs::write(directory.join("2.stanza"), "<message to='b@h'><body>2</body></message>").unwrap();
        let server = "<?xml version='1.0'?>\n<message xmlns='jabber:server' to='a@h'><body>1</body></message>\n";
        fs::write(directory.join("1.stanza"), server).unwrap();
        fs::write(directory.join("notes.txt"), "not mine").unwrap();
        let words = files.look(0);
        assert_eq!(to(&words), ["a@h", "b@h"]);
        let Word::Stanza { stanza, .. } = &words[0] else { panic!() };
        assert_eq!(stanza.child("body", ns::CLIENT).unwrap().text(), "1");
        // Nothing is read twice within the time, and nothing is lost that was not committed.
        assert!(files.look(1).is_empty());
        files.lost();
        files.kept(Some(Tick(1)));
        assert_eq!(files.look(LOOK_MILLIS).len(), 2);
        // Nothing is read twice while the disk is waited for, not even after a reload.
        files.kept(Some(Tick(2)));
        files.next_millis = 0;
        assert!(files.look(2 * LOOK_MILLIS).is_empty());
        files.durable(Tick(1));
        assert!(directory.join("1.stanza").exists());
        files.durable(Tick(2));
        assert!(files.look(3 * LOOK_MILLIS).is_empty());
        let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_no_stanza_harms_nobody() {
        let (mut files, directory) = files("stanza-files-bad");
        let old = std::time::SystemTime::now() - 2 * WRITTEN_AFTER;
        for (name, text, is_old) in [
            ("broken.stanza", "<message to='a@h'>", true),
            ("other.stanza", "<foo/>", true),
            ("binary.stanza", "\0\0", true),
            ("unfinished.stanza", "<message to='a@h'><bo", false),
            ("large.stanza", &"x".repeat(2_000), true),
        ] {
            fs::write(directory.join(name), text).unwrap();
            let file = OpenOptions::new().write(true).open(directory.join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        fs::create_dir(directory.join("dir.stanza")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.join("link.stanza")).unwrap();
        nix::unistd::mkfifo(&directory.join("pipe.stanza"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(files.look(0).is_empty());
        files.kept(None);
        let mut left: Vec<String> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let expected = [
            "binary.stanza.bad",
            "broken.stanza.bad",
            "dir.stanza",
            "large.stanza",
            "link.stanza",
            "other.stanza.bad",
            "pipe.stanza",
            "unfinished.stanza",
        ];
        assert_eq!(left, expected);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn many_files_come_in_pieces() {
        let (mut files, directory) = files("stanza-files-many");
        for n in 0..FILES_PER_LOOK + 5 {
            fs::write(directory.join(format!("{n:04}.stanza")), "<message to='a@h'/>").unwrap();
        }
        assert_eq!(files.look(0).len(), FILES_PER_LOOK);
        files.kept(None);
        assert_eq!(files.look(LOOK_MILLIS).len(), 5);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_in_nobodys_way() {
        let (mut files, directory) = files("stanza-files-blocked");
        for n in 0..FILES_PER_LOOK {
            fs::create_dir(directory.join(format!("{n:04}.stanza"))).unwrap();
        }
        fs::write(directory.join("good.stanza"), "<message to='a@h'/>").unwrap();
        assert!(files.look(0).is_empty());
        assert_eq!(to(&files.look(LOOK_MILLIS)), ["a@h"]);
        fs::remove_dir_all(directory).unwrap();
    }
}
