//! XEP-0050: the commands of a host, as modules declare them in [`super::About::commands`].
//!
//! A command is a row: its node, its name, who may use it, and a function that is called anew at each stage with all
//! forms that were filled in so far. While it asks it must change nothing: who goes a step back is asked again.

use super::context::Context;
use super::module::Reread;
use crate::store::account::Credentials;
use crate::stream::sasl::Password;
use crate::xml::Element;
use crate::xmpp::data_form::{Fault, Form, Submitted};
use crate::xmpp::{BareJid, Condition, ErrorType, FullJid, StanzaError, ns};

/// One command.
pub struct Command {
    /// Its node, unique at the host (XEP-0050 §3.2).
    pub node: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// May this account use it? Who may not does not see it either.
    pub may: fn(&Context<'_>, &BareJid) -> bool,
    /// jabber.xml's name of the module that does the work, if it is another: without it there is no such command.
    pub needs: Option<&'static str>,
    /// The next stage.
    pub stage: fn(&mut Context<'_>, &Call<'_>) -> Result<Stage, StanzaError>,
}

/// Whom a stage is for, and what is known by now.
pub struct Call<'a> {
    /// The session that asks, of an account of ours.
    pub requester: &'a FullJid,
    /// What was filled in, a form for each [`Stage`] that asked; the engine has judged each by the form it answers.
    pub forms: &'a [Submitted],
    /// What the form showed that was filled in last, as [`Stage::AskLastOf`] gave it.
    pub shown: &'a [String],
}

/// What a stage comes to.
pub enum Stage {
    /// A form; another stage comes behind it.
    Ask(Form),
    /// The last form.
    AskLast(Form),
    /// The last form, and what it shows: it is remembered in [`Call::shown`], for a client need not send it back, and
    /// others may change it meanwhile.
    AskLastOf(Form, Vec<String>),
    /// The command is done.
    Done(Outcome),
    /// A password is turned into keys first, and this is done with them.
    Hash(Password, Finish),
    /// jabber.xml is read again, and this is said of it.
    Reload(fn(&Context<'_>, Reread) -> Outcome),
}

/// What is done with the keys of a password.
pub type Finish = Box<dyn FnOnce(&mut Context<'_>, &Credentials) -> Result<Outcome, StanzaError>>;

/// What the requester is told at the end.
#[derive(Debug, Default)]
pub struct Outcome {
    pub(crate) form: Option<Form>,
    pub(crate) notes: Vec<(Severity, String)>,
}

/// XEP-0050 §4.3: how serious a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// All is well.
    Info,
    /// Something is odd.
    Warn,
    /// It did not work.
    Error,
}

impl Severity {
    /// The value of the attribute `type`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        }
    }
}

impl Outcome {
    /// A result with data.
    pub fn told(form: Form) -> Outcome {
        Outcome { form: Some(form), notes: Vec::new() }
    }

    /// A result with a remark.
    pub fn noted(text: impl Into<String>) -> Outcome {
        Outcome::default().with_note(Severity::Info, text)
    }

    /// The same result with one more remark.
    #[must_use]
    pub fn with_note(mut self, severity: Severity, text: impl Into<String>) -> Outcome {
        self.notes.push((severity, text.into()));
        self
    }
}

impl From<Outcome> for Stage {
    fn from(outcome: Outcome) -> Stage {
        Stage::Done(outcome)
    }
}

/// XEP-0050 §4.4: a request that cannot be carried out as it stands, with the XEP's own condition.
pub fn bad_request(specific: &'static str, text: impl Into<String>) -> StanzaError {
    StanzaError::new(Condition::BadRequest, text).with_specific(Element::new(specific, ns::COMMANDS))
}

/// XEP-0050 §4.4: a form that does not answer what was asked.
pub fn bad_payload(fault: &Fault) -> StanzaError {
    bad_request("bad-payload", fault.to_string())
}

/// XEP-0050 §4.4: the session is over.
pub fn expired() -> StanzaError {
    let text = "This command was completed, canceled, waited too long, or gave way to newer ones; start it again.";
    StanzaError::new(Condition::NotAllowed, text).with_specific(Element::new("session-expired", ns::COMMANDS))
}

/// XEP-0050 §4.4: not for this requester. The type is that document's, not RFC 6120's.
pub fn forbidden() -> StanzaError {
    StanzaError::new(Condition::Forbidden, "You may not use this command.").typed(ErrorType::Cancel)
}
