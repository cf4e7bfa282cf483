//! The admin's wishes: jabber.xml and the command line, read once into typed values.
//!
//! jabber.xml of jabberd 1.4 and 1.6 is read as it stands, jabber.xml(5) tells what becomes of each element. What 1.4 did
//! not know stands in elements of our own namespace, [`OWN_NS`]. [`Config::load`] reads files, [`Config::from_xml`] a
//! text; both give typed values with [`Notice`]s for everything that has no effect, or an [`Error`] with file, line,
//! what was found, what was expected and what to do.
//!
//! Serves the rooms below, who see values and never XML. Invariants: no element is passed over without a word, host names
//! are nameprepped, paths are absolute, every bound has a value.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub mod access;
mod assemble;
pub mod blocks;
pub mod certificates;
mod check;
pub mod cmdline;
pub mod components;
pub mod control;
mod document;
pub mod error;
pub mod federation;
pub mod hosts;
mod io;
mod jsm;
pub mod limits;
pub mod listen;
mod logging;
pub mod logs;
pub mod modules;
pub mod old_directory;
mod options;
pub mod own_services;
mod pthcsock;
mod reading;
mod replace;
mod report;
mod sections;
mod servers;
mod services;
mod slips;
mod storage;
mod tree;

pub use access::{Access, Grants, Karma, Network, Rate, customer};
pub use blocks::{Block, BlockAction, Blocks};
pub use certificates::{AuthorityFile, CertificateSource};
pub use cmdline::CommandLine;
pub use components::{Component, Link};
pub use control::{Control, MetricsSocket};
pub use error::{Error, Notice, Place, Problem, Severity};
pub use federation::Federation;
pub use hosts::{
    Admin, BrowseItem, Contact, ContactRole, Forbidden, Host, Invitations, Letter, NamePolicy, NameRefusal, NameReuse,
    OfflineTypes, Register, RegistrationMode, Version,
};
pub use limits::Limits;
pub use listen::{Alias, Listener, ListenerKind, PlainLogin, StartTls};
pub use logs::{LogSink, LogTarget};
pub use modules::Modules;
pub use old_directory::OldDirectory;
pub use own_services::{Proxy65, Service, ServiceKind, ServiceOptions};

use crate::xmpp::{Jid, jid};

/// The namespace of all elements that jabberd 1.4 and 1.6 did not know.
pub const OWN_NS: &str = "urn:jabber:config:3";

/// Where the data is when nobody says otherwise.
pub const DEFAULT_SPOOL: &str = "/var/lib/jabber";

/// What jabber.xml says, with a default for everything that it does not say.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The main file, for messages; empty if the text came from elsewhere.
    pub file: PathBuf,
    /// All files that were read for it.
    pub files: Vec<PathBuf>,
    /// The domains that we serve, in the order of the file; at least one.
    pub hosts: Vec<Host>,
    /// The ports, clients' and servers'.
    pub listeners: Vec<Listener>,
    /// What else a stream's `to` may say.
    pub aliases: Vec<Alias>,
    /// The data directory, and where an old spool to import is.
    pub spool: PathBuf,
    /// The spools of further `<xdb>` sections, for some kinds of data: read once, by the import.
    pub other_spools: Vec<PathBuf>,
    /// The old spool has 1.4.4's hashed layout.
    pub hashed_spool: bool,
    /// Where the process number is written.
    pub pidfile: Option<PathBuf>,
    /// The user to become when started as root (`-U` wins over `<user>`).
    pub user: Option<String>,
    /// The logs; never empty.
    pub logs: Vec<LogSink>,
    /// The bounds.
    pub limits: Limits,
    /// How many accounts one address may register.
    pub registration_rate: RegistrationRate,
    /// For how long the passwords of imported accounts are kept as text; `None`: not at all.
    pub keep_plain_passwords: Option<PlainPasswords>,
    /// The certificates that are named; [`Config::certificates_of`] adds the places where we look unasked.
    pub certificates: Vec<CertificateSource>,
    /// Files with certificates of authorities to trust besides the system's.
    pub authorities: Vec<AuthorityFile>,
    /// Who may connect at all.
    pub access: Access,
    /// Source addresses of outgoing connections.
    pub bind: Vec<std::net::IpAddr>,
    /// Where a web browser that comes to an XML port is sent.
    pub bounce: Option<String>,
    /// Other processes and addresses that go nowhere.
    pub components: Vec<Component>,
    /// Domains that modules of ours serve; none is a host's or a component's.
    pub services: Vec<Service>,
    /// Sections of jabberd 1.4's user directory: their addresses are among those of `services`.
    pub old_directories: Vec<OldDirectory>,
    /// Other servers; `None` without a `<dialback>` section: then the server is an island.
    pub federation: Option<Federation>,
    /// Domains with which nothing is exchanged.
    pub blocks: Blocks,
    /// The socket of jabberctl.
    pub control: Control,
    /// Who watches asks here, if not at a port.
    pub metrics_socket: Option<MetricsSocket>,
    /// Debug lines are logged (`<debug>`, `-D`).
    pub debug: bool,
    /// What the admin should know, in the order of reading.
    pub notices: Vec<Notice>,
}

/// How many accounts one address may register: `<registration-rate xmlns='urn:jabber:config:3'>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationRate {
    /// So many accounts; `None` lifts the limit.
    pub accounts: Option<u32>,
    /// In so many seconds.
    pub seconds: u64,
    /// These addresses may register as many as they like: by default the machine itself, because of admins' scripts and
    /// TLS wrappers before port 5222.
    pub exempt: Vec<Network>,
}

