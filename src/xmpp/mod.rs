//! Words: the types of XMPP, parsed once and never again.
//!
//! Namespaces, JIDs, stanzas, their errors, stream errors, time stamps. Types and grammar only: nothing here knows of
//! sockets, accounts or the clock; time and random numbers are handed in as values.
//!
//! Serves every room below. Invariant: a [`Stanza`] has addresses that passed stringprep, a known type, and content in
//! `jabber:client`, whichever stream it came from.

pub mod data_form;
pub mod datetime;
pub mod delay;
pub mod directory;
pub mod filter;
pub mod jid;
pub mod ns;
pub mod privacy;
pub mod random;
pub mod stanza;
pub mod stanza_error;
pub mod stream_error;
pub mod uri;

pub use self::jid::{BareJid, FullJid, Jid};
pub use datetime::Now;
pub use random::Random;
pub use stanza::{Iq, IqType, Kind, MessageType, PresenceType, Stanza};
pub use stanza_error::{Condition, ErrorType, StanzaError};
pub use stream_error::StreamError;
