//! What an idle session costs in the server's memory, sockets and TLS not counted (see the script `sockets` for those).

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use jabber::store::Store;

use crate::world::{self, Door, World};

const SESSIONS: usize = 10_000;

/// Counts what is allocated, as glibc's malloc has it: a word of its own for each piece, and whole 16 bytes.
pub(crate) struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);

fn cost(layout: Layout) -> isize {
    isize::try_from(((layout.size() + 8 + 15) & !15).max(32)).unwrap_or_default()
}

// SAFETY: each call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTS.load(Ordering::Relaxed) {
            LIVE.fetch_add(cost(layout), Ordering::Relaxed);
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if COUNTS.load(Ordering::Relaxed) {
            LIVE.fetch_sub(cost(layout), Ordering::Relaxed);
        }
        unsafe { System.dealloc(place, layout) };
    }
}

pub(crate) fn run() {
    println!("  -- {SESSIONS} sessions in memory, bytes each");
    for (name, door) in [("plain", Door::Plain), ("after STARTTLS", Door::StartTls)] {
        for (what, is_available) in [("bound", false), ("roster fetched, available", true)] {
            let enter = if is_available { World::available } else { World::login };
            let mut store = Store::in_memory().unwrap();
            world::accounts(&mut store, SESSIONS);
            let mut world = World::new(store);
            // What is allocated once is there before counting begins.
            let first = enter(&mut world, 0, door);
            world.hang_up(first);
            LIVE.store(0, Ordering::Relaxed);
            COUNTS.store(true, Ordering::Relaxed);
            for number in 0..SESSIONS {
                enter(&mut world, number, door);
            }
            COUNTS.store(false, Ordering::Relaxed);
            let bytes = LIVE.load(Ordering::Relaxed) / isize::try_from(SESSIONS).unwrap();
            println!("  {:<44} {bytes:>9} bytes", format!("{name}, {what}"));
        }
    }
}
