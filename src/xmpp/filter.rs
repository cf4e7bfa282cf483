//! `jabber:iq:filter`, the rules for messages of jabberd 1.4: their grammar, and those of them that are run.
//!
//! Deviation: of all that a rule could ask for, what is run is what can be said of a sender: `<from/>` with `<error/>` or
//! `<offline/>`. The others are kept and given back, and do nothing: hardly a client ever made one.

use std::collections::HashMap;

use super::{Jid, jid, ns};
use crate::xml::Element;

/// What a rule may consist of, in the original's order.
const PARTS: &[&str] = &[
    "unavailable",
    "from",
    "resource",
    "subject",
    "body",
    "show",
    "type",
    "roster",
    "group",
    "ns",
    "error",
    "offline",
    "forward",
    "reply",
    "continue",
    "settype",
];

/// The rules that are run, as the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// By the sender that a rule names, the place of the first such rule and what it does.
    rules: HashMap<String, (usize, Action)>,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The sender gets an error with these words.
    Error(String),
    /// It waits in the store.
    Offline,
}

impl Filter {
    /// Reads the rules that are run out of a `<query/>`.
    pub fn parse(query: &Element) -> Filter {
        let mut rules = HashMap::new();
        for (place, (jid, action)) in query.children().filter_map(|rule| runs(rule).ok()).enumerate() {
            rules.entry(jid.to_string()).or_insert((place, action));
        }
        Filter { rules }
    }

    /// Is there nothing to run?
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What becomes of a message from somebody, if a rule is about it.
    pub fn decide(&self, from: &Jid) -> Option<&Action> {
        let names = [from.as_str(), jid::bare_str(from), jid::domain(from)];
        let about = names.iter().filter_map(|name| self.rules.get(*name));
        about.min_by_key(|(place, _)| *place).map(|(_, action)| action)
    }
}

/// The name of a part that the original did not know, in any of the rules.
pub fn unknown_part(query: &Element) -> Option<&str> {
    let mut parts = query.children().flat_map(Element::children).map(Element::name);
    parts.find(|name| !PARTS.contains(name))
}

/// A rule as it is run, or why it is not.
pub fn runs(rule: &Element) -> Result<(Jid, Action), &'static str> {
    if !rule.is("rule", ns::FILTER) {
        return Err("no rule");
    }
    let mut parts: Vec<&Element> = rule.children().collect();
    parts.sort_by_key(|part| part.name() != "from");
    let [from, act] = parts.as_slice() else {
        return Err("only one sender with one action is run");
    };
    let action = match (from.name(), act.name()) {
        ("from", "error") => Action::Error(act.text().into_owned()),
        ("from", "offline") => Action::Offline,
        _ => return Err("only <from/> with <error/> or <offline/> is run"),
    };
    match super::jid::stable(from.text().trim()) {
        Some(jid) => Ok((jid, action)),
        None => Err("the sender is no JID"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::reader;

    fn query(rules: &str) -> Element {
        reader::element(&format!("<query xmlns='jabber:iq:filter'>{rules}</query>")).unwrap()
    }

    #[test]
    fn rules_about_senders_are_run_in_order() {
        let filter = Filter::parse(&query(
            "<rule name='vacation'><subject>urgent</subject><reply>I am away</reply><continue/></rule>\
             <rule><from>tybalt@x</from><error>go away</error></rule><rule><offline/><from>x</from></rule>\
             <rule><from>@</from><error/></rule><rule><from>a@y</from><forward>b@y</forward></rule>\
             <rule><from>z</from><type>chat</type><error/></rule>",
        ));
        let rows = [
            ("tybalt@x/r", Some(Action::Error("go away".into()))),
            ("nurse@x", Some(Action::Offline)),
            ("a@y", None),
            ("z", None),
        ];
        for (from, action) in rows {
            assert_eq!(filter.decide(&Jid::new(from).unwrap()), action.as_ref(), "{from}");
        }
        assert!(Filter::parse(&query("")).is_empty());
    }

    #[test]
    fn parts_are_those_of_the_original() {
        assert_eq!(unknown_part(&query("<rule><from>a</from><bogus/></rule>")), Some("bogus"));
        assert_eq!(unknown_part(&query("<rule><settype>chat</settype></rule>")), None);
    }
}
