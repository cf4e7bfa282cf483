//! Components and the users of other servers.

use super::world::{Setup, World};
use crate::ROMEO;

const ICQ: &str = "<service id='icq.capulet.com'><accept><port>5347</port><secret>s</secret></accept></service>";

/// Capulet with a component, Montague with Romeo, who is there.
fn world(change: impl Fn(&mut Setup)) -> (World, usize, usize) {
    let (mut capulet, mut montague) = (Setup::new("capulet.com"), Setup::new("montague.net"));
    capulet.root = ICQ.to_string();
    change(&mut capulet);
    change(&mut montague);
    let mut world = World::new(vec![capulet, montague]);
    world.name("icq.capulet.com", "capulet.com");
    let icq = world.connect_component("capulet.com", "s");
    let romeo = world.online(ROMEO);
    (world, icq, romeo)
}

#[test]
fn a_component_is_reached_by_other_servers_and_reaches_them() {
    for (certificates, dialback) in [(true, ""), (false, ""), (false, "<host xmpp='no' tls='no'/>")] {
        let (mut world, icq, romeo) = world(|setup| {
            setup.certificates = certificates;
            setup.jabber_xml(dialback);
        });
        world.say(romeo, "<message to='bot@icq.capulet.com' id='1'><body>hello</body></message>");
        let heard = world.heard(icq);
        assert!(heard.contains("from='romeo@montague.net/orchard'") && heard.contains("hello"), "{heard}");
        world.say(
            icq,
            "<message from='bot@icq.capulet.com' to='romeo@montague.net' type='chat'><body>ay</body></message>",
        );
        let heard = world.heard(romeo);
        assert!(heard.contains("from='bot@icq.capulet.com'"), "{heard}\n{}", world.transcript());
    }
}

#[test]
fn a_component_writes_first() {
    let (mut world, icq, romeo) = world(|_| {});
    world.say(icq, "<message from='bot@icq.capulet.com' to='romeo@montague.net' type='chat'><body>ay</body></message>");
    assert!(world.heard(romeo).contains("from='bot@icq.capulet.com'"), "{}", world.transcript());
    // What it cannot reach comes back to it.
    world.say(icq, "<message from='icq.capulet.com' to='a@nowhere.example' id='7'/>");
    let heard = world.heard(icq);
    assert!(heard.contains("id='7'") && heard.contains("<remote-server-not-found"), "{heard}");
}

#[test]
fn no_other_server_speaks_for_a_component() {
    let (mut world, icq, _) = world(|_| {});
    let liar = world.stranger("icq.capulet.com", "capulet.com");
    world.say(liar, "<db:result from='icq.capulet.com' to='capulet.com'>key</db:result>");
    let heard = world.heard(liar);
    assert!(heard.contains("type='error'") && heard.contains("not-acceptable"), "{heard}");
    assert_eq!(world.heard(icq), "");
}

#[test]
fn a_component_that_is_away_is_told_to_other_servers() {
    let (mut world, icq, romeo) = world(|_| {});
    world.hang_up(icq);
    world.say(romeo, "<message to='bot@icq.capulet.com' id='1'/>");
    world.wait(11);
    let heard = world.heard(romeo);
    assert!(heard.contains("id='1'") && heard.contains("code='502'"), "{heard}");
    let icq = world.connect_component("capulet.com", "s");
    world.say(romeo, "<message to='bot@icq.capulet.com' id='2'/>");
    assert!(world.heard(icq).contains("id='2'"));
}

#[test]
fn a_component_may_be_the_way_to_the_rest_of_the_world() {
    // 1.4's <uplink/>, on a server without <dialback>: there is no other way.
    let text = "<jabber><service id='sessions'><host>capulet.com</host><jsm xmlns='jabber:config:jsm'/></service>\
                <service id='up'><uplink/><accept><port>5347</port><secret>s</secret></accept></service></jabber>";
    let source = jabber::config::Source::new("test.xml");
    let config = jabber::config::Config::from_xml(text, &source).unwrap();
    let up = config.component("up").unwrap();
    for (domain, may) in [("up", true), ("anywhere.example", true), ("capulet.com", false)] {
        assert_eq!(config.speaks_for(up, domain), may, "{domain}");
    }
}
