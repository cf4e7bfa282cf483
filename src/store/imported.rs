//! What importers remember: the files that they are done with, and data for which there is no room yet.

use std::collections::HashMap;

use rusqlite::params;

use super::{Error, Store, account_id, key, signed, unsigned};
use crate::xmpp::BareJid;

/// A file as it was when an importer was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was last written, in Unix milliseconds.
    pub modified_unix_millis: u64,
    /// Its length.
    pub bytes: u64,
}

/// All files that importers are done with, by path; without those that were left, if these are to be looked at again.
///
/// # Errors
/// When the database fails.
pub fn files(store: &Store, without_left: bool) -> Result<HashMap<String, Seen>, Error> {
    let sql = "SELECT path, modified, bytes FROM imported_file WHERE NOT (is_left AND ?1)";
    let rows = store.all(sql, [without_left], |row| {
        let seen = Seen { modified_unix_millis: row.get(1).map(unsigned)?, bytes: row.get(2).map(unsigned)? };
        Ok((row.get(0)?, seen))
    })?;
    Ok(rows.into_iter().collect())
}

/// An importer is done with this file.
///
/// # Errors
/// When the database fails.
pub fn set_file(store: &mut Store, path: &str, seen: Seen) -> Result<(), Error> {
    note(store, path, seen, false)
}

/// An importer could make nothing of this file or directory, and will not before it changes, or jabber.xml does.
///
/// # Errors
/// When the database fails.
pub fn set_left(store: &mut Store, path: &str, seen: Seen) -> Result<(), Error> {
    note(store, path, seen, true)
}

fn note(store: &mut Store, path: &str, seen: Seen, is_left: bool) -> Result<(), Error> {
    let params = params![path, signed(seen.modified_unix_millis), signed(seen.bytes), is_left];
    store.write("INSERT OR REPLACE INTO imported_file VALUES (?1, ?2, ?3, ?4)", params).map(drop)
}

/// Keeps data of a namespace that has no room yet, as XML text, in place of what was kept before.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set(store: &mut Store, account: &BareJid, ns: &str, xml: &str) -> Result<(), Error> {
    let (host, localpart) = key(account);
    store.write_for(
        account,
        "INSERT OR REPLACE INTO imported SELECT id, ?3, ?4 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, ns, xml],
    )
}

/// What is kept so, as namespace and XML text.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, account: &BareJid) -> Result<Vec<(String, String)>, Error> {
    let sql = concat!("SELECT ns, xml FROM imported WHERE account = ", account_id!(), " ORDER BY ns");
    store.all(sql, key(account), |row| Ok((row.get(0)?, row.get(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};

    #[test]
    fn files_and_data_are_remembered() {
        let mut store = store_with(&["a@h", "b@h"]);
        assert!(files(&store, true).unwrap().is_empty());
        for bytes in [1, 2] {
            set_file(&mut store, "/spool/h/a.xml", Seen { modified_unix_millis: 5, bytes }).unwrap();
        }
        let seen = Seen { modified_unix_millis: 5, bytes: 2 };
        assert_eq!(files(&store, true).unwrap(), HashMap::from([("/spool/h/a.xml".to_owned(), seen)]));
        set_left(&mut store, "/spool/h/b.xml", seen).unwrap();
        assert_eq!((files(&store, true).unwrap().len(), files(&store, false).unwrap().len()), (1, 2));
        for xml in ["<one/>", "<two/>"] {
            set(&mut store, &jid("a@h"), "n", xml).unwrap();
        }
        assert_eq!(of(&store, &jid("a@h")).unwrap(), [("n".to_owned(), "<two/>".to_owned())]);
        assert!(of(&store, &jid("b@h")).unwrap().is_empty());
        assert!(set(&mut store, &jid("nobody@h"), "n", "<x/>").unwrap_err().is_no_account());
    }
}
