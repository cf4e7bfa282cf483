//! The talk of one end of a file transfer: the part of SOCKS5 (RFC 1928) that XEP-0065 §4 uses.
//!
//! | state | awaits | then |
//! |---|---|---|
//! | `ExpectGreeting` | the methods of authentication (RFC 1928 §3) | "none needed"; `ExpectRequest` |
//! | `ExpectRequest` | CONNECT to a hash (RFC 1928 §4, XEP-0065 §4.3) | `ExpectVerdict` |
//! | `ExpectVerdict` | what the server says of this hash | the reply (RFC 1928 §6); `Connected`, or `Closed` |
//! | `Connected` | nothing: from here on the bytes are not ours to read | |
//! | `Closed` | nothing | |

use std::fmt;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xFF;
const CONNECT: u8 = 1;
const DOMAIN: u8 = 3;
/// Hexadecimal digits of a SHA-1 hash.
const HASH_DIGITS: usize = 40;
/// The longest greeting and the longest request, in one piece: who sends more does not wait for answers.
const BYTES_MAX: usize = (2 + 255) + (4 + 1 + 255 + 2);

/// Why a request is not fulfilled (RFC 1928 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server cannot now.
    Failure = 1,
    /// The server does not want to.
    NotAllowed = 2,
    /// Only CONNECT is known here.
    Command = 7,
    /// Only names are known here.
    AddressType = 8,
}

/// Which transfer: the SHA-1 of its id and both parties, in hexadecimal digits. Whoever knows it takes part.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Destination(String);

impl Destination {
    /// XEP-0065 §4.3: the hash of the id of the stream, the requester's JID and the target's.
    pub fn of(sid: &str, requester: &str, target: &str) -> Destination {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, [sid, requester, target].concat().as_bytes());
        Destination(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn parse(name: &[u8]) -> Option<Destination> {
        let is_hash = name.len() == HASH_DIGITS && name.iter().all(u8::is_ascii_hexdigit);
        is_hash.then(|| Destination(String::from_utf8_lossy(name).to_ascii_lowercase()))
    }
}

/// It lets in who knows it, so it is in no log.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Destination")
    }
}

/// What the talk asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// The peer wants to take part in this transfer: [`Socks5::accept`] or [`Socks5::refuse`].
    Wanted(Destination),
    /// Nothing more will be said; why, for the log.
    Close(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    ExpectGreeting,
    ExpectRequest,
    /// With the name as it was asked for, which the reply repeats.
    ExpectVerdict(Vec<u8>),
    Connected,
    Closed,
}

/// One end's talk.
#[derive(Debug)]
pub struct Socks5 {
    state: State,
    received: Vec<u8>,
    output: Vec<u8>,
    closing: Option<&'static str>,
}

impl Default for Socks5 {
    fn default() -> Socks5 {
        Socks5 { state: State::ExpectGreeting, received: Vec::new(), output: Vec::new(), closing: None }
    }
}

