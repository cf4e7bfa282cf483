"""Ad-hoc commands (XEP-0050), administration by them (XEP-0133) and invitations (XEP-0401, XEP-0445), with slixmpp."""

import re

import pytest
from slixmpp.exceptions import IqError

import wire
from clients import TIMEOUT_SECONDS
from conftest import Account
from servers import ADMIN

pytestmark = pytest.mark.ours("commands are each server's own")

COMMANDS = "http://jabber.org/protocol/commands"
SERVICE = "http://jabber.org/protocol/admin"
FORM = "{jabber:x:data}"


async def admin_of(server, clients):
    """A session of the admin, with slixmpp's plugins for commands."""
    name, _, host = ADMIN.partition("@")
    client = clients.new(Account(name, host, wire.admin_password(server, ADMIN)))
    for plugin in ("xep_0050", "xep_0133"):
        client.register_plugin(plugin)
    return await client.connect_and_bind()


async def run(client, node, fields):
    """One command of one form: execute, fill in, complete."""
    first = await client.plugin["xep_0050"].send_command("localhost", node, action="execute", timeout=TIMEOUT_SECONDS)
    form = client.plugin["xep_0004"].make_form(ftype="submit")
    for var, value in fields.items():
        form.add_field(var=var, value=value)
    return await client.plugin["xep_0050"].send_command(
        "localhost", node, action="complete", payload=form, sessionid=first["command"]["sessionid"], timeout=TIMEOUT_SECONDS
    )


async def test_the_menu(server, clients, account):
    admin = await admin_of(server, clients)
    items = await admin.plugin["xep_0050"].get_commands("localhost", timeout=TIMEOUT_SECONDS)
    nodes = {item[1] for item in items["disco_items"]["items"]}
    assert f"{SERVICE}#add-user" in nodes and "urn:xmpp:invite#create-account" in nodes
    user = clients.new(account("menu"))
    user.register_plugin("xep_0050")
    await user.connect_and_bind()
    items = await user.plugin["xep_0050"].get_commands("localhost", timeout=TIMEOUT_SECONDS)
    assert not any(item[1].startswith(SERVICE) for item in items["disco_items"]["items"])
    with pytest.raises(IqError, match="forbidden"):
        await user.plugin["xep_0050"].send_command("localhost", f"{SERVICE}#add-user", timeout=TIMEOUT_SECONDS)


async def test_an_admin_adds_disables_and_deletes(server, clients):
    admin = await admin_of(server, clients)
    user = Account("byadmin", "localhost", "R0m30")
    done = await run(admin, f"{SERVICE}#add-user", {"accountjid": user.jid, "password": user.password})
    assert done["command"]["status"] == "completed"
    session = await clients.bind(user)
    await run(admin, f"{SERVICE}#disable-user", {"accountjids": [user.jid]})
    await session.gone.wait()
    await run(admin, f"{SERVICE}#reenable-user", {"accountjids": [user.jid]})
    session = await clients.bind(user)
    await run(admin, f"{SERVICE}#delete-user", {"accountjids": [user.jid]})
    await session.gone.wait()
    with pytest.raises(IqError):
        await run(admin, f"{SERVICE}#delete-user", {"accountjids": [user.jid]})


async def test_slixmpps_own_session_of_a_command(server, clients):
    """The plugin's state machine, as an application uses it."""
    admin = await admin_of(server, clients)
    over = admin.loop.create_future()

    def asked(iq, session):
        form = admin.plugin["xep_0004"].make_form(ftype="submit")
        form.add_field(var="max_items", value="25")
        session["payload"] = form
        session["next"] = lambda iq, session: over.set_result(iq)
        admin.plugin["xep_0050"].complete_command(session)

    admin.plugin["xep_0133"].get_registered_users_list(
        jid="localhost", session={"next": asked, "error": lambda iq, session: over.set_exception(IqError(iq))}
    )
    done = await over
    users = [value.text for value in done.xml.iter(f"{FORM}value")]
    assert ADMIN in users


async def test_an_invitation_becomes_an_account_and_a_contact(server, clients, account):
    inviter = account("inviter")
    client = clients.new(inviter)
    client.register_plugin("xep_0050")
    await client.login()
    made = await client.plugin["xep_0050"].send_command("localhost", "urn:xmpp:invite#invite", timeout=TIMEOUT_SECONDS)
    uri = next(field for field in made.xml.iter(f"{FORM}field") if field.get("var") == "uri").findtext(f"{FORM}value")
    token = re.fullmatch(rf"xmpp:{re.escape(inviter.jid)}\?roster;preauth=(\w+);ibr=y", uri).group(1)
    guest = Account("guest", "localhost", "secret")
    with wire.Wire(server, direct_tls=True) as one:
        features = one.open()
        assert features.find("{urn:xmpp:ibr-token:0}register") is not None
        assert "item-not-found" in wire.error_of(one.iq("set", "<preauth xmlns='urn:xmpp:pars:0' token='guess'/>"))
        assert one.iq("set", f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>").get("type") == "result"
        one.register(guest.name, guest.password)
    push = await client.push(guest.jid)
    assert push["subscription"] == "both"
    items = await (await clients.bind(guest)).roster_items()
    assert items[inviter.jid]["subscription"] == "both"
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        assert "item-not-found" in wire.error_of(one.iq("set", f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>"))
