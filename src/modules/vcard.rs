//! XEP-0054: vcard-temp: a card for each account, which everybody may read, and one for the host. A user directory on
//! another server or in a component hears of each new card, where jabber.xml says so.

use crate::router::{About, Answers, Context, Module, Reply, Scope};
use crate::store::vcard;
use crate::xml::{self, Element};
use crate::xmpp::directory::{Entry, Field};
use crate::xmpp::{BareJid, Condition, Iq, IqType, Stanza, StanzaError, jid, ns};

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
    let card = iq.payload().clone().with_name("vCard");
    let text = card.to_string();
    if text.len() > context.config.limits.vcard_bytes_max {
        let most = context.config.limits.vcard_bytes_max;
        return Err(StanzaError::new(
            Condition::ResourceConstraint,
            format!("The vCard may have {most} bytes at most."),
        ));
    }
    let account = to.to_bare();
    vcard::set(context.store, &account, &text)?;
    tell_directory(context, account, &card);
    Ok(Reply::empty())
}

/// jabberd 1.4's `<vcard2jud/>`: the first directory among the services gets the names of the card. Our own has them.
fn tell_directory(context: &mut Context<'_>, account: BareJid, card: &Element) {
    if !context.host.vcard_to_directory {
        return;
    }
    let Some(directory) = context.host.browse.iter().find(|item| item.is_directory()) else { return };
    if context.config.service(jid::domain(&directory.jid)).is_some() {
        return;
    }
    let field = |name: &'static str, text: String| Element::new(name, ns::REGISTER).with_text(text);
    let entry = Entry::of_card(card);
    let name = card.child("FN", ns::VCARD).map(|name| name.text().into_owned()).unwrap_or_default();
    let query = Element::new("query", ns::REGISTER)
        .with_child(field("name", name))
        .with_children(Field::ALL.map(|of| field(of.name(), entry.field(of).to_owned())));
    let request = Stanza::iq(IqType::Set, context.random.token(), Some(query)).with_to(directory.jid.clone());
    // From the account itself: no client gets an answer that it did not ask for. 1.4's did, and showed errors.
    context.route(request.with_from(account));
}
