//! jabberd 1.4's mod_admin: messages to the host reach its admins, and they see who is connected.
//!
//! | what | who may | file |
//! |---|---|---|
//! | a message to the host | everybody | `letters.rs` |
//! | jabber:iq:browse of `HOST/admin`, XEP-0030 of it and of the node `online sessions`, jabber:iq:admin | `listsessions` | `lists.rs` |

mod letters;
mod lists;

use crate::router::{About, Answers, Context, Flow, Module, Reply, Scope};
use crate::xmpp::{Condition, Iq, IqType, Kind, Stanza, StanzaError, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::<Admin>::default()
}

#[derive(Default)]
struct Admin {
    answered: letters::Answered,
}

impl Module for Admin {
    fn about(&self) -> &'static About {
        const HOST: &[Scope] = &[Scope::Server];
        const ADMIN: &[Scope] = &[Scope::Resource];
        &About {
            answers: &[
                Answers { scope: HOST, kind: IqType::Get, ns: ns::IQ_ADMIN, name: "query" },
                Answers { scope: HOST, kind: IqType::Set, ns: ns::IQ_ADMIN, name: "query" },
                Answers { scope: ADMIN, kind: IqType::Get, ns: ns::BROWSE, name: "query" },
                Answers { scope: ADMIN, kind: IqType::Get, ns: ns::BROWSE, name: "item" },
                Answers { scope: ADMIN, kind: IqType::Get, ns: ns::DISCO_INFO, name: "query" },
                Answers { scope: ADMIN, kind: IqType::Get, ns: ns::DISCO_ITEMS, name: "query" },
            ],
            nodes: &[ns::ONLINE_SESSIONS],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(to) = iq.to().filter(|to| to.node().is_none()) else { return Err(Condition::ItemNotFound.into()) };
        let resource = to.resource().map(|resource| resource.as_str());
        let is_of_admins = matches!(resource, None | Some("admin"));
        if !is_of_admins {
            return Err(Condition::ItemNotFound.into());
        }
        if !iq.from().is_some_and(|from| context.host.may_list_sessions(&from.to_bare())) {
            return Err(Condition::NotAllowed.into());
        }
        match iq.payload().ns() {
            ns::IQ_ADMIN => lists::iq_admin(context, iq),
            ns::BROWSE => Ok(lists::browse(context).into()),
            ns::DISCO_INFO => Ok(lists::info(iq).into()),
            _ => Ok(lists::items(context, iq).into()),
        }
    }

    fn visited(&mut self, context: &mut Context<'_>, stanza: &Stanza) -> Result<Flow, StanzaError> {
        match stanza.kind() {
            Kind::Message(kind) if stanza.to().is_some_and(|to| to.is_bare()) => {
                self.answered.letter(context, kind, stanza)
            }
            _ => Ok(Flow::Pass),
        }
    }
}
