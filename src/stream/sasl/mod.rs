//! SASL, the server's side (RFC 6120 §6): who a client says it is, proved by password.
//!
//! Mechanisms: SCRAM with SHA-1, SHA-256 and SHA-512 (RFC 5802, RFC 7677), each also bound to the TLS channel
//! (`-PLUS`; RFC 9266, RFC 5929), and PLAIN (RFC 4616). What lives here takes bytes that were base64 and gives
//! bytes that become base64: no XML, no sockets, no clock, no database; dice and keys are handed in. It serves
//! `c2s`.
//!
//! Invariants: no password is kept, only keys ([`crate::store::account::ScramKeys`]); secrets are compared in constant time and shown by no
//! `Debug`; a name without an account is answered as one that has one, up to the same refusal at the same point
//! ([`DecoySecret`]).
//!
//! Why not the `rsasl` crate, which has stored keys: it draws its own random numbers, tells unknown names apart,
//! leaves names escaped and has no fixed set of channel bindings. The primitives are ring's.
//!
//! A login: [`Exchange::start`] with the client's `<auth/>`, then follow the [`Step`]s:
//! ```text
//! ExpectInitial --<response/>--+            +--known(keys)---+
//!      ^ Challenge("")         v            |                v
//!    start -- SCRAM --------> NeedKeys -----+-- unknown() -> ExpectFinal --<response/>--> Success | Failure
//!      +----- PLAIN --------> NeedVerdict (a HashJob for the helper thread; the caller decides)
//! ```

mod condition;
mod des_crypt;
mod exchange;
mod hash;
mod keys;
mod mechanism;
mod message;
mod password;
mod plain;
mod scram;
mod transfer;

pub use condition::{Condition, Failure};
pub use exchange::{Exchange, Step, check_authzid};
pub use hash::{HashJob, HashResult, LegacyHash, Outcome};
pub use keys::{DecoySecret, ITERATIONS, quickest};
pub use mechanism::{BindingData, Mechanism, Offer};
pub use password::{PASSWORD_BYTES_MAX, Password, PasswordError};
pub use plain::PlainLogin;
pub use scram::{NeedKeys, Success};
pub use transfer::{MESSAGE_BYTES_MAX, decode, encode};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
