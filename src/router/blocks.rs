//! Blocked domains: nothing goes to them, nothing comes from them.
//!
//! The blocks of jabber.xml and those that were made while the server ran are one table; of two for the same domain the
//! latter counts. What is stopped is told to record.log, in lines that begin with the local address:
//!
//! ```text
//! juliet@capulet.com blocked out message montague.net
//! juliet@capulet.com blocked in presence montague.net
//! ```

use super::remote::unless_broadcast;
use super::{Effect, Env, Parcel, Router};
use crate::config::{Block, BlockAction, Blocks};
use crate::store::{self, Store};
use crate::xmpp::{Condition, Jid, Kind, PresenceType, Stanza, StanzaError};

/// Where a block comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// jabber.xml: only there it can be taken back.
    File,
    /// It was made while the server ran.
    Command,
}

/// The blocks in force.
#[derive(Default)]
pub(super) struct Table {
    made: Blocks,
    in_force: Blocks,
    /// Were they changed in this tick, which is not committed yet?
    is_unkept: bool,
}

impl Table {
    pub(super) fn new(from_file: &Blocks) -> Table {
        Table { in_force: from_file.clone(), ..Table::default() }
    }

    /// Overlays what jabber.xml says with what was made since.
    pub(super) fn merge(&mut self, from_file: &Blocks) {
        self.in_force = from_file.all().chain(self.made.all()).cloned().collect();
    }
}

impl Router {
    /// The blocks in force.
    pub fn blocks_in_force(&self) -> &Blocks {
        &self.blocks.in_force
    }

    /// The block that a domain falls under.
    pub fn blocked(&self, domain: &str) -> Option<&Block> {
        self.blocks.in_force.of(domain)
    }

    /// All blocks with their origin, in the order of their domains.
    pub fn blocks(&self) -> Vec<(&Block, Origin)> {
        let of = |block: &Block| match self.blocks.made.exactly(&block.domain) {
            Some(_) => Origin::Command,
            None => Origin::File,
        };
        let mut all: Vec<(&Block, Origin)> = self.blocks.in_force.all().map(|block| (block, of(block))).collect();
        all.sort_by(|(one, _), (other, _)| one.domain.cmp(&other.domain));
        all
    }

    /// Reads what was blocked before the server started.
    ///
    /// # Errors
    /// When the store fails.
    pub fn load_blocks(&mut self, store: &Store) -> Result<(), store::Error> {
        self.blocks.made = store::blocks::all(store)?.into_iter().collect();
        self.blocks.merge(&self.hosts.config().blocks);
        Ok(())
    }

    /// Blocks a domain, at once and after the next start, too. What waits for it is stopped.
    ///
    /// # Errors
    /// When the store fails; then nothing has changed.
    pub fn block(&mut self, env: &mut Env<'_>, block: Block) -> Result<(), store::Error> {
        self.change_blocks(env, vec![block], &[]).map(drop)
    }

    /// Takes back a block that was made while the server ran; false if there was none of exactly this domain. One of
    /// jabber.xml, or one of a domain above, may still hold: [`Router::blocked`] tells.
    ///
    /// # Errors
    /// When the store fails; then nothing has changed.
    pub fn unblock(&mut self, env: &mut Env<'_>, domain: &str) -> Result<bool, store::Error> {
        self.change_blocks(env, Vec::new(), &[domain.to_owned()])
    }

    /// Many at once: what waits is looked through once. True if one of those that go was there.
    pub(super) fn change_blocks(
        &mut self,
        env: &mut Env<'_>,
        added: Vec<Block>,
        removed: &[String],
    ) -> Result<bool, store::Error> {
        let now = env.now.unix_millis;
        let was_there = env.store.savepoint(|store| {
            for block in &added {
                store::blocks::set(store, block, now)?;
            }
            let mut was_there = false;
            for domain in removed {
                was_there |= store::blocks::remove(store, domain)?;
            }
            Ok::<bool, store::Error>(was_there)
        })?;
        for block in added {
            let below = if block.subdomains { " and all domains below it" } else { "" };
            log::info!(target: "s2s", "{}{below} is blocked from now on ({})", block.domain, block.action.name());
            self.blocks.made.insert(block);
        }
        for domain in removed {
            if self.blocks.made.remove(domain).is_some() {
                log::info!(target: "s2s", "{domain} is not blocked by command any more");
            }
        }
        self.blocks.is_unkept = true;
        self.blocks_changed(env);
        Ok(was_there)
    }

    /// A tick that wrote was committed.
    pub fn blocks_are_kept(&mut self) {
        self.blocks.is_unkept = false;
    }

    /// A tick was lost: what it changed is in force no longer.
    pub fn blocks_are_lost(&mut self, store: &Store) {
        if !std::mem::take(&mut self.blocks.is_unkept) {
            return;
        }
        match self.load_blocks(store) {
            Ok(()) => log::warn!(target: "s2s", "the change of blocks could not be kept: they are as they were before"),
            Err(error) => log::error!(target: "s2s", "the blocks of domains cannot be read again: {error}"),
        }
    }

    /// The blocks or jabber.xml changed: what waits for a blocked domain is stopped.
    pub(super) fn blocks_changed(&mut self, env: &mut Env<'_>) {
        let before = self.blocks.in_force.clone();
        self.blocks.merge(&self.hosts.config().blocks);
        self.servers_blocked(env, &before);
        for stanza in self.stop_waiting(env) {
            self.stop_late(stanza);
        }
        self.work(env);
    }

