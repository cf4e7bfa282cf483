use super::*;
use crate::import::{Counts, Fault, Format, Progress, Step, import};
use crate::store::account::{LegacyHash, ScramHash, ScramKeys};
use crate::store::directory::State;
use crate::store::roster::{self, RosterItem, Subscription};
use crate::store::tests::contents;
use crate::store::{Bounds, directory, imported, last, meta, offline, privacy, private, registration, vcard};
use crate::xmpp::Jid;
use crate::xmpp::directory::Entry;
use std::fs;
use std::ops::ControlFlow;

const NOW: u64 = 1_795_392_000_123;

/// Keys that show the password.
struct Shown;

impl Passwords for Shown {
    fn derive(&self, password: &str, of_many: bool) -> Result<Credentials, String> {
        if password == "none" {
            return Err("no password".to_owned());
        }
        let hashes: &[ScramHash] = if of_many { &ScramHash::ALL[..2] } else { &ScramHash::ALL };
        let keys = |&hash| keys(hash, password.len() as u8);
        Ok(Credentials { scram: hashes.iter().map(keys).collect(), legacy: None })
    }
    fn can_check(&self, hash: &str) -> bool {
        hash.starts_with("{SHA}")
    }
}

fn keys(hash: ScramHash, byte: u8) -> ScramKeys {
    let length = match hash {
        ScramHash::Sha1 => 20,
        ScramHash::Sha256 => 32,
        ScramHash::Sha512 => 64,
    };
    let (stored_key, server_key) = (vec![byte; length], vec![byte ^ 255; length]);
    ScramKeys {
        hash,
        iterations: 4_096 + u32::from(byte),
        salt: vec![byte; 8 + usize::from(byte % 30)],
        stored_key,
        server_key,
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let directory = std::env::temp_dir().join(format!("jabberd-portable-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        Scratch(directory)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn plan(file: &Path, hosts: &[&str]) -> Plan {
    Plan {
        from: vec![file.to_owned()],
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        components: Vec::new(),
        directories: Vec::new(),
        now_unix_millis: NOW,
        threads: 3,
        accounts_per_commit: 2,
        keeps_plain_passwords: false,
        tells_again: false,
    }
}

fn import_into(store: &mut Store, file: &Path, hosts: &[&str]) -> (Imported, String) {
    let mut report = Vec::new();
    let on = &mut |_| ControlFlow::Continue(());
    let imported = import(Format::Portable, store, None, &plan(file, hosts), &Shown, &mut report, on).unwrap();
    (imported, String::from_utf8(report).unwrap())
}

fn imported(file: &Path, hosts: &[&str]) -> (Store, Imported, String) {
    let mut store = Store::in_memory().unwrap();
    let (imported, report) = import_into(&mut store, file, hosts);
    (store, imported, report)
}

fn exported(store: &Store) -> String {
    let mut out = Vec::new();
    export(store, None, &mut out, &mut |_| ControlFlow::Continue(())).unwrap();
    String::from_utf8(out).unwrap()
}

/// Do they hold the same? If not, the first difference is told, not all that they hold.
fn same(one: &Store, other: &Store, about: &str) {
    let (one, other) = (contents(one), contents(other));
    let differs = one.iter().zip(&other).find(|(one, other)| one != other);
    assert!(
        differs.is_none() && one.len() == other.len(),
        "{about}\n{} and {} rows: {differs:#?}",
        one.len(),
        other.len()
    );
}

fn document(users: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='urn:xmpp:pie:0'><host jid='h'>\n{users}\n</host></server-data>"
    )
}

fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

/// Numbers that repeat.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next(from.len())]
    }
}

