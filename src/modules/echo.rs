//! Messages to `HOST/echo`, and to what is below it, come back: how admins' scripts see that the server lives.

use crate::router::{About, Context, Flow, Module};
use crate::xmpp::{Jid, Kind, MessageType, Stanza, StanzaError};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Echo)
}

struct Echo;

impl Module for Echo {
    fn about(&self) -> &'static About {
        &About::NONE
    }

    fn visited(&mut self, context: &mut Context<'_>, stanza: &Stanza) -> Result<Flow, StanzaError> {
        let (Some(from), Some(to), Kind::Message(kind)) = (stanza.from(), stanza.to(), stanza.kind()) else {
            return Ok(Flow::Pass);
        };
        if !is_echo(to) {
            return Ok(Flow::Pass);
        }
        // Two echoes must not talk to each other, and nobody answers an error.
        if kind != MessageType::Error && from.node().is_some() {
            context.route(stanza.clone().with_from(to.clone()).with_to(from.clone()));
        }
        Ok(Flow::Handled)
    }
}

fn is_echo(to: &Jid) -> bool {
    let resource = to.resource().map(|resource| resource.as_str());
    resource.is_some_and(|resource| resource == "echo" || resource.starts_with("echo/"))
}
