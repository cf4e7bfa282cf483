"""In-band registration (XEP-0077): before login, from a session, and removal with all that belonged to the account."""

import asyncio

import pytest
from slixmpp.exceptions import IqError

import wire
from conftest import Account
from servers import ADMIN, INSTRUCTIONS, SECOND_HOST, WELCOME_BODY, WELCOME_SUBJECT

QUERY = f"{{{wire.REGISTER}}}query"
FORM = f"<query xmlns='{wire.REGISTER}'/>"


def opened(server, host="localhost"):
    """An open stream over TLS, before login."""
    one = wire.Wire(server, direct_tls=True, name=host)
    one.open(host)
    return one


def can_log_in(server, name, password, host="localhost"):
    with opened(server, host) as one:
        try:
            one.plain(name, password, host)
            return True
        except wire.Refused:
            return False


def test_form(server):
    with opened(server) as one:
        query = one.iq("get", FORM).find(QUERY)
        assert query.find(f"{{{wire.REGISTER}}}username") is not None
        assert query.find(f"{{{wire.REGISTER}}}password") is not None
        assert query.find(f"{{{wire.REGISTER}}}registered") is None


@pytest.mark.ours("the form is jabber.xml's")
def test_form_is_the_configured_one(server):
    with opened(server) as one:
        query = one.iq("get", FORM).find(QUERY)
        assert query.findtext(f"{{{wire.REGISTER}}}instructions") == INSTRUCTIONS
        fields = {child.tag.rpartition("}")[2] for child in query}
        assert {"username", "password", "name", "email"} <= fields


async def test_slixmpp_registers_on_the_way_in(server, clients, account):
    """The plugin registers when the features offer it, and logs in on the same stream."""
    user = Account("slixregistered", "localhost", "secret word")
    client = clients.new(user)
    client.plugin["xep_0077"].create_account = True

    async def fill(form):
        answer = client.Iq()
        answer["type"] = "set"
        answer["register"]["username"] = user.name
        answer["register"]["password"] = user.password
        await answer.send()

    client.add_event_handler("register", fill)
    await client.connect_and_bind()
    assert client.boundjid.bare == user.jid


@pytest.mark.parametrize("secured", ("starttls", "direct"))
def test_create_then_log_in(server, secured):
    name = f"fresh-{secured}"
    with wire.Wire(server, direct_tls=secured == "direct") as one:
        if secured == "direct":
            one.open()
        else:
            one.secure()
        one.register(name, "secret")
        one.plain(name, "secret")
        assert one.bind().startswith(f"{name}@localhost/")


def test_not_before_tls(server):
    """The password would be read by everybody on the way."""
    with wire.Wire(server) as one:
        features = one.open()
        assert features.find("{http://jabber.org/features/iq-register}register") is None
        with pytest.raises((wire.Refused, wire.Closed)):
            one.register("inclear", "secret")
    assert not can_log_in(server, "inclear", "secret")


def test_taken_name_is_a_conflict(server, account):
    """XEP-0077 §3.1; case does not make another name."""
    user = account("taken")
    for name in (user.name, user.name.upper()):
        with opened(server) as one, pytest.raises(wire.Refused, match="conflict"):
            one.register(name, "other")
    assert can_log_in(server, user.name, user.password)
    assert not can_log_in(server, user.name, "other")


def test_same_name_on_another_host_is_another_account(server, account):
    user = account("both")
    with opened(server, SECOND_HOST) as one:
        one.register(user.name, "other secret")
    assert can_log_in(server, user.name, "other secret", SECOND_HOST)
    assert not can_log_in(server, user.name, "other secret")


@pytest.mark.parametrize(
    "fields",
    ["", "<username>incomplete</username>", "<password>secret</password>"]
    + ["<username/><password>secret</password>", "<username>incomplete</username><password/>"],
    ids=("nothing", "no password", "no name", "empty name", "empty password"),
)
def test_missing_fields(server, fields):
    """XEP-0077 §3.1: not-acceptable, or bad-request of RFC 6120 for what is no request at all."""
    with opened(server) as one:
        answer = one.iq("set", f"<query xmlns='{wire.REGISTER}'>{fields}</query>")
        assert wire.error_of(answer) in ("not-acceptable", "bad-request")
    assert not can_log_in(server, "incomplete", "")


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a@b",
        "a/b",
        "a&b",
        "a<b",
        "a'b",
        'a"b',
        "a:b",
        "x" * 1024,
        "\u00a0",
        "a\u0007b",
        "\u2028",
        "a\u202eb",
    ],
    ids=ascii,
)
def test_names_that_are_no_localpart(server, name):
    """RFC 7622 §3.3.1, and lengths over 1023 bytes. A control character ends the stream before that."""
    with opened(server) as one:
        with pytest.raises(wire.Refused) as refusal:
            one.register(name, "secret")
        allowed = {"not-acceptable", "jid-malformed", "bad-request", "forbidden", "not-allowed"}
        if name == "a\u0007b":
            allowed = {"not-well-formed", "restricted-xml"}
        assert str(refusal.value) in allowed


