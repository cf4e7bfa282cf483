//! XEP-0054: vcard-temp: a card for each account, which everybody may read, and one for the host.

use crate::router::{About, Answers, Context, Module, Reply, Scope};
use crate::store::vcard;
use crate::xml::{self, Element};
use crate::xmpp::{Condition, Iq, IqType, StanzaError, jid, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Vcard)
}

struct Vcard;

impl Module for Vcard {
    fn about(&self) -> &'static About {
        &About {
            specs: &["XEP-0054 1.3.0"],
            disco: &[ns::VCARD],
            account_disco: &[ns::VCARD],
            answers: &[
                Answers { scope: &[Scope::Server, Scope::Account], kind: IqType::Get, ns: ns::VCARD, name: "vCard" },
                Answers { scope: &[Scope::Account], kind: IqType::Set, ns: ns::VCARD, name: "vCard" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(to) = iq.to() else { return Err(Condition::BadRequest.into()) };
        if to.node().is_none() {
            return context.host.vcard.clone().map(Reply::from).ok_or_else(|| Condition::ItemNotFound.into());
        }
        let account = to.to_bare();
        let is_own = iq.from().is_some_and(|from| jid::same_bare(from, to));
        if iq.kind() == IqType::Set {
            return set(context, iq, is_own);
        }
        match vcard::of(context.store, &account)?.as_deref().and_then(xml::parse) {
            Some(card) => Ok(card.into()),
            // XEP-0054 §3.1: who has none gets an empty one of their own.
            None if is_own => Ok(Element::new("vCard", ns::VCARD).into()),
            // XEP-0054 §3.3: the same as for a name without an account, so that nobody can find out which names exist.
            None => Err(Condition::ServiceUnavailable.into()),
        }
    }
}

/// XEP-0054 §3.2: only one's own, and it replaces the old one.
fn set(context: &mut Context<'_>, iq: &Iq<'_>, is_own: bool) -> Result<Reply, StanzaError> {
    let Some(to) = iq.to().filter(|_| is_own) else { return Err(Condition::Forbidden.into()) };
    let text = iq.payload().to_string();
    if text.len() > context.config.limits.vcard_bytes_max {
        let most = context.config.limits.vcard_bytes_max;
        return Err(StanzaError::new(
            Condition::ResourceConstraint,
            format!("The vCard may have {most} bytes at most."),
        ));
    }
    vcard::set(context.store, &to.to_bare(), &text)?;
    Ok(Reply::empty())
}
