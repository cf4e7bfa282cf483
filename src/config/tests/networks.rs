//! Addresses, masks, and jabberd 1.4's scores.

use super::*;

#[test]
fn networks_hold_their_addresses() {
    let rows = [
        ("192.0.2.0/24", "192.0.2.255", true),
        ("192.0.2.0/24", "192.0.3.0", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "::ffff:192.0.2.7", true),
        ("0.0.0.0/0", "203.0.113.5", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("[::1]", "::1", true),
        ("10.0.0.0/255.0.0.0", "10.9.8.7", true),
    ];
    for (network, address, expected) in rows {
        let parsed = Network::parse(network).unwrap();
        assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{network} {address}");
    }
    for text in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/ffff::", "10.0.0", "10.0.0.0/-1"] {
        assert_eq!(Network::parse(text), None, "{text}");
    }
    for text in ["192.0.2.0/24", "2001:db8::/32", "192.0.2.7", "::1", "0.0.0.0/0", "::/0"] {
        assert_eq!(Network::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn exact_rules_beat_networks_and_deny_beats_allow() {
    let access = |allow: &[&str], deny: &[&str]| Access {
        allow: allow.iter().map(|text| Network::parse(text).unwrap()).collect(),
        deny: deny.iter().map(|text| Network::parse(text).unwrap()).collect(),
    };
    let rows = [
        (access(&[], &[]), true),
        (access(&["192.0.2.0/24"], &[]), true),
        (access(&["198.51.100.0/24"], &[]), false),
        (access(&[], &["192.0.2.0/24"]), false),
        (access(&["192.0.2.1"], &["192.0.2.0/24"]), true),
        (access(&["192.0.2.0/24"], &["192.0.2.0/24"]), false),
        (access(&["192.0.2.1"], &["192.0.2.1"]), false),
        (access(&[], &["198.51.100.0/24"]), true),
    ];
    for (access, expected) in rows {
        assert_eq!(access.admits("192.0.2.1".parse().unwrap()), expected, "{access:?}");
    }
}
