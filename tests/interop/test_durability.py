"""What was acknowledged is on disk: the server is killed in the middle of its work, and nothing is lost or doubled.

A stream's stanzas are handled in order (RFC 6120 §10.1), and an answer leaves only when what it follows is on disk. So
the answer to a ping acknowledges all that was sent before it.
"""

import datetime
import os
import random
import threading
import time

import pytest

import clients as slixmpp_clients
import wire
from conftest import make_account, take_welcome
from test_messages import check_stamp
from test_roster import befriend

# INTEROP_KILLS=1000 for a long night.
KILLS = int(os.environ.get("INTEROP_KILLS", "20"))
SENDERS = 3
BATCH = 4
ROOMY = {"offline-messages-max": 1_000_000, "offline-bytes-max": 1_000_000_000}


async def test_a_message_sent_while_away_outlives_a_kill(start_server):
    """It arrives once, with the stamp of its sending, after `kill -9` and a new start in between."""
    server = start_server()
    romeo, juliet = make_account(server, "romeo"), make_account(server, "juliet")
    take_welcome(server, juliet)
    clients = slixmpp_clients.Clients(server)
    try:
        since = datetime.datetime.now(datetime.timezone.utc)
        sender = await clients.login(romeo)
        sender.send_message(juliet.jid, "Good night, good night!", mtype="chat")
        await sender.settle()
        until = datetime.datetime.now(datetime.timezone.utc)
        server.kill()
        server.start()
        receiver = await clients.login(juliet)
        message = await receiver.message("Good night, good night!")
        check_stamp(message, since)
        stamp = datetime.datetime.fromisoformat(
            message.xml.find("{urn:xmpp:delay}delay").get("stamp").replace("Z", "+00:00")
        )
        assert stamp <= until, "the stamp is of the delivery"
        await receiver.settle()
        assert receiver.bodies() == []
        await receiver.leave()
        server.kill()
        server.start()
        receiver = await clients.login(juliet)
        await receiver.settle()
        assert receiver.bodies() == []
    finally:
        await clients.end()


async def test_all_data_of_an_account_outlives_a_kill(start_server):
    """Account, password, roster, subscriptions both ways and pending, vCard, private XML."""
    server = start_server()
    users = [make_account(server) for _ in range(3)]
    for user in users:
        take_welcome(server, user)
    clients = slixmpp_clients.Clients(server)
    try:
        one, two = await clients.login(users[0]), await clients.login(users[1])
        await befriend(one, two)
        await one.update_roster(users[1].jid, name="Two", groups=["Friends"])
        one.send_presence(pto=users[2].jid, ptype="subscribe")
        for payload in (
            "<vCard xmlns='vcard-temp'><FN>Number One</FN></vCard>",
            "<query xmlns='jabber:iq:private'><notes xmlns='urn:test'>mine</notes></query>",
        ):
            await one.ask(None, payload, "set")
        await one.plugin["xep_0077"].change_password("new secret", jid="localhost")
        await one.settle()
        roster = await one.roster_items()
        server.kill()
        server.start()

        one = await clients.login(users[0], password="new secret")
        assert await one.roster_items() == roster
        assert roster[users[1].jid] == {
            "jid": users[1].jid,
            "name": "Two",
            "subscription": "both",
            "groups": ["Friends"],
        }
        assert roster[users[2].jid]["ask"] == "subscribe"
        three = await clients.login(users[2])
        await three.presence("subscribe", users[0].jid)
        card = await one.plugin["xep_0054"].get_vcard(local=False)
        assert card["vcard_temp"]["FN"] == "Number One"
        answer = await one.ask(None, "<query xmlns='jabber:iq:private'><notes xmlns='urn:test'/></query>")
        assert answer.findtext("{jabber:iq:private}query/{urn:test}notes") == "mine"
    finally:
        await clients.end()


