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

/// What the servers log, where all that is said is told.
struct Told;

impl log::Log for Told {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        eprintln!("    {} {}: {}", record.level(), record.target(), record.args());
    }
    fn flush(&self) {}
}

/// From now on the servers' logs are told.
pub fn tell_logs() {
    if log::set_logger(&Told).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}
