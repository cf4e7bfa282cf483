//! The whole server: bytes of clients, of other servers, and of servers that it called itself.
//!
//! Two hosts on two federated servers, and a third domain that is the noise's own. Two honest clients watch: what they
//! get must be XML and meant for them, and they must be served whatever the others say.

use std::collections::BTreeMap;

use jabber::store::account;
use jabber::xml::Element;
use jabber::xml::reader::{Event, Reader};
use jabber::xmpp::BareJid;

use crate::dice::Dice;
use crate::noise::{near, spoil, spoken};
use crate::world::{News, WIDE, World};

const EVIL: &str = "evil.example";
const CLIENT: &str =
    "<stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
/// Connections that servers open to the noise get numbers from here.
const CALLED: usize = 1 << 40;

/// What was heard on one connection.
struct Ear {
    reader: Reader,
    elements: Vec<Element>,
    heard: String,
    is_over: bool,
}

struct Stage {
    world: World,
    ears: BTreeMap<usize, Ear>,
    next: usize,
    honest: [usize; 2],
    pings: u64,
}

impl Stage {
    fn new(dice: &mut Dice) -> Stage {
        let mut world = World::new(dice.next());
        world.add_node(&["localhost"], "", true, None);
        world.add_node(&["capulet.com"], "", true, None);
        world.outside = Some((EVIL.to_string(), CALLED));
        for (node, name) in
            [(0, "romeo@localhost"), (0, "juliet@localhost"), (0, "noise@localhost"), (1, "nurse@capulet.com")]
        {
            let store = world.nodes[node].server.as_mut().unwrap().store_mut();
            account::create(store, &BareJid::new(name).unwrap(), &crate::login::credentials("secret"), 0).unwrap();
        }
        let mut stage = Stage { world, ears: BTreeMap::new(), next: 0, honest: [0; 2], pings: 0 };
        stage.honest = [stage.login(0, "juliet@localhost/home"), stage.login(1, "nurse@capulet.com/home")];
        for honest in stage.honest {
            stage.say(honest, b"<presence/>");
        }
        stage.run();
        stage
    }

    fn connect(&mut self, node: usize, as_server: bool) -> usize {
        let client = self.next;
        self.next += 1;
        assert!(self.world.connect(client, node, as_server));
        client
    }

    /// A client that logs in as it should.
    fn login(&mut self, node: usize, jid: &str) -> usize {
        let client = self.connect(node, false);
        let (name, rest) = jid.split_once('@').unwrap();
        let (host, resource) = rest.split_once('/').unwrap();
        let query = format!(
            "<iq type='set' id='auth'><query xmlns='jabber:iq:auth'><username>{name}</username><password>secret</password>\
             <resource>{resource}</resource></query></iq>"
        );
        self.say(client, CLIENT.replace("localhost", host).as_bytes());
        self.say(client, query.as_bytes());
        self.run();
        client
    }

    fn say(&mut self, client: usize, bytes: &[u8]) {
        self.world.say(client, bytes);
    }

    /// Until nothing is under way.
    fn run(&mut self) {
        let mut rounds = 0;
        while self.world.step() {
            self.hear();
            rounds += 1;
            assert!(rounds < 50_000, "the servers never come to rest");
        }
        self.hear();
    }

    fn hear(&mut self) {
        while let Some(news) = self.world.news.pop_front() {
            match news {
                News::Heard(client, bytes) => self.ear(client).hear(&bytes),
                News::Secured(client) => self.ear(client).reader = Reader::new(WIDE),
                News::Ended(client) => self.ear(client).is_over = true,
                News::Forgotten(_) | News::Broke(_) | News::Lost { .. } => {}
            }
        }
        if let Some(fault) = self.world.fault.take() {
            panic!("{fault}");
        }
        if let Some(fault) = crate::panics::taken() {
            panic!("in a server: {fault}");
        }
    }

    fn ear(&mut self, client: usize) -> &mut Ear {
        self.ears.entry(client).or_insert_with(|| Ear {
            reader: Reader::new(WIDE),
            elements: Vec::new(),
            heard: String::new(),
            is_over: false,
        })
    }

