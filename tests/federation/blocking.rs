//! Blocked domains, in both directions.

use std::cell::RefCell;
use std::sync::Once;

use jabber::config::{Block, BlockAction};

use super::world::{Setup, World};
use crate::{HELLO, JULIET, ROMEO};

thread_local! { static RECORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) } }

thread_local! { static RATIONED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) } }

/// Keeps record.log's lines, and those of error.log about what came back, of each test's thread; and the marks of all that
/// strangers bring about.
struct Records;

impl log::Log for Records {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let (about, text) = (record.target(), record.args().to_string());
        let key = |name| record.key_values().get(log::kv::Key::from(name)).map(|value| value.to_string());
        if let (Some(of), Some(by)) = (key("strangers"), key("by")) {
            RATIONED.with_borrow_mut(|lines| lines.push(format!("{of} by {by}")));
        }
        if let Some(about) = about.strip_prefix("record:") {
            RECORDS.with_borrow_mut(|lines| lines.push(format!("{about} {text}")));
        } else if text.starts_with("bounc") {
            RECORDS.with_borrow_mut(|lines| lines.push(format!("({about}): {text}")));
        }
    }
    fn flush(&self) {}
}

/// The lines about blocks since the last call.
fn blocked_lines() -> Vec<String> {
    let lines = RECORDS.with_borrow_mut(std::mem::take);
    lines.into_iter().filter(|line| line.contains(" blocked ")).collect()
}

fn block(domain: &str, subdomains: bool, action: BlockAction) -> Block {
    Block { domain: domain.to_owned(), subdomains, action }
}

const MONTAGUE: &str = "<block xmlns='urn:jabber:config:3'>montague.net</block>";
const CAPULET: &str = "<block xmlns='urn:jabber:config:3'>capulet.com</block>";
const CAPULET_BOUNCED: &str = "<block xmlns='urn:jabber:config:3' action='bounce'>capulet.com</block>";

/// Capulet and Montague with these elements in their files; Juliet and Romeo are there.
fn world(capulet: &str, montague: &str) -> (World, usize, usize) {
    with_certificates(capulet, montague, false)
}

fn with_certificates(capulet: &str, montague: &str, certificates: bool) -> (World, usize, usize) {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_boxed_logger(Box::new(Records)).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
    let mut world = World::new(vec![
        Setup::with("capulet.com", certificates, capulet),
        Setup::with("montague.net", certificates, montague),
    ]);
    let (juliet, romeo) = (world.login(JULIET), world.login(ROMEO));
    world.say(juliet, "<presence/>");
    world.say(romeo, "<presence/>");
    world.heard(juliet);
    world.heard(romeo);
    (world, juliet, romeo)
}

#[test]
fn what_is_for_a_blocked_domain_never_leaves() {
    let (mut world, juliet, romeo) = world(MONTAGUE, "");
    world.say(juliet, HELLO);
    world.say(juliet, "<iq type='get' to='montague.net' id='v'><query xmlns='jabber:iq:version'/></iq>");
    world.say(juliet, "<presence to='romeo@montague.net' type='subscribe'/>");
    world.say(juliet, "<presence to='romeo@montague.net/orchard'/>");
    world.wait(60);
    let heard = world.heard(juliet);
    assert!(!heard.contains("error"), "{heard}");
    assert_eq!((world.heard(romeo).as_str(), world.dials()), ("", 0));
    assert_eq!(
        blocked_lines(),
        [
            "juliet@capulet.com blocked out message montague.net",
            "juliet@capulet.com blocked out iq montague.net",
            "juliet@capulet.com blocked out presence montague.net",
            "juliet@capulet.com blocked out presence montague.net",
        ]
    );
}

#[test]
fn a_bounce_tells_the_sender() {
    let (mut world, juliet, _) = world(&MONTAGUE.replace("<block ", "<block action='bounce' "), "");
    world.say(juliet, HELLO);
    let heard = world.heard(juliet);
    assert!(heard.contains("<not-allowed ") && heard.contains("exchanges nothing with montague.net"), "{heard}");
    world.say(juliet, "<iq type='get' to='montague.net' id='v'><query xmlns='jabber:iq:version'/></iq>");
    assert!(world.heard(juliet).contains("<not-allowed "));
    assert_eq!(world.dials(), 0);
}