class Load:
    """Senders that write to an absent account, and one that registers accounts, until the server goes away."""

    def __init__(self, server, senders, receiver):
        self.server, self.senders, self.receiver = server, senders, receiver
        # By sender: how many messages were sent, and which of them an answer covered.
        self.sent = [0] * len(senders)
        self.answered = [set() for _ in senders]
        self.registered = []
        self.tried = 0
        self.progress = 0
        self.threads = []
        self.failures = []

    def begin(self):
        jobs = [(self.send, (number,)) for number in range(len(self.senders))] + [(self.register, ())]
        self.threads = [threading.Thread(target=self.watch, args=job, daemon=True) for job in jobs]
        for thread in self.threads:
            thread.start()

    def watch(self, job, arguments):
        try:
            job(*arguments)
        except (OSError, wire.Closed):
            # The server went away, which is what this is about.
            pass
        except wire.Refused as refused:
            if str(refused) != "system-shutdown":
                self.failures.append(refused)
        except Exception as failure:  # pylint: disable=broad-except
            self.failures.append(failure)

    def send(self, number):
        user = self.senders[number]
        with wire.Wire(self.server, direct_tls=True) as one:
            one.login(user.name, user.password)
            while True:
                counts = range(self.sent[number], self.sent[number] + BATCH)
                self.sent[number] += BATCH
                one.send(
                    "".join(
                        f"<message to='{self.receiver.jid}' type='chat'><body>{number} {count}</body></message>"
                        for count in counts
                    )
                )
                assert one.ping().get("type") == "result"
                self.answered[number].update(counts)
                self.progress += 1

    def register(self):
        with wire.Wire(self.server, direct_tls=True) as one:
            one.open()
            while True:
                self.tried += 1
                name = f"made{self.tried}"
                one.register(name, "secret")
                self.registered.append(name)
                self.progress += 1

    def end(self):
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()
        assert self.failures == []


def drain(server, receiver):
    """Everything that waits for an account, in order."""
    bodies = []
    with wire.Wire(server, direct_tls=True) as one:
        one.login(receiver.name, receiver.password)
        one.send("<presence/><iq type='get' id='all' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
        while True:
            stanza = one.read()
            assert stanza is not None
            if stanza.get("id") == "all":
                break
            if stanza.tag.endswith("message"):
                assert stanza.find("{urn:xmpp:delay}delay") is not None
                bodies.append(stanza.findtext("{jabber:client}body"))
        one.close()
    return bodies


@pytest.mark.ours("others do not promise it")
def test_kills_at_any_moment_lose_and_double_nothing(start_server):
    seed = int(os.environ.get("INTEROP_SEED", random.randrange(1 << 32)))
    print(f"INTEROP_SEED={seed}")
    dice = random.Random(seed)
    server = start_server(limits=ROOMY)
    senders = [make_account(server, "sender") for _ in range(SENDERS)]
    receiver = make_account(server, "receiver")
    take_welcome(server, receiver)
    load = Load(server, senders, receiver)
    got = [[] for _ in senders]

    def take():
        for body in drain(server, receiver):
            number, count = map(int, body.split())
            got[number].append(count)

    for _ in range(KILLS):
        target = load.progress + dice.randint(1, 40)
        load.begin()
        deadline = time.monotonic() + 60
        while load.progress < target:
            assert time.monotonic() < deadline and server.process.poll() is None, server.output()[-4000:]
            assert load.failures == [], load.failures
            time.sleep(0.0005)
        time.sleep(dice.random() * 0.01)
        if dice.random() < 0.8:
            server.kill()
        else:
            # In the same way when it is asked to stop in the middle of the work.
            assert server.stop() == 0, server.output()[-4000:]
        load.end()
        server.start()
        if dice.random() < 0.3:
            take()
    take()

    for number, counts in enumerate(got):
        assert counts == sorted(set(counts)), f"sender {number}: doubled or out of order"
        assert set(counts) <= set(range(load.sent[number]))
    # What a sender wrote in the batch that the kill cut off may be there or not; what was answered must be.
    lost = [
        (number, count)
        for number, counts in enumerate(load.answered)
        for count in sorted(counts - set(got[number]))
    ]
    assert lost == [], lost
    for name in dice.sample(load.registered, min(10, len(load.registered))) + load.registered[-1:]:
        with wire.Wire(server, direct_tls=True) as one:
            one.open()
            one.plain(name, "secret")
            one.bind()


@pytest.mark.ours("how long a start takes is our promise")
def test_serving_again_in_a_second_after_a_kill(start_server):
    server = start_server(limits=ROOMY)
    user = make_account(server)
    server.kill()
    server.start()
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)
    # Tests share their machine, so its clock tells nothing. What nobody else can use up is little, unoptimised as it is.
    assert server.seconds_of_cpu() < 3
