//! One XML stream's talk: header, features, TLS, SASL, binding, stanzas, end.
//!
//! [`c2s::C2s`] is a client's stream, told as a state machine without sockets: bytes are pushed in, [`c2s::Action`]s are
//! taken out, and what it writes collects in a buffer. [`sasl`] proves who a client is, [`legacy_auth`] does so for
//! clients from before SASL, [`header`] and [`features`] hold the grammar.
//!
//! Serves `server/`, which executes the actions. Invariant: a stanza that leaves this room came from an authenticated,
//! bound peer, and its `from` is that peer's (rule 6 of the design).

pub mod bind;
pub mod c2s;
pub mod certificate;
pub mod component;
pub mod dialback;
pub mod features;
pub mod header;
pub mod legacy_auth;
pub mod s2s_in;
pub mod s2s_out;
pub mod sasl;
pub mod sm;
pub mod socks5;
pub(crate) mod wire;

use std::borrow::Cow;
use std::fmt;

use crate::config::federation::RemotePolicy;
use crate::config::{BlockAction, Blocks, Config};
use crate::store::Store;
use crate::xml::Element;
use crate::xmpp::stanza::NotAStanza;
use crate::xmpp::{Jid, Now, Random, Stanza, jid, ns};

/// What a step of a stream is handed.
pub struct Env<'a> {
    /// The moment of this tick.
    pub now: Now,
    /// Dice.
    pub random: &'a mut dyn Random,
    /// The data of accounts.
    pub store: &'a mut Store,
    /// The configuration in force.
    pub config: &'a Config,
    /// The address of the peer had many failed logins of late.
    pub address_is_suspect: bool,
    /// A client of this address failed of late because the account has an old hash only: it may do better with PLAIN.
    pub plain_is_due: bool,
    /// Makes the answers for names without an account look like the others.
    pub decoy: &'a sasl::DecoySecret,
    /// Domains with which nothing is exchanged.
    pub blocks: &'a Blocks,
    /// Makes dialback keys.
    pub dialback: &'a dialback::DialbackSecret,
    /// Judges certificates of other servers.
    pub trust: &'a dyn certificate::Trust,
}

/// Why a stream between servers is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// We ended it, or the connection did; in words.
    Ours(String),
    /// The peer closed its stream: it read all that came before.
    Peer,
    /// The peer closed its stream with an error (RFC 6120 §4.9): the condition, and its text, if it gave one.
    PeerFailed(String, String),
}

impl Over {
    /// Read off the peer's `<stream:error/>`.
    fn by(error: &Element) -> Over {
        let condition = error.children().find(|child| child.ns() == ns::STREAM_ERRORS && child.name() != "text");
        let name = condition.map_or("an error", Element::name);
        let text = error.child("text", ns::STREAM_ERRORS).map(|text| text.text()).unwrap_or_default();
        // A line in a log has room for so much.
        Over::PeerFailed(name.chars().take(60).collect(), text.chars().take(200).collect())
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Over::Ours(why) => f.write_str(why),
            Over::Peer => f.write_str("the other server ended the stream"),
            Over::PeerFailed(name, text) if text.is_empty() => write!(f, "the other server ended the stream: {name}"),
            Over::PeerFailed(name, text) => write!(f, "the other server ended the stream: {name} ({text})"),
        }
    }
}

impl Env<'_> {
    /// What is asked of a remote domain.
    pub fn policy(&self, domain: &str) -> RemotePolicy {
        self.config.federation.as_ref().map(|federation| federation.policy(domain)).unwrap_or_default()
    }

    /// Is this domain blocked in a way that it is told of?
    pub fn refuses(&self, domain: &str) -> bool {
        self.blocks.of(domain).is_some_and(|block| block.action == BlockAction::Bounce)
    }

    /// Reads a stanza. Where it means a domain of ours it has the name that we have for it.
    ///
    /// # Errors
    /// It is none.
    pub fn stanza(&self, element: Element) -> Result<Stanza, NotAStanza> {
        let mut stanza = Stanza::parse(element)?;
        // Most are as they should be, and stay what they are.
        let is_named = |jid: &&Jid| matches!(jid::one_name(jid::domain(jid)), Cow::Owned(_));
        let ours = |jid: Option<&Jid>| jid.filter(is_named).map(|jid| self.config.with_own_name(jid.clone()));
        if let Some(to) = ours(stanza.to()) {
            stanza = stanza.with_to(to);
        }
        if let Some(from) = ours(stanza.from()) {
            stanza = stanza.with_from(from);
        }
        Ok(stanza)
    }

    /// Is this domain one of ours, or a component's?
    pub fn is_own(&self, domain: &str) -> bool {
        self.config.is_own(domain)
    }
}

/// What TLS tells about a connection, once the handshake is done.
#[derive(Clone, Debug)]
pub struct TlsInfo {
    /// `TLSv1.3`, as people write it.
    pub protocol: &'static str,
    /// The cipher suite's name.
    pub cipher: String,
    /// RFC 9266 §2: the `tls-exporter` binding, where the connection has one.
    pub exporter: Option<[u8; 32]>,
    /// RFC 5929 §4: the `tls-server-end-point` binding, the hash of our certificate.
    pub end_point: Option<Vec<u8>>,
    /// The host that the client asked for by SNI.
    pub sni: Option<String>,
    /// The application protocol that was agreed on.
    pub alpn: Option<Vec<u8>>,
    /// The peer's certificates as DER, its own first; empty if it gave none.
    pub peer: Vec<Vec<u8>>,
}
