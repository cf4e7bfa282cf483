//! What stands between users and others: their privacy lists as they are in memory, and the one function that decides by
//! them.
//!
//! | stanza | where it is decided |
//! |---|---|
//! | a client sends it | `mod_privacy`, first of all modules, before a subscription or a roster changes |
//! | the server makes it in a user's name | [`Context::route`]: broadcasts, probes, their answers, answers to subscriptions |
//! | it comes for an account | `mod_privacy`, first of all modules: by the list of the session it is for, or of any; if there is none, by the default list |
//! | it comes for the bare JID, and sessions are chosen | [`takes`]: who does not take it is no choice; [`KeptBack`]: nor from whom its sender keeps it |
//! | it enters a session in another way (what was stored, what waited) | `mod_privacy`, first of all modules |
//!
//! Who has no list pays a look at two empty fields of the session. An account that is away is looked up in the store when
//! something comes for it.

use std::collections::HashMap;
use std::sync::Arc;

use super::context::{Context, Effect};
use super::ids::SessionId;
use super::sessions::{Session, Sessions, Visibility};
use crate::config::Config;
use crate::store::roster::RosterItem;
use crate::store::{Error, Store, privacy, roster};
use crate::xml;
use crate::xmpp::filter::Filter;
use crate::xmpp::privacy::{Item, List, Relation, Traffic};
use crate::xmpp::{BareJid, Jid, Kind, PresenceType, Stanza, jid};

/// Accounts without a session whose rules are remembered, those that somebody writes to, and the items of all their lists:
/// beyond either, all are read anew.
const ABSENT_MAX: usize = 1_000;
const ABSENT_ITEMS_MAX: usize = 20_000;

/// What lines of the log are about that tell of lists which cannot be read.
const UNREADABLE: &str = "privacy lists that cannot be read";

/// What counts for an account, whether it is here or not. Nobody has an empty one.
#[derive(Debug)]
pub struct Standing {
    /// XEP-0016 §2.2: for all sessions without an active list, and when there is none.
    pub default: Option<Arc<List>>,
    /// jabberd 1.4's rules for messages.
    pub filter: Filter,
}

impl Standing {
    /// Of these two, if there is anything in them.
    pub fn of(default: Option<Arc<List>>, filter: Filter) -> Option<Arc<Standing>> {
        (default.is_some() || !filter.is_empty()).then(|| Arc::new(Standing { default, filter }))
    }

    /// What the store has.
    fn read(store: &Store, account: &BareJid) -> Result<Option<Arc<Standing>>, Error> {
        let kept = privacy::standing(store, account)?;
        let default = kept.default.as_deref().and_then(|text| read(text, account)).map(Arc::new);
        let filter = kept.filter.as_deref().and_then(xml::parse).map(|query| Filter::parse(&query));
        Ok(Standing::of(default, filter.unwrap_or_default()))
    }
}

/// A list of the store. One that cannot be read any more counts as none.
pub fn read(text: &str, account: &BareJid) -> Option<List> {
    let list = xml::parse(text).and_then(|element| List::parse(&element).ok());
    if list.is_none() {
        log::error!(target: account.domain().as_str(), users = UNREADABLE, by:% = account;
            "a privacy list of {account} in the store cannot be read");
    }
    list
}

/// What is remembered of accounts that have no session.
#[derive(Default)]
pub(super) struct Absent {
    standings: HashMap<BareJid, Option<Arc<Standing>>>,
    /// Of all that was remembered since the last time that all was forgotten.
    items: usize,
}

impl Absent {
    /// It is here now, or gone for good, or something changed.
    pub(super) fn forget(&mut self, account: &BareJid) {
        self.standings.remove(account);
    }

    fn remember(&mut self, account: &BareJid, standing: Option<Arc<Standing>>) {
        let items = standing.as_ref().and_then(|standing| Some(standing.default.as_ref()?.items().len())).unwrap_or(0);
        self.items = self.items.saturating_add(items);
        if self.standings.len() >= ABSENT_MAX || self.items > ABSENT_ITEMS_MAX {
            *self = Absent { standings: HashMap::new(), items };
        }
        self.standings.insert(account.clone(), standing);
    }
}

impl Sessions {
    /// What counts for an account at all times. The store is asked if nobody else knows.
    ///
    /// # Errors
    /// When the store fails.
    pub fn standing(&mut self, store: &Store, account: &BareJid) -> Result<Option<Arc<Standing>>, Error> {
        if let Some((_, session)) = self.of(account).next() {
            return Ok(session.standing.clone());
        }
        if let Some(standing) = self.absent.standings.get(account) {
            return Ok(standing.clone());
        }
        let standing = Standing::read(store, account)?;
        self.absent.remember(account, standing.clone());
        Ok(standing)
    }

