//! Accounts: who can log in here, and the keys to check a password with.
//!
//! Passwords are kept as SCRAM keys (RFC 5802 §3); [`super::plain_password`] is the one exception. An account's number never leaves this room.

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
    /// All of them, weakest first.
    pub const ALL: [ScramHash; 3] = [ScramHash::Sha1, ScramHash::Sha256, ScramHash::Sha512];

    fn bits(self) -> i64 {
        match self {
            ScramHash::Sha1 => 1,
            ScramHash::Sha256 => 256,
            ScramHash::Sha512 => 512,
        }
    }

    /// In `account.hashes`.
    fn mask(self) -> i64 {
        match self {
            ScramHash::Sha1 => 1,
            ScramHash::Sha256 => 2,
            ScramHash::Sha512 => 4,
        }
    }

    fn of_bits(bits: i64) -> Option<ScramHash> {
        ScramHash::ALL.into_iter().find(|hash| hash.bits() == bits)
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
        // Another process may have made it since: an import beside the server.
        let made = store.write(
            "INSERT INTO account (host, localpart, created) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![host, localpart, signed(unix_millis)],
        )?;
        if made == 0 {
            return Ok(false);
        }
        store.write("DELETE FROM account_removed WHERE host = ?1 AND localpart = ?2", (host, localpart))?;
        store.write("DELETE FROM account_reserved WHERE host = ?1 AND localpart = ?2", (host, localpart))?;
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
        store.write(concat!("DELETE FROM plain_password WHERE account = ", account_id!()), (host, localpart))?;
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
        let hashes = credentials.scram.iter().fold(0, |all, keys| all | keys.hash.mask());
        store.write("UPDATE account SET hashes = ?3 WHERE host = ?1 AND localpart = ?2", (host, localpart, hashes))?;
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

/// The hashes that all accounts of a host have keys for, those without any keys left aside. A client chooses a mechanism
/// before it says who it is: what is not there for everybody must be offered to nobody.
///
/// # Errors
/// When the database fails.
pub fn common_hashes(store: &Store, host: &str) -> Result<Vec<ScramHash>, Error> {
    let sql = "WITH mask(bits) AS (VALUES (1), (2), (3), (4), (5), (6), (7))
               SELECT bits FROM mask WHERE EXISTS (SELECT 1 FROM account WHERE host = ?1 AND hashes = bits)";
    let masks: Vec<i64> = store.all(sql, [host], |row| row.get(0))?;
    Ok(ScramHash::ALL.into_iter().filter(|hash| masks.iter().all(|mask| mask & hash.mask() != 0)).collect())
}

/// Some account of this host, the same for the same `place` as long as the accounts do not change much, and for the
/// places of many names as many different ones: what a name without an account is made to look like.
///
/// # Errors
/// When the database fails.
pub fn some_account(store: &Store, host: &str, place: u64) -> Result<Option<BareJid>, Error> {
    let named = |localpart: String| BareJid::new(&format!("{localpart}@{host}")).ok();
    let highest = store.one("SELECT coalesce(max(id), 0) FROM account", [], |row| row.get(0).map(unsigned))?;
    // It changes for everybody only when the accounts have doubled.
    let range = highest.filter(|&highest| highest > 0).map_or(1, |highest| 1 << highest.ilog2());
    // The next account of this host, but not the whole table for a host with few among many.
    let sql = "SELECT localpart FROM (SELECT id, host, localpart FROM account WHERE id > ?2 ORDER BY id LIMIT 100)
               WHERE host = ?1 ORDER BY id LIMIT 1";
    let near = store.one(sql, params![host, signed(place % range)], |row| row.get(0))?;
    if near.is_some() {
        return Ok(near.and_then(named));
    }
    let first = "SELECT localpart FROM account WHERE host = ?1 ORDER BY localpart LIMIT 1";
    Ok(store.one(first, [host], |row| row.get(0))?.and_then(named))
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

/// Keeps a name for the one who had it elsewhere, until [`create`] makes the account. Who lets people register names asks
/// [`is_reserved`] first.
///
/// # Errors
/// When the database fails.
pub fn reserve(store: &mut Store, account: &BareJid) -> Result<(), Error> {
    store.write("INSERT OR IGNORE INTO account_reserved VALUES (?1, ?2)", key(account)).map(drop)
}

/// Is the name kept for somebody?
///
/// # Errors
/// When the database fails.
pub fn is_reserved(store: &Store, account: &BareJid) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM account_reserved WHERE host = ?1 AND localpart = ?2";
    Ok(store.one(sql, key(account), |_| Ok(()))?.is_some())
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
    page(store, host, after, limit, false)
}

/// The same of those that are disabled.
///
/// # Errors
/// When the database fails.
pub fn list_disabled(store: &Store, host: &str, after: &str, limit: usize) -> Result<Vec<Account>, Error> {
    page(store, host, after, limit, true)
}

fn page(store: &Store, host: &str, after: &str, limit: usize, only_disabled: bool) -> Result<Vec<Account>, Error> {
    let rows = store.all(
        "SELECT localpart, created, disabled FROM account
         WHERE host = ?1 AND localpart > ?2 AND (disabled OR NOT ?4) ORDER BY localpart LIMIT ?3",
        params![host, after, signed(limit as u64), only_disabled],
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

/// The hosts that have accounts, served or not, in the order of their names.
///
/// # Errors
/// When the database fails.
pub fn hosts(store: &Store) -> Result<Vec<String>, Error> {
    store.all("SELECT DISTINCT host FROM account ORDER BY host", [], |row| row.get(0))
}

/// How many accounts a host has. Counts them: milliseconds with a hundred thousand.
///
/// # Errors
/// When the database fails.
pub fn count(store: &Store, host: &str) -> Result<u64, Error> {
    let count = store.one("SELECT count(*) FROM account WHERE host = ?1", [host], |row| row.get(0).map(unsigned))?;
    Ok(count.unwrap_or(0))
}

/// How many of them are disabled.
///
/// # Errors
/// When the database fails.
pub fn count_disabled(store: &Store, host: &str) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM account WHERE host = ?1 AND disabled";
    Ok(store.one(sql, [host], |row| row.get(0).map(unsigned))?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Scratch, jid, store_with};
    use crate::store::{
        Bounds, imported, invite, last, motd, offline, plain_password, privacy, private, registration, roster, vcard,
    };
    use crate::xmpp::Jid;

    fn keys(hash: ScramHash, byte: u8) -> ScramKeys {
        ScramKeys {
            hash,
            iterations: 10_000,
            salt: vec![byte; 16],
            stored_key: vec![byte; 20],
            server_key: vec![byte; 20],
        }
    }

    #[test]
    fn a_name_is_given_once() {
        let mut store = store_with(&["romeo@montague.net"]);
        let rows = [
            ("romeo@montague.net", false),
            ("romeo@capulet.com", true),
            ("romeo@capulet.com", false),
            ("montague.net", false), // a host is nobody's account
        ];
        for (name, made) in rows {
            assert_eq!(create(&mut store, &jid(name), &Credentials::default(), 5).unwrap(), made, "{name}");
        }
        assert!(exists(&store, &jid("romeo@capulet.com")).unwrap());
        assert!(!exists(&store, &jid("montague.net")).unwrap());
        assert!(!exists(&store, &jid("juliet@montague.net")).unwrap());
    }

    #[test]
    fn a_new_password_replaces_all_of_the_old_one() {
        let romeo = jid("romeo@montague.net");
        let mut store = store_with(&[]);
        assert_eq!(credentials(&store, &romeo).unwrap(), None);
        let legacy = Some(LegacyHash { kind: "crypt".into(), value: "ab01FAX.bQRSU".into() });
        let old = Credentials { scram: vec![keys(ScramHash::Sha1, 1)], legacy };
        create(&mut store, &romeo, &old, 5).unwrap();
        assert_eq!(credentials(&store, &romeo).unwrap().unwrap(), old);
        let new = Credentials { scram: vec![keys(ScramHash::Sha256, 2), keys(ScramHash::Sha512, 3)], legacy: None };
        set_credentials(&mut store, &romeo, &new).unwrap();
        let found = credentials(&store, &romeo).unwrap().unwrap();
        assert_eq!(found, new);
        assert!(found.keys(ScramHash::Sha1).is_none() && found.keys(ScramHash::Sha512).is_some());
        assert!(!format!("{found:?}").contains('3'), "{found:?}");
        set_credentials(&mut store, &romeo, &Credentials::default()).unwrap();
        assert_eq!(credentials(&store, &romeo).unwrap(), Some(Credentials::default()));
        let error = set_credentials(&mut store, &jid("nobody@montague.net"), &new).unwrap_err();
        assert!(error.is_no_account());
    }

    #[test]
    fn what_all_accounts_have_keys_for() {
        let mut store = store_with(&["a@h", "b@h", "nobody@h", "x@other"]);
        let all = ScramHash::ALL.to_vec();
        let have = |store: &mut Store, name: &str, hashes: &[ScramHash]| {
            let scram = hashes.iter().map(|&hash| keys(hash, 1)).collect();
            set_credentials(store, &jid(name), &Credentials { scram, legacy: None }).unwrap();
        };
        assert_eq!(common_hashes(&store, "h").unwrap(), all);
        have(&mut store, "a@h", &ScramHash::ALL);
        have(&mut store, "x@other", &[ScramHash::Sha512]);
        assert_eq!(common_hashes(&store, "h").unwrap(), all);
        assert_eq!(common_hashes(&store, "other").unwrap(), [ScramHash::Sha512]);
        have(&mut store, "b@h", &[ScramHash::Sha1, ScramHash::Sha256]);
        assert_eq!(common_hashes(&store, "h").unwrap(), [ScramHash::Sha1, ScramHash::Sha256]);
        have(&mut store, "a@h", &[ScramHash::Sha512]);
        assert_eq!(common_hashes(&store, "h").unwrap(), []);
        assert!(remove(&mut store, &jid("a@h"), 1).unwrap());
        have(&mut store, "b@h", &[]);
        assert_eq!(common_hashes(&store, "h").unwrap(), all);
    }

    #[test]
    fn places_are_spread_over_the_accounts_of_a_host() {
        let names: Vec<String> =
            (0..64).map(|n| format!("user{n}@{}", if n % 8 == 0 { "small" } else { "h" })).collect();
        let store = store_with(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for (host, least) in [("h", 40), ("small", 7)] {
            let found: std::collections::HashSet<_> =
                (0..64).map(|place| some_account(&store, host, place * 7919).unwrap().unwrap()).collect();
            assert!(found.len() >= least && found.iter().all(|jid| jid.domain().as_str() == host), "{}", found.len());
        }
        assert_eq!(some_account(&store, "nowhere", 5).unwrap(), None);
        let empty = Store::in_memory().unwrap();
        assert_eq!(some_account(&empty, "h", u64::MAX).unwrap(), None);
    }

    #[test]
    fn a_removed_account_leaves_its_name_and_nothing_else() {
        let romeo = jid("romeo@montague.net");
        let mut store = store_with(&["romeo@montague.net", "juliet@montague.net"]);
        let bounds = Bounds { count: 10, bytes: 1000 };
        for account in [&romeo, &jid("juliet@montague.net")] {
            set_credentials(
                &mut store,
                account,
                &Credentials {
                    scram: vec![keys(ScramHash::Sha1, 1)],
                    legacy: Some(LegacyHash { kind: "k".into(), value: "v".into() }),
                },
            )
            .unwrap();
            plain_password::keep(&mut store, account, "secret", 1).unwrap();
            vcard::set(&mut store, account, "<vCard xmlns='vcard-temp'><FN>R J</FN></vCard>").unwrap();
            registration::set(&mut store, account, "<query/>").unwrap();
            invite::set_inviter(&mut store, account, &jid("nurse@montague.net")).unwrap();
            let invite = invite::Invite {
                id: String::new(),
                host: "montague.net".into(),
                inviter: Some(account.clone()),
                localpart: String::new(),
                registers: true,
                befriends: true,
                for_contact: true,
                by_server: false,
                created: 1,
                expires: 9,
                uses: 1,
            };
            invite::create(&mut store, account.as_str(), &invite).unwrap();
            imported::set(&mut store, account, "n", "<x/>").unwrap();
            let _ = privacy::set(&mut store, account, "l", "<list/>", bounds).unwrap();
            let _ = privacy::set_filter(&mut store, account, Some("<query/>"), 1000).unwrap();
            last::set(&mut store, account, &last::Last { unix_millis: 1, status: String::new() }).unwrap();
            last::set_visit(&mut store, account, last::Visit { came: 1, seen: 1 }).unwrap();
            let _ = private::set(&mut store, account, "a", "b", "<a/>", bounds).unwrap();
            let _ = offline::append(&mut store, account, "<message/>", 1, bounds).unwrap();
            motd::mark_seen(&mut store, account, 1).unwrap();
            for contact in ["nurse@capulet.com", "paris@capulet.com"] {
                roster::upsert(&mut store, account, &roster::RosterItem::new(Jid::new(contact).unwrap())).unwrap();
            }
            roster::remove(&mut store, account, &Jid::new("paris@capulet.com").unwrap()).unwrap();
        }
        assert!(remove(&mut store, &romeo, 77).unwrap());
        assert!(!remove(&mut store, &romeo, 78).unwrap());
        store.commit().unwrap();

        // Every table that names an account holds rows of one account only; a table added later is seen here.
        let tables = "SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c
                      WHERE m.type = 'table' AND c.name = 'account'";
        let tables: Vec<String> = store.all(tables, [], |row| row.get(0)).unwrap();
        assert!(tables.len() >= 10, "{tables:?}");
        for table in tables {
            let sql = format!("SELECT count(DISTINCT account) FROM {table}");
            let owners: i64 = store.connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(owners, 1, "{table}");
        }
        assert_eq!(removed_at(&store, &romeo).unwrap(), Some(77));
        assert!(create(&mut store, &romeo, &Credentials::default(), 99).unwrap());
        assert_eq!(removed_at(&store, &romeo).unwrap(), None);
        assert_eq!(vcard::of(&store, &romeo).unwrap(), None);
    }

    #[test]
    fn of_two_processes_that_make_an_account_one_does() {
        const ACCOUNTS: usize = 50;
        let scratch = Scratch::new("two-at-once");
        drop(Store::open(&scratch.database()).unwrap());
        let begin = std::sync::Barrier::new(2);
        let make = || {
            let mut store = Store::open(&scratch.database()).unwrap();
            begin.wait();
            let mut made = 0;
            for n in 0..ACCOUNTS {
                let account = jid(&format!("u{n}@h"));
                made += usize::from(create(&mut store, &account, &Credentials::default(), 1).unwrap());
                store.commit().unwrap();
            }
            made
        };
        let made: usize = std::thread::scope(|scope| {
            let threads = [scope.spawn(make), scope.spawn(make)];
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(made, ACCOUNTS);
        assert_eq!(count(&Store::open(&scratch.database()).unwrap(), "h").unwrap(), ACCOUNTS as u64);
    }

    #[test]
    fn a_reserved_name_is_kept_until_its_account_is_made() {
        let mut store = store_with(&[]);
        reserve(&mut store, &jid("romeo@h")).unwrap();
        reserve(&mut store, &jid("romeo@h")).unwrap();
        assert!(is_reserved(&store, &jid("romeo@h")).unwrap());
        assert!(!is_reserved(&store, &jid("romeo@other")).unwrap());
        assert!(create(&mut store, &jid("romeo@h"), &Credentials::default(), 1).unwrap());
        assert!(!is_reserved(&store, &jid("romeo@h")).unwrap());
    }

    #[test]
    fn names_are_forgotten_in_time() {
        let mut store = store_with(&["a@h", "b@h"]);
        remove(&mut store, &jid("a@h"), 10).unwrap();
        remove(&mut store, &jid("b@h"), 20).unwrap();
        assert_eq!(forget_removed(&mut store, 20).unwrap(), 1);
        assert_eq!(removed_at(&store, &jid("a@h")).unwrap(), None);
        assert_eq!(removed_at(&store, &jid("b@h")).unwrap(), Some(20));
    }

    #[test]
    fn accounts_are_listed_by_host_and_page() {
        let mut store = store_with(&["c@h", "a@h", "b@h", "x@other"]);
        assert!(set_disabled(&mut store, &jid("b@h"), true).unwrap());
        assert!(!set_disabled(&mut store, &jid("y@h"), true).unwrap());
        let names = |after: &str, limit| -> Vec<String> {
            let accounts = list(&store, "h", after, limit).unwrap();
            accounts.iter().map(|account| format!("{} {}", account.jid, account.disabled)).collect()
        };
        assert_eq!(names("", 2), ["a@h false", "b@h true"]);
        assert_eq!(names("b", 2), ["c@h false"]);
        assert_eq!(count(&store, "h").unwrap(), 3);
        assert_eq!(count_disabled(&store, "h").unwrap(), 1);
        assert_eq!(list_disabled(&store, "h", "", 9).unwrap().len(), 1);
        assert_eq!(hosts(&store).unwrap(), ["h", "other"]);
        let found = account(&store, &jid("b@h")).unwrap().unwrap();
        assert_eq!((found.created_unix_millis, found.disabled), (1_000_000, true));
        assert_eq!(account(&store, &jid("y@h")).unwrap(), None);
    }
}
