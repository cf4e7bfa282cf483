//! SCRAM, the server's side (RFC 5802 §5): each state is a type that knows only what it awaits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use super::condition::{Condition, Failure};
use super::exchange::{Exchange, Step};
use super::keys::{self, DecoySecret};
use super::mechanism::{Mechanism, Offer};
use super::message::{BindingFlag, ClientFinal, ClientFirst, Malformed};
use super::password::prepare_name;
use crate::store::account::{ScramHash, ScramKeys};
use crate::xmpp::Random;

/// Random bytes in our part of the nonce; a multiple of 3, for base64 without padding.
const NONCE_BYTES: usize = 18;
/// The same as text.
pub(super) const NONCE_TEXT_BYTES: usize = NONCE_BYTES / 3 * 4;

/// Draws our part of the nonce.
pub(super) fn draw_nonce(random: &mut dyn Random) -> String {
    let mut nonce = [0; NONCE_BYTES];
    random.fill(&mut nonce);
    STANDARD.encode(nonce)
}

impl From<Malformed> for Failure {
    fn from(Malformed(what): Malformed) -> Failure {
        Failure::told(Condition::MalformedRequest, what)
    }
}

/// The client has named itself; the caller looks for its keys.
pub struct NeedKeys {
    hash: ScramHash,
    username: String,
    authzid: Option<String>,
    /// What `c=` must be: the gs2-header, and the channel's data where the client binds.
    binding: Vec<u8>,
    client_first_bare: String,
    nonce: String,
}

/// What is signed and what TLS knows stay out of logs.
impl std::fmt::Debug for NeedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NeedKeys({:?}, {})", self.hash, self.username)
    }
}

/// Reads the client's first message; `nonce` is our part of it.
pub(super) fn client_first(
    hash: ScramHash,
    plus: bool,
    message: &[u8],
    offer: &Offer,
    nonce: &str,
) -> Result<NeedKeys, Failure> {
    let first = ClientFirst::parse(message)?;
    let channel = channel_data(first.flag, plus, offer)?;
    let username = prepare_name(&first.username).ok_or(Failure::told(Condition::MalformedRequest, "bad user name"))?;
    Ok(NeedKeys {
        hash,
        username,
        authzid: first.authzid,
        binding: [first.gs2_header.as_bytes(), channel].concat(),
        client_first_bare: first.bare.to_owned(),
        nonce: first.nonce.to_owned() + nonce,
    })
}

/// Decides about the channel binding flag (RFC 5802 §6) and finds the data to bind to; empty where nothing is
/// bound.
///
/// Compat: slixmpp 1.8 takes a `-PLUS` mechanism on TLS 1.3 and then says `n`. That proves what the same client
/// without `-PLUS` would prove, so it is let in.
fn channel_data<'a>(flag: BindingFlag<'_>, plus: bool, offer: &'a Offer) -> Result<&'a [u8], Failure> {
    match flag {
        BindingFlag::CannotBind => Ok(&[]),
        // The client did not see the offer we made: somebody between us took -PLUS out.
        BindingFlag::ThinksServerCannot if offer.binds() => Err(Failure::told(
            Condition::NotAuthorized,
            "channel binding was offered, but the client did not see it: the connection is tampered with",
        )),
        BindingFlag::ThinksServerCannot => Ok(&[]),
        BindingFlag::Binds(_) if !plus => {
            Err(Failure::told(Condition::MalformedRequest, "channel binding needs a -PLUS mechanism"))
        }
        BindingFlag::Binds(name) => offer
            .binding()
            .data(name)
            .ok_or(Failure::told(Condition::MalformedRequest, "unsupported channel binding type")),
    }
}

impl NeedKeys {
    /// The name the client gave, after SASLprep: a localpart, not yet prepared as one (RFC 6120 §6.3.7).
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Whom the client wants to act as; see [`super::check_authzid`].
    pub fn authzid(&self) -> Option<&str> {
        self.authzid.as_deref()
    }

