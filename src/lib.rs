//! The map of the house: an XMPP server, one room per paragraph. Code imports downwards only, in this order.

/// Letters: bytes into XML elements and back.
pub mod xml;

/// Words: JIDs, stanzas, errors, time stamps.
pub mod xmpp;

/// The admin's wishes: jabber.xml and the command line, read into typed values.
pub mod config;

/// All that must outlive the process, in one SQLite file. The only room with SQL.
pub mod store;

/// Other servers' data into the store, and back out.
pub mod import;

/// One XML stream's talk: header, TLS, login, binding, stanzas.
pub mod stream;

/// A stanza's way, the sessions, and the trait by which features join.
pub mod router;

/// The features, a row each.
pub mod modules;

/// The whole server as one plain value.
pub mod server;

/// The roof: sockets, TLS, the clock and dice, and the one loop.
pub mod net;

/// The process: logs, users, signals, certificate files.
pub mod daemon;
