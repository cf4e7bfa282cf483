//! The moves: what clients, networks and machines do at random.

use crate::client::{Ask, Phase};
use crate::disk::Crash;
use crate::game::{Game, pair};
use crate::judge::{Message, marked};

impl Game {
    /// One move, and some of what follows from it.
    pub fn step(&mut self) {
        let ready: Vec<usize> = (0..self.clients.len()).filter(|client| self.clients[*client].is_ready()).collect();
        let alive = self.clients.iter().filter(|client| client.is_alive()).count();
        let client = if ready.is_empty() { None } else { Some(*self.world.dice.pick(&ready)) };
        match (self.world.dice.below(100), client) {
            (0..=13, _) if alive < 9 => self.come(),
            (14..=17, Some(client)) => self.go(client),
            (18..=21, _) => self.outside(),
            (22..=23, _) => self.settle(),
            (24..=37, Some(client)) => self.show(client),
            (38..=55, Some(client)) => self.write_message(client),
            (56..=70, Some(client)) => self.subscription(client),
            (71..=80, Some(client)) => self.roster(client),
            (81..=99, Some(client)) => self.data(client),
            _ if alive < 3 => self.come(),
            _ => {}
        }
        for _ in 0..self.world.dice.below(6) {
            self.world.step();
            self.attend();
        }
        for node in 0..self.world.nodes.len() {
            self.world.check_connections(node);
        }
        self.attend();
    }

    fn come(&mut self) {
        let account = self.world.dice.below(self.accounts.len());
        let resource = *self.world.dice.pick(&["one", "two", "three"]);
        let legacy = self.world.dice.chance(50);
        self.connect(account, resource, legacy);
    }

    fn go(&mut self, client: usize) {
        match self.world.dice.below(3) {
            0 => self.leave(client),
            1 => self.drop_client(client, false),
            _ => self.drop_client(client, true),
        }
    }

    /// Time passes, machines die, wires break.
    fn outside(&mut self) {
        let node = self.world.dice.below(self.world.nodes.len());
        match self.world.dice.below(10) {
            0..=3 => {
                let millis = *self.world.dice.pick(&[10, 1_000, 20_000, 60_000, 3_600_000]);
                // Streams end when they are idle; nothing is under way for so long.
                if millis > 1_000 {
                    self.run_dry();
                }
                self.world.wait(millis);
            }
            4..=6 => self.world.sync(node),
            7 if self.federated && self.disturbs && self.world.dice.chance(60) => self.crash_while_waiting(node),
            7 if self.federated && self.disturbs => {
                if self.world.cut_servers() {
                    self.messages.iter_mut().for_each(|message| message.may_bounce = true);
                    self.disturbed();
                }
            }
            8 if self.world.dice.chance(20) => self.world.reload(node),
            8 => self.crash(node),
            _ => self.start_all(),
        }
    }

    fn disturbed(&mut self) {
        self.epoch += 1;
        for one in 0..self.accounts.len() {
            for other in one..self.accounts.len() {
                if self.accounts[one].node != self.accounts[other].node {
                    self.tainted.insert((one, other));
                }
            }
        }
    }

    /// The wires break, somebody writes and is told that it was taken, and his server dies before it found a way.
    fn crash_while_waiting(&mut self, node: usize) {
        self.break_wires();
        let own = |client: &usize| self.accounts[self.clients[*client].account].node == node;
        let here: Vec<usize> =
            (0..self.clients.len()).filter(|client| self.clients[*client].is_ready()).filter(own).collect();
        for client in here {
            for _ in 0..4 {
                self.write_message(client);
            }
            self.ping(client);
        }
        for _ in 0..self.world.dice.below(60) {
            self.world.step();
            if self.world.dice.chance(30) {
                self.world.sync(node);
            }
            self.attend();
        }
        self.crash(node);
    }

    fn break_wires(&mut self) {
        if self.world.cut_servers() {
            // Each breaks one of them.
            for _ in 0..8 {
                self.world.cut_servers();
            }
            self.messages.iter_mut().for_each(|message| message.may_bounce = true);
            self.disturbed();
        }
    }

    fn crash(&mut self, node: usize) {
        if !self.disturbs || self.world.nodes[node].server.is_none() {
            return;
        }
        let power = self.world.has_disk(node) && self.world.dice.chance(60);
        match self.world.dice.below(4) {
            0 => self.world.stop(node),
            _ => self.world.crash(node, if power { Crash::Power } else { Crash::Kill }),
        }
        for message in self.messages.iter_mut().filter(|message| self.accounts[message.to_account].node == node) {
            message.may_return = true;
        }
        // What left and was not acknowledged goes with its server, if it was not written down.
        let is_kept = self.certificates && self.strict;
        for message in self.messages.iter_mut().filter(|message| message.is_remote) {
            let from = self.accounts[self.clients[message.sender].account].node;
            message.excused |= (from == node && !is_kept) || !self.certificates;
            message.may_bounce |= from != node;
        }
        if self.federated {
            self.disturbed();
        }
        self.attend();
        if self.world.dice.chance(60) {
            self.world.start(node);
        }
    }

