//! What components keep here for their own users (`<xdb/>` of jabberd 1.4): an element for each address and namespace.

use rusqlite::params;

use super::{Error, Store, signed, unsigned};

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

/// What became of an element that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kept {
    /// It is kept, or gone.
    Kept,
    /// The host has as many bytes as it may have. Nothing changed.
    Full,
}

/// What is kept under a key, as XML text.
///
/// # Errors
/// When the database fails.
pub fn value(store: &Store, key: &Key<'_>) -> Result<Option<String>, Error> {
    store.one(
        "SELECT xml FROM component_data WHERE host = ?1 AND localpart = ?2 AND ns = ?3",
        (key.host, key.localpart, key.ns),
        |row| row.get(0),
    )
}

/// Keeps an element in place of the one before, unless that would take the host over `bytes_max`; `None` deletes it.
///
/// # Errors
/// When the database fails.
pub fn set(store: &mut Store, key: &Key<'_>, xml: Option<&str>, bytes_max: u64) -> Result<Kept, Error> {
    let Key { host, localpart, ns } = *key;
    let old = store.one(
        "SELECT bytes FROM component_data WHERE host = ?1 AND localpart = ?2 AND ns = ?3",
        (host, localpart, ns),
        |row| row.get(0).map(unsigned),
    )?;
    let bytes = xml.map(|xml| [localpart, ns, xml].iter().map(|text| text.len() as u64).sum::<u64>());
    // The element that is replaced does not count.
    let others = total(store, host)?.saturating_sub(old.unwrap_or(0));
    if bytes.is_some_and(|bytes| others.saturating_add(bytes) > bytes_max) {
        return Ok(Kept::Full);
    }
    if old.is_some() {
        store.write(
            "DELETE FROM component_data WHERE host = ?1 AND localpart = ?2 AND ns = ?3",
            (host, localpart, ns),
        )?;
    }
    let (Some(xml), Some(bytes)) = (xml, bytes) else { return Ok(Kept::Kept) };
    store.write(
        "INSERT INTO component_data (host, localpart, ns, bytes, xml) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![host, localpart, ns, signed(bytes), xml],
    )?;
    Ok(Kept::Kept)
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
            assert_eq!(set(&mut store, key, xml, bound).unwrap(), kept, "{key:?} {xml:?}");
            assert_eq!(total(&store, key.host).unwrap(), bytes, "{key:?} {xml:?}");
        }
        assert_eq!(value(&store, &one).unwrap(), None);
        assert_eq!(value(&store, &two).unwrap().as_deref(), Some("<c/>"));
        assert_eq!(value(&store, &other).unwrap().as_deref(), Some("<d/>"));
    }
}
