//! What a host is: the typed form of `<service id="sessions">` with its `<jsm xmlns="jabber:config:jsm">`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::access::{Grants, feature};
use super::modules::Modules;
use super::own_services::ServiceOptions;
use crate::xml::Element;
use crate::xmpp::jid::one_name;
use crate::xmpp::{BareJid, Jid, uri};

/// A domain that we serve.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// The domainpart after nameprep: a name, an IPv4 address, or an IPv6 address in brackets.
    pub name: String,
    /// Registration from a client; `None` closes it (no `<register>`, or `mod_register` not loaded).
    pub register: Option<Register>,
    /// The message that a new account finds.
    pub welcome: Option<Letter>,
    /// The server's own vCard, an element in `vcard-temp`.
    pub vcard: Option<Element>,
    /// People whom `<admin>` or an access list trusts by name; `grants` has the finer form.
    pub admins: Vec<Admin>,
    /// Who may use the administrative features, from `<admin>` and from 1.6's `<acl>`.
    pub grants: Grants,
    /// The answer to a message to the host itself, once per sender.
    pub admin_reply: Option<Letter>,
    /// Which features are switched on.
    pub modules: Modules,
    /// What a new account may be called.
    pub name_policy: NamePolicy,
    /// When the name of a removed account may be taken again.
    pub name_reuse: NameReuse,
    /// What accounts may not do with themselves.
    pub forbidden: Forbidden,
    /// Extra `identity` and `feature` elements for disco#info of the host, in `http://jabber.org/protocol/disco#info`.
    pub disco: Vec<Element>,
    /// The list of services for disco#items, jabber:iq:browse and jabber:iq:agents.
    pub browse: Vec<BrowseItem>,
    /// Answer jabber:iq:agents from the list of services.
    pub agents: bool,
    /// What jabber:iq:version answers, where the admin wants another answer than ours.
    pub version: Version,
    /// Which types of messages are kept for absent users.
    pub offline: OfflineTypes,
    /// These addresses get a copy of every presence broadcast.
    pub presence_bcc: Vec<Jid>,
    /// A vCard is also registered at the first user directory of `browse`.
    pub vcard_to_directory: bool,
    /// The services that have names of their own.
    pub services: ServiceOptions,
    /// XEP-0157: whom to turn to, in the order of [`ContactRole::ALL`]. Without a line of its own for admins, the host
    /// names those that jabber.xml does.
    pub contacts: Vec<Contact>,
    /// Invitations.
    pub invitations: Invitations,
}

impl Host {
    /// A host with the defaults that a file with nothing but `<host>` gives.
    pub fn new(name: impl Into<String>) -> Host {
        Host {
            name: name.into(),
            register: None,
            welcome: None,
            vcard: None,
            admins: Vec::new(),
            grants: Grants::default(),
            admin_reply: None,
            modules: Modules::default(),
            name_policy: NamePolicy::default(),
            name_reuse: NameReuse::AtOnce,
            forbidden: Forbidden::default(),
            disco: Vec::new(),
            browse: Vec::new(),
            agents: true,
            version: Version::default(),
            offline: OfflineTypes::default(),
            presence_bcc: Vec::new(),
            vcard_to_directory: false,
            services: ServiceOptions::default(),
            contacts: Vec::new(),
            invitations: Invitations::default(),
        }
    }

    /// The services that this account may see; nobody in particular sees what everybody does.
    pub fn services_for(&self, account: Option<&BareJid>) -> impl Iterator<Item = &BrowseItem> {
        let has = move |feature: &str| account.is_some_and(|account| self.grants.allows(account, feature));
        self.browse.iter().filter(move |item| {
            item.only_if.as_deref().is_none_or(&has) && !item.only_if_not.as_deref().is_some_and(&has)
        })
    }

    /// Who gets messages to the host and notices of new accounts, by name.
    pub fn message_admins(&self) -> Vec<&BareJid> {
        self.grants.named(feature::ADMIN_MESSAGES)
    }

    /// Who is shown as an admin in the list of services (1.6's `showasadmin`).
    pub fn shown_admins(&self) -> Vec<&BareJid> {
        self.grants.named(feature::SHOW_AS_ADMIN)
    }

