//! Who may reach whom, as other servers kept it: privacy lists (XEP-0016), block lists (XEP-0191), and jabberd 1.4's rules for
//! messages.

use super::report::Counts;
use crate::store::{Bounds, Error, Store, privacy};
use crate::xml::element::Attribute;
use crate::xml::{self, Element, element::Text};
use crate::xmpp::privacy::{Item, List, name_of};
use crate::xmpp::{BareJid, Jid, filter, jid, ns};

/// The namespace of 1.6's own attributes.
const WRAPPER: &str = "http://jabberd.org/ns/wrapper";

/// All that a user had is kept; the bounds of the server count for what comes later.
const UNBOUNDED: Bounds = Bounds { count: u64::MAX, bytes: u64::MAX };

/// What a default list is called that is made of a block list.
const BLOCK_LIST: &str = "blocklist";

/// Is this one of the namespaces that are kept here?
pub(super) fn is_known(ns: &str) -> bool {
    matches!(ns, ns::PRIVACY | ns::FILTER | ns::BLOCKING)
}

/// What of a piece cannot be kept, and why.
pub(super) fn faults(ns: &str, piece: &Element) -> Vec<String> {
    match ns {
        ns::PRIVACY => lists(piece).1,
        ns::BLOCKING => blocked(piece).1,
        _ => Vec::new(),
    }
}

/// Keeps what of all pieces is for here. The account is new.
pub(super) fn keep(
    store: &mut Store,
    account: &BareJid,
    pieces: &[(String, String)],
    counts: &mut Counts,
) -> Result<(), Error> {
    let of = |wanted: &'static str| {
        let pieces = pieces.iter().filter(move |(ns, _)| ns == wanted);
        pieces.filter_map(|(_, text)| Some((text, xml::parse(text)?)))
    };
    for (list, is_default) in of(ns::PRIVACY).flat_map(|(_, piece)| lists(&piece).0) {
        set(store, account, &list, is_default)?;
        counts.rules += 1;
    }
    for (_, piece) in of(ns::BLOCKING) {
        counts.rules += u64::from(block(store, account, &blocked(&piece).0)?);
    }
    for (text, piece) in of(ns::FILTER) {
        let _ = privacy::set_filter(store, account, Some(text), u64::MAX)?;
        counts.rules += 1;
        counts.idle_rules += piece.children().filter(|rule| filter::runs(rule).is_err()).count() as u64;
    }
    Ok(())
}

fn set(store: &mut Store, account: &BareJid, list: &List, is_default: bool) -> Result<(), Error> {
    let _ = privacy::set(store, account, list.name(), &list.write().to_string(), UNBOUNDED)?;
    if is_default {
        privacy::set_default(store, account, Some(list.name()))?;
    }
    Ok(())
}

/// XEP-0191 §5: a block list is part of the default list. Returns whether there was anything new in it.
fn block(store: &mut Store, account: &BareJid, jids: &[Jid]) -> Result<bool, Error> {
    let default = privacy::standing(store, account)?.default;
    let default = default.as_deref().and_then(xml::parse).and_then(|list| List::parse(&list).ok());
    let mut name = BLOCK_LIST.to_owned();
    while default.is_none() && privacy::list(store, account, &name)?.is_some() {
        name.push('+');
    }
    let Some(list) = default.or_else(|| List::new(&name, Vec::new()).ok()) else { return Ok(false) };
    let known: Vec<&Jid> = list.blocked().collect();
    let new: Vec<Jid> = jids.iter().filter(|jid| !known.contains(jid)).cloned().collect();
    if !new.is_empty() {
        set(store, account, &list.blocking(&new), true)?;
    }
    Ok(!new.is_empty())
}

/// The pieces of an account, as 1.4 and 1.6 kept them.
pub(super) fn pieces(store: &Store, account: &BareJid) -> Result<Vec<(&'static str, Element)>, Error> {
    let mut pieces = Vec::new();
    let mut lists = Vec::new();
    for (name, is_default) in privacy::names(store, account)? {
        let list = privacy::list(store, account, &name)?;
        lists.extend(list.as_deref().and_then(xml::parse).map(|list| if is_default { marked(list) } else { list }));
    }
    if !lists.is_empty() {
        pieces.push((ns::PRIVACY, Element::new("foo", ns::PRIVACY).with_children(lists)));
    }
    let rules = privacy::filter(store, account)?;
    pieces.extend(rules.as_deref().and_then(xml::parse).map(|rules| (ns::FILTER, rules)));
    Ok(pieces)
}

