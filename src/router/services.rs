//! The way to services of ours: domains that a module serves, such as `users.HOST`.
//!
//! | for | the module gets |
//! |---|---|
//! | the domain itself, an iq get or set | `answer`, with [`Scope::Service`]; modules without a service answer there, too |
//! | anything else at the domain | `visited`, and nobody else does |
//!
//! A module knows by [`Context::service`](super::Context::service) that it is called for its service, and by which name.

use super::hosts::ServicePlace;
use super::module::{Flow, Point, Scope};
use super::{Addressee, Call, Effect, Env, Parcel, Router};
use crate::xmpp::{Condition, IqType, Jid, Kind, PresenceType, Stanza, StanzaError, jid};

impl Router {
    /// A stanza for a service of ours.
    pub(super) fn for_service(
        &mut self,
        env: &mut Env<'_>,
        service: ServicePlace,
        to: &Jid,
        mut parcel: Parcel,
    ) -> Result<(), StanzaError> {
        if self.blocked(jid::domain(to)).is_some() {
            return self.stop_outgoing(&parcel);
        }
        if let Kind::Iq(IqType::Get | IqType::Set) = parcel.stanza.kind() {
            let Some(iq) = parcel.stanza.as_request() else { return Err(Condition::BadRequest.into()) };
            if to.node().is_none() && to.is_bare() {
                let whom = Addressee { host: service.host, scope: Scope::Service, service: Some(service) };
                let answer = self.call_answer(env, whom, parcel.requester, &iq);
                return self.answer(env, &parcel, answer);
            }
        }
        let Parcel { requester, depth, .. } = parcel;
        let call = Call { point: Point::Visited, host: service.host, service: Some(service), depth, requester };
        let flow = self.enter(env, call, service.module, |module, context| module.visited(context, &parcel.stanza));
        match flow.transpose()? {
            Some(Flow::Handled | Flow::Undelivered) => return Ok(()),
            Some(Flow::Changed(changed)) => parcel.stanza = *changed,
            Some(Flow::Pass) | None => {}
        }
        self.nobody_there(&parcel)
    }

    /// RFC 6121 §8.5.1: the module knows nobody of that name.
    fn nobody_there(&mut self, parcel: &Parcel) -> Result<(), StanzaError> {
        match parcel.stanza.kind() {
            // RFC 6121 §3.1.3, §4.3.2: there will be no presence.
            Kind::Presence(PresenceType::Subscribe | PresenceType::Probe) => {
                let (Some(from), Some(to)) = (parcel.stanza.from(), parcel.stanza.to()) else { return Ok(()) };
                let refusal = Stanza::presence(PresenceType::Unsubscribed).with_from(jid::contact(to));
                let refusal = refusal.with_to(jid::contact(from));
                self.queue.push_back((parcel.depth + 1, Effect::Route(refusal)));
                Ok(())
            }
            Kind::Presence(_) | Kind::Iq(IqType::Result | IqType::Error) => Ok(()),
            Kind::Iq(_) | Kind::Message(_) => Err(Condition::ServiceUnavailable.into()),
        }
    }
}
