//! What is kept of a password: SCRAM keys (RFC 5802 §3), one set for each hash.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::password::Password;
use crate::xmpp::Random;

/// Rounds of PBKDF2 for new keys. RFC 7677 §4 asks for 4096 at least; design rule 7 for 10 000.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();

/// Most rounds that keys from outside (an import) may ask for: above it one login would hold the hashing thread
/// for seconds.
const ITERATIONS_MAX: u32 = 1_000_000;
/// Bytes of a new salt.
const SALT_BYTES: usize = 16;
/// Longest salt that keys from outside may have, in bytes.
const SALT_BYTES_MAX: usize = 256;

/// The hash of a SCRAM mechanism; greater is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-1: RFC 5802.
    Sha1,
    /// SHA-256: RFC 7677.
    Sha256,
    /// SHA-512: the same construction, registered with IANA.
    Sha512,
}

impl Algorithm {
    /// All of them, weakest first.
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];

    /// The SCRAM mechanism's name, which also names the scheme of stored keys (RFC 5803 §2).
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha1 => "SCRAM-SHA-1",
            Algorithm::Sha256 => "SCRAM-SHA-256",
            Algorithm::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The algorithm of a scheme's name.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Algorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => &digest::SHA256,
            Algorithm::Sha512 => &digest::SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Algorithm::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Algorithm::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Algorithm::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn mac(self, key: &[u8], message: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message)
    }

    /// Length of a key and of a proof.
    pub(super) fn output_bytes(self) -> usize {
        self.digest().output_len()
    }
}

/// The stored half of a password for one hash. Whoever steals it cannot log in with it, but can try passwords.
#[derive(Clone)]
pub struct ScramKeys {
    algorithm: Algorithm,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramKeys({}, {} iterations)", self.algorithm.name(), self.iterations)
    }
}

impl ScramKeys {
    /// Derives the keys of a password: some milliseconds of work, not for the loop.
    pub fn derive(algorithm: Algorithm, password: &Password, salt: Vec<u8>, iterations: NonZeroU32) -> ScramKeys {
        let mut salted = Zeroizing::new(vec![0; algorithm.output_bytes()]);
        pbkdf2::derive(algorithm.pbkdf2(), iterations, &salt, password.as_bytes(), &mut salted);
        let client_key = algorithm.mac(&salted, b"Client Key");
        let stored_key = digest::digest(algorithm.digest(), client_key.as_ref()).as_ref().to_vec();
        let server_key = algorithm.mac(&salted, b"Server Key").as_ref().to_vec();
        ScramKeys { algorithm, iterations, salt, stored_key, server_key }
    }

    /// Keys made elsewhere (XEP-0227 §6, an import). `None` where a length or the number of rounds cannot be.
    pub fn from_parts(
        algorithm: Algorithm,
        iterations: u32,
        salt: Vec<u8>,
        stored_key: Vec<u8>,
        server_key: Vec<u8>,
    ) -> Option<ScramKeys> {
        let iterations = NonZeroU32::new(iterations).filter(|rounds| rounds.get() <= ITERATIONS_MAX)?;
        let length = algorithm.output_bytes();
        let fits = stored_key.len() == length && server_key.len() == length;
        (fits && (1..=SALT_BYTES_MAX).contains(&salt.len())).then_some(ScramKeys {
            algorithm,
            iterations,
            salt,
            stored_key,
            server_key,
        })
    }

    /// The hash these keys are for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Rounds of PBKDF2.
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// The salt, which every client that asks is told.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Is this the password? The work of [`ScramKeys::derive`], not for the loop.
    pub fn verify(&self, password: &Password) -> bool {
        let other = ScramKeys::derive(self.algorithm, password, self.salt.clone(), self.iterations);
        self.stored_key.ct_eq(&other.stored_key).into()
    }

    /// Does the proof show that the client knows the password (RFC 5802 §3)? `None` for a proof of another
    /// length.
    ///
    /// ClientKey = proof XOR HMAC(StoredKey, auth message), and H(ClientKey) must be StoredKey.
    pub(super) fn proves(&self, auth_message: &[u8], proof: &[u8]) -> Option<bool> {
        if proof.len() != self.algorithm.output_bytes() {
            return None;
        }
        let signature = self.algorithm.mac(&self.stored_key, auth_message);
        let client_key: Zeroizing<Vec<u8>> =
            Zeroizing::new(proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect());
        let hashed = digest::digest(self.algorithm.digest(), &client_key);
        Some(hashed.as_ref().ct_eq(&self.stored_key).into())
    }

