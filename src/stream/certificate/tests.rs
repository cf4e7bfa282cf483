use std::net::{IpAddr, Ipv6Addr};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use super::*;

/// 2026-11-20T00:00:00Z.
const NOW: Now = Now { unix_millis: 1_795_132_800_000, monotonic_millis: 0 };

struct Authority {
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn authority(common_name: &str, above: Option<&Authority>) -> Authority {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer),
        None => params.self_signed(&key),
    };
    Authority { der: certificate.unwrap().der().to_vec(), issuer: Issuer::new(params, key) }
}

fn server(params: &CertificateParams, by: &Authority) -> Vec<u8> {
    params.signed_by(&KeyPair::generate().unwrap(), &by.issuer).unwrap().der().to_vec()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn xmpp_addr(name: &str) -> SanType {
    SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 5], name.into()))
}

fn srv_utf8(name: &str) -> SanType {
    SanType::OtherName((vec![1, 3, 6, 1, 5, 5, 7, 8, 7], name.into()))
}

/// A subjectAltName with an SRV-ID as RFC 4985 §2 wants it, IA5String; rcgen writes only UTF8String.
fn srv_ia5(name: &str) -> CustomExtension {
    let wrap = |tag: u8, content: &[u8]| {
        let mut der = vec![tag, u8::try_from(content.len()).unwrap()];
        der.extend_from_slice(content);
        der
    };
    let mut other = wrap(6, &[0x2b, 6, 1, 5, 5, 7, 8, 7]);
    other.extend(wrap(0xa0, &wrap(0x16, name.as_bytes())));
    CustomExtension::from_oid_content(&[2, 5, 29, 17], wrap(0x30, &wrap(0xa0, &other)))
}

/// What it is, the chain, what is said of it.
type Row<'a> = (&'a str, Vec<Vec<u8>>, Result<(), String>);

fn ok() -> Result<(), String> {
    Ok(())
}

fn fault(text: &str) -> Result<(), String> {
    Err(text.to_owned())
}

#[test]
fn names() {
    let root = authority("Root", None);
    let trust = Authorities::new([root.der.clone()]);
    let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let for_not = |names: &str, domain: &str| Err(format!("certificate is for {names}, not {domain}"));
    let rows: Vec<(Vec<SanType>, &str, Result<(), String>)> = vec![
        (vec![dns("montague.net")], "montague.net", ok()),
        (vec![dns("Montague.NET")], "montague.net", ok()),
        (vec![dns("capulet.com"), dns("montague.net")], "montague.net", ok()),
        (
            vec![dns("foo.example"), dns("www.foo.example")],
            "bar.example",
            for_not("foo.example, www.foo.example", "bar.example"),
        ),
        (vec![dns("montague.net")], "xmpp.montague.net", for_not("montague.net", "xmpp.montague.net")),
        (vec![dns("*.montague.net")], "xmpp.montague.net", ok()),
        (vec![dns("*.montague.net")], "montague.net", for_not("*.montague.net", "montague.net")),
        (vec![dns("*.montague.net")], "a.xmpp.montague.net", for_not("*.montague.net", "a.xmpp.montague.net")),
        (vec![dns("x*.montague.net")], "xmpp.montague.net", for_not("x*.montague.net", "xmpp.montague.net")),
        (vec![dns("xmpp.*.net")], "xmpp.montague.net", for_not("xmpp.*.net", "xmpp.montague.net")),
        (vec![dns("*.net")], "montague.net", for_not("*.net", "montague.net")),
        (vec![dns("*")], "montague", for_not("*", "montague")),
        (vec![dns("xn--bcher-kva.example")], "bücher.example", ok()),
        (vec![dns("*.xn--bcher-kva.example")], "xmpp.bücher.example", ok()),
        (vec![xmpp_addr("bücher.example")], "bücher.example", ok()),
        (vec![xmpp_addr("montague.net")], "montague.net", ok()),
        (vec![xmpp_addr("*.montague.net")], "xmpp.montague.net", for_not("*.montague.net", "xmpp.montague.net")),
        (vec![xmpp_addr("romeo@montague.net")], "montague.net", for_not("romeo@montague.net", "montague.net")),
        (vec![srv_utf8("_xmpp-server.montague.net")], "montague.net", ok()),
        (vec![srv_utf8("_XMPP-Server.montague.net")], "montague.net", ok()),
        (
            vec![srv_utf8("_xmpp-client.montague.net")],
            "montague.net",
            for_not("_xmpp-client.montague.net", "montague.net"),
        ),
        (vec![SanType::IpAddress([192, 0, 2, 1].into())], "192.0.2.1", ok()),
        (vec![SanType::IpAddress([192, 0, 2, 1].into())], "192.0.2.2", for_not("192.0.2.1", "192.0.2.2")),
        (vec![SanType::IpAddress(v6)], "[2001:db8::1]", ok()),
        (vec![SanType::IpAddress(v6)], "2001:db8:0::1", ok()),
        (vec![dns("192.0.2.1")], "192.0.2.1", for_not("192.0.2.1", "192.0.2.1")),
        (vec![xmpp_addr("a\nb")], "montague.net", for_not("a?b", "montague.net")),
        (
            vec![],
            "montague.net",
            fault("certificate names no domain, so it is not for montague.net (a common name does not count)"),
        ),
    ];
    for (names, domain, expected) in rows {
        let mut params = params("montague.net");
        params.subject_alt_names = names.clone();
        let chain = [server(&params, &root)];
        assert_eq!(trust.check(&chain, domain, NOW), expected, "{names:?} for {domain}");
    }
    for (name, expected) in [
        ("_xmpp-server.montague.net", ok()),
        ("_xmpp-server.capulet.com", for_not("capulet.com", "montague.net")),
        ("_imap.montague.net", for_not("_imap.montague.net", "montague.net")),
    ] {
        let mut params = params("x");
        params.custom_extensions = vec![srv_ia5(name)];
        assert_eq!(trust.check(&[server(&params, &root)], "montague.net", NOW), expected, "{name}");
    }
}

