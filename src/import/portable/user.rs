//! One `<user/>` into a [`Person`], with a note for each piece that is left behind.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{ACCOUNT, ARCHIVE, PIE, PUBSUB, PUBSUB_OWNER};
use crate::import::person::{
    Message, Note, Password, Person, Private, REQUEST_BYTES_MAX, SCRAM, STATUS_BYTES_MAX, mechanism,
};
use crate::import::rules;
use crate::store::account::{LegacyHash, ScramHash, ScramKeys};
use crate::store::directory::State;
use crate::store::last::Last;
use crate::store::roster::{RosterItem, Subscription};
use crate::xml::Element;
use crate::xmpp::directory::{Entry, Field};
use crate::xmpp::{BareJid, Jid, Kind, PresenceType, Stanza, datetime, jid, ns};

/// Rounds of a key that is taken over: fewer are no protection, and what only a bad file says would hold up the client.
const ITERATIONS: std::ops::RangeInclusive<u32> = 1_000..=10_000_000;
/// Bytes of a salt that is taken over.
const SALT_BYTES_MAX: usize = 256;

/// What was read of a user.
pub(super) struct Read {
    pub(super) person: Person,
    pub(super) notes: Vec<Note>,
}

/// Reads a user. What it includes from other files stands in it by now.
pub(super) fn read(account: &BareJid, user: &Element, now_unix_millis: u64) -> Read {
    let mut reader = Reader { account, now_unix_millis, person: Person::default(), notes: Vec::new() };
    reader.person.password =
        user.attribute("password").map(|password| Password::Clear(Zeroizing::new(password.to_owned())));
    let mut requests = Vec::new();
    let mut seen = HashSet::new();
    for child in user.children() {
        let key = (child.ns().to_owned(), child.name().to_owned());
        let may_repeat = matches!((child.ns(), child.name()), (SCRAM, _) | (ns::CLIENT, "presence"));
        if !seen.insert(key) && !may_repeat {
            reader.note(
                format!("<{}> in {}", child.name(), child.ns()),
                "the same was there before, and the first counts",
            );
            continue;
        }
        match (child.ns(), child.name()) {
            (SCRAM, "scram-credentials") => reader.scram(child),
            (ns::ROSTER, "query") => reader.roster(child, true),
            (PIE, "offline-messages") => reader.offline(child),
            (ns::PRIVATE, "query") => child.children().for_each(|element| reader.private(element)),
            (ns::VCARD, _) => reader.person.vcard = Some(child.clone().with_name("vCard").to_string()),
            (ns::CLIENT, "presence") => requests.push(child),
            (ns::LAST, "query") => reader.last(child),
            (ns::REGISTER, "query") => reader.registration(child),
            (ACCOUNT, "account") => reader.account_element(child),
            (ns::PRIVACY | ns::BLOCKING | ns::FILTER | PUBSUB | PUBSUB_OWNER | ARCHIVE, _) => {
                for fault in rules::faults(child.ns(), child) {
                    reader.note(child.ns(), fault);
                }
                reader.person.kept.push((child.ns().to_owned(), child.to_string()));
            }
            // XEP-0227 §4: what is not understood is ignored, and the operator hears of it.
            (other, name) => reader.note(format!("<{name}> in {other:?}"), "nothing here knows what to do with it"),
        }
    }
    // After the roster: a request of somebody who is in it belongs to that item.
    requests.into_iter().for_each(|presence| reader.request(presence));
    Read { person: reader.person, notes: reader.notes }
}

struct Reader<'a> {
    account: &'a BareJid,
    now_unix_millis: u64,
    person: Person,
    notes: Vec<Note>,
}

