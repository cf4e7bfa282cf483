//! XMPP URIs (RFC 5122, XEP-0147) that invitations are told as.

use super::BareJid;

/// XEP-0401 §5.4: where to make an account; an empty localpart leaves the name to who makes it.
pub fn register(localpart: &str, host: &str, token: &str) -> String {
    match localpart.is_empty() {
        true => format!("xmpp:{host}?register;preauth={token}"),
        false => format!("xmpp:{}@{host}?register;preauth={token}", escaped(localpart)),
    }
}

/// XEP-0401 §5.1: whom to become a contact of; `ibr=y` where the token makes an account, too.
pub fn roster(inviter: &BareJid, token: &str, registers: bool) -> String {
    let localpart = inviter.node().map(|node| escaped(node.as_str())).unwrap_or_default();
    let ibr = if registers { ";ibr=y" } else { "" };
    format!("xmpp:{localpart}@{}?roster;preauth={token}{ibr}", inviter.domain())
}

/// RFC 5122 §2.2: what may stand in a localpart of a URI; the rest is escaped.
fn escaped(localpart: &str) -> String {
    let mut uri = String::new();
    for byte in localpart.bytes() {
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
        let romeo = BareJid::new("romeo@h.test").unwrap();
        assert_eq!(roster(&romeo, "t", false), "xmpp:romeo@h.test?roster;preauth=t");
        assert_eq!(roster(&romeo, "t", true), "xmpp:romeo@h.test?roster;preauth=t;ibr=y");
    }
}
