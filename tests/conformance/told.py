"""Servers that a test makes with its own options and steers over the wire, and that tell how their sessions ended.

An engine made here echoes messages, except for those that begin with ``!``:

* ``!close`` closes the session, ``!bye x`` sends ``x`` and then closes it;
* ``!fill n`` sends ``n`` times the letter x, ``!plain n`` the same without compression;
* ``!pair`` sends the text ``first`` and the bytes ``01 02``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from madang import Namespace, Server, Socket
from madang.engine import Engine, Session
from tests.conformance.wire import AT_ONCE, SOCKET, Polling, WebSocket, before, session
from tests.hosts import Host, listening

Serving: TypeAlias = Callable[..., AbstractAsyncContextManager["Told"]]
"""Makes one of these servers, with the options it is given."""


@dataclass
class Told:
    """A listening server, seen from a test.

    Attributes:
        url: where it listens.
        ends: the reason and description of each end, in order: of sessions, or of sockets.
        events: what else the server had to say, in order.
        released: until it is set, the middleware of the namespace ``/slow`` lets nobody pass.
    """

    url: str
    ends: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)
    events: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def ended(self, seconds: float = AT_ONCE) -> tuple[str, str]:
        """Why the next session to end has ended."""
        return await before(seconds, self.ends.get(), "the end of a session")


@asynccontextmanager
async def engine(
    host: Host, prepare: Callable[[Engine], object] = lambda _: None, **options: Any
) -> AsyncIterator[Told]:
    """An engine on its own; `prepare` may add to it before it listens."""
    server = Engine(**options)
    prepare(server)
    told = Told("")

    @server.on("connection")
    def connected(session: Session) -> None:
        @session.on("message")
        def message(data: str | bytes) -> None:
            if isinstance(data, str) and data.startswith("!"):
                _obey(session, *data[1:].split(" "))
            else:
                session.send(data)

        for event in ("heartbeat", "upgrading", "upgrade"):
            session.on(event, lambda *_, event=event: told.events.append(event))

        @session.on("close")
        def closed(reason: str, description: object) -> None:
            told.ends.put_nowait((reason, str(description or "")))

    @server.on("connection_error")
    def refused(error: Any, _: object) -> None:
        told.events.append(f"{error.code} {error.message} {error.context.get('name', '')}".rstrip())

    async with listening(server, host) as told.url:
        yield told


def _obey(session: Session, command: str, argument: str = "") -> None:
    if command == "close":
        session.close()
    elif command == "bye":
        session.send(argument)
        session.close()
    elif command == "fill":
        session.send("x" * int(argument))
    elif command == "plain":
        session.send("x" * int(argument), compress=False)
    elif command == "pair":
        session.send("first")
        session.send(b"\x01\x02")


@asynccontextmanager
async def socketio(host: Host, **options: Any) -> AsyncIterator[Told]:
    """A Socket.IO server with the namespaces ``/``, ``/custom`` and ``/slow``, that echoes the event ``message``."""
    io = Server(**options)
    told = Told("")

    @io.of("/slow").use
    async def wait(socket: Socket) -> None:
        await told.released.wait()

    for name in ("/", "/custom", "/slow"):
        _listen(io.of(name), name, told)
    try:
        async with listening(io, host) as told.url:
            yield told
    finally:
        told.released.set()


def _listen(namespace: Namespace, name: str, told: Told) -> None:
    @namespace.on("connection")
    def connected(socket: Socket) -> None:
        told.events.append(f"joined {name}")

        @socket.on("message")
        def message(*args: Any) -> None:
            socket.emit("message", *args)

        @socket.on("error")
        def failed(error: Exception) -> None:
            told.events.append(f"error {name}")

        @socket.on("disconnect")
        def gone(reason: str) -> None:
            told.ends.put_nowait((reason, name))


# ------------------------------------------------------------------------------------------- how a session is used


async def echoes(ws: WebSocket) -> None:
    """See that a WebSocket session works."""
    await ws.send("4still here")
    assert await ws.text() == "4still here"


async def polls(client: Polling) -> None:
    """See that a polling session works."""
    await client.send("4still here")
    assert await client.packets() == ["4still here"]


@asynccontextmanager
async def joined(url: str, *namespaces: str) -> AsyncIterator[WebSocket]:
    """A WebSocket that has joined some namespaces of a Socket.IO server."""
    async with session(url, SOCKET) as ws:
        for namespace in namespaces:
            await ws.send(f"40{namespace}")
            assert (await ws.text()).startswith(f'40{namespace}{{"sid":')
        yield ws
