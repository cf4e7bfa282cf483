//! Rosters (RFC 6121 §2) with what the subscription rules need to remember (§3), and their versions (§2.6).
//!
//! A version is a number that grows with each change a client may see. It starts at the time the account was made, so
//! that a client of an account removed and made again never holds a version of its predecessor that looks current.

use rusqlite::{Row, params};

use super::error::Cause;
use super::{Error, Store, account_id, key, unsigned};
use crate::xml::Element;
use crate::xmpp::{BareJid, Jid, ns};

/// How many removals are remembered for clients that were away; with more, they are sent the whole roster.
const REMOVED_KEPT: i64 = 64;

/// Stands between group names in the database: a character that XML cannot hold.
const SEPARATOR: char = '\u{1f}';

/// Who sees whose presence (RFC 6121 §2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subscription {
    /// Neither.
    #[default]
    None,
    /// The user sees the contact's.
    To,
    /// The contact sees the user's.
    From,
    /// Both.
    Both,
}

impl Subscription {
    /// The bits in the database: 1 to, 2 from.
    fn bits(self) -> i64 {
        i64::from(self.to()) | i64::from(self.from()) << 1
    }

    /// From its two halves.
    pub fn of(to: bool, from: bool) -> Subscription {
        match (to, from) {
            (false, false) => Subscription::None,
            (true, false) => Subscription::To,
            (false, true) => Subscription::From,
            (true, true) => Subscription::Both,
        }
    }

    /// Does the user see the contact's presence?
    pub fn to(self) -> bool {
        matches!(self, Subscription::To | Subscription::Both)
    }

    /// Does the contact see the user's presence?
    pub fn from(self) -> bool {
        matches!(self, Subscription::From | Subscription::Both)
    }

    /// The value of the attribute `subscription`.
    pub fn name(self) -> &'static str {
        match self {
            Subscription::None => "none",
            Subscription::To => "to",
            Subscription::From => "from",
            Subscription::Both => "both",
        }
    }
}

/// One contact of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterItem {
    /// The contact: mostly a bare JID, but jabberd 1.4 keeps `transport/registered` literally.
    pub jid: Jid,
    /// The user's name for the contact; empty for none.
    pub name: String,
    /// Who sees whose presence.
    pub subscription: Subscription,
    /// The user asked to see the contact's presence and has no answer yet (`ask='subscribe'`).
    pub ask: bool,
    /// The contact asked to see the user's presence and has no answer yet: the stanza that asked, to be shown again at
    /// each login (RFC 6121 §3.1.3).
    pub pending_in: Option<String>,
    /// The user said yes before the contact asked (RFC 6121 §3.4).
    pub approved: bool,
    /// Is the item in the roster that clients see? One that only holds `pending_in` is not (RFC 6121 §3.1.3).
    pub visible: bool,
    /// Names of groups, in the user's order.
    pub groups: Vec<String>,
}

impl RosterItem {
    /// A visible item with nothing set.
    pub fn new(jid: Jid) -> RosterItem {
        RosterItem {
            jid,
            name: String::new(),
            subscription: Subscription::None,
            ask: false,
            pending_in: None,
            approved: false,
            visible: true,
            groups: Vec::new(),
        }
    }

    /// The item as clients see it (RFC 6121 §2.1.2).
    pub fn to_element(&self) -> Element {
        let mut element = Element::new("item", ns::ROSTER).with_attribute("jid", self.jid.as_str().to_string());
        if !self.name.is_empty() {
            element = element.with_attribute("name", self.name.clone());
        }
        element = element.with_attribute("subscription", self.subscription.name());
        if self.ask {
            element = element.with_attribute("ask", "subscribe");
        }
        if self.approved {
            element = element.with_attribute("approved", "true");
        }
        let group = |name: &String| Element::new("group", ns::ROSTER).with_text(name.clone());
        element.with_children(self.groups.iter().map(group))
    }
}

/// What happened to a roster since a version, to be pushed to a client that was away (RFC 6121 §2.6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The item as it is now.
    Set(RosterItem),
    /// The item is gone.
    Removed(Jid),
}

