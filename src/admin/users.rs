//! Accounts: made, changed, listed, removed.

use super::command::{Argument, Command, Does, Kind};
use super::job::{Event, Job, Next};
use super::request::{Refusal, Request};
use super::view::{Ask, View};
use crate::router::Effect;
use crate::store::account::{self, Credentials};
use crate::stream::sasl::{HashJob, Outcome};
use crate::xmpp::BareJid;

const ACCOUNT: Argument = Argument::needed("account", Kind::Account, "the account, name@host");

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

fn add(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let account = request.account("account")?;
    let password = request.password()?;
    new_name(view, &account)?;
    let job = HashJob::derive(0, password, view.random);
    view.ask(Ask::Hash(job));
    Ok(Next::Wait(Box::new(Add { account })))
}

/// May there be such an account?
fn new_name(view: &mut View<'_>, account: &BareJid) -> Result<(), Refusal> {
    let host = account.domain().as_str();
    if account::exists(view.store, account)? {
        return Err(Refusal::conflict(format!("{account} is there already"))
            .remedy(format!("to change its password: jabberctl user passwd {account}")));
    }
    let most = view.config.limits.accounts_per_host_max;
    if account::count(view.store, host)? >= most as u64 {
        return Err(Refusal::refused(format!("{host} has {most} accounts, and may have no more"))
            .remedy("raise <accounts-per-host-max>, see jabber.xml(5)"));
    }
    Ok(())
}

struct Add {
    account: BareJid,
}

impl Job for Add {
    fn step(self: Box<Self>, view: &mut View<'_>, event: Event) -> Result<Next, Refusal> {
        let account = self.account;
        let credentials = derived(event)?;
        if !account::create(view.store, &account, &credentials, view.now.unix_millis)? {
            return Err(Refusal::conflict(format!("{account} is there already")));
        }
        let localpart = account.node().map(|node| node.as_str()).unwrap_or_default();
        let policy = view.config.host(account.domain().as_str()).map(|host| &host.name_policy);
        if let Some(refusal) = policy.and_then(|policy| policy.refuses(localpart)) {
            view.answer.note(format!("from a client this name would be refused: {refusal}"));
        }
        view.carry_out(Effect::AccountCreated(account.clone()));
        view.say(format!("{account} can log in"));
        Ok(Next::Done)
    }
}

/// The keys that password work made.
fn derived(event: Event) -> Result<Credentials, Refusal> {
    match event {
        Event::Hashed(Outcome::Derived(credentials)) => Ok(credentials),
        _ => Err(Refusal::busy("too many passwords are being worked on").remedy("try again in a minute")),
    }
}
