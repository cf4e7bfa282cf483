//! Invitations: who has one makes an account, or becomes a contact (XEP-0401).

use serde_json::json;

use super::command::{Argument, Column, Command, Does, Kind, Shows, Unit};
use super::job::Next;
use super::request::{Refusal, Request};
use super::view::View;
use crate::config::{Host, Invitations};
use crate::store::account;
use crate::store::invite::{self, Invite};
use crate::xmpp::jid::DomainPart;
use crate::xmpp::{BareJid, uri};

/// How often an invitation may be used at most.
const USES_MAX: u64 = 1_000;
/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// `invite create`.
pub const CREATE: Command = Command {
    name: "invite create",
    arguments: &[
        Argument::optional("host", Kind::Host, "where; without, at the first host"),
        Argument::option("name", Kind::Name, "the name that the account must have; it is kept for who is invited"),
        Argument::option("inviter", Kind::Account, "an account that becomes a contact of the new one"),
        Argument::option("days", Kind::Number, "how long it lasts; without, as jabber.xml says"),
        Argument::option("uses", Kind::Number, "how many accounts can be made with it; without, one"),
    ],
    summary: "invite somebody to make an account",
    details: "The address is for who is invited: it opens in a client that knows invitations, even where registration is \
              closed. On a terminal it is shown as a QR code, too. It is shown once: only its hash is kept.",
    examples: &[
        ("jabberctl invite create", "an invitation for one account of any name; jabberctl invite is the same"),
        (
            "jabberctl invite create --name juliet --inviter romeo@example.org",
            "for juliet, who finds romeo in her list",
        ),
        ("jabberctl invite create --uses 30 --days 2", "for a class"),
    ],
    shows: Shows::Record(&[
        Column::of("uri", "Invitation", Unit::Link),
        Column::text("id", "Id"),
        Column::of("expires", "Until", Unit::Moment),
    ]),
    changes: true,
    is_usual: true,
    does: Does::Server(create),
    ..Command::NONE
};

/// `invite list`.
pub const LIST: Command = Command {
    name: "invite list",
    arguments: &[Argument::optional("host", Kind::Host, "only of this host; without, of all")],
    summary: "list the invitations that can still be used",
    details: "The newest thousand of each host; those of users, too.",
    examples: &[("jabberctl invite list", "who may still come")],
    shows: Shows::Table(&[
        Column::text("id", "Id"),
        Column::text("host", "Host"),
        Column::text("inviter", "From"),
        Column::text("name", "Name"),
        Column::of("account", "Account", Unit::YesNo),
        Column::number("uses", "Uses"),
        Column::of("expires", "Until", Unit::Moment),
    ]),
    does: Does::Server(list),
    ..Command::NONE
};

/// `invite revoke`.
pub const REVOKE: Command = Command {
    name: "invite revoke",
    arguments: &[Argument::needed("id", Kind::Name, "the invitation, as invite list shows it")],
    summary: "take an invitation back",
    examples: &[("jabberctl invite revoke 3f9a0c5d11e8b270", "nobody comes with it any more")],
    changes: true,
    does: Does::Server(revoke),
    ..Command::NONE
};

fn create(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let host = host(view, request)?;
    let inviter = if request.has("inviter") { Some(request.account("inviter")?) } else { None };
    if let Some(inviter) = &inviter {
        let is_here = inviter.domain().as_str() == host.name;
        if !is_here || !account::exists(view.store, inviter)? {
            return Err(Refusal::not_found(format!("there is no account {inviter} at {}", host.name))
                .remedy(format!("see jabberctl user list {}", host.name)));
        }
    }
    let uses = within(request, "uses", 1, USES_MAX)?;
    let localpart = if request.has("name") { free_name(view, &host, request.text("name"))? } else { String::new() };
    if uses > 1 && !localpart.is_empty() {
        return Err(Refusal::usage("one name makes one account: --uses and --name do not go together"));
    }
    let days = within(request, "days", u64::from(host.invitations.days), u64::from(Invitations::DAYS_MAX))?;
    let now = view.now.unix_millis;
    let most = view.config.limits.invitations_per_host_max;
    if invite::count(view.store, &host.name, None, now)? >= most as u64 {
        return Err(Refusal::refused(format!("{} has {most} invitations that are not used yet", host.name))
            .remedy("revoke some: jabberctl invite list; or raise <invitations-per-host-max>, see jabber.xml(5)"));
    }
    let token = view.random.token();
    let made = Invite {
        id: String::new(),
        host: host.name.clone(),
        befriends: inviter.is_some(),
        inviter,
        localpart,
        registers: true,
        for_contact: false,
        by_server: true,
        created: now,
        expires: now.saturating_add(days.saturating_mul(DAY)),
        uses: u32::try_from(uses).unwrap_or(1),
    };
    let id = invite::create(view.store, &token, &made)?;
    view.answer.row(json!({
        "uri": uri::register(&made.localpart, &made.host, &token),
        "id": id,
        "expires": made.expires / 1000,
    }));
    if !["mod_invite", "mod_register"].iter().all(|name| host.modules.is_on(name)) {
        view.answer.note("mod_invite or mod_register is switched off in jabber.xml: nobody can use it");
    }
    Ok(Next::Done)
}

