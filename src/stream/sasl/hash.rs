//! Work with passwords that takes milliseconds: handed to the helper thread as a value, answered by a value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use subtle::ConstantTimeEq as _;

use super::keys::{self, ITERATIONS, Salts};
use super::password::Password;
use crate::store::account::{Credentials, ScramHash, ScramKeys};
use crate::xmpp::Random;

/// One piece of work. `token` is the asker's, given back in the [`HashResult`]: an asker that is gone is simply
/// not found.
#[derive(Debug)]
pub struct HashJob {
    token: u64,
    work: Work,
}

enum Work {
    Derive { password: Password, salts: Salts },
    Verify { password: Password, keys: ScramKeys },
    Upgrade { password: Password, hash: LegacyHash, salts: Salts },
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Work::Derive { .. } => "Derive",
            Work::Verify { .. } => "Verify",
            Work::Upgrade { .. } => "Upgrade",
        })
    }
}

impl HashJob {
    /// Keys for a new password: [`Outcome::Derived`].
    pub fn derive(token: u64, password: Password, random: &mut dyn Random) -> HashJob {
        HashJob { token, work: Work::Derive { password, salts: Salts::new(random) } }
    }

    /// Is this the password? [`Outcome::Verified`]. Take the [`super::quickest`] keys of the account; for a name
    /// without an account those of [`super::DecoySecret`] for SHA-256, so that the answer takes as long.
    pub fn verify(token: u64, password: Password, keys: ScramKeys) -> HashJob {
        HashJob { token, work: Work::Verify { password, keys } }
    }

    /// Is this the password of an account that came from jabberd 1.4? If so, keys to keep in place of the old
    /// hash: [`Outcome::Upgraded`].
    pub fn upgrade(token: u64, password: Password, hash: LegacyHash, random: &mut dyn Random) -> HashJob {
        HashJob { token, work: Work::Upgrade { password, hash, salts: Salts::new(random) } }
    }

    /// Whose work it is.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// The same work under another token, for whoever stands between the asker and the helper thread.
    #[must_use]
    pub fn with_token(self, token: u64) -> HashJob {
        HashJob { token, ..self }
    }

    /// Does the work, in the helper thread. The password is wiped when it is done.
    pub fn run(self) -> HashResult {
        let outcome = match self.work {
            Work::Derive { password, salts } => Outcome::Derived(keys::derive_all(&password, salts)),
            Work::Verify { password, keys } => Outcome::Verified(keys::verify(&keys, &password)),
            Work::Upgrade { password, hash, salts } if hash.verify(&password) => {
                Outcome::Upgraded(Some(keys::derive_all(&password, salts)))
            }
            Work::Upgrade { password, .. } => {
                // A wrong password must take as long as it does for any other account.
                let _ = keys::derive(ScramHash::Sha256, &password, Vec::new(), ITERATIONS);
                Outcome::Upgraded(None)
            }
        };
        HashResult { token: self.token, outcome }
    }
}

/// What came of a [`HashJob`].
#[derive(Debug)]
pub struct HashResult {
    /// The job's token.
    pub token: u64,
    /// The answer.
    pub outcome: Outcome,
}

/// The answer to a [`HashJob`].
#[derive(Debug)]
pub enum Outcome {
    /// The keys of the password.
    Derived(Credentials),
    /// Whether it is the password.
    Verified(bool),
    /// The keys to keep from now on; `None`: it is not the password.
    Upgraded(Option<Credentials>),
    /// Too much such work waits already; the job was not done.
    Busy,
}

/// A hash as jabberd 1.4's `mod_auth_crypt` kept it (`jabber:iq:auth:crypt`): enough to check a password once.
#[derive(Clone)]
pub enum LegacyHash {
    /// `{SHA}` and the base64 of the SHA-1 of the password.
    Sha1([u8; 20]),
}

impl std::fmt::Debug for LegacyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LegacyHash")
    }
}

