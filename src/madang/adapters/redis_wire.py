"""What goes over Redis, byte for byte as `@socket.io/redis-adapter` and `@socket.io/redis-emitter` have it.

A broadcast is MessagePack, ``[uid, {type, data, nsp}, {rooms, except, flags}]``, on ``<key>#<nsp>#`` or, if it is for
one room, on ``<key>#<nsp>#<room>#``. A request is JSON on ``<key>-request#<nsp>#``, or MessagePack if it holds a
packet; an answer goes to ``<key>-response#<nsp>#``, or that and ``<uid>#``. What other servers sent is checked here:
nothing but `PacketError` is raised for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, cast

import msgspec

from ..errors import PacketError
from ..protocol.parser import BINARY_EVENT, EVENT, RESERVED_EVENTS
from ..protocol.values import JsonEncoder, loads
from ..types import Room
from .adapter import BroadcastOptions
from .messages import ClusterMessage, Kind, SocketFacts

EMITTER: Final = "emitter"
"""The uid of those who are no servers."""

T = TypeVar("T")

_pack: Final = msgspec.msgpack.Encoder().encode


class _Flags(msgspec.Struct):
    volatile: bool | None = None
    compress: bool | None = None
    timeout: float | None = None


class _Options(msgspec.Struct):
    rooms: list[str | int | float | None] = []
    except_: list[str | int | float | None] = msgspec.field(name="except", default=[])
    flags: _Flags | None = None


class _Packet(msgspec.Struct):
    data: list[Any]
    type: int = EVENT
    nsp: str = "/"


class _Request(msgspec.Struct, rename="camel"):
    type: int
    uid: str | None = None
    request_id: str | None = None
    opts: _Options | None = None
    rooms: list[str | int | float | None] | None = None
    sid: str | None = None
    room: str | int | float | None = None
    close: bool | None = None
    data: list[Any] | None = None
    packet: _Packet | None = None


class _Response(msgspec.Struct, rename="camel"):
    request_id: str
    type: int | None = None
    uid: str | None = None
    sockets: list[Any] | None = None
    rooms: list[str | int | float | None] | None = None
    client_count: int = 0
    data: Any = None
    packet: Any = None


_broadcast: Final = msgspec.msgpack.Decoder(tuple[str, _Packet, _Options])
_request: Final = msgspec.msgpack.Decoder(_Request)
_json_request: Final = msgspec.json.Decoder(_Request)
_response: Final = msgspec.msgpack.Decoder(_Response)
_json_response: Final = msgspec.json.Decoder(_Response)

_REQUESTS: Final = {
    0: Kind.SOCKET_IDS,
    1: Kind.ALL_ROOMS,
    2: Kind.SOCKETS_JOIN,
    3: Kind.SOCKETS_LEAVE,
    4: Kind.DISCONNECT_SOCKETS,
    5: Kind.FETCH_SOCKETS,
    6: Kind.SERVER_SIDE_EMIT,
    7: Kind.BROADCAST,
}
_TYPES: Final = {kind: number for number, kind in _REQUESTS.items()}
_COUNT, _ACK = 8, 9
_NAMES: Final = (str, int, float)

_LONGEST: Final = 86400.0
_MOST: Final = 1_000_000
"""Seconds that an answer may be awaited, and clients that a server may have, as others tell of them."""


_ONE_ROOM: Final = b"\x83" + _pack("rooms") + b"\x91"
_NO_ROOM: Final = b"\x83" + _pack("rooms") + b"\x90"
_NO_MORE: Final = _pack("except") + b"\x90" + _pack("flags") + b"\x80"


class NodeJson(JsonEncoder):
    """JSON as Node writes it where nothing can be attached: bytes are what `Buffer.toJSON` makes of them."""

    __slots__ = ()

    def replace(self, value: Any) -> Any:
        """See `JsonEncoder.replace`."""
        if isinstance(value, bytes | bytearray | memoryview):
            return {"type": "Buffer", "data": list(bytes(cast("bytes", value)))}
        return super().replace(value)


class Channels:
    """The names of the channels of one namespace."""

    __slots__ = ("broadcast", "request", "response")

    def __init__(self, key: str, namespace: str) -> None:
        self.broadcast = f"{key}#{namespace}#".encode()
        self.request = f"{key}-request#{namespace}#".encode()
        self.response = f"{key}-response#{namespace}#".encode()

    def room(self, room: Any) -> bytes:
        """Where a broadcast for this room alone goes."""
        name = int(room) if isinstance(room, float) and room.is_integer() else room
        return b"%b%b#" % (self.broadcast, str(name).encode(errors="replace"))

    def answers_to(self, uid: str) -> bytes:
        """Where only one server listens."""
        return b"%b%b#" % (self.response, uid.encode())

    def for_options(self, options: BroadcastOptions) -> bytes:
        """Where a broadcast goes."""
        if len(options.rooms) != 1:
            return self.broadcast
        (room,) = options.rooms
        return self.room(room)


# ------------------------------------------------------------------------------------------------------------ outgoing


def pack(value: Any) -> bytes:
    """Plain values as MessagePack."""
    try:
        return _pack(value)
    except (OverflowError, UnicodeEncodeError):
        return _pack(within_javascript(value))


def within_javascript(value: Any) -> Any:
    """What JSON can carry and MessagePack cannot, as JavaScript would read it: large numbers, lone surrogates."""
    if isinstance(value, list):
        return [within_javascript(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        parts: Any = value.items()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return {within_javascript(key): within_javascript(item) for key, item in parts}
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 2**1023 else None
    return value


def _options(options: BroadcastOptions) -> dict[str, Any]:
    return {"rooms": list(options.rooms), "except": list(options.except_)}


def _flags(message: ClusterMessage) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    if message.options.volatile:
        flags["volatile"] = True
    if not message.compress:
        flags["compress"] = False
    if message.timeout is not None:
        flags["timeout"] = int(message.timeout * 1000)
    return flags


def encode_broadcast(namespace: str, message: ClusterMessage) -> bytes:
    """A broadcast without acks."""
    packet = {"type": EVENT, "data": message.args, "nsp": namespace}
    options, flags = _options(message.options), _flags(message)
    if message.uid == EMITTER:  # which has its keys in another order
        return pack([EMITTER, packet, {"rooms": options["rooms"], "flags": flags, "except": options["except"]}])
    return pack([message.uid, packet, {**options, "flags": flags}])


def encode_request(namespace: str, message: ClusterMessage, json: JsonEncoder) -> bytes:
    """Any other message to all servers."""
    facts: dict[str, Any] = {}
    if message.uid != EMITTER or message.kind is Kind.SERVER_SIDE_EMIT:
        facts["uid"] = message.uid
    if message.request is not None:
        facts["requestId"] = message.request
    facts["type"] = _TYPES[message.kind]
    match message.kind:
        case Kind.BROADCAST:
            facts["packet"] = {"type": EVENT, "data": message.args, "nsp": namespace}
            facts["opts"] = {**_options(message.options), "flags": _flags(message)}
            return pack(facts)
        case Kind.SERVER_SIDE_EMIT:
            facts["data"] = message.args
        case Kind.DISCONNECT_SOCKETS:
            facts |= {"opts": _options(message.options), "close": message.close}
        case Kind.SOCKETS_JOIN | Kind.SOCKETS_LEAVE:
            facts |= {"opts": _options(message.options), "rooms": list(message.rooms)}
        case Kind.FETCH_SOCKETS:
            facts["opts"] = _options(message.options)
        case _:
            pass
    return json.encode(facts)


def encode_answer(message: ClusterMessage, json: JsonEncoder) -> bytes:
    """An answer. It has the name of who answers, which Node's have not, and Node does not mind."""
    facts: dict[str, Any] = {}
    match message.kind:
        case Kind.FETCH_SOCKETS_RESPONSE:
            facts["sockets"] = [msgspec.structs.asdict(socket) for socket in message.sockets]
        case Kind.SOCKET_IDS_RESPONSE:
            facts["sockets"] = list(message.rooms)
        case Kind.ALL_ROOMS_RESPONSE:
            facts["rooms"] = list(message.rooms)
        case Kind.SERVER_SIDE_EMIT_RESPONSE:
            head = {"type": _TYPES[Kind.SERVER_SIDE_EMIT], "requestId": message.request}
            return json.encode({**head, "data": message.value, "uid": message.uid})
        case Kind.BROADCAST_CLIENT_COUNT:
            head = {"type": _COUNT, "requestId": message.request}
            return json.encode({**head, "clientCount": message.count, "uid": message.uid})
        case Kind.BROADCAST_ACK:
            head = {"type": _ACK, "requestId": message.request}
            return pack({**head, "packet": message.value, "uid": message.uid})
        case _:
            pass
    return json.encode({"requestId": message.request, **facts, "uid": message.uid})