/// A store with a bit of everything.
fn some_store(dice: &mut Dice) -> Store {
    const TEXTS: &[&str] =
        &["", "x", "Räume & <Zäune>", "\"quoted\" 'twice'", "]]>", "  spaces\n and\tlines ", "日本語", "&#38;"];
    let bounds = Bounds { count: 1_000, bytes: 1 << 20 };
    let mut store = Store::in_memory().unwrap();
    for number in 0..=dice.next(6) {
        let name = dice.pick(&["a", "jörg", "d\\27artagnan", "x.y", "1"]);
        let account = jid(&format!("{name}{number}@{}", dice.pick(&["h", "example.org", "bücher.example"])));
        let scram =
            ScramHash::ALL.into_iter().filter(|_| dice.0 % 3 != 1).map(|hash| keys(hash, number as u8 + 1)).collect();
        let legacy = (dice.next(3) == 0).then(|| LegacyHash { kind: "crypt".to_owned(), value: "{SHA}x&y".to_owned() });
        account::create(&mut store, &account, &Credentials { scram, legacy }, 1_000 + number as u64).unwrap();
        account::set_disabled(&mut store, &account, dice.next(4) == 0).unwrap();
        for contact in 0..dice.next(5) {
            let jid = Jid::new(&format!("{contact}{}", dice.pick(&["@h", "@h/full", ".example.net"]))).unwrap();
            let mut item = RosterItem::new(jid.clone());
            let (to, from) = (dice.next(2) == 0, dice.next(2) == 0);
            item.subscription = Subscription::of(to, from);
            item.ask = !to && dice.next(2) == 0;
            item.approved = dice.next(3) == 0;
            item.visible = dice.next(3) != 0;
            item.name = dice.pick(TEXTS).to_owned();
            item.groups = TEXTS[1..].iter().take(dice.next(4)).map(|&text| text.to_owned()).collect();
            if !from && dice.next(2) == 0 {
                let from = jid::contact(&jid);
                if from == jid {
                    item.pending_in = Some(format!(
                        "<presence xmlns='jabber:client' type='subscribe' from='{from}' to='{account}'><status>please</status></presence>"
                    ));
                }
            }
            roster::upsert(&mut store, &account, &item).unwrap();
        }
        for _ in 0..dice.next(3) {
            let body = Element::new("body", "jabber:client").with_text(dice.pick(TEXTS).to_owned());
            let element =
                Element::new("message", "jabber:client").with_attribute("from", "a@elsewhere/x").with_child(body);
            let delay = Element::new("delay", "urn:xmpp:delay")
                .with_attribute("from", "elsewhere")
                .with_attribute("stamp", "2020-01-01T00:00:00Z");
            let text = element.with_child(delay).to_string();
            let _ = offline::append(&mut store, &account, &text, 1_700_000_000_000 + dice.next(10_000) as u64, bounds)
                .unwrap();
        }
        if dice.next(2) == 0 {
            let card = Element::new("vCard", "vcard-temp")
                .with_child(Element::new("FN", "vcard-temp").with_text(dice.pick(TEXTS).to_owned()));
            vcard::set(&mut store, &account, &card.to_string()).unwrap();
            let _ = private::set(
                &mut store,
                &account,
                "s",
                "storage:x",
                "<s xmlns='storage:x'><u xmlns='urn:xmpp:pie:0'/></s>",
                bounds,
            )
            .unwrap();
            let state = [State::Card, State::Registered, State::Withdrawn][dice.next(3)];
            if state != State::Card {
                let entry = Entry { nick: "Romeo".to_owned(), ..Entry::default() };
                directory::set(&mut store, &account, state, &entry).unwrap();
            }
            let status = dice.pick(TEXTS).to_owned();
            last::set(&mut store, &account, &last::Last { unix_millis: 1_234_567_890_123, status }).unwrap();
        }
        if dice.next(3) == 0 {
            registration::set(&mut store, &account, "<query xmlns='jabber:iq:register'><email>a@b</email></query>")
                .unwrap();
            for (number, name) in dice.pick(&["a", "a b", ""]).split(' ').filter(|name| !name.is_empty()).enumerate() {
                let item = "<item type='jid' value='foe@x' action='deny' order='7'/>";
                let list = format!("<list xmlns='jabber:iq:privacy' name='{name}'>{item}</list>");
                let _ = privacy::set(&mut store, &account, name, &list, bounds).unwrap();
                if number == 1 {
                    privacy::set_default(&mut store, &account, Some(name)).unwrap();
                }
            }
            let rules = "<query xmlns='jabber:iq:filter'><rule><from>foe@x</from><error/></rule></query>";
            let _ = privacy::set_filter(&mut store, &account, Some(rules), 1_000).unwrap();
            for (ns, name) in [(PUBSUB, "pubsub"), (ARCHIVE, "archive")] {
                imported::set(&mut store, &account, ns, &format!("<{name} xmlns='{ns}'><x y='1'/></{name}>")).unwrap();
            }
        }
    }
    store
}

