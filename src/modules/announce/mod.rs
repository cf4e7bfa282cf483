//! jabberd 1.4's mod_announce: messages to `HOST/announce/...` go to everybody here.
//!
//! | resource | what |
//! |---|---|
//! | `announce/online` | to all sessions that are available now |
//! | `announce/motd` | the same, and to every account that is not here at its next login, once |
//! | `announce/motd/update` | another text for those who have not had it |
//! | `announce/motd/delete` | nobody gets it any more |
//!
//! They may be sent by those to whom jabber.xml grants it, and by the host itself: what comes from exactly its bare JID
//! was made by another part of this server, since the router lets nobody outside speak in that name.
//!
//! Deviation: the message of the day is on disk. jabberd 1.4 forgot it in a restart, of which its author cannot know.

mod steps;

use steps::Jobs;

use crate::router::{About, Context, Flow, Module, SessionEvent, SessionId, Wake};
use crate::store::motd::{self, Motd};
use crate::xml::Element;
use crate::xmpp::{BareJid, Condition, Jid, Kind, MessageType, Stanza, StanzaError, delay, jid, ns};

/// The module.
pub fn new() -> Box<dyn Module> {
    Box::<Announce>::default()
}

#[derive(Default)]
struct Announce {
    jobs: Jobs,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Online,
    Motd,
    Update,
    Delete,
}

impl Order {
    /// By the resource of the host; `None` if it is no business of ours.
    fn of(resource: &str) -> Option<Result<Order, StanzaError>> {
        let rest = resource.strip_prefix("announce").filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(match rest {
            "/online" => Ok(Order::Online),
            "/motd" => Ok(Order::Motd),
            "/motd/update" => Ok(Order::Update),
            "/motd/delete" => Ok(Order::Delete),
            _ => Err(Condition::ItemNotFound.into()),
        })
    }
}

impl Module for Announce {
    fn about(&self) -> &'static About {
        &About::NONE
    }

    fn visited(&mut self, context: &mut Context<'_>, stanza: &Stanza) -> Result<Flow, StanzaError> {
        let (Some(from), Some(to), Kind::Message(kind)) = (stanza.from(), stanza.to(), stanza.kind()) else {
            return Ok(Flow::Pass);
        };
        let Some(order) = to.resource().and_then(|resource| Order::of(resource.as_str())) else {
            return Ok(Flow::Pass);
        };
        if kind == MessageType::Error {
            return Ok(Flow::Handled);
        }
        if !is_host(context, from) && !context.host.may_announce(&from.to_bare()) {
            return Err(Condition::NotAllowed.into());
        }
        self.announce(context, order?, kind, stanza)?;
        log::info!(target: &context.host.name, "announcement to {to} by {}", from.to_bare());
        Ok(Flow::Handled)
    }

    /// The next login of somebody who has not had the message of the day.
    fn session(
        &mut self,
        context: &mut Context<'_>,
        session: SessionId,
        event: &SessionEvent,
    ) -> Result<(), StanzaError> {
        if *event != SessionEvent::Available {
            return Ok(());
        }
        let Some(account) = context.sessions.by_id(session).map(|session| session.account().clone()) else {
            return Ok(());
        };
        give_motd(context, &account)
    }

    fn woke(&mut self, context: &mut Context<'_>, wake: Wake) -> Result<(), StanzaError> {
        match wake {
            Wake::Timer(token) => self.jobs.step(context, token),
            Wake::Hashed(_) | Wake::Reread(..) => Ok(()),
        }
    }
}

/// Is it the host itself that speaks?
fn is_host(context: &Context<'_>, from: &Jid) -> bool {
    from.is_bare() && from.node().is_none() && jid::domain(from) == context.host.name
}

impl Announce {
    fn announce(
        &mut self,
        context: &mut Context<'_>,
        order: Order,
        kind: MessageType,
        stanza: &Stanza,
    ) -> Result<(), StanzaError> {
        let host = context.host.name.clone();
        let now = context.now.unix_millis;
        if order == Order::Delete {
            motd::set(context.store, &host, None, false, now)?;
            return Ok(());
        }
        let plain = announcement(kind, stanza)?;
        if order == Order::Online {
            return self.jobs.start(context, Some(plain));
        }
        let resource = if order == Order::Update { "announce/motd/update" } else { "announce/motd" };
        let stamped = plain.with_child(delay::legacy(&format!("{host}/{resource}"), now, "Announced"));
        motd::set(context.store, &host, Some(&stamped.to_text()), order == Order::Update, now)?;
        match order {
            Order::Motd => self.jobs.start(context, None),
            _ => Ok(()),
        }
    }
}

/// What of a message goes to everybody: its words, and not what its sender's client asks of one receiver.
fn announcement(kind: MessageType, stanza: &Stanza) -> Result<Stanza, StanzaError> {
    let is_word = |child: &Element| match child.ns() {
        ns::CLIENT => matches!(child.name(), "subject" | "body" | "thread"),
        other => matches!(other, ns::XHTML_IM | ns::OOB),
    };
    if kind == MessageType::Groupchat {
        return Err(Condition::BadRequest.into());
    }
    let plain = stanza.clone().without_addresses().map_element(|element| element.keeping_children(is_word));
    if plain.child("body", ns::CLIENT).is_none() && plain.child("subject", ns::CLIENT).is_none() {
        return Err(StanzaError::new(Condition::BadRequest, "An announcement needs a subject or a body."));
    }
    Ok(plain)
}

/// Gives an account the message of the day, if it has not had it, in all its sessions that are available.
fn give_motd(context: &mut Context<'_>, account: &BareJid) -> Result<(), StanzaError> {
    let Some(Motd { number, stanza, .. }) = motd::unseen(context.store, account)? else { return Ok(()) };
    let Some(stanza) = Stanza::from_text(&stanza) else {
        log::error!(target: &context.host.name, users = "messages of the day that cannot be read";
            "the message of the day in the store cannot be read");
        return Ok(());
    };
    let sessions: Vec<SessionId> = context.sessions.available(account).map(|(id, _)| id).collect();
    for session in sessions {
        give(context, session, &stanza);
    }
    Ok(motd::mark_seen(context.store, account, number)?)
}

/// Gives an announcement to a session.
fn give(context: &mut Context<'_>, session: SessionId, stanza: &Stanza) {
    let to = context.sessions.by_id(session).map(|session| session.jid().clone());
    if let (Some(to), Some(host)) = (to, jid::of_host(&context.host.name)) {
        context.deliver(session, stanza.clone().with_from(host).with_to(to));
    }
}
