"""Who hears what: everyone, rooms, all but some; over WebSocket and polling alike."""

from __future__ import annotations

import json

import httpx
import pytest

import madang
from tests.server.javascript import Client, Heard, Js


class Crowd:
    """A polling client, a WebSocket client, one that has upgraded, and a stranger in /custom."""

    def __init__(self, polling: Client, websocket: Client, upgraded: Client, stranger: Client) -> None:
        self.polling = polling
        self.websocket = websocket
        self.upgraded = upgraded
        self.main = (polling, websocket, upgraded)
        self.all = (*self.main, stranger)

    @property
    def received(self) -> list[list[object]]:
        return [client.received for client in self.all]


@pytest.fixture
async def crowd(js: Js, io: madang.Server) -> Crowd:
    io.of("/custom")
    polling = await js.connect(io, transports=["polling"])
    websocket = await js.connect(io, transports=["websocket"])
    upgraded = await js.connect(io, transports=["polling", "websocket"])
    stranger = await js.connect(io, "/custom")
    await upgraded.upgraded()
    return Crowd(polling, websocket, upgraded, stranger)


@pytest.mark.node("messaging-many.1")
@pytest.mark.feature("N1", "N12")
async def test_to_everyone_of_a_namespace(js: Js, io: madang.Server, crowd: Crowd):
    """An emit reaches everyone in its namespace, whatever the transport, and nobody in another."""
    io.emit("hi", 1)
    io.of("/custom").emit("custom")
    await js.settled(io)
    assert crowd.received == [[["hi", 1]], [["hi", 1]], [["hi", 1]], [["custom"]]]


@pytest.mark.node("messaging-many.2")
@pytest.mark.feature("N12", "N11")
async def test_binary_to_everyone(js: Js, io: madang.Server, crowd: Crowd):
    """Binary reaches WebSocket and polling clients alike, in order with what comes before and after."""
    data = bytes(range(256))
    io.emit("bin", data, {"deep": [data, "text"]})
    io.emit("after")
    for client in crowd.main:
        assert await client.next("bin") == [data, {"deep": [data, "text"]}]
        assert await client.next("after") == []


@pytest.mark.feature("N15")
async def test_encoded_once(js: Js, io: madang.Server, crowd: Crowd, monkeypatch: pytest.MonkeyPatch):
    """A broadcast is encoded once, however many receive it."""
    encoded: list[object] = []
    encode = type(io.parser).encode_event

    def counting(*args: object, **options: object):
        encoded.append(args)
        return encode(*args, **options)

    monkeypatch.setattr(type(io.parser), "encode_event", counting)
    io.emit("hi", b"\x01")
    assert len(encoded) == 1
    for client in crowd.main:
        assert await client.next("hi") == [b"\x01"]


@pytest.mark.node("messaging-many.3")
@pytest.mark.feature("N2")
async def test_to_the_rest(js: Js, io: madang.Server, crowd: Crowd):
    """`broadcast` leaves the sender out, and other namespaces."""
    io.on("speak", lambda socket: socket.broadcast.emit("hi", b"\x01"))
    await crowd.websocket.emit_with_ack("speak")
    await js.settled(io)
    assert crowd.received == [[["hi", b"\x01"]], [], [["hi", b"\x01"]], []]


@pytest.mark.node("messaging-many.5")
@pytest.mark.feature("N3", "N12")
async def test_to_several_rooms(js: Js, io: madang.Server, crowd: Crowd):
    """Rooms add up, and a socket that is in two of them hears it once."""
    io.sockets[crowd.polling.id].join(["room1", "room2"])
    io.sockets[crowd.websocket.id].join("room2")
    io.to("room1").emit("one")
    io.to(["room1", "room2"]).emit("list")
    io.to("room1", "room2").in_("room1").emit("chained")
    io.to("nobody is here").emit("nobody")
    await js.settled(io)
    assert crowd.received == [[["one"], ["list"], ["chained"]], [["list"], ["chained"]], [], []]


@pytest.mark.node("namespaces.25", "namespaces.27")
@pytest.mark.feature("N4")
async def test_all_but_some(js: Js, io: madang.Server, crowd: Crowd):
    """`except_` takes rooms and ids, and wins over `to`."""
    io.sockets[crowd.polling.id].join("room1")
    io.except_(crowd.websocket.id).emit("not you")
    io.except_("room1").emit("not the room")
    io.to("room1").except_("room1").emit("nobody")
    io.except_("room1").except_([crowd.websocket.id]).emit("upgraded alone")
    io.of("/custom").except_("room1").emit("custom")
    await js.settled(io)
    assert crowd.received == [
        [["not you"]],
        [["not the room"]],
        [["not you"], ["not the room"], ["upgraded alone"]],
        [["custom"]],
    ]


