"""Messages to every kind of address and receiver (RFC 6121 §8.5), and those that wait (XEP-0160, XEP-0203)."""

import datetime

import pytest

import wire
from servers import SECOND_HOST

DELAY = "{urn:xmpp:delay}delay"
OLD_DELAY = "{jabber:x:delay}x"


async def settled(sender, *receivers):
    """After this, what the sender's stanzas had to bring about has reached the receivers."""
    await sender.settle()
    for receiver in receivers:
        await receiver.settle()


def check_stamp(message, since):
    """XEP-0203 §2: when the server got it, in UTC, from the host that kept it; the text in XEP-0091's form is optional."""
    delay = message.xml.find(DELAY)
    assert delay is not None, message
    stamp = datetime.datetime.fromisoformat(delay.get("stamp").replace("Z", "+00:00"))
    now = datetime.datetime.now(datetime.timezone.utc)
    # A second of grace: stamps may be whole seconds.
    assert since - datetime.timedelta(seconds=1) <= stamp <= now + datetime.timedelta(seconds=1)
    assert delay.get("from") in ("localhost", None)
    old = message.xml.find(OLD_DELAY)
    if old is not None:
        assert old.get("stamp") == stamp.strftime("%Y%m%dT%H:%M:%S")


@pytest.mark.parametrize("kind", ("chat", "normal", "headline", "groupchat", "error"))
async def test_to_a_full_address(clients, account, kind):
    """RFC 6121 §8.5.3.1: a resource that matches gets it, whatever its type and priority."""
    sender = await clients.login(account("sender"))
    receiver = await clients.login(account("receiver"), "here", priority=-1)
    if kind == "error":
        text = (
            f"<message type='error' to='{receiver.boundjid.full}'><body>hello</body><error type='cancel'>"
            f"<gone xmlns='{wire.STANZA_ERRORS}'/></error></message>"
        )
        sender.send_raw(text)
    else:
        sender.send_message(receiver.boundjid.full, "hello", mtype=kind)
    message = await receiver.message("hello", kind)
    assert message.xml.get("from") == sender.boundjid.full
    assert message.xml.get("to") == receiver.boundjid.full
    assert message.xml.find(DELAY) is None


async def test_type_is_normal_where_none_is_given(clients, account):
    sender, receiver = await clients.login(account()), await clients.login(account())
    sender.send_raw(f"<message to='{receiver.boundjid.full}'><body>plain</body></message>")
    assert (await receiver.message("plain")).xml.get("type") in (None, "normal")


async def test_all_of_a_message_arrives(clients, account):
    """Extensions, language, subject, thread and every character come through as they were."""
    sender, receiver = await clients.login(account()), await clients.login(account())
    text = "tab\t line\n &amp; &lt;&gt; ✓ 𝄞 \u00a0é"
    sender.send_raw(
        f"<message to='{receiver.boundjid.full}' type='chat' id='x1' xml:lang='de'><subject>S</subject><thread>T</thread>"
        f"<body>{text}</body><x xmlns='urn:test' b='1' a='&quot;&apos;&lt;&gt;&amp;'><y/>t<z xmlns=''/></x></message>"
    )
    message = await receiver.message(kind="chat")
    assert message["body"] == "tab\t line\n & <> ✓ 𝄞 \u00a0é"
    assert (message["id"], message["subject"], message["thread"], message["lang"]) == ("x1", "S", "T", "de")
    extension = message.xml.find("{urn:test}x")
    assert dict(extension.attrib) == {"a": "\"'<>&", "b": "1"}
    assert [child.tag for child in extension] == ["{urn:test}y", "z"]
    assert extension[0].tail == "t"


@pytest.mark.ours("the reference makes a blank of it")
async def test_line_breaks_in_attributes_arrive(clients, account):
    """XML 1.0 §3.3.3: written as a reference, it is not the blank that a plain one would be."""
    sender, receiver = await clients.login(account()), await clients.login(account())
    sender.send_raw(
        f"<message to='{receiver.boundjid.full}'><body>b</body><x xmlns='urn:test' a='1&#10;2&#9;3'/></message>"
    )
    assert (await receiver.message("b")).xml.find("{urn:test}x").get("a") == "1\n2\t3"


async def test_chat_to_a_bare_address_goes_to_who_wants_messages(clients, account):
    """RFC 6121 §8.5.2.1.1: to the most available session or to all of them, never to a negative priority."""
    sender, user = await clients.login(account()), account()
    high = await clients.login(user, "high", priority=10)
    low = await clients.login(user, "low", priority=0)
    never = await clients.login(user, "never", priority=-1)
    unannounced = await clients.bind(user, "unannounced")
    for kind in ("chat", "normal"):
        sender.send_message(user.jid, kind, mtype=kind)
        message = await high.message(kind, kind)
        assert message.xml.get("to") in (user.jid, high.boundjid.full)
    await settled(sender, high, low, never, unannounced)
    assert never.bodies() == [] and unannounced.bodies() == []
    assert low.bodies() in ([], ["chat", "normal"])


