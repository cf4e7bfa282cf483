"""Servers that lie: each gets the answer that the RFCs give it, and no word of theirs reaches Juliet."""

import asyncio
import contextlib
import socket

import pytest

import old_server
import server_wire
import wire
from conftest import OURS, THEIRS, refused, talk
from server_wire import ServerWire

pytestmark = pytest.mark.ours("the reference's answers are its own")

LENIENT = f"<host name='{THEIRS}' xmpp='no' tls='no'/>"


@pytest.fixture
def home(world):
    return world.ours()


async def stranger(home, **options):
    return await asyncio.get_running_loop().run_in_executor(None, lambda: ServerWire(home, **options))


async def in_a_thread(work, *arguments):
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


async def nothing_came(client):
    await client.settle()
    assert client.bodies() == [] and client.presences() == []


def proved(world, home, domain=THEIRS):
    """A stream of a server that is who it says, by its certificate."""
    stream = ServerWire(home, domain, certificate=world.authority.certificate(domain))
    stream.secure()
    stream.external()
    return stream


FORGED = {
    "our own user": f"nurse@{OURS}",
    "our own domain": OURS,
    "herself": "juliet@" + OURS,
    "a third domain": "friar@verona.it",
    "a domain below": f"romeo@deep.{THEIRS}",
    "a domain above": "romeo@net",
    "a domain that ends so": f"romeo@evil{THEIRS}",
}


@pytest.mark.parametrize("sender", FORGED.values(), ids=FORGED.keys())
async def test_a_forged_sender(world, home, sender):
    """RFC 6120 §8.1.2.2, §4.9.3.9: the stream ends with <invalid-from/>."""
    juliet = await world.user(home, "juliet")

    def attack():
        with proved(world, home) as stream:
            stream.message(sender, juliet.boundjid.bare, "forged")
            assert stream.end() == "invalid-from"

    await in_a_thread(attack)
    await nothing_came(juliet)


BAD_ADDRESSES = {
    "no sender": f"<message to='juliet@{OURS}'><body>x</body></message>",
    "no receiver": f"<message from='romeo@{THEIRS}'><body>x</body></message>",
    "a sender that is none": f"<message from='@{THEIRS}' to='juliet@{OURS}'><body>x</body></message>",
    "not our domain": f"<message from='romeo@{THEIRS}' to='prince@verona.it'><body>x</body></message>",
}


@pytest.mark.parametrize("stanza", BAD_ADDRESSES.values(), ids=BAD_ADDRESSES.keys())
async def test_bad_addresses(world, home, stanza):
    """RFC 6120 §8.1.1.2, §8.1.2.2: no relay, and no guessing."""
    juliet = await world.user(home, "juliet")

    def attack():
        with proved(world, home) as stream:
            stream.send(stanza)
            assert stream.end() in {"improper-addressing", "host-unknown", "invalid-from"}

    await in_a_thread(attack)
    await nothing_came(juliet)
    assert not world.dns.was_asked("verona.it")


@pytest.mark.parametrize("step", ["header", "features", "tls"])
async def test_a_stanza_before_any_proof(world, home, step):
    juliet = await world.user(home, "juliet")

    def attack():
        with ServerWire(home) as stream:
            if step == "tls":
                stream.secure()
            elif step == "features":
                stream.open()
            else:
                stream.open(version=None)
            stream.message(f"romeo@{THEIRS}", juliet.boundjid.bare, "unproved")
            assert stream.end() in {"not-authorized", "invalid-from"}

    await in_a_thread(attack)
    await nothing_came(juliet)


