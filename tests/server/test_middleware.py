"""Middleware of namespaces and of the engine: who is let in, and what happens to those who are not."""

from __future__ import annotations

import asyncio

import pytest

import madang
from tests.server.javascript import ConnectRefused, Heard, Js, soon


@pytest.mark.node("middleware.1", "middleware.5", "middleware.7", "middleware.8")
@pytest.mark.feature("K3")
async def test_they_run_in_order(js: Js, io: madang.Server, heard: Heard):
    """Plain and async middlewares run one after the other, then `connection`; other namespaces have their own."""
    io.use(lambda socket: heard("main"))
    chat = io.of("/chat")

    @chat.use
    async def first(socket):
        await asyncio.sleep(0.02)
        heard("first")

    chat.use(lambda socket: heard("second"))
    chat.on("connection", lambda socket: heard("connection"))
    await js.connect(io, "/chat")
    assert heard.all == ["first", "second", "connection"]


@pytest.mark.node("middleware.2")
@pytest.mark.feature("K3", "K4")
async def test_a_refusal_ends_the_chain(js: Js, io: madang.Server, heard: Heard):
    """After a refusal neither later middlewares nor `connection` are called; the client reads the message."""

    @io.use
    def refuse(socket):
        raise madang.ConnectError("Authentication error")

    io.use(lambda socket: heard("second"))
    io.on("connection", lambda socket: heard("connection"))
    client = await js.connect(io, wait=False)
    assert await client.refused() == ("Authentication error", None)
    assert (heard.all, io.sockets) == ([], {})


@pytest.mark.node("middleware.3")
@pytest.mark.feature("K4")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("data", [{"a": "b", "c": 3}, [1], 0, "", False])
async def test_a_refusal_carries_data(js: Js, io: madang.Server, data: object):
    """What the refusal carries is the client's `error.data`; the connection and its other namespaces stay."""

    @io.of("/staff").use
    async def refuse(socket):
        raise madang.ConnectError("nope", data=data)

    main = await js.connect(io)
    staff = await main.beside("/staff", wait=False)
    assert await staff.refused() == ("nope", data)
    assert (await main.state())["connected"] is True


@pytest.mark.feature("K4")
async def test_a_refused_client_tries_again_when_it_likes(js: Js, io: madang.Server):
    """A refused client does not retry by itself, and may connect later on the same connection."""
    open_ = False

    @io.of("/door").use
    def door(socket):
        if not open_:
            raise madang.ConnectError("closed")

    main = await js.connect(io)
    client = await main.beside("/door", wait=False)
    assert (await client.refused()).message == "closed"
    assert (await client.state())["active"] is False
    open_ = True
    client.connect()
    await client.connected()
    assert client.id in io.of("/door").sockets


@pytest.mark.feature("K3", "L12")
async def test_any_other_exception_refuses_without_telling(js: Js, io: madang.Server, heard: Heard):
    """A middleware that fails refuses with `internal error`; `on_error` and `connect_error` hear what it was."""
    io.on_error(lambda error, socket, event: heard("on_error", str(error), event))
    io.on("connect_error", lambda refusal: heard("connect_error", refusal.message, refusal.context["name"]))

    @io.use
    def fail(socket):
        raise KeyError("secret")

    client = await js.connect(io, wait=False)
    assert await client.refused() == ("internal error", None)
    assert heard.all == [
        ("on_error", "'secret'", "connection"),
        ("connect_error", "internal error", "MIDDLEWARE_FAILURE"),
    ]


@pytest.mark.node("middleware.4", "middleware.10")
@pytest.mark.feature("O14", "K3")
async def test_connected_is_set_when_all_have_passed(js: Js, io: madang.Server, heard: Heard):
    """In middleware a socket is not connected and not counted; what is set on it is there afterwards."""

    @io.use
    def middleware(socket):
        socket.data["name"] = "minji"
        heard(socket.connected, socket.disconnected, len(io.sockets))

    io.on("connection", lambda socket: heard(socket.connected, socket.data["name"], len(io.sockets)))
    await js.connect(io)
    assert heard.all == [(False, True, 0), (True, "minji", 1)]


@pytest.mark.feature("K6")
@pytest.mark.usefixtures("mode")
async def test_emitting_in_middleware(js: Js, io: madang.Server):
    """What middleware emits reaches the client, before what `connection` emits."""
    io.use(lambda socket: socket.emit("welcome", b"\x01"))
    io.on("connection", lambda socket: socket.emit("connected"))
    client = await js.connect(io)
    await client.next("connected")
    assert client.received == [["welcome", b"\x01"]]


