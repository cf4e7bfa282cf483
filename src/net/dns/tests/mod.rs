//! Packets built by hand, a scripted DNS, and dice that repeat.

mod find;
mod lookups;
mod message;
mod mutations;
mod sockets;

use super::message::{Kind, Question};
use super::name::Name;
use crate::xmpp::{Now, Random};

/// Dice that repeat.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }
}

impl Random for Dice {
    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

pub fn at(millis: u64) -> Now {
    Now { unix_millis: 1_700_000_000_000 + millis, monotonic_millis: millis }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn question(text: &str, kind: Kind) -> Question {
    Question { name: name(text), kind }
}

/// A name on the wire, not compressed.
pub fn wire_name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A record of an answer.
#[derive(Clone)]
pub struct Rr {
    pub owner: Vec<u8>,
    pub rtype: u16,
    pub ttl: u32,
    pub data: Vec<u8>,
}

impl Rr {
    fn new(owner: &str, rtype: u16, ttl: u32, data: Vec<u8>) -> Rr {
        Rr { owner: wire_name(owner), rtype, ttl, data }
    }

    pub fn a(owner: &str, ttl: u32, address: &str) -> Rr {
        match address.parse().unwrap() {
            std::net::IpAddr::V4(four) => Rr::new(owner, 1, ttl, four.octets().to_vec()),
            std::net::IpAddr::V6(six) => Rr::new(owner, 28, ttl, six.octets().to_vec()),
        }
    }

    pub fn cname(owner: &str, ttl: u32, to: &str) -> Rr {
        Rr::new(owner, 5, ttl, wire_name(to))
    }

    pub fn srv(owner: &str, ttl: u32, priority: u16, weight: u16, port: u16, target: &str) -> Rr {
        let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|number| number.to_be_bytes()).collect();
        data.extend(wire_name(target));
        Rr::new(owner, 33, ttl, data)
    }

    pub fn soa(owner: &str, ttl: u32, minimum: u32) -> Rr {
        let mut data = wire_name("ns.example");
        data.extend(wire_name("admin.example"));
        data.extend([1, 2, 3, 4, minimum].iter().flat_map(|number| number.to_be_bytes()));
        Rr::new(owner, 6, ttl, data)
    }
}

/// An answer as a server would give it; every part can be spoiled.
#[derive(Clone)]
pub struct Answer {
    pub id: u16,
    pub flags: u16,
    pub question: Vec<u8>,
    pub questions: u16,
    pub answers: Vec<Rr>,
    pub authority: Vec<Rr>,
    pub additional: Vec<Rr>,
}

pub const NXDOMAIN: u16 = 3;
pub const TC: u16 = 0x0200;

impl Answer {
    /// The answer to a query: QR, RD and RA set, the question repeated.
    pub fn to(query: &[u8]) -> Answer {
        let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
        Answer {
            id: u16::from_be_bytes([query[0], query[1]]),
            flags: 0x8180,
            question: query[12..end].to_vec(),
            questions: 1,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
        }
    }

    pub fn with(mut self, answers: &[Rr]) -> Answer {
        self.answers.extend(answers.iter().cloned());
        self
    }

    pub fn nothing(mut self, rcode: u16, soa: &[Rr]) -> Answer {
        self.flags |= rcode;
        self.authority.extend(soa.iter().cloned());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let counts =
            [self.questions, self.answers.len() as u16, self.authority.len() as u16, self.additional.len() as u16];
        let mut bytes: Vec<u8> = [self.id, self.flags].iter().chain(&counts).flat_map(|n| n.to_be_bytes()).collect();
        bytes.extend(&self.question);
        for rr in self.answers.iter().chain(&self.authority).chain(&self.additional) {
            bytes.extend(&rr.owner);
            bytes.extend(rr.rtype.to_be_bytes());
            bytes.extend(1u16.to_be_bytes());
            bytes.extend(rr.ttl.to_be_bytes());
            bytes.extend((rr.data.len() as u16).to_be_bytes());
            bytes.extend(&rr.data);
        }
        bytes
    }
}

/// What a query asks.
pub fn asked(query: &[u8]) -> Question {
    let mut labels = Vec::new();
    let mut rest = &query[12..];
    while rest[0] != 0 {
        let (label, after) = rest[1..].split_at(usize::from(rest[0]));
        labels.push(label);
        rest = after;
    }
    let kind = match rest[2] {
        1 => Kind::A,
        28 => Kind::Aaaa,
        33 => Kind::Srv,
        other => panic!("type {other}"),
    };
    Question { name: Name::from_labels(labels.into_iter()).unwrap(), kind }
}
