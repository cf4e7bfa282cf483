"""Logins: TLS, each SASL mechanism of slixmpp and each that it lacks, refusals."""

import base64
import ssl

import pytest
from cryptography import x509

import clients as slixmpp_clients
import wire
from conftest import make_account
from servers import SECOND_HOST

SCRAMS = ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS = f"{{{wire.SASL}}}mechanisms"
CHANNEL_BINDING = "urn:xmpp:sasl-cb:0"


def offered(features):
    """The names of the mechanisms in some stream features."""
    return {one.text for one in features.findall(f"{MECHANISMS}/{{{wire.SASL}}}mechanism")}


@pytest.mark.parametrize("direct_tls", (False, True), ids=("starttls", "direct"))
@pytest.mark.parametrize(
    "mechanism",
    ["PLAIN", "SCRAM-SHA-1"] + [pytest.param(one, marks=pytest.mark.ours("SHA-2")) for one in SCRAMS[1:]],
)
async def test_slixmpp_logs_in(clients, account, mechanism, direct_tls):
    client = await clients.login(account("login"), mechanism=mechanism, direct_tls=direct_tls)
    assert client.plugin["feature_mechanisms"].mech.name == mechanism
    await client.settle()


async def test_slixmpp_chooses_a_mechanism_itself(clients, account):
    client = await clients.login(account("login"), mechanism=None)
    assert client.plugin["feature_mechanisms"].mech.name.startswith("SCRAM-SHA-")


async def test_slixmpp_over_tls_1_2_gets_in_without_tls_unique(clients, account):
    """It tries a -PLUS mechanism with tls-unique, which we do not offer, and must be let try another (RFC 9266 §3)."""
    client = await clients.login(account("login"), mechanism=None, highest_tls=slixmpp_clients.TLS_1_2)
    assert client.socket.version() == "TLSv1.2"


@pytest.mark.parametrize("mechanism", ("PLAIN", "SCRAM-SHA-1", None), ids=str)
async def test_wrong_password_is_refused(clients, account, mechanism):
    client = clients.new(account("login"), password="not the password", mechanism=mechanism)
    with pytest.raises(slixmpp_clients.LoginRefused, match="not-authorized"):
        await client.connect_and_bind()


def test_unknown_account_is_refused_like_a_wrong_password(server):
    for mechanism in ("PLAIN", "SCRAM-SHA-1"):
        with wire.Wire(server, direct_tls=True) as one:
            one.open()
            with pytest.raises(wire.Refused, match="not-authorized"):
                if mechanism == "PLAIN":
                    one.plain("nobody-of-this-name", "secret")
                else:
                    one.scram(mechanism, "nobody-of-this-name", "secret")


@pytest.mark.ours("the reference tells unknown names by its answer")
def test_scram_salt_of_an_unknown_account_stays_the_same(server):
    """A salt that changed with each try would tell that there is no such account (RFC 5802 §9)."""

    def challenge():
        with wire.Wire(server, direct_tls=True) as one:
            one.open()
            first = base64.b64encode(b"n,,n=nobody-of-this-name,r=abcdefgh").decode()
            one.send(f"<auth xmlns='{wire.SASL}' mechanism='SCRAM-SHA-256'>{first}</auth>")
            fields = base64.b64decode(one.expect(f"{{{wire.SASL}}}challenge").text).decode().split(",")
            return [field for field in fields if not field.startswith("r=")]

    assert challenge() == challenge()


def test_another_try_on_the_same_stream(server, account):
    """RFC 6120 §6.4.5: a failed try leaves the stream open for at least one more."""
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused, match="not-authorized"):
            one.plain(user.name, "wrong")
        one.plain(user.name, user.password)
        assert one.bind("again").endswith("/again")


@pytest.mark.ours("a choice of bounds")
def test_tries_on_one_stream_are_bounded(start_server):
    """RFC 6120 §6.4.5: between two and five, then the stream ends."""
    server = start_server(limits={"failed-logins-max": 2})
    user = make_account(server)
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused, match="not-authorized"):
            one.plain(user.name, "wrong")
        with pytest.raises(wire.Refused, match="not-authorized|policy-violation"):
            one.plain(user.name, "wrong")
        one.ended()
        assert one.closed