async def test_a_certificate_for_another_name(world, home):
    """EXTERNAL is not offered for it, and not taken."""
    juliet = await world.user(home, "juliet")

    def attack():
        stream = ServerWire(home, THEIRS, certificate=world.authority.certificate("evil.example"))
        features = stream.secure()
        assert features.find(f"{{{wire.SASL}}}mechanisms") is None
        with pytest.raises(wire.Refused, match="not-authorized"):
            stream.external()
        # The name of the certificate does not help either, where another stands in the header.
        with pytest.raises((wire.Refused, wire.Closed)):
            stream.external("capulet.com")
        stream.message(f"romeo@{THEIRS}", juliet.boundjid.bare, "by a false name")
        assert stream.end() in {"not-authorized", "invalid-from", "policy-violation"}

    await in_a_thread(attack)
    await nothing_came(juliet)
    home.logs(f"{THEIRS} .*was not authenticated by its certificate: .*evil.example")


async def test_our_own_name(world, home):
    """Nobody is us, whatever certificate they have: a stolen key does not open our own house."""
    juliet = await world.user(home, "juliet")

    def attack():
        with ServerWire(home, OURS, certificate=world.authority.certificate(OURS)) as stream:
            stream.secure()
            with pytest.raises((wire.Refused, wire.Closed)):
                stream.external()
            stream.result("0123456789abcdef")
            answer = stream.outcome()
            assert answer.get("type") in {"error", "invalid"}

    await in_a_thread(attack)
    await nothing_came(juliet)


async def test_dialback_for_a_domain_one_is_not(world, home):
    """The authoritative server says no: the stream ends (XEP-0220 §2.2.1)."""
    away = world.theirs()
    juliet, romeo = await world.couple(home, away)

    def attack():
        with ServerWire(home) as stream:
            stream.secure()
            stream.result("0123456789abcdef0123456789abcdef")
            answer = stream.outcome()
            assert answer.get("type") == "invalid", wire.show(answer)
            with contextlib.suppress(OSError):
                stream.message(f"romeo@{THEIRS}", juliet.boundjid.bare, "by a false key")
            stream.end()

    await in_a_thread(attack)
    await nothing_came(juliet)
    # The true one is heard as before.
    await talk(romeo, juliet)


async def test_dialback_for_a_domain_that_is_not_there(world, home):
    """Nobody to ask: an error, and the stream may go on (XEP-0220 §2.4)."""

    def attack():
        with ServerWire(home, "nowhere.example") as stream:
            stream.secure()
            stream.result("0123456789abcdef")
            answer = stream.outcome()
            assert answer.get("type") == "error", wire.show(answer)
            assert wire.condition(answer.find("{*}error")) in {"remote-server-not-found", "remote-server-timeout"}

    await in_a_thread(attack)


async def test_a_key_of_another_stream(world, home):
    """The key is bound to the stream's id (XEP-0220 §2.3): what was overheard opens nothing."""
    there = old_server.OldServer(THEIRS, "127.0.1.2")
    world.ends.append(there)
    world.dns.address(THEIRS, "127.0.1.2")
    home.reload(policies=LENIENT)
    juliet = await world.user(home, "juliet")

    def attack():
        honest = there.connect(OURS)
        key = there.key(OURS, honest.stream_id)
        with ServerWire(home) as stream:
            stream.open(version=None)
            stream.result(key)
            answer = stream.outcome()
            assert answer.get("type") == "invalid", wire.show(answer)

    for _ in range(50):
        try:
            await in_a_thread(attack)
            break
        except AssertionError:
            # The new policy may not be in force yet.
            await asyncio.sleep(0.1)
    else:
        await in_a_thread(attack)
    await nothing_came(juliet)


UNASKED = {
    "result": f"<db:result xmlns:db='{server_wire.DIALBACK}' type='valid' from='{THEIRS}' to='{OURS}'/>",
    "result for us": f"<db:result xmlns:db='{server_wire.DIALBACK}' type='valid' from='{OURS}' to='{THEIRS}'/>",
    "verify": f"<db:verify xmlns:db='{server_wire.DIALBACK}' type='valid' id='x' from='{THEIRS}' to='{OURS}'/>",
    "success": f"<success xmlns='{wire.SASL}'/>",
    "proceed": f"<proceed xmlns='{wire.TLS}'/>",
    "enabled": "<enabled xmlns='urn:xmpp:sm:3'/>",
}


