//! Accounts: made, changed, looked at, removed.

use serde_json::json;

use super::command::{Argument, Column, Command, Does, Kind, Shows, Unit};
use super::job::{Event, Job, Next};
use super::request::{Refusal, Request};
use super::view::{Ask, View};
use crate::router::{Effect, Session};
use crate::store::account::{self, Credentials};
use crate::store::{invite, last, offline, roster};
use crate::stream::sasl::{HashJob, Outcome};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{BareJid, StreamError};

pub(super) const ACCOUNT: Argument = Argument::needed("account", Kind::Account, "the account, name@host");

/// Accounts in one page of the list.
const PAGE: usize = 200;

/// `user add`.
pub const ADD: Command = Command {
    name: "user add",
    arguments: &[ACCOUNT],
    summary: "make an account",
    details: "The password is asked for, or is the first line of standard input. The rules for names in jabber.xml bind \
              who registers from a client; here they give a remark.",
    examples: &[
        ("jabberctl user add romeo@example.org", "asks for the password twice"),
        ("pwgen -s 20 1 | jabberctl user add romeo@example.org", "takes it from another program"),
    ],
    secret: Some("password"),
    changes: true,
    does: Does::Server(add),
    ..Command::NONE
};

/// `user passwd`.
pub const PASSWD: Command = Command {
    name: "user passwd",
    arguments: &[ACCOUNT],
    summary: "give an account another password",
    details: "Its sessions end: they were opened with the old one. The password is asked for, or is the first line of \
              standard input.",
    examples: &[("jabberctl user passwd romeo@example.org", "asks for the password twice")],
    secret: Some("password"),
    changes: true,
    does: Does::Server(passwd),
    ..Command::NONE
};

/// `user delete`.
pub const DELETE: Command = Command {
    name: "user delete",
    arguments: &[ACCOUNT],
    summary: "remove an account with all its data",
    details: "Its sessions end, its contacts are told that they are none any more, and all that is kept for it goes: as \
              when people remove their accounts themselves.",
    examples: &[("jabberctl --yes user delete romeo@example.org", "without a question, for scripts")],
    destroys: Some("all that is kept for the account goes, and this cannot be undone"),
    changes: true,
    does: Does::Server(delete),
    ..Command::NONE
};

/// `user list`.
pub const LIST: Command = Command {
    name: "user list",
    arguments: &[Argument::optional("host", Kind::Host, "only those of this host")],
    summary: "list the accounts",
    examples: &[
        ("jabberctl user list example.org", "those of one host"),
        ("jabberctl --json user list | jq -r '.[] | select(.disabled) | .account'", "those that are disabled"),
    ],
    shows: Shows::Table(&[
        Column::text("account", "Account"),
        Column::of("created", "Created", Unit::Moment),
        Column::of("last_seen", "Last seen", Unit::Seen),
        Column::number("sessions", "Sessions"),
        Column::of("disabled", "Disabled", Unit::YesNo),
    ]),
    does: Does::Server(list),
    ..Command::NONE
};

/// `user info`.
pub const INFO: Command = Command {
    name: "user info",
    arguments: &[ACCOUNT],
    summary: "show what is known of an account",
    examples: &[("jabberctl user info romeo@example.org", "who, since when, where from, what waits")],
    shows: Shows::Record(&[
        Column::text("account", "Account"),
        Column::of("created", "Created", Unit::Moment),
        Column::of("disabled", "Disabled", Unit::YesNo),
        Column::of("last_seen", "Last seen", Unit::Seen),
        Column::text("resources", "Resources"),
        Column::number("contacts", "Contacts"),
        Column::number("requests", "Requests waiting"),
        Column::number("offline_messages", "Messages waiting"),
        Column::of("offline_bytes", "Their size", Unit::Bytes),
    ]),
    does: Does::Server(info),
    ..Command::NONE
};

/// `user disable`.
pub const DISABLE: Command = Command {
    name: "user disable",
    arguments: &[ACCOUNT],
    summary: "let nobody log in to an account; its data stay",
    details: "Its sessions end, logins are refused with account-disabled, and messages to it come back to their senders. \
              The roster and all that is kept stay.",
    examples: &[("jabberctl user disable romeo@example.org", "until user enable")],
    changes: true,
    does: Does::Server(disable),
    ..Command::NONE
};

