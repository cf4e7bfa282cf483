//! One row per element: what it does, or what is said about it.

use super::*;
use crate::config::federation::{RemoteAuth, RemoteTls};

#[test]
fn a_file_with_only_a_host_has_every_default() {
    let config = read("<jabber><service id='sessions'><host>Example.ORG</host></service></jabber>").unwrap();
    assert_eq!(config.hosts[0].name, "example.org");
    assert_eq!(config.hosts[0].register, None);
    let ports: Vec<_> = config.listeners.iter().map(|l| (l.kind, l.port, l.address, l.auth_seconds)).collect();
    let kinds = [(ListenerKind::C2s, 5222), (ListenerKind::C2sTls, 5223), (ListenerKind::Bytestreams, 7777)];
    assert_eq!(ports, kinds.map(|(kind, port)| (kind, port, None, 120)));
    assert_eq!(config.spool, Path::new("/var/lib/jabber"));
    assert_eq!(config.logs.len(), 2);
    assert_eq!(config.federation, None);
    assert_eq!(notices(&config), [""; 0]);
}

#[test]
fn hosts_are_names_and_addresses() {
    let rows = [
        ("chat.example.org", Ok("chat.example.org")),
        ("192.0.2.1", Ok("192.0.2.1")),
        ("2001:DB8::1", Ok("[2001:db8::1]")),
        ("[2001:db8:0::1]", Ok("[2001:db8::1]")),
        ("MÜNCHEN.example", Ok("münchen.example")),
        ("XN--mnchen-3ya.example", Ok("münchen.example")),
        ("localhost", Ok("localhost")),
        ("a_b.example", Ok("a_b.example")),
        ("a@b", Err(())),
        ("a/b", Err(())),
        ("a..b", Err(())),
        ("-", Err(())),
        ("", Err(())),
    ];
    for (text, expected) in rows {
        assert_eq!(hosts::host_name(text).map_err(|_| ()), expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn a_host_that_nobody_can_find_was_served() {
    for name in ["*.example.org", "192.0.2.300", "192.0.2", "[192.0.2.1]"] {
        let refusal = read(&format!(
            "<jabber><service id='x'><host>{name}</host><jsm xmlns='jabber:config:jsm'/></service></jabber>"
        ));
        assert!(refusal.unwrap_err().to_string().contains("is not legal"), "{name}");
    }
}

#[test]
fn several_sections_and_hosts() {
    let two = "<service id='one'><host>a.test</host><jsm xmlns='jabber:config:jsm'><register/></jsm></service>\
               <service id='two'><host>b.test</host><host>a.test</host><load><jsm>x</jsm></load></service>";
    let config = read(&format!("<jabber>{two}</jabber>")).unwrap();
    assert_eq!(
        config.hosts.iter().map(|host| (host.name.as_str(), host.register.is_some())).collect::<Vec<_>>(),
        [("a.test", true), ("b.test", false)]
    );
    assert_eq!(notices(&config), ["1: the host a.test is named twice: only the first counts"]);
    // 1.4: the id is an address.
    let by_id = read("<jabber><service id='c.test'><jsm xmlns='jabber:config:jsm'/></service></jabber>").unwrap();
    assert_eq!(by_id.hosts[0].name, "c.test");
    let none = read("<jabber><service id='sessions'><jsm xmlns='jabber:config:jsm'/></service></jabber>").unwrap_err();
    assert!(none.to_string().contains("no <host> for the sessions"), "{none}");
    let nobody = read("<jabber><io/></jabber>").unwrap_err();
    assert!(nobody.to_string().contains("no sessions section"), "{nobody}");
}

/// Children of `<jsm>`, and the one notice that they give (empty: none).
const JSM: &[(&str, &str)] = &[
    ("<maxusers>1</maxusers><maxhosts>1</maxhosts><usergc>1</usergc><update>x</update>", ""),
    ("<filter><default/></filter>", "<filter> has no effect"),
    ("<groups/>", "<groups> has no effect"),
    ("<archive><service>a.test</service></archive>", "<archive> has no effect"),
    ("<history><sent/></history>", "<history> has no effect"),
    ("<serialization/>", "<serialization> has no effect"),
    ("<presence><presence2xdb/></presence>", "<presence2xdb> has no effect"),
    ("<mod_auth_crypt><hash>SHA1</hash></mod_auth_crypt><mod_auth_0k/>", ""),
    ("<regster/>", "unknown element <regster> in <jsm>: ignored; did you mean <register>?"),
    ("<Register/>", "did you mean <register>?"),
    ("<something/>", "unknown element <something> in <jsm>: ignored"),
    ("stray", "text \"stray\" in <jsm> belongs to no element: ignored"),
    ("<!-- --> -->", "(the end of a comment that was already over?)"),
    ("<browse><service name='x'/></browse>", "<service> in <browse> has no jid=: ignored"),
    ("<browse><item jid='@'/></browse>", "jid=\"@\" is not a JID"),
    ("<mod_useridpolicy><minlen>x</minlen></mod_useridpolicy>", "<minlen> should be a number, found \"x\""),
    ("<mod_useridpolicy><minlen>9</minlen><maxlen>3</maxlen></mod_useridpolicy>", "minlen is larger than maxlen"),
    ("<modules xmlns='urn:jabber:config:3'><off>mod_disco</off></modules>", ""),
    ("<modules xmlns='urn:jabber:config:3'><off>mod_disko</off></modules>", "did you mean <mod_disco>?"),
    ("<modules xmlns='urn:jabber:config:3'><of>x</of></modules>", "did you mean <off>?"),
    (
        "<contacts xmlns='urn:jabber:config:3'><abuse>mailto:a@b.test</abuse><admin/><support>h@b.test</support></contacts>",
        "",
    ),
    (
        "<contacts xmlns='urn:jabber:config:3'><abuse>not one</abuse></contacts>",
        "neither an address of the web, of mail nor a JID",
    ),
    ("<contacts xmlns='urn:jabber:config:3'><abus/></contacts>", "did you mean <abuse>?"),
    ("<admin><read>a@b.test</read><reply><body>b</body></reply></admin>", ""),
    ("<admin><write>me</write></admin>", "\"me\" is nobody's address: write name@host"),
    ("<host>b.test</host>", "<host> in <jsm> is ignored: put it before <jsm>, into <service>"),
    ("<welcome><sub/></welcome>", "unknown element <sub> in <welcome>"),
];

#[test]
fn elements_of_jsm_give_their_notice() {
    for (inside, expected) in JSM {
        let config = with_jsm(inside).unwrap_or_else(|error| panic!("{inside}: {error}"));
        let notices = notices(&config);
        match *expected {
            "" => assert_eq!(notices, [""; 0], "{inside}"),
            text => assert!(notices.len() == 1 && notices[0].contains(text), "{inside}: {notices:?}"),
        }
    }
}

#[test]
fn values_of_jsm() {
    let host = |inside: &str| with_jsm(inside).unwrap().hosts.remove(0);
    assert_eq!(host("<regtimeout timeout='-1'/>").name_reuse, NameReuse::Never);
    assert_eq!(host("<regtimeout timeout='60'/>").name_reuse, NameReuse::After(60));
    assert_eq!(host("<regtimeout/>").name_reuse, NameReuse::After(NameReuse::DEFAULT_SECONDS));
    assert_eq!(host("").name_reuse, NameReuse::AtOnce);
    assert_eq!(host("<nounregister>no</nounregister>").forbidden.unregister.as_deref(), Some("no"));
    assert_eq!(host("<nopasswordchange/>").forbidden.password_change.as_deref(), Some(""));
    assert_eq!(host("<noregistrationchange/>").forbidden.registration_change.as_deref(), Some(""));
    assert_eq!(host("<presence><bcc>log@a.test/x</bcc></presence>").presence_bcc[0].as_str(), "log@a.test/x");
    assert!(host("<vcard2jud/>").vcard_to_directory);
    assert!(!host("<modules xmlns='urn:jabber:config:3'><off>mod_disco</off></modules>").modules.is_on("mod_disco"));
    let register = host("<register><instructions> Hi </instructions><username/><email/><email/></register>").register;
    let register = register.unwrap();
    assert_eq!((register.instructions.as_str(), register.fields.len(), register.notify), ("Hi", 1, false));
    for (value, expected) in [("yes", true), ("1", true), ("", true), ("no", false), ("No", false), ("false", false)] {
        let register = host(&format!("<register notify='{value}'/>")).register.unwrap();
        assert_eq!(register.notify, expected, "notify={value:?}");
    }
    let strict = host("<register><enforce-fields xmlns='urn:jabber:config:3'/><email/></register>").register.unwrap();
    assert!(strict.enforce_fields);
    let letter = host("<welcome xml:lang='en'><body>b</body></welcome><welcome xml:lang='de'/>").welcome.unwrap();
    assert_eq!((letter.body.as_str(), letter.lang.as_deref(), letter.variants.len()), ("b", Some("en"), 1));
    let types = host("<mod_offline><error/></mod_offline>").offline;
    assert_eq!(types, OfflineTypes { error: true, ..OfflineTypes::NONE });
}

#[test]
fn a_list_of_modules_closes_what_it_does_not_name() {
    let text = "<jabber><service id='s'><host>a.test</host><jsm xmlns='jabber:config:jsm'><register/></jsm>\
                <load main='jsm'><jsm>x</jsm><mod_roster>x</mod_roster><mod_stat>x</mod_stat></load></service></jabber>";
    let config = read(text).unwrap();
    let host = &config.hosts[0];
    assert_eq!(host.register, None);
    for (name, expected) in [
        ("mod_roster", true),
        ("mod_stat", true),
        ("mod_register", false),
        ("mod_auth_plain", false),
        ("mod_disco", true),
        ("mod_ping", true),
        ("mod_mam", true),
    ] {
        assert_eq!(host.modules.is_on(name), expected, "{name}");
    }
    assert_eq!(notices(&config), ["1: registration is closed, because <load> does not name mod_register"]);
}

#[test]
fn any_module_of_logins_from_before_sasl_lets_them_in() {
    for (functions, off, expected) in [
        ("", "", false),
        ("<mod_auth_plain>x</mod_auth_plain>", "", true),
        ("<mod_auth_crypt>x</mod_auth_crypt>", "", true),
        ("<mod_auth_digest>x</mod_auth_digest>", "", true),
        ("<mod_auth_0k>x</mod_auth_0k>", "", true),
        ("<mod_auth_digest>x</mod_auth_digest>", "mod_auth_plain", false),
        ("<mod_auth_digest>x</mod_auth_digest>", "mod_auth_digest", false),
    ] {
        let text = format!(
            "<jabber><service id='s'><host>a.test</host><load main='jsm'><jsm>x</jsm>{functions}</load>\
             <jsm xmlns='jabber:config:jsm'><modules xmlns='urn:jabber:config:3'><off>{off}</off></modules></jsm></service></jabber>"
        );
        assert_eq!(read(&text).unwrap().hosts[0].modules.is_legacy_login_on(), expected, "{functions} without {off}");
    }
}

#[test]
fn accounts_elsewhere_refuse_the_start() {
    let load = |functions: &str| {
        read(&format!(
            "<jabber><service id='s'><host>a.test</host><load main='jsm'><jsm/>{functions}</load></service></jabber>"
        ))
    };
    assert!(load("<mod_auth_ldap>x</mod_auth_ldap>").unwrap_err().to_string().contains("mod_auth_ldap"));
    assert!(load("<mod_auth_crypt>x</mod_auth_crypt>").is_ok());
    for (xdb, word) in [
        ("<load><xdb_sql>x</xdb_sql></load><xdb_sql xmlns='jabber:config:xdb_sql'/>", "xdb_sql"),
        ("<load><xdb_ldap>x</xdb_ldap></load>", "xdb_ldap"),
        ("<xdb_sql xmlns='jabber:config:xdb_sql'/>", "xdb_sql"),
    ] {
        let error = with(&format!("<xdb id='xdb'><host/>{xdb}</xdb>")).unwrap_err();
        assert!(error.problems.len() == 1 && error.to_string().contains(word), "{error}");
    }
    assert!(with_jsm("<auth>auth.a.test</auth>").unwrap_err().to_string().contains("<auth> cannot be honoured"));
}

/// Children of the root, and the phrase with which the start is refused.
const REFUSED: &[(&str, &str)] = &[
    ("<limits/>", "write <limits xmlns=\"urn:jabber:config:3\">"),
    ("<limits xmlns='urn:jabber:config:2'/>", "write <limits xmlns=\"urn:jabber:config:3\">"),
    ("<host>a.test</host>", "put <host> inside a <service>"),
    ("<jsm xmlns='jabber:config:jsm'/>", "put <jsm> inside a <service"),
    ("<service id='x'><jsm/></service>", "add xmlns=\"jabber:config:jsm\" to the tag"),
    ("<service id='x'><pthcsock><ip/></pthcsock></service>", "add xmlns=\"jabber:config:pth-csock\""),
    ("<service id='x'><host>a b</host><null/></service>", "The host tag contains illegal whitespace."),
    ("<service id='x'><host>a@b</host><null/></service>", "The host name \"a@b\" is not legal"),
    ("<service id='x'><host>https://chat.a.test/</host><null/></service>", "write <host>chat.a.test</host>"),
    ("<service id='x'><host>me@chat.a.test:5222</host><null/></service>", "write <host>chat.a.test</host>"),
    ("<service id='x'><host>???</host><null/></service>", "write <host>chat.example.org</host>"),
    ("<service id='x'><accept><secret>s</secret></accept></service>", "no <port> that is a number"),
    ("<service id='x'><accept/></service>", "neither a <port>"),
    ("<service id='x'><connect><port>1</port></connect></service>", "<connect> requires the following subtags"),
    ("<service id='x'><pthcsock xmlns='jabber:config:pth-csock'><ip port='x'/></pthcsock></service>", "is not a port"),
    ("<service id='x'><pthcsock xmlns='jabber:config:pth-csock'><ip port='0'/></pthcsock></service>", "is not a port"),
    (
        "<service id='x'><pthcsock xmlns='jabber:config:pth-csock'><ip>eth0</ip></pthcsock></service>",
        "not an IP address",
    ),
    (
        "<service id='x'><pthcsock xmlns='jabber:config:pth-csock'><ip/><ip/></pthcsock></service>",
        "port 5222 is already",
    ),
    (
        "<service id='x'><pthcsock xmlns='jabber:config:pth-csock'><ip/><ip>127.0.0.1</ip></pthcsock></service>",
        "port 5222 on the address 127.0.0.1, while that one has it on all addresses",
    ),
    (
        "<service id='x'><pthcsock xmlns='jabber:config:pth-csock'><ip>127.0.0.1</ip><ip>0.0.0.0</ip></pthcsock></service>",
        "port 5222 is already taken",
    ),
    ("<io><allow><ip>x</ip></allow></io>", "<allow> names no address"),
    ("<io><deny><ip>192.0.2.0</ip><mask>ffff::</mask></deny></io>", "<deny> names no address"),
    ("<io><ssl><key ip='127.0.0.1'/></ssl></io>", "<key> names no file"),
    ("<io><tls><credentials><pem/></credentials></tls></io>", "<pem> names no file"),
    ("<certificate xmlns='urn:jabber:config:3'/>", "<certificate> names no file"),
    ("<block xmlns='urn:jabber:config:3'>*.spam.example</block>", "<block> names no domain"),
    ("<block xmlns='urn:jabber:config:3'/>", "<block> names no domain"),
    ("<block>spam.example</block>", "write <block xmlns=\"urn:jabber:config:3\">"),
    ("<log id='l'><file> </file></log>", "'file' tag must contain a filename"),
];

#[test]
fn what_cannot_be_honoured_refuses_the_start() {
    for (more, phrase) in REFUSED {
        match with(more) {
            Ok(config) => panic!("{more} loads: {:?}", config.notices),
            Err(error) => assert!(error.to_string().contains(phrase), "{more}: {error}"),
        }
    }
}

#[test]
fn what_is_nearly_right_is_told_how_to_be_right() {
    let error = read("<jabber xmlns='jabber:config'><service id='s'/><log id='l'/></jabber>").unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    assert!(error.to_string().contains("remedy:   delete xmlns=\"jabber:config\" from the tag"), "{error}");
    let config = with_pthcsock("<port>5222</port>").unwrap();
    assert_eq!(notices(&config), ["1: <port> in <pthcsock> is ignored: write <ip port=\"5222\"/>"]);
    let load = "<load main='jsm'><jsm/><mod_regster>./jsm.so</mod_regster></load>";
    let config = read(&format!("<jabber><service id='s'><host>a.test</host>{load}</service></jabber>")).unwrap();
    assert!(notices(&config)[0].ends_with("did you mean <mod_register>?"), "{:?}", config.notices);
    // The same port at two addresses of the machine, and of both families.
    for inside in ["<ip>127.0.0.1</ip><ip>127.0.0.2</ip>", "<ip>0.0.0.0</ip><ip>::1</ip>"] {
        assert!(with_pthcsock(inside).is_ok(), "{inside}");
    }
}

#[test]
fn all_reasons_are_told_at_once() {
    let error = with("<foo/>\n<service id='x'><bar/></service>\n<service/>").unwrap_err();
    let lines: Vec<u32> = error.problems.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [1, 2, 3]);
    assert_eq!(error.to_string().matches("Configuration parsing using test.xml failed: ").count(), 3);
}

/// Children of the root, and the one notice that they give (empty: none).
const NOTICED: &[(&str, &str)] = &[
    ("<base/><debug><mask>0</mask><facility>local0</facility></debug><global><locales/></global>", ""),
    ("stray", "text \"stray\" in <jabber> belongs to no element"),
    ("<limits xmlns='urn:jabber:config:3'><stanza-bytes-max>1</stanza-bytes-max></limits>", "must be at least 10000"),
    (
        "<limits xmlns='urn:jabber:config:3'><stanza-byte-max>1</stanza-byte-max></limits>",
        "did you mean <stanza-bytes-max>?",
    ),
    (
        "<limits xmlns='urn:jabber:config:3'><auth-seconds>soon</auth-seconds></limits>",
        "should be a number, found \"soon\"",
    ),
    (
        "<limit xmlns='urn:jabber:config:3'/>",
        "unknown element <limit> in the root element: ignored; did you mean <limits>?",
    ),
    ("<io><announce port='1'/></io>", ""),
    ("<io><karm/></io>", "did you mean <karma>?"),
    ("<io><rate points='5'/></io>", "<rate> needs points= and time="),
    ("<io><ssl><key id='*' ciphers='x'>/a.pem</key></ssl></io>", "ciphers= has no effect"),
    ("<io><tls><dhparams>x</dhparams></tls></io>", "<dhparams> has no effect"),
    ("<service id='x'><exec>/bin/x</exec></service>", "programs are not run by <exec>"),
    (
        "<service id='x'><load><jud>./jud.so</jud></load></service>",
        "mod_search, the user directory of this server, answers at x: jud.so is not needed",
    ),
    ("<service id='x'><host>x.test</host></service>", "has nothing that handles stanzas"),
    ("<service id='x'><host>a.test</host><null/></service>", "a host with users and a component at once"),
    ("<service id='x'><accept><port>5347</port><secret>s</secret></accept></service>", "is open on all addresses"),
    ("<service id='x'><accept><ip>::1</ip><port>5347</port><secret>s</secret></accept></service>", ""),
    ("<service id='x'><connect><port>5347</port><secret>s</secret><tries>-1</tries></connect></service>", ""),
    (
        "<service id='x'><connect><port>5347</port><secret>s</secret><restrict/></connect></service>",
        "unknown element <restrict> in <connect>",
    ),
    (
        "<service id='x'><connect><port>5347</port><secret>s</secret>\
         <sender xmlns='urn:jabber:config:3'>a@b</sender></connect></service>",
        "<sender>a@b</sender> is not a domain",
    ),
    (
        "<service id='x'><connect><port>5347</port><secret>s</secret><sender>a.test</sender></connect></service>",
        "unknown element <sender> in <connect>",
    ),
    (
        "<service id='x'><connect><port>1</port><secret>s</secret></connect></service>\
         <service id='y'><host>x</host><connect><port>2</port><secret>s</secret></connect></service>",
        "x is an address of the service at test.xml:1:93, too: that one gets everything",
    ),
    (
        "<service id='x'><uplink/><connect><port>1</port><secret>s</secret></connect></service>\
         <service id='dnsrv'><dnsrv xmlns='jabber:config:dnsrv'/></service>",
        "but other servers get that",
    ),
    ("<service id='x'><dir><in>/x</in><out>/x</out></dir></service>", "only <in> is read"),
    ("<service id='x'><dir><in>/x</in></dir></service>", ""),
    ("<io><bounce>https://chat.example.org/</bounce></io>", ""),
    ("<io><bounce>not a page</bounce></io>", "is no address of a web page"),
    ("<io><bounce>javascript:x</bounce></io>", "is no address of a web page"),
    ("<block xmlns='urn:jabber:config:3' action='reject'>x.test</block>", "is neither drop nor bounce"),
    ("<block xmlns='urn:jabber:config:3' subdomains='all'>x.test</block>", "is neither yes nor no"),
    ("<block xmlns='urn:jabber:config:3'>a.test</block>", "a.test, which is served here"),
    ("<log id='l'><host/></log>", "goes nowhere"),
    ("<log id='l'><syslog>local9</syslog></log>", "syslog has no facility \"local9\""),
    ("<xdb id='x'><xdb_file xmlns='jabber:config:xdb_file'/></xdb>", "<xdb_file> has no <spool>"),
    (
        "<xdb id='x'><xdb_file xmlns='jabber:config:xdb_file'><spol>/x</spol><spool>/y</spool></xdb_file></xdb>",
        "<spool>?",
    ),
    ("<jabberd:include>/nonexistent.xml</jabberd:include>", "cannot read the included file /nonexistent.xml"),
    ("<jabberd:include/>", "without a file name"),
    ("<jabberd:includ>x</jabberd:includ>", "did you mean <include>?"),
];

#[test]
fn elements_of_the_root_give_their_notice() {
    for (more, expected) in NOTICED {
        let config = with(more).unwrap_or_else(|error| panic!("{more}: {error}"));
        let notices = notices(&config);
        match *expected {
            "" => assert_eq!(notices, [""; 0], "{more}"),
            text => assert!(notices.len() == 1 && notices[0].contains(text), "{more}: {notices:?}"),
        }
    }
}

#[test]
fn values_of_the_root() {
    let config = with(
        "<limits xmlns='urn:jabber:config:3'><stanza-bytes-max> 300000 </stanza-bytes-max></limits>\
         <registration-rate xmlns='urn:jabber:config:3' accounts='3' seconds='60' exempt='10.0.0.0/8, ::1'/>\
         <certificate xmlns='urn:jabber:config:3' host='a.test B.test' key='k.pem'>c.pem</certificate>\
         <user xmlns='urn:jabber:config:3'>jabber</user><pidfile>run/pid</pidfile><debug><mask>8</mask></debug>",
    )
    .unwrap();
    assert_eq!(config.limits.stanza_bytes_max, 300_000);
    assert_eq!(config.registration_rate.bound_for("10.1.2.3".parse().unwrap()), None);
    assert_eq!(config.registration_rate.bound_for("192.0.2.1".parse().unwrap()), Some(3));
    assert_eq!(config.certificates[0].domains, ["a.test", "b.test"]);
    assert_eq!(config.certificates[0].certificate, Path::new("/home/c.pem"));
    assert_eq!(config.certificates[0].key, Path::new("/home/k.pem"));
    assert_eq!(config.user.as_deref(), Some("jabber"));
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/home/run/pid")));
    assert!(config.debug);
    assert_eq!(config.keep_plain_passwords, None);
    let kept = |text: &str| with(text).unwrap().keep_plain_passwords.unwrap().days;
    let element = "<keep-plain-passwords xmlns='urn:jabber:config:3'";
    for (days, expected) in [("", 30), ("days='1'", 1), ("days='366'", 366), ("days='0'", 30), ("days='367'", 30)] {
        assert_eq!(kept(&format!("{element} {days}/>")), expected);
    }
    let lifted = with("<registration-rate xmlns='urn:jabber:config:3' accounts='unlimited'/>").unwrap();
    assert_eq!(lifted.registration_rate.bound_for("192.0.2.1".parse().unwrap()), None);
    let default = with("").unwrap();
    assert_eq!(default.registration_rate.bound_for("127.0.0.1".parse().unwrap()), None);
    assert_eq!(default.registration_rate.bound_for("::ffff:192.0.2.1".parse().unwrap()), Some(10));
}

#[test]
fn components() {
    let config = with(
        "<service id='icq.test'><host>aim.test</host><host>a.test</host><accept><ip>127.0.0.1</ip><port> 5347 </port>\
         <secret> s </secret><timeout>7</timeout><restrict/><sender xmlns='urn:jabber:config:3'>B.test</sender>\
         </accept></service>\
         <service id='jud'><uplink/><connect><port>5349</port><secret>s</secret><tries>3</tries></connect></service>\
         <service id='null.test'><null/></service>",
    )
    .unwrap();
    let icq = config.component("icq.test").unwrap();
    let port = config.listeners.iter().find(|listener| listener.kind == ListenerKind::Component).unwrap();
    assert_eq!((port.port, port.component.as_str(), port.karma), (5347, "icq.test", None));
    assert_eq!((icq.secret(), icq.wait_seconds(), icq.tells_restrictions()), (Some(" s "), 7, true));
    let jud = config.component("jud").unwrap();
    // Two seconds before each attempt, and five for it; stanzas wait for one more.
    assert_eq!((jud.wait_seconds(), jud.takes_rest, jud.keeps_offline()), (12, true, false));
    // Domain, its owner, may the one and the other speak for it?
    let rows = [
        ("icq.test", Some("icq.test"), true, false),
        ("aim.test", Some("icq.test"), true, false),
        ("a.test", None, false, false),
        ("b.test", None, true, true),
        ("x.icq.test", None, false, true),
        ("jud", Some("jud"), false, true),
        ("null.test", None, false, true),
        ("c.test", None, false, true),
    ];
    for (domain, owner, for_icq, for_jud) in rows {
        assert_eq!(config.component_of(domain).map(|owner| owner.id.as_str()), owner, "{domain}");
        assert_eq!((config.speaks_for(icq, domain), config.speaks_for(jud, domain)), (for_icq, for_jud), "{domain}");
    }
    assert!(config.is_own("a.test") && config.is_own("aim.test") && !config.is_own("null.test"));
}

#[test]
fn client_ports() {
    let config = with_pthcsock(
        "<ip port='5222'/><ip port=' 5225 '>[::1]</ip><ssl>192.0.2.1</ssl><authtime>60</authtime>\
         <heartbeat>30</heartbeat><noregister/><rate points='5' time='25'/><karma><dec>1</dec></karma>\
         <plain-login xmlns='urn:jabber:config:3' network='10.0.0.0/8 loopback'/>\
         <plain-login xmlns='urn:jabber:config:3' port='5225' starttls='offer'/>",
    )
    .unwrap();
    let clients = config.listeners.iter().filter(|listener| listener.kind.is_client());
    let ports: Vec<_> = clients.map(|l| (l.kind, l.port, l.address.map(|a| a.to_string()))).collect();
    assert_eq!(
        ports,
        [
            (ListenerKind::C2s, 5222, None),
            (ListenerKind::C2s, 5225, Some("::1".to_owned())),
            (ListenerKind::C2sTls, 5223, Some("192.0.2.1".to_owned()))
        ]
    );
    let [main, side, direct, _] = &config.listeners[..] else { panic!() };
    assert_eq!((main.auth_seconds, main.heartbeat_seconds, main.hide_registration), (60, Some(30), true));
    assert_eq!(main.rate, Some(Rate { points: 5, seconds: 25 }));
    assert_eq!(main.karma, Some(Karma { dec: 1, ..Karma::default() }));
    // What came with jabberd 1.4 is nobody's wish.
    let stock =
        "<karma><init>10</init><max>10</max><inc>1</inc><dec>1</dec><penalty>-6</penalty><restore>10</restore></karma>";
    for rules in [stock, "<karma><init>20</init></karma>"] {
        let config = with_pthcsock(&format!("<ip/>{rules}")).unwrap();
        assert_eq!(config.listeners[0].karma, None, "{rules}");
    }
    for (listener, peer, expected) in [
        (main, "10.1.1.1", StartTls::Hidden),
        (main, "::ffff:10.1.1.1", StartTls::Hidden),
        (main, "127.0.0.1", StartTls::Hidden),
        (main, "192.0.2.1", StartTls::Required),
        (side, "10.1.1.1", StartTls::Hidden),
        (side, "192.0.2.1", StartTls::Optional),
        (direct, "10.1.1.1", StartTls::Required),
    ] {
        assert_eq!(listener.start_tls_for(peer.parse().unwrap()), expected, "{} {peer}", listener.port);
    }
    assert_eq!(main.bind_addresses().len(), 2);
    assert_eq!(side.bind_addresses(), ["[::1]:5225".parse().unwrap()]);
    // Only the TLS port: then only that.
    let only = with_pthcsock("<ssl port='5223'/>").unwrap();
    let clients = |config: &Config| config.listeners.iter().filter(|listener| listener.kind.is_client()).count();
    assert_eq!((clients(&only), only.listeners[0].port), (1, 5223));
    // A section without ports: the usual ones.
    assert_eq!(clients(&with_pthcsock("<authtime>0</authtime>").unwrap()), 2);
}

#[test]
fn a_door_is_not_opened_by_a_slip() {
    for inside in [
        "<plain-login xmlns='urn:jabber:config:3' network='10.0.0.0/33'/>",
        "<plain-login xmlns='urn:jabber:config:3' network='10.0.0.0/8,office'/>",
        "<plain-login xmlns='urn:jabber:config:3' port='x'/>",
        "<plain-login xmlns='urn:jabber:config:3' starttls='no'/>",
        "<plain-login network='10.0.0.0/8'/>",
    ] {
        let config = with_pthcsock(inside).unwrap();
        assert!(config.listeners.iter().all(|listener| listener.plain_logins.is_empty()), "{inside}");
        assert_eq!(config.notices.len(), 1, "{inside}: {:?}", config.notices);
    }
}

#[test]
fn other_servers() {
    let config = with(
        "<service id='s2s'><dialback xmlns='jabber:config:dialback'><secret> s </secret><idletimeout>5</idletimeout>\
         <queuetimeout>6</queuetimeout><host tls='yes'/><host name='a.example' tls='128' auth='db'/>\
         <host name='old.example' xmpp='no'/><ip port='5269'>127.0.0.1</ip></dialback></service>\
         <service id='dnsrv'><host/><dnsrv xmlns='jabber:config:dnsrv' cachetimeout='7'>\
         <resend service='_xmpp-server._tcp'>s2s</resend><resend>s3s</resend></dnsrv></service>",
    )
    .unwrap();
    let federation = config.federation.clone().unwrap();
    assert_eq!(federation.secret.as_deref(), Some(" s "));
    assert_eq!((federation.idle_seconds, federation.queue_seconds, federation.cache_seconds), (5, 6, 7));
    assert_eq!(federation.policy("b.a.example").tls, RemoteTls::Required);
    assert_eq!(federation.policy("b.a.example").auth, RemoteAuth::Dialback);
    assert_eq!(federation.policy("old.example").tls, RemoteTls::Never);
    assert_eq!(federation.policy("x.example").tls, RemoteTls::Allowed);
    assert!(federation.resolves);
    assert!(notices(&config).iter().any(|text| text.contains("the service \"s3s\", which does not exist")));
    assert!(!format!("{federation:?}").contains(" s "), "a secret in a log");
}

#[test]
fn a_section_that_is_only_loaded_has_the_defaults() {
    let config = with("<service id='s2s'><load><dialback/></load></service>").unwrap();
    let ports: Vec<_> = config.listeners.iter().map(|l| (l.kind, l.port, l.auth_seconds)).collect();
    assert!(ports.contains(&(ListenerKind::S2s, 5269, 120)), "{ports:?}");
    assert!(!config.federation.unwrap().resolves);
    let both =
        "<service id='s2s'><load><dialback/></load></service><service id='dnsrv'><load><dnsrv/></load></service>";
    let config = with(both).unwrap();
    assert!(config.federation.as_ref().unwrap().resolves);
    assert_eq!(notices(&config), [""; 0]);
    assert_eq!(config.federation.unwrap().policy("x.example").tls, RemoteTls::Required);
}

/// `<host>` elements of `<dialback>`, a domain, and where its server is or what is warned of.
const PINNED: &[(&str, &str, Result<&str, &str>)] = &[
    ("<host name='a.test2' ip='192.0.2.1'/>", "a.test2", Ok("192.0.2.1 None")),
    ("<host name='a.test2' ip='192.0.2.1' port='5270'/>", "a.test2", Ok("192.0.2.1 Some(5270)")),
    ("<host name='a.test2' ip=' 2001:db8::1 ' port=' 1 '/>", "a.test2", Ok("2001:db8::1 Some(1)")),
    ("<host name='a.test2' ip='[2001:db8::1]'/>", "a.test2", Ok("2001:db8::1 None")),
    ("<host name='A.Test2' ip='::1'/>", "rooms.a.test2", Ok("::1 None")),
    ("<host name='a.test2' ip='::1'/><host name='rooms.a.test2' tls='no'/>", "rooms.a.test2", Ok("::1 None")),
    ("<host name='rooms.a.test2' tls='no'/><host name='a.test2' ip='::1'/>", "rooms.a.test2", Ok("::1 None")),
    ("<host name='a.test2' ip='192.0.2.1:5270'/>", "a.test2", Err("a port goes into port=")),
    ("<host name='a.test2' ip='a.test2'/>", "a.test2", Err("ip=\"a.test2\" is not an address like")),
    ("<host name='a.test2' ip='::1' port='0'/>", "a.test2", Err("port=\"0\" is not a number from 1 to 65535")),
    ("<host name='a.test2' port='5270'/>", "a.test2", Err("port= has an effect only together with ip=")),
    ("<host ip='::1'/>", "a.test2", Err("ip= and port= without name= are ignored")),
    ("<host name='a.test2' xmpp='maybe'/>", "a.test2", Err("xmpp=\"maybe\" is not yes or no")),
    ("<host name='a@test2' ip='::1'/>", "a.test2", Err("name=\"a@test2\" is not a domain")),
];

#[test]
fn servers_have_a_place_of_their_own() {
    for (hosts, domain, expected) in PINNED {
        let text = format!(
            "<service id='s2s'><dialback xmlns='jabber:config:dialback'>{hosts}</dialback></service>\
             <service id='d'><load><dnsrv/></load></service>"
        );
        let config = with(&text).unwrap();
        let policy = config.federation.as_ref().unwrap().policy(domain);
        match expected {
            Ok(place) => {
                assert_eq!(format!("{} {:?}", policy.address.unwrap(), policy.port), *place, "{hosts}");
                assert_eq!(notices(&config), [""; 0], "{hosts}");
            }
            Err(warning) => {
                let notices = notices(&config);
                assert!(notices.len() == 1 && notices[0].contains(warning), "{hosts}: {notices:?}");
            }
        }
    }
}

#[test]
fn what_a_remote_host_does_not_say_is_as_for_the_others() {
    let config = with(
        "<service id='s2s'><dialback xmlns='jabber:config:dialback'><host name='b.a.example' auth='db'/>\
         <host name='a.example' tls='no'/><host tls='yes' auth='sasl'/></dialback></service>",
    )
    .unwrap();
    let federation = config.federation.unwrap();
    let policy = |domain: &str| {
        let policy = federation.policy(domain);
        (policy.tls, policy.auth)
    };
    assert_eq!(policy("x.example"), (RemoteTls::Allowed, RemoteAuth::Certificate));
    assert_eq!(policy("a.example"), (RemoteTls::Never, RemoteAuth::Certificate));
    assert_eq!(policy("c.a.example"), (RemoteTls::Never, RemoteAuth::Certificate));
    assert_eq!(policy("b.a.example"), (RemoteTls::Never, RemoteAuth::Dialback));
}

#[test]
fn blocked_domains() {
    let config = with(
        "<block xmlns='urn:jabber:config:3'> Spam.Example </block>\
         <block xmlns='urn:jabber:config:3' subdomains='yes' action='bounce'>all.example</block>\
         <service id='s'><host>old.example</host><null/></service>\
         <service id='gone.example'><unsubscribe>moved away</unsubscribe></service>\
         <service id='spam.example'><unsubscribe>x</unsubscribe></service>",
    )
    .unwrap();
    for (domain, expected) in [
        ("spam.example", Some(BlockAction::Drop)),
        ("x.spam.example", None),
        ("all.example", Some(BlockAction::Bounce)),
        ("x.all.example", Some(BlockAction::Bounce)),
        ("old.example", Some(BlockAction::Drop)),
        ("x.old.example", None),
        ("gone.example", Some(BlockAction::Unsubscribe("moved away".to_owned()))),
        ("other.example", None),
    ] {
        assert_eq!(config.blocks.of(domain).map(|block| block.action.clone()), expected, "{domain}");
    }
    assert!(config.report().contains("Blocked:  all.example and all domains below it (bounce)"));
    assert_eq!(config.federation, None);
}

#[test]
fn lines_find_their_log() {
    let config = with(
        "<log id='all'><host/><logtype/><stderr/></log>\
         <log id='records'><host/><logtype>record</logtype><format>%d %h %s</format><file>r.log</file></log>\
         <log id='mine'><host>a.test</host><logtype>warn</logtype><syslog>LOG_LOCAL3</syslog></log>",
    )
    .unwrap();
    let found = |kind: &str, host: &str| -> Vec<&str> {
        logs::sinks_for(&config.logs, kind, host).into_iter().map(|sink| sink.id.as_str()).collect()
    };
    assert_eq!(found("notice", "a.test"), ["all"]);
    assert_eq!(found("record", "a.test"), ["records"]);
    assert_eq!(found("warn", "a.test"), ["mine"]);
    assert_eq!(found("warn", LogSink::INTERNAL), ["all"]);
    assert_eq!(config.logs[2].targets, [LogTarget::Syslog("local3".to_owned())]);
    assert_eq!(config.logs[0].format, LogSink::ERROR_FORMAT);
}

#[test]
fn every_bound_is_in_the_table_and_the_man_page() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("man/jabber.xml.5")).unwrap();
    let limits = Limits::default();
    for bound in Limits::ALL {
        assert_eq!(limits.value(bound.name), Some(bound.default), "{}", bound.name);
        assert!(bound.least <= bound.default, "{}", bound.name);
        assert!(bound.doc.len() > 20);
        let row = format!(".It Ic {} Pq {}", bound.name, bound.default);
        let missing =
            format!("add to LIMITS in man/jabber.xml.5:\n{row}\n{}\nAt least {}.", bound.doc.trim(), bound.least);
        assert!(page.lines().any(|line| line == row), "{missing}");
    }
    for name in options::NAMES.iter().chain(&[
        "modules",
        "plain-login",
        "enforce-fields",
        "invite-only",
        "invitations",
        "search",
        "proxy65",
    ]) {
        assert!(page.contains(&format!(".It Ic {name}")), "man/jabber.xml.5 does not explain {name}");
    }
}

