//! Services that are ours and have a domain of their own, such as `users.HOST`: which there are, what each is called at
//! each host, who may use it.
//!
//! In `<jsm>` each has an element in our own namespace; without one it has its usual name, and the people of the host may
//! use it. `<modules><off>` switches it off. A name that jabber.xml gives to a host or to a component is theirs. The user
//! directory takes the addresses of jabberd 1.4's in place of its usual name ([`super::old_directory`]).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::error::Place;
use super::hosts::{Host, host_name, is_below};
use super::listen::{Listener, ListenerKind};
use super::reading::Reading;
use super::tree::Tree;
use super::{Config, jsm, old_directory};
use crate::xmpp::{BareJid, Jid};

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    /// The user directory (XEP-0055).
    Search,
    /// The proxy for file transfers (XEP-0065).
    Proxy65,
}

impl ServiceKind {
    /// All of them, in the order in which clients are told of them.
    pub const ALL: &[ServiceKind] = &[ServiceKind::Search, ServiceKind::Proxy65];

    /// The module whose service it is, by its name in jabber.xml.
    pub fn module(self) -> &'static str {
        match self {
            ServiceKind::Search => "mod_search",
            ServiceKind::Proxy65 => "mod_proxy65",
        }
    }

    /// Its element in `<jsm>`.
    pub fn element(self) -> &'static str {
        match self {
            ServiceKind::Search => "search",
            ServiceKind::Proxy65 => "proxy65",
        }
    }

    /// Its name where jabber.xml gives none; `*` stands for the host.
    pub fn usual_name(self) -> &'static str {
        match self {
            ServiceKind::Search => "users.*",
            ServiceKind::Proxy65 => "proxy.*",
        }
    }
}

/// A domain that is served by a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which service it is.
    pub kind: ServiceKind,
    /// Its domain.
    pub name: String,
    /// The host to which it belongs. Hosts may share a domain: there is one of these for each.
    pub host: String,
    /// What people call it, where jabber.xml says so.
    pub title: Option<String>,
}

/// What jabber.xml says of one service at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRules {
    /// The name with `*` for the host; `None` for the usual one.
    name: Option<String>,
    /// Where it says so; `None` for the defaults.
    place: Option<Place>,
    /// Who may use it.
    pub users: Users,
}

/// Who may use a service: the people of its host, those that `<allow>` adds, and none that `<deny>` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// An empty `<allow/>`: everybody, of whatever domain.
    everybody: bool,
    allowed: Vec<Jid>,
    denied: Vec<Jid>,
}

impl Users {
    /// May this one use the service of this host?
    pub fn admit(&self, host: &str, who: &Jid) -> bool {
        // A name in the list is a person, or all of a domain.
        let fits = |entry: &Jid| match entry.node() {
            Some(_) => crate::xmpp::jid::same_bare(entry, who),
            None => entry.domain() == who.domain(),
        };
        let is_wanted = self.everybody || who.domain().as_str() == host || self.allowed.iter().any(fits);
        is_wanted && !self.denied.iter().any(fits)
    }
}

/// The proxy for file transfers, beyond its name and users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy65 {
    /// Where it listens; `None` is every address.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// What clients are told to connect to; `None` is the host's own name.
    pub address: Option<String>,
    /// How many bytes one transfer may move in a second, both directions together; `None` is as many as there are.
    pub bytes_per_second: Option<u64>,
}

impl Default for Proxy65 {
    fn default() -> Proxy65 {
        Proxy65 { ip: None, port: Proxy65::PORT, address: None, bytes_per_second: None }
    }
}

impl Proxy65 {
    /// The port that other servers' proxies have, too.
    pub const PORT: u16 = 7777;
    /// Less would not move a picture in a minute.
    const BYTES_PER_SECOND_MIN: u64 = 4_096;
}

/// The services of a host, and what is particular to some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceOptions {
    rules: BTreeMap<ServiceKind, ServiceRules>,
    /// The proxy for file transfers.
    pub proxy65: Proxy65,
}

impl Default for ServiceOptions {
    fn default() -> ServiceOptions {
        let rules = |kind: ServiceKind| (kind, ServiceRules { name: None, place: None, users: Users::default() });
        ServiceOptions {
            rules: ServiceKind::ALL.iter().map(|kind| rules(*kind)).collect(),
            proxy65: Proxy65::default(),
        }
    }
}

impl ServiceOptions {
    /// May this one use that service of this host?
    pub fn admit(&self, kind: ServiceKind, host: &str, who: &Jid) -> bool {
        self.rules.get(&kind).is_some_and(|rules| rules.users.admit(host, who))
    }
}

/// The kind whose element this is.
pub(super) fn kind_of(tree: &Tree) -> Option<ServiceKind> {
    ServiceKind::ALL.iter().copied().find(|kind| kind.element() == tree.name)
}

