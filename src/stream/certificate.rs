//! Whether another server's certificate proves that it is the domain it says it is.

use crate::xmpp::Now;

/// The authorities that we trust, and the names that we accept (RFC 6120 §13.7.1.2).
pub trait Trust {
    /// Is the certificate valid now, for this domain? `chain` is DER, the peer's own certificate first.
    ///
    /// # Errors
    /// What is wrong with it, in words for the log.
    fn check(&self, chain: &[Vec<u8>], domain: &str, now: Now) -> Result<(), String>;
}

/// Trusts nobody: for a server that is an island.
pub struct TrustNobody;

impl Trust for TrustNobody {
    fn check(&self, _: &[Vec<u8>], _: &str, _: Now) -> Result<(), String> {
        Err("no certificate authorities are known".to_string())
    }
}
