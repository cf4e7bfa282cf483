"""libpurple, the engine of Pidgin, Adium and finch: whatever its user can click, against a client of today.

A test that uses a connection ends with `answered`: whatever the program asked, of us or of a service, it got an answer.
"""

import base64
import hashlib
import pathlib
import secrets

import pytest
from slixmpp.xmlstream import ET

import clients as slixmpp_clients
import purple
import servers
import wire
from conftest import Account, make_account, numbers, scratch
from servers import HOST, WELCOME_BODY, free_ports

MISSING = purple.missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=f"needs {MISSING}")


@pytest.fixture(scope="session")
def program():
    return purple.build(scratch("purple"))


@pytest.fixture
def purples(program, request):
    """Makes users; each name has the same home in each run of the program, as for a person."""
    place = scratch(f"purple-{request.node.name}")
    return lambda name="home": purple.Purple(program, place / name)


@pytest.fixture
def stranger(server):
    """A name that the program will register."""
    return Account(f"purple{next(numbers)}{secrets.token_hex(3)}", HOST, "Pidgin's pässword")


PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def befriend(pidgin, account, client):
    """The program's user adds somebody, who agrees and adds him as well."""
    pidgin.do("add", client.boundjid.bare)
    await client.presence("subscribe", account.jid)
    client.send_presence(pto=account.jid, ptype="subscribed")
    client.send_presence(pto=account.jid, ptype="subscribe")
    await pidgin.event("buddy", client.boundjid.bare, "available")
    await client.presence("subscribed", account.jid)
    await client.presence(source=f"{account.jid}/purple")


@pytest.mark.ours("the fields of its registration")
async def test_register_and_chat(server, clients, account, purples, stranger):
    """An account's whole life: registration, roster, presence, chat, messages that waited, a new password, the end."""
    friend = await clients.login(account("friend", host=HOST), "slixmpp")
    async with purples() as pidgin:
        pidgin.use(stranger, server.client_port)
        pidgin.do("register")
        await pidgin.event("asked", None, "Accept")
        await pidgin.event("form", None, None, "username,password,name,email")
        await pidgin.event("registered", "yes")
        await pidgin.event("offline")
        pidgin.events.clear()

        await pidgin.connect()
        assert (await pidgin.event("message", HOST))[1].endswith(WELCOME_BODY)
        await befriend(pidgin, stranger, friend)
        assert (await friend.roster_items())[stranger.jid]["subscription"] == "both"

        pidgin.do("status", "away", "Gone to the café")
        away = await friend.presence(source=f"{stranger.jid}/purple")
        assert (away["show"], away["status"]) == ("away", "Gone to the café")
        friend.send_presence(pshow="dnd", pstatus="Hush & be still")
        await pidgin.event("buddy", friend.boundjid.bare, "dnd", "Hush & be still")

        pidgin.do("say", friend.boundjid.bare, "Hello, library! ✓")
        said = await friend.message("Hello, library! ✓", "chat")
        assert said["from"] == f"{stranger.jid}/purple"
        friend.send_message(said["from"], "Hello, <engine>!", mtype="chat")
        await pidgin.event("message", friend.boundjid.full, "Hello, &lt;engine&gt;!")

        pidgin.do("keepalive")
        pidgin.do("ask info", friend.boundjid.bare)
        await pidgin.event("info", friend.boundjid.bare)
        await pidgin.answered()
        await pidgin.leave()
        await friend.presence("unavailable", f"{stranger.jid}/purple")

        friend.send_message(stranger.jid, "Did you leave?", mtype="chat")
        await friend.settle()
        await pidgin.connect()
        assert (await pidgin.event("message", None, "Did you leave?"))[0].startswith(friend.boundjid.bare)
        await pidgin.event("buddy", friend.boundjid.bare, "dnd")

        changed = stranger._replace(password="another pässword")
        pidgin.do("fill", "password1", changed.password)
        pidgin.do("fill", "password2", changed.password)
        pidgin.do("action", "Change Password...")
        await pidgin.event("notice", "Password Changed")
        await pidgin.answered()
        await pidgin.leave()
        with pytest.raises(slixmpp_clients.LoginRefused):
            await clients.login(stranger)
        await (await clients.login(changed)).leave()

        await pidgin.connect()
        pidgin.do("unregister")
        await pidgin.event("unregistered", "yes")
    with pytest.raises(slixmpp_clients.LoginRefused):
        await clients.login(changed)


