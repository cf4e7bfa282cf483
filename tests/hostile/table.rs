//! The table of hostile streams.

/// How far the connection is before the row is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was said.
    Prolog,
    /// TLS is done, headers were exchanged.
    Stranger,
    /// Logged in and bound.
    Bound,
}

/// What must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This stream error, the end of the stream, and of the connection.
    Error(&'static str),
    /// The end without an error.
    End,
    /// Nothing: the client is served on.
    Open,
}

/// What is sent.
pub enum Feed {
    /// Bytes.
    Bytes(&'static [u8]),
    /// Something, many times something, something.
    Many(&'static [u8], &'static [u8], usize, &'static [u8]),
}

/// One stream.
pub struct Row {
    pub name: &'static str,
    pub stage: Stage,
    pub feed: Feed,
    pub expect: Expect,
    /// In place of the usual bound.
    pub kib: Option<usize>,
}

impl Row {
    /// All bytes together.
    pub fn size(&self) -> usize {
        match self.feed {
            Feed::Bytes(bytes) => bytes.len(),
            Feed::Many(before, unit, count, after) => before.len() + unit.len() * count + after.len(),
        }
    }

    /// The bytes, about a chunk at a time, so that the test itself holds little.
    pub fn pieces(&self) -> Box<dyn Iterator<Item = Vec<u8>>> {
        match self.feed {
            Feed::Bytes(bytes) => Box::new(std::iter::once(bytes.to_vec())),
            Feed::Many(before, unit, count, after) => {
                let each = (65_536 / unit.len()).max(1);
                let whole = std::iter::repeat_n(each, count / each).chain(std::iter::once(count % each));
                let units = whole.map(move |count| unit.repeat(count));
                Box::new(std::iter::once(before.to_vec()).chain(units).chain(std::iter::once(after.to_vec())))
            }
        }
    }

    /// What it may cost. The pieces of the test itself, copies of a chunk, are in it.
    pub fn kib_max(&self) -> usize {
        self.kib.unwrap_or(match self.stage {
            Stage::Prolog | Stage::Stranger => STRANGER_KIB,
            Stage::Bound => CLIENT_KIB,
        })
    }
}

/// A frame of 10 000 bytes, and the test's own chunk of 64 KiB.
const STRANGER_KIB: usize = 128;
/// A stanza of 262 144 bytes as text, as a tree of up to 10 000 elements, and as text again.
const CLIENT_KIB: usize = 3_072;

const fn prolog(name: &'static str, bytes: &'static [u8], error: &'static str) -> Row {
    Row { name, stage: Stage::Prolog, feed: Feed::Bytes(bytes), expect: Expect::Error(error), kib: None }
}

const fn stranger(name: &'static str, bytes: &'static [u8], error: &'static str) -> Row {
    Row { name, stage: Stage::Stranger, feed: Feed::Bytes(bytes), expect: Expect::Error(error), kib: None }
}

const fn bound(name: &'static str, bytes: &'static [u8], error: &'static str) -> Row {
    Row { name, stage: Stage::Bound, feed: Feed::Bytes(bytes), expect: Expect::Error(error), kib: None }
}

const fn open(name: &'static str, bytes: &'static [u8]) -> Row {
    Row { name, stage: Stage::Bound, feed: Feed::Bytes(bytes), expect: Expect::Open, kib: None }
}

const fn many(name: &'static str, stage: Stage, feed: Feed, error: &'static str) -> Row {
    Row { name, stage, feed, expect: Expect::Error(error), kib: None }
}

const fn many_open(name: &'static str, feed: Feed, kib: Option<usize>) -> Row {
    Row { name, stage: Stage::Bound, feed, expect: Expect::Open, kib }
}

const LAUGHS: &[u8] = b"<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY lol \"lol\">\
    <!ENTITY lol2 \"&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;\">\
    <!ENTITY lol3 \"&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;\">]>\
    <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='&lol3;'>";

/// White space that a client sends: a gigabyte where the program is optimised, else a part of it.
const NOTHING: usize = if cfg!(debug_assertions) { 64 << 20 } else { 1 << 30 };

use Feed::Many;
use Stage::{Bound, Prolog, Stranger};

pub const ROWS: &[Row] = &[
    // Before the header.
    prolog("HTTP, but no browser", b"PROPFIND / HTTP/1.1\r\nHost: localhost\r\n\r\n", "not-well-formed"),
    prolog("TLS where none is expected", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not-well-formed"),
    prolog("mail", b"EHLO localhost\r\n", "not-well-formed"),
    prolog("NUL", b"\0", "unsupported-encoding"),
    prolog("UTF-16, big end first", b"\xFE\xFF\0<\0s\0t\0r", "unsupported-encoding"),
    prolog("UTF-16, little end first", b"\xFF\xFE<\0s\0t\0r\0", "unsupported-encoding"),
    prolog("UTF-16 without a mark", b"<\0s\0t\0r\0", "unsupported-encoding"),
    prolog("UTF-32", b"\0\0\xFE\xFF\0\0\0<", "unsupported-encoding"),
    prolog("UTF-16, declared", b"<?xml version='1.0' encoding='UTF-16'?>", "unsupported-encoding"),
    prolog("Latin 1, declared", b"<?xml version='1.0' encoding='ISO-8859-1'?>", "unsupported-encoding"),
    prolog("XML 1.1", b"<?xml version='1.1'?>", "not-well-formed"),
    prolog("two declarations", b"<?xml version='1.0'?><?xml version='1.0'?>", "restricted-xml"),
    prolog("a billion laughs", LAUGHS, "restricted-xml"),
    prolog(
        "an entity of a file",
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/passwd'>]>",
        "restricted-xml",
    ),
    prolog("a comment", b"<!-- hello -->", "restricted-xml"),
    prolog("a processing instruction", b"<?php system('id'); ?>", "restricted-xml"),
    prolog("an end tag first", b"</stream:stream>", "not-well-formed"),
    prolog("no stream's namespace", b"<stream:stream xmlns='jabber:client' to='localhost'>", "bad-namespace-prefix"),
    prolog(
        "a wrong stream's namespace",
        b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/stream' to='localhost'>",
        "invalid-namespace",
    ),
    prolog(
        "a wrong content namespace",
        b"<stream:stream xmlns='jabber:sever' xmlns:stream='http://etherx.jabber.org/streams' to='localhost'>",
        "invalid-namespace",
    ),
    prolog(
        "a stanza as the root",
        b"<message xmlns='jabber:client' to='localhost'>",
        "invalid-namespace",
    ),
    prolog(
        "another root",
        b"<stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost'>",
        "bad-format",
    ),
    prolog(
        "an attribute twice",
        b"<stream:stream to='a' to='b' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "not-well-formed",
    ),
    prolog(
        "an attribute without quotes",
        b"<stream:stream to=localhost xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "not-well-formed",
    ),
    prolog(
        "no version of this world",
        b"<stream:stream to='localhost' version='1e9' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "unsupported-version",
    ),
    prolog(
        "another host",
        b"<stream:stream to='&lt;script&gt;' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        "host-unknown",
    ),
    prolog("a slash in two bytes", b"<stream:stream to='\xC0\xAF'>", "unsupported-encoding"),
    prolog("half a surrogate", b"<stream:stream to='\xED\xA0\x80'>", "unsupported-encoding"),
    prolog("a character beyond the last", b"<stream:stream to='\xF5\x80\x80\x80'>", "unsupported-encoding"),
    Row {
        name: "a stream that is over before it begins",
        stage: Prolog,
        feed: Feed::Bytes(
            b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'/>",
        ),
        expect: Expect::End,
        kib: None,
    },
    many("no closing quote", Prolog, Many(b"<stream:stream to='", b"x", 1 << 20, b""), "policy-violation"),
    many("a million attributes", Prolog, Many(b"<stream:stream ", b"a='' ", 1 << 20, b""), "policy-violation"),
    many("a name without end", Prolog, Many(b"<", b"x", 1 << 20, b""), "policy-violation"),
    many("nothing, from a stranger", Prolog, Many(b"", b" ", 1 << 20, b""), "policy-violation"),
    many("line ends, from a stranger", Prolog, Many(b"", b"\r\n", 1 << 20, b""), "policy-violation"),
    many("a declaration without end", Prolog, Many(b"<?xml ", b" ", 1 << 20, b""), "policy-violation"),
    // Before login.
    stranger("a message before login", b"<message to='romeo@localhost'><body>hi</body></message>", "not-authorized"),
    stranger("presence before login", b"<presence/>", "not-authorized"),
    stranger(
        "the roster before login",
        b"<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
        "not-authorized",
    ),
    stranger(
        "binding before login",
        b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        "not-authorized",
    ),
    stranger(
        "registering somewhere else",
        b"<iq type='get' id='r' to='other.example'><query xmlns='jabber:iq:register'/></iq>",
        "not-authorized",
    ),
    stranger("text before login", b"let me in", "bad-format"),
    stranger("an unknown element", b"<open-sesame xmlns='urn:example:cave'/>", "unsupported-stanza-type"),
    stranger("a wrong end", b"</stream>", "not-well-formed"),
    stranger(
        "a second header",
        b"<stream:stream to='localhost' version='1.0'>",
        "bad-format",
    ),
    Row {
        name: "STARTTLS in TLS",
        stage: Stranger,
        feed: Feed::Bytes(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        expect: Expect::End,
        kib: None,
    },
    Row {
        name: "a client's own stream error",
        stage: Stranger,
        feed: Feed::Bytes(
            b"<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        ),
        expect: Expect::End,
        kib: None,
    },
    many(
        "mechanisms that are not there, again and again",
        Stranger,
        Many(b"", b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>", 100, b""),
        "policy-violation",
    ),
    many(
        "responses to nothing, again and again",
        Stranger,
        Many(b"", b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", 100, b""),
        "policy-violation",
    ),
    many(
        "a login that is too long",
        Stranger,
        Many(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>", b"A", 1 << 20, b"</auth>"),
        "policy-violation",
    ),
    many("elements in elements, from a stranger", Stranger, Many(b"", b"<a>", 1 << 20, b""), "policy-violation"),
    many(
        "forms without end, from a stranger",
        Stranger,
        Many(b"", b"<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>", 2_000, b""),
        "policy-violation",
    ),
    many("nothing, after the header", Stranger, Many(b"", b" ", 1 << 20, b""), "policy-violation"),
    // After login.
    bound("tags that do not match", b"<message><a></b></message>", "not-well-formed"),
    bound("no name", b"<message><></message>", "not-well-formed"),
    bound("two colons", b"<message><a:b:c/></message>", "not-well-formed"),
    bound("a comment in a stanza", b"<message><!-- x --></message>", "restricted-xml"),
    bound("an instruction in a stanza", b"<message><?x y?></message>", "restricted-xml"),
    bound("a document type in a stanza", b"<message><!DOCTYPE x></message>", "restricted-xml"),
    bound("an entity of one's own", b"<message><body>&lol;</body></message>", "restricted-xml"),
    bound("an entity in an attribute", b"<message id='&lol;'/>", "restricted-xml"),
    bound("a reference to NUL", b"<message><body>&#0;</body></message>", "not-well-formed"),
    bound("a reference to a control character", b"<message><body>&#x1F;</body></message>", "not-well-formed"),
    bound("a reference to a surrogate", b"<message><body>&#xD800;</body></message>", "not-well-formed"),
    bound("a reference beyond Unicode", b"<message><body>&#x110000;</body></message>", "not-well-formed"),
    bound("a reference of many digits", b"<message><body>&#99999999999999999999;</body></message>", "not-well-formed"),
    bound("NUL in a body", b"<message><body>\0</body></message>", "not-well-formed"),
    bound("a control character in a body", b"<message><body>\x1B[2J</body></message>", "not-well-formed"),
    bound("U+FFFE", b"<message><body>\xEF\xBF\xBE</body></message>", "not-well-formed"),
    bound("overlong UTF-8", b"<message><body>\xC0\x80</body></message>", "unsupported-encoding"),
    bound("a lone continuation", b"<message><body>\x80</body></message>", "unsupported-encoding"),
    bound("half a character", b"<message><body>\xE2\x82</body></message>", "unsupported-encoding"),
    bound("the end of CDATA in text", b"<message><body>]]></body></message>", "not-well-formed"),
    bound("a tag in an attribute", b"<message id='<'/>", "not-well-formed"),
    bound("attributes without a space", b"<message a='1'b='2'/>", "not-well-formed"),
    bound("an attribute twice, under two prefixes", b"<message xmlns:a='u' xmlns:b='u' a:c='1' b:c='2'/>", "not-well-formed"),
    bound("an undeclared prefix", b"<message><x:y/></message>", "bad-namespace-prefix"),
    bound("an undeclared prefix of an attribute", b"<message x:y='z'/>", "bad-namespace-prefix"),
    bound("text between stanzas", b"hi", "bad-format"),
    bound("an unknown stanza", b"<query xmlns='jabber:iq:roster'/>", "unsupported-stanza-type"),
    bound("a stanza of servers", b"<message xmlns='jabber:server'/>", "unsupported-stanza-type"),
    bound("another's name", b"<message from='juliet@localhost' to='romeo@localhost'/>", "invalid-from"),
    bound("the server's name", b"<message from='localhost' to='romeo@localhost'/>", "invalid-from"),
    bound("no name at all", b"<presence from='@'/>", "invalid-from"),
    bound("a second header, bound", b"<stream:stream>", "bad-format"),
    bound("a wrong end in a stanza", b"<message><body>x</message", "not-well-formed"),
    bound("the stream's end in a stanza", b"<message><body></stream:stream>", "not-well-formed"),
    bound("NUL in an unfinished stanza", b"<message><body>\0", "not-well-formed"),
    bound("a broken character in an unfinished stanza", b"<message><body>\xE2\x82<", "unsupported-encoding"),
    bound(
        "a second login",
        b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
        "unsupported-stanza-type",
    ),
    many("elements in elements", Bound, Many(b"<message>", b"<a>", 1 << 20, b""), "policy-violation"),
    many("many elements", Bound, Many(b"<message>", b"<a/>", 60_000, b"</message>"), "policy-violation"),
    many(
        "a namespace that is declared once and written for each of thousands of elements",
        Bound,
        Many(b"<message xmlns:p='urn:example:a-namespace-with-a-name-that-is-not-short'>", b"<p:a/>", 9_000, b"</message>"),
        "policy-violation",
    ),
    many(
        "a namespace that is written for each of thousands of attributes",
        Bound,
        Many(b"<message xmlns:p='urn:example:a-namespace-with-a-name-that-is-not-short'>", b"<a p:b=''/>", 5_200, b"</message>"),
        "policy-violation",
    ),
    many("many attributes", Bound, Many(b"<message ", b"a='1' ", 1 << 20, b"/>"), "policy-violation"),
    many("a long name", Bound, Many(b"<message><", b"a", 1 << 20, b"/></message>"), "policy-violation"),
    many("a long body", Bound, Many(b"<message><body>", b"a", 1 << 20, b"</body></message>"), "policy-violation"),
    many("CDATA without end", Bound, Many(b"<message><body><![CDATA[", b"]", 1 << 20, b""), "policy-violation"),
    many("an attribute without end", Bound, Many(b"<message id='", b"a", 1 << 20, b""), "policy-violation"),
    many("references without end", Bound, Many(b"<message><body>", b"&lt;", 1 << 19, b""), "policy-violation"),
    many("a tag without end", Bound, Many(b"<message", b" ", 1 << 20, b""), "policy-violation"),
    open("binding twice", b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"),
    open("no iq of the four types", b"<iq type='steal' id='i'><query xmlns='jabber:iq:roster'/></iq>"),
    open("no address of this world", b"<message to='@@@'/><iq to='/' type='get' id='i'/><presence to='\xC2\xAD@x'/>"),
    open("an iq without anything", b"<iq/>"),
    open("presence of no type and no number", b"<presence type='x'/><presence><priority>many</priority></presence>"),
    open("xmlns='' and prefixes that change", b"<message><a xmlns=''><p:b xmlns:p='u'><p:c xmlns:p='v'/></p:b></a></message>"),
    many_open("nothing, for ever", Many(b"", b" ", NOTHING, b""), Some(192)),
    many_open(
        "messages to nobody",
        Many(b"", b"<message to='nobody@localhost'><body>hi</body></message>", 2_000, b""),
        None,
    ),
    many_open("presence again and again", Many(b"", b"<presence/>", 2_000, b""), None),
    many_open(
        "a stanza as big as allowed, of many elements",
        Many(b"<message to='romeo@localhost/nobody'>", b"<a/>", 9_990, b"</message>"),
        None,
    ),
    many_open(
        "a stanza as big as allowed, of text",
        Many(b"<message to='romeo@localhost/nobody'><body>", b"0123456789", 26_000, b"</body></message>"),
        None,
    ),
    many_open(
        "a stanza as big as allowed, of escapes",
        Many(b"<message to='romeo@localhost/nobody'><body>", b"&lt;", 60_000, b"</body></message>"),
        None,
    ),
    many_open(
        "a privacy list of far too many items",
        Many(
            b"<iq type='set' id='1'><query xmlns='jabber:iq:privacy'><list name='l'>",
            b"<item action='deny' order='1'/>",
            8_000,
            b"</list></query></iq>",
        ),
        Some(6_144),
    ),
    many_open(
        "a block of far too many",
        Many(b"<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'>", b"<item jid='a@b'/>", 9_990, b"</block></iq>"),
        Some(6_144),
    ),
    many_open(
        "blocked and unblocked again and again",
        Many(
            b"",
            b"<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'><item jid='a@b'/></block></iq>\
              <iq type='set' id='2'><unblock xmlns='urn:xmpp:blocking'/></iq>",
            500,
            b"",
        ),
        None,
    ),
    many_open(
        "a privacy list with a name as long as allowed",
        Many(
            b"<iq type='set' id='1'><query xmlns='jabber:iq:privacy'><list name='",
            b"0123456789",
            26_000,
            b"'><item action='deny' order='1'/></list></query></iq>",
        ),
        None,
    ),
    many_open(
        "namespaces as far as allowed",
        Many(b"<message to='romeo@localhost/nobody'>", b"<a xmlns='urn:example:a' xmlns:b='urn:example:b'/>", 5_000, b"</message>"),
        Some(4_096),
    ),
];
