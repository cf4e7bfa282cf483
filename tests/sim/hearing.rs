//! What a client makes of the stanzas it gets, and whether they may come at all.

use jabber::xml::Element;

use crate::client::Ask;
use crate::game::Game;
use crate::judge::marks;

fn bare(jid: &str) -> &str {
    jid.split_once('/').map_or(jid, |(bare, _)| bare)
}

impl Game {
    pub fn stanza(&mut self, client: usize, element: &Element) {
        let own = &self.clients[client];
        if let Some(to) = element.attribute("to") {
            // RFC 6121 §8.5.3.2.1: a message for a resource that is gone goes to another one of the account.
            let is_own = to == own.jid || to == bare(&own.jid);
            if !is_own && (element.name() != "message" || bare(to) != bare(&own.jid)) {
                let fault = format!("{} got what is for another: {element}", own.jid);
                return self.fail(fault);
            }
        }
        match element.name() {
            "iq" => self.iq(client, element),
            "message" => self.message(client, element),
            "presence" => self.presence(client, element),
            name => self.fail(format!("a stanza named {name}")),
        }
    }

    fn iq(&mut self, client: usize, element: &Element) {
        let id = element.attribute("id").unwrap_or_default().to_string();
        let kind = element.attribute("type").unwrap_or_default();
        if matches!(kind, "get" | "set") {
            let own = &mut self.clients[client];
            if let Some(query) = element.child("query", "jabber:iq:roster") {
                own.roster(query, true);
            }
            let to = element.attribute("from").map(|from| format!(" to='{from}'")).unwrap_or_default();
            return self.say(client, &format!("<iq type='result' id='{id}'{to}/>"));
        }
        // An answer to a client that had this resource before.
        let Some((ask, wrote)) = self.clients[client].asked.remove(&id) else { return };
        for mark in self.clients[client].wrote[..wrote].iter().copied() {
            self.messages[mark].acknowledged = true;
        }
        self.answered(client, ask, kind == "result", element);
    }

    fn answered(&mut self, client: usize, ask: Ask, is_done: bool, element: &Element) {
        let clock = self.world.clock;
        let number = self.clients[client].account;
        let own = &mut self.accounts[number];
        let (register, value) = match &ask {
            Ask::VcardSet(value) => (&mut own.vcard, value.clone()),
            Ask::PrivateSet(value) => (&mut own.private, value.clone()),
            Ask::Password(value) => (&mut own.password, value.clone()),
            Ask::RosterSet(contact, value) => (own.names.entry(*contact).or_default(), value.clone()),
            Ask::RosterRemove(contact) => (own.names.entry(*contact).or_default(), String::new()),
            Ask::Remove if is_done => return self.removed(client),
            Ask::Remove => return own.password.refuse(client, ""),
            Ask::Roster if is_done => {
                let query = element.child("query", "jabber:iq:roster");
                let own = &mut self.clients[client];
                query.iter().for_each(|query| own.roster(query, false));
                own.roster_asked = true;
                return;
            }
            Ask::VcardGet(whose, since) if is_done => {
                let card = element.child("vCard", "vcard-temp");
                let text = card.and_then(|card| card.child("FN", "vcard-temp")).map(|name| name.text().into_owned());
                return self.read(*whose, false, *since, &text.unwrap_or_default());
            }
            Ask::PrivateGet(since) if is_done => {
                let kept = element.first_child().and_then(Element::first_child);
                let text = kept.map(|kept| kept.text().into_owned());
                return self.read(number, true, *since, &text.unwrap_or_default());
            }
            _ => return,
        };
        if is_done {
            register.acknowledge(client, &value, clock);
        } else {
            register.refuse(client, &value);
        }
    }

    fn read(&mut self, whose: usize, private: bool, since: u64, value: &str) {
        let own = &self.accounts[whose];
        let register = if private { &own.private } else { &own.vcard };
        let possible = register.possible(since);
        if !possible.contains(value) {
            let fault = format!("{} has {value:?} where {possible:?} was acknowledged", own.bare);
            self.fail(fault);
        }
    }

    /// The account is gone, with all that was kept for it.
    fn removed(&mut self, client: usize) {
        let clock = self.world.clock;
        let number = self.clients[client].account;
        let own = &mut self.accounts[number];
        own.cache = None;
        own.was_absent = true;
        let names = own.names.values_mut();
        let kept = [&mut own.password, &mut own.vcard, &mut own.private];
        kept.into_iter().chain(names).for_each(|register| register.acknowledge(client, "", clock));
        self.excuse(number);
    }

    /// Messages for an account that goes may go with it.
    pub fn excuse(&mut self, number: usize) {
        for message in self.messages.iter_mut().filter(|message| message.to_account == number) {
            message.excused = true;
        }
    }

    fn message(&mut self, client: usize, element: &Element) {
        let is_error = element.attribute("type") == Some("error");
        let body = element.child("body", "jabber:client").map(|body| body.text().into_owned()).unwrap_or_default();
        let from = element.attribute("from").unwrap_or_default();
        let delay = element.children().find(|child| child.is("delay", "urn:xmpp:delay"));
        let stored = delay.is_some_and(|delay| delay.text().contains("Offline"));
        let own_jid = self.clients[client].jid.clone();
        let own_account = self.clients[client].account;
        for mark in marks(body.as_bytes()) {
            let message = &mut self.messages[mark];
            if is_error {
                message.bounced = true;
                if message.from != own_jid {
                    let fault = format!("the error for message {mark} of {} went to {own_jid}", message.from);
                    self.fail(fault);
                }
                continue;
            }
            let seen = message.received.entry(client).or_default();
            if stored {
                seen.1 += 1
            } else {
                seen.0 += 1
            }
            let is_first = seen.0 + seen.1 == 1;
            // It was on its way to another session, which went without a sign that it had it: later ones went past it.
            let returns = stored && message.may_return && message.received.len() > 1;
            self.deliveries += 1;
            if message.to_account != own_account || message.from != from {
                let fault = format!("message {mark} to {} came to {own_jid} from {from}", message.to);
                return self.fail(fault);
            }
            let (sender, epoch) = (message.sender, message.epoch);
            let last = self.clients[client].last_of.insert((sender, stored), mark);
            if let Some(last) = last.filter(|last| *last > mark && is_first && !returns) {
                if self.messages[last].epoch == epoch && !(self.federated && (self.epoch > 0 || self.tight)) {
                    self.fail(format!("{own_jid} got message {mark} after {last}, which was sent later"));
                }
            }
        }
    }

    fn presence(&mut self, client: usize, element: &Element) {
        let from = element.attribute("from").unwrap_or_default().to_string();
        let own = &mut self.clients[client];
        match element.attribute("type") {
            None => {
                own.heard_own |= from == own.jid;
                own.seen.insert(from);
            }
            Some("unavailable") if from == own.jid => {
                own.seen.clear();
                own.heard_own = false;
            }
            Some("unavailable") if !from.contains('/') => own.seen.retain(|seen| bare(seen) != from),
            Some("unavailable") => drop(own.seen.remove(&from)),
            Some(_) => {}
        }
    }
}
