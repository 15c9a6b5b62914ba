"""The samples of the protocol's documents, both ways."""

from __future__ import annotations

import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import msgspec
import pydantic
import pytest

from madang.errors import EncodeError, PacketError
from madang.protocol import engineio
from madang.protocol.binary import Reconstruction
from madang.protocol.encoded import message
from madang.protocol.parser import Packet
from madang.protocol.socketio import DefaultParser
from madang.protocol.values import JsonEncoder, loads

PART = {"_placeholder": True, "num": 0}


@pytest.mark.feature("R1", "R4")
@pytest.mark.parametrize(
    ("text", "packet"),
    [
        (b"40", Packet(0)),
        (b'40/chat,{"token":"x"}', Packet(0, "/chat", payload=b'{"token":"x"}')),
        (b"40/chat", Packet(0, "/chat")),
        (b'42["ev",1]', Packet(2, payload=b'["ev",1]')),
        (b'42/chat,12["ev"]', Packet(2, "/chat", 12, b'["ev"]')),
        (b'42/a?b=c&d,["ev"]', Packet(2, "/a?b=c&d", None, b'["ev"]')),
        (b'4312["ok"]', Packet(3, "/", 12, b'["ok"]')),
        (b"41/chat,", Packet(1, "/chat")),
        (b"452-[]", Packet(5, payload=b"[]", attachments=2)),
        (b"461-/chat,7[]", Packet(6, "/chat", 7, b"[]", 1)),
        ("42/마당,[]".encode(), Packet(2, "/마당", payload=b"[]")),
    ],
)
def test_heads(text: bytes, packet: Packet) -> None:
    """A packet's head is read into its parts."""
    assert DefaultParser().decode(text) == packet


@pytest.mark.feature("R4", "R8")
@pytest.mark.parametrize("count", ["", "0", "00", "01", "11", "-1", "1e1", "1.0", " 1", "9" * 30])
def test_counts_that_are_none(count: str) -> None:
    """A binary packet whose count is missing, zero, padded, too high or no number is refused."""
    with pytest.raises(PacketError):
        DefaultParser(max_attachments=10).decode(f"45{count}-[]".encode())


@pytest.mark.feature("R5")
def test_reconstruction_by_number() -> None:
    """Attachments go where their number says, not where they stand."""
    args: list[Any] = ["e", {"a": {"_placeholder": True, "num": 1}}, [{"_placeholder": True, "num": 0}]]
    reconstruction = Reconstruction(args, 2)
    assert reconstruction.add(b"zero") is False
    assert reconstruction.add(b"one") is True
    assert reconstruction.args == ["e", {"a": b"one"}, [b"zero"]]


@pytest.mark.feature("D3", "E2")
def test_engine_packets() -> None:
    """The packets of Engine.IO, in text and as base64."""
    assert message("hello").make_payload() == b"4hello"
    assert message(b"\x01\x02\x03\x04").make_payload() == b"bAQIDBA=="
    assert engineio.decode_packet(b"bAQIDBA==") == (None, b"\x01\x02\x03\x04")
    assert engineio.decode_packet(b"2probe") == (engineio.PING, b"probe")
    assert engineio.split_payload(b"4a\x1e2\x1ebAQ==") == [b"4a", b"2", b"bAQ=="]
    assert message("").make_payload() == b"4"


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Point:
    x: int
    tag: bytes = b""


class Struct(msgspec.Struct):
    when: datetime
    data: bytes


class Model(pydantic.BaseModel):
    name: str
    id: uuid.UUID


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime(2026, 11, 22, 18, 41, 32, tzinfo=UTC)


@pytest.mark.feature("L10", "N11")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NOON, '"2026-11-22T18:41:32.000Z"'),
        (NOON.replace(microsecond=123_999), '"2026-11-22T18:41:32.123Z"'),
        (datetime(2026, 11, 23, 3, 41, 32, tzinfo=timezone(timedelta(hours=9))), '"2026-11-22T18:41:32.000Z"'),
        (date(2026, 11, 22), '"2026-11-22"'),
        (timedelta(seconds=90), "90.0"),
        (UUID, f'"{UUID}"'),
        (Decimal("1.50"), '"1.50"'),
        (Colour.RED, '"red"'),
        (Level.HIGH, "3"),
        (Point(1), '{"x":1,"tag":{"_placeholder":true,"num":0}}'),
        (Struct(NOON, b"x"), '{"when":"2026-11-22T18:41:32.000Z","data":{"_placeholder":true,"num":0}}'),
        (Model(name="n", id=UUID), f'{{"name":"n","id":"{UUID}"}}'),
        ((1, (2,)), "[1,[2]]"),
        ({1}, "[1]"),
        (deque([1, 2]), "[1,2]"),
        (OrderedDict(a=1), '{"a":1}'),
        (float("nan"), "null"),
        (float("-inf"), "null"),
        (2**53 + 1, "9007199254740993"),
        (2**70, str(2**70)),
        ({1: 1, None: 2, False: 3, UUID: 4}, f'{{"1":1,"null":2,"false":3,"{UUID}":4}}'),
        ("\ud83c", '"\\ud83c"'),
        (memoryview(b"x"), '{"_placeholder":true,"num":0}'),
        (range(3), "[0,1,2]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values(value: Any, text: str) -> None:
    """Python's values go out as JavaScript would write them."""
    assert loads(JsonEncoder().encode([value])) == loads(f"[{text}]".encode())


@pytest.mark.feature("N11")
def test_bytes_are_found_in_order() -> None:
    """Bytes of any kind become attachments in the order in which they stand."""
    encoder = JsonEncoder()
    encoder.encode([b"a", {"k": bytearray(b"b")}, (memoryview(b"c"), [Point(1, b"d")])])
    assert encoder.take_attachments() == (b"a", b"b", b"c", b"d")
    assert encoder.take_attachments() == ()


@pytest.mark.feature("L10")
def test_values_without_a_form() -> None:
    """What has no form, or holds itself, is an `EncodeError` that names the type."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(EncodeError, match="object"):
        JsonEncoder().encode([object()])
    with pytest.raises(EncodeError):
        JsonEncoder().encode(endless)


@pytest.mark.feature("A17", "L10")
def test_a_form_of_one_s_own() -> None:
    """The `default` function gives unknown types a form, for one encoder alone."""
    encoder = JsonEncoder(lambda value: {"complex": [value.real, value.imag]})
    assert encoder.encode([1j]) == b'[{"complex":[0.0,1.0]}]'
    with pytest.raises(EncodeError):
        JsonEncoder().encode([1j])
