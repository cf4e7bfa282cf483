//! What comes back to its sender because its domain cannot be had, and the line that says so.
//!
//! Compat: jabberd 1.4's words, at its level and for what it said them of: other servers, components, `<bounce>` and
//! `<unsubscribe>`. What a user who is away does not take was never in its log.

use super::{Effect, Router};
use crate::xmpp::{Stanza, StanzaError};

impl Router {
    /// A stanza that waited, or was on its way, goes back to who sent it.
    pub(super) fn bounce_late(&mut self, stanza: &Stanza, error: &StanzaError) {
        let Some(reply) = stanza.error(error) else { return };
        self.note_bounce(stanza, error);
        self.queue.push_back((0, Effect::Route(reply)));
    }

    /// Says in the log that a stanza comes back, if what it was for is not ours.
    pub(super) fn note_bounce(&self, stanza: &Stanza, error: &StanzaError) {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return };
        let domain = to.domain().as_str();
        if self.hosts.place(domain).is_some() || self.hosts.service(domain, None).is_some() {
            return;
        }
        log::info!(target: domain, strangers = "packets that bounced", by:% = from.to_bare();
            "bouncing a packet to {to} from {from}: {}", error.reason());
    }
}
