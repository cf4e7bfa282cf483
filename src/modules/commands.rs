//! XEP-0050: Ad-Hoc Commands: the engine. The commands themselves are rows in the modules that offer them.
//!
//! | a session has | the requester may | it comes to |
//! |---|---|---|
//! | asked, more to come | next, prev (not at first), cancel; execute is next | the stage behind, or before |
//! | asked the last | complete, prev (not at first), cancel; execute is complete | the end |
//! | ended | nothing: `<session-expired/>` | |
//!
//! Sessions live in memory only: what a command does it does at its end, at once, or when a password is turned into keys;
//! then its requester is looked at again. Only reading jabber.xml again takes longer than the request.

mod sessions;

use std::collections::HashMap;

use self::sessions::{Sessions, Under};
use crate::router::command::{self, Call, Command, Finish, Outcome, Stage};
use crate::router::{About, Answers, Context, Module, Pending, Reply, Reread, Scope, SessionEvent, SessionId, Wake};
use crate::stream::sasl::{self, HashJob};
use crate::xml::Element;
use crate::xmpp::data_form::{self, Form, FormKind, Submitted};
use crate::xmpp::{Condition, FullJid, Iq, IqType, StanzaError, ns};

/// Commands whose password is being worked on, or that wait for jabber.xml; with more, the next is told to come back.
const WAITING_MAX: usize = 50;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::<Commands>::default()
}

#[derive(Default)]
struct Commands {
    sessions: Sessions,
    waiting: HashMap<u64, Waiting>,
    next_token: u64,
}

/// A command whose answer is not there yet. Its session is as it was before the form that was filled in last.
struct Waiting {
    pending: Pending,
    owner: SessionId,
    head: Head,
    then: Then,
}

/// What it does when that is there for which it waits.
enum Then {
    /// The keys of a password.
    Keys(Finish),
    /// What came of reading jabber.xml again.
    Reread(fn(&Context<'_>, Reread) -> Outcome),
}

/// What each answer about one session begins with.
#[derive(Clone)]
struct Head {
    node: &'static str,
    session: String,
}

/// One request, of somebody who may make it.
struct Asked<'a> {
    iq: &'a Iq<'a>,
    command: &'static Command,
    action: Action,
    session: SessionId,
    requester: FullJid,
    head: Head,
}

/// XEP-0050 §4.1: what the requester wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Execute,
    Next,
    Prev,
    Complete,
    Cancel,
}

impl Action {
    fn of(command: &Element) -> Result<Action, StanzaError> {
        Ok(match command.attribute("action") {
            None | Some("execute") => Action::Execute,
            Some("next") => Action::Next,
            Some("prev") => Action::Prev,
            Some("complete") => Action::Complete,
            Some("cancel") => Action::Cancel,
            Some(_) => return Err(command::bad_request("malformed-action", "There is no such action.")),
        })
    }
}

impl Module for Commands {
    fn about(&self) -> &'static About {
        &About {
            specs: &["XEP-0050 1.3.0", "XEP-0004 2.13.2"],
            disco: &[ns::COMMANDS],
            answers: &[Answers { scope: &[Scope::Server], kind: IqType::Set, ns: ns::COMMANDS, name: "command" }],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let request = iq.payload();
        let session = context.requesting_session().ok_or_else(command::forbidden)?;
        let node = request.attribute("node").ok_or(Condition::BadRequest)?;
        let (command, jid) = admitted(context, node, session)?;
        speaks_english(request)?;
        let action = Action::of(request)?;
        let known = request.attribute("sessionid");
        let id = known.map_or_else(|| context.random.token(), str::to_owned);
        let head = Head { node: command.node, session: id };
        let asked = Asked { iq, command, action, session, requester: jid, head };
        if known.is_some() { self.go_on(context, &asked) } else { self.begin(context, &asked) }
    }

