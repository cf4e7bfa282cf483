//! The blocking command (XEP-0191): the default list, seen as a set of addresses; and reports with it (XEP-0377).

use std::collections::HashSet;
use std::sync::Arc;

use super::changes::{self, Audience, Before, BlockNews, block_item};
use super::lists;
use crate::config::Config;
use crate::router::{Context, Reply, SessionId};
use crate::store::privacy;
use crate::xml::Element;
use crate::xmpp::privacy::List;
use crate::xmpp::{BareJid, Condition, Iq, Jid, MessageType, Now, Stanza, StanzaError, jid, ns};

/// What a default list is called that the command makes.
const NAME: &str = "blocklist";

/// Reports that a host's admins get in an hour: users can send them at will.
const REPORTS_PER_HOUR: u32 = 60;
/// Characters of a report's own words that are passed on.
const REPORT_CHARACTERS_MAX: usize = 1_000;

/// XEP-0191 §3.3: what says that an address is on the block list.
pub(super) fn error() -> Element {
    Element::new("blocked", ns::BLOCKING_ERRORS)
}

/// XEP-0191 §3.2: all blocked addresses. Who asks hears of changes from now on.
pub(super) fn list(context: &mut Context<'_>, id: SessionId) -> Result<Reply, StanzaError> {
    let Some(session) = context.sessions.by_id_mut(id) else { return Err(Condition::Forbidden.into()) };
    session.knows_blocks = true;
    let default = session.standing.as_ref().and_then(|standing| standing.default.clone());
    let items: Vec<Element> = default.iter().flat_map(|list| list.blocked()).map(block_item).collect();
    context.spend(items.len());
    Ok(Element::new("blocklist", ns::BLOCKING).with_children(items).into())
}

/// XEP-0191 §3.3.
pub(super) fn block(
    context: &mut Context<'_>,
    account: &BareJid,
    iq: &Iq<'_>,
    reports: &mut Reports,
) -> Result<Reply, StanzaError> {
    let jids = addresses(iq.payload(), context.config)?;
    if jids.is_empty() {
        return Err(StanzaError::new(Condition::BadRequest, "Nobody is named who is to be blocked."));
    }
    let before = Before::of(context, account);
    let old = changes::default(context, account);
    let list = match &old {
        Some(list) => (**list).clone(),
        None => List::new(&free_name(context, account)?, Vec::new())?,
    };
    let list = list.blocking(&jids);
    context.spend(list.items().len());
    let most = context.config.limits.privacy_items_max;
    if list.items().len() > most {
        return Err(lists::too_many_items(most));
    }
    lists::keep(context, account, &list)?;
    if old.is_none() {
        privacy::set_default(context.store, account, Some(list.name()))?;
    }
    let name = list.name().to_owned();
    match old {
        // It may be a session's active list as well.
        Some(_) => lists::apply(context, account, &name, Some(Arc::new(list))),
        None => changes::set_default(context, account, Some(Arc::new(list))),
    }
    let items = jids.iter().map(block_item);
    finish(context, &before, iq, Some(&name), Element::new("block", ns::BLOCKING).with_children(items))?;
    for item in iq.payload().children() {
        reports.pass_on(context, account, item);
    }
    Ok(Reply::Later)
}

/// XEP-0191 §3.4, §3.5: these addresses, or all.
pub(super) fn unblock(context: &mut Context<'_>, account: &BareJid, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    let jids = addresses(iq.payload(), context.config)?;
    let before = Before::of(context, account);
    let mut changed = None;
    if let Some(old) = changes::default(context, account) {
        let named: HashSet<&Jid> = jids.iter().collect();
        context.spend(old.items().len());
        let list = old.unblocking(|blocked| named.is_empty() || named.contains(blocked));
        if list != *old {
            changed = Some(list.name().to_owned());
            // A list of nothing is none (XEP-0016 §2.1).
            let is_over = list.items().is_empty();
            match is_over {
                true => drop(privacy::remove(context.store, account, list.name())?),
                false => lists::keep(context, account, &list)?,
            }
            lists::apply(context, account, old.name(), (!is_over).then(|| Arc::new(list)));
        }
    }
    let items = jids.iter().map(block_item);
    let news = Element::new("unblock", ns::BLOCKING).with_children(items);
    finish(context, &before, iq, changed.as_deref(), news)?;
    Ok(Reply::Later)
}

