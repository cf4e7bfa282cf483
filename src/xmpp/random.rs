//! Dice, handed in: protocol code never asks the operating system.

use std::fmt::Write as _;

/// A source of random bytes. The daemon's is the operating system's; the tests' repeats.
pub trait Random {
    /// Fills the buffer with unpredictable bytes.
    fn fill(&mut self, buffer: &mut [u8]);

    /// A token of 128 bits in hexadecimal (design rule 7), for ids that must not be guessed.
    fn token(&mut self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let mut text = String::with_capacity(32);
        for byte in bytes {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Dice of tests that fall on seven.
#[cfg(test)]
pub struct NoDice;

#[cfg(test)]
impl Random for NoDice {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}