impl Reader<'_> {
    fn note(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.notes.push(Note { what: what.into(), why: why.into() });
    }

    /// XEP-0227 §4.3.
    fn scram(&mut self, credentials: &Element) {
        match keys(credentials) {
            Ok(keys) if self.person.scram.iter().any(|other| other.hash == keys.hash) => {
                self.note(mechanism(keys.hash), "there were keys for it before, and the first count");
            }
            Ok(keys) => {
                self.person.scram.push(keys);
                self.person.scram.sort_by_key(|keys| keys.hash);
            }
            Err(why) => {
                let name = credentials.attribute("mechanism").unwrap_or("no mechanism").to_owned();
                self.note(format!("keys for {name}"), why);
            }
        }
    }

    /// XEP-0227 §4.4; those that no client sees come in an element of ours.
    fn roster(&mut self, query: &Element, visible: bool) {
        for item in query.children().filter(|child| child.is("item", ns::ROSTER)) {
            let text = item.attribute("jid").unwrap_or_default();
            let Ok(jid) = Jid::new(text) else {
                self.note(format!("the contact {text:?}"), "no address can be like that");
                continue;
            };
            if jid.as_str() == self.account.as_str() {
                self.note(format!("the contact {text:?}"), "it is the user's own address");
                continue;
            }
            if self.person.roster.iter().any(|other| other.jid == jid) {
                self.note(format!("the contact {text:?}"), "it is the same as one before");
                continue;
            }
            let (to, from) = match item.attribute("subscription") {
                None | Some("none") => (false, false),
                Some("to") => (true, false),
                Some("from") => (false, true),
                Some("both") => (true, true),
                Some(other) => {
                    let why = format!("the subscription {other:?} is none");
                    self.note(format!("the contact {text:?}"), why);
                    continue;
                }
            };
            let mut groups: Vec<String> = Vec::new();
            for group in item.children().filter(|child| child.is("group", ns::ROSTER)) {
                let group = group.text().into_owned();
                if !group.is_empty() && !group.contains('\u{1F}') && !groups.contains(&group) {
                    groups.push(group);
                }
            }
            self.person.roster.push(RosterItem {
                name: item.attribute("name").unwrap_or_default().to_owned(),
                subscription: Subscription::of(to, from),
                ask: item.attribute("ask") == Some("subscribe") && !to,
                approved: matches!(item.attribute("approved"), Some("true" | "1")),
                visible,
                groups,
                ..RosterItem::new(jid)
            });
        }
    }

    /// XEP-0227 §4.10.
    fn request(&mut self, presence: &Element) {
        let stanza = Stanza::parse(presence.clone()).ok();
        let is_request = |stanza: &Stanza| stanza.kind() == Kind::Presence(PresenceType::Subscribe);
        let Some(stanza) = stanza.filter(|stanza| is_request(stanza) && stanza.from().is_some()) else {
            return self.note("a presence stanza", "only requests for a subscription wait, and from somebody");
        };
        let Some(contact) = stanza.from().map(jid::contact) else { return };
        let stanza = stanza.with_from(contact.clone()).with_to(self.account.clone());
        let mut text = stanza.to_text();
        if text.len() > REQUEST_BYTES_MAX {
            text = stanza.map_element(|element| element.with_nodes(Vec::new())).to_text();
        }
        match self.person.roster.iter_mut().find(|item| item.jid == contact) {
            Some(item) if item.subscription.from() => {
                self.note(format!("a request of {contact}"), "it was answered already");
            }
            Some(item) => item.pending_in = Some(text),
            None => {
                let hidden = RosterItem { visible: false, pending_in: Some(text), ..RosterItem::new(contact) };
                self.person.roster.push(hidden);
            }
        }
    }

    /// XEP-0227 §4.5, the oldest first.
    fn offline(&mut self, list: &Element) {
        for element in list.children() {
            if !element.is("message", ns::CLIENT) {
                self.note(format!("<{}> among the messages", element.name()), "only messages wait for who is away");
                continue;
            }
            // The stamp of the server that stored it is the time when it came, which the store keeps and the server
            // tells on delivery.
            let stamps = element.children().filter(|child| self.is_stored_stamp(child));
            let received = stamps.filter_map(|stamp| {
                let text = stamp.attribute("stamp")?;
                datetime::parse_stamp(text).or_else(|| datetime::parse_legacy_stamp(text))
            });
            let received = received.min().unwrap_or(self.now_unix_millis).min(self.now_unix_millis);
            let element = element.clone().keeping_children(|child| !self.is_stored_stamp(child));
            match Stanza::parse(element) {
                Ok(stanza) => {
                    self.person.offline.push(Message { stanza: stanza.to_text(), received_unix_millis: received });
                }
                Err(_) => self.note("a message", "one of its addresses cannot be"),
            }
        }
    }

    fn is_stored_stamp(&self, child: &Element) -> bool {
        let is_ours = |from: &str| from == self.account.as_str() || from == self.account.domain().as_str();
        (child.is("delay", ns::DELAY) || child.is("x", ns::LEGACY_DELAY))
            && child.attribute("from").is_some_and(is_ours)
    }

    /// XEP-0227 §4.6; XEP-0049 §2.3: namespaces of the protocol itself were never allowed.
    fn private(&mut self, element: &Element) {
        let (name, ns) = (element.name(), element.ns());
        let what = || format!("private <{name}> in {ns:?}");
        if ns.is_empty() || ns.starts_with("jabber:") || ns == ns::VCARD {
            return self.note(what(), "XEP-0049 keeps nothing in such a namespace");
        }
        if self.person.private.iter().any(|other| other.ns == ns && other.name == name) {
            return self.note(what(), "the same element was there before, and the first counts");
        }
        self.person.private.push(Private { name: name.to_owned(), ns: ns.to_owned(), xml: element.to_string() });
    }

    /// An extension of several servers: XEP-0227 has no place for it.
    fn last(&mut self, query: &Element) {
        let Some(seconds) = query.attribute("last").and_then(|last| last.trim().parse::<u64>().ok()) else {
            return self.note(ns::LAST, "no time in it");
        };
        let status = Some(query.text().into_owned()).filter(|status| status.len() <= STATUS_BYTES_MAX);
        let exact =
            query.attribute("millis").and_then(|millis| millis.parse::<u64>().ok()).filter(|&millis| millis < 1_000);
        let unix_millis = seconds.saturating_mul(1_000).saturating_add(exact.unwrap_or(0)).min(self.now_unix_millis);
        self.person.last = Some(Last { unix_millis, status: status.unwrap_or_default() });
    }

    /// The form of XEP-0077, without the password that other servers leave in it.
    fn registration(&mut self, query: &Element) {
        let fields = query.clone().keeping_children(|child| child.name() != "password");
        self.person.registration = Some(fields);
    }

    /// What we know and XEP-0227 has no place for.
    fn account_element(&mut self, account: &Element) {
        self.person.registered_unix_millis = account.attribute("created").and_then(|millis| millis.parse().ok());
        self.person.disabled = account.attribute("disabled") == Some("true");
        if let Some(hash) = account.child("old-hash", ACCOUNT) {
            let kind = hash.attribute("kind").unwrap_or_default().to_owned();
            let value = hash.text().into_owned();
            if self.person.password.is_none() {
                self.person.password = Some(Password::Hash(LegacyHash { kind, value }));
            }
        }
        self.roster(account, false);
        if let Some(entry) = account.child("directory", ACCOUNT) {
            let said = |field: Field| entry.child(field.name(), ACCOUNT).map(|child| child.text().into_owned());
            let state = if entry.attribute("withdrawn") == Some("true") { State::Withdrawn } else { State::Registered };
            self.person.directory = Some((state, Entry::new(|field| said(field).unwrap_or_default())));
        }
    }
}

