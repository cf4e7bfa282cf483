//! The end of streams, and what was on its way then (RFC 6120 §4.4).

use super::world::{Setup, World};
use crate::{JULIET, ROMEO, two};

const END: &str = "</stream:stream>";

fn message(body: &str) -> String {
    format!("<message from='romeo@montague.net/x' to='juliet@capulet.com' type='chat'><body>{body}</body></message>")
}

/// Capulet, where Juliet is, and a stream to it in the name of montague.net.
fn world() -> (World, usize, usize) {
    let mut capulet = Setup::new("capulet.com");
    capulet.certificates = true;
    capulet.jabber_xml("<idletimeout>60</idletimeout>");
    let mut world = World::new(vec![capulet]);
    let juliet = world.login(JULIET);
    world.say(juliet, "<presence/>");
    let peer = world.peer("montague.net", "capulet.com");
    world.say(peer, &message("first"));
    assert!(world.heard(juliet).contains("first"));
    (world, juliet, peer)
}

#[test]
fn what_was_on_its_way_when_we_ended_an_idle_stream_arrives() {
    let (mut world, juliet, peer) = world();
    world.wait(61);
    assert_eq!(world.heard(peer), END);
    world.say(peer, &message("late"));
    assert!(world.heard(juliet).contains("late"), "{}", world.transcript());
    // Nothing can be answered any more, but what is there is judged as ever.
    world.say(peer, "<iq type='get' id='1' from='montague.net' to='capulet.com'><ping xmlns='urn:xmpp:ping'/></iq>");
    world.say(peer, "<db:result from='verona.it' to='capulet.com'>key</db:result>");
    assert!(!world.is_hung_up(peer));
    world.say(peer, &message("last"));
    world.say(peer, END);
    assert!(world.heard(juliet).contains("last"));
    assert!(world.is_hung_up(peer) && world.heard(peer).is_empty(), "{}", world.transcript());
}

#[test]
fn who_does_not_end_its_stream_is_waited_for_a_while() {
    let (mut world, _, peer) = world();
    world.wait(61);
    assert_eq!(world.heard(peer), END);
    world.wait(3);
    assert!(!world.is_hung_up(peer));
    world.wait(1);
    assert!(world.is_hung_up(peer));
}

#[test]
fn a_late_stanza_in_anothers_name_is_not_taken() {
    let (mut world, juliet, peer) = world();
    world.wait(61);
    world.say(peer, &message("forged").replace("montague.net", "verona.it"));
    assert_eq!((world.heard(juliet).as_str(), world.is_hung_up(peer)), ("", true));
}

/// XEP-0198 §4: it cannot be acknowledged any more, so it will be sent again.
#[test]
fn what_will_be_sent_again_is_not_taken_from_a_stream_that_ends() {
    let (mut world, juliet, peer) = world();
    world.say(peer, "<enable xmlns='urn:xmpp:sm:3'/>");
    world.say(peer, &message("second"));
    assert!(world.heard(juliet).contains("second") && world.heard(peer).contains("<enabled"));
    world.wait(61);
    assert_eq!(world.heard(peer), format!("<a xmlns='urn:xmpp:sm:3' h='1'/>{END}"));
    world.say(peer, &message("late"));
    assert_eq!((world.heard(juliet).as_str(), world.is_hung_up(peer)), ("", false));
    world.say(peer, END);
    assert!(world.is_hung_up(peer));
}

#[test]
fn a_message_that_crosses_the_end_of_a_stream_between_two_of_ours_arrives_once() {
    for certificates in [false, true] {
        let mut world = two(|setup| {
            setup.certificates = certificates;
            setup.jabber_xml("<idletimeout>60</idletimeout>");
        });
        let (juliet, romeo) = (world.login(JULIET), world.login(ROMEO));
        for client in [juliet, romeo] {
            world.say(client, "<presence/>");
        }
        let text = "<message to='romeo@montague.net' type='chat'><body>one</body></message>";
        world.say(juliet, text);
        assert!(world.heard(romeo).contains("one"));
        // All that is said from now on is still on the wire when the other side ends the stream.
        world.hold();
        world.wait(59);
        let back = text.replace("romeo@montague.net", "juliet@capulet.com");
        for (client, text) in [(juliet, text), (romeo, back.as_str())] {
            world.say(client, &text.replace("one", "two"));
        }
        world.wait(2);
        world.let_go();
        world.wait(30);
        for client in [juliet, romeo] {
            let heard = world.heard(client);
            assert_eq!(heard.matches("<body>two</body>").count(), 1, "{heard}\n{}", world.transcript());
        }
    }
}

#[test]
fn what_other_servers_have_on_its_way_when_we_stop_is_kept() {
    let (mut world, juliet, peer) = world();
    world.terminate("capulet.com");
    assert!(world.heard(juliet).contains("<system-shutdown"));
    assert!(world.heard(peer).ends_with(END));
    world.say(peer, &message("late"));
    assert!(!world.is_stopped("capulet.com"));
    world.say(peer, END);
    assert!(world.is_stopped("capulet.com"), "{}", world.transcript());
    let waiting = world.admin("capulet.com", |server, _| {
        let juliet = jabber::xmpp::BareJid::new("juliet@capulet.com").unwrap();
        jabber::store::offline::fetch(server.store_mut(), &juliet, 0, 10).unwrap()
    });
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].stanza.contains("late"));
}

#[test]
fn a_server_that_says_nothing_does_not_hold_up_a_stop() {
    let (mut world, _, peer) = world();
    world.terminate("capulet.com");
    world.wait(1);
    assert!(world.is_hung_up(peer) && world.is_stopped("capulet.com"));
}

/// RFC 6120 §4.9.3.20: nothing is lost or left behind, and the server is found again when it is back.
#[test]
fn a_server_that_stops_and_comes_back_is_spoken_to_again() {
    for certificates in [false, true] {
        let mut world = two(|setup| setup.certificates = certificates);
        let (juliet, romeo) = (world.login(JULIET), world.login(ROMEO));
        world.say(romeo, "<presence/>");
        let text = "<message to='romeo@montague.net' type='chat'><body>one</body></message>";
        world.say(juliet, text);
        assert!(world.heard(romeo).contains("one"));
        world.take_down("montague.net");
        world.terminate("montague.net");
        assert!(world.heard(romeo).contains("<system-shutdown") && world.is_stopped("montague.net"));
        assert_eq!(world.connections("capulet.com"), 1, "{}", world.transcript());
        world.say(juliet, &text.replace("one", "two"));
        let heard = world.heard(juliet);
        assert!(heard.contains("remote-server-timeout") && heard.contains("two"), "{heard}");
        let mut setup = Setup::new("montague.net");
        setup.certificates = certificates;
        world.crash("montague.net", &setup);
        world.bring_up("montague.net");
        let romeo = world.login(ROMEO);
        world.say(romeo, "<presence/>");
        world.wait(5);
        world.say(juliet, &text.replace("one", "three"));
        let heard = world.heard(romeo);
        assert!(heard.contains("three") && !heard.contains("two"), "{heard}\n{}", world.transcript());
    }
}
