//! From a domain to the places where its XMPP server may be reached: RFC 6120 §3.2 with XEP-0368.
//!
//! | state | a verdict came | next |
//! |---|---|---|
//! | `ExpectServices` | records with targets | `ExpectAddresses` of the targets |
//! | | only records that say "not here" | end: an error that says so |
//! | | nothing | the next group of services, in the end `ExpectAddresses` of the domain |
//! | | failures | `ExpectAddresses` of the domain (RFC 6120 §3.2.1, rule 8) |
//! | `ExpectAddresses` | addresses | end: the candidates |
//! | | none | end: an error that says why |

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::Bounds;
use super::found::{Candidate, FindError};
use super::lookups::{Action, Failure, Lookups, Verdict};
use super::message::{Kind, Outcome, Question, Service};
use super::name::Name;
use super::order::order;
use super::settings::Settings;
use crate::xmpp::{Now, Random};

/// Services looked for when none are configured. The third is that of RFC 3920 and before.
pub const SERVICES: &[&str] = &["_xmpps-server._tcp", "_xmpp-server._tcp", "_jabber._tcp", ""];
/// RFC 6120 §14.7: the port without SRV.
const PORT: u16 = 5269;
/// Places to try; a domain that names more hides in a crowd.
const CANDIDATES_MAX: usize = 16;
/// Addresses of one place.
const ADDRESSES_MAX: usize = 8;
/// Services of one domain.
const SERVICES_MAX: usize = 8;

/// The resolver: domains in, candidates out. Handed bytes, time and dice; its sockets are outside.
#[derive(Debug)]
pub struct Resolver {
    bounds: Bounds,
    lookups: Lookups,
    finds: HashMap<u64, Find>,
    waiting: HashMap<Question, Vec<u64>>,
    found: Vec<(u64, Result<Vec<Candidate>, FindError>)>,
}

#[derive(Debug)]
struct Find {
    name: Name,
    /// Services of one group stand in one list; a later group is asked when the earlier ones have nothing.
    groups: VecDeque<Vec<String>>,
    /// The domain's own addresses are the last resort.
    plain: bool,
    /// Why services could not be asked for.
    failure: Option<Failure>,
    state: State,
    answers: HashMap<Question, Option<Verdict>>,
    grace_millis: Option<u64>,
}

#[derive(Debug)]
enum State {
    ExpectServices(Vec<(bool, Question)>),
    ExpectAddresses(Vec<Place>, FromSrv),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FromSrv {
    Yes,
    No,
}

#[derive(Debug)]
struct Place {
    direct_tls: bool,
    name: Name,
    port: u16,
}

impl Find {
    fn new(name: Name, services: &[String]) -> Find {
        let default: Vec<String> = SERVICES.iter().map(ToString::to_string).collect();
        let services = if services.is_empty() { &default } else { services };
        let mut groups: VecDeque<Vec<String>> = VecDeque::new();
        let (mut xmpp, mut plain) = (None, false);
        for service in services.iter().take(SERVICES_MAX) {
            // XEP-0368 §3: these two are one list.
            let is_xmpp = service.starts_with("_xmpp-") || service.starts_with("_xmpps-");
            match xmpp.and_then(|place: usize| groups.get_mut(place)) {
                _ if service.is_empty() => plain = true,
                Some(group) if is_xmpp => group.push(service.clone()),
                _ => {
                    xmpp = xmpp.or(is_xmpp.then_some(groups.len()));
                    groups.push_back(vec![service.clone()]);
                }
            }
        }
        let state = State::ExpectServices(Vec::new());
        Find { name, groups, plain, failure: None, state, answers: HashMap::new(), grace_millis: None }
    }

    fn answer(&self, question: &Question) -> Option<&Verdict> {
        self.answers.get(question).and_then(Option::as_ref)
    }

    fn is_waiting(&self) -> bool {
        self.answers.values().any(Option::is_none)
    }

    fn first_failure(&self) -> Option<Failure> {
        self.answers.values().flatten().find_map(|verdict| verdict.as_ref().err().cloned())
    }

