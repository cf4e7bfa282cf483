//! The game: accounts on two hosts, their clients, and what each of them was told.

use std::collections::{BTreeMap, BTreeSet};

use jabber::store::account;
use jabber::xml::Element;
use jabber::xml::reader::Event;
use jabber::xmpp::BareJid;

use crate::client::{Ask, Client, Phase};
use crate::judge::{Message, Register, marks};
use crate::login;
use crate::world::{News, World};

/// Somebody with a name, whether there is an account or not.
pub struct Account {
    pub bare: String,
    pub name: String,
    pub host: String,
    pub node: usize,
    /// Empty: there is no account.
    pub password: Register,
    pub vcard: Register,
    pub private: Register,
    /// Names of contacts; empty: not there, or without a name.
    pub names: BTreeMap<usize, Register>,
    /// Was there ever a time without this account?
    pub was_absent: bool,
    /// The roster of some client that was here, for the next one.
    pub cache: Option<(String, BTreeMap<String, String>)>,
}

pub struct Game {
    pub world: World,
    pub accounts: Vec<Account>,
    pub clients: Vec<Client>,
    pub messages: Vec<Message>,
    pub federated: bool,
    /// Are servers proved by certificates, and what they say is acknowledged (XEP-0198)?
    pub certificates: bool,
    /// Is what is not acknowledged written down at once, so that it survives whatever happens?
    pub strict: bool,
    /// Are bounds so low that they are met?
    pub tight: bool,
    /// May wires between servers break, and federated servers die?
    pub disturbs: bool,
    pub epoch: u64,
    /// Pairs whose subscriptions changed since all was quiet: two servers may cross their words.
    pub busy: BTreeSet<(usize, usize)>,
    /// Pairs that can be of two minds for good.
    pub tainted: BTreeSet<(usize, usize)>,
    /// Who was told by a client that it is not there, though it is.
    pub misled: BTreeSet<(usize, usize)>,
    /// Who got presence for one resource of it, which hears of the end only if it is available then.
    pub ghosts: BTreeSet<(usize, usize)>,
    pub fault: Option<String>,
    pub deliveries: usize,
}

pub const HOSTS: [&str; 2] = ["a.example", "b.example"];
const ACCOUNTS: usize = 5;

const TIGHT: &str = "<offline-messages-max>4</offline-messages-max><resources-per-account-max>2</resources-per-account-max>\
     <roster-items-max>3</roster-items-max><pending-subscriptions-max>2</pending-subscriptions-max>\
     <remote-queue-stanzas-max>6</remote-queue-stanzas-max><directed-presence-max>1</directed-presence-max>\
     <roster-groups-max>1</roster-groups-max><private-elements-max>1</private-elements-max>";

pub fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

pub fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

impl Game {
    pub fn new(seed: u64) -> Game {
        let mut world = World::new(seed);
        let federated = world.dice.chance(50);
        let tight = world.dice.chance(25);
        let certificates = world.dice.chance(50);
        let on_files = world.dice.chance(40);
        let strict = world.dice.chance(50);
        let limits = match (tight, strict) {
            (true, _) => TIGHT,
            (false, true) => "<acknowledge-millis>0</acknowledge-millis>",
            (false, false) => "",
        };
        let hosts: &[&[&str]] = if federated { &[&[HOSTS[0]], &[HOSTS[1]]] } else { &[&HOSTS] };
        for (node, hosts) in hosts.iter().enumerate() {
            let name = format!("{seed}-{node}");
            world.add_node(hosts, limits, certificates, on_files.then_some(&name));
        }
        let disturbs = !federated || world.dice.chance(50);
        let mut game = Game {
            world,
            accounts: Vec::new(),
            clients: Vec::new(),
            messages: Vec::new(),
            federated,
            certificates,
            strict: strict && !tight,
            tight,
            disturbs,
            epoch: 0,
            busy: BTreeSet::new(),
            tainted: BTreeSet::new(),
            misled: BTreeSet::new(),
            ghosts: BTreeSet::new(),
            fault: None,
            deliveries: 0,
        };
        for number in 0..ACCOUNTS {
            game.add_account(number);
        }
        for node in 0..game.world.nodes.len() {
            game.world.wait(0);
            game.world.sync(node);
        }
        game
    }

    fn add_account(&mut self, number: usize) {
        let (name, host) = (format!("u{number}"), HOSTS[number % 2].to_string());
        let node = self.world.node_of(&host).unwrap();
        let bare = format!("{name}@{host}");
        // The last one has to register first.
        let exists = number + 1 < ACCOUNTS;
        let mut own = Account {
            bare: bare.clone(),
            name,
            host,
            node,
            password: Register::default(),
            vcard: Register::default(),
            private: Register::default(),
            names: BTreeMap::new(),
            was_absent: !exists,
            cache: None,
        };
        if exists {
            let store = self.world.nodes[node].server.as_mut().unwrap().store_mut();
            account::create(store, &jid(&bare), &login::credentials("secret"), 0).unwrap();
        }
        own.password.set(if exists { "secret" } else { "" }, 0);
        own.vcard.set("", 0);
        own.private.set("", 0);
        for contact in 0..ACCOUNTS {
            own.names.entry(contact).or_default().set("", 0);
        }
        self.accounts.push(own);
    }

