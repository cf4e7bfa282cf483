//! `<xdb/>`: what a component keeps here for its own users, as transports did with jabberd 1.4.
//!
//! ```xml
//! <xdb type='set' to='u1@icq.example.org' from='icq.example.org' ns='jabber:iq:settings' id='8'><settings/></xdb>
//! <xdb type='result' to='icq.example.org' from='u1@icq.example.org' ns='jabber:iq:settings' id='8'><settings/></xdb>
//! ```
//!
//! The data of other hosts, our users' for instance, is not to be had: 1.4 gave their passwords to whoever asked.

use super::{Component, Env};
use crate::store::component_data::{self, Kept, Key};
use crate::xml::{Element, reader};
use crate::xmpp::{Jid, ns};

/// The answer to a packet; `None` for what is no request.
pub(super) fn answer(stream: &Component, env: &mut Env<'_>, packet: &Element) -> Option<Element> {
    let is_set = match packet.attribute("type") {
        Some("get") => false,
        Some("set") => true,
        _ => return None,
    };
    let home = |name: &str| packet.attribute(name).and_then(|jid| Jid::new(jid).ok());
    let (from, to) = (home("from"), home("to"));
    let is_own = |jid: &Option<Jid>| jid.as_ref().is_some_and(|jid| stream.is_at_home(env, jid));
    let (own_from, own_to) = (is_own(&from), is_own(&to));
    let outcome = match (to, packet.attribute("ns")) {
        _ if !own_from => Err("its from is not the component's own".to_string()),
        (Some(to), Some(ns)) if own_to && !ns.is_empty() => {
            let key = Key { host: to.domain().as_str(), localpart: to.node().map_or("", |node| node.as_str()), ns };
            if is_set { set(env, &key, packet) } else { get(env, &key) }
        }
        (Some(_), Some(_)) => Err("only data of the component's own addresses is kept for it".to_string()),
        _ => Err("to or ns is missing".to_string()),
    };
    Some(match outcome {
        Ok(content) => swapped(packet, "result").with_children(content),
        Err(why) => {
            log::warn!(target: stream.id(), "an <xdb> packet was refused: {why}");
            swapped(packet, "error")
        }
    })
}

fn swapped(packet: &Element, kind: &'static str) -> Element {
    let mut answer = Element::new("xdb", ns::CLIENT).with_attribute("type", kind);
    for (name, source) in [("to", "from"), ("from", "to"), ("ns", "ns"), ("id", "id")] {
        if let Some(value) = packet.attribute_text(source) {
            answer = answer.with_attribute(name, value.clone());
        }
    }
    answer
}

fn get(env: &Env<'_>, key: &Key<'_>) -> Result<Option<Element>, String> {
    let kept = component_data::value(env.store, key).map_err(|error| error.to_string())?;
    Ok(kept.and_then(|xml| reader::element(&xml).ok()))
}

/// Replaces what was there, or changes a part of it (`action='insert'`); without content it is deleted.
fn set(env: &mut Env<'_>, key: &Key<'_>, packet: &Element) -> Result<Option<Element>, String> {
    let given = packet.first_child().cloned();
    let changed = match packet.attribute("action") {
        None => given.clone(),
        Some("insert") => Some(inserted(get(env, key)?, packet, given.clone())),
        Some(other) => return Err(format!("action='{other}' is not known")),
    };
    let bound = env.config.limits.component_data_bytes_max as u64;
    let most = env.config.limits.stanza_bytes_max;
    let text = changed.as_ref().map(Element::to_string);
    if text.as_ref().is_some_and(|text| text.len() > most) {
        return Err(format!("{} at {} is larger than a stanza may be", key.ns, key.host));
    }
    let kept = env.store.savepoint(|store| component_data::set(store, key, text.as_deref(), bound));
    match kept.map_err(|error| error.to_string())? {
        Kept::Kept => Ok(given),
        Kept::Full => Err(format!("{} keeps {bound} bytes already (component-data-bytes-max)", key.host)),
    }
}

/// Compat: `action='insert' match='?jid=a@b'`, by which 1.4's user directory kept one list of everybody: the new element
/// takes the place of those that have this attribute.
fn inserted(old: Option<Element>, packet: &Element, given: Option<Element>) -> Element {
    let ns = packet.attribute_text("ns").cloned().unwrap_or_else(|| "".into());
    let list = old.unwrap_or_else(|| Element::new("foo", ns));
    let pattern = packet.attribute("match").and_then(|pattern| pattern.split_once('?'));
    let wanted = pattern.and_then(|(name, rest)| rest.split_once('=').map(|(key, value)| (name, key, value)));
    let matches = |child: &Element| {
        wanted.is_some_and(|(name, key, value)| {
            (name.is_empty() || child.name() == name) && child.attribute(key) == Some(value)
        })
    };
    list.keeping_children(|child| !matches(child)).with_children(given)
}
