"""Components (XEP-0114): one written with slixmpp, and Debian's jabber-muc, whose code is that of jabberd 1.4's rooms.

jabber-muc is looked for where its package puts it, or at $MU_CONFERENCE.
"""

import asyncio
import os
import pathlib
import shutil
import subprocess

import pytest
import slixmpp

import clients as slixmpp_clients
import servers

TIMEOUT_SECONDS = 60
SECRET = "know & keep it"

pytestmark = pytest.mark.ours("components are configured in jabber.xml")


def service(port, host, more=""):
    """A section of jabber.xml."""
    secret = SECRET.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f"<service id='{host}'><accept><ip>127.0.0.1</ip><port>{port}</port><secret>{secret}</secret>"
        f"<timeout>2</timeout>{more}</accept></service>"
    )


class Echo(slixmpp.ComponentXMPP):
    """Says what it is told, under every name at its host."""

    def __init__(self, host, port, secret=SECRET):
        super().__init__(host, secret, "127.0.0.1", port)
        self.whitespace_keepalive = False
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")
        self.plugin["xep_0030"].add_identity(category="gateway", itype="icq", name="Echo")
        self.heard = []
        self.errors = []
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.ready.set())
        self.add_event_handler("disconnected", lambda _: self.gone.set())
        self.add_event_handler("stream_error", lambda error: self.errors.append(error["condition"]))
        self.add_event_handler("message", self.answer)
        self.add_event_handler("presence_subscribe", self.subscribed)

    def answer(self, message):
        self.heard.append(message["body"])
        if message["type"] != "error":
            self.send_message(message["from"], message["body"], mfrom=message["to"], mtype="chat")

    def subscribed(self, presence):
        self.send_presence(pto=presence["from"], pfrom=presence["to"], ptype="subscribed")
        self.send_presence(pto=presence["from"], pfrom=presence["to"], pstatus="here")

    async def arrive(self):
        self.connect(self.server_host, self.server_port)
        await asyncio.wait_for(self.ready.wait(), TIMEOUT_SECONDS)
        return self

    async def leave(self):
        self.cancel_connection_attempt()
        if self.transport is not None:
            self.disconnect(wait=5, ignore_send_queue=True)
            await asyncio.wait_for(self.gone.wait(), TIMEOUT_SECONDS)


async def people(server, account, *names):
    """Clients with accounts of their own on this server, to be ended by the test."""
    group = slixmpp_clients.Clients(server)
    return group, [await group.login(account(name, server=server, greeted=False)) for name in names]


@pytest.fixture
def echo_server(start_server):
    (port,) = servers.free_ports(1)
    server = start_server(extra=service(port, "echo.localhost"))
    server.component_port = port
    return server


