"""A client that shows every byte: blocking sockets, streams told apart from stanzas, nothing done by itself.

Elements are ElementTree's, their names in Clark form (`{namespace}name`).
"""

import base64
import hashlib
import hmac
import re
import secrets
import select
import socket
import ssl
import struct
import time
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

CLIENT = "jabber:client"
STREAMS = "http://etherx.jabber.org/streams"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
SESSION = "urn:ietf:params:xml:ns:xmpp-session"
REGISTER = "jabber:iq:register"
AUTH = "jabber:iq:auth"

TIMEOUT_SECONDS = 60


class Closed(Exception):
    """The stream or its connection ended while something else was awaited."""


class Refused(Exception):
    """The server said no; the text is the condition it gave."""


def trusting_context(alpn=None, highest=None):
    """TLS that takes any certificate: the server under test made its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    if highest:
        context.maximum_version = highest
    return context


def condition(element):
    """The defined condition in a stream error, stanza error or SASL failure."""
    for child in element:
        name = child.tag.rpartition("}")[2]
        if name != "text" and child.tag.startswith(("{" + STREAM_ERRORS, "{" + STANZA_ERRORS, "{" + SASL)):
            return name
    return None


def error_of(stanza):
    """The condition of a stanza of type error."""
    assert stanza.get("type") == "error", show(stanza)
    error = stanza.find("{*}error")
    assert error is not None, show(stanza)
    return condition(error)


def show(element):
    """An element as text, for the messages of failing tests."""
    return "nothing" if element is None else ElementTree.tostring(element, encoding="unicode")


class Wire:
    """One TCP connection. `header` is the server's stream header, `closed` that it ended its stream."""

    def __init__(self, server, direct_tls=False, context=None, name="localhost"):
        self.server = server
        port = server.tls_port if direct_tls else server.client_port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.next_id = 0
        self.received = b""
        self.jid = None
        self._restart()
        if direct_tls:
            self.tls(context, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # Bytes.

    def tls(self, context=None, name="localhost"):
        """The handshake."""
        self.socket = (context or trusting_context()).wrap_socket(self.socket, server_hostname=name)
        self._restart()

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def _restart(self):
        """What comes next is a new stream (RFC 6120 §4.3.3)."""
        self.header = None
        self.closed = False
        self.depth = 0
        self.root = None
        self.parser = ElementTree.XMLPullParser(("start", "end"))
        self.waiting = []

    def _fill(self):
        """Waits for bytes and parses them; False at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            return False
        if not data:
            return False
        self.received += data
        # Piecewise, since the first byte after <success/> belongs to another document.
        for piece in re.findall(rb"[^>]*>|[^>]+", data):
            self._parse(piece)
        return True

    def _parse(self, piece):
        self.parser.feed(piece)
        for event, element in self.parser.read_events():
            if event == "start":
                if self.depth == 0:
                    self.header, self.root = element, element
                self.depth += 1
                continue
            self.depth -= 1
            if self.depth == 0:
                self.closed = True
            elif self.depth == 1:
                self.root.remove(element)
                if element.tag == f"{{{SASL}}}success":
                    self._restart()
                self.waiting.append(element)

    # Elements.

    def read(self):
        """The next child of the stream; None when the server ended the stream or the connection."""
        while not self.waiting:
            if self.closed or not self._fill():
                return None
        return self.waiting.pop(0)

    def expect(self, tag):
        """The next child of the stream, which must have this name."""
        element = self.read()
        if element is None:
            raise Closed(f"awaited {tag}")
        if element.tag == f"{{{STREAMS}}}error" and element.tag != tag:
            raise Refused(condition(element))
        assert element.tag == tag, f"awaited {tag}: {show(element)}"
        return element

    def until(self, wanted):
        """Reads on to the first child for which `wanted` holds; others are dropped, a stream error is raised."""
        while True:
            element = self.read()
            if element is None:
                raise Closed("the stream ended")
            if element.tag == f"{{{STREAMS}}}error":
                raise Refused(condition(element))
            if wanted(element):
                return element

    def ended(self):
        """Reads on until the server closes the connection, and returns what came before."""
        rest = []
        while (element := self.read()) is not None:
            rest.append(element)
        if self.closed:
            while self._fill():
                pass
        return rest

    # Streams.

    def open(self, to="localhost", version="1.0", extra=""):
        """Opens a stream; returns the features, or None for a stream without a version."""
        self._restart()
        declared = f" version='{version}'" if version else ""
        self.send(
            f"<?xml version='1.0'?><stream:stream to='{to}'{declared} xmlns='{CLIENT}' xmlns:stream='{STREAMS}'{extra}>"
        )
        while self.header is None:
            if not self._fill():
                raise Closed("awaited a stream header")
        return self.expect(f"{{{STREAMS}}}features") if version else None

    def starttls(self, context=None, name="localhost"):
        """STARTTLS on an open stream (RFC 6120 §5.4.2)."""
        self.send(f"<starttls xmlns='{TLS}'/>")
        self.expect(f"{{{TLS}}}proceed")
        self.tls(context, name)

    def secure(self, to="localhost", context=None, version="1.0"):
        """Opens a stream, goes to TLS, opens it anew; returns the new features."""
        self.open(to)
        self.starttls(context, to)
        return self.open(to, version)

    def close(self):
        """Ends the stream and awaits that the server does the same."""
        self.send("</stream:stream>")
        return self.ended()

    # Requests.

    def iq(self, kind, payload, to=None):
        """Sends an IQ and reads on to its answer."""
        self.next_id += 1
        stanza_id = f"w{self.next_id}"
        address = f" to={quoteattr(to)}" if to else ""
        self.send(f"<iq type='{kind}' id='{stanza_id}'{address}>{payload}</iq>")
        return self.until(lambda one: one.tag == f"{{{CLIENT}}}iq" and one.get("id") == stanza_id)

    def ping(self, to="localhost"):
        """An answered ping proves that everything sent before it was handled (RFC 6120 §10.1)."""
        return self.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to)

    def register(self, name, password, extra="<name>Test</name><email>test@example.org</email>"):
        """XEP-0077 before login; raises what the server refuses with."""
        answer = self.iq(
            "set",
            f"<query xmlns='{REGISTER}'><username>{escape(name)}</username>"
            f"<password>{escape(password)}</password>{extra}</query>",
        )
        if answer.get("type") == "error":
            raise Refused(error_of(answer))
        assert answer.get("type") == "result", show(answer)

    def bind(self, resource=None):
        """Binds a resource, and begins a session where the features want one; returns the full JID."""
        features = self.expect(f"{{{STREAMS}}}features")
        wanted = f"<resource>{escape(resource)}</resource>" if resource else ""
        answer = self.iq("set", f"<bind xmlns='{BIND}'>{wanted}</bind>")
        if answer.get("type") == "error":
            raise Refused(error_of(answer))
        session = features.find(f"{{{SESSION}}}session")
        if session is not None and session.find(f"{{{SESSION}}}optional") is None:
            assert self.iq("set", f"<session xmlns='{SESSION}'/>").get("type") == "result"
        self.jid = answer.findtext(f"{{{BIND}}}bind/{{{BIND}}}jid")
        return self.jid

    def _after_auth(self, host):
        self.send(f"<stream:stream to='{host}' version='1.0' xmlns='{CLIENT}' xmlns:stream='{STREAMS}'>")

    def _sasl_step(self):
        answer = self.read()
        if answer is None:
            raise Closed("awaited a SASL answer")
        if answer.tag in (f"{{{SASL}}}failure", f"{{{STREAMS}}}error"):
            raise Refused(condition(answer))
        return answer

    def plain(self, name, password, host="localhost", authzid=""):
        """SASL PLAIN (RFC 4616)."""
        message = base64.b64encode(f"{authzid}\0{name}\0{password}".encode()).decode()
        self.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{message}</auth>")
        assert self._sasl_step().tag == f"{{{SASL}}}success"
        self._after_auth(host)

    def scram(self, mechanism, name, password, binding=None, host="localhost", flag=None, tamper=None):
        """SASL SCRAM (RFC 5802); `binding` is the pair of type and data, `flag` the header's first part if not usual.

        `tamper` changes the last client message before it is sent.
        """
        digest = mechanism.removesuffix("-PLUS").removeprefix("SCRAM-").replace("-", "").lower()
        header = (flag or (f"p={binding[0]}" if binding else "n")) + ",,"
        nonce = secrets.token_hex(12)
        first = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        self.send(
            f"<auth xmlns='{SASL}' mechanism='{mechanism}'>"
            f"{base64.b64encode((header + first).encode()).decode()}</auth>"
        )
        challenge = self._sasl_step()
        assert challenge.tag == f"{{{SASL}}}challenge", show(challenge)
        server_first = base64.b64decode(challenge.text).decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        assert fields["r"].startswith(nonce) and len(fields["r"]) > len(nonce)
        bound = base64.b64encode(header.encode() + (binding[1] if binding else b"")).decode()
        final = f"c={bound},r={fields['r']}"
        salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))

        def sign(key, text):
            return hmac.digest(key, text.encode(), digest)

        client_key = sign(salted, "Client Key")
        talk = ",".join((first, server_first, final))
        signature = sign(hashlib.new(digest, client_key).digest(), talk)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        message = f"{final},p={base64.b64encode(proof).decode()}"
        if tamper:
            message = tamper(message)
        self.send(f"<response xmlns='{SASL}'>{base64.b64encode(message.encode()).decode()}</response>")
        success = self._sasl_step()
        assert success.tag == f"{{{SASL}}}success", show(success)
        verifier = base64.b64decode(success.text).decode()
        assert verifier == "v=" + base64.b64encode(sign(sign(salted, "Server Key"), talk)).decode()
        self._after_auth(host)
        return int(fields["i"])

    def iq_auth(self, name, password, resource):
        """XEP-0078 with the password in the clear; only decent under TLS."""
        answer = self.iq(
            "set",
            f"<query xmlns='{AUTH}'><username>{escape(name)}</username><password>{escape(password)}</password>"
            f"<resource>{escape(resource)}</resource></query>",
        )
        if answer.get("type") == "error":
            raise Refused(error_of(answer))
        assert answer.get("type") == "result", show(answer)

    def login(self, name, password, resource=None, host="localhost"):
        """All of it, from an unopened connection to a bound session."""
        if isinstance(self.socket, ssl.SSLSocket):
            self.open(host)
        else:
            self.secure(host)
        self.plain(name, password, host)
        return self.bind(resource)


class ExportingTls:
    """A socket with TLS of pyOpenSSL, since Python's own cannot export keying material (RFC 9266)."""

    def __init__(self, plain):
        from OpenSSL import SSL

        self._ssl = SSL
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        plain.settimeout(None)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT_SECONDS, 0))
        self._connection = SSL.Connection(context, plain)
        self._connection.set_tlsext_host_name(b"localhost")
        self._connection.set_connect_state()
        self._connection.do_handshake()

    def version(self):
        return self._connection.get_protocol_version_name()

    def exporter(self):
        """The channel binding data of type tls-exporter (RFC 9266 §2)."""
        return self._connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")

    def certificate(self):
        from OpenSSL import crypto

        return crypto.dump_certificate(crypto.FILETYPE_ASN1, self._connection.get_peer_certificate())

    def sendall(self, data):
        self._connection.sendall(data)

    def recv(self, count):
        try:
            return self._connection.recv(count)
        except (self._ssl.ZeroReturnError, self._ssl.SysCallError):
            return b""
        except self._ssl.WantReadError:
            raise TimeoutError("nothing came") from None

    def close(self):
        self._connection.close()


def end_point(certificate):
    """The channel binding data of type tls-server-end-point for a certificate signed with SHA-256 (RFC 5929 §4.1)."""
    return hashlib.sha256(certificate).digest()


def idle(wire, seconds):
    """Whether nothing at all arrives for some time: only for proofs that the server keeps still."""
    readable, _, _ = select.select([wire.socket], [], [], seconds)
    return not readable


def soon(check, seconds=TIMEOUT_SECONDS):
    """Waits for a state outside of the stream (a line of a log); returns the first true value of `check`."""
    deadline = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return value


def admin_password(server, jid):
    """The password of the admin whom jabber.xml names; whoever needs the account first makes it."""
    name, _, _ = jid.partition("@")
    with Wire(server, direct_tls=True) as one:
        one.open()
        try:
            one.register(name, "admin secret")
        except Refused as refusal:
            assert str(refusal) == "conflict"
    return "admin secret"
