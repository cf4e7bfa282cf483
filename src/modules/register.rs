//! XEP-0077: In-Band Registration: accounts made, changed and removed from a client.
//!
//! Open while jabber.xml has `<register>`, or as the admin set it since; for a stream that showed an invitation
//! (XEP-0445, [`preauth`]) even where it is not. A password is hashed beside the loop, so a request with one is answered
//! later; until then it waits here, bounded.

mod form;
mod preauth;
mod rate;

use std::collections::HashMap;
use std::net::IpAddr;

use self::form::Submitted;
use self::preauth::Preauth;
use self::rate::{Admission, Rate};
use std::borrow::Cow;

use crate::config::{Letter, Register, RegistrationMode};
use crate::router::accounts;
use crate::router::{About, AccountEvent, Answers, Context, Module, Pending, Reply, Requester, Scope, SessionId, Wake};
use crate::store::account::{self, Credentials};
use crate::store::invite::{self, Invite};
use crate::store::{registration, setting};
use crate::stream::c2s::FAILED_LOGINS;
use crate::stream::sasl::{HashJob, Outcome, Password};
use crate::xml::{self, Element};
use crate::xmpp::{BareJid, Condition, Iq, IqType, Jid, MessageType, Stanza, StanzaError, datetime, jid, ns};

/// Requests that may wait for the helper thread at a time; with more, the next is told to come back.
const WAITING_MAX: usize = 200;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::<Registration>::default()
}

#[derive(Default)]
struct Registration {
    rate: Rate,
    preauth: Preauth,
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
    Create(Submitted, Option<Invite>),
    /// With what else is to be kept from then on.
    Change(SessionId, Option<Submitted>),
}

