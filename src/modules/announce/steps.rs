//! An announcement to a hundred thousand sessions goes a step at a time, so that nobody waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{give, give_motd};
use crate::router::{Context, SessionId};
use crate::xmpp::{Condition, Stanza, StanzaError};

/// How many sessions one step serves.
const SESSIONS_PER_STEP: usize = 500;
/// How long between two steps: others have their turn.
const STEP: Duration = Duration::from_millis(10);
/// Announcements that are under way at a time. Outcome: resource-constraint for the next one.
const JOBS_MAX: usize = 16;
/// An announcement whose last step was so long ago was for a host that is served no longer.
const LOST_MILLIS: u64 = 60_000;

/// An announcement under way.
struct Job {
    /// What is said; without, it is the message of the day.
    stanza: Option<Stanza>,
    /// Who has not been served yet, the next one last.
    sessions: Vec<SessionId>,
    stepped_millis: u64,
}

/// All that are under way.
#[derive(Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<u64, Job>,
    next_token: u64,
}

impl Jobs {
    /// Begins to tell all sessions of the host that are available now.
    pub(super) fn start(&mut self, context: &mut Context<'_>, stanza: Option<Stanza>) -> Result<(), StanzaError> {
        let now = context.now.monotonic_millis;
        self.jobs.retain(|_, job| now.saturating_sub(job.stepped_millis) < LOST_MILLIS);
        if self.jobs.len() >= JOBS_MAX {
            let text = "Other announcements are still on their way; try again in a minute.";
            return Err(StanzaError::new(Condition::ResourceConstraint, text));
        }
        let host = context.host.name.as_str();
        let all = context.sessions.all();
        let here = all.filter(|(_, session)| session.is_available() && session.account().domain().as_str() == host);
        let sessions = here.map(|(id, _)| id).collect();
        self.next_token += 1;
        self.jobs.insert(self.next_token, Job { stanza, sessions, stepped_millis: now });
        self.step(context, self.next_token)
    }

    /// Serves some of those who are left.
    pub(super) fn step(&mut self, context: &mut Context<'_>, token: u64) -> Result<(), StanzaError> {
        let Some(job) = self.jobs.get_mut(&token) else { return Ok(()) };
        for _ in 0..SESSIONS_PER_STEP {
            let Some(session) = job.sessions.pop() else { break };
            let Some(account) = context.sessions.by_id(session).filter(|session| session.is_available()) else {
                continue;
            };
            match &job.stanza {
                Some(stanza) => give(context, session, stanza),
                None => {
                    let account = account.account().clone();
                    give_motd(context, &account)?;
                }
            }
        }
        job.stepped_millis = context.now.monotonic_millis;
        if job.sessions.is_empty() {
            self.jobs.remove(&token);
        } else {
            context.wake_after(STEP, token);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::router::{ConnectionId, Env, Out, Router};
    use crate::store::Store;
    use crate::store::account::{self, Credentials};
    use crate::xml::Element;
    use crate::xmpp::random::NoDice;
    use crate::xmpp::{FullJid, Jid, Kind, MessageType, Now, PresenceType, ns};

    const NOW: Now = Now { unix_millis: 1_000_000, monotonic_millis: 5_000 };

    /// A host with many sessions, and what left it.
    struct Here {
        router: Router,
        store: Store,
    }

    impl Here {
        fn new(sessions: usize) -> Here {
            let config = Arc::new(Config::for_host("h.test"));
            let router = Router::new(config, crate::modules::table(), NOW);
            let mut here = Here { router, store: Store::in_memory().unwrap() };
            for n in 0..sessions {
                let jid = FullJid::new(&format!("u{n}@h.test/r")).unwrap();
                account::create(&mut here.store, &jid.to_bare(), &Credentials::default(), 0).unwrap();
                here.with(|router, env| {
                    let session = router.bind(env, jid, ConnectionId(n as u64 + 1));
                    router.from_session(env, session, Stanza::presence(PresenceType::Available));
                });
            }
            here.router.take_out();
            here
        }

        fn with(&mut self, act: impl FnOnce(&mut Router, &mut Env<'_>)) {
            let mut env = Env { now: NOW, random: &mut NoDice, store: &mut self.store };
            act(&mut self.router, &mut env);
        }

        /// How many messages left in each step, the timers being due at once.
        fn steps(&mut self) -> Vec<usize> {
            let mut steps = Vec::new();
            loop {
                let out = self.router.take_out();
                let is_message = |out: &&Out| matches!(out, Out::Stanza(_, s) if matches!(s.kind(), Kind::Message(_)));
                steps.push(out.iter().filter(is_message).count());
                let timer = out.into_iter().find_map(|out| match out {
                    Out::Timer { timer, .. } => Some(timer),
                    _ => None,
                });
                let Some(timer) = timer else { return steps };
                self.with(|router, env| router.woke(env, &timer));
            }
        }
    }

    fn announcement() -> Stanza {
        announcement_to("h.test/announce/online")
    }

    fn announcement_to(to: &str) -> Stanza {
        let body = Element::new("body", ns::CLIENT).with_text("hark");
        let to = Jid::new(to).unwrap();
        Stanza::message(MessageType::Normal).with_child(body).with_to(to).with_from(Jid::new("h.test").unwrap())
    }

    #[test]
    fn all_are_served_a_step_at_a_time() {
        let mut here = Here::new(5_200);
        for resource in ["online", "motd"] {
            let announcement = announcement_to(&format!("h.test/announce/{resource}"));
            here.with(|router, env| router.route(env, announcement));
            let mut steps = vec![SESSIONS_PER_STEP; 10];
            steps.push(200);
            assert_eq!(here.steps(), steps, "{resource}");
        }
        // Who had the message of the day in his one session does not get it again.
        here.with(|router, env| router.route(env, announcement_to("h.test/announce/motd/update")));
        assert_eq!(here.steps(), [0]);
    }

    #[test]
    fn nobody_outside_speaks_as_the_host() {
        let mut here = Here::new(10);
        here.with(|router, env| router.from_remote(env, announcement()));
        here.with(|router, env| router.from_component(env, announcement()));
        let resource = announcement().with_from(Jid::new("h.test/admin").unwrap());
        here.with(|router, env| router.from_remote(env, resource));
        assert_eq!(here.steps(), [0]);
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let mut here = Here::new(SESSIONS_PER_STEP + 1);
        for _ in 0..JOBS_MAX + 1 {
            here.with(|router, env| router.route(env, announcement()));
        }
        let out = here.router.take_out();
        assert_eq!(out.iter().filter(|out| matches!(out, Out::Timer { .. })).count(), JOBS_MAX);
    }
}
