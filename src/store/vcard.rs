//! The vCard of an account (XEP-0054), as XML text.

use rusqlite::params;

use super::{Error, Store, account_id, key};
use crate::xmpp::BareJid;

/// The account's vCard.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, account: &BareJid) -> Result<Option<String>, Error> {
    store.one(concat!("SELECT xml FROM vcard WHERE account = ", account_id!()), key(account), |row| row.get(0))
}

/// Keeps a vCard in place of the one before. Its size is the caller's to bound.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set(store: &mut Store, account: &BareJid, xml: &str) -> Result<(), Error> {
    let (host, localpart) = key(account);
    store.write_for(
        account,
        "INSERT OR REPLACE INTO vcard SELECT id, ?3 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, xml],
    )
}

/// Forgets the vCard.
///
/// # Errors
/// When the database fails.
pub fn remove(store: &mut Store, account: &BareJid) -> Result<(), Error> {
    store.write(concat!("DELETE FROM vcard WHERE account = ", account_id!()), key(account)).map(drop)
}
