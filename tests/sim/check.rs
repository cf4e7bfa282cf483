//! What must be so when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use jabber::router::LinkState;
use jabber::store::roster::{self, RosterItem};
use jabber::store::{account, offline, private, vcard};
use jabber::xmpp::Jid;

use crate::game::{Game, jid, pair};
use crate::judge::marks;

type Rosters = Vec<BTreeMap<usize, RosterItem>>;

impl Game {
    pub fn judge(&mut self) {
        let rosters = self.rosters();
        self.judge_kept();
        self.judge_rosters(&rosters);
        self.judge_clients(&rosters);
        self.judge_presence(&rosters);
        self.judge_messages();
        self.judge_bounds();
    }

    fn rosters(&mut self) -> Rosters {
        let mut all = Vec::new();
        for number in 0..self.accounts.len() {
            let account = jid(&self.accounts[number].bare);
            let node = self.accounts[number].node;
            let store = self.world.nodes[node].server.as_mut().unwrap().store_mut();
            let items = roster::items(store, &account).unwrap();
            let by_number = items.into_iter().map(|item| {
                let at = self.accounts.iter().position(|account| account.bare == item.jid.as_str());
                (at.unwrap_or(usize::MAX), item)
            });
            all.push(by_number.collect());
        }
        all
    }

    /// What was acknowledged is what is stored.
    fn judge_kept(&mut self) {
        let clock = self.world.clock;
        let mut faults = Vec::new();
        for own in &self.accounts {
            let bare = jid(&own.bare);
            let store = self.world.nodes[own.node].server.as_mut().unwrap().store_mut();
            let exists = account::exists(store, &bare).unwrap();
            let passwords = own.password.possible(clock);
            if !passwords.iter().any(|password| password.is_empty() != exists) {
                faults.push(format!("{} exists: {exists}, but its password is one of {passwords:?}", own.bare));
            }
            let text = |xml: Option<String>| {
                let inner = xml.as_deref().and_then(|xml| xml.rsplit_once("</"))?.0.rsplit_once('>')?.1.to_string();
                Some(inner)
            };
            let card = vcard::of(store, &bare).unwrap();
            let card = card.and_then(|card| text(card.rsplit_once("</").map(|(card, _)| card.to_string())));
            let kept = text(private::element(store, &bare, "x", "sim").unwrap());
            for (what, value, register) in [("vCard", card, &own.vcard), ("private data", kept, &own.private)] {
                let value = value.unwrap_or_default();
                let possible = register.possible(clock);
                if !possible.contains(value.as_str()) {
                    faults.push(format!("{}'s {what} is {value:?}, acknowledged was {possible:?}", own.bare));
                }
            }
        }
        faults.into_iter().for_each(|fault| self.fail(fault));
    }

    /// Names are those that were acknowledged; both sides know the same of their subscriptions (RFC 6121 §3).
    fn judge_rosters(&mut self, rosters: &Rosters) {
        let clock = self.world.clock;
        let mut faults = Vec::new();
        for (one, own) in self.accounts.iter().enumerate() {
            for (other, contact) in self.accounts.iter().enumerate() {
                let item = rosters[one].get(&other);
                let name = item.map(|item| item.name.clone()).unwrap_or_default();
                let possible = own.names[&other].possible(clock);
                if !possible.contains(name.as_str()) {
                    let (own, contact) = (&own.bare, &contact.bare);
                    faults.push(format!("{own} calls {contact} {name:?}, acknowledged was {possible:?}"));
                }
                if one == other || self.tainted.contains(&pair(one, other)) {
                    continue;
                }
                let theirs = rosters[other].get(&one);
                let sees = item.is_some_and(|item| item.subscription.to());
                let is_seen = theirs.is_some_and(|item| item.subscription.from());
                let (ask, asked) =
                    (item.is_some_and(|item| item.ask), theirs.is_some_and(|item| item.pending_in.is_some()));
                // A request that goes out again at a login crosses the refusal of the one before.
                let is_far = own.node != contact.node;
                let may_differ =
                    is_far || self.tight || contact.was_absent || own.was_absent || !other_exists(contact, clock);
                if sees != is_seen || (ask != asked && !may_differ) || (sees && ask) || (is_seen && asked) {
                    let (own, contact) = (&own.bare, &contact.bare);
                    faults.push(format!(
                        "{own} sees {contact}: {sees}, asked: {ask}; {contact} is seen by {own}: {is_seen}, asked: {asked}"
                    ));
                }
            }
        }
        faults.into_iter().for_each(|fault| self.fail(fault));
    }

    /// A client that fetched its roster knows it as it is.
    fn judge_clients(&mut self, rosters: &Rosters) {
        let mut faults = Vec::new();
        for own in self.clients.iter().filter(|own| own.is_ready() && own.roster_asked) {
            let groups = |item: &RosterItem| item.groups.join(",");
            let line = |item: &RosterItem| {
                let ask = if item.ask { "subscribe" } else { "" };
                let approved = if item.approved { "true" } else { "" };
                format!("{}|{}|{ask}|{approved}|{}", item.name, item.subscription.name(), groups(item))
            };
            let items = rosters[own.account].values().filter(|item| item.visible);
            let stored: BTreeMap<String, String> = items.map(|item| (item.jid.to_string(), line(item))).collect();
            let known = own.roster.clone().unwrap_or_default();
            if known != stored {
                faults.push(format!("{} believes its roster is {known:?}, it is {stored:?}", own.jid));
            }
        }
        faults.into_iter().for_each(|fault| self.fail(fault));
    }

