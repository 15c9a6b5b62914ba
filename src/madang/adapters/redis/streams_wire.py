"""Entries of Redis streams as Node's streams adapter and emitter write them, and the names of streams."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from ...errors import PacketError
from ...protocol.values import loads
from ..cluster_wire import ClusterEncoder, ClusterPayload, decode_payload
from ..messages import ClusterMessage, Kind
from ..wire import options_facts, pack

START: Final = b"0-0"
"""An id before all others."""

Entry = dict[bytes, bytes]
"""The fields of an entry."""

IN_STREAM: Final = frozenset((Kind.BROADCAST, Kind.SOCKETS_JOIN, Kind.SOCKETS_LEAVE, Kind.DISCONNECT_SOCKETS))
"""What goes to the stream, unless it wants an answer; so does SERVER_SIDE_EMIT."""


# --------------------------------------------------------------------------------------------------------------- names


def java_hash(text: str) -> int:
    """The hash of a name as Node's adapter computes it: that of Java's strings, with a sign."""
    value = 0
    units = text.encode("utf-16-le", "surrogatepass")
    for place in range(0, len(units), 2):
        value = (value * 31 + int.from_bytes(units[place : place + 2], "little")) & 0xFFFFFFFF
    return value - 0x1_0000_0000 if value & 0x8000_0000 else value


def stream_of(name: str, count: int, namespace: str) -> bytes:
    """The stream that a namespace is written to.

    With several streams Node's adapter takes the remainder of a hash that may be negative, as JavaScript does, and so
    writes to streams like ``socket.io--1``, which no Node server reads. Here the remainder is never negative.
    """
    if count == 1:
        return name.encode()
    return f"{name}-{java_hash(namespace) % count}".encode()


def streams_of(name: str, count: int) -> list[bytes]:
    """All streams that may have something: Node's, those that only its hash has, and the one of its emitter."""
    if count == 1:
        return [name.encode()]
    return [name.encode(), *(f"{name}-{number}".encode() for number in range(1 - count, count))]


def order(entry_id: bytes) -> tuple[int, int]:
    """An entry's id as it is ordered.

    Raises:
        ValueError: it is none.
    """
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)


def after(entry_id: bytes) -> bytes:
    """The first id that is larger."""
    milliseconds, sequence = order(entry_id)
    return b"%d-%d" % (milliseconds, sequence + 1)


# ------------------------------------------------------------------------------------------------------------ outgoing


class EntryWriter:
    """Makes the commands that add to one stream.

    Args:
        stream: its name.
        max_len: how many entries it is to hold, roughly.
        uid: who writes.
        namespace: the namespace.
    """

    __slots__ = ("_head", "_nsp", "_uid")

    def __init__(self, stream: bytes, max_len: int, uid: str, namespace: str) -> None:
        self._head = b"XADD", stream, b"MAXLEN", b"~", b"%d" % max_len, b"*"
        self._uid = uid.encode()
        self._nsp = namespace.encode(errors="replace")

    def parts(self, payload: ClusterPayload) -> tuple[bytes, ...]:
        """The command for a message, in its parts."""
        data = base64.b64encode(payload.data) if payload.binary else payload.data
        fields = b"uid", self._uid, b"nsp", self._nsp, b"type", b"%d" % payload.type, b"data", data
        return *self._head, *fields


def ephemeral(encoder: ClusterEncoder, payload: ClusterPayload) -> bytes:
    """A message that goes by PUBLISH, where Node's adapter has MessagePack alone."""
    if not payload.binary:
        payload = ClusterPayload(payload.type, pack(loads(payload.data)))
    return encoder.envelope(payload)


def as_emitted(encoder: ClusterEncoder, message: ClusterMessage) -> ClusterPayload:
    """A message of an emitter, with the keys of Node's in their order."""
    payload = encoder.payload(message)
    if message.kind is not Kind.BROADCAST:
        return payload
    data: Any = msgspec.msgpack.decode(payload.data) if payload.binary else loads(payload.data)
    facts = options_facts(message.options)
    data["opts"] = {"rooms": facts["rooms"], "flags": data["opts"]["flags"], "except": facts["except"]}
    return ClusterPayload(payload.type, pack(data) if payload.binary else _json(data))


_json: Final = msgspec.json.Encoder().encode

# ------------------------------------------------------------------------------------------------------------ incoming


def as_entry(fields: Any) -> Entry:
    """The fields of an entry by their names."""
    return dict(zip(fields[::2], fields[1::2], strict=False))


def size_of(entry: Entry) -> int:
    """The bytes that an entry's message has."""
    return len(entry.get(b"data", b""))


def decode_entry(entry: Entry, namespace: str) -> ClusterMessage | None:
    """The message of an entry; None if it is of a kind that is not known here.

    Raises:
        PacketError: it is none.
    """
    data: bytes = entry.get(b"data", b"")
    try:
        uid, number = entry[b"uid"].decode(), int(entry[b"type"])
        binary = not data.startswith(b"{")
        raw = base64.b64decode(data, validate=True) if binary else data
    except (KeyError, ValueError, binascii.Error) as error:
        raise PacketError(f"an entry of a stream that is no message: {error!r}") from None
    return decode_payload(uid, number, raw, namespace, binary)
