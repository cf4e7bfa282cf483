//! The part of a client's stream before login: TLS, SASL, jabber:iq:auth, requests to register.

use crate::store::account::{self, Credentials, ScramHash};
use crate::store::plain_password;
use crate::stream::header::Version;
use crate::stream::legacy_auth::{self, Request, Secret, Ways};
use crate::stream::sasl::{
    self, BindingData, Exchange, Failure, HashJob, HashResult, LegacyHash, Mechanism, NeedKeys, Offer, Outcome,
    Password, PlainLogin, Step, Success,
};
use crate::stream::{Env, bind, wire};
use crate::xml::Element;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{BareJid, Condition, Jid, Now, Stanza, StanzaError, StreamError, jid, ns};

use super::{Action, Binding, C2s, Stage, State, likeness};

/// Who waits for the helper thread's word on a password.
pub(super) struct Verdict {
    account: Option<BareJid>,
    asker: Asker,
}

enum Asker {
    /// SASL PLAIN.
    Sasl,
    /// jabber:iq:auth, with the resource it asked for.
    Legacy { request: Stanza, resource: String },
}

/// A failed login that is answered late, so that guessing is slow.
pub(super) struct Penalty {
    until_millis: u64,
    reply: Element,
    is_last: bool,
}

/// Which mechanisms a stream tried.
///
/// Compat: libpurple tries each twice, and only when it has none left it knows that the password is wrong, and asks for
/// another instead of connecting again.
#[derive(Default)]
pub(super) struct Tried {
    /// A bit for each of `Mechanism::ALL`.
    mechanisms: u8,
    is_next: bool,
}

impl Tried {
    fn begin(&mut self, mechanism: Option<Mechanism>) {
        let place = Mechanism::ALL.iter().position(|one| Some(*one) == mechanism);
        let bit = place.map_or(0, |place| 1 << place);
        self.is_next = self.mechanisms != 0 && bit & !self.mechanisms != 0;
        self.mechanisms |= bit;
    }

    /// Whether what just failed was a mechanism that is tried for the first time, after another; asked once.
    fn took_next(&mut self) -> bool {
        std::mem::take(&mut self.is_next)
    }
}

/// What lines of record.log are about that tell of a failed login or registration.
pub(crate) const FAILED_LOGINS: &str = "failed logins and registrations in record.log";
/// What lines of the log are about that tell of keys and passwords that the store does not give or take.
const UNREADABLE: &str = "keys and passwords that cannot be read or kept";

/// The wait after the first failed login of a connection; each further one that counts doubles it.
const PENALTY_MILLIS: u64 = 500;
/// The longest wait.
const PENALTY_MILLIS_MAX: u64 = 8_000;

impl C2s {
    /// What TLS knows, and what it lets us offer.
    pub(super) fn offer_to(&self, env: &Env<'_>) -> Offer {
        let tls = self.tls.as_ref().map(|tls| BindingData { exporter: tls.exporter, end_point: tls.end_point.clone() });
        let plain_in_clear = tls.is_none() && !self.must_start_tls();
        let plain_is_on = self.host_config(env.config).is_some();
        let offer = Offer::new(tls, plain_in_clear && plain_is_on);
        match account::common_hashes(env.store, &self.host) {
            Ok(hashes) => offer.limited_to(&hashes),
            // Then the login fails, and says so.
            Err(_) => offer,
        }
    }

    /// A first-level element of a stranger.
    pub(super) fn login_element(&mut self, env: &mut Env<'_>, element: Element) {
        self.state = State::ExpectLogin;
        match (element.name(), element.ns()) {
            ("starttls", ns::TLS) => self.start_tls(),
            ("auth", ns::SASL) => self.auth(env, &element),
            ("response" | "abort", ns::SASL) => self.sasl_failed(env, None, &sasl_out_of_order()),
            (_, ns::CLIENT) => self.stanza_of_stranger(env, element),
            _ => self.fail(env, wire::unsupported(&element)),
        }
    }

