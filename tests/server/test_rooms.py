"""Rooms: joining, leaving, what is left of them, and what the adapter tells."""

from __future__ import annotations

import pytest

import madang
from tests.server.javascript import ConnectRefused, Heard, Js


@pytest.mark.feature("O2", "N7")
async def test_a_socket_s_own_room(js: Js, io: madang.Server):
    """A socket starts in the room of its own id, and can be reached through it."""
    alice, bob = await js.connect(io), await js.connect(io)
    assert io.sockets[alice.id].rooms == {alice.id}
    io.to(alice.id).emit("private")
    assert await alice.next("private") == []
    await js.settled(io)
    assert bob.received == []


@pytest.mark.node("messaging-many.8", "messaging-many.10", "messaging-many.11")
@pytest.mark.feature("O3", "O4")
async def test_joining_and_leaving(js: Js, io: madang.Server):
    """`join` takes one room, several or a list; leaving a room never joined is silent; `leave_all` leaves all."""
    socket = io.sockets[(await js.connect(io)).id]
    socket.join("a")
    socket.join("b", "c")
    socket.join(["c", "d"])
    assert socket.rooms == {socket.id, "a", "b", "c", "d"}
    socket.leave("b")
    socket.leave("never joined")
    assert socket.rooms == {socket.id, "a", "c", "d"}
    socket.leave_all()
    assert socket.rooms == set()
    assert io.adapter.rooms == {}


@pytest.mark.feature("O2")
async def test_rooms_is_a_set_of_one_s_own(js: Js, io: madang.Server):
    """Changing what `rooms` gave changes no membership, so it can be walked over while leaving."""
    socket = io.sockets[(await js.connect(io)).id]
    socket.join(["a", "b"])
    socket.rooms.clear()
    for room in socket.rooms:
        socket.leave(room)
    assert socket.rooms == set()


@pytest.mark.feature("N14")
async def test_rooms_are_told_apart_by_type(js: Js, io: madang.Server):
    """Room 42 is not room "42"."""
    number, text = await js.connect(io), await js.connect(io)
    io.sockets[number.id].join(42)
    io.sockets[text.id].join("42")
    io.to(42).emit("number")
    io.to("42").emit("text")
    await js.settled(io)
    assert (number.received, text.received) == ([["number"]], [["text"]])


@pytest.mark.node("messaging-many.9")
@pytest.mark.feature("O6")
async def test_the_adapter_tells_of_rooms(js: Js, io: madang.Server, heard: Heard):
    """A room's life is told in order: made, joined, left, gone."""
    first, second = await js.connect(io), await js.connect(io)
    for event in ("create_room", "join_room", "leave_room", "delete_room"):
        io.adapter.on(event, lambda *args, event=event: heard(event, *args))
    for client in (first, second):
        io.sockets[client.id].join("a")
    for client in (first, second):
        io.sockets[client.id].leave("a")
    assert heard.all == [
        ("create_room", "a"),
        ("join_room", "a", first.id),
        ("join_room", "a", second.id),
        ("leave_room", "a", first.id),
        ("leave_room", "a", second.id),
        ("delete_room", "a"),
    ]


@pytest.mark.feature("O6", "O7")
async def test_a_client_that_goes_leaves_no_room(js: Js, io: madang.Server, heard: Heard):
    """With the last member its rooms are gone."""
    io.on("disconnect", lambda socket: heard("gone"))
    client = await js.connect(io)
    io.sockets[client.id].join(["a", "b"])
    assert set(io.adapter.rooms) == {"a", "b"}
    client.drop()
    await heard.next()
    assert io.adapter.rooms == {}
    assert io.adapter.everyone == {}


@pytest.mark.node("socket.52")
@pytest.mark.feature("K7", "O3")
async def test_rooms_joined_in_middleware(js: Js, io: madang.Server, heard: Heard):
    """A room joined in middleware is kept if the client is let in; a refusal undoes it."""

    @io.use
    def enter(socket):
        socket.join("a", "left")
        socket.leave("left")
        heard(socket.rooms == {socket.id, "a"} or socket.rooms)
        if socket.handshake.auth.get("refuse"):
            raise madang.ConnectError("no")

    with pytest.raises(ConnectRefused):
        await js.connect(io, auth={"refuse": True})
    assert io.adapter.rooms == {}
    client = await js.connect(io)
    assert io.sockets[client.id].rooms == {client.id, "a"}
    assert list(io.adapter.rooms) == ["a"]
    assert [socket.id for socket in await io.in_("a").fetch_sockets()] == [client.id]


@pytest.mark.node("socket.53")
@pytest.mark.feature("O15")
@pytest.mark.parametrize("close", [False, True])
async def test_joining_after_the_end(js: Js, io: madang.Server, close: bool):
    """A join after the disconnect does nothing, and leaves nothing behind."""

    @io.on("bye")
    def bye(socket):
        socket.join("before")
        socket.disconnect(close)
        socket.join("after")

    client = await js.connect(io)
    socket = io.sockets[client.id]
    client.emit("bye")
    assert await client.disconnected() == "io server disconnect"
    socket.join("later")
    assert socket.rooms == set()
    assert io.adapter.rooms == {}


@pytest.mark.feature("N6")
async def test_speaking_to_one_s_own_room(js: Js, io: madang.Server):
    """`socket.to(socket.id)` reaches nobody, since a socket leaves itself out."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    socket.to(socket.id).emit("echo")
    socket.in_(socket.id).emit("echo")
    await js.settled(io)
    assert client.received == []


@pytest.mark.feature("O5")
async def test_emptying_a_room(js: Js, io: madang.Server):
    """`io.in_(room).sockets_leave(room)` takes everyone out of it, and the room is gone."""
    clients = [await js.connect(io) for _ in range(3)]
    io.sockets_join("all")
    assert len(await io.in_("all").fetch_sockets()) == 3
    io.in_("all").sockets_leave("all")
    assert "all" not in io.adapter.rooms
    io.to("all").emit("nobody")
    await js.settled(io)
    assert [client.received for client in clients] == [[], [], []]
