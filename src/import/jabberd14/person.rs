//! What one file, or the files of one account in several spools, say of a person: a typed value, and a note for each
//! piece that is left behind.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::{Document, Node};
use zeroize::Zeroizing;

use super::document::{self, XDB};
use super::{contacts, messages};
use crate::import::person::{Note, Password, Person, Private, SCRAM, STATUS_BYTES_MAX, mechanism};
use crate::import::report::counted;
use crate::import::rules;
use crate::store::account::{LegacyHash, ScramHash, ScramKeys};
use crate::store::last::Last;
use crate::xml::Element;
use crate::xmpp::{BareJid, Stanza, datetime, ns};

/// The password as `{SHA}` or as crypt(3) made it (1.4.4's `mod_auth_crypt`).
pub(super) const AUTH_CRYPT: &str = "jabber:iq:auth:crypt";
/// The zero-knowledge hash chain of 1.4.3's `mod_auth_0k`.
pub(super) const AUTH_ZEROK: &str = "jabber:iq:auth:0k";
/// Requests for a subscription that wait, in 1.6.
pub(super) const STORED_REQUESTS: &str = "http://jabberd.org/ns/storedsubscriptionrequest";
/// Messages for who is away.
pub(super) const OFFLINE: &str = "jabber:x:offline";
/// The prefix `w` or `ns0` of 1.6's own attributes.
const WRAPPER: &str = "http://jabberd.org/ns/wrapper";
/// What a user had stored under which namespace, in 1.4.
const NSLIST: &str = "jabber:xdb:nslist";

/// Reads pieces into a [`Person`].
pub(super) struct Reader<'a> {
    pub(super) account: &'a BareJid,
    pub(super) now_unix_millis: u64,
    /// When the file that is being read was last written.
    pub(super) modified_unix_millis: u64,
    pub(super) person: Person,
    pub(super) notes: Vec<Note>,
    /// Namespaces that were there with something in them: the same one again, in this file or another, does not count.
    seen: BTreeSet<String>,
    /// 1.6's requests, until the roster is there.
    pub(super) requests: Vec<Stanza>,
    hashes: Hashes,
}

