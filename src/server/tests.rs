//! What the server itself keeps: bounds of `<limits>`, passwords of old, the order of what clients say; with a clock moved by
//! hand and password work that is done when a test wants it.

use super::*;
use crate::config::{ListenerKind, Source};
use crate::store::account::{self, Credentials};
use crate::store::invite::{self, Invite};
use crate::store::setting;
use crate::store::tests::Scratch;
use crate::xmpp::BareJid;
use crate::xmpp::random::NoDice;

struct Bench {
    server: Server,
    now: Now,
    listener: Arc<Listener>,
    jobs: Vec<HashJob>,
    /// Who wishes that jabber.xml is read again.
    rereaders: Vec<ModuleTimer>,
    /// Do peers take what is sent to them?
    takes: bool,
}

impl Bench {
    fn new(limits: &str) -> Bench {
        Bench::with(limits, "")
    }

    fn with(limits: &str, root: &str) -> Bench {
        Bench::on(Store::in_memory().unwrap(), limits, root)
    }

    fn on(store: Store, limits: &str, root: &str) -> Bench {
        let text = format!(
            "<jabber><service id='sessions'><host>xmpp.test</host></service>{root}\
             <limits xmlns='urn:jabber:config:3'>{limits}</limits></jabber>"
        );
        let config = Arc::new(Config::from_xml(&text, &Source::new("test.xml")).unwrap());
        let now = Now { unix_millis: 1_000_000, monotonic_millis: 1_000 };
        let listener = config.listeners.iter().find(|listener| listener.kind == ListenerKind::C2sTls).unwrap();
        let listener = Arc::new(listener.clone());
        let server = Server::new(config, store, Box::new(NoDice), now).unwrap();
        Bench { server, now, listener, jobs: Vec::new(), rereaders: Vec::new(), takes: true }
    }

    /// What is sent, the jobs that are given away, who is not read and who is, and the ends of connections.
    fn input(&mut self, input: Input<'_>) -> String {
        self.server.handle(self.now, input);
        self.server.commit().unwrap();
        self.outputs()
    }

    fn outputs(&mut self) -> String {
        let mut text = String::new();
        for output in self.server.take_outputs() {
            match output {
                Output::Bytes { bytes, .. } => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Output::Hash(job) => {
                    text.push_str("(hash)");
                    self.jobs.push(job);
                }
                Output::Reload(wish) => self.rereaders.push(wish),
                Output::Hear { hears, .. } => text.push_str(if hears { "(on)" } else { "(off)" }),
                Output::Close { .. } => text.push_str("(close)"),
                Output::TellRoom { id } if self.takes => text.push_str(&self.input(Input::Room { id })),
                _ => {}
            }
        }
        text
    }

    /// A piece of password work is done.
    fn work(&mut self) -> String {
        let job = self.jobs.pop().unwrap();
        self.input(Input::Hashed(job.run()))
    }

    /// From now on somebody asks for its health (1), and somebody has jabberctl (2).
    fn is_watched(&mut self) {
        self.input(Input::Watcher { id: ConnectionId(1) });
        self.input(Input::Control { id: ConnectionId(2), peer: admin::Peer { uid: 0, gid: 0, pid: 1 } });
    }

