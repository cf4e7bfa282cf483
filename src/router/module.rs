//! How a feature joins: the `Module` trait, and what a module declares about itself.
//!
//! A module reads its options from the context's host at each call, so that a changed jabber.xml needs no new modules.

use super::command::Command;
use super::context::Context;
use super::ids::SessionId;
use crate::config::{Service, ServiceKind};
use crate::stream::sasl::HashResult;
use crate::xml::Element;
use crate::xmpp::{BareJid, Iq, IqType, Stanza, StanzaError};

/// What a module is and answers: declared once; disco, dispatch and the README's table come from it.
pub struct About {
    /// The documents it implements, with version where they have one.
    pub specs: &'static [&'static str],
    /// Features of the host in XEP-0030.
    pub disco: &'static [&'static str],
    /// Features of every account in XEP-0030.
    pub account_disco: &'static [&'static str],
    /// Features of every service of ours in XEP-0030, whoever's it is.
    pub service_disco: &'static [&'static str],
    /// The service that it has at a domain of its own.
    pub service: Option<ServiceAbout>,
    /// The requests it answers.
    pub answers: &'static [Answers],
    /// Nodes in XEP-0030 of the host and its accounts, existing or not, for which it answers in place of mod_disco.
    pub nodes: &'static [&'static str],
    /// The ad-hoc commands of the host (XEP-0050) that it offers.
    pub commands: &'static [Command],
}

impl About {
    /// Nothing declared: the rest of a literal.
    pub const NONE: About = About {
        specs: &[],
        disco: &[],
        account_disco: &[],
        service_disco: &[],
        service: None,
        answers: &[],
        nodes: &[],
        commands: &[],
    };

    /// Does it answer such a request, addressed so?
    pub(super) fn answers_at(&self, scope: Scope, wanted: impl Fn(&Answers) -> bool) -> bool {
        self.answers.iter().any(|answers| wanted(answers) && answers.scope.contains(&scope))
    }
}

/// What a service with a domain of its own is, in XEP-0030's words.
pub struct ServiceAbout {
    /// Which one: jabber.xml says what it is called.
    pub kind: ServiceKind,
    /// The identity's category.
    pub category: &'static str,
    /// The identity's type.
    pub identity: &'static str,
    /// What people call it, unless jabber.xml says otherwise.
    pub name: &'static str,
    /// Its features, besides those that every service has.
    pub disco: &'static [&'static str],
}

impl ServiceAbout {
    /// What people call this one.
    pub fn title<'a>(&'static self, service: &'a Service) -> &'a str {
        service.title.as_deref().unwrap_or(self.name)
    }
}

/// A kind of request that a module answers.
pub struct Answers {
    /// To whom the request may be addressed.
    pub scope: &'static [Scope],
    /// Get or set.
    pub kind: IqType,
    /// Namespace of the payload.
    pub ns: &'static str,
    /// Name of the payload's element.
    pub name: &'static str,
}

/// Whom a request is addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A host.
    Server,
    /// A resource of a host: `host/admin`.
    Resource,
    /// The bare JID of a local account, by anybody. The module decides who may.
    Account,
    /// A bare JID of a host without an account behind it. Answer as for an account that shows itself to nobody.
    Nobody,
    /// The stream's host, before login.
    BeforeLogin,
    /// The domain of a service: the module's own if it has one, else everyone's.
    Service,
}

/// The answer to a request.
pub enum Reply {
    /// An empty result.
    Empty,
    /// A result with this payload.
    Payload(Element),
    /// The module took the request along and will answer by [`Context::answer_later`].
    Later,
}

impl Reply {
    /// RFC 6120 §8.2.3: a result without payload.
    pub fn empty() -> Reply {
        Reply::Empty
    }
}

impl From<Element> for Reply {
    fn from(payload: Element) -> Reply {
        Reply::Payload(payload)
    }
}

/// What becomes of a stanza after a module saw it.
pub enum Flow {
    /// It goes on to the next module, and then on its way.
    Pass,
    /// It goes on, changed.
    Changed(Box<Stanza>),
    /// It ends here.
    Handled,
    /// Of a message for an account: no session is to get it now, and what is for those who are away may take it.
    Undelivered,
}

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A resource was bound.
    Bound,
    /// It sent initial presence (RFC 6121 §4.2) or left a negative priority.
    Available,
    /// It sent unavailable presence, became invisible, or is about to end while available; with the last status, if there is one.
    Unavailable {
        /// The `<status/>` of the unavailable presence; [`DISCONNECTED`] when the server has to speak for the client.
        status: Option<String>,
    },
    /// Its stream is gone. The session is still among the sessions during the call, with its last presence.
    Ended,
}

/// The status of a session that ended without a word.
///
/// Compat: jabberd 1.4 says this, in the presence and in XEP-0012's answer, and people know it.
pub const DISCONNECTED: &str = "Disconnected";

/// What happens to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountEvent {
    /// It was just created.
    Created,
    /// It is about to be deleted; its data is still there.
    Deleted,
}

/// Why a module is woken.
pub enum Wake {
    /// A timer it set, with the token it gave.
    Timer(u64),
    /// Password work it asked for is done.
    Hashed(HashResult),
    /// jabber.xml was read again, as it asked with this token.
    Reread(u64, Reread),
}