    /// The hash whose keys are needed.
    pub fn hash(&self) -> ScramHash {
        self.hash
    }

    /// Goes on with the account's keys.
    pub fn known(self, keys: ScramKeys) -> Step {
        if keys.hash != self.hash {
            return Step::Failure(Failure::silent(Condition::TemporaryAuthFailure, "keys of another hash"));
        }
        self.challenge(keys, false)
    }

    /// Goes on without: the name has no account, or the account no keys for this hash. The client gets a
    /// challenge as any other, and fails at the end. `account` as in [`DecoySecret::keys`].
    /// `model` is an account's keys that those made up should look like.
    pub fn unknown(self, secret: &DecoySecret, account: &str, model: Option<&ScramKeys>) -> Step {
        let keys = match model.filter(|model| model.hash == self.hash) {
            Some(model) => secret.keys_like(model, account),
            None => secret.keys(self.hash, account),
        };
        self.challenge(keys, true)
    }

    fn challenge(self, keys: ScramKeys, decoy: bool) -> Step {
        let server_first = format!("r={},s={},i={}", self.nonce, STANDARD.encode(&keys.salt), keys.iterations);
        let challenge = server_first.clone().into_bytes();
        Step::Challenge(challenge, Exchange::expect_final(ExpectFinal { first: self, server_first, keys, decoy }))
    }
}

/// The challenge is out; the client's proof is awaited.
pub(super) struct ExpectFinal {
    first: NeedKeys,
    server_first: String,
    keys: ScramKeys,
    decoy: bool,
}

impl std::fmt::Debug for ExpectFinal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExpectFinal({:?}, {})", self.first.hash, self.first.username)
    }
}

/// The client has proved that it knows the password.
#[derive(Debug, PartialEq, Eq)]
pub struct Success {
    /// The name as in [`NeedKeys::username`].
    pub username: String,
    /// Whom the client wants to act as; to be checked before success is sent ([`super::check_authzid`]).
    pub authzid: Option<String>,
    /// What proved it, for the log.
    pub mechanism: Mechanism,
    /// The message for `<success/>`: it proves to the client that we know its keys.
    pub server_final: Vec<u8>,
}

impl ExpectFinal {
    /// Reads the client's final message. Everything is looked at before anything is refused for a wrong value,
    /// and a decoy fails where a wrong password does.
    pub(super) fn client_final(self, message: &[u8]) -> Result<Success, Failure> {
        let last = ClientFinal::parse(message)?;
        let auth_message = [&self.first.client_first_bare, &*self.server_first, last.without_proof].join(",");
        let proved = keys::proves(&self.keys, auth_message.as_bytes(), &last.proof)
            .ok_or(Failure::told(Condition::MalformedRequest, "proof of the wrong length"))?;
        if !bool::from(last.nonce.as_bytes().ct_eq(self.first.nonce.as_bytes())) {
            return Err(Failure::silent(Condition::NotAuthorized, "the nonce is not the one of this exchange"));
        }
        if !bool::from(last.binding.ct_eq(&self.first.binding)) {
            return Err(Failure::told(
                Condition::NotAuthorized,
                "channel binding does not match: the client speaks TLS with somebody else, or changed its mind",
            ));
        }
        match (self.decoy, proved) {
            (true, _) => return Err(Failure::NO_ACCOUNT),
            (false, false) => return Err(Failure::WRONG_PASSWORD),
            (false, true) => {}
        }
        let signature = STANDARD.encode(keys::server_signature(&self.keys, auth_message.as_bytes()));
        let bound = self.first.binding.starts_with(b"p=");
        let hash = self.first.hash;
        Ok(Success {
            username: self.first.username,
            authzid: self.first.authzid,
            mechanism: if bound { Mechanism::ScramPlus(hash) } else { Mechanism::Scram(hash) },
            server_final: format!("v={signature}").into_bytes(),
        })
    }
}
