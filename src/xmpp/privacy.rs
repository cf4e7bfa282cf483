//! Privacy lists (XEP-0016 §2.1): the grammar of lists and items, and which item decides about a stanza.

mod index;

use std::collections::HashSet;

use index::Index;

use super::{Condition, Jid, Kind, PresenceType, StanzaError, jid, ns};
use crate::xml::Element;

/// What an item can tell apart (XEP-0016 §2.1), as bits of [`Item::stanzas`]; all else is only for items without any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// A message comes.
    Message,
    /// An iq comes.
    Iq,
    /// Presence of a contact comes: available or unavailable.
    PresenceIn,
    /// The user's own presence goes.
    PresenceOut,
    /// Subscriptions, probes and presence errors, and what the user sends.
    Other,
}

/// The values that the attribute `subscription` of a roster item has (RFC 6121 §2.1.2.5), besides `remove`.
const SUBSCRIPTIONS: [&str; 4] = ["both", "to", "from", "none"];

/// The elements that an item may have, each with its bit.
const CHILDREN: [(&str, Traffic); 4] = [
    ("message", Traffic::Message),
    ("iq", Traffic::Iq),
    ("presence-in", Traffic::PresenceIn),
    ("presence-out", Traffic::PresenceOut),
];

impl Traffic {
    const ALL: [Traffic; 5] =
        [Traffic::Message, Traffic::Iq, Traffic::PresenceIn, Traffic::PresenceOut, Traffic::Other];

    /// A stanza that comes for the owner of a list.
    pub fn inbound(kind: Kind) -> Traffic {
        match kind {
            Kind::Message(_) => Traffic::Message,
            Kind::Iq(_) => Traffic::Iq,
            Kind::Presence(PresenceType::Available | PresenceType::Unavailable) => Traffic::PresenceIn,
            Kind::Presence(_) => Traffic::Other,
        }
    }

    /// A stanza that the owner of a list sends, or the server in the owner's name.
    pub fn outbound(kind: Kind) -> Traffic {
        match kind {
            // Sent to somebody, `invisible` is presence that shows.
            Kind::Presence(PresenceType::Available | PresenceType::Unavailable | PresenceType::Invisible) => {
                Traffic::PresenceOut
            }
            _ => Traffic::Other,
        }
    }

    fn bit(self) -> u8 {
        match self {
            Traffic::Message => 1,
            Traffic::Iq => 2,
            Traffic::PresenceIn => 4,
            Traffic::PresenceOut => 8,
            Traffic::Other => 0,
        }
    }
}

/// Whom an item is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A resource, an account, or a whole domain.
    Jid(Jid),
    /// Contacts in this group of the roster.
    Group(String),
    /// Contacts with this subscription; `none` is everybody who is in no roster, too.
    Subscription(&'static str),
    /// Everybody: the fall-through.
    Anybody,
}

/// What the owner's roster says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The value of the attribute `subscription`.
    pub subscription: &'static str,
    /// The groups.
    pub groups: Vec<String>,
}

impl Relation {
    /// That to somebody who is in no roster.
    pub const STRANGER: Relation = Relation { subscription: "none", groups: Vec::new() };
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place: unique in its list.
    pub order: u32,
    /// Whom it is about.
    pub subject: Subject,
    /// Whether what it matches may pass.
    pub allows: bool,
    /// The bits of the [`Traffic`] it is about; 0 for all there is.
    stanzas: u8,
}

/// Why something is no list or item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The condition for who sent it.
    pub condition: Condition,
    /// In words.
    pub why: String,
}

impl From<Fault> for StanzaError {
    fn from(fault: Fault) -> StanzaError {
        StanzaError::new(fault.condition, fault.why)
    }
}

fn fault<T>(condition: Condition, why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { condition, why: why.into() })
}

impl Item {
    /// The rule that blocks a JID altogether: what the blocking command makes (XEP-0191 §5).
    pub fn block(order: u32, jid: Jid) -> Item {
        Item { order, subject: Subject::Jid(jid), allows: false, stanzas: 0 }
    }

    /// The JID that this rule blocks altogether, if it does that.
    pub fn blocked(&self) -> Option<&Jid> {
        match &self.subject {
            Subject::Jid(jid) if !self.allows && self.stanzas == 0 => Some(jid),
            _ => None,
        }
    }