    /// A new session gets what counts for its account.
    ///
    /// # Errors
    /// When the store fails.
    pub fn give_standing(&mut self, store: &Store, id: SessionId) -> Result<(), Error> {
        let Some(account) = self.by_id(id).map(|session| session.account().clone()) else { return Ok(()) };
        let sibling = self.of(&account).find(|(other, _)| *other != id);
        let standing = match sibling {
            Some((_, sibling)) => sibling.standing.clone(),
            None => Standing::read(store, &account)?,
        };
        if let Some(session) = self.by_id_mut(id) {
            session.standing = standing;
        }
        Ok(())
    }

    /// `mod_privacy` was switched on or off at a host: who is there gets what counts now. Returns the sessions for which it
    /// cannot be read.
    pub(super) fn renew_standings(&mut self, store: &Store, host: &str, is_on: bool) -> Vec<SessionId> {
        self.absent = Absent::default();
        let here = self.all().filter(|(_, session)| session.account().domain().as_str() == host);
        let here: Vec<(SessionId, BareJid)> = here.map(|(id, session)| (id, session.account().clone())).collect();
        let mut known: HashMap<BareJid, Option<Arc<Standing>>> = HashMap::new();
        let mut unread = Vec::new();
        for (id, account) in here {
            let standing = match known.get(&account) {
                Some(standing) => Ok(standing.clone()),
                None if is_on => Standing::read(store, &account),
                None => Ok(None),
            };
            let Some(session) = self.by_id_mut(id) else { continue };
            session.active = None;
            match standing {
                Ok(standing) => {
                    session.standing = standing.clone();
                    known.insert(account, standing);
                }
                Err(_) => unread.push(id),
            }
        }
        unread
    }

    /// The store holds something new for an account, or nothing any more.
    pub fn forget_standing(&mut self, account: &BareJid) {
        self.absent.forget(account);
    }
}

impl Session {
    /// The list that counts for this session: the active one or the default one, never both (XEP-0016 §2.2).
    pub fn list(&self) -> Option<&Arc<List>> {
        self.active.as_ref().or_else(|| self.standing.as_ref()?.default.as_ref())
    }
}

/// XEP-0016 §2.1: what a user's own sessions and the server itself say is never stopped.
pub fn is_exempt(account: &BareJid, who: &Jid) -> bool {
    match who.node() {
        Some(_) => jid::same_bare(account, who),
        None => account.domain() == who.domain(),
    }
}

/// The decision: the item of a list that stops a stanza between an account and somebody else, if one does.
///
/// # Errors
/// When the store fails: the roster is read where an item needs it.
pub fn stops<'list>(
    store: &Store,
    list: &'list List,
    account: &BareJid,
    who: &Jid,
    traffic: Traffic,
) -> Result<Option<&'list Item>, Error> {
    if is_exempt(account, who) {
        return Ok(None);
    }
    let item = list.decide(who, traffic, || relation(store, account, who))?;
    Ok(item.filter(|item| !item.allows))
}

/// What the roster says of somebody, by the bare or by the full JID.
fn relation(store: &Store, account: &BareJid, who: &Jid) -> Result<Relation, Error> {
    let contact = jid::contact(who);
    let mut item = roster::item(store, account, &contact)?;
    if item.is_none() && contact != *who {
        item = roster::item(store, account, who)?;
    }
    Ok(relation_of(item.as_ref()))
}

/// What a roster item says. One that only holds a request makes nobody a contact.
pub fn relation_of(item: Option<&RosterItem>) -> Relation {
    match item {
        Some(item) if item.visible => Relation { subscription: item.subscription.name(), groups: item.groups.clone() },
        _ => Relation::STRANGER,
    }
}

/// Would this session let such a stanza in?
///
/// # Errors
/// When the store fails.
pub fn takes(store: &Store, session: &Session, stanza: &Stanza) -> Result<bool, Error> {
    let (Some(list), Some(from)) = (session.list(), stanza.from()) else { return Ok(true) };
    Ok(stops(store, list, session.account(), from, Traffic::inbound(stanza.kind()))?.is_none())
}