#[test]
fn services_have_the_names_that_nobody_else_has() {
    let names = |config: &Config| -> Vec<String> {
        let search = config.services.iter().filter(|service| service.kind == ServiceKind::Search);
        search.map(|service| service.name.clone()).collect()
    };
    let search = |inside: &str| with_jsm(&format!("<search xmlns='urn:jabber:config:3'>{inside}</search>")).unwrap();
    assert_eq!(names(&with("").unwrap()), ["users.a.test"]);
    assert_eq!(names(&search("<name>people.*</name>")), ["people.a.test"]);
    assert_eq!(names(&search("<name>Directory.Example.ORG</name>")), ["directory.example.org"]);
    assert!(with("").unwrap().is_own("users.a.test") && !search("<name>x.test</name>").is_own("users.a.test"));
    let off = with_jsm("<modules xmlns='urn:jabber:config:3'><off>mod_search</off></modules>").unwrap();
    assert_eq!((names(&off), notices(&off)), (Vec::<String>::new(), Vec::new()));
    for (text, notice) in [
        ("<name>a.test</name>", "mod_search of a.test is off: a.test is a host with users"),
        ("<name>a..b</name>", "mod_search of a.test is off: \"a..b\" is not a domain"),
        ("<nmae>x</nmae>", "unknown element <nmae> in <search>: ignored; did you mean <name>?"),
        ("<allow>@</allow>", "\"@\" is not a JID"),
        ("<name/>", "<name> is empty"),
    ] {
        let found = notices(&search(text));
        assert!(found.iter().any(|found| found.contains(notice)), "{text}: {found:?}");
    }
    // A component that jabber.xml names is the admin's own directory, whatever stands behind it.
    for inside in ["<accept><ip>127.0.0.1</ip><port>5347</port><secret>s</secret></accept>", "<null/>"] {
        let config = with(&format!("<service id='jud'><host>users.a.test</host>{inside}</service>")).unwrap();
        assert_eq!(names(&config), Vec::<String>::new());
        let found = notices(&config);
        assert!(found.iter().any(|text| text.contains("is an address of the service at test.xml:1:")), "{found:?}");
    }
    let two = read(
        "<jabber><service id='sessions'><host>a.test</host><host>b.test</host><jsm xmlns='jabber:config:jsm'>\
         <search xmlns='urn:jabber:config:3'><name>people.test</name></search></jsm></service></jabber>",
    )
    .unwrap();
    assert_eq!(names(&two), ["people.test"]);
    assert!(notices(&two)[0].contains("mod_search of b.test is off: people.test is taken by mod_search of a.test"));
    assert!(search("").report().contains("users.a.test (mod_search)"));
}

