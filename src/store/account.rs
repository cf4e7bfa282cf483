//! Accounts: who can log in here, and the keys to check a password with.
//!
//! Passwords are kept as SCRAM keys only (RFC 5802 §3). An account's number never leaves this room.

use std::fmt;

use rusqlite::{Row, params};

use super::{Error, Store, account_id, key, signed, unsigned};
use crate::xmpp::BareJid;

/// The hash functions of SCRAM that keys are kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramHash {
    /// RFC 5802.
    Sha1,
    /// RFC 7677.
    Sha256,
    /// As SHA-256, with the longer hash.
    Sha512,
}

impl ScramHash {
    fn bits(self) -> i64 {
        match self {
            ScramHash::Sha1 => 1,
            ScramHash::Sha256 => 256,
            ScramHash::Sha512 => 512,
        }
    }

    fn of_bits(bits: i64) -> Option<ScramHash> {
        [ScramHash::Sha1, ScramHash::Sha256, ScramHash::Sha512].into_iter().find(|hash| hash.bits() == bits)
    }
}

/// What the server keeps of a password for one hash function (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The hash function of all that follows.
    pub hash: ScramHash,
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// Random bytes that make equal passwords look different.
    pub salt: Vec<u8>,
    /// H(ClientKey): proves what the client knows.
    pub stored_key: Vec<u8>,
    /// Proves to the client that the server knows it.
    pub server_key: Vec<u8>,
}

/// Keys are secrets: no log shows them.
impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramKeys({:?}, {} iterations)", self.hash, self.iterations)
    }
}

/// A password hash of the server that the account was imported from; the code that checks it knows the kinds.
#[derive(Clone, PartialEq, Eq)]
pub struct LegacyHash {
    /// How it was made, as the importer names it.
    pub kind: String,
    /// The hash, with its salt if it has one.
    pub value: String,
}

impl fmt::Debug for LegacyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegacyHash({})", self.kind)
    }
}

/// All that a login can be checked against. Empty: nobody can log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// At most one per hash function, weakest first.
    pub scram: Vec<ScramKeys>,
    /// Only until the first login with a plain password.
    pub legacy: Option<LegacyHash>,
}

impl Credentials {
    /// The keys for one hash function.
    pub fn keys(&self, hash: ScramHash) -> Option<&ScramKeys> {
        self.scram.iter().find(|keys| keys.hash == hash)
    }
}

/// An account as the admin sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its address.
    pub jid: BareJid,
    /// When it was made, in Unix milliseconds.
    pub created_unix_millis: u64,
    /// Nobody may log in; its data stay.
    pub disabled: bool,
}

/// Is there such an account, disabled or not?
///
/// # Errors
/// When the database fails.
pub fn exists(store: &Store, account: &BareJid) -> Result<bool, Error> {
    let found = store.one("SELECT 1 FROM account WHERE host = ?1 AND localpart = ?2", key(account), |_| Ok(()))?;
    Ok(found.is_some())
}

/// Makes an account; `false` when the name is taken (or is a host's: an account has a localpart).
/// Who wants to keep the names of former users free asks [`removed_at`] first.
///
/// # Errors
/// When the database fails.
pub fn create(
    store: &mut Store,
    account: &BareJid,
    credentials: &Credentials,
    unix_millis: u64,
) -> Result<bool, Error> {
    let (host, localpart) = key(account);
    if localpart.is_empty() || exists(store, account)? {
        return Ok(false);
    }
    store.savepoint(|store| {
        store.write(
            "INSERT INTO account (host, localpart, created) VALUES (?1, ?2, ?3)",
            params![host, localpart, signed(unix_millis)],
        )?;
        store.write("DELETE FROM account_removed WHERE host = ?1 AND localpart = ?2", (host, localpart))?;
        set_credentials(store, account, credentials)?;
        Ok(true)
    })
}

/// What a login is checked against; `None` when there is no such account.
///
/// # Errors
/// When the database fails.
pub fn credentials(store: &Store, account: &BareJid) -> Result<Option<Credentials>, Error> {
    let sql = concat!(
        "SELECT hash, iterations, salt, stored_key, server_key FROM scram WHERE account = ",
        account_id!(),
        " ORDER BY hash"
    );
    let scram = store.all(sql, key(account), read_keys)?;
    let sql = concat!("SELECT kind, value FROM legacy_hash WHERE account = ", account_id!());
    let legacy = store.one(sql, key(account), |row| Ok(LegacyHash { kind: row.get(0)?, value: row.get(1)? }))?;
    let scram: Vec<ScramKeys> = scram.into_iter().flatten().collect();
    if scram.is_empty() && legacy.is_none() && !exists(store, account)? {
        return Ok(None);
    }
    Ok(Some(Credentials { scram, legacy }))
}

fn read_keys(row: &Row<'_>) -> rusqlite::Result<Option<ScramKeys>> {
    let Some(hash) = ScramHash::of_bits(row.get(0)?) else { return Ok(None) };
    Ok(Some(ScramKeys {
        hash,
        iterations: row.get(1)?,
        salt: row.get(2)?,
        stored_key: row.get(3)?,
        server_key: row.get(4)?,
    }))
}

