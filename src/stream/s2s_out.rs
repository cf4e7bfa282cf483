//! A stream that we open to another server (RFC 6120, XEP-0220, XEP-0178, XEP-0288).
//!
//! | state | awaits | then |
//! |---|---|---|
//! | `ExpectHeader` | the peer's header | `ExpectFeatures`; without a version: dialback, `Open` |
//! | `ExpectFeatures` | stream features | `ExpectProceed`, `ExpectSasl`, or dialback and `Open` |
//! | `ExpectProceed` | `<proceed/>` | `ExpectHandshake` |
//! | `ExpectHandshake` | TLS | `ExpectHeader` |
//! | `ExpectSasl` | `<success/>` or `<failure/>` | `ExpectHeader`; or dialback and `Open` |
//! | `Open` | verdicts, and stanzas where both directions are open | the end |
//! | `Closing` | after our end: what the peer had on its way, and its own end | `Closed` |
//! | `Closed` | nothing | |
//!
//! The stream serves one remote domain and, by dialback, any number of our hosts: each pair of domains has its own proof.

use std::collections::{BTreeMap, VecDeque};

use super::dialback::{self, Pair, Verdict};
use super::header::{self, Version};
use super::sm::{self, Handled, Mark, Sent, Unsent};
use super::wire::{self, Handed, Wire};
use super::{Env, Over, TlsInfo, sasl};
use crate::config::federation::{RemoteAuth, RemotePolicy, RemoteTls};
use crate::xml::Element;
use crate::xml::reader::{Event, StreamHeader};
use crate::xmpp::stanza::NotAStanza;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Stanza, StreamError, ns};

/// What the stream asks for, in order.
#[derive(Debug)]
pub enum Action {
    /// Begin TLS as the client, for this domain, once what was written has left.
    StartTls(String),
    /// This pair may be used: stanzas can be sent. `how` is `EXTERNAL` or `dialback`, for record.log.
    Ready {
        /// Our host and the remote domain.
        pair: Pair,
        /// By which proof.
        how: &'static str,
    },
    /// This pair was refused, or its proof could not be made.
    Refused {
        /// Our host and the remote domain.
        pair: Pair,
        /// Why, for the log and the sender.
        why: String,
    },
    /// The authoritative server's word on a key that somebody gave to one of our streams.
    Verified {
        /// The remote domain that the key is said to be from, and our host.
        pair: Pair,
        /// The id of our stream on which the key came.
        stream_id: String,
        /// The word.
        verdict: Verdict,
    },
    /// A stanza for one of our hosts, where both directions are open (XEP-0288).
    Stanza(Stanza),
    /// The stanzas with these rows arrived.
    Acknowledged(Vec<u64>),
    /// We say nothing more, and hear the peer out: call [`S2sOut::hang_up`] after a while. Why, for the log.
    Ended(String),
    /// Nothing more will be said; why, for the log.
    Close(Over),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    ExpectHeader,
    ExpectFeatures,
    ExpectProceed,
    ExpectHandshake,
    ExpectSasl,
    Open,
    Closing,
    Closed,
}

