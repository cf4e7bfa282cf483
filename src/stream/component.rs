//! A component's stream (XEP-0114): it connects to us (`<accept>`), or we connect to it (`<connect>`), and whoever
//! connects proves that it knows the secret.
//!
//! | state | awaits | then |
//! |---|---|---|
//! | `ExpectHeader` | the header of the component that came | ours; `ExpectHandshake` |
//! | `ExpectHandshake` | its `<handshake/>` | ours, empty; `Open` |
//! | `ExpectAnswer` | the header of the component that we came to | `<handshake/>`; `ExpectConsent` |
//! | `ExpectConsent` | its empty `<handshake/>` | `Open` |
//! | `Open` | stanzas, `<log/>`, `<xdb/>` | the end |
//! | `Closed` | nothing | |
//!
//! A stanza is taken only if the component may speak for its `from`. What is not for us to take is dropped with a line in
//! the log, and costs that packet alone: transports of 1.4's time say many things, and a stream that ends for one of them
//! takes all their users along. So do a packet that is too large, one with a comment or an instruction in it, and one with a
//! prefix that nobody declared (Compat: 1.4 passed them on): it is skipped, and who waits for it is told. What is not
//! well-formed ends the stream (RFC 6120 §4.9.3.13), for nobody can say where it ends: a character that XML has not, bytes
//! that are not UTF-8, tags that do not match.

mod packets;
mod storage;

use std::collections::VecDeque;
use std::net::IpAddr;

use ring::digest;
use subtle::ConstantTimeEq as _;

use super::header::{self, Version};
use super::wire::Wire;
use super::{Env, dialback};
use crate::config::Component as Wanted;
use crate::xml::reader::{Event, StreamHeader};
use crate::xml::{Element, writer};
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Stanza, StreamError, ns};

/// What the stream asks for, in order.
#[derive(Debug)]
pub enum Action {
    /// The secret is known on both sides: stanzas may go to the component.
    Ready,
    /// Somebody did not know the secret.
    Refused,
    /// A stanza from somebody for whom the component may speak.
    Stanza(Stanza),
    /// Nothing more will be said; why, for the log.
    Close(String),
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    ExpectHeader,
    ExpectHandshake,
    ExpectAnswer,
    ExpectConsent,
    Open,
    Closed,
}

/// A component's stream.
pub struct Component {
    state: State,
    wire: Wire,
    actions: VecDeque<Action>,
    id: String,
    peer: IpAddr,
    stream_id: String,
    unauthenticated_bytes: usize,
}

impl Component {
    /// A stream on a connection that came to the port of the component with this id.
    pub fn accepted(env: &Env<'_>, id: &str, peer: IpAddr) -> Component {
        Component::new(env, id, peer, State::ExpectHeader)
    }

    /// A stream on a connection that we opened to the component with this id.
    pub fn connected(env: &Env<'_>, id: &str, peer: IpAddr) -> Component {
        let mut stream = Component::new(env, id, peer, State::ExpectAnswer);
        stream.wire.send_header(&header::Ours {
            content_ns: ns::COMPONENT_ACCEPT,
            from: None,
            to: Some(id),
            id: None,
            version: Version::Legacy,
            lang: None,
        });
        stream
    }

    fn new(env: &Env<'_>, id: &str, peer: IpAddr, state: State) -> Component {
        Component {
            state,
            wire: Wire::new(ns::COMPONENT_ACCEPT, &env.config.limits),
            actions: VecDeque::new(),
            id: id.to_string(),
            peer,
            stream_id: String::new(),
            unauthenticated_bytes: 0,
        }
    }

    /// The component's id in jabber.xml.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Do both sides know the secret?
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// What was written since the last call.
    pub fn take_output(&mut self) -> String {
        self.wire.take_output()
    }

    /// A stanza for the component.
    pub fn send(&mut self, stanza: &Stanza) {
        if self.is_open() {
            self.wire.send(stanza);
        }
    }

