"""madang's client with a python-socketio server, over WebSocket, over polling, and over polling with an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionRefusedError as Refusal

import madang
from tests.hosts import listening
from tests.interop.ways import ARGUMENTS, QUICK, SOON, WAYS, Heard, until


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


class Endable:
    """An ASGI app whose requests end when it does: python-socketio answers no poll of a client that has left."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.over = False
        self.requests: set[asyncio.Task[Any] | None] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.over and scope["type"] == "http":
            await send({"type": "http.response.start", "status": 503})
            await send({"type": "http.response.body"})
            return
        request = asyncio.current_task()
        self.requests.add(request)
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if not self.over:
                raise
        finally:
            self.requests.discard(request)

    async def end(self) -> None:
        running = [request for request in self.requests if request is not None]
        for request in running:
            request.cancel()
        if running:
            await asyncio.wait(running, timeout=SOON)


class Server:
    """A python-socketio server: it tells who came and went, echoes, and answers."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.url = ""
        sio = self.sio = socketio.AsyncServer(async_mode="asgi", monitor_clients=False, namespaces=["/", "/chat"])
        for namespace in ("/", "/chat"):
            sio.on("connect", self.connect, namespace=namespace)
            sio.on("disconnect", self.disconnect, namespace=namespace)
            sio.on("echo", self.echo, namespace=namespace)
            sio.on("ask", self.ask, namespace=namespace)
        self.refuse: dict[str, Refusal] = {}
        self.auths: list[Any] = []

    async def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        self.auths.append(auth)
        if isinstance(auth, dict) and auth.get("refuse"):
            raise Refusal("not you", {"code": 7})
        self.heard("connect", sid)

    async def disconnect(self, sid: str, reason: str) -> None:
        self.heard("disconnect", sid, reason)

    async def echo(self, sid: str, *args: Any) -> None:
        where = next(name for name in ("/", "/chat") if self.sio.manager.is_connected(sid, name))
        await self.sio.emit("echo", args, to=sid, namespace=where)

    async def ask(self, sid: str, *args: Any) -> Any:
        return args or None

    @asynccontextmanager
    async def served(self, port: int = 0) -> AsyncIterator[None]:
        app = Endable(socketio.ASGIApp(self.sio))
        async with listening(app, "uvicorn", port=port) as self.url:
            try:
                yield
            finally:
                app.over = True
                await self.sio.shutdown()
                await app.end()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with server.served():
        yield server


@asynccontextmanager
async def joined(server: Server, way: str, **options: Any) -> AsyncIterator[madang.Client]:
    """A client that has joined and, where that is its way, upgraded."""
    client = madang.connect(server.url, transports=WAYS[way], force_new=True, **(QUICK | options))
    async with asyncio.timeout(SOON), client:
        engine = client.manager.engine
        assert engine is not None
        await until(lambda: engine.transport.name == WAYS[way][-1])
        yield client


async def test_events_both_ways(server: Server, way: str):
    """Events without arguments, with several, and with bytes at any depth arrive there and back as they were sent."""
    async with joined(server, way) as client:
        events = client.events("echo")
        for args in ARGUMENTS:
            client.emit("echo", *args)
        assert [(await events.receive()).args for _ in ARGUMENTS] == ARGUMENTS


async def test_answers_both_ways(server: Server, way: str):
    """Answers of no value, one or several, and with bytes, come to who asked, whichever side that is."""
    async with joined(server, way) as client:
        client.on("ask", lambda *args: args or None)
        for args in ARGUMENTS:
            wanted = args if len(args) > 1 else args[0] if args else None
            assert await client.emit_with_ack("ask", *args, timeout=SOON) == wanted
            assert await server.sio.call("ask", args, to=client.id, timeout=SOON) == wanted


async def test_who_comes_presents_itself(server: Server, way: str):
    """What `auth` gives, as a dict or from a coroutine function, is what the server's `connect` gets."""

    async def auth() -> dict[str, Any]:
        return {"token": "later"}

    async with joined(server, way, auth={"token": "at once"}), joined(server, way, auth=auth):
        assert server.auths == [{"token": "at once"}, {"token": "later"}]


