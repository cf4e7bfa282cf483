//! XEP-0202: Entity Time, and XEP-0090 for clients from before it. The server's clock is in UTC.

use crate::router::{About, Answers, Context, Module, Reply, Scope};
use crate::xml::Element;
use crate::xmpp::{Iq, IqType, StanzaError, datetime, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Time)
}

struct Time;

impl Module for Time {
    fn about(&self) -> &'static About {
        &About {
            specs: &["XEP-0202 2.0", "XEP-0090 1.2"],
            disco: &[ns::TIME, ns::LEGACY_TIME],
            answers: &[
                Answers { scope: &[Scope::Server], kind: IqType::Get, ns: ns::TIME, name: "time" },
                Answers { scope: &[Scope::Server], kind: IqType::Get, ns: ns::LEGACY_TIME, name: "query" },
            ],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let millis = context.now.unix_millis;
        let reply = if iq.payload().ns() == ns::TIME {
            let field = |name, text: String| Element::new(name, ns::TIME).with_text(text);
            Element::new("time", ns::TIME)
                .with_child(field("tzo", "+00:00".to_string()))
                .with_child(field("utc", datetime::stamp(millis)))
        } else {
            let field = |name, text: String| Element::new(name, ns::LEGACY_TIME).with_text(text);
            Element::new("query", ns::LEGACY_TIME)
                .with_child(field("utc", datetime::legacy_stamp(millis)))
                .with_child(field("tz", "UTC".to_string()))
                .with_child(field("display", datetime::legacy_display(millis)))
        };
        Ok(reply.into())
    }
}
