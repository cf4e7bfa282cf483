//! A stream that another server opens to us (RFC 6120, XEP-0220, XEP-0178, XEP-0288).
//!
//! | state | awaits | then |
//! |---|---|---|
//! | `ExpectHeader` | the peer's header | features (none for a peer without version); `Open` |
//! | `ExpectHandshake` | TLS, after `<proceed/>` | `ExpectHeader` |
//! | `Open` | `<starttls/>`, `<auth/>`, dialback, stanzas of proved pairs | the end |
//! | `Closing` | after our end: what the peer had on its way, and its own end | `Closed` |
//! | `Closed` | nothing | |
//!
//! A stanza is taken only if its `from` is of a domain that was proved on this stream to the host it is for. A blocked
//! domain that shall not notice is believed without a proof, since all that comes from it goes nowhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use super::dialback::{self, Pair, Verdict};
use super::header::{self, Version};
use super::sm::{self, Handled, Mark, Sent, Unsent};
use super::wire::{self, Handed, Wire};
use super::{Env, Over, TlsInfo, sasl};
use crate::config::federation::{RemoteAuth, RemoteTls};
use crate::xml::Element;
use crate::xml::reader::{Event, StreamHeader};
use crate::xmpp::stanza::NotAStanza;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Condition, Jid, Stanza, StreamError, jid, ns};

/// What the stream asks for, in order.
#[derive(Debug)]
pub enum Action {
    /// Begin TLS as the server, once what was written has left.
    StartTls(String),
    /// Ask the authoritative server of `pair.from` whether it gave this key to this stream.
    Verify {
        /// The remote domain and our host.
        pair: Pair,
        /// The id of this stream.
        stream_id: String,
        /// The key.
        key: String,
    },
    /// A pair was proved, by `EXTERNAL` or `dialback`: for record.log.
    Proved {
        /// The remote domain and our host.
        pair: Pair,
        /// By which proof.
        how: &'static str,
    },
    /// Both directions are open for this pair (XEP-0288): stanzas to `pair.from` may leave here.
    Bidirectional(Pair),
    /// A stanza of a proved pair.
    Stanza(Stanza),
    /// A stanza from a blocked domain, whose sender was not proved: it goes nowhere, and record.log tells of it.
    Blocked(Stanza),
    /// The stanzas with these rows arrived.
    Acknowledged(Vec<u64>),
    /// We say nothing more, and hear the peer out: call [`S2sIn::hang_up`] after a while. Why, for the log.
    Ended(String),
    /// Nothing more will be said; why, for the log.
    Close(Over),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    ExpectHeader,
    ExpectHandshake,
    Open,
    Closing,
    Closed,
}

/// How many pairs of domains may be proved on one stream: who has a whole zone has any number of names.
const PROVED_MAX: usize = 1_000;

/// How many keys may wait for the authoritative servers' word on one stream.
const AWAITED_MAX: usize = 16;

/// What lines of the log are about that tell of a refused domain.
const REFUSALS: &str = "refusals of other servers";

/// An incoming stream.
pub struct S2sIn {
    state: State,
    wire: Wire,
    actions: VecDeque<Action>,
    peer: IpAddr,
    tls: Option<TlsInfo>,
    version: Version,
    /// The host that the peer wants, and who it says it is.
    host: String,
    claimed: Option<String>,
    stream_id: String,
    /// The domain that SASL proved.
    authenticated: Option<String>,
    bidi: bool,
    /// XEP-0198, once the peer enabled it.
    handled: Option<Handled>,
    /// The other direction, where both are open: what the peer has not acknowledged.
    sent: Option<Sent>,
    /// What was proved on this stream, and by which proof.
    proved: BTreeMap<Pair, &'static str>,
    awaited: BTreeSet<Pair>,
    /// Blocked domains that were let in to be dropped, and not proved.
    let_in: BTreeSet<Pair>,
    unauthenticated_bytes: usize,
    /// Domains that were refused in a row.
    refusals: usize,
}

