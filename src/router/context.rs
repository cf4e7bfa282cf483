//! What a module is handed, and the effects by which it asks for things to happen.

use std::borrow::Cow;
use std::net::IpAddr;

use super::bytestreams::Bytestreams;
use super::command::Command;
use super::ids::{ConnectionId, SessionId};
use super::module::{About, ServiceAbout, SessionEvent};
use super::sessions::Sessions;
use crate::config::{Block, BrowseItem, Config, Host, Service};
use crate::store::Store;
use crate::stream::sasl::HashJob;
use crate::xml::Element;
use crate::xmpp::{BareJid, Iq, Jid, Now, Random, Stanza, StanzaError, StreamError, jid, ns};

/// Who sent the stanza at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A local session.
    Session(SessionId),
    /// A stream that is not logged in, and the peer's address.
    Connection(ConnectionId, IpAddr),
    /// Another server, a component, or the server itself.
    Elsewhere,
}

/// What a module asks for. The router works them off in order.
#[derive(Debug)]
#[expect(missing_docs, reason = "fields say by their types what they are")]
pub enum Effect {
    /// Send a stanza on its way.
    Route(Stanza),
    /// Give a stanza to one session, whatever its `to` says.
    Deliver(SessionId, Stanza),
    /// Whom a session sent presence alone is told that it is over.
    Undirect(SessionId, Jid),
    /// Write a stanza to a stream that is not logged in.
    Write(ConnectionId, Stanza),
    /// Tell the modules about a session.
    Session(SessionId, SessionEvent),
    /// End a session's stream with an error.
    Close(SessionId, StreamError),
    /// End all sessions of an account; the one excepted stays.
    CloseAccount { account: BareJid, except: Option<SessionId>, error: StreamError },
    /// Make one of two ends of a file transfer.
    Join { one: ConnectionId, other: ConnectionId, bytes_per_second: Option<u64> },
    /// Have a password hashed; the module at this place in the table is woken with the result. What the requester says
    /// meanwhile waits.
    Hash { module: usize, host: String, requester: Requester, job: HashJob },
    /// Wake the module at this place in the table.
    Wake { module: usize, host: String, at_millis: u64, token: u64 },
    /// The same, when all that was sent to a session so far has left. A session has one such wish at most, the last.
    WakeDrained { module: usize, host: String, session: SessionId, token: u64 },
    /// The same, when a session's client has shown that it took all that was sent to it so far.
    WakeTaken { module: usize, host: String, session: SessionId, token: u64 },
    /// Tell the modules that an account was created or will be deleted, and delete it.
    AccountCreated(BareJid),
    /// Tell the modules that an account goes; then its data goes.
    DeleteAccount(BareJid),
    /// Block domains, and take back blocks of others that were made while the server ran.
    Blocks { added: Vec<Block>, removed: Vec<String> },
    /// End the server then, on the monotonic clock.
    Stop { at_millis: u64 },
    /// Read jabber.xml again; the module at this place in the table is woken with what came of it.
    Reload { module: usize, host: String, token: u64 },
}

/// A request that will be answered later: who asked, and what.
#[derive(Debug)]
pub struct Pending {
    requester: Requester,
    stanza: Stanza,
}

impl Pending {
    /// The request.
    pub fn stanza(&self) -> &Stanza {
        &self.stanza
    }
    /// Who asked.
    pub fn requester(&self) -> Requester {
        self.requester
    }
}

