"""Ends: who ended it, what both sides are told, and what is still there."""

from __future__ import annotations

import asyncio

import pytest

import madang
from tests.hosts import ALL_HOSTS, Host
from tests.server.javascript import Heard, Js, soon

POLLING_ERROR = "transport error"
"""What a polling client says of its end if the refusal of a request reaches it before the close in its poll does."""


@pytest.mark.feature("O9", "O8")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    ("how", "on_server", "on_client"),
    [
        ("client", "client namespace disconnect", "io client disconnect"),
        ("server", "server namespace disconnect", "io server disconnect"),
        ("server closes", "server namespace disconnect", "io server disconnect"),
        ("violation", "forced close", "transport close"),
        ("unknown packet", "forced close", "transport close"),
        ("conn.close()", "forced close", "transport close"),
        ("shutdown", "server shutting down", "transport close"),
    ],
)
async def test_reasons(js: Js, io: madang.Server, heard: Heard, how: str, on_server: str, on_client: str):
    """Both sides are told the official reason, whoever ended it and over whatever transport."""
    io.on("disconnecting", lambda socket, reason: heard("disconnecting", reason))
    io.on("disconnect", lambda socket, reason: heard("disconnect", reason))
    client = await js.connect(io)
    socket = io.sockets[client.id]
    {
        "client": client.disconnect,
        "server": socket.disconnect,
        "server closes": lambda: socket.disconnect(close=True),
        "violation": lambda: client.raw("45woooot"),
        "unknown packet": lambda: client.raw("9"),
        "conn.close()": socket.conn.close,
        "shutdown": lambda: asyncio.ensure_future(io.close()),
    }[how]()
    assert await client.disconnected() in (on_client, *([POLLING_ERROR] if on_client == "transport close" else []))
    assert [await heard.next(), await heard.next()] == [("disconnecting", on_server), ("disconnect", on_server)]


@pytest.mark.feature("O9")
@pytest.mark.usefixtures("mode")
async def test_the_transport_goes(js: Js, io: madang.Server, heard: Heard):
    """A client that closes its connection has gone by `transport close`, or `transport error` amid a poll."""
    io.on("disconnect", lambda socket, reason: heard(reason))
    client = await js.connect(io)
    client.drop()
    assert await client.disconnected() == "forced close"
    assert await heard.next() in ("transport close", "transport error")


@pytest.mark.feature("O9", "H4")
async def test_a_client_that_does_not_answer_pings(js: Js, heard: Heard):
    """A client from which nothing comes any more has gone by `ping timeout`."""
    io = madang.Server(ping_interval=0.05, ping_timeout=0.1)
    io.on("disconnect", lambda socket, reason: heard(reason))
    client = await js.connect(io)
    io.sockets[client.id].conn.transport.pause_reading()
    assert await heard.next() == "ping timeout"


@pytest.mark.node("namespaces.13")
@pytest.mark.feature("O7", "O8")
async def test_disconnecting_sees_the_rooms(js: Js, io: madang.Server, heard: Heard):
    """`disconnecting` still knows the rooms, `disconnect` does not; in both the socket is not connected."""

    async def note(socket, reason, description):
        heard(sorted(socket.rooms - {socket.id}), socket.id in socket.rooms, socket.connected, socket.id in io.sockets)

    io.on("disconnecting", note)
    io.on("disconnect", note)
    client = await js.connect(io)
    io.sockets[client.id].join(["a", "b"])
    client.disconnect()
    assert await heard.next() == (["a", "b"], True, False, False)
    assert await heard.next() == ([], False, False, False)


@pytest.mark.feature("O7")
async def test_saying_goodbye_to_the_rooms(js: Js, io: madang.Server):
    """In `disconnecting` a socket can still tell those in its rooms that it leaves."""

    @io.on("disconnecting")
    def leaving(socket, reason):
        for room in socket.rooms - {socket.id}:
            socket.to(room).emit("left", socket.id)

    clients = stays, leaves = [await js.connect(io) for _ in range(2)]
    for client in clients:
        io.sockets[client.id].join("yard")
    leaves.disconnect()
    assert await stays.next("left") == [leaves.id]


@pytest.mark.feature("O8", "L1")
async def test_handlers_of_the_end(js: Js, io: madang.Server, heard: Heard):
    """Handlers take what they want of (reason, description); the namespace's come before the socket's."""

    @io.on("connection")
    def connected(socket):
        socket.on("disconnect", lambda: heard("own"))
        socket.on("disconnect", lambda reason, description: heard("own", reason))
        socket.once("disconnecting", lambda reason: heard("own disconnecting", reason))

    io.on("disconnect", lambda socket: heard("all"))
    client = await js.connect(io)
    io.sockets[client.id].disconnect()
    reason = "server namespace disconnect"
    assert heard.all == [("own disconnecting", reason), "all", "own", ("own", reason)]


@pytest.mark.node("socket.6")
@pytest.mark.feature("O8", "G11")
async def test_the_description_of_a_violation(js: Js, io: madang.Server, heard: Heard):
    """A violation of the protocol is given to `error` first, then to `disconnect` as its description."""

    @io.on("connection")
    def connected(socket):
        socket.on("error", lambda error: heard("error", type(error)))
        socket.on("disconnect", lambda reason, description: heard(reason, type(description)))

    client = await js.connect(io)
    client.raw('2["x"')
    assert await heard.next() == ("error", madang.PacketError)
    assert await heard.next() == ("forced close", madang.PacketError)
    assert await client.disconnected() == "transport close"


