//! The rules of presence subscriptions (RFC 6121 §3 and appendix A) as pure functions.
//!
//! A subscription has two halves: whether the user sees the contact (`to`) and whether the contact sees the user
//! (`from`). Each half is [`Half::No`], [`Half::Asked`] or [`Half::Yes`], which makes the nine states of appendix A.1.
//!
//! | stanza | the user sends it | the contact sends it |
//! |---|---|---|
//! | subscribe | to: No → Asked; always routed | from: No → Asked, delivered; Yes or approved: answered for the user |
//! | unsubscribe | to → No; always routed | from → No, delivered unless it was No |
//! | subscribed | from: Asked → Yes, routed; No: noted as approved | to: Asked → Yes, delivered |
//! | unsubscribed | from → No, routed unless it was No | to → No, delivered unless it was No |

use crate::store::roster::{RosterItem, Subscription};
use crate::xmpp::PresenceType;

/// The four presence types that subscriptions are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
}

impl Request {
    pub(super) fn of(kind: PresenceType) -> Option<Request> {
        Some(match kind {
            PresenceType::Subscribe => Request::Subscribe,
            PresenceType::Subscribed => Request::Subscribed,
            PresenceType::Unsubscribe => Request::Unsubscribe,
            PresenceType::Unsubscribed => Request::Unsubscribed,
            _ => return None,
        })
    }
}

/// One direction of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    No,
    Asked,
    Yes,
}

/// Where a user and a contact stand, from the user's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Does the user see the contact?
    pub(super) to: Half,
    /// Does the contact see the user?
    pub(super) from: Half,
    /// RFC 6121 §3.4: the user said yes before being asked.
    pub(super) approved: bool,
}

impl State {
    /// RFC 6121 appendix A.1: nobody in the roster is the same as "None".
    pub(super) const NONE: State = State { to: Half::No, from: Half::No, approved: false };

    pub(super) fn of(item: Option<&RosterItem>) -> State {
        let half = |yes, asked| match (yes, asked) {
            (true, _) => Half::Yes,
            (false, true) => Half::Asked,
            (false, false) => Half::No,
        };
        item.map_or(State::NONE, |item| State {
            to: half(item.subscription.to(), item.ask),
            from: half(item.subscription.from(), item.pending_in.is_some()),
            approved: item.approved,
        })
    }

    pub(super) fn subscription(self) -> Subscription {
        Subscription::of(self.to == Half::Yes, self.from == Half::Yes)
    }

    /// Must the user see the contact in the roster in this state? A mere request from outside adds nobody (RFC 6121
    /// §3.1.3).
    pub(super) fn shows(self) -> bool {
        self.to != Half::No || self.from == Half::Yes || self.approved
    }
}

/// What the user's server does with a stanza of the user's own (RFC 6121 appendix A.2). True: it is routed.
pub(super) fn outbound(state: State, request: Request) -> (State, bool) {
    match (request, state) {
        (Request::Subscribe, State { to: Half::No, .. }) => (State { to: Half::Asked, ..state }, true),
        (Request::Subscribe, _) => (state, true),
        (Request::Unsubscribe, _) => (State { to: Half::No, ..state }, true),
        (Request::Subscribed, State { from: Half::Asked, .. }) => (State { from: Half::Yes, ..state }, true),
        // RFC 6121 §3.4.2: nobody asked yet, so it is noted and not sent.
        (Request::Subscribed, State { from: Half::No, .. }) => (State { approved: true, ..state }, false),
        (Request::Subscribed, State { from: Half::Yes, .. }) => (state, false),
        (Request::Unsubscribed, State { from, .. }) => {
            (State { from: Half::No, approved: false, ..state }, from != Half::No)
        }
    }
}

/// What becomes of a stanza that a contact sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    /// The user's clients see it.
    Deliver,
    /// The server answers "subscribed" for the user.
    Approve,
    /// Nobody sees it: it changes nothing.
    Drop,
}