#[test]
fn dates() {
    let root = authority("Root", None);
    let trust = Authorities::new([root.der.clone()]);
    let rows = [
        ((2026, 1, 1), (2026, 12, 1), ok()),
        ((2025, 1, 1), (2026, 1, 2), fault("certificate expired on 2026-01-02")),
        ((2026, 12, 24), (2027, 1, 2), fault("certificate is not yet valid until 2026-12-24")),
    ];
    for ((y1, m1, d1), (y2, m2, d2), expected) in rows {
        let mut params = params("x");
        params.subject_alt_names = vec![dns("montague.net")];
        params.not_before = date_time_ymd(y1, m1, d1);
        params.not_after = date_time_ymd(y2, m2, d2);
        assert_eq!(trust.check(&[server(&params, &root)], "montague.net", NOW), expected);
    }
}

#[test]
fn paths() {
    let (root, other_root) = (authority("Root", None), authority("Other Root", None));
    let (middle, lower) = (authority("Middle", Some(&root)), authority("x", None));
    let deep = authority("Deep", Some(&middle));
    let trust = Authorities::new([root.der.clone()]);
    let mut params = params("montague.net");
    params.subject_alt_names = vec![dns("montague.net")];
    let by_middle = server(&params, &middle);
    let by_deep = server(&params, &deep);
    let by_other = server(&params, &other_root);
    let by_unknown = server(&params, &lower);
    let own = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
    let not_trusted = "issued by an authority that is not trusted: CN=";
    let no_middle = " (no intermediate certificate was given)";
    let mut damaged = server(&params, &root);
    *damaged.last_mut().unwrap() ^= 1;
    let (root_der, middle_der, deep_der) = (root.der.clone(), middle.der.clone(), deep.der.clone());
    let rows: Vec<Row<'_>> = vec![
        ("with its intermediate", vec![by_middle.clone(), middle_der.clone()], ok()),
        ("with the root too", vec![by_middle.clone(), middle_der.clone(), root_der.clone()], ok()),
        ("two intermediates", vec![by_deep.clone(), deep_der.clone(), middle_der.clone()], ok()),
        ("in the wrong order", vec![by_deep.clone(), root_der.clone(), middle_der.clone(), deep_der.clone()], ok()),
        ("with extras", vec![by_middle.clone(), other_root.der.clone(), own.clone(), middle_der.clone()], ok()),
        ("with rubbish behind it", vec![by_middle.clone(), middle_der.clone(), vec![1, 2, 3]], ok()),
        ("intermediate missing", vec![by_middle.clone()], Err(format!("{not_trusted}Middle{no_middle}"))),
        ("one of two missing", vec![by_deep, deep_der], Err(format!("{not_trusted}Middle"))),
        ("other root", vec![by_other.clone(), other_root.der.clone()], Err(format!("{not_trusted}Other Root"))),
        ("other root, alone", vec![by_unknown], Err(format!("{not_trusted}x{no_middle}"))),
        ("self-signed", vec![own.clone()], fault("certificate is self-signed")),
        ("an authority's own", vec![middle_der.clone()], fault("certificate is an authority's, not a server's")),
        ("none", vec![], fault("no certificate was given")),
        ("empty", vec![vec![]], fault("certificate cannot be read")),
        ("too many", vec![by_other.clone(); 11], fault("a chain of 11 certificates is longer than 10")),
        ("too large", vec![vec![0; 65_537]], fault("a certificate in the chain is larger than 65536 bytes")),
        ("damaged", vec![damaged], fault("certificate's signature is wrong")),
    ];
    for (what, chain, expected) in rows {
        assert_eq!(trust.check(&chain, "montague.net", NOW), expected, "{what}");
    }
    // A certificate that the admin gave is trusted itself, for the names in it.
    let trust = Authorities::new([own.clone(), own.clone(), vec![7]]);
    assert_eq!(trust.len(), 1);
    assert_eq!(trust.check(std::slice::from_ref(&own), "montague.net", NOW), ok());
    assert!(trust.check(&[own], "capulet.com", NOW).is_err());
}