async def test_old_ssl(server, account, purples):
    """The port of direct TLS, which Pidgin calls that of old-style SSL."""
    user = account("user", host=HOST)
    async with purples() as pidgin:
        pidgin.use(user, server.tls_port, "old_ssl")
        await pidgin.connect()
        await pidgin.answered()


@pytest.mark.ours("plain logins are allowed by our jabber.xml")
async def test_without_tls(start_server, purples):
    """Where jabber.xml allows it: no STARTTLS is offered, and the password passes as the program's user allowed."""
    server = start_server(c2s="<plain-login xmlns='urn:jabber:config:3' network='127.0.0.0/8'/>")
    user = make_account(server)
    async with purples() as pidgin:
        pidgin.use(user, server.client_port, "opportunistic_tls", auth_plain_in_clear="yes")
        await pidgin.connect()
        await pidgin.answered()


async def test_wrong_password(server, account, purples):
    """It tries every mechanism twice, and must be left to: only then it asks its user, and does not connect again."""
    user = account("user", host=HOST)
    async with purples() as pidgin:
        pidgin.use(user._replace(password="wrong"), server.client_port)
        pidgin.do("connect")
        await pidgin.event("failed", None, "final")


@pytest.mark.ours("the spool of jabberd 1.4")
async def test_an_old_hash(purples, request):
    """An account of jabberd 1.4's with a hashed password: SCRAM is in vain; the next connection is offered PLAIN alone."""
    server = servers.Jabberd(scratch(request.node.name), limits={"failed-logins-max": 2})
    old = server.directory / "spool" / HOST / "romeo.xml"
    old.parent.mkdir(parents=True)
    old.write_text(
        "<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'/><crypt xmlns='jabber:iq:auth:crypt' "
        "xdbns='jabber:iq:auth:crypt'>{SHA}0vxRJJChUDZGC1SJQBQ51tpUB/o=</crypt></xdb>"
    )
    server.start()
    try:
        async with purples() as pidgin:
            pidgin.use(Account("romeo", HOST, "pencil"), server.client_port)
            pidgin.do("connect")
            # Not final: Pidgin connects again by itself.
            await pidgin.event("failed", None, "again")
            await pidgin.event("offline")
            pidgin.do("disconnect")
            await pidgin.connect()
            await pidgin.answered()
    finally:
        server.stop()


async def test_card_and_picture(server, clients, account, purples):
    """vcard-temp and XEP-0153; the answers to what it tries of XEP-0084 are errors that it can live with."""
    friend, user = await clients.login(account("friend", host=HOST)), account("user", host=HOST)
    async with purples() as pidgin:
        pidgin.use(user, server.client_port)
        await pidgin.connect()
        await befriend(pidgin, user, friend)
        pidgin.do("fill", "FN", "Ada Låvelace")
        pidgin.do("action", "Set User Info...")
        await pidgin.event("form", "Edit XMPP vCard")
        await pidgin.answered()
        picture = scratch("picture.png")
        picture.write_bytes(PICTURE)
        pidgin.do("icon", picture)
        update = "{vcard-temp:x:update}x/{vcard-temp:x:update}photo"
        digest = hashlib.sha1(PICTURE).hexdigest()
        await friend.expect(lambda one: one.xml.findtext(update) == digest, "the picture's hash")
        await pidgin.answered()
        card = (await friend.ask(user.jid, "<vCard xmlns='vcard-temp'/>")).find("{vcard-temp}vCard")
        assert card.findtext("{vcard-temp}FN") == "Ada Låvelace"
        assert base64.b64decode(card.findtext("{vcard-temp}PHOTO/{vcard-temp}BINVAL")) == PICTURE

        # The other way.
        vcard = friend.plugin["xep_0054"].make_vcard()
        vcard["FN"] = "Grace"
        vcard["PHOTO"]["TYPE"] = "image/png"
        vcard["PHOTO"]["BINVAL"] = PICTURE
        await friend.plugin["xep_0054"].publish_vcard(vcard)
        presence = friend.make_presence()
        presence.append(ET.fromstring(f"<x xmlns='vcard-temp:x:update'><photo>{digest}</photo></x>"))
        presence.send()
        await pidgin.event("icon", friend.boundjid.bare, digest)
        pidgin.do("ask info", friend.boundjid.bare)
        assert "Grace" in (await pidgin.event("info", friend.boundjid.bare))[1]
        await pidgin.answered()


