"""python-socketio's client for asyncio with madang's server, over WebSocket, over polling, and with an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import socketio

import madang
from tests.hosts import listening
from tests.interop.ways import ARGUMENTS, QUICK, SOON, WAYS, Heard, until


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


def server(heard: Heard) -> madang.Server:
    """A server that tells who came and went, echoes, and answers, in two namespaces."""
    io = madang.Server()
    for name in ("/", "/chat"):
        namespace = io.of(name)

        @namespace.use
        def door(socket: madang.Socket) -> None:
            if socket.handshake.auth.get("refuse"):
                raise madang.ConnectError("not you", data={"code": 7})

        @namespace.on("connection")
        def connection(socket: madang.Socket) -> None:
            heard("connect", socket.nsp, dict(socket.handshake.auth))

        @namespace.on("disconnect")
        def disconnect(socket: madang.Socket, reason: str) -> None:
            heard("disconnect", socket.nsp, reason)

        @namespace.on("echo")
        def echo(socket: madang.Socket, *args: Any) -> None:
            socket.emit("echo", *args)

        @namespace.on("ask")
        def ask(socket: madang.Socket, *args: Any) -> Any:
            return args

    return io


@pytest.fixture
async def heard() -> Heard:
    return Heard()


@pytest.fixture
async def io(heard: Heard) -> madang.Server:
    return server(heard)


@pytest.fixture
async def url(io: madang.Server) -> AsyncIterator[str]:
    async with listening(io) as url:
        yield url


@asynccontextmanager
async def made(**options: Any) -> AsyncIterator[socketio.AsyncClient]:
    """A client, of which nothing is left afterwards."""
    async with asyncio.timeout(2 * SOON), aiohttp.ClientSession() as http:
        client = socketio.AsyncClient(randomization_factor=0, http_session=http, **(QUICK | options))
        try:
            yield client
            if client.connected:  # one that is told to leave amid a POST says no goodbye, and waits
                await client.eio.queue.join()
        finally:
            await client.shutdown()
            await until(lambda: client.eio.state == "disconnected")
            tasks = [task for task in (client.eio.read_loop_task, client.eio.write_loop_task) if task is not None]
            await asyncio.gather(*tasks)


@asynccontextmanager
async def joined(url: str, way: str, *namespaces: str, auth: Any = None) -> AsyncIterator[socketio.AsyncClient]:
    """A client that has joined its namespaces and, where that is its way, upgraded."""
    async with made() as client:
        await client.connect(url, auth=auth, transports=WAYS[way], namespaces=[*namespaces] or None)
        assert client.transport() == WAYS[way][-1]
        yield client


async def test_events_both_ways(url: str, way: str, heard: Heard):
    """Events without arguments, with several, and with bytes at any depth arrive there and back as they were sent."""
    async with joined(url, way) as client:
        echoes = Heard()
        client.on("echo", echoes)
        for args in ARGUMENTS:
            await client.emit("echo", args)
        assert sorted(map(repr, await echoes.count(len(ARGUMENTS)))) == sorted(map(repr, ARGUMENTS))


async def test_answers_both_ways(url: str, way: str, io: madang.Server):
    """Answers of no value, one or several, and with bytes, come to who asked, whichever side that is."""
    async with joined(url, way) as client:
        client.on("ask", lambda *args: args or None)
        socket = io.sockets[client.get_sid()]
        for args in ARGUMENTS:
            wanted = args if len(args) > 1 else args[0] if args else None
            assert await client.call("ask", args, timeout=SOON) == wanted
            assert await socket.emit_with_ack("ask", *args, timeout=SOON) == wanted


async def test_who_comes_presents_itself(url: str, way: str, heard: Heard):
    """What the client presents is what the handshake's `auth` holds."""
    async with joined(url, way, auth={"token": "t"}):
        assert await heard.count(1) == [("connect", "/", {"token": "t"})]


