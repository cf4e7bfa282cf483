//! The table of modules: every feature is one row, and the order of the rows is the order of the calls.
//!
//! A row is jabber.xml's name for the module and the function that makes it. jabber.xml switches rows on and off; it does
//! not reorder them. A row whose place matters says why.
//!
//! Serves `server/`, which hands the table to the router. Invariant: modules do not know one another.

mod admin;
mod agents;
mod announce;
mod browse;
mod bytestreams;
mod commands;
mod disco;
mod echo;
mod invite;
mod last;
mod offline;
mod ping;
mod presence;
mod privacy;
mod private;
mod register;
pub mod roster;
mod search;
mod service_admin;
mod stat;
mod time;
mod vcard;
mod version;

use crate::router::Module;

/// One row: jabber.xml's name, and what makes the module.
type Row = (&'static str, fn() -> Box<dyn Module>);

const MODULES: &[Row] = &[
    // Before all others: what may not pass changes nothing and is answered by nobody (XEP-0016 §2.2).
    ("mod_privacy", privacy::new),
    ("mod_roster", roster::new),
    ("mod_presence", presence::new),
    ("mod_register", register::new),
    ("mod_offline", offline::new),
    ("mod_last", last::new),
    ("mod_vcard", vcard::new),
    ("mod_xml", private::new),
    ("mod_search", search::new),
    ("mod_proxy65", bytestreams::new),
    ("mod_commands", commands::new),
    ("mod_service_admin", service_admin::new),
    ("mod_invite", invite::new),
    ("mod_disco", disco::new),
    ("mod_browse", browse::new),
    ("mod_agents", agents::new),
    ("mod_echo", echo::new),
    ("mod_announce", announce::new),
    ("mod_admin", admin::new),
    ("mod_stat", stat::new),
    ("mod_version", version::new),
    ("mod_time", time::new),
    ("mod_ping", ping::new),
];

/// The modules, made.
pub fn table() -> Vec<(&'static str, Box<dyn Module>)> {
    MODULES.iter().map(|(name, make)| (*name, make())).collect()
}
