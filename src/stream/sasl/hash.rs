//! Work with passwords that takes milliseconds: handed to the helper thread as a value, answered by a value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use subtle::ConstantTimeEq as _;

use super::des_crypt::DesCrypt;
use super::keys::{self, HASHES, ITERATIONS, QUICK_HASHES, Salts};
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
    Derive { password: Password, hashes: &'static [ScramHash], salts: Salts },
    Verify { password: Password, keys: ScramKeys },
    Complete { password: Password, keys: ScramKeys, salts: Salts },
    Upgrade { password: Password, hash: LegacyHash, salts: Salts },
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Work::Derive { .. } => "Derive",
            Work::Verify { .. } => "Verify",
            Work::Complete { .. } => "Complete",
            Work::Upgrade { .. } => "Upgrade",
        })
    }
}

impl HashJob {
    /// Keys for a new password: [`Outcome::Derived`].
    pub fn derive(token: u64, password: Password, random: &mut dyn Random) -> HashJob {
        HashJob { token, work: Work::Derive { password, hashes: &HASHES, salts: Salts::new(random) } }
    }

    /// Keys for one of many passwords: as [`HashJob::derive`], in half the time. The longest hash is left out, which
    /// [`HashJob::complete`] adds.
    pub fn derive_quickly(token: u64, password: Password, random: &mut dyn Random) -> HashJob {
        HashJob { token, work: Work::Derive { password, hashes: QUICK_HASHES, salts: Salts::new(random) } }
    }

    /// Is this the password of an account that has keys for some hashes only? If so, keys for all of them:
    /// [`Outcome::Upgraded`].
    pub fn complete(token: u64, password: Password, keys: ScramKeys, random: &mut dyn Random) -> HashJob {
        HashJob { token, work: Work::Complete { password, keys, salts: Salts::new(random) } }
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
            Work::Derive { password, hashes, salts } => Outcome::Derived(keys::derive_for(hashes, &password, salts)),
            Work::Complete { password, keys, salts } => {
                Outcome::Upgraded(keys::verify(&keys, &password).then(|| keys::derive_all(&password, salts)))
            }
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

/// A hash as jabberd 1.4 kept it: enough to check a password once.
#[derive(Clone)]
pub enum LegacyHash {
    /// `{SHA}` and the base64 of the SHA-1 of the password (`mod_auth_crypt`).
    Sha1([u8; 20]),
    /// crypt(3) with DES (`mod_auth_crypt`).
    Des(DesCrypt),
    /// A chain of SHA-1 (`mod_auth_0k`), which its clients went down a step with each login.
    ZeroKnowledge {
        /// Steps from the password to `hash`: what is checked takes that long.
        sequence: u32,
        /// Mixed into the password, as text.
        token: String,
        /// SHA-1 in hexadecimal.
        hash: String,
    },
}

/// The longest chain that is followed: a client of the time made 500 steps. More would hold up other logins.
const SEQUENCE_MAX: u32 = 10_000;

impl std::fmt::Debug for LegacyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LegacyHash")
    }
}

impl LegacyHash {
    /// Reads a stored hash; `None` for a kind that cannot be checked.
    pub fn from_text(text: &str) -> Option<LegacyHash> {
        let text = text.trim();
        if let Some(encoded) = text.strip_prefix("{SHA}") {
            return Some(LegacyHash::Sha1(STANDARD.decode(encoded).ok()?.try_into().ok()?));
        }
        let Some(chain) = text.strip_prefix("{0k}") else { return DesCrypt::from_text(text).map(LegacyHash::Des) };
        let (sequence, rest) = chain.split_once(':')?;
        let (token, hash) = rest.split_once(':')?;
        let sequence = sequence.parse().ok().filter(|&steps| steps <= SEQUENCE_MAX)?;
        let is_hash = hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (token, hash) = (token.to_owned(), hash.to_ascii_lowercase());
        is_hash.then_some(LegacyHash::ZeroKnowledge { sequence, token, hash })
    }

    /// Back into the text that was read.
    pub fn to_text(&self) -> String {
        match self {
            LegacyHash::Sha1(bytes) => format!("{{SHA}}{}", STANDARD.encode(bytes)),
            LegacyHash::Des(hash) => hash.to_text(),
            LegacyHash::ZeroKnowledge { sequence, token, hash } => format!("{{0k}}{sequence}:{token}:{hash}"),
        }
    }