    /// The addresses for one purpose, as URIs.
    pub fn contact_addresses(&self, role: ContactRole) -> Vec<String> {
        let own = || self.contacts.iter().filter(|contact| contact.role == role);
        if role != ContactRole::Admin || own().next().is_some() {
            return own().filter_map(|contact| contact.address.clone()).collect();
        }
        let shown = self.shown_admins();
        let readers = self.admins.iter().filter(|admin| admin.read);
        let named = readers.map(|admin| &admin.jid).filter(|jid| !shown.contains(jid));
        let mut addresses: Vec<String> = shown.iter().copied().chain(named).map(|jid| uri::of(jid)).collect();
        let mut seen = std::collections::BTreeSet::new();
        addresses.retain(|address| seen.insert(address.clone()));
        addresses
    }

    /// May this account see who is connected (1.4's `<read>` and `<write>`, 1.6's `listsessions`)?
    pub fn may_list_sessions(&self, account: &BareJid) -> bool {
        self.grants.allows(account, feature::LIST_SESSIONS)
    }

    /// Who may register by what jabber.xml says.
    pub fn registration_mode(&self) -> RegistrationMode {
        match &self.register {
            None => RegistrationMode::Closed,
            Some(register) if register.invite_only => RegistrationMode::Invite,
            Some(_) => RegistrationMode::Open,
        }
    }

    /// May this account administer the host (1.4's `<write>`, a grant of `administer`)?
    pub fn may_administer(&self, account: &BareJid) -> bool {
        self.grants.allows(account, feature::ADMINISTER)
    }

    /// May this account announce to everybody (1.4's `<write>`, 1.6's `motd`)?
    pub fn may_announce(&self, account: &BareJid) -> bool {
        self.grants.allows(account, feature::ANNOUNCE)
    }
}

/// What an address is for (XEP-0157 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the XEP's")]
pub enum ContactRole {
    Abuse,
    Admin,
    Feedback,
    Sales,
    Security,
    Status,
    Support,
}

impl ContactRole {
    /// All of them.
    pub const ALL: [ContactRole; 7] = [
        ContactRole::Abuse,
        ContactRole::Admin,
        ContactRole::Feedback,
        ContactRole::Sales,
        ContactRole::Security,
        ContactRole::Status,
        ContactRole::Support,
    ];

    /// Its element in `<contacts>`, and what the field of the form begins with.
    pub fn name(self) -> &'static str {
        match self {
            ContactRole::Abuse => "abuse",
            ContactRole::Admin => "admin",
            ContactRole::Feedback => "feedback",
            ContactRole::Sales => "sales",
            ContactRole::Security => "security",
            ContactRole::Status => "status",
            ContactRole::Support => "support",
        }
    }
}

/// One line of `<contacts xmlns='urn:jabber:config:3'>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// What the address is for.
    pub role: ContactRole,
    /// A URI; `None` stands for "none at all".
    pub address: Option<String>,
}

/// Who may make an account from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Everybody.
    Open,
    /// Who was invited by a user.
    Invite,
    /// Nobody, but for those whom an admin invites.
    Closed,
}

impl RegistrationMode {
    /// All of them.
    pub const ALL: [RegistrationMode; 3] = [RegistrationMode::Open, RegistrationMode::Invite, RegistrationMode::Closed];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            RegistrationMode::Open => "open",
            RegistrationMode::Invite => "invite",
            RegistrationMode::Closed => "closed",
        }
    }

    /// The mode with this name.
    pub fn of(name: &str) -> Option<RegistrationMode> {
        RegistrationMode::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// Whom users may invite, and for how long: `<invitations xmlns='urn:jabber:config:3'>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitations {
    /// Every user may invite; else only admins.
    pub by_users: bool,
    /// How long an invitation lasts.
    pub days: u32,
}

impl Invitations {
    /// The longest that an invitation may last.
    pub const DAYS_MAX: u32 = 365;
}

impl Default for Invitations {
    fn default() -> Invitations {
        Invitations { by_users: true, days: 7 }
    }
}

