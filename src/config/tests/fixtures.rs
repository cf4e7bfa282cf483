//! The configurations that the originals accepted, and those that they refused.

use super::*;
use crate::config::components::Link;

fn load(name: &str) -> Result<Config, Error> {
    Config::load(&fixture(name), &CommandLine::default())
}

#[test]
fn the_minimal_file_of_1_4_2_loads() {
    let config = load("jabber-1.4.2-minimal.xml").unwrap();
    let host = config.host("xmpp.test").unwrap();
    let register = host.register.as_ref().unwrap();
    assert_eq!(register.fields, ["name", "email"]);
    assert_eq!(register.instructions, "Pick a name and a password.");
    assert!(register.notify && !register.enforce_fields);
    assert_eq!(host.welcome.as_ref().unwrap().subject, "Hello");
    let vcard = host.vcard.as_ref().unwrap();
    assert_eq!(
        vcard.to_string(),
        "<vCard xmlns='vcard-temp'><FN>Test Jabber server</FN><DESC>A small server for tests</DESC>\
         <URL>http://xmpp.test/</URL></vCard>"
    );
    assert_eq!(config.spool, Path::new("/var/lib/jabber"));
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/var/run/jabber/jabber.pid")));
    let clients: Vec<u16> = config.listeners.iter().filter(|l| l.kind.is_client()).map(|l| l.port).collect();
    assert_eq!(clients, [5222]);
    // An empty <authtime/> is the longest time there is.
    assert_eq!(config.listeners[0].auth_seconds, config.limits.auth_seconds_max);
    assert!(host.modules.is_on("mod_register") && host.modules.is_on("mod_disco") && !host.modules.is_on("mod_stat"));
    assert_eq!(config.components[0].link, Link::Null);
    // Undeclared prefixes do not move lines.
    let retired = config.notices.iter().find(|notice| notice.text.starts_with("<mod_auth_0k>")).unwrap();
    assert_eq!((retired.place.line, retired.place.column), (56, 7));
}

#[test]
fn the_full_file_of_1_4_4_loads() {
    let config = load("jabber-1.4.4-full.xml").unwrap();
    assert_eq!(
        config.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(),
        ["xmpp.test", "second.test", "third.test"]
    );
    let host = config.host("second.test").unwrap();
    assert_eq!(host.welcome.as_ref().unwrap().for_lang(Some("de-AT")).subject, "Willkommen");
    assert_eq!(host.admin_reply.as_ref().unwrap().for_lang(None).subject, "Auto reply");
    assert_eq!(host.register.as_ref().unwrap().oob_url.as_deref(), Some("http://xmpp.test/register"));
    assert_eq!(host.admins.len(), 3);
    let robot = BareJidOf("robot@xmpp.test").get();
    assert!(host.may_announce(&robot) && !host.may_list_sessions(&robot));
    assert_eq!(host.browse.len(), 5);
    assert_eq!((host.browse[3].category.as_str(), host.browse[3].kind.as_str()), ("conference", "public"));
    assert_eq!(host.browse[4].category, "headline");
    assert_eq!(host.disco.len(), 6);
    assert_eq!(host.disco[1].ns(), "http://jabber.org/protocol/disco#info");
    assert_eq!(host.version.name.as_deref(), Some("xmppd"));
    assert!(host.offline.headline && !host.offline.groupchat);
    assert!(config.hashed_spool);
    assert_eq!(config.other_spools, [std::path::PathBuf::from("/var/lib/jabber/offline")]);
    assert_eq!(config.limits.offline_bytes_max, 500_000);
    assert_eq!(config.host_for(Some("im.xmpp.test")).unwrap().name, "xmpp.test");
    assert_eq!(config.host_for(Some("nowhere.test")).unwrap().name, "xmpp.test");
    assert_eq!(config.host_for(None).unwrap().name, "xmpp.test");
    assert_eq!(config.certificates.len(), 3);
    assert_eq!(config.certificates_of("second.test")[0].certificate, Path::new("/etc/jabber/second.pem"));
    let federation = config.federation.as_ref().unwrap();
    assert_eq!(federation.services, ["_xmpp-server._tcp", "_jabber._tcp", ""]);
    assert_eq!(federation.policy("sub.notls.example").tls, federation::RemoteTls::Never);
    assert_eq!(federation.policy("notnotls.example").tls, federation::RemoteTls::Required);
    assert!(!config.access.admits("127.6.6.6".parse().unwrap()));
    assert!(config.access.admits("127.0.0.9".parse().unwrap()));
    assert!(config.access.admits("192.0.2.7".parse().unwrap()));
    assert!(!config.access.admits("192.0.2.8".parse().unwrap()));
    assert!(config.notices.iter().any(|n| n.severity == Severity::Warning && n.text.contains("transports.inc.xml")));
}

