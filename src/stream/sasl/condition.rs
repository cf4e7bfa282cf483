//! How a login fails: the conditions of RFC 6120 §6.5, and what to say about each failure to whom.

/// A defined condition, the child of `<failure/>` (RFC 6120 §6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The client sent `<abort/>` (§6.5.1).
    Aborted,
    /// The account is switched off (§6.5.2).
    AccountDisabled,
    /// The password must be renewed first (§6.5.3).
    CredentialsExpired,
    /// The mechanism may be used under TLS only (§6.5.4).
    EncryptionRequired,
    /// The data is not base64 as it must be (§6.5.5).
    IncorrectEncoding,
    /// The client may not act as the identity it asked for (§6.5.6).
    InvalidAuthzid,
    /// The mechanism is not one that was offered (§6.5.7).
    InvalidMechanism,
    /// The data does not follow the mechanism's grammar (§6.5.8).
    MalformedRequest,
    /// The account demands a stronger mechanism (§6.5.9).
    MechanismTooWeak,
    /// Wrong credentials, or no such account: the two are not told apart (§6.5.10).
    NotAuthorized,
    /// The server's own trouble; the client may try again later (§6.5.11).
    TemporaryAuthFailure,
}

impl Condition {
    /// All conditions, in the order of the RFC.
    pub const ALL: [Condition; 11] = [
        Condition::Aborted,
        Condition::AccountDisabled,
        Condition::CredentialsExpired,
        Condition::EncryptionRequired,
        Condition::IncorrectEncoding,
        Condition::InvalidAuthzid,
        Condition::InvalidMechanism,
        Condition::MalformedRequest,
        Condition::MechanismTooWeak,
        Condition::NotAuthorized,
        Condition::TemporaryAuthFailure,
    ];

    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Aborted => "aborted",
            Condition::AccountDisabled => "account-disabled",
            Condition::CredentialsExpired => "credentials-expired",
            Condition::EncryptionRequired => "encryption-required",
            Condition::IncorrectEncoding => "incorrect-encoding",
            Condition::InvalidAuthzid => "invalid-authzid",
            Condition::InvalidMechanism => "invalid-mechanism",
            Condition::MalformedRequest => "malformed-request",
            Condition::MechanismTooWeak => "mechanism-too-weak",
            Condition::NotAuthorized => "not-authorized",
            Condition::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}

/// Why an exchange ended without a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What the client is told.
    pub condition: Condition,
    /// A short fixed phrase for the log. It tells unknown names from wrong passwords, so it is not for the peer.
    pub why: &'static str,
    /// A sentence that may go into the `<text/>` of the failure: it helps, and gives nothing away.
    pub text: Option<&'static str>,
}

impl Failure {
    /// A failure whose reason the peer may know.
    pub const fn told(condition: Condition, why: &'static str) -> Failure {
        Failure { condition, why, text: Some(why) }
    }

    /// A failure whose reason is for the log alone.
    pub const fn silent(condition: Condition, why: &'static str) -> Failure {
        Failure { condition, why, text: None }
    }

    /// Was it a guess at a password? Anything else gives a guesser nothing, and needs no penalty.
    pub fn is_guess(&self) -> bool {
        matches!(self.condition, Condition::NotAuthorized | Condition::AccountDisabled)
    }

    /// `<abort/>` was received (RFC 6120 §6.4.4).
    pub const ABORTED: Failure = Failure::silent(Condition::Aborted, "aborted by the client");
    /// The password is not the account's.
    pub const WRONG_PASSWORD: Failure = Failure::silent(Condition::NotAuthorized, "wrong password");
    /// There is no such account; the peer sees what it sees for a wrong password.
    pub const NO_ACCOUNT: Failure = Failure::silent(Condition::NotAuthorized, "no such account");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_looks_like_a_wrong_password_to_the_peer() {
        let (wrong, unknown) = (Failure::WRONG_PASSWORD, Failure::NO_ACCOUNT);
        assert_eq!((wrong.condition, wrong.text), (unknown.condition, unknown.text));
        assert_ne!(wrong.why, unknown.why);
    }

    #[test]
    fn conditions_have_distinct_names() {
        let mut names: Vec<_> = Condition::ALL.iter().map(|condition| condition.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Condition::ALL.len());
    }
}
