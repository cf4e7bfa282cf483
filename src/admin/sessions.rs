//! Who is here, and how to end that.

use serde_json::json;

use super::command::{Argument, Column, Command, Does, Kind, Shows, Unit};
use super::job::Next;
use super::pages;
use super::request::{self, Refusal, Request};
use super::users::unknown;
use super::view::View;
use crate::router::{Effect, SessionId};
use crate::store::account;
use crate::xmpp::StreamError;
use crate::xmpp::stream_error::StreamCondition;

/// So many are shown in the order of their names.
const SORTED: usize = 5_000;

/// `sessions`.
pub const SESSIONS: Command = Command {
    name: "sessions",
    arguments: &[Argument::optional("who", Kind::Jid, "only those of this account, or of this host")],
    summary: "list who is connected",
    examples: &[
        ("jabberctl sessions", "everybody"),
        ("jabberctl sessions romeo@example.org", "one account's clients"),
        ("jabberctl --json sessions | jq -r '.[] | select(.tls | not) | .jid'", "who is not encrypted"),
    ],
    shows: Shows::Table(&[
        Column::text("jid", "Client"),
        Column::text("address", "From"),
        Column::of("tls", "TLS", Unit::YesNo),
        Column::of("seconds", "Since", Unit::Seconds),
        Column::of("idle_seconds", "Idle", Unit::Seconds),
        Column::number("priority", "Priority"),
        Column::number("sent", "Sent"),
        Column::number("received", "Received"),
    ]),
    does: Does::Server(sessions),
    ..Command::NONE
};

/// `kick`.
pub const KICK: Command = Command {
    name: "kick",
    arguments: &[
        Argument::needed("who", Kind::Jid, "an account, or one client of it with its resource"),
        Argument::option("reason", Kind::Text, "what the client is told"),
    ],
    summary: "end the sessions of an account, or one of them",
    details: "Most clients come back by themselves; to keep somebody out: jabberctl user disable.",
    examples: &[
        ("jabberctl kick romeo@example.org", "all clients of one account"),
        ("jabberctl kick --reason 'Too noisy' romeo@example.org/orchard", "one client"),
    ],
    changes: true,
    does: Does::Server(kick),
    ..Command::NONE
};

fn sessions(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let who = if request.has("who") { Some(request.jid("who")?) } else { None };
    if let Some(who) = &who {
        request::served(who.domain().as_str(), view.config)?;
        let bare = who.to_bare();
        if who.node().is_some() && view.router.sessions().count(&bare) == 0 && !account::exists(view.store, &bare)? {
            return Err(unknown(&bare));
        }
    }
    let all = view.router.sessions();
    let mut found: Vec<SessionId> = match &who {
        Some(who) if who.node().is_some() => all.of(&who.to_bare()).map(|(id, _)| id).collect(),
        _ => all
            .all()
            .filter(|(_, session)| who.as_ref().is_none_or(|who| who.domain() == session.account().domain()))
            .map(|(id, _)| id)
            .collect(),
    };
    // To sort very many by name would hold up everybody; they come in the order in which they came.
    match found.len() {
        0..=SORTED => found.sort_by_cached_key(|id| all.by_id(*id).map(|session| session.jid().to_string())),
        _ => found.sort_unstable(),
    }
    pages::told(view, found, |view, id| {
        let Some(session) = view.router.sessions().by_id(id) else { return Ok(None) };
        let client = view.facts.client(session.connection());
        Ok(Some(json!({
            "jid": session.jid().as_str(),
            "address": client.map(|client| client.address.to_string()),
            "tls": client.map(|client| client.is_secure),
            "seconds": view.now.monotonic_millis.saturating_sub(session.opened_millis()) / 1000,
            "idle_seconds": client.map(|client| client.idle_millis / 1000),
            "priority": session.is_available().then_some(session.priority),
            "sent": session.sent,
            "received": session.received,
        })))
    })
}

fn kick(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let who = request.jid("who")?;
    let bare = who.to_bare();
    if who.node().is_none() {
        return Err(Refusal::usage(format!("{who} is a host, not an account")));
    }
    let reason = Some(request.text("reason")).filter(|reason| !reason.is_empty());
    let error = StreamError::new(StreamCondition::PolicyViolation, reason.unwrap_or("ended by the administrator"));
    let sessions = view.router.sessions();
    if who.is_full() {
        let Some(session) = sessions.by_full(&bare, &who) else {
            return Err(
                Refusal::not_found(format!("{who} is not connected")).remedy(format!("see jabberctl sessions {bare}"))
            );
        };
        view.carry_out(Effect::Close(session, error));
        view.say(format!("{who} was disconnected"));
        return Ok(Next::Done);
    }
    let count = sessions.count(&bare);
    if count == 0 && !account::exists(view.store, &bare)? {
        return Err(unknown(&bare));
    }
    view.carry_out(Effect::CloseAccount { account: bare.clone(), except: None, error });
    let what = if count == 1 { "session" } else { "sessions" };
    view.say(format!("{bare}: {count} {what} ended"));
    Ok(Next::Done)
}