/// Reads `<search>`, `<proxy65>` …
pub(super) fn read(reading: &mut Reading, tree: &Tree, kind: ServiceKind, options: &mut ServiceOptions) {
    reading.stray_text(tree);
    let mut known = vec!["name", "allow", "deny"];
    if kind == ServiceKind::Proxy65 {
        known.extend(["ip", "port", "address", "bytes-per-second"]);
    }
    let Some(rules) = options.rules.get_mut(&kind) else { return };
    rules.place = Some(tree.place.clone());
    for child in tree.children() {
        match child.name.as_str() {
            "name" if !child.text().is_empty() => rules.name = Some(child.text()),
            "name" => {
                reading.warn(&child.place, "<name> is empty: the usual name is used; <modules><off> switches off")
            }
            "allow" if child.text().is_empty() => rules.users.everybody = true,
            "allow" => rules.users.allowed.extend(user(reading, child)),
            "deny" => rules.users.denied.extend(user(reading, child)),
            name if known.contains(&name) => proxy65(reading, child, &mut options.proxy65),
            _ => reading.unknown(child, &tree.tag(), &known),
        }
    }
}

fn user(reading: &mut Reading, tree: &Tree) -> Option<Jid> {
    jsm::bare_jid(reading, &tree.place, &tree.text()).map(|jid: BareJid| jid.into())
}

fn proxy65(reading: &mut Reading, tree: &Tree, proxy: &mut Proxy65) {
    match tree.name.as_str() {
        "ip" => proxy.ip = reading.address(&tree.place, &tree.text()).ok().or(proxy.ip),
        "port" => match reading.number(tree) {
            Some(0) => reading.warn(&tree.place, "<port> should be from 1 to 65535: the default is used"),
            port => proxy.port = port.unwrap_or(proxy.port),
        },
        "address" => proxy.address = Some(tree.text()).filter(|text| !text.is_empty()),
        _ => {
            let least = Proxy65::BYTES_PER_SECOND_MIN;
            let bytes = reading.number::<u64>(tree);
            if bytes.is_some_and(|bytes| bytes < least) {
                reading.warn(&tree.place, format!("<bytes-per-second> must be at least {least}: {least} is used"));
            }
            proxy.bytes_per_second = bytes.map(|bytes| bytes.max(least));
        }
    }
}

/// Why a service is not to be had under its name.
struct Obstacle {
    host: String,
    kind: ServiceKind,
    why: String,
}

impl Config {
    /// The service of ours with this domain; where hosts share it, that of the host below whose name it is.
    pub fn service(&self, domain: &str) -> Option<&Service> {
        let mut sharing = self.services.iter().filter(|service| service.name == domain);
        let by_name = sharing.clone().find(|service| is_below(domain, &service.host));
        by_name.or_else(|| sharing.next())
    }

    /// The services of a host.
    pub fn services_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Service> {
        self.services.iter().filter(move |service| service.host == host)
    }

    /// Gives each service of each host its name, as far as nobody else has it. Returns what stands in the way.
    fn name_services(&mut self) -> Vec<Obstacle> {
        let mut services: Vec<Service> = Vec::new();
        let mut obstacles = Vec::new();
        for host in &self.hosts {
            for (kind, rules) in host.services.rules.iter().filter(|(kind, _)| host.modules.is_on(kind.module())) {
                let kind = *kind;
                let old = if kind == ServiceKind::Search { self.old_addresses(host) } else { Vec::new() };
                services.extend(old.iter().map(|(old, address)| Service {
                    kind,
                    name: (*address).to_owned(),
                    host: host.name.clone(),
                    title: old.title.clone(),
                }));
                if rules.name.is_none() && !old.is_empty() {
                    continue;
                }
                let wanted = rules.name.as_deref().unwrap_or(kind.usual_name()).replace('*', &host.name);
                if old.iter().any(|(_, address)| *address == wanted) {
                    continue;
                }
                let taken = |name: &String| services.iter().find(|other| other.name == *name);
                let outcome = match host_name(&wanted) {
                    Err(why) => Err(format!("\"{wanted}\" is not a domain ({why})")),
                    Ok(name) if self.host(&name).is_some() => Err(format!("{name} is a host with users")),
                    Ok(name) => match self.components.iter().find(|component| component.has_host(&name)) {
                        Some(component) => Err(format!("{name} is an address of the service at {}", component.place)),
                        None => match taken(&name) {
                            Some(other) => Err(format!("{name} is taken by {} of {}", other.kind.module(), other.host)),
                            None => Ok(name),
                        },
                    },
                };
                match outcome {
                    Ok(name) => services.push(Service { kind, name, host: host.name.clone(), title: None }),
                    Err(why) => obstacles.push(Obstacle { host: host.name.clone(), kind, why }),
                }
            }
        }
        self.services = services;
        obstacles
    }

