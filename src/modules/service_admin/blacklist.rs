//! XEP-0133 §4.11: domains with which nothing is exchanged. The blocks are the whole server's.

use super::{ask, fault};
use crate::config::{Block, BlockAction, hosts};
use crate::router::Context;
use crate::router::command::{self, Call, Outcome, Severity, Stage};
use crate::store::blocks;
use crate::xmpp::data_form::{Field, FieldType};
use crate::xmpp::{Condition, Jid, StanzaError};

/// How many blocks a form can hold; of more, jabberctl takes care.
const SHOWN_MAX: usize = 500;
/// What a form has besides its values, in bytes, with some to spare.
const FORM_BYTES: usize = 1_024;
/// The field of the list.
const LIST: &str = "blacklistjids";

/// XEP-0133 §4.11: the whole list as it is to be. What is on it already stays as it is; what is new is dropped silently,
/// with all domains below.
pub(super) fn edit(context: &mut Context<'_>, call: &Call<'_>) -> Result<Stage, StanzaError> {
    let made: Vec<String> = blocks::all(context.store)?.into_iter().map(|block| block.domain).collect();
    let mut fixed: Vec<String> = context.config.blocks.all().map(|block| block.domain.clone()).collect();
    fixed.retain(|domain| !made.contains(domain));
    fixed.sort();
    let Some(answer) = call.forms.first() else {
        if !fits(context, made.iter().chain(&fixed)) {
            let text = "More domains are blocked than a form can hold; use jabberctl on the server.";
            return Err(StanzaError::new(Condition::NotAcceptable, text));
        }
        let instructions = "Fill out this form to edit the list of entities with whom communications are disallowed.";
        let field = Field::new(FieldType::JidMulti, LIST).labelled("The blacklist");
        let field = field.with_values(made.iter().cloned().chain(fixed));
        return Ok(Stage::AskLastOf(ask("Editing the blacklist", instructions).with(field), made));
    };
    if !answer.has(LIST) {
        return Err(fault(LIST, "the list is missing; an empty one takes all blocks back"));
    }
    let wanted = domains_in(context, answer.jids(LIST).map_err(|fault| command::bad_payload(&fault))?)?;
    let added: Vec<&String> =
        wanted.iter().filter(|domain| !made.contains(domain) && !fixed.contains(domain)).collect();
    // What an admin did not see he does not take back: others may block while the form is open.
    let is_taken_back = |domain: &&String| call.shown.contains(domain) && !wanted.contains(domain);
    let (removed, kept): (Vec<&String>, Vec<&String>) = made.iter().partition(is_taken_back);
    if !added.is_empty() && !fits(context, kept.iter().chain(&added).copied().chain(&fixed)) {
        return Err(fault(LIST, "the list would be longer than a form can hold; use jabberctl on the server"));
    }
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

/// Do they fit into a form that can come back (`command-bytes-max`)? What a client blocked a client can let in again.
fn fits<'a>(context: &Context<'_>, domains: impl Iterator<Item = &'a String>) -> bool {
    let (count, bytes) = domains.fold((0, FORM_BYTES), |(count, bytes), domain| (count + 1, bytes + domain.len()));
    count <= SHOWN_MAX && bytes <= context.config.limits.command_bytes_max
}

/// The domains in the list, prepared. Ours cannot be among them.
fn domains_in(context: &Context<'_>, jids: Vec<Jid>) -> Result<Vec<String>, StanzaError> {
    let mut domains = Vec::new();
    for jid in jids {
        let name = hosts::host_name(jid.as_str())
            .map_err(|_| fault(LIST, format!("{jid} is no domain, and only domains can be blocked")))?;
        if name.contains('*') {
            return Err(fault(LIST, "\"*\" is in no domain; with a domain all below it are blocked"));
        }
        if context.config.is_own(&name) {
            return Err(fault(LIST, format!("{name} is served here")));
        }
        domains.push(name);
    }
    Ok(domains)
}
