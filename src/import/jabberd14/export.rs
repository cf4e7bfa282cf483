//! Accounts back into the spool's flat layout, in 1.4.4's own form with what 1.6 and we have besides, so that the old
//! server reads it, and [`super::import`] reads it without loss.
//!
//! Deviation: jabberd 1.4 needs the password itself, which nobody has. The files hold the SCRAM keys (XEP-0227 §4.3) and an
//! empty password: the accounts are there, and need a new password from an admin.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::person::{AUTH_CRYPT, AUTH_ZEROK, OFFLINE, STORED_REQUESTS};
use super::{component, directory};
use crate::import::person::SCRAM;
use crate::import::{ExportError, Told, rules, written};
use crate::store::account::{self, Credentials};
use crate::store::offline::Stored;
use crate::store::roster::RosterItem;
use crate::store::{Error, Store, last, private, registration, roster, vcard};
use crate::xml::element::{Attribute, Node};
use crate::xml::{self, Element, writer};
use crate::xmpp::{BareJid, Stanza, datetime, ns};

/// What became of an export.
#[derive(Debug, Default)]
pub struct Exported {
    /// Accounts that were written.
    pub accounts: u64,
    /// Those of them that a jabberd 1.4 can check no password of.
    pub without_password: u64,
    /// Files with what components keep here.
    pub component_files: u64,
    /// People who registered in the user directories of their hosts, where jabberd 1.4's had them.
    pub directory_entries: u64,
    /// Files that were not written.
    pub failures: u64,
    /// The first of them, and why.
    pub failed: Vec<(PathBuf, String)>,
}

/// How many files that were not written are told by name: there may be as many as there are accounts.
const FAILED_TOLD: usize = 10;

/// Writes all accounts below a directory, and for a user directory of 1.4 with this name the list of its people. A file that
/// is there is not touched. `told` hears how many accounts are done.
///
/// # Errors
/// When the store fails, `told` ended it, or the disk takes no file at all; the files that are there are whole.
pub fn export(
    store: &Store,
    directory: &Path,
    users: Option<&str>,
    told: &mut Told<'_>,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let mut people = Vec::new();
    for host in account::hosts(store)? {
        written::each_account(store, &host, &mut |found| {
            let Some(node) = found.jid.node() else { return Ok(()) };
            let path = directory.join(&host).join(format!("{}.xml", node.as_str()));
            let credentials = account::credentials(store, &found.jid)?.unwrap_or_default();
            let text = document(store, &found.jid, &credentials)?;
            if write_or_tell(&mut exported, path, &text)? {
                exported.accounts += 1;
                exported.without_password += u64::from(credentials.legacy.is_none());
            }
            if users.is_some() {
                people.extend(directory::item(store, &found.jid)?);
            }
            written::go_on(told, exported.accounts)
        })?;
    }
    if let Some(users) = users.filter(|_| !people.is_empty()) {
        let count = people.len() as u64;
        let path = directory.join(users).join("global.xdb");
        if write_or_tell(&mut exported, path, &directory::list(people))? {
            exported.directory_entries = count;
        }
    }
    component::export_all(store, directory, &mut exported)?;
    Ok(exported)
}

/// Writes a file, or says why not.
///
/// # Errors
/// The next file would find the same.
pub(super) fn write_or_tell(exported: &mut Exported, path: PathBuf, text: &str) -> Result<bool, ExportError> {
    let Err(error) = write(&path, text) else { return Ok(true) };
    let why = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            return Err(ExportError::Io(io::Error::new(error.kind(), format!("{}: {error}", path.display()))));
        }
        io::ErrorKind::AlreadyExists => "it is there, and stays as it is".to_owned(),
        _ => error.to_string(),
    };
    exported.failures += 1;
    if exported.failed.len() < FAILED_TOLD {
        exported.failed.push((path, why));
    }
    Ok(false)
}

/// Nobody else may read it: it has what a password can be guessed with. As 1.4 did, the file comes to its name whole.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut half = path.as_os_str().to_owned();
    half.push(".t.m.p");
    // One that was left behind goes; a link that lies there is not followed.
    match fs::remove_file(&half) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&half, path)
}