    pub fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    /// Takes in what happened in the world.
    pub fn attend(&mut self) {
        while let Some(news) = self.world.news.pop_front() {
            // Who goes before the server noted that all has left gets it again.
            if let News::Ended(client) | News::Forgotten(client) | News::Broke(client) = news {
                let account = self.clients[client].account;
                let theirs = self.messages.iter_mut().filter(|message| message.to_account == account);
                theirs.for_each(|message| message.may_return = true);
            }
            match news {
                News::Heard(client, bytes) => match self.clients[client].hear(&bytes) {
                    Ok(events) => events.into_iter().for_each(|event| self.event(client, event)),
                    Err(fault) => self.fail(fault),
                },
                News::Secured(_) => {}
                News::Ended(client) => self.clients[client].phase = Phase::Over,
                News::Forgotten(client) => self.forgotten(client),
                News::Broke(client) => {
                    let account = self.clients[client].account;
                    let theirs = self.messages.iter_mut().filter(|message| message.to_account == account);
                    theirs
                        .filter(|message| message.received.is_empty())
                        .for_each(|message| message.lost_to_client = true);
                }
                News::Lost { to_client, bytes } => {
                    self.world.note(|| format!("lost: {}", String::from_utf8_lossy(&bytes)));
                    for mark in marks(&bytes) {
                        let message = &mut self.messages[mark];
                        message.lost_to_client |= to_client;
                        // It was said on a wire that was broken already.
                        message.epoch = if to_client { message.epoch } else { 0 };
                    }
                }
            }
        }
        if let Some(fault) = self.world.fault.take() {
            self.fail(fault);
        }
        if let Some(fault) = crate::panics::taken() {
            self.fail(format!("a panic in a server: {fault}"));
        }
    }

    /// A server will do nothing more for this client.
    fn forgotten(&mut self, client: usize) {
        let clock = self.world.clock;
        let own = &mut self.accounts[self.clients[client].account];
        let names = own.names.values_mut();
        let kept = [&mut own.password, &mut own.vcard, &mut own.private];
        kept.into_iter().chain(names).for_each(|register| register.forget(client, clock));
    }

    pub fn say(&mut self, client: usize, text: &str) {
        self.world.say(client, text.as_bytes());
    }

    /// A client comes: it registers first if it believes that there is no account.
    pub fn connect(&mut self, number: usize, resource: &str, legacy: bool) {
        let clock = self.world.clock;
        let own = &self.accounts[number];
        let node = own.node;
        let possible: Vec<String> = own.password.possible(clock).into_iter().map(str::to_string).collect();
        let Some(guess) = possible.last().cloned() else { return };
        let registers = guess.is_empty();
        let password = if registers { "secret".to_string() } else { guess };
        let client = self.clients.len();
        if !self.world.connect(client, node, false) {
            return;
        }
        let mut new = Client::new(number, node, resource, &password, legacy || registers, registers);
        if let (Some((version, roster)), true) = (&own.cache, self.world.dice.chance(60)) {
            (new.version, new.roster) = (version.clone(), Some(roster.clone()));
        }
        new.begun = clock;
        // An answer may come to the next one who has the resource; it must not take it for its own.
        new.next_iq = client * 1_000;
        self.clients.push(new);
        let header = self.header(client);
        self.say(client, &header);
    }

