"""What the server knows of a client: handshake, request, session; and what ids look like."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

import madang
from tests.server.javascript import Heard, Js


@pytest.mark.node("socket.37")
@pytest.mark.feature("G13", "G14")
@pytest.mark.usefixtures("mode")
async def test_the_handshake(js: Js, io: madang.Server):
    """Query, headers, address, time, url and auth are those of the client's first request."""
    client = await js.connect(
        io, query={"key1": "1", "key2": "&=bb 한"}, extraHeaders={"X-Yard": "madang"}, auth={"token": "t"}
    )
    handshake = io.sockets[client.id].handshake
    assert (handshake.query["key1"], handshake.query["key2"], handshake.query["EIO"]) == ("1", "&=bb 한", "4")
    assert handshake.headers["x-yard"] == "madang"
    assert handshake.address == "127.0.0.1"
    assert handshake.url.startswith("/socket.io/?key1=1&")
    assert (handshake.auth, handshake.secure, handshake.xdomain) == ({"token": "t"}, False, False)
    assert timedelta() <= datetime.now(UTC) - handshake.time < timedelta(minutes=1)
    assert handshake.issued == pytest.approx(handshake.time.timestamp())


@pytest.mark.feature("G7", "G13")
async def test_auth_belongs_to_the_namespace(js: Js, io: madang.Server):
    """Each namespace has the auth that its own CONNECT brought; without one it is empty."""
    other = io.of("/other")
    main = await js.connect(io, query={"key": "1"})
    beside = await main.beside("/other", auth={"key1": "a", "key2": "&=bb"})
    assert io.sockets[main.id].handshake.auth == {}
    assert other.sockets[beside.id].handshake.auth == {"key1": "a", "key2": "&=bb"}
    assert other.sockets[beside.id].handshake.query["key"] == "1"


@pytest.mark.feature("G2", "G3", "G8")
async def test_ids(js: Js, io: madang.Server):
    """A socket's id is 20 URL-safe characters, the client's own, and unlike the session's."""
    clients = [await js.connect(io) for _ in range(3)]
    sockets = [io.sockets[client.id] for client in clients]
    for socket in sockets:
        assert re.fullmatch(r"[A-Za-z0-9_-]{20}", socket.id)
    assert len({*(socket.id for socket in sockets), *(socket.conn.id for socket in sockets)}) == 6


@pytest.mark.node("socket.34", "socket.35", "socket.36")
@pytest.mark.feature("O12", "O13")
@pytest.mark.usefixtures("mode")
async def test_the_session(js: Js, io: madang.Server, mode: str):
    """`conn` is the Engine.IO session: transport, protocol, address; `request` is its first request."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    if mode == "upgrade":
        while socket.conn.transport_name == "polling":
            await client.state()
    assert socket.conn.transport_name == ("polling" if mode == "polling" else "websocket")
    assert (socket.conn.protocol, socket.conn.remote_address) == (4, "127.0.0.1")
    assert socket.request is socket.conn.request
    assert socket.request.query["transport"] == ("websocket" if mode == "websocket" else "polling")
    assert (socket.nsp, socket.server, socket.namespace) == ("/", io, io.of("/"))


@pytest.mark.feature("O12", "I1")
async def test_the_session_s_upgrade(js: Js, io: madang.Server, heard: Heard):
    """The session tells of its upgrade; what is emitted before, during and after it arrives once and in order."""

    @io.on("connection")
    def connected(socket):
        socket.conn.on("upgrade", lambda transport: heard(transport.name))
        socket.emit("n", 0)

    client = await js.connect(io, transports=["polling", "websocket"])
    socket = io.sockets[client.id]
    number = 1
    while not heard.all:
        socket.emit("n", number)
        number += 1
        await js.call("echo", value=None)
    socket.emit("n", number)
    await js.settled(io)
    assert heard.all == ["websocket"]
    assert client.received == [["n", n] for n in range(number + 1)]


@pytest.mark.feature("I1", "I2")
async def test_what_a_client_sends_while_it_upgrades(js: Js, io: madang.Server, heard: Heard):
    """Events that a client emits during its upgrade are handled once and in order."""
    io.on("n", lambda socket, number, data: heard(number))
    client = await js.connect(io, transports=["polling", "websocket"])
    number = 0
    while client.lives("upgrade") == 0:
        client.emit("n", number, b"\x01")
        number += 1
        await client.state()
    client.emit("n", number, b"\x01")
    assert [await heard.next() for _ in range(number + 1)] == list(range(number + 1))


@pytest.mark.feature("O1")
async def test_data_is_a_plain_dict(js: Js, io: madang.Server):
    """`socket.data` starts empty, belongs to one socket, and may be set as a whole."""
    one, two = [io.sockets[(await js.connect(io)).id] for _ in range(2)]
    one.data["name"] = "one"
    two.data = {"name": "two"}
    assert ([socket.data for socket in (one, two)]) == [{"name": "one"}, {"name": "two"}]
    one.anything = 1
    assert one.anything == 1


@pytest.mark.feature("A3", "A6", "A22")
async def test_options_as_the_client_sees_them(js: Js):
    """Path, upgrades and session ids are as the server was told."""
    io = madang.Server(path="/yard", allow_upgrades=False, generate_id=lambda request: "my-own-id")
    client = await js.connect(io, path="/yard", transports=["polling", "websocket"])
    assert io.sockets[client.id].conn.id == "my-own-id"
    assert client.transport == "polling"
    assert io.sockets[client.id].conn.transport_name == "polling"
