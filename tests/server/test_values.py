"""What Python values are in JavaScript, and JavaScript's in Python."""

from __future__ import annotations

import dataclasses
import enum
import math
import uuid
from collections import OrderedDict, UserDict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
import pydantic
import pytest

import madang
from tests.server.javascript import UNDEFINED, Heard, Js, js_bytes

AT = datetime(2026, 11, 22, 18, 41, 32, 123456, UTC)
SEOUL = timezone(timedelta(hours=9))


class Color(enum.Enum):
    RED = "red"
    DATE = AT


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Data:
    name: str
    at: datetime
    blob: bytes


class Struct(msgspec.Struct, rename="camel"):
    full_name: str
    at: datetime
    blobs: list[bytes]


class Model(pydantic.BaseModel):
    name: str
    at: datetime
    blob: bytes


class Inner(msgspec.Struct):
    color: Color
    data: Data


DATE = "2026-11-22T18:41:32.123Z"
AS_JAVASCRIPT: dict[str, tuple[Any, Any]] = {
    "datetime in UTC": (AT, DATE),
    "datetime with an offset": (AT.astimezone(SEOUL), DATE),
    "datetime without milliseconds": (AT.replace(microsecond=0), "2026-11-22T18:41:32.000Z"),
    "naive datetime": (AT.astimezone().replace(tzinfo=None), DATE),
    "early datetime": (datetime(1, 1, 1, tzinfo=SEOUL).replace(tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    "date": (date(2026, 11, 22), "2026-11-22"),
    "time": (time(18, 41, 32), "18:41:32"),
    "timedelta": (timedelta(seconds=1.5), 1.5),
    "UUID": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "Decimal": (Decimal("1.50"), "1.50"),
    "Enum": (Color.RED, "red"),
    "Enum of a datetime": (Color.DATE, DATE),
    "IntEnum": (Level.HIGH, 3),
    "dataclass": (Data("a", AT, b"\x01"), {"name": "a", "at": DATE, "blob": b"\x01"}),
    "Struct": (Struct("a", AT, [b"\x01"]), {"fullName": "a", "at": DATE, "blobs": [b"\x01"]}),
    "pydantic": (Model(name="a", at=AT, blob=b"\x01"), {"name": "a", "at": DATE, "blob": b"\x01"}),
    "nested": (
        {"a": [Inner(Color.RED, Data("x", AT, b"\x02"))]},
        {"a": [{"color": "red", "data": {"name": "x", "at": DATE, "blob": b"\x02"}}]},
    ),
    "set": ({5}, [5]),
    "frozenset": (frozenset((5,)), [5]),
    "tuple": ((1, (2,)), [1, [2]]),
    "deque": (deque([1, b"\x01"]), [1, b"\x01"]),
    "range": (range(3), [0, 1, 2]),
    "ordered dict": (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "mappings": ([UserDict(a=1), MappingProxyType({"b": 2})], [{"a": 1}, {"b": 2}]),
    "keys": ({2: "a", None: "b", True: "c", Color.RED: "d"}, {"2": "a", "null": "b", "true": "c", "red": "d"}),
    "NaN and infinities": ([math.nan, math.inf, -math.inf], [None, None, None]),
    "large integers": ([2**53, 2**64 - 1, -(2**63)], [2**53, 2.0**64, -(2.0**63)]),
    "a huge integer": ([2**70, {"deep": -(2**70)}], [2.0**70, {"deep": -(2.0**70)}]),
    "floats": ([0.1, 1e300, -0.0, 5.0], [0.1, 1e300, 0, 5]),
    "utf-8": ("utf8 — 한글 💬 \u2028\x00\x7f", "utf8 — 한글 💬 \u2028\x00\x7f"),
    "a lone surrogate": (["\ud800", {"\udfff": 1}], ["\ud800", {"\udfff": 1}]),
    "a lone surrogate with bytes": (["\ud800", b"\x01", AT], ["\ud800", b"\x01", DATE]),
    "nothing": ([None, {}, [], ""], [None, {}, [], ""]),
    "a placeholder's twin": ({"_placeholder": False, "num": 0}, {"_placeholder": False, "num": 0}),
    "bytes": (b"\x00\xff", b"\x00\xff"),
    "empty bytes": ([b"", bytearray()], [b"", b""]),
    "bytearray and memoryview": ([bytearray(b"ab"), memoryview(b"abcd")[1:3]], [b"ab", b"bc"]),
    "a strided memoryview": (memoryview(b"abcdef")[::2], b"ace"),
    "bytes as a tuple of a dict": ({"x": ({"y": b"1"}, [b"2"])}, {"x": [{"y": b"1"}, [b"2"]]}),
}


@pytest.mark.feature("L10", "N11")
@pytest.mark.parametrize(("value", "seen"), AS_JAVASCRIPT.values(), ids=AS_JAVASCRIPT)
async def test_what_javascript_sees(js: Js, io: madang.Server, value: Any, seen: Any):
    """A value goes out as JavaScript would write it: in an event, in a broadcast and in an ack."""
    io.on("give", lambda socket: [value])
    client = await js.connect(io)
    io.emit("all", value)
    io.sockets[client.id].emit("one", 1, value)
    assert await client.next("all") == [seen]
    assert await client.next("one") == [1, seen]
    assert await client.emit_with_ack("give") == [seen]


FROM_JAVASCRIPT: dict[str, tuple[Any, Any]] = {
    "Date": (AT, DATE),
    "undefined": ([UNDEFINED, {"a": UNDEFINED}], [None, {}]),
    "NaN": ([math.nan, math.inf], [None, None]),
    "a huge number": ([1e300, 2**70], [1e300, 2.0**70]),
    "utf-8": ("utf8 — 한글 💬 \u2028\x00", "utf8 — 한글 💬 \u2028\x00"),
    "a lone surrogate": (["\ud800x", {"\udfff": 1}], ["\ud800x", {"\udfff": 1}]),
    "a surrogate and bytes": (["\ud800", b"\x01"], ["\ud800", b"\x01"]),
    "Buffer": (b"\x00\xff", b"\x00\xff"),
    "ArrayBuffer": (js_bytes(b"\x00\xff", "ArrayBuffer"), b"\x00\xff"),
    "Uint8Array": (js_bytes(b"\x00\xff", "Uint8Array"), b"\x00\xff"),
    "DataView": (js_bytes(b"\x00\xff", "DataView"), b"\x00\xff"),
    "bytes anywhere": ({"a": [b"1", {"b": b"2"}], "c": b""}, {"a": [b"1", {"b": b"2"}], "c": b""}),
    "ten attachments": ([b"%d" % n for n in range(10)], [b"%d" % n for n in range(10)]),
    "the rest": ([None, True, 1, 1.5, "", [], {}], [None, True, 1, 1.5, "", [], {}]),
}


@pytest.mark.node("socket.3")
@pytest.mark.feature("L10", "N11", "L15")
@pytest.mark.parametrize(("sent", "seen"), FROM_JAVASCRIPT.values(), ids=FROM_JAVASCRIPT)
async def test_what_python_sees(js: Js, io: madang.Server, heard: Heard, sent: Any, seen: Any):
    """A value of JavaScript arrives as Python's, in an event and in an ack."""
    io.on("x", lambda socket, value, *more: heard(value))
    client = await js.connect(io)
    await client.emit_with_ack("x", sent, 1)
    await client.reply("ask", sent)
    assert heard.all == [seen]
    assert await io.sockets[client.id].emit_with_ack("ask") == seen


@pytest.mark.node("socket.9", "socket.10", "socket.11", "socket.12")
@pytest.mark.feature("L10")
@pytest.mark.usefixtures("mode")
async def test_several_kinds_at_once(js: Js, io: madang.Server):
    """Binary and other arguments keep their places, both ways and over every transport."""
    io.on("echo", lambda socket, *args: args)
    client = await js.connect(io)
    mixed = (1, "2", b"3", [4, b"5", {"6": b"7"}], None, b"")
    io.emit("mixed", *mixed)
    assert await client.next("mixed") == list(mixed)
    assert await client.emit_with_ack("echo", *mixed) == mixed


@pytest.mark.feature("L10")
@pytest.mark.usefixtures("mode")
async def test_order_of_text_and_binary(js: Js, io: madang.Server):
    """Events with and without attachments arrive in the order in which they were emitted, both ways."""
    events = [("text", 1), ("bin", b"2"), ("text", "3 — 한글"), ("bin", [b"4", b"5"]), ("text", 6)]

    @io.on_any
    def echo(socket, event, *args):
        socket.emit(event, *args)

    client = await js.connect(io)
    for event, value in events:
        client.emit(event, value)
    while len(client.received) < len(events):
        await client.state()
    assert client.received == [list(event) for event in events]


@pytest.mark.node("socket.40", "socket.41")
@pytest.mark.feature("A10")
@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("kind", ["json", "binary"])
async def test_large_messages(js: Js, kind: str):
    """Megabytes go through whole, three times each way."""
    io = madang.Server(max_http_buffer_size=20_000_000)
    io.on("echo", lambda socket, value: value)
    client = await js.connect(io)
    value = {"text": "마당" * 300_000, "list": list(range(50_000))} if kind == "json" else bytes(range(256)) * 8_000
    for _ in range(3):
        assert await client.emit_with_ack("echo", value) == value


async def test_what_cannot_be_sent(js: Js, io: madang.Server):
    """A value without a JSON form is an error where it is emitted; nothing is sent and nothing is broken."""
    client = await js.connect(io)
    loop: list[Any] = []
    loop.append(loop)
    for value in (object(), loop, {"a": [b"1", object()]}, 1j, lambda: None, {(1, 2): 3}):
        with pytest.raises(madang.EncodeError, match="cannot be sent"):
            io.emit("x", value)
        with pytest.raises(madang.EncodeError):
            io.sockets[client.id].emit("x", value)
    io.emit("x", b"fine")
    assert await client.next("x") == [b"fine"]


@pytest.mark.feature("L12")
async def test_an_ack_that_cannot_be_sent(js: Js, io: madang.Server, heard: Heard):
    """A returned value without a JSON form is reported, and the client's ack is an internal error."""
    io.on_error(lambda error, socket, event: heard(type(error)))
    io.on("x", lambda socket: object())
    client = await js.connect(io)
    assert await client.emit_with_ack("x") == {"error": {"code": "internal_error", "message": "internal error"}}
    assert heard.all == [madang.EncodeError]


async def test_types_of_one_s_own(js: Js):
    """`json_default` turns values that madang does not know into ones it does."""

    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    def default(value: object) -> Any:
        if isinstance(value, Point):
            return {"x": value.x, "at": AT, "raw": b"\x01"}
        raise TypeError

    io = madang.Server(json_default=default)
    client = await js.connect(io)
    io.emit("point", [Point(3)])
    assert await client.next("point") == [[{"x": 3, "at": DATE, "raw": b"\x01"}]]
    with pytest.raises(madang.EncodeError):
        io.emit("point", object())
