"""nbxmpp, the library that Gajim is made of: every request of Gajim's gets an answer that it can live with."""

import asyncio
import pathlib
import subprocess

import pytest

from conftest import numbers
from servers import HOST

SCRIPT = pathlib.Path(__file__).with_name("nbxmpp_client.py")
# Debian's packages are the system's Python's.
PYTHON = "/usr/bin/python3"
# What Gajim would like (XEP-0402, XEP-0313, XEP-0084) and can do without.
NOT_SERVED = {"native bookmarks", "archive", "avatar"}


def has_nbxmpp():
    try:
        return subprocess.run([PYTHON, "-c", "import nbxmpp.client"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not has_nbxmpp(), reason="needs python3-nbxmpp")
@pytest.mark.parametrize("way", ("start", "direct"))
async def test_nbxmpp(server, clients, account, way):
    friend = await clients.login(account("friend"))
    name, port = f"gajim{next(numbers)}", server.tls_port if way == "direct" else server.client_port
    process = await asyncio.create_subprocess_exec(
        PYTHON, SCRIPT, HOST, str(port), way, name, "pässword", friend.boundjid.bare,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    told = asyncio.create_task(process.communicate())
    try:
        jid = f"{name}@{HOST}"
        await friend.presence("subscribe", jid)
        friend.send_presence(pto=jid, ptype="subscribed")
        friend.send_presence(pto=jid, ptype="subscribe")
        said = await friend.message("Hello from Gajim ✓", "chat")
        assert said["from"] == f"{jid}/gajim"
        friend.send_message(said["from"], "Hello, Gajim!", mtype="chat")
        await friend.message("Goodbye", "chat")
        await friend.presence("unavailable", f"{jid}/gajim")
        friend.send_message(jid, "While you were away", mtype="chat")
        out, err = await told
    finally:
        if process.returncode is None:
            process.kill()
            print(*await told)
    steps = out.decode().splitlines()
    assert process.returncode == 0, (out.decode(), err.decode())
    refused = {step.rpartition(" refused ")[0] for step in steps if " refused " in step}
    assert refused <= NOT_SERVED, steps
    assert "offline delayed" in steps
    refusal = "connect disconnected StreamError.SASL not-authorized"
    assert [step.startswith(refusal) for step in steps[-4:]] == [False, True, False, False], steps
    assert steps[-2:] == ["connect connected", "farewell ok"], steps
