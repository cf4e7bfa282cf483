//! Commands under way, by the ids that their requesters hold.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use crate::router::command;
use crate::router::{Context, SessionId};
use crate::xmpp::data_form::Submitted;
use crate::xmpp::{BareJid, Condition, StanzaError};

/// How many ended ids are remembered, so that who comes late learns that it is late.
const ENDED_KEPT: usize = 1_000;

/// A command under way.
pub(super) struct Under {
    node: &'static str,
    /// Only this session may go on with it (XEP-0050 §3.3).
    owner: SessionId,
    account: BareJid,
    /// May the account administer? Users do not push admins out.
    is_admin: bool,
    /// When it was last heard of, among all.
    turn: u64,
    /// What was filled in so far.
    pub(super) forms: Vec<Submitted>,
    /// What the form at hand shows.
    pub(super) shown: Vec<String>,
    until_millis: u64,
}

impl Under {
    pub(super) fn new(context: &Context<'_>, node: &'static str, owner: SessionId, account: BareJid) -> Under {
        let is_admin = context.host.may_administer(&account);
        Under { node, owner, account, is_admin, turn: 0, forms: Vec::new(), shown: Vec::new(), until_millis: 0 }
    }
}

/// All of them, bounded by `commands-max` and `commands-per-account-max`. A client may leave a form without a word, so what
/// was not heard of for the longest time gives way to what is new.
#[derive(Default)]
pub(super) struct Sessions {
    under_way: HashMap<String, Under>,
    turns: u64,
    /// The last that ended, each with its owner.
    ended: VecDeque<(String, SessionId)>,
}

impl Sessions {
    /// Opens one. With too many, another ends: of the same account, or else of the one that has the most, and of an admin
    /// only if there are no others.
    pub(super) fn open(&mut self, context: &Context<'_>, id: &str, under: Under) -> Result<(), StanzaError> {
        self.expire(context);
        let limits = &context.config.limits;
        let own = self.under_way.values().filter(|other| other.account == under.account).count();
        let gives_way = if own >= limits.commands_per_account_max {
            self.first_by(|other| (other.account == under.account).then_some(other.turn))
        } else if self.under_way.len() >= limits.commands_max {
            let mut counts: HashMap<&BareJid, usize> = HashMap::new();
            for other in self.under_way.values() {
                *counts.entry(&other.account).or_default() += 1;
            }
            let order = |other: &Under| (other.is_admin, Reverse(counts.get(&other.account).copied()), other.turn);
            self.first_by(|other| (under.is_admin || !other.is_admin).then(|| order(other)))
        } else {
            None
        };
        if let Some((id, owner)) = gives_way {
            self.end(&id, owner);
        }
        if self.under_way.len() >= limits.commands_max {
            let text = "Too many commands are under way; try again in a minute.";
            return Err(StanzaError::new(Condition::ResourceConstraint, text));
        }
        self.put_back(context, id, under);
        Ok(())
    }

    /// The first in this order; `None` leaves one out.
    fn first_by<K: Ord>(&self, order: impl Fn(&Under) -> Option<K>) -> Option<(String, SessionId)> {
        let ordered = self.under_way.iter().filter_map(|(id, under)| Some((order(under)?, id, under.owner)));
        let first = ordered.min_by(|(one, ..), (other, ..)| one.cmp(other));
        first.map(|(_, id, owner)| (id.clone(), owner))
    }

    /// Takes one out, to go on with it.
    pub(super) fn take(
        &mut self,
        context: &Context<'_>,
        id: &str,
        node: &str,
        owner: SessionId,
    ) -> Result<Under, StanzaError> {
        self.expire(context);
        let is_own = |under: &Under| under.owner == owner && under.node == node;
        if self.under_way.get(id).is_some_and(is_own) {
            return self.under_way.remove(id).ok_or_else(command::expired);
        }
        // Another's session looks like one that never was.
        match self.ended.iter().any(|(ended, whose)| ended == id && *whose == owner) {
            true => Err(command::expired()),
            false => Err(command::bad_request("bad-sessionid", "There is no such session of this command.")),
        }
    }

    /// Keeps it; its time begins anew.
    pub(super) fn put_back(&mut self, context: &Context<'_>, id: &str, mut under: Under) {
        let patience = std::time::Duration::from_secs(context.config.limits.command_seconds);
        under.until_millis = context.now.after(patience);
        self.turns += 1;
        under.turn = self.turns;
        self.under_way.insert(id.to_owned(), under);
    }

    /// It is over.
    pub(super) fn end(&mut self, id: &str, owner: SessionId) {
        self.under_way.remove(id);
        self.remember(id.to_owned(), owner);
    }

    /// Its requester is gone, and with it all that it had under way.
    pub(super) fn forget(&mut self, owner: SessionId) {
        self.under_way.retain(|_, under| under.owner != owner);
        self.ended.retain(|(_, whose)| *whose != owner);
    }

    fn remember(&mut self, id: String, owner: SessionId) {
        if self.ended.len() >= ENDED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back((id, owner));
    }

    fn expire(&mut self, context: &Context<'_>) {
        let now = context.now.monotonic_millis;
        let late = self.under_way.iter().filter(|(_, under)| under.until_millis <= now);
        let late: Vec<(String, SessionId)> = late.map(|(id, under)| (id.clone(), under.owner)).collect();
        for (id, owner) in late {
            self.under_way.remove(&id);
            self.remember(id, owner);
        }
    }
}
