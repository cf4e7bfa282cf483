//! Contacts whose server is gone, and comes back.

use super::world::{Setup, World};
use crate::{JULIET, ROMEO, two};

/// Juliet and Romeo see each other.
fn friends(change: impl Fn(&mut Setup)) -> (World, usize, usize) {
    let mut world = two(change);
    let (juliet, romeo) = (world.login(JULIET), world.login(ROMEO));
    for client in [juliet, romeo] {
        world.say(client, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>");
    }
    for (client, contact) in [(juliet, "romeo@montague.net"), (romeo, "juliet@capulet.com")] {
        world.say(client, &format!("<presence to='{contact}' type='subscribe'/>"));
        world.say(client, &format!("<presence to='{contact}' type='subscribed'/>"));
    }
    // Each asked before the other had allowed it.
    world.say(juliet, "<presence to='romeo@montague.net' type='subscribed'/>");
    for client in [juliet, romeo] {
        let heard = world.heard(client);
        assert!(heard.contains("subscription='both'"), "{heard}");
    }
    (world, juliet, romeo)
}

#[test]
fn contacts_of_a_server_that_is_gone_are_unavailable_once_and_come_back() {
    for certificates in [false, true] {
        let (mut world, juliet, _) = friends(|setup| setup.certificates = certificates);
        world.take_down("montague.net");
        world.cut_servers();
        // Nobody sends anything: the broken stream is reason enough to look.
        world.wait(60);
        let heard = world.heard(juliet);
        assert_eq!(heard.matches("type='unavailable'").count(), 1, "{heard}\n{}", world.transcript());
        assert!(heard.contains("from='romeo@montague.net/orchard'"), "{heard}");
        world.say(juliet, "<message to='romeo@montague.net' id='m'><body>Where?</body></message>");
        world.wait(400);
        assert_eq!(world.heard(juliet).matches("unavailable").count(), 0);
        // It is back, and somebody has something to say.
        world.bring_up("montague.net");
        world.say(juliet, "<message to='romeo@montague.net' id='n'><body>There?</body></message>");
        world.wait(5);
        let heard = world.heard(juliet);
        assert!(heard.contains("from='romeo@montague.net/orchard'"), "{heard}\n{}", world.transcript());
    }
}

#[test]
fn a_broken_stream_to_a_server_that_is_there_is_no_news() {
    let (mut world, juliet, romeo) = friends(|_| {});
    let dials = world.dials();
    world.cut_servers();
    world.wait(60);
    assert_eq!((world.heard(juliet).as_str(), world.heard(romeo).as_str()), ("", ""));
    assert!(world.dials() > dials);
}

#[test]
fn an_idle_stream_that_ends_is_no_news() {
    let (mut world, juliet, romeo) = friends(|_| {});
    let dials = world.dials();
    world.wait(2000);
    assert_eq!((world.heard(juliet).as_str(), world.heard(romeo).as_str()), ("", ""));
    assert_eq!(world.dials(), dials);
}

#[test]
fn contacts_of_a_blocked_domain_are_gone() {
    let (mut world, juliet, _) = friends(|_| {});
    let block = jabber::config::Block {
        domain: "montague.net".to_owned(),
        subdomains: false,
        action: jabber::config::BlockAction::Drop,
    };
    world.admin("capulet.com", |server, now| server.block(now, block)).unwrap();
    world.wait(1);
    let heard = world.heard(juliet);
    assert!(heard.contains("type='unavailable'") && heard.contains("from='romeo@montague.net/orchard'"), "{heard}");
    world.admin("capulet.com", |server, now| server.unblock(now, "montague.net")).unwrap();
    world.wait(1);
    let heard = world.heard(juliet);
    assert!(heard.contains("from='romeo@montague.net/orchard'"), "{heard}");
}

/// RFC 6121 §4.5: each address that was shown as available goes, not only the contact.
#[test]
fn each_session_that_was_seen_on_a_server_that_is_gone_goes() {
    let (mut world, juliet, romeo) = friends(|_| {});
    let second = world.login("romeo@montague.net/garden");
    world.say(second, "<presence/>");
    let heard = world.heard(juliet);
    assert!(heard.contains("from='romeo@montague.net/garden'"), "{heard}");
    // One that went before is not told again.
    let third = world.login("romeo@montague.net/street");
    world.say(third, "<presence/><presence type='unavailable'/>");
    world.heard(juliet);
    world.heard(romeo);
    world.take_down("montague.net");
    world.cut_servers();
    world.wait(60);
    let heard = world.heard(juliet);
    let mut gone: Vec<&str> = heard.split("<presence ").skip(1).collect();
    gone.sort_unstable();
    assert_eq!(gone.len(), 2, "{heard}");
    for (stanza, resource) in gone.iter().zip(["garden", "orchard"]) {
        assert!(stanza.contains("type='unavailable'"), "{stanza}");
        assert!(stanza.contains(&format!("from='romeo@montague.net/{resource}'")), "{stanza}");
    }
}

/// The test plays a server with rooms, whose occupants Juliet sees; and its stream.
fn in_a_room() -> (World, usize, [usize; 2]) {
    let mut capulet = Setup::new("capulet.com");
    capulet.certificates = true;
    let mut world = World::new(vec![capulet]);
    world.play("rooms.net");
    let juliet = world.login(JULIET);
    world.say(juliet, "<presence to='hall@rooms.net/juliet'/>");
    let there = world.answer("rooms.net");
    world.say(there, "<a xmlns='urn:xmpp:sm:3' h='1'/>");
    let back = world.peer("rooms.net", "capulet.com");
    for nick in ["romeo", "juliet"] {
        world.say(back, &format!("<presence from='hall@rooms.net/{nick}' to='juliet@capulet.com/balcony'/>"));
    }
    assert_eq!(world.heard(juliet).matches("<presence from='hall@rooms.net/").count(), 2, "{}", world.transcript());
    (world, juliet, [there, back])
}

#[test]
fn rooms_on_a_server_that_is_gone_end_and_hear_of_it_when_they_are_back() {
    for rejoins in [false, true] {
        let (mut world, juliet, streams) = in_a_room();
        world.take_down("rooms.net");
        for stream in streams {
            world.hang_up(stream);
        }
        world.wait(60);
        let heard = world.heard(juliet);
        assert_eq!(heard.matches("type='unavailable'").count(), 2, "{heard}");
        world.bring_up("rooms.net");
        world.wait(400);
        match rejoins {
            true => world.say(juliet, "<presence to='hall@rooms.net/juliet'/>"),
            // It speaks again: perhaps only the line was broken, and she is in the room still.
            false => drop(world.peer("rooms.net", "capulet.com")),
        }
        world.wait(1);
        let there = world.answer("rooms.net");
        world.wait(1);
        let said = world.heard(there);
        assert_eq!(said.contains("type='unavailable'"), !rejoins, "{said}");
        assert!(said.contains("to='hall@rooms.net/juliet'"), "{said}");
        world.hang_up(juliet);
        assert_eq!(world.heard(there).matches("type='unavailable'").count(), usize::from(rejoins));
    }
}

#[test]
fn who_sees_more_than_is_remembered_sees_the_bare_contact_go() {
    for name in ["presences-seen-per-account-max", "presences-seen-max"] {
        let limits = format!("<limits xmlns='urn:jabber:config:3'><{name}>0</{name}></limits>");
        let (mut world, juliet, _) = friends(|setup| setup.root = limits.clone());
        world.take_down("montague.net");
        world.cut_servers();
        world.wait(60);
        let heard = world.heard(juliet);
        assert_eq!(heard.matches("type='unavailable'").count(), 1, "{name}: {heard}");
        assert!(heard.contains("from='romeo@montague.net'"), "{name}: {heard}");
    }
}

#[test]
fn contacts_whose_server_stops_go_from_their_full_addresses_whatever_ends_first() {
    // The numbers of connections differ with what came before, and so does the order in which they end.
    for certificates in [false, true] {
        for strangers in 0..8 {
            let (mut world, juliet, _) = friends(|setup| setup.certificates = certificates);
            let mut clients = Vec::new();
            for number in 0..strangers {
                let client = world.login(&format!("romeo@montague.net/{number}"));
                world.say(client, "<presence/>");
                clients.push(client);
            }
            world.heard(juliet);
            world.terminate("montague.net");
            let heard = world.heard(juliet);
            assert_eq!(heard.matches("type='unavailable'").count(), strangers + 1, "{heard}\n{}", world.transcript());
            assert!(heard.contains("from='romeo@montague.net/orchard'"), "{heard}");
            assert!(world.is_stopped("montague.net"));
        }
    }
}

#[test]
fn contacts_of_a_server_that_ends_its_stream_with_an_error_and_stays_away_go() {
    for (condition, gone) in [("system-shutdown", 2), ("connection-timeout", 0)] {
        let (mut world, juliet, streams) = in_a_room();
        world.take_down("rooms.net");
        for stream in streams {
            let error =
                format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
            world.say(stream, &format!("{error}</stream:stream>"));
        }
        world.wait(60);
        let heard = world.heard(juliet);
        assert_eq!(heard.matches("type='unavailable'").count(), gone, "{condition}: {heard}");
    }
}
