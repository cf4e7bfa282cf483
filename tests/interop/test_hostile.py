"""Streams that no honest client sends, each with the stream error it must get (RFC 6120 §4.9.3).

What is expected is a set where the RFC leaves a choice. `reference` holds what Prosody says besides, so that the tests
can be proved against it; it is not accepted from us.
"""

import collections
import os
import socket
import ssl

import pytest

import wire
from conftest import make_account

HEADER = f"<stream:stream to='localhost' version='1.0' xmlns='{wire.CLIENT}' xmlns:stream='{wire.STREAMS}'>"
XML = "<?xml version='1.0'?>"
WELL_FORMED = {"not-well-formed", "xml-not-well-formed", "bad-format"}
# RFC 6120 §4.9.3.18 for what XML allows and XMPP does not (§11.1).
RESTRICTED = {"restricted-xml"}
POLICY = {"policy-violation"}
NAMESPACE = {"invalid-namespace"}
MEBIBYTE = 1 << 20

Row = collections.namedtuple("Row", "name data expected reference", defaults=(frozenset(),))


def laughs():
    entities = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
    return f"{XML}<!DOCTYPE s [<!ENTITY l0 'ha'>{entities}]>{HEADER}&l9;"


def header(**changes):
    """A stream header with other attributes; None takes one away."""
    attributes = {
        "to": "localhost",
        "version": "1.0",
        "xmlns": wire.CLIENT,
        "xmlns:stream": wire.STREAMS,
    } | changes
    return "<stream:stream " + " ".join(f"{k}='{v}'" for k, v in attributes.items() if v is not None) + ">"


# Sent in place of a stream header.
AT_THE_START = [
    Row("http request, but no browser", "PROPFIND / HTTP/1.1\r\nHost: localhost\r\n\r\n", WELL_FORMED),
    Row("ssh banner", "SSH-2.0-OpenSSH_9.2\r\n", WELL_FORMED),
    Row("smtp", "EHLO example.org\r\n", WELL_FORMED),
    Row("binary noise", bytes(range(128, 256)) * 4, WELL_FORMED | {"unsupported-encoding"}),
    Row("closing tag first", "</stream:stream>", WELL_FORMED),
    Row("doctype", f"{XML}<!DOCTYPE stream>{HEADER}", RESTRICTED, WELL_FORMED),
    Row("doctype with a file", f"{XML}<!DOCTYPE s SYSTEM 'file:///etc/passwd'>{HEADER}", RESTRICTED, WELL_FORMED),
    Row("billion laughs", laughs(), RESTRICTED, WELL_FORMED),
    Row("comment before the stream", f"<!-- hello -->{HEADER}", RESTRICTED, WELL_FORMED),
    Row("instruction before the stream", f"{XML}<?xml-stylesheet href='x'?>{HEADER}", RESTRICTED, WELL_FORMED),
    Row("latin-1", f"<?xml version='1.0' encoding='ISO-8859-1'?>{HEADER}", {"unsupported-encoding"}, WELL_FORMED),
    Row(
        "unknown encoding",
        f"<?xml version='1.0' encoding='x-none'?>{HEADER}",
        {"unsupported-encoding"},
        WELL_FORMED,
    ),
    Row("utf-16", f"{XML}{HEADER}".encode("utf-16"), {"unsupported-encoding"} | WELL_FORMED),
    Row("utf-16 without a mark", f"{XML}{HEADER}".encode("utf-16-be"), {"unsupported-encoding"} | WELL_FORMED),
    Row("utf-32", f"{XML}{HEADER}".encode("utf-32"), {"unsupported-encoding"} | WELL_FORMED),
    Row("xml 2.0", f"<?xml version='2.0'?>{HEADER}", WELL_FORMED | {"unsupported-version"}),
    Row("two declarations", f"{XML}{XML}{HEADER}", WELL_FORMED | RESTRICTED),
    Row("wrong stream namespace", header(**{"xmlns:stream": "urn:streams"}), NAMESPACE | WELL_FORMED),
    Row(
        "no stream namespace",
        f"<stream to='localhost' version='1.0' xmlns='{wire.CLIENT}'>",
        NAMESPACE | WELL_FORMED,
    ),
    Row("undeclared stream prefix", header(**{"xmlns:stream": None}), WELL_FORMED | {"bad-namespace-prefix"}),
    Row("another root", f"<stanza xmlns='{wire.STREAMS}' to='localhost'>", NAMESPACE | WELL_FORMED),
    Row("server namespace", header(xmlns="jabber:server"), NAMESPACE),
    Row("unknown content namespace", header(xmlns="urn:content"), NAMESPACE),
    Row("no content namespace", header(xmlns=None), NAMESPACE),
    Row("unknown host", header(to="nowhere.example"), {"host-unknown"}),
    Row("a host that is no name", header(to="@/ /@"), {"host-unknown", "improper-addressing"}),
    Row(
        "stanza instead of a stream", f"<message xmlns='{wire.CLIENT}'><body/></message>", NAMESPACE | WELL_FORMED
    ),
    Row("attribute twice", HEADER[:-1] + " to='localhost'>", WELL_FORMED),
    Row("attribute without quotes", "<stream:stream to=localhost>", WELL_FORMED),
    Row("attribute without end", "<stream:stream to='" + "x" * MEBIBYTE, POLICY),
    Row("name without end", "<" + "x" * MEBIBYTE, POLICY | WELL_FORMED),
    Row("blanks without end", " " * MEBIBYTE, POLICY | WELL_FORMED),
    Row("blanks in the tag without end", "<stream:stream" + " " * MEBIBYTE, POLICY),
    Row("a million attributes", "<stream:stream" + "".join(f" a{n}=''" for n in range(100_000)), POLICY),
    Row("a thousand namespaces", HEADER[:-1] + "".join(f" xmlns:n{n}='u:{n}'" for n in range(1000)) + ">", POLICY),
]