    /// ServerSignature (RFC 5802 §3): shows the client that we know its keys.
    pub(super) fn server_signature(&self, auth_message: &[u8]) -> Vec<u8> {
        self.algorithm.mac(&self.server_key, auth_message).as_ref().to_vec()
    }

    /// As text for the store: the scheme and its values as in RFC 5803 §2.
    pub fn to_text(&self) -> String {
        let [salt, stored, server] =
            [&self.salt, &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        format!("{}${}:{salt}${stored}:{server}", self.algorithm.name(), self.iterations)
    }

    /// Back from [`ScramKeys::to_text`]; `None` for any other text.
    pub fn from_text(text: &str) -> Option<ScramKeys> {
        let mut parts = text.split('$');
        let (scheme, info, value) = (parts.next()?, parts.next()?, parts.next()?);
        let (iterations, salt) = info.split_once(':')?;
        let (stored, server) = value.split_once(':')?;
        let bytes = |text: &str| STANDARD.decode(text).ok();
        let algorithm = Algorithm::from_name(scheme).filter(|_| parts.next().is_none())?;
        ScramKeys::from_parts(algorithm, iterations.parse().ok()?, bytes(salt)?, bytes(stored)?, bytes(server)?)
    }
}

/// All keys of an account's password. Made by us they are for every [`Algorithm`]; imported ones may be for
/// fewer.
#[derive(Debug, Clone)]
pub struct Credentials(Vec<ScramKeys>);

impl Credentials {
    /// Keys for every hash. Tens of milliseconds of work, not for the loop; `salts` come from [`Salts::new`].
    pub(super) fn derive(password: &Password, salts: Salts, iterations: NonZeroU32) -> Credentials {
        let pairs = Algorithm::ALL.into_iter().zip(salts.0);
        Credentials(
            pairs.map(|(algorithm, salt)| ScramKeys::derive(algorithm, password, salt.to_vec(), iterations)).collect(),
        )
    }

    /// The keys for a mechanism's hash.
    pub fn keys(&self, algorithm: Algorithm) -> Option<&ScramKeys> {
        self.0.iter().find(|keys| keys.algorithm == algorithm)
    }

    /// The keys to check a whole password with: SHA-256 has a fast path in most processors; any other will do.
    pub fn any(&self) -> Option<&ScramKeys> {
        self.keys(Algorithm::Sha256).or_else(|| self.0.first())
    }

    /// As text for the store: one line for each hash.
    pub fn to_text(&self) -> String {
        self.0.iter().map(ScramKeys::to_text).collect::<Vec<_>>().join("\n")
    }

    /// Back from [`Credentials::to_text`]: `None` if no line is there, one cannot be read, or a hash is there
    /// twice.
    pub fn from_text(text: &str) -> Option<Credentials> {
        Credentials::new(text.lines().map(ScramKeys::from_text).collect::<Option<_>>()?)
    }

