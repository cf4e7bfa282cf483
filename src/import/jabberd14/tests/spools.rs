//! What the old servers wrote, field by field.

use super::*;
use crate::store::component_data::{self, Key};
use crate::store::directory::{self, State};
use crate::store::roster::{RosterItem, Subscription};
use crate::store::{last, offline, privacy, private, registration, roster, vcard};
use crate::xml;
use crate::xmpp::directory::{Entry, Field};
use crate::xmpp::{Jid, ns};

const PASSWORDS: &[(&str, &str)] = &[
    ("juliet", "r0m30"),
    ("romeo", "m0ntague"),
    ("nurse", "angelica"),
    ("admin", "adminpw"),
    ("support", "supportpw"),
    ("benvolio", "b3nv"),
    ("mercutio", "queenmab"),
    ("paris", "c0unt&<>'\""),
    ("o-k_1.x+y=z", "odd"),
    ("robot", "robotpw"),
    ("tybalt", "prince0fcats"),
];

fn item(jid: &str) -> RosterItem {
    RosterItem::new(Jid::new(jid).unwrap())
}

fn messages(store: &Store, account: &str) -> Vec<(String, u64)> {
    let messages = offline::fetch(store, &jid(account), 0, 100).unwrap();
    messages.into_iter().map(|message| (message.stanza, message.received_unix_millis)).collect()
}

#[test]
fn accounts_of_all_three_versions_have_their_passwords() {
    for (spool, has_joerg) in [("1.4.3-flat", true), ("1.4.4-hashed", true), ("1.6-flat", false)] {
        let (store, imported, report) = super::imported(&fixture(spool));
        for (name, expected) in PASSWORDS {
            assert_eq!(password(&store, &format!("{name}@xmpp.test")).as_deref(), Some(*expected), "{spool} {name}");
        }
        assert_eq!(password(&store, "jörg@xmpp.test").as_deref(), has_joerg.then_some("pässwörd"), "{spool}");
        // Unregistered, but for its last activity.
        assert_eq!(password(&store, "doomed@xmpp.test"), None);
        assert!(report.contains("doomed.xml: no password"), "{report}");
        assert_eq!(imported.counts.accounts, PASSWORDS.len() as u64 + u64::from(has_joerg), "{spool}");
        assert_eq!((imported.counts.old_hashes, imported.counts.without_password), (0, 0));
        // No password reaches the report.
        for (_, password) in PASSWORDS.iter().filter(|(_, password)| password.len() > 4) {
            assert!(!report.contains(password), "{report}");
        }
    }
}

#[test]
fn juliet_has_her_contacts() {
    for spool in ["1.4.3-flat", "1.4.4-hashed", "1.6-flat"] {
        let (store, _, _) = super::imported(&fixture(spool));
        let items = roster::items(&store, &jid("juliet@xmpp.test")).unwrap();
        let nurse = RosterItem {
            name: "Nurse & friend".to_owned(),
            ask: true,
            groups: vec!["Household".to_owned(), "Friends".to_owned()],
            ..item("nurse@xmpp.test")
        };
        let romeo = RosterItem {
            name: "My Romeo".to_owned(),
            subscription: Subscription::Both,
            groups: vec!["Friends".to_owned(), "Lovers".to_owned()],
            ..item("romeo@xmpp.test")
        };
        let expected = [
            RosterItem { name: "ICQ".to_owned(), ..item("icq.xmpp.test") },
            item("nobody@xmpp.test"),
            nurse,
            romeo,
            item("tybalt@elsewhere.example/Home"),
        ];
        for item in expected {
            assert!(items.contains(&item), "{spool}: {item:?} in {items:?}");
        }
        assert_eq!(items.len(), 7, "{spool}");
        let pending = roster::pending_in(&store, &jid("nurse@xmpp.test")).unwrap();
        let (who, request) = pending.first().unwrap();
        assert_eq!(who.as_str(), "juliet@xmpp.test");
        assert!(request.contains("<status>hello</status>") && request.contains("to='nurse@xmpp.test'"), "{request}");
        let visible = roster::items(&store, &jid("nurse@xmpp.test")).unwrap();
        assert!(visible.iter().all(|item| !item.visible), "{visible:?}");
    }
}

