//! What privacy lists cost: those who have none, and those who have one.

use jabber::store::Store;
use jabber::store::roster::{self, RosterItem, Subscription};
use jabber::xmpp::{BareJid, Jid};

use crate::presence::{PRESENCE, befriend};
use crate::world::{self, Door, World};

/// Addresses on the block list of who has one.
const BLOCKED: usize = 100;

/// A message to a session, and to a user who is away, in a world with or without the module.
fn world(module: bool, has_list: bool) -> (World, [Vec<(jabber::server::ConnectionId, String)>; 2]) {
    let mut store = Store::in_memory().unwrap();
    world::accounts(&mut store, 3);
    let mut world = World::with_modules(store, if module { &[] } else { &["mod_privacy"] });
    let [sender, receiver, absent] = [0, 1, 2].map(|number| world.available(number, Door::Plain));
    if has_list {
        let items: String = (0..BLOCKED).map(|number| format!("<item jid='foe{number}@elsewhere.example'/>")).collect();
        for id in [sender, receiver, absent] {
            world.send(id, &format!("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>{items}</block></iq>"));
        }
    }
    world.hang_up(absent);
    let message =
        |to: &str, kind: &str| format!("<message to='{to}' type='{kind}'><body>Art thou there?</body></message>");
    // A type that is neither delivered to the absent nor kept: what is measured is the way to them.
    let to = [message(&world::full(1), "chat"), message(&world::bare(2), "error")];
    (world, to.map(|message| vec![(sender, message)]))
}

/// One who has a hundred contacts, who are online.
fn hub(module: bool) -> (World, jabber::server::ConnectionId) {
    const CONTACTS: usize = 100;
    let mut store = Store::in_memory().unwrap();
    world::accounts(&mut store, CONTACTS + 1);
    for number in 1..=CONTACTS {
        befriend(&mut store, 0, number);
        befriend(&mut store, number, 0);
    }
    store.commit().unwrap();
    let mut world = World::with_modules(store, if module { &[] } else { &["mod_privacy"] });
    let hub = world.available(0, Door::Plain);
    for number in 1..=CONTACTS {
        world.available(number, Door::Plain);
    }
    (world, hub)
}

/// One who has a full roster, all elsewhere, and two lists of this many items, each of which ends with an item about
/// everybody so that both let the same pass. Returns what goes from one to the other and back.
fn switcher(items: usize) -> (World, jabber::server::ConnectionId, [String; 2]) {
    const CONTACTS: usize = 2_000;
    let mut store = Store::in_memory().unwrap();
    world::accounts(&mut store, 1);
    let account = BareJid::new(&world::bare(0)).unwrap();
    for number in 0..CONTACTS {
        let jid = Jid::new(&format!("friend{number}@elsewhere.example")).unwrap();
        let item = RosterItem { subscription: Subscription::Both, ..RosterItem::new(jid) };
        roster::upsert(&mut store, &account, &item).unwrap();
    }
    store.commit().unwrap();
    let mut world = World::new(store);
    let id = world.available(0, Door::Plain);
    for list in ["a", "b"] {
        let item = |order: usize| {
            format!("<item type='jid' value='{list}{order}@elsewhere.example' action='deny' order='{order}'/>")
        };
        let items: String = (1..items).map(item).collect();
        let rest = "<item action='allow' order='0'><message/></item>";
        let list = format!("<list name='{list}'>{items}{rest}</list>");
        world.send(id, &format!("<iq type='set' id='l'><query xmlns='jabber:iq:privacy'>{list}</query></iq>"));
    }
    let switch = |list: &str| {
        format!("<iq type='set' id='s'><query xmlns='jabber:iq:privacy'><active name='{list}'/></query></iq>")
    };
    (world, id, ["a", "b"].map(switch))
}

pub(crate) fn run() {
    println!(
        "  -- a message through a whole tick: without the module, without a list, with {BLOCKED} blocked on both sides"
    );
    let worlds = [(false, false), (true, false), (true, true)].map(|(module, has_list)| world(module, has_list));
    let worlds = worlds.map(|(world, inputs)| (std::cell::RefCell::new(world), inputs));
    for (place, name) in [(0, "to a session"), (1, "to an absent user")] {
        let tick = |number: usize| {
            let (world, inputs) = &worlds[number];
            let (id, text) = &inputs[place][0];
            drop(world.borrow_mut().tick(&[(*id, text.as_bytes())]));
        };
        super::compare_each(&mut [
            (&format!("{name}, mod_privacy off"), 1, &mut || tick(0)),
            (&format!("{name}, no list"), 1, &mut || tick(1)),
            (&format!("{name}, {BLOCKED} blocked"), 1, &mut || tick(2)),
        ]);
    }
    println!("  -- a broadcast to 100 contacts, per delivery");
    let (mut without, mut with) = (hub(false), hub(true));
    super::compare_each(&mut [
        ("mod_privacy off", 100, &mut || drop(without.0.tick(&[(without.1, PRESENCE.as_bytes())]))),
        ("no list", 100, &mut || drop(with.0.tick(&[(with.1, PRESENCE.as_bytes())]))),
    ]);
    println!("  -- from one list to another, with 2000 contacts: by the length of both lists");
    let mut worlds = [10, 100, 1_000].map(switcher);
    let [short, middle, long] = &mut worlds;
    let go = |(world, id, switches): &mut (World, jabber::server::ConnectionId, [String; 2])| {
        switches.iter().for_each(|switch| drop(world.tick(&[(*id, switch.as_bytes())])));
    };
    super::compare_each(&mut [
        ("10 items", 2, &mut || go(short)),
        ("100 items", 2, &mut || go(middle)),
        ("1000 items", 2, &mut || go(long)),
    ]);
}
