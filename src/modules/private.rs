//! XEP-0049: Private XML Storage: clients keep their settings and bookmarks here.

use crate::router::{About, Answers, Context, Module, Reply, Scope};
use crate::store::{Bounds, private};
use crate::xml::{self, Element};
use crate::xmpp::{Condition, Iq, IqType, StanzaError, jid, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Private)
}

struct Private;

impl Module for Private {
    fn about(&self) -> &'static About {
        &About {
            specs: &["XEP-0049 1.2"],
            disco: &[ns::PRIVATE],
            answers: &[
                Answers { scope: &[Scope::Account], kind: IqType::Get, ns: ns::PRIVATE, name: "query" },
                Answers { scope: &[Scope::Account], kind: IqType::Set, ns: ns::PRIVATE, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let (Some(from), Some(to)) = (iq.from(), iq.to()) else { return Err(Condition::BadRequest.into()) };
        // XEP-0049 §2.3: nobody reads or writes another's.
        if !jid::same_bare(from, to) {
            return Err(Condition::Forbidden.into());
        }
        let account = to.to_bare();
        let elements: Vec<&Element> = iq.payload().children().collect();
        if elements.is_empty() || elements.iter().any(|element| is_reserved(element.ns())) {
            return Err(Condition::NotAcceptable.into());
        }
        if iq.kind() == IqType::Set {
            for element in elements {
                set(context, &account, element)?;
            }
            return Ok(Reply::empty());
        }
        // XEP-0049 §2.2: one element is asked for at a time, and what was never stored comes back as it was asked.
        let Some(wanted) = elements.first() else { return Err(Condition::NotAcceptable.into()) };
        let kept = private::element(context.store, &account, wanted.name(), wanted.ns())?;
        let found = kept.as_deref().and_then(xml::parse).unwrap_or_else(|| (*wanted).clone());
        Ok(Element::new("query", ns::PRIVATE).with_child(found).into())
    }
}

fn set(context: &mut Context<'_>, account: &crate::xmpp::BareJid, element: &Element) -> Result<(), StanzaError> {
    let limits = &context.config.limits;
    let bounds = Bounds { count: limits.private_elements_max as u64, bytes: limits.private_bytes_max as u64 };
    let text = element.to_string();
    match private::set(context.store, account, element.name(), element.ns(), &text, bounds)? {
        private::Kept::Kept => Ok(()),
        private::Kept::Full => {
            let most = limits.private_bytes_max;
            Err(StanzaError::new(
                Condition::ResourceConstraint,
                format!("An account may keep {most} bytes of private data at most."),
            ))
        }
    }
}

/// XEP-0049 §2.3: namespaces of the protocol itself, and none at all, cannot be used.
fn is_reserved(ns: &str) -> bool {
    ns.is_empty() || ns.starts_with("jabber:") || ns == ns::VCARD
}