fn keys(credentials: &Element) -> Result<ScramKeys, &'static str> {
    let name = credentials.attribute("mechanism").unwrap_or_default();
    let hash = ScramHash::ALL.into_iter().find(|&hash| mechanism(hash) == name).ok_or("no such mechanism here")?;
    let part = |name| credentials.child(name, SCRAM).map(|child| child.text().trim().to_owned());
    let bytes =
        |name| part(name).and_then(|text| STANDARD.decode(text).ok()).ok_or("a part of them is missing, or no base64");
    let iterations = part("iter-count").and_then(|text| text.parse().ok()).ok_or("no number of rounds")?;
    if !ITERATIONS.contains(&iterations) {
        return Err("a number of rounds that is too small, or too large");
    }
    let (mut salt, mut stored_key, mut server_key) = (bytes("salt")?, bytes("stored-key")?, bytes("server-key")?);
    let length = match hash {
        ScramHash::Sha1 => 20,
        ScramHash::Sha256 => 32,
        ScramHash::Sha512 => 64,
    };
    // Compat: ejabberd 23.01 writes base64 of base64.
    if let (Ok(salt_inside), Ok(stored_inside), Ok(server_inside)) =
        (STANDARD.decode(&salt), STANDARD.decode(&stored_key), STANDARD.decode(&server_key))
    {
        if stored_inside.len() == length && server_inside.len() == length {
            (salt, stored_key, server_key) = (salt_inside, stored_inside, server_inside);
        }
    }
    if salt.is_empty() || salt.len() > SALT_BYTES_MAX || stored_key.len() != length || server_key.len() != length {
        return Err("of the wrong length");
    }
    Ok(ScramKeys { hash, iterations, salt, stored_key, server_key })
}
