//! A client's stream (RFC 6120), whole: header, TLS, login, binding, stanzas, end.
//!
//! | state | awaits | then |
//! |---|---|---|
//! | `ExpectHeader(First)` | a stream header | features; `ExpectLogin` |
//! | `ExpectHandshake` | TLS, after `<proceed/>` | `ExpectHeader(First)`, everything read so far forgotten |
//! | `ExpectLogin` | `<starttls/>`, `<auth/>`, jabber:iq:auth, jabber:iq:register | one of the next four |
//! | `ExpectResponse` | a SASL `<response/>` or `<abort/>` | `ExpectVerdict`, `ExpectHeader(LoggedIn)`, `Penalty` |
//! | `ExpectVerdict` | the helper thread's word on a password | `ExpectHeader(LoggedIn)`, `ExpectStanza`, `Penalty` |
//! | `Penalty` | the end of the wait after a failed login | `ExpectLogin`, or the end |
//! | `ExpectBind` | a request to bind a resource | `ExpectStanza` |
//! | `ExpectStanza` | stanzas | the end |
//! | `Closed` | nothing: a stream error or an end tag was sent | |
//!
//! A stream writes into a buffer ([`C2s::take_output`]) and hands out [`Action`]s, one at a time, so that what an action
//! changes is seen by the next element. While it waits for TLS, a verdict or a penalty, or a password is being made
//! into keys for it, what the client sends stays unread: clients of jabberd 1.4's time pipeline login, roster and presence in one write.

mod likeness;
mod login;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;

pub(crate) use self::login::FAILED_LOGINS;
use self::login::{Penalty, Tried, Verdict};
use super::legacy_auth::Ways;
use super::sasl::{Exchange, HashJob, Offer};
use super::wire::{self, Wire};
use super::{Env, TlsInfo, bind, features, header};
use crate::config::{Config, Host, Limits, Listener, RegistrationMode, StartTls};
use crate::store::invite;
use crate::xml::Element;
use crate::xml::reader::{Event, StreamHeader};
use crate::xmpp::stanza::NotAStanza;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{BareJid, Condition, FullJid, Iq, Jid, Now, Stanza, StanzaError, StreamError, ns};

/// The reason of [`Action::Close`] where the client ended its stream.
pub const ENDED: &str = "stream closed";

/// What a stream asks for, in order.
#[derive(Debug)]
pub enum Action {
    /// Switch the connection to TLS once what was written so far has left.
    StartTls,
    /// Have a password checked; [`C2s::hashed`] gets the outcome.
    Hash(HashJob),
    /// A request before login, for the modules: registration.
    Request(Stanza),
    /// The client logged in and wants this full JID: answer with [`C2s::bound`] or [`C2s::not_bound`].
    Bind(FullJid),
    /// A stanza of the bound client.
    Stanza(Stanza),
    /// A login failed: count it for the peer's address.
    LoginFailed,
    /// A login could not but fail, since nothing but PLAIN would do: remember it for the peer's address.
    FailedInVain,
    /// PLAIN alone was offered because of that.
    OfferedPlain,
    /// Call [`C2s::woke`] then (on the monotonic clock, in milliseconds).
    WakeAt(u64),
    /// Nothing more will be said, for this reason: let what was written leave, then close the connection.
    Close(&'static str),
}

/// The name of a host as a client typed it, prepared as ours are where it can be.
fn named(to: &str) -> Cow<'_, str> {
    crate::config::hosts::host_name(to).map_or(Cow::Borrowed(to), Cow::Owned)
}

enum State {
    ExpectHeader(Stage),
    ExpectHandshake,
    ExpectLogin,
    ExpectResponse(Box<Exchange>),
    ExpectVerdict(Box<Verdict>),
    Penalty(Box<Penalty>),
    ExpectBind(BareJid),
    Binding(Box<Binding>),
    ExpectStanza(FullJid),
    Closed,
}

/// Which header is awaited.
enum Stage {
    First,
    LoggedIn(BareJid),
}

/// A request to bind, while the server looks whether it can be had.
struct Binding {
    account: BareJid,
    request: Stanza,
    legacy: bool,
}

