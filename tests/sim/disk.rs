//! Where a simulated server keeps its data, and what a crash leaves of it.

use std::path::{Path, PathBuf};

use jabber::store::Store;
use jabber::store::disk::{Disk, WalBounds};

/// What a crash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies: what was committed is with the system.
    Kill,
    /// The machine dies: what was synced is on the disk, and of the rest some.
    Power,
}

/// The bytes of the database and of its log at a moment.
struct Image {
    database: Vec<u8>,
    log: Vec<u8>,
}

/// A data directory of one server; in memory without.
pub struct Storage {
    files: Option<Files>,
}

struct Files {
    directory: PathBuf,
    generation: u64,
    disk: Option<Disk>,
    synced: Option<Image>,
}

/// So small that logs begin again many times in a run.
const WAL: WalBounds = WalBounds { soft: 96 << 10, hard: 384 << 10 };

impl Storage {
    pub fn in_memory() -> (Storage, Store) {
        (Storage { files: None }, Store::in_memory().unwrap())
    }

    pub fn on_files(name: &str) -> (Storage, Store) {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let directory = place.join(format!("jabber-sim-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let mut files = Files { directory, generation: 0, disk: None, synced: None };
        let store = files.open();
        (Storage { files: Some(files) }, store)
    }

    pub fn is_on_files(&self) -> bool {
        self.files.is_some()
    }

    /// Makes all that was committed durable; now and then the log is copied into the database.
    pub fn sync(&mut self, checkpoint: bool) {
        let Some(files) = &mut self.files else { return };
        let disk = files.disk.as_ref().unwrap();
        disk.sync().unwrap();
        if checkpoint {
            disk.checkpoint().unwrap();
        }
        files.synced = Some(files.image());
    }

    /// The end of a process with this store, and the store that the next one finds. `torn` is how much of the log
    /// behind the last sync reached the disk, in percent; the last piece of it is not what was written.
    pub fn crash(&mut self, mut store: Store, crash: Crash, torn: usize) -> Store {
        let Some(files) = &mut self.files else {
            store.crash();
            return store;
        };
        let now = files.image();
        let image = match (crash, files.synced.take()) {
            (Crash::Power, Some(synced)) => torn_between(synced, &now, torn),
            _ => now,
        };
        files.disk = None;
        drop(store);
        std::fs::remove_file(files.database()).unwrap();
        let _ = std::fs::remove_file(files.log());
        files.generation += 1;
        std::fs::write(files.database(), &image.database).unwrap();
        if !image.log.is_empty() {
            std::fs::write(files.log(), &image.log).unwrap();
        }
        files.open()
    }
}

/// The log as it was synced, and of what came later a first part, if it is the same round of the log.
fn torn_between(synced: Image, now: &Image, torn: usize) -> Image {
    const HEADER: usize = 32;
    let same_round = synced.log.len() >= HEADER && now.log.get(..HEADER) == synced.log.get(..HEADER);
    let new = |at: &usize| synced.log.get(*at) != now.log.get(*at);
    let (Some(first), Some(last)) = ((0..now.log.len()).find(new), (0..now.log.len()).rfind(new)) else {
        return synced;
    };
    if !same_round || now.database != synced.database {
        return synced;
    }
    let to = first + (last - first) * torn / 100;
    let mut log = now.log[..to].to_vec();
    let spoiled = ((to - first) / 3).min(700);
    log[to - spoiled..].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31) ^ 0x5A);
    log.extend_from_slice(synced.log.get(to..).unwrap_or_default());
    Image { database: synced.database, log }
}

impl Files {
    fn database(&self) -> PathBuf {
        self.directory.join(format!("jabber-{}.db", self.generation))
    }

    fn log(&self) -> PathBuf {
        self.directory.join(format!("jabber-{}.db-wal", self.generation))
    }

    fn open(&mut self) -> Store {
        let store = Store::open(&self.database()).unwrap();
        let disk = Disk::open(&store, WAL).unwrap();
        disk.sync().unwrap();
        self.disk = Some(disk);
        self.synced = Some(self.image());
        store
    }

    fn image(&self) -> Image {
        let log = std::fs::read(self.log()).unwrap_or_default();
        Image { database: std::fs::read(self.database()).unwrap(), log }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.disk = None;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