    /// RFC 6120 §5.4.2: proceed, or failure and the end.
    fn start_tls(&mut self) {
        if !self.may_start_tls() {
            self.write(&Element::new("failure", ns::TLS));
            return self.end("no TLS to be had");
        }
        self.write(&Element::new("proceed", ns::TLS));
        self.wire.expect_tls();
        self.state = State::ExpectHandshake;
        self.actions.push_back(Action::StartTls);
    }

    /// RFC 6120 §6.4.2: the client chose a mechanism.
    fn auth(&mut self, env: &mut Env<'_>, element: &Element) {
        if self.must_start_tls() {
            self.note_clear("a login (SASL)");
            let why = Failure::told(sasl::Condition::EncryptionRequired, "use TLS first");
            return self.sasl_failed(env, None, &why);
        }
        let mechanism = element.attribute("mechanism").and_then(Mechanism::from_name);
        self.tried.begin(mechanism);
        let Some(mechanism) = mechanism else {
            let why = Failure::told(sasl::Condition::InvalidMechanism, "no such mechanism");
            return self.sasl_failed(env, None, &why);
        };
        let offer = self.offer.clone().unwrap_or_else(|| Box::new(self.offer_to(env)));
        let step = match sasl::decode(&element.text()) {
            Ok(initial) => {
                let initial = initial.as_ref().map(|bytes| bytes.as_slice());
                Exchange::start(mechanism, initial, &offer, env.random)
            }
            Err(failure) => failure.into(),
        };
        self.sasl_step(env, step);
    }

    /// RFC 6120 §6.4.3: a response, or RFC 6120 §6.4.4: an abort.
    pub(super) fn sasl_element(&mut self, env: &mut Env<'_>, exchange: Exchange, element: &Element) {
        self.state = State::ExpectLogin;
        match (element.name(), element.ns()) {
            ("response", ns::SASL) => {
                let step = match sasl::decode(&element.text()) {
                    Ok(response) => {
                        exchange.respond(response.as_ref().map(|bytes| bytes.as_slice()).unwrap_or_default())
                    }
                    Err(failure) => failure.into(),
                };
                self.sasl_step(env, step);
            }
            ("abort", ns::SASL) => self.sasl_failed(env, None, &Failure::ABORTED),
            ("auth", ns::SASL) => self.sasl_failed(env, None, &sasl_out_of_order()),
            _ => self.fail(env, StreamCondition::NotAuthorized.into()),
        }
    }

    fn sasl_step(&mut self, env: &mut Env<'_>, step: Step) {
        match step {
            Step::Challenge(bytes, exchange) => {
                self.write(&Element::new("challenge", ns::SASL).with_text(sasl::encode(&bytes)));
                self.state = State::ExpectResponse(Box::new(exchange));
            }
            Step::NeedKeys(need) => {
                let step = self.keys_for(env, need);
                self.sasl_step(env, step);
            }
            Step::NeedVerdict(plain) => self.check_plain(env, plain),
            Step::Success(success) => self.sasl_succeeded(env, &success),
            Step::Failure(failure) => self.sasl_failed(env, None, &failure),
        }
    }

    /// The account that a name means here (RFC 6120 §6.3.7); `None` for what can be no localpart.
    fn account_named(&self, username: &str) -> Option<BareJid> {
        let domain = jid::DomainPart::new(&self.host).ok()?;
        domain.with_node_str(username).ok()
    }

    fn keys_for(&mut self, env: &mut Env<'_>, need: NeedKeys) -> Step {
        let account = self.account_named(need.username());
        self.claimed.clone_from(&account);
        let name = account.as_ref().map_or_else(|| need.username().to_string(), BareJid::to_string);
        let found = account.map_or(Ok(None), |account| account::credentials(env.store, &account));
        match found {
            Err(error) => {
                log::error!(target: &self.host, strangers = UNREADABLE;
                    "the keys of {name} could not be read: {error}");
                Failure::silent(sasl::Condition::TemporaryAuthFailure, "the store failed").into()
            }
            Ok(stored) => match stored.as_ref().and_then(|credentials| credentials.keys(need.hash()).cloned()) {
                Some(keys) => need.known(keys),
                None => {
                    let likeness = stored.unwrap_or_else(|| likeness::of_nobody(env, &self.host, &name));
                    self.is_in_vain = likeness::has_old_hash_only(&likeness);
                    let model = likeness.keys(need.hash());
                    need.unknown(env.decoy, &name, model)
                }
            },
        }
    }

