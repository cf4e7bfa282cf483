use super::*;
use crate::store::tests::Scratch;
use crate::store::{Store, meta};
use std::io::{Seek, SeekFrom, Write};
use std::sync::atomic::AtomicU64;
use std::thread;

fn write_pages(store: &mut Store, round: u64) {
    for n in 0..8 {
        meta::set(store, &format!("page {n}"), &[round as u8; 3000]).unwrap();
    }
    meta::set(store, "round", &round.to_be_bytes()).unwrap();
    store.commit().unwrap().unwrap();
}

fn wal_bytes(scratch: &Scratch) -> u64 {
    wal_path(&scratch.database()).metadata().unwrap().len()
}

#[test]
fn a_short_log_is_left_alone_and_a_long_one_starts_again() {
    let scratch = Scratch::new("restart");
    let mut store = Store::open(&scratch.database()).unwrap();
    let disk = Disk::open(&store, WalBounds { soft: 150_000, hard: 1 << 30 }).unwrap();
    disk.sync().unwrap();
    // The making of the database is behind it, and takes more than the bound.
    assert_eq!(disk.checkpoint().unwrap(), Checkpoint::Restarted);
    write_pages(&mut store, 0);
    disk.sync().unwrap();
    assert_eq!(disk.checkpoint().unwrap(), Checkpoint::NotNeeded);
    let mut restarts = 0;
    for round in 1..200 {
        write_pages(&mut store, round);
        disk.sync().unwrap();
        match disk.checkpoint().unwrap() {
            Checkpoint::NotNeeded => {}
            Checkpoint::Restarted => restarts += 1,
            Checkpoint::Partial => panic!("nobody was in the way"),
        }
    }
    assert!(restarts > 10, "{restarts}");
    assert!(wal_bytes(&scratch) < 400_000);
    drop(disk);
    drop(store);
    assert!(!wal_path(&scratch.database()).exists());
    let store = Store::open(&scratch.database()).unwrap();
    assert_eq!(meta::value(&store, "round").unwrap().unwrap(), 199u64.to_be_bytes());
}

#[test]
fn a_transaction_in_the_way_is_waited_for_next_time() {
    let scratch = Scratch::new("busy");
    let mut store = Store::open(&scratch.database()).unwrap();
    let disk = Disk::open(&store, WalBounds { soft: 100_000, hard: 1 << 30 }).unwrap();
    for round in 1..10 {
        write_pages(&mut store, round);
    }
    // The loop is in the middle of a tick: all is copied, but the log goes on.
    meta::set(&mut store, "running", b"").unwrap();
    assert_eq!(disk.checkpoint().unwrap(), Checkpoint::Partial);
    assert!(disk.checkpoints().complete);
    assert_eq!(disk.checkpoint().unwrap(), Checkpoint::Partial);
    store.commit().unwrap();
    // That tick was appended; it is copied now, in the pause.
    assert_eq!(disk.checkpoint().unwrap(), Checkpoint::Restarted);
    assert_eq!(disk.checkpoint().unwrap(), Checkpoint::NotNeeded);
}

/// The loop writes without a pause, one thread syncs, another checkpoints, all with very small bounds.
#[test]
fn the_log_stays_bounded_under_a_loop_that_never_rests() {
    let scratch = Scratch::new("load");
    let mut store = Store::open(&scratch.database()).unwrap();
    let bounds = WalBounds { soft: 100_000, hard: 1_000_000 };
    let disk = Disk::open(&store, bounds).unwrap();
    let (restarts, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut last = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                disk.sync().unwrap();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                if disk.checkpoint().unwrap() == Checkpoint::Restarted {
                    restarts.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
        while restarts.load(Ordering::Acquire) < 5 && last < 200_000 {
            last += 1;
            write_pages(&mut store, last);
        }
        done.store(true, Ordering::Release);
    });
    // How long the log gets depends on how far the loop comes during one checkpoint; that it starts again does not.
    assert!(restarts.load(Ordering::Acquire) >= 5, "after {last} commits");
    drop(disk);
    drop(store);
    let store = Store::open(&scratch.database()).unwrap();
    assert_eq!(meta::value(&store, "round").unwrap().unwrap(), last.to_be_bytes());
    assert_eq!(meta::value(&store, "page 7").unwrap().unwrap(), [last as u8; 3000]);
    let whole: String = store.connection.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
}

/// What a power failure leaves: the log up to anywhere, in the middle of a page or followed by rubbish. What comes back is
/// the state after some commit, whole, and never one before the last sync.
#[test]
fn a_torn_log_comes_back_as_some_commit() {
    let scratch = Scratch::new("torn");
    let mut store = Store::open(&scratch.database()).unwrap();
    let disk = Disk::open(&store, WalBounds::default()).unwrap();
    let copy = |to: &Scratch, name: &str| {
        // In a process of its own, which does not share the locks of this one.
        let (from, to) = (scratch.0.join(name), to.0.join(name));
        assert!(std::process::Command::new("cp").arg(from).arg(to).status().unwrap().success());
    };
    (1..=5).for_each(|round| write_pages(&mut store, round));
    disk.sync().unwrap();
    let synced = wal_bytes(&scratch);
    (6..=10).for_each(|round| write_pages(&mut store, round));
    let all = wal_bytes(&scratch);
    let mut found = Vec::new();
    for step in 0..=12 {
        for rubbish in [&[][..], &[0xff; 5000]] {
            let after = Scratch::new("torn-after");
            copy(&after, "jabber.db");
            copy(&after, "jabber.db-wal");
            let mut wal = File::options().write(true).open(after.0.join("jabber.db-wal")).unwrap();
            wal.set_len(synced + (all - synced) * step / 12).unwrap();
            wal.seek(SeekFrom::End(0)).and_then(|_| wal.write_all(rubbish)).unwrap();
            let store = Store::open(&after.database()).unwrap();
            let round = meta::value(&store, "round").unwrap().unwrap();
            let last = u64::from_be_bytes(round.try_into().unwrap());
            for n in 0..8 {
                assert_eq!(meta::value(&store, &format!("page {n}")).unwrap().unwrap(), [last as u8; 3000]);
            }
            found.push(last);
        }
    }
    assert!(found.is_sorted() && found.first() == Some(&5) && found.last() == Some(&10), "{found:?}");
}

#[test]
fn a_log_that_is_gone_can_promise_nothing() {
    let scratch = Scratch::new("gone");
    let mut store = Store::open(&scratch.database()).unwrap();
    let disk = Disk::open(&store, WalBounds::default()).unwrap();
    write_pages(&mut store, 1);
    disk.sync().unwrap();
    std::fs::remove_file(wal_path(&scratch.database())).unwrap();
    assert!(disk.sync().unwrap_err().to_string().contains("deleted"));
    assert!(disk.sync().unwrap_err().to_string().contains("earlier sync failed"));
}

#[test]
fn a_store_in_memory_has_no_disk() {
    let error = Disk::open(&Store::in_memory().unwrap(), WalBounds::default()).err().unwrap();
    assert!(error.to_string().contains(":memory:"), "{error}");
}
