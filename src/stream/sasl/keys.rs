//! What is kept of a password: SCRAM keys (RFC 5802 §3), one set for each hash. The store keeps them, this makes and
//! checks them.

use std::num::NonZeroU32;

use ring::pbkdf2::{self as ring_pbkdf2, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA512};
use ring::{digest, hmac};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::password::Password;
use crate::store::account::{Credentials, ScramHash, ScramKeys};
use crate::xmpp::Random;

/// Rounds of PBKDF2 for new keys. RFC 7677 §4 asks for 4096 at least; design rule 7 for 10 000.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

/// Bytes of a new salt.
const SALT_BYTES: usize = 16;

/// The hashes that keys are made for, weakest first.
pub(super) const HASHES: [ScramHash; 3] = ScramHash::ALL;

/// The hashes for each of many passwords at once: every client knows one of them. On the machine where it was measured the
/// three take 1.4, 2.7 and 6.4 ms.
pub(super) const QUICK_HASHES: &[ScramHash] = &[ScramHash::Sha1, ScramHash::Sha256];

fn digest_of(hash: ScramHash) -> &'static digest::Algorithm {
    match hash {
        ScramHash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        ScramHash::Sha256 => &digest::SHA256,
        ScramHash::Sha512 => &digest::SHA512,
    }
}

/// Hi() (RFC 5802 §2.2), which is PBKDF2. SHA-1 is not ring's: ring has it for compatibility only, in plain Rust, and takes
/// four times as long.
fn salted(hash: ScramHash, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Zeroizing<Vec<u8>> {
    let mut salted = Zeroizing::new(vec![0; digest_of(hash).output_len()]);
    match hash {
        ScramHash::Sha1 => pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, salt, iterations.get(), &mut salted),
        ScramHash::Sha256 => ring_pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, salt, password, &mut salted),
        ScramHash::Sha512 => ring_pbkdf2::derive(PBKDF2_HMAC_SHA512, iterations, salt, password, &mut salted),
    }
    salted
}

fn mac(hash: ScramHash, key: &[u8], message: &[u8]) -> hmac::Tag {
    let algorithm = match hash {
        ScramHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ScramHash::Sha256 => hmac::HMAC_SHA256,
        ScramHash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message)
}

/// Derives the keys of a password: some milliseconds of work, not for the loop.
pub(super) fn derive(hash: ScramHash, password: &Password, salt: Vec<u8>, iterations: NonZeroU32) -> ScramKeys {
    let salted = salted(hash, password.as_bytes(), &salt, iterations);
    let client_key = mac(hash, &salted, b"Client Key");
    let stored_key = digest::digest(digest_of(hash), client_key.as_ref()).as_ref().to_vec();
    let server_key = mac(hash, &salted, b"Server Key").as_ref().to_vec();
    ScramKeys { hash, iterations: iterations.get(), salt, stored_key, server_key }
}

/// Keys for every hash: tens of milliseconds of work, not for the loop.
pub(super) fn derive_all(password: &Password, salts: Salts) -> Credentials {
    derive_for(&HASHES, password, salts)
}

/// Keys for some hashes.
pub(super) fn derive_for(hashes: &[ScramHash], password: &Password, salts: Salts) -> Credentials {
    let pairs = hashes.iter().copied().zip(salts.0);
    let scram = pairs.map(|(hash, salt)| derive(hash, password, salt.to_vec(), ITERATIONS)).collect();
    Credentials { scram, legacy: None }
}

/// Is this the password? The work of [`derive()`], not for the loop.
pub(super) fn verify(keys: &ScramKeys, password: &Password) -> bool {
    NonZeroU32::new(keys.iterations).is_some_and(|iterations| {
        let other = derive(keys.hash, password, keys.salt.clone(), iterations);
        other.stored_key.ct_eq(&keys.stored_key).into()
    })
}

/// Does the proof show that the client knows the password (RFC 5802 §3)? `None` for a proof of another length.
///
/// ClientKey = proof XOR HMAC(StoredKey, auth message), and H(ClientKey) must be StoredKey.
pub(super) fn proves(keys: &ScramKeys, auth_message: &[u8], proof: &[u8]) -> Option<bool> {
    let signature = mac(keys.hash, &keys.stored_key, auth_message);
    if proof.len() != signature.as_ref().len() {
        return None;
    }
    let client_key: Zeroizing<Vec<u8>> =
        Zeroizing::new(proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect());
    let hashed = digest::digest(digest_of(keys.hash), &client_key);
    Some(hashed.as_ref().ct_eq(&keys.stored_key).into())
}

/// ServerSignature (RFC 5802 §3): shows the client that we know its keys.
pub(super) fn server_signature(keys: &ScramKeys, auth_message: &[u8]) -> Vec<u8> {
    mac(keys.hash, &keys.server_key, auth_message).as_ref().to_vec()
}

/// The keys to check a whole password with: SHA-256 has a fast path in most processors; any other will do.
/// `None` for an account that has none.
pub fn quickest(credentials: &Credentials) -> Option<&ScramKeys> {
    credentials.keys(ScramHash::Sha256).or_else(|| credentials.scram.first())
}

/// Fresh salts, one for each hash.
pub(super) struct Salts([[u8; SALT_BYTES]; HASHES.len()]);

impl Salts {
    pub(super) fn new(random: &mut dyn Random) -> Salts {
        let mut salts = [[0; SALT_BYTES]; HASHES.len()];
        salts.iter_mut().for_each(|salt| random.fill(salt));
        Salts(salts)
    }
}