    /// Bytes from the component.
    pub fn push(&mut self, env: &mut Env<'_>, bytes: &[u8]) {
        if !self.is_open() {
            self.unauthenticated_bytes = self.unauthenticated_bytes.saturating_add(bytes.len());
            if self.unauthenticated_bytes > env.config.limits.unauthenticated_total_bytes_max {
                return self.fail(env, &StreamError::new(StreamCondition::PolicyViolation, "too much before login"));
            }
        }
        self.wire.push(bytes);
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
            if self.state == State::Closed {
                return None;
            }
            match self.wire.next() {
                Ok(None) => return None,
                Ok(Some(event)) => self.step(env, event),
                Err(error) => match self.wire.skip() {
                    Some(skipped) => self.skipped(env, skipped.head, &error),
                    None => self.fail(env, &error),
                },
            }
        }
    }

    /// The time is up: no handshake (RFC 6120 §4.9.3.4).
    pub fn timed_out(&mut self, env: &mut Env<'_>) {
        if !self.is_open() {
            self.fail(env, &StreamCondition::ConnectionTimeout.into());
        }
    }

    /// Ends the stream without an error.
    pub fn end(&mut self, why: &str) {
        if self.state != State::Closed {
            self.wire.end();
            self.state = State::Closed;
            self.actions.push_back(Action::Close(why.to_string()));
        }
    }

    /// Ends the stream with an error; our header comes first (XEP-0114 §3).
    pub fn fail(&mut self, env: &mut Env<'_>, error: &StreamError) {
        if self.state == State::Closed {
            return;
        }
        if !self.wire.is_header_sent() {
            self.send_header(env);
        }
        self.wire.fail(error);
        self.state = State::Closed;
        self.actions.push_back(Action::Close(error.to_string()));
    }

    fn step(&mut self, env: &mut Env<'_>, event: Event) {
        match (event, &self.state) {
            (Event::Whitespace, _) => {}
            (Event::Closed, _) => self.end("the component ended the stream"),
            (Event::Element(element), _) if element.is("error", ns::STREAMS) => {
                let condition = element.children().find(|child| child.ns() == ns::STREAM_ERRORS);
                // 1.4 says it in words alone.
                let what = condition.map_or_else(|| element.text().into_owned(), |child| child.name().to_string());
                self.end(&format!("the component ended the stream: {what}"));
            }
            (Event::Opened(theirs), State::ExpectHeader) => self.opened(env, &theirs),
            (Event::Opened(theirs), State::ExpectAnswer) => self.answered(env, &theirs),
            (Event::Element(element), State::ExpectHandshake) => self.handshake(env, &element),
            (Event::Element(element), State::ExpectConsent) => self.consent(env, &element),
            (Event::Element(element), State::Open) => self.packet(env, element),
            (Event::Opened(_) | Event::Element(_), _) => self.fail(env, &StreamCondition::BadFormat.into()),
        }
    }

    fn send_header(&mut self, env: &mut Env<'_>) {
        self.stream_id = env.random.token();
        // Compat: 1.4's header is from the instance, whatever the component asked for; it is the port that decides.
        self.wire.send_header(&header::Ours {
            content_ns: ns::COMPONENT_ACCEPT,
            from: Some(&self.id),
            to: None,
            id: Some(&self.stream_id),
            version: Version::Legacy,
            lang: None,
        });
    }

    fn opened(&mut self, env: &mut Env<'_>, theirs: &StreamHeader) {
        let checked = self.checked(theirs);
        self.send_header(env);
        match checked {
            Ok(()) => self.state = State::ExpectHandshake,
            Err(error) => self.fail(env, &error),
        }
    }

    fn checked(&self, theirs: &StreamHeader) -> Result<(), StreamError> {
        let Err(error) = header::check(theirs, ns::COMPONENT_ACCEPT) else { return Ok(()) };
        if error.condition() != StreamCondition::InvalidNamespace {
            return Err(error);
        }
        // 1.4's words, which people grep for.
        log::warn!(target: &self.id, strangers = "component streams of a wrong namespace", by:% = self.peer;
            "Recv'd invalid namespace. Closing connection. ({})", self.peer);
        Err(StreamError::new(StreamCondition::InvalidNamespace, "Invalid namespace specified."))
    }

    /// XEP-0114 §3: does it know the secret?
    fn handshake(&mut self, env: &mut Env<'_>, element: &Element) {
        if !is_handshake(element) {
            let error = StreamError::new(StreamCondition::NotAuthorized, "Must send handshake first.");
            return self.fail(env, &error);
        }
        let secret = env.config.component(&self.id).and_then(Wanted::secret);
        if !secret.is_some_and(|secret| self.is_proved(secret, &element.text())) {
            log::warn!(target: &self.id, strangers = "components with a wrong secret", by:% = self.peer;
                "Invalid handshake from {}: has the component the <secret> of jabber.xml?", self.peer);
            self.actions.push_back(Action::Refused);
            return self.fail(env, &StreamError::new(StreamCondition::NotAuthorized, "Invalid handshake"));
        }
        self.wire.write(&Element::new("handshake", ns::CLIENT));
        self.ready(env);
    }

    /// Is this the proof? Compared in constant time.
    fn is_proved(&self, secret: &str, given: &str) -> bool {
        let given = given.trim().to_ascii_lowercase();
        // XEP-0114 §3 hashes the secret as it is written in XML; jabberd 1.4 and most components, as it is.
        let mut written = String::new();
        writer::escape(&mut written, secret);
        let fits = |secret: &str| proof(&self.stream_id, secret).as_bytes().ct_eq(given.as_bytes());
        (fits(secret) | fits(&written)).into()
    }

    /// The component that we came to has given its id.
    fn answered(&mut self, env: &mut Env<'_>, theirs: &StreamHeader) {
        if let Err(error) = self.checked(theirs) {
            return self.fail(env, &error);
        }
        self.stream_id = theirs.id.clone().unwrap_or_default();
        let Some(secret) = env.config.component(&self.id).and_then(Wanted::secret) else {
            return self.end("it is not configured any more");
        };
        let handshake = Element::new("handshake", ns::CLIENT).with_text(proof(&self.stream_id, secret));
        self.wire.write(&handshake);
        self.state = State::ExpectConsent;
    }

    fn consent(&mut self, env: &mut Env<'_>, element: &Element) {
        match is_handshake(element) {
            true => self.ready(env),
            false => self.fail(env, &StreamError::new(StreamCondition::NotAuthorized, "Must send handshake first.")),
        }
    }

    fn ready(&mut self, env: &mut Env<'_>) {
        self.state = State::Open;
        self.wire.trust_component(&env.config.limits);
        self.actions.push_back(Action::Ready);
    }
}

fn is_handshake(element: &Element) -> bool {
    element.is("handshake", ns::CLIENT)
}

/// XEP-0114 §3: SHA-1 of the stream's id and the secret, in lower-case hexadecimal.
fn proof(stream_id: &str, secret: &str) -> String {
    let text = [stream_id, secret].concat();
    dialback::hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_the_traces() {
        // Compat: jabberd 1.4.4 and 1.6, and `<connect>`.
        let rows = [
            ("6B029D24", "icq-secret", "37597930d934d5fd89f07ccdc79a902a070d8b33"),
            ("6B029D2D", "icq-secret", "bb03d42e50d609a086597bdd83aebeb0c4f558dc"),
            ("A1B2", "jud-secret", "0a43a797145ccc8d3298cd2e7b8f62af59465a12"),
            ("6B029EAF", "icq-secret", "fefea0d663a570599255efd0d14394e9341fd950"),
        ];
        for (id, secret, expected) in rows {
            assert_eq!(proof(id, secret), expected, "{id}");
        }
    }
}