async def test_a_refusal(url: str, way: str):
    """A refusal brings its message and data."""
    async with made(reconnection=False) as client:
        errors = Heard()
        client.on("connect_error", errors)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(url, auth={"refuse": True}, transports=WAYS[way])
        assert await errors.count(1) == [({"message": "not you", "data": {"code": 7}},)]


async def test_namespaces(url: str, way: str, io: madang.Server, heard: Heard):
    """Namespaces share a connection, keep their events apart, and each has an id of its own."""
    async with joined(url, way, "/", "/chat") as client:
        assert {what[:2] for what in await heard.count(2)} == {("connect", "/"), ("connect", "/chat")}
        assert io.sockets.keys() == {client.get_sid()}
        assert io.of("/chat").sockets.keys() == {client.get_sid("/chat")}
        assert [await client.call("ask", 1), await client.call("ask", 2, namespace="/chat")] == [1, 2]
        here, there = Heard(), Heard()
        client.on("echo", here)
        client.on("echo", there, namespace="/chat")
        await client.emit("echo", ("chat", b"bytes"), namespace="/chat")
        await client.emit("echo", "main")
        assert (await here.count(1), await there.count(1)) == ([("main",)], [("chat", b"bytes")])
        io.of("/chat").sockets[client.get_sid("/chat")].disconnect()
        assert (await heard.count(3))[2:] == [("disconnect", "/chat", "server namespace disconnect")]
        assert await client.call("ask", "still here") == "still here"


@pytest.mark.parametrize("close", [False, True])
async def test_the_server_ends_it(url: str, way: str, io: madang.Server, heard: Heard, close: bool):
    """A client that the server has sent away hears so, whether the connection is closed with it or not."""
    async with joined(url, way) as client:
        gone = Heard()
        client.on("disconnect", gone)
        io.sockets[client.get_sid()].disconnect(close=close)
        assert len(await gone.count(1)) == 1
        assert not client.connected
        assert (await heard.count(2))[1] == ("disconnect", "/", "server namespace disconnect")


async def test_rooms_and_broadcasts(url: str, way: str, io: madang.Server):
    """A room's event reaches its members, one for all reaches all, and who is left out is left out."""
    async with joined(url, way) as first, joined(url, way) as second:
        heard = [Heard(), Heard()]
        first.on("news", heard[0])
        second.on("news", heard[1])
        io.sockets[first.get_sid()].join("room")
        io.to("room").emit("news", "room")
        io.except_("room").emit("news", "some", b"bytes")
        await asyncio.gather(heard[0].count(1), heard[1].count(1))
        io.emit("news", "all")
        assert await heard[0].count(2) == [("room",), ("all",)]
        assert await heard[1].count(2) == [("some", b"bytes"), ("all",)]


async def test_the_client_leaves(url: str, way: str, io: madang.Server, heard: Heard):
    """The server hears that a client has left, and nothing of it is kept."""
    async with joined(url, way) as client:
        await client.emit("echo", "last word")
        await client.disconnect()
        assert (await heard.count(2))[1][:2] == ("disconnect", "/")
        assert not io.sockets


@pytest.mark.parametrize("way", ["websocket", "upgrade"])  # told of the end by a packet, it stays away
async def test_it_comes_back(way: str, free_port: int):
    """A client whose server goes away comes back to the next one by itself."""
    before, after, own = Heard(), Heard(), Heard()
    async with made() as client:
        client.on("connect", lambda: own("connect"))
        client.on("disconnect", lambda reason: own("disconnect"))
        async with listening(server(before), port=free_port) as url:
            await client.connect(url, auth={"token": "t"}, transports=WAYS[way])
            await before.count(1)
        await own.count(2)
        async with listening(server(after), port=free_port):
            assert await after.count(1) == [("connect", "/", {"token": "t"})]
            await own.count(3)
            assert await client.call("ask", "back") == "back"
            await client.disconnect()
    assert own.all[:3] == [("connect",), ("disconnect",), ("connect",)]