/// Pushes, the answer, and what others see of it.
fn finish(
    context: &mut Context<'_>,
    before: &Before,
    iq: &Iq<'_>,
    list: Option<&str>,
    news: Element,
) -> Result<(), StanzaError> {
    before.push(context, list.map(|name| (name, Audience::Users)), BlockNews::Command(news));
    let pending = context.keep(iq);
    context.answer_later(&pending, Ok(None));
    before.show(context)
}

/// The addresses that a command names, each once.
fn addresses(command: &Element, config: &Config) -> Result<Vec<Jid>, StanzaError> {
    let most = config.limits.privacy_items_max;
    if command.children().count() > most {
        return Err(lists::too_many_items(most));
    }
    let (mut jids, mut seen) = (Vec::new(), HashSet::new());
    for item in command.children() {
        let named = item.attribute("jid").filter(|_| item.is("item", ns::BLOCKING)).ok_or(Condition::BadRequest)?;
        let jid = jid::stable(named).map(|jid| config.with_own_name(jid)).ok_or(Condition::JidMalformed)?;
        if seen.insert(jid.clone()) {
            jids.push(jid);
        }
    }
    Ok(jids)
}

/// A name for a new default list.
fn free_name(context: &Context<'_>, account: &BareJid) -> Result<String, StanzaError> {
    let names = privacy::names(context.store, account)?;
    let mut name = NAME.to_owned();
    while names.iter().any(|(taken, _)| *taken == name) {
        name.push('+');
    }
    Ok(name)
}

/// The reports of this hour.
#[derive(Default)]
pub(super) struct Reports {
    since_millis: u64,
    count: u32,
}

impl Reports {
    /// XEP-0377 §6: whoever blocks may say why; the admins hear of it.
    fn pass_on(&mut self, context: &mut Context<'_>, account: &BareJid, item: &Element) {
        let Some(report) = item.child("report", ns::REPORTING) else { return };
        let Some(jid) = item.attribute("jid").and_then(jid::stable) else { return };
        let reason = match report.attribute("reason") {
            Some("urn:xmpp:reporting:spam") => "spam",
            Some("urn:xmpp:reporting:abuse") => "abuse",
            _ => "another reason",
        };
        if !self.has_room(context.now) {
            return;
        }
        log::info!(target: &context.host.name, users = "reports of spam", by:% = account;
            "report by={account} about={jid} reason={reason:?}");
        let words = report.child("text", ns::REPORTING).map(|text| text.text().into_owned()).unwrap_or_default();
        let words: String = words.trim().chars().take(REPORT_CHARACTERS_MAX).collect();
        let separator = if words.is_empty() { "" } else { "\n" };
        let body = format!("{account} has blocked {jid} for {reason}.{separator}{words}");
        let Some(host) = jid::of_host(&context.host.name) else { return };
        let text = |name, text: String| Element::new(name, ns::CLIENT).with_text(text);
        let message = Stanza::message(MessageType::Normal)
            .with_child(text("subject", format!("Admin: Report ({})", context.host.name)))
            .with_child(text("body", body))
            .with_from(host);
        for admin in &context.host.admins {
            context.route(message.clone().with_to(Jid::from(admin.jid.clone())));
        }
    }

    fn has_room(&mut self, now: Now) -> bool {
        if self.count == 0 || self.since_millis.saturating_add(3_600_000) <= now.monotonic_millis {
            *self = Reports { since_millis: now.monotonic_millis, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= REPORTS_PER_HOUR
    }
}