    /// A stanza that was on its way already when its domain was blocked.
    pub(super) fn stop_late(&mut self, stanza: Stanza) {
        let parcel = Parcel { stanza, requester: super::Requester::Elsewhere, depth: 0 };
        if let Err(error) = self.stop_outgoing(&parcel) {
            self.bounce_late(&parcel.stanza, &error);
        }
    }

    /// A stanza to a blocked domain. The error, if it is told to anybody, is for its sender.
    pub(super) fn stop_outgoing(&mut self, parcel: &Parcel) -> Result<(), StanzaError> {
        let stanza = &parcel.stanza;
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else { return Ok(()) };
        let Some(Block { domain, action, .. }) = self.blocked(to.domain().as_str()).cloned() else { return Ok(()) };
        record(&domain, from, "out", stanza, to);
        match action {
            BlockAction::Drop => Ok(()),
            BlockAction::Bounce => {
                let text = format!("This server exchanges nothing with {}.", to.domain());
                unless_broadcast(stanza, StanzaError::new(Condition::NotAllowed, text))
            }
            BlockAction::Unsubscribe(text) => match stanza.kind() {
                Kind::Presence(kind) => {
                    self.dissolve(parcel, kind);
                    Ok(())
                }
                // Compat: 502 is what jabberd 1.4 says here.
                _ => Err(StanzaError::new(Condition::ServiceUnavailable, text).coded(502)),
            },
        }
    }

    /// Presence to a contact that is gone for good: it ends the subscription, in both directions.
    fn dissolve(&mut self, parcel: &Parcel, kind: PresenceType) {
        use PresenceType::{Available, Probe, Subscribe, Subscribed, Unsubscribe, Unsubscribed};
        // The others say the same already: answers to them would breed answers.
        if !matches!(kind, Available | Probe | Subscribe | Subscribed) {
            return;
        }
        let (Some(from), Some(to)) = (parcel.stanza.from(), parcel.stanza.to()) else { return };
        for kind in [Unsubscribe, Unsubscribed] {
            let answer = Stanza::presence(kind).with_from(crate::xmpp::jid::contact(to)).with_to(from.to_bare());
            self.queue.push_back((parcel.depth.saturating_add(1), Effect::Route(answer)));
        }
    }

    /// A stanza from a blocked domain, proved or not: it ends here. Returns the error that its sender is to get.
    pub(super) fn stop_incoming(&mut self, stanza: &Stanza) -> Option<StanzaError> {
        let (from, to) = (stanza.from()?, stanza.to()?);
        let Block { domain, action, .. } = self.blocked(from.domain().as_str()).cloned()?;
        record(&domain, to, "in", stanza, from);
        match action {
            BlockAction::Bounce => {
                let text = format!("{} takes nothing from {}.", to.domain(), from.domain());
                unless_broadcast(stanza, StanzaError::new(Condition::NotAllowed, text)).err()
            }
            BlockAction::Drop | BlockAction::Unsubscribe(_) => None,
        }
    }

    /// A stanza whose sender was not proved, because its domain is blocked.
    pub fn stop_unproved(&mut self, stanza: &Stanza) {
        self.stop_incoming(stanza);
    }
}

fn record(block: &str, local: &Jid, way: &str, stanza: &Stanza, remote: &Jid) {
    let (local, kind) = (local.to_bare(), stanza.kind().element_name());
    log::info!(target: &format!("record:{local}"), strangers = "stanzas that a block stopped", by = block;
        "blocked {way} {kind} {}", remote.domain());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::xmpp::Now;
    use crate::xmpp::random::NoDice;

    const NOW: Now = Now { unix_millis: 1_000_000, monotonic_millis: 5_000 };

    #[test]
    fn blocks_are_one_table_and_outlive_the_server() {
        let drop = |domain: &str| Block { domain: domain.to_owned(), subdomains: true, action: BlockAction::Drop };
        let bounce = |domain: &str| Block { action: BlockAction::Bounce, ..drop(domain) };
        let mut config = Config::for_host("h.test");
        config.blocks = [bounce("file.test"), bounce("both.test")].into_iter().collect();
        let config = Arc::new(config);
        let mut store = Store::in_memory().unwrap();
        let mut router = Router::new(config.clone(), Vec::new(), NOW);
        for domain in ["made.test", "both.test"] {
            router.block(&mut Env { now: NOW, random: &mut NoDice, store: &mut store }, drop(domain)).unwrap();
        }
        let list = |router: &Router| -> Vec<(String, BlockAction, Origin)> {
            let blocks = router.blocks().into_iter();
            blocks.map(|(block, origin)| (block.domain.clone(), block.action.clone(), origin)).collect()
        };
        let expected = [
            ("both.test".to_owned(), BlockAction::Drop, Origin::Command),
            ("file.test".to_owned(), BlockAction::Bounce, Origin::File),
            ("made.test".to_owned(), BlockAction::Drop, Origin::Command),
        ];
        assert_eq!(list(&router), expected);
        let mut next = Router::new(config, Vec::new(), NOW);
        next.load_blocks(&store).unwrap();
        assert_eq!(list(&next), expected);
        assert!(next.blocked("a.both.test").is_some());
        for (domain, was_there, action) in [
            ("both.test", true, Some(BlockAction::Bounce)),
            ("file.test", false, Some(BlockAction::Bounce)),
            ("made.test", true, None),
            ("made.test", false, None),
        ] {
            let mut env = Env { now: NOW, random: &mut NoDice, store: &mut store };
            assert_eq!(next.unblock(&mut env, domain).unwrap(), was_there, "{domain}");
            assert_eq!(next.blocked(domain).map(|block| block.action.clone()), action, "{domain}");
        }
        assert_eq!(store::blocks::all(&store).unwrap(), []);
    }
}
