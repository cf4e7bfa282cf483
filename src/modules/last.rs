//! XEP-0012: Last Activity: how long the server runs, how long a contact is away.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::router::{About, AccountEvent, Answers, Context, Flow, Module, Reply, Scope, SessionEvent, SessionId, Wake};
use crate::store::{last, roster};
use crate::xml::Element;
use crate::xmpp::{BareJid, Condition, Iq, IqType, Jid, Stanza, StanzaError, jid, ns};

/// How long the moments wait that the database refuses, and how many are written at a time.
const WAIT: Duration = Duration::from_secs(60);
const PAGE: usize = 200;
/// The longest status that is kept, in bytes.
const STATUS_BYTES_MAX: usize = 1_024;

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::new(Last::default())
}

#[derive(Default)]
struct Last {
    /// What is to be kept when the database takes it: one of each account.
    waiting: BTreeMap<BareJid, last::Last>,
}

impl Module for Last {
    fn about(&self) -> &'static About {
        &About {
            specs: &["XEP-0012 2.0"],
            disco: &[ns::LAST],
            account_disco: &[ns::LAST],
            answers: &[Answers {
                scope: &[Scope::Server, Scope::Account],
                kind: IqType::Get,
                ns: ns::LAST,
                name: "query",
            }],
            ..About::NONE
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
        let Some(to) = iq.to() else { return Err(Condition::BadRequest.into()) };
        if to.node().is_none() {
            // XEP-0012 §5: a server tells how long it runs.
            let seconds = context.now.monotonic_millis.saturating_sub(context.started_millis) / 1000;
            return Ok(answer(seconds, String::new()));
        }
        let account = to.to_bare();
        let Some(from) = iq.from() else { return Err(Condition::Forbidden.into()) };
        if !may_know(context, &account, from)? {
            return Err(Condition::Forbidden.into());
        }
        // XEP-0012 §3: nobody is away while a resource is there. One that shows itself to nobody counts for its owner.
        let is_own = jid::same_bare(from, &account);
        let is_here = is_own || context.sessions.available(&account).any(|(_, session)| context.shows(session, from));
        if is_here {
            return Ok(answer(0, String::new()));
        }
        let last = match self.waiting.get(&account) {
            Some(last) => Some(last.clone()),
            None => last::of(context.store, &account)?,
        };
        match last {
            Some(last) => {
                let seconds = context.now.unix_millis.saturating_sub(last.unix_millis) / 1000;
                Ok(answer(seconds, last.status))
            }
            None => Err(Condition::ItemNotFound.into()),
        }
    }

    /// XEP-0012 §4: a resource is not even asked for who may not see it; the answer would tell that it is there.
    fn arriving(&mut self, context: &mut Context<'_>, account: &BareJid, stanza: &Stanza) -> Result<Flow, StanzaError> {
        let Some(iq) = stanza.as_request().filter(|iq| iq.payload().is("query", ns::LAST)) else {
            return Ok(Flow::Pass);
        };
        let Some(from) = iq.from() else { return Err(Condition::Forbidden.into()) };
        if may_know(context, account, from)? { Ok(Flow::Pass) } else { Err(Condition::Forbidden.into()) }
    }

    /// The end of availability is kept, with the words the user left.
    fn session(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        event: &SessionEvent,
    ) -> Result<(), StanzaError> {
        let SessionEvent::Unavailable { status } = event else { return Ok(()) };
        let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else {
            return Ok(());
        };
        let status = status.clone().filter(|status| status.len() <= STATUS_BYTES_MAX).unwrap_or_default();
        let last = last::Last { unix_millis: context.now.unix_millis, status };
        let is_first = self.waiting.is_empty();
        self.waiting.insert(account, last);
        if !context.store.refuses() {
            return self.keep(context);
        }
        // A tick that is lost costs all who spoke in it.
        if is_first {
            context.wake_after(WAIT, 0);
        }
        Ok(())
    }

    fn woke(&mut self, context: &mut Context<'_>, _: Wake) -> Result<(), StanzaError> {
        if !context.store.refuses() {
            self.keep(context)?;
        }
        if !self.waiting.is_empty() {
            context.wake_after(WAIT, 0);
        }
        Ok(())
    }

    /// Compat: jabberd 1.4 told the time of registration for who was never here.
    fn account(
        &mut self,
        context: &mut Context<'_>,
        account: &BareJid,
        event: AccountEvent,
    ) -> Result<(), StanzaError> {
        self.waiting.remove(account);
        if event == AccountEvent::Created {
            let last = last::Last { unix_millis: context.now.unix_millis, status: last::REGISTERED.to_string() };
            last::set(context.store, account, &last)?;
        }
        Ok(())
    }
}

impl Last {
    /// Writes down some of those that wait.
    fn keep(&mut self, context: &mut Context<'_>) -> Result<(), StanzaError> {
        for _ in 0..PAGE {
            let Some((account, last)) = self.waiting.pop_first() else { break };
            // A session may outlive its account by a moment.
            if crate::store::account::exists(context.store, &account)? {
                last::set(context.store, &account, &last)?;
            }
        }
        Ok(())
    }
}

/// XEP-0012 §8: who may not see the presence may not know this either; admins see who is here anyway.
fn may_know(context: &Context<'_>, account: &BareJid, from: &Jid) -> Result<bool, StanzaError> {
    let sees_all = context.host.may_list_sessions(&from.to_bare());
    Ok(sees_all || jid::same_bare(from, account) || roster::may_see_presence(context.store, account, from)?)
}

fn answer(seconds: u64, status: String) -> Reply {
    Element::new("query", ns::LAST).with_attribute("seconds", seconds.to_string()).with_text(status).into()
}
