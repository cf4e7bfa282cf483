//! Lists and blocks of users against contacts on another server, in both directions.

use super::world::World;
use crate::{HELLO, JULIET, ROMEO, two};

/// Juliet and Romeo are there and see each other.
fn friends() -> (World, usize, usize) {
    let mut world = two(|_| {});
    let (juliet, romeo) = (world.login(JULIET), world.login(ROMEO));
    for client in [juliet, romeo] {
        world.say(client, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>");
    }
    world.say(juliet, "<presence type='subscribe' to='romeo@montague.net'/>");
    world.say(romeo, "<presence type='subscribed' to='juliet@capulet.com'/>");
    world.say(romeo, "<presence type='subscribe' to='juliet@capulet.com'/>");
    world.say(juliet, "<presence type='subscribed' to='romeo@montague.net'/>");
    let heard = [world.heard(juliet), world.heard(romeo)];
    assert!(heard[0].contains("from='romeo@montague.net/orchard'"), "{}", heard[0]);
    assert!(heard[1].contains("from='juliet@capulet.com/balcony'"), "{}", heard[1]);
    (world, juliet, romeo)
}

fn block(world: &mut World, client: usize, jid: &str) -> String {
    world.say(
        client,
        &format!("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block></iq>"),
    );
    let heard = world.heard(client);
    assert!(heard.contains("<iq type='result' id='b'"), "{heard}");
    heard
}

#[test]
fn who_is_blocked_sees_the_user_go_and_is_not_heard_any_more() {
    for jid in ["juliet@capulet.com", "capulet.com"] {
        let (mut world, juliet, romeo) = friends();
        let heard = block(&mut world, romeo, jid);
        // Nobody here knows her resources: all go at once.
        assert!(heard.contains("<presence type='unavailable' from='juliet@capulet.com'"), "{jid}: {heard}");
        let heard = world.heard(juliet);
        assert!(heard.contains("type='unavailable' from='romeo@montague.net/orchard'"), "{jid}: {heard}");

        world.say(juliet, HELLO);
        world.say(
            juliet,
            "<iq type='get' id='v' to='romeo@montague.net/orchard'><query xmlns='jabber:iq:version'/></iq>",
        );
        world.say(juliet, "<iq type='get' id='w' to='romeo@montague.net'><vCard xmlns='vcard-temp'/></iq>");
        let heard = world.heard(juliet);
        assert_eq!(heard.matches("<service-unavailable").count(), 3, "{jid}: {heard}");
        assert!(!heard.contains("<text"), "{jid}: {heard}");
        // Presence, subscriptions and probes are answered by nothing.
        world.say(juliet, "<presence><show>away</show></presence>");
        world.say(juliet, "<presence type='subscribe' to='romeo@montague.net'/>");
        world.say(juliet, "<presence type='probe' to='romeo@montague.net'/>");
        world.say(juliet, "<iq type='result' id='x' to='romeo@montague.net/orchard'/>");
        let heard = world.heard(juliet);
        assert!(!heard.contains("montague.net"), "{jid}: {heard}");
        assert_eq!(world.heard(romeo), "", "{jid}");
    }
}

#[test]
fn one_resource_elsewhere_is_blocked() {
    let (mut world, juliet, romeo) = friends();
    let heard = block(&mut world, romeo, "juliet@capulet.com/balcony");
    assert!(heard.contains("<presence type='unavailable' from='juliet@capulet.com/balcony'"), "{heard}");
    world.say(juliet, "<presence><show>away</show></presence>");
    assert_eq!(world.heard(romeo), "");
    // Deviation from XEP-0191 §3.3: her server hands presence for the bare JID out to all her resources.
    world.heard(juliet);
    world.say(romeo, "<presence><show>dnd</show></presence>");
    let heard = world.heard(juliet);
    assert!(heard.contains("<show>dnd</show>"), "{heard}");
    world.say(juliet, "<message to='romeo@montague.net' type='chat' id='m'><body>Romeo</body></message>");
    let heard = world.heard(juliet);
    assert!(heard.contains("<service-unavailable"), "{heard}");
    // Unblocked, she is asked, and is there as she is now.
    world.heard(romeo);
    world.say(romeo, "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>");
    let heard = world.heard(romeo);
    assert!(heard.contains("from='juliet@capulet.com/balcony'") && heard.contains("<show>away</show>"), "{heard}");
}

#[test]
fn what_is_for_a_blocked_contact_never_leaves() {
    let (mut world, juliet, romeo) = friends();
    block(&mut world, romeo, "juliet@capulet.com");
    world.heard(juliet);
    world
        .say(romeo, "<message to='juliet@capulet.com/balcony' type='chat' id='m'><body>It is my lady</body></message>");
    let heard = world.heard(romeo);
    assert!(
        heard.contains("<not-acceptable") && heard.contains("<blocked xmlns='urn:xmpp:blocking:errors'/>"),
        "{heard}"
    );
    world.say(romeo, "<presence><status>O, it is my love</status></presence>");
    world.say(romeo, "<presence to='juliet@capulet.com'/>");
    world.hang_up(romeo);
    // A new session neither asks nor tells.
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence><status>O, that she knew she were</status></presence>");
    assert_eq!(world.heard(juliet), "");
    // Bytes to another server are those of connections that a server opened.
    let left: Vec<&str> = world.transcript().lines().filter(|line| line.starts_with("1#8")).collect();
    for secret in ["It is my lady", "it is my love", "she knew she were"] {
        assert!(!left.iter().any(|line| line.contains(secret)), "{secret}\n{}", world.transcript());
    }
}

#[test]
fn who_is_unblocked_is_seen_and_heard_again() {
    let (mut world, juliet, romeo) = friends();
    block(&mut world, romeo, "juliet@capulet.com");
    world.heard(juliet);
    world.say(romeo, "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>");
    let heard = world.heard(romeo);
    assert!(heard.contains("from='juliet@capulet.com/balcony'"), "asked again: {heard}");
    assert!(world.heard(juliet).contains("from='romeo@montague.net/orchard'"));
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"));
}

#[test]
fn who_is_away_blocks_all_the_same() {
    let (mut world, juliet, romeo) = friends();
    block(&mut world, romeo, "juliet@capulet.com");
    world.hang_up(romeo);
    world.heard(juliet);
    world.say(juliet, HELLO);
    world.say(juliet, "<presence type='probe' to='romeo@montague.net'/>");
    let heard = world.heard(juliet);
    assert!(heard.contains("<service-unavailable") && !heard.contains("<presence"), "{heard}");
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    assert!(!world.heard(romeo).contains("Art thou there?"));
}

#[test]
fn an_invisible_list_leaves_the_contact_the_picture_of_an_empty_house() {
    let (mut world, juliet, romeo) = friends();
    world.say(
        romeo,
        "<iq type='set' id='1'><query xmlns='jabber:iq:privacy'><list name='invisible'><item action='deny' order='1'>\
         <presence-out/></item></list></query></iq>\
         <iq type='set' id='2'><query xmlns='jabber:iq:privacy'><active name='invisible'/></query></iq>",
    );
    assert!(world.heard(juliet).contains("type='unavailable' from='romeo@montague.net/orchard'"));
    world.say(juliet, "<presence type='probe' to='romeo@montague.net'/>");
    assert!(world.heard(juliet).contains("type='unavailable' from='romeo@montague.net'"));
    // He hears and sees as before.
    world.heard(romeo);
    world.say(juliet, "<presence><show>away</show></presence>");
    world.say(juliet, HELLO);
    let heard = world.heard(romeo);
    assert!(heard.contains("<show>away</show>") && heard.contains("Art thou there?"), "{heard}");
    // The same by 1.4's presence, which ends with the next one.
    world.say(romeo, "<iq type='set' id='3'><query xmlns='jabber:iq:privacy'><active/></query></iq>");
    assert!(world.heard(juliet).contains("from='romeo@montague.net/orchard'"));
    world.say(romeo, "<presence type='invisible'/>");
    let heard = world.heard(juliet);
    assert!(heard.contains("type='unavailable'") && !heard.contains("invisible"), "{heard}");
    world.say(romeo, "<presence/>");
    assert!(world.heard(juliet).contains("from='romeo@montague.net/orchard'"));
}

#[test]
fn a_server_that_comes_back_is_not_asked_for_who_is_blocked() {
    let (mut world, juliet, romeo) = friends();
    block(&mut world, romeo, "juliet@capulet.com");
    world.heard(juliet);
    world.take_down("capulet.com");
    world.wait(600);
    world.bring_up("capulet.com");
    world.say(juliet, "<message to='montague.net' type='chat'><body>here</body></message>");
    world.wait(60);
    let heard = world.heard(juliet);
    assert!(!heard.contains("romeo@montague.net"), "{heard}");
}

#[test]
fn a_word_of_invisibility_from_elsewhere_goes_nowhere() {
    let mut world = two(|setup| setup.certificates = true);
    let romeo = world.online(ROMEO);
    let peer = world.peer("verona.example", "montague.net");
    world.say(peer, "<presence type='invisible' from='duke@verona.example/x' to='romeo@montague.net/orchard'/>");
    world.say(peer, "<presence type='invisible' from='duke@verona.example/x' to='romeo@montague.net'/>");
    assert_eq!(world.heard(romeo), "");
}
