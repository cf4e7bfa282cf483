//! Other servers' data into the store, and back out.
//!
//! [`jabberd14`] reads the spool of jabberd 1.4 and 1.6, and writes one. Files are read and never written: a site that
//! wants its old server back finds all as it was.
//!
//! Serves `daemon`, before the server serves. What it needs of the rooms to its right (keys from a password, the moment,
//! a place for the report) is handed in. Invariants: nothing is imported twice, no account that is here is changed, and
//! whatever is left behind stands in the report with its file and the reason.

pub mod jabberd14;
