//! XEP-0055: Jabber Search: the user directory of a host, at `users.HOST`.
//!
//! Who appears: with `<vcard2jud/>` in jabber.xml everybody who has a vCard, which is there for all to read anyway
//! (XEP-0054 §3.3); without it, as with jabberd 1.4's, who registered here (jabber:iq:register). Nobody appears who took
//! the entry out again, until that person registers anew. Who may look: the people of the host, and those that the
//! admin names, for a directory that the whole world can read is a list of addresses for spammers.

mod form;

use crate::config::ServiceKind;
use crate::router::{About, Answers, Context, Module, Reply, Scope, ServiceAbout};
use crate::store::directory::{self, State};
use crate::xml::Element;
use crate::xmpp::data_form::{self, FormKind, Submitted};
use crate::xmpp::directory::{Entry, Field, Wanted};
use crate::xmpp::{BareJid, Condition, Iq, IqType, Jid, StanzaError, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Search)
}

struct Search;

impl Module for Search {
    fn about(&self) -> &'static About {
        const HERE: &[Scope] = &[Scope::Service];
        &About {
            specs: &["XEP-0055 1.3"],
            service: Some(ServiceAbout {
                kind: ServiceKind::Search,
                category: "directory",
                identity: "user",
                name: "User directory",
                disco: &[ns::SEARCH, ns::REGISTER, ns::DATA_FORMS],
            }),
            answers: &[
                Answers { scope: HERE, kind: IqType::Get, ns: ns::SEARCH, name: "query" },
                Answers { scope: HERE, kind: IqType::Set, ns: ns::SEARCH, name: "query" },
                Answers { scope: HERE, kind: IqType::Get, ns: ns::REGISTER, name: "query" },
                Answers { scope: HERE, kind: IqType::Set, ns: ns::REGISTER, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(from) = iq.from() else { return Err(Condition::BadRequest.into()) };
        let is_search = iq.payload().ns() == ns::SEARCH;
        if !is_search {
            let account = own_account(context, from)?;
            return match iq.kind() {
                IqType::Get => Ok(registration(context, &account)?.into()),
                _ => register(context, &account, iq.payload()),
            };
        }
        if !context.host.services.admit(ServiceKind::Search, &context.host.name, from) {
            let text = format!("This directory is for the people of {}.", context.host.name);
            return Err(StanzaError::new(Condition::Forbidden, text));
        }
        match iq.kind() {
            IqType::Get => Ok(form::blank().into()),
            _ => search(context, iq.payload()),
        }
    }
}

/// XEP-0055 §2.1, §3: the form comes back as a form, the fields as items.
fn search(context: &mut Context<'_>, query: &Element) -> Result<Reply, StanzaError> {
    let submitted = submitted(query, ns::SEARCH)?;
    let text = |field: Field| match &submitted {
        Some(form) => form.value(field.name()).map(str::to_owned),
        None => query.child(field.name(), ns::SEARCH).map(|child| child.text().into_owned()),
    };
    let wanted: Vec<(Field, Wanted)> =
        Field::ALL.into_iter().filter_map(|field| Some((field, Wanted::parse(&text(field)?)?))).collect();
    if wanted.is_empty() {
        let text = "Fill in at least one field: the beginning of a word will do.";
        return Err(StanzaError::new(Condition::NotAcceptable, text));
    }
    let least = if context.host.vcard_to_directory { State::Card } else { State::Registered };
    let host = &context.host.name;
    context.spend(directory::CANDIDATES_MAX as usize);
    let found = directory::search(context.store, host, &wanted, least, context.config.limits.search_results_max)?;
    Ok(match submitted {
        Some(_) => form::results(host, &found),
        None => form::items(host, &found),
    }
    .into())
}

/// XEP-0004 §3.2: the form that was filled in, if it was done in that way. One that does not say its type is taken for
/// the one that was asked for (XEP-0068 §3).
fn submitted(query: &Element, form_type: &str) -> Result<Option<Submitted>, StanzaError> {
    let form = query.children().find(|child| data_form::kind_of(child) == Some(FormKind::Submit));
    let Some(form) = form else { return Ok(None) };
    let submitted =
        Submitted::parse(form).map_err(|fault| StanzaError::new(Condition::BadRequest, fault.to_string()))?;
    match submitted.value(data_form::FORM_TYPE).is_none_or(|named| named == form_type) {
        true => Ok(Some(submitted)),
        false => Err(StanzaError::new(Condition::BadRequest, "This is a form for something else.")),
    }
}

/// Only people of the host can be in its directory, each by themselves.
fn own_account(context: &Context<'_>, from: &Jid) -> Result<BareJid, StanzaError> {
    if from.node().is_none() || from.domain().as_str() != context.host.name {
        let text = format!("Only the people of {} can be in this directory.", context.host.name);
        return Err(StanzaError::new(Condition::Forbidden, text));
    }
    Ok(from.to_bare())
}

/// XEP-0077 §3.1: the fields, filled in with what is there.
fn registration(context: &Context<'_>, account: &BareJid) -> Result<Element, StanzaError> {
    let kept = directory::of(context.store, account)?;
    let is_listed = match &kept {
        Some((State::Registered, _)) => true,
        Some((State::Card, _)) => context.host.vcard_to_directory,
        Some((State::Withdrawn, _)) | None => false,
    };
    let entry = kept.map(|(_, entry)| entry).unwrap_or_default();
    Ok(form::registration(is_listed, &entry))
}

/// XEP-0077 §3.1, §3.2: into the directory, or out of it.
fn register(context: &mut Context<'_>, account: &BareJid, query: &Element) -> Result<Reply, StanzaError> {
    if query.child("remove", ns::REGISTER).is_some() {
        directory::set(context.store, account, State::Withdrawn, &Entry::default())?;
        return Ok(Reply::empty());
    }
    let most = context.config.limits.registration_field_bytes_max;
    let submitted = submitted(query, ns::REGISTER)?;
    let text = |field: Field| match &submitted {
        Some(form) => form.value(field.name()).unwrap_or_default().to_owned(),
        None => query.child(field.name(), ns::REGISTER).map(|child| child.text().into_owned()).unwrap_or_default(),
    };
    if Field::ALL.into_iter().any(|field| text(field).len() > most) {
        return Err(StanzaError::new(Condition::NotAcceptable, format!("A field may have {most} bytes at most.")));
    }
    let mut entry = Entry::new(text);
    if entry.is_empty() {
        // Who fills in nothing wants to appear as the vCard says.
        let card = crate::store::vcard::of(context.store, account)?;
        entry = card.as_deref().and_then(crate::xml::parse).map(|card| Entry::of_card(&card)).unwrap_or_default();
    }
    if entry.is_empty() {
        return Err(StanzaError::new(Condition::NotAcceptable, "Fill in at least one field."));
    }
    directory::set(context.store, account, State::Registered, &entry)?;
    Ok(Reply::empty())
}