/// The columns that [`read_item`] reads.
macro_rules! columns {
    () => {
        "jid, name, subscription, ask, pending_in, approved, visible, groups"
    };
}

/// The item for one contact, visible or not.
///
/// # Errors
/// When the database fails.
pub fn item(store: &Store, account: &BareJid, contact: &Jid) -> Result<Option<RosterItem>, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("SELECT ", columns!(), " FROM roster_item WHERE account = ", account_id!(), " AND jid = ?3");
    store.one(sql, (host, localpart, contact.as_str()), read_item).map(Option::flatten)
}

/// All items in the order of their JIDs, those that are not visible too.
///
/// # Errors
/// When the database fails.
pub fn items(store: &Store, account: &BareJid) -> Result<Vec<RosterItem>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM roster_item WHERE account = ", account_id!(), " ORDER BY jid");
    let items = store.all(sql, key(account), read_item)?;
    Ok(items.into_iter().flatten().collect())
}

/// May this entity see the account's presence: has it a subscription (RFC 6121 §3), under its bare or full JID?
///
/// # Errors
/// When the database fails.
pub fn may_see_presence(store: &Store, account: &BareJid, who: &Jid) -> Result<bool, Error> {
    let bare = Jid::from(who.to_bare());
    let sees = |item: Option<RosterItem>| item.is_some_and(|item| item.subscription.from());
    Ok(sees(item(store, account, &bare)?) || (who.is_full() && sees(item(store, account, who)?)))
}

/// How many items there are, visible or not.
///
/// # Errors
/// When the database fails.
pub fn count(store: &Store, account: &BareJid) -> Result<u64, Error> {
    let sql = concat!("SELECT count(*) FROM roster_item WHERE account = ", account_id!());
    store.one(sql, key(account), |row| row.get(0).map(unsigned)).map(Option::unwrap_or_default)
}

/// Contacts that see the user's presence (from, both).
///
/// # Errors
/// When the database fails.
pub fn subscribers(store: &Store, account: &BareJid) -> Result<Vec<Jid>, Error> {
    let sql =
        concat!("SELECT jid FROM roster_item WHERE account = ", account_id!(), " AND subscription & 2 ORDER BY jid");
    let jids = store.all(sql, key(account), read_jid)?;
    Ok(jids.into_iter().flatten().collect())
}

/// Contacts whose presence the user sees (to, both).
///
/// # Errors
/// When the database fails.
pub fn subscriptions(store: &Store, account: &BareJid) -> Result<Vec<Jid>, Error> {
    let sql =
        concat!("SELECT jid FROM roster_item WHERE account = ", account_id!(), " AND subscription & 1 ORDER BY jid");
    let jids = store.all(sql, key(account), read_jid)?;
    Ok(jids.into_iter().flatten().collect())
}

/// Contacts whose presence the user asked to see, and who have not answered (RFC 6121 §3.1.2).
///
/// # Errors
/// When the database fails.
pub fn pending_out(store: &Store, account: &BareJid) -> Result<Vec<Jid>, Error> {
    let sql = concat!("SELECT jid FROM roster_item WHERE account = ", account_id!(), " AND ask ORDER BY jid");
    let jids = store.all(sql, key(account), read_jid)?;
    Ok(jids.into_iter().flatten().collect())
}

/// Requests that wait for the user's answer, as the stanzas that asked (RFC 6121 §3.1.3), with who asked.
///
/// # Errors
/// When the database fails.
pub fn pending_in(store: &Store, account: &BareJid) -> Result<Vec<(Jid, String)>, Error> {
    let sql = concat!(
        "SELECT jid, pending_in FROM roster_item WHERE account = ",
        account_id!(),
        " AND pending_in IS NOT NULL ORDER BY jid"
    );
    let rows = store.all(sql, key(account), |row| Ok(read_jid(row)?.zip(row.get::<_, Option<String>>(1)?)))?;
    Ok(rows.into_iter().flatten().collect())
}