    /// The honest ones are there still, and answered.
    fn check_honest(&mut self) {
        self.pings += 1;
        let ping = format!("<iq type='get' id='alive{}'><ping xmlns='urn:xmpp:ping'/></iq>", self.pings);
        for honest in self.honest {
            self.say(honest, ping.as_bytes());
        }
        self.run();
        for (honest, jid) in self.honest.into_iter().zip(["juliet@localhost", "nurse@capulet.com"]) {
            let id = format!("alive{}", self.pings);
            let ear = self.ears.get_mut(&honest).unwrap();
            assert!(!ear.is_over, "an honest client was cut off: {}", ear.heard);
            let mut is_answered = false;
            for element in ear.elements.drain(..) {
                is_answered |= element.attribute("id") == Some(&id);
                let to = element.attribute("to").unwrap_or(jid);
                assert!(to.starts_with(jid), "{jid} got what is for another: {element}");
            }
            assert!(is_answered, "{jid} is not answered");
            ear.heard.clear();
        }
    }

    fn is_over(&mut self, client: usize) -> bool {
        self.ear(client).is_over
    }
}

impl Ear {
    fn hear(&mut self, bytes: &[u8]) {
        self.heard.push_str(&String::from_utf8_lossy(bytes));
        self.reader.push(bytes);
        loop {
            match self.reader.next() {
                Ok(None) => return,
                Ok(Some(Event::Element(element))) => {
                    if matches!(element.name(), "success" | "proceed") {
                        self.reader.restart();
                    }
                    self.elements.push(element);
                }
                Ok(Some(_)) => {}
                Err(error) => panic!("the server says what is not XML ({error:?}): {}", self.heard),
            }
        }
    }
}

/// Bytes of a client, a stranger or one that is logged in.
pub fn server(dice: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    let mut stage = Stage::new(dice);
    let corpus = spoken();
    let mut client = None;
    let mut rounds = 0;
    move |dice, input| {
        rounds += 1;
        if rounds % 400 == 0 {
            // Accounts go, stores fill: a new beginning now and then.
            (stage, client) = (Stage::new(dice), None);
        }
        let speaker = match client.filter(|client| !stage.is_over(*client)) {
            Some(speaker) => speaker,
            None if dice.chance(30) => {
                let stranger = stage.connect(0, false);
                stage.say(stranger, CLIENT.replace("' xmlns='", "' version='1.0' xmlns='").as_bytes());
                stranger
            }
            None => stage.login(0, if dice.chance(50) { "noise@localhost/home" } else { "romeo@localhost/home" }),
        };
        client = Some(speaker);
        input.clear();
        for _ in 0..=dice.below(3) {
            input.extend(near(dice, &corpus));
        }
        stage.say(speaker, input);
        stage.run();
        if dice.chance(10) {
            stage.world.wait(*dice.pick(&[1, 1_000, 31_000, 130_000]));
            stage.run();
        }
        if dice.chance(10) {
            stage.world.hang_up(speaker, dice.chance(50));
            stage.run();
            client = None;
        }
        for node in 0..2 {
            stage.world.check_connections(node);
        }
        stage.check_honest();
    }
}

/// What a server may say on a stream to us, or on one that we opened.
fn said_by_servers() -> Vec<String> {
    let stanzas = [
        "<message from='x@evil.example/r' to='juliet@localhost' type='chat' id='1'><body>hello</body></message>",
        "<message from='x@evil.example' to='nobody@localhost' id='2'><body>hello</body></message>",
        "<message from='juliet@localhost' to='romeo@localhost' id='3'><body>forged</body></message>",
        "<message from='nurse@capulet.com/home' to='juliet@localhost' id='4'><body>forged</body></message>",
        "<presence from='x@evil.example' to='juliet@localhost' type='subscribe'/>",
        "<presence from='x@evil.example/r' to='juliet@localhost'/>",
        "<presence from='x@evil.example' to='juliet@localhost' type='probe'/>",
        "<presence from='evil.example' to='localhost' type='unavailable'/>",
        "<iq from='x@evil.example/r' to='juliet@localhost' type='get' id='5'><vCard xmlns='vcard-temp'/></iq>",
        "<iq from='x@evil.example/r' to='localhost' type='get' id='6'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
        "<iq from='evil.example' to='juliet@localhost/home' type='set' id='7'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>",
        "<iq from='x@evil.example' to='juliet@localhost/home' type='result' id='8'/>",
        "<iq from='x@evil.example' to='localhost' type='error' id='9'><error type='cancel'/></iq>",
        "<message from='x@evil.example' to='juliet@localhost' type='error' id='e'><error type='cancel'/></message>",
    ];
    let streams = [
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
         from='evil.example' to='localhost' version='1.0' id='s1'>",
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' id='s2'>",
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>",
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>\
         <bidi xmlns='urn:xmpp:features:bidi'/><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>",
        "<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>",
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>ZXZpbC5leGFtcGxl</auth>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
        "<bidi xmlns='urn:xmpp:bidi'/>",
        "<enable xmlns='urn:xmpp:sm:3'/>",
        "<enabled xmlns='urn:xmpp:sm:3'/>",
        "<r xmlns='urn:xmpp:sm:3'/>",
        "<a xmlns='urn:xmpp:sm:3' h='1'/>",
        "<db:result from='evil.example' to='localhost'>0123456789abcdef</db:result>",
        "<db:result from='evil.example' to='localhost' type='valid'/>",
        "<db:result from='evil.example' to='localhost' type='invalid'/>",
        "<db:result from='evil.example' to='localhost' type='error'><error type='cancel'><item-not-found \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>",
        "<db:result from='capulet.com' to='localhost'>0123456789abcdef</db:result>",
        "<db:verify from='evil.example' to='localhost' id='s1'>0123456789abcdef</db:verify>",
        "<db:verify from='evil.example' to='localhost' id='s1' type='valid'/>",
        "<db:verify from='evil.example' to='localhost' id='s1' type='error'/>",
        "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        "</stream:stream>",
    ];
    stanzas.into_iter().chain(streams).map(str::to_string).collect()
}

