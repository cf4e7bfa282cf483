//! XEP-0077: In-Band Registration: accounts made, changed and removed from a client.
//!
//! Open while jabber.xml has `<register>`. A password is hashed beside the loop, so a request with one is answered
//! later; until then it waits here, bounded.

mod form;
mod rate;

use std::collections::HashMap;
use std::net::IpAddr;

use self::form::Submitted;
use self::rate::Rate;
use crate::config::{Letter, NameReuse, Register};
use crate::router::{About, AccountEvent, Answers, Context, Module, Pending, Reply, Requester, Scope, SessionId, Wake};
use crate::store::account::{self, Credentials};
use crate::store::registration;
use crate::stream::sasl::{HashJob, Outcome, Password};
use crate::xml::{self, Element};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{
    BareJid, Condition, Iq, IqType, Jid, MessageType, Stanza, StanzaError, StreamError, datetime, jid, ns,
};

/// Requests that may wait for the helper thread at a time; with more, the next is told to come back.
const WAITING_MAX: usize = 200;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::<Registration>::default()
}

#[derive(Default)]
struct Registration {
    rate: Rate,
    waiting: HashMap<u64, Waiting>,
    next_token: u64,
}

/// A request whose password is being hashed.
struct Waiting {
    pending: Pending,
    account: BareJid,
    purpose: Purpose,
}

enum Purpose {
    Create(Submitted),
    /// With what else is to be kept from then on.
    Change(SessionId, Option<Submitted>),
}

impl Module for Registration {
    fn about(&self) -> &'static About {
        const ALL: &[Scope] = &[Scope::Server, Scope::Account, Scope::BeforeLogin];
        &About {
            specs: &["XEP-0077 2.4"],
            disco: &[ns::REGISTER],
            answers: &[
                Answers { scope: ALL, kind: IqType::Get, ns: ns::REGISTER, name: "query" },
                Answers { scope: ALL, kind: IqType::Set, ns: ns::REGISTER, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        match context.requester {
            Requester::Connection(..) if iq.kind() == IqType::Get => Ok(form::blank(open(context)?).into()),
            Requester::Connection(_, address) => {
                let reply = self.register(context, iq);
                if let Err(error) = &reply {
                    record_refusal(context, iq, address, error);
                }
                reply
            }
            Requester::Session(session) => self.of_session(context, session, iq),
            // XEP-0077 §3.1: only our own users.
            Requester::Elsewhere => Err(Condition::Forbidden.into()),
        }
    }

    fn woke(&mut self, context: &mut Context<'_>, wake: Wake) -> Result<(), StanzaError> {
        let Wake::Hashed(result) = wake else { return Ok(()) };
        let Some(waiting) = self.waiting.remove(&result.token) else { return Ok(()) };
        let Outcome::Derived(credentials) = result.outcome else {
            let busy = StanzaError::new(Condition::ResourceConstraint, "The server is busy; try again in a minute.");
            context.answer_later(&waiting.pending, Err(busy));
            return Ok(());
        };
        let done = match waiting.purpose {
            Purpose::Create(submitted) => {
                create(context, &waiting.account, &credentials, &submitted, waiting.pending.requester())
            }
            Purpose::Change(session, submitted) => {
                change(context, &waiting.account, &credentials, session, submitted.as_ref())
            }
        };
        context.answer_later(&waiting.pending, done.map(|()| None));
        Ok(())
    }

    /// jabber.xml's `<welcome>`: a message that waits for the first login.
    fn account(
        &mut self,
        context: &mut Context<'_>,
        account: &BareJid,
        event: AccountEvent,
    ) -> Result<(), StanzaError> {
        let (AccountEvent::Created, Some(letter)) = (event, &context.host.welcome) else { return Ok(()) };
        let Some(host) = jid::of_host(&context.host.name) else { return Ok(()) };
        context.route(written(letter).with_from(host).with_to(account.clone()));
        Ok(())
    }
}

/// A letter as a message, with all its languages (RFC 6121 §5.2.3): the client shows its user's.
fn written(letter: &Letter) -> Stanza {
    let text = |name, text: &str, lang: Option<&String>| {
        let element = Element::new(name, ns::CLIENT).with_text(text.to_string());
        lang.map_or(element.clone(), |lang| element.with_attribute("xml:lang", lang.clone()))
    };
    let mut message = Stanza::message(MessageType::Normal);
    if let Some(lang) = &letter.lang {
        message = message.map_element(|element| element.with_attribute("xml:lang", lang.clone()));
    }
    message = message.with_child(text("subject", &letter.subject, None)).with_child(text("body", &letter.body, None));
    for other in letter.variants.iter().filter(|other| other.lang.is_some() && other.lang != letter.lang) {
        message = message.with_child(text("subject", &other.subject, other.lang.as_ref()));
        message = message.with_child(text("body", &other.body, other.lang.as_ref()));
    }
    message
}

/// A refused registration is a failed login in record.log, as it was in jabberd 1.4: fail2ban sees who tries names.
fn record_refusal(context: &Context<'_>, iq: &Iq<'_>, address: IpAddr, error: &StanzaError) {
    let host = &context.host.name;
    let name = iq.payload().child("username", ns::REGISTER).map(|name| name.text().into_owned());
    let account = jid::DomainPart::new(host).ok().zip(name).and_then(|(domain, name)| domain.with_node_str(&name).ok());
    let who = account.map_or_else(|| host.clone(), |account| account.to_string());
    let code = error.condition().legacy_code();
    log::info!(target: &format!("record:{who}"), "login fail {address} {code} (null)");
}

/// Registration is open while jabber.xml says so.
fn open<'a>(context: &Context<'a>) -> Result<&'a Register, StanzaError> {
    context.host.register.as_ref().ok_or_else(|| {
        // XEP-0077 §3.1: a host without registration has no such service.
        StanzaError::new(Condition::ServiceUnavailable, "Accounts cannot be made here; ask the administrator for one.")
    })
}

