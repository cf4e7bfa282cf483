//! Messages to the host itself: they go to its admins, and their senders get one answer.

use std::collections::{BTreeSet, VecDeque};

use crate::router::{Context, Flow};
use crate::store::account;
use crate::xml::Element;
use crate::xmpp::{BareJid, Condition, Jid, MessageType, Stanza, StanzaError, delay, jid, ns};

/// Senders that are remembered, so that none gets the answer twice. Outcome: the first one may get it again.
const ANSWERED_MAX: usize = 1_000;

/// Who has had the answer.
#[derive(Default)]
pub(super) struct Answered {
    who: BTreeSet<(String, BareJid)>,
    order: VecDeque<(String, BareJid)>,
    /// Admins of jabber.xml without an account, of which the log was told: anybody could fill it otherwise.
    missing: BTreeSet<BareJid>,
}

impl Answered {
    /// Is this the first time?
    fn first(&mut self, host: &str, sender: &Jid) -> bool {
        let key = (host.to_string(), sender.to_bare());
        if !self.who.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > ANSWERED_MAX {
            self.order.pop_front().iter().for_each(|oldest| {
                self.who.remove(oldest);
            });
        }
        true
    }

    /// A message to the host.
    pub(super) fn letter(
        &mut self,
        context: &mut Context<'_>,
        kind: MessageType,
        stanza: &Stanza,
    ) -> Result<Flow, StanzaError> {
        let (Some(from), Some(host)) = (stanza.from(), jid::of_host(&context.host.name)) else {
            return Ok(Flow::Handled);
        };
        let says_something = ["body", "subject"].iter().any(|name| stanza.child(name, ns::CLIENT).is_some());
        // Two hosts whose admins are each other would write to each other for ever: what was passed on bears a stamp.
        let was_passed_on = stanza.child("x", ns::LEGACY_DELAY).is_some();
        match kind {
            MessageType::Groupchat => return Ok(Flow::Pass),
            MessageType::Error => return Ok(Flow::Handled),
            _ if was_passed_on || !says_something => return Ok(Flow::Handled),
            _ => {}
        }
        let admins: Vec<BareJid> = context.host.message_admins().into_iter().cloned().collect();
        if admins.is_empty() {
            return Ok(Flow::Pass);
        }
        let passed_on = stamped(context, retitled(context, stanza));
        let mut sent = 0;
        for admin in admins {
            if context.config.host(jid::domain(&admin)).is_some() && !account::exists(context.store, &admin)? {
                if self.missing.insert(admin.clone()) {
                    log::warn!(target: &context.host.name, "a message for the admins did not reach {admin}: there is no such account; make it, or correct <admin> in jabber.xml");
                }
                continue;
            }
            self.missing.remove(&admin);
            sent += 1;
            context.route(signed(context, &passed_on, from, &admin, &host).with_to(admin));
        }
        if sent == 0 {
            let text = "No administrator of this server can be reached.";
            return Err(StanzaError::new(Condition::RecipientUnavailable, text));
        }
        let is_person = from.node().is_some();
        if let Some(letter) = context.host.admin_reply.as_ref().filter(|_| is_person) {
            if self.first(&context.host.name, from) {
                let letter = letter.for_lang(stanza.element().attribute("xml:lang"));
                let mut reply = Stanza::message(kind);
                if let Some(id) = stanza.id() {
                    reply = reply.map_element(|element| element.with_attribute("id", id.to_string()));
                }
                if let Some(lang) = &letter.lang {
                    reply = reply.map_element(|element| element.with_attribute("xml:lang", lang.clone()));
                }
                let reply = text(text(reply, "subject", &letter.subject), "body", &letter.body);
                context.route(stamped(context, reply).with_from(host).with_to(from.clone()));
            }
        }
        Ok(Flow::Handled)
    }
}

fn text(stanza: Stanza, name: &'static str, text: &str) -> Stanza {
    match text.is_empty() {
        true => stanza,
        false => stanza.with_child(Element::new(name, ns::CLIENT).with_text(text.to_string())),
    }
}

/// jabberd 1.4's stamp on what the host passes on.
fn stamped(context: &Context<'_>, stanza: Stanza) -> Stanza {
    stanza.with_child(delay::legacy(&context.host.name, context.now.unix_millis, "admin"))
}

/// The subject says that it is for the admins, in jabberd 1.4's words.
fn retitled(context: &Context<'_>, stanza: &Stanza) -> Stanza {
    let subject = stanza.child("subject", ns::CLIENT).map(|subject| subject.text().into_owned());
    let subject = subject.filter(|subject| !subject.is_empty()).unwrap_or_else(|| "no subject".to_string());
    let subject = format!("Admin: {subject} ({})", context.host.name);
    let stanza =
        stanza.clone().map_element(|element| element.keeping_children(|child| !child.is("subject", ns::CLIENT)));
    text(stanza, "subject", &subject)
}

/// As from its sender, whom the admin can answer at once. To an admin elsewhere the host can speak for its own only, so
/// others' words come in the host's name, with the name above them.
fn signed(context: &Context<'_>, stanza: &Stanza, from: &Jid, admin: &BareJid, host: &Jid) -> Stanza {
    let is_ours = |jid: &Jid| context.config.is_own(jid::domain(jid));
    if is_ours(admin) || is_ours(from) {
        return stanza.clone().with_from(from.clone());
    }
    let body = stanza.child("body", ns::CLIENT).map(|body| body.text().into_owned()).unwrap_or_default();
    let rest = stanza.clone().map_element(|element| element.keeping_children(|child| !child.is("body", ns::CLIENT)));
    text(rest, "body", &format!("From: {from}\n{body}")).with_from(host.clone())
}