struct BareJidOf(&'static str);
impl BareJidOf {
    fn get(&self) -> crate::xmpp::BareJid {
        crate::xmpp::BareJid::new(self.0).unwrap()
    }
}

#[test]
fn an_include_brings_the_components_in() {
    let main = fixture("jabber-1.4.4-full.xml");
    let text = std::fs::read_to_string(&main).unwrap();
    let text = text.replace("/etc/jabber/transports.inc.xml", "transports.inc.xml");
    let source = Source { file: main.clone(), home: main.parent().unwrap().to_owned(), ..Source::default() };
    let config = Config::from_xml(&text, &source).unwrap();
    let aim = config.components.iter().find(|component| component.id == "aim.xmpp.test").unwrap();
    let Link::Accept(accept) = &aim.link else { panic!("{:?}", aim.link) };
    assert_eq!(
        (accept.port, accept.secret.as_str(), accept.restrict, accept.offline),
        (5348, "aim-secret", true, true)
    );
    assert_eq!(accept.timeout_seconds, 10);
    assert_eq!((aim.place.line, aim.place.file.ends_with("transports.inc.xml")), (13, true));
}

#[test]
fn the_file_of_1_6_loads() {
    let config = load("jabber-1.6-tls.xml").unwrap();
    let host = config.host("xmpp.test").unwrap();
    assert!(host.register.as_ref().unwrap().enforce_fields);
    assert_eq!(host.register.as_ref().unwrap().fields, ["name", "email"]);
    assert_eq!(host.name_reuse, NameReuse::AtOnce);
    assert_eq!(host.name_policy.refuses("root"), Some(NameRefusal::Forbidden));
    assert_eq!(host.name_policy.refuses("Root"), Some(NameRefusal::Forbidden));
    assert_eq!(host.name_policy.refuses("x"), Some(NameRefusal::TooShort(2)));
    assert_eq!(host.name_policy.refuses("seventeen-letters"), Some(NameRefusal::TooLong(16)));
    assert_eq!(host.name_policy.refuses("juliet"), None);
    assert!(!host.agents);
    assert_eq!(host.browse[1].only_if.as_deref(), Some("s2s"));
    assert_eq!(host.browse[2].only_if_not.as_deref(), Some("nogateways"));
    assert!(host.may_announce(&BareJidOf("root@xmpp.test").get()));
    assert!(host.grants.allows(&BareJidOf("anybody@xmpp.test").get(), "localusers"));
    assert!(!host.may_announce(&BareJidOf("support@xmpp.test").get()));
    let source = &config.certificates[0];
    assert!(source.is_default && source.domains.contains(&"xmpp.test".to_owned()));
    assert_eq!(source.key, Path::new("/etc/jabberd14/key.pem"));
    assert_eq!(config.authorities.len(), 2);
    assert_eq!(config.listeners[1].address, Some("127.0.0.1".parse().unwrap()));
    let federation = config.federation.unwrap();
    assert_eq!(federation.policy("anyone.example").tls, federation::RemoteTls::Allowed);
    assert_eq!(federation.policy("c.example").auth, federation::RemoteAuth::Certificate);
}

#[test]
fn our_own_file_has_no_notices() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/jabber.xml");
    let config = Config::load(&path, &CommandLine::default()).unwrap();
    assert_eq!(notices(&config), [""; 0]);
    assert_eq!(config.hosts[0].name, "localhost");
    assert_eq!(
        config.listeners.iter().map(|l| (l.kind, l.port)).collect::<Vec<_>>(),
        [
            (ListenerKind::C2s, 5222),
            (ListenerKind::C2sTls, 5223),
            (ListenerKind::S2s, 5269),
            (ListenerKind::Bytestreams, 7777)
        ]
    );
    let federation = config.federation.as_ref().unwrap();
    assert_eq!(federation.services, ["_xmpps-server._tcp", "_xmpp-server._tcp", "_jabber._tcp", ""]);
    assert!(federation.resolves && federation.policy("a.example") == federation::RemotePolicy::default());
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/run/jabber/jabber.pid")));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().all(|line| line.len() <= 110));
    let report = config.report();
    for part in ["Host localhost", "open, 10 accounts", "5222  on all addresses", "/var/lib/jabber", "error.log"] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    // The sample lies in no system directory: a server that runs from there leaves nothing in /etc.
    assert!(report.contains("/var/lib/jabber/ssl/localhost.pem") && !report.contains("/etc/jabber/ssl"), "{report}");
    let config = Config { file: PathBuf::from("/etc/jabber/jabber.xml"), ..config };
    assert!(config.report().contains("/etc/jabber/ssl/localhost.pem"));
}

