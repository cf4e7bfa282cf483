//! Contacts on servers that cannot be reached any more: their presence ends here, once, and is asked for again when
//! their server is back.
//!
//! | a pair of our host and a remote domain | then | what local users get |
//! |---|---|---|
//! | was reached, fails, and nothing comes from there | gone | unavailable presence from each address that they see there |
//! | gone, and a stream of it is proved | back | nothing; their contacts are asked for presence by probes |
//!
//! The same goes for rooms and others that are no contacts: whoever was shown is gone, and what a session told them is
//! void. When the server is back they hear that it is over, for it may be that only the line was broken.
//!
//! Who is concerned is looked up in the rosters of the accounts that are here, a few at a time, and in one walk for all
//! pairs that changed since the last one began: a broken line that takes a thousand servers costs no more than one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::privacy::stops;
use super::seen::Seen;
use super::{Effect, Env, Out, Router};
use crate::config::Blocks;
use crate::store::roster;
use crate::stream::dialback::Pair;
use crate::xmpp::privacy::Traffic;
use crate::xmpp::{BareJid, Jid, PresenceType, Stanza, jid};

/// Accounts whose rosters are read in one step of a walk.
const ACCOUNTS_PER_STEP: usize = 50;
/// Stanzas that one step may send; the account at hand is finished.
const STANZAS_PER_STEP: usize = 1000;
/// Milliseconds between two steps: others have their turn.
const STEP_MILLIS: u64 = 10;

/// What is to be said about the contacts of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Gone,
    Back,
}

/// What is known of the pairs.
#[derive(Default)]
pub(super) struct Vanished {
    /// Presence may have come since the last failure: stanzas could be sent, or the domain spoke again.
    reached: HashSet<Pair>,
    /// Users were told that the contacts are gone.
    gone: HashSet<Pair>,
    /// For the next walk.
    news: BTreeMap<Pair, News>,
    walk: Option<Walk>,
    /// What local users see of others.
    pub(super) seen: Seen,
}

/// A walk through the rosters of those who are here.
struct Walk {
    news: BTreeMap<Pair, News>,
    accounts: Vec<BareJid>,
}

impl Router {
    /// A pair of domains can be used: its contacts may be seen.
    pub(super) fn server_reached(&mut self, env: &Env<'_>, pair: &Pair) {
        self.server_heard(env, pair);
        if self.blocked(&pair.to).is_none() {
            self.remember_reached(pair);
        }
    }

    fn remember_reached(&mut self, pair: &Pair) {
        let has_room = self.vanished.reached.len() < self.hosts.config().limits.remote_links_max;
        if has_room && !self.vanished.reached.contains(pair) {
            self.vanished.reached.insert(pair.clone());
        }
    }

    /// A sign of life: the domain `pair.to` speaks to our host `pair.from`. Where its contacts were gone, they are asked
    /// for their presence.
    pub fn server_heard(&mut self, env: &Env<'_>, pair: &Pair) {
        if self.blocked(&pair.to).is_none() && self.vanished.gone.remove(pair) {
            self.remember_reached(pair);
            self.tell(env, pair, News::Back);
        }
    }

    /// Was this pair in use before it failed, and were no users told of it yet?
    pub fn server_was_reached(&self, pair: &Pair) -> bool {
        self.vanished.reached.contains(pair)
    }

    /// A pair cannot be used any more and nothing comes from there. Told once, until it is reached again.
    pub fn server_vanished(&mut self, env: &Env<'_>, pair: &Pair) {
        if !self.vanished.reached.remove(pair) {
            return;
        }
        if self.vanished.gone.len() < self.hosts.config().limits.remote_links_max {
            self.vanished.gone.insert(pair.clone());
        }
        self.tell(env, pair, News::Gone);
    }

    /// Other domains are blocked than before: to local users their contacts are gone, or back.
    pub(super) fn servers_blocked(&mut self, env: &Env<'_>, before: &Blocks) {
        let is_new = |pair: &&Pair| self.blocked(&pair.to).is_some();
        let blocked: Vec<Pair> = self.vanished.reached.iter().filter(is_new).cloned().collect();
        let is_free = |pair: &&Pair| before.of(&pair.to).is_some() && self.blocked(&pair.to).is_none();
        let freed: Vec<Pair> = self.vanished.gone.iter().filter(is_free).cloned().collect();
        for pair in blocked {
            self.server_vanished(env, &pair);
        }
        for pair in freed {
            self.server_heard(env, &pair);
        }
    }

