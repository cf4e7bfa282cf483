//! `<jsm xmlns="jabber:config:jsm">` into a [`Host`], for every host of the section alike.

use super::access::{Grant, Grants, feature};
use super::error::Place;
use super::hosts::{
    Admin, BrowseItem, Contact, ContactRole, Forbidden, Host, Invitations, Letter, NamePolicy, NameReuse, OfflineTypes,
    Register, Version, host_name,
};
use super::modules::{self, Modules};
use super::own_services::{self, ServiceKind};
use super::reading::{self, Reading, Refusal};
use super::tree::{ACL_NS, Tree};
use crate::xmpp::jid::{NodePart, with_one_name};
use crate::xmpp::{BareJid, Jid, ns, uri};

/// What may stand in `<jsm>`, for "did you mean".
const KNOWN: &[&str] = &[
    "admin",
    "agents",
    "archive",
    "auth",
    "browse",
    "disco",
    "filter",
    "groups",
    "history",
    "maxhosts",
    "maxusers",
    "mod_auth_0k",
    "mod_auth_crypt",
    "mod_offline",
    "mod_useridpolicy",
    "mod_version",
    "nopasswordchange",
    "noregistrationchange",
    "nounregister",
    "presence",
    "register",
    "regtimeout",
    "serialization",
    "update",
    "usergc",
    "vCard",
    "vcard2jud",
    "welcome",
];

/// A host with everything but its name, from the block of its section.
pub(super) fn read(reading: &mut Reading, block: Option<&Tree>, modules: Modules) -> Host {
    let mut host = Host::new("");
    host.modules = modules;
    if reading.is_namespaced {
        // 1.6 kept a removed name for half a year unless told otherwise, and answered jabber:iq:agents only when told.
        host.name_reuse = NameReuse::After(NameReuse::DEFAULT_SECONDS);
        host.agents = false;
    }
    let Some(block) = block else { return host };
    reading.stray_text(block);
    let mut welcomes = Vec::new();
    for child in block.children() {
        if child.is_own() {
            own(reading, child, &mut host);
        } else {
            element(reading, child, &mut host, &mut welcomes);
        }
    }
    host.welcome = joined(welcomes);
    if !host.modules.is_on("mod_useridpolicy") {
        host.name_policy = NamePolicy::default();
    }
    if !host.modules.is_on("mod_register") {
        if let (Some(_), Some(tree)) = (host.register.take(), block.child("register")) {
            reading.notice(&tree.place, "registration is closed, because <load> does not name mod_register");
        }
    }
    host
}

/// What only we know.
fn own(reading: &mut Reading, tree: &Tree, host: &mut Host) {
    if let Some(kind) = own_services::kind_of(tree) {
        return own_services::read(reading, tree, kind, &mut host.services);
    }
    reading.stray_text(tree);
    match tree.name.as_str() {
        "modules" => {}
        "contacts" => return host.contacts = contacts(reading, tree),
        "invitations" => return invitations(reading, tree, host),
        _ => {
            let services = ServiceKind::ALL.iter().map(|kind| kind.element());
            let known: Vec<&str> = services.chain(["contacts", "invitations", "modules"]).collect();
            return reading.unknown(tree, "<jsm>", &known);
        }
    }
    for child in tree.children() {
        match child.name.as_str() {
            "off" => {
                let name = child.text();
                let known = [modules::CLASSIC, modules::LATER, modules::ON_REQUEST].concat();
                if !known.contains(&name.as_str()) {
                    let hint = reading::meant(&name, &known);
                    reading.warn(&child.place, format!("<off> names {name}, but no module has this name{hint}"));
                }
                host.modules.off.insert(name);
            }
            _ => reading.unknown(child, "<modules>", &["off"]),
        }
    }
}

/// XEP-0157: `<abuse>mailto:abuse@example.org</abuse>` and the like; an address alone is taken for a JID.
fn contacts(reading: &mut Reading, tree: &Tree) -> Vec<Contact> {
    let mut contacts = Vec::new();
    for role in ContactRole::ALL {
        for child in tree.children().filter(|child| child.name == role.name()) {
            let text = child.text();
            let address = if text.is_empty() {
                None
            } else if is_uri(&text) {
                Some(uri::of_iri(&text))
            } else if let Ok(jid) = Jid::new(&text) {
                Some(uri::of(&jid))
            } else {
                let text = format!("\"{text}\" is neither an address of the web, of mail nor a JID: ignored");
                reading.warn(&child.place, text);
                continue;
            };
            contacts.push(Contact { role, address });
        }
    }
    let names: Vec<&str> = ContactRole::ALL.iter().map(|role| role.name()).collect();
    for child in tree.children().filter(|child| !names.contains(&child.name.as_str())) {
        reading.unknown(child, "<contacts>", &names);
    }
    contacts
}

