//! Messages of the server itself.

use super::command::{Argument, Command, Does, Kind};
use super::job::Next;
use super::request::{Refusal, Request};
use super::users::unknown;
use super::view::View;
use crate::config::Host;
use crate::store::account;
use crate::xml::Element;
use crate::xmpp::{Condition, Jid, MessageType, Stanza, StanzaError, jid, ns};

const FROM: Argument = Argument::option("from", Kind::Host, "the host that speaks; without, the first of jabber.xml");
const HOST: Argument = Argument::option("from", Kind::Host, "the host that speaks, to its own users; without, all");
const SUBJECT: Argument = Argument::option("subject", Kind::Text, "the subject");

/// `message`.
pub const MESSAGE: Command = Command {
    name: "message",
    arguments: &[
        Argument::needed("to", Kind::Jid, "whom"),
        Argument::needed("text", Kind::Text, "what"),
        FROM,
        SUBJECT,
    ],
    summary: "send somebody a message from the server",
    details: "Done is what was delivered or kept; a message to another server is on its way.",
    examples: &[("jabberctl message romeo@example.org 'Your mailbox is full'", "waits for him if he is away")],
    changes: true,
    does: Does::Server(message),
    ..Command::NONE
};

/// `announce`.
pub const ANNOUNCE: Command = Command {
    name: "announce",
    arguments: &[
        Argument::optional("text", Kind::Text, "what"),
        Argument::flag("motd", "keep it as the message of the day: who comes later gets it, too"),
        Argument::flag("update", "keep it as the message of the day, and send it to nobody now"),
        Argument::flag("delete", "there is no message of the day any more"),
        HOST,
        SUBJECT,
    ],
    summary: "send everybody who is connected a message",
    details: "The same as a message of an admin to HOST/announce/online, and to motd, motd/update and motd/delete there.",
    examples: &[
        ("jabberctl announce 'Restart in five minutes'", "to all who are here"),
        ("jabberctl announce --motd 'We have moved: see https://example.org'", "and to each who logs in"),
        ("jabberctl announce --delete", "no more"),
    ],
    changes: true,
    does: Does::Server(announce),
    ..Command::NONE
};

/// The host that speaks.
fn speaker(view: &View<'_>, request: &Request) -> Result<Jid, Refusal> {
    let name = match request.has("from") {
        true => request.domain("from")?,
        false => view.config.hosts.first().map(|host| host.name.clone()).unwrap_or_default(),
    };
    jid::of_host(&name).ok_or_else(|| no_address(&name))
}

fn stanza(request: &Request) -> Stanza {
    let child = |name, text: &str| Element::new(name, ns::CLIENT).with_text(text.to_owned());
    let mut message = Stanza::message(MessageType::Normal);
    for (name, argument) in [("subject", "subject"), ("body", "text")] {
        if request.has(argument) {
            message = message.with_child(child(name, request.text(argument)));
        }
    }
    message
}

/// Hosts are checked where jabber.xml is read.
fn no_address(host: &str) -> Refusal {
    Refusal::failed(format!("{host} is no address")).remedy("correct <host> in jabber.xml, and restart the server")
}

/// Nobody gets it, now or later.
fn unsent(to: &Jid, error: &StanzaError) -> Refusal {
    if error.condition() == Condition::InternalServerError {
        let why = format!("it could not be kept, and {to} does not get it");
        return Refusal::failed(why).remedy("the log says why; then send it again");
    }
    let why = format!("{to} does not get it: {}", error.reason());
    Refusal::refused(why).remedy("disabled, full, or nobody of this address now? see jabberctl user info")
}

fn message(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let to = request.jid("to")?;
    let from = speaker(view, request)?;
    let is_ours = view.config.host(to.domain().as_str()).is_some();
    if is_ours && to.node().is_some() && !account::exists(view.store, &to.to_bare())? {
        return Err(unknown(&to.to_bare()));
    }
    if view.router.blocked(to.domain().as_str()).is_some() {
        return Err(Refusal::refused(format!("{} is blocked", to.domain())).remedy("see jabberctl blocks"));
    }
    view.send(stanza(request).with_from(from).with_to(to.clone())).map_err(|error| unsent(&to, &error))?;
    view.say(match is_ours {
        true => format!("sent to {to}"),
        false => format!("on its way to {to}"),
    });
    Ok(Next::Done)
}

fn announce(view: &mut View<'_>, request: &Request) -> Result<Next, Refusal> {
    let (resource, said) = match (request.has("delete"), request.has("update"), request.has("motd")) {
        (true, false, false) => ("announce/motd/delete", "there is no message of the day any more"),
        (false, true, false) => ("announce/motd/update", "the message of the day is changed"),
        (false, false, true) => ("announce/motd", "sent, and kept as the message of the day"),
        (false, false, false) => ("announce/online", "sent"),
        _ => return Err(Refusal::usage("--motd, --update and --delete exclude each other")),
    };
    if request.has("delete") == request.has("text") {
        let text = if request.has("text") { "--delete takes no text" } else { "what shall be announced?" };
        return Err(Refusal::usage(text));
    }
    let wanted = if request.has("from") { Some(request.domain("from")?) } else { None };
    let hosts = view.config.hosts.iter().filter(|host| wanted.as_ref().is_none_or(|wanted| *wanted == host.name));
    let (on, off): (Vec<&Host>, Vec<&Host>) = hosts.partition(|host| host.modules.is_on("mod_announce"));
    let names = |hosts: &[&Host]| hosts.iter().map(|host| host.name.clone()).collect::<Vec<_>>();
    let (on, off) = (names(&on), names(&off).join(", "));
    let remedy = "put <mod_announce/> into <load> of jabber.xml, and reload";
    if on.is_empty() {
        return Err(Refusal::refused(format!("announcements are off at {off}")).remedy(remedy));
    }
    for host in &on {
        let from = jid::of_host(host).ok_or_else(|| no_address(host))?;
        let to = Jid::new(&format!("{host}/{resource}")).map_err(|_| no_address(host))?;
        view.send(stanza(request).with_from(from).with_to(to.clone())).map_err(|error| unsent(&to, &error))?;
    }
    if !off.is_empty() {
        view.answer.note(format!("announcements are off at {off}: {remedy}"));
    }
    view.say(format!("{said}: {}", on.join(", ")));
    Ok(Next::Done)
}
