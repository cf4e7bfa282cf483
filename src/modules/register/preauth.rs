//! XEP-0445: Pre-Authenticated In-Band Registration: an invitation opens registration for one stream.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::rate::Rate;
use crate::config::RegistrationMode;
use crate::router::{ConnectionId, Context, Reply};
use crate::store::invite::{self, Invite};
use crate::store::setting;
use crate::xmpp::{Condition, ErrorType, Iq, StanzaError};

/// Streams that showed an invitation and have not registered; with more, the first must show it again.
const SHOWN_MAX: usize = 1_000;
/// The longest token that is looked up; ours are shorter.
const TOKEN_BYTES_MAX: usize = 256;

/// Who showed which invitation.
#[derive(Default)]
pub(super) struct Preauth {
    shown: VecDeque<(ConnectionId, Invite)>,
    failures: Rate,
}

impl Preauth {
    /// The invitation that a stream showed, if it still counts: the header after TLS may name another host, and the admin
    /// may have closed registration since.
    fn of(&self, context: &Context<'_>, connection: ConnectionId) -> Option<&Invite> {
        let shown = self.shown.iter().find(|(shower, _)| *shower == connection).map(|(_, invite)| invite);
        shown.filter(|invite| invite.host == context.host.name && opens(context, invite))
    }

    /// The invitation with which a stream may register. One that was used or revoked since is forgotten, and where
    /// everybody may register, so may this stream (XEP-0445 §4).
    pub(super) fn left_to(
        &mut self,
        context: &Context<'_>,
        connection: ConnectionId,
    ) -> Result<Option<Invite>, StanzaError> {
        let Some(shown) = self.of(context, connection) else { return Ok(None) };
        if invite::is_left(context.store, &shown.id)? {
            return Ok(Some(shown.clone()));
        }
        self.forget(connection);
        match setting::registration(context.store, context.host)? {
            RegistrationMode::Open => Ok(None),
            RegistrationMode::Invite | RegistrationMode::Closed => Err(spent()),
        }
    }

    /// The stream has registered.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.shown.retain(|(shower, _)| *shower != connection);
    }

    /// XEP-0445 §4: a token is shown. It is not used by that; and its time counts only now.
    pub(super) fn show(
        &mut self,
        context: &Context<'_>,
        connection: ConnectionId,
        address: IpAddr,
        iq: &Iq<'_>,
    ) -> Result<Reply, StanzaError> {
        self.forget(connection);
        let limits = &context.config.limits;
        let bound = (limits.failed_logins_per_address_max as u32, limits.failed_logins_seconds);
        if self.failures.is_over(address, bound, context.now) {
            let text = "Too many wrong invitations came from your address; try again later.";
            return Err(StanzaError::new(Condition::ResourceConstraint, text));
        }
        let token = iq.payload().attribute("token").unwrap_or_default();
        let found = if token.len() <= TOKEN_BYTES_MAX { invite::by_token(context.store, token)? } else { None };
        let Some(invite) = found.filter(|invite| is_good(context, invite)) else {
            self.failures.admits(address, bound, limits.addresses_remembered_max, context.now);
            log::info!(target: &context.host.name, strangers = "wrong invitations", by:% = address;
                "an invitation from {address} was not good");
            // XEP-0445 §4: one answer for all that can be wrong with it.
            let text = "The provided token is invalid or expired";
            return Err(StanzaError::new(Condition::ItemNotFound, text).typed(ErrorType::Cancel));
        };
        if self.shown.len() >= SHOWN_MAX {
            self.shown.pop_front();
        }
        self.shown.push_back((connection, invite));
        Ok(Reply::empty())
    }
}

/// Others were faster, or it was taken back.
pub(super) fn spent() -> StanzaError {
    StanzaError::new(Condition::NotAllowed, "The invitation was used or revoked in the meantime.")
}

/// Does it open registration, as things are now? Where that is closed, only if the server invited, or who is an admin.
pub(super) fn opens(context: &Context<'_>, invite: &Invite) -> bool {
    if !context.host.modules.is_on("mod_invite") {
        return false;
    }
    match setting::registration(context.store, context.host) {
        Ok(RegistrationMode::Open | RegistrationMode::Invite) => true,
        Ok(RegistrationMode::Closed) => invite.is_of_an_admin(context.host),
        Err(_) => false,
    }
}

/// May an account be made here with it, now?
fn is_good(context: &Context<'_>, invite: &Invite) -> bool {
    opens(context, invite)
        && invite.registers
        && invite.host == context.host.name
        && invite.expires > context.now.unix_millis
}