async def test_blocking(server, clients, account, purples):
    """XEP-0191 by the program's privacy settings."""
    friend, user = await clients.login(account("friend", host=HOST)), account("user", host=HOST)
    async with purples() as pidgin:
        pidgin.use(user, server.client_port)
        await pidgin.connect()
        await befriend(pidgin, user, friend)
        pidgin.do("block", friend.boundjid.bare)
        await friend.presence("unavailable", f"{user.jid}/purple")
        friend.send_message(user.jid, "Can you hear me?", mtype="chat")
        await friend.message(kind="error")
        pidgin.do("unblock", friend.boundjid.bare)
        await friend.presence(source=f"{user.jid}/purple")
        friend.send_message(user.jid, "And now?", mtype="chat")
        await pidgin.event("message", None, "And now?")
        await pidgin.answered()


@pytest.mark.ours("the directory")
async def test_people_are_found(start_server, purples):
    """XEP-0055 by "Search for Users": the directory is that of service discovery."""
    server = start_server(jsm="<vcard2jud/>")
    user, wanted = make_account(server), make_account(server)
    with wire.Wire(server, direct_tls=True) as one:
        one.login(wanted.name, wanted.password)
        one.iq("set", "<vCard xmlns='vcard-temp'><N><GIVEN>Juliet</GIVEN><FAMILY>Capulet</FAMILY></N></vCard>")
    async with purples() as pidgin:
        pidgin.use(user, server.client_port)
        await pidgin.connect()
        await pidgin.answered()
        pidgin.do("fill", "last", "Capulet")
        pidgin.do("action", "Search for Users...")
        (cells,) = await pidgin.event("found")
        assert wanted.jid in cells and "Juliet" in cells
        await pidgin.answered()


@pytest.mark.ours("the proxy")
async def test_a_file_passes_through_the_proxy(start_server, purples):
    """XEP-0096 and XEP-0065: who sends cannot be reached, so the proxy of service discovery is used."""
    port = free_ports(1)[0]
    server = start_server(
        jsm="<proxy65 xmlns='urn:jabber:config:3'><ip>127.0.0.1</ip><address>127.0.0.1</address>"
        f"<port>{port}</port></proxy65>"
    )
    romeo, juliet = make_account(server, "romeo"), make_account(server, "juliet")
    async with purples("romeo") as sender, purples("juliet") as receiver:
        for one, user in ((sender, romeo), (receiver, juliet)):
            one.use(user, server.client_port)
            await one.connect()
        sender.do("add", juliet.jid)
        await receiver.event("asked for presence", romeo.jid)
        await sender.event("buddy", juliet.jid, "available")
        receiver.do("add", romeo.jid)
        await receiver.event("buddy", romeo.jid, "available")
        await sender.answered()
        await receiver.answered()

        letter = scratch("letter.bin")
        letter.write_bytes(secrets.token_bytes(300_000))
        sender.do("no ports", server.client_port)
        sender.do("send file", juliet.jid, letter)
        await receiver.event("offered", None, "letter.bin")
        await sender.event("file sent")
        _, path = await receiver.event("file received")
        assert any("streamhost-used jid='proxy.localhost'" in one for one in receiver.sent), receiver.sent
    # It closes the file after it said so.
    assert pathlib.Path(path).read_bytes() == letter.read_bytes()
