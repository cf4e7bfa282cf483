//! What clients ask of the server itself, and messages that wait for who is away, each through whole ticks.

use std::cell::RefCell;

use jabber::store::Store;
use jabber::store::roster::{self, RosterItem, Subscription};
use jabber::xmpp::{BareJid, Jid};

use crate::world::{self, Door, World};

/// Messages that wait at a time.
const WAITING: usize = 100;
const CONTACTS: [usize; 3] = [50, 500, 2_000];

pub(crate) fn run() {
    println!("  -- a request and its answer, in memory; per request");
    small();
    println!("  -- the roster, by its length; per request");
    for contacts in CONTACTS {
        of_roster(contacts);
    }
    println!(
        "  -- {WAITING} messages in one go to who is away, and all of them when he is back, in memory; per message"
    );
    offline();
}

/// One who has so many contacts, who are no accounts.
fn with_contacts(contacts: usize) -> (World, jabber::server::ConnectionId) {
    let mut store = Store::in_memory().unwrap();
    world::accounts(&mut store, 1);
    let account = BareJid::new(&world::bare(0)).unwrap();
    for number in 0..contacts {
        let jid = Jid::new(&format!("friend{number}@elsewhere.example")).unwrap();
        let (name, groups) = (format!("Friend {number}"), vec!["Friends".to_owned()]);
        let item = RosterItem { subscription: Subscription::Both, name, groups, ..RosterItem::new(jid) };
        roster::upsert(&mut store, &account, &item).unwrap();
    }
    store.commit().unwrap();
    let mut world = World::new(store);
    let id = world.available(0, Door::Plain);
    (world, id)
}

fn small() {
    let (world, id) = with_contacts(0);
    let world = RefCell::new(world);
    let ask = |payload: &'static str| {
        let text = format!("<iq type='get' id='a'{payload}</iq>");
        let world = &world;
        move || drop(world.borrow_mut().tick(&[(id, text.as_bytes())]))
    };
    super::compare(
        1,
        &mut [
            ("ping", &mut ask(" to='montague.net'><ping xmlns='urn:xmpp:ping'/>")),
            (
                "what the server can",
                &mut ask(" to='montague.net'><query xmlns='http://jabber.org/protocol/disco#info'/>"),
            ),
            ("version", &mut ask(" to='montague.net'><query xmlns='jabber:iq:version'/>")),
            ("one's vCard", &mut ask("><vCard xmlns='vcard-temp'/>")),
            ("private XML", &mut ask("><query xmlns='jabber:iq:private'><a xmlns='storage:bookmarks'/></query>")),
            ("what nobody answers", &mut ask(" to='montague.net'><query xmlns='urn:nobody'/>")),
        ],
    );
}

fn of_roster(contacts: usize) {
    let (world, id) = with_contacts(contacts);
    let world = RefCell::new(world);
    let get = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>";
    let set = |number: usize| {
        format!(
            "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='friend{}@elsewhere.example' \
             name='{number}'><group>Friends</group></item></query></iq>",
            number % contacts
        )
    };
    let mut number = 0;
    super::compare(
        1,
        &mut [
            (&format!("a roster of {contacts} read"), &mut || drop(world.borrow_mut().tick(&[(id, get.as_bytes())]))),
            (&format!("one item of {contacts} changed"), &mut || {
                number += 1;
                drop(world.borrow_mut().tick(&[(id, set(number).as_bytes())]));
            }),
        ],
    );
}

fn offline() {
    let mut store = Store::in_memory().unwrap();
    world::accounts(&mut store, 2);
    let mut world = World::new(store);
    let [sender, receiver] = [0, 1].map(|number| world.available(number, Door::Plain));
    let message = format!("<message to='{}' type='chat'><body>Art thou not Romeo?</body></message>", world::bare(1));
    let train = message.repeat(WAITING);
    let both = |world: &mut World| -> String {
        world.send(receiver, "<presence type='unavailable'/>");
        world.send(sender, &train);
        let told = world.tick(&[(receiver, b"<presence/>")]);
        let told = told.into_iter().filter(|(id, _)| *id == receiver);
        let told: String = told.map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect();
        // Behind them is a question; with its answer they go from the store.
        let (_, question) = told.rsplit_once("id='offline-").unwrap();
        let (number, _) = question.split_once('\'').unwrap();
        world.send(receiver, &format!("<iq type='result' id='offline-{number}' to='montague.net'/>"));
        told
    };
    assert_eq!(both(&mut world).matches("</message>").count(), WAITING, "all come at once");
    assert_eq!(both(&mut world).matches("</message>").count(), WAITING, "each comes once");
    let calls = u32::try_from(WAITING).unwrap();
    super::compare(calls, &mut [("stored and fetched", &mut || drop(both(&mut world)))]);
}
