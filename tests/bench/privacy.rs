//! What privacy lists cost: those who have none, and those who have one.

use jabber::store::Store;

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
}