    /// Who is subscribed sees who is there; nobody is seen who is not.
    fn judge_presence(&mut self, rosters: &Rosters) {
        let mut there: Vec<BTreeSet<String>> = Vec::new();
        let mut bound = BTreeSet::new();
        for own in &self.accounts {
            let sessions = self.world.nodes[own.node].server.as_ref().unwrap().router().sessions();
            let account = Jid::new(&own.bare).unwrap();
            bound.extend(sessions.of(&account).map(|(_, session)| session.jid().to_string()));
            there.push(sessions.available(&account).map(|(_, session)| session.jid().to_string()).collect());
        }
        let mut faults = Vec::new();
        for own in self.clients.iter().filter(|own| own.is_ready() && own.heard_own && own.priority.is_some()) {
            for (other, contact) in self.accounts.iter().enumerate() {
                let is_far = contact.node != self.accounts[own.account].node;
                if is_far && self.disturbs {
                    continue;
                }
                let prefix = format!("{}/", contact.bare);
                let seen: BTreeSet<String> =
                    own.seen.iter().filter(|seen| seen.starts_with(&prefix)).cloned().collect();
                let item = rosters[own.account].get(&other);
                let sees = other == own.account || item.is_some_and(|item| item.subscription.to());
                let is_misled =
                    self.misled.contains(&(own.account, other)) || self.tainted.contains(&pair(own.account, other));
                if sees && !is_misled && seen != there[other] {
                    faults.push(format!("{} sees {seen:?}, there are {:?}", own.jid, there[other]));
                }
                // A full queue between servers takes no presence.
                let may_see_ghosts = self.ghosts.contains(&(own.account, other)) || (is_far && self.tight);
                if let Some(ghost) = seen.iter().find(|seen| !may_see_ghosts && !bound.contains(*seen)) {
                    faults.push(format!("{} sees {ghost}, who is gone", own.jid));
                }
            }
        }
        faults.into_iter().for_each(|fault| self.fail(fault));
    }

    /// What was accepted came once, is stored once, or came back.
    fn judge_messages(&mut self) {
        let mut stored = BTreeSet::new();
        for number in 0..self.accounts.len() {
            let account = jid(&self.accounts[number].bare);
            let store = self.world.nodes[self.accounts[number].node].server.as_mut().unwrap().store_mut();
            let mut last = BTreeMap::new();
            let kept = offline::fetch(store, &account, 0, 10_000).unwrap();
            let stanzas: Vec<&str> = kept.iter().map(|kept| kept.stanza.as_str()).collect();
            self.world.note(|| format!("tight {} stored for {account}: {stanzas:?}", self.tight));
            for kept in kept {
                for mark in marks(kept.stanza.as_bytes()) {
                    let message = &self.messages[mark];
                    let before = last.insert(message.sender, mark);
                    let may_double = message.is_remote && (self.epoch > 0 || self.tight);
                    let in_order = before.is_none_or(|before| before < mark || self.epoch > 0 || self.tight);
                    if (!stored.insert(mark) && !may_double) || message.to_account != number || !in_order {
                        let fault = format!("message {mark} is stored twice, for another, or out of order");
                        self.fault.get_or_insert(fault);
                    }
                }
            }
        }
        for (number, message) in self.messages.iter().enumerate() {
            // What was not acknowledged in time goes again, whether it arrived or not.
            let may_double = message.is_remote && (self.epoch > 0 || (self.tight && self.certificates));
            // What is not acknowledged between servers is lost with a wire. An error finds nobody whose session is over.
            let is_acknowledged = self.certificates;
            let finds_nobody = !self.clients[message.sender].is_alive() && (message.may_bounce || !self.strict);
            let is_gone = message.is_remote && ((message.epoch < self.epoch && !is_acknowledged) || finds_nobody);
            let Some(verdict) = message.verdict(stored.contains(&number), may_double) else { continue };
            if verdict.contains("gone") && is_gone {
                continue;
            }
            let fault = format!("message {number} from {} to {} {verdict}", message.from, message.to);
            self.fault.get_or_insert(fault);
        }
    }

    fn judge_bounds(&mut self) {
        let mut faults = Vec::new();
        for number in 0..self.accounts.len() {
            let account = jid(&self.accounts[number].bare);
            let node = &mut self.world.nodes[self.accounts[number].node];
            let limits = node.config.limits.clone();
            let server = node.server.as_mut().unwrap();
            let sessions = server.router().sessions().count(&account);
            let store = server.store_mut();
            let kept = usize::try_from(offline::total(store, &account).unwrap().messages).unwrap();
            let items = usize::try_from(roster::count(store, &account).unwrap()).unwrap();
            let pending = roster::pending_in(store, &account).unwrap().len();
            let exists = account::exists(store, &account).unwrap();
            for (what, count, most) in [
                ("messages", kept, limits.offline_messages_max),
                ("roster items", items, limits.roster_items_max),
                ("requests", pending, limits.pending_subscriptions_max),
                ("sessions", sessions, if exists { limits.resources_per_account_max } else { 0 }),
            ] {
                if count > most {
                    faults.push(format!("{account} has {count} {what}, {most} are allowed"));
                }
            }
        }
        for node in &self.world.nodes {
            let server = node.server.as_ref().unwrap();
            for (pair, state) in server.router().remotes().states() {
                if let LinkState::Awaited(count) = state {
                    faults.push(format!("{count} stanzas wait from {} to {} for ever", pair.from, pair.to));
                }
            }
        }
        faults.into_iter().for_each(|fault| self.fail(fault));
    }
}

fn other_exists(account: &crate::game::Account, clock: u64) -> bool {
    account.password.possible(clock).iter().all(|password| !password.is_empty())
}
