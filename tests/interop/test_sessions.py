"""Binding, several sessions, their ends, and addresses that are stamped (RFC 6120 §7, §8.1; RFC 6121 §4)."""


import pytest

import wire
from conftest import make_account


def test_bind_gives_the_resource_that_was_asked_for(server, account):
    user = account()
    with wire.Wire(server, direct_tls=True) as one:
        assert one.login(user.name, user.password, "Home of Mine") == f"{user.jid}/Home of Mine"


def test_bind_makes_up_a_resource(server, account):
    """RFC 6120 §7.6: and never the same for two sessions."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one, wire.Wire(server, direct_tls=True) as two:
        names = {one.login(user.name, user.password), two.login(user.name, user.password)}
        assert len(names) == 2
        assert all(len(name.partition("/")[2]) >= 1 for name in names)


def test_resource_in_use(server, account):
    """RFC 6120 §7.7.2.2: the older session ends with a conflict, or the newer gets another name; never two alike."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one, wire.Wire(server, direct_tls=True) as two:
        one.login(user.name, user.password, "same")
        bound = two.login(user.name, user.password, "same")
        if bound == f"{user.jid}/same":
            rest = one.ended()
            assert wire.condition(rest[-1]) == "conflict"
        else:
            assert one.ping().get("type") == "result"
        assert two.ping().get("type") == "result"


@pytest.mark.parametrize("resource", ("x" * 1024, "a\u202eb"), ids=("too long", "prohibited"))
def test_bad_resource(server, account, resource):
    """RFC 6120 §7.7.2.1, or another name in its place."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one:
        try:
            assert one.login(user.name, user.password, resource) != f"{user.jid}/{resource}"
        except wire.Refused as refused:
            assert str(refused) in ("bad-request", "jid-malformed", "not-acceptable")


def test_stanzas_before_bind_are_refused(server, account):
    """RFC 6120 §7.1: nothing but binding is possible; the server closes, or answers not-authorized or not-allowed."""
    user, other = account(), account()
    with wire.Wire(server, direct_tls=True) as one, wire.Wire(server, direct_tls=True) as two:
        two.login(other.name, other.password)
        two.send("<presence/>")
        two.ping()
        one.open()
        one.plain(user.name, user.password)
        one.expect(f"{{{wire.STREAMS}}}features")
        one.send(f"<message to='{other.jid}' type='chat' id='m'><body>too early</body></message>")
        answer = one.read()
        assert answer is None or answer.get("type") == "error" or answer.tag == f"{{{wire.STREAMS}}}error"
        two.send("<iq type='get' id='last' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
        seen = two.until(lambda stanza: stanza.tag.endswith("message") or stanza.get("id") == "last")
        assert seen.tag.endswith("iq")


def test_legacy_session_element(server, account):
    """RFC 3921 §3: old clients ask for it, and get a result."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        assert one.iq("set", f"<session xmlns='{wire.SESSION}'/>").get("type") == "result"


@pytest.mark.ours("the reference takes any address of the account")
@pytest.mark.parametrize("forged", ("other", "other resource"))
def test_forged_from_ends_the_stream(server, account, forged):
    """RFC 6120 §8.1.2.1 and §4.9.3.9."""
    user, other = account(), account()
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password, "mine")
        source = other.jid if forged == "other" else f"{user.jid}/not-mine"
        one.send(f"<message from='{source}' to='{other.jid}'><body>forged</body></message>")
        assert wire.condition(one.ended()[-1]) == "invalid-from"


async def test_from_is_stamped(clients, account):
    """RFC 6120 §8.1.2.1: with the full address, whether it was given, given bare or left out."""
    sender, receiver = await clients.login(account()), await clients.login(account())
    for source in ("", f" from='{sender.boundjid.bare}'", f" from='{sender.boundjid.full}'"):
        sender.send_raw(f"<message to='{receiver.boundjid.bare}' type='chat'{source}><body>hi</body></message>")
        assert (await receiver.message("hi")).xml.get("from") == sender.boundjid.full


def test_stream_closes_cleanly(server, account):
    """RFC 6120 §4.4: the answer to the closing tag is a closing tag."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        assert one.close() == []
        assert one.closed


def test_stream_header(server):
    """RFC 6120 §4.7: an id that differs each time, from, version and language."""
    ids = set()
    for _ in range(3):
        with wire.Wire(server, direct_tls=True) as one:
            one.open(extra=" xml:lang='de'")
            header = one.header.attrib
            assert header["from"] == "localhost"
            assert header["version"] == "1.0"
            assert header.get("{http://www.w3.org/XML/1998/namespace}lang")
            ids.add(header["id"])
    assert len(ids) == 3 and all(len(one) >= 8 for one in ids)


def test_stream_to_nobody_in_particular(server):
    """RFC 6120 §4.7.2 lets the server choose a host for a stream without `to`, or refuse it."""
    with wire.Wire(server, direct_tls=True) as one:
        one.send(f"<stream:stream version='1.0' xmlns='{wire.CLIENT}' xmlns:stream='{wire.STREAMS}'>")
        first = one.read()
        if first.tag == f"{{{wire.STREAMS}}}error":
            assert wire.condition(first) in ("host-unknown", "improper-addressing")
        else:
            assert first.tag == f"{{{wire.STREAMS}}}features" and one.header.get("from") == "localhost"


def test_white_space_keeps_alive(server, account):
    """RFC 6120 §4.6.1: blanks between stanzas mean nothing; no answer, no error."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        for blank in (" ", "\n", " \n ", "\t\r\n", " " * 5000):
            one.send(blank)
        assert one.ping().get("type") == "result"


def test_stanzas_in_pieces_and_in_bulk(server, account):
    """Bytes arrive as they like: one by one, or many stanzas in one segment."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        one.send("<presence/>")
        text = f"<message to='{user.jid}' type='chat'><body>é𝄞</body></message>".encode()
        for byte in text:
            one.send(bytes([byte]))
        one.until(lambda stanza: stanza.findtext("{jabber:client}body") == "é𝄞")
        one.send(text * 200)
        for _ in range(200):
            one.until(lambda stanza: stanza.findtext("{jabber:client}body") == "é𝄞")


def test_a_large_stanza(server, account):
    """An avatar or a stored bookmark list is this large (RFC 6120 §13.12 allows no bound below 10 000 bytes)."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        one.send("<presence/>")
        body = "x" * 60_000
        one.send(f"<message to='{user.jid}' type='chat'><body>{body}</body></message>")
        one.until(lambda stanza: stanza.findtext("{jabber:client}body") == body)


@pytest.mark.ours("jabberd 1.4's notice, and streams that end properly")
def test_shutdown_ends_streams(start_server):
    """RFC 6120 §4.9.3.19: SIGTERM says system-shutdown to everybody, and the process ends with 0, though their side is open."""
    server = start_server()
    user = make_account(server)
    with wire.Wire(server, direct_tls=True) as one, wire.Wire(server) as early:
        one.login(user.name, user.password)
        early.open()
        assert server.stop() == 0
        assert wire.condition(one.ended()[-1]) == "system-shutdown"
        assert wire.condition(early.ended()[-1]) == "system-shutdown"
    assert any("shutting down server" in line for line in server.error_log())
    assert not (server.directory / "jabber.pid").exists()
