//! The clock and the dice of the operating system: the only places where the process asks for either.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use crate::xmpp::{Now, Random};

/// The time, read once per tick.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic side starts now.
    pub fn new() -> Self {
        Clock { start: Instant::now() }
    }

    /// The moment.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |millis: u128| u64::try_from(millis).unwrap_or(u64::MAX);
        Now { unix_millis: millis(unix.as_millis()), monotonic_millis: millis(self.start.elapsed().as_millis()) }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

/// Random bytes of the operating system.
#[derive(Debug)]
pub struct Dice(SystemRandom);

impl Dice {
    /// The system's dice.
    pub fn new() -> Self {
        Dice(SystemRandom::new())
    }
}

impl Default for Dice {
    fn default() -> Self {
        Dice::new()
    }
}

impl Random for Dice {
    fn fill(&mut self, buffer: &mut [u8]) {
        // Going on with numbers that can be guessed would be worse than not going on: tokens and salts come from here.
        if self.0.fill(buffer).is_err() {
            log::error!(target: "-internal", "the system has no random numbers; stopping");
            std::process::abort();
        }
    }
}
