"""Acknowledgements: the client asks, the server asks, and both may be told too late or never."""

from __future__ import annotations

import asyncio

import pytest

import madang
from tests.server.javascript import Heard, Js, JsError, soon


@pytest.mark.node("socket.24", "socket.27")
@pytest.mark.feature("M1")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    ("returned", "received"),
    [(None, None), (42, 42), ([1, 2], [1, 2]), ((1, "2", [3]), (1, "2", [3])), ((), None), (b"\x00\x01", b"\x00\x01")],
)
async def test_what_a_handler_returns_is_the_ack(js: Js, io: madang.Server, returned: object, received: object):
    """Nothing is an empty ack, a tuple is several values, anything else is one; of a `def` and an `async def`."""
    io.on("def", lambda socket: returned)

    @io.on("async def")
    async def handler(socket):
        await asyncio.sleep(0)
        return returned

    client = await js.connect(io)
    assert await client.emit_with_ack("def") == received
    assert await client.emit_with_ack("async def") == received


@pytest.mark.feature("M2", "M1")
async def test_an_ack_by_hand(js: Js, io: madang.Server):
    """A parameter of type `Ack` answers when it likes, once; a second call and the returned value do not count."""
    acks: list[madang.Ack] = []

    @io.on("ask")
    def ask(socket, question: str, ack: madang.Ack):
        acks.append(ack)
        return "not this"

    client = await js.connect(io)
    answer = asyncio.ensure_future(client.emit_with_ack("ask", "when?"))
    while not acks:
        await js.call("echo", value=None)
    assert (acks[0].wanted, acks[0].sent) == (True, False)
    acks[0]("later", b"\x01")
    acks[0]("again")
    assert await answer == ("later", b"\x01")
    assert acks[0].sent is True


@pytest.mark.feature("M2")
@pytest.mark.parametrize("position", ["first", "middle", "alone"])
async def test_where_the_ack_parameter_stands(js: Js, io: madang.Server, position: str):
    """The `Ack` may stand anywhere among the parameters; the client's arguments fill the others in order."""

    def first(ack: madang.Ack, a, b=None):
        ack("first", a, b)

    async def middle(a, ack: madang.Ack, b=None):
        ack("middle", a, b)

    def alone(ack: madang.Ack):
        ack("alone", 1, 2)

    io.on("connection", lambda socket: socket.on("x", {"first": first, "middle": middle, "alone": alone}[position]))
    assert await (await js.connect(io)).emit_with_ack("x", 1, 2) == (position, 1, 2)


@pytest.mark.feature("M2")
async def test_nobody_asked(js: Js, io: madang.Server, heard: Heard):
    """Without a wish for an ack the value is dropped, and an `Ack` says so and does nothing."""

    @io.on("x")
    def x(socket, ack: madang.Ack):
        ack(1)
        heard(ack.wanted)

    io.on("y", lambda socket: 1)
    client = await js.connect(io)
    client.emit("y")
    client.emit("x")
    assert await heard.next() is False
    await js.settled(io)
    assert client.received == []


@pytest.mark.feature("M2")
async def test_no_handler_no_ack(js: Js, io: madang.Server):
    """An event that nobody handles is not acknowledged."""
    client = await js.connect(io)
    with pytest.raises(JsError, match="operation has timed out"):
        await client.emit_with_ack("nobody", timeout=0.05)


@pytest.mark.node("socket.26", "socket.28", "socket.30", "socket.31", "socket.33")
@pytest.mark.feature("M3", "M5", "M13")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    ("answer", "result"),
    [((), None), ((3,), 3), ((1, "2"), (1, "2")), ((b"\x00\xff",), b"\x00\xff"), (({"a": [b"x"]},), {"a": [b"x"]})],
)
async def test_the_server_asks(js: Js, io: madang.Server, answer: tuple[object, ...], result: object):
    """`emit_with_ack` gives None, the value, or a tuple of several; binary goes both ways."""
    client = await js.connect(io)
    await client.reply("ask", *answer)
    asked = io.sockets[client.id].emit_with_ack("ask", 1, b"\x01\x02")
    assert await client.next("ask") == [1, b"\x01\x02"]
    assert await soon(asked) == result


@pytest.mark.feature("M3")
async def test_several_questions_at_once(js: Js, io: madang.Server):
    """Answers may come in any order; each finds its question."""
    clients = [await js.connect(io) for _ in range(2)]
    asked = [io.sockets[client.id].emit_with_ack("ask", n) for n in range(3) for client in clients]
    events = [await client.next("ask") for _ in range(3) for client in clients]
    for event in reversed(events):
        event.ack(f"answer {event[0]}")
    assert await soon(asyncio.gather(*asked)) == [f"answer {n}" for n in range(3) for _ in clients]