/// A client's stream.
pub struct C2s {
    state: State,
    wire: Wire,
    actions: VecDeque<Action>,
    peer: IpAddr,
    start_tls: StartTls,
    hide_registration: bool,
    tls: Option<Box<TlsInfo>>,
    host: String,
    /// What the client calls the host, where that is another name.
    called: Option<Box<str>>,
    /// The id of the stream, until somebody is logged in: a digest is of it and the password.
    id: String,
    version: header::Version,
    lang: Option<String>,
    /// What was offered, until somebody is logged in.
    offer: Option<Box<Offer>>,
    failures: usize,
    /// Requests before login that were refused in a row.
    refusals: usize,
    tried: Tried,
    /// Whom the present login is about, be there an account or not, for record.log.
    claimed: Option<BareJid>,
    sasl_has_failed: bool,
    /// The present SASL exchange is in vain, since what it is about has, or seems to have, an old hash only.
    is_in_vain: bool,
    unauthenticated_bytes: usize,
    /// How many answers are being worked out that what follows must not overtake.
    holds: usize,
    /// What a client of old said before it logged in, for afterwards; bounded by the bytes it may send until then.
    early: VecDeque<Element>,
}

impl C2s {
    /// A stream on a connection that was just accepted.
    pub fn new(listener: &Listener, peer: IpAddr, limits: &Limits) -> C2s {
        C2s {
            state: State::ExpectHeader(Stage::First),
            wire: Wire::new(ns::CLIENT, limits),
            actions: VecDeque::new(),
            peer,
            start_tls: listener.start_tls_for(peer),
            hide_registration: listener.hide_registration,
            tls: None,
            host: String::new(),
            called: None,
            id: String::new(),
            version: header::Version::Legacy,
            lang: None,
            offer: None,
            failures: 0,
            refusals: 0,
            tried: Tried::default(),
            claimed: None,
            sasl_has_failed: false,
            is_in_vain: false,
            unauthenticated_bytes: 0,
            holds: 0,
            early: VecDeque::new(),
        }
    }

    /// Is it encrypted?
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The full JID, once a resource is bound.
    pub fn jid(&self) -> Option<&FullJid> {
        match &self.state {
            State::ExpectStanza(jid) => Some(jid),
            _ => None,
        }
    }

    /// The host that the stream is for; empty before the header.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Is the peer still a stranger?
    pub fn is_logged_in(&self) -> bool {
        matches!(
            self.state,
            State::ExpectHeader(Stage::LoggedIn(_)) | State::ExpectBind(_) | State::Binding(_) | State::ExpectStanza(_)
        )
    }

    /// The account that the client is logged in to, as long as no resource is bound.
    pub fn unbound_account(&self) -> Option<&BareJid> {
        match &self.state {
            State::ExpectHeader(Stage::LoggedIn(account)) | State::ExpectBind(account) => Some(account),
            _ => None,
        }
    }

    /// Is the end sent?
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// What was written since the last call.
    pub fn take_output(&mut self) -> String {
        if self.actions.is_empty() {
            // A session at rest keeps no queue.
            self.actions = VecDeque::new();
        }
        self.wire.take_output()
    }

    /// Bytes from the peer, plain text. Follow with [`C2s::poll`].
    pub fn push(&mut self, env: &mut Env<'_>, bytes: &[u8]) {
        if self.is_closed() {
            return;
        }
        if !self.is_logged_in() {
            self.unauthenticated_bytes = self.unauthenticated_bytes.saturating_add(bytes.len());
            if self.unauthenticated_bytes > env.config.limits.unauthenticated_total_bytes_max {
                return self.fail(env, StreamError::new(StreamCondition::PolicyViolation, "too much before login"));
            }
        }
        self.wire.push(bytes);
    }

    /// RFC 6120 §10.1: what the client says from now on is not looked at before [`C2s::go_on`] was called as often.
    pub fn hold(&mut self) {
        self.holds = self.holds.saturating_add(1);
    }

    /// An answer is out. Follow with [`C2s::poll`] if there is no other to wait for.
    pub fn go_on(&mut self) -> bool {
        self.holds = self.holds.saturating_sub(1);
        self.holds == 0
    }