@pytest.mark.node("middleware.6")
@pytest.mark.feature("K5")
@pytest.mark.parametrize("how", ["drop", "disconnect"])
async def test_a_client_that_leaves_meanwhile(js: Js, io: madang.Server, heard: Heard, how: str):
    """A client that goes while middleware waits is never connected, and leaves no room and no socket behind."""
    go_on = asyncio.Event()

    @io.use
    async def slow(socket):
        socket.join("a")
        heard(socket)
        await go_on.wait()

    io.use(lambda socket: heard("second"))
    for event in ("connection", "disconnecting", "disconnect"):
        io.on(event, lambda socket, *_: heard("life"))
    client = await js.connect(io, wait=False)
    socket = await heard.next()
    getattr(client, how)()
    while io.connections:
        await js.call("echo", value=None)
    go_on.set()
    while len(io.tasks):
        await asyncio.sleep(0)
    assert heard.all == [socket]
    assert (io.sockets, io.adapter.rooms, socket.rooms) == ({}, {}, set())


@pytest.mark.feature("G9", "G10")
@pytest.mark.parametrize("packet", ["0/slow,", '2/slow,["x"]'])
async def test_a_packet_while_middleware_runs(js: Js, io: madang.Server, heard: Heard, packet: str):
    """A second CONNECT, or an event, for a namespace that is being joined closes the connection; no socket is made."""
    slow, go_on = io.of("/slow"), asyncio.Event()

    @slow.use
    async def wait(socket):
        heard(socket)
        await go_on.wait()

    client = await js.connect(io)
    client.raw("0/slow,")
    await heard.next()
    client.raw(packet)
    assert await client.disconnected() == "transport close"
    go_on.set()
    while len(io.tasks):
        await asyncio.sleep(0)
    assert (slow.sockets, len(heard.all)) == ({}, 1)


@pytest.mark.feature("K3", "O14")
async def test_disconnecting_in_middleware(js: Js, io: madang.Server):
    """A middleware that disconnects its socket refuses it: the client is told, and does not wait for ever."""

    @io.use
    def end(socket):
        socket.disconnect()

    client = await js.connect(io, wait=False)
    await client.refused()
    assert io.sockets == {}


@pytest.mark.feature("K7", "O3")
async def test_a_room_of_middleware_after_reconnecting(js: Js, io: madang.Server):
    """A client that comes back passes the middleware again, and is in its room again."""
    io.use(lambda socket: socket.join("room1"))
    client = await js.connect(io, reconnection=True, reconnectionDelay=5, randomizationFactor=0)
    client.drop()
    assert await client.disconnected() == "forced close"
    client.connect()
    await client.connected()
    io.to("room1").emit("hi")
    assert await client.next("hi") == []


@pytest.mark.feature("K1")
@pytest.mark.usefixtures("mode")
async def test_engine_middleware_sees_requests(js: Js, io: madang.Server, heard: Heard):
    """`io.engine.use` is asked about each HTTP request and upgrade; a handshake is the one without a sid."""
    io.engine.use(lambda request: heard("sid" in request.query))

    @io.engine.use
    async def second(request):
        await asyncio.sleep(0)

    await js.connect(io)
    assert heard.all[0] is False
    assert not any(known is False for known in heard.all[1:])


@pytest.mark.feature("K2", "C9")
@pytest.mark.usefixtures("mode")
async def test_engine_middleware_refuses(js: Js, io: madang.Server, heard: Heard):
    """An engine middleware that raises refuses the request; the client cannot connect, the server hears why."""

    @io.engine.use
    def refuse(request):
        raise ValueError("no")

    io.on("connect_error", lambda error: heard(error.code, error.message, error.context["name"]))
    client = await js.connect(io, wait=False)
    assert (await client.refused()).message in ("websocket error", "xhr poll error")
    assert heard.all[0] == (3, "Bad request", "MIDDLEWARE_FAILURE")


@pytest.mark.node("handshake.3", "handshake.4")
@pytest.mark.feature("C6", "C9")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("decide", ["plain", "async"])
async def test_allow_request(js: Js, heard: Heard, decide: str):
    """`allow_request` lets a handshake in or not; the server hears of those that are not."""

    async def later(request):
        return request.query.get("ok") == "1"

    io = madang.Server(allow_request=later if decide == "async" else lambda request: request.query.get("ok") == "1")
    io.on("connect_error", lambda error: heard(error.code, error.message, error.request.path))
    assert (await js.connect(io, query={"ok": 1})).id in io.sockets
    with pytest.raises(ConnectRefused):
        await js.connect(io, query={"ok": 0})
    assert heard.all[0] == (4, "Forbidden", "/socket.io/")


@pytest.mark.feature("K3")
async def test_two_clients_in_middleware_at_once(js: Js, io: madang.Server):
    """Clients do not wait for each other's middleware."""
    arrived: list[asyncio.Future[None]] = []

    @io.use
    async def together(socket):
        arrived.append(asyncio.get_running_loop().create_future())
        if len(arrived) == 2:
            for future in arrived:
                future.set_result(None)
        await arrived[0]

    clients = [await js.connect(io, wait=False) for _ in range(2)]
    await soon(asyncio.gather(*(client.connected() for client in clients)))
    assert len(io.sockets) == 2
