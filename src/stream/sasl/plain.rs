//! PLAIN (RFC 4616): the password itself, so under TLS only unless a listener is told otherwise.

use super::condition::{Condition, Failure};
use super::hash::HashJob;
use super::password::{NAME_BYTES_MAX, Password, prepare_name};
use crate::store::account::ScramKeys;

/// What the client says. Whether the password is right is for the helper thread to find out: make a
/// [`HashJob::verify`] (or [`HashJob::upgrade`]) of it, also for a name without an account.
#[derive(Debug)]
pub struct PlainLogin {
    /// The name, after SASLprep: a localpart, not yet prepared as one.
    pub username: String,
    /// Whom the client wants to act as; see [`super::check_authzid`].
    pub authzid: Option<String>,
    /// The password, after SASLprep.
    pub password: Password,
}

impl PlainLogin {
    /// Reads `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
    pub(super) fn parse(message: &[u8]) -> Result<PlainLogin, Failure> {
        let malformed = |what| Failure::told(Condition::MalformedRequest, what);
        let text = std::str::from_utf8(message).map_err(|_| malformed("not UTF-8 text"))?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(name), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("PLAIN needs three parts"));
        };
        if authzid.len() > NAME_BYTES_MAX {
            return Err(malformed("authzid too long"));
        }
        let authzid = (!authzid.is_empty()).then(|| authzid.to_owned());
        let username = prepare_name(name).ok_or(malformed("bad user name"))?;
        // Such a password cannot have been set, so it is a wrong one (RFC 4616 §2: fails to prepare, fails to log
        // in).
        let password =
            Password::new(password).map_err(|_| Failure::silent(Condition::NotAuthorized, "unusable password"))?;
        Ok(PlainLogin { username, authzid, password })
    }

    /// The work that decides.
    pub fn verify(self, token: u64, keys: ScramKeys) -> HashJob {
        HashJob::verify(token, self.password, keys)
    }
}