#[test]
fn the_directory_has_the_addresses_of_1_4s() {
    let jud = |inside: &str| format!("<service id='jud'>{inside}<load><jud>./jud.so</jud></load></service>");
    let search = |config: &Config| -> Vec<String> {
        let search = config.services.iter().filter(|service| service.kind == ServiceKind::Search);
        search.map(|service| format!("{} {}", service.name, service.title.as_deref().unwrap_or("-"))).collect()
    };
    let card = "<jud xmlns='jabber:config:jud'><vCard><FN> People </FN></vCard></jud>";
    for (section, expected, told) in [
        (jud("<host>users.test</host>"), vec!["users.test -"], "answers at users.test"),
        (jud(&format!("<host>users.test</host>{card}")), vec!["users.test People"], "answers at users.test"),
        (jud("<host>users.test</host><host>jud.a.test</host>"), vec!["jud.a.test -"], "users.test, jud.a.test"),
        (jud(""), vec!["jud -"], "answers at jud:"),
        // An address that is named twice is there once.
        (jud("<host>users.test</host><host>Users.Test</host>"), vec!["users.test -"], "answers at users.test: jud"),
        (
            format!(
                "{}<service id='other'><host>users.test</host><load><jud>./jud.so</jud></load></service>",
                jud("<host>users.test</host>")
            ),
            vec!["users.test -"],
            "users.test is an address of the user directory at test.xml",
        ),
        (
            jud("<host>users.a.test</host><jud xmlns='jabber:config:jud'><vcrd/></jud>"),
            vec!["users.a.test -"],
            "<vCard>?",
        ),
        // Somebody else has it.
        (jud("<host>a.test</host>"), vec!["users.a.test -"], "does not answer at a.test: a.test is a host with users"),
        (
            format!("{}<service id='users.test'><null/></service>", jud("<host>users.test</host>")),
            vec!["users.a.test -"],
            "users.test is an address of the service at test.xml",
        ),
        // Another process is the admin's own directory.
        (
            format!(
                "<service id='jud'><host>users.test</host>{card}\
                 <accept><ip>127.0.0.1</ip><port>5347</port><secret>s</secret></accept></service>"
            ),
            vec!["users.a.test -"],
            "<jud> has no effect",
        ),
    ] {
        let config = with(&section).unwrap();
        assert_eq!(search(&config), expected, "{section}");
        assert!(notices(&config).iter().any(|notice| notice.contains(told)), "{section}: {:?}", notices(&config));
    }
    // Hosts share an address; it is by its name that of one.
    let two = read(&format!(
        "<jabber><service id='sessions'><host>a.test</host><host>b.test</host></service>{}</jabber>",
        jud("<host>users.b.test</host>")
    ));
    let two = two.unwrap();
    assert_eq!(search(&two), ["users.b.test -"; 2]);
    assert_eq!(two.service("users.b.test").map(|service| service.host.as_str()), Some("b.test"));
    // Where it is off, the old address answers with errors.
    let text = "<jabber><service id='sessions'><host>a.test</host><jsm xmlns='jabber:config:jsm'>\
                <modules xmlns='urn:jabber:config:3'><off>mod_search</off></modules></jsm></service>";
    let config = read(&format!("{text}{}</jabber>", jud("<host>users.test</host>"))).unwrap();
    assert!(matches!(config.component("jud").unwrap().link, Link::Bounce(_)) && config.services.len() == 1);
    assert!(notices(&config)[0].contains("instead: switch mod_search on"), "{:?}", notices(&config));
}

