//! Is a database whole, and one that this release can work on? For the admin's tool, beside a server or without.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{Cause, Error};
use super::{BUSY, migrate};

/// Looks through a database for this long; `false`: that was too short to see all of it.
///
/// # Errors
/// It cannot be opened, is not ours, of a newer release, or damaged.
pub fn look_through(path: &Path, patience: Duration) -> Result<bool, Error> {
    let error = |cause| Error::new(path, cause);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|sql| error(Cause::Sql(sql)))?;
    let begun = connection.busy_timeout(BUSY).and_then(|()| connection.execute_batch("PRAGMA query_only = ON"));
    begun.map_err(|sql| error(Cause::Sql(sql)))?;
    migrate::suits(&connection).map_err(error)?;
    let interrupt = connection.get_interrupt_handle();
    let (done, ended) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let found: Result<String, _> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    drop(done);
    // It does nothing that could fail.
    let _ = watch.join();
    match found {
        Ok(found) if found == "ok" => Ok(true),
        Ok(found) => Err(error(Cause::Damaged(found))),
        Err(sql) if sql.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(false),
        Err(sql) => Err(error(Cause::Sql(sql))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::tests::Scratch;

    #[test]
    fn a_database_is_looked_through() {
        let scratch = Scratch::new("soundness");
        let path = scratch.database();
        drop(Store::open(&path).unwrap());
        let long = Duration::from_secs(60);
        assert!(look_through(&path, long).unwrap());
        // Its header is as it was, and what comes after is not.
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in bytes.iter_mut().enumerate().skip(4096) {
            *byte = (at % 251) as u8;
        }
        std::fs::write(&path, &bytes).unwrap();
        let error = look_through(&path, long).unwrap_err();
        assert!(error.hint().contains("restore a backup"), "{error}");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(look_through(&path, long).is_err());
    }
}
