"""A conversation, and what became of it: what was said in each session, what arrived, and what was told of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import madang
from madang.errors import ConnectionFailed
from tests.faults.proxy import Proxy, between
from tests.hosts import listening

TRANSPORTS: Final[dict[str, list[str]]] = {
    "websocket": ["websocket"],
    "polling": ["polling"],
    "upgrade": ["polling", "websocket"],
}
REASONS: Final = ("transport close", "transport error", "ping timeout", "parse error")

#: seconds in which a client has to be back once nothing stands in its way
SOON: Final = 3.0

QUICK: Final[dict[str, Any]] = {
    "force_new": True,
    "reconnection_delay": 0.01,
    "reconnection_delay_max": 0.03,
    "timeout": 0.5,
}


class Told:
    """What a server was told, by the session it was told in."""

    def __init__(self) -> None:
        self.notes: dict[str, list[int]] = {}
        self.ticks: dict[str, int] = {}
        self.all: list[int] = []

    def note(self, session: str, number: int) -> int:
        """Note a number; which one it is in its session."""
        notes = self.notes.setdefault(session, [])
        notes.append(number)
        self.all.append(number)
        self.ticks[session] = len(notes)
        return len(notes) - 1

    @classmethod
    def read(cls, path: Path) -> Told:
        """What Node's server has written down."""
        told = cls()
        for line in path.read_text().splitlines():
            session, _, number = line.partition(" ")
            told.note(session, int(number))
        return told


def server(told: Told, **options: Any) -> madang.Server:
    """A server that answers each `note` with a `tick`, numbered in each session, and with an ack if one is wanted."""
    io = madang.Server(**options)

    @io.on("connection")
    def connected(socket: madang.Socket) -> None:
        @socket.on("note")
        def note(number: int) -> int:
            socket.emit("tick", socket.id, told.note(socket.id, number))
            return number

        @socket.on("silence")
        def silence(ack: madang.Ack) -> None:
            """It gets no answer."""

    return io


class Talker:
    """A client that notes what it hears, and what befalls it."""

    def __init__(self, client: madang.Client) -> None:
        self.client = client
        self.ticks: dict[str, list[int]] = defaultdict(list)
        self.connects = 0
        self.disconnects: list[str] = []
        self.errors: list[Exception] = []
        self.closes: list[str] = []
        self.offline: list[int] = []
        self.said = 0
        self.certain: Callable[[], object] = lambda: True
        client.on("tick", self._tick)
        client.on("connect", self._connect)
        client.on("disconnect", self._disconnect)
        client.on("connect_error", self._error)
        client.manager.on("close", lambda reason, description: self.closes.append(reason))

    def _tick(self, session: str, number: int) -> None:
        self.ticks[session].append(number)

    def _connect(self) -> None:
        self.connects += 1

    def _disconnect(self, reason: str, description: Any = None) -> None:
        self.disconnects.append(reason)

    def _error(self, error: Exception) -> None:
        self.errors.append(error)

    @property
    def troubles(self) -> int:
        """How often it has said that something was wrong."""
        return len(self.closes) + len(self.errors)

    def say(self) -> None:
        """The next number."""
        if not self.client.is_connected and self.certain():
            self.offline.append(self.said)
        self.client.emit("note", self.said)
        self.said += 1

    async def talk(self, times: int, pause: float = 0.002) -> None:
        """Say the next numbers, some in one turn."""
        for number in range(times):
            self.say()
            if number % 3:
                await asyncio.sleep(pause)

    async def until(self, true: Callable[[], object], within: float = SOON) -> None:
        """Wait until something is the case."""
        deadline = time.monotonic() + within
        while not true():
            assert time.monotonic() < deadline, self.report()
            await asyncio.sleep(0.002)

    async def last_word(self, within: float = SOON) -> None:
        """Say a number that is answered, which shows that all before it has been heard."""
        deadline = time.monotonic() + within
        while True:
            left = deadline - time.monotonic()
            assert left > 0, self.report()
            self.said += 1
            try:
                await self.client.emit_with_ack("note", self.said - 1, timeout=left)
            except madang.SocketClosed:
                continue
            return

    def report(self) -> str:
        return (
            f"{self.client!r} {self.client.manager!r}: {self.connects} connects, disconnects {self.disconnects}, "
            f"closes {self.closes}, errors {self.errors}"
        )

    def check(self, told: Told) -> None:
        """At most once, in order, no gap within a session; and what was said offline exactly once."""
        heard = told.all
        assert heard == sorted(set(heard)), f"doubled or out of order: {heard}"
        for notes in told.notes.values():
            assert notes == list(range(notes[0], notes[0] + len(notes))), f"a gap: {notes}"
        assert set(self.offline) <= set(heard), f"lost: {sorted(set(self.offline) - set(heard))}"
        for session, ticks in self.ticks.items():
            assert ticks == list(range(len(ticks))), f"doubled, lost or out of order: {ticks}"
            assert len(ticks) <= told.ticks[session]
        assert set(self.closes) <= set(REASONS)
        assert len(self.disconnects) == self.connects - self.client.is_connected, self.report()
        assert set(self.disconnects) <= set(self.closes)
        for error in self.errors:
            assert isinstance(error, ConnectionFailed), repr(error)
            assert 0 < len(str(error)) < 1000  # it is for a line in a log, whatever the server has sent


@asynccontextmanager
async def behind_a_proxy(io: madang.Server) -> AsyncIterator[Proxy]:
    """The server, listening in this loop, and a proxy before it."""
    async with listening(io) as url, between(int(url.rpartition(":")[2])) as proxy:
        yield proxy


async def together(cases: Mapping[str, Coroutine[Any, Any, None]], at_once: int = 8) -> None:
    """Run cases side by side, since each of them mostly waits; those that fail are all told, by their names."""
    places = asyncio.Semaphore(at_once)

    async def one(name: str, case: Coroutine[Any, Any, None]) -> None:
        async with places:
            try:
                await case
            except Exception as error:
                error.add_note(f"the case: {name}")
                raise

    ends = await asyncio.gather(*(one(name, case) for name, case in cases.items()), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, Exception)]
    if errors:
        raise ExceptionGroup("; ".join(error.__notes__[-1] for error in errors), errors)


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/dev/fd"))
