"""Volatile messages: sent if they can leave at once, lost if not, and never out of order."""

from __future__ import annotations

import asyncio

import pytest

import madang
from tests.server.javascript import Client, Js


@pytest.fixture(params=["websocket", "polling"])
async def client(request: pytest.FixtureRequest, js: Js, io: madang.Server) -> Client:
    """A client with nothing on its way to it: on polling, its next poll is open."""
    client = await js.connect(io, transports=[request.param])
    while not io.sockets[client.id].conn.transport.writable:
        await asyncio.sleep(0.001)
    return client


@pytest.mark.node("namespaces.20", "socket.15", "socket.16")
@pytest.mark.feature("N9")
async def test_when_idle_it_is_sent(js: Js, io: madang.Server, client: Client):
    """A volatile message leaves when nothing waits before it."""
    io.sockets[client.id].volatile.emit("x", 1)
    assert await client.next("x") == [1]


@pytest.mark.node("socket.17", "socket.18")
@pytest.mark.feature("N9")
async def test_two_in_one_turn(js: Js, io: madang.Server, client: Client):
    """Of two in the same turn only the first is sent."""
    socket = io.sockets[client.id]
    socket.volatile.emit("x", 1)
    socket.volatile.emit("x", 2)
    await js.settled(io)
    assert client.received == [["x", 1]]


@pytest.mark.node("namespaces.19", "socket.13", "socket.14", "socket.21", "socket.22")
@pytest.mark.feature("N9", "N13")
async def test_between_others(js: Js, io: madang.Server, client: Client):
    """Behind an ordinary message a volatile one is lost; those after it are not touched."""
    socket = io.sockets[client.id]
    socket.emit("x", 1)
    socket.volatile.emit("x", 2)
    socket.emit("x", 3)
    await js.settled(io)
    assert client.received == [["x", 1], ["x", 3]]


@pytest.mark.node("socket.19")
@pytest.mark.feature("N9")
async def test_binary_is_sent_whole_or_not_at_all(js: Js, io: madang.Server, client: Client):
    """Of two volatile messages with attachments the first arrives whole, and what follows is in order."""
    socket = io.sockets[client.id]
    socket.volatile.emit("x", b"\x01", b"\x02")
    socket.volatile.emit("x", b"\x03")
    socket.emit("y", b"\x04")
    await js.settled(io)
    assert client.received == [["x", b"\x01", b"\x02"], ["y", b"\x04"]]


@pytest.mark.feature("N9", "N1")
async def test_broadcasts(js: Js, io: madang.Server, client: Client):
    """A volatile broadcast is judged for each recipient by itself."""
    busy = await js.connect(io)
    io.sockets[busy.id].emit("before")
    io.volatile.emit("x", b"\x01")
    io.to(client.id).volatile.emit("y")
    await js.settled(io)
    assert client.received == [["x", b"\x01"]]
    assert busy.received == [["before"]]


@pytest.mark.feature("N9")
async def test_while_a_client_does_not_poll(js: Js, io: madang.Server):
    """Between two polls a volatile message is lost."""
    client = await js.connect(io, transports=["polling"])
    socket = io.sockets[client.id]
    socket.emit("x", 1)
    await client.next("x")
    while not socket.conn.transport.writable:
        socket.volatile.emit("x", "lost")
        await asyncio.sleep(0)
    socket.volatile.emit("x", 2)
    await js.settled(io)
    assert client.received == [["x", 2]]


@pytest.mark.feature("N9", "M3")
async def test_a_volatile_question(js: Js, io: madang.Server, client: Client):
    """A volatile question that is lost is not answered, and its timeout says so."""
    await client.reply("ask", 1)
    socket = io.sockets[client.id]
    assert await socket.volatile.timeout(5).emit_with_ack("ask") == 1
    socket.emit("before")
    with pytest.raises(madang.AckTimeout):
        await socket.volatile.timeout(0.05).emit_with_ack("ask")
    assert client.received.count(["ask"]) == 1


async def test_a_client_s_volatile_events(js: Js, io: madang.Server):
    """A client's own volatile events are ordinary ones here."""
    io.on("x", lambda socket, value: socket.emit("y", value))
    client = await js.connect(io)
    client.emit("x", 1, volatile=True)
    assert await client.next("y") == [1]
