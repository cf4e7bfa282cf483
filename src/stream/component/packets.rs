//! What a component says once it is in: stanzas, and the packets that jabberd 1.4's parts sent to each other (`<log/>`,
//! `<xdb/>`, `<route/>`).

use super::{Action, Component, Env, storage};
use crate::xml::Element;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{Condition, IqType, Jid, Kind, Stanza, StanzaError, StreamError, ns};

impl Component {
    /// A packet goes its way, or is dropped with a line in the log.
    pub(super) fn packet(&mut self, env: &mut Env<'_>, element: Element) {
        match (element.name(), element.ns()) {
            ("message" | "presence" | "iq", ns::CLIENT) => self.stanza(env, element),
            ("log", ns::CLIENT) => self.log_packet(env, &element),
            ("xdb", ns::CLIENT) => self.storage_packet(env, &element),
            // Packets between the parts of a jabberd: there are none here.
            ("route", ns::CLIENT) => log::debug!(target: &self.id, "a <route> packet was dropped"),
            // A second handshake, and whatever else.
            _ => log::debug!(target: &self.id, "a packet was dropped: <{}> is no stanza", element.name()),
        }
    }

    fn stanza(&mut self, env: &mut Env<'_>, element: Element) {
        let start_tag = start_tag(&element);
        let parsed = env.stanza(element);
        let (Ok(stanza), false) = (&parsed, parsed.as_ref().is_ok_and(|stanza| stanza.from().is_none())) else {
            return invalid(&start_tag);
        };
        let (Some(from), Some(_)) = (stanza.from(), stanza.to()) else { return invalid(&start_tag) };
        if self.may_speak_for(env, from) {
            // Another server would end the stream for it, and with it all that others send there.
            let most = env.config.limits.stanza_bytes_max;
            let is_for_others = stanza.to().is_some_and(|to| !env.config.is_own(to.domain().as_str()));
            if is_for_others && stanza.to_text().len() > most {
                let error = StreamError::new(StreamCondition::PolicyViolation, "too big for another server");
                let head = stanza.element().clone().with_nodes(Vec::new());
                return self.skipped(env, Some(head), &error);
            }
            if let Ok(stanza) = parsed {
                self.actions.push_back(Action::Stanza(stanza));
            }
            return;
        }
        log::warn!(
            target: &self.id, strangers = "stanzas that a component may not send", by = &self.id;
            "a {} from {from} was dropped: this component may not speak for {} (<sender> in jabber.xml allows it)",
            stanza.kind().element_name(), from.domain(),
        );
        let tells = env.config.component(&self.id).is_some_and(crate::config::Component::tells_restrictions);
        if tells {
            // Compat: 1.4's code for this.
            let error = StanzaError::new(Condition::NotAllowed, "This component may not speak for others.").coded(500);
            if let Some(reply) = stanza.error(&error) {
                self.wire.send(&reply);
            }
        }
    }

    /// A packet was skipped for what is wrong with it. Who waits for it, or for an answer to it, is told.
    pub(super) fn skipped(&mut self, env: &Env<'_>, head: Option<Element>, fault: &StreamError) {
        let tag = head.as_ref().map_or_else(|| "its start tag cannot be read".to_string(), Element::to_string);
        log::warn!(target: &self.id, strangers = "packets of components that are skipped", by = &self.id;
            "a packet was skipped: {fault}: {tag}");
        let Some(head) = head else { return };
        if head.is("xdb", ns::CLIENT) {
            return self.wire.write(&storage::refused(&head));
        }
        let Ok(stanza) = Stanza::parse(head.clone()) else { return };
        let (Some(from), Some(_)) = (stanza.from(), stanza.to()) else { return };
        if !self.may_speak_for(env, from) {
            return;
        }
        let condition = match fault.condition() {
            StreamCondition::PolicyViolation => Condition::PolicyViolation,
            _ => Condition::BadRequest,
        };
        let error = StanzaError::new(condition, format!("The component's packet was skipped: {fault}"));
        if stanza.kind() == Kind::Iq(IqType::Result) {
            // The one who asked gets this answer in its place.
            let answer = head.with_attribute("type", "error").with_child(error.to_element());
            self.actions.extend(Stanza::parse(answer).ok().map(Action::Stanza));
        } else if let Some(reply) = stanza.error(&error) {
            self.wire.send(&reply);
        }
    }

    fn may_speak_for(&self, env: &Env<'_>, jid: &Jid) -> bool {
        let own = env.config.component(&self.id);
        own.is_some_and(|component| env.config.speaks_for(component, jid.domain().as_str()))
    }

    /// Is this an address of the component itself? What `<sender>` allows is not enough here.
    pub(super) fn is_at_home(&self, env: &Env<'_>, jid: &Jid) -> bool {
        let owner = env.config.component_of(jid.domain().as_str());
        owner.is_some_and(|owner| owner.id == self.id)
    }

    /// `<log type='notice' from='icq.example.org'>text</log>`: a line about one of its own addresses.
    fn log_packet(&self, env: &Env<'_>, element: &Element) {
        let from = element.attribute("from").and_then(|from| Jid::new(from).ok());
        let Some(from) = from.filter(|from| self.is_at_home(env, from)) else {
            return log::warn!(target: &self.id, strangers = "<log> packets that are dropped", by = &self.id;
                "a <log> packet was dropped: its from is not the component's own");
        };
        let (about, text) = (from.as_str(), element.text());
        let text = text.trim();
        match element.attribute("type").unwrap_or("notice") {
            "record" => log::info!(target: &format!("record:{about}"), "{text}"),
            "alert" => log::error!(target: about, "{text}"),
            "warn" => log::warn!(target: about, "{text}"),
            "debug" => log::debug!(target: about, "{text}"),
            // Compat: any word may be a type, and have a <log> section of its own (<logtype>).
            word if word != "notice" && is_log_type(word) => {
                log::info!(target: &format!("type:{word}:{about}"), "{text}")
            }
            _ => log::info!(target: about, "{text}"),
        }
    }

    /// `<xdb/>`: something of its own users is kept or asked for.
    fn storage_packet(&mut self, env: &mut Env<'_>, element: &Element) {
        if let Some(answer) = storage::answer(self, env, element) {
            self.wire.write(&answer);
        }
    }
}

fn is_log_type(word: &str) -> bool {
    (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn invalid(start_tag: &str) {
    // 1.4's words, which people grep for.
    log::warn!(target: "-internal", strangers = "packets of components that are invalid";
        "Packet Delivery Failed, invalid packet, dropping {start_tag}");
}

/// A packet without its content, for the log.
fn start_tag(element: &Element) -> String {
    element.clone().with_nodes(Vec::new()).to_string()
}