    fn woke(&mut self, context: &mut Context<'_>, wake: Wake) -> Result<(), StanzaError> {
        let token = match &wake {
            Wake::Hashed(result) => result.token,
            Wake::Reread(token, _) => *token,
            Wake::Timer(_) => return Ok(()),
        };
        let Some(Waiting { pending, owner, head, then }) = self.waiting.remove(&token) else { return Ok(()) };
        let done = match (then, wake) {
            // Who was an admin when he asked may be none by now.
            (Then::Keys(finish), Wake::Hashed(result)) => {
                admitted(context, head.node, owner).and_then(|_| match result.outcome {
                    sasl::Outcome::Derived(credentials) => finish(context, &credentials),
                    _ => Err(busy()),
                })
            }
            (Then::Reread(told), Wake::Reread(_, what)) => Ok(told(context, what)),
            _ => return Ok(()),
        };
        // XEP-0050 §3.3: only what is completed ends a session. What was refused may be said otherwise.
        if done.is_ok() {
            self.sessions.end(&head.session, owner);
        }
        context.answer_later(&pending, done.map(|outcome| Some(head.completed(&outcome))));
        Ok(())
    }

    fn session(&mut self, _: &mut Context<'_>, session: SessionId, event: &SessionEvent) -> Result<(), StanzaError> {
        if *event == SessionEvent::Ended {
            self.sessions.forget(session);
            self.waiting.retain(|_, waiting| waiting.owner != session);
        }
        Ok(())
    }
}

impl Commands {
    /// XEP-0050 §3.3: a command without a session begins one. What it carries besides is not looked at: nothing was asked.
    fn begin(&mut self, context: &mut Context<'_>, asked: &Asked<'_>) -> Result<Reply, StanzaError> {
        if asked.action != Action::Execute {
            return Err(command::bad_request("bad-action", "A command begins with \"execute\"."));
        }
        let mut under = Under::new(context, asked.head.node, asked.session, asked.requester.to_bare());
        let stage = asked.stage(context, &mut under)?;
        if let Stage::Ask(_) | Stage::AskLast(_) | Stage::AskLastOf(..) = stage {
            self.sessions.open(context, &asked.head.session, under)?;
        }
        self.answer_with(context, asked, 0, stage)
    }

    fn go_on(&mut self, context: &mut Context<'_>, asked: &Asked<'_>) -> Result<Reply, StanzaError> {
        let Head { node, session: id } = &asked.head;
        let mut under = self.sessions.take(context, id, node, asked.session)?;
        let done = self.step(context, asked, &mut under);
        match done {
            // What could not be done as it was said may be said again.
            Err(_) => self.sessions.put_back(context, id, under),
            Ok((_, true)) => self.sessions.end(id, asked.session),
            Ok((_, false)) => self.sessions.put_back(context, id, under),
        }
        done.map(|(reply, _)| reply)
    }

    /// One action in a session; true if the session ends with it.
    fn step(
        &mut self,
        context: &mut Context<'_>,
        asked: &Asked<'_>,
        under: &mut Under,
    ) -> Result<(Reply, bool), StanzaError> {
        if asked.action == Action::Cancel || is_given_up(asked.iq.payload()) {
            return Ok((asked.head.to_element("canceled").into(), true));
        }
        let (form, is_last) = asked.form(context, under)?;
        match (asked.action, is_last) {
            (Action::Prev, _) => return back(context, asked, under),
            (Action::Next, true) => return Err(bad_action("\"complete\"")),
            (Action::Complete, false) => return Err(bad_action("\"next\"")),
            _ => {}
        }
        let answer = filled_in(asked.iq.payload(), &form, context.config.limits.command_bytes_max, under)?;
        under.forms.push(answer);
        let stage = asked.stage(context, under);
        let is_over = matches!(stage, Ok(Stage::Done(_)));
        let is_later = matches!(stage, Ok(Stage::Hash(..) | Stage::Reload(_)));
        let reply = stage.and_then(|stage| self.answer_with(context, asked, under.forms.len(), stage));
        // A password is not kept longer than it takes, and what comes of it is not known yet.
        if reply.is_err() || is_later {
            under.forms.pop();
        }
        Ok((reply?, is_over))
    }