def test_tls_is_required(server):
    """RFC 6120 §5.3.1: STARTTLS is marked as required and nothing else is offered before it."""
    with wire.Wire(server) as one:
        features = one.open()
        assert features.find(f"{{{wire.TLS}}}starttls/{{{wire.TLS}}}required") is not None
        assert features.find(MECHANISMS) is None
        one.send(f"<auth xmlns='{wire.SASL}' mechanism='PLAIN'>{base64.b64encode(b'.a.b').decode()}</auth>")
        answer = one.read()
        assert answer.tag in (f"{{{wire.SASL}}}failure", f"{{{wire.STREAMS}}}error"), wire.show(answer)
        assert wire.condition(answer) in ("encryption-required", "not-authorized", "policy-violation")


def test_features_after_tls(server):
    with wire.Wire(server) as one:
        features = one.secure()
        assert features.find(f"{{{wire.TLS}}}starttls") is None
        assert {"PLAIN", "SCRAM-SHA-1"} <= offered(features)
        assert features.find("{http://jabber.org/features/iq-register}register") is not None
        assert features.find(f"{{{wire.BIND}}}bind") is None


@pytest.mark.ours("all mechanisms")
def test_all_mechanisms_are_offered(server):
    with wire.Wire(server, direct_tls=True) as one:
        features = one.open()
        plus = {f"{name}-PLUS" for name in SCRAMS}
        assert offered(features) == {"PLAIN", *SCRAMS, *plus}
        # XEP-0440 §3.
        types = {child.get("type") for child in features.find(f"{{{CHANNEL_BINDING}}}sasl-channel-binding")}
        assert types == {"tls-exporter", "tls-server-end-point"}


def exporting(server):
    """A wire with pyOpenSSL's TLS, and that TLS."""
    one = wire.Wire(server)
    one.open()
    one.send(f"<starttls xmlns='{wire.TLS}'/>")
    one.expect(f"{{{wire.TLS}}}proceed")
    one.socket = tls = wire.ExportingTls(one.socket)
    one.open()
    return one, tls


@pytest.mark.ours("channel binding")
@pytest.mark.parametrize("mechanism", SCRAMS)
@pytest.mark.parametrize("kind", ("tls-exporter", "tls-server-end-point"))
def test_channel_binding(server, account, mechanism, kind):
    user = account("login")
    one, tls = exporting(server)
    with one:
        assert tls.version() == "TLSv1.3"
        data = tls.exporter() if kind == "tls-exporter" else wire.end_point(tls.certificate())
        one.scram(mechanism + "-PLUS", user.name, user.password, (kind, data))
        assert one.bind()


@pytest.mark.ours("channel binding")
def test_no_channel_binding_below_tls_1_3(server):
    """There, clients that know no better than tls-unique would choose it, fail, and perhaps give up."""
    context = wire.trusting_context(highest=slixmpp_clients.TLS_1_2)
    with wire.Wire(server, direct_tls=True, context=context) as one:
        assert not any(name.endswith("-PLUS") for name in offered(one.open()))


@pytest.mark.ours("channel binding")
@pytest.mark.parametrize("kind", ("tls-exporter", "tls-server-end-point"))
def test_channel_binding_of_another_channel_is_refused(server, account, kind):
    """Somebody in the middle has a channel of his own (RFC 5802 §6)."""
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused, match="not-authorized|malformed-request"):
            one.scram("SCRAM-SHA-256-PLUS", user.name, user.password, (kind, b"\1" * 32))


@pytest.mark.ours("channel binding")
def test_a_hidden_offer_of_channel_binding_is_noticed(server, account):
    """RFC 5802 §6: `y` says that the client saw no -PLUS; the server knows that it offered some."""
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused):
            one.scram("SCRAM-SHA-256", user.name, user.password, flag="y")


def test_a_tampered_proof_is_refused(server, account):
    user = account("login")

    def flip(message):
        proof = message.rpartition("p=")[2]
        return message.replace(proof, base64.b64encode(bytes(20)).decode())

    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused):
            one.scram("SCRAM-SHA-1", user.name, user.password, tamper=flip)


def test_a_changed_nonce_is_refused(server, account):
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused):
            one.scram("SCRAM-SHA-1", user.name, user.password, tamper=lambda text: text.replace(",r=", ",r=x"))


