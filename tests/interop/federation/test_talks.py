"""Servers that accept each other: messages, presence and subscriptions across, by each way of proving a domain."""

import asyncio
import signal

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

import authority as authorities
import homes
from conftest import OURS, THEIRS, account_of, refused, talk, until

OTHERS = (homes.Prosody, homes.Jabberd2, homes.Ejabberd, homes.Ours)


def others(*kinds):
    return pytest.mark.parametrize("kind", kinds or OTHERS, ids=[kind.kind for kind in kinds or OTHERS])


def welcoming(kind):
    """Options for a server that asks for TLS and is content with dialback."""
    return {"secure": False} if kind in (homes.Prosody, homes.Ejabberd) else {}


def proving(world, kind):
    """Options for a certificate of ours that proves us: to ejabberd only one that is for clients, too."""
    if kind is not homes.Ejabberd:
        return {}
    purposes = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    return {"certificate": world.authority.certificate(OURS, purposes=purposes)}


async def eventually(check, seconds=20):
    """Until a check holds that sends something each time, since a server may need a moment to find out."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await check():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to pass"
        await asyncio.sleep(0.3)


@others(homes.Prosody, homes.Ejabberd)
async def test_certificates(world, kind):
    """Both have certificates of an authority that both trust: SASL EXTERNAL (XEP-0178), no dialback."""
    home, away = world.ours(**proving(world, kind)), world.theirs(kind)
    await talk(*await world.couple(home, away))
    if home.ours:
        home.logs(rf"stream to {THEIRS} at .*proved by EXTERNAL, TLS")


@pytest.mark.ours("the log")
async def test_a_certificate_for_servers_only(world):
    """ejabberd wants one for clients (TLS Web Client Authentication), as public authorities do not issue any more, and
    ends the stream; then dialback is tried on another."""
    home, away = world.ours(), world.theirs(homes.Ejabberd, secure=False)
    await talk(*await world.couple(home, away))
    home.logs(rf"stream to {THEIRS} at .*proved by dialback, TLS")


@pytest.mark.ours("the log")
@others(homes.Prosody, homes.Ejabberd)
async def test_certificates_the_other_way(world, kind):
    """Romeo writes first."""
    home, away = world.ours(**proving(world, kind)), world.theirs(kind)
    juliet, romeo = await world.couple(home, away)
    await talk(romeo, juliet)
    home.logs(rf"stream from {THEIRS} at .*proved by EXTERNAL, TLS")
    assert not home.log().count("dialback,")
    home.stop()
    assert any(f" {OURS} in EXTERNAL " in line for line in home.record()), home.record()


@pytest.mark.ours("the system's authorities are ours to replace")
async def test_authorities_of_the_system(world):
    """Nothing is configured: who the system trusts is trusted, and nobody else."""
    home = world.ours(authority=None, system_authorities=world.authority.file, policies=f"<host name='{THEIRS}' auth='sasl'/>")
    juliet, romeo = await world.couple(home, world.theirs())
    await talk(juliet, romeo)
    home.logs(rf"stream to {THEIRS} at .*proved by EXTERNAL, TLS")


@pytest.mark.ours("the system's authorities are ours to replace")
async def test_an_authority_that_the_system_does_not_know(world):
    stranger = authorities.Authority(world.directory / "stranger", "A stranger")
    home = world.ours(authority=None, system_authorities=stranger.file, policies=f"<host name='{THEIRS}' auth='sasl'/>")
    juliet, romeo = await world.couple(home, world.theirs())
    await refused(juliet, romeo.boundjid.bare)
    home.logs("issued by an authority that is not trusted")


@others(homes.Prosody, homes.Ejabberd)
async def test_self_signed_with_dialback(world, kind):
    """Who has no certificate that counts proves its name by dialback, over TLS (XEP-0220 §2.5)."""
    home = world.ours(certificate=world.authority.self_signed(OURS), **welcoming(homes.tested()))
    away = world.theirs(kind, certificate=world.authority.self_signed(THEIRS), secure=False)
    await talk(*await world.couple(home, away))
    if home.ours:
        home.logs(rf"stream to {THEIRS} at .*proved by dialback, TLS")
        home.stop()
        # jabberd 1.4's lines.
        assert any(f" {THEIRS} out dialback " in line for line in home.record()), home.record()


@pytest.mark.ours("the log")
async def test_self_signed_there_alone(world):
    """We are proved by our certificate, they by dialback."""
    home = world.ours()
    away = world.theirs(certificate=world.authority.self_signed(THEIRS), secure=False)
    juliet, romeo = await world.couple(home, away)
    await talk(romeo, juliet)
    home.logs(rf"stream from {THEIRS} at .*proved by dialback, TLS")
    home.stop()
    assert any(f" {OURS} in dialback " in line for line in home.record()), home.record()


async def test_no_tls_where_allowed(world):
    """RFC 6120 §13.7.2 leaves it to the admin."""
    policy = {"policies": f"<host name='{THEIRS}' tls='yes'/>"}
    home = world.ours(**policy if homes.tested() is homes.Ours else {"tls": "yes", "secure": False})
    away = world.theirs(tls="no", secure=False)
    await talk(*await world.couple(home, away))
    if home.ours:
        home.logs(rf"stream to {THEIRS} at .*proved by dialback, no TLS")


async def test_jabberd2(world):
    """Dialback over STARTTLS."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(homes.Jabberd2)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    if home.ours:
        home.logs(rf"stream to {THEIRS} at .*proved by dialback, TLS")
        home.logs(rf"stream from {THEIRS} at .*, TLS")


