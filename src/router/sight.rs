//! Who comes into sight and who leaves it when privacy lists change, or the roster that they go by.
//!
//! | | may not be seen any more | may be seen again |
//! |---|---|---|
//! | the user, by a contact (XEP-0016 §2.11) | the contact is told that the session is gone | it gets the presence |
//! | a contact, by the user (XEP-0016 §2.10) | the session is told that the contact is gone | the contact is asked |
//!
//! What is decided from now on goes by the new state. Presence that somebody was shown must not stay there for ever, since
//! its end would be kept back as well.
//!
//! A contact of ours is looked at session by session, so that a rule about one resource (XEP-0191 §6) is kept although
//! presence goes to the bare JID. Of contacts elsewhere nothing is known but what the lists name.

use std::collections::{BTreeSet, HashSet};

use super::context::{Context, Effect};
use super::ids::SessionId;
use super::privacy::{is_exempt, relation_of, shows, stops};
use super::sessions::{Session, Sessions};
use super::{Env, Router};
use crate::config::Config;
use crate::store::Store;
use crate::store::roster::RosterItem;
use crate::xmpp::privacy::{List, Relation, Traffic};
use crate::xmpp::{BareJid, Jid, PresenceType, Stanza, jid};

/// What decides about a contact.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The list of a session.
    pub list: Option<&'a List>,
    /// What the roster says.
    pub item: Option<&'a RosterItem>,
}

impl Rules<'_> {
    /// May such a stanza pass between an account and somebody?
    pub fn pass(&self, account: &BareJid, who: &Jid, traffic: Traffic) -> bool {
        let Some(list) = self.list.filter(|_| !is_exempt(account, who)) else { return true };
        let decided = list.decide(who, traffic, || Ok::<Relation, ()>(relation_of(self.item)));
        decided.is_ok_and(|item| item.is_none_or(|item| item.allows))
    }

    fn is_watched(&self) -> bool {
        self.item.is_some_and(|item| item.subscription.to())
    }

    fn is_subscriber(&self) -> bool {
        self.item.is_some_and(|item| item.subscription.from())
    }
}

/// Addresses for which a change makes a difference, and whether they may be there now.
#[derive(Default)]
pub struct Sights {
    /// Who sees the user.
    pub outbound: Vec<(Jid, bool)>,
    /// Whom the user sees.
    pub inbound: Vec<(Jid, bool)>,
}

/// All that is looked at.
pub struct Sight<'a> {
    store: &'a Store,
    sessions: &'a Sessions,
    config: &'a Config,
}

