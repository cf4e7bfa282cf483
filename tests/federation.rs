//! Two or more servers in one memory, wires between them that can be cut, a name service that can be wrong.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test says what must be")]
mod federation {
    mod blocking;
    mod components;
    mod fairness;
    mod goodbyes;
    mod hostile;
    mod negotiation;
    mod privacy;
    mod queues;
    mod services;
    mod transfers;
    mod vanishing;
    pub mod world;
}

#[path = "sim/dice.rs"]
mod dice;
#[path = "sim/trust.rs"]
mod trust;

use federation::world::{Setup, World, server_header};

const ROMEO: &str = "romeo@montague.net/orchard";
const JULIET: &str = "juliet@capulet.com/balcony";

fn two(change: impl Fn(&mut Setup)) -> World {
    let mut capulet = Setup::new("capulet.com");
    let mut montague = Setup::new("montague.net");
    change(&mut capulet);
    change(&mut montague);
    World::new(vec![capulet, montague])
}

const HELLO: &str = "<message to='romeo@montague.net' type='chat' id='1'><body>Art thou there?</body></message>";

#[test]
fn juliet_writes_to_romeo_by_dialback_over_tls() {
    let mut world = two(|_| {});
    let juliet = world.login(JULIET);
    let romeo = world.online(ROMEO);
    world.say(juliet, HELLO);
    let heard = world.heard(romeo);
    assert!(heard.contains("Art thou there?") && heard.contains("from='juliet@capulet.com/balcony'"), "{heard}");
    assert!(world.transcript().contains("<proceed"), "no TLS:\n{}", world.transcript());
    assert!(world.transcript().contains("type='valid'"), "no dialback:\n{}", world.transcript());
}

#[test]
fn certificates_prove_both_servers() {
    let mut world = two(|setup| setup.certificates = true);
    let juliet = world.login(JULIET);
    let romeo = world.online(ROMEO);
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
    assert!(world.transcript().contains("mechanism='EXTERNAL'"), "{}", world.transcript());
    assert!(!world.transcript().contains("db:result"), "{}", world.transcript());
    // Both directions are open on the one stream (XEP-0288).
    world.say(romeo, "<message to='juliet@capulet.com/balcony' type='chat'><body>Ay</body></message>");
    assert!(world.heard(juliet).contains("<body>Ay</body>"), "{}", world.transcript());
    assert_eq!(world.dials(), 1);
}

#[test]
fn a_server_of_old_speaks_without_version_and_tls() {
    let mut world = two(|setup| setup.jabber_xml("<host xmpp='no' tls='no'/>"));
    let juliet = world.login(JULIET);
    let romeo = world.online(ROMEO);
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
    assert!(!world.transcript().contains("' version='1.0'"), "{}", world.transcript());
}

#[test]
fn tls_is_not_left_out_where_it_is_required() {
    let mut capulet = Setup::new("capulet.com");
    capulet.jabber_xml("<host tls='force'/>");
    let mut montague = Setup::new("montague.net");
    montague.jabber_xml("<host tls='no'/>");
    let mut world = World::new(vec![capulet, montague]);
    let juliet = world.login(JULIET);
    world.login(ROMEO);
    world.say(juliet, HELLO);
    let heard = world.heard(juliet);
    assert!(heard.contains("remote-server-timeout") && heard.contains("TLS"), "{heard}\n{}", world.transcript());
}

#[test]
fn who_is_away_finds_the_message_with_its_stamp() {
    let mut world = two(|_| {});
    let juliet = world.login(JULIET);
    world.account(ROMEO);
    world.say(juliet, HELLO);
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    let heard = world.heard(romeo);
    assert!(heard.contains("Art thou there?") && heard.contains("urn:xmpp:delay"), "{heard}");
}