/// File, line of the problem (0: it loads), phrase of the original or text of the notice.
const BAD: &[(&str, u32, &str)] = &[
    ("accept-without-secret.xml", 9, "<accept> requires the following subtags: <port>, and <secret>"),
    ("duplicate-id.xml", 10, "Multiple Instances with same id: c2s"),
    ("file-without-name.xml", 9, "'file' tag must contain a filename to write to"),
    ("host-with-space.xml", 4, "The host tag contains illegal whitespace."),
    ("id-with-space.xml", 4, "The id \"two words\" is not a host name"),
    ("logtype-mixed.xml", 10, "If <logtype> is used in any log section, it must be used in all sections."),
    ("mismatched-tag.xml", 4, "mismatched tag"),
    ("missing-include-ok.xml", 0, "cannot read the included file /nonexistent/more.xml"),
    ("no-content.xml", 9, "Section Has no data in it"),
    ("no-id.xml", 4, "Section needs an 'id' attribute"),
    ("ns-mixed.xml", 10, "If <ns> is used in any xdb section, it must be used in all sections."),
    ("unknown-base-tag-with-xmlns-ok.xml", 0, "<bogus> has no effect"),
    ("unknown-base-tag.xml", 9, "Unknown Base Tag: bogus"),
    ("unknown-module-file.xml", 0, "<foo> cannot be loaded from a file"),
    ("unknown-module-function.xml", 0, "<mod_nonsense> has no effect"),
    ("unknown-root-child.xml", 9, "Invalid Tag type: foo"),
];

#[test]
fn each_bad_file_gets_its_reaction() {
    let files = std::fs::read_dir(fixture("bad")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
    files.sort();
    // The last one is for the test below.
    let mut known: Vec<&str> = BAD.iter().map(|(name, _, _)| *name).chain(["log-directory-missing.xml"]).collect();
    known.sort_unstable();
    assert_eq!(files, known);
    for (name, line, phrase) in BAD {
        match load(&format!("bad/{name}")) {
            Ok(config) => {
                assert_eq!(*line, 0, "{name} should not load");
                assert!(
                    config.notices.iter().any(|notice| notice.text.contains(phrase)),
                    "{name}: {:?}",
                    config.notices
                );
            }
            Err(error) => {
                assert_eq!((error.problems.len(), error.problems[0].place.line), (1, *line), "{name}: {error}");
                let first = error.to_string().lines().next().unwrap().to_owned();
                let path = fixture(&format!("bad/{name}"));
                assert!(
                    first.starts_with(&format!("Configuration parsing using {} failed: ", path.display())),
                    "{first}"
                );
                assert!(first.contains(phrase) && first.contains(&format!(" at line {line} and column ")), "{first}");
                let problem = &error.problems[0];
                assert!(!problem.found.is_empty() && !problem.expected.is_empty() && !problem.remedy.is_empty());
                assert!(problem.excerpt.is_some(), "{name}");
            }
        }
    }
}

#[test]
fn a_log_whose_directory_is_missing_is_seen_on_disk() {
    let config = load("bad/log-directory-missing.xml").unwrap();
    let error = config.check_files().unwrap_err();
    assert_eq!(error.problems[0].place.line, 9);
    assert!(error.problems[0].what.contains("/nonexistent/dir/error.log"), "{error}");
}