#[test]
fn messages_wait_in_order_with_their_times() {
    for (spool, millis) in
        [("1.4.3-flat", 1_795_333_724_000), ("1.4.4-hashed", 1_795_333_738_000), ("1.6-flat", 1_795_333_751_000)]
    {
        let (store, _, _) = super::imported(&fixture(spool));
        let found = messages(&store, "nurse@xmpp.test");
        assert_eq!(found.len(), 3, "{spool}");
        assert_eq!(
            found[0].0,
            "<message xmlns='jabber:client' id='n1' type='chat' from='romeo@xmpp.test/orchard' \
             to='nurse@xmpp.test'><body>first &lt;offline&gt; &amp; only</body><thread>th1</thread></message>",
            "{spool}"
        );
        assert_eq!(found[0].1, millis, "{spool}");
        assert!(found[1].0.contains("<body>zweite Nachricht: äöü €</body><x xmlns='jabber:x:oob'><url>"), "{spool}");
        assert!(!found[1].0.contains("jabber:x:delay") && found[1].0.contains("to='nurse@xmpp.test/kitchen'"));
        assert!(found[2].0.contains("<x xmlns='jabber:x:expire' seconds='86400'/>"), "{}", found[2].0);
        assert_eq!(messages(&store, "juliet@xmpp.test").len(), 1, "{spool}");
    }
}

/// jabberd 1.4 kept what clients of its time called a card.
#[test]
fn a_card_by_another_name_is_a_card() {
    let scratch = Scratch::new("cards");
    for (name, card) in [
        ("a", "<VCARD xmlns='vcard-temp' xdbns='vcard-temp' version='2.0'><FN>A</FN></VCARD>"),
        ("b", "<vcard xdbns='vcard-temp'><FN>A</FN></vcard>"),
        ("c", "<query xmlns='vcard-temp' xdbns='vcard-temp'><FN>A</FN></query>"),
    ] {
        scratch.write(
            &format!("example.org/{name}.xml"),
            format!("<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'>secret</password>{card}</xdb>"),
        );
    }
    let (store, _, report) = super::imported(&scratch.0);
    for name in ["a", "b", "c"] {
        let card = vcard::of(&store, &jid(&format!("{name}@example.org"))).unwrap().unwrap_or_default();
        assert!(
            card.starts_with("<vCard xmlns='vcard-temp'") && card.contains("<FN>A</FN></vCard>"),
            "{card} {report}"
        );
    }
}

#[test]
fn private_data_cards_forms_and_times_arrive() {
    for (spool, last) in [("1.4.3-flat", 1_795_333_727), ("1.4.4-hashed", 1_795_333_741), ("1.6-flat", 0)] {
        let (store, imported, report) = super::imported(&fixture(spool));
        let juliet = jid("juliet@xmpp.test");
        let bookmarks = private::element(&store, &juliet, "storage", "storage:bookmarks").unwrap().unwrap();
        assert_eq!(
            bookmarks,
            "<storage xmlns='storage:bookmarks'><conference name='Verona' autojoin='1' \
             jid='verona@conference.xmpp.test'><nick>jule</nick></conference>\
             <url name='Home' url='http://example.org/?a=1&amp;b=2'/></storage>"
        );
        assert!(private::element(&store, &juliet, "exodus", "exodus:prefs").unwrap().is_some());
        assert!(private::element(&store, &juliet, "a", "test:one").unwrap().is_some());
        let profile = private::element(&store, &juliet, "profile", "test:profile").unwrap();
        assert!(profile.is_none() && (spool == "1.6-flat" || report.contains("test:profile: public XML")), "{report}");
        let card = vcard::of(&store, &juliet).unwrap().unwrap();
        assert!(card.starts_with("<vCard xmlns='vcard-temp' version='2.0'><FN>Juliet Capulet</FN>"), "{card}");
        assert!(card.contains("zwei\nZeilen &amp; mehr: äöü €"), "{card}");
        let form = registration::of(&store, &juliet).unwrap().unwrap();
        assert!(form.contains("<username>juliet</username>") && form.contains("<email>juliet@example.org</email>"));
        assert!(!form.contains("r0m30") && !form.contains("password"), "{form}");
        if last > 0 {
            let found = last::of(&store, &juliet).unwrap().unwrap();
            assert_eq!((found.unix_millis, found.status.as_str()), (last * 1000, "Disconnected"));
        }
        // Registered, by the form's own stamp, not at the import.
        let account = account::account(&store, &juliet).unwrap().unwrap();
        assert!(account.created_unix_millis < 1_795_334_000_000 && account.created_unix_millis > 1_795_332_000_000);
        let lists = privacy::names(&store, &juliet).unwrap();
        let filter = privacy::filter(&store, &juliet).unwrap();
        let named: Vec<(&str, bool)> = lists.iter().map(|(name, is_default)| (name.as_str(), *is_default)).collect();
        match spool {
            "1.6-flat" => {
                assert_eq!(named, [("block", true), ("invisible", false)]);
                let block = privacy::list(&store, &juliet, "block").unwrap().unwrap();
                assert!(
                    block.contains("<item type='group' value='Friends' action='allow' order='2'><message/></item>")
                );
                assert!(filter.is_none());
            }
            "1.4.4-hashed" => {
                assert!(named.is_empty() && filter.unwrap().contains("<from>tybalt@xmpp.test</from>"));
                assert_eq!((imported.counts.rules, imported.counts.idle_rules), (1, 2));
            }
            _ => assert!(named.is_empty() && filter.is_none()),
        }
        assert!(imported.counts.private >= 4);
    }
}

