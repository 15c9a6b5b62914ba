"""A server with the MessagePack parser: stock clients with ``socket.io-msgpack-parser``, and peers that lack it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest

import madang
from tests.conformance.wire import SOCKET, session
from tests.server.javascript import UNDEFINED, Client, Heard, Js, js_bytes, soon

MSGPACK: Final = {"parser": "msgpack"}
WHEN: Final = datetime(2024, 2, 29, 12, 30, 15, 678000, UTC)
SENT: Final[list[Any]] = [1, -1.5, None, True, "마당", b"\x00\xff", [b"a", {"b": b"b", "at": WHEN}], {}, 2**40]
GOT: Final[list[Any]] = [*SENT[:6], [b"a", {"b": b"b", "at": "2024-02-29T12:30:15.678Z"}], *SENT[7:]]


@pytest.fixture
def io() -> madang.Server:
    """A server that speaks MessagePack."""
    return madang.Server(parser=madang.MsgpackParser())


@pytest.mark.feature("R2", "A17")
@pytest.mark.usefixtures("mode")
async def test_events_and_answers(js: Js, io: madang.Server):
    """Events and answers go both ways, with bytes and dates inside, and are as with the default parser."""
    heard = Heard()

    @io.on("said")
    def said(socket: madang.Socket, *args: Any) -> tuple[Any, ...]:
        heard(*args)
        socket.emit("heard", *SENT)  # never waits
        return tuple(SENT)

    client = await js.connect(io, auth={"token": b"t"}, **MSGPACK)
    (socket,) = io.sockets.values()
    assert socket.handshake.auth == {"token": b"t"}
    answer = await client.emit_with_ack("said", *SENT, UNDEFINED, js_bytes(bytes(8), "ArrayBuffer"), js_bytes(b"\x00"))
    assert list(answer) == GOT
    assert await client.next("heard") == GOT
    assert list(await heard.next()) == [*GOT, None, bytes(8), b"\x00"]
    await client.reply("ask", *SENT)
    assert list(await soon(socket.emit_with_ack("ask", b"\x01"))) == GOT
    assert await client.next("ask") == [b"\x01"]


@pytest.mark.feature("R2")
@pytest.mark.usefixtures("mode")
async def test_namespaces_refusals_and_ends(js: Js, io: madang.Server):
    """Namespaces are joined, refused and left, by the client and by the server."""
    chat = io.of("/chat")
    gone = Heard()
    chat.on("disconnect", lambda socket, reason: gone(reason))

    @io.of("/closed").use
    def refuse(socket: madang.Socket) -> None:
        raise madang.ConnectError("no", data={"why": b"\x01"})

    main = await js.connect(io, **MSGPACK)
    client = await main.beside("/chat")
    closed = await main.beside("/closed", wait=False)
    assert await closed.refused() == ("no", {"why": b"\x01"})
    unknown = await main.beside("/unknown", wait=False)
    assert (await unknown.refused()).message == "Invalid namespace"
    client.disconnect()
    assert await client.disconnected() == "io client disconnect"
    assert await gone.next() == "client namespace disconnect"
    client.connect()
    await client.connected()
    (socket,) = chat.sockets.values()
    socket.disconnect()
    assert await client.disconnected() == "io server disconnect"
    assert (await main.state())["connected"]


@pytest.mark.feature("R2")
async def test_broadcasts(js: Js):
    """A broadcast is encoded once for all, its answers are gathered, and listeners of what goes out see it."""
    encoded: list[Any] = []

    class Counting(madang.MsgpackParser):
        def encode_event(self, *args: Any, **more: Any) -> madang.Encoded:
            encoded.append(args)
            return super().encode_event(*args, **more)

    io = madang.Server(parser=Counting())
    clients = [await js.connect(io, **MSGPACK) for _ in range(3)]
    outgoing = Heard()
    io.sockets[clients[0].id].on_any_outgoing(outgoing)
    io.emit("all", WHEN, b"\x00")
    for client in clients:
        assert await client.next("all") == ["2024-02-29T12:30:15.678Z", b"\x00"]
    assert len(encoded) == 1
    assert (await outgoing.next())[-2:] == (WHEN, b"\x00")
    for number, client in enumerate(clients):
        await client.reply("vote", [number, b"\x07"])
    assert sorted(await soon(io.timeout(3).emit_with_ack("vote"))) == [[number, b"\x07"] for number in range(3)]
    await asyncio.to_thread(io.emit, "from a thread", [b"\x01"])
    assert await clients[0].next("from a thread") == [[b"\x01"]]


@pytest.mark.feature("R2", "Q1")
@pytest.mark.usefixtures("mode")
async def test_recovery(js: Js):
    """A client that comes back gets what it missed, bytes included, in order and once."""
    io = madang.Server(parser=madang.MsgpackParser(), connection_state_recovery=True)
    client = await js.connect(io, **MSGPACK)
    (first,) = io.sockets.values()
    known = client.id
    first.join("room")
    first.emit("seen", {"at": WHEN})
    assert (await client.next("seen"))[0] == {"at": "2024-02-29T12:30:15.678Z"}
    client.drop()
    await client.disconnected()
    await soon(left(first))
    io.emit("missed", 1)
    io.to("room").emit("missed", 2, [b"\x00", WHEN])
    io.to("elsewhere").emit("missed", "not for this one")
    io.emit("missed", 3, *range(14))
    client.connect()
    await client.connected()
    state = await client.state()
    assert (state["recovered"], state["id"]) == (True, known)
    got = [list(await client.next("missed"))[:-1] for _ in range(3)]  # behind which stands the offset
    assert got == [[1], [2, [b"\x00", "2024-02-29T12:30:15.678Z"]], [3, *range(14)]]
    io.emit("after")
    await client.next("after")
    assert client.received == []


async def left(socket: madang.Socket) -> None:
    while socket.connected:
        await asyncio.sleep(0.001)


@pytest.mark.feature("R2")
async def test_events_wait_in_turn(js: Js, io: madang.Server):
    """Events wait for the one before them, undecoded, and one whose data are no event ends the connection then."""
    heard, release = Heard(), asyncio.Event()

    @io.on("turn")
    async def turn(socket: madang.Socket, number: int) -> None:
        if number == 0:
            await release.wait()
        heard(number)

    @io.on(34)
    def numbered(socket: madang.Socket, *args: int) -> None:
        heard(args)

    io.on("say")(lambda socket: heard("the wrong one"))
    client = await js.connect(io, **MSGPACK)
    for number in range(3):
        client.emit("turn", number)
    client.emit(34, *b'say"')
    client.raw(msgspec.msgpack.encode({"type": 2, "nsp": "/", "data": ["turn", msgspec.msgpack.Ext(9, b"")]}))
    release.set()
    assert [await heard.next() for _ in range(4)] == [0, 1, 2, tuple(b'say"')]
    assert await client.disconnected() == "transport close"


@pytest.mark.feature("R2", "R6", "R7")
@pytest.mark.parametrize(
    "message",
    ["0", '2["hello"]', b"", b"\xc1", b"\x91" * 100_000, msgspec.msgpack.encode({"type": 2, "nsp": "/", "data": {}})],
    ids=lambda message: repr(message)[:20],
)
async def test_violations(js: Js, io: madang.Server, message: str | bytes):
    """Text, and bytes that are no packet, end the connection; the socket's own ``error`` handlers hear why."""
    errors = Heard()
    io.on("connection", lambda socket: socket.on("error", errors))
    client = await js.connect(io, **MSGPACK)
    client.raw(message)
    assert await client.disconnected() == "transport close"
    assert isinstance(await errors.next(), madang.PacketError)


