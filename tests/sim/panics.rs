//! The server survives its own bugs; a test must not.

use std::cell::RefCell;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics are noted, for the thread they happen in.
pub fn listen() {
    std::panic::set_hook(Box::new(|info| {
        LAST.with(|last| *last.borrow_mut() = Some(info.to_string()));
    }));
}

/// The last panic of this thread.
pub fn taken() -> Option<String> {
    LAST.with(|last| last.borrow_mut().take())
}
