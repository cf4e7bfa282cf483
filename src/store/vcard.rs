//! The vCard of an account (XEP-0054), as XML text. The user directory's entry goes with it.

use rusqlite::params;

use super::{Error, Store, account_id, directory, key};
use crate::xml;
use crate::xmpp::BareJid;
use crate::xmpp::directory::Entry;

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
    )?;
    let entry = xml::parse(xml).map(|card| Entry::of_card(&card)).unwrap_or_default();
    directory::renew(store, account, &entry)
}

/// Forgets the vCard.
///
/// # Errors
/// When the database fails.
pub fn remove(store: &mut Store, account: &BareJid) -> Result<(), Error> {
    store.write(concat!("DELETE FROM vcard WHERE account = ", account_id!()), key(account))?;
    directory::forget_card(store, account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};

    #[test]
    fn a_vcard_is_kept_replaced_and_removed() {
        let mut store = store_with(&["a@h", "b@h"]);
        assert_eq!(of(&store, &jid("a@h")).unwrap(), None);
        for xml in ["<vCard>1</vCard>", "<vCard>2</vCard>"] {
            set(&mut store, &jid("a@h"), xml).unwrap();
            assert_eq!(of(&store, &jid("a@h")).unwrap().unwrap(), xml);
        }
        assert_eq!(of(&store, &jid("b@h")).unwrap(), None);
        remove(&mut store, &jid("a@h")).unwrap();
        assert_eq!(of(&store, &jid("a@h")).unwrap(), None);
        assert!(set(&mut store, &jid("nobody@h"), "<vCard/>").unwrap_err().is_no_account());
    }
}