#[test]
fn the_proxy_for_file_transfers_has_a_port() {
    let proxies = |config: &Config| -> Vec<(u16, bool)> {
        let of_kind = config.listeners.iter().filter(|listener| listener.kind == ListenerKind::Bytestreams);
        of_kind.map(|listener| (listener.port, listener.is_optional)).collect()
    };
    let proxy = |inside: &str| with_jsm(&format!("<proxy65 xmlns='urn:jabber:config:3'>{inside}</proxy65>"));
    assert_eq!(proxies(&with("").unwrap()), [(7777, true)]);
    let asked = proxy(
        "<ip>192.0.2.1</ip><port>7625</port><address>files.example</address><bytes-per-second>100000</bytes-per-second>",
    )
    .unwrap();
    assert_eq!(proxies(&asked), [(7625, false)]);
    assert_eq!(
        asked.hosts[0].services.proxy65,
        Proxy65 {
            ip: Some([192, 0, 2, 1].into()),
            port: 7625,
            address: Some("files.example".to_owned()),
            bytes_per_second: Some(100_000)
        }
    );
    for (text, notice) in [
        ("<port>0</port>", "<port> should be from 1 to 65535"),
        ("<port>x</port>", "should be a number"),
        ("<bytes-per-second>10</bytes-per-second>", "<bytes-per-second> must be at least 4096"),
        ("<prot>1</prot>", "did you mean <port>?"),
    ] {
        let found = notices(&proxy(text).unwrap());
        assert!(found.iter().any(|found| found.contains(notice)), "{text}: {found:?}");
    }
    // Two hosts share a port; one that is off needs none.
    let two = read(
        "<jabber><service id='sessions'><host>a.test</host><host>b.test</host><jsm xmlns='jabber:config:jsm'/></service>\
         </jabber>",
    );
    assert_eq!(proxies(&two.unwrap()), [(7777, true)]);
    let off = with_jsm("<modules xmlns='urn:jabber:config:3'><off>mod_proxy65</off></modules>").unwrap();
    assert_eq!(proxies(&off), []);
    // A port that somebody else has: the proxy gives way where nobody asked for it, else the file is wrong.
    let accept =
        "<service id='c.a.test'><accept><ip>127.0.0.1</ip><port>7777</port><secret>s</secret></accept></service>";
    let taken = with(accept).unwrap();
    assert_eq!(proxies(&taken), []);
    assert!(taken.services.iter().all(|service| service.kind != ServiceKind::Proxy65));
    assert!(notices(&taken).iter().any(|text| text.contains("mod_proxy65 is off: its usual port 7777 is taken at")));
    let twice = "<service id='c2s'><pthcsock xmlns='jabber:config:pth-csock'><ip port='7625'/></pthcsock></service>\
                 </jabber>";
    let text = "<jabber><service id='sessions'><host>a.test</host><jsm xmlns='jabber:config:jsm'>\
                <proxy65 xmlns='urn:jabber:config:3'><port>7625</port></proxy65></jsm></service>";
    assert!(read(&format!("{text}{twice}")).unwrap_err().to_string().contains("port 7625 is already taken"));
}
