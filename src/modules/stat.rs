//! jabberd 1.4.4's mod_stat: how much was delivered, a few lines in the log every five minutes.

use std::time::Duration;

use crate::router::{About, Context, Flow, Module, SessionId, Wake};
use crate::xmpp::{Kind, Now, PresenceType, Stanza, StanzaError};

/// How long between two reports.
const INTERVAL: Duration = Duration::from_secs(300);

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::<Stat>::default()
}

#[derive(Default)]
struct Stat {
    messages: u64,
    presences: u64,
    iqs: u64,
    subscriptions: u64,
    /// When the next report is due, on the monotonic clock.
    due_millis: Option<u64>,
}

impl Module for Stat {
    fn about(&self) -> &'static About {
        &About::NONE
    }

    /// The counts are of all hosts, from the start on, as in jabberd 1.4.
    fn delivering(&mut self, context: &mut Context<'_>, _: SessionId, stanza: &Stanza) -> Result<Flow, StanzaError> {
        use PresenceType::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
        *match stanza.kind() {
            Kind::Message(_) => &mut self.messages,
            Kind::Presence(Subscribe | Subscribed | Unsubscribe | Unsubscribed) => &mut self.subscriptions,
            Kind::Presence(_) => &mut self.presences,
            Kind::Iq(_) => &mut self.iqs,
        } += 1;
        if self.needs_timer(context.now) {
            self.set_timer(context);
        }
        Ok(Flow::Pass)
    }

    fn woke(&mut self, context: &mut Context<'_>, _: Wake) -> Result<(), StanzaError> {
        for line in self.lines() {
            log::info!(target: "type:stat:sessions", "{line}");
        }
        self.set_timer(context);
        Ok(())
    }
}

impl Stat {
    /// The report, in jabberd 1.4's words.
    fn lines(&self) -> [String; 4] {
        let rows = [
            ("messages", self.messages),
            ("presences", self.presences),
            ("iqs", self.iqs),
            ("subscriptions", self.subscriptions),
        ];
        rows.map(|(what, count)| format!("delivered {what} {count}"))
    }

    /// None was set yet, or the host that it was set for is served no longer.
    fn needs_timer(&self, now: Now) -> bool {
        let late = 2 * INTERVAL.as_millis() as u64;
        self.due_millis.is_none_or(|due| now.monotonic_millis > due.saturating_add(late))
    }

    fn set_timer(&mut self, context: &mut Context<'_>) {
        self.due_millis = Some(context.now.after(INTERVAL));
        context.wake_after(INTERVAL, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_jabberd_14s() {
        let stat = Stat { messages: 122, presences: 201, iqs: 124, subscriptions: 14, due_millis: None };
        let expected =
            ["delivered messages 122", "delivered presences 201", "delivered iqs 124", "delivered subscriptions 14"];
        assert_eq!(stat.lines(), expected);
    }
}
