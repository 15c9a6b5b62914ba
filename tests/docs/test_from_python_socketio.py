"""docs/from-python-socketio.md: what it says of both servers, seen of both servers."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import engineio
import httpx
import pytest
import socketio

import madang
from tests.docs.test_reference import rows, section
from tests.hosts import listening

PATIENCE = 0.3
"""Seconds after which an answer is taken not to come, where none is expected; else it has `LONG`."""
LONG = 8.0

AT = datetime(2026, 11, 22, tzinfo=UTC)
PAGE = "from-python-socketio.md"


class Theirs:
    """A python-socketio server with the handlers that the page speaks of."""

    def __init__(self) -> None:
        self.reasons: asyncio.Queue[str] = asyncio.Queue()
        self.gave_up: asyncio.Queue[float] = asyncio.Queue()
        sio = self.sio = socketio.AsyncServer(async_mode="asgi", monitor_clients=False)
        self.app = socketio.ASGIApp(sio)

        async def slow(sid: str) -> None:
            await asyncio.sleep(0.05)
            await sio.emit("done", "slow", to=sid)

        async def quick(sid: str) -> None:
            await sio.emit("done", "quick", to=sid)

        async def pair(sid: str) -> None:
            await sio.emit("pair", ("a", 1), to=sid)

        async def date(sid: str) -> str | None:
            try:
                await sio.emit("date", AT, to=sid)
            except TypeError:
                return "TypeError"

        async def forgotten(sid: str) -> None:
            sio.emit("forgotten", to=sid).close()

        async def ask(sid: str) -> None:
            begun = asyncio.get_running_loop().time()
            try:
                await sio.call("silence", to=sid, timeout=PATIENCE)
            except socketio.exceptions.TimeoutError:
                self.gave_up.put_nowait(asyncio.get_running_loop().time() - begun)

        for handler in (slow, quick, pair, date, forgotten, ask):
            sio.on(handler.__name__, handler)
        sio.on("broken", broken)
        sio.on("add", add)
        sio.on("kind", kind)
        sio.on("twice", lambda sid: "first")
        sio.on("twice", lambda sid: "second")
        sio.on("several", lambda sid: (1, 2))
        sio.on("*", lambda event, sid, *args: f"any {event}")
        sio.on("disconnect", lambda sid, reason: self.reasons.put_nowait(reason))

    async def close(self) -> None:
        await self.sio.shutdown()


class Ours:
    """The same in madang."""

    def __init__(self) -> None:
        self.reasons: asyncio.Queue[str] = asyncio.Queue()
        self.gave_up: asyncio.Queue[float] = asyncio.Queue()
        io = self.app = madang.Server()

        async def slow(socket: madang.Socket) -> None:
            await asyncio.sleep(0.05)
            socket.emit("done", "slow")

        async def ask(socket: madang.Socket) -> None:
            begun = asyncio.get_running_loop().time()
            try:
                await socket.emit_with_ack("silence", timeout=60)
            except madang.SocketClosed:
                self.gave_up.put_nowait(asyncio.get_running_loop().time() - begun)

        io.on("slow", slow)
        io.on("quick", lambda socket: socket.emit("done", "quick"))
        io.on("pair", lambda socket: socket.emit("pair", ("a", 1)))
        io.on("date", lambda socket: socket.emit("date", AT))
        io.on("forgotten", lambda socket: socket.emit("forgotten"))
        io.on("ask", ask)
        io.on("broken", broken)
        io.on("add", add)
        io.on("kind", kind)
        io.on("twice", lambda socket: "first")
        io.on("twice", lambda socket: "second")
        io.on("several", lambda socket: (1, 2))
        io.on_any(lambda socket, event, *args: f"any {event}")
        io.on("disconnect", lambda socket, reason: self.reasons.put_nowait(reason))

    async def close(self) -> None:
        await self.app.close()


async def broken(who: Any) -> None:
    raise RuntimeError("a secret of the server")


async def add(who: Any, a: int, b: int) -> int:
    return a + b


async def kind(who: Any, n: int) -> str:
    return type(n).__name__


Server = Theirs | Ours
Observe = Callable[[Server, madang.Client, str, float], Awaitable[Any]]
"""Sees a claim of a server, with a client and its URL, and so many seconds for an answer."""


async def answer(client: madang.Client, patience: float, *event: Any) -> Any:
    """What a client gets that asks; of an error, its code."""
    try:
        got = await client.emit_with_ack(*event, timeout=patience)
    except madang.AckTimeout:
        return "no answer"
    return got["error"]["code"] if isinstance(got, dict) and "error" in got else got


async def order(server: Server, client: madang.Client, url: str, patience: float) -> list[str]:
    done = client.events("done")
    client.emit("slow")
    client.emit("quick")
    return [(await done.receive(LONG)).args[0] for _ in range(2)]


async def heard(server: Server, client: madang.Client, patience: float, event: str) -> Any:
    stream = client.events(event)
    said = await answer(client, LONG, event)
    try:
        return list((await stream.receive(0 if said else patience)).args)
    except madang.WaitTimeout:
        return said or "nothing"


async def nowhere(server: Server, client: madang.Client, url: str, patience: float) -> str:
    with pytest.raises(madang.ConnectError) as refused:
        await madang.connect(f"{url}/nowhere")
    return refused.value.message


async def foreign(server: Server, client: madang.Client, url: str, patience: float) -> int:
    async with httpx.AsyncClient(headers={"Origin": "http://elsewhere.example"}) as http:
        return (await http.get(f"{url}/socket.io/?EIO=4&transport=polling")).status_code


async def goodbye(server: Server, client: madang.Client, url: str, patience: float) -> str:
    await client.close()
    return await server.reasons.get()


async def vanish(server: Server, client: madang.Client, url: str, patience: float) -> str:
    asked = client.events("silence")
    client.emit("ask")
    await asked.receive(LONG)
    await client.close()
    return "in time" if await server.gave_up.get() >= PATIENCE else "at once"


def answered(*event: Any) -> Observe:
    return lambda server, client, url, patience: answer(client, patience, *event)


def hears(event: str) -> Observe:
    return lambda server, client, url, patience: heard(server, client, patience, event)


CLAIMS: dict[str, tuple[Observe, Any, Any]] = {
    "you forget an `await` before `emit`": (hears("forgotten"), "nothing", []),
    '`emit("x", ("a", 1))`': (hears("pair"), ["a", 1], [["a", 1]]),
    "a handler waits, and the same client's next event comes": (order, ["quick", "slow"], ["slow", "quick"]),
    "a handler raises": (answered("broken"), "no answer", "internal_error"),
    "too few arguments come": (answered("add", 1), "no answer", "invalid_arguments"),
    "too many come": (answered("add", 1, 2, 3), "no answer", 3),
    'a parameter is annotated, `n: int`, and `"5"` comes': (answered("kind", "5"), "str", "invalid_arguments"),
    "two handlers are registered for one event": (answered("twice"), "second", "first"),
    "a handler returns a tuple": (answered("several"), (1, 2), (1, 2)),
    "a `datetime` is sent": (hears("date"), "TypeError", ["2026-11-22T00:00:00.000Z"]),
    "an event has no handler": (answered("unknown"), "any unknown", "no answer"),
    "a client goes away while its answer is awaited": (vanish, "in time", "at once"),
    "a client asks for a namespace that is not there": (nowhere, "Unable to connect", "Invalid namespace"),
    "a page of a foreign origin comes": (foreign, 400, 403),
    "a client disconnects": (goodbye, "client disconnect", "client namespace disconnect"),
}


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    """The server's URL. What fails in it on purpose is no error of the test."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with listening(server.app, "uvicorn") as url:
        yield url
        await server.close()


