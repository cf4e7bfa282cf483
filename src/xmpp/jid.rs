//! JIDs (RFC 7622, by way of the stringprep profiles of RFC 6122 that the field still uses).

use std::borrow::Cow;
use std::net::Ipv6Addr;

pub use jid::{BareJid, DomainPart, FullJid, Jid, NodePart, ResourcePart};

/// The bare JID of a host: a domainpart alone.
pub fn of_host(host: &str) -> Option<Jid> {
    Jid::new(host).ok().filter(|jid| jid.node().is_none() && jid.is_bare())
}

/// Reads a JID that is the same when it is read again.
///
/// Letters that are newer than stringprep's Unicode 3.2 are not folded, yet may become capitals when they are normalized
/// (U+1F139 is a J then): the next server would take such a JID for somebody else's.
pub fn stable(text: &str) -> Option<Jid> {
    let jid = Jid::new(text).ok()?;
    (text.is_ascii() || Jid::new(jid.as_str()).is_ok_and(|again| again == jid)).then_some(jid)
}

/// The one name of a domain that may be written in several ways, and is one for the DNS: A-labels as U-labels (RFC 7622
/// §3.2.1), and an address of IPv6 in its shortest form. Not every server writes them so.
pub fn one_name(domain: &str) -> Cow<'_, str> {
    if let Some(address) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let shortest = address.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
        return shortest.filter(|shortest| shortest != domain).map_or(domain.into(), Cow::Owned);
    }
    if memchr::memmem::find(domain.as_bytes(), b"xn--").is_none() {
        return domain.into();
    }
    let (unicode, valid) = idna::domain_to_unicode(domain);
    if valid.is_ok() { unicode.into() } else { domain.into() }
}

/// The same address with the [one name](one_name) of its domain.
pub fn with_one_name(jid: Jid) -> Jid {
    let Cow::Owned(name) = one_name(domain(&jid)) else { return jid };
    let localpart = jid.node().map(|node| format!("{node}@")).unwrap_or_default();
    let resource = jid.resource().map(|resource| format!("/{resource}")).unwrap_or_default();
    Jid::new(&format!("{localpart}{name}{resource}")).unwrap_or(jid)
}

/// The domainpart as text.
pub fn domain(jid: &Jid) -> &str {
    jid.domain().as_str()
}

/// Same account: equal but for the resource.
pub fn same_bare(a: &Jid, b: &Jid) -> bool {
    bare_str(a) == bare_str(b)
}

/// The JID without its resource, cut off where it stands: [`Jid::to_bare`] puts it together anew from its parts, which on
/// the way of each stanza is felt.
pub fn bare(jid: &Jid) -> BareJid {
    jid.clone().into_bare()
}

/// The text of a JID up to its resource.
pub fn bare_str(jid: &Jid) -> &str {
    let text = jid.as_str();
    match jid.resource() {
        Some(resource) => text.get(..text.len().saturating_sub(resource.as_str().len() + 1)).unwrap_or(text),
        None => text,
    }
}

/// The JID under which the sender or receiver of a presence stands in a roster (RFC 6121 §3.1): the bare one.
///
/// Compat: the transports of jabberd 1.4 stand there as `icq.example.com/registered`, so a JID without localpart stays
/// whole.
pub fn contact(jid: &Jid) -> Jid {
    if jid.node().is_some() { bare(jid).into() } else { jid.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_text_ends_before_the_resource() {
        for (jid, bare) in [("a@b/c/d@e", "a@b"), ("a@b", "a@b"), ("b/c", "b"), ("b", "b")] {
            let jid = Jid::new(jid).unwrap();
            assert_eq!((bare_str(&jid), super::bare(&jid).as_str()), (bare, bare));
        }
    }

    #[test]
    fn a_jid_that_would_become_another_is_none() {
        let rows = [
            ("Romeo@Montague.net", Some("romeo@montague.net")),
            ("\u{DF}@example.com/\u{DF}", Some("ss@example.com/\u{DF}")),
            ("B\u{FC}cher@example.com", Some("b\u{FC}cher@example.com")),
            ("\u{1F139}uliet@capulet.com", None),
            ("@", None),
        ];
        for (text, read) in rows {
            assert_eq!(stable(text).as_ref().map(|jid| jid.as_str()), read, "{text}");
        }
    }

    #[test]
    fn a_contact_is_a_bare_jid_or_a_whole_transport() {
        for (jid, as_contact) in [("a@b/c", "a@b"), ("a@b", "a@b"), ("b/registered", "b/registered"), ("b", "b")] {
            assert_eq!(contact(&Jid::new(jid).unwrap()).as_str(), as_contact);
        }
    }
}
