"""A TCP proxy that treats connections as a bad network would, at places that a test chooses."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Final, Literal

Way = Literal["up", "down"]
Do = Literal["rst", "fin", "stall", "mute", "pause", "dribble", "double", "garbage", "arm"]
Mood = Literal["pass", "hang up", "mute", "garbage"]

ADDRESS: Final = "127.0.0.1"
GARBAGE: Final = b"\x00\xff\xfe HTTP/9 \x81\x7f\xff\xff" * 500
_RESET: Final = struct.pack("ii", 1, 0)


class Fault:
    """Something that goes wrong in one direction of a connection, once what comes before `at` has passed.

    Args:
        way: from the client (``up``) or from the server (``down``).
        at: so many bytes from when it was armed, or the end of what this expression matches.
        do: ``rst`` or ``fin`` cut the connection; ``stall`` lets nothing more through in this direction, ``mute`` in
            both; ``pause`` waits a little; ``dribble`` goes on byte by byte; ``double`` repeats four bytes;
            ``garbage`` puts something else in place of the rest; ``arm`` does nothing but what `then` says.
        after: so many bytes further on.
        on: only on connections whose first line matches this.
        times: how often.
        then: what else is armed on the same connection when it has struck.
    """

    def __init__(
        self,
        way: Way,
        at: int | bytes,
        do: Do,
        *,
        after: int = 0,
        on: bytes = b"",
        times: int = 1,
        then: Fault | None = None,
    ) -> None:
        self.way = way
        self.at = at
        self.do = do
        self.after = after
        self.on = re.compile(on)
        self.times = times
        self.then = then
        self.struck = asyncio.Event()
        self._pattern = re.compile(at, re.DOTALL) if isinstance(at, bytes) else None

    def __repr__(self) -> str:
        return f"<{self.do} {self.way} at {self.at!r} + {self.after}>"

    def place(self, seen: bytearray, begin: int) -> int | None:
        """Where in the stream it strikes, as far as that can be told."""
        if self._pattern is None:
            assert isinstance(self.at, int)
            return begin + self.at + self.after
        found = self._pattern.search(seen, begin)
        return None if found is None else found.end() + self.after


class _Direction:
    """One direction of a connection."""

    def __init__(self, link: Link, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.link = link
        self.way = way
        self.reader = reader
        self.writer = writer
        self.seen = bytearray()
        self.dribbling = False
        self.armed: list[tuple[Fault, int]] = []

    async def pump(self) -> None:
        while chunk := await self.reader.read(64 * 1024):
            if self.link.muted:
                await self.link.for_ever()
            await self.treat(chunk)

    async def treat(self, chunk: bytes) -> None:
        before = len(self.seen)
        self.seen += chunk
        for fault, begin in self.candidates():
            place = fault.place(self.seen, begin)
            if place is None or place > len(self.seen) or fault.times <= 0:
                continue
            cut = max(0, place - before)
            await self.send(chunk[:cut])
            fault.times -= 1
            rest = chunk[cut:]
            if fault.then is not None:
                self.link.arm(fault.then)
            fault.struck.set()
            await self.strike(fault, rest)
            return
        await self.send(chunk)

    def candidates(self) -> Iterable[tuple[Fault, int]]:
        line = bytes(self.link.first_line)
        common = [(fault, 0) for fault in self.link.proxy.faults if fault.way == self.way and fault.on.search(line)]
        return [*common, *self.armed]

    async def strike(self, fault: Fault, rest: bytes) -> None:
        if fault.do in ("rst", "fin"):
            self.link.cut(rst=fault.do == "rst")
            await self.link.for_ever()
        elif fault.do == "stall":
            await self.link.for_ever()
        elif fault.do == "mute":
            self.link.muted = True
            await self.link.for_ever()
        elif fault.do == "pause":
            await asyncio.sleep(0.05)
        elif fault.do == "dribble":
            self.dribbling = True
        elif fault.do == "double":
            rest = rest[:4] + rest
        elif fault.do == "garbage":
            rest = GARBAGE
        await self.send(rest)

    async def send(self, data: bytes) -> None:
        if not data:
            return
        for part in (data[place : place + 1] for place in range(len(data))) if self.dribbling else (data,):
            self.writer.write(part)
            if self.dribbling:
                await asyncio.sleep(0)
        await self.writer.drain()


class Link:
    """One connection of the client, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self.proxy = proxy
        self.number = number
        self.muted = False
        self.over = asyncio.Event()
        self.directions: dict[Way, _Direction] = {}

    @property
    def first_line(self) -> bytearray:
        return self.directions["up"].seen[:300]

    def arm(self, fault: Fault) -> None:
        """From here on."""
        direction = self.directions[fault.way]
        direction.armed.append((fault, len(direction.seen)))

    async def for_ever(self) -> None:
        """Until the connection is cut."""
        await self.over.wait()
        raise ConnectionAbortedError

    async def run(self, client: tuple[asyncio.StreamReader, asyncio.StreamWriter], port: int) -> None:
        server = await asyncio.open_connection(ADDRESS, port)
        self.directions["up"] = _Direction(self, "up", client[0], server[1])
        self.directions["down"] = _Direction(self, "down", server[0], client[1])
        for fault in self.proxy.plan(self.number):
            self.arm(fault)
        pumps = [asyncio.create_task(direction.pump()) for direction in self.directions.values()]
        over = asyncio.create_task(self.over.wait())
        try:
            await asyncio.wait((*pumps, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut(rst=False)
            server[1].close()
            for task in (*pumps, over):
                task.cancel()
            await asyncio.gather(*pumps, over, return_exceptions=True)

    def cut(self, *, rst: bool) -> None:
        """End both connections; the server's first."""
        if self.over.is_set():
            return
        self.over.set()
        for way in ("up", "down"):
            direction = self.directions.get(way)  # type: ignore[call-overload]
            if direction is not None:
                _end(direction.writer, rst=rst)


class Proxy:
    """Stands between a client and the server at `port`.

    Attributes:
        faults: what goes wrong, on any connection.
        plan: gives what goes wrong on a connection, by its number.
        mood: what new connections meet: ``pass``, ``hang up``, ``mute`` (accept, and never answer) or ``garbage``.
        links: the connections.
        accepted: how many there have been.
    """

    def __init__(self, port: int) -> None:
        self.to = port
        self.port = 0
        self.faults: list[Fault] = []
        self.plan: Callable[[int], Iterable[Fault]] = lambda _: ()
        self.mood: Mood = "pass"
        self.links: set[Link] = set()
        self.accepted = 0
        self._numbers = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}"

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, ADDRESS, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Let the system refuse connections; those that are open are cut."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def cut(self, *, rst: bool = True) -> None:
        """End all connections."""
        for link in tuple(self.links):
            link.cut(rst=rst)

    def mute(self) -> None:
        """Become a black hole: nothing passes any more, and nothing ends; what is new is accepted."""
        self.mood = "mute"
        for link in self.links:
            link.muted = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        link = Link(self, next(self._numbers))
        self.links.add(link)
        try:
            if self.mood == "pass":
                await link.run((reader, writer), self.to)
            elif self.mood == "mute":
                await link.over.wait()
            elif self.mood == "garbage":
                await reader.read(1)
                writer.write(GARBAGE)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.links.discard(link)
            self._tasks.discard(task)
            _end(writer, rst=False)


def _end(writer: asyncio.StreamWriter, *, rst: bool) -> None:
    transport = writer.transport
    if rst and not transport.is_closing():
        found = transport.get_extra_info("socket")
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
    else:
        writer.close()


@asynccontextmanager
async def between(port: int) -> AsyncIterator[Proxy]:
    """A proxy before the server at `port`, until the block is left."""
    proxy = Proxy(port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.refuse()
