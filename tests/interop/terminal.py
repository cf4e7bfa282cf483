"""A program in a terminal of its own: tmux types into it and reads its screen."""

import asyncio
import os
import pathlib
import shutil
import subprocess
import time

TIMEOUT_SECONDS = 60


class Terminal:
    """One program. Text is typed as a person would; what comes is awaited on the screen."""

    def __init__(self, command, home):
        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.socket = str(self.home / "tmux")
        keep = {key: os.environ[key] for key in ("PATH", "TERMINFO") if key in os.environ}
        self.environment = keep | {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "LC_ALL": "C.UTF-8",
            "TERM": "screen",
        }
        self._tmux("-f", "/dev/null", "new-session", "-d", "-s", "one", "-x", "150", "-y", "60", command)

    def _tmux(self, *arguments):
        return subprocess.run(
            ["tmux", "-S", self.socket, *arguments],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def screen(self):
        return self._tmux("capture-pane", "-p", "-J", "-t", "one")

    def type(self, text):
        self._tmux("send-keys", "-t", "one", "-l", text)
        self._tmux("send-keys", "-t", "one", "Enter")

    async def shows(self, *texts):
        """Waits until the screen shows all of these; returns it."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            screen = self.screen()
            if all(text in screen for text in texts):
                return screen
            assert time.monotonic() < deadline, f"awaited {texts} on:\n{screen}"
            await asyncio.sleep(0.05)

    def alive(self):
        return (
            subprocess.run(
                ["tmux", "-S", self.socket, "has-session"], env=self.environment, capture_output=True, check=False
            ).returncode
            == 0
        )

    async def quit(self):
        """Leaves the program as a person does; awaits its end."""
        self.type("/quit")
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self.alive():
            assert time.monotonic() < deadline, self.screen()
            await asyncio.sleep(0.05)

    def end(self):
        if self.alive():
            subprocess.run(
                ["tmux", "-S", self.socket, "kill-server"], env=self.environment, capture_output=True, check=False
            )


class Profanity(Terminal):
    """Debian's profanity."""

    def __init__(self, home):
        super().__init__(f"profanity -l DEBUG -f {home}/log", home)

    async def ready(self):
        await self.shows("Type '/help'")
        return self

    @staticmethod
    def installed():
        return shutil.which("profanity") and shutil.which("tmux")

    async def register(self, name, password, host, port):
        """Registers over STARTTLS; the certificate is self-made."""
        self.type(f"/register {name} {host} port {port} tls trust")
        for prompt in ("Enter password:", "Confirm password:"):
            await self.shows(prompt)
            self.type(password)
        await self.shows("Registration successful")

    async def connect(self, jid, password, port, tls="trust"):
        """Logs in with the resource `profanity`. With `tls="legacy"` it asks what to think of the certificate."""
        self.type(f"/connect {jid}/profanity server 127.0.0.1 port {port} tls {tls}")
        await self.shows("Enter password:")
        self.type(password)
        if tls == "legacy":
            await self.shows("/tls allow")
            self.type("/tls allow")
        await self.shows("logged in successfully")


class Mcabber(Terminal):
    """Debian's mcabber, on loudmouth. What it does and hears is in its trace."""

    def __init__(self, home, jid, password, port, ssl):
        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.trace = self.home / f"trace-{port}"
        settings = {
            "jid": jid,
            "password": f'"{password}"',
            "server": "127.0.0.1",
            "port": port,
            "ssl" if ssl else "tls": 1,
            # The server made its certificate itself.
            "ssl_ignore_checks": 1,
            "resource": "mcabber",
            "disable_random_resource": 1,
            "tracelog_level": 3,
            "tracelog_file": self.trace,
        }
        rc = self.home / "mcabberrc"
        rc.write_text("".join(f"set {name} = {value}\n" for name, value in settings.items()))
        for path in (self.home, rc):
            # It warns of others' eyes, and waits.
            path.chmod(0o700)
        super().__init__(f"mcabber -f {rc}", home)

    async def ready(self):
        await self.traces("Connection established.", "Your status has been set")
        return self

    @staticmethod
    def installed():
        return shutil.which("mcabber") and shutil.which("tmux")

    async def traces(self, *texts):
        """Waits until its trace has all of these."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            trace = self.trace.read_text(errors="replace") if self.trace.exists() else ""
            if all(text in trace for text in texts):
                return
            assert time.monotonic() < deadline, f"awaited {texts} in {self.trace}; the screen:\n{self.screen()}"
            await asyncio.sleep(0.05)
