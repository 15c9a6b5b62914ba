"""Socket.IO packets: any value travels, any bytes are refused by the decoder's own error at worst."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from madang.errors import EncodeError, PacketError
from madang.protocol.binary import Reconstruction
from madang.protocol.parser import RESERVED_EVENTS, Packet
from madang.protocol.socketio import DefaultParser
from madang.protocol.values import JsonEncoder, loads

keys = st.text().filter(lambda key: key != "_placeholder")
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
scalars = scalars | st.text() | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))
names = st.text().filter(lambda name: name not in RESERVED_EVENTS) | st.integers(-(2**53), 2**53)
namespaces = st.just("/") | st.text(st.characters(exclude_categories=["Cs"], exclude_characters=",")).map(
    lambda n: f"/{n}"
)
ids = st.none() | st.integers(0, 10**30)

odd_keys = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
odd = st.recursive(
    scalars | st.integers() | st.floats() | st.text(st.characters(categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(odd_keys, inner, max_size=4)
        | st.frozensets(st.integers(), max_size=3)
    ),
)


def received(encoded: Any, parser: DefaultParser) -> Packet:
    """What a receiver makes of an encoded packet."""
    packet = parser.decode(encoded.text)
    packet.args = parser.decode_args(packet)
    assert packet.attachments == len(encoded.attachments)
    if encoded.attachments:
        reconstruction = Reconstruction(packet.args, packet.attachments)
        done = [reconstruction.add(data) for data in encoded.attachments]
        assert done == [False] * (len(done) - 1) + [True]
        packet.args = reconstruction.args
    return packet


@pytest.mark.feature("R1", "N11", "M15")
@given(namespaces, names, st.lists(values, max_size=4), ids)
def test_events(namespace: str, name: str | int, args: list[Any], ack_id: int | None) -> None:
    """Any event arrives as it was sent: namespace, id, name, arguments and bytes at any depth."""
    parser = DefaultParser(max_attachments=1000)
    packet = received(parser.encode_event(namespace, [name, *args], ack_id), parser)
    assert packet.namespace == namespace
    assert packet.id == ack_id
    assert packet.args == [name, *args]


@pytest.mark.feature("R1", "M13", "M15")
@given(namespaces, st.lists(values, max_size=4), st.integers(0, 10**30))
def test_acks(namespace: str, args: list[Any], ack_id: int) -> None:
    """Any ack arrives as it was sent."""
    parser = DefaultParser(max_attachments=1000)
    packet = received(parser.encode_ack(namespace, args, ack_id), parser)
    assert (packet.namespace, packet.id, packet.args) == (namespace, ack_id, args)


@pytest.mark.feature("N11")
@given(st.lists(values, max_size=4))
def test_arguments_are_not_changed(args: list[Any]) -> None:
    """Encoding leaves the values alone, bytes included."""
    before = copy.deepcopy(args)
    DefaultParser().encode_event("/", ["event", *args])
    assert args == before


def refuse(token: str) -> Any:
    raise AssertionError(f"{token} is not JSON")


@pytest.mark.feature("L10")
@given(odd)
@example(math.nan)
@example([math.inf, -math.inf, {"a": math.nan}])
@example(2**64)
@example(-(2**63) - 1)
@example("\ud800")
@example({"\udfff": 1})
@example({1: {None: {True: b"x"}}, 1.5: (b"y", [bytearray(b"z")])})
def test_all_values_become_json(value: Any) -> None:
    """Whatever is sent becomes JSON that JavaScript reads, with as many placeholders as attachments."""
    encoder = JsonEncoder()
    text = encoder.encode([value])
    found: list[int] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if table.get("_placeholder") is True:
            found.append(table["num"])
        return table

    json.loads(text, parse_constant=refuse, object_pairs_hook=note)
    assert sorted(found) == list(range(len(encoder.take_attachments())))


@pytest.mark.feature("L10")
@given(odd)
def test_what_is_sent_can_be_received(value: Any) -> None:
    """Our own decoder takes whatever our encoder writes."""
    loads(JsonEncoder().encode([value]))


@pytest.mark.feature("L10")
@given(
    st.recursive(st.builds(object) | st.just(print) | st.complex_numbers(), lambda inner: st.lists(inner, min_size=1))
)
def test_what_has_no_form(value: Any) -> None:
    """A value without a form is an `EncodeError`, and the encoder works as before."""
    encoder = JsonEncoder()
    with pytest.raises(EncodeError):
        encoder.encode([b"attachment", value])
    assert encoder.encode([b"x"]) == b'[{"_placeholder":true,"num":0}]'
    assert encoder.take_attachments() == (b"x",)


fragments = st.sampled_from(
    [
        b"4",
        b"5",
        b"1-",
        b"2-",
        b"/",
        b"/a,",
        b",",
        b"12",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b'"a"',
        b":",
        b"null",
        b"NaN",
        b'{"_placeholder":true,"num":0}',
        b'"num":-1',
        b"\\ud800",
        b"\xff",
        b"\x00",
        b"1e999",
        b"-",
        b"9" * 50,
        b" ",
    ]
)
noise = st.binary() | st.lists(fragments, max_size=12).map(b"".join)


@pytest.mark.feature("G11", "R6", "Y7")
@given(st.sampled_from([b"40", b"41", b"42", b"43", b"44", b"45", b"46", b"4", b""]), noise)
def test_any_bytes(head: bytes, rest: bytes) -> None:
    """Any bytes are a packet or a `PacketError`, up to the last attachment."""
    parser = DefaultParser()
    try:
        packet = parser.decode(head + rest)
        args = parser.decode_args(packet)
        if packet.attachments:
            Reconstruction(args, packet.attachments)
    except PacketError:
        pass


@pytest.mark.feature("R6")
@given(noise)
def test_any_json(text: bytes) -> None:
    """Any bytes are JSON or a `PacketError`."""
    try:
        loads(text)
    except PacketError:
        pass


@pytest.mark.feature("R5", "R8")
@given(values, st.integers(1, 5))
def test_any_placeholders(value: Any, count: int) -> None:
    """Placeholders match the announced count one to one, or it is a `PacketError`."""
    encoder = JsonEncoder()
    text = encoder.encode([value])
    attached = len(encoder.take_attachments())
    try:
        Reconstruction(loads(text), count)
    except PacketError:
        assert attached != count
    else:
        assert attached == count