/// Bytes of servers: on streams to us, and on those that our own stanzas open.
pub fn s2s(dice: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    let mut stage = Stage::new(dice);
    let corpus = said_by_servers();
    let header = corpus[14].clone();
    let mut caller = None;
    let mut rounds = 0;
    move |dice, input| {
        rounds += 1;
        if rounds % 400 == 0 {
            (stage, caller) = (Stage::new(dice), None);
        }
        input.clear();
        if dice.chance(15) {
            // Somebody of ours wants to reach the noise: our servers call.
            let to = *dice.pick(&["x@evil.example", "evil.example", "y@evil.example/r"]);
            stage.say(stage.honest[0], format!("<presence to='{to}' type='subscribe'/>").as_bytes());
            stage.run();
        }
        let called = CALLED..stage.world.outside.as_ref().unwrap().1;
        let answering: Vec<usize> = called.rev().take(3).filter(|client| !stage.is_over(*client)).collect();
        let speaker = if !answering.is_empty() && dice.chance(50) {
            *dice.pick(&answering)
        } else {
            let open = caller.filter(|caller| !stage.is_over(*caller) && dice.chance(90));
            let speaker = open.unwrap_or_else(|| {
                let speaker = stage.connect(0, true);
                stage.say(speaker, header.as_bytes());
                stage.run();
                speaker
            });
            caller = Some(speaker);
            speaker
        };
        let sensible = script(dice, &mut stage, speaker, &header);
        input.extend_from_slice(sensible.as_bytes());
        for _ in 0..=dice.below(3) {
            input.extend(if dice.chance(60) { dice.pick(&corpus).clone().into_bytes() } else { near(dice, &corpus) });
        }
        if dice.chance(10) {
            spoil(dice, input);
        }
        stage.say(speaker, input);
        stage.run();
        if dice.chance(8) {
            stage.world.wait(*dice.pick(&[1, 1_000, 31_000, 400_000]));
            stage.run();
        }
        for node in 0..2 {
            stage.world.check_connections(node);
        }
        stage.check_honest();
    }
}

/// What a server that wants to get somewhere would say next; TLS, where it was agreed on.
fn script(dice: &mut Dice, stage: &mut Stage, speaker: usize, header: &str) -> String {
    let ear = stage.ear(speaker);
    let last = ear.elements.last().map(|element| element.name().to_string()).unwrap_or_default();
    ear.elements.clear();
    if dice.chance(25) {
        return String::new();
    }
    match last.as_str() {
        "features" if ear.heard.contains("EXTERNAL") => {
            "<bidi xmlns='urn:xmpp:bidi'/><auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"
                .to_string()
        }
        "features" => "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_string(),
        "proceed" => {
            ear.reader = Reader::new(WIDE);
            stage.world.secure(speaker, EVIL);
            header.to_string()
        }
        "success" => header.to_string(),
        // We were called: the answers of a friendly server, to get far into the stream.
        "starttls" => "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_string(),
        "auth" => {
            stage.ear(speaker).reader.restart();
            format!(
                "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>{header}<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>"
            )
        }
        "result" => {
            "<db:result from='evil.example' to='localhost' type='valid' xmlns:db='jabber:server:dialback'/>".to_string()
        }
        _ if speaker >= CALLED => format!("{header}{}", dice.pick(&said_by_servers()[16..18])),
        _ => String::new(),
    }
}