    fn health(&mut self) -> String {
        self.says(1, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
    }

    fn status(&mut self) -> String {
        self.says(2, "{\"command\":\"status\"}\n")
    }

    fn says(&mut self, number: u64, text: &str) -> String {
        self.input(Input::Bytes { id: ConnectionId(number), bytes: text.as_bytes() })
    }

    /// Romeo's account.
    fn register(&mut self) -> BareJid {
        let romeo = BareJid::new("romeo@xmpp.test").unwrap();
        let password = crate::stream::sasl::Password::new("pencil").unwrap();
        let Outcome::Derived(credentials) = HashJob::derive(0, password, &mut NoDice).run().outcome else { panic!() };
        account::create(&mut self.server.store, &romeo, &credentials, 0).unwrap();
        romeo
    }

    /// Romeo's session, all of it. What he hears last.
    fn session(&mut self, number: u64) -> String {
        self.login(number);
        assert!(self.work().contains("<success"));
        self.says(number, HEADER);
        let bind = format!(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r{number}</resource></bind>\
             </iq><presence/>"
        );
        let heard = self.says(number, &bind);
        assert!(heard.contains("<jid>"));
        heard
    }

    fn component(&mut self, number: u64) -> u64 {
        assert_eq!(self.component_hears(number), "<handshake/>");
        number
    }

    /// What a component hears that comes in, with the secret `s`.
    fn component_hears(&mut self, number: u64) -> String {
        let of_components = |listener: &&Listener| listener.kind == ListenerKind::Component;
        let listener = Arc::new(self.server.config.listeners.iter().find(of_components).unwrap().clone());
        let id = ConnectionId(number);
        self.input(Input::Accepted { id, listener: &listener, peer: "192.0.2.2:40000".parse().unwrap() });
        let header =
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='x'>";
        let heard = self.says(number, header);
        let stream_id = heard.split_once(" id='").unwrap().1.split_once('\'').unwrap().0.to_owned();
        let text = format!("{stream_id}s");
        let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        let proof: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.says(number, &format!("<handshake>{proof}</handshake>"))
    }

    /// A stranger's login by PLAIN.
    fn login(&mut self, number: u64) -> String {
        self.stranger(number);
        // NUL, romeo, NUL, pencil.
        let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHBlbmNpbA==</auth>";
        self.says(number, auth)
    }

    /// A stream on which nothing is asked for yet. What is offered.
    fn stranger(&mut self, number: u64) -> String {
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
        self.says(number, HEADER)
    }

    fn set_registration(&mut self, word: &str) {
        setting::set(&mut self.server.store, "xmpp.test", setting::REGISTRATION, word).unwrap();
    }

    /// An invitation to an account, under a token.
    fn invites(&mut self, inviter: Option<&BareJid>, localpart: &str, token: &str) {
        let invite = Invite {
            id: String::new(),
            host: "xmpp.test".to_owned(),
            inviter: inviter.cloned(),
            localpart: localpart.to_owned(),
            registers: true,
            befriends: false,
            for_contact: false,
            by_server: inviter.is_none(),
            created: self.now.unix_millis,
            expires: self.now.unix_millis + 1_000_000,
            uses: 1,
        };
        invite::create(&mut self.server.store, token, &invite).unwrap();
    }
}

const HEADER: &str = "<stream:stream to='xmpp.test' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";

#[test]
fn so_much_password_work_waits_and_no_more() {
    let mut bench = Bench::new("<password-jobs-max>2</password-jobs-max>");
    assert_eq!([bench.login(1), bench.login(2)], ["(hash)(off)", "(hash)(off)"]);
    let refused = bench.login(3);
    assert!(refused.contains("<temporary-auth-failure/>") && !refused.contains("(hash)"), "{refused}");
}

fn asks_for_an_account(name: &str) -> String {
    let fields = format!("<username>{name}</username><password>secret</password>");
    format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'>{fields}</query></iq>")
}

fn shows(token: &str) -> String {
    format!("<iq type='set' id='p' to='xmpp.test'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>")
}

/// Whether an account may be made was asked before its password was made into keys, and not after.
#[test]
fn registration_was_closed_and_a_name_kept_while_a_password_waited() {
    let mut bench = Bench::new("");
    bench.set_registration("open");
    for (number, name) in [(1, "tybalt"), (2, "juliet")] {
        bench.stranger(number);
        assert!(bench.says(number, &asks_for_an_account(name)).contains("(hash)"));
    }
    bench.invites(None, "juliet", "for-juliet");
    let heard = bench.work();
    assert!(heard.contains("<conflict"), "{heard}");
    bench.set_registration("closed");
    let heard = bench.work();
    assert!(heard.contains("<not-allowed"), "{heard}");
    for name in ["tybalt@xmpp.test", "juliet@xmpp.test"] {
        assert!(!account::exists(&bench.server.store, &BareJid::new(name).unwrap()).unwrap());
    }
}

/// The password of an account was changed by a session that had been thrown out before it was done.
#[test]
fn whose_session_was_ended_meanwhile_changes_nothing() {
    let mut bench = Bench::new("");
    let romeo = bench.register();
    bench.session(1);
    let heard = bench.says(1, &asks_for_an_account("romeo").replace("id='r'", "id='r' to='xmpp.test'"));
    assert!(heard.contains("(hash)"), "{heard}");
    bench.input(Input::Gone { id: ConnectionId(1), reason: "reset" });
    account::set_disabled(&mut bench.server.store, &romeo, true).unwrap();
    bench.work();
    account::set_disabled(&mut bench.server.store, &romeo, false).unwrap();
    bench.session(2);
}

/// Who had been an admin when he invited opened closed registration for ever.
#[test]
fn an_ex_admins_invitation_opens_nothing() {
    let admin = "<global><acl xmlns='http://jabberd.org/ns/acl'><grant feature='administer'><jid>romeo@xmpp.test</jid>\
                 </grant></acl></global>";
    let mut bench = Bench::with("", admin);
    let romeo = bench.register();
    assert!(!bench.stranger(1).contains("iq-register"));
    bench.invites(Some(&romeo), "", "of-romeo");
    bench.invites(None, "", "of-the-server");
    assert!(bench.stranger(2).contains("iq-register"));
    for number in [1, 2] {
        assert!(bench.says(number, &shows("of-romeo")).contains("type='result'"));
    }
    assert!(bench.says(2, &asks_for_an_account("tybalt")).contains("(hash)"));
    let others = Bench::new("").server.config.clone();
    bench.input(Input::Reload(others));
    for heard in [bench.says(1, &asks_for_an_account("juliet")), bench.work()] {
        assert!(heard.contains("<not-allowed"), "{heard}");
    }
    bench.stranger(3);
    assert!(bench.says(3, &shows("of-romeo")).contains("<item-not-found"));
    assert!(bench.says(3, &shows("of-the-server")).contains("type='result'"));
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
    assert!(told.contains("you asked for nothing for 5 seconds") && told.ends_with("(close)"), "{told}");
}

#[test]
fn who_asks_for_metrics_has_a_place_for_a_time() {
    let mut bench = Bench::new("<metrics-clients-max>2</metrics-clients-max><metrics-seconds>5</metrics-seconds>");
    let comes = |bench: &mut Bench, number| bench.input(Input::Watcher { id: ConnectionId(number) });
    assert_eq!((comes(&mut bench, 1), comes(&mut bench, 2)), (String::new(), String::new()));
    bench.now.monotonic_millis += 1_000;
    assert!(bench.health().ends_with("ok\n"));
    // The second has said nothing for longest, and makes room; the third is heard.
    assert_eq!(comes(&mut bench, 3), "(close)");
    bench.input(Input::Gone { id: ConnectionId(2), reason: "closed" });
    assert!(bench.says(3, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n").ends_with("ok\n"));
    // Who asks stays, and who asks no more goes.
    bench.now.monotonic_millis += 4_000;
    assert!(bench.health().ends_with("ok\n"));
    bench.now.monotonic_millis += 1_000;
    assert_eq!(bench.input(Input::Timeout), "(close)");
    bench.input(Input::Gone { id: ConnectionId(3), reason: "closed" });
    assert_eq!(comes(&mut bench, 4), "");
    assert!(bench.health().ends_with("ok\n"));
}

#[test]
fn what_was_asked_behind_a_long_command_was_begun_for_nobody() {
    let mut bench = Bench::new("");
    for n in 0..500 {
        let jid = BareJid::new(&format!("u{n:03}@xmpp.test")).unwrap();
        account::create(&mut bench.server.store, &jid, &Credentials::default(), 1).unwrap();
    }
    let peer = admin::Peer { uid: 0, gid: 0, pid: 1 };
    let both = "{\"command\":\"user list\"}\n{\"command\":\"block\",\"arguments\":{\"domain\":\"spam.example\"}}\n";
    for id in [ConnectionId(1), ConnectionId(2)] {
        bench.input(Input::Control { id, peer });
        assert!(bench.says(id.0, both).contains("u000@"));
    }
    // One leaves; the other says only that nothing more comes, and has both answers before the end.
    bench.input(Input::Gone { id: ConnectionId(1), reason: "closed by the peer" });
    assert_eq!(bench.input(Input::Drained { id: ConnectionId(1) }), "");
    assert!(bench.server.router().blocked("spam.example").is_none());
    // Whatever it says before it has read the first page, there is no second.
    assert_eq!(bench.says(2, "{"), "");
    assert_eq!(bench.says(2, "}\n"), "");
    assert_eq!(bench.input(Input::Silent { id: ConnectionId(2) }), "");
    bench.input(Input::Drained { id: ConnectionId(2) });
    let rest = bench.input(Input::Drained { id: ConnectionId(2) });
    assert!(rest.contains("spam.example") && rest.ends_with("(close)"), "{rest}");
}

#[test]
fn who_read_a_list_slowly_lost_the_rest_of_it() {
    let mut bench =
        Bench::new("<control-seconds>5</control-seconds><control-reading-seconds>60</control-reading-seconds>");
    for n in 0..500 {
        let jid = BareJid::new(&format!("u{n:03}@xmpp.test")).unwrap();
        account::create(&mut bench.server.store, &jid, &Credentials::default(), 1).unwrap();
    }
    let id = ConnectionId(1);
    bench.input(Input::Control { id, peer: admin::Peer { uid: 0, gid: 0, pid: 1 } });
    let page = bench.says(1, "{\"command\":\"user list\"}\n");
    assert!(page.contains("u000@") && !page.contains("u499@"), "{page}");
    // The pager shows the first screen of it.
    for _ in 0..10 {
        bench.now.monotonic_millis += 5_900;
        assert_eq!(bench.input(Input::Timeout), "");
    }
    assert!(bench.input(Input::Drained { id }).contains("u200@"));
    let rest = bench.input(Input::Drained { id });
    assert!(rest.contains("u499@") && rest.contains("{\"done\":"), "{rest}");
    // And again, for the end of it.
    bench.now.monotonic_millis += 55_000;
    assert_eq!(bench.input(Input::Timeout), "");
    bench.now.monotonic_millis += 5_000;
    let told = bench.input(Input::Timeout);
    assert!(told.contains("you did not read for 60 seconds") && told.ends_with("(close)"), "{told}");
    assert!(
        told.contains("\"remedy\":\"read faster, or put the answer into a file; <control-reading-seconds> is the time")
    );
    bench.input(Input::Gone { id, reason: "closed" });
    // Who has read all and asks for nothing has the shorter time.
    bench.input(Input::Control { id, peer: admin::Peer { uid: 0, gid: 0, pid: 1 } });
    bench.says(1, "{\"command\":\"status\"}\n");
    assert_eq!(bench.input(Input::Drained { id }), "");
    bench.now.monotonic_millis += 5_000;
    assert!(bench.input(Input::Timeout).ends_with("(close)"));
}

#[test]
fn how_long_it_is_up_is_told() {
    let mut bench = Bench::new("");
    bench.input(Input::Control { id: ConnectionId(1), peer: admin::Peer { uid: 0, gid: 0, pid: 1 } });
    for (more_millis, seconds) in [(999, 0), (1, 1), (89_000, 90)] {
        bench.now.monotonic_millis += more_millis;
        // Whatever the wall's clock does.
        bench.now.unix_millis = 0;
        let told = bench.says(1, "{\"command\":\"status\"}\n");
        assert!(told.contains(&format!("\"up_seconds\":{seconds},")), "{told}");
    }
}

#[test]
fn a_full_disk_was_seen_by_nobody() {
    let mut bench = Bench::new("");
    bench.is_watched();
    assert!(bench.health().ends_with("\r\n\r\nok\n"));
    assert!(bench.status().contains("\"commit_failures\":0,\"commits_fail\":null"));
    store::tests::leave_room(&bench.server.store, 2);
    // What a full disk does to a tick: it is refused as a whole.
    let fail = |bench: &mut Bench| {
        bench.server.handle(bench.now, Input::Timeout);
        let kept = meta::set(&mut bench.server.store, "large", &[0; 100_000]);
        assert!(kept.is_err());
        assert!(bench.server.commit().is_err());
        bench.outputs()
    };
    assert_eq!(fail(&mut bench), "");
    bench.now.monotonic_millis += 1_000;
    assert_eq!(fail(&mut bench), "");
    let told = bench.health();
    assert!(told.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{told}");
    assert!(told.contains("nothing can be kept, the database refuses to commit: :memory:: "), "{told}");
    let told = bench.status();
    assert!(told.contains("\"commit_failures\":2,\"commits_fail\":\"since 1970-01-01T00:16:40Z: :memory:: "), "{told}");
    assert!(told.contains("\"links_failing\":0,"), "{told}");
    let told = bench.says(1, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(told.contains("# TYPE jabber_commit_failures counter\n# HELP jabber_commit_failures "), "{told}");
    assert!(told.contains("\njabber_commit_failures_total 2\n"), "{told}");
    // Nobody comes, as who watches says so; the server finds out by itself. A trial that fails harms nobody in its tick.
    bench.now.monotonic_millis += 9_999;
    assert!(bench.health().contains(" 503 "));
    assert_eq!(bench.server.commits.failures(), 2);
    bench.now.monotonic_millis += 1;
    assert_eq!(bench.server.next_timeout(bench.now), Some(Duration::ZERO));
    assert!(bench.health().contains(" 503 "));
    assert!(bench.server.commits.failures() == 3);
    store::tests::leave_room(&bench.server.store, 1_000);
    bench.now.monotonic_millis += 10_000;
    bench.input(Input::Timeout);
    assert!(bench.health().ends_with("\r\n\r\nok\n"));
    assert!(bench.status().contains("\"commit_failures\":3,\"commits_fail\":null"));
}

#[test]
fn a_message_that_was_lost_was_said_to_be_sent_and_a_locked_database_was_seen_by_nobody() {
    let scratch = Scratch::new("locked");
    let mut bench = Bench::on(Store::open(&scratch.database()).unwrap(), "", "");
    bench.register();
    bench.is_watched();
    let ask = |bench: &mut Bench, command: &str, arguments: &str| {
        bench.says(2, &format!("{{\"command\":\"{command}\",\"arguments\":{arguments}}}\n"))
    };
    let message = |bench: &mut Bench| ask(bench, "message", "{\"to\":\"romeo@xmpp.test\",\"text\":\"hello\"}");
    assert!(message(&mut bench).contains("sent to romeo@xmpp.test"));
    let lock = store::tests::Lock::take(&scratch.database());
    for number in 1..=2 {
        let told = message(&mut bench);
        assert!(told.contains("\"kind\":\"failed\"") && told.contains("could not be kept"), "{told}");
        assert_eq!(bench.server.commits.failures(), number);
    }
    let told = ask(&mut bench, "announce", "{\"text\":\"hello\",\"update\":true}");
    assert!(told.contains("could not be kept"), "{told}");
    let told = bench.health();
    assert!(told.contains(" 503 ") && told.contains("database is locked"), "{told}");
    let told = ask(&mut bench, "status", "{}");
    assert!(told.contains("\"commit_failures\":3,\"commits_fail\":\"since ") && told.contains("locked"), "{told}");
    drop(lock);
    bench.now.monotonic_millis += 10_000;
    bench.input(Input::Timeout);
    assert!(bench.health().ends_with("\r\n\r\nok\n"));
    let told = ask(&mut bench, "user info", "{\"account\":\"romeo@xmpp.test\"}");
    assert!(told.contains("\"offline_messages\":1,"), "{told}");
    // Nobody there who takes it: that is no success either.
    ask(&mut bench, "user disable", "{\"account\":\"romeo@xmpp.test\"}");
    let told = message(&mut bench);
    assert!(told.contains("\"kind\":\"refused\"") && told.contains("does not get it"), "{told}");
}

#[test]
fn a_database_that_was_moved_away_was_all_well() {
    let scratch = Scratch::new("displaced");
    let mut bench = Bench::on(Store::open(&scratch.database()).unwrap(), "", "");
    bench.is_watched();
    assert!(bench.status().contains("\"database_displaced\":null"));
    std::fs::rename(scratch.database(), scratch.0.join("elsewhere.db")).unwrap();
    let told = bench.health();
    assert!(told.contains(" 503 ") && told.contains("will not be found again"), "{told}");
    let told = bench.status();
    assert!(told.contains("\"database_displaced\":\"") && told.contains("moved, removed or replaced"), "{told}");
    // The log is told as well, once.
    bench.now.monotonic_millis += 60_000;
    bench.input(Input::Timeout);
    assert!(bench.server.commits.is_displaced);
    std::fs::rename(scratch.0.join("elsewhere.db"), scratch.database()).unwrap();
    assert!(bench.health().ends_with("\r\n\r\nok\n"));
    bench.now.monotonic_millis += 60_000;
    bench.input(Input::Timeout);
    assert!(!bench.server.commits.is_displaced);
}

#[test]
fn a_block_that_could_not_be_kept_was_in_force() {
    let mut bench = Bench::new("");
    let block =
        |domain: &str| Block { domain: domain.to_owned(), subdomains: false, action: crate::config::BlockAction::Drop };
    bench.server.block(bench.now, block("kept.test")).unwrap();
    bench.input(Input::Timeout);
    store::tests::leave_room(&bench.server.store, 2);
    bench.server.block(bench.now, block("lost.test")).unwrap();
    bench.server.unblock(bench.now, "kept.test").unwrap();
    // The disk is full before the tick ends.
    assert!(meta::set(&mut bench.server.store, "large", &[0; 100_000]).is_err());
    assert!(bench.server.commit().is_err());
    assert!(bench.server.router().blocked("lost.test").is_none());
    assert!(bench.server.router().blocked("kept.test").is_some());
}

#[test]
fn a_stream_that_the_disk_closed_was_not_counted() {
    let mut bench = Bench::new("");
    for (number, reason) in [(1, DISK_FAILED), (2, "connection lost: reset")] {
        bench.login(number);
        bench.input(Input::Gone { id: ConnectionId(number), reason });
    }
    bench.input(Input::Watcher { id: ConnectionId(9) });
    let told = bench.says(9, "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    for reason in ["internal-server-error", "lost"] {
        let sample = format!("jabber_streams_closed_total{{side=\"client\",reason=\"{reason}\"}} 1");
        assert!(told.contains(&sample), "{told}");
    }
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

/// Who left while his new password was made into keys, or before a reader had looked at his last words, was not heard any
/// more. What is not looked at is not read either, and neither is the end that comes behind it.
#[test]
fn who_is_not_looked_at_is_not_read_until_all_he_said_is_done() {
    let mut bench = Bench::new("<work-per-tick>1000</work-per-tick>");
    bench.register();
    bench.session(1);
    let change = "<iq type='set' id='c' to='xmpp.test'><query xmlns='jabber:iq:register'>\
                  <username>romeo</username><password>ink</password></query></iq>";
    let ping = |id| format!("<iq type='get' id='{id}' to='xmpp.test'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert_eq!(bench.says(1, &format!("{change}{}", ping("p1"))), "(off)(hash)");
    // Another piece of work that he is held for.
    bench.server.hold(ConnectionId(1));
    let done = bench.work();
    assert!(done.contains("id='c'") && !done.contains("id='p1'"), "{done}");
    bench.server.go_on(bench.now, ConnectionId(1));
    let done = bench.input(Input::Timeout);
    assert!(done.contains("id='p1'") && done.contains("(on)"), "{done}");
    // His share of a turn.
    let done = bench.says(1, &format!("{}{}</stream:stream>", "<presence/>".repeat(600), ping("p2")));
    assert!(done.contains("(off)") && !done.contains("id='p2'"), "{done}");
    bench.now.monotonic_millis += 10;
    let done = bench.input(Input::Timeout);
    assert!(done.contains("id='p2'") && done.contains("(on)"), "{done}");
    assert!(done.ends_with("</stream:stream>(close)"), "{done}");
}

/// A session to which messages were on their way then was believed to get them for ever: what came waited behind them.
#[test]
fn a_delivery_does_not_outlive_the_module_that_is_switched_off() {
    let limits = "<output-bytes-max>65536</output-bytes-max>";
    let mut bench = Bench::new(limits);
    let romeo = bench.register();
    let body = "x".repeat(9_000);
    for number in 1..=4 {
        let text = format!("<message xmlns='jabber:client' to='{romeo}' id='m{number}'><body>{body}</body></message>");
        let bounds = store::Bounds { count: 10, bytes: 1_000_000 };
        let kept = store::offline::append(&mut bench.server.store, &romeo, &text, 0, bounds).unwrap();
        assert!(matches!(kept, store::offline::Appended::Stored(_)));
    }
    let heard = bench.session(1);
    assert!(heard.contains("id='m2'") && !heard.contains("id='m3'"), "{heard}");
    let to = |id, to: &str| format!("<message to='{to}' id='{id}'><body>{id}</body></message>");
    let full = bench.server.router().sessions().of(&romeo).next().unwrap().1.jid().to_string();
    assert_eq!(bench.says(1, &to("for-one", &full)), "");
    let on = bench.server.config.clone();
    let mut off = Config::clone(&on);
    for host in &mut off.hosts {
        host.modules.off.insert("mod_offline".into());
    }
    let heard = bench.input(Input::Reload(Arc::new(off)));
    assert!(heard.contains("id='for-one'"), "{heard}");
    assert_eq!(bench.input(Input::Reload(on)), "");
    bench.now.monotonic_millis += 10_000;
    assert_eq!(bench.input(Input::Timeout), "");
    let heard = bench.says(1, &to("for-all", romeo.as_str()));
    assert!(heard.contains("id='for-all'"), "{heard}");
    // What was on its way then comes no second time, and is waited for again.
    assert_eq!(bench.stays(1), "");
    bench.says(1, "<presence type='unavailable'/>");
    assert_eq!(bench.waits(), 2);
    let heard = bench.says(1, "<presence/>");
    let came = ["m1", "m2", "m3", "m4"].map(|id| heard.contains(&format!("id='{id}'")));
    assert_eq!(came, [false, false, true, true], "{heard}");
}

/// Who reads all the time and asked for much at once was cut: the server went on by time, whatever waited already.
#[test]
fn a_burst_of_large_answers_was_more_than_might_wait() {
    let mut bench = Bench::new("<output-bytes-max>65536</output-bytes-max>");
    bench.register();
    bench.session(1);
    let photo = "x".repeat(9_000);
    let set = format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'><DESC>{photo}</DESC></vCard></iq>");
    assert!(bench.says(1, &set).contains("type='result'"));
    bench.takes = false;
    let get = "<iq type='get' id='v'><vCard xmlns='vcard-temp'/></iq>";
    let mut heard = bench.says(1, &get.repeat(20));
    let mut turns = 0;
    while heard.matches("</iq>").count() < 20 {
        turns += 1;
        let before = heard.len();
        for _ in 0..10 {
            bench.now.monotonic_millis += 1_000;
            let early = bench.input(Input::Timeout);
            assert!(!early.contains("</iq>"), "before there was room");
        }
        heard.push_str(&bench.input(Input::Room { id: ConnectionId(1) }));
        assert!(heard.len() > before && heard.len() - before < 50_000);
    }
    assert!(turns >= 3, "{turns}");
    assert!(!bench.input(Input::Room { id: ConnectionId(1) }).contains("</iq>"));
    // Told once more than asked for.
    assert_eq!(bench.input(Input::Room { id: ConnectionId(1) }), "");
}

/// What was worked off after a rest was of no tick: lost without a word, or acknowledged before the disk had it.
#[test]
fn what_is_worked_off_after_a_rest_belongs_to_its_tick() {
    let mut bench = Bench::new("<work-per-tick>1000</work-per-tick>");
    bench.register();
    bench.session(1);
    let id = ConnectionId(1);
    let speakers = |bench: &mut Bench, input: Input<'_>| {
        bench.server.handle(bench.now, input);
        bench.server.commit().unwrap();
        let spoke = |output: &Output| matches!(output, Output::Spoke { id: ConnectionId(1) });
        bench.server.take_outputs().iter().filter(|output| spoke(output)).count()
    };
    let message = "<message to='romeo@xmpp.test/nobody' type='headline'/>";
    let words = format!("{}{message}", "<presence/>".repeat(500));
    assert_eq!(speakers(&mut bench, Input::Bytes { id, bytes: words.as_bytes() }), 1);
    bench.now.monotonic_millis += 10;
    assert_eq!(speakers(&mut bench, Input::Timeout), 0);
    assert_eq!(speakers(&mut bench, Input::Room { id }), 1);
}

/// A module with a bug.
struct Bug;

impl crate::router::Module for Bug {
    fn about(&self) -> &'static crate::router::About {
        &crate::router::About::NONE
    }

    fn arriving(
        &mut self,
        _: &mut crate::router::Context<'_>,
        _: &BareJid,
        stanza: &crate::xmpp::Stanza,
    ) -> Result<crate::router::Flow, crate::xmpp::StanzaError> {
        assert!(stanza.id() != Some("bug"), "as the test wants it");
        Ok(crate::router::Flow::Handled)
    }
}

/// A component that has said its share, and then what the module with the bug takes.
fn rests_before_a_bug() -> (Bench, u64) {
    let mut bench = Bench::with("<work-per-tick>1000</work-per-tick>", ICQ);
    bench.register();
    let icq = bench.component(7);
    let (config, now) = (bench.server.config.clone(), bench.now);
    bench.server.router = Router::new(config, vec![("mod_bug", Box::new(Bug))], now);
    let message = |id| format!("<message to='romeo@xmpp.test' from='x@icq.xmpp.test' id='{id}'/>");
    let words = format!("{}{}", message("m").repeat(1_000), message("bug"));
    assert_eq!(bench.says(icq, &words), "(off)");
    (bench, icq)
}

/// Then the component was not read any more, and the connection of somebody else ended.
#[test]
fn a_bug_met_a_component_that_had_rested() {
    let (mut bench, icq) = rests_before_a_bug();
    let (listener, other) = (Arc::clone(&bench.listener), ConnectionId(8));
    bench.input(Input::Accepted { id: other, listener: &listener, peer: "192.0.2.1:40000".parse().unwrap() });
    let mut told = String::new();
    while !told.contains("(close)") {
        bench.now.monotonic_millis += 10;
        told.push_str(&bench.says(8, " "));
    }
    assert!(bench.server.connections.get(&ConnectionId(icq)).unwrap().is_closing);
    assert!(!bench.server.connections.get(&other).unwrap().is_closing);
}

const ICQ: &str = "<service id='icq.xmpp.test'><accept><port>5347</port><secret>s</secret></accept></service>";

/// A component that says more than its share, and then twenty messages for Romeo, who is away; the server has read all.
fn says_much_and_then_twenty(bench: &mut Bench) -> (ConnectionId, BareJid) {
    let romeo = bench.register();
    let icq = bench.component(7);
    let much = "<message to='romeo@xmpp.test' from='x@icq.xmpp.test' type='headline'/>".repeat(1_000);
    let message = "<message to='romeo@xmpp.test' from='x@icq.xmpp.test' type='chat'><body>b</body></message>";
    assert_eq!(bench.says(icq, &format!("{much}{}", message.repeat(20))), "(off)");
    assert_eq!(waiting(bench, &romeo), 0);
    (ConnectionId(icq), romeo)
}

fn waiting(bench: &Bench, account: &BareJid) -> usize {
    store::offline::fetch(&bench.server.store, account, 0, 100).unwrap().len()
}

#[test]
fn who_was_cut_while_it_rested_lost_what_it_had_said() {
    for (reason, kept) in [("connection lost: reset", 20), (DISK_FAILED, 0)] {
        let mut bench = Bench::with("<work-per-tick>1000</work-per-tick>", ICQ);
        let (id, romeo) = says_much_and_then_twenty(&mut bench);
        bench.input(Input::Gone { id, reason });
        // After a commit that failed what followed is not worked off either.
        assert_eq!(waiting(&bench, &romeo), kept);
        assert_eq!(bench.server.connection_count(), 0);
    }
}

#[test]
fn a_stop_lost_what_a_resting_component_had_said() {
    let mut bench = Bench::with("<work-per-tick>1000</work-per-tick>", ICQ);
    let (_, romeo) = says_much_and_then_twenty(&mut bench);
    assert!(bench.input(Input::Terminate).ends_with("</stream:stream>(close)"));
    assert_eq!(waiting(&bench, &romeo), 20);
}

#[test]
fn a_bug_in_the_last_words_of_a_component_leaves_nothing_behind() {
    let (mut bench, icq) = rests_before_a_bug();
    bench.input(Input::Gone { id: ConnectionId(icq), reason: "connection lost: reset" });
    assert_eq!(bench.server.connection_count(), 0);
}

/// What was for a component that nothing could be written to any more was dropped while its last words were heard.
#[test]
fn what_is_for_a_component_that_hears_nothing_waits_for_the_next() {
    let mut bench = Bench::with("", ICQ);
    bench.register();
    bench.session(1);
    let icq = bench.component(7);
    bench.input(Input::Unhearing { id: ConnectionId(icq) });
    let message = "<message to='x@icq.xmpp.test' id='waits'><body>b</body></message>";
    assert_eq!(bench.says(1, message), "");
    let last = "<message to='romeo@xmpp.test' from='x@icq.xmpp.test' id='last'><body>b</body></message>";
    assert!(bench.says(icq, last).contains("id='last'"));
    bench.input(Input::Gone { id: ConnectionId(icq), reason: "connection lost: reset" });
    let heard = bench.component_hears(8);
    assert!(heard.contains("id='waits'"), "{heard}");
}

/// The end of every session was written, so whoever spoke in the same tick was closed with it.
#[test]
fn who_left_while_the_disk_was_full_closed_the_others() {
    let mut bench = Bench::new("");
    let romeo = bench.register();
    bench.session(1);
    store::tests::leave_room(&bench.server.store, 0);
    bench.server.handle(bench.now, Input::Timeout);
    assert!(meta::set(&mut bench.server.store, "large", &[0; 100_000]).is_err());
    assert!(bench.server.commit().is_err());
    bench.outputs();
    bench.now.unix_millis += 5_000;
    bench.server.handle(bench.now, Input::Gone { id: ConnectionId(1), reason: "closed" });
    assert_eq!(bench.server.commit().unwrap(), None, "nothing is written");
    assert_eq!(store::last::of(&bench.server.store, &romeo).unwrap(), None);
    store::tests::leave_room(&bench.server.store, 1_000);
    let left_at = bench.now.unix_millis;
    for _ in 0..2 {
        bench.now.unix_millis += 60_000;
        bench.now.monotonic_millis += 60_000;
        bench.input(Input::Timeout);
    }
    assert_eq!(store::last::of(&bench.server.store, &romeo).unwrap().unwrap().unix_millis, left_at);
    assert_eq!(store::last::visit(&bench.server.store, &romeo).unwrap(), Some(left_at));
}

#[test]
fn a_stop_writes_down_who_was_here() {
    let mut bench = Bench::new("");
    let romeo = bench.register();
    bench.session(1);
    bench.now.unix_millis += 5_000;
    bench.input(Input::Terminate);
    assert_eq!(store::last::visit(&bench.server.store, &romeo).unwrap(), Some(bench.now.unix_millis));
}

/// What waited behind older messages was dropped when those could not be read.
#[test]
fn what_waited_behind_older_messages_was_lost_with_the_store() {
    let mut bench = Bench::new("<output-bytes-max>65536</output-bytes-max>");
    let romeo = bench.register();
    let body = "x".repeat(9_000);
    for number in 1..=4 {
        let text = format!("<message xmlns='jabber:client' to='{romeo}' id='m{number}'><body>{body}</body></message>");
        let bounds = store::Bounds { count: 10, bytes: 1_000_000 };
        assert!(store::offline::append(&mut bench.server.store, &romeo, &text, 0, bounds).is_ok());
    }
    let heard = bench.session(1);
    let question = heard.rsplit_once(" id='offline-").unwrap().1.split_once('\'').unwrap().0.to_owned();
    let full = bench.server.router().sessions().of(&romeo).next().unwrap().1.jid().to_string();
    assert_eq!(bench.says(1, &format!("<message to='{full}' id='for-one'><body>b</body></message>")), "");
    store::tests::lose_table(&bench.server.store, "offline");
    let heard = bench.says(1, &format!("<iq type='result' to='xmpp.test' id='offline-{question}'/>"));
    assert!(heard.contains("id='for-one'"), "{heard}");
}

const ADMIN: &str = "<global><acl xmlns='http://jabberd.org/ns/acl'><grant feature='administer'>\
                     <jid>romeo@xmpp.test</jid></grant></acl></global>";

/// A command of XEP-0133, with its answer to a form once it has a session.
fn command(name: &str, answer: Option<(&str, &str)>) -> String {
    let (session, form) = answer.map_or((String::new(), String::new()), |(session, fields)| {
        (format!(" sessionid='{session}'"), format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>"))
    });
    format!(
        "<iq type='set' id='c' to='xmpp.test'><command xmlns='http://jabber.org/protocol/commands' \
         node='http://jabber.org/protocol/admin#{name}'{session}>{form}</command></iq>"
    )
}

fn field(var: &str, value: &str) -> String {
    format!("<field var='{var}'><value>{value}</value></field>")
}

/// The session of a command that asks.
fn command_session(heard: &str) -> String {
    let Some((_, rest)) = heard.split_once("sessionid='") else { panic!("{heard}") };
    rest.split_once('\'').unwrap().0.to_owned()
}

/// Who was taken from the list of admins, or thrown out, while a password was made into keys still added an account.
#[test]
fn who_is_no_admin_any_more_when_the_password_is_ready_adds_nobody() {
    let mut bench = Bench::with("", ADMIN);
    bench.register();
    let tybalt = BareJid::new("tybalt@xmpp.test").unwrap();
    let fields = field("accountjid", tybalt.as_str()) + &field("password", "secret");
    for number in 1..=3 {
        bench.session(number);
    }
    let add = |bench: &mut Bench, number| {
        let session = command_session(&bench.says(number, &command("add-user", None)));
        let heard = bench.says(number, &command("add-user", Some((&session, &fields))));
        assert!(heard.contains("(hash)"), "{heard}");
    };
    // Thrown out by another session.
    add(&mut bench, 1);
    let romeo = BareJid::new("romeo@xmpp.test").unwrap();
    let of_one = |(_, session): &(_, &crate::router::Session)| session.connection() == ConnectionId(1);
    let first = bench.server.router().sessions().of(&romeo).find(of_one).unwrap().1.jid().to_string();
    let session = command_session(&bench.says(2, &command("end-user-session", None)));
    let heard = bench.says(2, &command("end-user-session", Some((&session, &field("accountjids", &first)))));
    assert!(heard.contains("completed") && heard.contains("(close)"), "{heard}");
    let heard = bench.work();
    assert!(!heard.contains("completed"), "{heard}");
    assert!(!account::exists(&bench.server.store, &tybalt).unwrap());
    // The connection died.
    add(&mut bench, 2);
    bench.input(Input::Gone { id: ConnectionId(2), reason: "reset" });
    bench.work();
    // An admin no longer.
    add(&mut bench, 3);
    let others = Bench::new("").server.config.clone();
    bench.input(Input::Reload(others));
    let heard = bench.work();
    assert!(heard.contains("<forbidden"), "{heard}");
    assert!(!account::exists(&bench.server.store, &tybalt).unwrap());
}

/// A broken jabber.xml was answered as if it had been read (XEP-0050 §3.6).
#[test]
fn an_admin_is_told_that_jabber_xml_is_broken() {
    let mut bench = Bench::with("", ADMIN);
    bench.register();
    bench.session(1);
    let reload = command("reload", None).replace("http://jabber.org/protocol/admin", "urn:jabber:config:3");
    let mut told = |what: Reread| {
        assert_eq!(bench.says(1, &reload), "", "nobody knows yet");
        let wish = bench.rereaders.pop().unwrap();
        bench.input(Input::Reread { wish, what })
    };
    let heard = told(Err("jabber.xml:3:5: unexpected end".to_owned()));
    assert!(heard.contains("status='completed'") && heard.contains("<note type='error'>"), "{heard}");
    assert!(heard.contains("jabber.xml:3:5: unexpected end"), "{heard}");
    let heard = told(Ok(vec!["port 5222 stays".to_owned()]));
    assert!(
        heard.contains("<note type='info'>") && heard.contains("<note type='warn'>port 5222 stays</note>"),
        "{heard}"
    );
    assert!(!heard.contains("type='error'"), "{heard}");
    // Even if it switched the commands off.
    assert_eq!(bench.says(1, &reload), "");
    let mut off = Config::clone(bench.server.config());
    for host in &mut off.hosts {
        host.modules.off.insert("mod_commands".into());
    }
    bench.input(Input::Reload(Arc::new(off)));
    let wish = bench.rereaders.pop().unwrap();
    let heard = bench.input(Input::Reread { wish, what: Ok(Vec::new()) });
    assert!(heard.contains("status='completed'") && heard.contains("<note type='info'>"), "{heard}");
    assert!(bench.says(1, &reload).contains("type='error'"));
}

/// Which of the messages `m1`, `m2`... a client hears, in their order.
fn heard_messages(heard: &str) -> Vec<&str> {
    heard.split("<body>").skip(1).filter_map(|rest| Some(rest.split_once("</body>")?.0.trim_end_matches('x'))).collect()
}

impl Bench {
    /// So many messages for romeo wait, of so many bytes each.
    fn wait_for_romeo(&mut self, names: &[&str], bytes: usize) {
        let romeo = BareJid::new("romeo@xmpp.test").unwrap();
        for name in names {
            let text = format!(
                "<message from='a@b/c' to='romeo@xmpp.test' type='chat' xmlns='jabber:client'><body>{name}{}</body>\
                 </message>",
                "x".repeat(bytes)
            );
            let wide = crate::store::Bounds { count: 100, bytes: 1_000_000 };
            let _ = crate::store::offline::append(&mut self.server.store, &romeo, &text, 1, wide).unwrap();
        }
        self.server.commit().unwrap();
    }

    fn waits(&self) -> u64 {
        let romeo = BareJid::new("romeo@xmpp.test").unwrap();
        crate::store::offline::total(&self.server.store, &romeo).unwrap().messages
    }

    fn gone(&mut self, number: u64) -> String {
        self.input(Input::Gone { id: ConnectionId(number), reason: "reset" })
    }

    /// A client answers the last question that it heard.
    fn answers(&mut self, number: u64, heard: &str) -> String {
        self.says(number, &format!("<iq type='result' id='{}' to='xmpp.test'/>", question(heard)))
    }

    /// A client is there for half a minute after all has left for it, and its system has taken all.
    fn stays(&mut self, number: u64) -> String {
        let id = ConnectionId(number);
        let mut heard = self.input(Input::Drained { id });
        self.now.monotonic_millis += 30_000;
        heard += &self.input(Input::Timeout);
        heard + &self.input(Input::Taken { id })
    }
}

/// The id of the last question in what a client heard.
fn question(heard: &str) -> &str {
    let at = heard.rfind("id='offline-").unwrap();
    heard.get(at + 4..).unwrap().split_once('\'').unwrap().0
}

#[test]
fn stored_messages_were_lost_with_a_connection_that_took_none_of_them() {
    let mut bench = Bench::new("");
    bench.register();
    bench.wait_for_romeo(&["m1", "m2", "m3"], 0);
    assert_eq!(heard_messages(&bench.session(1)), ["m1", "m2", "m3"]);
    // The socket took them; who knows what became of them?
    assert_eq!(bench.input(Input::Drained { id: ConnectionId(1) }), "");
    assert_eq!((bench.gone(1).as_str(), bench.waits()), ("", 3));
    // The next one has them, in order, once; with the stamp of the first time.
    let heard = bench.session(2);
    assert_eq!(heard_messages(&heard), ["m1", "m2", "m3"]);
    assert_eq!(heard.matches("stamp='1970-01-01T00:00:00Z'").count(), 3, "{heard}");
    for presence in ["<presence type='unavailable'/>", "<presence/>"] {
        assert_eq!(heard_messages(&bench.says(2, presence)), [""; 0]);
    }
    assert_eq!((bench.stays(2).as_str(), bench.waits()), ("", 0));
    bench.gone(2);
    assert_eq!(heard_messages(&bench.session(3)), [""; 0]);
}

#[test]
fn stored_messages_that_have_not_left_one_session_went_to_another_only_when_it_died() {
    let mut bench = Bench::new("");
    bench.register();
    bench.wait_for_romeo(&["m1", "m2"], 0);
    assert_eq!(heard_messages(&bench.session(1)), ["m1", "m2"]);
    assert_eq!(heard_messages(&bench.session(2)), [""; 0]);
    // What is new overtakes nothing on its way there, and waits for nothing.
    let all = "<message to='romeo@xmpp.test' type='chat'><body>m3</body></message>";
    assert_eq!(heard_messages(&bench.says(2, all)), ["m3", "m3"]);
    assert_eq!(bench.waits(), 2);
    let heard = bench.gone(1);
    assert_eq!(heard_messages(&heard), ["m1", "m2"]);
    assert_eq!((bench.stays(2).as_str(), bench.waits()), ("", 0));
}

#[test]
fn a_piece_of_a_mailbox_was_lost_with_a_connection_that_did_not_answer() {
    let mut bench = Bench::new("<output-bytes-max>65536</output-bytes-max>");
    bench.register();
    bench.wait_for_romeo(&["m1", "m2", "m3", "m4", "m5"], 9000);
    let heard = bench.session(1);
    assert_eq!(heard_messages(&heard), ["m1", "m2"]);
    question(&heard);
    // The second session takes what is not on its way to the first.
    let heard = bench.session(2);
    assert_eq!(heard_messages(&heard), ["m3", "m4"]);
    assert_eq!(bench.waits(), 5);
    // It has read them; the first, which reads nothing, becomes unavailable and available, and dies.
    let heard = bench.answers(2, &heard);
    assert_eq!((heard_messages(&heard), bench.waits()), (vec!["m5"], 3));
    for presence in ["<presence type='unavailable'/>", "<presence/>"] {
        assert_eq!(heard_messages(&bench.says(1, presence)), [""; 0]);
    }
    assert_eq!((bench.stays(2).as_str(), bench.waits()), ("", 2));
    let heard = bench.gone(1);
    assert_eq!(heard_messages(&heard), ["m1", "m2"]);
    let rest = bench.answers(2, &heard);
    assert_eq!((heard_messages(&rest), bench.waits()), (vec![], 0));
}

#[test]
fn who_looks_at_the_messages_itself_does_not_get_those_that_leave_already() {
    let mut bench = Bench::new("");
    bench.register();
    bench.wait_for_romeo(&["m1", "m2"], 0);
    assert_eq!(heard_messages(&bench.session(1)), ["m1", "m2"]);
    let fetch = "<iq type='get' id='f'><offline xmlns='http://jabber.org/protocol/offline'><fetch/></offline></iq>";
    let heard = bench.says(1, fetch);
    assert!(heard_messages(&heard).is_empty() && heard.contains("type='result'"), "{heard}");
    bench.gone(1);
    // What is asked for stays until it is removed, whatever becomes of the connection.
    bench.login(2);
    bench.work();
    bench.says(2, HEADER);
    bench.says(2, "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert_eq!(heard_messages(&bench.says(2, fetch)), ["m1", "m2"]);
    bench.says(2, "</stream:stream>");
    assert_eq!(bench.waits(), 2);
}
