"""Clients of the years before SASL: streams without a version, jabber:iq:auth, jabber:iq:register, the old SSL port.

What they send here is what libpurple, Miranda, Pandion, Net::XMPP and jabberd 1.4's own users sent (XEP-0078, XEP-0077).
"""

import base64

import pytest

import wire

AUTH_QUERY = f"{{{wire.AUTH}}}query"


def old_stream(server, to="localhost", direct_tls=True):
    """A stream without a version over TLS: on the SSL port, or on the plain port after STARTTLS."""
    one = wire.Wire(server, direct_tls=direct_tls)
    if not direct_tls:
        one.open(to)
        one.starttls()
    assert one.open(to, version=None) is None
    return one


def fields(one, name):
    """What the server wants for jabber:iq:auth."""
    answer = one.iq("get", f"<query xmlns='{wire.AUTH}'><username>{name}</username></query>")
    if answer.get("type") == "error":
        raise wire.Refused(wire.error_of(answer))
    query = answer.find(AUTH_QUERY)
    return {child.tag.rpartition("}")[2] for child in query}


@pytest.mark.parametrize("direct_tls", (True, False), ids=("ssl port", "starttls"))
def test_login_without_sasl(server, account, direct_tls):
    """XEP-0078 §3.1: the fields, then all of them with the password, then the session is there."""
    user = account("old")
    with old_stream(server, direct_tls=direct_tls) as one:
        assert {"username", "password", "resource"} <= fields(one, user.name)
        one.iq_auth(user.name, user.password, "Gaim")
        one.send("<presence/>")
        presence = one.until(lambda stanza: stanza.tag.endswith("presence"))
        assert presence.get("from") == f"{user.jid}/Gaim"
        assert one.iq("get", "<query xmlns='jabber:iq:roster'/>").get("type") == "result"


@pytest.mark.ours("the reference sends features to everybody")
def test_no_features_without_a_version(server):
    """RFC 6120 §4.7.5 knows no features below 1.0: an old parser would take them for a stanza."""
    with old_stream(server) as one:
        # The next thing on the stream is the answer, not features.
        one.send(f"<iq type='get' id='first'><query xmlns='{wire.AUTH}'><username>x</username></query></iq>")
        answer = one.read()
        assert answer.tag == f"{{{wire.CLIENT}}}iq" and answer.get("id") == "first", wire.show(answer)
        # Compat: jabberd 1.4's clients take the digest from the id, so there is one.
        assert one.header.get("id")


@pytest.mark.ours("the reference sends features to everybody")
def test_no_features_in_the_clear_either(server):
    with wire.Wire(server) as one:
        assert one.open(version=None) is None
        one.send("<iq type='get' id='first'><query xmlns='jabber:iq:auth'><username>x</username></query></iq>")
        answer = one.read()
        assert answer is not None and answer.tag != f"{{{wire.STREAMS}}}features", wire.show(answer)


def test_password_in_the_clear_is_refused(server, account):
    """TLS is required: whether with a version or without, there is no way around it."""
    user = account("old")
    for version in (None, "1.0"):
        with wire.Wire(server) as one:
            one.open(version=version)
            with pytest.raises((wire.Refused, wire.Closed)):
                one.iq_auth(user.name, user.password, "clear")
    with wire.Wire(server) as one:
        one.open(version=None)
        try:
            assert "password" not in fields(one, user.name)
        except (wire.Refused, wire.Closed):
            pass


def test_wrong_password(server, account):
    """XEP-0078 §3.1 table: 401 not-authorized; the next try may be right."""
    user = account("old")
    with old_stream(server) as one:
        answer = one.iq(
            "set",
            f"<query xmlns='{wire.AUTH}'><username>{user.name}</username><password>wrong</password>"
            "<resource>r</resource></query>",
        )
        assert wire.error_of(answer) == "not-authorized"
        one.iq_auth(user.name, user.password, "r")


