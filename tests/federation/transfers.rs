//! File transfers by the proxy (XEP-0065 §4): the words over XMPP, the two connections, and who may.

use super::world::{Setup, World};
use crate::{JULIET, ROMEO};

const SID: &str = "vxf9n471bn46";
const ADDRESS: &str =
    "<iq type='get' id='a' to='proxy.capulet.com'><query xmlns='http://jabber.org/protocol/bytestreams'/></iq>";

fn hash(sid: &str, requester: &str, target: &str) -> String {
    let text = [sid, requester, target].concat();
    let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Capulet with Juliet and this in its `<jsm>`, Montague with Romeo.
fn world(jsm: &str) -> (World, usize, usize) {
    let (mut capulet, montague) = (Setup::new("capulet.com"), Setup::new("montague.net"));
    capulet.jsm = jsm.to_string();
    let mut world = World::new(vec![capulet, montague]);
    world.name("proxy.capulet.com", "capulet.com");
    let (juliet, romeo) = (world.login(JULIET), world.login(ROMEO));
    world.heard(juliet);
    world.heard(romeo);
    (world, juliet, romeo)
}

/// An end of the transfer with this hash; the answer's code, if it got one.
fn connect(world: &mut World, hash: &str) -> (usize, Option<u8>) {
    let end = world.connect_to_proxy("capulet.com");
    world.say(end, "\u{5}\u{1}\u{0}");
    assert_eq!(world.heard(end), "\u{5}\u{0}");
    world.say(end, &format!("\u{5}\u{1}\u{0}\u{3}\u{28}{hash}\u{0}\u{0}"));
    let heard = world.heard(end);
    assert!(heard.ends_with(&format!("{hash}\0\0")), "{heard:?}");
    (end, heard.as_bytes().get(1).copied())
}

fn activate(world: &mut World, who: usize, sid: &str, target: &str) -> String {
    let query = format!(
        "<query xmlns='http://jabber.org/protocol/bytestreams' sid='{sid}'><activate>{target}</activate></query>"
    );
    world.say(who, &format!("<iq type='set' id='go' to='proxy.capulet.com'>{query}</iq>"));
    world.heard(who)
}

#[test]
fn two_people_pass_a_file() {
    let (mut world, juliet, _) = world("");
    world.say(juliet, ADDRESS);
    let heard = world.heard(juliet);
    let host = "<streamhost host='capulet.com' jid='proxy.capulet.com' port='7777'/>";
    assert!(heard.contains("type='result'") && heard.contains(host), "{heard}");
    let hash = hash(SID, JULIET, ROMEO);
    assert_eq!(activate(&mut world, juliet, SID, ROMEO).matches("item-not-found").count(), 1);
    let (target, code) = connect(&mut world, &hash);
    assert_eq!(code, Some(0));
    assert!(activate(&mut world, juliet, SID, ROMEO).contains("not-allowed"), "only one is there");
    let (requester, code) = connect(&mut world, &hash.to_uppercase());
    assert_eq!(code, Some(0));
    let heard = activate(&mut world, juliet, SID, ROMEO);
    assert!(heard.contains("type='result'") && heard.contains("from='proxy.capulet.com'"), "{heard}");
    assert_eq!(world.joined.len(), 1);
    // The word is given once.
    assert!(activate(&mut world, juliet, SID, ROMEO).contains("item-not-found"));
    // What is joined has all the time in the world; its idleness is the network's business.
    world.wait(121);
    assert!(!world.is_hung_up(target) && !world.is_hung_up(requester));
}

#[test]
fn only_the_requester_gives_the_word() {
    let (mut world, juliet, romeo) = world("<proxy65 xmlns='urn:jabber:config:3'><allow/></proxy65>");
    let tybalt = world.login("tybalt@capulet.com/street");
    let hash = hash(SID, JULIET, ROMEO);
    let ends = [connect(&mut world, &hash).0, connect(&mut world, &hash).0];
    // Others who know everything but are not her; she, with a wrong target or a wrong id.
    for (who, sid, target) in
        [(tybalt, SID, ROMEO), (romeo, SID, JULIET), (romeo, SID, ROMEO), (juliet, SID, JULIET), (juliet, "x", ROMEO)]
    {
        let heard = activate(&mut world, who, sid, target);
        assert!(heard.contains("item-not-found"), "{heard}");
    }
    // Nor does she who speaks of a third end of that hash.
    assert_eq!(connect(&mut world, &hash).1, Some(2));
    assert!(world.joined.is_empty() && ends.iter().all(|end| !world.is_hung_up(*end)));
    assert!(activate(&mut world, juliet, SID, ROMEO).contains("type='result'"));
}

#[test]
fn bare_addresses_do_when_the_parties_used_them() {
    let (mut world, juliet, _) = world("");
    let hash = hash(SID, "juliet@capulet.com", "romeo@montague.net");
    connect(&mut world, &hash);
    connect(&mut world, &hash);
    assert!(activate(&mut world, juliet, SID, "Romeo@MONTAGUE.net").contains("type='result'"));
}

#[test]
fn malformed_words_are_told_so() {
    let (mut world, juliet, _) = world("");
    for (query, error) in [
        ("<query xmlns='http://jabber.org/protocol/bytestreams'><activate>a@b</activate></query>", "bad-request"),
        (
            "<query xmlns='http://jabber.org/protocol/bytestreams' sid=''><activate>a@b</activate></query>",
            "bad-request",
        ),
        ("<query xmlns='http://jabber.org/protocol/bytestreams' sid='1'/>", "bad-request"),
        (
            "<query xmlns='http://jabber.org/protocol/bytestreams' sid='1'><activate>@</activate></query>",
            "jid-malformed",
        ),
        ("<query xmlns='http://jabber.org/protocol/bytestreams' sid='1'><activate/></query>", "jid-malformed"),
    ] {
        world.say(juliet, &format!("<iq type='set' id='go' to='proxy.capulet.com'>{query}</iq>"));
        let heard = world.heard(juliet);
        assert!(heard.contains(error), "{query}: {heard}");
    }
}

#[test]
fn strangers_get_neither_the_address_nor_the_word() {
    for (jsm, may) in [
        ("", false),
        ("<proxy65 xmlns='urn:jabber:config:3'><allow>montague.net</allow></proxy65>", true),
        ("<proxy65 xmlns='urn:jabber:config:3'><allow/><deny>romeo@montague.net</deny></proxy65>", false),
    ] {
        let (mut world, juliet, romeo) = world(jsm);
        world.say(romeo, ADDRESS);
        assert_eq!(world.heard(romeo).contains("<streamhost"), may, "{jsm}\n{}", world.transcript());
        // The address is no secret: he connects, and she who is his partner, too.
        let hash = hash(SID, ROMEO, JULIET);
        connect(&mut world, &hash);
        connect(&mut world, &hash);
        let heard = activate(&mut world, romeo, SID, JULIET);
        assert_eq!(heard.contains("type='result'"), may, "{jsm}: {heard}");
        assert_eq!(heard.contains("<forbidden"), !may, "{jsm}: {heard}");
        assert_eq!(world.joined.len(), usize::from(may));
        // But she may begin one with him.
        let hash = self::hash("2", JULIET, ROMEO);
        connect(&mut world, &hash);
        connect(&mut world, &hash);
        assert!(activate(&mut world, juliet, "2", ROMEO).contains("type='result'"));
    }
}

#[test]
fn who_never_begins_is_sent_away() {
    let (mut world, juliet, _) = world("");
    let hash = hash(SID, JULIET, ROMEO);
    let silent = world.connect_to_proxy("capulet.com");
    let (alone, _) = connect(&mut world, &hash);
    world.wait(60);
    let (late, _) = connect(&mut world, &hash);
    world.wait(61);
    assert!(world.is_hung_up(silent) && world.is_hung_up(alone) && !world.is_hung_up(late));
    // The late one still waits, and its partner may come again.
    connect(&mut world, &hash);
    assert!(activate(&mut world, juliet, SID, ROMEO).contains("type='result'"));
}

#[test]
fn connections_that_wait_are_bounded() {
    let (mut capulet, montague) = (Setup::new("capulet.com"), Setup::new("montague.net"));
    capulet.root =
        "<limits xmlns='urn:jabber:config:3'><bytestreams-waiting-max>3</bytestreams-waiting-max></limits>".to_string();
    let mut world = World::new(vec![capulet, montague]);
    let hashes: Vec<String> = (0..4).map(|n| hash(&n.to_string(), JULIET, ROMEO)).collect();
    let codes = hashes.iter().map(|hash| connect(&mut world, hash).1.unwrap()).collect::<Vec<_>>();
    assert_eq!(codes, [0, 0, 0, 1]);
    assert_eq!(connect(&mut world, &hashes[0]).1, Some(1), "the second end of the first is one too many, too");
}

#[test]
fn a_thousand_idle_connections_of_one_address_are_too_many() {
    let (mut world, _, _) = world("");
    let ends: Vec<usize> = (0..1_000).map(|_| world.connect_to_proxy("capulet.com")).collect();
    let open = ends.iter().filter(|end| !world.is_hung_up(**end)).count();
    assert!(open <= 100, "{open}");
    world.wait(121);
    assert!(ends.iter().all(|end| world.is_hung_up(*end)));
}

#[test]
fn an_account_moves_so_many_files_at_a_time() {
    let (mut capulet, montague) = (Setup::new("capulet.com"), Setup::new("montague.net"));
    capulet.root = "<limits xmlns='urn:jabber:config:3'>\
                    <bytestreams-per-account-max>1</bytestreams-per-account-max></limits>"
        .to_string();
    capulet.jsm =
        "<proxy65 xmlns='urn:jabber:config:3'><bytes-per-second>50000</bytes-per-second></proxy65>".to_string();
    let mut world = World::new(vec![capulet, montague]);
    world.name("proxy.capulet.com", "capulet.com");
    let juliet = world.login(JULIET);
    let mut ends = Vec::new();
    for (sid, expected) in [("1", "type='result'"), ("2", "resource-constraint")] {
        let hash = hash(sid, JULIET, ROMEO);
        ends.push((connect(&mut world, &hash).0, connect(&mut world, &hash).0));
        let heard = activate(&mut world, juliet, sid, ROMEO);
        assert!(heard.contains(expected), "{heard}");
    }
    assert_eq!(world.joined.first().map(|(_, _, rate)| *rate), Some(Some(50_000)));
    world.hang_up(ends[0].0);
    world.hang_up(ends[0].1);
    assert!(activate(&mut world, juliet, "2", ROMEO).contains("type='result'"));
}
