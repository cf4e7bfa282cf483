//! Nobody holds up the others: what one sender may have under way and waiting.

use super::world::{Setup, World};
use crate::{JULIET, ROMEO};

/// Capulet with these bounds, Montague with Romeo, and a server that never answers.
fn world(limits: &str) -> (World, usize, usize, usize) {
    with_certificates(limits, false)
}

fn with_certificates(limits: &str, certificates: bool) -> (World, usize, usize, usize) {
    let mut capulet = Setup::new("capulet.com");
    capulet.root = format!("<limits xmlns='urn:jabber:config:3'>{limits}</limits>");
    let mut montague = Setup::new("montague.net");
    (capulet.certificates, montague.certificates) = (certificates, certificates);
    let mut world = World::new(vec![capulet, montague, Setup::new("silent.test")]);
    world.mute("silent.test");
    for number in 0..100 {
        world.name(&format!("s{number}.test"), "silent.test");
    }
    let (juliet, nurse) = (world.login(JULIET), world.login("nurse@capulet.com/hall"));
    let romeo = world.online(ROMEO);
    (world, juliet, nurse, romeo)
}

fn message(to: &str) -> String {
    format!("<message to='{to}' type='chat' id='{to}'><body>{to}</body></message>")
}

const FEW: &str = "<dials-max>6</dials-max><dials-per-sender-max>4</dials-per-sender-max>";

#[test]
fn who_writes_to_the_whole_world_does_not_hold_up_others() {
    let (mut world, juliet, nurse, romeo) = world(FEW);
    for number in 0..50 {
        world.say(juliet, &message(&format!("x@s{number}.test")));
    }
    assert_eq!(world.dials(), 4);
    world.say(nurse, &message("romeo@montague.net"));
    assert!(world.heard(romeo).contains("romeo@montague.net"), "{}", world.transcript());
    assert_eq!(world.heard(juliet), "");
    // Her own have their turns; what had none in time comes back.
    world.wait(31);
    assert_eq!(world.heard(juliet).matches("type='error'").count(), 50);
    let dials = world.dials();
    world.wait(60);
    assert_eq!(world.dials(), dials, "nobody waits for them any more");
}

#[test]
fn a_domain_in_anothers_line_is_reached_at_once() {
    let (mut world, juliet, nurse, romeo) = world(FEW);
    for number in 0..20 {
        world.say(juliet, &message(&format!("x@s{number}.test")));
    }
    world.say(juliet, &message("romeo@montague.net"));
    assert_eq!(world.heard(romeo), "");
    world.say(nurse, &message("romeo@montague.net"));
    assert_eq!(world.heard(romeo).matches("<body>").count(), 2, "{}", world.transcript());
}

#[test]
fn turns_come_when_places_are_free() {
    let (mut world, juliet, _, romeo) = world(FEW);
    for number in 0..5 {
        world.name(&format!("s{number}.test"), "silent.test");
        world.say(juliet, &message(&format!("x@s{number}.test")));
    }
    world.wait(10);
    world.say(juliet, &message("romeo@montague.net"));
    assert_eq!(world.heard(romeo), "");
    world.wait(21);
    assert!(world.heard(romeo).contains("romeo@montague.net"), "{}", world.transcript());
}

#[test]
fn so_many_domains_wait_for_one_sender() {
    let limits = "<remote-links-per-sender-max>3</remote-links-per-sender-max>";
    let (mut world, juliet, nurse, _) = world(limits);
    for number in 0..5 {
        world.say(juliet, &message(&format!("x@s{number}.test")));
    }
    let heard = world.heard(juliet);
    assert_eq!(heard.matches("<resource-constraint").count(), 2, "{heard}");
    world.say(nurse, &message("x@s7.test"));
    // More to those that are waited for.
    world.say(juliet, &message("y@s1.test"));
    assert_eq!((world.heard(nurse).as_str(), world.heard(juliet).as_str()), ("", ""));
    world.wait(31);
    world.heard(juliet);
    world.say(juliet, &message("x@s9.test"));
    assert_eq!(world.heard(juliet), "", "there is room again");
}

#[test]
fn so_many_domains_are_remembered() {
    let (mut world, juliet, nurse, _) = world("<remote-links-max>10</remote-links-max>");
    for number in 0..10 {
        world.say(juliet, &message(&format!("x@s{number}.test")));
    }
    assert_eq!(world.heard(juliet), "");
    world.say(nurse, &message("x@s10.test"));
    assert!(world.heard(nurse).contains("<resource-constraint"));
    // Those that failed are forgotten in time.
    world.wait(600);
    world.say(nurse, &message("x@s11.test"));
    assert_eq!(world.heard(nurse), "");
}

#[test]
fn so_many_bytes_wait_for_one_sender_and_for_all() {
    let limits = "<remote-waiting-bytes-per-sender-max>20000</remote-waiting-bytes-per-sender-max>\
                  <remote-waiting-bytes-max>30000</remote-waiting-bytes-max>";
    let (mut world, juliet, nurse, _) = world(limits);
    let long = |to: &str| message(to).replace("<body>", &format!("<body>{}", "x".repeat(9_000)));
    let refused = |world: &mut World, client: usize| world.heard(client).matches("<resource-constraint").count();
    for number in 0..3 {
        world.say(juliet, &long(&format!("x@s{number}.test")));
    }
    assert_eq!(refused(&mut world, juliet), 1);
    for number in 0..3 {
        world.say(nurse, &long(&format!("x@s{number}.test")));
    }
    assert_eq!(refused(&mut world, nurse), 2);
}

