//! Bytes into elements and elements into text: both engines of the reader, and the writer.

use std::hint::black_box;

use jabber::xml::reader::{Engine, Event, Limits, Reader};
use jabber::xml::writer;
use jabber::xmpp::Jid;

const LIMITS: Limits = Limits { frame_bytes: 1 << 18, depth: 64, elements: 4096, attributes: 64, name_bytes: 1024 };
const HEADER: &str = "<?xml version='1.0'?><stream:stream to='capulet.com' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
/// A chat message of 230 bytes, as clients of today send it.
const MESSAGE: &str = "<message to='juliet@capulet.com/balcony' type='chat' id='e1a9ad94'><body>Wherefore art thou, \
                       Romeo? Deny thy father &amp; refuse.</body><active \
                       xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>";
const PRESENCE: &str = "<presence><priority>5</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
                        node='https://gajim.org' ver='b4bFbcrXzjNJwKZqRS7fhrTfhPU='/></presence>";
/// Stanzas handed over at once, as a busy socket does.
const BATCH: u32 = 16;

pub(crate) fn run() {
    println!("  per stanza; the last column is the ratio to the first line of each block");
    let avatar = format!(
        "<iq type='set' id='a'><vCard xmlns='vcard-temp'><PHOTO>{}</PHOTO></vCard></iq>",
        "QUJD".repeat(10_000)
    );
    for (name, stanza) in [("message", MESSAGE), ("presence", PRESENCE), ("avatar", avatar.as_str())] {
        println!("  -- {name}, {} bytes", stanza.len());
        let bytes = stanza.repeat(BATCH as usize);
        let mut own = opened(Engine::Own);
        let mut single = opened(Engine::Own);
        let mut judge = opened(Engine::XmlRs);
        super::compare(
            BATCH,
            &mut [
                ("own parser, 16 stanzas a push", &mut || read(&mut own, bytes.as_bytes())),
                ("own parser, one stanza a push", &mut || {
                    for _ in 0..BATCH {
                        read(&mut single, stanza.as_bytes());
                    }
                }),
                ("xml-rs, 16 stanzas a push", &mut || read(&mut judge, bytes.as_bytes())),
            ],
        );
    }
    write();
    println!("  -- addresses");
    let jid = |text| move || drop(black_box(Jid::new(black_box(text))));
    super::compare(
        1,
        &mut [
            ("a full JID", &mut jid("juliet@capulet.com/balcony")),
            ("a bare JID", &mut jid("juliet@capulet.com")),
            ("beyond ASCII", &mut jid("Julia@Käpulet.example/Balkon")),
        ],
    );
}

fn write() {
    println!("  -- writer, message");
    let mut reader = opened(Engine::Own);
    reader.push(MESSAGE.as_bytes());
    let Ok(Some(Event::Element(element))) = reader.next() else { return };
    let fresh = element.clone();
    let mut out = String::new();
    let mut again = String::new();
    super::compare(
        1,
        &mut [
            ("whole", &mut || {
                out.clear();
                writer::element(&mut out, black_box(&fresh), "jabber:client");
                black_box(&out);
            }),
            ("to one more receiver of a fan-out", &mut || {
                again.clear();
                writer::stanza(&mut again, black_box(&element), "jabber:client", None, Some("nurse@capulet.com/x"));
                black_box(&again);
            }),
        ],
    );
}

fn opened(engine: Engine) -> Reader {
    let mut reader = Reader::with_engine(LIMITS, engine);
    reader.push(HEADER.as_bytes());
    assert!(matches!(reader.next(), Ok(Some(Event::Opened(_)))));
    reader
}

fn read(reader: &mut Reader, bytes: &[u8]) {
    reader.push(black_box(bytes));
    while let Ok(Some(event)) = reader.next() {
        black_box(&event);
    }
}
