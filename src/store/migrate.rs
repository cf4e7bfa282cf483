//! From an empty file, or the database of an older release, to today's schema.

use rusqlite::{Connection, TransactionBehavior};

use super::error::Cause;

/// The format this release writes (`PRAGMA user_version`). It grows by one with each entry of [`STEPS`].
pub(super) const VERSION: i64 = 1;

/// Marks the file as ours (`PRAGMA application_id`): "jabr".
pub(super) const APPLICATION: i64 = 0x6a61_6272;

/// All of the newest schema, for a new file.
const SCHEMA: &str = include_str!("schema.sql");

/// `STEPS[n]` takes format n + 1 to n + 2. A database taken through all steps must equal a new one.
const STEPS: &[&str] = &[];

/// What a release knows: tests make releases up.
#[derive(Clone, Copy)]
pub(super) struct Release {
    /// The format it writes: one more than it has steps.
    version: i64,
    schema: &'static str,
    steps: &'static [&'static str],
}

/// This one.
pub(super) const TODAY: Release = Release { version: VERSION, schema: SCHEMA, steps: STEPS };

/// What is to be done with a database before it can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Nothing,
    Make,
    /// From this format.
    Change(i64),
}

/// Brings the database to the release's format, all or nothing. `before` is called when data are about to change their
/// form, with the format they are in and the new one: that is the moment to make a copy.
pub(super) fn migrate(
    connection: &mut Connection,
    release: Release,
    before: &mut dyn FnMut(i64, i64) -> Result<(), Cause>,
) -> Result<(), Cause> {
    // Nobody else may change it between the look and the work; but a look alone, which is what most starts are, writes
    // nothing.
    if task(connection, release)? == Task::Nothing {
        return Ok(());
    }
    if let Task::Change(found) = task(connection, release)? {
        before(found, release.version)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Cause::Sql)?;
    match task(&transaction, release)? {
        Task::Nothing => return Ok(()),
        Task::Make => {
            transaction.execute_batch(release.schema).map_err(Cause::Sql)?;
            transaction.pragma_update(None, "application_id", APPLICATION).map_err(Cause::Sql)?;
        }
        Task::Change(found) => {
            let done = usize::try_from(found.saturating_sub(1)).unwrap_or(0);
            for step in release.steps.iter().skip(done) {
                transaction.execute_batch(step).map_err(Cause::Sql)?;
            }
        }
    }
    transaction.pragma_update(None, "user_version", release.version).map_err(Cause::Sql)?;
    transaction.commit().map_err(Cause::Sql)
}

fn task(connection: &Connection, release: Release) -> Result<Task, Cause> {
    let found = pragma(connection, "user_version")?;
    let application = pragma(connection, "application_id")?;
    if found > release.version && application == APPLICATION {
        return Err(Cause::Newer { found, known: release.version });
    }
    if application != APPLICATION && !(found == 0 && is_empty(connection)?) {
        return Err(Cause::Foreign);
    }
    Ok(match found {
        0 => Task::Make,
        found if found == release.version => Task::Nothing,
        found => Task::Change(found),
    })
}

/// Could this release work on it, once it has brought it up to date?
pub(super) fn suits(connection: &Connection) -> Result<(), Cause> {
    task(connection, TODAY).map(drop)
}

/// The format of a database that is ours and not newer than we are, without changing it.
pub(super) fn format(connection: &Connection) -> Result<i64, Cause> {
    let found = pragma(connection, "user_version")?;
    match pragma(connection, "application_id")? {
        APPLICATION if found > VERSION => Err(Cause::Newer { found, known: VERSION }),
        APPLICATION => Ok(found),
        _ if is_empty(connection)? => Err(Cause::Empty),
        _ => Err(Cause::Foreign),
    }
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, Cause> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map_err(Cause::Sql)
}

fn is_empty(connection: &Connection) -> Result<bool, Cause> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0)).map_err(Cause::Sql)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A later release: tables of today, and two changes since.
    pub(in crate::store) const LATER: Release = Release {
        version: VERSION + 2,
        schema: SCHEMA,
        steps: &[
            "CREATE TABLE badge (account INTEGER PRIMARY KEY REFERENCES account ON DELETE CASCADE, name TEXT NOT NULL);
             INSERT INTO badge SELECT id, 'old hand' FROM account;",
            "ALTER TABLE badge ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey';",
        ],
    };

    /// Its second step cannot work.
    pub(in crate::store) const BROKEN: Release =
        Release { steps: &["CREATE TABLE badge (name TEXT);", "INSERT INTO nowhere VALUES (1);"], ..LATER };

    fn quietly(connection: &mut Connection, release: Release) -> Result<(), Cause> {
        migrate(connection, release, &mut |_, _| Ok(()))
    }

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
            let found = match quietly(&mut connection, TODAY) {
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
        quietly(&mut connection, TODAY).unwrap();
        let changes = connection.total_changes();
        quietly(&mut connection, TODAY).unwrap();
        assert_eq!(connection.total_changes(), changes);
        assert_eq!(STEPS.len() as i64, VERSION - 1);
    }

    #[test]
    fn steps_are_taken_once_each_after_a_copy_or_not_at_all() {
        let mut connection = Connection::open_in_memory().unwrap();
        quietly(&mut connection, TODAY).unwrap();
        connection.execute_batch("INSERT INTO account (host, localpart, created) VALUES ('h', 'a', 1)").unwrap();
        // Without a copy nothing changes.
        let refused = migrate(&mut connection, LATER, &mut |_, _| Err(Cause::Stopped));
        assert!(matches!(refused, Err(Cause::Stopped)));
        assert_eq!(pragma(&connection, "user_version").unwrap(), VERSION);
        assert!(matches!(quietly(&mut connection, BROKEN), Err(Cause::Sql(_))));
        assert_eq!(pragma(&connection, "user_version").unwrap(), VERSION);
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'badge'";
        assert_eq!(connection.query_row(tables, [], |row| row.get::<_, i64>(0)).unwrap(), 0);

        let mut told = Vec::new();
        for _ in 0..2 {
            migrate(&mut connection, LATER, &mut |found, wanted| {
                told.push((found, wanted));
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(told, [(VERSION, VERSION + 2)]);
        let badge = "SELECT name || ' ' || colour FROM badge";
        assert_eq!(connection.query_row(badge, [], |row| row.get::<_, String>(0)).unwrap(), "old hand grey");
        // Back on the older release it is refused, not spoiled.
        assert!(matches!(quietly(&mut connection, TODAY), Err(Cause::Newer { .. })));
        assert!(matches!(format(&connection), Err(Cause::Newer { .. })));
    }
}
