//! XEP-0133 §4.1 to §4.7: accounts are made, removed, barred and let in again, sessions ended, passwords changed.

use super::{account_in, accounts_in, ask, existing, fault, jids_in, one_account, some_accounts};
use crate::router::Context;
use crate::router::accounts;
use crate::router::command::{self, Call, Outcome, Severity, Stage};
use crate::store::{account, registration};
use crate::stream::sasl::Password;
use crate::xml::Element;
use crate::xmpp::data_form::{Field, FieldType, Submitted};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{BareJid, Jid, StanzaError, StreamError, ns};

/// Fields of XEP-0133 §4.1, and what XEP-0077 calls them.
const FIELDS: &[(&str, &str)] = &[("email", "email"), ("given_name", "first"), ("surname", "last")];

/// XEP-0133 §4.1.
///
/// Deviation: the password is required, for without one nobody could log in. Who shall choose it himself is invited
/// (XEP-0401).
pub(super) fn add(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let text = |kind, var, label| Field::new(kind, var).labelled(label);
        let form = ask("Adding a user", "Fill out this form to add a user.")
            .with(one_account("The Jabber ID for the account to be added"))
            .with(text(FieldType::TextPrivate, "password", "The password for this account").required())
            .with(text(FieldType::TextPrivate, "password-verify", "Retype password"))
            .with(text(FieldType::TextSingle, "email", "Email address"))
            .with(text(FieldType::TextSingle, "given_name", "Given name"))
            .with(text(FieldType::TextSingle, "surname", "Family name"));
        return Ok(Stage::AskLast(form));
    };
    let (account, warning) = new_account(context, answer)?;
    let password = password_in(context, answer)?;
    let fields = fields_in(context, answer)?;
    let admin = call.requester.to_bare();
    let finish = move |context: &mut Context<'_>, credentials: &account::Credentials| {
        // Another may have been faster.
        accounts::room_for(context, &account)?;
        let now = context.now.unix_millis;
        context.store.savepoint(|store| {
            if !account::create(store, &account, credentials, now)? {
                return Err(accounts::taken());
            }
            registration::set(store, &account, &fields.to_string())?;
            Ok::<(), StanzaError>(())
        })?;
        context.account_created(&account);
        log::info!(target: &context.host.name, "user {account} was added by {admin}");
        let outcome = Outcome::noted(format!("{account} can log in."));
        Ok(match warning {
            Some(warning) => outcome.with_note(Severity::Warn, warning),
            None => outcome,
        })
    };
    Ok(Stage::Hash(password, Box::new(finish)))
}

/// The account to be made. jabber.xml's rules for names bind who registers from a client; here they give a remark.
fn new_account(context: &Context<'_>, answer: &Submitted) -> Result<(BareJid, Option<String>), StanzaError> {
    let jid = answer.jid("accountjid").map_err(|fault| command::bad_payload(&fault))?;
    let here = &context.host.name;
    let name = jid.as_ref().filter(|jid| jid.is_bare() && jid.domain().as_str() == here).and_then(Jid::node);
    let Some(name) = name else { return Err(fault("accountjid", format!("it is no account of {here}"))) };
    let account = accounts::named(context, name.as_str())?;
    accounts::room_for(context, &account)?;
    let refusal = context.host.name_policy.refuses(name.as_str());
    Ok((account, refusal.map(|refusal| format!("From a client this name would be refused: {refusal}."))))
}

fn password_in(context: &Context<'_>, answer: &Submitted) -> Result<Password, StanzaError> {
    let text = answer.value("password").unwrap_or_default();
    if answer.has("password-verify") && answer.value("password-verify").unwrap_or_default() != text {
        return Err(fault("password-verify", "the two passwords are not the same"));
    }
    let most = context.config.limits.password_bytes_max;
    accounts::usable_password(text, most).map_err(|_| fault("password", "it is empty, too long, or not usable"))
}

/// What is kept of the form, as if the user had filled it in (XEP-0077).
fn fields_in(context: &Context<'_>, answer: &Submitted) -> Result<Element, StanzaError> {
    let most = context.config.limits.registration_field_bytes_max;
    let mut query = Element::new("query", ns::REGISTER);
    for (var, name) in FIELDS {
        let Some(value) = answer.value(var) else { continue };
        if value.len() > most {
            return Err(fault(var, format!("it has more than {most} bytes")));
        }
        query = query.with_child(Element::new(*name, ns::REGISTER).with_text(value.to_owned()));
    }
    Ok(query)
}

