//! What waits for other servers or components, or left for them and was not acknowledged: each stanza until it is there or came back.

use rusqlite::params;

use super::{Error, Store, signed, unsigned};

/// A stanza that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number: the order in which the stanzas leave.
    pub id: u64,
    /// When it came, in Unix milliseconds.
    pub received_unix_millis: u64,
    /// The stanza as XML text.
    pub stanza: String,
}

/// Keeps a stanza under a number that the caller gives: higher than those before.
///
/// # Errors
/// When the database fails.
pub fn append(store: &mut Store, waiting: &Waiting) -> Result<(), Error> {
    let Waiting { id, received_unix_millis, stanza } = waiting;
    let sql = "INSERT INTO remote_queue (id, received, stanza) VALUES (?1, ?2, ?3)";
    store.write(sql, params![signed(*id), signed(*received_unix_millis), stanza]).map(drop)
}

/// Forgets a stanza: it is there, or came back.
///
/// # Errors
/// When the database fails.
pub fn remove(store: &mut Store, id: u64) -> Result<(), Error> {
    store.write("DELETE FROM remote_queue WHERE id = ?1", [signed(id)]).map(drop)
}

/// All that waits, in order.
///
/// # Errors
/// When the database fails.
pub fn all(store: &Store) -> Result<Vec<Waiting>, Error> {
    store.all("SELECT id, received, stanza FROM remote_queue ORDER BY id", [], |row| {
        let (id, received_unix_millis) = (row.get(0).map(unsigned)?, row.get(1).map(unsigned)?);
        Ok(Waiting { id, received_unix_millis, stanza: row.get(2)? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_keeps_its_order_until_it_is_forgotten() {
        let mut store = Store::in_memory().unwrap();
        let waiting = |id: u64| Waiting { id, received_unix_millis: id * 7, stanza: format!("<m{id}/>") };
        for id in [1, 3, 2] {
            append(&mut store, &waiting(id)).unwrap();
        }
        assert!(append(&mut store, &waiting(2)).is_err());
        remove(&mut store, 1).unwrap();
        remove(&mut store, 1).unwrap();
        assert_eq!(all(&store).unwrap(), [waiting(2), waiting(3)]);
    }
}
