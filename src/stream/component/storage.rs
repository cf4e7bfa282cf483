//! `<xdb/>`: what a component keeps here for its own users, as transports did with jabberd 1.4.
//!
//! ```xml
//! <xdb type='set' to='u1@icq.example.org' from='icq.example.org' ns='jabber:iq:settings' id='8'><settings/></xdb>
//! <xdb type='result' to='icq.example.org' from='u1@icq.example.org' ns='jabber:iq:settings' id='8'><settings/></xdb>
//! ```
//!
//! The data of other hosts, our users' for instance, is not to be had: 1.4 gave their passwords to whoever asked.

use super::{Component, Env};
use crate::store::component_data::{self, Kept, Key, Wanted};
use crate::xml::Element;
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
            if is_set { set(env, &key, packet) } else { get(env, &key, stream.wire.output_bytes()) }
        }
        (Some(_), Some(_)) => Err("only data of the component's own addresses is kept for it".to_string()),
        _ => Err("to or ns is missing".to_string()),
    };
    Some(match outcome {
        Ok(content) => swapped(packet, "result").with_children(content),
        Err(why) => {
            log::warn!(target: stream.id(), strangers = "<xdb> packets that are refused", by = stream.id();
                "an <xdb> packet was refused: {why}");
            refused(packet)
        }
    })
}

/// The answer to a packet that cannot be done.
pub(super) fn refused(packet: &Element) -> Element {
    swapped(packet, "error")
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

/// What is kept, if its answer may wait for the connection together with what was said before.
fn get(env: &Env<'_>, key: &Key<'_>, waiting: usize) -> Result<Option<Element>, String> {
    let most = (env.config.limits.output_bytes_max / 2).saturating_sub(waiting);
    match component_data::value(env.store, key, most as u64).map_err(|error| error.to_string())? {
        Ok(kept) => Ok(kept),
        Err(bytes) => {
            let Key { host, ns, .. } = key;
            Err(format!("{ns} at {host} has {bytes} bytes: no more than half of output-bytes-max go at a time"))
        }
    }
}

/// Replaces what was there, or changes a part of it (`action='insert'`); without content it is deleted.
fn set(env: &mut Env<'_>, key: &Key<'_>, packet: &Element) -> Result<Option<Element>, String> {
    let given = packet.first_child();
    let bound = env.config.limits.component_data_bytes_max as u64;
    let kept = match packet.attribute("action") {
        None => env.store.savepoint(|store| component_data::set(store, key, given, bound)),
        Some("insert") => {
            let wanted = wanted(packet);
            env.store.savepoint(|store| component_data::insert(store, key, wanted, given, bound))
        }
        Some(other) => return Err(format!("action='{other}' is not known")),
    };
    match kept.map_err(|error: crate::store::Error| error.to_string())? {
        Kept::Kept => Ok(given.cloned()),
        Kept::Full => Err(format!("{} keeps {bound} bytes already (component-data-bytes-max)", key.host)),
    }
}

/// Compat: `action='insert' match='?jid=a@b'`, by which 1.4's user directory kept one list of everybody: the new element
/// takes the place of those that have this attribute.
fn wanted(packet: &Element) -> Option<Wanted<'_>> {
    let (name, rest) = packet.attribute("match")?.split_once('?')?;
    Some(Wanted { name, attribute: rest.split_once('=')? })
}
