//! The reader as a whole: splits, hostile streams, bounds, memory, and both engines against each other.

use super::*;
use crate::xml::{Node, writer};

mod hostile;
mod mutations;

const LIMITS: Limits = Limits { frame_bytes: 2000, depth: 10, elements: 40, attributes: 12, name_bytes: 64 };
const ENGINES: [Engine; 2] = [Engine::Own, Engine::XmlRs];
const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      to='localhost' version='1.0'>";

/// Streams that are as they should be.
const GOOD: &[&str] = &[
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
     to='localhost' from='romeo@localhost' version='1.0' xml:lang='en'>\n\
     <message to='juliet@localhost/balcony' type='chat' id='m1'><body>Neither, fair saint, &lt;3 &amp; \u{1F339}</body>\
     <active xmlns='http://jabber.org/protocol/chatstates'/></message>   <presence/>\r\n\
     <iq type='get' id='1'><query xmlns='jabber:iq:roster' ver=''/></iq></stream:stream>",
    "\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<stream:stream xmlns:stream=\"http://etherx.jabber.org/streams\" \
     xmlns=\"jabber:server\" xmlns:db=\"jabber:server:dialback\" id='x>y'><db:result to='a' from='b'>k\r\ney</db:result>\
     <message xmlns='jabber:server'><body>a</body><x:y xmlns:x='urn:x' x:z='1' z='2' xml:lang='de' xml:space='preserve'/>\
     </message></stream:stream  >",
    "<stream xmlns='http://etherx.jabber.org/streams'><message xmlns='jabber:client'/><a:iq xmlns:a='jabber:server'/>\
     <features/></stream>",
    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>",
    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'>\
     <message><body><![CDATA[]]><![CDATA[<b>&amp;]] ]>]]]]>&#x1F339;&#10;&#13;tail]] > \r\r\n</body><s  a = '\r\n\t&#9;&#10;\"' \
     b=\"'&gt;>\"\t/><e></e><e ></e ></message></stream:stream>",
    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client' xmlns:p='urn:p'>\
     <p:\u{E9}l\u{E9}ment p:\u{FC}='\u{FFFD}' xmlns:p='urn:q'><p:a/><b xmlns=''><c/></b></p:\u{E9}l\u{E9}ment><p:a/>\
     <a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:id='1' _-.1='x'/>\u{20}",
    "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:component:accept' id=''>\
     <handshake>aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e</handshake><stream:streams/><message from='a.b'>\
     <x xmlns='jabber:component:accept'/><y xmlns='jabber:server'/></message>",
];