/// Keeps an item in place of the one before. Returns the roster's version when clients see a difference, which is to be
/// pushed: the item, or its removal when it was visible and is no longer.
///
/// # Errors
/// When the database fails, or there is no such account.
pub fn upsert(store: &mut Store, account: &BareJid, item: &RosterItem) -> Result<Option<u64>, Error> {
    store.savepoint(|store| {
        let seen = if item.visible { true } else { is_visible(store, account, &item.jid)? };
        let version = if seen { Some(next_version(store, account)?) } else { None };
        let (host, localpart) = key(account);
        store.write_for(
            account,
            "INSERT OR REPLACE INTO roster_item
                 (account, jid, version, subscription, ask, approved, visible, name, groups, pending_in)
             SELECT id, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM account WHERE host = ?1 AND localpart = ?2",
            params![
                host,
                localpart,
                item.jid.as_str(),
                version.map_or(0, |version| version.number),
                item.subscription.bits(),
                item.ask,
                item.approved,
                item.visible,
                item.name,
                item.groups.join(&SEPARATOR.to_string()),
                item.pending_in,
            ],
        )?;
        if let (Some(version), false) = (version, item.visible) {
            remember_removal(store, version, &item.jid)?;
        }
        Ok(version.map(|version| unsigned(version.number)))
    })
}

/// Removes an item. Returns the roster's version when clients see a difference, which is to be pushed.
///
/// # Errors
/// When the database fails.
pub fn remove(store: &mut Store, account: &BareJid, contact: &Jid) -> Result<Option<u64>, Error> {
    store.savepoint(|store| {
        let (host, localpart) = key(account);
        let visible = store.write_returning(
            concat!("DELETE FROM roster_item WHERE account = ", account_id!(), " AND jid = ?3 RETURNING visible"),
            (host, localpart, contact.as_str()),
            |row| row.get::<_, bool>(0),
        )?;
        if visible != Some(true) {
            return Ok(None);
        }
        let version = next_version(store, account)?;
        remember_removal(store, version, contact)?;
        Ok(Some(unsigned(version.number)))
    })
}

/// The version of the roster as it is; 0 when there is no such account.
///
/// # Errors
/// When the database fails.
pub fn version(store: &Store, account: &BareJid) -> Result<u64, Error> {
    Ok(versions(store, account)?.map_or(0, |(version, _)| version))
}

/// What clients that have `version` are to be told, in order, each with the version that it made; `None` when that cannot be told any more (the version is
/// too old, or was never given out) and they need the whole roster.
///
/// # Errors
/// When the database fails.
pub fn since(store: &Store, account: &BareJid, version: u64) -> Result<Option<Vec<(u64, Change)>>, Error> {
    match versions(store, account)? {
        Some((current, floor)) if (floor..=current).contains(&version) => {}
        _ => return Ok(None),
    }
    let (host, localpart) = key(account);
    let after = (host, localpart, super::signed(version));
    let set = store.all(
        concat!(
            "SELECT ",
            columns!(),
            ", version FROM roster_item WHERE account = ",
            account_id!(),
            " AND version > ?3 AND visible"
        ),
        after,
        |row| Ok(read_item(row)?.map(|item| (row.get::<_, i64>(8), Change::Set(item)))),
    )?;
    // Of an item that went, came back and went again, only the last removal; none if it is here now.
    let removed = store.all(
        concat!(
            "SELECT jid, max(version) FROM roster_removed r WHERE account = ",
            account_id!(),
            " AND version > ?3 AND NOT EXISTS (SELECT 1 FROM roster_item i
                 WHERE i.account = r.account AND i.jid = r.jid AND i.visible) GROUP BY jid"
        ),
        after,
        |row| Ok(read_jid(row)?.map(|jid| (row.get::<_, i64>(1), Change::Removed(jid)))),
    )?;
    let mut changes = Vec::with_capacity(set.len().saturating_add(removed.len()));
    for (version, change) in set.into_iter().chain(removed).flatten() {
        changes.push((version.map_err(|error| store.error(Cause::Sql(error)))?, change));
    }
    changes.sort_by_key(|(version, _)| *version);
    Ok(Some(changes.into_iter().map(|(version, change)| (unsigned(version), change)).collect()))
}

