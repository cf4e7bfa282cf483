//! XEP-0133: Service Administration, for those whom jabber.xml's `<admin>` lets write or to whom `administer` is granted.
//!
//! | not here | why |
//! |---|---|
//! | get-user-password | nobody knows it: only keys are kept (and the XEP took it back) |
//! | edit-whitelist | the server has blocks, and no list of who alone may come |
//! | edit-admin | jabber.xml names the admins: who steals a session for an hour must not stay one |
//! | restart | whoever started the process can start it again; it cannot itself |
//!
//! Each of them gets XEP-0133 §5's `<feature-not-implemented/>`, as do those whose module is off. All commands are about the host that is asked; only
//! stopping, reading jabber.xml again and the blacklist concern all hosts.

mod accounts;
mod blacklist;
mod letters;
mod lists;
mod looks;
mod service;

use crate::router::command::{self, Call, Command, Stage};
use crate::router::{About, Context, Module};
use crate::store::account;
use crate::xmpp::data_form::{Fault, Field, FieldType, Form, Submitted};
use crate::xmpp::{BareJid, Jid, StanzaError, ns};

/// The modules that do what some commands ask for.
const ANNOUNCE: &str = "mod_announce";
const REGISTER: &str = "mod_register";
/// How many accounts one command may be about.
const ACCOUNTS_MAX: usize = 100;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(ServiceAdmin)
}

struct ServiceAdmin;

impl Module for ServiceAdmin {
    fn about(&self) -> &'static About {
        &About { specs: &["XEP-0133 1.3.1"], commands: COMMANDS, ..About::NONE }
    }
}

fn may(context: &Context<'_>, account: &BareJid) -> bool {
    account.domain().as_str() == context.host.name && context.host.may_administer(account)
}

/// What a stage of a command is.
type StageOf = fn(&mut Context<'_>, &Call<'_>) -> Result<Stage, StanzaError>;

const fn row(node: &'static str, name: &'static str, stage: StageOf) -> Command {
    Command { node, name, may, needs: None, stage }
}

/// A row whose work another module does.
const fn by(needs: &'static str, row: Command) -> Command {
    Command { needs: Some(needs), ..row }
}

/// The nodes are those of XEP-0133 §4, in its order; the last two are ours.
#[rustfmt::skip]
const COMMANDS: &[Command] = &[
    row("http://jabber.org/protocol/admin#add-user", "Add user", accounts::add),
    row("http://jabber.org/protocol/admin#delete-user", "Delete users", accounts::delete),
    row("http://jabber.org/protocol/admin#disable-user", "Disable users", accounts::disable),
    row("http://jabber.org/protocol/admin#reenable-user", "Re-enable users", accounts::reenable),
    row("http://jabber.org/protocol/admin#end-user-session", "End sessions of users", accounts::end_session),
    row("http://jabber.org/protocol/admin#change-user-password", "Change the password of a user", accounts::change_password),
    row("http://jabber.org/protocol/admin#get-user-roster", "Show the roster of a user", looks::roster),
    row("http://jabber.org/protocol/admin#get-user-lastlogin", "Show when users last logged in", looks::last_login),
    row("http://jabber.org/protocol/admin#user-stats", "Show statistics of a user", looks::statistics),
    row("http://jabber.org/protocol/admin#edit-blacklist", "Edit the list of blocked domains", blacklist::edit),
    row("http://jabber.org/protocol/admin#get-registered-users-num", "Count registered users", lists::registered_number),
    row("http://jabber.org/protocol/admin#get-disabled-users-num", "Count disabled users", lists::disabled_number),
    row("http://jabber.org/protocol/admin#get-online-users-num", "Count users who are online", lists::online_number),
    row("http://jabber.org/protocol/admin#get-active-users-num", "Count users who are active", lists::active_number),
    row("http://jabber.org/protocol/admin#get-idle-users-num", "Count users who are idle", lists::idle_number),
    row("http://jabber.org/protocol/admin#get-registered-users-list", "List registered users", lists::registered_list),
    row("http://jabber.org/protocol/admin#get-disabled-users-list", "List disabled users", lists::disabled_list),
    row("http://jabber.org/protocol/admin#get-online-users-list", "List users who are online", lists::online_list),
    row("http://jabber.org/protocol/admin#get-active-users", "List users who are active", lists::active_list),
    row("http://jabber.org/protocol/admin#get-idle-users", "List users who are idle", lists::idle_list),
    by(ANNOUNCE, row("http://jabber.org/protocol/admin#announce", "Announce to users who are online", letters::announce)),
    by(ANNOUNCE, row("http://jabber.org/protocol/admin#set-motd", "Set the message of the day", letters::set_motd)),
    by(ANNOUNCE, row("http://jabber.org/protocol/admin#edit-motd", "Edit the message of the day", letters::edit_motd)),
    by(ANNOUNCE, row("http://jabber.org/protocol/admin#delete-motd", "Delete the message of the day", letters::delete_motd)),
    by(REGISTER, row("http://jabber.org/protocol/admin#set-welcome", "Set the welcome message", letters::set_welcome)),
    by(REGISTER, row("http://jabber.org/protocol/admin#delete-welcome", "Delete the welcome message", letters::delete_welcome)),
    row("http://jabber.org/protocol/admin#shutdown", "Shut the server down", service::shut_down),
    by(REGISTER, row(service::REGISTRATION, "Open or close registration", service::registration)),
    row("urn:jabber:config:3#reload", "Read jabber.xml again", service::reload),
];