fn collect(reader: &mut Reader, events: &mut Vec<Event>) -> Option<ReadError> {
    loop {
        match reader.next() {
            // A run of white space may be told in pieces.
            Ok(Some(Event::Whitespace)) if events.last() == Some(&Event::Whitespace) => {}
            Ok(Some(event)) => events.push(event),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

fn read<'a>(engine: Engine, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<ReadError>) {
    let mut reader = Reader::with_engine(LIMITS, engine);
    let mut events = Vec::new();
    let mut error = None;
    for piece in pieces {
        reader.push(piece);
        error = collect(&mut reader, &mut events);
    }
    (events, error)
}

fn elements(events: &[Event]) -> Vec<String> {
    let all = events.iter().filter_map(|event| match event {
        Event::Element(element) => Some(element.to_string()),
        _ => None,
    });
    all.collect()
}

/// Every cut into two, and all bytes one by one.
fn assert_splits_agree(bytes: &[u8], engine: Engine) {
    let whole = read(engine, [bytes]);
    for at in 0..=bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(read(engine, [left, right]), whole, "cut at {at} of {:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(read(engine, bytes.chunks(1)), whole, "byte by byte: {:?}", String::from_utf8_lossy(bytes));
    assert_eq!(read(engine, bytes.chunks(7)), whole);
}

#[test]
fn good_streams_are_read_alike_by_both_engines_and_however_split() {
    for stream in GOOD {
        let own = read(Engine::Own, [stream.as_bytes()]);
        assert_eq!(own, read(Engine::XmlRs, [stream.as_bytes()]), "{stream}");
        assert_eq!(own.1, None, "{stream}");
        for engine in ENGINES {
            assert_splits_agree(stream.as_bytes(), engine);
        }
    }
}

#[test]
fn a_header_is_told_as_it_stands() {
    let (events, _) = read(Engine::Own, [GOOD[0].as_bytes()]);
    let Some(Event::Opened(header)) = events.first() else { panic!("no header") };
    let expected = StreamHeader {
        name: "stream".into(),
        prefix: "stream".into(),
        ns: "http://etherx.jabber.org/streams".into(),
        content_ns: "jabber:client".into(),
        to: Some("localhost".into()),
        from: Some("romeo@localhost".into()),
        id: None,
        version: Some("1.0".into()),
        lang: Some("en".into()),
        declares_dialback: false,
    };
    assert_eq!(**header, expected);
    assert_eq!(events.last(), Some(&Event::Closed));

    let (events, _) = read(Engine::Own, [GOOD[1].as_bytes()]);
    let Some(Event::Opened(header)) = events.first() else { panic!("no header") };
    assert!(header.declares_dialback);
    assert_eq!((header.id.as_deref(), header.content_ns.as_str()), (Some("x>y"), "jabber:server"));

    let (events, _) = read(Engine::Own, [b"<a:b xmlns:a='urn:c' version=''>".as_slice()]);
    let Some(Event::Opened(header)) = events.first() else { panic!("no header") };
    assert_eq!((header.name.as_str(), header.prefix.as_str(), header.ns.as_str()), ("b", "a", "urn:c"));
    assert_eq!(header.version.as_deref(), Some(""));
}

#[test]
fn trees_are_as_xml_says() {
    // The frame after a header of jabber:client, and how the tree is written.
    let rows = [
        ("<a/>", "<a xmlns='jabber:client'/>"),
        ("<a  b = \"1\"\n c='2'></a\t>", "<a xmlns='jabber:client' b='1' c='2'/>"),
        // XML 1.0 §3.3.3: white space in values becomes spaces unless it was a reference.
        ("<a b='\t\r\n\n&#x9;&#xD;'/>", "<a xmlns='jabber:client' b='   &#9;&#13;'/>"),
        // XML 1.0 §2.11: line ends are one character.
        ("<a>1\r\n2\r3\n&#13;</a>", "<a xmlns='jabber:client'>1\n2\n3\n&#13;</a>"),
        ("<a>&lt;&gt;&amp;&apos;&quot;&#65;&#x42;</a>", "<a xmlns='jabber:client'>&lt;&gt;&amp;&apos;&quot;AB</a>"),
        ("<a>x<![CDATA[<y>]]>z</a>", "<a xmlns='jabber:client'>x&lt;y&gt;z</a>"),
        ("<a><b xmlns='u'><c/></b><c/></a>", "<a xmlns='jabber:client'><b xmlns='u'><c/></b><c/></a>"),
        ("<s:a xmlns:s='u' s:b='1' b='2'/>", "<a xmlns='u' xmlns:n1='u' n1:b='1' b='2'/>"),
        ("<a xmlns=''/>", "<a xmlns=''/>"),
        ("<a xml:lang='en'><stream:b/></a>", "<a xmlns='jabber:client' xml:lang='en'><stream:b/></a>"),
        ("<a b='>'>></a>", "<a xmlns='jabber:client' b='&gt;'>&gt;</a>"),
        ("<a xmlns='jabber:server'/>", "<a xmlns='jabber:server'/>"),
    ];
    for (frame, expected) in rows {
        for engine in ENGINES {
            let (events, error) = read(engine, [HEADER.as_bytes(), frame.as_bytes()]);
            assert_eq!(error, None, "{frame}");
            // A lone element is written without the declarations of a header.
            let expected = expected.replace("<a xmlns=''/>", "<a/>");
            let written = elements(&events).concat();
            assert_eq!(written, expected, "{frame} by {engine:?}");
        }
    }
}

#[test]
fn stanzas_of_all_content_namespaces_are_read_as_client() {
    for (header_ns, stanza, expected) in [
        ("jabber:client", "<iq/>", "jabber:client"),
        ("jabber:server", "<iq/>", "jabber:client"),
        ("jabber:server", "<iq xmlns='jabber:server'/>", "jabber:client"),
        ("jabber:server", "<s:iq xmlns:s='jabber:server'/>", "jabber:client"),
        ("jabber:component:accept", "<iq/>", "jabber:client"),
        ("jabber:component:accept", "<iq xmlns='jabber:server'/>", "jabber:server"),
        ("jabber:client", "<iq xmlns='jabber:server'/>", "jabber:server"),
        ("urn:x", "<iq/>", "urn:x"),
        ("urn:x", "<iq xmlns='jabber:server'/>", "jabber:client"),
        ("", "<iq/>", ""),
    ] {
        let header = HEADER.replace("xmlns='jabber:client'", &format!("xmlns='{header_ns}'"));
        for engine in ENGINES {
            let (events, error) = read(engine, [header.as_bytes(), stanza.as_bytes()]);
            let Some(Event::Element(element)) = events.last() else { panic!("{header_ns} {stanza}: {error:?}") };
            assert_eq!(element.ns(), expected, "{stanza} in {header_ns}");
        }
    }
}

#[test]
fn what_the_writer_writes_is_read_back() {
    for stream in GOOD {
        for event in read(Engine::Own, [stream.as_bytes()]).0 {
            let Event::Element(element) = event else { continue };
            let mut written = String::from(
                "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                 xmlns:db='jabber:server:dialback'>",
            );
            writer::element(&mut written, &element, "jabber:client");
            for engine in ENGINES {
                let (events, error) = read(engine, [written.as_bytes()]);
                assert_eq!(error, None, "{written}");
                assert_eq!(events.last(), Some(&Event::Element(element.clone())), "{written}");
            }
        }
    }
}

#[test]
fn known_words_cost_nothing() {
    let (events, _) = read(Engine::Own, [HEADER.as_bytes(), b"<message type='chat'><body>hi</body></message>"]);
    let Some(Event::Element(element)) = events.last() else { panic!("no element") };
    assert!(matches!(element.ns_text(), crate::xml::Text::Static("jabber:client")));
    assert!(matches!(element.attribute_text("type"), Some(crate::xml::Text::Static("chat"))));
    assert!(matches!(element.nodes(), [Node::Element(_)]));
}

#[test]
fn an_idle_reader_is_small() {
    // A hundred thousand of them are kept; two declared namespaces come to it.
    assert!(size_of::<Reader>() <= 256, "{}", size_of::<Reader>());
}

#[test]
fn white_space_and_nothing_cost_no_memory() {
    let mut reader = Reader::new(LIMITS);
    let space = vec![b' '; 1 << 16];
    for _ in 0..200 {
        reader.push(&space);
        assert_eq!(reader.next(), Ok(None));
    }
    reader.push(HEADER.as_bytes());
    assert!(matches!(reader.next(), Ok(Some(Event::Opened(_)))));
    assert_eq!(reader.next(), Ok(None));
    for _ in 0..200 {
        reader.push(&space);
        assert_eq!(reader.next(), Ok(Some(Event::Whitespace)));
        assert_eq!(reader.next(), Ok(None));
        reader.push(b"");
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.buffer.capacity(), 0);
    }
    // What a stanza needed is given back.
    reader.push(b"<message><body>x</body></message>\n<presence><show>");
    assert!(matches!(reader.next(), Ok(Some(Event::Element(_)))));
    while reader.next() != Ok(None) {}
    assert_ne!(reader.framer.kept(), 0);
    reader.push(b"away</show></presence>");
    assert!(matches!(reader.next(), Ok(Some(Event::Element(_)))));
    assert_eq!(reader.next(), Ok(None));
    assert_eq!((reader.buffer.capacity(), reader.framer.kept()), (0, 0));
    // White space inside a stanza is content, and held to the bound.
    reader.push(b"<message>");
    assert_eq!(reader.next(), Ok(None));
    reader.push(&space);
    assert_eq!(reader.next(), Err(ReadError::PolicyViolation(Bound::FrameBytes)));
    assert_eq!(reader.buffer.capacity(), 0);
    reader.push(&space);
    assert_eq!(reader.buffer.capacity(), 0);
}

#[test]
fn an_unfinished_frame_costs_its_bound_at_most() {
    let mut reader = Reader::new(LIMITS);
    reader.push(HEADER.as_bytes());
    assert!(matches!(reader.next(), Ok(Some(Event::Opened(_)))));
    reader.push(b"<a>");
    let mut pushed = 3;
    while let Ok(event) = reader.next() {
        assert_eq!(event, None);
        assert!(reader.buffer.capacity() <= LIMITS.frame_bytes + 1);
        reader.push(b"x");
        pushed += 1;
    }
    assert_eq!(pushed, LIMITS.frame_bytes + 1);
}

#[test]
fn bounds_let_pass_what_is_equal_to_them() {
    let many = |count: usize, text: &str| text.repeat(count);
    let attributes = |count: usize| (0..count).map(|number| format!(" a{number}=''")).collect::<String>();
    let rows = [
        (format!("<a>{}</a>", many(1993, "x")), format!("<a>{}</a>", many(1994, "x")), Bound::FrameBytes),
        (
            format!("{}{}", many(10, "<a>"), many(10, "</a>")),
            format!("{}{}", many(11, "<a>"), many(11, "</a>")),
            Bound::Depth,
        ),
        (format!("<a>{}</a>", many(39, "<b/>")), format!("<a>{}</a>", many(40, "<b/>")), Bound::Elements),
        (format!("<a{}/>", attributes(12)), format!("<a{}/>", attributes(13)), Bound::Attributes),
        (format!("<{}/>", many(64, "n")), format!("<{}/>", many(65, "n")), Bound::NameBytes),
        (format!("<a {}='' />", many(64, "n")), format!("<a {}='' />", many(65, "n")), Bound::NameBytes),
        // Each of these elements is written with its namespace.
        (
            format!("<a xmlns:p='{}'>{}</a>", many(50, "u"), many(39, "<p:b/>")),
            format!("<a xmlns:p='{}'>{}</a>", many(51, "u"), many(39, "<p:b/>")),
            Bound::Namespaces,
        ),
        (
            format!("<a xmlns:p='{}'>{}</a>", many(50, "u"), many(39, "<b p:c=''/>")),
            format!("<a xmlns:p='{}'>{}</a>", many(51, "u"), many(39, "<b p:c=''/>")),
            Bound::Namespaces,
        ),
        (
            format!("<a xmlns='{}' xmlns:p='urn'>{}</a>", many(102, "u"), many(18, "<p:b><c/></p:b>")),
            format!("<a xmlns='{}' xmlns:p='urn'>{}</a>", many(103, "u"), many(18, "<p:b><c/></p:b>")),
            Bound::Namespaces,
        ),
        (format!("<a xmlns:{}='u'/>", many(58, "n")), format!("<a xmlns:{}='u'/>", many(59, "n")), Bound::NameBytes),
    ];
    for (passes, fails, bound) in rows {
        // Twice, for all counts must begin anew.
        let (events, error) = read(Engine::Own, [HEADER.as_bytes(), passes.as_bytes(), passes.as_bytes()]);
        assert_eq!((events.len(), error), (3, None), "{passes}");
        let stream = format!("{HEADER}{fails}");
        assert_eq!(read(Engine::Own, [stream.as_bytes()]).1, Some(ReadError::PolicyViolation(bound)), "{fails}");
        assert_splits_agree(stream.as_bytes(), Engine::Own);
    }
}

/// Thousands of prefixes, and thousands of names that were looked for among all of them, held up everybody.
#[test]
fn so_many_prefixes_are_in_scope_at_a_time() {
    let frame = |count: usize| {
        let tags = (0..count).map(|number| format!("<a xmlns:p{number}='u'>")).collect::<String>();
        format!("{tags}<p0:b p0:c=''/>{}", "</a>".repeat(count))
    };
    let limits = Limits { depth: 300, elements: 600, frame_bytes: 100_000, ..LIMITS };
    let error = |text: &str| {
        let mut reader = Reader::new(limits);
        reader.push(format!("{HEADER}{text}").as_bytes());
        while reader.next().is_ok_and(|event| event.is_some()) {}
        reader.next().err()
    };
    // Those that went out of scope do not count.
    assert_eq!(error(&format!("{0}<x>{1}{1}</x>", frame(256), frame(255))), None);
    assert_eq!(error(&frame(257)), Some(ReadError::PolicyViolation(Bound::Prefixes)));
}

#[test]
fn bounds_may_change_between_stanzas() {
    let mut reader = Reader::new(LIMITS);
    reader.push(HEADER.as_bytes());
    assert!(matches!(reader.next(), Ok(Some(Event::Opened(_)))));
    reader.set_limits(Limits { depth: 1, ..LIMITS });
    reader.push(b"<a/><a><b/></a>");
    assert!(matches!(reader.next(), Ok(Some(Event::Element(_)))));
    assert_eq!(reader.next(), Err(ReadError::PolicyViolation(Bound::Depth)));
    // An error stays.
    assert_eq!(reader.next(), Err(ReadError::PolicyViolation(Bound::Depth)));
    reader.push(b"<a/>");
    assert_eq!(reader.next(), Err(ReadError::PolicyViolation(Bound::Depth)));
}

#[test]
fn a_restart_expects_a_header_in_the_bytes_that_follow() {
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    let stream = format!("{HEADER}{auth}\n<?xml version='1.0'?>{HEADER}<message/></stream:stream>");
    // At once, and cut anywhere.
    for at in 0..=stream.len() {
        let mut reader = Reader::new(LIMITS);
        let mut seen = Vec::new();
        let (left, right) = stream.as_bytes().split_at(at);
        for piece in [left, right] {
            reader.push(piece);
            while let Some(event) = reader.next().unwrap() {
                if matches!(&event, Event::Element(element) if element.name() == "auth") {
                    reader.restart();
                }
                seen.push(event);
            }
        }
        assert!(matches!(
            seen.as_slice(),
            [Event::Opened(_), Event::Element(_), Event::Opened(_), Event::Element(_), Event::Closed]
        ));
    }
    // Without it, the second header is an element, and its declaration is restricted.
    let (events, error) = read(Engine::Own, [stream.as_bytes()]);
    assert_eq!((events.len(), error), (3, Some(ReadError::RestrictedXml)));
}

#[test]
fn what_follows_the_closing_tag_is_dropped() {
    let mut reader = Reader::new(LIMITS);
    reader.push(format!("{HEADER}</stream:stream><message/><!--").as_bytes());
    assert!(matches!(reader.next(), Ok(Some(Event::Opened(_)))));
    assert_eq!(reader.next(), Ok(Some(Event::Closed)));
    assert_eq!(reader.next(), Ok(None));
    reader.push(b"<message/>");
    assert_eq!(reader.next(), Ok(None));
    assert_eq!(reader.buffer.capacity(), 0);
}

#[test]
fn what_is_in_no_namespace_stays_there() {
    for text in ["<a/>", "<a xmlns='urn:x'><b xmlns=''/></a>", "<a><b xmlns='jabber:client'/></a>"] {
        let read = element(text).unwrap();
        assert_eq!(element(&read.to_string()).unwrap(), read, "{text}");
    }
    assert_eq!(element("<a xmlns=''/>").unwrap().ns(), "");
}

/// However the bytes are split, what is at fault costs itself alone.
#[test]
fn a_lenient_reader_skips_elements_and_goes_on() {
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    // What comes, and names of what is read; a faulty one in brackets.
    let rows = [
        ("<a><b>0123456789012345678901234567890123456789</b></a><c/>", "(a)c"),
        ("<a/> <b><!-- </b> --></b> <c/>", "a(b)c"),
        ("<!-- x --><a><x:y/></a><?x?><c/>", "(?)(a)(?)c"),
        ("<a b='0123456789012345678901234567890123456789'/><c/>", "(?)c"),
        ("<a><![CDATA[</a>]]>012345678901234567890123456789</a><c/>", "(a)c"),
        ("<a><b></c></a>", "!"),
        ("<!DOCTYPE a>", "!"),
    ];
    for (text, expected) in rows {
        for at in 0..=text.len() {
            let limits = Limits { frame_bytes: 200, depth: 9, elements: 9, attributes: 9, name_bytes: 99 };
            let mut reader = Reader::new(limits);
            reader.push(header.as_bytes());
            assert!(matches!(reader.next(), Ok(Some(Event::Opened(_)))));
            reader.set_limits(Limits { frame_bytes: 40, ..limits });
            reader.be_lenient();
            let mut heard = String::new();
            let (one, two) = text.as_bytes().split_at(at);
            for bytes in [one, two] {
                reader.push(bytes);
                loop {
                    match reader.next() {
                        Ok(Some(Event::Element(element))) => heard.push_str(element.name()),
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => match reader.skip() {
                            Some(Skipped { head: Some(head) }) => heard.push_str(&format!("({})", head.name())),
                            Some(Skipped { head: None }) => heard.push_str("(?)"),
                            None => {
                                heard = "!".to_owned();
                                break;
                            }
                        },
                    }
                }
            }
            assert_eq!(heard, expected, "{text} {at}");
        }
    }
}
