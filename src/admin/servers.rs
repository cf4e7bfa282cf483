//! Other servers: streams and failures, and domains with which nothing is exchanged.

use serde_json::{Value, json};

use super::command::{Argument, Column, Command, Does, Kind, Shows, Unit};
use super::job::Next;
use super::pages;
use super::request::{Refusal, Request};
use super::view::{Stream, View};
use crate::config::{Block, BlockAction};
use crate::router::{LinkState, Origin};
use crate::stream::dialback::Pair;

const DOMAIN: Argument = Argument::needed("domain", Kind::Domain, "the domain");

/// `s2s`.
pub const S2S: Command = Command {
    name: "s2s",
    arguments: &[
        Argument::optional("domain", Kind::Domain, "only this domain"),
        Argument::flag("failing", "only what fails or waits"),
    ],
    summary: "list streams with other servers, and the domains that fail, with the reason",
    details: "A stream is shown once for each pair of domains that may use it. Of a domain that fails it is shown since \
              when it does, and after which time who writes to it has it tried again; until then what is written to it \
              comes back. jabberctl ping tries it now.",
    examples: &[("jabberctl s2s", "all"), ("jabberctl s2s --failing", "where mail does not arrive, and why")],
    shows: Shows::Table(&[
        Column::text("local", "Host"),
        Column::text("direction", "Way"),
        Column::text("remote", "Domain"),
        Column::text("state", "State"),
        Column::text("address", "Address"),
        Column::text("proof", "Proof"),
        Column::text("tls", "TLS"),
        Column::of("seconds", "Since", Unit::Seconds),
        Column::of("retry_seconds", "Next try in", Unit::Seconds),
        Column::number("stanzas", "Stanzas"),
        Column::text("reason", "Reason"),
    ]),
    does: Does::Server(s2s),
    ..Command::NONE
};

/// `block`.
pub const BLOCK: Command = Command {
    name: "block",
    arguments: &[
        DOMAIN,
        Argument::flag("subdomains", "all domains below it, too"),
        Argument::flag("bounce", "senders get an error; without, what they send disappears"),
    ],
    summary: "exchange nothing with a domain, in either direction",
    details: "At once, and after the next start, too. What is stopped is told to record.log. Blocks that jabber.xml names \
              are taken back there.",
    examples: &[
        ("jabberctl block spam.example", "silently"),
        ("jabberctl block --subdomains --bounce example.net", "with all below it, and its senders are told"),
    ],
    changes: true,
    does: Does::Server(block),
    ..Command::NONE
};

/// `unblock`.
pub const UNBLOCK: Command = Command {
    name: "unblock",
    arguments: &[DOMAIN],
    summary: "take a block back",
    examples: &[("jabberctl unblock spam.example", "messages flow again")],
    changes: true,
    does: Does::Server(unblock),
    ..Command::NONE
};

/// `blocks`.
pub const BLOCKS: Command = Command {
    name: "blocks",
    summary: "list the blocked domains",
    examples: &[(
        "jabberctl blocks",
        "those of jabber.xml, and those made since by command, here or by an admin's client",
    )],
    shows: Shows::Table(&[
        Column::text("domain", "Domain"),
        Column::of("subdomains", "With all below", Unit::YesNo),
        Column::text("action", "Action"),
        Column::text("origin", "Made by"),
    ]),
    does: Does::Server(blocks),
    ..Command::NONE
};

fn s2s(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    if view.config.federation.is_none() {
        view.answer.note("this server is an island: jabber.xml has no <dialback>, so it speaks to no other");
    }
    let only = if request.has("domain") { Some(request.domain("domain")?) } else { None };
    let wanted = |remote: &str| only.as_ref().is_none_or(|only| only == remote);
    let links = view.router.remotes().states().filter(|(pair, state)| wanted(&pair.to) && *state != LinkState::Open);
    let mut ways: Vec<Way> = links.map(|(pair, state)| Way::Link(pair.clone(), state)).collect();
    if !request.has("failing") {
        ways.extend(view.facts.streams().into_iter().filter(|stream| wanted(&stream.remote)).map(Way::Stream));
    }
    ways.sort_by(|one, other| one.order().cmp(&other.order()));
    let now_millis = view.now.monotonic_millis;
    pages::told(view, ways, move |_, way| Ok(Some(way.row(now_millis))))
}