#[test]
fn an_authority_has_dates_and_bounds_too() {
    let root = authority("Root", None);
    let trust = Authorities::new([root.der.clone()]);
    let mut leaf = params("x");
    leaf.subject_alt_names = vec![dns("montague.net")];
    let under = |change: &dyn Fn(&mut CertificateParams)| {
        let mut middle = params("Middle");
        middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut middle);
        let key = KeyPair::generate().unwrap();
        let der = middle.signed_by(&key, &root.issuer).unwrap().der().to_vec();
        let issuer = Issuer::new(middle, key);
        let own = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().to_vec();
        trust.check(&[own, der], "montague.net", NOW)
    };
    assert_eq!(under(&|_| {}), ok());
    assert_eq!(
        under(&|middle| middle.not_after = date_time_ymd(2026, 11, 1)),
        fault("an authority's certificate expired on 2026-11-01")
    );
    assert_eq!(
        under(&|middle| middle.is_ca = IsCa::ExplicitNoCa),
        fault("certificate is signed by one that is not an authority's")
    );
    let only = rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("capulet.com".to_owned())],
        excluded_subtrees: Vec::new(),
    };
    assert_eq!(
        under(&|middle| middle.name_constraints = Some(only.clone())),
        fault("certificate is for names that its authority may not give")
    );
}

#[test]
fn purposes() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, EmailProtection, ServerAuth};
    let root = authority("Root", None);
    let trust = Authorities::new([root.der.clone()]);
    let rows = [
        (vec![], ok()),
        (vec![ServerAuth], ok()),
        (vec![ClientAuth], ok()),
        (vec![EmailProtection, ClientAuth], ok()),
        (vec![Any], ok()),
        (vec![EmailProtection], fault("certificate is neither for servers nor for clients")),
    ];
    for (purposes, expected) in rows {
        let mut params = params("x");
        params.subject_alt_names = vec![dns("montague.net")];
        params.extended_key_usages.clone_from(&purposes);
        assert_eq!(trust.check(&[server(&params, &root)], "montague.net", NOW), expected, "{purposes:?}");
    }
}

#[test]
fn a_printed_line_is_short() {
    let root = authority("Root", None);
    let trust = Authorities::new([root.der.clone()]);
    let mut params = params("x");
    params.subject_alt_names = (0..100).map(|n| dns(&format!("host{n}.example"))).collect();
    let said = trust.check(&[server(&params, &root)], "montague.net", NOW).unwrap_err();
    assert!(said.len() < 300 && said.ends_with("…, not montague.net"), "{said}");
}
