//! The store as a document of XEP-0227.

use std::io::Write;

use super::{ACCOUNT, PIE};
use crate::import::{ExportError, Told, rules, written};
use crate::store::account::{self, Account, Credentials};
use crate::store::directory::State;
use crate::store::offline::Stored;
use crate::store::roster::RosterItem;
use crate::store::{Error, Store, directory, imported, last, private, registration, roster, vcard};
use crate::xml::{self, Element, writer};
use crate::xmpp::directory::{Entry, Field};
use crate::xmpp::{BareJid, datetime, ns};

/// What became of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Accounts that were written.
    pub accounts: u64,
    /// Those of them that have an old hash only, which no other server can check.
    pub old_hashes: u64,
}

/// Writes all accounts, or those of one host, user by user; `told` hears how many are done, and can end it. A store that
/// was opened to read gives them as they are at one moment.
///
/// # Errors
/// When the store fails, or `out`.
pub fn export(
    store: &Store,
    host: Option<&str>,
    out: &mut dyn Write,
    told: &mut Told<'_>,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    writeln!(out, "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='{PIE}'>")?;
    for name in account::hosts(store)?.iter().filter(|name| host.is_none_or(|host| host == *name)) {
        let mut tag = String::from("<host");
        writer::attribute(&mut tag, "jid", name);
        writeln!(out, "{tag}>")?;
        written::each_account(store, name, &mut |account| {
            let credentials = account::credentials(store, &account.jid)?.unwrap_or_default();
            let mut text = String::new();
            writer::element(&mut text, &user(store, &account, &credentials)?, PIE);
            text.push('\n');
            out.write_all(text.as_bytes())?;
            exported.accounts += 1;
            exported.old_hashes += u64::from(credentials.scram.is_empty() && credentials.legacy.is_some());
            written::go_on(told, exported.accounts)
        })?;
        writeln!(out, "</host>")?;
    }
    writeln!(out, "</server-data>")?;
    out.flush()?;
    Ok(exported)
}

fn user(store: &Store, found: &Account, credentials: &Credentials) -> Result<Element, Error> {
    let account = &found.jid;
    let name = account.node().map_or("", |node| node.as_str()).to_owned();
    let parsed = |text: Option<String>| text.as_deref().and_then(xml::parse);
    let items = roster::items(store, account)?;
    let mut children: Vec<Element> = written::keys(credentials).collect();
    children.push(own(found, credentials, &items).with_children(entry(directory::of(store, account)?)));
    let visible = items.iter().filter(|item| item.visible).map(RosterItem::to_element);
    children.push(Element::new("query", ns::ROSTER).with_children(visible));
    children.extend(items.iter().filter_map(|item| xml::parse(item.pending_in.as_deref()?)));
    let messages = written::messages(store, account, &|stored, message| stamped(account, stored, message))?;
    if !messages.is_empty() {
        children.push(Element::new("offline-messages", PIE).with_children(messages));
    }
    let private: Vec<Element> = private::all(store, account)?.iter().filter_map(|text| xml::parse(text)).collect();
    if !private.is_empty() {
        children.push(Element::new("query", ns::PRIVATE).with_children(private));
    }
    children.extend(parsed(vcard::of(store, account)?));
    if let Some(last) = last::of(store, account)? {
        let query = Element::new("query", ns::LAST)
            .with_attribute("last", (last.unix_millis / 1_000).to_string())
            .with_attribute("millis", (last.unix_millis % 1_000).to_string());
        children.push(query.with_text(last.status));
    }
    children.extend(parsed(registration::of(store, account)?));
    children.extend(rules::portable(store, account)?);
    for (_, text) in imported::of(store, account)? {
        children.extend(parsed(Some(text)));
    }
    Ok(Element::new("user", PIE).with_attribute("name", name).with_children(children))
}

/// What the account said to the user directory, unless it is there by its vCard alone.
fn entry(kept: Option<(State, Entry)>) -> Option<Element> {
    let (state, entry) = kept.filter(|(state, _)| *state != State::Card)?;
    let fields = Field::ALL.into_iter().filter(|field| !entry.field(*field).is_empty());
    let fields = fields.map(|field| Element::new(field.name(), ACCOUNT).with_text(entry.field(field).to_owned()));
    let element = Element::new("directory", ACCOUNT).with_children(fields);
    Some(if state == State::Withdrawn { element.with_attribute("withdrawn", "true") } else { element })
}

/// What XEP-0227 has no place for.
fn own(found: &Account, credentials: &Credentials, items: &[RosterItem]) -> Element {
    let mut element = Element::new("account", ACCOUNT).with_attribute("created", found.created_unix_millis.to_string());
    if found.disabled {
        element = element.with_attribute("disabled", "true");
    }
    if let Some(hash) = &credentials.legacy {
        let child = Element::new("old-hash", ACCOUNT).with_attribute("kind", hash.kind.clone());
        element = element.with_child(child.with_text(hash.value.clone()));
    }
    // One that is not seen and has nothing but a request comes back from the request.
    let is_request_alone = |item: &RosterItem| {
        item.pending_in.is_some()
            && *item
                == RosterItem {
                    visible: false,
                    pending_in: item.pending_in.clone(),
                    ..RosterItem::new(item.jid.clone())
                }
    };
    let says_more = |item: &&RosterItem| !item.visible && !is_request_alone(item);
    element.with_children(items.iter().filter(says_more).map(RosterItem::to_element))
}

/// XEP-0227 §4.5: with the stamp of the server that stored it.
fn stamped(account: &BareJid, stored: &Stored, message: Element) -> Element {
    let delay = Element::new("delay", ns::DELAY)
        .with_attribute("from", account.domain().as_str().to_owned())
        .with_attribute("stamp", datetime::exact_stamp(stored.received_unix_millis))
        .with_text("Offline Storage");
    message.with_child(delay)
}