@pytest.mark.parametrize("words", UNASKED.values(), ids=UNASKED.keys())
async def test_an_answer_to_nothing(world, home, words):
    """On a stream of theirs: nobody asked."""
    juliet = await world.user(home, "juliet")

    def attack():
        with ServerWire(home) as stream:
            stream.secure()
            with contextlib.suppress(OSError):
                stream.send(words)
                stream.message(f"romeo@{THEIRS}", juliet.boundjid.bare, "unproved")
            stream.end()

    await in_a_thread(attack)
    await nothing_came(juliet)


async def test_results_for_streams_not_asked_for(world):
    """On our own stream to them: they say that other domains are proved, too. Those are still looked for in DNS."""
    home = world.ours(policies=LENIENT)
    there = old_server.OldServer(THEIRS, "127.0.1.2")
    world.ends.append(there)
    world.dns.address(THEIRS, "127.0.1.2")

    def lie(stream, element):
        for domain in ("verona.it", "mantua.it"):
            there._say(stream, "result", domain, OURS, True)
            there._say(stream, "verify", domain, OURS, True, "whatever")
        return False

    there.odd = lie
    juliet = await world.user(home, "juliet")
    juliet.send_message(f"romeo@{THEIRS}", "to the liar", mtype="chat")
    with contextlib.suppress(AssertionError):
        await there.got("to the liar", 3)
    condition, _ = await refused(juliet, "prince@verona.it", "to the prince")
    assert condition == "remote-server-not-found"
    assert "to the prince" not in there.bodies()
    assert world.dns.was_asked("verona.it")


async def test_stanzas_on_our_own_stream(world):
    """They may not send on it, unless both directions were agreed on (XEP-0288)."""
    home = world.ours(policies=LENIENT)
    there = old_server.OldServer(THEIRS, "127.0.1.2")
    world.ends.append(there)
    world.dns.address(THEIRS, "127.0.1.2")

    def push(stream, element):
        if element.tag == server_wire.MESSAGE:
            stream.message(f"romeo@{THEIRS}", f"juliet@{OURS}", "pushed")
            stream.message("friar@verona.it", f"juliet@{OURS}", "pushed for another")
        return False

    there.odd = push
    juliet = await world.user(home, "juliet")
    juliet.send_message(f"romeo@{THEIRS}", "Speak!", mtype="chat")
    await there.got("Speak!")
    await nothing_came(juliet)


async def test_nothing_comes_before_the_header(world, home):
    """RFC 6120 §6.4.6: after <success/> the next that is heard is a stream header, even with stanzas waiting for just
    this peer, which said that it takes them here (XEP-0288)."""
    world.dns.address(THEIRS, "127.0.1.2")
    juliet = await world.user(home, "juliet")

    def answer():
        with ServerWire(home, THEIRS, certificate=world.authority.certificate(THEIRS)) as stream:
            stream.secure()
            stream.send("<bidi xmlns='urn:xmpp:bidi'/>")
            features = stream.external()
            assert stream.header.tag == f"{{{wire.STREAMS}}}stream", wire.show(stream.header)
            assert features is not None
            return stream.expect(server_wire.MESSAGE).findtext(f"{{{server_wire.SERVER}}}body")

    # Somebody listens there, and never answers.
    with socket.create_server(("127.0.1.2", 5269)):
        juliet.send_message(f"romeo@{THEIRS}", "waiting", mtype="chat")
        await juliet.settle()
        assert await in_a_thread(answer) == "waiting"


FLOODS = {
    "stanzas": f"<message from='romeo@{THEIRS}' to='juliet@{OURS}'><body>{'x' * 1000}</body></message>" * 1000,
    "white space": " " * 1_000_000,
    "one element": "<message>" + "x" * 1_000_000,
    "an attribute": "<message to='" + "x" * 1_000_000,
    "depth": "<a>" * 10_000,
    "keys": f"<db:result xmlns:db='{server_wire.DIALBACK}' from='n.example' to='{OURS}'>k</db:result>" * 5000,
    "verifications": f"<db:verify xmlns:db='{server_wire.DIALBACK}' from='n.example' to='{OURS}' id='1'>k</db:verify>"
    * 5000,
    "guesses": f"<auth xmlns='{wire.SASL}' mechanism='EXTERNAL'>=</auth>" * 5000,
}


