//! Servers that mean no good, and wires that break at any moment.

use super::world::{Setup, World};
use crate::{HELLO, JULIET, ROMEO, two};

/// Capulet with Juliet, and montague.net as the test plays it.
fn played() -> (World, usize) {
    let mut capulet = Setup::new("capulet.com");
    capulet.certificates = true;
    let mut world = World::new(vec![capulet]);
    world.play("montague.net");
    let juliet = world.login(JULIET);
    (world, juliet)
}

/// A stanza under which the other server ends its streams would be sent for ever.
#[test]
fn a_stanza_that_ends_each_stream_comes_back() {
    for last_words in ["", "<a xmlns='urn:xmpp:sm:3' h='77'/>", "</stream:stream>"] {
        let (mut world, juliet) = played();
        world.say(juliet, HELLO);
        for round in 0..5 {
            let peer = world.answer("montague.net");
            assert!(world.heard(peer).contains("Art thou there?"), "{round}: {}", world.transcript());
            match last_words {
                "" => world.hang_up(peer),
                words => world.say(peer, words),
            }
            // The second time may be chance; then there is a pause.
            assert_eq!(world.called.front().is_some(), round == 0, "{round}");
            if round > 0 && round < 4 {
                assert_eq!(world.heard(juliet), "");
                world.wait(5);
            }
        }
        let heard = world.heard(juliet);
        assert!(heard.contains("remote-server-timeout") && heard.contains("before it acknowledges"), "{heard}");
        world.wait(60);
        assert_eq!(world.written_down("capulet.com"), [""; 0]);
    }
}

#[test]
fn who_acknowledges_nothing_is_hung_up_on_and_costs_no_more_than_the_queue() {
    let mut capulet = Setup::new("capulet.com");
    capulet.certificates = true;
    capulet.root =
        "<limits xmlns='urn:jabber:config:3'><remote-queue-bytes-max>10000</remote-queue-bytes-max></limits>"
            .to_string();
    let mut world = World::new(vec![capulet]);
    world.play("montague.net");
    let juliet = world.login(JULIET);
    world.say(juliet, HELLO);
    let peer = world.answer("montague.net");
    for _ in 0..30 {
        world.say(juliet, &HELLO.replace("there", &"x".repeat(900)));
    }
    assert!(world.is_hung_up(peer), "{}", world.transcript());
    let refused = world.heard(juliet).matches("<resource-constraint").count();
    assert!((10..=25).contains(&refused), "{refused}");
}

/// It ended the stream that everybody uses, for the other server takes no more than this one.
#[test]
fn a_stanza_that_is_too_long_once_it_is_written_anew_comes_back() {
    // One byte to this server is four to the other.
    let long = ">".repeat(70_000);
    let (mut world, juliet) = played();
    world.say(juliet, HELLO);
    let peer = world.answer("montague.net");
    world.heard(peer);
    world.say(juliet, &HELLO.replace("there", &long));
    let heard = world.heard(juliet);
    assert!(heard.contains("type='error'") && heard.contains("<policy-violation"), "{}", heard.len());
    // Who asks gets an answer in place of one that is too long.
    world.say(peer, "<a xmlns='urn:xmpp:sm:3' h='1'/>");
    let back = world.peer("montague.net", "capulet.com");
    let ask = "<iq type='get' id='q' from='romeo@montague.net/o' to='juliet@capulet.com/balcony'><a xmlns='u'/></iq>";
    world.say(back, ask);
    assert!(world.heard(juliet).contains("id='q'"));
    world.say(juliet, &format!("<iq type='result' id='q' to='romeo@montague.net/o'><a xmlns='u'>{long}</a></iq>"));
    let heard = world.heard(peer);
    assert!(heard.contains("type='error'") && heard.contains("<policy-violation"), "{}", heard.len());
    assert!(!heard.contains("&gt;"));
    // Others are heard as before, and nothing waits.
    world.say(peer, "<a xmlns='urn:xmpp:sm:3' h='2'/>");
    world.say(juliet, HELLO);
    assert!(world.heard(peer).contains("Art thou there?") && !world.is_hung_up(peer), "{}", world.transcript());
    world.say(peer, "<a xmlns='urn:xmpp:sm:3' h='3'/>");
    world.wait(2);
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
}

/// XEP-0198 §5: what cannot be resumed is answered; the stream was ended for it.
#[test]
fn a_wish_to_resume_a_stream_is_refused_and_the_stream_goes_on() {
    let (mut world, juliet) = played();
    let peer = world.peer("montague.net", "capulet.com");
    world.say(peer, "<resume xmlns='urn:xmpp:sm:3' previd='of-another' h='7'/>");
    let heard = world.heard(peer);
    assert!(heard.contains("<failed xmlns='urn:xmpp:sm:3'><item-not-found"), "{heard}");
    world.say(peer, "<enable xmlns='urn:xmpp:sm:3'/>");
    assert!(world.heard(peer).contains("<enabled"));
    world.say(juliet, "<presence/>");
    world.say(
        peer,
        "<message from='romeo@montague.net' to='juliet@capulet.com' type='chat'><body>hear</body></message>",
    );
    assert!(world.heard(juliet).contains("hear"));
}

/// Questions cost an answer each, and nothing else.
#[test]
fn a_flood_of_questions_is_answered() {
    let (mut world, juliet) = played();
    world.say(juliet, HELLO);
    let peer = world.answer("montague.net");
    world.heard(peer);
    world.say(peer, &"<r xmlns='urn:xmpp:sm:3'/>".repeat(1000));
    assert_eq!(world.heard(peer).matches("<a xmlns").count(), 1000);
    assert!(!world.is_hung_up(peer));
}

