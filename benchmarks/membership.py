"""What joining a room, leaving it and being disconnected cost as a namespace grows, in madang's own classes.

No network: sessions whose transport throws away what it is given, so that only madang's own work is timed.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Iterable
from statistics import median
from typing import Any, Final

import madang
from madang.engine import Request, Session
from madang.protocol.encoded import Encoded
from madang.types import TransportName

ROOM: Final = "everybody"
CONNECT: Final = b"40"
TURN: Final = 100
"""Clients that come in one turn of the loop."""


class Nowhere:
    """A WebSocket transport without a socket."""

    name: TransportName = "websocket"
    writable = True
    buffered = 0

    def __init__(self) -> None:
        self.session: Session | None = None

    def send(self, encoded: Encoded) -> None:
        """Throw a message away."""

    def send_control(self, packet: bytes) -> None:
        """Throw a packet away."""

    def close(self, code: int = 1000, *, linger: bool = True) -> None:
        """There is nothing to close."""

    def abort(self) -> None:
        """There is nothing to end."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


class Crowd:
    """A namespace that grows: a server and its sockets, all of them in one room."""

    def __init__(self) -> None:
        self.io = madang.Server()
        self.io.engine.bind(asyncio.get_running_loop())
        self.sockets: list[madang.Socket] = []

    async def grow(self, size: int) -> None:
        """Let clients come until there are so many."""
        while len(self.sockets) < size:
            self.sockets.append(await self.arrive())
            if len(self.sockets) % TURN == 0:
                await asyncio.sleep(0)

    async def arrive(self) -> madang.Socket:
        """One client: handshake, namespace, room."""
        request = Request("GET", "/socket.io/", "EIO=4&transport=websocket", (), received_at=0.0)
        transport = Nowhere()
        self.io.engine.opened(await self.io.engine.admit(request), transport, request)
        assert transport.session is not None
        known = len(self.io.sockets)
        transport.session.on_text(CONNECT)
        assert len(self.io.sockets) == known + 1
        socket: madang.Socket = self.io.sockets[next(reversed(self.io.sockets))]
        socket.join(ROOM)
        return socket

    async def time(self, operations: int) -> dict[str, list[int]]:
        """Nanoseconds that each operation on any of the sockets takes; the namespace keeps its size."""
        clock = time.perf_counter_ns
        spent: dict[str, list[int]] = {"join": [], "leave": [], "disconnect": []}
        for _ in range(operations):
            place = random.randrange(len(self.sockets))
            socket = self.sockets[place]
            begun = clock()
            socket.leave(ROOM)
            left = clock()
            socket.join(ROOM)
            joined = clock()
            spent["leave"].append(left - begun)
            spent["join"].append(joined - left)
            begun = clock()
            socket.disconnect(close=True)
            spent["disconnect"].append(clock() - begun)
            del socket
            self.sockets[place] = await self.arrive()
        return spent


async def _measure(sizes: Iterable[int], operations: int) -> list[dict[str, Any]]:
    crowd = Crowd()
    points: list[dict[str, Any]] = []
    for size in sizes:
        await crowd.grow(size)
        gc.collect()
        await crowd.time(operations // 10)
        spent = await crowd.time(operations)
        points.append({"sockets": size} | {name: median(times) for name, times in spent.items()})
    return points


def measure(sizes: Iterable[int], operations: int = 3000) -> list[dict[str, Any]]:
    """For each size of the namespace, the median nanoseconds of each operation."""
    random.seed(1)
    return asyncio.run(_measure(sizes, operations))