    fn answer_with(
        &mut self,
        context: &mut Context<'_>,
        asked: &Asked<'_>,
        stages_before: usize,
        stage: Stage,
    ) -> Result<Reply, StanzaError> {
        let head = &asked.head;
        match stage {
            Stage::Ask(form) => Ok(head.executing(&form, stages_before, false).into()),
            Stage::AskLast(form) | Stage::AskLastOf(form, _) => Ok(head.executing(&form, stages_before, true).into()),
            Stage::Done(outcome) => Ok(head.completed(&outcome).into()),
            Stage::Hash(password, finish) => {
                let token = self.wait(context, asked, Then::Keys(finish))?;
                let job = HashJob::derive(token, password, context.random);
                context.hash(job);
                Ok(Reply::Later)
            }
            Stage::Reload(told) => {
                let token = self.wait(context, asked, Then::Reread(told))?;
                context.reload(token);
                Ok(Reply::Later)
            }
        }
    }

    /// Keeps a request that is answered later, if there is room; by this number it is found again.
    fn wait(&mut self, context: &Context<'_>, asked: &Asked<'_>, then: Then) -> Result<u64, StanzaError> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(busy());
        }
        self.next_token += 1;
        let (pending, owner, head) = (context.keep(asked.iq), asked.session, asked.head.clone());
        self.waiting.insert(self.next_token, Waiting { pending, owner, head, then });
        Ok(self.next_token)
    }
}

/// The command of this node, and who asks for it, if he may use it: an account of ours, by a session that is there.
fn admitted(context: &Context<'_>, node: &str, session: SessionId) -> Result<(&'static Command, FullJid), StanzaError> {
    let jid = context.sessions.by_id(session).map(|session| session.jid().clone()).ok_or_else(command::forbidden)?;
    let command = context.commands().find(|command| command.node == node).ok_or_else(|| unknown(node))?;
    match (command.may)(context, &jid.to_bare()) {
        true => Ok((command, jid)),
        false => Err(command::forbidden()),
    }
}

impl Asked<'_> {
    /// What the command says after the forms that were filled in so far.
    fn stage(&self, context: &mut Context<'_>, under: &mut Under) -> Result<Stage, StanzaError> {
        let mut stage = self.look(context, under)?;
        if let Stage::AskLastOf(_, shown) = &mut stage {
            under.shown = std::mem::take(shown);
        }
        Ok(stage)
    }

    fn look(&self, context: &mut Context<'_>, under: &Under) -> Result<Stage, StanzaError> {
        let call = Call { requester: &self.requester, forms: &under.forms, shown: &under.shown };
        (self.command.stage)(context, &call)
    }

    /// What it asks after them, and whether it is the last it asks.
    fn form(&self, context: &mut Context<'_>, under: &Under) -> Result<(Form, bool), StanzaError> {
        match self.look(context, under)? {
            Stage::Ask(form) => Ok((form, false)),
            Stage::AskLast(form) | Stage::AskLastOf(form, _) => Ok((form, true)),
            // A command that does not ask any more what it asked before.
            Stage::Done(_) | Stage::Hash(..) | Stage::Reload(_) => Err(command::expired()),
        }
    }
}

/// XEP-0050 §2.4.2: the stage before, as it was filled in.
fn back(context: &mut Context<'_>, asked: &Asked<'_>, under: &mut Under) -> Result<(Reply, bool), StanzaError> {
    let Some(before) = under.forms.pop() else {
        return Err(command::bad_request("bad-action", "This is the first form already."));
    };
    let (form, is_last) = asked.form(context, under)?;
    Ok((asked.head.executing(&form.remembering(&before), under.forms.len(), is_last).into(), false))
}

impl Head {
    fn to_element(&self, status: &'static str) -> Element {
        Element::new("command", ns::COMMANDS)
            .with_attribute("node", self.node)
            .with_attribute("sessionid", self.session.clone())
            .with_attribute("status", status)
            .with_attribute("xml:lang", "en")
    }