# Sent after an honest header and its features.
BEFORE_LOGIN = [
    Row("message before login", "<message to='a@localhost'><body>x</body></message>", {"not-authorized"}),
    Row("presence before login", "<presence/>", {"not-authorized"}),
    Row("unknown element", "<hello xmlns='urn:x'/>", {"not-authorized", "unsupported-stanza-type"}),
    Row("comment", "<!-- hello -->", RESTRICTED, WELL_FORMED),
    Row("comment in an element", "<iq><!-- hello --></iq>", RESTRICTED, WELL_FORMED),
    Row("instruction", "<?hello?>", RESTRICTED, WELL_FORMED),
    Row("instruction in an element", "<iq><?php exit ?></iq>", RESTRICTED, WELL_FORMED),
    Row("doctype in the stream", "<!DOCTYPE x>", RESTRICTED | WELL_FORMED),
    Row("entity declaration", "<!ENTITY x 'y'>", RESTRICTED | WELL_FORMED),
    Row("unknown entity", "<iq>&nbsp;</iq>", RESTRICTED | WELL_FORMED),
    Row("entity in an attribute", "<iq a='&nope;'/>", RESTRICTED | WELL_FORMED),
    Row("declaration again", XML, RESTRICTED | WELL_FORMED),
    Row("mismatched tags", "<iq></presence>", WELL_FORMED),
    Row("closing an unopened tag", "</iq>", WELL_FORMED),
    Row("undeclared prefix", "<a:b/>", WELL_FORMED | {"bad-namespace-prefix"}),
    Row("undeclared attribute prefix", "<iq a:b='c'/>", WELL_FORMED | {"bad-namespace-prefix"}),
    Row("emptied prefix", "<iq xmlns:a=''/>", WELL_FORMED | {"bad-namespace-prefix"}),
    Row("xml prefix elsewhere", "<iq xmlns:xml='urn:x'/>", WELL_FORMED | {"bad-namespace-prefix"}),
    Row("xmlns prefix", "<iq xmlns:xmlns='urn:x'/>", WELL_FORMED | {"bad-namespace-prefix"}),
    Row("attribute twice by namespace", "<iq xmlns:a='u:1' xmlns:b='u:1' a:x='' b:x=''/>", WELL_FORMED),
    Row("attribute twice", "<iq a='' a=''/>", WELL_FORMED),
    Row("no blank between attributes", "<iq a=''b=''/>", WELL_FORMED),
    Row("no value", "<iq a/>", WELL_FORMED),
    Row("less-than in an attribute", "<iq a='<'/>", WELL_FORMED),
    Row("bare ampersand", "<iq>a & b</iq>", WELL_FORMED),
    Row("end of cdata in text", "<iq>]]></iq>", WELL_FORMED),
    Row("name with a digit first", "<1iq/>", WELL_FORMED),
    Row("two colons", "<a:b:c xmlns:a='urn:a'/>", WELL_FORMED),
    Row("nul", b"<iq>\0</iq>", WELL_FORMED),
    Row("control character", b"<iq>\x01</iq>", WELL_FORMED),
    Row("reference to nul", "<iq>&#0;</iq>", WELL_FORMED),
    Row("reference to a control character", "<iq>&#x1;</iq>", WELL_FORMED),
    Row("reference to a surrogate", "<iq>&#xD800;</iq>", WELL_FORMED),
    Row("reference beyond unicode", "<iq>&#x110000;</iq>", WELL_FORMED),
    Row("reference of a thousand digits", "<iq>&#" + "9" * 1000 + ";</iq>", WELL_FORMED),
    Row("noncharacter", b"<iq>\xef\xbf\xbf</iq>", WELL_FORMED),
    Row("overlong utf-8", b"<iq>\xc0\xbc</iq>", WELL_FORMED | {"unsupported-encoding"}),
    Row("overlong nul", b"<iq>\xc0\x80</iq>", WELL_FORMED | {"unsupported-encoding"}),
    Row("surrogate in utf-8", b"<iq>\xed\xa0\x80</iq>", WELL_FORMED | {"unsupported-encoding"}),
    Row("utf-8 beyond unicode", b"<iq>\xf4\x90\x80\x80</iq>", WELL_FORMED | {"unsupported-encoding"}),
    Row("lone continuation byte", b"<iq>\x80</iq>", WELL_FORMED | {"unsupported-encoding"}),
    Row("broken utf-8", b"<iq>\xe2\x82</iq>", WELL_FORMED | {"unsupported-encoding"}),
    Row("text between stanzas", "hello", WELL_FORMED),
    Row("cdata between stanzas", "<![CDATA[x]]>", WELL_FORMED),
    Row("header in the stream", HEADER, WELL_FORMED),
    Row("deep nesting", "<a>" * 5000, POLICY),
    Row("element without end", "<iq>" + "x" * MEBIBYTE, POLICY),
    Row("elements without end", "<iq>" + "<a/>" * 100_000, POLICY),
    Row("attribute without end", "<iq a='" + "x" * MEBIBYTE, POLICY),
    Row("a million attributes", "<iq" + "".join(f" a{n}=''" for n in range(100_000)), POLICY),
    Row("blanks without end", " " * MEBIBYTE, POLICY),
    Row("cdata without end", "<iq><![CDATA[" + "]" * MEBIBYTE, POLICY),
]

