"""Programs with windows, on a screen that nobody sees: Xvfb. What they do is seen by whom they talk to."""

import base64
import os
import pathlib
import shutil
import ssl
import subprocess


class Screen:
    """An X server of its own on the first free display."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp", "-noreset"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        # It tells the display when it is ready.
        self.display = ":" + self.process.stdout.readline().strip()
        assert self.display != ":", "Xvfb did not start"

    def run(self, command, home, **environment):
        """Starts a program on this screen, its words in a file `output` at home."""
        keep = {key: os.environ[key] for key in ("PATH",)}
        keep |= {"DISPLAY": self.display, "HOME": str(home), "LC_ALL": "C.UTF-8"}
        with open(pathlib.Path(home) / "output", "ab") as output:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=keep | environment, cwd=home
            )

    def end(self):
        end(self.process)


def end(process):
    process.kill()
    process.communicate()


def missing(program):
    """What of `program` and the screen is not installed, or None."""
    return next((name for name in (program, "Xvfb") if shutil.which(name) is None), None)


PSI_OPTIONS = """<!DOCTYPE psi>
<psi version="1.5" xmlns="http://psi-im.org/options">
 <options>
  <auto-update><check-on-startup type="bool">false</check-on-startup></auto-update>
  <subscriptions><automatically-allow-authorization type="bool">true</automatically-allow-authorization></subscriptions>
  <p2p><bytestreams><listen-port type="int">0</listen-port></bytestreams></p2p>
 </options>
</psi>
"""


def psi(screen, home, account, server, direct_tls):
    """Starts Psi, which logs in by itself. It was told before that the server's certificate is good."""
    certificate = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", server.tls_port)))
    settings = {
        ("QString", "name"): "one",
        ("QString", "jid"): account.jid,
        # Psi hides passwords from passing glances.
        ("QString", "password"): "".join(
            f"{ord(letter) ^ ord(other):04x}" for letter, other in zip(account.password, account.jid, strict=False)
        ),
        ("QString", "resource"): "psi",
        ("bool", "automatic-resource"): "false",
        ("bool", "enabled"): "true",
        ("bool", "auto"): "true",
        ("bool", "reconn"): "false",
        ("bool", "use-host"): "true",
        ("QString", "host"): "127.0.0.1",
        ("int", "port"): server.tls_port if direct_tls else server.client_port,
        ("QString", "ssl"): "legacy" if direct_tls else "yes",
        ("QString", "allow-plain"): "over encryped",
    }
    lines = "".join(f"<{name} type='{kind}'>{value}</{name}>" for (kind, name), value in settings.items())
    lines += (
        f"<tls><override-certificate type='QByteArray'>{base64.b64encode(certificate).decode()}"
        "</override-certificate></tls>"
    )
    profile = home / "profiles" / "default"
    profile.mkdir(parents=True)
    (profile / "accounts.xml").write_text(
        "<!DOCTYPE accounts>\n<accounts version='' xmlns='http://psi-im.org/options'>"
        f"<accounts><a0>{lines}</a0></accounts></accounts>\n"
    )
    (profile / "options.xml").write_text(PSI_OPTIONS)
    return screen.run(["psi", "--profile=default"], home, PSIDATADIR=str(home))


# Tkabber's configuration is a program. It says hello, and answers whoever says something.
TKABBER_CONFIG = """
set loginconf(user) {{{user}}}
set loginconf(password) {{{password}}}
set loginconf(server) {host}
set loginconf(resource) tkabber
set loginconf(usealtserver) 1
set loginconf(altserver) 127.0.0.1
set loginconf(altport) {port}
set loginconf(stream_options) plaintext
set loginconf(usesasl) 0
set loginconf(allowauthplain) 1
set loginconf(stream_management) 0
set autologin 1

proc say_hello {{xlib}} {{
    ::xmpp::sendPresence $xlib -to {friend} -type subscribe
    message::send_msg $xlib {friend} -type chat -body "Hello from Tk"
}}
hook::add connected_hook say_hello 200

proc answer {{xlib from id type is_subject subject body args}} {{
    if {{$type eq "chat" && $body ne ""}} {{
        message::send_msg $xlib $from -type chat -body "Tk heard: $body"
    }}
}}
hook::add process_message_hook answer 10
"""


def tkabber(screen, home, account, port, friend):
    (home / ".tkabber").mkdir(parents=True)
    (home / ".tkabber" / "config.tcl").write_text(
        TKABBER_CONFIG.format(
            user=account.name, password=account.password, host=account.host, port=port, friend=friend
        )
    )
    return screen.run(["tkabber"], home)
