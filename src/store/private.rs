//! Private XML (XEP-0049): an element for each name and namespace, as text.

use rusqlite::params;

use super::{Bounds, Error, Store, account_id, key, signed, unsigned};
use crate::xmpp::BareJid;

/// What became of an element that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// It is kept.
    Kept,
    /// The account has as many elements or bytes as it may have. Nothing changed.
    Full,
}

/// The element kept under this name and namespace.
///
/// # Errors
/// When the database fails.
pub fn element(store: &Store, account: &BareJid, name: &str, ns: &str) -> Result<Option<String>, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("SELECT xml FROM private WHERE account = ", account_id!(), " AND ns = ?3 AND name = ?4");
    store.one(sql, (host, localpart, ns, name), |row| row.get(0))
}

/// All elements of an account, by namespace and name.
///
/// # Errors
/// When the database fails.
pub fn all(store: &Store, account: &BareJid) -> Result<Vec<String>, Error> {
    let sql = concat!("SELECT xml FROM private WHERE account = ", account_id!(), " ORDER BY ns, name");
    store.all(sql, key(account), |row| row.get(0))
}

/// Keeps an element in place of the one before, unless that would take the account over `bounds`.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set(
    store: &mut Store,
    account: &BareJid,
    name: &str,
    ns: &str,
    xml: &str,
    bounds: Bounds,
) -> Result<Kept, Error> {
    let (host, localpart) = key(account);
    // The element that is replaced does not count.
    let others = store.one(
        concat!(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM private WHERE account = ",
            account_id!(),
            " AND NOT (ns = ?3 AND name = ?4)"
        ),
        (host, localpart, ns, name),
        |row| Ok((row.get(0).map(unsigned)?, row.get(1).map(unsigned)?)),
    )?;
    let (count, bytes) = others.unwrap_or((0, 0));
    if count >= bounds.count || bytes.saturating_add(xml.len() as u64) > bounds.bytes {
        return Ok(Kept::Full);
    }
    store.write_for(
        account,
        "INSERT OR REPLACE INTO private (account, ns, name, bytes, xml)
         SELECT id, ?3, ?4, ?5, ?6 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, ns, name, signed(xml.len() as u64), xml],
    )?;
    Ok(Kept::Kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};

    #[test]
    fn elements_are_kept_by_name_and_namespace_within_bounds() {
        let mut store = store_with(&["a@h", "b@h"]);
        let account = jid("a@h");
        let bounds = Bounds { count: 2, bytes: 10 };
        // Name, namespace, text, kept?
        let rows = [
            ("storage", "storage:bookmarks", "<one/>", true),
            ("storage", "storage:bookmarks", "<two!!!/>", true), // replaced: only the new one counts
            ("storage", "storage:rosternotes", "<>", false),     // too many bytes
            ("storage", "storage:bookmarks", "<one/>", true),
            ("storage", "storage:rosternotes", "<>", true),
            ("x", "y", "", false), // too many elements
            ("storage", "storage:bookmarks", "<12345678/>", false),
        ];
        for (name, ns, xml, kept) in rows {
            let outcome = set(&mut store, &account, name, ns, xml, bounds).unwrap();
            assert_eq!(outcome == Kept::Kept, kept, "{name} {ns} {xml}");
        }
        assert_eq!(element(&store, &account, "storage", "storage:bookmarks").unwrap().unwrap(), "<one/>");
        assert_eq!(element(&store, &account, "storage", "storage:rosternotes").unwrap().unwrap(), "<>");
        assert_eq!(all(&store, &account).unwrap(), ["<one/>", "<>"]);
        assert_eq!(element(&store, &account, "other", "storage:bookmarks").unwrap(), None);
        assert_eq!(element(&store, &jid("b@h"), "storage", "storage:bookmarks").unwrap(), None);
        assert!(set(&mut store, &jid("nobody@h"), "a", "b", "", bounds).unwrap_err().is_no_account());
    }
}
