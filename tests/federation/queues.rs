//! What waits for another server, or is not acknowledged by it, survives a server that is killed.

use super::world::{Setup, World};
use crate::{JULIET, ROMEO};

fn chat(body: &str) -> String {
    format!("<message to='romeo@montague.net' type='chat' id='{body}'><body>{body}</body></message>")
}

/// Capulet and Montague, where Romeo is; Juliet is at home. With certificates stanzas are acknowledged.
fn world(certificates: bool, root: &str) -> (World, usize, usize) {
    let one = Setup::with("capulet.com", certificates, root);
    let mut world = World::new(vec![one, Setup::with("montague.net", certificates, "")]);
    let (juliet, romeo) = (world.login(JULIET), world.online(ROMEO));
    (world, juliet, romeo)
}

/// The bodies of the messages in what was heard.
fn bodies(heard: &str) -> Vec<&str> {
    heard.split("<body>").skip(1).filter_map(|rest| rest.split("</body>").next()).collect()
}

#[test]
fn what_waits_for_a_stream_survives() {
    for certificates in [false, true] {
        let (mut world, juliet, romeo) = world(certificates, "");
        world.mute("montague.net");
        for body in ["a", "b"] {
            world.say(juliet, &chat(body));
        }
        world.say(juliet, "<presence to='romeo@montague.net' type='subscribe'/>");
        world.say(juliet, "<iq type='get' to='montague.net' id='v'><query xmlns='jabber:iq:version'/></iq>");
        assert_eq!(world.written_down("capulet.com").len(), 3);
        world.crash("capulet.com", &Setup::with("capulet.com", certificates, ""));
        world.wait(7);
        // What is said meanwhile comes after it.
        let juliet = world.login(JULIET);
        world.say(juliet, &chat("c"));
        world.unmute("montague.net");
        world.cut_servers();
        world.wait(10);
        let heard = world.heard(romeo);
        assert_eq!(bodies(&heard), ["a", "b", "c"], "{}", world.transcript());
        assert_eq!(heard.matches("type='subscribe'").count(), 1, "{heard}");
        // RFC 6120 has no time in it: who gets it hours later sees when it was written.
        assert_eq!(heard.matches("<delay ").count(), 2, "{heard}");
        world.wait(2);
        assert_eq!(world.written_down("capulet.com"), [""; 0]);
        world.crash("capulet.com", &Setup::with("capulet.com", certificates, ""));
        world.wait(40);
        assert_eq!(world.heard(romeo), "");
    }
}

#[test]
fn what_is_not_acknowledged_survives() {
    let (mut world, juliet, romeo) = world(true, "");
    world.say(juliet, &chat("first"));
    assert_eq!(bodies(&world.heard(romeo)), ["first"]);
    world.mute("montague.net");
    for body in ["a", "b"] {
        world.say(juliet, &chat(body));
    }
    world.wait(3);
    assert_eq!(world.written_down("capulet.com").len(), 2);
    world.unmute("montague.net");
    world.crash("capulet.com", &Setup::with("capulet.com", true, ""));
    world.wait(1);
    assert_eq!(bodies(&world.heard(romeo)), ["a", "b"]);
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
}

#[test]
fn what_a_peer_takes_at_once_costs_no_write() {
    for certificates in [false, true] {
        let (mut world, juliet, romeo) = world(certificates, "");
        world.say(juliet, &chat("first"));
        world.wait(3);
        world.heard(romeo);
        let writes = world.writes();
        for body in ["a", "b", "c"] {
            world.say(juliet, &chat(body));
            world.wait(3);
        }
        assert_eq!((bodies(&world.heard(romeo)).len(), world.writes()), (3, writes));
    }
}

#[test]
fn everything_is_written_at_once_where_the_admin_wants_that() {
    let root = "<limits xmlns='urn:jabber:config:3'><acknowledge-millis>0</acknowledge-millis></limits>";
    let (mut world, juliet, romeo) = world(true, root);
    world.say(juliet, &chat("first"));
    world.heard(romeo);
    world.mute("montague.net");
    world.say(juliet, &chat("a"));
    world.unmute("montague.net");
    world.crash("capulet.com", &Setup::with("capulet.com", true, root));
    assert_eq!(bodies(&world.heard(romeo)), ["a"], "{}", world.transcript());
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
}

/// Its sender may not be back yet when the first try fails.
#[test]
fn what_waited_is_tried_for_its_time_and_then_comes_back() {
    let (mut world, juliet, _) = world(false, "");
    world.mute("montague.net");
    world.say(juliet, &chat("a"));
    world.take_down("montague.net");
    world.crash("capulet.com", &Setup::with("capulet.com", false, ""));
    let juliet = world.login(JULIET);
    world.wait(28);
    assert_eq!(world.heard(juliet), "");
    assert!(world.dials() > 3, "{}", world.dials());
    world.wait(3);
    let heard = world.heard(juliet);
    assert!(heard.contains("type='error'") && heard.contains("id='a'"), "{heard}");
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
}

#[test]
fn what_waits_when_the_server_is_stopped_is_there_at_the_next_start() {
    for certificates in [false, true] {
        let (mut world, juliet, romeo) = world(certificates, "");
        world.say(juliet, &chat("first"));
        world.heard(romeo);
        // Sent and not acknowledged, as long as there are acknowledgements; then there is no stream.
        world.mute("montague.net");
        if !certificates {
            world.cut_servers();
        }
        world.say(juliet, &chat("a"));
        world.terminate("capulet.com");
        world.wait(2);
        assert!(world.is_stopped("capulet.com") && world.written_down("capulet.com").len() == 1);
        world.unmute("montague.net");
        world.cut_servers();
        world.crash("capulet.com", &Setup::with("capulet.com", certificates, ""));
        assert_eq!(bodies(&world.heard(romeo)), ["a"], "{}", world.transcript());
    }
}

