use super::*;
use crate::store::account;
use crate::store::tests::{jid, store_with};

/// The accounts of these tests are made at second 1000, so that is their first version.
const FIRST: u64 = 1000;

fn contact(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

fn plain(text: &str) -> RosterItem {
    RosterItem::new(contact(text))
}

/// What a client with this version is told, in short.
fn told(store: &Store, version: u64) -> Option<Vec<String>> {
    let changes = since(store, &jid("a@h"), version).unwrap()?;
    let mut versions = changes.iter().map(|(version, _)| *version);
    assert!(versions.clone().is_sorted() && versions.all(|of_change| of_change > version));
    let short = changes.into_iter().map(|(_, change)| match change {
        Change::Set(item) => format!("{}={}", item.jid, item.name),
        Change::Removed(jid) => format!("-{jid}"),
    });
    Some(short.collect())
}

#[test]
fn an_item_comes_back_as_it_was() {
    let mut store = store_with(&["a@h", "b@h"]);
    let full = RosterItem {
        jid: contact("nurse@capulet.com"),
        name: "Nurse <&'\"> \n".to_owned(),
        subscription: Subscription::From,
        ask: true,
        pending_in: Some("<presence type='subscribe'/>".to_owned()),
        approved: true,
        visible: true,
        groups: vec!["Servants".to_owned(), "A, B".to_owned(), "Ämter\n2".to_owned()],
    };
    let rows = [
        full.clone(),
        RosterItem { visible: false, groups: Vec::new(), ..full },
        plain("nurse@capulet.com"),
        plain("icq.example.org/registered"),
        plain("icq.example.org"),
    ];
    for item in &rows {
        upsert(&mut store, &jid("a@h"), item).unwrap();
        assert_eq!(super::item(&store, &jid("a@h"), &item.jid).unwrap().as_ref(), Some(item));
    }
    let all: Vec<String> = items(&store, &jid("a@h")).unwrap().iter().map(|item| item.jid.to_string()).collect();
    assert_eq!(all, ["icq.example.org", "icq.example.org/registered", "nurse@capulet.com"]);
    assert_eq!(count(&store, &jid("a@h")).unwrap(), 3);
    assert_eq!(count(&store, &jid("b@h")).unwrap(), 0);
    assert!(upsert(&mut store, &jid("nobody@h"), &plain("x@y")).unwrap_err().is_no_account());
}

#[test]
fn presence_finds_its_contacts() {
    let mut store = store_with(&["a@h"]);
    for (name, subscription) in [
        ("both@x", Subscription::Both),
        ("from@x", Subscription::From),
        ("none@x", Subscription::None),
        ("to@x", Subscription::To),
    ] {
        upsert(&mut store, &jid("a@h"), &RosterItem { subscription, ..plain(name) }).unwrap();
        assert_eq!(Subscription::of(subscription.to(), subscription.from()), subscription);
        assert_eq!(format!("{}@x", subscription.name()), name);
    }
    let asking = RosterItem { pending_in: Some("<presence/>".to_owned()), visible: false, ..plain("asks@x") };
    upsert(&mut store, &jid("a@h"), &asking).unwrap();
    assert_eq!(subscribers(&store, &jid("a@h")).unwrap(), [contact("both@x"), contact("from@x")]);
    assert_eq!(subscriptions(&store, &jid("a@h")).unwrap(), [contact("both@x"), contact("to@x")]);
    assert_eq!(pending_in(&store, &jid("a@h")).unwrap(), [(contact("asks@x"), "<presence/>".to_owned())]);
}

#[test]
fn versions_grow_with_what_clients_see() {
    let mut store = store_with(&["a@h"]);
    let hidden = RosterItem { pending_in: Some("<presence/>".to_owned()), visible: false, ..plain("x@y") };
    let shown = RosterItem { visible: true, ..hidden.clone() };
    assert_eq!(version(&store, &jid("a@h")).unwrap(), FIRST);
    let account = jid("a@h");
    // An item that is not visible comes and goes unseen.
    assert_eq!(upsert(&mut store, &account, &hidden).unwrap(), None);
    assert_eq!(upsert(&mut store, &account, &shown).unwrap(), Some(FIRST + 1));
    assert_eq!(upsert(&mut store, &account, &shown).unwrap(), Some(FIRST + 2));
    assert_eq!(upsert(&mut store, &account, &hidden).unwrap(), Some(FIRST + 3));
    assert_eq!(told(&store, FIRST + 2).unwrap(), ["-x@y"]);
    assert_eq!(remove(&mut store, &account, &shown.jid).unwrap(), None);
    assert_eq!(remove(&mut store, &account, &shown.jid).unwrap(), None);
    assert_eq!(upsert(&mut store, &account, &shown).unwrap(), Some(FIRST + 4));
    assert_eq!(remove(&mut store, &account, &shown.jid).unwrap(), Some(FIRST + 5));
    assert_eq!(version(&store, &account).unwrap(), FIRST + 5);
    assert_eq!(version(&store, &jid("nobody@h")).unwrap(), 0);
}

#[test]
fn a_client_that_was_away_is_told_what_changed() {
    let mut store = store_with(&["a@h"]);
    let account = jid("a@h");
    let named = |jid: &str, name: &str| RosterItem { name: name.to_owned(), ..plain(jid) };
    assert_eq!(told(&store, FIRST).unwrap(), [""; 0]);
    upsert(&mut store, &account, &named("b@x", "1")).unwrap(); // +1
    upsert(&mut store, &account, &named("a@x", "2")).unwrap(); // +2
    remove(&mut store, &account, &contact("b@x")).unwrap(); // +3
    upsert(&mut store, &account, &named("b@x", "4")).unwrap(); // +4
    upsert(&mut store, &account, &named("a@x", "5")).unwrap(); // +5
    remove(&mut store, &account, &contact("b@x")).unwrap(); // +6
    upsert(&mut store, &account, &named("c@x", "7")).unwrap(); // +7
    let rows: [(u64, Option<&[&str]>); 7] = [
        (FIRST - 1, None), // before the account's time
        (FIRST, Some(&["a@x=5", "-b@x", "c@x=7"])),
        (FIRST + 4, Some(&["a@x=5", "-b@x", "c@x=7"])),
        (FIRST + 5, Some(&["-b@x", "c@x=7"])),
        (FIRST + 6, Some(&["c@x=7"])),
        (FIRST + 7, Some(&[])),
        (FIRST + 8, None), // never given out
    ];
    for (version, expected) in rows {
        let expected = expected.map(|changes| changes.iter().map(|change| change.to_string()).collect::<Vec<_>>());
        assert_eq!(told(&store, version), expected, "since {version}");
    }
    upsert(&mut store, &account, &named("b@x", "8")).unwrap();
    assert_eq!(told(&store, FIRST + 2).unwrap(), ["a@x=5", "c@x=7", "b@x=8"]);
}

#[test]
fn only_so_many_removals_are_remembered() {
    let mut store = store_with(&["a@h"]);
    let removals = REMOVED_KEPT as u64 + 3;
    for _ in 0..removals {
        upsert(&mut store, &jid("a@h"), &plain("x@y")).unwrap();
        remove(&mut store, &jid("a@h"), &contact("x@y")).unwrap();
    }
    // Each round gives out two versions, the second for the removal; the first three removals are forgotten.
    let floor = FIRST + 2 * 3;
    assert_eq!(told(&store, floor - 1), None);
    assert_eq!(told(&store, floor).unwrap(), ["-x@y"]);
    let rows: i64 = store.one("SELECT count(*) FROM roster_removed", [], |row| row.get(0)).unwrap().unwrap();
    assert_eq!(rows, REMOVED_KEPT);
}

#[test]
fn an_account_made_again_does_not_know_the_old_versions() {
    let mut store = store_with(&["a@h"]);
    let account = jid("a@h");
    upsert(&mut store, &account, &plain("x@y")).unwrap();
    let old = version(&store, &account).unwrap();
    account::remove(&mut store, &account, 2_000_000).unwrap();
    account::create(&mut store, &account, &account::Credentials::default(), 2_000_000).unwrap();
    upsert(&mut store, &account, &plain("z@y")).unwrap();
    assert_eq!(told(&store, old), None);
}
