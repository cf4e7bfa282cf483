//! DNS messages: a question into bytes, and bytes that claim to be its answer into what they really say.
//!
//! `domain` reads the records and follows compressed names (only backwards, and never further than a name can be long).
//! Here is decided what is believed: only records of the answer section that are about the name asked for, or about what
//! its CNAMEs lead to. Additional records are not looked at.

use std::net::IpAddr;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::record::Ttl;
use domain::base::{Message, MessageBuilder, ParsedName, ParsedRecord};
use domain::rdata::{A, Aaaa, Cname, Soa, Srv};

use super::name::Name;

/// Octets of a header (RFC 1035 §4.1.1).
const HEADER: usize = 12;
/// What we take in one datagram: no network we know of breaks it up (RFC 6891 §6.2.5 leaves the number to us).
const UDP_PAYLOAD: u16 = 1232;
/// Records of one section that are read; a message with more is refused. Each may cost a walk over a compressed name.
const RECORDS_MAX: u16 = 256;
/// CNAMEs followed from one question: a loop ends here.
const CHAIN_MAX: usize = 8;
/// Records kept of one answer.
const KEPT_MAX: usize = 32;

/// What is asked about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services (RFC 2782).
    Srv,
}

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Kind::A => Rtype::A,
            Kind::Aaaa => Rtype::AAAA,
            Kind::Srv => Rtype::SRV,
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// About which name.
    pub name: Name,
    /// What.
    pub kind: Kind,
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Lower ones are tried first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `None` is the root: the service is decidedly not there.
    pub target: Option<Name>,
}

/// What DNS says about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A or AAAA records, at least one.
    Addresses(Vec<IpAddr>),
    /// SRV records, at least one.
    Services(Vec<Service>),
    /// The name has none of this kind.
    NoData,
    /// The name does not exist.
    NoDomain,
}

/// A question as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The whole message.
    pub bytes: Vec<u8>,
    id: u16,
    question: Question,
    /// Its question section as on the wire, whose spelling the answer must repeat.
    section: Vec<u8>,
    spelled: bool,
}

/// What came for a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Not the answer to this question, whoever sent it.
    NotOurs,
    /// The answer, but for the letters' case, which is not as we sent it: forged, or from a resolver that folds it.
    OtherCase,
    /// The answer did not fit.
    Truncated,
    /// The server does not want EDNS (RFC 6891 §7).
    NoEdns,
    /// The server could not or would not say.
    Failed(String),
    /// An answer, and for how many seconds it holds.
    Answer(Outcome, u32),
}

impl Sent {
    /// Writes a question. `dice` decide which letters are capital ones: as many more bits that a forger has to guess.
    /// Without them the answer may spell the name as it likes.
    pub fn new(question: Question, id: u16, dice: Option<&[u8]>, edns: bool) -> Option<Sent> {
        let mut wire = Vec::with_capacity(question.name.as_str().len() + 2);
        let mut bits = dice.unwrap_or_default().iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        for label in question.name.labels() {
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend(label.iter().map(|byte| match bits.next() {
                Some(true) => byte.to_ascii_uppercase(),
                _ => *byte,
            }));
        }
        wire.push(0);
        let name = domain::base::Name::from_octets(wire).ok()?;
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        builder.push((name, question.kind.rtype())).ok()?;
        let section = builder.as_slice().get(HEADER..)?.to_vec();
        let mut builder = builder.additional();
        if edns {
            builder
                .opt(|opt| {
                    opt.set_udp_payload_size(UDP_PAYLOAD);
                    Ok(())
                })
                .ok()?;
        }
        Some(Sent { bytes: builder.finish(), id, question, section, spelled: dice.is_some() })
    }

    /// Reads what may be the answer.
    pub fn read(&self, bytes: &[u8]) -> Reading {
        let Ok(message) = Message::from_octets(bytes) else { return Reading::NotOurs };
        let (header, counts) = (message.header(), message.header_counts());
        if header.id() != self.id || !header.qr() || u8::from(header.opcode()) != 0 {
            return Reading::NotOurs;
        }
        let rcode = header.rcode();
        let answers = matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
        let echo = bytes.get(HEADER..HEADER + self.section.len()).unwrap_or_default();
        // A server that did not understand the question cannot repeat it; it can say that, but nothing else.
        let mute = counts.qdcount() == 0 && !answers;
        if !mute && (counts.qdcount() != 1 || !echo.eq_ignore_ascii_case(&self.section)) {
            return Reading::NotOurs;
        }
        if !mute && self.spelled && echo != self.section {
            return Reading::OtherCase;
        }
        if header.tc() {
            return Reading::Truncated;
        }
        match rcode {
            Rcode::FORMERR | Rcode::NOTIMP => Reading::NoEdns,
            _ if !answers => Reading::Failed(format!("says {rcode}")),
            _ => match self.believe(&message) {
                // A referral: a server of a zone that does not ask others for us.
                Some((Outcome::NoData, None)) if !header.aa() && !header.ra() => {
                    Reading::Failed("is not a resolver".to_owned())
                }
                Some((outcome, ttl)) => Reading::Answer(outcome, ttl.unwrap_or_default()),
                None => Reading::Failed("sent a broken answer".to_owned()),
            },
        }
    }