    /// Reads an `<item/>`.
    pub fn parse(element: &Element) -> Result<Item, Fault> {
        if !element.is("item", ns::PRIVACY) {
            return fault(Condition::BadRequest, "A list is made of items.");
        }
        // XEP-0016 §2.1: an unsigned integer; a sign is none of its digits.
        let order = element.attribute("order").filter(|order| order.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(order) = order.and_then(|order| order.parse().ok()) else {
            return fault(Condition::BadRequest, "An item needs an order, which is a whole number.");
        };
        let allows = match element.attribute("action") {
            Some("allow") => true,
            Some("deny") => false,
            _ => return fault(Condition::BadRequest, "The action of an item is allow or deny."),
        };
        let mut stanzas = 0;
        for child in element.children() {
            // An unknown one would turn a rule about little into a rule about everything.
            match CHILDREN.iter().find(|(name, _)| child.is(name, ns::PRIVACY)) {
                Some((_, traffic)) => stanzas |= traffic.bit(),
                None => return fault(Condition::BadRequest, format!("An item cannot have <{}/>.", child.name())),
            }
        }
        Ok(Item { order, subject: subject(element)?, allows, stanzas })
    }

    /// The `<item/>`.
    pub fn write(&self) -> Element {
        let (kind, value) = match &self.subject {
            Subject::Jid(jid) => ("jid", jid.as_str()),
            Subject::Group(group) => ("group", group.as_str()),
            Subject::Subscription(name) => ("subscription", *name),
            Subject::Anybody => ("", ""),
        };
        let mut element = Element::new("item", ns::PRIVACY);
        if !kind.is_empty() {
            element = element.with_attribute("type", kind).with_attribute("value", value.to_owned());
        }
        let children = CHILDREN.iter().filter(|(_, traffic)| self.stanzas & traffic.bit() != 0);
        element
            .with_attribute("action", if self.allows { "allow" } else { "deny" })
            .with_attribute("order", self.order.to_string())
            .with_children(children.map(|(name, _)| Element::new(*name, ns::PRIVACY)))
    }

    fn needs_roster(&self) -> bool {
        matches!(self.subject, Subject::Group(_) | Subject::Subscription(_))
    }

    fn is_about(&self, traffic: Traffic) -> bool {
        self.stanzas == 0 || self.stanzas & traffic.bit() != 0
    }
}

fn subject(element: &Element) -> Result<Subject, Fault> {
    let kind = match element.attribute("type") {
        None | Some("") => return Ok(Subject::Anybody),
        Some(kind) => kind,
    };
    let value = element.attribute("value").unwrap_or_default();
    match kind {
        "jid" => match jid::stable(value) {
            Some(jid) => Ok(Subject::Jid(jid)),
            None => fault(Condition::JidMalformed, "The value of an item of type jid is a JID."),
        },
        "group" if !value.is_empty() => Ok(Subject::Group(value.to_owned())),
        "group" => fault(Condition::BadRequest, "The value of an item of type group is the group's name."),
        "subscription" => match SUBSCRIPTIONS.into_iter().find(|name| *name == value) {
            Some(name) => Ok(Subject::Subscription(name)),
            None => fault(Condition::BadRequest, "A subscription is both, to, from or none."),
        },
        _ => fault(Condition::BadRequest, "The type of an item is jid, group or subscription."),
    }
}

/// A list: its items in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct List {
    name: String,
    items: Vec<Item>,
    index: Index,
}

impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        self.name == other.name && self.items == other.items
    }
}

impl Eq for List {}

impl List {
    fn of(name: &str, items: Vec<Item>) -> List {
        List { name: name.to_owned(), index: Index::of(&items), items }
    }

    /// A list of these items, in whatever order they come.
    pub fn new(name: &str, mut items: Vec<Item>) -> Result<List, Fault> {
        items.sort_by_key(|item| item.order);
        if items.iter().zip(items.iter().skip(1)).any(|(one, next)| one.order == next.order) {
            return fault(Condition::BadRequest, "Two items have the same order.");
        }
        Ok(List::of(name, items))
    }

    /// Reads a `<list/>`.
    pub fn parse(element: &Element) -> Result<List, Fault> {
        let items = element.children().map(Item::parse).collect::<Result<Vec<Item>, Fault>>()?;
        List::new(name_of(element)?, items)
    }

    /// The same list, its JIDs under other names.
    pub fn with_names(mut self, name: impl Fn(Jid) -> Jid) -> List {
        for item in &mut self.items {
            if let Subject::Jid(jid) = &mut item.subject {
                *jid = name(jid.clone());
            }
        }
        List::of(&self.name, self.items)
    }

