"""slixmpp as a test wants it: every stanza kept until a test asks for it, and no waiting without a bound.

Nothing here sleeps. That a thing does *not* arrive is shown with `settle`: a server handles one stream's stanzas in
order (RFC 6120 §10.1), so once a later ping is answered, what had to arrive has arrived.
"""

import asyncio
import ssl

import slixmpp
from slixmpp.xmlstream import ET

import wire

PLUGINS = (
    "xep_0012",  # last activity
    "xep_0030",  # service discovery
    "xep_0049",  # private XML
    "xep_0054",  # vcard-temp
    "xep_0077",  # registration
    "xep_0092",  # software version
    "xep_0199",  # ping
    "xep_0202",  # entity time
    "xep_0203",  # delayed delivery
)
TIMEOUT_SECONDS = 60


class LoginRefused(Exception):
    """No session came of it; the text is the server's condition, where it gave one."""


class Client(slixmpp.ClientXMPP):
    """One session. PLAIN is used unless a test is about logins: slixmpp's SCRAM takes long in plain Python."""

    def __init__(self, server, jid, password, mechanism="PLAIN", direct_tls=False, highest_tls=None):
        super().__init__(
            jid, password, sasl_mech=mechanism, ssl_context=wire.trusting_context(highest=highest_tls)
        )
        self.home = server
        self.direct_tls = direct_tls
        self.enable_direct_tls = direct_tls
        self.enable_starttls = not direct_tls
        self.whitespace_keepalive = False
        # The tests answer subscription requests themselves.
        self.auto_authorize = None
        self.auto_subscribe = False
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        self.plugin["xep_0077"].create_account = False
        self.inbox = []
        self._arrival = asyncio.Event()
        self.add_filter("in", self._keep)
        self.condition = None
        self.outcome = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        self.add_event_handler("session_start", lambda _: self._decided(True))
        self.add_event_handler("failed_auth", self._refused)
        self.add_event_handler("stream_error", self._refused)
        self.add_event_handler("disconnected", self._disconnected)
        self.add_event_handler("connection_failed", lambda error: self._decided(False, str(error)))

    def _keep(self, stanza):
        if isinstance(stanza, (slixmpp.Message, slixmpp.Presence)) or (
            isinstance(stanza, slixmpp.Iq) and stanza["type"] == "set"
        ):
            self.inbox.append(stanza)
            self._arrival.set()
        return stanza

    def _refused(self, stanza):
        self.condition = stanza["condition"]

    def _disconnected(self, reason):
        self._decided(False, str(reason))
        self.gone.set()
        self._arrival.set()

    def _decided(self, success, text=None):
        if not self.outcome.done():
            self.outcome.set_result((success, self.condition or text))

    async def connect_and_bind(self):
        """Up to a bound session, without presence."""
        self.connect("127.0.0.1", self.home.tls_port if self.direct_tls else self.home.client_port)
        success, text = await asyncio.wait_for(self.outcome, TIMEOUT_SECONDS)
        if not success:
            await self.leave()
            raise LoginRefused(text)
        return self

    async def login(self, priority=None):
        """A session with its roster read and its presence sent; that presence's own echo is taken away."""
        await self.connect_and_bind()
        await self.get_roster()
        self.send_presence(ppriority=priority)
        await self.presence(source=self.boundjid.full)
        return self

    async def ask(self, to, payload, kind="get"):
        """Any IQ; returns the answer's XML, raises IqError for an error."""
        iq = self.make_iq(ito=to, itype=kind)
        iq.set_payload(ET.fromstring(payload))
        return (await iq.send(timeout=TIMEOUT_SECONDS)).xml

    async def settle(self):
        """Returns when the server has handled all that this client sent so far."""
        await asyncio.wait_for(self.plugin["xep_0199"].send_ping(self.boundjid.host), TIMEOUT_SECONDS)

    async def expect(self, wanted, what="a stanza"):
        """Takes the first stanza for which `wanted` holds out of the inbox; waits for it if it must."""

        async def search():
            while True:
                for index, stanza in enumerate(self.inbox):
                    if wanted(stanza):
                        return self.inbox.pop(index)
                if self.gone.is_set():
                    raise AssertionError(f"{self.boundjid}: disconnected while awaiting {what}")
                self._arrival.clear()
                await self._arrival.wait()

        try:
            return await asyncio.wait_for(search(), TIMEOUT_SECONDS)
        except asyncio.TimeoutError:
            kept = "\n".join(map(str, self.inbox))
            raise AssertionError(f"{self.boundjid}: no {what}; the inbox holds:\n{kept}") from None

    async def message(self, body=None, kind=None):
        """The next message with this body and type (`error` is a type)."""
        return await self.expect(
            lambda one: (
                isinstance(one, slixmpp.Message)
                and (body is None or one["body"] == body)
                and (kind is None or one["type"] == kind)
            ),
            f"message of type {kind or 'any'} with body {body!r}",
        )

    async def presence(self, kind=None, source=None):
        """The next presence of this type (None: available), from this address (None: any)."""
        return await self.expect(
            lambda one: (
                isinstance(one, slixmpp.Presence)
                and one.xml.get("type") == kind
                and source in (None, one.xml.get("from"))
            ),
            f"presence of type {kind} from {source}",
        )

    async def push(self, jid):
        """The next roster push about this contact, as the attributes of its item, with `groups`."""
        item = "{jabber:iq:roster}query/{jabber:iq:roster}item"

        def about(one):
            found = one.xml.find(item) if isinstance(one, slixmpp.Iq) else None
            return found is not None and found.get("jid") == jid

        stanza = await self.expect(about, f"roster push about {jid}")
        found = stanza.xml.find(item)
        # RFC 6121 §2.1.6: from the account's own bare address, or without one.
        assert stanza.xml.get("from") in (None, self.boundjid.bare), stanza
        return dict(found.attrib, groups=sorted(group.text for group in found))

    async def roster_items(self):
        """The roster as the server has it: a map of addresses to attributes with `groups`."""
        iq = self.make_iq_get("jabber:iq:roster")
        answer = await iq.send(timeout=TIMEOUT_SECONDS)
        items = answer.xml.findall("{jabber:iq:roster}query/{jabber:iq:roster}item")
        return {one.get("jid"): dict(one.attrib, groups=sorted(group.text for group in one)) for one in items}

    def bodies(self):
        """The bodies of all messages in the inbox, in the order of their arrival."""
        return [one["body"] for one in self.inbox if isinstance(one, slixmpp.Message)]

    def presences(self):
        """Type and sender of all presences in the inbox."""
        return [
            (one.xml.get("type"), one.xml.get("from")) for one in self.inbox if isinstance(one, slixmpp.Presence)
        ]

    async def leave(self):
        """Ends the stream properly; does nothing if it is over."""
        self.cancel_connection_attempt()
        if self.transport is not None:
            self.disconnect(wait=5, ignore_send_queue=True)
            await asyncio.wait_for(self.gone.wait(), TIMEOUT_SECONDS)
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()

    async def vanish(self):
        """Drops the connection without a word."""
        self.transport.abort()
        await asyncio.wait_for(self.gone.wait(), TIMEOUT_SECONDS)


class Clients:
    """Makes clients, and ends those that a test leaves behind."""

    def __init__(self, server):
        self.server = server
        self.made = []

    def new(self, account, resource=None, **options):
        """A client that is not connected yet."""
        jid = f"{account.jid}/{resource}" if resource else account.jid
        client = Client(
            options.pop("server", self.server), jid, options.pop("password", account.password), **options
        )
        self.made.append(client)
        return client

    async def login(self, account, resource=None, priority=None, **options):
        """A client with its presence sent."""
        return await self.new(account, resource, **options).login(priority)

    async def bind(self, account, resource=None, **options):
        """A client with a session but without presence."""
        return await self.new(account, resource, **options).connect_and_bind()

    async def end(self):
        for client in self.made:
            await client.leave()


TLS_1_2 = ssl.TLSVersion.TLSv1_2