async def test_jabberd2_writes_first(world):
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(homes.Jabberd2)
    juliet, romeo = await world.couple(home, away)
    await talk(romeo, juliet)


async def test_jabberd2_without_tls(world):
    """As the Mac OS X Servers from 10.5 on, whose TLS nobody speaks any more."""
    policy = {"policies": f"<host name='{THEIRS}' tls='no'/>"}
    home = world.ours(**policy if homes.tested() is homes.Ours else {"tls": "yes", "secure": False})
    away = world.theirs(homes.Jabberd2, tls="no")
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    if home.ours:
        home.logs(rf"stream to {THEIRS} at .*proved by dialback, no TLS")


@pytest.mark.ours("ours on both ends")
async def test_ours_and_ours(world):
    home, away = world.ours(), world.theirs(homes.Ours)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    home.logs(rf"stream to {THEIRS} at .*proved by EXTERNAL, TLS")


@pytest.mark.ours("ours on both ends")
async def test_ours_and_ours_by_dialback(world):
    home = world.ours(certificate=world.authority.self_signed(OURS))
    away = world.theirs(homes.Ours, certificate=world.authority.self_signed(THEIRS))
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    home.logs(rf"stream to {THEIRS} at .*proved by dialback, TLS")


@others()
async def test_both_write_at_once(world, kind):
    """Simultaneous opens: each message arrives, once."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(kind, **welcoming(kind))
    juliet, romeo = await world.couple(home, away)
    for n in range(10):
        juliet.send_message(romeo.boundjid.bare, f"j{n}", mtype="chat")
        romeo.send_message(juliet.boundjid.bare, f"r{n}", mtype="chat")
    for n in range(10):
        await romeo.message(f"j{n}")
        await juliet.message(f"r{n}")
    assert juliet.bodies() == romeo.bodies() == []


@others()
async def test_order_and_size(world, kind):
    """What waits for the stream leaves in order (RFC 6120 §10.1), small and large."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(kind, **welcoming(kind))
    juliet, romeo = await world.couple(home, away)
    sizes = [10, 30_000, 1, 3000, 50_000 if kind is homes.Jabberd2 else 200_000, 7]
    bodies = [f"{n}:" + "ü" * (size // 2) for n, size in enumerate(sizes)]
    for body in bodies:
        juliet.send_message(romeo.boundjid.bare, body, mtype="chat")
    for body in bodies:
        got = await romeo.expect(lambda one: one.name == "message", "the next message")
        assert got["body"] == body, f"{got['body'][:20]} before {body[:20]}"


@others()
async def test_romeo_is_away_there(world, kind):
    """His server keeps it."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(kind, **welcoming(kind))
    juliet, account = await world.user(home, "juliet"), away.account("romeo")
    juliet.send_message(account.jid, "O Romeo, Romeo!", mtype="chat")
    # That it is there shows in the answer to what follows on the same stream.
    await juliet.plugin["xep_0030"].get_info(jid=away.domain, timeout=60)
    romeo = await world.login(away, account)
    message = await romeo.message("O Romeo, Romeo!")
    assert message["from"] == juliet.boundjid.full
    assert message.xml.find("{urn:xmpp:delay}delay") is not None or message.xml.find("{jabber:x:delay}x") is not None


@others()
async def test_juliet_is_away_here(world, kind):
    """We keep it, with the time of its arrival (XEP-0160)."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(kind, **welcoming(kind))
    romeo, account = await world.user(away, "romeo"), home.account("juliet")
    romeo.send_message(account.jid, "It is my lady.", mtype="chat")
    await romeo.plugin["xep_0030"].get_info(jid=home.domain, timeout=60)
    juliet = await world.login(home, account)
    message = await juliet.message("It is my lady.")
    assert message["from"] == romeo.boundjid.full
    assert message.xml.find("{urn:xmpp:delay}delay") is not None


@others()
async def test_nobody_of_that_name(world, kind):
    """The error crosses (RFC 6121 §8.5.1)."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(kind, **welcoming(kind))
    juliet, romeo = await world.couple(home, away)
    assert (await refused(romeo, f"nobody@{OURS}"))[0] == "service-unavailable"
    condition, _ = await refused(juliet, f"nobody@{THEIRS}")
    assert condition in {"service-unavailable", "item-not-found"}


@others()
async def test_requests(world, kind):
    """IQs cross, with their answers: to the server and to a session."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(kind, **welcoming(kind))
    juliet, romeo = await world.couple(home, away)
    info = await juliet.plugin["xep_0030"].get_info(jid=THEIRS, timeout=60)
    assert any(identity[0] == "server" for identity in info["disco_info"]["identities"])
    info = await romeo.plugin["xep_0030"].get_info(jid=OURS, timeout=60)
    assert any(identity[0] == "server" for identity in info["disco_info"]["identities"])
    assert await juliet.plugin["xep_0199"].send_ping(romeo.boundjid.full, timeout=60) is not None
    assert await romeo.plugin["xep_0199"].send_ping(juliet.boundjid.full, timeout=60) is not None


async def befriend(one, other):
    """A subscription from `one` to `other`, as their users make it."""
    one.send_presence(pto=other.boundjid.bare, ptype="subscribe")
    await other.presence("subscribe", one.boundjid.bare)
    other.send_presence(pto=one.boundjid.bare, ptype="subscribed")
    await one.presence("subscribed", other.boundjid.bare)
    await one.presence(None, other.boundjid.full)


@others()
async def test_subscriptions(world, kind):
    """RFC 6121 §3, across: both subscribe, see each other come and go, and part."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(kind, **welcoming(kind))
    juliet, romeo = await world.couple(home, away)
    await befriend(juliet, romeo)
    await befriend(romeo, juliet)
    items = await juliet.roster_items()
    assert items[romeo.boundjid.bare]["subscription"] == "both"
    assert (await romeo.roster_items())[juliet.boundjid.bare]["subscription"] == "both"

    # Presence that changes.
    juliet.send_presence(pshow="away", pstatus="on the balcony")
    seen = await romeo.expect(
        lambda one: one.name == "presence" and one["status"] == "on the balcony", "her new presence"
    )
    assert seen["from"] == juliet.boundjid.full and seen["type"] == "away"

    # He goes, and comes back: the probe tells him that she is there (RFC 6121 §4.3).
    account = account_of(romeo)
    await romeo.leave()
    await juliet.presence("unavailable", romeo.boundjid.full)
    romeo = await world.login(away, account, "again")
    await juliet.presence(None, romeo.boundjid.full)
    back = await romeo.presence(None, juliet.boundjid.full)
    assert back["status"] == "on the balcony"

    # She goes without a word, and comes back.
    mine = account_of(juliet)
    await juliet.vanish()
    await romeo.presence("unavailable", juliet.boundjid.full)
    juliet = await world.login(home, mine, "again")
    await romeo.presence(None, juliet.boundjid.full)
    await juliet.presence(None, romeo.boundjid.full)

    # They part. What RFC 6121 §3.3.3 asks for besides, the end of presence, only we send.
    juliet.send_presence(pto=romeo.boundjid.bare, ptype="unsubscribe")
    await romeo.presence("unsubscribe", juliet.boundjid.bare)
    if away.ours:
        await juliet.presence("unavailable", romeo.boundjid.full)
    romeo.send_presence(pto=juliet.boundjid.bare, ptype="unsubscribe")
    await juliet.presence("unsubscribe", romeo.boundjid.bare)
    if home.ours:
        await romeo.presence("unavailable", juliet.boundjid.full)
    assert (await juliet.roster_items())[romeo.boundjid.bare]["subscription"] == "none"


@others()
async def test_a_request_waits_for_who_is_away(world, kind):
    """RFC 6121 §3.1.3: a subscription request for somebody who is not there is kept."""
    home, away = world.ours(**welcoming(homes.tested())), world.theirs(kind, **welcoming(kind))
    juliet, account = await world.user(home, "juliet"), away.account("romeo")
    juliet.send_presence(pto=account.jid, ptype="subscribe")
    await juliet.plugin["xep_0030"].get_info(jid=away.domain, timeout=60)
    romeo = await world.login(away, account)
    await romeo.presence("subscribe", juliet.boundjid.bare)
    romeo.send_presence(pto=juliet.boundjid.bare, ptype="subscribed")
    await juliet.presence("subscribed", account.jid)
    await juliet.presence(None, romeo.boundjid.full)


@others(homes.Prosody, homes.Ours)
@pytest.mark.parametrize("proof", ["certificates", "dialback"])
async def test_many_hosts(world, kind, proof):
    """Two domains here and two there: each pair is proved for itself, whatever stream it uses."""
    here, there = (OURS, "verona.it"), (THEIRS, "mantua.it")
    options = [{}, {}]
    if proof == "dialback":
        options = [
            {"certificate": world.authority.self_signed(*names), **welcoming(one)}
            for names, one in ((here, homes.tested()), (there, kind))
        ]
    home = world.ours(hosts=here[1:], **options[0])
    away = world.theirs(kind, hosts=there[1:], **options[1])
    one, two = await world.user(home, "juliet"), await world.user(home, "nurse", "verona.it")
    three, four = await world.user(away, "romeo"), await world.user(away, "apothecary", "mantua.it")
    for here in (one, two):
        for there in (three, four):
            await talk(here, there, f"to {there.boundjid.host}", f"from {there.boundjid.host}")


@others(homes.Prosody, homes.Ours)
async def test_the_other_server_starts_again(world, kind):
    """Nothing is lost without a word: each message arrives or comes back, and then they talk again."""
    home, away = world.ours(), world.theirs(kind)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    account = account_of(romeo)
    await romeo.vanish()
    away.kill()
    away.start()
    romeo = await world.login(away, account, "again")
    sent = []

    async def again():
        sent.append(f"again {len(sent)}")
        juliet.send_message(account.jid, sent[-1], mtype="chat")
        await juliet.settle()
        await asyncio.sleep(0.2)
        return romeo.bodies()

    await eventually(again)
    await talk(juliet, romeo, "last", "answer")
    back = [one["id"] for one in juliet.inbox if one.name == "message" and one["type"] == "error"]
    assert len(romeo.bodies()) + len(back) == len(sent), f"{romeo.bodies()} of {sent}, and {len(back)} came back"


@others(homes.Prosody, homes.Ejabberd, homes.Ours)
async def test_we_start_again(world, kind):
    home, away = world.ours(**proving(world, kind)), world.theirs(kind)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    account = account_of(juliet)
    await juliet.vanish()
    home.kill()
    home.start()
    juliet = await world.login(home, account, "again")

    async def again():
        romeo.send_message(account.jid, "again", mtype="chat")
        await romeo.settle()
        await asyncio.sleep(0.2)
        return juliet.bodies()

    await eventually(again)
    await talk(juliet, romeo, "last", "answer")


@pytest.mark.ours("the reference leaves them as they were")
@others(homes.Prosody, homes.Ours)
async def test_contacts_on_a_server_that_is_gone(world, kind):
    """When it is lost for good, they are unavailable; when it is back, so are they."""
    home, away = world.ours(), world.theirs(kind)
    juliet, romeo = await world.couple(home, away)
    await befriend(juliet, romeo)
    await befriend(romeo, juliet)
    account, address = account_of(romeo), romeo.boundjid.full
    await romeo.vanish()
    await juliet.presence("unavailable", address)
    romeo = await world.login(away, account, "again")
    await juliet.presence(None, romeo.boundjid.full)
    away.kill()
    # It is looked for after ten to twenty seconds. From the address that she saw (RFC 6121 §4.5).
    await until(lambda: ("unavailable", romeo.boundjid.full) in juliet.presences(), 45)
    away.start()
    romeo = await world.login(away, account, "back")

    async def back():
        juliet.send_presence()
        await juliet.settle()
        await asyncio.sleep(0.5)
        return (None, romeo.boundjid.full) in juliet.presences()

    await eventually(back, 60)


@pytest.mark.ours("what is on its way is bounded by ours alone")
@others(homes.Prosody, homes.Ours)
async def test_a_burst_while_the_other_server_is_busy(world, kind):
    """It acknowledges nothing for a while: that is no reason to end the stream, and all arrives in order."""
    home, away = world.ours(), world.theirs(kind)
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    away.process.send_signal(signal.SIGSTOP)
    count = 3000
    for n in range(count):
        juliet.send_message(romeo.boundjid.bare, f"n{n}", mtype="chat")
    await juliet.settle()
    away.process.send_signal(signal.SIGCONT)
    await romeo.message(f"n{count - 1}")
    assert romeo.bodies() == [f"n{n}" for n in range(count - 1)]
    assert home.log().count(f"stream to {THEIRS}") == 1, home.log()


@pytest.mark.ours("what waits is bounded by ours alone")
@others(homes.Prosody, homes.Ours)
async def test_megabytes_wait_for_a_stream(world, kind):
    """Nearly all that may wait leaves at once when the stream is there, and arrives."""
    home, away = world.ours(queue_seconds=60), world.theirs(kind)
    juliet, romeo = await world.couple(home, away)
    away.process.send_signal(signal.SIGSTOP)
    bodies = [f"{n}:" + "x" * 100_000 for n in range(40)]
    for body in bodies:
        juliet.send_message(romeo.boundjid.bare, body, mtype="chat")
    await juliet.settle()
    away.process.send_signal(signal.SIGCONT)
    for body in bodies:
        got = await romeo.expect(lambda one: one.name == "message", "the next message")
        assert got["body"] == body, f"{got['body'][:20]} before {body[:20]}"


@pytest.mark.ours("acknowledged streams on both ends")
async def test_nothing_is_lost_when_the_other_server_is_killed(world):
    """XEP-0198 between servers: in the middle of a burst the other one is killed and started anew."""
    home, away = world.ours(queue_seconds=60), world.theirs(homes.Ours)
    juliet, account = await world.user(home, "juliet"), away.account("romeo")
    juliet.send_message(account.jid, "first", mtype="chat")
    await juliet.plugin["xep_0030"].get_info(jid=THEIRS, timeout=60)
    count = 300
    for n in range(count):
        juliet.send_message(account.jid, f"n{n}", mtype="chat")
        if n == count // 2:
            await asyncio.sleep(0.05)
            away.kill()
        elif n % 10 == 0:
            await asyncio.sleep(0)
    away.start()
    await juliet.settle()

    async def there():
        try:
            await juliet.plugin["xep_0030"].get_info(jid=THEIRS, timeout=60)
            return True
        except Exception:
            return False

    await eventually(there, 60)
    romeo = await world.login(away, account)
    await romeo.settle()
    bodies = romeo.bodies()
    back = [one for one in juliet.inbox if one.name == "message" and one["type"] == "error"]
    got = {body for body in bodies if body.startswith("n")}
    returned = {one["body"] for one in back}
    lost = [f"n{n}" for n in range(count) if f"n{n}" not in got | returned]
    assert not lost, f"{len(lost)} lost: {lost[:10]}"
    numbers = [int(body[1:]) for body in dict.fromkeys(bodies) if body.startswith("n")]
    assert numbers == sorted(numbers), "out of order"


@pytest.mark.ours("kill -9 and what is written down")
@others(homes.Prosody, homes.Ejabberd, homes.Ours)
async def test_what_waits_survives_us(world, kind):
    """The other server is down when Juliet writes, ours is killed while her words wait, then both are there again."""
    home, away = world.ours(queue_seconds=60), world.theirs(kind, **welcoming(kind))
    juliet, account = await world.user(home, "juliet"), away.account("romeo")
    # It takes connections and says nothing.
    away.process.send_signal(signal.SIGSTOP)
    for n in range(20):
        juliet.send_message(account.jid, f"n{n}", mtype="chat")
    # She is told of nothing before it is on the disk.
    await juliet.settle()
    await juliet.vanish()
    home.kill()
    away.process.send_signal(signal.SIGCONT)
    home.start()
    home.logs("20 stanzas waited for other servers")
    romeo = await world.login(away, account)
    await until(lambda: "n19" in romeo.bodies(), 60)
    assert romeo.bodies() == [f"n{n}" for n in range(20)]


async def test_a_stream_ends_when_idle(world):
    """And the next message opens a new one."""
    if homes.tested() is not homes.Ours:
        pytest.skip("ours alone: the time is an option of ours")
    home, away = world.ours(s2s="<idletimeout>2</idletimeout>"), world.theirs()
    juliet, romeo = await world.couple(home, away)
    await talk(juliet, romeo)
    await until(lambda: any(f" {THEIRS} out EXTERNAL " in line for line in home.record()))
    await talk(juliet, romeo, "Good night", "Good night, good night")