    fn tell(&mut self, env: &Env<'_>, pair: &Pair, news: News) {
        // What a walk has not told yet is out of date.
        if let Some(walk) = &mut self.vanished.walk {
            walk.news.remove(pair);
        }
        self.vanished.news.insert(pair.clone(), news);
        if self.vanished.walk.is_none() {
            self.begin_walk(env);
        }
    }

    fn begin_walk(&mut self, env: &Env<'_>) {
        let news = std::mem::take(&mut self.vanished.news);
        if news.is_empty() {
            return;
        }
        let hosts: BTreeSet<&str> = news.keys().map(|pair| pair.from.as_str()).collect();
        let here = self.sessions.all().filter(|(_, session)| {
            session.is_available() || !session.directed.is_empty() || !session.directed_lost.is_empty()
        });
        let accounts: BTreeSet<&BareJid> = here
            .map(|(_, session)| session.account())
            .chain(self.vanished.seen.accounts())
            .filter(|account| hosts.contains(account.domain().as_str()))
            .collect();
        let accounts = accounts.into_iter().cloned().collect();
        self.vanished.walk = Some(Walk { news, accounts });
        self.out.push(Out::WalkTimer { at_millis: env.now.monotonic_millis.saturating_add(STEP_MILLIS) });
    }

    /// The next few accounts of the walk that is under way.
    pub fn walk_on(&mut self, env: &mut Env<'_>) {
        let Some(mut walk) = self.vanished.walk.take() else { return };
        let mut stanzas = 0;
        for _ in 0..ACCOUNTS_PER_STEP {
            let Some(account) = walk.accounts.pop() else { break };
            let told = self.news_for(env, &walk.news, &account);
            stanzas += told.len();
            self.queue.extend(told.into_iter().map(|stanza| (0, Effect::Route(stanza))));
            if stanzas >= STANZAS_PER_STEP {
                break;
            }
        }
        let is_over = walk.accounts.is_empty() || walk.news.is_empty();
        if is_over {
            self.begin_walk(env);
        } else {
            self.vanished.walk = Some(walk);
            self.out.push(Out::WalkTimer { at_millis: env.now.monotonic_millis.saturating_add(STEP_MILLIS) });
        }
        self.work(env);
    }
}