impl Context<'_> {
    /// Sends a stanza on its way, as if it had just arrived. Its `from` must be set. What a user's privacy lists do not
    /// let out ends here.
    pub fn route(&mut self, stanza: Stanza) {
        if self.lets_out(&stanza) {
            self.route_anyway(stanza);
        }
    }

    /// The same for a stanza that comes from a session: it need not be looked up.
    pub fn route_from(&mut self, session: SessionId, stanza: Stanza) {
        let passes = match self.sessions.by_id(session) {
            Some(session) => self.passes(session.list(), session.account(), &stanza),
            None => self.lets_out(&stanza),
        };
        if passes {
            self.route_anyway(stanza);
        }
    }

    /// Sends a stanza whatever the lists say: the word that takes back what was said before, and what a client sent
    /// itself and was let through.
    pub fn route_anyway(&mut self, stanza: Stanza) {
        self.effects.push(Effect::Route(stanza));
    }

    /// Do the lists of the user whom a stanza is from let it out?
    pub fn lets_out(&mut self, stanza: &Stanza) -> bool {
        let Some(from) = stanza.from().filter(|from| from.node().is_some()) else { return true };
        let Some(host) = self.config.host(jid::domain(from)) else { return true };
        let account = jid::bare(from);
        let session = if from.is_full() { self.sessions.by_full(&account, from) } else { None };
        if let Some(session) = session.and_then(|id| self.sessions.by_id(id)) {
            return self.passes(session.list(), &account, stanza);
        }
        if !host.modules.is_on("mod_privacy") {
            return true;
        }
        match self.sessions.standing(self.store, &account) {
            Ok(standing) => {
                let default = standing.as_ref().and_then(|standing| standing.default.as_ref());
                self.passes(default, &account, stanza)
            }
            Err(error) => unread(&account, &error),
        }
    }

    fn passes(&self, list: Option<&Arc<List>>, account: &BareJid, stanza: &Stanza) -> bool {
        let Some(to) = stanza.to() else { return true };
        passes(self.store, list, account, to, stanza.kind())
    }

    /// Does a session show itself to somebody who may see the account's presence?
    pub fn shows(&self, session: &Session, who: &Jid) -> bool {
        shows(self.store, session, who)
    }
}

/// Does a session show itself to somebody who may see the account's presence?
pub(super) fn shows(store: &Store, session: &Session, who: &Jid) -> bool {
    let Some(presence) = session.presence.as_ref().filter(|_| session.visibility == Visibility::Visible) else {
        return false;
    };
    passes(store, session.list(), session.account(), who, presence.kind())
}

/// Does a list let such a stanza out to somebody?
fn passes(store: &Store, list: Option<&Arc<List>>, account: &BareJid, to: &Jid, kind: Kind) -> bool {
    let Some(list) = list else { return true };
    match stops(store, list, account, to, Traffic::outbound(kind)) {
        Ok(item) => item.is_none(),
        Err(error) => unread(account, &error),
    }
}

/// XEP-0191 §6, XEP-0016 §2.1: a user may keep what he says from one resource of a contact. What goes to the bare JID of a
/// contact of ours reaches all its sessions but those. What waits in the store waits for the account, whoever comes.
///
/// Deviation: a contact elsewhere gets it for all its resources, since its own server hands it out there. Only a block
/// of the account, or of the domain, keeps it from there.
pub struct KeptBack {
    account: BareJid,
    list: Arc<List>,
    traffic: Traffic,
}

impl KeptBack {
    /// Is it this resource alone that the stanza is kept from?
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_from(&self, store: &Store, who: &Jid) -> Result<bool, Error> {
        let bare = Jid::from(jid::bare(who));
        let stopped = |who: &Jid| Ok(stops(store, &self.list, &self.account, who, self.traffic)?.is_some());
        Ok(stopped(who)? && !stopped(&bare)?)
    }
}

impl Sessions {
    /// What a local user sends to a bare JID: by the user's list, if it is one that names resources.
    ///
    /// # Errors
    /// When the store fails.
    pub fn kept_back(&mut self, store: &Store, config: &Config, stanza: &Stanza) -> Result<Option<KeptBack>, Error> {
        let is_handed_out = matches!(
            stanza.kind(),
            Kind::Message(_) | Kind::Presence(PresenceType::Available | PresenceType::Unavailable)
        );
        let Some(from) = stanza.from().filter(|from| is_handed_out && from.is_full() && from.node().is_some()) else {
            return Ok(None);
        };
        let account = jid::bare(from);
        let session = self.by_full(&account, from).and_then(|id| self.by_id(id));
        let list = match session {
            Some(session) => session.list().cloned(),
            // The word that a session is over comes when there is none any more.
            None => match config.host(jid::domain(from)) {
                Some(host) if host.modules.is_on("mod_privacy") => {
                    self.standing(store, &account)?.and_then(|standing| standing.default.clone())
                }
                _ => None,
            },
        };
        let traffic = Traffic::outbound(stanza.kind());
        Ok(list.filter(|list| list.names_resources()).map(|list| KeptBack { account, list, traffic }))
    }
}

