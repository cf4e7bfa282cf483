//! What a search for a domain's server ends with.

use std::fmt;

pub use crate::server::Candidate;

/// Why a domain's server cannot be found, in words for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindError {
    /// The domain cannot be a name in DNS.
    BadName(String),
    /// The domain does not exist.
    NoDomain(String),
    /// The domain exists, but has nothing that leads to a server.
    NoAddress(String),
    /// RFC 2782: its SRV records say that it has no such service.
    NotOffered(String),
    /// Its SRV records name hosts without addresses.
    NoTarget(String, Vec<String>),
    /// DNS does not work, here or there; later it may. The second text says who did what.
    Failed(String, String),
}

impl FindError {
    /// May it be otherwise in a while? Then the senders hear of a time-out, else that there is no such server.
    pub fn is_temporary(&self) -> bool {
        matches!(self, FindError::Failed(..))
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::BadName(domain) => write!(f, "{domain:?} is not a name that DNS can have"),
            FindError::NoDomain(domain) => write!(f, "{domain} does not exist"),
            FindError::NoAddress(domain) => write!(f, "no SRV and no address for {domain}"),
            FindError::NotOffered(domain) => write!(f, "{domain} says that it has no XMPP server"),
            FindError::NoTarget(domain, targets) => {
                write!(f, "the SRV records of {domain} name {}: no address for that", targets.join(", "))
            }
            FindError::Failed(domain, why) => write!(f, "{domain} was not found: {why}"),
        }
    }
}
