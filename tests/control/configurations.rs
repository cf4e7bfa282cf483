//! The configurations of jabberd 1.4.2, 1.4.4 and 1.6, and what an admin writes beside them, on the real server: it serves,
//! and each file and port is what jabber.xml says.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jabber::net::any_peer::AnyPeer;
use jabber::net::uninterrupted;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::site::{Client, PATIENCE, Port, Site};

/// A fixture, as it would stand on this machine: paths below the site, ports that are free, plain logins for the client of
/// 2004 that the test is.
fn adapted(site: &Site, name: &str) -> (String, Vec<(String, u16)>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let directory = site.directory.display();
    let mut text = fs::read_to_string(folder.join(name)).unwrap();
    let include = fs::read_to_string(folder.join("transports.inc.xml")).unwrap();
    for (old, new) in [
        ("/etc/jabber/", format!("{directory}/")),
        ("/etc/jabberd14/", format!("{directory}/")),
        ("/var/lib/jabberd14", format!("{directory}/spool")),
        ("/var/lib/jabber", format!("{directory}/spool")),
        ("/var/log/jabberd14", directory.to_string()),
        ("/var/log/jabber", directory.to_string()),
        ("/var/run/jabberd14", directory.to_string()),
        ("/var/run/jabber", directory.to_string()),
        ("</pthcsock>", "<plain-login xmlns='urn:jabber:config:3' network='loopback'/></pthcsock>".to_owned()),
    ] {
        text = text.replace(old, &new);
    }
    let (text, ports) = moved(&text, &include, site);
    (text, ports)
}

/// A loopback address that nobody else has.
fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let [_, _, middle, low] = std::process::id().to_be_bytes();
    [127, 64 + middle % 64, low, COUNT.fetch_add(1, Ordering::Relaxed)].into()
}

/// Every port of the text, and of the file that it includes, becomes one that is free, on the site's address.
fn moved(text: &str, include: &str, site: &Site) -> (String, Vec<(String, u16)>) {
    let mut old: BTreeSet<String> = BTreeSet::new();
    for (before, after) in [("port=\"", '"'), ("<port>", '<')] {
        for source in [text, include] {
            let numbers = source.split(before).skip(1).filter_map(|rest| rest.split(after).next());
            old.extend(numbers.map(str::to_owned));
        }
    }
    let IpAddr::V4(address) = site.address else { panic!("{}", site.address) };
    let ports: Vec<(String, u16)> = old.into_iter().map(|number| (number, site.hold(Port::at(address)))).collect();
    let moved = |text: &str| {
        let address = site.address;
        let mut text = text.replace("127.0.0.1", &address.to_string());
        for (number, port) in &ports {
            text = text.replace(&format!("<ip port=\"{number}\"/>"), &format!("<ip port=\"{port}\">{address}</ip>"));
            text = text.replace(&format!("port=\"{number}\""), &format!("port=\"{port}\""));
            text = text.replace(&format!("<port>{number}</port>"), &format!("<port>{port}</port>"));
        }
        text
    };
    site.write("transports.inc.xml", &moved(include));
    (moved(text), ports)
}

/// A certificate for a host, with its key in the same file or in another.
fn certificate(site: &Site, host: &str, file: &str, key_file: Option<&str>) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    match key_file {
        Some(key_file) => {
            site.write(file, &chain);
            site.write(key_file, &key);
        }
        None => site.write(file, &format!("{key}{chain}")),
    }
    made.cert.der().clone()
}

/// The certificate that a client who asks for this host is shown on a port with TLS from the first byte.
fn shown(address: IpAddr, port: u16, host: &str) -> CertificateDer<'static> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyPeer(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect((address, port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = rustls::StreamOwned::new(session, socket);
    stream.write_all(b"</").unwrap();
    // Until it has answered, the handshake may not be over.
    let _ = uninterrupted(|| stream.read(&mut [0; 64]));
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

