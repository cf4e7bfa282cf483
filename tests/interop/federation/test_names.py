"""How the other server is found: SRV, addresses, ports, IPv6; and a DNS that is broken, slow or hostile."""

import socket
import struct

import pytest

import homes
import names
from conftest import OURS, THEIRS, refused, talk

ELSEWHERE = f"host.{THEIRS}"
# Where an attacker would like to have us.
EVIL = "127.0.1.66"


async def meet(world, **options):
    """Our server and theirs, which DNS does not know yet."""
    options.setdefault("listed", False)
    home = world.ours()
    away = world.theirs(**options)
    return home, await world.couple(home, away)


async def test_srv_to_another_port(world):
    """And another name (RFC 2782)."""
    world.dns.service(THEIRS, "_xmpp-server", ELSEWHERE, 15269)
    world.dns.address(ELSEWHERE, "127.0.1.2")
    home, (juliet, romeo) = await meet(world, port=15269)
    await talk(juliet, romeo)


async def test_direct_tls(world):
    """_xmpps-server (XEP-0368)."""
    world.dns.service(THEIRS, "_xmpps-server", ELSEWHERE, 15270)
    world.dns.address(ELSEWHERE, "127.0.1.2")
    home, (juliet, romeo) = await meet(world, port=15269, direct=15270)
    await talk(juliet, romeo)
    if home.ours:
        home.logs(rf"stream to {THEIRS} at .*proved by EXTERNAL, TLS")


async def test_direct_tls_to_us(world):
    world.dns.service(OURS, "_xmpps-server", ELSEWHERE, 15270)
    world.dns.address(ELSEWHERE, "127.0.1.1")
    home = world.ours(listed=False, port=15269, direct=15270)
    away = world.theirs()
    juliet, romeo = await world.couple(home, away)
    await talk(romeo, juliet)


@pytest.mark.ours("ours on both ends")
async def test_direct_tls_between_ours(world):
    world.dns.service(THEIRS, "_xmpps-server", ELSEWHERE, 15270)
    world.dns.address(ELSEWHERE, "127.0.1.2")
    home = world.ours()
    away = world.theirs(homes.Ours, listed=False, port=15269, direct=15270)
    await talk(*await world.couple(home, away))


@pytest.mark.ours("the name that jabberd 1.4 used")
async def test_srv_of_old(world):
    """_jabber._tcp."""
    world.dns.service(THEIRS, "_jabber", ELSEWHERE, 15269)
    world.dns.address(ELSEWHERE, "127.0.1.2")
    home, (juliet, romeo) = await meet(world, port=15269)
    await talk(juliet, romeo)


async def test_the_first_of_several_is_down(world):
    """By priority (RFC 2782): the next is tried."""
    for priority, port in ((5, 1111), (10, 2222), (20, 15269)):
        world.dns.service(THEIRS, "_xmpp-server", ELSEWHERE, port, priority=priority)
    world.dns.address(ELSEWHERE, "127.0.1.2")
    home, (juliet, romeo) = await meet(world, port=15269)
    await talk(juliet, romeo)


@pytest.mark.ours("the reference does not go on")
async def test_direct_tls_is_down(world):
    """_xmpps-server leads nowhere, _xmpp-server does."""
    world.dns.service(THEIRS, "_xmpps-server", ELSEWHERE, 1111)
    world.dns.service(THEIRS, "_xmpp-server", ELSEWHERE, 15269)
    world.dns.address(ELSEWHERE, "127.0.1.2")
    home, (juliet, romeo) = await meet(world, port=15269)
    await talk(juliet, romeo)


async def test_an_alias(world):
    """SRV names should not be aliases (RFC 2782), but domains are."""
    world.dns.alias(THEIRS, ELSEWHERE)
    world.dns.address(ELSEWHERE, "127.0.1.2")
    home, (juliet, romeo) = await meet(world)
    await talk(juliet, romeo)


@pytest.mark.ours("the reference knows no such name in SNI")
async def test_a_domain_beyond_ascii(world):
    """In addresses as people write it, in DNS and certificates as IDNA does (RFC 5890)."""
    written, ascii_form = "bücher.example", "bücher.example".encode("idna").decode()
    world.dns.address(ascii_form, "127.0.1.2")
    home = world.ours()
    away = world.theirs(
        homes.Ours, domain=written, listed=False, certificate=world.authority.certificate(ascii_form)
    )
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    if home.ours:
        home.logs(rf"stream to \S*cher\S* at .*proved by EXTERNAL, TLS")