#[test]
fn out_and_in_again_gives_the_same_store() {
    let scratch = Scratch::new("same");
    let mut dice = Dice(7);
    for round in 0..60 {
        let store = some_store(&mut dice);
        let text = exported(&store);
        let file = scratch.file("all.xml", &text);
        let (copy, imported, report) = imported(&file, &["h", "example.org", "bücher.example"]);
        same(&copy, &store, &format!("round {round}: {report}"));
        assert!(exported(&copy) == text, "round {round}");
        assert_eq!(imported.counts.pieces_left, imported.counts.without_password, "{report}");
    }
}

#[test]
fn what_old_spools_hold_goes_through_it_unchanged() {
    let scratch = Scratch::new("spools");
    for spool in ["1.4.3-flat", "1.4.4-hashed", "1.6-flat", "hand-written"] {
        let mut store = Store::in_memory().unwrap();
        let hosts = ["xmpp.test", "example.org", "second.test", "localhost"];
        let plan = Plan {
            from: vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spool").join(spool)],
            hosts: hosts.map(str::to_owned).to_vec(),
            components: Vec::new(),
            directories: Vec::new(),
            now_unix_millis: NOW,
            threads: 1,
            accounts_per_commit: 100,
            keeps_plain_passwords: false,
            tells_again: false,
        };
        let on = &mut |_| ControlFlow::Continue(());
        let read = import(Format::Jabberd14, &mut store, None, &plan, &Shown, &mut io::sink(), on).unwrap();
        assert!(read.counts.accounts > 0, "{spool}");
        let file = scratch.file("all.xml", exported(&store));
        let (copy, _, report) = imported(&file, &hosts);
        same(&copy, &store, &format!("{spool} {report}"));
    }
}

