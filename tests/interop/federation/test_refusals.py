"""Servers that do not come together: who is told what, and the one line in the log that says why."""

import asyncio
import socket

import pytest

import authority as authorities
import homes
from conftest import OURS, THEIRS, refused, talk, until

pytestmark = pytest.mark.ours("the log")

STRICT = "<host auth='sasl'/>"
GONE = {"remote-server-not-found", "remote-server-timeout"}


async def neither_way(home, juliet, romeo, reason):
    """Juliet's message comes back with the reason, which the log has too; Romeo's does not arrive."""
    condition, text = await refused(juliet, romeo.boundjid.bare)
    assert condition in GONE
    assert reason in text, text
    assert reason in home.logs(f"failed to establish connection to {THEIRS}")
    romeo.send_message(juliet.boundjid.bare, "But soft!", mtype="chat")
    await romeo.message(kind="error")
    await juliet.settle()
    assert juliet.bodies() == []


def bad_certificates(authority, directory):
    stranger = authorities.Authority(directory / "stranger", "Stranger authority")
    expired = authority.expired(THEIRS)
    return {
        "expired": (expired, f"certificate expired on {expired.expired_on}"),
        "wrong name": (authority.certificate("other.example"), "certificate is for other.example"),
        "self-signed": (authority.self_signed(THEIRS), "certificate is self-signed"),
        "unknown authority": (stranger.certificate(THEIRS), "issued by an authority that is not trusted"),
    }


@pytest.mark.parametrize("what", ["expired", "wrong name", "self-signed", "unknown authority"])
async def test_a_bad_certificate_where_a_good_one_is_asked_for(world, what):
    """`auth='sasl'`: no dialback instead."""
    certificate, reason = bad_certificates(world.authority, world.directory)[what]
    home = world.ours(policies=STRICT)
    away = world.theirs(certificate=certificate, secure=False)
    juliet, romeo = await world.couple(home, away)
    await neither_way(home, juliet, romeo, reason)
    home.logs(rf"{THEIRS} .*was (refused|not authenticated).*{reason}")


@pytest.mark.parametrize("what", ["expired", "wrong name", "self-signed", "unknown authority"])
async def test_a_bad_certificate_where_dialback_will_do(world, what):
    """The default: it is as if there were no certificate."""
    certificate, _ = bad_certificates(world.authority, world.directory)[what]
    home = world.ours()
    away = world.theirs(certificate=certificate, secure=False)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    home.logs(f"stream from {THEIRS} at .*: proved by dialback, TLS")


async def test_our_certificate_is_refused(world):
    """The other server is the strict one; the log has its words."""
    home = world.ours(certificate=world.authority.self_signed(OURS))
    away = world.theirs(secure=True)
    juliet, romeo = await world.couple(home, away)
    await refused(juliet, romeo.boundjid.bare)
    line = home.logs(f"failed to establish connection to {THEIRS}")
    assert "not-authorized" in line or "self-signed" in line or "certificate" in line, line


async def test_no_tls_where_it_is_required(world):
    """The default."""
    home, away = world.ours(), world.theirs(tls="no", secure=False)
    juliet, romeo = await world.couple(home, away)
    await neither_way(home, juliet, romeo, "does not offer TLS")
    home.logs(f"{THEIRS} from .* was refused: TLS is required")


async def test_tls_that_we_may_not_use(world):
    """`tls='no'` here, TLS required there."""
    home, away = world.ours(policies=f"<host name='{THEIRS}' tls='no'/>"), world.theirs()
    juliet, romeo = await world.couple(home, away)
    condition, _ = await refused(juliet, romeo.boundjid.bare)
    assert condition in GONE
    home.logs(f"failed to establish connection to {THEIRS}: .*")


async def test_nobody_listens(world):
    home = world.ours()
    world.dns.address(THEIRS, "127.0.1.9")
    juliet = await world.user(home, "juliet")
    condition, text = await refused(juliet, f"romeo@{THEIRS}")
    assert condition in GONE
    assert "refused" in text and "127.0.1.9:5269" in home.logs(f"failed to establish connection to {THEIRS}")


async def test_no_such_domain(world):
    home = world.ours()
    juliet = await world.user(home, "juliet")
    condition, text = await refused(juliet, f"romeo@{THEIRS}")
    assert condition == "remote-server-not-found"
    line = home.logs(f"failed to establish connection to {THEIRS}")
    assert "DNS" in line or "does not exist" in line or "no such" in line.lower(), line


async def test_a_domain_without_the_service(world):
    """SRV with the target "." (RFC 2782)."""
    home = world.ours()
    world.dns.address(THEIRS, "127.0.1.9")
    for service in ("_xmpp-server", "_xmpps-server"):
        world.dns.service(THEIRS, service, ".", 0)
    juliet = await world.user(home, "juliet")
    condition, _ = await refused(juliet, f"romeo@{THEIRS}")
    assert condition == "remote-server-not-found"
    home.logs(f"failed to establish connection to {THEIRS}: ")


async def test_a_server_that_does_not_know_the_domain(world):
    home, away = world.ours(), world.theirs()
    world.dns.address("verona.it", away.address)
    juliet = await world.user(home, "juliet")
    condition, _ = await refused(juliet, "prince@verona.it")
    assert condition in GONE
    assert "host-unknown" in home.logs("failed to establish connection to verona.it")


async def test_who_listens_is_no_jabber_server(world):
    """Something else on that port."""
    home = world.ours()
    world.dns.address(THEIRS, "127.0.1.9")
    listener = socket.create_server(("127.0.1.9", 5269))

    async def serve():
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(False)
            await loop.sock_sendall(connection, b"220 mail.example ESMTP\r\n")

    serving = asyncio.ensure_future(serve())
    try:
        juliet = await world.user(home, "juliet")
        condition, _ = await refused(juliet, f"romeo@{THEIRS}")
        assert condition in GONE
        home.logs(f"failed to establish connection to {THEIRS}: .*not-well-formed|{THEIRS}.*XML")
    finally:
        serving.cancel()
        listener.close()


