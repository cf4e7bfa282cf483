//! How streams come about: what is proved before what, and both directions on one of them.

use super::world::{Setup, World};
use crate::{HELLO, JULIET, ROMEO, two};

const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";
const ASK: &str = "<r xmlns='urn:xmpp:sm:3'/>";

/// Capulet with Juliet, and montague.net as the test plays it.
fn played(dialback: &str, root: &str) -> (World, usize) {
    let mut capulet = Setup::new("capulet.com");
    capulet.certificates = true;
    capulet.jabber_xml(dialback);
    capulet.root = root.to_string();
    let mut world = World::new(vec![capulet]);
    world.play("montague.net");
    let juliet = world.login(JULIET);
    world.say(juliet, "<presence/>");
    (world, juliet)
}

fn message(from: &str, body: &str) -> String {
    format!("<message from='{from}' to='juliet@capulet.com' type='chat'><body>{body}</body></message>")
}

/// `<host auth='sasl'/>` was looked at together with the features, which a server of old does not have.
#[test]
fn a_certificate_that_is_required_was_not_looked_at_without_a_version() {
    for (name, is_trusted) in [("verona.it", false), ("montague.net", true)] {
        let (mut world, juliet) = played("<host auth='sasl'/>", "");
        world.test_name = name.to_string();
        world.say(juliet, HELLO);
        let peer = world.called().unwrap();
        let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                      xmlns:db='jabber:server:dialback' from='montague.net' id='x'";
        let tls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
        world.say(peer, &format!("{header} version='1.0'><stream:features>{tls}</stream:features>"));
        world.say(peer, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        world.say(peer, &format!("{header}>"));
        assert_eq!(world.is_hung_up(peer), !is_trusted, "{}", world.transcript());
        if is_trusted {
            world.say(peer, "<db:result from='montague.net' to='capulet.com' type='valid'/>");
        }
        let heard = world.heard(peer);
        assert_eq!(heard.contains("Art thou there?"), is_trusted, "{heard}");
        assert_eq!(heard.contains("<db:result"), is_trusted, "{heard}");
        assert_eq!(world.heard(juliet).contains("certificate is not trusted"), !is_trusted);
    }
}

/// RFC 6120 §5.4.3.3: what is said before TLS, anybody on the way may have said.
#[test]
fn both_directions_asked_for_in_plain_text_were_open_inside_of_tls() {
    for dialback in ["", "<host tls='force'/>"] {
        let (mut world, juliet) = played(dialback, "");
        let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                      from='montague.net' to='capulet.com' version='1.0'>";
        let peer = world.connect_as_server("capulet.com");
        world.say(peer, &format!("{header}{BIDI}"));
        world.start_tls(peer);
        world.say(peer, header);
        world.say(peer, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
        world.say(peer, header);
        assert!(world.heard(peer).contains("<success"), "{}", world.transcript());
        world.say(juliet, HELLO);
        assert_eq!(world.heard(peer), "", "{dialback}");
        let ours = world.answer("montague.net");
        assert!(world.heard(ours).contains("Art thou there?"), "{}", world.transcript());
    }
}

/// The domain that the header names must have TLS, and is not there to speak for another that need not.
#[test]
fn both_directions_were_opened_where_tls_was_required_and_missing() {
    let (mut world, juliet) = played("<host tls='force'/><host name='verona.it' tls='no'/>", "");
    world.play("verona.it");
    for (claimed, is_bidirectional) in [("montague.net", false), ("verona.it", true)] {
        let peer = world.connect_as_server("capulet.com");
        world.say(
            peer,
            &format!(
                "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                 xmlns:db='jabber:server:dialback' from='{claimed}' to='capulet.com' version='1.0'>{BIDI}\
                 <db:result from='verona.it' to='capulet.com'>key</db:result>"
            ),
        );
        let heard = world.heard(peer);
        let (_, rest) = heard.split_once(" id='").unwrap();
        let (id, _) = rest.split_once('\'').unwrap();
        let asked = world.called().unwrap();
        world.say(
            asked,
            &format!(
                "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                 xmlns:db='jabber:server:dialback' from='verona.it' id='x'>\
                 <db:verify from='verona.it' to='capulet.com' id='{id}' type='valid'/>"
            ),
        );
        assert!(world.heard(peer).contains("type='valid'"), "{}", world.transcript());
        world.say(juliet, &HELLO.replace("montague.net", "verona.it"));
        assert_eq!(world.heard(peer).contains("Art thou there?"), is_bidirectional, "{}", world.transcript());
        world.say(asked, "</stream:stream>");
        world.hang_up(peer);
    }
}

#[test]
fn one_malformed_stanza_ended_a_stream_of_both_directions() {
    let (mut world, juliet) = played("", "");
    world.say(juliet, HELLO);
    let peer = world.answer_with("montague.net", "<bidi xmlns='urn:xmpp:features:bidi'/>");
    let heard = world.heard(peer);
    assert!(world.transcript().contains(BIDI) && heard.contains("Art thou there?"), "{}", world.transcript());
    let addresses = "from='romeo@montague.net/x' to='juliet@capulet.com'";
    world.say(peer, &format!("<iq type='get' {addresses}><ping xmlns='urn:xmpp:ping'/></iq>"));
    world.say(peer, &format!("<iq type='get' id='2' {addresses}><a xmlns='x'/><a xmlns='x'/></iq>"));
    world.say(peer, &format!("<presence type='gone' {addresses}/>"));
    world.say(peer, &message("romeo@montague.net/x", "Ay"));
    assert!(world.heard(juliet).contains("<body>Ay</body>"), "{}", world.transcript());
    world.heard(peer);
    world.say(peer, ASK);
    assert_eq!(world.heard(peer), "<a xmlns='urn:xmpp:sm:3' h='4'/>");
    world.say(peer, &message("@", "Ay"));
    assert!(world.heard(peer).contains("<improper-addressing "));
}

#[test]
fn stanzas_of_a_blocked_domain_were_not_counted_and_good_ones_came_twice() {
    let (mut world, juliet) = played("", "<block xmlns='urn:jabber:config:3'>verona.it</block>");
    let peer = world.peer("montague.net", "capulet.com");
    world.say(peer, "<enable xmlns='urn:xmpp:sm:3'/>");
    world.say(peer, "<db:result from='verona.it' to='capulet.com'>key</db:result>");
    assert!(world.heard(peer).contains("type='valid'"), "{}", world.transcript());
    world.say(peer, &message("prince@verona.it/x", "Rebellious subjects"));
    world.say(peer, &message("romeo@montague.net/x", "Ay"));
    world.say(peer, ASK);
    assert_eq!(world.heard(peer), "<a xmlns='urn:xmpp:sm:3' h='2'/>");
    let heard = world.heard(juliet);
    assert!(heard.contains("<body>Ay</body>") && !heard.contains("Rebellious"), "{heard}");
}

/// Both servers opened a stream at the same time. By certificates each is for both directions, and Capulet sends by the one
/// of Montague.
fn both_opened(certificates: bool) -> (World, [usize; 2]) {
    let mut world = two(|setup| setup.certificates = certificates);
    let clients = [world.login(JULIET), world.login(ROMEO)];
    clients.iter().for_each(|client| world.say(*client, "<presence/>"));
    world.hold();
    let texts = [HELLO.to_string(), HELLO.replace("romeo@montague.net", "juliet@capulet.com")];
    for (client, text) in clients.iter().zip(&texts) {
        world.heard(*client);
        world.say(*client, text);
    }
    world.let_go();
    assert_eq!(world.dials(), 2);
    (world, clients)
}

#[test]
fn streams_that_were_opened_at_the_same_time_carry_each_message_once() {
    for certificates in [false, true] {
        let (mut world, clients) = both_opened(certificates);
        for client in clients {
            let heard = world.heard(client);
            assert_eq!(heard.matches("Art thou there?").count(), 1, "{heard}\n{}", world.transcript());
        }
    }
}

/// Our own stream was open and proved, so it was neither opened nor used again, and all that was sent came back.
#[test]
fn when_the_peers_stream_ended_our_own_was_never_used_again() {
    let (mut world, [juliet, romeo]) = both_opened(true);
    world.heard(romeo);
    world.cut_wires_of("montague.net");
    world.say(juliet, &HELLO.replace("there", "still there"));
    assert!(world.heard(romeo).contains("still there"), "{}", world.transcript());
    assert_eq!(world.dials(), 2);
}
