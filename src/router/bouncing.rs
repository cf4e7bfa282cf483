//! What comes back to its sender because its domain cannot be had, and the line that says so.
//!
//! Compat: jabberd 1.4's words, at its level and for what it said them of: other servers, components, `<bounce>` and
//! `<unsubscribe>`. What a user who is away does not take was never in its log.
//!
//! Invariant: whoever writes to domains that are not there fills no disk: so many lines in a minute, then one that counts.

use super::{Effect, Out, Router};
use crate::config::LogSink;
use crate::xmpp::{Now, Stanza, StanzaError};

const MINUTE_MILLIS: u64 = 60_000;

/// What the log was told in the present minute of something that others bring about at will.
#[derive(Default)]
pub struct Lines {
    until_millis: u64,
    lines: u32,
    left_out: u64,
}

impl Lines {
    /// Lines in a minute.
    pub const PER_MINUTE: u32 = 60;

    /// May one more line be written?
    ///
    /// # Errors
    /// No. The first that may not asks for the end of the minute.
    pub fn admit(&mut self, now: Now) -> Result<(), Option<u64>> {
        if now.monotonic_millis >= self.until_millis && self.left_out == 0 {
            *self = Lines { until_millis: now.monotonic_millis.saturating_add(MINUTE_MILLIS), lines: 0, left_out: 0 };
        }
        if self.lines < Lines::PER_MINUTE {
            self.lines += 1;
            return Ok(());
        }
        self.left_out = self.left_out.saturating_add(1);
        Err((self.left_out == 1).then_some(self.until_millis))
    }

    /// The minute is over: how many lines were left out.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(self).left_out
    }
}

impl Router {
    /// A stanza that waited, or was on its way, goes back to who sent it.
    pub(super) fn bounce_late(&mut self, now: Now, stanza: &Stanza, error: &StanzaError) {
        let Some(reply) = stanza.error(error) else { return };
        self.note_bounce(now, stanza, error);
        self.queue.push_back((0, Effect::Route(reply)));
    }

    /// Says in the log that a stanza comes back, if what it was for is not ours.
    pub(super) fn note_bounce(&mut self, now: Now, stanza: &Stanza, error: &StanzaError) {
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return };
        let domain = to.domain().as_str();
        if self.hosts.place(domain).is_some() || self.hosts.service(domain, None).is_some() {
            return;
        }
        match self.bounces.admit(now) {
            Ok(()) => log::info!(target: domain, "bouncing a packet to {to} from {from}: {}", error.reason()),
            Err(Some(at_millis)) => self.out.push(Out::BouncesTimer { at_millis }),
            Err(None) => {}
        }
    }

    /// The minute is over: how many lines were left out.
    pub fn count_bounces(&mut self) {
        let (left_out, most) = (self.bounces.take_left_out(), Lines::PER_MINUTE);
        if left_out > 0 {
            log::info!(target: LogSink::INTERNAL, "bounced {left_out} more packets in this minute: {most} in a minute are told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_in_a_minute_and_then_a_count() {
        let mut bounces = Lines::default();
        let at = |monotonic_millis| Now { unix_millis: 0, monotonic_millis };
        for _ in 0..Lines::PER_MINUTE {
            assert_eq!(bounces.admit(at(5_000)), Ok(()));
        }
        assert_eq!(bounces.admit(at(6_000)), Err(Some(65_000)));
        assert_eq!(bounces.admit(at(7_000)), Err(None));
        // The count comes before the lines of the next minute.
        assert_eq!((bounces.admit(at(65_000)), bounces.left_out), (Err(None), 3));
        bounces = Lines::default();
        assert_eq!(bounces.admit(at(65_000)), Ok(()));
        // A minute in which few came is followed by another.
        assert_eq!((bounces.admit(at(125_000)), bounces.lines), (Ok(()), 1));
    }
}