#[test]
fn components_and_other_hosts_are_told_of() {
    let mut store = Store::in_memory().unwrap();
    let (first, report) = import_all(&mut store, &plan(&fixture("1.4.4-hashed")));
    assert!(report.contains("        1 files of components"), "{report}");
    assert_eq!((first.counts.component_files, first.remedies.len()), (1, 0));
    let mut plan = plan(&fixture("1.6-flat"));
    plan.hosts = vec!["example.org".to_owned()];
    let (second, report) = import_all(&mut store, &plan);
    assert!(report.contains("aim.xmpp.test/: 1 file of aim.xmpp.test, which is not served"), "{report}");
    assert!(report.contains("add <host>xmpp.test</host>"), "{report}");
    assert_eq!(second.counts.accounts, 0);
    // Told once; and when the host is served, it is imported.
    assert!(import_all(&mut store, &plan).0.nothing_new);
    let mut store = Store::in_memory().unwrap();
    import_all(&mut store, &plan);
    plan.hosts.push("xmpp.test".to_owned());
    assert_eq!(import_all(&mut store, &plan).0.counts.accounts, 11);
}

#[test]
fn what_components_kept_is_theirs_here_too_and_goes_back() {
    let scratch = Scratch::new("components");
    let u1 = "<xdb><settings xmlns='test:settings' xdbns='test:settings'><a>1</a></settings>\
              <foo xdbns='jabber:iq:register'><uin>7</uin></foo><none/></xdb>";
    scratch.write("icq.xmpp.test/9F/D4/U1.xml", u1);
    let list = "<xdb><foo xmlns='jabber:jud:users' xdbns='jabber:jud:users'><item jid='a@b'/><item jid='c@d'/></foo>\
                <foo xdbns='base:accept:offline'><message/></foo></xdb>";
    scratch.write("icq.xmpp.test/global.xdb", list);
    scratch.write("icq.xmpp.test/cut.xml", "<xdb><a");
    scratch.write("icq.xmpp.test/u1.xml~", "");
    let of = |store: &Store, localpart, ns| {
        let key = Key { host: "icq.xmpp.test", localpart, ns };
        component_data::value(store, &key, 10_000).unwrap().unwrap().map(|element| element.to_string())
    };
    let check = |store: &Store| {
        assert_eq!(of(store, "u1", "test:settings").unwrap(), "<settings xmlns='test:settings'><a>1</a></settings>");
        assert_eq!(of(store, "u1", ns::REGISTER).unwrap(), "<foo xmlns='jabber:iq:register'><uin>7</uin></foo>");
        let list = of(store, "", "jabber:jud:users").unwrap();
        assert_eq!(list, "<foo xmlns='jabber:jud:users'><item jid='a@b'/><item jid='c@d'/></foo>");
        assert_eq!(of(store, "", "base:accept:offline"), None);
    };
    let (mut store, imported, report) = super::imported(&scratch.0);
    check(&store);
    assert_eq!((imported.counts.component_files, imported.counts.files_left), (2, 2), "{report}");
    assert!(report.contains("icq.xmpp.test/cut.xml: damaged"), "{report}");
    assert!(report.contains("base:accept:offline: what waited"), "{report}");
    assert!(import_all(&mut store, &plan(&scratch.0)).0.nothing_new);
    // What the component has changed since stays.
    let key = Key { host: "icq.xmpp.test", localpart: "u1", ns: "test:settings" };
    let newer = xml::parse("<settings xmlns='test:settings'/>").unwrap();
    let _ = component_data::set(&mut store, &key, Some(&newer), 10_000).unwrap();
    scratch.write("icq.xmpp.test/9F/D4/U1.xml", format!("{u1} "));
    let (_, report) = import_all(&mut store, &plan(&scratch.0));
    assert!(report.contains("test:settings: it is here already"), "{report}");
    assert_eq!(of(&store, "u1", "test:settings").unwrap(), newer.to_string());
    let (store, _, _) = super::imported(&scratch.0);
    let back = Scratch::new("components-back");
    let exported = export(&store, &back.0, None, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((exported.component_files, exported.failures), (2, 0));
    check(&super::imported(&back.0).0);
}

#[test]
fn who_was_in_the_old_directory_is_in_ours() {
    let scratch = Scratch::new("directory");
    let password = "<password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'>secret</password>";
    let card = "<vCard xmlns='vcard-temp' xdbns='vcard-temp'><FN>Of the card</FN></vCard>";
    for name in ["juliet", "romeo", "nurse", "tybalt", "paris"] {
        scratch.write(&format!("example.org/{name}.xml"), format!("<xdb>{password}{card}</xdb>"));
    }
    let item = |jid: &str, inside: &str| format!("<item jid='{jid}'>{inside}</item>");
    let list = [
        item(
            "Juliet@Example.org",
            "<name>Juliet C.</name><first>Juliet</first><last>Capulet</last><nick/><email>j@c.it</email>",
        ),
        item("romeo@example.org/orchard", "<name>Romeo M.</name><first/><last/>"),
        item("nurse@example.org", "<nick xmlns='jabber:iq:register'>Angelica</nick>"),
        item("tybalt@example.org", "<first> </first>"),
        item("mercutio@example.org", "<first>Mercutio</first>"),
        item("someone@jabber.org", "<first>Some</first>"),
        item("example.org", "<first>X</first>"),
        item("a b@@", "<first>X</first>"),
        "text<item/>".to_owned(),
    ]
    .concat();
    let list =
        format!("<xdb><foo xmlns='jabber:jud:users' xdbns='jabber:jud:users'>{list}</foo><other xdbns='x'/></xdb>");
    scratch.write("jud/global.xdb", &list);
    scratch.write("users.xmpp.test/cut.xml", "<xdb><a");
    let (mut store, imported, report) = super::imported(&scratch.0);
    let of = |store: &Store, name: &str| {
        let kept = directory::of(store, &jid(&format!("{name}@example.org"))).unwrap();
        kept.map(|(state, entry)| (state, Field::ALL.map(|field| entry.field(field).to_owned()).join("|")))
    };
    for (name, state, fields) in [
        ("juliet", State::Registered, "Juliet|Capulet||j@c.it"),
        ("romeo", State::Registered, "Romeo M.|||"),
        ("nurse", State::Registered, "||Angelica|"),
        ("tybalt", State::Card, "Of the card|||"),
        ("paris", State::Card, "Of the card|||"),
    ] {
        assert_eq!(of(&store, name), Some((state, fields.to_owned())), "{name}");
    }
    assert_eq!((imported.counts.directory_entries, imported.counts.pieces_left), (3, 5), "{report}");
    for line in [
        "jud/global.xdb: the entry of mercutio@example.org: no account here",
        "jud/global.xdb: the entry of someone@jabber.org: no account here",
        "jud/global.xdb: the entry of example.org: it is no address of a person",
        "jud/global.xdb: the entry of a b@@: it is no address of a person",
        "jud/global.xdb: the entry of tybalt@example.org: it is empty",
        "users.xmpp.test/cut.xml: damaged",
        "        3 people of an old user directory",
    ] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(import_all(&mut store, &plan(&scratch.0)).0.nothing_new);
    // What people said here since stays, and what is kept already is not told of.
    directory::set(&mut store, &jid("juliet@example.org"), State::Withdrawn, &Entry::default()).unwrap();
    scratch.write("jud/global.xdb", format!("{list} "));
    let (again, report) = import_all(&mut store, &plan(&scratch.0));
    assert_eq!(of(&store, "juliet").unwrap().0, State::Withdrawn);
    assert!(report.contains("Juliet@Example.org: has said something else here since"), "{report}");
    assert_eq!(again.counts.directory_entries, 2);
    // Stopped in between, it goes on.
    let mut store = Store::in_memory().unwrap();
    let mut heard = Vec::new();
    let mut stop = |progress: Progress| {
        heard.push(progress.step);
        if progress.step == Step::Directory { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    assert!(
        import(Format::Jabberd14, &mut store, None, &plan(&scratch.0), &Shown, &mut io::sink(), &mut stop)
            .unwrap()
            .stopped
    );
    assert_eq!(heard.last(), Some(&Step::Directory));
    let (rest, _) = import_all(&mut store, &plan(&scratch.0));
    assert_eq!((rest.counts.directory_entries, rest.stopped), (3, false));
    assert_eq!(of(&store, "nurse"), Some((State::Registered, "||Angelica|".to_owned())));
    // And back again.
    let back = Scratch::new("directory-back");
    let exported = export(&store, &back.0, Some("jud"), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((exported.directory_entries, exported.failed.len()), (3, 0));
    let (copy, again, _) = super::imported(&back.0);
    assert_eq!((again.counts.directory_entries, again.counts.pieces_left), (3, 0));
    for name in ["juliet", "romeo", "nurse", "tybalt"] {
        assert_eq!(of(&copy, name), of(&store, name), "{name}");
    }
}

#[test]
fn corner_cases_written_by_hand() {
    let (store, imported, report) = super::imported(&fixture("hand-written"));
    let rows = [
        ("byscript", Some("made-up-1")),
        ("crypted", Some("abZfb8uPBHuAk")),
        ("shauser", Some("{SHA}WxktHrqoCeCyJr9K3Ah5E76u/VY=")),
        ("zerok", Some("{0k}20:3F5E0A11:83c9d7722ece194f3b077dd9b126de68eefef9b3")),
        ("corner", Some("pa&ss <w>ord'\"")),
        ("gone", None),
        ("cut", None),
        ("empty", None),
        ("twice", Some("made-up-8-first")),
        ("latin", Some("grüße")),
        ("sixteen", Some("made-up-10")),
        ("global", None),
        ("note", None),
        ("user", None),
    ];
    for (name, expected) in rows {
        assert_eq!(password(&store, &format!("{name}@example.org")).as_deref(), expected, "{name}\n{report}");
    }
    for line in [
        "example.org/cut.xml: damaged: ",
        "example.org/cut.xml.t.m.p: half of a file",
        "example.org/empty.xml: the file is empty",
        "example.org/global.xdb: data of the host itself",
        "example.org/gone.xml: no password",
        "example.org/note.txt: it does not end in .xml",
        "example.org/user.xml~: it does not end in .xml",
        "example.org/twice.xml: jabber:iq:auth: the same namespace",
        "example.org/corner.xml: a roster item: it has no jid",
        "example.org/corner.xml: 1 message: to be worth nothing after a time that is over",
        "example.org/corner.xml: data of the resource \"Home\"",
        "example.org/corner.xml: public:data: public XML",
        "example.org/corner.xml: my:own: public XML",
    ] {
        assert!(report.lines().any(|found| found.starts_with(line)), "{line}\n{report}");
    }
    assert_eq!((imported.counts.accounts, imported.counts.old_hashes, imported.counts.rules), (8, 3, 2));

    for (name, expected) in [("cut", true), ("empty", true), ("gone", false), ("global", false), ("byscript", false)] {
        let is_reserved = account::is_reserved(&store, &jid(&format!("{name}@example.org"))).unwrap();
        assert_eq!(is_reserved, expected, "{name}: a damaged file was a free name in jabberd 1.4");
    }

    let corner = jid("corner@example.org");
    let found = |contact: &str| roster::item(&store, &corner, &Jid::new(contact).unwrap()).unwrap().unwrap();
    assert_eq!(found("a@example.net").groups, ["One", "Two & Three"]);
    assert!(found("b@example.net").ask && found("b@example.net").name == "B");
    let hidden = found("c@example.net");
    assert!(!hidden.visible && hidden.pending_in.unwrap().contains("<status>please add me</status>"));
    let asked = found("d@example.net");
    assert!(asked.visible && asked.pending_in.is_some() && asked.subscription == Subscription::To);
    let left = found("e@example.net");
    assert!(!left.ask && left.subscription == Subscription::From);
    assert_eq!(found("icq.example.org/registered").subscription, Subscription::Both);
    assert_eq!(roster::count(&store, &corner).unwrap(), 8);
    let waiting = messages(&store, "corner@example.org");
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[0].1, 1_078_056_000_000);
    assert!(waiting[1].0.contains("<body>äöü</body>"), "{}", waiting[1].0);
    let card = vcard::of(&store, &corner).unwrap().unwrap();
    assert!(card.contains("<BINVAL>\nR0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7\n</BINVAL>"), "{card}");
    assert!(private::element(&store, &corner, "storage", "storage:bookmarks").unwrap().is_some());

    let sixteen = jid("sixteen@example.org");
    assert_eq!(privacy::names(&store, &sixteen).unwrap(), [("block".to_owned(), true)]);
    let rules = privacy::filter(&store, &corner).unwrap().unwrap();
    assert!(rules.contains("<rule><from>spam@example.net</from><error>no</error></rule>"), "{rules}");
    let pending = roster::pending_in(&store, &sixteen).unwrap();
    assert!(pending[0].1.contains("<status>hello</status>"), "{pending:?}");
}
