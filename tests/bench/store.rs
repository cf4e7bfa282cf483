//! The database: ticks, offline messages, rosters, on a file with ten thousand accounts, while the two helper threads
//! sync and checkpoint as they do in the server.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use jabber::store::account::{self, Credentials, ScramHash, ScramKeys};
use jabber::store::disk::{Disk, WalBounds};
use jabber::store::{Bounds, Error, Store, meta, offline, roster};
use jabber::xmpp::{BareJid, Jid};

const ACCOUNTS: usize = 10_000;
const CONTACTS: usize = 50;
const BOUNDS: Bounds = Bounds { count: 1 << 20, bytes: 1 << 40 };
/// A chat message of 230 bytes.
const MESSAGE: &str = "<message to='juliet@capulet.com/balcony' type='chat' id='e1a9ad94'><body>Wherefore art thou, \
                       Romeo? Deny thy father &amp; refuse.</body><active \
                       xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>";

pub(crate) fn run() {
    super::scratch(|directory| {
        if let Err(error) = measure(&directory.join("jabber.db")) {
            println!("  {error}");
        }
    });
}

fn measure(path: &Path) -> Result<(), Error> {
    let mut store = Store::open(path)?;
    let accounts = fill(&mut store)?;
    let disk = Disk::open(&store, WalBounds::default())?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for work in [|disk: &Disk| disk.sync(), |disk: &Disk| disk.checkpoint().map(drop)] {
            let (disk, done) = (&disk, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let _ = work(disk);
                    thread::sleep(std::time::Duration::from_millis(1));
                }
            });
        }
        ticks(&mut store);
        messages(&mut store, &accounts);
        lookups(&store, &accounts);
        done.store(true, Ordering::Relaxed);
    });
    Ok(())
}

fn ticks(store: &mut Store) {
    println!("  -- ticks");
    // Both of one turn, since only one can have the store.
    for write in [false, true] {
        let name = if write { "a savepoint, one small write, commit" } else { "quiet: a savepoint, commit" };
        let mut number = 0_u64;
        let mut tick = || {
            number += 1;
            let _ = store.savepoint(|store| if write { meta::set(store, "n", &number.to_be_bytes()) } else { Ok(()) });
            let _ = black_box(store.commit());
        };
        super::compare(1, &mut [(name, &mut tick)]);
    }
}

fn messages(store: &mut Store, accounts: &[BareJid]) {
    println!("  -- offline messages, each for another account");
    let mut turn = 0_usize;
    for per_tick in [1, 10, 100] {
        let mut tick = || {
            for _ in 0..per_tick {
                turn += 1;
                let Some(account) = accounts.get(turn % accounts.len()) else { return };
                let _ = black_box(store.savepoint(|store| offline::append(store, account, MESSAGE, 1, BOUNDS)));
            }
            let _ = store.commit();
        };
        super::compare(per_tick, &mut [(&format!("stored, {per_tick} a tick"), &mut tick)]);
    }
    let Some(juliet) = accounts.first() else { return };
    let mut both = || {
        for _ in 0..100 {
            let _ = black_box(store.savepoint(|store| offline::append(store, juliet, MESSAGE, 1, BOUNDS)));
        }
        let _ = store.commit();
        let Ok(page) = offline::fetch(store, juliet, 0, 100) else { return };
        let last = page.last().map_or(0, |stored| stored.id);
        let _ = store.savepoint(|store| offline::delete_through(store, juliet, last));
        let _ = store.commit();
        black_box(page);
    };
    super::compare(100, &mut [("stored, fetched and deleted, 100 for one account", &mut both)]);
}

fn lookups(store: &Store, accounts: &[BareJid]) {
    println!("  -- reading");
    let mut turns = [0_usize; 4];
    let [one, two, three, four] = &mut turns;
    let next = |turn: &mut usize| {
        *turn += 7919;
        accounts.get(*turn % accounts.len()).cloned()
    };
    let contact = contacts().pop();
    super::compare(
        1,
        &mut [
            ("does the account exist", &mut || {
                let _ = black_box(next(one).map(|account| account::exists(store, &account)));
            }),
            ("its credentials", &mut || {
                let _ = black_box(next(two).map(|account| account::credentials(store, &account)));
            }),
            ("one contact", &mut || {
                let found = next(three).zip(contact.as_ref()).map(|(account, jid)| roster::item(store, &account, jid));
                let _ = black_box(found);
            }),
            ("a roster of 50", &mut || {
                let _ = black_box(next(four).map(|account| roster::items(store, &account)));
            }),
        ],
    );
}

fn contacts() -> Vec<Jid> {
    (0..CONTACTS).filter_map(|n| Jid::new(&format!("contact{n}@capulet.com")).ok()).collect()
}

fn fill(store: &mut Store) -> Result<Vec<BareJid>, Error> {
    let keys = |hash| ScramKeys {
        hash,
        iterations: 10_000,
        salt: vec![1; 16],
        stored_key: vec![2; 32],
        server_key: vec![3; 32],
    };
    let scram = vec![keys(ScramHash::Sha1), keys(ScramHash::Sha256), keys(ScramHash::Sha512)];
    let credentials = Credentials { scram, legacy: None };
    let names = (0..ACCOUNTS).map(|n| format!("user{}@montague.net", n * 7919 % ACCOUNTS));
    let accounts: Vec<BareJid> = names.filter_map(|name| BareJid::new(&name).ok()).collect();
    let contacts = contacts();
    for account in &accounts {
        account::create(store, account, &credentials, 1)?;
        for jid in &contacts {
            let mut item = roster::RosterItem::new(jid.clone());
            item.subscription = roster::Subscription::Both;
            item.name = "A friend".to_owned();
            item.groups.push("Friends".to_owned());
            roster::upsert(store, account, &item)?;
        }
        store.commit()?;
    }
    Ok(accounts)
}
