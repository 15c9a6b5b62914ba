"""Adding, removing and listing handlers; catch-all listeners, incoming and outgoing; middleware of events."""

from __future__ import annotations

import asyncio

import pytest

import madang
from tests.server.javascript import Client, Heard, Js


@pytest.fixture
async def client(js: Js, io: madang.Server) -> Client:
    """A client; the server answers `done` when all it has sent before has been handled."""
    io.on("done", lambda socket: None)
    return await js.connect(io)


@pytest.fixture
def socket(io: madang.Server, client: Client) -> madang.Socket:
    """The client's socket."""
    return io.sockets[client.id]


async def send(client: Client, *events: str) -> None:
    """Emit events, and wait until they are handled."""
    for event in events:
        client.emit(event, 1)
    await client.emit_with_ack("done")


@pytest.mark.feature("L1")
async def test_on_off_and_once(client: Client, socket: madang.Socket, heard: Heard):
    """`off` removes one handler or all of an event; `once` serves a single event."""

    @socket.on("x")
    def one(value):
        heard("one")

    two = socket.on("x", lambda value: heard("two"))
    socket.once("x", lambda value: heard("once"))
    await send(client, "x", "x")
    assert heard.all == ["one", "two", "once", "one", "two"]
    heard.all.clear()
    socket.off("x", one)
    await send(client, "x")
    socket.off("x")
    await send(client, "x")
    assert heard.all == ["two"]
    socket.off("x", two)


@pytest.mark.feature("L1")
async def test_once_for_all_sockets(js: Js, io: madang.Server, client: Client, heard: Heard):
    """A namespace's `once` is for the first such event of any socket; its `off` removes for all."""

    @io.once("x")
    async def first(socket, value):
        await asyncio.sleep(0)
        heard("once")
        return "once"

    keep = io.on("x", lambda socket, value: heard("on"))
    other = await js.connect(io)
    assert await client.emit_with_ack("x", 1) == "once"
    await other.emit_with_ack("x", 1)
    assert heard.all == ["once", "on", "on"]
    io.off("x", keep)
    await send(client, "x")
    assert heard.all == ["once", "on", "on"]


@pytest.mark.feature("L1")
async def test_once_in_a_life(js: Js, io: madang.Server, heard: Heard):
    """`once` and `off` hold for the server's own events too: `connection`, `disconnect`, a socket's `error`."""

    @io.on("boom")
    def boom(socket):
        raise RuntimeError

    @io.once("connection")
    def connected(socket):
        heard("connection")
        socket.once("error", lambda error: heard("error"))

    io.once("disconnect", lambda socket: heard("disconnect"))
    removed = io.on("connection", lambda socket: heard("removed"))
    io.off("connect", removed)
    for client in [await js.connect(io), await js.connect(io)]:
        await client.emit_with_ack("boom")
        await client.emit_with_ack("boom")
        io.sockets[client.id].disconnect()
        await client.disconnected()
    assert heard.all == ["connection", "error", "disconnect"]


@pytest.mark.feature("L1")
async def test_event_names_and_removing_all(client: Client, socket: madang.Socket, heard: Heard):
    """`event_names` lists what a socket listens to itself, and `remove_all_listeners` forgets it."""
    socket.on("a", lambda *_: heard("a"))
    socket.on(2, lambda *_: heard("2"))
    socket.on("disconnect", lambda: heard("disconnect"))
    assert socket.event_names() == ["a", 2, "disconnect"]
    socket.remove_all_listeners("a")
    assert socket.event_names() == [2, "disconnect"]
    socket.remove_all_listeners()
    assert socket.event_names() == []
    await send(client, "a")
    assert heard.all == []


@pytest.mark.node("socket.54", "socket.55")
@pytest.mark.feature("L3")
async def test_on_any(client: Client, socket: madang.Socket, heard: Heard):
    """Catch-alls hear every event with its arguments before the named handlers; prepended ones come first."""
    socket.on("x", lambda *args: heard("named", *args))
    socket.on_any(lambda event, *args: heard("any", event, *args))
    socket.prepend_any(lambda event, *args: heard("second", event))
    first = socket.prepend_any(lambda event, *args: heard("first", event))
    client.emit("x", 1, b"\x02")
    await client.emit_with_ack("x", 3)
    expected = [("first", "x"), ("second", "x"), ("any", "x", 1, b"\x02"), ("named", 1, b"\x02")]
    assert heard.all[:4] == expected
    assert isinstance(heard.all[6][-1], madang.Ack)
    assert heard.all[7] == ("named", 3)
    assert socket.listeners_any()[0] is first


@pytest.mark.node("socket.56")
@pytest.mark.feature("L3")
async def test_off_any(client: Client, socket: madang.Socket, heard: Heard):
    """A catch-all that is removed hears nothing more."""
    one = socket.on_any(lambda *args: heard("one"))
    socket.on_any(lambda *args: heard("two"))
    socket.off_any(one)
    client.emit("x")
    await client.emit_with_ack("done")
    assert heard.all == ["two", "two"]
    socket.off_any()
    assert socket.listeners_any() == []
    await send(client, "x")
    assert heard.all == ["two", "two"]


