"""Psi and Tkabber themselves, windows and all."""

import pytest
from slixmpp.xmlstream import ET

import clients as slixmpp_clients
import windows
from conftest import make_account, scratch, take_welcome
from servers import HOST


def needs(program):
    lacking = windows.missing(program)
    return pytest.mark.skipif(lacking is not None, reason=f"needs {lacking}")


@pytest.fixture
def screen(request):
    """A screen; what was started on it ends before it does."""
    one = windows.Screen()
    started = []
    run = one.run
    one.run = lambda *arguments, **options: started.append(run(*arguments, **options)) or started[-1]
    yield one
    for process in started:
        windows.end(process)
    one.end()


@needs("psi")
@pytest.mark.parametrize("way", ("starttls", "direct"))
async def test_psi(server, clients, account, screen, way):
    """It logs in, lets people see its presence, answers what they ask, and says that their messages arrived."""
    friend, user = await clients.login(account("friend"), "slixmpp"), account("psi")
    windows.psi(screen, scratch(f"psi-{way}"), user, server, way == "direct")
    full = f"{user.jid}/psi"
    friend.send_presence(pto=user.jid, ptype="subscribe")
    # It adds in turn whom it allows.
    await friend.presence("subscribe", user.jid)
    friend.send_presence(pto=user.jid, ptype="subscribed")
    await friend.presence(source=full)
    version = await friend.ask(full, "<query xmlns='jabber:iq:version'/>")
    assert version.findtext(".//{jabber:iq:version}name") == "Psi"
    for question in (
        "<query xmlns='jabber:iq:last'/>",
        "<time xmlns='urn:xmpp:time'/>",
        "<ping xmlns='urn:xmpp:ping'/>",
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
    ):
        await friend.ask(full, question)
    await friend.settle()
    assert (await friend.roster_items())[user.jid]["subscription"] == "both"
    message = friend.make_message(user.jid, "Did you get this?", mtype="chat")
    message["id"] = "received"
    message.append(ET.fromstring("<request xmlns='urn:xmpp:receipts'/>"))
    message.send()
    receipt = "{urn:xmpp:receipts}received"
    await friend.expect(lambda one: one.xml.find(receipt) is not None, "a receipt")


@needs("tkabber")
@pytest.mark.ours("plain logins are allowed by our jabber.xml")
async def test_tkabber(start_server, screen):
    """A stream without a version, no TLS, jabber:iq:auth: how it was done in 2004."""
    server = start_server(c2s="<plain-login xmlns='urn:jabber:config:3' network='127.0.0.0/8'/>")
    user, other = make_account(server, "tk", password="tickle"), make_account(server, "friend")
    for one in (user, other):
        take_welcome(server, one)
    clients = slixmpp_clients.Clients(server)
    try:
        friend = await clients.login(other, direct_tls=True)
        windows.tkabber(screen, scratch("tkabber"), user, server.client_port, other.jid)
        await friend.presence("subscribe", user.jid)
        friend.send_presence(pto=user.jid, ptype="subscribed")
        said = await friend.message("Hello from Tk", "chat")
        assert said["from"] == f"{user.name}@{HOST}/tkabber"
        friend.send_message(said["from"], "Is it 2004?", mtype="chat")
        await friend.message("Tk heard: Is it 2004?", "chat")
    finally:
        await clients.end()
