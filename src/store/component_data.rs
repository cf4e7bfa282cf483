//! What components keep here for their own users (`<xdb/>` of jabberd 1.4): an element for each address and namespace.
//!
//! An element that is changed child by child, such as the list of everybody that a user directory keeps, becomes a list:
//! each child is a row, found by its attributes, so that a change costs the same however long the list is.

use rusqlite::params;

use super::{Error, Store, signed, unsigned};
use crate::xml::element::Node;
use crate::xml::{self, Element};

/// Under what something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The component's host.
    pub host: &'a str,
    /// Its user; empty for the component itself.
    pub localpart: &'a str,
    /// The namespace that the component chose.
    pub ns: &'a str,
}

/// The children of a list that have this attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Their name; empty for any.
    pub name: &'a str,
    /// The attribute, and what it says.
    pub attribute: (&'a str, &'a str),
}

/// What became of an element that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// It is kept, or gone.
    Kept,
    /// The host has as many bytes as it may have. Nothing changed.
    Full,
}

/// The row of an element.
struct Row {
    id: i64,
    is_list: bool,
    bytes: u64,
    xml: String,
}

fn row(store: &Store, key: &Key<'_>) -> Result<Option<Row>, Error> {
    store.one(
        "SELECT id, is_list, bytes, xml FROM component_data WHERE host = ?1 AND localpart = ?2 AND ns = ?3",
        (key.host, key.localpart, key.ns),
        |row| Ok(Row { id: row.get(0)?, is_list: row.get(1)?, bytes: row.get(2).map(unsigned)?, xml: row.get(3)? }),
    )
}

/// Bytes of the children of a list.
fn item_bytes(store: &Store, list: i64) -> Result<u64, Error> {
    let sql = "SELECT sum(bytes) FROM component_data_item WHERE list = ?1";
    let sum = store.one(sql, [list], |row| row.get::<_, Option<i64>>(0))?;
    Ok(sum.flatten().map_or(0, unsigned))
}

/// What is kept under a key; as an error, how many bytes it has, if those are more than `bytes_max`.
///
/// # Errors
/// When the database fails.
pub fn value(store: &Store, key: &Key<'_>, bytes_max: u64) -> Result<Result<Option<Element>, u64>, Error> {
    let Some(row) = row(store, key)? else { return Ok(Ok(None)) };
    let items = if row.is_list { item_bytes(store, row.id)? } else { 0 };
    let bytes = row.bytes.saturating_add(items);
    if bytes > bytes_max {
        return Ok(Err(bytes));
    }
    let Some(element) = xml::reader::element(&row.xml).ok() else { return Ok(Ok(None)) };
    if !row.is_list {
        return Ok(Ok(Some(element)));
    }
    let sql = "SELECT xml FROM component_data_item WHERE list = ?1 ORDER BY id";
    let items: Vec<String> = store.all(sql, [row.id], |row| row.get(0))?;
    let items = items.iter().filter_map(|xml| xml::reader::element(xml).ok().map(Node::Element));
    let nodes = element.nodes().iter().cloned().chain(items).collect();
    Ok(Ok(Some(element.with_nodes(nodes))))
}

/// Is anything kept under a key?
///
/// # Errors
/// When the database fails.
pub fn exists(store: &Store, key: &Key<'_>) -> Result<bool, Error> {
    Ok(row(store, key)?.is_some())
}