@pytest.mark.ours("RFC 6120 §13.8 counts; RFC 5802 §5.1 wants 4096 at least")
@pytest.mark.parametrize("mechanism", SCRAMS)
def test_iterations(server, account, mechanism):
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        assert one.scram(mechanism, user.name, user.password) >= 10_000


@pytest.mark.parametrize(
    "auth, expected",
    [
        ("<auth xmlns='{sasl}' mechanism='NO-SUCH'>AGEAYg==</auth>", {"invalid-mechanism"}),
        ("<auth xmlns='{sasl}'>AGEAYg==</auth>", {"invalid-mechanism", "malformed-request"}),
        ("<auth xmlns='{sasl}' mechanism='PLAIN'>!!!!</auth>", {"incorrect-encoding", "malformed-request"}),
        ("<auth xmlns='{sasl}' mechanism='PLAIN'>AA==</auth>", {"malformed-request", "not-authorized"}),
        ("<auth xmlns='{sasl}' mechanism='PLAIN'>AGEAYgBjAGQ=</auth>", {"malformed-request", "not-authorized"}),
        ("<auth xmlns='{sasl}' mechanism='SCRAM-SHA-1'>biws</auth>", {"malformed-request", "not-authorized"}),
        (
            "<auth xmlns='{sasl}' mechanism='SCRAM-SHA-1'>eCxuPWEscj1i</auth>",
            {"malformed-request", "not-authorized"},
        ),
        # RFC 5802 §5.1: `m` is for extensions that nobody may pass over.
        (
            "<auth xmlns='{sasl}' mechanism='SCRAM-SHA-1'>biwsbT0xLG49YSxyPWI=</auth>",
            {"malformed-request", "not-authorized"},
        ),
    ],
)
def test_bad_sasl_is_answered_with_its_condition(server, auth, expected):
    """RFC 6120 §6.5; the stream stays open."""
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        one.send(auth.format(sasl=wire.SASL))
        failure = one.expect(f"{{{wire.SASL}}}failure")
        assert wire.condition(failure) in expected, wire.show(failure)
        one.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NO-SUCH'/>")
        one.expect(f"{{{wire.SASL}}}failure")


def test_abort(server, account):
    """RFC 6120 §6.4.4."""
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        first = base64.b64encode(f"n,,n={user.name},r=abcdefgh".encode()).decode()
        one.send(f"<auth xmlns='{wire.SASL}' mechanism='SCRAM-SHA-1'>{first}</auth>")
        one.expect(f"{{{wire.SASL}}}challenge")
        one.send(f"<abort xmlns='{wire.SASL}'/>")
        assert wire.condition(one.expect(f"{{{wire.SASL}}}failure")) == "aborted"
        one.plain(user.name, user.password)
        one.bind()


@pytest.mark.ours("the reference wants an initial response")
def test_plain_without_an_initial_response(server, account):
    """RFC 6120 §6.4.2: no text means no initial response, and the server asks with an empty challenge."""
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        one.send(f"<auth xmlns='{wire.SASL}' mechanism='PLAIN'/>")
        challenge = one.expect(f"{{{wire.SASL}}}challenge")
        assert not challenge.text or challenge.text == "="
        message = base64.b64encode(f"\0{user.name}\0{user.password}".encode()).decode()
        one.send(f"<response xmlns='{wire.SASL}'>{message}</response>")
        one.expect(f"{{{wire.SASL}}}success")


@pytest.mark.ours("the reference takes no authzid at all")
def test_authorization_identity(server, account):
    """RFC 6120 §6.3.8: one's own bare JID is fine, another's is not."""
    user, other = account("login"), account("login")
    for authzid, fine in ((user.jid, True), (other.jid, False)):
        with wire.Wire(server, direct_tls=True) as one:
            one.open()
            if fine:
                one.plain(user.name, user.password, authzid=authzid)
                assert one.bind().startswith(user.jid)
            else:
                with pytest.raises(wire.Refused, match="invalid-authzid|not-authorized"):
                    one.plain(user.name, user.password, authzid=authzid)


