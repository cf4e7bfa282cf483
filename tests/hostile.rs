//! Streams that mean harm or are broken, each fed into the whole server in memory: the stream error that it must get, and
//! the memory that it may cost. Each runs in chunks as a socket gives them, byte by byte, and in odd pieces.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    dead_code,
    reason = "a test may fail loudly, and uses a part of the talks' runner"
)]

#[path = "hostile/memory.rs"]
mod counting;
#[path = "talks/runner/mod.rs"]
mod runner;
#[path = "hostile/table.rs"]
mod table;

use jabber::xml::reader::{Event, Reader};
use runner::memory::Memory;
use runner::talk::Setup;
use runner::wire::{Got, Link, Port, Wire};
use runner::{login, pattern};
use table::{Expect, ROWS, Row, Stage};

#[global_allocator]
static COUNTING: counting::Counting = counting::Counting;

const HEADER: &str = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
const PING: &str = "<iq type='get' id='alive?'><ping xmlns='urn:xmpp:ping'/></iq>";
/// What a socket gives at once.
const CHUNK: usize = 65_536;
/// More is not fed byte by byte.
const SMALL: usize = 300_000;

#[test]
fn hostile_streams_get_their_errors_and_little_memory() {
    let mut faults = Vec::new();
    let mut most = [0; 2];
    for row in ROWS {
        let size = row.size();
        for split in [CHUNK, 1, 7, 1_021] {
            if split < 1_000 && size > SMALL {
                continue;
            }
            let (outcome, cost) = run(row, split);
            let class = usize::from(row.stage == Stage::Bound);
            most[class] = cost.max(most[class]);
            if let Err(fault) = outcome {
                faults.push(format!("{} (in pieces of {split}): {fault}", row.name));
                break;
            }
            if cost > row.kib_max() * 1024 {
                faults.push(format!("{} (in pieces of {split}): costs {} KiB", row.name, cost / 1024));
                break;
            }
        }
    }
    println!("{} streams; strangers cost {} KiB at most, clients {} KiB", ROWS.len(), most[0] / 1024, most[1] / 1024);
    assert!(ROWS.len() >= 60);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Feeds a stream, and tells the most memory it held at a time.
fn run(row: &Row, split: usize) -> (Result<(), String>, usize) {
    let setup = Setup { accounts: vec![("romeo@localhost".to_string(), "secret".to_string())], ..Setup::default() };
    let mut memory = Memory::new(&setup).unwrap();
    let link = prepared(&mut memory, row.stage);
    let mut heard = Heard::new(row.stage);
    heard.take(&mut memory, link);
    let gauge = counting::Gauge::start();
    for piece in row.pieces() {
        for bytes in piece.chunks(split) {
            memory.send(link, bytes);
            // A client that does not listen would cost its own bound, not what is measured here.
            heard.take(&mut memory, link);
        }
        if heard.is_over {
            break;
        }
    }
    let cost = gauge.most();
    memory.wait(1).unwrap();
    heard.take(&mut memory, link);
    if matches!(row.expect, Expect::Open) {
        memory.send(link, PING.as_bytes());
        heard.take(&mut memory, link);
    }
    let outcome = heard.judge(row.expect).and_then(|()| match (row.expect, memory.open_connections()) {
        (Expect::Open, 1) | (Expect::Error(_) | Expect::End, 0) => Ok(()),
        (_, count) => Err(format!("{count} connections are left")),
    });
    (outcome, cost)
}

/// A connection as far as the stage wants it.
fn prepared(memory: &mut Memory, stage: Stage) -> Link {
    let link = memory.connect(Port::StartTls, None).unwrap_or_else(|_| panic!("not accepted"));
    if stage == Stage::Prolog {
        return link;
    }
    let mut say = |text: &str| memory.send(link, text.as_bytes());
    say(HEADER);
    say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    memory.secure(link, true).unwrap_or_else(|_| panic!("no TLS"));
    let mut say = |text: &str| memory.send(link, text.as_bytes());
    say(HEADER);
    if stage == Stage::Bound {
        let plain = login::base64("\\0romeo\\0secret").unwrap();
        say(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
        say(HEADER);
        let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>home</resource></bind>";
        say(&format!("<iq type='set' id='b'>{bind}</iq>"));
    }
    link
}

/// What the client heard.
struct Heard {
    reader: Reader,
    error: Option<String>,
    alive: bool,
    ended: bool,
    is_over: bool,
    fault: Option<String>,
}

impl Heard {
    fn new(_: Stage) -> Heard {
        let reader = Reader::new(pattern::no_limits());
        Heard { reader, error: None, alive: false, ended: false, is_over: false, fault: None }
    }

    fn take(&mut self, memory: &mut Memory, link: Link) {
        loop {
            match memory.hear(link, false) {
                Got::Bytes(bytes) => self.reader.push(&bytes),
                Got::Nothing => return,
                Got::Closed => {
                    self.is_over = true;
                    return;
                }
            }
            loop {
                match self.reader.next() {
                    Ok(None) => break,
                    Ok(Some(Event::Closed)) => self.ended = true,
                    Ok(Some(Event::Element(element))) => {
                        if matches!(element.name(), "success" | "proceed") {
                            self.reader.restart();
                        }
                        self.alive |= element.attribute("id") == Some("alive?");
                        if element.is("error", "http://etherx.jabber.org/streams") {
                            self.error = element.first_child().map(|child| child.name().to_string());
                        }
                    }
                    Ok(Some(_)) => {}
                    Err(error) => {
                        self.fault = Some(format!("the server itself said what is not XML: {error:?}"));
                        return;
                    }
                }
            }
        }
    }

    fn judge(&self, expect: Expect) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        match (expect, &self.error) {
            (Expect::Error(wanted), Some(error)) if wanted == error && self.ended && self.is_over => Ok(()),
            (Expect::End, None) if self.ended && self.is_over => Ok(()),
            (Expect::Open, None) if self.alive && !self.is_over => Ok(()),
            (_, error) => Err(format!(
                "the error is {error:?}, the stream {}, the connection {}",
                if self.ended { "ended" } else { "goes on" },
                if self.is_over { "closed" } else { "open" }
            )),
        }
    }
}
