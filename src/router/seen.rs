//! Whom local users see as available elsewhere: when their server is lost, each address that was shown must go
//! (RFC 6121 §4.5), and only the server knows which those were.
//!
//! An account that sees too many is shown the end of the rest by their bare JIDs.

use std::collections::{BTreeSet, HashMap};

use super::{Router, Session};
use crate::config::Limits;
use crate::xmpp::{BareJid, Jid, Kind, PresenceType, Stanza, jid};

/// An address that is shown as available.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sight {
    /// Whose presence came.
    pub(super) from: Jid,
    /// For whom: the account, so all its sessions, or one resource.
    pub(super) to: Jid,
}

/// What one account sees.
#[derive(Default)]
struct View {
    sights: BTreeSet<Sight>,
    /// There were too many.
    is_cut: bool,
}

/// What all accounts see.
#[derive(Default)]
pub(super) struct Seen {
    views: HashMap<BareJid, View>,
    count: usize,
}

impl Seen {
    fn note(&mut self, limits: &Limits, account: &BareJid, sight: Sight) {
        let view = self.views.entry(account.clone()).or_default();
        let is_full =
            self.count >= limits.presences_seen_max || view.sights.len() >= limits.presences_seen_per_account_max;
        if !is_full {
            self.count = self.count.saturating_add(usize::from(view.sights.insert(sight)));
        } else if !view.sights.contains(&sight) {
            view.is_cut = true;
        }
    }

    fn forget(&mut self, account: &BareJid, is_over: impl Fn(&Sight) -> bool) {
        let Some(view) = self.views.get_mut(account) else { return };
        let before = view.sights.len();
        view.sights.retain(|sight| !is_over(sight));
        self.count = self.count.saturating_sub(before.saturating_sub(view.sights.len()));
        if view.sights.is_empty() && !view.is_cut {
            self.views.remove(account);
        }
    }

    fn forget_all(&mut self, account: &BareJid) {
        if let Some(view) = self.views.remove(account) {
            self.count = self.count.saturating_sub(view.sights.len());
        }
    }

    /// Those who see somebody.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &BareJid> {
        self.views.keys()
    }

    /// Did this account see more than is remembered?
    pub(super) fn is_cut(&self, account: &BareJid) -> bool {
        self.views.get(account).is_some_and(|view| view.is_cut)
    }

    /// Takes what an account sees of these domains.
    pub(super) fn take(&mut self, account: &BareJid, is_gone: impl Fn(&str) -> bool) -> Vec<Sight> {
        let Some(view) = self.views.get(account) else { return Vec::new() };
        let gone: Vec<Sight> = view.sights.iter().filter(|sight| is_gone(jid::domain(&sight.from))).cloned().collect();
        self.forget(account, |sight| is_gone(jid::domain(&sight.from)));
        gone
    }
}

impl Router {
    /// Presence came from elsewhere: is somebody shown it?
    pub(super) fn note_sight(&mut self, stanza: &Stanza) {
        let Kind::Presence(kind) = stanza.kind() else { return };
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return };
        let account = to.to_bare();
        match kind {
            PresenceType::Available => {
                let is_shown = match to.is_full() {
                    true => self.sessions.by_full(&account, to).is_some(),
                    false => self.sessions.available(&account).next().is_some(),
                };
                if is_shown {
                    let sight = Sight { from: from.clone(), to: to.clone() };
                    self.vanished.seen.note(&self.hosts.config().limits, &account, sight);
                }
            }
            // From a bare JID: all of it is gone.
            PresenceType::Unavailable => {
                self.vanished.seen.forget(&account, |sight| {
                    let is_from = sight.from == *from || (from.is_bare() && jid::same_bare(&sight.from, from));
                    is_from && (to.is_bare() || sight.to == *to)
                });
            }
            _ => {}
        }
    }

    /// A session is over: it sees nothing any more, and the last of an account takes all along.
    pub(super) fn sees_no_more(&mut self, session: &Session) {
        let account = session.account();
        match self.sessions.count(account) {
            0 => self.vanished.seen.forget_all(account),
            _ => self.vanished.seen.forget(account, |sight| sight.to == **session.jid()),
        }
    }

    /// A domain is gone for this account: what its sessions told addresses there is void, until they say it again.
    pub(super) fn lose_directed(&mut self, account: &BareJid, is_gone: impl Fn(&str) -> bool) {
        let ids: Vec<_> = self.sessions.of(account).map(|(id, _)| id).collect();
        for id in ids {
            let Some(session) = self.sessions.by_id_mut(id) else { continue };
            let lost: Vec<Jid> = session.directed.iter().filter(|to| is_gone(jid::domain(to))).cloned().collect();
            for to in lost {
                session.directed.remove(&to);
                session.directed_lost.insert(to);
            }
        }
    }

    /// A domain is back: what was void is told to be over, so that both ends agree.
    pub(super) fn end_directed(&mut self, account: &BareJid, is_back: impl Fn(&str) -> bool) -> Vec<Stanza> {
        let mut stanzas = Vec::new();
        let ids: Vec<_> = self.sessions.of(account).map(|(id, _)| id).collect();
        for id in ids {
            let Some(session) = self.sessions.by_id_mut(id) else { continue };
            let over: Vec<Jid> = session.directed_lost.iter().filter(|to| is_back(jid::domain(to))).cloned().collect();
            for to in over {
                session.directed_lost.remove(&to);
                let presence = Stanza::presence(PresenceType::Unavailable);
                stanzas.push(presence.with_from(session.jid().clone()).with_to(to));
            }
        }
        stanzas
    }
}
