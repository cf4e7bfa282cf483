//! XEP-0199: XMPP Ping. The server, its accounts and its services answer; a ping to a full JID is routed like any iq.

use crate::router::{About, Answers, Context, Module, Reply, Scope};
use crate::xmpp::{Iq, IqType, StanzaError, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Ping)
}

struct Ping;

impl Module for Ping {
    fn about(&self) -> &'static About {
        &About {
            specs: &["XEP-0199 2.0.1"],
            disco: &[ns::PING],
            service_disco: &[ns::PING],
            answers: &[Answers {
                scope: &[Scope::Server, Scope::Account, Scope::Service],
                kind: IqType::Get,
                ns: ns::PING,
                name: "ping",
            }],
            ..About::NONE
        }
    }

    /// XEP-0199 §4.2: the answer is an empty result.
    fn answer(&mut self, _: &mut Context<'_>, _: &Iq<'_>) -> Result<Reply, StanzaError> {
        Ok(Reply::empty())
    }
}
