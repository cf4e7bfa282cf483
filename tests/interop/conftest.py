"""What the tests are given: a running server, fresh accounts, clients; and asyncio for tests that are coroutines."""

import asyncio
import collections
import inspect
import itertools
import os
import pathlib

import pytest

import clients as slixmpp_clients
import servers
import wire

TEST_SECONDS = 300

Account = collections.namedtuple("Account", "name host password")
Account.jid = property(lambda self: f"{self.name}@{self.host}")


def pytest_configure(config):
    config.addinivalue_line("markers", "ours(why): what only our server promises; the reference is not asked")


def pytest_collection_modifyitems(items):
    if os.environ.get("SERVER", "jabberd") == "jabberd" or os.environ.get("INTEROP_ALL"):
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

    async def run():
        try:
            await asyncio.wait_for(pyfuncitem.obj(**wanted), TEST_SECONDS)
        finally:
            if "clients" in pyfuncitem.funcargs:
                await pyfuncitem.funcargs["clients"].end()

    asyncio.run(run())
    return True


def scratch(name):
    return pathlib.Path(os.environ["INTEROP_SCRATCH"]) / name


@pytest.fixture(scope="session")
def server():
    """The one server that most tests share."""
    one = servers.server_class()(scratch("server")).start()
    yield one
    if isinstance(one, servers.Installed):
        # What is left of the tests on a server that lives on is the log.
        for account in made_accounts:
            remove_account(one, account)
    one.stop()


@pytest.fixture
def start_server(request):
    """Starts servers for one test alone: `start_server(register=False)`."""
    started = []

    def start(**options):
        name = f"{request.node.name.translate(str.maketrans('[]/ ', '____'))}-{len(started)}"
        started.append(servers.server_class()(scratch(name), **options))
        return started[-1].start()

    yield start
    for one in started:
        one.stop()


numbers = itertools.count(1)
made_accounts = []


def make_account(server, prefix="user", host=servers.HOST, password="pässword"):
    """Registers a name that no test used before."""
    account = Account(f"{prefix}{next(numbers)}", host, password)
    with wire.Wire(server, direct_tls=True, name=host) as one:
        one.open(host)
        one.register(account.name, account.password)
        one.close()
    made_accounts.append(account)
    return account


def remove_account(server, account):
    with wire.Wire(server, direct_tls=True, name=account.host) as one:
        one.login(account.name, account.password, host=account.host)
        one.send(f"<iq type='set' id='bye'><query xmlns='{wire.REGISTER}'><remove/></query></iq>")
        one.until(lambda stanza: stanza.get("id") == "bye")


@pytest.fixture
def account(server):
    """Makes accounts: `account("romeo")` has a name that begins so."""

    def make(prefix="user", host=servers.HOST, greeted=True, **options):
        made = make_account(options.pop("server", server), prefix, host, **options)
        if greeted:
            take_welcome(server, made)
        return made

    return make


def take_welcome(server, account):
    """Fetches the welcome message, which waits in the offline storage, so that no test meets it."""
    with wire.Wire(server, direct_tls=True, name=account.host) as one:
        one.login(account.name, account.password, "welcome", account.host)
        one.send("<presence/>")
        one.ping(account.host)
        one.close()


@pytest.fixture
def clients(server):
    """Makes slixmpp clients, and ends them after the test."""
    return slixmpp_clients.Clients(server)