    fn addresses(&self, name: &Name) -> Vec<IpAddr> {
        let of_kind = |kind| match self.answer(&Question { name: name.clone(), kind }) {
            Some(Ok(Outcome::Addresses(addresses))) => addresses.clone(),
            _ => Vec::new(),
        };
        interleave(of_kind(Kind::Aaaa), of_kind(Kind::A))
    }
}

/// RFC 8305 §4: the families take turns. Addresses that no server has are left out: to the system, the unspecified one
/// means ourselves.
fn interleave(six: Vec<IpAddr>, four: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut all: Vec<IpAddr> = Vec::new();
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            break;
        }
        for address in pair.into_iter().flatten().map(|address| address.to_canonical()) {
            let broadcast = matches!(address, IpAddr::V4(four) if four.is_broadcast());
            if !address.is_unspecified() && !address.is_multicast() && !broadcast && !all.contains(&address) {
                all.push(address);
            }
        }
    }
    all.truncate(ADDRESSES_MAX);
    all
}

/// The address that a domain is, if it is one (RFC 7622 §3.2.1: IPv6 stands in brackets).
fn literal(domain: &str) -> Option<IpAddr> {
    let bare = domain.strip_prefix('[').and_then(|domain| domain.strip_suffix(']'));
    bare.unwrap_or(domain).parse().ok()
}

impl Resolver {
    /// One that knows nothing yet.
    pub fn new(settings: Settings, bounds: Bounds) -> Resolver {
        Resolver {
            bounds,
            lookups: Lookups::new(settings, bounds),
            finds: HashMap::new(),
            waiting: HashMap::new(),
            found: Vec::new(),
        }
    }

    /// The files or the configuration changed: what was kept is forgotten.
    pub fn reload(&mut self, settings: Settings, bounds: Bounds) {
        self.bounds = bounds;
        self.lookups.reload(settings, bounds);
    }

    /// Looks for a domain's server. `services` are what stands before the domain in SRV records, in order; an empty one
    /// stands for the domain's own addresses, an empty list for [`SERVICES`]. The result comes with
    /// [`Resolver::take_found`] and the ticket, in bounded time, perhaps at once.
    pub fn find(&mut self, now: Now, random: &mut dyn Random, ticket: u64, domain: &str, services: &[String]) {
        if let Some(address) = literal(domain) {
            let target = domain.to_owned();
            let candidate = Candidate { direct_tls: false, target, port: PORT, addresses: vec![address] };
            return self.found.push((ticket, Ok(vec![candidate])));
        }
        let Some(name) = Name::new(domain) else {
            let start = domain.chars().take(100).collect();
            return self.found.push((ticket, Err(FindError::BadName(start))));
        };
        if self.finds.len() >= self.bounds.finds {
            let error = FindError::Failed(name.to_string(), Failure::default().to_string());
            return self.found.push((ticket, Err(error)));
        }
        let mut find = Find::new(name, services);
        if self.next_group(now, random, ticket, &mut find) {
            self.judge(now, random, ticket, find);
        }
    }

    /// A datagram or a message came for an exchange.
    pub fn received(&mut self, now: Now, random: &mut dyn Random, exchange: u64, bytes: &[u8]) {
        self.lookups.received(now, random, exchange, bytes);
        self.learn(now, random);
    }

    /// The network says that an exchange will not succeed; `why` completes "the DNS server x …".
    pub fn failed(&mut self, now: Now, random: &mut dyn Random, exchange: u64, why: &str) {
        self.lookups.failed(now, random, exchange, why);
        self.learn(now, random);
    }

