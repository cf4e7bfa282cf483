"""What the tests are given: a DNS, an authority, servers that find each other, and clients.

The network here is one of its own (see `run`): lo alone, with a DNS server of the tests on port 53.
"""

import asyncio
import inspect
import os
import pathlib
import re

import pytest

import authority as authorities
import clients as slixmpp_clients
import homes
import names as dns

TEST_SECONDS = 300

OURS, THEIRS = "capulet.com", "montague.net"
OUR_ADDRESS, THEIR_ADDRESS = "127.0.1.1", "127.0.1.2"


def pytest_configure(config):
    config.addinivalue_line("markers", "ours(why): what only our server promises; the reference is not asked")


def pytest_collection_modifyitems(items):
    if os.environ.get("HOME_SERVER", "jabberd") == "jabberd":
        return
    for item in items:
        mark = item.get_closest_marker("ours")
        if mark:
            item.add_marker(pytest.mark.skip(reason=f"ours alone: {mark.args[0]}"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs a coroutine test in a loop of its own, bounded, and ends its clients in the same loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    world = pyfuncitem.funcargs.get("world")

    async def run():
        try:
            await asyncio.wait_for(pyfuncitem.obj(**wanted), TEST_SECONDS)
        finally:
            if world:
                await world.clients.end()

    asyncio.run(run())
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """A failing test shows what the servers logged."""
    report = yield
    if report.when == "call" and report.failed and "world" in item.funcargs:
        for home in item.funcargs["world"].homes:
            lines = [line for line in home.log().splitlines() if "debug" not in line or "s2s" in line][-60:]
            report.sections.append((f"{home.kind} of {home.domain}", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def nameserver():
    one = dns.Names()
    yield one
    one.stop()


@pytest.fixture(scope="session")
def authority():
    return authorities.Authority(pathlib.Path(os.environ["INTEROP_SCRATCH"]) / "certificates")


class World:
    """The servers of one test, and what DNS says of them."""

    def __init__(self, directory, nameserver, authority):
        self.directory, self.dns, self.authority = directory, nameserver, authority
        self.clients = slixmpp_clients.Clients(None)
        self.homes = []
        self.ends = []

    def home(self, kind, domain, address, listed=True, **options):
        """A server that is not started yet. `listed` gives it an address in DNS."""
        options.setdefault("certificate", self.authority.certificate(domain, *options.get("hosts", ())))
        options.setdefault("authority", self.authority.file)
        name = f"{len(self.homes)}-{domain}"
        one = kind(self.directory / name, domain, address, **options)
        self.homes.append(one)
        if listed:
            for each in (domain, *options.get("hosts", ())):
                self.dns.address(each, address)
        return one

    def ours(self, **options):
        """The server that is tested, at home in capulet.com."""
        options.setdefault("address", OUR_ADDRESS)
        return self.home(homes.tested(), options.pop("domain", OURS), **options).start()

    def theirs(self, kind=homes.Prosody, **options):
        """Another one, at home in montague.net."""
        options.setdefault("address", THEIR_ADDRESS)
        return self.home(kind, options.pop("domain", THEIRS), **options).start()

    async def user(self, home, name, domain=None):
        """A new account with a client that is online."""
        return await self.login(home, home.account(name, domain))

    async def login(self, home, account, resource="here", **options):
        """A client with its presence sent. Its own echo, which jabberd2 does not send, is taken away."""
        client = await self.clients.bind(account, resource, server=home, direct_tls=True, **options)
        await client.get_roster()
        client.send_presence()
        await client.settle()
        client.inbox[:] = [one for one in client.inbox if one["from"] != client.boundjid.full]
        return client

    async def couple(self, home, away):
        """Juliet here, Romeo there, both online."""
        return await self.user(home, "juliet"), await self.user(away, "romeo")

    def end(self):
        for one in self.ends + self.homes:
            one.stop()


@pytest.fixture
def world(request, nameserver, authority):
    nameserver.clear()
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", request.node.name)
    one = World(pathlib.Path(os.environ["INTEROP_SCRATCH"]) / name, nameserver, authority)
    yield one
    one.end()


async def until(check, seconds=60):
    """Waits for something outside of the streams, while the clients go on."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not check():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)


def account_of(client):
    """To log in again."""
    return homes.Account(client.boundjid.user, client.boundjid.host, client.password)


async def talk(one, other, first="Wherefore art thou?", second="Call me but love."):
    """A message each way. The first waits for whatever it takes to get there."""
    one.send_message(other.boundjid.bare, first, mtype="chat")
    got = await other.message(first)
    assert got["from"] == one.boundjid.full
    other.send_message(got["from"], second, mtype="chat")
    assert (await one.message(second))["from"] == other.boundjid.full


async def refused(client, to, body="Art thou there?"):
    """Sends a message that must come back; returns condition and text of the error."""
    client.send_message(to, body, mtype="chat")
    error = await client.message(kind="error")
    assert error["from"] == to, error
    return error["error"]["condition"], error["error"]["text"]