impl Socks5 {
    /// What was written since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Is there nothing left to say, because the peer takes part in a transfer?
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Bytes of the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Connected | State::Closed) {
            return;
        }
        if self.received.len().saturating_add(bytes.len()) > BYTES_MAX {
            return self.close("it says more than it may");
        }
        self.received.extend_from_slice(bytes);
    }

    /// The next thing to do, or `None` until there is more input.
    pub fn poll(&mut self) -> Option<Action> {
        loop {
            if let Some(why) = self.closing.take() {
                return Some(Action::Close(why));
            }
            match self.state {
                State::ExpectGreeting => self.greeting()?,
                State::ExpectRequest => {
                    if let Some(wanted) = self.request()? {
                        return Some(Action::Wanted(wanted));
                    }
                }
                State::ExpectVerdict(_) | State::Connected | State::Closed => return None,
            }
        }
    }

    /// The peer takes part (RFC 1928 §6). XEP-0065 §4.3: bound is what was asked for.
    pub fn accept(&mut self) {
        if let State::ExpectVerdict(name) = std::mem::replace(&mut self.state, State::Connected) {
            self.reply(0, &name);
        }
    }

    /// The peer does not take part.
    pub fn refuse(&mut self, refusal: Refusal, why: &'static str) {
        if let State::ExpectVerdict(name) = std::mem::replace(&mut self.state, State::Closed) {
            self.reply(refusal as u8, &name);
            self.close(why);
        }
    }

    /// Ends the talk without a word.
    pub fn close(&mut self, why: &'static str) {
        self.state = State::Closed;
        self.received = Vec::new();
        self.closing = Some(why);
    }

    /// RFC 1928 §3. `None`: not all of it is here.
    fn greeting(&mut self) -> Option<()> {
        let (version, count) = (*self.received.first()?, self.received.get(1));
        if version != VERSION {
            self.close("it does not speak SOCKS5");
            return Some(());
        }
        let end = 2 + usize::from(*count?);
        let is_offered = self.received.get(2..end)?.contains(&NO_AUTHENTICATION);
        self.received.drain(..end);
        if is_offered {
            self.output.extend([VERSION, NO_AUTHENTICATION]);
            self.state = State::ExpectRequest;
        } else {
            self.output.extend([VERSION, NO_METHOD]);
            self.close("it insists on logging in");
        }
        Some(())
    }

    /// RFC 1928 §4, XEP-0065 §4.3. `None`: not all of it is here.
    fn request(&mut self) -> Option<Option<Destination>> {
        let [version, command, _, address_type, length] = *self.received.first_chunk::<5>()?;
        if version != VERSION {
            self.close("it does not speak SOCKS5");
            return Some(None);
        }
        // The length of other kinds of addresses is another one; nobody waits for the rest of them.
        let refusal = match (command, address_type) {
            (CONNECT, DOMAIN) => None,
            (CONNECT, _) => Some(Refusal::AddressType),
            _ => Some(Refusal::Command),
        };
        if let Some(refusal) = refusal {
            self.state = State::ExpectVerdict(Vec::new());
            self.refuse(refusal, "it asks for what is not to be had here");
            return Some(None);
        }
        let end = 5 + usize::from(length);
        let name = self.received.get(5..end)?.to_vec();
        let port = self.received.get(end..end.saturating_add(2))?.to_vec();
        let rest = self.received.len().saturating_sub(end + 2);
        self.received = Vec::new();
        let destination = Destination::parse(&name).filter(|_| port == [0, 0]);
        self.state = State::ExpectVerdict(name);
        match destination {
            None => self.refuse(Refusal::NotAllowed, "it wants to go elsewhere"),
            // RFC 1928 §3: the reply comes first. Whose these bytes would be is not known yet.
            Some(_) if rest > 0 => self.refuse(Refusal::NotAllowed, "it does not wait for the reply"),
            Some(destination) => return Some(Some(destination)),
        }
        Some(None)
    }

    fn reply(&mut self, code: u8, name: &[u8]) {
        let length = u8::try_from(name.len()).unwrap_or(0);
        self.output.extend([VERSION, code, 0, DOMAIN, length]);
        self.output.extend(name.iter().take(usize::from(length)));
        self.output.extend([0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "vxf9n471bn46";

    fn destination() -> Destination {
        Destination::of(SID, "requester@example.com/foo", "target@example.org/bar")
    }

    fn request(name: &[u8], port: u16) -> Vec<u8> {
        let mut bytes = vec![5, 1, 0, 3, u8::try_from(name.len()).unwrap()];
        bytes.extend(name);
        bytes.extend(port.to_be_bytes());
        bytes
    }

    /// Says all this at once; returns what came of it and what was answered.
    fn say(bytes: &[u8]) -> (Option<Action>, Vec<u8>, Socks5) {
        let mut talk = Socks5::default();
        talk.push(bytes);
        let action = talk.poll();
        let output = talk.take_output();
        (action, output, talk)
    }

    #[test]
    fn the_hash_is_that_of_others() {
        // Made by sha1sum of "vxf9n471bn46requester@example.com/footarget@example.org/bar".
        assert_eq!(destination().0, "98b8d688d0f5d895fd41c5e7309a2e9e33ba32ff");
        assert_eq!(Destination::parse(destination().0.to_uppercase().as_bytes()), Some(destination()));
    }

    #[test]
    fn a_request_is_heard_in_whatever_pieces_it_comes() {
        let mut bytes = vec![5, 2, 2, 0];
        bytes.extend(request(destination().0.as_bytes(), 0));
        for cut in 0..bytes.len() {
            let mut talk = Socks5::default();
            let (one, other) = bytes.split_at(cut);
            talk.push(one);
            assert_eq!(talk.poll(), None, "{cut}");
            talk.push(other);
            assert_eq!(talk.poll(), Some(Action::Wanted(destination())), "{cut}");
            assert_eq!(talk.take_output(), [5, 0]);
            talk.accept();
            let mut reply = vec![5, 0, 0, 3, 40];
            reply.extend(destination().0.as_bytes());
            reply.extend([0, 0]);
            assert_eq!(talk.take_output(), reply);
            assert!(talk.is_connected() && talk.poll().is_none());
        }
    }

    #[test]
    fn what_is_not_for_us_is_refused() {
        let hash = destination().0;
        let greeted = |request: Vec<u8>| [vec![5, 1, 0], request].concat();
        let pipelined = [request(hash.as_bytes(), 0), vec![1]].concat();
        for (bytes, code, why) in [
            (greeted(request(hash.as_bytes(), 7777)), Some(2), "elsewhere"),
            (greeted(request(b"example.org", 0)), Some(2), "elsewhere"),
            (greeted(request(&hash.as_bytes()[..39], 0)), Some(2), "elsewhere"),
            (greeted(request(&[b'g'; 40], 0)), Some(2), "elsewhere"),
            (greeted(request(&[0xFF; 40], 0)), Some(2), "elsewhere"),
            (greeted(request(b"", 0)), Some(2), "elsewhere"),
            (greeted(pipelined), Some(2), "wait"),
            (greeted(vec![5, 3, 0, 3, 40]), Some(7), "not to be had"),
            (greeted(vec![5, 2, 0, 3, 40]), Some(7), "not to be had"),
            (greeted(vec![5, 1, 0, 1, 127]), Some(8), "not to be had"),
            (greeted(vec![4, 1, 0, 3, 40]), None, "does not speak"),
            (vec![4, 1], None, "does not speak"),
            (b"<stream:stream".to_vec(), None, "does not speak"),
            (b"GET / HTTP/1.1".to_vec(), None, "does not speak"),
            (vec![5, 1, 2], None, "insists"),
            (vec![5, 0], None, "insists"),
            (vec![5; 600], None, "more than it may"),
        ] {
            let (action, output, talk) = say(&bytes);
            let Some(Action::Close(said)) = action else { panic!("{bytes:?}: {action:?}") };
            assert!(said.contains(why), "{bytes:?}: {said}");
            assert_eq!(output.get(3).copied(), code, "{bytes:?}: {output:?}");
            assert_eq!(talk.state, State::Closed);
        }
        assert_eq!(say(&[5, 1, 2]).1, [5, 0xFF]);
    }

    #[test]
    fn a_verdict_may_be_a_refusal() {
        let mut talk = say(&[vec![5, 1, 0], request(destination().0.as_bytes(), 0)].concat()).2;
        talk.refuse(Refusal::Failure, "full");
        assert_eq!(talk.take_output().get(..5), Some([5, 1, 0, 3, 40].as_slice()));
        assert_eq!(talk.poll(), Some(Action::Close("full")));
        assert_eq!(talk.poll(), None);
    }

    #[test]
    fn no_bytes_are_too_strange() {
        // Dice of its own: the same noise in every run.
        let mut seed = 1_u32;
        let mut byte = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u8::try_from(seed >> 24).unwrap()
        };
        for _ in 0..20_000 {
            let mut talk = Socks5::default();
            for _ in 0..4 {
                let bytes: Vec<u8> = (0..byte() % 16).map(|at| if at < 5 { byte() % 6 } else { byte() }).collect();
                talk.push(&bytes);
                while talk.poll().is_some() {}
                assert!(talk.received.len() <= BYTES_MAX && talk.output.len() <= 512);
            }
        }
    }
}
