"""JSON functions of one's own: for one server, or one client, and nobody else."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

import madang
import madang.testing
from madang.errors import EncodeError, OptionError
from tests.hosts import listening
from tests.server.javascript import Heard, Js

pytestmark = pytest.mark.feature("A30")


class Point:
    """What only our own functions know."""

    def __init__(self, x: int, y: int) -> None:
        self.x = x
        self.y = y


def _known(value: Any) -> Any:
    if isinstance(value, Point):
        return {"point": [value.x, value.y]}
    if isinstance(value, Decimal):
        return f"{value}€"
    raise TypeError(f"unknown: {value!r}")


dumps = partial(json.dumps, default=_known, ensure_ascii=False)
loads = partial(
    json.loads, parse_float=Decimal, object_hook=lambda found: Point(*found["point"]) if "point" in found else found
)


@pytest.fixture
def io() -> madang.Server:
    return madang.Server(parser=madang.JsonParser(dumps, loads))


@pytest.mark.usefixtures("mode")
async def test_both_ways(js: Js, io: madang.Server):
    """Events, answers, broadcasts and auth go through the server's own functions, with bytes beside them."""
    heard = Heard()

    @io.on("sum")
    def sum_(socket: madang.Socket, point: Any, price: Any, raw: bytes) -> list[Any]:
        heard(type(point).__name__, price, raw)
        return [Point(point.y, point.x), price + Decimal("0.1"), raw]

    client = await js.connect(io, auth={"price": 0.5})
    (socket,) = io.sockets.values()
    assert socket.handshake.auth == {"price": Decimal("0.5")}
    assert await client.emit_with_ack("sum", {"point": [1, 2]}, 0.2, b"\x01\xff") == [
        {"point": [2, 1]},
        "0.3€",
        b"\x01\xff",
    ]
    assert await heard.next() == ("Point", Decimal("0.2"), b"\x01\xff")
    io.emit("to all", Point(3, 4), [b"\x00", {"deep": b"\x02"}], "안녕")
    assert await client.next("to all") == [{"point": [3, 4]}, [b"\x00", {"deep": b"\x02"}], "안녕"]
    await client.reply("ask", 1.25)
    assert await socket.emit_with_ack("ask") == Decimal("1.25")


async def test_nobody_else(js: Js, io: madang.Server):
    """Another server of the same process keeps its own functions, whatever order they are used in."""
    other = madang.Server()
    for server in (io, other):
        server.on("type", lambda socket, value: type(value).__name__)
    ours, theirs = await js.connect(io), await js.connect(await js.serve(other))
    for _ in range(2):
        assert await ours.emit_with_ack("type", 0.5) == "Decimal"
        assert await theirs.emit_with_ack("type", 0.5) == "float"
    other.emit("x", Decimal("0.5"))
    io.emit("x", Decimal("0.5"))
    assert (await ours.next("x"), await theirs.next("x")) == (["0.5€"], ["0.5"])


@pytest.mark.parametrize("which", ["dumps", "loads"])
async def test_one_of_the_two(js: Js, which: str):
    """One function of one's own, and madang's for the other way."""
    parser = madang.JsonParser(dumps=dumps) if which == "dumps" else madang.JsonParser(loads=loads)
    io = madang.Server(parser=parser)
    io.on("type", lambda socket, value, raw: [type(value).__name__, Decimal(1), raw])
    client = await js.connect(io)
    told = {"dumps": ["float", "1€", b"\x01"], "loads": ["Decimal", "1", b"\x01"]}[which]
    assert await client.emit_with_ack("type", 0.5, b"\x01") == told


async def test_typed_arguments(js: Js, io: madang.Server):
    """Annotations are checked against what `loads` has made."""

    @io.on("pay")
    def pay(socket: madang.Socket, amount: Decimal, times: int = 1) -> str:
        return str(amount * times)

    client = await js.connect(io)
    assert await client.emit_with_ack("pay", 0.1, 3) == "0.3"
    refused = await client.emit_with_ack("pay", 0.1, "many")
    assert refused["error"]["code"] == "invalid_arguments"


