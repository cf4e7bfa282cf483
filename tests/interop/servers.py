"""The servers that the tests talk to: ours, and one reference that proves the tests themselves.

A server here is a process on free loopback ports with all its files in one scratch directory. It can be killed and
started again on the same files, which is what the durability tests are about.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from xml.sax.saxutils import escape

# The installed server may have another name.
HOST = os.environ.get("INTEROP_HOST", "localhost")
SECOND_HOST = "second.localhost"
ADMIN = "admin@localhost"
WELCOME_SUBJECT = "Welcome!"
WELCOME_BODY = "Welcome to the test server."
INSTRUCTIONS = "Choose a name and a password."

# Only a broken server takes as long.
START_SECONDS = 60
STOP_SECONDS = 60


class StartFailed(Exception):
    """The server did not begin to listen; the text holds what it printed."""


HELD = []


def free_ports(count):
    """Ports of 127.0.0.1 that nobody else is given as long as this process lives. They are bound here and not listened at,
    so the kernel passes them over, and a server that asks for one by its number gets it, again and again (SO_REUSEADDR)."""
    for _ in range(count):
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        HELD.append(held)
    return [held.getsockname()[1] for held in HELD[-count:]]


class Server:
    """What all servers here have in common: start, stop, kill, ports and the files of one scratch directory."""

    kind = "?"
    start_seconds = START_SECONDS
    # Whether it writes jabberd 1.4's record.log.
    record_kept = False

    def __init__(self, directory, **options):
        self.directory = pathlib.Path(directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.options = options
        self.client_port, self.tls_port = free_ports(2)
        self.process = None
        self.configure()

    def configure(self):
        """Writes the configuration file."""
        raise NotImplementedError

    def command(self):
        """What starts the server in the foreground."""
        raise NotImplementedError

    def start(self):
        """Returns when both client ports accept connections."""
        with open(self.directory / "output", "ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.directory
            )
        deadline = time.monotonic() + self.start_seconds
        for port in (self.client_port, self.tls_port):
            while True:
                if self.process.poll() is not None:
                    raise StartFailed(f"{self.kind} ended with {self.process.returncode}:\n{self.output()}")
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        self.kill()
                        raise StartFailed(f"{self.kind} does not listen on {port}:\n{self.output()}") from None
                    time.sleep(0.01)
        return self

    def kill(self):
        """Ends the process at once, in the middle of whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Asks the process to end; returns its exit status, or None if it had to be killed."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def output(self):
        """What the process printed so far."""
        return (self.directory / "output").read_text(errors="replace")

    def seconds_of_cpu(self):
        """What the process used so far: unlike what a clock tells, it hardly depends on what else the machine does."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_peak_kib(self):
        """The most memory the process ever had (Linux), or None where that is not known."""
        try:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), None)

    def record(self):
        """The lines of record.log."""
        path = self.directory / "record.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def error_log(self):
        """The lines of error.log."""
        path = self.directory / "error.log"
        return path.read_text(errors="replace").splitlines() if path.exists() else []


class Jabberd(Server):
    """Our server, configured in jabberd 1.4's grammar.

    Options: `register=False` closes registration; `limits` is a map of bounds; `jsm`, `c2s` and `extra` are XML put into
    those sections or at the end. Failed logins are not slowed unless a test wants it: all come from one address here.
    """

    kind = "jabberd"
    record_kept = True

    def configure(self):
        (self.directory / "spool").mkdir()
        self.config = self.directory / "jabber.xml"
        register = f"""
      <register notify="yes">
        <instructions>{escape(INSTRUCTIONS)}</instructions>
        <name/>
        <email/>
      </register>"""
        if not self.options.get("register", True):
            register = ""
        limits = {"failed-logins-per-address-max": 1_000_000} | self.options.get("limits", {})
        limits = "".join(f"<{name}>{value}</{name}>" for name, value in limits.items())
        self.config.write_text(f"""<jabber>
  <service id="sessions">
    <host>{HOST}</host>
    <host>{SECOND_HOST}</host>
    <jsm xmlns="jabber:config:jsm">{register}
      <welcome>
        <subject>{escape(WELCOME_SUBJECT)}</subject>
        <body>{escape(WELCOME_BODY)}</body>
      </welcome>
      <admin>
        <read>{ADMIN}</read>
        <write>{ADMIN}</write>
      </admin>
      <vCard><FN>Interop test server</FN></vCard>
      {self.options.get("jsm", "")}
    </jsm>
  </service>
  <service id="c2s">
    <load><pthsock_client/></load>
    <pthcsock xmlns='jabber:config:pth-csock'>
      <authtime>60</authtime>
      <ip port="{self.client_port}">127.0.0.1</ip>
      <ssl port="{self.tls_port}">127.0.0.1</ssl>
      {self.options.get("c2s", "")}
    </pthcsock>
  </service>
  <xdb id="xdb">
    <load><xdb_file/></load>
    <xdb_file xmlns="jabber:config:xdb_file"><spool>{self.directory}/spool</spool></xdb_file>
  </xdb>
  <log id='elogger'>
    <host/>
    <logtype/>
    <format>%d: [%t] (%h): %s</format>
    <file>{self.directory}/error.log</file>
    <stderr/>
  </log>
  <log id='rlogger'>
    <host/>
    <logtype>record</logtype>
    <format>%d %h %s</format>
    <file>{self.directory}/record.log</file>
  </log>
  <pidfile>{self.directory}/jabber.pid</pidfile>
  <limits xmlns='urn:jabber:config:3'>{limits}</limits>
  {self.options.get("extra", "")}
