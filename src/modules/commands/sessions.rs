//! Commands under way, by the ids that their requesters hold.

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
    /// What was filled in so far.
    pub(super) forms: Vec<Submitted>,
    until_millis: u64,
}

impl Under {
    pub(super) fn new(node: &'static str, owner: SessionId, account: BareJid) -> Under {
        Under { node, owner, account, forms: Vec::new(), until_millis: 0 }
    }
}

/// All of them, bounded by `commands-max` and `commands-per-account-max`.
#[derive(Default)]
pub(super) struct Sessions {
    under_way: HashMap<String, Under>,
    /// The last that ended, each with its owner.
    ended: VecDeque<(String, SessionId)>,
}

impl Sessions {
    /// Opens one.
    pub(super) fn open(&mut self, context: &Context<'_>, id: &str, under: Under) -> Result<(), StanzaError> {
        self.expire(context);
        let limits = &context.config.limits;
        let own = self.under_way.values().filter(|other| other.account == under.account).count();
        if own >= limits.commands_per_account_max || self.under_way.len() >= limits.commands_max {
            let text = "Too many commands are under way; complete or cancel one first.";
            return Err(StanzaError::new(Condition::ResourceConstraint, text));
        }
        self.put_back(context, id, under);
        Ok(())
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
        self.under_way.insert(id.to_owned(), under);
    }

    /// It is over.
    pub(super) fn end(&mut self, id: &str, owner: SessionId) {
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