    /// Time moved.
    pub fn timeout(&mut self, now: Now, random: &mut dyn Random) {
        self.lookups.timeout(now, random);
        self.learn(now, random);
        let due = |find: &Find| find.grace_millis.is_some_and(|at| at <= now.monotonic_millis);
        let tickets: Vec<u64> = self.finds.iter().filter(|(_, find)| due(find)).map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            if let Some(find) = self.finds.remove(&ticket) {
                self.judge(now, random, ticket, find);
            }
        }
    }

    /// When [`Resolver::timeout`] must be called, in monotonic milliseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let grace = self.finds.values().filter_map(|find| find.grace_millis).min();
        self.lookups.next_deadline().into_iter().chain(grace).min()
    }

    /// What the sockets are to do, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        self.lookups.take_actions()
    }

    /// What was found since the last call, by ticket.
    pub fn take_found(&mut self) -> Vec<(u64, Result<Vec<Candidate>, FindError>)> {
        std::mem::take(&mut self.found)
    }

    /// Hands verdicts to those who wait for them.
    fn learn(&mut self, now: Now, random: &mut dyn Random) {
        for (question, verdict) in self.lookups.take_done() {
            tell(&question, &verdict);
            for ticket in self.waiting.remove(&question).unwrap_or_default() {
                let Some(mut find) = self.finds.remove(&ticket) else { continue };
                if let Some(answer) = find.answers.get_mut(&question) {
                    *answer = Some(verdict.clone());
                }
                self.judge(now, random, ticket, find);
            }
        }
    }

    /// Asks a question for a find, unless it did so before.
    fn ask(&mut self, now: Now, random: &mut dyn Random, ticket: u64, find: &mut Find, question: Question) {
        if find.answers.contains_key(&question) {
            return;
        }
        let verdict = self.lookups.ask(now, random, &question);
        match &verdict {
            None => log::debug!(target: "s2s", "DNS is asked for {:?} of {}", question.kind, question.name),
            Some(verdict) => tell(&question, verdict),
        }
        if verdict.is_none() {
            self.waiting.entry(question.clone()).or_default().push(ticket);
        }
        find.answers.insert(question, verdict);
    }

    /// Asks for the next services, or in the end for the domain's addresses. False: nothing is left, and that was said.
    fn next_group(&mut self, now: Now, random: &mut dyn Random, ticket: u64, find: &mut Find) -> bool {
        find.answers.clear();
        find.grace_millis = None;
        if let (Some(group), None) = (find.groups.pop_front(), &find.failure) {
            let mut asked = Vec::new();
            for service in group {
                // A service that cannot be in DNS is one that no domain has.
                let Some(name) = find.name.below(&service) else { continue };
                let question = Question { name, kind: Kind::Srv };
                self.ask(now, random, ticket, find, question.clone());
                asked.push((service.starts_with("_xmpps-"), question));
            }
            find.state = State::ExpectServices(asked);
            return true;
        }
        if find.plain {
            let place = Place { direct_tls: false, name: find.name.clone(), port: PORT };
            self.ask_addresses(now, random, ticket, find, vec![place], FromSrv::No);
            return true;
        }
        let domain = find.name.to_string();
        let error = match find.failure.take() {
            Some(failure) => FindError::Failed(domain, failure.to_string()),
            None => FindError::NoAddress(domain),
        };
        self.found.push((ticket, Err(error)));
        false
    }

    fn ask_addresses(
        &mut self,
        now: Now,
        random: &mut dyn Random,
        ticket: u64,
        find: &mut Find,
        places: Vec<Place>,
        from_srv: FromSrv,
    ) {
        find.answers.clear();
        find.grace_millis = None;
        for place in &places {
            for kind in [Kind::Aaaa, Kind::A] {
                self.ask(now, random, ticket, find, Question { name: place.name.clone(), kind });
            }
        }
        find.state = State::ExpectAddresses(places, from_srv);
    }

    /// Goes on with a find as far as its answers lead.
    fn judge(&mut self, now: Now, random: &mut dyn Random, ticket: u64, mut find: Find) {
        loop {
            if self.must_wait(now, &mut find) {
                self.finds.insert(ticket, find);
                return;
            }
            let asked = match &find.state {
                State::ExpectServices(asked) => asked,
                State::ExpectAddresses(places, from_srv) => {
                    let result = candidates(&find, places, *from_srv);
                    return self.found.push((ticket, result));
                }
            };
            let mut services: Vec<(bool, Service)> = Vec::new();
            for (direct_tls, question) in asked {
                if let Some(Ok(Outcome::Services(records))) = find.answer(question) {
                    services.extend(records.iter().map(|record| (*direct_tls, record.clone())));
                }
            }
            let exist = !services.is_empty();
            services.retain(|(_, service)| service.target.is_some() && service.port != 0);
            if !services.is_empty() {
                let places = places(order(services, random));
                self.ask_addresses(now, random, ticket, &mut find, places, FromSrv::Yes);
                continue;
            }
            let failure = find.first_failure();
            if exist {
                // XEP-0368 §5: where one service is said not to be there, the domain's own addresses are none either.
                let domain = find.name.to_string();
                let error = match failure {
                    Some(failure) => FindError::Failed(domain, failure.to_string()),
                    None => FindError::NotOffered(domain),
                };
                return self.found.push((ticket, Err(error)));
            }
            find.failure = failure;
            if !self.next_group(now, random, ticket, &mut find) {
                return;
            }
        }
    }

    /// Is there an answer to wait for, and a reason to?
    fn must_wait(&self, now: Now, find: &mut Find) -> bool {
        if !find.is_waiting() {
            return false;
        }
        let useful = |verdict: &Verdict| match verdict {
            Ok(Outcome::Addresses(_)) => true,
            Ok(Outcome::Services(services)) => services.iter().any(|service| service.target.is_some()),
            _ => false,
        };
        if find.grace_millis.is_none() && find.answers.values().flatten().any(useful) {
            find.grace_millis = Some(now.monotonic_millis.saturating_add(self.bounds.grace_millis));
        }
        find.grace_millis.is_none_or(|at| at > now.monotonic_millis)
    }
}