/// XEP-0227 §4 and §5, example by example.
#[test]
fn the_examples_of_the_xep() {
    let scratch = Scratch::new("xep");
    let main = scratch.file(
        "main.xml",
        "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'>\n  <xi:include href='capulet.com.xml'/>\n  <xi:include href='montague.net.xml'/></server-data>",
    );
    scratch.file(
        "capulet.com.xml",
        "<?xml version='1.0' encoding='UTF-8'?>\n<host xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude' jid='capulet.com'><xi:include href='capulet.com/juliet.xml'/><xi:include href='capulet.com/merc%75tio.xml'/></host>",
    );
    scratch.file(
        "capulet.com/juliet.xml",
        "<?xml version='1.0' encoding='UTF-8'?>\n<user xmlns='urn:xmpp:pie:0' name='juliet'>
  <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>100000</iter-count><salt>TmFDbE5hQ2xOYUNsTmFDbE5hQ2xOYUNsTmFDbE5hQ2xOYUNsTmFDbE5hQ2wK</salt><server-key>0pXWGK0GZJ6TR73AIUN3ITYtA1g=</server-key><stored-key>Q6qT/SbybblGCZz8e8eSfCJOQic=</stored-key></scram-credentials>
  <query xmlns='jabber:iq:roster'><item jid='romeo@montague.net' name='Romeo' subscription='both'><group>Friends</group></item></query>
  <offline-messages><message xmlns='jabber:client' from='romeo@montague.net/orchard' to='juliet@capulet.com/balcony' type='chat'><body>Neither, fair saint, if either thee dislike.</body><delay xmlns='urn:xmpp:delay' from='capulet.com' stamp='2010-07-21T00:32:29Z'>Offline Storage</delay></message></offline-messages>
  <query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus></query>
  <vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN></vCard>
  <query xmlns='jabber:iq:privacy'><default name='public'/><list name='public'><item type='jid' value='tybalt@example.com' action='deny' order='1'/><item action='allow' order='2'/></list></query>
  <presence xmlns='jabber:client' type='subscribe' id='xk3h1v69' from='paris@montague.net'><nick xmlns='http://jabber.org/protocol/nick'>Paris</nick></presence>
  <presence xmlns='jabber:client' type='subscribe' from='mercutio@montague.net'/>
  <pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='n'/></pubsub>
  <pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'><item id='current'/></items></pubsub>
  <archive xmlns='urn:xmpp:pie:0#mam'/>
  <future xmlns='urn:xmpp:future'/>
</user>",
    );
    scratch.file("capulet.com/mercutio.xml", "<user xmlns='urn:xmpp:pie:0' name='Mercutio' password='tail'/>");
    scratch.file(
        "montague.net.xml",
        "<p:host xmlns:p='urn:xmpp:pie:0' jid='MONTAGUE.net'><p:user name='romeo'><i:include xmlns:i='http://www.w3.org/2001/XInclude' href='roster.xml'/></p:user></p:host>",
    );
    scratch.file(
        "roster.xml",
        "<query xmlns='jabber:iq:roster'><item jid='juliet@capulet.com' subscription='to' ask='subscribe'/></query>",
    );
    let (store, imported, report) = imported(&main, &["capulet.com", "montague.net"]);
    let counts = imported.counts;
    let found = (
        counts.accounts,
        counts.contacts,
        counts.requests,
        counts.messages,
        counts.vcards,
        counts.private,
        counts.rules,
        counts.kept,
    );
    assert_eq!(found, (3, 2, 2, 1, 1, 1, 1, 3), "{report}");
    assert_eq!(privacy::names(&store, &jid("juliet@capulet.com")).unwrap(), [("public".to_owned(), true)]);
    assert!(report.contains("<future> in \"urn:xmpp:future\": nothing here knows"), "{report}");
    let juliet = jid("juliet@capulet.com");
    let keys = account::credentials(&store, &juliet).unwrap().unwrap();
    assert_eq!((keys.scram.len(), keys.scram[0].iterations, keys.scram[0].salt.len()), (1, 100_000, 45));
    assert_eq!(account::common_hashes(&store, "capulet.com").unwrap(), [ScramHash::Sha1]);
    let message = &offline::fetch(&store, &juliet, 0, 10).unwrap()[0];
    assert_eq!(message.received_unix_millis, 1_279_672_349_000);
    assert!(!message.stanza.contains("delay"), "{}", message.stanza);
    let waiting = roster::pending_in(&store, &juliet).unwrap();
    assert!(
        waiting.iter().any(|(from, text)| from.as_str() == "paris@montague.net" && text.contains("nick")),
        "{waiting:?}"
    );
    assert!(account::exists(&store, &jid("mercutio@capulet.com")).unwrap());
    let item = &roster::items(&store, &jid("romeo@montague.net")).unwrap()[0];
    assert_eq!((item.subscription, item.ask), (Subscription::To, false));
}

