//! From an empty file, or the database of an older release, to today's schema.

use rusqlite::{Connection, TransactionBehavior};

use super::error::Cause;

/// The format this release writes (`PRAGMA user_version`). It grows by one with each entry of [`STEPS`].
pub(super) const VERSION: i64 = 1;

/// Marks the file as ours (`PRAGMA application_id`): "jabr".
const APPLICATION: i64 = 0x6a61_6272;

/// All of the newest schema, for a new file.
const SCHEMA: &str = include_str!("schema.sql");

/// `STEPS[n]` takes format n + 1 to n + 2. A database taken through all steps must equal a new one.
const STEPS: &[&str] = &[];

/// Brings the database to [`VERSION`], all or nothing.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Cause> {
    let found = pragma(connection, "user_version")?;
    let application = pragma(connection, "application_id")?;
    if found > VERSION && application == APPLICATION {
        return Err(Cause::Newer { found, known: VERSION });
    }
    if application != APPLICATION && !(found == 0 && is_empty(connection)?) {
        return Err(Cause::Foreign);
    }
    if found == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Cause::Sql)?;
    if found == 0 {
        transaction.execute_batch(SCHEMA).map_err(Cause::Sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION).map_err(Cause::Sql)?;
    } else {
        let done = usize::try_from(found.saturating_sub(1)).unwrap_or(0);
        for step in STEPS.iter().skip(done) {
            transaction.execute_batch(step).map_err(Cause::Sql)?;
        }
    }
    transaction.pragma_update(None, "user_version", VERSION).map_err(Cause::Sql)?;
    transaction.commit().map_err(Cause::Sql)
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, Cause> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map_err(Cause::Sql)
}

fn is_empty(connection: &Connection) -> Result<bool, Cause> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0)).map_err(Cause::Sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_made_kept_or_refused() {
        // What the file holds before, and what becomes of it.
        let rows = [
            ("", "ok"),
            ("PRAGMA application_id = 0x6a616272; PRAGMA user_version = 1", "ok"),
            ("PRAGMA application_id = 0x6a616272; PRAGMA user_version = 2", "newer"),
            ("PRAGMA user_version = 1", "foreign"),
            ("CREATE TABLE bookmarks (url)", "foreign"),
            ("PRAGMA application_id = 7; PRAGMA user_version = 9", "foreign"),
        ];
        for (before, outcome) in rows {
            let mut connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(before).unwrap();
            let found = match migrate(&mut connection) {
                Ok(()) => "ok",
                Err(Cause::Newer { .. }) => "newer",
                Err(Cause::Foreign) => "foreign",
                Err(_) => "error",
            };
            assert_eq!(found, outcome, "{before}");
        }
    }

    #[test]
    fn a_second_start_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let changes = connection.total_changes();
        migrate(&mut connection).unwrap();
        assert_eq!(connection.total_changes(), changes);
        assert_eq!(STEPS.len() as i64, VERSION - 1);
    }
}