# Sent from a bound session.
IN_A_SESSION = [
    Row("unknown stanza", "<hello xmlns='urn:x'/>", {"unsupported-stanza-type"}),
    Row("unknown stanza of ours", "<hello/>", {"unsupported-stanza-type"}),
    Row(
        "server namespace",
        "<message xmlns='jabber:server' to='a@localhost'/>",
        NAMESPACE | {"unsupported-stanza-type"},
    ),
    Row(
        "login again",
        f"<auth xmlns='{wire.SASL}' mechanism='PLAIN'>AGEAYg==</auth>",
        {"unsupported-stanza-type", "policy-violation", "not-authorized"},
        {"failure"},
    ),
    Row(
        "tls again", f"<starttls xmlns='{wire.TLS}'/>", {"unsupported-stanza-type", "policy-violation", "failure"}
    ),
    Row("features from a client", "<stream:features/>", {"unsupported-stanza-type"} | NAMESPACE),
    Row("header in the stream", HEADER, WELL_FORMED),
    Row("text between stanzas", "hello", WELL_FORMED),
    Row("deep nesting", "<message>" + "<a>" * 5000, POLICY),
    Row("stanza without end", "<message><body>" + "x" * MEBIBYTE, POLICY),
    Row("many elements", "<message>" + "<a/>" * 60_000, POLICY),
    Row("many attributes", "<message" + "".join(f" a{n}=''" for n in range(20_000)), POLICY),
    Row("name without end", "<message><" + "x" * MEBIBYTE, POLICY),
    Row("half a stanza, then the end", "<message><body></stream:stream>", WELL_FORMED),
    Row("the wrong end in half a stanza", "<message><body>x</message>", WELL_FORMED),
    Row("nul in half a stanza", b"<message><body>\0", WELL_FORMED),
    Row("broken utf-8 in half a stanza", b"<message><body>\xe2\x82<", WELL_FORMED | {"unsupported-encoding"}),
]