@pytest.mark.parametrize("kind", [Theirs, Ours])
async def test_what_behaves_differently(kind: type[Server]):
    """Each row of the page's last table holds, of python-socketio and of madang."""
    server, seen, wanted = kind(), {}, {}
    async with serving(server) as url:
        for claim, (observe, *outcomes) in CLAIMS.items():
            wanted[claim] = outcomes[kind is Ours]
            patience = PATIENCE if wanted[claim] in ("no answer", "nothing") else LONG
            async with madang.connect(url, transports=["websocket"]) as client:

                @client.on("silence")
                def silence(ack: madang.Ack): ...

                seen[claim] = await observe(server, client, url, patience)
            if observe is not goodbye:
                await server.reasons.get()
    assert seen == wanted


def test_every_difference_is_seen():
    """The page's table and this file have the same rows."""
    assert [row[0] for row in rows(section(PAGE, "What behaves differently"))] == [claim.strip("`") for claim in CLAIMS]


def test_the_names_on_the_page():
    """What the page calls on `sio` and takes from `socketio` is there, and so are its keywords."""
    text = "\n".join(section(PAGE, heading) for heading in ("Calls", "Options"))
    for name in set(re.findall(r"\bsio\.(\w+)", text)) - {"receive"}:
        assert hasattr(socketio.AsyncServer, name), name
    for name in set(re.findall(r"\bsocketio\.(\w+)", text)):
        assert hasattr(socketio, name), name
    takers = (socketio.AsyncServer, socketio.base_server.BaseServer, engineio.base_server.BaseServer)
    known = {name for taker in takers for name in inspect.signature(taker.__init__).parameters} | {"serializer"}
    told = {name for row in rows(section(PAGE, "Options")) for name in re.findall(r"`(\w+)[=`]", f"`{row[0]}`")}
    assert told <= known