async def test_functions_that_fail(js: Js, io: madang.Server):
    """What `dumps` cannot write is refused where it is sent; the clients notice nothing, and go on."""
    client = await js.connect(io)
    io.on("fail", lambda socket: object())
    with pytest.raises(EncodeError, match="dumps has raised TypeError"):
        io.emit("x", object())
    answer = await client.emit_with_ack("fail")
    assert answer["error"]["code"] == "internal_error"
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodeError, match="nested too deeply, or holds itself"):
        io.emit("x", circle)
    io.emit("x", "still here")
    assert await client.next("x") == ["still here"]
    for given in (None, 3, "\ud800"):
        parser = madang.JsonParser(dumps=lambda value, given=given: given)
        with pytest.raises(EncodeError, match="has given no JSON text"):
            parser.encode_event("/", ["x"])
    with pytest.raises(EncodeError, match="bytes cannot be part of a CONNECT"):
        madang.JsonParser(dumps).encode_control(4, "/", {"data": b"x"})


async def test_loads_that_fails(js: Js):
    """What `loads` cannot read ends the connection of who sent it, and nobody else's."""

    def only_short(text: str) -> Any:
        if len(text) > 40:
            raise LookupError("too long for me")
        return json.loads(text)

    io = madang.Server(parser=madang.JsonParser(loads=only_short))
    reasons = Heard()
    io.on("disconnect", lambda socket, reason, details: reasons(reason, str(details)))
    first, second = await js.connect(io), await js.connect(io)
    first.emit("x", "a" * 50)
    reason, details = await reasons.next()
    assert reason == "forced close"
    assert "the parser's loads has raised LookupError" in details
    io.emit("y", 1)
    assert await second.next("y") == [1]


async def test_the_client(io: madang.Server):
    """A client in Python takes the same parser."""
    io.on("turn", lambda socket, point: Point(point.y, point.x))
    async with listening(io) as url, madang.connect(url, parser=madang.JsonParser(dumps, loads)) as client:
        point = await client.emit_with_ack("turn", Point(1, 2))
        assert (point.x, point.y) == (2, 1)


async def test_from_threads(js: Js, io: madang.Server):
    """Threads encode with the same functions, each for itself."""
    client = await js.connect(io)
    await asyncio.gather(*(asyncio.to_thread(io.emit, "n", Decimal(number), b"\x01") for number in range(20)))
    came = [await client.next("n") for _ in range(20)]
    assert sorted(text for text, raw in came if raw == b"\x01") == sorted(f"{number}€" for number in range(20))


@pytest.mark.parametrize("given", [{"dumps": 3}, {"loads": "json"}])
def test_bad_options(given: Any):
    """What cannot be called is refused at once."""
    with pytest.raises(OptionError, match="must be callable"):
        madang.JsonParser(**given)


def test_packets():
    """The packets are those of the default parser, for every kind and namespace."""
    ours, default = madang.JsonParser(partial(json.dumps, separators=(",", ":")), json.loads), madang.Server().parser
    for namespace in ("/", "/chat"):
        for args in (["x"], ["x", b"\x01", {"a": [b"\x02"]}], ["x", None, [1.5, "a"]]):
            for made, wanted in (
                (ours.encode_event(namespace, args), default.encode_event(namespace, args)),
                (ours.encode_event(namespace, args, 7, False), default.encode_event(namespace, args, 7, False)),
                (ours.encode_ack(namespace, args, 0), default.encode_ack(namespace, args, 0)),
            ):
                assert (made.text, made.attachments, made.compress) == (
                    wanted.text,
                    wanted.attachments,
                    wanted.compress,
                )
                packet, other = ours.decode(made.text), default.decode(made.text)
                assert (packet.type, packet.namespace, packet.id, packet.attachments) == (
                    *(other.type, other.namespace, other.id, other.attachments),
                )
                assert ours.decode_args(packet) == default.decode_args(other)
        for kind, data in ((0, {"sid": "x"}), (0, None), (1, None), (4, {"message": "no"})):
            made, wanted = ours.encode_control(kind, namespace, data), default.encode_control(kind, namespace, data)
            assert made.text == wanted.text
            assert ours.decode_args(ours.decode(made.text)) == default.decode_args(default.decode(wanted.text))
    for text in (
        b"42[",
        b"42{}",
        b"42[]",
        b'42["connect"]',
        b"40[]",
        b"40null",
        b"43{}",
        b"41{}",
        b"44null",
        b"42\xff",
    ):
        for parser in (ours, default):
            with pytest.raises(madang.PacketError):
                parser.decode_args(parser.decode(text))
