//! XEP-0401: Ad-hoc Account Invitation Generation: users invite friends, admins invite people to accounts.
//!
//! Only the commands are here. Who comes with an invitation is dealt with where it comes: a new account by mod_register
//! (XEP-0445), a subscription by mod_roster (XEP-0379). A token is told once, to whom asked for it.

use crate::config::RegistrationMode;
use crate::router::accounts;
use crate::router::command::{self, Call, Command, Outcome, Severity, Stage};
use crate::router::{About, Context, Module};
use crate::store::invite::{self, Invite};
use crate::store::setting;
use crate::xmpp::data_form::{Fault, Field, FieldType, Form};
use crate::xmpp::{BareJid, Condition, StanzaError, datetime, ns, uri};

/// How often an invitation may be used at most.
const USES_MAX: i64 = 100;
/// One in so many of the invitations that a host may have is kept for its admins.
const KEPT_PART: usize = 10;
/// A node of ours, for what the XEP does not have.
const LIST: &str = "urn:jabber:config:3#invitations";
/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Invitations)
}

struct Invitations;

const COMMANDS: &[Command] = &[
    Command {
        node: "urn:xmpp:invite#invite",
        name: "Invite somebody",
        may: may_invite,
        needs: None,
        stage: invite_stage,
    },
    Command {
        node: "urn:xmpp:invite#create-account",
        name: "Invite somebody to an account",
        may: may_create,
        // XEP-0401 §2: who could make no account is not invited to one.
        needs: Some("mod_register"),
        stage: create_stage,
    },
    Command { node: LIST, name: "Invitations that are not used yet", may: may_invite, needs: None, stage: list_stage },
];

impl Module for Invitations {
    fn about(&self) -> &'static About {
        &About { specs: &["XEP-0401 0.6.0"], commands: COMMANDS, ..About::NONE }
    }
}

fn may_invite(context: &Context<'_>, account: &BareJid) -> bool {
    account.domain().as_str() == context.host.name
        && (context.host.invitations.by_users || may_create(context, account))
}

fn may_create(context: &Context<'_>, account: &BareJid) -> bool {
    account.domain().as_str() == context.host.name && context.host.may_administer(account)
}

/// XEP-0401 §5.1: an invitation, at once.
fn invite_stage(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let inviter = call.requester.to_bare();
    let mode = setting::registration(context.store, context.host)?;
    let registers = context.host.modules.is_on("mod_register")
        && (mode != RegistrationMode::Closed || may_create(context, &inviter));
    let days = context.host.invitations.days;
    let wish = Wish { localpart: String::new(), for_contact: true, registers, befriends: true, uses: 1, days };
    let (token, made) = make(context, &inviter, &wish)?;
    Ok(told(&uri::roster(&inviter, &token, registers), &made).into())
}

/// XEP-0401 §5.4: an invitation to an account, by a form.
fn create_stage(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let Some(answer) = call.forms.first() else {
        let days = context.host.invitations.days;
        let form = Form::ask(ns::INVITATION)
            .titled("An invitation to an account")
            .instructed("Whoever gets the invitation makes the account, and chooses the password.")
            .with(Field::new(FieldType::TextSingle, "username").labelled("Username").described("Empty: any free name."))
            .with(Field::boolean("roster-subscription", false).labelled("You become contacts"))
            .with(
                Field::new(FieldType::TextSingle, "{urn:jabber:config:3}days")
                    .labelled("Days it lasts")
                    .within(1, i64::from(crate::config::Invitations::DAYS_MAX))
                    .valued(days.to_string()),
            )
            .with(
                Field::new(FieldType::TextSingle, "{urn:jabber:config:3}uses")
                    .labelled("Accounts that can be made with it")
                    .within(1, USES_MAX)
                    .valued("1"),
            );
        return Ok(Stage::AskLast(form));
    };
    let fault = |fault| command::bad_payload(&fault);
    let number = |var, usual: u32| {
        answer.number(var).map_err(fault).map(|n| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(usual))
    };
    let localpart = match answer.value("username") {
        None => String::new(),
        Some(name) => free_name(context, name.trim())?,
    };
    let uses = number("{urn:jabber:config:3}uses", 1)?;
    if uses > 1 && !localpart.is_empty() {
        return Err(fault(Fault::new("{urn:jabber:config:3}uses", "one name makes one account")));
    }
    let wish = Wish {
        for_contact: false,
        registers: true,
        befriends: answer.boolean("roster-subscription").map_err(fault)?.unwrap_or(false),
        days: number("{urn:jabber:config:3}days", context.host.invitations.days)?,
        uses,
        localpart,
    };
    let (token, made) = make(context, &call.requester.to_bare(), &wish)?;
    Ok(told(&uri::register(&made.localpart, &made.host, &token), &made).into())
}

/// A name that the invited can have.
fn free_name(context: &Context<'_>, name: &str) -> Result<String, StanzaError> {
    if let Some(refusal) = context.host.name_policy.refuses(name) {
        return Err(command::bad_payload(&Fault::new("username", refusal.to_string())));
    }
    let account = accounts::named(context, name)?;
    accounts::room_for(context, &account)?;
    if accounts::is_kept(context, &account, None)? {
        return Err(accounts::taken());
    }
    Ok(account.node().map(|node| node.as_str().to_owned()).unwrap_or_default())
}