#[test]
fn one_stream_proves_so_many_domains_and_no_more() {
    let (mut world, _) = played();
    world.test_name = "*.evil.test".to_string();
    let peer = world.peer("evil.test", "capulet.com");
    for number in 0..1100 {
        world.say(peer, &format!("<db:result from='d{number}.evil.test' to='capulet.com'>key</db:result>"));
    }
    let heard = world.heard(peer);
    assert_eq!(heard.matches("type='valid'").count(), 999, "with the one of the certificate");
    assert_eq!(heard.matches("<resource-constraint").count(), 101);
    world.say(peer, "<message from='x@d1.evil.test' to='juliet@capulet.com'/>");
    world.say(peer, "<message from='x@d1099.evil.test' to='juliet@capulet.com'/>");
    assert!(world.heard(peer).contains("<invalid-from"));
}

/// Whatever was said so far: the message arrives or comes back, and nothing is left behind.
#[test]
fn a_wire_may_break_at_any_byte_of_a_negotiation() {
    for certificates in [false, true] {
        let world = || {
            let mut world = two(|setup| {
                setup.certificates = certificates;
                setup.jabber_xml("<idletimeout>30</idletimeout>");
            });
            let (juliet, romeo) = (world.login(JULIET), world.online(ROMEO));
            (world, juliet, romeo)
        };
        let (mut whole, juliet, _) = world();
        whole.say(juliet, HELLO);
        let most = whole.carried();
        assert!(most > 1000);
        for bytes in (0..most).step_by(61) {
            let (mut world, juliet, romeo) = world();
            world.cut_after(bytes);
            world.say(juliet, HELLO);
            world.wait(40);
            let (there, back) = (world.heard(romeo), world.heard(juliet));
            let arrived = there.matches("Art thou there?").count();
            let returned = back.matches("Art thou there?").count();
            // Without acknowledgements one that was under way is lost, and nobody knows. With them it may come twice, when
            // the acknowledgement is lost.
            let is_known = match certificates {
                true => arrived + returned == 1 || (arrived, returned) == (2, 0),
                false => arrived + returned <= 1,
            };
            assert!(is_known, "cut after {bytes}: {arrived} arrived, {returned} came back\n{}", world.transcript());
            // The next one finds its way.
            world.wait(10);
            world.say(juliet, &HELLO.replace("there", "here"));
            world.wait(40);
            assert!(world.heard(romeo).contains("here?"), "cut after {bytes}:\n{}", world.transcript());
            world.wait(70);
            for domain in ["capulet.com", "montague.net"] {
                assert_eq!(world.connections(domain), 1, "cut after {bytes}: {domain}\n{}", world.transcript());
                assert_eq!(world.written_down(domain), [""; 0]);
            }
        }
    }
}

/// Compat: ejabberd 23 ends the stream on which it refused a certificate, and would take dialback on another.
#[test]
fn who_hangs_up_on_our_certificate_is_asked_for_dialback() {
    let (mut world, juliet) = played();
    world.say(juliet, HELLO);
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    let features = format!("<mechanisms {sasl}><mechanism>EXTERNAL</mechanism></mechanisms>");
    let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                  xmlns:db='jabber:server:dialback' from='montague.net' id='x' version='1.0'>";
    for is_first in [true, false] {
        let peer = world.called().unwrap();
        let tls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
        world.say(peer, &format!("{header}<stream:features>{tls}</stream:features>"));
        world.say(peer, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        world.say(peer, &format!("{header}<stream:features>{features}</stream:features>"));
        let heard = world.heard(peer);
        assert_eq!((heard.contains("<auth "), heard.contains("<db:result ")), (is_first, !is_first), "{heard}");
        match is_first {
            true => world.say(peer, &format!("<failure {sasl}><not-authorized/></failure></stream:stream>")),
            false => world.say(peer, "<db:result from='montague.net' to='capulet.com' type='valid'/>"),
        }
        assert_eq!(world.heard(peer).contains("Art thou there?"), !is_first);
    }
    assert!(world.called().is_none());
}

/// Each name costs no more than the dial that it is refused by.
#[test]
fn who_refuses_each_of_its_many_names_and_stays_holds_no_stream_of_ours() {
    const HELD_MAX: usize = 1;
    let (mut world, juliet) = played();
    let header = |domain: &str| {
        format!(
            "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback' from='{domain}' id='x' version='1.0'>"
        )
    };
    for round in 0..3 {
        for number in 0..20 {
            let domain = format!("d{number}.evil.test");
            world.play(&domain);
            world.say(juliet, &HELLO.replace("montague.net", &domain));
            let peer = world.called().unwrap_or_else(|| panic!("{round} {number}: {}", world.transcript()));
            let open = header(&domain);
            let tls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
            world.say(peer, &format!("{open}<stream:features>{tls}</stream:features>"));
            world.say(peer, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
            let feature = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
            world.say(peer, &format!("{open}<stream:features>{feature}</stream:features>"));
            assert!(world.heard(peer).contains("<db:result "), "{}", world.transcript());
            world.say(peer, &format!("<db:result from='{domain}' to='capulet.com' type='error'/>"));
            assert!(world.heard(juliet).contains("type='error'"), "{}", world.transcript());
            assert!(world.connections("capulet.com") <= 1 + HELD_MAX, "{round} {number}");
        }
        world.wait(60);
    }
}
