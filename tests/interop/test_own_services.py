"""Services at names of their own, by slixmpp: the user directory (XEP-0055) and the proxy for file transfers (XEP-0065)."""

import asyncio
import os

import pytest
from slixmpp.exceptions import IqError

import clients as slixmpp_clients
from conftest import make_account
from servers import HOST, free_ports

pytestmark = pytest.mark.ours("services are named and filled by our jabber.xml")

OWN = "urn:jabber:config:3"
SEARCH = "{jabber:iq:search}"
PIECE = 64 << 10


async def set_card(client, given, family):
    card = f"<vCard xmlns='vcard-temp'><N><GIVEN>{given}</GIVEN><FAMILY>{family}</FAMILY></N></vCard>"
    await client.ask(None, card, "set")


async def test_slixmpp_finds_people(start_server):
    """XEP-0055 §3: slixmpp fetches the form, fills it in and reads the table."""
    server = start_server(jsm="<vcard2jud/>")
    clients = slixmpp_clients.Clients(server)
    try:
        seeker, wanted = [await clients.login(make_account(server)) for _ in range(2)]
        await set_card(wanted, "Ju\u0308liet", "Capulet")
        seeker.register_plugin("xep_0004")
        seeker.register_plugin("xep_0055")
        iq = seeker.make_iq_get(ito=f"users.{HOST}")
        iq.enable("search")
        blank = await iq.send()
        assert {"first", "last", "nick", "email"} <= set(blank["search"]["form"].get_fields())
        iq = seeker.make_iq_set(ito=f"users.{HOST}")
        form = iq["search"]["form"]
        form["type"] = "submit"
        form.add_field(var="FORM_TYPE", ftype="hidden", value="jabber:iq:search")
        form.add_field(var="first", value="J\u00dcLI")
        found = (await iq.send())["search"]["form"]
        assert [item["jid"] for item in found.get_items()] == [wanted.boundjid.bare]
        # The way of clients before data forms.
        answer = await seeker.ask(f"users.{HOST}", "<query xmlns='jabber:iq:search'><last>cap</last></query>", "set")
        (item,) = answer.iter(f"{SEARCH}item")
        assert (item.get("jid"), item.findtext(f"{SEARCH}last")) == (wanted.boundjid.bare, "Capulet")
    finally:
        await clients.end()


class Transfers:
    """Two clients of one server with a proxy, and what came to the second."""

    def __init__(self, one, other):
        self.one, self.other = one, other
        self.got = bytearray()
        self.closed = asyncio.Event()
        self.arrived = asyncio.Event()
        for client in (one, other):
            client.register_plugin("xep_0065", {"auto_accept": True})
        other.add_event_handler("socks5_data", self._data)
        other.add_event_handler("socks5_closed", lambda _: self.closed.set())

    def _data(self, data):
        self.got.extend(data)
        self.arrived.set()

    async def handshake(self):
        return await self.one.plugin["xep_0065"].handshake(self.other.boundjid, timeout=20)

    async def receive(self, count):
        while len(self.got) < count:
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 20)
        return bytes(self.got)


def with_proxy(start_server, more=""):
    (port,) = free_ports(1)
    return start_server(
        jsm=f"<proxy65 xmlns='{OWN}'><ip>127.0.0.1</ip><address>127.0.0.1</address><port>{port}</port>{more}</proxy65>"
    )


async def test_slixmpp_passes_a_file_through_the_proxy(start_server):
    """XEP-0065 §4 whole: slixmpp finds the proxy, offers it, both connect, the word is given, a file passes."""
    server = with_proxy(start_server)
    clients = slixmpp_clients.Clients(server)
    try:
        transfers = Transfers(*[await clients.login(make_account(server)) for _ in range(2)])
        sent = os.urandom(40 * PIECE + 17)
        stream = await transfers.handshake()
        for start in range(0, len(sent), PIECE):
            stream.transport.write(sent[start : start + PIECE])
        assert await transfers.receive(len(sent)) == sent
        stream.transport.close()
        await asyncio.wait_for(transfers.closed.wait(), 20)
        # Five at a time, each its own.
        again = [await transfers.handshake() for _ in range(5)]
        before = len(transfers.got)
        for number, stream in enumerate(again):
            stream.transport.write(bytes([number]) * 100)
        assert sorted((await transfers.receive(before + 500))[before:]) == sorted(bytes(range(5)) * 100)
    finally:
        await clients.end()


async def test_the_proxy_is_for_those_who_may(start_server):
    server = with_proxy(start_server, f"<deny>second.{HOST}</deny>")
    clients = slixmpp_clients.Clients(server)
    try:
        stranger = await clients.login(make_account(server, host=f"second.{HOST}"))
        query = "<query xmlns='http://jabber.org/protocol/bytestreams'/>"
        with pytest.raises(IqError) as error:
            await stranger.ask(f"proxy.{HOST}", query)
        assert error.value.condition == "forbidden"
    finally:
        await clients.end()
