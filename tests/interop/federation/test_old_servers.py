"""Servers of 2001 to 2008, which know dialback alone: jabberd 1.4, iChat Server, Sun's (see old_server)."""

import asyncio
import contextlib

import pytest

import homes
import old_server
import wire
from conftest import OURS, THEIRS, refused

LENIENT = f"<host name='{THEIRS}' xmpp='no' tls='no'/>"
GONE = {"remote-server-not-found", "remote-server-timeout"}

kinds = pytest.mark.parametrize("kind", old_server.KINDS)


def old(world, kind, domain=THEIRS, address="127.0.1.2"):
    one = old_server.OldServer(domain, address, kind)
    world.ends.append(one)
    world.dns.address(domain, address)
    return one


def lenient(world, **options):
    """A server that takes them as they are."""
    if homes.tested() is homes.Ours:
        return world.ours(policies=LENIENT, **options)
    return world.ours(tls="yes", secure=False)


async def in_a_thread(work, *arguments):
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


@kinds
async def test_juliet_writes(world, kind):
    home, there = lenient(world), old(world, kind)
    juliet = await world.user(home, "juliet")
    juliet.send_message(f"romeo@{THEIRS}", "O Romeo, Romeo!", mtype="chat")
    got = await there.got("O Romeo, Romeo!")
    assert got.get("from") == juliet.boundjid.full
    if home.ours:
        home.logs(rf"stream to {THEIRS} at .*: proved by dialback, no TLS")
        # xmpp='no': what we open has no version, so that nobody waits for features.
        assert all("version" not in header for header in there.headers if header.get("from") == OURS)


@kinds
async def test_romeo_writes(world, kind):
    home, there = lenient(world), old(world, kind)
    juliet = await world.user(home, "juliet")
    await in_a_thread(there.send, f"romeo@{THEIRS}/orchard", juliet.boundjid.bare, "It is my lady.")
    message = await juliet.message("It is my lady.")
    assert message["from"] == f"romeo@{THEIRS}/orchard"
    if home.ours:
        home.logs(rf"stream from {THEIRS} at .*: proved by dialback, no TLS")


@kinds
async def test_both_write(world, kind):
    home, there = lenient(world), old(world, kind)
    juliet = await world.user(home, "juliet")
    juliet.send_message(f"romeo@{THEIRS}", "one", mtype="chat")
    await there.got("one")
    for n in range(5):
        await in_a_thread(there.send, f"romeo@{THEIRS}/orchard", juliet.boundjid.bare, f"r{n}")
        juliet.send_message(f"romeo@{THEIRS}", f"j{n}", mtype="chat")
    for n in range(5):
        await juliet.message(f"r{n}")
        await there.got(f"j{n}")
    assert [body for body in there.bodies() if body] == ["one"] + [f"j{n}" for n in range(5)]


@kinds
async def test_a_subscription(world, kind):
    """Presence crosses as they wrote it: without ids, with a status of 2003."""
    home, there = lenient(world), old(world, kind)
    juliet = await world.user(home, "juliet")
    stream = await in_a_thread(there.prove, OURS)
    stream.send(f"<presence from='romeo@{THEIRS}' to='{juliet.boundjid.bare}' type='subscribe'/>")
    await juliet.presence("subscribe", f"romeo@{THEIRS}")
    juliet.send_presence(pto=f"romeo@{THEIRS}", ptype="subscribed")

    def presences():
        return [(one.get("type"), one.get("from")) for one in there.stanzas if one.tag.endswith("}presence")]

    for _ in range(500):
        if ("subscribed", juliet.boundjid.bare) in presences() and (None, juliet.boundjid.full) in presences():
            break
        await asyncio.sleep(0.02)
    assert ("subscribed", juliet.boundjid.bare) in presences()
    assert (None, juliet.boundjid.full) in presences(), presences()
    stream.send(f"<presence from='romeo@{THEIRS}/Home' to='{juliet.boundjid.bare}' type='probe'/>")
    stream.send(
        f"<presence from='romeo@{THEIRS}/Home' to='{juliet.boundjid.bare}'><status>Online</status>"
        f"<priority>5</priority></presence>"
    )
    await in_a_thread(there.send, f"romeo@{THEIRS}/Home", juliet.boundjid.bare, "after it")
    await juliet.message("after it")


@pytest.mark.ours("the log")
@kinds
async def test_not_without_leave(world, kind):
    """Nothing but jabber.xml lets a domain do without TLS."""
    home, there = world.ours(), old(world, kind)
    juliet = await world.user(home, "juliet")
    condition, text = await refused(juliet, f"romeo@{THEIRS}")
    assert condition in GONE
    assert "TLS" in home.logs(f"failed to establish connection to {THEIRS}")
    with pytest.raises((wire.Refused, wire.Closed, AssertionError)):
        await in_a_thread(there.send, f"romeo@{THEIRS}", juliet.boundjid.bare, "never heard")
    home.logs(f"{THEIRS} from .*refused: TLS is required")
    await juliet.settle()
    assert juliet.bodies() == [] and there.stanzas == []


@pytest.mark.ours("the log")
async def test_leave_is_for_one_domain(world):
    """The others keep the default."""
    home, there = lenient(world), old(world, "jabberd-1.4.3", "mantua.it", "127.0.1.3")
    juliet = await world.user(home, "juliet")
    await refused(juliet, "romeo@mantua.it")
    assert "TLS" in home.logs("failed to establish connection to mantua.it")
    assert there.stanzas == []


@pytest.mark.ours("what only a server of old does")
async def test_the_key_is_not_theirs(world):
    """Their word on our key is no: the message comes back, with the reason in the log."""
    home, there = lenient(world), old(world, "jabberd-1.4.3")

    def deny(stream, element):
        if element.tag == old_server.RESULT:
            there._say(stream, "result", element.get("to"), element.get("from"), False)
            return True
        return False

    there.odd = deny
    juliet = await world.user(home, "juliet")
    condition, _ = await refused(juliet, f"romeo@{THEIRS}")
    assert condition in GONE
    home.logs(f"failed to establish connection to {THEIRS}: .*dialback")


@pytest.mark.ours("what only a server of old does")
async def test_it_hangs_up(world):
    """Many of them close streams without a word; the next message finds its way."""
    home, there = lenient(world), old(world, "jabberd-1.4.3")
    juliet = await world.user(home, "juliet")
    juliet.send_message(f"romeo@{THEIRS}", "one", mtype="chat")
    await there.got("one")
    for stream in there.streams:
        with contextlib.suppress(OSError):
            stream.socket.shutdown(2)
    for n in range(100):
        juliet.send_message(f"romeo@{THEIRS}", f"two {n}", mtype="chat")
        await juliet.settle()
        await asyncio.sleep(0.1)
        if any(body.startswith("two") for body in there.bodies() if body):
            return
    raise AssertionError("it does not come back")


@pytest.mark.ours("prefixes of any name")
async def test_prefixes_do_not_count(world):
    """A namespace declared by the element itself, and another prefix than db."""
    home, there = lenient(world), old(world, "jabberd-1.4.3")
    juliet = await world.user(home, "juliet")

    def prove():
        stream = there.connect(OURS)
        key = there.key(OURS, stream.stream_id)
        stream.send(f"<result xmlns='jabber:server:dialback' to='{OURS}' from='{THEIRS}'>{key}</result>")
        answer = stream.until(lambda one: one.tag == old_server.RESULT)
        assert answer.get("type") == "valid", wire.show(answer)
        stream.message(f"romeo@{THEIRS}", juliet.boundjid.bare, "by any other name")

    await in_a_thread(prove)
    await juliet.message("by any other name")