class BroadcastPacker:
    """Packs a server's broadcasts, of which little changes from one to the next.

    Args:
        uid: the server's name.
        namespace: the namespace.
    """

    __slots__ = ("_end", "_head", "_nsp", "_uid")

    def __init__(self, uid: str, namespace: str) -> None:
        self._uid = uid
        self._nsp = namespace
        self._head = b"\x93" + _pack(uid) + b"\x83" + _pack("type") + _pack(EVENT) + _pack("data")
        self._end = _pack("nsp") + _pack(namespace)

    def pack(self, args: list[Any], options: BroadcastOptions, compress: bool) -> bytes:
        """A broadcast without acks; the same bytes as those of `encode_broadcast`."""
        if len(options.rooms) > 1 or options.except_ or options.volatile or not compress:
            message = ClusterMessage(kind=Kind.BROADCAST, uid=self._uid, args=args, options=options, compress=compress)
            return encode_broadcast(self._nsp, message)
        if options.rooms:
            (room,) = options.rooms
            return b"".join((self._head, pack(args), self._end, _ONE_ROOM, _pack(room), _NO_MORE))
        return b"".join((self._head, pack(args), self._end, _NO_ROOM, _NO_MORE))


# ------------------------------------------------------------------------------------------------------------ incoming


def _checked(decode: Callable[[bytes], T], payload: bytes) -> T:
    try:
        return decode(payload)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise PacketError(f"not what servers send each other: {error}") from None


