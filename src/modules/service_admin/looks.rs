//! XEP-0133 §4.8 to §4.10: a look at a user.

use super::{account_in, accounts_in, ask, fault, one_account, some_accounts, tell};
use crate::router::Context;
use crate::router::command::{Call, Outcome, Severity, Stage};
use crate::store::roster::RosterItem;
use crate::store::{invite, last, roster};
use crate::xml::Element;
use crate::xmpp::data_form::{Field, FieldType};
use crate::xmpp::{BareJid, StanzaError, datetime, ns};

/// XEP-0133 §4.8. One at a time: a roster may be long.
pub(super) fn roster(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let form = ask("Getting a user's roster", "Fill out this form to get a user's roster.");
        return Ok(Stage::AskLast(form.with(some_accounts("The Jabber ID for which to retrieve the roster"))));
    };
    let accounts = accounts_in(context, answer)?;
    let [account] = accounts.as_slice() else { return Err(fault("accountjids", "rosters are shown one at a time")) };
    let items = roster::items(context.store, account)?;
    let count = items.iter().filter(|item| item.visible).count();
    let shown = context.fitting(items.iter().filter(|item| item.visible).map(RosterItem::to_element));
    let note = (shown.len() < count).then(|| format!("The first {} of {count} contacts.", shown.len()));
    let query = Element::new("query", ns::ROSTER).with_children(shown);
    let form = tell().with(Field::new(FieldType::JidMulti, "accountjids").valued(account.as_str())).beside(query);
    log::info!(target: &context.host.name, "the roster of {account} is shown to {}", call.requester.to_bare());
    let outcome = Outcome::told(form);
    let outcome = note.into_iter().fold(outcome, |outcome, note| outcome.with_note(Severity::Warn, note));
    Ok(outcome.into())
}

/// XEP-0133 §4.9.
///
/// Deviation: of an account that was imported, and not used since, only the end of the last visit is known. A note says so.
pub(super) fn last_login(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let label = "The Jabber ID(s) for which to retrieve the last login time";
        let form = ask("Getting a user's last login time", "Fill out this form to get a user's last login time.");
        return Ok(Stage::AskLast(form.with(some_accounts(label))));
    };
    let (mut jids, mut times, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for account in accounts_in(context, answer)? {
        let left = last::visit(context.store, &account)?.map(datetime::stamp);
        let login = last::login(context.store, &account)?.map(datetime::stamp);
        let (time, note) = match (opened(context, &account), login, left) {
            (Some(opened), ..) => (datetime::stamp(opened), format!("{account} is online.")),
            (None, Some(login), Some(left)) => (login, format!("{account} left at {left}.")),
            (None, None, Some(left)) => (left, format!("{account} left then; the login is not known.")),
            (None, _, None) => (String::new(), format!("{account} was never here.")),
        };
        jids.push(account.as_str().to_owned());
        times.push(time);
        notes.push(note);
    }
    let form = tell()
        .with(Field::new(FieldType::JidMulti, "accountjids").with_values(jids))
        .with(Field::new(FieldType::TextMulti, "lastlogin").with_values(times));
    let outcome = notes.into_iter().fold(Outcome::told(form), |outcome, note| outcome.with_note(Severity::Info, note));
    Ok(outcome.into())
}

/// When the newest session of an account was opened, in Unix milliseconds.
fn opened(context: &Context<'_>, account: &BareJid) -> Option<u64> {
    let newest = context.sessions.of(account).map(|(_, session)| session.opened_millis()).max()?;
    let ago = context.now.monotonic_millis.saturating_sub(newest);
    Some(context.now.unix_millis.saturating_sub(ago))
}

/// XEP-0133 §4.10: what is known. Logins per minute are not counted.
pub(super) fn statistics(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let form = ask("Get user statistics", "Fill out this form to gather user statistics.");
        return Ok(Stage::AskLast(form.with(one_account("The Jabber ID for statistics"))));
    };
    let account = account_in(context, answer)?;
    let (mut addresses, mut resources, mut hundredths) = (Vec::new(), Vec::new(), 0_u64);
    for (_, session) in context.sessions.of(&account) {
        resources.push(session.jid().resource().as_str().to_owned());
        addresses.extend(session.peer.map(|peer| peer.to_string()).filter(|peer| !addresses.contains(peer)));
        let millis = context.now.monotonic_millis.saturating_sub(session.opened_millis()).max(1_000);
        hundredths = hundredths.saturating_add(session.sent.saturating_mul(100_000) / millis);
    }
    let text = |var: &str, value: String| Field::new(FieldType::TextSingle, var).valued(value);
    let mut form = tell()
        .with(Field::new(FieldType::ListMulti, "ipaddresses").labelled("IP addresses").with_values(addresses))
        .with(text("rostersize", roster::count(context.store, &account)?.to_string()).labelled("Roster size"))
        .with(Field::new(FieldType::TextMulti, "onlineresources").labelled("Online resources").with_values(resources))
        .with(
            text("stanzaspersecond", format!("{}.{:02}", hundredths / 100, hundredths % 100))
                .labelled("Stanzas per second"),
        );
    if let Some(inviter) = invite::inviter_of(context.store, &account)? {
        form = form.with(text("{urn:jabber:config:3}inviter", inviter.to_string()).labelled("Invited by"));
    }
    Ok(Outcome::told(form).into())
}
