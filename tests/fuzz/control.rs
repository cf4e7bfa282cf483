//! Lines to the control socket: whatever a client sends, it gets lines of JSON that end, and the server goes on.

use std::sync::Arc;

use jabber::admin::{Argument, COMMANDS, Form, Kind, Peer};
use jabber::config::{Config, Source};
use jabber::server::{ConnectionId, Input, Output, Server, Unfound};
use jabber::store::{Store, account};
use jabber::stream::sasl::{HashResult, Outcome};
use jabber::xmpp::{BareJid, Now};
use serde_json::{Map, Value, json};

use crate::dice::Dice;
use crate::noise::near;

const CONFIG: &str = "<jabber>
    <service id='sessions'><host>localhost</host><jsm xmlns='jabber:config:jsm'><register/></jsm></service>
    <service id='s2s'><dialback xmlns='jabber:config:dialback'/></service>
    <service id='dns'><dnsrv xmlns='jabber:config:dnsrv'/></service>
    <limits xmlns='urn:jabber:config:3'><control-line-bytes-max>65536</control-line-bytes-max></limits>
    <xdb id='xdb'><xdb_file xmlns='jabber:config:xdb_file'><spool>/nowhere</spool></xdb_file></xdb>
  </jabber>";

/// What stands for what an argument is, right and wrong.
const VALUES: &[&str] = &[
    "romeo@localhost",
    "juliet@localhost/home",
    "nobody@localhost",
    "localhost",
    "evil.example",
    "a b@localhost",
    "@",
    "",
    "\u{1F600}@\u{DF}.example",
    "default",
    "debug",
    "open",
    "1",
    "0",
];

/// Lines that no jabberctl says.
const STRANGE: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    "{\"command\":7}",
    "{\"command\":\"status\",\"command\":\"blocks\"}",
    "{\"command\":\"status\",\"arguments\":[]}",
    "{\"command\":\"status\",\"arguments\":{\"\":\"\"}}",
    "{\"command\":\"user add\",\"arguments\":{\"account\":\"a@localhost\"},\"secret\":7}",
    "{\"command\":\"user add\",\"arguments\":{\"account\":\"a@localhost\"},\"secret\":\"\\u0000\"}",
    "{\"command\":\"\\ud800\"}",
    "{\"command\":\"status\"}{\"command\":\"status\"}",
    "{\"data\":\"AAAA\"}",
    "{\"end\":true}",
    "{\"command\":\"check\"}",
    "{\"command\":\"backup\",\"arguments\":{\"file\":\"/etc/passwd\"}}",
];

/// A server in memory with one client of its control socket, and one that is honest.
struct Desk {
    server: Server,
    now: Now,
    clients: [Client; 2],
    next: u64,
    dice: Dice,
}

struct Client {
    id: ConnectionId,
    heard: Vec<u8>,
    is_over: bool,
}

impl Desk {
    fn new(dice: &mut Dice) -> Desk {
        let config = Arc::new(Config::from_xml(CONFIG, &Source::new("jabber.xml")).unwrap());
        let now = Now { unix_millis: 1_767_323_045_000, monotonic_millis: 1_000_000 };
        let mut store = Store::in_memory().unwrap();
        for name in ["romeo@localhost", "juliet@localhost"] {
            account::create(&mut store, &BareJid::new(name).unwrap(), &crate::login::credentials("secret"), 0).unwrap();
        }
        store.commit().unwrap();
        let server = Server::new(config, store, Box::new(Dice::new(dice.next())), now).unwrap();
        let gone = || Client { id: ConnectionId(0), heard: Vec::new(), is_over: true };
        Desk { server, now, clients: [gone(), gone()], next: 0, dice: Dice::new(dice.next()) }
    }

    /// Says something as one of the two, on a new connection if the last one is over.
    fn say(&mut self, who: usize, bytes: &[u8]) {
        if self.clients[who].is_over {
            self.next += 1;
            let id = ConnectionId(self.next);
            self.clients[who] = Client { id, heard: Vec::new(), is_over: false };
            let peer = Peer { uid: 0, gid: 0, pid: 1 };
            self.server.handle(self.now, Input::Control { id, peer });
        }
        let id = self.clients[who].id;
        for piece in bytes.chunks(1 + self.dice.below(bytes.len().max(1))) {
            self.server.handle(self.now, Input::Bytes { id, bytes: piece });
            self.turn();
        }
    }

    /// Until nothing is under way.
    fn turn(&mut self) {
        for _ in 0..10_000 {
            self.server.commit().unwrap();
            let outputs = self.server.take_outputs();
            if outputs.is_empty() {
                if let Some(fault) = crate::panics::taken() {
                    panic!("in the server: {fault}");
                }
                return;
            }
            for output in outputs {
                self.output(output);
            }
        }
        panic!("the server never comes to rest");
    }

