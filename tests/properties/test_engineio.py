"""Engine.IO packets and payloads: what was encoded comes back, and nothing but `PacketError` is raised."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from madang.errors import PacketError
from madang.protocol import engineio
from madang.protocol.encoded import message, websocket_frame

# the record separator cannot stand inside JSON, and so not inside a Socket.IO packet either
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1e"))
messages = st.lists(texts | st.binary(), min_size=1)


@pytest.mark.feature("D3", "E2")
@given(messages)
def test_payload_round_trip(sent: list[str | bytes]) -> None:
    """Any messages survive the trip through a polling payload, in order."""
    payload = engineio.join_payload([message(data).make_payload() for data in sent])
    received: list[str | bytes] = []
    for packet in engineio.split_payload(payload):
        kind, data = engineio.decode_packet(packet)
        assert kind in (engineio.MESSAGE, None)
        received.append(data if kind is None else data.decode())
    assert received == sent


@pytest.mark.feature("G12", "D14", "Y7")
@given(st.binary())
@example(b"")
@example(b"b")
@example(b"b\xff")
@example(b"b=")
def test_any_bytes_as_a_packet(data: bytes) -> None:
    """Any bytes are a packet or a `PacketError`."""
    try:
        kind, rest = engineio.decode_packet(data)
    except PacketError:
        return
    assert kind is None or bytes((kind,)) + rest == data


@pytest.mark.feature("D13")
@given(st.lists(st.binary().filter(lambda data: b"\x1e" not in data), min_size=1))
def test_any_bytes_as_a_payload(packets: list[bytes]) -> None:
    """A payload splits into just the packets that were joined."""
    assert engineio.split_payload(engineio.join_payload(packets)) == packets


@pytest.mark.feature("E10")
@given(st.integers(0, 70_000), st.sampled_from([1, 2, 8, 10]))
@example(125, 1)
@example(126, 1)
@example(65535, 2)
@example(65536, 2)
def test_frame_of_any_size(size: int, opcode: int) -> None:
    """A frame says its length in the shortest form, for every length."""
    frame = websocket_frame(opcode, b"x" * size)
    assert frame[0] == 0x80 | opcode
    if size < 126:
        told, rest = frame[1], frame[2:]
    elif size < 65536:
        assert frame[1] == 126
        told, rest = int.from_bytes(frame[2:4], "big"), frame[4:]
    else:
        assert frame[1] == 127
        told, rest = int.from_bytes(frame[2:10], "big"), frame[10:]
    assert told == size == len(rest)