#[derive(Default)]
struct Hashes {
    crypt: Option<String>,
    zerok: Option<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(account: &'a BareJid, now_unix_millis: u64) -> Reader<'a> {
        Reader {
            account,
            now_unix_millis,
            modified_unix_millis: now_unix_millis,
            person: Person::default(),
            notes: Vec::new(),
            seen: BTreeSet::new(),
            requests: Vec::new(),
            hashes: Hashes::default(),
        }
    }

    pub(super) fn note(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.notes.push(Note { what: what.into(), why: why.into() });
    }

    /// Reads one file of this account.
    pub(super) fn read(&mut self, document: &Document<'_>) {
        let root = document.root_element();
        let private = private_namespaces(root);
        let mut here = BTreeSet::new();
        for piece in root.children().filter(Node::is_element) {
            let Some(xdbns) = piece.attribute("xdbns") else {
                if piece.tag_name().name() == "res" {
                    let resource = piece.attribute("id").unwrap_or_default();
                    self.note(format!("data of the resource {resource:?}"), "data are kept for accounts only");
                } else {
                    let name = piece.tag_name().name();
                    self.note(format!("<{name}>"), "without xdbns=, the old server did not see it either");
                }
                continue;
            };
            let is_empty = !piece.has_children() && piece.attributes().all(|a| matches!(a.name(), "xdbns" | "xmlns"));
            // Of the same namespace twice in one file the first counts, as it did; of several spools, all messages.
            let is_again = !here.insert(xdbns) || (self.seen.contains(xdbns) && xdbns != OFFLINE);
            if is_again && !is_empty {
                self.note(xdbns, "the same namespace was there before, and the first counts");
            } else if !is_again {
                if !is_empty {
                    self.seen.insert(xdbns.to_owned());
                }
                self.piece(xdbns, piece, private.contains(xdbns));
            }
        }
    }

    fn piece(&mut self, xdbns: &str, piece: Node<'_, '_>, is_listed_private: bool) {
        match xdbns {
            ns::IQ_AUTH => self.password(piece),
            AUTH_CRYPT => self.hashes.crypt = Some(text(piece).trim().to_owned()),
            AUTH_ZEROK => self.hashes.zerok = zerok(piece).or_else(|| self.hashes.zerok.take()),
            SCRAM => self.scram(piece),
            ns::REGISTER => self.registration(piece),
            ns::ROSTER => contacts::roster(self, piece),
            STORED_REQUESTS => contacts::requests(self, piece),
            OFFLINE => messages::read(self, piece),
            ns::LAST => self.last(piece),
            ns::VCARD => self.vcard(piece),
            ns::PRIVATE => self.private_of_16(piece),
            ns::PRIVACY => self.keep(ns::PRIVACY, piece),
            ns::FILTER => self.keep(ns::FILTER, piece),
            // Bookkeeping of the old server, which needs no word.
            NSLIST => {}
            "jabber:iq:browse" if !piece.has_children() => {}
            "jabber:iq:browse" => self.note(xdbns, "lists of one's own services are gone since jabberd 1.4"),
            "http://jabberd.org/ns/storedpresence" => self.note(xdbns, "the presence of a session that is over"),
            "http://jabberd.org/ns/history" if !piece.has_children() => {}
            "http://jabberd.org/ns/history" => {
                let count = piece.children().filter(Node::is_element).count() as u64;
                let messages = counted(count, "message");
                self.note(xdbns, format!("{messages} of 1.6's history: there is no archive to put them into"));
            }
            "base:accept:offline" => self.note(xdbns, "what waited for a component"),
            "jabber:xdb:groups" | "jabber:xdb:groups:info" => self.note(xdbns, "mod_groups has no successor here"),
            _ if piece.attribute("j_private_flag").is_some() || is_listed_private => self.private_of_14(xdbns, piece),
            _ => self.note(xdbns, "public XML of mod_xml, which has no successor here"),
        }
    }

    fn password(&mut self, piece: Node<'_, '_>) {
        self.person.password = Some(Password::Clear(Zeroizing::new(text(piece))));
    }

    /// A password as it is typed beats every hash of it.
    pub(super) fn finish(mut self) -> (Person, Vec<Note>) {
        let is_typed = matches!(&self.person.password, Some(Password::Clear(password)) if !password.is_empty());
        if !is_typed {
            let hash = |kind: &str, value| Some(Password::Hash(LegacyHash { kind: kind.to_owned(), value }));
            let crypt = self.hashes.crypt.take().filter(|value| !value.is_empty());
            let found = crypt.and_then(|value| hash("crypt", value));
            let found = found.or_else(|| self.hashes.zerok.take().and_then(|value| hash("0k", value)));
            self.person.password = found.or(self.person.password.take());
        }
        contacts::finish(&mut self);
        (self.person, self.notes)
    }

    /// XEP-0227 §4.3: keys as [`super::export()`] wrote them.
    fn scram(&mut self, piece: Node<'_, '_>) {
        for credentials in piece.children().filter(|child| child.tag_name().name() == "scram-credentials") {
            match scram_keys(credentials) {
                Some(keys) => self.person.scram.push(keys),
                None => self.note(SCRAM, "these keys cannot be read"),
            }
        }
    }

    fn registration(&mut self, piece: Node<'_, '_>) {
        let Some(query) = document::convert(piece, &["", XDB], ns::REGISTER) else {
            return self.note(ns::REGISTER, "too deep");
        };
        let stamp = query.child("x", ns::LEGACY_DELAY).and_then(|x| x.attribute("stamp"));
        self.person.registered_unix_millis = stamp.and_then(datetime::parse_legacy_stamp);
        // The password in clear, in whatever namespace, is what must not be kept.
        let is_field = |child: &Element| {
            child.name() != "password" && (child.ns() == ns::REGISTER || child.is("x", ns::LEGACY_DELAY))
        };
        let fields = query.children().filter(|child| is_field(child)).cloned();
        self.person.registration = Some(Element::new("query", ns::REGISTER).with_children(fields));
    }

    fn last(&mut self, piece: Node<'_, '_>) {
        let Some(seconds) = piece.attribute("last").and_then(|last| last.trim().parse::<u64>().ok()) else {
            return self.note(ns::LAST, "no time in it");
        };
        let status = Some(text(piece)).filter(|status| status.len() <= STATUS_BYTES_MAX).unwrap_or_default();
        let unix_millis = seconds.saturating_mul(1000).min(self.now_unix_millis);
        self.person.last = Some(Last { unix_millis, status });
    }

    fn vcard(&mut self, piece: Node<'_, '_>) {
        match document::convert(piece, &["", XDB], ns::VCARD) {
            // Compat: jabberd 1.4 kept, and gave back, whatever its client called it.
            Some(card) if card.ns() == ns::VCARD => {
                self.person.vcard = Some(card.without_attribute("xdbns").with_name("vCard").to_string());
            }
            Some(_) => self.note(ns::VCARD, "no <vCard> in it"),
            None => self.note(ns::VCARD, "too deep"),
        }
    }

    /// 1.4: each element stands for itself.
    fn private_of_14(&mut self, xdbns: &str, piece: Node<'_, '_>) {
        match document::convert_into(piece, &["", XDB], xdbns) {
            Some(element) => self.private(element.without_attribute("xdbns").without_attribute("j_private_flag")),
            None => self.note(xdbns, "too deep"),
        }
    }

    /// 1.6: one list, with a wrapper for each namespace.
    fn private_of_16(&mut self, piece: Node<'_, '_>) {
        for wrapper in piece.children().filter(Node::is_element) {
            let wanted = wrapper.attribute((WRAPPER, "ns")).unwrap_or_default();
            for child in wrapper.children().filter(Node::is_element) {
                match document::convert(child, &[], "") {
                    Some(element) => self.private(element),
                    None => self.note(wanted, "too deep"),
                }
            }
        }
    }

    /// XEP-0049 §2.3: namespaces of the protocol itself were never allowed.
    fn private(&mut self, element: Element) {
        let ns = element.ns();
        if ns.is_empty() || ns.starts_with("jabber:") || ns == ns::VCARD {
            let what = format!("private <{}> in namespace {ns:?}", element.name());
            return self.note(what, "XEP-0049 keeps nothing in such a namespace");
        }
        if self.person.private.iter().any(|other| other.ns == ns && other.name == element.name()) {
            return self.note(ns.to_owned(), "the same element was there before, and the first counts");
        }
        let (name, ns) = (element.name().to_owned(), ns.to_owned());
        self.person.private.push(Private { name, ns, xml: element.to_string() });
    }

    /// Keeps an element as it is: 1.6's privacy lists, and 1.4's rules for messages.
    fn keep(&mut self, xdbns: &'static str, piece: Node<'_, '_>) {
        if !piece.children().any(|child| child.is_element()) {
            return;
        }
        match document::convert(piece, &["", XDB], xdbns) {
            Some(element) => {
                for fault in rules::faults(xdbns, &element) {
                    self.note(xdbns, fault);
                }
                self.person.kept.push((xdbns.to_owned(), element.without_attribute("xdbns").to_string()));
            }
            None => self.note(xdbns, "too deep"),
        }
    }
}

/// All text directly inside a node.
pub(super) fn text(node: Node<'_, '_>) -> String {
    node.children().filter(Node::is_text).filter_map(|child| child.text()).collect()
}

/// What 1.4's own list says is private, for files without the flag.
fn private_namespaces(root: Node<'_, '_>) -> BTreeSet<String> {
    let lists = root.children().filter(|child| child.attribute("xdbns") == Some(NSLIST));
    let entries = lists.flat_map(|list| list.children().filter(|entry| entry.attribute("type") == Some("private")));
    entries.map(|entry| text(entry).trim().to_owned()).collect()
}

/// One line that holds all three parts. `None` for what no password could be checked against.
fn zerok(piece: Node<'_, '_>) -> Option<String> {
    let part = |name: &str| {
        let child = piece.children().find(|child| child.is_element() && child.tag_name().name() == name)?;
        Some(text(child).trim().to_owned()).filter(|text| !text.is_empty())
    };
    let (hash, token, sequence) = (part("hash")?, part("token")?, part("sequence")?);
    Some(format!("{{0k}}{sequence}:{token}:{hash}"))
}

fn scram_keys(credentials: Node<'_, '_>) -> Option<ScramKeys> {
    let name = credentials.attribute("mechanism")?;
    let hash = ScramHash::ALL.into_iter().find(|&h| mechanism(h) == name)?;
    let part = |name: &str| {
        let child = credentials.children().find(|child| child.is_element() && child.tag_name().name() == name)?;
        Some(text(child).trim().to_owned())
    };
    let bytes = |name: &str| STANDARD.decode(part(name)?).ok().filter(|bytes| !bytes.is_empty());
    Some(ScramKeys {
        hash,
        iterations: part("iter-count")?.parse().ok().filter(|&count| count > 0)?,
        salt: bytes("salt")?,
        stored_key: bytes("stored-key")?,
        server_key: bytes("server-key")?,
    })
}
