//! JIDs (RFC 7622, by way of the stringprep profiles of RFC 6122 that the field still uses).

pub use jid::{BareJid, DomainPart, FullJid, Jid, NodePart, ResourcePart};

/// The bare JID of a host: a domainpart alone.
pub fn of_host(host: &str) -> Option<Jid> {
    Jid::new(host).ok().filter(|jid| jid.node().is_none() && jid.is_bare())
}

/// The domainpart as text.
pub fn domain(jid: &Jid) -> &str {
    jid.domain().as_str()
}

/// Same account: equal but for the resource.
pub fn same_bare(a: &Jid, b: &Jid) -> bool {
    bare_str(a) == bare_str(b)
}

/// The text of a JID up to its resource.
pub fn bare_str(jid: &Jid) -> &str {
    let text = jid.as_str();
    match jid.resource() {
        Some(resource) => text.get(..text.len().saturating_sub(resource.as_str().len() + 1)).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_text_ends_before_the_resource() {
        for (jid, bare) in [("a@b/c/d@e", "a@b"), ("a@b", "a@b"), ("b/c", "b"), ("b", "b")] {
            assert_eq!(bare_str(&Jid::new(jid).unwrap()), bare);
        }
    }
}
