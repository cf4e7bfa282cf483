//! Entity and character references, byte by byte.

use super::ReadError;
use super::chars::{NAME, START, class, is_xml};

/// What a reference awaits.
#[derive(Clone, Copy, Debug)]
enum State {
    /// After `&`: a name or `#`.
    Start,
    /// The rest of a name, or `;`.
    Name,
    /// After `&#`: `x` or a digit.
    Number,
    /// A digit; it was the first of them that told the base.
    FirstDigit,
    /// A digit, or `;`.
    Digit,
}

/// A reference that is being read, from after its `&` on.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    state: State,
    /// How many letters the name has so far.
    letters: u8,
    base: u32,
    /// The last four letters of the name, or the number so far.
    value: u32,
}

impl Reference {
    /// A reference of which nothing is known.
    pub(super) fn new() -> Reference {
        Reference { state: State::Start, letters: 0, base: 10, value: 0 }
    }

    /// Takes the next byte; true after the `;` of a reference that may stand.
    pub(super) fn take(&mut self, byte: u8) -> Result<bool, ReadError> {
        match (self.state, byte) {
            (State::Start, b'#') => self.state = State::Number,
            (State::Start, _) => return self.letter(byte, START),
            (State::Name, b';') => return self.name_end(),
            (State::Name, _) => return self.letter(byte, NAME),
            (State::Number, b'x') => {
                self.base = 16;
                self.state = State::FirstDigit;
            }
            // XML 1.0 §4.1: a number that is a character of XML.
            (State::Digit, b';') => {
                let valid = char::from_u32(self.value).is_some_and(is_xml);
                return if valid { Ok(true) } else { Err(ReadError::NotWellFormed) };
            }
            (State::Number | State::FirstDigit | State::Digit, _) => {
                let digit = char::from(byte).to_digit(self.base).ok_or(ReadError::NotWellFormed)?;
                self.value = self.value.saturating_mul(self.base).saturating_add(digit);
                self.state = State::Digit;
            }
        }
        Ok(false)
    }

    fn letter(&mut self, byte: u8, allowed: u8) -> Result<bool, ReadError> {
        if class(byte) & allowed == 0 {
            return Err(ReadError::NotWellFormed);
        }
        self.state = State::Name;
        self.letters = self.letters.saturating_add(1);
        self.value = self.value << 8 | u32::from(byte);
        // No predefined entity has a longer name.
        if self.letters > 4 { Err(ReadError::RestrictedXml) } else { Ok(false) }
    }

    /// RFC 6120 §11.1: no entity but the predefined ones.
    fn name_end(&self) -> Result<bool, ReadError> {
        match &self.value.to_be_bytes() {
            b"\0\0lt" | b"\0\0gt" | b"\0amp" | b"apos" | b"quot" => Ok(true),
            _ => Err(ReadError::RestrictedXml),
        }
    }
}
