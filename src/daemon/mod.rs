//! The process: what an operating system wants of a server that runs for months, and nothing of XMPP.
//!
//! [`log`] is where the `log` crate's lines go; [`privileges`] becomes somebody else than root; [`pidfile`], [`signals`],
//! [`background`] and [`notify`] are what init scripts and service managers look at; [`certificates`] finds, makes and
//! renews what TLS shows; [`importing`] brings an old spool in; [`control`] makes jabberctl's
//! socket and that of `<metrics>`, [`directories`] what they stand in; [`socket`] asks what the kernel knows of a connection; [`authorities`] loads what the certificates of others are checked against; [`stanza_files`] reads the stanzas
//! that programs leave in a directory; [`rehearsal`] looks whether a start would succeed, by [`holders`] at who has its ports.
//!
//! Serves `main.rs` alone. Invariants: no line of a log can be forged by a peer; a full disk never stops the server; no
//! file is opened as root that the server's own user could have planted.

pub mod accounts;
pub mod authorities;
pub mod background;
pub mod certificates;
pub mod control;
mod directories;
pub mod holders;
pub mod importing;
pub mod log;
pub mod notify;
pub mod pidfile;
pub mod privileges;
pub mod rehearsal;
pub mod signals;
pub mod socket;
pub mod stanza_files;

/// Why the server does not start: the cause and the remedy, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// Why something that somebody asked for is not done, or not all of it, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The cause.
    pub text: String,
    /// The remedy.
    pub remedy: String,
    /// What else the admin should see to, a line each.
    pub notes: Vec<String>,
}

impl Refusal {
    fn new(text: impl Into<String>, remedy: impl Into<String>) -> Refusal {
        let refusal = Refusal { text: text.into(), remedy: remedy.into(), notes: Vec::new() };
        debug_assert!(!refusal.remedy.is_empty(), "{}", refusal.text);
        refusal
    }
}

impl From<crate::store::Error> for Refusal {
    fn from(error: crate::store::Error) -> Refusal {
        Refusal::new(error.told(), error.hint())
    }
}

impl From<Refusal> for StartError {
    fn from(refusal: Refusal) -> StartError {
        StartError(format!("{}; {}", refusal.text, refusal.remedy))
    }
}

/// What a failure to write has to add: the walls of jabber.service look like modes or a disk to who is behind them.
fn who_knows_more(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; jabberctl check files, as root, tells what bars the way: the disk, a mode, or jabber.service"
        }
        _ => "",
    }
}

/// A new directory for one test, and a umask that is not the business of whoever runs it.
#[cfg(test)]
fn scratch(name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("jabberd-test-{}-{name}", std::process::id()));
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
