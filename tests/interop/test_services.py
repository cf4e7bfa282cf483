"""What the server answers: discovery, version, ping, time, last activity, vCards, private XML; and its refusals."""

import datetime

import pytest
from slixmpp.exceptions import IqError

import wire
from servers import SECOND_HOST
from test_roster import befriend


async def test_disco_of_the_server(clients, account):
    """XEP-0030 §3: its identity, and a feature for each thing it answers."""
    client = await clients.login(account())
    info = await client.plugin["xep_0030"].get_info("localhost")
    identities = {(category, kind) for category, kind, _, _ in info["disco_info"]["identities"]}
    assert ("server", "im") in identities
    features = set(info["disco_info"]["features"])
    missing = {
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "jabber:iq:last",
        "jabber:iq:private",
        "jabber:iq:register",
        "jabber:iq:version",
        "urn:xmpp:ping",
        "urn:xmpp:time",
        "vcard-temp",
    } - features
    assert missing == set()


async def test_disco_items_of_the_server(clients, account):
    client = await clients.login(account())
    items = await client.plugin["xep_0030"].get_items("localhost")
    assert items["type"] == "result"


async def test_disco_of_an_unknown_node(clients, account):
    client = await clients.login(account())
    with pytest.raises(IqError) as error:
        await client.plugin["xep_0030"].get_info("localhost", node="no-such-node")
    assert error.value.condition in ("item-not-found", "service-unavailable")


async def test_disco_of_ones_own_account(clients, account):
    """RFC 6121 §8.5.2.1.3 with XEP-0030 §8: the server answers for the account, and says what it is."""
    user = account()
    client = await clients.login(user)
    info = await client.plugin["xep_0030"].get_info(user.jid)
    assert ("account", "registered") in {
        (category, kind) for category, kind, _, _ in info["disco_info"]["identities"]
    }


async def test_disco_of_a_strangers_account_tells_nothing(clients, account):
    """XEP-0030 §8: like an account that does not exist."""
    client, stranger = await clients.login(account()), account()
    conditions = []
    for jid in (stranger.jid, "nobody-at-all@localhost"):
        with pytest.raises(IqError) as error:
            await client.plugin["xep_0030"].get_info(jid)
        conditions.append(error.value.condition)
    assert conditions[0] == conditions[1]


async def test_ping(clients, account):
    """XEP-0199 §4.2: the server, its other hosts and one's own account answer."""
    user = account()
    client = await clients.login(user)
    for to in ("localhost", SECOND_HOST, user.jid, None):
        await client.ask(to, "<ping xmlns='urn:xmpp:ping'/>")


async def test_ping_of_another_client_goes_to_that_client(clients, account):
    """XEP-0199 §4.5: routed like any IQ; slixmpp answers it."""
    one, two = await clients.login(account()), await clients.login(account())
    answer = await one.ask(two.boundjid.full, "<ping xmlns='urn:xmpp:ping'/>")
    assert answer.get("from") == two.boundjid.full


async def test_version(clients, account):
    client = await clients.login(account())
    version = await client.plugin["xep_0092"].get_version("localhost")
    assert version["software_version"]["name"]
    assert version["software_version"]["version"]


async def test_time(clients, account):
    """XEP-0202 §3: in UTC, with the zone beside it."""
    client = await clients.login(account())
    answer = await client.plugin["xep_0202"].get_entity_time("localhost")
    utc = answer.xml.findtext("{urn:xmpp:time}time/{urn:xmpp:time}utc")
    assert utc.endswith("Z")
    stamp = datetime.datetime.fromisoformat(utc.replace("Z", "+00:00"))
    assert abs((datetime.datetime.now(datetime.timezone.utc) - stamp).total_seconds()) < 10
    assert answer.xml.findtext("{urn:xmpp:time}time/{urn:xmpp:time}tzo")


