//! The table of modules: every feature is one row, and the order of the rows is the order of the calls.
//!
//! A row is jabber.xml's name for the module and the function that makes it. jabber.xml switches rows on and off; it does
//! not reorder them. A row whose place matters says why.
//!
//! Serves `server/`, which hands the table to the router. Invariant: modules do not know one another.

use crate::router::Module;

/// One row: jabber.xml's name, and what makes the module.
type Row = (&'static str, fn() -> Box<dyn Module>);

const MODULES: &[Row] = &[];

/// The modules, made.
pub fn table() -> Vec<(&'static str, Box<dyn Module>)> {
    MODULES.iter().map(|(name, make)| (*name, make())).collect()
}
