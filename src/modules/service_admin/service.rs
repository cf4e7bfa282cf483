//! XEP-0133 §4.31, and what only we have: the server stops, reads jabber.xml again, opens and closes registration.

use std::time::Duration;

use super::{ANNOUNCE, ask, fault, letters};
use crate::config::RegistrationMode;
use crate::router::command::{Call, Outcome, Severity, Stage};
use crate::router::{Context, Reread};
use crate::store::setting;
use crate::xmpp::StanzaError;
use crate::xmpp::data_form::{Field, FieldType, Form};

/// How much is told of a jabber.xml that is not perfect; error.log has all of it.
const NOTICES_MAX: usize = 20;
/// The delays that XEP-0133 §4.31 offers, in seconds.
const DELAYS: [(&str, u64); 7] = [
    ("30 seconds", 30),
    ("60 seconds", 60),
    ("90 seconds", 90),
    ("2 minutes", 120),
    ("3 minutes", 180),
    ("4 minutes", 240),
    ("5 minutes", 300),
];

/// XEP-0133 §4.31: the same end as by SIGTERM. Of two that are under way the earlier one counts.
pub(super) fn shut_down(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let can_announce = context.host.modules.is_on(ANNOUNCE);
    let Some(answer) = call.forms.first() else {
        let mut delay =
            Field::new(FieldType::ListSingle, "delay").labelled("Time delay before shutting down").required();
        for (label, seconds) in DELAYS {
            delay = delay.offering(label, seconds.to_string());
        }
        let form = ask("Shutting down the service", "Fill out this form to shut down the service.")
            .with(delay)
            .with_fields(can_announce.then(|| Field::lines("announcement", "").labelled("Announcement")));
        return Ok(Stage::AskLast(form));
    };
    let seconds = answer.number("delay").ok().flatten().and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = seconds.ok_or_else(|| fault("delay", "it is not a number"))?;
    let text = answer.text("announcement");
    let mut outcome = Outcome::noted(format!("The server stops in {seconds} seconds."));
    if !text.trim().is_empty() {
        if can_announce {
            letters::carry(context, "online", Some(text))?;
        } else {
            outcome = outcome.with_note(Severity::Warn, "mod_announce is not loaded: nobody is told.");
        }
    }
    context.stop_after(Duration::from_secs(seconds));
    log::warn!(target: &context.host.name, "{} shuts the server down in {seconds} seconds", call.requester.to_bare());
    Ok(outcome.into())
}

/// The node of what opens and closes registration, and its form.
pub(super) const REGISTRATION: &str = "urn:jabber:config:3#registration";

/// Who may register, over what jabber.xml says.
pub(super) fn registration(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let mode = setting::registration(context.store, context.host)?;
        let field = Field::new(FieldType::ListSingle, "registration")
            .labelled("Who may make an account")
            .required()
            .offering("Everybody", RegistrationMode::Open.name())
            .offering("Whom a user invited", RegistrationMode::Invite.name())
            .offering("Whom an administrator invited", RegistrationMode::Closed.name())
            .offering("As jabber.xml says", "default")
            .valued(mode.name());
        // XEP-0068 §3.4: the field is ours, and so is the form.
        let form = Form::ask(REGISTRATION).titled("Registration");
        return Ok(Stage::AskLast(form.instructed("Choose who may make an account from a client.").with(field)));
    };
    let host = &context.host.name;
    match answer.value("registration").and_then(RegistrationMode::of) {
        Some(mode) => setting::set(context.store, host, setting::REGISTRATION, mode.name())?,
        None => drop(setting::remove(context.store, host, setting::REGISTRATION)?),
    }
    let mode = setting::registration(context.store, context.host)?;
    log::info!(target: host, "{} sets registration to {}", call.requester.to_bare(), mode.name());
    Ok(Outcome::noted(format!("Registration is {}.", mode.name())).into())
}

/// jabber.xml is read again, as by SIGHUP.
pub(super) fn reload(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    log::info!(target: &context.host.name, "{} has jabber.xml read again", call.requester.to_bare());
    Ok(Stage::Reload(reread))
}

/// XEP-0050 §3.6: what failed is completed, with a note that says so.
fn reread(context: &Context<'_>, what: Reread) -> Outcome {
    let not_in_force = match what {
        Ok(not_in_force) => not_in_force,
        Err(why) => {
            let text = format!("jabber.xml cannot be used, and what was in force stays: {why}");
            return Outcome::default().with_note(Severity::Error, text);
        }
    };
    let notices = context.config.notices.iter().map(ToString::to_string).chain(not_in_force).take(NOTICES_MAX);
    notices
        .fold(Outcome::noted("jabber.xml was read again."), |outcome, notice| outcome.with_note(Severity::Warn, notice))
}