/// The pieces of an account, as XEP-0227 §4.8 has them, with the block list for servers that know no lists.
pub(super) fn portable(store: &Store, account: &BareJid) -> Result<Vec<Element>, Error> {
    let mut pieces = Vec::new();
    let mut query = Element::new("query", ns::PRIVACY);
    let mut blocks = Vec::new();
    let mut lists = Vec::new();
    for (name, is_default) in privacy::names(store, account)? {
        let Some(list) = privacy::list(store, account, &name)?.as_deref().and_then(xml::parse) else { continue };
        if is_default {
            query = query.with_child(Element::new("default", ns::PRIVACY).with_attribute("name", name));
            let items = List::parse(&list).map(|list| list.blocked().cloned().collect::<Vec<Jid>>());
            blocks = items.unwrap_or_default();
        }
        lists.push(list);
    }
    if !lists.is_empty() {
        pieces.push(query.with_children(lists));
    }
    if !blocks.is_empty() {
        let item = |jid: &Jid| Element::new("item", ns::BLOCKING).with_attribute("jid", jid.as_str().to_owned());
        pieces.push(Element::new("blocklist", ns::BLOCKING).with_children(blocks.iter().map(item)));
    }
    pieces.extend(privacy::filter(store, account)?.as_deref().and_then(xml::parse));
    Ok(pieces)
}

/// The default list, with 1.6's mark.
fn marked(list: Element) -> Element {
    let mark = Attribute::new(Text::from(WRAPPER), Text::from("default"), Text::from("default"));
    let attributes = list.attributes().iter().cloned().chain([mark]).collect();
    Element::from_parts(list.ns_text().clone(), list.name().to_owned().into(), attributes, list.nodes().to_vec())
}

/// The addresses of a block list, and what is none.
fn blocked(piece: &Element) -> (Vec<Jid>, Vec<String>) {
    let (mut jids, mut faults) = (Vec::new(), Vec::new());
    for item in piece.children() {
        match item.attribute("jid").and_then(jid::stable) {
            Some(jid) if jids.contains(&jid) => {}
            Some(jid) => jids.push(jid),
            None => faults.push(format!("a blocked address: {:?} is none", item.attribute("jid").unwrap_or_default())),
        }
    }
    (jids, faults)
}

/// The lists of a piece, which of them is the default, and what cannot be read.
fn lists(piece: &Element) -> (Vec<(List, bool)>, Vec<String>) {
    let default = piece.child("default", ns::PRIVACY).and_then(|default| default.attribute("name"));
    let (mut lists, mut faults): (Vec<(List, bool)>, _) = (Vec::new(), Vec::new());
    for element in piece.children().filter(|child| child.is("list", ns::PRIVACY)) {
        let name = match name_of(element) {
            Ok(name) => name,
            Err(fault) => {
                faults.push(format!("a list: {}", fault.why));
                continue;
            }
        };
        if lists.iter().any(|(list, _)| list.name() == name) {
            faults.push(format!("the list {name:?}: it was there before, and the first counts"));
            continue;
        }
        let mut items = Vec::new();
        for item in element.children() {
            match Item::parse(item) {
                Ok(item) => items.push(item),
                Err(fault) => faults.push(format!("an item of the list {name:?}: {}", fault.why)),
            }
        }
        if items.is_empty() {
            continue;
        }
        let is_marked = |attribute: &Attribute| attribute.ns() == WRAPPER && attribute.name() == "default";
        let is_default = default == Some(name) || element.attributes().iter().any(is_marked);
        match List::new(name, items) {
            Ok(list) => lists.push((list, is_default)),
            Err(fault) => faults.push(format!("the list {name:?}: {}", fault.why)),
        }
    }
    (lists, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::reader;

    #[test]
    fn what_cannot_be_read_costs_that_alone() {
        let piece = reader::element(
            "<foo xmlns='jabber:iq:privacy' xmlns:w='http://jabberd.org/ns/wrapper'>\
             <list name='a'><item action='deny' order='2'/><item action='deny'/><item action='allow' order='1'/></list>\
             <list><item action='deny' order='1'/></list><list name='empty'/>\
             <list name='twice'><item action='deny' order='1'/><item action='allow' order='1'/></list>\
             <list name='b' w:default='default'><item type='group' value='nobody has it' action='deny' order='1'/></list>\
             <list name='a'><item action='deny' order='1'/></list></foo>",
        );
        let (lists, faults) = lists(&piece.unwrap());
        let found: Vec<(&str, usize, bool)> =
            lists.iter().map(|(list, is_default)| (list.name(), list.items().len(), *is_default)).collect();
        assert_eq!(found, [("a", 2, false), ("b", 1, true)]);
        assert_eq!(faults.len(), 4, "{faults:#?}");
    }

    #[test]
    fn the_portable_form_names_the_default() {
        let piece = "<query xmlns='jabber:iq:privacy'><default name='a'/><list name='a'><item action='deny' order='1'/>\
                     </list></query>";
        assert!(lists(&reader::element(piece).unwrap()).0[0].1);
    }
}
