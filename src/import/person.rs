//! What an importer knows of one account, whatever server it came from, and how the store keeps it.

use zeroize::Zeroizing;

use super::report::Counts;
use super::{Plan, rules};
use crate::store::account::{self, Credentials, LegacyHash, ScramHash, ScramKeys};
use crate::store::directory::State;
use crate::store::last::Last;
use crate::store::roster::RosterItem;
use crate::store::{
    Bounds, Error, Store, directory, imported, last, offline, plain_password, private, registration, roster, vcard,
};
use crate::xml::Element;
use crate::xmpp::BareJid;
use crate::xmpp::directory::Entry;

/// XEP-0227 §4.3: SCRAM keys.
pub(super) const SCRAM: &str = "urn:xmpp:pie:0#scram";
/// Bytes of a status that [`Last`] keeps, as the module of that name does.
pub(super) const STATUS_BYTES_MAX: usize = 1_024;
/// Bytes of a request for a subscription that is kept until it is answered; of a longer one only the start tag is.
pub(super) const REQUEST_BYTES_MAX: usize = 8_192;
/// All that a user had is kept; the bounds of the server count for what comes later.
const UNBOUNDED: Bounds = Bounds { count: u64::MAX, bytes: u64::MAX };

/// What becomes of passwords is not for this room to know.
pub trait Passwords: Sync {
    /// The keys of a password: milliseconds of work. It is one `of_many` when that work is what the import waits for.
    ///
    /// # Errors
    /// Why it cannot be a password, for the report.
    fn derive(&self, password: &str, of_many: bool) -> Result<Credentials, String>;

    /// Can a login be checked against this old hash?
    fn can_check(&self, hash: &str) -> bool;
}

/// All that is known of one account.
#[derive(Default)]
pub(super) struct Person {
    pub(super) password: Option<Password>,
    /// The password as text, where it is to be kept so.
    pub(super) plain: Option<Zeroizing<String>>,
    pub(super) scram: Vec<ScramKeys>,
    pub(super) disabled: bool,
    pub(super) registration: Option<Element>,
    pub(super) registered_unix_millis: Option<u64>,
    pub(super) roster: Vec<RosterItem>,
    pub(super) offline: Vec<Message>,
    pub(super) last: Option<Last>,
    pub(super) vcard: Option<String>,
    /// What it said to the user directory.
    pub(super) directory: Option<(State, Entry)>,
    pub(super) private: Vec<Private>,
    /// Namespace and XML of the rules about who may reach the user, and of what has no room in the store yet.
    pub(super) kept: Vec<(String, String)>,
}

/// The form in which a password was found.
pub(super) enum Password {
    /// As it is typed. May be empty: an account that nobody can log in to.
    Clear(Zeroizing<String>),
    /// As a hash, by which a plain login can be checked.
    Hash(LegacyHash),
}

/// A message that waits, and when it came.
pub(super) struct Message {
    pub(super) stanza: String,
    pub(super) received_unix_millis: u64,
}

/// An element of private XML (XEP-0049).
pub(super) struct Private {
    pub(super) name: String,
    pub(super) ns: String,
    pub(super) xml: String,
}

/// A piece that was left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Its namespace, or what it is.
    pub(super) what: String,
    /// Why.
    pub(super) why: String,
}

