//! The hosts we serve: by name, which modules are on at each, and which of them answers what.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Addressee;
use super::module::{About, Answers, Scope, ServiceAbout};
use crate::config::hosts::is_below;
use crate::config::{Config, Host, Service};
use crate::xmpp::{IqType, Jid, jid, ns};

/// What is fixed for one host until the configuration changes.
struct Entry {
    /// Which rows of the table of modules are on.
    on: Vec<bool>,
    /// What those rows declare.
    abouts: Vec<(&'static str, &'static About)>,
}

/// Which of our hosts: cheap to hand around, good until the configuration changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPlace(usize);

impl HostPlace {
    /// That of a host that is served no longer: no module is on there.
    pub(super) const NOWHERE: HostPlace = HostPlace(usize::MAX);
}

/// Which service of which host, and the row of the table of modules that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServicePlace {
    pub(super) host: HostPlace,
    pub(super) module: usize,
    place: usize,
}

/// A host as a module's call needs it.
pub(super) struct HostView<'a> {
    pub(super) config: &'a Host,
    pub(super) abouts: &'a [(&'static str, &'static About)],
}

/// All hosts.
pub struct Hosts {
    config: Arc<Config>,
    table: Vec<(&'static str, &'static About)>,
    /// In the order of the configuration.
    entries: Vec<Entry>,
    /// A map that compares: a stanza is looked up in it several times, and mostly there is one host or a few.
    by_name: BTreeMap<String, HostPlace>,
    /// One for each host that has it.
    services: HashMap<String, Vec<ServicePlace>>,
}

impl Hosts {
    /// The hosts of a configuration.
    pub(super) fn new(config: Arc<Config>, table: Vec<(&'static str, &'static About)>) -> Hosts {
        let (by_name, services) = (BTreeMap::new(), HashMap::new());
        let mut hosts = Hosts { config: config.clone(), table, entries: Vec::new(), by_name, services };
        hosts.reload(config);
        hosts
    }

    /// Takes over a changed configuration.
    pub(super) fn reload(&mut self, config: Arc<Config>) {
        let entry = |host: &Host| {
            let on: Vec<bool> = self.table.iter().map(|(name, _)| host.modules.is_on(name)).collect();
            let rows = self.table.iter().zip(&on);
            let abouts = rows.filter(|(_, on)| **on).map(|(row, _)| *row).collect();
            Entry { on, abouts }
        };
        self.entries = config.hosts.iter().map(entry).collect();
        let names = config.hosts.iter().enumerate();
        self.by_name = names.map(|(place, host)| (host.name.clone(), HostPlace(place))).collect();
        let serves =
            |service: &Service, about: &About| about.service.as_ref().is_some_and(|own| own.kind == service.kind);
        self.services.clear();
        for (place, service) in config.services.iter().enumerate() {
            let Some(&host) = self.by_name.get(&service.host) else { continue };
            let Some(module) = self.table.iter().position(|(_, about)| serves(service, about)) else { continue };
            let sharing = self.services.entry(service.name.clone()).or_default();
            // The host that has the domain by its name answers those who are nobody's.
            let at = if is_below(&service.name, &service.host) { 0 } else { sharing.len() };
            sharing.insert(at, ServicePlace { host, module, place });
        }
        self.config = config;
    }

    /// The modules that are on at a host now, and not with this configuration.
    pub(super) fn switched_off(&self, config: &Config) -> Vec<(HostPlace, usize)> {
        let mut gone = Vec::new();
        for (host, place) in &self.by_name {
            for (index, (name, _)) in self.table.iter().enumerate() {
                let stays = config.host(host).is_some_and(|host| host.modules.is_on(name));
                if !stays && self.with_module(*place, index).is_some() {
                    gone.push((*place, index));
                }
            }
        }
        gone.sort_unstable_by_key(|(place, index)| (place.0, *index));
        gone
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// One host's configuration.
    pub fn by_name(&self, name: &str) -> Option<&Host> {
        self.config.hosts.get(self.by_name.get(name)?.0)
    }

    /// The host that serves a domain, if it is one of ours.
    pub(super) fn place(&self, domain: &str) -> Option<HostPlace> {
        self.by_name.get(domain).copied()
    }

    /// The service with this domain; where hosts share one, that of the asker's host.
    pub(super) fn service(&self, domain: &str, asker: Option<&Jid>) -> Option<ServicePlace> {
        let sharing = self.services.get(domain)?;
        let home = asker.and_then(|asker| self.place(jid::domain(asker)));
        sharing.iter().find(|service| Some(service.host) == home).or(sharing.first()).copied()
    }

    /// What a call for a service is told of it.
    pub(super) fn service_view(&self, service: ServicePlace) -> Option<(&Service, &'static ServiceAbout)> {
        let (_, about) = self.table.get(service.module)?;
        Some((self.config.services.get(service.place)?, about.service.as_ref()?))
    }

    /// A host for a call of a module, if that module is on there.
    pub(super) fn with_module(&self, host: HostPlace, index: usize) -> Option<HostView<'_>> {
        let is_on = self.entries.get(host.0)?.on.get(index).copied().unwrap_or(false);
        if is_on { self.view(host) } else { None }
    }

    /// A host for a call of a module, on or off.
    pub(super) fn view(&self, host: HostPlace) -> Option<HostView<'_>> {
        let entry = self.entries.get(host.0)?;
        Some(HostView { config: self.config.hosts.get(host.0)?, abouts: &entry.abouts })
    }

    /// The row that answers such a request.
    pub(super) fn answering(&self, whom: Addressee, kind: IqType, ns: &str, name: &str) -> Option<usize> {
        let answers = |a: &Answers| a.kind == kind && a.ns == ns && is_named(a, name);
        self.matching(whom, |about| about.answers_at(whom.scope, answers))
    }

    /// The row that answers for a node of XEP-0030 at a host, or at a service of its own.
    pub(super) fn answering_node(&self, whom: Addressee, node: &str) -> Option<usize> {
        self.matching(whom, |about| about.nodes.contains(&node) && about.service.is_some() == whom.service.is_some())
    }

    /// Is such a request known there, if only of the other type?
    pub(super) fn knows(&self, whom: Addressee, ns: &str, name: &str) -> bool {
        self.matching(whom, |about| about.answers_at(whom.scope, |a| a.ns == ns && is_named(a, name))).is_some()
    }

    fn matching(&self, whom: Addressee, wanted: impl Fn(&About) -> bool) -> Option<usize> {
        let entry = self.entries.get(whom.host.0)?;
        let owner = whom.service.map(|service| service.module);
        // At a service its own module answers, and those that have none.
        let is_there =
            |row: usize, about: &About| whom.scope != Scope::Service || about.service.is_none() || owner == Some(row);
        let mut rows = self.table.iter().zip(&entry.on).enumerate();
        rows.find(|(row, ((_, about), on))| **on && is_there(*row, about) && wanted(about)).map(|(row, _)| row)
    }
}

/// Compat: the first drafts of vcard-temp, and clients of their time, say VCARD or vcard.
fn is_named(answers: &Answers, name: &str) -> bool {
    answers.name == name || (answers.ns == ns::VCARD && answers.name.eq_ignore_ascii_case(name))
}
