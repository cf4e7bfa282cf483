//! Messages that wait for their receiver (RFC 6121 §8.5.2.2.1, XEP-0160): in the order they came, each one once.

use std::ops::RangeInclusive;

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
        stored,
    )
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        id: row.get(0).map(unsigned)?,
        stanza: row.get(1)?,
        received_unix_millis: row.get(2).map(unsigned)?,
        bytes: row.get(3).map(unsigned)?,
    })
}

/// The message with this number, if it waits for this account.
///
/// # Errors
/// When the database fails.
pub fn one(store: &Store, account: &BareJid, id: u64) -> Result<Option<Stored>, Error> {
    let (host, localpart) = key(account);
    let sql =
        concat!("SELECT id, stanza, received, bytes FROM offline WHERE account = ", account_id!(), " AND id = ?3");
    store.one(sql, params![host, localpart, signed(id)], stored)
}

/// Deletes one message; false if none with this number waits for this account.
///
/// # Errors
/// When the database fails.
pub fn delete(store: &mut Store, account: &BareJid, id: u64) -> Result<bool, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("DELETE FROM offline WHERE account = ", account_id!(), " AND id = ?3");
    Ok(store.write(sql, params![host, localpart, signed(id)])? > 0)
}

/// Deletes the messages up to and with number `last`. Returns how many.
///
/// # Errors
/// When the database fails.
pub fn delete_through(store: &mut Store, account: &BareJid, last: u64) -> Result<usize, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("DELETE FROM offline WHERE account = ", account_id!(), " AND id <= ?3");
    store.write(sql, params![host, localpart, signed(last)])
}

/// The number of the newest message for an account that is older than number `before`, if any waits.
///
/// # Errors
/// When the database fails.
pub fn newest(store: &Store, account: &BareJid, before: u64) -> Result<Option<u64>, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("SELECT max(id) FROM offline WHERE account = ", account_id!(), " AND id < ?3");
    let newest = store.one(sql, params![host, localpart, signed(before)], |row| row.get::<_, Option<i64>>(0))?;
    Ok(newest.flatten().map(unsigned))
}