#[test]
fn what_cannot_be_delivered_comes_back_in_order() {
    let mut world = two(|_| {});
    let juliet = world.login(JULIET);
    for id in ["a", "b"] {
        world.say(juliet, &format!("<message to='x@nowhere.example' id='{id}'><body>?</body></message>"));
    }
    let heard = world.heard(juliet);
    let places = [heard.find("id='a'"), heard.find("id='b'")];
    assert!(places[0].is_some() && places[0] < places[1], "{heard}");
    assert!(heard.contains("remote-server-not-found"), "{heard}");
}

#[test]
fn a_server_that_is_silent_costs_thirty_seconds() {
    let mut world = two(|_| {});
    let juliet = world.login(JULIET);
    world.mute("montague.net");
    world.say(juliet, HELLO);
    assert_eq!(world.heard(juliet), "");
    world.wait(31);
    assert!(world.heard(juliet).contains("remote-server-timeout"), "{}", world.transcript());
}

#[test]
fn or_as_many_as_the_admin_gives_it() {
    let mut world = two(|setup| setup.jabber_xml("<queuetimeout>5</queuetimeout>"));
    let juliet = world.login(JULIET);
    world.mute("montague.net");
    world.say(juliet, HELLO);
    world.wait(4);
    assert_eq!(world.heard(juliet), "");
    world.wait(2);
    assert!(world.heard(juliet).contains("remote-server-timeout"), "{}", world.transcript());
}

#[test]
fn a_server_is_where_the_admin_says_it_is() {
    let mut capulet = Setup::new("capulet.com");
    // The address of the second server of this world; nobody finds moved.test.
    capulet.jabber_xml("<host name='moved.test' ip='127.0.0.2' port='5269'/>");
    let mut montague = Setup::new("montague.net");
    montague.hosts.push("moved.test".to_string());
    let mut world = World::new(vec![capulet, montague]);
    let juliet = world.login(JULIET);
    let romeo = world.login("romeo@moved.test/orchard");
    world.forget_name("moved.test");
    world.say(romeo, "<presence/>");
    world.heard(romeo);
    world.say(juliet, &HELLO.replace("montague.net", "moved.test"));
    assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
}

#[test]
fn a_stream_that_breaks_is_opened_again() {
    let mut world = two(|_| {});
    let juliet = world.login(JULIET);
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"));
    world.cut_servers();
    world.say(juliet, &HELLO.replace("there", "still there"));
    assert!(world.heard(romeo).contains("still there"), "{}", world.transcript());
}