#[test]
fn an_island_blocks_too() {
    let (mut world, juliet, _) = world("<service id='montague.net'><null/></service>", "");
    world.say(juliet, HELLO);
    assert_eq!(world.heard(juliet), "");
    assert_eq!(blocked_lines(), ["juliet@capulet.com blocked out message montague.net"]);
}

#[test]
fn a_service_that_is_gone_leaves_the_roster() {
    let (mut world, juliet, _) =
        world("<service id='montague.net'><unsubscribe>Moved away.</unsubscribe></service>", "");
    world.say(juliet, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    world.say(juliet, HELLO);
    let heard = world.heard(juliet);
    assert!(heard.contains("code='502'") && heard.contains("Moved away."), "{heard}");
    world.say(juliet, "<presence to='romeo@montague.net' type='subscribe'/>");
    let heard = world.heard(juliet);
    assert!(heard.contains("type='unsubscribed'"), "{heard}");
    let (_, last) = heard.rsplit_once("<item ").unwrap();
    assert!(last.contains("subscription='none'") && !last.contains("ask="), "{heard}");
}

/// Compat: jabberd 1.4's words, level and subject; of a user who is away it said nothing.
#[test]
fn what_comes_back_from_elsewhere_is_in_the_log_and_does_not_fill_it() {
    let bounced = || {
        let lines = RECORDS.with_borrow_mut(std::mem::take);
        lines.into_iter().filter(|line| line.contains("bounc")).collect::<Vec<_>>()
    };
    let (mut world, juliet, _) =
        world("<service id='montague.net'><unsubscribe>Moved away.</unsubscribe></service>", "");
    world.say(juliet, HELLO);
    world.say(juliet, "<message to='nobody@capulet.com'><body>Anybody?</body></message>");
    world.say(juliet, "<message to='a@nowhere.example'><body>Anybody?</body></message>");
    world.wait(1);
    let heard = world.heard(juliet);
    assert_eq!(heard.matches("type='error'").count(), 3, "{heard}");
    assert_eq!(
        bounced(),
        [
            format!("(montague.net): bouncing a packet to romeo@montague.net from {JULIET}: Moved away."),
            format!(
                "(nowhere.example): bouncing a packet to a@nowhere.example from {JULIET}: nowhere.example does not exist"
            ),
        ]
    );
    // They are hers: the log has so many of each.
    let rationed = RATIONED.with_borrow(Clone::clone);
    assert_eq!(rationed.iter().filter(|line| *line == "packets that bounced by juliet@capulet.com").count(), 2);
    assert!(rationed.contains(&"servers that could not be reached by juliet@capulet.com".to_owned()), "{rationed:?}");
}

/// The sender's server sees nothing unusual, and no server is called back for the proof.
#[test]
fn what_comes_from_a_blocked_domain_is_dropped() {
    for certificates in [false, true] {
        let (mut world, juliet, romeo) = with_certificates("", CAPULET, certificates);
        world.say(juliet, HELLO);
        world.say(juliet, "<presence to='romeo@montague.net' type='subscribe'/>");
        world.wait(60);
        let heard = world.heard(juliet);
        assert!(!heard.contains("error"), "{heard}");
        assert_eq!((world.heard(romeo).as_str(), world.dials()), ("", 1), "{}", world.transcript());
        assert_eq!(
            blocked_lines(),
            ["romeo@montague.net blocked in message capulet.com", "romeo@montague.net blocked in presence capulet.com"]
        );
    }
}

#[test]
fn a_refused_domain_is_told() {
    for certificates in [false, true] {
        let (mut world, juliet, romeo) = with_certificates("", CAPULET_BOUNCED, certificates);
        world.say(juliet, HELLO);
        world.wait(60);
        assert!(world.heard(juliet).contains("type='error'"), "{}", world.transcript());
        assert!(world.transcript().contains("<policy-violation "), "{}", world.transcript());
        assert_eq!((world.heard(romeo).as_str(), world.dials()), ("", 1));
    }
}

#[test]
fn a_block_takes_effect_on_open_streams_and_can_be_taken_back() {
    for certificates in [false, true] {
        let (mut world, juliet, romeo) = with_certificates("", "", certificates);
        world.say(juliet, HELLO);
        assert!(world.heard(romeo).contains("Art thou there?"));
        world.say(romeo, "<message to='juliet@capulet.com'><body>Ay</body></message>");
        assert!(world.heard(juliet).contains("Ay"));
        let all = block("com", true, BlockAction::Drop);
        world.admin("montague.net", |server, now| server.block(now, all.clone())).unwrap();
        world.say(juliet, HELLO);
        world.say(romeo, "<message to='juliet@capulet.com'><body>Ay</body></message>");
        assert_eq!((world.heard(juliet).as_str(), world.heard(romeo).as_str()), ("", ""));
        assert_eq!(
            blocked_lines(),
            ["romeo@montague.net blocked in message capulet.com", "romeo@montague.net blocked out message capulet.com"]
        );
        assert!(world.admin("montague.net", |server, now| server.unblock(now, "com")).unwrap());
        world.say(juliet, HELLO);
        assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
        // Bounced, now that the streams are open: the answer goes back on them.
        let bounce = block("capulet.com", false, BlockAction::Bounce);
        world.admin("montague.net", |server, now| server.block(now, bounce.clone())).unwrap();
        world.say(juliet, HELLO);
        let heard = world.heard(juliet);
        assert!(heard.contains("<not-allowed ") && world.heard(romeo).is_empty(), "{heard}");
        assert_eq!(blocked_lines(), ["romeo@montague.net blocked in message capulet.com"]);
    }
}

#[test]
fn a_domain_that_was_let_in_to_be_dropped_is_not_believed_later() {
    let (mut world, juliet, romeo) = world("", CAPULET);
    world.say(juliet, HELLO);
    assert!(world.transcript().contains("type='valid'"), "{}", world.transcript());
    world.reload("montague.net", &Setup::with("montague.net", false, ""));
    world.say(juliet, HELLO);
    assert_eq!(world.heard(romeo), "", "{}", world.transcript());
    assert!(world.transcript().contains("<invalid-from "), "{}", world.transcript());
    world.wait(1);
    world.say(juliet, HELLO);
    assert!(world.heard(romeo).contains("Art thou there?"), "{}", world.transcript());
}

#[test]
fn what_waits_for_a_domain_is_stopped_when_it_is_blocked() {
    let (mut world, juliet, romeo) = world("", "");
    world.mute("montague.net");
    world.say(juliet, HELLO);
    world.reload("capulet.com", &Setup::with("capulet.com", false, MONTAGUE));
    world.unmute("montague.net");
    world.wait(90);
    assert_eq!((world.heard(juliet).as_str(), world.heard(romeo).as_str()), ("", ""));
    assert_eq!(blocked_lines(), ["juliet@capulet.com blocked out message montague.net"]);
}

/// XEP-0198: it was sent before the block, and would be sent again.
#[test]
fn what_was_not_acknowledged_is_not_sent_again_to_a_blocked_domain() {
    let (mut world, juliet, romeo) = with_certificates("", "", true);
    world.say(juliet, HELLO);
    world.heard(romeo);
    world.mute("montague.net");
    world.say(juliet, HELLO);
    world.reload("capulet.com", &Setup::with("capulet.com", true, MONTAGUE));
    let dials = world.dials();
    world.cut_servers();
    world.unmute("montague.net");
    world.wait(90);
    assert_eq!((world.heard(juliet).as_str(), world.heard(romeo).as_str()), ("", ""));
    assert_eq!(blocked_lines(), ["juliet@capulet.com blocked out message montague.net"]);
    assert_eq!(world.dials(), dials + 1, "only Montague looks for Capulet");
}

#[test]
fn a_flood_does_not_fill_the_disk() {
    let (mut world, juliet, _) = world(MONTAGUE, "");
    world.say(juliet, HELLO);
    assert_eq!(blocked_lines().len(), 1);
    // The log has so many of each.
    assert_eq!(RATIONED.with_borrow(Clone::clone), ["stanzas that a block stopped by montague.net"]);
}