    fn check_plain(&mut self, env: &mut Env<'_>, plain: PlainLogin) {
        let account = self.account_named(&plain.username);
        let allowed = account.as_ref().map_or(Ok(()), |account| sasl::check_authzid(plain.authzid.as_deref(), account));
        if let Err(failure) = allowed {
            return self.sasl_failed(env, account.as_ref(), &failure);
        }
        self.check_password(env, &plain.username, account, plain.password, Asker::Sasl);
    }

    /// Hands a password to the helper thread; a name without an account costs as much time.
    fn check_password(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
        account: Option<BareJid>,
        password: Password,
        asker: Asker,
    ) {
        let stored = match account.as_ref().map_or(Ok(None), |account| account::credentials(env.store, account)) {
            Ok(stored) => stored,
            Err(error) => {
                log::error!(target: &self.host, strangers = UNREADABLE;
                    "the keys of {name} could not be read: {error}");
                None
            }
        };
        let legacy = stored.as_ref().and_then(|stored| stored.legacy.as_ref());
        let legacy = legacy.and_then(|hash| LegacyHash::from_text(&hash.value));
        let keys = stored.as_ref().and_then(sasl::quickest).cloned();
        let has_all = stored.as_ref().is_some_and(|stored| stored.scram.len() == ScramHash::ALL.len());
        let job = match (keys, legacy) {
            (Some(keys), _) if has_all => HashJob::verify(0, password, keys),
            (Some(keys), _) => HashJob::complete(0, password, keys, env.random),
            (None, Some(hash)) => HashJob::upgrade(0, password, hash, env.random),
            (None, None) => {
                let name = account.as_ref().map_or_else(|| name.to_string(), BareJid::to_string);
                let likeness = likeness::of_nobody(env, &self.host, &name);
                let model = sasl::quickest(&likeness).map(|model| env.decoy.keys_like(model, &name));
                let keys = model.unwrap_or_else(|| env.decoy.keys(ScramHash::Sha256, &name));
                HashJob::verify(0, password, keys)
            }
        };
        self.claimed.clone_from(&account);
        let account = account.filter(|_| stored.is_some());
        self.state = State::ExpectVerdict(Box::new(Verdict { account, asker }));
        self.actions.push_back(Action::Hash(job));
    }