/// A version just given out, and the number of the account it is for.
#[derive(Clone, Copy)]
struct Version {
    account: i64,
    number: i64,
}

fn next_version(store: &mut Store, account: &BareJid) -> Result<Version, Error> {
    let version = store.write_returning(
        "INSERT INTO roster (account, version, floor)
             SELECT id, created / 1000 + 1, created / 1000 FROM account WHERE host = ?1 AND localpart = ?2
         ON CONFLICT (account) DO UPDATE SET version = version + 1 RETURNING account, version",
        key(account),
        |row| Ok(Version { account: row.get(0)?, number: row.get(1)? }),
    )?;
    version.ok_or_else(|| store.error(Cause::NoAccount(account.clone())))
}

/// The version and the oldest one that [`since`] can start from.
fn versions(store: &Store, account: &BareJid) -> Result<Option<(u64, u64)>, Error> {
    store.one(
        "SELECT coalesce(r.version, a.created / 1000), coalesce(r.floor, a.created / 1000)
         FROM account a LEFT JOIN roster r ON r.account = a.id WHERE a.host = ?1 AND a.localpart = ?2",
        key(account),
        |row| Ok((row.get(0).map(unsigned)?, row.get(1).map(unsigned)?)),
    )
}

fn is_visible(store: &Store, account: &BareJid, contact: &Jid) -> Result<bool, Error> {
    let (host, localpart) = key(account);
    let sql = concat!("SELECT visible FROM roster_item WHERE account = ", account_id!(), " AND jid = ?3");
    store.one(sql, (host, localpart, contact.as_str()), |row| row.get(0)).map(Option::unwrap_or_default)
}

/// The oldest removals make room for the new one, and raise the floor.
fn remember_removal(store: &mut Store, version: Version, contact: &Jid) -> Result<(), Error> {
    let Version { account, number } = version;
    store.write("INSERT INTO roster_removed VALUES (?1, ?2, ?3)", params![account, number, contact.as_str()])?;
    let oldest: Option<i64> = store.one(
        "SELECT version FROM roster_removed WHERE account = ?1 ORDER BY version DESC LIMIT 1 OFFSET ?2",
        (account, REMOVED_KEPT),
        |row| row.get(0),
    )?;
    if let Some(oldest) = oldest {
        store.write("DELETE FROM roster_removed WHERE account = ?1 AND version <= ?2", (account, oldest))?;
        store.write("UPDATE roster SET floor = ?2 WHERE account = ?1", (account, oldest))?;
    }
    Ok(())
}

/// An item whose JID is none any more (the rules of stringprep changed, or a hand was in the file) is passed over.
fn read_item(row: &Row<'_>) -> rusqlite::Result<Option<RosterItem>> {
    let Some(jid) = read_jid(row)? else { return Ok(None) };
    let subscription: i64 = row.get(2)?;
    let groups = row.get_ref(7)?.as_str()?;
    Ok(Some(RosterItem {
        jid,
        name: row.get(1)?,
        subscription: Subscription::of(subscription & 1 != 0, subscription & 2 != 0),
        ask: row.get(3)?,
        pending_in: row.get(4)?,
        approved: row.get(5)?,
        visible: row.get(6)?,
        groups: groups.split(SEPARATOR).filter(|group| !group.is_empty()).map(str::to_owned).collect(),
    }))
}

fn read_jid(row: &Row<'_>) -> rusqlite::Result<Option<Jid>> {
    let text = row.get_ref(0)?.as_str()?;
    Ok(Jid::new(text)
        .inspect_err(
            |error| log::warn!(target: "-internal", users = "bad JIDs in rosters"; "bad JID in a roster: {error}"),
        )
        .ok())
}

#[cfg(test)]
mod tests;