# Bounds of ours that the reference, at its defaults, does not have; and what it lets pass without a word.
NOT_REFUSED_BY_REFERENCE = {
    row.name for rows in (AT_THE_START, BEFORE_LOGIN, IN_A_SESSION) for row in rows if row.expected == POLICY
} | {
    "cdata between stanzas",
    "header in the stream",
    "message before login",
    "no content namespace",
    "presence before login",
    "server namespace",
    "text between stanzas",
    "unknown content namespace",
    "utf-16",
    "utf-16 without a mark",
}


def rows(table):
    return pytest.mark.parametrize("row", table, ids=[row.name for row in table])


def outcome(one):
    """The condition of the stream error that ends a connection, or what else came last. Checks that the end is proper."""
    try:
        rest = one.ended()
    except (ConnectionError, ssl.SSLError):
        rest = []
    assert one.header is not None, "RFC 6120 §4.9.1.2: a header comes before the error"
    if not rest:
        return None
    last = rest[-1]
    if last.tag == f"{{{wire.STREAMS}}}error":
        assert one.closed, "RFC 6120 §4.9.1.1: the stream is closed after the error"
        return wire.condition(last)
    return last.tag.rpartition("}")[2]


def provoke(one, row):
    data = row.data.encode() if isinstance(row.data, str) else row.data
    if os.environ.get("SERVER") == "prosody" and row.name in NOT_REFUSED_BY_REFERENCE:
        pytest.skip("the reference does not mind")
    try:
        one.send(data)
    except (ConnectionError, ssl.SSLError):
        # The server need not read to the end what it has refused.
        pass
    allowed = set(row.expected)
    if os.environ.get("SERVER") == "prosody":
        allowed |= set(row.reference)
    got = outcome(one)
    assert got in allowed, f"{got} instead of one of {sorted(allowed)}"


@rows(AT_THE_START)
def test_in_place_of_a_stream(server, row):
    with wire.Wire(server) as one:
        provoke(one, row)


@rows([row for row in AT_THE_START if len(row.data) < 500])
def test_in_place_of_a_stream_byte_by_byte(server, row):
    """However the bytes are cut, the answer is the same."""
    with wire.Wire(server) as one:
        data = row.data.encode() if isinstance(row.data, str) else row.data
        try:
            for byte in data[:-1]:
                one.send(bytes([byte]))
        except ConnectionError:
            data = b" "
        provoke(one, row._replace(data=data[-1:]))


@rows(BEFORE_LOGIN)
def test_before_login(server, row):
    with wire.Wire(server) as one:
        one.open()
        provoke(one, row)


@rows([row for row in BEFORE_LOGIN if len(row.data) < 500])
def test_before_login_over_tls(server, row):
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        provoke(one, row)


@pytest.fixture(scope="module")
def member(server):
    return make_account(server, "hostile")