@pytest.mark.feature("N2", "N4", "N3")
async def test_a_socket_leaves_itself_out(js: Js, io: madang.Server, crowd: Crowd):
    """From a socket, `to`, `except_`, `local` and `broadcast` all leave out the sender."""
    sender = io.sockets[crowd.upgraded.id]
    for socket in io.sockets.values():
        socket.join("room")
    sender.to("room").emit("to")
    sender.except_(crowd.polling.id).emit("except")
    sender.broadcast.except_(crowd.polling.id).emit("broadcast except")
    sender.local.emit("local")
    sender.broadcast.to("room").emit("broadcast to")
    sender.compress(False).broadcast.emit("flags first")
    await js.settled(io)
    polling, websocket, upgraded, stranger = crowd.received
    assert polling == [["to"], ["local"], ["broadcast to"], ["flags first"]]
    everything = [["to"], ["except"], ["broadcast except"], ["local"], ["broadcast to"], ["flags first"]]
    assert (websocket, upgraded, stranger) == (everything, [], [])


@pytest.mark.node("namespaces.3", "messaging-many.14")
@pytest.mark.feature("N5", "N13", "N10")
async def test_operators_are_immutable(js: Js, io: madang.Server, crowd: Crowd):
    """Each method gives a new operator; rooms and flags of the one before stay as they were."""
    for start in (io, io.sockets[crowd.polling.id], io.of("/custom")):
        one = start.to("room1")
        others = [one.to("room2"), one.except_("room3"), one.local, one.volatile, one.compress(False), one.timeout(1)]
        assert len({id(operator) for operator in [one, *others]}) == 7
    io.sockets[crowd.websocket.id].join("room1")
    room = io.to("room1")
    room.except_(crowd.websocket.id).emit("no")
    room.volatile.compress(False).emit("yes")
    await js.settled(io)
    room.emit("again")
    assert await crowd.websocket.next("yes") == []
    assert await crowd.websocket.next("again") == []
    assert crowd.websocket.received == []


@pytest.mark.feature("N8")
async def test_local(js: Js, io: madang.Server, crowd: Crowd):
    """On a single server `local` is everyone, in every way of saying it."""
    io.local.emit("hi")
    io.sockets[crowd.websocket.id].join("room")
    io.to("room").local.emit("room")
    await js.settled(io)
    assert crowd.received == [[["hi"]], [["hi"], ["room"]], [["hi"]], []]


@pytest.mark.feature("N10")
@pytest.mark.usefixtures("mode")
async def test_large_messages_with_and_without_compression(js: Js, io: madang.Server):
    """With `compress(False)` as with compression, large messages arrive whole."""
    client = await js.connect(io)
    large = "마당 " * 2000
    for emit in (io.emit, io.compress(False).emit, io.sockets[client.id].compress(True).emit):
        emit("large", large)
    for _ in range(3):
        assert await client.next("large") == [large]


@pytest.mark.feature("N10")
@pytest.mark.parametrize("compress", [True, False])
async def test_compress(js: Js, io: madang.Server, compress: bool):
    """`compress` decides whether the poll's answer that carries the message is compressed."""
    async with httpx.AsyncClient(base_url=await js.serve(io)) as http:
        query = {"EIO": "4", "transport": "polling"}
        query["sid"] = json.loads((await http.get("/socket.io/", params=query)).text[1:])["sid"]
        await http.post("/socket.io/", params=query, content="40")
        await http.get("/socket.io/", params=query)
        io.compress(compress).emit("large", "x" * 5000)
        poll = await http.get("/socket.io/", params=query)
    assert ("content-encoding" in poll.headers) is compress
    assert "x" * 5000 in poll.text


@pytest.mark.feature("N3")
async def test_a_room_after_leaving(js: Js, io: madang.Server, crowd: Crowd):
    """Who has left a room hears nothing of it any more."""
    for client in crowd.main:
        io.sockets[client.id].join("room")
    io.sockets[crowd.polling.id].leave("room")
    io.to("room").emit("hi")
    await js.settled(io)
    assert crowd.received == [[], [["hi"]], [["hi"]], []]


@pytest.mark.feature("N16")
async def test_an_emit_after_the_end(js: Js, io: madang.Server, heard: Heard):
    """What is emitted to a socket that has been disconnected is not sent, though its connection is still there."""
    io.of("/other")
    client = await js.connect(io)
    beside = await client.beside("/other")
    socket = io.sockets[client.id]
    socket.disconnect()
    socket.emit("too late")
    socket.send("too late")
    socket.volatile.emit("too late")
    io.emit("too late")
    assert await client.disconnected() == "io server disconnect"
    await js.settled(io)
    assert (client.received, beside.received) == ([], [])


@pytest.mark.feature("N1")
async def test_a_member_that_goes_meanwhile(js: Js, io: madang.Server, crowd: Crowd):
    """A member that ends while a broadcast is made disturbs nobody else."""
    leaver = io.sockets[crowd.websocket.id]
    io.sockets[crowd.polling.id].on_any_outgoing(lambda *_: leaver.disconnect())
    io.emit("hi")
    assert await crowd.websocket.disconnected() == "io server disconnect"
    assert await crowd.polling.next("hi") == []
    assert await crowd.upgraded.next("hi") == []