/// Makes up keys for accounts that do not exist, always the same for the same name, so that nobody can find out
/// by asking who has an account here (RFC 5802 §9 leaves the user name to be probed; salts of chance would tell).
pub struct DecoySecret(hmac::Key);

impl std::fmt::Debug for DecoySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecoySecret")
    }
}

impl DecoySecret {
    /// From 32 random bytes that are made once and kept in the store: a salt that changes with each start would
    /// tell.
    pub fn new(secret: &[u8; 32]) -> DecoySecret {
        DecoySecret(hmac::Key::new(hmac::HMAC_SHA512, secret))
    }

    /// Where in the table of accounts to look for one that a name without an account is made to look like: an account's
    /// keys may be of another server's making, with another length of salt and number of rounds, or there may be an old
    /// hash only; so what is not there must differ in the same ways.
    pub fn place(&self, account: &str) -> u64 {
        let tag = hmac::sign(&self.0, ["place", account].join("\0").as_bytes());
        tag.as_ref().iter().take(8).fold(0, |place, &byte| place << 8 | u64::from(byte))
    }

    /// [`DecoySecret::keys`] that look like those of an account in all that a client gets to see.
    pub fn keys_like(&self, model: &ScramKeys, account: &str) -> ScramKeys {
        let mut keys = self.keys(model.hash, account);
        for round in 0_u32.. {
            if keys.salt.len() >= model.salt.len() {
                break;
            }
            keys.salt.extend(self.part(&format!("salt {round}"), model.hash, account, SALT_BYTES));
        }
        keys.salt.truncate(model.salt.len());
        keys.iterations = model.iterations;
        keys
    }

    fn part(&self, what: &str, hash: ScramHash, account: &str, length: usize) -> Vec<u8> {
        let name = super::mechanism::Mechanism::Scram(hash).name();
        let message = [what, name, account].join("\0");
        hmac::sign(&self.0, message.as_bytes()).as_ref().iter().copied().take(length).collect()
    }

    /// Keys that no password opens. `account` is the bare JID that was looked up, normalised as for an account
    /// that exists: names that would find the same account must get the same salt, and the same name another one
    /// on each host.
    pub fn keys(&self, hash: ScramHash, account: &str) -> ScramKeys {
        let length = digest_of(hash).output_len();
        let part = |what, length| self.part(what, hash, account, length);
        ScramKeys {
            hash,
            iterations: ITERATIONS.get(),
            salt: part("salt", SALT_BYTES),
            stored_key: part("stored key", length),
            server_key: part("server key", length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(hash: ScramHash) -> ScramKeys {
        let rounds = NonZeroU32::new(4096).unwrap();
        derive(hash, &Password::new("pencil").unwrap(), b"0123456789abcdef".to_vec(), rounds)
    }

    #[test]
    fn keys_as_another_implementation_derives_them() {
        for (hash, stored, server) in super::super::vectors::STORED {
            let (keys, bytes) = (keys(hash), |text| super::super::decode(text).unwrap().unwrap());
            assert_eq!(keys.stored_key, *bytes(stored));
            assert_eq!(keys.server_key, *bytes(server));
        }
    }

    #[test]
    fn only_the_password_verifies() {
        let verifies = |keys: &ScramKeys, text| verify(keys, &Password::new(text).unwrap());
        for hash in HASHES {
            let good = keys(hash);
            assert!(verifies(&good, "pencil"));
            assert!(!verifies(&good, "pencils"));
            // What only a broken store can hold.
            assert!(!verifies(&ScramKeys { iterations: 0, ..good.clone() }, "pencil"));
            assert!(!verifies(&ScramKeys { stored_key: vec![], ..good.clone() }, "pencil"));
            assert!(!verifies(&ScramKeys { salt: vec![], ..good.clone() }, "pencil"));
        }
    }

    #[test]
    fn a_whole_password_is_checked_with_the_quickest() {
        let credentials =
            |hashes: &[ScramHash]| Credentials { scram: hashes.iter().map(|&hash| keys(hash)).collect(), legacy: None };
        assert_eq!(quickest(&credentials(&HASHES)).unwrap().hash, ScramHash::Sha256);
        assert_eq!(quickest(&credentials(&[ScramHash::Sha512])).unwrap().hash, ScramHash::Sha512);
        assert_eq!(quickest(&credentials(&[])), None);
    }

    #[test]
    fn decoys_are_the_same_each_time_and_differ_by_name_hash_and_secret() {
        let secret = DecoySecret::new(&[7; 32]);
        let decoy = |name| secret.keys(ScramHash::Sha256, name);
        assert_eq!(decoy("a@b"), decoy("a@b"));
        assert_ne!(decoy("a@b").salt, decoy("a@c").salt);
        assert_ne!(decoy("a@b").salt, secret.keys(ScramHash::Sha1, "a@b").salt);
        assert_ne!(decoy("a@b").salt, DecoySecret::new(&[8; 32]).keys(ScramHash::Sha256, "a@b").salt);
        for hash in HASHES {
            let (real, decoy) = (keys(hash), secret.keys(hash, "a@b"));
            assert_eq!((decoy.salt.len(), decoy.iterations), (SALT_BYTES, ITERATIONS.get()));
            assert_eq!(decoy.stored_key.len(), real.stored_key.len());
            assert_eq!(decoy.server_key.len(), real.server_key.len());
        }
        assert_eq!(format!("{secret:?}"), "DecoySecret");
    }
}
