//! XEP-0133 §4.13 to §4.22: how many users there are of a kind, and who they are.
//!
//! Lists come in pages: `max_items` says how long one is, a field of ours after whom it begins.

use std::collections::BTreeSet;

use super::{ask, fault, tell};
use crate::router::command::{Call, Outcome, Severity, Stage};
use crate::router::{Context, Session};
use crate::store::account;
use crate::xmpp::StanzaError;
use crate::xmpp::data_form::{Field, FieldType};

/// How long a page is at most, for who asks for all.
const PAGE_MAX: usize = 1_000;
/// The lengths that XEP-0133 §4.18 offers, and the one that the form shows.
const LENGTHS: [usize; 6] = [25, 50, 75, 100, 150, 200];
const LENGTH: usize = 100;
/// The name after which a page begins: XEP-0133 §4.18 lets us have a field of our own.
const AFTER: &str = "{urn:jabber:config:3}after";
/// Who has sent nothing for so long is idle.
const IDLE_MILLIS: u64 = 600_000;

/// Which users.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Registered,
    Disabled,
    Online,
    Active,
    Idle,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Registered => "registered",
            Kind::Disabled => "disabled",
            Kind::Online => "online",
            Kind::Active => "active",
            Kind::Idle => "idle",
        }
    }
}

/// The local names of all that have a session that is wanted, in order.
fn names_of(context: &Context<'_>, kind: Kind, after: &str, most: usize) -> BTreeSet<String> {
    let here = context.host.name.as_str();
    let mut names = BTreeSet::new();
    for (_, session) in context.sessions.all() {
        let account = session.account();
        let Some(name) = account.node().map(|node| node.as_str()) else { continue };
        let is_wanted = || match kind {
            Kind::Active => is_active(context, session),
            // Idle is who has no session that is active.
            Kind::Idle => !context.sessions.of(account).any(|(_, other)| is_active(context, other)),
            _ => true,
        };
        if account.domain().as_str() == here && name > after && is_wanted() {
            names.insert(name.to_owned());
            if names.len() > most {
                names.pop_last();
            }
        }
    }
    names
}

/// XEP-0133 §4.16: it sent something lately.
fn is_active(context: &Context<'_>, session: &Session) -> bool {
    session.last_sent_millis.saturating_add(IDLE_MILLIS) > context.now.monotonic_millis
}

fn number(context: &mut Context<'_>, kind: Kind) -> Result<Stage, StanzaError> {
    let host = &context.host.name;
    let count = match kind {
        Kind::Registered => account::count(context.store, host)?,
        Kind::Disabled => account::count_disabled(context.store, host)?,
        _ => names_of(context, kind, "", usize::MAX).len() as u64,
    };
    let field = Field::new(FieldType::TextSingle, format!("{}usersnum", kind.word()));
    let label = format!("The number of {} users", kind.word());
    Ok(Outcome::told(tell().with(field.labelled(label).valued(count.to_string()))).into())
}

fn list(context: &mut Context<'_>, call: &Call<'_>, kind: Kind) -> Result<Stage, StanzaError> {
    let word = kind.word();
    let Some(answer) = call.forms.first() else {
        let mut length = Field::new(FieldType::ListSingle, "max_items").labelled("Maximum number of items to show");
        for offered in LENGTHS {
            length = length.offering(offered.to_string(), offered.to_string());
        }
        let after = Field::new(FieldType::TextSingle, AFTER).labelled("Only those after this name");
        let form = ask(
            &format!("Requesting list of {word} users"),
            &format!("Fill out this form to request the {word} users of this service."),
        );
        return Ok(Stage::AskLast(form.with(length.offering("None", "none").valued(LENGTH.to_string())).with(after)));
    };
    let most = match answer.value("max_items") {
        // XEP-0004 §3.5: who leaves a field out is content with what it shows.
        None => LENGTH,
        Some("none") => PAGE_MAX,
        Some(number) => number.parse().map_err(|_| fault("max_items", "it is not a number"))?,
    };
    let after = answer.value(AFTER).map(|name| name.split('@').next().unwrap_or(name)).unwrap_or_default();
    // One more than is shown, to see whether there are more.
    let wanted = most.saturating_add(1);
    let host = &context.host.name;
    let mut names: Vec<String> = match kind {
        Kind::Registered | Kind::Disabled => {
            let page = if kind == Kind::Disabled { account::list_disabled } else { account::list };
            let found = page(context.store, host, after, wanted)?;
            let name = |account: account::Account| account.jid.node().map(|node| node.as_str().to_owned());
            found.into_iter().filter_map(name).collect()
        }
        _ => names_of(context, kind, after, wanted).into_iter().collect(),
    };
    let has_more = names.len() > most;
    names.truncate(most);
    let note = names.last().filter(|_| has_more).map(|last| format!("There are more; ask for those after {last}."));
    let field =
        Field::new(FieldType::JidMulti, format!("{word}userjids")).labelled(format!("The list of {word} users"));
    let jids = names.iter().map(|name| format!("{name}@{host}"));
    let outcome = Outcome::told(tell().with(field.with_values(jids)));
    Ok(match note {
        Some(note) => outcome.with_note(Severity::Info, note),
        None => outcome,
    }
    .into())
}

macro_rules! commands {
    ($($number:ident, $list:ident: $kind:ident;)*) => {
        $(
            pub(super) fn $number(context: &mut Context<'_>, _: &Call<'_>) -> Result<Stage, StanzaError> {
                number(context, Kind::$kind)
            }
            pub(super) fn $list(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
                list(context, call, Kind::$kind)
            }
        )*
    };
}

commands! {
    registered_number, registered_list: Registered;
    disabled_number, disabled_list: Disabled;
    online_number, online_list: Online;
    active_number, active_list: Active;
    idle_number, idle_list: Idle;
}
