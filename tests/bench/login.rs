//! A login: from the first byte to a bound resource, all that the server does of it.

use std::time::Duration;

use jabber::store::Store;

use crate::world::{self, Door, World};

const LOGINS: usize = 301;

pub(crate) fn run() {
    println!("  -- header to bound by SCRAM-SHA-256, without the client's part, the network and TLS itself");
    let mut store = Store::in_memory().unwrap();
    world::accounts(&mut store, LOGINS);
    let mut world = World::new(store);
    for (name, door) in [("plain", Door::Plain), ("after STARTTLS", Door::StartTls)] {
        let mut figures = Vec::with_capacity(LOGINS);
        for number in 0..LOGINS {
            world.spent = Duration::ZERO;
            let id = world.login(number, door);
            figures.push(world.spent.as_nanos() as f64);
            world.hang_up(id);
        }
        println!("  {name:<44} {:>9.0} ns", super::median(&mut figures));
    }
}
