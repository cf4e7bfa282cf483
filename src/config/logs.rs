//! Logs: the typed form of `<log>`.

use std::path::PathBuf;

use super::error::Place;
use crate::xmpp::Jid;

/// One `<log>` section.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSink {
    /// Its `id`.
    pub id: String,
    /// Only lines about these hosts; empty means all hosts and the server itself (`-internal`).
    pub hosts: Vec<String>,
    /// Only these types (`notice`, `warn`, `alert`, `record`, `stat`, or a component's own word); empty means all that no
    /// other section claims.
    pub types: Vec<String>,
    /// `%d` time, `%t` type, `%h` host, `%s` text.
    pub format: String,
    /// Where the lines go; nowhere for `<null/>`.
    pub targets: Vec<LogTarget>,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq)]
pub enum LogTarget {
    /// Appended to a file, which must be openable at start.
    File {
        /// The file, absolute.
        path: PathBuf,
        /// The line of jabber.xml, for the error when it cannot be opened.
        place: Place,
    },
    /// The standard error output, while there is one.
    Stderr,
    /// syslog, with this facility: `daemon`, `local0` …
    Syslog(String),
    /// A message to this address.
    To(Jid),
}

impl LogSink {
    /// jabberd 1.4's format of error.log.
    pub const ERROR_FORMAT: &str = "%d: [%t] (%h): %s";
    /// jabberd 1.4's format of record.log.
    pub const RECORD_FORMAT: &str = "%d %h %s";
    /// The host of lines that are about no host.
    pub const INTERNAL: &str = "-internal";

    /// Is it about this host? `-internal` lines are only for sections without hosts.
    fn takes_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|own| own == host)
    }
}

/// The sections that get a line of this type about this host. A section without types gets what no section with types
/// claims, as in jabberd 1.4; a host's own section does not take lines away from the others.
pub fn sinks_for<'a>(sinks: &'a [LogSink], kind: &str, host: &str) -> Vec<&'a LogSink> {
    let concerned = || sinks.iter().filter(|sink| sink.takes_host(host));
    let claimed: Vec<&LogSink> = concerned().filter(|sink| sink.types.iter().any(|own| own == kind)).collect();
    if claimed.is_empty() { concerned().filter(|sink| sink.types.is_empty()).collect() } else { claimed }
}
