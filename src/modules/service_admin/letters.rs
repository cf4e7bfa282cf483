//! XEP-0133 §4.23 to §4.28: words for all users. mod_announce carries announcements, by the addresses it has for them.

use super::{ask, fault};
use crate::router::Context;
use crate::router::command::{Call, Outcome, Severity, Stage};
use crate::store::{motd, setting};
use crate::xml::Element;
use crate::xmpp::data_form::{Field, Submitted};
use crate::xmpp::{Condition, Jid, MessageType, Stanza, StanzaError, jid, ns};

/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 10_000;

/// The text in a field.
fn text_in(answer: &Submitted, var: &str) -> Result<String, StanzaError> {
    let text = answer.text(var);
    match text.trim().len() {
        0 => Err(fault(var, "it is empty")),
        1..=TEXT_BYTES_MAX => Ok(text),
        _ => Err(fault(var, format!("it has more than {TEXT_BYTES_MAX} bytes"))),
    }
}

/// Hands a text to mod_announce, in the host's own name.
pub(super) fn carry(context: &mut Context<'_>, way: &str, text: Option<String>) -> Result<(), StanzaError> {
    let host = jid::of_host(&context.host.name).ok_or(Condition::InternalServerError)?;
    let to = Jid::new(&format!("{}/announce/{way}", context.host.name)).map_err(|_| Condition::InternalServerError)?;
    let body = text.map(|text| Element::new("body", ns::CLIENT).with_text(text));
    let message = Stanza::message(MessageType::Normal)
        .map_element(|element| element.with_children(body))
        .with_from(host)
        .with_to(to);
    context.route(message);
    Ok(())
}

/// XEP-0133 §4.23.
pub(super) fn announce(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let instructions = "Fill out this form to make an announcement to all active users of this service.";
        let field = Field::lines("announcement", "").labelled("Announcement").required();
        return Ok(Stage::AskLast(ask("Making an announcement", instructions).with(field)));
    };
    let text = text_in(answer, "announcement")?;
    carry(context, "online", Some(text))?;
    log::info!(target: &context.host.name, "{} announces to all who are online", call.requester.to_bare());
    Ok(Outcome::default().into())
}

/// XEP-0133 §4.24.
pub(super) fn set_motd(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let title = "Setting the message of the day";
    write_motd(context, call, title, "Fill out this form to set the message of the day.", "motd")
}

/// XEP-0133 §4.25: users who saw the old one are not shown the new one.
pub(super) fn edit_motd(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let title = "Editing the message of the day";
    write_motd(context, call, title, "Fill out this form to edit the message of the day.", "motd/update")
}

fn write_motd(
    context: &mut Context<'_>,
    call: &Call<'_>,
    title: &str,
    instructions: &str,
    way: &str,
) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        // XEP-0133 §4.25: the form to edit it has the present one.
        let kept = motd::of(context.store, &context.host.name)?.filter(|_| way == "motd/update");
        let kept = kept.and_then(|motd| Stanza::from_text(&motd.stanza));
        let body = kept.as_ref().and_then(|kept| kept.child("body", ns::CLIENT)).map(|body| body.text().into_owned());
        let field = Field::lines("motd", &body.unwrap_or_default()).labelled("Message of the day").required();
        return Ok(Stage::AskLast(ask(title, instructions).with(field)));
    };
    let text = text_in(answer, "motd")?;
    carry(context, way, Some(text))?;
    log::info!(target: &context.host.name, "{} sets the message of the day", call.requester.to_bare());
    Ok(Outcome::default().into())
}

/// XEP-0133 §4.26.
pub(super) fn delete_motd(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    carry(context, "motd/delete", None)?;
    log::info!(target: &context.host.name, "{} deletes the message of the day", call.requester.to_bare());
    Ok(Outcome::default().into())
}

/// XEP-0133 §4.27: it goes over jabber.xml's `<welcome>`, and its subject stays that of jabber.xml.
pub(super) fn set_welcome(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let set = setting::of(context.store, &context.host.name, setting::WELCOME)?;
        let from_file = || context.host.welcome.as_ref().map(|letter| letter.body.clone());
        let now = set.or_else(from_file).unwrap_or_default();
        let field = Field::lines("welcome", &now).labelled("Welcome message").required();
        let instructions = "Fill out this form to set the welcome message for this service.";
        return Ok(Stage::AskLast(ask("Setting the welcome message", instructions).with(field)));
    };
    let text = text_in(answer, "welcome")?;
    setting::set(context.store, &context.host.name, setting::WELCOME, &text)?;
    log::info!(target: &context.host.name, "{} sets the welcome message", call.requester.to_bare());
    Ok(Outcome::default().into())
}

/// XEP-0133 §4.28.
pub(super) fn delete_welcome(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    // An empty one, for without any jabber.xml's would be back.
    setting::set(context.store, &context.host.name, setting::WELCOME, "")?;
    log::info!(target: &context.host.name, "{} deletes the welcome message", call.requester.to_bare());
    let outcome = Outcome::default();
    Ok(match context.host.welcome {
        Some(_) => outcome.with_note(Severity::Info, "The one in jabber.xml is not sent any more either."),
        None => outcome,
    }
    .into())
}
