//! Who may reach whom: privacy lists (XEP-0016), of which one may be an account's default, and the rules of jabberd 1.4
//! (`jabber:iq:filter`). Each list is its XML; so are the rules.

use rusqlite::params;

use super::private::Kept;
use super::{Bounds, Error, Store, account_id, key, unsigned};
use crate::xmpp::BareJid;

/// What counts for an account at all times, as text: its default list and its rules of 1.4's kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The default list.
    pub default: Option<String>,
    /// The rules.
    pub filter: Option<String>,
}

/// What counts for an account at all times.
///
/// # Errors
/// When the database fails.
pub fn standing(store: &Store, account: &BareJid) -> Result<Standing, Error> {
    let sql = "SELECT (SELECT xml FROM privacy_list WHERE account = a.id AND is_default),
                      (SELECT xml FROM filter WHERE account = a.id)
               FROM account a WHERE a.host = ?1 AND a.localpart = ?2";
    let found = store.one(sql, key(account), |row| Ok(Standing { default: row.get(0)?, filter: row.get(1)? }))?;
    Ok(found.unwrap_or_default())
}

/// The names of an account's lists in their order, and which of them is the default.
///
/// # Errors
/// When the database fails.
pub fn names(store: &Store, account: &BareJid) -> Result<Vec<(String, bool)>, Error> {
    let sql = concat!("SELECT name, is_default FROM privacy_list WHERE account = ", account_id!(), " ORDER BY name");
    store.all(sql, key(account), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// One list.
///
/// # Errors
/// When the database fails.
pub fn list(store: &Store, account: &BareJid, name: &str) -> Result<Option<String>, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("SELECT xml FROM privacy_list WHERE account = ", account_id!(), " AND name = ?3");
    store.one(sql, (host, localpart, name), |row| row.get(0))
}

/// Keeps a list in place of the one of that name, unless that would take the account over `bounds`: what was imported may be
/// over them, and can still become shorter. A new one is not the default.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set(store: &mut Store, account: &BareJid, name: &str, xml: &str, bounds: Bounds) -> Result<Kept, Error> {
    let (host, localpart) = key(account);
    // The list that is replaced does not count.
    let others = store.one(
        concat!(
            "SELECT count(*), coalesce(sum(length(CAST(xml AS BLOB))), 0) FROM privacy_list WHERE account = ",
            account_id!(),
            " AND name <> ?3"
        ),
        (host, localpart, name),
        |row| Ok((row.get(0).map(unsigned)?, row.get(1).map(unsigned)?)),
    )?;
    let (count, bytes) = others.unwrap_or((0, 0));
    if count >= bounds.count || bytes.saturating_add(xml.len() as u64) > bounds.bytes {
        let old = list(store, account, name)?;
        if old.is_none_or(|old| old.len() < xml.len()) {
            return Ok(Kept::Full);
        }
    }
    store.write_for(
        account,
        "INSERT INTO privacy_list (account, name, is_default, xml)
         SELECT id, ?3, 0, ?4 FROM account WHERE host = ?1 AND localpart = ?2
         ON CONFLICT (account, name) DO UPDATE SET xml = excluded.xml",
        params![host, localpart, name, xml],
    )?;
    Ok(Kept::Kept)
}

/// Removes a list; `false` when there was none of that name.
///
/// # Errors
/// When the database fails.
pub fn remove(store: &mut Store, account: &BareJid, name: &str) -> Result<bool, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("DELETE FROM privacy_list WHERE account = ", account_id!(), " AND name = ?3");
    store.write(sql, (host, localpart, name)).map(|rows| rows > 0)
}

/// Makes a list the default in place of the one that was, or none.
///
/// # Errors
/// When the database fails.
pub fn set_default(store: &mut Store, account: &BareJid, name: Option<&str>) -> Result<(), Error> {
    let (host, localpart) = key(account);
    let sql = concat!("UPDATE privacy_list SET is_default = (name IS ?3) WHERE account = ", account_id!());
    store.write(sql, (host, localpart, name)).map(drop)
}

/// The rules of 1.4's kind, whether they are run or not.
///
/// # Errors
/// When the database fails.
pub fn filter(store: &Store, account: &BareJid) -> Result<Option<String>, Error> {
    store.one(concat!("SELECT xml FROM filter WHERE account = ", account_id!()), key(account), |row| row.get(0))
}