fn port_of(ports: &[(String, u16)], old: &str) -> u16 {
    ports.iter().find(|(number, _)| number == old).unwrap().1
}

const MESSAGE: &str = "<message to='juliet@xmpp.test' id='m'><body>Art thou there?</body></message>";

#[test]
fn the_configurations_of_old_serve() {
    // File, lines of error.log that it gives, the port for TLS.
    let rows: [(&str, &[&str], Option<&str>); 3] = [
        (
            "jabber-1.4.2-minimal.xml",
            &["<legacy> has no effect", "<mod_auth_0k> has no effect", "<karma> as jabberd 1.4 was shipped with"],
            None,
        ),
        (
            "jabber-1.4.4-full.xml",
            &[
                "[warn] (-internal): ",
                "programs are not run by <exec>: stanzas to conference.xmpp.test come back",
                "<partial> has no effect",
                "<archive> has no effect",
                "what <xdb id=\"xdboffline\"> kept is in xdb, too",
            ],
            Some("5223"),
        ),
        (
            "jabber-1.6-tls.xml",
            &["<history> has no effect", "<serialization> has no effect", "only <in> is read"],
            Some("5223"),
        ),
    ];
    for (name, lines, tls) in rows {
        let mut site = Site::new(&format!("configuration-{}", name.trim_end_matches(".xml")));
        (site.host, site.address) = ("xmpp.test", own_address().into());
        let (text, ports) = adapted(&site, name);
        site.write("jabber.xml", &text);
        site.port = port_of(&ports, "5222");
        let first = certificate(&site, "xmpp.test", "server.pem", None);
        let second = certificate(&site, "second.test", "second.pem", None);
        let sixteen = certificate(&site, "xmpp.test", "cert.pem", Some("key.pem"));
        let running = site.start();
        for account in ["romeo", "juliet"] {
            site.ctl(&["user", "add", &format!("{account}@xmpp.test")]).input(&format!("{account}\n")).success();
        }
        let mut romeo = Client::login(&site, "romeo", "romeo");
        romeo.send(MESSAGE);
        // The answer tells that the message before it was kept.
        romeo.send("<iq type='get' id='time' to='xmpp.test'><query xmlns='jabber:iq:time'/></iq>");
        romeo.until("id='time'");
        let mut juliet = Client::login(&site, "juliet", "juliet");
        // The welcome comes first.
        let waited = juliet.until("Art thou there?") + &juliet.until("</message>");
        assert!(waited.contains("Art thou there?") && waited.contains("jabber:x:delay"), "{name}: {waited}");
        romeo.send(&MESSAGE.replace("there?", "here?"));
        let heard = juliet.until("</message>");
        assert!(heard.contains("Art thou here?") && !heard.contains("delay"), "{name}: {heard}");
        if let Some(tls) = tls {
            let port = port_of(&ports, tls);
            let expected = if name.contains("1.6") {
                [("xmpp.test", &sixteen), ("second.test", &sixteen)]
            } else {
                [("second.test", &second), ("xmpp.test", &first)]
            };
            for (host, der) in expected {
                assert_eq!(&shown(site.address, port, host), der, "{name}: {host}");
            }
        }
        let pid = site.directory.join(if name.contains("1.6") { "jabberd14.pid" } else { "jabber.pid" });
        assert!(pid.exists(), "{name}");
        let log = site.log();
        for line in lines.iter().chain(&["[notice] (-internal): initializing server", "serving xmpp.test"]) {
            assert!(log.contains(line), "{name}: {line} is not in\n{log}");
        }
        // jabber.xml says what goes where: records are in a file of their own.
        let records = fs::read_to_string(site.path("record.log")).unwrap();
        assert!(records.contains(" romeo@xmpp.test login ok 127.0.0.1 orchard"), "{name}: {records}");
        assert!(!log.contains("login ok"), "{name}: {log}");
        running.stop();
        assert!(!pid.exists(), "{name}");
    }
}

