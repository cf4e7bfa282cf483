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
        assert!(heard.contains("from='romeo@montague.net'"), "{heard}");
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
    assert!(heard.contains("type='unavailable'") && heard.contains("from='romeo@montague.net'"), "{heard}");
    world.admin("capulet.com", |server, now| server.unblock(now, "montague.net")).unwrap();
    world.wait(1);
    let heard = world.heard(juliet);
    assert!(heard.contains("from='romeo@montague.net/orchard'"), "{heard}");
}
