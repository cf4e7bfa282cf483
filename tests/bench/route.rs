//! One message from a client to another one, through a whole tick: bytes in, commit, bytes out.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jabber::store::Store;
use jabber::store::disk::{Disk, WalBounds};

use crate::world::{self, Door, World};

/// Pairs of clients that talk to each other.
const PAIRS: usize = 10;
/// Accounts; those after the pairs are away.
const ACCOUNTS: usize = 1000;

pub(crate) fn run() {
    println!("  -- online, in memory, no write; per message");
    let mut store = Store::in_memory().unwrap();
    world::accounts(&mut store, ACCOUNTS);
    online(World::new(store));
    println!("  -- to an absent user: a write and a commit on a file, beside the disk's threads; per message");
    super::scratch(|directory| absent(&directory.join("jabber.db")));
}

/// A chat message of 230 bytes, as clients of today send it.
fn message(to: &str) -> String {
    format!(
        "<message to='{to}' type='chat' id='e1a9ad94'><body>Wherefore art thou, Romeo? Deny thy father &amp; refuse.\
         </body><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>"
    )
}

fn online(world: World) {
    let mut world = world;
    let senders: Vec<_> = (0..PAIRS).map(|number| world.available(number, Door::Plain)).collect();
    for number in PAIRS..2 * PAIRS {
        world.available(number, Door::Plain);
    }
    let messages: Vec<String> = (0..PAIRS).map(|number| message(&world::full(number + PAIRS))).collect();
    let pairs: Vec<_> = senders.iter().copied().zip(messages.iter().map(String::as_bytes)).collect();
    let to_bare = message(&world::bare(PAIRS));
    let train = messages[0].repeat(PAIRS);
    assert_eq!(world.tick(&pairs).len(), PAIRS, "each message arrives");
    // They share one world, so they take turns by themselves.
    let world = std::cell::RefCell::new(world);
    let one = (senders[0], messages[0].as_bytes());
    super::compare_each(&mut [
        ("one in flight", 1, &mut || drop(world.borrow_mut().tick(&[one]))),
        ("one in flight, to the bare JID", 1, &mut || {
            drop(world.borrow_mut().tick(&[(senders[0], to_bare.as_bytes())]));
        }),
        ("10 in flight, one pair", 10, &mut || drop(world.borrow_mut().tick(&[(senders[0], train.as_bytes())]))),
        ("10 in flight, ten pairs", 10, &mut || drop(world.borrow_mut().tick(&pairs))),
    ]);
}

fn absent(path: &Path) {
    let mut store = Store::open(path).unwrap();
    world::accounts(&mut store, ACCOUNTS);
    let disk = Disk::open(&store, WalBounds::default()).unwrap();
    let mut world = World::new(store);
    let senders: Vec<_> = (0..PAIRS).map(|number| world.available(number, Door::Plain)).collect();
    let messages: Vec<String> = (PAIRS..ACCOUNTS).map(|number| message(&world::bare(number))).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for work in [|disk: &Disk| disk.sync(), |disk: &Disk| disk.checkpoint().map(drop)] {
            let (disk, done) = (&disk, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let _ = work(disk);
                    thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let world = std::cell::RefCell::new(world);
        let turn = std::cell::Cell::new(0_usize);
        let next = |sender: usize| {
            turn.set(turn.get() + 1);
            (senders[sender], messages[turn.get() % messages.len()].as_bytes())
        };
        super::compare_each(&mut [
            ("one in flight", 1, &mut || drop(world.borrow_mut().tick(&[next(0)]))),
            ("10 in flight", 10, &mut || {
                let inputs: Vec<_> = (0..PAIRS).map(&next).collect();
                drop(world.borrow_mut().tick(&inputs));
            }),
        ]);
        done.store(true, Ordering::Relaxed);
    });
}
