//! What the server itself must remember: secrets made at first start, marks of one-time work. A few small values.

use rusqlite::params;

use super::{Error, Store};

/// The value kept under this name.
///
/// # Errors
/// When the database fails.
pub fn value(store: &Store, key: &str) -> Result<Option<Vec<u8>>, Error> {
    store.one("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
}

/// Keeps a value under this name, in place of the one before.
///
/// # Errors
/// When the database fails.
pub fn set(store: &mut Store, key: &str, value: &[u8]) -> Result<(), Error> {
    store.write("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![key, value]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_and_replaced() {
        let mut store = Store::in_memory().unwrap();
        assert_eq!(value(&store, "secret").unwrap(), None);
        set(&mut store, "secret", b"one").unwrap();
        set(&mut store, "secret", b"\0two").unwrap();
        assert_eq!(value(&store, "secret").unwrap().unwrap(), b"\0two");
    }
}