#[test]
fn answers_to_strangers_do_not_take_the_places_of_users() {
    let (mut world, _, nurse, romeo) = with_certificates(FEW, true);
    // Strangers ask Juliet from many domains, to which there is no way back.
    for number in 0..20 {
        let peer = world.peer(&format!("s{number}.test"), "capulet.com");
        let iq = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        world.say(peer, &format!("<iq type='get' id='1' from='x@s{number}.test' to='juliet@capulet.com'>{iq}</iq>"));
    }
    world.say(nurse, &message("romeo@montague.net"));
    assert!(world.heard(romeo).contains("romeo@montague.net"), "{}", world.transcript());
}

#[test]
fn one_address_has_so_many_domains_proved_at_a_time() {
    let limits = format!("{FEW}<proofs-per-address-max>5</proofs-per-address-max>");
    let (mut world, _, nurse, romeo) = world(&limits);
    let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                  xmlns:db='jabber:server:dialback' to='capulet.com' version='1.0'>";
    let peer = world.connect_as_server("capulet.com");
    world.say(peer, header);
    world.start_tls(peer);
    world.say(peer, header);
    for number in 0..8 {
        world.say(peer, &format!("<db:result from='s{number}.test' to='capulet.com'>key</db:result>"));
    }
    assert_eq!(world.heard(peer).matches("<resource-constraint").count(), 3);
    assert_eq!(world.dials(), 4);
    world.say(nurse, &message("romeo@montague.net"));
    assert!(world.heard(romeo).contains("romeo@montague.net"), "{}", world.transcript());
    world.wait(62);
    assert_eq!(world.heard(peer).matches("<remote-server-not-found").count(), 5);
}

/// Says a thousand things in one turn, in the name of `from`, and meanwhile a user does something else.
/// Who has one address of IPv6 has a whole network of them.
#[test]
fn each_address_of_one_customer_had_places_of_its_own() {
    let limits = format!("{FEW}<proofs-per-address-max>5</proofs-per-address-max>");
    let (mut world, ..) = world(&limits);
    let mut peers = Vec::new();
    for number in 0..8 {
        world.test_address = format!("2001:db8:1:2::{number}").parse().unwrap();
        let peer = world.stranger(&format!("s{number}.test"), "capulet.com");
        world.say(peer, &format!("<db:result from='s{number}.test' to='capulet.com'>key</db:result>"));
        peers.push(peer);
    }
    let refused = peers.iter().map(|peer| world.heard(*peer).matches("<resource-constraint").count());
    assert_eq!(refused.sum::<usize>(), 3);
    assert_eq!(world.dials(), 4);
}

fn says_much(world: &mut World, busy: usize, from: &str, (juliet, nurse): (usize, usize)) {
    world.heard(juliet);
    let ping = "<iq type='get' id='p' to='capulet.com'><ping xmlns='urn:xmpp:ping'/></iq>";
    let say = |number: usize| {
        let body = format!("<body>{number}</body>");
        format!("<message from='{from}' to='juliet@capulet.com' type='chat'>{body}</message>")
    };
    let words: String = (0..1_000).map(say).collect();
    world.say(busy, &words);
    let first = world.heard(juliet).matches("<body>").count();
    assert!((1..=500).contains(&first), "{first}");
    world.say(nurse, ping);
    assert!(world.heard(nurse).contains("id='p'"));
    assert_eq!(world.heard(juliet), "", "nothing more in anybody else's turn");
    // The rest has its turns; nothing is lost, nothing overtakes.
    world.say(busy, &say(1_000));
    let mut all = String::new();
    for _ in 0..4 {
        world.wait(1);
        all.push_str(&world.heard(juliet));
    }
    let order: Vec<&str> = all.split("<body>").skip(1).filter_map(|part| part.split("</body>").next()).collect();
    let expected: Vec<String> = (first..=1_000).map(|number| number.to_string()).collect();
    assert_eq!(order, expected);
}

#[test]
fn another_server_has_its_share_of_a_turn() {
    let (mut world, juliet, nurse, _) = with_certificates("<work-per-tick>1000</work-per-tick>", true);
    world.say(juliet, "<presence/>");
    let peer = world.peer("s1.test", "capulet.com");
    says_much(&mut world, peer, "x@s1.test", (juliet, nurse));
}

#[test]
fn another_server_was_gone_before_all_it_said_was_heard() {
    let (mut world, juliet, _, _) = with_certificates("<work-per-tick>1000</work-per-tick>", true);
    world.say(juliet, "<presence/>");
    let peer = world.peer("s1.test", "capulet.com");
    world.heard(juliet);
    let word = "<message from='x@s1.test' to='juliet@capulet.com' type='chat'><body>b</body></message>";
    world.say(peer, &word.repeat(600));
    world.hang_up(peer);
    assert_eq!(world.heard(juliet).matches("<body>").count(), 600);
}

#[test]
fn a_component_has_its_share_of_a_turn() {
    let mut capulet = Setup::new("capulet.com");
    capulet.root = "<service id='icq.capulet.com'><accept><port>5347</port><secret>s</secret></accept></service>\
                    <limits xmlns='urn:jabber:config:3'><work-per-tick>1000</work-per-tick></limits>"
        .to_string();
    let mut world = World::new(vec![capulet]);
    let (juliet, nurse) = (world.login(JULIET), world.login("nurse@capulet.com/hall"));
    world.say(juliet, "<presence/>");
    let icq = world.connect_component("capulet.com", "s");
    says_much(&mut world, icq, "x@icq.capulet.com", (juliet, nurse));
}
