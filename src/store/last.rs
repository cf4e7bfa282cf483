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

/// When the account's last session ended, if it ever had one.
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