    /// The services that there are without a word in jabber.xml.
    pub(super) fn with_usual_services(mut self) -> Config {
        self.name_services();
        self
    }

    /// Takes the file-transfer proxies away that would need this port, which cannot be had.
    pub fn without_proxy65_at(&mut self, listener: &Listener) {
        let needs_it =
            |host: &Host| host.services.proxy65.port == listener.port && host.services.proxy65.ip == listener.address;
        let hosts: Vec<String> =
            self.hosts.iter().filter(|host| needs_it(host)).map(|host| host.name.clone()).collect();
        self.services.retain(|service| service.kind != ServiceKind::Proxy65 || !hosts.contains(&service.host));
        self.listeners.retain(|other| other != listener);
    }
}

/// Names the services and opens their ports, once hosts, components and the other ports are known.
pub(super) fn settle(reading: &mut Reading, config: &mut Config) {
    old_directory::settle(reading, config);
    for Obstacle { host, kind, why } in config.name_services() {
        let rules = config.host(&host).and_then(|host| host.services.rules.get(&kind));
        let place = rules.and_then(|rules| rules.place.clone());
        let (module, element) = (kind.module(), kind.element());
        let text = format!("{module} of {host} is off: {why}");
        match place {
            Some(place) => reading.warn(&place, text),
            None => {
                let remedy = format!("give it another with <{element} xmlns=\"{}\"><name>", super::OWN_NS);
                reading.notice(&Place::whole(config.file.as_path()), format!("{text}; {remedy}"));
            }
        }
    }
    ports(reading, config);
}

/// A port for each address and port that a proxy wants; hosts may share one.
fn ports(reading: &mut Reading, config: &mut Config) {
    let has_proxy = |host: &&Host| {
        config.services.iter().any(|service| service.kind == ServiceKind::Proxy65 && service.host == host.name)
    };
    let mut wanted: Vec<Listener> = Vec::new();
    for host in config.hosts.iter().filter(has_proxy) {
        let proxy = &host.services.proxy65;
        let place = host.services.rules.get(&ServiceKind::Proxy65).and_then(|rules| rules.place.clone());
        let listener = Listener {
            address: proxy.ip,
            auth_seconds: config.limits.auth_seconds,
            // Nobody asked for it: it must not keep the server from its work.
            is_optional: place.is_none(),
            ..Listener::new(
                ListenerKind::Bytestreams,
                proxy.port,
                place.unwrap_or_else(|| Place::whole(config.file.as_path())),
            )
        };
        let is_same = |other: &&Listener| other.port == listener.port && other.address == listener.address;
        if !wanted.iter().any(|other| is_same(&other)) {
            wanted.push(listener);
        }
    }
    for listener in wanted {
        let port = listener.port;
        let first = config.listeners.iter().find(|other| other.port == port).map(|other| other.place.clone());
        match first.filter(|_| listener.is_optional) {
            Some(first) => {
                let text = format!("mod_proxy65 is off: its usual port {port} is taken at {first}");
                let remedy = format!("give it another with <proxy65 xmlns=\"{}\"><port>", super::OWN_NS);
                reading.notice(&listener.place, format!("{text}; {remedy}"));
                config.without_proxy65_at(&listener);
            }
            None => config.listeners.push(listener),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    #[test]
    fn the_people_of_the_host_may_use_a_service_and_others_where_the_admin_says_so() {
        let lists = |allowed: &[&str], denied: &[&str]| Users {
            everybody: false,
            allowed: allowed.iter().map(|text| jid(text)).collect(),
            denied: denied.iter().map(|text| jid(text)).collect(),
        };
        let by_default = Users::default();
        let wider = lists(&["b.test", "romeo@c.test"], &["tybalt@a.test", "tybalt@b.test"]);
        let open = Users { everybody: true, ..lists(&[], &["evil.test"]) };
        for (users, who, admitted) in [
            (&by_default, "juliet@a.test/balcony", true),
            (&by_default, "a.test", true),
            (&by_default, "juliet@sub.a.test", false),
            (&by_default, "juliet@b.test", false),
            (&wider, "juliet@a.test", true),
            (&wider, "juliet@b.test", true),
            (&wider, "romeo@c.test/orchard", true),
            (&wider, "juliet@c.test", false),
            (&wider, "tybalt@a.test/street", false),
            (&wider, "tybalt@b.test", false),
            (&open, "anybody@anywhere.test", true),
            (&open, "anybody@evil.test/x", false),
        ] {
            assert_eq!(users.admit("a.test", &jid(who)), admitted, "{who} {users:?}");
        }
    }
}