    /// The old server hashed the bytes as they came; SASLprep changes only those outside of ASCII.
    fn verify(&self, password: &Password) -> bool {
        match self {
            LegacyHash::Sha1(bytes) => {
                let hashed = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
                hashed.as_ref().ct_eq(bytes).into()
            }
            LegacyHash::Des(hash) => hash.verify(password.as_bytes()),
            LegacyHash::ZeroKnowledge { sequence, token, hash } => {
                let first = hex_sha1(password.as_bytes());
                let mut link = hex_sha1([first.as_bytes(), token.as_bytes()].concat().as_slice());
                for _ in 0..*sequence {
                    link = hex_sha1(link.as_bytes());
                }
                link.as_bytes().ct_eq(hash.as_bytes()).into()
            }
        }
    }
}

fn hex_sha1(bytes: &[u8]) -> String {
    let hashed = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    hashed.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
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
    fn keys_that_are_missing_are_added() {
        let some = derived(HashJob::derive_quickly(1, password("pencil"), &mut Dice(0)).run().outcome);
        assert!(some.keys(ScramHash::Sha512).is_none() && some.scram.len() == 2);
        let only = some.keys(ScramHash::Sha1).unwrap();
        let all = derived(HashJob::complete(2, password("pencil"), only.clone(), &mut Dice(9)).run().outcome);
        assert!(HASHES.iter().all(|&hash| keys::verify(all.keys(hash).unwrap(), &password("pencil"))));
        let wrong = HashJob::complete(3, password("pencils"), only.clone(), &mut Dice(9)).run().outcome;
        assert!(matches!(wrong, Outcome::Upgraded(None)));
    }

    #[test]
    fn a_decoy_looks_like_its_model() {
        let secret = DecoySecret::new(&[0; 32]);
        for (iterations, salt) in [(4096, 36), (10_000, 16), (100_000, 8), (5_000, 200)] {
            let model = ScramKeys { iterations, salt: vec![1; salt], ..secret.keys(ScramHash::Sha1, "model@h") };
            let decoy = secret.keys_like(&model, "nobody@h");
            assert_eq!((decoy.iterations, decoy.salt.len()), (iterations, salt));
            assert_eq!(decoy, secret.keys_like(&model, "nobody@h"));
            assert_ne!(decoy.salt, secret.keys_like(&model, "nobody2@h").salt);
        }
        assert_ne!(secret.place("a@h"), secret.place("b@h"));
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
        let sha = "{SHA}0vxRJJChUDZGC1SJQBQ51tpUB/o=";
        // The others are from spools of jabberd 1.4.
        for (right, text) in [
            ("pencil", sha),
            ("made-up-3", "{SHA}WxktHrqoCeCyJr9K3Ah5E76u/VY="),
            ("made-up-2", "abZfb8uPBHuAk"),
            ("made-up-4", "{0k}20:3F5E0A11:83c9d7722ece194f3b077dd9b126de68eefef9b3"),
            ("r0m30", "{0k}499:6B029BEB:379e986f8f36af48c83e38b0db32dd2b0f2f71cc"),
        ] {
            let hash = LegacyHash::from_text(text).unwrap();
            assert_eq!(hash.to_text(), text);
            let outcome = HashJob::upgrade(4, password(right), hash.clone(), &mut Dice(0)).run().outcome;
            assert!(keys::verify(keys::quickest(&derived(outcome)).unwrap(), &password(right)), "{text}");
            let outcome = HashJob::upgrade(5, password("Pencil"), hash, &mut Dice(0)).run().outcome;
            assert!(matches!(outcome, Outcome::Upgraded(None)), "{text}");
        }
    }

    #[test]
    fn old_hashes_that_cannot_be_checked() {
        for text in [
            "",
            "{SHA}",
            "{SHA}YQ==",
            "{sha}AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "{MD5}AAAA",
            "$1$abcdefg$h",
            "{SHA}%%",
            "{0k}1:2",
            "{0k}x:3F5E0A11:83c9d7722ece194f3b077dd9b126de68eefef9b3",
            "{0k}10001:3F5E0A11:83c9d7722ece194f3b077dd9b126de68eefef9b3",
            "{0k}20:3F5E0A11:83c9",
        ] {
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
