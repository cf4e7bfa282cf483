//! A client's new presence for all its contacts, who are online: what each delivery costs.

use jabber::store::Store;
use jabber::store::roster::{self, RosterItem, Subscription};
use jabber::xmpp::{BareJid, Jid};

use crate::world::{self, Door, World};

pub(crate) const PRESENCE: &str = "<presence><show>away</show><status>On the balcony.</status>\
                        <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://gajim.org' \
                        ver='b4bFbcrXzjNJwKZqRS7fhrTfhPU='/></presence>";

pub(crate) fn run() {
    println!("  -- a broadcast through a whole tick, per delivery");
    for contacts in [10_usize, 100, 1000] {
        let mut store = Store::in_memory().unwrap();
        world::accounts(&mut store, contacts + 1);
        for number in 1..=contacts {
            befriend(&mut store, 0, number);
            befriend(&mut store, number, 0);
        }
        store.commit().unwrap();
        let mut world = World::new(store);
        let hub = world.available(0, Door::Plain);
        for number in 1..=contacts {
            world.available(number, Door::Plain);
        }
        let told = world.tick(&[(hub, PRESENCE.as_bytes())]).len();
        assert_eq!(told, contacts + 1, "each contact is told, and the client itself");
        let name = format!("{contacts} contacts");
        let deliveries = u32::try_from(contacts).unwrap();
        super::compare(deliveries, &mut [(&name, &mut || drop(world.tick(&[(hub, PRESENCE.as_bytes())])))]);
    }
}

pub(crate) fn befriend(store: &mut Store, one: usize, other: usize) {
    let mut item = RosterItem::new(Jid::new(&world::bare(other)).unwrap());
    item.subscription = Subscription::Both;
    roster::upsert(store, &BareJid::new(&world::bare(one)).unwrap(), &item).unwrap();
}
