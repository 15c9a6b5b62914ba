"""The MessagePack parser: the bytes of npm's package, the values of the default parser, no error but `PacketError`."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang import EncodeError, MsgpackParser, Packet, PacketError
from madang.protocol.encoded import Encoded
from madang.protocol.parser import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT
from madang.protocol.plain import event_values
from madang.protocol.socketio import DefaultParser

PARSER: Final = MsgpackParser()
pack: Final = msgspec.msgpack.encode
UNDEFINED: Final = b"\xd4\x00\x00"


def packet(data: bytes | None, kind: Any = EVENT, nsp: Any = "/", **more: Any) -> bytes:
    """A packet whose data are these bytes."""
    parts: dict[str, Any] = {"type": kind, "nsp": nsp, **more}
    return pack(parts if data is None else {**parts, "data": msgspec.Raw(data)})


def read(data: bytes) -> tuple[Packet, Any]:
    received = PARSER.decode_binary(data)
    return received, PARSER.decode_args(received)


def args(data: bytes) -> Any:
    """What an event with these data brings, behind its name."""
    return read(packet(b"\x92\xa1e" + data))[1][1]


def wire(encoded: Encoded) -> Any:
    """What was encoded, which is one binary message."""
    assert encoded.text == b""
    (data,) = encoded.attachments
    return msgspec.msgpack.decode(data)


@dataclasses.dataclass
class Point:
    x: int
    at: datetime


class Struct(msgspec.Struct):
    data: bytes
    name: str = "n"


class Colour(Enum):
    RED = "red"


class Named(str):
    __slots__ = ()


MOMENT: Final = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC)
VALUES: Final[list[Any]] = [
    *(None, True, 0, -1, 2**53, -(2**63), 2**64 - 1, 2**64, -(2**70), 10**400, 1.5, 2.0, 1e300, math.nan, math.inf),
    *("", "마당 😀", "\ud800 alone", "x" * 70_000, Named("named")),
    *(b"", b"\x00\xff", bytearray(b"ab"), memoryview(b"cd"), [b"a", {"b": b"b"}], {"_placeholder": True, "num": 7}),
    *((1, 2), {3}, {"a": [1, {"b": None}]}, {7: "seven", None: 2, True: 3, 1.5: 4}, [[]] * 20, {}),
    *(MOMENT, MOMENT.replace(tzinfo=None), date(2024, 1, 2), MOMENT.timetz(), timedelta(seconds=90)),
    *(Decimal("1.10"), UUID(int=7), Colour.RED, Point(1, MOMENT), Struct(b"\x00"), [Struct(b"\x01", "ㄱ")]),
]


@pytest.mark.feature("R2")
@pytest.mark.parametrize("value", VALUES, ids=[f"{at}-{type(value).__name__}" for at, value in enumerate(VALUES)])
def test_values_as_with_the_default_parser(value: Any):
    """Whatever is sent is what the default parser would have made of it, as argument, answer and part of a refusal."""
    default = DefaultParser()
    placeholder = isinstance(value, dict) and "_placeholder" in value  # which only the default parser stumbles on
    wanted = value if placeholder else event_values(default.encode_event("/", ("e", value)), default)[1]
    if value == 10**400:
        wanted = None
    elif isinstance(value, int) and abs(value) >= 2**64 - 1 and not isinstance(value, bool):
        wanted = value if value < 2**64 and value > 0 else float(value)
    elif isinstance(value, str) and value.startswith("\ud800"):
        wanted = "? alone"
    sent = PARSER.encode_event("/", ("e", value))
    assert event_values(sent, PARSER)[1] == wanted
    received, (back,) = read(PARSER.encode_ack("/chat", (value,), 2**53 - 1).attachments[0])
    assert (received.type, received.namespace, received.id, back) == (ACK, "/chat", 2**53 - 1, wanted)
    refusal = PARSER.encode_control(CONNECT_ERROR, "/", {"message": "no", "data": value})
    assert read(refusal.attachments[0])[1]["data"] == wanted


@pytest.mark.feature("R2")
def test_layout():
    """A packet is a map of type, namespace, data and id, of which the last two may be absent."""
    assert wire(PARSER.encode_event("/", ("a", 1))) == {"type": 2, "nsp": "/", "data": ["a", 1]}
    assert wire(PARSER.encode_event("/x", ("a", b"b"), 0)) == {"type": 2, "nsp": "/x", "data": ["a", b"b"], "id": 0}
    assert wire(PARSER.encode_ack("/", (), 7)) == {"type": 3, "nsp": "/", "data": [], "id": 7}
    assert wire(PARSER.encode_control(CONNECT, "/")) == {"type": 0, "nsp": "/"}
    assert wire(PARSER.encode_control(DISCONNECT, "/x")) == {"type": 1, "nsp": "/x"}
    assert not PARSER.encode_event("/", ("a",), None, False).compress


@pytest.mark.feature("R2")
def test_what_the_package_sends():
    """The first bytes of the stock client, whose data are undefined, and others' nil, are a CONNECT without data."""
    bare = bytes.fromhex("83a47479706500a464617461d40000a36e7370a12f")
    assert PARSER.decode_binary(bare) == Packet(CONNECT, "/")
    assert read(packet(b"\xc0", CONNECT))[1] is None
    assert read(packet(UNDEFINED, DISCONNECT, "/x"))[0] == Packet(DISCONNECT, "/x")
    assert read(packet(b"\x91\xa1a", id=None, options={"compress": True}))[0].id is None
    assert read(packet(b"\x81\xa3pid" + UNDEFINED, CONNECT))[1] == {"pid": None}


