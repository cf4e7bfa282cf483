//! XEP-0133 §4.11: domains with which nothing is exchanged. The blocks are the whole server's.

use super::{ask, fault};
use crate::config::{Block, BlockAction, hosts, one_name};
use crate::router::Context;
use crate::router::command::{self, Call, Outcome, Severity, Stage};
use crate::store::blocks;
use crate::xmpp::data_form::{Field, FieldType};
use crate::xmpp::{Condition, StanzaError};

/// How many blocks a form can hold; of more, jabberctl takes care.
const SHOWN_MAX: usize = 500;
/// The field of the list, and the hidden one with the blocks that the form was made from.
const LIST: &str = "blacklistjids";
const SHOWN: &str = "{urn:jabber:config:3}shown";

/// XEP-0133 §4.11: the whole list as it is to be. What is on it already stays as it is; what is new is dropped silently,
/// with all domains below.
pub(super) fn edit(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let made: Vec<String> = blocks::all(context.store)?.into_iter().map(|block| block.domain).collect();
    let mut fixed: Vec<String> = context.config.blocks.all().map(|block| block.domain.clone()).collect();
    fixed.retain(|domain| !made.contains(domain));
    fixed.sort();
    if made.len().saturating_add(fixed.len()) > SHOWN_MAX {
        let text = format!("More than {SHOWN_MAX} domains are blocked; use jabberctl on the server.");
        return Err(StanzaError::new(Condition::NotAcceptable, text));
    }
    let Some(answer) = call.forms.first() else {
        let instructions = "Fill out this form to edit the list of entities with whom communications are disallowed.";
        let field = Field::new(FieldType::JidMulti, LIST).labelled("The blacklist");
        // What an admin did not see he does not take back: jabberctl may block while the form is open.
        let shown = Field::new(FieldType::Hidden, SHOWN).with_values(made.iter().cloned());
        let form = ask("Editing the blacklist", instructions).with(field.with_values(made.into_iter().chain(fixed)));
        return Ok(Stage::AskLast(form.with(shown)));
    };
    if !answer.has(LIST) {
        return Err(fault(LIST, "the list is missing; an empty one takes all blocks back"));
    }
    let shown: Vec<&String> =
        made.iter().filter(|domain| !answer.has(SHOWN) || answer.values(SHOWN).contains(domain)).collect();
    let wanted = domains_in(context, answer.jids(LIST).map_err(|fault| command::bad_payload(&fault))?)?;
    let added: Vec<&String> =
        wanted.iter().filter(|domain| !made.contains(domain) && !fixed.contains(domain)).collect();
    let removed: Vec<&String> = shown.into_iter().filter(|domain| !wanted.contains(domain)).collect();
    let mut outcome = Outcome::noted(format!("{} added, {} removed.", added.len(), removed.len()));
    let block = |domain: &String| Block { domain: domain.clone(), subdomains: true, action: BlockAction::Drop };
    if !added.is_empty() || !removed.is_empty() {
        let admin = call.requester.to_bare();
        log::info!(target: &context.host.name, "{admin} blocks {added:?}, and takes back the blocks of {removed:?}");
        context.change_blocks(added.into_iter().map(block).collect(), removed.into_iter().cloned().collect());
    }
    for domain in fixed.iter().filter(|domain| !wanted.contains(domain)) {
        let text = format!("{domain} stays blocked: jabber.xml says so, and only there it can be taken back.");
        outcome = outcome.with_note(Severity::Warn, text);
    }
    Ok(outcome.into())
}

/// The domains in the list, prepared. Ours cannot be among them.
fn domains_in(context: &Context<'_>, jids: Vec<crate::xmpp::Jid>) -> Result<Vec<String>, StanzaError> {
    let mut domains = Vec::new();
    for jid in jids {
        let name = hosts::host_name(jid.as_str())
            .map_err(|_| fault(LIST, format!("{jid} is no domain, and only domains can be blocked")))?;
        if context.config.is_own(&name) {
            return Err(fault(LIST, format!("{name} is served here")));
        }
        domains.push(one_name(&name).into_owned());
    }
    if domains.len() > SHOWN_MAX {
        return Err(fault(LIST, format!("it has more than {SHOWN_MAX} domains")));
    }
    Ok(domains)
}
