//! What is done to accounts, by their owners as well as by the admin: one way for each, whoever asks.

use super::context::Context;
use super::ids::SessionId;
use crate::config::NameReuse;
use crate::store::account::{self, Credentials};
use crate::store::invite;
use crate::stream::sasl::Password;
use crate::xmpp::stream_error::StreamCondition;
use crate::xmpp::{BareJid, Condition, StanzaError, StreamError, jid};

/// A password that can be used (XEP-0077 §3.1: others are not acceptable).
pub fn usable_password(text: &str, bytes_max: usize) -> Result<Password, StanzaError> {
    let refusal = || StanzaError::new(Condition::NotAcceptable, "The password is empty, too long, or not usable.");
    if text.len() > bytes_max {
        return Err(refusal());
    }
    Password::new(text).map_err(|_| refusal())
}

/// The account of this name at the context's host, whether it is there or not.
pub fn named(context: &Context<'_>, username: &str) -> Result<BareJid, StanzaError> {
    let domain = jid::DomainPart::new(&context.host.name).map_err(|_| Condition::NotAcceptable)?;
    let account = domain.with_node_str(username).map_err(|_| Condition::NotAcceptable)?;
    // What the next server would read as another name is none (see `jid::stable`).
    match jid::stable(account.as_str()).is_some_and(|again| account == again) {
        true => Ok(account),
        false => Err(Condition::NotAcceptable.into()),
    }
}

/// May an account of this name be made? For the admin a name may be kept for somebody.
pub fn room_for(context: &Context<'_>, account: &BareJid) -> Result<(), StanzaError> {
    if account::exists(context.store, account)? {
        return Err(taken());
    }
    let most = context.config.limits.accounts_per_host_max as u64;
    if account::count(context.store, &context.host.name)? >= most {
        return Err(StanzaError::new(Condition::ResourceConstraint, "This server takes no more accounts."));
    }
    Ok(())
}

/// Is the name kept for somebody: who had it once, will bring it along, or is invited by it? `invited` has an invitation.
pub fn is_kept(
    context: &Context<'_>,
    account: &BareJid,
    invited: Option<&invite::Invite>,
) -> Result<bool, StanzaError> {
    if account::is_reserved(context.store, account)? {
        return Ok(true);
    }
    // XEP-0401 §7.2: the name in an invitation is kept as long as that lasts.
    let is_own = invited.is_some_and(|invited| invited.names(account));
    if !is_own && invite::reserves(context.store, account, context.now.unix_millis)? {
        return Ok(true);
    }
    let Some(removed) = account::removed_at(context.store, account)? else { return Ok(false) };
    Ok(match context.host.name_reuse {
        NameReuse::AtOnce => false,
        NameReuse::After(seconds) => removed.saturating_add(seconds.saturating_mul(1000)) > context.now.unix_millis,
        NameReuse::Never => true,
    })
}

/// XEP-0077 §3.1: the name is somebody else's.
pub fn taken() -> StanzaError {
    StanzaError::new(Condition::Conflict, "Username Not Available")
}

/// The account gets a new password. Its other sessions end: they were opened with one that is no longer the account's.
pub fn change_password(
    context: &mut Context<'_>,
    account: &BareJid,
    credentials: &Credentials,
    except: Option<SessionId>,
) -> Result<(), StanzaError> {
    account::set_credentials(context.store, account, credentials)?;
    let error = StreamError::new(StreamCondition::Reset, "the password was changed");
    context.close_account(account, except, error);
    Ok(())
}

/// The account and all its sessions go.
pub fn remove(context: &mut Context<'_>, account: &BareJid) {
    let name = account.node().map(|node| node.as_str()).unwrap_or_default();
    log::info!(target: &context.host.name, users = "accounts that were removed"; "User Unregistered: {name}");
    context.close_account(account, None, StreamError::new(StreamCondition::NotAuthorized, "the account was removed"));
    context.delete_account(account);
}

/// Nobody logs in to the account any more, or everybody who knows its password again. Its data stay.
pub fn set_disabled(context: &mut Context<'_>, account: &BareJid, disabled: bool) -> Result<(), StanzaError> {
    account::set_disabled(context.store, account, disabled)?;
    if disabled {
        let error = StreamError::new(StreamCondition::PolicyViolation, "the account was disabled");
        context.close_account(account, None, error);
    }
    Ok(())
}
