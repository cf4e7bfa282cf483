//! What the server itself keeps: bounds of `<limits>`, passwords of old; with a clock moved by hand and password work that is
//! never done.

use super::*;
use crate::config::{ListenerKind, Source};
use crate::store::account::{self, Credentials};
use crate::xmpp::{BareJid, Random};

struct NoDice;

impl Random for NoDice {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

struct Bench {
    server: Server,
    now: Now,
    listener: Arc<Listener>,
}

impl Bench {
    fn new(limits: &str) -> Bench {
        let text = format!(
            "<jabber><service id='sessions'><host>xmpp.test</host></service>\
             <limits xmlns='urn:jabber:config:3'>{limits}</limits></jabber>"
        );
        let config = Arc::new(Config::from_xml(&text, &Source::new("test.xml")).unwrap());
        let now = Now { unix_millis: 1_000_000, monotonic_millis: 1_000 };
        let listener = config.listeners.iter().find(|listener| listener.kind == ListenerKind::C2sTls).unwrap();
        let listener = Arc::new(listener.clone());
        let server = Server::new(config, Store::in_memory().unwrap(), Box::new(NoDice), now).unwrap();
        Bench { server, now, listener }
    }

    /// What is sent, the jobs that are given away and the ends of connections.
    fn input(&mut self, input: Input<'_>) -> String {
        self.server.handle(self.now, input);
        self.server.commit().unwrap();
        let mut text = String::new();
        for output in self.server.take_outputs() {
            match output {
                Output::Bytes { bytes, .. } => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Output::Hash(_) => text.push_str("(hash)"),
                Output::Close { .. } => text.push_str("(close)"),
                _ => {}
            }
        }
        text
    }

    /// A stranger's login by PLAIN.
    fn login(&mut self, number: u64) -> String {
        let (id, listener) = (ConnectionId(number), Arc::clone(&self.listener));
        self.input(Input::Accepted { id, listener: &listener, peer: "192.0.2.1:40000".parse().unwrap() });
        let tls = TlsInfo {
            protocol: "TLSv1.3",
            cipher: "TEST".to_owned(),
            exporter: None,
            end_point: None,
            sni: None,
            alpn: None,
            peer: Vec::new(),
        };
        self.input(Input::Secured { id, tls });
        let header = "<stream:stream to='xmpp.test' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
        self.input(Input::Bytes { id, bytes: header.as_bytes() });
        // NUL, romeo, NUL, pencil.
        let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHBlbmNpbA==</auth>";
        self.input(Input::Bytes { id, bytes: auth.as_bytes() })
    }
}

#[test]
fn so_much_password_work_waits_and_no_more() {
    let mut bench = Bench::new("<password-jobs-max>2</password-jobs-max>");
    assert_eq!([bench.login(1), bench.login(2)], ["(hash)", "(hash)"]);
    let refused = bench.login(3);
    assert!(refused.contains("<temporary-auth-failure/>") && !refused.contains("(hash)"), "{refused}");
}

#[test]
fn a_control_client_has_its_time() {
    let mut bench = Bench::new("<control-seconds>5</control-seconds>");
    let peer = admin::Peer { uid: 0, gid: 0, pid: 1 };
    assert_eq!(bench.input(Input::Control { id: ConnectionId(1), peer }), "");
    bench.now.monotonic_millis += 4_999;
    assert_eq!(bench.input(Input::Timeout), "");
    bench.now.monotonic_millis += 1;
    let told = bench.input(Input::Timeout);
    assert!(
        told.contains("nothing was heard for 5 seconds (<control-seconds>)") && told.ends_with("(close)"),
        "{told}"
    );
}

/// More than are forgotten in one turn.
const ACCOUNTS: usize = PLAIN_PASSWORDS_PAGE + 3;

#[test]
fn passwords_that_are_kept_as_text_go_when_jabber_xml_wants_them_no_longer() {
    let kept = Config {
        keep_plain_passwords: Some(crate::config::PlainPasswords { days: 1 }),
        ..Config::for_host("localhost")
    };
    let mut store = Store::in_memory().unwrap();
    for n in 0..ACCOUNTS {
        let jid = BareJid::new(&format!("u{n}@localhost")).unwrap();
        account::create(&mut store, &jid, &Credentials::default(), 1).unwrap();
        plain_password::keep(&mut store, &jid, "secret", 1_000).unwrap();
    }
    let mut now = Now { unix_millis: 2_000, monotonic_millis: 5 };
    let mut server = Server::new(Arc::new(kept.clone()), store, Box::new(NoDice), now).unwrap();
    assert_eq!(plain_password::oldest(&server.store).unwrap(), Some(1_000));
    // A reload looks at once, and then a bit later.
    server.handle(now, Input::Reload(Arc::new(Config::for_host("localhost"))));
    assert_eq!(plain_password::oldest(&server.store).unwrap(), Some(1_000));
    now.monotonic_millis = server.timers.next_millis().unwrap();
    server.handle(now, Input::Timeout);
    assert_eq!(plain_password::oldest(&server.store).unwrap(), None);
    // It goes on looking, once a day, as often as jabber.xml is read again.
    for _ in 0..3 {
        server.handle(now, Input::Reload(Arc::new(kept.clone())));
    }
    for _ in 0..3 {
        now.monotonic_millis += DAY_MILLIS;
        server.handle(now, Input::Timeout);
        assert_eq!(server.passwords_at_millis, now.monotonic_millis + DAY_MILLIS);
    }
    // One timer for each reload of the day before came to nothing; one goes on.
    assert_eq!(server.timers.next_millis(), Some(now.monotonic_millis + DAY_MILLIS));
}
