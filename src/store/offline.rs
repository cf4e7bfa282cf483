//! Messages that wait for their receiver (RFC 6121 §8.5.2.2.1, XEP-0160): in the order they came, each one once.

use rusqlite::params;

use super::{Bounds, Error, Store, account_id, key, signed, unsigned};
use crate::xmpp::BareJid;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the order; grows, and never comes back for a later message.
    pub id: u64,
    /// The stanza as XML text.
    pub stanza: String,
    /// When it came, in Unix milliseconds.
    pub received_unix_millis: u64,
    /// Length of the stanza in bytes.
    pub bytes: u64,
}

/// What became of a message that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It waits, under this number.
    Stored(u64),
    /// The account has as many messages or bytes as it may have. Nothing was kept.
    Full,
    /// Nobody to wait for.
    NoAccount,
}

/// What waits for one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Messages.
    pub messages: u64,
    /// Bytes of all their stanzas.
    pub bytes: u64,
}

/// Keeps a message, unless that would take the account over `bounds`.
///
/// # Errors
/// When the database fails.
pub fn append(
    store: &mut Store,
    account: &BareJid,
    stanza: &str,
    received_unix_millis: u64,
    bounds: Bounds,
) -> Result<Appended, Error> {
    let found = store.one(
        "SELECT a.id, t.messages, t.bytes FROM account a LEFT JOIN offline_total t ON t.account = a.id
         WHERE a.host = ?1 AND a.localpart = ?2",
        key(account),
        |row| {
            let messages: Option<i64> = row.get(1)?;
            let bytes: Option<i64> = row.get(2)?;
            let total = Total { messages: unsigned(messages.unwrap_or(0)), bytes: unsigned(bytes.unwrap_or(0)) };
            Ok((row.get::<_, i64>(0)?, total))
        },
    )?;
    let Some((id, total)) = found else { return Ok(Appended::NoAccount) };
    let bytes = stanza.len() as u64;
    if total.messages >= bounds.count || total.bytes.saturating_add(bytes) > bounds.bytes {
        return Ok(Appended::Full);
    }
    store.write(
        "INSERT INTO offline (account, received, bytes, stanza) VALUES (?1, ?2, ?3, ?4)",
        params![id, signed(received_unix_millis), signed(bytes), stanza],
    )?;
    Ok(Appended::Stored(unsigned(store.connection.last_insert_rowid())))
}

/// The oldest messages after number `after` (0: from the start), at most `limit`, oldest first.
///
/// # Errors
/// When the database fails.
pub fn fetch(store: &Store, account: &BareJid, after: u64, limit: usize) -> Result<Vec<Stored>, Error> {
    let (host, localpart) = key(account);
    store.all(
        concat!(
            "SELECT id, stanza, received, bytes FROM offline WHERE account = ",
            account_id!(),
            " AND id > ?3 ORDER BY id LIMIT ?4"
        ),
        params![host, localpart, signed(after), signed(limit as u64)],
        |row| {
            Ok(Stored {
                id: row.get(0).map(unsigned)?,
                stanza: row.get(1)?,
                received_unix_millis: row.get(2).map(unsigned)?,
                bytes: row.get(3).map(unsigned)?,
            })
        },
    )
}

/// Deletes the messages up to and with number `last`: they were delivered. Returns how many.
///
/// # Errors
/// When the database fails.
pub fn delete_through(store: &mut Store, account: &BareJid, last: u64) -> Result<usize, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("DELETE FROM offline WHERE account = ", account_id!(), " AND id <= ?3");
    store.write(sql, params![host, localpart, signed(last)])
}

/// How much waits for an account.
///
/// # Errors
/// When the database fails.
pub fn total(store: &Store, account: &BareJid) -> Result<Total, Error> {
    let sql = concat!("SELECT messages, bytes FROM offline_total WHERE account = ", account_id!());
    let total = store.one(sql, key(account), |row| {
        Ok(Total { messages: row.get(0).map(unsigned)?, bytes: row.get(1).map(unsigned)? })
    })?;
    Ok(total.unwrap_or_default())
}

/// Deletes messages that came before this time: looks at the `limit` oldest of all accounts, so that one call never
/// takes long. Returns how many went; call again while that is `limit`.
///
/// # Errors
/// When the database fails.
pub fn expire(store: &mut Store, before_unix_millis: u64, limit: usize) -> Result<usize, Error> {
    // By number, not by time: it is the same order (but for imported messages, which go when their neighbours go),
    // and needs no index that every message would have to pay for.
    store.write(
        "DELETE FROM offline WHERE id IN (SELECT id FROM offline ORDER BY id LIMIT ?2) AND received < ?1",
        params![signed(before_unix_millis), signed(limit as u64)],
    )
}