/// A scheme and something behind it, without blanks.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let starts = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    starts && scheme.chars().all(is_scheme) && !rest.is_empty() && !text.contains(char::is_whitespace)
}

/// `<invitations by='admins' days='7'/>`.
fn invitations(reading: &mut Reading, tree: &Tree, host: &mut Host) {
    match tree.attribute("by") {
        None | Some("users") => {}
        Some("admins") => host.invitations.by_users = false,
        Some(other) => {
            reading.warn(&tree.place, format!("by=\"{other}\" is neither users nor admins: users may invite"))
        }
    }
    match reading.number_attribute::<u32>(tree, "days") {
        None if tree.attribute("days").is_none() => {}
        Some(days) if (1..=Invitations::DAYS_MAX).contains(&days) => host.invitations.days = days,
        _ => reading.warn(&tree.place, format!("days= is not a number from 1 to {}: ignored", Invitations::DAYS_MAX)),
    }
}

fn element(reading: &mut Reading, tree: &Tree, host: &mut Host, welcomes: &mut Vec<Letter>) {
    match tree.name.as_str() {
        "maxusers" | "maxhosts" | "usergc" | "update" | "mod_auth_0k" | "mod_auth_crypt" => {}
        "vCard" if host.vcard.is_some() => {
            reading.without_effect(tree, "the first <vCard> is shown in all languages");
        }
        "vCard" => host.vcard = Some(tree.to_element(ns::VCARD)),
        "register" => host.register = register(reading, tree),
        "welcome" => welcomes.push(letter(reading, tree)),
        "admin" => admin(reading, tree, host),
        "browse" => host.browse = browse(reading, tree),
        "disco" => host.disco = tree.children().map(|extra| extra.to_element(ns::DISCO_INFO)).collect(),
        "agents" => host.agents = true,
        "vcard2jud" => host.vcard_to_directory = true,
        "presence" => presence(reading, tree, host),
        "mod_version" => host.version = version(reading, tree),
        "mod_offline" => host.offline = offline(reading, tree),
        "regtimeout" => host.name_reuse = name_reuse(reading, tree),
        "nounregister" | "noregistrationchange" | "nopasswordchange" => forbid(tree, &mut host.forbidden),
        "mod_useridpolicy" => host.name_policy = name_policy(reading, tree),
        "filter" => reading.without_effect(tree, "rules of jabber:iq:filter may consist of all that 1.4 knew"),
        "groups" => reading.without_effect(tree, "shared groups of mod_groups are not there"),
        "archive" => reading.without_effect(tree, "packets of sessions are not copied to other services"),
        "history" => reading.without_effect(tree, "1.6's history is not kept"),
        "serialization" => reading.without_effect(tree, "sessions live on over a restart by themselves"),
        "auth" => reading.refuse(
            &tree.place,
            Refusal {
                what: "<auth> cannot be honoured",
                found: &format!("<auth>{}</auth>: another process decides who may log in", tree.text()),
                expected: "accounts in jabberd's own store",
                remedy: "import the accounts (jabberd(8)), then delete <auth>",
            },
        ),
        "host" | "load" => {
            reading.warn(
                &tree.place,
                format!("<{0}> in <jsm> is ignored: put it before <jsm>, into <service>", tree.name),
            );
        }
        _ => reading.unknown(tree, "<jsm>", KNOWN),
    }
}

/// jabberd 1.4 took every value for a yes, `no` among them.
fn means_yes(value: &str) -> bool {
    !["no", "false", "off", "0"].contains(&value.trim().to_ascii_lowercase().as_str())
}

/// `<register>`. In 1.6's form a form without fields is closed, and every field must be filled in.
fn register(reading: &mut Reading, tree: &Tree) -> Option<Register> {
    let mut register = Register { notify: tree.attribute("notify").is_some_and(means_yes), ..Register::default() };
    register.enforce_fields = reading.is_namespaced;
    let mut has_instructions = false;
    let mut has_child = false;
    for child in tree.children() {
        let name = child.name.as_str();
        if child.is_own() {
            match name {
                "enforce-fields" => register.enforce_fields = true,
                "invite-only" => register.invite_only = true,
                _ => reading.unknown(child, "<register>", &["enforce-fields", "invite-only"]),
            }
            continue;
        }
        has_child = true;
        match name {
            "instructions" => match child.lang() {
                Some(lang) if has_instructions => register.translations.push((lang.to_owned(), child.text())),
                _ => {
                    has_instructions = true;
                    register.instructions = child.text();
                }
            },
            "x" if child.ns == ns::OOB => register.oob_url = child.child_text("url").filter(|url| !url.is_empty()),
            "username" | "password" | "registered" | "remove" | "key" => {}
            _ if register.fields.iter().any(|field| field == name) => {}
            _ => register.fields.push(name.to_owned()),
        }
    }
    if reading.is_namespaced && !has_child {
        reading.notice(&tree.place, "registration is closed, because <register> is empty, as in jabberd 1.6");
        return None;
    }
    Some(register)
}

