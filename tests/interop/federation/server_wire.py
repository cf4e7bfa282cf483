"""A server that shows every byte: a stream to another server, opened from here, with nothing done by itself."""

import base64
import socket
import ssl

import wire

SERVER = "jabber:server"
DIALBACK = "jabber:server:dialback"
MESSAGE = f"{{{SERVER}}}message"
RESULT = f"{{{DIALBACK}}}result"
VERIFY = f"{{{DIALBACK}}}verify"
ERROR = f"{{{wire.STREAMS}}}error"


class ServerWire(wire.Wire):
    """One connection to a server's port for servers. `own` and `to` are the domains that it speaks for and to."""

    def __init__(self, home, own="montague.net", to=None, certificate=None):
        self.own, self.to = own, to or home.domain
        self.certificate = certificate
        self.socket = socket.create_connection((home.address, home.port), timeout=wire.TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.next_id = 0
        self.received = b""
        self._restart()

    def tls(self, context=None, name=None):
        context = context or wire.trusting_context()
        if self.certificate:
            context.load_cert_chain(self.certificate.chain, self.certificate.key)
        super().tls(context, name or self.to)

    def open(self, to=None, version="1.0", sender=True, dialback=True):
        """Opens a stream; returns its features, or None for a stream without a version. The id is `stream_id`."""
        self._restart()
        declared = f" version='{version}'" if version else ""
        declared += f" from='{self.own}'" if sender else ""
        declared += f" xmlns:db='{DIALBACK}'" if dialback else ""
        self.send(
            f"<?xml version='1.0'?><stream:stream xmlns:stream='{wire.STREAMS}' xmlns='{SERVER}'"
            f" to='{to or self.to}'{declared}>"
        )
        while self.header is None:
            if not self._fill():
                raise wire.Closed("awaited a stream header")
        self.stream_id = self.header.get("id")
        return self.expect(f"{{{wire.STREAMS}}}features") if version else None

    def secure(self):
        """Up to the features after TLS."""
        self.open()
        self.starttls()
        return self.open()

    def external(self, identity=None):
        """SASL EXTERNAL (XEP-0178); returns the features of the stream that follows."""
        text = base64.b64encode((identity or self.own).encode()).decode()
        self.send(f"<auth xmlns='{wire.SASL}' mechanism='EXTERNAL'>{text}</auth>")
        answer = self.read()
        if answer is None or answer.tag != f"{{{wire.SASL}}}success":
            raise wire.Refused(wire.condition(answer) if answer is not None else "closed")
        return self.open()

    def message(self, sender, to, body):
        self.send(f"<message from='{sender}' to='{to}' type='chat'><body>{body}</body></message>")

    def result(self, key, own=None, to=None):
        """Claims a domain by dialback (XEP-0220 §2.1.1)."""
        self.send(f"<db:result xmlns:db='{DIALBACK}' from='{own or self.own}' to='{to or self.to}'>{key}</db:result>")

    def outcome(self):
        """What the server says to it."""
        return self.expect(RESULT)

    def end(self):
        """The condition of the stream error that ends the connection; None if it ended without."""
        try:
            rest = self.ended()
        except (ConnectionError, ssl.SSLError):
            rest = []
        return next((wire.condition(one) for one in rest if one.tag == ERROR), None)