#[test]
fn broken_parts_cost_only_themselves() {
    let scratch = Scratch::new("broken");
    for (broken, reserved) in [
        ("<user name='x'><vCard xmlns='vcard-temp'></user>", true),
        ("<user name='x'><vCard xmlns='vcard-temp'/>", true),
        ("<user name='x'></vCard></user>", true),
        ("<user name='x' name='y'/>", false),
        ("<user name='x'>&unknown;</user>", true),
        ("<user name='x'><p:a/></user>", true),
        ("<user name='x'>\u{1}</user>", true),
        ("<user name='a/b'/>", false),
        ("<user/>", false),
        ("<user name=''/>", false),
        ("<usr name='x'/>", false),
        ("text & more", false),
        ("<user name='x' xmlns='other'/>", false),
    ] {
        let text = document(&format!("<user name='first' password='p'/>{broken}<user name='last' password='p'/>"));
        let (store, imported, report) = imported(&scratch.file("a.xml", text), &["h"]);
        let there = |name: &str| account::exists(&store, &jid(name)).unwrap();
        assert!(there("first@h") && there("last@h") && !there("x@h"), "{broken}: {report}");
        assert_eq!(imported.counts.accounts, 2, "{report}");
        assert_eq!(account::is_reserved(&store, &jid("x@h")).unwrap(), reserved, "{broken}: {report}");
    }
}

#[test]
fn broken_pieces_of_a_user_cost_only_themselves() {
    let scratch = Scratch::new("pieces");
    let users = "<user name='a' password='none'>
        <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-3'/>
        <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>4096</iter-count><salt>AAAA</salt><server-key>AAAA</server-key><stored-key>AAAA</stored-key></scram-credentials>
        <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>1</iter-count><salt>AAAA</salt><server-key>0pXWGK0GZJ6TR73AIUN3ITYtA1g=</server-key><stored-key>Q6qT/SbybblGCZz8e8eSfCJOQic=</stored-key></scram-credentials>
        <query xmlns='jabber:iq:roster'><item jid='@@'/><item jid='a@h' subscription='both'/><item jid='b@h' subscription='remove'/><item jid='c@h' subscription='from'/><item jid='c@h'/><group/></query>
        <query xmlns='jabber:iq:roster'><item jid='d@h'/></query>
        <offline-messages><presence xmlns='jabber:client'/><message xmlns='jabber:client' from='@'/><message xmlns='jabber:client' from='b@h'><body>hi</body></message></offline-messages>
        <query xmlns='jabber:iq:private'><a/><b xmlns='jabber:x'/><c xmlns='c'/><c xmlns='c'/></query>
        <presence xmlns='jabber:client' type='subscribe'/><presence xmlns='jabber:client' from='c@h'/><presence xmlns='jabber:client' type='subscribe' from='c@h/r'/>
        <query xmlns='jabber:iq:last' last='yesterday'/>
        <xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='../../../etc/passwd'/>
        <xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>
        <xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='file:///etc/passwd'/>
        <xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='%2e%2e/x'/>
        <xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='x.xml' parse='text'/>
        <xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='missing.xml'/>
    </user>";
    let (store, imported, report) = imported(&scratch.file("a.xml", document(users)), &["h"]);
    let counts = imported.counts;
    assert_eq!((counts.accounts, counts.contacts, counts.messages, counts.private), (1, 1, 1, 1), "{report}");
    assert_eq!((counts.pieces_left, counts.without_password), (24, 1), "{report}");
    assert_eq!(roster::items(&store, &jid("a@h")).unwrap().len(), 1);
    assert_eq!(account::credentials(&store, &jid("a@h")).unwrap(), Some(Credentials::default()));
}

