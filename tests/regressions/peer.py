"""A client on a WebSocket that answers pings and keeps what comes, and waiting for what holds soon."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from websockets.exceptions import ConnectionClosed

from madang import Server
from tests.conformance.wire import DEADLINE, SOCKET, WebSocket, session

T = TypeVar("T")

INTERNAL_ERROR = [{"error": {"code": "internal_error", "message": "internal error"}}]
"""What a client is answered when a handler has failed."""


def serving(**options: Any) -> Server:
    """A server whose event ``ping me`` is answered, for seeing that a client is still served."""
    io = Server(**options)
    io.on("ping me", lambda socket: "pong")
    return io


async def until(holds: Callable[[], T], what: str, seconds: float = DEADLINE) -> T:
    """Wait for something that must hold soon, and return it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (found := holds()):
        assert loop.time() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.005)
    return found


class Peer:
    """One client.

    Attributes:
        received: the packets and attachments that came and that `packet` has not taken, without pings.
        pongs: whether it answers pings.
        ended: set when the connection has ended.
    """

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.received: list[Any] = []
        self.pongs = True
        self.ended = asyncio.Event()
        self._ids = itertools.count(1)

    async def read(self) -> None:
        try:
            async for message in self.ws.connection:
                if message != "2":
                    self.received.append(message)
                elif self.pongs:
                    await self.ws.send("3")
        except ConnectionClosed:
            pass
        finally:
            self.ended.set()

    async def send(self, *packets: str | bytes) -> None:
        await self.ws.send(*packets)

    async def emit(self, *args: Any, times: int = 1) -> None:
        await self.ws.send(*[f"42{json.dumps(args)}"] * times)

    async def packet(self, begins: str) -> str:
        """The next text packet that begins so."""

        def found() -> list[str]:
            packets = [got for got in self.received if isinstance(got, str) and got.startswith(begins)]
            assert packets or not self.ended.is_set(), f"it has ended without a packet {begins}..."
            return packets

        packet = (await until(found, f"a packet {begins}..."))[0]
        self.received.remove(packet)
        return packet

    async def ask(self, *args: Any) -> Any:
        """Emit, and return the values of the answer."""
        number = next(self._ids)
        await self.send(f"42{number}{json.dumps(args)}")
        return json.loads((await self.packet(f"43{number}["))[len(f"43{number}") :])

    async def join(self, namespace: str = "") -> None:
        await self.send(f"40{namespace}")
        await self.packet(f'40{namespace}{{"sid":')

    async def served(self) -> None:
        """See that it is still served."""
        assert await self.ask("ping me") == ["pong"]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Peer]:
    """A client that has joined no namespace yet."""
    async with session(url, SOCKET) as ws:
        peer = Peer(ws)
        reading = asyncio.create_task(peer.read())
        try:
            yield peer
        finally:
            reading.cancel()
            await asyncio.wait([reading])


@asynccontextmanager
async def joined(url: str, *namespaces: str) -> AsyncIterator[Peer]:
    """A client that has joined some namespaces (as ``"/name,"``), ``/`` unless told otherwise."""
    async with connected(url) as peer:
        for namespace in namespaces or ("",):
            await peer.join(namespace)
        yield peer
