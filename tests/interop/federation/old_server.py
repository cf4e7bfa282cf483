"""A server as those of 2001 to 2008 spoke: dialback alone, no version, no TLS, every byte as their traces show it.

It serves one domain, answers in threads, keeps every stanza that it gets, and sends what a test tells it to. `kind` says
whose habits it has:

| kind | stands for | header that it sends | header that it answers |
|---|---|---|---|
| `jabberd-1.4.3` | jabberd up to 1.4.3, iChat Server 10.4 | no version, no `from` | no version |
| `jabberd-1.4.4` | jabberd 1.4.4, Sun Java System IM 7 without TLS | version, no `from` | version if asked for, features |
| `jabberd-1.6` | jabberd14 1.6 without TLS | version, `from`, an attribute of its own | version if asked for, features |

None of them knows the dialback feature or errors in dialback; an unproved sender ends the stream.
"""

import asyncio
import contextlib
import hashlib
import itertools
import secrets
import socket
import threading
import time

import server_wire
import wire
from server_wire import DIALBACK, RESULT, SERVER, VERIFY

KINDS = ("jabberd-1.4.3", "jabberd-1.4.4", "jabberd-1.6")


class Stream(server_wire.ServerWire):
    """An accepted connection, or one of our own."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.settimeout(60)
        self.next_id = 0
        self.received = b""
        self._restart()


class OldServer:
    def __init__(self, domain, address, kind="jabberd-1.4.3", port=5269):
        self.domain, self.address, self.kind, self.port = domain, address, kind, port
        self.secret = secrets.token_hex(8)
        self.numbers = itertools.count(0x6B029DDF)
        self.stanzas = []
        # What it was asked to verify, what it was told; and the headers that came, as attributes.
        self.verified = []
        self.headers = []
        # A function of a stream and an element that may do what no honest server does; true if that was all.
        self.odd = None
        self.streams = []
        self.outgoing = {}
        self.listener = socket.create_server((address, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        for one in (self.listener, *(stream.socket for stream in self.streams)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def key(self, to, stream_id):
        """jabberd 1.4's way to make them."""
        one = hashlib.sha1(self.secret.encode()).hexdigest()
        two = hashlib.sha1((one + to).encode()).hexdigest()
        return hashlib.sha1((two + stream_id).encode()).hexdigest()

    # Streams to us.

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            stream = Stream(connection)
            self.streams.append(stream)
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream):
        with contextlib.suppress(OSError, ValueError, wire.Closed):
            while stream.header is None:
                if not stream._fill():
                    return
            self.headers.append(dict(stream.header.attrib))
            stream.stream_id = secrets.token_hex(20)
            stream.proved = set()
            versioned = self.kind != "jabberd-1.4.3" and stream.header.get("version")
            version = " version='1.0'" if versioned else ""
            stream.send(
                f"<?xml version='1.0'?><stream:stream xmlns:stream='{wire.STREAMS}' id='{stream.stream_id}'"
                f" xmlns='{SERVER}' from='{self.domain}' xmlns:db='{DIALBACK}'{version}>"
            )
            if versioned:
                stream.send("<stream:features/>")
            while (element := stream.read()) is not None:
                if not (self.odd and self.odd(stream, element)):
                    self._element(stream, element)
            stream.send("</stream:stream>")
        stream.socket.close()

    def _element(self, stream, element):
        ours, theirs = element.get("to"), element.get("from")
        if element.tag == RESULT:
            valid = self._ask(theirs, stream.stream_id, element.text)
            if valid:
                stream.proved.add(theirs)
            self._say(stream, "result", ours, theirs, valid)
            if not valid:
                raise wire.Closed
        elif element.tag == VERIFY:
            self.verified.append((theirs, element.get("id"), element.text))
            valid = element.text == self.key(theirs, element.get("id"))
            self._say(stream, "verify", ours, theirs, valid, element.get("id"))
        elif theirs and theirs.partition("/")[0].rpartition("@")[2] in stream.proved:
            self.stanzas.append(element)
        else:
            stream.send("<stream:error>Invalid Packets Recieved!</stream:error></stream:stream>")
            raise wire.Closed

    @staticmethod
    def _say(stream, name, own, to, valid, id=None):
        number = f" id='{id}'" if id else ""
        word = "valid" if valid else "invalid"
        stream.send(f"<db:{name} xmlns:db='{DIALBACK}' to='{to}' from='{own}'{number} type='{word}'/>")

    # Streams from us.

    def connect(self, to, find=None):
        """A stream to a domain, with its header answered."""
        infos = socket.getaddrinfo(find or to, 5269, type=socket.SOCK_STREAM)
        stream = Stream(socket.create_connection(infos[0][4][:2], timeout=wire.TIMEOUT_SECONDS))
        self.streams.append(stream)
        version = " version='1.0'" if self.kind != "jabberd-1.4.3" else ""
        sender = f" from='{self.domain}'" if self.kind == "jabberd-1.6" else ""
        extra = " xmlns:ns0='http://jabberd.org/ns/loopcheck' ns0:check='7dc7ee2d'" if sender else ""
        stream.send(
            f"<?xml version='1.0'?><stream:stream xmlns:stream='{wire.STREAMS}' to='{to}'{sender}{version}{extra}"
            f" xmlns='{SERVER}' xmlns:db='{DIALBACK}'>"
        )
        while stream.header is None:
            if not stream._fill():
                raise wire.Closed("awaited a stream header")
        stream.stream_id = stream.header.get("id")
        return stream

    def _ask(self, domain, stream_id, key):
        """Is this key of that domain? (XEP-0220 §2.1.2) The features, if any come, are passed over."""
        with contextlib.suppress(OSError, wire.Closed):
            stream = self.connect(domain)
            stream.send(f"<db:verify to='{domain}' from='{self.domain}' id='{stream_id}'>{key}</db:verify>")
            answer = stream.until(lambda one: one.tag == VERIFY)
            stream.socket.close()
            return answer.get("type") == "valid"
        return False

    def prove(self, to):
        """A stream that may carry stanzas to a domain; returns it, or what was said against it."""
        stream = self.connect(to)
        key = self.key(to, stream.stream_id)
        stream.send(f"<db:result to='{to}' from='{self.domain}'>{key}</db:result>")
        answer = stream.until(lambda one: one.tag == RESULT)
        if answer.get("type") != "valid":
            raise wire.Refused(answer.get("type"))
        self.outgoing[to] = stream
        return stream

    def send(self, sender, to, body):
        """A message, by a stream that is proved first if there is none."""
        domain = to.partition("/")[0].rpartition("@")[2]
        stream = self.outgoing.get(domain) or self.prove(domain)
        stream.message(sender, to, body)

    def bodies(self):
        return [one.findtext(f"{{{SERVER}}}body") for one in list(self.stanzas)]

    async def got(self, body, seconds=wire.TIMEOUT_SECONDS):
        """Waits for a message."""
        deadline = time.monotonic() + seconds
        while body not in self.bodies():
            assert time.monotonic() < deadline, f"{self.domain} got only {self.bodies()}"
            await asyncio.sleep(0.02)
        return next(one for one in self.stanzas if one.findtext(f"{{{SERVER}}}body") == body)