    /// The helper thread's word.
    pub fn hashed(&mut self, env: &mut Env<'_>, result: HashResult) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        let State::ExpectVerdict(verdict) = state else {
            self.state = state;
            return;
        };
        self.state = State::ExpectLogin;
        let is_busy = matches!(result.outcome, Outcome::Busy);
        let is_right = match result.outcome {
            Outcome::Verified(is_right) => is_right,
            Outcome::Upgraded(Some(keys)) => {
                self.keep_upgraded(env, verdict.account.as_ref(), &keys);
                true
            }
            Outcome::Upgraded(None) | Outcome::Derived(_) | Outcome::Busy => false,
        };
        let Verdict { account, asker } = *verdict;
        let allowed = match &account {
            _ if is_busy => Err(Failure::silent(sasl::Condition::TemporaryAuthFailure, "too many logins at once")),
            Some(account) if is_right => self.may_log_in(env, account),
            Some(_) => Err(Failure::WRONG_PASSWORD),
            None => Err(Failure::NO_ACCOUNT),
        };
        match (asker, account, allowed) {
            (Asker::Sasl, Some(account), Ok(())) => self.sasl_done(env, account, None),
            (Asker::Sasl, account, allowed) => {
                self.sasl_failed(env, account.as_ref(), &allowed.err().unwrap_or(Failure::NO_ACCOUNT));
            }
            (Asker::Legacy { request, resource }, Some(account), Ok(())) => {
                self.forget_plain(env, &account);
                self.legacy_bind(account, request, &resource);
            }
            (Asker::Legacy { request, resource }, account, allowed) => {
                let why = allowed.err().unwrap_or(Failure::NO_ACCOUNT);
                self.legacy_failed(env, account.as_ref(), &request, &resource, &why);
            }
        }
    }

    fn keep_upgraded(&self, env: &mut Env<'_>, account: Option<&BareJid>, keys: &Credentials) {
        let Some(account) = account else { return };
        if let Err(error) = account::set_credentials(env.store, account, keys) {
            log::error!(target: &self.host, strangers = UNREADABLE;
                "the new keys of {account} could not be kept: {error}");
        }
    }

    /// Who can log in by another way needs no digest, and so no password that is kept as text.
    fn forget_plain(&self, env: &mut Env<'_>, account: &BareJid) {
        if env.config.keep_plain_passwords.is_none() {
            return;
        }
        if let Err(error) = plain_password::forget(env.store, account) {
            log::error!(target: &self.host, strangers = UNREADABLE;
                "the password of {account} could not be forgotten: {error}");
        }
    }

    /// Is the account there still, and not disabled?
    fn may_log_in(&self, env: &mut Env<'_>, account: &BareJid) -> Result<(), Failure> {
        match account::account(env.store, account) {
            Ok(Some(found)) if found.disabled => {
                Err(Failure::silent(sasl::Condition::AccountDisabled, "the account is disabled"))
            }
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Failure::NO_ACCOUNT),
            Err(_) => Err(Failure::silent(sasl::Condition::TemporaryAuthFailure, "the store failed")),
        }
    }

    fn sasl_succeeded(&mut self, env: &mut Env<'_>, success: &Success) {
        let Some(account) = self.account_named(&success.username) else {
            return self.sasl_failed(env, None, &Failure::NO_ACCOUNT);
        };
        let allowed = sasl::check_authzid(success.authzid.as_deref(), &account);
        match allowed.and_then(|()| self.may_log_in(env, &account)) {
            Ok(()) => self.sasl_done(env, account, Some(&success.server_final)),
            Err(failure) => self.sasl_failed(env, Some(&account), &failure),
        }
    }

    /// RFC 6120 §6.4.6: success, and a new stream over the same connection.
    fn sasl_done(&mut self, env: &mut Env<'_>, account: BareJid, server_final: Option<&[u8]>) {
        self.forget_plain(env, &account);
        let text = server_final.map(sasl::encode).unwrap_or_default();
        self.write(&Element::new("success", ns::SASL).with_text(text));
        self.wire.restart();
        self.state = State::ExpectHeader(Stage::LoggedIn(account));
    }

    /// RFC 6120 §6.4.5: failure, said after a wait if it was a guess; after too many the stream ends.
    fn sasl_failed(&mut self, env: &mut Env<'_>, account: Option<&BareJid>, failure: &Failure) {
        let condition = Element::new(failure.condition.name(), ns::SASL);
        let mut reply = Element::new("failure", ns::SASL).with_child(condition);
        if let Some(text) = failure.text {
            reply = reply.with_child(Element::new("text", ns::SASL).with_attribute("xml:lang", "en").with_text(text));
        }
        self.sasl_has_failed = true;
        if std::mem::take(&mut self.is_in_vain) {
            // So is the next mechanism; another stream is not, and shall not be waited for long.
            self.tried.took_next();
            self.actions.push_back(Action::FailedInVain);
        }
        let claimed = self.claimed.take();
        let who = account.or(claimed.as_ref()).map_or_else(|| self.host.clone(), BareJid::to_string);
        if failure.is_guess() {
            return self.login_failed(env, &who, "(null)", failure.why, reply);
        }
        match failure.condition {
            // Told already, or what the client itself wanted.
            sasl::Condition::EncryptionRequired | sasl::Condition::Aborted => {}
            _ => self.note_failure(&who, failure.why),
        }
        self.count_failure();
        self.write(&reply);
        self.state = State::ExpectLogin;
        if self.failures >= env.config.limits.failed_logins_max {
            self.fail(env, too_many_failures());
        }
    }

    /// XEP-0078 §3.1: the same for clients from before SASL.
    fn legacy_failed(
        &mut self,
        env: &mut Env<'_>,
        account: Option<&BareJid>,
        request: &Stanza,
        resource: &str,
        failure: &Failure,
    ) {
        let claimed = self.claimed.take();
        let is_ours = failure.condition == sasl::Condition::TemporaryAuthFailure;
        let condition = if is_ours { Condition::ResourceConstraint } else { Condition::NotAuthorized };
        let Some(refusal) = legacy_auth::refusal(request, &condition.into()) else { return };
        let who = account.or(claimed.as_ref()).map_or_else(|| self.host.clone(), BareJid::to_string);
        if is_ours {
            self.note_failure(&who, failure.why);
            return self.answer(Some(refusal));
        }
        self.login_failed(env, &who, resource, failure.why, refusal.element().clone());
    }

    /// RFC 6120 §6.4.5: retries are counted; the next mechanism on the client's list is none.
    fn count_failure(&mut self) {
        if !self.tried.took_next() {
            self.failures = self.failures.saturating_add(1);
        }
    }

    fn note_failure(&self, who: &str, why: &str) {
        log::info!(target: &self.host, strangers = "failed logins", by:% = self.peer;
            "login of {who} from {} failed: {why}", self.peer);
    }

    /// Something was tried without TLS, where that comes first: the commonest reason why an old client does not get in.
    fn note_clear(&self, what: &str) {
        log::info!(target: &self.host, strangers = "logins and registrations without TLS", by:% = self.peer;
            "{what} from {} was refused: without TLS (STARTTLS) it is not taken: switch that on in the client, or let \
             its network in without by <plain-login> in jabber.xml", self.peer);
    }

    /// Something else was refused before login.
    fn note_refusal(&self, what: &str, why: &str) {
        log::info!(target: &self.host, strangers = "refused requests before login", by:% = self.peer;
            "{what} from {} was refused: {why}", self.peer);
    }

    /// A request of a stranger is answered by an error; who goes on and on is heard no longer.
    fn refuse(&mut self, reply: Option<Stanza>) {
        self.refusals = self.refusals.saturating_add(1);
        self.answer(reply);
    }

    /// One stable line for fail2ban, then the penalty.
    fn login_failed(&mut self, env: &mut Env<'_>, who: &str, resource: &str, why: &str, reply: Element) {
        self.count_failure();
        log::info!(target: &format!("record:{who}"), strangers = FAILED_LOGINS, by:% = self.peer;
            "login fail {} 401 {resource}", self.peer);
        self.note_failure(who, why);
        self.actions.push_back(Action::LoginFailed);
        let doublings = u32::try_from(self.failures.saturating_sub(1)).unwrap_or(u32::MAX).min(8);
        let own = PENALTY_MILLIS.saturating_mul(1 << doublings).min(PENALTY_MILLIS_MAX);
        let wait = if env.address_is_suspect { PENALTY_MILLIS_MAX } else { own };
        let until_millis = env.now.monotonic_millis.saturating_add(wait);
        let is_last = self.failures >= env.config.limits.failed_logins_max;
        self.state = State::Penalty(Box::new(Penalty { until_millis, reply, is_last }));
        self.actions.push_back(Action::WakeAt(until_millis));
    }

    /// Requests before login: jabber:iq:auth is ours, others are for the modules. Anything else is not authorized
    /// (RFC 6120 §4.9.3.12).
    fn stanza_of_stranger(&mut self, env: &mut Env<'_>, element: Element) {
        let stanza = match Stanza::parse(element.clone()) {
            Ok(stanza) => stanza,
            Err(_) => return self.fail(env, StreamCondition::NotAuthorized.into()),
        };
        let is_for_host = stanza.to().is_none_or(|to| self.is_own_host(env, to));
        let is_known =
            stanza.as_request().is_some_and(|iq| matches!(iq.payload().ns(), ns::IQ_AUTH | ns::REGISTER | ns::PREAUTH));
        if is_known && !is_for_host && self.is_astray(env, &stanza) {
            let error = StanzaError::new(Condition::NotAllowed, format!("This stream is for {}.", self.host));
            self.note_refusal("a request", "it is for another host than the stream");
            return self.refuse(legacy_auth::refusal(&stanza, &error));
        }
        if (!is_known || !is_for_host) && self.version == Version::Legacy {
            // Compat: jabberd 1.4 kept what came too early, and clients of its time counted on that.
            return self.early.push_back(element);
        }
        if !is_known || !is_for_host {
            let text = "log in first";
            return self.fail(env, StreamError::new(StreamCondition::NotAuthorized, text));
        }
        if self.must_start_tls() {
            let error = StanzaError::new(Condition::PolicyViolation, "Use TLS first (STARTTLS, or port 5223).");
            let is_login = legacy_auth::is_auth(&stanza);
            self.note_clear(if is_login { "a login (jabber:iq:auth)" } else { "a registration" });
            return self.refuse(legacy_auth::refusal(&stanza, &error));
        }
        if legacy_auth::is_auth(&stanza) {
            if self.sasl_has_failed {
                // XEP-0078 §3.1, §6: no weaker way in after SASL said no.
                let text = "a login with SASL failed before";
                self.note_refusal("a login (jabber:iq:auth)", text);
                return self.fail(env, StreamError::new(StreamCondition::PolicyViolation, text));
            }
            self.legacy_login(env, stanza);
        } else {
            // Who is not logged in has no address; answers go to the stream.
            self.actions.push_back(Action::Request(stanza.without_addresses()));
        }
    }

    /// Can this request, which is not for the stream's host, not be meant for after the login either? A login elsewhere, or
    /// an account at another host of ours.
    fn is_astray(&self, env: &Env<'_>, stanza: &Stanza) -> bool {
        let is_register = stanza.as_request().is_some_and(|iq| iq.payload().ns() == ns::REGISTER);
        let host_of = |to: &Jid| env.config.host(to.domain().as_str()).map(|host| host.name.as_str());
        !is_register || stanza.to().and_then(host_of).is_some_and(|host| host != self.host)
    }

    fn legacy_login(&mut self, env: &mut Env<'_>, request: Stanza) {
        let ways = self.host_config(env.config).map(|host| Ways::of(env.config, host)).filter(|ways| ways.any());
        let Some(ways) = ways else {
            self.note_refusal("a login (jabber:iq:auth)", "jabber.xml switches that off: let the client use SASL");
            return self.refuse(legacy_auth::refusal(&request, &Condition::ServiceUnavailable.into()));
        };
        match legacy_auth::parse(&request, ways) {
            Err(error) => {
                self.record_incomplete(&request, &error);
                self.refuse(legacy_auth::refusal(&request, &error));
            }
            Ok(Request::Fields(username)) => {
                let digest = ways.digest && self.shows_digest(env, &username);
                let fields = legacy_auth::fields(username, Ways { digest, ..ways });
                self.answer(Some(request.result(Some(fields)).without_addresses()));
            }
            Ok(Request::Login { username, secret: Secret::Password(password), resource }) => {
                let account = self.account_named(&username);
                match Password::new(&password) {
                    Ok(password) => {
                        let asker = Asker::Legacy { request, resource };
                        self.check_password(env, &username, account, password, asker);
                    }
                    Err(_) => {
                        let why = Failure::WRONG_PASSWORD;
                        self.legacy_failed(env, account.as_ref(), &request, &resource, &why);
                    }
                }
            }
            Ok(Request::Login { username, secret: Secret::Digest(digest), resource }) => {
                self.check_digest(env, &username, &digest, request, &resource);
            }
        }
    }

    /// Is this name told that it may use the digest? One without an account as some account is.
    fn shows_digest(&self, env: &Env<'_>, username: &str) -> bool {
        let account = self.account_named(username);
        let exists = account.as_ref().map_or(Ok(false), |account| account::exists(env.store, account));
        let name = account.as_ref().map_or_else(|| username.to_string(), BareJid::to_string);
        let shown = match exists {
            Ok(true) => account,
            _ => likeness::model_of_nobody(env, &self.host, &name),
        };
        shown.is_some_and(|account| self.kept_password(env, &account).is_some())
    }

    /// The password that is kept as text, as long as it may be.
    fn kept_password(&self, env: &Env<'_>, account: &BareJid) -> Option<plain_password::Kept> {
        let end = env.config.keep_plain_passwords?.end_unix_millis(env.now.unix_millis);
        match plain_password::of(env.store, account) {
            Ok(kept) => kept.filter(|kept| kept.since_unix_millis > end),
            Err(error) => {
                log::error!(target: &self.host, strangers = UNREADABLE;
                    "the password of {account} could not be read: {error}");
                None
            }
        }
    }

    /// XEP-0078 §3.1: a digest. Who has no password here that it could be of hears what a wrong one hears.
    fn check_digest(&mut self, env: &mut Env<'_>, username: &str, digest: &str, request: Stanza, resource: &str) {
        let account = self.account_named(username);
        let kept = account.as_ref().and_then(|account| self.kept_password(env, account));
        let is_right = kept.is_some_and(|kept| legacy_auth::is_digest(digest, &self.id, &kept.password));
        let wrong = Failure::silent(sasl::Condition::NotAuthorized, "wrong digest, or no password to check it with");
        let allowed = match &account {
            Some(account) if is_right => self.may_log_in(env, account),
            _ => Err(wrong),
        };
        match (account, allowed) {
            (Some(account), Ok(())) => self.legacy_bind(account, request, resource),
            (account, Err(why)) => self.legacy_failed(env, account.as_ref(), &request, resource, &why),
            (None, Ok(())) => self.legacy_failed(env, None, &request, resource, &Failure::NO_ACCOUNT),
        }
    }

    /// Compat: jabberd 1.4 recorded a login without all its fields as a failed one, with the code of its error.
    fn record_incomplete(&self, request: &Stanza, error: &StanzaError) {
        let Some(iq) = request.as_request() else { return };
        let field = |name| iq.payload().child(name, ns::IQ_AUTH).map(|field| field.text().into_owned());
        let account = field("username").and_then(|name| self.account_named(&name));
        let who = account.map_or_else(|| self.host.clone(), |account| account.to_string());
        let resource = field("resource").filter(|resource| !resource.is_empty());
        let (code, resource) = (error.code(), resource.as_deref().unwrap_or("(null)"));
        log::info!(target: &format!("record:{who}"), strangers = FAILED_LOGINS, by:% = self.peer;
            "login fail {} {code} {resource}", self.peer);
    }

    fn legacy_bind(&mut self, account: BareJid, request: Stanza, resource: &str) {
        match bind::with_resource(&account, resource) {
            Ok(jid) => self.ask_to_bind(Binding { account, request, legacy: true }, jid),
            Err(error) => {
                self.note_refusal(
                    "a login (jabber:iq:auth)",
                    &format!("its resource cannot be had: {}", error.reason()),
                );
                self.refuse(legacy_auth::refusal(&request, &error));
            }
        }
    }
}

/// RFC 6120 §4.9.4: the closer condition is what many a client shows to its user.
fn too_many_failures() -> StreamError {
    StreamError::new(StreamCondition::PolicyViolation, "too many failed logins").with_closer("not-authorized", ns::SASL)
}

/// Too much was refused in a row.
pub(super) fn too_many_refusals() -> StreamError {
    StreamError::new(StreamCondition::PolicyViolation, "too many refusals").with_closer("not-authorized", ns::SASL)
}

fn sasl_out_of_order() -> Failure {
    Failure::told(sasl::Condition::MalformedRequest, "out of order")
}

/// The wait is over: the failure is said.
pub(super) fn woke(stream: &mut C2s, env: &mut Env<'_>, now: Now) {
    let state = std::mem::replace(&mut stream.state, State::Closed);
    let State::Penalty(penalty) = state else {
        stream.state = state;
        return;
    };
    if now.monotonic_millis < penalty.until_millis {
        stream.state = State::Penalty(penalty);
        return;
    }
    stream.write(&penalty.reply);
    stream.state = State::ExpectLogin;
    if penalty.is_last {
        // RFC 6120 §6.4.5: after some retries the stream ends.
        stream.fail(env, too_many_failures());
    }
}
