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
    /// For one resource alone; else for the account, so all its sessions.
    pub(super) to: Option<Jid>,
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

    /// Somebody is gone; from a bare JID all of it is. What is shown of one stands side by side, so it takes no longer when
    /// an account sees many.
    fn forget_one(&mut self, account: &BareJid, from: &Jid, to: Option<&Jid>) {
        let Some(view) = self.views.get_mut(account) else { return };
        let first = Sight { from: from.clone(), to: None };
        let near = view.sights.range(&first..).take_while(|sight| match from.is_bare() {
            true => sight.from.as_str().starts_with(from.as_str()),
            false => sight.from == *from,
        });
        let is_over = |sight: &&Sight| jid::same_bare(&sight.from, from) && (to.is_none() || sight.to.as_ref() == to);
        let over: Vec<Sight> = near.filter(is_over).cloned().collect();
        for sight in &over {
            view.sights.remove(sight);
        }
        self.count = self.count.saturating_sub(over.len());
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
        let account = jid::bare(to);
        let one = Some(to).filter(|to| to.is_full());
        match kind {
            PresenceType::Available => {
                let is_shown = match to.is_full() {
                    true => self.sessions.by_full(&account, to).is_some(),
                    false => self.sessions.available(&account).next().is_some(),
                };
                if is_shown {
                    let sight = Sight { from: from.clone(), to: one.cloned() };
                    self.vanished.seen.note(&self.hosts.config().limits, &account, sight);
                }
            }
            PresenceType::Unavailable => self.vanished.seen.forget_one(&account, from, one),
            _ => {}
        }
    }

    /// A session is over: it sees nothing any more, and the last of an account takes all along.
    pub(super) fn sees_no_more(&mut self, session: &Session) {
        let account = session.account();
        match self.sessions.count(account) {
            0 => self.vanished.seen.forget_all(account),
            _ => {
                let own = session.jid().as_str();
                self.vanished.seen.forget(account, |sight| sight.to.as_ref().is_some_and(|to| to.as_str() == own));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_takes_what_is_his_and_no_more() {
        let jid = |text: &str| Jid::new(text).unwrap();
        let all = ["a@b.c/x", "a@b.c/xy", "a@b.c/x to u@h/r", "a@b.c-d/x", "a@b.c.e/x", "a@b/x", "b.c/x", "z@b.c/x"];
        let rows: &[(&str, Option<&str>, &[&str])] = &[
            ("a@b.c/x", None, &["a@b.c/x", "a@b.c/x to u@h/r"]),
            ("a@b.c/x", Some("u@h/r"), &["a@b.c/x to u@h/r"]),
            ("a@b.c/x", Some("u@h/other"), &[]),
            ("a@b.c", None, &["a@b.c/x", "a@b.c/x to u@h/r", "a@b.c/xy"]),
            ("a@b", None, &["a@b/x"]),
            ("b.c", None, &["b.c/x"]),
            ("nobody@b.c", None, &[]),
        ];
        let account = BareJid::new("u@h").unwrap();
        for (from, to, gone) in rows {
            let mut seen = Seen::default();
            for text in all {
                let (from, to) = text.split_once(" to ").map_or((text, None), |(from, to)| (from, Some(jid(to))));
                seen.note(&Limits::default(), &account, Sight { from: jid(from), to });
            }
            let told = |seen: &Seen| -> BTreeSet<Sight> { seen.views.get(&account).unwrap().sights.clone() };
            let before = told(&seen);
            seen.forget_one(&account, &jid(from), to.map(jid).as_ref());
            let text = |sight: &Sight| match &sight.to {
                Some(to) => format!("{} to {to}", sight.from),
                None => sight.from.to_string(),
            };
            let left = told(&seen);
            let went: Vec<String> = before.difference(&left).map(text).collect();
            assert_eq!(
                (went, seen.count),
                (gone.iter().map(ToString::to_string).collect(), left.len()),
                "{from} {to:?}"
            );
        }
    }
}
