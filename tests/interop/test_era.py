"""Services of the years of jabberd 1.4, asked for by programs that know them: slixmpp and Net::Jabber."""

import pathlib
import subprocess

import pytest

import wire
from servers import ADMIN
from test_old_programs import has_net_jabber

OFFLINE = "http://jabber.org/protocol/offline"
DATA = "{jabber:x:data}"
BROWSE = """<browse>
  <service type="icq" jid="icq.localhost" name="ICQ"><ns>jabber:iq:gateway</ns><ns>jabber:iq:register</ns></service>
  <conference type="public" jid="rooms.localhost" name="Rooms"/></browse>"""


@pytest.mark.ours("the reference does not have it")
async def test_flexible_retrieval(clients, account):
    """XEP-0013 §2: count, headers, view, remove, fetch and purge, by slixmpp's own plugin."""
    user, friend = account(), await clients.login(account())
    for body in ("one", "two", "three"):
        friend.send_message(mto=user.jid, mbody=body, mtype="chat")
    await friend.settle()
    client = await clients.bind(user)
    client.register_plugin("xep_0013")
    offline = client.plugin["xep_0013"]
    count = await offline.get_count()
    fields = {one.get("var"): one.findtext(f"{DATA}value") for one in count.xml.iter(f"{DATA}field")}
    assert fields == {"FORM_TYPE": OFFLINE, "number_of_messages": "3"}
    headers = await offline.get_headers()
    nodes = [node for _, node, _ in sorted(headers["disco_items"]["items"], key=lambda item: item[1])]
    senders = {name for _, _, name in headers["disco_items"]["items"]}
    assert len(nodes) == 3 and senders == {friend.boundjid.full}
    await offline.view([nodes[1]])
    assert (await client.message("two"))["body"] == "two"
    await offline.remove([nodes[0], nodes[1]])
    await offline.fetch()
    assert (await client.message("three"))["body"] == "three"
    # Nothing comes unasked; what is said now comes at once.
    client.send_presence()
    friend.send_message(mto=user.jid, mbody="now", mtype="chat")
    await client.message("now")
    assert client.bodies() == []
    await offline.purge()
    fields = {one.get("var"): one.findtext(f"{DATA}value") for one in (await offline.get_count()).xml.iter(f"{DATA}field")}
    assert fields["number_of_messages"] == "0"


@pytest.mark.ours("the reference is not told whom to name")
async def test_contact_addresses(clients, account):
    """XEP-0157 §3: the form in the answer to disco#info, read by slixmpp's data forms."""
    client = await clients.login(account())
    info = await client.plugin["xep_0030"].get_info("localhost")
    form = info.xml.find(f".//{DATA}x")
    fields = {
        field.get("var"): [value.text for value in field.findall(f"{DATA}value")]
        for field in form.findall(f"{DATA}field")
    }
    assert fields["FORM_TYPE"] == ["http://jabber.org/network/serverinfo"]
    assert fields["admin-addresses"] == [f"xmpp:{ADMIN}"]


@pytest.mark.ours("jabber.xml's <dir> and <to>")
def test_stanza_files_and_log_lines(start_server, tmp_path):
    """A script drops a file and a user reads it; the log's lines reach an admin as headlines."""
    drop = tmp_path / "drop"
    drop.mkdir()
    one = start_server(
        extra=f"""<service id="drop.localhost"><dir><in>{drop}</in></dir></service>
          <log id="people"><host/><logtype>notice</logtype><format>%t %s</format><to>reader@localhost</to></log>"""
    )
    with wire.Wire(one, direct_tls=True) as stream:
        stream.open("localhost")
        stream.register("reader", "pässword")
        stream.close()
    with wire.Wire(one, direct_tls=True) as stream:
        stream.login("reader", "pässword", "desk")
        stream.send("<presence/>")
        stream.ping("localhost")
        (drop / "new").write_text("<message to='reader@localhost' type='chat'><body>from a file</body></message>")
        (drop / "new").rename(drop / "1.stanza")
        message = stream.until(lambda stanza: stanza.get("from") == "drop.localhost")
        assert message.findtext("{jabber:client}body") == "from a file"
        # Somebody else registers, of which the log has a line.
        with wire.Wire(one, direct_tls=True) as other:
            other.open("localhost")
            other.register("newcomer", "pässword")
            other.close()
        line = stream.until(lambda stanza: stanza.get("type") == "headline")
        assert line.get("from") == "localhost"
        assert line.findtext("{jabber:client}subject") == "Log Packet from localhost"
        assert "user newcomer@localhost registered account" in line.findtext("{jabber:client}body")
    # The file went when what it said was committed.
    assert list(drop.iterdir()) == []


@pytest.mark.skipif(not has_net_jabber(), reason="needs libnet-jabber-perl")
@pytest.mark.ours("the reference does not have it")
def test_net_jabber_finds_services(start_server):
    """jabber:iq:agents with and without an address, jabber:iq:browse of the host and of oneself."""
    one = start_server(jsm=BROWSE + "<modules xmlns='urn:jabber:config:3'><off>mod_search</off></modules>")
    with wire.Wire(one, direct_tls=True) as stream:
        stream.open("localhost")
        stream.register("perl", "secret")
        stream.close()
    script = pathlib.Path(__file__).with_name("old_services.pl")
    told = subprocess.run(
        ["perl", script, "localhost", str(one.tls_port), "perl", "secret"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()
    agents = ["agent icq.localhost icq register: ICQ", "agent rooms.localhost public groupchat: Rooms"]
    assert told == [
        "authenticated ok",
        *agents,
        *agents,
        "browse service jabber localhost",
        "item service icq icq.localhost jabber:iq:gateway jabber:iq:register",
        "item conference public rooms.localhost ",
        "browse user  perl@localhost",
        "item user client perl@localhost/perl ",
        "left",
    ]
