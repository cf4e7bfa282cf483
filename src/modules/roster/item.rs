//! The grammar of a roster item (RFC 6121 §2.1.2): what a client may set, and how an item is written.

use crate::config::Limits;
use crate::xml::Element;
use crate::xmpp::{Condition, Jid, StanzaError, jid, ns};

/// What a client may ask of its roster, one contact at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// RFC 6121 §2.3, §2.4: this name and these groups.
    Keep { jid: Jid, name: String, groups: Vec<String> },
    /// RFC 6121 §2.5.
    Remove { jid: Jid },
}

impl Wish {
    /// Reads the query of a roster set by the rules of RFC 6121 §2.3.3.
    pub(super) fn parse(query: &Element, limits: &Limits) -> Result<Wish, StanzaError> {
        let mut items = query.children();
        let (Some(item), None) = (items.next(), items.next()) else {
            return Err(StanzaError::new(Condition::BadRequest, "A roster set has exactly one item."));
        };
        if !item.is("item", ns::ROSTER) {
            return Err(Condition::BadRequest.into());
        }
        let jid = item.attribute("jid").filter(|jid| !jid.is_empty()).ok_or(Condition::BadRequest)?;
        let jid = jid::stable(jid).ok_or(Condition::JidMalformed)?;
        // RFC 6121 §2.1.2.5: of all values of `subscription` a client may only set this one.
        if item.attribute("subscription") == Some("remove") {
            return Ok(Wish::Remove { jid });
        }
        let name = item.attribute("name").unwrap_or_default();
        if name.len() > limits.roster_name_bytes_max {
            return Err(StanzaError::new(Condition::NotAcceptable, "The name is too long."));
        }
        Ok(Wish::Keep { jid, name: name.to_string(), groups: groups(item, limits)? })
    }
}

fn groups(item: &Element, limits: &Limits) -> Result<Vec<String>, StanzaError> {
    let mut groups: Vec<String> = Vec::new();
    for group in item.children().filter(|child| child.is("group", ns::ROSTER)) {
        let group = group.text();
        if group.is_empty() {
            return Err(StanzaError::new(Condition::NotAcceptable, "A group needs a name."));
        }
        if group.len() > limits.roster_name_bytes_max || groups.len() >= limits.roster_groups_max {
            return Err(StanzaError::new(Condition::NotAcceptable, "Too many groups, or too long a group name."));
        }
        if groups.iter().any(|other| *other == group) {
            return Err(StanzaError::new(Condition::BadRequest, "The same group twice."));
        }
        groups.push(group.into_owned());
    }
    Ok(groups)
}

/// RFC 6121 §2.5.1: an item that is gone.
pub(super) fn write_removed(jid: &Jid) -> Element {
    Element::new("item", ns::ROSTER)
        .with_attribute("jid", jid.as_str().to_string())
        .with_attribute("subscription", "remove")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::roster::RosterItem;
    use crate::xml::reader;

    fn parse(items: &str) -> Result<Wish, Condition> {
        let query = reader::element(&format!("<query xmlns='jabber:iq:roster'>{items}</query>")).unwrap();
        let limits = Limits { roster_name_bytes_max: 8, roster_groups_max: 2, ..Limits::default() };
        Wish::parse(&query, &limits).map_err(|error| error.condition())
    }

    #[test]
    fn wishes_are_read() {
        let jid = |text| Jid::new(text).unwrap();
        let keep = |text, name: &str, groups: &[&str]| Wish::Keep {
            jid: jid(text),
            name: name.to_string(),
            groups: groups.iter().map(|group| group.to_string()).collect(),
        };
        let rows = [
            ("<item jid='romeo@a'/>", keep("romeo@a", "", &[])),
            ("<item jid='Romeo@A' name='R'><group>x</group><group>y</group></item>", keep("romeo@a", "R", &["x", "y"])),
            // Only "remove" is the client's to say; 1.4's transports have a resource.
            ("<item jid='icq.a/registered' subscription='both' ask='subscribe'/>", keep("icq.a/registered", "", &[])),
            ("<item jid='a' subscription='remove' name='far too long'/>", Wish::Remove { jid: jid("a") }),
        ];
        for (items, wish) in rows {
            assert_eq!(parse(items), Ok(wish), "{items}");
        }
    }

    #[test]
    fn what_cannot_be_a_wish_is_refused() {
        let rows = [
            ("", Condition::BadRequest),
            ("<item jid='a@b'/><item jid='c@d'/>", Condition::BadRequest),
            ("<other jid='a@b'/>", Condition::BadRequest),
            ("<item/>", Condition::BadRequest),
            ("<item jid=''/>", Condition::BadRequest),
            ("<item jid='@b'/>", Condition::JidMalformed),
            ("<item jid='a@b' name='123456789'/>", Condition::NotAcceptable),
            ("<item jid='a@b'><group/></item>", Condition::NotAcceptable),
            ("<item jid='a@b'><group>123456789</group></item>", Condition::NotAcceptable),
            ("<item jid='a@b'><group>1</group><group>2</group><group>3</group></item>", Condition::NotAcceptable),
            ("<item jid='a@b'><group>x</group><group>x</group></item>", Condition::BadRequest),
        ];
        for (items, condition) in rows {
            assert_eq!(parse(items), Err(condition), "{items}");
        }
    }

    #[test]
    fn items_are_written() {
        let mut item = RosterItem::new(Jid::new("romeo@a").unwrap());
        assert_eq!(item.to_element().to_string(), "<item xmlns='jabber:iq:roster' jid='romeo@a' subscription='none'/>");
        item.name = "R".to_string();
        item.ask = true;
        item.approved = true;
        item.groups = vec!["x".to_string()];
        assert_eq!(
            item.to_element().to_string(),
            "<item xmlns='jabber:iq:roster' jid='romeo@a' name='R' subscription='none' ask='subscribe' approved='true'>\
             <group>x</group></item>"
        );
    }
}