@pytest.mark.node("socket-timeout.1", "socket-timeout.2", "socket-timeout.4")
@pytest.mark.feature("M4", "M12")
@pytest.mark.usefixtures("mode")
async def test_a_question_times_out(js: Js, io: madang.Server):
    """`timeout` ends the wait with `AckTimeout`; an answer that comes later is ignored and harms nobody."""
    io.on("alive", lambda socket: True)
    client = await js.connect(io)
    socket = io.sockets[client.id]
    with pytest.raises(madang.AckTimeout, match="operation has timed out"):
        await socket.emit_with_ack("ask", timeout=0.03)
    with pytest.raises(TimeoutError):
        await socket.timeout(0.03).emit_with_ack("ask")
    for _ in range(2):
        (await client.next("ask")).ack("late")
    assert await client.emit_with_ack("alive") is True


@pytest.mark.node("socket-timeout.2")
@pytest.mark.feature("M4")
@pytest.mark.parametrize("way", ["timeout()", "timeout=", "broadcast"])
async def test_a_timeout_of_nothing(js: Js, io: madang.Server, way: str):
    """A timeout of zero seconds is over at once; it is not none at all."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    if way == "timeout()":
        asked = socket.timeout(0).emit_with_ack("ask")
    elif way == "timeout=":
        asked = socket.emit_with_ack("ask", timeout=0)
    else:
        asked = io.timeout(0).emit_with_ack("ask")
    with pytest.raises(madang.AckTimeout):
        await soon(asked, seconds=1)


@pytest.mark.node("socket-timeout.3", "socket-timeout.5")
@pytest.mark.feature("M4")
async def test_an_answer_in_time(js: Js, io: madang.Server):
    """With a timeout that is not reached the answer is the answer."""
    client = await js.connect(io)
    await client.reply("ask", 42)
    assert await io.sockets[client.id].timeout(5).emit_with_ack("ask") == 42


@pytest.mark.feature("A28")
async def test_the_server_s_own_timeout(js: Js):
    """`ack_timeout` is what sockets and broadcasts wait unless told otherwise."""
    io = madang.Server(ack_timeout=0.03)
    client = await js.connect(io)
    await client.reply("slow", 1, after=0.1)
    with pytest.raises(madang.AckTimeout):
        await io.sockets[client.id].emit_with_ack("never")
    with pytest.raises(madang.AckTimeout):
        await io.emit_with_ack("never")
    assert await io.sockets[client.id].emit_with_ack("slow", timeout=5) == 1


@pytest.mark.feature("M11")
@pytest.mark.parametrize("by", ["client", "server", "drop"])
async def test_a_wait_ends_with_its_socket(js: Js, io: madang.Server, by: str):
    """When the client goes, who waits for its answer gets `SocketClosed` with the reason at once."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    asked = socket.emit_with_ack("ask")
    await client.next("ask")
    {"client": client.disconnect, "server": socket.disconnect, "drop": client.drop}[by]()
    with pytest.raises(madang.SocketClosed) as closed:
        await soon(asked)
    reasons = {"client": "client namespace disconnect", "server": "server namespace disconnect"}
    assert closed.value.reason == reasons.get(by, "transport close")


@pytest.mark.feature("M11")
async def test_asking_after_the_end(js: Js, io: madang.Server):
    """Asking a socket that has gone fails with `SocketClosed`, and nothing is sent."""
    client = await js.connect(io)
    socket = io.sockets[client.id]
    socket.disconnect()
    with pytest.raises(madang.SocketClosed):
        await socket.emit_with_ack("ask", timeout=1)
    await client.disconnected()
    assert client.received == []


@pytest.mark.feature("M11")
async def test_a_handler_s_answer_after_the_end(js: Js, io: madang.Server, heard: Heard):
    """A handler that outlives its client answers into the void, without an error."""
    io.on_error(lambda error, socket, event: heard(error))
    io.on("disconnect", lambda socket: heard("gone"))
    ended = asyncio.Event()

    @io.on("slow")
    async def slow(socket):
        heard("started")
        await ended.wait()
        return "nobody hears this"

    client = await js.connect(io)
    asked = asyncio.ensure_future(client.emit_with_ack("slow"))
    assert await heard.next() == "started"
    client.drop()
    await client.disconnected()
    with pytest.raises(JsError, match="socket has been disconnected"):
        await asked
    ended.set()
    assert await heard.next() == "gone"