async def test_ipv6(world):
    """There is no IPv4 on this way."""
    world.dns.address(THEIRS, "::1")
    home = world.ours()
    away = world.theirs(address="::1", listed=False)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)


async def test_ipv6_to_us(world):
    home = world.ours(address="::1")
    away = world.theirs()
    juliet, romeo = await world.couple(home, away)
    await talk(romeo, juliet)


async def test_ipv6_that_leads_nowhere(world):
    """Happy eyeballs (RFC 8305): the broken family does not cost the message. How short the moment is that it does cost,
    the dialer's own tests tell, whose clock is moved by hand."""
    world.dns.address(THEIRS, "2001:db8::1", "127.0.1.2")
    home, (juliet, romeo) = await meet(world)
    await talk(juliet, romeo)


@pytest.mark.ours("what jabber.xml can say")
async def test_pinned_in_the_configuration(world):
    """<host ip= port=> beats DNS, which is not even asked."""
    world.dns.address(THEIRS, EVIL)
    home = world.ours(policies=f"<host name='{THEIRS}' ip='127.0.1.2' port='15269'/>")
    away = world.theirs(listed=False, port=15269)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    assert not world.dns.was_asked(THEIRS)


@pytest.mark.ours("certificates for addresses")
async def test_a_domain_that_is_an_address(world):
    """No DNS at all, and dialback."""
    home = world.ours()
    away = world.theirs(homes.Ours, domain="127.0.1.2", listed=False)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)


@pytest.mark.ours("a cache of its own")
async def test_answers_are_kept(world):
    """As long as their TTL; the next stream does not ask again."""
    world.dns.address(THEIRS, "127.0.1.2", ttl=600)
    home, (juliet, romeo) = await meet(world)
    await talk(juliet, romeo)
    world.homes[1].kill()
    world.homes[1].start()
    asked = len([one for one in world.dns.asked if one.name == THEIRS and one.type == names.A])
    account = world.homes[1].account("benvolio")
    benvolio = await world.login(world.homes[1], account)
    for _ in range(30):
        juliet.send_message(account.jid, "again", mtype="chat")
        await juliet.settle()
        try:
            await benvolio.message("again")
            break
        except AssertionError:
            continue
    assert len([one for one in world.dns.asked if one.name == THEIRS and one.type == names.A]) == asked


@pytest.mark.ours("the reference's resolver has no TCP")
async def test_a_long_answer_comes_by_tcp(world):
    """RFC 7766: truncated by UDP."""
    world.dns.truncates = True
    world.dns.address(THEIRS, "127.0.1.2")
    home, (juliet, romeo) = await meet(world)
    await talk(juliet, romeo)
    assert world.dns.asked_by_tcp


# What a nameserver may say before the right answer, or somebody else in its name. Each gives packets for a question.


def evil(question):
    return [names.record(names.POINTER, question.type, socket.inet_aton(EVIL))]


LIES = {
    "wrong id": lambda q: names.answer(q, evil(q), id=q.id ^ 1),
    "wrong name": lambda q: names.answer(q, evil(q), raw=names.encode("evil.example") + q.raw[-4:]),
    "wrong type": lambda q: names.answer(q, evil(q), raw=q.raw[:-4] + struct.pack("!HH", names.TXT, 1)),
    "wrong class": lambda q: names.answer(q, evil(q), raw=q.raw[:-2] + struct.pack("!H", 3)),
    "not an answer": lambda q: names.answer(q, evil(q), flags=0x0100),
    "no question": lambda q: struct.pack("!HHHHHH", q.id, 0x8180, 0, 1, 0, 0) + evil(q)[0],
    "empty": lambda q: b"",
    "half a header": lambda q: names.answer(q)[:7],
}


@pytest.mark.ours("the reference's resolver is not asked")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_a_forged_answer_comes_first(world, lie):
    """It is passed over, and the right one taken (RFC 5452 §9)."""
    world.dns.address(THEIRS, "127.0.1.2")
    world.dns.odd[THEIRS] = lambda q: [lie(q), world.dns.honest(q)]
    with socket.create_server((EVIL, 5269)) as trap:
        trap.setblocking(False)
        home, (juliet, romeo) = await meet(world)
        await talk(juliet, romeo)
        with pytest.raises(BlockingIOError):
            trap.accept()