    /// The `<list/>`.
    pub fn write(&self) -> Element {
        Element::new("list", ns::PRIVACY)
            .with_attribute("name", self.name.clone())
            .with_children(self.items.iter().map(Item::write))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its items, as they are tried.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The JIDs that it blocks altogether (XEP-0191 §5).
    pub fn blocked(&self) -> impl Iterator<Item = &Jid> {
        self.items.iter().filter_map(Item::blocked)
    }

    /// The same list with these JIDs blocked before all else (XEP-0191 §5). Its items are numbered anew.
    pub fn blocking(&self, jids: &[Jid]) -> List {
        let named: HashSet<&Jid> = jids.iter().collect();
        let others = self.items.iter().filter(|item| item.blocked().is_none_or(|jid| !named.contains(jid)));
        let blocks = jids.iter().map(|jid| Item::block(0, jid.clone()));
        let items = blocks.chain(others.cloned()).zip(1..).map(|(item, order)| Item { order, ..item });
        List::of(&self.name, items.collect())
    }

    /// The same list with none of the blocks that are meant.
    pub fn unblocking(&self, is_meant: impl Fn(&Jid) -> bool) -> List {
        let items = self.items.iter().filter(|item| !item.blocked().is_some_and(&is_meant));
        List::of(&self.name, items.cloned().collect())
    }

    /// Does the roster matter to it?
    pub fn reads_roster(&self) -> bool {
        self.index.reads_roster()
    }

    /// Is there an item about one resource of an account?
    pub fn names_resources(&self) -> bool {
        self.index.names_resources()
    }

    /// The full JIDs of an account that items are about.
    pub fn resources_of(&self, account: &Jid) -> impl Iterator<Item = &Jid> {
        self.index.below(&self.items, account).filter_map(|place| match &self.items.get(place)?.subject {
            Subject::Jid(jid) => Some(jid),
            _ => None,
        })
    }

    /// The item that decides about a stanza from or to somebody (XEP-0016 §2.2): the first that is about both. `None`:
    /// it may pass. The roster is asked only where an item needs it.
    pub fn decide<E>(
        &self,
        who: &Jid,
        traffic: Traffic,
        relation: impl FnOnce() -> Result<Relation, E>,
    ) -> Result<Option<&Item>, E> {
        let place = self.index.first(&self.items, who, traffic, relation)?;
        Ok(place.and_then(|place| self.items.get(place)))
    }
}

/// The name that a `<list/>`, `<active/>` or `<default/>` gives.
pub fn name_of(element: &Element) -> Result<&str, Fault> {
    match element.attribute("name") {
        Some(name) if !name.is_empty() => Ok(name),
        _ => fault(Condition::BadRequest, "A list needs a name."),
    }
}

/// XEP-0016 §2.1, XEP-0191 §6: a full JID is one resource, a bare one an account with all resources, a domain alone
/// everything there.
pub fn covers(jid: &Jid, who: &Jid) -> bool {
    match (jid.node(), jid.is_full()) {
        (_, true) => jid == who,
        (Some(_), false) => jid::same_bare(jid, who),
        (None, false) => jid.domain() == who.domain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::reader;

    fn list(items: &str) -> Result<List, Condition> {
        let element = reader::element(&format!("<list xmlns='jabber:iq:privacy' name='l'>{items}</list>")).unwrap();
        List::parse(&element).map_err(|fault| fault.condition)
    }

    #[test]
    fn what_is_no_list_is_refused() {
        use Condition::{BadRequest, JidMalformed};
        let rows = [
            ("<item action='deny'/>", BadRequest),
            ("<item action='deny' order=''/>", BadRequest),
            ("<item action='deny' order='-1'/>", BadRequest),
            ("<item action='deny' order='+1'/>", BadRequest),
            ("<item action='deny' order='1.5'/>", BadRequest),
            ("<item action='deny' order='4294967296'/>", BadRequest),
            ("<item order='1'/>", BadRequest),
            ("<item action='maybe' order='1'/>", BadRequest),
            ("<item action='deny' order='1'/><item action='allow' order='1'/>", BadRequest),
            ("<item action='deny' order='1'/><item action='allow' order='01'/>", BadRequest),
            ("<item type='jid' action='deny' order='1'/>", JidMalformed),
            ("<item type='jid' value='@' action='deny' order='1'/>", JidMalformed),
            ("<item type='group' action='deny' order='1'/>", BadRequest),
            ("<item type='subscription' value='some' action='deny' order='1'/>", BadRequest),
            ("<item type='mood' value='bad' action='deny' order='1'/>", BadRequest),
            ("<item action='deny' order='1'><presence/></item>", BadRequest),
            ("<item action='deny' order='1'><iq xmlns='jabber:client'/></item>", BadRequest),
            ("<rule/>", BadRequest),
        ];
        for (items, condition) in rows {
            assert_eq!(list(items), Err(condition), "{items}");
        }
        assert!(List::parse(&Element::new("list", ns::PRIVACY)).is_err());
    }

    #[test]
    fn a_list_is_written_as_it_was_read_in_order() {
        let text = "<item type='group' value='a &amp; b' action='allow' order='7'><message/><presence-out/></item>\
                    <item type='subscription' value='none' action='deny' order='9'/><item action='deny' order='4294967295'/>";
        let first = "<item type='jid' value='Tybalt@Example.com/X' action='deny' order='0'/>";
        let list = list(&format!("{text}{first}")).unwrap();
        let first = first.replace("Tybalt@Example", "tybalt@example");
        assert_eq!(list.write().to_string(), format!("<list xmlns='jabber:iq:privacy' name='l'>{first}{text}</list>"));
    }

    #[test]
    fn jids_cover_what_is_below_them() {
        let names = ["a@b/c", "a@b/d", "a@b", "x@b/c", "b/c", "b", "a@sub.b", "a@b.c"];
        let rows =
            [("a@b/c", "10000000"), ("a@b", "11100000"), ("b/c", "00001000"), ("b", "11111100"), ("sub.b", "00000010")];
        for (jid, expected) in rows {
            let jid = Jid::new(jid).unwrap();
            let covered = names.map(|who| if covers(&jid, &Jid::new(who).unwrap()) { '1' } else { '0' });
            assert_eq!(String::from_iter(covered), expected, "{jid}");
        }
    }

    #[test]
    fn the_first_item_that_is_about_a_stanza_decides() {
        use Traffic::{Iq, Message, Other, PresenceIn, PresenceOut};
        let list = list(
            "<item type='jid' value='friend@x' action='allow' order='1'/>\
             <item type='jid' value='x' action='deny' order='2'><message/></item>\
             <item type='group' value='Foes' action='deny' order='3'/>\
             <item type='subscription' value='to' action='deny' order='4'><presence-in/><iq/></item>\
             <item action='deny' order='5'><presence-out/></item>",
        );
        let list = list.unwrap();
        let stranger = Relation::STRANGER;
        let foe = Relation { subscription: "both", groups: vec!["Foes".into()] };
        let watched = Relation { subscription: "to", groups: Vec::new() };
        // Who, in which relation, and the order of the item that decides on each kind of traffic; 0 for none.
        let rows = [
            ("friend@x/r", &foe, [1, 1, 1, 1, 1]),
            ("other@x", &stranger, [2, 0, 0, 5, 0]),
            ("foe@y", &foe, [3, 3, 3, 3, 3]),
            ("foe@x", &foe, [2, 3, 3, 3, 3]),
            ("star@y", &watched, [0, 4, 4, 5, 0]),
            ("nobody@y", &stranger, [0, 0, 0, 5, 0]),
        ];
        for (who, relation, expected) in rows {
            let decided = [Message, Iq, PresenceIn, PresenceOut, Other].map(|traffic| {
                let item = list.decide(&Jid::new(who).unwrap(), traffic, || Ok::<_, ()>(relation.clone())).unwrap();
                item.map_or(0, |item| item.order)
            });
            assert_eq!(decided, expected, "{who}");
        }
        // Nobody's roster is read in vain.
        assert!(list.reads_roster());
        let never = || Err::<Relation, ()>(());
        assert!(list.decide(&Jid::new("friend@x").unwrap(), Iq, never).unwrap().is_some_and(|item| item.allows));
        assert!(list.decide(&Jid::new("foe@y").unwrap(), Iq, never).is_err());
    }

    #[test]
    fn blocks_come_first_and_go_alone() {
        let jid = |text: &str| Jid::new(text).unwrap();
        let old = list(
            "<item type='jid' value='a@x' action='allow' order='0'/><item type='jid' value='b@x' action='deny' order='1'/>\
             <item type='jid' value='c@x' action='deny' order='2'><message/></item>",
        );
        let old = old.unwrap();
        let new = old.blocking(&[jid("a@x"), jid("b@x")]);
        let values = |list: &List| -> Vec<(u32, String, bool)> {
            let row = |item: &Item| (item.order, item.write().attribute("value").unwrap().to_owned(), item.allows);
            list.items().iter().map(row).collect()
        };
        let row = |order, value: &str, allows| (order, value.to_owned(), allows);
        let expected = [row(1, "a@x", false), row(2, "b@x", false), row(3, "a@x", true), row(4, "c@x", false)];
        assert_eq!(values(&new), expected);
        assert_eq!(new.blocked().cloned().collect::<Vec<_>>(), [jid("a@x"), jid("b@x")]);
        assert_eq!(values(&new.unblocking(|_| true)), expected[2..]);
        assert_eq!(values(&new.unblocking(|who| *who == jid("b@x"))).len(), 3);
    }
}