impl Registration {
    /// XEP-0077 §3.1: a new account, asked for before login.
    fn register(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let register = open(context)?;
        if iq.payload().child("remove", ns::REGISTER).is_some() {
            // XEP-0077 §3.2: who is not logged in has nothing to remove.
            return Err(Condition::UnexpectedRequest.into());
        }
        let submitted = Submitted::parse(iq.payload(), register, &context.config.limits)?;
        let account = new_account(context, &submitted.username)?;
        let password = usable(&submitted.password, context.config.limits.password_bytes_max)?;
        if let Requester::Connection(_, address) = context.requester {
            if !self.rate.admits(address, context.config, context.now) {
                log::warn!(target: &context.host.name, "registration from {address} refused: too many accounts from there");
                let text = "Too many accounts were made from your address; try again later.";
                return Err(StanzaError::new(Condition::ResourceConstraint, text));
            }
        }
        self.hash(context, iq, account, password, Purpose::Create(submitted))
    }

    /// XEP-0077 §3.1 to §3.3, after login: look, change, remove.
    fn of_session(&mut self, context: &mut Context<'_>, session: SessionId, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else {
            return Err(Condition::ServiceUnavailable.into());
        };
        // Compat: old clients leave `to` out, which makes it their own account.
        let is_own = iq.to().is_some_and(|to| to.node().is_none() || jid::same_bare(to, &account));
        let is_here = iq.to().is_some_and(|to| to.domain() == account.domain());
        if !is_own || !is_here {
            return Err(Condition::Forbidden.into());
        }
        if iq.kind() == IqType::Get {
            let kept = registration::of(context.store, &account)?;
            let kept = kept.as_deref().and_then(xml::parse);
            return Ok(form::filled(context.host.register.as_ref(), &account, kept.as_ref()).into());
        }
        if iq.payload().child("remove", ns::REGISTER).is_some() {
            return remove(context, &account, iq);
        }
        let submitted = Submitted::parse_change(iq.payload(), &context.config.limits)?;
        if !names(&submitted.username, &account) {
            // In jabberd 1.4 another's name changed one's own password.
            return Err(StanzaError::new(Condition::NotAllowed, "You may change your own account only."));
        }
        let kept = registration::of(context.store, &account)?;
        let is_changed = submitted.differs_from(kept.as_deref().and_then(xml::parse).as_ref());
        if is_changed || submitted.password.is_empty() {
            forbidden(&context.host.forbidden.registration_change)?;
        }
        if submitted.password.is_empty() {
            registration::set(context.store, &account, &submitted.to_element(context.now).to_string())?;
            return Ok(Reply::empty());
        }
        forbidden(&context.host.forbidden.password_change)?;
        let password = usable(&submitted.password, context.config.limits.password_bytes_max)?;
        let purpose = Purpose::Change(session, is_changed.then_some(submitted));
        self.hash(context, iq, account, password, purpose)
    }

    fn hash(
        &mut self,
        context: &mut Context<'_>,
        iq: &Iq<'_>,
        account: BareJid,
        password: Password,
        purpose: Purpose,
    ) -> Result<Reply, StanzaError> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint, "The server is busy; try again in a minute."));
        }
        self.next_token += 1;
        let job = HashJob::derive(self.next_token, password, context.random);
        context.hash(job);
        let pending = context.keep(iq);
        self.waiting.insert(self.next_token, Waiting { pending, account, purpose });
        Ok(Reply::Later)
    }
}