@pytest.mark.ours("numbers beside the conditions")
def test_errors_carry_numbers(server, account):
    """XEP-0086: clients of that time read `code` alone."""
    user = account("old")
    with old_stream(server) as one:
        for query, code in (
            (f"<username>{user.name}</username><password>wrong</password><resource>r</resource>", "401"),
            (f"<username>{user.name}</username><password>{user.password}</password>", "406"),
        ):
            answer = one.iq("set", f"<query xmlns='{wire.AUTH}'>{query}</query>")
            assert answer.find("{*}error").get("code") == code, wire.show(answer)


@pytest.mark.ours("the reference takes it for the question after the fields")
@pytest.mark.parametrize(
    "missing", ("username", "password", "resource"), ids=("no name", "no password", "no resource")
)
def test_missing_fields(server, account, missing):
    """XEP-0078 §3.1 table: 406 not-acceptable."""
    user = account("old")
    given = {"username": user.name, "password": user.password, "resource": "r"}
    del given[missing]
    query = "".join(f"<{name}>{text}</{name}>" for name, text in given.items())
    with old_stream(server) as one:
        answer = one.iq("set", f"<query xmlns='{wire.AUTH}'>{query}</query>")
        assert wire.error_of(answer) in ("not-acceptable", "bad-request", "not-authorized")


@pytest.mark.ours("the reference takes plain passwords for any of these")
def test_digest_is_not_offered(server, account):
    """It would need the password in the clear in the store."""
    with old_stream(server) as one:
        assert "digest" not in fields(one, account("old").name)


@pytest.mark.ours("jabberd 1.4's rule")
def test_resource_in_use(server, account):
    """XEP-0078 §3.1 allows either: 409, or the older session goes. Never two sessions of one name."""
    user = account("old")
    with old_stream(server) as one, old_stream(server) as two:
        one.iq_auth(user.name, user.password, "Home")
        try:
            two.iq_auth(user.name, user.password, "Home")
        except wire.Refused as refused:
            assert str(refused) == "conflict"
            assert one.ping().get("type") == "result"
        else:
            assert wire.condition(one.ended()[-1]) == "conflict"
            assert two.ping().get("type") == "result"


def test_registration_without_sasl(server):
    """XEP-0077 §3.1 as jabberd 1.4's clients did it: form, registration, then login on the same stream."""
    with old_stream(server) as one:
        query = one.iq("get", f"<query xmlns='{wire.REGISTER}'/>", "localhost").find(f"{{{wire.REGISTER}}}query")
        assert query.find(f"{{{wire.REGISTER}}}username") is not None
        one.register("oldfriend", "secret")
        one.iq_auth("oldfriend", "secret", "Exodus")
        assert one.ping().get("type") == "result"


def test_login_pipelined(server, account):
    """Everything in one write, before any answer: the presence and the message count after the login."""
    user, friend = account("old"), account("friend")
    with wire.Wire(server, direct_tls=True) as other, wire.Wire(server, direct_tls=True) as one:
        other.login(friend.name, friend.password)
        other.send("<presence/>")
        other.ping()
        one.send(
            f"<stream:stream to='localhost' xmlns='{wire.CLIENT}' xmlns:stream='{wire.STREAMS}'>"
            f"<iq type='set' id='a'><query xmlns='{wire.AUTH}'><username>{user.name}</username>"
            f"<password>{user.password}</password><resource>Fast</resource></query></iq>"
            f"<presence/><message to='{friend.jid}' type='chat'><body>first words</body></message>"
            "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"
        )
        assert one.until(lambda stanza: stanza.tag.endswith("iq")).get("id") == "a"
        assert one.until(lambda stanza: stanza.get("id") == "r").get("type") == "result"
        message = other.until(lambda stanza: stanza.tag.endswith("message"))
        assert message.findtext("{jabber:client}body") == "first words"
        assert message.get("from") == f"{user.jid}/Fast"


