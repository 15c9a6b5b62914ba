"""Whatever comes from Redis, the decoders give a message or raise `PacketError`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.adapters.messages import ClusterMessage
from madang.adapters.redis.pubsub_wire import decode_answer, decode_broadcast, decode_request
from madang.errors import PacketError

KEYS: Final = (
    "uid", "type", "requestId", "opts", "rooms", "except", "flags", "timeout", "sid", "room", "close", "data",
    "packet", "nsp", "sockets", "clientCount", "id", "handshake", "x",
)  # fmt: skip

scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=6))
values = st.recursive(
    scalars | st.integers(0, 10) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)
requests = st.dictionaries(st.sampled_from(KEYS), values, max_size=8)
broadcasts = st.tuples(st.text(max_size=7), requests, requests)

each_decoder = pytest.mark.parametrize("decode", [decode_broadcast, decode_request, decode_answer])


def attempt(decode: Callable[[bytes, str], ClusterMessage | None], payload: bytes) -> None:
    try:
        message = decode(payload, "/")
    except PacketError:
        return
    assert message is None or isinstance(message, ClusterMessage)
    if message is not None:
        hash(message.options)
        assert message.timeout is None or 0 <= message.timeout < 1e6


@pytest.mark.feature("S23")
@each_decoder
@given(payload=st.binary(max_size=60))
def test_bytes(decode: Any, payload: bytes):
    """Any bytes."""
    attempt(decode, payload)


@pytest.mark.feature("S23")
@each_decoder
@given(value=requests | broadcasts | values)
def test_shapes(decode: Any, value: Any):
    """Any shape that looks a little like a message, in MessagePack and in JSON."""
    attempt(decode, msgspec.msgpack.encode(value))
    attempt(decode, msgspec.json.encode(value))