#[test]
fn the_size_of_a_file_of_old_is_that_of_an_inbox() {
    let site = Site::new("configuration-sizelimit");
    let text = site.xml("").replace("</spool>", "</spool><sizelimit>3000</sizelimit><use_hierarchical_spool/>");
    site.write("jabber.xml", &text);
    let _running = site.start();
    for account in ["romeo", "juliet"] {
        site.ctl(&["user", "add", &format!("{account}@localhost")]).input(&format!("{account}\n")).success();
    }
    let mut romeo = Client::login(&site, "romeo", "romeo");
    for number in 0..2 {
        let body = "x".repeat(2_000);
        romeo.send(&format!("<message to='juliet@localhost' id='m{number}'><body>{body}</body></message>"));
    }
    let refused = romeo.until("</message>");
    assert!(refused.contains("id='m1'") && refused.contains("<service-unavailable"), "{refused}");
    assert!(!refused.contains("id='m0'"), "{refused}");
}

#[test]
fn the_command_line_stands_in_where_the_file_asks_for_it() {
    let mut site = Site::new("configuration-cmdline");
    let text = site
        .xml("<jabberd:include>more.xml</jabberd:include>")
        .replace("<host>localhost</host>", "<host><jabberd:cmdline flag='h'>localhost</jabberd:cmdline></host>");
    let spool = format!("<spool>{}/spool</spool>", site.directory.display());
    let text = text.replace(&spool, "<spool><jabberd:cmdline flag='s'>/nonexistent</jabberd:cmdline></spool>");
    site.write("jabber.xml", &text);
    site.write("more.xml", "<jabber><debug><mask>1</mask></debug></jabber>");
    site.host = "chat.test";
    let home = site.directory.to_str().unwrap().to_owned();
    let spool = site.path("spool");
    let running = site.start_with(&["-H", &home, "-h", "chat.test", "-s", spool.to_str().unwrap()]);
    assert!(spool.join("jabber.db").exists());
    // Only the host that is served gives its name back.
    let mut client = Client::connect(&site);
    client.send("</stream:stream>");
    assert!(client.last_words().ends_with("</stream:stream>"));
    site.ctl(&["--socket", site.path("spool/control").to_str().unwrap(), "status"]).success();
    let log = site.log();
    assert!(log.contains("serving chat.test on") && log.contains(": [debug] ("), "{log}");
    running.stop();
}

#[test]
fn the_control_socket_is_where_the_file_says_and_its_groups() {
    let site = Site::new("configuration-control");
    let group = nix::unistd::Group::from_gid(nix::unistd::getegid()).unwrap().unwrap().name;
    let socket = site.path("door");
    let control = format!("<control xmlns='urn:jabber:config:3' group='{group}'>{}</control>", socket.display());
    site.write("jabber.xml", &site.xml(&control));
    let running = site.start();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(!site.path("spool/control").exists());
    assert!(site.ctl(&["status"]).success().contains("localhost"));
    running.stop();
    // A group that is not there costs jabberctl, not the server, and it says so.
    let text = site.xml("<control xmlns='urn:jabber:config:3' group='no-such-group-here'/>");
    site.write("jabber.xml", &text);
    let running = site.start();
    let log = site.log();
    assert!(log.contains("there is no group 'no-such-group-here' (<control group=>): make it with"), "{log}");
    running.stop();
}

#[test]
fn the_server_becomes_the_user_that_the_file_names() {
    let site = Site::new("configuration-user");
    let name = if nix::unistd::geteuid().is_root() {
        "nobody".to_owned()
    } else {
        nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name
    };
    let user = nix::unistd::User::from_name(&name).unwrap().unwrap();
    let _ = nix::unistd::chown(&site.directory, Some(user.uid), Some(user.gid));
    site.write("jabber.xml", &site.xml(&format!("<user xmlns='urn:jabber:config:3'>{name}</user>")));
    let running = site.start();
    let owner = |path: &str| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap());
    assert_eq!(owner(site.path("spool/jabber.db").to_str().unwrap()), user.uid.as_raw());
    let pid = fs::read_to_string(site.path("jabber.pid")).unwrap();
    assert_eq!(owner(&format!("/proc/{}", pid.trim())), user.uid.as_raw());
    running.stop();
}

