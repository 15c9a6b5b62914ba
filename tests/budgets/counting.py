"""A server in a thread of its own, on the loop it is run on, whose Python calls are counted one by one."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit

import uvloop

from madang import Server

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
DEADLINE: Final = 10.0
NOT_COUNTED: Final = (__file__, "/threading.py", "/uvicorn/server.py")
"""What measures, and the tick of uvicorn's own loop."""


class Counted:
    """A listening server; `calls` runs a function in its thread and counts the Python functions called meanwhile."""

    def __init__(self, io: Server, *, loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop) -> None:
        self.io = io
        self.url = ""
        self.loop: asyncio.AbstractEventLoop = loop()
        self.tasks_made = 0
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Counted:
        self._thread.start()
        assert self._ready.wait(DEADLINE)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        running = await self.io.start(port=0)
        self.url = running.url
        self.loop.set_task_factory(self._make_task)
        self._ready.set()
        await self._stop.wait()
        self.loop.set_task_factory(None)
        await running.stop()

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **how: Any) -> Any:
        # uvicorn's own loop ticks by sleeping, which makes no task; whatever comes here was made for a client
        self.tasks_made += 1
        return asyncio.Task(coroutine, loop=loop, **how)

    def inside(self, function: Callable[[], Any]) -> Any:
        """Call a function in the server's thread and return what it returns."""
        answer: list[Any] = []
        done = threading.Event()

        def call() -> None:
            answer.append(function())
            done.set()

        self.loop.call_soon_threadsafe(call)
        assert done.wait(DEADLINE)
        return answer[0]

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Count the Python functions that the server's thread calls during the block, by name."""
        calls: Counter[str] = Counter()

        def profile(frame: FrameType, event: str, _: object) -> None:
            code = frame.f_code
            if event == "call" and not code.co_filename.endswith(NOT_COUNTED):
                calls[f"{code.co_filename.rpartition('/')[2]}:{code.co_qualname}"] += 1

        self.inside(lambda: sys.setprofile(profile))
        try:
            yield calls
        finally:
            self.inside(lambda: sys.setprofile(None))


class Client:
    """A blocking WebSocket client that has joined ``/``; `headers` are further lines of its handshake."""

    def __init__(self, url: str, *headers: bytes) -> None:
        where = urlsplit(url)
        self.plain = socket.create_connection((where.hostname, where.port), timeout=DEADLINE)
        self.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.plain.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + b"\r\n".join((KEY.encode(), *headers, b"\r\n"))
        )
        self.until(b'"maxPayload"')
        self.send(b"40")
        self.until(b'40{"sid":')

    def send(self, packet: bytes) -> None:
        """Send one text message."""
        size = len(packet)
        assert size < 126
        self.plain.sendall(bytes((0x81, 0x80 | size)) + b"\0\0\0\0" + packet)

    def until(self, text: bytes) -> None:
        """Read until a text has come."""
        while text not in self._buffer:
            data = self.plain.recv(65536)
            assert data, "the server has closed the connection"
            self._buffer += data
        self._buffer = b""

    def close(self) -> None:
        self.plain.close()


@contextmanager
def clients(url: str, count: int, *headers: bytes) -> Iterator[list[Client]]:
    """Some clients that have joined."""
    connected = [Client(url, *headers) for _ in range(count)]
    try:
        yield connected
    finally:
        for client in connected:
            client.close()