@pytest.mark.parametrize("step", ["plain", "tls"])
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_before_any_proof(world, home, flood, step):
    """The stream ends, and nobody else is slowed."""
    juliet = await world.user(home, "juliet")

    def attack():
        with ServerWire(home) as stream:
            if step == "tls":
                stream.secure()
            else:
                stream.open()
            with contextlib.suppress(OSError):
                stream.send(flood)
            try:
                rest = stream.ended()
            except OSError:
                return None
            return next((wire.condition(one) for one in rest if one.tag == server_wire.ERROR), None)

    attacking = asyncio.ensure_future(in_a_thread(attack))
    for _ in range(5):
        await asyncio.wait_for(juliet.settle(), 3)
    assert await attacking in {None, "policy-violation", "not-authorized", "invalid-from", "not-well-formed"}
    await nothing_came(juliet)


async def test_a_flood_of_connections(world):
    """Beyond a number they are closed at once; who was proved before is not touched."""
    home, away = world.ours(limits={"unauthenticated-per-address-max": 20}), world.theirs(config="")
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)

    def attack():
        connections = [socket.create_connection((home.address, home.port), timeout=5) for _ in range(60)]
        closed = 0
        for one in connections:
            one.settimeout(0.05)
            try:
                closed += one.recv(1) == b""
            except TimeoutError:
                pass
            except OSError:
                closed += 1
        for one in connections:
            one.close()
        return closed

    assert await in_a_thread(attack) >= 30
    await talk(romeo, juliet, "still there?", "ay")


async def test_a_flood_from_a_proved_server(world, home):
    """A neighbour that never stops costs Juliet no more than its turn."""
    juliet = await world.user(home, "juliet")
    tybalt = await world.user(home, "tybalt")

    def attack():
        with proved(world, home) as stream:
            for _ in range(200):
                stream.send(f"<message from='romeo@{THEIRS}' to='{tybalt.boundjid.bare}'><body>hey</body></message>" * 100)

    attacking = asyncio.ensure_future(in_a_thread(attack))
    while not attacking.done():
        await asyncio.wait_for(juliet.settle(), 5)
    await attacking


@pytest.mark.parametrize("at", ["header", "features", "tls"])
async def test_a_slow_one_is_cut(world, at):
    """Who proves nothing does not stay (RFC 6120 §4.9.3.4)."""
    home = world.ours(limits={"auth-seconds": 5, "handshake-seconds": 5})

    def attack():
        with ServerWire(home) as stream:
            stream.socket.settimeout(20)
            if at == "features":
                stream.open()
            elif at == "tls":
                stream.open()
                stream.send(f"<starttls xmlns='{wire.TLS}'/>")
            with contextlib.suppress(ConnectionError):
                while stream.socket.recv(4096):
                    pass

    await asyncio.wait_for(in_a_thread(attack), 18)


async def test_an_injected_stanza_before_tls(world, home):
    """What comes in the clear behind <starttls/> does not count after the handshake (RFC 6120 §5.4.3.3)."""
    juliet = await world.user(home, "juliet")

    def attack():
        with ServerWire(home, certificate=world.authority.certificate(THEIRS)) as stream:
            stream.open()
            stream.send(f"<starttls xmlns='{wire.TLS}'/><message from='romeo@{THEIRS}' to='juliet@{OURS}'/>")
            stream.expect(f"{{{wire.TLS}}}proceed")
            with contextlib.suppress(OSError, wire.Closed):
                stream.tls()
                stream.open()
                stream.external()

    await in_a_thread(attack)
    await nothing_came(juliet)
