//! `jabber:iq:filter`: rules for messages as clients of jabberd 1.4 set them. All are kept; `xmpp/filter.rs` says which are
//! run.

use super::changes;
use crate::router::privacy::Standing;
use crate::router::{Context, Reply};
use crate::store::privacy;
use crate::store::private::Kept;
use crate::xml::{self, Element};
use crate::xmpp::filter::{Filter, unknown_part};
use crate::xmpp::{BareJid, Condition, StanzaError, ns};

/// The rules as they were set.
pub(super) fn read(context: &Context<'_>, account: &BareJid) -> Result<Reply, StanzaError> {
    let kept = privacy::filter(context.store, account)?;
    let query = kept.as_deref().and_then(xml::parse);
    Ok(query.unwrap_or_else(|| Element::new("query", ns::FILTER)).into())
}

/// All rules anew.
pub(super) fn change(context: &mut Context<'_>, account: &BareJid, query: &Element) -> Result<Reply, StanzaError> {
    if let Some(name) = unknown_part(query) {
        // Compat: jabberd 1.4's words and code.
        let text = format!("tag type '{name}' can not be used on this server");
        return Err(StanzaError::new(Condition::NotAcceptable, text));
    }
    if query.children().any(|rule| !rule.is("rule", ns::FILTER)) {
        return Err(StanzaError::new(Condition::BadRequest, "A filter is made of rules."));
    }
    let limits = &context.config.limits;
    let (most, bytes) = (limits.privacy_items_max, limits.privacy_bytes_max);
    let text = query.children().next().map(|_| query.to_string());
    let is_full = query.children().count() > most
        || privacy::set_filter(context.store, account, text.as_deref(), bytes as u64)? == Kept::Full;
    if is_full {
        let text = format!("A filter may have {most} rules and {bytes} bytes at most.");
        return Err(StanzaError::new(Condition::ResourceConstraint, text));
    }
    let default = changes::default(context, account);
    changes::set_standing(context, account, Standing::of(default, Filter::parse(query)));
    Ok(Reply::empty())
}