async def test_a_slixmpp_component(echo_server, account):
    """Messages, requests and subscriptions go both ways."""
    echo = await Echo("echo.localhost", echo_server.component_port).arrive()
    group, (client,) = await people(echo_server, account, "user")
    try:
        client.send_message("parrot@echo.localhost/cage", "Hello?", mtype="chat")
        answer = await client.message("Hello?")
        assert answer["from"] == "parrot@echo.localhost/cage"
        info = await client.ask("echo.localhost", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        identity = info.find(".//{http://jabber.org/protocol/disco#info}identity")
        assert identity.get("category") == "gateway"
        # It asks the server, and a client.
        await echo.plugin["xep_0199"].send_ping("localhost", ifrom="echo.localhost", timeout=TIMEOUT_SECONDS)
        await echo.plugin["xep_0199"].send_ping(client.boundjid, ifrom="a@echo.localhost", timeout=TIMEOUT_SECONDS)
        client.send_presence(pto="parrot@echo.localhost", ptype="subscribe")
        assert (await client.presence(source="parrot@echo.localhost"))["status"] == "here"
        assert (await client.roster_items())["parrot@echo.localhost"]["subscription"] == "to"
    finally:
        await group.end()
        await echo.leave()


async def test_logs_and_data(echo_server):
    """The packets of jabberd 1.4's own parts, for its own users."""
    echo = await Echo("echo.localhost", echo_server.component_port).arrive()
    try:
        echo.send_raw("<log type='record' from='u1@echo.localhost'>sessionstart\n127.0.0.1</log>")
        echo.send_raw("<log type='warn' from='echo.localhost'>component says hello</log>")
        echo.send_raw("<log type='stat' from='echo.localhost'>9 users</log>")
        echo.send_raw("<log type='record' from='juliet@localhost'>login ok</log>")
        await echo.plugin["xep_0199"].send_ping("localhost", ifrom="echo.localhost", timeout=TIMEOUT_SECONDS)
        assert [line.split(" ", 1)[1] for line in echo_server.record()] == [
            "u1@echo.localhost sessionstart\\n127.0.0.1"
        ]
        for wanted in ("[warn] (echo.localhost): component says hello", "[stat] (echo.localhost): 9 users"):
            assert any(wanted in line for line in echo_server.error_log())
    finally:
        await echo.leave()


async def test_it_cannot_speak_for_others(echo_server, account):
    echo = await Echo("echo.localhost", echo_server.component_port).arrive()
    group, (client,) = await people(echo_server, account, "user")
    try:
        echo.send_message(client.boundjid.bare, "forged", mfrom="pope@vatican.example")
        echo.send_message(client.boundjid.bare, "own", mfrom="a@echo.localhost")
        await client.message("own")
        assert "forged" not in client.bodies()
        assert any("may not speak for vatican.example" in line for line in echo_server.error_log())
    finally:
        await group.end()
        await echo.leave()


async def test_restarts_and_impostors(echo_server, account):
    """What is sent while it is away arrives in order; a newer connection takes the place of the older."""
    group, (client,) = await people(echo_server, account, "user")
    impostor = Echo("echo.localhost", echo_server.component_port, secret="wrong")
    first, second = (Echo("echo.localhost", echo_server.component_port) for _ in range(2))
    try:
        for number in range(20):
            client.send_message("parrot@echo.localhost", str(number), mtype="chat")
        await client.settle()
        impostor.connect("127.0.0.1", echo_server.component_port)
        await asyncio.wait_for(impostor.gone.wait(), TIMEOUT_SECONDS)
        assert impostor.heard == [] and not impostor.ready.is_set()
        impostor.cancel_connection_attempt()
        await first.arrive()
        await client.message("19")
        assert first.heard == [str(number) for number in range(20)]
        await second.arrive()
        await asyncio.wait_for(first.gone.wait(), TIMEOUT_SECONDS)
        assert first.errors == ["conflict"]
        client.send_message("parrot@echo.localhost", "again", mtype="chat")
        await client.message("again")
        assert second.heard == ["again"]
        await second.leave()
        client.send_message("parrot@echo.localhost", "too late", mtype="chat")
        error = await client.message(kind="error")
        assert error["error"].xml.get("code") == "502"
    finally:
        await group.end()
        for component in (impostor, first, second):
            await component.leave()


def mu_conference():
    paths = (os.environ.get("MU_CONFERENCE"), shutil.which("mu-conference"), "/usr/sbin/mu-conference")
    return next((path for path in paths if path and pathlib.Path(path).exists()), None)


def conference_xml(directory, port):
    """jabber-muc's configuration: the form that jabberd 1.4's rooms had."""
    secret = SECRET.replace("&", "&amp;").replace("<", "&lt;")
    return f"""<jcr>
  <name>conference.localhost</name>
  <host>conference.localhost</host>
  <ip>127.0.0.1</ip>
  <port>{port}</port>
  <secret>{secret}</secret>
  <spool>{directory}/rooms/</spool>
  <logdir>{directory}</logdir>
  <pidfile>{directory}/muc.pid</pidfile>
  <loglevel>255</loglevel>
  <conference xmlns="jabber:config:conference">
    <public/>
    <vCard><FN>Rooms</FN></vCard>
    <history>40</history>
    <notice><join>is here</join><leave>left</leave><rename>is now</rename></notice>
  </conference>
</jcr>
"""


@pytest.mark.skipif(mu_conference() is None, reason="needs jabber-muc")
async def test_jabber_muc(start_server, account):
    """The rooms of jabberd 1.4 (mu-conference): two people enter, and talk."""
    (port,) = servers.free_ports(1)
    server = start_server(extra=service(port, "conference.localhost"))
    directory = server.directory / "muc"
    (directory / "rooms").mkdir(parents=True)
    (directory / "muc.xml").write_text(conference_xml(directory, port))
    with open(directory / "output", "wb") as output:
        program = subprocess.Popen(
            [mu_conference(), "-c", directory / "muc.xml"], stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    group, (juliet, romeo) = await people(server, account, "juliet", "romeo")
    room, muc = "balcony@conference.localhost", "{http://jabber.org/protocol/muc#user}x"
    try:
        await wait_for_component(server, "conference.localhost")
        juliet.send_presence(pto=f"{room}/Juliet")
        await juliet.presence(source=f"{room}/Juliet")
        enter = romeo.make_presence(pto=f"{room}/Romeo")
        enter.append(slixmpp.xmlstream.ET.Element("{http://jabber.org/protocol/muc}x"))
        enter.send()
        own = await romeo.presence(source=f"{room}/Romeo")
        assert own.xml.find(muc) is not None
        await juliet.presence(source=f"{room}/Romeo")
        romeo.send_message(room, "Shall I hear more?", mtype="groupchat")
        for one in (juliet, romeo):
            heard = await one.message("Shall I hear more?", kind="groupchat")
            assert heard["from"] == f"{room}/Romeo"
        items = await juliet.ask("conference.localhost", "<query xmlns='http://jabber.org/protocol/disco#items'/>")
        rooms = [item.get("jid") for item in items.iter("{http://jabber.org/protocol/disco#items}item")]
        assert rooms == [room]
        # A client that dies leaves the room.
        await romeo.vanish()
        await juliet.presence("unavailable", f"{room}/Romeo")
    finally:
        await group.end()
        # Its handler of SIGTERM waits for the connection.
        program.kill()
        program.wait()


async def wait_for_component(server, host):
    """Returns when the log says that it is there."""
    for _ in range(TIMEOUT_SECONDS * 20):
        if any(f"({host}): component connected" in line for line in server.error_log()):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("\n".join(server.error_log()))
