//! What both exporters write alike, and how they walk through the store.

use std::ops::ControlFlow;
use std::{fmt, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::person::{SCRAM, mechanism};
use crate::store::account::{self, Account, Credentials};
use crate::store::offline::{self, Stored};
use crate::store::{Error, Store};
use crate::xml::{self, Element};
use crate::xmpp::BareJid;

/// Why an export is not whole.
#[derive(Debug)]
pub enum ExportError {
    /// The store failed.
    Store(Error),
    /// The file cannot be written.
    Io(io::Error),
    /// Who hears of the progress ended it.
    Stopped,
}

impl From<Error> for ExportError {
    fn from(error: Error) -> ExportError {
        ExportError::Store(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> ExportError {
        ExportError::Io(error)
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportError::Store(error) => write!(f, "{error}"),
            ExportError::Io(error) => write!(f, "{error}"),
            ExportError::Stopped => f.write_str("stopped before its end"),
        }
    }
}

/// Hears how many accounts are written, and can end an export.
pub type Told<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// Tells, and ends the walk if that is wished.
pub(super) fn go_on(told: &mut Told<'_>, accounts: u64) -> Result<(), ExportError> {
    if told(accounts).is_break() { Err(ExportError::Stopped) } else { Ok(()) }
}

/// Accounts and messages that are read from the store at a time.
const PAGE: usize = 500;

/// Calls `take` with each account of a host, in the order of their names.
pub(super) fn each_account<E: From<Error>>(
    store: &Store,
    host: &str,
    take: &mut dyn FnMut(Account) -> Result<(), E>,
) -> Result<(), E> {
    let mut after = String::new();
    loop {
        let page = account::list(store, host, &after, PAGE)?;
        let Some(newest) = page.last().and_then(|account| account.jid.node()) else { return Ok(()) };
        after = newest.as_str().to_owned();
        page.into_iter().try_for_each(&mut *take)?;
    }
}

/// The messages that wait, the oldest first, as `stamped` makes them: with the time when they came.
pub(super) fn messages(
    store: &Store,
    account: &BareJid,
    stamped: &dyn Fn(&Stored, Element) -> Element,
) -> Result<Vec<Element>, Error> {
    let mut messages = Vec::new();
    let mut last = 0;
    loop {
        let page = offline::fetch(store, account, last, PAGE)?;
        let Some(newest) = page.last() else { return Ok(messages) };
        last = newest.id;
        let parsed = page.iter().filter_map(|stored| Some(stamped(stored, xml::parse(&stored.stanza)?)));
        messages.extend(parsed);
    }
}

/// XEP-0227 §4.3: the keys of a password.
pub(super) fn keys(credentials: &Credentials) -> impl Iterator<Item = Element> {
    credentials.scram.iter().map(|keys| {
        let part = |name, text: String| Element::new(name, SCRAM).with_text(text);
        Element::new("scram-credentials", SCRAM).with_attribute("mechanism", mechanism(keys.hash)).with_children([
            part("iter-count", keys.iterations.to_string()),
            part("salt", STANDARD.encode(&keys.salt)),
            part("server-key", STANDARD.encode(&keys.server_key)),
            part("stored-key", STANDARD.encode(&keys.stored_key)),
        ])
    })
}
