"""The servers of the tests, each the home of one domain: ours, Prosody, jabberd2, ejabberd.

Clients reach all of them at 127.0.0.1, on ports of their own; other servers at an address of their own and port 5269.
"""

import collections
import gzip
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import time
from xml.etree import ElementTree

import servers
import wire

SERVER_PORT = 5269

Account = collections.namedtuple("Account", "name host password")
Account.jid = property(lambda self: f"{self.name}@{self.host}")


class Home(servers.Server):
    """Options of all: `domain`, `address`, `certificate`, `authority` (a file), `port`."""

    log_name = "error.log"

    def __init__(self, directory, domain, address, certificate=None, authority=None, port=SERVER_PORT, **options):
        self.domain, self.address, self.port = domain, address, port
        self.certificate, self.authority = certificate, authority
        super().__init__(directory, **options)

    def start(self):
        super().start()
        deadline = time.monotonic() + self.start_seconds
        while self.options.get("listens", True):
            try:
                socket.create_connection((self.address, self.port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"{self.kind} does not listen on {self.address}:{self.port}"
                time.sleep(0.02)
        return self

    def account(self, name, domain=None, password="secret"):
        """Registers an account, and takes the welcome away."""
        account = Account(name, domain or self.domain, password)
        with wire.Wire(self, direct_tls=True, name=account.host) as one:
            one.open(account.host)
            one.register(account.name, account.password, self.registration_fields)
            one.close()
        return account

    registration_fields = ""

    def log(self):
        """All that it logged."""
        path = self.directory / self.log_name
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self, pattern, seconds=wire.TIMEOUT_SECONDS):
        """Waits for a line of the log that fits, and returns it."""
        deadline = time.monotonic() + seconds
        while True:
            found = [line for line in self.log().splitlines() if re.search(pattern, line)]
            if found:
                return found[-1]
            assert time.monotonic() < deadline, f"{self.kind} logged nothing like {pattern!r}:\n{self.log()}"
            time.sleep(0.02)


class Ours(Home):
    """Options: `hosts` (more domains than one), `policies` and `s2s` (XML for <dialback>), `services` (SRV names in their
    order), `direct` (a port with TLS from the first byte), `blocks`, `limits`, `extra`, `resolves=False`,
    `system_authorities` (a file in the place of the system's)."""

    kind = "jabberd"
    ours = True
    SERVICES = ("_xmpps-server._tcp", "_xmpp-server._tcp", "_jabber._tcp")

    def configure(self):
        (self.directory / "spool").mkdir()
        self.config = self.directory / "jabber.xml"
        self.write()

    def write(self):
        option = self.options.get
        hosts = "".join(f"<host>{host}</host>" for host in (self.domain, *option("hosts", ())))
        limits = "".join(f"<{name}>{value}</{name}>" for name, value in option("limits", {}).items())
        resend = "".join(f"<resend service='{one}'>s2s</resend>" for one in option("services", self.SERVICES))
        direct = f"<tls port='{option('direct')}'>{self.address}</tls>" if option("direct") else ""
        names = " ".join((self.domain, *option("hosts", ())))
        certificate = self.certificate and (
            f"<certificate xmlns='urn:jabber:config:3' host='{names}' key='{self.certificate.key}'>"
            f"{self.certificate.chain}</certificate>"
        )
        trusted = self.authority and f"<io><tls><cacertfile>{self.authority}</cacertfile></tls></io>"
        finding = f"""
  <service id='dnsrv'>
    <host/>
    <load><dnsrv/></load>
    <dnsrv xmlns='jabber:config:dnsrv'>{resend}<resend>s2s</resend></dnsrv>
  </service>"""
        listens = f"<ip port='{self.port}'>{self.address}</ip>" if option("listens", True) else ""
        self.config.write_text(f"""<jabber>
  <service id='sessions'>
    {hosts}
    <jsm xmlns='jabber:config:jsm'><register/></jsm>
  </service>
  <service id='c2s'>
    <load><pthsock_client/></load>
    <pthcsock xmlns='jabber:config:pth-csock'>
      <ip port='{self.client_port}'>127.0.0.1</ip>
      <ssl port='{self.tls_port}'>127.0.0.1</ssl>
    </pthcsock>
  </service>
  <service id='s2s'>
    <load><dialback/></load>
    <dialback xmlns='jabber:config:dialback'>
      {listens}
      {direct}
      <queuetimeout>{option("queue_seconds", 15)}</queuetimeout>
      {option("policies", "")}
      {option("s2s", "")}
    </dialback>
  </service>
  {finding if option("resolves", True) else ""}
  <xdb id='xdb'>
    <load><xdb_file/></load>
    <xdb_file xmlns='jabber:config:xdb_file'><spool>{self.directory}/spool</spool></xdb_file>
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
  {certificate or ""}
  {trusted or ""}
  {option("blocks", "")}
  <limits xmlns='urn:jabber:config:3'>{limits}</limits>
  {option("extra", "")}
</jabber>
""")

    def reload(self, **changes):
        """Other options, without a new start."""
        self.options |= changes
        self.write()
        self.process.send_signal(signal.SIGHUP)

    def command(self):
        trust = self.options.get("system_authorities")
        system = ["env", f"SSL_CERT_FILE={trust}"] if trust else []
        return [*system, os.environ["JABBERD"], "-c", str(self.config), *self.options.get("arguments", ())]


class Prosody(Home):
    """Options: `secure` (certificates only), `tls` ("force", "yes", "no"), `insecure` (domains that need no certificate),
    `hosts`, `direct`, `interfaces`, `modules` (more of them), `config` (more Lua)."""

    kind = "prosody"
    ours = False
    log_name = "prosody.log"
    MODULES = (
        "roster saslauth tls dialback disco private vcard_legacy version uptime time lastactivity ping register_ibr "
        "posix s2s_bidi smacks"
    )

    def configure(self):
        (self.directory / "data").mkdir()
        option = self.options.get
        modules = self.MODULES.split() + list(option("modules", ()))
        if option("tls", "force") == "no":
            modules.remove("tls")
        lua = "{ " + ", ".join(f'"{name}"' for name in modules) + " }"
        insecure = ", ".join(f'"{name}"' for name in option("insecure", ()))
        own = f'certificate = "{self.certificate.chain}", key = "{self.certificate.key}"'
        ssl = f'ssl = {{ {own}, cafile = "{self.authority}" }}'
        # Clients need TLS even where servers get none: by its first byte.
        hosts = "\n".join(f'VirtualHost "{host}"\n{ssl}' for host in (self.domain, *option("hosts", ())))
        interfaces = ", ".join(f'"{one}"' for one in option("interfaces", (self.address,)))
        secure, force = option("secure", True), option("tls", "force") == "force"
        direct = f"s2s_direct_tls_ports = {{ {option('direct')} }}" if option("direct") else ""
        self.config = self.directory / "prosody.cfg.lua"
        self.config.write_text(f"""
run_as_root = true
daemonize = false
pidfile = "{self.directory}/prosody.pid"
data_path = "{self.directory}/data"
log = {{ {{ levels = {{ min = "{option("level", "debug")}" }}, to = "file", filename = "{self.directory}/prosody.log" }} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.client_port} }}
c2s_direct_tls_ports = {{ {self.tls_port} }}
c2s_direct_tls_ssl = {{ {own} }}
s2s_ports = {{ {self.port} }}
s2s_interfaces = {{ {interfaces} }}
s2s_direct_tls_interfaces = {{ {interfaces} }}
{direct}
{ssl}
s2s_direct_tls_ssl = {{ {own}, cafile = "{self.authority}" }}
modules_enabled = {lua}
allow_registration = true
c2s_require_encryption = {str(option("tls", "force") != "no").lower()}
allow_unencrypted_plain_auth = {str(option("tls", "force") == "no").lower()}
s2s_require_encryption = {str(force).lower()}
s2s_secure_auth = {str(secure).lower()}
s2s_insecure_domains = {{ {insecure} }}
authentication = "internal_plain"
{option("config", "")}
{hosts}
""")

    def command(self):
        return ["prosody", "--config", str(self.config), "-F"]


class Jabberd2(Home):
    """Debian's own configuration with as few changes as make it run here. Options: `tls` ("force", "yes", "no")."""

    kind = "jabberd2"
    ours = False
    log_name = "s2s.log"
    PARTS = ("router", "sm", "s2s", "c2s")

    def __init__(self, directory, *arguments, **options):
        self.root = pathlib.Path(os.environ["JABBERD2"])
        self.library = next(self.root.glob("usr/lib/*/jabberd2"))
        self.processes = []
        super().__init__(directory, *arguments, **options)

    def configure(self):
        self.router_port = servers.free_ports(1)[0]
        schema = gzip.decompress((self.root / "usr/share/doc/jabberd2/db-setup.sqlite.gz").read_bytes())
        database = self.directory / "sqlite.db"
        with sqlite3.connect(database) as connection:
            connection.executescript(schema.decode())
        common = {
            "pidfile": f"{self.directory}/{{part}}.pid",
            "log/file": f"{self.directory}/{{part}}.log",
            "router/port": self.router_port,
        }
        users = self.root / "etc/jabberd2/router-users.xml"
        client_pem = self.certificate.both
        changes = {
            "router": {"local/ip": "127.0.0.1", "local/port": self.router_port, "local/users": users}
            | {"aci/filter": self.root / "etc/jabberd2/router-filter.xml"},
            "sm": {"local/id": self.domain, "storage/path": self.library, "modules/path": self.library}
            | {"storage/sqlite/dbname": database},
            "s2s": {"local/ip": self.address, "local/port": self.port, "check/interval": 1}
            | ({} if self.options.get("tls", "yes") == "no" else {"local/pemfile": self.certificate.both})
            | ({"security/require_tls": ""} if self.options.get("tls") == "force" else {}),
            "c2s": {"local/id": self.domain, "local/ip": "127.0.0.1", "local/port": self.client_port}
            | {"local/ssl-port": self.tls_port, "local/pemfile": client_pem}
            | {"authreg/path": self.library, "authreg/sqlite/dbname": database},
        }
        for part in self.PARTS:
            tree = ElementTree.parse(self.root / f"etc/jabberd2/{part}.xml")
            for path, value in (common | changes[part]).items():
                self._set(tree.getroot(), path, str(value).replace("{part}", part))
            if part == "c2s":
                tree.find("local/id").attrib |= {"register-enable": "true", "pemfile": str(client_pem)}
            tree.write(self.directory / f"{part}.xml")

    @staticmethod
    def _set(root, path, value):
        at = root
        for name in path.split("/"):
            found = at.find(name)
            at = ElementTree.SubElement(at, name) if found is None else found
        at.text = value

    def command(self, part="c2s"):
        return [str(self.root / f"usr/sbin/jabberd2-{part}"), "-c", str(self.directory / f"{part}.xml")]

    def start(self):
        environment = os.environ | {"LD_LIBRARY_PATH": str(self.library)}
        self.processes = []
        for part in self.PARTS[:-1]:
            with open(self.directory / "output", "ab") as output:
                self.processes.append(
                    subprocess.Popen(
                        self.command(part), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
                    )
                )
            if part == "router":
                wire.soon(lambda: _listens(self.router_port))
        os.environ["LD_LIBRARY_PATH"] = str(self.library)
        try:
            return super().start()
        finally:
            del os.environ["LD_LIBRARY_PATH"]

    def kill(self):
        super().kill()
        for one in self.processes:
            one.kill()
            one.wait()

    def stop(self):
        status = super().stop()
        for one in reversed(self.processes):
            one.terminate()
            try:
                one.wait(servers.STOP_SECONDS)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        return status


class Ejabberd(Home):
    """Without Debian's ejabberdctl, which would change the user. Options: `tls` ("force", "yes", "no"), `secure`
    (certificates only), `hosts`."""

    kind = "ejabberd"
    ours = False
    # It reads 500 files to begin with, which a busy machine feels.
    start_seconds = 3 * servers.START_SECONDS
    log_name = "ejabberd.log"
    MODULES = "disco roster offline ping version last vcard private"

    def configure(self):
        option = self.options.get
        (self.directory / "data").mkdir()
        modules = [f"  mod_{name}: {{}}" for name in self.MODULES.split()]
        modules += [] if option("secure", True) else ["  mod_s2s_dialback: {}"]
        tls = {"force": "required", "yes": "optional", "no": "false"}[option("tls", "force")]
        hosts = ", ".join((self.domain, *option("hosts", ())))
        clients = 'ip: "127.0.0.1", module: ejabberd_c2s, access: all'
        self.config = self.directory / "ejabberd.yml"
        self.config.write_text(f"""
loglevel: info
hosts: [{hosts}]
certfiles: ["{self.certificate.both}"]
ca_file: "{self.authority}"
s2s_use_starttls: {tls}
auth_method: internal
registration_timeout: infinity
listen:
  - {{port: {self.client_port}, {clients}}}
  - {{port: {self.tls_port}, {clients}, tls: true}}
  - {{port: {self.port}, ip: "{self.address}", module: ejabberd_s2s_in}}
modules:
  mod_register: {{ip_access: all}}
{chr(10).join(modules)}
""")

    def command(self):
        home = next(pathlib.Path("/usr/lib").glob("*/ejabberd-*/ebin"))
        settings = {
            "EJABBERD_CONFIG_PATH": self.config,
            "EJABBERD_LOG_PATH": self.directory / self.log_name,
            "HOME": self.directory,
        }
        data = f'"{self.directory}/data"'
        environment = [f"{name}={value}" for name, value in settings.items()]
        return ["env", *environment, "erl", "-noinput", "-pa", str(home), "-mnesia", "dir", data, "-s", "ejabberd"]

    def stop(self):
        """It takes seconds to say goodbye."""
        if self.process is not None and self.process.poll() is None:
            self.kill()


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def tested():
    """Ours, or the server that proves the tests."""
    return {"jabberd": Ours, "prosody": Prosody}[os.environ.get("HOME_SERVER", "jabberd")]