impl Default for RegistrationRate {
    fn default() -> RegistrationRate {
        RegistrationRate { accounts: Some(10), seconds: 3600, exempt: Network::loopback() }
    }
}

impl RegistrationRate {
    /// The number of accounts that this address may register within `seconds`; `None` is any number.
    pub fn bound_for(&self, address: std::net::IpAddr) -> Option<u32> {
        if self.exempt.iter().any(|network| network.contains(address)) { None } else { self.accounts }
    }
}

/// Passwords of imported accounts as text, for the digest of XEP-0078:
/// `<keep-plain-passwords xmlns='urn:jabber:config:3'>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainPasswords {
    /// At most so many days from the import.
    pub days: u32,
}

impl PlainPasswords {
    /// Longer, and it would not be a time of transition.
    pub const DAYS_MAX: u32 = 366;

    /// One that was imported before this moment is kept no longer.
    pub fn end_unix_millis(self, now_unix_millis: u64) -> u64 {
        now_unix_millis.saturating_sub(u64::from(self.days).saturating_mul(86_400_000))
    }
}

impl Default for PlainPasswords {
    fn default() -> PlainPasswords {
        PlainPasswords { days: 30 }
    }
}

/// What a text needs besides itself: its name, where relative paths count from, and the values of the command line.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The name of the file, for messages.
    pub file: PathBuf,
    /// Where relative paths count from; empty is the current directory.
    pub home: PathBuf,
    /// What the command line said.
    pub command_line: CommandLine,
}

impl Source {
    /// A text by this name, with nothing on the command line.
    pub fn new(file: impl Into<PathBuf>) -> Source {
        Source { file: file.into(), ..Source::default() }
    }
}

impl Config {
    /// Reads a configuration from text. Included files are read, conf.d is not looked at.
    ///
    /// # Errors
    /// Everything that refuses the start.
    pub fn from_xml(text: &str, source: &Source) -> Result<Config, Error> {
        assemble::from_text(text, source)
    }

    /// Reads a configuration file, the files that `-i` names, and `conf.d/*.xml` beside it.
    ///
    /// # Errors
    /// Everything that refuses the start.
    pub fn load(path: &Path, command_line: &CommandLine) -> Result<Config, Error> {
        let source = Source {
            file: path.to_owned(),
            home: command_line.home.clone().unwrap_or_default(),
            command_line: command_line.clone(),
        };
        assemble::from_files(path, source)
    }

    /// A server for one host with every default: what tests start from.
    pub fn for_host(name: &str) -> Config {
        Config {
            file: PathBuf::new(),
            files: Vec::new(),
            hosts: vec![Host::new(name)],
            listeners: Vec::new(),
            aliases: Vec::new(),
            spool: PathBuf::from(DEFAULT_SPOOL),
            other_spools: Vec::new(),
            hashed_spool: false,
            pidfile: None,
            user: None,
            logs: Vec::new(),
            limits: Limits::default(),
            registration_rate: RegistrationRate::default(),
            keep_plain_passwords: None,
            certificates: Vec::new(),
            authorities: Vec::new(),
            access: Access::default(),
            bind: Vec::new(),
            bounce: None,
            components: Vec::new(),
            services: Vec::new(),
            old_directories: Vec::new(),
            federation: None,
            blocks: Blocks::default(),
            control: Control::default(),
            metrics_socket: None,
            debug: false,
            notices: Vec::new(),
        }
        .with_usual_services()
    }

    /// Where the control socket is.
    pub fn control_socket(&self) -> PathBuf {
        self.control.path(&self.spool)
    }

    /// The host with this name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The component with this id.
    pub fn component(&self, id: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.id == id)
    }

    /// The component with this address. Hosts with users come first.
    pub fn component_of(&self, domain: &str) -> Option<&Component> {
        let has_it = |component: &&Component| component.is_served() && component.has_host(domain);
        self.components.iter().find(has_it).filter(|_| self.host(domain).is_none())
    }

    /// Is this domain one of ours, a host's or a service's, or a component's?
    pub fn is_own(&self, domain: &str) -> bool {
        self.host(domain).is_some() || self.service(domain).is_some() || self.component_of(domain).is_some()
    }

    /// The address with the name that we have for its domain, if that is one of ours: RFC 7622 §3.2.1 wants U-labels, but
    /// people and programs write A-labels, too.
    pub fn with_own_name(&self, jid: Jid) -> Jid {
        match jid::one_name(jid::domain(&jid)) {
            Cow::Owned(name) if self.is_own(&name) => jid::with_one_name(jid),
            _ => jid,
        }
    }

    /// May this component speak for this domain?
    pub fn speaks_for(&self, component: &Component, domain: &str) -> bool {
        let owns = component.has_host(domain) && self.component_of(domain).is_some_and(|owner| *owner == *component);
        owns || component.senders.anybody
            || component.senders.domains.iter().any(|other| other == domain)
            || (component.takes_rest && self.federation.is_none() && !self.is_own(domain))
    }

    /// The host that a stream's `to` means, after nameprep: a host's own name, or an alias.
    /// An alias without a name fits everything else; `None` stands for a stream without `to`.
    pub fn host_for(&self, to: Option<&str>) -> Option<&Host> {
        let direct = to.and_then(|to| self.host(to));
        let alias = || self.aliases.iter().find(|alias| alias.name.is_some() && alias.name.as_deref() == to);
        let default = || self.aliases.iter().find(|alias| alias.name.is_none());
        direct.or_else(|| alias().or_else(default).and_then(|alias| self.host(&alias.host)))
    }
}

#[cfg(test)]
mod tests;