@pytest.mark.feature("M12")
async def test_an_ack_nobody_waits_for(js: Js, io: madang.Server):
    """An ack with an unknown id, also one of many digits, or given twice is ignored, and the connection stays."""
    io.on("alive", lambda socket: True)
    client = await js.connect(io)
    client.raw("37[1]")
    client.raw("3123456789012345678901234567890[1]")
    io.sockets[client.id].emit_with_ack("ask")
    event = await client.next("ask")
    event.ack(1)
    event.ack(2)
    assert await client.emit_with_ack("alive") is True


@pytest.mark.feature("M15")
@pytest.mark.parametrize("number", ["12", "4294967296", "123456789012345678901"])
async def test_ack_ids_of_many_digits(js: Js, io: madang.Server, heard: Heard, number: str):
    """A client may number its questions as it likes; the answer bears the same number."""
    io.on("ask", lambda socket, value: value)
    client = await js.connect(io)
    io.sockets[client.id].conn.on("packet_create", lambda packet: heard(packet.text))
    client.raw(f'2{number}["ask",[]]')
    assert await heard.next() == f"43{number}[[]]".encode()


@pytest.mark.node("messaging-many.15", "messaging-many.17")
@pytest.mark.feature("M6")
@pytest.mark.usefixtures("mode")
async def test_asking_many(js: Js, io: madang.Server):
    """A broadcast with ack gives one answer of each client, the first value of each, in any order."""
    clients = [await js.connect(io) for _ in range(3)]
    for number, client in enumerate(clients):
        await client.reply("ask", number, "more")
    assert sorted(await io.timeout(5).emit_with_ack("ask", b"\x01")) == [0, 1, 2]
    io.sockets[clients[0].id].join("room")
    assert await io.to("room").emit_with_ack("ask", timeout=5) == [0]
    assert sorted(await io.sockets[clients[0].id].broadcast.emit_with_ack("ask")) == [1, 2]


@pytest.mark.node("messaging-many.16", "messaging-many.18")
@pytest.mark.feature("M7")
async def test_some_do_not_answer(js: Js, io: madang.Server):
    """`AckTimeout` keeps the answers that came, and nothing is left waiting."""
    clients = [await js.connect(io) for _ in range(3)]
    for client in clients[:2]:
        await client.reply("ask", "here")
    with pytest.raises(madang.AckTimeout) as timeout:
        await io.timeout(0.2).emit_with_ack("ask")
    assert timeout.value.responses == ["here", "here"]
    assert not any(socket._acks for socket in io.sockets.values())


@pytest.mark.feature("M7", "M11")
async def test_some_go_away(js: Js, io: madang.Server):
    """Clients that go away are not waited for: the others' answers are in the error, at once."""
    stays, goes = await js.connect(io), await js.connect(io)
    await stays.reply("ask", "here")
    asked = io.emit_with_ack("ask", timeout=60)
    await goes.next("ask")
    goes.drop()
    with pytest.raises(madang.AckTimeout) as timeout:
        await soon(asked)
    assert timeout.value.responses == ["here"]


@pytest.mark.node("messaging-many.19")
@pytest.mark.feature("M8", "M9")
async def test_nobody_to_ask(js: Js, io: madang.Server):
    """A broadcast to nobody is answered at once with nothing; no timeout is needed."""
    assert await soon(io.emit_with_ack("ask")) == []
    client = await js.connect(io)
    assert await soon(io.to("empty").timeout(60).emit_with_ack("ask")) == []
    await client.reply("ask", 1, after=0.05)
    assert await io.emit_with_ack("ask") == [1]


@pytest.mark.feature("M3")
async def test_asking_is_sent_in_order(js: Js, io: madang.Server):
    """`emit_with_ack` sends when it is called, not when it is awaited."""
    client = await js.connect(io)
    await client.reply("ask", 1)
    socket = io.sockets[client.id]
    socket.emit("before")
    asked = socket.emit_with_ack("ask")
    socket.emit("after")
    await client.next("after")
    assert await asked == 1
    assert client.received == [["before"], ["ask"]]


@pytest.mark.feature("M3", "A29")
async def test_a_handler_asks_its_own_client(js: Js, io: madang.Server):
    """A handler may await an answer of its own client: acks do not queue behind handlers."""

    @io.on("start")
    async def start(socket):
        return await socket.emit_with_ack("confirm", timeout=5)

    client = await js.connect(io)
    await client.reply("confirm", "yes")
    assert await client.emit_with_ack("start") == "yes"
