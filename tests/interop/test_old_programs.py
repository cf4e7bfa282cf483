"""Programs of the old days that can still be run: Net::Jabber, whose code is that of 2005."""

import pathlib
import subprocess

import pytest

import wire

SCRIPT = pathlib.Path(__file__).with_name("old_client.pl")


def has_net_jabber():
    try:
        return (
            subprocess.run(["perl", "-MNet::Jabber", "-e", "1"], capture_output=True, check=False).returncode == 0
        )
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not has_net_jabber(), reason="needs libnet-jabber-perl")
@pytest.mark.parametrize("way", ("ssl", "tls"))
def test_net_jabber(server, account, way):
    """It registers and logs in without SASL, on the SSL port and after STARTTLS, and talks to a client of today."""
    friend, name = account("friend"), f"perl{way}"
    port = server.tls_port if way == "ssl" else server.client_port
    with wire.Wire(server, direct_tls=True) as one:
        one.login(friend.name, friend.password, "today")
        one.send("<presence/>")
        program = subprocess.Popen(
            ["perl", SCRIPT, "localhost", str(port), way, name, "secret"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            told = []
            while "present\n" not in told:
                line = program.stdout.readline()
                assert line, told
                told.append(line)
            assert told == ["connected\n", "registered ok\n", "authenticated ok\n", "present\n"]
            # Its presence may still be on its way; what is for a full address waits or arrives, it is not lost.
            one.send(f"<message to='{name}@localhost/perl' type='chat'><body>Still there?</body></message>")
            answer = one.until(lambda stanza: stanza.tag.endswith("message"))
            assert answer.get("from") == f"{name}@localhost/perl"
            assert answer.findtext("{jabber:client}body") == "Perl heard: Still there?"
            assert program.stdout.read() == "left\n"
            assert program.wait(wire.TIMEOUT_SECONDS) == 0
        finally:
            program.kill()
            program.wait()