    pub fn start_all(&mut self) {
        for node in 0..self.world.nodes.len() {
            self.world.start(node);
        }
    }

    /// Presence, to all or to one.
    fn show(&mut self, client: usize) {
        let own = self.clients[client].account;
        match self.world.dice.below(10) {
            0..=5 => {
                let priority = *self.world.dice.pick(&[-1i8, 0, 0, 5, 5]);
                self.clients[client].priority = Some(priority);
                self.say(client, &format!("<presence><priority>{priority}</priority></presence>"));
                if !self.clients[client].roster_asked && self.world.dice.chance(60) {
                    self.fetch_roster(client);
                }
            }
            6 | 7 => {
                self.clients[client].priority = None;
                self.say(client, "<presence type='unavailable'><status>bye</status></presence>");
            }
            kind => {
                let other = self.world.dice.below(self.accounts.len());
                let to = self.address(other);
                if kind == 9 && other == own {
                    return;
                }
                self.misled.insert((other, own));
                if to.contains('/') {
                    self.ghosts.insert((other, own));
                }
                let kind = if kind == 8 { "" } else { " type='unavailable'" };
                self.say(client, &format!("<presence to='{to}'{kind}/>"));
            }
        }
    }

    /// A bare or full address of an account.
    fn address(&mut self, number: usize) -> String {
        let bare = self.accounts[number].bare.clone();
        match self.world.dice.below(4) {
            0 => format!("{bare}/{}", self.world.dice.pick(&["one", "two", "three", "never"])),
            _ => bare,
        }
    }

    fn write_message(&mut self, client: usize) {
        let number = self.messages.len();
        let to_account = self.world.dice.below(self.accounts.len());
        let mut to = self.address(to_account);
        let nobody = self.world.dice.chance(4);
        if nobody {
            to = self.world.dice.pick(&["nobody@a.example", "nobody@b.example", "x@nowhere.example"]).to_string();
        }
        let kind = *self.world.dice.pick(&["chat", "chat", "chat", "normal", "headline", "groupchat"]);
        let own = &mut self.clients[client];
        own.wrote.push(number);
        let is_remote = self.accounts[own.account].node != self.accounts[to_account].node;
        // A bounce finds nobody when its receiver is gone meanwhile.
        // RFC 6121 §8.5.3.2.1: some come back from a resource that is gone, unless the way back is closed.
        let may_come_back = is_remote && kind == "normal" && to.contains('/');
        let may_vanish =
            may_come_back || self.tight || nobody || kind == "groupchat" || self.accounts[to_account].was_absent;
        let exists = self.accounts[to_account].password.certain(self.world.clock).is_some_and(|is| !is.is_empty());
        self.messages.push(Message {
            sender: client,
            from: own.jid.clone(),
            to: to.clone(),
            to_account,
            matters: kind != "headline",
            acknowledged: false,
            is_remote,
            received: Default::default(),
            bounced: false,
            lost_to_client: false,
            excused: may_vanish || !exists,
            may_bounce: self.world.nodes[self.accounts[to_account].node].server.is_none(),
            may_return: false,
            epoch: self.epoch,
        });
        let text = format!("<message to='{to}' type='{kind}' id='m{number}'><body>{}</body></message>", marked(number));
        self.say(client, &text);
        if self.world.dice.chance(40) {
            self.ping(client);
        }
    }

    pub fn ping(&mut self, client: usize) {
        let text = self.clients[client].ask(Ask::Ping, "get", "", "<ping xmlns='urn:xmpp:ping'/>");
        self.say(client, &text);
    }

    fn subscription(&mut self, client: usize) {
        let own = self.clients[client].account;
        let other = self.world.dice.below(self.accounts.len());
        if self.accounts[own].node != self.accounts[other].node && !self.busy.insert(pair(own, other)) {
            return;
        }
        let kind = *self.world.dice.pick(&[
            "subscribe",
            "subscribe",
            "subscribed",
            "subscribed",
            "unsubscribe",
            "unsubscribed",
        ]);
        let to = self.accounts[other].bare.clone();
        self.say(client, &format!("<presence to='{to}' type='{kind}'/>"));
    }

    fn fetch_roster(&mut self, client: usize) {
        let own = &mut self.clients[client];
        let knows = !own.version.is_empty() && own.roster.is_some();
        let version = if knows { format!(" ver='{}'", own.version) } else { " ver=''".to_string() };
        let text = own.ask(Ask::Roster, "get", "", &format!("<query xmlns='jabber:iq:roster'{version}/>"));
        self.say(client, &text);
    }

