//! Domains that were blocked while the server ran. Those of jabber.xml are not here.

use rusqlite::params;

use super::{Error, Store, signed};
use crate::config::{Block, BlockAction};

/// All blocks, in the order of their domains.
///
/// # Errors
/// When the database fails.
pub fn all(store: &Store) -> Result<Vec<Block>, Error> {
    store.all("SELECT domain, subdomains, bounce FROM blocked_domain ORDER BY domain", [], |row| {
        let action = if row.get(2)? { BlockAction::Bounce } else { BlockAction::Drop };
        Ok(Block { domain: row.get(0)?, subdomains: row.get(1)?, action })
    })
}

/// Keeps a block, in place of one of the same domain. Only jabber.xml knows 1.4's `<unsubscribe>`; here it is a bounce.
///
/// # Errors
/// When the database fails.
pub fn set(store: &mut Store, block: &Block, now_unix_millis: u64) -> Result<(), Error> {
    let bounce = block.action != BlockAction::Drop;
    store
        .write(
            "INSERT OR REPLACE INTO blocked_domain VALUES (?1, ?2, ?3, ?4)",
            params![block.domain, block.subdomains, bounce, signed(now_unix_millis)],
        )
        .map(drop)
}

/// Forgets a block; false if there was none of exactly this domain.
///
/// # Errors
/// When the database fails.
pub fn remove(store: &mut Store, domain: &str) -> Result<bool, Error> {
    Ok(store.write("DELETE FROM blocked_domain WHERE domain = ?1", [domain])? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_kept_replaced_and_removed() {
        let mut store = Store::in_memory().unwrap();
        let block = |domain: &str, subdomains, action| Block { domain: domain.to_owned(), subdomains, action };
        set(&mut store, &block("b.example", false, BlockAction::Drop), 1).unwrap();
        set(&mut store, &block("a.example", true, BlockAction::Bounce), 2).unwrap();
        set(&mut store, &block("b.example", true, BlockAction::Drop), 3).unwrap();
        let kept = [block("a.example", true, BlockAction::Bounce), block("b.example", true, BlockAction::Drop)];
        assert_eq!(all(&store).unwrap(), kept);
        assert!(remove(&mut store, "a.example").unwrap());
        assert!(!remove(&mut store, "a.example").unwrap());
        assert_eq!(all(&store).unwrap(), kept[1..]);
    }
}