/// `<register>`: the form that a new user fills in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Register {
    /// The text above the form.
    pub instructions: String,
    /// The same text in other languages, by `xml:lang`.
    pub translations: Vec<(String, String)>,
    /// The fields that are asked for besides `username` and `password`, in their order: `name`, `email` …
    pub fields: Vec<String>,
    /// Every field must be filled in. 1.6 did so and 1.4 did not, and each file is treated in its own way.
    pub enforce_fields: bool,
    /// Tell the admins of each new account.
    pub notify: bool,
    /// Only who has an invitation may register: `<invite-only xmlns='urn:jabber:config:3'/>`.
    pub invite_only: bool,
    /// A web page where accounts are made, from a child `<x xmlns='jabber:x:oob'>`.
    pub oob_url: Option<String>,
}

impl Register {
    /// The instructions in the reader's language, else in the first one.
    pub fn instructions_for(&self, lang: Option<&str>) -> &str {
        let wanted = lang.map(primary_language);
        let found = self.translations.iter().find(|(lang, _)| Some(primary_language(lang)) == wanted);
        found.map_or(&self.instructions, |(_, text)| text)
    }
}

/// Subject and body of a message that the server sends by itself, perhaps in several languages.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Letter {
    /// The subject, may be empty.
    pub subject: String,
    /// The body, may be empty.
    pub body: String,
    /// The language of these two, as `xml:lang` gave it.
    pub lang: Option<String>,
    /// The same in other languages.
    pub variants: Vec<Letter>,
}

impl Letter {
    /// The variant in the reader's language, else the first one.
    pub fn for_lang(&self, lang: Option<&str>) -> &Letter {
        let wanted = lang.map(primary_language);
        let all = std::iter::once(self).chain(&self.variants);
        all.into_iter().find(|l| wanted.is_some() && l.lang.as_deref().map(primary_language) == wanted).unwrap_or(self)
    }
}

/// `de` of `de-AT`, in lower case.
fn primary_language(lang: &str) -> String {
    lang.split(['-', '_']).next().unwrap_or(lang).to_ascii_lowercase()
}

/// An account with rights over the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Who.
    pub jid: BareJid,
    /// Gets messages to the host and notices of new accounts, may list sessions.
    pub read: bool,
    /// May announce to all users.
    pub write: bool,
}

/// The rules for the localpart of a new account. Existing accounts are not measured by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePolicy {
    /// Names that nobody may take, after nodeprep.
    pub forbidden: Vec<String>,
    /// The shortest name, in characters.
    pub length_min: usize,
    /// The longest name, in characters. jabberd 1.4 cut at 64.
    pub length_max: usize,
}

impl Default for NamePolicy {
    fn default() -> NamePolicy {
        NamePolicy { forbidden: Vec::new(), length_min: 1, length_max: NamePolicy::LENGTH_MAX }
    }
}

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRefusal {
    /// Not a localpart at all, or with a character that jabberd 1.4 refused.
    Illegal,
    /// On the list of forbidden names.
    Forbidden,
    /// Shorter than this many characters.
    TooShort(usize),
    /// Longer than this many characters.
    TooLong(usize),
}

impl fmt::Display for NameRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameRefusal::Illegal => f.write_str("The name has characters that an address cannot have"),
            NameRefusal::Forbidden => f.write_str("This name is reserved"),
            NameRefusal::TooShort(least) => write!(f, "The name must have at least {least} characters"),
            NameRefusal::TooLong(most) => write!(f, "The name must have at most {most} characters"),
        }
    }
}

impl NamePolicy {
    /// The longest name unless `mod_useridpolicy` says another: where jabberd 1.4 cut.
    pub const LENGTH_MAX: usize = 64;