async def test_a_silent_server_costs_the_others_nothing(world):
    """It accepts and says nothing: what waits comes back in the end, and the others are served before."""
    home, away = world.ours(queue_seconds=15), world.theirs()
    juliet, romeo = await world.couple(home, away)
    world.dns.address("silent.example", "127.0.1.9")
    with socket.create_server(("127.0.1.9", 5269)):
        for n in range(50):
            juliet.send_message("ghost@silent.example", f"g{n}", mtype="chat")
        await talk(juliet, romeo)
        assert [one["body"] for one in juliet.inbox if one["type"] == "error"] == []
        for n in range(50):
            error = await juliet.message(f"g{n}", kind="error")
            assert error["error"]["condition"] == "remote-server-timeout"


async def test_it_is_told_once(world):
    """One line for one reason, however much is sent."""
    home = world.ours()
    world.dns.address(THEIRS, "127.0.1.9")
    juliet = await world.user(home, "juliet")
    for n in range(20):
        juliet.send_message(f"romeo@{THEIRS}", f"m{n}", mtype="chat")
    for n in range(20):
        # In the order of their sending.
        assert (await juliet.message(kind="error"))["body"] == f"m{n}"
    # The first wait after a failure is five seconds; then it is tried anew.
    await asyncio.sleep(5.5)
    await refused(juliet, f"romeo@{THEIRS}")
    assert home.log().count("failed to establish connection") == 1, home.log()


async def test_it_comes_back(world):
    """Once the server is there, the next try finds it."""
    home = world.ours()
    world.dns.address(THEIRS, "127.0.1.2")
    juliet = await world.user(home, "juliet")
    await refused(juliet, f"romeo@{THEIRS}")
    away = world.theirs(listed=False)
    romeo = await world.user(away, "romeo")
    await asyncio.sleep(5.5)
    await talk(juliet, romeo)


async def test_an_island(world):
    """Without <dnsrv> nothing is looked up; who stands in jabber.xml is reached."""
    home = world.ours(resolves=False, policies="<host name='montague.net' ip='127.0.1.2'/>")
    away = world.theirs(listed=False)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    condition, text = await refused(juliet, "prince@verona.it")
    assert condition == "remote-server-not-found" and "dnsrv" in text
    assert not world.dns.was_asked(THEIRS) and not world.dns.was_asked("verona.it")


def block(domain, **attributes):
    words = "".join(f" {name}='{value}'" for name, value in attributes.items())
    return f"<block xmlns='urn:jabber:config:3'{words}>{domain}</block>"


async def test_a_blocked_domain(world):
    """Both ways nothing passes, nobody is told but record.log, and no connection is made."""
    home, away = world.ours(blocks=block(THEIRS)), world.theirs()
    juliet, romeo = await world.couple(home, away)
    juliet.send_message(romeo.boundjid.bare, "never said", mtype="chat")
    romeo.send_message(juliet.boundjid.bare, "never heard", mtype="chat")
    await until(lambda: any(f"juliet@{OURS} blocked out message {THEIRS}" in line for line in home.record()))
    await until(lambda: any(f"juliet@{OURS} blocked in message {THEIRS}" in line for line in home.record()))
    await juliet.settle()
    await romeo.settle()
    assert juliet.bodies() == romeo.bodies() == []


async def test_a_blocked_domain_is_not_looked_for(world):
    home = world.ours(blocks=block(THEIRS, subdomains="yes"))
    juliet = await world.user(home, "juliet")
    for domain in (THEIRS, f"deep.below.{THEIRS}"):
        world.dns.address(domain, "127.0.1.2")
        juliet.send_message(f"romeo@{domain}", "never said", mtype="chat")
    await juliet.settle()
    assert juliet.bodies() == []
    assert not world.dns.was_asked(THEIRS)


async def test_a_domain_below_a_blocked_one(world):
    """Without subdomains='yes' it is another domain."""
    home = world.ours(blocks=block(THEIRS))
    away = world.theirs(domain=f"orchard.{THEIRS}")
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)


async def test_a_domain_that_is_bounced(world):
    home, away = world.ours(blocks=block(THEIRS, action="bounce")), world.theirs()
    juliet, romeo = await world.couple(home, away)
    assert (await refused(juliet, romeo.boundjid.bare))[0] == "not-allowed"
    romeo.send_message(juliet.boundjid.bare, "never heard", mtype="chat")
    await romeo.message(kind="error")
    await juliet.settle()
    assert juliet.bodies() == []


async def test_a_block_while_running(world):
    """On open streams it takes effect at once, and so does its end."""
    home, away = world.ours(), world.theirs()
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    home.reload(blocks=block(THEIRS, action="bounce"))

    async def bounced():
        juliet.send_message(romeo.boundjid.bare, "Art thou there?", mtype="chat")
        await juliet.settle()
        return any(one["type"] == "error" for one in juliet.inbox)

    async def eventually(check):
        for _ in range(100):
            if await check():
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the block takes no effect")

    await eventually(bounced)
    romeo.inbox.clear()
    romeo.send_message(juliet.boundjid.bare, "blocked", mtype="chat")
    await romeo.message(kind="error")
    home.reload(blocks="")

    async def heard():
        romeo.send_message(juliet.boundjid.bare, "hello again", mtype="chat")
        await romeo.settle()
        await asyncio.sleep(0.1)
        return "hello again" in juliet.bodies()

    await eventually(heard)
    assert "blocked" not in juliet.bodies()