    /// Is the connection read? Not while what came is left as it is: what comes waits in the kernel, bounded there, and the
    /// client's end behind it.
    pub fn hears(&self) -> bool {
        self.is_closed() || !(self.wire.rests() || self.holds > 0 || matches!(self.state, State::ExpectVerdict(_)))
    }

    /// The handshake is done.
    pub fn secured(&mut self, env: &Env<'_>, tls: TlsInfo) {
        self.tls = Some(Box::new(tls));
        if matches!(self.state, State::ExpectHandshake) {
            // RFC 6120 §5.4.3.3: nothing that came before TLS counts.
            self.wire.begin_again(&env.config.limits);
            self.state = State::ExpectHeader(Stage::First);
        }
    }

    /// Leaves what came, and will come, as it is; or goes on with it. Follow with `poll`.
    pub fn rest(&mut self, rests: bool) {
        self.wire.rest(rests);
    }

    /// The letters of this stream.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The next thing to do, or `None` until there is more input. Every tick ends with `None`.
    pub fn poll(&mut self, env: &mut Env<'_>) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if matches!(self.state, State::ExpectLogin) && self.refusals >= env.config.limits.refusals_max {
                self.fail(env, login::too_many_refusals());
                continue;
            }
            if self.is_waiting() || self.wire.rests() {
                return None;
            }
            if let Some(element) = self.early_element() {
                self.step(env, Event::Element(element));
                continue;
            }
            match self.wire.next() {
                Ok(None) => return None,
                Ok(Some(event)) => self.step(env, event),
                Err(error) => self.fail(env, error),
            }
        }
    }

    /// What was said before the login comes first after it.
    fn early_element(&mut self) -> Option<Element> {
        matches!(self.state, State::ExpectStanza(_)).then(|| self.early.pop_front()).flatten()
    }

    /// Does the stream wait for something that is not input?
    fn is_waiting(&self) -> bool {
        self.holds > 0
            || matches!(
                self.state,
                State::ExpectHandshake
                    | State::ExpectVerdict(_)
                    | State::Penalty(_)
                    | State::Binding(_)
                    | State::Closed
            )
    }

    /// One event, one transition.
    fn step(&mut self, env: &mut Env<'_>, event: Event) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        match (state, event) {
            (State::ExpectHeader(stage), Event::Opened(header)) => self.opened(env, stage, &header),
            (state, Event::Whitespace) => self.state = state,
            (_, Event::Closed) => self.end(ENDED),
            // RFC 6120 §4.9.1.1: a stream error is the end, and is not answered by one.
            (_, Event::Element(element)) if element.is("error", ns::STREAMS) => {
                self.end("stream error from the client")
            }
            (State::ExpectLogin, Event::Element(element)) => self.login_element(env, element),
            (State::ExpectResponse(exchange), Event::Element(element)) => self.sasl_element(env, *exchange, &element),
            (State::ExpectBind(account), Event::Element(element)) => self.bind_element(env, account, element),
            (State::ExpectStanza(jid), Event::Element(element)) => self.stanza_element(env, jid, element),
            // The reader gives a header first and only once, and waiting states do not read.
            (_, Event::Opened(_) | Event::Element(_)) => self.fail(env, StreamCondition::BadFormat.into()),
        }
    }

    /// A stream header (RFC 6120 §4.7): answered by ours, then by features.
    fn opened(&mut self, env: &mut Env<'_>, stage: Stage, theirs: &StreamHeader) {
        self.lang = theirs.lang.clone().filter(|lang| lang.len() <= 35);
        // RFC 6120 §4.7.2: who says who it is is addressed so.
        let announced = theirs.from.as_deref().and_then(|from| BareJid::new(from).ok()).map(|jid| jid.to_string());
        let version = header::check(theirs, ns::CLIENT);
        self.version = match &version {
            Ok(version) => *version,
            // RFC 6120 §4.7.5: who names no version gets none, wrong as all else may be.
            Err(_) if theirs.version.is_none() => header::Version::Legacy,
            Err(_) => header::Version::Xmpp,
        };
        let host = self.host_of(env.config, &stage, theirs.to.as_deref());
        self.host = match (&host, env.config.hosts.first()) {
            (Some(host), _) => host.name.clone(),
            (None, Some(first)) => first.name.clone(),
            (None, None) => String::new(),
        };
        self.called = theirs.to.as_deref().map(named).filter(|name| **name != *self.host).map(Cow::into);
        self.send_header(env, announced.as_deref());
        if let Err(error) = version {
            return self.fail(env, error);
        }
        let Some(host) = host else {
            let text = format!("{} is not served here", theirs.to.as_deref().unwrap_or_default());
            let served: Vec<&str> = env.config.hosts.iter().take(5).map(|host| host.name.as_str()).collect();
            log::info!(target: &self.host, scanners = "clients that ask for other hosts", by:% = self.peer;
                "a client at {} was refused: {text}: <host> in jabber.xml names {}", self.peer, served.join(", "));
            return self.fail(env, StreamError::new(StreamCondition::HostUnknown, text));
        };
        match stage {
            Stage::LoggedIn(account) => {
                self.write(&features::bind(host));
                self.state = State::ExpectBind(account);
            }
            Stage::First => {
                let offer = self.offer_to(env);
                if self.version == header::Version::Xmpp {
                    let features = if self.must_start_tls() {
                        features::tls_only()
                    } else {
                        let shown = self.narrowed(env, offer.clone(), announced.as_deref());
                        let registration = (!self.hide_registration).then(|| {
                            let told = invite::registration(env.store, host, env.now.unix_millis);
                            told.unwrap_or(RegistrationMode::Closed)
                        });
                        let ways = Ways::of(env.config, host);
                        features::login(host, &shown, ways, self.may_start_tls(), registration)
                    };
                    self.write(&features);
                }
                self.offer = Some(Box::new(offer));
                self.state = State::ExpectLogin;
            }
        }
    }

    /// The host a header is for. After login it cannot change.
    ///
    /// Compat: a header without `to` is for the default alias, or the first host, as old clients leave it out.
    fn host_of<'c>(&self, config: &'c Config, stage: &Stage, to: Option<&str>) -> Option<&'c Host> {
        if let Stage::LoggedIn(account) = stage {
            return config.host(account.domain().as_str());
        }
        let Some(to) = to else { return config.host_for(None).or_else(|| config.hosts.first()) };
        config.host_for(Some(&named(to)))
    }

    /// Does this address mean the host of the stream, by whatever name the client came?
    fn is_own_host(&self, env: &Env<'_>, to: &Jid) -> bool {
        let domain = to.domain().as_str();
        let mut aliases = env.config.aliases.iter().filter(|alias| alias.host == self.host);
        let is_ours = domain == self.host
            || self.called.as_deref() == Some(domain)
            || aliases.any(|alias| alias.name.as_deref() == Some(domain));
        is_ours && to.node().is_none() && to.is_bare()
    }

    fn send_header(&mut self, env: &mut Env<'_>, to: Option<&str>) {
        let id = env.random.token();
        let ours = header::Ours {
            content_ns: ns::CLIENT,
            from: Some(&self.host),
            to,
            id: Some(&id),
            version: self.version,
            lang: (self.version == header::Version::Xmpp).then_some("en"),
        };
        self.wire.send_header(&ours);
        self.id = id;
    }

    fn may_start_tls(&self) -> bool {
        self.tls.is_none() && self.start_tls != StartTls::Hidden
    }

    fn must_start_tls(&self) -> bool {
        self.tls.is_none() && self.start_tls == StartTls::Required
    }

    fn host_config<'c>(&self, config: &'c Config) -> Option<&'c Host> {
        config.host(&self.host)
    }

    /// RFC 6120 §7: only binding is open now.
    fn bind_element(&mut self, env: &mut Env<'_>, account: BareJid, element: Element) {
        let stanza = match Stanza::parse(element.clone()) {
            Ok(stanza) => stanza,
            Err(NotAStanza::UnknownName) => return self.fail(env, wire::unsupported(&element)),
            Err(_) => return self.fail(env, StreamCondition::NotAuthorized.into()),
        };
        let bound = match stanza.as_request() {
            Some(iq) if bind::is_bind(&iq) => bind::requested(&iq, &account, env.random),
            // RFC 6120 §7.1: no other stanza before a resource is bound.
            _ => {
                let text = "bind a resource first";
                return self.fail(env, StreamError::new(StreamCondition::NotAuthorized, text));
            }
        };
        match bound {
            Ok(jid) => self.ask_to_bind(Binding { account, request: stanza, legacy: false }, jid),
            Err(error) => {
                self.answer(stanza.error(&error));
                self.state = State::ExpectBind(account);
            }
        }
    }

    fn ask_to_bind(&mut self, binding: Binding, jid: FullJid) {
        self.state = State::Binding(Box::new(binding));
        self.actions.push_back(Action::Bind(jid));
    }

    /// The resource is the client's.
    pub fn bound(&mut self, env: &mut Env<'_>, jid: FullJid) {
        let State::Binding(binding) = std::mem::replace(&mut self.state, State::Closed) else { return };
        let reply = match binding.legacy {
            true => binding.request.result(None).without_addresses(),
            false => bind::result(&binding.request, &jid),
        };
        self.answer(Some(reply));
        let resource = jid.resource();
        log::info!(target: &format!("record:{}", jid.to_bare()), users = "logins in record.log", by:% = jid.to_bare();
            "login ok {} {resource}", self.peer);
        self.wire.trust(&env.config.limits);
        self.offer = None;
        self.id = String::new();
        self.claimed = None;
        self.state = State::ExpectStanza(jid);
    }

    /// The resource cannot be had (RFC 6120 §7.6.2).
    pub fn not_bound(&mut self, error: &StanzaError) {
        let State::Binding(binding) = std::mem::replace(&mut self.state, State::Closed) else { return };
        let account = &binding.account;
        log::info!(target: &self.host, users = "resources that were not had", by:% = account;
            "login of {account} from {} failed: its resource cannot be had: {}", self.peer, error.reason());
        self.answer(binding.request.error(error).map(Stanza::without_addresses));
        self.state = if binding.legacy { State::ExpectLogin } else { State::ExpectBind(binding.account) };
    }

    /// A first-level element of a bound client.
    fn stanza_element(&mut self, env: &mut Env<'_>, jid: FullJid, element: Element) {
        match env.stanza(element.clone()) {
            Ok(stanza) => {
                // What has one owner is changed in place.
                drop(element);
                self.client_stanza(env, jid, stanza);
            }
            Err(NotAStanza::UnknownName) => self.fail(env, wire::unsupported(&element)),
            Err(NotAStanza::MalformedFrom) => self.fail(env, StreamCondition::InvalidFrom.into()),
            Err(NotAStanza::MalformedTo) => {
                self.refuse_element(&jid, &element, &Condition::JidMalformed.into());
                self.state = State::ExpectStanza(jid);
            }
            Err(NotAStanza::BadRequest) => {
                self.refuse_element(&jid, &element, &Condition::BadRequest.into());
                self.state = State::ExpectStanza(jid);
            }
        }
    }

    /// RFC 6120 §8.1.2.1: a `from` must be the client's own; then the stanza is on its way.
    fn client_stanza(&mut self, env: &mut Env<'_>, jid: FullJid, stanza: Stanza) {
        let is_own = stanza.from().is_none_or(|from| *from == jid || *from == jid.to_bare());
        if !is_own {
            return self.fail(env, StreamCondition::InvalidFrom.into());
        }
        let for_stream = stanza.to().is_none_or(|to| self.is_own_host(env, to));
        if let Some(iq) = stanza.as_request().filter(|_| for_stream) {
            if let Some(reply) = self.stream_request(&iq) {
                self.answer(Some(reply));
                self.state = State::ExpectStanza(jid);
                return;
            }
        }
        let stanza = self.with_lang(stanza);
        self.state = State::ExpectStanza(jid);
        self.actions.push_back(Action::Stanza(stanza));
    }

    /// Requests that the stream itself answers after binding.
    fn stream_request(&self, iq: &Iq<'_>) -> Option<Stanza> {
        let stanza = iq.stanza();
        if bind::is_session(iq) {
            // RFC 6121 §1.4: a no-operation.
            return Some(stanza.result(None));
        }
        if bind::is_bind(iq) {
            // RFC 6120 §7.1: one resource for each stream.
            return stanza.error(&Condition::NotAllowed.into()).map(Stanza::without_addresses);
        }
        if iq.payload().is("query", ns::IQ_AUTH) {
            // Compat: jabberd 1.4 answered a second login with 503.
            return stanza.error(&Condition::ServiceUnavailable.into()).map(Stanza::without_addresses);
        }
        None
    }

    /// RFC 6120 §4.7.4: text without a language of its own is in the stream's.
    fn with_lang(&self, stanza: Stanza) -> Stanza {
        match &self.lang {
            Some(lang) if stanza.element().attribute("xml:lang").is_none() && stanza.as_request().is_none() => {
                stanza.map_element(|element| element.with_attribute("xml:lang", lang.clone()))
            }
            _ => stanza,
        }
    }

    /// Bounces an element that is no proper stanza (RFC 6120 §8.3.1), unless it is an error itself.
    fn refuse_element(&mut self, own: &FullJid, element: &Element, error: &StanzaError) {
        let kind = element.attribute("type");
        if kind == Some("error") || (element.name() == "iq" && kind == Some("result")) {
            return;
        }
        // The client looks for an answer from whom it asked: its own account where it named nobody (RFC 6120 §8.1.2.1).
        // A malformed address cannot answer.
        let asked = match element.attribute("to") {
            None => (element.name() != "presence").then(|| own.to_bare().to_string()),
            Some(to) => Jid::new(to).is_ok().then(|| to.to_string()),
        };
        let mut reply = element.clone().without_attribute("from").with_attribute("to", own.to_string());
        if let Some(asked) = asked {
            reply = reply.with_attribute("from", asked);
        }
        reply = reply.with_attribute("type", "error").with_child(error.to_element());
        self.write(&reply);
    }

    /// A stanza for the client: the answer to a request, if it is not logged in.
    pub fn send(&mut self, stanza: &Stanza) {
        if matches!(self.state, State::ExpectLogin) {
            self.refusals = if stanza.is_error() { self.refusals.saturating_add(1) } else { 0 };
        }
        self.wire.send(stanza);
    }

    fn answer(&mut self, stanza: Option<Stanza>) {
        if let Some(stanza) = stanza {
            self.wire.send(&stanza);
        }
    }

    fn write(&mut self, element: &Element) {
        self.wire.write(element);
    }

    /// Idle white space (RFC 6120 §4.6.1), so that a dead peer is found.
    pub fn heartbeat(&mut self) {
        if matches!(self.state, State::ExpectStanza(_)) {
            self.wire.heartbeat();
        }
    }

    /// Ends the stream with an error (RFC 6120 §4.9.1.1). Before a header, ours is sent first (RFC 6120 §4.9.1.2).
    ///
    /// Nothing that the client says from now on counts, when the server stops neither: its session is over, others saw it
    /// go, and no answer can reach it. What it saw no answer to it has to say again; other servers, which cannot be told
    /// so, are heard out ([`super::s2s_in::S2sIn::shut_down`]).
    pub fn fail(&mut self, env: &mut Env<'_>, error: StreamError) {
        if self.wire.is_ended() {
            return;
        }
        if !self.wire.is_header_sent() {
            self.version = header::Version::Xmpp;
            if self.host.is_empty() {
                self.host = env.config.hosts.first().map(|host| host.name.clone()).unwrap_or_default();
            }
            self.send_header(env, None);
        }
        log::debug!(target: &self.host, "stream of {} ends: {error}", self.peer);
        self.write(&error.to_element());
        self.end(error.condition().name());
    }

    /// RFC 6120 §4.4: the end tag, then the end of the connection.
    fn end(&mut self, reason: &'static str) {
        self.wire.end();
        self.state = State::Closed;
        self.actions.push_back(Action::Close(reason));
    }
}

impl C2s {
    /// The time is up: nobody logged in (RFC 6120 §4.9.3.4).
    pub fn login_timed_out(&mut self, env: &mut Env<'_>) {
        if !self.is_logged_in() && !self.is_closed() {
            let text = "Timeout waiting for authentication";
            self.fail(env, StreamError::new(StreamCondition::ConnectionTimeout, text));
        }
    }

    /// The wait after a failed login is over.
    pub fn woke(&mut self, env: &mut Env<'_>, now: Now) {
        login::woke(self, env, now);
    }
}