#[derive(Debug, PartialEq, Eq)]
enum Proof {
    Awaited,
    /// By which proof.
    Given(&'static str),
}

/// An outgoing stream.
pub struct S2sOut {
    state: State,
    wire: Wire,
    actions: VecDeque<Action>,
    local: String,
    remote: String,
    policy: RemotePolicy,
    tls: Option<TlsInfo>,
    stream_id: String,
    authenticated: bool,
    tried_external: bool,
    /// The peer did not take our certificate as a proof.
    external_failed: bool,
    bidi: bool,
    /// XEP-0198, where the peer offers it.
    sent: Option<Sent>,
    handled: Handled,
    /// Shall the first pair be proved? Not on a stream that only asks about keys.
    proves: bool,
    knows_dialback: bool,
    pairs: BTreeMap<String, Proof>,
    /// Proofs and verifications asked for before the stream is open.
    wanted: Vec<Wanted>,
}

enum Wanted {
    Pair(String),
    Verify { local: String, stream_id: String, key: String },
}

/// How many proofs and verifications may wait for one stream.
const WANTED_MAX: usize = 100;

impl S2sOut {
    /// A stream from one of our hosts to a remote domain, on a connection that is just open. `tls` if TLS came first.
    /// Without `proves` no pair is proved until one is wanted.
    pub fn new(env: &mut Env<'_>, pair: &Pair, policy: RemotePolicy, tls: Option<TlsInfo>, proves: bool) -> S2sOut {
        let mut stream = S2sOut {
            state: State::ExpectHeader,
            wire: Wire::new(ns::SERVER, &env.config.limits),
            actions: VecDeque::new(),
            local: pair.from.clone(),
            remote: pair.to.clone(),
            policy,
            tls,
            stream_id: String::new(),
            authenticated: false,
            tried_external: false,
            external_failed: false,
            bidi: false,
            sent: None,
            handled: Handled::default(),
            proves,
            knows_dialback: false,
            pairs: BTreeMap::new(),
            wanted: Vec::new(),
        };
        stream.open();
        stream
    }

    /// Our certificate is no proof to the peer, as was seen: dialback at once.
    pub fn skip_external(&mut self) {
        self.tried_external = true;
    }

    /// Did the peer refuse our certificate?
    pub fn external_failed(&self) -> bool {
        self.external_failed
    }

    /// The remote domain.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// The version of TLS, if there is any.
    pub fn tls(&self) -> Option<&'static str> {
        self.tls.as_ref().map(|tls| tls.protocol)
    }

    /// Is TLS on?
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// May stanzas of this host be sent?
    pub fn is_ready(&self, local: &str) -> bool {
        matches!(self.pairs.get(local), Some(Proof::Given(_)))
    }

    /// May the peer send to us on this stream?
    pub fn is_bidirectional(&self) -> bool {
        self.bidi
    }

    /// Can another of our hosts be proved here? Only by dialback, on a stream that is open.
    pub fn takes_pairs(&self) -> bool {
        self.state == State::Open && self.knows_dialback
    }

    /// Can the remote domain be asked about a key here?
    pub fn takes_verifications(&self) -> bool {
        self.state == State::Open
    }

