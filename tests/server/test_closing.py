"""Closing the server, starting it again, and clients that come back."""

from __future__ import annotations

import asyncio

import pytest

import madang
from madang.engine import Session
from tests.conftest import Leaks
from tests.hosts import listening
from tests.server.javascript import Heard, Js


@pytest.mark.node("close.1", "close.2")
@pytest.mark.feature("A23", "O9")
@pytest.mark.usefixtures("mode")
async def test_closing_ends_all_sockets(js: Js, io: madang.Server, heard: Heard):
    """Clients see their transport close, the server's sockets end with `server shutting down`, the port is free."""
    io.of("/chat").on("disconnect", lambda socket, reason: heard(reason))
    running = await io.start(port=0)
    client = await js.connect(running.url, "/chat")
    await running.stop()
    assert await client.disconnected() in ("transport close", "transport error")
    assert await heard.next() == "server shutting down"
    assert (io.of("/chat").sockets, io.connections) == ({}, set())
    again = await io.start(port=running.port)
    await again.stop()


@pytest.mark.node("close.3", "close.4")
@pytest.mark.feature("A23")
async def test_closing_before_listening(io: madang.Server):
    """A server that never listened, or was closed before, can be closed."""
    await io.close()
    await io.close()


@pytest.mark.feature("A23")
async def test_closing_waits_for_handlers(js: Js, heard: Heard):
    """A handler that runs has `shutdown_timeout` seconds to end, and is then cancelled."""
    io = madang.Server(shutdown_timeout=0.1)

    @io.on("short")
    async def short(socket):
        heard("short runs")
        await asyncio.sleep(0.02)
        heard("short ended")

    @io.on("long", concurrent=True)
    async def long(socket):
        heard("long runs")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard("long cancelled")
            raise

    client = await js.connect(io)
    client.emit("long")
    client.emit("short")
    assert [await heard.next(), await heard.next()] == ["long runs", "short runs"]
    await io.close()
    assert heard.all[2:] == ["short ended", "long cancelled"]


@pytest.mark.node("socket.42")
@pytest.mark.feature("A2", "A23")
@pytest.mark.usefixtures("mode")
async def test_a_client_comes_back_after_a_restart(js: Js, io: madang.Server, heard: Heard, free_port: int):
    """When the same server listens again on its port, clients reconnect by themselves and all works as before."""
    io.on("x", lambda socket, value: heard(value))
    async with listening(io, port=free_port) as url:
        client = await js.connect(
            url, reconnection=True, reconnectionDelay=20, reconnectionDelayMax=50, randomizationFactor=0
        )
        first = client.id
        client.emit("x", "before")
        assert await heard.next() == "before"
    await client.disconnected()
    async with listening(io, port=free_port):
        await client.connected()
        client.emit("x", "after")
        assert await heard.next() == "after"
        io.emit("y")
        assert await client.next("y") == []
        assert client.id != first


@pytest.mark.node("socket.2")
@pytest.mark.feature("A23")
async def test_a_client_gives_up(js: Js, io: madang.Server, free_port: int):
    """Without a server a client tries as often as it was told, and says once that it has failed."""
    async with listening(io, port=free_port) as url:
        client = await js.connect(
            url, reconnection=True, reconnectionAttempts=3, reconnectionDelay=5, randomizationFactor=0
        )
    await client.life("reconnect_failed")
    assert client.lives("reconnect_attempt") == 3
    assert client.lives("reconnect_failed") == 0


@pytest.mark.feature("A23")
@pytest.mark.usefixtures("mode")
async def test_nothing_is_left(js: Js, leaks: Leaks):
    """After clients have come and gone in every way, no task, timer, session or socket is left."""
    async with leaks(Session, madang.Socket):
        io = madang.Server()

        @io.on("work")
        async def work(socket):
            await asyncio.sleep(0.001)

        io.of("/chat").on("disconnect", lambda socket: None)
        async with listening(io) as url:
            for how in ("disconnect", "drop", "stay", "raw"):
                client = await js.connect(url, auth={"a": 1})
                await client.beside("/chat")
                io.sockets[client.id].join("room")
                client.emit("work")
                if how == "raw":
                    client.raw("9")
                elif how != "stay":
                    getattr(client, how)()
        io = None


@pytest.mark.feature("A24", "A23")
async def test_counting_sessions(js: Js, io: madang.Server):
    """The engine knows its sessions, and a closed one is not among them."""
    first, _ = await js.connect(io), await js.connect(io)
    assert len(io.engine.sessions) == len(io.connections) == 2
    io.sockets[first.id].disconnect(close=True)
    assert len(io.engine.sessions) == len(io.connections) == 1
