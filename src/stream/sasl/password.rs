//! Names and passwords as SASL compares them: prepared with SASLprep (RFC 4013), bounded, wiped when done with.

use stringprep::saslprep;
use zeroize::Zeroizing;

/// Longest password, in bytes of UTF-8, before and after preparation: bounds what a login can make us normalise.
pub const PASSWORD_BYTES_MAX: usize = 1023;

/// Longest name, in bytes of UTF-8: that of a localpart (RFC 7622 §3.3).
pub(super) const NAME_BYTES_MAX: usize = 1023;

/// A password that passed SASLprep: 1 to [`PASSWORD_BYTES_MAX`] bytes. Memory is zeroed when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// Why a password cannot be used. `Display` is fit for the person who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordError {
    /// Nothing, or nothing but characters that SASLprep drops.
    Empty,
    /// More than [`PASSWORD_BYTES_MAX`] bytes.
    TooLong,
    /// Control characters, unassigned code points or mixed directions (RFC 4013 §2.3 to §2.5).
    Forbidden,
}

impl Password {
    /// Prepares a password as a stored string: unassigned code points are refused (RFC 5802 §2.2), since a client
    /// of another Unicode version might normalise them differently.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub fn new(text: &str) -> Result<Password, PasswordError> {
        if text.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        // saslprep borrows what it need not change; an owned result is ours to wipe.
        let prepared = saslprep(text).map_err(|_| PasswordError::Forbidden)?;
        let prepared = Zeroizing::new(prepared.into_owned());
        match prepared.len() {
            0 => Err(PasswordError::Empty),
            1..=PASSWORD_BYTES_MAX => Ok(Password(prepared)),
            _ => Err(PasswordError::TooLong),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl std::fmt::Display for PasswordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PasswordError::Empty => "the password is empty",
            PasswordError::TooLong => "the password is longer than 1023 bytes",
            PasswordError::Forbidden => "the password has characters that cannot be used in passwords",
        })
    }
}

impl std::error::Error for PasswordError {}

/// Prepares a user name; `None` for one that cannot be prepared, is empty or too long.
pub(super) fn prepare_name(text: &str) -> Option<String> {
    if text.len() > NAME_BYTES_MAX {
        return None;
    }
    let prepared = saslprep(text).ok()?;
    (1..=NAME_BYTES_MAX).contains(&prepared.len()).then(|| prepared.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saslprep_as_in_rfc_4013() {
        // RFC 4013 §3, and mappings of §2.1.
        for (input, output) in [
            ("I\u{AD}X", "IX"),
            ("user", "user"),
            ("USER", "USER"),
            ("\u{AA}", "a"),
            ("\u{2168}", "IX"),
            ("a\u{A0}b", "a b"),
            ("a\u{3000}b", "a b"),
            ("pa\u{2060}ss", "pass"),
            ("e\u{301}", "\u{E9}"),
            (" ", " "),
            ("\u{627}1\u{628}", "\u{627}1\u{628}"),
        ] {
            assert_eq!(prepare_name(input).as_deref(), Some(output), "{input:?}");
            assert_eq!(Password::new(input).unwrap().as_bytes(), output.as_bytes());
        }
    }

    #[test]
    fn what_cannot_be_a_password() {
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        // One character of 3 bytes that NFKC turns into 18 characters of 33 bytes.
        let growing = "\u{FDFA}".repeat(40);
        for (input, error) in [
            ("", PasswordError::Empty),
            ("\u{AD}", PasswordError::Empty),
            ("\u{2060}\u{FE00}", PasswordError::Empty),
            ("a\u{7}", PasswordError::Forbidden),
            ("a\0", PasswordError::Forbidden),
            ("\u{7F}", PasswordError::Forbidden),
            ("\u{627}1", PasswordError::Forbidden),
            ("a\u{627}", PasswordError::Forbidden),
            ("\u{E000}", PasswordError::Forbidden),
            ("\u{FFFD}", PasswordError::Forbidden),
            ("\u{2FF0}", PasswordError::Forbidden),
            ("\u{E0041}", PasswordError::Forbidden),
            ("\u{1F600}", PasswordError::Forbidden),
            (&long, PasswordError::TooLong),
            (&growing, PasswordError::TooLong),
        ] {
            assert_eq!(Password::new(input), Err(error), "{input:?}");
            assert_eq!(prepare_name(input), None);
        }
        assert!(Password::new(&"x".repeat(PASSWORD_BYTES_MAX)).is_ok());
    }

    #[test]
    fn debug_tells_nothing() {
        assert_eq!(format!("{:?}", Password::new("secret").unwrap()), "Password");
    }
}
