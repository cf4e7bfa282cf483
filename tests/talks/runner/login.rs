//! The client's half of SCRAM (RFC 5802 §3), written for the talks and from the RFC, so that no mistake is made twice.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jabber::store::account::{Credentials, LegacyHash, ScramHash, ScramKeys};
use ring::{digest, hmac, pbkdf2};

/// XEP-0114 §3, for components; XEP-0078 §3.1, for clients.
pub fn sha1_hex(text: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rounds for accounts of talks: they guard nothing, and talks shall be quick.
const ROUNDS: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// What the store keeps of a password; `{SHA}…` is what jabberd 1.4 kept, and `SHA-1/…` what another server did that knew
/// no other hash. `kept/…` is a password that is kept as text besides.
pub fn credentials(password: &str) -> Credentials {
    if password.starts_with('{') {
        let legacy = LegacyHash { kind: "jabber:iq:auth:crypt".to_string(), value: password.to_string() };
        return Credentials { scram: Vec::new(), legacy: Some(legacy) };
    }
    let (hashes, password, salt): (&[_], _, &[u8]) = match password.split_once('/') {
        Some(("SHA-1", password)) => (&[ScramHash::Sha1], password, b"a longer salt, of another server"),
        Some(("kept", password)) => (&ScramHash::ALL, password, b"salt of the talks"),
        _ => (&[ScramHash::Sha1, ScramHash::Sha256, ScramHash::Sha512], password, b"salt of the talks"),
    };
    let keys = |hash| {
        let salt = salt.to_vec();
        let salted = salted(hash, password, &salt, ROUNDS);
        let stored_key = digest::digest(algorithms(hash).0, &mac(hash, &salted, b"Client Key")).as_ref().to_vec();
        let server_key = mac(hash, &salted, b"Server Key");
        ScramKeys { hash, iterations: ROUNDS.get(), salt, stored_key, server_key }
    };
    Credentials { scram: hashes.iter().map(|&hash| keys(hash)).collect(), legacy: None }
}

fn algorithms(hash: ScramHash) -> (&'static digest::Algorithm, hmac::Algorithm, pbkdf2::Algorithm) {
    match hash {
        ScramHash::Sha1 => {
            (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pbkdf2::PBKDF2_HMAC_SHA1)
        }
        ScramHash::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
        ScramHash::Sha512 => (&digest::SHA512, hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512),
    }
}

fn mac(hash: ScramHash, key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithms(hash).1, key), message).as_ref().to_vec()
}

fn salted(hash: ScramHash, password: &str, salt: &[u8], rounds: NonZeroU32) -> Vec<u8> {
    let mut out = vec![0; algorithms(hash).0.output_len()];
    pbkdf2::derive(algorithms(hash).2, rounds, salt, password.as_bytes(), &mut out);
    out
}

/// A login under way.
pub struct Scram {
    hash: ScramHash,
    gs2: String,
    first: String,
    nonce: String,
    /// The server's first message, once it came.
    challenge: Option<String>,
    /// What the server must prove itself with.
    verifier: Option<String>,
}

impl Scram {
    /// `{scram-first HASH GS2-HEADER NAME}`: the login, and its first message in base64.
    pub fn first(words: &[&str], serial: usize) -> Result<(Scram, String), String> {
        let [hash, gs2, name] = words else { return Err("scram-first HASH HEADER NAME".to_string()) };
        let hash = match *hash {
            "SHA-1" => ScramHash::Sha1,
            "SHA-256" => ScramHash::Sha256,
            "SHA-512" => ScramHash::Sha512,
            _ => return Err(format!("no such hash: {hash}")),
        };
        // RFC 5802 §5.1 has a comma at the end of the header; a talk may leave it out after `a=`.
        let gs2 = if gs2.ends_with(',') { (*gs2).to_string() } else { format!("{gs2},") };
        let nonce = format!("nonce-of-the-client-{serial}");
        let first = format!("n={name},r={nonce}");
        let message = STANDARD.encode(format!("{gs2}{first}"));
        Ok((Scram { hash, gs2, first, nonce, challenge: None, verifier: None }, message))
    }

    /// Takes the server's first message; gives its salt.
    pub fn challenged(&mut self, text: &str) -> Result<String, String> {
        let text = decoded(text)?;
        let field = |name: &str| text.split(',').find_map(|part| part.strip_prefix(name)).map(str::to_string);
        let nonce = field("r=").ok_or("no r= in the challenge")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() <= self.nonce.len() {
            return Err(format!("the nonce of the challenge does not go on ours: {text}"));
        }
        let rounds = field("i=").and_then(|rounds| rounds.parse::<u32>().ok());
        let salt = field("s=").ok_or("no s= in the challenge")?;
        rounds.ok_or("no i= in the challenge")?;
        self.challenge = Some(text);
        Ok(salt)
    }

    /// `{scram-final PASSWORD}`: the final message in base64. `binding` is the channel's, if the header asked for one.
    pub fn last(&mut self, password: &str, forged: bool, binding: &[u8]) -> Result<String, String> {
        let challenge = self.challenge.clone().ok_or("there was no challenge")?;
        let field = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name)).unwrap_or_default();
        let salt = STANDARD.decode(field("s=")).map_err(|error| error.to_string())?;
        let rounds = field("i=").parse::<NonZeroU32>().map_err(|error| error.to_string())?;
        let salted = salted(self.hash, password, &salt, rounds);
        let mut bound = self.gs2.clone().into_bytes();
        bound.extend_from_slice(binding);
        let without_proof = format!("c={},r={}", STANDARD.encode(bound), field("r="));
        let auth_message = format!("{},{challenge},{without_proof}", self.first);
        let client_key = mac(self.hash, &salted, b"Client Key");
        let stored_key = digest::digest(algorithms(self.hash).0, &client_key);
        let signature = mac(self.hash, stored_key.as_ref(), auth_message.as_bytes());
        let mut proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, byte)| key ^ byte).collect();
        if let Some(byte) = proof.last_mut().filter(|_| forged) {
            *byte ^= 1;
        }
        let server_key = mac(self.hash, &salted, b"Server Key");
        self.verifier = Some(STANDARD.encode(mac(self.hash, &server_key, auth_message.as_bytes())));
        Ok(STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(proof))))
    }

    /// Which channel binding the header asked for.
    pub fn binding(&self) -> Option<&str> {
        self.gs2.strip_prefix("p=").and_then(|rest| rest.split(',').next())
    }

    /// Is this the proof of the server?
    pub fn verify(&self, text: &str) -> Result<(), String> {
        let expected = format!("v={}", self.verifier.as_deref().ok_or("no final message was sent")?);
        let found = decoded(text)?;
        if found == expected { Ok(()) } else { Err(format!("the server proves itself with {found}, not {expected}")) }
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(text).map_err(|error| format!("not base64: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "not text".to_string())
}

/// `{b64 TEXT}`: `\0` is NUL, `\xHH` a byte.
pub fn base64(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        rest = if let Some(after) = after.strip_prefix('0') {
            bytes.push(0);
            after
        } else if let Some(hex) = after.strip_prefix('x').and_then(|after| after.get(..2)) {
            bytes.push(u8::from_str_radix(hex, 16).map_err(|error| error.to_string())?);
            &after[3..]
        } else {
            return Err(format!("what is \\{after}?"));
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(STANDARD.encode(bytes))
}