/// A new password: all that was kept of the old one goes.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set_credentials(store: &mut Store, account: &BareJid, credentials: &Credentials) -> Result<(), Error> {
    let (host, localpart) = key(account);
    store.savepoint(|store| {
        store.write(concat!("DELETE FROM scram WHERE account = ", account_id!()), (host, localpart))?;
        store.write(concat!("DELETE FROM legacy_hash WHERE account = ", account_id!()), (host, localpart))?;
        for keys in &credentials.scram {
            store.write_for(
                account,
                "INSERT INTO scram (account, hash, iterations, salt, stored_key, server_key)
                 SELECT id, ?3, ?4, ?5, ?6, ?7 FROM account WHERE host = ?1 AND localpart = ?2",
                params![
                    host,
                    localpart,
                    keys.hash.bits(),
                    keys.iterations,
                    keys.salt,
                    keys.stored_key,
                    keys.server_key
                ],
            )?;
        }
        if let Some(legacy) = &credentials.legacy {
            store.write_for(
                account,
                "INSERT INTO legacy_hash (account, kind, value)
                 SELECT id, ?3, ?4 FROM account WHERE host = ?1 AND localpart = ?2",
                params![host, localpart, legacy.kind, legacy.value],
            )?;
        }
        Ok(())
    })
}

/// Removes an account with everything that any room of the store keeps for it, and remembers that the name was used.
/// `false` when there was none.
///
/// # Errors
/// When the database fails.
pub fn remove(store: &mut Store, account: &BareJid, unix_millis: u64) -> Result<bool, Error> {
    if !exists(store, account)? {
        return Ok(false);
    }
    let (host, localpart) = key(account);
    store.savepoint(|store| {
        // First, so that their trigger does not keep a total for each of them while the account goes.
        store.write(concat!("DELETE FROM offline WHERE account = ", account_id!()), (host, localpart))?;
        store.write("DELETE FROM account WHERE host = ?1 AND localpart = ?2", (host, localpart))?;
        store.write(
            "INSERT OR REPLACE INTO account_removed VALUES (?1, ?2, ?3)",
            params![host, localpart, signed(unix_millis)],
        )?;
        Ok(true)
    })
}

/// When an account of this name was removed, in Unix milliseconds, if it was and has not been forgotten.
///
/// # Errors
/// When the database fails.
pub fn removed_at(store: &Store, account: &BareJid) -> Result<Option<u64>, Error> {
    let sql = "SELECT removed FROM account_removed WHERE host = ?1 AND localpart = ?2";
    store.one(sql, key(account), |row| row.get(0).map(unsigned))
}

/// Forgets the names of accounts that were removed before this time.
///
/// # Errors
/// When the database fails.
pub fn forget_removed(store: &mut Store, before_unix_millis: u64) -> Result<usize, Error> {
    store.write("DELETE FROM account_removed WHERE removed < ?1", [signed(before_unix_millis)])
}

/// The account as the admin sees it.
///
/// # Errors
/// When the database fails.
pub fn account(store: &Store, account: &BareJid) -> Result<Option<Account>, Error> {
    let sql = "SELECT created, disabled FROM account WHERE host = ?1 AND localpart = ?2";
    store.one(sql, key(account), |row| {
        Ok(Account { jid: account.clone(), created_unix_millis: row.get(0).map(unsigned)?, disabled: row.get(1)? })
    })
}

/// Bars the account from logging in, or lets it again; `false` when there is none.
///
/// # Errors
/// When the database fails.
pub fn set_disabled(store: &mut Store, account: &BareJid, disabled: bool) -> Result<bool, Error> {
    let (host, localpart) = key(account);
    let sql = "UPDATE account SET disabled = ?3 WHERE host = ?1 AND localpart = ?2";
    store.write(sql, params![host, localpart, disabled]).map(|rows| rows > 0)
}

/// Accounts of a host in the order of their names, at most `limit`, those after the localpart `after` (empty: from
/// the start). A page at a time, so that a host with many accounts does not hold up the loop.
///
/// # Errors
/// When the database fails.
pub fn list(store: &Store, host: &str, after: &str, limit: usize) -> Result<Vec<Account>, Error> {
    let rows = store.all(
        "SELECT localpart, created, disabled FROM account WHERE host = ?1 AND localpart > ?2 ORDER BY localpart LIMIT ?3",
        params![host, after, signed(limit as u64)],
        |row| {
            let localpart: String = row.get(0)?;
            Ok(BareJid::new(&format!("{localpart}@{host}")).ok().map(|jid| (jid, row.get(1), row.get(2))))
        },
    )?;
    let mut accounts = Vec::with_capacity(rows.len());
    for (jid, created, disabled) in rows.into_iter().flatten() {
        let (Ok(created), Ok(disabled)) = (created.map(unsigned), disabled) else { continue };
        accounts.push(Account { jid, created_unix_millis: created, disabled });
    }
    Ok(accounts)
}

/// How many accounts a host has. Counts them: milliseconds with a hundred thousand.
///
/// # Errors
/// When the database fails.
pub fn count(store: &Store, host: &str) -> Result<u64, Error> {
    let count = store.one("SELECT count(*) FROM account WHERE host = ?1", [host], |row| row.get(0).map(unsigned))?;
    Ok(count.unwrap_or(0))
}