    /// Is our end said?
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closing | State::Closed)
    }

    /// Asks for another of our hosts to be proved (XEP-0220 §2.1.1, piggybacking). One that is proved is ready again: a
    /// stream of the peer's own may have been in use for it, and be over.
    pub fn want_pair(&mut self, env: &mut Env<'_>, local: &str) {
        if let (State::Open, Some(Proof::Given(how))) = (&self.state, self.pairs.get(local)) {
            let pair = Pair { from: local.to_string(), to: self.remote.clone() };
            return self.actions.push_back(Action::Ready { pair, how });
        }
        if self.pairs.contains_key(local) || self.wanted.len() >= WANTED_MAX {
            return;
        }
        self.proves = true;
        self.wanted.push(Wanted::Pair(local.to_string()));
        self.work_off(env);
    }

    /// Asks the remote domain whether a key is its own (XEP-0220 §2.1.2).
    pub fn want_verify(&mut self, env: &mut Env<'_>, local: &str, stream_id: &str, key: &str) {
        if self.wanted.len() >= WANTED_MAX {
            return;
        }
        let (local, stream_id, key) = (local.to_string(), stream_id.to_string(), key.to_string());
        self.wanted.push(Wanted::Verify { local, stream_id, key });
        self.work_off(env);
    }

    /// Our hosts that were proved to the remote domain, and by which proof.
    pub fn proved(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.pairs.iter().filter_map(|(local, proof)| match proof {
            Proof::Given(how) => Some((local.as_str(), *how)),
            Proof::Awaited => None,
        })
    }

    /// The stream is over: our hosts that were to be proved on it still, but for the one that it was opened for.
    pub fn take_unproved(&mut self) -> Vec<String> {
        let wanted = std::mem::take(&mut self.wanted).into_iter().filter_map(|wanted| match wanted {
            Wanted::Pair(local) => Some(local),
            Wanted::Verify { .. } => None,
        });
        let mut hosts: Vec<String> = wanted.collect();
        let awaited = self.pairs.iter().filter(|(_, proof)| **proof == Proof::Awaited);
        hosts.extend(awaited.map(|(local, _)| local.clone()));
        self.pairs.retain(|_, proof| *proof != Proof::Awaited);
        hosts.retain(|local| *local != self.local);
        hosts
    }

    /// A stanza for the remote domain, of a pair that is ready.
    pub fn send(&mut self, stanza: &Stanza, mark: Mark) -> Handed {
        let handed = self.wire.send_managed(stanza, mark, &mut self.sent);
        if handed == Handed::TooMuch {
            self.hang_up("it acknowledges too little of what is sent");
        }
        handed
    }

    /// Is what is sent acknowledged? Then the rows come back with [`Action::Acknowledged`], or with
    /// [`S2sOut::take_unacknowledged`].
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

    /// What was written since the last call.
    pub fn take_output(&mut self) -> String {
        self.wire.take_output()
    }

    /// White space for an idle stream.
    pub fn heartbeat(&mut self) {
        if self.state == State::Open {
            self.wire.heartbeat();
        }
    }

    /// Bytes from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.wire.push(bytes);
    }

    /// TLS is on.
    pub fn secured(&mut self, env: &Env<'_>, tls: TlsInfo) {
        if self.state == State::ExpectHandshake {
            self.tls = Some(tls);
            self.wire.begin_again(&env.config.limits);
            self.open();
        }
    }

    /// Ends the stream without an error. What the peer has on its way is heard still (RFC 6120 §4.4).
    pub fn end(&mut self, why: &str) {
        match self.state == State::Open && self.proved().next().is_some() {
            true => self.end_ours(None, why),
            false if self.is_closed() => {}
            false => self.hang_up(why),
        }
    }

    /// Ends the stream because the server stops. What the peer has on its way is heard still.
    pub fn shut_down(&mut self) {
        let error = StreamError::from(StreamCondition::SystemShutdown);
        match self.state == State::Open && self.proved().next().is_some() {
            true => self.end_ours(Some(&error), "this server stops"),
            false => self.fail(&error),
        }
    }

    fn end_ours(&mut self, error: Option<&StreamError>, why: &str) {
        let handled = self.sent.as_ref().map(|_| &self.handled);
        self.wire.end_ours(handled, self.sent.as_ref(), error);
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

    /// Ends the stream with an error.
    pub fn fail(&mut self, error: &StreamError) {
        if self.state != State::Closed {
            self.wire.fail(error);
            self.state = State::Closed;
            self.actions.push_back(Action::Close(Over::Ours(error.to_string())));
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
                Err(error) => self.fail(&error),
            }
        }
    }

    fn open(&mut self) {
        let version = if self.policy.xmpp { Version::Xmpp } else { Version::Legacy };
        let ours = header::Ours {
            content_ns: ns::SERVER,
            from: Some(&self.local),
            to: Some(&self.remote),
            id: None,
            version,
            lang: None,
        };
        self.wire.send_header(&ours);
        self.state = State::ExpectHeader;
    }

    fn step(&mut self, env: &mut Env<'_>, event: Event) {
        match event {
            Event::Whitespace => {}
            Event::Closed => self.close(Over::Peer),
            Event::Opened(header) if self.state == State::ExpectHeader => self.opened(env, &header),
            Event::Element(element) if element.is("error", ns::STREAMS) => self.close(Over::by(&element)),
            Event::Element(element) => match self.state {
                State::ExpectFeatures => self.features(env, &element),
                State::ExpectProceed => self.proceed(&element),
                State::ExpectSasl => self.sasl(env, &element),
                State::Open => self.element(env, element),
                State::Closing => self.late_element(env, element),
                _ => self.fail(&StreamCondition::BadFormat.into()),
            },
            Event::Opened(_) => self.fail(&StreamCondition::BadFormat.into()),
        }
    }

    fn opened(&mut self, env: &mut Env<'_>, theirs: &StreamHeader) {
        let version = match header::check(theirs, ns::SERVER) {
            Ok(version) => version,
            Err(error) => return self.fail(&error),
        };
        self.stream_id = theirs.id.clone().unwrap_or_default();
        let old = if version == Version::Legacy { ", of a server from before XMPP" } else { "" };
        self.tell(format_args!("its stream header came{old}"));
        if version == Version::Xmpp && self.policy.xmpp {
            self.state = State::ExpectFeatures;
        } else if self.tls_is_missing() {
            self.end("it does not know TLS, and no <host tls='no'/> allows that");
        } else if let Err(why) = self.check_certificate(env) {
            self.end(&why);
        } else {
            self.knows_dialback = true;
            // Compat: jabberd 1.4, iChat Server: no version, no features, dialback at once.
            self.call_back(env);
        }
    }

    /// A step, for who looks why it does not go on.
    fn tell(&self, text: std::fmt::Arguments<'_>) {
        log::debug!(target: "s2s", "{} to {}: {text}", self.local, self.remote);
    }

    fn tls_is_missing(&self) -> bool {
        self.tls.is_none() && self.policy.tls == RemoteTls::Required
    }

    /// RFC 6120 §5.4, then XEP-0178 §3, then XEP-0220.
    fn features(&mut self, env: &mut Env<'_>, features: &Element) {
        if !features.is("features", ns::STREAMS) {
            return self.fail(&StreamCondition::BadFormat.into());
        }
        let starttls = features.child("starttls", ns::TLS);
        let offers_tls = starttls.is_some();
        let insists = starttls.is_some_and(|starttls| starttls.child("required", ns::TLS).is_some());
        if insists && self.policy.tls == RemoteTls::Never {
            return self.end("it requires TLS, and <host tls='no'/> forbids that");
        }
        if self.tls.is_none() && offers_tls && self.policy.tls != RemoteTls::Never {
            self.tell(format_args!("asking for STARTTLS"));
            self.wire.write(&Element::new("starttls", ns::TLS));
            self.state = State::ExpectProceed;
            return;
        }
        if self.tls_is_missing() {
            return self.end("it does not offer TLS, and no <host tls='yes'/> allows that");
        }
        self.knows_dialback = features.child("dialback", ns::DIALBACK_FEATURE).is_some();
        if self.authenticated {
            // XEP-0198 §3: only what is sent after this counts.
            if features.child("sm", ns::SM).is_some() {
                self.wire.write(&sm::element("enable"));
                self.sent = Some(Sent::new(&env.config.limits));
            }
            return self.ready_by_sasl(env);
        }
        if let Err(why) = self.check_certificate(env) {
            return self.end(&why);
        }
        let can_receive = self.peer_is_proved(env);
        if can_receive && features.child("bidi", ns::BIDI_FEATURE).is_some() {
            self.wire.write(&Element::new("bidi", ns::BIDI));
            self.bidi = true;
        }
        let mechanisms = features.child("mechanisms", ns::SASL);
        let external = mechanisms.is_some_and(|all| all.children().any(|one| one.text() == "EXTERNAL"));
        if external && self.proves && !self.tried_external && self.tls.is_some() {
            self.tried_external = true;
            // XEP-0178 §3: the authorization identity is the sending domain.
            let auth = Element::new("auth", ns::SASL).with_attribute("mechanism", "EXTERNAL");
            self.tell(format_args!("asking it to take our certificate as the proof (SASL EXTERNAL)"));
            self.wire.write(&auth.with_text(sasl::encode(self.local.as_bytes())));
            self.state = State::ExpectSasl;
        } else {
            self.call_back(env);
        }
    }

    /// Is the other server's certificate good enough for what the policy asks?
    fn check_certificate(&self, env: &Env<'_>) -> Result<(), String> {
        if self.policy.auth != RemoteAuth::Certificate {
            return Ok(());
        }
        match &self.tls {
            None => Err("a certificate is required, and there is no TLS".to_string()),
            Some(tls) => env.trust.check(&tls.peer, &self.remote, env.now),
        }
    }

    fn peer_is_proved(&self, env: &Env<'_>) -> bool {
        self.tls.as_ref().is_some_and(|tls| env.trust.check(&tls.peer, &self.remote, env.now).is_ok())
    }

    fn proceed(&mut self, element: &Element) {
        if element.is("proceed", ns::TLS) {
            self.tell(format_args!("TLS begins"));
            self.wire.expect_tls();
            self.state = State::ExpectHandshake;
            self.actions.push_back(Action::StartTls(self.remote.clone()));
        } else {
            self.end("it offers TLS but refuses to begin");
        }
    }

    fn sasl(&mut self, env: &mut Env<'_>, element: &Element) {
        match (element.name(), element.ns()) {
            ("success", ns::SASL) => {
                self.authenticated = true;
                self.wire.restart();
                self.open();
            }
            // Dialback is the fallback (XEP-0178 §3).
            ("failure", ns::SASL) => {
                self.external_failed = true;
                let why = element.children().next().map_or("", Element::name);
                self.tell(format_args!("it does not take our certificate as the proof ({why}): dialback is left"));
                self.call_back(env);
            }
            _ => self.fail(&StreamCondition::BadFormat.into()),
        }
    }

    fn ready_by_sasl(&mut self, env: &mut Env<'_>) {
        self.state = State::Open;
        self.wire.trust(&env.config.limits);
        let local = self.local.clone();
        self.give(local, "EXTERNAL");
        self.work_off(env);
    }

    /// The stream is as far as it gets without dialback.
    fn call_back(&mut self, env: &mut Env<'_>) {
        self.state = State::Open;
        self.wire.trust(&env.config.limits);
        let local = self.local.clone();
        if self.proves
            && !self.pairs.contains_key(&local)
            && !self.wanted.iter().any(|w| matches!(w, Wanted::Pair(p) if *p == local))
        {
            self.wanted.insert(0, Wanted::Pair(local));
        }
        self.work_off(env);
    }

    fn work_off(&mut self, env: &mut Env<'_>) {
        if self.state != State::Open {
            return;
        }
        for wanted in std::mem::take(&mut self.wanted) {
            match wanted {
                Wanted::Pair(local) => {
                    if !self.pairs.contains_key(&local) {
                        let pair = Pair { from: local.clone(), to: self.remote.clone() };
                        let key = env.dialback.key(&pair.to, &pair.from, &self.stream_id);
                        log::debug!(target: "s2s",
                            "{} to {}: asking it to call us back (dialback)", pair.from, pair.to);
                        self.wire.write(&dialback::request(&pair, key));
                        self.pairs.insert(local, Proof::Awaited);
                    }
                }
                Wanted::Verify { local, stream_id, key } => {
                    self.wire.write(&dialback::verify(&local, &self.remote, &stream_id, key));
                }
            }
        }
    }

    fn give(&mut self, local: String, how: &'static str) {
        let pair = Pair { from: local.clone(), to: self.remote.clone() };
        self.pairs.insert(local, Proof::Given(how));
        self.actions.push_back(Action::Ready { pair, how });
    }

    /// What comes on an open stream: verdicts; stanzas only where we opened both directions.
    fn element(&mut self, env: &mut Env<'_>, element: Element) {
        if element.ns() == ns::SM {
            return self.managed(&element);
        }
        let addresses = (element.attribute("from"), element.attribute("to"));
        let (from, to) = match addresses {
            (Some(from), Some(to)) => (from.to_string(), to.to_string()),
            _ if element.is("features", ns::STREAMS) => return,
            _ => return self.fail(&StreamCondition::ImproperAddressing.into()),
        };
        match (element.name(), element.ns(), dialback::verdict(&element)) {
            ("result", ns::DIALBACK, Some(verdict)) => self.result(&from, &to, verdict),
            ("verify", ns::DIALBACK, Some(verdict)) => {
                let stream_id = element.attribute("id").unwrap_or_default().to_string();
                if from == self.remote {
                    let pair = Pair { from, to };
                    self.actions.push_back(Action::Verified { pair, stream_id, verdict });
                }
            }
            (_, ns::CLIENT, _) if self.bidi => match env.stanza(element.clone()) {
                Ok(stanza) => self.stanza(env, stanza),
                Err(NotAStanza::UnknownName) => self.fail(&wire::unsupported(&element)),
                // Not for anybody, but it was a stanza, so it counts.
                Err(NotAStanza::BadRequest) => self.handled.count(),
                Err(_) => self.fail(&StreamCondition::ImproperAddressing.into()),
            },
            _ => self.fail(&wire::unsupported(&element)),
        }
    }

    /// RFC 6120 §4.4: what the peer had on its way when we ended the stream. Nothing of it can be answered.
    ///
    /// Deviation: where stanzas are acknowledged (XEP-0198), those that come now are left alone. No acknowledgement can
    /// leave any more, so the peer sends them again, and they would arrive twice.
    fn late_element(&mut self, env: &mut Env<'_>, element: Element) {
        match (element.ns(), &self.sent) {
            (ns::CLIENT, None) if self.bidi => self.element(env, element),
            (ns::SM, Some(_)) if element.name() == "a" => self.managed(&element),
            _ => {}
        }
    }

    /// XEP-0198 §4: acknowledgements, in both directions.
    fn managed(&mut self, element: &Element) {
        match (element.name(), &mut self.sent) {
            ("a", Some(sent)) => match sent.acknowledge(element) {
                Ok(news) => {
                    if news.asks {
                        self.wire.write(&sm::element("r"));
                    }
                    if !news.rows.is_empty() {
                        self.actions.push_back(Action::Acknowledged(news.rows));
                    }
                }
                Err(error) => self.fail(&error),
            },
            ("r", _) => self.wire.write(&self.handled.answer()),
            ("failed", _) => {
                // What was sent since counts as arrived, as on any stream without acknowledgements.
                let rows = self.take_unacknowledged().into_iter().filter_map(|unsent| unsent.mark.row).collect();
                self.actions.push_back(Action::Acknowledged(rows));
                self.sent = None;
            }
            // What the peer sent before does not count.
            ("enabled", Some(_)) => self.handled = Handled::default(),
            _ => self.fail(&wire::unsupported(element)),
        }
    }

    /// XEP-0220 §2.1.1: only the answer to what was asked on this stream counts.
    fn result(&mut self, from: &str, to: &str, verdict: Verdict) {
        if from != self.remote || self.pairs.get(to) != Some(&Proof::Awaited) {
            return;
        }
        let local = to.to_string();
        let pair = Pair { from: local.clone(), to: self.remote.clone() };
        match verdict {
            Verdict::Valid => self.give(local, "dialback"),
            Verdict::Invalid => {
                self.pairs.remove(&local);
                let why = "dialback: it says that we are not who we say".to_string();
                self.actions.push_back(Action::Refused { pair, why });
            }
            Verdict::Failed(_, text) => {
                self.pairs.remove(&local);
                self.actions.push_back(Action::Refused { pair, why: format!("dialback: {text}") });
            }
        }
    }

    /// XEP-0288: the peer may send for the domain that it proved to be, to the host that it was asked for.
    fn stanza(&mut self, _: &mut Env<'_>, stanza: Stanza) {
        let from_remote = stanza.from().is_some_and(|from| from.domain().as_str() == self.remote);
        let to_ours = stanza.to().is_some_and(|to| self.is_ready(to.domain().as_str()));
        if from_remote && to_ours {
            self.handled.count();
            self.actions.push_back(Action::Stanza(stanza));
        } else {
            self.fail(&StreamCondition::InvalidFrom.into());
        }
    }
}
