//! When a user was last here, and what the last presence said (XEP-0012 §4).

use rusqlite::params;

use super::{Error, Store, account_id, key, signed, unsigned};
use crate::xmpp::BareJid;

/// The end of an account's last session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// When, in Unix milliseconds.
    pub unix_millis: u64,
    /// The status text of the last unavailable presence; often empty.
    pub status: String,
}

/// A login to an account, of which nobody need have known, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// When it began.
    pub came: u64,
    /// When it ended, or was known last.
    pub seen: u64,
}

/// The status with which the moment of an account's making is kept. Compat: jabberd 1.4 says so to whoever asks for the
/// last activity of somebody who was never here.
pub const REGISTERED: &str = "Registered";

/// When somebody was last logged in to the account, in Unix milliseconds, if ever: for admins. Contacts are told
/// [`of`], which knows only of sessions that were available (XEP-0012 §4).
///
/// # Errors
/// When the database fails.
pub fn visit(store: &Store, account: &BareJid) -> Result<Option<u64>, Error> {
    let sql = concat!("SELECT seen_at FROM visit WHERE account = ", account_id!());
    let seen = store.one(sql, key(account), |row| row.get(0).map(unsigned))?;
    // An account that was imported has only this.
    let left = of(store, account)?.filter(|last| last.status != REGISTERED).map(|last| last.unix_millis);
    Ok(seen.max(left))
}

/// When somebody logged in to the account for the last time, in Unix milliseconds. Of an account that was imported nobody
/// knows it.
///
/// # Errors
/// When the database fails.
pub fn login(store: &Store, account: &BareJid) -> Result<Option<u64>, Error> {
    let sql = concat!("SELECT came_at FROM visit WHERE account = ", account_id!());
    store.one(sql, key(account), |row| row.get(0).map(unsigned))
}

/// Notes that somebody is, or was until then, logged in to the account, if there is one.
///
/// # Errors
/// When the database fails.
pub fn set_visit(store: &mut Store, account: &BareJid, visit: Visit) -> Result<(), Error> {
    let (host, localpart) = key(account);
    let sql = "INSERT INTO visit SELECT id, ?3, ?4 FROM account WHERE host = ?1 AND localpart = ?2
               ON CONFLICT DO UPDATE SET came_at = max(came_at, excluded.came_at), seen_at = excluded.seen_at";
    store.write(sql, params![host, localpart, signed(visit.came), signed(visit.seen)]).map(drop)
}

/// When the account's last session ended, or else when it was made, if that is known.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, account: &BareJid) -> Result<Option<Last>, Error> {
    let sql = concat!("SELECT left_at, status FROM last_activity WHERE account = ", account_id!());
    store.one(sql, key(account), |row| Ok(Last { unix_millis: row.get(0).map(unsigned)?, status: row.get(1)? }))
}

/// Notes the end of a session.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set(store: &mut Store, account: &BareJid, last: &Last) -> Result<(), Error> {
    let (host, localpart) = key(account);
    store.write_for(
        account,
        "INSERT OR REPLACE INTO last_activity SELECT id, ?3, ?4 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, signed(last.unix_millis), last.status],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};

    #[test]
    fn the_latest_end_is_kept() {
        let mut store = store_with(&["a@h"]);
        assert_eq!(of(&store, &jid("a@h")).unwrap(), None);
        for (unix_millis, status) in [(5, "Gone fishing"), (1_800_000_000_000, "")] {
            let last = Last { unix_millis, status: status.to_owned() };
            set(&mut store, &jid("a@h"), &last).unwrap();
            assert_eq!(of(&store, &jid("a@h")).unwrap(), Some(last));
        }
        set(&mut store, &jid("a@h"), &Last { unix_millis: 5, status: REGISTERED.to_owned() }).unwrap();
        assert_eq!((visit(&store, &jid("a@h")).unwrap(), of(&store, &jid("a@h")).unwrap().is_some()), (None, true));
        assert_eq!(login(&store, &jid("a@h")).unwrap(), None);
        // Of two sessions the newer one was the last login, whichever ends last.
        for (came, seen) in [(6, 6), (5, 7)] {
            set_visit(&mut store, &jid("a@h"), Visit { came, seen }).unwrap();
        }
        assert_eq!(visit(&store, &jid("a@h")).unwrap(), Some(7));
        assert_eq!(login(&store, &jid("a@h")).unwrap(), Some(6));
        set(&mut store, &jid("a@h"), &Last { unix_millis: 9, status: String::new() }).unwrap();
        assert_eq!(visit(&store, &jid("a@h")).unwrap(), Some(9));
        set_visit(&mut store, &jid("nobody@h"), Visit { came: 7, seen: 7 }).unwrap();
        let last = Last { unix_millis: 1, status: String::new() };
        assert!(set(&mut store, &jid("nobody@h"), &last).unwrap_err().is_no_account());
    }
}
