//! The hosts we serve: by name, which modules are on at each, and which of them answers what.

use std::collections::HashMap;
use std::sync::Arc;

use super::module::{About, Scope};
use crate::config::{Config, Host};
use crate::xmpp::IqType;

/// What is fixed for one host until the configuration changes.
struct Entry {
    /// Place in the configuration's list of hosts.
    place: usize,
    /// Which rows of the table of modules are on.
    on: Vec<bool>,
    /// What those rows declare.
    abouts: Vec<(&'static str, &'static About)>,
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
    by_name: HashMap<String, Entry>,
}

impl Hosts {
    /// The hosts of a configuration.
    pub(super) fn new(config: Arc<Config>, table: Vec<(&'static str, &'static About)>) -> Hosts {
        let by_name = HashMap::new();
        let mut hosts = Hosts { config: config.clone(), table, by_name };
        hosts.reload(config);
        hosts
    }

    /// Takes over a changed configuration.
    pub(super) fn reload(&mut self, config: Arc<Config>) {
        self.by_name = config
            .hosts
            .iter()
            .enumerate()
            .map(|(place, host)| {
                let on: Vec<bool> = self.table.iter().map(|(name, _)| host.modules.is_on(name)).collect();
                let rows = self.table.iter().zip(&on);
                let abouts = rows.filter(|(_, on)| **on).map(|(row, _)| *row).collect();
                (host.name.clone(), Entry { place, on, abouts })
            })
            .collect();
        self.config = config;
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// One host's configuration.
    pub fn by_name(&self, name: &str) -> Option<&Host> {
        self.config.hosts.get(self.by_name.get(name)?.place)
    }

    /// The name under which a domain is served here, if it is.
    pub(super) fn canonical(&self, domain: &str) -> Option<String> {
        self.by_name.contains_key(domain).then(|| domain.to_string())
    }

    /// A host for a call of a module, if that module is on there.
    pub(super) fn with_module(&self, host: &str, index: usize) -> Option<HostView<'_>> {
        let entry = self.by_name.get(host)?;
        if !entry.on.get(index).copied().unwrap_or(false) {
            return None;
        }
        Some(HostView { config: self.config.hosts.get(entry.place)?, abouts: &entry.abouts })
    }

    /// The row that answers such a request at a host.
    pub(super) fn answering(&self, host: &str, scope: Scope, kind: IqType, ns: &str, name: &str) -> Option<usize> {
        self.matching(host, |about| {
            about.answers.iter().any(|a| a.kind == kind && a.ns == ns && a.name == name && a.scope.contains(&scope))
        })
    }

    /// Is such a request known at a host, if only of the other type?
    pub(super) fn knows(&self, host: &str, scope: Scope, ns: &str, name: &str) -> bool {
        let known =
            |about: &About| about.answers.iter().any(|a| a.ns == ns && a.name == name && a.scope.contains(&scope));
        self.matching(host, known).is_some()
    }

    fn matching(&self, host: &str, wanted: impl Fn(&About) -> bool) -> Option<usize> {
        let entry = self.by_name.get(host)?;
        self.table.iter().zip(&entry.on).position(|((_, about), on)| *on && wanted(about))
    }
}
