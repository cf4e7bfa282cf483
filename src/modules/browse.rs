//! XEP-0011: Jabber Browsing, how clients of 2002 to 2004 found services and the resources of their contacts.

use crate::config::BrowseItem;
use crate::router::{About, Answers, Context, Module, Reply, Scope};
use crate::store::{registration, roster, vcard};
use crate::xml::{self, Element};
use crate::xmpp::{BareJid, Condition, Iq, IqType, Jid, StanzaError, jid, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Browse)
}

struct Browse;

impl Module for Browse {
    fn about(&self) -> &'static About {
        const ALL: &[Scope] = &[Scope::Server, Scope::Service, Scope::Account, Scope::Nobody];
        &About {
            specs: &["XEP-0011 1.3.1"],
            disco: &[ns::BROWSE],
            account_disco: &[ns::BROWSE],
            answers: &[
                Answers { scope: ALL, kind: IqType::Get, ns: ns::BROWSE, name: "query" },
                // Compat: jabberd 1.4 looked at the namespace alone, and Net::Jabber asks so.
                Answers { scope: ALL, kind: IqType::Get, ns: ns::BROWSE, name: "item" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(to) = iq.to() else { return Err(Condition::BadRequest.into()) };
        if let Some((asked, _)) = context.service() {
            // XEP-0011 §3.4: a service tells for itself what the host tells of it.
            let services = context.listed_services(None);
            let own = services.iter().find(|item| item.jid.as_str() == asked.name);
            return own.map(|own| service(own).into()).ok_or_else(|| Condition::ItemNotFound.into());
        }
        Ok(match to.node() {
            None => host(context, iq.from()).into(),
            Some(_) => account(context, iq.from(), &to.to_bare())?.into(),
        })
    }
}

fn element(name: &'static str, jid: &str) -> Element {
    Element::new(name, ns::BROWSE).with_attribute("jid", jid.to_string())
}

/// XEP-0011 §4: the host and its services, those that the asker may see.
fn host(context: &Context<'_>, asker: Option<&Jid>) -> Element {
    let asker = asker.map(Jid::to_bare);
    let card = context.host.vcard.as_ref();
    let name = card.and_then(|card| card.child("FN", ns::VCARD)).map(|name| name.text().into_owned());
    let mut host = Element::new("service", ns::BROWSE)
        .with_attribute("type", "jabber")
        .with_attribute("jid", context.host.name.clone())
        .with_attribute("name", name.filter(|name| !name.is_empty()).unwrap_or_else(|| "jabber".to_string()))
        .with_children(context.listed_services(asker.as_ref()).iter().map(|item| service(item)));
    let lists_sessions = context.abouts().any(|about| about.nodes.contains(&ns::ONLINE_SESSIONS));
    if lists_sessions && asker.is_some_and(|asker| context.host.may_list_sessions(&asker)) {
        let sessions = element("item", &format!("{}/admin", context.host.name)).with_attribute("name", "Online Users");
        host = host.with_child(sessions).with_child(namespace(ns::IQ_ADMIN));
    }
    host
}

/// XEP-0011 §2: what old clients know as elements of their own stays such, all else is an item with a category.
fn service(item: &BrowseItem) -> Element {
    let service = match item.category.as_str() {
        "service" => Element::new("service", ns::BROWSE),
        "conference" => Element::new("conference", ns::BROWSE),
        other => Element::new("item", ns::BROWSE).with_attribute("category", other.to_string()),
    };
    service
        .with_attribute("type", item.kind.clone())
        .with_attribute("jid", item.jid.to_string())
        .with_attribute("name", item.name.clone())
        .with_children(item.namespaces.iter().map(|ns| namespace(ns)))
}

fn namespace(name: &str) -> Element {
    Element::new("ns", ns::BROWSE).with_text(name.to_string())
}

/// XEP-0011 §3.3: an account, and for those who see its presence its name and its resources.
///
/// Deviation: jabberd 1.4 told strangers the name, and so which accounts there are. Here all names look alike to them.
fn account(context: &mut Context<'_>, asker: Option<&Jid>, account: &BareJid) -> Result<Element, StanzaError> {
    let user = element("user", account.as_str());
    let Some(asker) = asker else { return Ok(user) };
    if !jid::same_bare(asker, account) && !roster::may_see_presence(context.store, account, asker)? {
        return Ok(user);
    }
    let user = match name(context, account)? {
        Some(name) => user.with_attribute("name", name),
        None => user,
    };
    let seen = context.sessions.available(account).filter(|(_, session)| context.shows(session, asker));
    let sessions = seen.map(|(_, session)| session.jid().to_string());
    let client = |jid: String| element("user", &jid).with_attribute("type", "client");
    Ok(user.with_children(sessions.map(client)))
}

/// The name that a user gave in the vCard, else when registering.
fn name(context: &Context<'_>, account: &BareJid) -> Result<Option<String>, StanzaError> {
    let text = |xml: Option<String>, name: &str, ns: &str| {
        let element = xml.as_deref().and_then(xml::parse)?;
        Some(element.child(name, ns)?.text().trim().to_string()).filter(|text| !text.is_empty())
    };
    if let Some(name) = text(vcard::of(context.store, account)?, "FN", ns::VCARD) {
        return Ok(Some(name));
    }
    Ok(text(registration::of(context.store, account)?, "name", ns::REGISTER))
}
