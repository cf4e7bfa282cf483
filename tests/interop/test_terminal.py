"""profanity, a program that people chat with, on a terminal: registers, is talked to, talks, is away, comes back.

Runs against the built server, and by `package-client` against the installed one.
"""

import secrets

import pytest

import terminal
import wire
from conftest import Account, numbers, remove_account, scratch
from servers import HOST

pytestmark = pytest.mark.skipif(not terminal.Profanity.installed(), reason="needs profanity and tmux")


@pytest.fixture
def profanity(server, request):
    """Starts profanity; each start has the same home, as for a person."""
    started = []

    async def start():
        started.append(terminal.Profanity(scratch(f"profanity-{request.node.name}")))
        return await started[-1].ready()

    yield start
    for one in started:
        one.end()


@pytest.fixture
def stranger(server):
    """A name that profanity will register; its account is removed in the end."""
    account = Account(f"profane{next(numbers)}{secrets.token_hex(3)}", HOST, "from a terminal")
    yield account
    remove_account(server, account)


async def test_register_and_chat(server, clients, account, profanity, stranger):
    """The whole way: registration, login over TLS, chat both ways, a message while away, the records of it."""
    friend = account("friend", host=HOST)
    program = await profanity()
    await program.register(stranger.name, stranger.password, HOST, server.client_port)
    # Compat: profanity 0.13 cannot log in after /register in the same run (its connection stays in raw mode).
    await program.quit()

    client = await clients.login(friend, "slixmpp")
    program = await profanity()
    await program.connect(stranger.jid, stranger.password, server.client_port)
    program.type("/tls cert")
    await program.shows(HOST)
    client.send_message(f"{stranger.jid}/profanity", "Hello, terminal!", mtype="chat")
    await program.shows(friend.jid)
    program.type(f"/msg {friend.jid} Hello, library! ✓")
    assert (await client.message("Hello, library! ✓", "chat"))["from"] == f"{stranger.jid}/profanity"
    await program.shows("Hello, terminal!", "Hello, library!")

    program.type(f"/sub request {friend.jid}")
    await client.presence("subscribe", stranger.jid)
    client.send_presence(pto=stranger.jid, ptype="subscribed")
    await client.push(stranger.jid)
    await program.quit()

    client.send_message(stranger.jid, "Did you leave?", mtype="chat")
    await client.settle()
    program = await profanity()
    await program.connect(stranger.jid, stranger.password, server.tls_port, tls="legacy")
    program.type(f"/msg {friend.jid}")
    await program.shows("Did you leave?")
    program.type("/roster")
    program.type("/win 1")
    await program.shows(friend.jid)
    await program.quit()

    if server.record_kept:

        def lines():
            return [line.split(" ", 1)[1] for line in server.record() if f" {stranger.jid} " in line]

        wire.soon(lambda: sum("session end" in line for line in lines()) == 2)
        assert sum(line == f"{stranger.jid} login ok 127.0.0.1 profanity" for line in lines()) == 2, lines()


async def test_wrong_password(server, account, profanity):
    user = account("user", host=HOST)
    program = await profanity()
    program.type(f"/connect {user.jid} server 127.0.0.1 port {server.client_port} tls trust")
    await program.shows("Enter password:")
    program.type("not this one")
    await program.shows("Login failed")
    await program.quit()