/// The host that is named, or the first.
fn host(view: &View<'_>, request: &Request) -> Result<Host, Refusal> {
    let name = if request.has("host") { Some(request.domain("host")?) } else { None };
    let host = view.config.hosts.iter().find(|host| name.as_ref().is_none_or(|name| *name == host.name));
    host.cloned().ok_or_else(|| Refusal::not_found("this host is not served here").remedy("see jabberctl status"))
}

fn within(request: &Request, name: &str, usual: u64, most: u64) -> Result<u64, Refusal> {
    match request.number(name) {
        None => Ok(usual),
        Some(number) if (1..=most).contains(&number) => Ok(number),
        Some(_) => Err(Refusal::usage(format!("--{name} is a number from 1 to {most}"))),
    }
}

/// A name that who is invited can have.
fn free_name(view: &mut View<'_>, host: &Host, name: &str) -> Result<String, Refusal> {
    let account: Option<BareJid> = DomainPart::new(&host.name).ok().and_then(|domain| domain.with_node_str(name).ok());
    let account = account.ok_or_else(|| Refusal::usage(format!("\"{name}\" cannot be a name")))?;
    if let Some(refusal) = host.name_policy.refuses(name) {
        return Err(Refusal::refused(format!("nobody can register this name: {refusal}"))
            .remedy("make the account yourself: jabberctl user add; or see <mod_useridpolicy> in jabber.xml(5)"));
    }
    if account::exists(view.store, &account)? {
        return Err(Refusal::conflict(format!("{account} is there already"))
            .remedy("invite under another name, or none: who is invited chooses one then"));
    }
    if invite::reserves(view.store, &account, view.now.unix_millis)? {
        return Err(Refusal::conflict(format!("{account} is invited already")).remedy("see jabberctl invite list"));
    }
    Ok(account.node().map(|node| node.as_str().to_owned()).unwrap_or_default())
}

/// Rows of one host.
const LIST_MAX: usize = 1_000;

fn list(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let only = if request.has("host") { Some(request.domain("host")?) } else { None };
    let hosts = view.config.hosts.iter().map(|host| host.name.clone());
    let hosts: Vec<String> = hosts.filter(|host| only.as_ref().is_none_or(|only| only == host)).collect();
    for host in hosts {
        let now = view.now.unix_millis;
        let older = invite::count(view.store, &host, None, now)?.saturating_sub(LIST_MAX as u64);
        if older > 0 {
            view.answer.note(format!("{host}: {older} older ones are not listed"));
        }
        for invite in invite::list(view.store, &host, None, now, LIST_MAX)? {
            view.answer.row(json!({
                "id": invite.id,
                "host": invite.host,
                "inviter": invite.inviter.map(|inviter| inviter.to_string()),
                "name": Some(invite.localpart).filter(|name| !name.is_empty()),
                "account": invite.registers,
                "uses": invite.uses,
                "expires": invite.expires / 1000,
            }));
        }
    }
    Ok(Next::Done)
}

fn revoke(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let id = request.text("id");
    let hosts: Vec<String> = view.config.hosts.iter().map(|host| host.name.clone()).collect();
    for host in hosts {
        if invite::revoke(view.store, &host, id)? {
            view.say(format!("{id} is revoked"));
            return Ok(Next::Done);
        }
    }
    Err(Refusal::not_found(format!("there is no invitation {id}")).remedy("see jabberctl invite list"))
}