/// What DNS says, for who looks why a server is not found.
fn tell(question: &Question, verdict: &Verdict) {
    if !log::log_enabled!(target: "s2s", log::Level::Debug) {
        return;
    }
    let Question { name, kind } = question;
    let told = match verdict {
        Ok(Outcome::Addresses(addresses)) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Ok(Outcome::Services(services)) => {
            let place = |service: &Service| match &service.target {
                Some(target) => format!("{target}:{}", service.port),
                None => "not here".to_owned(),
            };
            services.iter().map(place).collect::<Vec<_>>().join(", ")
        }
        Ok(Outcome::NoData) => "nothing".to_owned(),
        Ok(Outcome::NoDomain) => "no such name".to_owned(),
        Err(failure) => failure.to_string(),
    };
    log::debug!(target: "s2s", "DNS says to {kind:?} of {name}: {told}");
}

/// The places that SRV records name, each once.
fn places(services: Vec<(bool, Service)>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (direct_tls, service) in services {
        let Some(name) = service.target else { continue };
        let same = |place: &Place| (place.direct_tls, &place.name, place.port) == (direct_tls, &name, service.port);
        if places.len() < CANDIDATES_MAX && !places.iter().any(same) {
            places.push(Place { direct_tls, name, port: service.port });
        }
    }
    places
}

fn candidates(find: &Find, places: &[Place], from_srv: FromSrv) -> Result<Vec<Candidate>, FindError> {
    let candidate = |place: &Place| Candidate {
        direct_tls: place.direct_tls,
        target: place.name.to_string(),
        port: place.port,
        addresses: find.addresses(&place.name),
    };
    let mut candidates: Vec<Candidate> = places.iter().map(candidate).collect();
    candidates.retain(|candidate| !candidate.addresses.is_empty());
    if !candidates.is_empty() {
        return Ok(candidates);
    }
    let domain = find.name.to_string();
    if let Some(failure) = find.failure.clone().or_else(|| find.first_failure()) {
        return Err(FindError::Failed(domain, failure.to_string()));
    }
    Err(match from_srv {
        FromSrv::Yes => {
            let mut targets: Vec<String> = places.iter().map(|place| place.name.to_string()).collect();
            targets.dedup();
            FindError::NoTarget(domain, targets)
        }
        FromSrv::No if find.answers.values().flatten().any(|verdict| *verdict == Ok(Outcome::NoDomain)) => {
            FindError::NoDomain(domain)
        }
        FromSrv::No => FindError::NoAddress(domain),
    })
}
