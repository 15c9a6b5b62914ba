"""A small HTTP proxy with the faults that real ones have, for ``madang doctor``: one request for each connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from tests.client.tools import port_of


def plain_answer(status: str, body: str = "", *headers: str) -> bytes:
    """An answer of the proxy's own."""
    lines = [f"HTTP/1.1 {status}", "Server: nginx", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@dataclass
class Proxy:
    """What a proxy does wrong.

    Attributes:
        ports: servers behind it, one after another for each connection.
        answers: gives an answer of its own to the head of a request, or None.
        asks: changes the head of a request.
        replies: changes the beginning of an answer.
        holds: whether what has a session waits in it for ever, on its way back.
        idle: seconds after which a connection that is quiet is cut.
    """

    ports: list[int]
    answers: Callable[[str], bytes | None] = lambda head: None
    asks: Callable[[bytes], bytes] = lambda head: head
    replies: Callable[[bytes], bytes] = lambda head: head
    holds: bool = False
    idle: float | None = None
    _turns: count[int] = field(default_factory=count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if (own := self.answers(head.decode())) is not None:
            writer.write(own)
            await writer.drain()
            return
        port = self.ports[next(self._turns) % len(self.ports)]
        behind, ahead = await asyncio.open_connection("127.0.0.1", port)
        try:
            ahead.write(self.asks(head))
            back = asyncio.ensure_future(self._back(head, behind, writer))
            there = asyncio.ensure_future(self._pass_on(reader, ahead))
            await asyncio.wait((back, there), return_when=asyncio.FIRST_COMPLETED)
            for way in (back, there):
                way.cancel()
            await asyncio.gather(back, there, return_exceptions=True)
        finally:
            ahead.close()

    async def _back(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.holds and head.startswith(b"GET") and b"sid=" in head:
            await asyncio.Event().wait()
        with suppress(asyncio.IncompleteReadError):
            writer.write(self.replies(await reader.readuntil(b"\r\n\r\n")))
            await self._pass_on(reader, writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            while data := await asyncio.wait_for(reader.read(65536), self.idle):
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def behind(*urls: str, **faults: object) -> AsyncIterator[str]:
    """The URL of a proxy before these servers."""
    proxy = Proxy([port_of(url) for url in urls], **faults)  # type: ignore[arg-type]
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await proxy.serve(reader, writer)
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def without_upgrade(head: bytes) -> bytes:
    """What a proxy of HTTP/1.0 makes of a request."""
    return re.sub(rb"(?mi)^(Upgrade|Connection|Sec-WebSocket-\w+): [^\r]*\r\n", b"", head)
