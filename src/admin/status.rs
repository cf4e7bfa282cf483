//! How the server is.

use serde_json::json;

use super::command::{Column, Command, Does, Shows, Unit};
use super::job::Next;
use super::request::{Refusal, Request};
use super::view::View;
use crate::router::LinkState;
use crate::store::{account, setting};
use crate::xmpp::datetime;

/// `status`.
pub const STATUS: Command = Command {
    name: "status",
    summary: "show how the server is",
    examples: &[
        ("jabberctl status", "what it serves, since when, for how many"),
        ("jabberctl --json status", "for scripts"),
    ],
    shows: Shows::Record(&[
        Column::text("version", "Version"),
        Column::of("up_seconds", "Up for", Unit::Seconds),
        Column::text("hosts", "Hosts"),
        Column::text("registration", "Registration"),
        Column::number("accounts", "Accounts"),
        Column::number("sessions", "Sessions"),
        Column::number("clients", "Client connections"),
        Column::number("servers_in", "Streams from servers"),
        Column::number("servers_out", "Streams to servers"),
        Column::number("components", "Components"),
        Column::number("bytestreams", "File transfers' ends"),
        Column::number("links_waiting", "Domains waited for"),
        Column::number("stanzas_waiting", "Stanzas waiting"),
        Column::number("links_failing", "Domains failing"),
        Column::number("blocks", "Blocked domains"),
        Column::of("memory_bytes", "Memory", Unit::Bytes),
        Column::of("database_bytes", "Database", Unit::Bytes),
        Column::of("log_bytes", "Database log", Unit::Bytes),
        Column::number("commit_failures", "Failed commits"),
        Column::text("commits_fail", "Commits fail"),
        Column::text("database_displaced", "Database displaced"),
        Column::text("database_file", "Database file"),
    ]),
    does: Does::Server(status),
    ..Command::NONE
};

fn status(view: &mut View<'_>, _: &Request) -> Result<Next, Refusal> {
    let hosts: Vec<&str> = view.config.hosts.iter().map(|host| host.name.as_str()).collect();
    let mut accounts = 0_u64;
    for host in &hosts {
        accounts = accounts.saturating_add(account::count(view.store, host)?);
    }
    let (mut waiting, mut stanzas, mut failing) = (0_u64, 0_usize, 0_u64);
    for (_, state) in view.router.remotes().states() {
        match state {
            LinkState::Awaited(count) => {
                waiting = waiting.saturating_add(1);
                stanzas = stanzas.saturating_add(count);
            }
            LinkState::Failed { .. } => failing = failing.saturating_add(1),
            LinkState::Open => {}
        }
    }
    let connections = view.facts.connections();
    let size = view.store.size();
    let (failures, refused) = view.facts.commit_failures();
    let refused =
        refused.map(|(since_unix_millis, why)| format!("since {}: {why}", datetime::stamp(since_unix_millis)));
    view.answer.row(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "up_seconds": view.facts.up_millis() / 1000,
        "hosts": hosts,
        "registration": registration(view)?,
        "accounts": accounts,
        "sessions": view.router.sessions().len(),
        "clients": connections.clients,
        "servers_in": connections.servers_in,
        "servers_out": connections.servers_out,
        "components": connections.components,
        "bytestreams": connections.bytestreams,
        "links_waiting": waiting,
        "stanzas_waiting": stanzas,
        "links_failing": failing,
        "blocks": view.router.blocks().len(),
        "memory_bytes": view.facts.memory_bytes(),
        "database_bytes": size.database_bytes,
        "log_bytes": size.log_bytes,
        "commit_failures": failures,
        "commits_fail": refused,
        "database_displaced": view.store.displaced().map(|error| error.to_string()),
        "database_file": view.store.path().display().to_string(),
    }));
    Ok(Next::Done)
}

/// Open, by invitation, closed; where that differs, host by host.
fn registration(view: &View<'_>) -> Result<String, Refusal> {
    let mut modes = Vec::new();
    for host in &view.config.hosts {
        modes.push((host.name.as_str(), setting::registration(view.store, host)?.name()));
    }
    Ok(match modes.first() {
        Some((_, first)) if modes.iter().all(|(_, mode)| mode == first) => (*first).to_owned(),
        _ => modes.iter().map(|(host, mode)| format!("{mode} at {host}")).collect::<Vec<_>>().join(", "),
    })
}
