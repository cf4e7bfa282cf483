//! Who is connected, for admins, in the forms of three ages.

use std::collections::BTreeMap;

use crate::router::{Context, Reply, Session};
use crate::xml::Element;
use crate::xmpp::{Condition, Iq, IqType, StanzaError, delay, ns};

/// How many sessions one answer tells of, the oldest ones: the answer must fit into what may wait for a connection.
const LISTED_MAX: usize = 2_000;

/// Characters of a status that are told.
const STATUS_CHARACTERS_MAX: usize = 200;

/// How long a session is there, in seconds.
fn seconds(context: &Context<'_>, session: &Session) -> u64 {
    context.now.monotonic_millis.saturating_sub(session.opened_millis()) / 1000
}

/// What `<who/>` tells of a presence.
fn brief(presence: &Element) -> Element {
    let text = |name: &'static str| {
        let text: String = presence.child(name, ns::CLIENT)?.text().chars().take(STATUS_CHARACTERS_MAX).collect();
        Some(Element::new(name, ns::CLIENT).with_text(text))
    };
    let kind = presence.attribute("type").map(str::to_owned);
    let brief =
        Element::new("presence", ns::CLIENT).with_children(["show", "status", "priority"].into_iter().filter_map(text));
    match kind {
        Some(kind) => brief.with_attribute("type", kind),
        None => brief,
    }
}

/// `<who/>` is answered.
///
/// Deviation: `<config/>` is refused. In jabberd 1.4 it told all secrets of jabber.xml, and a set replaced it.
pub(super) fn iq_admin(context: &Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    if iq.kind() != IqType::Get || iq.payload().child("config", ns::IQ_ADMIN).is_some() {
        return Err(Condition::NotAllowed.into());
    }
    if iq.payload().child("who", ns::IQ_ADMIN).is_none() {
        return Err(StanzaError::new(Condition::BadRequest, "<who/> is all that can be asked here."));
    }
    let (sessions, count) = context.sessions.at_host(&context.host.name, LISTED_MAX);
    // As in jabberd 1.4, the presence is in it; but only so much of it that many have room. `from` counts what came from others, and `to` what went to them.
    let row = |session: &Session| {
        let presence = session.presence.as_ref().map(|presence| brief(presence.element()));
        let presence = presence.unwrap_or_else(|| Element::new("presence", ns::CLIENT));
        let legacy = delay::legacy(session.jid().as_str(), session.presence_unix_millis, "");
        let counts = Element::new("x", ns::ADMIN_WHO)
            .with_attribute("timer", seconds(context, session).to_string())
            .with_attribute("from", session.received.to_string())
            .with_attribute("to", session.sent.to_string());
        presence
            .with_attribute("from", session.jid().to_string())
            .with_children(session.presence.is_some().then_some(legacy))
            .with_child(counts)
    };
    let (mut rows, mut bytes) = (Vec::new(), 0_usize);
    for (_, session) in &sessions {
        let row = row(session);
        bytes = bytes.saturating_add(row.to_string().len());
        if bytes > context.config.limits.output_bytes_max / 2 {
            break;
        }
        rows.push(row);
    }
    let listed = rows.len();
    let mut who = Element::new("who", ns::IQ_ADMIN).with_children(rows);
    if listed < count {
        who = who.with_text(format!("The first {listed} of {count} sessions."));
    }
    Ok(Element::new("query", ns::IQ_ADMIN).with_child(who).into())
}

/// jabber:iq:browse of `HOST/admin`: a line for each account. Times and counts of its sessions are added up.
///
/// Deviation: only who is connected is listed. jabberd 1.4 showed others as long as it remembered their files.
pub(super) fn browse(context: &Context<'_>) -> Element {
    let (sessions, count) = context.sessions.at_host(&context.host.name, LISTED_MAX);
    let mut users: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for (_, session) in &sessions {
        let user = users.entry(session.account().as_str()).or_default();
        user.0 = user.0.max(seconds(context, session));
        user.1 += session.sent;
        user.2 += session.received;
    }
    let user = |(jid, (seconds, sent, received)): (&str, (u64, u64, u64))| {
        let node = jid.split('@').next().unwrap_or(jid);
        Element::new("user", ns::BROWSE)
            .with_attribute("jid", jid.to_string())
            .with_attribute("name", format!("{node} ({seconds}, {sent}, {received})"))
    };
    let name = match count > sessions.len() {
        true => format!("Online Users (seconds, sent, received), the first {LISTED_MAX} of {count} sessions"),
        false => "Online Users (seconds, sent, received)".to_string(),
    };
    Element::new("item", ns::BROWSE)
        .with_attribute("jid", format!("{}/admin", context.host.name))
        .with_attribute("name", name)
        .with_children(users.into_iter().map(user))
}

fn query(iq: &Iq<'_>, ns: &'static str) -> Element {
    let query = Element::new("query", ns);
    match iq.payload().attribute("node") {
        Some(node) => query.with_attribute("node", node.to_string()),
        None => query,
    }
}

/// XEP-0030 §3.1 of the list.
pub(super) fn info(iq: &Iq<'_>) -> Element {
    let identity = Element::new("identity", ns::DISCO_INFO)
        .with_attribute("category", "hierarchy")
        .with_attribute("type", "branch")
        .with_attribute("name", "Online Users");
    let feature = |name: &'static str| Element::new("feature", ns::DISCO_INFO).with_attribute("var", name);
    query(iq, ns::DISCO_INFO).with_child(identity).with_children([ns::DISCO_INFO, ns::DISCO_ITEMS].map(feature))
}

/// XEP-0030 §4.1: the sessions, in jabberd 1.6's words.
pub(super) fn items(context: &Context<'_>, iq: &Iq<'_>) -> Element {
    let (sessions, _) = context.sessions.at_host(&context.host.name, LISTED_MAX);
    let item = |session: &Session| {
        let (jid, seconds) = (session.jid(), seconds(context, session));
        Element::new("item", ns::DISCO_ITEMS).with_attribute("jid", jid.to_string()).with_attribute(
            "name",
            format!("{jid} (dur: {seconds} s, in: {} stnz, out: {} stnz)", session.sent, session.received),
        )
    };
    query(iq, ns::DISCO_ITEMS).with_children(sessions.iter().map(|(_, session)| item(session)))
}