/// A list that cannot be read lets nothing out.
fn unread(account: &BareJid, error: &Error) -> bool {
    log::error!(target: account.domain().as_str(), users = UNREADABLE, by:% = account;
        "the privacy lists of {account} are not read: {error}");
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Env, Router};
    use crate::store::Bounds;
    use crate::store::account::{self, Credentials};
    use crate::xmpp::Now;
    use crate::xmpp::random::NoDice;

    const NOW: Now = Now { unix_millis: 1_000_000, monotonic_millis: 5_000 };
    const BOUNDS: Bounds = Bounds { count: 10, bytes: 1_000_000 };

    /// An account with a default list of so many items.
    fn account_with(store: &mut Store, name: &str, items: u32) -> BareJid {
        let jid = BareJid::new(name).unwrap();
        account::create(store, &jid, &Credentials::default(), 0).unwrap();
        let items = (0..items).map(|order| Item::block(order, Jid::new("a@b").unwrap())).collect();
        let list = List::new("l", items).unwrap();
        let _ = privacy::set(store, &jid, "l", &list.write().to_string(), BOUNDS).unwrap();
        privacy::set_default(store, &jid, Some("l")).unwrap();
        jid
    }

    #[test]
    fn who_is_away_is_looked_up_once_and_not_all_are_remembered() {
        let mut store = Store::in_memory().unwrap();
        let mut sessions = Sessions::default();
        let first = account_with(&mut store, "first@h", 1);
        assert!(sessions.standing(&store, &first).unwrap().is_some());
        privacy::set_default(&mut store, &first, None).unwrap();
        assert!(sessions.standing(&store, &first).unwrap().is_some(), "it was not remembered");
        sessions.forget_standing(&first);
        assert!(sessions.standing(&store, &first).unwrap().is_none());
        for number in 0..2 * ABSENT_MAX {
            let jid = BareJid::new(&format!("u{number}@h")).unwrap();
            assert!(sessions.standing(&store, &jid).unwrap().is_none());
            assert!(sessions.absent.standings.len() <= ABSENT_MAX);
        }
        let most = u32::try_from(ABSENT_ITEMS_MAX / 4).unwrap();
        for number in 0..9 {
            let jid = account_with(&mut store, &format!("long{number}@h"), most);
            let standing = sessions.standing(&store, &jid).unwrap().unwrap();
            assert_eq!(standing.default.as_ref().unwrap().items().len(), ABSENT_ITEMS_MAX / 4);
            let held = sessions.absent.standings.values().flatten().filter_map(|one| one.default.as_ref());
            assert!(held.map(|list| list.items().len()).sum::<usize>() <= ABSENT_ITEMS_MAX);
        }
    }

    #[test]
    fn lists_count_at_once_when_the_module_is_switched_on() {
        let mut store = Store::in_memory().unwrap();
        let mut off = Config::for_host("h");
        for host in &mut off.hosts {
            host.modules.off.insert("mod_privacy".into());
        }
        let mut router = Router::new(Arc::new(off.clone()), Vec::new(), NOW);
        account_with(&mut store, "a@h", 1);
        let mut env = Env { now: NOW, random: &mut NoDice, store: &mut store };
        let id = router.sessions.add(crate::xmpp::FullJid::new("a@h/r").unwrap(), crate::router::ConnectionId(1), 0);
        assert!(router.sessions.by_id(id).unwrap().list().is_none());
        router.reload(&mut env, Arc::new(Config::for_host("h")));
        assert!(router.sessions.by_id(id).unwrap().list().is_some());
        router.reload(&mut env, Arc::new(off));
        assert!(router.sessions.by_id(id).unwrap().list().is_none());
    }

    #[test]
    fn a_removed_account_leaves_nothing_to_one_of_its_name() {
        let mut store = Store::in_memory().unwrap();
        let mut router = Router::new(Arc::new(Config::for_host("h")), Vec::new(), NOW);
        let jid = account_with(&mut store, "a@h", 1);
        assert!(router.sessions.standing(&store, &jid).unwrap().is_some());
        let mut env = Env { now: NOW, random: &mut NoDice, store: &mut store };
        router.queue.push_back((0, Effect::DeleteAccount(jid.clone())));
        router.work(&mut env);
        account::create(&mut store, &jid, &Credentials::default(), 0).unwrap();
        assert!(router.sessions.standing(&store, &jid).unwrap().is_none());
    }
}