    fn header(&self, client: usize) -> String {
        let own = &self.clients[client];
        let (host, version) = (&self.accounts[own.account].host, if own.legacy { "" } else { " version='1.0'" });
        format!(
            "<?xml version='1.0'?><stream:stream to='{host}'{version} xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        )
    }

    fn event(&mut self, client: usize, event: Event) {
        match event {
            Event::Opened(_) => self.opened(client),
            Event::Element(element) if element.is("error", "http://etherx.jabber.org/streams") => {
                let condition = element.first_child().map(|child| child.name().to_string()).unwrap_or_default();
                let known = ["conflict", "reset", "not-authorized", "connection-timeout", "system-shutdown"];
                if !known.contains(&condition.as_str()) {
                    self.fail(format!("client {client}'s stream ends with {condition}"));
                }
                self.clients[client].phase = Phase::Over;
            }
            Event::Element(element) => match self.clients[client].phase {
                Phase::Ready => self.stanza(client, &element),
                Phase::Over => {}
                _ => self.login_element(client, &element),
            },
            Event::Closed => {
                self.clients[client].phase = Phase::Over;
                self.world.hang_up(client, false);
            }
            Event::Whitespace => {}
        }
    }

    fn opened(&mut self, client: usize) {
        let own = &mut self.clients[client];
        if own.phase == Phase::FeaturesAgain {
            return;
        }
        if !own.legacy {
            own.phase = Phase::Features;
            return;
        }
        let name = &self.accounts[own.account].name;
        let password = own.password.clone();
        let text = if own.registers {
            own.phase = Phase::Registering;
            self.accounts[own.account].password.begin(client, &password, self.world.clock);
            let (name, register) = (&self.accounts[own.account].name, Ask::Register(password.clone()));
            let query = format!(
                "<query xmlns='jabber:iq:register'><username>{name}</username><password>{password}</password></query>"
            );
            own.ask(register, "set", "", &query)
        } else {
            let resource = own.resource.clone();
            own.phase = Phase::LegacyAuth;
            let query = format!(
                "<query xmlns='jabber:iq:auth'><username>{name}</username><password>{password}</password>\
                 <resource>{resource}</resource></query>"
            );
            own.ask(Ask::Login, "set", "", &query)
        };
        self.say(client, &text);
    }

    fn login_element(&mut self, client: usize, element: &Element) {
        let own = &self.clients[client];
        let number = own.account;
        let kind = element.attribute("type").unwrap_or_default();
        match (own.phase, element.name()) {
            (Phase::Registering, "iq") => {
                let (password, clock) = (own.password.clone(), self.world.clock);
                if kind == "result" {
                    self.accounts[number].password.acknowledge(client, &password, clock);
                    // Now the same connection logs in.
                    self.clients[client].registers = false;
                    self.clients[client].begun = clock;
                    self.opened(client);
                } else {
                    self.accounts[number].password.refuse(client, &password);
                    self.leave(client);
                }
            }
            (Phase::LegacyAuth | Phase::Binding, "iq") if kind == "result" => self.logged_in(client),
            (Phase::LegacyAuth | Phase::Binding, "iq") => self.refused(client, element),
            (Phase::Features, "features") => {
                let plain = login::base64(&format!("\\0{}\\0{}", self.accounts[number].name, own.password)).unwrap();
                self.clients[client].phase = Phase::Sasl;
                let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>";
                self.say(client, &format!("{auth}{plain}</auth>"));
            }
            (Phase::Sasl, "success") => {
                self.clients[client].phase = Phase::FeaturesAgain;
                let header = self.header(client);
                self.say(client, &header);
            }
            (Phase::Sasl, _) => self.refused(client, element),
            (Phase::FeaturesAgain, "features") => {
                let resource = own.resource.clone();
                let own = &mut self.clients[client];
                own.phase = Phase::Binding;
                let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>";
                let bind = own.ask(Ask::Login, "set", "", &format!("{bind}<resource>{resource}</resource></bind>"));
                self.say(client, &bind);
            }
            (phase, name) => self.fail(format!("client {client} got <{name}/> in {phase:?}")),
        }
    }

    fn logged_in(&mut self, client: usize) {
        let own = &mut self.clients[client];
        own.phase = Phase::Ready;
        own.asked.clear();
        let account = &self.accounts[own.account];
        own.jid = format!("{}/{}", account.bare, own.resource);
        let (jid, password) = (own.jid.clone(), own.password.clone());
        if !account.password.possible(own.begun).contains(password.as_str()) {
            self.fail(format!("{jid} was let in with {password:?}, which was changed before"));
        }
    }

    fn refused(&mut self, client: usize, element: &Element) {
        let text = element.to_string();
        let own = &self.clients[client];
        let possible = self.accounts[own.account].password.possible(own.begun);
        let is_right = possible.iter().all(|value| *value == own.password);
        let crowded = self.tight && text.contains("resource-constraint");
        if is_right && !crowded {
            let fault = format!("{} was refused with the right password: {text}", self.accounts[own.account].bare);
            self.fail(fault);
        }
        self.leave(client);
    }

    /// A client ends its stream as it should.
    pub fn leave(&mut self, client: usize) {
        self.say(client, "</stream:stream>");
        self.clients[client].hung_up = true;
        self.keep_roster(client);
    }

    /// A client is gone without a word.
    pub fn drop_client(&mut self, client: usize, rudely: bool) {
        self.world.hang_up(client, rudely);
        self.clients[client].hung_up = true;
        self.clients[client].phase = Phase::Over;
        self.keep_roster(client);
    }

    fn keep_roster(&mut self, client: usize) {
        let own = &self.clients[client];
        if let (Some(roster), false) = (&own.roster, own.version.is_empty()) {
            self.accounts[own.account].cache = Some((own.version.clone(), roster.clone()));
        }
    }
}
