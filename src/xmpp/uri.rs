//! XMPP URIs (RFC 5122, XEP-0147): addresses of people, and what invitations are told as.
//!
//! A URI has nothing but ASCII: what an IRI may have besides, in a host, too, is UTF-8 behind percent signs (RFC 5122
//! §2.7.2, RFC 3986 §3.2.2, RFC 3987 §3.1).

use super::{BareJid, Jid, jid};

/// The URI of an address.
pub fn of(address: &Jid) -> String {
    let localpart = address.node().map(|node| escaped(node.as_str()) + "@").unwrap_or_default();
    let resource = address.resource().map(|resource| format!("/{}", escaped(resource.as_str()))).unwrap_or_default();
    format!("xmpp:{localpart}{}{resource}", host(jid::domain(address)))
}

/// A URI of any scheme, typed by people with letters that only an IRI has (RFC 3987 §3.1).
pub fn of_iri(iri: &str) -> String {
    let mut uri = String::new();
    for byte in iri.bytes() {
        match byte {
            b'!'..=b'~' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

/// XEP-0401 §5.4: where to make an account; an empty localpart leaves the name to who makes it.
pub fn register(localpart: &str, domain: &str, token: &str) -> String {
    let domain = host(domain);
    match localpart.is_empty() {
        true => format!("xmpp:{domain}?register;preauth={token}"),
        false => format!("xmpp:{}@{domain}?register;preauth={token}", escaped(localpart)),
    }
}

/// XEP-0401 §5.1: whom to become a contact of; `ibr=y` where the token makes an account, too.
pub fn roster(inviter: &BareJid, token: &str, registers: bool) -> String {
    let ibr = if registers { ";ibr=y" } else { "" };
    format!("{}?roster;preauth={token}{ibr}", of(inviter))
}

/// RFC 3986 §3.2.2: an IPv6 address stands in its brackets, all else is escaped as a name.
fn host(domain: &str) -> String {
    if domain.starts_with('[') { domain.to_owned() } else { escaped(domain) }
}

/// RFC 5122 §2.2: what may stand in a part of an address in a URI; the rest is escaped.
fn escaped(part: &str) -> String {
    let mut uri = String::new();
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => uri.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'*' | b'+' | b',' | b'=' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_hold_any_name() {
        let rows = [
            ("", "xmpp:h.test?register;preauth=t"),
            ("juliet", "xmpp:juliet@h.test?register;preauth=t"),
            ("a?b;c#d%e", "xmpp:a%3Fb%3Bc%23d%25e@h.test?register;preauth=t"),
            ("j\u{fc}rgen", "xmpp:j%C3%BCrgen@h.test?register;preauth=t"),
        ];
        for (localpart, uri) in rows {
            assert_eq!(register(localpart, "h.test", "t"), uri);
        }
        assert_eq!(register("a", "b\u{fc}cher.example", "t"), "xmpp:a@b%C3%BCcher.example?register;preauth=t");
        let romeo = BareJid::new("romeo@h.test").unwrap();
        assert_eq!(roster(&romeo, "t", false), "xmpp:romeo@h.test?roster;preauth=t");
        assert_eq!(roster(&romeo, "t", true), "xmpp:romeo@h.test?roster;preauth=t;ibr=y");
    }

    #[test]
    fn addresses_become_uris() {
        let rows = [
            ("h.test", "xmpp:h.test"),
            ("what?#x@h.test", "xmpp:what%3F%23x@h.test"),
            ("j\u{fc}rgen@b\u{fc}cher.example", "xmpp:j%C3%BCrgen@b%C3%BCcher.example"),
            // RFC 5122 §2.7.2.
            ("ji\u{159}i@\u{10d}echy.example/v Praze", "xmpp:ji%C5%99i@%C4%8Dechy.example/v%20Praze"),
            ("romeo@[::1]/a/b", "xmpp:romeo@[::1]/a%2Fb"),
        ];
        for (address, uri) in rows {
            assert_eq!(of(&Jid::new(address).unwrap()), uri);
        }
        assert_eq!(of_iri("mailto:j\u{fc}rgen@h.test?subject=a%20b"), "mailto:j%C3%BCrgen@h.test?subject=a%20b");
    }
}