impl Sight<'_> {
    /// What a change makes of one contact of an account.
    pub fn note(&self, account: &BareJid, contact: &Jid, (before, after): (Rules<'_>, Rules<'_>), sights: &mut Sights) {
        let change = |who: &Jid, traffic| {
            let passes = after.pass(account, who, traffic);
            (before.pass(account, who, traffic) != passes).then(|| (who.clone(), passes))
        };
        let is_here = self.is_here(contact);
        // Other resources than these have the account's lot.
        let named = || -> BTreeSet<&Jid> {
            [before.list, after.list].into_iter().flatten().flat_map(|list| list.resources_of(contact)).collect()
        };
        // Who is a subscriber from now on, or no longer, hears of presence with that.
        if before.is_subscriber() && after.is_subscriber() {
            match change(contact, Traffic::PresenceOut) {
                Some(changed) => sights.outbound.push(changed),
                None if is_here && after.pass(account, contact, Traffic::PresenceOut) => {
                    let here = named().into_iter().filter(|who| self.sessions.by_full(contact, who).is_some());
                    sights.outbound.extend(here.filter_map(|who| change(who, Traffic::PresenceOut)));
                }
                None => {}
            }
        }
        if before.is_watched() {
            let inbound: Vec<(Jid, bool)> = match change(contact, Traffic::PresenceIn) {
                _ if is_here => {
                    let here = self.sessions.available(contact).map(|(_, session)| session.jid());
                    here.filter_map(|who| change(who, Traffic::PresenceIn)).collect()
                }
                Some(changed) => vec![changed],
                None => named().into_iter().filter_map(|who| change(who, Traffic::PresenceIn)).collect(),
            };
            sights.inbound.extend(inbound.into_iter().filter(|(_, passes)| !passes || after.is_watched()));
        }
    }

    /// What must be said so that a session is seen, and sees, as it may.
    fn tell(&self, id: SessionId, sights: &Sights) -> Vec<Effect> {
        let Some(session) = self.sessions.by_id(id).filter(|session| session.is_available()) else { return Vec::new() };
        let mut effects = Vec::new();
        if session.is_seen() {
            let (presence, gone) = (session.stamped_presence(), gone(session.jid()));
            for (contact, passes) in &sights.outbound {
                let word = if *passes { presence.as_ref() } else { Some(&gone) };
                effects.extend(word.map(|word| Effect::Route(word.clone().with_to(contact.clone()))));
            }
        }
        let mut asked = BTreeSet::new();
        for (contact, passes) in &sights.inbound {
            if !self.may_be_seen(contact, session) {
                continue;
            }
            if !passes {
                effects.push(Effect::Deliver(id, gone(contact).with_to(session.jid().clone())));
                continue;
            }
            // Between servers from bare JID to bare JID (RFC 6121 §4.3); within this one each session is asked, for the
            // one that asks.
            let (from, to) = match self.is_here(contact) {
                true => (Jid::from(session.jid().clone()), contact.clone()),
                false => (Jid::from(session.account().clone()), jid::contact(contact)),
            };
            let probe = Stanza::presence(PresenceType::Probe).with_from(from).with_to(to.clone());
            let is_stopped = session.list().is_some_and(|list| {
                !matches!(stops(self.store, list, session.account(), &to, Traffic::outbound(probe.kind())), Ok(None))
            });
            if !is_stopped && asked.insert(to) {
                effects.push(Effect::Route(probe));
            }
        }
        effects
    }

    /// A contact changed in the roster of an account.
    fn contact_changed(&self, account: &BareJid, old: Option<&RosterItem>, new: Option<&RosterItem>) -> Vec<Effect> {
        let Some(contact) = new.or(old).map(|item| &item.jid) else { return Vec::new() };
        let mut effects = Vec::new();
        for (id, session) in self.sessions.of(account) {
            let Some(list) = session.list().filter(|list| list.reads_roster()) else { continue };
            let (before, after) = (Rules { list: Some(list), item: old }, Rules { list: Some(list), item: new });
            let mut sights = Sights::default();
            self.note(account, contact, (before, after), &mut sights);
            effects.extend(self.tell(id, &sights));
            effects.extend(
                self.end_directed(id, &sights, |who| (jid::contact(who) == *contact).then_some((before, after))),
            );
        }
        effects
    }

    /// RFC 6121 §4.6, XEP-0191 §3.3: whoever got presence to himself alone, subscribed or not, must hear of the end as
    /// well. `rules` has what decides about somebody, before and after.
    fn end_directed<'r>(
        &self,
        id: SessionId,
        told: &Sights,
        rules: impl Fn(&Jid) -> Option<(Rules<'r>, Rules<'r>)>,
    ) -> Vec<Effect> {
        let Some(session) = self.sessions.by_id(id) else { return Vec::new() };
        let told = told.outbound.iter().filter(|_| session.is_seen()).map(|(contact, _)| contact.as_str());
        let told: HashSet<&str> = told.collect();
        let is_over = |who: &&Jid| {
            let passes = |rules: Rules<'_>| rules.pass(session.account(), who, Traffic::PresenceOut);
            rules(who).is_some_and(|(before, after)| passes(before) && !passes(after))
        };
        let mut effects = Vec::new();
        for who in session.directed.iter().filter(is_over) {
            if !told.contains(who.as_str()) && !told.contains(jid::bare_str(who)) {
                effects.push(Effect::Route(gone(session.jid()).with_to(who.clone())));
            }
            effects.push(Effect::Undirect(id, who.clone()));
        }
        effects
    }

    fn is_here(&self, contact: &Jid) -> bool {
        contact.node().is_some() && self.config.host(jid::domain(contact)).is_some()
    }

    /// Of contacts elsewhere nothing is known; ours show themselves or not.
    fn may_be_seen(&self, contact: &Jid, by: &Session) -> bool {
        if !self.is_here(contact) {
            return true;
        }
        let session = self.sessions.by_full(&contact.to_bare(), contact).and_then(|id| self.sessions.by_id(id));
        session.is_some_and(|session| shows(self.store, session, by.jid()))
    }
}

fn gone(from: &Jid) -> Stanza {
    Stanza::presence(PresenceType::Unavailable).with_from(from.clone())
}

impl Context<'_> {
    /// Who is in sight of whom.
    pub fn sight(&self) -> Sight<'_> {
        Sight { store: self.store, sessions: self.sessions, config: self.config }
    }

    /// What must be said so that a session is seen, and sees, as it may. `rules` has what decides about somebody, before
    /// and after.
    pub fn show<'r>(&mut self, id: SessionId, sights: &Sights, rules: impl Fn(&Jid) -> (Rules<'r>, Rules<'r>)) {
        let sight = self.sight();
        let mut effects = sight.tell(id, sights);
        effects.extend(sight.end_directed(id, sights, |who| Some(rules(who))));
        self.effects.extend(effects);
    }

    /// A contact changed in the roster of an account: by items about groups and subscriptions sessions may have to leave
    /// sight, or to come into it (XEP-0016 §2.2).
    pub fn contact_changed(&mut self, account: &BareJid, old: Option<&RosterItem>, new: Option<&RosterItem>) {
        let effects = self.sight().contact_changed(account, old, new);
        self.effects.extend(effects);
    }
}

impl Router {
    /// The same, where somebody above this room changed the roster.
    pub fn contact_changed(
        &mut self,
        env: &mut Env<'_>,
        account: &BareJid,
        old: Option<&RosterItem>,
        new: Option<&RosterItem>,
    ) {
        let sight = Sight { store: env.store, sessions: &self.sessions, config: self.hosts.config() };
        let effects = sight.contact_changed(account, old, new);
        self.queue.extend(effects.into_iter().map(|effect| (0, effect)));
        self.work(env);
    }
}
