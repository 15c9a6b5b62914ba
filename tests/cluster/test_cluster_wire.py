"""The message of Node's cluster adapter, both ways."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import madang
from madang.adapters.adapter import BroadcastOptions
from madang.adapters.cluster_wire import ClusterEncoder, decode_message
from madang.adapters.messages import ClusterMessage, Kind, SocketFacts
from madang.errors import PacketError

WHOM = BroadcastOptions(frozenset(("a", 5)), frozenset(("b",)), volatile=True)
BYTES = b"\x00\xff bytes"
MESSAGES = (
    ClusterMessage(kind=Kind.BROADCAST, args=["e", BYTES, {"deep": [BYTES]}], options=WHOM),
    ClusterMessage(kind=Kind.BROADCAST, args=["e", BYTES], request="q", timeout=1.5, compress=False),
    ClusterMessage(kind=Kind.SOCKETS_JOIN, options=WHOM, rooms=(7,)),
    ClusterMessage(kind=Kind.SOCKETS_LEAVE, options=WHOM, rooms=("x",)),
    ClusterMessage(kind=Kind.DISCONNECT_SOCKETS, options=WHOM, close=True),
    ClusterMessage(kind=Kind.FETCH_SOCKETS, options=WHOM, request="q"),
    ClusterMessage(kind=Kind.FETCH_SOCKETS_RESPONSE, request="q", sockets=[SocketFacts("i", {"a": 1}, ["r"], BYTES)]),
    ClusterMessage(kind=Kind.ALL_ROOMS, request="q"),
    ClusterMessage(kind=Kind.ALL_ROOMS_RESPONSE, request="q", rooms=("x",)),
    ClusterMessage(kind=Kind.SERVER_SIDE_EMIT, args=["e", 1, BYTES]),
    ClusterMessage(kind=Kind.SERVER_SIDE_EMIT, args=["e", None], request="q"),
    ClusterMessage(kind=Kind.SERVER_SIDE_EMIT_RESPONSE, request="q", value=[1, "가", BYTES]),
    ClusterMessage(kind=Kind.BROADCAST_CLIENT_COUNT, request="q", count=3),
    ClusterMessage(kind=Kind.BROADCAST_ACK, request="q", value={"a": 2**40}),
    ClusterMessage(kind=Kind.HEARTBEAT),
    ClusterMessage(kind=Kind.INITIAL_HEARTBEAT),
    ClusterMessage(kind=Kind.ADAPTER_CLOSE),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind.name)
def test_messages_come_back(message: ClusterMessage) -> None:
    """Each kind of message is decoded as it was encoded."""
    encoder = ClusterEncoder("me", "/chat", None)
    body = encoder.envelope(encoder.payload(message))
    assert body.endswith(encoder.own)
    assert decode_message(body, "/chat") == msgspec.structs.replace(message, uid="me")
    assert decode_message(body, "/other") is None


@pytest.mark.parametrize("name", ["/", "/chat"])
@pytest.mark.parametrize("options", [BroadcastOptions(), WHOM, BroadcastOptions(frozenset(("한",)))])
def test_the_text_of_an_event_is_not_touched(name: str, options: BroadcastOptions) -> None:
    """What a client gets on another server is, byte for byte, what its sender has encoded."""
    namespace: Any = madang.Server().of(name)
    encoder = ClusterEncoder("me", name, None)
    encoded = namespace.encode(("news", {"text": "안녕 \x7f", "n": [1.5, None]}), None, False)
    body = encoder.envelope(encoder.broadcast(namespace, encoded, options))
    assert orjson.loads(body)["data"]["packet"] == {
        "type": 2,
        "data": ["news", {"text": "안녕 \x7f", "n": [1.5, None]}],
    }
    message = decode_message(body, name)
    assert message is not None
    assert message.array is not None
    assert message.options == options
    assert not message.compress
    assert namespace.encode_array(message.array).text == encoded.text
    assert namespace.encode_array(message.array, 12).text == namespace.encode(("news", *encoded.event[1:]), 12).text


POISON = (
    b"",
    b"{",
    b"\xff",
    b"{}",
    b"[]",
    b'{"uid":"a","nsp":"/","type":3}',
    b'{"uid":"a","nsp":"/","type":3,"data":{"packet":{"type":2,"data":[]},"opts":{}}}',
    b'{"uid":"a","nsp":"/","type":3,"data":{"packet":{"type":2,"data":["connect"]},"opts":{}}}',
    b'{"uid":"a","nsp":"/","type":3,"data":{"packet":{"type":2,"data":[null]},"opts":{}}}',
    b'{"uid":"a","nsp":"/","type":3,"data":{"packet":{"type":2,"data":["a\x1e"]},"opts":{}}}',
    b'{"uid":"a","nsp":"/","type":3,"data":{"packet":{"type":2,"data":["a","\xff"]},"opts":{}}}',
    b'{"uid":"a","nsp":"/","type":3,"data":{"packet":{"type":0,"data":["a"]},"opts":{}}}',
    b'{"uid":"a","nsp":"/","type":3,"data":{"packet":{"type":2,"nsp":"/b","data":["a"]},"opts":{}}}',
    b'{"uid":"a","nsp":"/","type":9,"data":{"packet":[1]}}',
    b'{"uid":"a","nsp":"/","type":11,"data":{"requestId":"q","clientCount":-1}}',
    b'{"uid":"a","nsp":"/","type":7,"data":{"opts":{}}}',
    b'{"uid":"a","nsp":"/","type":8,"data":{"requestId":"q","sockets":[{}]}}',
    b'{"uid":1,"nsp":"/","type":2}',
    msgspec.msgpack.encode({"uid": "a", "nsp": "/", "type": 3, "data": {"packet": {"data": [None]}, "opts": {}}}),
)


@pytest.mark.parametrize("body", POISON)
def test_poison(body: bytes) -> None:
    """What no server would send is refused with the error of our own, whatever it is."""
    with pytest.raises(PacketError):
        decode_message(body, "/")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MESSAGES), st.data())
def test_broken_messages(message: ClusterMessage, data: st.DataObject) -> None:
    """A message with a few bytes changed is decoded or refused, and nothing else happens."""
    encoder = ClusterEncoder("me", "/", None)
    body = bytearray(encoder.envelope(encoder.payload(message)))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_message(bytes(body), "/")
    except PacketError:
        pass


def test_other_kinds() -> None:
    """A kind of message that is not known is nobody's fault."""
    assert decode_message(b'{"uid":"a","nsp":"/","type":77,"data":1}', "/") is None
