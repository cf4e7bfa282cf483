"""mcabber, whose library loudmouth is that of irssi's and many small clients, on a terminal."""

import pytest

import terminal
from conftest import scratch

pytestmark = pytest.mark.skipif(not terminal.Mcabber.installed(), reason="needs mcabber and tmux")


@pytest.fixture
def mcabber(server, request):
    """Starts mcabber; each start has the same home, as for a person."""
    started = []

    async def start(account, ssl=False):
        port = server.tls_port if ssl else server.client_port
        home = scratch(f"mcabber-{request.node.name}")
        started.append(terminal.Mcabber(home, account.jid, account.password, port, ssl))
        return await started[-1].ready()

    yield start
    for one in started:
        one.end()


@pytest.mark.ours("the server's own card")
async def test_chat(server, clients, account, mcabber):
    """STARTTLS, then the port of direct TLS: roster, presence, chat, questions to the server, a note kept there."""
    user, friend = account("mcabber"), await clients.login(account("friend"), "slixmpp")
    bare = friend.boundjid.bare
    program = await mcabber(user)
    program.type(f"/add {bare}")
    await friend.presence("subscribe", user.jid)
    friend.send_presence(pto=user.jid, ptype="subscribed")
    friend.send_presence(pto=user.jid, ptype="subscribe")
    await program.traces(f"<{bare}> wants to subscribe")
    program.type("/event * accept")
    await friend.presence("subscribed", user.jid)
    await friend.presence(source=f"{user.jid}/mcabber")
    assert (await friend.roster_items())[user.jid]["subscription"] == "both"

    program.type("/status dnd Bin beschäftigt")
    busy = await friend.presence(source=f"{user.jid}/mcabber")
    assert (busy["show"], busy["status"]) == ("dnd", "Bin beschäftigt")
    program.type(f"/roster search {bare}")
    program.type("Hello, library! ✓")
    said = await friend.message("Hello, library! ✓", "chat")
    friend.send_message(said["from"], "Hello, terminal!", mtype="chat")
    await program.shows("Hello, library!", "Hello, terminal!")
    program.type("/roster note Met at the café")
    for what in ("version", "time", "last", "vcard"):
        program.type(f"/request {what} {user.host}")
        await program.traces(f"Received IQ:{'vCard' if what == 'vcard' else what} result from <{user.host}>")
    program.type(f"/request ping {friend.boundjid.full}")
    await program.quit()
    await friend.presence("unavailable", f"{user.jid}/mcabber")

    friend.send_message(user.jid, "Did you leave?", mtype="chat")
    await friend.settle()
    program = await mcabber(user, ssl=True)
    # It is marked in the roster.
    await program.shows(f"#[o] {bare}"[:20])
    program.type("/roster unread_first")
    program.type("")
    await program.shows("Did you leave?")
    program.type("/roster note")
    await program.shows("Met at the café")
    await program.quit()
