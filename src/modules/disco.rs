//! XEP-0030: Service Discovery: what the host, its accounts and its services are and can do, told by the modules that are on.

use std::collections::BTreeSet;

use crate::config::{ContactRole, Service};
use crate::router::command::{self, Command};
use crate::router::{About, Answers, Context, Module, Reply, Scope, ServiceAbout};
use crate::store::roster;
use crate::xml::Element;
use crate::xmpp::data_form::{Field, FieldType, Form};
use crate::xmpp::{Condition, Iq, IqType, Jid, StanzaError, jid, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Disco)
}

struct Disco;

impl Module for Disco {
    fn about(&self) -> &'static About {
        const INFO: &[Scope] = &[Scope::Server, Scope::Account, Scope::Service];
        const ITEMS: &[Scope] = &[Scope::Server, Scope::Account, Scope::Service, Scope::Nobody];
        &About {
            specs: &["XEP-0030 2.5.0", "XEP-0128 1.0.1", "XEP-0157 1.1.1"],
            disco: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
            account_disco: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
            service_disco: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
            answers: &[
                Answers { scope: INFO, kind: IqType::Get, ns: ns::DISCO_INFO, name: "query" },
                Answers { scope: ITEMS, kind: IqType::Get, ns: ns::DISCO_ITEMS, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(to) = iq.to() else { return Err(Condition::BadRequest.into()) };
        let wants_info = iq.payload().ns() == ns::DISCO_INFO;
        let is_server = to.node().is_none();
        if !is_server && !may_ask(context, iq.from(), to)? {
            // XEP-0030 §8: to strangers an account looks as if it were not there, and that has no items.
            return match wants_info {
                true => Err(Condition::ServiceUnavailable.into()),
                false => Ok(Element::new("query", ns::DISCO_ITEMS).into()),
            };
        }
        let is_host = is_server && context.service().is_none();
        match iq.payload().attribute("node").filter(|node| !node.is_empty()) {
            None => {}
            Some(ns::COMMANDS) if is_host && context.has_commands() => {
                return Ok(command_list(context, to, wants_info).into());
            }
            Some(node) => {
                let command = context.commands().find(|command| is_host && command.node == node);
                // XEP-0030 §3.2: a node that is not known is not found.
                return command_node(context, command.ok_or(Condition::ItemNotFound)?, wants_info);
            }
        }
        if let Some((service, about)) = context.service() {
            // XEP-0030 §4.1: a service without items has an empty list of them.
            let items = || Element::new("query", ns::DISCO_ITEMS);
            return Ok(if wants_info { service_info(context, service, about) } else { items() }.into());
        }
        Ok(match (is_server, wants_info) {
            (true, true) => server_info(context).into(),
            (true, false) => server_items(context, iq.from()).into(),
            (false, true) => account_info(context).into(),
            (false, false) => account_items(context, to, iq.from()).into(),
        })
    }
}

/// The account itself, and those who may see its presence (XEP-0030 §8, RFC 6121 §8.5.2.1.3).
fn may_ask(context: &mut Context<'_>, from: Option<&Jid>, to: &Jid) -> Result<bool, StanzaError> {
    let Some(from) = from else { return Ok(false) };
    Ok(jid::same_bare(from, to) || roster::may_see_presence(context.store, &to.to_bare(), from)?)
}

fn identity(category: &'static str, kind: &'static str) -> Element {
    Element::new("identity", ns::DISCO_INFO).with_attribute("category", category).with_attribute("type", kind)
}

fn features(names: impl Iterator<Item = &'static str>) -> impl Iterator<Item = Element> {
    let sorted: BTreeSet<&'static str> = names.collect();
    sorted.into_iter().map(|name| Element::new("feature", ns::DISCO_INFO).with_attribute("var", name))
}

/// XEP-0030 §3.1, with what jabber.xml's `<disco>` adds.
fn server_info(context: &Context<'_>) -> Element {
    let card = context.host.vcard.as_ref();
    let name = card.and_then(|card| card.child("FN", ns::VCARD)).map(|name| name.text().into_owned());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "jabber".to_string());
    let own = std::iter::once(identity("server", "im").with_attribute("name", name));
    let own = own.chain(features(context.abouts().flat_map(|about| about.disco.iter().copied())));
    // XEP-0030 §3.1: nothing is told twice; what the admin wrote is told as written.
    let mut told: Vec<Element> = Vec::new();
    for element in &context.host.disco {
        if !told.iter().any(|other| is_same(other, element)) {
            told.push(element.clone());
        }
    }
    let unwritten = own.filter(|element| !told.iter().any(|other| is_same(other, element)));
    told.extend(unwritten.collect::<Vec<Element>>());
    told.sort_by_key(|element| element.name() != "identity");
    Element::new("query", ns::DISCO_INFO).with_children(told).with_children(contacts(context))
}

/// Do they tell the same: the same feature, or an identity of the same kind in the same language?
fn is_same(one: &Element, other: &Element) -> bool {
    let telling = ["var", "category", "type", "xml:lang"];
    one.name() == other.name() && telling.iter().all(|name| one.attribute(name) == other.attribute(name))
}

/// XEP-0030 §3.1, of a service that its module declared.
fn service_info(context: &Context<'_>, service: &Service, about: &'static ServiceAbout) -> Element {
    let shared = context.abouts().flat_map(|about| about.service_disco.iter().copied());
    Element::new("query", ns::DISCO_INFO)
        .with_child(identity(about.category, about.identity).with_attribute("name", about.title(service).to_string()))
        .with_children(features(shared.chain(about.disco.iter().copied())))
}

/// XEP-0157 §3: whom to turn to; `None` if the admin names nobody.
fn contacts(context: &Context<'_>) -> Option<Element> {
    let field = |role: ContactRole| {
        let addresses = context.host.contact_addresses(role);
        let field = Field::new(FieldType::ListMulti, format!("{}-addresses", role.name()));
        (!addresses.is_empty()).then(|| field.with_values(addresses))
    };
    let fields: Vec<Field> = ContactRole::ALL.into_iter().filter_map(field).collect();
    (!fields.is_empty()).then(|| Form::tell(ns::SERVER_INFO).with_fields(fields).to_element())
}

/// XEP-0030 §4.1: the services that jabber.xml lists and the asker may see, and jabberd 1.6's lists for its admins.
fn server_items(context: &Context<'_>, asker: Option<&Jid>) -> Element {
    let asker = asker.map(Jid::to_bare);
    let item = |jid: &str, name: &str| {
        Element::new("item", ns::DISCO_ITEMS)
            .with_attribute("jid", jid.to_string())
            .with_attribute("name", name.to_string())
    };
    let listed = context.listed_services(asker.as_ref());
    let services = listed.iter().map(|service| item(service.jid.as_str(), &service.name));
    let lists_sessions = asker.as_ref().is_some_and(|asker| context.host.may_list_sessions(asker))
        && context.abouts().any(|about| about.nodes.contains(&ns::ONLINE_SESSIONS));
    let sessions =
        lists_sessions.then(|| item(&context.host.name, "Online Users").with_attribute("node", ns::ONLINE_SESSIONS));
    let admins = context.host.shown_admins().into_iter().map(|admin| item(admin.as_str(), "Administrator"));
    Element::new("query", ns::DISCO_ITEMS).with_children(services).with_children(sessions).with_children(admins)
}

/// XEP-0050 §2.2: the commands, for those who may use them.
fn command_list(context: &Context<'_>, host: &Jid, wants_info: bool) -> Element {
    if wants_info {
        let features = [ns::DISCO_INFO, ns::DISCO_ITEMS];
        return Element::new("query", ns::DISCO_INFO)
            .with_attribute("node", ns::COMMANDS)
            .with_child(identity("automation", "command-list").with_attribute("name", "Commands"))
            .with_children(self::features(features.into_iter()));
    }
    let items = context.usable_commands().into_iter().map(|command| {
        Element::new("item", ns::DISCO_ITEMS)
            .with_attribute("jid", host.to_string())
            .with_attribute("node", command.node)
            .with_attribute("name", command.name)
    });
    Element::new("query", ns::DISCO_ITEMS).with_attribute("node", ns::COMMANDS).with_children(items)
}

/// XEP-0050 §2.2: one command; forbidden to those who may not use it.
fn command_node(context: &Context<'_>, command: &Command, wants_info: bool) -> Result<Reply, StanzaError> {
    if !context.usable_commands().iter().any(|usable| usable.node == command.node) {
        return Err(command::forbidden());
    }
    let ns = if wants_info { ns::DISCO_INFO } else { ns::DISCO_ITEMS };
    let query = Element::new("query", ns).with_attribute("node", command.node);
    if !wants_info {
        return Ok(query.into());
    }
    let identity = identity("automation", "command-node").with_attribute("name", command.name);
    Ok(query.with_child(identity).with_children(features([ns::COMMANDS, ns::DATA_FORMS].into_iter())).into())
}

fn account_info(context: &Context<'_>) -> Element {
    Element::new("query", ns::DISCO_INFO)
        .with_child(identity("account", "registered"))
        .with_children(features(context.abouts().flat_map(|about| about.account_disco.iter().copied())))
}

/// XEP-0030 §8: the available resources, for those who see them anyway.
fn account_items(context: &Context<'_>, to: &Jid, from: Option<&Jid>) -> Element {
    let account = to.to_bare();
    let sessions = context.sessions.available(&account);
    let seen = sessions.filter(|(_, session)| from.is_some_and(|from| context.shows(session, from)));
    let jids = seen.map(|(_, session)| session.jid().to_string());
    let items = jids.map(|jid| Element::new("item", ns::DISCO_ITEMS).with_attribute("jid", jid));
    Element::new("query", ns::DISCO_ITEMS).with_children(items)
}