    fn roster(&mut self, client: usize) {
        let other = self.world.dice.below(self.accounts.len());
        let number = self.clients[client].account;
        let clock = self.world.clock;
        let (bare, serial) = (self.accounts[other].bare.clone(), self.world.dice.below(1_000_000));
        if other == number {
            return self.fetch_roster(client);
        }
        let register = self.accounts[number].names.entry(other).or_default();
        let own = &mut self.clients[client];
        let text = if self.world.dice.chance(75) {
            let name = format!("n{serial}");
            register.begin(client, &name, clock);
            let groups = ["", "<group>x</group>", "<group>x &amp; y</group><group>z</group>"][serial % 3];
            let item = format!("<item jid='{bare}' name='{name}'>{groups}</item>");
            own.ask(Ask::RosterSet(other, name), "set", "", &format!("<query xmlns='jabber:iq:roster'>{item}</query>"))
        } else {
            let is_remote = self.accounts[number].node != self.accounts[other].node;
            if is_remote && !self.busy.insert(pair(number, other)) {
                return;
            }
            let register = self.accounts[number].names.entry(other).or_default();
            register.begin(client, "", clock);
            let item = format!("<item jid='{bare}' subscription='remove'/>");
            own.ask(Ask::RosterRemove(other), "set", "", &format!("<query xmlns='jabber:iq:roster'>{item}</query>"))
        };
        self.say(client, &text);
    }

    /// vCards, private data, passwords, the account itself.
    fn data(&mut self, client: usize) {
        let number = self.clients[client].account;
        let clock = self.world.clock;
        let serial = self.world.dice.below(1_000_000);
        let other = self.world.dice.below(self.accounts.len());
        let (bare, value) = (self.accounts[other].bare.clone(), format!("v{serial}"));
        let account = &mut self.accounts[number];
        let own = &mut self.clients[client];
        let text = match self.world.dice.below(60) {
            0..=10 => {
                account.vcard.begin(client, &value, clock);
                let card = format!("<vCard xmlns='vcard-temp'><FN>{value}</FN></vCard>");
                own.ask(Ask::VcardSet(value), "set", "", &card)
            }
            11..=18 => own.ask(Ask::VcardGet(other, clock), "get", &bare, "<vCard xmlns='vcard-temp'/>"),
            19..=28 => {
                account.private.begin(client, &value, clock);
                let query = format!("<query xmlns='jabber:iq:private'><x xmlns='sim'>{value}</x></query>");
                own.ask(Ask::PrivateSet(value), "set", "", &query)
            }
            29..=36 => {
                let query = "<query xmlns='jabber:iq:private'><x xmlns='sim'/></query>";
                own.ask(Ask::PrivateGet(clock), "get", "", query)
            }
            37..=40 => {
                let to = self.address(other);
                let query = *self.world.dice.pick(&[
                    "<query xmlns='jabber:iq:last'/>",
                    "<query xmlns='http://jabber.org/protocol/disco#info'/>",
                    "<query xmlns='jabber:iq:version'/>",
                    "<ping xmlns='urn:xmpp:ping'/>",
                ]);
                self.clients[client].ask(Ask::Other, "get", &to, query)
            }
            41 => {
                account.password.begin(client, &value, clock);
                let query = format!(
                    "<query xmlns='jabber:iq:register'><username>{}</username><password>{value}</password></query>",
                    account.name
                );
                own.ask(Ask::Password(value), "set", "", &query)
            }
            42 if number > 1 => {
                let names = account.names.values_mut();
                let kept = [&mut account.password, &mut account.vcard, &mut account.private];
                kept.into_iter().chain(names).for_each(|register| register.begin(client, "", clock));
                account.was_absent = true;
                let query = "<query xmlns='jabber:iq:register'><remove/></query>";
                let text = own.ask(Ask::Remove, "set", "", query);
                self.excuse(number);
                let remote: Vec<usize> = (0..self.accounts.len())
                    .filter(|other| self.accounts[*other].node != self.accounts[number].node)
                    .collect();
                self.tainted.extend(remote.into_iter().map(|other| pair(number, other)));
                text
            }
            _ => return self.ping(client),
        };
        self.say(client, &text);
    }

    /// Everything comes to rest, and is looked at.
    pub fn settle(&mut self) {
        self.start_all();
        for client in 0..self.clients.len() {
            if self.clients[client].phase == Phase::Ready && !self.clients[client].hung_up {
                self.ping(client);
            }
        }
        self.run_dry();
        // Dials fail after thirty seconds, walks go in steps, servers that were lost are looked for.
        for millis in [15, 31_000, 31_000, 15] {
            self.world.wait(millis);
            self.run_dry();
        }
        if self.fault.is_none() {
            self.judge();
        }
        self.busy.clear();
    }

    fn run_dry(&mut self) {
        let mut rounds = 0;
        while self.fault.is_none() && self.world.step() {
            self.attend();
            rounds += 1;
            if rounds > 100_000 {
                self.fail("the servers never come to rest".to_string());
            }
        }
        self.attend();
    }
}