    /// XEP-0050 §3.4: a form, and the actions that may follow it.
    fn executing(&self, form: &Form, stages_before: usize, is_last: bool) -> Element {
        let element = |name: &'static str| Element::new(name, ns::COMMANDS);
        let onward = if is_last { "complete" } else { "next" };
        let back = (stages_before > 0).then(|| element("prev"));
        let actions =
            element("actions").with_attribute("execute", onward).with_children(back).with_child(element(onward));
        self.to_element("executing").with_child(actions).with_child(form.to_element())
    }

    fn completed(&self, outcome: &Outcome) -> Element {
        let note = |(severity, text): &(command::Severity, String)| {
            Element::new("note", ns::COMMANDS).with_attribute("type", severity.name()).with_text(text.clone())
        };
        self.to_element("completed")
            .with_children(outcome.notes.iter().map(note))
            .with_children(outcome.form.as_ref().map(Form::to_element))
    }
}

/// Was the form given up?
///
/// Deviation: XEP-0050 §3.5.1 takes a form that is canceled for one that is filled in. Compat: libpurple's button to cancel
/// sends such a form without a field and without an action; taken for filled in, it would do what nobody wanted.
fn is_given_up(request: &Element) -> bool {
    let form = request.child("x", ns::DATA_FORMS).filter(|form| data_form::kind_of(form) == Some(FormKind::Cancel));
    request.attribute("action").is_none() && form.is_some_and(|form| form.children().next().is_none())
}

/// The form in a request, if it answers what was asked.
fn filled_in(request: &Element, asked: &Form, bytes_max: usize, under: &Under) -> Result<Submitted, StanzaError> {
    let form = request.child("x", ns::DATA_FORMS);
    let form = form.ok_or_else(|| command::bad_request("bad-payload", "The form is missing."))?;
    // XEP-0050 §3.5.1: a form that is canceled counts as one that is filled in.
    let is_answer = matches!(data_form::kind_of(form), Some(FormKind::Submit | FormKind::Cancel));
    if !is_answer {
        return Err(command::bad_request("bad-payload", "This is not a form that was filled in."));
    }
    let answer = Submitted::fields_of(form).map_err(|fault| command::bad_payload(&fault))?;
    asked.judge(&answer).map_err(|fault| command::bad_payload(&fault))?;
    let kept: usize = under.forms.iter().map(Submitted::bytes).sum();
    if kept.saturating_add(answer.bytes()) > bytes_max {
        let text = format!("The form is too long: {bytes_max} bytes are allowed.");
        return Err(command::bad_request("bad-payload", text));
    }
    Ok(answer)
}

/// A node that is no command.
fn unknown(node: &str) -> StanzaError {
    match node.strip_prefix(ns::SERVICE_ADMIN) {
        // XEP-0133 §5: one of its commands that is not there.
        Some(_) => StanzaError::new(Condition::FeatureNotImplemented, "This server does not have this command."),
        None => Condition::ItemNotFound.into(),
    }
}

/// XEP-0050 §3.7: all texts are in English.
///
/// Deviation: the language of the iq around it is not refused, though §3.7 would have it so: clients set that of their user
/// on everything they send, and an admin would be shut out for it. The answer says which language it is in.
fn speaks_english(request: &Element) -> Result<(), StanzaError> {
    let lang = request.attribute("xml:lang").unwrap_or("en");
    let primary = lang.split('-').next().unwrap_or_default();
    match primary.eq_ignore_ascii_case("en") {
        true => Ok(()),
        false => Err(command::bad_request("bad-locale", "Commands are in English only.")),
    }
}

fn bad_action(instead: &str) -> StanzaError {
    command::bad_request("bad-action", format!("Here only {instead}, \"prev\" and \"cancel\" go on."))
}

fn busy() -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint, "The server is busy; try again in a minute.")
}