#[test]
fn what_comes_back_is_forgotten() {
    let (mut world, juliet, _) = world(false, "");
    world.mute("montague.net");
    world.say(juliet, &chat("a"));
    world.wait(31);
    assert!(world.heard(juliet).contains("type='error'"));
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
}

#[test]
fn what_waits_for_a_domain_that_was_blocked_meanwhile_is_dropped() {
    let (mut world, juliet, romeo) = world(false, "");
    world.mute("montague.net");
    world.say(juliet, &chat("a"));
    world.unmute("montague.net");
    let block = "<block xmlns='urn:jabber:config:3'>montague.net</block>";
    let dials = world.dials();
    world.crash("capulet.com", &Setup::with("capulet.com", false, block));
    assert_eq!((world.heard(romeo).as_str(), world.dials()), ("", dials));
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
}

#[test]
fn what_waits_for_too_long_or_for_nobody_goes() {
    let (mut world, juliet, romeo) = world(false, "");
    world.mute("montague.net");
    world.say(juliet, &chat("a"));
    world.admin("capulet.com", |server, _| {
        for (id, text) in [(7, "<message from='x@elsewhere.test' to='romeo@montague.net'/>"), (8, "<trash>")] {
            let received_unix_millis = 1;
            let row = jabber::store::remote_queue::Waiting { id, received_unix_millis, stanza: text.to_owned() };
            jabber::store::remote_queue::append(server.store_mut(), &row).unwrap();
        }
        let text = "<message xmlns='jabber:client' from='juliet@capulet.com/x' to='romeo@montague.net' type='chat'/>";
        let row = jabber::store::remote_queue::Waiting { id: 9, received_unix_millis: 1, stanza: text.to_owned() };
        jabber::store::remote_queue::append(server.store_mut(), &row).unwrap();
    });
    world.unmute("montague.net");
    world.crash("capulet.com", &Setup::with("capulet.com", false, ""));
    assert_eq!(bodies(&world.heard(romeo)), ["a"]);
    world.wait(2);
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
}

#[test]
fn no_more_is_written_down_than_there_is_room_for() {
    let root = "<limits xmlns='urn:jabber:config:3'><remote-kept-bytes-max>200</remote-kept-bytes-max></limits>";
    let (mut world, juliet, romeo) = world(false, root);
    world.mute("montague.net");
    for body in ["a", "b", "c"] {
        world.say(juliet, &chat(body));
    }
    assert_eq!(world.written_down("capulet.com").len(), 1);
    world.unmute("montague.net");
    world.cut_servers();
    world.wait(31);
    assert_eq!(world.heard(romeo).matches("<body>").count(), 0);
}

#[test]
fn what_waited_and_left_is_not_sent_again_after_a_clean_stop() {
    let (mut world, juliet, romeo) = world(false, "");
    // It waits for the stream, so it is written down; then it leaves by one without acknowledgements.
    world.say(juliet, &chat("a"));
    assert_eq!(bodies(&world.heard(romeo)), ["a"], "{}", world.transcript());
    assert_eq!(world.written_down("capulet.com").len(), 1);
    world.terminate("capulet.com");
    assert!(world.is_stopped("capulet.com"), "{}", world.transcript());
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
    world.crash("capulet.com", &Setup::with("capulet.com", false, ""));
    world.wait(5);
    assert_eq!(bodies(&world.heard(romeo)), [""; 0], "{}", world.transcript());
}

#[test]
fn what_waits_in_the_name_of_a_host_that_is_ours_no_more_is_dropped() {
    let mut two_hosts = Setup::with("capulet.com", false, "");
    two_hosts.hosts.push("paris.com".to_owned());
    let mut world = World::new(vec![two_hosts, Setup::with("montague.net", false, "")]);
    let romeo = world.online(ROMEO);
    world.mute("montague.net");
    let count = world.login("count@paris.com/hall");
    world.say(count, &chat("a"));
    assert_eq!(world.written_down("capulet.com").len(), 1);
    world.reload("capulet.com", &Setup::with("capulet.com", false, ""));
    assert_eq!(world.written_down("capulet.com"), [""; 0]);
    world.unmute("montague.net");
    let dials = world.dials();
    world.wait(60);
    assert_eq!((world.heard(romeo).as_str(), world.dials()), ("", dials), "{}", world.transcript());
    assert_eq!(world.connections("capulet.com"), 0);
}

#[test]
fn the_pause_before_another_try_doubles_up_to_five_minutes() {
    let (mut world, juliet, romeo) = world(false, "");
    world.take_down("montague.net");
    let tries = |world: &mut World| {
        let dials = world.dials();
        world.say(juliet, &chat("there?"));
        assert!(world.heard(juliet).contains("remote-server-timeout"));
        world.dials() - dials
    };
    assert_eq!(tries(&mut world), 1);
    for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
        world.wait(seconds - 1);
        assert_eq!(tries(&mut world), 0, "{seconds}");
        world.wait(1);
        assert_eq!(tries(&mut world), 1, "{seconds}");
    }
    // Once it was reached, the pause is short again.
    world.bring_up("montague.net");
    world.wait(300);
    world.say(juliet, &chat("here"));
    assert_eq!(bodies(&world.heard(romeo)), ["here"]);
    world.take_down("montague.net");
    world.cut_servers();
    assert_eq!(tries(&mut world), 1);
    world.wait(5);
    assert_eq!(tries(&mut world), 1);
}