    /// What the records say about the name; `None` if they make no sense. Without a time to live there was none.
    fn believe(&self, message: &Message<&[u8]>) -> Option<(Outcome, Option<u32>)> {
        let records = records(message)?;
        let mut name = self.question.name.clone();
        let mut ttl = u32::MAX;
        for _ in 0..=CHAIN_MAX {
            let own: Vec<&Record> = records.iter().filter(|record| record.owner == name).collect();
            let wanted = || own.iter().filter(|record| record.data.kind() == Some(self.question.kind));
            ttl = wanted().map(|record| record.ttl).min().unwrap_or(u32::MAX).min(ttl);
            if wanted().next().is_some() {
                let outcome = match self.question.kind {
                    Kind::Srv => Outcome::Services(foremost(wanted().filter_map(|record| record.data.service()))),
                    Kind::A | Kind::Aaaa => {
                        let addresses = wanted().filter_map(|record| record.data.address());
                        Outcome::Addresses(addresses.take(KEPT_MAX).collect())
                    }
                };
                return Some((outcome, Some(ttl)));
            }
            let alias = own.iter().find_map(|record| match &record.data {
                Data::Alias(to) => Some((to, record.ttl)),
                _ => None,
            });
            let Some((to, alias_ttl)) = alias else {
                let outcome = match message.header().rcode() {
                    // RFC 6604 §3: it is about the end of the chain.
                    Rcode::NXDOMAIN => Outcome::NoDomain,
                    _ => Outcome::NoData,
                };
                let nothing = nothing_ttl(message, &name);
                return Some((outcome, nothing.map(|nothing| nothing.min(ttl))));
            };
            ttl = ttl.min(alias_ttl);
            name = to.clone();
        }
        None
    }
}

struct Record {
    owner: Name,
    ttl: u32,
    data: Data,
}

enum Data {
    Address(IpAddr),
    Service(Service),
    Alias(Name),
}

impl Data {
    fn kind(&self) -> Option<Kind> {
        match self {
            Data::Address(IpAddr::V4(_)) => Some(Kind::A),
            Data::Address(IpAddr::V6(_)) => Some(Kind::Aaaa),
            Data::Service(_) => Some(Kind::Srv),
            Data::Alias(_) => None,
        }
    }

    fn address(&self) -> Option<IpAddr> {
        match self {
            Data::Address(address) => Some(*address),
            _ => None,
        }
    }

    fn service(&self) -> Option<&Service> {
        match self {
            Data::Service(service) => Some(service),
            _ => None,
        }
    }
}

/// The services that are tried first, when there are too many.
fn foremost<'a>(services: impl Iterator<Item = &'a Service>) -> Vec<Service> {
    let mut services: Vec<Service> = services.cloned().collect();
    services.sort_by_key(|service| service.priority);
    services.truncate(KEPT_MAX);
    services
}

/// The answer section, as far as it is of use. `None`: it cannot be read.
fn records(message: &Message<&[u8]>) -> Option<Vec<Record>> {
    if message.header_counts().ancount() > RECORDS_MAX {
        return None;
    }
    let mut kept = Vec::new();
    for record in message.answer().ok()? {
        let record = record.ok()?;
        if record.class() != Class::IN {
            continue;
        }
        let Some(owner) = name(&record.owner()) else { continue };
        if let Some(data) = data(&record)? {
            kept.push(Record { owner, ttl: seconds(record.ttl()), data });
        }
    }
    Some(kept)
}

/// The content of a record: `None` if it is broken, `Some(None)` if it is of no use.
fn data(record: &ParsedRecord<'_, &[u8]>) -> Option<Option<Data>> {
    Some(match record.rtype() {
        Rtype::A => {
            let record = record.to_record::<A>().ok()??;
            Some(Data::Address(record.data().addr().into()))
        }
        Rtype::AAAA => {
            let record = record.to_record::<Aaaa>().ok()??;
            Some(Data::Address(record.data().addr().into()))
        }
        Rtype::CNAME => {
            let record = record.to_record::<Cname<_>>().ok()??;
            name(record.data().cname()).map(Data::Alias)
        }
        Rtype::SRV => {
            let record = record.to_record::<Srv<_>>().ok()??;
            let srv = record.data();
            let target = name(srv.target());
            // A target that no host can have is as good as none; the root alone has a meaning.
            (target.is_some() || srv.target().is_root()).then(|| {
                Data::Service(Service { priority: srv.priority(), weight: srv.weight(), port: srv.port(), target })
            })
        }
        _ => None,
    })
}

/// RFC 2308 §5: how long it holds that there is nothing, from the SOA record of the zone; without one, not at all.
fn nothing_ttl(message: &Message<&[u8]>, about: &Name) -> Option<u32> {
    let authority = message.authority().ok()?;
    for record in authority.take(usize::from(RECORDS_MAX)) {
        let record = record.ok()?;
        if record.rtype() != Rtype::SOA || record.class() != Class::IN {
            continue;
        }
        let zone = record.owner();
        if !zone.is_root() && !name(&zone).is_some_and(|zone| about.is_in(zone.as_str())) {
            continue;
        }
        let soa = record.to_record::<Soa<_>>().ok()??;
        return Some(seconds(record.ttl()).min(seconds(soa.data().minimum())));
    }
    None
}

fn name<Octets: AsRef<[u8]>>(name: &ParsedName<Octets>) -> Option<Name> {
    Name::from_labels(name.iter().map(|label| label.as_slice()).filter(|label| !label.is_empty()))
}

/// RFC 2181 §8: a time to live with its highest bit set is none.
fn seconds(ttl: Ttl) -> u32 {
    let seconds = ttl.as_secs();
    if seconds > i32::MAX.unsigned_abs() { 0 } else { seconds }
}