/// `user enable`.
pub const ENABLE: Command = Command {
    name: "user enable",
    arguments: &[ACCOUNT],
    summary: "let people log in to an account again",
    examples: &[("jabberctl user enable romeo@example.org", "takes user disable back")],
    changes: true,
    does: Does::Server(enable),
    ..Command::NONE
};

/// The account, if it is there.
pub(super) fn known(view: &View<'_>, request: &Request) -> Result<account::Account, Refusal> {
    let jid = request.account("account")?;
    let found = account::account(view.store, &jid)?;
    found.ok_or_else(|| unknown(&jid))
}

pub(super) fn unknown(account: &BareJid) -> Refusal {
    let host = account.domain();
    Refusal::not_found(format!("there is no account {account}")).remedy(format!("see jabberctl user list {host}"))
}

fn add(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let account = request.account("account")?;
    let password = request.password()?;
    new_name(view, &account)?;
    let job = HashJob::derive(0, password, view.random);
    view.ask(Ask::Hash(job));
    Ok(Next::Wait(Box::new(Add { account })))
}

/// May there be such an account?
fn new_name(view: &View<'_>, account: &BareJid) -> Result<(), Refusal> {
    let host = account.domain().as_str();
    if account::exists(view.store, account)? {
        return Err(there_already(account));
    }
    let most = view.config.limits.accounts_per_host_max;
    if account::count(view.store, host)? >= most as u64 {
        return Err(Refusal::refused(format!("{host} has {most} accounts, and may have no more"))
            .remedy("raise <accounts-per-host-max>, see jabber.xml(5)"));
    }
    Ok(())
}

fn there_already(account: &BareJid) -> Refusal {
    Refusal::conflict(format!("{account} is there already"))
        .remedy(format!("to change its password: jabberctl user passwd {account}"))
}

struct Add {
    account: BareJid,
}

