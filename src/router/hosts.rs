//! The hosts we serve: by name, which modules are on at each, and which of them answers what.

use std::collections::HashMap;
use std::sync::Arc;

use super::module::{About, Scope};
use crate::config::{Config, Host};
use crate::xmpp::IqType;

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
    by_name: HashMap<String, HostPlace>,
}

impl Hosts {
    /// The hosts of a configuration.
    pub(super) fn new(config: Arc<Config>, table: Vec<(&'static str, &'static About)>) -> Hosts {
        let mut hosts = Hosts { config: config.clone(), table, entries: Vec::new(), by_name: HashMap::new() };
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
        self.config = config;
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

    /// A host for a call of a module, if that module is on there.
    pub(super) fn with_module(&self, host: HostPlace, index: usize) -> Option<HostView<'_>> {
        let entry = self.entries.get(host.0)?;
        if !entry.on.get(index).copied().unwrap_or(false) {
            return None;
        }
        Some(HostView { config: self.config.hosts.get(host.0)?, abouts: &entry.abouts })
    }

    /// The row that answers such a request at a host.
    pub(super) fn answering(&self, host: HostPlace, scope: Scope, kind: IqType, ns: &str, name: &str) -> Option<usize> {
        self.matching(host, |about| {
            about.answers.iter().any(|a| a.kind == kind && a.ns == ns && a.name == name && a.scope.contains(&scope))
        })
    }

    /// The row that answers for a node of XEP-0030 at a host.
    pub(super) fn answering_node(&self, host: HostPlace, node: &str) -> Option<usize> {
        self.matching(host, |about| about.nodes.contains(&node))
    }

    /// Is such a request known at a host, if only of the other type?
    pub(super) fn knows(&self, host: HostPlace, scope: Scope, ns: &str, name: &str) -> bool {
        let known =
            |about: &About| about.answers.iter().any(|a| a.ns == ns && a.name == name && a.scope.contains(&scope));
        self.matching(host, known).is_some()
    }

    fn matching(&self, host: HostPlace, wanted: impl Fn(&About) -> bool) -> Option<usize> {
        let entry = self.entries.get(host.0)?;
        self.table.iter().zip(&entry.on).position(|((_, about), on)| *on && wanted(about))
    }
}