/// May this name be registered here?
fn new_account(context: &mut Context<'_>, username: &str) -> Result<BareJid, StanzaError> {
    if let Some(refusal) = context.host.name_policy.refuses(username) {
        return Err(StanzaError::new(Condition::NotAcceptable, format!("{refusal}.")));
    }
    let domain = jid::DomainPart::new(&context.host.name).map_err(|_| Condition::NotAcceptable)?;
    let account = domain.with_node_str(username).map_err(|_| Condition::NotAcceptable)?;
    // What the next server would read as another name is none (see `jid::stable`).
    if jid::stable(account.as_str()).is_none_or(|again| account != again) {
        return Err(Condition::NotAcceptable.into());
    }
    let taken = || StanzaError::new(Condition::Conflict, "Username Not Available");
    if account::exists(context.store, &account)? {
        return Err(taken());
    }
    if account::is_reserved(context.store, &account)? {
        return Err(taken());
    }
    if let Some(removed) = account::removed_at(context.store, &account)? {
        let is_free = match context.host.name_reuse {
            NameReuse::AtOnce => true,
            NameReuse::After(seconds) => {
                removed.saturating_add(seconds.saturating_mul(1000)) <= context.now.unix_millis
            }
            NameReuse::Never => false,
        };
        if !is_free {
            return Err(taken());
        }
    }
    if account::count(context.store, &context.host.name)? >= context.config.limits.accounts_per_host_max as u64 {
        return Err(StanzaError::new(Condition::ResourceConstraint, "This server takes no more accounts."));
    }
    Ok(account)
}

/// XEP-0077 §3.1: a password that cannot be used is not acceptable.
fn usable(text: &str, bytes_max: usize) -> Result<Password, StanzaError> {
    let refusal = || StanzaError::new(Condition::NotAcceptable, "The password is empty, too long, or not usable.");
    if text.len() > bytes_max {
        return Err(refusal());
    }
    Password::new(text).map_err(|_| refusal())
}

/// Is this the account's own name, however it is typed?
fn names(username: &str, account: &BareJid) -> bool {
    let typed = jid::NodePart::new(username);
    typed.is_ok_and(|typed| account.node().is_some_and(|node| node.as_str() == typed.as_str()))
}