impl Module for Registration {
    fn about(&self) -> &'static About {
        const ALL: &[Scope] = &[Scope::Server, Scope::Account, Scope::BeforeLogin];
        &About {
            specs: &["XEP-0077 2.4", "XEP-0445 0.2.0"],
            disco: &[ns::REGISTER],
            answers: &[
                Answers { scope: ALL, kind: IqType::Get, ns: ns::REGISTER, name: "query" },
                Answers { scope: ALL, kind: IqType::Set, ns: ns::REGISTER, name: "query" },
                Answers { scope: &[Scope::BeforeLogin], kind: IqType::Set, ns: ns::PREAUTH, name: "preauth" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        match context.requester {
            Requester::Connection(connection, address) if iq.payload().ns() == ns::PREAUTH => {
                if !context.host.modules.is_on("mod_invite") {
                    return Err(Condition::ServiceUnavailable.into());
                }
                self.preauth.show(context, connection, address, iq)
            }
            Requester::Connection(connection, _) if iq.kind() == IqType::Get => {
                let invited = self.preauth.left_to(context, connection)?;
                let register = open(context, invited.as_ref())?;
                let name = invited.as_ref().map(|invited| invited.localpart.as_str()).unwrap_or_default();
                Ok(form::blank(&register, name).into())
            }
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
            Purpose::Create(submitted, invited) => {
                let requester = waiting.pending.requester();
                let done = create(context, &waiting.account, &credentials, &submitted, invited.as_ref(), requester);
                if let (Ok(()), Requester::Connection(connection, _)) = (&done, requester) {
                    self.preauth.forget(connection);
                }
                done
            }
            Purpose::Change(session, submitted) => {
                change(context, &waiting.account, &credentials, session, submitted.as_ref())
            }
        };
        context.answer_later(&waiting.pending, done.map(|()| None));
        Ok(())
    }

    /// jabber.xml's `<welcome>`, or what the admin set since: a message that waits for the first login.
    fn account(
        &mut self,
        context: &mut Context<'_>,
        account: &BareJid,
        event: AccountEvent,
    ) -> Result<(), StanzaError> {
        let set = setting::of(context.store, &context.host.name, setting::WELCOME)?;
        let from_file = context.host.welcome.as_ref();
        let letter = match set {
            None => from_file.cloned(),
            Some(body) if body.is_empty() => None,
            Some(body) => {
                let subject = from_file.map_or_else(|| "Welcome!".to_owned(), |letter| letter.subject.clone());
                Some(Letter { subject, body, ..Letter::default() })
            }
        };
        let (AccountEvent::Created, Some(letter)) = (event, letter) else { return Ok(()) };
        let Some(host) = jid::of_host(&context.host.name) else { return Ok(()) };
        context.route(written(&letter).with_from(host).with_to(account.clone()));
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
    log::info!(target: &format!("record:{who}"), strangers = FAILED_LOGINS, by:% = address;
        "login fail {address} {code} (null)");
}

/// The form, if registration is open, or open to who has this invitation.
///
/// XEP-0077 §3.1: a host without registration has no such service. One that registers who is invited has it, so others
/// are refused (XEP-0445 §3 offers it to all).
fn open<'a>(context: &Context<'a>, invited: Option<&Invite>) -> Result<Cow<'a, Register>, StanzaError> {
    let told = invite::registration(context.store, context.host, context.now.unix_millis)?;
    let is_invited = invited.is_some_and(|invited| preauth::opens(context, invited));
    let refused = |condition, text: &str| Err(StanzaError::new(condition, text));
    match told {
        RegistrationMode::Invite if !is_invited => {
            let text = "Accounts are made by invitation here: open the invitation in a client that knows invitations, \
                        or ask the administrator for an account.";
            refused(Condition::NotAllowed, text)
        }
        RegistrationMode::Closed if !is_invited => {
            let text = "Accounts cannot be made here; ask the administrator for one.";
            refused(Condition::ServiceUnavailable, text)
        }
        _ => Ok(context.host.register.as_ref().map_or_else(|| Cow::Owned(Register::default()), Cow::Borrowed)),
    }
}

impl Registration {
    /// XEP-0077 §3.1: a new account, asked for before login.
    fn register(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let invited = match context.requester {
            Requester::Connection(connection, _) => self.preauth.left_to(context, connection)?,
            _ => None,
        };
        let register = open(context, invited.as_ref())?;
        if iq.payload().child("remove", ns::REGISTER).is_some() {
            // XEP-0077 §3.2: who is not logged in has nothing to remove.
            return Err(Condition::UnexpectedRequest.into());
        }
        let submitted = Submitted::parse(iq.payload(), &register, &context.config.limits)?;
        let account = new_account(context, &submitted.username, invited.as_ref())?;
        let password = accounts::usable_password(&submitted.password, context.config.limits.password_bytes_max)?;
        let rate = &context.config.registration_rate;
        // An admin knows how many were invited. Of people, each account may invite, and so may who came by that.
        let is_known = invited.as_ref().is_some_and(|invited| invited.is_of_an_admin(context.host));
        if let (Requester::Connection(_, address), false) = (context.requester, is_known) {
            let remembered_max = context.config.limits.addresses_remembered_max;
            let bound = rate.bound_for(address).map(|most| (most, rate.seconds));
            let admission = bound.map(|bound| self.rate.admits(address, bound, remembered_max, context.now));
            if admission == Some(Admission::FirstRefused) {
                let (most, seconds) = bound.unwrap_or_default();
                log::warn!(target: &context.host.name, strangers = "addresses with too many registrations";
                           "registration from {address} refused: more than {most} accounts from \
                           there in {seconds} s; for a network that may: exempt= of <registration-rate>");
            }
            if admission.is_some_and(|admission| admission != Admission::Admitted) {
                let text = "Too many accounts were made from your address; try again later.";
                return Err(StanzaError::new(Condition::ResourceConstraint, text));
            }
        }
        self.hash(context, iq, account, password, Purpose::Create(submitted, invited))
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
        let password = accounts::usable_password(&submitted.password, context.config.limits.password_bytes_max)?;
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
fn new_account(context: &Context<'_>, username: &str, invited: Option<&Invite>) -> Result<BareJid, StanzaError> {
    if let Some(refusal) = context.host.name_policy.refuses(username) {
        return Err(StanzaError::new(Condition::NotAcceptable, format!("{refusal}.")));
    }
    let account = accounts::named(context, username)?;
    if let Some(invited) = invited.filter(|invited| !invited.localpart.is_empty()) {
        if !invited.names(&account) {
            let text = format!("You were invited by the name {}.", invited.localpart);
            return Err(StanzaError::new(Condition::NotAcceptable, text));
        }
    }
    accounts::room_for(context, &account)?;
    match accounts::is_kept(context, &account, invited)? {
        true => Err(accounts::taken()),
        false => Ok(account),
    }
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

/// The keys are there: the account is made, unless somebody was faster, or it may not be made any more: the admin may
/// have closed registration meanwhile, or kept the name for somebody.
fn create(
    context: &mut Context<'_>,
    account: &BareJid,
    credentials: &Credentials,
    submitted: &Submitted,
    invited: Option<&Invite>,
    requester: Requester,
) -> Result<(), StanzaError> {
    open(context, invited)?;
    new_account(context, &submitted.username, invited)?;
    let now = context.now;
    context.store.savepoint(|store| {
        if !account::create(store, account, credentials, now.unix_millis)? {
            return Err(accounts::taken());
        }
        if let Some(invited) = invited {
            // XEP-0445 §4: only now it is used.
            if !invite::take(store, &invited.id)? {
                return Err(preauth::spent());
            }
            if let Some(inviter) = invited.inviter.as_ref().filter(|_| invited.befriends) {
                invite::set_inviter(store, account, inviter)?;
            }
        }
        registration::set(store, account, &submitted.to_element(now).to_string())?;
        Ok::<(), StanzaError>(())
    })?;
    context.account_created(account);
    let address = match requester {
        Requester::Connection(_, address) => address.to_string(),
        _ => "this server".to_string(),
    };
    // Each is told: how many there can be is bounded where they are made.
    log::info!(target: &context.host.name, "user {account} registered account from {address}");
    if let Some(invited) = invited {
        let whose = invited.inviter.as_ref().map_or_else(|| "the server".to_owned(), BareJid::to_string);
        log::info!(target: &context.host.name, "user {account} was invited by {whose} invitation={}", invited.id);
    }
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
    // Whose session was ended meanwhile has no say any more: the account may be disabled, or have another password.
    if context.sessions.by_id(session).is_none_or(|session| session.account() != account) {
        return Err(StanzaError::new(Condition::NotAllowed, "Your session has ended; nothing was changed."));
    }
    forbidden(&context.host.forbidden.password_change)?;
    if let Some(submitted) = submitted {
        registration::set(context.store, account, &submitted.to_element(context.now).to_string())?;
    }
    log::info!(target: &context.host.name, users = "changed passwords", by:% = account;
        "user {account} changed password");
    accounts::change_password(context, account, credentials, Some(session))
}

/// XEP-0077 §3.2: the result first, then the account and all its sessions go.
fn remove(context: &mut Context<'_>, account: &BareJid, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    forbidden(&context.host.forbidden.unregister)?;
    if iq.payload().children().count() != 1 {
        return Err(StanzaError::new(Condition::BadRequest, "<remove/> must stand alone."));
    }
    let pending = context.keep(iq);
    context.answer_later(&pending, Ok(None));
    accounts::remove(context, account);
    Ok(Reply::Later)
}

/// When and how the fields were filled in, as jabberd 1.4 kept it.
fn registered_stamp(now: crate::xmpp::Now) -> Element {
    Element::new("x", ns::LEGACY_DELAY)
        .with_attribute("stamp", datetime::legacy_stamp(now.unix_millis))
        .with_text("registered")
}