    /// Why a new account may not have this localpart; `None` if it may. The name is taken as typed, before nodeprep.
    pub fn refuses(&self, name: &str) -> Option<NameRefusal> {
        // RFC 7622 §3.3.1 lists the same characters; stringprep (RFC 3920 appendix A) refuses them, too.
        let illegal = |c: char| c.is_control() || c.is_whitespace() || "\"&'/:<>@".contains(c);
        let prepared = crate::xmpp::jid::NodePart::new(name).map(|node| node.as_str().to_owned());
        let Ok(prepared) = prepared else { return Some(NameRefusal::Illegal) };
        if name.chars().any(illegal) || prepared.chars().any(illegal) {
            return Some(NameRefusal::Illegal);
        }
        let length = prepared.chars().count();
        if length < self.length_min {
            return Some(NameRefusal::TooShort(self.length_min));
        }
        if length > self.length_max {
            return Some(NameRefusal::TooLong(self.length_max));
        }
        self.forbidden.contains(&prepared).then_some(NameRefusal::Forbidden)
    }
}

/// When the name of a removed account is free again (1.6's `<regtimeout>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameReuse {
    /// At once, as in 1.4.
    AtOnce,
    /// After so many seconds.
    After(u64),
    /// Never.
    Never,
}

impl NameReuse {
    /// What 1.6 did when nothing was said: half a year.
    pub const DEFAULT_SECONDS: u64 = 15_768_000;
}

/// What accounts may not do. The text is shown to the user; an empty one stands for our own words.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Forbidden {
    /// Removing the account from a client.
    pub unregister: Option<String>,
    /// Changing the data of the registration.
    pub registration_change: Option<String>,
    /// Changing the password.
    pub password_change: Option<String>,
}

/// One entry of the list of services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowseItem {
    /// `service`, `conference`, or what the attribute `category` says.
    pub category: String,
    /// What kind of that category: `icq`, `jud`, `public` …
    pub kind: String,
    /// Its address.
    pub jid: Jid,
    /// What people call it.
    pub name: String,
    /// The namespaces that it answers: `jabber:iq:register` …
    pub namespaces: Vec<String>,
    /// Only for those to whom this feature is granted (`acl:if`).
    pub only_if: Option<String>,
    /// Not for those to whom this feature is granted (`acl:ifnot`).
    pub only_if_not: Option<String>,
}

impl BrowseItem {
    /// Is it a user directory, in 1.4's words or in 1.6's?
    pub fn is_directory(&self) -> bool {
        self.kind == "jud" || (self.category == "directory" && self.kind == "user")
    }
}

/// `<mod_version>`: other answers for jabber:iq:version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Version {
    /// The name of the program.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The operating system.
    pub os: Option<String>,
}

/// Which message types wait for an absent user. RFC 6121 §8.5.2.2 keeps normal and chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the message type of its name")]
pub struct OfflineTypes {
    pub normal: bool,
    pub chat: bool,
    pub headline: bool,
    pub groupchat: bool,
    pub error: bool,
}

impl Default for OfflineTypes {
    fn default() -> OfflineTypes {
        OfflineTypes { normal: true, chat: true, ..OfflineTypes::NONE }
    }
}

impl OfflineTypes {
    /// Nothing is kept.
    pub const NONE: OfflineTypes =
        OfflineTypes { normal: false, chat: false, headline: false, groupchat: false, error: false };
}

/// The name of a host as we keep it: nameprepped, A-labels as U-labels, addresses in their usual form, IPv6 in brackets.
///
/// IPv6 addresses are taken with and without brackets (RFC 7622 §3.2 wants them).
///
/// # Errors
/// Why it is not a name, as a phrase for the admin.
pub fn host_name(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    match Jid::new(text) {
        Ok(jid) if jid.node().is_none() && jid.resource().is_none() => Ok(one_name(jid.domain().as_str()).into_owned()),
        Ok(_) => Err("a host has no '@' and no '/'".to_owned()),
        Err(_) if text.is_empty() => Err("it is empty".to_owned()),
        Err(_) => Err("a label has characters that a domain cannot have, or is empty or too long".to_owned()),
    }
}

/// Is a domain below that of a host?
pub fn is_below(domain: &str, host: &str) -> bool {
    domain.strip_suffix(host).is_some_and(|left| left.ends_with('.'))
}

/// The address that a host name is, if it is one.
pub fn host_address(name: &str) -> Option<IpAddr> {
    name.trim_start_matches('[').trim_end_matches(']').parse().ok()
}