/// What a module is handed with every call.
pub struct Context<'a> {
    /// The data of accounts.
    pub store: &'a mut Store,
    /// Who is here.
    pub sessions: &'a mut Sessions,
    /// The ends of file transfers that are connected to us.
    pub bytestreams: &'a mut Bytestreams,
    /// The whole configuration.
    pub config: &'a Config,
    /// The host this call is about.
    pub host: &'a Host,
    /// The moment of this tick.
    pub now: Now,
    /// Dice.
    pub random: &'a mut dyn Random,
    /// Who sent the stanza at hand.
    pub requester: Requester,
    /// When the server started, on the monotonic clock, in milliseconds.
    pub started_millis: u64,
    /// What the modules that are on at this host declare.
    pub(super) abouts: &'a [(&'static str, &'static About)],
    pub(super) service: Option<(&'a Service, &'static ServiceAbout)>,
    pub(super) module: usize,
    pub(super) idle: bool,
    pub(super) spent: &'a mut usize,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl Context<'_> {
    /// Said by the default methods of [`super::Module`]: there is no need to call this one again.
    pub(super) fn nothing_to_do(&mut self) {
        self.idle = true;
    }

    /// Counts work that no effect shows: so many contacts or items were looked at. Whoever asks for much has the rest of
    /// his stanzas wait (`work-per-tick`).
    pub fn spend(&mut self, count: usize) {
        *self.spent = self.spent.saturating_add(count);
    }

    /// As many of these as one answer may hold: it must fit into what may wait for a connection (`output-bytes-max`), and
    /// leave room for what else does.
    pub fn fitting(&self, elements: impl Iterator<Item = Element>) -> Vec<Element> {
        let mut room = self.config.limits.output_bytes_max / 2;
        let fits = |element: &Element| match room.checked_sub(element.to_string().len()) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        elements.take_while(fits).collect()
    }

    /// Gives a stanza to one session.
    pub fn deliver(&mut self, session: SessionId, stanza: Stanza) {
        self.effects.push(Effect::Deliver(session, stanza));
    }

    /// Tells all modules of a session's change.
    pub fn tell_session(&mut self, session: SessionId, event: SessionEvent) {
        self.effects.push(Effect::Session(session, event));
    }

    /// Ends one session's stream.
    pub fn close(&mut self, session: SessionId, error: impl Into<StreamError>) {
        self.effects.push(Effect::Close(session, error.into()));
    }

    /// Ends the sessions of an account.
    pub fn close_account(&mut self, account: &BareJid, except: Option<SessionId>, error: impl Into<StreamError>) {
        let account = account.clone();
        self.effects.push(Effect::CloseAccount { account, except, error: error.into() });
    }

    /// Has password work done beside the loop; [`super::Module::woke`] gets the result.
    pub fn hash(&mut self, job: HashJob) {
        let host = self.host.name.clone();
        self.effects.push(Effect::Hash { module: self.module, host, requester: self.requester, job });
    }

    /// Sets a timer of this module.
    pub fn wake_after(&mut self, wait: std::time::Duration, token: u64) {
        let (host, at_millis) = (self.host.name.clone(), self.now.after(wait));
        self.effects.push(Effect::Wake { module: self.module, host, at_millis, token });
    }

    /// Wakes this module when all that was sent to a session so far has left the server; at once if it has.
    pub fn wake_when_drained(&mut self, session: SessionId, token: u64) {
        let host = self.host.name.clone();
        self.effects.push(Effect::WakeDrained { module: self.module, host, session, token });
    }

    /// Wakes this module when a session's client has shown that it took all that was sent to it so far: when, after that
    /// arrived, it ends its stream or its side of the connection, says something a while later, or is still there half a
    /// minute later. Never, if the connection breaks first. A session has one such wish at most, the last.
    pub fn wake_when_taken(&mut self, session: SessionId, token: u64) {
        let host = self.host.name.clone();
        self.effects.push(Effect::WakeTaken { module: self.module, host, session, token });
    }

    /// Makes one of two ends of a file transfer.
    pub fn join(&mut self, (one, other): (ConnectionId, ConnectionId), bytes_per_second: Option<u64>) {
        self.effects.push(Effect::Join { one, other, bytes_per_second });
    }

    /// Tells all modules that an account is new.
    pub fn account_created(&mut self, account: &BareJid) {
        self.effects.push(Effect::AccountCreated(account.clone()));
    }

    /// Blocks domains, in both directions, and takes back blocks of others that were made while the server ran.
    pub fn change_blocks(&mut self, added: Vec<Block>, removed: Vec<String>) {
        self.effects.push(Effect::Blocks { added, removed });
    }

    /// Ends the server in an orderly way, after a while.
    pub fn stop_after(&mut self, wait: std::time::Duration) {
        let at_millis = self.now.after(wait);
        self.effects.push(Effect::Stop { at_millis });
    }

    /// Has jabber.xml read again; [`super::Module::woke`] hears what came of it.
    pub fn reload(&mut self, token: u64) {
        let host = self.host.name.clone();
        self.effects.push(Effect::Reload { module: self.module, host, token });
    }

    /// Deletes an account with all its data, after telling the modules.
    pub fn delete_account(&mut self, account: &BareJid) {
        self.effects.push(Effect::DeleteAccount(account.clone()));
    }

    /// Keeps a request to answer it later; its module returns [`super::Reply::Later`].
    pub fn keep(&self, iq: &Iq<'_>) -> Pending {
        Pending { requester: self.requester, stanza: iq.stanza().clone() }
    }

    /// Answers a request that was kept.
    pub fn answer_later(&mut self, pending: &Pending, answer: Result<Option<Element>, StanzaError>) {
        let stanza = match answer {
            Ok(payload) => Some(pending.stanza.result(payload)),
            Err(error) => pending.stanza.error(&error),
        };
        let Some(stanza) = stanza else { return };
        self.effects.push(match pending.requester {
            Requester::Connection(connection, _) => Effect::Write(connection, stanza),
            Requester::Session(session) => Effect::Deliver(session, stanza),
            Requester::Elsewhere => Effect::Route(stanza),
        });
    }

    /// What the modules that are on at this host declare.
    pub fn abouts(&self) -> impl Iterator<Item = &'static About> {
        self.abouts.iter().map(|(_, about)| *about)
    }

    /// The service that the stanza at hand is for, if it is for one, and what its module says of it.
    pub fn service(&self) -> Option<(&Service, &'static ServiceAbout)> {
        self.service
    }

    /// The services of this host, each with what its module says of it.
    pub fn services(&self) -> impl Iterator<Item = (&Service, &'static ServiceAbout)> {
        let about = |service: &Service| {
            let mut services = self.abouts().filter_map(|about| about.service.as_ref());
            services.find(|about| about.kind == service.kind)
        };
        self.config.services_of(&self.host.name).filter_map(move |service| Some((service, about(service)?)))
    }

    /// The list of services, the same for all who ask in whatever protocol: what jabber.xml lists and this account may
    /// see, then our own services that it does not list.
    pub fn listed_services(&self, account: Option<&BareJid>) -> Vec<Cow<'_, BrowseItem>> {
        let is_listed = |name: &str| self.host.browse.iter().any(|item| item.jid.as_str() == name);
        let own = self.services().filter(|(service, _)| !is_listed(&service.name)).filter_map(|(service, about)| {
            // XEP-0011 §2: what XEP-0030 calls a directory of users was a service of the type jud.
            let (category, kind) = match (about.category, about.identity) {
                ("directory", "user") => ("service", "jud"),
                (category, kind) => (category, kind),
            };
            Some(Cow::Owned(BrowseItem {
                category: category.to_string(),
                kind: kind.to_string(),
                jid: jid::of_host(&service.name)?,
                name: about.title(service).to_string(),
                namespaces: about.disco.iter().map(|feature| feature.to_string()).collect(),
                only_if: None,
                only_if_not: None,
            }))
        });
        self.host.services_for(account).map(Cow::Borrowed).chain(own).collect()
    }

    /// Is there anything at this host that carries commands out?
    pub fn has_commands(&self) -> bool {
        self.abouts().any(|about| about.disco.contains(&ns::COMMANDS))
    }

    /// The ad-hoc commands of this host that can be carried out (XEP-0133 §3), in the order of the modules.
    pub fn commands(&self) -> impl Iterator<Item = &'static Command> {
        let can = |command: &&Command| command.needs.is_none_or(|module| self.host.modules.is_on(module));
        self.abouts().filter(|_| self.has_commands()).flat_map(|about| about.commands).filter(can)
    }

    /// Those that the sender of the stanza at hand may use. Only our own people may: what another server says of its
    /// accounts is good enough for messages, not for administration.
    pub fn usable_commands(&self) -> Vec<&'static Command> {
        let session = self.requesting_session().and_then(|id| self.sessions.by_id(id));
        let Some(account) = session.map(|session| session.account()) else { return Vec::new() };
        self.commands().filter(|command| (command.may)(self, account)).collect()
    }

    /// The session that sent the stanza at hand, if it was one of ours.
    pub fn requesting_session(&self) -> Option<SessionId> {
        match self.requester {
            Requester::Session(session) => Some(session),
            _ => None,
        }
    }
}
