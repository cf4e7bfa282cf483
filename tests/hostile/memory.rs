//! An allocator that counts, for each thread, what is allocated now and at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator with a counter.
pub struct Counting;

fn count(bytes: isize) {
    // A thread that is ending has no counters any more, and nobody who looks.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
    });
}

// SAFETY: everything is handed to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Measures from its start on.
pub struct Gauge(isize);

impl Gauge {
    pub fn start() -> Gauge {
        let now = NOW.with(Cell::get);
        MOST.with(|most| most.set(now));
        Gauge(now)
    }

    /// The most bytes beyond those of the start.
    pub fn most(&self) -> usize {
        usize::try_from(MOST.with(Cell::get) - self.0).unwrap_or(0)
    }
}