/// What is known of a pair of domains: a stream, or that there is none.
enum Way {
    Link(Pair, LinkState),
    Stream(Stream),
}

impl Way {
    /// By remote domain and host; what fails comes first.
    fn order(&self) -> (&str, &str, &str) {
        match self {
            Way::Link(pair, _) => (&pair.to, &pair.from, ""),
            Way::Stream(stream) => (&stream.remote, &stream.local, stream.direction),
        }
    }

    fn row(&self, now_millis: u64) -> Value {
        match self {
            Way::Link(pair, state) => {
                let (mut name, mut reason, mut stanzas, mut since, mut retry) = ("open", None, 0, None, None);
                match state {
                    LinkState::Awaited(count) => (name, stanzas) = ("waiting", *count),
                    LinkState::Failed { why, since_millis, until_millis } => {
                        (name, reason) = ("failing", Some(why));
                        since = Some(now_millis.saturating_sub(*since_millis) / 1000);
                        retry = Some(until_millis.saturating_sub(now_millis).div_ceil(1000));
                    }
                    LinkState::Open => {}
                }
                json!({
                    "local": pair.from, "direction": "out", "remote": pair.to, "state": name, "address": null,
                    "proof": null, "tls": null, "seconds": since, "retry_seconds": retry, "stanzas": stanzas,
                    "reason": reason,
                })
            }
            Way::Stream(stream) => json!({
                "local": stream.local, "direction": stream.direction, "remote": stream.remote,
                "state": if stream.proof.is_some() { "open" } else { "opening" },
                "address": stream.address.to_string(), "proof": stream.proof, "tls": stream.tls,
                "seconds": stream.millis / 1000, "retry_seconds": null, "stanzas": stream.stanzas, "reason": null,
            }),
        }
    }
}

fn block(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let domain = request.domain("domain")?;
    if domain.contains('*') {
        return Err(Refusal::usage("'*' is in no domain").remedy("--subdomains blocks all domains below one"));
    }
    if view.config.is_own(&domain) {
        return Err(Refusal::refused(format!("{domain} is served here"))
            .remedy("to keep one of its users out: jabberctl user disable"));
    }
    let action = if request.has("bounce") { BlockAction::Bounce } else { BlockAction::Drop };
    let block = Block { domain: domain.clone(), subdomains: request.has("subdomains"), action };
    let (router, mut env) = view.router();
    router.block(&mut env, block)?;
    let below = if request.has("subdomains") { " with all below it" } else { "" };
    view.say(format!("{domain}{below} is blocked"));
    Ok(Next::Done)
}

fn unblock(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let domain = request.domain("domain")?;
    let (router, mut env) = view.router();
    let was_there = router.unblock(&mut env, &domain)?;
    let still = view.router.blocked(&domain).map(|block| block.domain.clone());
    let because = match &still {
        Some(other) if *other == domain => "jabber.xml blocks it: take the <block> out, and reload".to_owned(),
        Some(other) => format!("{other} is blocked with all below it: jabberctl unblock {other}, or jabber.xml"),
        None => String::new(),
    };
    match (was_there, still.is_some()) {
        (false, false) => Err(Refusal::not_found(format!("{domain} is not blocked")).remedy("see jabberctl blocks")),
        (false, true) => Err(Refusal::refused(format!("{domain} is not blocked by command")).remedy(because)),
        (true, is_still) => {
            if is_still {
                view.answer.note(format!("{domain} is blocked still: {because}"));
            }
            view.say(format!("the block of {domain} is taken back"));
            Ok(Next::Done)
        }
    }
}

fn blocks(view: &mut View<'_>, _: &Request) -> Result<Next, Refusal> {
    let rows = view.router.blocks().into_iter().map(|(block, origin)| {
        json!({
            "domain": block.domain,
            "subdomains": block.subdomains,
            "action": block.action.name(),
            "origin": match origin { Origin::File => "jabber.xml", Origin::Command => "command" },
        })
    });
    let rows: Vec<Value> = rows.collect();
    pages::told(view, rows, |_, row| Ok(Some(row)))
}
