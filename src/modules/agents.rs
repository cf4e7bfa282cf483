//! XEP-0094: Agent Information, the list of services that clients before XEP-0011 build their menus from.

use crate::config::BrowseItem;
use crate::router::{About, Answers, Context, Module, Reply, Scope};
use crate::xml::Element;
use crate::xmpp::{Condition, Iq, IqType, Jid, StanzaError, jid, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Agents)
}

struct Agents;

impl Module for Agents {
    fn about(&self) -> &'static About {
        const BOTH: &[Scope] = &[Scope::Server, Scope::Account];
        &About {
            specs: &["XEP-0094 0.3"],
            answers: &[
                Answers { scope: BOTH, kind: IqType::Get, ns: ns::AGENTS, name: "query" },
                Answers { scope: BOTH, kind: IqType::Get, ns: ns::AGENT, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let (Some(from), Some(to)) = (iq.from(), iq.to()) else { return Err(Condition::BadRequest.into()) };
        let wants_list = iq.payload().ns() == ns::AGENTS;
        if wants_list && !context.host.agents {
            return Err(Condition::ServiceUnavailable.into());
        }
        let answer = if wants_list { list(context, from) } else { host(context) };
        if to.node().is_none() {
            return Ok(answer.into());
        }
        // Compat: clients of 2001 leave `to` out and mean the host, which answers in its own name.
        let host = jid::of_host(&context.host.name).filter(|_| jid::same_bare(from, to));
        let (Some(host), Some(session)) = (host, context.requesting_session()) else {
            return Err(Condition::ServiceUnavailable.into());
        };
        context.deliver(session, iq.stanza().result(Some(answer)).with_from(host));
        Ok(Reply::Later)
    }
}

fn field(ns: &'static str, name: &'static str, text: &str) -> Option<Element> {
    (!text.is_empty()).then(|| Element::new(name, ns).with_text(text.to_string()))
}

/// XEP-0094 §2: the services that the asker may see.
fn list(context: &Context<'_>, asker: &Jid) -> Element {
    let services = context.listed_services(Some(&asker.to_bare()));
    Element::new("query", ns::AGENTS).with_children(services.iter().map(|item| agent(item)))
}

fn agent(item: &BrowseItem) -> Element {
    let can = |name: &'static str| Element::new(name, ns::AGENTS);
    let abilities = item.namespaces.iter().filter_map(|ns| match ns.as_str() {
        ns::REGISTER => Some(can("register")),
        ns::SEARCH => Some(can("search")),
        // Compat: jabberd 1.4's text, which clients show as the question for the name on the other network.
        ns::GATEWAY => Some(can("transport").with_text("Enter ID")),
        _ => None,
    });
    can("agent")
        .with_attribute("jid", item.jid.to_string())
        .with_children(field(ns::AGENTS, "name", &item.name))
        .with_children(field(ns::AGENTS, "service", &item.kind))
        .with_children(abilities)
        .with_children((item.category == "conference").then(|| can("groupchat")))
}

/// What the host itself is.
fn host(context: &Context<'_>) -> Element {
    let card = |name: &str| {
        let card = context.host.vcard.as_ref()?.child(name, ns::VCARD)?;
        Some(card.text().trim().to_string())
    };
    let can = |name: &'static str| Element::new(name, ns::AGENT);
    let told = |from: &str, name: &'static str| field(ns::AGENT, name, &card(from).unwrap_or_default());
    Element::new("query", ns::AGENT)
        .with_children(told("FN", "name"))
        .with_children(told("DESC", "description"))
        .with_children(told("URL", "url"))
        .with_child(can("service").with_text("jabber"))
        .with_children(context.host.agents.then(|| can("agents")))
        .with_children(context.host.register.is_some().then(|| can("register")))
}