    /// From keys made elsewhere: at least one, and one for each hash at most.
    pub fn new(keys: Vec<ScramKeys>) -> Option<Credentials> {
        let once = |one: &ScramKeys| keys.iter().filter(|other| other.algorithm == one.algorithm).count() == 1;
        (!keys.is_empty() && keys.iter().all(once)).then_some(Credentials(keys))
    }
}

/// Fresh salts, one for each hash.
pub(super) struct Salts([[u8; SALT_BYTES]; Algorithm::ALL.len()]);

impl Salts {
    pub(super) fn new(random: &mut dyn Random) -> Salts {
        let mut salts = [[0; SALT_BYTES]; Algorithm::ALL.len()];
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

    /// Keys that no password opens. `account` is the bare JID that was looked up, normalised as for an account
    /// that exists: names that would find the same account must get the same salt, and the same name another one
    /// on each host.
    pub fn keys(&self, algorithm: Algorithm, account: &str) -> ScramKeys {
        let part = |what: &str, length: usize| {
            let message = [what, algorithm.name(), account].join("\0");
            hmac::sign(&self.0, message.as_bytes()).as_ref().iter().copied().take(length).collect::<Vec<u8>>()
        };
        ScramKeys {
            algorithm,
            iterations: ITERATIONS,
            salt: part("salt", SALT_BYTES),
            stored_key: part("stored key", algorithm.output_bytes()),
            server_key: part("server key", algorithm.output_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(algorithm: Algorithm) -> ScramKeys {
        let rounds = NonZeroU32::new(4096).unwrap();
        ScramKeys::derive(algorithm, &Password::new("pencil").unwrap(), b"0123456789abcdef".to_vec(), rounds)
    }

    /// Made with Python: `hashlib.pbkdf2_hmac(h, b"pencil", b"0123456789abcdef", 4096)`, then hmac and the hash
    /// itself.
    #[test]
    fn keys_as_another_implementation_derives_them() {
        for (algorithm, text) in super::super::vectors::STORED {
            assert_eq!(keys(algorithm).to_text(), text);
        }
    }

    #[test]
    fn keys_survive_the_store() {
        for algorithm in Algorithm::ALL {
            let text = keys(algorithm).to_text();
            let back = ScramKeys::from_text(&text).unwrap();
            assert_eq!(back.to_text(), text);
            assert!(back.verify(&Password::new("pencil").unwrap()));
            assert!(!back.verify(&Password::new("pencils").unwrap()));
        }
        let all = Credentials::new(Algorithm::ALL.map(keys).to_vec()).unwrap();
        let back = Credentials::from_text(&all.to_text()).unwrap();
        assert_eq!(back.to_text(), all.to_text());
        assert_eq!(back.any().unwrap().algorithm(), Algorithm::Sha256);
        assert!(Credentials::new(vec![]).is_none());
        assert!(Credentials::new(vec![keys(Algorithm::Sha1), keys(Algorithm::Sha1)]).is_none());
        assert_eq!(Credentials::new(vec![keys(Algorithm::Sha1)]).unwrap().any().unwrap().algorithm(), Algorithm::Sha1);
    }

    #[test]
    fn text_that_is_no_keys() {
        let good = keys(Algorithm::Sha1).to_text();
        assert!(ScramKeys::from_text(&good).is_some());
        for bad in [
            String::new(),
            "$".into(),
            "$:$:".into(),
            good.replace("SCRAM-SHA-1", "SCRAM-SHA-256"),
            good.replace("SCRAM-SHA-1", "SCRAM-MD5"),
            good.replace("4096", "0"),
            good.replace("4096", "-1"),
            good.replace("4096", "1000001"),
            good.replace("4096", "99999999999"),
            good.replace(':', ""),
            good.replace('$', ""),
            good.replace("MDEyMzQ1Njc4OWFiY2RlZg==", ""),
            format!("{good}$"),
            format!("{good}="),
            good.trim_end_matches('=').to_owned(),
        ] {
            assert!(ScramKeys::from_text(&bad).is_none(), "{bad}");
        }
        assert!(Credentials::from_text("").is_none());
        assert!(Credentials::from_text(&format!("{good}\n{good}")).is_none());
        assert!(Credentials::from_text(&format!("{good}\nx")).is_none());
    }

    #[test]
    fn decoys_are_the_same_each_time_and_differ_by_name_hash_and_secret() {
        let secret = DecoySecret::new(&[7; 32]);
        let decoy = |name| secret.keys(Algorithm::Sha256, name);
        assert_eq!(decoy("a@b").to_text(), decoy("a@b").to_text());
        assert_ne!(decoy("a@b").salt(), decoy("a@c").salt());
        assert_ne!(decoy("a@b").salt(), secret.keys(Algorithm::Sha1, "a@b").salt());
        assert_ne!(decoy("a@b").salt(), DecoySecret::new(&[8; 32]).keys(Algorithm::Sha256, "a@b").salt());
        for algorithm in Algorithm::ALL {
            let real = keys(algorithm);
            let decoy = secret.keys(algorithm, "a@b");
            assert_eq!(decoy.salt().len(), SALT_BYTES);
            assert_eq!(decoy.iterations(), ITERATIONS);
            assert_eq!(
                decoy.to_text().split('$').next_back().unwrap().len(),
                real.to_text().split('$').next_back().unwrap().len()
            );
        }
    }

    #[test]
    fn debug_tells_no_key() {
        assert_eq!(format!("{:?}", keys(Algorithm::Sha1)), "ScramKeys(SCRAM-SHA-1, 4096 iterations)");
        assert_eq!(format!("{:?}", DecoySecret::new(&[7; 32])), "DecoySecret");
    }
}