</jabber>
""")

    def command(self):
        return [os.environ["JABBERD"], "-c", str(self.config)]


class Prosody(Server):
    """The reference: a test that fails here is a wrong test, unless it is marked as a matter of our own choice."""

    kind = "prosody"

    def configure(self):
        (self.directory / "data").mkdir()
        certificate, key = self.directory / "cert.pem", self.directory / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},DNS:{SECOND_HOST}"]
            + ["-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        registration = "true" if self.options.get("register", True) else "false"
        self.config = self.directory / "prosody.cfg.lua"
        self.config.write_text(f"""
run_as_root = true
daemonize = false
pidfile = "{self.directory}/prosody.pid"
data_path = "{self.directory}/data"
log = {{ info = "{self.directory}/prosody.log" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.client_port} }}
legacy_ssl_ports = {{ {self.tls_port} }}
c2s_direct_tls_ports = {{ {self.tls_port} }}
legacy_ssl_ssl = {{ certificate = "{certificate}", key = "{key}" }}
c2s_direct_tls_ssl = {{ certificate = "{certificate}", key = "{key}" }}
ssl = {{ certificate = "{certificate}", key = "{key}" }}
modules_enabled = {{
  "roster", "saslauth", "tls", "disco", "private", "vcard_legacy", "pep", "version", "uptime", "time",
  "lastactivity", "ping", "register", "posix", "welcome", "legacyauth",
  "watchregistrations", "blocklist"
}}
modules_disabled = {{ "s2s" }}
admins = {{ "{ADMIN}" }}
registration_watchers = {{ "{ADMIN}" }}
allow_registration = {registration}
c2s_require_encryption = true
authentication = "internal_hashed"
welcome_message = "{WELCOME_BODY}"
VirtualHost "{HOST}"
VirtualHost "{SECOND_HOST}"
""")

    def command(self):
        return ["prosody", "--config", str(self.config), "-F"]


class Installed(Server):
    """The server that the Debian package put on this machine; somebody else starts and stops it."""

    kind = "installed"
    record_kept = True

    def __init__(self, directory, **_):
        pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
        self.directory = pathlib.Path("/var/log/jabber")
        self.client_port, self.tls_port = 5222, 5223

    def start(self):
        socket.create_connection(("127.0.0.1", self.client_port), timeout=START_SECONDS).close()
        return self

    def stop(self):
        return None


def server_class():
    """Ours, or the one that the environment's SERVER names."""
    return {"jabberd": Jabberd, "prosody": Prosody, "installed": Installed}[os.environ.get("SERVER", "jabberd")]
