//! What waits for other servers, and for components that are away, outlives the process: messages and subscriptions, not
//! presence and requests.
//!
//! A stanza is written in the tick in which it begins to wait, or when a peer that acknowledges stanzas (XEP-0198) has
//! not acknowledged it for a while, and is forgotten when it is there or came back. So what a healthy peer takes at once
//! is never written.
//!
//! Each arrives once, but for what no protocol can tell: a server that dies before it knows that a stanza arrived sends
//! it again, and one that dies while it hands stanzas to a stream without acknowledgements, which a component's always is,
//! may have lost them or sends them again.

use std::collections::HashMap;

use super::remote::unless_broadcast;
use super::{Env, Router};
use crate::store::remote_queue;
use crate::xmpp::{Condition, Kind, MessageType, PresenceType, Stanza, StanzaError, delay, ns};

/// What is older at a start comes back: its sender does not count on it any more.
const AGE_MILLIS_MAX: u64 = 24 * 3_600_000;

/// What is in the store.
#[derive(Default)]
pub(super) struct Kept {
    bytes_of: HashMap<u64, usize>,
    bytes: usize,
    last_id: u64,
    /// The log was told that there is no room for more.
    is_told: bool,
}

/// Is this a stanza that must not be lost? Presence and requests are outdated when a server is back.
pub(super) fn lasts(stanza: &Stanza) -> bool {
    use PresenceType::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
    match stanza.kind() {
        Kind::Message(kind) => kind != MessageType::Error,
        Kind::Presence(kind) => matches!(kind, Subscribe | Subscribed | Unsubscribe | Unsubscribed),
        Kind::Iq(_) => false,
    }
}

impl Router {
    /// Writes a stanza for another server or a component down, if it is one that lasts. Returns its number.
    pub fn keep(&mut self, env: &mut Env<'_>, stanza: &Stanza) -> Option<u64> {
        if !lasts(stanza) {
            return None;
        }
        let text = stanza.to_text();
        let kept = &mut self.remotes.kept;
        let bytes = kept.bytes.saturating_add(text.len());
        if bytes > self.hosts.config().limits.remote_kept_bytes_max {
            if !std::mem::replace(&mut kept.is_told, true) {
                log::warn!(target: "s2s", "more than remote-kept-bytes-max wait for other servers and components: \
                           what comes now would not survive a restart");
            }
            return None;
        }
        let id = kept.last_id.saturating_add(1);
        let len = text.len();
        let row = remote_queue::Waiting { id, received_unix_millis: env.now.unix_millis, stanza: text };
        if let Err(error) = remote_queue::append(env.store, &row) {
            log::error!(target: "s2s", strangers = "stanzas that are not written down"; "what waits for another server or a component is not written down: {error}");
            return None;
        }
        kept.last_id = id;
        kept.bytes = bytes;
        kept.bytes_of.insert(id, len);
        Some(id)
    }

    /// These are there, or came back.
    pub fn forget(&mut self, env: &mut Env<'_>, ids: impl IntoIterator<Item = u64>) {
        let kept = &mut self.remotes.kept;
        for id in ids {
            let Some(bytes) = kept.bytes_of.remove(&id) else { continue };
            kept.bytes = kept.bytes.saturating_sub(bytes);
            kept.is_told = false;
            if let Err(error) = remote_queue::remove(env.store, id) {
                log::error!(target: "s2s", strangers = "stanzas that are still written down"; "what left for another server or a component is still written down: {error}");
            }
        }
    }

    /// The server starts: what waited when it ended waits again, in order, and other servers are looked for.
    ///
    /// # Errors
    /// When the store fails.
    pub fn restore_queues(&mut self, env: &mut Env<'_>) -> Result<(), crate::store::Error> {
        let rows = remote_queue::all(env.store)?;
        if rows.is_empty() {
            return Ok(());
        }
        log::info!(target: "s2s", "{} stanzas waited for other servers or components when this one ended: they are sent", rows.len());
        for row in rows {
            let kept = &mut self.remotes.kept;
            kept.last_id = row.id;
            kept.bytes = kept.bytes.saturating_add(row.stanza.len());
            kept.bytes_of.insert(row.id, row.stanza.len());
            self.restore(env, row);
        }
        self.work(env);
        Ok(())
    }

    fn restore(&mut self, env: &mut Env<'_>, row: remote_queue::Waiting) {
        let id = row.id;
        let stanza = Stanza::from_text(&row.stanza);
        let is_old = row.received_unix_millis.saturating_add(AGE_MILLIS_MAX) < env.now.unix_millis;
        let to = stanza.as_ref().and_then(Stanza::to).map(|to| to.domain().to_string());
        let component = to.as_ref().and_then(|to| self.components.owner(to));
        if let (Some(component), Some(stanza), Some(host)) = (component, &stanza, to) {
            let stanza = stamped(stanza.clone(), &host, row.received_unix_millis);
            return self.wait_for_again(env, &component, stanza, id, is_old);
        }
        let host = stanza.as_ref().and_then(Stanza::from).map(|from| from.domain().to_string());
        let is_ours = host.as_ref().is_some_and(|host| self.hosts.config().is_own(host));
        let (Some(stanza), Some(host), true) = (stanza, host, is_ours) else {
            // Only another jabber.xml or a hand in the database brings this about.
            log::warn!(target: "s2s", "a stanza that waited for another server is of no host of ours any more");
            return self.forget(env, [id]);
        };
        let error = if is_old {
            StanzaError::new(Condition::RemoteServerTimeout, "the other server was not reached for a day")
        } else if self.hosts.config().federation.is_none() {
            let text = "This server does not exchange messages with other servers.";
            StanzaError::new(Condition::RemoteServerNotFound, text)
        } else {
            return self.wait_again(env, stamped(stanza, &host, row.received_unix_millis), id);
        };
        self.forget(env, [id]);
        if let (Err(error), false) = (unless_broadcast(&stanza, error), stanza.is_final()) {
            self.bounce_late(&stanza, &error);
        }
    }
}

/// XEP-0203 §4: a message that is late says when it was sent.
fn stamped(stanza: Stanza, host: &str, received_unix_millis: u64) -> Stanza {
    let is_stamped = stanza.child("delay", ns::DELAY).is_some();
    match stanza.kind() {
        Kind::Message(_) if !is_stamped => delay::stamped(stanza, host, received_unix_millis, ""),
        _ => stanza,
    }
}
