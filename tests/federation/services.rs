//! Services at names of their own and the users of other servers.

use super::world::{Setup, World};
use crate::ROMEO;

const SEARCH: &str =
    "<iq type='set' id='s' to='users.capulet.com'><query xmlns='jabber:iq:search'><first>j</first></query></iq>";
const PING: &str = "<iq type='get' id='p' to='users.capulet.com'><ping xmlns='urn:xmpp:ping'/></iq>";

/// Capulet with this in its `<jsm>` and at the root, Montague with Romeo.
fn world(jsm: &str, change: impl Fn(&mut Setup)) -> (World, usize) {
    let (mut capulet, mut montague) = (Setup::new("capulet.com"), Setup::new("montague.net"));
    capulet.jsm = jsm.to_string();
    change(&mut capulet);
    change(&mut montague);
    let mut world = World::new(vec![capulet, montague]);
    world.name("users.capulet.com", "capulet.com");
    let romeo = world.login(ROMEO);
    world.heard(romeo);
    (world, romeo)
}

#[test]
fn a_service_is_reached_by_other_servers_and_answers_them_by_its_own_name() {
    for (certificates, dialback) in [(true, ""), (false, ""), (false, "<host xmpp='no' tls='no'/>")] {
        let (mut world, romeo) = world("", |setup| {
            setup.certificates = certificates;
            setup.jabber_xml(dialback);
        });
        world.say(romeo, PING);
        let heard = world.heard(romeo);
        let is_answer = heard.contains("type='result'") && heard.contains("from='users.capulet.com'");
        assert!(is_answer, "{heard}\n{}", world.transcript());
        // There is nobody there, and that is told.
        world.say(romeo, "<message to='juliet@users.capulet.com' id='m'/>");
        assert!(world.heard(romeo).contains("service-unavailable"));
    }
}

#[test]
fn strangers_search_only_where_the_admin_lets_them() {
    for (jsm, expected) in [
        ("", "<forbidden"),
        ("<search xmlns='urn:jabber:config:3'><allow>montague.net</allow></search>", "type='result'"),
        ("<search xmlns='urn:jabber:config:3'><allow/></search>", "type='result'"),
        ("<search xmlns='urn:jabber:config:3'><allow/><deny>romeo@montague.net</deny></search>", "<forbidden"),
    ] {
        let (mut world, romeo) = world(jsm, |_| {});
        world.say(romeo, SEARCH);
        let heard = world.heard(romeo);
        assert!(heard.contains(expected), "{jsm}: {heard}");
        // Nobody enters the directory of another host.
        let register = SEARCH.replace("iq:search", "iq:register");
        world.say(romeo, &register);
        assert!(world.heard(romeo).contains("<forbidden"), "{jsm}");
    }
}

#[test]
fn no_other_server_speaks_for_a_service() {
    let (mut world, _) = world("", |_| {});
    let liar = world.stranger("users.capulet.com", "capulet.com");
    world.say(liar, "<db:result from='users.capulet.com' to='capulet.com'>key</db:result>");
    let heard = world.heard(liar);
    assert!(heard.contains("type='error'") && heard.contains("not-acceptable"), "{heard}");
}

#[test]
fn a_blocked_server_is_blocked_for_services_too() {
    let (mut capulet, montague) = (Setup::new("capulet.com"), Setup::new("montague.net"));
    capulet.root = "<block xmlns='urn:jabber:config:3'>montague.net</block>".to_string();
    let mut world = World::new(vec![capulet, montague]);
    world.name("users.capulet.com", "capulet.com");
    let romeo = world.login(ROMEO);
    world.say(romeo, PING);
    assert_eq!(world.heard(romeo), "", "{}", world.transcript());
}
