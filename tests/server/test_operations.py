"""What is done to many sockets at once: finding them, moving them, disconnecting them."""

from __future__ import annotations

import pytest

import madang
from tests.server.javascript import Client, Js


@pytest.fixture
async def three(js: Js, io: madang.Server) -> list[Client]:
    """Three clients: the first in room1, the second in room1 and room2, the third in room2."""
    clients = [await js.connect(io) for _ in range(3)]
    for client, rooms in zip(clients, (["room1"], ["room1", "room2"], ["room2"]), strict=True):
        io.sockets[client.id].join(rooms)
    return clients


def ids(sockets: list[madang.Socket]) -> set[str]:
    return {socket.id for socket in sockets}


@pytest.mark.node("utility-methods.1", "utility-methods.2")
@pytest.mark.feature("O1")
async def test_fetch_sockets(js: Js, io: madang.Server, three: list[Client]):
    """It finds all sockets, those of rooms, and those that are not in them, with id, rooms, data and handshake."""
    first, second, third = (client.id for client in three)
    io.sockets[first].data["name"] = "first"
    assert ids(await io.fetch_sockets()) == {first, second, third}
    assert ids(await io.in_("room1").fetch_sockets()) == {first, second}
    assert ids(await io.in_("room1").except_("room2").fetch_sockets()) == {first}
    assert ids(await io.sockets[first].broadcast.fetch_sockets()) == {second, third}
    (found,) = await io.in_(first).fetch_sockets()
    assert (found.data, found.rooms) == ({"name": "first"}, {first, "room1"})
    assert found.handshake.query["EIO"] == "4"


@pytest.mark.node("utility-methods.4", "utility-methods.5")
@pytest.mark.feature("O3")
async def test_sockets_join(js: Js, io: madang.Server, three: list[Client]):
    """All sockets, or those of a room, join one room or several."""
    first, second, third = (client.id for client in three)
    io.sockets_join("all")
    io.in_("room1").sockets_join(["x", "y"])
    assert ids(await io.in_("all").fetch_sockets()) == {first, second, third}
    assert ids(await io.in_("x").fetch_sockets()) == ids(await io.in_("y").fetch_sockets()) == {first, second}
    assert io.sockets[first].rooms == {first, "room1", "all", "x", "y"}


@pytest.mark.node("utility-methods.6", "utility-methods.7")
@pytest.mark.feature("O4", "O5")
async def test_sockets_leave(js: Js, io: madang.Server, three: list[Client]):
    """All sockets, or those of a room, leave one room or several."""
    first, second, third = (client.id for client in three)
    io.in_("room2").sockets_leave("room1")
    assert ids(await io.in_("room1").fetch_sockets()) == {first}
    io.sockets_leave("room1", "room2")
    assert [io.sockets[one].rooms for one in (first, second, third)] == [{first}, {second}, {third}]


@pytest.mark.node("utility-methods.8", "utility-methods.9")
@pytest.mark.feature("O10")
@pytest.mark.usefixtures("mode")
async def test_disconnect_sockets(js: Js, io: madang.Server):
    """Those of a room get their disconnect, the others stay."""
    one, two, three = [await js.connect(io) for _ in range(3)]
    for client in (one, two):
        io.sockets[client.id].join("room")
    io.in_("room").disconnect_sockets()
    assert list(io.sockets) == [three.id]
    assert len(io.connections) == 3
    for client in (one, two):
        assert await client.disconnected() == "io server disconnect"
    io.emit("still here")
    assert await three.next("still here") == []


@pytest.mark.feature("O11")
@pytest.mark.usefixtures("mode")
async def test_disconnect_sockets_and_close(js: Js, io: madang.Server):
    """With `close=True` the connections are closed as well, with their other namespaces."""
    other = io.of("/other")
    one = await js.connect(io)
    beside = await one.beside("/other")
    io.disconnect_sockets(close=True)
    assert await one.disconnected() == "io server disconnect"
    assert await beside.disconnected() == "io server disconnect"
    assert (io.sockets, other.sockets, io.connections) == ({}, {}, set())


@pytest.mark.feature("O11")
async def test_the_client_does_not_come_back_by_itself(js: Js, io: madang.Server):
    """A server's disconnect stops the client's reconnection; it may connect again when it wants to."""
    client = await js.connect(io, reconnection=True, reconnectionDelay=5)
    first = client.id
    io.disconnect_sockets(close=True)
    await client.disconnected()
    assert (await client.state())["active"] is False
    client.connect()
    await client.connected()
    assert client.id in io.sockets
    assert client.id != first


@pytest.mark.feature("M14")
async def test_a_fetched_socket_is_asked_like_any_other(js: Js, io: madang.Server, three: list[Client]):
    """An ack from a socket that was fetched is one answer, not a list."""
    await three[1].reply("who", "second")
    (found,) = await io.in_(three[1].id).fetch_sockets()
    assert await found.emit_with_ack("who") == "second"
    found.emit("hi")
    assert await three[1].next("hi") == []
    found.disconnect()
    assert await three[1].disconnected() == "io server disconnect"
