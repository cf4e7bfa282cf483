//! Stanzas that wait for a component that is away (`<offline/>`): in the order they came, each one once.

use rusqlite::params;

use super::{Bounds, Error, Store, signed, unsigned};

/// Keeps a stanza, unless that would take the component over `bounds`. Returns whether it was kept.
///
/// # Errors
/// When the database fails.
pub fn append(store: &mut Store, component: &str, stanza: &str, bounds: Bounds) -> Result<bool, Error> {
    let (count, kept) = total(store, component)?;
    let bytes = stanza.len() as u64;
    if count >= bounds.count || kept.saturating_add(bytes) > bounds.bytes {
        return Ok(false);
    }
    store.write(
        "INSERT INTO component_offline (component, bytes, stanza) VALUES (?1, ?2, ?3)",
        params![component, signed(bytes), stanza],
    )?;
    Ok(true)
}

/// All that waits for a component, oldest first, with the numbers.
///
/// # Errors
/// When the database fails.
pub fn all(store: &Store, component: &str) -> Result<Vec<(u64, String)>, Error> {
    store.all("SELECT id, stanza FROM component_offline WHERE component = ?1 ORDER BY id", [component], |row| {
        Ok((row.get(0).map(unsigned)?, row.get(1)?))
    })
}

/// The number of the newest stanza that waits for a component; 0 if none does.
///
/// # Errors
/// When the database fails.
pub fn last(store: &Store, component: &str) -> Result<u64, Error> {
    let last = store.one("SELECT max(id) FROM component_offline WHERE component = ?1", [component], |row| {
        row.get::<_, Option<i64>>(0)
    })?;
    Ok(last.flatten().map_or(0, unsigned))
}

/// Deletes all that waits for a component: it was delivered.
///
/// # Errors
/// When the database fails.
pub fn clear(store: &mut Store, component: &str) -> Result<(), Error> {
    if total(store, component)?.0 == 0 {
        return Ok(());
    }
    store.write("DELETE FROM component_offline WHERE component = ?1", [component]).map(drop)
}

/// How many stanzas and bytes wait for a component.
///
/// # Errors
/// When the database fails.
pub fn total(store: &Store, component: &str) -> Result<(u64, u64), Error> {
    let total =
        store.one("SELECT stanzas, bytes FROM component_offline_total WHERE component = ?1", [component], |row| {
            Ok((row.get(0).map(unsigned)?, row.get(1).map(unsigned)?))
        })?;
    Ok(total.unwrap_or((0, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_wait_in_order_within_bounds() {
        let mut store = Store::in_memory().unwrap();
        let bounds = Bounds { count: 2, bytes: 10 };
        // Component, stanza, kept?
        let rows = [
            ("icq", "<a/>", true),
            ("icq", "<too-long/>", false),
            ("aim", "<b/>", true),
            ("icq", "<c/>", true),
            ("icq", "<>", false),
        ];
        for (component, stanza, kept) in rows {
            assert_eq!(append(&mut store, component, stanza, bounds).unwrap(), kept, "{component} {stanza}");
        }
        let texts = |store: &Store| all(store, "icq").unwrap().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(&store), ["<a/>", "<c/>"]);
        clear(&mut store, "icq").unwrap();
        clear(&mut store, "icq").unwrap();
        assert_eq!(texts(&store), [""; 0]);
        assert_eq!(total(&store, "icq").unwrap(), (0, 0));
        assert_eq!(total(&store, "aim").unwrap(), (1, 4));
        assert!(append(&mut store, "icq", "<>", bounds).unwrap());
    }
}