@pytest.mark.parametrize("name", ("o-k_1.x+y=z", "jörg", "потребител", "名前", "a" * 60), ids=ascii)
def test_names_that_are_fine(server, name):
    with opened(server) as one:
        one.register(name, "secret")
    assert can_log_in(server, name, "secret")


@pytest.mark.ours("the reference keeps the case of what it prepared differently")
def test_names_are_prepared(server):
    """RFC 7622 §3.3: full width and capital letters become plain ones."""
    with opened(server) as one:
        one.register("ＷＩＤＥMixed", "secret")
        one.plain("widemixed", "secret")
        assert one.bind().startswith("widemixed@localhost/")


@pytest.mark.parametrize(
    "password", ("x", " leading and trailing ", "pä§§wörd ✓", "c0unt&<>'\"", "p" * 500), ids=ascii
)
def test_passwords(server, password):
    name = f"password{len(password)}x{ord(password[0])}"
    with opened(server) as one:
        one.register(name, password)
        one.plain(name, password)
        one.bind()
    with opened(server) as one:
        one.scram("SCRAM-SHA-1", name, password)
        one.bind()


def test_registered_is_told_in_a_session(server, account):
    """XEP-0077 §3.1: who has an account is told so, with the name."""
    user = account("known")
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        query = one.iq("get", FORM).find(QUERY)
        assert query.find(f"{{{wire.REGISTER}}}registered") is not None
        assert query.findtext(f"{{{wire.REGISTER}}}username") == user.name


async def test_change_of_password(server, clients, account):
    user = account("changing")
    client = await clients.login(user)
    await client.plugin["xep_0077"].change_password("new secret", jid="localhost")
    await client.leave()
    assert not can_log_in(server, user.name, user.password)
    assert can_log_in(server, user.name, "new secret")
    with opened(server) as one:
        one.scram("SCRAM-SHA-1", user.name, "new secret")


def test_password_of_another_stays(server, account):
    """The user name in the request is no authority."""
    user, other = account("changing"), account("victim")
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        answer = one.iq(
            "set",
            f"<query xmlns='{wire.REGISTER}'><username>{other.name}</username><password>stolen</password></query>",
        )
        assert answer.get("type") == "error"
    assert can_log_in(server, other.name, other.password)
    assert can_log_in(server, user.name, user.password)


async def test_removal_takes_all_data_along(server, clients, account):
    """XEP-0077 §3.2: whoever takes the name next finds nothing of the one before."""
    user, contact = account("leaving"), account("staying")
    client, friend = await clients.login(user, "home"), await clients.login(contact)
    client.send_presence(pto=contact.jid, ptype="subscribe")
    await friend.presence("subscribe", user.jid)
    friend.send_presence(pto=user.jid, ptype="subscribed")
    await client.presence("subscribed", contact.jid)
    friend.send_presence(pto=user.jid, ptype="subscribe")
    await client.presence("subscribe", contact.jid)
    client.send_presence(pto=contact.jid, ptype="subscribed")
    await friend.presence("subscribed", user.jid)

    await client.ask(None, "<vCard xmlns='vcard-temp'><FN>Gone tomorrow</FN></vCard>", "set")
    private = "<query xmlns='jabber:iq:private'><notes xmlns='urn:test'>{}</notes></query>"
    await client.ask(None, private.format("mine"), "set")

    other = clients.new(user, "raw")
    await client.plugin["xep_0077"].cancel_registration(jid="localhost")
    await friend.presence("unavailable", client.boundjid.full)
    await client.leave()
    assert not can_log_in(server, user.name, user.password)

    friend.send_message(mto=user.jid, mbody="to nobody", mtype="chat")
    await friend.message(kind="error")

    with opened(server) as one:
        one.register(user.name, "second owner")
    other.password = "second owner"
    await other.connect_and_bind()
    assert await other.roster_items() == {}
    other.send_presence()
    await other.message(WELCOME_BODY)
    await other.settle()
    assert other.bodies() == []
    try:
        assert (await other.ask(None, "<vCard xmlns='vcard-temp'/>")).find(
            "{vcard-temp}vCard/{vcard-temp}FN"
        ) is None
    except IqError as error:
        assert error.condition == "item-not-found"
    answer = await other.ask(None, private.format(""))
    assert answer.findtext("{jabber:iq:private}query/{urn:test}notes") in (None, "")
    # The new owner of the name must not inherit what the contact had granted to the old one.
    await other.settle()
    await friend.settle()
    assert not any(source and source.startswith(contact.jid) for _, source in other.presences())