/// Hosts and users, empty for the host itself, for whom something is kept.
///
/// # Errors
/// When the database fails.
pub fn addresses(store: &Store) -> Result<Vec<(String, String)>, Error> {
    let sql = "SELECT DISTINCT host, localpart FROM component_data ORDER BY host, localpart";
    store.all(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// All that is kept for one of them, by namespace.
///
/// # Errors
/// When the database fails.
pub fn all(store: &Store, host: &str, localpart: &str) -> Result<Vec<(String, Element)>, Error> {
    let sql = "SELECT ns FROM component_data WHERE host = ?1 AND localpart = ?2 ORDER BY ns";
    let namespaces: Vec<String> = store.all(sql, (host, localpart), |row| row.get(0))?;
    let mut all = Vec::with_capacity(namespaces.len());
    for ns in namespaces {
        let kept = value(store, &Key { host, localpart, ns: &ns }, u64::MAX)?;
        all.extend(kept.ok().flatten().map(|element| (ns, element)));
    }
    Ok(all)
}

/// Keeps an element in place of the one before, unless that would take the host over `bytes_max`; `None` deletes it.
///
/// # Errors
/// When the database fails.
pub fn set(store: &mut Store, key: &Key<'_>, element: Option<&Element>, bytes_max: u64) -> Result<Kept, Error> {
    let old = row(store, key)?;
    let old_bytes = match &old {
        Some(row) if row.is_list => row.bytes.saturating_add(item_bytes(store, row.id)?),
        Some(row) => row.bytes,
        None => 0,
    };
    let text = element.map(Element::to_string);
    let bytes = text.as_ref().map_or(0, |text| bytes_of(key, text));
    // The element that is replaced does not count.
    let others = total(store, key.host)?.saturating_sub(old_bytes);
    if text.is_some() && others.saturating_add(bytes) > bytes_max {
        return Ok(Kept::Full);
    }
    if let Some(row) = old {
        delete(store, row.id)?;
    }
    if let Some(text) = text {
        add(store, key, false, &text)?;
    }
    Ok(Kept::Kept)
}

/// Adds a child to the list under a key in place of those that are wanted, unless that would take the host over
/// `bytes_max`; `None` deletes them. What is there becomes a list; where nothing is, `<foo/>` does, as with jabberd 1.4.
///
/// # Errors
/// When the database fails.
pub fn insert(
    store: &mut Store,
    key: &Key<'_>,
    wanted: Option<Wanted<'_>>,
    item: Option<&Element>,
    bytes_max: u64,
) -> Result<Kept, Error> {
    let list = match row(store, key)? {
        Some(row) if row.is_list => Some(row.id),
        Some(row) => Some(split(store, key, &row)?),
        None => None,
    };
    let old = match (list, wanted) {
        (Some(list), Some(wanted)) => found(store, list, wanted)?,
        _ => Vec::new(),
    };
    let text = item.map(|item| (item, item.to_string()));
    let empty = empty(key).to_string();
    let new_list = if list.is_none() { bytes_of(key, &empty) } else { 0 };
    let bytes = text.as_ref().map_or(0, |(_, text)| text.len() as u64).saturating_add(new_list);
    let others = old.iter().fold(total(store, key.host)?, |total, (_, bytes)| total.saturating_sub(*bytes));
    if text.is_some() && others.saturating_add(bytes) > bytes_max {
        return Ok(Kept::Full);
    }
    for (id, _) in old {
        store.write("DELETE FROM component_data_item WHERE id = ?1", [id])?;
    }
    if let Some((item, text)) = text {
        let list = match list {
            Some(list) => list,
            None => add(store, key, true, &empty)?,
        };
        add_item(store, key, list, item, &text)?;
    }
    Ok(Kept::Kept)
}

fn empty(key: &Key<'_>) -> Element {
    Element::new("foo", key.ns.to_string())
}

/// The wanted children of a list, with their bytes.
fn found(store: &Store, list: i64, wanted: Wanted<'_>) -> Result<Vec<(i64, u64)>, Error> {
    let Wanted { name, attribute: (attribute, value) } = wanted;
    store.all(
        "SELECT item.id, item.bytes FROM component_data_attribute AS attribute
             JOIN component_data_item AS item ON item.id = attribute.item
             WHERE attribute.list = ?1 AND attribute.name = ?2 AND attribute.value = ?3
             AND (?4 = '' OR item.name = ?4)",
        params![list, attribute, value, name],
        |row| Ok((row.get(0)?, row.get(1).map(unsigned)?)),
    )
}

/// An element becomes a list. Text between its children, if there is any, comes before them from now on.
fn split(store: &mut Store, key: &Key<'_>, old: &Row) -> Result<i64, Error> {
    let element = xml::reader::element(&old.xml).unwrap_or_else(|_| empty(key));
    delete(store, old.id)?;
    let list = add(store, key, true, &element.clone().keeping_children(|_| false).to_string())?;
    for item in element.children() {
        add_item(store, key, list, item, &item.to_string())?;
    }
    Ok(list)
}

fn bytes_of(key: &Key<'_>, text: &str) -> u64 {
    [key.localpart, key.ns, text].iter().map(|text| text.len() as u64).sum()
}

fn delete(store: &mut Store, id: i64) -> Result<(), Error> {
    store.write("DELETE FROM component_data WHERE id = ?1", [id]).map(drop)
}

fn add(store: &mut Store, key: &Key<'_>, is_list: bool, text: &str) -> Result<i64, Error> {
    let Key { host, localpart, ns } = *key;
    store.write(
        "INSERT INTO component_data (host, localpart, ns, is_list, bytes, xml) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![host, localpart, ns, is_list, signed(bytes_of(key, text)), text],
    )?;
    Ok(store.connection.last_insert_rowid())
}

fn add_item(store: &mut Store, key: &Key<'_>, list: i64, item: &Element, text: &str) -> Result<(), Error> {
    store.write(
        "INSERT INTO component_data_item (list, host, name, bytes, xml) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![list, key.host, item.name(), signed(text.len() as u64), text],
    )?;
    let id = store.connection.last_insert_rowid();
    for attribute in item.attributes().iter().filter(|attribute| attribute.ns().is_empty()) {
        store.write(
            "INSERT INTO component_data_attribute (list, name, value, item) VALUES (?1, ?2, ?3, ?4)",
            params![list, attribute.name(), attribute.value(), id],
        )?;
    }
    Ok(())
}

/// How many bytes are kept for a host.
///
/// # Errors
/// When the database fails.
pub fn total(store: &Store, host: &str) -> Result<u64, Error> {
    let total =
        store.one("SELECT bytes FROM component_data_total WHERE host = ?1", [host], |row| row.get(0).map(unsigned))?;
    Ok(total.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(text: &str) -> Element {
        xml::reader::element(text).unwrap()
    }

    fn text(store: &Store, key: &Key<'_>) -> Option<String> {
        value(store, key, 10_000_000).unwrap().unwrap().map(|element| element.to_string())
    }

    #[test]
    fn elements_are_kept_by_address_and_namespace_within_bounds() {
        let mut store = Store::in_memory().unwrap();
        let key = |host, localpart, ns| Key { host, localpart, ns };
        let (one, two, other) = (key("icq", "u1", "n"), key("icq", "", "n"), key("aim", "u1", "n"));
        // Key, element, bound, kept, bytes of the host afterwards.
        let rows = [
            (&one, Some("<a/>"), 10, Kept::Kept, 7),
            (&one, Some("<bb/>"), 10, Kept::Kept, 8),
            (&two, Some("<c/>"), 10, Kept::Full, 8),
            (&one, Some("<ccccc/>"), 10, Kept::Full, 8),
            (&other, Some("<d/>"), 10, Kept::Kept, 7),
            (&two, Some("<c/>"), 13, Kept::Kept, 13),
            (&one, None, 0, Kept::Kept, 5),
            (&one, None, 0, Kept::Kept, 5),
        ];
        for (key, xml, bound, kept, bytes) in rows {
            let element = xml.map(element);
            assert_eq!(set(&mut store, key, element.as_ref(), bound).unwrap(), kept, "{key:?} {xml:?}");
            assert_eq!(total(&store, key.host).unwrap(), bytes, "{key:?} {xml:?}");
        }
        assert_eq!(text(&store, &one), None);
        assert_eq!(text(&store, &two).as_deref(), Some("<c/>"));
        assert_eq!(text(&store, &other).as_deref(), Some("<d/>"));
        assert_eq!(value(&store, &two, 4).unwrap(), Err(5));
    }

    #[test]
    fn a_list_changes_child_by_child() {
        let mut store = Store::in_memory().unwrap();
        let key = Key { host: "users", localpart: "", ns: "n" };
        assert_eq!(
            set(&mut store, &key, Some(&element("<foo xmlns='n'> <i k='1'/><j k='2'>x</j></foo>")), 1000).unwrap(),
            Kept::Kept
        );
        // Name, attribute, value, the new child, the list afterwards.
        let rows = [
            ("", "k", "3", Some("<i xmlns='n' k='3'/>"), "<i k='1'/><j k='2'>x</j><i k='3'/>"),
            ("", "k", "1", Some("<i xmlns='n' k='1' l='a&amp;b'/>"), "<j k='2'>x</j><i k='3'/><i k='1' l='a&amp;b'/>"),
            ("i", "k", "2", Some("<i xmlns='n' k='2'/>"), "<j k='2'>x</j><i k='3'/><i k='1' l='a&amp;b'/><i k='2'/>"),
            ("", "k", "2", None, "<i k='3'/><i k='1' l='a&amp;b'/>"),
            ("i", "l", "a&b", None, "<i k='3'/>"),
        ];
        for (name, attribute, value, item, after) in rows {
            let wanted = Wanted { name, attribute: (attribute, value) };
            let item = item.map(element);
            assert_eq!(insert(&mut store, &key, Some(wanted), item.as_ref(), 1000).unwrap(), Kept::Kept);
            assert_eq!(text(&store, &key).unwrap(), format!("<foo xmlns='n'> {after}</foo>"));
        }
        assert_eq!(insert(&mut store, &key, None, Some(&element("<i xmlns='n' k='3'/>")), 50).unwrap(), Kept::Full);
        assert_eq!(text(&store, &key).unwrap(), "<foo xmlns='n'> <i k='3'/></foo>");
        assert_eq!(set(&mut store, &key, None, 0).unwrap(), Kept::Kept);
        assert_eq!((text(&store, &key), total(&store, "users").unwrap()), (None, 0));
        assert_eq!(insert(&mut store, &key, None, Some(&element("<i xmlns='n'/>")), 10).unwrap(), Kept::Full);
        assert_eq!(insert(&mut store, &key, None, None, 10).unwrap(), Kept::Kept);
        assert_eq!((text(&store, &key), total(&store, "users").unwrap()), (None, 0));
    }

    #[test]
    fn a_change_costs_the_same_however_long_the_list_is() {
        let mut store = Store::in_memory().unwrap();
        let key = Key { host: "users", localpart: "", ns: "n" };
        for round in 0..4_000 {
            let jid = format!("u{round}@h");
            let item = Element::new("item", "n").with_attribute("jid", jid.clone()).with_text("t".repeat(250));
            let wanted = Wanted { name: "", attribute: ("jid", &jid) };
            assert_eq!(insert(&mut store, &key, Some(wanted), Some(&item), 10_000_000).unwrap(), Kept::Kept);
        }
        let list = value(&store, &key, 10_000_000).unwrap().unwrap().unwrap();
        assert_eq!(list.children().count(), 4_000);
        // No row but those of the one child is looked at.
        let plan = store.all(
            "EXPLAIN QUERY PLAN SELECT item.id FROM component_data_attribute AS attribute
                 JOIN component_data_item AS item ON item.id = attribute.item
                 WHERE attribute.list = 1 AND attribute.name = 'jid' AND attribute.value = 'x'",
            [],
            |row| row.get::<_, String>(3),
        );
        assert!(plan.unwrap().iter().all(|step| step.contains("SEARCH")));
    }
}
