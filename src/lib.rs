//! The map of the house: an XMPP server, one room per line. Code imports downwards only, in this order.
//!
//! - [`xml`]: letters: bytes into XML elements and back.
//! - [`xmpp`]: words: JIDs, stanzas, errors, time stamps.
//! - [`config`]: the admin's wishes: jabber.xml and the command line, read into typed values.
//! - [`store`]: all that must outlive the process, in one SQLite file. The only room with SQL.
//! - [`import`]: other servers' data into the store, and back out.
//! - [`stream`]: one XML stream's talk: header, TLS, login, binding, stanzas.
//! - [`http`]: one HTTP connection's talk: what was asked, what is answered.
//! - [`router`]: a stanza's way, the sessions, and the trait by which features join.
//! - [`modules`]: the features, a row each.
//! - [`admin`]: what jabberctl can ask of a running server, a row each.
//! - [`server`]: the whole server as one plain value.
//! - [`net`]: the roof: sockets, TLS, the clock and dice, and the one loop.
//! - [`daemon`]: the process: logs, users, signals, certificate files.

pub mod admin;
pub mod config;
pub mod daemon;
pub mod http;
pub mod import;
pub mod modules;
pub mod net;
pub mod router;
pub mod server;
pub mod store;
pub mod stream;
pub mod xml;
pub mod xmpp;