async def test_headline_to_a_bare_address_goes_to_all(clients, account):
    """RFC 6121 §8.5.2.1.1."""
    sender, user = await clients.login(account()), account()
    one = await clients.login(user, "one", priority=10)
    two = await clients.login(user, "two", priority=0)
    never = await clients.login(user, "never", priority=-1)
    sender.send_message(user.jid, "news", mtype="headline")
    await one.message("news", "headline")
    await two.message("news", "headline")
    await settled(sender, never)
    assert never.bodies() == []


async def test_groupchat_to_a_bare_address_is_an_error(clients, account):
    """RFC 6121 §8.5.2.1.1: never to sessions, service-unavailable to the sender."""
    sender, receiver = await clients.login(account()), await clients.login(account())
    sender.send_message(receiver.boundjid.bare, "room?", mtype="groupchat")
    error = await sender.message(kind="error")
    assert error["error"]["condition"] == "service-unavailable"
    await settled(sender, receiver)
    assert receiver.bodies() == []


async def test_error_to_a_bare_address_vanishes(clients, account):
    """RFC 6121 §8.5.2.1.1, RFC 6120 §8.3.1: an error is never answered with an error."""
    sender, receiver = await clients.login(account()), await clients.login(account())
    sender.send_raw(
        f"<message type='error' to='{receiver.boundjid.bare}'><body>bad</body><error type='cancel'>"
        f"<gone xmlns='{wire.STANZA_ERRORS}'/></error></message>"
    )
    sender.send_raw(
        f"<message type='error' to='nobody-at-all@localhost'><error type='cancel'>"
        f"<gone xmlns='{wire.STANZA_ERRORS}'/></error></message>"
    )
    await settled(sender, receiver)
    assert receiver.inbox == [] and sender.inbox == []


async def test_to_a_resource_that_is_gone(clients, account):
    """RFC 6121 §8.5.3.2.1: chat falls back to the bare address, groupchat is refused, a headline is dropped."""
    sender, receiver = await clients.login(account()), await clients.login(account(), "here")
    gone = f"{receiver.boundjid.bare}/gone"
    sender.send_message(gone, "for anybody", mtype="chat")
    await receiver.message("for anybody", "chat")
    sender.send_message(gone, "room?", mtype="groupchat")
    assert (await sender.message(kind="error"))["error"]["condition"] == "service-unavailable"
    sender.send_message(gone, "old news", mtype="headline")
    await settled(sender, receiver)
    assert receiver.bodies() == [] and sender.bodies() == []


async def test_to_nobody(clients, account):
    """RFC 6121 §8.5.1: service-unavailable, with what was sent addressed back."""
    sender = await clients.login(account())
    for kind in ("chat", "normal"):
        sender.send_message("nobody-at-all@localhost", "anybody?", mtype=kind)
        error = await sender.message(kind="error")
        assert error["error"]["condition"] == "service-unavailable"
        assert error["error"]["type"] == "cancel"
        assert error.xml.get("from") == "nobody-at-all@localhost"
        assert error.xml.get("to") == sender.boundjid.full


async def test_to_oneself(clients, account):
    """RFC 6120 §10.3.1: without `to` it is for one's own bare address."""
    client = await clients.login(account())
    client.send_raw("<message type='chat'><body>note</body></message>")
    assert (await client.message("note")).xml.get("from") == client.boundjid.full
    client.send_message(client.boundjid.full, "to this session", mtype="chat")
    await client.message("to this session")


async def test_across_the_hosts_of_one_server(clients, account):
    sender, receiver = await clients.login(account()), await clients.login(account(host=SECOND_HOST))
    sender.send_message(receiver.boundjid.bare, "over there", mtype="chat")
    message = await receiver.message("over there")
    receiver.send_message(message["from"], "and back", mtype="chat")
    assert (await sender.message("and back"))["from"] == receiver.boundjid


async def test_order_is_kept(clients, account):
    """RFC 6120 §10.1."""
    sender, receiver = await clients.login(account()), await clients.login(account())
    expected = [str(number) for number in range(300)]
    for body in expected:
        sender.send_message(receiver.boundjid.full, body, mtype="chat")
    await receiver.message(expected[-1])
    assert receiver.bodies() == expected[:-1]


