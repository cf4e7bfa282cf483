//! Messages of the day: one for each host, and who has had it.

use rusqlite::params;

use super::{Error, Store, key, signed, unsigned};
use crate::xmpp::BareJid;

/// The message of the day of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Motd {
    /// Grows with each new message; the same text with a new number is a new message.
    pub number: u64,
    /// When its text was set, in Unix milliseconds.
    pub set_unix_millis: u64,
    /// The stanza as XML text, without addresses.
    pub stanza: String,
}

/// Sets the message of a host. As an update it keeps its number, so that who has had it does not get it again; `None`
/// takes it away. Returns the number.
///
/// # Errors
/// When the database fails.
pub fn set(
    store: &mut Store,
    host: &str,
    stanza: Option<&str>,
    is_update: bool,
    now_unix_millis: u64,
) -> Result<u64, Error> {
    let found = store.one("SELECT number, stanza IS NOT NULL FROM motd WHERE host = ?1", params![host], |row| {
        Ok((row.get(0).map(unsigned)?, row.get::<_, bool>(1)?))
    })?;
    let number = match found {
        Some((number, is_there)) if stanza.is_none() || (is_update && is_there) => number,
        Some((number, _)) => number.saturating_add(1),
        None => 1,
    };
    store.write(
        "INSERT INTO motd (host, number, set_at, stanza) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (host) DO UPDATE SET number = excluded.number, set_at = excluded.set_at, stanza = excluded.stanza",
        params![host, signed(number), signed(now_unix_millis), stanza],
    )?;
    Ok(number)
}

/// The message of a host, if there is one.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, host: &str) -> Result<Option<Motd>, Error> {
    let sql = "SELECT number, set_at, stanza FROM motd WHERE host = ?1 AND stanza IS NOT NULL";
    store.one(sql, [host], |row| {
        Ok(Motd { number: row.get(0).map(unsigned)?, set_unix_millis: row.get(1).map(unsigned)?, stanza: row.get(2)? })
    })
}

/// The message of the account's host, if there is one that the account has not had.
///
/// # Errors
/// When the database fails.
pub fn unseen(store: &Store, account: &BareJid) -> Result<Option<Motd>, Error> {
    store.one(
        "SELECT m.number, m.set_at, m.stanza FROM motd m JOIN account a ON a.host = m.host
         LEFT JOIN motd_seen s ON s.account = a.id
         WHERE m.host = ?1 AND a.localpart = ?2 AND m.stanza IS NOT NULL AND (s.number IS NULL OR s.number < m.number)",
        key(account),
        |row| {
            Ok(Motd {
                number: row.get(0).map(unsigned)?,
                set_unix_millis: row.get(1).map(unsigned)?,
                stanza: row.get(2)?,
            })
        },
    )
}

/// The account has had the message with this number.
///
/// # Errors
/// When the database fails.
pub fn mark_seen(store: &mut Store, account: &BareJid, number: u64) -> Result<(), Error> {
    let (host, localpart) = key(account);
    store.write(
        "INSERT INTO motd_seen (account, number) SELECT id, ?3 FROM account WHERE host = ?1 AND localpart = ?2
         ON CONFLICT (account) DO UPDATE SET number = excluded.number",
        params![host, localpart, signed(number)],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};

    #[test]
    fn each_account_has_it_once() {
        let mut store = store_with(&["a@h", "b@h", "c@other"]);
        let seen = |store: &Store, account: &str| unseen(store, &jid(account)).unwrap().map(|motd| motd.stanza);
        assert_eq!(seen(&store, "a@h"), None);
        let first = set(&mut store, "h", Some("<one/>"), false, 5).unwrap();
        assert_eq!(seen(&store, "a@h").as_deref(), Some("<one/>"));
        assert_eq!(seen(&store, "c@other"), None);
        assert_eq!(seen(&store, "nobody@h"), None);
        mark_seen(&mut store, &jid("a@h"), first).unwrap();
        assert_eq!(seen(&store, "a@h"), None);
        // An update is for who has not had it.
        assert_eq!(set(&mut store, "h", Some("<two/>"), true, 6).unwrap(), first);
        assert_eq!((seen(&store, "a@h"), seen(&store, "b@h").as_deref()), (None, Some("<two/>")));
        // Taken away, and a new one, even in the same moment, is new to everybody.
        set(&mut store, "h", None, false, 6).unwrap();
        assert_eq!(seen(&store, "b@h"), None);
        let second = set(&mut store, "h", Some("<three/>"), true, 6).unwrap();
        assert!(second > first);
        assert_eq!(seen(&store, "a@h").as_deref(), Some("<three/>"));
        assert_eq!(unseen(&store, &jid("b@h")).unwrap().unwrap().set_unix_millis, 6);
    }
}
