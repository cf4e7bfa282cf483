//! What the admin set for a host while the server ran: it goes over jabber.xml.

use rusqlite::params;

use super::{Error, Store};
use crate::config::{Host, RegistrationMode};

/// Who may register: one of [`RegistrationMode`]'s words.
pub const REGISTRATION: &str = "registration";
/// The body of the letter to new accounts; empty for none.
pub const WELCOME: &str = "welcome";

/// The setting of this name, if one was made.
///
/// # Errors
/// When the database fails.
pub fn of(store: &Store, host: &str, name: &str) -> Result<Option<String>, Error> {
    store.one("SELECT value FROM setting WHERE host = ?1 AND name = ?2", [host, name], |row| row.get(0))
}

/// Makes a setting, in place of the one before.
///
/// # Errors
/// When the database fails.
pub fn set(store: &mut Store, host: &str, name: &str, value: &str) -> Result<(), Error> {
    store.write("INSERT OR REPLACE INTO setting VALUES (?1, ?2, ?3)", params![host, name, value]).map(drop)
}

/// Takes a setting back: jabber.xml counts again. `false` when there was none.
///
/// # Errors
/// When the database fails.
pub fn remove(store: &mut Store, host: &str, name: &str) -> Result<bool, Error> {
    Ok(store.write("DELETE FROM setting WHERE host = ?1 AND name = ?2", [host, name])? > 0)
}

/// Who may register at a host: by what was set, else by jabber.xml.
///
/// # Errors
/// When the database fails.
pub fn registration(store: &Store, host: &Host) -> Result<RegistrationMode, Error> {
    let set = of(store, &host.name, REGISTRATION)?;
    Ok(set.as_deref().and_then(RegistrationMode::of).unwrap_or_else(|| host.registration_mode()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Register;

    #[test]
    fn what_was_set_goes_over_jabber_xml() {
        let mut store = Store::in_memory().unwrap();
        let mut host = Host::new("h");
        assert_eq!(registration(&store, &host).unwrap(), RegistrationMode::Closed);
        host.register = Some(Register { invite_only: true, ..Register::default() });
        assert_eq!(registration(&store, &host).unwrap(), RegistrationMode::Invite);
        host.register = Some(Register::default());
        assert_eq!(registration(&store, &host).unwrap(), RegistrationMode::Open);
        for (word, mode) in [("closed", RegistrationMode::Closed), ("invite", RegistrationMode::Invite)] {
            set(&mut store, "h", REGISTRATION, word).unwrap();
            assert_eq!(registration(&store, &host).unwrap(), mode);
            assert_eq!(registration(&store, &Host::new("other")).unwrap(), RegistrationMode::Closed);
        }
        assert!(remove(&mut store, "h", REGISTRATION).unwrap() && !remove(&mut store, "h", REGISTRATION).unwrap());
        assert_eq!(registration(&store, &host).unwrap(), RegistrationMode::Open);
    }
}
