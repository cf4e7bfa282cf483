"""Gajim's library, run by the system's Python since it comes with GLib: what Gajim does in an account's life.

    python3 nbxmpp_client.py HOST PORT (start|direct) NAME PASSWORD FRIEND

Each step that is done is told in one line: its name, and what came of it. FRIEND does the other half: it agrees to a
subscription, asks for one, says "Hello, Gajim!", and after "Goodbye" something that waits for us.
"""

import sys

from gi.repository import GLib
from nbxmpp.client import Client
from nbxmpp.const import ConnectionProtocol, ConnectionType, Mode
from nbxmpp.errors import StanzaError
from nbxmpp.modules.vcard_temp import VCard
from nbxmpp.protocol import JID, Message, Presence
from nbxmpp.structs import StanzaHandler

HOST, PORT, WAY, NAME, PASSWORD, FRIEND = sys.argv[1:]
NEW_PASSWORD = PASSWORD + " anew"
TIMEOUT_SECONDS = 60
TYPES = {"start": ConnectionType.START_TLS, "direct": ConnectionType.DIRECT_TLS}
inbox = []


def tell(step, *outcome):
    print(step, *outcome, flush=True)


def wait(found, what):
    """Runs the loop until there is something; returns it."""
    late = []
    timer = GLib.timeout_add_seconds(TIMEOUT_SECONDS, lambda: late.append(True) or GLib.SOURCE_CONTINUE)
    while not (one := found()):
        if late:
            tell("awaited", what, "in", [str(stanza) for stanza in inbox])
            sys.exit(1)
        GLib.MainContext.default().iteration(True)
    GLib.source_remove(timer)
    return one


def take(wanted, what):
    """The first stanza that came and is wanted."""
    return inbox.pop(wait(lambda: [i + 1 for i, one in enumerate(inbox) if wanted(one)], what)[0] - 1)


def message(body):
    return take(lambda one: one.getName() == "message" and one.getBody() == body, f"the message {body!r}")


def presence(kind):
    mine = (FRIEND, NAME)
    return take(
        lambda one: one.getName() == "presence" and one.getType() == kind and str(one.getFrom()).startswith(mine),
        f"presence of type {kind}",
    )


def ask(step, module, method, *arguments):
    """A request of one of its modules; errors of the other side are told, and None is returned."""
    done = []

    def finished(task):
        # Only now does the task know its result.
        try:
            done.append((task.finish(), "ok"))
        except StanzaError as error:
            done.append((None, f"refused {error.condition}"))

    getattr(client.get_module(module), method)(*arguments, callback=finished)
    result, outcome = wait(lambda: done, step)[0]
    tell(step, outcome)
    return result


def connect(mode=Mode.CLIENT, password=PASSWORD):
    one, done = Client(log_context=NAME), []
    one.set_domain(HOST)
    one.set_username(NAME)
    one.set_resource("gajim")
    one.set_password(password)
    one.set_mode(mode)
    one.set_custom_host(f"127.0.0.1:{PORT}", ConnectionProtocol.TCP, TYPES[WAY])
    one.set_connection_types([TYPES[WAY]])
    one.set_protocols([ConnectionProtocol.TCP])
    # The server made its certificate itself.
    one.set_ignore_tls_errors(True)
    keep = [lambda *_, name=name: done.append(name) for name in ("connected", "connection-failed", "disconnected")]
    for name, handler in zip(("connected", "connection-failed", "disconnected"), keep):
        one.subscribe(name, handler)
    one.kept = keep
    for kind in ("message", "presence"):
        one.register_handler(StanzaHandler(name=kind, callback=lambda _client, stanza, _: inbox.append(stanza)))
    one.ended = lambda: done[-1] == "disconnected"
    one.connect()
    outcome = wait(lambda: done, "a connection")[0]
    tell("connect", outcome, *(str(part) for part in one.get_error() if part))
    return one


def disconnect():
    client.disconnect()
    wait(client.ended, "the end of the stream")
    tell("disconnect", "ok")


client = connect(Mode.REGISTER)
form = ask("registration form", "Register", "request_register_form").fields_form
for field in form.iter_fields():
    if field.var in ("username", "password"):
        field.value = {"username": NAME, "password": PASSWORD}[field.var]
ask("registration", "Register", "submit_register_form", form)
disconnect()

client = connect()
ask("roster", "Roster", "request_roster")
client.send_stanza(Presence(priority=5, status="Hier bin ich, schön!"))
presence(None)
ask("server", "Discovery", "disco_info", HOST)
ask("services", "Discovery", "disco_items", HOST)
ask("account", "Discovery", "disco_info", f"{NAME}@{HOST}")
ask("commands", "AdHoc", "request_command_list", HOST)
ask("ping", "Ping", "ping", HOST)
ask("version", "SoftwareVersion", "request_software_version", HOST)
ask("uptime", "LastActivity", "request_last_activity", HOST)
ask("time", "EntityTime", "request_entity_time", HOST)

ask("contact", "Roster", "set_item", JID.from_string(FRIEND), "Freundin", ["Freunde"])
client.send_stanza(Presence(to=FRIEND, typ="subscribe"))
presence("subscribed")
presence("subscribe")
client.send_stanza(Presence(to=FRIEND, typ="subscribed"))
presence(None)
tell("subscription", "ok")
client.send_stanza(Message(to=FRIEND, typ="chat", body="Hello from Gajim ✓"))
message("Hello, Gajim!")
tell("chat", "ok")

ask("card", "VCardTemp", "set_vcard", VCard({"FN": "Gajím", "NICKNAME": "g"}))
assert ask("own card", "VCardTemp", "request_vcard").data["FN"] == "Gajím"
ask("notes", "Annotations", "request_annotations")
ask("bookmarks", "PrivateBookmarks", "request_bookmarks")
ask("native bookmarks", "NativeBookmarks", "request_bookmarks")
ask("archive", "MAM", "request_preferences")
ask("avatar", "UserAvatar", "request_avatar_metadata", JID.from_string(FRIEND))
assert ask("blocked", "Blocking", "request_blocking_list") == set()
ask("block", "Blocking", "block", [JID.from_string(FRIEND)])
ask("unblock", "Blocking", "unblock", [JID.from_string(FRIEND)])

client.send_stanza(Message(to=FRIEND, typ="chat", body="Goodbye"))
disconnect()
inbox.clear()
client = connect()
ask("roster", "Roster", "request_roster")
client.send_stanza(Presence())
waited = message("While you were away")
tell("offline", "delayed" if waited.getTag("delay", namespace="urn:xmpp:delay") else "not delayed")

ask("password", "Register", "change_password", NEW_PASSWORD)
disconnect()
connect()
client = connect(password=NEW_PASSWORD)
ask("farewell", "Register", "unregister")