/// Subject and body.
fn letter(reading: &mut Reading, tree: &Tree) -> Letter {
    reading.stray_text(tree);
    for child in tree.children().filter(|child| !matches!(child.name.as_str(), "subject" | "body")) {
        reading.unknown(child, &tree.tag(), &["subject", "body"]);
    }
    Letter {
        subject: tree.child_text("subject").unwrap_or_default(),
        body: tree.child_text("body").unwrap_or_default(),
        lang: tree.lang().map(str::to_owned),
        variants: Vec::new(),
    }
}

/// The first letter with the others as its variants.
fn joined(letters: Vec<Letter>) -> Option<Letter> {
    let mut letters = letters.into_iter();
    let first = letters.next()?;
    Some(Letter { variants: letters.collect(), ..first })
}

/// `<admin>`: jids, and the reply to those who write to the host.
fn admin(reading: &mut Reading, tree: &Tree, host: &mut Host) {
    let mut replies = Vec::new();
    reading.stray_text(tree);
    for child in tree.children() {
        let (read, write) = match child.name.as_str() {
            "read" => (true, false),
            "write" => (true, true),
            "write-only" => (false, true),
            "reply" => {
                replies.push(letter(reading, child));
                continue;
            }
            _ => {
                reading.unknown(child, "<admin>", &["read", "write", "write-only", "reply"]);
                continue;
            }
        };
        if let Some(jid) = bare_jid(reading, &child.place, &child.text()) {
            if jid.node().is_none() {
                let text = format!("\"{jid}\" is nobody's address: write name@host; ignored");
                reading.warn(&child.place, text);
                continue;
            }
            host.admins.push(Admin { jid: jid.clone(), read, write });
            let grant =
                |name: &str| Grant { feature: Some(name.to_owned()), jids: vec![jid.clone()], domains: Vec::new() };
            let read = [feature::LIST_SESSIONS, feature::ADMIN_MESSAGES].into_iter().filter(|_| read);
            let write = [feature::ANNOUNCE, feature::ADMINISTER].into_iter().filter(|_| write);
            host.grants.0.extend(read.chain(write).map(grant));
        }
    }
    host.admin_reply = joined(replies);
}

/// A bare JID, or nothing after a warning.
pub(super) fn bare_jid(reading: &mut Reading, place: &Place, text: &str) -> Option<BareJid> {
    let jid = Jid::new(text.trim()).map(|jid| with_one_name(jid).to_bare());
    if let Err(error) = &jid {
        reading.warn(place, format!("\"{text}\" is not a JID ({error}): ignored"));
    }
    jid.ok()
}

fn browse(reading: &mut Reading, tree: &Tree) -> Vec<BrowseItem> {
    reading.stray_text(tree);
    let mut items = Vec::new();
    for child in tree.children() {
        let Some(jid) = child.attribute("jid") else {
            reading.warn(&child.place, format!("<{}> in <browse> has no jid=: ignored", child.name));
            continue;
        };
        let jid = match Jid::new(jid.trim()) {
            Ok(jid) => jid,
            Err(error) => {
                reading.warn(&child.place, format!("jid=\"{jid}\" is not a JID ({error}): ignored"));
                continue;
            }
        };
        let category = if child.name == "item" { child.attribute("category").unwrap_or("item") } else { &child.name };
        let attribute = |name: &str| child.attribute(name).unwrap_or_default().to_owned();
        items.push(BrowseItem {
            category: category.to_owned(),
            kind: attribute("type"),
            jid,
            name: attribute("name"),
            namespaces: child.children().filter(|ns| ns.name == "ns").map(Tree::text).collect(),
            only_if: child.attribute_ns(ACL_NS, "if").map(str::to_owned),
            only_if_not: child.attribute_ns(ACL_NS, "ifnot").map(str::to_owned),
        });
    }
    items
}

fn presence(reading: &mut Reading, tree: &Tree, host: &mut Host) {
    for child in tree.children() {
        match child.name.as_str() {
            "bcc" => match Jid::new(&child.text()) {
                Ok(jid) => host.presence_bcc.push(jid),
                Err(error) => reading.warn(&child.place, format!("\"{}\" is not a JID ({error})", child.text())),
            },
            "presence2xdb" => reading.without_effect(child, "presence is not written to the store"),
            _ => reading.unknown(child, "<presence>", &["bcc", "presence2xdb"]),
        }
    }
}

