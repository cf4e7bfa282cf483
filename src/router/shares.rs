//! Who makes others wait: each sender has a share of what may wait for other servers, so that nobody takes all of it.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Router;
use crate::config::Limits;
use crate::xmpp::{BareJid, IqType, Kind, PresenceType, Stanza};

/// On whose behalf another server is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// A local account, one of our hosts itself, or a component, by its domain.
    Local(BareJid),
    /// Somebody out there, who gets an answer: what others can bring about is nobody's here.
    Answers,
    /// A peer that wants a domain to be proved.
    Peer(IpAddr),
}

/// What a sender has waiting.
#[derive(Clone, Copy, Default)]
struct Share {
    links: usize,
    bytes: usize,
}

/// All that waits for other servers.
#[derive(Default)]
pub(super) struct Shares {
    of: HashMap<Sender, Share>,
    bytes: usize,
}

impl Shares {
    /// May this sender have so many more bytes waiting, and `is_new`: for another domain?
    pub(super) fn admit(&self, limits: &Limits, sender: &Sender, bytes: usize, is_new: bool) -> bool {
        let share = self.of.get(sender).copied().unwrap_or_default();
        self.bytes.saturating_add(bytes) <= limits.remote_waiting_bytes_max
            && share.bytes.saturating_add(bytes) <= limits.remote_waiting_bytes_per_sender_max
            && (!is_new || share.links < limits.remote_links_per_sender_max)
    }

    pub(super) fn add(&mut self, sender: &Sender, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        let share = self.of.entry(sender.clone()).or_default();
        share.bytes = share.bytes.saturating_add(bytes);
    }

    pub(super) fn take(&mut self, sender: &Sender, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.change(sender, |share| share.bytes = share.bytes.saturating_sub(bytes));
    }

    pub(super) fn add_link(&mut self, sender: &Sender) {
        let share = self.of.entry(sender.clone()).or_default();
        share.links = share.links.saturating_add(1);
    }

    pub(super) fn take_link(&mut self, sender: &Sender) {
        self.change(sender, |share| share.links = share.links.saturating_sub(1));
    }

    fn change(&mut self, sender: &Sender, change: impl FnOnce(&mut Share)) {
        let Some(share) = self.of.get_mut(sender) else { return };
        change(share);
        if share.links == 0 && share.bytes == 0 {
            self.of.remove(sender);
        }
    }
}

impl Router {
    /// On whose behalf a stanza goes to another server.
    pub(super) fn sender_of(&self, stanza: &Stanza) -> Option<Sender> {
        let from = stanza.from()?;
        let is_answer = match stanza.kind() {
            Kind::Iq(kind) => matches!(kind, IqType::Result | IqType::Error),
            Kind::Presence(kind) => matches!(kind, PresenceType::Unsubscribed | PresenceType::Error),
            Kind::Message(_) => stanza.is_error(),
        };
        if is_answer {
            return Some(Sender::Answers);
        }
        if self.hosts.place(from.domain().as_str()).is_some() {
            return Some(Sender::Local(from.to_bare()));
        }
        BareJid::new(from.domain().as_str()).ok().map(Sender::Local)
    }
}
