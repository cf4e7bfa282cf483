"""A DNS server for the tests: a zone in memory, a list of what was asked, and answers as wrong as a test wants them."""

import contextlib
import ipaddress
import socket
import struct
import threading

A, NS, CNAME, SOA, TXT, AAAA, SRV = 1, 2, 5, 6, 16, 28, 33
TYPES = {A: "A", AAAA: "AAAA", SRV: "SRV", CNAME: "CNAME"}
NO_ERROR, SERVER_FAILURE, NAME_ERROR, REFUSED = 0, 2, 3, 5


def encode(name):
    """A name on the wire, without compression (RFC 1035 §3.1)."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


class Question:
    """What was asked. `raw` is the question as it came: resolvers vary the case of letters and want them back."""

    def __init__(self, packet):
        self.id = struct.unpack("!H", packet[:2])[0]
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii", "replace"))
            at += 1 + packet[at]
        self.spelled = ".".join(labels)
        self.name = self.spelled.lower()
        self.type = struct.unpack("!H", packet[at + 1 : at + 3])[0]
        self.raw = packet[12 : at + 5]

    def __str__(self):
        return f"{self.name} {TYPES.get(self.type, self.type)}"


def record(owner, kind, data, ttl=5):
    """One resource record. `owner` is bytes: a name, or a pointer (b"\\xc0\\x0c" is the question's name)."""
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def answer(question, records=(), code=NO_ERROR, id=None, raw=None, truncated=False, flags=0x8180):
    """A whole answer; `id` and `raw` lie about the id and the question."""
    flags |= code | (0x0200 if truncated else 0)
    head = struct.pack("!HHHHHH", question.id if id is None else id, flags, 1, len(records), 0, 0)
    return head + (question.raw if raw is None else raw) + b"".join(records)


POINTER = b"\xc0\x0c"


class Names:
    """Answers on UDP and TCP port 53 of 127.0.0.1."""

    def __init__(self):
        self.clear()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 53))
        self.tcp = socket.create_server(("127.0.0.1", 53))
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def clear(self):
        self.zone = {}
        self.aliases = {}
        self.asked = []
        # By name: a function of a question that gives the packets to send, instead of the zone.
        self.odd = {}
        self.truncates = False
        self.asked_by_tcp = []

    def stop(self):
        for one in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    # The zone.

    def address(self, name, *addresses, ttl=5):
        """A and AAAA records."""
        for one in addresses:
            ip = ipaddress.ip_address(one)
            self._add(name, AAAA if ip.version == 6 else A, ip.packed, ttl)

    def service(self, name, service, target, port, priority=0, weight=0, ttl=5):
        """An SRV record (RFC 2782); the target "." says that there is no such service."""
        data = struct.pack("!HHH", priority, weight, port) + encode(target)
        self._add(f"{service}._tcp.{name}", SRV, data, ttl)

    def alias(self, name, target, ttl=5):
        self._add(name, CNAME, encode(target), ttl)
        self.aliases[name.lower()] = target.lower()

    def _add(self, name, kind, data, ttl):
        self.zone.setdefault(name.lower(), []).append((kind, data, ttl))

    def forget(self, name):
        for one in [key for key in self.zone if key == name or key.endswith("." + name)]:
            del self.zone[one]

    def was_asked(self, name):
        return [str(question) for question in self.asked if question.name == name or question.name.endswith("." + name)]

    # Answers.

    def _answers(self, packet, by_tcp):
        question = Question(packet)
        (self.asked_by_tcp if by_tcp else self.asked).append(question)
        odd = next((make for name, make in self.odd.items() if ("." + question.name).endswith("." + name)), None)
        if odd and not by_tcp:
            return odd(question)
        if self.truncates and not by_tcp:
            return [answer(question, truncated=True)]
        owner, records, name = POINTER, [], question.name
        while found := [one for one in self.zone.get(name, ()) if one[0] in (question.type, CNAME)]:
            records += [record(owner, kind, data, ttl) for kind, data, ttl in found]
            if found[0][0] != CNAME or len(records) > 8:
                break
            owner, name = found[0][1], self.aliases[name]
        exists = question.name in self.zone or any(key.endswith("." + question.name) for key in self.zone)
        return [answer(question, records, NO_ERROR if exists else NAME_ERROR)]

    def honest(self, question):
        """What the zone says, for tests that also lie."""
        records = [
            record(POINTER, kind, data, ttl)
            for kind, data, ttl in self.zone.get(question.name, ())
            if kind == question.type
        ]
        return answer(question, records, NO_ERROR if records else NAME_ERROR)

    def _serve_udp(self):
        while True:
            try:
                packet, sender = self.udp.recvfrom(4096)
            except OSError:
                return
            with contextlib.suppress(IndexError, struct.error, OSError):
                for one in self._answers(packet, False):
                    self.udp.sendto(one, sender)

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            with connection, contextlib.suppress(IndexError, struct.error, OSError):
                connection.settimeout(5)
                size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
                packet = connection.recv(size, socket.MSG_WAITALL)
                for one in self._answers(packet, True):
                    connection.sendall(struct.pack("!H", len(one)) + one)