impl Router {
    /// What an account is told, and what is said in its name.
    fn news_for(&mut self, env: &Env<'_>, news: &BTreeMap<Pair, News>, account: &BareJid) -> Vec<Stanza> {
        let news_of = |domain: &str| {
            let pair = Pair { from: account.domain().to_string(), to: domain.to_owned() };
            news.get(&pair).copied()
        };
        let is_gone = |domain: &str| news_of(domain) == Some(News::Gone);
        let unavailable = |from: Jid, to: Jid| Stanza::presence(PresenceType::Unavailable).with_from(from).with_to(to);
        let is_cut = self.vanished.seen.is_cut(account);
        let sights = self.vanished.seen.take(account, is_gone);
        self.lose_directed(account, is_gone);
        let mut told = self.end_directed(account, |domain| news_of(domain) == Some(News::Back));
        let own = || Jid::from(account.clone());
        told.extend(sights.into_iter().map(|sight| unavailable(sight.from, sight.to.unwrap_or_else(own))));
        if self.sessions.available(account).next().is_none() {
            return told;
        }
        let standing = self.sessions.standing(env.store, account);
        let read = standing.and_then(|standing| Ok((standing, roster::subscriptions(env.store, account)?)));
        let (standing, contacts) = read.unwrap_or_else(|error| {
            log::error!(target: account.domain().as_str(), users = "rosters that cannot be read";
                "the roster of {account} is not read: {error}");
            (None, Vec::new())
        });
        let list = standing.as_ref().and_then(|standing| standing.default.as_deref());
        for contact in contacts {
            let news = news_of(jid::domain(&contact));
            // Who is blocked is not asked (XEP-0016 §2.13).
            let is_stopped = news == Some(News::Back)
                && list
                    .is_some_and(|list| !matches!(stops(env.store, list, account, &contact, Traffic::Other), Ok(None)));
            if is_stopped {
                continue;
            }
            match news {
                Some(News::Gone) if is_cut => told.push(unavailable(contact, account.clone().into())),
                Some(News::Back) => {
                    let probe = Stanza::presence(PresenceType::Probe);
                    told.push(probe.with_from(account.clone()).with_to(contact));
                }
                Some(News::Gone) | None => {}
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Config, Federation};
    use crate::router::ConnectionId;
    use crate::store::Store;
    use crate::store::account::{self, Credentials};
    use crate::store::roster::{RosterItem, Subscription};
    use crate::xmpp::random::NoDice;
    use crate::xmpp::{FullJid, Now};

    const NOW: Now = Now { unix_millis: 1_000_000, monotonic_millis: 5_000 };

    struct Bench {
        router: Router,
        store: Store,
    }

    impl Bench {
        fn new() -> Bench {
            let mut config = Config::for_host("h.test");
            config.federation = Some(Federation::default());
            Bench { router: Router::new(Arc::new(config), Vec::new(), NOW), store: Store::in_memory().unwrap() }
        }

        fn with<T>(&mut self, act: impl FnOnce(&mut Router, &mut Env<'_>) -> T) -> T {
            act(&mut self.router, &mut Env { now: NOW, random: &mut NoDice, store: &mut self.store })
        }

        /// An account with a session and a contact.
        fn add(&mut self, number: u64, contact: &str, is_available: bool) {
            let jid = FullJid::new(&format!("u{number}@h.test/r")).unwrap();
            let account = jid.to_bare();
            account::create(&mut self.store, &account, &Credentials::default(), 0).unwrap();
            let item = RosterItem { subscription: Subscription::To, ..RosterItem::new(Jid::new(contact).unwrap()) };
            roster::upsert(&mut self.store, &account, &item).unwrap();
            let id = self.with(|router, env| router.bind(env, jid, ConnectionId(number)));
            if is_available {
                let session = self.router.sessions.by_id_mut(id).unwrap();
                session.presence = Some(Stanza::presence(PresenceType::Available));
                let seen = Stanza::presence(PresenceType::Available);
                let seen = seen.with_from(Jid::new(&format!("{contact}/x")).unwrap()).with_to(account);
                self.router.note_sight(&seen);
            }
        }

        /// One step; how many stanzas it sent, and whether another is to come.
        fn step(&mut self) -> (usize, bool) {
            self.with(Router::walk_on);
            let out = self.router.take_out();
            let stanzas = out.iter().filter(|out| matches!(out, Out::Stanza(..))).count();
            (stanzas, out.iter().any(|out| matches!(out, Out::WalkTimer { .. })))
        }
    }

    #[test]
    fn a_walk_is_made_of_small_steps_and_tells_once() {
        let mut bench = Bench::new();
        for number in 0..120 {
            bench.add(number, "romeo@m.test", true);
        }
        bench.add(120, "romeo@other.test", true);
        bench.add(121, "romeo@m.test", false);
        let pair = Pair { from: "h.test".to_owned(), to: "m.test".to_owned() };
        let vanishes = |bench: &mut Bench| bench.with(|router, env| router.server_vanished(env, &pair));
        vanishes(&mut bench);
        assert!(bench.router.take_out().is_empty(), "it was never there");
        bench.with(|router, env| router.link_ready(env, &pair, ConnectionId(1000)));
        vanishes(&mut bench);
        vanishes(&mut bench);
        assert_eq!(bench.router.take_out().len(), 1);
        let steps: Vec<(usize, bool)> = (0..3).map(|_| bench.step()).collect();
        assert_eq!(steps.iter().map(|(stanzas, _)| stanzas).sum::<usize>(), 120);
        assert_eq!(steps.iter().map(|(_, more)| *more).collect::<Vec<_>>(), [true, true, false]);
        assert!(steps.iter().all(|(stanzas, _)| *stanzas <= ACCOUNTS_PER_STEP));
        assert_eq!(bench.step(), (0, false));
        // A sign of life: all are asked for, by the link that is open still; and then it can vanish again.
        bench.with(|router, env| router.server_heard(env, &pair));
        assert!(bench.router.take_out().len() == 1 && bench.router.server_was_reached(&pair));
        assert_eq!((0..3).map(|_| bench.step().0).sum::<usize>(), 120);
    }

    #[test]
    fn what_is_out_of_date_is_not_told() {
        let mut bench = Bench::new();
        for number in 0..60 {
            bench.add(number, "romeo@m.test", true);
        }
        let pair = Pair { from: "h.test".to_owned(), to: "m.test".to_owned() };
        bench.with(|router, env| router.link_ready(env, &pair, ConnectionId(1000)));
        bench.with(|router, env| router.server_vanished(env, &pair));
        assert_eq!(bench.step(), (50, true));
        bench.with(|router, env| router.server_heard(env, &pair));
        // The rest does not hear that it was gone, and all are asked for.
        let sent: usize = (0..4).map(|_| bench.step().0).sum();
        assert_eq!(sent, 60);
    }
}
