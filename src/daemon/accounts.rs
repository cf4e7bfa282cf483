//! Accounts made while no server runs, for scripts and first starts: `jabberctl user add`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::privileges::{self, Identity};
use super::{StartError, directories};
use crate::config::Config;
use crate::net::clock::Dice;
use crate::store::{Store, account};
use crate::stream::sasl::{HashJob, Outcome, Password};
use crate::xmpp::Jid;

/// The database's name in the data directory.
pub const DATABASE: &str = "jabber.db";

/// Makes an account.
///
/// # Errors
/// When the name or the password cannot be used, the account is there already, or the database cannot be written.
pub fn add(config: &Config, name: &str, password: &str) -> Result<(), StartError> {
    let jid = Jid::new(name).map_err(|error| StartError(format!("{name} is no address: {error}")))?;
    if !jid.is_bare() || jid.node().is_none() {
        return Err(StartError(format!("an account looks like name@host, not {name}")));
    }
    let account = jid.into_bare();
    if config.host(account.domain().as_str()).is_none() {
        let served: Vec<&str> = config.hosts.iter().map(|host| host.name.as_str()).collect();
        return Err(StartError(format!("{} is not served here; <host> names {}", account.domain(), served.join(", "))));
    }
    let password =
        Password::new(password).map_err(|error| StartError(format!("the password cannot be used: {error}")))?;
    let identity = Identity::of_server(config)?;
    make_data_directory(&config.spool, identity.as_ref())?;
    // The database belongs to the server's user.
    identity.as_ref().map_or(Ok(()), Identity::assume)?;
    create(&config.spool.join(DATABASE), &account, password)
}

fn create(path: &Path, account: &crate::xmpp::BareJid, password: Password) -> Result<(), StartError> {
    let Outcome::Derived(credentials) = HashJob::derive(0, password, &mut Dice::new()).run().outcome else {
        return Err(StartError("the password could not be hashed".into()));
    };
    let failed = |error: crate::store::Error| StartError(error.to_string());
    let mut store = Store::open(path).map_err(failed)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    if !account::create(&mut store, account, &credentials, now).map_err(failed)? {
        return Err(StartError(format!("{account} is there already")));
    }
    store.commit().map_err(failed)?;
    Ok(())
}

/// Makes the data directory where none is, for the server's user.
///
/// # Errors
/// When the system refuses.
pub fn make_data_directory(path: &Path, identity: Option<&Identity>) -> Result<(), StartError> {
    let owner = identity.filter(|_| privileges::is_root()).map(Identity::ids).unzip();
    directories::make(path, 0o750, owner).map_err(|error| {
        let path = path.display();
        StartError(format!("cannot make the data directory {path} (<spool>): {error}; make it, or name another"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_account_is_refused() {
        let config = Config::for_host("localhost");
        for name in ["romeo", "localhost", "romeo@localhost/orchard", "romeo@elsewhere", "@localhost", "a b@localhost"]
        {
            assert!(add(&config, name, "secret").is_err(), "{name}");
        }
        assert!(add(&config, "romeo@localhost", "").is_err());
    }
}
