//! Speaks a talk: one client per name, one line after the other, and a transcript of it all.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;

use jabber::xml::reader::{Event, Reader};

use super::Outcome;
use super::login::{self, Scram};
use super::pattern::{self, Expected, Heard, Names};
use super::talk::{self, Action, Raw, Step, Talk};
use super::wire::{Got, Link, Port, Stop, Wire};

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// What `{header}` says.
const HEADER: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";

/// A client, by the name that the talk gives it.
struct Client {
    link: Link,
    reader: Reader,
    heard: VecDeque<Heard>,
    scram: Option<Scram>,
    with_exporter: bool,
    /// It logged in as the talk's clients do.
    is_bound: bool,
    /// The server closed the connection and all was read.
    is_over: bool,
}

/// A talk under way.
pub struct Speaking<'a> {
    wire: &'a mut dyn Wire,
    clients: BTreeMap<String, Client>,
    names: Names,
    transcript: String,
    serial: usize,
}

/// Speaks a talk over a wire. `Err` says why this wire cannot carry it.
pub fn speak(talk: &Talk, wire: &mut dyn Wire) -> Result<Outcome, &'static str> {
    let mut speaking =
        Speaking { wire, clients: BTreeMap::new(), names: Names::new(), transcript: String::new(), serial: 0 };
    let _ = writeln!(speaking.transcript, "{}: {}", talk.place, talk.title);
    for (account, _) in &talk.setup.accounts {
        speaking.name_clients(talk, account);
    }
    let fault = match speaking.all(&talk.steps) {
        Ok(()) => None,
        Err(Stop::Cannot(why)) => return Err(why),
        Err(Stop::Fault(fault)) => Some(fault),
    };
    Ok(Outcome { transcript: speaking.transcript, fault })
}