/// What the user's server does with a stanza of a contact (RFC 6121 appendix A.3).
pub(super) fn inbound(state: State, request: Request) -> (State, Inbound) {
    match (request, state) {
        (Request::Subscribe, State { from: Half::Yes, .. }) => (state, Inbound::Approve),
        (Request::Subscribe, State { approved: true, .. }) => (State { from: Half::Yes, ..state }, Inbound::Approve),
        (Request::Subscribe, State { from: Half::No, .. }) => (State { from: Half::Asked, ..state }, Inbound::Deliver),
        (Request::Unsubscribe, State { from: Half::Asked | Half::Yes, .. }) => {
            (State { from: Half::No, ..state }, Inbound::Deliver)
        }
        (Request::Subscribed, State { to: Half::Asked, .. }) => (State { to: Half::Yes, ..state }, Inbound::Deliver),
        (Request::Unsubscribed, State { to: Half::Asked | Half::Yes, .. }) => {
            (State { to: Half::No, ..state }, Inbound::Deliver)
        }
        _ => (state, Inbound::Drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of RFC 6121 appendix A.1, shortened: N none, T to, F from, B both, o pending out, i pending in.
    fn state(name: &str) -> State {
        let half = |yes: &[char], asked: char| match (name.contains(yes), name.contains(asked)) {
            (true, _) => Half::Yes,
            (_, true) => Half::Asked,
            _ => Half::No,
        };
        State { to: half(&['T', 'B'], 'o'), from: half(&['F', 'B'], 'i'), approved: name.contains('+') }
    }

    const STATES: [&str; 9] = ["N", "No", "Ni", "Noi", "T", "Ti", "F", "Fo", "B"];

    #[test]
    fn outbound_table() {
        use Request::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
        // A.2.1 to A.2.4: per state of STATES the new one; with "!" where the stanza must be routed.
        #[rustfmt::skip]
        let rows = [
            (Subscribe,    ["No!", "No!", "Noi!", "Noi!", "T!", "Ti!", "Fo!", "Fo!", "B!"]),
            (Unsubscribe,  ["N!",  "N!",  "Ni!",  "Ni!",  "N!", "Ni!", "F!",  "F!",  "F!"]),
            (Subscribed,   ["N+",  "No+", "F!",   "Fo!",  "T+", "B!",  "F",   "Fo",  "B"]),
            (Unsubscribed, ["N",   "No",  "N!",   "No!",  "T",  "T!",  "N!",  "No!", "T!"]),
        ];
        for (request, news) in rows {
            for (old, new) in STATES.iter().zip(news) {
                let expected = (state(new), new.ends_with('!'));
                assert_eq!(outbound(state(old), request), expected, "{request:?} in {old}");
            }
        }
    }

    #[test]
    fn inbound_table() {
        use Request::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
        // A.3.1 to A.3.4: per state of STATES the new one; "!" is delivered, "?" is answered by the server.
        #[rustfmt::skip]
        let rows = [
            (Subscribe,    ["Ni!", "Noi!", "Ni", "Noi", "Ti!", "Ti",  "F?", "Fo?", "B?"]),
            (Unsubscribe,  ["N",   "No",   "N!", "No!", "T",   "T!",  "N!", "No!", "T!"]),
            (Subscribed,   ["N",   "T!",   "Ni", "Ti!", "T",   "Ti",  "F",  "B!",  "B"]),
            (Unsubscribed, ["N",   "N!",   "Ni", "Ni!", "N!",  "Ni!", "F",  "F!",  "F!"]),
        ];
        for (request, news) in rows {
            for (old, new) in STATES.iter().zip(news) {
                let act = match new.chars().last() {
                    Some('!') => Inbound::Deliver,
                    Some('?') => Inbound::Approve,
                    _ => Inbound::Drop,
                };
                assert_eq!(inbound(state(old), request), (state(new), act), "{request:?} in {old}");
            }
        }
    }

    #[test]
    fn who_was_approved_before_is_let_in_unasked() {
        for (old, new) in [("N+", "F+"), ("No+", "Fo+"), ("T+", "B+")] {
            assert_eq!(inbound(state(old), Request::Subscribe), (state(new), Inbound::Approve), "{old}");
        }
        // RFC 6121 §3.4.2: taking it back is no business of the contact's.
        assert_eq!(outbound(state("N+"), Request::Unsubscribed), (state("N"), false));
        assert_eq!(outbound(state("F+"), Request::Unsubscribed), (state("N"), true));
        // A contact that goes stays welcome.
        assert_eq!(inbound(state("B+"), Request::Unsubscribe), (state("T+"), Inbound::Deliver));
    }

    #[test]
    fn a_request_alone_shows_nobody() {
        for (name, shown) in [("N", false), ("Ni", false), ("No", true), ("T", true), ("F", true), ("N+", true)] {
            assert_eq!(state(name).shows(), shown, "{name}");
        }
    }
}