impl S2sIn {
    /// A stream on a connection that was just accepted.
    pub fn new(env: &Env<'_>, peer: IpAddr) -> S2sIn {
        S2sIn {
            state: State::ExpectHeader,
            wire: Wire::new(ns::SERVER, &env.config.limits),
            actions: VecDeque::new(),
            peer,
            tls: None,
            version: Version::Legacy,
            host: String::new(),
            claimed: None,
            stream_id: String::new(),
            authenticated: None,
            bidi: false,
            handled: None,
            sent: None,
            proved: BTreeMap::new(),
            awaited: BTreeSet::new(),
            let_in: BTreeSet::new(),
            unauthenticated_bytes: 0,
            refusals: 0,
        }
    }

    /// Has the peer proved any domain?
    pub fn is_proved(&self) -> bool {
        self.authenticated.is_some() || !self.proved.is_empty()
    }

    /// The version of TLS, if there is any.
    pub fn tls(&self) -> Option<&'static str> {
        self.tls.as_ref().map(|tls| tls.protocol)
    }

    /// Are both directions open on it (XEP-0288)?
    pub fn is_bidirectional(&self) -> bool {
        self.bidi
    }

    /// Is TLS on?
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Is our end said?
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closing | State::Closed)
    }

    /// What was written since the last call.
    pub fn take_output(&mut self) -> String {
        self.wire.take_output()
    }

    /// White space for an idle stream.
    pub fn heartbeat(&mut self) {
        if self.is_proved() && self.state == State::Open {
            self.wire.heartbeat();
        }
    }

    /// A stanza for the peer, where both directions are open.
    pub fn send(&mut self, stanza: &Stanza, mark: Mark) -> Handed {
        let handed = self.wire.send_managed(stanza, mark, &mut self.sent);
        if handed == Handed::TooMuch {
            self.hang_up("it acknowledges too little of what is sent");
        }
        handed
    }

    /// Is what is sent acknowledged? Then the rows come back with [`Action::Acknowledged`], or with
    /// [`S2sIn::take_unacknowledged`].
    pub fn is_acknowledged(&self) -> bool {
        self.sent.is_some()
    }

    /// Gives rows to what is not acknowledged since the last call. Returns whether anything is to be looked at again.
    pub fn mark_old(&mut self, keep: impl FnMut(&Stanza) -> Option<u64>) -> bool {
        self.sent.as_mut().is_some_and(|sent| sent.mark_old(keep))
    }

    /// What was sent and not acknowledged, when the connection is lost: in order.
    pub fn take_unacknowledged(&mut self) -> VecDeque<Unsent> {
        self.sent.as_mut().map(Sent::take).unwrap_or_default()
    }

    /// Bytes from the peer.
    pub fn push(&mut self, env: &mut Env<'_>, bytes: &[u8]) {
        if !self.is_proved() {
            self.unauthenticated_bytes = self.unauthenticated_bytes.saturating_add(bytes.len());
            if self.unauthenticated_bytes > env.config.limits.unauthenticated_total_bytes_max {
                return self.fail(env, &StreamError::new(StreamCondition::PolicyViolation, "too much before login"));
            }
        }
        self.wire.push(bytes);
    }

    /// TLS is on.
    pub fn secured(&mut self, env: &Env<'_>, tls: TlsInfo) {
        self.tls = Some(tls);
        if self.state == State::ExpectHandshake {
            self.wire.begin_again(&env.config.limits);
            self.state = State::ExpectHeader;
            // What was said before TLS does not count any more.
            self.bidi = false;
            self.proved.clear();
            self.awaited.clear();
            self.let_in.clear();
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

    /// The next thing to do, or `None` until there is more input.
    pub fn poll(&mut self, env: &mut Env<'_>) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if matches!(self.state, State::ExpectHandshake | State::Closed) {
                return None;
            }
            match self.wire.next() {
                Ok(None) => return None,
                Ok(Some(event)) => self.step(env, event),
                Err(error) => self.fail(env, &error),
            }
        }
    }

    /// The authoritative server's word (XEP-0220 §2.2.1).
    pub fn verified(&mut self, env: &mut Env<'_>, pair: &Pair, stream_id: &str, verdict: &Verdict) {
        if self.stream_id != stream_id || !self.awaited.remove(pair) || self.is_closed() {
            return;
        }
        self.wire.write(&dialback::result(&pair.to, &pair.from, verdict));
        match verdict {
            Verdict::Valid => self.prove(env, pair.clone(), "dialback"),
            // XEP-0220 §2.2.1: an invalid key ends the stream; an error does not.
            Verdict::Invalid => self.end("the dialback key was not valid"),
            Verdict::Failed(..) => {}
        }
    }

    /// The time is up: no domain was proved (RFC 6120 §4.9.3.4).
    pub fn timed_out(&mut self, env: &mut Env<'_>) {
        if !self.is_proved() {
            self.fail(env, &StreamCondition::ConnectionTimeout.into());
        }
    }

    /// The pairs that were proved, and by which proof.
    pub fn proved(&self) -> impl Iterator<Item = (&Pair, &'static str)> {
        self.proved.iter().map(|(pair, how)| (pair, *how))
    }

    /// Was this domain proved to this host of ours?
    pub fn speaks_for(&self, domain: &str, host: &str) -> bool {
        // A certificate proves it to all our hosts.
        self.authenticated.as_deref() == Some(domain)
            || self.proved.keys().any(|pair| pair.from == domain && pair.to == host)
    }

    /// The id that our header gave to this stream.
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// Ends the stream without an error. What the peer has on its way is heard still (RFC 6120 §4.4).
    pub fn end(&mut self, why: &str) {
        match self.state == State::Open && self.is_proved() {
            true => self.end_ours(None, why),
            false if self.is_closed() => {}
            false => self.hang_up(why),
        }
    }

    /// Ends the stream because the server stops. What the peer has on its way is heard still.
    pub fn shut_down(&mut self, env: &mut Env<'_>) {
        let error = StreamError::from(StreamCondition::SystemShutdown);
        match self.state == State::Open && self.is_proved() {
            true => self.end_ours(Some(&error), "this server stops"),
            false => self.fail(env, &error),
        }
    }

    fn end_ours(&mut self, error: Option<&StreamError>, why: &str) {
        self.wire.end_ours(self.handled.as_ref(), self.sent.as_ref(), error);
        self.state = State::Closing;
        self.actions.push_back(Action::Ended(why.to_string()));
    }

    /// Ends the stream, whatever the peer has to say.
    pub fn hang_up(&mut self, why: &str) {
        self.close(Over::Ours(why.to_string()));
    }

    fn close(&mut self, over: Over) {
        if self.state != State::Closed {
            self.wire.end();
            self.state = State::Closed;
            self.actions.push_back(Action::Close(over));
        }
    }

    /// Ends the stream with an error; our header comes first.
    pub fn fail(&mut self, env: &mut Env<'_>, error: &StreamError) {
        if self.state == State::Closed {
            return;
        }
        if !self.wire.is_header_sent() {
            self.version = Version::Xmpp;
            self.send_header(env);
        }
        self.wire.fail(error);
        self.state = State::Closed;
        self.actions.push_back(Action::Close(Over::Ours(error.to_string())));
    }

    fn step(&mut self, env: &mut Env<'_>, event: Event) {
        match event {
            Event::Whitespace => {}
            Event::Closed => self.close(Over::Peer),
            Event::Opened(header) if self.state == State::ExpectHeader => self.opened(env, &header),
            Event::Element(element) if self.state == State::Open => self.element(env, element),
            Event::Element(element) if self.state == State::Closing => self.late_element(env, element),
            Event::Opened(_) | Event::Element(_) => self.fail(env, &StreamCondition::BadFormat.into()),
        }
    }

    fn send_header(&mut self, env: &mut Env<'_>) {
        if self.host.is_empty() {
            self.host = env.config.hosts.first().map(|host| host.name.clone()).unwrap_or_default();
        }
        self.stream_id = env.random.token();
        let ours = header::Ours {
            content_ns: ns::SERVER,
            from: Some(&self.host),
            to: self.claimed.as_deref(),
            id: Some(&self.stream_id),
            version: self.version,
            lang: None,
        };
        self.wire.send_header(&ours);
    }

    fn opened(&mut self, env: &mut Env<'_>, theirs: &StreamHeader) {
        let version = header::check(theirs, ns::SERVER);
        self.version = *version.as_ref().unwrap_or(&Version::Xmpp);
        let wanted = theirs.to.as_deref().and_then(|to| crate::config::hosts::host_name(to).ok());
        let known = wanted.as_deref().is_none_or(|to| env.is_own(to));
        if let (Some(to), true) = (&wanted, known) {
            self.host = to.clone();
        }
        self.claimed = theirs.from.as_deref().and_then(jid::of_host).map(|from| from.to_string());
        self.send_header(env);
        if let Err(error) = version {
            return self.fail(env, &error);
        }
        if !known {
            let text = format!("{} is not served here", wanted.unwrap_or_default());
            log::info!(target: "s2s", scanners = "servers that ask for other hosts", by:% = self.peer;
                "a server at {} was refused: {text}: <host> in jabber.xml names what is", self.peer);
            return self.fail(env, &StreamError::new(StreamCondition::HostUnknown, text));
        }
        self.state = State::Open;
        if self.version == Version::Xmpp {
            let features = self.features(env);
            self.wire.write(&features);
        }
        if let (true, Some(domain)) = (self.bidi, self.authenticated.clone()) {
            self.actions.push_back(Action::Bidirectional(Pair { from: domain, to: self.host.clone() }));
        }
    }

    /// What is offered now (RFC 6120 §4.3.2). TLS that must come first is offered alone.
    fn features(&self, env: &Env<'_>) -> Element {
        let features = Element::new("features", ns::STREAMS);
        let policy = self.claimed.as_deref().map(|claimed| env.policy(claimed)).unwrap_or_default();
        if self.tls.is_none() && policy.tls != RemoteTls::Never {
            let starttls = Element::new("starttls", ns::TLS);
            if policy.tls == RemoteTls::Required {
                return features.with_child(starttls.with_child(Element::new("required", ns::TLS)));
            }
            return features.with_child(starttls).with_children(self.dialback_feature(policy.auth));
        }
        let mut features = features;
        if self.authenticated.is_none() {
            if self.certificate_proves(env).is_some() && policy.auth != RemoteAuth::Dialback {
                let external = Element::new("mechanism", ns::SASL).with_text("EXTERNAL");
                features = features.with_child(Element::new("mechanisms", ns::SASL).with_child(external));
            }
            features = features.with_child(Element::new("bidi", ns::BIDI_FEATURE));
        } else {
            features = features.with_child(sm::element("sm"));
        }
        features.with_children(self.dialback_feature(policy.auth))
    }

    fn tls_is_missing(&self, env: &Env<'_>) -> bool {
        let policy = self.claimed.as_deref().map(|claimed| env.policy(claimed)).unwrap_or_default();
        self.tls.is_none() && policy.tls == RemoteTls::Required
    }

    /// XEP-0220 §2.4.2: dialback, and that we know errors in it.
    fn dialback_feature(&self, auth: RemoteAuth) -> Option<Element> {
        let feature = Element::new("dialback", ns::DIALBACK_FEATURE);
        (auth != RemoteAuth::Certificate).then(|| feature.with_child(Element::new("errors", ns::DIALBACK_FEATURE)))
    }

    /// The domain that the peer claims, if its certificate is for that domain and from somebody we trust.
    fn certificate_proves(&self, env: &Env<'_>) -> Option<String> {
        let claimed = self.claimed.clone()?;
        self.certificate_is_for(env, &claimed).is_ok().then_some(claimed)
    }

    fn certificate_is_for(&self, env: &Env<'_>, domain: &str) -> Result<(), String> {
        match &self.tls {
            None => Err("no TLS".to_string()),
            Some(tls) => env.trust.check(&tls.peer, domain, env.now),
        }
    }

    fn element(&mut self, env: &mut Env<'_>, element: Element) {
        match (element.name(), element.ns()) {
            ("starttls", ns::TLS) if self.tls.is_none() && !self.is_proved() => {
                self.wire.write(&Element::new("proceed", ns::TLS));
                self.wire.expect_tls();
                self.state = State::ExpectHandshake;
                self.actions.push_back(Action::StartTls(self.host.clone()));
            }
            ("auth", ns::SASL) => self.auth(env, &element),
            // XEP-0288 §2: TLS comes first.
            ("bidi", ns::BIDI) if self.tls_is_missing(env) => {}
            ("bidi", ns::BIDI) if self.tls.is_some() || !self.is_proved() => self.bidi = true,
            ("result", ns::DIALBACK) if dialback::verdict(&element).is_none() => self.result(env, &element),
            ("verify", ns::DIALBACK) if dialback::verdict(&element).is_none() => self.verify(env, &element),
            ("error", ns::STREAMS) => self.close(Over::by(&element)),
            (_, ns::SM) => self.managed(env, &element),
            (_, ns::CLIENT) => self.stanza(env, element),
            _ => self.fail(env, &wire::unsupported(&element)),
        }
    }

    /// RFC 6120 §4.4: what the peer had on its way when we ended the stream. Nothing of it can be answered.
    ///
    /// Deviation: where stanzas are acknowledged (XEP-0198), those that come now are left alone. No acknowledgement can
    /// leave any more, so the peer sends them again, and they would arrive twice.
    fn late_element(&mut self, env: &mut Env<'_>, element: Element) {
        match (element.ns(), &self.handled) {
            (ns::CLIENT, None) => self.stanza(env, element),
            (ns::SM, Some(_)) if element.name() == "a" => self.managed(env, &element),
            (ns::STREAMS, _) => self.close(Over::Peer),
            _ => {}
        }
    }

    /// XEP-0198 §3, §4: counting what we handled. There is no resuming between servers: what was not acknowledged is
    /// sent again on a new stream.
    fn managed(&mut self, env: &mut Env<'_>, element: &Element) {
        match (element.name(), &self.handled) {
            ("enable", None) if self.is_proved() => {
                self.handled = Some(Handled::default());
                self.sent = Some(Sent::new(&env.config.limits));
                self.wire.write(&sm::element("enabled"));
            }
            ("enable", _) => {
                let condition = Element::new("unexpected-request", ns::STANZA_ERRORS);
                self.wire.write(&sm::element("failed").with_child(condition));
            }
            // XEP-0198 §5: no stream is remembered, so none has this id. The peer may go on with a new one.
            ("resume", _) if self.is_proved() => {
                let condition = Element::new("item-not-found", ns::STANZA_ERRORS);
                self.wire.write(&sm::element("failed").with_child(condition));
            }
            ("r", Some(handled)) => {
                let answer = handled.answer();
                self.wire.write(&answer);
            }
            ("a", Some(_)) => match self.sent.as_mut().map(|sent| sent.acknowledge(element)) {
                Some(Ok(news)) => {
                    if news.asks {
                        self.wire.write(&sm::element("r"));
                    }
                    if !news.rows.is_empty() {
                        self.actions.push_back(Action::Acknowledged(news.rows));
                    }
                }
                Some(Err(error)) => self.fail(env, &error),
                None => {}
            },
            _ => self.fail(env, &wire::unsupported(element)),
        }
    }

    /// XEP-0178 §3: EXTERNAL, for the domain of the header or the authorization identity.
    fn auth(&mut self, env: &mut Env<'_>, element: &Element) {
        let is_external = element.attribute("mechanism") == Some("EXTERNAL");
        let identity = match sasl::decode(&element.text()) {
            Ok(Some(bytes)) if !bytes.is_empty() => String::from_utf8(bytes.to_vec()).ok(),
            Ok(_) => self.claimed.clone(),
            Err(_) => None,
        };
        let identity = identity.and_then(|domain| jid::of_host(&domain)).map(|domain| domain.to_string());
        let failure =
            |condition: &'static str| Element::new("failure", ns::SASL).with_child(Element::new(condition, ns::SASL));
        // Who was proved by dialback has a stream in use, which must not begin anew under what is said on it.
        let Some(domain) = identity.filter(|_| is_external && !self.is_proved()) else {
            let condition = if is_external { "invalid-authzid" } else { "invalid-mechanism" };
            return self.wire.write(&failure(condition));
        };
        let is_refused = env.refuses(&domain);
        let allowed = env.policy(&domain).auth != RemoteAuth::Dialback && !env.is_own(&domain) && !is_refused;
        match self.certificate_is_for(env, &domain) {
            Ok(()) if allowed => {
                self.wire.write(&Element::new("success", ns::SASL));
                self.wire.restart();
                self.claimed = Some(domain.clone());
                self.authenticated = Some(domain.clone());
                self.state = State::ExpectHeader;
                // Keys of the stream that is over; a verdict on them would be said before the new header.
                self.awaited.clear();
                let pair = Pair { from: domain, to: self.host.clone() };
                self.prove(env, pair, "EXTERNAL");
            }
            outcome => {
                let why = outcome.err().unwrap_or_else(|| match is_refused {
                    true => "it is blocked here".to_string(),
                    false => "the policy asks for dialback".to_string(),
                });
                log::info!(target: "s2s", strangers = REFUSALS, by:% = self.peer;
                    "{domain} from {} was not authenticated by its certificate: {why}", self.peer);
                self.wire.write(&failure("not-authorized"));
                self.refused(env);
            }
        }
    }

    /// A domain was refused. Who goes on and on is heard no longer; who is proved in between may be wrong about some.
    fn refused(&mut self, env: &mut Env<'_>) {
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals >= env.config.limits.refusals_max {
            self.fail(env, &StreamError::new(StreamCondition::PolicyViolation, "too many refusals"));
        }
    }

    fn prove(&mut self, env: &Env<'_>, pair: Pair, how: &'static str) {
        self.refusals = 0;
        self.wire.trust(&env.config.limits);
        // RFC 6120 §6.4.6: SASL begins the stream anew, and what is said between `<success/>` and the new header, nobody
        // hears.
        if self.bidi && self.state == State::Open {
            self.actions.push_back(Action::Bidirectional(pair.clone()));
        }
        self.actions.push_back(Action::Proved { pair: pair.clone(), how });
        self.proved.insert(pair, how);
    }

    /// Who says it and to which domain of ours (by the name that we have for it), prepared.
    fn addresses(element: &Element) -> Option<(String, String)> {
        let domain = |name| element.attribute(name).and_then(jid::of_host);
        let (from, to) = (domain("from")?, domain("to")?);
        Some((from.to_string(), jid::one_name(jid::domain(&to)).into_owned()))
    }

    /// XEP-0220 §2.2.1: somebody says that it is `from`.
    fn result(&mut self, env: &mut Env<'_>, element: &Element) {
        let Some((from, to)) = Self::addresses(element) else {
            return self.fail(env, &StreamCondition::ImproperAddressing.into());
        };
        let key = element.text().trim().to_string();
        let pair = Pair { from, to };
        let policy = env.policy(&pair.from);
        let refusal = if !env.is_own(&pair.to) {
            Some((Condition::ItemNotFound, "this host is not served here"))
        } else if env.is_own(&pair.from) {
            Some((Condition::NotAcceptable, "this domain is ours"))
        } else if self.tls.is_none() && policy.tls == RemoteTls::Required {
            Some((Condition::PolicyViolation, "TLS is required"))
        } else if env.refuses(&pair.from) {
            Some((Condition::PolicyViolation, "this domain is blocked here"))
        } else if self.awaited.len() + self.let_in.len() >= AWAITED_MAX
            || self.proved.len() >= PROVED_MAX
            || key.is_empty()
            || key.len() > 1024
        {
            Some((Condition::ResourceConstraint, "too many or unusable requests"))
        } else {
            None
        };
        if let Some((condition, text)) = refusal {
            log::info!(target: &pair.to, strangers = REFUSALS, by:% = self.peer;
                "{} from {} was refused: {text}", pair.from, self.peer);
            let verdict = Verdict::Failed(condition, text.to_string());
            self.wire.write(&dialback::result(&pair.to, &pair.from, &verdict));
            // Who has many domains may ask for more of them at once than we take.
            if condition != Condition::ResourceConstraint {
                self.refused(env);
            }
            return;
        }
        if env.blocks.of(&pair.from).is_some() {
            // Whoever it is: all that it sends is dropped, and a blocked domain is not called back for that.
            self.wire.write(&dialback::result(&pair.to, &pair.from, &Verdict::Valid));
            self.let_in.insert(pair);
            return;
        }
        // A certificate that fits is a better proof than a call back.
        let by_certificate = self.certificate_is_for(env, &pair.from);
        match (by_certificate, policy.auth) {
            (Ok(()), RemoteAuth::Any | RemoteAuth::Certificate) => {
                self.wire.write(&dialback::result(&pair.to, &pair.from, &Verdict::Valid));
                self.prove(env, pair, "certificate");
            }
            (Err(why), RemoteAuth::Certificate) => {
                log::info!(target: &pair.to, strangers = REFUSALS, by:% = self.peer;
                    "{} from {} was refused: {why}", pair.from, self.peer);
                let verdict =
                    Verdict::Failed(Condition::PolicyViolation, format!("a valid certificate is required: {why}"));
                self.wire.write(&dialback::result(&pair.to, &pair.from, &verdict));
                self.refused(env);
            }
            _ => {
                self.awaited.insert(pair.clone());
                let stream_id = self.stream_id.clone();
                self.actions.push_back(Action::Verify { pair, stream_id, key });
            }
        }
    }

    /// XEP-0220 §2.2.2: we are asked whether a key is ours.
    fn verify(&mut self, env: &mut Env<'_>, element: &Element) {
        let Some((from, to)) = Self::addresses(element) else {
            return self.fail(env, &StreamCondition::ImproperAddressing.into());
        };
        let stream_id = element.attribute("id").unwrap_or_default().to_string();
        let verdict = if !env.is_own(&to) {
            Verdict::Failed(Condition::ItemNotFound, "this host is not served here".to_string())
        } else if env.dialback.verifies(&from, &to, &stream_id, &element.text()) {
            Verdict::Valid
        } else {
            log::info!(
                target: "s2s", strangers = "keys that are not ours", by:% = self.peer;
                "Is somebody faking us? {from} tried to verify the invalid dialback key of {to}, from {}", self.peer
            );
            Verdict::Invalid
        };
        let is_valid = verdict == Verdict::Valid;
        self.wire.write(&dialback::verified(&to, &from, &stream_id, &verdict));
        if !is_valid {
            self.refused(env);
        }
    }

    /// RFC 6120 §8.1.2.2: between servers both addresses must be there, and `from` must be proved.
    fn stanza(&mut self, env: &mut Env<'_>, element: Element) {
        let stanza = match env.stanza(element.clone()) {
            Ok(stanza) => stanza,
            Err(NotAStanza::UnknownName) => return self.fail(env, &wire::unsupported(&element)),
            // Not for anybody, but it was a stanza, so it counts.
            Err(NotAStanza::BadRequest) => return self.handled.iter_mut().for_each(Handled::count),
            Err(_) => return self.fail(env, &StreamCondition::ImproperAddressing.into()),
        };
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else {
            return self.fail(env, &StreamCondition::ImproperAddressing.into());
        };
        if !env.is_own(to.domain().as_str()) {
            return self.fail(env, &StreamCondition::HostUnknown.into());
        }
        if !self.speaks_for(from.domain().as_str(), to.domain().as_str()) {
            if self.is_let_in(from, to) && env.blocks.of(from.domain().as_str()).is_some() {
                self.handled.iter_mut().for_each(Handled::count);
                return self.actions.push_back(Action::Blocked(stanza));
            }
            let text = format!("{} is not proved on this stream", from.domain());
            return self.fail(env, &StreamError::new(StreamCondition::InvalidFrom, text));
        }
        if let Some(handled) = &mut self.handled {
            handled.count();
        }
        self.actions.push_back(Action::Stanza(stanza));
    }

    fn is_let_in(&self, from: &Jid, to: &Jid) -> bool {
        let (from, to) = (from.domain().as_str(), to.domain().as_str());
        self.let_in.iter().any(|pair| pair.from == from && pair.to == to)
    }
}