impl Person {
    /// What a login is checked against from now on, and what is to be told of it. A password in clear beats all else: it
    /// gives keys of our own making.
    pub(super) fn take_credentials(
        &mut self,
        plan: &Plan,
        passwords: &dyn Passwords,
        of_many: bool,
    ) -> (Credentials, Option<Note>) {
        let scram = std::mem::take(&mut self.scram);
        let why = match self.password.take() {
            Some(Password::Clear(password)) if !password.is_empty() => {
                match passwords.derive(&password, of_many && scram.is_empty()) {
                    Ok(credentials) => {
                        self.plain = plan.keeps_plain_passwords.then_some(password);
                        return (credentials, None);
                    }
                    Err(why) => Some(why),
                }
            }
            Some(Password::Hash(hash)) if passwords.can_check(&hash.value) => {
                return (Credentials { scram, legacy: Some(hash) }, None);
            }
            Some(Password::Hash(_)) => Some("it is in a form that cannot be checked".to_owned()),
            Some(Password::Clear(_)) | None if !scram.is_empty() => None,
            Some(Password::Clear(_)) => Some("it is empty".to_owned()),
            None => Some("there is none".to_owned()),
        };
        let outcome = match scram.is_empty() {
            true => "the account is there, and needs a new one",
            false => "the keys that are there count",
        };
        let note = why.map(|why| Note { what: "the password".to_owned(), why: format!("{why}; {outcome}") });
        (Credentials { scram, legacy: None }, note)
    }
}

/// The name of a SCRAM mechanism, without -PLUS.
pub(super) fn mechanism(hash: ScramHash) -> &'static str {
    match hash {
        ScramHash::Sha1 => "SCRAM-SHA-1",
        ScramHash::Sha256 => "SCRAM-SHA-256",
        ScramHash::Sha512 => "SCRAM-SHA-512",
    }
}

/// Makes the account with all that is known of it. `None` if it is here already: then it stays as it is.
pub(super) fn keep(
    store: &mut Store,
    account: &BareJid,
    person: &Person,
    credentials: &Credentials,
    made_unix_millis: u64,
    now_unix_millis: u64,
) -> Result<Option<Counts>, Error> {
    // Versions of the roster begin at this time. A name that was used here before must not begin where it was.
    let is_new = account::removed_at(store, account)?.is_none();
    let created = person.registered_unix_millis.unwrap_or(made_unix_millis).min(now_unix_millis);
    let created = if is_new { created } else { now_unix_millis };
    if !account::create(store, account, credentials, created)? {
        return Ok(None);
    }
    if person.disabled {
        account::set_disabled(store, account, true)?;
    }
    let mut counts = Counts {
        accounts: 1,
        old_hashes: u64::from(credentials.legacy.is_some() && credentials.scram.is_empty()),
        some_keys: u64::from((1..ScramHash::ALL.len()).contains(&credentials.scram.len())),
        without_password: u64::from(credentials.legacy.is_none() && credentials.scram.is_empty()),
        ..Counts::default()
    };
    if let Some(password) = &person.plain {
        plain_password::keep(store, account, password, now_unix_millis)?;
        counts.plain_passwords += 1;
    }
    contents(store, account, person, &mut counts)?;
    Ok(Some(counts))
}

fn contents(store: &mut Store, account: &BareJid, person: &Person, counts: &mut Counts) -> Result<(), Error> {
    for item in &person.roster {
        roster::upsert(store, account, item)?;
        counts.contacts += u64::from(item.visible);
        counts.requests += u64::from(item.pending_in.is_some());
    }
    for message in &person.offline {
        let _ = offline::append(store, account, &message.stanza, message.received_unix_millis, UNBOUNDED)?;
        counts.messages += 1;
    }
    for element in &person.private {
        let _ = private::set(store, account, &element.name, &element.ns, &element.xml, UNBOUNDED)?;
        counts.private += 1;
    }
    rules::keep(store, account, &person.kept, counts)?;
    for (ns, xml) in person.kept.iter().filter(|(ns, _)| !rules::is_known(ns)) {
        imported::set(store, account, ns, xml)?;
        counts.kept += 1;
    }
    if let Some(card) = &person.vcard {
        vcard::set(store, account, card)?;
        counts.vcards += 1;
    }
    // After the vCard, which makes an entry of its own where there is none.
    if let Some((state, entry)) = &person.directory {
        directory::set(store, account, *state, entry)?;
    }
    if let Some(form) = &person.registration {
        registration::set(store, account, &form.to_string())?;
        counts.registrations += 1;
    }
    if let Some(last) = &person.last {
        last::set(store, account, last)?;
        counts.last += 1;
    }
    Ok(())
}
