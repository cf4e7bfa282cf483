//! XEP-0013: a client that looks through the messages that wait, and takes and removes them one by one.

use super::Offline;
use super::sending::{self, Sending};
use crate::router::{Context, Reply, SessionId};
use crate::store::offline;
use crate::xml::Element;
use crate::xmpp::data_form::{Field, FieldType, Form};
use crate::xmpp::{BareJid, Condition, Iq, IqType, Jid, Stanza, StanzaError, jid, ns};

/// How many headers one answer has; the rest shows when these are removed.
const HEADERS_MAX: usize = 5_000;
/// How many messages are read at a time.
const PAGE: usize = 100;
/// Bytes of a stored message that cost about as much as a stanza that is sent.
const BYTES_PER_STEP: usize = 200;

/// XEP-0013 §2.3: a number whose order as text is the order of the messages.
fn node_of(id: u64) -> String {
    format!("{id:020}")
}

/// The number in a node that [`node_of`] made.
fn id_of(item: &Element) -> Option<u64> {
    let node = item.attribute("node").filter(|node| node.len() == 20 && node.bytes().all(|b| b.is_ascii_digit()))?;
    node.parse().ok()
}

/// XEP-0013 §2.4: the message says which one it is; what its sender wrote in that place does not count.
pub(super) fn marked(stanza: Stanza, id: u64) -> Stanza {
    let item = Element::new("item", ns::OFFLINE).with_attribute("node", node_of(id));
    let mark = Element::new("offline", ns::OFFLINE).with_child(item);
    stanza.map_element(|element| element.keeping_children(|child| child.ns() != ns::OFFLINE).with_child(mark))
}

impl Offline {
    /// A request to the queue of an account.
    pub(super) fn retrieval(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(to) = iq.to().filter(|to| to.node().is_some()) else {
            return Err(Condition::ItemNotFound.into());
        };
        // XEP-0013 §2.3 and §5: nobody else's business. An account that does not exist gives the same answer.
        let own = iq.from().is_some_and(|from| jid::same_bare(from, to));
        let (true, Some(session)) = (own, context.requesting_session()) else {
            return Err(Condition::Forbidden.into());
        };
        let account = to.to_bare();
        match (iq.payload().ns(), iq.kind()) {
            (ns::DISCO_INFO, _) => {
                looks_itself(context, session);
                info(context, &account)
            }
            (ns::DISCO_ITEMS, _) => {
                looks_itself(context, session);
                headers(context, &account)
            }
            // Compat: slixmpp sends it in a set.
            _ if iq.payload().child("fetch", ns::OFFLINE).is_some() => {
                looks_itself(context, session);
                let request = context.keep(iq);
                self.start(context, session, Sending::fetch(request))?;
                Ok(Reply::Later)
            }
            (_, IqType::Get) => view(context, session, &account, iq),
            _ if iq.payload().child("purge", ns::OFFLINE).is_some() => {
                offline::delete_through(context.store, &account, u64::MAX)?;
                Ok(Reply::empty())
            }
            _ => remove(context, &account, iq),
        }
    }
}

/// XEP-0013 §2.2: from now on nothing is sent to this session unasked.
fn looks_itself(context: &mut Context<'_>, session: SessionId) {
    if let Some(session) = context.sessions.by_id_mut(session) {
        session.reads_offline = true;
    }
}

/// XEP-0013 §2.2: how many messages there are.
fn info(context: &Context<'_>, account: &BareJid) -> Result<Reply, StanzaError> {
    let total = offline::total(context.store, account)?;
    let count = Field::new(FieldType::TextSingle, "number_of_messages").valued(total.messages.to_string());
    let form = Form::tell(ns::OFFLINE).with(count).to_element();
    let identity = Element::new("identity", ns::DISCO_INFO)
        .with_attribute("category", "automation")
        .with_attribute("type", "message-list");
    Ok(Element::new("query", ns::DISCO_INFO)
        .with_attribute("node", ns::OFFLINE)
        .with_child(identity)
        .with_child(Element::new("feature", ns::DISCO_INFO).with_attribute("var", ns::OFFLINE))
        .with_child(form)
        .into())
}

/// XEP-0013 §2.3: who sent them, and how each is named.
fn headers(context: &mut Context<'_>, account: &BareJid) -> Result<Reply, StanzaError> {
    let mut items = Vec::new();
    let mut after = 0;
    while items.len() < HEADERS_MAX {
        let page = offline::fetch(context.store, account, after, PAGE)?;
        let Some(newest) = page.last() else { break };
        after = newest.id;
        for stored in &page {
            context.spend(1 + stored.bytes as usize / BYTES_PER_STEP);
            let Some(stanza) = sending::message(context, account, stored) else { continue };
            let name = stanza.from().map_or("", Jid::as_str).to_string();
            items.push(
                Element::new("item", ns::DISCO_ITEMS)
                    .with_attribute("jid", account.as_str().to_string())
                    .with_attribute("node", node_of(stored.id))
                    .with_attribute("name", name),
            );
        }
    }
    items.truncate(HEADERS_MAX);
    Ok(Element::new("query", ns::DISCO_ITEMS).with_attribute("node", ns::OFFLINE).with_children(items).into())
}

/// The numbers that a request names. XEP-0013 §2.4 and §2.5: what is not there is not found.
fn named(iq: &Iq<'_>, action: &str) -> Result<Vec<u64>, StanzaError> {
    let mut ids = Vec::new();
    for child in iq.payload().children() {
        if !child.is("item", ns::OFFLINE) || child.attribute("action") != Some(action) {
            let text = format!("<fetch/>, <purge/> or <item action='{action}' node='...'/> was expected.");
            return Err(StanzaError::new(Condition::BadRequest, text));
        }
        ids.push(id_of(child).ok_or(Condition::ItemNotFound)?);
    }
    match ids.is_empty() {
        true => Err(Condition::BadRequest.into()),
        false => Ok(ids),
    }
}

/// XEP-0013 §2.4: the messages, then the result. They stay.
fn view(context: &mut Context<'_>, session: SessionId, account: &BareJid, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    let mut room = context.config.limits.output_bytes_max / 2;
    for id in named(iq, "view")? {
        let stored = offline::one(context.store, account, id)?;
        let message = stored.as_ref().and_then(|stored| sending::message(context, account, stored));
        let (Some(stored), Some(message)) = (stored, message) else { return Err(Condition::ItemNotFound.into()) };
        room = room.checked_sub(stored.bytes as usize).ok_or_else(|| {
            StanzaError::new(Condition::ResourceConstraint, "These are too many at a time; ask for fewer.")
        })?;
        context.deliver(session, marked(message, id));
    }
    let request = context.keep(iq);
    context.answer_later(&request, Ok(None));
    Ok(Reply::Later)
}

/// XEP-0013 §2.5: all of the named messages, or none.
fn remove(context: &mut Context<'_>, account: &BareJid, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    for id in named(iq, "remove")? {
        // A failed request's writes are undone.
        if !offline::delete(context.store, account, id)? {
            return Err(Condition::ItemNotFound.into());
        }
    }
    Ok(Reply::empty())
}