/// The whole file of one account.
fn document(store: &Store, account: &BareJid, credentials: &Credentials) -> Result<String, Error> {
    let mut pieces = passwords(credentials);
    let parsed = |text: Option<String>| text.as_deref().and_then(xml::parse);
    let form = parsed(registration::of(store, account)?);
    pieces.extend(form.map(|form| piece(ns::REGISTER, form)));
    if let Some(last) = last::of(store, account)? {
        let element = Element::new("query", ns::LAST).with_attribute("last", (last.unix_millis / 1000).to_string());
        pieces.push(piece(ns::LAST, element.with_text(last.status)));
    }
    let items = roster::items(store, account)?;
    pieces.push(piece(ns::ROSTER, Element::new("query", ns::ROSTER).with_children(items.iter().map(item))));
    let requests = items.iter().filter_map(|item| xml::parse(item.pending_in.as_deref()?));
    let requests = requests.map(|request| renamed(&request, ns::CLIENT, ns::SERVER));
    pieces.push(piece(STORED_REQUESTS, Element::new("foo", STORED_REQUESTS).with_children(requests)));
    pieces.extend(parsed(vcard::of(store, account)?).map(|card| piece(ns::VCARD, card)));
    for element in private::all(store, account)?.iter().filter_map(|text| xml::parse(text)) {
        let ns = element.ns().to_owned();
        pieces.push(piece(&ns, element.with_attribute("j_private_flag", "1")));
    }
    pieces.extend(rules::pieces(store, account)?.into_iter().map(|(ns, element)| piece(ns, element)));
    let messages = written::messages(store, account, &|stored, message| stamped(account, stored, message))?;
    pieces.push(piece(OFFLINE, Element::new("foo", OFFLINE).with_children(messages)));
    let mut out = String::from("<xdb>");
    for piece in &pieces {
        writer::element(&mut out, piece, "");
    }
    out.push_str("</xdb>");
    Ok(out)
}

/// A child of the root, which the old server finds by this attribute.
pub(super) fn piece(xdbns: &str, element: Element) -> Element {
    element.with_attribute("xdbns", xdbns.to_owned())
}

fn passwords(credentials: &Credentials) -> Vec<Element> {
    // Without this element it would be no account.
    let mut pieces = vec![piece(ns::IQ_AUTH, Element::new("password", ns::IQ_AUTH))];
    if let Some(legacy) = &credentials.legacy {
        pieces.push(match zerok(&legacy.value) {
            Some(element) => piece(AUTH_ZEROK, element),
            None => piece(AUTH_CRYPT, Element::new("crypt", AUTH_CRYPT).with_text(legacy.value.clone())),
        });
    }
    if !credentials.scram.is_empty() {
        pieces.push(piece(SCRAM, Element::new("foo", SCRAM).with_children(written::keys(credentials))));
    }
    pieces
}

/// The three parts of `{0k}sequence:token:hash`.
fn zerok(value: &str) -> Option<Element> {
    let mut parts = value.strip_prefix("{0k}")?.splitn(3, ':');
    let mut element = Element::new("zerok", AUTH_ZEROK);
    for name in ["sequence", "token", "hash"] {
        element = element.with_child(Element::new(name, AUTH_ZEROK).with_text(parts.next()?.to_owned()));
    }
    Some(element)
}

/// A contact; 1.4 kept a request that waits inside the roster.
fn item(item: &RosterItem) -> Element {
    let mut element = item.to_element();
    if let Some(request) = &item.pending_in {
        let request = Stanza::from_text(request);
        let status = request.and_then(|request| request.child("status", ns::CLIENT).map(|s| s.text().into_owned()));
        element = element.with_attribute("subscribe", status.unwrap_or_default());
    }
    if !item.visible {
        element = element.with_attribute("hidden", "");
    }
    element
}

/// A message that waits, with the stamp that 1.4 gives it.
fn stamped(account: &BareJid, stored: &Stored, message: Element) -> Element {
    let stamp = Element::new("x", ns::LEGACY_DELAY)
        .with_attribute("from", account.to_string())
        .with_attribute("stamp", datetime::legacy_stamp(stored.received_unix_millis))
        .with_text("Offline Storage");
    // A message that expires has its count from here.
    let stored_at = (stored.received_unix_millis / 1000).to_string();
    let nodes = message.nodes().iter().map(|node| match node {
        Node::Element(child) if child.is("x", "jabber:x:expire") => {
            Node::Element(child.clone().with_attribute("stored", stored_at.clone()))
        }
        other => other.clone(),
    });
    let nodes = nodes.collect();
    renamed(&message.with_nodes(nodes), ns::CLIENT, OFFLINE).with_child(stamp)
}

/// The element with all that is in one namespace put into another.
fn renamed(element: &Element, from: &str, to: &'static str) -> Element {
    let ns = if element.ns() == from { to.into() } else { element.ns_text().clone() };
    let attributes: Vec<Attribute> = element.attributes().to_vec();
    let nodes = element.nodes().iter().map(|node| match node {
        Node::Element(child) => Node::Element(renamed(child, from, to)),
        Node::Text(text) => Node::Text(text.clone()),
    });
    Element::from_parts(ns, element.name().to_owned().into(), attributes, nodes.collect())
}
