"""Accounts that come from other servers and go to them, and what the server tells who watches it."""

import pathlib
import subprocess
import urllib.request
import xml.etree.ElementTree as ElementTree

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import clients as slixmpp_clients
import servers
from conftest import Account, make_account, scratch

pytestmark = pytest.mark.ours("jabberctl and its data")
FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures" / "xep0227"
PIE = "urn:xmpp:pie:0"
# {SHA} of "pencil", as jabberd 1.4.4's mod_auth_crypt kept it.
OLD_HASH = "{SHA}0vxRJJChUDZGC1SJQBQ51tpUB/o="


def jabberctl(server, *arguments):
    program = pathlib.Path(server.command()[0]).with_name("jabberctl")
    done = subprocess.run([program, "-c", server.config, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def jabberd(request):
    """A server that is not started yet, so that files can be put into its spool."""
    made = []

    def make(**options):
        made.append(servers.Jabberd(scratch(f"{request.node.name}-{len(made)}"), **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


async def log_in(server, account, mechanism):
    clients = slixmpp_clients.Clients(server)
    try:
        client = await clients.login(account, mechanism=mechanism)
        return client.plugin["feature_mechanisms"].mech.name
    finally:
        await clients.end()


async def test_a_client_gets_in_by_an_old_hash_when_it_connects_again(jabberd):
    server = jabberd()
    old = server.directory / "spool" / servers.HOST / "romeo.xml"
    old.parent.mkdir(parents=True)
    old.write_text(
        f"<xdb><password xmlns='jabber:iq:auth' xdbns='jabber:iq:auth'/>"
        f"<crypt xmlns='jabber:iq:auth:crypt' xdbns='jabber:iq:auth:crypt'>{OLD_HASH}</crypt></xdb>"
    )
    server.start()
    romeo = Account("romeo", servers.HOST, "pencil")
    # All of SCRAM fails, and then the stream ends: too many failed logins.
    with pytest.raises(Exception):  # noqa: B017: slixmpp's own, or ours
        await log_in(server, romeo, "SCRAM-SHA-256")
    assert await log_in(server, romeo, None) == "PLAIN"
    assert (await log_in(server, romeo, None)).startswith("SCRAM-SHA-")


@pytest.mark.parametrize(
    "document, password", [("prosody", "pässword"), ("ejabberd/main.xml", "secret1")], ids=("prosody", "ejabberd")
)
async def test_users_of_other_servers_log_in_with_their_passwords(jabberd, document, password):
    server = jabberd(extra="")
    # The documents are of localhost; the server has other hosts.
    place = server.directory / "documents"
    for path in FIXTURES.rglob("*.xml"):
        copy = place / path.relative_to(FIXTURES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text().replace("jid='localhost'", f"jid='{servers.HOST}'"))
    server.start()
    assert "accounts=1" in jabberctl(server, "import", "xep0227", str(place / document))
    romeo = Account("romeo", servers.HOST, password)
    # They have keys for one mechanism only, so no other is offered.
    assert (await log_in(server, romeo, None)).startswith("SCRAM-SHA-1")
    assert await log_in(server, romeo, "PLAIN") == "PLAIN"
    # The password was seen, so now there are keys for all.
    assert (await log_in(server, romeo, None)).startswith("SCRAM-SHA-512")


async def test_prosody_takes_what_is_exported(jabberd, request):
    server = jabberd()
    server.start()
    romeo = make_account(server, "romeo", password="pencil")
    jabberctl(server, "export", str(server.directory / "all.xml"))
    prosody = servers.Prosody(scratch(f"{request.node.name}-prosody"))
    config = prosody.config.read_text()
    prosody.config.write_text(config.replace('authentication =', 'storage = "xep0227"\nauthentication =', 1))
    # Prosody keeps a document for each user, as USER@HOST.xml.
    ElementTree.register_namespace("", PIE)
    root = ElementTree.parse(server.directory / "all.xml").getroot()
    for host in root:
        for user in host:
            one = ElementTree.Element(f"{{{PIE}}}server-data")
            inner = ElementTree.SubElement(one, f"{{{PIE}}}host", jid=host.get("jid"))
            # Of several sets of keys it takes the first: it knows one hash at a time.
            inner.append(user)
            ElementTree.ElementTree(one).write(prosody.directory / "data" / f"{user.get('name')}@{host.get('jid')}.xml")
    prosody.start()
    try:
        assert await log_in(prosody, romeo, "PLAIN") == "PLAIN"
    finally:
        prosody.stop()


async def test_metrics_are_openmetrics(jabberd):
    port = servers.free_ports(1)[0]
    server = jabberd(extra=f"<metrics xmlns='urn:jabber:config:3' port='{port}'/>").start()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        text = answer.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["jabber_tick_seconds"].type == "histogram"
    assert families["jabber_stanzas"].type == "counter"
    assert families["jabber_build"].type == "info"
    assert families["jabber_database_bytes"].unit == "bytes"
    assert all(family.documentation for family in families.values())