fn version(reading: &mut Reading, tree: &Tree) -> Version {
    let mut version = Version::default();
    for child in tree.children() {
        match child.name.as_str() {
            "name" => version.name = Some(child.text()),
            "version" => version.version = Some(child.text()),
            "os" => version.os = Some(child.text()),
            // The release is told to nobody.
            "no_os_version" => {}
            _ => reading.unknown(child, "<mod_version>", &["name", "version", "os", "no_os_version"]),
        }
    }
    version
}

fn offline(reading: &mut Reading, tree: &Tree) -> OfflineTypes {
    let mut types = OfflineTypes::NONE;
    for child in tree.children() {
        match child.name.as_str() {
            "normal" => types.normal = true,
            "chat" => types.chat = true,
            "headline" => types.headline = true,
            "groupchat" => types.groupchat = true,
            "error" => types.error = true,
            _ => reading.unknown(child, "<mod_offline>", &["normal", "chat", "headline", "groupchat", "error"]),
        }
    }
    types
}

fn name_reuse(reading: &mut Reading, tree: &Tree) -> NameReuse {
    match reading.number_attribute::<i64>(tree, "timeout") {
        Some(0) => NameReuse::AtOnce,
        Some(seconds) => u64::try_from(seconds).map_or(NameReuse::Never, NameReuse::After),
        None => NameReuse::After(NameReuse::DEFAULT_SECONDS),
    }
}

fn forbid(tree: &Tree, forbidden: &mut Forbidden) {
    let text = Some(tree.text());
    match tree.name.as_str() {
        "nounregister" => forbidden.unregister = text,
        "noregistrationchange" => forbidden.registration_change = text,
        _ => forbidden.password_change = text,
    }
}

fn name_policy(reading: &mut Reading, tree: &Tree) -> NamePolicy {
    let mut policy = NamePolicy::default();
    for child in tree.children() {
        match child.name.as_str() {
            "forbidden" => match NodePart::new(&child.text()) {
                Ok(name) => policy.forbidden.push(name.as_str().to_owned()),
                Err(_) => reading.warn(&child.place, format!("\"{}\" can never be a name: ignored", child.text())),
            },
            "minlen" => policy.length_min = reading.number(child).unwrap_or(policy.length_min),
            "maxlen" => policy.length_max = reading.number(child).unwrap_or(policy.length_max),
            _ => reading.unknown(child, "<mod_useridpolicy>", &["forbidden", "minlen", "maxlen"]),
        }
    }
    if policy.length_min > policy.length_max {
        reading.warn(&tree.place, "minlen is larger than maxlen: no name would do, so both are ignored");
        let forbidden = policy.forbidden;
        return NamePolicy { forbidden, ..NamePolicy::default() };
    }
    policy
}

/// 1.6's `<acl>` of `<global>`: it holds for all hosts.
pub(super) fn acl(reading: &mut Reading, tree: &Tree) -> Grants {
    let mut grants = Grants::default();
    reading.stray_text(tree);
    for child in tree.children() {
        if child.name != "grant" {
            reading.unknown(child, "<acl>", &["grant"]);
            continue;
        }
        let feature = child.attribute("feature").map(str::to_owned);
        let mut grant = Grant { feature, jids: Vec::new(), domains: Vec::new() };
        for who in child.children() {
            match who.name.as_str() {
                "jid" => grant.jids.extend(bare_jid(reading, &who.place, &who.text())),
                "domain" => match host_name(&who.text()) {
                    Ok(domain) => grant.domains.push(domain),
                    Err(why) => reading.warn(&who.place, format!("\"{}\" is not a domain ({why})", who.text())),
                },
                _ => reading.unknown(who, "<grant>", &["jid", "domain"]),
            }
        }
        grants.0.push(grant);
    }
    grants
}

/// The accounts that access lists name, as [`Admin`]s.
pub(super) fn admins_of(grants: &Grants) -> Vec<Admin> {
    let mut admins: Vec<Admin> = Vec::new();
    let rows = [(feature::LIST_SESSIONS, true), (feature::ADMIN_MESSAGES, true), (feature::ANNOUNCE, false)];
    for (name, is_read) in rows {
        for jid in grants.named(name) {
            let index = admins.iter().position(|admin| admin.jid == *jid).unwrap_or_else(|| {
                admins.push(Admin { jid: jid.clone(), read: false, write: false });
                admins.len() - 1
            });
            if let Some(admin) = admins.get_mut(index) {
                admin.read |= is_read;
                admin.write |= !is_read;
            }
        }
    }
    admins
}