def _decode(payload: bytes, json: msgspec.json.Decoder[T], packed: msgspec.msgpack.Decoder[T]) -> T:
    if not payload.startswith(b"{"):
        return _checked(packed.decode, payload)
    try:
        return json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # perhaps only because of what JavaScript writes
        return _checked(lambda text: msgspec.convert(loads(text), json.type), payload)


def _rooms(rooms: Iterable[Any]) -> frozenset[Room]:
    """Numbers of JavaScript that are whole are whole here; what is no room stays, and has no members."""
    there: frozenset[Any] = frozenset(rooms)
    if float in map(type, there):
        there = frozenset(int(room) if type(room) is float and room.is_integer() else room for room in there)
    return there


def _event(packet: _Packet, namespace: str) -> list[Any]:
    data = packet.data
    if packet.nsp != namespace or packet.type not in (EVENT, BINARY_EVENT):
        raise PacketError("a packet for another namespace, or no event")
    if not data or type(data[0]) not in _NAMES or data[0] in RESERVED_EVENTS:
        raise PacketError("a packet without a name that events may have")
    return data


def _with_options(message: ClusterMessage, options: _Options) -> ClusterMessage:
    flags = options.flags or _Flags()
    message.options = BroadcastOptions(_rooms(options.rooms), _rooms(options.except_), bool(flags.volatile))
    message.compress = flags.compress is not False
    if flags.timeout is not None and flags.timeout >= 0:  # and not NaN
        message.timeout = min(flags.timeout / 1000, _LONGEST)
    return message


def decode_broadcast(payload: bytes, namespace: str) -> ClusterMessage:
    """A broadcast without acks.

    Raises:
        PacketError: it is none.
    """
    uid, packet, options = _checked(_broadcast.decode, payload)
    return _with_options(ClusterMessage(kind=Kind.BROADCAST, uid=uid, args=_event(packet, namespace)), options)


def decode_request(payload: bytes, namespace: str) -> ClusterMessage | None:
    """Any other message to all servers; None if it is of a kind that is not known here.

    Raises:
        PacketError: it is none.
    """
    request = _decode(payload, _json_request, _request)
    kind = _REQUESTS.get(request.type)
    if kind is None:
        return None
    message = ClusterMessage(kind=kind, uid=request.uid, request=request.request_id, close=bool(request.close))
    message.rooms = tuple(_rooms(request.rooms or ()))
    if kind is Kind.SOCKET_IDS:  # the oldest of the forms, where `rooms` tells whom
        message.options = BroadcastOptions(frozenset(message.rooms))
    elif request.opts is not None:
        _with_options(message, request.opts)
    elif kind in (Kind.SOCKETS_JOIN, Kind.SOCKETS_LEAVE, Kind.DISCONNECT_SOCKETS):
        _name_one(message, request)
    if kind is Kind.BROADCAST:
        if request.packet is None or request.opts is None or request.request_id is None:
            raise PacketError("a broadcast without a packet")
        message.args = _event(request.packet, namespace)
    elif kind is Kind.SERVER_SIDE_EMIT:
        if not request.data or not isinstance(request.data[0], str):
            raise PacketError("an event between servers without a name")
        message.args = request.data
    elif message.request is None and kind in (Kind.FETCH_SOCKETS, Kind.ALL_ROOMS, Kind.SOCKET_IDS):
        raise PacketError("a question that cannot be answered")
    return message


def _name_one(message: ClusterMessage, request: _Request) -> None:
    """The old forms name one socket, and one room."""
    if request.sid is None:
        raise PacketError("a command for nobody")
    message.options = BroadcastOptions(frozenset((request.sid,)))
    message.rooms = tuple(_rooms((request.room,))) if request.room is not None else ()


def decode_answer(payload: bytes, namespace: str) -> ClusterMessage | None:
    """An answer; None if it is of a kind that is not known here.

    Raises:
        PacketError: it is none.
    """
    answer = _decode(payload, _json_response, _response)
    message = ClusterMessage(kind=Kind.DONE, uid=answer.uid, request=answer.request_id)
    if answer.type == _COUNT:
        if not 0 <= answer.client_count <= _MOST:
            raise PacketError("more clients than a server can have")
        message.kind, message.count = Kind.BROADCAST_CLIENT_COUNT, answer.client_count
    elif answer.type == _ACK:
        message.kind, message.value = Kind.BROADCAST_ACK, answer.packet
    elif answer.type == _TYPES[Kind.SERVER_SIDE_EMIT]:
        message.kind, message.value = Kind.SERVER_SIDE_EMIT_RESPONSE, answer.data
    elif answer.sockets is not None:
        message.kind = Kind.FETCH_SOCKETS_RESPONSE
        message.sockets = _checked(lambda _: msgspec.convert(answer.sockets, list[SocketFacts]), payload)
    elif answer.rooms is not None:
        message.kind, message.rooms = Kind.ALL_ROOMS_RESPONSE, tuple(_rooms(answer.rooms))
    else:
        return None
    return message