@pytest.mark.feature("R2")
async def test_too_large(js: Js):
    """A packet larger than `max_http_buffer_size` ends the connection."""
    io = madang.Server(parser=madang.MsgpackParser(), max_http_buffer_size=1000)
    client = await js.connect(io, **MSGPACK)
    client.emit("large", bytes(2000))
    assert (await client.disconnected()) in ("transport close", "transport error")


@pytest.mark.feature("R2")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("packed", ["server", "client"])
async def test_another_parser(js: Js, packed: str):
    """A stock client whose parser is not the server's is not connected, and the server goes on."""
    own, others = ({}, MSGPACK) if packed == "server" else (MSGPACK, {})
    io = madang.Server(parser=madang.MsgpackParser() if packed == "server" else None)
    seen = Heard()
    io.engine.on("connection", lambda connected: connected.on("close", seen))
    wrong: Client = await js.connect(io, wait=False, **own)
    assert "forced close" in (await seen.next())[0]
    assert not (await wrong.state())["connected"]
    right = await js.connect(io, **others)
    assert (await right.state())["connected"]


@pytest.mark.feature("R2", "V44")
@pytest.mark.parametrize("packed", ["server", "client"])
async def test_another_parser_of_madangs_client(js: Js, packed: str):
    """madang's client whose parser is not the server's fails with a clear error."""
    parser = madang.MsgpackParser()
    io = madang.Server(parser=parser if packed == "server" else None)
    url = await js.serve(io)
    client = madang.Client(url, parser=parser if packed == "client" else None, reconnection=False)
    with pytest.raises(madang.MadangError):
        await soon(client.connect())
    await client.close()


@pytest.mark.feature("R2")
async def test_on_the_wire(js: Js, io: madang.Server):
    """One binary message for each packet, of plain maps; a client may add keys and leave `data` undefined."""
    async with session(await js.serve(io), SOCKET) as ws:
        await ws.send(bytes.fromhex("84a47479706500a464617461d40000a36e7370a12fa76f7074696f6e7380"))
        joined = msgspec.msgpack.decode(await ws.receive())
        (socket,) = io.sockets.values()
        assert joined == {"type": 0, "nsp": "/", "data": {"sid": socket.id}}
        socket.emit("a", [b"b"])
        assert msgspec.msgpack.decode(await ws.receive()) == {"type": 2, "nsp": "/", "data": ["a", [b"b"]]}
        await ws.send(msgspec.msgpack.encode({"nsp": "/", "type": 2, "id": 3, "data": ["unheard of", None]}))
        socket.disconnect()
        received = [msgspec.msgpack.decode(await ws.receive()) for _ in range(1)]
        assert received[-1] == {"type": 1, "nsp": "/"}


@pytest.mark.feature("R3")
@pytest.mark.parametrize("wrong", [object(), "msgpack", madang.MsgpackParser])
@pytest.mark.parametrize("kind", [madang.Server, lambda **options: madang.Client("http://localhost", **options)])
def test_no_parser(wrong: Any, kind: Any):
    """What is not a parser is refused when it is given, with what it lacks."""
    with pytest.raises(madang.UsageError, match=r"is not a parser: it (lacks encode_event|is a class)"):
        kind(parser=wrong)