/// Keeps the rules of 1.4's kind in place of those that were, or none. `bytes_max` is for all of them.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn set_filter(store: &mut Store, account: &BareJid, xml: Option<&str>, bytes_max: u64) -> Result<Kept, Error> {
    let (host, localpart) = key(account);
    let Some(xml) = xml else {
        store.write(concat!("DELETE FROM filter WHERE account = ", account_id!()), (host, localpart))?;
        return Ok(Kept::Kept);
    };
    if xml.len() as u64 > bytes_max {
        return Ok(Kept::Full);
    }
    store.write_for(
        account,
        "INSERT OR REPLACE INTO filter SELECT id, ?3 FROM account WHERE host = ?1 AND localpart = ?2",
        params![host, localpart, xml],
    )?;
    Ok(Kept::Kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{jid, store_with};

    const BOUNDS: Bounds = Bounds { count: 2, bytes: 10 };

    #[test]
    fn lists_are_kept_by_name_within_bounds_and_one_is_the_default() {
        let mut store = store_with(&["a@h", "b@h"]);
        let account = jid("a@h");
        let rows = [
            ("x", "<one/>", Kept::Kept),
            ("x", "<two!!!/>", Kept::Kept), // replaced: only the new one counts
            ("y", "<>", Kept::Full),        // too many bytes
            ("x", "<öö/>", Kept::Kept),
            ("y", "<>", Kept::Kept),
            ("z", "", Kept::Full), // too many lists
        ];
        for (name, xml, kept) in rows {
            assert_eq!(set(&mut store, &account, name, xml, BOUNDS).unwrap(), kept, "{name} {xml}");
        }
        // Imported with other bounds: it can become shorter, and nothing longer.
        let tight = Bounds { count: 1, bytes: 3 };
        for (xml, kept) in [("<öööö/>", Kept::Full), ("<oo/>", Kept::Kept), ("<oo>", Kept::Kept)] {
            assert_eq!(set(&mut store, &account, "x", xml, tight).unwrap(), kept, "{xml}");
        }
        let listed = |store: &Store| names(store, &account).unwrap();
        let row = |name: &str, is_default| (name.to_owned(), is_default);
        assert_eq!(listed(&store), [row("x", false), row("y", false)]);
        assert_eq!(standing(&store, &account).unwrap(), Standing::default());
        for name in ["y", "x"] {
            set_default(&mut store, &account, Some(name)).unwrap();
        }
        assert_eq!(listed(&store), [row("x", true), row("y", false)]);
        // A changed list stays the default.
        assert_eq!(set(&mut store, &account, "x", "<new/>", BOUNDS).unwrap(), Kept::Kept);
        assert_eq!(standing(&store, &account).unwrap().default.as_deref(), Some("<new/>"));
        assert_eq!(list(&store, &account, "y").unwrap().as_deref(), Some("<>"));
        set_default(&mut store, &account, None).unwrap();
        assert_eq!(standing(&store, &account).unwrap().default, None);
        assert!(remove(&mut store, &account, "x").unwrap() && !remove(&mut store, &account, "x").unwrap());
        assert!(names(&store, &jid("b@h")).unwrap().is_empty());
        assert!(set(&mut store, &jid("nobody@h"), "x", "", BOUNDS).unwrap_err().is_no_account());
    }

    #[test]
    fn rules_are_kept_whole() {
        let mut store = store_with(&["a@h"]);
        let account = jid("a@h");
        assert_eq!(set_filter(&mut store, &account, Some("<q/>"), 4).unwrap(), Kept::Kept);
        assert_eq!(set_filter(&mut store, &account, Some("<qq/>"), 4).unwrap(), Kept::Full);
        assert_eq!(filter(&store, &account).unwrap().as_deref(), Some("<q/>"));
        assert_eq!(standing(&store, &account).unwrap().filter.as_deref(), Some("<q/>"));
        assert_eq!(set_filter(&mut store, &account, None, 4).unwrap(), Kept::Kept);
        assert_eq!(filter(&store, &account).unwrap(), None);
        assert!(set_filter(&mut store, &jid("nobody@h"), Some(""), 4).unwrap_err().is_no_account());
    }
}