/// Deletes the messages with these numbers: they were delivered.
///
/// # Errors
/// When the database fails.
pub fn delete_range(store: &mut Store, account: &BareJid, ids: &RangeInclusive<u64>) -> Result<usize, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("DELETE FROM offline WHERE account = ", account_id!(), " AND id BETWEEN ?3 AND ?4");
    store.write(sql, params![host, localpart, signed(*ids.start()), signed(*ids.end())])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::account;
    use crate::store::tests::{jid, store_with};

    const WIDE: Bounds = Bounds { count: 100, bytes: 10_000 };

    fn append_all(store: &mut Store, account: &str, stanzas: &[&str]) -> Vec<u64> {
        let mut ids = Vec::new();
        for (n, stanza) in stanzas.iter().enumerate() {
            match append(store, &jid(account), stanza, n as u64, WIDE).unwrap() {
                Appended::Stored(id) => ids.push(id),
                other => panic!("{other:?}"),
            }
        }
        ids
    }

    fn stanzas(store: &Store, account: &str) -> Vec<String> {
        fetch(store, &jid(account), 0, 100).unwrap().into_iter().map(|stored| stored.stanza).collect()
    }

    #[test]
    fn messages_come_out_in_order_by_page_and_once() {
        let mut store = store_with(&["a@h", "b@h"]);
        append_all(&mut store, "a@h", &["<m1/>", "<m2/>"]);
        append_all(&mut store, "b@h", &["<other/>"]);
        append_all(&mut store, "a@h", &["<m3/>"]);
        let page = fetch(&store, &jid("a@h"), 0, 2).unwrap();
        assert_eq!(page.iter().map(|m| m.stanza.as_str()).collect::<Vec<_>>(), ["<m1/>", "<m2/>"]);
        assert_eq!((page[1].received_unix_millis, page[1].bytes), (1, 5));
        assert_eq!(fetch(&store, &jid("a@h"), page[1].id, 2).unwrap()[0].stanza, "<m3/>");
        assert_eq!(delete_through(&mut store, &jid("a@h"), page[1].id).unwrap(), 2);
        assert_eq!(stanzas(&store, "a@h"), ["<m3/>"]);
        assert_eq!(stanzas(&store, "b@h"), ["<other/>"]);
        assert_eq!(stanzas(&store, "nobody@h"), [""; 0]);
    }

    #[test]
    fn bounds_hold_and_free_up() {
        let mut store = store_with(&["a@h"]);
        let account = jid("a@h");
        // Stanza, bounds, what becomes of it, messages and bytes afterwards.
        let rows = [
            ("12345", Bounds { count: 0, bytes: 99 }, false, (0, 0)),
            ("12345", Bounds { count: 2, bytes: 4 }, false, (0, 0)),
            ("12345", Bounds { count: 2, bytes: 8 }, true, (1, 5)),
            ("1234", Bounds { count: 2, bytes: 8 }, false, (1, 5)),
            ("123", Bounds { count: 2, bytes: 8 }, true, (2, 8)),
            ("", Bounds { count: 2, bytes: 8 }, false, (2, 8)),
        ];
        for (stanza, bounds, stored, (messages, bytes)) in rows {
            let appended = append(&mut store, &account, stanza, 0, bounds).unwrap();
            assert_eq!(matches!(appended, Appended::Stored(_)), stored, "{stanza} {bounds:?}");
            assert_eq!(total(&store, &account).unwrap(), Total { messages, bytes });
        }
        delete_through(&mut store, &account, u64::MAX).unwrap();
        assert_eq!(total(&store, &account).unwrap(), Total::default());
        assert_eq!(append(&mut store, &jid("nobody@h"), "<m/>", 0, WIDE).unwrap(), Appended::NoAccount);
        assert_eq!(total(&store, &jid("nobody@h")).unwrap(), Total::default());
    }

    #[test]
    fn a_number_never_comes_back() {
        let mut store = store_with(&["a@h"]);
        let before = append_all(&mut store, "a@h", &["<m1/>", "<m2/>"]);
        delete_through(&mut store, &jid("a@h"), before[1]).unwrap();
        let after = append_all(&mut store, "a@h", &["<m3/>"]);
        // Told a second time that the first two were delivered, it leaves the third alone.
        delete_through(&mut store, &jid("a@h"), before[1]).unwrap();
        assert!(after[0] > before[1]);
        assert_eq!(stanzas(&store, "a@h"), ["<m3/>"]);
    }

    #[test]
    fn what_was_delivered_goes_and_its_neighbours_stay() {
        let mut store = store_with(&["a@h", "b@h"]);
        let own = append_all(&mut store, "a@h", &["<m1/>", "<m2/>", "<m3/>", "<m4/>"]);
        append_all(&mut store, "b@h", &["<other/>"]);
        assert_eq!(delete_range(&mut store, &jid("b@h"), &(own[1]..=own[2])).unwrap(), 0);
        assert_eq!(delete_range(&mut store, &jid("a@h"), &(own[1]..=own[2])).unwrap(), 2);
        assert_eq!(stanzas(&store, "a@h"), ["<m1/>", "<m4/>"]);
        assert_eq!(stanzas(&store, "b@h"), ["<other/>"]);
    }

    #[test]
    fn old_messages_expire_a_few_at_a_time() {
        let mut store = store_with(&["a@h", "b@h"]);
        append_all(&mut store, "a@h", &["<0/>", "<1/>", "<2/>", "<3/>"]);
        append_all(&mut store, "b@h", &["<0/>", "<1/>"]);
        assert_eq!(expire(&mut store, 3, 2).unwrap(), 2);
        assert_eq!(expire(&mut store, 3, 2).unwrap(), 1);
        assert_eq!(expire(&mut store, 3, 9).unwrap(), 2);
        assert_eq!(stanzas(&store, "a@h"), ["<3/>"]);
        assert_eq!(total(&store, &jid("a@h")).unwrap(), Total { messages: 1, bytes: 4 });
        assert_eq!(total(&store, &jid("b@h")).unwrap(), Total::default());
    }

    #[test]
    fn a_removed_account_takes_its_messages_along() {
        let mut store = store_with(&["a@h"]);
        append_all(&mut store, "a@h", &["<m/>"]);
        account::remove(&mut store, &jid("a@h"), 9).unwrap();
        account::create(&mut store, &jid("a@h"), &account::Credentials::default(), 10).unwrap();
        assert_eq!(stanzas(&store, "a@h"), [""; 0]);
        assert_eq!(total(&store, &jid("a@h")).unwrap(), Total::default());
    }
}
