//! What comes into the server from the process around it, and not by a connection: lines of the log for people, and
//! stanzas that programs left in a directory.

use super::Server;
use crate::config::Link;
use crate::xml::Element;
use crate::xmpp::{Jid, MessageType, Now, Stanza, jid, ns};

/// One such thing.
#[derive(Clone, Debug)]
pub enum Word {
    /// A line of a log that goes to an address (`<to>`).
    LogLine {
        /// The address.
        to: Jid,
        /// The host that it is about, or `-internal`.
        about: String,
        /// The line.
        text: String,
    },
    /// A stanza from the directory of a component (`<dir>`).
    Stanza {
        /// The id of the component.
        component: String,
        /// The stanza.
        stanza: Box<Stanza>,
    },
}

impl Server {
    pub(super) fn word(&mut self, now: Now, word: Word) {
        match word {
            Word::LogLine { to, about, text } => self.log_line(now, to, &about, text),
            Word::Stanza { component, stanza } => self.stanza_of_directory(now, &component, *stanza),
        }
    }

    /// jabberd 1.4's `<to>`.
    ///
    /// Deviation: it is a headline (RFC 6121 §5.2.2), which does not wait for who is away: a busy log would fill the
    /// mailbox, and the words of friends would come back.
    fn log_line(&mut self, now: Now, to: Jid, about: &str, text: String) {
        let own = self.config.host(about).or(self.config.hosts.first());
        let Some(from) = own.and_then(|host| jid::of_host(&host.name)) else { return };
        let child = |name: &'static str, text: String| Element::new(name, ns::CLIENT).with_text(text);
        let message = Stanza::message(MessageType::Headline)
            .with_child(child("subject", format!("Log Packet from {about}")))
            .with_child(child("body", text));
        let mut env = router_env!(self, now);
        self.router.route(&mut env, message.with_from(from).with_to(to));
        self.flush_router(now);
    }

    /// jabberd 1.6's `<dir>`: the program that left it speaks for the component, and for nobody else.
    fn stanza_of_directory(&mut self, now: Now, id: &str, stanza: Stanza) {
        let Some(component) =
            self.config.component(id).filter(|component| matches!(component.link, Link::Directory(_)))
        else {
            return;
        };
        let stanza = match (stanza.from(), jid::of_host(id)) {
            (None, Some(own)) => stanza.with_from(own),
            _ => stanza,
        };
        let may_speak = stanza.from().is_some_and(|from| self.config.speaks_for(component, jid::domain(from)));
        if !may_speak || stanza.to().is_none() {
            let why =
                if may_speak { "it has no receiver" } else { "its sender is not at the id or a <host> of the service" };
            log::warn!(target: id, strangers = "stanzas from directories that are dropped", by = id;
                "a stanza from the directory was dropped: {why}");
            return;
        }
        let mut env = router_env!(self, now);
        self.router.from_component(&mut env, stanza);
        self.flush_router(now);
    }
}
