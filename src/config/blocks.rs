//! Blocked domains: `<block xmlns='urn:jabber:config:3'>`, and jabberd 1.4's services that swallow or bounce everything.

use std::collections::HashMap;

use super::components::{Component, Link};
use super::hosts::host_name;
use super::reading::{Reading, Refusal};
use super::tree::Tree;
use crate::xmpp::jid::one_name;

/// A domain with which nothing is exchanged, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The domain, as [`one_name`] gives it.
    pub domain: String,
    /// All domains below it, too.
    pub subdomains: bool,
    /// What becomes of a stanza.
    pub action: BlockAction,
}

/// What becomes of a stanza to or from a blocked domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockAction {
    /// It disappears, and nobody but the log is told.
    Drop,
    /// Its sender gets an error.
    Bounce,
    /// 1.4's `<unsubscribe>`: its sender gets an error with this text, and presence is answered by the end of the
    /// subscription, so that the contact does not stay in rosters.
    Unsubscribe(String),
}

impl BlockAction {
    /// The word for it in jabber.xml and in the log.
    pub fn name(&self) -> &'static str {
        match self {
            BlockAction::Drop => "drop",
            BlockAction::Bounce => "bounce",
            BlockAction::Unsubscribe(_) => "unsubscribe",
        }
    }
}

/// Blocks by domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    by_domain: HashMap<String, Block>,
}

impl Blocks {
    /// Adds a block, in place of one of the same domain.
    pub fn insert(&mut self, block: Block) {
        self.by_domain.insert(block.domain.clone(), block);
    }

    /// Takes a block away; `None` if there was none of exactly this domain.
    pub fn remove(&mut self, domain: &str) -> Option<Block> {
        self.by_domain.remove(&*one_name(domain))
    }

    /// The block of exactly this domain.
    pub fn exactly(&self, domain: &str) -> Option<&Block> {
        self.by_domain.get(&*one_name(domain))
    }

    /// The block that a domain falls under: its own, or the nearest above it that holds for subdomains.
    pub fn of(&self, domain: &str) -> Option<&Block> {
        if self.by_domain.is_empty() {
            return None;
        }
        let domain = &*one_name(domain);
        if let Some(own) = self.by_domain.get(domain) {
            return Some(own);
        }
        // The dots of an address do not stand between domains.
        if domain.starts_with('[') || domain.parse::<std::net::IpAddr>().is_ok() {
            return None;
        }
        let mut rest = domain;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(block) = self.by_domain.get(above).filter(|block| block.subdomains) {
                return Some(block);
            }
            rest = above;
        }
        None
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Block> {
        self.by_domain.values()
    }
}

impl FromIterator<Block> for Blocks {
    fn from_iter<T: IntoIterator<Item = Block>>(blocks: T) -> Blocks {
        let mut all = Blocks::default();
        for block in blocks {
            all.insert(block);
        }
        all
    }
}

/// `<block subdomains= action=>domain</block>`. A domain that cannot be understood refuses the start: left out, it
/// would not be blocked.
pub(super) fn read(reading: &mut Reading, tree: &Tree) -> Option<Block> {
    let text = tree.text();
    let named = match text.contains('*') {
        true => Err("'*' is in no domain".to_owned()),
        false => host_name(&text),
    };
    let domain = match named {
        Ok(domain) => domain,
        Err(why) => {
            reading.refuse(
                &tree.place,
                Refusal {
                    what: "<block> names no domain",
                    found: &format!("<block>{text}</block>: {why}"),
                    expected: &format!("<block xmlns=\"{}\">spam.example</block>", super::OWN_NS),
                    remedy: "write one domain, without @ and *; subdomains=\"yes\" blocks all below it, too",
                },
            );
            return None;
        }
    };
    let subdomains = match tree.attribute("subdomains") {
        None | Some("no") => false,
        Some("yes") => true,
        Some(other) => {
            let text = format!("subdomains=\"{other}\" is neither yes nor no: the domains below {domain} are blocked");
            reading.warn(&tree.place, text);
            true
        }
    };
    let action = match tree.attribute("action") {
        None | Some("drop") => BlockAction::Drop,
        Some("bounce") => BlockAction::Bounce,
        Some(other) => {
            reading.warn(&tree.place, format!("action=\"{other}\" is neither drop nor bounce: drop is used"));
            BlockAction::Drop
        }
    };
    Some(Block { domain, subdomains, action })
}

/// 1.4 blocks a domain by a service of this name that swallows or bounces everything.
pub(super) fn of_component(component: &Component) -> Vec<Block> {
    let action = match &component.link {
        Link::Null => BlockAction::Drop,
        Link::Unsubscribe(text) => BlockAction::Unsubscribe(text.clone()),
        _ => return Vec::new(),
    };
    let blocks = component.hosts.iter();
    blocks
        .map(|domain| Block { domain: one_name(domain).into_owned(), subdomains: false, action: action.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_fall_under_the_nearest_block() {
        let block = |domain: &str, subdomains, action| Block { domain: domain.to_owned(), subdomains, action };
        let blocks: Blocks = [
            block("spam.example", true, BlockAction::Drop),
            block("good.spam.example", true, BlockAction::Bounce),
            block("alone.example", false, BlockAction::Drop),
            block("0.2.1", true, BlockAction::Drop),
            block("192.0.2.9", false, BlockAction::Drop),
            block("bücher.example", true, BlockAction::Drop),
            block("[2001:db8::9]", false, BlockAction::Drop),
        ]
        .into_iter()
        .collect();
        for (domain, expected) in [
            ("spam.example", Some("spam.example")),
            ("a.spam.example", Some("spam.example")),
            ("a.b.spam.example", Some("spam.example")),
            ("good.spam.example", Some("good.spam.example")),
            ("a.good.spam.example", Some("good.spam.example")),
            ("notspam.example", None),
            ("example", None),
            ("alone.example", Some("alone.example")),
            ("a.alone.example", None),
            ("192.0.2.1", None),
            ("192.0.2.9", Some("192.0.2.9")),
            ("[2001:db8::1]", None),
            ("[2001:DB8:0::9]", Some("[2001:db8::9]")),
            ("xn--bcher-kva.example", Some("bücher.example")),
            ("a.xn--bcher-kva.example", Some("bücher.example")),
            ("a.bücher.example", Some("bücher.example")),
            ("xn--bcher-kva.test", None),
            ("xn--a.bücher.example", Some("bücher.example")),
            ("", None),
        ] {
            assert_eq!(blocks.of(domain).map(|block| block.domain.as_str()), expected, "{domain}");
        }
        assert_eq!(Blocks::default().of("spam.example"), None);
    }
}