impl LegacyHash {
    /// Reads a stored hash; `None` for a kind that cannot be checked (DES crypt, so far).
    pub fn from_text(text: &str) -> Option<LegacyHash> {
        let bytes = STANDARD.decode(text.trim().strip_prefix("{SHA}")?).ok()?;
        Some(LegacyHash::Sha1(bytes.try_into().ok()?))
    }

    /// Back into the text that was read.
    pub fn to_text(&self) -> String {
        match self {
            LegacyHash::Sha1(bytes) => format!("{{SHA}}{}", STANDARD.encode(bytes)),
        }
    }

    /// The old server hashed the bytes as they came; SASLprep changes only those outside of ASCII.
    fn verify(&self, password: &Password) -> bool {
        match self {
            LegacyHash::Sha1(bytes) => {
                let hashed = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
                hashed.as_ref().ct_eq(bytes).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{DecoySecret, HASHES};
    use super::*;

    struct Dice(u8);

    impl Random for Dice {
        fn fill(&mut self, buffer: &mut [u8]) {
            for byte in buffer {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
        }
    }

    fn password(text: &str) -> Password {
        Password::new(text).unwrap()
    }

    fn derived(outcome: Outcome) -> Credentials {
        match outcome {
            Outcome::Derived(credentials) | Outcome::Upgraded(Some(credentials)) => credentials,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_derived_password_is_verified() {
        let made = HashJob::derive(1, password("pencil"), &mut Dice(0)).run();
        assert_eq!(made.token, 1);
        let credentials = derived(made.outcome);
        let salts: Vec<_> = HASHES.iter().map(|&hash| credentials.keys(hash).unwrap().salt.clone()).collect();
        assert!(salts[0] != salts[1] && salts[1] != salts[2] && salts[0] != salts[2]);
        for hash in HASHES {
            let keys = credentials.keys(hash).unwrap();
            assert_eq!(keys.iterations, ITERATIONS.get());
            for (text, right) in [("pencil", true), ("Pencil", false), ("penc\u{AD}il", true), ("pencil ", false)] {
                let outcome = HashJob::verify(2, password(text), keys.clone()).run().outcome;
                assert!(matches!(outcome, Outcome::Verified(answer) if answer == right), "{text}");
            }
        }
    }

    #[test]
    fn a_decoy_is_never_verified() {
        let keys = DecoySecret::new(&[0; 32]).keys(ScramHash::Sha256, "nobody@localhost");
        let outcome = HashJob::verify(3, password("pencil"), keys).run().outcome;
        assert!(matches!(outcome, Outcome::Verified(false)));
    }

    #[test]
    fn an_old_hash_becomes_keys() {
        // Python: base64.b64encode(hashlib.sha1(b"pencil").digest())
        let text = "{SHA}0vxRJJChUDZGC1SJQBQ51tpUB/o=";
        let hash = LegacyHash::from_text(text).unwrap();
        assert_eq!(hash.to_text(), text);
        let outcome = HashJob::upgrade(4, password("pencil"), hash.clone(), &mut Dice(0)).run().outcome;
        assert!(keys::verify(keys::quickest(&derived(outcome)).unwrap(), &password("pencil")));
        let outcome = HashJob::upgrade(5, password("Pencil"), hash, &mut Dice(0)).run().outcome;
        assert!(matches!(outcome, Outcome::Upgraded(None)));
    }

    #[test]
    fn old_hashes_that_cannot_be_checked() {
        for text in
            ["", "{SHA}", "{SHA}YQ==", "{sha}AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "{MD5}AAAA", "abJnggxhB/yWI", "{SHA}%%"]
        {
            assert!(LegacyHash::from_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_tells_no_secret() {
        let job = HashJob::derive(9, password("secret"), &mut Dice(0));
        assert_eq!(format!("{job:?}"), "HashJob { token: 9, work: Derive }");
        fn is_send<T: Send>(_: &T) {}
        is_send(&job);
        is_send(&job.run());
    }
}