async def test_removal_ends_the_other_sessions(clients, account):
    user = account("leaving")
    one, two = await clients.login(user, "one"), await clients.login(user, "two")
    await one.plugin["xep_0077"].cancel_registration(jid="localhost")
    await asyncio.wait_for(two.gone.wait(), 15)


async def test_welcome_comes_once(clients, account):
    user = account("greeted", greeted=False)
    client = await clients.login(user)
    welcome = await client.message(WELCOME_BODY)
    assert welcome.xml.get("from") == "localhost"
    await client.leave()
    client = await clients.login(user)
    await client.settle()
    assert client.bodies() == []


@pytest.mark.ours("subject and stamp of jabberd 1.4's welcome")
async def test_welcome_has_its_subject(clients, account):
    client = await clients.login(account("greeted", greeted=False))
    assert (await client.message(WELCOME_BODY))["subject"] == WELCOME_SUBJECT


async def test_admins_are_notified(server, clients, account):
    """`<register notify="yes">`: a message to each administrator."""
    admin = Account(ADMIN.partition("@")[0], "localhost", wire.admin_password(server, ADMIN))
    client = await clients.login(admin)
    user = account("announced")
    while True:
        if user.name in (await client.message())["body"]:
            break


def test_closed_registration(start_server):
    """Without `<register>` nobody registers, and the features say so."""
    server = start_server(register=False)
    with wire.Wire(server, direct_tls=True) as one:
        features = one.open()
        assert features.find("{http://jabber.org/features/iq-register}register") is None
        answer = one.iq("get", FORM)
        assert answer.get("type") == "error"
        with pytest.raises(wire.Refused):
            one.register("nobody", "secret")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused, match="not-authorized"):
            one.plain("nobody", "secret")


@pytest.mark.ours("its element in jabber.xml")
def test_registrations_of_one_address_are_limited(start_server):
    """`<registration-rate>`; a session's change of password is no registration."""
    rate = "<registration-rate xmlns='urn:jabber:config:3' accounts='2' seconds='3600' exempt='192.0.2.1'/>"
    server = start_server(extra=rate)
    for name in ("one", "two"):
        with opened(server) as one:
            one.register(name, "secret")
    for _ in range(2):
        with opened(server) as one:
            with pytest.raises(wire.Refused) as refusal:
                one.register("three", "secret")
            assert str(refusal.value) in (
                "resource-constraint",
                "policy-violation",
                "not-allowed",
                "not-acceptable",
            )
    assert not can_log_in(server, "three", "secret")
    with wire.Wire(server, direct_tls=True) as one:
        one.login("one", "secret")
        change = "<username>one</username><password>other</password>"
        assert one.iq("set", f"<query xmlns='{wire.REGISTER}'>{change}</query>").get("type") == "result"


@pytest.mark.ours("log lines of jabberd 1.4")
def test_registration_is_logged(server, account):
    user = account("logged")
    wire.soon(lambda: any(f"{user.jid}" in line and "registered" in line for line in server.error_log()))
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
        one.send(f"<iq type='set' id='bye'><query xmlns='{wire.REGISTER}'><remove/></query></iq>")
        one.ended()
    wire.soon(lambda: any(user.name in line and "nregister" in line for line in server.error_log()))


@pytest.mark.ours("record.log of jabberd 1.4")
def test_refused_registrations_are_in_the_record(server, account):
    """As a failed login, with the number of the error: rules that ban an address match this line."""
    user = account("logged")
    with opened(server) as one, pytest.raises(wire.Refused):
        one.register(user.name, "x")
    wire.soon(lambda: any(f" {user.jid} login fail 127.0.0.1 409" in line for line in server.record()), 2)