/// What came of reading jabber.xml again: what of it is not in force, or why the old one is kept.
pub type Reread = Result<Vec<String>, String>;

/// The methods of a module, as numbers of bits.
#[derive(Clone, Copy)]
pub(super) enum Point {
    Answer,
    Sent,
    Arriving,
    Delivering,
    Undelivered,
    Session,
    Account,
    Visited,
    Woke,
    Reread,
    SwitchedOff,
}

impl Point {
    pub(super) fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A feature. All methods but [`Module::about`] default to doing nothing, and let the router know that they do: then it
/// leaves the module out at that point.
///
/// The order of the rows in `modules/mod.rs` is the order of the calls. A method never blocks, never calls another
/// module, and asks for what should happen by effects in its [`Context`].
pub trait Module {
    /// Specs, disco features, payloads it answers. The same at every call.
    fn about(&self) -> &'static About;

    /// An iq listed in [`About::answers`].
    fn answer(&mut self, _: &mut Context<'_>, _: &Iq<'_>) -> Result<Reply, StanzaError> {
        Err(crate::xmpp::Condition::ServiceUnavailable.into())
    }

    /// A local client sent a stanza; `from` is already its full JID. Before routing.
    fn sent(&mut self, context: &mut Context<'_>, _: SessionId, _: &Stanza) -> Result<Flow, StanzaError> {
        context.nothing_to_do();
        Ok(Flow::Pass)
    }

    /// A stanza reached a local account (which may not exist), before sessions are chosen.
    fn arriving(&mut self, context: &mut Context<'_>, _: &BareJid, _: &Stanza) -> Result<Flow, StanzaError> {
        context.nothing_to_do();
        Ok(Flow::Pass)
    }

    /// A copy is about to enter one session.
    fn delivering(&mut self, context: &mut Context<'_>, _: SessionId, _: &Stanza) -> Result<Flow, StanzaError> {
        context.nothing_to_do();
        Ok(Flow::Pass)
    }

    /// No session took a message for an account that exists.
    fn undelivered(&mut self, context: &mut Context<'_>, _: &BareJid, _: &Stanza) -> Result<Flow, StanzaError> {
        context.nothing_to_do();
        Ok(Flow::Pass)
    }

    /// Something happened to a session.
    fn session(&mut self, context: &mut Context<'_>, _: SessionId, _: &SessionEvent) -> Result<(), StanzaError> {
        context.nothing_to_do();
        Ok(())
    }

    /// Something happened to an account.
    fn account(&mut self, context: &mut Context<'_>, _: &BareJid, _: AccountEvent) -> Result<(), StanzaError> {
        context.nothing_to_do();
        Ok(())
    }

    /// A message or presence for a host itself, or for a resource of it. With [`Context::service`]: anything for the
    /// module's own service that [`Module::answer`] does not get.
    fn visited(&mut self, context: &mut Context<'_>, _: &Stanza) -> Result<Flow, StanzaError> {
        context.nothing_to_do();
        Ok(Flow::Pass)
    }

    /// A wake-up it asked for is due.
    fn woke(&mut self, _: &mut Context<'_>, _: Wake) -> Result<(), StanzaError> {
        Ok(())
    }

    /// jabber.xml is about to switch it off at the host, or the host goes: it hears neither of the sessions there nor of
    /// the timers it set any more.
    fn switched_off(&mut self, context: &mut Context<'_>) -> Result<(), StanzaError> {
        context.nothing_to_do();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::Config;
    use crate::router::{ConnectionId, Env, Router};
    use crate::store::Store;
    use crate::xmpp::random::NoDice;
    use crate::xmpp::{FullJid, MessageType, Now};

    /// Sees what clients send, and nothing else.
    struct Watcher(Arc<AtomicUsize>);

    impl Module for Watcher {
        fn about(&self) -> &'static About {
            &About::NONE
        }
        fn sent(&mut self, _: &mut Context<'_>, _: SessionId, _: &Stanza) -> Result<Flow, StanzaError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Flow::Pass)
        }
    }

    #[test]
    fn a_module_is_left_out_only_where_it_does_nothing() {
        const NOW: Now = Now { unix_millis: 1_000_000, monotonic_millis: 5_000 };
        let seen = Arc::new(AtomicUsize::new(0));
        let table: Vec<(&'static str, Box<dyn Module>)> = vec![("mod_ping", Box::new(Watcher(seen.clone())))];
        let mut router = Router::new(Arc::new(Config::for_host("h.test")), table, NOW);
        let mut store = Store::in_memory().unwrap();
        let mut env = Env { now: NOW, random: &mut NoDice, store: &mut store };
        let romeo = FullJid::new("romeo@h.test/r").unwrap();
        let session = router.bind(&mut env, romeo.clone(), ConnectionId(1));
        for count in 1..=3 {
            let message = Stanza::message(MessageType::Chat).with_to(romeo.clone());
            router.from_session(&mut env, session, message);
            assert_eq!(seen.load(Ordering::Relaxed), count);
        }
        let idle = router.modules.first().unwrap().idle;
        let points = [Point::Sent, Point::Arriving, Point::Delivering, Point::Session, Point::Visited];
        let is_idle = points.map(|point| idle & point.bit() != 0);
        assert_eq!(is_idle, [false, true, true, true, false], "nobody visited the host yet");
    }
}