def test_accounts_of_one_host_are_not_known_on_another(server, account):
    user = account("login", host=SECOND_HOST)
    with wire.Wire(server, direct_tls=True, name=SECOND_HOST) as one:
        one.open(SECOND_HOST)
        one.plain(user.name, user.password, SECOND_HOST)
        assert one.bind().startswith(f"{user.name}@{SECOND_HOST}/")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused, match="not-authorized"):
            one.plain(user.name, user.password)


def test_name_in_another_case_is_the_same_account(server, account):
    """The localpart is prepared before it is compared (RFC 7622 §3.3)."""
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        one.plain(user.name.upper(), user.password)
        assert one.bind().startswith(user.jid + "/")


@pytest.mark.ours("the reference's certificate is not made by itself")
@pytest.mark.parametrize("name", ("localhost", SECOND_HOST))
def test_self_made_certificate_names_its_host(server, name):
    with wire.Wire(server, direct_tls=True, name=name) as one:
        der = one.socket.getpeercert(True)
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert name in names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("alpn", (["xmpp-client"], None), ids=("alpn", "none"))
def test_direct_tls_with_and_without_alpn(server, account, alpn):
    """XEP-0368 §4 for today's clients; old ones of port 5223 know nothing of ALPN."""
    user = account("login")
    with wire.Wire(server, direct_tls=True, context=wire.trusting_context(alpn)) as one:
        assert one.socket.selected_alpn_protocol() in ((None,) if alpn is None else ("xmpp-client", None))
        one.login(user.name, user.password)
        assert one.ping().get("type") == "result"


@pytest.mark.ours("ALPN is chosen and checked")
def test_alpn_is_chosen_and_a_foreign_one_refused(server):
    """RFC 7301 §3.2: no protocol in common is fatal."""
    with wire.Wire(server, direct_tls=True, context=wire.trusting_context(["xmpp-client"])) as one:
        assert one.socket.selected_alpn_protocol() == "xmpp-client"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        wire.Wire(server, direct_tls=True, context=wire.trusting_context(["http/1.1"]))


@pytest.mark.ours("how guessing is slowed")
def test_guessing_does_not_lock_the_owner_out(start_server):
    """Beyond the bound each failure is answered late, but it is answered, and the right password still counts."""
    server = start_server(limits={"failed-logins-per-address-max": 2})
    user = make_account(server)
    for _ in range(3):
        with wire.Wire(server, direct_tls=True) as one:
            one.open()
            with pytest.raises(wire.Refused, match="not-authorized"):
                one.plain(user.name, "wrong")
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password)


@pytest.mark.ours("record.log")
def test_logins_are_in_the_record(server, account):
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.login(user.name, user.password, "Home")
        one.close()
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused):
            one.plain(user.name, "wrong")

    def lines():
        return [line.split(" ", 1)[1] for line in server.record() if f" {user.jid} " in line]

    wire.soon(lambda: any("login fail 127.0.0.1 401" in line for line in lines()))
    assert f"{user.jid} login ok 127.0.0.1 Home" in lines()
    wire.soon(lambda: any(f"{user.jid} session end " in line and line.endswith(" Home") for line in lines()))


@pytest.mark.ours("record.log")
def test_failed_scram_logins_are_in_the_record_by_name(server, account):
    """Whose password is being guessed, and from where."""
    user = account("login")
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused):
            one.scram("SCRAM-SHA-256", user.name, "wrong")
    wire.soon(lambda: any(f" {user.jid} login fail 127.0.0.1 401" in line for line in server.record()), 2)


@pytest.mark.ours("record.log")
@pytest.mark.parametrize("way", ["PLAIN", "SCRAM-SHA-256", "jabber:iq:auth"])
def test_failed_logins_of_unknown_names_are_in_the_record_by_name(server, way):
    """Names that are tried are seen as typed, and as one name however they are typed."""
    name = f"Nobody-{way.replace(':', '-')}"
    with wire.Wire(server, direct_tls=True) as one:
        one.open()
        with pytest.raises(wire.Refused):
            if way == "PLAIN":
                one.plain(name, "wrong")
            elif way == "jabber:iq:auth":
                one.iq_auth(name, "wrong", "r")
            else:
                one.scram(way, name, "wrong")
    resource = "r" if way == "jabber:iq:auth" else "(null)"
    line = f" {name.lower()}@localhost login fail 127.0.0.1 401 {resource}"
    wire.soon(lambda: any(record.endswith(line) for record in server.record()), 2)
