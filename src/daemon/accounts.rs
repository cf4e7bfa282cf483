//! Accounts made while no server runs, for scripts and first starts: `jabberctl user add`.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::importing::{as_server, assume};
use super::privileges::{self, Identity};
use super::{Refusal, directories};
use crate::config::Config;
use crate::net::clock::Dice;
use crate::store::{Store, account};
use crate::stream::sasl::{HashJob, Outcome, Password};
use crate::xmpp::Jid;
use crate::xmpp::jid::with_one_name;

/// The database's name in the data directory.
pub const DATABASE: &str = "jabber.db";

/// Makes an account.
///
/// # Errors
/// When the name or the password cannot be used, the account is there already, or the database cannot be written.
pub fn add(config: &Config, name: &str, password: &str) -> Result<(), Refusal> {
    const LOOKS: &str = "an account looks like romeo@example.org";
    let jid = Jid::new(name)
        .map(with_one_name)
        .map_err(|error| Refusal::new(format!("{name} is no address: {error}"), LOOKS))?;
    if !jid.is_bare() || jid.node().is_none() {
        return Err(Refusal::new(format!("{name} is no account"), LOOKS));
    }
    let account = jid.into_bare();
    if config.host(account.domain().as_str()).is_none() {
        let served: Vec<&str> = config.hosts.iter().map(|host| host.name.as_str()).collect();
        let text = format!("{} is not served here", account.domain());
        return Err(Refusal::new(text, format!("<host> names {}", served.join(", "))));
    }
    let password = Password::new(password)
        .map_err(|error| Refusal::new(format!("the password cannot be used: {error}"), "choose another password"))?;
    let identity = as_server(config)?;
    make_data_directory(&config.spool, identity.as_ref())?;
    assume(identity.as_ref())?;
    create(&config.spool.join(DATABASE), &account, password)
}

fn create(path: &Path, account: &crate::xmpp::BareJid, password: Password) -> Result<(), Refusal> {
    let Outcome::Derived(credentials) = HashJob::derive(0, password, &mut Dice::new()).run().outcome else {
        return Err(Refusal::new("the password could not be hashed", "choose another password"));
    };
    let mut store = Store::open(path)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    if !account::create(&mut store, account, &credentials, now)? {
        let remedy = format!("to change its password, start the server: jabberctl user passwd {account}");
        return Err(Refusal::new(format!("{account} is there already"), remedy));
    }
    store.commit()?;
    Ok(())
}

/// Makes the data directory where none is, for the server's user.
///
/// # Errors
/// When the system refuses.
pub fn make_data_directory(path: &Path, identity: Option<&Identity>) -> Result<(), Refusal> {
    let owner = identity.filter(|_| privileges::is_root()).map(Identity::ids).unzip();
    directories::make(path, 0o750, owner).map_err(|error| {
        let (path, more) = (path.display(), super::who_knows_more(&error));
        let remedy = format!("make it, or name another{more}");
        Refusal::new(format!("cannot make the data directory {path} (<spool>): {error}"), remedy)
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
