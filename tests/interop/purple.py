"""libpurple (Pidgin's, Adium's and finch's engine) as a test drives it: `purple_client.c`, compiled here, one process a user."""

import asyncio
import os
import pathlib
import shutil
import subprocess
from xml.etree import ElementTree

TIMEOUT_SECONDS = 60
SOURCE = pathlib.Path(__file__).with_name("purple_client.c")


def missing():
    """What is not installed, or None."""
    if not (shutil.which("cc") and shutil.which("pkg-config")):
        return "a C compiler and pkg-config"
    found = subprocess.run(["pkg-config", "--exists", "purple"], check=False).returncode == 0
    return None if found else "libpurple-dev"


def build(directory):
    """Compiles the client; returns the program."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "purple_client"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "purple"], check=True, capture_output=True, text=True
    ).stdout.split()
    subprocess.run(["cc", "-Wall", "-o", program, SOURCE, *flags], check=True)
    return program


class Purple:
    """One user's program. `events` are the lines that it told and that no test took yet."""

    def __init__(self, program, home):
        self.program = program
        self.home = pathlib.Path(home)
        self.events = []
        self.sent, self.received = [], []
        self._arrival = asyncio.Event()

    async def __aenter__(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.log = open(self.home / "log", "ab")
        keep = {key: os.environ[key] for key in ("PATH",)}
        self.process = await asyncio.create_subprocess_exec(
            self.program,
            self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            limit=1 << 24,
            env=keep | {"HOME": str(self.home), "LC_ALL": "C.UTF-8"},
        )
        self.reading = asyncio.create_task(self._read())
        await self.event("ready")
        return self

    async def __aexit__(self, *_):
        """Its user closes the window: the program leaves the network first."""
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), TIMEOUT_SECONDS)
        finally:
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()
            await self.reading
            self.log.close()
        assert self.process.returncode == 0, f"it ended with {self.process.returncode}"

    async def _read(self):
        while line := await self.process.stdout.readline():
            event = line.decode().rstrip("\n").split("\t")
            if event[0] in ("sent", "received"):
                getattr(self, event[0]).append("\t".join(event[1:]))
            else:
                self.events.append(event)
            self._arrival.set()
        self.events.append(["ended"])
        self._arrival.set()

    def do(self, *words):
        """What its user does next."""
        self.process.stdin.write(("\t".join(map(str, words)) + "\n").encode())

    async def _await(self, search, what):
        async def found():
            while (one := search()) is None:
                assert ["ended"] not in self.events, f"the program ended: {self.home}/log"
                self._arrival.clear()
                await self._arrival.wait()
            return one

        try:
            return await asyncio.wait_for(found(), TIMEOUT_SECONDS)
        except asyncio.TimeoutError:
            told = "\n".join(map(str, self.events))
            raise AssertionError(f"{self.home.name}: no {what}; it told:\n{told}\nlog: {self.home}/log") from None

    async def event(self, name, *fields):
        """Takes the first event of this name that begins with these fields (None: any); returns its fields."""

        def search():
            for index, one in enumerate(self.events):
                given = one[1 : 1 + len(fields)]
                if one[0] == name and len(given) == len(fields):
                    if all(want in (None, is_) for want, is_ in zip(fields, given)):
                        return self.events.pop(index)[1:]
            return None

        return await self._await(search, f"event {name} {fields}")

    async def answered(self):
        """Returns when every question that the program sent is answered; the map of answers by their ids."""

        def search():
            answers = self.answers()
            return answers if set(self.questions()) <= set(answers) else None

        return await self._await(search, "answer to each question")

    def questions(self):
        """The requests that the program sent, by their ids."""
        elements = [ElementTree.fromstring(text) for text in self.sent if text.startswith("<iq")]
        return {one.get("id"): one for one in elements if one.get("type") in ("get", "set")}

    def answers(self):
        elements = [ElementTree.fromstring(text) for text in self.received if text.startswith("<iq")]
        return {one.get("id"): one for one in elements if one.get("type") in ("result", "error")}

    def use(self, account, port, security="require_tls", **options):
        """The account's settings. `security` is `old_ssl` for the port of direct TLS."""
        self.do("account", f"{account.jid}/purple", account.password)
        options = {"connect_server": "127.0.0.1", "port": port, "connection_security": security} | options
        for name, value in options.items():
            self.do("option", name, value)

    async def connect(self):
        self.do("connect")
        await self.event("online")

    async def leave(self):
        self.do("disconnect")
        await self.event("offline")