@pytest.mark.feature("R2")
@pytest.mark.parametrize(
    ("data", "value"),
    [
        (UNDEFINED, None),
        (b"\xc7\x01\x00\x00", b"\x00"),
        (b"\xc7\x00\x00", b""),
        (b"\xd7\x00" + (0).to_bytes(8, "big"), "1970-01-01T00:00:00.000Z"),
        (b"\xd7\x00" + (-1).to_bytes(8, "big", signed=True), "1969-12-31T23:59:59.999Z"),
        (b"\xd7\x00" + (253402300800000).to_bytes(8, "big"), "+010000-01-01T00:00:00.000Z"),
        (b"\xd7\x00" + (-62198755200000).to_bytes(8, "big", signed=True), "-000001-01-01T00:00:00.000Z"),
        (b"\xd7\x00" + (8640000000000000).to_bytes(8, "big"), "+275760-09-13T00:00:00.000Z"),
        (b"\xd7\x00" + (8640000000000001).to_bytes(8, "big"), None),
        (b"\xc7\x08\x00" + bytes(8), bytes(8)),
        (
            b"\x93\xd7\x00" + bytes(8) + b"\xc7\x08\x00" + bytes(8) + UNDEFINED,
            ["1970-01-01T00:00:00.000Z", bytes(8), None],
        ),
        (b"\xc7\x0c\x00" + bytes(12), bytes(12)),
        (b"\xc8\x01\x00\x00" + bytes(256), bytes(256)),
        (b"\xd6\xff" + bytes(4), "1970-01-01T00:00:00.000Z"),
        (b"\x81\xa1a\x91\xd6\xff" + bytes(4), {"a": ["1970-01-01T00:00:00.000Z"]}),
        (b"\x82\x01\xa1a\xc0\x90", {"1": "a", "null": []}),
        (b"\x91\x81\x01\x81\xc3\x02", [{"1": {"true": 2}}]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_extensions_and_keys(data: bytes, value: Any):
    """Values that only JavaScript's package writes, and keys that are no text, arrive as in JSON."""
    assert args(data) == value


@pytest.mark.feature("R2")
def test_extensions_that_look_like_each_other():
    """Each is what its own head says, also behind bytes that look like the head of the other, and many of them."""
    zeros = bytes(8)
    stamp, text = b"\xd7\x00" + zeros, "1970-01-01T00:00:00.000Z"
    buffer = b"\xc7\x08\x00" + zeros
    assert args(b"\x94" + pack(stamp[:4]) + stamp + buffer + stamp) == [stamp[:4], text, zeros, text]
    assert args(b"\x93" + pack(bytes(1000)) + buffer + stamp) == [bytes(1000), zeros, text]
    for head in (b"\xc8\x00%c\x00", b"\xc9\x00\x00\x00%c\x00"):
        assert args(b"\x93" + head % 8 + zeros + stamp + head % 1 + b"\x00") == [zeros, text, b"\x00"]
    many = args(b"\xdc\x40\x00" + (stamp + buffer) * 0x2000)
    assert many == [text, zeros] * 0x2000


MALFORMED: Final[dict[str, bytes]] = {
    "nothing": b"",
    "no map": b"\x93\x02\xa1/\x90",
    "no type": pack({"nsp": "/", "data": ["a"]}),
    "no namespace": pack({"type": 2, "data": ["a"]}),
    "type 5": packet(b"\x91\xa1a", 5),
    "type -1": packet(b"\x91\xa1a", -1),
    "type 2**63": packet(b"\x91\xa1a", 2**63),
    "type true": packet(b"\x91\xa1a", True),
    "type text": packet(b"\x91\xa1a", "2"),
    "namespace number": packet(b"\x91\xa1a", nsp=1),
    "namespace without slash": packet(b"\x91\xa1a", nsp="chat"),
    "id -1": packet(b"\x91\xa1a", id=-1),
    "id 1.5": packet(b"\x91\xa1a", id=1.5),
    "id text": packet(b"\x91\xa1a", id="1"),
    "id undefined": packet(b"\x91\xa1a", id=msgspec.msgpack.Ext(0, b"\x00")),
    "id too high": packet(b"\x91\xa1a", id=2**53),
    "trailing": packet(b"\x91\xa1a") + b"\xc0",
    "cut": packet(b"\x91\xa1a")[:-1],
    "connect list": packet(b"\x90", CONNECT),
    "connect text": packet(b"\xa1a", CONNECT),
    "disconnect data": packet(b"\x80", DISCONNECT),
    "event nothing": packet(None),
    "event undefined": packet(UNDEFINED),
    "event empty": packet(b"\x90"),
    "event map": packet(b"\x80"),
    "event bool": packet(b"\x91\xc3"),
    "event bytes": packet(b"\x91\xc4\x01a"),
    "event undefined name": packet(b"\x91" + UNDEFINED),
    "event reserved": packet(b"\x91\xa7connect"),
    "ack map": packet(b"\x80", ACK, id=1),
    "ack nothing": packet(None, ACK, id=1),
    "connect error nothing": packet(None, CONNECT_ERROR),
    "connect error list": packet(b"\x90", CONNECT_ERROR),
    "unknown extension": packet(b"\x92\xa1a\xd4\x05\x00"),
    "unknown extension of 8": packet(b"\x92\xa1a\xd7\x01" + bytes(8)),
    "bad timestamp": packet(b"\x92\xa1a\xc7\x0c\xff" + b"\xff" * 12),
    "not UTF-8": packet(b"\x91\xa1\xff"),
    "namespace not UTF-8": b"\x82\xa4type\x02\xa3nsp\xa1\xff",
    "depth": packet(b"\x91\xa1a")[:-3] + b"\x91" * 100_000,
    "closed depth": packet(b"\x92\xa1a" + b"\x91" * 50_000 + b"\xc0"),
    "depth elsewhere": b"\x83\xa4type\x02\xa3nsp\xa1/\xa4more" + b"\x91" * 50_000 + b"\xc0",
    "huge array": b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdd\xff\xff\xff\xff",
    "huge map": b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xdf\xff\xff\xff\xff",
    "huge text": b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xdb\xff\xff\xff\xff",
    "huge bytes": b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a\xc6\xff\xff\xff\xff",
    "map as key": packet(b"\x92\xa1a\x81\x80\x01"),
    "list as key": packet(b"\x92\xa1a\x81\x91\x01\x01"),
    "bytes as key": packet(b"\x92\xa1a\x81\xc4\x01a\x01"),
    "never used": packet(b"\x92\xa1a\xc1"),
}


@pytest.mark.feature("R2", "R6")
@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed(data: bytes):
    """What is not a packet, or whose data do not suit its type, is a `PacketError`."""
    with pytest.raises(PacketError):
        read(data)


@pytest.mark.feature("R2")
def test_text():
    """Text is refused, with the reason and the mend."""
    with pytest.raises(PacketError, match="the peer needs a MessagePack parser"):
        PARSER.decode(b"40")


@pytest.mark.feature("R2")
def test_without_a_form():
    """What has no form, holds itself or is too deep is an `EncodeError`; `default` gives a type its form."""
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for value in (object(), endless, deep, [b"", endless], {(1, 2): 3}):
        with pytest.raises(EncodeError):
            PARSER.encode_event("/", ("a", value))
        with pytest.raises(EncodeError):
            PARSER.encode_control(CONNECT, "/", {"a": value})
    own = MsgpackParser(lambda value: [value.real, b"i"])
    assert wire(own.encode_event("/", ("a", 1j)))["data"] == ["a", [0.0, b"i"]]


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.feature("R2")
@given(st.lists(JSON, max_size=4), st.none() | st.integers(0, 2**53 - 1))
def test_there_and_back(values: list[Any], ack_id: int | None):
    """Values arrive as they were sent."""
    received, back = read(PARSER.encode_event("/n", ("a", *values), ack_id).attachments[0])
    assert (received.namespace, received.id, back) == ("/n", ack_id, ["a", *values])


def survives(data: bytes) -> None:
    try:
        read(data)
    except PacketError:
        pass


@pytest.mark.feature("R2")
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes):
    """Any bytes, as a packet and as its data, are a packet or a `PacketError`."""
    survives(data)
    survives(packet(b"\x92\xa1a" + data))
    for kind in range(5):
        survives(packet(data, kind))


@pytest.mark.feature("R2")
@given(st.lists(JSON, max_size=4), st.data())
@settings(max_examples=200)
def test_changed_bytes(values: list[Any], data: st.DataObject):
    """A good packet of which some bytes were changed is a packet or a `PacketError`."""
    good = bytearray(PARSER.encode_event("/", ("a", *values), 1).attachments[0])
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(good))