/// An empty form with its title and instructions.
fn ask(title: &str, instructions: &str) -> Form {
    Form::ask(ns::SERVICE_ADMIN).titled(title).instructed(instructions)
}

fn tell() -> Form {
    Form::tell(ns::SERVICE_ADMIN)
}

fn one_account(label: &str) -> Field {
    Field::new(FieldType::JidSingle, "accountjid").labelled(label).required()
}

fn some_accounts(label: &str) -> Field {
    Field::new(FieldType::JidMulti, "accountjids").labelled(label).required()
}

fn fault(var: &str, why: impl Into<String>) -> StanzaError {
    command::bad_payload(&Fault::new(var, why))
}

/// The JIDs in a field, not too many.
fn jids_in(answer: &Submitted, var: &str) -> Result<Vec<Jid>, StanzaError> {
    let jids = answer.jids(var).map_err(|fault| command::bad_payload(&fault))?;
    match jids.len() {
        0 => Err(fault(var, "it names nobody")),
        1..=ACCOUNTS_MAX => Ok(jids),
        _ => Err(fault(var, format!("it names more than {ACCOUNTS_MAX}"))),
    }
}

/// An account of this host that is there.
fn existing(context: &Context<'_>, var: &str, jid: &Jid) -> Result<BareJid, StanzaError> {
    let here = &context.host.name;
    if jid.node().is_none() || jid.domain().as_str() != here {
        return Err(fault(var, format!("{jid} is no account of {here}")));
    }
    let account = jid.to_bare();
    match account::exists(context.store, &account)? {
        true => Ok(account),
        false => Err(fault(var, format!("there is no account {account}"))),
    }
}

/// The accounts in a field: all of them are there, none by a full JID.
fn accounts_in(context: &Context<'_>, answer: &Submitted) -> Result<Vec<BareJid>, StanzaError> {
    let var = "accountjids";
    let mut accounts = Vec::new();
    for jid in jids_in(answer, var)? {
        if jid.is_full() {
            return Err(fault(var, format!("{jid} is one session; name the account")));
        }
        accounts.push(existing(context, var, &jid)?);
    }
    Ok(accounts)
}

/// The one account in a field.
fn account_in(context: &Context<'_>, answer: &Submitted) -> Result<BareJid, StanzaError> {
    let jid = answer.jid("accountjid").map_err(|fault| command::bad_payload(&fault))?;
    let jid = jid.filter(Jid::is_bare).ok_or_else(|| fault("accountjid", "it is no bare JID"))?;
    existing(context, "accountjid", &jid)
}