impl Speaking<'_> {
    /// `{romeo}` is a full JID from the beginning, whoever speaks first.
    fn name_clients(&mut self, talk: &Talk, account: &str) {
        let raw = |name: &str| {
            let mut actions = talk.steps.iter().map(|step| &step.action);
            actions.any(|action| matches!(action, Action::Connects(who, Some(_), _) if who == name))
        };
        for step in &talk.steps {
            let names = match &step.action {
                Action::Friends(one, other) => vec![one, other],
                Action::Says(who, _) | Action::Hears { who, .. } | Action::HearsNothing(who) => vec![who],
                Action::Online(who, _) | Action::Connects(who, None, _) => vec![who],
                _ => continue,
            };
            for name in names.into_iter().filter(|name| talk::bare(name) == account && !raw(name)) {
                self.names.insert(name.clone(), format!("{account}/{}", talk::resource(name)));
            }
        }
    }

    fn all(&mut self, steps: &[Step]) -> Result<(), Stop> {
        for (index, step) in steps.iter().enumerate() {
            let is_last = steps.get(index + 1).is_some_and(|next| matches!(next.action, Action::Crash));
            self.step_before_crash(step, is_last).map_err(|stop| match stop {
                Stop::Fault(fault) => Stop::Fault(format!("line {}: {}\n{fault}", step.line, step.text)),
                other => other,
            })?;
        }
        self.nothing_unasked()
    }

    /// A line, the last one of the server's life if a crash is next: then it is not committed, but a login before it is.
    fn step_before_crash(&mut self, step: &Step, is_last: bool) -> Result<(), Stop> {
        if let (true, Action::Says(who, _)) = (is_last, &step.action) {
            self.present(who)?;
            self.wire.lose_next_tick();
        }
        self.step(step)
    }

    fn note(&mut self, text: &str) {
        let _ = writeln!(self.transcript, "    {text}");
    }

    fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match &step.action {
            Action::Says(who, text) => {
                self.present(who)?;
                let text = self.spoken(who, text)?;
                self.note(&format!("{who} C: {text}"));
                self.say(who, &text);
            }
            Action::Hears { who, text, any_order } => {
                self.present(who)?;
                for expected in pattern::parse(text)? {
                    let heard = self.hear_like(who, &expected, *any_order)?;
                    self.note(&format!("{who} S: {heard}"));
                }
            }
            Action::HearsNothing(who) => {
                self.present(who)?;
                self.silent(who)?;
            }
            Action::Connects(who, raw, from) => {
                self.clients.remove(who);
                self.note(&step.text);
                match raw {
                    Some(raw) => self.connect_raw(who, *raw, *from)?,
                    None => self.log_in(who, *from)?,
                }
            }
            Action::Secured(who) => {
                self.note(&step.text);
                let client = self.client(who)?;
                let (link, with_exporter) = (client.link, client.with_exporter);
                self.wire.secure(link, with_exporter)?;
            }
            Action::Closed(who) => self.closed(who)?,
            Action::Disconnects(who) => {
                self.note(&step.text);
                let link = self.client(who)?.link;
                self.wire.hang_up(link);
                self.clients.remove(who);
            }
            Action::Online(who, presence) => {
                self.present(who)?;
                self.note(&step.text);
                self.say(who, presence);
                self.settle(who)?;
                self.forget_all();
            }
            Action::Forget(who) => {
                self.note(&step.text);
                self.hear_out(who);
                while self.listen(who, false)? {}
                self.client(who)?.heard.clear();
            }
            Action::Friends(one, other) => self.befriend(one, other)?,
            Action::Wait(seconds) => {
                self.note(&step.text);
                self.wire.wait(*seconds)?;
            }
            Action::Stop => {
                self.note(&step.text);
                self.wire.stop()?;
            }
            Action::Restart => {
                self.note(&step.text);
                self.wire.restart()?;
                self.clients.clear();
            }
            Action::Crash => {
                self.note(&step.text);
                self.wire.crash()?;
                self.clients.clear();
            }
        }
        Ok(())
    }

    fn client(&mut self, who: &str) -> Result<&mut Client, Stop> {
        self.clients.get_mut(who).ok_or_else(|| Stop::Fault(format!("{who} is not connected")))
    }

    /// Who is named for the first time is connected, secured, logged in and bound.
    fn present(&mut self, who: &str) -> Result<(), Stop> {
        if self.clients.contains_key(who) { Ok(()) } else { self.log_in(who, None) }
    }

    fn say(&mut self, who: &str, text: &str) {
        if let Some(client) = self.clients.get(who) {
            self.wire.send(client.link, text.as_bytes());
        }
    }

    fn connect(&mut self, who: &str, port: Port, from: Option<IpAddr>) -> Result<(), Stop> {
        let link = self.wire.connect(port, from)?;
        let reader = Reader::new(pattern::no_limits());
        let client = Client {
            link,
            reader,
            heard: VecDeque::new(),
            scram: None,
            with_exporter: true,
            is_bound: false,
            is_over: false,
        };
        self.clients.insert(who.to_string(), client);
        Ok(())
    }

    fn connect_raw(&mut self, who: &str, raw: Raw, from: Option<IpAddr>) -> Result<(), Stop> {
        let port = match raw {
            Raw::Bare | Raw::Tls | Raw::Tls12 => Port::StartTls,
            Raw::Direct => Port::Direct,
            Raw::Plain => Port::Plain,
            Raw::Port(number) => Port::Other(number),
        };
        self.connect(who, port, from)?;
        if matches!(raw, Raw::Tls | Raw::Tls12) {
            self.start_tls(who, raw == Raw::Tls, "localhost")?;
        }
        Ok(())
    }

    fn start_tls(&mut self, who: &str, with_exporter: bool, host: &str) -> Result<(), Stop> {
        self.say(who, &HEADER.replace("'localhost'", &format!("'{host}'")));
        self.hear_all(who, "{header}{features}")?;
        self.say(who, &format!("<starttls xmlns='{TLS}'/>"));
        self.hear_all(who, &format!("<proceed xmlns='{TLS}'/>"))?;
        let client = self.client(who)?;
        client.with_exporter = with_exporter;
        let link = client.link;
        self.wire.secure(link, with_exporter)
    }

    /// Everything up to the bound resource that the name stands for.
    fn log_in(&mut self, who: &str, from: Option<IpAddr>) -> Result<(), Stop> {
        let account = talk::bare(who);
        let (name, host) = account.split_once('@').ok_or("an account has a name".to_string())?;
        let header = HEADER.replace("'localhost'", &format!("'{host}'"));
        self.connect(who, Port::StartTls, from)?;
        self.start_tls(who, true, host)?;
        self.say(who, &header);
        self.hear_all(who, "{header}{features}")?;
        let plain = login::base64(&format!("\\0{name}\\0{}", talk::PASSWORD))?;
        self.say(who, &format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{plain}</auth>"));
        self.hear_all(who, &format!("<success xmlns='{SASL}'/>"))?;
        self.say(who, &header);
        self.hear_all(who, "{header}{features}")?;
        let resource = talk::resource(who);
        let bind = "urn:ietf:params:xml:ns:xmpp-bind";
        self.say(
            who,
            &format!("<iq type='set' id='bind'><bind xmlns='{bind}'><resource>{resource}</resource></bind></iq>"),
        );
        let bound = format!("<iq type='result' id='bind'><bind xmlns='{bind}'><jid>{{jid-of {who}}}</jid></bind></iq>");
        self.names.remove(&format!("jid-of {who}"));
        self.hear_all(who, &bound)?;
        if let Some(jid) = self.names.remove(&format!("jid-of {who}")) {
            self.names.insert(who.to_string(), jid);
        }
        self.client(who)?.is_bound = true;
        Ok(())
    }

    fn hear_all(&mut self, who: &str, text: &str) -> Result<(), Stop> {
        for expected in pattern::parse(text)? {
            let heard = self.hear_like(who, &expected, false);
            heard.map_err(|stop| match stop {
                Stop::Fault(fault) => Stop::Fault(format!("while {who} logged in: {fault}")),
                other => other,
            })?;
        }
        Ok(())
    }

    /// Two accounts subscribe to one another, by the book (RFC 6121 §3).
    fn befriend(&mut self, one: &str, other: &str) -> Result<(), Stop> {
        self.note(&format!("friends {one} {other}"));
        for (asks, answers) in [(one, other), (other, one)] {
            self.present(asks)?;
            self.present(answers)?;
            self.say(asks, &format!("<presence type='subscribe' to='{}'/>", talk::bare(answers)));
            self.settle(asks)?;
            self.say(answers, &format!("<presence type='subscribed' to='{}'/>", talk::bare(asks)));
            self.settle(answers)?;
        }
        self.forget_all();
        Ok(())
    }

    /// All that follows from what this client said has happened when a ping behind it is answered.
    fn settle(&mut self, who: &str) -> Result<(), Stop> {
        self.say(who, "<iq type='get' id='settled?'><ping xmlns='urn:xmpp:ping'/></iq>");
        let mut others = VecDeque::new();
        let answered = loop {
            match self.next(who, true)? {
                Some(Heard::Element(element)) if element.attribute("id") == Some("settled?") => break true,
                Some(heard) => others.push_back(heard),
                None => break false,
            }
        };
        let client = self.client(who)?;
        others.append(&mut client.heard);
        client.heard = others;
        if answered { Ok(()) } else { Err(Stop::Fault(format!("        {who}'s ping is not answered"))) }
    }

    /// Over sockets what has been said so far arrives before the answer to a ping, however long the disk takes.
    fn hear_out(&mut self, who: &str) {
        if !self.wire.is_prompt() && self.clients.get(who).is_some_and(|client| client.is_bound && !client.is_over) {
            // Who has said goodbye gets no answer.
            let _ = self.settle(who);
        }
    }

    fn forget_all(&mut self) {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        for name in names {
            self.hear_out(&name);
            let _ = self.listen(&name, false);
            if let Some(client) = self.clients.get_mut(&name) {
                client.heard.clear();
            }
        }
    }

    /// Takes in what has come. `Ok(false)`: nothing more will come now.
    fn listen(&mut self, who: &str, wait: bool) -> Result<bool, Stop> {
        let client = self.clients.get_mut(who).ok_or_else(|| format!("{who} is not connected"))?;
        if client.is_over {
            return Ok(false);
        }
        match self.wire.hear(client.link, wait) {
            Got::Nothing => return Ok(false),
            Got::Closed => {
                client.is_over = true;
                return Ok(false);
            }
            Got::Bytes(bytes) => client.reader.push(&bytes),
        }
        loop {
            let event = client.reader.next();
            let event = event.map_err(|error| format!("the server said to {who} what is not XML: {error:?}"))?;
            let heard = match event {
                None => return Ok(true),
                Some(Event::Opened(header)) => Heard::Header(header),
                Some(Event::Element(element)) => {
                    // RFC 6120 §5.4.3.3 and §6.4.6: what follows is a new stream.
                    if element.is("proceed", TLS) || element.is("success", SASL) {
                        client.reader.restart();
                    }
                    Heard::Element(element)
                }
                Some(Event::Whitespace) => Heard::Whitespace,
                Some(Event::Closed) => Heard::End,
            };
            client.heard.push_back(heard);
        }
    }

    /// The oldest thing not yet asked for, newly listened for if need be.
    fn next(&mut self, who: &str, wait: bool) -> Result<Option<Heard>, Stop> {
        while self.client(who)?.heard.is_empty() {
            if !self.listen(who, wait)? {
                break;
            }
        }
        Ok(self.client(who)?.heard.pop_front())
    }

    fn hear_like(&mut self, who: &str, expected: &Expected, any_order: bool) -> Result<Heard, Stop> {
        let mut passed = VecDeque::new();
        let mut why = String::new();
        let found = loop {
            let Some(heard) = self.next(who, true)? else { break None };
            match self.compare(who, expected, &heard) {
                Ok(()) => break Some(heard),
                Err(_) if matches!(heard, Heard::Whitespace) => {}
                Err(difference) => {
                    why = format!("        but heard {heard}\n        {difference}");
                    passed.push_back(heard);
                    if !any_order {
                        break None;
                    }
                }
            }
        };
        if !any_order && !passed.is_empty() {
            return Err(Stop::Fault(why));
        }
        let client = self.client(who)?;
        let is_over = client.is_over;
        passed.append(&mut client.heard);
        client.heard = passed;
        found.ok_or_else(|| match (why.is_empty(), is_over) {
            (false, _) => Stop::Fault(format!("        none like it; the last one:\n{why}")),
            (true, true) => Stop::Fault("        but the connection was closed".to_string()),
            (true, false) => Stop::Fault("        but nothing was said".to_string()),
        })
    }

    fn compare(&mut self, who: &str, expected: &Expected, heard: &Heard) -> Result<(), String> {
        if let (Expected::Element(wanted), Heard::Element(element)) = (expected, heard) {
            let text = wanted.text();
            let word = text.trim().strip_prefix("{scram-").and_then(|text| text.strip_suffix('}'));
            if let Some(word) = word.filter(|_| wanted.is(element.name(), element.ns())) {
                let scram = self.clients.get_mut(who).and_then(|client| client.scram.as_mut());
                let scram = scram.ok_or("no SCRAM login is under way")?;
                return match word.split_once(' ').unwrap_or((word, "")) {
                    ("verifier", _) => scram.verify(&element.text()),
                    ("challenge", "") => scram.challenged(&element.text()).map(drop),
                    ("challenge", name) => {
                        let salt = scram.challenged(&element.text())?;
                        pattern::same_text(&format!("{{{name}}}"), &salt, &mut self.names)
                    }
                    _ => Err(format!("what is scram-{word}?")),
                };
            }
        }
        pattern::compare(expected, heard, &mut self.names)
    }

    fn silent(&mut self, who: &str) -> Result<(), Stop> {
        while let Some(heard) = self.next(who, false)? {
            if !matches!(heard, Heard::Whitespace) {
                return Err(Stop::Fault(format!("        but {who} heard {heard}")));
            }
        }
        Ok(())
    }

    /// The end of the stream, if it was not asked for yet, and of the connection.
    fn closed(&mut self, who: &str) -> Result<(), Stop> {
        let mut ends = 0;
        while let Some(heard) = self.next(who, true)? {
            match heard {
                Heard::End => ends += 1,
                Heard::Whitespace => {}
                other => return Err(Stop::Fault(format!("        but heard {other}"))),
            }
        }
        if !self.client(who)?.is_over {
            return Err(Stop::Fault("        but the connection is open".to_string()));
        }
        if ends > 1 {
            return Err(Stop::Fault("        but the stream ended twice".to_string()));
        }
        self.note(&format!("{who} closed"));
        Ok(())
    }

    fn nothing_unasked(&mut self) -> Result<(), Stop> {
        let names: Vec<String> = self.clients.keys().cloned().collect();
        for name in names {
            let asked = self.silent(&name);
            asked.map_err(|stop| match stop {
                Stop::Fault(fault) => Stop::Fault(format!("at the end, unasked:\n{fault}")),
                other => other,
            })?;
        }
        Ok(())
    }

    /// Fills in the braces of what a client says.
    fn spoken(&mut self, who: &str, text: &str) -> Result<String, Stop> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (word, after) = after.split_once('}').ok_or("a brace is not closed".to_string())?;
            out.push_str(before);
            out.push_str(&self.word(who, word)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn word(&mut self, who: &str, word: &str) -> Result<String, Stop> {
        let (name, rest) = word.split_once(' ').unwrap_or((word, ""));
        match name {
            "header" if rest.is_empty() => Ok(HEADER.to_string()),
            "header" => Ok(HEADER.replace("'localhost'", &format!("'{rest}'"))),
            "handshake" | "digest" => {
                // `{handshake ID SECRET}`, the id as it was remembered.
                let (id, secret) = rest.split_once(' ').ok_or(format!("{name} ID SECRET"))?;
                let id = self.names.get(id).ok_or_else(|| format!("nobody knows what {{{id}}} is"))?;
                Ok(login::sha1_hex(&[id, secret].concat()))
            }
            "b64" => Ok(login::base64(rest)?),
            "times" => {
                // `{times 1000 x}`
                let (count, what) = rest.split_once(' ').ok_or("times COUNT TEXT".to_string())?;
                Ok(what.repeat(count.parse::<usize>().map_err(|error| error.to_string())?))
            }
            "scram-first" => {
                self.serial += 1;
                let words: Vec<&str> = rest.split(' ').collect();
                let (scram, message) = Scram::first(&words, self.serial)?;
                self.client(who)?.scram = Some(scram);
                Ok(message)
            }
            "scram-final" => {
                let (password, forged) = rest.strip_suffix(" forged").map_or((rest, false), |word| (word, true));
                let client = self.client(who)?;
                let link = client.link;
                let kind = client.scram.as_ref().and_then(Scram::binding).map(str::to_string);
                let binding = kind.and_then(|kind| self.wire.binding(link, &kind)).unwrap_or_default();
                let scram = self.client(who)?.scram.as_mut().ok_or("no SCRAM login is under way".to_string())?;
                Ok(scram.last(password, forged, &binding)?)
            }
            _ => match self.names.get(word) {
                Some(value) => Ok(value.clone()),
                None => Err(Stop::Fault(format!("        nobody knows what {{{word}}} is"))),
            },
        }
    }
}
