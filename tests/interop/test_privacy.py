"""Blocking and privacy lists (XEP-0191, XEP-0016), as slixmpp's own plugins ask for them."""

import pytest
from slixmpp.exceptions import IqError

import clients as slixmpp_clients
from conftest import make_account
from test_roster import befriend

BLOCKING = "{urn:xmpp:blocking}"
PRIVACY = "{jabber:iq:privacy}"


async def blocked(client):
    answer = await client.plugin["xep_0191"].get_blocked()
    return {item.get("jid") for item in answer.xml.findall(f"{BLOCKING}blocklist/{BLOCKING}item")}


def is_push(stanza, path, **attributes):
    found = stanza.xml.find(path) if stanza.name == "iq" else None
    return found is not None and all(found.get(name) == value for name, value in attributes.items())


async def set_privacy(client, payload):
    await client.ask(None, f"<query xmlns='jabber:iq:privacy'>{payload}</query>", kind="set")


async def test_block_and_unblock(clients, account):
    """XEP-0191 §3.2 to §3.5, with a push to the other resource."""
    user, other = account("juliet"), account("romeo")
    juliet, tablet = await clients.login(user, "balcony"), await clients.login(user, "tablet")
    romeo = await clients.login(other, "orchard")
    await befriend(juliet, romeo)
    for client in (juliet, tablet):
        client.register_plugin("xep_0191")
        assert await blocked(client) == set()
    tablet.inbox.clear()
    await juliet.plugin["xep_0191"].block(other.jid)
    await tablet.expect(lambda one: is_push(one, f"{BLOCKING}block/{BLOCKING}item", jid=other.jid), "the push")
    assert await blocked(tablet) == {other.jid}
    assert (await romeo.presence("unavailable", juliet.boundjid.full)) is not None

    romeo.send_message(mto=user.jid, mbody="Art thou there?", mtype="chat")
    refusal = await romeo.message(kind="error")
    assert refusal["error"]["condition"] == "service-unavailable"
    with pytest.raises(IqError) as refused:
        await romeo.ask(juliet.boundjid.full, "<query xmlns='jabber:iq:version'/>")
    assert refused.value.condition == "service-unavailable"
    romeo.send_presence(pstatus="unseen")
    await romeo.settle()
    await juliet.settle()
    assert (None, romeo.boundjid.full) not in juliet.presences()
    assert juliet.bodies() == []

    juliet.send_message(mto=other.jid, mbody="Can you hear me now?", mtype="chat")
    refusal = await juliet.message(kind="error")
    assert refusal["error"]["condition"] == "not-acceptable"
    assert refusal.xml.find(".//{urn:xmpp:blocking:errors}blocked") is not None

    romeo.inbox.clear()
    await juliet.plugin["xep_0191"].unblock(other.jid)
    assert (await romeo.presence(None, juliet.boundjid.full)) is not None
    romeo.send_message(mto=user.jid, mbody="Art thou there?", mtype="chat")
    assert (await juliet.message("Art thou there?"))["from"] == romeo.boundjid.full
    assert await blocked(juliet) == set()


async def test_block_outlives_the_session(clients, account):
    user, other = account("juliet"), account("romeo")
    juliet = await clients.login(user, "balcony")
    juliet.register_plugin("xep_0191")
    await juliet.plugin["xep_0191"].block([other.jid, "spam.example"])
    await juliet.leave()
    romeo = await clients.login(other, "orchard")
    romeo.send_message(mto=user.jid, mbody="to the store?", mtype="chat")
    assert (await romeo.message(kind="error"))["error"]["condition"] == "service-unavailable"
    juliet = await clients.login(user, "balcony")
    juliet.register_plugin("xep_0191")
    assert await blocked(juliet) == {other.jid, "spam.example"}
    await juliet.settle()
    assert juliet.bodies() == []


async def test_blocks_of_others_are_their_own(clients, account):
    user, other = account("juliet"), account("romeo")
    romeo = await clients.login(other)
    for kind, payload in (
        ("get", "<blocklist xmlns='urn:xmpp:blocking'/>"),
        ("set", "<block xmlns='urn:xmpp:blocking'><item jid='a@b.example'/></block>"),
        ("set", "<query xmlns='jabber:iq:privacy'><default/></query>"),
    ):
        with pytest.raises(IqError) as refused:
            await romeo.ask(user.jid, payload, kind)
        assert refused.value.condition in {"forbidden", "service-unavailable", "not-allowed"}


@pytest.mark.ours("Prosody has no privacy lists")
async def test_privacy_lists(clients, account):
    """XEP-0016 §2.3 to §2.8, as the raw protocol."""
    user, other = account("juliet"), account("tybalt")
    juliet, tablet = await clients.login(user, "balcony"), await clients.login(user, "tablet")
    tybalt = await clients.login(other)
    item = f"<item type='jid' value='{other.jid}' action='deny' order='1'><message/></item>"
    await set_privacy(juliet, f"<list name='quiet'>{item}</list>")
    for client in (juliet, tablet):
        await client.expect(lambda one: is_push(one, f"{PRIVACY}query/{PRIVACY}list", name="quiet"), "the push")
    await set_privacy(juliet, "<active name='quiet'/>")
    with pytest.raises(IqError) as refused:
        await set_privacy(tablet, "<list name='quiet'/>")
    assert refused.value.condition == "conflict"
    tybalt.send_message(mto=juliet.boundjid.full, mbody="duel", mtype="chat")
    assert (await tybalt.message(kind="error"))["error"]["condition"] == "service-unavailable"
    tybalt.send_message(mto=tablet.boundjid.full, mbody="duel", mtype="chat")
    await tablet.message("duel")
    answer = await juliet.ask(None, "<query xmlns='jabber:iq:privacy'/>")
    names = [(one.tag.removeprefix(PRIVACY), one.get("name")) for one in answer.find(f"{PRIVACY}query")]
    assert names == [("active", "quiet"), ("list", "quiet")]
    await set_privacy(juliet, "<active/>")
    await set_privacy(tablet, "<list name='quiet'/>")
    tybalt.send_message(mto=juliet.boundjid.full, mbody="again", mtype="chat")
    await juliet.message("again")


@pytest.mark.ours("jabberd 1.4's invisible presence")
async def test_invisible(clients, account):
    romeo, juliet = await clients.login(account("romeo")), await clients.login(account("juliet"))
    await befriend(romeo, juliet)
    romeo.send_raw("<presence type='invisible'/>")
    await juliet.presence("unavailable", romeo.boundjid.full)
    juliet.send_message(mto=romeo.boundjid.bare, mbody="Art thou there?", mtype="chat")
    await romeo.message("Art thou there?")
    romeo.send_presence()
    await juliet.presence(None, romeo.boundjid.full)


async def test_block_outlives_a_kill(start_server):
    server = start_server()
    user, other = make_account(server, "juliet"), make_account(server, "romeo")
    clients = slixmpp_clients.Clients(server)
    try:
        juliet = await clients.login(user, "balcony")
        juliet.register_plugin("xep_0191")
        await juliet.plugin["xep_0191"].block(other.jid)
        server.kill()
        server.start()
        romeo = await clients.login(other, "orchard")
        romeo.send_message(mto=user.jid, mbody="now?", mtype="chat")
        assert (await romeo.message(kind="error"))["error"]["condition"] == "service-unavailable"
    finally:
        await clients.end()
