//! Who is connected, for admins, in the forms of three ages.

use std::collections::BTreeMap;

use crate::router::{Context, Reply, Session};
use crate::xml::Element;
use crate::xmpp::{Condition, Iq, IqType, StanzaError, delay, ns};

/// How many sessions one answer tells of, the oldest ones; fewer, where their names are so long that they do not fit.
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
    // As in jabberd 1.4, the presence is in it; but only so much of it that many have room. `from` counts what came from
    // others, and `to` what went to them.
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
    let rows = context.fitting(sessions.iter().map(|(_, session)| row(session)));
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
    let all = users.len();
    let users = context.fitting(users.into_iter().map(user));
    let name = match (count > sessions.len(), users.len() < all) {
        (_, true) => format!("Online Users (seconds, sent, received), the first {} of {all} users", users.len()),
        (true, _) => format!("Online Users (seconds, sent, received), the first {LISTED_MAX} of {count} sessions"),
        (false, _) => "Online Users (seconds, sent, received)".to_string(),
    };
    Element::new("item", ns::BROWSE)
        .with_attribute("jid", format!("{}/admin", context.host.name))
        .with_attribute("name", name)
        .with_children(users)
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
    query(iq, ns::DISCO_ITEMS).with_children(context.fitting(sessions.iter().map(|(_, session)| item(session))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::config::access::Grant;
    use crate::router::{ConnectionId, Env, Out, Router};
    use crate::store::Store;
    use crate::xmpp::random::NoDice;
    use crate::xmpp::{FullJid, Now, PresenceType, Stanza};

    const NOW: Now = Now { unix_millis: 1_000_000, monotonic_millis: 5_000 };
    const OUTPUT_BYTES_MAX: usize = 400_000;

    /// The answers that an admin gets to these payloads, with 300 sessions whose names are as long as names may be.
    fn answers(payloads: [(&str, Element); 3]) -> Vec<Element> {
        let mut config = Config::for_host("h.test");
        let admin = FullJid::new("admin@h.test/r").unwrap();
        config.limits.output_bytes_max = OUTPUT_BYTES_MAX;
        let grant = Grant { feature: None, jids: vec![admin.to_bare()], domains: Vec::new() };
        config.hosts.iter_mut().for_each(|host| host.grants.0.push(grant.clone()));
        let mut router = Router::new(Arc::new(config), crate::modules::table(), NOW);
        let mut store = Store::in_memory().unwrap();
        let mut env = Env { now: NOW, random: &mut NoDice, store: &mut store };
        let session = router.bind(&mut env, admin, ConnectionId(1));
        let status = Element::new("status", ns::CLIENT).with_text("s".repeat(10_000));
        for n in 0..300 {
            let jid = format!("{}{n}@h.test/{}", "u".repeat(1_000), "r".repeat(1_000));
            let id = router.bind(&mut env, FullJid::new(&jid).unwrap(), ConnectionId(n + 2));
            let presence = Stanza::presence(PresenceType::Available).with_child(status.clone());
            router.from_session(&mut env, id, presence);
        }
        router.take_out();
        let answers = payloads.map(|(to, payload)| {
            let to = crate::xmpp::Jid::new(to).unwrap();
            router.from_session(&mut env, session, Stanza::iq(IqType::Get, "i", Some(payload)).with_to(to));
            let mut out = router.take_out().into_iter();
            let Some(Out::Stanza(_, answer)) = out.next() else { panic!("no answer") };
            assert!(out.next().is_none());
            assert!(answer.to_text().len() < OUTPUT_BYTES_MAX / 2 + 10_000, "{}", answer.to_text().len());
            let payload = answer.element().children().next().cloned();
            payload.unwrap()
        });
        answers.into()
    }

    #[test]
    fn answers_about_sessions_with_long_names_fit_into_what_may_wait() {
        let who = Element::new("query", ns::IQ_ADMIN).with_child(Element::new("who", ns::IQ_ADMIN));
        let answers = answers([
            ("h.test", who),
            ("h.test/admin", Element::new("query", ns::BROWSE)),
            ("h.test/admin", Element::new("query", ns::DISCO_ITEMS)),
        ]);
        let [who, browse, items] = answers.as_slice() else { panic!("three answers") };
        let who = who.children().next().unwrap();
        let (listed, of) = (who.children().count(), 301);
        assert!(listed > 10 && listed < of);
        assert_eq!(who.text(), format!("The first {listed} of {of} sessions."));
        let listed = browse.children().count();
        assert!(
            listed > 10 && browse.attribute("name").unwrap().ends_with(&format!("the first {listed} of {of} users"))
        );
        assert!((10..of).contains(&items.children().count()));
    }
}