def test_sasl_login_pipelined(server, account):
    """The same with PLAIN, the new stream and the binding sent before the answers (XEP-0305 §2)."""
    user = account("fast")
    message = base64.b64encode(f"\0{user.name}\0{user.password}".encode()).decode()
    header = f"<stream:stream to='localhost' version='1.0' xmlns='{wire.CLIENT}' xmlns:stream='{wire.STREAMS}'>"
    with wire.Wire(server, direct_tls=True) as one:
        one.send(
            f"{header}<auth xmlns='{wire.SASL}' mechanism='PLAIN'>{message}</auth>"
            f"{header}<iq type='set' id='b'><bind xmlns='{wire.BIND}'><resource>Fast</resource></bind></iq>"
            "<presence/><iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        bound = one.until(lambda stanza: stanza.get("id") == "b")
        assert bound.findtext(f"{{{wire.BIND}}}bind/{{{wire.BIND}}}jid") == f"{user.jid}/Fast"
        assert one.until(lambda stanza: stanza.get("id") == "p").get("type") == "result"


def test_two_old_clients_talk(server, account):
    """Roster, subscription, chat and the end of a session, all without a version."""
    romeo, juliet = account("romeo"), account("juliet")
    with old_stream(server) as one, old_stream(server) as two:
        one.iq_auth(romeo.name, romeo.password, "r")
        two.iq_auth(juliet.name, juliet.password, "j")
        for wired in (one, two):
            wired.iq("get", "<query xmlns='jabber:iq:roster'/>")
            wired.send("<presence/>")
        two.ping()
        one.send(f"<presence to='{juliet.jid}' type='subscribe'/>")
        two.until(lambda stanza: stanza.get("type") == "subscribe")
        two.send(f"<presence to='{romeo.jid}' type='subscribed'/>")
        one.until(lambda stanza: stanza.get("type") == "subscribed")
        one.until(lambda stanza: stanza.tag.endswith("presence") and stanza.get("from") == f"{juliet.jid}/j")
        one.send(f"<message to='{juliet.jid}/j' type='chat'><body>hello</body></message>")
        assert two.until(lambda stanza: stanza.tag.endswith("message")).findtext("{*}body") == "hello"
        assert two.close() == []
        gone = one.until(lambda stanza: stanza.get("type") == "unavailable")
        assert gone.get("from") == f"{juliet.jid}/j"


def test_white_space_keeps_alive(server, account):
    user = account("old")
    with old_stream(server) as one:
        one.send(" \n")
        one.iq_auth(user.name, user.password, "r")
        one.send("\n \n")
        assert one.ping().get("type") == "result"


def test_session_element_of_old_xmpp_clients(server, account):
    """RFC 3921 §3: between SASL and the first presence; required by clients of 2004 to 2010."""
    user = account("middle")
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        assert one.iq("set", f"<session xmlns='{wire.SESSION}'/>", "localhost").get("type") == "result"


@pytest.mark.ours("jabberd 1.4's lists")
@pytest.mark.parametrize("namespace", ("jabber:iq:agents", "jabber:iq:browse"))
def test_lists_of_services(server, account, namespace):
    """Pandion and Net::Jabber ask for these after disco; an error answers too, silence does not."""
    user = account("old")
    with old_stream(server) as one:
        one.iq_auth(user.name, user.password, "r")
        assert one.iq("get", f"<query xmlns='{namespace}'/>", "localhost").get("type") in ("result", "error")


@pytest.mark.ours("old and new stamps side by side")
def test_offline_stamp_for_old_clients(server, account):
    """XEP-0091: old clients know no other."""
    user, sender = account("old"), account("sender")
    with wire.Wire(server, direct_tls=True) as one:
        one.login(sender.name, sender.password)
        one.send(f"<message to='{user.jid}' type='chat'><body>stored</body></message>")
        one.ping()
    with old_stream(server) as one:
        one.iq_auth(user.name, user.password, "r")
        one.send("<presence/>")
        message = one.until(lambda stanza: stanza.findtext("{*}body") == "stored")
        assert message.find("{jabber:x:delay}x").get("stamp")
        assert message.find("{urn:xmpp:delay}delay").get("stamp")


@pytest.mark.ours("record.log")
def test_an_incomplete_login_is_in_the_record(server, account):
    """jabberd 1.4 recorded the code of its answer: 406 for what is missing."""
    user = account("old")
    with old_stream(server) as one:
        one.iq("set", f"<query xmlns='{wire.AUTH}'><username>{user.name}</username><password>x</password></query>")
    wire.soon(lambda: any(line.endswith(f" {user.jid} login fail 127.0.0.1 406 (null)") for line in server.record()), 2)
