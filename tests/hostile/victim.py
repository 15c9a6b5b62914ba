"""A server under attack: it echoes, it notes what reaches it, and it is counted when the attackers have gone.

Beside the attackers one innocent client is connected the whole time. When a block of `attacked` is left, that client
must still be served, no handler may have failed, and nothing of anybody may be left on the server.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from madang import Server, Socket
from madang.hosting.runtime import runtime_of
from tests.conformance.wire import SOCKET, Polling, WebSocket, before, browser, session
from tests.hosts import Host, listening

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Made once: a client would read all certificates of the system for each of its kind."""

WITHIN: Final = 3.0
"""Seconds in which a server must have forgotten a client."""


@dataclass
class Victim:
    """The server, seen from a test.

    Attributes:
        io: the server.
        url: where it listens.
        heard: the events that reached a handler or a catch-all, in order.
        violations: what sockets heard as ``error``, in order.
        ends: why sockets ended, in order.
        failures: exceptions of handlers; hostile input must cause none.
    """

    io: Server
    host: Host
    url: str = ""
    heard: list[Any] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    ends: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    failures: list[Exception] = field(default_factory=list)

    async def ended(self) -> str:
        """Why the next socket to end has ended."""
        return await before(WITHIN, self.ends.get(), "the end of a socket")


def make(host: Host, **options: Any) -> Victim:
    """A server with an ``echo`` that answers and an ``echo typed`` that checks, in ``/`` and in ``/other``."""
    io = Server(**options)
    victim = Victim(io, host)
    io.on_error(lambda error, socket, event: victim.failures.append(error))
    for name in ("/", "/other"):
        _prepare(io.of(name), victim)
    return victim


def _prepare(namespace: Any, victim: Victim) -> None:
    @namespace.on("connection")
    def connected(socket: Socket) -> None:
        socket.join("room", socket.id + "!")
        socket.on("error", lambda error: victim.violations.append(str(error)))
        socket.on("disconnect", lambda reason: victim.ends.put_nowait(reason))

    @namespace.on("echo")
    def echo(socket: Socket, *args: Any) -> Any:
        victim.heard.append("echo")
        return args

    @namespace.on("echo typed")
    async def typed(socket: Socket, number: int, text: str = "") -> Any:
        victim.heard.append(("echo typed", number, text))
        return number, text


def held(io: Server) -> dict[str, int]:
    """What the server holds of clients, by kind; nothing is left when all have gone."""
    lanes = [*io.engine.timetable._lanes]
    farewells = (
        io.engine._farewells
    )  # a closed polling session is remembered for a while, for the poll that learns of it
    runtime = runtime_of(io.engine)
    counts = {
        "sessions": len(io.engine.sessions),
        "deadlines": sum(len(lane) for lane in lanes if lane is not farewells),
        "connections": len(io.connections),
        "sockets": sum(len(namespace.sockets) for namespace in io.namespaces.values()),
        "members": sum(len(namespace.adapter.everyone) for namespace in io.namespaces.values()),
        "rooms": sum(len(namespace.adapter.rooms) for namespace in io.namespaces.values()),
        "joined": sum(len(namespace.adapter._joined) for namespace in io.namespaces.values()),
        "handlers": len(io.tasks),
        "host tasks": len(runtime.tasks),
        "open websockets": runtime.outbox._live,
        "compressed websockets": runtime._deflating._live if runtime._deflating is not None else 0,
    }
    return {kind: count for kind, count in counts.items() if count}


async def until_nothing_is_held(io: Server) -> None:
    """Wait until all clients are forgotten; fail with what is left."""
    deadline = asyncio.get_running_loop().time() + WITHIN
    while left := held(io):
        assert asyncio.get_running_loop().time() < deadline, f"left behind: {left}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def attacked(host: Host, **options: Any) -> AsyncIterator[Victim]:
    """A listening server with an innocent client on it."""
    victim = make(host, **options)
    async with listening(victim.io, host) as victim.url:
        async with joined(victim.url) as innocent:
            yield victim
            await serves(innocent)
        await until_nothing_is_held(victim.io)
    assert not victim.failures


@asynccontextmanager
async def joined(url: str, *namespaces: str, **options: Any) -> AsyncIterator[WebSocket]:
    """A WebSocket that has joined some namespaces, ``/`` unless told otherwise."""
    async with session(url, SOCKET, **options) as ws:
        for namespace in namespaces or ("",):
            await ws.send(f"40{namespace}")
            assert (await ws.text()).startswith(f'40{namespace}{{"sid":')
        yield ws


@asynccontextmanager
async def joined_polling(url: str) -> AsyncIterator[Polling]:
    """A polling client that has joined ``/``."""
    async with browser(url, verify=NO_TLS) as http:
        client = await Polling.open(http, SOCKET)
        await client.send("40")
        assert (await client.packets())[0].startswith('40{"sid":')
        yield client
        await client.post("1")


async def serves(ws: WebSocket, *, ack: int = 7) -> None:
    """See that a client that has joined ``/`` is still served."""
    await ws.send(f'42{ack}["echo","still",here]'.replace("here", '"here"'))
    while True:
        text = await ws.text()
        if text.startswith("43"):
            break
    assert text == f'43{ack}["still","here"]'


def event(*args: Any, ack: int | None = None, namespace: str = "") -> str:
    """An EVENT packet."""
    return f"42{namespace}{'' if ack is None else ack}{json.dumps(args)}"