async def test_offline_messages_come_in_order_and_once(clients, account):
    """XEP-0160 §2: kept in order, stamped, given out at the first presence with a priority that wants them."""
    since = datetime.datetime.now(datetime.timezone.utc)
    sender, user = await clients.login(account("sender")), account("away")
    expected = [f"waiting {number}" for number in range(20)]
    for number, body in enumerate(expected):
        sender.send_message(user.jid, body, mtype="normal" if number % 3 == 0 else "chat")
    await sender.settle()
    receiver = await clients.login(user)
    got = [await receiver.message(body) for body in expected]
    for message in got:
        check_stamp(message, since)
        assert message.xml.get("from") == sender.boundjid.full
        assert message.xml.get("to") in (user.jid, receiver.boundjid.full)
    await settled(sender, receiver)
    assert receiver.bodies() == []
    await receiver.leave()
    receiver = await clients.login(user)
    await receiver.settle()
    assert receiver.bodies() == []


async def test_offline_messages_are_in_order_on_the_wire(clients, account):
    sender, user = await clients.login(account("sender")), account("away")
    for number in range(50):
        sender.send_message(user.jid, str(number), mtype="chat")
    await sender.settle()
    receiver = await clients.login(user)
    await receiver.settle()
    assert receiver.bodies() == [str(number) for number in range(50)]


@pytest.mark.ours("the reference looks at the first presence alone")
async def test_offline_messages_wait_for_a_priority_that_is_not_negative(clients, account):
    """RFC 6121 §8.5.2.1.1: a session with a negative priority does not count as one."""
    since = datetime.datetime.now(datetime.timezone.utc)
    sender, user = await clients.login(account()), account()
    receiver = await clients.login(user, priority=-5)
    sender.send_message(user.jid, "patience", mtype="chat")
    await settled(sender, receiver)
    assert receiver.bodies() == []
    receiver.send_presence(ppriority=1)
    check_stamp(await receiver.message("patience"), since)


async def test_only_some_types_wait(clients, account):
    """RFC 6121 §8.5.2.2.1: normal and chat are kept; groupchat is refused; headline and error are dropped."""
    sender, user = await clients.login(account()), account()
    for kind in ("headline", "groupchat"):
        sender.send_message(user.jid, kind, mtype=kind)
    sender.send_raw(
        f"<message type='error' to='{user.jid}'><body>error</body><error type='cancel'>"
        f"<gone xmlns='{wire.STANZA_ERRORS}'/></error></message>"
    )
    sender.send_message(user.jid, "kept", mtype="chat")
    assert (await sender.message(kind="error"))["body"] in ("groupchat", "")
    await sender.settle()
    assert sender.bodies() == []
    receiver = await clients.login(user)
    await receiver.message("kept")
    await receiver.settle()
    assert receiver.bodies() == []


async def test_offline_to_a_full_address_waits_too(clients, account):
    """RFC 6121 §8.5.3.2.1: as if it were for the bare address."""
    sender, user = await clients.login(account()), account()
    sender.send_message(f"{user.jid}/gone", "anyhow", mtype="chat")
    await sender.settle()
    receiver = await clients.login(user, "other")
    await receiver.message("anyhow")


@pytest.mark.ours("the reference keeps chat states alone")
async def test_chat_states_do_not_wait(clients, account):
    """XEP-0160 §3 and XEP-0085 §5.6: a composing of yesterday is no news."""
    sender, user = await clients.login(account()), account()
    sender.send_raw(
        f"<message type='chat' to='{user.jid}'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
    )
    await sender.settle()
    receiver = await clients.login(user)
    await receiver.settle()
    assert receiver.inbox == []


@pytest.mark.ours("the reference keeps whatever comes")
async def test_a_flood_to_the_storage_is_an_error(clients, account):
    """A bound on what waits for one account; what was accepted before comes in order and once."""
    sender, user = await clients.login(account("flooder")), account("flooded")
    most = 20_000
    sent, refused = 0, None
    while sent < most and refused is None:
        for _ in range(200):
            sender.send_raw(f"<message type='chat' to='{user.jid}' id='f{sent}'><body>{sent}</body></message>")
            sent += 1
        await sender.settle()
        errors = [one for one in sender.inbox if one["type"] == "error"]
        if errors:
            refused = int(errors[0]["id"][1:])
            # XEP-0160 §2 names this condition for a full store; RFC 6120 §8.3.3.18 another.
            assert errors[0]["error"]["condition"] in ("service-unavailable", "resource-constraint")
            # The text must help the sender to understand it.
            assert errors[0]["error"]["text"]
            assert len(errors) == sent - refused
    assert refused, "no end to the storage"
    receiver = await clients.login(user)
    await receiver.message(str(refused - 1))
    await receiver.settle()
    assert receiver.bodies() == [str(number) for number in range(refused - 1)]
