"""The programs by which scripts and cron jobs send messages: sendxmpp (Net::XMPP) and go-sendxmpp (mattn's go-xmpp)."""

import asyncio
import shutil
import subprocess

import pytest

from conftest import scratch
from servers import HOST

LINE_SECONDS = 60


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


async def run(*command, said=b"", home):
    """Runs a program to its end and gives it its input."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    out, _ = await process.communicate(said)
    assert process.returncode == 0, out.decode()


@needs("sendxmpp")
@pytest.mark.parametrize("way", ("-t", "-e"), ids=("starttls", "direct tls"))
async def test_sendxmpp(server, clients, account, way):
    """It leaves as soon as it has written: what it sent arrives all the same."""
    # Of other letters it makes Latin-1, which no server takes.
    friend, user = await clients.login(account("friend")), account("cron", password="ASCII alone")
    port = server.tls_port if way == "-e" else server.client_port
    home = scratch(f"sendxmpp{way}")
    home.mkdir()
    config = home / "config"
    config.write_text(
        f"username: {user.name}\njserver: 127.0.0.1\nport: {port}\npassword: {user.password}\ncomponent: {HOST}\n"
    )
    config.chmod(0o600)
    command = ("sendxmpp", way, "-n", "-f", config, "-s", "disk", friend.boundjid.bare)
    await run(*command, said="The disk is full".encode(), home=home)
    message = await friend.message("The disk is full")
    assert (message["subject"], message["from"].bare) == ("disk", user.jid)


@needs("go-sendxmpp")
@pytest.mark.parametrize("way", ((), ("-t",)), ids=("starttls", "direct tls"))
async def test_go_sendxmpp(server, clients, account, way):
    """It sends, and it listens."""
    friend, user = await clients.login(account("friend")), account("cron")
    port = server.tls_port if way else server.client_port
    home = scratch(f"go-sendxmpp{''.join(way)}")
    home.mkdir()
    login = ("go-sendxmpp", *way, "-n", "-u", user.jid, "-p", user.password, "-j", f"127.0.0.1:{port}")
    await run(*login, friend.boundjid.bare, said="The backup is döne".encode(), home=home)
    # It ends its messages with the line's end.
    assert (await friend.message())["body"].strip() == "The backup is döne"

    listener = await asyncio.create_subprocess_exec(
        *login, "-l", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        # Whether it is there already or not: the message waits.
        friend.send_message(user.jid, "Did the backup run?", mtype="chat")
        line = await asyncio.wait_for(listener.stdout.readline(), LINE_SECONDS)
        assert line.decode().rstrip().endswith(f"{friend.boundjid.bare}: Did the backup run?"), line
    finally:
        listener.kill()
        await listener.communicate()
