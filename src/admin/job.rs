//! Work that is not done in one call: it goes on step by step, so that no list, however long, holds up the loop.

use super::request::Refusal;
use super::view::{Certificate, View};
use crate::stream::sasl::Outcome;
use crate::xmpp::Stanza;

/// What becomes of a command after a step.
pub enum Next {
    /// All is said and done.
    Done,
    /// It did not work; what was said on the way stands.
    Failed(Refusal),
    /// There is more: [`Event::GoOn`] comes when what was said has left, in one of the next ticks.
    More(Box<dyn Job>),
    /// What was asked for ([`super::view::Ask`]) must come first.
    Wait(Box<dyn Job>),
}

/// A command that is under way. It is dropped when its client goes away, and must leave nothing half-done then.
pub trait Job {
    /// Goes on. A step takes at most a few milliseconds: a page of a list, a hundred accounts.
    ///
    /// # Errors
    /// What the client is told as the end of its command. What the step wrote is undone.
    fn step(self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal>;
}

/// Why a job goes on.
#[derive(Debug)]
pub enum Event {
    /// What was said has left for the client.
    GoOn,
    /// Password work is done.
    Hashed(Outcome),
    /// A wait is over.
    Woken,
    /// The answer to a question ([`super::Ask::Question`]); an error if it came back.
    Answered(Stanza),
    /// A step on the way to another server ([`super::Ask::Reach`]).
    Traced(Step),
    /// What came of a thing that is done outside of the server.
    Told(Told),
}

/// What came of a thing that is done outside of the server.
#[derive(Debug)]
pub enum Told {
    /// It is done.
    Done,
    /// The configuration was read again; what of it is not in force.
    Reloaded(Vec<String>),
    /// The certificates that are shown.
    Certificates(Vec<Certificate>),
    /// The levels of the log that are in force.
    LogLevels(LogLevels),
    /// It could not be done: cause and remedy.
    Failed(String),
}

/// Which lines of the log are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevels {
    /// Of all lines that nothing else was said about.
    pub level: log::LevelFilter,
    /// Was it said since the start? Else jabber.xml or the command line says it.
    pub is_said: bool,
    /// What was said of lines about these.
    pub targets: Vec<(String, log::LevelFilter)>,
}

/// A step on the way to another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which: `dns`, `connect`, `tls`, `proof`.
    pub name: &'static str,
    /// What happened.
    pub text: String,
    /// Was it good?
    pub is_fine: bool,
    /// Is the way open now, or given up?
    pub is_last: bool,
}
