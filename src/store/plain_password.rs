//! Passwords as text, of imported accounts only, where the admin asks for it: for the digest of XEP-0078, which can be
//! checked with nothing else. One goes with its account, with the next password ([`super::account::set_credentials`]),
//! and when its time is over.

use rusqlite::params;
use zeroize::Zeroizing;

use super::{Error, Store, account_id, key, signed, unsigned};
use crate::xmpp::BareJid;

/// A password, and since when it is here.
pub struct Kept {
    /// As it was typed; wiped from memory when this goes.
    pub password: Zeroizing<String>,
    /// When it was imported, in Unix milliseconds.
    pub since_unix_millis: u64,
}

/// Keeps the password of an account.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn keep(store: &mut Store, account: &BareJid, password: &str, unix_millis: u64) -> Result<(), Error> {
    let (host, localpart) = key(account);
    store.write_for(
        account,
        "INSERT OR REPLACE INTO plain_password SELECT id, ?3, ?4 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, password, signed(unix_millis)],
    )
}

/// What is kept for this account.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, account: &BareJid) -> Result<Option<Kept>, Error> {
    let sql = concat!("SELECT password, since FROM plain_password WHERE account = ", account_id!());
    store.one(sql, key(account), |row| {
        Ok(Kept { password: Zeroizing::new(row.get(0)?), since_unix_millis: row.get(1).map(unsigned)? })
    })
}

/// Forgets the password of an account; `false` when none was kept.
///
/// # Errors
/// When the database fails.
pub fn forget(store: &mut Store, account: &BareJid) -> Result<bool, Error> {
    if of(store, account)?.is_none() {
        return Ok(false);
    }
    store
        .write(concat!("DELETE FROM plain_password WHERE account = ", account_id!()), key(account))
        .map(|rows| rows > 0)
}

/// Forgets those that are here since before this time, the oldest first and at most `limit`; returns how many.
///
/// # Errors
/// When the database fails.
pub fn forget_before(store: &mut Store, unix_millis: u64, limit: usize) -> Result<usize, Error> {
    if oldest(store)?.is_none_or(|oldest| oldest >= unix_millis) {
        return Ok(0);
    }
    let sql = "DELETE FROM plain_password WHERE account IN
               (SELECT account FROM plain_password WHERE since < ?1 ORDER BY since LIMIT ?2)";
    store.write(sql, params![signed(unix_millis), i64::try_from(limit).unwrap_or(i64::MAX)])
}

/// Since when the oldest is here; `None` when there is none.
///
/// # Errors
/// When the database fails.
pub fn oldest(store: &Store) -> Result<Option<u64>, Error> {
    store.one("SELECT since FROM plain_password ORDER BY since LIMIT 1", [], |row| row.get(0).map(unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::account::{self, Credentials};
    use crate::store::tests::{Scratch, jid, store_with};

    fn password(store: &Store, account: &str) -> Option<String> {
        of(store, &jid(account)).unwrap().map(|kept| kept.password.to_string())
    }

    #[test]
    fn a_password_goes_with_its_account_and_with_the_next_one() {
        let mut store = store_with(&["a@h", "b@h"]);
        assert_eq!(oldest(&store).unwrap(), None);
        keep(&mut store, &jid("a@h"), "one", 5).unwrap();
        keep(&mut store, &jid("b@h"), "two", 7).unwrap();
        assert_eq!(
            (password(&store, "a@h").as_deref(), password(&store, "b@h").as_deref()),
            (Some("one"), Some("two"))
        );
        assert_eq!(oldest(&store).unwrap(), Some(5));
        account::set_credentials(&mut store, &jid("a@h"), &Credentials::default()).unwrap();
        assert_eq!(password(&store, "a@h"), None);
        account::remove(&mut store, &jid("b@h"), 9).unwrap();
        assert!(account::create(&mut store, &jid("b@h"), &Credentials::default(), 10).unwrap());
        assert_eq!(password(&store, "b@h"), None);
        assert!(keep(&mut store, &jid("nobody@h"), "x", 1).is_err());
    }

    #[test]
    fn they_are_forgotten_in_time_and_one_by_one() {
        let mut store = store_with(&["a@h", "b@h", "c@h"]);
        for (name, since) in [("a@h", 30), ("b@h", 10), ("c@h", 20)] {
            keep(&mut store, &jid(name), "secret", since).unwrap();
        }
        store.commit().unwrap();
        // What finds nothing to do writes nothing.
        assert_eq!(forget_before(&mut store, 10, 9).unwrap(), 0);
        assert!(!forget(&mut store, &jid("nobody@h")).unwrap());
        assert_eq!(store.commit().unwrap(), None);
        assert_eq!(forget_before(&mut store, 30, 1).unwrap(), 1);
        assert_eq!(password(&store, "b@h"), None);
        assert_eq!(forget_before(&mut store, 30, 9).unwrap(), 1);
        assert_eq!(password(&store, "c@h"), None);
        assert!(forget(&mut store, &jid("a@h")).unwrap());
        assert!(!forget(&mut store, &jid("a@h")).unwrap());
    }

    #[test]
    fn nothing_of_them_stays_in_the_pages() {
        let scratch = Scratch::new("plain-password");
        let mut store = store_with(&["a@h"]);
        let secret = "a password that nobody else has";
        keep(&mut store, &jid("a@h"), secret, 5).unwrap();
        store.commit().unwrap();
        let holds = |store: &Store| {
            // The copy of a database is one of its pages, those that nothing is in among them.
            store.connection.backup("main", scratch.database(), None).unwrap();
            let bytes = std::fs::read(scratch.database()).unwrap();
            bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
        };
        assert!(holds(&store));
        assert!(forget(&mut store, &jid("a@h")).unwrap());
        store.commit().unwrap();
        assert!(!holds(&store));
    }
}