/// jabberd 1.6's `<nounregister>` and its like.
fn forbidden(rule: &Option<String>) -> Result<(), StanzaError> {
    match rule {
        None => Ok(()),
        Some(text) if text.is_empty() => Err(Condition::NotAllowed.into()),
        Some(text) => Err(StanzaError::new(Condition::NotAllowed, text.clone())),
    }
}

/// The keys are there: the account is made, unless somebody was faster.
fn create(
    context: &mut Context<'_>,
    account: &BareJid,
    credentials: &Credentials,
    submitted: &Submitted,
    requester: Requester,
) -> Result<(), StanzaError> {
    if !account::create(context.store, account, credentials, context.now.unix_millis)? {
        return Err(StanzaError::new(Condition::Conflict, "Username Not Available"));
    }
    registration::set(context.store, account, &submitted.to_element(context.now).to_string())?;
    context.account_created(account);
    let address = match requester {
        Requester::Connection(_, address) => address.to_string(),
        _ => "this server".to_string(),
    };
    log::info!(target: &context.host.name, "user {account} registered account from {address}");
    if context.host.register.as_ref().is_some_and(|register| register.notify) {
        notify(context, account, submitted, &address);
    }
    Ok(())
}

/// `<register notify='yes'>`: the admins hear of it. The password is not in it (it was in jabberd 1.4's).
fn notify(context: &mut Context<'_>, account: &BareJid, submitted: &Submitted, address: &str) {
    let Some(host) = jid::of_host(&context.host.name) else { return };
    let text = |name, text: String| Element::new(name, ns::CLIENT).with_text(text);
    let mut body = format!("The user {account} has just been created from {address}.");
    for (name, value) in submitted.fields() {
        body.push_str(&format!("\n{name}: {value}"));
    }
    let subject = format!("Admin: Registration Notice ({})", context.host.name);
    let message = Stanza::message(MessageType::Normal)
        .with_child(text("subject", subject))
        .with_child(text("body", body))
        .with_from(host);
    for admin in context.host.message_admins() {
        context.route(message.clone().with_to(Jid::from(admin.clone())));
    }
}

/// XEP-0077 §3.3. Other sessions end: they were opened with a password that is no longer the account's.
///
/// Compat: jabberd 1.4's clients send back the whole form; what else is in it is kept with the new password.
fn change(
    context: &mut Context<'_>,
    account: &BareJid,
    credentials: &Credentials,
    session: SessionId,
    submitted: Option<&Submitted>,
) -> Result<(), StanzaError> {
    account::set_credentials(context.store, account, credentials)?;
    if let Some(submitted) = submitted {
        registration::set(context.store, account, &submitted.to_element(context.now).to_string())?;
    }
    log::info!(target: &context.host.name, "user {account} changed password");
    let error = StreamError::new(StreamCondition::Reset, "the password was changed");
    context.close_account(account, Some(session), error);
    Ok(())
}

/// XEP-0077 §3.2: the result first, then the account and all its sessions go.
fn remove(context: &mut Context<'_>, account: &BareJid, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    forbidden(&context.host.forbidden.unregister)?;
    if iq.payload().children().count() != 1 {
        return Err(StanzaError::new(Condition::BadRequest, "<remove/> must stand alone."));
    }
    let name = account.node().map(|node| node.as_str()).unwrap_or_default();
    log::info!(target: &context.host.name, "User Unregistered: {name}");
    let pending = context.keep(iq);
    context.answer_later(&pending, Ok(None));
    context.close_account(account, None, StreamError::new(StreamCondition::NotAuthorized, "the account was removed"));
    context.delete_account(account);
    Ok(Reply::Later)
}

/// When and how the fields were filled in, as jabberd 1.4 kept it.
fn registered_stamp(now: crate::xmpp::Now) -> Element {
    Element::new("x", ns::LEGACY_DELAY)
        .with_attribute("stamp", datetime::legacy_stamp(now.unix_millis))
        .with_text("registered")
}