impl Job for Add {
    fn step(self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal> {
        let Some(credentials) = derived(event)? else { return Ok(Next::Wait(self)) };
        let account = self.account;
        if !account::create(view.store, &account, &credentials, view.now.unix_millis)? {
            return Err(there_already(&account));
        }
        let localpart = account.node().map(|node| node.as_str()).unwrap_or_default();
        let policy = view.config.host(account.domain().as_str()).map(|host| &host.name_policy);
        if let Some(refusal) = policy.and_then(|policy| policy.refuses(localpart)) {
            view.answer.note(format!("from a client this name would be refused: {refusal}"));
        }
        if invite::reserves(view.store, &account, view.now.unix_millis)? {
            view.answer.note(format!(
                "{account} was kept for who has an invitation, which is of no use now: jabberctl invite list"
            ));
        }
        view.carry_out(Effect::AccountCreated(account.clone()));
        view.say(format!("{account} can log in"));
        Ok(Next::Done)
    }
}

/// The keys that password work made; none, if something else happened.
fn derived(event: Event) -> Result<Option<Credentials>, Refusal> {
    match event {
        Event::Hashed(Outcome::Derived(credentials)) => Ok(Some(credentials)),
        Event::Hashed(_) => {
            Err(Refusal::busy("too many passwords are being worked on").remedy("try again in a minute"))
        }
        _ => Ok(None),
    }
}

fn passwd(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let account = known(view, request)?.jid;
    let job = HashJob::derive(0, request.password()?, view.random);
    view.ask(Ask::Hash(job));
    Ok(Next::Wait(Box::new(Passwd { account })))
}

struct Passwd {
    account: BareJid,
}

impl Job for Passwd {
    fn step(self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal> {
        let Some(credentials) = derived(event)? else { return Ok(Next::Wait(self)) };
        let account = self.account;
        if !account::exists(view.store, &account)? {
            return Err(
                Refusal::not_found(format!("{account} was removed meanwhile")).remedy("nothing is left to be changed")
            );
        }
        account::set_credentials(view.store, &account, &credentials)?;
        let error = StreamError::new(StreamCondition::Reset, "the password was changed");
        view.carry_out(Effect::CloseAccount { account: account.clone(), except: None, error });
        view.say(format!("{account} has a new password"));
        Ok(Next::Done)
    }
}

fn delete(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let account = known(view, request)?.jid;
    let error = StreamError::new(StreamCondition::NotAuthorized, "the account was removed");
    view.carry_out(Effect::CloseAccount { account: account.clone(), except: None, error });
    view.carry_out(Effect::DeleteAccount(account.clone()));
    if account::exists(view.store, &account)? {
        return Err(Refusal::failed(format!("{account} could not be removed")).remedy("the log says why"));
    }
    view.say(format!("{account} is gone"));
    Ok(Next::Done)
}

fn list(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let hosts = match request.has("host") {
        true => vec![request.domain("host")?],
        false => view.config.hosts.iter().rev().map(|host| host.name.clone()).collect(),
    };
    Box::new(List { hosts, after: String::new() }).step(view, Event::GoOn)
}

/// The hosts that are left, the next one last, and the account of it that was told last.
struct List {
    hosts: Vec<String>,
    after: String,
}

impl Job for List {
    fn step(mut self: Box<Self>, view: &mut View<'_>, _: Event) -> Result<Next, Refusal> {
        let Some(host) = self.hosts.last() else { return Ok(Next::Done) };
        let page = account::list(view.store, host, &self.after, PAGE)?;
        for found in &page {
            let sessions = view.router.sessions().count(&found.jid);
            view.answer.row(json!({
                "account": found.jid.as_str(),
                "created": found.created_unix_millis / 1000,
                "last_seen": last_seen(view, &found.jid)?,
                "online": sessions > 0,
                "sessions": sessions,
                "disabled": found.disabled,
            }));
        }
        match page.last().and_then(|found| found.jid.node()) {
            Some(node) if page.len() == PAGE => self.after = node.as_str().to_owned(),
            _ => {
                self.hosts.pop();
                self.after.clear();
            }
        }
        if self.hosts.is_empty() { Ok(Next::Done) } else { Ok(Next::More(self)) }
    }
}

fn info(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let found = known(view, request)?;
    let sessions = view.router.sessions().of(&found.jid);
    let resources: Vec<String> = sessions.map(|(_, session)| resource(session)).collect();
    let waiting = offline::total(view.store, &found.jid)?;
    view.answer.row(json!({
        "account": found.jid.as_str(),
        "created": found.created_unix_millis / 1000,
        "disabled": found.disabled,
        "last_seen": last_seen(view, &found.jid)?,
        "online": !resources.is_empty(),
        "resources": resources,
        "contacts": roster::count(view.store, &found.jid)?,
        "requests": roster::pending_in(view.store, &found.jid)?.len(),
        "offline_messages": waiting.messages,
        "offline_bytes": waiting.bytes,
    }));
    Ok(Next::Done)
}

/// When somebody was logged in to an account, in Unix seconds: now, if somebody is.
fn last_seen(view: &View<'_>, account: &BareJid) -> Result<Option<u64>, Refusal> {
    if view.router.sessions().count(account) > 0 {
        return Ok(Some(view.now.unix_seconds()));
    }
    Ok(last::visit(view.store, account)?.map(|unix_millis| unix_millis / 1000))
}

fn resource(session: &Session) -> String {
    session.jid().resource().as_str().to_owned()
}

fn disable(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let found = known(view, request)?;
    if found.disabled {
        view.answer.note(format!("{} was disabled already", found.jid));
    }
    account::set_disabled(view.store, &found.jid, true)?;
    let error = StreamError::new(StreamCondition::NotAuthorized, "the account is disabled");
    view.carry_out(Effect::CloseAccount { account: found.jid.clone(), except: None, error });
    view.say(format!("{} is disabled", found.jid));
    Ok(Next::Done)
}

fn enable(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let found = known(view, request)?;
    if !found.disabled {
        view.answer.note(format!("{} was not disabled", found.jid));
    }
    account::set_disabled(view.store, &found.jid, false)?;
    view.say(format!("{} can log in", found.jid));
    Ok(Next::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_its_own_work_ends_a_command() {
        for other in [Event::GoOn, Event::Woken] {
            assert!(matches!(derived(other), Ok(None)));
        }
        assert!(derived(Event::Hashed(Outcome::Busy)).is_err());
    }
}