@rows(IN_A_SESSION)
def test_in_a_session(server, member, row):
    with wire.Wire(server, direct_tls=True) as one:
        one.login(member.name, member.password)
        provoke(one, row)


def test_tls_hello_on_the_plain_port(server):
    """Not XML: the connection ends, whatever the words."""
    with wire.Wire(server) as one:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            one.tls()


def test_plain_stream_on_the_tls_port(server):
    plain = socket.create_connection(("127.0.0.1", server.tls_port), timeout=wire.TIMEOUT_SECONDS)
    plain.sendall(HEADER.encode())
    try:
        while plain.recv(4096):
            pass
    except ConnectionResetError:
        pass


def test_no_tls_after_proceed(server):
    """RFC 6120 §5.4.3.1: whoever asked for TLS and then goes on in the clear gets nothing more."""
    with wire.Wire(server) as one:
        one.open()
        one.send(f"<starttls xmlns='{wire.TLS}'/>")
        one.expect(f"{{{wire.TLS}}}proceed")
        one.send(HEADER + "<presence/>")
        try:
            while data := one.socket.recv(4096):
                assert not data.startswith(b"<"), data
        except ConnectionResetError:
            pass


@pytest.mark.ours("the reference answers the injected header")
def test_nothing_said_in_the_clear_counts_after_tls(server):
    """Injected after <starttls/>, before the handshake, by somebody on the way (RFC 6120 §5.4.3.3, CVE-2011-0411)."""
    with wire.Wire(server) as one:
        one.open()
        one.send(f"<starttls xmlns='{wire.TLS}'/>{HEADER}<presence/>")
        one.expect(f"{{{wire.TLS}}}proceed")
        try:
            one.tls()
            one.open()
            # If the handshake is let through at all, the injected header and presence have left no trace.
            answer = one.iq("get", "<query xmlns='jabber:iq:register'/>")
            assert answer.get("type") == "result"
        except (ssl.SSLError, ConnectionError, wire.Closed):
            pass


@pytest.mark.ours("a bound of ours")
def test_a_gigabyte_of_nothing(server, member):
    """Blanks between stanzas are keepalives, but not for ever before login; in a session they cost no memory."""
    with wire.Wire(server, direct_tls=True) as one:
        one.login(member.name, member.password)
        before = server.memory_peak_kib()
        for _ in range(64):
            one.send(b" " * MEBIBYTE)
        assert one.ping().get("type") == "result"
        assert before is None or server.memory_peak_kib() - before < 16 * 1024


@pytest.mark.ours("a bound of ours")
def test_a_session_that_does_not_read(server, member):
    """Its output is bounded: the connection ends, the server lives, others do not notice."""
    before = server.memory_peak_kib()
    with wire.Wire(server, direct_tls=True) as deaf, wire.Wire(server, direct_tls=True) as one:
        jid = deaf.login(member.name, member.password)
        deaf.send("<presence/>")
        one.login(member.name, member.password)
        body = "x" * 9000
        for _ in range(4000):
            one.send(f"<message to='{jid}' type='headline'><body>{body}</body></message>")
        one.ping()
        assert before is None or server.memory_peak_kib() - before < 48 * 1024


@pytest.mark.ours("how soon is our choice")
def test_silence_before_login_ends(start_server):
    """`<authtime>`: whoever does not log in is not kept (RFC 6120 §4.9.3.4 or policy-violation)."""
    server = start_server(limits={"auth-seconds-max": 5})
    with wire.Wire(server) as one:
        one.open()
        assert outcome(one) in ("connection-timeout", "policy-violation")


def test_the_server_is_none_the_worse(server, member):
    """After all of the above, in the same process: it serves, and its memory stayed small."""
    assert server.process.poll() is None
    with wire.Wire(server, direct_tls=True) as one:
        one.login(member.name, member.password)
        assert one.ping().get("type") == "result"
    peak = server.memory_peak_kib()
    assert peak is None or peak < 256 * 1024
    assert "panicked" not in server.output()