def looped(question, *labels):
    """A record whose name points at itself, behind these labels."""
    head = 12 + len(question.raw)
    owner = b"".join(labels) + struct.pack("!H", 0xC000 | head)
    return names.answer(question, [names.record(owner, question.type, socket.inet_aton(EVIL))])


def pointers(question):
    """Two pointers that point at each other, in the data of a CNAME."""
    head = 12 + len(question.raw) + 12
    data = struct.pack("!HH", 0xC000 | head + 2, 0xC000 | head)
    return names.answer(question, [names.record(names.POINTER, names.CNAME, data)])


def ladder(question):
    """A thousand names, each a label and a pointer to the one before: quadratic, if one lets it."""
    start, records, at = 12, [], 12 + len(question.raw)
    for _ in range(1000):
        owner = b"\x01a" + struct.pack("!H", 0xC000 | start)
        records.append(names.record(owner, names.CNAME, owner))
        if at >= 0x3FFF:
            break
        start, at = at, at + len(records[-1])
    return names.answer(question, records)


TRASH = {
    "points at itself": lambda q: looped(q),
    "points at its own label": lambda q: looped(q, b"\x03abc"),
    "two that point at each other": pointers,
    "points forward": lambda q: names.answer(q, [names.record(b"\xff\xff", q.type, socket.inet_aton(EVIL))]),
    "a ladder": ladder,
    "alias of itself": lambda q: names.answer(q, [names.record(names.POINTER, names.CNAME, names.POINTER)]),
    "more records than there are": lambda q: names.answer(q)[:6] + b"\xff\xff" + names.answer(q)[8:],
    "data longer than the packet": lambda q: names.answer(q, [names.record(names.POINTER, q.type, b"")[:-1] + b"\xff"]),
    "an address of three bytes": lambda q: names.answer(q, [names.record(names.POINTER, q.type, b"\x7f\0\0")]),
    "bytes": lambda q: struct.pack("!H", q.id) + b"\x81\x80" + bytes(range(256)),
    "server failure": lambda q: names.answer(q, code=names.SERVER_FAILURE),
    "refused": lambda q: names.answer(q, code=names.REFUSED),
}


@pytest.mark.ours("the reference's resolver is not asked")
@pytest.mark.parametrize("trash", TRASH.values(), ids=TRASH.keys())
async def test_an_answer_of_no_use(world, trash):
    """The message comes back, the log says why, all else goes on, and it is no work to speak of."""
    home = world.ours(queue_seconds=30)
    away = world.theirs()
    juliet, romeo = await world.couple(home, away)
    world.dns.odd["trash.example"] = lambda q: [trash(q)]
    juliet.send_message("x@trash.example", "to nowhere", mtype="chat")
    await talk(juliet, romeo)
    error = await juliet.message("to nowhere", kind="error")
    assert error["error"]["condition"] in {"remote-server-not-found", "remote-server-timeout"}
    home.logs("failed to establish connection to trash.example: .*(DNS|look|server|address|127.0.0.1)")
    assert home.seconds_of_cpu() < 5


@pytest.mark.ours("the log")
async def test_a_silent_nameserver(world):
    home = world.ours(queue_seconds=30)
    world.dns.odd[THEIRS] = lambda q: []
    juliet = await world.user(home, "juliet")
    condition, _ = await refused_slowly(juliet, f"romeo@{THEIRS}")
    assert condition == "remote-server-timeout"
    home.logs(f"failed to establish connection to {THEIRS}: ", 20)


async def refused_slowly(client, to):
    try:
        return await refused(client, to)
    except AssertionError:
        error = await client.message(kind="error")
        return error["error"]["condition"], error["error"]["text"]


@pytest.mark.ours("ours alone is bounded so")
async def test_a_flood_of_names(world):
    """A client that writes to hundreds of domains that do not exist."""
    home, away = world.ours(), world.theirs()
    juliet, romeo = await world.couple(home, away)
    for n in range(300):
        juliet.send_message(f"x@n{n}.example", "to nowhere", mtype="chat")
    await talk(juliet, romeo)
    for _ in range(300):
        await juliet.message("to nowhere", kind="error")
