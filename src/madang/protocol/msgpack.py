"""The parser of npm's ``socket.io-msgpack-parser``: each packet is one binary message, and bytes stay in their places.

A packet is a map of ``type`` (0 to 4), ``nsp``, ``data`` and ``id``; keys that are not known are ignored. That package
stands on notepack 2.2, which has three extensions of its own, all with code 0: `undefined` (fixext 1), a `Date`
(fixext 8: milliseconds, signed), and an `ArrayBuffer` (ext 8, 16 or 32). Others send MessagePack's own timestamps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from types import NoneType
from typing import Any, Final, cast

import msgspec
import orjson

from ..errors import EncodeError, PacketError
from .encoded import Encoded
from .parser import ACK, CONNECT_ERROR, EVENT, Packet, is_valid
from .values import OPTIONS, JsonEncoder, javascript_date, property_name, within_javascript

_FLAT: Final = frozenset((str, int, bool, NoneType, bytes))
"""Types of arguments that have one form in JSON and in MessagePack, and nothing inside."""

_ABSENT: Final = (b"", b"\xc0", b"\xd4\x00\x00")  # no data, nil (as Python's peers send it), and undefined
_NO_JSON: Final = b"\xc1\xc1"  # before a payload: no text begins so, and no MessagePack has this byte as a head
_FIXED: Final = {1: b"\xd4\x00", 8: b"\xd7\x00"}  # heads of `undefined` and `Date`, by the content's length
_HEADS: Final = {  # all heads of an extension of this length, in all the ways that a length can be written
    size: (fixed, b"\xc7%c\x00" % size, b"\xc8\x00%c\x00" % size, b"\xc9\x00\x00\x00%c\x00" % size)
    for size, fixed in _FIXED.items()
}
_HEAD: Final = re.compile(b"|".join(head for heads in _HEADS.values() for head in heads))
_MAX_ID: Final = 2**53 - 1
_ERA: Final = 146_097 * 86_400_000  # milliseconds of 400 years, after which the calendar repeats itself
_EPOCH: Final = datetime(1970, 1, 1)  # in UTC, as all of a Date
_MAX_DATE: Final = 8_640_000_000_000_000  # of JavaScript, in milliseconds

_pack: Final = msgspec.msgpack.Encoder().encode
_from_json: Final = msgspec.json.Decoder().decode


class _Wire(msgspec.Struct):
    type: int
    nsp: str
    data: msgspec.Raw = msgspec.Raw()
    id: int | None = None


_read: Final = msgspec.msgpack.Decoder(_Wire).decode


class MsgpackParser:
    """A parser that writes MessagePack; what it is connected with needs ``socket.io-msgpack-parser``, or this.

    Values become what they become with the default parser, so that handlers need not know which one is in use. One
    instance may serve several threads.

    Args:
        default: called for a value of a type not known here; returns one that is, or raises TypeError. The server's
            and client's option `json_default` is for the default parser alone.
    """

    __slots__ = ("_encoder",)

    def __init__(self, default: Callable[[Any], Any] | None = None) -> None:
        self._encoder = _PlainEncoder(default)

    def encode_event(
        self, namespace: str, args: Sequence[Any], ack_id: int | None = None, compress: bool = True
    ) -> Encoded:
        """An EVENT packet; bytes in it are part of it.

        Raises:
            EncodeError: a value of unknown type, or one that holds itself.
        """
        packet: dict[str, Any] = {"type": EVENT, "nsp": namespace, "data": args}
        if ack_id is not None:
            packet["id"] = ack_id
        return self._pack(packet, _FLAT.issuperset(map(type, args)), compress)

    def encode_ack(self, namespace: str, args: Sequence[Any], ack_id: int) -> Encoded:
        """An ACK packet; bytes in it are part of it.

        Raises:
            EncodeError: a value of unknown type, or one that holds itself.
        """
        packet = {"type": ACK, "nsp": namespace, "data": args, "id": ack_id}
        return self._pack(packet, _FLAT.issuperset(map(type, args)), True)

    def encode_control(self, packet_type: int, namespace: str, data: Any = None) -> Encoded:
        """A CONNECT, DISCONNECT or CONNECT_ERROR packet.

        Raises:
            EncodeError: `data` has no form.
        """
        packet: dict[str, Any] = {"type": packet_type, "nsp": namespace}
        if data is not None:
            packet["data"] = data
        return self._pack(packet, data is None, True)

    def _pack(self, packet: dict[str, Any], flat: bool, compress: bool) -> Encoded:
        """`packet` as a message.

        Args:
            packet: its parts, which are changed.
            flat: whether its data are known to have the same form as in JSON.
            compress: see `Encoded`.
        """
        try:
            if not flat:
                packet["data"] = self._encoder.as_in_json(packet["data"])
            try:
                data = _pack(packet)
            except (OverflowError, UnicodeEncodeError):
                data = _pack(within_javascript({**packet, "data": self._encoder.plain(packet["data"])}))
        except RecursionError:
            raise EncodeError("cannot be sent: it is nested too deeply, or holds itself") from None
        except ValueError as error:  # more than MessagePack can count
            raise EncodeError(f"cannot be sent: {error}") from None
        return Encoded(b"", (data,), compress)

    def decode(self, text: bytes) -> Packet:
        """Refuse text.

        Raises:
            PacketError: always.
        """
        raise PacketError("text came where MessagePack is spoken: the peer needs a MessagePack parser, too")

    def decode_binary(self, data: bytes) -> Packet:
        """Read a packet's parts; what its data hold is left to `decode_args`.

        Raises:
            PacketError: it is not one.
        """
        try:
            wire = _read(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise PacketError(f"not a packet in MessagePack: {error}") from None
        if not 0 <= wire.type <= CONNECT_ERROR:
            raise PacketError(f"unknown packet type {wire.type}")
        if not wire.nsp.startswith("/"):
            raise PacketError("a namespace begins with a slash")
        if wire.id is not None and not 0 <= wire.id <= _MAX_ID:
            raise PacketError("an ack id is a whole number from 0 to 2**53 - 1")
        payload = bytes(wire.data)
        return Packet(wire.type, wire.nsp, wire.id, b"" if payload in _ABSENT else _NO_JSON + payload)

    def decode_args(self, packet: Packet) -> Any:
        """Decode and check the payload; see `Parser.decode_args`."""
        payload, args = packet.payload, packet.args
        if payload and args is None:
            args = _decoded(payload)
        if not is_valid(packet.type, args, bool(payload)):
            raise PacketError("invalid payload")
        return args


class _PlainEncoder(JsonEncoder):
    """Values as they are in JSON, with the bytes left in their places; it keeps no state."""

    __slots__ = ()

    def as_in_json(self, value: Any) -> Any:
        """What decoding the JSON of `value` gives, with the bytes in their places."""
        try:
            return _from_json(orjson.dumps(value, self._without_bytes, OPTIONS))
        except orjson.JSONEncodeError:
            return self.plain(value)

    def replace(self, value: Any) -> Any:
        """See `JsonEncoder.replace`; bytes stay bytes."""
        return (
            bytes(cast("bytes", value)) if isinstance(value, bytes | bytearray | memoryview) else super().replace(value)
        )

    def _without_bytes(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            raise TypeError("bytes, which `plain` leaves in their places")
        return super().replace(value)


# ------------------------------------------------------------------------------------------------------------- decoding


def _decoded(payload: bytes) -> Any:
    """The values of a payload."""
    try:
        values = msgspec.msgpack.decode(memoryview(payload)[len(_NO_JSON) :], ext_hook=_Extensions(payload).read)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PacketError(f"invalid payload: {error}") from None
    if _is_flat(values):
        return values
    try:
        orjson.dumps(values, _nothing, OPTIONS)  # the quickest way to see whether there is something to change
    except orjson.JSONEncodeError:
        _change(values)
    return values


def _is_flat(values: Any) -> bool:
    return type(values) is list and _FLAT.issuperset(map(type, values))  # pyright: ignore[reportUnknownArgumentType]


def _nothing(value: Any) -> None:
    if isinstance(value, datetime):
        raise TypeError


def _change(values: Any) -> None:
    """Make of keys what they are as property names in JavaScript, and of timestamps their text, in place."""
    stack = [values]
    while stack:
        container = stack.pop()
        if isinstance(container, dict):
            properties = cast("dict[Any, Any]", container)  # type: ignore[redundant-cast]
            parts = list(properties.items())
            properties.clear()
            for key, part in parts:
                try:
                    properties[key if type(key) is str else property_name(key)] = _changed(part)
                except TypeError:
                    raise PacketError(f"invalid payload: a key of type {type(key).__name__}") from None
                stack.append(part)
        elif isinstance(container, list):
            items = cast("list[Any]", container)  # type: ignore[redundant-cast]
            stack += items
            items[:] = map(_changed, items)


def _changed(value: Any) -> Any:
    return javascript_date(value) if isinstance(value, datetime) else value


class _Extensions:
    """Reads the extensions of one payload, in their order.

    A `Date` and an `ArrayBuffer` of 8 bytes differ by the head alone, which is not told: it is looked up.
    """

    __slots__ = ("_heads", "_payload")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._heads: Iterator[re.Match[bytes]] | None = None

    def read(self, code: int, data: memoryview) -> Any:
        """The value of an extension.

        Raises:
            ValueError: the code is not known.
        """
        if code != 0:
            raise ValueError(f"an extension with the unknown code {code}")
        content = bytes(data)
        if len(content) not in (1, 8) or self._head_of(content) != _FIXED[len(content)]:
            return content
        return None if len(content) == 1 else _date_text(int.from_bytes(content, "big", signed=True))

    def _head_of(self, content: bytes) -> bytes:
        """The head that stands before the next extension with this content."""
        if self._heads is None:
            self._heads = _HEAD.finditer(self._payload)
        heads = _HEADS[len(content)]
        for found in self._heads:
            if found[0] in heads and self._payload.startswith(content, found.end()):
                return found[0]
        raise ValueError("an extension whose head is not found")


def _date_text(milliseconds: int) -> str | None:
    """A `Date` as its `toJSON` writes it; None if there is no such date."""
    if abs(milliseconds) > _MAX_DATE:
        return None
    eras, rest = divmod(milliseconds, _ERA)
    text = (_EPOCH + timedelta(milliseconds=rest)).isoformat(timespec="milliseconds") + "Z"
    if eras == 0:
        return text
    year = int(text[:4]) + 400 * eras
    if 0 <= year <= 9999:
        return f"{year:04}{text[4:]}"
    return f"{'-' if year < 0 else '+'}{abs(year):06}{text[4:]}"
