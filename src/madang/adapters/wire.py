"""What the wires between servers have in common: values, options and names as Node's servers write them.

Nothing but `PacketError` is raised for what other servers have sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, cast

import msgspec

from ..errors import PacketError
from ..protocol.parser import RESERVED_EVENTS
from ..protocol.values import JsonEncoder, loads, within_javascript
from ..types import Room
from .adapter import BroadcastOptions
from .messages import ClusterMessage

EMITTER: Final = "emitter"
"""The uid of those who are no servers."""

T = TypeVar("T")

WireRoom = str | int | float | None

_NAMES: Final = (str, int, float)

_LONGEST: Final = 86400.0
"""Seconds that an answer may be awaited, as others tell of it."""

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What decoders raise."""

MOST_CLIENTS: Final = 1_000_000
"""Clients that a server may have, as others tell of them."""


class WireFlags(msgspec.Struct, gc=False):
    """The flags of a broadcast."""

    volatile: bool | None = None
    compress: bool | None = None
    timeout: float | None = None


class WireOptions(msgspec.Struct, gc=False):
    """Whom something is for."""

    rooms: list[WireRoom] = []
    except_: list[WireRoom] = msgspec.field(name="except", default=[])
    flags: WireFlags | None = None


class NodeJson(JsonEncoder):
    """JSON as Node writes it where nothing can be attached: bytes are what `Buffer.toJSON` makes of them."""

    __slots__ = ()

    def replace(self, value: Any) -> Any:
        """See `JsonEncoder.replace`."""
        if isinstance(value, bytes | bytearray | memoryview):
            return {"type": "Buffer", "data": list(bytes(cast("bytes", value)))}
        return super().replace(value)


# ------------------------------------------------------------------------------------------------------------ outgoing

encode_msgpack: Final = msgspec.msgpack.Encoder().encode


def pack(value: Any) -> bytes:
    """Plain values as MessagePack."""
    try:
        return encode_msgpack(value)
    except (OverflowError, UnicodeEncodeError):
        return encode_msgpack(within_javascript(value))


def options_facts(options: BroadcastOptions) -> dict[str, Any]:
    """Whom something is for, without flags."""
    return {"rooms": list(options.rooms), "except": list(options.except_)}


def flags_facts(message: ClusterMessage) -> dict[str, Any]:
    """The flags of a broadcast."""
    flags: dict[str, Any] = {}
    if message.options.volatile:
        flags["volatile"] = True
    if not message.compress:
        flags["compress"] = False
    if message.timeout is not None:
        flags["timeout"] = int(message.timeout * 1000)
    return flags


# ------------------------------------------------------------------------------------------------------------ incoming


def checked(decode: Callable[[bytes], T], payload: bytes) -> T:
    """What `decode` makes of the bytes.

    Raises:
        PacketError: nothing.
    """
    try:
        return decode(payload)
    except UNREADABLE as error:
        raise unreadable(error) from None


def unreadable(error: BaseException) -> PacketError:
    """What is raised in place of one of `UNREADABLE`."""
    return PacketError(f"not what servers send each other: {error}")


def decode_either(payload: bytes, json: msgspec.json.Decoder[T], packed: msgspec.msgpack.Decoder[T]) -> T:
    """What is JSON if it begins as an object of it does, and else MessagePack.

    Raises:
        PacketError: it is neither, or something else.
    """
    if not payload.startswith(b"{"):
        return checked(packed.decode, payload)
    try:
        return json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # perhaps only because of what JavaScript writes
        return checked(lambda text: msgspec.convert(loads(text), json.type), payload)


def as_rooms(rooms: Iterable[Any]) -> frozenset[Room]:
    """Numbers of JavaScript that are whole are whole here; what is no room stays, and has no members."""
    there: frozenset[Any] = frozenset(rooms)
    if float in map(type, there):
        there = frozenset(int(room) if type(room) is float and room.is_integer() else room for room in there)
    return there


def as_event(data: list[Any]) -> list[Any]:
    """Name and arguments of an event.

    Raises:
        PacketError: it has no name that events may have.
    """
    if not data or type(data[0]) not in _NAMES or data[0] in RESERVED_EVENTS:
        raise PacketError("a packet without a name that events may have")
    return data


def with_options(message: ClusterMessage, options: WireOptions) -> ClusterMessage:
    """The message, for those whom the options name."""
    flags = options.flags or WireFlags()
    message.options = BroadcastOptions(as_rooms(options.rooms), as_rooms(options.except_), bool(flags.volatile))
    message.compress = flags.compress is not False
    if flags.timeout is not None and flags.timeout >= 0:  # and not NaN
        message.timeout = min(flags.timeout / 1000, _LONGEST)
    return message