#[test]
fn the_proxy_listens_where_the_file_says() {
    let site = Site::new("configuration-proxy");
    let held = Port::at(own_address());
    let place = held.place;
    let (ip, port) = (place.ip(), place.port());
    let proxy = format!("<proxy65 xmlns='urn:jabber:config:3'><ip>{ip}</ip><port>{port}</port></proxy65>");
    site.write("jabber.xml", &site.xml("").replace("<register/>", &proxy));
    let running = site.start();
    assert!(site.log().contains(&place.to_string()), "{}", site.log());
    let mut client = TcpStream::connect(place).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    // SOCKS5, one method: no authentication (RFC 1928 §3).
    client.write_all(&[5, 1, 0]).unwrap();
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [5, 0]);
    running.stop();
}

#[test]
fn a_component_listens_where_the_file_says() {
    let site = Site::new("configuration-component");
    let held = Port::at(own_address());
    let place = held.place;
    let (ip, port) = (place.ip(), place.port());
    let service = format!(
        "<service id='icq.localhost'><accept><ip>{ip}</ip><port>{port}</port><secret>s</secret></accept></service>"
    );
    site.write("jabber.xml", &site.xml(&service));
    let running = site.start();
    let mut component = TcpStream::connect(place).unwrap();
    component.set_read_timeout(Some(PATIENCE)).unwrap();
    component
        .write_all(
            b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
              to='icq.localhost'></stream:stream>",
        )
        .unwrap();
    let mut heard = String::new();
    component.read_to_string(&mut heard).unwrap();
    assert!(heard.contains("from='icq.localhost'") && heard.ends_with("</stream:stream>"), "{heard}");
    running.stop();
}

#[test]
fn no_record_is_kept_where_the_list_leaves_mod_log_out() {
    for is_listed in [true, false] {
        let site = Site::new("configuration-records");
        let log = if is_listed { "<mod_log>x</mod_log>" } else { "" };
        let load = format!("<load main='jsm'><jsm>x</jsm><mod_auth_plain>x</mod_auth_plain>{log}</load></service>");
        let records =
            format!("<log id='r'><logtype>record</logtype><file>{}/record.log</file></log>", site.directory.display());
        let text = site.xml(&records).replacen("</service>", &load, 1);
        site.write("jabber.xml", &text);
        let running = site.start();
        site.ctl(&["user", "add", "romeo@localhost"]).input("romeo\n").success();
        let (mut client, answer) = Client::try_login(&site, "romeo", "romeo");
        assert!(answer.contains("type='result'"), "{answer}");
        client.send("</stream:stream>");
        client.last_words();
        running.stop();
        let records = fs::read_to_string(site.path("record.log")).unwrap();
        assert!(records.contains("login ok"), "{records}");
        assert_eq!(records.contains("session end"), is_listed, "{records}");
    }
}

#[test]
fn a_host_that_got_another_name_kept_its_accounts_to_itself() {
    let site = Site::new("configuration-renamed");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("romeo\n").success();
    let told = "accounts of localhost cannot log in (1)";
    assert!(!site.log().contains(told));
    let renamed = site.xml("").replace("<host>localhost</host>", "<host>verona.example</host>");
    assert!(renamed.contains("verona"));
    site.write("jabber.xml", &renamed);
    site.ctl(&["reload"]).success();
    assert_eq!(site.log().matches(told).count(), 1, "{}", site.log());
    running.stop();
    let running = site.start();
    assert_eq!(site.log().matches(told).count(), 2, "{}", site.log());
    running.stop();
}
