"""Messages per second from a user of one server to a user of another, and what each message costs both servers in CPU.

    make bench-federation            (or tests/interop/federation/run --bench [COUNT])

Between two of ours and between two Prosodys, in turns, with everything on loopback: clients and servers over TLS, servers
proved by certificates. The clients are bare sockets, so that it is the servers who are measured; the sender stays at most
a window ahead of the receiver. Of each pair of figures the ratio is printed: how many times ours does.
"""

import pathlib
import os
import ssl
import statistics
import sys
import threading
import time

sys.path[:0] = [str(pathlib.Path(__file__).parent / "federation"), str(pathlib.Path(__file__).parent)]

import authority as authorities
import homes
import names as dns
import wire
from conftest import OUR_ADDRESS, OURS, THEIR_ADDRESS, THEIRS

COUNT = 50_000
WINDOW = 2_000
CHUNK = 50
ROUNDS = 3
BODY = "But, soft! what light through yonder window breaks? It is the east, and Juliet is the sun."


class Counter(threading.Thread):
    """Reads a client's socket and counts messages, without parsing."""

    def __init__(self, one):
        super().__init__(daemon=True)
        self.socket, self.count, self.more = one.socket, 0, threading.Condition()
        self.socket.settimeout(30)

    def run(self):
        rest = b""
        while True:
            try:
                data = rest + self.socket.recv(1 << 16)
            except (OSError, ssl.SSLError):
                return
            if data == rest:
                return
            found = data.count(b"</message>")
            rest = data[-9:] if not data.endswith(b"</message>") else b""
            with self.more:
                self.count += found
                self.more.notify()

    def reach(self, count):
        with self.more:
            if not self.more.wait_for(lambda: self.count >= count, 60):
                raise SystemExit(f"{self.count} of {count} messages arrived, and no more")


def login(home, name):
    account = home.account(name)
    one = wire.Wire(home, direct_tls=True, name=home.domain)
    one.login(account.name, account.password, "here", home.domain)
    one.send("<presence/>")
    one.ping(home.domain)
    return one


def run(count, home, away):
    """Seconds, and seconds of CPU of the sender's and the receiver's server."""
    with login(home, "romeo") as sender, login(away, "juliet") as receiver:
        counter = Counter(receiver)
        counter.start()
        message = f"<message to='{receiver.jid}' type='chat' id='m'><body>{BODY}</body></message>"
        # The stream between the servers is not what is measured.
        sender.send(message)
        counter.reach(1)
        cpu = [one.seconds_of_cpu() for one in (home, away)]
        started = time.monotonic()
        for sent in range(0, count, CHUNK):
            counter.reach(1 + sent - WINDOW)
            sender.send(message * CHUNK)
        counter.reach(1 + count)
        seconds = time.monotonic() - started
        return seconds, *(one.seconds_of_cpu() - before for one, before in zip((home, away), cpu))


def measure(kind, count, directory, nameserver, authority):
    nameserver.clear()
    pair = []
    for domain, address in ((OURS, OUR_ADDRESS), (THEIRS, THEIR_ADDRESS)):
        options = {"level": "warn"} if kind is homes.Prosody else {}
        certificate = authority.certificate(domain)
        nameserver.address(domain, address)
        pair.append(
            kind(directory / domain, domain, address, certificate=certificate, authority=authority.file, **options)
        )
    try:
        for one in pair:
            one.start()
        return run(count, *pair)
    finally:
        for one in pair:
            one.stop()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    scratch = pathlib.Path(os.environ["INTEROP_SCRATCH"])
    nameserver, authority = dns.Names(), authorities.Authority(scratch / "certificates")
    taken = {homes.Ours: [], homes.Prosody: []}
    for turn in range(ROUNDS):
        for kind, all_of_it in taken.items():
            all_of_it.append(measure(kind, count, scratch / f"{kind.kind}-{turn}", nameserver, authority))
    rows = {
        kind: [
            statistics.median(count / seconds for seconds, _, _ in all_of_it),
            *(statistics.median(1e6 * one[at] / count for one in all_of_it) for at in (1, 2)),
        ]
        for kind, all_of_it in taken.items()
    }
    print(f"{count} messages of {len(BODY)} characters, median of {ROUNDS} rounds, {os.environ['JABBERD']}")
    print(f"{'':12} {'messages/s':>12} {'sender µs':>12} {'receiver µs':>12}")
    for kind, row in rows.items():
        print(f"{kind.kind:12} " + " ".join(f"{value:12.1f}" for value in row))
    ours, theirs = rows[homes.Ours], rows[homes.Prosody]
    ratios = [ours[0] / theirs[0], theirs[1] / max(ours[1], 0.1), theirs[2] / max(ours[2], 0.1)]
    print(f"{'ratio':12} " + " ".join(f"{value:12.1f}" for value in ratios))


if __name__ == "__main__":
    main()