#[test]
fn a_subscription_crosses_and_presence_follows() {
    let mut world = two(|_| {});
    let juliet = world.login(JULIET);
    let romeo = world.login(ROMEO);
    for who in [juliet, romeo] {
        world.say(who, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>");
    }
    world.say(juliet, "<presence to='romeo@montague.net' type='subscribe'/>");
    let asked = world.heard(romeo);
    assert!(asked.contains("type='subscribe'") && asked.contains("from='juliet@capulet.com'"), "{asked}");
    world.heard(juliet);
    world.say(romeo, "<presence to='juliet@capulet.com' type='subscribed'/>");
    let told = world.heard(juliet);
    assert!(told.contains("type='subscribed'"), "{told}");
    assert!(told.contains("from='romeo@montague.net/orchard'"), "no presence: {told}");
    world.hang_up(romeo);
    assert!(world.heard(juliet).contains("type='unavailable'"), "{}", world.transcript());
}

#[test]
fn a_stranger_cannot_send_in_anothers_name() {
    let mut world = two(|_| {});
    let romeo = world.online(ROMEO);
    let header = server_header("capulet.com", "montague.net");
    let forged = "<message from='juliet@capulet.com' to='romeo@montague.net'><body>forged</body></message>";
    let stranger = world.connect_as_server("montague.net");
    world.say(stranger, &format!("{header}{forged}"));
    assert!(world.heard(stranger).contains("<invalid-from"), "{}", world.transcript());
    assert_eq!(world.heard(romeo), "");
    // A key that capulet.com did not make.
    let stranger = world.stranger("capulet.com", "montague.net");
    world.say(stranger, "<db:result from='capulet.com' to='montague.net'>0123456789abcdef</db:result>");
    let answer = world.heard(stranger);
    assert!(answer.contains("type='invalid'"), "{answer}\n{}", world.transcript());
    assert!(answer.contains("</stream:stream>"), "{answer}");
}

#[test]
fn a_result_nobody_asked_for_opens_nothing() {
    let mut world = two(|_| {});
    let stranger = world.stranger("capulet.com", "montague.net");
    world.say(stranger, "<db:result from='capulet.com' to='montague.net' type='valid'/>");
    let heard = world.heard(stranger);
    assert!(heard.contains("<stream:error>"), "{heard}");
}

#[test]
fn several_hosts_share_a_stream_by_dialback() {
    let mut capulet = Setup::new("capulet.com");
    capulet.hosts.push("paris.com".to_string());
    let mut world = World::new(vec![capulet, Setup::new("montague.net")]);
    let juliet = world.login(JULIET);
    let count = world.login("count@paris.com/hall");
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
    let dials = world.dials();
    world.say(count, &HELLO.replace("Art thou there?", "Beware"));
    assert!(world.heard(romeo).contains("Beware"), "{}", world.transcript());
    // The first stream is shared; the other server asks capulet's machine for paris.com's word on one of its own.
    assert!(world.dials() <= dials + 1, "{}", world.transcript());
}

#[test]
fn what_was_not_acknowledged_is_sent_again_on_the_way_back_too() {
    let mut world = two(|setup| setup.certificates = true);
    let juliet = world.login(JULIET);
    let romeo = world.login(ROMEO);
    world.say(juliet, "<presence/>");
    world.say(romeo, "<presence/>");
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
    world.heard(juliet);
    // Romeo answers by the stream that capulet.com opened (XEP-0288), while that server hangs.
    world.mute("capulet.com");
    world.say(romeo, "<message to='juliet@capulet.com/balcony' type='chat'><body>Ay</body></message>");
    assert_eq!(world.heard(juliet), "");
    world.unmute("capulet.com");
    world.cut_servers();
    assert_eq!(world.heard(juliet).matches("<body>Ay</body>").count(), 1, "{}", world.transcript());
}

#[test]
fn an_idle_stream_ends_and_the_next_stanza_opens_another() {
    let mut world = two(|setup| setup.jabber_xml("<idletimeout>60</idletimeout>"));
    let juliet = world.login(JULIET);
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"));
    let dials = world.dials();
    world.wait(200);
    assert!(world.transcript().matches("</stream:stream>").count() >= 2, "{}", world.transcript());
    world.say(juliet, &HELLO.replace("there", "still there"));
    assert!(world.heard(romeo).contains("still there"), "{}", world.transcript());
    assert!(world.dials() > dials);
}

#[test]
fn what_was_not_acknowledged_is_sent_again() {
    let mut world = two(|setup| setup.certificates = true);
    let juliet = world.login(JULIET);
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
    assert!(world.transcript().contains("<a xmlns='urn:xmpp:sm:3' h='1'/>"), "{}", world.transcript());
    // The other server's machine hangs: what is sent now never arrives.
    world.mute("montague.net");
    for id in ["a", "b"] {
        world.say(
            juliet,
            &format!("<message to='romeo@montague.net' id='{id}' type='chat'><body>{id}</body></message>"),
        );
    }
    assert_eq!(world.heard(romeo), "");
    world.unmute("montague.net");
    world.cut_servers();
    let heard = world.heard(romeo);
    let places = [heard.find("<body>a</body>"), heard.find("<body>b</body>")];
    assert!(places[0].is_some() && places[0] < places[1], "{heard}\n{}", world.transcript());
    assert_eq!(heard.matches("<message").count(), 2, "{heard}");
}

/// RFC 6121 §3.1.2: the request of somebody whose contact's server was away goes out again at the next login.
#[test]
fn who_has_not_answered_is_asked_again_at_login() {
    let mut world = two(|_| {});
    let juliet = world.login(JULIET);
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    world.take_down("montague.net");
    world.say(juliet, "<presence/><presence to='romeo@montague.net' type='subscribe'/>");
    world.wait(400);
    assert!(world.heard(juliet).contains("type='error'"), "{}", world.transcript());
    world.bring_up("montague.net");
    world.wait(4000);
    world.heard(romeo);
    world.hang_up(juliet);
    let juliet = world.login(JULIET);
    world.wait(5);
    let heard = world.heard(romeo);
    assert_eq!(heard.matches("type='subscribe'").count(), 1, "{heard}\n{}", world.transcript());
    // A second session has nothing to ask.
    world.login("juliet@capulet.com/orchard");
    world.wait(5);
    assert!(!world.heard(romeo).contains("subscribe"));
    world.say(romeo, "<presence to='juliet@capulet.com' type='subscribed'/>");
    world.say(juliet, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    let heard = world.heard(juliet);
    assert!(heard.contains("subscription='to'") && !heard.contains("ask="), "{heard}");
}

#[test]
fn what_waited_for_a_stream_is_said_after_sasl_has_begun_it_anew() {
    let mut world = two(|setup| setup.certificates = true);
    let juliet = world.login(JULIET);
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    // Capulet does not answer, so Romeo's words wait for a stream; Juliet's own then opens both directions.
    world.mute("capulet.com");
    world.say(romeo, "<message to='juliet@capulet.com/balcony' type='chat'><body>Ay me</body></message>");
    world.unmute("capulet.com");
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
    assert!(world.heard(juliet).contains("<body>Ay me</body>"), "{}", world.transcript());
    assert!(!world.transcript().contains("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><message"));
}

/// RFC 6120 §6.4.6: after SASL the next thing on a stream is its new header.
#[test]
fn a_verdict_that_is_late_does_not_come_before_the_new_header() {
    let mut capulet = Setup::new("capulet.com");
    capulet.certificates = true;
    let mut world = World::new(vec![capulet, Setup::new("verona.it")]);
    world.mute("verona.it");
    world.test_name = "montague.net".to_string();
    let peer = world.stranger("montague.net", "capulet.com");
    world.say(peer, "<db:result from='verona.it' to='capulet.com'>key</db:result>");
    world.say(peer, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
    assert!(world.heard(peer).ends_with("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"));
    world.wait(40);
    assert_eq!(world.heard(peer), "");
}

#[test]
fn what_a_broken_stream_gives_back_is_bounded_by_the_queue() {
    let mut world = two(|setup| {
        setup.certificates = true;
        setup.root =
            "<limits xmlns='urn:jabber:config:3'><remote-queue-stanzas-max>3</remote-queue-stanzas-max></limits>"
                .to_string();
    });
    let juliet = world.login(JULIET);
    let romeo = world.login(ROMEO);
    world.say(romeo, "<presence/>");
    world.say(juliet, HELLO);
    world.heard(romeo);
    world.mute("montague.net");
    for id in 2..=6 {
        world.say(juliet, &HELLO.replace("id='1'", &format!("id='{id}'")));
    }
    world.unmute("montague.net");
    let dials = world.dials();
    world.cut_servers();
    let (heard, back) = (world.heard(romeo), world.heard(juliet));
    assert_eq!(world.dials(), dials + 1, "{}", world.transcript());
    for id in 2..=6 {
        let (arrived, bounced) = (heard.contains(&format!("id='{id}'")), back.contains(&format!("id='{id}'")));
        assert_eq!((arrived, bounced), (id <= 4, id > 4), "{id}: {heard} {back}");
    }
    assert!(back.contains("resource-constraint"), "{back}");
}