/// XEP-0133 §4.2.
pub(super) fn delete(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let form = ask("Deleting a user", "Fill out this form to delete a user.");
        return Ok(Stage::AskLast(form.with(some_accounts("The Jabber ID(s) to delete"))));
    };
    for account in others_in(context, call, answer)? {
        log::info!(target: &context.host.name, "user {account} is deleted by {}", call.requester.to_bare());
        accounts::remove(context, &account);
    }
    Ok(Outcome::default().into())
}

/// XEP-0133 §4.3.
pub(super) fn disable(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let form = ask("Disabling a user", "Fill out this form to disable a user.");
        return Ok(Stage::AskLast(form.with(some_accounts("The Jabber ID(s) to disable"))));
    };
    let accounts = others_in(context, call, answer)?;
    set_disabled(context, call, &accounts, true)
}

/// The accounts in a field, without the admin's own: the last one would leave nobody behind.
fn others_in(context: &Context<'_>, call: &Call<'_>, answer: &Submitted) -> Result<Vec<BareJid>, StanzaError> {
    let accounts = accounts_in(context, answer)?;
    match accounts.contains(&call.requester.to_bare()) {
        true => Err(fault("accountjids", "you would lock yourself out")),
        false => Ok(accounts),
    }
}

/// XEP-0133 §4.4.
pub(super) fn reenable(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let form = ask("Re-enable a user", "Fill out this form to re-enable a user.");
        return Ok(Stage::AskLast(form.with(some_accounts("The Jabber ID(s) to re-enable"))));
    };
    let accounts = accounts_in(context, answer)?;
    set_disabled(context, call, &accounts, false)
}

fn set_disabled(
    context: &mut Context<'_>,
    call: &Call<'_>,
    accounts: &[BareJid],
    disabled: bool,
) -> Result<Stage, StanzaError> {
    for account in accounts {
        accounts::set_disabled(context, account, disabled)?;
        let done = if disabled { "disabled" } else { "re-enabled" };
        log::info!(target: &context.host.name, "user {account} is {done} by {}", call.requester.to_bare());
    }
    Ok(Outcome::default().into())
}

/// XEP-0133 §4.5: all sessions of an account, or the one of a full JID.
pub(super) fn end_session(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let form = ask("Ending a user session", "Fill out this form to end a user's session.");
        return Ok(Stage::AskLast(form.with(some_accounts("The Jabber ID(s) for which to end sessions"))));
    };
    let jids = jids_in(answer, "accountjids")?;
    for jid in &jids {
        existing(context, "accountjids", jid)?;
    }
    let mut ended = 0_usize;
    for jid in &jids {
        let bare = jid.to_bare();
        let wanted = |full: &Jid| jid.is_bare() || full == jid;
        let sessions = context.sessions.of(&bare).filter(|(_, session)| wanted(session.jid()));
        let ids: Vec<_> = sessions.map(|(id, _)| id).collect();
        ended = ended.saturating_add(ids.len());
        for id in ids {
            context.close(id, StreamError::new(StreamCondition::Reset, "the session was ended by an administrator"));
        }
        log::info!(target: &context.host.name, "sessions of {jid} are ended by {}", call.requester.to_bare());
    }
    let said = if ended == 1 { "1 session ends.".to_owned() } else { format!("{ended} sessions end.") };
    Ok(Outcome::noted(said).into())
}

/// XEP-0133 §4.7. The account's sessions end.
pub(super) fn change_password(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let admin = call.requester.to_bare();
    let Some(answer) = call.forms.first() else {
        let password = Field::new(FieldType::TextPrivate, "password").labelled("The password for this account");
        let form = ask("Changing a user password", "Fill out this form to change a user's password.")
            .with(one_account("The Jabber ID for this account"))
            .with(password.required());
        return Ok(Stage::AskLast(form));
    };
    let account = account_in(context, answer)?;
    let password = password_in(context, answer)?;
    // The admin's own session, if it is his account, has proved itself another way.
    let own = context.requesting_session().filter(|_| account == call.requester.to_bare());
    let finish = move |context: &mut Context<'_>, credentials: &account::Credentials| {
        if !account::exists(context.store, &account)? {
            return Err(fault("accountjid", "it was removed in the meantime"));
        }
        log::info!(target: &context.host.name, "the password of user {account} is changed by {admin}");
        accounts::change_password(context, &account, credentials, own)?;
        Ok(Outcome::default())
    };
    Ok(Stage::Hash(password, Box::new(finish)))
}