/// What an invitation is to be good for.
struct Wish {
    localpart: String,
    for_contact: bool,
    registers: bool,
    befriends: bool,
    uses: u32,
    days: u32,
}

fn make(context: &mut Context<'_>, inviter: &BareJid, wish: &Wish) -> Result<(String, Invite), StanzaError> {
    let now = context.now.unix_millis;
    let (limits, host) = (&context.config.limits, &context.host.name);
    let full = |most: usize, whose: Option<&BareJid>| -> Result<bool, StanzaError> {
        Ok(invite::count(context.store, host, whose, now)? >= most as u64)
    };
    let all = limits.invitations_per_host_max;
    // What is kept for admins and jabberctl, users cannot fill.
    let of_host = if may_create(context, inviter) { all } else { all.saturating_sub(all.div_ceil(KEPT_PART)) };
    if full(limits.invitations_per_account_max, Some(inviter))? || full(of_host, None)? {
        let text = "Too many invitations are not used yet; revoke some, or wait until they expire.";
        return Err(StanzaError::new(Condition::ResourceConstraint, text));
    }
    let token = context.random.token();
    let mut made = Invite {
        id: String::new(),
        host: context.host.name.clone(),
        inviter: Some(inviter.clone()),
        localpart: wish.localpart.clone(),
        registers: wish.registers,
        befriends: wish.befriends,
        for_contact: wish.for_contact,
        by_server: false,
        created: now,
        expires: now.saturating_add(u64::from(wish.days).saturating_mul(DAY)),
        uses: wish.uses,
    };
    made.id = invite::create(context.store, &token, &made)?;
    log::info!(target: &context.host.name, users = "invitations", by:% = inviter;
        "{inviter} made invitation={}", made.id);
    Ok((token, made))
}

/// XEP-0401 §5.1: the result.
fn told(uri: &str, made: &Invite) -> Outcome {
    let text = |var, value: String| Field::new(FieldType::TextSingle, var).valued(value);
    Outcome::told(
        Form::tell(ns::INVITATION)
            .with(text("uri", uri.to_owned()))
            .with(text("expire", datetime::stamp(made.expires))),
    )
}

/// The invitations that can still be used: one's own, for an admin all of the host. One of them may be revoked.
fn list_stage(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let account = call.requester.to_bare();
    let is_admin = may_create(context, &account);
    let whose = (!is_admin).then_some(&account);
    let (host, now) = (&context.host.name, context.now.unix_millis);
    let Some(answer) = call.forms.first() else {
        let newest = invite::list(context.store, host, whose, now, LIST_MAX)?;
        if newest.is_empty() {
            return Ok(Outcome::noted("There are no invitations that can still be used.").into());
        }
        let mut field = Field::new(FieldType::ListSingle, "invitation").labelled("Invitation").required();
        for invite in &newest {
            field = field.offering(described(invite), invite.id.clone());
        }
        let all = invite::count(context.store, host, whose, now)?;
        let instructions = match all > newest.len() as u64 {
            true => format!("Choose one to revoke it. These are the newest {} of {all}.", newest.len()),
            false => "Choose one to revoke it.".to_owned(),
        };
        return Ok(Stage::Ask(Form::ask(LIST).titled("Invitations").instructed(instructions).with(field)));
    };
    let id = answer.value("invitation").unwrap_or_default();
    let chosen = invite::by_id(context.store, host, whose, id, now)?;
    match (call.forms.len(), chosen) {
        (_, None) => Err(command::bad_payload(&Fault::new("invitation", "it was used, revoked, or has expired"))),
        (1, Some(invite)) => {
            let form = Form::ask(LIST)
                .titled("Revoke an invitation")
                .with(Field::new(FieldType::Fixed, "").valued(described(&invite)))
                .with(Field::boolean("revoke", false).labelled("Revoke it").required());
            Ok(Stage::AskLast(form))
        }
        (_, Some(invite)) => {
            let is_meant = call.forms.last().and_then(|form| form.boolean("revoke").ok().flatten()).unwrap_or(false);
            if !is_meant {
                return Ok(Outcome::default().with_note(Severity::Warn, "It was not revoked.").into());
            }
            invite::revoke(context.store, &context.host.name, &invite.id)?;
            log::info!(target: &context.host.name, users = "revoked invitations", by:% = account;
                "{account} revoked invitation={}", invite.id);
            Ok(Outcome::noted("The invitation is revoked.").into())
        }
    }
}

/// How many invitations are shown at a time, the newest.
const LIST_MAX: usize = 200;

/// One invitation in a line.
fn described(invite: &Invite) -> String {
    let whose = invite.inviter.as_ref().map_or_else(|| "the server".to_owned(), BareJid::to_string);
    let what = match (invite.registers, invite.localpart.as_str()) {
        (true, "") if invite.for_contact => "an account or contact".to_owned(),
        (true, "") => "an account".to_owned(),
        (true, name) => format!("the account {name}"),
        (false, _) => "a contact".to_owned(),
    };
    let times = if invite.uses > 1 { format!(", {} times", invite.uses) } else { String::new() };
    format!("{} from {whose}: {what}{times}, until {}", invite.id, datetime::stamp(invite.expires))
}