@pytest.mark.ours("the reference dropped it")
async def test_time_of_old_clients(clients, account):
    """XEP-0090: a stamp without separators in the date, in UTC."""
    client = await clients.login(account())
    answer = await client.ask("localhost", "<query xmlns='jabber:iq:time'/>")
    text = answer.findtext("{jabber:iq:time}query/{jabber:iq:time}utc")
    stamp = datetime.datetime.strptime(text, "%Y%m%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - stamp).total_seconds()) < 10


async def test_last_activity_of_the_server_is_its_uptime(clients, account):
    """XEP-0012 §5."""
    client = await clients.login(account())
    answer = await client.plugin["xep_0012"].get_last_activity("localhost")
    assert 0 <= answer["last_activity"]["seconds"] < 3600


async def test_last_activity_of_a_contact(clients, account):
    """XEP-0012 §4: the time since he left with his last words; 0 while he is there; not for strangers."""
    one, two, stranger = [await clients.login(account()) for _ in range(3)]
    await befriend(one, two)
    jid = two.boundjid.bare
    answer = await one.plugin["xep_0012"].get_last_activity(jid)
    assert answer["last_activity"]["seconds"] in (0, None) or answer["last_activity"]["seconds"] < 60
    two.send_presence(ptype="unavailable", pstatus="Good night")
    await one.presence("unavailable", two.boundjid.full)
    await two.leave()
    answer = await one.plugin["xep_0012"].get_last_activity(jid)
    assert 0 <= answer["last_activity"]["seconds"] < 60
    assert answer["last_activity"]["status"] == "Good night"
    with pytest.raises(IqError) as error:
        await stranger.plugin["xep_0012"].get_last_activity(jid)
    assert error.value.condition in ("forbidden", "service-unavailable", "subscription-required", "not-authorized")


async def test_vcard(clients, account):
    """XEP-0054 §3: set, read by oneself and by others, set again."""
    user, other = account(), account()
    one, two = await clients.login(user), await clients.login(other)
    card = (
        "<vCard xmlns='vcard-temp'><FN>{}</FN><N><FAMILY>Capulet</FAMILY></N>"
        "<PHOTO><TYPE>image/png</TYPE><BINVAL>AAECAw==</BINVAL></PHOTO></vCard>"
    )
    for name in ("Juliet", "Juliet of Verona"):
        await one.ask(None, card.format(name), "set")
        for reader, to in ((one, None), (one, user.jid), (two, user.jid)):
            answer = await reader.ask(to, "<vCard xmlns='vcard-temp'/>")
            assert answer.findtext("{vcard-temp}vCard/{vcard-temp}FN") == name
            assert answer.findtext("{vcard-temp}vCard/{vcard-temp}N/{vcard-temp}FAMILY") == "Capulet"


async def test_vcard_that_was_never_set(clients, account):
    """XEP-0054 §3.1: an empty one for oneself, or item-not-found; the same for others and for nobody."""
    user = account()
    one, two = await clients.login(user), await clients.login(account())
    for reader, to in ((one, None), (two, user.jid)):
        try:
            answer = await reader.ask(to, "<vCard xmlns='vcard-temp'/>")
            assert len(answer.find("{vcard-temp}vCard")) == 0
        except IqError as error:
            assert error.condition in ("item-not-found", "service-unavailable")


async def test_vcard_of_another_cannot_be_set(clients, account):
    """XEP-0054 §3.2."""
    client, other = await clients.login(account()), account()
    with pytest.raises(IqError) as error:
        await client.ask(other.jid, "<vCard xmlns='vcard-temp'><FN>Me</FN></vCard>", "set")
    assert error.value.condition in ("forbidden", "not-allowed", "service-unavailable", "not-authorized")


@pytest.mark.ours("jabber.xml's <vCard>")
async def test_vcard_of_the_server(clients, account):
    client = await clients.login(account())
    answer = await client.ask("localhost", "<vCard xmlns='vcard-temp'/>")
    assert answer.findtext("{vcard-temp}vCard/{vcard-temp}FN") == "Interop test server"


async def test_private_xml(clients, account):
    """XEP-0049 §3: one element per name and namespace, replaced whole, kept over sessions."""
    user = account()
    client = await clients.login(user)
    query = "<query xmlns='jabber:iq:private'>{}</query>"
    for text in ("one", "two"):
        await client.ask(None, query.format(f"<a xmlns='urn:test:a'><v>{text}</v></a>"), "set")
    await client.ask(None, query.format("<b xmlns='urn:test:b'/>"), "set")
    await client.leave()
    client = await clients.login(user)
    answer = await client.ask(None, query.format("<a xmlns='urn:test:a'/>"))
    assert answer.findtext("{jabber:iq:private}query/{urn:test:a}a/{urn:test:a}v") == "two"
    # XEP-0049 §3.2: what was never stored comes back as it was asked for.
    answer = await client.ask(None, query.format("<c xmlns='urn:test:c'/>"))
    assert answer.find("{jabber:iq:private}query/{urn:test:c}c") is not None


async def test_private_xml_is_private(clients, account):
    client, other = await clients.login(account()), account()
    with pytest.raises(IqError) as error:
        await client.ask(other.jid, "<query xmlns='jabber:iq:private'><a xmlns='urn:test:a'/></query>")
    assert error.value.condition in ("forbidden", "service-unavailable", "not-allowed")


@pytest.mark.parametrize(
    "to", ("localhost", None, "{self}", "{stranger}", "nobody-at-all@localhost", "{stranger}/gone"), ids=str
)
async def test_unknown_requests_are_answered(clients, account, to):
    """RFC 6120 §8.4, RFC 6121 §8.5: service-unavailable, never silence. Old clients ask `google:*` and wait."""
    user, stranger = account(), account()
    client = await clients.login(user)
    address = to and to.format(self=user.jid, stranger=stranger.jid)
    for kind in ("get", "set"):
        with pytest.raises(IqError) as error:
            await client.ask(address, "<query xmlns='google:mail:notify'/>", kind)
        assert error.value.condition in ("service-unavailable", "feature-not-implemented", "not-allowed")
        assert error.value.iq.xml.get("to") in (client.boundjid.full, None)


@pytest.mark.parametrize(
    "stanza, expected",
    [
        ("<iq type='get' id='e'/>", {"bad-request"}),
        ("<iq type='get' id='e'><a xmlns='urn:a'/><b xmlns='urn:b'/></iq>", {"bad-request"}),
        ("<iq type='fetch' id='e'><a xmlns='urn:a'/></iq>", {"bad-request"}),
        ("<iq id='e'><a xmlns='urn:a'/></iq>", {"bad-request"}),
        ("<message id='e' to='@localhost'><body/></message>", {"jid-malformed"}),
        ("<message id='e' to='a b@localhost'><body/></message>", {"jid-malformed"}),
        (f"<message id='e' to='{'x' * 1024}@localhost'><body/></message>", {"jid-malformed"}),
        ("<presence id='e' type='perhaps'/>", {"bad-request"}),
    ],
    ids=("no child", "two children", "bad type", "no type", "empty localpart", "blank", "too long", "presence"),
)
def test_bad_stanzas_cost_the_stanza_only(server, account, stanza, expected):
    """RFC 6120 §8.2.3, §8.3.3: the error goes to the sender, the stream stays."""
    user = account()
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        one.send(stanza)
        error = one.until(lambda answer: answer.get("type") == "error")
        assert wire.error_of(error) in expected, wire.show(error)
        assert error.get("id") == "e"
        assert one.ping().get("type") == "result"


async def test_errors_bounce_between_clients(clients, account):
    """An error that one client gives reaches the other as it is."""
    one, two = await clients.login(account()), await clients.login(account())
    with pytest.raises(IqError) as error:
        await one.ask(two.boundjid.full, "<query xmlns='urn:not:known'/>")
    assert error.value.iq.xml.get("from") == two.boundjid.full


async def test_answers_that_nobody_asked_for_vanish(clients, account):
    """RFC 6120 §8.2.3: a result or an error is never answered."""
    client = await clients.login(account())
    client.send_raw("<iq type='result' id='r1' to='localhost'/>")
    client.send_raw(
        f"<iq type='error' id='r2' to='nobody-at-all@localhost'><error type='cancel'>"
        f"<gone xmlns='{wire.STANZA_ERRORS}'/></error></iq>"
    )
    await client.settle()
    assert client.inbox == []
