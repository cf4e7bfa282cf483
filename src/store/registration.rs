//! What a user filled in when registering (XEP-0077 §3.1), as XML text.

use rusqlite::params;

use super::{Error, Store, account_id, key};
use crate::xmpp::BareJid;

/// The fields, as they were set.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, account: &BareJid) -> Result<Option<String>, Error> {
    store.one(concat!("SELECT xml FROM registration WHERE account = ", account_id!()), key(account), |row| row.get(0))
}

/// Keeps the fields in place of those before. The caller bounds their size and leaves the password out.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set(store: &mut Store, account: &BareJid, xml: &str) -> Result<(), Error> {
    let (host, localpart) = key(account);
    store.write_for(
        account,
        "INSERT OR REPLACE INTO registration SELECT id, ?3 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, xml],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};

    #[test]
    fn fields_are_kept_and_replaced() {
        let mut store = store_with(&["a@h"]);
        assert_eq!(of(&store, &jid("a@h")).unwrap(), None);
        for xml in ["<query><name>A</name></query>", "<query/>"] {
            set(&mut store, &jid("a@h"), xml).unwrap();
            assert_eq!(of(&store, &jid("a@h")).unwrap().unwrap(), xml);
        }
        assert!(set(&mut store, &jid("nobody@h"), "<query/>").unwrap_err().is_no_account());
    }
}
