//! Feature switches: the names inside `<load main="jsm">`.

use std::collections::BTreeSet;

/// Modules of jabberd 1.4.2's own file. An admin who took one of these out of the list meant it.
pub const CLASSIC: &[&str] = &[
    "mod_admin",
    "mod_agents",
    "mod_announce",
    "mod_auth_digest",
    "mod_auth_plain",
    "mod_browse",
    "mod_echo",
    "mod_last",
    "mod_log",
    "mod_offline",
    "mod_presence",
    "mod_register",
    "mod_roster",
    "mod_time",
    "mod_vcard",
    "mod_version",
    "mod_xml",
];

/// Modules that came later or were never in the stock file: a list without them says nothing about them.
pub const LATER: &[&str] = &[
    "mod_commands",
    "mod_disco",
    "mod_filter",
    "mod_invite",
    "mod_ping",
    "mod_privacy",
    "mod_proxy65",
    "mod_search",
    "mod_service_admin",
    "mod_useridpolicy",
];

/// Modules that work only when named.
pub const ON_REQUEST: &[&str] = &["mod_stat"];

/// Modules of the originals that let clients from before SASL in, each with another store of passwords. We have one.
const LEGACY_LOGIN: [&str; 4] = ["mod_auth_0k", "mod_auth_crypt", "mod_auth_digest", "mod_auth_plain"];

/// Modules of the originals that have nothing to do here.
pub const RETIRED: &[&str] = &["mod_auth_0k", "mod_auth_crypt", "mod_dynamic", "mod_example", "mod_groups", "mod_test"];

/// Which modules are on.
///
/// Without `<load main="jsm">` everything is. With it, a module of jabberd 1.4.2 is on if it is named, and one that did
/// not exist then is on unless `<off>` names it: an old file must not cost its users what came after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modules {
    /// The names in `<load>`; `None` without one.
    pub named: Option<BTreeSet<String>>,
    /// The names in `<modules xmlns='urn:jabber:config:3'><off>`.
    pub off: BTreeSet<String>,
}

impl Modules {
    /// Is this module on? Names are jabber.xml's: `mod_register`.
    pub fn is_on(&self, name: &str) -> bool {
        if self.off.contains(name) {
            return false;
        }
        match &self.named {
            Some(named) if named.contains(name) => true,
            Some(_) if CLASSIC.contains(&name) => false,
            _ => !ON_REQUEST.contains(&name),
        }
    }

    /// May clients from before SASL log in with their password (XEP-0078)? One of the modules that let them is enough.
    ///
    /// Compat: a 1.4.4 with `mod_auth_crypt` alone asked for the password, as one with `mod_auth_plain` did.
    pub fn is_legacy_login_on(&self) -> bool {
        let is_named = |named: &BTreeSet<String>| {
            LEGACY_LOGIN.iter().any(|name| named.contains(*name) && !self.off.contains(*name))
        };
        self.named.as_ref().is_none_or(is_named) && !self.off.contains("mod_auth_plain")
    }
}
