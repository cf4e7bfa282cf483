//! XEP-0092: Software Version of the server. jabber.xml's `<mod_version>` may say something else.

use crate::router::{About, Answers, Context, Module, Reply, Scope};
use crate::xml::Element;
use crate::xmpp::{Iq, IqType, StanzaError, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Version)
}

struct Version;

impl Module for Version {
    fn about(&self) -> &'static About {
        &About {
            specs: &["XEP-0092 1.1"],
            disco: &[ns::VERSION],
            service_disco: &[ns::VERSION],
            answers: &[Answers {
                scope: &[Scope::Server, Scope::Service],
                kind: IqType::Get,
                ns: ns::VERSION,
                name: "query",
            }],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, _: &Iq<'_>) -> Result<Reply, StanzaError> {
        let told = &context.host.version;
        let field = |name, told: &Option<String>, ours: &str| {
            Element::new(name, ns::VERSION).with_text(told.clone().unwrap_or_else(|| ours.to_string()))
        };
        let query = Element::new("query", ns::VERSION)
            .with_child(field("name", &told.name, "jabber"))
            .with_child(field("version", &told.version, env!("CARGO_PKG_VERSION")));
        // XEP-0092 §2: the operating system is optional; its release is nobody's business.
        Ok(query.with_child(field("os", &told.os, std::env::consts::OS)).into())
    }
}