@pytest.mark.feature("G11", "L6", "G10", "G9", "R7", "R8")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    "packet",
    [
        '2["disconnect"]',
        '2["newListener",1]',
        "2{}",
        "2[]",
        '4["handle me please"]',
        '4{"message":"from a client"}',
        "5",
        "50-[1]",
        '51-["x",{"_placeholder":true,"num":3}]',
        '2/unknown,["x"]',
        "0",
        '0/chat,["not an object"]',
        b"nobody announced this",
    ],
)
async def test_violations(js: Js, io: madang.Server, heard: Heard, packet: str | bytes):
    """A client that breaks the protocol is closed, its sockets hear of it, and nobody else does."""
    io.of("/chat")
    io.on("connection", lambda socket: socket.on("error", lambda error: heard(type(error))))
    io.on("disconnect", lambda socket, reason: heard(reason))
    other, client = await js.connect(io), await js.connect(io)
    client.raw(packet)
    if isinstance(packet, str) and packet.startswith("51-"):
        client.raw(b"attachment")
    assert await client.disconnected() in ("transport close", POLLING_ERROR)
    assert [await heard.next(), await heard.next()] == [madang.PacketError, "forced close"]
    io.emit("hi")
    assert await other.next("hi") == []


@pytest.mark.feature("O14", "O15")
async def test_what_is_left(js: Js, io: madang.Server, heard: Heard):
    """After its end a socket is not connected, is in no room, and may be used without harm."""
    io.on("disconnect", heard)
    client = await js.connect(io)
    socket = io.sockets[client.id]
    client.disconnect()
    await heard.next()
    socket.emit("x")
    socket.join("a")
    socket.leave("a")
    socket.leave_all()
    socket.disconnect()
    socket.disconnect(close=True)
    assert (socket.connected, socket.disconnected, socket.rooms) == (False, True, set())
    assert (io.sockets, io.adapter.rooms) == ({}, {})
    assert len(heard.all) == 1


@pytest.mark.feature("O8")
async def test_the_end_waits_for_the_running_handler(js: Js, io: madang.Server, heard: Heard):
    """`disconnect` is handled when its turn comes: after the handler that runs."""
    go_on = asyncio.Event()

    @io.on("work")
    async def work(socket):
        heard("working")
        await go_on.wait()
        heard("worked", socket.connected)

    io.on("disconnect", lambda socket, reason: heard(reason))
    client = await js.connect(io)
    client.emit("work")
    assert await heard.next() == "working"
    client.disconnect()
    await client.disconnected()
    while io.sockets:
        await client.state()
    go_on.set()
    assert await heard.next() == ("worked", False)
    assert await heard.next() == "client namespace disconnect"


@pytest.mark.feature("O10")
async def test_coming_back_to_a_namespace(js: Js, io: madang.Server):
    """A client may leave and join again on the same connection, and gets a new id each time."""
    io.of("/chat").on("who", lambda socket: socket.id)
    main = await js.connect(io)
    chat = await main.beside("/chat")
    ids = {chat.id}
    for _ in range(3):
        chat.disconnect()
        chat.connect()
        await chat.connected()
        ids.add(chat.id)
        assert await chat.emit_with_ack("who") == chat.id
    assert len(ids) == 4
    assert len(io.connections) == 1


@pytest.mark.feature("O10", "L13")
async def test_events_on_their_way_to_a_socket_that_was_ended(js: Js, io: madang.Server, heard: Heard):
    """What a client sent to a namespace before it heard of its end is ignored; the connection stays."""
    chat = io.of("/chat")
    chat.on("x", lambda socket, data: heard("handled"))
    io.on("alive", lambda socket: True)
    main = await js.connect(io)
    client = await main.beside("/chat")
    chat.sockets[client.id].disconnect()
    for data in (1, b"\x01", [b"\x02", b"\x03"]):
        client.emit("x", data)
    await client.disconnected()
    assert await main.emit_with_ack("alive") is True
    assert heard.all == []


@pytest.mark.feature("O8", "L12")
async def test_a_failing_end(js: Js, io: madang.Server, heard: Heard):
    """A handler of the end that fails is reported, and the others are called."""
    io.on_error(lambda error, socket, event: heard("on_error", event))

    @io.on("disconnect")
    async def fail(socket, reason):
        raise RuntimeError

    io.on("disconnect", lambda socket: heard("second"))
    client = await js.connect(io)
    client.disconnect()
    assert [await heard.next(), await heard.next()] == [("on_error", "disconnect"), "second"]


@pytest.mark.node("uws.11")
@pytest.mark.feature("O11", "I10")
@pytest.mark.parametrize("host", ALL_HOSTS)
async def test_an_end_before_the_upgrade(js: Js, io: madang.Server, host: Host):
    """Disconnecting a client that has just begun to upgrade ends it, and harms nobody, on every host."""
    io.on("connection", lambda socket: socket.disconnect(True))
    url = await js.serve(io, host)
    for _ in range(3):
        client = await js.connect(url, transports=["polling", "websocket"])
        assert await client.disconnected() == "io server disconnect"
    async with asyncio.timeout(5):
        while io.connections:
            await asyncio.sleep(0.01)
    assert await soon(io.fetch_sockets()) == []