    fn output(&mut self, output: Output) {
        let now = self.now;
        match output {
            Output::Bytes { id, bytes } => {
                if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
                    client.heard.extend(bytes);
                    self.server.handle(now, Input::Drained { id });
                }
            }
            Output::Close { id } => {
                if let Some(client) = self.clients.iter_mut().find(|client| client.id == id && !client.is_over) {
                    client.is_over = true;
                    self.server.handle(now, Input::Gone { id, reason: "closed" });
                }
            }
            Output::Hash(job) => {
                let derived = Outcome::Derived(crate::login::credentials("other"));
                let outcome = if self.dice.chance(10) { Outcome::Busy } else { derived };
                self.server.handle(now, Input::Hashed(HashResult { token: job.token(), outcome }));
            }
            Output::Find { ticket, .. } => {
                let result = Err(Unfound { why: "there is no such domain".to_owned(), is_temporary: false });
                self.server.handle(now, Input::Found { ticket, result });
            }
            Output::Connect { id, .. } => self.server.handle(now, Input::Gone { id, reason: "refused" }),
            Output::Outside { id, .. } => self.server.handle(now, Input::Told { id, told: jabber::admin::Told::Done }),
            _ => {}
        }
    }

    /// The lines of what one of them has heard: each is JSON that the protocol knows. How many of them are ends.
    fn ends(&mut self, who: usize) -> usize {
        let heard = std::mem::take(&mut self.clients[who].heard);
        let text = String::from_utf8(heard).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "half a line: {text}");
        let mut ends = 0;
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let (key, value) = value.as_object().unwrap().iter().next().unwrap();
            match key.as_str() {
                "done" => ends += 1,
                "error" => {
                    ends += 1;
                    let kind = value["kind"].as_str().unwrap();
                    assert!(["usage", "not-found", "conflict", "refused", "busy", "failed"].contains(&kind), "{line}");
                    assert!(!value["text"].as_str().unwrap().is_empty(), "{line}");
                }
                "row" | "note" | "progress" | "data" | "want" => {}
                _ => panic!("no such line: {line}"),
            }
        }
        ends
    }
}

/// A request of this command, as jabberctl would send it, with arguments of all sorts.
fn request(dice: &mut Dice) -> String {
    let command = *dice.pick(COMMANDS);
    let mut arguments = Map::new();
    for argument in command.arguments {
        if argument.form == Form::Needed || dice.chance(30) {
            arguments.insert(argument.name.to_owned(), value(dice, argument));
        }
    }
    let mut request = json!({ "command": command.name, "arguments": arguments });
    if command.secret.is_some() {
        request["secret"] = json!(*dice.pick(&["secret", "pencil", ""]));
    }
    request.to_string()
}

fn value(dice: &mut Dice, argument: &Argument) -> Value {
    match (argument.form, argument.kind) {
        (Form::Flag, _) => json!(dice.chance(90)),
        (_, Kind::Number) => json!(dice.below(3_000)),
        (_, Kind::Word(words)) => json!(*dice.pick(words)),
        (_, Kind::Account) if dice.chance(50) => json!("romeo@localhost"),
        (_, Kind::Host) if dice.chance(50) => json!("localhost"),
        _ => json!(*dice.pick(VALUES)),
    }
}

/// Only this command waits for something that does not come at once.
fn pings(input: &[u8]) -> bool {
    input.windows(6).any(|six| six == b"\"ping\"")
}

/// Requests, whole and spoiled, many at once and in pieces.
pub fn control(dice: &mut Dice) -> impl FnMut(&mut Dice, &mut Vec<u8>) + use<> {
    let mut desk = Desk::new(dice);
    let strange: Vec<String> = STRANGE.iter().map(|line| (*line).to_owned()).collect();
    let mut owed = 0;
    move |dice, input| {
        input.clear();
        if desk.clients[0].is_over {
            owed = 0;
        }
        for _ in 0..=dice.below(3) {
            let mut line = match dice.below(10) {
                0 | 1 => near(dice, &strange),
                2 => vec![*dice.pick(b"x[{\"\\"); 70_000],
                3..=5 => {
                    let sensible = [request(dice)];
                    near(dice, &sensible)
                }
                _ => request(dice).into_bytes(),
            };
            line.retain(|byte| *byte != b'\n');
            input.extend_from_slice(&line);
            input.push(b'\n');
            owed += 1;
        }
        desk.say(0, input);
        if dice.chance(5) {
            // A job may wait for its time, and a client may be given up.
            desk.now.monotonic_millis += 61_000;
            desk.now.unix_millis += 61_000;
            desk.server.handle(desk.now, Input::Timeout);
            desk.turn();
        }
        let is_over = desk.clients[0].is_over;
        let ends = desk.ends(0);
        // Who is sent away is told why.
        assert!(ends <= owed + usize::from(is_over), "{ends} ends of {owed} requests");
        // One that is too long ends the talk, and what is behind one that waits waits with it.
        assert!(ends > 0 || is_over || owed > 0 && pings(input), "no answer");
        owed -= ends.min(owed);
        desk.say(1, b"{\"command\":\"status\"}\n");
        assert_eq!(desk.ends(1), 1, "the other client has no answer");
        if dice.chance(10) && !desk.clients[0].is_over {
            let id = desk.clients[0].id;
            desk.clients[0].is_over = true;
            desk.server.handle(desk.now, Input::Gone { id, reason: "left" });
            desk.turn();
        }
    }
}
