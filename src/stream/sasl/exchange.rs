//! One login from `<auth/>` to its end, whichever the mechanism.

use super::condition::{Condition, Failure};
use super::mechanism::{Mechanism, Offer};
use super::plain::PlainLogin;
use super::scram::{self, ExpectFinal, NeedKeys, Success};
use super::transfer::MESSAGE_BYTES_MAX;
use crate::xmpp::Random;
use crate::xmpp::jid::{BareJid, Jid};

/// What an exchange wants next.
#[derive(Debug)]
pub enum Step {
    /// Send this as `<challenge/>` and give the client's `<response/>` to [`Exchange::respond`].
    Challenge(Vec<u8>, Exchange),
    /// Look up the account, then [`NeedKeys::known`] or [`NeedKeys::unknown`].
    NeedKeys(NeedKeys),
    /// PLAIN: let the helper thread check the password; the caller decides and answers.
    NeedVerdict(PlainLogin),
    /// Check the authzid, then send `<success/>`.
    Success(Success),
    /// Send `<failure/>`.
    Failure(Failure),
}

impl From<Failure> for Step {
    fn from(failure: Failure) -> Step {
        Step::Failure(failure)
    }
}

/// An exchange that waits for the client. Dropped when the client sends `<abort/>` ([`Failure::ABORTED`]) or
/// goes.
#[derive(Debug)]
pub struct Exchange(State);

#[derive(Debug)]
enum State {
    /// `<auth/>` came without an initial response: an empty challenge asks for it (RFC 6120 §6.4.2).
    ExpectInitial { mechanism: Mechanism, offer: Box<Offer>, nonce: String },
    /// SCRAM: the server's challenge is out.
    ExpectFinal(Box<ExpectFinal>),
}

impl Exchange {
    /// Begins with what `<auth/>` says; `initial` is its text, decoded by [`super::decode`].
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>, offer: &Offer, random: &mut dyn Random) -> Step {
        if !offer.mechanisms().contains(&mechanism) {
            return not_offered(mechanism).into();
        }
        let nonce = scram::draw_nonce(random);
        match initial {
            Some(message) => first(mechanism, message, offer, &nonce),
            None => {
                let offer = Box::new(offer.clone());
                Step::Challenge(Vec::new(), Exchange(State::ExpectInitial { mechanism, offer, nonce }))
            }
        }
    }

    /// Goes on with a `<response/>`, decoded by [`super::decode`]; no text is an empty response.
    pub fn respond(self, response: &[u8]) -> Step {
        match self.0 {
            State::ExpectInitial { mechanism, offer, nonce } => first(mechanism, response, &offer, &nonce),
            State::ExpectFinal(state) => match bounded(response).and_then(|message| state.client_final(message)) {
                Ok(success) => Step::Success(success),
                Err(failure) => failure.into(),
            },
        }
    }

    pub(super) fn expect_final(state: ExpectFinal) -> Exchange {
        Exchange(State::ExpectFinal(Box::new(state)))
    }
}

/// The client's first message, early or late.
fn first(mechanism: Mechanism, message: &[u8], offer: &Offer, nonce: &str) -> Step {
    let (hash, plus) = match mechanism {
        Mechanism::Plain => {
            let login = bounded(message).and_then(PlainLogin::parse);
            return login.map_or_else(Step::from, Step::NeedVerdict);
        }
        Mechanism::Scram(hash) => (hash, false),
        Mechanism::ScramPlus(hash) => (hash, true),
    };
    bounded(message)
        .and_then(|message| scram::client_first(hash, plus, message, offer, nonce))
        .map_or_else(Step::from, Step::NeedKeys)
}

/// [`super::decode`] bounds messages already; whoever does not use it is bounded here.
fn bounded(message: &[u8]) -> Result<&[u8], Failure> {
    if message.len() <= MESSAGE_BYTES_MAX {
        Ok(message)
    } else {
        Err(Failure::told(Condition::MalformedRequest, "SASL message too long"))
    }
}

/// PLAIN is withheld only for want of TLS, and there is a condition for that (RFC 6120 §6.5.4).
fn not_offered(mechanism: Mechanism) -> Failure {
    match mechanism {
        Mechanism::Plain => Failure::told(Condition::EncryptionRequired, "PLAIN needs TLS"),
        _ => Failure::told(Condition::InvalidMechanism, "mechanism not offered"),
    }
}

/// May the user act as `authzid`? Only as itself (RFC 6120 §6.3.8), given as the bare JID of `account` or not at
/// all.
///
/// # Errors
/// `<invalid-authzid/>`.
pub fn check_authzid(authzid: Option<&str>, account: &BareJid) -> Result<(), Failure> {
    let itself = match authzid {
        None => true,
        Some(text) => Jid::new(text).is_ok_and(|jid| jid.is_bare() && jid.as_str() == account.as_str()),
    };
    if itself { Ok(()) } else { Err(Failure::told(Condition::InvalidAuthzid, "one may log in as oneself only")) }
}