@pytest.mark.feature("L3", "M1")
async def test_a_catch_all_may_answer(client: Client, socket: madang.Socket):
    """The `Ack` that a catch-all gets answers an event that nobody else handles."""

    @socket.on_any
    async def any_(event, *args):
        await asyncio.sleep(0)
        args[-1](event, *args[:-1])

    assert await client.emit_with_ack("anything", 1, 2) == ("anything", 1, 2)


@pytest.mark.feature("L3", "L12")
async def test_a_namespace_s_catch_all(io: madang.Server, client: Client, socket: madang.Socket, heard: Heard):
    """A namespace's catch-all gets the socket first, of those that were there before too; its errors stop nothing."""

    @io.on_any
    def any_(socket, event, *args):
        heard(socket.id, event, *args)
        raise RuntimeError

    socket.on("x", lambda value: heard("named", value))
    client.emit("x", 1)
    await client.emit_with_ack("done")
    assert heard.all[:2] == [(client.id, "x", 1), ("named", 1)]
    io.off_any(any_)
    heard.all.clear()
    await send(client, "x")
    assert heard.all == [("named", 1)]


@pytest.mark.node("socket.57", "socket.58", "socket.59")
@pytest.mark.feature("L4")
@pytest.mark.usefixtures("mode")
async def test_on_any_outgoing(js: Js, io: madang.Server, heard: Heard):
    """Listeners of what goes out hear emits, broadcasts and questions, bytes included; not acks."""
    io.on("ask", lambda socket: "an ack")
    client = await js.connect(io)
    socket = io.sockets[client.id]
    socket.on_any_outgoing(lambda event, *args: heard(event, *args))
    socket.emit("a", 1, b"\x02")
    io.emit("b", {"deep": [b"\x03"]})
    socket.volatile.emit("c")
    socket.emit_with_ack("d", 4).cancel()
    await client.emit_with_ack("ask")
    assert heard.all[:2] == [("a", 1, b"\x02"), ("b", {"deep": [b"\x03"]})]
    assert heard.all[-1] == ("d", 4)
    assert await client.next("b") == [{"deep": [b"\x03"]}]


@pytest.mark.node("socket.60", "socket.61")
@pytest.mark.feature("L4")
async def test_prepending_and_removing_outgoing(client: Client, socket: madang.Socket, heard: Heard):
    """They come in the order asked for, and go when removed."""
    last = socket.on_any_outgoing(lambda *args: heard("last"))
    socket.prepend_any_outgoing(lambda *args: heard("second"))
    first = socket.prepend_any_outgoing(lambda *args: heard("first"))
    assert socket.listeners_any_outgoing()[::2] == [first, last]
    socket.emit("x")
    socket.off_any_outgoing(last)
    socket.emit("x")
    socket.off_any_outgoing()
    socket.emit("x")
    assert heard.all == ["first", "second", "last", "first", "second"]
    for _ in range(3):
        assert await client.next("x") == []


@pytest.mark.feature("L4", "L12")
async def test_a_failing_outgoing_listener(io: madang.Server, client: Client, socket: madang.Socket, heard: Heard):
    """A listener that raises is reported, and the event goes out all the same."""
    io.on_error(lambda error, socket, event: heard(str(error), event))

    @socket.on_any_outgoing
    def fail(*args):
        raise RuntimeError("no")

    socket.emit("x", 1)
    assert await client.next("x") == [1]
    assert heard.all == [("no", "x")]


@pytest.mark.node("socket-middleware.1")
@pytest.mark.feature("K8")
async def test_use_sees_and_changes_events(client: Client, socket: madang.Socket, heard: Heard):
    """Event middlewares see `[name, *args]` in order, may be async, and may change what is dispatched."""

    @socket.use
    def first(event):
        heard("first", list(event))
        if event[0] == "x":
            event[1:] = ["changed"]

    @socket.use
    async def second(event):
        await asyncio.sleep(0)
        heard("second", list(event))

    socket.on("x", lambda *args: heard("x", *args))
    client.emit("x", 1, b"\x02")
    await client.emit_with_ack("done")
    assert heard.all[:3] == [("first", ["x", 1, b"\x02"]), ("second", ["x", "changed"]), ("x", "changed")]


@pytest.mark.feature("K8")
async def test_use_may_return_anything(client: Client, socket: madang.Socket):
    """What a plain middleware returns does not matter."""
    socket.use(lambda event: True)
    assert await client.emit_with_ack("done") is None


@pytest.mark.node("socket-middleware.2")
@pytest.mark.feature("K8", "G11")
async def test_use_refuses(client: Client, socket: madang.Socket, heard: Heard):
    """A refused event reaches neither later middlewares nor handlers; the socket's `error` handler gets the error."""

    @socket.use
    def refuse(event):
        if event[0] == "secret":
            raise madang.EventError("not for you")

    socket.use(lambda event: heard("second", event[0]))
    socket.on("secret", lambda value: heard("handled"))
    socket.on("error", lambda error: heard("error", error.message))
    await send(client, "secret")
    assert heard.all == [("error", "not for you"), ("second", "done")]


@pytest.mark.feature("L13")
async def test_a_middleware_that_disconnects(client: Client, socket: madang.Socket, heard: Heard):
    """An event whose middleware ends the socket is not handled."""
    socket.on("x", lambda value: heard("handled"))

    @socket.use
    async def end(event):
        socket.disconnect()

    client.emit("x", 1)
    await client.disconnected()
    assert heard.all == []
