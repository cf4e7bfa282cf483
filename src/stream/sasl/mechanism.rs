//! Which mechanisms there are, and which of them a stream offers.

use crate::store::account::ScramHash;

/// A mechanism; greater is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// The password itself (RFC 4616).
    Plain,
    /// Proof of the password (RFC 5802, RFC 7677).
    Scram(ScramHash),
    /// Proof of the password, and that no one sits between the two ends of TLS.
    ScramPlus(ScramHash),
}

impl Mechanism {
    /// All mechanisms, strongest first.
    pub const ALL: [Mechanism; 7] = [
        Mechanism::ScramPlus(ScramHash::Sha512),
        Mechanism::ScramPlus(ScramHash::Sha256),
        Mechanism::ScramPlus(ScramHash::Sha1),
        Mechanism::Scram(ScramHash::Sha512),
        Mechanism::Scram(ScramHash::Sha256),
        Mechanism::Scram(ScramHash::Sha1),
        Mechanism::Plain,
    ];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram(ScramHash::Sha1) => "SCRAM-SHA-1",
            Mechanism::Scram(ScramHash::Sha256) => "SCRAM-SHA-256",
            Mechanism::Scram(ScramHash::Sha512) => "SCRAM-SHA-512",
            Mechanism::ScramPlus(ScramHash::Sha1) => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramPlus(ScramHash::Sha256) => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramPlus(ScramHash::Sha512) => "SCRAM-SHA-512-PLUS",
        }
    }

    /// The mechanism of a name; mechanism names are in upper case (RFC 4422 §3.1).
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// What both ends of one TLS connection know and nobody between them can.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BindingData {
    /// `tls-exporter` (RFC 9266).
    ///
    /// Compat: hand it over for TLS 1.3 only. `-PLUS` is offered where it is known, and clients such as slixmpp
    /// 1.8 that see `-PLUS` on TLS 1.2 insist on `tls-unique`, which rustls does not tell, and would fail to log
    /// in.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point`: the hash of our certificate (RFC 5929 §4.1).
    pub end_point: Option<Vec<u8>>,
}

impl std::fmt::Debug for BindingData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.types()).finish()
    }
}

impl BindingData {
    /// The types we have data for, best first.
    fn types(&self) -> Vec<&'static str> {
        let known = [(EXPORTER, self.exporter.is_some()), (END_POINT, self.end_point.is_some())];
        known.into_iter().filter_map(|(name, known)| known.then_some(name)).collect()
    }

    /// The data of a channel binding type; `None` for a type we do not know or have no data for.
    pub(super) fn data(&self, name: &str) -> Option<&[u8]> {
        match name {
            EXPORTER => self.exporter.as_ref().map(|data| data.as_slice()),
            END_POINT => self.end_point.as_deref(),
            _ => None,
        }
    }
}

const EXPORTER: &str = "tls-exporter";
const END_POINT: &str = "tls-server-end-point";

/// What one stream offers in its features: kept until the client has chosen, since SCRAM checks that the client
/// saw the same list (RFC 5802 §6).
#[derive(Debug, Clone)]
pub struct Offer {
    mechanisms: Vec<Mechanism>,
    binding: BindingData,
}

impl Offer {
    /// The offer of a stream: `tls` is what TLS knows, `None` without TLS. `plain_in_clear` allows PLAIN without
    /// TLS, for listeners that are told so.
    pub fn new(tls: Option<BindingData>, plain_in_clear: bool) -> Offer {
        let secure = tls.is_some();
        let binding = tls.unwrap_or_default();
        let mechanisms = Mechanism::ALL
            .into_iter()
            .filter(|mechanism| match mechanism {
                Mechanism::ScramPlus(_) => binding.exporter.is_some(),
                Mechanism::Scram(_) => true,
                Mechanism::Plain => secure || plain_in_clear,
            })
            .collect();
        Offer { mechanisms, binding }
    }

    /// The same without the mechanisms that need keys of other hashes than these.
    #[must_use]
    pub fn limited_to(mut self, hashes: &[ScramHash]) -> Offer {
        self.mechanisms.retain(|mechanism| match mechanism {
            Mechanism::ScramPlus(hash) | Mechanism::Scram(hash) => hashes.contains(hash),
            Mechanism::Plain => true,
        });
        self
    }

    /// Nothing but PLAIN, where that may be: for whoever has an old hash only, which nothing else can be checked against.
    #[must_use]
    pub fn plain_if_possible(mut self) -> Offer {
        if self.mechanisms.contains(&Mechanism::Plain) {
            self.mechanisms = vec![Mechanism::Plain];
        }
        self
    }

    /// The mechanisms, strongest first, as RFC 6120 §6.3.3 wants them listed.
    pub fn mechanisms(&self) -> &[Mechanism] {
        &self.mechanisms
    }

    /// The types for `<sasl-channel-binding/>` (XEP-0440 §2); empty: leave the element out.
    pub fn channel_bindings(&self) -> Vec<&'static str> {
        if self.binds() { self.binding.types() } else { Vec::new() }
    }

    /// Is any `-PLUS` among the mechanisms?
    pub(super) fn binds(&self) -> bool {
        self.mechanisms.iter().any(|mechanism| matches!(mechanism, Mechanism::ScramPlus(_)))
    }

    /// What TLS knows.
    pub(super) fn binding(&self) -> &BindingData {
        &self.binding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(offer: &Offer) -> Vec<&'static str> {
        offer.mechanisms().iter().map(|mechanism| mechanism.name()).collect()
    }

    #[test]
    fn the_offer_depends_on_the_channel() {
        let exporter = BindingData { exporter: Some([1; 32]), end_point: Some(vec![2; 32]) };
        let tls12 = BindingData { exporter: None, end_point: Some(vec![2; 32]) };
        let scram = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"];
        let plus = ["SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"];
        let clear = Offer::new(None, false);
        assert_eq!(names(&clear), scram);
        assert_eq!(names(&Offer::new(None, true)), [&scram[..], &["PLAIN"]].concat());
        let offer = Offer::new(Some(tls12), false);
        assert_eq!(names(&offer), [&scram[..], &["PLAIN"]].concat());
        assert!(offer.channel_bindings().is_empty());
        let offer = Offer::new(Some(exporter), false);
        assert_eq!(names(&offer), [&plus[..], &scram[..], &["PLAIN"]].concat());
        assert_eq!(offer.channel_bindings(), ["tls-exporter", "tls-server-end-point"]);
    }

    #[test]
    fn an_offer_can_be_narrowed() {
        let secure = || Offer::new(Some(BindingData { exporter: Some([1; 32]), end_point: None }), false);
        assert_eq!(names(&secure().limited_to(&[ScramHash::Sha1])), ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"]);
        assert_eq!(names(&secure().limited_to(&[])), ["PLAIN"]);
        let plain = secure().plain_if_possible();
        assert_eq!((names(&plain), plain.channel_bindings().len()), (vec!["PLAIN"], 0));
        assert_eq!(names(&Offer::new(None, false).plain_if_possible()).len(), 3);
    }

    #[test]
    fn the_list_is_by_strength_and_names_are_found() {
        assert!(Mechanism::ALL.windows(2).all(|pair| pair[0] > pair[1]));
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
        }
        for name in ["", "plain", "DIGEST-MD5", "SCRAM-SHA-224", "SCRAM-SHA-1-plus", " PLAIN"] {
            assert_eq!(Mechanism::from_name(name), None);
        }
    }
}
