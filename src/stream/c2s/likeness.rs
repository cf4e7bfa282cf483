//! What a name without an account is made to look like, and what is offered to accounts that have an old hash only.
//!
//! Accounts that came from another server may have keys with another number of rounds than ours, or nothing but a hash
//! of the time before SCRAM, which only a whole password can be checked against. Both show in a login, so a name without
//! an account must show the same as often: it is made to look like some account of the host, always the same one
//! ([`account::some_account`]). Whoever sees the one or the other learns nothing about whether the name exists.
//!
//! A client takes the strongest mechanism, SCRAM, fails, and mostly does not try another: it asks for the password again,
//! or simply connects again. So the next streams from its address are offered PLAIN alone, under TLS, which every client
//! then takes; it is as safe as it was when it was one of several, and the login replaces the old hash by keys. A client
//! that says in its stream header who it is gets that offer at once, and keeps SCRAM when others behind its address have
//! old hashes.

use crate::store::account::{self, Credentials};
use crate::stream::Env;
use crate::stream::sasl::Offer;
use crate::xmpp::BareJid;

use super::{Action, C2s};

/// Nothing but a whole password can be checked.
pub(super) fn has_old_hash_only(credentials: &Credentials) -> bool {
    credentials.scram.is_empty() && credentials.legacy.is_some()
}

/// What a name without an account is to look like. `name` is as in [`crate::stream::sasl::DecoySecret::keys`].
pub(super) fn of_nobody(env: &Env<'_>, host: &str, name: &str) -> Credentials {
    let model = model_of_nobody(env, host, name);
    model.and_then(|model| account::credentials(env.store, &model).ok().flatten()).unwrap_or_default()
}

/// The account that a name without an account is made to look like, if the host has any.
pub(super) fn model_of_nobody(env: &Env<'_>, host: &str, name: &str) -> Option<BareJid> {
    account::some_account(env.store, host, env.decoy.place(name)).ok().flatten()
}

impl C2s {
    /// Should this stream be offered PLAIN alone? `announced` is who the client says it is (RFC 6120 §4.7.1), which is
    /// believed as far as it does not matter.
    pub(super) fn narrowed(&mut self, env: &Env<'_>, offer: Offer, announced: Option<&str>) -> Offer {
        if self.tls.is_none() {
            return offer;
        }
        let account = announced.and_then(|name| BareJid::new(name).ok());
        match account.filter(|account| account.domain().as_str() == self.host && account.node().is_some()) {
            Some(account) => match account::credentials(env.store, &account) {
                Ok(Some(own)) if has_old_hash_only(&own) => offer.plain_if_possible(),
                Ok(None) if has_old_hash_only(&of_nobody(env, &self.host, account.as_str())) => {
                    offer.plain_if_possible()
                }
                _ => offer,
            },
            None if env.plain_is_due => {
                self.actions.push_back(Action::OfferedPlain);
                offer.plain_if_possible()
            }
            None => offer,
        }
    }
}