#[test]
fn accounts_that_are_here_stay_and_hosts_that_are_not_are_told() {
    let scratch = Scratch::new("here");
    let text = "<server-data xmlns='urn:xmpp:pie:0'><host jid='other'><user name='x'/><user name='y'/></host><host jid='empty'/><junk/><host jid='h'><user name='a' password='new'><vCard xmlns='vcard-temp'/></user><user name='b' password='1'/><user name='B' password='22'/><user name='gone' password='1'/></host></server-data>";
    let file = scratch.file("a.xml", text);
    let mut store = Store::in_memory().unwrap();
    account::create(&mut store, &jid("a@h"), &Credentials::default(), 1).unwrap();
    account::create(&mut store, &jid("gone@h"), &Credentials::default(), 1).unwrap();
    account::remove(&mut store, &jid("gone@h"), NOW * 2).unwrap();
    store.commit().unwrap();
    let (imported, report) = import_into(&mut store, &file, &["h"]);
    assert_eq!((imported.counts.accounts, imported.counts.already_here), (1, 3), "{report}");
    assert_eq!(vcard::of(&store, &jid("a@h")).unwrap(), None);
    assert_eq!(imported.remedies.len(), 1, "{:?}", imported.remedies);
    assert!(imported.remedies[0].contains("2 users of \"other\", which is not served"), "{:?}", imported.remedies);
    let (again, _) = import_into(&mut store, &file, &["h"]);
    assert_eq!((again.counts.accounts, again.counts.already_here), (0, 4));
    // One host of it.
    let mut out = Vec::new();
    export(&store, Some("nowhere"), &mut out, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(!String::from_utf8(out).unwrap().contains("<host"));
}

#[test]
fn a_document_cut_anywhere_gives_what_came_before_and_the_rest_later() {
    let scratch = Scratch::new("cut");
    let whole = exported(&some_store(&mut Dice(21)));
    let hosts = ["h", "example.org", "bücher.example"];
    let (expected, _, _) = imported(&scratch.file("whole.xml", &whole), &hosts);
    let expected = contents(&expected);
    for at in (0..whole.len()).step_by(397).filter(|&at| whole.is_char_boundary(at)) {
        let (mut store, imported, report) = imported(&scratch.file("cut.xml", &whole.as_bytes()[..at]), &hosts);
        assert!(!imported.remedies.is_empty() || imported.counts.files_left > 0, "{at}: {report}");
        assert!(contents(&store).iter().all(|line| expected.contains(line)), "{at}");
        import_into(&mut store, &scratch.0.join("whole.xml"), &hosts);
        assert_eq!(contents(&store), expected, "cut at {at}");
    }
}

#[test]
fn an_import_that_is_stopped_goes_on() {
    let scratch = Scratch::new("stop");
    let users: String = (0..100).map(|n| format!("<user name='u{n}' password='p{n}'/>")).collect();
    let file = scratch.file("a.xml", document(&users));
    let mut store = Store::in_memory().unwrap();
    let mut stops = 0;
    loop {
        let mut seen = 0;
        let mut stop = |progress: Progress| {
            assert!(progress.done <= progress.all);
            seen += 1;
            if seen > 30 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let before = account::count(&store, "h").unwrap();
        let imported =
            import(Format::Portable, &mut store, None, &plan(&file, &["h"]), &Shown, &mut io::sink(), &mut stop)
                .unwrap();
        store.crash();
        let after = account::count(&store, "h").unwrap();
        stops += 1;
        if !imported.stopped || stops > 5 {
            break;
        }
        assert!(after >= before);
    }
    import_into(&mut store, &file, &["h"]);
    assert_eq!(account::count(&store, "h").unwrap(), 100);
}

/// Documents that Prosody 0.12 and ejabberd 23.01 wrote; tests/interop logs in to what becomes of them.
#[test]
fn documents_of_other_servers() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xep0227");
    for (path, iterations, salt, contacts) in [("prosody", 10_000, 36, 0), ("ejabberd/main.xml", 4_096, 16, 1)] {
        let (store, imported, report) = imported(&fixtures.join(path), &["localhost"]);
        assert_eq!((imported.counts.accounts, imported.counts.contacts), (1, contacts), "{report}");
        assert_eq!((imported.counts.pieces_left, imported.remedies.len()), (0, 0), "{report}");
        let keys = account::credentials(&store, &jid("romeo@localhost")).unwrap().unwrap().scram;
        assert_eq!((keys[0].hash, keys[0].iterations, keys[0].salt.len()), (ScramHash::Sha1, iterations, salt));
        assert_eq!((keys[0].stored_key.len(), keys[0].server_key.len()), (20, 20));
    }
}

#[test]
fn whoever_relies_on_an_import_that_is_not_whole_is_told() {
    let scratch = Scratch::new("fault");
    let in_host = |host: &str, inside: &str| format!("<host jid='{host}'>{inside}</host>");
    let server = |inside: String| format!("<server-data xmlns='urn:xmpp:pie:0'>{inside}</server-data>");
    let users = "<user name='a' password='1'/><user name='b' password='2'/>";
    let include = "<i:include xmlns:i='http://www.w3.org/2001/XInclude' href='none.xml'/>";
    // What comes, what is left and what is not read; the fault at the first time, and at the second.
    let rows = [
        (server(in_host("h", users)), (2, 0, 0), None, None),
        (server(in_host("h", "")), (0, 0, 0), None, None),
        (server(in_host("other", users)), (0, 2, 0), Some(Fault::NotServed), Some(Fault::NotServed)),
        // Some came, which may be all that is wanted; the second time there is nothing but what is left.
        (server(in_host("h", users) + &in_host("other", users)), (2, 2, 0), None, Some(Fault::NotServed)),
        (server("<junk/>".to_owned()), (0, 0, 0), Some(Fault::AllLeft), Some(Fault::AllLeft)),
        (
            server(in_host("h", &format!("{users}<user name='c'><"))),
            (2, 0, 1),
            Some(Fault::Unread),
            Some(Fault::Unread),
        ),
        (server(in_host("h", "<user name='a'>&no;</user>")), (0, 0, 1), Some(Fault::Unread), Some(Fault::Unread)),
        (server(in_host("h", &format!("{users}{include}"))), (2, 0, 1), Some(Fault::Unread), Some(Fault::Unread)),
        (
            server(in_host("h", &format!("<user name='d'>{include}</user>"))),
            (1, 2, 1),
            Some(Fault::Unread),
            Some(Fault::Unread),
        ),
    ];
    for (text, counts, first, second) in rows {
        let file = scratch.file("a.xml", &text);
        let mut store = Store::in_memory().unwrap();
        let (imported, report) = import_into(&mut store, &file, &["h"]);
        let found = imported.counts;
        assert_eq!((found.accounts, found.pieces_left, found.unread.min(1)), counts, "{text}\n{report}");
        assert_eq!(imported.fault(), first, "{text}\n{report}");
        assert_eq!(import_into(&mut store, &file, &["h"]).0.fault(), second, "{text}");
    }
    // One end of a file is one thing to be told.
    let cut = format!("<server-data xmlns='urn:xmpp:pie:0'><host jid='h'>{users}");
    let (_, found, _) = imported(&scratch.file("a.xml", cut), &["h"]);
    assert_eq!((found.counts.accounts, found.counts.unread, found.remedies.len()), (2, 1, 1), "{:?}", found.remedies);
    // The terminal has an end, too.
    for n in 0..120 {
        scratch.file(&format!("many/{n}.xml"), "no XML");
    }
    let (_, many, _) = imported(&scratch.0.join("many"), &["h"]);
    assert_eq!((many.counts.unread, many.remedies.len()), (120, 101));
    assert_eq!(many.remedies[100], "20 more: see the report");
    fs::create_dir(scratch.0.join("empty")).unwrap();
    assert_eq!(imported(&scratch.0.join("empty"), &["h"]).1.fault(), Some(Fault::Unread));
}

#[test]
fn a_copy_is_made_when_something_comes_in_and_not_before() {
    let scratch = Scratch::new("copies");
    let mut store = Store::open(&scratch.0.join("jabber.db")).unwrap();
    account::create(&mut store, &jid("old@h"), &Credentials::default(), 1).unwrap();
    // More than is copied in one step.
    meta::set(&mut store, "large", &vec![7; 4 << 20]).unwrap();
    store.commit().unwrap();
    let copies = || fs::read_dir(scratch.0.join("backup")).map_or(0, Iterator::count);
    for text in ["no XML".to_owned(), document("<user name='old'/>"), document("<user name='x'>&no;</user>")] {
        import_into(&mut store, &scratch.file("a.xml", &text), &["h"]);
        assert_eq!(copies(), 0, "{text}");
    }
    let file = scratch.file("a.xml", document("<user name='a' password='1'/><user name='b' password='2'/>"));
    // It is stopped as soon as it tells of the copy.
    let (mut steps, mut report) = (Vec::new(), Vec::new());
    let mut stop = |progress: Progress| {
        steps.push(progress.step);
        ControlFlow::Break(())
    };
    let plan = plan(&file, &["h"]);
    let stopped = import(Format::Portable, &mut store, None, &plan, &Shown, &mut report, &mut stop).unwrap();
    assert!(stopped.stopped && copies() == 0 && steps == [Step::Copying], "{steps:?}");
    let (imported, report) = import_into(&mut store, &file, &["h"]);
    assert_eq!((imported.counts.accounts, copies()), (2, 1), "{report}");
    assert!(report.contains("The database as it was before is /"), "{report}");
    import_into(&mut store, &file, &["h"]);
    assert_eq!(copies(), 1);
}

#[test]
fn a_directory_of_documents_is_read_whole() {
    let scratch = Scratch::new("directory");
    for name in ["a", "b"] {
        scratch.file(&format!("h/{name}.xml"), document(&format!("<user name='{name}' password='p'/>")));
    }
    scratch.file("h/notes.txt", "mine");
    scratch.file("h/c.xml", "broken");
    let (store, imported, report) = imported(&scratch.0, &["h"]);
    assert_eq!((account::count(&store, "h").unwrap(), imported.remedies.len()), (2, 1), "{report}");
}

#[test]
fn what_is_no_document_is_refused_whole() {
    let scratch = Scratch::new("no");
    let bomb = format!("<!DOCTYPE a [{}]><server-data xmlns='urn:xmpp:pie:0'/>", "<!ENTITY a 'aaaaaaaaaa'>".repeat(10));
    for text in ["", "nothing", "<server-data/>", "<xdb/>", &bomb, "<server-data xmlns='urn:xmpp:pie:0'", "\u{feff}"] {
        let (_, imported, report) = imported(&scratch.file("a.xml", text), &["h"]);
        assert_eq!(imported.counts, Counts { unread: 1, ..Counts::default() }, "{report}");
        assert_eq!(imported.remedies.len(), 1, "{text}");
        assert_eq!(imported.fault(), Some(Fault::Unread), "{text}");
    }
    let (_, missing, _) = imported(&scratch.0.join("missing.xml"), &["h"]);
    assert!(missing.remedies[0].contains("No such file"));
    let pipe = scratch.0.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let (_, pipe, _) = imported(&pipe, &["h"]);
    assert!(pipe.remedies[0].contains("not a file"));
    // Latin-1, as it says itself or not.
    for text in [
        b"<?xml version='1.0' encoding='ISO-8859-1'?><server-data xmlns='urn:xmpp:pie:0'/>".to_vec(),
        [b"<server-data xmlns='urn:xmpp:pie:0' x='".to_vec(), vec![0xE4], b"'><a/></server-data>".to_vec()].concat(),
    ] {
        let (_, imported, _) = imported(&scratch.file("a.xml", text), &["h"]);
        assert!(imported.remedies[0].contains("UTF-8"), "{:?}", imported.remedies);
    }
    let latin = [document("<user name='a'/>").into_bytes(), Vec::new()].concat();
    let latin = String::from_utf8(latin).unwrap().replace(
        "<user name='a'/>",
        "<user name='a'><vCard xmlns='vcard-temp'><FN>X</FN></vCard></user><user name='b'/>",
    );
    let mut bytes = latin.into_bytes();
    let at = bytes.iter().position(|&byte| byte == b'X').unwrap();
    bytes[at] = 0xE4;
    let (store, _, report) = imported(&scratch.file("a.xml", bytes), &["h"]);
    assert!(report.contains("not UTF-8") && account::exists(&store, &jid("b@h")).unwrap(), "{report}");
    assert!(account::is_reserved(&store, &jid("a@h")).unwrap());
}
