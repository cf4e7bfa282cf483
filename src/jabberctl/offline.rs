//! What works while no server runs: an account is made straight in the database, for scripts and first starts.

use std::fs;
use std::io::{self, Write as _};

use jabber::config::Config;
use jabber::daemon::accounts;
use jabber::store::backup;
use jabber::xmpp::Jid;
use serde_json::json;

use super::line::{Arguments, Line};
use super::{Code, Failure, say, show};

/// Makes an account. Only where it is sure that nobody serves the database: the server keeps things in mind.
pub(super) fn add(line: &Line, arguments: &Arguments, password: &str) -> Result<Code, Failure> {
    let config = super::place::config(line)?;
    if let Some(pid) = running(&config) {
        let socket = config.control_socket();
        return Err(Failure::unreachable(format!(
            "jabberd runs (process {pid}) without its socket {}",
            socket.display()
        ))
        .remedy("its log says why; restart it, or stop it first"));
    }
    let database = config.spool.join(accounts::DATABASE);
    if database.exists() {
        backup::refuse_if_open(&database).map_err(|error| match error.is_in_use() {
            true => Failure::unreachable(error.to_string()).remedy("jabberd runs, and its socket is elsewhere"),
            false => super::data::failed(error),
        })?;
    }
    let name = arguments.text("account").unwrap_or_default();
    accounts::add(&config, name, password).map_err(|refusal| Failure::failed(refusal.text).remedy(refusal.remedy))?;
    let policy = Jid::new(name).ok().and_then(|jid| {
        let host = config.host(jid.domain().as_str())?;
        host.name_policy.refuses(jid.node().map(|node| node.as_str()).unwrap_or_default())
    });
    if let Some(refusal) = policy {
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(io::stderr(), "note: from a client this name would be refused: {refusal}");
    }
    let done = format!("{name} can log in, once the server runs");
    say(&if line.json { format!("{}\n", show::json(&json!({ "done": done }))) } else { format!("{done}\n") })
}

/// The process of a server that the pid file names, if it is one. One that was killed stays in the list of processes until
/// its parent takes note (proc(5), state Z).
pub(super) fn running(config: &Config) -> Option<i32> {
    let pid = fs::read_to_string(config.pidfile.as_ref()?).ok()?.trim().parse::<i32>().ok().filter(|pid| *pid > 0)?;
    let told = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    told.split_once(" (jabberd) ").filter(|(_, state)| !state.starts_with('Z')).map(|_| pid)
}