async def test_a_refusal(server: Server, way: str):
    """A refusal brings its message and data, is told once, and is the end; another `auth` may try later."""
    heard = Heard()
    client = madang.Client(server.url, auth={"refuse": True}, transports=WAYS[way], force_new=True, **QUICK)
    client.on("connect_error", lambda error: heard(str(error), error.data))
    with pytest.raises(madang.ConnectError, match="not you") as refused:
        await client.connect()
    assert refused.value.data == {"code": 7}
    assert not client.active
    assert await heard.count(1) == [("not you", {"code": 7})]
    client.auth = None
    async with asyncio.timeout(SOON):
        await client.connect()
    await client.close()


async def test_namespaces(server: Server, way: str):
    """Namespaces share a connection, keep their events apart, and are refused and left one by one."""
    async with joined(server, way) as client:
        chat = client.of("/chat")
        await chat.connected
        assert chat.id != client.id
        assert [(await chat.emit_with_ack("ask", 1)), (await client.emit_with_ack("ask", 2))] == [1, 2]
        here, there = client.events(), chat.events()
        chat.emit("echo", "chat", b"bytes")
        client.emit("echo", "main")
        assert (await there.receive()).args == ("chat", b"bytes")
        assert (await here.receive()).args == ("main",)
        chat.disconnect()
        left = [("disconnect", what[1], "client disconnect") for what in server.heard.all if what[1] != client.id]
        assert (await server.heard.count(3))[2:] == left
        chat.auth = {"refuse": True}
        with pytest.raises(madang.ConnectError, match="not you"):
            await chat.connect()
        assert await client.emit_with_ack("ask", "still here") == "still here"


async def test_the_server_ends_it(server: Server, way: str):
    """A client that the server has sent away hears so, stays away, and may come back when it likes."""
    async with joined(server, way) as client:
        heard = Heard()
        client.on("disconnect", lambda reason, description: heard(reason))
        await server.sio.disconnect(client.id)
        assert await heard.count(1) == [("io server disconnect",)]
        assert not client.active
        await client.connect()
        assert await client.emit_with_ack("ask", "back") == "back"


async def test_rooms_and_broadcasts(server: Server, way: str):
    """A room's event reaches its members, one for all reaches all, and who is left out is left out."""
    async with joined(server, way) as first, joined(server, way) as second:
        streams = [first.events(), second.events()]
        await server.sio.enter_room(first.id, "room")
        await server.sio.emit("news", "room", room="room")
        await server.sio.emit("news", ("some", b"bytes"), skip_sid=first.id)
        await server.sio.emit("news", "all")
        assert [(await streams[0].receive()).args for _ in range(2)] == [("room",), ("all",)]
        assert [(await streams[1].receive()).args for _ in range(2)] == [("some", b"bytes"), ("all",)]


async def test_the_client_leaves(server: Server, way: str):
    """What was emitted before `disconnect` is delivered, and then the server hears that the client has left."""
    async with joined(server, way) as client:
        server.sio.on("last", lambda sid, word: server.heard("last", word))
        sid = client.id
        client.emit("last", "word")
        client.disconnect()
        assert set((await server.heard.count(3))[1:]) == {("last", "word"), ("disconnect", sid, "client disconnect")}


async def test_it_comes_back(way: str, free_port: int):
    """A client whose server goes away comes back to the next one by itself, and brings what was emitted meanwhile."""
    before, after = Server(), Server()
    heard = Heard()
    async with asyncio.timeout(2 * SOON):
        async with before.served(free_port):
            client = madang.Client(before.url, transports=WAYS[way], force_new=True, **QUICK)
            client.on("disconnect", lambda reason, description: heard(reason))
            client.on("echo", heard)
            await client.connected
            engine = client.manager.engine
            assert engine is not None
            await until(lambda: engine.transport.name == WAYS[way][-1])
        await heard.count(1)
        assert (client.is_connected, client.active) == (False, True)
        client.emit("echo", "while away")
        async with after.served(free_port):
            assert (await heard.count(2))[1] == ("while away",)
            await client.close()
